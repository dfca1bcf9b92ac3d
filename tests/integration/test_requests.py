"""What is sent to BigQuery when a run publishes: rules that BigQuery enforces and the sandbox does not."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery

from sandbox import Endpoints
from sync_pipeline.auto_schema.layout import TableLayout
from sync_pipeline.errors import SchemaError
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.make_plan import make_plan
from sync_pipeline.planning.plan import TableSync, WriteMode
from sync_pipeline.planning.staging_names import new_run_id
from sync_pipeline.publishing.dead_letters import dead_letter_batch, dead_letter_target
from sync_pipeline.publishing.publish import publish
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.publishing.staging import write_batches
from sync_pipeline.publishing.staging_target import rows_target
from sync_pipeline.schema import REPEATED, REQUIRED, Field, Schema
from sync_pipeline.smart_sync.interval import SyncInterval
from sync_pipeline.sources.source import DeadLetter, ReadPlan, SourceClock, SourceDescription
from tests.plans import INTERVAL, PARAMETERS, moment, plan

LOCATION = "US"
PLAIN = Schema(
    (
        Field("id", "INT64", REQUIRED, "the key"),
        Field("updated_at", "TIMESTAMP"),
        Field("local", "DATETIME"),
        Field("tags", "STRING", REPEATED),
    )
)
WITH_JSON = Schema((*PLAIN, Field("document", "JSON")))


@dataclass
class Sent:
    """What was sent: method, path below the project, query, body."""

    requests: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def jobs(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of jobs of a kind, `load` or `query`."""
        bodies = [body for method, path, _, body in self.requests if method == "POST" and path.endswith("/jobs")]
        return [body for body in bodies if kind in body["configuration"]]

    def loads(self) -> list[dict[str, Any]]:
        return [body["configuration"]["load"] for body in self.jobs("load")]

    def statements(self) -> list[str]:
        return [body["configuration"]["query"]["query"] for body in self.jobs("query")]

    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path, _, _ in self.requests if method not in ("GET", "DELETE")]


@contextlib.contextmanager
def recording(client: bigquery.Client) -> Iterator[Sent]:
    """Record what the client sends, on its way to the server."""
    sent, send = Sent(), client._connection.api_request

    def record(method: str, path: str, **rest: Any) -> Any:
        sent.requests.append((method, path, rest.get("query_params") or {}, rest.get("data") or {}))
        return send(method=method, path=path, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client._connection, "api_request", record)
        yield sent


@pytest.fixture
def sent(bigquery_client: bigquery.Client) -> Iterator[Sent]:
    with recording(bigquery_client) as sent:
        yield sent


@dataclass(frozen=True)
class Publishing:
    """Publishes one file of two rows into a table of the dataset."""

    client: bigquery.Client
    dataset: str
    folder: str

    @property
    def parameters(self) -> dict[str, str]:
        return {
            "destination_bigquery_project": self.client.project,
            "destination_bigquery_dataset": self.dataset,
            "destination_bigquery_table": "items",
        }

    def plan(
        self,
        mode: WriteMode,
        schema: Schema,
        *,
        creates_table: bool = True,
        interval: SyncInterval | None = None,
        **parts: Any,
    ) -> TableSync:
        parameters = self.parameters | ({"primary_key": "id"} if mode is WriteMode.MERGE else {})
        return plan(
            parameters,
            schema=schema,
            interval=interval,
            write_mode=mode,
            # Ids of jobs are made of it, and are spent for all tests.
            run_id=new_run_id(datetime.now(UTC)),
            creates_table=creates_table,
            job_project=self.client.project,
            location=LOCATION,
            staging_root=f"{self.folder}/",
            **parts,
        )

    def rows(self, schema: Schema) -> pa.RecordBatch:
        rows = [
            {
                "id": number,
                "updated_at": INTERVAL.end,
                "local": datetime(2025, 1, 1),  # noqa: DTZ001
                "tags": ["a", "b"],
                "document": '{"a": 1}',
            }
            for number in (1, 2)
        ]
        return pa.RecordBatch.from_pylist(rows, schema=schema.arrow)

    def run(self, plan: TableSync) -> None:
        files = write_batches([self.rows(plan.schema)], rows_target(plan))
        if plan.dead_letters is not None:
            letter = DeadLetter(("id",), "does not fit", {"id": "x"})
            files += write_batches([dead_letter_batch(letter, plan)], dead_letter_target(plan))
        publish(self.client, plan, files)


