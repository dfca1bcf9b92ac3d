"""The image, without Docker: its steps are played in an empty folder and a new environment, and its entry points run.

What cannot be played is named in `NOT_PLAYED`: the layers that come from other images.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

import sync_pipeline
from sync_pipeline.parameters.beam_options import IMAGE_VARIABLE, TEMPLATE_VARIABLE
from sync_pipeline.parameters.table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".uv/bin/uv"
IMAGE = "us-central1-docker.pkg.dev/my-project/sync/sync-to-bigquery:1.0.0"
TEMPLATE = "gs://my-templates/sync-to-bigquery.json"

NOT_PLAYED = (
    *re.findall("^ARG [A-Z]+_IMAGE=.*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE),
    "FROM ${LAUNCHER_IMAGE} AS launcher",
    "FROM ${BEAM_IMAGE} AS beam",
    "FROM ${PYTHON_IMAGE}",
    "COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher",
    "COPY --from=beam /opt/apache/beam /opt/apache/beam",
)

# Stands for pip: the same words, with uv's cache in place of a download of half a gigabyte, where it has all.
_PIP = """#!/bin/sh
for word; do
    shift
    case "$word" in --no-cache-dir | --root-user-action=*) ;; *) set -- "$@" "$word" ;; esac
done
if [ "$1" = wheel ]; then
    for word; do
        case "$word" in --wheel-dir=*) wheels=${{word#*=}} ;; esac
    done
    exec {uv} --offline build --quiet --wheel --no-build-isolation --python {python} --out-dir "$wheels" .
fi
{uv} --offline pip "$@" --python {python} 2>/dev/null || exec {uv} pip "$@" --python {python}
"""


def instructions(text: str) -> list[str]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", "", kept).splitlines()
    return [line for line in lines if line.strip()]


def requirement(name: str, file: str) -> str:
    """The version of a package in a lock file."""
    found = re.search(rf"^{name}==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())


def build_context(target: Path) -> None:
    """Copy what `.dockerignore` leaves of the repository, as `docker build` sends it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        if (ROOT / name).is_dir():
            ignored = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns(*ignored))
        else:
            shutil.copy2(ROOT / name, target / name)


@dataclass
class Played:
    """An image as far as it has been built: `root` is its `/`, `environment` what a container would see.

    Attributes:
        stages: the earlier images of the Dockerfile, by name.
    """

    context: Path
    root: Path
    python: Path
    arguments: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    stages: dict[str, Played] = field(default_factory=dict)

    def inside(self, path: str) -> Path:
        """The place of a path of the image."""
        return self.root / Path(self.folder, path).relative_to("/")

    def play(self, instruction: str) -> None:
        keyword, words = instruction.split(" ", 1)
        getattr(self, f"_{keyword.lower()}")(words)

    def run(self, command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the image's environment and its Python, and nothing of this process's."""
        return subprocess.run(
            command,
            cwd=folder,
            env={
                "PATH": f"{self.python.parent}:{os.environ['PATH']}",
                "HOME": os.environ["HOME"],
                **self.environment,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def _arg(self, words: str) -> None:
        assert words.removesuffix("=") in self.arguments

    def _env(self, words: str) -> None:
        for pair in shlex.split(words):
            name, value = pair.split("=", 1)
            for argument, given in self.arguments.items():
                value = value.replace(f"${{{argument}}}", given)
            assert "$" not in value
            self.environment[name] = str(self.inside(value)) if value.startswith("/") else value

    def _workdir(self, words: str) -> None:
        self.folder = words
        self.inside(".").mkdir(parents=True)

    def _copy(self, words: str) -> None:
        *sources, target = words.split()
        if sources[0].startswith("--from="):
            stage = self.stages[sources.pop(0).removeprefix("--from=")]
            (source,) = sources
            shutil.copytree(stage.inside(source), self.inside(target))
            return
        for source in sources:
            if source.endswith("/"):
                shutil.copytree(self.context / source, self.inside(target))
            else:
                shutil.copy2(self.context / source, self.inside(target))

    def _run(self, words: str) -> None:
        # Where an index is configured for this machine, it is meant for these installations too.
        registry = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
        words = words.replace("/wheels", str(self.inside("/wheels")))
        done = self.run(["/bin/sh", "-ec", words], self.inside("."), **registry)
        assert done.returncode == 0, f"{words}\n{done.stderr}"

    def _entrypoint(self, words: str) -> None:
        """Nothing to do when an image is built."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The image, built by the Dockerfile's own words."""
    if not UV.exists():
        pytest.skip("uv is not in .uv: `make install` puts it there")
    folder = tmp_path_factory.mktemp("image")
    (folder / "context").mkdir()
    build_context(folder / "context")
    arguments = {"IMAGE": IMAGE, "TEMPLATE": TEMPLATE}
    beam = Played(folder / "context", folder / "beam", python_with_pip(folder / "beam-python"), arguments)
    # What is used of Beam's image beyond the interpreter and pip.
    setuptools = f"setuptools=={requirement('setuptools', 'requirements-dev.txt')}"
    subprocess.run([beam.python.parent / "pip", "install", "--quiet", setuptools], check=True)
    python = python_with_pip(folder / "python")
    final = Played(folder / "context", folder / "root", python, arguments, stages={"beam": beam})
    stage = beam
    for instruction in DOCKERFILE:
        if instruction == "FROM ${PYTHON_IMAGE}":
            stage = final
        if instruction not in NOT_PLAYED:
            stage.play(instruction)
    return final


def python_with_pip(folder: Path) -> Path:
    """A Python of its own with nothing but pip, as the slim base image has it."""
    python = folder / "bin/python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    pip = python.parent / "pip"
    pip.write_text(_PIP.format(uv=UV, python=python))
    pip.chmod(0o755)
    return python


def without_network(command: list[str]) -> list[str]:
    """The command in a network of its own, in which there is nothing, where this machine lets us."""
    alone = ["unshare", "--net"]
    possible = shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True).returncode == 0
    return [*alone, *command] if possible else command


DEAD_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


@pytest.mark.timeout(400)
def test_the_launcher_finds_all_it_needs(image: Played, tmp_path: Path) -> None:
    # As Google's launcher starts it: from anywhere, with the path from the environment.
    command = ["python", image.environment["FLEX_TEMPLATE_PYTHON_PY_FILE"], "--help"]
    done = image.run(without_network(command), tmp_path, **DEAD_PROXY)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"--{parameter.name} " in done.stdout for parameter in PARAMETERS)


