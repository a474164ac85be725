"""Every policy with every kind of task: it trains a generation, or one line says what to write."""

import defaults  # noqa: F401 - its environment is among the tasks
import pytest

from esrun import files
from esrun.config.check import checked
from esrun.config.compose import composed, options
from esrun.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quick_to_compile")

TASKS = {
    "numbers": ["task=cartpole"],
    "a game's picture": ["task=breakout"],
    "a photograph": ["task=digits", "task.batch_size=4"],
    "a sequence": ["task=sine", "task.batch_size=4"],
    "nothing": ["task=sphere", "task.dimension=3"],
    "one's own": ["task=own", "task.env=defaults:pond"],
    "processes": ["task=gymnasium", "task.env=CartPole-v1"],
    "bytes": ["task=bytes", "task.file=text", "task.batch_size=2"],
}
BLIND = {"nothing"}
PICTURES = {"a game's picture", "a photograph"}
MADE_FIRST = {"one's own", "processes"}
"""Only the environment itself can tell what it shows."""
SMALL = ["strategy=openai_es", "strategy.population_size=4", "generations=1", "eval.episodes=2",
         "task.episodes=1"]  # fmt: skip


def fits(policy, task):
    if (policy == "vector") != (task in BLIND):
        return False
    return policy != "cnn" or task in PICTURES


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("policy", options("policy"))
def test_every_policy_is_taken_or_refused_at_once(policy, task, built, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "STARTED_IN", tmp_path)
    (tmp_path / "text").write_bytes(bytes(range(256)) * 8)
    words = [*TASKS[task], f"policy={policy}", *SMALL]
    if fits(policy, task):
        checked(composed(words).config)
        return
    late = policy == "cnn" and task in MADE_FIRST
    with pytest.raises(ConfigError, match="write policy=") as error:
        built(*words) if late else checked(composed(words).config)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("policy", options("policy"))
def test_every_policy_that_fits_goes_through_every_verb(in_process, policy, task, tmp_path):
    if not fits(policy, task):
        pytest.skip("it is refused")
    (tmp_path / "text").write_bytes(bytes(range(256)) * 8)
    words = [*TASKS[task], f"policy={policy}", *SMALL]
    for verb in ((), ("explain",)):
        where = () if verb else ("hydra.run.dir=run",)
        assert in_process(*verb, *words, *where)[::2] == (0, ""), verb
    assert in_process("resume", "run", "generations=2")[0] == 0
    for verb in ("eval", "plot", "render", "report"):
        code, _, complaint = in_process(verb, "run")
        assert code == 0, (verb, complaint)
