"""Throughput of reading and staging a collection, compared with two limits and two peers: `make bench-mongodb`.

All readers read one million nested documents, in turn and several times, so that other load on the machine affects all
of them alike. Only ratios of medians are meaningful. Each reading is a process of its own; its seconds count from the
first request to the server to the last file, without the start of Python.

* `raw_drain`: takes raw BSON from the driver's cursor and discards it: the least that a reader by the driver does.
* `reply_drain`: takes the documents out of the server's replies as ours does, and discards them. Nothing can be faster.
* `ours`: into Parquet files, by the functions that a worker of a sync runs.
* `row_beam`: into lines of JSON, each document a dict and an element of a Beam pipeline.
* `dlt`: into Parquet files, by dlt with the MongoDB source of ingestr, as ingestr sets it up.
* `whole_run`: `main.py`, from the start of Python to the rows in BigQuery, once. It is measured from the outside, with
  its memory; a last one with three million documents shows whether that grows.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sandbox
from benchmarks.memory import MIB, MOST_RATIO, RunFailedError, facts, measure
from sandbox import demo_run, mongodb
from sandbox.endpoints import Endpoints

DOCUMENTS, MANY_DOCUMENTS = 1_000_000, 3_000_000
REPETITIONS = 3
# Readers that take a few seconds are measured twice as often.
ORDER = ("raw_drain", "reply_drain", "ours", "raw_drain", "reply_drain", "ours", "row_beam", "dlt")
LIMITS_AND_PEERS = ("raw_drain", "reply_drain", "row_beam", "dlt")
# The targets: the minimum of each ratio.
LEAST = {"ours_vs_raw_drain": 0.9, "ours_vs_dlt": 3.0}
RESULTS = Path(__file__).with_name("results") / "mongodb.json"
PEER_PYTHON = demo_run.ROOT / ".venv-ingestr" / "bin" / "python"
PACKAGES = ("apache-beam", "pyarrow", "pymongo", "google-cloud-bigquery")
PEER_PACKAGES = ("dlt", "ingestr", "pyarrow", "pymongo")

_COLLECTION = "benchmark"
_THOUSAND = 1000


def documents(number: int) -> list[dict[str, Any]]:
    """Return the aggregation stages that make `number` documents of 141 bytes from a thousand with only an `_id`.

    The server makes the documents, which takes a fraction of the time to send them.
    """
    cities = ["Oslo", "Lima", "Rotterdam", "Ulaanbaatar"]
    return [
        {"$set": {"n": {"$range": [0, number // _THOUSAND]}}},
        {"$unwind": "$n"},
        {"$set": {"n": {"$add": [{"$multiply": ["$_id", number // _THOUSAND]}, "$n"]}}},
        {
            "$project": {
                "_id": 0,
                "customer": {"$concat": ["customer-", {"$toString": {"$mod": ["$n", 50_000]}}]},
                "amount": {"$divide": [{"$mod": [{"$multiply": ["$n", 7919]}, 1_000_000]}, 100]},
                "quantity": {"$mod": ["$n", 13]},
                "updated_at": {"$add": [datetime(2026, 1, 1, tzinfo=UTC), {"$multiply": ["$n", 1000]}]},
                "address": {
                    "city": {"$arrayElemAt": [cities, {"$mod": ["$n", len(cities)]}]},
                    "zip": {"$mod": ["$n", 100_000]},
                },
            }
        },
    ]


def result(
    rows: int, seconds: Mapping[str, Sequence[float]], peaks: Mapping[int, float], circumstances: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is written to `mongodb.json`.

    Args:
        rows: that each reading read.
        seconds: of each reading, by its reader; `planning` is what ours asked the server before it read.
        peaks: the most memory a whole run held, in bytes, by the rows it read.
        circumstances: when, where and with what it was measured.
    """
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    planning = medians.pop("planning")
    few, many = min(peaks), max(peaks)
    return {
        **{f"ours_vs_{name}": round(medians[name] / medians["ours"], 3) for name in LIMITS_AND_PEERS},
        "ours_with_planning_vs_dlt": round(medians["dlt"] / (medians["ours"] + planning), 3),
        "whole_run_vs_dlt": round(medians["dlt"] / medians["whole_run"], 3),
        "documents": rows,
        "rows_per_second": {name: round(rows / median) for name, median in medians.items()},
        "seconds": {name: [round(second, 2) for second in taken] for name, taken in seconds.items()},
        "peak_mb": {f"{number:,}": round(peak / MIB, 1) for number, peak in peaks.items()},
        "peak_ratio": round(peaks[many] / peaks[few], 3),
        **circumstances,
    }


