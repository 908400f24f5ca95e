"""What DP-SGD promises: each gradient clipped, their sum with noise; and what an example can change at most."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, TOLERANCE, moves, values
from oracles.loss import normals

import symupdates as su
from symupdates import gradients, schedules

SHAPES = {"W": (3, 2), "b": (2,), "s": ()}
STARTS = {name: np.random.default_rng(i).normal(size=shape) for i, (name, shape) in enumerate(SHAPES.items())}
SIZES = tuple(int(np.prod(shape)) for shape in SHAPES.values())
MOVES = su.sgd(learning_rate=1.0)  # the step is the gradient


def model(dtypes="float64"):
    """The loss of one example, the parameters, and what it is of one and of a minibatch."""
    dtypes = [dtypes] * 3 if isinstance(dtypes, str) else dtypes
    W, b, s = params = [
        pytensor.shared(STARTS[name].astype(dtype), name=name, shape=shape)
        for (name, shape), dtype in zip(SHAPES.items(), dtypes, strict=True)
    ]
    x, y = pt.tensor("x", shape=(3,), dtype="float64"), pt.tensor("y", shape=(), dtype="float64")
    xs, ys = pt.tensor("xs", shape=(None, 3), dtype="float64"), pt.tensor("ys", shape=(None,), dtype="float64")
    loss = (s * pt.tanh(x @ W + b).sum() - y) ** 2 / 2
    return loss, params, {x: xs, y: ys}


def batch(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), 2 * rng.normal(size=n)


def of_each(W, b, s, xs, ys):
    """By hand: the gradient of each example, a row each, of all parameters."""
    rows = []
    for x, y in zip(xs, ys, strict=True):
        z = np.tanh(x @ W + b)
        off = s * z.sum() - y
        dz = off * s * (1 - z**2)
        rows.append(np.concatenate([np.outer(x, dz).ravel(), dz, [off * z.sum()]]))
    return np.array(rows).reshape(-1, sum(SIZES))


def parts(vector):
    split = np.split(vector, np.cumsum(SIZES)[:-1])
    return [part.reshape(shape) for part, shape in zip(split, SHAPES.values(), strict=True)]


def test_numbers_on_backends(backend_and_dtype):
    """Some are clipped and some are not; the minibatches have other sizes; a schedule, and a rule with state."""
    backend, dtype = backend_and_dtype
    loss, params, examples = model(dtype)
    optimizer = su.dp_sgd(
        examples=examples,
        batch_size=4,
        max_norm=lambda t: 2.0 - t / 8,
        noise_multiplier=0.25,
        seed=3,
        optimizer=su.momentum(learning_rate=0.125, momentum=0.75),
    )
    updates = optimizer(loss, params)
    assert list(su.named(updates))[-2:] == ["dp_sgd/rng", "dp_sgd/t"]
    step = pytensor.function(list(examples.values()), [], updates=updates, mode=backend)
    p, v, clipped = np.concatenate([x.ravel() for x in STARTS.values()]), 0.0, []
    p = p.astype(dtype).astype("float64")
    for t, n in enumerate((5, 3, 1, 6)):
        xs, ys = batch(n, t)
        step(xs, ys)
        gs, bound = of_each(*parts(p), xs, ys), 2 - t / 8
        norms = np.sqrt((gs**2).sum(axis=1, keepdims=True))
        clipped += list(norms > bound)
        g = ((gs * np.minimum(1, bound / norms)).sum(axis=0) + 0.25 * bound * normals(3, t, SIZES)) / 4
        v = 0.75 * v - 0.125 * g
        p = p + v
        got = np.concatenate([np.ravel(x.get_value()) for x in params])
        assert got.dtype == dtype
        np.testing.assert_allclose(got, p, rtol=0, atol=TOLERANCE[dtype] * np.abs(p).max())
    assert 3 < sum(clipped) < 12


def test_mixed_dtypes():
    loss, params, examples = model(("float32", "float64", "float32"))
    updates = su.dp_sgd(loss, params, examples, batch_size=1, noise_multiplier=0.0, optimizer=MOVES)
    xs, ys = batch(3)
    pytensor.function(list(examples.values()), [], updates=updates, mode=PYTHON)(xs, ys)
    gs = of_each(*(x.astype(p.dtype) for x, p in zip(STARTS.values(), params, strict=True)), xs, ys)
    total = (gs * np.minimum(1, 1 / np.linalg.norm(gs, axis=1, keepdims=True))).sum(axis=0)
    for p, start, g in zip(params, STARTS.values(), parts(total), strict=True):
        np.testing.assert_allclose(p.get_value(), start - g, rtol=1e-6, atol=1e-6)


@pytest.mark.long
def test_no_example(backend):
    """A step of noise; as the coins may fall."""
    loss, params, examples = model()
    updates = su.dp_sgd(loss, params, examples, batch_size=8, max_norm=4.0, seed=3, optimizer=MOVES)
    pytensor.function(list(examples.values()), [], updates=updates, mode=backend)(*batch(0))
    for p, start, xi in zip(params, STARTS.values(), parts(normals(3, 0, SIZES)), strict=True):
        np.testing.assert_allclose(p.get_value(), start - 4 * xi / 8, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e18, 1e30])
def test_one_example_changes_the_sum_by_no_more_than_the_bound(scale):
    """Whatever it is: in float32, squares of its gradient are infinite."""
    p = pytensor.shared(np.zeros(3, "float32"), name="p", shape=(3,))
    x, xs = pt.fvector("x"), pt.fmatrix("xs")
    updates = su.dp_sgd((p * x).sum(), [p], {x: xs}, batch_size=1, max_norm=2.0, noise_multiplier=0.0, optimizer=MOVES)
    step = pytensor.function([xs], [], updates=updates, mode=PYTHON)
    others = np.array([[1, 0, 0], [0, 3, 4]], "float32")
    for one in ([3, 4, 0], [0, 0, 5]):
        p.set_value(np.zeros(3, "float32"))
        step(np.concatenate([others, np.array([one], "float32") * np.float32(scale)]))
        expected = -(np.array([1, 6 / 5, 8 / 5]) + 2 * np.array(one) / 5)
        np.testing.assert_allclose(p.get_value(), expected, rtol=1e-6)


def test_what_is_the_same_for_all_examples():
    """A penalty in the loss is clipped with each, and counts for each."""
    p, q = (pytensor.shared(np.full(2, value), name=name) for value, name in ((2.0, "p"), (3.0, "q")))
    r = pytensor.shared(4.0, name="r")
    x, xs = pt.dscalar("x"), pt.dvector("xs")
    loss = x * p[0] + (q**2).sum() / 2 + r
    updates = su.dp_sgd(loss, [p, q, r], {x: xs}, batch_size=1, max_norm=1e6, noise_multiplier=0.0, optimizer=MOVES)
    pytensor.function([xs], [], updates=updates, mode=PYTHON)(np.array([1.0, 2.0, 4.0]))
    assert p.get_value().tolist() == [2 - 7, 2] and q.get_value().tolist() == [3 - 9, 3 - 9]
    assert r.get_value() == 4 - 3


def test_generators_of_the_model_go_on_behind_what_all_examples_drew():
    """Each example has draws of its own, and no minibatch those of another."""
    p, rng = pytensor.shared(0.0, name="p"), pytensor.shared(np.random.default_rng(5), name="dropout")
    next_rng, u = pt.random.normal.make_node(rng, None, pt.constant(0.0), pt.constant(1.0)).outputs
    moves(rng, next_rng)
    x, xs = pt.dscalar("x"), pt.dvector("xs")
    updates = su.dp_sgd(p * x * u, [p], {x: xs}, batch_size=1, max_norm=1e6, noise_multiplier=0.0, optimizer=MOVES)
    assert list(su.named(updates)) == ["p", "dp_sgd/rng", "dropout"]
    step = pytensor.function([xs], [], updates=updates, mode=PYTHON)
    draws, expected = np.random.default_rng(5), 0.0
    for n in (3, 2, 4):
        step(np.ones(n))
        expected -= draws.normal(size=n).sum()
        np.testing.assert_allclose(p.get_value(), expected, rtol=1e-13)


def test_statistics_over_the_minibatch_are_refused():
    loss, params, examples = model()
    x = next(iter(examples))
    mean = pytensor.shared(np.zeros(3), name="mean", shape=(3,))
    moves(mean, 0.5 * mean + 0.5 * x)
    with pytest.raises(ValueError, match=r"dp_sgd: the loss of an example moves mean; a statistic"):
        su.dp_sgd(loss + mean.sum() * params[2], params, examples, batch_size=2)


def test_any_rule_behind_gates_resumed():
    loss, params, examples = model()
    private = partial(su.dp_sgd, examples=examples, batch_size=4, noise_multiplier=schedules.linear(1.0, 0.5, steps=4))
    rule = su.chain(gradients.add_l2(coefficient=0.125), su.adam(learning_rate=0.125))
    updates = su.chain(private(seed=1, optimizer=rule), su.apply_ema(decay=0.5), su.apply_if_finite())(loss, params)
    step = pytensor.function(list(examples.values()), [], updates=updates, mode=PYTHON)
    step(*batch(3))
    before = su.state_dict(updates)
    bad = batch(3)
    bad[0][0, 0] = np.nan
    step(*bad)
    after = su.state_dict(updates)
    assert {k for k in after if before[k].tobytes() != after[k].tobytes()} == {
        "dp_sgd/rng",
        "if_finite/skipped",
        "if_finite/in_a_row",
    }
    step(*batch(2, 5))
    ended = values(updates)
    su.load_state_dict(updates, after)
    step(*batch(2, 5))
    for x, y in zip(values(updates), ended, strict=True):
        assert x.tobytes() == y.tobytes()


def test_refusals():
    loss, params, examples = model()
    (x, xs), (y, _) = examples.items()
    rule = partial(su.dp_sgd, loss, params, batch_size=2)
    with pytest.raises(TypeError, match="dp_sgd takes the loss"):
        su.dp_sgd(params, params, examples, batch_size=2)
    for wrong in (None, {}, [x], x):
        with pytest.raises(TypeError, match="dp_sgd: examples must be a dict of the variables of one example"):
            rule(examples=wrong)
    with pytest.raises(TypeError, match="dp_sgd: batch_size is missing"):
        su.dp_sgd(loss, params, examples)
    with pytest.raises(ValueError, match=r"examples: the loss does not depend on xs"):
        rule(examples={xs: pt.dtensor3()})
    for wrong in (y, x, pt.fmatrix("xs")):
        with pytest.raises(TypeError, match=r"examples: for x, .*, a minibatch has one axis more"):
            rule(examples={x: wrong})
    with pytest.raises(TypeError, match="must be variables"):
        rule(examples={x: np.ones((2, 3))})
    for name, value in {"batch_size": 0, "max_norm": 0.0, "noise_multiplier": -1.0}.items():
        with pytest.raises(ValueError, match=f"dp_sgd: {name} must be"):
            su.dp_sgd(loss, params, examples, **{"batch_size": 2, name: value})
    with pytest.raises(TypeError, match="dp_sgd: optimizer must be a rule"):
        rule(examples=examples, optimizer="adam")

    def idle(loss_or_grads, params):
        return [(p, p) for p in params]

    with pytest.raises(TypeError, match=r"dp_sgd: optimizer, idle, returned \["):
        rule(examples=examples, optimizer=idle)
    table, i = pytensor.shared(np.ones((5, 3)), name="table"), pt.lscalar("i")
    row = su.rows(table, i)
    with pytest.raises(TypeError, match="dp_sgd"):
        su.dp_sgd((row**2).sum(), [row], {i: pt.lvector("is")}, batch_size=2)
    states = pytensor.scan(
        lambda element, before: before + element, [x], [pt.zeros((), dtype="float64")], return_updates=False
    )
    with pytest.raises(NotImplementedError, match=r"dp_sgd: the gradient of an example is computed with .*[sS]can"):
        su.dp_sgd((params[1].sum() * states[-1]) ** 2, [params[1]], {x: xs}, batch_size=2)
