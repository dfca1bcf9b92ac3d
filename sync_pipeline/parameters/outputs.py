"""The outputs of a run: what its job shows among its options, and nobody gives to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Output:
    """One output. Its value is a text, and absent where `help` says so."""

    name: str
    label: str
    help: str
    example: str


OUTPUTS: tuple[Output, ...] = (
    Output("output_run_id", "Run", "Id of the run, as in its log lines and staged files.", "20250722t130000-1f9a6c"),
    Output(
        "output_table",
        "Table",
        "The table that the run loads; absent for several tables.",
        "my-project.analytics.orders",
    ),
    Output("output_tables", "Number of tables", "How many tables the run loads.", "1"),
    Output(
        "output_interval_start",
        "Start of the interval",
        "Rows after this timestamp are loaded; absent without Smart Sync, and for several tables.",
        "2025-07-22 12:00:00.000000+00",
    ),
    Output(
        "output_interval_end",
        "End of the interval",
        "Rows up to this timestamp are loaded; absent without Smart Sync, and for several tables.",
        "2025-07-22 13:00:00.000000+00",
    ),
    Output(
        "output_template",
        "Template file",
        "The template that was built with the job's image; absent if the image does not know it.",
        "gs://my-templates/sync-to-bigquery.json",
    ),
)
OUTPUT_NAMES = frozenset(output.name for output in OUTPUTS)
