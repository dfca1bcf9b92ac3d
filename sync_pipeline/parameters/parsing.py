"""Converts the texts of parameters to values: one reader per type."""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.destination_names import check_destination
from sync_pipeline.parameters.hosts import check_instance, holds_password, parse_host, without_passwords
from sync_pipeline.parameters.identifiers import (
    TableId,
    check_column,
    check_dataset,
    check_kms_key,
    check_project,
    check_table,
    parse_source_table,
)
from sync_pipeline.parameters.parameter import Parameter, ParameterType, ParameterValues
from sync_pipeline.parameters.secrets import NAME_FORM, REGIONAL_NAME_FORM, Secret, looks_like_a_name
from sync_pipeline.parameters.table import BY_NAME, PARAMETERS
from sync_pipeline.parameters.table_patterns import TableSyntax
from sync_pipeline.parameters.timestamps import parse_timestamp
from sync_pipeline.suggestions import did_you_mean

_MAX_SHOWN = 100
_BOOLEANS = {"true": True, "false": False}


def read_values(parameters: Mapping[str, str]) -> tuple[ParameterValues, list[str]]:
    """Parse all texts. Return the values, and one sentence for each invalid text."""
    problems = [
        f"{without_passwords(name)} is not a parameter of this template{did_you_mean(name, BY_NAME)}"
        for name in parameters
        if name not in BY_NAME
    ]
    values: dict[str, Any] = {}
    given, malformed = set(), set()
    for parameter in PARAMETERS:
        name, text = parameter.name, parameters.get(parameter.name, "")
        default = _read(parameter, parameter.default) if parameter.default is not None else None
        # Consoles send an empty text for an empty field.
        if not text.strip():
            values[name] = default
            continue
        try:
            values[name] = read_value(parameter, text)
        except ConfigError as error:
            problems += error.problems
            values[name] = None
            malformed.add(name)
        if values[name] != default or parameter.asks:
            given.add(name)
    return ParameterValues(values, frozenset(given), frozenset(malformed)), problems


def read_value(parameter: Parameter, text: str) -> Any:
    """Parse the text of one parameter.

    Raises:
        ConfigError: the text is invalid.
    """
    try:
        check_text(text)
        return _read(parameter, text)
    except ValueError as error:
        raise ConfigError([_problem(parameter, text, str(error))]) from None


def check_text(text: str) -> None:
    """Check a text that is sent to a server.

    Raises:
        ValueError: it has a NUL, or a lone surrogate: Python's form of a command-line byte that is not UTF-8.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it has a NUL, or bytes that are not UTF-8")


def read_json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: `text` is not a JSON object; for a syntax error, the message has line and column.
    """
    try:
        # Python's parser accepts NaN and Infinity, and silently keeps the last of duplicate keys.
        value: dict[str, Any] = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not text.lstrip().startswith("{"):
        raise ValueError('it must be a JSON object, {"key": value}')
    return value


def shown(text: str) -> str:
    """Return `text` for a message: on one line, truncated, and without possible passwords."""
    text = without_passwords(text)
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}...")


def _problem(parameter: Parameter, text: str, reason: str) -> str:
    # An invalid host may be an address that contains a password.
    if parameter.secret or parameter.type is ParameterType.HOST or holds_password(text):
        return f"{parameter.name} cannot be used: {reason}"
    return f"{parameter.name} is {shown(text)}: {reason}"


def _read(parameter: Parameter, text: str) -> Any:
    if parameter.secret:
        return _read_secret(parameter, text)
    if parameter.type is not ParameterType.HOST and holds_password(text):
        raise ValueError(
            "it looks like an address with a password, which would be stored in plain text; passwords have a separate "
            "parameter"
        )
    return parameter.read(text) if parameter.read else READERS[parameter.type](parameter, text)


def _read_secret(parameter: Parameter, text: str) -> Secret:
    secret = Secret(parameter.name, text, may_be_file=parameter.type is ParameterType.PEM)
    if secret.is_plain and looks_like_a_name(text):
        raise ValueError(
            f"it looks like the name of a secret, but the format is {NAME_FORM} (a regional one "
            f"{REGIONAL_NAME_FORM}), or env:VARIABLE outside Dataflow"
        )
    if parameter.type is ParameterType.PEM and secret.is_plain and "-----BEGIN" not in text:
        raise ValueError(f"write {NAME_FORM}, gs://BUCKET/OBJECT, or the absolute path of a file")
    return secret


