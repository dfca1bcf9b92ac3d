"""The table of the template's parameters: the shared ones and those of each source.

The command line, the Beam options, `metadata.json` and the tables of the documents are made from `PARAMETERS`.
`parsing` reads the values by its rows, and hides those of secrets in errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from sync_pipeline.parameters.declaration import SourceDeclaration, declarations
from sync_pipeline.parameters.parameter import Group, Parameter
from sync_pipeline.parameters.rows import DESTINATION, SHARED_PARAMETERS


def headings(sources: Mapping[str, SourceDeclaration]) -> Iterator[str]:
    """Yield the headings under which consoles, `--help` and the documents show the parameters."""
    for group in Group:
        yield str(group)
        yield from (source.heading for source in sources.values() if source.group_after is group)


def whole_table(shared: Sequence[Parameter], sources: Mapping[str, SourceDeclaration]) -> Iterator[Parameter]:
    """Yield all parameters, heading by heading. Raises ValueError when two different ones have the same name."""
    owned = _owned(sources)
    if taken := owned.keys() & {row.name for row in shared}:
        raise ValueError(f"{', '.join(sorted(taken))} is declared by a source, and is a shared parameter")
    # Without a query, the destination's name follows from the source's table.
    tables = tuple(source.tables.parameter for source in sources.values() if source.tables)
    for heading in headings(sources):
        rows = [
            _unless_given(row, tables) if row.name == DESTINATION[-1] else row for row in shared if row.group == heading
        ]
        for row in owned.values():
            if row.group == heading:
                names = [known.name for known in rows]
                rows.insert(names.index(row.after) + 1 if row.after else len(rows), row)
        yield from rows


def _unless_given(row: Parameter, names: tuple[str, ...]) -> Parameter:
    return replace(row, required=tuple(replace(case, unless=(*names, *case.unless)) for case in row.required))


def _owned(sources: Mapping[str, SourceDeclaration]) -> dict[str, Parameter]:
    """Return the sources' parameters by name, each with its sources, and required only in runs that read one."""
    listed: dict[str, list[tuple[str, Parameter]]] = {}
    for source, declaration in sources.items():
        for row in declaration.parameters:
            listed.setdefault(row.name, []).append((source, row))
    owned = {}
    for name, entries in listed.items():
        names, (row, *others) = zip(*entries, strict=True)
        if any(other != row for other in others):
            raise ValueError(f"{name} is declared differently by {' and '.join(names)}")
        cases = tuple(replace(case, when=(("data_source", names), *case.when)) for case in row.required)
        owned[name] = replace(row, group=row.group or sources[names[0]].heading, sources=names, required=cases)
    return owned


_DECLARATIONS = declarations()
HEADINGS: tuple[str, ...] = tuple(headings(_DECLARATIONS))
PARAMETERS: tuple[Parameter, ...] = tuple(whole_table(SHARED_PARAMETERS, _DECLARATIONS))
BY_NAME: Mapping[str, Parameter] = MappingProxyType({parameter.name: parameter for parameter in PARAMETERS})
