"""A run whose process is killed at a named step, by SIGKILL: nothing is tidied up, nobody is told.

python -m tests.integration.crash_driver STEP FLAG…
"""

from __future__ import annotations

import functools
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sync_pipeline import command
from tests.beam_caches import beam_caches


def _always(*_arguments: Any, **_options: Any) -> bool:
    return True


def _is_of_staging_table(_client: Any, table: Any, **_options: Any) -> bool:
    return table.table_id.startswith("_staging_")


def _is_publishing(*_arguments: Any, job_id: str | None = None, **_options: Any) -> bool:
    # The id that runs share is a hash; those that are the run's alone have its name in them, with an underscore.
    return job_id is not None and "_" not in job_id


@dataclass(frozen=True)
class Step:
    """A call of a function at which the process ends.

    Attributes:
        function: its full name; what calls it must look it up by that name.
        is_done: the process ends after the call, not before.
        is_meant: whether it is this call.
    """

    function: str
    is_done: bool = True
    is_meant: Callable[..., bool] = _always


STEPS = {
    "planned": Step("sync_pipeline.pipeline.make_plan"),
    "reading": Step("sync_pipeline.sources.postgresql.copy_read.RowsWriter._flush"),
    "documents read": Step("sync_pipeline.sources.mongodb.raw_read.read_documents"),
    "rows read": Step("sync_pipeline.sources.bigquery.storage_read.checked_parts"),
    "file staged": Step("sync_pipeline.publishing.parquet_file.ParquetFile.close"),
    "dead letters loaded": Step("sync_pipeline.publishing.publish.publish_dead_letters"),
    "table created": Step("sync_pipeline.publishing.publish.prepare_destination"),
    "table altered": Step("sync_pipeline.publishing.publish.prepare_destination"),
    "staging table created": Step("google.cloud.bigquery.Client.create_table", is_meant=_is_of_staging_table),
    "staging table loaded": Step("sync_pipeline.publishing.merge.publish_merge_sql", is_done=False),
    "load job begun": Step("google.cloud.bigquery.Client.load_table_from_uri", is_meant=_is_publishing),
    "merge begun": Step("google.cloud.bigquery.Client.query", is_meant=_is_publishing),
    "published": Step("sync_pipeline.publishing.publish.clean_up", is_done=False),
    "staging table removed": Step("sync_pipeline.publishing.clean_up._remove_files", is_done=False),
    "files removed": Step("sync_pipeline.publishing.clean_up._remove_files"),
}


def main(step: str, argv: Sequence[str]) -> None:
    """Run the product's `main` with `argv`, and end at `step`; a run that does not reach it ends with its exit code."""
    _die_at(STEPS[step])
    with beam_caches():
        sys.exit(command.main(argv))


def _die_at(step: Step) -> None:
    owner_name, _, name = step.function.rpartition(".")
    owner = pkgutil.resolve_name(owner_name)
    function = getattr(owner, name)

    @functools.wraps(function)
    def dying(*arguments: Any, **options: Any) -> Any:
        if not step.is_meant(*arguments, **options):
            return function(*arguments, **options)
        if step.is_done:
            function(*arguments, **options)
        _die()

    setattr(owner, name, dying)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("the kernel ends the process at once")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
