"""The demo's last part: a BigQuery table is copied inside BigQuery, and no row leaves BigQuery."""

from collections.abc import Mapping

from google.cloud import bigquery

COPY_TABLE = "orders_copy"

# The copy hashes the names of customers, which a query can do as well as the workers.
TRANSFORMATION = '{"hash_fields": ["customer"]}'


def copy_parameters(source: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a sync from the destination of the parameters `source` into a table beside it."""
    destination = {name: value for name, value in source.items() if name.startswith("destination_")}
    return {
        "data_source": "bigquery",
        **{name.replace("destination_", "source_"): value for name, value in destination.items()},
        "transformation_config": TRANSFORMATION,
        **destination,
        "destination_bigquery_table": COPY_TABLE,
        "temp_location": source["temp_location"],
    }


def differing_rows(client: bigquery.Client, table_id: str) -> int:
    """Return how many rows of the table are not in its copy, with the customer's hash and all other values."""
    copy_id = f"{table_id.rpartition('.')[0]}.{COPY_TABLE}"
    expected = (
        f"SELECT TO_HEX(SHA256(t.customer)) AS customer, t.id, t.status, t.amount, t.updated_at FROM `{table_id}` t"
    )
    found = f"SELECT t.customer, t.id, t.status, t.amount, t.updated_at FROM `{copy_id}` t"
    rows = client.query_and_wait(f"SELECT COUNT(*) FROM ({expected} EXCEPT DISTINCT {found})")
    return int(next(iter(rows))[0])
