"""Sources declare themselves, and the table of parameters is put together from what they declare."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from sync_pipeline.parameters.declaration import SourceDeclaration, declarations
from sync_pipeline.parameters.parameter import ALWAYS, Group, Parameter, ParameterType, when
from sync_pipeline.parameters.rows import SHARED_PARAMETERS
from sync_pipeline.parameters.table import headings, whole_table

FILE = Parameter("file", "File", "A file.", ParameterType.TEXT, example="f", required=(ALWAYS,))
OWN = Parameter("own", "Own", "One.", ParameterType.TEXT, example="o", required=(when("other", dry_run="true"),))
LATE = Parameter("late", "Late", "One.", ParameterType.TEXT, Group.SMART_SYNC, example="l", after="fallback_days")


def source(label: str, *parameters: Parameter, group_after: Group = Group.AUTO_SCHEMA) -> SourceDeclaration:
    return SourceDeclaration(label=label, parameters=parameters, read_config=dict, group_after=group_after)


SOURCES = {"a": source("A", OWN, FILE, group_after=Group.CORE), "b": source("B", FILE, LATE)}


def test_a_declaration_imports_no_driver_and_no_beam() -> None:
    names = ("apache_beam", "psycopg2", "pymongo", "google.cloud.bigquery_storage_v1")
    code = f"import sys, sync_pipeline.parameters.table; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_headings() -> None:
    assert list(headings(SOURCES)) == ["Core", "A", "Smart Sync", "Auto-Schema", "B", "Additional"]


def test_a_row_of_two_sources_is_there_once_and_required_in_runs_of_both() -> None:
    (row,) = [row for row in whole_table(SHARED_PARAMETERS, SOURCES) if row.name == "file"]
    assert (row.group, row.sources, row.required_text) == ("A", ("a", "b"), "when data_source is a or b")
    assert [row.is_for(name) for name in ("a", "b", "c", None)] == [True, True, False, False]


def test_a_condition_holds_for_runs_of_the_source_only() -> None:
    (row,) = [row for row in whole_table(SHARED_PARAMETERS, SOURCES) if row.name == "own"]
    assert row.required_text == "when data_source is a and dry_run is true, unless other is given"


def test_a_row_under_a_shared_heading_has_its_place() -> None:
    names = [row.name for row in whole_table(SHARED_PARAMETERS, SOURCES)]
    assert names[names.index("fallback_days") + 1] == "late"


def test_a_row_under_a_shared_heading_is_the_last_without_a_place() -> None:
    last = source("C", replace(LATE, after=""))
    names = [row.name for row in whole_table(SHARED_PARAMETERS, {"c": last}) if row.group == Group.SMART_SYNC]
    assert names[-1] == "late"


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        pytest.param(replace(FILE, default="x"), "file is declared differently by a and b", id="of another source"),
        pytest.param(replace(FILE, name="dry_run"), "dry_run is declared by a source, and is", id="shared"),
    ],
)
def test_two_rows_of_one_name_are_refused(second: Parameter, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        list(whole_table(SHARED_PARAMETERS, {"a": source("A", FILE), "b": source("A", second)}))


@pytest.mark.parametrize("declared", declarations().values(), ids=declarations())
def test_what_a_source_names_is_among_its_parameters(declared: SourceDeclaration) -> None:
    names = {row.name for row in declared.parameters}
    assert {declared.query, declared.base_query} - {""} <= names
    assert bool(declared.query) == (declared.comparisons is not None)
