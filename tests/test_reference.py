"""The page of every key says what the yaml files and the schema say."""

import pytest
from conftest import script

from esrun.config import CONF_DIR

reference = script("reference.py")

PAGE = reference.PAGE.read_text()
ROWS = [
    "| `seed` | whole number ≥ 0 and < 4294967296 | `0` |",
    "| `generations` | whole number ≥ 1 | `task.generations`, or else `200` |",
    "| `stop.eval` | number, or `null` | `null` | held-out mean |",
    "| `checkpoint.keep_at` | list of whole numbers ≥ 1 | `[]` |",
    "| `progress` | `auto` or `off` | `auto` |",
    "| `strategy.population_size` | `auto`, or whole number ≥ 2 | `100` | members; auto:",
    "| `strategy.restarts` | `ipop` or `bipop`, or `null` | `null` |",
    "| `strategy.parents` | whole number ≥ 1, or `null` | `null` |",
    "| `strategy.c_sigma` | number > 0 and < 1, or `null` | `null` |",
    "| `policy.bias` | `true` or `false` | `true` |",
    "| `task.function` | whole number ≥ 1 and ≤ 24 | `1` |",
    "| `task.env_params.max_torque` | number | `2.0` | N m |",
    "| `task.env` | text | to be given |",
    "| `logger.wandb.tags` | list of texts | `[]` |",
    "It brings `policy=vector`.",
]
"""Read off the yaml files and the schema by hand."""


def test_the_page_is_what_the_files_say():
    assert reference.page() == PAGE, "type: python scripts/reference.py"


@pytest.mark.parametrize("row", ROWS)
def test_a_key_has_its_bounds_its_default_and_its_comment(row):
    assert row in PAGE


def test_no_option_and_no_key_is_missing():
    for file in CONF_DIR.glob("*/*.yaml"):
        group, name = file.parent.name, file.stem
        _, heading, section = PAGE.partition(f"\n### {group}={name}\n")
        assert heading, file
        section = section.partition("\n##")[0]
        for key in reference.keys_of(file.read_text()):
            is_key = key.written is not None and key.path[0] not in ("defaults", "name")
            assert not is_key or ".".join(key.path) in section, (file, key)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("a: 1  # s; b # c", (("a",), "1", "s; b # c")),
        ("a: '#'  # a sign", (("a",), "'#'", "a sign")),
        ("a: [1, 2]", (("a",), "[1, 2]", "")),
        ("a: {b: 1}  # both", (("a",), "{b: 1}", "both")),
        ("a:  # a section\n  b: null", (("a",), None, "a section")),
    ],
)
def test_a_comment_is_what_stands_behind_the_value(line, key):
    assert tuple(reference.keys_of(line)[0]) == key


def test_a_page_that_has_fallen_behind_is_told(monkeypatch, tmp_path, capsys):
    old = tmp_path / "reference.md"
    old.write_text(PAGE.replace("held-out mean", "held-out"))
    monkeypatch.setattr(reference, "PAGE", old)
    monkeypatch.setattr("sys.argv", ["reference.py", "--check"])
    assert reference.main() == 1
    assert "type python scripts/reference.py" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["reference.py"])
    assert reference.main() == 0
    assert old.read_text() == PAGE
