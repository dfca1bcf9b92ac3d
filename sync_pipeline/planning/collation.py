"""Refuses to compare texts by a collation, by which `A` and `a` are one key, and one value.

https://cloud.google.com/bigquery/docs/reference/standard-sql/collation-concepts
"""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipeline.errors import SchemaError
from sync_pipeline.googlesql import quoted
from sync_pipeline.parameters.config import DestinationConfig
from sync_pipeline.planning.destination import DestinationDescription
from sync_pipeline.schema import Schema


def check_collation(
    config: DestinationConfig,
    destination: DestinationDescription,
    schema: Schema,
    compared: Sequence[str],
    parameter: str,
) -> None:
    """Check that the columns are compared as they are.

    Args:
        schema: the columns of the run.
        compared: the columns by which rows are found, or which are compared.
        parameter: what makes the run compare them, for the message.

    Raises:
        SchemaError: a column, or a dataset in which the run creates tables, has a collation.
    """
    texts = [name for name in compared if schema.field(name).type == "STRING"]
    if not texts:
        return
    meaning = "so texts that differ only in case would count as one"
    table = destination.kept_table
    if table is not None:
        collated = {name.lower() for name in table.collated}
        if found := [name for name in texts if name.lower() in collated]:
            raise SchemaError(
                f"{parameter}: {', '.join(found)} of {config.table_id} has a collation, {meaning}: sync into a table "
                "without it"
            )
    staging = config.staging_dataset or config.dataset
    needed = {staging} if table is not None else {staging, config.dataset}
    if found := [name for name in destination.collated_datasets if name in needed]:
        raise SchemaError(
            f"{parameter}: new tables of the dataset {found[0]} get its default collation, {meaning}: run ALTER SCHEMA "
            f"{quoted(f'{config.project}.{found[0]}')} SET DEFAULT COLLATE '', or name a dataset without it"
        )
