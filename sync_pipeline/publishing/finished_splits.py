"""Manifests: what a worker has staged of a split completely, for a repeated attempt of its lane.

A manifest is written when all files of its split are complete, and holds the list of them. An attempt that finds one
emits these files, and does not read the split. It makes no difference which of several attempts has read a split, as
long as one attempt has read all of it: its rows and its dead letters are in one manifest. The folder is the run's own.

A manifest only saves time: when Cloud Storage fails, the split is read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from sync_pipeline.planning.plan import TableSync
from sync_pipeline.planning.run_plan import RunPlan
from sync_pipeline.publishing.staged_files import StagedFile
from sync_pipeline.sources.source import ReadSplit

_LOGGER = logging.getLogger(__name__)


def manifest_folder(plan: RunPlan) -> str:
    """Return the folder of the run's manifests; the clean-up of the first table deletes it."""
    return f"{plan.tables[0].staging_folder}finished/"


class FinishedSplits:
    """The manifests of a run, on a worker. One request lists them all.

    Args:
        folder: from `manifest_folder`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._listed: frozenset[str] | None = None

    def forget(self) -> None:
        """Forget the list: another attempt has begun."""
        self._listed = None

    def find(self, table: TableSync, split: ReadSplit) -> list[StagedFile] | None:
        """Return the files of a split that an earlier attempt has staged completely, None if there is none."""
        uri = self._uri(table, split)
        try:
            if self._listed is None:
                found = FileSystems.match([f"{self._folder}*"])[0].metadata_list
                self._listed = frozenset(entry.path for entry in found)
            if uri not in self._listed:
                return None
            with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                files = [_staged_file(values) for values in json.loads(file.read())]
        except Exception as error:  # noqa: BLE001 - the split is read instead
            _LOGGER.warning("%s could not be read (%s)", uri, error.__class__.__name__)
            return None
        # Whoever may write to the bucket could name other files.
        return files if all(file.uri.startswith(table.staging_folder) for file in files) else None

    def keep(self, table: TableSync, split: ReadSplit, files: Sequence[StagedFile]) -> None:
        """Write the manifest of a split whose files are complete."""
        uri = self._uri(table, split)
        values = [asdict(file) | {"partitions": list(file.partitions)} for file in files]
        try:
            with FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(json.dumps(values).encode())
        except Exception as error:  # noqa: BLE001 - a repeated attempt reads the split again
            _LOGGER.warning("%s was not written (%s)", uri, error.__class__.__name__)

    def _uri(self, table: TableSync, split: ReadSplit) -> str:
        return f"{self._folder}{table.number}-{split.index}.json"


def _staged_file(values: dict[str, object]) -> StagedFile:
    partitions = values.pop("partitions")
    assert isinstance(partitions, list)
    return StagedFile(**values, partitions=frozenset(partitions))  # type: ignore[arg-type]
