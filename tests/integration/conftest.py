"""The sandbox for tests that talk to real servers: started once per run, with fresh names for every test."""

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn
from pymongo.database import Database

import sandbox
from sandbox import Endpoints, mongodb, mongodb_replica_set
from sandbox.mongodb_replica_set import ReplicaSet
from tests import fork_server
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.launching import HAS_GCLOUD, ROOT, Launching
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing
from tests.session_end import end_session

# Free memory for a worker's tables; a container may have as little as 64 MB for all its programs.
_MEMORY_BYTES = 4 << 30


@pytest.fixture(scope="session")
def endpoints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Run the sandbox for the session, and point Google's clients in this process and its children to it.

    If it does not start, the run ends with the reason: every further test would fail by it.
    """
    before = dict(os.environ)
    # Statements on a few rows take a third less time when they are not divided.
    os.environ["SANDBOX_BIGQUERY_THREADS"] = "1"
    os.environ["SANDBOX_JOB_PYTHON"] = fork_server.python()
    # Otherwise each request looks through all variables for a proxy, several times.
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    folder: Path = tmp_path_factory.mktemp("sandbox")
    problem = ""
    try:
        with _in_memory(folder / "bigquery"), sandbox.running(folder) as endpoints:
            os.environ.update(endpoints.environment())
            yield endpoints
    except sandbox.SandboxError as error:
        problem = f"the sandbox does not start: {error}"
    finally:
        os.environ.clear()
        os.environ.update(before)
    if problem:
        end_session(request, problem)


@contextlib.contextmanager
def _in_memory(folder: Path) -> Iterator[None]:
    """Let `folder` be a link to one in memory, where there is enough: the emulator writes each commit to the disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < _MEMORY_BYTES:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sandbox-", dir=memory, ignore_cleanup_errors=True) as data:
        folder.symlink_to(data)
        yield


@pytest.fixture(scope="session")
def bigquery_client(endpoints: Endpoints) -> Iterator[bigquery.Client]:
    """A client made as the product makes it: from the environment alone."""
    client = bigquery.Client(project=endpoints.project)
    yield client
    client.close()


@pytest.fixture
def dataset(bigquery_client: bigquery.Client) -> Iterator[str]:
    """The id of an empty dataset, deleted with its tables after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    bigquery_client.create_dataset(name)
    yield name
    bigquery_client.delete_dataset(name, delete_contents=True)


@pytest.fixture
def query(bigquery_client: bigquery.Client, dataset: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Run a statement, in which DATASET stands for the test's dataset, and return its rows."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        job = bigquery_client.query(statement.replace("DATASET", dataset), job_retry=None)
        return [row.values() for row in job.result()]

    return run


@pytest.fixture
def gcs_folder(endpoints: Endpoints) -> str:
    """A gs:// URL, without a trailing slash, below which the test is alone."""
    return f"gs://{endpoints.bucket}/test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def postgresql_database(endpoints: Endpoints) -> Iterator[str]:
    """The name of an empty database, dropped after the test whoever is still connected to it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administrator = psycopg2.connect(endpoints.postgresql_dsn)
    administrator.autocommit = True
    try:
        with administrator.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(name))
            )
            yield name
            cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [name])
            prepared = cursor.fetchall()
            for (gid,) in prepared:
                _roll_back_prepared(endpoints, name, gid)
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    finally:
        administrator.close()


@pytest.fixture
def postgresql(endpoints: Endpoints, postgresql_database: str) -> Iterator[Connection]:
    """A connection to the test's own database, in autocommit mode."""
    connection = psycopg2.connect(make_dsn(endpoints.postgresql_dsn, dbname=postgresql_database))
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.fixture
def mongodb_database(endpoints: Endpoints) -> Iterator[Database[dict[str, Any]]]:
    """An empty database as its administrator has it; the sandbox's reader may read it. Dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    role = {"role": "read", "db": name}
    with mongodb.connect(endpoints.mongodb_uri) as client:
        client["admin"].command("grantRolesToUser", endpoints.mongodb_username, roles=[role])
        yield client[name]
    # Another client: the test may have stopped the server that the first was connected to.
    with mongodb.connect(endpoints.mongodb_uri) as client:
        client.drop_database(name)
        client["admin"].command("revokeRolesFromUser", endpoints.mongodb_username, roles=[role])


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    """Three MongoDB servers beside the sandbox's one, which are one replica set.

    They start in seconds, and what they tell each other takes a thirtieth of a core as long as they run.
    """
    with mongodb_replica_set.replica_set(tmp_path_factory.mktemp("replica-set")) as members:
        yield members


@pytest.fixture
def mongodb_syncing(
    endpoints: Endpoints,
    mongodb_database: Database[dict[str, Any]],
    bigquery_client: bigquery.Client,
    dataset: str,
    gcs_folder: str,
) -> MongodbSyncing:
    """Runs from the test's own database of MongoDB into the test's own dataset."""
    return MongodbSyncing(
        endpoints, mongodb_database.name, None, bigquery_client, dataset, gcs_folder, mongodb_database
    )


@pytest.fixture
def syncing(
    endpoints: Endpoints,
    postgresql_database: str,
    postgresql: Connection,
    bigquery_client: bigquery.Client,
    dataset: str,
    gcs_folder: str,
) -> Syncing:
    """Runs from the test's own database into the test's own dataset."""
    return Syncing(endpoints, postgresql_database, postgresql, bigquery_client, dataset, gcs_folder)


@pytest.fixture
def bigquery_syncing(
    endpoints: Endpoints, bigquery_client: bigquery.Client, dataset: str, gcs_folder: str
) -> Iterator[BigquerySyncing]:
    """Runs from a dataset of the test's own into another; policy tags may be set in both."""
    source = f"{dataset}_source"
    bigquery_client.create_dataset(source)
    for name in (source, dataset):
        resource = bigquery_client.get_dataset(name)
        resource.labels = {"sandbox_may_set_policy_tags": "yes"}
        bigquery_client.update_dataset(resource, ["labels"])
    yield BigquerySyncing(endpoints, "", None, bigquery_client, dataset, gcs_folder, source)
    bigquery_client.delete_dataset(source, delete_contents=True)


def _roll_back_prepared(endpoints: Endpoints, database: str, gid: str) -> None:
    # A prepared transaction outlives its session, is ended from its own database only, and keeps that from going.
    connection = psycopg2.connect(make_dsn(endpoints.postgresql_dsn, dbname=database))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK PREPARED %s", [gid])
    connection.close()


@pytest.fixture(scope="session")
def template(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The gs:// path of the template file, built by gcloud where there is one."""
    path = f"gs://{endpoints.bucket}/templates/sync-to-bigquery.json"
    launching = Launching(endpoints, path, tmp_path_factory.mktemp("template"))
    image = "us-central1-docker.pkg.dev/my-project/images/sync-to-bigquery:1"
    if HAS_GCLOUD:
        words = f"--image={image} --sdk-language=PYTHON --metadata-file={ROOT / 'metadata.json'}"
        launching.succeed(f"gcloud dataflow flex-template build {path} {words}")
        return path
    metadata = json.loads((ROOT / "metadata.json").read_text())
    written = {"image": image, "metadata": metadata, "sdkInfo": {"language": "PYTHON"}, "defaultEnvironment": {}}
    with FileSystems.create(path, mime_type="application/json") as file:
        file.write(json.dumps(written).encode())
    return path


@pytest.fixture
def launching(endpoints: Endpoints, template: str, tmp_path: Path) -> Launching:
    """The local Dataflow, with an empty folder for the files of a test."""
    return Launching(endpoints, template, tmp_path)
