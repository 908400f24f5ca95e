"""Layers and matrices: facts of the rules that follow from their mathematics, and all shapes of matrices."""

from functools import partial
from itertools import pairwise

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, make_param

import symupdates as su


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def trained(rule, starts, steps, mode=PYTHON, dtype="float64"):
    """The parameters after each step on these gradients, a list of arrays for each step, and the updates."""
    params = [pytensor.shared(start.astype(dtype), name=name) for start, name in zip(starts, "pqrstuvw", strict=False)]
    grads = [pt.tensor(shape=start.shape, dtype="float64") for start in starts]
    updates = rule(grads, params)
    step = pytensor.function(grads, [], updates=updates, mode=mode)
    path = []
    for given in steps:
        step(*given)
        path.append([p.get_value() for p in params])
    return path, updates


def trained_one(rule, start, grads, **options):
    path, updates = trained(rule, [start], [[g] for g in grads], **options)
    return [start, *(p for (p,) in path)], updates


# --- Layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, length",
    [
        (su.lars(learning_rate=0.5, momentum=0.0, trust_coefficient=0.125), 0.0625),
        (su.lamb(learning_rate=0.0625, epsilon=0.0), 0.0625),
    ],
)
def test_the_step_is_a_part_of_the_layer(rule, length):
    """Whatever the size of the gradient, and of the parameter."""
    for size in (1e-6, 1.0, 1e6):
        path, _ = trained_one(rule, random(3, 4, seed=1) / size, size * random(5, 3, 4))
        for before, after in pairwise(path):
            np.testing.assert_allclose(np.linalg.norm(after - before), length * np.linalg.norm(before), rtol=1e-10)


def test_fromage_keeps_the_norm_at_right_angles():
    start = np.array([[3.0, 0.0], [0.0, 4.0]])
    path, _ = trained_one(su.fromage(learning_rate=0.5), start, [np.array([[0.0, 7.0], [0.0, 0.0]])])
    np.testing.assert_allclose(np.linalg.norm(path[-1]), 5.0, rtol=1e-14)


@pytest.mark.ci
@pytest.mark.parametrize(
    "rule",
    [
        *(su.lars(), su.lamb(), su.fromage(), su.muon(), su.normuon(), su.adamuon(), su.adafactor(), su.soap()),
        *(su.shampoo(), su.shampoo(beta2=0.5, graft=su.sgd()), su.psgd_kron(seed=0)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.ci)])
def test_zeros_and_nothing(rule, dtype):
    """Zero parameters and zero gradients, of all shapes, and no elements: no NaN, and no step without gradient."""
    for shapes in ([(), (3,), (2, 3), (1, 3), (3, 1), (2, 1, 3)], [(0,), (2, 0), (0, 2), (0, 0), (2, 0, 3)]):
        starts = [np.zeros(shape) for shape in shapes]
        steps = [[np.full(shape, x) for shape in shapes] for x in (0.0, 0.0, 0.5, 0.25, 0.0)]
        path, updates = trained(rule, starts, steps, dtype=dtype)
        assert all(np.isfinite(v.get_value()).all() for v in updates)
        assert all((p == 0).all() for p in path[1])
        assert all((p != 0).all() for p in path[3])


# --- Muon -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3)])
def test_muon_steps_are_nearly_orthogonal(shape):
    path, _ = trained_one(su.muon(learning_rate=1.0), np.zeros(shape), random(6, *shape))
    for before, after in pairwise(path):
        sizes = np.linalg.svd(after - before)[1] / max(1, shape[1] / shape[0]) ** 0.5
        assert 0.65 < sizes.min() and sizes.max() < 1.25


@pytest.mark.parametrize("rule, axis", [(su.normuon, 0), (su.adamuon, ())])
def test_first_steps_are_even(rule, axis):
    """Of all neurons, or of all elements: their root mean square is 0.2 times the rate."""
    path, _ = trained_one(rule(learning_rate=1.0, epsilon=0.0), np.zeros((3, 7)), random(1, 3, 7))
    np.testing.assert_allclose(np.sqrt(np.mean((path[1] - path[0]) ** 2, axis=axis)), 0.2, rtol=1e-12)


