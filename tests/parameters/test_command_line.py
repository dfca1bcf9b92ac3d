from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.command_line import LAUNCHER_FLAGS, parse_command_line
from sync_pipeline.parameters.outputs import OUTPUT_NAMES, OUTPUTS
from sync_pipeline.parameters.table import PARAMETERS

VALID = {
    "data_source": "postgresql",
    "postgresql_host": "db.example.com",
    "postgresql_database": "app",
    "postgresql_username": "reader",
    "postgresql_password": "hunter2",
    "postgresql_query": "SELECT * FROM users WHERE a = 1",
    "destination_bigquery_project": "my-project",
    "destination_bigquery_dataset": "production",
    "destination_bigquery_table": "users",
}
# Only Dataflow's launcher gives it.
TEMPLATE = "--template_location=gs://bucket/job"


def flags(parameters: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in parameters.items()]


def problems(argv: list[str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_command_line(argv)
    return list(caught.value.problems)


def test_name_and_value_joined_or_apart() -> None:
    apart = [word for name, value in VALID.items() for word in (f"--{name}", value)]
    assert parse_command_line(flags(VALID)).parameters == VALID
    assert parse_command_line(apart).parameters == VALID


def test_value_is_kept_as_it_is() -> None:
    query = "SELECT '=', '--x', \"a b\"\n-- comment\nFROM users "
    assert parse_command_line([f"--postgresql_query={query}"]).parameters == {"postgresql_query": query}


def test_empty_value_counts_as_not_given() -> None:
    assert parse_command_line([*flags(VALID), "--mongodb_host=", "--fallback_days= "]).parameters == VALID


def test_boolean_without_value_is_true() -> None:
    assert parse_command_line(["--dry_run", "--enable_smart_sync", "false"]).parameters == {
        "dry_run": "true",
        "enable_smart_sync": "false",
    }


def test_options_of_beam_and_of_the_launcher_pass_through() -> None:
    beam = [
        "--runner=DataflowRunner",
        "--project",
        "my-project",
        '--labels={"team": "data"}',
        "--experiments=a",
        "--experiments=b,c",
        "--max_num_workers=5",
        "--no_use_public_ips",
        "--template_location=gs://bucket/job",
        "--dump_heap_on_oom",
        "--save_heap_dumps_to_gcs_path=gs://bucket/heap",
    ]
    command_line = parse_command_line([*beam[:4], *flags(VALID), *beam[4:]])
    assert command_line.beam_arguments == beam
    assert command_line.parameters == VALID


def test_what_only_the_launcher_of_dataflow_knows_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    command_line = parse_command_line([TEMPLATE, "--ip_configuration=WORKER_IP_PRIVATE", *flags(VALID)])
    assert (command_line.beam_arguments, command_line.parameters) == ([TEMPLATE], VALID)
    assert caplog.messages == ["--ip_configuration is not an option of Beam: ignored"]


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        pytest.param(
            "--num_workers=many",
            "--num_workers is an option of Beam, which refuses it: argument --num_workers: invalid int value: 'many'",
            id="value",
        ),
        pytest.param(
            "--no_use_public_ips=1",
            "--no_use_public_ips is a switch of Beam: write --no_use_public_ips, --no_use_public_ips=true or "
            "--no_use_public_ips=false",
            id="value of a switch",
        ),
        pytest.param(
            "--no_auth=false --no_auth x y",
            "--no_auth is a switch of Beam: write --no_auth, --no_auth=true or --no_auth=false",
            id="words after a switch",
        ),
        pytest.param(
            "--usePublicIps=false",
            "--usePublicIps is neither a parameter of this template nor an option of Beam; "
            "did you mean --use_public_ips?",
            id="capitals",
        ),
        pytest.param(
            "--no-use-public-ips",
            "--no-use-public-ips is neither a parameter of this template nor an option of Beam; "
            "did you mean --no_use_public_ips?",
            id="dashes",
        ),
        pytest.param(
            "--no_use_public_ips --use_public_ips=true",
            "--use_public_ips and --no_use_public_ips exclude each other: keep one",
            id="contradiction",
        ),
    ],
)
@pytest.mark.parametrize("launcher", [[], [TEMPLATE]], ids=["here", "launcher"])
def test_what_beam_refuses_is_never_left_out(launcher: list[str], argument: str, problem: str) -> None:
    assert problems([*launcher, *argument.split(), *flags(VALID)]) == [problem]


