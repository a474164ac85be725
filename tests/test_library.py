"""esrun as a library: its front, and the program of docs/library.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import esrun

pytestmark = pytest.mark.runs

PAGE = Path(__file__).parent.parent / "docs" / "library.md"


@pytest.mark.commands
def test_importing_it_imports_nothing_heavy():
    code = "import sys, esrun; "
    code += "heavy = {'jax', 'pydantic', 'hydra', 'numpy', 'rich'} & {*sys.modules}; "
    code += "assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_front_is_what_it_says():
    assert {name for name in esrun.__all__ if getattr(esrun, name) is not None} == {*esrun.__all__}
    assert esrun.configure("seed=3").seed == 3


@pytest.mark.commands
def test_the_programs_of_the_page_run():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    assert len(blocks[0].splitlines()) <= 30
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [f"generation {g}" for g in (10, 20, 30)]
    assert lines[3].startswith("action ")
    assert lines[-1].startswith("generations ")


def test_types_go_with_the_wheel(wheel):
    assert (wheel / "esrun" / "py.typed").exists()
