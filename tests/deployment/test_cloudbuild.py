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
from sync_pipeline.parameters.documents import metadata

ROOT = Path(__file__).resolve().parents[2]
BUILD: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
TEST: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild-test.yaml").read_text())
STEPS = {step["id"]: step for step in BUILD["steps"]}

# Those of Cloud Build itself that are used here.
# https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
GIVEN = {"PROJECT_ID": "my-project", "BUILD_ID": "0f1e2d3c"}
IMAGE = "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:0f1e2d3c"
TEMPLATE = "gs://my-project-templates/sync-to-bigquery.json"


def filled_in(text: str) -> str:
    """The text with all substitutions made, also those within substitutions."""
    values = {**GIVEN, **BUILD["substitutions"]}
    while "${" in text:
        text = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)
    return text


def arguments(step: str) -> list[str]:
    return [filled_in(argument) for argument in STEPS[step]["args"]]


@pytest.mark.parametrize("build", [TEST, BUILD], ids=["test", "publish"])
def test_build_is_one_that_cloud_build_takes(build: dict[str, Any]) -> None:
    assert read_body("cloudbuild.v1", "Build", build) == (build, [])


def test_steps_follow_each_other() -> None:
    assert list(STEPS) == ["build", "describe", "push", "template"]
    assert not any("waitFor" in step for step in STEPS.values())


def test_every_substitution_is_declared_and_used() -> None:
    # Cloud Build refuses one that is not.
    text = (ROOT / "cloudbuild.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", text))
    assert used - GIVEN.keys() == BUILD["substitutions"].keys()


def test_checks_are_those_before_a_merge() -> None:
    (step,) = TEST["steps"]
    assert (step["entrypoint"], step["args"]) == ("bash", [".ci/run"])
    python = (ROOT / ".python-version").read_text().strip()
    assert step["name"].startswith(f"python:{python}-")


def test_publishing_runs_no_test_and_has_a_provenance() -> None:
    assert ".ci/run" not in (ROOT / "cloudbuild.yaml").read_text()
    assert BUILD["options"]["requestedVerifyOption"] == "VERIFIED"


def test_scripts_are_bash() -> None:
    for script in (ROOT / ".ci").iterdir():
        assert script.read_text().startswith("#!/usr/bin/env bash\n")
        assert os.access(script, os.X_OK)
        # What git ignores is not sent to Cloud Build.
        ignored = subprocess.run(["git", "check-ignore", "--quiet", script], cwd=ROOT, check=False)
        assert ignored.returncode != 0, script


def test_image_learns_its_own_name_and_is_pushed_before_the_template_names_it() -> None:
    assert arguments("build") == [".ci/build-image", IMAGE, TEMPLATE]
    assert arguments("template")[3] == TEMPLATE
    assert arguments("describe") == [".ci/describe-image", IMAGE]
    assert arguments("push") == ["push", IMAGE]
    assert f"--image={IMAGE}" in arguments("template")
    assert [filled_in(image) for image in BUILD["images"]] == [IMAGE]
    assert BUILD["artifacts"]["objects"]["paths"] == ["sbom.cdx.json"]


DIGESTS = {"apache/beam": f"sha256:{'a' * 64}", "gcr.io": f"sha256:{'b' * 64}", "python": f"sha256:{'c' * 64}"}
# Stands for Docker: knows the digests, and writes down what it is told.
DOCKER = f"""#!/bin/sh
printf '%s\\n' "$*" >>words
case "$*" in
*--entrypoint=cat*) echo '{{"bomFormat": "CycloneDX"}}' ;;
*--entrypoint=python*) for word; do code=$last; last=$word; done; exec python3 -c "$code" "$last" ;;
"buildx imagetools inspect apache/beam"*) [ -z "$WITHOUT_BUILDX" ] && echo {DIGESTS["apache/beam"]} ;;
"buildx imagetools inspect gcr.io/"*) [ -z "$WITHOUT_BUILDX" ] && echo {DIGESTS["gcr.io"]} ;;
"buildx imagetools inspect python:"*) [ -z "$WITHOUT_BUILDX" ] && echo {DIGESTS["python"]} ;;
"inspect --format {{{{index .RepoDigests 0}}}} python:"*) echo python@{DIGESTS["python"]} ;;
"inspect --format {{{{index .RepoDigests 0}}}} apache/"*) echo apache/beam@{DIGESTS["apache/beam"]} ;;
"inspect --format {{{{index .RepoDigests 0}}}} gcr.io/"*) echo gcr.io/x@{DIGESTS["gcr.io"]} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the scripts read, and a folder of programs with the docker above."""
    shutil.copytree(ROOT / ".ci", tmp_path / "copy/.ci")
    for name in ("Dockerfile", "metadata.json"):
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    return tmp_path / "copy"


