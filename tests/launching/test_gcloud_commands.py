"""The commands of the documents are gcloud's: every command, flag and choice exists in the gcloud that is installed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.discovery import read_body
from sync_pipeline.errors import PublishError
from sync_pipeline.launching.settings import SETTINGS
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.secrets import Secret
from sync_pipeline.publishing.failure_report import FailureReport
from tests.publishing.test_report import REPORT

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
)

# What the shell variables of the documents hold, where they are set.
VARIABLES = dict(re.findall(r"(\w+)=(\S+)", re.search(r"^export (PROJECT=.*)$", DOCUMENTS, re.MULTILINE)[1]))  # type: ignore[index]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENTS, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """All commands of gcloud's, each on one line."""
    lines = [line.strip() for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    return [line[line.index("gcloud ") :] for line in lines if re.search(r"(^|\| )gcloud ", line)]


@cache
def tree() -> dict[str, Any]:
    """The commands and flags that gcloud completes in a shell: all it knows."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("gcloud is not installed")
    path = Path(gcloud).resolve().parent.parent / "data/cli/gcloud_completions.py"
    if not path.exists():
        pytest.skip("this gcloud has no list of its commands")
    spec = importlib.util.spec_from_file_location("gcloud_completions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.STATIC_COMPLETION_CLI_TREE
    return found


def problem(command: str, known: dict[str, Any]) -> str | None:
    """What gcloud would not understand of the command, or None."""
    words = shlex.split(command, comments=True)[1:]
    node, flags = known, dict(known["flags"])
    while words and words[0] in node["commands"]:
        node = node["commands"][words.pop(0)]
        flags |= node.get("flags", {})
    if node["commands"]:
        return f"no command {words[:1]}"
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            continue
        if name not in flags:
            return f"no flag {name}"
        kind = flags[name]
        if (kind == "bool") == bool(equals):
            return f"{name} and its value"
        if isinstance(kind, list) and value not in kind:
            return f"{name} is one of {kind}"
    return None


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_gcloud_knows_the_command(command: str) -> None:
    assert problem(command, tree()) is None


def test_flags_that_are_explained_are_gclouds() -> None:
    rows = re.findall(r"^\| (.*) \| (.*) \|$", (ROOT / "docs/reference/template.md").read_text(), re.MULTILINE)
    run = tree()["commands"]["dataflow"]["commands"]["flex-template"]["commands"]["run"]["flags"]
    explained = {flag for cell, _ in rows for flag in re.findall("--[a-z][a-z-]+", cell)}
    assert len(explained) >= 12
    assert explained <= run.keys() | {"--project"}
    flags = {setting.name: setting.flag for setting in SETTINGS}
    for cell, keys in rows:
        names = re.findall(r"environment\.(\w+)", keys)
        assert [flags[name] for name in names] == re.findall("--[a-z][a-z-]+", cell)[: len(names)]


def test_settings_that_are_explained_are_dataflows() -> None:
    text = (ROOT / "docs/how-to/dataflow.md").read_text().split("## Labels")[0]
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    keys = {key for cell in cells for key in re.findall(r"`(\w+)", cell)} - {"environment", "max_run_seconds"}
    assert len(keys) >= 5
    assert keys <= {setting.name for setting in SETTINGS}


def test_commands_are_found() -> None:
    found = {" ".join(command.split()[1:4]) for command in commands()}
    assert {"dataflow flex-template build", "dataflow flex-template run", "logging metrics create"} <= found
    assert len(commands()) >= 25


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        pytest.param("gcloud dataflow flex-template runn x", "no command", id="command"),
        pytest.param("gcloud dataflow jobs list --location=x", "no flag --location", id="flag"),
        pytest.param("gcloud dataflow jobs list --status=done", "--status is one of", id="choice"),
        pytest.param("gcloud dataflow jobs list --limit 5", "--limit and its value", id="value apart"),
    ],
)
def test_what_gcloud_does_not_know_is_found(command: str, wrong: str) -> None:
    assert wrong in str(problem(command, tree()))


def test_metric_of_the_reports_is_one_that_cloud_logging_takes() -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("# sync_reports.yaml")]
    metric = yaml.safe_load(text)
    assert read_body("logging.v2", "LogMetric", metric) == (metric, [])
    assert metric["labelExtractors"]["table"] == "EXTRACT(jsonPayload.sync.table)"
    assert [label["key"] for label in metric["metricDescriptor"]["labels"]] == list(metric["labelExtractors"])


def test_alert_is_one_that_cloud_monitoring_takes() -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("# sync_alert.yaml")]
    policy = yaml.safe_load(text)
    assert read_body("monitoring.v3", "AlertPolicy", policy) == (policy, [])
    assert 'metric.type="logging.googleapis.com/user/sync_reports"' in text
    assert "gcloud logging metrics create sync_reports " in DOCUMENTS


def test_alert_of_reports_is_one_that_cloud_monitoring_takes() -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("# report_alert.yaml")]
    policy = yaml.safe_load(text)
    assert read_body("monitoring.v3", "AlertPolicy", policy) == (policy, [])
    assert [list(condition)[1] for condition in policy["conditions"]] == ["conditionMatchedLog"]
    assert "notificationRateLimit" in policy["alertStrategy"]


def test_queries_name_fields_that_reports_have() -> None:
    named = set(re.findall(r"jsonPayload\.sync\.(\w+)", DOCUMENTS))
    failed = FailureReport.of(PublishError("no"), None).values
    assert {"status", "table", "dead_letters", "reason"} <= named
    assert named <= {*REPORT.values, *failed}


def test_alert_of_a_launch_is_one_that_cloud_monitoring_takes() -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("# launch_alert.yaml")]
    policy = yaml.safe_load(text)
    assert read_body("monitoring.v3", "AlertPolicy", policy) == (policy, [])
    # The API takes a policy for log entries only with one condition, and with a limit on notifications.
    assert [list(condition) for condition in policy["conditions"]] == [["displayName", "conditionMatchedLog"]]
    assert "notificationRateLimit" in policy["alertStrategy"]


def test_launches_on_one_line_are_accepted() -> None:
    launches = [
        re.sub(r"\$(\w+)", lambda m: VARIABLES[m[1]], words) for words in re.findall(r'"\^~\^(.*?)"', DOCUMENTS)
    ]
    assert len(launches) >= 2
    for launch in launches:
        assert SyncConfig.from_parameters(dict(word.split("=", 1) for word in launch.split("~"))).warnings == ()


def test_no_secret_stands_in_the_documents() -> None:
    for parameter in ("postgresql_password", "mongodb_password", "mongodb_connection_string"):
        for text in re.findall(rf"{parameter}(?:=|: )([^\s~]+)", DOCUMENTS):
            assert Secret(parameter, text).is_name or text.startswith("env:"), text
