"""symupdates.pymc: maximum a posteriori estimates by any rule, against find_MAP and by hand."""

import importlib
import os
import signal
import threading
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import NEEDS_JAX
from pytensor.tensor.random.type import RandomType

import symupdates
from symupdates import schedules
from symupdates.random import new_generator, rademacher

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
of_pymc = importlib.import_module("symupdates.pymc")
CheckParametersConvergence = importlib.import_module("pymc.variational.callbacks").CheckParametersConvergence
MAP, map_estimate = of_pymc.MAP, of_pymc.map_estimate
QUICK = {"compile_kwargs": {"mode": "FAST_COMPILE"}}
QUIET = QUICK | {"progressbar": False}


# --- Textbook models --------------------------------------------------------------------------------------------------


def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    with pm.Model() as model:
        intercept, slope = pm.Normal("intercept", 0, 10), pm.Normal("slope", 0, 10)
        sigma = pm.HalfNormal("sigma", 5)
        pm.Deterministic("at_two", intercept + 2 * slope)
        pm.Normal("y", intercept + slope * x, sigma, observed=1 + 2 * x + 0.5 * rng.normal(size=50))
    return model


def proportions():
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.array([2.0, 3.0, 4.0]))
        pm.Multinomial("counts", 20, p, observed=np.array([5, 4, 11]))
        q = pm.Beta("q", 2, 2)
        pm.Binomial("k", 10, q, observed=7)
    return model


def eight_schools():
    """With a prior that keeps the mode of tau off zero, as Chung et al. (2013) have it."""
    effect = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    error = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.Gamma("tau", 2, 0.1)
        z = pm.Normal("z", 0, 1, shape=8)
        theta = pm.Deterministic("theta", mu + tau * z)
        pm.Normal("effect", theta, error, observed=effect)
    return model


def find_map(model):
    with warnings.catch_warnings(action="ignore"):  # of what a later PyMC will return
        return pm.find_MAP(model=model, progressbar=False, tol=1e-12)


def falling_adam():
    return symupdates.adam(learning_rate=schedules.cosine_decay(0.05, steps=1500))