def missed(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each target that the result misses."""
    sentences = [f"{name} is {document[name]}, not {least}" for name, least in LEAST.items() if document[name] < least]
    if document["peak_ratio"] > MOST_RATIO:
        sentences.append(f"peak_ratio is {document['peak_ratio']}, more than {MOST_RATIO}")
    return sentences


def main(argv: Sequence[str]) -> int:
    """Measure, write the result and return the exit code: 1 if a target is missed, 2 if a reading failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mongodb", description="Measure reading from MongoDB.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file that is written (%(default)s)")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="thousands of them (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of each reading (%(default)s)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="sandbox-mongodb-") as folder, sandbox.running(Path(folder)) as endpoints:
        try:
            document = _measured(endpoints, arguments.documents, arguments.repetitions)
        except RunFailedError as error:
            print(error, file=sys.stderr)
            return 2
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    problems = missed(document)
    for problem in problems:
        print(f"MISSED: {problem}")
    print(f"see {arguments.output}")
    return 1 if problems else 0


def _measured(endpoints: Endpoints, rows: int, repetitions: int) -> dict[str, Any]:
    _create_documents(endpoints, rows)
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(repetitions):
        for reader in ORDER:
            read = _read(endpoints, reader, rows)
            seconds[reader].append(read["seconds"])
            if "planning_seconds" in read:
                seconds["planning"].append(read["planning_seconds"])
    taken, peak = _whole_run(endpoints, rows)
    seconds["whole_run"].append(taken)
    many = rows * MANY_DOCUMENTS // DOCUMENTS
    _create_documents(endpoints, many)
    _, peak_of_many = _whole_run(endpoints, many)
    peer = {"peer_versions": _peer_versions()}
    return result(rows, seconds, {rows: peak, many: peak_of_many}, facts(PACKAGES) | peer)


def _create_documents(endpoints: Endpoints, number: int) -> None:
    with mongodb.connect(endpoints.mongodb_uri) as client:
        database = client[endpoints.mongodb_database]
        database["thousand"].drop()
        database["thousand"].insert_many({"_id": number} for number in range(_THOUSAND))
        database["thousand"].aggregate([*documents(number), {"$out": _COLLECTION}])


def _read(endpoints: Endpoints, reader: str, rows: int) -> dict[str, float]:
    """Run one reading and return the result that it prints."""
    with tempfile.TemporaryDirectory(prefix="sandbox-mongodb-") as folder:
        program = [sys.executable, "-m", "benchmarks.mongodb_readers", reader]
        if reader == "dlt":
            program = [str(PEER_PYTHON), "-W", "ignore", "benchmarks/mongodb_dlt.py"]
        command = [*program, endpoints.mongodb_database, _COLLECTION, folder]
        measured = measure(command, {**os.environ, **endpoints.environment()}, demo_run.ROOT)
    if measured.exit_code == 0:
        read: dict[str, float] = json.loads(measured.output.splitlines()[-1])
        if read["rows"] == rows:
            print(f"{reader}: {rows:,} documents in {read['seconds']:.1f} s", flush=True)
            return read
    raise RunFailedError(f"{reader}: failed with exit code {measured.exit_code}:\n{measured.output}")


def _whole_run(endpoints: Endpoints, rows: int) -> tuple[float, float]:
    """Run a sync, and return its seconds and its peak memory (bytes)."""
    parameters = {
        **demo_run.mongodb_parameters(endpoints),
        "mongodb_collection": _COLLECTION,
        **demo_run.destination_parameters(endpoints),
        "destination_bigquery_table": _COLLECTION,
        "write_disposition": "WRITE_TRUNCATE",
    }
    measured = measure(demo_run.command(parameters), {**os.environ, **endpoints.environment()}, demo_run.ROOT)
    report = demo_run.find_report(measured.output)
    if measured.exit_code != 0 or report is None or report.rows_loaded != rows:
        raise RunFailedError(f"whole run: failed with exit code {measured.exit_code}:\n{measured.output}")
    print(f"whole run: {rows:,} documents in {measured.seconds:.1f} s, {measured.peak / MIB:,.0f} MiB", flush=True)
    return measured.seconds, measured.peak


def _peer_versions() -> dict[str, str]:
    program = f"import importlib.metadata as m, json; print(json.dumps({{p: m.version(p) for p in {PEER_PACKAGES}}}))"
    versions: dict[str, str] = json.loads(measure([str(PEER_PYTHON), "-c", program], os.environ, demo_run.ROOT).output)
    return versions


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
