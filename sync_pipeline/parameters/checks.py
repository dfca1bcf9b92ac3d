"""What the parameters of a run must be together: nothing missing, nothing contradictory, nothing ignored in silence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sync_pipeline.parameters.hosts import is_alloydb, is_this_machine
from sync_pipeline.parameters.parsing import ParameterValues
from sync_pipeline.parameters.table import PARAMETERS, Group, Parameter, Requirement
from sync_pipeline.registry import BIGQUERY, MONGODB, POSTGRESQL
from sync_pipeline.smart_sync.placeholder_columns import is_readable, mismatch
from sync_pipeline.smart_sync.placeholders import END_PLACEHOLDER, START_PLACEHOLDER
from sync_pipeline.suggestions import closest_match

PLACEHOLDERS = (START_PLACEHOLDER, END_PLACEHOLDER)
SOURCES = (POSTGRESQL, MONGODB, BIGQUERY)

# The query each source runs; with Smart Sync, PostgreSQL has a second one.
_QUERIES = {POSTGRESQL: "postgresql_query", MONGODB: "mongodb_query", BIGQUERY: "source_bigquery_query"}
_BASE_QUERY = "postgresql_base_query"
_DESTINATION = ("destination_bigquery_project", "destination_bigquery_dataset", "destination_bigquery_table")


def missing(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each parameter that must be given and is not."""
    reported: set[str] = set()
    for parameter in PARAMETERS:
        if values[parameter.name] is not None or parameter.name in values.malformed:
            continue
        for requirement in parameter.required:
            # Of two parameters of which one is enough, the first is reported, with the other in its text.
            if _applies(requirement, values) and reported.isdisjoint(requirement.unless):
                reported.add(parameter.name)
                yield _missing_sentence(parameter, requirement)
                break