def script(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{checkout.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        words, cwd=checkout, env={"PATH": path, **environment}, capture_output=True, text=True, check=False
    )


def base_images(checkout: Path) -> dict[str, str]:
    return dict(re.findall(r"^ARG ([A-Z]+_IMAGE)=(.+)$", (checkout / "Dockerfile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("without_buildx", ["", "yes"], ids=["buildx", "docker alone"])
def test_image_is_built_from_digests_which_the_template_names(checkout: Path, without_buildx: str) -> None:
    given = {name: image.partition("@")[0] for name, image in base_images(checkout).items()}
    expected = {
        name: f"{image}@{next(digest for start, digest in DIGESTS.items() if image.startswith(start))}"
        for name, image in given.items()
    }
    done = script(checkout, ".ci/build-image", IMAGE, TEMPLATE, WITHOUT_BUILDX=without_buildx)
    assert done.returncode == 0, done.stderr
    arguments = " ".join(f"--build-arg={name}={image}" for name, image in expected.items())
    told = (checkout / "words").read_text().splitlines()
    known = f"--build-arg=IMAGE={IMAGE} --build-arg=TEMPLATE={TEMPLATE}"
    assert told[-1] == f"build --platform=linux/amd64 {arguments} {known} --tag={IMAGE} ."
    done = script(checkout, ".ci/describe-image", IMAGE)
    assert done.returncode == 0, done.stderr
    assert json.loads((checkout / "sbom.cdx.json").read_text()) == {"bomFormat": "CycloneDX"}
    made, plain = (json.loads((checkout / name).read_text()) for name in ("template-metadata.json", "metadata.json"))
    assert made["description"] == f"{plain['description']} Built from {', '.join(expected.values())}."
    assert made | {"description": ""} == plain | {"description": ""}


def test_base_images_are_pinned_anew_by_one_command(checkout: Path) -> None:
    before = {name: image.partition("@")[0] for name, image in base_images(checkout).items()}
    assert script(checkout, ".ci/base-images", "--pin").returncode == 0
    pinned = base_images(checkout)
    assert {name: image.partition("@")[0] for name, image in pinned.items()} == before
    assert {image.partition("@")[2] for image in pinned.values()} == set(DIGESTS.values())
    # What is pinned is not asked for, but for a newer digest.
    (checkout / "words").unlink()
    done = script(checkout, ".ci/base-images")
    assert dict(line.split("=", 1) for line in done.stdout.splitlines()) == pinned
    assert not (checkout / "words").exists()
    assert script(checkout, ".ci/base-images", "--pin").returncode == 0
    assert base_images(checkout) == pinned


def test_a_digest_that_is_not_to_be_had_ends_the_build(checkout: Path) -> None:
    (checkout.parent / "bin/docker").write_text("#!/bin/sh\nexit 1\n")
    assert script(checkout, ".ci/build-image", IMAGE, TEMPLATE).returncode != 0


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_template_is_built_by_the_real_gcloud(tmp_path: Path) -> None:
    # As the step before leaves it, but for the names of the base images.
    words = [word.replace("template-metadata.json", "metadata.json") for word in arguments("template")]
    done = subprocess.run(
        [STEPS["template"]["entrypoint"], *words, "--print-only", "--format=json"],
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
    gcloud.write_text(f'#!/bin/sh\nprintf "%s\\n" gcloud "$@" >>{words}\n')
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


VARIABLES = ("PROJECT=my-project", "REGION=europe-west1", "REPOSITORY=sync", "TEMPLATES=gs://my-templates")
SUBMIT = ["gcloud", "builds", "submit", ".", "--project=my-project", "--region=europe-west1"]
ACCOUNT = "--service-account=projects/my-project/serviceAccounts/{}@my-project.iam.gserviceaccount.com"
COMMANDS = [
    *(*SUBMIT, "--config=cloudbuild-test.yaml", ACCOUNT.format("sync-test")),
    *(*SUBMIT, "--config=cloudbuild.yaml", ACCOUNT.format("sync-build")),
    "--substitutions=_REGION=europe-west1,_REPOSITORY=sync,_TEMPLATES=my-templates",
]


def test_deploy_shows_what_it_would_run(tmp_path: Path) -> None:
    done, ran = deploy(tmp_path, *VARIABLES)
    assert (done.returncode, ran) == (0, [])
    assert shlex.split(done.stdout) == COMMANDS
    assert done.stderr == "Nothing has been run. With RUN=yes it is.\n"


def test_deploy_runs_what_it_shows(tmp_path: Path) -> None:
    done, ran = deploy(tmp_path, *VARIABLES, "TAG=1.0.0", "RUN=yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert shlex.split(done.stdout) == ran == [*COMMANDS[:-1], f"{COMMANDS[-1]},_TAG=1.0.0"]


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        pytest.param((), "PROJECT REGION REPOSITORY TEMPLATES", id="all"),
        pytest.param(("PROJECT=my-project", "REGION=europe-west1", "TEMPLATES="), "REPOSITORY TEMPLATES", id="some"),
    ],
)
def test_deploy_says_what_it_lacks(variables: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    done, ran = deploy(tmp_path, *variables, "RUN=yes")
    assert (done.returncode, done.stdout, ran) == (2, "", [])
    assert done.stderr.startswith(
        f"make deploy: {missing} missing; for example: make deploy PROJECT=my-project REGION=us-central1 "
        "REPOSITORY=sync TEMPLATES=my-templates\n"
    )


def test_deploy_uses_substitutions_that_exist() -> None:
    names = re.findall(r"(_[A-Z]+)=", COMMANDS[-1] + ",_TAG=1.0.0")
    assert set(names) <= BUILD["substitutions"].keys()
