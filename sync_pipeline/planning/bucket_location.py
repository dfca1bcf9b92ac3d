"""Checks at launch that the dataset can load from the bucket. BigQuery would report this only after the read."""

from __future__ import annotations

from collections.abc import Collection

import google.auth.exceptions
import requests
from google.api_core import exceptions
from google.cloud import storage

from sync_pipeline.errors import ConfigError

# Regions in BigQuery's multi-regions, by the prefix of their names. London and Zurich are not in the European Union.
# https://cloud.google.com/bigquery/docs/locations#multi-regions
_MULTI_REGIONS = {"us": ("us-", "nam"), "eu": ("europe-", "eur")}
_NOT_IN_EU = frozenset({"europe-west2", "europe-west6"})

# Regions of the predefined dual-regions. https://cloud.google.com/storage/docs/locations#predefined
_DUAL_REGIONS = {
    "asia1": ("asia-northeast1", "asia-northeast2"),
    "eur4": ("europe-north1", "europe-west4"),
    "eur5": ("europe-west1", "europe-west2"),
    "eur7": ("europe-west2", "europe-west3"),
    "eur8": ("europe-west3", "europe-west6"),
    "nam4": ("us-central1", "us-east1"),
}
_SECONDS = 20


def check_bucket(folder: str, project: str, locations: Collection[str]) -> list[str]:
    """Check the locations. Return notes on loads that could not be checked or may be rejected.

    Args:
        folder: `gs://…/`, the folder of the staged files.
        project: the project of the Cloud Storage client.
        locations: the locations of the datasets that load from the folder.

    Raises:
        ConfigError: a dataset cannot load from the bucket.
    """
    name = folder.removeprefix("gs://").partition("/")[0]
    try:
        bucket = storage.Client(project=project).get_bucket(name, timeout=_SECONDS, retry=None)
    except (exceptions.GoogleAPIError, google.auth.exceptions.GoogleAuthError, requests.RequestException) as error:
        problem = f"temp_location: the location of the bucket {name} is unknown ({type(error).__name__})"
        remedy = "grant the job's service account roles/storage.legacyBucketReader on it, which load jobs need too"
        return [f"{problem}: it must match the dataset's location; {remedy}"]
    location, parts = (bucket.location or "US").lower(), [part.lower() for part in bucket.data_locations or ()]
    notes = []
    for dataset in sorted({dataset.lower() for dataset in locations}):
        if can_load(dataset, location, parts):
            continue
        problem = f"temp_location: the bucket {name} is in {location.upper()}, and the dataset in {dataset.upper()}"
        if dataset != "us":
            raise ConfigError([f"{problem}: BigQuery loads from there only within one location: use a bucket there"])
        notes.append(f"{problem}: the load takes longer, and may be billed or rejected: use a bucket in US")
    return notes


def can_load(dataset: str, bucket: str, parts: Collection[str] = ()) -> bool:
    """Whether a dataset can load from a bucket: in its region, or in its multi-region. Locations are in lower case.

    `parts` are the two regions of a configurable dual-region.
    https://cloud.google.com/bigquery/docs/batch-loading-data#data-locations
    """
    if dataset == bucket or dataset in (parts or _DUAL_REGIONS.get(bucket, ())):
        return True
    regions = parts or (bucket,)
    return dataset in _MULTI_REGIONS and all(
        region.startswith(_MULTI_REGIONS[dataset]) and region not in _NOT_IN_EU for region in regions
    )
