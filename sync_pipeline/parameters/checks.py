"""Checks across parameters: reports missing, contradictory and ignored ones.

Checks of a single source are in `SourceDeclaration.checks` and `warnings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sync_pipeline.parameters.declaration import SourceDeclaration, declared
from sync_pipeline.parameters.parameter import Group, Parameter, ParameterValues, Requirement, ignored
from sync_pipeline.parameters.rows import DESTINATION, KEEP, OFF, REPAIR
from sync_pipeline.parameters.table import BY_NAME, PARAMETERS
from sync_pipeline.smart_sync.placeholder_columns import is_readable, mismatch
from sync_pipeline.smart_sync.placeholders import PLACEHOLDERS
from sync_pipeline.suggestions import closest_match

if TYPE_CHECKING:
    from sync_pipeline.parameters.transformation_config import TransformationConfig


def missing(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each required parameter that is missing."""
    return (missing_sentence(parameter, requirement) for parameter, requirement in missing_parameters(values))


def missing_parameters(values: ParameterValues) -> Iterator[tuple[Parameter, Requirement]]:
    """Yield each required parameter that is missing, and the case in which it is required."""
    reported: set[str] = set()
    for parameter in PARAMETERS:
        if values[parameter.name] is not None or parameter.name in values.malformed:
            continue
        for requirement in parameter.required:
            # If one of two parameters is sufficient, only the first is reported; its text mentions the other.
            if _applies(requirement, values) and reported.isdisjoint(requirement.unless):
                reported.add(parameter.name)
                yield parameter, requirement
                break


