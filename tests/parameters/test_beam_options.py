from __future__ import annotations

import logging
import re

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options as beam_options
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.transforms.display import DisplayData

import sync_pipeline
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.beam_arguments import BeamParser
from sync_pipeline.parameters.beam_options import (
    BEAM_NAMES,
    IMAGE_VARIABLE,
    OPTION_PARAMETERS,
    TEMPLATE_VARIABLE,
    SyncOptions,
    complete_job_options,
    pipeline_options,
    runs_here,
    runs_on_dataflow,
    show_outputs,
)
from sync_pipeline.parameters.command_line import LAUNCHER_FLAGS, CommandLine, parse_command_line
from sync_pipeline.parameters.job_labels import dataflow_labels
from sync_pipeline.parameters.outputs import OUTPUTS
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table import PARAMETERS
from tests.parameter_sets import IN_DOMAIN

SECRETS = {
    "postgresql_password": "hunter2",
    "mongodb_password": "hunter3",
    "mongodb_connection_string": "mongodb://u:hunter4@h",
    "hash_key": "hunter7",
    "postgresql_sslkey": "-----BEGIN PRIVATE KEY-----hunter5",
    "mongodb_tls_certificate_key": "-----BEGIN PRIVATE KEY-----hunter6",
}
PARAMETERS_GIVEN = {
    "data_source": "postgresql",
    "postgresql_query": "SELECT '--project=x', 50 % 3 FROM t",
    "clustering_fields": "id,status",
    "mongodb_query": '{"a": 1}',
    "dry_run": "false",
    **SECRETS,
}
NAMES = {
    "postgresql_password": "projects/my-project/secrets/s/versions/1",
    "mongodb_password": "projects/my-project/locations/europe-west1/secrets/s/versions/latest",
    "mongodb_connection_string": "env:MONGODB",
    "postgresql_sslkey": "gs://my-bucket/key.pem",
    "mongodb_tls_certificate_key": "/etc/key.pem",
    "hash_key": "projects/my-project/secrets/k/versions/2",
}
BEAM_ARGUMENTS = ["--runner=DirectRunner", "--project=my-project", "--experiments=a", "--dump_heap_on_oom"]


@pytest.fixture
def options() -> PipelineOptions:
    return pipeline_options(CommandLine(PARAMETERS_GIVEN, BEAM_ARGUMENTS))


def test_what_was_given_can_be_read_back(options: PipelineOptions) -> None:
    shown = options.get_all_options(retain_unknown_options=True)
    assert {name: shown[name] for name in PARAMETERS_GIVEN.keys() - SECRETS.keys() - BEAM_NAMES} == {
        "data_source": "postgresql",
        "postgresql_query": "SELECT '--project=x', 50 % 3 FROM t",
        "clustering_fields": "id,status",
        "mongodb_query": '{"a": 1}',
    }


def test_defaults_can_be_read_back(options: PipelineOptions) -> None:
    shown = options.get_all_options(retain_unknown_options=True)
    assert {name: shown[name] for name in ("postgresql_port", "enable_smart_sync", "mongodb_host")} == {
        "postgresql_port": "5432",
        "enable_smart_sync": "false",
        "mongodb_host": None,
    }


def test_options_of_beam_are_kept(options: PipelineOptions) -> None:
    assert options.view_as(StandardOptions).runner == "DirectRunner"
    assert options.view_as(GoogleCloudOptions).project == "my-project"
    assert options.view_as(DebugOptions).experiments == ["a"]


def test_every_parameter_is_an_option_but_those_beam_has_too() -> None:
    names = {parameter.name for parameter in OPTION_PARAMETERS}
    assert {parameter.name for parameter in PARAMETERS} - names == BEAM_NAMES
    assert {parameter.name for parameter in PARAMETERS if parameter.secret} == SECRETS.keys() == NAMES.keys()


def test_names_that_beam_has_too() -> None:
    names = {
        name
        for options in PipelineOptions.__subclasses__()
        if options.__module__.startswith("apache_beam.")
        for name in options([]).get_all_options(current_only=True)
    }
    assert {parameter.name for parameter in PARAMETERS} & names == BEAM_NAMES
    assert not set(LAUNCHER_FLAGS) & names


