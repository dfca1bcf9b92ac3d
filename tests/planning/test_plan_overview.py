from __future__ import annotations

from dataclasses import replace

from sync_pipeline.errors import SchemaError
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.planning.plan_text import plan_lines, plan_page
from sync_pipeline.planning.run_plan import FailedTable, RunPlan
from sync_pipeline.sources.source import ReadPlan, ReadSplit
from tests.plans import INTERVAL, plan, run_plan

SPLITS = (ReadSplit(1, 2, "SELECT 1"), ReadSplit(2, 2, "SELECT 2"))
ORDERS = plan(
    {"primary_key": "id", "destination_bigquery_table": "orders"},
    interval=INTERVAL,
    write_mode=WriteMode.MERGE,
    read=ReadPlan("SELECT * FROM orders", SPLITS, estimated_rows=1234567),
    source_table="public.orders",
    source_bytes=3 * 2**20,
    mode_reason="key id, timestamps updated_at",
    transport="TLSv1.3, certificate verified",
    primary_key=("id",),
    risks=("the server is a standby", "only of orders"),
)
REGIONS = plan(
    {"destination_bigquery_table": "regions"},
    write_mode=WriteMode.TRUNCATE,
    creates_table=True,
    source_table="public.regions",
    mode_reason="the table has no primary key",
    transport="TLSv1.3, certificate verified",
    notes=("a note",),
    risks=("the server is a standby",),
)
FAILED = FailedTable("public.geo", SchemaError("column 'shape' is geometry:\nexclude it"))


def test_the_page_has_a_line_a_table_and_each_warning_once() -> None:
    both = replace(run_plan(ORDERS, REGIONS), failed=(FAILED,))
    assert (
        plan_page(both)
        == """\
Sync 2 tables of PostgreSQL with my-project.production (1 merged, 1 reloaded, 1 that cannot be planned): at least \
1,234,567 rows.
Time: unknown, as the source does not estimate all sizes. Cost in BigQuery: none, loads are free.
Risks
    - the server is a standby
    - public.orders: only of orders
Sync
    2 tables of postgresql to my-project.production, 1 that cannot be planned (run 20250722T150000_0a1b2c3d)
    connection: TLSv1.3, certificate verified
Tables
    Table           Rows       Size     Mode                     Splits  Destination    Why
    public.orders   1,234,567  3.0 MiB  merge by id, Smart Sync  2       orders         key id, timestamps updated_at
    public.regions  unknown    unknown  replace all rows         1       regions (new)  the table has no primary key
Failed
    - public.geo: column 'shape' is geometry: exclude it
Notes
    - public.regions: a note"""
    )


LOG = """\
plan: Sync 2 tables of PostgreSQL with my-project.production (1 merged, 1 reloaded, 1 that cannot be planned): at \
least 1,234,567 rows.
plan: Time: unknown, as the source does not estimate all sizes. Cost in BigQuery: none, loads are free.
plan: run 20250722T150000_0a1b2c3d: 2 tables of postgresql to my-project.production, 1 that cannot be planned
plan: public.orders to orders: merge by id, Smart Sync (key id, timestamps updated_at), rows: 1,234,567, \
size: 3.0 MiB, splits: 2
plan: public.regions to regions (new): replace all rows (the table has no primary key), rows: unknown, size: unknown, \
splits: 1
plan: failed: public.geo: column 'shape' is geometry: exclude it
plan: note: public.regions: a note
plan: risk: the server is a standby
plan: risk: public.orders: only of orders"""


def test_the_log_has_a_line_a_table() -> None:
    assert "\n".join(plan_lines(RunPlan(ORDERS.run, run_plan(ORDERS, REGIONS).tables, (FAILED,)))) == LOG


def test_names_beyond_five_are_counted() -> None:
    tables = [
        plan({"destination_bigquery_table": f"t{n}"}, source_table=f"t{n}", risks=("a standby",)) for n in range(7)
    ]
    assert "plan: risk: t0, t1, t2, t3, t4 and 2 more: a standby" in plan_lines(run_plan(ORDERS, *tables))


def test_a_run_of_one_table_has_the_warnings_of_the_run() -> None:
    alone = replace(run_plan(ORDERS), notes=("a view is left out",), risks=("a password in plain text",))
    lines = plan_lines(alone)
    assert "plan: note: a view is left out" in lines
    assert lines[-3:] == [
        "plan: risk: a password in plain text",
        "plan: risk: the server is a standby",
        "plan: risk: only of orders",
    ]
    assert "merge by id (key id, timestamps updated_at): " in lines[2]
    assert "- a password in plain text" in plan_page(alone)


def test_the_table_fits_a_terminal() -> None:
    page = plan_page(run_plan(ORDERS, REGIONS), 80)
    assert max(map(len, page.split("\n"))) <= 80
    assert "public.orders" in page
