"""python -m sync_pipeline.launching FILE: check a launch file and print the commands that launch it, or run one."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from sync_pipeline.errors import ConfigError
from sync_pipeline.launching import commands, requests
from sync_pipeline.launching.launch_file import Launch, read_launch
from sync_pipeline.launching.local_run import text_of_file
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.printable import on_one_line
from sync_pipeline.suggestions import did_you_mean


def main(argv: Sequence[str], prog: str = "python -m sync_pipeline.launching") -> int:
    """Print the requested commands or requests, or run a command; return the exit code.

    If the file has errors, report all of them and return 2.
    """
    arguments, words = _parser(prog).parse_known_args(argv)
    try:
        launch = read_launch(text_of_file(arguments.file), _changes(words))
        if arguments.execute:
            _check_execution(arguments.only)
        if launch.schedule is None and arguments.only in _OF_A_SCHEDULE:
            raise ConfigError(["schedule is missing: give it cron, time_zone and service_account"])
        if launch.cloud_run is None and arguments.only in _OF_CLOUD_RUN:
            raise ConfigError(["cloud_run is missing: give it the image"])
    except ConfigError as error:
        for problem in error.problems:
            print(on_one_line(f"error: {arguments.file}: {problem}"), file=sys.stderr)
        return error.exit_code
    for warning in launch.warnings:
        print(on_one_line(f"warning: {arguments.file}: {warning}"), file=sys.stderr)
    if arguments.execute:
        return _execute(PARTS[arguments.only or _NOW](launch, arguments))
    if arguments.only:
        sys.stdout.write(PARTS[arguments.only](launch, arguments))
    else:
        sys.stdout.write("\n".join(_everything(launch, arguments)))
    return 0


def _everything(launch: Launch, arguments: argparse.Namespace) -> list[str]:
    parts = []
    if launch.cloud_run is not None:
        parts.append(f"# Create the job of Cloud Run\n{PARTS['create'](launch, arguments)}")
    parts.append(f"# Launch it now\n{PARTS['run'](launch, arguments)}")
    if launch.schedule is not None:
        parts.append(f"# Launch it on a schedule: {launch.schedule.cron}, {launch.schedule.time_zone}\n")
        parts[-1] += PARTS["schedule"](launch, arguments)
    parts.append(
        f"# The launch as a request: POST {requests.launch_url(launch)}\n{PARTS['request'](launch, arguments)}"
    )
    return parts


def _create(launch: Launch, arguments: argparse.Namespace) -> str:
    assert launch.cloud_run is not None
    return commands.cloud_run_command(launch, launch.cloud_run, update=arguments.update)


def _run_job(launch: Launch, _arguments: argparse.Namespace) -> str:
    assert launch.cloud_run is not None
    return requests.as_json(requests.cloud_run_job(launch, launch.cloud_run))


def _run(launch: Launch, _arguments: argparse.Namespace) -> str:
    return commands.run_command(launch)


def _request(launch: Launch, arguments: argparse.Namespace) -> str:
    return requests.as_json(requests.launch_request(launch, validate_only=arguments.validate_only))


def _schedule(launch: Launch, arguments: argparse.Namespace) -> str:
    assert launch.schedule is not None
    return commands.schedule_command(launch, launch.schedule, update=arguments.update)


def _job(launch: Launch, _arguments: argparse.Namespace) -> str:
    assert launch.schedule is not None
    return requests.as_json(requests.scheduler_job(launch, launch.schedule))


PARTS: Mapping[str, Callable[[Launch, argparse.Namespace], str]] = {
    "run": _run,
    "schedule": _schedule,
    "request": _request,
    "job": _job,
    "create": _create,
    "cloud-run-job": _run_job,
}
_OF_A_SCHEDULE = ("schedule", "job")
_OF_CLOUD_RUN = ("create", "cloud-run-job")
_NOW = "run"
_COMMANDS = (_NOW, "schedule", "create")


def _changes(words: Sequence[str]) -> dict[str, str]:
    """Return the parameters that the command line gives. Raises ConfigError."""
    changes, problems = {}, []
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        if name in BY_NAME and word.startswith("--") and equals:
            changes[name] = text
        elif name in BY_NAME:
            problems.append(f"--{name} has no value: write --{name}=VALUE")
        else:
            # Without its value, which may be the secret of a misspelt parameter.
            problems.append(
                f"--{name} is neither an option nor a parameter of the template{did_you_mean(name, BY_NAME)}"
            )
    if problems:
        raise ConfigError(problems)
    return changes


def _check_execution(only: str | None) -> None:
    """Raise ConfigError when there is nothing to run, or no program that runs it."""
    if only not in (None, *_COMMANDS):
        raise ConfigError([f"--execute runs a command, and --only={only} is a request: omit one of them"])
    missing = [program for program in ("gcloud", "sh") if shutil.which(program) is None]
    if missing:
        raise ConfigError(
            [f"--execute needs {missing[0]}, which is not installed here; without it, commands are printed"]
        )


def _execute(script: str) -> int:
    """Run a command of ours in a shell, which shows what it prints; return 1 if it fails."""
    shell = shutil.which("sh")
    assert shell is not None, "_check_execution has looked"
    return 1 if subprocess.run([shell, "-c", script], check=False).returncode else 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [FILE] [OPTIONS] [--PARAMETER=VALUE …]",
        description="Check a launch file and print the commands and requests that launch it. Without --execute, it "
        "sends nothing. A parameter takes precedence over the file's.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the launch file, YAML or JSON; - reads standard input")
    parser.add_argument(
        "--only",
        choices=[*PARTS],
        help="print only one part: the command that launches now, the command that creates the schedule, the body of "
        "the launch request, or the body of the Cloud Scheduler request; for Cloud Run, also the command that creates "
        "the job, or the body of that request",
    )
    parser.add_argument(
        "--update", action="store_true", help="update the existing schedule or job of Cloud Run instead of creating one"
    )
    parser.add_argument(
        "--execute",
        action="store_true",
        help="run the command instead of printing it: the one that launches now, or that of --only",
    )
    parser.add_argument(
        "--validate-only", action="store_true", help="print a request that Dataflow validates without launching"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
