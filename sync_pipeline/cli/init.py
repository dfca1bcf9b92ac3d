"""`init`: looks at a source, asks what it must, and writes a launch file.

The file has no secret, only where it is kept.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sync_pipeline.cli.program import PROGRAM
from sync_pipeline.cli.questions import Questions
from sync_pipeline.cli.words import DEFAULT_FILE, asks_for_help, split_file
from sync_pipeline.errors import ConfigError, SyncError
from sync_pipeline.output.terminal import width_of
from sync_pipeline.parameters.checks import missing_parameters, missing_sentence
from sync_pipeline.parameters.declaration import SourceDeclaration, SourceTables, declared
from sync_pipeline.parameters.file_values import text_of
from sync_pipeline.parameters.parameter import Parameter, ParameterType
from sync_pipeline.parameters.parsing import read_value, read_values
from sync_pipeline.parameters.secrets import NAME_FORM, Secret
from sync_pipeline.parameters.source_tables import CatalogTable, TableName
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.suggestions import did_you_mean

# Settings of the file that are no parameters.
_SETTINGS = ("temp_location", "job_name", "region", "template")
_DESTINATION = ("destination_bigquery_project", "destination_bigquery_dataset")
_SCHEMA_AND_TABLE = "{schema}_{table}"


class _EveryTable:
    """Wants all tables of a catalog."""

    def may_choose(self, _name: TableName) -> bool:
        return True

    def matches(self, _name: TableName) -> bool:
        return True


def main(argv: Sequence[str], questions: Questions | None = None) -> int:
    """Write a launch file; return the exit code.

    Args:
        questions: whom to ask; by default the terminal, if there is one.

    Raises:
        SyncError: a parameter is missing or wrong, the source cannot be reached, or the file exists.
    """
    if asks_for_help(argv):
        _parser().print_help()
        return 0
    file, options = split_file(argv)
    arguments, words = _parser().parse_known_args([file or DEFAULT_FILE, *options])
    path = Path(arguments.file)
    if path.exists() and not arguments.force:
        raise ConfigError([f"{path} exists: give another name, or --force to write over it"])
    if questions is None and sys.stdin.isatty() and not arguments.no_input:
        questions = Questions()
    given, settings = _given(words)
    if "data_source" not in given and questions is not None:
        given["data_source"] = _ask(BY_NAME["data_source"], questions, "postgresql")
    source, tables = _source_of(given)
    given = _completed(given, questions, source, tables)
    try:
        found, narrowing = _read_catalog(given, source, tables, questions)
    except SyncError:
        if questions is not None:
            answers = [f"--{name}={text}" for name, text in {**given, **settings}.items()]
            print(f"To try again: {shlex.join([PROGRAM, 'init', str(path), *answers])}", file=sys.stderr)
        raise
    _write(path, given, settings, source, tables, found, narrowing, questions)
    print(f"{path} is written. Next:")
    name = "" if arguments.file == DEFAULT_FILE else f" {path}"
    for command, text in (("check", "are all rights there?"), ("plan", "what would a run do?"), ("run", "sync")):
        print(f"  {f'{PROGRAM} {command}{name}':<{len(PROGRAM) + len(name) + 7}}  {text}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} init",
        usage=f"{PROGRAM} init [FILE] [--force] [--no-input] [--PARAMETER=VALUE …]",
        description="Look at a source and write a launch file. Asks for what is not given; without a terminal, or with "
        "--no-input, what is missing is an error. Every parameter of the template may be given, and "
        f"{', '.join(f'--{name}' for name in _SETTINGS)}.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
    parser.add_argument("--force", action="store_true", help="write over an existing file")
    parser.add_argument("--no-input", action="store_true", help="ask nothing")
    return parser


def _given(words: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters and the settings of the command line. Raises ConfigError."""
    texts, problems = {}, []
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        if name not in (*BY_NAME, *_SETTINGS):
            problems.append(f"--{name} is not a parameter of the template{did_you_mean(name, BY_NAME)}")
        elif not equals:
            problems.append(f"--{name} has no value: write --{name}=VALUE")
        elif text.strip():
            texts[name] = text
    if problems:
        raise ConfigError(problems)
    settings = {name: texts.pop(name) for name in _SETTINGS if name in texts}
    return texts, settings


