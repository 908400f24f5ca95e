"""Symbolic training updates for PyTensor, in the style of lasagne.updates."""

from symupdates import constraints as constraints
from symupdates import gradients as gradients
from symupdates import modes as modes
from symupdates import random as random
from symupdates import schedules as schedules
from symupdates.compose import accumulate, chain, merge, partition
from symupdates.constraints import norm_constraint, total_norm_constraint
from symupdates.core import get_or_compute_grads
from symupdates.loop import loop
from symupdates.rules.adam import adam, adamax, adamw, amsgrad
from symupdates.rules.adaptive import adadelta, adagrad, adagrad_window, rmsprop
from symupdates.rules.layerwise import fromage, lamb, lars
from symupdates.rules.matrix import adafactor, muon, shampoo, soap
from symupdates.rules.sgd import momentum, nesterov_momentum, sgd

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
    apply_ema,
    apply_freeze,
    apply_if_finite,
    apply_if_small,
    apply_lookahead,
    apply_momentum,
    apply_nesterov_momentum,
    apply_polyak_average,
    apply_projection,
    apply_scale,
    apply_weight_decay,
    averages,
    swap_averages,
)

__version__ = "0.1.0"

__all__ = [
    # rules: loss or gradients, parameters → updates dict
    # gradient descent
    "sgd",
    "momentum",
    "nesterov_momentum",
    # signs
    # steps divided by a record of each coordinate's gradients
    "adagrad",
    "adagrad_window",
    "rmsprop",
    "adadelta",
    # Adam and its variants
    "adam",
    "adamw",
    "adamax",
    "amsgrad",
    # layers and matrices
    "lars",
    "lamb",
    "fromage",
    "muon",
    "adafactor",
    "shampoo",
    "soap",
    # learning-rate-free
    # sampling
    # rules that take the loss
    # gradient transforms: gradients → gradients; more in symupdates.gradients
    "total_norm_constraint",
    # update transforms: updates dict → updates dict
    "apply_momentum",
    "apply_nesterov_momentum",
    "apply_weight_decay",
    "apply_scale",
    "apply_lookahead",
    "apply_projection",
    "apply_if_finite",
    "apply_if_small",
    "apply_freeze",
    "apply_ema",
    "apply_polyak_average",
    "averages",
    "swap_averages",
    "adjustable",
    # glue: stages → optimizer, groups → optimizer, dicts → dict
    "chain",
    "partition",
    "accumulate",
    "merge",
    # many steps in one call
    "loop",
    # pieces: for entries of a dict, for rules of your own
    "norm_constraint",
    "get_or_compute_grads",
]