@pytest.fixture
def publishing(bigquery_client: bigquery.Client, dataset: str, gcs_folder: str) -> Publishing:
    return Publishing(bigquery_client, dataset, gcs_folder)


MODES = pytest.mark.parametrize("mode", list(WriteMode), ids=lambda mode: mode.name.lower())


@dataclass(frozen=True)
class Published:
    """A run that has published, and what it sent."""

    plan: TableSync
    sent: Sent

    @property
    def mode(self) -> WriteMode:
        return self.plan.write_mode

    @property
    def is_direct(self) -> bool:
        return self.plan.schema is PLAIN and self.mode in (WriteMode.APPEND, WriteMode.TRUNCATE)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the bodies of the jobs that write."""
        return [
            body
            for body in (*self.sent.jobs("load"), *self.sent.jobs("query"))
            if not body["configuration"].get("query", {}).get("query", "").startswith("SELECT COUNT(*)")
        ]


@pytest.fixture(
    scope="module",
    params=[(mode, schema) for mode in WriteMode for schema in (PLAIN, WITH_JSON)],
    ids=[f"{mode.name.lower()} {kind}" for mode in WriteMode for kind in ("plain", "with JSON")],
)
def published(
    request: pytest.FixtureRequest, endpoints: Endpoints, bigquery_client: bigquery.Client
) -> Iterator[Published]:
    """Publish in every mode, once for all tests."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    bigquery_client.create_dataset(name)
    publishing = Publishing(bigquery_client, name, f"gs://{endpoints.bucket}/{name}")
    mode, schema = request.param
    running = publishing.plan(mode, schema, interval=INTERVAL, layout=TableLayout("updated_at", "DAY", ("id",)))
    with recording(bigquery_client) as sent:
        publishing.run(running)
    yield Published(running, sent)
    bigquery_client.delete_dataset(name, delete_contents=True)


TYPES = {"INT64": "INTEGER", "BOOL": "BOOLEAN", "FLOAT64": "FLOAT"}


def _told(fields: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["name"], TYPES.get(each["type"], each["type"]), each["mode"]) for each in fields]


def test_load_jobs(published: Published) -> None:
    running, is_direct = published.plan, published.is_direct
    (load,) = published.sent.loads()
    assert load["sourceFormat"] == "PARQUET"
    assert load["parquetOptions"] == {"enableListInference": True}
    assert load["createDisposition"] == "CREATE_NEVER"
    is_truncated = is_direct and published.mode is WriteMode.TRUNCATE
    assert load["writeDisposition"] == ("WRITE_TRUNCATE_DATA" if is_truncated else "WRITE_APPEND")
    table = running.table_id if is_direct else running.staging_table_id
    assert ".".join(load["destinationTable"].values()) == table
    fields = [each.to_api_repr() for each in (running.schema.bigquery if is_direct else running.schema.staged)]
    assert _told(load["schema"]["fields"]) == _told(fields)
    assert "JSON" not in {each["type"] for each in load["schema"]["fields"]}
    assert load["sourceUris"]
    assert all(uri.startswith(running.staging_folder) and "*" not in uri for uri in load["sourceUris"])
    # No partitioning, clustering or schema update: BigQuery refuses them, or asks for more permissions.
    assert load.keys() == {
        "sourceFormat",
        "parquetOptions",
        "createDisposition",
        "writeDisposition",
        "destinationTable",
        "schema",
        "sourceUris",
    }


_BEGINNINGS = {
    WriteMode.APPEND: "INSERT INTO ",
    WriteMode.MERGE: "MERGE INTO ",
    WriteMode.TRUNCATE: "BEGIN TRANSACTION;\nTRUNCATE TABLE ",
    WriteMode.REPLACE: "CREATE OR REPLACE TABLE ",
}


