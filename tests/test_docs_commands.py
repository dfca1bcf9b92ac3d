"""Programs accept every command of the documents, and every YAML block is read by the code that is made for it.

A shell runs the commands of a page, as a reader would, with stand-ins for programs that only record their arguments. So
variables, arrays, quotes and loops are the shell's.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.chain.reading import read_chain
from orchestration.composer.__main__ import problems_in
from orchestration.composer.sync_composer.folders import read_manifests
from sandbox.__main__ import arguments_of
from sync_pipeline.cli.completion import options_of
from sync_pipeline.cli.program import COMMANDS
from sync_pipeline.launching.__main__ import main as launching
from sync_pipeline.launching.launch_file import read_launch
from sync_pipeline.launching.local_run import read_local_run
from sync_pipeline.parameters.command_line import parse_command_line
from sync_pipeline.parameters.local_flags import LOCAL_FLAGS
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table import BY_NAME
from tests.launching.test_gcloud_commands import problem, tree
from tests.test_docs import DOCUMENTS, ROOT, read

PROGRAMS = ("curl", "docker", "gcloud", "make", "pipx", "python", "sync-to-bigquery", "terraform", "uvx")
# Programs that do run, in an empty folder.
TOOLS = ("bash", "cat", "mkdir", "rm")

# Records its arguments and what it would read.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
command = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps([command, sys.stdin.read()]) + "\\n")
if sys.argv[1:] == ["-m", "sandbox", "env"]:
    print("export SANDBOX_POSTGRESQL_PORT=5432 SANDBOX_MONGODB_PORT=27017")
"""

# What is the reader's: a terminal, an environment to activate.
PROLOGUE = 'source() { :; }; read() { :; }\ncommand_not_found_handle() { echo "no program $1" >&2; exit 9; }\n'

# Blocks of YAML that Google's programs read; test_gcloud_commands compares them with Google's APIs.
GOOGLES = {"sync_reports.yaml", "sync_alert.yaml", "launch_alert.yaml", "report_alert.yaml"}

# What a fragment of parameters needs to be a whole sync.
REST = {
    "postgresql": {"data_source": "postgresql", "postgresql_host": "h", "postgresql_database": "d"}
    | {"postgresql_username": "u", "postgresql_password": "projects/p/secrets/s/versions/1"}
    | {"postgresql_query": "SELECT id, updated_at, created_at FROM orders"},
    "mongodb": {"data_source": "mongodb", "mongodb_host": "h", "mongodb_database": "d", "mongodb_collection": "c"},
    "bigquery": {
        "data_source": "bigquery",
        "source_bigquery_project": "my-project",
        "source_bigquery_query": "SELECT 1",
    },
}
DESTINATION = {"destination_bigquery_project": "my-project", "destination_bigquery_dataset": "d"}
DESTINATION |= {"destination_bigquery_table": "t"}


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", read(name), re.DOTALL | re.MULTILINE)


PAGES = [name for name in DOCUMENTS if blocks(name, "bash")]
WITH_YAML = [name for name in DOCUMENTS if blocks(name, "yaml")]


@cache
def commands(name: str) -> list[list[str]]:
    """The commands of a page with the arguments that the shell gives them."""
    return [command for command, _ in recorded("".join(blocks(name, "bash")))]


