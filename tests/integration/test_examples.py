"""Every example of a launch, twice: the destination equals the source after the first run, and after the second.

The runs go without Beam, through the planning, reading, staging and publishing of the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from sync_pipeline import pipeline
from sync_pipeline.launching.local_run import read_local_run
from sync_pipeline.parameters.run_config import RunConfig
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import ROOT, Syncing

EXAMPLES = ROOT / "examples"

# The tables that the examples read. A row of `orders` was updated in the interval that backfill.yaml loads again.
SHOP = """
    CREATE TABLE orders (
        id int PRIMARY KEY, tenant_id int NOT NULL, status text, total numeric(8, 2), customer_id int,
        ordered_at timestamptz DEFAULT now(), created_at timestamptz DEFAULT now(),
        modified_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
    CREATE TABLE users (id int PRIMARY KEY, status text, updated_at timestamptz NOT NULL);
    CREATE TABLE customers (id int PRIMARY KEY, email text, phone text, password_hash text, country text);
    CREATE TABLE weekly_aggregations (week_ending timestamptz, region text, revenue int);
    CREATE TABLE countries (code text, name text);
    CREATE TABLE currencies (code text PRIMARY KEY);
    CREATE TABLE tax_rates (country text, rate numeric(4, 2));
    CREATE TABLE audit_events (id int PRIMARY KEY, actor text, created_at timestamptz NOT NULL);
    CREATE SCHEMA "Legacy";
    CREATE TABLE "Legacy"."Order Items" (id int PRIMARY KEY, item text);
    INSERT INTO orders (id, tenant_id, status, total, customer_id, modified_at, updated_at)
        SELECT n, 1, 'new', n, n, now() - n * interval '1 day', now() - n * interval '1 day'
        FROM generate_series(1, 3) AS n;
    INSERT INTO users VALUES (1, 'new', '2025-07-15Z'), (2, 'new', '2025-08-15Z'), (3, 'gone', now() - interval '1 h');
    INSERT INTO customers VALUES (1, 'a@example.com', '1', 'x', 'DE'), (2, NULL, NULL, NULL, NULL);
    INSERT INTO weekly_aggregations VALUES (DATE_TRUNC('week', CURRENT_DATE), 'eu', 7), ('2025-01-06', 'eu', 8);
    INSERT INTO countries VALUES ('DE', 'Germany'), ('PL', 'Poland');
    INSERT INTO currencies VALUES ('EUR'), ('PLN');
    INSERT INTO tax_rates VALUES ('DE', 19), ('DE', 19);
    INSERT INTO audit_events SELECT n, 'me', now() - n * interval '1 hour' FROM generate_series(1, 4) AS n;
    INSERT INTO "Legacy"."Order Items" VALUES (1, 'a'), (2, 'b');
"""


@dataclass(frozen=True)
class Example:
    """A launch, and what its table has to hold.

    Attributes:
        at_source: the rows that the example is about, as a query of PostgreSQL; for other sources, these rows.
        published: the query of the destination that has to give the same.
        first: an example that is run once before.
    """

    name: str
    at_source: Any
    published: str
    first: str = ""


def _counts(tables: Iterable[str]) -> str:
    """Return the query of how many rows each table has."""
    return f"SELECT {', '.join(f'(SELECT COUNT(*) FROM {name})' for name in tables)}"


ORDERS = "SELECT id, status FROM orders ORDER BY id"
USERS = "SELECT id, status FROM users ORDER BY id"
SHOP_TABLES = ("orders", "users", "customers", "weekly_aggregations", "countries", "currencies", "tax_rates")

CASES = [
    Example("mirror", ORDERS, ORDERS),
    Example("composer/launches/orders", ORDERS, ORDERS),
    Example("users-every-2-hours", USERS, USERS),
    Example("backfill", USERS, USERS, first="users-every-2-hours"),
    Example("audit-log", *["SELECT id, actor FROM audit_events ORDER BY id"] * 2),
    Example(
        "weekly-summary",
        "SELECT region, revenue FROM weekly_aggregations WHERE revenue = 7",
        "SELECT region, revenue FROM weekly_summary",
    ),
    Example("nightly-full-refresh", *[_counts(("countries", "currencies", "tax_rates"))] * 2),
    Example(
        "whole-database",
        _counts((*SHOP_TABLES, '"Legacy"."Order Items"')),
        _counts((*(f"public_{name}" for name in SHOP_TABLES), "legacy_order_items")),
    ),
    Example("business-hours", [("a", 1)], "SELECT _id, amount FROM transactions ORDER BY _id"),
    Example("mongodb-documents", [("t1",), ("t2",)], "SELECT _id FROM tickets ORDER BY _id"),
    Example("cross-region-bigquery", [(1, 7), (2, 8)], "SELECT event_id, user_id FROM user_events ORDER BY event_id"),
    Example("cloud-run/hourly-events", [(1, 7), (2, 8)], "SELECT event_id, user_id FROM user_events ORDER BY event_id"),
    Example("daily-reports", [(1,)], "SELECT report_id FROM daily_summary"),
    Example("chains/nightly note-failure", [("r1",)], "SELECT run FROM failed_chains"),
]


def _launches() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each example that launches a sync, with its parameters."""
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        name, content = str(path.relative_to(EXAMPLES).with_suffix("")), yaml.safe_load(path.read_text())
        if "data_source" in content.get("parameters", {}):
            yield name, read_local_run(path.read_text())
        for step, settings in content.get("steps", {}).items():
            if "template" in settings:
                text = yaml.safe_dump({"parameters": settings["parameters"]})
                yield f"{name} {step}", read_local_run(text.replace("${date}", "2026-11-22").replace("${run}", "r1"))


LAUNCHES = dict(_launches())


def test_every_example_has_a_case() -> None:
    assert sorted(case.name for case in CASES) == sorted(LAUNCHES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_second_run_doubles_no_row(case: Example, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    syncing, at_source = SOURCES[LAUNCHES[case.name]["data_source"]](request, case)
    if case.first:
        _run(syncing, LAUNCHES[case.first], tmp_path)
    for _ in range(2):
        _run(syncing, LAUNCHES[case.name], tmp_path)
        assert syncing.query(case.published) == at_source


def _run(syncing: Syncing, parameters: Mapping[str, str], folder: Path) -> None:
    """Run a launch with the sandbox's names in the place of the example's."""
    here = {**parameters, **_destination(syncing)} | {
        name: value for name, value in _server(syncing).items() if name.startswith(parameters["data_source"])
    }
    if parameters["data_source"] == "mongodb":
        del here["mongodb_connection_string"]
    for name in ("source_bigquery_project", "source_bigquery_dataset", "source_bigquery_query"):
        if name in here:
            here[name] = _at_sandbox(syncing, here[name])
    if "tables_file" in here:
        text = (EXAMPLES / "tables" / Path(here["tables_file"]).name).read_text()
        file = folder / "tables.yaml"
        file.write_text(text.replace("my-project.shop", f"{syncing.endpoints.project}.{syncing.dataset}"))
        here["tables_file"] = str(file)
    if "enable_smart_sync" in here or "postgresql_table" in here:
        here["smart_sync_settle_seconds"] = "0"
    here.pop("temp_location", None)
    root = pipeline.staging_root(PipelineOptions(temp_location=syncing.folder))
    plan = pipeline.plan_run(RunConfig.from_parameters(here), syncing.client, root)
    assert plan.failed == ()
    for table in plan.tables:
        syncing.publish(table)
    assert syncing.left_over() == []


def _destination(syncing: Syncing) -> dict[str, str]:
    return {
        "destination_bigquery_project": syncing.endpoints.project,
        "destination_bigquery_dataset": syncing.dataset,
    }


def _server(syncing: Syncing) -> dict[str, str]:
    endpoints = syncing.endpoints
    return {
        "postgresql_host": endpoints.postgresql_host,
        "postgresql_port": str(endpoints.postgresql_port),
        "postgresql_database": syncing.database,
        "postgresql_username": endpoints.postgresql_username,
        "postgresql_password": endpoints.postgresql_password,
        # The servers of the sandbox do not speak TLS.
        "postgresql_sslmode": "prefer",
        "mongodb_host": endpoints.mongodb_host,
        "mongodb_port": str(endpoints.mongodb_port),
        "mongodb_database": syncing.database,
        "mongodb_username": endpoints.mongodb_username,
        "mongodb_password": endpoints.mongodb_password,
    }


def _at_sandbox(syncing: Syncing, text: str) -> str:
    assert isinstance(syncing, BigquerySyncing)
    names = {
        "source-data-project": syncing.endpoints.project,
        "my-project": syncing.endpoints.project,
        "raw_data_eu": syncing.source,
        "raw_data": syncing.source,
    }
    for written, meant in names.items():
        text = text.replace(written, meant)
    return text


def _postgresql(request: pytest.FixtureRequest, case: Example) -> tuple[Syncing, Any]:
    syncing: Syncing = request.getfixturevalue("syncing")
    syncing.execute(SHOP)
    return syncing, syncing.execute(case.at_source)


def _mongodb(request: pytest.FixtureRequest, case: Example) -> tuple[Syncing, Any]:
    syncing: MongodbSyncing = request.getfixturevalue("mongodb_syncing")
    now = datetime.now(UTC) - timedelta(hours=1)
    syncing.mongodb["transactions"].insert_many(
        [
            {"_id": "a", "amount": 1, "status": "active", "business_hours": True},
            {"_id": "b", "amount": 2, "status": "closed", "business_hours": True},
        ]
    )
    syncing.mongodb["tickets"].insert_many([{"_id": "t1", "updatedAt": now}, {"_id": "t2", "updatedAt": now, "x": 1}])
    return syncing, case.at_source


def _bigquery(request: pytest.FixtureRequest, case: Example) -> tuple[Syncing, Any]:
    syncing: BigquerySyncing = request.getfixturevalue("bigquery_syncing")
    hour_ago = "TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 HOUR)"
    syncing.at_source(
        f"CREATE TABLE user_events AS SELECT n AS event_id, n + 6 AS user_id, {hour_ago} AS event_time, "
        f"{hour_ago} AS updated_at FROM UNNEST([1, 2]) AS n"
    )
    syncing.at_source(
        "CREATE TABLE reports AS SELECT n AS report_id, TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 * n HOUR) "
        "AS created_at FROM UNNEST([1, 3]) AS n"
    )
    return syncing, case.at_source


SOURCES: Mapping[str, Callable[[pytest.FixtureRequest, Example], tuple[Syncing, Any]]] = {
    "postgresql": _postgresql,
    "mongodb": _mongodb,
    "bigquery": _bigquery,
}
