"""L-BFGS within bounds: against SciPy's on problems of public collections, and against dense matrices."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from oracles.loss import wolfe_search
from pytensor.graph.replace import clone_replace
from scipy.optimize import minimize

import symupdates as su

INF = np.inf


# --- Problems of Hock and Schittkowski (1981), and of CUTE (Bongartz et al. 1995) in few dimensions -------------------


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def colville(x):
    return (
        rosenbrock(x)
        + (90 * (x[3] - x[2] ** 2) ** 2 + (1 - x[2]) ** 2)
        + 10.1 * ((x[1] - 1) ** 2 + (x[3] - 1) ** 2)
        + 19.8 * (x[1] - 1) * (x[3] - 1)
    )


def mccormick(x):
    a, b = x[:-1], x[1:]
    return (-1.5 * a + 2.5 * b + 1 + (a - b) ** 2 + pt.sin(a + b)).sum()


def complementarity(x):
    return (x[0] - 1) ** 2 + 4 * ((x[1:] - x[:-1] ** 2) ** 2).sum()


def exponentials(x):
    s = x[:-2] + x[1:-1]
    return (s * pt.exp(-s * x[2:])).sum()


def membrane(force):
    def energy(x):
        return x @ LAPLACIAN @ x / 2 - force / 81 * x.sum()

    return energy


INSIDE = np.arange(1, 9) / 9
X, Y = np.meshgrid(INSIDE, INSIDE)
SECOND = 2 * np.eye(8) - np.eye(8, k=1) - np.eye(8, k=-1)
LAPLACIAN = np.kron(SECOND, np.eye(8)) + np.kron(np.eye(8), SECOND)
OBSTACLE = (np.sin(3.2 * X) * np.sin(3.3 * Y)).ravel() ** 3
WALL = np.minimum(np.minimum(X, 1 - X), np.minimum(Y, 1 - Y)).ravel()
EVEN = np.arange(25) % 2 == 0

PROBLEMS = {
    "HS1": (rosenbrock, [-2, 1], [-INF, -1.5], INF),
    "HS2": (rosenbrock, [-2, 1.5], [-INF, 1.5], INF),
    "HS3": (lambda x: x[1] + 1e-5 * (x[1] - x[0]) ** 2, [10, 1], [-INF, 0], INF),
    "HS4": (lambda x: (x[0] + 1) ** 3 / 3 + x[1], [1.125, 0.125], [1, 0], INF),
    "HS5": (
        lambda x: pt.sin(x[0] + x[1]) + (x[0] - x[1]) ** 2 - 1.5 * x[0] + 2.5 * x[1] + 1,
        *([0, 0], [-1.5, -3], [4, 3]),
    ),
    "HS38": (colville, [-3, -1, -3, -1], -10, 10),
    "HS45": (lambda x: 2 - x.prod() / 120, [0.5, 1, 1.5, 2, 2.5], 0, [1, 2, 3, 4, 5]),
    "HS110": (
        lambda x: (pt.log(x - 2) ** 2 + pt.log(10 - x) ** 2).sum() - x.prod() ** 0.2,
        *([9.0] * 10, 2.001, 9.999),
    ),
    "driver1": (complementarity, [3.0] * 25, np.where(EVEN, 1, -100), 100),
    "MCCORMCK": (mccormick, [0.0] * 20, -1.5, 3),
    "NONSCOMP": (complementarity, [3.0] * 20, np.where(EVEN[:20], -100, 1), 100),
    "OBSTCLAE": (membrane(1), [1.0] * 64, OBSTACLE, 2000),
    "TORSION1": (membrane(5), [0.0] * 64, -WALL, WALL),
    "BDEXP": (exponentials, [1.0] * 20, 0, 100),
}
GOAL = 1e-5  # of the projected gradient, SciPy's default


def shared(value, name="p"):
    return pytensor.shared(np.asarray(value, "float64"), name=name)


def of_scipy(evaluate, start, low, high):
    """The loss at the goal, and the number of evaluations until there."""
    found = []

    def fun(x):
        loss, g = evaluate(x)
        found.append((np.abs(np.clip(x - g, low, high) - x).max(), loss))
        return loss, g

    bounds = np.broadcast_arrays(low, high, start)[:2]
    options = {"maxcor": 10, "ftol": 0, "gtol": GOAL / 10}
    minimize(fun, start, jac=True, method="L-BFGS-B", bounds=np.transpose(bounds), options=options)
    return next((loss, n) for n, (size, loss) in enumerate(found, start=1) if size <= GOAL)


def of_ours(p, loss, low, high):
    updates = su.lbfgs(loss, [p], bounds=(low, high))
    step = pytensor.function([], [loss, pytensor.grad(loss, p), p], updates=updates)
    for n in range(1, 400):
        value, g, x = step()
        assert np.all(low <= x) and np.all(x <= high)
        if np.abs(np.clip(x - g, low, high) - x).max() <= GOAL:
            return value, n
    raise AssertionError("no convergence")


@pytest.mark.ci
def test_bounded_problems_in_as_few_evaluations_as_scipy():
    """All together. HS38 has a saddle, which some paths meet and others miss: of that, only the minimum is compared."""
    ours, theirs = {}, {}
    for name, (f, start, low, high) in PROBLEMS.items():
        p = shared(start)
        loss = f(p)
        x = pt.dvector()
        at_x = clone_replace([loss, pytensor.grad(loss, p)], {p: x})
        value, theirs[name] = of_scipy(pytensor.function([x], at_x), p.get_value(), low, high)
        got, ours[name] = of_ours(p, loss, low, high)
        assert got == pytest.approx(value, rel=1e-6, abs=1e-6), name
    del ours["HS38"], theirs["HS38"]
    assert sum(ours.values()) <= sum(theirs.values()), (ours, theirs)


# --- Dense matrices ---------------------------------------------------------------------------------------------------


def dense(pairs, n):
    """Nocedal and Wright (2006), equation 6.19, from the scale of the last pair."""
    B = np.eye(n)
    if pairs:
        s, y = pairs[-1]
        B = B * (y @ y) / (s @ y)
    for s, y in pairs:
        Bs = B @ s
        B = B - np.outer(Bs, Bs) / (s @ Bs) + np.outer(y, y) / (y @ s)
    return B


def solved(B, g, free, u):
    """The minimum of the model in what is free, with the others at u."""
    u = np.where(free, 0.0, u)
    if free.any():
        u[free] = -np.linalg.solve(B[np.ix_(free, free)], (g + B @ u)[free])
    return u


def bounded_lbfgs(x, value, gradient, low, high, memory):
    pairs, trials, position, last_g, d = [], None, x, None, None
    while True:
        g = gradient(x)
        if trials:
            try:
                a, *_ = trials.send((value(x), g @ d, 1e-4, 0.9))
                x = np.clip(position + a * d, low, high)
                yield x, position
                continue
            except StopIteration:
                pairs = [*pairs, (x - position, g - last_g)][-memory:]
        free = ~((x <= low) & (g > 0) | (x >= high) & (g < 0))
        B = dense(pairs, len(x))
        u = solved(B, g, free, np.zeros_like(x))
        hits = free & ((x + u < low) | (x + u > high))
        u = solved(B, g, free & ~hits, np.where(hits, np.clip(x + u, low, high) - x, 0.0))
        steepest = -g * free
        length = min(1, 1 / np.linalg.norm(steepest))
        d = np.clip(x + u, low, high) - x
        if not pairs or g @ d >= 0:
            d = np.clip(x + length * steepest, low, high) - x
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.where(d > 0, (high - x) / d, np.where(d < 0, (low - x) / d, np.inf)).min()
        position, last_g, trials = x, g, wolfe_search(value(x), g @ d, 1.0, most)
        x = np.clip(x + next(trials)[0] * d, low, high)
        yield x, position


@pytest.mark.parametrize("name", ["HS2", "MCCORMCK", "TORSION1"])
def test_bounded_steps(name):
    """Until differences of the loss are roundings."""
    f, start, low, high = PROBLEMS[name]
    p = shared(start)
    x = pt.dvector()
    loss = f(p)
    value, gradient = (pytensor.function([x], clone_replace(v, {p: x})) for v in (loss, pytensor.grad(loss, p)))
    updates = su.lbfgs(loss, [p], bounds=(low, high), memory=4)
    point = su.averages(updates)[p]
    expected = bounded_lbfgs(p.get_value(), value, gradient, np.asarray(low), np.asarray(high), 4)
    step = pytensor.function([], [], updates=updates)
    for _ in range(11):
        step()
        for got, want in zip((p, point), next(expected), strict=True):
            np.testing.assert_allclose(got.get_value(), want, rtol=1e-8, atol=1e-10)


def test_several_parameters_as_one_vector():
    """With bounds for some, by name; the others are free."""
    f, start, *_ = PROBLEMS["HS38"]
    a, b, c = shared(start[:2], "a"), shared(start[2], "b"), shared([[start[3]]], "c")
    together = shared(start)
    pairs = [
        (f(together), [together], ([-INF, -INF, 0.5, -INF], [0.5, INF, 2, INF])),
        (f(pt.concatenate([a, b[None], c.ravel()])), [a, b, c], {a: (None, [0.5, INF]), "b": (0.5, 2)}),
    ]
    found = []
    for loss, params, bounds in pairs:
        step = pytensor.function([], loss, updates=su.lbfgs(loss, params, bounds=bounds))
        found.append([step().item() for _ in range(40)] + [x for p in params for x in np.ravel(p.get_value())])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    assert found[0][-4] == 0.5 and found[0][-2] >= 0.5


@pytest.mark.parametrize(("start", "inside", "goal"), [([3.0, -5.0], [1.0, 0.0], 0.25), ([3.0, 0.5], [1.0, 0.5], 5.0)])
def test_a_start_outside(start, inside, goal):
    """It is moved inside, even where the loss is higher."""
    p = shared(start)
    updates = su.lbfgs(((p - goal) ** 2).sum(), [p], bounds=(0.0, 1.0))
    step = pytensor.function([], [], updates=updates)
    step()
    assert p.get_value().tolist() == inside == su.averages(updates)[p].get_value().tolist()
    for _ in range(8):
        step()
    np.testing.assert_allclose(p.get_value(), min(goal, 1), rtol=1e-12)


def test_no_first_trial_is_beyond_the_bounds():
    """Where it would be, it would have left the straight way that the search measures."""
    f, start, low, high = PROBLEMS["HS38"]
    found = []
    for rate in (1.0, 4.0):
        p = shared(start)
        step = pytensor.function([], f(p), updates=su.lbfgs(f(p), [p], bounds=(low, high), learning_rate=rate))
        found.append([step().item() for _ in range(9)])
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["HS2", "HS5", "HS110", "TORSION1"])
def test_the_model_can_be_solved_by_until_nothing_moves(name, dtype):
    """SciPy warns of matrices that are too ill-conditioned, and warnings are errors here."""
    f, start, low, high = PROBLEMS[name]
    p = pytensor.shared(np.asarray(start, dtype), name="p")
    step = pytensor.function([], f(p), updates=su.lbfgs(f(p), [p], bounds=(low, high)))
    losses = [step() for _ in range(30)]
    assert np.ptp(losses[-5:]) <= 1e-5 * abs(losses[-1])


@pytest.mark.long
@pytest.mark.ci
def test_bounds_on_every_backend(backend_and_dtype):
    backend, dtype = backend_and_dtype
    f, start, low, high = PROBLEMS["HS5"]
    p = pytensor.shared(np.asarray(start, dtype), name="p")
    _, updates = su.loop(None, su.lbfgs(f(p), [p], bounds=(low, high), memory=3), n_steps=12)
    pytensor.function([], [], updates=updates, mode=backend)()
    assert p.get_value().dtype == dtype  # the minimum of the problem's own page
    np.testing.assert_allclose(
        p.get_value(), [0.5 - np.pi / 3, -0.5 - np.pi / 3], rtol=1e-3 if dtype == "float32" else 1e-6
    )


def test_errors():
    p = shared([1.0, 2.0])
    for bounds, error, words in [
        (0.0, TypeError, r"lbfgs: bounds of p must be a pair of the least and the greatest value, not 0\.0"),
        ((1.0, 0.0), ValueError, r"lbfgs: bounds of p must be in order and no NaN, but they are 1\.0 and 0\.0"),
        ((np.nan, 1), ValueError, "in order and no NaN"),
        (([0, 0, 0], 1), ValueError, r"must be numbers, or arrays that fit its shape \(2,\), not \[0, 0, 0\]"),
        (("a", 1), ValueError, "must be numbers, or arrays that fit its shape"),
        ({"q": (0, 1)}, ValueError, "lbfgs: bounds: the pattern 'q' fits none of the names p"),
        ({shared(1.0, "q"): (0, 1)}, ValueError, "lbfgs: bounds: q is none of the parameters"),
    ]:
        with pytest.raises(error, match=words):
            su.lbfgs((p**2).sum(), [p], bounds=bounds)
