"""symupdates.pymc.fit: its diagnostics against ArviZ and closed forms, and fits whose result is known."""

import importlib
import signal
import warnings

import numpy as np
import pytest

import symupdates

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
with warnings.catch_warnings(action="ignore"):
    import arviz
theirs = importlib.import_module("pymc.variational.updates")
of_pymc = importlib.import_module("symupdates.pymc")
stationary = importlib.import_module("symupdates.pymc.stationary")

QUICK = symupdates.partition(("^mu$", symupdates.sgd(learning_rate=0.01)), (..., symupdates.adam(learning_rate=0.05)))
QUIET = {"random_seed": 1, "progressbar": False, "compile_kwargs": {"mode": "FAST_COMPILE"}}


# --- Diagnostics ------------------------------------------------------------------------------------------------------


def autoregression(n, phi):
    """With a variance of one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    for t in range(1, n):
        x[t] = phi * x[t - 1] + (1 - phi**2) ** 0.5 * x[t]
    return x


@pytest.mark.parametrize(("n", "phi"), [(64, -0.5), (65, 0.5), (1000, 0.9)])
def test_diagnostics_equal_arviz(n, phi):
    x = autoregression(n, phi)
    columns = [np.stack([c[: n // 2], c[-(n // 2) :]]) for c in x.T]  # of two chains, without the one in the middle
    rhats = [float(arviz.rhat(halves, method="identity")) for halves in columns]
    np.testing.assert_allclose(stationary.split_rhat(x), rhats, rtol=1e-12)
    sizes = [float(arviz.ess(halves.reshape(1, -1), method="mean")) for halves in columns]
    np.testing.assert_allclose(stationary.effective_size(x), sizes, rtol=1e-12)


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.8])
def test_effective_size_of_an_autoregression(phi):
    """It is N (1 - φ) / (1 + φ)."""
    size = stationary.effective_size(autoregression(50_000, phi))
    np.testing.assert_allclose(size, 50_000 * (1 - phi) / (1 + phi), rtol=0.1)


def test_rhat_of_a_line():
    """Of n numbers in a row, the variance is n (n + 1) / 12; the means of two halves are n apart."""
    n = 20
    within = n * (n + 1) / 12
    x = np.column_stack([np.arange(2 * n), np.zeros(2 * n)])
    expected = np.sqrt((n - 1) / n + n**2 / 2 / within)
    np.testing.assert_allclose(stationary.split_rhat(x), [expected, 1], rtol=1e-12)
    assert stationary.effective_size(x)[1] == 2 * n


@pytest.mark.parametrize("n", [5, 8, 9, 17, 100])
def test_blocks_have_the_mean_of_what_is_in_them(n):
    x = np.random.default_rng(0).normal(size=(n, 2))
    iterates = stationary.Iterates(2, most=8)
    for row in x:
        iterates.add(row)
    length = max(1, 2 ** int(np.ceil(np.log2((n + 1) / 9)))) if n > 8 else 1
    whole = n // length
    expected = x[: whole * length].reshape(whole, length, 2).mean(axis=1)
    np.testing.assert_allclose(iterates.blocks, expected, rtol=1e-12)
    assert len(iterates) == n and iterates.length == length


# --- Fits -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    """With a posterior that is normal, of mean 5/11 and variance 1/11."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=np.linspace(0, 1, 10))
    return model


def fit(model, *arguments, **options):
    with model:
        return of_pymc.fit(*arguments, **(QUIET | options))


def moments(approx):
    return np.asarray(approx.mean.eval()), np.asarray(approx.std.eval())


@pytest.fixture(scope="module")
def fitted(model):
    """By a rule whose dict has the generators that the gradients draw from."""
    return fit(model, tol=0.1, obj_optimizer=of_pymc.Optimizer(symupdates.adam(learning_rate=0.05)))


def test_it_ends_at_the_posterior(fitted):
    """To the errors it states: of the mean, and of rho, of which the deviation is log(1 + exp(rho))."""
    end, (mean, sd) = fitted.convergence, moments(fitted)
    assert end.converged and end.stopped is None
    assert abs(mean - 5 / 11) < 3.5 * end.mcse["mu"] < 0.35 * sd
    rho, expected = (np.log(np.expm1(x)) for x in (sd, 11**-0.5))
    assert abs(rho - expected) < 3.5 * end.mcse["rho"] + 0.02  # what the last rate leaves


def test_record(fitted):
    """A draw is mean + z log(1 + exp(rho)): what moves it by a deviation, by hand."""
    end, (_, sd) = fitted.convergence, moments(fitted)
    *before, last = end.rounds
    assert end.steps == sum(r.steps for r in end.rounds) > len(fitted.hist) - 2
    assert [r.scale for r in end.rounds] == [0.25**k for k in range(len(end.rounds))]
    worst = max(end.mcse["mu"] / sd, end.mcse["rho"] * -np.expm1(-sd) / sd)
    np.testing.assert_allclose(last.mcse, worst, rtol=1e-6)
    for r in end.rounds:
        assert r.mcse <= 0.1 and r.rhat <= 1.1 and r.ess >= 10 and 0.4 * r.steps < r.averaged <= 7 / 8 * r.steps + 16
    assert before and np.isnan(before[0].moved) and last.moved < 0.2
    assert end.reason.startswith(f"from round {len(before)} to {len(before) + 1}, the average of ")