@pytest.mark.parametrize(
    ("argument", "public"),
    [
        pytest.param("--use_public_ips", True, id="on"),
        pytest.param("--use_public_ips=true", True, id="on, with its value"),
        pytest.param("--use_public_ips=False", False, id="not on"),
        pytest.param("--use_public_ips false", False, id="not on, apart"),
        pytest.param("--no_use_public_ips", False, id="off"),
        pytest.param("--no_use_public_ips=true", False, id="off, with its value"),
        pytest.param("--no_use_public_ips=false", True, id="not off"),
        pytest.param("--enable_streaming_engine=false", None, id="of no use to a batch job"),
        pytest.param("--no_auth=false", None, id="off by itself"),
    ],
)
@pytest.mark.parametrize("launcher", [[], [TEMPLATE]], ids=["here", "launcher"])
def test_switches_may_have_a_value(launcher: list[str], argument: str, public: bool | None) -> None:
    arguments = parse_command_line([*launcher, *argument.split(), *flags(VALID)]).beam_arguments
    assert PipelineOptions(arguments).view_as(WorkerOptions).use_public_ips is public


def test_outputs_that_are_sent_back_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        parsed = parse_command_line([*flags(VALID), *(f"--{output.name}={output.example}" for output in OUTPUTS)])
    assert parsed == parse_command_line(flags(VALID))
    assert "--output_run_id is an output of the run it was taken from: ignored" in caplog.messages


def test_no_output_is_a_parameter() -> None:
    assert OUTPUT_NAMES.isdisjoint({parameter.name for parameter in PARAMETERS})


def test_no_launcher_flag_is_one_of_ours() -> None:
    assert not set(LAUNCHER_FLAGS) & {parameter.name for parameter in PARAMETERS}


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        pytest.param(
            "--bach_size=3",
            "--bach_size is neither a parameter of this template nor an option of Beam; did you mean --batch_size?",
            id="near a parameter",
        ),
        pytest.param(
            "--batch-size=3",
            "--batch-size is neither a parameter of this template nor an option of Beam; did you mean --batch_size?",
            id="dashes",
        ),
        pytest.param(
            "--tempLocation=gs://b/t",
            "--tempLocation is neither a parameter of this template nor an option of Beam; "
            "did you mean --temp_location?",
            id="near an option of Beam",
        ),
        pytest.param(
            "--xyzzy=1", "--xyzzy is neither a parameter of this template nor an option of Beam", id="near nothing"
        ),
        pytest.param(
            "--mongodb_pasword=hunter2",
            "--mongodb_pasword is neither a parameter of this template nor an option of Beam; "
            "did you mean --mongodb_password?",
            id="near a secret",
        ),
        pytest.param(
            "--dry_rn",
            "--dry_rn is neither a parameter of this template nor an option of Beam; did you mean --dry_run?",
            id="near a boolean, without value",
        ),
        pytest.param("--mongodb_host", "--mongodb_host has no value; write --mongodb_host=VALUE", id="no value"),
        pytest.param(
            "--num_workers=many",
            "--num_workers is an option of Beam, which refuses it: argument --num_workers: invalid int value: 'many'",
            id="value Beam refuses",
        ),
        pytest.param(
            "--data_source=mongodb",
            "data_source is given 2 times with different values: 'postgresql', 'mongodb'",
            id="twice",
        ),
        pytest.param(
            "--postgresql_password=hunter3",
            "postgresql_password is given 2 times with different values",
            id="secret twice",
        ),
    ],
)
def test_one_problem(argument: str, problem: str) -> None:
    assert problems([*flags(VALID), argument]) == [problem]


