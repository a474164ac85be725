"""Sweeps that go on: each configuration has its folder, whatever the order of the jobs."""

import json

import pytest

COMMON = (
    "-m", "task=sphere", "task.dimension=2", "strategy.population_size=6", "generations=2",
    "eval.episodes=2", "checkpoint.keep=1",
)  # fmt: skip


def lying(folder):
    """-> what lies in each of a sweep's folders."""
    found = {}
    for path in sorted(folder.glob("*/run.json")):
        config = json.loads(path.read_text())["config"]
        found[path.parent.name] = (config["strategy"]["name"], config["seed"])
    return found


def test_a_sweep_can_be_extended_in_its_middle(sweep, tmp_path):
    words = (*COMMON, "strategy=openai_es,snes", "hydra.sweep.dir=sw")
    assert sweep(*words, "seed=range(2)")[0] == 0
    first = lying(tmp_path / "sw")
    scores = {
        name: json.loads((tmp_path / "sw" / name / "summary.json").read_text()) for name in first
    }
    code, said, _ = sweep(*words, "seed=range(3)")
    assert code == 0
    assert sum("is done already" in line for line in said) == 4
    now = lying(tmp_path / "sw")
    assert now == first | {"6": ("openai_es", 2), "5": ("snes", 2)}
    for line in said[-8:-2]:
        name, *swept, _, _, score = line.split()
        strategy, seed = now[name]
        assert swept[0] == f"strategy={strategy}"
        assert line.split()[2] == f"seed={seed}"
        if name in scores:
            assert float(score) == pytest.approx(scores[name]["eval"]["mean"], rel=1e-3)
    assert len(json.loads((tmp_path / "sw" / "sweep.json").read_text())["jobs"]) == 6
    assert sweep(*words, "seed=1,0")[0] == 0  # fewer, in another order
    assert lying(tmp_path / "sw") == now


def test_a_sweep_goes_on_by_resume_auto(sweep, tmp_path):
    assert sweep(*COMMON, "seed=range(2)")[0] == 0
    (one,) = (tmp_path / "multirun").glob("*/*")
    assert sweep(*COMMON, "seed=range(2)", "task.dimension=3")[0] == 0
    code, said, _ = sweep(*COMMON, "seed=range(3)", "resume=auto", "generations=3")
    assert code == 0
    assert not any("already" in line for line in said)
    assert said[-2] == f"sweep folder: {one.relative_to(tmp_path)}"
    assert len(list((tmp_path / "multirun").glob("*/*"))) == 2
    for i in range(3):
        assert json.loads((one / str(i) / "summary.json").read_text())["generations"] == 3
    code, _, wrong = sweep(*COMMON, "seed=range(3)", f"resume={one}")
    assert (code, len(wrong)) == (2, 1)
    assert "resume=auto" in wrong[0]


def test_resume_goes_on_with_what_a_sweep_lacks(sweep, tmp_path):
    words = (*COMMON, "strategy=openai_es", "strategy.sigma=0.1,0.2", "hydra.sweep.dir=sw")
    assert sweep(*words)[0] == 0
    bits = (tmp_path / "sw" / "1" / "policy.safetensors").read_bytes()
    for path in sorted((tmp_path / "sw" / "1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "sw" / "1").rmdir()
    code, said, wrong = sweep("resume", "sw")
    assert (code, wrong) == (0, [])
    assert "sw/0 is done already (generations)" in said
    assert [line.split()[:3] for line in said[-4:-2]] == [
        ["0", "strategy.sigma=0.1", "done"],
        ["1", "strategy.sigma=0.2", "done"],
    ]
    assert (tmp_path / "sw" / "1" / "policy.safetensors").read_bytes() == bits
    assert sweep("resume", "sw", "generations=4")[0] == 0
    for name in ("0", "1"):
        assert json.loads((tmp_path / "sw" / name / "summary.json").read_text())["generations"] == 4
    code, _, wrong = sweep("resume", "sw", "seed=7")
    assert code == 2
    assert len(wrong) == 2  # one line a job


def test_a_refused_job_has_no_score(sweep, tmp_path):
    words = (*COMMON, "hydra.sweep.dir=sw", "hydra.sweep.subdir='s${seed}'")
    assert sweep(*words, "seed=1,2")[0] == 0
    code, said, _ = sweep(*words, "seed=1,2", "task.dimension=3")
    assert code == 2
    rows = [line.split() for line in said if "refused  " in line]
    assert [(*row[:3], row[-1]) for row in rows] == [
        ("s1", "seed=1", "refused", "-"),
        ("s2", "seed=2", "refused", "-"),
    ]
    (why,) = (line for line in said if line.startswith("2 refused: "))
    assert "task.dimension: 2 -> 3" in why
    assert why.endswith(", as in sw/s1")
    assert not any(line.startswith("to ") for line in said)  # typing it again mends nothing


@pytest.mark.parametrize(
    "content",
    [
        b"[]", b"{", b'{"esrun": "sweep", "jobs": 3}', b'{"esrun": "sweep", "format": 99}',
        b'{"esrun": "sweep", "jobs": [{"folder": "../x"}]}',
        b'{"esrun": "sweep", "jobs": [{"folder": "/tmp"}]}',
        b'{"esrun": "sweep", "jobs": [{"folder": "0", "own": {"a": 1, "a.b": 2}}]}',
        b'{"esrun": "sweep", "jobs": [{"folder": "0", "own": {"%s": 1}}]}' % (b"a." * 100000),
        b'{"esrun": "sweep", "jobs": [{"folder": "0", "own": {"config.x": 1, "choices": {}}}]}',
        b'{"esrun": "sweep"}',
    ],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_or_hostile_record_is_one_line(sweep, tmp_path, content):
    (tmp_path / "sw").mkdir()
    (tmp_path / "sw" / "sweep.json").write_bytes(content)
    code, said, wrong = sweep("resume", "sw")
    assert (code, len(wrong)) == (2, 1), wrong
    assert said[:-4] == []
    assert not (tmp_path / "x").exists()
