"""PyMC: its own rules as a reference, and ours in its place."""

import copy
import importlib
import subprocess
import sys
from functools import partial

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import NEEDS_JAX
from helpers import PYTHON, STEPS, call, make_param, rules
from loss_table import LOSS_ROWS
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.type import RandomType
from readme import blocks
from table import ROWS

import symupdates
from symupdates import gradients, schedules

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
theirs = importlib.import_module("pymc.variational.updates")
callbacks = importlib.import_module("pymc.variational.callbacks")
of_pymc = importlib.import_module("symupdates.pymc")

QUICK = {"compile_kwargs": {"mode": "FAST_COMPILE"}, "progressbar": False}
IN_PYMC = [row for row in ROWS if hasattr(theirs, row.name)]


def test_pymc_has_what_it_had():
    assert len(IN_PYMC) == 9


@pytest.mark.parametrize("row", IN_PYMC, ids=lambda row: row.name)
@pytest.mark.parametrize("defaults", [True, False])
def test_same_numbers_as_pymc(row, defaults):
    """The same partials, the same defaults, the same order of keys, the same trajectory."""
    their_rule = getattr(theirs, row.name)
    keywords = their_rule().keywords
    ours = row.rule().keywords
    assert list(ours.items())[: len(keywords)] == list(keywords.items())
    assert set(ours) - set(keywords) <= {"initial_accumulator"}
    g = pt.tensor("g", shape=(16,), dtype="float64")
    hyper = {} if defaults else row.hyper
    p, q = make_param((16,), "float64", "p"), make_param((16,), "float64", "p")
    their_updates = their_rule([g], [p], **hyper)
    our_updates = row.rule([g], [q], **hyper)
    assert [v is p for v in their_updates] == [v is q for v in our_updates]
    step = pytensor.function([g], [], updates=dict(their_updates) | our_updates, mode=PYTHON)
    scale = np.abs(p.get_value())
    for given in oracles.gradients(STEPS, (16,)):
        step(given)
        scale = np.maximum(scale, np.abs(p.get_value()))
        assert np.all(np.abs(p.get_value() - q.get_value()) <= 1e-12 * scale)


@pytest.fixture(scope="module")
def model():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=np.linspace(0, 1, 10))
    return model


def fit(model, optimizer, n=20, **kwargs):
    with model:
        approx = pm.fit(n, obj_optimizer=optimizer, random_seed=1, **(QUICK | kwargs))
    return np.concatenate([np.ravel(p.get_value()) for p in approx.params]), approx


@pytest.mark.parametrize("name", ["adagrad_window", "adam"])
def test_fit_equals_pymc(model, name):
    with_ours, _ = fit(model, getattr(symupdates, name)(learning_rate=0.05))
    with_theirs, _ = fit(model, getattr(theirs, name)(learning_rate=0.05))
    np.testing.assert_allclose(with_ours, with_theirs, rtol=1e-10)


def test_fit_bare_and_with_norms(model):
    """An optimizer that is not a partial, as sample(init="advi") passes it; gradients that PyMC has clipped."""
    bare, _ = fit(model, symupdates.adagrad_window)
    called, _ = fit(model, symupdates.adagrad_window())
    np.testing.assert_array_equal(bare, called)
    clipped, _ = fit(model, symupdates.sgd(learning_rate=0.1), total_grad_norm_constraint=1e-3, n=1)
    start, _ = fit(model, symupdates.sgd(learning_rate=0.0), n=1)
    np.testing.assert_allclose(np.linalg.norm(clipped - start), 1e-4, rtol=1e-3)