def test_query_jobs(published: Published) -> None:
    queries = [body["configuration"]["query"] for body in published.jobs() if "query" in body["configuration"]]
    assert len(queries) == (0 if published.is_direct else 1)
    for query in queries:
        assert query["useLegacySql"] is False
        guard, _, statements = query["query"].partition(";\n")
        assert guard.startswith("ASSERT (SELECT COUNT(*) FROM ")
        assert statements.startswith(_BEGINNINGS[published.mode])
        assert ("PARSE_JSON" in statements) == (published.plan.schema is WITH_JSON)
        assert "destinationTable" not in query


def test_the_location_is_sent_with_every_job(published: Published) -> None:
    sent = published.sent
    bodies = [*sent.jobs("load"), *sent.jobs("query")]
    assert {body["jobReference"]["location"] for body in bodies} == {LOCATION}
    asked = [
        query
        for method, path, query, _ in sent.requests
        if method == "GET" and ("/jobs/" in path or "/queries/" in path)
    ]
    assert {query.get("location") for query in asked} <= {LOCATION}


def test_labels_and_ids_of_jobs(published: Published) -> None:
    running = published.plan
    for body in published.jobs():
        assert body["configuration"]["labels"] == {"sync_source": "postgresql", "sync_run": running.run_id.lower()}
    shared = published.mode in (WriteMode.APPEND, WriteMode.MERGE)
    last = f"{running.publish_id}-r0" if shared else f"sync-{running.run_id}-publish-r0"
    staged = [] if published.is_direct else [f"sync-{running.run_id}-stage0-r0"]
    assert [body["jobReference"]["jobId"] for body in published.jobs()] == [*staged, last]


def test_the_staging_table_expires_and_has_no_json(publishing: Publishing, sent: Sent) -> None:
    running = publishing.plan(WriteMode.APPEND, WITH_JSON, layout=TableLayout("updated_at"))
    publishing.run(running)
    created = [body for method, path, _, body in sent.requests if method == "POST" and path.endswith("/tables")]
    destination, staging = created
    assert destination["timePartitioning"] == {"type": "DAY", "field": "updated_at"}
    assert staging["tableReference"]["tableId"] == f"_staging_{running.run_id}"
    hours = (int(staging["expirationTime"]) / 1000 - datetime.now(UTC).timestamp()) / 3600
    assert 23.9 < hours < 24.1
    assert {each["mode"] for each in staging["schema"]["fields"]} == {"NULLABLE", "REPEATED"}
    assert "JSON" not in {each["type"] for each in staging["schema"]["fields"]}
    assert "timePartitioning" not in staging
    deleted = [path.rsplit("/", 1)[1] for method, path, _, _ in sent.requests if method == "DELETE"]
    assert deleted == [f"_staging_{running.run_id}"]


def test_dead_letters_are_loaded_before_the_rows(publishing: Publishing, sent: Sent) -> None:
    table = f"{publishing.client.project}.{publishing.dataset}.lost"
    running = publishing.plan(WriteMode.APPEND, PLAIN, dead_letters=DeadLetterTable(table, LOCATION, exists=False))
    publishing.run(running)
    assert [load["destinationTable"]["tableId"] for load in sent.loads()] == ["lost", "items"]
    lost = sent.loads()[0]
    assert (lost["writeDisposition"], lost["createDisposition"]) == ("WRITE_APPEND", "CREATE_NEVER")
    assert [each["name"] for each in lost["schema"]["fields"]] == [
        "run_id",
        "failed_at",
        "destination_table",
        "column_name",
        "reason",
        "source_row",
    ]


def test_an_existing_tables_own_schema_is_sent(publishing: Publishing, sent: Sent) -> None:
    fields = [
        bigquery.SchemaField("Tags", "STRING", "REPEATED"),
        bigquery.SchemaField("other", "STRING"),
        bigquery.SchemaField("id", "INTEGER", "REQUIRED", description="theirs"),
        bigquery.SchemaField("updated_at", "TIMESTAMP"),
        bigquery.SchemaField("local", "DATETIME"),
    ]
    running = publishing.plan(WriteMode.APPEND, PLAIN, creates_table=False)
    publishing.client.create_table(bigquery.Table(running.table_id, schema=fields))
    publishing.run(running)
    (load,) = sent.loads()
    assert _told(load["schema"]["fields"]) == [
        ("Tags", "STRING", "REPEATED"),
        ("id", "INTEGER", "REQUIRED"),
        ("updated_at", "TIMESTAMP", "NULLABLE"),
        ("local", "DATETIME", "NULLABLE"),
    ]
    assert load["schema"]["fields"][1]["description"] == "theirs"


