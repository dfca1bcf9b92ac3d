"""python -m orchestration.chain check|graph|render|run FILE."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from orchestration.chain.diagram import mermaid
from orchestration.chain.flow.chain import Chain
from orchestration.chain.flow.conductor import ChainError, Conductor
from orchestration.chain.flow.dataflow import Dataflow, DataflowError
from orchestration.chain.flow.decisions import Job, Outcome, due_steps, is_over
from orchestration.chain.flow.names import is_run, run_id
from orchestration.chain.reading import read_chain
from sync_pipeline.errors import ConfigError
from sync_pipeline.printable import on_one_line, printable

_POLL_SECONDS = 10.0
_PROGRAM = "python -m orchestration.chain"


def main(argv: Sequence[str], prog: str = _PROGRAM) -> int:
    """Carry out a command and return the exit code: 2 for mistakes in the file, 1 for a run that failed."""
    arguments = _parser(prog).parse_args(argv)
    try:
        chain = read_chain(Path(arguments.file))
        run = getattr(arguments, "run", "") or run_id(datetime.now(UTC))
        if not is_run(run):
            raise ConfigError([f"--run is {run!r}: give the time of its start in UTC, such as 20250722t130000"])
    except ConfigError as error:
        for problem in error.problems:
            print(on_one_line(f"error: {arguments.file}: {problem}"), file=sys.stderr)
        return error.exit_code
    match arguments.command:
        case "check":
            print(f"{arguments.file}: {len(chain.steps)} steps; first: {', '.join(chain.first)}")
        case "graph":
            sys.stdout.write(printable(mermaid(chain)))
        case "render":
            sys.stdout.write(chain.to_json())
        case "run":
            logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
            return follow(chain, run, arguments.poll_seconds, f"{prog} run {arguments.file}")
    return 0


def follow(chain: Chain, run: str, poll_seconds: float, again: str = f"{_PROGRAM} run FILE") -> int:
    """Start a run, or go on with one, until nothing of it is active or due; return 0 if all its jobs succeeded.

    Args:
        again: the command that goes on with a run.
    """
    conductor = Conductor({chain.name: chain}, cache(Dataflow))
    told: dict[str, str] = {}
    try:
        conductor.advance(chain, run, starting=True)
        while True:
            jobs = conductor.jobs_of(chain, run)
            _tell(jobs, told)
            outcomes = {step: job.outcome for step, job in jobs.items()}
            if is_over(chain, outcomes):
                break
            if due_steps(chain, outcomes):
                conductor.advance(chain, run)
            else:
                time.sleep(poll_seconds)
    except (DataflowError, ChainError) as error:
        print(on_one_line(f"error: {chain.name}, run {run}: {error}"), file=sys.stderr)
        print(on_one_line(f"Go on with: {again} --run={run}"), file=sys.stderr)
        return 1
    for step in chain.steps:
        if step not in jobs:
            print(f"{step}: not started")
    failed = [step for step, outcome in outcomes.items() if outcome is Outcome.FAILED]
    print(f"{chain.name}, run {run}: {'failed: ' + ', '.join(failed) if failed else 'succeeded'}")
    return 1 if failed else 0


def _tell(jobs: dict[str, Job], told: dict[str, str]) -> None:
    """Print the state of each job that has changed."""
    for step, job in jobs.items():
        if told.get(step) != job.state:
            told[step] = job.state
            print(f"{step}: {job.state} ({job.id})", flush=True)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Chains of Dataflow jobs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("check", "report every mistake of a chain file and of the launch files that it names"),
        ("graph", "print the steps as a Mermaid diagram"),
        ("render", "print the chain as the function reads it, with its launch files"),
        ("run", "start the chain and follow it from this machine, without the function"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("file", metavar="FILE", help="the chain file, YAML or JSON")
        if name == "run":
            command.add_argument("--run", help="go on with a run, instead of starting one; such as 20250722t130000")
            command.add_argument("--poll-seconds", type=float, default=_POLL_SECONDS, help="time between two looks")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