@pytest.mark.parametrize("score", [True, False])
def test_schedule(model, score):
    """The clock is born at the call of the optimizer and advanced by fit; refine goes on with it."""
    clocks = []

    def schedule(step):
        clocks.append(step)
        return 0.5 / (1 + step)

    optimizer = symupdates.sgd(learning_rate=schedule)
    with model:
        inference = pm.ADVI(random_seed=1)
        inference.fit(5, obj_optimizer=optimizer, score=score, **QUICK)
        inference.refine(4, progressbar=False)
        assert [int(clock.get_value()) for clock in clocks] == [9]
        inference.fit(3, obj_optimizer=optimizer, score=score, **QUICK)
    assert [int(clock.get_value()) for clock in clocks] == [9, 3]


def test_full_rank_with_momentum(model):
    def optimizer(loss_or_grads, params):
        return symupdates.apply_momentum(symupdates.rmsprop(loss_or_grads, params, learning_rate=0.01), momentum=0.5)

    params, approx = fit(model, optimizer, n=2000, method="fullrank_advi")
    assert np.isfinite(params).all()
    # The exact posterior mean of mu is the sum of the observations over their number plus one.
    assert abs(approx.mean.eval().item() - 5 / 11) < 0.1


def test_pytensor_function_takes_the_dict(model):
    optimizer = partial(symupdates.adam, learning_rate=0.1)
    assert isinstance(symupdates.adam(learning_rate=0.1), partial)
    p = make_param((3,), "float64", "p")
    assert list(optimizer((p**2).sum(), [p]))[2] is p
    assert call(ROWS[0], (p**2).sum(), [p]).keys() == {p}


# --- Every rule in every inference ------------------------------------------------------------------------------------

METHODS = {
    "advi": lambda: pm.ADVI(random_seed=1),
    "fullrank_advi": lambda: pm.FullRankADVI(random_seed=1),
    "svgd": lambda: pm.SVGD(n_particles=4, random_seed=1),
}
TELLING = {"advi": ["sgd", "lion", "schedule_free_adamw"], "fullrank_advi": ["prodigy"], "svgd": ["adam", "muon"]}


class Spy:
    """An optimizer, and what PyMC gave it and what it made of it in each step: a callback of fit too."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.given, self.points = [], []

    def __call__(self, grads, params):
        self.params = params
        self.seen = [pytensor.shared(np.zeros_like(p.get_value())) for p in params]
        self.points = [[p.get_value() for p in params]]
        self.updates = self.optimizer(grads, params)
        return self.updates | {s: pt.second(s, g) for s, g in zip(self.seen, grads, strict=True)}

    def look(self, approx, losses, i):
        self.given.append([s.get_value() for s in self.seen])
        self.points.append([p.get_value() for p in self.params])


def spied(model, method, optimizer, n=5, **kwargs):
    spy = Spy(optimizer)
    with model:
        METHODS[method]().fit(n, obj_optimizer=spy, callbacks=[spy.look], **(QUICK | kwargs))
    return spy


@pytest.mark.parametrize(
    ("row", "method"),
    [
        pytest.param(row, method, id=f"{row.name}-{method}", marks=[pytest.mark.full] * (row.name not in telling))
        for method, telling in TELLING.items()
        for row in ROWS
    ],
)
def test_fit_is_the_oracle_on_its_gradients(model, row, method):
    """In every inference, with score (where there is one) and without: NumPy makes the same of PyMC's gradients."""
    score = method == "fullrank_advi"
    spy = spied(model, method, row.rule(**dict(row.structure), **row.hyper), score=score)
    assert all(np.isfinite(x).all() and np.abs(x - y).max() > 0 for x, y in zip(*spy.points[:2], strict=True))
    if row.draws:
        return

    def joined(values):
        """One vector of all parameters for a rule that sees them as one; by parameter else."""
        return [np.concatenate([np.ravel(x) for x in values])] if row.coupled else values

    start, given = joined(spy.points[0]), [joined(grads) for grads in spy.given]
    for i, p in enumerate(start):
        trajectory = row.oracle(p, [grads[i] for grads in given], **dict(row.structure), **row.hyper)
        for got, expected in zip(spy.points[1:], trajectory, strict=True):
            np.testing.assert_allclose(joined(got)[i], expected["param"], rtol=1e-9, atol=1e-12)