@MODES
def test_too_many_partitions_are_refused_before_anything_is_sent(
    publishing: Publishing, sent: Sent, mode: WriteMode
) -> None:
    running = publishing.plan(mode, PLAIN, layout=TableLayout("updated_at"))
    files = [
        StagedFile(f"{running.staging_folder}{number}.parquet", 1, 1, frozenset(map(str, range(first, first + 6000))))
        for number, first in enumerate((0, 5000))
    ]
    most = "4,000" if mode is WriteMode.MERGE else "10,000"
    with pytest.raises(SchemaError, match=rf"^the rows belong to more than {most} partitions of updated_at by DAY"):
        publish(publishing.client, running, files)
    assert sent.writes() == []


@dataclass(frozen=True)
class _Source:
    """A source whose columns are given; nothing of it can be read."""

    schema: Schema

    @property
    def clock(self) -> SourceClock:
        now = moment("2025-07-22 15:00")
        return SourceClock(now=now, upper_bound=now)

    @contextlib.contextmanager
    def connect(self) -> Iterator[_Source]:
        yield self

    def describe(self, interval: SyncInterval | None) -> SourceDescription:
        return SourceDescription(self.schema)

    def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
        raise AssertionError("a plan that is refused reads nothing")


UNFIT = Schema(
    tuple(
        Field(name, type_name, mode, source_type=name)
        for name, type_name, mode in (
            ("id", "INT64", "NULLABLE"),
            ("day", "DATE", "NULLABLE"),
            ("price", "FLOAT64", "NULLABLE"),
            ("document", "JSON", "NULLABLE"),
            ("tags", "STRING", "REPEATED"),
        )
    )
)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"partition_field": "id"}, id="partition by INT64"),
        pytest.param({"partition_field": "nobody"}, id="partition by no column"),
        pytest.param({"partition_field": "day", "partition_granularity": "HOUR"}, id="DATE by HOUR"),
        pytest.param({"partition_field": "day", "clustering_fields": "id,price"}, id="cluster by FLOAT64"),
        pytest.param({"partition_field": "day", "clustering_fields": "document"}, id="cluster by JSON"),
        pytest.param({"partition_field": "day", "clustering_fields": "tags"}, id="cluster by an array"),
        pytest.param({"partition_field": "day", "primary_key": "price"}, id="key of FLOAT64"),
        pytest.param({"partition_field": "day", "primary_key": "document"}, id="key of JSON"),
    ],
)
def test_a_layout_that_bigquery_refuses_is_refused_before_anything_is_sent(
    publishing: Publishing, sent: Sent, given: dict[str, str]
) -> None:
    config = SyncConfig.from_parameters(PARAMETERS | publishing.parameters | {"enable_auto_schema": "true"} | given)
    with pytest.raises(SchemaError):
        make_plan(config, _Source(UNFIT), publishing.client, f"{publishing.folder}/", datetime.now(UTC))
    assert sent.statements() == ["SELECT 1"]
    assert sent.loads() == []
    assert [path for method, path in sent.writes() if not path.endswith(("/jobs", "/queries"))] == []


def test_a_plan_that_is_made_has_sent_nothing_but_questions(publishing: Publishing, sent: Sent) -> None:
    given = {"enable_auto_schema": "true", "partition_field": "day", "clustering_fields": "id"}
    config = SyncConfig.from_parameters(PARAMETERS | publishing.parameters | given)

    class Readable(_Source):
        def plan_read(self, schema: Schema, interval: SyncInterval | None) -> ReadPlan:
            return ReadPlan("SELECT 1", ())

    made = make_plan(config, Readable(UNFIT), publishing.client, f"{publishing.folder}/", datetime.now(UTC))
    assert made.tables[0].layout == TableLayout("day", "DAY", ("id",))
    assert sent.statements() == ["SELECT 1"]
    assert [path for _, path in sent.writes() if not path.endswith("/jobs")] == []