@pytest.mark.parametrize("build", [regression, proportions, eight_schools], ids=lambda f: f.__name__)
def test_equals_find_map(build):
    """The same names in the same order, and values to 1e-4, of itself."""
    model = build()
    expected = find_map(model)
    got = map_estimate(model, **QUIET)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert isinstance(got[name], np.ndarray) and got[name].shape == value.shape
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "mode",
    [*(pytest.param(mode, marks=pytest.mark.full) for mode in ("CVM", "NUMBA")), pytest.param("JAX", marks=NEEDS_JAX)],
)
def test_modes(mode):
    """By a rule that takes gradients; NumPy's arrays are in the shared variables afterwards."""
    model = regression()
    run = MAP(model, falling_adam(), compile_kwargs={"mode": mode}).fit(1500, progressbar=False)
    estimate = run.estimate()
    for name, value in find_map(model).items():
        np.testing.assert_allclose(estimate[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    assert all(isinstance(v.get_value(borrow=True), np.ndarray) for v in run.updates)


@pytest.mark.parametrize(("jacobian", "expected"), [(False, (2 + 7 - 1) / (2 + 2 + 10 - 2)), (True, 9 / 14)])
def test_jacobian(jacobian, expected):
    """The mode of Beta(9, 5); and that of its log odds, which is where p is the mean."""
    with pm.Model():
        p = pm.Beta("p", 2, 2)
        pm.Binomial("k", 10, p, observed=7)
        got = map_estimate(optimizer=symupdates.lbfgs(), jacobian=jacobian, include_transformed=False, **QUIET)
    assert list(got) == ["p"]
    np.testing.assert_allclose(got["p"], expected, rtol=1e-6)


# --- What is estimated, and from where --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    """x + k is 3, roughly: k is discrete."""
    with pm.Model() as model:
        x = pm.Normal("x", 0, 1)
        k = pm.Poisson("k", 2.0)
        scale = pm.HalfNormal("scale", 1)
        pm.Normal("y", x + k, scale, observed=3.0)
    return model


def test_vars_and_start(mixed):
    """Others are held at their start; the maximum over x is (3 - k) / (1 + scale²)."""
    for given in (["x"], [mixed["x"]], [mixed.rvs_to_values[mixed["x"]]]):
        run = MAP(mixed, symupdates.lbfgs(), vars=given, start={"k": 1, "scale": 0.5}, **QUICK)
        assert [p.name for p in run.params] == ["x"]
    assert run.params[0].get_value() == 0
    got = run.fit(20, progressbar=False).estimate()
    assert got["k"] == 1 and got["scale"] == 0.5
    np.testing.assert_allclose(got["x"], 2 / (1 + 0.25), rtol=1e-6)
    values = of_pymc.shared_values(mixed, vars=["x", "scale"], start={"scale_log__": np.log(3.0), "x": 7.0})
    assert {name: x.item() for name, x in of_pymc.as_point(values).items()} == {"x": 7.0, "scale_log__": np.log(3.0)}


@pytest.mark.parametrize("pattern", ["^scale$", "^scale_log__$"])
def test_groups_by_the_names_of_the_model(mixed, pattern):
    """Those of its variables as well as those of their value variables, which the errors tell too."""
    groups = [(pattern, symupdates.sgd(learning_rate=0.5)), (..., symupdates.chain(symupdates.sgd(learning_rate=0.25)))]
    run = MAP(mixed, symupdates.partition(*groups), vars=["x", "scale"], **QUICK)
    rates = symupdates.hyperparameters(run.updates)
    start = {p.name: p.get_value() for p in run.params}
    grads = pytensor.function([], pytensor.grad(run.loss, run.params))()
    run.fit(1, progressbar=False)
    assert len(rates) == 2
    for p, g, rate in zip(run.params, grads, (0.25, 0.5), strict=True):
        np.testing.assert_allclose(p.get_value(), start[p.name] - rate * g)
    held = symupdates.chain(symupdates.sgd(), symupdates.apply_freeze(params=pattern))
    held = MAP(mixed, held, vars=["x", "scale"], **QUICK).fit(1, progressbar=False)
    assert [p.get_value() == start[p.name] for p in held.params] == [False, True]
    misspelt = symupdates.partition(("^scal$", symupdates.sgd()), (..., symupdates.sgd()))
    with pytest.raises(ValueError, match=r"the pattern '\^scal\$' fits none of the names scale_log__, scale, x\."):
        MAP(mixed, misspelt, vars=["x", "scale"], **QUICK)


def test_jitter_leaves_the_saddle():
    """Where a product of variables begins at zero there is no slope, and the mode is elsewhere."""
    x = np.array([-1.0, 0.5, 2.0])
    with pm.Model() as model:
        v, w = pm.Normal("v", 0, 1, initval=0.0), pm.Normal("w", 0, 1, initval=0.0)
        pm.Normal("y", v * pt.tanh(w * x), 0.1, observed=2 * np.tanh(x))
    saddle = MAP(model, **QUICK).fit(tol=1e-8, progressbar=False)
    assert saddle.converged and saddle.estimate() == {"v": 0.0, "w": 0.0}
    run = MAP(model, jitter=True, seed=1, **QUICK)
    assert all(0 < abs(p.get_value()) < 1 for p in run.params)
    again = MAP(model, jitter=True, seed=1, **QUICK)
    assert [p.get_value() for p in again.params] == [p.get_value() for p in run.params]
    assert MAP(model, jitter=True, vars=["v"], **QUICK).estimate()["w"] == 0
    assert run.fit(tol=1e-8, progressbar=False).converged and run.losses[-1] < saddle.losses[-1] - 100
    np.testing.assert_allclose(np.abs(list(run.estimate().values())), [2, 1], rtol=0.2)


def test_jitter_finds_a_possible_start():
    with pm.Model() as model:
        pm.Uniform("x", 0, 1, default_transform=None, initval=0.5)
    starts = [MAP(model, symupdates.sgd(), jitter=True, seed=seed, **QUICK).params[0].get_value() for seed in range(5)]
    assert len(set(map(float, starts))) == 5 and all(0 < x < 1 for x in starts)


def test_initvals_are_the_start(mixed):
    run = MAP(mixed, symupdates.sgd(), vars=["x"], initvals={"x": 3.0}, **QUICK)
    assert run.params[0].get_value() == 3
    with pytest.raises(ValueError, match="start and initvals are the same; give one of them"):
        MAP(mixed, vars=["x"], initvals={"x": 3.0}, start={"x": 3.0})
    with pytest.raises(TypeError, match="map_estimate: jitter must be True or False"):
        MAP(mixed, vars=["x"], jitter=3)


def test_refusals(mixed):
    with pytest.raises(
        ValueError, match=r"k discrete, and gradients say nothing of .*; leave them .* with vars=\[...\]"
    ):
        MAP(mixed)
    with pytest.raises(ValueError, match=r"k discrete, .*; take them out of vars"):
        MAP(mixed, vars=["k", "x"])
    with pytest.raises(TypeError, match=r"vars must be a list of variables or names.*write \['x'\]"):
        MAP(mixed, vars="x")
    with pytest.raises(ValueError, match="y in vars: not free random variables of the model, which are x, k, scale"):
        MAP(mixed, vars=["y"])
    with pytest.raises(ValueError, match="z in vars: not free random variables"):
        MAP(mixed, vars=["z"])
    with pytest.raises(ValueError, match="vars is empty: nothing is left in the list_iterator"):
        MAP(mixed, vars=iter([]))
    with pytest.raises(ValueError, match="there is nothing to estimate"):
        MAP(mixed, vars=[])
    with pytest.raises(ValueError, match="start: the model has no variable 'z'; it has x, k, scale"):
        MAP(mixed, vars=["x"], start={"z": 1.0})
    with pytest.raises(TypeError, match="start must be a dict"):
        MAP(mixed, vars=["x"], start=[1.0])
    with pytest.raises(TypeError, match="map_estimate: optimizer must be a rule"):
        MAP(mixed, "adam", vars=["x"])
    with pytest.raises(TypeError, match=r"map_estimate: optimizer, <lambda>, returned None; the optimizer must return"):
        MAP(mixed, lambda loss_or_grads, params: None, vars=["x"])
    with pytest.raises(ValueError, match="map_estimate: steps must be a whole number of at least 0, not -1"):
        MAP(mixed, vars=["x"], **QUICK).fit(-1)
    with pytest.raises(TypeError, match="map_estimate: progressbar must be True or False"):
        MAP(mixed, vars=["x"], **QUICK).fit(1, progressbar="x")
    for callbacks in (3, [3]):
        with pytest.raises(TypeError, match="map_estimate: callbacks must be"):
            MAP(mixed, vars=["x"], **QUICK).fit(1, callbacks, progressbar=False)
    with pytest.raises(TypeError, match="map_estimate: compile_kwargs must be a dict, not 'NUMBA'"):
        MAP(mixed, vars=["x"], compile_kwargs="NUMBA")
    with pytest.raises(TypeError, match=r"model must be a pymc\.Model, not 3"):
        MAP(3)
    for function, name in ((MAP, "map_estimate"), (of_pymc.shared_values, "shared_values")):
        with pytest.raises(ValueError, match=f"{name}: seed must not be negative, but it is -1"):
            function(mixed, vars=["x"], seed=-1)
        with pytest.raises(TypeError, match=f"{name}: seed must be a whole number, .* not True"):
            function(mixed, vars=["x"], seed=True)
    with pytest.raises(ValueError, match="Optimizer: seed must not be negative"):
        of_pymc.Optimizer(symupdates.sgd(), seed=-1)
    with pytest.raises(TypeError, match=r"Optimizer: inference must be one of PyMC's, .* not 3"):
        of_pymc.Optimizer(symupdates.sgd(), 3)
    with pytest.raises(TypeError, match="negative_logp: jacobian must be True or False"):
        of_pymc.negative_logp(of_pymc.shared_values(mixed, vars=["x"]), mixed, jacobian="yes")
    for values in (None, 3):
        with pytest.raises(TypeError, match=f"values must be a dict, not {values}"):
            of_pymc.as_point(values)
    with pytest.raises(TypeError, match="the keys of values must be value variables of the model, but 'x' is not"):
        of_pymc.as_point({"x": 1.0})
    for outputs, told in ((3, "must be a list"), ([3], "must be variables, but 3 is not")):
        with pytest.raises(TypeError, match=f"random_updates: outputs {told}"):
            of_pymc.random_updates(outputs)
    with pytest.raises(ValueError, match="values lack k, scale_log__"):
        of_pymc.negative_logp(of_pymc.shared_values(mixed, vars=["x"]), mixed)
    with pytest.raises(ValueError, match="values lack k, scale_log__"):
        of_pymc.as_estimate(of_pymc.shared_values(mixed, vars=["x"]), mixed)
    with pytest.raises(ValueError, match="keep no averages"):
        MAP(mixed, symupdates.sgd(), vars=["x"], **QUICK).estimate(averages=True)
    with pytest.raises(TypeError, match=r"model must be a pymc\.Model, not adam\(.*an optimizer is given by name"):
        map_estimate(symupdates.adam())
    with pytest.raises(ValueError, match=r"start: scale has shape \(2,\), but that of the model has \(\)"):
        MAP(mixed, vars=["x"], start={"scale": [1.0, 2.0]})
    run = MAP(mixed, symupdates.sgd(), vars=["x"], **QUICK)
    for tol in (-1.0, np.nan, "x"):
        with pytest.raises(ValueError, match="map_estimate: tol must be a number of at least 0, or None, not"):
            run.fit(1, tol=tol)
    with pytest.raises(ValueError, match="map_estimate: patience must be a whole number"):
        run.fit(1, patience=0)


def test_the_estimate_is_the_best_point_of_a_search():
    """Not the trial that comes next: from 3, the first of length 64 goes to -61."""
    with pm.Model() as model:
        pm.Normal("x", 0, 1)
    for callbacks in ((), (stop_iteration,)):
        run = MAP(model, symupdates.lbfgs(learning_rate=64.0), start={"x": 3.0}, **QUICK)
        run.fit(1 if not callbacks else 9, callbacks, progressbar=False)
        assert run.estimate() == run.estimate(averages=True) == {"x": 3.0}
        assert run.estimate(averages=False) == {"x": -61.0}


def stop_iteration(run, losses, i):
    raise StopIteration


# --- What is not finite -----------------------------------------------------------------------------------------------


def test_a_bad_start_is_named():
    with pm.Model() as model:
        rate = pm.HalfNormal("rate", 1)
        pm.Exponential("wait", rate, observed=np.array([1.0, -2.0]))
        pm.Normal("other", 0, 1, observed=0.0)
    with pytest.raises(FloatingPointError, match=r"inf at the start: of wait, -inf\. Give start="):
        MAP(model, **QUICK).fit(3, progressbar=False)


def test_what_becomes_nan_is_named(caplog):
    """The square root has no derivative at zero; and the variable beside it is not to blame."""
    with pm.Model() as model:
        x, innocent = pm.Normal("x", 0, 1), pm.Normal("innocent", 0, 1)
        pm.Normal("y", pt.sqrt(x) + innocent, 1, observed=0.5)
    run = MAP(model, symupdates.sgd(learning_rate=0.1), start={"x": 0.01, "innocent": 1.0}, **QUICK)
    message = r"next value of x, innocent in step 2 is not finite. The gradient of x, innocent is not finite"
    with pytest.raises(FloatingPointError, match=message):
        run.fit(200, progressbar=False)
    with pm.Model() as model:
        x, innocent = pm.Normal("x", 0, 1), pm.Normal("innocent", 0, 1)
        pm.Potential("root", -pt.sqrt(pt.maximum(x - 1, 0)))
    with pytest.raises(FloatingPointError, match=r"next value of x in step 1 .*The gradient of x is not finite.*clip"):
        MAP(model, symupdates.sgd(learning_rate=0.1), start={"x": 1.0}, **QUICK).fit(2, progressbar=False)
    gated = symupdates.chain(symupdates.sgd(learning_rate=0.1), symupdates.apply_if_finite())
    run = MAP(model, gated, start={"x": 1.0}, **QUICK)
    with pytest.raises(FloatingPointError, match=r"map_estimate: 2 of 2 steps were skipped\. Look, without the gate"):
        run.fit(2, progressbar=False)
    assert run.params[0].get_value() == 1.0
    run.params[0].set_value(np.array(2.0))
    with caplog.at_level("WARNING"):
        run.fit(1, progressbar=False)
    assert "2 of 3 steps were skipped." in caplog.text and run.params[0].get_value() != 2


def test_steps_too_large_are_told_from_gradients():
    with pm.Model() as model:
        pm.Normal("x", 0, 1)
    with pytest.raises(FloatingPointError, match=r"x in step \d+ .*gradients are finite.*the step was too large"):
        MAP(model, symupdates.sgd(learning_rate=1e300), start={"x": 1e10}, **QUICK).fit(9, progressbar=False)


def test_an_impossible_end_is_warned_of():
    with pm.Model() as model:
        pm.Uniform("x", 0, 1, default_transform=None)
        pm.Potential("push", 5.0 * model["x"])
    run = MAP(model, symupdates.sgd(learning_rate=1.0), **QUICK)
    with pytest.warns(UserWarning, match="negative log-probability was inf in the last step"):
        run.fit(3, progressbar=False)


# --- Minibatches and other draws --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_minibatches():
    rng = np.random.default_rng(1)
    data = 3 + rng.normal(size=200)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=pm.Minibatch(data, batch_size=20), total_size=200)
    return model, data


def test_minibatches(in_minibatches):
    """Another one in each step; with an average, near the maximum on all data, sum of y over n + 1."""
    model, data = in_minibatches
    optimizer = symupdates.chain(symupdates.sgd(learning_rate=0.001), symupdates.apply_ema(decay=0.99))
    frozen = MAP(model, symupdates.sgd(learning_rate=0.0), seed=2, **QUICK).fit(20, progressbar=False)
    assert len(set(frozen.losses)) == 20
    run = MAP(model, optimizer, seed=2, **QUICK).fit(600, progressbar=False)
    assert run.losses[0] == frozen.losses[0]
    expected = data.sum() / 201
    assert abs(run.estimate(averages=True)["mu"] - expected) < 0.05
    assert run.estimate(averages=False)["mu"] == run.params[0].get_value() != run.estimate(averages=True)["mu"]
    assert run.estimate() == run.estimate(averages=True)
    again = MAP(model, optimizer, seed=2, **QUICK).fit(600, progressbar=False)
    np.testing.assert_array_equal(run.losses, again.losses)


def test_resumes_bit_for_bit(in_minibatches, tmp_path):
    model, _ = in_minibatches

    def build():
        return MAP(model, symupdates.adam(learning_rate=schedules.cosine_decay(0.1, 30)), **QUICK)

    run = build().fit(5, progressbar=False)
    symupdates.save(tmp_path / "map.ckpt", run.updates)
    run.estimate()  # draws nothing
    run.fit(5, progressbar=False)
    resumed, steps = build(), []
    symupdates.load(tmp_path / "map.ckpt", resumed.updates)
    np.testing.assert_array_equal(run.losses[:5], resumed.losses)
    resumed.fit(5, [lambda run, losses, i: steps.append((i, len(losses)))], progressbar=False)
    assert steps == [(6, 6), (7, 7), (8, 8), (9, 9), (10, 10)]
    np.testing.assert_array_equal(run.losses, resumed.losses)
    np.testing.assert_array_equal(run.params[0].get_value(), resumed.params[0].get_value())
    symupdates.reset(resumed.updates)
    assert resumed.losses.shape == (0,) and "map/losses" in str(symupdates.summary(resumed.updates))


def test_a_checkpoint_of_another_dtype_of_losses_is_refused(in_minibatches, tmp_path):
    run = MAP(in_minibatches[0], symupdates.sgd(), **QUICK).fit(3, progressbar=False)
    for losses in (np.zeros(4, "float32"), np.zeros((1, 4))):
        state = symupdates.state_dict(run.updates) | {"map/losses": losses}
        with pytest.raises(ValueError, match=r"map/losses has (shape|dtype)"):
            symupdates.load_state_dict(run.updates, state)
    symupdates.load_state_dict(run.updates, symupdates.state_dict(run.updates) | {"map/losses": np.ones(9)})
    assert run.losses.shape == (9,)


def test_the_pieces(in_minibatches):
    """A loss of one's own under pytensor.function: frozen without the updates of the generators, moving with them."""
    model, _ = in_minibatches
    values = of_pymc.shared_values(model)
    loss = of_pymc.negative_logp(values, model)
    generators = of_pymc.random_updates(loss)
    assert all(isinstance(v.type, RandomType) for v in generators) and len(generators) == 1
    updates = symupdates.sgd(loss, values.values(), learning_rate=0.0)
    frozen = pytensor.function([], loss, updates=updates, mode="FAST_COMPILE")
    moving = pytensor.function([], loss, updates=symupdates.merge(updates, generators), mode="FAST_COMPILE")
    assert len({float(frozen()) for _ in range(5)}) == 1
    assert len({float(moving()) for _ in range(5)}) == 5
    assert of_pymc.as_estimate(values, model) == of_pymc.as_point(values) == {"mu": 0.0}


def test_dropout():
    """PyTensor's generators in a loss, and ours in a model, where PyMC allows no other."""
    rng, x = pytensor.shared(np.random.default_rng(0)), pt.ones(20)
    w = pytensor.shared(1.0)
    with warnings.catch_warnings(action="ignore"):  # of what a later PyTensor will return
        mask = pt.random.bernoulli(0.5, size=(20,), rng=rng)
    loss = (w * x * mask).sum()
    updates = symupdates.merge(symupdates.sgd(loss, [w], learning_rate=0.0), of_pymc.random_updates([loss]))
    step = pytensor.function([], loss, updates=updates, mode="FAST_COMPILE")
    assert len({float(step()) for _ in range(8)}) > 2
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 1, shape=20)
        kept = (1 + rademacher(new_generator("dropout", seed=0), beta)) / 2
        pm.Normal("y", (kept * beta).sum(), 1, observed=1.0)
    run = MAP(model, symupdates.sgd(learning_rate=0.0), start={"beta": np.arange(20.0)}, **QUICK)
    assert [v.name for v in run.updates] == ["beta", "dropout/rng", "map/losses"]
    assert len(set(run.fit(8, progressbar=False).losses)) == 8