def test_schedule_clipping_and_averaging(model):
    """What pymc #6954 asks for, a rate that a schedule gives; steps as long as the clip allows; the average of them."""
    schedule = schedules.warmup(schedules.cosine_decay(0.1, steps=20), steps=4)
    optimizer = of_pymc.Optimizer(
        symupdates.chain(
            gradients.clip_by_total_norm(max_norm=0.5),
            symupdates.sgd(learning_rate=schedule),
            symupdates.apply_ema(decay=0.75, debias=False),
        )
    )
    spy = spied(model, "advi", optimizer, n=24)
    average = spy.points[0]
    for t, (grads, before, after) in enumerate(zip(spy.given, spy.points[:-1], spy.points[1:], strict=True)):
        rate = 0.1 * t / 4 if t < 4 else 0.05 * (1 + np.cos(np.pi * (t - 4) / 20))
        rate *= min(1, 0.5 / np.linalg.norm(np.concatenate(grads)))
        for p, g, q in zip(before, grads, after, strict=True):
            np.testing.assert_allclose(q, p - rate * g, rtol=1e-12)
        average = [0.75 * a + 0.25 * p for a, p in zip(average, after, strict=True)]
    symupdates.swap_averages(optimizer.updates)
    for p, a, last in zip(spy.params, average, spy.points[-1], strict=True):
        np.testing.assert_allclose(p.get_value(), a, rtol=1e-12)
        assert np.all(a != last)


@pytest.mark.parametrize(
    ("method", "mode"),
    [
        pytest.param("advi", "JAX", marks=NEEDS_JAX),
        pytest.param("fullrank_advi", "CVM", marks=pytest.mark.ci),
        pytest.param("advi", "CVM", marks=pytest.mark.full),
        pytest.param("fullrank_advi", "JAX", marks=[pytest.mark.full, NEEDS_JAX]),
        pytest.param("svgd", "CVM", marks=pytest.mark.full),
        pytest.param("svgd", "JAX", marks=[pytest.mark.full, NEEDS_JAX]),
        *(pytest.param(method, "NUMBA", marks=pytest.mark.full) for method in METHODS),
    ],
)
@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables", "ignore:Skipping (Assert|CheckAndRaise)")
def test_modes(model, method, mode):
    """The exact posterior, from PyMC's own start, on every backend; what JAX leaves behind is made NumPy's again."""
    if (method, mode) == ("svgd", "JAX") and pm.__version__.startswith("5."):
        pytest.skip("SVGD does not compile on JAX in PyMC 5, with its own optimizer neither")
    optimizer = of_pymc.Optimizer(
        symupdates.chain(
            gradients.clip_by_total_norm(max_norm=10.0),
            symupdates.adam(learning_rate=schedules.cosine_decay(0.1, steps=2000)),
            symupdates.apply_ema(decay=0.99),
            symupdates.apply_if_finite(),
        ),
        seed=1,
    )
    with model:
        inference = METHODS[method]()
        inference.fit(
            2000, obj_optimizer=optimizer, score=mode == "CVM", progressbar=False, compile_kwargs={"mode": mode}
        )
    approx = inference.approx
    symupdates.swap_averages(optimizer.updates)
    symupdates.to_numpy(optimizer.updates)
    draws = np.asarray(approx.sample(2000, random_seed=1, return_inferencedata=False)["mu"])
    assert abs(draws.mean() - 5 / 11) < 0.04
    assert abs(draws.std() - 11**-0.5) < (0.1 if method == "svgd" else 0.03)


