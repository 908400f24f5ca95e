"""The rules and their oracles against what torch, optax, Keras and Lasagne computed: see golden/generate.py."""

import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON
from table import ROWS

import symupdates

pytestmark = pytest.mark.once

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = {path.stem: json.loads((GOLDEN / f"{path.stem}.json").read_text()) for path in GOLDEN.glob("families/*.py")}
LASAGNE = json.loads((GOLDEN / "lasagne.json").read_text())
RULES = {row.name for row in ROWS if row.has_peers}
RTOL = 1e-12

CASES = [
    (family, library, i, case)
    for family, golden in sorted(FAMILIES.items())
    for library in ("torch", "optax", "keras")
    for i, case in enumerate(golden.get(library, []))
]
each_case = pytest.mark.parametrize(
    ("family", "case"),
    [
        pytest.param(family, case, id=f"{family}-{library}-{i}-{case['rule']}-{case['peer']}")
        for family, library, i, case in CASES
    ],
)
each_clip = pytest.mark.parametrize("clip", FAMILIES["classic"]["clips"])
each_max_norm = pytest.mark.parametrize("max_norm", FAMILIES["classic"]["max_norms"])
each_toy = pytest.mark.parametrize("toy", LASAGNE["cases"], ids=lambda toy: toy["rule"])


def hyper_parameter(value, beta2, wrap):
    """A stored hyper-parameter as a number or a schedule, of arrays and scalars made by `wrap`."""
    if not isinstance(value, dict):
        return wrap(np.asarray(value)) if isinstance(value, float) else value
    ((kind, x),) = value.items()
    x = wrap(np.asarray(x))
    if kind == "per_step":
        return lambda t: x[t]
    power = {"corrected": 0.5, "uncorrected": -0.5}[kind]
    return lambda t: x * (1 - beta2 ** (t + 1)) ** power


def hyper_parameters(case, wrap):
    """The hyper-parameters of a case's rule, the name of its transform or None, and that one's hyper-parameters."""
    beta2 = wrap(np.asarray(case["hyper"].get("beta2", 0.999)))
    hyper = {name: hyper_parameter(value, beta2, wrap) for name, value in case["hyper"].items()}
    transform = dict(case.get("transform", {}))
    name = transform.pop("name", None)
    return hyper, name, {key: hyper_parameter(value, beta2, wrap) for key, value in transform.items()}


def problem(family, case):
    """The initial parameter and the gradients, of the coordinates that took part."""
    p, grads = np.array(FAMILIES[family]["p"]), np.array(FAMILIES[family]["gradients"])
    taking_part = (grads != 0).all(axis=0) | (not case["nonzero"])
    if case.get("moderate"):
        taking_part &= (np.abs(grads) < 1e4).all(axis=0)
    shape = case.get("shape", (-1,))
    return p[taking_part].reshape(shape), grads[:, taking_part].reshape(len(grads), *shape)


def check(family, case, trajectory):
    """Compare the parameter after every step with the golden values of the steps that were read."""
    steps = FAMILIES[family]["steps"]
    assert len(trajectory) == steps[-1] == 40
    assert len(case["params"]) == len(steps) == 7
    for step, golden in zip(steps, case["params"], strict=True):
        got = trajectory[step - 1].ravel()
        np.testing.assert_allclose(got, golden, rtol=RTOL, atol=0, err_msg=f"after step {step}")


def test_every_rule_has_its_cases():
    assert {case["rule"] for _, _, _, case in CASES} == RULES


@pytest.mark.parametrize("family", FAMILIES)
def test_files_hold_what_is_expected(family):
    golden = FAMILIES[family]
    p, grads = np.array(golden["p"]), np.array(golden["gradients"])
    assert set(golden) & {"torch", "optax", "keras"} <= set(golden["versions"])
    assert grads.shape == (40, *p.shape) == (40, 10)
    size = np.abs(grads)
    assert (grads == 0).all(axis=0).any()
    assert ((grads[:10] == 0).all(axis=0) & (grads[10:] != 0).all(axis=0)).any()
    assert size[grads != 0].min() < 1e-9
    assert size.max() > 1e7
    assert 4 <= (grads != 0).all(axis=0).sum() < p.size
    for case in [case for of_family, _, _, case in CASES if of_family == family]:
        start, _ = problem(family, case)
        last = np.array(case["params"][-1])
        assert last.shape == (start.size,)
        assert (last != start.ravel()).mean() >= 0.7


