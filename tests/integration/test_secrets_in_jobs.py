"""Jobs for Dataflow are built as the launcher builds them, and searched for the secrets they were given."""

from __future__ import annotations

import base64
import bz2
import json
import logging
import re
import traceback
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2

from sandbox.discovery import read_body
from sync_pipeline import command, pipeline
from sync_pipeline.errors import SyncError
from sync_pipeline.parameters.beam_options import BEAM_NAMES, IMAGE_VARIABLE
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.secrets import EMULATOR_VARIABLE
from sync_pipeline.parameters.table import BY_NAME
from tests.certificates import Authority, written
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing, _Messages
from tests.integration.tls_servers import mongodb_with_tls
from tests.packed_texts import holds
from tests.secret_manager import secret_manager

IMAGE = "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:1.0.0"
NAME = "projects/my-project/secrets/planted/versions/7"


@dataclass(frozen=True)
class Planted:
    """A secret in the source, and the parameters of a run that needs it.

    Attributes:
        password: no other text of the run contains it.
        parameters: of a run, by which the secret can be given as itself or by its name.
        around: a text with one place for the password, where that is only a part of what the parameter holds.
    """

    password: str
    parameters: dict[str, str | None]
    around: str = "{}"

    @property
    def value(self) -> str:
        """What the parameter holds."""
        return self.around.format(self.password)

    def given(self, secret_parameter: str, text: str) -> dict[str, str | None]:
        return {**self.parameters, secret_parameter: text}


@pytest.fixture
def postgresql_user(syncing: Syncing) -> Iterator[Planted]:
    """A user of PostgreSQL whose password is easily found, and who may read the rows of `items`."""
    role, password = f"reader_{uuid.uuid4().hex[:12]}", f"p1@nted/{uuid.uuid4().hex}"
    syncing.execute("CREATE TABLE items (id bigint, note text)")
    syncing.execute("INSERT INTO items VALUES (1, 'one'), (2, 'two')")
    syncing.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    syncing.execute(f"GRANT SELECT ON items TO {role}")
    yield Planted(password, {"postgresql_username": role})
    syncing.execute(f"DROP OWNED BY {role}")
    syncing.execute(f"DROP ROLE {role}")


@pytest.fixture
def mongodb_user(mongodb_syncing: MongodbSyncing) -> Iterator[Planted]:
    """A user of MongoDB whose password is easily found, and who may read the documents of `items`."""
    syncing, name, password = mongodb_syncing, f"reader_{uuid.uuid4().hex[:12]}", f"pl@nted{uuid.uuid4().hex}"
    syncing.insert({"_id": 1, "note": "one"})
    users = syncing.mongodb.client["admin"]
    users.command("createUser", name, pwd=password, roles=[{"role": "read", "db": syncing.database}])
    of_another_source = dict.fromkeys(parameter for parameter in BY_NAME if parameter.startswith("postgresql_"))
    parameters = syncing.parameters(mongodb_username=name, mongodb_password=None)
    del parameters["destination_bigquery_dataset"]
    yield Planted(password, {**of_another_source, **parameters})
    users.command("dropUser", name)


@pytest.fixture
def mongodb_connection_string(mongodb_user: Planted) -> Planted:
    """The same user, all in one text."""
    parameters = dict(mongodb_user.parameters)
    host, port, user = (parameters.pop(f"mongodb_{part}") for part in ("host", "port", "username"))
    around = f"mongodb://{user}:{{}}@{host}:{port}/"
    return Planted(mongodb_user.password.replace("@", "%40"), parameters, around)


@pytest.fixture
def postgresql_key(postgresql_user: Planted, tmp_path: Path) -> Planted:
    """A private key, for a server that would ask for a certificate."""
    pair = Authority().sign("reader")
    location = written(tmp_path, "client.pem", pair.certificate)
    parameters = {**postgresql_user.parameters, "postgresql_password": postgresql_user.value}
    return _planted_key(pair.key, {**parameters, "postgresql_sslcert": location})


