"""python -m orchestration.composer check FOLDER: report all mistakes in manifests and in the launch files they name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestration.composer.sync_composer.folders import Entry, Manifests, read_manifests
from orchestration.composer.sync_composer.keys import schema_of
from orchestration.composer.sync_composer.launch_files import with_overrides
from orchestration.composer.sync_composer.manifests import ROLLOUT_KEYS, SCHEDULE_KEYS, Rollout
from sync_pipeline.errors import ConfigError
from sync_pipeline.launching.launch_file import read_launch
from sync_pipeline.parameters.file_values import content_of
from sync_pipeline.printable import on_one_line

FOLDER = Path(__file__).parent
SCHEMAS = {
    "rollout.schema.json": schema_of("Rollout of a sync to BigQuery", ROLLOUT_KEYS),
    "schedule.schema.json": schema_of("Schedule of a sync to BigQuery", SCHEDULE_KEYS),
}


def main(argv: Sequence[str]) -> int:
    """Check a folder, or write the JSON Schemas, and return the exit code: 2 if there are mistakes."""
    arguments = _parser().parse_args(argv)
    if arguments.action == "schemas":
        for name, schema in SCHEMAS.items():
            (FOLDER / name).write_text(schema_text(schema), encoding="utf-8")
        return 0
    try:
        manifests = read_manifests(arguments.folder)
    except (OSError, UnicodeDecodeError) as error:
        print(on_one_line(f"error: {arguments.folder}: {error}"), file=sys.stderr)
        return 2
    problems = list(problems_in(manifests))
    for problem in problems:
        print(on_one_line(f"error: {problem}"), file=sys.stderr)
    if problems:
        return 2
    print(f"{len(manifests.rollouts)} rollouts and {len(manifests.schedules)} schedules have no mistakes")
    return 0


def problems_in(manifests: Manifests) -> Iterator[str]:
    """Yield each mistake with its file: of the manifests, and of what their launch files and overrides launch."""
    for entry in manifests.entries:
        yield from (f"{entry.path}: {problem}" for problem in entry.problems)
        if entry.manifest is not None and entry.launch_path:
            yield from _launch_problems(entry, manifests.texts[entry.launch_path])


def _launch_problems(entry: Entry, text: str) -> Iterator[str]:
    """Yield the mistakes of the launches, as the launch of the file alone would tell them."""
    assert entry.manifest is not None
    launched = [entry.manifest.overrides]
    if isinstance(entry.manifest, Rollout) and entry.manifest.candidate:
        parameters = {**launched[0].get("parameters", {}), **entry.manifest.candidate.get("parameters", {})}
        launched.append({**launched[0], "parameters": parameters})
    told: set[str] = set()
    for overrides in launched:
        try:
            content = content_of(text)
            changed = overrides and isinstance(content, dict)
            read_launch(json.dumps(with_overrides(content, overrides)) if changed else text)
        except ConfigError as error:
            told.update(error.problems)
    # What prevents the launch was told before.
    told -= {problem.removeprefix(f"{entry.launch_path}: ") for problem in entry.problems}
    yield from (f"{entry.path}: {entry.launch_path}: {problem}" for problem in sorted(told))


def schema_text(schema: object) -> str:
    """Return a JSON Schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration.composer", description="Check manifests for Cloud Composer. Sends nothing."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="check the manifests of a folder and their launch files")
    check.add_argument("folder", metavar="FOLDER")
    actions.add_parser("schemas", help="write the JSON Schemas of the manifests")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
