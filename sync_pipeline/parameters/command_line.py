"""The command line: separates the template's parameters from Beam's options, and reports every error."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sync_pipeline
from sync_pipeline.errors import ConfigError
from sync_pipeline.parameters.beam_words import BeamWords
from sync_pipeline.parameters.declaration import declarations
from sync_pipeline.parameters.hosts import without_passwords
from sync_pipeline.parameters.local_flags import LOCAL_FLAGS, NO_FLAGS, LocalFlags, local_flags
from sync_pipeline.parameters.outputs import OUTPUT_NAMES
from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.parsing import shown
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table import BY_NAME, HEADINGS, PARAMETERS
from sync_pipeline.suggestions import closest_match

_LOGGER = logging.getLogger(__name__)

# Settings of a Flex Template's runtime environment without an option in Beam's Python SDK. Dataflow's launcher passes
# settings as flags, so a run must accept them.
# https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.flexTemplates/launch
LAUNCHER_FLAGS = (
    "additional_user_labels",
    "dump_heap_on_oom",
    "enable_launcher_vm_serial_port_logging",
    "launcher_machine_type",
    "save_heap_dumps_to_gcs_path",
    "streaming_mode",
)


# Only Dataflow's launcher passes this option, which requests the job in a file. The launcher may pass further unknown
# options. It has already compared the names of the parameters with the metadata.
_GIVEN_BY_LAUNCHER = "template_location"


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        parameters: the given parameters of the template, as texts by name.
        beam_arguments: Beam's options in the given order and form, except that switches have no value.
        local: what a run in this process does besides.
    """

    parameters: Mapping[str, str]
    beam_arguments: list[str]
    local: LocalFlags = NO_FLAGS


@dataclass(frozen=True)
class _Flag:
    """`--name=value`, or `--name` and the words that follow it."""

    name: str
    value: str | None
    words: tuple[str, ...]

    @property
    def tokens(self) -> list[str]:
        return [f"--{self.name}" if self.value is None else f"--{self.name}={self.value}", *self.words]


def parse_command_line(argv: Sequence[str]) -> CommandLine:
    """Parse `argv` without the program's name. `--help` and `--version` print theirs, and exit with 0.

    If Dataflow's launcher passes names that Beam does not know either, they are ignored with a warning. A value that
    Beam rejects is always an error.

    Raises:
        ConfigError: the command line has errors, including those in the parameters' values; holds all of them.
    """
    local, argv, local_problems = local_flags(argv)
    flags, problems = _flags(argv)
    problems += local_problems
    if any(flag.name == "help" for flag in flags):
        help_parser().print_help()
        raise SystemExit(0)
    if any(flag.name == "version" for flag in flags):
        print(sync_pipeline.__version__)
        raise SystemExit(0)
    beam = BeamWords()
    is_launcher = any(flag.name == _GIVEN_BY_LAUNCHER for flag in flags)
    given: dict[str, list[str]] = {}
    meant: dict[str, str] = {}
    beam_arguments: list[str] = []
    for flag in flags:
        if flag.name in BY_NAME:
            problems += _flag_problems(flag)
            value = _value(flag)
            if value.strip():
                given.setdefault(flag.name, []).append(value)
        elif flag.name in OUTPUT_NAMES:
            # A launcher that imported a job sends all of its options back.
            _LOGGER.info("--%s is an output of the run it was taken from: ignored", flag.name)
        elif flag.name in LAUNCHER_FLAGS:
            beam_arguments += flag.tokens
        elif flag.name in beam.names:
            try:
                beam_arguments += beam.words_for(flag.name, flag.tokens)
            except ConfigError as error:
                problems += error.problems
        elif is_launcher and not beam.has_in_another_spelling(flag.name):
            _LOGGER.warning("--%s is not an option of Beam: ignored", flag.name)
        else:
            similar = closest_match(flag.name, [*BY_NAME, *LOCAL_FLAGS, *beam.names])
            hint = f"; did you mean --{similar}?" if similar else ""
            # The message omits the value, which may be the secret of a misspelt parameter.
            problems.append(
                f"--{without_passwords(flag.name)} is neither a parameter of this template nor an option of Beam{hint}"
            )
            if similar is not None and similar in BY_NAME:
                meant[similar] = _value(flag)
    problems += beam.contradictions(beam_arguments)
    problems += _repetitions(given)
    parameters = {name: texts[0] for name, texts in given.items()}
    if problems:
        # A misspelt flag counts as the suggested parameter, which is then not reported as missing too.
        problems += _config_problems({**meant, **parameters})
        raise ConfigError(problems)
    return CommandLine(parameters, beam_arguments, local)


