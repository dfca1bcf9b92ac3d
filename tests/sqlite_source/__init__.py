"""SQLite as a source: the smallest that is whole, registered by one line of `sync_pipeline.registry.SOURCES`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sync_pipeline.parameters.declaration import SourceDeclaration
from sync_pipeline.parameters.parameter import ALWAYS, Parameter, ParameterType, ParameterValues
from sync_pipeline.smart_sync.placeholder_columns import in_sql

_TEXT = partial(Parameter, type=ParameterType.TEXT, required=(ALWAYS,))
PARAMETERS = (
    _TEXT("sqlite_file", "SQLite file", "Path of the database, as the workers reach it.", example="/data/shop.db"),
    _TEXT("sqlite_query", "SQLite query", "The SELECT that is synced.", example="SELECT * FROM orders"),
)


@dataclass(frozen=True)
class SqliteConfig:
    """The database and what is asked of it."""

    file: str
    query: str


def _checks(values: ParameterValues) -> Iterator[str]:
    if values["sqlite_file"] == ":memory:":
        yield "sqlite_file is ':memory:', which no worker can reach: give the path of a file"


SOURCE = SourceDeclaration(
    label="SQLite",
    parameters=PARAMETERS,
    read_config=lambda values: SqliteConfig(values["sqlite_file"], values["sqlite_query"]),
    checks=_checks,
    query="sqlite_query",
    comparisons=in_sql("sqlite"),
)
