"""Draws a chain as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Callable

from orchestration.chain.flow.chain import Chain, Step


def mermaid(chain: Chain) -> str:
    """Return the chain as a Mermaid diagram."""
    lines = ["flowchart TD"]
    identifiers = {name: f"s{number}" for number, name in enumerate(chain.steps)}
    lines += [f'    {identifiers[name]}["{name}"]' for name in chain.steps]
    edges: tuple[tuple[str, Callable[[Step], tuple[str, ...]]], ...] = (
        ("-->", lambda step: step.next),
        ("-. on failure .->", lambda step: step.on_failure),
    )
    for arrow, following in edges:
        lines += [
            f"    {identifiers[step.name]} {arrow} {identifiers[other]}"
            for step in chain.steps.values()
            for other in following(step)
        ]
    return "\n".join(lines) + "\n"