@pytest.mark.timeout(400)
def test_the_workers_find_the_package(image: Played, tmp_path: Path) -> None:
    # A worker starts Beam's harness in a folder of its own; /template is not on its path.
    program = """import importlib.metadata, sync_pipeline.pipeline as pipeline
print(pipeline.__file__, importlib.metadata.version("sync-to-bigquery"))"""
    done = image.run(without_network(["python", "-c", program]), tmp_path, **DEAD_PROXY)
    assert (done.returncode, done.stderr) == (0, "")
    path, version = done.stdout.split()
    assert Path(path).is_relative_to(image.python.parent.parent / "lib")
    assert version == sync_pipeline.__version__


def test_an_image_without_its_own_name_is_not_built() -> None:
    (check,) = [line for line in DOCKERFILE if "its own name" in line]
    # With `docker build .` alone the argument is not given, and the variable is empty.
    done = subprocess.run(
        ["/bin/sh", "-c", check.removeprefix("RUN ")], env={IMAGE_VARIABLE: ""}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        "This image must be built with its own name, which the workers need: "
        "docker build --build-arg=IMAGE=NAME --tag=NAME .\n"
    )
    assert DOCKERFILE.index(check) > max(i for i, line in enumerate(DOCKERFILE) if "pip install" in line)


def test_the_image_holds_the_program_and_nothing_else(image: Played) -> None:
    assert {path.name for path in image.inside("/template").iterdir()} == {
        "entrypoint.sh",
        "main.py",
        "requirements.txt",
        "sbom.cdx.json",
    }


