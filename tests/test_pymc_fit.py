"""symupdates.pymc.fit: its diagnostics against ArviZ and closed forms, and fits whose result is known."""

import importlib
import signal
import warnings

import numpy as np
import pytensor
import pytest

import symupdates

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
with warnings.catch_warnings(action="ignore"):
    import arviz
theirs = importlib.import_module("pymc.variational.updates")
of_pymc = importlib.import_module("symupdates.pymc")
stationary = importlib.import_module("symupdates.pymc.stationary")
variational = importlib.import_module("symupdates.pymc.variational")

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


@pytest.mark.parametrize(("n", "phi"), [(64, -0.5), (67, 0.5), (1000, 0.9)])
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


# --- Rounds -----------------------------------------------------------------------------------------------------------


class Given:
    """Parameters of a fit that are what a test says, with units of 1 and 100."""

    def __init__(self):
        self.seen, self.puts = [], []

    def now(self):
        return self.seen[-1]

    def put(self, vector):
        self.puts.append(vector)

    def unit(self, vector):
        return np.array([1.0, 100.0])

    def name(self, i):
        return f"element {i}"

    def parts(self, vector):
        return {"x": vector}


def rounds_of(monkeypatch, values, tol, steps):
    """Those of iterates ``values(t, scale)``, and how they end, after so many steps at most."""
    p = pytensor.shared(1.0, name="p")
    rounds = variational.Rounds(symupdates.momentum(learning_rate=0.1, momentum=0.5), tol, [], lambda: lambda: None)
    updates = symupdates.named(rounds.optimizer(p**2, [p]))
    rate = updates["momentum/learning_rate"]
    given = Given()
    monkeypatch.setattr(variational, "Vectors", lambda approx: given)
    try:
        for t in range(steps):
            given.seen.append(values(t, float(rate.get_value()) / 0.1))
            rounds(None, None, t + 1)
    except StopIteration:
        pass
    end = rounds.finish(None, steps)
    np.testing.assert_allclose(rate.get_value(), 0.1 * rounds.scale)
    assert float(updates["momentum/momentum"].get_value()) == 0.5
    return given, end


def averages(given, end):
    """Of the last iterates of each round, so many as it says, if any."""
    found, k = [], 0
    for r in end.rounds:
        k += r.steps
        found += [np.mean(given.seen[k - r.averaged : k], axis=0)] if r.averaged else []
    return found


def off_by_the_scale(offset, *deviations):
    """Noise around a point that is off by the rate, in the first element, and around zero in the second."""
    rng = np.random.default_rng(0)
    return lambda t, scale: np.array([offset * scale, 0.0]) + np.array(deviations) * rng.normal(size=2)


def test_rounds_end_by_tol(monkeypatch):
    """An average moves by 3/4, 3/16 and 3/64, of which a third remains, the first time less than 0.02 in the third."""
    given, end = rounds_of(monkeypatch, off_by_the_scale(1.0, 0.05, 0.5), 0.02, 2000)
    assert end.converged and [r.steps for r in end.rounds] == [200] * 4
    assert [r.averaged for r in end.rounds] == [176] * 4  # in blocks of two, without the first eighth
    assert [r.scale for r in end.rounds] == [1, 1 / 4, 1 / 16, 1 / 64]
    np.testing.assert_allclose(given.puts, averages(given, end), rtol=1e-12)
    np.testing.assert_allclose([r.moved for r in end.rounds], [np.nan, 3 / 4, 3 / 16, 3 / 64], atol=0.02)
    np.testing.assert_allclose(end.mcse["x"], [0.05 / 176**0.5, 0.5 / 176**0.5], rtol=0.4)
    assert end.reason.startswith("from round 3 to 4, the average of element 0 moved by 0.0")


def test_rounds_end_by_the_error_of_the_difference(monkeypatch):
    """What remains is more than tol, and less than two standard errors that are just below it."""
    _, end = rounds_of(monkeypatch, off_by_the_scale(0.66, 2.0, 20.0), 0.1, 4000)
    errors = [r.mcse for r in end.rounds]
    remains = end.rounds[1].moved / 3
    assert end.converged and len(errors) == 2 and max(errors) <= 0.1 < remains < np.hypot(*errors)
    assert [r.rhat < 1.1 for r in end.rounds] == [True, True]


def test_few_independent_iterates_are_not_enough(monkeypatch):
    """Of a chain that forgets in 100 steps, 4000 are ten draws, however well its average is known."""
    rng, x = np.random.default_rng(0), np.zeros(2)

    def values(t, scale):
        x[:] = 0.99 * x + 0.01 * rng.normal(size=2)
        return x.copy()

    _, end = rounds_of(monkeypatch, values, 10.0, 20_000)
    assert end.converged and min(r.ess for r in end.rounds) >= 10 and end.rounds[0].steps > 1000