def contradictions(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each contradictory combination."""
    smart_sync, source = values["enable_smart_sync"], _source_of(values)
    if smart_sync and values["write_disposition"] == "WRITE_TRUNCATE":
        yield (
            "write_disposition is 'WRITE_TRUNCATE' and enable_smart_sync is true: each run would keep only the rows of "
            "its own interval; use WRITE_APPEND, or disable Smart Sync"
        )
    if values["primary_key"] is not None:
        if values["write_disposition"] == "WRITE_TRUNCATE":
            yield (
                "primary_key merges rows into the existing ones, but write_disposition is 'WRITE_TRUNCATE', which "
                "replaces all rows: omit one of them"
            )
    elif smart_sync and not (source and source.has_own_key):
        if values["smart_sync_lookback_seconds"]:
            yield (
                "smart_sync_lookback_seconds reads rows again, and without primary_key they would be appended again: "
                "give primary_key, or omit the lookback"
            )
        if values["smart_sync_null_timestamps"] == "include":
            yield (
                "smart_sync_null_timestamps is 'include', and without primary_key every run would append those rows "
                "again: give primary_key, or exclude them"
            )
    if smart_sync and values["delete_existing_table"] and values["smart_sync_max_interval_hours"] is not None:
        yield (
            "delete_existing_table is true and smart_sync_max_interval_hours is given: each run would replace the "
            "table by its first step; omit one of them, or drop the table yourself once"
        )
    yield from _backfill_problems(values)
    yield from _deletes_problems(values, source)
    if values["delete_existing_table"] and values["reconcile"] not in (None, OFF):
        yield (
            f"reconcile is {values['reconcile']!r}: it compares the source with the existing table, which "
            "delete_existing_table replaces: omit one of them"
        )
    if str(values["dead_letter_table"]) == ".".join(str(values[name]) for name in DESTINATION):
        yield "dead_letter_table is the destination table itself: name another"
    if values["delete_existing_table"] and values["create_disposition"] == "CREATE_NEVER":
        yield (
            "create_disposition is 'CREATE_NEVER' and delete_existing_table is true: the run could not create the new "
            "table; use CREATE_IF_NEEDED"
        )
    if source is not None:
        if source.tables is not None:
            for query in values.given_of(*source.tables.queries):
                if source.tables.parameter in values.given:
                    yield f"{source.tables.parameter} and {query} are both given: omit one of them"
        yield from source.checks(values)
        yield from _placeholder_problems(values, source)


def _deletes_problems(values: ParameterValues, source: SourceDeclaration | None) -> Iterator[str]:
    deletes = values["deletes"]
    if source is None or deletes in (None, KEEP) or _replaces_rows(values):
        return
    if not source.reads_keys:
        yield (
            f"deletes is {deletes!r}: this is not possible for data_source={values['data_source']}; omit it, or "
            "replace all rows with write_disposition=WRITE_TRUNCATE"
        )
    elif not values["enable_smart_sync"]:
        # Nothing would keep two such runs apart: the older one could remove rows that the newer one has loaded.
        yield (
            f"deletes is {deletes!r} and enable_smart_sync is false: without Smart Sync, a run could delete rows that "
            "another run has just loaded; enable it, replace all rows with write_disposition=WRITE_TRUNCATE, or give "
            "deletes=keep"
        )
    elif values["primary_key"] is None and "primary_key" not in values.malformed and not source.has_own_key:
        yield f"deletes is {deletes!r}, and without primary_key every version of a row is appended: give primary_key"


def _replaces_rows(values: ParameterValues) -> bool:
    return bool(values["write_disposition"] == "WRITE_TRUNCATE" or values["delete_existing_table"])


def warnings(values: ParameterValues, transformation: TransformationConfig) -> Iterator[str]:
    """Yield a sentence for each given parameter that has no effect or is unwise, and for each secret in plain text.

    Call this only if `missing` and `contradictions` yield nothing.
    """
    yield from _of_other_sources(values)
    yield from table_warnings(values)
    yield from _plain_secrets(values)
    yield from _hash_warnings(values, [transformation])


def run_warnings(values: ParameterValues, transformations: Sequence[TransformationConfig] | None) -> Iterator[str]:
    """Yield the `warnings` that hold for all tables of a run, whose transformations are these; None if unknown."""
    yield from _of_other_sources(values)
    yield from _plain_secrets(values)
    if transformations is not None:
        yield from _hash_warnings(values, transformations)


def table_warnings(values: ParameterValues) -> Iterator[str]:
    """Yield the `warnings` about parameters that may differ by table."""
    source = declared(values["data_source"])
    yield from _switched_off(values)
    if values["enable_smart_sync"]:
        if {source.query, source.base_query} <= values.given:
            yield ignored([source.query], f"Smart Sync uses {source.base_query}")
        name = _unreadable_query(values, source)
        if name is not None:
            yield (
                f"{name} compares the placeholders in a form that cannot be analysed: make sure that it compares "
                f"{values['smart_sync_timestamp_column']}, because with another column runs would miss changed rows"
            )
        if "fallback_days" in values.given and values["sync_all_on_empty_table"]:
            yield ignored(["fallback_days"], "sync_all_on_empty_table is true")
        if values["interval_start"] is not None:
            names = values.given_of("smart_sync_lookback_seconds", "smart_sync_null_timestamps")
            if names:
                yield ignored(names, "interval_start and interval_end say which rows are read")
    if values["reconcile"] == REPAIR:
        return (yield from source.warnings(values))
    if "deletes" in values.given and values["deletes"] != KEEP and _replaces_rows(values):
        yield ignored(["deletes"], "the run replaces all rows")
    elif "deletes" in values.given and values["deletes"] != KEEP and values["interval_start"] is not None:
        yield ignored(["deletes"], "a backfill deletes no rows by their key; the next run does")
    if "max_deleted_percent" in values.given and (values["deletes"] == KEEP or _replaces_rows(values)):
        yield ignored(["max_deleted_percent"], "the run deletes no rows by their key")
    yield from source.warnings(values)


def _backfill_problems(values: ParameterValues) -> Iterator[str]:
    names = values.given_of("interval_start", "interval_end")
    if not names:
        return
    both, needs = " and ".join(names), "need" if len(names) > 1 else "needs"
    if values["enable_smart_sync"] is False:
        yield f"{both} {needs} the timestamp column of Smart Sync: set enable_smart_sync=true"
    if values["delete_existing_table"]:
        yield f"delete_existing_table is true, but {both} {needs} the table's other rows: omit one of them"
    if values["smart_sync_max_interval_hours"] is not None:
        yield f"smart_sync_max_interval_hours divides intervals, and {both} {needs} one change: omit one of them"
    start, end = values["interval_start"], values["interval_end"]
    if start is None or end is None:
        return
    if (start.tzinfo is None) != (end.tzinfo is None):
        yield "of interval_start and interval_end only one has a time zone: give both alike"
    elif start >= end:
        yield f"interval_start is {start.isoformat()}, and interval_end is not after it: exchange or correct them"


def _plain_secrets(values: ParameterValues) -> Iterator[str]:
    for parameter in _given(values):
        if parameter.secret and values[parameter.name].is_plain:
            yield (
                f"{parameter.name} was given in plain text and is stored with the launch request; store it in Secret "
                "Manager and pass projects/PROJECT/secrets/SECRET/versions/VERSION"
            )


def _hash_warnings(values: ParameterValues, transformations: Sequence[TransformationConfig]) -> Iterator[str]:
    has_hashes = any(transformation.hash_fields for transformation in transformations)
    if has_hashes and values["hash_key"] is None:
        yield (
            "hash_fields are hashed without a key: guessable values, such as phone numbers, can be found by hashing "
            "all candidates; give hash_key"
        )
    if values["hash_key"] is not None and not has_hashes:
        yield "hash_key is ignored: transformation_config has no hash_fields"


def _of_other_sources(values: ParameterValues) -> Iterator[str]:
    source = values["data_source"]
    given = [parameter for parameter in _given(values) if not parameter.is_for(source)]
    for owners in dict.fromkeys(parameter.sources for parameter in given):
        yield ignored([row.name for row in given if row.sources == owners], f"data_source is {source}")


def _switched_off(values: ParameterValues) -> Iterator[str]:
    for group, switch in ((Group.SMART_SYNC, "enable_smart_sync"), (Group.AUTO_SCHEMA, "enable_auto_schema")):
        names = [
            parameter.name
            for parameter in _given(values)
            # delete_existing_table works without Auto-Schema, although it is listed in that group.
            if parameter.group == group and parameter.is_for(values["data_source"])
            if parameter.name not in (switch, "delete_existing_table")
        ]
        if names and not values[switch]:
            yield ignored(names, f"{switch} is false")


def _applies(requirement: Requirement, values: ParameterValues) -> bool:
    # A malformed parameter has the value None. Requirements that depend on it are not checked.
    return (
        all(_text(values[name]) in allowed for name, allowed in requirement.when)
        and all(name in values.given for name in requirement.given)
        and not any(
            name in values.malformed or (name in values.given and BY_NAME[name].is_for(values["data_source"]))
            for name in requirement.unless
        )
    )


def _text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def missing_sentence(parameter: Parameter, requirement: Requirement) -> str:
    """Return the sentence about a missing parameter."""
    if not requirement.when:
        return f"{parameter.name} is missing: give, for example, --{parameter.name}={parameter.example}"
    alternatives = f" (or {' or '.join(requirement.unless)} instead)" if requirement.unless else ""
    condition = str(Requirement(requirement.when, requirement.given))
    return f"{parameter.name} is missing: it is required when {condition}{alternatives}"


def _source_of(values: ParameterValues) -> SourceDeclaration | None:
    return declared(values["data_source"]) if values["data_source"] is not None else None


def _placeholder_problems(values: ParameterValues, source: SourceDeclaration) -> Iterator[str]:
    smart_sync, name = values["enable_smart_sync"], source.query_of(values)
    query = values[name] if name else None
    if query is None or smart_sync is None:
        return
    present = [placeholder for placeholder in PLACEHOLDERS if placeholder in query]
    if not smart_sync:
        if present:
            yield (
                f"{name} contains {' and '.join(present)}, which only Smart Sync fills in: set enable_smart_sync=true, "
                "or use literal timestamps"
            )
        return
    if present and values["smart_sync_null_timestamps"] == "include":
        yield (
            f"smart_sync_null_timestamps is 'include', but {name} has placeholders and selects the rows itself: select "
            "rows without a timestamp there and omit smart_sync_null_timestamps, or omit the placeholders"
        )
    if present or name == source.base_query:
        for placeholder in PLACEHOLDERS:
            if placeholder not in present:
                yield f"{name} lacks {placeholder}{_misspelling(query, placeholder)}"
    column = values["smart_sync_timestamp_column"]
    if len(present) == len(PLACEHOLDERS) and column is not None and source.comparisons is not None:
        other = mismatch(source.comparisons, query, column)
        if other is not None:
            yield (
                f"{name} compares {other}, but smart_sync_timestamp_column is {column}: "
                "runs would miss changed rows; name the same column in both"
            )


def _unreadable_query(values: ParameterValues, source: SourceDeclaration) -> str | None:
    """Return the query's parameter if the columns compared with the placeholders cannot be determined, else None."""
    name, column = source.query_of(values), values["smart_sync_timestamp_column"]
    query = values[name] if name else None
    if query is None or source.comparisons is None or not all(placeholder in query for placeholder in PLACEHOLDERS):
        return None
    return None if is_readable(source.comparisons, query, column) else name


def _misspelling(query: str, placeholder: str) -> str:
    candidates = set(re.findall(r"\{\s*[^\W\d]\w*\s*\}", query)) - set(PLACEHOLDERS)
    # A low cutoff also recognises `{start}`, which is only half as long.
    similar = closest_match(placeholder, candidates, cutoff=0.5)
    return f": replace {similar} with it" if similar is not None else ": Smart Sync needs both bounds of the interval"


def _given(values: ParameterValues) -> Iterator[Parameter]:
    return (parameter for parameter in PARAMETERS if parameter.name in values.given)