# --- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bowl():
    with pm.Model() as model:
        pm.Normal("x", np.array([1.0, -2.0]), 1)
    return model


def test_callbacks_and_losses(bowl):
    """Called as PyMC calls them, on and on over calls of fit; the losses by hand."""
    calls = []

    def callback(run, losses, i):
        calls.append((run.params[0].get_value(), losses.copy(), i))

    run = MAP(bowl, symupdates.sgd(learning_rate=0.5), start={"x": np.zeros(2)}, **QUICK)
    run.fit(2, callbacks=[callback], progressbar=False).fit(1, callbacks=[callback], progressbar=False)
    assert [i for *_, i in calls] == [1, 2, 3] and run.stopped is None
    for t, (x, losses, _) in enumerate(calls):
        np.testing.assert_allclose(x, np.array([1.0, -2.0]) * (1 - 0.5 ** (t + 1)), rtol=1e-12)
        expected = [np.log(2 * np.pi) + 2.5 * 0.25**k for k in range(t + 1)]
        np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_array_equal(run.losses, calls[-1][1])


def test_early_stopping(bowl):
    """By PyMC's callback: from |x - m| = 2, at half the distance each, steps fall below 1e-3 after eleven."""
    stop = CheckParametersConvergence(every=1, tolerance=1e-3, diff="absolute")
    run = MAP(bowl, symupdates.sgd(learning_rate=0.5), start={"x": np.zeros(2)}, **QUICK)
    run.fit(1000, callbacks=[stop], progressbar=False)
    assert len(run.losses) == 11 and run.stopped == "Convergence achieved at 11"
    run.fit(1, progressbar=False)
    assert run.stopped is None

    def interrupt(run, losses, i):
        raise KeyboardInterrupt

    assert len(run.fit(5, callbacks=[interrupt], progressbar=False).losses) == 13


