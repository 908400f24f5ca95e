"""Proximal operators, and steps by them."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, make_param

import symupdates as su
from symupdates import apply_proximal, proximal, sgd

RNG = np.random.default_rng(0)


def soft(x, s):
    return np.sign(x) * np.maximum(np.abs(x) - s, 0)


def by_group(x, s, axis):
    n = np.sqrt((x**2).sum(axis=axis, keepdims=True))
    return x * np.maximum(1 - s / n, 0)


def low_rank(x, s):
    U, sigma, V_T = np.linalg.svd(x, full_matrices=False)
    return U @ np.diag(np.maximum(sigma - s, 0)) @ V_T


def nuclear(x):
    return np.linalg.svd(x, compute_uv=False).sum()


def group_norms(x, axis):
    return np.sqrt((x**2).sum(axis=axis)).sum()


# Each operator, the same in NumPy, and the penalty.
OPERATORS = {
    "l1": (proximal.l1, soft, lambda x: np.abs(x).sum()),
    "elastic_net": (
        partial(proximal.elastic_net, l1_ratio=0.25),
        lambda x, s: soft(x, s / 4) / (1 + 0.75 * s),
        lambda x: np.abs(x).sum() / 4 + 0.375 * (x**2).sum(),
    ),
    "group_lasso": (proximal.group_lasso(), partial(by_group, axis=0), partial(group_norms, axis=0)),
    "group_lasso rows": (proximal.group_lasso(axes=1), partial(by_group, axis=1), partial(group_norms, axis=1)),
    "nuclear_norm": (proximal.nuclear_norm, low_rank, nuclear),
}


def test_every_operator_is_here():
    assert {name.split()[0] for name in OPERATORS} == set(proximal.__all__)


def test_operators(backend_and_dtype):
    backend, dtype = backend_and_dtype
    x, s = pt.matrix("x", dtype=dtype), pt.dscalar("s")
    f = pytensor.function([x, s], [operator(x, s) for operator, _, _ in OPERATORS.values()], mode=backend)
    value = RNG.normal(size=(4, 3)).astype(dtype)
    value[:, 0] /= 4
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    for size in (0.75, 0.0, 100.0):
        for (name, (_, expected, _)), got in zip(OPERATORS.items(), f(value, size), strict=True):
            got = np.asarray(got)
            assert got.dtype == dtype, name
            exact = expected(value.astype("float64"), size)
            np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance, err_msg=name)
            if "nuclear" not in name:
                np.testing.assert_array_equal(got == 0, exact == 0, err_msg=name)
    for shape in ((0, 3), (3, 0)):
        assert {np.asarray(got).shape for got in f(np.zeros(shape, dtype), 1.0)} == {shape}


@pytest.mark.parametrize("name", OPERATORS)
def test_they_are_the_minima_that_they_are_called(name):
    """Of the penalty and half of the squared distance: no point near by, or farther off, is lower."""
    operator, _, penalty = OPERATORS[name]
    x = RNG.normal(size=(4, 3))
    got = operator(pt.as_tensor(x), 0.75).eval(mode=PYTHON)

    def objective(y):
        return 0.75 * penalty(y) + ((y - x) ** 2).sum() / 2

    for scale in (1e-6, 1e-3, 1.0):
        for _ in range(100):
            assert objective(got) <= objective(got + scale * RNG.normal(size=x.shape) * RNG.integers(2, size=x.shape))


def test_not_a_number_stays_so():
    x = np.array([[np.nan, 1.0], [2.0, 3.0]])
    outputs = [operator(pt.as_tensor(x), 0.5) for operator, _, _ in OPERATORS.values()]
    for got in pytensor.function([], outputs, mode=PYTHON)():
        assert np.isnan(got[0, 0])


def test_wrong_operators():
    x = pt.vector("x")
    with pytest.raises(ValueError, match="nuclear_norm: x must be a matrix, but x has 1 dimension"):
        proximal.nuclear_norm(x, 1.0)
    with pytest.raises(ValueError, match="group_lasso: Unsupported tensor dimensionality 1 of x"):
        proximal.group_lasso(x, 1.0)
    with pytest.raises(TypeError, match="l1: step_size cannot be a schedule"):
        proximal.l1(x, lambda step: 1.0)
    with pytest.raises(ValueError, match="l1: step_size missing"):
        proximal.l1(x)
    W = make_param((3,), "float64", "W")
    updates = sgd((W**2).sum(), [W])
    with pytest.raises(TypeError, match="apply_proximal: operator must be a function of a tensor and a step size"):
        apply_proximal(updates, operator=0.1)
    with pytest.raises(ValueError, match="the next value of W has shape"):
        apply_proximal(updates, operator=lambda x, s: x.sum())


# --- Steps ------------------------------------------------------------------------------------------------------------


def problem(n=40, d=6):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, d))
    w = np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.0])[:d]
    return x, x @ w + 0.3 * rng.normal(size=n)


@pytest.mark.ci
def test_paths_of_scikit_learn():
    """The lasso and the elastic net from where all is zero, by proximal gradient descent: the same to 1e-6."""
    from sklearn.linear_model import ElasticNet, Lasso

    x, y = problem()
    strength = pytensor.shared(1.0, name="strength")
    W, V = pytensor.shared(np.zeros(6), name="W"), pytensor.shared(np.zeros(6), name="V")
    updates = {}
    for p, operator in ((W, proximal.l1), (V, proximal.elastic_net(l1_ratio=0.25))):
        loss = ((pt.dot(x, p) - y) ** 2).mean() / 2
        # Any rule whose steps are those of gradients, in the mean.
        rule = su.heavy_ball(learning_rate=0.25, momentum=0.5, dampening=0.5)
        updates |= su.chain(rule, apply_proximal(operator=operator, strength=strength))(loss, [p])
    _, many = su.loop(None, updates, n_steps=300)
    run = pytensor.function([], [], updates=many, mode=PYTHON)
    zeros = 0
    for alpha in (2.0, 1.0, 0.3, 0.1, 0.03, 0.01):
        strength.set_value(alpha)
        run()
        lasso = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)
        net = ElasticNet(alpha=alpha, l1_ratio=0.25, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)
        for p, expected in ((W, lasso.coef_), (V, net.coef_)):
            np.testing.assert_allclose(p.get_value(), expected, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(p.get_value() == 0, expected == 0)
            zeros += (expected == 0).sum()
    assert zeros > 20


def test_the_optimum_of_groups():
    """Rows that are zero have gradients within the bound; in the others, the penalty's is opposed."""
    x, y = problem()
    Y = np.stack([y, -y + x[:, 3]], axis=1)
    W = pytensor.shared(np.zeros((6, 2)), name="W")
    loss = ((pt.dot(x, W) - Y) ** 2).sum() / (2 * len(x))
    optimizer = su.chain(sgd(learning_rate=0.5), apply_proximal(operator=proximal.group_lasso(axes=1), strength=0.5))
    step = pytensor.function([], pytensor.grad(loss, W), updates=optimizer(loss, [W]), mode=PYTHON)
    for _ in range(300):
        gradient = step()
    w = W.get_value()
    sizes = np.linalg.norm(w, axis=1)
    zero = sizes == 0
    assert 0 < zero.sum() < 6
    assert (np.linalg.norm(gradient[zero], axis=1) <= 0.5 + 1e-9).all()
    np.testing.assert_allclose(gradient[~zero], -0.5 * w[~zero] / sizes[~zero, None], atol=1e-9)


