"""What a row of the parameters' table says, and the values that a run's texts are read to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ParameterType(StrEnum):
    """What a parameter's text stands for; `parsing.READERS` has a row for each."""

    TEXT = "Text"
    HOST = "Host"
    PEM = "Certificate or key"
    INSTANCE = "Managed instance"
    BOOLEAN = "Boolean"
    INTEGER = "Integer"
    CHOICE = "Choice"
    JSON = "JSON object"
    PROJECT = "Project id"
    DATASET = "Dataset"
    TABLE = "Table"
    TABLE_ID = "Table with project and dataset"
    TIME_ZONE = "Time zone"
    KMS_KEY = "Key in Cloud KMS"
    COLUMN = "Column"
    COLUMNS = "List of columns"
    SOURCE_TABLE = "Table of the source"


class Group(StrEnum):
    """The headings of the parameters that no source owns; each source adds one (`SourceDeclaration.group`)."""

    CORE = "Core"
    SMART_SYNC = "Smart Sync"
    AUTO_SCHEMA = "Auto-Schema"
    ADDITIONAL = "Additional"


@dataclass(frozen=True)
class Requirement:
    """A case in which a parameter must be given.

    Attributes:
        when: pairs of parameter and values: each has one of its values.
        given: parameters that have been given.
        unless: parameters of which one, when given, does instead.
    """

    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    given: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    def __str__(self) -> str:
        clauses = [f"{name} is {' or '.join(values)}" for name, values in self.when]
        clauses += [f"{name} is given" for name in self.given]
        return " and ".join(clauses) + "".join(f", unless {name} is given" for name in self.unless)


ALWAYS = Requirement()


def when(*unless_given: str, given: str = "", **values: str) -> Requirement:
    """Return the case that each named parameter has one of its values, written `a|b`, and none of `unless_given` is."""
    pairs = tuple((name, tuple(text.split("|"))) for name, text in values.items())
    return Requirement(pairs, given=(given,) if given else (), unless=unless_given)


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        help: whole sentences, for consoles, `--help` and README.
        group: the heading it is shown under; a source's row without one is shown under the source's.
        after: of a source's row under a heading that is not the source's: the row it follows; empty for the end.
        default: the text used when nothing or an empty text is given; None when there is no default.
        choices: the allowed texts of a CHOICE.
        minimum, maximum: the range of an INTEGER, both included; of COLUMNS, how many there can be.
        secret: the value is never shown; it may be the name of a secret in Secret Manager.
        required: the cases in which it must be given; empty when it never must. For a source's row, cases of a run that
            reads the source: the table adds that condition.
        read: reads the text where its type alone does not say how; raises ValueError with what is wrong.
        sources: the values of `data_source` for which it has a meaning, empty for all. The table fills it in.
    """

    name: str
    label: str
    help: str
    type: ParameterType
    group: str = ""
    example: str = field(kw_only=True)
    after: str = ""
    default: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    secret: bool = False
    required: tuple[Requirement, ...] = ()
    read: Callable[[str], Any] | None = None
    sources: tuple[str, ...] = ()

    @property
    def required_text(self) -> str:
        """`Yes`, `No`, or the cases in which the parameter must be given."""
        if ALWAYS in self.required:
            return "Yes"
        return "; or ".join(f"when {requirement}" for requirement in self.required) or "No"

    def is_for(self, source: str | None) -> bool:
        """Whether it has a meaning for a run that reads `source`."""
        return not self.sources or source in self.sources


@dataclass(frozen=True)
class ParameterValues:
    """The value of every parameter: what was given, else the default, else None.

    Attributes:
        given: names given with anything but their default. Launchers that import a template send every parameter with
            its default, so a default says nothing about what somebody wants.
        malformed: names whose text could not be read; their value is None.
    """

    values: Mapping[str, Any]
    given: frozenset[str]
    malformed: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def given_of(self, *names: str) -> list[str]:
        """Return those of `names` that are given, in their order."""
        return [name for name in names if name in self.given]


def ignored(names: list[str], reason: str) -> str:
    """Return the sentence on parameters that were given and have no effect."""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} ignored: {reason}"