def contradictions(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for each combination that cannot be meant."""
    smart_sync, source = values["enable_smart_sync"], values["data_source"]
    if smart_sync and values["write_disposition"] == "WRITE_TRUNCATE":
        yield (
            "write_disposition is 'WRITE_TRUNCATE' and enable_smart_sync is true: each run would leave only the rows "
            "of its own interval; use WRITE_APPEND, or switch Smart Sync off"
        )
    if values["primary_key"] is not None:
        if values["write_disposition"] == "WRITE_TRUNCATE":
            yield (
                "primary_key merges rows into those that are there, and write_disposition is 'WRITE_TRUNCATE', which "
                "replaces them all: leave one of them out"
            )
    elif smart_sync and source != MONGODB:
        # Documents have _id to be merged by.
        if values["smart_sync_lookback_seconds"]:
            yield (
                "smart_sync_lookback_seconds reads rows again, and without primary_key they would be appended again: "
                "give primary_key, or leave the lookback out"
            )
        if values["smart_sync_null_timestamps"] == "include":
            yield (
                "smart_sync_null_timestamps is 'include', and without primary_key every run would append those rows "
                "again: give primary_key, or leave them out"
            )
    if smart_sync and values["smart_sync_null_timestamps"] == "include":
        yield from _null_timestamps_problems(values)
    if source == MONGODB:
        yield from _mongodb_contradictions(values)
    if source == POSTGRESQL:
        yield from _login_contradictions(values)
    if str(values["dead_letter_table"]) == ".".join(str(values[name]) for name in _DESTINATION):
        yield "dead_letter_table is the destination table itself: name another"
    if values["delete_existing_table"] and values["create_disposition"] == "CREATE_NEVER":
        yield (
            "create_disposition is 'CREATE_NEVER' and delete_existing_table is true: the deleted table could not be "
            "created again; use CREATE_IF_NEEDED"
        )
    # A dataset beside the query is no contradiction: it is where the query's unqualified tables are.
    if source == BIGQUERY and {"source_bigquery_query", "source_bigquery_table"} <= values.given:
        yield "source_bigquery_table and source_bigquery_query are both given: name a table or write a query"
    source_table = ("source_bigquery_project", "source_bigquery_dataset", "source_bigquery_table")
    is_same = [values[name] for name in source_table] == [values[name] for name in _DESTINATION]
    if source == BIGQUERY and is_same and "source_bigquery_query" not in values.given:
        yield "source_bigquery_table is the destination table itself: name another"
    if source == MONGODB and "mongodb_connection_string" in values.given:
        parts = ("mongodb_username", "mongodb_password")
        both = [name for name in parts if name in values.given]
        if both:
            yield f"{' and '.join(both)} cannot be given with mongodb_connection_string, which says the same"
    if source in _QUERIES:
        yield from _placeholder_problems(values)
        yield from _placeholder_column_problems(values)


def _login_contradictions(values: ParameterValues) -> Iterator[str]:
    host, instance = values["postgresql_host"], values["postgresql_instance"]
    is_cloud_sql = instance is not None and not is_alloydb(instance)
    if instance is not None and host is not None:
        yield "postgresql_host and postgresql_instance are both given: leave one of them out"
    if is_cloud_sql:
        both = [name for name in ("postgresql_sslmode", "postgresql_sslrootcert") if name in values.given]
        if both:
            yield f"postgresql_instance brings the certificate to verify the server by: leave {' and '.join(both)} out"
    if not values["postgresql_iam_login"]:
        return
    if "postgresql_password" in values.given:
        yield "postgresql_iam_login is true, and postgresql_password is given: leave one of them out"
    if values["postgresql_require_auth"] != "any":
        yield "postgresql_iam_login is true, and its token is no password for postgresql_require_auth: leave it out"
    is_weak = values["postgresql_sslmode"] in ("disable", "allow", "prefer")
    if is_weak and not is_cloud_sql and not (host is not None and is_this_machine(host)):
        yield (
            f"postgresql_iam_login is true, and postgresql_sslmode is {values['postgresql_sslmode']}: the token must "
            "not be sent in the clear; use verify-full or verify-ca with postgresql_sslrootcert, or at least require"
        )


def _mongodb_contradictions(values: ParameterValues) -> Iterator[str]:
    if not values["enable_smart_sync"]:
        return
    path = values["smart_sync_timestamp_column"]
    if any(not name or name.startswith("$") for name in path.split(".")):
        yield (
            f"smart_sync_timestamp_column is {path!r}: give the name of a field, or names with dots between them, such "
            "as meta.updatedAt, none of them empty or with $ in front"
        )


def warnings(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for whatever was given and has no effect, and for each secret in plain text."""
    source = values["data_source"]
    for other in SOURCES:
        names = [parameter.name for parameter in _given(values) if parameter.source == other != source]
        if names:
            yield _ignored(names, f"data_source is {source}")
    switches = ((Group.SMART_SYNC, "enable_smart_sync"), (Group.AUTO_SCHEMA, "enable_auto_schema"))
    for group, switch in switches:
        names = [
            parameter.name
            for parameter in _given(values)
            # Replacing the table is a choice of its own, though its parameter is listed with Auto-Schema.
            if parameter.group is group and parameter.source in (None, source)
            if parameter.name not in (switch, "delete_existing_table")
        ]
        if names and not values[switch]:
            yield _ignored(names, f"{switch} is false")
    if source == MONGODB and values["mongodb_document_mode"] and "mongodb_schema_sample_size" in values.given:
        yield _ignored(["mongodb_schema_sample_size"], "mongodb_document_mode is true")
    if values["enable_smart_sync"]:
        if source == POSTGRESQL and {_QUERIES[POSTGRESQL], _BASE_QUERY} <= values.given:
            yield _ignored([_QUERIES[POSTGRESQL]], f"Smart Sync uses {_BASE_QUERY}")
        if source == MONGODB and "smart_sync_time_zone" in values.given:
            yield _ignored(["smart_sync_time_zone"], "the dates of MongoDB are moments, whichever the zone")
        query, column = values[_query_of(values)], values["smart_sync_timestamp_column"]
        if _has_both_placeholders(values) and not is_readable(query, source, column):
            yield (
                f"{_query_of(values)} does not compare a column with the placeholders in a form that can be read: it "
                f"cannot be checked that it is {column}, and by another column changed rows would never be seen"
            )
        if "fallback_days" in values.given and values["sync_all_on_empty_table"]:
            yield _ignored(["fallback_days"], "sync_all_on_empty_table is true")
    for parameter in _given(values):
        if parameter.secret and values[parameter.name].is_plain:
            yield (
                f"{parameter.name} was given in plain text and is kept with the launch request; store it in Secret "
                "Manager and pass projects/PROJECT/secrets/SECRET/versions/VERSION"
            )


def _applies(requirement: Requirement, values: ParameterValues) -> bool:
    # A malformed parameter has the value None: what depends on it is found on the next try, not guessed at.
    return (
        all(_text(values[name]) in allowed for name, allowed in requirement.when)
        and all(name in values.given for name in requirement.given)
        and not any(name in values.given or name in values.malformed for name in requirement.unless)
    )


def _text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _missing_sentence(parameter: Parameter, requirement: Requirement) -> str:
    if not requirement.when:
        return f"{parameter.name} is missing: give, for example, --{parameter.name}={parameter.example}"
    alternatives = f" (or {' or '.join(requirement.unless)} in its place)" if requirement.unless else ""
    condition = str(Requirement(requirement.when, requirement.given))
    return f"{parameter.name} is missing: it is required when {condition}{alternatives}"


def _query_of(values: ParameterValues) -> str:
    """Return the parameter whose query the run reads by; it may not be given."""
    source = values["data_source"]
    if values["enable_smart_sync"] and source == POSTGRESQL and values[_BASE_QUERY] is not None:
        return _BASE_QUERY
    return _QUERIES.get(source, _BASE_QUERY)


def _placeholder_problems(values: ParameterValues) -> Iterator[str]:
    smart_sync, name = values["enable_smart_sync"], _query_of(values)
    query = values[name]
    if query is None or smart_sync is None:
        return
    present = [placeholder for placeholder in PLACEHOLDERS if placeholder in query]
    if not smart_sync:
        if present:
            yield (
                f"{name} contains {' and '.join(present)}, which only Smart Sync fills in: set enable_smart_sync=true, "
                "or write the timestamps"
            )
    elif present or name == _BASE_QUERY:
        for placeholder in PLACEHOLDERS:
            if placeholder not in present:
                yield f"{name} lacks {placeholder}{_misspelling(query, placeholder)}"


def _placeholder_column_problems(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for a query whose placeholders are compared with another column than Smart Sync's."""
    name, column = _query_of(values), values["smart_sync_timestamp_column"]
    query = values[name]
    if not _has_both_placeholders(values):
        return
    other = mismatch(query, values["data_source"], column)
    if other is not None:
        yield (
            f"{name} compares {other}, and smart_sync_timestamp_column is {column}: "
            "rows that change would never be seen; name the same column in both"
        )


def _has_both_placeholders(values: ParameterValues) -> bool:
    query = values[_query_of(values)]
    return bool(
        values["enable_smart_sync"]
        and query is not None
        and values["smart_sync_timestamp_column"] is not None
        and all(placeholder in query for placeholder in PLACEHOLDERS)
    )


def _null_timestamps_problems(values: ParameterValues) -> Iterator[str]:
    """Yield a sentence for a query that says itself which rows are read, and so leaves rows without a timestamp out."""
    query = _query_of(values)
    if any(placeholder in (values[query] or "") for placeholder in PLACEHOLDERS):
        yield (
            f"smart_sync_null_timestamps is 'include', but {query} says itself which rows are read: add those without "
            "a timestamp to it and leave smart_sync_null_timestamps out, or leave the placeholders out"
        )


def _misspelling(query: str, placeholder: str) -> str:
    candidates = set(re.findall(r"\{\s*[^\W\d]\w*\s*\}", query)) - set(PLACEHOLDERS)
    # `{start}` is meant as well, and is only half as long.
    similar = closest_match(placeholder, candidates, cutoff=0.5)
    return (
        f": write it in place of {similar}" if similar is not None else ": Smart Sync puts the interval's bounds there"
    )


def _given(values: ParameterValues) -> Iterator[Parameter]:
    return (parameter for parameter in PARAMETERS if parameter.name in values.given)


def _ignored(names: list[str], reason: str) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} ignored: {reason}"
