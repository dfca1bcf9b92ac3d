"""What no attempt can mend is met once, whatever the source: it reaches the publishing step, which cleans up."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.errors import RecordError, SyncError
from sync_pipeline.failures import Failure
from sync_pipeline.publishing import clean_up, publish
from tests.integration.bigquery_syncing import BigquerySyncing
from tests.integration.mongodb_syncing import MongodbSyncing
from tests.integration.syncing import Syncing

OVERRIDES = '{"type_overrides": {"v": "INT64"}}'


@pytest.fixture(params=["postgresql", "mongodb", "bigquery"])
def rejected(request: pytest.FixtureRequest) -> Syncing:
    """Return a source with a row whose text `v` is no number."""
    if request.param == "postgresql":
        syncing: Syncing = request.getfixturevalue("syncing")
        syncing.execute("CREATE TABLE items (id int, v text)")
        syncing.execute(
            "INSERT INTO items SELECT n, CASE n WHEN 500 THEN 'x' ELSE n::text END FROM generate_series(1, 900) n"
        )
        return syncing
    if request.param == "mongodb":
        documents: MongodbSyncing = request.getfixturevalue("mongodb_syncing")
        documents.insert(*({"_id": number, "v": "x" if number == 5 else str(number)} for number in range(9)))
        return documents
    selected: BigquerySyncing = request.getfixturevalue("bigquery_syncing")
    selected.at_source(
        "CREATE TABLE items AS SELECT n AS id, IF(n = 5, 'x', CAST(n AS STRING)) AS v FROM UNNEST([1, 5, 9]) n"
    )
    return selected.by("storage_api")


def test_a_row_that_does_not_fit_travels_to_the_publishing_step(
    rejected: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[Failure] = []
    combined_error = publish.combined_error

    def noted(failures: list[Failure]) -> SyncError:
        arrived.extend(failures)
        assert rejected.left_over() == []
        return combined_error(failures)

    monkeypatch.setattr(publish, "combined_error", noted)
    run = rejected.run(transformation_config=OVERRIDES)
    message = run.refused("v")
    assert {type(failure.error) for failure in arrived} == {RecordError}
    assert message == "\n".join(dict.fromkeys(str(failure.error) for failure in arrived))
    assert rejected.tables() == []


def test_rows_outside_the_interval_travel_to_the_publishing_step(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing.execute("CREATE TABLE items (id int, updated_at timestamptz)")
    syncing.execute("INSERT INTO items VALUES (1, '2024-01-01Z'), (2, '2999-01-01Z')")
    arrived: list[Any] = []
    combined_error = publish.combined_error
    monkeypatch.setattr(publish, "combined_error", lambda found: arrived.extend(found) or combined_error(found))
    query = "SELECT * FROM items WHERE updated_at > '{start_timestamp}' OR '{end_timestamp}' > ''"
    asked: list[str] = []
    listed, delete = clean_up._folders, clean_up.delete_staged_files
    monkeypatch.setattr(clean_up, "_folders", lambda root: asked.append(root) or listed(root))
    monkeypatch.setattr(clean_up, "delete_staged_files", lambda folder: asked.append(folder) or delete(folder))
    syncing.smart(postgresql_base_query=query).refused("interval")
    assert len(arrived) == 1
    assert syncing.left_over() == []
    # Of the step, and of the process that runs it, one has asked.
    assert len(asked) == 1
