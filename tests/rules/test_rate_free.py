"""Facts about the rules that find their learning rate, and about the schedule-free ones; all of Polyak's step."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, STEPS, TOLERANCE, assert_close, call, every_floatx, make_param, values
from pytensor.graph.traversal import ancestors
from table import ROWS

import symupdates as su
from symupdates import schedules

TABLE = {row.name: row for row in ROWS}
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rate_free.json").read_text())
CURVATURES = np.array([1.0, 2.0, 4.0, 8.0])
SOLUTION = np.array([1.0, -2.0, 0.5, 3.0])


def parabola(p):
    return (CURVATURES * (p - SOLUTION) ** 2).sum() / 2


def trained(updates, steps, inputs=(), mode=PYTHON):
    step = pytensor.function(list(inputs), [], updates=updates, mode=mode)
    for _ in range(steps):
        step()


# --- The rate is found ------------------------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.once
@pytest.mark.parametrize("exponent", range(-6, 1))
@pytest.mark.parametrize(
    "rule, first",
    [
        (partial(su.dadapt_adam, learning_rate=schedules.cosine_decay(1.0, steps=1000)), "initial_distance"),
        (partial(su.prodigy, learning_rate=schedules.cosine_decay(1.0, steps=1000)), "initial_distance"),
        (su.dog, "relative_distance"),
        (partial(su.dowg, epsilon=1e-8), "initial_distance"),
    ],
    ids=["dadapt_adam", "prodigy", "dog", "dowg"],
)
def test_any_first_step_will_do(rule, first, exponent):
    """Over six decades, on a parabola whose curvatures differ."""
    p = pytensor.shared(np.zeros(4), name="p")
    trained(rule(parabola(p), [p], **{first: 10.0**exponent}), 1000)
    np.testing.assert_allclose(p.get_value(), SOLUTION, rtol=1e-6)


@pytest.mark.parametrize("name, bound", [("dadapt_adam", 10.0), ("prodigy", np.abs(SOLUTION).max())])
def test_the_estimate_grows_to_the_distance(name, bound):
    """Of Prodigy, it is a bound from below; with the averages of Adam, that of D-Adaptation is of its order only."""
    p = pytensor.shared(np.zeros(4), name="p")
    updates = getattr(su, name)(parabola(p), [p])
    d = su.named(updates)[f"{name}/distance"]
    step = pytensor.function([], d, updates=updates, mode=PYTHON)
    path = [step() for _ in range(200)]
    assert np.all(np.diff(path) >= 0)
    assert 0.3 < path[-1] <= bound


def test_prodigy_grows_at_a_rate():
    """And its best estimate is not forgotten; with small rates at first, which are in no denominator."""
    row = next(row for row in ROWS if row.name == "prodigy")
    g = pt.tensor("g", shape=(5,), dtype="float64")
    p = pytensor.shared(np.full(5, 3.0), name="p")
    hyper = {"learning_rate": lambda step: (1 + step) / 4, "initial_distance": 1e-3, "d_coef": 8.0}
    options = {"growth_rate": 1.125, "safeguard_warmup": True}
    updates = su.prodigy([g], [p], **hyper, safeguard_warmup=True, growth_rate=lambda step: 1.125 + 0 * step)
    assert [v.name for v in updates][-4:] == ["prodigy/r", "prodigy/best", "prodigy/distance", "prodigy/t"]
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    given = np.random.default_rng(0).normal(1.0, 0.5, (24, 5))
    path = list(row.oracle(p.get_value(), given, **hyper, **options))
    limited = 0
    for t, expected in enumerate(path):
        step(given[t])
        for slot in ("best", "distance"):
            got = su.named(updates)[f"prodigy/{slot}"].get_value()
            np.testing.assert_allclose(got, expected[slot], rtol=1e-12, err_msg=f"{slot}, step {t}")
        np.testing.assert_allclose(p.get_value(), expected["param"], rtol=1e-12)
        limited += expected["distance"] < expected["best"]
    assert 3 < limited < 21
    with pytest.raises(ValueError, match="prodigy: growth_rate must be at least 1"):
        su.prodigy([g], [p], growth_rate=0.5)
    assert "prodigy/growth_rate" in su.hyperparameters(su.prodigy([g], [p], growth_rate=np.inf))


@pytest.mark.parametrize("name", ["dadapt_adam", "prodigy"])
def test_without_bias_correction(name):
    """The algorithm of the paper; the table's row has the corrections."""
    row, g, p = TABLE[name], pt.tensor("g", shape=(16,), dtype="float64"), make_param((16,), "float64", "p")
    given, start = oracles.gradients(STEPS, (16,)), p.get_value()
    updates = row.rule([g], [p], **row.hyper, bias_correction=False)
    assert f"{name}/t" not in su.named(updates)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for g_t, expected in zip(given, row.oracle(start, given, **row.hyper, bias_correction=False), strict=True):
        step(g_t)
        np.testing.assert_allclose(p.get_value(), expected["param"], rtol=1e-10)


