"""Whether a reader's files hold the rows of the benchmark's table of orders; runs in the peers' environment, by DuckDB.

    python benchmarks/peer_check.py FOLDER

It prints one line of JSON: the number of rows, and the columns with other values than the table has. Raises nothing for
those: that a peer's values differ is a result.
"""

import json
import sys
from pathlib import Path

import duckdb

# For each column, the value that the table has in the row `id`, and what the file has, as a value that can be compared.
# A file of CSV has texts, and no NULL.
EXPECTED = {
    "order_uuid": ("md5('order ' || id)::UUID", "TRY_CAST(order_uuid AS UUID)"),
    "customer": ("'customer ' || id % 10007", "customer"),
    "status": ("['new', 'paid', 'shipped', 'returned'][1 + id % 4]", "status"),
    "note": (
        """CASE WHEN id % 10 > 0 THEN 'Ring twice, say "hello", then wait: order ' || id ELSE '' END""",
        "coalesce(note, '')",
    ),
    "amount": ("(id * 7919 % 1000000 / 100)::DECIMAL(12, 2)", "TRY_CAST(amount AS DECIMAL(38, 9))"),
    "weight_kg": ("id % 9973 / 7.0::DOUBLE", "TRY_CAST(weight_kg AS DOUBLE)"),
    "is_gift": ("id % 3 = 0", "TRY_CAST(is_gift AS BOOLEAN)"),
    "created_at": ("1735689600000000 + id * 1000000", "epoch_us(TRY_CAST(created_at AS TIMESTAMPTZ))"),
    "updated_at": ("1735689600000000 + id * 1000001", "epoch_us(TRY_CAST(updated_at AS TIMESTAMPTZ))"),
    "delivery_date": ("DATE '2025-01-01' + (id % 365)::INTEGER", "TRY_CAST(delivery_date AS DATE)"),
    # Objects have no order.
    "details": (
        """'{"visits":' || id % 17 || ',"channel":"web"}'""",
        r"""regexp_replace(replace(details::VARCHAR, ' ', ''), '{("channel":"web"),("visits":\d+)}', '{\2,\1}')""",
    ),
}


def main(folder: Path) -> None:
    """Print what the files below `folder` hold."""
    connection = duckdb.connect()
    # dlt keeps what it extracted.
    files = [str(file) for file in folder.rglob("*.parquet") if "pipelines" not in file.parts]
    if files:
        rows = f"read_parquet({files})"
    else:
        relation = f"read_csv({[str(file) for file in folder.rglob('*.csv')]}, all_varchar = true, header = true)"
        # DuckDB reads no blank before an offset.
        moments = ", ".join(f"replace({name}, ' +', '+') AS {name}" for name in ("created_at", "updated_at"))
        rows = f"(SELECT * REPLACE (id::BIGINT AS id, {moments}) FROM {relation})"
    different = ", ".join(
        f"count(*) FILTER (({found}) IS DISTINCT FROM ({expected}))" for expected, found in EXPECTED.values()
    )
    count, distinct, total, *differences = connection.execute(
        f"SELECT count(*), count(DISTINCT id), sum(id), {different} FROM {rows}"
    ).fetchone()
    if not (distinct == count and total == count * (count + 1) // 2):
        sys.exit(f"{folder} has {count:,} rows with {distinct:,} different ids, whose sum is {total:,}")
    wrong = [column for column, differing in zip(EXPECTED, differences, strict=True) if differing]
    print(json.dumps({"rows": count, "inexact": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