def test_stops_at_convergence(model):
    """With a rate that falls, PyMC's own callback finds that the parameters stand still."""
    stop = callbacks.CheckParametersConvergence(every=10, tolerance=1e-6, diff="absolute")
    optimizer = symupdates.sgd(learning_rate=schedules.exponential_decay(0.1, 0.5, steps=5))
    with model:
        approx = pm.fit(1000, obj_optimizer=optimizer, callbacks=[stop], random_seed=1, **QUICK)
    # In ten steps, the rates from 0.1 / 2^(t / 5) on add up to 0.5 / 2^(t / 5); the gradients are of the order of one.
    assert 70 <= len(approx.hist) < 160


def test_float32():
    with pytensor.config.change_flags(floatX="float32"):
        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 1)
            pm.Normal("y", mu, 1, observed=np.linspace(0, 1, 10).astype("float32"))
        optimizer = of_pymc.Optimizer(symupdates.adamw(learning_rate=schedules.cosine_decay(0.05, steps=20)))
        fit(model, optimizer)
        tensors = [v for v in optimizer.updates if not isinstance(v.type, RandomType)]
        assert (
            {v.dtype for v in tensors if v.ndim} == {"float32"} == {v.get_value().dtype.name for v in tensors if v.ndim}
        )


# --- symupdates.pymc.Optimizer ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minibatch_model():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=pm.Minibatch(np.linspace(0, 1, 100), batch_size=5), total_size=100)
    return model


@pytest.mark.parametrize("score", [True, False])
def test_draws_and_minibatches_are_new_in_every_step(minibatch_model, score):
    """At a rate of zero, the gradients differ by the draws alone; the generators are keys, and the seed counts."""
    runs = []
    for _ in range(2):
        optimizer = of_pymc.Optimizer(symupdates.sgd(learning_rate=0.0), seed=3)
        spy = spied(minibatch_model, "advi", optimizer, score=score)
        runs.append(np.array([grads[0][0] for grads in spy.given]))
    assert len(set(runs[0])) == 5
    assert sum(isinstance(v.type, RandomType) for v in optimizer.updates) == 2
    np.testing.assert_array_equal(*runs)


@pytest.fixture(scope="module")
def variables():
    """Seven coordinates, of which the third and fourth, and the last, are of scales."""
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1, shape=2)
        scale = pm.HalfNormal("scale", 1, shape=2)
        b = pm.Normal("b", 0, 1, shape=(2, 1))
        noise = pm.HalfNormal("noise", 1)
        pm.Normal("y", a.sum() + (b.ravel() * scale).sum(), noise, observed=np.linspace(0, 1, 10))
    return model


SCALES = np.array([2, 3, 6])
ROWS_OF_SCALES = np.flatnonzero(np.isin(np.tril_indices(7)[0], SCALES))


@pytest.mark.parametrize(
    ("method", "scales"),
    [
        ("advi", [SCALES, SCALES]),
        pytest.param("fullrank_advi", [ROWS_OF_SCALES, SCALES], marks=pytest.mark.ci),
        pytest.param("svgd", [(slice(None), SCALES)], marks=pytest.mark.ci),
    ],
)
def test_groups_are_slices(variables, method, scales):
    """Each by its rule in NumPy, of slices by hand; one that adds over all elements sees those of its group only."""
    groups = {"^scale|noise": symupdates.prodigy(initial_distance=0.01), ...: symupdates.adam(learning_rate=0.1)}
    optimizer = of_pymc.Optimizer(groups)
    spy = spied(variables, method, optimizer, score=False)
    for is_scale, oracle in ((True, oracles.prodigy), (False, oracles.adam)):

        def part(values, is_scale=is_scale):
            """One vector of the elements of the group."""
            masks = [np.zeros(np.shape(x), bool) for x in values]
            for mask, index in zip(masks, scales, strict=True):
                mask[index] = True
            return np.concatenate([x[mask == is_scale] for x, mask in zip(values, masks, strict=True)])

        hyper = {"initial_distance": 0.01} if is_scale else {"learning_rate": 0.1}
        trajectory = oracle(part(spy.points[0]), [part(given) for given in spy.given], **hyper)
        for got, expected in zip(spy.points[1:], trajectory, strict=True):
            np.testing.assert_allclose(part(got), expected["param"], rtol=1e-9, atol=1e-12)
    name = spy.params[0].name
    assert {f"{name}[^scale|noise]", f"{name}[^scale|noise]/prodigy/m", f"{name}[...]/adam/m"} <= set(
        symupdates.named(optimizer.updates)
    )


