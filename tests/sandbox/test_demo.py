"""The parts of the demo that can be wrong: what it runs, reads out of a log, compares and shows."""

import contextlib
import io
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from bson import Decimal128
from google.cloud import bigquery
from psycopg2.extensions import connection as Connection
from rich.console import Console

import sandbox
from sandbox import demo, demo_documents, demo_orders, demo_run, demo_screen, demo_tables, mongodb
from sandbox.demo_orders import Comparison
from sandbox.demo_run import Report
from sync_pipeline.cli import program

LOG = """
INFO plan: run 20260102T030405_0a1b2c3d: postgresql to p.d.t, append: one load job
INFO sync report: loaded 1,500 rows into p.d.t: run_id=20260102T030405_0a1b2c3d table=p.d.t \
interval=(2026-01-01T00:00:00.000001+00,2026-01-02T03:04:05.000000+00] rows_read=1500 rows_loaded=1500 \
dead_letters=0 bytes_staged=107431 seconds=1.1 lag_seconds=1.1
"""


def test_the_report_is_read_from_its_line() -> None:
    report = demo_run.find_report(LOG)
    assert report == Report(
        outcome="loaded 1,500 rows into p.d.t",
        interval=("2026-01-01 00:00:00.000001+00", "2026-01-02 03:04:05.000000+00"),
        rows_read=1500,
        rows_loaded=1500,
        seconds=1.1,
    )
    assert round(report.rows_per_second) == 1364


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("table=p.d.my table interval=all rows_read=7 rows_loaded=7 seconds=0.0", id="a space in a name"),
        pytest.param(
            "interval=all rows_read=7 new_number=1 rows_loaded=7 seconds=0.0 lag_seconds=", id="other numbers"
        ),
    ],
)
def test_a_report_without_an_interval(words: str) -> None:
    report = demo_run.find_report(f"INFO sync report: nothing new: p.d.t is as it was: {words}\n")
    assert report == Report("nothing new: p.d.t is as it was", None, 7, 7, 0.0)


def test_a_failed_run_has_no_report() -> None:
    assert demo_run.find_report("error: PostgreSQL cannot be reached\n") is None


PARAMETERS = {
    "data_source": "postgresql",
    "postgresql_password": "se'cret $HOME",
    "postgresql_base_query": demo.QUERY,
    "transformation_config": '{"exclude_fields": ["it\'s", "`b`"]}',
    "clustering_fields": "status,customer",
}


def test_the_shown_command_is_the_one_that_runs() -> None:
    shown = demo_run.shown_command(PARAMETERS)
    assert "se'cret" not in shown
    script = f'python() {{ printf "%s\\0" "$@"; }}\n{shown}'
    environment = {"SANDBOX_POSTGRESQL_PASSWORD": PARAMETERS["postgresql_password"]}
    typed = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, check=True)
    assert typed.stdout.split("\0")[:-1] == demo_run.command(PARAMETERS)[1:]
    assert all(line.endswith(" \\") for line in shown.splitlines()[:-1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("a > 'b'", "\"a > 'b'\"", id="single quotes"),
        pytest.param("'$HOME'", "''\"'\"'$HOME'\"'\"''", id="nothing is expanded"),
        pytest.param("", "''", id="empty"),
    ],
)
def test_a_word_of_a_shell(text: str, shown: str) -> None:
    assert demo_run.shell_word(text) == shown
    assert shlex.split(shown) == [text]


def _starting(monkeypatch: pytest.MonkeyPatch, script: str) -> contextlib.AbstractContextManager[demo_run.Product]:
    monkeypatch.setattr(demo_run, "STARTER", [sys.executable, "-u", "-c", script])
    return demo_run.started({})


def test_output_is_shown_line_by_line_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys; print(input()); print('error: zwei – 二', file=sys.stderr); print('\\0exit code 2')"
    lines: list[str] = []
    with _starting(monkeypatch, script) as product:
        outcome = product.run({"a": "b c"}, lines.append)
    assert (outcome.exit_code, lines) == (2, ['["--a=b c"]', "error: zwei – 二"])
    assert outcome.output == '["--a=b c"]\nerror: zwei – 二\n'
    assert outcome.report is None


