"""Configurations: what is wrong gets one line with a remedy; what is right is taken apart and put
together again."""

import pytest

from esrun.config import CONF_DIR
from esrun.config.check import checked
from esrun.config.compose import composed, options, path_of, sweep
from esrun.config.loader import Source
from esrun.errors import ConfigError
from esrun.runs.folder import make
from esrun.training.structure import joined, split


def complaint(*overrides):
    """-> the one line that a command line gets."""
    with pytest.raises(ConfigError) as caught:
        checked(composed(list(overrides)).config)
    return str(caught.value)


WRONG = {
    "task=pendulm": ["task=pendulm is not a choice", "did you mean pendulum?", "write one of"],
    "experiment=nothing": ["experiment=nothing is not a choice", "pendulum_blog"],
    "logger=[nothing]": ["logger=nothing is not a choice", "tensorboard"],
    "taks=pendulum": ["taks is not a key", "did you mean task"],
    "strategy.sgma=0.1": ["strategy.sgma is not a key", "strategy.sigma"],
    "+strategy.sgma=0.1": ["strategy.sgma is not a key of strategy=cma_es", "strategy.sigma"],
    "strategy.sigma=wide": ["strategy.sigma must be a number", "got 'wide'", "strategy.sigma=0.3"],
    "strategy.sigma=0": ["strategy.sigma must be greater than 0", "got 0", "write for example"],
    "strategy.sigma=nan": ["strategy.sigma must be"],
    "strategy.parents=101": [
        "strategy.parents must be at most strategy.population_size",
        "write strategy.parents=50",
    ],
    "strategy.population_size=many": ["strategy.population_size must be 'auto' or an integer"],
    "policy.hidden=64": ["policy.hidden must be a list", "got 64"],
    "policy.hidden=[8,x]": ["policy.hidden", "must be an integer", "got 'x'"],
    "policy.activation=rel": ["policy.activation must be", "write policy.activation=relu"],
    "policy.bias=1": ["policy.bias must be a boolean"],
    "seed=-1": ["seed must be greater than or equal to 0", "got -1"],
    "seed=4294967296": ["seed must be less than 4294967296"],
    "generations=1.5": ["generations must be an integer", "got 1.5"],
    "eval.episodes=1": ["eval.episodes must be greater than or equal to 2"],
    "task.env=Pendulm-v1": [
        "task.env must be an environment of gymnax",
        "did you mean Pendulum-v1?",
    ],
    "task.env=CartPole-v1": [
        "task.env_params.max_speed is not a parameter of CartPole-v1",
        "write task=cartpole",
    ],
    "task.env_params.g=heavy": ["task.env_params.g must be", "got 'heavy'"],
    "task.episode_length=0": ["task.episode_length must be greater than or equal to 1"],
    "policy=cnn": ["policy=cnn needs an image-like input", "write policy=mlp"],
    "policy=vector": ["needs policy=vector and nothing else does", "write policy=mlp"],
    "runtime.devices=4096": ["runtime.devices must be at most", "write runtime.devices=auto"],
    "runtime.devices=some": ["runtime.devices must be 'auto' or an integer"],
    "policy.hidden=[64": ["a bracket that is not closed", "write 'policy.hidden=[64]'"],
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_value_gets_one_line_with_the_remedy(override):
    line = complaint(override)
    assert "\n" not in line
    for part in WRONG[override]:
        assert part in line


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            ["strategy=openai_es", "strategy.population_size=101"],
            ["must be even", "strategy.population_size=102"],
        ),
        (
            ["strategy=pgpe", "strategy.population_size=101"],
            ["must be even", "strategy.population_size=102"],
        ),
        (
            ["strategy=ars", "strategy.parents=129"],
            ["at most half", "129 parents of 128", "strategy.parents=128"],
        ),
        *(
            ([f"strategy={name}", f"strategy.rank_batches={batches}"], parts)
            for name in ("openai_es", "eggroll", "pgpe")
            for batches, parts in {
                3: ["whole pairs of members, got 3 batches of 256", "strategy.rank_batches=2"],
                256: ["equal batches", "strategy.rank_batches=128"],
                0: ["strategy.rank_batches must be greater than or equal to 1 or null"],
            }.items()
        ),
        (
            [
                *("strategy=openai_es", "strategy.antithetic=false"),
                *("strategy.population_size=15", "strategy.rank_batches=15"),
            ],
            ["at least 2 members, got 15 batches of 15", "strategy.rank_batches=5"],
        ),
        (
            ["strategy=pgpe", "strategy.population_size=15", "strategy.rank_batches=3"],
            ["population_size must be even"],
        ),
        (
            ["strategy=openai_es", "strategy.shaping=raw", "strategy.rank_batches=2"],
            ["of strategy.shaping=centered_ranks alone", "got 2 with strategy.shaping=raw"],
        ),
        (
            ["strategy=pgpe", "strategy.shaping_offset=1"],
            ["of strategy.shaping=z_score alone", "write strategy.shaping=z_score or"],
        ),
        (
            ["strategy=eggroll", "strategy.shaping=z_score", "strategy.shaping_offset=-1"],
            ["strategy.shaping_offset must be greater than or equal to 0"],
        ),
        (
            ["strategy=pgpe", "strategy.fitness_decay=divide_l2"],
            [
                "given together, or neither, got divide_l2 and None",
                "write strategy.fitness_decay=divide_l2 strategy.fitness_decay_coefficient=1",
            ],
        ),
        (
            ["strategy=openai_es", "strategy.fitness_decay_coefficient=0.2"],
            [
                "given together, or neither, got None and 0.2",
                "write strategy.fitness_decay=subtract_l2 strategy.fitness_decay_coefficient=0.2",
            ],
        ),
        *(
            (
                [
                    *("strategy=openai_es", f"strategy.fitness_decay={decay}"),
                    f"strategy.fitness_decay_coefficient={c}",
                ],
                ["must be greater than 0", f"got {c}", "write strategy.fitness_decay_coefficient"],
            )
            for decay, c in [("divide_l1", 0), ("divide_l2", -1)]
        ),
        (
            [
                "strategy=pgpe",
                "strategy.fitness_decay=divide_l2",
                "strategy.fitness_decay_coefficient=nan",
            ],
            ["write for example strategy.fitness_decay_coefficient=1"],
        ),
        (
            ["strategy=eggroll", "strategy.fitness_decay=divide_l2"],
            ["strategy.fitness_decay is not a key of strategy=eggroll"],
        ),
        (["task=sphere", "policy=mlp"], ["needs policy=vector", "write policy=vector"]),
        (
            ["task=himmelblau", "task.dimension=3"],
            ["task.dimension must be 2", "write task.dimension=2"],
        ),
        (["task=sine", "policy=cnn"], ["image-like", "write policy=mlp"]),
        (["task=gymnax"], ["task.env must be given", "write task.env=Acrobot-v1"]),
        (["task=octax"], ["task.env must be given", "write task.env=brix"]),
        (
            ["strategy=openai_es", "strategy.optimizer_options={b1:2.0}"],
            ["strategy.optimizer_options.b1 must be a number from 0 to less than 1, got 2.0"],
        ),
        (
            ["strategy=openai_es", "strategy.optimizer_options.eps=-1"],
            ["strategy.optimizer_options.eps must be at least 0"],
        ),
        (
            ["strategy=eggroll", "strategy.optimizer=sgd", "strategy.optimizer_options.nesterov=1"],
            ["nesterov must be true or false"],
        ),
    ],
)
def test_two_settings_that_contradict_each_other_get_one_line(overrides, parts):
    line = complaint(*overrides)
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_the_remedy_is_the_default_of_the_option_in_use():
    assert complaint("strategy=openai_es", "strategy.sigma=wide").endswith(
        "write for example strategy.sigma=0.1"
    )


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes(experiment):
    reads = experiment in ("bytes", "mnist", "mnist_cnn")
    checked(composed([f"experiment={experiment}", *([f"task.file={__file__}"] * reads)]).config)


