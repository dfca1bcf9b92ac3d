"""The build on Cloud Build and `make deploy`: what would be sent, and that nothing is sent unasked."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.discovery import read_body
from sync_pipeline.reference import metadata

ROOT = Path(__file__).resolve().parent.parent
BUILD: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
STEPS = {step["id"]: step for step in BUILD["steps"]}

# Those of Cloud Build itself that are used here.
# https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
GIVEN = {"PROJECT_ID": "my-project", "BUILD_ID": "0f1e2d3c"}
IMAGE = "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:0f1e2d3c"


def filled_in(text: str) -> str:
    """The text with all substitutions made, also those within substitutions."""
    values = {**GIVEN, **BUILD["substitutions"]}
    while "${" in text:
        text = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)
    return text


def arguments(step: str) -> list[str]:
    return [filled_in(argument) for argument in STEPS[step]["args"]]


def test_build_is_one_that_cloud_build_takes() -> None:
    assert read_body("cloudbuild.v1", "Build", BUILD) == (BUILD, [])


def test_steps_follow_each_other() -> None:
    assert list(STEPS) == ["check and test", "build", "push", "template"]
    assert not any("waitFor" in step for step in STEPS.values())


def test_every_substitution_is_declared_and_used() -> None:
    # Cloud Build refuses one that is not.
    text = (ROOT / "cloudbuild.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", text))
    assert used - GIVEN.keys() == BUILD["substitutions"].keys()


def test_checks_are_those_before_a_merge() -> None:
    assert (STEPS["check and test"]["entrypoint"], arguments("check and test")) == ("bash", [".ci/run"])
    assert (ROOT / ".ci/run").read_text().startswith("#!/usr/bin/env bash\n")
    python = (ROOT / ".python-version").read_text().strip()
    assert STEPS["check and test"]["name"].startswith(f"python:{python}-")


def test_image_learns_its_own_name_and_is_pushed_before_the_template_names_it() -> None:
    assert arguments("build") == ["build", f"--build-arg=IMAGE={IMAGE}", f"--tag={IMAGE}", "."]
    assert arguments("push") == ["push", IMAGE]
    assert f"--image={IMAGE}" in arguments("template")
    assert [filled_in(image) for image in BUILD["images"]] == [IMAGE]


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_template_is_built_by_the_real_gcloud(tmp_path: Path) -> None:
    done = subprocess.run(
        [STEPS["template"]["entrypoint"], *arguments("template"), "--print-only", "--format=json"],
        cwd=ROOT,
        env=os.environ | {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # gcloud prints the template's JSON as one JSON string.
    template = json.loads(json.loads(done.stdout))
    assert read_body("dataflow.v1b3", "ContainerSpec", template) == (template, [])
    assert template["image"] == IMAGE
    assert template["metadata"] == json.loads(metadata())
    assert template["sdkInfo"]["language"] == "PYTHON"


def deploy(tmp_path: Path, *variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `make deploy`, with a gcloud that only writes its words down; return also those."""
    gcloud, words = tmp_path / "gcloud", tmp_path / "words"
    gcloud.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{words}\n')
    gcloud.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "deploy", *variables],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, words.read_text().splitlines() if words.exists() else []


VARIABLES = ("PROJECT=my-project", "REGION=europe-west1", "REPOSITORY=sync", "BUCKET=gs://my-bucket")
COMMAND = [
    *("gcloud", "builds", "submit", ".", "--project=my-project", "--region=europe-west1", "--config=cloudbuild.yaml"),
    "--substitutions=_REGION=europe-west1,_REPOSITORY=sync,_BUCKET=my-bucket",
]


def test_deploy_shows_what_it_would_run(tmp_path: Path) -> None:
    done, ran = deploy(tmp_path, *VARIABLES)
    assert (done.returncode, ran) == (0, [])
    assert shlex.split(done.stdout) == COMMAND
    assert done.stderr == "Nothing has been run. With RUN=yes it is.\n"


def test_deploy_runs_what_it_shows(tmp_path: Path) -> None:
    done, ran = deploy(tmp_path, *VARIABLES, "TAG=1.0.0", "RUN=yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert shlex.split(done.stdout) == ["gcloud", *ran] == [*COMMAND[:-1], f"{COMMAND[-1]},_TAG=1.0.0"]


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        pytest.param((), "PROJECT REGION REPOSITORY BUCKET", id="all"),
        pytest.param(("PROJECT=my-project", "REGION=europe-west1", "BUCKET="), "REPOSITORY BUCKET", id="some"),
    ],
)
def test_deploy_says_what_it_lacks(variables: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    done, ran = deploy(tmp_path, *variables, "RUN=yes")
    assert (done.returncode, done.stdout, ran) == (2, "", [])
    assert done.stderr.startswith(
        f"make deploy: {missing} missing; for example: make deploy PROJECT=my-project REGION=us-central1 "
        "REPOSITORY=sync BUCKET=my-bucket\n"
    )


def test_deploy_uses_substitutions_that_exist() -> None:
    names = re.findall(r"(_[A-Z]+)=", COMMAND[-1] + ",_TAG=1.0.0")
    assert set(names) <= BUILD["substitutions"].keys()
