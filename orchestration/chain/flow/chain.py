"""`Chain`: the steps of a chain and their order, as the function reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """One job of a chain.

    Attributes:
        launch: the `launchParameter` of the request, without a job name; its texts may have placeholders.
        next: the steps that this one's success allows.
        on_failure: the steps to start if this one fails or is cancelled.
    """

    name: str
    launch: Mapping[str, Any]
    next: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """Steps in one project and region.

    Attributes:
        time_zone: the zone of the dates that steps get.
        steps: by name, in the order of the file.
    """

    name: str
    project: str
    region: str
    time_zone: str
    steps: Mapping[str, Step]

    @property
    def first(self) -> list[str]:
        """The steps that wait for no other."""
        return [name for name in self.steps if not self.before(name) and not self.failures_before(name)]

    def before(self, name: str) -> list[str]:
        """Return the steps that must all succeed before a step starts."""
        return [step.name for step in self.steps.values() if name in step.next]

    def failures_before(self, name: str) -> list[str]:
        """Return the steps of which one must fail for a step to start."""
        return [step.name for step in self.steps.values() if name in step.on_failure]

    def ancestors(self, name: str) -> set[str]:
        """Return all steps that have succeeded when a step starts because of its `next` edges."""
        found: set[str] = set()
        waiting = self.before(name)
        while waiting:
            step = waiting.pop()
            if step not in found:
                found.add(step)
                waiting += self.before(step)
        return found

    def to_json(self) -> str:
        """Return the chain as the text of a file that `read_rendered` reads."""
        return json.dumps({**asdict(self), "steps": [asdict(step) for step in self.steps.values()]}, indent=2) + "\n"


def from_json(text: str) -> Chain:
    """Return the chain of a rendered text."""
    content = json.loads(text)
    steps = [
        Step(**{**step, "next": tuple(step["next"]), "on_failure": tuple(step["on_failure"])})
        for step in content.pop("steps")
    ]
    return Chain(**content, steps={step.name: step for step in steps})


def read_rendered(folder: Path) -> dict[str, Chain]:
    """Return the chains of all `*.json` files in a folder, by name.

    Raises:
        ValueError: two files have chains of one name.
    """
    chains = [from_json(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return by_name(chains)


def by_name(chains: Iterable[Chain]) -> dict[str, Chain]:
    """Return the chains by name. Raises ValueError if two have one name."""
    found: dict[str, Chain] = {}
    for chain in chains:
        if chain.name in found:
            raise ValueError(f"there are two chains named {chain.name}")
        found[chain.name] = chain
    return found
