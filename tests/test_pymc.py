"""PyMC: its own rules as a reference, and ours in its place."""

import importlib
from functools import partial

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.replace import graph_replace
from readme import blocks
from table import ROWS
from test_rules import PYTHON, STEPS, call, make_param

import symupdates

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
theirs = importlib.import_module("pymc.variational.updates")

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
        approx = pm.fit(n, obj_optimizer=optimizer, random_seed=1, progressbar=False, **kwargs)
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
        inference.fit(5, obj_optimizer=optimizer, progressbar=False, score=score)
        inference.refine(4, progressbar=False)
        assert [int(clock.get_value()) for clock in clocks] == [9]
        inference.fit(3, obj_optimizer=optimizer, progressbar=False, score=score)
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


def test_readme(model, monkeypatch):
    """The two blocks of README.md, as they stand."""
    monkeypatch.setattr(pm, "fit", partial(pm.fit, progressbar=False, random_seed=1))
    names = {"pm": pm, "pytensor": pytensor, "symupdates": symupdates, "model": model, "graph_replace": graph_replace}
    advi, map_estimate = blocks("python", "From Lasagne and from PyMC")
    exec(advi, names)
    assert abs(names["approx"].mean.eval().item() - 5 / 11) < 0.03
    assert abs(names["approx"].std.eval().item() - 11**-0.5) < 0.01
    exec(map_estimate, names)
    for _ in range(1000):
        names["step"]()
    ((_, mu),) = names["shared"].items()
    assert abs(mu.get_value() - 5 / 11) < 1e-4
