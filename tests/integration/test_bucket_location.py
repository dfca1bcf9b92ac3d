"""A bucket from which the dataset cannot load is refused before anything is read."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import storage

from sandbox import Endpoints
from sync_pipeline.errors import ConfigError
from sync_pipeline.planning.bucket_location import check_bucket


@pytest.fixture
def bucket(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sandbox's bucket, if it were in Belgium: the emulator keeps no locations."""
    get = storage.Client.get_bucket

    def get_in_belgium(client: storage.Client, *arguments: Any, **options: Any) -> storage.Bucket:
        bucket = get(client, *arguments, **options)
        bucket._properties["location"] = "EUROPE-WEST1"
        return bucket

    monkeypatch.setattr(storage.Client, "get_bucket", get_in_belgium)
    return endpoints.bucket


def test_a_bucket_elsewhere_is_refused(endpoints: Endpoints, bucket: str) -> None:
    folder = f"gs://{bucket}/tmp/"
    assert check_bucket(folder, endpoints.project, {"EU", "europe-west1"}) == []
    with pytest.raises(ConfigError, match=f"the bucket {bucket} is in EUROPE-WEST1, and the dataset in US-CENTRAL1: "):
        check_bucket(folder, endpoints.project, ["us-central1"])
    [note] = check_bucket(folder, endpoints.project, ["US"])
    assert f"the bucket {bucket} is in EUROPE-WEST1, and the dataset in US: " in note


def test_a_bucket_that_cannot_be_asked_about_is_noted(endpoints: Endpoints) -> None:
    [note] = check_bucket("gs://nobody-has-this/tmp/", endpoints.project, ["US"])
    assert "the location of the bucket nobody-has-this is unknown (NotFound)" in note
    assert "roles/storage.legacyBucketReader" in note
