"""The JSON document that `--output=json` prints at the end of a local run: its shape, and the JSON Schema of it.

It holds names, counts, times and messages, never a value of a row or a secret. A later version of the program may add
properties; `version` changes when one is removed or gets another meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class IntervalOutput(_Part):
    """Smart Sync's interval: the rows after `start`, up to and including `end`."""

    column: str = Field(description="Timestamp column at the source.")
    start: str | None = Field(description="As `end`; null for all rows up to the end.")
    end: str = Field(description="ISO 8601, without offset for a wall clock; or a number of a sequence.")


class ErrorOutput(_Part):
    """Why a run, or one table of it, failed."""

    kind: str = Field(description="Class of the error, such as SchemaError or SourceUnavailableError.")
    message: str = Field(description="The text after `error: ` on standard error; lines end by a line feed.")


class DifferencesOutput(_Part):
    """What a comparison (`reconcile`) has found, in rows."""

    source_rows: int = Field(description="Rows of the source that were compared.")
    destination_rows: int = Field(description="Rows of the destination, without marked ones.")
    missing: int = Field(description="Rows that the destination lacks.")
    different: int = Field(description="Rows that the destination has with other values.")
    surplus: int = Field(description="Rows that the source lacks, or that the destination has too often.")
    different_by_column: dict[str, int] = Field(description="In how many of the different rows a column differs.")
    new_missing: int = Field(description="Not yet synced: rows that the next run adds.")
    new_different: int = Field(description="Not yet synced: rows that the next run updates.")
    new_surplus: int = Field(description="Not yet synced: rows that the next run removes or marks.")
    later: int = Field(description="Rows that another run has loaded, which has read the source later.")
    older: int = Field(description="Older versions of rows, in a table that is appended to.")
    unjudged: int = Field(description="Rows of which nobody can tell whether they differ.")
    rejected: int = Field(description="Rows of the source with an invalid value, which were not compared.")
    repaired: bool = Field(description="Whether missing, different and surplus rows were corrected.")


class TableOutput(_Part):
    """What the plan decides about a table."""

    source: str = Field(description="The table's name at the source; empty in a run of one query.")
    destination: str = Field(description="project.dataset.table; empty if planning failed before it was known.")
    mode: Literal["append", "merge", "truncate", "replace"] | None = Field(
        description="What happens to existing rows; null for a table that could not be planned."
    )
    is_backfill: bool = Field(description="Whether an interval that was loaded is loaded again.")
    primary_key: tuple[str, ...] = Field(description="Columns of a merge; empty otherwise.")
    interval: IntervalOutput | None = Field(description="Null without Smart Sync.")
    more_is_left: bool = Field(description="Whether the source has rows after the interval, which the next run loads.")
    risks: tuple[str, ...] = Field(description="Warnings of the plan.")
    error: ErrorOutput | None = Field(description="Why the table failed; else null.")


class PlannedTable(TableOutput):
    """A table of a dry run."""

    creates_table: bool = Field(description="Whether the run would create the destination table.")
    estimated_rows: int | None = Field(description="Rows to read, as the source estimates; null if unknown.")
    estimated_bytes: int | None = Field(description="Bytes of these rows at the source; null if unknown.")
    billed_bytes: int = Field(description="Bytes of the queries that BigQuery bills, as far as they are known.")
    notes: tuple[str, ...] = Field(description="Notes of the plan.")


class TableReport(TableOutput):
    """A table of a run."""

    status: Literal["published", "unchanged", "failed"] = Field(
        description="unchanged: there was nothing new, or another run had loaded it."
    )
    outcome: str = Field(description="One sentence; empty for a table that failed.")
    rows_read: int = Field(description="Rows from the source, with the rejected ones.")
    rows_loaded: int = Field(description="Rows that BigQuery added or updated.")
    rows_rejected: int = Field(description="Invalid rows, loaded into dead_letter_table.")
    rows_deleted: int | None = Field(description="Rows removed or marked as deleted; null if none were looked for.")
    differences: DifferencesOutput | None = Field(description="Of a comparison; null for a run that loads rows.")
    bytes_staged: int = Field(description="Bytes of the staged files.")
    seconds: float = Field(description="From the start of planning to the end of publishing; 0 for one that failed.")
    lag_seconds: float | None = Field(
        description="From the end of the interval to the end of publishing; null without Smart Sync or timestamps."
    )


class Totals(_Part):
    """Sums over all tables of all runs."""

    runs: int
    tables: int = Field(description="Tables of all runs; one counts in each run.")
    published: int
    unchanged: int
    failed: int
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rows_deleted: int
    bytes_staged: int


class RunReport(_Part):
    """One run."""

    run_id: str
    started_at: str = Field(description="ISO 8601, in UTC.")
    seconds: float
    tables: tuple[TableReport, ...]


class EstimateOutput(_Part):
    """What the run of a plan takes and costs, as sums over its tables."""

    rows: int = Field(description="Rows to read, as the source estimates.")
    bytes: int | None = Field(description="Bytes of these rows at the source; null if not all are estimated.")
    is_complete: bool = Field(description="Whether all tables have an estimate of their rows.")
    seconds: float | None = Field(description="In a process such as this one, by its benchmark; null if unknown.")
    billed_bytes: int = Field(description="Bytes of the queries that BigQuery bills.")
    billed_dollars: float = Field(description="Their price on demand, by dollars_per_tib.")
    dollars_per_tib: float = Field(description="The price on demand in the US; other regions differ.")
    is_least_bill: bool = Field(description="Whether BigQuery may bill more than that.")


class Plan(_Part):
    """What `dry_run=true` prints."""

    version: Literal[1] = 1
    kind: Literal["plan"] = "plan"
    exit_code: int
    seconds: float
    error: ErrorOutput | None = Field(description="Why planning failed; else null.")
    summary: tuple[str, ...] = Field(description="The plan in two sentences; empty if planning failed for all.")
    estimate: EstimateOutput | None = Field(description="Null if planning failed for all.")
    tables: tuple[PlannedTable, ...] = Field(description="Empty if planning failed for all.")
    notes: tuple[str, ...] = Field(description="Notes about the run.")
    risks: tuple[str, ...] = Field(description="Warnings about the run.")


class Report(_Part):
    """What a run prints."""

    version: Literal[1] = 1
    kind: Literal["report"] = "report"
    exit_code: int = Field(
        description="Of the process: 0, 1, 2 if parameters, the query or the data must change, or 3 if a comparison "
        "has found differences. With --detailed-exitcode also 4 if there was nothing new, or 5 if rows were rejected."
    )
    seconds: float
    error: ErrorOutput | None = Field(description="Why the command failed; else null.")
    totals: Totals
    runs: tuple[RunReport, ...] = Field(description="Empty if planning failed.")


type Output = Plan | Report


def document_schema() -> dict[str, Any]:
    """Return the JSON Schema of the documents."""
    schema = TypeAdapter(Plan | Report).json_schema(mode="serialization")
    for described in schema["$defs"].values():
        del described["title"]
        for property_ in described["properties"].values():
            property_.pop("title", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Output of a sync to BigQuery",
        "description": "What main.py prints with --output=json: a plan with dry_run=true, else a report.",
        **schema,
    }
