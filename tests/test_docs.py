"""The documents tell the truth: names in them exist, examples are accepted, messages are the product's."""

import ast
import importlib.util
import itertools
import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestration.chain.reading import STEP_KEYS, read_chain
from sandbox.discovery import schemas
from sync_pipeline.bigquery_api.own_tables import DEAD_LETTER_SCHEMA
from sync_pipeline.launching.cloud_run import KEYS as CLOUD_RUN_KEYS
from sync_pipeline.launching.launch_file import KEYS as LAUNCH_KEYS
from sync_pipeline.launching.launch_file import read_launch
from sync_pipeline.parameters.config import SyncConfig
from sync_pipeline.parameters.job_labels import template_labels
from sync_pipeline.parameters.outputs import OUTPUT_NAMES
from sync_pipeline.parameters.run_config import RunConfig
from sync_pipeline.parameters.table import BY_NAME
from sync_pipeline.parameters.transformation_config import TransformationConfig
from tests.parameter_sets import POSTGRESQL

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "sandbox/README.md",
    *PAGES,
)
FOLDERS = ("sync_pipeline", "sandbox", "benchmarks", "orchestration", "tests")

# Files that a reader is told to make.
EXAMPLES = frozenset(
    {
        "NAME.rollout.yaml",
        "NAME.schedule.yaml",
        "events.yaml",
        "orders.yaml",
        "shop.yaml",
        "users.yaml",
        "sync.yaml",
        "lifecycle.json",
        "sync-to-bigquery.json",
        "sbom.cdx.json",
        "sync_pipeline/sources/NAME/parameters.py",
    }
)

HOSTS = frozenset({"keepachangelog.com", "semver.org"})
# The pages of tools that the documents compare us with.
HOSTS |= {"bruin-data.github.io", "cloud.google.com", "dlthub.com", "docs.airbyte.com", "docs.cloud.google.com"}
HOSTS |= {"docs.slingdata.io", "github.com"}
HOSTS |= {"img.shields.io"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", read(name), flags=re.DOTALL | re.MULTILINE)


def anchors(name: str) -> set[str]:
    """The anchors that headings get: lower case, without punctuation, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def page(title: str) -> str:
    """The text of the page of `docs/` that has this title."""
    (text,) = (text for text in map(read, PAGES) if text.startswith(f"# {title}\n"))
    return text


def section(heading: str, name: str) -> str:
    """The text of a document below a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", read(name), re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


def first_column(title: str) -> list[str]:
    """The cells with code in the first column of the page's tables."""
    return [line.split("|")[1].strip() for line in page(title).splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(name)):
        if target.startswith("https://"):
            assert urlsplit(target).hostname in HOSTS, target
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        assert not anchor or anchor in anchors(str(found.resolve().relative_to(ROOT))), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name: str) -> None:
    for path in re.findall(r"`([\w./-]+\.(?:py|md|json|toml|txt|yaml|yml))`", prose(name)):
        found = (ROOT / path).exists() or any(file for folder in FOLDERS for file in (ROOT / folder).rglob(path))
        assert found or path in EXAMPLES, f"{name} names {path}"
    for path in re.findall(r"`([\w.-]+/)`", prose(name)):
        assert (
            (ROOT / path).is_dir() or (ROOT / "sync_pipeline" / path).is_dir() or path in ("sync/", "tmp/", "sbom/")
        ), f"{name} names {path}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_that_are_named_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", read(name), re.MULTILINE)) <= targets
    for module in re.findall(r"python -m ([\w.]+)", read(name)):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_about_the_product(name: str) -> None:
    text = read(name)
    assert str(ROOT) not in text
    assert not re.search(r"(?<!&)#\d|\b(?:TODO|FIXME|XXX)\b", text)
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_the_architecture_is_read_in_ten_minutes() -> None:
    assert len(read("ARCHITECTURE.md").split()) <= 2_300


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 250


def test_the_license_is_whole() -> None:
    text = read("LICENSE")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert text.rstrip().endswith("limitations under the License.")