@pytest.mark.ci
@pytest.mark.parametrize("method", ["advi", "fullrank_advi"])
def test_posteriors_with_correlations(method):
    """Full rank is the posterior; of mean field, the precisions are its diagonal [Bishop (2006), section 10.1.2]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2)) @ [[1.0, 1.0], [0.0, 1.0]]
    y = x @ [1.0, -2.0] + rng.normal(size=40)
    with pm.Model() as regression:
        slope = pm.Normal("slope", 0, 10, shape=2)
        pm.Normal("y", (x * slope).sum(axis=-1), 1, observed=y)
    precision = x.T @ x + np.eye(2) / 100
    approx = fit(regression, method=method, obj_optimizer=QUICK)
    end, (mean, sd) = approx.convergence, moments(approx)
    assert end.converged and len(end.rounds) >= 2  # the rates of both rules fall
    assert np.all(abs(mean - np.linalg.solve(precision, x.T @ y)) < 4 * end.mcse["mu"])
    if method == "advi":
        np.testing.assert_allclose(sd, np.diag(precision) ** -0.5, rtol=0.1)
    else:
        covariance = np.linalg.inv(precision)
        np.testing.assert_allclose(approx.cov.eval(), covariance, atol=0.25 * covariance.max())


@pytest.mark.ci
def test_minibatches():
    data = np.random.default_rng(0).normal(size=100)
    with pm.Model() as of_batches:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=pm.Minibatch(data, batch_size=20), total_size=100)
    approx = fit(of_batches, tol=0.2, obj_optimizer=QUICK)
    end, (mean, sd) = approx.convergence, moments(approx)
    assert end.converged and abs(mean - data.sum() / 101) < 4 * end.mcse["mu"]
    assert abs(sd / 101**-0.5 - 1) < 0.15


def test_it_says_what_is_not_stationary():
    """A mean that is 1000 away, of which 300 steps make 15: the parameters are as the last step leaves them."""
    with pm.Model() as far:
        pm.Normal("near", 0, 1)
        pm.Normal("far", 1000, 1, initval=0)
    seen = []
    told = "not converged after 300 steps: the iterates of mu of far are not stationary, R-hat"
    with pytest.warns(UserWarning, match=told):
        approx = fit(far, 300, callbacks=[lambda approx, losses, i: seen.append(approx.params[0].get_value())])
    end = approx.convergence
    assert not end.converged and end.stopped is None and end.mcse == {} and len(seen) == 300
    assert len(end.rounds) == 1 and end.rounds[0].averaged == 0
    np.testing.assert_array_equal(approx.params[0].get_value(), seen[-1])


def test_it_says_what_is_not_known_well_enough(model):
    """And leaves the average of what it has."""
    with pytest.warns(UserWarning, match=r"the average of \w+ of mu is known to .* standard deviations, tol is 0.001"):
        approx = fit(model, 600, tol=0.001)
    end = approx.convergence
    assert not end.converged and len(end.rounds) == 1 and 300 <= end.rounds[0].averaged < 600
    assert abs(moments(approx)[0] - 5 / 11) < 4 * end.mcse["mu"]


def test_an_interrupt_leaves_the_average(model):
    """It waits for the end of the step, and is no failure."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    points = []

    def interrupt(approx, losses, i):
        points.append(approx.params[0].get_value())
        if i == 450:
            signal.raise_signal(signal.SIGINT)

    try:
        approx = fit(model, tol=0.001, callbacks=[interrupt])
    finally:
        assert signal.signal(signal.SIGINT, handler) is signal.default_int_handler
    end = approx.convergence
    assert end.stopped == "" and not end.converged and end.steps == 451 and end.rounds[-1].averaged > 200
    averaged = points[450 - end.rounds[-1].averaged :]
    np.testing.assert_allclose(moments(approx)[0], np.mean(averaged, axis=0), atol=0.02 * 11**-0.5)
    assert points[-1] != moments(approx)[0]


def test_a_callback_ends_it(model):
    def stop(approx, losses, i):
        if i == 30:
            raise StopIteration("enough")

    end = fit(model, callbacks=[stop]).convergence
    assert (end.stopped, end.steps, end.converged) == ("enough", 30, False)
    assert end.reason == "too few were made to tell"


@pytest.mark.parametrize(
    "optimizer",
    [symupdates.sgd(learning_rate=lambda t: 0.03 - 0.0 * t), theirs.sgd(learning_rate=0.03)],
    ids=["schedule", "theirs"],
)
def test_rates_that_cannot_fall(model, optimizer):
    end = fit(model, obj_optimizer=optimizer, tol=0.2).convergence
    assert end.converged and len(end.rounds) == 1 and end.rounds[0].mcse <= 0.2


def test_the_rate_falls(model):
    """To a quarter from round to round; a rate that was made adjustable before can be read."""
    kept = {}

    def optimizer(grads, params):
        kept.update(symupdates.named(updates := symupdates.adjustable(symupdates.sgd(grads, params, 0.03))))
        return updates

    end = fit(model, obj_optimizer=optimizer, tol=0.2).convergence
    assert end.converged and len(end.rounds) >= 2
    assert float(kept["sgd/learning_rate"].get_value()) == 0.03 * 0.25 ** (len(end.rounds) - 1)


def test_fit_refuses(model):
    with pytest.raises(ValueError, match="svgd moves particles"):
        fit(model, method="svgd")
    with model, pytest.raises(ValueError, match=r"SVGD object.* moves particles"):
        of_pymc.fit(method=pm.SVGD(n_particles=2))
    with pytest.raises(ValueError, match="fit: tol must be a number above 0, not 0"):
        fit(model, tol=0)
    with pytest.raises(ValueError, match="fit: n must be a whole number"):
        fit(model, 0)
    with pytest.raises(TypeError, match=r"fit: obj_optimizer must be a rule or another optimizer, not 0\.1"):
        fit(model, obj_optimizer=0.1)
    with pytest.raises(TypeError, match="fit: callbacks must be functions, but 1 is not"):
        fit(model, callbacks=[1])