def test_it_ends_by_the_gradient(bowl):
    """Its norm is 2 at first and halves in each step; after 12 steps, 11 halvings, it was below 1e-3."""
    run = MAP(bowl, symupdates.sgd(learning_rate=0.5), start={"x": np.array([1.0, 0.0])}, **QUICK)
    run.fit(100, tol=1e-3, progressbar=False)
    assert len(run.losses) == 12 and run.converged is True
    assert run.stopped == "the norm of the gradient is 0.00098, and tol 0.001"
    with pytest.warns(UserWarning, match="not converged after 14 steps: the norm of the gradient is 0.00024, and tol"):
        run.fit(2, tol=1e-9, progressbar=False)
    assert run.converged is False and run.stopped is None
    run.fit(2, tol=1e-9, callbacks=[stop_iteration], progressbar=False)
    assert len(run.losses) == 15 and run.converged is False and run.stopped == ""
    assert run.fit(1, progressbar=False).converged is None


def test_it_ends_when_the_loss_no_longer_falls(bowl):
    """By a rate of 2, that jumps between two points at the same height; and at the height of the rounding."""
    start = {"x": np.array([1.0, 0.0])}
    run = MAP(bowl, symupdates.sgd(learning_rate=2.0), start=start, **QUICK)
    message = "not converged after 8 steps: the loss no longer falls; the norm of the gradient is 2, and tol"
    with pytest.warns(UserWarning, match=message):
        run.fit(100, tol=1e-9, patience=7, progressbar=False)
    run = MAP(bowl, symupdates.sgd(learning_rate=0.5), start=start, **QUICK)
    run.fit(999, tol=0.0, patience=20, progressbar=False)
    assert run.converged and run.stopped.startswith("the loss no longer falls; the norm of the gradient is")
    assert len(run.losses) < 30 + 20  # 4 ** -25 is below the rounding


