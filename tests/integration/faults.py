"""Publishing under faults: a call of the step fails once, in every way it can, and the step is attempted again.

The calls are those that the step really makes, to BigQuery and to Cloud Storage: they are recorded first, and then each
of them fails in turn. After a fault the step is attempted again as Dataflow does it: from its beginning, by another
client, up to four times in all.

    python -m tests.integration.faults [--only NAME]    every call with every fault, in every case
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import itertools
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import requests
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput
from google.api_core import exceptions
from google.cloud import bigquery

import sandbox
from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SyncError
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.deletions import Deletions
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.plan_reconcile import content_sql
from sync_pipeline.planning.reconciliation import NextRun, Reconciliation
from sync_pipeline.planning.staging_names import new_run_id
from sync_pipeline.publishing.dead_letters import dead_letter_batch, dead_letter_target
from sync_pipeline.publishing.publish import _PublishFilesFn, publish
from sync_pipeline.publishing.report import SyncReport
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.schema import REQUIRED, Field, Schema
from sync_pipeline.smart_sync.interval import StartOrigin, SyncInterval
from sync_pipeline.sources.source import DeadLetter, Selection
from tests.integration.kills import KilledError
from tests.plans import INTERVAL, deletions, moment, plan, run_plan

ATTEMPTS = 4
LOCATION = "US"

PLAIN = Schema((Field("id", "INT64", REQUIRED), Field("name", "STRING"), Field("updated_at", "TIMESTAMP")))
WITH_JSON = Schema((*PLAIN, Field("document", "JSON")))
ANY_ORDER = TableLayout()
BY_DAY = TableLayout("updated_at")

Rows = list[tuple[int, str]]
BEFORE: Rows = [(1, "old"), (2, "old"), (3, "old")]
STAGED: Rows = [(2, "new"), (3, "new"), (4, "new"), (5, "new")]
LATER: Rows = [(5, "later"), (6, "later")]

# Backfills. The first row of `BEFORE` lies before their interval, and the third one is the latest.
BACKFILL = SyncInterval(moment("2025-07-20"), INTERVAL.end, StartOrigin.BACKFILL, latest=moment("2025-07-20 12:00"))
BEFORE_LATEST = replace(BACKFILL, latest=moment("2025-07-23"))


class Fault(enum.Enum):
    """How a call fails: before it took effect, or after, when only its answer is lost."""

    REFUSED = "503"
    REFUSED_AFTER = "503 after it took effect"
    GIVEN_UP = "the client gives up"
    GIVEN_UP_AFTER = "the client gives up after it took effect"
    DISCONNECTED = "no connection"
    DISCONNECTED_AFTER = "connection lost after it took effect"
    KILLED = "killed"
    KILLED_AFTER = "killed after it took effect"

    @property
    def takes_effect(self) -> bool:
        return self.value.endswith("after it took effect")


@dataclass(frozen=True)
class Case:
    """A way to publish.

    Attributes:
        smart: with Smart Sync, so that the publishing job's id is shared.
        keyed: rows are merged by `id`, or the newest of each `id` counts.
        exists: the destination exists, with the rows `BEFORE`.
        rows: what is staged, or selected.
        layout: of the run's plan; `there` is the existing table's.
        selected: BigQuery selects the rows by itself.
        with_dead_letters: a dead letter is staged as well.
        adds_column: the existing table lacks the column `document`.
        backfill: the interval of a backfill; None for none.
        repairs: the rows are compared with the destination, and what differs is corrected.
        keys: those of the source, if rows that it lacks are removed.
        marks: they are marked instead, and count as gone.
    """

    mode: WriteMode
    schema: Schema = PLAIN
    smart: bool = False
    keyed: bool = False
    exists: bool = True
    rows: tuple[tuple[int, str], ...] = tuple(STAGED)
    layout: TableLayout = ANY_ORDER
    there: TableLayout = ANY_ORDER
    selected: bool = False
    with_dead_letters: bool = False
    adds_column: bool = False
    keys: tuple[int, ...] | None = None
    marks: bool = False
    backfill: SyncInterval | None = None
    repairs: bool = False

    def moment_before(self, number: int) -> datetime:
        """Return the timestamp of a row of `BEFORE`."""
        if self.backfill is None or number == 2:
            return moment("2025-07-20 12:00")
        return moment("2025-07-19") if number == 1 else self.backfill.latest or self.backfill.end

    def _is_replaced(self, number: int) -> bool:
        return self.backfill is not None and self.backfill.start < self.moment_before(number) <= self.backfill.end

    def after(self, before: Rows, rows: Sequence[tuple[int, str]]) -> Rows:
        """Return the rows that the destination has to have when `rows` are published."""
        if self.repairs:
            return sorted(rows)
        if self.mode is WriteMode.APPEND:
            return sorted([*(row for row in before if not self._is_replaced(row[0])), *rows])
        if self.mode is WriteMode.MERGE:
            merged = sorted({**dict(before), **dict(rows)}.items())
            return merged if self.keys is None else [(key, name) for key, name in merged if key in self.keys]
        return sorted(rows)


CASES: Mapping[str, Case] = {
    "append, loaded": Case(WriteMode.APPEND, smart=True),
    "append, loaded, without Smart Sync": Case(WriteMode.APPEND),
    "append, loaded into a new table": Case(WriteMode.APPEND, smart=True, exists=False, with_dead_letters=True),
    "append, staged": Case(WriteMode.APPEND, WITH_JSON, smart=True),
    "append, staged, with a new column": Case(WriteMode.APPEND, WITH_JSON, adds_column=True, with_dead_letters=True),
    "append, selected": Case(WriteMode.APPEND, smart=True, selected=True),
    "append of nothing": Case(WriteMode.APPEND, smart=True, rows=()),
    "backfill": Case(WriteMode.APPEND, WITH_JSON, smart=True, backfill=BACKFILL),
    "backfill before the latest row, selected": Case(
        WriteMode.APPEND, smart=True, selected=True, layout=BY_DAY, there=BY_DAY, backfill=BEFORE_LATEST
    ),
    "backfill, merged": Case(WriteMode.MERGE, smart=True, keyed=True, backfill=BACKFILL),
    "merge": Case(WriteMode.MERGE, smart=True, keyed=True),
    "merge, JSON, without Smart Sync": Case(WriteMode.MERGE, WITH_JSON, keyed=True),
    "merge by partitions": Case(WriteMode.MERGE, smart=True, keyed=True, layout=BY_DAY, there=BY_DAY),
    "merge, loaded into a new table": Case(WriteMode.MERGE, smart=True, keyed=True, exists=False),
    "merge, removing": Case(WriteMode.MERGE, smart=True, keyed=True, keys=(1, 3, 4, 5)),
    "merge, removing, selected": Case(WriteMode.MERGE, smart=True, keyed=True, keys=(1, 3, 4, 5), selected=True),
    "merge, marking": Case(WriteMode.MERGE, smart=True, keyed=True, keys=(1, 3, 4, 5), marks=True),
    "merge, selected": Case(WriteMode.MERGE, smart=True, keyed=True, selected=True),
    "repair by key": Case(WriteMode.MERGE, WITH_JSON, smart=True, keyed=True, repairs=True),
    "repair of whole rows": Case(WriteMode.TRUNCATE, WITH_JSON, repairs=True, rows=(*STAGED, *STAGED[:2])),
    "truncate, loaded": Case(WriteMode.TRUNCATE),
    "truncate, staged": Case(WriteMode.TRUNCATE, WITH_JSON),
    "truncate, by partitions": Case(WriteMode.TRUNCATE, layout=BY_DAY, there=BY_DAY),
    "truncate, selected": Case(WriteMode.TRUNCATE, selected=True),
    "truncate of nothing": Case(WriteMode.TRUNCATE, rows=()),
    "replace": Case(WriteMode.REPLACE, keyed=True),
    "replace by another layout": Case(WriteMode.REPLACE, WITH_JSON, layout=BY_DAY),
    "replace, selected": Case(WriteMode.REPLACE, selected=True),
    "replace by another layout, selected": Case(WriteMode.REPLACE, layout=BY_DAY, selected=True),
}


@dataclass
class Outcome:
    """What was seen of one fault.

    Attributes:
        call: the call that failed, as `METHOD path`; None when the step made fewer calls.
        violations: sentences; there must be none.
    """

    call: str | None
    violations: list[str] = field(default_factory=list)


@dataclass
class Faults:
    """Plays cases in one dataset, each in tables of its own."""

    client: bigquery.Client
    dataset: str
    folder: str
    _without_fault: dict[Case, _Traces] = field(default_factory=dict)

    def calls(self, case: Case) -> list[str]:
        """Publish without a fault, and then the following run; return the calls of the first, each as `METHOD path`."""
        calls: list[str] = []
        trial = _Trial(self, case)
        with _intercepted(calls, None, None):
            publish(self._client(), trial.plan, trial.files)
        found, outcome = trial.rows(), Outcome(None)
        assert found == case.after(trial.before, case.rows)
        self._without_fault[case] = trial.traces()
        self._judge_later(trial, found, outcome)
        assert outcome.violations == []
        trial.remove()
        return calls

    def play(self, case: Case, number: int, fault: Fault) -> Outcome:
        """Let call `number` of the first attempt fail by `fault`, attempt again, and look at what is there.

        The following run is made where it meets anything else than without a fault, by the `calls` of the case.
        """
        trial = _Trial(self, case)
        outcome = Outcome(None)
        report: SyncReport | None = None
        errors: list[str] = []
        for attempt in range(ATTEMPTS):
            calls: list[str] = []
            try:
                with _intercepted(calls, number if attempt == 0 else None, fault):
                    report = publish(self._client(), trial.plan, trial.files)
                break
            except (SyncError, KilledError) as error:
                errors.append(f"{type(error).__name__}: {error}")
            finally:
                if attempt == 0 and len(calls) > number:
                    outcome.call = calls[number]
        found = self._judge(trial, report, errors, outcome)
        if report is not None and trial.traces() != self._without_fault.get(case):
            self._judge_later(trial, found, outcome)
        trial.remove()
        return outcome

    def states_of(self, case: Case) -> Iterator[tuple[_Trial, Rows]]:
        """Let a run be killed after each of its calls; yield what readers see then, and no other attempt is made."""
        for number in range(len(self.calls(case))):
            trial = _Trial(self, case)
            with _intercepted([], number, Fault.KILLED_AFTER), contextlib.suppress(KilledError):
                publish(self._client(), trial.plan, trial.files)
            yield trial, trial.rows()
            trial.remove()

    def count_calls_of_run(self, cases: Sequence[Case]) -> int:
        """Publish a run of several tables without a fault, and return how many calls that takes."""
        calls: list[str] = []
        trials = self._trials_of_run(cases)
        with _intercepted(calls, None, None, in_pool=True):
            reports, error = _publish_run(trials)
        assert (len(reports), error) == (len(cases), None)
        for trial in trials:
            trial.remove()
        return len(calls)

    def play_run(self, cases: Sequence[Case], number: int, fault: Fault) -> Outcome:
        """Do what `play` does for a run of several tables."""
        trials = self._trials_of_run(cases)
        outcome = Outcome(None)
        errors: list[str] = []
        for attempt in range(ATTEMPTS):
            calls: list[str] = []
            reports: list[SyncReport] = []
            try:
                with _intercepted(calls, number if attempt == 0 else None, fault, in_pool=True):
                    reports, error = _publish_run(trials)
                if error is None:
                    break
                errors.append(f"{type(error).__name__}: {error}")
                if len(reports) != len(cases) - 1:
                    outcome.violations.append(f"one table failed, and {len(reports)} were published: {error}")
            except KilledError:
                errors.append("killed")
            if attempt == 0:
                outcome.call = calls[number]
        of_table = {report.table_id: report for report in reports}
        for trial in trials:
            self._judge(trial, of_table.get(trial.table_id), errors, outcome)
            trial.remove()
        return outcome

    def _trials_of_run(self, cases: Sequence[Case]) -> list[_Trial]:
        trials = [_Trial(self, case) for case in cases]
        for trial, table in zip(trials, run_plan(*(trial.plan for trial in trials)).tables, strict=True):
            trial.plan = table
            trial.files = [] if trial.case.selected else trial.stage()
        return trials

    def _judge(self, trial: _Trial, report: SyncReport | None, errors: list[str], outcome: Outcome) -> Rows:
        """Add what is wrong to `outcome`, and return the rows of the destination."""
        case, complete = trial.case, trial.case.after(trial.before, trial.case.rows)
        found = trial.rows()
        if found not in (trial.before, complete):
            outcome.violations.append(f"the destination is neither as before nor complete: {found}; {errors}")
        if report is None:
            outcome.violations.append(f"no attempt of {ATTEMPTS} got through: {errors}")
            return found
        if found != complete:
            outcome.violations.append(f"reported as done and not complete: {found}; {report}")
        if (report.rows_loaded, report.rows_staged) != (len(case.rows), 0 if case.selected else len(case.rows)):
            outcome.violations.append(f"the report's numbers are wrong: {report}")
        if case.with_dead_letters and trial.dead_letters() != 1:
            outcome.violations.append(f"{trial.dead_letters()} dead letters instead of one")
        return found

    def _judge_later(self, trial: _Trial, found: Rows, outcome: Outcome) -> None:
        later = trial.later(found)
        publish(self._client(), later.plan, later.files)
        if (rows := later.rows()) != later.case.after(found, LATER):
            outcome.violations.append(f"the following run is wrong: {rows}")
        if left := later.left_over():
            outcome.violations.append(f"left over after the following run: {left}")

    def _client(self) -> bigquery.Client:
        """Return a client as another process would have it."""
        return bigquery.Client(project=self.client.project)


# What a following run meets besides the rows: properties of the destination, tables of the dataset, objects.
_Traces = tuple[dict[str, Any], list[str], list[str]]
_PROPERTIES = (
    *("schema", "labels", "description", "expirationTime", "tableConstraints"),
    *("timePartitioning", "rangePartitioning", "clustering", "requirePartitionFilter"),
)


class _Trial:
    """A destination of its own, and a run whose files are staged."""

    def __init__(self, faults: Faults, case: Case, table: str | None = None, before: Rows | None = None) -> None:
        self.faults, self.case = faults, case
        self.table = table or f"t_{uuid.uuid4().hex[:8]}"
        self.before: Rows = before if before is not None else list(BEFORE) if case.exists else []
        self.is_later = before is not None
        if case.exists and not self.is_later:
            self._create()
        self.plan = self._plan()
        self.files = [] if case.selected else self.stage()

    def later(self, now: Rows) -> _Trial:
        """Return the run that follows: it has published nothing yet."""
        keys = None if self.case.keys is None else (*self.case.keys, *(key for key, _ in LATER))
        case = replace(
            self.case,
            rows=tuple(LATER),
            exists=True,
            adds_column=False,
            with_dead_letters=False,
            backfill=None,
            keys=keys,
        )
        return _Trial(self.faults, case, self.table, now)

    def rows(self) -> Rows:
        try:
            unmarked = " WHERE _deleted_at IS NULL" if self.case.marks else ""
            answer = self.faults.client.query_and_wait(f"SELECT id, name FROM `{self.table_id}`{unmarked}")
        except exceptions.NotFound:
            return []
        return sorted((row.id, row.name) for row in answer)

    def dead_letters(self) -> int:
        return int(next(iter(self.faults.client.query_and_wait(f"SELECT COUNT(*) FROM `{self.table_id}_lost`")))[0])

    def left_over(self) -> list[str]:
        run_id = self.plan.run_id
        tables = [table.table_id for table in self.faults.client.list_tables(self.faults.dataset)]
        objects = FileSystems.match([f"{self.plan.staging_folder}**"])[0].metadata_list
        return [name for name in tables if run_id in name] + [entry.path for entry in objects]

    def traces(self) -> _Traces:
        """Return what the run has left to the one that follows; names are without the table's and the run's."""
        found = self.faults.client.get_table(self.table_id).to_api_repr()
        tables = [table.table_id for table in self.faults.client.list_tables(self.faults.dataset)]
        objects = FileSystems.match([f"{self.faults.folder}/{self.table}/**"])[0].metadata_list
        names = [
            name.replace(self.table, "").replace(self.plan.run_id, "")
            for name in (*tables, *(entry.path for entry in objects))
        ]
        return {key: found.get(key) for key in _PROPERTIES}, names[: len(tables)], names[len(tables) :]

    def remove(self) -> None:
        """Drop the tables: each one more makes all calls of the emulator slower."""
        for name in (self.table_id, f"{self.table_id}_lost") if self.case.with_dead_letters else (self.table_id,):
            self.faults.client.delete_table(name, not_found_ok=True)

    @property
    def table_id(self) -> str:
        return f"{self.faults.client.project}.{self.faults.dataset}.{self.table}"

    def _create(self) -> None:
        json = ", document JSON" if self.case.schema is WITH_JSON and not self.case.adds_column else ""
        mark = ", _deleted_at TIMESTAMP" if self.case.marks else ""
        partitions = " PARTITION BY TIMESTAMP_TRUNC(updated_at, DAY)" if self.case.there is BY_DAY else ""
        moments = {number: f"{self.case.moment_before(number):%Y-%m-%d %H:%M:%S}" for number, _ in self.before}
        values = ", ".join(f"({number}, '{name}', TIMESTAMP '{moments[number]}+00')" for number, name in self.before)
        self.faults.client.query_and_wait(
            f"CREATE TABLE `{self.table_id}` (id INT64 NOT NULL, name STRING, updated_at TIMESTAMP{json}{mark})"
            f"{partitions};"
            f"INSERT INTO `{self.table_id}` (id, name, updated_at) VALUES {values}"
        )

    def _plan(self) -> TableSync:
        case, client = self.case, self.faults.client
        parameters = {
            "destination_bigquery_project": client.project,
            "destination_bigquery_dataset": self.faults.dataset,
            "destination_bigquery_table": self.table,
            "max_retries": "0",
            **({"primary_key": "id"} if case.keyed else {}),
        }
        dead_letters = DeadLetterTable(f"{self.table_id}_lost", LOCATION, exists=False)
        adds = [f"ALTER TABLE `{self.table_id}` ADD COLUMN IF NOT EXISTS document JSON"]
        is_pruned = case.mode is WriteMode.MERGE and case.there is BY_DAY
        return plan(
            parameters,
            schema=case.schema,
            interval=self._interval() if case.smart else None,
            write_mode=case.mode,
            run_id=new_run_id(datetime.now(UTC)),
            observed_at=datetime.now(UTC),
            creates_table=not case.exists,
            has_distinct_keys=case.keyed,
            job_project=client.project,
            location=LOCATION,
            staging_root=f"{self.faults.folder}/{self.table}/",
            layout=case.layout,
            alterations=tuple(adds) if case.adds_column else (),
            dead_letters=dead_letters if case.with_dead_letters else None,
            selection=self._selection() if case.selected else None,
            changes_layout=case.mode is WriteMode.REPLACE and not self.is_later and case.layout != case.there,
            pruned_by=PLAIN.field("updated_at") if is_pruned else None,
            reconciliation=self._reconciliation() if case.repairs else None,
            deletions=None if case.keys is None else self._deletions(case.keys),
        )

    def _deletions(self, keys: Sequence[int]) -> Deletions:
        found = deletions(max_percent=100, marks=self.case.marks)
        assert found.keys is not None
        schema = found.keys.read_schema
        sql = f"SELECT id FROM UNNEST(ARRAY<INT64>{list(keys)}) AS id"
        selection = Selection(sql, schema, LOCATION, self.faults.client.project) if self.case.selected else None
        return replace(found, keys=replace(found.keys, read=replace(found.keys.read, selection=selection)))

    def _reconciliation(self) -> Reconciliation:
        if not self.case.keyed:
            [[content]] = self.faults.client.query_and_wait(content_sql(self.table_id, None))
            return Reconciliation(repairs=True, max_percent=100, next_run=None, mark=None, content=content)
        end = self._interval().end
        following = NextRun(end, end, includes_null=False, deletes=False, unmarks=False, keeps_versions=False)
        return Reconciliation(repairs=True, max_percent=100, next_run=following, mark=None, content=None)

    def _interval(self) -> SyncInterval:
        if self.case.backfill is not None:
            return self.case.backfill
        if not self.is_later:
            return INTERVAL
        latest = INTERVAL.end
        return replace(INTERVAL, start=latest, end=latest + timedelta(hours=1), latest=latest)

    def _selection(self) -> Selection:
        moment = f"TIMESTAMP '{self._moment():%Y-%m-%d %H:%M:%S}+00'"
        values = ", ".join(f"({number}, '{name}', {moment})" for number, name in self.case.rows)
        sql = f"SELECT * FROM UNNEST(ARRAY<STRUCT<id INT64, name STRING, updated_at TIMESTAMP>>[{values}])"
        return Selection(sql, PLAIN, LOCATION, self.faults.client.project)

    def _moment(self) -> datetime:
        return self._interval().end if self.case.smart else INTERVAL.end

    def stage(self) -> list[StagedFile]:
        values = [
            {"id": number, "name": name, "updated_at": self._moment(), "document": '{"a": 1}'}
            for number, name in self.case.rows
        ]
        files = []
        if values:
            rows = pa.RecordBatch.from_pylist(values, self.case.schema.arrow)
            files += write_batches([rows], rows_target(self.plan))
        if self.case.keys is not None:
            assert self.plan.of_keys is not None
            keys = pa.RecordBatch.from_pylist([{"id": key} for key in self.case.keys], self.plan.of_keys.schema.arrow)
            files += write_batches([keys], rows_target(self.plan.of_keys))
        if self.case.with_dead_letters:
            letter = dead_letter_batch(DeadLetter(("id",), "does not fit", {"id": "x"}), self.plan)
            files += write_batches([letter], dead_letter_target(self.plan))
        return files


def _publish_run(trials: Sequence[_Trial]) -> tuple[list[SyncReport], SyncError | None]:
    """Let the publishing step run once; return its reports, and the error that a runner would meet."""
    step = _PublishFilesFn(run_plan(*(trial.plan for trial in trials)))
    reports: list[SyncReport] = []
    try:
        for output in step.process(None, [(trial.plan.number, file) for trial in trials for file in trial.files]):
            if isinstance(output, TaggedOutput):
                return reports, output.value.error
            reports.append(output)
    except SyncError as error:
        return reports, error
    return reports, None


@contextlib.contextmanager
def _intercepted(calls: list[str], number: int | None, fault: Fault | None, *, in_pool: bool = False) -> Iterator[None]:
    """Note the calls to Google's services in `calls`, and let call `number` fail by `fault`.

    With `in_pool` these are the calls of the threads that publish several tables.
    """
    send, thread = requests.Session.request, threading.current_thread()

    def is_ours() -> bool:
        # The client of Cloud Storage asks about the bucket on its own account, in another thread.
        current = threading.current_thread()
        return current.name.startswith("bigquery") if in_pool else current is thread

    def request(session: requests.Session, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        if not is_ours():
            return send(session, method, url, *arguments, **options)
        index = len(calls)
        calls.append(f"{method} {url.partition('//')[2].partition('/')[2].partition('?')[0]}")
        if index != number or fault is None:
            return send(session, method, url, *arguments, **options)
        if fault.takes_effect:
            send(session, method, url, *arguments, **options)
        return _FAILURES[fault](method, url)

    # Google's clients wait before they repeat a request.
    with (
        mock.patch.object(requests.Session, "request", request),
        mock.patch("google.api_core.retry.retry_unary.time.sleep"),
    ):
        yield


def _unavailable(method: str, url: str) -> requests.Response:
    response = requests.Response()
    response.request = requests.Request(method, url).prepare()
    response.status_code = 503
    response.headers["Content-Type"] = "application/json"
    response._content = b'{"error": {"code": 503, "message": "try later", "errors": [{"reason": "backendError"}]}}'
    return response


def _give_up(*_: str) -> None:
    raise exceptions.RetryError("Timeout of 120.0s exceeded", exceptions.ServiceUnavailable("try later"))


def _disconnect(*_: str) -> None:
    raise requests.ConnectionError("connection lost")


def _kill(*_: str) -> None:
    raise KilledError


_FAILURES: Mapping[Fault, Callable[[], Any]] = {
    Fault.REFUSED: _unavailable,
    Fault.REFUSED_AFTER: _unavailable,
    Fault.GIVEN_UP: _give_up,
    Fault.GIVEN_UP_AFTER: _give_up,
    Fault.DISCONNECTED: _disconnect,
    Fault.DISCONNECTED_AFTER: _disconnect,
    Fault.KILLED: _kill,
    Fault.KILLED_AFTER: _kill,
}


def main(argv: Sequence[str]) -> int:
    """Play every fault at every call of every case; return 1 when there was a violation."""
    parser = argparse.ArgumentParser(description="Play every fault at every call of every way to publish.")
    parser.add_argument("--only", default="", help="the cases whose name begins so")
    arguments = parser.parse_args(argv)
    violations, played = 0, Counter[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox.running(Path(folder)) as endpoints,
        mock.patch.dict("os.environ", endpoints.environment()),
    ):
        client = bigquery.Client(project=endpoints.project)
        for name, case in CASES.items():
            if not name.startswith(arguments.only):
                continue
            # A dataset each, as listing one with many tables takes the emulator long.
            dataset = f"faults_{uuid.uuid4().hex[:8]}"
            client.create_dataset(dataset)
            faults = Faults(client, dataset, f"gs://{endpoints.bucket}/{dataset}")
            calls = len(faults.calls(case))
            for number, fault in itertools.product(range(calls), Fault):
                outcome = faults.play(case, number, fault)
                played[name] += 1
                for violation in outcome.violations:
                    violations += 1
                    print(f"{name}: call {number} ({outcome.call}): {fault.value}: {violation}", flush=True)
            client.delete_dataset(dataset, delete_contents=True)
            print(f"{name}: {calls} calls, {played[name]} faults", flush=True)
    print(f"{played.total()} faults, {violations} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