def test_muon_leaves_the_rest_to_another_rule():
    params = [
        make_param((2, 3), "float64", "W"),
        make_param((3,), "float64", "b"),
        make_param((2, 1, 2), "float32", "K"),
    ]
    grads = [pt.tensor(shape=p.get_value().shape, dtype="float64") for p in params]
    names = [v.name for v in su.muon(grads, params)]
    assert names == ["W/muon/m", "W", "b/adamw/m", "b/adamw/v", "b", "K/adamw/m", "K/adamw/v", "K", "adamw/t"]
    names = [v.name for v in su.muon(grads, params, learning_rate=lambda t: 1 / (1 + t), others=su.momentum())]
    assert names == ["W/muon/m", "W", "muon/t", "b", "K", "b/momentum/velocity", "K/momentum/velocity"]
    with pytest.raises(TypeError, match=r"muon: others must be a rule or another optimizer, not 'adam'"):
        su.muon(grads, params, others="adam")
    with pytest.raises(ValueError, match=r"muon: ns_steps must be a whole number of at least 1, not 0"):
        su.muon(grads, params, ns_steps=0)


TRIPLES = [(2.0, -1.5, 0.5), (1.5, -0.5, 0.0)]


@pytest.mark.parametrize("shape", [(2, 3, 2), (7, 2, 1, 2)])
def test_muon_of_kernels(shape):
    """As of the matrix (inputs, units); with coefficients of each step, the last of which goes on."""
    options = {"learning_rate": 0.5, "coefficients": TRIPLES, "ns_steps": 3, "kernels": True}
    given = random(3, *shape)
    path, updates = trained_one(su.muon(**options), np.ones(shape), given)
    assert len(updates) == 2
    expected = [state["param"] for state in oracles.muon(np.ones(shape), given, **options)]
    np.testing.assert_allclose(path[1:], expected, rtol=1e-12, atol=1e-12)
    matrix = np.moveaxis(np.diff(path, axis=0), 1, -1).reshape(3, -1, shape[0])
    of_matrix, _ = trained_one(
        su.muon(**options), np.ones(matrix.shape[1:]), np.moveaxis(given, 1, -1).reshape(matrix.shape)
    )
    np.testing.assert_allclose(matrix, np.diff(of_matrix, axis=0), rtol=1e-12, atol=1e-12)


def test_muon_on_the_polar_express():
    """Five steps come nearer to an orthogonal matrix than the author's, and ten are there, where those never are."""
    worst = {}
    for coefficients in ("jordan", "polar_express"):
        for steps in (5, 10):
            rule = su.muon(learning_rate=1.0, coefficients=coefficients, ns_steps=steps)
            path, _ = trained_one(rule, np.zeros((6, 6)), random(1, 6, 6))
            singular_values = np.linalg.svd(path[1] - path[0], compute_uv=False)
            worst[coefficients, steps] = np.abs(singular_values - 1).max()
    assert 1e-3 < worst["polar_express", 5] < worst["jordan", 5]
    assert worst["polar_express", 10] < 1e-12 < 0.1 < worst["jordan", 10]


def test_wrong_coefficients_of_muon():
    W = [pt.matrix("g")], [pytensor.shared(np.ones((2, 2)), name="W")]
    for wrong in ("jordon", [], [None], [(1.0, 2.0)], [(1.0, 2.0, np.nan)]):
        with pytest.raises(ValueError, match="muon: coefficients must be"):
            su.muon(*W, coefficients=wrong)
    with pytest.raises(TypeError, match="muon: coefficients must be a list"):
        su.muon(*W, coefficients=3.0)
    with pytest.raises(TypeError, match="muon: kernels must be True or False"):
        su.muon(*W, kernels="yes")


def test_muon_with_an_even_step():
    """With `consistent_rms`, elements move by about that number, whatever the shape."""
    for shape in [(8, 8), (4, 32), (32, 4)]:
        path, _ = trained_one(su.muon(learning_rate=1.0, consistent_rms=0.2), np.zeros(shape), random(1, *shape))
        assert 0.13 < np.sqrt(np.mean(path[-1] ** 2)) < 0.25


# --- Adafactor --------------------------------------------------------------------------------------------------------


def test_adafactor_keeps_a_row_and_a_column():
    p = make_param((50, 30), "float32", "p")
    K = make_param((5, 6, 7), "float32", "K")
    grads = [pt.matrix(), pt.tensor3()]
    updates = su.adafactor(grads, [p, K])
    assert {v.name: v.get_value().shape for v in updates} == {
        "p/adafactor/r": (50,),
        "p/adafactor/c": (30,),
        "p": (50, 30),
        "K/adafactor/r": (5, 6),
        "K/adafactor/c": (5, 7),
        "K": (5, 6, 7),
        "adafactor/t": (),
    }
    updates = su.adafactor(grads, [p, K], min_dim_size_to_factor=7)
    assert [v.name for v in updates][2:] == ["p", "K/adafactor/v", "K", "adafactor/t"]
    with pytest.raises(ValueError, match="adafactor: min_dim_size_to_factor must be a whole number of at least 1"):
        su.adafactor(grads, [p, K], min_dim_size_to_factor=0)


