"""The Cloud Storage emulator serves what the pipeline's staging needs."""

import time
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from sandbox import Endpoints


def test_beam_writes_and_reads_without_knowing_the_sandbox(gcs_folder: str) -> None:
    started = time.monotonic()
    with FileSystems.create(f"{gcs_folder}/x.txt") as file:
        file.write(b"hello")
    assert time.monotonic() - started < 5, "Beam waited for credentials"
    with FileSystems.open(f"{gcs_folder}/x.txt") as file:
        assert file.read() == b"hello"
    (match,) = FileSystems.match([f"{gcs_folder}/*"])
    assert [(metadata.path, metadata.size_in_bytes) for metadata in match.metadata_list] == [(f"{gcs_folder}/x.txt", 5)]


def test_deleted_objects_leave_the_disk(endpoints: Endpoints, gcs_folder: str) -> None:
    with FileSystems.create(f"{gcs_folder}/large") as file:
        file.write(b"x" * 1_000_000)
    FileSystems.delete([f"{gcs_folder}/large"])
    sizes = [path.stat().st_size for path in Path(endpoints.folder, "storage").rglob("*") if path.is_file()]
    assert max(sizes, default=0) < 1_000_000
