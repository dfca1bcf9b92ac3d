"""ingestr and sling read a PostgreSQL table to a file; runs in the peers' environment, whose wheels hold the programs.

It prints the same result as our readers. ingestr writes Parquet. sling writes CSV: for Parquet it downloads DuckDB.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from peer_reading import server_url


def main(argv: Sequence[str]) -> int:
    """Read with the given program, and print seconds and CPU seconds as JSON. Its file tells the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=["ingestr", "sling"])
    parser.add_argument("table")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(argv)
    url = f"{server_url()}?sslmode=disable"
    command = (ingestr if given.program == "ingestr" else sling)(url, given.table, given.folder)
    # Neither calls home, nor keeps a state between runs.
    quiet = {"INGESTR_DISABLE_TELEMETRY": "true", "SLING_DISABLE_TELEMETRY": "true", "HOME": str(given.folder / "home")}
    began = time.monotonic()
    ended = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if ended.returncode:
        print(ended.stdout[-2000:], ended.stderr[-2000:], sep="\n")
        return 1
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"rows": None, "seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}))
    return 0


def ingestr(url: str, table: str, folder: Path) -> list[str]:
    """Return the command that reads the table to a Parquet file."""
    source = ["--source-uri", url, "--source-table", table]
    destination = ["--dest-uri", f"parquet://{folder}/rows.parquet", "--dest-table", table]
    return [str(Path(sys.executable).with_name("ingestr")), "ingest", *source, *destination, "--yes", "--progress=log"]


def sling(url: str, table: str, folder: Path) -> list[str]:
    """Return the command that reads the table to a CSV file."""
    package = importlib.util.find_spec("sling_linux_amd64")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).with_name("bin") / "sling-linux-amd64"
    source = ["--src-conn", url, "--src-stream", table]
    return [str(program), "run", *source, "--tgt-object", f"file://{folder}/rows.csv"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
