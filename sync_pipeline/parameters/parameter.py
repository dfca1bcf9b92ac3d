"""The definition of a parameter, and the values of all parameters of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class ParameterType(StrEnum):
    """The type of a parameter's value; `parsing.READERS` has a reader for each."""

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
    TIMESTAMP = "Timestamp"
    KMS_KEY = "Key in Cloud KMS"
    COLUMN = "Column"
    COLUMNS = "List of columns"
    SOURCE_TABLE = "Table of the source"
    TABLES = "Tables of the source"


class Group(StrEnum):
    """The headings of shared parameters. Each source adds its own heading (`SourceDeclaration.heading`)."""

    CORE = "Core"
    SMART_SYNC = "Smart Sync"
    AUTO_SCHEMA = "Auto-Schema"
    ADDITIONAL = "Additional"


@dataclass(frozen=True)
class Requirement:
    """A case in which a parameter is required.

    Attributes:
        when: pairs of a parameter and values; each parameter has one of its values.
        given: parameters that are given.
        unless: alternatives; if one of them is given, the parameter is not required.
    """

    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    given: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    def __str__(self) -> str:
        clauses = [f"{name} is {' or '.join(values)}" for name, values in self.when]
        clauses += [f"{name} is given" for name in self.given]
        return " and ".join(clauses) + (f", unless {' or '.join(self.unless)} is given" if self.unless else "")


ALWAYS = Requirement()


def when(*unless_given: str, given: str = "", **values: str) -> Requirement:
    """Return the requirement for the case that each parameter has one of its values, written `a|b`.

    It does not apply if a parameter of `unless_given` is given.
    """
    pairs = tuple((name, tuple(text.split("|"))) for name, text in values.items())
    return Requirement(pairs, given=(given,) if given else (), unless=unless_given)


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        help: complete sentences for consoles, `--help` and the documents.
        group: the heading above it; None means the source's heading.
        after: for a source's parameter under another heading, the parameter that it follows; empty for the end.
        default: the text used if nothing or an empty text is given; None without a default.
        choices: the allowed texts of a CHOICE.
        minimum, maximum: the inclusive range of an INTEGER; for COLUMNS, `maximum` is the largest number of columns.
        secret: whether to hide the value, which may be the name of a secret in Secret Manager.
        required: the cases in which it is required; empty for an optional parameter. For a source's parameter, the
            table adds the condition that the run reads the source.
        read: a custom reader for the text; raises ValueError with the problem.
        sources: the values of `data_source` that use it, empty for all. The table fills this in.
        by_table: whether the tables of one run may have different values, in `tables_file`.
        asks: whether giving the default asks for more than giving nothing. It counts as given then, and neither
            `metadata.json` nor a job tells the default to a launcher, which would send it back.
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
    by_table: bool = False
    asks: bool = False

    @property
    def required_text(self) -> str:
        """`Yes`, `No`, or the cases in which the parameter is required."""
        if ALWAYS in self.required:
            return "Yes"
        texts = (str(requirement) for requirement in self.required)
        return "; or ".join(text[2:] if text.startswith(", ") else f"when {text}" for text in texts) or "No"

    def is_for(self, source: str | None) -> bool:
        """Whether a run that reads `source` uses it."""
        return not self.sources or source in self.sources


@dataclass(frozen=True)
class ParameterValues:
    """The value of every parameter: the given value, else the default, else None.

    Attributes:
        given: names with a value other than the default, or with any if the parameter `asks`. Launchers that import a
            template send every parameter with its default, so a default does not express an intention.
        malformed: names whose text could not be parsed; their value is None.
    """

    values: Mapping[str, Any]
    given: frozenset[str]
    malformed: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def with_value(self, name: str, value: Any, *, malformed: bool = False) -> ParameterValues:
        """Return these values with another for one name."""
        names = self.malformed | {name} if malformed else self.malformed
        return replace(self, values={**self.values, name: value}, malformed=names)

    def without(self, name: str) -> ParameterValues:
        """Return these values as if one parameter, which has no default, were not given."""
        return replace(self, values={**self.values, name: None}, given=self.given - {name})

    def with_given(self, values: Mapping[str, Any]) -> ParameterValues:
        """Return these values with others, which count as given even if they are the defaults."""
        return replace(self, values={**self.values, **values}, given=self.given | values.keys())

    def given_of(self, *names: str) -> list[str]:
        """Return the given parameters among `names`, in order."""
        return [name for name in names if name in self.given]


def ignored(names: list[str], reason: str) -> str:
    """Return the sentence about given parameters without effect."""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} ignored: {reason}"
