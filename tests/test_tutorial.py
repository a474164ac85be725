"""The tutorial: a page and the notebook that it became."""

import json

import pytest
from conftest import script

tutorial = script("tutorial.py")

PAGE = tutorial.PAGE.read_text()
NOTEBOOK = json.loads(tutorial.NOTEBOOK.read_text())


def test_page_and_notebook_are_the_same():
    assert tutorial.is_of(NOTEBOOK, PAGE), "type: python scripts/tutorial.py"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("generations=100", "generations=90"),
        ("run folder: ", "folder: "),
        ("## Look", "## See"),
        ("/curves.png", "/other.png"),
    ],
)
def test_a_page_that_was_changed_alone_is_found_out(old, new):
    assert old in PAGE
    assert not tutorial.is_of(NOTEBOOK, PAGE.replace(old, new, 1))


def test_every_cell_was_run_in_its_order_and_none_failed():
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [x for cell in code for x in cell["outputs"]]
    assert {x["output_type"] for x in outputs} == {"stream", "execute_result"}
    assert {x.get("name", "stdout") for x in outputs} == {"stdout"}  # nothing was complained of
    pictures = [x for x in outputs if x["output_type"] == "execute_result"]
    assert len(pictures) == len([part for part in tutorial.parts(PAGE) if part.kind == "image"])


def test_the_notebook_says_nothing_of_the_machine_that_ran_it():
    assert NOTEBOOK["metadata"] == tutorial.METADATA
    assert {str(cell["metadata"]) for cell in NOTEBOOK["cells"]} == {"{}"}
    said = [x.get("text", "") for cell in NOTEBOOK["cells"] for x in cell.get("outputs", ())]
    printed = "".join(map("".join, said))
    assert "outputs/" in printed
    assert not any(word in printed for word in ("/tmp", "/home", "/root", "/work", "\x1b"))


def test_the_page_goes_from_a_first_run_to_a_comparison():
    shown = [part.text for part in tutorial.parts(PAGE) if part.kind == "sh"]
    verbs = [line.split()[1] for line in shown]
    order = ["task=pendulum", "eval", "plot", "render", "help", "explain", "resume", "-m"]
    assert sorted(order, key=verbs.index) == order
    for part in tutorial.parts(PAGE):
        if part.kind == "image":
            assert (tutorial.DOCS / tutorial.PICTURES / part.text).is_file()
            assert any(f"-o {part.text}" in line for line in shown)


@pytest.mark.slow
@pytest.mark.commands
@pytest.mark.filterwarnings("ignore")  # of the packages that run notebooks
def test_everything_on_the_page_can_be_typed(tmp_path):
    pytest.importorskip("nbclient", reason="the extra docs is not installed")
    made = tutorial.notebook(PAGE)
    tutorial.run(made, tmp_path)  # raises where a cell fails
    for part, cell in zip(tutorial.parts(PAGE), made["cells"][1:], strict=True):
        assert part.kind == "prose" or cell["outputs"]