def test_groups_keep_averages_of_the_whole(variables, tmp_path):
    """What is swapped is the vector: the average where a group keeps one, and the last value in another."""
    averaged = symupdates.chain(symupdates.sgd(learning_rate=0.001), symupdates.apply_ema(decay=0.5, debias=False))
    optimizer = of_pymc.Optimizer({"^a$": averaged, "^b$": None, ...: symupdates.sgd(learning_rate=0.001)})
    spy = spied(variables, "advi", optimizer)
    last = [p.get_value() for p in spy.params]
    average = [x[:2] for x in spy.points[0]]
    for point in spy.points[1:]:
        average = [(x + y[:2]) / 2 for x, y in zip(average, point, strict=True)]
    symupdates.swap_averages(optimizer.updates)
    for p, x, expected, before in zip(spy.params, last, average, spy.points[0], strict=True):
        np.testing.assert_allclose(p.get_value()[:2], expected, rtol=1e-12)
        np.testing.assert_array_equal(p.get_value()[2:], x[2:])
        np.testing.assert_array_equal(x[4:6], before[4:6])
        assert np.all(x[2:4] != before[2:4])
    symupdates.swap_averages(optimizer.updates)
    for p, x in zip(spy.params, last, strict=True):
        np.testing.assert_array_equal(p.get_value(), x)
    symupdates.save(tmp_path / "groups.ckpt", optimizer.updates)
    symupdates.load(tmp_path / "groups.ckpt", optimizer.updates)
    symupdates.reset(optimizer.updates)
    for p, average in symupdates.averages(optimizer.updates).items():
        np.testing.assert_array_equal(average.get_value(), p.get_value())


def test_groups_that_cannot_be(variables):
    sgd = symupdates.sgd(learning_rate=0.1)
    with pytest.raises(ValueError, match=r"the pattern '\^scales\$' fits none of the names scale_log__, "):
        fit(variables, of_pymc.Optimizer({"^scales$": sgd, ...: sgd}))
    with pytest.raises(ValueError, match=r"^symupdates.pymc.Optimizer: no group has b, noise_log__; add "):
        fit(variables, of_pymc.Optimizer({"^a$": sgd, "scale": None}))
    with pytest.raises(TypeError, match=r"symupdates.pymc.Optimizer: optimizer must be a rule"):
        of_pymc.Optimizer({...: 3})
    p = pytensor.shared(np.zeros(9), name="else")
    with (
        variables,
        pytest.raises(ValueError, match=r"else has 9 elements, of which it is not known .* the 7 coordinates"),
    ):
        of_pymc.Optimizer({...: sgd})((p**2).sum(), [p])


def test_resumes_bit_for_bit(minibatch_model, tmp_path):
    def begin(n):
        optimizer = of_pymc.Optimizer(symupdates.adam(learning_rate=schedules.cosine_decay(0.1, steps=20)))
        with minibatch_model:
            inference = pm.ADVI()
            inference.fit(n, obj_optimizer=optimizer, **QUICK)
        return inference, optimizer.updates

    inference, updates = begin(4)
    symupdates.save(tmp_path / "advi.ckpt", updates)
    inference.refine(5, progressbar=False)
    resumed, anew = begin(0)
    symupdates.load(tmp_path / "advi.ckpt", anew)
    resumed.refine(5, progressbar=False)
    expected, got = symupdates.state_dict(updates), symupdates.state_dict(anew)
    assert list(expected) == list(got) and int(got["adam/t"]) == 9
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    np.testing.assert_array_equal(inference.hist[4:], resumed.hist)


