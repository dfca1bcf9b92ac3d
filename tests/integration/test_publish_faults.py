"""Every call of publishing fails once, and the step is attempted again: nothing is lost, doubled or misreported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import bigquery

from tests.integration.faults import CASES, Fault, Faults


@pytest.fixture
def faults(bigquery_client: bigquery.Client, dataset: str, gcs_folder: str) -> Iterator[Faults]:
    return Faults(bigquery_client, dataset, gcs_folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_a_call_that_fails_once_does_no_harm(faults: Faults, name: str) -> None:
    """Each call of the case meets one fault; `python -m tests.integration.faults` plays all of them at each."""
    case, kinds = CASES[name], list(Fault)
    first = list(CASES).index(name)
    violations = []
    for number in range(faults.count_calls(case)):
        fault = kinds[(first + 3 * number) % len(kinds)]
        outcome = faults.play(case, number, fault)
        violations += [f"{outcome.call}: {fault.value}: {violation}" for violation in outcome.violations]
    assert violations == []