def _flags(argv: Sequence[str]) -> tuple[list[_Flag], list[str]]:
    flags: list[_Flag] = []
    stray = False
    for word in argv:
        if word.startswith("--") or word == "-h":
            name, equals, value = word.lstrip("-").partition("=")
            flags.append(_Flag("help" if word == "-h" else name, value if equals else None, ()))
        elif flags:
            last = flags[-1]
            flags[-1] = _Flag(last.name, last.value, (*last.words, word))
        else:
            stray = True
    return flags, ["the command line must begin with a --parameter"] if stray else []


def _value(flag: _Flag) -> str:
    if flag.value is not None:
        return flag.value
    if flag.words or BY_NAME.get(flag.name) is None or BY_NAME[flag.name].type is not ParameterType.BOOLEAN:
        return " ".join(flag.words)
    return "true"


def _flag_problems(flag: _Flag) -> Iterator[str]:
    if (flag.value is not None and flag.words) or len(flag.words) > 1:
        yield f"--{flag.name} is followed by further words; put the whole value in quotes, --{flag.name}='VALUE'"
    elif flag.value is None and not flag.words and BY_NAME[flag.name].type is not ParameterType.BOOLEAN:
        yield f"--{flag.name} has no value; write --{flag.name}=VALUE"


def _repetitions(given: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, texts in given.items():
        distinct = list(dict.fromkeys(texts))
        if len(distinct) > 1:
            values = "" if BY_NAME[name].secret else f": {', '.join(map(shown, distinct))}"
            yield f"{name} is given {len(texts)} times with different values{values}"


def _config_problems(parameters: Mapping[str, str]) -> tuple[str, ...]:
    try:
        RunConfig.from_parameters(parameters, reads_file=False)
    except ConfigError as error:
        return error.problems
    return ()


def help_parser(
    prog: str = "main.py",
    usage: str = "--data_source=… --destination_bigquery_project=… [--PARAMETER=VALUE …] [BEAM OPTIONS …]",
    description: str = "",
) -> argparse.ArgumentParser:
    """Return a parser that prints the help of a program with all parameters of the template."""
    labels = [source.label for source in declarations().values()]
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} {usage}",
        description=description or f"Sync {', '.join(labels[:-1])} or {labels[-1]} into BigQuery tables.",
        epilog="Beam's own options, such as --runner, --project, --region and --temp_location, can be given as well.",
    )
    for heading in HEADINGS:
        section = parser.add_argument_group(heading)
        for parameter in (parameter for parameter in PARAMETERS if parameter.group == heading):
            text = parameter.help
            if parameter.choices:
                text += f" One of {', '.join(parameter.choices)}."
            if parameter.default is not None:
                text += f" Default: {parameter.default}."
            if parameter.required:
                text += f" Required: {parameter.required_text.lower()}."
            section.add_argument(f"--{parameter.name}", metavar="VALUE", help=text.replace("%", "%%"))
    section = parser.add_argument_group("Of this program, outside Dataflow")
    for name, text in LOCAL_FLAGS.items():
        section.add_argument(f"--{name}", help=text)
    section.add_argument("--version", action="store_true", help="Print the version of this program.")
    return parser
