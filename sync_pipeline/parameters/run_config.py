"""`RunConfig`: what a run syncs, one table or query, or several tables of one source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters import checks
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.declaration import SourceDeclaration, SourceTables, declared
from sync_pipeline.parameters.parameter import ParameterValues, ignored
from sync_pipeline.parameters.parsing import read_values, shown
from sync_pipeline.parameters.rows import TABLES_FILE
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.parameters.table_patterns import TablePatterns
from sync_pipeline.parameters.table_selection import TableSelection
from sync_pipeline.parameters.tables_file import TablesFile, read_tables_file

if TYPE_CHECKING:
    from sync_pipeline.parameters.transformation_config import TransformationConfig

# What the mode of a table may imply for its parameters. Before the catalog is read, a problem is reported only if it
# arises under every one of these.
_POSSIBLY_IMPLIED: tuple[Mapping[str, Any], ...] = (
    {},
    {"enable_smart_sync": True, "primary_key": ("id",)},
    {"write_disposition": "WRITE_TRUNCATE"},
)


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run. Either `single` or `selection` is set.

    Attributes:
        single: the one table or query that needs no catalog.
        selection: what to choose from the source's catalog.
        source: the source's own configuration; with `selection` it names no table.
        hash_key: as in `SyncConfig`.
        max_source_connections: how many connections the workers may open at once.
        warnings: sentences about parameters of the run; with `single`, its own.
    """

    data_source: str
    single: SyncConfig | None
    selection: TableSelection | None
    source: Any
    destination_project: str
    destination_dataset: str
    max_retries: int
    max_source_connections: int
    dry_run: bool
    warnings: tuple[str, ...]
    hash_key: Secret | None = None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str], *, reads_file: bool = True) -> RunConfig:
        """Return the configuration from the template's parameters, given as texts by name.

        Reads `tables_file`. An empty text means that the parameter is not given.

        Args:
            reads_file: whether to read `tables_file`. Where it cannot be read, the rest can be checked without: all but
                what the file may change.

        Raises:
            ConfigError: parameters or the file are invalid; holds all problems.
        """
        values, problems = read_values(parameters)
        source = declared(values["data_source"]) if values["data_source"] is not None else None
        has_file = TABLES_FILE in values.given
        if source is not None and source.tables is not None:
            named = values[source.tables.parameter]
            is_one = named is None or (named.literal is not None and not source.tables.always_by_catalog)
            if has_file or not is_one:
                return cls._of_tables(values, problems, source, source.tables, reads_file=reads_file)
        elif source is not None and has_file:
            problems.append(f"{TABLES_FILE} is given, but {source.label} has no tables to name: omit it")
        return cls._of_one(SyncConfig.from_values(values, problems), values)

    @classmethod
    def _of_one(cls, single: SyncConfig, values: ParameterValues) -> RunConfig:
        if "table_mode" in values.given:
            warning = ignored(["table_mode"], "the run syncs one query or table")
            single = replace(single, warnings=(*single.warnings, warning))
        return cls(
            data_source=single.data_source,
            single=single,
            selection=None,
            source=single.source,
            destination_project=single.destination.project,
            destination_dataset=single.destination.dataset,
            max_retries=single.max_retries,
            max_source_connections=values["max_source_connections"],
            dry_run=single.dry_run,
            warnings=single.warnings,
            hash_key=single.hash_key,
        )

    @classmethod
    def _of_tables(
        cls,
        values: ParameterValues,
        problems: list[str],
        source: SourceDeclaration,
        tables: SourceTables,
        *,
        reads_file: bool,
    ) -> RunConfig:
        named: TablePatterns | None = values[tables.parameter]
        file = TablesFile()
        is_complete = reads_file or TABLES_FILE not in values.given
        if TABLES_FILE in values.given and reads_file:
            file, found = read_tables_file(values[TABLES_FILE], values["data_source"])
            problems += found
            if not found and named is None:
                problems += _nothing_named(file, tables)
        if named is not None and not named.included:
            problems.append(
                f"{tables.parameter} is {shown(str(named))}: it only excludes; write what to sync in front, such as *"
            )
        if TABLES_FILE in values.given and (queries := values.given_of(*tables.queries)):
            problems.append(
                f"{TABLES_FILE} and {' and '.join(queries)} are both given: write the query as an entry of the file"
            )
        problems += checks.missing(values)
        common = values.without(tables.parameter)
        if is_complete:
            problems += _problems_of_tables(common, file, tables, named, problems)
        if problems:
            raise ConfigError(problems)
        return cls(
            data_source=values["data_source"],
            single=None,
            selection=TableSelection(tables, named, file, common),
            # A default for all tables may say how destinations are named.
            source=source.read_config(common.with_given(file.defaults)),
            destination_project=values["destination_bigquery_project"],
            destination_dataset=values["destination_bigquery_dataset"],
            max_retries=values["max_retries"],
            max_source_connections=values["max_source_connections"],
            dry_run=values["dry_run"],
            warnings=tuple(checks.run_warnings(values, _transformations(values, file) if is_complete else None)),
            hash_key=values["hash_key"],
        )


def _nothing_named(file: TablesFile, tables: SourceTables) -> Iterator[str]:
    if not file.entries:
        yield (
            f"{TABLES_FILE} names no tables to sync: give {tables.parameter} in an entry under tables, or as a "
            "parameter of the run"
        )


def _problems_of_tables(
    values: ParameterValues, file: TablesFile, tables: SourceTables, named: TablePatterns | None, known: Sequence[str]
) -> Iterator[str]:
    """Yield what is wrong with the parameters together, for tables without an entry and for each entry.

    Args:
        known: sentences that are reported already.
    """
    base = _problems_of(values, file.defaults, named or _any_table(tables), tables)
    by_entry = {
        entry.place: _problems_of(values, {**file.defaults, **entry.values}, entry.patterns, tables)
        for entry in file.entries
    }
    one = named.literal if named is not None else None
    if by_entry and (named is None or (one is not None and file.entry_for(one) is not None)):
        # No table has the defaults alone.
        base = [problem for problem in base if all(problem in found for found in by_entry.values())]
    yield from (problem for problem in base if problem not in known)
    for place, found in by_entry.items():
        yield from (
            f"{TABLES_FILE}: {place}: {problem}" for problem in found if problem not in base and problem not in known
        )


def _problems_of(
    values: ParameterValues, given: Mapping[str, Any], patterns: TablePatterns | None, tables: SourceTables
) -> list[str]:
    """Return what is wrong with parameters of the tables that `patterns` match, whatever the tables imply."""
    if patterns is not None:
        given = {**given, tables.parameter: patterns if patterns.literal is not None else _any_table(tables)}
    layered = values.with_given(given)
    found: list[tuple[str, ...]] = []
    for possible in _POSSIBLY_IMPLIED if patterns is not None else ({},):
        implied = {name: value for name, value in possible.items() if name not in layered.given}
        try:
            SyncConfig.from_values(layered.with_given(implied), about=frozenset())
        except ConfigError as error:
            found.append(error.problems)
        else:
            return []
    return [problem for problem in found[0] if all(problem in others for others in found)]


def _any_table(tables: SourceTables) -> TablePatterns:
    return tables.syntax.parse("t")


def _transformations(values: ParameterValues, file: TablesFile) -> list[TransformationConfig]:
    texts = {given.get("transformation_config") for given in [values.values, *file.values]}
    if not any(texts):
        return []
    from sync_pipeline.parameters.transformation_config import TransformationConfig

    return [TransformationConfig.from_json(text) for text in texts if text]
