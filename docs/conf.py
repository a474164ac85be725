"""The documentation as a site, from the pages of this folder: `sphinx-build -W docs site`, with the
extra `docs`. Nothing of it is loaded from another host."""

import re

from sphinx.application import Sphinx

project = "esrun"
author = "The esrun authors"
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "esrun"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def with_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Make the pages that index.md links to, in their order, the contents of the site."""
    if name == "index":
        pages = re.findall(r"^- \[.+?\]\((\w+)\.md\)", source[0], re.MULTILINE)
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", with_contents)