def test_a_product_that_does_not_start_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with _starting(monkeypatch, "input(); print('no module'); raise SystemExit(3)") as product:
        outcome = product.run({})
    assert (outcome.exit_code, outcome.output) == (3, "no module\n")


def test_an_interrupted_demo_leaves_no_run_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import subprocess; subprocess.run(['sh', '-c', 'echo started; sleep 60'])"

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), _starting(monkeypatch, script) as product:
        product.run({}, interrupt)
    assert product.process.returncode == -signal.SIGTERM


def test_long_sections_of_a_plan_are_cut() -> None:
    lines = ["Rows", "    one", "Columns", *(f"    c{number}" for number in range(9)), "Notes", "    none"]
    assert list(demo_screen.shortened(lines, 4)) == [
        *("Rows", "    one"),
        *("Columns", "    c0", "    c1", "    c2", "    c3", "    … 5 more lines"),
        *("Notes", "    none"),
    ]


def test_a_line_in_place_of_one_line_is_not_worth_it() -> None:
    lines = ["Columns", *(f"    c{number}" for number in range(5))]
    assert list(demo_screen.shortened(lines, 4)) == lines


def test_every_table_fits_a_narrow_screen_without_losing_a_figure() -> None:
    interval = ("1900-01-01 00:00:00.000000+00", "2026-11-21 01:35:41.123456+00")
    reports = {
        "first": Report("loaded", interval, 200_000, 200_000, 2.1),
        "second": Report("loaded", None, 1_500, 1_500, 0.0),
    }
    text = _printed(demo_screen.summary(reports))
    assert "…" not in text
    for figure in ("after 1900-01-01 00:00:00", "up to 2026-11-21 01:35:41", "200,000", "95,238", "everything"):
        assert figure in text
    comparisons = [Comparison("details.address.floor", "0123456789abcdef0", "0123456789abcdef1")]
    assert "different" in _printed(demo_screen.comparison_table(comparisons))
    described = bigquery.Table("p.d.t", [bigquery.SchemaField("tags", "STRING", "REPEATED", description="x" * 30)])
    assert "ARRAY<STRING>" in _printed(demo_screen.schema_table(described))
    assert demo_screen.layout_line(described) == "neither partitioned nor clustered"


def test_null_is_not_the_empty_text() -> None:
    text = _printed(demo_screen.rows_table(["a", "b", "c"], [[None, "", "[bold]two\nlines"]]))
    assert "NULL" in text
    assert "''" in text
    assert "[bold]two⏎lines" in text


