"""The demo's documents: a collection of support tickets in MongoDB, its changes, and its comparison with BigQuery.

No two tickets need to look alike. A priority is a number or a word, an `_id` an ObjectId or an older system's number,
a field may be missing, and one is in the very last tickets only.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId
from google.cloud import bigquery
from pymongo.collection import Collection

from sandbox.demo_orders import Comparison

COLLECTION = "tickets"

_NAMES = ("Siobhán O'Brien", "Łukasz Nowak", "佐藤 美咲", 'Zoë "Zo" Müller')
_CITIES = ("Gdańsk", "Lima", "大阪")
_PRIORITIES = (1, 2, 3, "high")
_LATE = 10

Ticket = dict[str, Any]


def create_tickets(tickets: Collection[Ticket], number: int) -> None:
    """Make the collection, with an index, and fill it with `number` tickets of the last three months."""
    tickets.drop()
    now = datetime.now(UTC).replace(microsecond=0)
    spacing = timedelta(days=90) / number
    tickets.insert_many(ticket(n, number, now - timedelta(days=91) + n * spacing) for n in range(number))
    tickets.create_index("updated_at")


def ticket(n: int, number: int, moment: datetime) -> Ticket:
    """Return ticket `n` of `number`, made and last changed at `moment`."""
    # BSON counts milliseconds.
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    made: Ticket = {
        "_id": n if n % 10 == 0 else ObjectId(f"{n:024x}"),
        "subject": f"Order {n * 7919 % 100_000} never arrived,\nor did it?",
        "priority": _PRIORITIES[n % len(_PRIORITIES)],
        "status": "open",
        "customer": {"name": _NAMES[n % 4], "address": {"city": _CITIES[n % 3], "floor": n % 9}},
        "messages": [{"from": "customer", "text": f"Where is it? ({k})"} for k in range(n % 4)],
        "refund": Decimal128(f"{n % 1000}.{n % 100:02}"),
        "created_at": moment,
        "updated_at": moment,
    }
    if n % 3 == 0:
        made["rating"] = n % 5 if n % 2 else n % 5 + 0.5
    if n >= number - _LATE:
        made["language"] = "pl"
    return made


def change_tickets(tickets: Collection[Ticket], inserts: int, updates: int) -> None:
    """Open new tickets and solve old ones, in place, as a help desk does between two runs."""
    now = datetime.now(UTC)
    first = tickets.estimated_document_count()
    tickets.insert_many(ticket(n, first + inserts, now) for n in range(first, first + inserts))
    solved = [found["_id"] for found in tickets.find({"status": "open"}, {"_id": 1}).sort("_id").limit(updates)]
    tickets.update_many(
        {"_id": {"$in": solved}},
        {
            "$set": {"status": "solved", "updated_at": now},
            "$push": {"messages": {"from": "help desk", "text": 'Left with "the neighbours"'}},
        },
    )


def compare_tickets(tickets: Collection[Ticket], client: bigquery.Client, table_id: str) -> list[Comparison]:
    """Compare all values of all tickets, field by field."""
    there = [{name: _plain(value) for name, value in found.items()} for found in tickets.find()]
    for found in there:
        # A key can have but one type in BigQuery.
        found["_id"] = str(found["_id"])
    rows = client.query_and_wait(f"SELECT * FROM `{table_id}`")
    here = [{name: _plain(value) for name, value in row.items()} for row in rows]
    names = sorted({name for found in there for name in found} | {field.name for field in rows.schema})
    return [Comparison(name, _fingerprint(there, name), _fingerprint(here, name)) for name in names]


def _fingerprint(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return one hash of all values of a field, in the order of the `_id`s; missing and NULL are alike."""
    values = [(row["_id"], row.get(name)) for row in rows]
    values.sort(key=lambda pair: str(pair[0]))
    return hashlib.md5(json.dumps(values, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value of either side as the same plain one."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Decimal128):
        return _plain(value.to_decimal())
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
