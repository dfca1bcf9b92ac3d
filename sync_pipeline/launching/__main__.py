"""python -m sync_pipeline.launching FILE: check a launch file and print the commands and requests that launch it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sync_pipeline.errors import ConfigError
from sync_pipeline.launching import commands, requests
from sync_pipeline.launching.launch_file import Launch, read_launch
from sync_pipeline.printable import on_one_line


def main(argv: Sequence[str]) -> int:
    """Print the requested commands or requests and return the exit code.

    If the file has errors, report all of them and return 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        launch = read_launch(_text_of(arguments.file))
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
    if arguments.only:
        sys.stdout.write(_PARTS[arguments.only](launch, arguments))
    else:
        sys.stdout.write("\n".join(_everything(launch, arguments)))
    return 0


def _everything(launch: Launch, arguments: argparse.Namespace) -> list[str]:
    parts = []
    if launch.cloud_run is not None:
        parts.append(f"# Create the job of Cloud Run\n{_PARTS['create'](launch, arguments)}")
    parts.append(f"# Launch it now\n{_PARTS['run'](launch, arguments)}")
    if launch.schedule is not None:
        parts.append(f"# Launch it on a schedule: {launch.schedule.cron}, {launch.schedule.time_zone}\n")
        parts[-1] += _PARTS["schedule"](launch, arguments)
    parts.append(
        f"# The launch as a request: POST {requests.launch_url(launch)}\n{_PARTS['request'](launch, arguments)}"
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


_PARTS: Mapping[str, Callable[[Launch, argparse.Namespace], str]] = {
    "run": _run,
    "schedule": _schedule,
    "request": _request,
    "job": _job,
    "create": _create,
    "cloud-run-job": _run_job,
}
_OF_A_SCHEDULE = ("schedule", "job")
_OF_CLOUD_RUN = ("create", "cloud-run-job")


def _text_of(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"the file cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise ConfigError(["the file is not text in UTF-8"]) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sync_pipeline.launching",
        description="Check a launch file and print the commands and requests that launch it. Sends nothing.",
    )
    parser.add_argument("file", metavar="FILE", help="the launch file, YAML or JSON; - reads standard input")
    parser.add_argument(
        "--only",
        choices=[*_PARTS],
        help="print only one part: the command that launches now, the command that creates the schedule, the body of "
        "the launch request, or the body of the Cloud Scheduler request; for Cloud Run, also the command that creates "
        "the job, or the body of that request",
    )
    parser.add_argument(
        "--update", action="store_true", help="update the existing schedule or job of Cloud Run instead of creating one"
    )
    parser.add_argument(
        "--validate-only", action="store_true", help="print a request that Dataflow validates without launching"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
