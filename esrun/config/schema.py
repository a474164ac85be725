"""What a configuration may say: one model per option, checked before JAX is imported.

Defaults stand in `conf/` alone, so no field has one here. **Floats are traced, everything else is
structure**: a run's floats become arguments of its compiled program, and runs that differ in floats
and seed share one program. Declare a number `float` to let it be swept without compiling, `int`
where it shapes an array or a loop.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Widths = Annotated[list[Count], Field(max_length=64)]
Activation = Literal[
    "relu",
    "tanh",
    "gelu",
    "elu",
    "silu",
    "sigmoid",
    "softplus",
    "leaky_relu",
    "sin",
    "identity",
    "step",
    "sign",
]
Init = Literal["lecun_normal", "orthogonal", "normal", "uniform", "zeros"]
Shaping = Literal["centered_ranks", "z_score", "raw"]
# optax's first-order optimisers whose update is a plain gradient step; a test holds the list
# against optax
Optimizer = Literal[
    "adabelief", "adadelta", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lamb", "lars", "lion",
    "nadam", "nadamw", "novograd", "optimistic_gradient_descent", "radam", "rmsprop", "rprop", "sgd", "sign_sgd", "sm3",
    "yogi",
]  # fmt: skip

# the algorithms of evosax 0.3; a test holds the list against evosax
EvosaxName = Literal[
    "ARS", "ASEBO", "CMAAnchoredLES", "CMA_ES", "CR_FM_NES", "DES", "DifferentialEvolution", "DiffusionEvolution",
    "ESMC", "EvoTF_ES", "GESMR_GA", "GradientlessDescent", "GuidedES", "HillClimbing", "LES", "LGA", "LM_MA_ES",
    "MA_ES", "MR15_GA", "NoiseReuseES", "Open_ES", "PGPE", "PSO", "PersistentES", "RandomSearch", "Rm_ES", "SAMR_GA",
    "SNES", "SV_CMA_ES", "SV_Open_ES", "Sep_CMA_ES", "SimpleES", "SimpleGA", "SimulatedAnnealing", "iAMaLGaM_Full",
    "iAMaLGaM_Univariate", "xNES",
]  # fmt: skip


class Model(BaseModel):
    """Unknown keys and wrong types are errors; 1 is taken for 1.0, and nothing else is
    converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


# ---- strategies ----------------------------------------------------------------------------------


class Noise(Model):
    """What strategies share that perturb one mean."""

    population_size: Annotated[int, Field(ge=2)]
    noise: Literal["threefry", "table"]
    noise_table_size: Annotated[int, Field(ge=1, lt=2**31)]


class Mirrored(Noise):
    """What strategies share whose members always come in mirrored pairs."""

    @model_validator(mode="after")
    def _pairs(self):
        if self.population_size % 2:
            raise ValueError(
                "strategy.population_size must be even, since members come in pairs, "
                f"got {self.population_size}: write "
                f"strategy.population_size={self.population_size + 1}"
            )
        return self


class Perturbing(Noise):
    """What strategies share that perturb one mean, in mirrored pairs or one by one."""

    antithetic: bool

    @model_validator(mode="after")
    def _pairs(self):
        if self.antithetic and self.population_size % 2:
            raise ValueError(
                "strategy.population_size must be even with strategy.antithetic=true, whose "
                "members come in pairs, "
                f"got {self.population_size}: write "
                f"strategy.population_size={self.population_size + 1} "
                "or strategy.antithetic=false"
            )
        return self


class GradientES(Perturbing):
    """OpenAI-ES and its kin."""

    sigma: Positive
    sigma_decay: Factor
    sigma_limit: NonNegative
    learning_rate: Positive
    learning_rate_decay: Factor
    learning_rate_limit: NonNegative
    weight_decay: NonNegative
    shaping: Shaping
    optimizer: Optimizer
    optimizer_options: dict[str, bool | int | float | str | None]


class OpenAIES(GradientES):  # noqa: D101  (the option's yaml says what each key is)
    name: Literal["openai_es"]


