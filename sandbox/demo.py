"""The demo, `make demo`: a table of orders in PostgreSQL is synced to BigQuery, changed, and synced again.

The demo does this for two tables: one keeps every version of an order, the other one row per order, without the deleted
ones. The second table is compared with its source, and synced from BigQuery to BigQuery. Then documents in MongoDB are
synced in the same way, and at the end a whole database, by one command.

The servers are the sandbox's. `main.py` starts like a template launch, and the demo shows its output while it runs.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import psycopg2
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from pymongo.errors import PyMongoError
from rich.console import Console

import sandbox
from sandbox import demo_bigquery, demo_documents, demo_orders, demo_run, demo_screen, demo_tables
from sandbox.demo_run import Report
from sandbox.demo_steps import SETTLE_SECONDS, Demo, DemoError, expect, expect_equal, reported, run, step, sync
from sandbox.endpoints import Endpoints

ROWS, INSERTS, UPDATES, DELETES = 200_000, 1_000, 500, 200

QUERY = "SELECT * FROM demo_shop.orders WHERE updated_at > '{start_timestamp}' AND updated_at <= '{end_timestamp}'"


# The parameters for the second table: it has one row per order, in the partition of the order's creation day, and none
# that is deleted at the source.
MERGED = {
    "destination_bigquery_table": demo_run.MERGED_TABLE,
    "primary_key": "id",
    "deletes": "remove",
    "partition_field": "created_at",
    "clustering_fields": "id",
}


# What to try after the demo: words of `sync-to-bigquery`, and what they do.
NEXT = {
    "init": "look at a database, and write sync.yaml",
    "run": "sync it from this machine",
    "launch": "print the commands for Google Cloud",
}


def main(argv: Sequence[str]) -> int:
    """Run the demo and return its exit code: 0 only if every step succeeded."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description="Run the product on this machine.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"orders to begin with, {UPDATES} or more ({ROWS})")
    rows = parser.parse_args(argv).rows
    if rows < UPDATES:
        parser.error(f"--rows is {rows}: the demo changes {UPDATES} of them")
    # On SIGTERM and SIGHUP, as on Ctrl-C, stop the servers in order.
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _interrupt)
    console = demo_screen.new_console()
    began = time.monotonic()
    try:
        with prepared(console, rows) as demo:
            play(demo)
    except KeyboardInterrupt:
        console.print("\nInterrupted. The servers are stopped.")
        return 130
    except (DemoError, sandbox.SandboxError, psycopg2.Error, PyMongoError) as error:
        console.print(f"\ndemo: {error}", style="red", soft_wrap=True)
        return 1
    console.print(
        f"\nAll of it took {time.monotonic() - began:.0f} s; the servers are stopped and their data is deleted."
    )
    console.print("\nThree commands to try next:", style="bold cyan")
    for command, text in NEXT.items():
        console.print(f"  .venv/bin/sync-to-bigquery {command:<8}{text}")
    console.print("Which way to launch: docs/how-to/which-way-to-launch.md")
    console.print("These servers, for commands of your own: .venv/bin/python -m sandbox up")
    return 0


def play(demo: Demo) -> None:
    """Run all steps. Raises DemoError at the first unexpected result."""
    show_source(demo)
    show_mistake(demo)
    show_dry_run(demo)
    demo_screen.title(demo.console, "The first run: everything")
    demo.console.print(demo_run.shown_command(demo.parameters), soft_wrap=True)
    first = sync(demo, demo.rows)
    show_destination(demo)
    change_source(demo)
    demo_screen.title(demo.console, "The second run: only what is new")
    demo.console.print("python main.py …   (the same command, not a letter of it changed)")
    second = sync(demo, INSERTS + UPDATES)
    show_comparison(demo)
    orders = demo_orders.count_orders(demo.connection)
    merging = merged(demo)
    demo_screen.title(demo.console, "With primary_key: one row for each order, always the newest")
    parameters = " ".join(f"--{name}={value}" for name, value in MERGED.items())
    demo.console.print(f"python main.py … {parameters}", soft_wrap=True)
    third = sync(merging, orders)
    change_source(merging, DELETES)
    demo_screen.title(demo.console, "The same command again")
    fourth = sync(merging, INSERTS + UPDATES)
    show_equality(merging)
    reconciled = show_reconciliation(merging)
    copy = show_copy(merging)
    fifth, sixth = demo_documents.play(demo)
    seventh, eighth = demo_tables.play(demo)
    demo_screen.title(demo.console, "In one table")
    reports = {"append 1": first, "append 2": second, "merge 1": third, "merge 2": fourth}
    reports |= {"reconcile": reconciled, "BigQuery": copy, "MongoDB 1": fifth, "MongoDB 2": sixth}
    reports |= {"database 1": seventh, "database 2": eighth}
    demo.console.print(demo_screen.summary(reports))
    demo.console.print("Time runs from the plan to the publication, without the start of Python.")