def _printed(renderable: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=demo_screen.WIDTH, highlight=False, markup=False).print(renderable)
    assert max(map(len, stream.getvalue().splitlines())) <= demo_screen.WIDTH
    return stream.getvalue()


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[demo.Demo, io.StringIO]]:
    """The demo with 2,000 orders after its first run, on servers of its own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("SANDBOX_FOLDER", "SANDBOX_POSTGRESQL_DSN", "SANDBOX_MONGODB_URI"):
            monkeypatch.delenv(name, raising=False)
        for name in ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
            monkeypatch.delenv(name, raising=False)
        screen = io.StringIO()
        console = Console(file=screen, width=demo_screen.WIDTH, highlight=False, markup=False)
        with demo.prepared(console, 2_000) as prepared:
            demo_orders.create_orders(prepared.connection, prepared.rows)
            demo.sync(prepared, prepared.rows)
            yield prepared, screen


def test_the_run_is_shown_and_the_copy_is_equal(orders: tuple[demo.Demo, io.StringIO]) -> None:
    prepared, screen = orders
    assert "    INFO sync report: loaded 2,000 rows" in screen.getvalue()
    assert prepared.parameters["postgresql_password"] not in screen.getvalue()
    demo.show_destination(prepared)
    assert "partitioned by updated_at (DAY), clustered by status, customer" in screen.getvalue()
    demo.show_comparison(prepared)
    assert screen.getvalue().count("│ equal") == len(_compared(prepared))


@pytest.mark.parametrize(
    ("change", "column"),
    [
        pytest.param("SET note = '' WHERE id = 5", "note", id="the empty text in place of NULL"),
        pytest.param("SET weight_kg = weight_kg + 0.000001 WHERE id = 6", "weight_kg", id="the last digits"),
        pytest.param("SET created_at = created_at + interval '1 microsecond' WHERE id = 7", "created_at", id="1 us"),
        pytest.param("SET tags = '{}' WHERE id = 9", "tags", id="an empty array"),
        pytest.param(
            "SET details = jsonb_set(details, '{address,floor}', '99') WHERE id = 8", "details.address.floor", id="JSON"
        ),
    ],
)
def test_one_different_value_is_found(orders: tuple[demo.Demo, io.StringIO], change: str, column: str) -> None:
    prepared, _ = orders
    with _rolled_back(prepared.connection) as cursor:
        cursor.execute(f"UPDATE demo_shop.orders {change}")
        assert [comparison.column for comparison in _compared(prepared) if not comparison.is_equal] == [column]
        with pytest.raises(demo.DemoError, match=f"^PostgreSQL and BigQuery differ in {column}$"):
            demo.show_comparison(prepared)


def test_changes_are_as_many_as_asked_for(orders: tuple[demo.Demo, io.StringIO]) -> None:
    prepared, _ = orders
    with _rolled_back(prepared.connection) as cursor:
        cursor.execute("SELECT clock_timestamp()")
        began = cursor.fetchone()[0]
        demo_orders.change_orders(prepared.connection, demo.INSERTS, demo.UPDATES, demo.DELETES)
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE id <= 2000) FROM demo_shop.orders WHERE updated_at > %s", [began]
        )
        assert cursor.fetchone() == (demo.INSERTS + demo.UPDATES, demo.UPDATES)
        assert demo_orders.count_orders(prepared.connection) == 2_000 + demo.INSERTS - demo.DELETES


def test_the_second_table_has_each_order_once(orders: tuple[demo.Demo, io.StringIO]) -> None:
    prepared, screen = orders
    merging = demo.merged(prepared)
    demo.sync(merging, prepared.rows)
    _remove_an_order(prepared.connection, lambda: demo.sync(merging, 0))
    assert "removed 1 deleted ones" in screen.getvalue()
    # The table is made anew, as on servers that are used again.
    prepared.client.delete_table(merging.table_id)
    demo.sync(merging, prepared.rows)
    demo.show_equality(merging)
    assert demo.show_reconciliation(merging).rows_read == 2_000
    assert "    INFO sync report: merged 2,000 rows" in screen.getvalue()
    assert "PostgreSQL has 2,000 orders and orders_now 2,000 rows; all values are equal." in screen.getvalue()
    prepared.client.query_and_wait(f"INSERT INTO `{merging.table_id}` SELECT * FROM `{merging.table_id}` WHERE id = 1")
    with pytest.raises(demo.DemoError, match=r"^PostgreSQL has 2,000 orders, \S+orders_now has 2,001 rows$"):
        demo.show_equality(merging)


def _remove_an_order(connection: Connection, meanwhile: Callable[[], object]) -> None:
    """Do something while an order is not there."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE kept AS SELECT * FROM demo_shop.orders WHERE id = 2")
        cursor.execute("DELETE FROM demo_shop.orders WHERE id = 2")
        meanwhile()
        cursor.execute("INSERT INTO demo_shop.orders SELECT * FROM kept; DROP TABLE kept")


def test_the_commands_to_try_next_exist() -> None:
    assert demo.NEXT.keys() <= program.COMMANDS.keys()