def recorded(script: str) -> list[tuple[list[str], str]]:
    """The commands of a script with the arguments that the shell gives them, and what they would read."""
    with tempfile.TemporaryDirectory() as folder:
        for program in PROGRAMS:
            path = Path(folder, program)
            path.write_text(STAND_IN)
            path.chmod(0o755)
        for tool in TOOLS:
            Path(folder, tool).symlink_to(str(shutil.which(tool)))
        # Where a page tells to write, in the checkout.
        Path(folder, "orchestration/chain/chains").mkdir(parents=True)
        record = Path(folder, "record")
        record.touch()
        done = subprocess.run(
            [f"{folder}/bash", "-c", PROLOGUE + script],
            cwd=folder,
            env={"PATH": folder, "RECORD": str(record), "PASSWORD": "x", "SHOP_PASSWORD": "x"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [tuple(json.loads(line)) for line in record.read_text().splitlines()]


def wrong(command: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """What the program would not understand of a command, or None."""
    match command:
        case ["python", "main.py", "…", *words]:
            # The rest of a command that the page has shown before.
            names = {word.removeprefix("--").partition("=")[0] for word in words}
            return ", ".join(names - BY_NAME.keys() - LOCAL_FLAGS.keys()) or None
        case ["sync-to-bigquery", "launch", *words]:
            # Files that a reader writes are those of the YAML blocks.
            files = [word for word in words if not word.startswith("--")] or ["sync.yaml"]
            examples = [*(ROOT / "examples").rglob(Path(files[0]).name), ROOT / "examples/users-every-2-hours.yaml"]
            options = [word for word in words if word.startswith("--") and word not in ("--execute", "--help")]
            assert launching([str(examples[0]), *options]) == 0, capsys.readouterr().err
        case ["sync-to-bigquery", *words]:
            return wrong_words(words)
        case ["uvx", "--from", _, "sync-to-bigquery", *words]:
            return wrong_words(words)
        case ["pipx", "install", _] | ["python", "main.py", "--config=sync.yaml"]:
            pass
        case ["python", "main.py", *words]:
            RunConfig.from_parameters(parse_command_line(words).parameters)
        case ["python", "-m", "orchestration.composer", "check", _]:
            pass
        case ["curl", *words]:
            return ", ".join(word for word in words if word.startswith("--") and "=" in word) or None
        case ["terraform", folder, "init" | "apply", *words]:
            declared = re.findall(r'^variable "(\w+)"', read(f"{folder.removeprefix('-chdir=')}/main.tf"), re.MULTILINE)
            assert {word.split("=")[1] for word in words} <= set(declared)
        case ["python", "-m", "sandbox", *words]:
            arguments_of(words)
        case ["python", "-m", "sync_pipeline.parameters.documents", *words]:
            assert set(words) <= {"--check"}
        case ["make", target, *_]:
            if not re.search(rf"^{target}:.*## ", read("Makefile"), re.MULTILINE):
                return f"make has no target {target}"
        case ["gcloud", "auth", "application-default", "login"] | ["docker", "build" | "push", *_]:
            pass
        case ["gcloud", *_]:
            return problem(shlex.join(command), tree())
        case _:
            return f"nothing here knows {command[:3]}"
    return None


def wrong_words(words: list[str]) -> str | None:
    """What `sync-to-bigquery` would not understand of its words, or None."""
    match words:
        case ["--help" | "--version" | "version"] | ["completion", "bash" | "zsh" | "fish"]:
            return None
        case ["chain", "check" | "graph" | "render" | "run", _]:
            return None
        case [name, *rest] if name in COMMANDS:
            options = {option.rstrip("=") for option in options_of(name)}
            given = {word.partition("=")[0] for word in rest if word.startswith("-")}
            return ", ".join(given - options) or None
    return f"no command {words[:1]}"


@pytest.mark.parametrize("name", PAGES)
def test_programs_accept_the_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(name)
    assert found
    assert [told for command in found if (told := wrong(command, capsys))] == []


def test_a_command_that_is_wrong_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    ((command, _),) = recorded('a=(--data_sourc=postgresql)\npython main.py "${a[@]}"\n')
    with pytest.raises(Exception, match="data_source"):
        wrong(command, capsys)
    assert wrong(["make", "nothing"], capsys) == "make has no target nothing"
    with pytest.raises(SystemExit):
        wrong(["python", "-m", "sandbox", "drop"], capsys)
    with pytest.raises(AssertionError, match="no program nonsense"):
        recorded("nonsense --all\n")


@pytest.mark.parametrize("name", WITH_YAML)
def test_yaml_is_read_by_the_code_that_reads_it(name: str, tmp_path: Path) -> None:
    for text in blocks(name, "yaml"):
        title = re.match(r"# ([\w-]+\.yaml)\n", text)
        if title is not None and title[1] in GOOGLES:
            continue
        content = yaml.safe_load(text)
        if "job_name" in content:
            read_launch(text)
        elif "parameters" in content and "job_name" not in content:
            parameters = read_local_run(text)
            del parameters["temp_location"]
            RunConfig.from_parameters(parameters)
        elif "steps" in content:
            _accept_chain(text, content, tmp_path)
        elif "launch_file" in content:
            _accept_manifest(text, content, tmp_path)
        elif "tables" not in content:
            _accept_fragment(content)


def _accept_chain(text: str, content: dict[str, Any], folder: Path) -> None:
    """Accept a chain, whose launch files are examples of ours."""
    for step in content["steps"].values():
        if "launch" in step:
            (folder / step["launch"]).write_text(read("examples/users-every-2-hours.yaml"), encoding="utf-8")
    (folder / "chain.yaml").write_text(text, encoding="utf-8")
    read_chain(folder / "chain.yaml")


def _accept_manifest(text: str, content: dict[str, Any], folder: Path) -> None:
    """Accept a manifest of Composer, whose launch file is the example's."""
    launch = folder / content["launch_file"]
    launch.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "examples/composer" / content["launch_file"], launch)
    kind = "rollout" if "rollout" in content else "schedule"
    (folder / f"orders.{kind}.yaml").write_text(text, encoding="utf-8")
    assert list(problems_in(read_manifests(str(folder)))) == []


def _accept_fragment(content: dict[str, Any]) -> None:
    """Accept some parameters of a sync, together with the others that it needs."""
    assert content.keys() <= BY_NAME.keys()
    source = content.get("data_source") or next(
        (source for name in content for source in BY_NAME[name].sources), "postgresql"
    )
    rest = {name: value for name, value in REST[source].items() if not name.endswith("_query")}
    tables = {"postgresql_table", "source_bigquery_table", "postgresql_query", "postgresql_base_query"}
    parameters = (rest if tables & content.keys() else REST[source]) | DESTINATION
    given = {name: _text(value) for name, value in content.items()}
    if "primary_key" in given:
        parameters |= {"enable_smart_sync": "true", "enable_auto_schema": "true"}
    RunConfig.from_parameters(parameters | given)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