def test_the_longest_stationary_window(monkeypatch):
    """Of 200 iterates, the first 100 far away: half of them."""
    values = off_by_the_scale(0.0, 0.05, 0.05)
    given, end = rounds_of(monkeypatch, lambda t, scale: values(t, scale) + 10.0 * (t < 100), 0.1, 2000)
    assert end.converged and [r.averaged for r in end.rounds] == [100, 176]
    np.testing.assert_allclose(given.puts, averages(given, end), rtol=1e-12)


@pytest.mark.parametrize(("more", "averaged"), [(0, [176]), (17, [176, 0]), (100, [176, 88])])
def test_an_end_within_the_second_round(monkeypatch, more, averaged):
    """Its average, of 16 blocks at least; else that of the first."""
    given, end = rounds_of(monkeypatch, off_by_the_scale(1.0, 0.05, 0.5), 0.02, 200 + more)
    assert not end.converged and end.stopped is None and end.steps == 200 + more
    assert [r.averaged for r in end.rounds] == averaged
    np.testing.assert_allclose(given.puts[-1], averages(given, end)[-1], rtol=1e-12)
    np.testing.assert_allclose(end.mcse["x"], np.array([0.05, 0.5]) / (averaged[-1] or 176) ** 0.5, rtol=0.4)
    assert (end.reason == "too few were made to tell") == (more == 17)


def test_an_end_within_the_first_step():
    """As of an interrupt that PyMC catches."""
    rounds = variational.Rounds(symupdates.sgd, 0.1, [], None)
    assert rounds.finish(None, 5) == (False, "no step was made", "", 0, [], {})


def positive(*x):
    """What PyMC makes of rho, and of the diagonal of L; and its slope."""
    return np.log1p(np.exp(x)), 1 / (1 + np.exp(np.negative(x)))


SD, SLOPE = positive(3, 4)
DIAGONAL, SLOPES = positive(1, 3)
FAR = np.hypot(2, DIAGONAL[1])


@pytest.mark.parametrize(
    ("method", "parts", "names", "units"),
    [
        (
            pm.ADVI,
            {"mu": [1, 2], "rho": [3, 4]},
            ["mu of near", "mu of far", "rho of near", "rho of far"],
            [*SD, *SD / SLOPE],
        ),
        (
            pm.FullRankADVI,
            {"L_tril": [1, 2, 3], "mu": [4, 5]},
            ["L_tril of near", "L_tril of far", "L_tril of far", "mu of near", "mu of far"],
            [DIAGONAL[0] / SLOPES[0], FAR, FAR / SLOPES[1], DIAGONAL[0], FAR],
        ),
    ],
    ids=["advi", "fullrank_advi"],
)
def test_parameters_as_one_vector(method, parts, names, units):
    """By hand: the scale of a draw is rho, or L = [[1, 0], [2, 3]], once they are made positive."""
    with pytensor.config.change_flags(floatX="float32"), pm.Model():
        pm.Normal("near", 0, 1)
        pm.Normal("far", 0, 1)
        approx = method().approx
    vectors = variational.Vectors(approx)
    given = np.arange(1.0, 1 + len(names))
    vectors.put(given)
    np.testing.assert_array_equal(vectors.now(), given)
    assert {key: x.tolist() for key, x in vectors.parts(given).items()} == parts
    assert {x.dtype for x in vectors.parts(given).values()} == {np.dtype("float32")}
    assert [vectors.name(i) for i in range(len(given))] == names
    np.testing.assert_allclose(vectors.unit(given), units, rtol=1e-6)


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


def test_an_interrupt_before_the_first_step_is_one(model):
    def interrupted(grads, params):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, obj_optimizer=interrupted)


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
    with model, pytest.raises(ValueError, match=r"Particles object.* moves particles"):
        of_pymc.fit(method=type("Particles", (pm.SVGD,), {})(n_particles=2))
    with pytest.raises(ValueError, match="fit: tol must be a number above 0, not 0"):
        fit(model, tol=0)
    with pytest.raises(ValueError, match="fit: n must be a whole number"):
        fit(model, 0)
    with pytest.raises(TypeError, match=r"fit: obj_optimizer must be a rule or another optimizer, not 0\.1"):
        fit(model, obj_optimizer=0.1)
    with pytest.raises(TypeError, match="fit: callbacks must be functions, but 1 is not"):
        fit(model, callbacks=[1])