@pytest.fixture
def mongodb_certificate_key(mongodb_user: Planted, tmp_path: Path) -> Iterator[Planted]:
    """A client's certificate and its key, with which one logs in at a server that speaks TLS."""
    with mongodb_with_tls(tmp_path) as server:
        address = {"mongodb_host": "127.0.0.1", "mongodb_port": str(server.port), "mongodb_username": None}
        collection = {"mongodb_database": "shop", "mongodb_collection": "items"}
        authority = written(tmp_path, "authority.pem", server.authority.certificate)
        parameters = {**mongodb_user.parameters, **address, **collection, "mongodb_tls_ca": authority}
        yield _planted_key(server.client.both, parameters)


@pytest.fixture
def hash_key(postgresql_user: Planted) -> Planted:
    """The key of the hashes that stand for `note`."""
    hashes = {"transformation_config": '{"hash_fields": ["note"]}', "postgresql_password": postgresql_user.value}
    return Planted(f"pl@nted{uuid.uuid4().hex}", {**postgresql_user.parameters, **hashes})


def _planted_key(text: str, parameters: dict[str, str | None]) -> Planted:
    line = text[text.index("PRIVATE KEY-----") :].splitlines()[1]
    return Planted(line, parameters, text.replace(line, "{}"))


# One row for each secret parameter: its name, and the fixture that plants its value.
SECRETS = [
    pytest.param("postgresql_password", "postgresql_user", id="postgresql_password"),
    pytest.param("mongodb_password", "mongodb_user", id="mongodb_password"),
    pytest.param("mongodb_connection_string", "mongodb_connection_string", id="mongodb_connection_string"),
    pytest.param("hash_key", "hash_key", id="hash_key"),
    pytest.param("postgresql_sslkey", "postgresql_key", id="postgresql_sslkey"),
    pytest.param("mongodb_tls_certificate_key", "mongodb_certificate_key", id="mongodb_tls_certificate_key"),
]


def test_no_secret_is_left_out() -> None:
    assert {param.values[0] for param in SECRETS} == {name for name, parameter in BY_NAME.items() if parameter.secret}


@dataclass(frozen=True)
class Job:
    """What building a job left to see: the job's file, the pipeline's, and all that was said."""

    description: dict[str, object]
    graph: bytes
    said: str

    @property
    def everything(self) -> bytes:
        return json.dumps(self.description).encode() + self.graph + self.said.encode()


@dataclass(frozen=True)
class Launcher:
    """Builds jobs as the template's launcher does."""

    syncing: Syncing
    capture: pytest.CaptureFixture[str]

    def build(self, **parameters: str) -> Job:
        folder = self.syncing.folder
        argv = [
            *self.syncing.argv(**parameters),
            "--runner=DataflowRunner",
            "--project=my-project",
            "--region=us-central1",
            "--job_name=items-sync",
            f"--staging_location={folder}/staging",
            f"--template_location={folder}/job.json",
            "--labels={'team': 'shop'}",
        ]
        handler, root = _Messages(), logging.getLogger()
        handler.setLevel(logging.DEBUG)
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            exit_code = command.main(argv)
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        printed = self.capture.readouterr()
        said = "\n".join((*handler.messages, printed.out, printed.err))
        assert exit_code == 0, said
        description = json.loads(self.read(f"{folder}/job.json"))
        (graph,) = [path for path in self.syncing.objects() if path.endswith("pipeline.pb")]
        return Job(description, self.read(graph), said)

    @staticmethod
    def read(path: str) -> bytes:
        with FileSystems.open(path) as file:
            content = file.read()
        assert isinstance(content, bytes)
        return content