def _source_of(given: dict[str, str]) -> tuple[SourceDeclaration, SourceTables]:
    values, problems = read_values({"data_source": given.get("data_source", "")})
    if values["data_source"] is None:
        raise ConfigError(problems or ["data_source is missing: give, for example, --data_source=postgresql"])
    source = declared(values["data_source"])
    if source.tables is None:
        raise ConfigError([f"data_source {values['data_source']} has no tables to list: write the launch file by hand"])
    return source, source.tables


def _completed(
    given: dict[str, str], questions: Questions | None, source: SourceDeclaration, tables: SourceTables
) -> dict[str, str]:
    """Return the parameters with what the connection needs, which is asked for.

    Raises:
        ConfigError: parameters are wrong or, if nobody can be asked, missing. Holds all problems.
    """
    given = dict(given)
    # Which tables is asked when they are known, and the destination last.
    wildcard = {} if any(name in given for name in tables.queries) else {tables.parameter: _wildcard(tables)}
    answered: set[str] = set()
    while True:
        values, problems = read_values({**wildcard, **given})
        problems += _plain_secrets(given)
        lacking = list(missing_parameters(values))
        if questions is None:
            problems += [missing_sentence(parameter, requirement) for parameter, requirement in lacking]
        if problems:
            raise ConfigError(problems)
        required = [parameter.name for parameter, _ in lacking if parameter.name not in _DESTINATION]
        unknown = [name for name in (*source.asks(values), *required) if name not in given.keys() | answered]
        if not unknown or questions is None:
            return given
        parameter = BY_NAME[unknown[0]]
        answer = _ask(parameter, questions, is_required=parameter.name in required)
        answered.add(parameter.name)
        if answer != (parameter.default or ""):
            given[parameter.name] = answer


def _plain_secrets(given: dict[str, str]) -> Iterator[str]:
    for name, text in given.items():
        parameter = BY_NAME[name]
        if parameter.secret and Secret(name, text, may_be_file=parameter.type is ParameterType.PEM).is_plain:
            yield f"{name} is the secret itself, which does not belong into a file: give env:NAME or {NAME_FORM}"


def _ask(parameter: Parameter, questions: Questions, default: str = "", *, is_required: bool = True) -> str:
    def problem(text: str) -> str | None:
        if not text:
            return f"for example {parameter.example}" if is_required else None
        try:
            read_value(parameter, text)
        except ConfigError as error:
            return str(error)
        return next(_plain_secrets({parameter.name: text}), None)

    default = default or parameter.default or ""
    hint = "" if is_required or default else " (empty: none)"
    if not parameter.secret:
        choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
        return questions.ask(f"{parameter.label}{choices}{hint}", default, problem)
    where = f"{parameter.label}: env:NAME for an environment variable, or a name in Secret Manager{hint}"
    answer = questions.ask(where, f"env:{parameter.name.upper()}" if is_required else "", problem)
    if not answer:
        return ""
    variable = Secret(parameter.name, answer).variable
    if variable is not None and variable not in os.environ:
        # Of this process alone; it is not written anywhere.
        os.environ[variable] = questions.ask_hidden(f"{variable} is not set; its value, for now")
        print(f"Before the next commands: read -rs {variable} && export {variable}", file=sys.stderr)
    return answer


def _read_catalog(
    given: dict[str, str], source: SourceDeclaration, tables: SourceTables, questions: Questions | None
) -> tuple[list[CatalogTable], Mapping[TableName, Mapping[str, str]]]:
    """Connect, and return the tables of the source, and `SourceCatalog.narrowing`. Raises SyncError."""
    from sync_pipeline.sources import open_catalog

    values, _ = read_values(given)
    problems = list(source.checks(values))
    if problems:
        raise ConfigError(problems)
    if questions is not None:
        print("Connecting …", file=sys.stderr)
    server = source.read_config(values.without(tables.parameter))
    with open_catalog(values["data_source"], server, values["max_retries"], _EveryTable()) as catalog:
        found = list(catalog.tables)
        return found, catalog.narrowing(found)


