"""Nonlinear conjugate gradients, and line searches along the steps of any optimizer."""

from collections import OrderedDict

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from oracles.loss import wolfe_search
from scipy.optimize import minimize, rosen, rosen_der

import symupdates as su
from symupdates.rules.line_search import METHODS


def shared(value, name="p"):
    return pytensor.shared(np.asarray(value, "float64"), name=name)


class Problem:
    """The loss of the oracles, of one parameter."""

    def __init__(self):
        (self.f,) = oracles.loss.losses(1, seed=3, same=True)
        self.start = np.random.default_rng(4).normal(size=9)
        self.p = p = shared(self.start)
        z = pt.dot(self.f.A, p) - self.f.b
        self.loss = (pt.log(pt.cosh(z))).sum() + (self.f.c * p**4 / 4 - self.f.d * p**2 / 2).sum()

    def train(self, updates, n):
        step = pytensor.function([], [], updates=updates)
        for _ in range(n):
            step()
            yield {**{v.name.rpartition("/")[2]: v.get_value() for v in updates}, "param": self.p.get_value()}


@pytest.mark.parametrize("method", ["polak_ribiere", "hestenes_stiefel", "dai_yuan"])
def test_conjugate_gradients(method):
    problem = Problem()
    hyper = {"learning_rate": 0.5, "c1": 0.0625, "c2": 0.25, "method": method}
    updates = su.nonlinear_cg(problem.loss, [problem.p], **hyper)
    expected = oracles.nonlinear_cg(problem.start, [problem.f] * 25, **hyper)
    for got, want in zip(problem.train(updates, 25), expected, strict=True):
        for slot, value in want.items():
            np.testing.assert_allclose(got[slot], value, rtol=1e-9, atol=1e-11, err_msg=slot)


def test_polak_and_ribiere_restart():
    """A factor that would be negative is zero: the direction is the gradient's."""
    g, y, g_old, d = ([pt.constant(np.array(x))] for x in ([1.0, 0.0], [-1.0, -1.0], [2.0, 1.0], [-2.0, -1.0]))
    assert [method(g, y, g_old, d).eval() for method in METHODS.values()] == pytest.approx([-1 / 3, 0, 1 / 3])


@pytest.mark.parametrize("method", ["polak_ribiere", "hestenes_stiefel", "dai_yuan"])
def test_a_quadratic_loss_in_as_many_searches_as_dimensions(method):
    """With searches that are nearly exact, each formula is the method of conjugate gradients."""
    rng = np.random.default_rng(0)
    B = rng.normal(size=(5, 5))
    A, b = B @ B.T + np.eye(5), rng.normal(size=5)
    p = shared(np.zeros(5))
    updates = su.nonlinear_cg(p @ A @ p / 2 - b @ p, [p], c1=1e-9, c2=1e-8, method=method)
    named = su.named(updates)
    step = pytensor.function([], [], updates=updates)
    searches = -1  # the first update begins one
    while searches < 5:
        step()
        searches += named["nonlinear_cg/trials"].get_value() == 0
        assert named["nonlinear_cg/evaluations"].get_value() < 40
    np.testing.assert_allclose(named["p/nonlinear_cg/x"].get_value(), np.linalg.solve(A, b), rtol=1e-6)


@pytest.mark.ci
def test_rosenbrock_in_few_evaluations():
    """Not many more than SciPy's, from several starts together, for each alone is a matter of luck."""
    ours = of_scipy = 0
    for start in ([-1.2, 1.0], [-1.2, 1.0] * 3, [3.0, -2.0, 4.0, 1.0], [0.0, 2.0, -1.0, 1.5]):
        found = []

        def fun(x, found=found):
            found.append(rosen(x))
            return rosen(x), rosen_der(x)

        minimize(fun, start, jac=True, method="CG", options={"gtol": 1e-10})
        of_scipy += next(n for n, f in enumerate(found, start=1) if f < 1e-10)
        p = shared(start)
        loss = (100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2).sum()
        step = pytensor.function([], loss, updates=su.nonlinear_cg(loss, [p]))
        ours += 1
        while step() > 1e-10:
            ours += 1
            assert ours < 1000
    assert ours <= 1.2 * of_scipy


# --- Any direction ----------------------------------------------------------------------------------------------------


def heavy_ball_searched(x, f, n, learning_rate, momentum, first, c1, c2):
    """What :func:`symupdates.line_search` makes of gradient descent with momentum, a step of it for each search."""
    v, d, search = np.zeros_like(x), None, None
    for t in range(n):
        if search:
            try:
                a, *_ = search.send((f.value(x), f.gradient(x) @ d, c1, c2))
            except StopIteration:
                search = None
        if not search:
            position, g = x, f.gradient(x)
            v = momentum * v - learning_rate * g
            d = v if v @ g < 0 else -g
            a = first * (1 if v @ g < 0 else min(1, 1 / np.linalg.norm(g)))
            search = wolfe_search(f.value(x), g @ d, a)
            a, *_ = next(search)
        x = position + a * d
        yield {"param": x, "x": position, "d": d, "velocity": v, "evaluations": t + 1}


