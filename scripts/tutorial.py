"""The tutorial's commands, run: their outputs in docs/tutorial.md, and the page as a notebook.

    python scripts/tutorial.py             # runs all of it, in a new folder: a few minutes
    python scripts/tutorial.py --check     # exit code 1 where the notebook is not the page's

docs/tutorial.md is the source. Its `sh` and `python` blocks are the cells, the `text` block behind
one is what it printed, and an image is a file that a command has made. Needs the extra `docs`.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent.parent / "docs"
PAGE, NOTEBOOK = DOCS / "tutorial.md", DOCS / "tutorial.ipynb"
PICTURES = Path("pictures") / "tutorial"
PART = re.compile(
    r"^```(?P<language>sh|python)\n(?P<code>.*?)\n```\n(?:\n```text\n.*?\n```\n)?"
    rf"|^!\[(?P<says>[^]]*)\]\({PICTURES}/(?P<picture>[\w.]+)\)\n",
    re.MULTILINE | re.DOTALL,
)
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "file_extension": ".py"},
}
SETUP = "%env FORCE_COLOR="
"""The notebook's first cell: what it shows is no terminal, though Jupyter says so."""
LONG, HEAD, TAIL = 60, 12, 24
"""An output of more lines is shown on the page by its first and last ones; the notebook has all."""
PATIENCE = 300
"""Seconds that a cell may take."""


class Part(NamedTuple):
    """A stretch of the page: prose, or what becomes a cell of code."""

    kind: str
    """prose, sh, python or image."""
    text: str
    """The prose, the code or the file's name."""
    says: str = ""
    """What an image is described by."""


def parts(page: str) -> Iterator[Part]:
    """-> the page in its parts, the outputs left out."""
    at = 0
    for match in PART.finditer(page):
        if prose := page[at : match.start()].strip():
            yield Part("prose", prose)
        if match["picture"]:
            yield Part("image", match["picture"], match["says"])
        else:
            yield Part(match["language"], match["code"])
        at = match.end()
    if prose := page[at:].strip():
        yield Part("prose", prose)


def cells(page: str) -> list[tuple[str, str]]:
    """-> the cells of the page's notebook, each its kind and its source."""
    image = 'from IPython.display import Image\n\nImage("{}")'
    source = {"prose": "{}", "sh": "%%sh\n{}", "python": "{}", "image": image}
    found = [
        ("markdown" if part.kind == "prose" else "code", source[part.kind].format(part.text))
        for part in parts(page)
    ]
    return [("code", SETUP), *found]


def notebook(page: str) -> Any:
    """-> the page as a notebook that has not been run."""
    from nbformat import v4

    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    made = [
        make[kind](source, id=f"cell-{number}")  # the same ones every time
        for number, (kind, source) in enumerate(cells(page))
    ]
    return v4.new_notebook(cells=made, metadata=METADATA)


def run(made: Any, folder: Path) -> None:
    """Run a notebook in a folder, as with nothing compiled before. Raises CellExecutionError."""
    from nbclient import NotebookClient

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(folder / ".cache")}
    client = NotebookClient(
        made,
        timeout=PATIENCE,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    made["metadata"] = METADATA


def printed(cell: dict) -> str:
    """-> what a cell has printed, as the page shows it."""
    streams = [x["text"] for x in cell["outputs"] if x["output_type"] == "stream"]
    lines = [line.rstrip() for line in "".join(map("".join, streams)).splitlines()]
    if len(lines) > LONG:
        lines = [*lines[:HEAD], "...", *lines[-TAIL:]]
    return "\n".join(lines)


def written(page: str, made: dict) -> str:
    """-> the page with the outputs of the notebook that it became."""
    stretches = []
    for part, cell in zip(parts(page), made["cells"][1:], strict=True):
        if part.kind == "prose":
            stretches.append(part.text)
        elif part.kind == "image":
            stretches.append(f"![{part.says}]({PICTURES}/{part.text})")
        else:
            stretches.append(f"```{part.kind}\n{part.text}\n```")
            if output := printed(cell):
                stretches.append(f"```text\n{output}\n```")
    return "\n\n".join(stretches) + "\n"


def is_of(made: dict, page: str) -> bool:
    """Whether a notebook has the cells of the page, and the page its outputs."""
    known = [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]]
    return known == cells(page) and written(page, made) == page


def main() -> int:
    """Run the page and write what it became, or say whether the notebook is the page's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="run and write nothing")
    page = PAGE.read_text()
    if parser.parse_args().check:
        if is_of(json.loads(NOTEBOOK.read_text()), page):
            return 0
        print("docs/tutorial.ipynb is not docs/tutorial.md: type python scripts/tutorial.py")
        return 1
    import nbformat

    made = notebook(page)
    with tempfile.TemporaryDirectory() as folder:
        run(made, Path(folder))
        for part in parts(page):
            if part.kind == "image":
                (DOCS / PICTURES).mkdir(parents=True, exist_ok=True)
                (DOCS / PICTURES / part.text).write_bytes((Path(folder) / part.text).read_bytes())
    nbformat.write(made, NOTEBOOK)
    PAGE.write_text(written(page, made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
