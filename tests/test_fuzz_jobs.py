"""Hostile jobs and launches: where the name of a secret does, the secret is in no graph, no request and no command."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
import yaml
from apache_beam.portability.api import beam_runner_api_pb2
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.__main__ import main
from sync_pipeline.parameters.beam_options import pipeline_options
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.parameter import Parameter, ParameterType
from sync_pipeline.parameters.secrets import secrets_in
from sync_pipeline.parameters.table import BY_NAME, PARAMETERS
from sync_pipeline.pipeline import build_pipeline
from sync_pipeline.planning.dead_letter_table import DeadLetterTable
from sync_pipeline.planning.plan import WriteMode
from sync_pipeline.sources import open_source
from tests.fuzz_cases import (
    MONGODB,
    PLAIN_SECRETS,
    PLANTED,
    POSTGRESQL,
    SECRET_NAMES,
    TEXTS,
    UNSAFE,
    WRITABLE_TEXTS,
    cases,
    flags,
)
from tests.packed_texts import holds
from tests.plans import INTERVAL, plan, run_plan

VARIABLE = "PLANTED_BY_A_TEST"
BY_THEIR_NAMES = st.sampled_from(
    ["projects/my-project/secrets/s/versions/1", "projects/p/locations/europe-west1/secrets/s/versions/latest"]
)
BIGQUERY = {
    "data_source": "bigquery",
    "source_bigquery_project": "my-project",
    "source_bigquery_dataset": "d",
    "source_bigquery_table": "t",
} | {name: value for name, value in POSTGRESQL.items() if name.startswith("destination_")}
_FIELDS = st.lists(st.sampled_from(["id", "name", "note", "a.b"]), max_size=2, unique=True)
_JSON = {
    "transformation_config": st.fixed_dictionaries(
        {},
        optional={
            "hash_fields": st.just(["name"]),
            "exclude_fields": _FIELDS.filter(lambda names: "name" not in names),
            "constant_fields": st.dictionaries(st.just("c"), WRITABLE_TEXTS, max_size=1),
        },
    )
}
# Of each type what may be taken, so that many a run is planned.
_SUITABLE = {
    ParameterType.BOOLEAN: lambda _: st.sampled_from(["true", "false"]),
    ParameterType.CHOICE: lambda parameter: st.sampled_from(parameter.choices),
    ParameterType.INTEGER: lambda parameter: st.integers(parameter.minimum, parameter.minimum + 9).map(str),
    ParameterType.COLUMN: lambda _: st.sampled_from(["id", "name", "updated_at"]),
    ParameterType.COLUMNS: lambda _: st.sampled_from(["id", "name,id"]),
    ParameterType.JSON: lambda parameter: _JSON.get(
        parameter.name, st.dictionaries(st.just("a"), WRITABLE_TEXTS, max_size=1)
    ).map(json.dumps),
    ParameterType.TIME_ZONE: lambda _: st.just("Europe/Berlin"),
    ParameterType.TIMESTAMP: lambda _: st.just("2025-07-01T00:00:00Z"),
    ParameterType.TABLE_ID: lambda _: st.just("my-project.production.letters"),
    ParameterType.DATASET: lambda _: st.just("staging"),
}
_CHOSEN = {
    parameter.name: _SUITABLE.get(parameter.type, lambda _: WRITABLE_TEXTS)(parameter)
    for parameter in PARAMETERS
    if not parameter.secret and parameter.name != "data_source" and parameter.type is not ParameterType.HOST
}
OTHERS = st.lists(st.sampled_from(sorted(_CHOSEN)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _CHOSEN[name] for name in names})
)


def _secrets(parameter: Parameter) -> st.SearchStrategy[str]:
    return PLAIN_SECRETS[parameter.name] | BY_THEIR_NAMES | st.just(f"env:{VARIABLE}")


SECRETS_OR_NAMES = st.lists(st.sampled_from(SECRET_NAMES), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _secrets(BY_NAME[name]) for name in names})
)
NAMES_OF_SECRETS = st.dictionaries(st.sampled_from(SECRET_NAMES), BY_THEIR_NAMES, max_size=2)


@cases(0.05)
@given(
    st.sampled_from([POSTGRESQL, MONGODB, BIGQUERY]),
    SECRETS_OR_NAMES,
    OTHERS,
    st.sampled_from(WriteMode),
    st.booleans(),
    st.booleans(),
)
def test_job_graphs(
    monkeypatch: pytest.MonkeyPatch,
    source: dict[str, str],
    secrets: dict[str, str],
    others: dict[str, str],
    write_mode: WriteMode,
    has_interval: bool,
    has_dead_letters: bool,
) -> None:
    monkeypatch.setenv(VARIABLE, PLANTED)
    parameters = source | others | secrets
    if "mongodb_connection_string" in secrets:
        parameters = {name: text for name, text in parameters.items() if name not in ("mongodb_host", "mongodb_port")}
    try:
        config = SyncConfig.from_parameters(parameters)
        open_source(config)
    except ConfigError:
        # What is told then, `test_parameters` looks at.
        return
    letters = DeadLetterTable("my-project.production.letters", "EU", exists=False) if has_dead_letters else None
    planned = plan(
        config=config, write_mode=write_mode, interval=INTERVAL if has_interval else None, dead_letters=letters
    )
    options = pipeline_options(parse_command_line([*flags(parameters), "--temp_location=gs://bucket/tmp"]))
    graph = build_pipeline(run_plan(planned), options).to_runner_api()
    # The workers have no other way to a secret in plain text. This also shows that the search finds what is there.
    is_plain = any(secret.is_plain and PLANTED in secret.resolve() for secret in secrets_in(config))
    assert holds(graph.SerializeToString(), PLANTED) is is_plain
    assert not holds(_without_payloads(graph).SerializeToString(), PLANTED)
    assert not holds(repr(options.get_all_options()).encode(), PLANTED)


def _without_payloads(graph: beam_runner_api_pb2.Pipeline) -> beam_runner_api_pb2.Pipeline:
    """Return what consoles show of a graph: steps, their names, their display data and annotations."""
    shown = beam_runner_api_pb2.Pipeline()
    shown.CopyFrom(graph)
    for transform in shown.components.transforms.values():
        transform.spec.payload = b""
    for coder in shown.components.coders.values():
        coder.spec.payload = b""
    return shown


LAUNCH: dict[str, Any] = {
    "job_name": "orders-sync",
    "project": "my-project",
    "region": "us-central1",
    "template": "gs://my-templates/sync-to-bigquery.json",
    "environment": {"tempLocation": "gs://my-bucket/tmp"},
    "schedule": {"cron": "0 2 * * *", "service_account": "scheduler@my-project.iam.gserviceaccount.com"},
}
# Where a secret is put by mistake.
MISPUT = st.sampled_from(
    [
        {"postgresql_password": PLANTED},
        {"parameters": {"postgresql_pasword": PLANTED}},
        {"parameters": {"hash_key": [PLANTED]}},
        {"parameters": {"hash_key": {PLANTED: PLANTED}}},
        {"parameters": {"postgresql_host": f"u:{PLANTED}@h"}},
        {"parameters": {"postgresql_database": f"postgresql://u:{PLANTED}@h/d"}},
        {"environment": {"postgresql_password": PLANTED}},
        {"environment": {"additionalPipelineOptions": [f"--postgresql_password={PLANTED}"]}},
        {"environment": {"additionalPipelineOptions": [f"hash_key={PLANTED}"]}},
        {"launch_options": {"postgresql_password": PLANTED}},
        {"schedule": {"postgresql_password": PLANTED}},
    ]
)
# Texts of a launch file that are no parameters.
PLACES = st.sampled_from(
    [
        *(("", name) for name in ("job_name", "project", "region", "template", "max_run_seconds", "unknown")),
        *(("environment", name) for name in ("tempLocation", "network", "additionalExperiments", "unknown")),
        *(("launch_options", name) for name in ("ft_launch_timeout_secs", "unknown")),
        *(
            ("schedule", name)
            for name in (
                "cron",
                "time_zone",
                "service_account",
                "name",
                "location",
                "description",
                "retries",
                "unknown",
            )
        ),
    ]
)
# What may be anything else.
FREE_PLACES = st.sampled_from(
    [
        *(("environment", name) for name in ("network", "subnetwork", "kmsKeyName", "serviceAccountEmail")),
        *(("schedule", name) for name in ("description", "location")),
        ("launch_options", "unknown"),
    ]
)
PLACED = st.tuples(FREE_PLACES, WRITABLE_TEXTS) | st.tuples(
    PLACES, TEXTS | st.integers(-1, 5) | st.booleans() | st.none() | st.lists(TEXTS, max_size=2)
)


def run_launch(text: str, *options: str) -> tuple[int, str, str]:
    """Return the exit code of `python -m sync_pipeline.launching`, its output and what it complains of."""
    given_text = io.TextIOWrapper(io.BytesIO(text.encode("utf-8", "surrogatepass")), encoding="utf-8")
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")) as out,
        contextlib.redirect_stderr(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")) as err,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("sys.stdin", given_text)
        code = main(["-", *options])
    told = []
    for stream in (out, err):
        stream.seek(0)
        told.append(stream.read())
    return code, *told


def merged(file: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the file with the changes; of what is a mapping on both sides, both."""
    both = {
        name: {**file[name], **value} if isinstance(value, dict) and isinstance(file.get(name), dict) else value
        for name, value in changes.items()
    }
    return file | both


