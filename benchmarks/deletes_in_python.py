"""Deletes the rows of a table of BigQuery whose keys PostgreSQL lacks, by a comparison of all keys in Python.

As scripts around sling and dlt do it: the driver fetches the source's keys, the Storage Read API the destination's.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

import psycopg2
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from sync_pipeline.sources.bigquery.client import connected_read_client

# Keys that the driver fetches at once.
_FETCHED = 50_000


def main(argv: Sequence[str]) -> int:
    """Compare the column `id`, and delete what is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("project")
    parser.add_argument("dataset")
    given = parser.parse_args(argv)
    missing = set(destination_keys(given.project, given.dataset, given.table))
    missing.difference_update(source_keys(given.table))
    table_id = f"{given.project}.{given.dataset}.{given.table}"
    keys = bigquery.ArrayQueryParameter("keys", "INT64", sorted(missing))
    client = bigquery.Client(project=given.project)
    client.query_and_wait(
        f"DELETE FROM `{table_id}` WHERE id IN UNNEST(@keys)",
        job_config=bigquery.QueryJobConfig(query_parameters=[keys]),
    )
    print(f"deleted {len(missing):,} rows")
    return 0


def source_keys(table: str) -> Iterator[int]:
    """Yield the keys of a table of PostgreSQL, through a cursor of the server."""
    connection = psycopg2.connect(os.environ["SANDBOX_POSTGRESQL_DSN"])
    with connection, connection.cursor("keys") as cursor:
        cursor.itersize = _FETCHED
        cursor.execute(f"SELECT id FROM {table}")
        for (key,) in cursor:
            yield key
    connection.close()


def destination_keys(project: str, dataset: str, table: str) -> Iterator[int]:
    """Yield the keys of a table of BigQuery."""
    session = types.ReadSession(
        table=f"projects/{project}/datasets/{dataset}/tables/{table}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=["id"]),
    )
    with connected_read_client() as client:
        opened = client.create_read_session(parent=f"projects/{project}", read_session=session, max_stream_count=1)
        for stream in opened.streams:
            for page in client.read_rows(stream.name).rows(opened).pages:
                yield from page.to_arrow().column("id").to_pylist()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