@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_beam_never_sees_our_dry_run(dry_run: str) -> None:
    options = pipeline_options(CommandLine({"dry_run": dry_run}, []))
    assert not options.view_as(beam_options.TestOptions).dry_run
    assert options.get_all_options()["dry_run"] == "false", "a job is no dry run, and shows it as a parameter's text"
    assert {item.value for item in DisplayData.create_from_options(options).items if item.key == "dry_run"} == {"false"}


@pytest.mark.parametrize("drop_default", [True, False])
def test_no_secret_in_the_options(options: PipelineOptions, drop_default: bool) -> None:
    shown = options.get_all_options(drop_default=drop_default, retain_unknown_options=True)
    assert {shown.get(name) for name in SECRETS} == {None}
    assert "hunter" not in str(shown)


def test_names_of_secrets_can_be_read_back() -> None:
    shown = pipeline_options(CommandLine(NAMES, [])).get_all_options(retain_unknown_options=True)
    assert {name: shown[name] for name in NAMES} == NAMES


def test_place_of_a_key_is_no_place_for_a_password() -> None:
    shown = pipeline_options(CommandLine({"postgresql_password": "/hunter2", "hash_key": "gs://hunter7"}, []))
    assert "hunter" not in str(shown.get_all_options(retain_unknown_options=True))


def test_outputs_are_options() -> None:
    options = pipeline_options(CommandLine({}, []))
    names = {output.name for output in OUTPUTS}
    assert {options.get_all_options()[name] for name in names} == {None}
    show_outputs(options, {"output_run_id": "r", "output_tables": "1"}, {TEMPLATE_VARIABLE: "gs://b/t.json"})
    shown = options.get_all_options(retain_unknown_options=True)
    assert {name: shown[name] for name in names if shown[name] is not None} == {
        "output_run_id": "r",
        "output_tables": "1",
        "output_template": "gs://b/t.json",
    }


@pytest.mark.parametrize("environment", [{}, {TEMPLATE_VARIABLE: ""}], ids=["not set", "empty"])
def test_image_that_knows_no_template(environment: dict[str, str]) -> None:
    options = pipeline_options(CommandLine({}, []))
    show_outputs(options, {}, environment)
    assert options.get_all_options()["output_template"] is None


def test_no_secret_in_what_the_job_shows(options: PipelineOptions) -> None:
    assert "hunter" not in str(options.display_data())
    assert "hunter" not in str(options.to_runner_api())
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([1])
    assert "hunter" not in str(pipeline.to_runner_api())


def test_beam_warns_about_nothing(caplog: pytest.LogCaptureFixture) -> None:
    launcher_flags = [f"--{flag}=x" for flag in LAUNCHER_FLAGS]
    parameters = [f"--{parameter.name}={parameter.example}" for parameter in PARAMETERS]
    # The examples contradict each other; here only their way into the options counts.
    command_line = parse_command_line([*BEAM_ARGUMENTS, *launcher_flags])
    given = CommandLine(dict(word[2:].split("=", 1) for word in parameters), command_line.beam_arguments)
    with caplog.at_level(logging.WARNING):
        options = pipeline_options(given)
        options.get_all_options(display_warnings=True)
        options.view_as(SyncOptions).get_all_options(drop_default=True)
    assert caplog.messages == []


def test_our_own_options_do_not_count_as_beams() -> None:
    # Here SyncOptions is loaded, and Beam knows it; the command line must be read as if it were not.
    assert {parameter.name for parameter in PARAMETERS} & set(BeamParser().names) == BEAM_NAMES


IMAGE = "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:1.0.0"


def config(**parameters: str) -> RunConfig:
    return RunConfig.from_parameters(IN_DOMAIN | parameters)


@pytest.mark.parametrize(
    ("arguments", "here", "on_dataflow"),
    [
        pytest.param([], True, False, id="none"),
        pytest.param(["--runner=DirectRunner"], True, False, id="direct"),
        pytest.param(["--runner=DataflowRunner"], False, True, id="dataflow"),
        pytest.param(["--runner=dataflow"], False, True, id="as Beam also takes it"),
        pytest.param(["--runner=PortableRunner"], False, False, id="another service"),
    ],
)
def test_where_the_pipeline_runs(arguments: list[str], here: bool, on_dataflow: bool) -> None:
    options = PipelineOptions(arguments)
    assert (runs_here(options), runs_on_dataflow(options)) == (here, on_dataflow)


