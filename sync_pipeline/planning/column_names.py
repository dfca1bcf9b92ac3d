"""Names that BigQuery allows, for the columns of a catalog's tables. Pure.

One badly named column must not stop its table, nor one table the run. A query has an author, who can rename the column
with AS; a table that a pattern chose has none, so its columns are renamed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.identifiers import column_name


def with_allowed_names(config: SyncConfig, columns: Sequence[str]) -> tuple[SyncConfig, tuple[str, ...]]:
    """Return the configuration with a similar name for each column whose name is not allowed, and notes about them.

    The new name depends only on the old one, not on the other columns, so that a column that is added to the table
    never takes the place of another. Two columns with one name are an error of a later step.

    Args:
        columns: the source's names of the table's columns.
    """
    given = config.transformation
    renamed = {
        name: column_name(name)
        for name in columns
        if name not in given.field_mappings
        and name not in given.exclude_fields
        and (not given.include_fields or name in given.include_fields)
        and column_name(name) != name
    }
    if not renamed:
        return config, ()
    mappings = {**renamed, **given.field_mappings}
    note = "renamed, as BigQuery does not allow the names: " + ", ".join(
        f"{old} to {new}" for old, new in renamed.items()
    )
    transformation = given.model_copy(update={"field_mappings": mappings})
    return replace(config, transformation=transformation), (f"{note}. field_mappings chooses other names",)
