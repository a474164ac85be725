"""The table of measured results: each seed a line, none run twice, none left out."""

import json
import os
import sys

import pytest
from conftest import ROOT, script

results = script("results.py")
LINE = {"episodes": 128, "stop_reason": "generations", "generations": 2, "env_steps": 3_210_000,
        "seconds": 1.5, "machine": "2 CPU cores", "jax": "0.10.2"}  # fmt: skip


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """-> a folder with a project's README and experiments, and two rows."""
    (tmp_path / "experiment").mkdir()
    for name in ("RECORDS", "EXPERIMENTS"):
        monkeypatch.setattr(results, name, tmp_path / name.lower().rstrip("s"))
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    small = "task=sphere task.dimension=3 generations=4 eval.episodes=2 runtime.devices=1"
    monkeypatch.setattr(results, "REFERENCE", tmp_path / "nothing.py")
    (tmp_path / "nothing.py").touch()
    made = {"small": results.Row(small, "nothing", 3), "digits": results.Row("experiment=digits")}
    monkeypatch.setattr(results, "ROWS", made)
    monkeypatch.setattr(results, "SEEDS", 3)
    return tmp_path


@pytest.fixture
def keyed(monkeypatch):
    """All rows have one configuration and one code."""
    monkeypatch.setattr(results, "config_of", lambda words: "c")
    monkeypatch.setattr(results, "code", lambda: "d")


def wrote(name, scores, key=("c", "d"), **other):
    results.RECORDS.mkdir(exist_ok=True)
    with (results.RECORDS / f"{name}.jsonl").open("a") as file:
        for seed, score in scores.items():
            one = {**LINE, "seed": seed, "score": score, "config": key[0], "code": key[1], **other}
            file.write(json.dumps(one) + "\n")


def write():
    for path, text in results.written():
        path.write_text(text)


def test_what_is_stated_is_what_was_recorded():
    for path, text in results.written():
        assert path.read_text() == text, f"{path.name}: python scripts/results.py --table"


def test_the_table_has_every_seed_of_the_newest_configuration(rows, keyed):
    wrote("small", dict.fromkeys(range(3), 9.0), ("old", "d"))
    wrote("small", {0: -1.0, 1: -200.04, 2: -3.0})
    wrote("small", {2: -2.5}, ("c", "later"))
    results.README.write_text("a\n<!-- results -->\nan old one\n<!-- /results -->\nz\n")
    (results.EXPERIMENTS / "digits.yaml").write_text("# @package _global_\n# What it is.\na: 1\n")
    write()
    table = results.README.read_text().splitlines()
    assert table[:2] == ["a", "<!-- results -->"]
    assert table[-2:] == ["<!-- /results -->", "z"]
    assert table[4:-2] == [
        f"| `esrun {results.ROWS['small'].words}` | −2.5 | −200 | 3.2e6 | 1.5 | nothing |"
    ]
    assert "Held-out" not in (results.EXPERIMENTS / "digits.yaml").read_text()


def test_a_seed_that_failed_is_the_worst_one(rows, keyed):
    wrote("small", {0: -1.0, 1: None, 2: -3.0})
    assert results.scores(results.newest("small")) == ("−3", "failed")


def test_the_header_stands_once_behind_what_the_option_says(rows, keyed):
    yaml = results.EXPERIMENTS / "digits.yaml"
    yaml.write_text(
        "# @package _global_\n# What it is.\ngenerations: 3  # Held-out mean of seeds\n"
    )
    for score in (1.0, 0.5):
        wrote("digits", dict.fromkeys(range(10), score))
        results.README.write_text("<!-- results -->\n<!-- /results -->\n")
        write()
        assert yaml.read_text().splitlines() == [
            "# @package _global_",
            "# What it is.",
            f"# Held-out mean of seeds 0 to 9: {score:g} in the median, {score:g} at worst "
            "(128 episodes; a run: 3.2e6 env steps, 1.5 s; 2 CPU cores, JAX 0.10.2):",
            "# esrun -m experiment=digits 'seed=range(10)'",
            "generations: 3  # Held-out mean of seeds",
        ]


