"""Manifests and launch files of a folder, which may be one of a bucket."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .launch_files import Launch, read_launch_file
from .manifests import Rollout, Schedule, read_rollout, read_schedule

ROLLOUTS, SCHEDULES = (".rollout.yaml", ".schedule.yaml")


@dataclass(frozen=True)
class Entry:
    """A manifest of a folder.

    Attributes:
        path: of the manifest, within the folder.
        launch: what its launch file launches; None if it has none, or if there are problems.
        problems: its mistakes, and those of its launch file. With one, it is not launched.
        launch_path: of the launch file, within the folder.
    """

    path: str
    manifest: Rollout | Schedule | None
    launch: Launch | None = None
    problems: tuple[str, ...] = ()
    launch_path: str = ""

    @property
    def is_rollout(self) -> bool:
        return self.path.endswith(ROLLOUTS)

    @property
    def name(self) -> str:
        """The manifest's name; the file's, if the manifest cannot be read."""
        if self.manifest is not None:
            return self.manifest.name
        return re.sub("[^a-z0-9_-]", "-", posixpath.basename(self.path).split(".")[0].lower())


@dataclass(frozen=True)
class Manifests:
    """All manifests of a folder."""

    rollouts: tuple[Entry, ...] = ()
    schedules: tuple[Entry, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.rollouts + self.schedules

    def problems(self) -> list[str]:
        """Return all mistakes, each with its file."""
        return [f"{entry.path}: {problem}" for entry in self.entries for problem in entry.problems]


def read_manifests(place: str) -> Manifests:
    """Return the manifests of a folder and of its folders, or of gs://BUCKET/FOLDER.

    Raises:
        OSError: the folder is not there. An empty answer would remove all DAGs.
    """
    texts = _texts_of_bucket(place) if place.startswith("gs://") else _texts_of_folder(Path(place))
    rollouts = _told_apart([_entry(path, texts) for path in sorted(texts) if path.endswith(ROLLOUTS)])
    names = {entry.name for entry in rollouts}
    schedules = _told_apart([_entry(path, texts) for path in sorted(texts) if path.endswith(SCHEDULES)])
    return Manifests(rollouts, tuple(_with_rollout(entry, names) for entry in schedules), texts)


def _entry(path: str, texts: Mapping[str, str]) -> Entry:
    read = read_rollout if path.endswith(ROLLOUTS) else read_schedule
    manifest, problems = read(texts[path])
    if manifest is None or not manifest.launch_file:
        return Entry(path, manifest, problems=tuple(problems))
    launch_path = posixpath.normpath(posixpath.join(posixpath.dirname(path), manifest.launch_file))
    if launch_path not in texts:
        problem = f"launch_file is {manifest.launch_file!r}, and there is no {launch_path}: give a path from here"
        return Entry(path, manifest, problems=(problem,))
    launch, found = read_launch_file(texts[launch_path], manifest.overrides)
    return Entry(path, manifest, launch, tuple(f"{launch_path}: {problem}" for problem in found), launch_path)


def _told_apart(entries: list[Entry]) -> tuple[Entry, ...]:
    """Return the entries; of several with one name, all have the problem."""
    paths: dict[str, list[str]] = {}
    for entry in entries:
        paths.setdefault(entry.name, []).append(entry.path)
    return tuple(
        entry
        if len(paths[entry.name]) == 1
        else replace(
            entry,
            problems=(*entry.problems, f"{', '.join(paths[entry.name])} have one name: give each a name of its own"),
        )
        for entry in entries
    )


def _with_rollout(entry: Entry, rollouts: set[str]) -> Entry:
    rollout = entry.manifest.rollout if isinstance(entry.manifest, Schedule) else ""
    if not rollout or rollout in rollouts:
        return entry
    problem = f"rollout is {rollout!r}: there is no rollout manifest of that name; give one, or launch_file"
    return replace(entry, problems=(*entry.problems, problem))


def _texts_of_folder(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder: give the folder of the manifests")
    files = (path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml", ".json") and path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def _texts_of_bucket(place: str) -> dict[str, str]:
    # Composer has this client; a folder needs none.
    from google.cloud import storage

    name, _, prefix = place.removeprefix("gs://").partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    blobs = storage.Client().list_blobs(name, prefix=prefix)
    found = {
        blob.name.removeprefix(prefix): blob.download_as_text()
        for blob in blobs
        if blob.name.endswith((".yaml", ".yml", ".json"))
    }
    if not found:
        raise FileNotFoundError(f"{place} has no manifests and no launch files: give the folder of the manifests")
    return found