@each_case
def test_oracle(family, case):
    p, grads = problem(family, case)
    rule = getattr(oracles, case["rule"])
    hyper, transform, transform_hyper = hyper_parameters(case, lambda x: x)
    if transform is None:
        states = rule(p, grads, **hyper)
    else:
        states = getattr(oracles, transform)(p, grads, partial(rule, **hyper), **transform_hyper)
    check(family, case, [state["param"] for state in states])


@cache
def trajectory_of_rule(case_json):
    case = json.loads(case_json)
    start, grads = problem("classic", case)
    p = pytensor.shared(start, name="p", shape=start.shape)
    g = pt.tensor("g", shape=start.shape, dtype="float64")
    hyper, transform, transform_hyper = hyper_parameters(case, pytensor.shared)
    updates = getattr(symupdates, case["rule"])([g], [p], **hyper)
    if transform is not None:
        updates = getattr(symupdates, transform)(updates, **transform_hyper)
    do_step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    trajectory = []
    for grad in grads:
        do_step(grad)
        trajectory.append(p.get_value())
    return trajectory


@each_case
def test_rule(family, case):
    # Several libraries have the same case, on the same gradients.
    assert FAMILIES[family]["gradients"] == FAMILIES["classic"]["gradients"]
    ours = {key: case[key] for key in ("rule", "hyper", "transform", "nonzero", "moderate", "shape") if key in case}
    check(family, case, trajectory_of_rule(json.dumps(ours, sort_keys=True)))


@each_clip
def test_oracle_of_total_norm_constraint(clip):
    xs = [np.array(x) for x in clip["xs"]]
    scaled, norm = oracles.total_norm_constraint(xs, clip["max_norm"], epsilon=0.0)
    np.testing.assert_allclose(norm, np.linalg.norm(np.concatenate([x.ravel() for x in xs])), rtol=RTOL)
    for x, golden in zip(scaled, clip["clipped"], strict=True):
        np.testing.assert_allclose(x, golden, rtol=RTOL, atol=0)


@each_clip
def test_total_norm_constraint(clip):
    xs = [pt.as_tensor(np.array(x)) for x in clip["xs"]]
    scaled = symupdates.total_norm_constraint(xs, clip["max_norm"], epsilon=0.0)
    for x, golden in zip(pytensor.function([], scaled, mode=PYTHON)(), clip["clipped"], strict=True):
        np.testing.assert_allclose(x, golden, rtol=RTOL, atol=0)


def axes_of(max_norm):
    return tuple(np.atleast_1d(max_norm["axes"]).tolist())


@each_max_norm
def test_oracle_of_norm_constraint(max_norm):
    x = oracles.norm_constraint(np.array(max_norm["x"]), max_norm["max_norm"], axes_of(max_norm))
    np.testing.assert_allclose(x, max_norm["constrained"], rtol=RTOL, atol=0)


@each_max_norm
def test_norm_constraint(max_norm):
    x = pt.matrix("x", dtype="float64")
    constrained = symupdates.norm_constraint(x, max_norm["max_norm"], norm_axes=axes_of(max_norm))
    value = pytensor.function([x], constrained, mode=PYTHON)(np.array(max_norm["x"]))
    np.testing.assert_allclose(value, max_norm["constrained"], rtol=RTOL, atol=0)


def test_lasagne_has_its_rules():
    others = {"adagrad_window", "adamw"}
    assert {toy["rule"] for toy in LASAGNE["cases"]} == {case["rule"] for case in FAMILIES["classic"]["optax"]} - others
    assert LASAGNE["steps"] == 10


# The published values are compared as Lasagne does, with NumPy's default tolerances: torch has some epsilons elsewhere.


@each_toy
def test_oracle_on_the_toy_of_lasagne(toy):
    c = np.array(LASAGNE["coefficients"])
    state = {"param": np.ones(3)}  # the latest

    def grads():
        for _ in range(LASAGNE["steps"]):
            yield 2 * c * state["param"]

    for after in getattr(oracles, toy["rule"])(np.ones(3), grads(), **toy["hyper"]):
        state = after
    np.testing.assert_allclose(state["param"], toy["param"], rtol=1e-5, atol=1e-8)


@each_toy
def test_rule_on_the_toy_of_lasagne(toy):
    c = np.array(LASAGNE["coefficients"])
    a, b = (pytensor.shared(np.ones(3), name=name) for name in "ab")
    loss = (c * a**2).sum() + (c * b**2).sum()
    updates = getattr(symupdates, toy["rule"])(loss, [a, b], **toy["hyper"])
    do_step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(LASAGNE["steps"]):
        do_step()
    np.testing.assert_array_equal(a.get_value(), b.get_value())
    np.testing.assert_allclose(a.get_value(), toy["param"], rtol=1e-5, atol=1e-8)