def test_comments_change_no_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    file = tmp_path / "esrun" / results.COMPUTING[0] / "a.py"
    file.parent.mkdir(parents=True)
    texts = ('"""A."""\ndef f():\n    """B."""\n    return 1\n', "def f():  # C\n    return 1\n",
             "def f():\n    return 2\n")  # fmt: skip
    digests = []
    for text in texts:
        file.write_text(text)
        digests.append(results.code())
    assert digests[0] == digests[1] != digests[2]


def test_only_what_changes_bits_is_another_key():
    words = "task=pendulum strategy=cma_es"
    key = results.key_of(words)
    same = "seed=7 runtime.devices=1 runtime.parallel_runs=1 progress=off checkpoint.every=3"
    assert results.key_of(f"{words} {same}") == key
    for other in ("generations=7", "strategy.sigma=0.2", "eval.episodes=7", "stop.eval=1"):
        assert results.key_of(f"{words} {other}").config != key.config


@pytest.mark.commands
def test_seeds_that_are_there_are_not_run_again(rows, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked = ["results.py", "small", "--folder", str(rows / "runs")]
    results.README.write_text("<!-- results -->\n<!-- /results -->\n")
    for seeds, said in ((2, "small: seeds 0, 1\n"), (3, "small: seeds 2\n"), (3, "")):
        monkeypatch.setattr(sys, "argv", [*asked, "--seeds", str(seeds)])
        assert results.main() == 0
        assert capfd.readouterr().out == said
        lines = results.recorded("small")
        assert [x["seed"] for x in lines] == list(range(seeds))
    assert all(x["generations"] == 4 and x["env_steps"] for x in lines)
    assert lines[0]["machine"] == f"{os.cpu_count()} CPU cores"
    assert "dimension=3" in results.README.read_text()


@pytest.mark.commands
def test_a_check_fails_where_a_row_is_outside_of_what_it_states(rows, keyed, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    wrote("small", {0: -1e9, 1: 0.0})
    assert results.check(["small"], "2026-11-30") == 0
    assert "OUTSIDE" not in capfd.readouterr().out
    wrote("small", {0: 0.5, 1: 1.0})  # nothing is above 0 there
    assert results.check(["small"], "2026-11-30") == 1
    assert "OUTSIDE" in capfd.readouterr().out
    assert results.check(["digits"], "2026-11-30") == 1  # nothing is stated


def test_what_cannot_be_told_is_not(rows, keyed, monkeypatch, capsys):
    wrote("small", {0: -1.0, 2: -3.0}, ("another", "d"))
    results.README.write_text("<!-- results -->\n<!-- /results -->\n")
    monkeypatch.setattr(sys, "argv", ["results.py", "--table"])
    assert results.main() == 1
    assert "no results of what they are now: small" in capsys.readouterr().err
    assert "sphere" not in results.README.read_text()
    wrote("small", {0: -1.0, 2: -3.0})
    assert "seeds 0, 2: −2 in" in results.header(results.ROWS["small"], results.newest("small"))
    results.README.write_text("no table")
    with pytest.raises(SystemExit, match="has no table"):
        results.main()
    (results.RECORDS / "small.jsonl").write_text('{"seed": 3, "sco')
    with pytest.raises(SystemExit, match=r"small\.jsonl is damaged"):
        results.main()


@pytest.mark.parametrize("wrong", [["--seeds", "0"], ["--date", "2020-99-99"], ["nothing"]])
def test_a_wrong_word_is_wrong_usage(wrong, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["results.py", *wrong])
    with pytest.raises(SystemExit) as left:
        results.main()
    assert left.value.code == 2


def test_a_sweep_that_is_killed_makes_no_table(rows, keyed, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["results.py", "small"])
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(results, "command", lambda *about: killed)
    results.README.write_text("as it was")
    assert results.main() == 1
    assert results.README.read_text() == "as it was"
