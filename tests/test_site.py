"""The pages as a site: nothing is missing, no link is dead, nothing comes from another host."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source|video)\b[^>]*\b(?:src|href|srcset)\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//"""
)
"""What a browser would load from another host; a link that is followed by hand is none."""


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    dead = [x for x in LINK.findall(text) if not (page.parent / x).resolve().is_relative_to(ROOT)]
    dead += [x for x in LINK.findall(text) if not (page.parent / x).exists()]
    assert dead == []


def test_every_page_is_in_the_contents():
    index = (DOCS / "index.md").read_text()
    linked = re.findall(r"^- \[.+?\]\((\w+\.md)\)", index, re.MULTILINE)
    assert sorted([*linked, "index.md"]) == [page.name for page in PAGES]


@pytest.mark.slow
@pytest.mark.commands
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="the extra docs is not installed")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", DOCS, tmp_path / "site"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in PAGES} <= built
    assert list((tmp_path / "site").glob("_downloads/*/tutorial.ipynb"))
    for file in (tmp_path / "site").rglob("*"):
        if file.suffix in (".html", ".css", ".js"):
            assert not LOADED.search(file.read_text()), file


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js">',
        "<link rel=stylesheet href=//fonts.example/a.css>",
        "a { background: url(http://x.example/a.png) }",
    ],
)
def test_what_comes_from_elsewhere_would_be_seen(text):
    assert LOADED.search(text)
    assert not LOADED.search(text.replace("https://", "_static/").replace("//", "_static/"))