def _read_pem(_: Parameter, text: str) -> str:
    if "-----BEGIN" in text:
        raise ValueError("give its location: a version in Secret Manager, a gs:// object, or a path")
    return text


def _read_text(_: Parameter, text: str) -> str:
    return text


def _read_host(parameter: Parameter, text: str) -> str:
    port = parameter.name.replace("host", "port")
    return parse_host(text, port, has_sockets=False, several="other servers may have other rows")


def _read_boolean(_: Parameter, text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError("write true or false")
    return _BOOLEANS[text.lower()]


def _read_integer(parameter: Parameter, text: str) -> int:
    # Checks the length first, because int() raises for texts of thousands of digits.
    if re.fullmatch("[0-9]{1,18}", text) and parameter.minimum <= int(text) <= parameter.maximum:
        return int(text)
    raise ValueError(f"write a whole number from {parameter.minimum} to {parameter.maximum}")


def _read_choice(parameter: Parameter, text: str) -> str:
    if text not in parameter.choices:
        allowed = f"{', '.join(parameter.choices[:-1])} or {parameter.choices[-1]}"
        raise ValueError(f"write {allowed}{did_you_mean(text, parameter.choices)}")
    return text


def _read_json(_: Parameter, text: str) -> str:
    read_json_object(text)
    return text


def _checked(check: Callable[[str], str | None]) -> Callable[[Parameter, str], str]:
    def read(_: Parameter, text: str) -> str:
        reason = check(text)
        if reason is not None:
            raise ValueError(reason)
        return text

    return read


def _read_columns(parameter: Parameter, text: str) -> tuple[str, ...]:
    # Strips only spaces, as the pattern in the metadata does: it does not allow line breaks.
    names = tuple(item.strip(" ") for item in text.split(","))
    if "" in names:
        raise ValueError("an item is empty; separate the columns by single commas")
    for name in names:
        reason = check_column(name)
        if reason is not None:
            raise ValueError(f"{shown(name)}: {reason}")
    if len({name.lower() for name in names}) < len(names):
        raise ValueError("a column is named twice")
    if len(names) > parameter.maximum:
        raise ValueError(f"BigQuery allows at most {parameter.maximum} columns, but {len(names)} are given")
    return names


def _read_table_id(_: Parameter, text: str) -> TableId:
    # A domain-scoped project id has a domain, and thus dots, before a colon.
    match = re.fullmatch(r"((?:[^:]*:)?[^.:]*)\.([^.:]*)\.([^.:]*)", text)
    if match is None:
        raise ValueError("write project.dataset.table")
    for check, part in zip((check_project, check_dataset, check_table), match.groups(), strict=True):
        reason = check(part)
        if reason is not None:
            raise ValueError(f"{shown(part)}: {reason}")
    return TableId(*match.groups())


def _read_time_zone(_: Parameter, text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(text, zoneinfo.available_timezones())
        raise ValueError(f"write a name of the IANA time zone database, such as Europe/London{hint}") from None
    return text


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {shown(repeated)} is a duplicate")
    return value


READERS: Mapping[ParameterType, Callable[[Parameter, str], Any]] = {
    ParameterType.TEXT: _read_text,
    ParameterType.HOST: _read_host,
    ParameterType.PEM: _read_pem,
    ParameterType.INSTANCE: _checked(check_instance),
    ParameterType.BOOLEAN: _read_boolean,
    ParameterType.INTEGER: _read_integer,
    ParameterType.CHOICE: _read_choice,
    ParameterType.JSON: _read_json,
    ParameterType.PROJECT: _checked(check_project),
    ParameterType.DATASET: _checked(check_dataset),
    ParameterType.TABLE: _checked(check_destination),
    ParameterType.COLUMN: _checked(check_column),
    ParameterType.COLUMNS: _read_columns,
    ParameterType.TABLE_ID: _read_table_id,
    ParameterType.TIME_ZONE: _read_time_zone,
    ParameterType.TIMESTAMP: lambda _, text: parse_timestamp(text),
    ParameterType.KMS_KEY: _checked(check_kms_key),
    ParameterType.SOURCE_TABLE: lambda _, text: parse_source_table(text),
    ParameterType.TABLES: lambda _, text: TableSyntax().parse(text),
}