def merged(demo: Demo) -> Demo:
    """Return the demo with the second table as its destination."""
    dataset_id = demo.table_id.rpartition(".")[0]
    return replace(demo, table_id=f"{dataset_id}.{demo_run.MERGED_TABLE}", parameters={**demo.parameters, **MERGED})


def change_source(demo: Demo, deletes: int = 0) -> None:
    """Add orders, change others and delete some, and wait until a run reads them."""
    deleted = f", {deletes} deleted ones" if deletes else ""
    with step(demo, f"Meanwhile, at the source: {INSERTS:,} new orders, {UPDATES:,} changed ones{deleted}"):
        demo_orders.change_orders(demo.connection, INSERTS, UPDATES, deletes)
        time.sleep(SETTLE_SECONDS)
    demo.console.print("A second passes: a run leaves the newest one to the next, to be safe.")


def show_source(demo: Demo) -> None:
    """Make the table of orders, and show some of its rows."""
    with step(demo, f"A table in PostgreSQL: {demo.rows:,} orders in {demo_orders.TABLE}"):
        # On a server of your own there may be those of an earlier demo.
        for table_id in (demo.table_id, merged(demo).table_id):
            demo.client.delete_table(table_id, not_found_ok=True)
        demo_orders.create_orders(demo.connection, demo.rows)
        with demo.connection.cursor() as cursor:
            cursor.execute("SELECT id, customer, note, amount, tags FROM demo_shop.orders ORDER BY id LIMIT 4")
            names, rows = [column.name for column in cursor.description or ()], cursor.fetchall()
    demo.console.print(demo_screen.rows_table(names, rows))


def show_mistake(demo: Demo) -> None:
    """Show that a launch with two mistakes reports both, before it opens a connection."""
    demo_screen.title(demo.console, "A launch with two mistakes")
    mistakes = {"smart_sync_timestamp_colum": "updated_at", "batch_size": "lots"}
    demo.console.print("python main.py … " + " ".join(f"--{name}={value}" for name, value in mistakes.items()))
    outcome = run(demo, {**demo.parameters, **mistakes})
    expect(outcome.exit_code == 2, "exit code 2 after a mistake", outcome)
    demo.console.print("Exit code 2; nothing was read, nothing was written.")


def show_dry_run(demo: Demo) -> None:
    """Show the plan that `dry_run=true` prints instead of running, its longer parts cut."""
    demo_screen.title(demo.console, "What would happen: dry_run=true")
    outcome = demo.product.run({**demo.parameters, "dry_run": "true"})
    for line in demo_screen.shortened(outcome.output.splitlines()):
        demo_screen.show_line(demo.console, line)
    expect(outcome.exit_code == 0, "a dry run that succeeds", outcome)
    tables = [table.table_id for table in demo.client.list_tables(demo.table_id.rpartition(".")[0])]
    expect(demo_run.TABLE not in tables, "no table after a dry run", outcome)


def show_destination(demo: Demo) -> None:
    """Show the table that the run made, and some of its rows."""
    demo_screen.title(demo.console, "The table in BigQuery")
    table = demo.client.get_table(demo.table_id)
    demo.console.print(demo_screen.schema_table(table))
    demo.console.print(demo_screen.layout_line(table))
    rows = demo.client.query_and_wait(
        f"SELECT id, customer, note, amount, tags FROM `{demo.table_id}` ORDER BY id LIMIT 4"
    )
    demo.console.print(demo_screen.rows_table([field.name for field in rows.schema], [row.values() for row in rows]))