def test_adafactor_is_exact_for_a_product():
    """Of gradients whose squares are a row times a column, the factored average is the average."""
    row, column = 1 + np.arange(3.0), 2.0 ** np.arange(4)
    sizes = np.random.default_rng(0).uniform(1, 2, 6)
    grads = [size * np.outer(row, column) for size in sizes]
    start = random(3, 4, seed=1)
    for relative in (True, False):
        rule = partial(su.adafactor, relative_step=relative)
        factored, _ = trained_one(rule, start, grads)
        whole, updates = trained_one(partial(rule, min_dim_size_to_factor=100), start, grads)
        assert len(updates) == 3
        np.testing.assert_allclose(factored, whole, rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 6, 7), (2, 1, 3), (3, 4)])
def test_adafactor_on_more_axes(shape):
    grads = oracles.gradients(9, shape)
    path, _ = trained_one(su.adafactor(learning_rate=0.25), random(*shape), grads)
    for got, after in zip(path[1:], oracles.adafactor(random(*shape), grads, learning_rate=0.25), strict=True):
        np.testing.assert_allclose(got, after["param"], rtol=1e-11, atol=1e-14)


# --- Shampoo and SOAP -------------------------------------------------------------------------------------------------


def check_numbers(rule, shapes, mode, **hyper):
    """All shapes in one call, to ten digits."""
    starts = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    steps = [[random(*shape, seed=10 * t + i) for i, shape in enumerate(shapes)] for t in range(9)]
    path, _ = trained(partial(rule, **hyper), starts, steps, mode=mode)
    for i, start in enumerate(starts):
        drawn = {"stream": i} if "seed" in hyper else {}
        oracle = getattr(oracles, rule.__name__)(start, [step[i] for step in steps], **hyper, **drawn)
        for after, expected in zip(path, oracle, strict=True):
            np.testing.assert_allclose(after[i], expected["param"], rtol=1e-10, atol=1e-11)


# The sums of Shampoo are well-conditioned because epsilon is large; the bases of SOAP are unique because the first
# gradient leaves at most one direction of each axis open.
CHECKS = {
    "shampoo": (
        partial(check_numbers, su.shampoo, [(7,), (5, 5), (6, 3), (3, 6), (2, 3, 4), (1, 5), (4, 1), ()], epsilon=0.5),
        [
            *[{}, {"every": 2}, {"max_size": 4}, {"max_size": 3, "every": 4}],
            {"beta2": 0.75, "max_size": 4, "graft": su.adam(learning_rate=0.5)},
        ],
    ),
    "soap": (
        partial(check_numbers, su.soap, [(7,), (5, 5), (4, 3), (3, 4), (2, 3, 4), (1, 5), (4, 1), ()]),
        [{}, {"every": 2}, {"max_size": 4, "every": 1}],
    ),
    "psgd_kron": (
        partial(check_numbers, su.psgd_kron, [(7,), (5, 5), (6, 3), (2, 3, 4), (1, 5), (4, 1), ()], seed=6),
        [{}, {"max_size": 4, "every": 4}],
    ),
}


@pytest.mark.ci
@pytest.mark.parametrize(
    "name, options", [(name, options) for name, (_, several) in CHECKS.items() for options in several], ids=str
)
def test_all_shapes(name, options):
    CHECKS[name][0](PYTHON, learning_rate=0.25, **options)


@pytest.mark.full  # takes minutes to compile; test_rules has two shapes on every backend
@pytest.mark.parametrize("name", CHECKS)
def test_all_shapes_on_every_backend(name, backend):
    CHECKS[name][0](backend, learning_rate=0.25, every=2, max_size=4)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_the_first_step_of_shampoo_is_orthogonal(shape):
    """Without epsilon, the roots take all singular values of the first gradient to one."""
    path, _ = trained_one(su.shampoo(learning_rate=1.0, epsilon=1e-12), np.zeros(shape), random(1, *shape))
    U, _, Vt = np.linalg.svd(random(1, *shape)[0], full_matrices=False)
    np.testing.assert_allclose(path[1], -U @ Vt, atol=1e-6)


def test_no_step_of_shampoo_is_longer_than_the_rate():
    """As an operator: the sums are at least the products of the gradient, and so are their roots."""
    path, _ = trained_one(su.shampoo(learning_rate=0.5), np.zeros((4, 3)), oracles.gradients(20, (4, 3)))
    assert max(np.linalg.norm(after - before, 2) for before, after in pairwise(path)) <= 0.5 * (1 + 1e-12)


