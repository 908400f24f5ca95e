"""What tests of rules share: their tolerances, parameters, and how a row of the table is called."""

import warnings

import numpy as np
import pytensor
import pytest
from pytensor.compile.mode import predefined_modes
from pytensor.link.numba.linker import NumbaLinker
from table import ROWS

from symupdates.core import is_state

STEPS = 24
# A float64 trajectory may differ from the reference's by the order of its operations; a float32 one by its roundings,
# of which a step makes about ten.
TOLERANCE = {"float64": 1e-12, "float32": 10 * STEPS * 2.0**-24}

# For what does not depend on the backend: nothing to compile, and no rewrites to lean on (see conftest.plain_python).
PYTHON = "FAST_COMPILE"
# PyTensor's own mode of this name, for what a few rewrites are needed for.
FAST_COMPILE = predefined_modes[PYTHON]

# One of each kind: with and without state, of several shapes of it, coupled, drawing, with products and branches.
KINDS = {"sgd", "adam", "adagrad_window", "rprop", "sm3", "muon", "prodigy", "sgnht"}
COMPILED_KINDS = {"adam", "prodigy", "noisy_sgd", "muon"}  # those that compile fast


def rules(*marks, rows=ROWS, kinds=KINDS):
    """Parametrize a test by the rows of a table; those that are not of the kinds have the marks."""
    cases = [pytest.param(row, id=row.name, marks=() if row.name in kinds else marks) for row in rows]
    return pytest.mark.parametrize("row", cases)


every_rule = rules()
every_rule_in_ci = rules(pytest.mark.ci)
every_rule_once = rules(pytest.mark.ci, pytest.mark.once)
rule_of_each_kind = rules(pytest.mark.full)
every_floatx = pytest.mark.parametrize("floatx", ["float32", "float64"])


def make_param(shape, dtype, name=None, seed=0):
    return pytensor.shared(np.random.default_rng(seed).normal(size=shape).astype(dtype), name=name)


def call(row, loss_or_grads, params, **hyper):
    return row.rule(loss_or_grads, params, **dict(row.structure), **(row.hyper | hyper))


def scheduled(value):
    """A schedule that changes at every step, exact in every dtype."""
    return lambda step: value * (4 - step % 3) / 4


def moves(variable, next_value):
    """Give a variable a default update, of which PyTensor from 3.3 on says that it will not have them for ever."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        variable.default_update = next_value
    return variable


def skip(updates):
    """What a gate holds a step back to: random generators only go on."""
    for v in updates:
        if is_state(v) and v.tag.symupdates.slot == "rng":
            v.set_value(v.get_value() + np.array([0, 0, 1], "uint32"))


def values(updates):
    return [np.array(v.get_value()) for v in updates]


def assert_close(got, trajectory, tolerance, label, elementwise=True):
    """Compare `got` with the last of `trajectory`, relative to the largest value each element, or any, has had."""
    scale = np.max(np.abs(trajectory), axis=0 if elementwise else None)
    worst = np.max(np.abs(got - trajectory[-1]) - tolerance * scale, initial=-np.inf)
    assert worst <= 0, f"{label}: {got} instead of {trajectory[-1]} after {len(trajectory)} steps"


class IdleNumbaLinker(NumbaLinker):
    """Leaves to numba nothing to compile: what is read here is the graph that it would get."""

    def jit_compile(self, fn):
        return fn