class EGGROLL(GradientES):  # noqa: D101
    name: Literal["eggroll"]
    rank: Count


class PGPE(Mirrored):  # noqa: D101
    name: Literal["pgpe"]
    sigma: Positive
    learning_rate: Positive | None
    learning_rate_sigma: NonNegative
    sigma_max_change: Annotated[float, Field(gt=0, lt=1)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    max_speed: Positive | None
    shaping: Shaping


class ARS(Mirrored):  # noqa: D101
    name: Literal["ars"]
    sigma: Positive
    learning_rate: Positive
    parents: Count | None

    @model_validator(mode="after")
    def _directions(self):
        directions = self.population_size // 2
        if self.parents and self.parents > directions:
            raise ValueError(
                "strategy.parents must be at most half of strategy.population_size, a direction "
                "for each pair of "
                f"members, got {self.parents} parents of {directions} directions: write "
                f"strategy.parents={directions}"
            )
        return self


class Selection(Model):
    """What strategies share that select parents from a population."""

    population_size: Literal["auto"] | Annotated[int, Field(ge=2)]
    sigma: Positive
    parents: Count | None

    @model_validator(mode="after")
    def _parents(self):
        if self.parents and self.population_size != "auto" and self.parents > self.population_size:
            raise ValueError(
                "strategy.parents must be at most strategy.population_size, got "
                f"{self.parents} parents of {self.population_size}: write "
                f"strategy.parents={self.population_size // 2}"
            )
        return self


class CMAES(Selection):  # noqa: D101
    name: Literal["cma_es"]
    c_m: Positive
    active: bool
    decompose_every: Literal["auto"] | Count
    restarts: Literal["ipop", "bipop"] | None
    max_restarts: Count


class SepCMAES(Selection):  # noqa: D101
    name: Literal["sep_cma_es"]
    c_m: Positive


class MAES(Selection):  # noqa: D101
    name: Literal["ma_es"]
    c_m: Positive


class LMMAES(Selection):  # noqa: D101
    name: Literal["lm_ma_es"]
    c_m: Positive


class SNES(Model):  # noqa: D101
    name: Literal["snes"]
    population_size: Literal["auto"] | Annotated[int, Field(ge=2)]
    sigma: Positive
    learning_rate: Positive
    learning_rate_sigma: Positive | None


class XNES(Model):  # noqa: D101
    name: Literal["xnes"]
    population_size: Literal["auto"] | Annotated[int, Field(ge=2)]
    sigma: Positive
    learning_rate: Positive
    learning_rate_sigma: Positive | None
    learning_rate_shape: Positive | None


class SimpleGaussian(Selection):  # noqa: D101
    name: Literal["simple_gaussian"]
    population_size: Annotated[int, Field(ge=2)]
    sigma_limit: Positive
    parents: Annotated[int, Field(ge=2)] | None


class SimpleGA(Model):  # noqa: D101
    name: Literal["simple_ga"]
    population_size: Annotated[int, Field(ge=2)]
    elites: Count
    crossover: bool
    sigma: Positive
    sigma_decay: Factor
    sigma_limit: NonNegative

    @model_validator(mode="after")
    def _children(self):
        if self.elites >= self.population_size:
            raise ValueError(
                "strategy.elites must be less than strategy.population_size, which counts them "
                "too, got "
                f"{self.elites} elites of {self.population_size}: write "
                f"strategy.elites={self.population_size // 2}"
            )
        return self


class Evosax(Model):  # noqa: D101
    name: EvosaxName
    population_size: Annotated[int, Field(ge=2)]
    sigma: Positive
    optimizer: Optimizer | None
    learning_rate: Positive | None
    params: dict[str, bool | int | float]
    options: dict[str, bool | int]  # no text: one of evosax's arguments is the path of a pickle

    @model_validator(mode="after")
    def _both(self):
        if (self.optimizer is None) != (self.learning_rate is None):
            raise ValueError(
                "strategy.optimizer and strategy.learning_rate must be given together, or neither "
                "for evosax's own, "
                f"got {self.optimizer} and {self.learning_rate}: write strategy.optimizer=adam "
                "strategy.learning_rate=0.01"
            )
        return self


# ---- policies ------------------------------------------------------------------------------------


class Network(Model):  # noqa: D101
    normalize_input: bool
    hidden: Widths
    activation: Activation


class MLP(Network):  # noqa: D101
    name: Literal["mlp"]
    init: Init
    init_scale: Positive
    bias: bool


class CNN(Network):  # noqa: D101
    name: Literal["cnn"]
    channels: Widths
    kernel: Count
    stride: Count
    init: Init
    init_scale: Positive
    bias: bool


class RNN(Network):  # noqa: D101
    name: Literal["rnn"]
    hidden: Annotated[Widths, Field(min_length=1)]
    cell: Literal["gru", "lstm", "vanilla"]


class Vector(Model):  # noqa: D101
    name: Literal["vector"]
    normalize_input: Literal[False]
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _interval(self):
        if self.low >= self.high:
            raise ValueError(
                f"policy.low must be less than policy.high, got {self.low} and {self.high}"
            )
        return self


# ---- tasks ---------------------------------------------------------------------------------------


class TaskModel(Model):  # noqa: D101
    episodes: Count
    generations: Count | None = None  # a task may suggest how many; the run's own key decides


class Gymnax(TaskModel):  # noqa: D101
    name: Literal["gymnax"]
    env: str
    env_params: dict[str, bool | int | float | list[int] | list[float]]
    episode_length: Count
    action: Literal["clip", "squash"]


class Sine(TaskModel):  # noqa: D101
    name: Literal["sine"]
    sequence_length: Annotated[int, Field(ge=2)]
    batch_size: Count
    span: Positive
    jitter: NonNegative
    reward: Literal["negative_error", "inverse_square"]


class Blackbox(TaskModel):  # noqa: D101
    name: Literal["blackbox"]
    function: Literal[
        "sphere", "ellipsoid", "rosenbrock", "rastrigin", "ackley", "himmelblau", "six_hump_camel"
    ]
    dimension: Count

    @model_validator(mode="after")
    def _dimension(self):
        if self.function in ("himmelblau", "six_hump_camel") and self.dimension != 2:
            raise ValueError(
                f"task.dimension must be 2 for task.function={self.function}, got "
                f"{self.dimension}: "
                "write task.dimension=2"
            )
        return self


class BBOB(TaskModel):  # noqa: D101
    name: Literal["bbob"]
    function: Annotated[int, Field(ge=1, le=24)]
    dimension: Annotated[int, Field(ge=2)]
    instance: Annotated[
        float, Field(ge=1, lt=2**24, multiple_of=1)
    ]  # a float, so that instances share one program


# ---- loggers -------------------------------------------------------------------------------------


class TensorBoard(Model):  # noqa: D101
    name: Literal["tensorboard"]


class WandB(Model):  # noqa: D101
    name: Literal["wandb"]
    project: str
    mode: Literal["online", "offline"]


# ---- the run -------------------------------------------------------------------------------------


class Stop(Model):  # noqa: D101
    eval: Finite | None
    fitness: Finite | None
    seconds: Positive | None
    env_steps: Count | None


class Eval(Model):  # noqa: D101
    every: Count
    episodes: Annotated[int, Field(ge=2)]


class Checkpoint(Model):  # noqa: D101
    every: Count
    seconds: Positive
    keep: Count


class Log(Model):  # noqa: D101
    every: Count


class Runtime(Model):  # noqa: D101
    devices: Literal["auto"] | Count
    precision: Literal["float32", "float64"]
    population_chunk: Literal["auto"] | Count
    deterministic: bool


class Config(Model):
    """A whole run. `task`, `strategy`, `policy` and the loggers are models chosen by their
    `name`."""

    task: Any
    strategy: Any
    policy: Any
    logger: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    generations: Annotated[int, Field(ge=1, lt=2**31)]
    stop: Stop
    eval: Eval
    checkpoint: Checkpoint
    log: Log
    runtime: Runtime
    resume: str | None
