"""`transformation_config` as a validated value: how a run transforms the columns that it reads."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.identifiers import check_column
from sync_pipeline.parameters.parsing import read_json_object, shown
from sync_pipeline.suggestions import did_you_mean
from sync_pipeline.type_names import STANDARD_TYPE_NAMES, TYPE_NAMES

ROOT = "transformation_config"
Constant = str | int | float | bool

# Messages by pydantic's error type. Errors raised below have their own messages.
_WORDINGS = {
    "string_type": "must be a string",
    "dict_type": "must be a JSON object",
    "tuple_type": "must be a list",
}
_OURS = "ours"


def _refusal(reason: str) -> PydanticCustomError:
    return PydanticCustomError(_OURS, "{reason}", {"reason": reason})


def _check_source_name(name: str) -> str:
    if not name:
        raise _refusal("a column's name is missing")
    return name


def _check_new_name(name: str) -> str:
    reason = check_column(name)
    if reason is not None:
        raise _refusal(f"{shown(name)}: {reason}")
    return name


def _standard_type(name: str) -> str:
    standard = STANDARD_TYPE_NAMES.get(name.upper(), name.upper())
    if standard not in TYPE_NAMES:
        hint = did_you_mean(name, TYPE_NAMES)
        raise _refusal(f"{shown(name)} is none of {', '.join(TYPE_NAMES)}{hint}")
    return standard


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise _refusal("the list is empty; omit the key instead")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _refusal(f"{', '.join(map(shown, repeated))} is a duplicate")
    return names


def _check_constant(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise _refusal("a constant is a string, a number, true or false")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _refusal("the number is too large for INT64")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refusal("the number is too large for FLOAT64")
    return value


_SourceName = Annotated[str, AfterValidator(_check_source_name)]
_NewName = Annotated[str, AfterValidator(_check_new_name)]
_TypeName = Annotated[str, AfterValidator(_standard_type)]
_Names = Annotated[tuple[_SourceName, ...], AfterValidator(_check_names)]


class TransformationConfig(BaseModel):
    """The transformation of columns. Keys are the query's column names; only `constant_fields` names new columns.

    Attributes:
        field_mappings: column → its name in the destination.
        include_fields: the columns to read; empty for all.
        exclude_fields: columns not to read.
        type_overrides: column → its BigQuery type.
        constant_fields: new column → the value all rows have.
        hash_fields: columns whose values are replaced by their SHA-256.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    field_mappings: dict[_SourceName, _NewName] = {}
    include_fields: _Names = ()
    exclude_fields: _Names = ()
    type_overrides: dict[_SourceName, _TypeName] = {}
    constant_fields: dict[_NewName, Annotated[Constant, BeforeValidator(_check_constant)]] = {}
    hash_fields: _Names = ()

    @classmethod
    def from_json(cls, text: str) -> TransformationConfig:
        """Parse the configuration. An empty text transforms nothing.

        Raises:
            ConfigError: the text is invalid; holds all problems, each with its path in the JSON.
        """
        if not text:
            return cls()
        try:
            keys = read_json_object(text)
        except ValueError as error:
            raise ConfigError([f"{ROOT} is {shown(text)}: {error}"]) from None
        problems: list[str] = []
        try:
            config = cls.model_validate_json(text)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            problems += [_sentence(detail) for detail in details]
            # Checks the rest too, so that one run reports all problems.
            wrong = {detail["loc"][0] for detail in details}
            config = cls.model_validate_json(json.dumps({key: keys[key] for key in keys.keys() - wrong}))
        problems += _contradictions(config)
        if problems:
            raise ConfigError(problems)
        return config


def _sentence(detail: ErrorDetails) -> str:
    path = ROOT
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}"
    if detail["type"] == "extra_forbidden":
        known = TransformationConfig.model_fields
        hint = did_you_mean(str(detail["loc"][-1]), known)
        return f"{path}: unknown key{hint or '; known are ' + ', '.join(known)}"
    return f"{path}: {_WORDINGS.get(detail['type'], detail['msg'])}"


def _contradictions(config: TransformationConfig) -> Iterator[str]:
    for name in config.exclude_fields:
        if name in config.include_fields:
            yield f"{ROOT}.exclude_fields: {shown(name)} is in include_fields as well"
    for name in config.hash_fields:
        if name in config.type_overrides:
            yield f"{ROOT}.type_overrides.{name}: the column is in hash_fields, and a hash is always a STRING"
    targets = [(f"field_mappings.{source}", target) for source, target in config.field_mappings.items()]
    targets += [(f"constant_fields.{name}", name) for name in config.constant_fields]
    first: dict[str, str] = {}
    for path, target in targets:
        earlier = first.setdefault(target.lower(), path)
        if earlier != path:
            yield f"{ROOT}.{path}: the destination has one column {shown(target)} already, from {earlier}"
