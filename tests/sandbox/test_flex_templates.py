"""What the launcher passes, and what a template checks."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

from sandbox.flex_templates import InvalidRequestError, Template, launcher_flags
from sync_pipeline.parameters.command_line import parse_command_line

PARAMETERS = {
    "data_source": "bigquery",
    "source_bigquery_project": "my-project",
    "source_bigquery_query": "SELECT 1 AS a, '--x' AS b",
    "destination_bigquery_project": "my-project",
    "destination_bigquery_dataset": "analytics",
    "destination_bigquery_table": "orders",
}


def test_the_flags_of_a_launch() -> None:
    environment = {
        "additionalExperiments": ["use_runner_v2"],
        "additionalPipelineOptions": ["direct_num_workers=2"],
        "additionalUserLabels": {"team": "data"},
        "enableStreamingEngine": False,
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "launcherMachineType": "n2-standard-2",
        "machineType": "n2-standard-4",
        "maxWorkers": 5,
        "network": "my-network",
        "serviceAccountEmail": "a@b.iam.gserviceaccount.com",
        "tempLocation": "gs://my-bucket/tmp",
    }
    flags = launcher_flags("my-project", "us-central1", "orders", "bucket", environment, {"data_source": "bigquery"})
    assert flags == [
        "--data_source=bigquery",
        "--direct_num_workers=2",
        "--experiments=use_runner_v2",
        "--job_name=orders",
        '--labels={"team": "data"}',
        "--machine_type=n2-standard-4",
        "--max_num_workers=5",
        "--network=my-network",
        "--no_use_public_ips",
        "--project=my-project",
        "--region=us-central1",
        "--service_account_email=a@b.iam.gserviceaccount.com",
        "--staging_location=gs://bucket/dataflow-staging-us-central1/staging",
        "--temp_location=gs://my-bucket/tmp",
    ]
    # Our command line takes every one of them.
    told = parse_command_line(launcher_flags("my-project", "us-central1", "orders", "bucket", environment, PARAMETERS))
    assert told.parameters == PARAMETERS
    assert len(told.beam_arguments) == len(flags) - 1


def test_settings_by_the_words_of_the_api_become_options_of_beam() -> None:
    environment = {
        "autoscalingAlgorithm": "AUTOSCALING_ALGORITHM_NONE",
        "diskSizeGb": 50,
        "flexrsGoal": "FLEXRS_COST_OPTIMIZED",
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "sdkContainerImage": "my-image:1",
        "zone": "us-central1-a",
    }
    flags = launcher_flags("my-project", "us-central1", "orders", "bucket", environment, PARAMETERS)
    options = PipelineOptions(parse_command_line(["--template_location=gs://b/t", *flags]).beam_arguments)
    workers = options.view_as(WorkerOptions)
    assert (workers.autoscaling_algorithm, workers.disk_size_gb, workers.zone) == ("NONE", 50, "us-central1-a")
    assert (workers.sdk_container_image, workers.use_public_ips) == ("my-image:1", False)
    assert options.view_as(GoogleCloudOptions).flexrs_goal == "COST_OPTIMIZED"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({"a": "1"}, None, id="right"),
        pytest.param({"a": "1", "b": "2"}, None, id="optional one too"),
        pytest.param({"a": "x"}, "a: Parameter didn't match regex '^[0-9]+$'", id="regex"),
        pytest.param({}, "a: Missing required parameter", id="missing"),
        pytest.param({"a": "1", "c": ""}, "c: Unrecognized parameter", id="unknown"),
    ],
)
def test_parameters_of_a_template(given: dict[str, str], problem: str | None) -> None:
    template = Template({"parameters": [{"name": "a", "regexes": ["^[0-9]+$"]}, {"name": "b", "isOptional": True}]}, {})
    if problem is None:
        template.check(given)
        return
    with pytest.raises(InvalidRequestError) as raised:
        template.check(given)
    assert str(raised.value) == f"The template parameters are invalid. Details: \n{problem}"
