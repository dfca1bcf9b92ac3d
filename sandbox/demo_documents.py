"""The demo's second part: documents in MongoDB, no two of which need to look alike, are merged into a table."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pymongo.collection import Collection

from sandbox import demo_run, demo_screen, demo_tickets, mongodb
from sandbox.demo_run import Report
from sandbox.demo_steps import SETTLE_SECONDS, Demo, DemoError, expect_equal, step, sync
from sandbox.demo_tickets import Ticket

TICKETS, INSERTS, UPDATES = 10_000, 100, 50

_SHOWN = "_id, status, priority, JSON_VALUE(customer, '$.address.city') AS city, rating, language"


def play(demo: Demo) -> tuple[Report, Report]:
    """Sync a collection, change it, and sync it again; return both reports. Raises DemoError."""
    documents = with_documents(demo)
    with mongodb.connect(demo.endpoints.mongodb_uri) as client:
        tickets = client[demo.endpoints.mongodb_database][demo_tickets.COLLECTION]
        show_source(documents, tickets)
        demo_screen.title(demo.console, "A sync of documents: no schema, and no key has to be named")
        demo.console.print(demo_run.shown_command(documents.parameters), soft_wrap=True)
        first = sync(documents, TICKETS)
        show_destination(documents)
        change_source(documents, tickets)
        demo_screen.title(demo.console, "The same command again: documents are merged by _id")
        second = sync(documents, INSERTS + UPDATES)
        show_equality(documents, tickets)
    return first, second


def with_documents(demo: Demo) -> Demo:
    """Return the demo with the collection as its source, and a table for it as its destination."""
    parameters = {
        **demo_run.mongodb_parameters(demo.endpoints),
        "mongodb_collection": demo_tickets.COLLECTION,
        "enable_smart_sync": "true",
        "smart_sync_timestamp_column": "updated_at",
        "enable_auto_schema": "true",
        "partition_field": "created_at",
        "clustering_fields": "_id",
        **demo_run.destination_parameters(demo.endpoints),
        "destination_bigquery_table": demo_tickets.COLLECTION,
    }
    dataset_id = demo.table_id.rpartition(".")[0]
    return replace(demo, table_id=f"{dataset_id}.{demo_tickets.COLLECTION}", parameters=parameters)


def show_source(demo: Demo, tickets: Collection[Ticket]) -> None:
    """Make the collection, and show two of its documents."""
    with step(demo, f"Documents in MongoDB: {TICKETS:,} support tickets"):
        demo.client.delete_table(demo.table_id, not_found_ok=True)
        demo_tickets.create_tickets(tickets, TICKETS)
    demo.console.print("No two need to look alike: look at _id, priority, rating and language.")
    for found in (tickets.find_one(sort={"_id": 1}), tickets.find_one(sort={"_id": -1})):
        demo.console.print(f"    {_shown(found or {})}", soft_wrap=True)


def show_destination(demo: Demo) -> None:
    """Show the table that the run made, and some of its rows."""
    demo_screen.title(demo.console, "Every field of every document has its column")
    demo.console.print(demo_screen.schema_table(demo.client.get_table(demo.table_id)))
    rows = demo.client.query_and_wait(f"SELECT {_SHOWN} FROM `{demo.table_id}` ORDER BY created_at DESC LIMIT 4")
    demo.console.print(demo_screen.rows_table([field.name for field in rows.schema], [row.values() for row in rows]))


def change_source(demo: Demo, tickets: Collection[Ticket]) -> None:
    """Open tickets and solve others, and wait until a run reads them."""
    with step(demo, f"Meanwhile, at the source: {INSERTS} new tickets, {UPDATES} solved, in place"):
        demo_tickets.change_tickets(tickets, INSERTS, UPDATES)
        time.sleep(SETTLE_SECONDS)


def show_equality(demo: Demo, tickets: Collection[Ticket]) -> None:
    """Compare all values of all documents, and count them: each is there once."""
    with step(demo, "Is the table equal to the collection as it is?"):
        comparisons = demo_tickets.compare_tickets(tickets, demo.client, demo.table_id)
        count = tickets.count_documents({})
        ((stored,),) = (row.values() for row in demo.client.query_and_wait(f"SELECT COUNT(*) FROM `{demo.table_id}`"))
    demo.console.print(demo_screen.comparison_table(comparisons, "MongoDB"))
    expect_equal(comparisons, "MongoDB")
    if count != stored:
        raise DemoError(f"MongoDB has {count:,} tickets, {demo.table_id} has {stored:,} rows")
    demo.console.print(f"MongoDB has {count:,} tickets and the table {stored:,} rows; the solved ones are solved here.")


def _shown(document: Mapping[str, Any]) -> str:
    """Return a document as it is written in MongoDB's shell, without its longer fields."""
    left_out = {"subject", "messages", "created_at", "updated_at"}
    return "{" + ", ".join(f"{name}: {value!r}" for name, value in document.items() if name not in left_out) + " …}"