OF_THE_LOSS = [row for row in LOSS_ROWS if not row.of_outputs and not row.same]


@rules(pytest.mark.full, rows=OF_THE_LOSS, kinds={"sam"})
def test_rules_that_take_the_loss(model, row):
    """PyMC has gradients for them, and they say what to do; with the inference, they train."""
    with model:
        if not row.takes_gradients:
            with pytest.raises(
                TypeError, match=rf"{row.name} takes the loss, not gradients.*symupdates.pymc.Optimizer"
            ):
                pm.fit(1, obj_optimizer=row.rule(**row.hyper, **row.structure), **QUICK)
        inference = pm.ADVI(random_seed=1)
        rule = row.rule(**(row.hyper | {"learning_rate": 0.01} if "learning_rate" in row.hyper else row.structure))
        optimizer = of_pymc.Optimizer(symupdates.chain(rule, symupdates.apply_ema(decay=0.99)), inference, seed=1)
        pm.fit(600, method=inference, obj_optimizer=optimizer, **QUICK)
    symupdates.swap_averages(optimizer.updates)
    mu = next(p for p in inference.approx.params if p.name == "mu").get_value()
    assert abs(mu[0] - 5 / 11) < 0.2


def test_a_schedule_watches_the_loss(model):
    """Inside of pm.fit: what the rate was, by the losses that PyMC notes, which are those of the same draws."""

    def optimizer(loss, params):
        rate = schedules.reduce_on_plateau(0.25, loss, factor=0.5, patience=2)
        return symupdates.sgd(loss, params, learning_rate=rate)

    with model:
        inference = pm.ADVI(random_seed=1)
        optimizer = of_pymc.Optimizer(optimizer, inference, seed=1)
        losses, rates = [], []
        inference.fit(0, obj_optimizer=optimizer, **QUICK)
    watched = next(v for v in optimizer.updates if "best" in v.name)
    rate = symupdates.hyperparameters(optimizer.updates)["sgd/learning_rate"]
    state = symupdates.named(optimizer.updates)
    for _ in range(20):
        before = float(rate.eval())
        inference.refine(1, progressbar=False)
        rates.append(before)
        losses.append(float(watched.get_value()))
    assert rates[0] == 0.25 > rates[-1] and losses == sorted(losses, reverse=True)
    assert float(state["reduce_on_plateau/scale"].get_value()) == float(rate.eval()) / 0.25


@pytest.mark.parametrize("optimizer", [symupdates.sgd(learning_rate=0.1)])
def test_a_gate_that_stays_closed_ends_the_fit(optimizer):
    with pm.Model() as hopeless:
        x = pm.Normal("x", 0, 1)
        pm.Potential("infinite", pt.exp(1e4 + x))
    gated = symupdates.chain(optimizer, symupdates.apply_if_finite())
    ours = of_pymc.Optimizer(gated, max_skipped=7)
    with pytest.raises(FloatingPointError, match=r"more than 7 steps in a row were skipped \(by if_finite/in_a_row\)"):
        fit(hopeless, ours, n=50)
    assert ours.skipped == 7
    ours = of_pymc.Optimizer(gated, max_skipped=None)
    fit(hopeless, ours, n=120)
    assert ours.skipped == 120
    assert of_pymc.Optimizer(gated).max_skipped == 100
    with pytest.raises(ValueError, match="Optimizer: max_skipped must be a whole number"):
        of_pymc.Optimizer(gated, max_skipped=0)


