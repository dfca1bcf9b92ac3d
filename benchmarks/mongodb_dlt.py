"""The same reading by dlt, with ingestr's MongoDB source; runs in `.venv-ingestr`.

    python benchmarks/mongodb_dlt.py DATABASE COLLECTION FOLDER

It reads from SANDBOX_MONGODB_URI, and prints one line of JSON: the number of documents, and the seconds without the
start of Python.
"""

import json
import os
import sys
import time
from pathlib import Path


def main(database: str, collection: str, folder: str) -> None:
    """Extract, normalise and load into Parquet files in `folder`, with ingestr's settings."""
    # By default dlt sends telemetry, and keeps its state in the home folder.
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": f"{folder}/.dlt",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    import dlt
    import pyarrow.parquet
    from ingestr.src.mongodb import mongodb_collection

    # ingestr's default.
    dlt.config["data_writer.buffer_max_items"] = 50_000
    dlt.config["data_writer.file_max_items"] = 100_000
    dlt.config["extract.workers"] = dlt.config["extract.max_parallel_items"] = 5
    destination = dlt.destinations.filesystem(bucket_url=f"file://{folder}/loaded")
    pipeline = dlt.pipeline(
        "benchmark", pipelines_dir=f"{folder}/.pipelines", destination=destination, dataset_name="d"
    )
    began = time.monotonic()
    uri = os.environ["SANDBOX_MONGODB_URI"]
    documents = mongodb_collection(connection_url=uri, database=database, collection=collection, parallel=False)
    documents.max_table_nesting = 1
    pipeline.run(documents, loader_file_format="parquet", write_disposition="replace")
    seconds = time.monotonic() - began
    files = Path(folder, "loaded", "d", collection).rglob("*.parquet")
    rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
    print(json.dumps({"rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
