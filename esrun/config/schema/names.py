"""Names that options choose from, of ours and of other packages."""

from typing import Literal

Shaping = Literal["centered_ranks", "z_score", "raw"]
FitnessDecay = Literal["divide_l1", "divide_l2", "subtract_l2"]
# optax's first-order optimisers whose update is a plain gradient step; a test holds the list
# against optax
Optimizer = Literal[
    "adabelief", "adadelta", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad",
    "lamb", "lars", "lion", "nadam", "nadamw", "novograd", "optimistic_gradient_descent", "radam",
    "rmsprop", "rprop", "sgd", "sign_sgd", "sm3", "yogi",
]  # fmt: skip

# the algorithms of evosax 0.3; a test holds the list against evosax
EvosaxName = Literal[
    "ARS", "ASEBO", "CMAAnchoredLES", "CMA_ES", "CR_FM_NES", "DES", "DifferentialEvolution",
    "DiffusionEvolution", "ESMC", "EvoTF_ES", "GESMR_GA", "GradientlessDescent", "GuidedES",
    "HillClimbing", "LES", "LGA", "LM_MA_ES", "MA_ES", "MR15_GA", "NoiseReuseES", "Open_ES", "PGPE",
    "PSO", "PersistentES", "RandomSearch", "Rm_ES", "SAMR_GA", "SNES", "SV_CMA_ES", "SV_Open_ES",
    "Sep_CMA_ES", "SimpleES", "SimpleGA", "SimulatedAnnealing", "iAMaLGaM_Full",
    "iAMaLGaM_Univariate", "xNES",
]  # fmt: skip
