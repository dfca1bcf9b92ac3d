"""One command syncs a whole database, and the next what changed: every value of every table is compared."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from psycopg2 import sql

from tests.integration.syncing import Run, Syncing
from tests.integration.table_values import Rows, bigquery_rows, postgresql_rows

DATABASE = Path(__file__).with_name("whole_database.sql")

# What differs by table: timestamps of another name.
TABLES = """
tables:
  - postgresql_table: crm.leads
    smart_sync_timestamp_column: updatedAt
"""
# A wildcard does not choose the view.
SELECTED = {
    "postgresql_query": None,
    "postgresql_table": "*.*,shop.open_orders",
    "destination_bigquery_table": "{schema}_{table}",
    "smart_sync_settle_seconds": "0",
}
# The columns with names that BigQuery does not allow.
RENAMED = {
    "Order Id": "Order_Id",
    "Größe": "Grosse",
    "Preis (€)": "Preis",
    "1st": "c_1st",
    "Kunde/Nr": "Kunde_Nr",
    "日本": "field_e697a5e69cac",
    "a.b": "a_b",
    'with "quotes"': "with_quotes",
    "with,comma": "with_comma",
    "Geändert": "Geandert",
}
LEFT_OUT = {
    *(
        "activities_2025",
        "activities_2025_calls",
        "activities_2025_rest",
        "activities_rest",
        "readings_0",
        "readings_1",
    ),
    *("partners", "interns", "not_filled", "nothing"),
}
# Rows that no interval has contained.
UNREAD = {"crm.future": "updated_at <= now()", "crm.forever": "updated_at IS DISTINCT FROM 'infinity'"}


CHANGES = """
    UPDATE hr.quota SET share = 1 WHERE share = 'NaN';
    DELETE FROM shop.customers WHERE id = 60;
    UPDATE shop.customers SET full_name = 'changed', updated_at = now() WHERE id <= 3;
    INSERT INTO shop.customers (email, full_name) VALUES ('new@example.org', 'new');
    UPDATE shop."Price List" SET "Größe" = 'S', updated_at = now() WHERE "Order Id" = 2;
    UPDATE crm.contacts SET phones = NULL WHERE updated_at IS NULL;
    UPDATE crm.activities SET note = 'changed', updated_at = now() WHERE kind = 'call';
    UPDATE crm.future SET updated_at = now() WHERE id = 2;
    DELETE FROM shop.countries WHERE sort < 3;
    INSERT INTO shop.countries VALUES ('X', 'new', 9, NULL);
    DELETE FROM iot.readings WHERE device < 20;
    TRUNCATE iot.log;
    UPDATE hr.interns SET name = 'Cem the second';
    UPDATE shop.payments SET amount = 'NaN', updated_at = now();
    ALTER TABLE shop.taxes ADD note text;
    ALTER TABLE shop.units RENAME TO measures;
    DROP TABLE shop.wishlists;
    CREATE TABLE shop.vouchers (code text PRIMARY KEY, worth money);
    INSERT INTO shop.vouchers VALUES ('a', 10);
"""


@pytest.fixture
def company(syncing: Syncing, tmp_path: Path) -> Company:
    syncing.execute(DATABASE.read_text())
    file = tmp_path / "tables.yaml"
    file.write_text(TABLES)
    return Company(syncing, str(file))


class Company:
    """A company's database, and the dataset it is synced to."""

    def __init__(self, syncing: Syncing, tables_file: str) -> None:
        self.syncing = syncing
        self._tables_file = tables_file

    def run(self) -> Run:
        return self.syncing.run(**SELECTED, tables_file=self._tables_file)

    def tables(self) -> set[tuple[str, str]]:
        """Return the tables that should be synced."""
        relations = self.syncing.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema !~ '^pg_|^information_schema'"
            " UNION SELECT schemaname, matviewname FROM pg_matviews"
        )
        return {(schema, name) for schema, name in relations if name not in LEFT_OUT}

    def source(self, schema: str, name: str) -> Rows:
        table = self.syncing.table(destination(schema, name))
        assert self.syncing.postgresql is not None
        where = UNREAD.get(f"{schema}.{name}", "")
        return postgresql_rows(self.syncing.postgresql, sql.Identifier(schema, name), table.schema, RENAMED, where)

    def copy(self, schema: str, name: str) -> Rows:
        return bigquery_rows(self.syncing.client.list_rows(self.syncing.table(destination(schema, name))))

    def different(self, but: Collection[str]) -> dict[str, tuple[Rows, Rows]]:
        """Return the rows only at the source, and those only in the copy, of all tables with any `but` some."""
        found = {}
        for schema, name in sorted(self.tables()):
            if f"{schema}.{name}" in but:
                continue
            there, here = self.source(schema, name), self.copy(schema, name)
            if there != here:
                found[f"{schema}.{name}"] = there - here, here - there
        return found


def destination(schema: str, name: str) -> str:
    return "shop_odd_name" if name == "odd.name" else f"{schema}_{name}"


def failures(run: Run) -> dict[str, str]:
    """Return the errors of the tables that failed, by the tables' names."""
    count, *lines = run.errors
    assert count == f"{len(lines)} of {len(lines) + sum('sync report: ' in line for line in run.log)} tables failed"
    return {name: error for name, _, error in (line.partition(": ") for line in lines)}


@pytest.mark.timeout(300)
def test_a_whole_database(company: Company) -> None:
    at = company.syncing
    first = company.run()
    failed = failures(first)
    assert list(failed) == ["hr.quota"]
    # The remedy.
    assert 'transformation_config={"type_overrides": {"share": "STRING"}}' in failed["hr.quota"]
    names = company.tables()
    assert len(names) >= 60
    assert set(at.tables()) == {destination(*name) for name in names} - {"hr_quota"}
    assert company.different(but={"hr.quota"}) == {}
    assert at.left_over() == []
    assert any("crm.forever" in risk and "infinity" in risk for risk in first.risks)

    at.execute(CHANGES)
    second = company.run()
    failed = failures(second)
    assert sorted(failed) == ["shop.payments", "shop.taxes"]
    assert "ALTER TABLE" in failed["shop.taxes"]
    assert "type_overrides" in failed["shop.payments"]
    assert "schema_evolution=add" in failed["shop.taxes"]
    # A merge keeps the rows that were deleted at the source.
    ((table, (missing, surplus)),) = company.different(but={"shop.payments", "shop.taxes"}).items()
    assert (table, missing) == ("shop.customers", {})
    ((deleted, count),) = surplus.items()
    assert (deleted[0], count) == (60, 1)
    # What failed, what disappeared and what has another name now is as it was.
    for table, count in {"shop_payments": 1, "shop_taxes": 5, "shop_wishlists": 4, "shop_units": 5}.items():
        assert at.column(f"SELECT COUNT(*) FROM {table}") == [count]
    assert at.left_over() == []