@pytest.mark.parametrize("name", ["dadapt_adam", "prodigy", "dog", "l_dog", "dowg", "cocob"])
def test_the_scale_of_the_loss_does_not_matter(name):
    paths = []
    for scale in (1.0, 2.0**10):
        p = pytensor.shared(np.zeros(4), name="p")
        trained(getattr(su, name)(scale * parabola(p), [p], epsilon=1e-150), 50)
        paths.append(p.get_value())
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-9)


@pytest.mark.parametrize("name", ["dadapt_adam", "prodigy", "dog", "l_dog", "dowg", "cocob"])
def test_nothing_happens_before_the_first_gradient(name):
    """Updates without gradients, and at a rate of zero, leave everything finite and the parameters where they are."""
    row = TABLE[name]
    g = pt.tensor("g", shape=(3,), dtype="float32")
    rate = pytensor.shared(0.0)
    p, q = make_param((3,), "float32", "p"), make_param((3,), "float32", "q")
    updates = call(row, [g], [p], weight_decay=0.0) if "weight_decay" in row.hyper else call(row, [g], [p])
    updates |= call(row, [g], [q], learning_rate=rate)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for _ in range(3):
        step(np.zeros(3, "float32"))
    start = p.get_value()
    np.testing.assert_array_equal(start, make_param((3,), "float32").get_value())
    before = q.get_value()
    step(np.ones(3, "float32"))
    np.testing.assert_array_equal(q.get_value(), before)
    assert (p.get_value() < start).all()
    assert all(np.isfinite(value).all() for value in values(updates))


def test_each_parameter_has_its_own_l_dog():
    given = oracles.gradients(STEPS, (18,))
    start = make_param((18,), "float64").get_value()
    together, alone = ([pytensor.shared(start[part]) for part in (slice(16), slice(16, 18))] for _ in range(2))
    grads = [pt.tensor(shape=(n,), dtype="float64") for n in (16, 2)]
    updates = su.l_dog(grads, together)
    for p, g in zip(alone, grads, strict=True):
        updates |= su.dog([g], [p])
    step = pytensor.function(grads, [], updates=updates, mode=PYTHON)
    for g in given:
        step(g[:16], g[16:])
    for p, q in zip(together, alone, strict=True):
        np.testing.assert_allclose(p.get_value(), q.get_value(), rtol=1e-13)


def test_the_first_bet():
    """A part of 1/alpha of the unit, whatever the gradient."""
    p = pytensor.shared(np.zeros(3), name="p")
    trained(su.cocob([pt.as_tensor(np.array([1e-5, -1.0, 1e5]))], [p], alpha=50.0), 1)
    np.testing.assert_allclose(p.get_value(), [-0.02, 0.02, -0.02], rtol=1e-12)


