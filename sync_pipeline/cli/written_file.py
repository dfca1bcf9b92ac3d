"""The text of a launch file that `init` writes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync_pipeline.cli.found_tables import FoundTable, table_lines
from sync_pipeline.cli.program import PROGRAM
from sync_pipeline.parameters.parameter import ParameterType
from sync_pipeline.parameters.secrets import NAME_FORM
from sync_pipeline.parameters.table import BY_NAME, PARAMETERS

# What YAML reads as this text, whatever surrounds it.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*(:[A-Za-z0-9_/.-]+)*|[1-9][0-9]{0,9}")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})

# Comments above parameters.
_WHERE_KEPT = (
    "# Where the secret is kept: env:NAME is an environment variable. A job on Dataflow needs Secret Manager:\n  # {}"
)
_TEMPLATE = "gs://my-templates/sync-to-bigquery.json"


@dataclass(frozen=True)
class Written:
    """What a launch file says.

    Attributes:
        parameters: the template's parameters, as texts by name.
        tables: the chosen tables, for a comment.
        temp_location: the folder in Cloud Storage; empty if unknown.
        job_name, region, template: for a launch; empty if unknown.
    """

    parameters: Mapping[str, str]
    tables: Sequence[FoundTable]
    temp_location: str = ""
    job_name: str = ""
    region: str = ""
    template: str = ""


def launch_file_text(written: Written) -> str:
    """Return the text of the launch file."""
    project = written.parameters["destination_bigquery_project"]
    lines = [
        f"# A sync to BigQuery, written by {PROGRAM} init. Next: {PROGRAM} check, plan and run.",
        "#",
        *(f"# {line}".rstrip() for line in table_lines(written.tables)),
        "parameters:",
    ]
    for parameter in PARAMETERS:
        if (text := written.parameters.get(parameter.name)) is None:
            continue
        if parameter.secret:
            lines.append(f"  {_WHERE_KEPT.format(NAME_FORM)}")
        is_plain = parameter.type is ParameterType.BOOLEAN and text in ("true", "false")
        lines.append(f"  {parameter.name}: {text if is_plain else yaml_text(text)}")
    for name, value, why in _OFFERED:
        parameter = BY_NAME[name]
        if name not in written.parameters and parameter.is_for(written.parameters["data_source"]):
            lines += [f"  # {why}", f"  # {name}: {value}"]
    lines += [
        "",
        "environment:",
        "  # Where a run stages files: a folder in a bucket in the location of the dataset.",
        _line("  tempLocation", written.temp_location, "gs://my-bucket/tmp"),
        "",
        f"# For {PROGRAM} launch: a job on Dataflow.",
        _line("job_name", written.job_name, "my-sync"),
        f"project: {yaml_text(project)}",
        _line("region", written.region, "us-central1"),
        _line("template", written.template, _TEMPLATE),
        "# schedule:",
        '#   cron: "0 * * * *"',
        f"#   service_account: scheduler@{project}.iam.gserviceaccount.com",
    ]
    return "\n".join(lines) + "\n"


_OFFERED = (
    ("deletes", "remove", "Rows that are deleted at the source stay in BigQuery, unless:"),
    ("schema_evolution", "add", "A new column at the source is an error, unless:"),
)


def _line(name: str, text: str, example: str) -> str:
    if text:
        return f"{name}: {yaml_text(text)}"
    indent = name[: len(name) - len(name.lstrip())]
    return f"{indent}# {name.lstrip()}: {example}"


def yaml_text(text: str) -> str:
    """Return a text as YAML on one line, in quotes where it could be read as anything else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text)