def test_a_graft_says_how_long_the_steps_are():
    """And where to is Shampoo's; its state is kept, and its schedule advances."""
    grads, start = oracles.gradients(9, (4, 3)), random(4, 3)
    rule = su.adagrad(learning_rate=lambda t: 1 / (1 + t))
    path, updates = trained_one(su.shampoo(learning_rate=0.5, graft=rule), start, grads)
    names = ["p/adagrad/accu", "p/shampoo/H0", "p/shampoo/H1", "p"]
    assert [v.name for v in updates if v.name.startswith("p")] == names and "adagrad/t" in su.named(updates)
    own, _ = trained_one(rule, start, grads)
    plain, _ = trained_one(su.shampoo(), start, grads)
    for t in range(9):
        step, length, direction = (after[t + 1] - after[t] for after in (path, own, plain))
        direction = direction / np.linalg.norm(direction)
        np.testing.assert_allclose(step, 0.5 * np.linalg.norm(length) * direction, rtol=1e-6, atol=1e-12)
    p, q = (make_param((2, 2), "float64", name) for name in "pq")
    with pytest.raises(ValueError, match="shampoo: graft: p not among the updates"):
        su.shampoo((p * q).sum(), [p, q], graft=su.partition(("p", None), (..., su.sgd())))
    with pytest.raises(TypeError, match=r"shampoo: graft must be a rule or another optimizer, not 0\.1"):
        su.shampoo([pt.matrix()], [make_param((2, 2), "float64")], graft=0.1)


def test_shampoo_on_a_vector_is_adagrad_in_any_basis():
    """Turned with its gradients, it takes the turned steps, which AdaGrad does not; along one direction, AdaGrad's."""
    turn = np.linalg.qr(random(5, 5))[0]
    grads = random(8, 5, seed=1)
    for rule, same in [(su.shampoo(), True), (su.adagrad(), False)]:
        path, _ = trained_one(rule, np.zeros(5), grads)
        turned, _ = trained_one(rule, np.zeros(5), grads @ turn.T)
        assert np.allclose(turned[-1], turn @ path[-1], rtol=1e-9) == same
    grads = np.zeros((8, 5))
    grads[:, 2] = random(8)
    shampoo, _ = trained_one(su.shampoo(learning_rate=0.5, epsilon=1e-4), np.zeros(5), grads)
    adagrad, _ = trained_one(su.adagrad(learning_rate=0.5, epsilon=1e-4), np.zeros(5), grads)
    np.testing.assert_allclose(shampoo, adagrad, rtol=1e-12)


def test_soap_turns_with_its_gradients():
    """For matrices that are multiplied from either side; and on a vector, it is Adam."""
    left, right = np.linalg.qr(random(4, 4))[0], np.linalg.qr(random(4, 4, seed=1))[0]
    grads = random(8, 4, 4, seed=2)
    path, _ = trained_one(su.soap(every=2), np.zeros((4, 4)), grads)
    turned, _ = trained_one(su.soap(every=2), np.zeros((4, 4)), left @ grads @ right)
    np.testing.assert_allclose(turned[-1], left @ path[-1] @ right, atol=1e-9)
    soap, updates = trained_one(su.soap(), np.zeros(5), random(8, 5))
    adam, _ = trained_one(su.adam(learning_rate=0.003, beta1=0.95, beta2=0.95), np.zeros(5), random(8, 5))
    np.testing.assert_allclose(soap, adam, rtol=1e-13)
    assert [v.name for v in updates] == ["p/soap/m", "p/soap/v", "p", "soap/t"]


def test_the_bases_of_soap_become_eigenvectors():
    grads = random(60, 4, 3) * np.outer(4.0 ** np.arange(4), 3.0 ** np.arange(3))
    _, updates = trained_one(su.soap(every=1, beta2=1 - 2.0**-20), np.zeros((4, 3)), grads)
    state = su.named(updates)
    for axis in (0, 1):
        H, Q = (state[f"p/soap/{slot}{axis}"].get_value() for slot in "HQ")
        np.testing.assert_allclose(Q.T @ Q, np.eye(len(Q)), atol=1e-14)
        diagonal = Q.T @ H @ Q
        off = diagonal - np.diag(np.diag(diagonal))
        assert np.abs(off).max() < 0.02 * np.abs(diagonal).max()