@pytest.mark.parametrize("name", ["README.md", "sandbox/README.md", *PAGES])
def test_a_sync_is_written_as_a_launch_file(name: str) -> None:
    text = read(name)
    assert not re.search(
        r"--flags-file|^--\w|python -m (sync_pipeline\.launching|orchestration\.chain)", text, re.MULTILINE
    )
    # The template's own command, and the first job of a new deployment.
    if name not in ("docs/reference/template.md", "docs/how-to/deploy.md"):
        assert not re.search(r"flex-template run .*--param", text, re.DOTALL)
        assert "python main.py --d" not in text


def test_every_source_has_a_launch_file() -> None:
    launches = [read_launch(text) for text in re.findall(r"```yaml\n(.*?)```", page("Launch"), re.DOTALL)]
    assert [launch.parameters["data_source"] for launch in launches] == list(BY_NAME["data_source"].choices)
    assert [launch.warnings for launch in launches] == [()] * len(launches)


def test_the_launch_file_is_accepted() -> None:
    block = re.search(r"```yaml\n(.*?)```", page("Schedule"), re.DOTALL)
    assert block is not None
    launch = read_launch(block[1])
    assert launch.warnings == ()
    assert launch.schedule is not None
    table = page("Launch file").split("| Key | Holds |")[1].split("\n\n")[0]
    keys = {key for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)}
    assert keys == set(LAUNCH_KEYS)


def test_the_launch_file_of_cloud_run_is_accepted() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", page("Run on Cloud Run"), re.DOTALL)
    launch = read_launch(block)
    assert launch.cloud_run is not None
    assert launch.warnings == ()
    table = page("Run on Cloud Run").split("| Key of `cloud_run` | Holds |")[1].split("\n\n")[0]
    named = {key for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)}
    assert named == set(CLOUD_RUN_KEYS)


def test_the_chain_is_accepted(tmp_path: Path) -> None:
    text = page("Run jobs one after the other")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (launch,) = re.findall(r"```yaml\n(.*?)```", page("Schedule"), re.DOTALL)
    for name in ("nightly", "users-sync", "orders-sync"):
        (tmp_path / f"{name}.yaml").write_text(block if name == "nightly" else launch)
    chain = read_chain(tmp_path / "nightly.yaml")
    assert chain.first == ["load-users", "load-orders"]
    table = text.split("| Key of a step | Holds |")[1].split("\n\n")[0]
    named = {key for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)}
    assert named == set(STEP_KEYS)