def _write(
    path: Path,
    given: dict[str, str],
    settings: dict[str, str],
    source: SourceDeclaration,
    tables: SourceTables,
    found: Sequence[CatalogTable],
    narrowing: Mapping[TableName, Mapping[str, str]],
    questions: Questions | None,
) -> None:
    from sync_pipeline.cli.found_tables import DEFAULT_COLUMN, FoundTable, mode_text, table_lines, timestamp_column
    from sync_pipeline.cli.written_file import Written, launch_file_text

    given, settings = dict(given), dict(settings)
    column = given.get("smart_sync_timestamp_column") or timestamp_column(found)
    if column != DEFAULT_COLUMN:
        given["smart_sync_timestamp_column"] = column
    seen = source.timestamp_column(column)
    names = {table.name: tables.syntax.written(table.name) for table in found}
    values = read_values(given)[0]

    def described(table: CatalogTable) -> FoundTable:
        mode = table.left_out or mode_text(
            table, seen, values.given, has_own_key=source.has_own_key, asked=values["table_mode"]
        )
        return FoundTable(names[table.name], table, mode, narrowing[table.name])

    shown = table_lines([described(table) for table in found], width_of(sys.stdout))
    print("\n".join(shown) if found else "The source has no tables.")
    by_query = any(name in given for name in tables.queries)
    if not by_query and tables.parameter not in given:
        given[tables.parameter] = _which(tables, found, questions)
    chosen = [] if by_query else _chosen(given, tables, found)
    given |= _said_mode(given, source, tables, chosen)
    for name in _DESTINATION:
        if name not in given and questions is not None:
            default = given.get("source_bigquery_project", "") if name == _DESTINATION[0] else ""
            given[name] = _ask(BY_NAME[name], questions, default)
    repeated = len({table.name.name for table in chosen}) < len(chosen)
    if repeated and "destination_bigquery_table" not in given:
        given["destination_bigquery_table"] = _SCHEMA_AND_TABLE
    if "temp_location" not in settings and questions is not None:
        settings["temp_location"] = questions.ask(
            "Folder in Cloud Storage, such as gs://my-bucket/tmp (empty: later)", check=_bucket_problem
        )
    written = Written(given, [described(table) for table in chosen], **settings)
    try:
        path.write_text(launch_file_text(written), encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path} cannot be written ({error.strerror})"]) from None


def _said_mode(
    given: dict[str, str], source: SourceDeclaration, tables: SourceTables, chosen: Sequence[CatalogTable]
) -> dict[str, str]:
    """Return the parameters of the mode that `init` shows, where a run would not find the mode by itself.

    A run looks for a table's mode in the catalog. A single name is not looked up there, and a run would append all
    its rows.
    """
    values = read_values(given)[0]
    named = values[tables.parameter]
    if tables.always_by_catalog or named is None or named.literal is None or len(chosen) != 1:
        return {}
    from sync_pipeline.planning.table_mode import mode_of

    column = source.timestamp_column(values["smart_sync_timestamp_column"])
    mode = mode_of(
        chosen[0],
        values.given,
        column,
        asked=values["table_mode"],
        smart_sync=values["enable_smart_sync"] if "enable_smart_sync" in values.given else None,
        has_own_key=source.has_own_key,
    )
    # A key is a tuple of columns.
    values_of = {name: list(value) if isinstance(value, tuple) else value for name, value in mode.implied.items()}
    return {name: str(text_of(name, value)) for name, value in values_of.items() if name not in given}


def _bucket_problem(text: str) -> str | None:
    return "write gs://BUCKET/FOLDER" if text and not text.startswith("gs://") else None


def _which(tables: SourceTables, found: Sequence[CatalogTable], questions: Questions | None) -> str:
    """Return the tables to sync: all that a wildcard chooses, unless a person names others."""
    choosable = [table for table in found if not table.left_out]
    default = _wildcard(tables)
    if len(choosable) == 1:
        default = tables.syntax.written(choosable[0].name)
    parameter = BY_NAME[tables.parameter]
    return default if questions is None else _ask(parameter, questions, default)


def _wildcard(tables: SourceTables) -> str:
    """Return the text that names all tables."""
    return "*.*" if tables.syntax.default_schema else "*"


def _chosen(given: dict[str, str], tables: SourceTables, found: Sequence[CatalogTable]) -> list[CatalogTable]:
    patterns = read_values(given)[0][tables.parameter]
    return [
        table for table in found if (patterns.names(table.name) if table.left_out else patterns.matches(table.name))
    ]
