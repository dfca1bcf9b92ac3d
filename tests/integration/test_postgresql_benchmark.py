"""The benchmark's own readers read what they should; the peers' need an environment that only `make bench` makes."""

import psycopg2
import pytest

from benchmarks import postgresql_tables as tables
from benchmarks.memory import RunFailedError
from benchmarks.postgresql import interval_buffers, run_case
from benchmarks.postgresql_cases import FULL, Case, Scale
from sandbox import Endpoints

TABLE = tables.orders(3000)
SCALE = Scale((1000, 3000), 10, (), (), 50, 1)


@pytest.fixture(scope="module", autouse=True)
def table(endpoints: Endpoints) -> None:
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    connection.autocommit = True
    tables.create(connection, TABLE)
    connection.close()


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the comparison of values, which needs a peer's environment."""
    monkeypatch.setattr("benchmarks.postgresql.check_files", lambda _folder: {})


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case("limit", "limit", TABLE, partitions=2), id="limit"),
        pytest.param(Case("staged", "staged", TABLE, partitions=1), id="staged"),
        pytest.param(Case("interval", "staged", TABLE, interval=50), id="interval"),
        pytest.param(Case("row by row", "row_beam", TABLE, rows=20), id="row by row"),
    ],
)
def test_a_reader(endpoints: Endpoints, case: Case) -> None:
    run = run_case(case, endpoints, 0)
    assert run.rows == case.expected_rows
    assert 0 < run.seconds < run.total_seconds
    assert run.peak > 50 * 2**20


def test_a_reader_that_reads_something_else(endpoints: Endpoints) -> None:
    with pytest.raises(RunFailedError, match="too few: exit code 0"):
        run_case(Case("too few", "limit", tables.Table(TABLE.name, 4000, "")), endpoints, 0)


def test_an_interval_costs_few_buffers(endpoints: Endpoints) -> None:
    found = interval_buffers(SCALE, endpoints)
    assert (found["step"], found["rows"]) == ("Index Scan", 50)
    assert 0 < found["buffers"] < found["table_buffers"] / 5


def test_the_tables_have_what_they_say(endpoints: Endpoints) -> None:
    connection = psycopg2.connect(endpoints.postgresql_dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for table, columns, size in ((tables.columns(100, 3), 100, 0), (tables.wide(10_000, 3), 2, 9000)):
            tables.create(connection, table)
            cursor.execute(f"SELECT * FROM {table.qualified_name}")
            rows = cursor.fetchall()
            assert (len(rows), len(rows[0])) == (3, columns)
            assert len(repr(rows[0])) > size
    connection.close()
    assert FULL.wide == ((100, 1_000_000), (10_000, 50_000))