@pytest.mark.parametrize("row", [row for row in ROWS if row.coupled and not row.draws], ids=lambda row: row.name)
def test_mixed_precisions_are_summed_in_the_widest(row):
    given = oracles.gradients(STEPS, (18,))
    start = make_param((18,), "float32").get_value()
    params = [pytensor.shared(start[:16].astype("float64"), name="wide"), pytensor.shared(start[16:], name="narrow")]
    grads = [pt.tensor(shape=(n,), dtype="float64") for n in (16, 2)]
    updates = call(row, grads, params)
    step = pytensor.function(grads, [], updates=updates, mode=PYTHON)
    path = []
    for g, after in zip(
        given, row.oracle(start.astype("float64"), given, **dict(row.structure), **row.hyper), strict=True
    ):
        step(g[:16], g[16:])
        path.append(after["param"])
        got = np.concatenate([p.get_value() for p in params])
        assert_close(got, np.array(path), TOLERANCE["float32"], row.name)
    whole = [v for v in updates if su.core.is_state(v) and v.tag.symupdates.parameter is None]
    assert {v.dtype for v in whole} <= {"float64", "int64"}


# --- The rate is learned ----------------------------------------------------------------------------------------------


def test_the_rate_grows_with_the_agreement_of_gradients():
    p = pytensor.shared(np.zeros(3), name="p")
    g = np.array([2.0, 0.0, -1.0])
    updates = su.hypergradient_sgd([pt.as_tensor(g)], [p], learning_rate=0.5, hyper_learning_rate=0.01)
    trained(updates, 10)
    # The t-th step has the rate 0.5 + 0.01 ‖g‖² (t - 1).
    np.testing.assert_allclose(su.named(updates)["hypergradient_sgd/learned"].get_value(), 0.01 * 5 * 9, rtol=1e-12)
    np.testing.assert_allclose(p.get_value(), -(10 * 0.5 + 0.01 * 5 * 45) * g, rtol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_rate_that_does_not_learn(name):
    given = oracles.gradients(STEPS, (16,))
    p, q = make_param((16,), "float64", "p"), make_param((16,), "float64", "q")
    g = pt.tensor("g", shape=(16,), dtype="float64")
    updates = getattr(su, name)([g], [p]) | getattr(su, f"hypergradient_{name}")([g], [q], hyper_learning_rate=0.0)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for x in given:
        step(x)
    np.testing.assert_allclose(q.get_value(), p.get_value(), rtol=1e-13)


@pytest.mark.parametrize("name, kappa", [("sgd", 1e-4), ("adam", 1e-3)])
def test_a_rate_that_is_too_low_is_learned(name, kappa):
    p, q = (pytensor.shared(np.zeros(4), name=x) for x in "pq")
    trained(getattr(su, name)(parabola(p), [p], learning_rate=1e-4), 100)
    rule = getattr(su, f"hypergradient_{name}")
    trained(rule(parabola(q), [q], learning_rate=1e-4, hyper_learning_rate=kappa), 100)
    assert parabola(q.get_value()) < 0.1 * parabola(p.get_value())


# --- Schedule-free ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_the_evaluation_point_is_the_mean_of_the_iterates(name):
    p = make_param((4,), "float64", "p")
    updates = getattr(su, name)(parabola(p), [p], learning_rate=0.0625)
    z = su.named(updates)[f"p/{name}/z"]
    average = su.averages(updates)[p]
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    path = []
    for _ in range(30):
        step()
        path.append(z.get_value())
        np.testing.assert_allclose(average.get_value(), np.mean(path, axis=0), rtol=1e-12)
        np.testing.assert_allclose(p.get_value(), 0.1 * path[-1] + 0.9 * average.get_value(), rtol=1e-12)
    evaluate = pytensor.function([], parabola(p), givens=su.averages(updates), mode=PYTHON)
    loss = evaluate()
    su.swap_averages(updates)
    assert parabola(p.get_value()) == pytest.approx(loss, rel=1e-14)


def test_without_interpolation_it_is_descent_and_its_average():
    p, q = make_param((4,), "float64", "p"), make_param((4,), "float64", "q")
    free = su.schedule_free_sgd(parabola(p), [p], learning_rate=0.125, beta=0.0)
    plain = su.apply_polyak_average(su.sgd(parabola(q), [q], learning_rate=0.125))
    trained(free | plain, 20)
    np.testing.assert_allclose(p.get_value(), q.get_value(), rtol=1e-13)
    np.testing.assert_allclose(su.averages(free)[p].get_value(), su.averages(plain)[q].get_value(), rtol=1e-12)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_a_warmup_from_zero(name):
    """The first rate, 0, neither moves anything nor weighs."""
    p = make_param((4,), "float32", "p")
    start = p.get_value()
    rate = schedules.warmup(schedules.constant(0.125), steps=10)
    updates = getattr(su, name)(parabola(p), [p], learning_rate=rate)
    trained(updates, 1)
    np.testing.assert_allclose(p.get_value(), start, rtol=1e-6)
    trained(updates, 300)
    assert parabola(su.averages(updates)[p].get_value()) < 0.01 * parabola(start)


# --- Polyak's step ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c, factor", [(1.0, 0.5), (0.5, 0.0), (2.0, 0.75)])
@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
def test_on_a_bowl_the_error_shrinks_by_a_known_factor(c, factor, curvature):
    p, q = pytensor.shared(np.array([3.0, -1.0]), name="p"), pytensor.shared(2.0, name="q")
    loss = curvature * (((p - 1) ** 2).sum() + q**2) / 2 + 5
    updates = su.polyak_step(loss, [p, q], max_learning_rate=np.inf, minimum=5.0, c=c)
    assert list(updates) == [p, q]
    trained(updates, 3)
    np.testing.assert_allclose(p.get_value(), 1 + factor**3 * np.array([2.0, -2.0]), rtol=0, atol=1e-9)
    np.testing.assert_allclose(q.get_value(), factor**3 * 2.0, rtol=0, atol=1e-9)


def test_polyak_step_is_bounded_and_rests_at_the_minimum():
    rested = []
    for minimum, bound in ((0.0, 0.125), (1e6, 1.0), (0.0, 0.0)):
        p = make_param((4,), "float64", "p")
        start = p.get_value()
        trained(su.polyak_step(parabola(p), [p], max_learning_rate=bound, minimum=minimum), 1)
        rested.append(np.array_equal(p.get_value(), start))
    assert rested == [False, True, True]
    for dtype in ("float32", "float64"):
        p = pytensor.shared(np.zeros(3, dtype), name="p")
        trained(su.polyak_step((p**2).sum(), [p], max_learning_rate=np.inf), 2)
        np.testing.assert_array_equal(p.get_value(), np.zeros(3))


def losses_of(p, kind):
    """A loss of one parameter, and its value and gradient in NumPy."""
    weights = np.arange(1.0, p.get_value().size + 1).reshape(p.get_value().shape)
    away = p - 0.5
    size = away**2 if kind == "squares" else abs(away)
    loss = (weights.astype(p.dtype) * size).sum()

    def value(x):
        return (weights * ((x - 0.5) ** 2 if kind == "squares" else np.abs(x - 0.5))).sum()

    def gradient(x):
        return weights * (2 * (x - 0.5) if kind == "squares" else np.sign(x - 0.5))

    return loss, value, gradient


def expected_path(p, value, gradient, steps, **hyper):
    """The parameters by the oracle, which is told loss and gradient at each."""
    states = [p.get_value().astype("float64")]

    def told(function):
        for t in range(steps):
            yield function(states[t])

    for after in oracles.polyak_step(states[0], told(value), told(gradient), **hyper):
        states.append(after["param"])
    return states[1:]


@pytest.mark.once
@pytest.mark.ci
@every_floatx
def test_polyak_step_on_every_backend(backend, floatx):
    """Both precisions and all ranks; with numbers, a schedule and a shared bound, each parameter with its own loss."""
    cases, updates = [], {}
    bound = pytensor.shared(np.float32(0.0625))
    hypers = [
        ({"max_learning_rate": 0.0625, "minimum": 0.25, "c": 0.75},) * 2,
        (
            {"max_learning_rate": bound, "c": lambda step: 1 / (1 + step)},
            {"max_learning_rate": 0.0625, "c": lambda step: 1 / (1 + step)},
        ),
    ]
    with pytensor.config.change_flags(floatX=floatx):
        for kind in ("squares", "absolute"):
            for shape, dtype in [((5,), "float64"), ((3, 2), "float32"), ((1, 4), "float64"), ((), "float32")]:
                for symbolic, hyper in hypers:
                    p = make_param(shape, dtype, "p")
                    loss, value, gradient = losses_of(p, kind)
                    cases.append((p, expected_path(p, value, gradient, 8, **hyper)))
                    more = su.polyak_step(loss, [p], **symbolic)
                    if dtype == "float32" and symbolic is hyper:
                        assert "float64" not in {v.dtype for v in ancestors(more.values())}
                    updates |= more
        step = pytensor.function([], [], updates=updates, mode=backend)
    for t in range(8):
        step()
        for p, path in cases:
            assert p.get_value().dtype == p.dtype
            assert_close(p.get_value(), np.array(path[: t + 1]), 10 * TOLERANCE[p.dtype], f"{p.type}, step {t}")


def test_polyak_step_sees_one_vector():
    start = np.linspace(-1, 2, 6)
    p, a, b = pytensor.shared(start), pytensor.shared(start[:4].reshape(2, 2)), pytensor.shared(start[4:])
    one = su.polyak_step((p**4).sum(), [p], max_learning_rate=0.25)
    two = su.polyak_step((a**4).sum() + (b**4).sum(), [a, b], max_learning_rate=0.25)
    trained(one | two, 10)
    np.testing.assert_allclose(np.concatenate([a.get_value().ravel(), b.get_value()]), p.get_value(), rtol=1e-12)


def test_polyak_step_takes_the_loss():
    p = make_param((3,), "float64", "p")
    for grads in ([p], (p,), []):
        with pytest.raises(TypeError, match=r"polyak_step takes the loss, not gradients: .* for its value"):
            su.polyak_step(grads, [p])
    with pytest.raises(ValueError, match="the loss must be a scalar"):
        su.polyak_step(p**2, [p])
    assert su.polyak_step(pt.scalar(), []) == {}
    waiting = su.polyak_step(c=0.5)
    assert waiting.keywords == {"max_learning_rate": 1.0, "minimum": 0.0, "c": 0.5}
    assert p in su.chain(waiting, su.apply_momentum())((p**2).sum(), [p])


@pytest.mark.parametrize("case", GOLDEN["polyak"], ids=lambda case: case["loss"])
def test_polyak_step_is_that_of_optax(case):
    p = pytensor.shared(np.array(GOLDEN["p"]), name="p")
    loss, value, gradient = losses_of(p, case["loss"])
    steps = GOLDEN["steps"]
    expected = expected_path(p, value, gradient, steps[-1], **case["hyper"])
    step = pytensor.function([], [], updates=su.polyak_step(loss, [p], **case["hyper"]), mode=PYTHON)
    path = []
    for _ in range(steps[-1]):
        step()
        path.append(p.get_value())
    for t, golden in zip(steps, case["params"], strict=True):
        np.testing.assert_allclose(path[t - 1], golden, rtol=1e-12, atol=0)
        np.testing.assert_allclose(expected[t - 1], golden, rtol=1e-12, atol=0)


# --- Mechanic ---------------------------------------------------------------------------------------------------------


TUNING = {"initial_scale": 0.5, "weight_decay": 0.125, "epsilon": 2.0**-40}


@pytest.mark.parametrize("case", GOLDEN["mechanic"], ids=lambda case: case["rule"])
def test_mechanic_is_that_of_optax(case):
    start, given = np.array(GOLDEN["p"]), np.array(GOLDEN["gradients"])
    nonzero = (given != 0).all(axis=0)
    p, given = pytensor.shared(start[nonzero]), given[:, nonzero]
    rule = partial(getattr(oracles, case["rule"]), **case["hyper"])
    expected = [after["param"] for after in oracles.mechanic(p.get_value(), given, rule, **case["tuning"])]
    g = pt.tensor("g", shape=(nonzero.sum(),), dtype="float64")
    updates = su.mechanic(getattr(su, case["rule"])(**case["hyper"]), **case["tuning"])([g], [p])
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    path = []
    for x in given:
        step(x)
        path.append(p.get_value())
    for t, golden in zip(GOLDEN["steps"], case["params"], strict=True):
        np.testing.assert_allclose(path[t - 1], golden, rtol=1e-12, atol=0)
        np.testing.assert_allclose(expected[t - 1], golden, rtol=1e-12, atol=0)


@pytest.mark.once
@pytest.mark.ci
@every_floatx
def test_mechanic_on_every_backend(backend, floatx):
    """All that it keeps, in both precisions, around two rules; two parameters train as one vector."""
    given = np.random.default_rng(0).normal(0.3, 1.0, (STEPS, 16))
    rules = {"sgd": {"learning_rate": 0.5}, "adam": {"learning_rate": 0.125}}
    cases, updates = [], {}
    with pytensor.config.change_flags(floatX=floatx):
        g = pt.tensor("g", shape=(16,), dtype="float64")
        for name, hyper in rules.items():
            for dtype in ("float32", "float64"):
                start = make_param((16,), dtype).get_value()
                a, b = pytensor.shared(start[:10].reshape(5, 2), name="a"), pytensor.shared(start[10:], name="b")
                optimizer = su.mechanic(getattr(su, name)(**hyper), **TUNING, betas=3)
                more = optimizer([g[:10].reshape((5, 2)), g[10:]], [a, b])
                kept = {v.tag.symupdates.slot: v for v in more if v.name.startswith("mechanic/")}
                assert set(kept) == set("mvrs") and {v.dtype for v in kept.values()} == {dtype}
                rule = partial(getattr(oracles, name), **hyper)
                expected = list(oracles.mechanic(start.astype("float64"), given, rule, **TUNING, betas=3))
                cases.append(([a, b], kept, expected, dtype))
                updates |= more
        step = pytensor.function([g], [], updates=updates, mode=backend)
    for t, x in enumerate(given):
        step(x)
        for params, kept, expected, dtype in cases:
            path = [after["param"] for after in expected[: t + 1]]
            got = np.concatenate([p.get_value().ravel() for p in params])
            assert got.dtype == dtype
            assert_close(got, np.array(path), 10 * TOLERANCE[dtype], f"{dtype}, step {t}")
            for slot, variable in kept.items():
                path = [after[slot] for after in expected[: t + 1]]
                assert_close(variable.get_value(), np.array(path), 100 * TOLERANCE[dtype], f"{slot}, {dtype}, step {t}")


@pytest.mark.ci
@pytest.mark.once
@pytest.mark.parametrize("exponent", range(-3, 4))
def test_mechanic_corrects_any_rate(exponent):
    p = pytensor.shared(np.zeros(4), name="p")
    before = parabola(p).eval()
    optimizer = su.mechanic(su.sgd(learning_rate=10.0**exponent))
    trained(optimizer(parabola(p), [p]), 1000)
    assert parabola(p.get_value()) < 0.01 * before


def test_mechanic_in_compositions():
    W, b = make_param((3, 2), "float64", "W"), make_param((2,), "float32", "b")
    loss = (W**2).sum() + ((b - 1) ** 2).sum()
    inner = su.partition(("W", su.adam(learning_rate=su.schedules.cosine_decay(1.0, steps=50))), (..., su.sgd()))
    optimizer = su.chain(
        su.gradients.clip_by_total_norm(max_norm=1.0), su.mechanic(inner), su.apply_if_finite(), su.adjustable()
    )
    updates = optimizer(loss, [W, b])
    names = [v.name for v in updates]
    assert {"W/mechanic/delta", "W/mechanic/start", "b/mechanic/delta", "mechanic/s", "adam/t"} <= set(names)
    assert len(names) == len(set(names))
    assert set(su.hyperparameters(updates)) >= {"mechanic/initial_scale", "mechanic/weight_decay", "mechanic/epsilon"}
    before = loss.eval()
    trained(updates, 50)
    assert loss.eval() < before
    assert su.mechanic(su.sgd())([], []) == {}
    with pytest.raises(TypeError, match=r"mechanic: optimizer must be a rule or another optimizer, not 0\.1"):
        su.mechanic(0.1)
    with pytest.raises(ValueError, match="mechanic: betas must be a whole number of at least 1, not 0"):
        su.mechanic(su.sgd(), betas=0)
    with pytest.raises(ValueError, match="mechanic: W not among the updates"):
        su.mechanic(su.partition(("W", None), (..., su.sgd())))(loss, [W, b])