@pytest.mark.parametrize(
    ("arguments", "environment", "image"),
    [
        pytest.param([], {IMAGE_VARIABLE: IMAGE}, IMAGE, id="the launcher's own"),
        pytest.param(["--sdk_container_image=mine"], {IMAGE_VARIABLE: IMAGE}, "mine", id="chosen"),
        pytest.param(["--worker_harness_container_image=old"], {IMAGE_VARIABLE: IMAGE}, "old", id="by its older name"),
        pytest.param(["--setup_file=./setup.py"], {}, None, id="installed by Beam instead"),
        pytest.param(["--extra_package=sync.tar.gz"], {IMAGE_VARIABLE: ""}, None, id="staged by Beam instead"),
    ],
)
def test_image_of_the_workers(arguments: list[str], environment: dict[str, str], image: str | None) -> None:
    options = PipelineOptions(arguments)
    complete_job_options(options, config(), environment)
    assert options.view_as(WorkerOptions).sdk_container_image == image


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="query"),
        pytest.param({"postgresql_query": "", "postgresql_table": "*", "destination_bigquery_table": ""}, id="tables"),
    ],
)
def test_secret_of_this_environment_is_refused(parameters: dict[str, str]) -> None:
    given = config(postgresql_password="env:PASSWORD", **parameters)
    with pytest.raises(ConfigError) as caught:
        complete_job_options(PipelineOptions([]), given, {IMAGE_VARIABLE: IMAGE})
    assert str(caught.value) == (
        "postgresql_password is env:PASSWORD, but Dataflow's workers do not have this variable: store the secret in "
        "Secret Manager and pass projects/PROJECT/secrets/SECRET/versions/VERSION"
    )


@pytest.mark.parametrize("environment", [{}, {IMAGE_VARIABLE: ""}], ids=["not set", "empty"])
def test_workers_without_an_image_of_ours_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        complete_job_options(PipelineOptions([]), config(), environment)
    assert str(caught.value) == (
        "sdk_container_image is missing: this image was built without its own name, which the workers need. Build it "
        "again with `docker build --build-arg=IMAGE=NAME --tag=NAME .`, where NAME is, for example, "
        "us-central1-docker.pkg.dev/PROJECT/REPOSITORY/sync-to-bigquery:TAG, and push it; or launch this one with "
        "--additional-pipeline-options=sdk_container_image=NAME"
    )


@pytest.mark.parametrize(
    ("arguments", "saved"),
    [
        pytest.param([], False, id="not by default"),
        pytest.param(["--save_main_session"], True, id="when the caller says so"),
    ],
)
def test_workers_get_no_copy_of_the_launchers_main_module(arguments: list[str], saved: bool) -> None:
    options = PipelineOptions(arguments)
    complete_job_options(options, config(), {IMAGE_VARIABLE: IMAGE})
    assert options.view_as(SetupOptions).save_main_session is saved


def test_labels_of_a_job_of_the_template() -> None:
    options = PipelineOptions(["--template_location=gs://b/job.json", "--labels=team=shop"])
    complete_job_options(options, config(), {IMAGE_VARIABLE: IMAGE})
    labels = dict(label.split("=") for label in options.view_as(GoogleCloudOptions).labels)
    assert labels == {
        **dataflow_labels(config()),
        "goog-dataflow-provided-template-type": "flex",
        "template": "sync-to-bigquery",
        "template_version": sync_pipeline.__version__.replace(".", "_"),
        "team": "shop",
    }
    # https://cloud.google.com/resource-manager/docs/labels-overview
    assert all(re.fullmatch("[a-z][a-z0-9_-]{0,62}", key) for key in labels)
    assert all(re.fullmatch("[a-z0-9_-]{0,63}", value) for value in labels.values())


def test_labels_of_the_caller_stay_and_win() -> None:
    options = PipelineOptions(["--labels=team=shop", "--labels={'destination_table': 'mine'}"])
    complete_job_options(options, config(), {IMAGE_VARIABLE: IMAGE})
    assert options.view_as(GoogleCloudOptions).labels == [
        "data_source=postgresql",
        "destination_project=example_com_my-project",
        "destination_dataset=analytics",
        "destination_table=orders",
        "team=shop",
        "{'destination_table': 'mine'}",
    ]
