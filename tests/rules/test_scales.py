"""Gradients of extreme sizes in float32: steps are finite, and right, wherever the mathematics is.

That of some rules is not: the squares of gradients that they keep are larger than any float32.
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, TOLERANCE, assert_close, call, make_param, values
from table import ROWS

import symupdates as su

LARGEST = np.finfo("float32").max
STEPS = 6

# What is infinite in float32 after gradients of 1e30: sums and averages of squares. Whatever divides by them stands
# still for good; a difference or a ratio of two of them is NaN, and a decomposition of them too.
SQUARES = {
    "accu": (
        *("adagrad", "adagrad_window", "rmsprop", "adadelta", "psgld", "scale_adapted_sghmc"),
        *("dog", "l_dog", "dowg"),
    ),
    "v": (
        *(
            "adam",
            "adamw",
            "amsgrad",
            "nadam",
            "nadamw",
            "radam",
            "yogi",
            "novograd",
            "ademamix",
            "simplified_ademamix",
        ),
        *(
            "adopt",
            "laprop",
            "spam",
            "qhadam",
            "optimistic_adam",
            "lamb",
            "soap",
            "dadapt_adam",
            "prodigy",
            "hypergradient_adam",
        ),
        "schedule_free_adamw",
    ),
    "v_hat": ("amsgrad",),
    "n": ("adan", "ftrl"),
    "s": ("adabelief",),
    "variance": ("centered_rmsprop",),
    "accu_0": ("sm3",),
    "nu": ("madgrad",),
    "r": ("adafactor",),
    "c": ("adafactor",),
    "H0": ("shampoo", "soap"),
    "H1": ("shampoo", "soap"),
}
NAN = {"yogi", "ftrl", "adafactor", "shampoo", "soap"}
# What a rate or a friction that such squares teach does to the parameters.
DIVERGED = {
    ("hypergradient_sgd", 30): {"learned", "param"},
    ("sgnht", 18): {"thermostat", "velocity", "param"},
    ("sgnht", 30): {"thermostat", "velocity", "param"},
}


@pytest.mark.ci
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_rule_at_every_scale(row):
    unit = np.random.default_rng(3).uniform(-1, 1, (STEPS, *row.shape))
    g, p = pt.tensor("g", shape=row.shape, dtype="float32"), make_param(row.shape, "float32", "p")
    start = p.get_value().astype("float64")
    updates = call(row, [g], [p])
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    options = dict(row.structure) | row.hyper | ({"stream": 0} if row.draws else {})
    for exponent in (18, -18, 30, -30):
        given = (unit * 10.0**exponent).astype("float32")
        with np.errstate(all="ignore"):
            expected = list(row.oracle(start, given.astype("float64"), **options))
        beyond = {slot for after in expected for slot, x in after.items() if np.any(np.abs(x) > LARGEST)}
        squares = {slot for slot, rules in SQUARES.items() if row.name in rules and exponent == 30}
        assert beyond == DIVERGED.get((row.name, exponent), squares), exponent
        p.set_value(start.astype("float32"))
        su.reset(updates)
        with np.errstate(all="ignore"):
            for t in range(STEPS):
                step(given[t])
                if not beyond:
                    path = np.array([after["param"] for after in expected[: t + 1]])
                    label = f"1e{exponent}, step {t}"
                    assert_close(p.get_value(), path, TOLERANCE["float32"], label, elementwise=not row.products)
                    assert all(np.isfinite(x).all() for x in values(updates)), label
        if beyond and "param" not in beyond:
            assert np.isfinite(p.get_value()).all() != (row.name in NAN)


@pytest.mark.ci
def test_no_square_of_what_is_free_of_scale(backend):
    """Not by rewrites either, which bring factors together: the steps are those at the usual scale."""
    unit = np.random.default_rng(0).uniform(0.5, 2, (STEPS, 4)).astype("float32")
    for rule in (su.cocob, su.dadapt_adam, su.adam_atan2):
        ends = []
        for exponent in {su.cocob: (0, 18, 30), su.adam_atan2: (0, -30, 30)}.get(rule, (0, 18)):
            g, p = pt.vector("g", dtype="float32"), make_param((4,), "float32", "p")
            start = p.get_value()
            step = pytensor.function([g], [], updates=rule([g], [p]), mode=backend)
            for given in unit:
                step(given * np.float32(10.0**exponent))
            ends.append(p.get_value() - start)
        for end in ends[1:]:
            np.testing.assert_allclose(end, ends[0], rtol=1e-3, atol=1e-6)
        assert (ends[0] != 0).all()