@pytest.fixture
def launcher(syncing: Syncing, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Launcher:
    monkeypatch.setenv(IMAGE_VARIABLE, IMAGE)
    return Launcher(syncing, capfd)


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(base64.b64encode, id="Base64"),
        pytest.param(lambda text: base64.urlsafe_b64encode(zlib.compress(text)).rstrip(b"="), id="zlib"),
        pytest.param(
            lambda text: b"Ab1" + base64.b64encode(bz2.compress(b"before" + base64.b64encode(text))), id="both"
        ),
    ],
)
def test_search_finds_what_is_hidden(pack: Callable[[bytes], bytes]) -> None:
    assert holds(b"before " + pack(b"a p1@nted/secret here"), "p1@nted/secret")
    assert not holds(b"before " + pack(b"a p1@nted/secreT here"), "p1@nted/secret")


@pytest.mark.parametrize(("parameter", "plant"), SECRETS)
def test_name_is_all_that_travels(
    parameter: str, plant: str, launcher: Launcher, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted: Planted = request.getfixturevalue(plant)
    with secret_manager({NAME: planted.value.encode()}.__getitem__) as connect:
        monkeypatch.delenv(EMULATOR_VARIABLE)
        monkeypatch.setattr("google.cloud.secretmanager.SecretManagerServiceClient", connect)
        job = launcher.build(**planted.given(parameter, NAME))
    assert not holds(job.everything, planted.password)
    # The workers get the name, and whoever imports the job can launch it again.
    assert holds(job.graph, NAME)
    assert options_of(job)[parameter] == NAME


@pytest.mark.parametrize(("parameter", "plant"), SECRETS)
def test_plain_secret_is_in_the_graph_and_nowhere_else(
    parameter: str, plant: str, launcher: Launcher, request: pytest.FixtureRequest
) -> None:
    planted: Planted = request.getfixturevalue(plant)
    job = launcher.build(**planted.given(parameter, planted.value))
    # The workers have no other way to it. This also shows that the search finds what is there to be found.
    assert holds(job.graph, planted.password)
    assert not holds(json.dumps(job.description).encode(), planted.password)
    assert not holds(job.said.encode(), planted.password)
    assert f"{parameter} was given in plain text" in job.said


def test_errors_do_not_tell_the_secret(syncing: Syncing, postgresql_user: Planted) -> None:
    wrong = f"{postgresql_user.value}-and-more"
    config = RunConfig.from_parameters(
        syncing.parameters(**postgresql_user.given("postgresql_password", wrong), postgresql_query="SELECT 1 AS id")
    )
    with pytest.raises(SyncError) as caught:
        pipeline.run(config, PipelineOptions(temp_location=syncing.folder))
    assert "rejected" in str(caught.value)
    assert wrong not in "".join(traceback.format_exception(caught.value))


def run_id_of(job: Job) -> str:
    found = re.search("plan: run (\\S+):", job.said)
    assert found is not None
    return found[1]


def options_of(job: Job) -> dict[str, object]:
    environment = job.description["environment"]
    assert isinstance(environment, dict)
    options = environment["sdkPipelineOptions"]["options"]
    assert isinstance(options, dict)
    return options


def test_parameters_can_be_read_back_from_the_job(launcher: Launcher, postgresql_user: Planted) -> None:
    given = launcher.syncing.parameters(
        **postgresql_user.given("postgresql_password", postgresql_user.value), clustering_fields="id", batch_size="500"
    )
    job = launcher.build(**given)
    options = options_of(job)
    names = [name for name, parameter in BY_NAME.items() if not parameter.secret and name not in BEAM_NAMES]
    # As texts, and with the defaults of what was not given: what a launcher that imports jobs looks for.
    expected = {name: given.get(name, BY_NAME[name].default) for name in names}
    assert {name: options.get(name) for name in names} == expected
    assert options["labels"][0] == "data_source=postgresql"  # type: ignore[index]
    assert {options[name] for name in BEAM_NAMES} == {"false"}
    assert options["output_table"] == f"{launcher.syncing.endpoints.project}.{launcher.syncing.dataset}.items"
    assert (options["output_tables"], options["output_run_id"]) == ("1", run_id_of(job))


def test_job_is_one_that_dataflow_takes(launcher: Launcher, postgresql_user: Planted) -> None:
    job = launcher.build(**postgresql_user.given("postgresql_password", postgresql_user.value))
    assert read_body("dataflow.v1b3", "Job", job.description)[1] == []
    assert job.description["labels"] == {
        "data_source": "postgresql",
        "destination_project": launcher.syncing.endpoints.project,
        "destination_dataset": launcher.syncing.dataset,
        "destination_table": "items",
        "goog-dataflow-provided-template-type": "flex",
        "template": "sync-to-bigquery",
        "template_version": "1_0_0",
        "team": "shop",
    }
    # The read has one part, which Dataflow cannot see.
    (pool,) = job.description["environment"]["workerPools"]  # type: ignore[index]
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (1, 1)
    assert "plan: workers: 1 at the start, at most 1, for 1 parallel read(s)" in job.said


def test_workers_run_the_launchers_image_and_install_nothing(launcher: Launcher, postgresql_user: Planted) -> None:
    job = launcher.build(**postgresql_user.given("postgresql_password", postgresql_user.value))
    graph = beam_runner_api_pb2.Pipeline.FromString(job.graph)
    images = {
        beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
        for environment in graph.components.environments.values()
    }
    assert images == {IMAGE}
    # No package, no requirements and no main session. Beam may write down what the launcher has installed.
    staged = {path.rsplit("/", 1)[1] for path in launcher.syncing.objects()}
    assert staged - {"submission_environment_dependencies.txt"} == {"job.json", "pipeline.pb"}


def test_secret_is_resolved_in_the_launcher_and_on_the_worker(
    syncing: Syncing, postgresql_user: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(name: str) -> bytes:
        asked.append(name)
        return postgresql_user.value.encode()

    with secret_manager(answer) as connect:
        monkeypatch.delenv(EMULATOR_VARIABLE)
        monkeypatch.setattr("google.cloud.secretmanager.SecretManagerServiceClient", connect)
        run = syncing.run(**postgresql_user.given("postgresql_password", NAME)).succeeded()
    assert run.rows_loaded == 2
    assert [risk for risk in run.risks if "each run appends all rows again" not in risk] == []
    assert len(asked) >= 2
    assert set(asked) == {NAME}


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        pytest.param(grpc.StatusCode.PERMISSION_DENIED, "roles/secretmanager.secretAccessor", id="denied"),
        pytest.param(grpc.StatusCode.NOT_FOUND, "there is no such secret or version", id="missing"),
        pytest.param(grpc.StatusCode.FAILED_PRECONDITION, "the version is disabled or destroyed", id="disabled"),
    ],
)
@pytest.mark.parametrize("when", ["at launch", "on the worker"])
def test_refused_secret_ends_the_run(
    when: str,
    status: grpc.StatusCode,
    remedy: str,
    syncing: Syncing,
    postgresql_user: Planted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launching = when == "on the worker"

    def answer(name: str) -> bytes | grpc.StatusCode:
        return postgresql_user.value.encode() if launching else status

    build_pipeline = pipeline.build_pipeline

    def launched(*arguments: object) -> object:
        nonlocal launching
        launching = False
        return build_pipeline(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "build_pipeline", launched)
    with secret_manager(answer) as connect:
        monkeypatch.delenv(EMULATOR_VARIABLE)
        monkeypatch.setattr("google.cloud.secretmanager.SecretManagerServiceClient", connect)
        run = syncing.run(**postgresql_user.given("postgresql_password", NAME))
    run.refused(f"postgresql_password: {NAME} cannot be read: ", remedy)
    assert postgresql_user.value not in run.everything
    assert syncing.tables() == []
    assert syncing.left_over() == []
