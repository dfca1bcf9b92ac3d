"""Start the BigQuery emulator with patches in memory; runs in the emulator's own environment."""

import argparse
import gc
import os
import sys
import warnings
from pathlib import Path

_EXTENSIONS = ("icu", "ducklake", "spatial", "httpfs")


def main(argv: list[str]) -> None:
    """Serve until killed; with --install, only install DuckDB's extensions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="only install DuckDB's extensions")
    parser.add_argument("--port", type=int)
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--project")
    parser.add_argument("--dataset")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--storage-url", default="")
    parser.add_argument("--storage-root", type=Path)
    arguments = parser.parse_args(argv)
    install_extensions()
    if not arguments.install:
        serve(arguments)


def install_extensions() -> None:
    """Copy DuckDB's extensions from their wheels to DuckDB's extension folder, unless they are there.

    DuckDB looks for this folder in HOME, so HOME of this process is a folder inside the environment. The user's own
    `~/.duckdb` never changes.
    """
    home = Path(sys.prefix) / "home"
    os.environ["HOME"] = str(home)
    installed = {path.name.partition(".")[0] for path in home.rglob("*.duckdb_extension")}
    missing = [name for name in _EXTENSIONS if name not in installed]
    if missing:
        import duckdb_extensions

        home.mkdir(exist_ok=True)
        for name in missing:
            duckdb_extensions.import_extension(name)


def serve(arguments: argparse.Namespace) -> None:
    """Run the REST and the gRPC service on 127.0.0.1."""
    # The emulator reads its settings from the environment while it is imported.
    os.environ["DATA_DIR"] = str(arguments.data)
    os.environ["DEFAULT_PROJECT_ID"] = arguments.project
    os.environ["DEFAULT_DATASET_ID"] = arguments.dataset
    if arguments.storage_root:
        os.environ["GCS_LOCAL_ROOT"] = str(arguments.storage_root)
    else:
        os.environ["STORAGE_EMULATOR_HOST"] = arguments.storage_url
    # For each parameter of a statement it tries to import pandas, which is not installed.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    warnings.simplefilter("ignore")

    # What is imported stays, so nobody looks through it for garbage.
    gc.disable()
    import uvicorn
    from local_bigquery.grpc import server

    sys.path.insert(0, str(Path(__file__).parent))
    import bigquery_bytes
    import bigquery_inheritance
    import bigquery_lookups
    import bigquery_names
    import bigquery_patches
    import bigquery_read_sessions
    import bigquery_records
    import bigquery_row_access
    import bigquery_rules_jobs
    import bigquery_rules_statements
    import bigquery_rules_tables
    import bigquery_rules_writes
    import bigquery_scripts
    import bigquery_tables
    import bigquery_time_zone
    import bigquery_translation

    bigquery_tables.apply()
    bigquery_records.apply()
    bigquery_lookups.apply()
    bigquery_translation.apply()
    bigquery_patches.apply(arguments.storage_url if arguments.storage_root else "")
    bigquery_read_sessions.apply()
    bigquery_scripts.apply()
    bigquery_row_access.apply()
    bigquery_inheritance.apply()
    bigquery_rules_tables.apply()
    bigquery_rules_writes.apply(arguments.storage_url)
    bigquery_rules_statements.apply()
    bigquery_rules_jobs.apply()
    bigquery_bytes.apply()
    bigquery_time_zone.apply()
    bigquery_names.apply()
    gc.freeze()
    gc.enable()
    # The variable keeps a reference: without one, Python deletes the gRPC server, and it stops.
    grpc_server, _ = server.start("127.0.0.1", arguments.grpc_port)
    uvicorn.run("local_bigquery:app", host="127.0.0.1", port=arguments.port, access_log=False)
    grpc_server.stop(None)


if __name__ == "__main__":
    main(sys.argv[1:])