def test_documents_are_merged_and_one_different_value_is_found(
    orders: tuple[demo.Demo, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, screen = orders
    monkeypatch.setattr(demo_documents, "TICKETS", 500)
    first, second = demo_documents.play(prepared)
    assert (first.outcome, second.outcome) == (
        "merged 500 rows into sandbox-project.demo.tickets",
        "merged 150 rows into sandbox-project.demo.tickets",
    )
    assert prepared.endpoints.mongodb_password not in screen.getvalue()
    assert "MongoDB has 600 tickets and the table 600 rows" in screen.getvalue()
    documents = demo_documents.with_documents(prepared)
    with mongodb.connect(prepared.endpoints.mongodb_uri) as client:
        tickets = client["demo"]["tickets"]
        assert tickets.count_documents({"status": "solved"}) == 50
        for change, field in (
            ({"$set": {"customer.address.floor": 99}}, "customer"),
            ({"$inc": {"refund": Decimal128("0.01")}}, "refund"),
            ({"$unset": {"language": ""}}, "language"),
        ):
            before = tickets.find_one_and_update({"language": "pl"}, change)
            with pytest.raises(demo.DemoError, match=f"^MongoDB and BigQuery differ in {field}$"):
                demo_documents.show_equality(documents, tickets)
            tickets.replace_one({"_id": before["_id"]}, before)
        demo_documents.show_equality(documents, tickets)
        tickets.insert_one(tickets.find_one({}, {"_id": 0}))
        with pytest.raises(demo.DemoError, match=r"^MongoDB and BigQuery differ in _id"):
            demo_documents.show_equality(documents, tickets)


def test_a_whole_database_is_synced_twice_and_one_different_value_is_found(
    orders: tuple[demo.Demo, io.StringIO],
) -> None:
    prepared, screen = orders
    first, second = demo_tables.play(prepared)
    assert first.outcome == "12 tables: 12 published, 0 unchanged, 0 failed"
    assert second.outcome == "13 tables: 11 published, 2 unchanged, 0 failed"
    assert "not chosen by a wildcard: demo_company.open_orders: it is a view" in screen.getvalue()
    assert "All values of all 13 tables are equal" in screen.getvalue()
    with _rolled_back(prepared.connection) as cursor:
        cursor.execute("UPDATE demo_company.products SET weight = weight + 1e-12 WHERE sku = md5('7')::uuid")
        with pytest.raises(demo.DemoError, match=r"^PostgreSQL and BigQuery differ in products$"):
            demo_tables.compared(prepared, demo_tables.TABLES)


def test_any_number_of_orders_will_do(orders: tuple[demo.Demo, io.StringIO]) -> None:
    prepared, _ = orders
    with _rolled_back(prepared.connection) as cursor:
        cursor.execute("DELETE FROM demo_shop.orders WHERE id > 777")
        cursor.execute("SELECT clock_timestamp()")
        began = cursor.fetchone()[0]
        demo_orders.change_orders(prepared.connection, 10, 500)
        cursor.execute("SELECT count(*) FROM demo_shop.orders WHERE updated_at > %s", [began])
        assert cursor.fetchone() == (510,)


def _compared(prepared: demo.Demo) -> list[Comparison]:
    return demo_orders.compare_orders(prepared.connection, prepared.client, prepared.table_id)


@contextlib.contextmanager
def _rolled_back(connection: Connection) -> Iterator[psycopg2.extensions.cursor]:
    """A transaction whose changes are undone, however it ends."""
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    try:
        yield cursor
    finally:
        cursor.execute("ROLLBACK")


def test_a_demo_without_enough_rows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--rows=10"])
    assert "--rows is 10" in capsys.readouterr().err


def test_a_server_that_does_not_start_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def running(_: Path) -> None:
        raise sandbox.SandboxError("no free TCP port on 127.0.0.1")

    monkeypatch.setattr(sandbox, "running", running)
    monkeypatch.setattr(demo_screen, "new_console", lambda: Console(width=demo_screen.WIDTH))
    assert demo.main([]) == 1
    assert "demo: no free TCP port" in capsys.readouterr().out
