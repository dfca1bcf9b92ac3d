from __future__ import annotations

import pytest

from sync_pipeline.planning.pruning import clustered_by
from sync_pipeline.schema import Field, Schema

ITEMS = Schema((Field("id", "INT64"), Field("part", "STRING"), Field("paid", "BOOL"), Field("price", "NUMERIC")))


@pytest.mark.parametrize(
    ("clustering_fields", "key", "expected"),
    [
        pytest.param(("id",), ("id",), "id", id="the key"),
        pytest.param(("ID", "part"), ("id",), "id", id="written otherwise"),
        pytest.param(("part", "id"), ("id", "part"), "part", id="two columns"),
        pytest.param(("part", "id"), ("id",), None, id="the key second"),
        pytest.param((), ("id",), None, id="not clustered"),
        pytest.param(("paid",), ("paid", "id"), None, id="two values"),
    ],
)
def test_clustered_by(clustering_fields: tuple[str, ...], key: tuple[str, ...], expected: str | None) -> None:
    found = clustered_by(ITEMS, ITEMS, clustering_fields, key)
    assert (found.name if found is not None else None) == expected


def test_a_column_of_another_type_prunes_no_block() -> None:
    assert clustered_by(ITEMS, Schema((Field("price", "INT64"),)), ("price",), ("price",)) is None


def test_a_column_called_like_a_variable_prunes_no_block() -> None:
    existing = Schema((*ITEMS, Field("sync_first_key", "INT64")))
    assert clustered_by(existing, ITEMS, ("id",), ("id",)) is None
