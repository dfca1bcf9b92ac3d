"""The website of the documentation: links lead where they lead in the repository, and a wrong one fails the build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "# A page\n\n[file](../../examples/a.yaml) [home](../../README.md#start) [page](../other.md#one-two)\n"


def build(root: Path, page: str) -> subprocess.CompletedProcess[str]:
    """Build the website of a small repository with our settings."""
    for name in (
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CODE_OF_CONDUCT.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ):
        (root / name).write_text("# Title\n\n## Start\n\n[page](docs/how-to/page.md)\n")
    (root / "examples").mkdir()
    (root / "examples/a.yaml").write_text("a: 1\n")
    (root / "docs/how-to").mkdir(parents=True)
    (root / "docs/other.md").write_text("# Other\n\n## One two\n")
    (root / "docs/how-to/page.md").write_text(page)
    shutil.copy(ROOT / "docs/links.py", root / "docs/links.py")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (root / "mkdocs.yml").write_text(settings[: settings.index("\nnav:")])
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_links_lead_to_files_outside_of_the_pages(tmp_path: Path) -> None:
    done = build(tmp_path, PAGE)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "build/site"
    assert (site / "examples/a.yaml").read_text() == "a: 1\n"
    html = (site / "how-to/page.html").read_text()
    for link in ("../examples/a.yaml", "../index.html#start", "../other.html#one-two"):
        assert f'href="{link}"' in html
    assert 'href="how-to/page.html"' in (site / "index.html").read_text()


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("../../examples/b.yaml", id="file"),
        pytest.param("../others.md", id="page"),
        pytest.param("../other.md#two", id="anchor"),
        pytest.param("../../README.md#end", id="anchor of the first page"),
    ],
)
def test_a_wrong_link_fails_the_build(tmp_path: Path, link: str) -> None:
    done = build(tmp_path, f"# A page\n\n[wrong]({link})\n")
    assert done.returncode == 1
    assert "contains a link" in done.stderr