def test_a_task_may_choose_its_policy_and_the_command_line_may_choose_another():
    assert composed(["task=breakout"]).config["policy"]["name"] == "cnn"
    assert composed(["task=breakout", "policy=mlp"]).config["policy"]["name"] == "mlp"


def test_a_task_may_set_the_generations_and_the_command_line_has_the_last_word():
    assert composed(["task=sine"]).config["generations"] == 2000
    assert composed(["task=sine", "generations=7"]).config["generations"] == 7


def test_whole_numbers_serve_as_floats():
    config = checked(composed(["strategy.sigma=1", "task.env_params.g=9"]).config)
    assert type(config.strategy.sigma) is float
    assert type(config.task.env_params["g"]) is float


def test_floats_are_numbers_and_everything_else_is_structure():
    tree = {"a": 1.5, "b": {"c": 2, "d": [1.0, 2.0], "e": [3], "f": True}, "g": None, "h": "x"}
    structure, numbers = split(tree)
    assert numbers == {"a": 1.5, "b": {"d": [1.0, 2.0]}}
    assert structure == {
        "a": None,
        "b": {"c": 2, "d": None, "e": [3], "f": True},
        "g": None,
        "h": "x",
    }
    assert joined(structure, numbers) == tree


def test_a_sweep_expands_as_hydra_does():
    jobs = sweep(["task=cartpole,pendulum", "seed=range(2)", "generations=5"]).jobs
    assert jobs == [
        ["task=cartpole", "seed=0", "generations=5"],
        ["task=cartpole", "seed=1", "generations=5"],
        ["task=pendulum", "seed=0", "generations=5"],
        ["task=pendulum", "seed=1", "generations=5"],
    ]


