"""Steps that the parts of the demo share: run the product, show its output, and stop at the first error."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.cloud import bigquery
from psycopg2.extensions import connection as Connection
from rich.console import Console

from sandbox import demo_screen
from sandbox.demo_orders import Comparison
from sandbox.demo_run import Outcome, Product, Report
from sandbox.endpoints import Endpoints

# A run leaves the newest second to the next one, by the default of smart_sync_settle_seconds.
SETTLE_SECONDS = 1


class DemoError(Exception):
    """A step of the demo had an unexpected result."""


@dataclass(frozen=True)
class Demo:
    """What every part of the demo needs. `parameters` are those of the sync; `rows` are in the source to begin with."""

    console: Console
    endpoints: Endpoints
    connection: Connection
    client: bigquery.Client
    table_id: str
    parameters: Mapping[str, str]
    product: Product
    rows: int


def sync(demo: Demo, expected_rows: int) -> Report:
    """Run the sync, show its log, and return what it reported."""
    outcome = run(demo, demo.parameters)
    report = reported(outcome)
    expect(report.rows_read == report.rows_loaded == expected_rows, f"{expected_rows:,} rows read and loaded", outcome)
    return report


def reported(outcome: Outcome) -> Report:
    """Return a run's report. Raises DemoError when the run failed."""
    if outcome.exit_code != 0 or outcome.report is None:
        raise DemoError(f"the run ended with exit code {outcome.exit_code}")
    return outcome.report


def run(demo: Demo, parameters: Mapping[str, str]) -> Outcome:
    """Run the product, and show what it prints while it does."""
    return demo.product.run(parameters, lambda line: demo_screen.show_line(demo.console, line))


def expect(holds: bool, what: str, outcome: Outcome) -> None:
    """Raise DemoError unless a run did `what` it should."""
    if not holds:
        raise DemoError(f"expected was {what}; the run ended with exit code {outcome.exit_code}")


def expect_equal(comparisons: Iterable[Comparison], source: str = "PostgreSQL") -> None:
    """Raise DemoError naming the columns that differ."""
    different = [comparison.column for comparison in comparisons if not comparison.is_equal]
    if different:
        raise DemoError(f"{source} and BigQuery differ in {', '.join(different)}")


@contextlib.contextmanager
def step(demo: Demo, title: str) -> Iterator[None]:
    """Begin a part of the demo that takes a moment."""
    demo_screen.title(demo.console, title)
    with demo.console.status("…"):
        yield
