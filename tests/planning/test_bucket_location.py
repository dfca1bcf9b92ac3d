from __future__ import annotations

import pytest

from sync_pipeline.planning.bucket_location import can_load


# https://cloud.google.com/bigquery/docs/batch-loading-data#data-locations
@pytest.mark.parametrize(
    ("dataset", "bucket", "parts", "expected"),
    [
        pytest.param("us", "us", (), True, id="one multi-region"),
        pytest.param("us", "us-east4", (), True, id="a region in the multi-region"),
        pytest.param("us", "nam4", (), True, id="a dual-region in the multi-region"),
        pytest.param("us", "us", ("us-west1", "us-east1"), True, id="two regions in the multi-region"),
        pytest.param("us", "europe-west1", (), False, id="a region elsewhere"),
        pytest.param("eu", "eu", (), True, id="EU"),
        pytest.param("eu", "europe-west1", (), True, id="a region in EU"),
        pytest.param("eu", "europe-west2", (), False, id="London is not in EU"),
        pytest.param("eu", "us", (), False, id="US for EU"),
        pytest.param("us-central1", "us-central1", (), True, id="one region"),
        pytest.param("us-central1", "us", (), False, id="a multi-region for a region"),
        pytest.param("us-central1", "us-east1", (), False, id="another region"),
        pytest.param("us-central1", "nam4", (), True, id="a dual-region with the region"),
        pytest.param("us-central1", "us", ("us-central1", "us-west1"), True, id="two regions, one of them"),
        pytest.param("asia-northeast1", "asia1", (), True, id="Tokyo and Osaka"),
        pytest.param("asia-northeast1", "asia", (), False, id="a multi-region that BigQuery has not"),
    ],
)
def test_can_load(dataset: str, bucket: str, parts: tuple[str, ...], expected: bool) -> None:
    assert can_load(dataset, bucket, parts) is expected
