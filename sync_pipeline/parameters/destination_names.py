"""Names of destination tables made from the names of source tables: `{schema}_{table}`."""

from __future__ import annotations

import re

from sync_pipeline.parameters.identifiers import check_table, sanitised_table
from sync_pipeline.parameters.source_tables import TableName
from sync_pipeline.suggestions import did_you_mean

TABLE_FIELD, SCHEMA_FIELD = "{table}", "{schema}"
_FIELDS = (SCHEMA_FIELD, TABLE_FIELD)
_BRACES = re.compile(r"\{[^{}]*\}")


def check_destination(template: str) -> str | None:
    """Return what is wrong with a destination table's name, which may have fields, worded to follow it, or None."""
    for found in _BRACES.findall(template):
        if found not in _FIELDS:
            hint = did_you_mean(found, _FIELDS)
            return f"{found} is unknown; {' and '.join(_FIELDS)} stand for the names of the source's table{hint}"
    return check_table(_BRACES.sub("x", template))


def has_fields(template: str) -> bool:
    """Whether the name depends on the source's table."""
    return any(known in template for known in _FIELDS)


def destination_name(template: str, table: TableName) -> str:
    """Return the name of the destination table of a source's table.

    An underscore replaces each character of the source's names that BigQuery does not allow.
    """
    names = {SCHEMA_FIELD: sanitised_table(table.schema), TABLE_FIELD: sanitised_table(table.name)}
    # In one pass, because a name may have braces itself.
    return _BRACES.sub(lambda found: names[found[0]], template)
