"""Symbolic training updates for PyTensor, in the style of lasagne.updates."""

from symupdates import constraints as constraints
from symupdates import gradients as gradients
from symupdates import modes as modes
from symupdates import proximal as proximal
from symupdates import random as random
from symupdates import schedules as schedules
from symupdates.compose import accumulate, chain, merge, partition
from symupdates.constraints import norm_constraint, total_norm_constraint
from symupdates.core import get_or_compute_grads
from symupdates.loop import loop
from symupdates.rows import rows
from symupdates.rules.adam import adam, adamax, adamaxw, adamw, amsgrad, nadam, nadamw, radam
from symupdates.rules.adaptive import (
    adadelta,
    adagrad,
    adagrad_window,
    centered_rmsprop,
    ftrl,
    madgrad,
    rmsprop,
    sm3,
)
from symupdates.rules.layerwise import fromage, lamb, lars
from symupdates.rules.lbfgs import lbfgs
from symupdates.rules.line_search import line_search, nonlinear_cg
from symupdates.rules.matrix import adafactor, adamuon, muon, normuon, psgd_kron, shampoo, soap
from symupdates.rules.moments import (
    adabelief,
    adam_atan2,
    adan,
    ademamix,
    adopt,
    laprop,
    novograd,
    optimistic_adam,
    qhadam,
    simplified_ademamix,
    spam,
    yogi,
)
from symupdates.rules.newton import gauss_newton, levenberg_marquardt, natural_gradient
from symupdates.rules.perturbed import asam, extragradient, nag, sam
from symupdates.rules.private import dp_sgd
from symupdates.rules.rate_free import (
    cocob,
    dadapt_adam,
    dog,
    dowg,
    hypergradient_adam,
    hypergradient_sgd,
    l_dog,
    mechanic,
    momo,
    momo_adam,
    polyak_step,
    prodigy,
)
from symupdates.rules.sampling import baoab, noisy_sgd, psgld, scale_adapted_sghmc, sghmc, sgld, sgnht
from symupdates.rules.schedule_free import schedule_free_adamw, schedule_free_sgd
from symupdates.rules.second_order import adahessian, barzilai_borwein, esgd, sophia_g, sophia_h
from symupdates.rules.sgd import asgd, heavy_ball, momentum, nesterov_momentum, optimistic_gradient, qhm, sgd
from symupdates.rules.signs import lion, rprop, sign_sgd, signum
from symupdates.rules.variational import ivon
from symupdates.rules.zeroth_order import mezo, spsa

# Public too, but not in __all__: a star import, as of lasagne.updates, is not to hide the names load, save or reset.
from symupdates.state import hyperparameters as hyperparameters
from symupdates.state import load as load
from symupdates.state import load_state_dict as load_state_dict
from symupdates.state import named as named
from symupdates.state import reset as reset
from symupdates.state import save as save
from symupdates.state import state_dict as state_dict
from symupdates.state import summary as summary
from symupdates.state import to_numpy as to_numpy
from symupdates.transforms import (
    adjustable,
    apply_cautious,
    apply_ema,
    apply_freeze,
    apply_if_finite,
    apply_if_small,
    apply_lookahead,
    apply_momentum,
    apply_nesterov_momentum,
    apply_polyak_average,
    apply_projection,
    apply_proximal,
    apply_rms_clip,
    apply_scale,
    apply_schedule_free,
    apply_swag,
    apply_trust_ratio,
    apply_weight_decay,
    averages,
    swag_draws,
    swap_averages,
)
from symupdates.vectorize import take_run, vectorize

__version__ = "0.1.0"

__all__ = [
    # rules: loss or gradients, parameters → updates dict
    # gradient descent
    "sgd",
    "momentum",
    "nesterov_momentum",
    "heavy_ball",
    "qhm",
    "optimistic_gradient",
    "asgd",
    # signs
    "sign_sgd",
    "signum",
    "lion",
    "rprop",
    # steps divided by a record of each coordinate's gradients
    "adagrad",
    "adagrad_window",
    "rmsprop",
    "centered_rmsprop",
    "adadelta",
    "ftrl",
    "sm3",
    "madgrad",
    # Adam and its variants
    "adam",
    "adamw",
    "adamax",
    "adamaxw",
    "amsgrad",
    "nadam",
    "nadamw",
    "radam",
    "adabelief",
    "yogi",
    "novograd",
    "adan",
    "ademamix",
    "simplified_ademamix",
    "adopt",
    "qhadam",
    "optimistic_adam",
    "laprop",
    "adam_atan2",
    "spam",
    # layers and matrices
    "lars",
    "lamb",
    "fromage",
    "adamuon",
    "muon",
    "normuon",
    "adafactor",
    "shampoo",
    "soap",
    "psgd_kron",
    # learning-rate-free
    "dadapt_adam",
    "prodigy",
    "dog",
    "l_dog",
    "dowg",
    "cocob",
    "momo",
    "momo_adam",
    "polyak_step",
    "hypergradient_sgd",
    "hypergradient_adam",
    "schedule_free_sgd",
    "schedule_free_adamw",
    # sampling
    "noisy_sgd",
    "sgld",
    "psgld",
    "sghmc",
    "scale_adapted_sghmc",
    "sgnht",
    "baoab",
    "ivon",
    # rules that take the loss
    "sam",
    "asam",
    "nag",
    "extragradient",
    "barzilai_borwein",
    "adahessian",
    "sophia_g",
    "sophia_h",
    "esgd",
    "lbfgs",
    "nonlinear_cg",
    "line_search",
    "gauss_newton",
    "levenberg_marquardt",
    "natural_gradient",
    "spsa",
    "mezo",
    "dp_sgd",
    # gradient transforms: gradients → gradients; more in symupdates.gradients
    "total_norm_constraint",
    # update transforms: updates dict → updates dict
    "apply_momentum",
    "apply_nesterov_momentum",
    "apply_weight_decay",
    "apply_scale",
    "apply_trust_ratio",
    "apply_rms_clip",
    "apply_cautious",
    "apply_lookahead",
    "apply_schedule_free",
    "apply_projection",
    "apply_proximal",
    "apply_if_finite",
    "apply_if_small",
    "apply_freeze",
    "apply_ema",
    "apply_polyak_average",
    "apply_swag",
    "swag_draws",
    "averages",
    "swap_averages",
    "adjustable",
    # glue: stages → optimizer, groups → optimizer, dicts → dict
    "chain",
    "partition",
    "accumulate",
    "mechanic",
    "merge",
    # a parameter: the rows of a table that a step looks up
    "rows",
    # many steps in one call; many runs
    "loop",
    "vectorize",
    "take_run",
    # pieces: for entries of a dict, for rules of your own
    "norm_constraint",
    "get_or_compute_grads",
]