def test_same_value_twice_is_no_problem() -> None:
    assert parse_command_line([*flags(VALID), "--data_source=postgresql"]).parameters == VALID


def test_query_without_quotes() -> None:
    argv = [*flags(VALID | {"postgresql_query": ""}), "--postgresql_query", "SELECT", "*", "FROM", "users"]
    assert problems(argv) == [
        "--postgresql_query is followed by further words; put the whole value in quotes, --postgresql_query='VALUE'"
    ]


def test_words_after_a_whole_value() -> None:
    assert problems([*flags(VALID), "more"]) == [
        (
            "--destination_bigquery_table is followed by further words; put the whole value in quotes, "
            "--destination_bigquery_table='VALUE'"
        )
    ]


def test_words_after_an_option_of_beam() -> None:
    assert problems([*flags(VALID), "--runner=DirectRunner", "more"]) == [
        "--runner is followed by further words, which no option of Beam takes"
    ]


def test_words_before_the_first_parameter() -> None:
    assert problems(["run", *flags(VALID)]) == ["the command line must begin with a --parameter"]


def test_misspelt_flag_is_one_problem() -> None:
    given = dict(VALID)
    given["postgresql_hots"] = given.pop("postgresql_host")
    assert problems(flags(given)) == [
        (
            "--postgresql_hots is neither a parameter of this template nor an option of Beam; "
            "did you mean --postgresql_host?"
        )
    ]


def test_problems_of_flags_and_of_values_are_reported_together() -> None:
    given = VALID | {"postgresql_port": "x", "postgresql_username": ""}
    assert problems([*flags(given), "--xyzzy=1"]) == [
        "--xyzzy is neither a parameter of this template nor an option of Beam",
        "postgresql_port is 'x': write a whole number from 1 to 65535",
        "postgresql_username is missing: it is required when data_source is postgresql",
    ]


@pytest.mark.parametrize(
    "argv",
    [
        ["--postgresql_pasword=hunter2"],
        ["--postgresql_password=hunter2", "--postgresql_password=hunter3"],
        ["--postgresql_password", "hunter2", "hunter3"],
        ["--mongodb_pasword=projects/hunter2/secrets/hunter3"],
    ],
)
def test_no_secret_in_any_problem(argv: list[str]) -> None:
    assert "hunter" not in "\n".join(problems(argv))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_parameter_and_exits_with_0(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command_line(["--data_source=wrong", flag])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert [p.name for p in PARAMETERS if f"--{p.name} VALUE" not in printed] == []
    assert [p.group for p in PARAMETERS if f"\n{p.group}:\n" not in printed] == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "--postgresql_host VALUE Address or name of the server, reachable from the workers. "
            "Required: when data_source is postgresql, unless postgresql_instance is given. --postgresql_instance",
            id="condition",
        ),
        pytest.param(
            "--fallback_days VALUE Days that a first run reads if sync_all_on_empty_table is false. Default: 1. "
            "--smart_sync_lookback_seconds",
            id="default",
        ),
        pytest.param(
            "--partition_granularity VALUE Time span of one partition. One job can modify at most 4,000 partitions. "
            "One of HOUR, DAY, MONTH, YEAR. Default: DAY. --clustering_fields",
            id="choices",
        ),
    ],
)
def test_help_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_command_line(["--help"])
    assert text in " ".join(capsys.readouterr().out.split())


def test_required_parameter_without_value() -> None:
    given = {name: value for name, value in VALID.items() if name != "postgresql_host"}
    assert problems([*flags(given), "--postgresql_host"]) == [
        "--postgresql_host has no value; write --postgresql_host=VALUE",
        ("postgresql_host is missing: it is required when data_source is postgresql (or postgresql_instance instead)"),
    ]
