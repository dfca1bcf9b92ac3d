"""`completion`: scripts by which a shell completes commands, options, parameters and their values.

They hold all words, so that a shell starts no Python while somebody types.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from sync_pipeline.cli.program import COMMANDS, PROGRAM
from sync_pipeline.launching.__main__ import PARTS
from sync_pipeline.parameters.local_flags import JSON, LOCAL_FLAGS, TEXT
from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.table import PARAMETERS

_SHELLS = ("bash", "zsh", "fish")
_CHAIN = ("check", "graph", "render", "run")
# Options that have no value.
_SWITCHES = frozenset(
    {"until-current", "detailed-exitcode", "repair", "force", "no-input", "update", "execute", "validate-only"}
)
_BASH = """\
_sync_to_bigquery() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} name= words=
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W "{commands} --help --version" -- "$word"))
        return
    fi
    # Bash takes the sign between a name and its value for a word.
    if [[ $word == = ]]; then
        name=${{COMP_WORDS[COMP_CWORD - 1]}} word=
    elif [[ ${{COMP_WORDS[COMP_CWORD - 1]}} == = ]]; then
        name=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    if [[ -n $name ]]; then
        case $name in
{values}
        esac
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        return
    fi
    case $command in
{options}
    esac
    if [[ $word == --* || $command == chain && $COMP_CWORD -eq 2 || $command == completion ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        [[ ${{COMPREPLY-}} == *= ]] && compopt -o nospace
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _sync_to_bigquery {program}
"""


def main(argv: Sequence[str]) -> int:
    """Print the script of a shell; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} completion",
        description="Print the completion script of a shell. For bash, add this line to ~/.bashrc: "
        f'eval "$({PROGRAM} completion bash)"',
    )
    parser.add_argument("shell", choices=_SHELLS)
    print(_SCRIPTS[parser.parse_args(argv).shell](), end="")
    return 0


def options_of(command: str) -> list[str]:
    """Return the words that may follow a command, besides a file; names that have a value end with `=`."""
    match command:
        case "chain":
            return list(_CHAIN)
        case "completion":
            return list(_SHELLS)
        case "version":
            return []
        case "launch":
            own = ["only", "update", "execute", "validate-only", "help"]
        case "init":
            own = ["force", "no-input", "temp_location", "region", "template", "job_name", "help"]
        case "check":
            own = ["temp_location", "help"]
        case _:
            own = [*LOCAL_FLAGS, "temp_location", "help", *(["repair"] if command == "reconcile" else [])]
    names = [*own, *(parameter.name for parameter in PARAMETERS)]
    return [f"--{name}" if name in _SWITCHES or name == "help" else f"--{name}=" for name in names]


def values_of() -> dict[str, tuple[str, ...]]:
    """Return the values of each name that has a few."""
    values: dict[str, tuple[str, ...]] = {"output": (TEXT, JSON), "only": tuple(PARTS)}
    for parameter in PARAMETERS:
        if parameter.choices:
            values[parameter.name] = parameter.choices
        elif parameter.type is ParameterType.BOOLEAN:
            values[parameter.name] = ("true", "false")
    return values


def _bash() -> str:
    values = "\n".join(f'            --{name}) words="{" ".join(texts)}" ;;' for name, texts in values_of().items())
    options = "\n".join(f'        {command}) words="{" ".join(options_of(command))}" ;;' for command in COMMANDS)
    return _BASH.format(commands=" ".join(COMMANDS), values=values, options=options, program=PROGRAM)


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    lines = [
        f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {name} -d '{text}'" for name, text in COMMANDS.items()
    ]
    values = values_of()
    for command in COMMANDS:
        seen = f"-n '__fish_seen_subcommand_from {command}'"
        for word in options_of(command):
            name = word.removeprefix("--").removesuffix("=")
            if not word.startswith("--"):
                lines.append(f"complete -c {PROGRAM} {seen} -f -a {word}")
            elif word.endswith("="):
                choices = f" -x -a '{' '.join(values[name])}'" if name in values else " -r"
                lines.append(f"complete -c {PROGRAM} {seen} -l {name}{choices}")
            else:
                lines.append(f"complete -c {PROGRAM} {seen} -l {name}")
    return "\n".join(lines) + "\n"


_SCRIPTS: Mapping[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
