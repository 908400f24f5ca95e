"""symupdates.pymc.laplace, and estimates as ArviZ has them: against closed forms."""

import importlib

import numpy as np
import pytensor
import pytest

import symupdates

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
of_pymc = importlib.import_module("symupdates.pymc")
Curvature = importlib.import_module("symupdates.pymc.curvature").Curvature
inverse_root = importlib.import_module("symupdates.pymc.curvature").inverse_root
QUICK = {"compile_kwargs": {"mode": "FAST_COMPILE"}}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = X @ [1.0, -2.0, 0.5] + RNG.normal(size=30)
# Of a normal prior and normal noise with known deviations, 2 and 0.5, the posterior is normal.
PRECISION = X.T @ X / 0.5**2 + np.eye(3) / 2**2
MEAN = np.linalg.solve(PRECISION, X.T @ Y / 0.5**2)


@pytest.fixture(scope="module")
def regression():
    with pm.Model(coords={"feature": ["a", "b", "c"]}) as model:
        slope = pm.Normal("slope", 0, 2, dims="feature")
        pm.Deterministic("first", 10 + slope[0])
        pm.Normal("y", (X * slope).sum(axis=-1), 0.5, observed=Y)
    return model


@pytest.fixture(scope="module")
def converged(regression):
    return of_pymc.MAP(regression, jacobian=True, **QUICK).fit(tol=1e-9, progressbar=False)


@pytest.mark.parametrize("dense", [True, False])
def test_normal_posterior(converged, dense):
    """The draws have its mean and covariance, to the error of so many; the deterministic follows, and so do labels."""
    data = of_pymc.laplace(converged, draws=4000, seed=1, dense=dense)
    slopes = data.posterior["slope"].values[0]
    assert data.posterior["slope"].dims == ("chain", "draw", "feature") and slopes.shape == (4000, 3)
    covariance = np.linalg.inv(PRECISION)
    error = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((slopes.mean(axis=0) - MEAN) / error, 0, atol=4 / 4000**0.5)
    np.testing.assert_allclose(np.cov(slopes.T) / np.outer(error, error), covariance / np.outer(error, error), atol=0.1)
    np.testing.assert_allclose(data.posterior["first"].values[0], 10 + slopes[:, 0])
    again = of_pymc.laplace(converged, draws=2, seed=1, dense=dense).posterior["slope"].values[0]
    other = of_pymc.laplace(converged, draws=2, seed=2, dense=dense).posterior["slope"].values[0]
    np.testing.assert_array_equal(again, of_pymc.laplace(converged, draws=2, seed=1, dense=dense).posterior["slope"][0])
    assert np.all(again != other)