def test_an_extra_directory_of_options_is_found(tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "moon.yaml").write_text(
        (CONF_DIR / "task" / "pendulum.yaml").read_text().replace("10.0 ", "1.62 ")
    )
    cfg = composed(["task=moon"], Source(directory=str(tmp_path))).config
    assert checked(cfg).task.env_params["g"] == 1.62


def test_two_runs_of_one_second_get_two_folders(tmp_path):
    folder = tmp_path / "2026-01-02" / "03-04-05"
    assert [make(folder).folder.name for _ in range(3)] == ["03-04-05", "03-04-05-1", "03-04-05-2"]


def test_an_empty_folder_of_the_users_own_is_taken(tmp_path):
    (tmp_path / "mine").mkdir()
    assert make(tmp_path / "mine") == (tmp_path / "mine", ())


def test_a_key_of_an_option_needs_no_plus_and_may_have_one():
    for word in (
        "strategy.optimizer_options={b1:0.8}",
        "strategy.optimizer_options.b1=0.8",
        "+strategy.optimizer_options.b1=0.8",
    ):
        config = checked(composed(["strategy=openai_es", word]).config)
        assert config.strategy.optimizer_options == {"b1": 0.8}


USERS = {
    "seed: 1\nseed: 2\n": "duplicate key seed, line 2",
    "task:\n\tepisodes: 3\n": "a tab stands where yaml wants spaces, line 2",
    "seed: \xe9\n".encode("latin-1"): "it must be UTF-8, and byte 7 is not",
    "- seed\n- task\n": "KEY: VALUE",
    "seed: [1\n": "line ",
    "just text\n": "must begin with the line",
    "seed: 1\n": "must begin with the line # @package _global_",
}


@pytest.mark.parametrize("content", USERS)
def test_a_users_file_that_cannot_be_read_is_named_with_what_is_wrong(tmp_path, content):
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        composed(["experiment=mine"], Source(directory=str(tmp_path)))
    assert str(file) in str(caught.value)
    assert USERS[content] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_choices_and_what_may_be_meant_include_the_users_own_options(tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "moonwalk.yaml").write_text("name: gymnax\n")
    with pytest.raises(ConfigError, match=r"did you mean moonwalk\?\).*, moonwalk, "):
        composed(["task=moonwlk"], Source(directory=str(tmp_path)))


def test_a_primary_configuration_of_the_users_own(tmp_path):
    (tmp_path / "my.yaml").write_text("defaults:\n  - esrun\n  - _self_\nseed: 7\n")
    assert composed([], Source("my", str(tmp_path))).config["seed"] == 7
    with pytest.raises(ConfigError, match=r"has no your\.yaml: name its folder by --config-dir"):
        composed([], Source("your", str(tmp_path)))


def test_a_folder_may_be_named_by_the_overrides():
    one = composed(["hydra.run.dir=outputs/${hydra.job.override_dirname}", "seed=3"])
    assert path_of(one.hydra, "run.dir") == "outputs/seed=3"