def test_it_ends_when_the_mean_of_losses_no_longer_falls(in_minibatches):
    model, data = in_minibatches
    run = MAP(model, seed=3, **QUICK).fit(5000, tol=1e-8, patience=200, progressbar=False)
    assert run.converged and run.stopped.startswith("the mean of 200 losses no longer falls")
    means = run.losses.reshape(-1, 200).mean(axis=1)
    assert np.all(np.diff(means[:-1]) < 0) and means[-1] >= means[-2]
    assert abs(run.estimate()["mu"] - data.sum() / 201) < 0.05
    with pytest.warns(UserWarning, match="not converged after .* steps: fewer were made than are to be compared"):
        run.fit(5, patience=200, progressbar=False)
    assert run.fit(5, tol=1e-8, progressbar=False).converged is None


@pytest.fixture
def interruptible():
    """The handler of SIGINT is Python's, also where the tests run in the background, which ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("again", [False, True])
def test_an_interrupt_waits_for_the_step(bowl, again):
    """The estimate is there, and a loss for each step; of two, the second does not wait."""
    run = MAP(bowl, symupdates.sgd(learning_rate=0.5), start={"x": np.zeros(2)}, **QUICK)
    step, made = run._step, []

    def interrupted():
        if len(made) == 2:
            signal.raise_signal(signal.SIGINT)
            if again:
                signal.raise_signal(signal.SIGINT)
        made.append(step())
        return made[-1]

    run._step = interrupted
    run.fit(9, progressbar=False)
    assert len(run.losses) == len(made) == (2 if again else 3) and run.stopped == ""
    np.testing.assert_allclose(run.estimate()["x"], np.array([1.0, -2.0]) * (1 - 0.5 ** len(made)), rtol=1e-12)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_of_the_first_step(bowl):
    run = MAP(bowl, symupdates.sgd(), start={"x": np.zeros(2)}, **QUICK)

    def interrupted():
        raise KeyboardInterrupt

    run._step = interrupted
    assert len(run.fit(9, progressbar=False).losses) == 0
    np.testing.assert_array_equal(run.estimate()["x"], 0)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("count", [pytest.param(5, marks=pytest.mark.ci), pytest.param(100, marks=pytest.mark.full)])
def test_interrupts_at_random_times(bowl, count):
    """Each ends the fit, with an estimate, and a loss for every step that the optimizer counts."""
    run = MAP(bowl, symupdates.adam(), start={"x": np.zeros(2)})
    steps, made = symupdates.named(run.updates)["adam/t"], 0
    for delay in np.random.default_rng(0).uniform(0, 0.1, count):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))

        def start(run, losses, i, timer=timer):
            if timer.ident is None:
                timer.start()

        run.fit(10**5, [start], progressbar=False)
        timer.join()
        assert run.stopped == "" and np.isfinite(run.estimate()["x"]).all()
        assert len(run.losses) == int(steps.get_value()) and np.isfinite(run.losses).all()
        made += len(run.losses)
    assert made > count


def test_progress_bar(bowl, capsys):
    """It tells the last loss, log 2π + |x - m|²/2, the lowest, and the norm of the gradient."""
    start = {"start": {"x": np.array([1.0, 0.0])}, "tol": None}
    map_estimate(bowl, symupdates.sgd(learning_rate=3.0), steps=2, **start, **QUICK)
    shown = capsys.readouterr().out.replace("\n", " ")
    assert all(words in shown for words in ("2/2", "loss 9.83788", "lowest 3.83788", "|g| 4", "/s"))
    map_estimate(bowl, symupdates.sgd(), steps=3, **start, **QUIET)
    assert capsys.readouterr().out == ""


def test_float32():
    with pytensor.config.change_flags(floatX="float32"):
        with pm.Model() as model:
            p = pm.Beta("p", 2, 2)
            pm.Binomial("k", 10, p, observed=7)
        run = MAP(model, symupdates.momentum(learning_rate=0.05), **QUICK).fit(300, progressbar=False)
        assert {v.get_value().dtype.name for v in run.updates if v.name != "map/losses"} == {"float32"}
        assert run.estimate()["p"].dtype == "float32"
        np.testing.assert_allclose(run.estimate()["p"], 2 / 3, rtol=1e-5)