def test_the_image_lists_its_packages(image: Played) -> None:
    bill = json.loads(image.inside("/template/sbom.cdx.json").read_text())
    assert bill["metadata"]["component"]["name"] == "sync-to-bigquery"
    listed = {component["name"]: component["version"] for component in bill["components"]}
    locked = dict(
        re.findall(r"^([a-z0-9-]+)(?:\[\S+\])?==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    assert len(locked) > 50
    assert {name: listed.get(name) for name in locked} == locked


def test_what_a_container_is_told(image: Played) -> None:
    # Neither a requirements nor a setup file: with them launcher and workers would install at each start.
    assert image.environment == {
        "FLEX_TEMPLATE_PYTHON_PY_FILE": str(image.inside("/template/main.py")),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
        IMAGE_VARIABLE: IMAGE,
        TEMPLATE_VARIABLE: TEMPLATE,
    }


def test_layers_that_come_from_elsewhere_are_there() -> None:
    assert [instruction for instruction in DOCKERFILE if instruction in NOT_PLAYED] == list(NOT_PLAYED)


def test_beams_image_has_the_versions_of_the_lock_file() -> None:
    python = (ROOT / ".python-version").read_text().strip()
    beam = requirement("apache-beam", "requirements.txt")
    (image,) = [line for line in DOCKERFILE if line.startswith("ARG BEAM_IMAGE=")]
    assert re.fullmatch(
        rf"ARG BEAM_IMAGE=apache/beam_python{python}_sdk:{re.escape(beam)}(@sha256:[0-9a-f]{{64}})?", image
    )
    launcher = f"python{python.replace('.', '')}-template-launcher-base"
    assert any(launcher in instruction for instruction in DOCKERFILE)


def test_slim_image_has_the_python_of_the_project() -> None:
    python = (ROOT / ".python-version").read_text().strip()
    (image,) = [line for line in DOCKERFILE if line.startswith("ARG PYTHON_IMAGE=")]
    assert re.fullmatch(rf"ARG PYTHON_IMAGE=python:{re.escape(python)}-slim(@sha256:[0-9a-f]{{64}})?", image)
    # It has no compiler and no Debian package is added, so that everything has to come as a wheel.
    assert sum("--only-binary=:all:" in line for line in DOCKERFILE) == 1
    assert not any("apt-get" in line for line in DOCKERFILE)


def test_requirements_come_before_the_code() -> None:
    # Otherwise each change of the code would build, push and pull the layer of half a gigabyte anew.
    words = ("FROM ${PYTHON_IMAGE}", "--require-hashes", "COPY main.py", "COPY --from=beam /wheels")
    order = [next(i for i, line in enumerate(DOCKERFILE) if word in line) for word in words]
    assert order == sorted(order)


def test_installations_are_pinned_or_offline() -> None:
    installations = [line for line in DOCKERFILE if "pip install" in line or "pip wheel" in line]
    assert len(installations) == 3
    assert all("--require-hashes" in line or "--no-index" in line for line in installations)


def test_context_has_no_caches_and_no_secrets(tmp_path: Path) -> None:
    build_context(tmp_path)
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert "sync_pipeline/sources/postgresql/__init__.py" in files
    unwanted = ("*.pyc", "*.env", "*.json", "tests/*", "sandbox/*", ".git/*")
    assert not [name for name in files if any(fnmatch(name, pattern) for pattern in unwanted)]


WORKER = ["--id=sdk-0-0", "--logging_endpoint=localhost:1", "--control_endpoint=localhost:2"]


CLOUD_RUN = {"CLOUD_RUN_JOB": "orders-sync", "CLOUD_RUN_EXECUTION": "orders-sync-abcde"}


@pytest.mark.parametrize(
    ("arguments", "environment", "started"),
    [
        pytest.param([], {}, "launcher", id="launcher"),
        pytest.param(["--data_source=postgresql", "--batch_size=1"], {}, "launcher", id="launcher with flags"),
        pytest.param(WORKER, {}, "boot", id="worker"),
        pytest.param(["--worker_pool"], {}, "boot", id="pool of workers"),
        pytest.param(["--data_source=postgresql", "--batch_size=1"], CLOUD_RUN, "main", id="job of Cloud Run"),
    ],
)
def test_entrypoint_starts_what_is_meant(
    arguments: list[str], environment: dict[str, str], started: str, tmp_path: Path
) -> None:
    script = (ROOT / "entrypoint.sh").read_text()
    for name, path in (
        ("boot", "/opt/apache/beam/boot"),
        ("launcher", "/opt/google/dataflow/python_template_launcher"),
        ("main", "python /template/main.py"),
    ):
        assert script.count(f"exec {path}") == 1
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        stub.chmod(0o755)
        script = script.replace(path, str(stub))
    (tmp_path / "entrypoint.sh").write_text(script)
    done = subprocess.run(
        ["/bin/sh", tmp_path / "entrypoint.sh", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [started, *" ".join(arguments).split()]
    assert DOCKERFILE[-1] == 'ENTRYPOINT ["/bin/sh", "/template/entrypoint.sh"]'
