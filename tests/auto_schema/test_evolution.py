from __future__ import annotations

import pytest

from sync_pipeline.auto_schema.evolution import WIDENINGS, Differences, compare
from sync_pipeline.schema import NULLABLE, REPEATED, REQUIRED, Field, Schema

TABLE = "p.d.t"
EVOLUTIONS = ("fail", "add", "ignore")
ELSEWHERE = (
    "change the query, rename the column with field_mappings, use another table, or rebuild this one with "
    "delete_existing_table=true"
)


def found(
    incoming: Field | None, existing: Field | None, evolution: str, fixed: frozenset[str] = frozenset()
) -> Differences:
    """Compare a column; both sides have another one that is the same."""
    same = Field("id", "INT64", REQUIRED)
    sides = [Schema((same, *([field] if field else []))) for field in (incoming, existing)]
    return compare(TABLE, *sides, fixed=fixed, evolution=evolution)


def differences(
    types: dict[str, str] | None = None,
    required: tuple[str, ...] = (),
    left_out: tuple[str, ...] = (),
    alterations: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Differences:
    return Differences(types or {}, frozenset({"id", *required}), frozenset(left_out), alterations, problems, notes)


@pytest.mark.parametrize("evolution", EVOLUTIONS)
@pytest.mark.parametrize(
    ("incoming", "existing"),
    [
        pytest.param(Field("a", "INT64"), Field("a", "INT64"), id="equal"),
        pytest.param(Field("A", "INT64"), Field("a", "INT64"), id="spelt otherwise"),
        pytest.param(Field("a", "INT64", REPEATED), Field("a", "INT64", REPEATED), id="equal arrays"),
        pytest.param(Field("a", "INT64", REQUIRED), Field("a", "INT64"), id="REQUIRED in the source only"),
        pytest.param(
            Field("a", "INT64", NULLABLE, "new"), Field("a", "INT64", NULLABLE, "old"), id="another description"
        ),
    ],
)
def test_no_difference(incoming: Field, existing: Field, evolution: str) -> None:
    assert found(incoming, existing, evolution) == differences()


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_a_required_column_is_read_so(evolution: str) -> None:
    assert found(Field("a", "INT64"), Field("a", "INT64", REQUIRED), evolution) == differences(required=("a",))


ADD = "ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `a` ARRAY<STRING>"
WIDEN = "ALTER TABLE `p.d.t` ALTER COLUMN `a` SET DATA TYPE NUMERIC"
RELAX = "ALTER TABLE `p.d.t` ALTER COLUMN `a` DROP NOT NULL"


@pytest.mark.parametrize(
    ("evolution", "expected"),
    [
        pytest.param(
            "fail",
            differences(
                problems=(
                    f"column a (ARRAY<STRING>) is not in the destination table: run {ADD}, or set schema_evolution=add",
                )
            ),
            id="fail",
        ),
        pytest.param("add", differences(alterations=(ADD,)), id="add"),
        pytest.param(
            "ignore",
            differences(
                left_out=("a",),
                notes=("a is not in the destination: not loaded (schema_evolution=ignore)",),
            ),
            id="ignore",
        ),
    ],
)
def test_a_new_column(evolution: str, expected: Differences) -> None:
    assert found(Field("a", "STRING", REPEATED), None, evolution) == expected


def test_a_new_required_column_is_added_as_nullable() -> None:
    assert found(Field("a", "INT64", REQUIRED), None, "add").alterations == (
        "ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `a` INT64",
    )


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_a_column_of_the_destination_only(evolution: str) -> None:
    assert found(None, Field("a", "JSON"), evolution) == differences(
        notes=("a is in the destination only: it is NULL in new rows",)
    )


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_a_required_column_of_the_destination_only(evolution: str) -> None:
    expected = differences(
        problems=(
            (
                "column a is REQUIRED in the destination table, and no longer selected: run "
                f"{RELAX}, or set schema_evolution=add"
            ),
        )
    )
    if evolution == "add":
        expected = differences(alterations=(RELAX,))
    assert found(None, Field("a", "INT64", REQUIRED), evolution) == expected


@pytest.mark.parametrize("evolution", EVOLUTIONS)
@pytest.mark.parametrize(
    ("incoming", "existing"),
    [
        pytest.param(Field("a", "INT64"), "STRING", id="INT64 to STRING"),
        pytest.param(Field("a", "INT64"), "NUMERIC", id="INT64 to NUMERIC"),
        pytest.param(Field("a", "BIGNUMERIC"), "INT64", id="BIGNUMERIC to INT64, every value is checked"),
        pytest.param(Field("a", "STRING"), "GEOGRAPHY", id="STRING to GEOGRAPHY"),
        pytest.param(Field("a", "JSON"), "STRING", id="JSON to STRING"),
        pytest.param(Field("a", "INT64", REPEATED), "JSON", id="an array to JSON"),
    ],
)
def test_the_existing_type_holds_the_values(incoming: Field, existing: str, evolution: str) -> None:
    widen = f"ALTER TABLE `p.d.t` ALTER COLUMN `a` SET DATA TYPE {incoming.type}"
    note = f"a is read as {existing}, its type in the destination"
    if incoming.type not in WIDENINGS.get(existing, ()):
        expected = differences({"a": existing}, notes=(note,))
    elif evolution == "add":
        expected = differences(alterations=(widen,))
    else:
        expected = differences({"a": existing}, notes=(f"{note}; {widen} would widen the column",))
    assert found(incoming, Field("a", existing), evolution) == expected


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_a_decimal_column_can_be_widened(evolution: str) -> None:
    note = f"a is read as INT64, its type in the destination; {WIDEN} would widen the column"
    expected = differences({"a": "INT64"}, notes=(note,))
    if evolution == "add":
        expected = differences(alterations=(WIDEN,))
    assert found(Field("a", "NUMERIC"), Field("a", "INT64"), evolution) == expected


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_a_decimal_column_never_becomes_a_double(evolution: str) -> None:
    """BigQuery could change it, and would round its values."""
    overrides = 'transformation_config={"type_overrides": {"a": "NUMERIC"}}'
    problem = "column a is FLOAT64 in the source and NUMERIC in the destination table: to convert the column, set "
    expected = differences(problems=(problem + overrides,))
    assert found(Field("a", "FLOAT64"), Field("a", "NUMERIC"), evolution) == expected


@pytest.mark.parametrize("evolution", EVOLUTIONS)
@pytest.mark.parametrize(
    ("incoming", "existing", "remedy"),
    [
        pytest.param(
            Field("a", "STRING"),
            Field("a", "INT64"),
            'to convert the column, set transformation_config={"type_overrides": {"a": "INT64"}}',
            id="a cast that has to be asked for",
        ),
        pytest.param(
            Field("a", "TIMESTAMP"),
            Field("a", "DATETIME"),
            'to convert the column, set transformation_config={"type_overrides": {"a": "DATETIME"}}',
            id="a moment and a wall clock",
        ),
        pytest.param(
            Field("a", "BOOL"),
            Field("a", "DATE"),
            ELSEWHERE,
            id="nothing helps",
        ),
        pytest.param(
            Field("a", "INT64"),
            Field("a", "STRUCT"),
            ELSEWHERE,
            id="a type we do not write",
        ),
        pytest.param(
            Field("a", "STRING"),
            Field("a", "STRING", REPEATED),
            ELSEWHERE,
            id="one value and an array",
        ),
        pytest.param(
            Field("a", "INT64", REPEATED),
            Field("a", "STRING"),
            ELSEWHERE,
            id="an array and text",
        ),
        pytest.param(
            Field("a", "INT64", REPEATED),
            Field("a", "NUMERIC", REPEATED),
            ELSEWHERE,
            id="arrays of two types",
        ),
        pytest.param(
            Field("a", "INT64", REPEATED),
            Field("a", "JSON", REPEATED),
            ELSEWHERE,
            id="an array of JSON",
        ),
    ],
)
def test_types_that_do_not_go_together(incoming: Field, existing: Field, remedy: str, evolution: str) -> None:
    problem = (
        f"column a is {incoming.type_name} in the source and {existing.type_name} in the destination table: {remedy}"
    )
    assert found(incoming, existing, evolution) == differences(problems=(problem,))


@pytest.mark.parametrize("evolution", EVOLUTIONS)
@pytest.mark.parametrize("existing", ["JSON", "INT64"])
def test_a_fixed_column_keeps_its_type(existing: str, evolution: str) -> None:
    result = found(Field("a", "STRING"), Field("a", existing), evolution, fixed=frozenset({"a"}))
    assert result == differences(
        problems=(f"column a is STRING by transformation_config and {existing} in the destination table: " + ELSEWHERE,)
    )


FLOAT = (
    "rebuild the table with delete_existing_table=true, or run ALTER TABLE `p.d.t` ALTER COLUMN `a` SET DATA TYPE "
    "FLOAT64, which holds whole numbers up to 2^53 exactly"
)


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_whole_numbers_that_become_doubles_need_another_column(evolution: str) -> None:
    """A type override would be refused by the same column: the message says what is not."""
    problem = f"column a is FLOAT64 in the source and INT64 in the destination table: {FLOAT}"
    assert found(Field("a", "FLOAT64"), Field("a", "INT64"), evolution) == differences(problems=(problem,))


def test_doubles_among_whole_numbers_of_documents_are_noted() -> None:
    """The read checks each value: those without a fraction are valid."""
    sides = [Schema((Field("a", type_name),)) for type_name in ("FLOAT64", "INT64")]
    result = compare(TABLE, *sides, fixed=frozenset(), evolution="add", takes_any_type=True)
    assert result.notes == (
        f"a is read as INT64, its type in the destination; a value with a fraction is rejected: {FLOAT}",
    )


def test_a_changed_column_that_is_required_is_both() -> None:
    result = found(Field("a", "INT64"), Field("a", "STRING", REQUIRED), "fail")
    assert (result.types, result.required) == ({"a": "STRING"}, {"id", "a"})


def test_all_differences_at_once() -> None:
    incoming = Schema((Field("new", "INT64"), Field("bool", "BOOL"), Field("number", "INT64")))
    existing = Schema((Field("bool", "DATE"), Field("number", "STRING"), Field("old", "INT64", REQUIRED)))
    result = compare(TABLE, incoming, existing, fixed=frozenset(), evolution="fail")
    assert [problem.split(":")[0] for problem in result.problems] == [
        "column new (INT64) is not in the destination table",
        "column bool is BOOL in the source and DATE in the destination table",
        "column old is REQUIRED in the destination table, and no longer selected",
    ]
    assert result.types == {"number": "STRING"}