@pytest.mark.parametrize("c2", [0.25, None])
def test_the_steps_of_any_optimizer(c2):
    """By both conditions, and by backtracking, which is the second without a bound; the velocity waits meanwhile."""
    problem = Problem()
    ball = {"learning_rate": 4.0, "momentum": 0.5}
    updates = su.line_search(su.momentum(**ball), learning_rate=0.5, c1=0.0625, c2=c2)(problem.loss, [problem.p])
    assert [v.name for v in updates] == [
        *("p", "p/momentum/velocity", "p/line_search/x", "p/line_search/d"),
        *("line_search/search", "line_search/trials", "line_search/evaluations"),
    ]
    c2 = np.inf if c2 is None else c2
    expected = heavy_ball_searched(problem.start, problem.f, 25, **ball, first=0.5, c1=0.0625, c2=c2)
    trials = set()
    for got, want in zip(problem.train(updates, 25), expected, strict=True):
        trials.add(int(got["trials"]))
        for slot, value in want.items():
            np.testing.assert_allclose(got[slot], value, rtol=1e-9, atol=1e-11, err_msg=slot)
    assert {0, 1, 2} <= trials


def test_the_optimizer_counts_the_steps_that_were_made():
    p = shared(1.0)
    updates = su.line_search(su.adam(learning_rate=64.0))(50 * p**2, [p])
    named = su.named(updates)
    step = pytensor.function([], [], updates=updates)
    points = []
    for _ in range(30):
        step()
        points.append(named["p/line_search/x"].get_value().item())
    # A step for each point that was reached, and where a search ends at last for the rounding of the loss.
    assert (
        0
        <= named["adam/t"].get_value() - len(dict.fromkeys(points))
        <= 1
        < 10
        < named["line_search/evaluations"].get_value()
    )
    assert su.averages(updates)[p] is named["p/line_search/x"]


def test_backtracking_alone_gives_up_and_takes_the_gradient():
    """A step of 1000 from x = 1 of 500 x², and one trial a search: back to x, and then the first of the gradient's."""
    p = shared(1.0)
    updates = su.line_search(su.sgd(learning_rate=1.0), c2=None, max_trials=1)(500 * p**2, [p])
    step = pytensor.function([], [], updates=updates)
    found = [(step(), p.get_value().item())[1] for _ in range(3)]
    assert found == [-999.0, 1.0, 0.0]


def test_a_search_given_up_with_something_gained():
    """From 0.4, which the first trial reached and the second leapt over, the step is the optimizer's again."""
    p = shared(1.0)
    updates = su.line_search(su.sgd(learning_rate=0.006), c2=0.1, max_trials=2)(50 * p**2, [p])
    step = pytensor.function([], [], updates=updates)
    found = [(step(), p.get_value().item())[1] for _ in range(4)]
    np.testing.assert_allclose(found, [0.4, -1.4, 0.4, 0.16], rtol=1e-12)


def test_a_step_that_climbs_is_not_taken():
    p = shared([3.0, 4.0])

    def climb(loss_or_grads, params):
        grads = su.get_or_compute_grads(loss_or_grads, params)
        return OrderedDict((q, q + g) for q, g in zip(params, grads, strict=True))

    updates = su.line_search(climb)((p**2).sum() / 2, [p])
    pytensor.function([], [], updates=updates)()
    np.testing.assert_allclose(p.get_value(), [2.4, 3.2], rtol=1e-15)  # a step of length one


def test_gauss_newton_down_the_valley():
    """Of Rosenbrock's function, where the whole step first climbs to a loss of 1172."""
    p = shared([-1.2, 1.0])
    r = pt.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])
    loss = (r**2).sum() / 2
    optimizer = su.line_search(su.gauss_newton(outputs=[r], damping=0.0, iterations=2), c2=None)
    step = pytensor.function([], loss, updates=optimizer(loss, [p]))
    losses = [step().item() for _ in range(40)]
    assert losses[1] > 100 and losses[-1] < 1e-20


def test_line_search_on_every_backend(backend_and_dtype):
    backend, dtype = backend_and_dtype
    x, y = (pytensor.shared(np.asarray(value, dtype), name=name) for name, value in (("x", -1.2), ("y", 1.0)))
    loss = 100 * (y - x**2) ** 2 + (1 - x) ** 2
    _, updates = su.loop(None, su.line_search(su.sgd(learning_rate=0.01), c2=0.5)(loss, [x, y]), n_steps=40)
    pytensor.function([], [], updates=updates, mode=backend)()
    su.to_numpy(updates)
    assert x.get_value().dtype == dtype
    assert 100 * (y.get_value() - x.get_value() ** 2) ** 2 + (1 - x.get_value()) ** 2 < 4.1


def test_errors():
    p = shared(1.0)
    with pytest.raises(
        ValueError, match="nonlinear_cg: method must be 'hestenes_stiefel', 'polak_ribiere', 'dai_yuan'"
    ):
        su.nonlinear_cg(p**2, [p], method="fletcher")
    with pytest.raises(ValueError, match="line_search: max_trials must be a whole number of at least 1, not 0"):
        su.line_search(su.sgd(), max_trials=0)
    with pytest.raises(TypeError, match="line_search: optimizer must be a rule or another optimizer, not None"):
        su.line_search(None)
    with pytest.raises(ValueError, match=r"line_search: c1 must be at most c2, but they are 0\.5 and 0\.1"):
        su.line_search(su.sgd(), c1=0.5, c2=0.1)(p**2, [p])
    with pytest.raises(TypeError, match="line_search takes the loss, not gradients"):
        su.line_search(su.sgd())([p], [p])
    q = shared(1.0, "q")
    with pytest.raises(ValueError, match="line_search: q not among the updates"):
        su.line_search(lambda loss_or_grads, params: {p: p})(p * q, [p, q])
    assert su.line_search(su.sgd())(pt.constant(1.0), []) == {}