def test_exact_zeros_at_the_rate_of_the_rule(backend):
    """In groups at rates of their own, scheduled, with a strength that is scheduled too; each parameter by hand."""
    schedule = lambda step: 0.5 / (1 + step)  # noqa: E731
    strength = lambda step: 1.0 - 0.25 * step  # noqa: E731
    start = np.array([3.0, -0.4, 0.1, 1.0])
    W, V = pytensor.shared(start.astype("float32"), name="W"), pytensor.shared(start, name="V")
    optimizer = su.chain(
        su.partition(("W", sgd(learning_rate=schedule)), (..., sgd(learning_rate=0.25))),
        apply_proximal(operator=proximal.l1, strength=strength),
    )
    g = np.array([0.5, -0.5, 0.25, 1.0])
    updates = optimizer([pt.as_tensor(g), pt.as_tensor(g)], [W, V])
    assert [v.name for v in updates] == ["W", "sgd/t", "V", "proximal/t"]
    step = pytensor.function([], [], updates=updates, mode=backend)
    w = v = start
    for t in range(3):
        step()
        w = soft(w - schedule(t) * g, schedule(t) * strength(t))
        v = soft(v - 0.25 * g, 0.25 * strength(t))
        np.testing.assert_allclose(W.get_value(), w, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(V.get_value(), v, rtol=1e-12, atol=1e-15)
    assert (W.get_value() == 0).sum() == (w == 0).sum() > 0
    assert W.get_value().dtype == "float32"


def test_any_function_of_some_parameters():
    """At a rate that is given; the strength is a hyper-parameter as any other."""
    W, b = pytensor.shared(np.array([3.0, 0.5]), name="W"), pytensor.shared(0.5, name="b")
    hard = partial(lambda x, s, power: pt.switch(abs(x) ** power <= s, 0, x), power=2)
    updates = su.chain(
        sgd(learning_rate=0.0),
        apply_proximal(params=[W], operator=hard, strength=2.0, learning_rate=0.5),
        su.adjustable(),
    )((W**2).sum() + b**2, [W, b])
    assert {"proximal/strength", "proximal/learning_rate"} <= set(su.hyperparameters(updates))
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    step()
    assert W.get_value().tolist() == [3, 0] and b.get_value() == 0.5
    su.named(updates)["proximal/strength"].set_value(20)
    step()
    assert W.get_value().tolist() == [0, 0]
    waiting = apply_proximal(strength=0.5)
    assert waiting.keywords == {"params": None, "operator": proximal.l1, "strength": 0.5, "learning_rate": None}
