"""Records the demo as a picture that moves: `make recording` writes `docs/demo.svg`.

python -m sandbox.demo_recording FILE

The picture is one SVG without scripts: an animation of CSS scrolls the lines, at the speed of the recorded run but with
shorter pauses.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI as THEME
from rich.text import Text

COLUMNS, ROWS = 100, 26
_ROOT = Path(__file__).parents[1]
_FONT, _WIDTH, _HEIGHT, _MARGIN = 13, 7.83, 18, 12
_LONGEST_PAUSE, _LINE_SECONDS, _END_SECONDS = 0.8, 0.06, 6.0


@dataclass(frozen=True)
class Line:
    """A line of a terminal, with escape sequences for its colours, and the seconds after which it appeared."""

    seconds: float
    text: str


def record(command: Sequence[str]) -> list[Line]:
    """Run a command and return what it prints. Raises CalledProcessError if it fails."""
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        # The picture is for others, who have another folder.
        lines = [
            Line(time.monotonic() - began, line.rstrip("\n").replace(str(_ROOT), "sync-to-bigquery"))
            for line in process.stdout
        ]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return lines


def paced(lines: Iterable[Line]) -> list[Line]:
    """Shorten pauses, and give each line the time to be seen."""
    shown, before, now = [], 0.0, 0.0
    for line in lines:
        now += min(max(line.seconds - before, _LINE_SECONDS), _LONGEST_PAUSE)
        before = line.seconds
        shown.append(Line(now, line.text))
    return shown


def render(lines: Sequence[Line], title: str) -> str:
    """Return the SVG of paced lines, which scroll from below and stay a while at the end."""
    total = lines[-1].seconds + _END_SECONDS
    width, height = round(COLUMNS * _WIDTH + 2 * _MARGIN), (ROWS + 2) * _HEIGHT
    frames = "".join(
        f"{100 * line.seconds / total:.2f}%{{transform:translateY({(ROWS - 1 - number) * _HEIGHT}px)}}"
        for number, line in enumerate(lines)
    )
    last = f"translateY({(ROWS - len(lines)) * _HEIGHT}px)"
    body = "\n".join(
        f'<text x="0" y="{(number + 1) * _HEIGHT - 5}">{_spans(line.text)}</text>' for number, line in enumerate(lines)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>{escape(title)}</title>
<style>
text {{ font: {_FONT}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; \
fill: {THEME.foreground_color.hex} }}
.lines {{ transform: {last}; animation: scroll {total:.1f}s step-end infinite }}
@media (prefers-reduced-motion: reduce) {{ .lines {{ animation: none }} }}
@keyframes scroll {{ 0% {{ transform: translateY({ROWS * _HEIGHT}px) }} {frames} 100% {{ transform: {last} }} }}
</style>
<rect width="{width}" height="{height}" rx="8" fill="{THEME.background_color.hex}"/>
<text x="{_MARGIN}" y="{_HEIGHT}" opacity="0.6">$ {escape(title)}</text>
<svg x="{_MARGIN}" y="{1.5 * _HEIGHT}" width="{width - 2 * _MARGIN}" height="{ROWS * _HEIGHT}">
<g class="lines">
{body}
</g>
</svg>
</svg>
"""


def _spans(ansi: str) -> str:
    """Return a line as elements of SVG, one for each style, cut at the terminal's width."""
    text = Text.from_ansi(ansi)
    if len(text) > COLUMNS:
        text = Text.assemble(text[: COLUMNS - 1], "…")
    console = Console(color_system="truecolor", width=10 * COLUMNS)
    spans, column = [], 0
    for segment in text.render(console):
        # Boxes are aligned in any font: each part has its own place.
        place = f'x="{column * _WIDTH:.1f}" textLength="{len(segment.text) * _WIDTH:.1f}"'
        column += len(segment.text)
        if segment.text.strip():
            spans.append(f"<tspan {place}{_attributes(segment.style)}>{escape(segment.text)}</tspan>")
    return "".join(spans)


def _attributes(style: Style | None) -> str:
    if style is None:
        return ""
    attributes = ' font-weight="bold"' if style.bold else ""
    attributes += ' opacity="0.65"' if style.dim else ""
    if style.color is not None and not style.color.is_default:
        attributes += f' fill="{style.color.downgrade(ColorSystem.TRUECOLOR).get_truecolor(THEME).hex}"'
    return attributes


def main(argv: Sequence[str]) -> int:
    """Record the demo into the file that is named, and return the exit code."""
    (name,) = argv
    try:
        lines = record([sys.executable, "-m", "sandbox.demo"])
    except subprocess.CalledProcessError as error:
        print(f"the demo ended with exit code {error.returncode}: nothing is written", file=sys.stderr)
        return 1
    Path(name).write_text(render(paced(lines), "make demo"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
