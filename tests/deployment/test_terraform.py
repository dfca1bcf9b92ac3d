"""The chains' Terraform, against the schema of the provider: its blocks, arguments and what it requires.

`google_provider.json` has what the provider's own schema says about the arguments used here and about all that are
required, taken from its binding for TypeScript (@cdktf/provider-google 16.12.1). Values are not checked by it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestration.chain.flow.events import CHECK, MESSAGE_PUBLISHED, START, STATE_CHANGED
from orchestration.chain.flow.names import JobName, parse_job_name

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "orchestration/chain/terraform/main.tf").read_text(encoding="utf-8")
PROVIDER = json.loads(Path(__file__).with_name("google_provider.json").read_text(encoding="utf-8"))
# Terraform's own, for all resources.
META = {"count", "for_each", "depends_on", "lifecycle", "provider"}

type Block = dict[str, Any]


def body(lines: list[str]) -> Block:
    """Read arguments and blocks up to the closing brace; a block is a dict, an argument its text."""
    found: Block = {}
    while lines:
        line = lines.pop(0).strip()
        if line == "}":
            break
        if match := re.fullmatch(r"(\w+) \{", line):
            found[match[1]] = body(lines)
        elif match := re.match(r"(\w+)\s*= (.*)", line):
            value = match[2]
            while sum(map(value.count, "([{")) > sum(map(value.count, ")]}")):
                value += lines.pop(0).strip()
            found[match[1]] = value
    return found


def resources() -> dict[str, Block]:
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.strip().startswith("#")]
    found = {}
    while lines:
        if match := re.fullmatch(r'resource "(\w+)" "(\w+)" \{', lines.pop(0)):
            found[f"{match[1]}.{match[2]}"] = body(lines)
    return found


RESOURCES = resources()


def problems(block: Block, schema: dict[str, Any], path: str) -> list[str]:
    found = [f"{path}.{name} is missing" for name, told in schema.items() if told["required"] and name not in block]
    for name, value in block.items():
        if name not in schema:
            found.append(f"{path}.{name} is not known")
        elif isinstance(value, dict):
            found += problems(value, schema[name]["block"], f"{path}.{name}")
    return found


@pytest.mark.parametrize("name", RESOURCES)
def test_resource_is_one_that_the_provider_takes(name: str) -> None:
    block = {key: value for key, value in RESOURCES[name].items() if key not in META}
    assert problems(block, PROVIDER["resources"][name.partition(".")[0]], name) == []


def test_mistakes_are_found() -> None:
    schema = PROVIDER["resources"]["google_eventarc_trigger"]
    wrong = {**RESOURCES["google_eventarc_trigger.ends"], "zone": '"x"', "transport": {"pubsub": {"topik": '"x"'}}}
    del wrong["location"], wrong["count"]
    assert sorted(problems(wrong, schema, "x")) == [
        "x.location is missing",
        "x.transport.pubsub.topik is not known",
        "x.zone is not known",
    ]


def test_what_is_referred_to_exists() -> None:
    named = set(re.findall(r"\b(google_\w+\.\w+)", re.sub(r'"[^"$]*"', "", TEXT)))
    assert len(named) >= 4
    assert named <= RESOURCES.keys()
    assert set(re.findall(r"\bvar\.(\w+)", TEXT)) == set(re.findall(r'^variable "(\w+)"', TEXT, re.MULTILINE))


def test_sink_may_write_to_its_topic() -> None:
    # Without it, a sink exists and nothing arrives.
    grant = RESOURCES["google_pubsub_topic_iam_member.sink_writer"]
    assert grant["member"] == "google_logging_project_sink.ends[0].writer_identity"
    assert grant["role"] == '"roles/pubsub.publisher"'
    sink = RESOURCES["google_logging_project_sink.ends"]
    assert sink["unique_writer_identity"] == "true"
    assert sink["destination"] == '"pubsub.googleapis.com/${google_pubsub_topic.ends[0].id}"'


def test_sink_takes_the_jobs_of_chains_alone() -> None:
    written = json.loads(RESOURCES["google_logging_project_sink.ends"]["filter"])
    (pattern,) = re.findall('job_name=~"(.*)"', written)
    own, foreign = str(JobName("nightly-x", "load", "20250722t130000")), "my-job-1--1607050850"
    assert parse_job_name(own) is not None
    assert [bool(re.search(pattern, name)) for name in (own, foreign)] == [True, False]


def test_events_are_those_that_the_function_understands() -> None:
    assert RESOURCES["google_cloudfunctions2_function.chain"]["event_trigger"]["event_type"] == f'"{STATE_CHANGED}"'
    assert RESOURCES["google_eventarc_trigger.ends"]["matching_criteria"]["value"] == f'"{MESSAGE_PUBLISHED}"'
    for name, kind in (("start", START), ("check", CHECK)):
        headers = RESOURCES[f"google_cloud_scheduler_job.{name}"]["http_target"]["headers"]
        assert f'"ce-type"        = "{kind}"' in headers


def test_function_is_what_there_is() -> None:
    function = RESOURCES["google_cloudfunctions2_function.chain"]
    name = json.loads(function["build_config"]["entry_point"])
    assert f"def {name}(" in (ROOT / "orchestration/chain/main.py").read_text()
    python = (ROOT / ".python-version").read_text().strip()
    assert function["build_config"]["runtime"] == f'"python{python.replace(".", "")}"'


def test_what_is_left_out_is_the_same_by_gcloud() -> None:
    ignored = (ROOT / "orchestration/chain/.gcloudignore").read_text().splitlines()[1:]
    excluded = re.search(r"excludes = \[(.*?)\]", TEXT, re.DOTALL)
    assert excluded is not None
    names = {name.removesuffix("**").removeprefix("**/") for name in re.findall('"([^"]+)"', excluded[1])}
    assert names == set(ignored)
