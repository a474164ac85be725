r"""Hydra's plug-in for Optuna, which pins an Optuna before 3 and so has an environment of its own:

    pip install --target PLUGIN --no-deps hydra-optuna-sweeper 'optuna<3' alembic sqlalchemy \
        cliff cmaes colorlog tqdm mako
    PYTHONPATH=PLUGIN python -m pytest tests/test_optuna_plugin.py

Where it is not, what is said to whoever asks for it.
"""

import json
from importlib.metadata import PackageNotFoundError, version

import pytest
from conftest import finished

WORDS = ("task=sphere", "task.dimension=3", "strategy=snes", "strategy.population_size=6",
         "generations=3", "eval.episodes=2", "strategy.sigma=interval(0.1,1)")  # fmt: skip


def installed():
    """-> the version of Optuna, (0,) of none."""
    try:
        return tuple(int(x) for x in version("optuna").split(".")[:2])
    except PackageNotFoundError:
        return (0,)


@pytest.mark.skipif(installed() < (3,), reason="Optuna is not there, or the plug-in's")
@pytest.mark.parametrize("verb", [[], ["-m"], ["tune"]])
def test_beside_a_newer_optuna_it_is_said_what_to_write(verb, in_process):
    words = WORDS if verb else WORDS[:-1]  # a run alone has no interval
    code, said, wrong = in_process(*verb, "hydra/sweeper=optuna", *words)
    assert (code, said, wrong.count("\n")) == (2, "", 1)
    assert wrong.startswith("esrun: hydra/sweeper=optuna is for an Optuna before 3, and ")
    assert "write esrun tune '" in wrong


@pytest.mark.skipif(not (2,) <= installed() < (3,), reason="it has an environment of its own")
def test_in_an_environment_of_its_own_it_searches(start, tmp_path):
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3"]
    search.append("hydra.sweeper.direction=maximize")
    code, said = finished(start(tmp_path, "-m", *search, *WORDS, "hydra.sweep.dir=sw"))
    assert code == 0, said
    runs = [tmp_path / "sw" / str(i) / "summary.json" for i in range(3)]
    assert [json.loads(path.read_text())["status"] for path in runs] == ["done"] * 3
    code, said = finished(start(tmp_path, "tune", *WORDS))
    assert (code, "a search needs optuna 5 or newer" in said) == (2, True)
