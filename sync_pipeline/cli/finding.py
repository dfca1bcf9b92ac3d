"""One thing that `check` has tested."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.printable import on_one_line


@dataclass(frozen=True)
class Finding:
    """One thing that was tested.

    Attributes:
        subject: what was tested, a word.
        text: what was found, on one line.
        commands: what mends it, a command or statement each.
    """

    subject: str
    text: str
    is_fine: bool = True
    commands: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the finding and its commands as lines."""
        mark = "MISSING" if not self.is_fine else "note" if self.commands else "ok"
        commands = (f"             {on_one_line(command)}" for command in self.commands)
        return [on_one_line(f"{mark:<8} {self.subject:<9} {self.text}"), *commands]