def show_comparison(demo: Demo) -> None:
    """Compare every value of the source with the destination."""
    with step(demo, "Is BigQuery now equal to PostgreSQL?"):
        comparisons = demo_orders.compare_orders(demo.connection, demo.client, demo.table_id)
        orders, stored = _counts(demo)
    demo.console.print(
        f"PostgreSQL has {orders:,} orders. BigQuery has {stored:,} rows: every version that was loaded, as rows\n"
        "are appended. The newest version of each order, with all values of a column in one fingerprint:",
        soft_wrap=True,
    )
    demo.console.print(demo_screen.comparison_table(comparisons))
    expect_equal(comparisons)


def show_equality(demo: Demo) -> None:
    """Compare the source with a destination that has one row per order."""
    with step(demo, "Is this table equal to PostgreSQL as it is?"):
        comparisons = demo_orders.compare_orders(demo.connection, demo.client, demo.table_id)
        orders, stored = _counts(demo)
    expect_equal(comparisons)
    if orders != stored:
        raise DemoError(f"PostgreSQL has {orders:,} orders, {demo.table_id} has {stored:,} rows")
    demo.console.print(
        f"PostgreSQL has {orders:,} orders and {demo_run.MERGED_TABLE} {stored:,} rows; all values are equal."
    )


def show_reconciliation(demo: Demo) -> Report:
    """Let the product compare the second table with its source, and return the run's report."""
    demo_screen.title(demo.console, "The product can compare them itself: reconcile=report")
    demo.console.print("python main.py … --reconcile=report")
    outcome = run(demo, {**demo.parameters, "reconcile": "report"})
    report = reported(outcome)
    expect(report.rows_loaded == 0 < report.rows_read, "all rows compared, and none changed", outcome)
    return report


def show_copy(demo: Demo) -> Report:
    """Sync the second table on into a third one, inside of BigQuery, and return the run's report."""
    demo_screen.title(demo.console, "From BigQuery to BigQuery: one query, and no row leaves it")
    parameters = demo_bigquery.copy_parameters(demo.parameters)
    demo.console.print(demo_run.shown_command(parameters), soft_wrap=True)
    outcome = run(demo, parameters)
    report = reported(outcome)
    expect(report.rows_read == 0 < report.rows_loaded, "rows loaded and none read", outcome)
    differing = demo_bigquery.differing_rows(demo.client, demo.table_id)
    expect(differing == 0, "a copy that is equal", outcome)
    demo.console.print("The workers have read no row; the copy has every order, with a hash for the customer.")
    return report


@contextlib.contextmanager
def prepared(console: Console, rows: int) -> Iterator[Demo]:
    """Start the servers, in a folder that goes away, and stop them at the end."""
    with tempfile.TemporaryDirectory(prefix="sandbox-demo-") as folder:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            with console.status("Starting PostgreSQL, MongoDB, BigQuery and Cloud Storage …"):
                endpoints = stack.enter_context(sandbox.running(Path(folder)))
            seconds = time.monotonic() - began
            console.print(f"PostgreSQL, MongoDB, BigQuery and Cloud Storage run here ({seconds:.1f} s to start).")
            connection = psycopg2.connect(endpoints.postgresql_dsn)
            stack.callback(connection.close)
            connection.autocommit = True
            client = bigquery.Client(
                endpoints.project, AnonymousCredentials(), client_options={"api_endpoint": endpoints.bigquery_host}
            )
            stack.callback(client.close)
            yield Demo(
                console=console,
                endpoints=endpoints,
                connection=connection,
                client=client,
                table_id=f"{endpoints.project}.{endpoints.dataset}.{demo_run.TABLE}",
                parameters=sync_parameters(endpoints),
                product=stack.enter_context(demo_run.started({**os.environ, **endpoints.environment()})),
                rows=rows,
            )


def sync_parameters(endpoints: Endpoints) -> dict[str, str]:
    """Return the parameters of the demo's sync, in the order in which they are shown."""
    return {
        **demo_run.source_parameters(endpoints),
        "postgresql_base_query": QUERY,
        "enable_smart_sync": "true",
        "smart_sync_timestamp_column": "updated_at",
        "enable_auto_schema": "true",
        "source_table_for_schema": demo_orders.TABLE,
        "partition_field": "updated_at",
        "clustering_fields": "status,customer",
        **demo_run.destination_parameters(endpoints),
    }


def _counts(demo: Demo) -> tuple[int, int]:
    """Return how many orders the source has, and how many rows the destination."""
    (stored,) = next(iter(demo.client.query_and_wait(f"SELECT COUNT(*) FROM `{demo.table_id}`"))).values()
    return demo_orders.count_orders(demo.connection), stored


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
