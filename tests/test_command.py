"""The command as a user has it: the installed wheel, in an empty folder, by subprocess."""

import json
import re
from collections import Counter

import pytest
from safetensors.numpy import load_file

TINY = [
    "task=pendulum", "task.episodes=1", "task.episode_length=20", "strategy.population_size=8",
    "policy.hidden=[4]", "eval.episodes=4",
]  # fmt: skip


def test_a_run_leaves_its_folder_as_documented(esrun, tmp_path):
    done = esrun(*TINY, "generations=12", "eval.every=5", "log.every=4")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs").glob("*/*")
    assert {path.name for path in folder.iterdir()} == {
        ".hydra", ".lock", "checkpoints", "run.json", "metrics.jsonl", "policy.safetensors",
        "summary.json", "esrun.log", "policy_best.safetensors", "members_best.safetensors",
    }  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) == {
        "status", "stop_reason", "generations", "evaluations", "env_steps", "wall_seconds",
        "compile_seconds", "eval_initial",
        "best_fitness", "eval", "num_params", "task", "strategy", "policy", "seed", "devices",
        "peak_memory_bytes", "predicted_memory_bytes", "format",
    }  # fmt: skip
    assert set(summary["eval"]) == {"mean", "std", "ci95", "episodes", "length"}
    assert (summary["status"], summary["stop_reason"], summary["task"]) == (
        "done",
        "generations",
        "pendulum",
    )
    assert (summary["generations"], summary["evaluations"], summary["env_steps"]) == (
        12,
        96,
        96 * 20,
    )
    assert summary["num_params"] == 3 * 4 + 4 + 4 + 1
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["eval_mean"] == summary["eval"]["mean"]
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["strategy"]["population_size"] == 8
    assert record["versions"]["jax"]
    assert "\x1b" not in done.stdout  # no terminal: no control characters
    log = (folder / "esrun.log").read_text()
    for line in ("generation 12/12", f"run folder: {folder.relative_to(tmp_path)}", "8 members"):
        assert line in done.stdout
        assert line in log


def test_a_sweep_runs_every_job_and_compiles_once(esrun, tmp_path):
    words = ["-m", *TINY, "generations=2", "seed=range(2)", "strategy.sigma=0.2,0.4"]
    words.append("runtime.parallel_runs=1")  # threads compile small operations beside it twice
    done = esrun(*words, JAX_ENABLE_COMPILATION_CACHE="false", JAX_LOG_COMPILES="true")
    assert done.returncode == 0, done.stderr
    compiled = Counter(re.findall(r"Compiling .*", done.stderr))
    assert sum("jit(" in line for line in compiled) > 3  # to begin, to go on, to evaluate
    assert {*compiled.values()} == {1}
    summaries = [
        json.loads(path.read_text())
        for path in sorted(tmp_path.glob("multirun/*/*/*/summary.json"))
    ]
    assert len(summaries) == 4
    assert [summary["seed"] for summary in summaries] == [0, 0, 1, 1]
    seconds = [summary["compile_seconds"] for summary in summaries]
    assert seconds[0] == max(seconds) > 0.2
    assert len({summary["eval"]["mean"] for summary in summaries}) == 4


def test_garbage_is_left_lying_before_training_and_at_the_end(esrun):
    code = """
import gc, esrun.cli, esrun.runs.metrics, esrun.runs.record
def observed(function):
    def call(*arguments, **options):
        print(function.__name__, gc.isenabled())
        return function(*arguments, **options)
    return call
esrun.runs.record.describe = observed(esrun.runs.record.describe)
esrun.runs.metrics.Metrics.add = observed(esrun.runs.metrics.Metrics.add)
esrun.cli.main()
print("add", "frozen", gc.get_freeze_count() > 100_000, gc.isenabled())
"""
    lines = esrun(*TINY, "generations=1", code=code).stdout.splitlines()
    assert [line for line in lines if line.startswith(("describe", "add"))] == [
        "describe False",
        "add False",  # the first policy's score
        "add True",
        "add frozen True True",
    ]


@pytest.mark.slow
def test_a_second_run_finds_what_the_first_one_compiled_and_computes_the_same(esrun, tmp_path):
    kept, trained = [], []
    for name in ("first", "second"):
        done = esrun(
            *TINY,
            "generations=3",
            f"hydra.run.dir={name}",
            JAX_ENABLE_COMPILATION_CACHE="true",
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        )
        assert done.returncode == 0, done.stderr
        kept.append({path.name for path in (tmp_path / "cache").rglob("*-cache")})
        trained.append(load_file(tmp_path / name / "policy.safetensors"))
    assert len(kept[0]) > 3
    assert kept[1] == kept[0]
    assert all((trained[0][key] == trained[1][key]).all() for key in trained[0] | trained[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy.sigma=-1"],
        ["-m", "strategy.sigma=0.1,-1"],
        ["task=nothing"],
        ["strategy.sgma=1"],
        ["resum", "x"],
        ["policy=cnn"],
    ],
    ids=" ".join,
)
def test_bad_usage_answers_in_one_line_without_jax_or_a_folder(esrun, tmp_path, arguments):
    code = "import sys; from esrun.cli import main; code = main(); "
    code += "assert 'jax' not in sys.modules; sys.exit(code)"
    done = esrun(*arguments, code=code)
    assert done.returncode == 2
    assert done.stderr.startswith("esrun: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_in_one_line_without_jax_or_a_folder(esrun, tmp_path):
    code = (
        "import sys; sys.modules['bbobax'] = None; from esrun.cli import main; code = main(); "
        "assert 'jax' not in sys.modules; sys.exit(code)"
    )
    done = esrun("task=bbob", code=code)
    assert done.returncode == 2
    assert done.stderr.startswith("esrun: task=bbob needs the package bbobax")
    assert " -m pip install 'bbobax" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_only_the_built_run_can_tell_leaves_no_folder_either(esrun, tmp_path):
    done = esrun(*TINY, "strategy=openai_es", "+strategy.optimizer_options.b9=1")
    assert done.returncode == 2
    assert "strategy.optimizer_options do not fit optax.adam" in done.stderr
    assert not list(tmp_path.rglob("*"))


def test_help_and_list_show_the_choices_without_jax(esrun):
    code = "import sys; from esrun.cli import main; code = main(); "
    code += "assert 'jax' not in sys.modules; sys.exit(code)"
    shown = esrun("--help", code=code)
    assert shown.returncode == 0, shown.stderr
    for part in ("Examples", "strategy: ars, cma_es", "task: ackley", "population_size: 100"):
        assert part in shown.stdout
    listed = esrun("list", code=code)
    assert listed.returncode == 0
    for name in ("pendulum", "openai_es", "rnn", "sine_parallel"):
        assert f"\n  {name} " in listed.stdout
    assert "mlp" in esrun("list", "policies").stdout
    assert esrun("list", "nothing").returncode == 2


def test_tab_completion_knows_groups_and_keys(esrun):
    for typed, offered in (
        ("esrun task=pend", "task=pendulum"),
        ("esrun strategy.sig", "strategy.sigma="),
    ):
        done = esrun("-sc", "query=bash", COMP_LINE=typed, COMP_POINT=str(len(typed)))
        assert done.stdout.split() == [offered]


def test_cfg_prints_the_composed_configuration_and_runs_nothing(esrun, tmp_path):
    done = esrun("--cfg", "job", "task=cartpole")
    assert done.returncode == 0
    assert "env: CartPole-v1" in done.stdout
    assert not list(tmp_path.iterdir())