def test_the_bases_of_soap_are_near_after_the_first_iteration():
    """Iterated in the rising order of the eigenvalues, they are still far: shares of .4 are left off the diagonal."""
    turns = [np.linalg.qr(random(n, n, seed=n))[0] for n in (8, 6)]
    grads = turns[0] * 2.0 ** -np.arange(8) @ random(11, 8, 6) @ (turns[1] * 1.5 ** -np.arange(6)).T
    _, updates = trained_one(su.soap(every=10), np.zeros((8, 6)), grads)
    state = su.named(updates)
    for axis in (0, 1):
        H, Q = (state[f"p/soap/{slot}{axis}"].get_value() for slot in "HQ")
        D = Q.T @ H @ Q
        assert np.linalg.norm(D - np.diag(np.diag(D))) < 0.25 * np.linalg.norm(D)
        assert (np.diff(np.diag(D)) < 0.05 * D[0, 0]).all()


def test_state_of_soap_in_any_order_trains_on():
    """Such as the rising one of old checkpoints: the next iteration sorts the bases, and what is kept in them."""
    p = make_param((4, 4), "float64", "p")
    g = pt.tensor("g", shape=(4, 4), dtype="float64")
    updates = su.soap([g], [p], learning_rate=0.25, every=3)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    state = su.named(updates)
    ends = []
    for flips in (False, True):
        su.reset(updates)
        p.set_value(random(4, 4))
        for t, given in enumerate(random(9, 4, 4, seed=1)):
            if flips and t == 5:
                state["p/soap/v"].set_value(state["p/soap/v"].get_value()[::-1, ::-1])
                for axis in (0, 1):
                    Q = state[f"p/soap/Q{axis}"]
                    Q.set_value(Q.get_value()[:, ::-1])
            step(given)
        ends.append({name: v.get_value() for name, v in state.items()})
    for name in ("p", "p/soap/v"):
        np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [su.shampoo, pytest.param(su.soap, marks=pytest.mark.full)])
@pytest.mark.long
def test_a_gradient_that_is_no_number_is_no_error(rule, backend):
    """It is NaN in the parameter; or nothing, behind a gate."""
    bad = random(3, 3, seed=5)
    bad[0, 1] = np.nan
    grads = [random(3, 3), bad, random(3, 3, seed=1)]
    path, _ = trained_one(rule(every=1), np.zeros((3, 3)), grads, mode=backend)
    assert np.isfinite(path[1]).all() and np.isnan(path[3]).all()
    path, _ = trained_one(su.chain(rule(every=1), su.apply_if_finite()), np.zeros((3, 3)), grads)
    without, _ = trained_one(rule(every=1), np.zeros((3, 3)), grads[::2])
    np.testing.assert_allclose(path[3], without[2], rtol=1e-12)


@pytest.mark.ci
def test_psgd_whitens():
    """Of gradients with correlations along both axes, it comes to the roots of their inverse covariances."""
    left, right = np.diag([1.0, 10.0, 100.0]) @ (np.eye(3) + np.tri(3)), np.diag([1.0, 0.1]) @ (np.eye(2) + np.tri(2).T)
    rule = su.psgd_kron(preconditioner_rate=lambda t: 1 / (2 + t / 20), seed=0)
    _, updates = trained_one(rule, np.zeros((3, 2)), left @ random(200, 3, 2) @ right)
    for axis, covariance in enumerate((left @ left.T, right.T @ right)):
        Q = su.named(updates)[f"p/psgd_kron/Q{axis}"].get_value()
        whitened = Q.T @ Q @ covariance @ Q.T @ Q
        assert np.linalg.cond(covariance) > 100 and np.linalg.cond(whitened) < 6
        np.testing.assert_array_equal(np.tril(Q, -1), 0)


@pytest.mark.ci
@pytest.mark.long
def test_psgd_without_gradients(backend):
    """They, and what is no number, are no error; the damping bounds the preconditioner."""
    grads = [*np.zeros((60, 2, 2)), np.full((2, 2), np.nan)]
    rule = su.psgd_kron(damping=0.25, preconditioner_rate=0.5, seed=0)
    path, _ = trained_one(rule, np.ones((2, 2)), grads, mode=backend)
    assert (path[-2] == 1).all() and np.isnan(path[-1]).all()
    _, updates = trained_one(rule, np.ones((2, 2)), grads[:-1])
    whole = np.kron(*(su.named(updates)[f"p/psgd_kron/Q{axis}"].get_value() for axis in range(2)))
    assert 1 < np.linalg.norm(whole.T @ whole, 2) < 3 / 0.25


@pytest.mark.parametrize("rule", [su.shampoo, su.soap, su.psgd_kron])
def test_wrong_sizes(rule):
    p = make_param((2, 3), "float64", "p")
    for name in ("every", "max_size"):
        with pytest.raises(ValueError, match=f"{rule.__name__}: {name} must be a whole number of at least 1, not 0"):
            rule([pt.matrix()], [p], **{name: 0})