def test_lbfgs_on_fixed_draws(model):
    """The minimum of the ELBO's average over the draws z, by hand: sd² = 1/(11 var z), mu = 5/11 - sd mean z."""
    with model:
        inference = pm.ADVI()
        optimizer = of_pymc.Optimizer(symupdates.lbfgs(), inference, n_mc=7, fixed_draws=True)
        inference.fit(40, obj_optimizer=optimizer, **QUICK)
    assert not any(isinstance(v.type, RandomType) for v in optimizer.updates)
    (rng,) = {v for v in graph_inputs(optimizer.updates.values()) if isinstance(v.type, RandomType)}
    z = copy.deepcopy(rng.get_value()).normal(size=(7, 1))
    mu, rho = (p.get_value()[0] for p in inference.approx.params)
    sd = (11 * z.var()) ** -0.5
    np.testing.assert_allclose(np.log1p(np.exp(rho)), sd, rtol=1e-6)
    np.testing.assert_allclose(mu, 5 / 11 - sd * z.mean(), rtol=1e-6)


def test_refusals(model, minibatch_model):
    sgd = symupdates.sgd(learning_rate=0.1)
    with pytest.raises(TypeError, match=r"optimizer must be a rule or another optimizer, not 0\.1"):
        of_pymc.Optimizer(0.1)
    with pytest.raises(TypeError, match=r"optimizer, <lambda>, returned None; the optimizer must return a dict"):
        of_pymc.Optimizer(lambda loss_or_grads, params: None)(pytensor.shared(1.0), [])
    with pytest.raises(ValueError, match="fixed_draws are those of an inference"):
        of_pymc.Optimizer(sgd, fixed_draws=True)
    with model:
        svgd, one, other = METHODS["svgd"](), pm.ADVI(), pm.ADVI()
        with pytest.raises(ValueError, match="SVGD has no loss, only gradients"):
            svgd.fit(1, obj_optimizer=of_pymc.Optimizer(sgd, svgd), progressbar=False)
        with pytest.raises(ValueError, match=r"the loss of this ADVI does not depend on mu, rho.*the very inference"):
            one.fit(1, obj_optimizer=of_pymc.Optimizer(sgd, other), progressbar=False)
    with minibatch_model:
        inference = pm.ADVI()
        with pytest.raises(ValueError, match="fixed_draws with minibatches would fit the first one"):
            inference.fit(1, obj_optimizer=of_pymc.Optimizer(sgd, inference, fixed_draws=True), progressbar=False)


def test_pymc_is_an_extra():
    """Importing symupdates does not import PyMC; without PyMC, its door says what is missing."""
    program = """
import sys, symupdates
assert not {"pymc", "symupdates.pymc"} & set(sys.modules)
sys.modules["pymc"] = None
import symupdates.pymc
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: symupdates.pymc needs PyMC, an optional extra")


@NEEDS_JAX
@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables", "ignore:Skipping (Assert|CheckAndRaise)")
def test_page(model, monkeypatch):
    """The blocks of the page, as they stand; of so many steps that they are worth compiling, where that is fast."""
    fit, always = pm.fit, {"progressbar": False, "random_seed": 1, "compile_kwargs": {"mode": "JAX"}}
    monkeypatch.setattr(pm, "fit", lambda *args, **kwargs: fit(*args, **kwargs | always))
    names = {"pm": pm, "symupdates": symupdates, "model": model, "gradients": gradients, "schedules": schedules}
    advi, look_inside, until_it_ends, map_estimate = blocks("python", page="pymc.md")
    exec(advi, names)
    # From seed to seed, means and deviations scatter by 0.008.
    assert abs(names["approx"].mean.eval().item() - 5 / 11) < 0.03
    assert abs(names["approx"].std.eval().item() - 11**-0.5) < 0.03
    exec(look_inside, names)
    assert abs(names["approx"].mean.eval().item() - 5 / 11) < 0.03
    assert abs(names["approx"].std.eval().item() - 11**-0.5) < 0.03
    exec(until_it_ends, names)
    assert names["approx"].convergence.converged
    assert abs(names["approx"].mean.eval().item() - 5 / 11) < 0.03
    exec(map_estimate, names)
    assert abs(names["estimate"]["mu"] - 5 / 11) < 1e-6
    assert len(names["run"].losses) == 100
    assert abs(float(names["posterior"]["mu"].std()) - 11**-0.5) < 0.03