def test_hessian_is_exact(converged):
    """By products with vectors, and at the point that was found, not at the search's next trial."""
    curvature = Curvature(converged, converged.point())
    np.testing.assert_allclose(curvature.matrix(), PRECISION, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(curvature.mode, MEAN, rtol=1e-8)


def test_around_what_was_found(regression, converged):
    """Not around the trial of a search, which goes too far here: the curvature is the same, and so are the numbers."""
    run = of_pymc.MAP(regression, symupdates.lbfgs(learning_rate=64.0), jacobian=True, **QUICK).fit(
        1, progressbar=False
    )
    point = run.point()["slope"]
    assert np.abs(run.params[0].get_value() - point).max() > 1
    here, there = (of_pymc.laplace(x, draws=1, seed=1).posterior["slope"].values[0, 0] for x in (run, converged))
    np.testing.assert_allclose(here - point, there - converged.point()["slope"], rtol=1e-8)


def test_inverse_root():
    """Of a matrix with known eigenvalues, some of them repeated; no more products than it has different ones."""
    axes, _ = np.linalg.qr(RNG.normal(size=(40, 40)))
    values = np.concatenate([np.full(30, 2.0), np.logspace(-2, 3, 10)])
    products = []

    def product(x):
        products.append(x)
        return axes @ (values * (axes.T @ x))

    z = RNG.normal(size=40)
    np.testing.assert_allclose(inverse_root(product, z), axes @ ((axes.T @ z) / np.sqrt(values)), rtol=1e-8, atol=1e-8)
    assert len(products) <= 12
    np.testing.assert_allclose(inverse_root(lambda x: 4 * x, z), z / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="the estimate is no minimum"):
        inverse_root(lambda x: -x, z)


def test_constrained_variables():
    """Beta(9, 5) by its log odds: normal around log 9/5, with the variance 1/(14 p (1 - p)) of p = 9/14."""
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        pm.Binomial("k", 10, p, observed=7)
        held = pm.Poisson("held", 2.0)
        run = of_pymc.MAP(vars=[p], jacobian=True, start={"held": 3}, **QUICK).fit(tol=1e-9, progressbar=False)
    posterior = of_pymc.laplace(run, draws=2000, seed=3).posterior
    odds = np.log(posterior["p"] / (1 - posterior["p"])).values.ravel()
    np.testing.assert_allclose(odds.mean(), np.log(9 / 5), atol=4 * (14 / 45 / 2000) ** 0.5)
    np.testing.assert_allclose(odds.std(), (14 / 45) ** 0.5, rtol=0.06)
    assert set(posterior.data_vars) == {"p", "held"} and np.all(posterior["held"] == 3)
    assert model[held.name] is held and np.issubdtype(posterior["held"].dtype, np.integer)


def test_estimate_as_inference_data():
    """That of p is (7 + 1)/(10 + 2), where the curvature of log p⁸(1 - p)⁴ by the log odds is 12 p (1 - p)."""
    with pm.Model():
        p = pm.Beta("p", 2, 2)
        pm.Binomial("k", 10, p, observed=7)
        data = of_pymc.map_estimate(
            tol=1e-9, progressbar=False, return_inferencedata=True, compute_hessian=True, **QUICK
        )
        plain = of_pymc.map_estimate(tol=1e-9, progressbar=False, return_inferencedata=True, **QUICK)
    assert data.posterior.sizes["draw"] == data.posterior.sizes["chain"] == 1
    np.testing.assert_allclose(data.posterior["p"].values, 2 / 3, rtol=1e-6)
    fit = data["fit"]
    assert list(fit["rows"].values) == ["p_logodds__"]
    np.testing.assert_allclose(fit["mean_vector"].values, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(fit["covariance_matrix"].values, 1 / (12 * 2 / 3 / 3), rtol=1e-6)
    assert "covariance_matrix" not in plain["fit"]
    attrs = data.posterior.attrs
    assert attrs["converged"] == "True" and attrs["steps"] > 1 and attrs["stopped"].startswith("the norm")
    assert attrs["loss"] == pytest.approx(-np.log(6 * 120 * (2 / 3) ** 8 / 3**4))


def test_refusals(regression, converged):
    with pytest.raises(ValueError, match="laplace: the run must be of the density of the unconstrained values"):
        of_pymc.laplace(of_pymc.MAP(regression, **QUICK))
    with pytest.raises(TypeError, match=r"laplace: run must be a symupdates\.pymc\.MAP, not 3"):
        of_pymc.laplace(3)
    with pytest.raises(ValueError, match="laplace: draws must be a whole number of at least 1"):
        of_pymc.laplace(converged, draws=0)
    with pytest.raises(ValueError, match="compute_hessian is for return_inferencedata=True"):
        of_pymc.map_estimate(regression, steps=1, tol=None, progressbar=False, compute_hessian=True, **QUICK)
    with pm.Model():
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=pm.Minibatch(np.arange(20.0), batch_size=5), total_size=20)
        batches = of_pymc.MAP(jacobian=True, **QUICK)
    with pytest.raises(ValueError, match="this model draws in each step, such as minibatches: give a"):
        of_pymc.laplace(batches)
    with pm.Model():
        v, w = pm.Normal("v", 0, 1, initval=0.0), pm.Normal("w", 0, 1, initval=0.0)
        pm.Normal("y", v * w, 0.1, observed=2.0)
        saddle = of_pymc.MAP(optimizer=symupdates.sgd(), jacobian=True, **QUICK)
    for dense in (True, False):
        with pytest.raises(ValueError, match="the estimate is no minimum, or the data"):
            of_pymc.laplace(saddle, dense=dense)


@pytest.mark.full
@pytest.mark.parametrize("mode", ["CVM", "NUMBA"])
def test_compiled(mode):
    """Of a scalar variable, of which compiled functions return numbers where others return arrays."""
    with pytensor.config.change_flags(mode=mode), pm.Model():
        x = pm.Normal("x", 3, 0.5)
        pm.Deterministic("twice", 2 * x)
        posterior = of_pymc.laplace(draws=2000, seed=1).posterior
    np.testing.assert_allclose(posterior["x"].mean(), 3, atol=4 * 0.5 / 2000**0.5)
    np.testing.assert_allclose(posterior["twice"].std(), 1, rtol=0.06)