def test_the_tables_file_is_accepted(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", page("Many tables in one run"), re.DOTALL)
    file = tmp_path / "tables.yaml"
    file.write_text(text, encoding="utf-8")
    parameters = {name: value for name, value in POSTGRESQL.items() if name != "postgresql_query"}
    config = RunConfig.from_parameters({**parameters, "destination_bigquery_table": "", "tables_file": str(file)})
    assert config.selection is not None
    assert config.warnings == ()


def test_every_example_and_every_pattern_of_a_schedule_is_accepted() -> None:
    files = re.findall(r"\]\(../../examples/([\w-]+\.yaml)\)", page("Schedule"))
    assert set(files) == {path.name for path in (ROOT / "examples").glob("*.yaml")}
    patterns = re.findall(r"^\| `([^`]+)` \| \w+.*\| .*\|$", page("Schedule").split("| `cron` | Runs")[1], re.MULTILINE)
    assert len(patterns) == 9
    text = (ROOT / "examples" / files[0]).read_text(encoding="utf-8")
    for pattern in patterns:
        launch = read_launch(re.sub('cron: ".*"', f'cron: "{pattern}"', text))
        assert launch.schedule is not None
        assert launch.schedule.cron == pattern


def test_the_launch_on_one_line_is_accepted() -> None:
    words = re.search(r'--parameters="\^~\^(.*?)"', page("The template"))
    assert words is not None
    config = SyncConfig.from_parameters(dict(word.split("=", 1) for word in words[1].split("~")))
    assert config.warnings == ()


def test_examples_of_transformations_are_accepted() -> None:
    examples = re.findall(r"`(\{.*?\})` \|", page("Transformations"))
    keys = {key for example in examples for key in TransformationConfig.from_json(example).model_fields_set}
    assert keys == set(TransformationConfig.model_fields)


def test_the_lifecycle_rule_is_json() -> None:
    block = re.search(r"<<'END'\n(.*?)\nEND", page("Staging and clean-up"), re.DOTALL)
    assert block is not None
    assert json.loads(block[1])["rule"][0]["condition"]["matchesPrefix"] == ["tmp/sync/"]


def test_parameters_that_are_named_exist() -> None:
    given = re.findall(r"`(\w+)=\w*`", "".join(map(prose, ("README.md", *PAGES))))
    assert given
    assert set(given) <= BY_NAME.keys() | {"jobName"}


@pytest.mark.parametrize("cell", first_column("Troubleshooting"))
def test_messages_are_the_products(cell: str) -> None:
    for message in re.findall(r"`([^`]+)`", cell):
        assert any(message in text for text in _texts()), message


@pytest.mark.parametrize("cell", first_column("Exit codes, logs and counters"))
def test_counters_are_the_products(cell: str) -> None:
    for name in re.findall(r"\w+", cell):
        assert any(name in path.read_text(encoding="utf-8") for path in (ROOT / "sync_pipeline").rglob("*.py")), name


def test_the_columns_of_dead_letters_are_the_products() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", page("Dead letters"), re.MULTILINE)
    assert rows == [(field.name, field.type) for field in DEAD_LETTER_SCHEMA]


def test_every_choice_of_schema_evolution_has_a_column() -> None:
    header = next(line for line in page("Schema evolution").splitlines() if line.startswith("| Change"))
    assert tuple(re.findall(r"`(\w+)`", header)) == BY_NAME["schema_evolution"].choices


@cache
def _texts() -> tuple[str, ...]:
    """All texts in the product's code, with an ellipsis for each value that is filled in."""
    texts = []
    for path in (ROOT / "sync_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)):
                    texts.append(text)
                case ast.JoinedStr(values=parts):
                    texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts))
    return tuple(texts)


@pytest.mark.parametrize(
    ("result", "names"),
    [
        pytest.param("mongodb", ("ours_vs_raw_drain", "ours_vs_row_beam", "ours_vs_dlt"), id="mongodb"),
        pytest.param("bigquery", ("ours_vs_beam_read", "short_way_worker_bytes"), id="bigquery"),
        pytest.param("memory", ("peak_mb_300k", "peak_mb_3m"), id="memory"),
        pytest.param(
            "deletes",
            ("reload_vs_deletes", "reload_buffers_vs_deletes", "python_vs_deletes", "peak_vs_tenth"),
            id="deletes",
        ),
    ],
)
def test_the_figures_are_those_that_were_measured(result: str, names: tuple[str, ...]) -> None:
    document = json.loads(read(f"benchmarks/results/{result}.json"))
    _, others = page("Performance").split("## Other sources, and memory")
    rows = [[cell.strip() for cell in row.split("|")] for row in others.splitlines() if row.startswith("| ")]
    begin = next(number for number, row in enumerate(rows) if row[1] == f"`make bench-{result}`")
    results = [rows[begin][3]]
    results += [row[3] for row in itertools.takewhile(lambda row: not row[1], rows[begin + 1 :])]
    assert re.findall(r"\d[\d.]*", " ".join(results)) == [str(document[name]) for name in names]


def test_the_architecture_names_every_room() -> None:
    packages = {f"{path.parent.name}/" for path in (ROOT / "sync_pipeline").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+/)`", section("Rooms", "ARCHITECTURE.md"), re.MULTILINE)) == packages


def test_importers_find_what_they_are_told() -> None:
    text = page("Launch the template from another program")
    assert set(re.findall(r"`(output_\w+)`", text)) == OUTPUT_NAMES
    assert template_labels().keys() <= set(re.findall(r"`([a-z][a-z_-]+)`", text))
    states = schemas("dataflow.v1b3")["Job"]["properties"]["currentState"]["enum"]
    assert set(re.findall(r"`(JOB_STATE_\w+)`", text)) <= set(states)