def of_a_launch(source: dict[str, str]) -> dict[str, str]:
    """Return the parameters with the names of their secrets."""
    name = "projects/my-project/secrets/s/versions/1"
    return {parameter: name if BY_NAME[parameter].secret else text for parameter, text in source.items()}


@cases(0.1)
@given(
    st.sampled_from([POSTGRESQL, MONGODB, BIGQUERY]),
    NAMES_OF_SECRETS | SECRETS_OR_NAMES,
    OTHERS,
    st.none() | st.none() | MISPUT,
    st.lists(PLACED, max_size=2),
    st.sampled_from([json.dumps, yaml.safe_dump, lambda file: yaml.safe_dump(file, allow_unicode=True)]),
)
def test_launch_files(
    source: dict[str, str],
    secrets: dict[str, str],
    others: dict[str, str],
    misput: dict[str, Any] | None,
    placed: list[tuple[tuple[str, str], Any]],
    write: Any,
) -> None:
    parameters = of_a_launch(source) | others | secrets
    file = merged(LAUNCH, {"parameters": parameters})
    for (part, name), value in placed:
        file = merged(file, {part: {name: value}} if part else {name: value})
    text = write(merged(file, misput or {}))
    code, printed, complained = run_launch(text)
    assert code in (0, 2)
    assert PLANTED not in printed + complained
    assert not UNSAFE.search(printed + complained)
    start = "error: -: " if code else "warning: -: "
    assert all(line.startswith(start) for line in complained.splitlines())
    if code == 0:
        assert misput is None
        _, request, _ = run_launch(text, "--only=request")
        sent = json.loads(request)["launchParameter"]["parameters"]
        assert sent == {name: value for name, value in parameters.items() if value.strip()}


@cases(0.05)
@given(OTHERS, st.integers(0, 3000), TEXTS, st.integers(0, 3))
def test_launch_files_with_slips(others: dict[str, str], position: int, slip: str, lost: int) -> None:
    text = yaml.safe_dump(merged(LAUNCH, {"parameters": of_a_launch(POSTGRESQL) | others}), allow_unicode=True)
    start = position % len(text)
    code, printed, complained = run_launch(text[:start] + slip + text[start + lost :])
    assert code in (0, 2)
    assert not UNSAFE.search(printed + complained)
    assert code == 0 or complained
