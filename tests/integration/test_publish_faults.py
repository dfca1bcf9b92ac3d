"""Every call of publishing fails once, and the step is attempted again: nothing is lost, doubled or misreported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import bigquery

from sync_pipeline.publishing import publish
from tests.integration import protections
from tests.integration.faults import CASES, Fault, Faults


@pytest.fixture
def faults(bigquery_client: bigquery.Client, dataset: str, gcs_folder: str) -> Iterator[Faults]:
    return Faults(bigquery_client, dataset, gcs_folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_a_call_that_fails_once_does_no_harm(faults: Faults, name: str) -> None:
    """A call of the case meets one fault; `python -m tests.integration.faults` plays all of them at each.

    Files are removed by the same calls in every case: each case plays a third of those.
    """
    case, kinds = CASES[name], list(Fault)
    first = list(CASES).index(name)
    violations = []
    for number, call in enumerate(faults.calls(case)):
        removes_files = "storage/v1" in call
        if removes_files and (first + number) % 3:
            continue
        fault = kinds[(first // 3 if removes_files else first + 3 * number) % len(kinds)]
        outcome = faults.play(case, number, fault)
        violations += [f"{outcome.call}: {fault.value}: {violation}" for violation in outcome.violations]
    assert violations == []


def test_readers_see_rows_and_deletions_in_one_change(faults: Faults) -> None:
    case = CASES["merge, removing"]
    wrong = [
        rows
        for trial, rows in faults.states_of(case)
        if rows not in (trial.before, case.after(trial.before, case.rows))
    ]
    assert wrong == []
    with protections.with_deletions_of_their_own():
        assert any(
            rows not in (trial.before, case.after(trial.before, case.rows)) for trial, rows in faults.states_of(case)
        )


@pytest.mark.timeout(600)
def test_a_call_of_one_table_that_fails_once_does_not_publish_the_others_again(
    faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread publishes, so that the calls of a run of three tables have an order; each of them meets one fault."""
    monkeypatch.setattr(publish, "THREADS", 1)
    cases = [CASES[name] for name in ("append, loaded, without Smart Sync", "append of nothing", "append, selected")]
    # The client itself repeats a request after the others.
    kinds = [Fault.GIVEN_UP, Fault.GIVEN_UP_AFTER, Fault.KILLED, Fault.KILLED_AFTER]
    violations = []
    for number in range(faults.count_calls_of_run(cases)):
        fault = kinds[number % len(kinds)]
        outcome = faults.play_run(cases, number, fault)
        violations += [f"{outcome.call}: {fault.value}: {violation}" for violation in outcome.violations]
    assert violations == []
