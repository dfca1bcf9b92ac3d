"""Makes the website of pages in `docs/` and of documents in the repository's root, and lets pages link to any file.

In the repository such a link is relative to the page, as any reader of Markdown expects: `../../examples/x.yaml`. The
website gets a copy of the file under the same path. A link to a missing file stays, and ends a strict build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Documents in the repository's root that are pages of the website, by their path there.
PROJECT = {"README.md": "index.md"} | {
    name: name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
}

_LINK = re.compile(r"(?<=\]\()(?!https?:|#)[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's documents, and the files outside of `docs/` to which pages link."""
    root = Path(config.docs_dir).parent
    for name, address in PROJECT.items():
        files.append(File.generated(config, address, abs_src_path=str(root / name)))
    for file in list(files.documentation_pages()):
        for target in _LINK.findall(Path(str(file.abs_src_path)).read_text(encoding="utf-8")):
            path = _path(file, target, root)
            address = _address(path)
            if (root / path).is_file() and files.get_file_from_path(address) is None:
                files.append(File.generated(config, address, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Turn links between places of the repository into links between places of the website."""
    root, file = Path(config.docs_dir).parent, page.file

    def link(match: re.Match[str]) -> str:
        address = _address(_path(file, match[0], root))
        return posixpath.relpath(address, posixpath.dirname(file.src_uri) or ".")

    return _LINK.sub(link, markdown)


def _path(file: File, target: str, root: Path) -> str:
    """Return the path below the repository's root that a link of a page leads to."""
    source = Path(str(file.abs_src_path)).relative_to(root).as_posix()
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _address(path: str) -> str:
    """Return the path on the website, as a source, of a file of the repository."""
    return PROJECT.get(path, path.removeprefix("docs/"))
