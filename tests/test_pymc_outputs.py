"""symupdates.pymc: rules that know of a model's outputs, and of the divergence of its likelihoods."""

import importlib
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import symupdates

pm = pytest.importorskip("pymc", reason="PyMC is not installed")
of_pymc = importlib.import_module("symupdates.pymc")
likelihoods = importlib.import_module("symupdates.pymc.likelihoods")
MAP = of_pymc.MAP
QUICK = {"compile_kwargs": {"mode": "FAST_COMPILE"}}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 2))
TRUE = X @ [1.0, -0.5]
START = np.array([0.3, -0.2])
DATA = {
    "normal": TRUE + 0.5 * RNG.normal(size=12),
    "poisson": RNG.poisson(np.exp(TRUE)),
    "bernoulli": TRUE + RNG.logistic(size=12) > 0,
    "binomial": RNG.binomial(5, 1 / (1 + np.exp(-TRUE))),
    "categorical": RNG.integers(0, 3, size=12),
    "negative_binomial": RNG.poisson(2, size=12),
}


def model_of(name, p_itself=False):
    """A regression whose likelihood has this name, by logits, or by probabilities that no logits are seen in."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=2)
        eta = X @ b
        if name == "poisson":
            eta.name = "eta"  # PyTensor's name, of what is no variable of PyMC's
        elif name == "categorical":
            eta = pm.Deterministic("eta", pt.stack([eta, X @ b[::-1], pt.zeros(12)], axis=1))
        else:
            eta = pm.Deterministic("eta", eta)
        odds = {"p": pt.exp(eta) / (1 + pt.exp(eta))} if p_itself else {"logit_p": eta}
        share = {"p": pt.exp(eta) / pt.exp(eta).sum(axis=-1, keepdims=True)} if p_itself else {"logit_p": eta}
        data = {"observed": DATA[name]}
        match name:
            case "normal":
                pm.Normal("y", eta, 0.5, **data)
            case "poisson":
                pm.Poisson("y", pt.exp(eta), **data)
            case "bernoulli":
                pm.Bernoulli("y", **odds, **data)
            case "binomial":
                pm.Binomial("y", 5, **odds, **data)
            case "categorical":
                pm.Categorical("y", **share, **data)
            case "negative_binomial":
                pm.NegativeBinomial("y", mu=pt.exp(eta), alpha=3.0, **data)
    return model


def information(name, b):
    """The Fisher information of each row of data by its logits, and their Jacobian by the coefficients."""
    if name == "categorical":
        z = np.stack([X @ b, X @ b[::-1], np.zeros(12)], axis=1)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return np.array([np.diag(q) - np.outer(q, q) for q in p]), np.stack([X, X[:, ::-1], 0 * X], axis=1)
    eta = X @ b
    mu, p = np.exp(eta), 1 / (1 + np.exp(-eta))
    of_eta = {
        "normal": np.full(12, 1 / 0.5**2),
        "poisson": mu,
        "bernoulli": p * (1 - p),
        "binomial": 5 * p * (1 - p),
        "negative_binomial": mu * 3 / (mu + 3),
    }
    return of_eta[name][:, None, None], X[:, None, :]


def fisher(name, b):
    F, J = information(name, b)
    return np.einsum("nij,nia,njb->ab", F, J, J)


def slope(name, b):
    """The gradient of the negative log-probability, of exponential families in their natural parameters."""
    y = DATA[name]
    _, J = information(name, b)
    if name == "categorical":
        z = np.stack([X @ b, X @ b[::-1], np.zeros(12)], axis=1)
        residual = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) - np.eye(3)[y]
    else:
        eta = X @ b
        mean = {"normal": eta, "poisson": np.exp(eta)}.get(name, 1 / (1 + np.exp(-eta)))
        weight = {"normal": 4, "binomial": 5}.get(name, 1)
        residual = (weight * (mean - (y / 5 if name == "binomial" else y)))[:, None]
    return np.einsum("ni,nia->a", residual, J) + b / 4


@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "p_itself"),
    [(name, False) for name in DATA]
    + [pytest.param("binomial", True, marks=pytest.mark.full), ("bernoulli", True), ("categorical", True)],
)
def test_divergence_has_fisher_information(name, p_itself):
    """None from where it is, and curved as the Fisher information; above zero elsewhere."""
    model = model_of(name, p_itself)
    values = of_pymc.shared_values(model, start={"b": START})
    (b,) = values.values()
    divergence = likelihoods.divergence(model, values, [b])
    curvature = pytensor.gradient.jacobian(pytensor.grad(divergence, b), b)
    distance, matrix = pytensor.function([], [divergence, curvature], mode="FAST_COMPILE")()
    np.testing.assert_allclose(distance, 0, atol=1e-12)
    np.testing.assert_allclose(matrix, fisher(name, START), rtol=1e-7)  # PyMC takes log 3.0 in float32


@pytest.mark.ci
def test_divergence_of_normals():
    """Of both parameters, one number for all rows: n F of the mean is n / s², of log s 2n; and of minibatches."""
    whole, batch = np.arange(12.0), pm.Minibatch(np.arange(12.0), batch_size=4)
    for data, total_size in ((whole, None), (batch, 12)):
        with pm.Model() as model:
            mu, sigma = pm.Normal("mu"), pm.LogNormal("sigma")
            pm.Normal("y", mu, sigma, observed=data, total_size=total_size)
        values = of_pymc.shared_values(model, start={"mu": 0.5, "sigma": 0.4})
        params = list(values.values())
        slopes = pytensor.grad(likelihoods.divergence(model, values, params), params)
        curvature = [pytensor.grad(g, p) for g, p in zip(slopes, params, strict=True)]
        got = pytensor.function([], curvature, mode="FAST_COMPILE")()
        np.testing.assert_allclose(got, [12 / 0.4**2, 24], rtol=1e-9)


@pytest.mark.ci
@pytest.mark.parametrize("name", ["normal", "poisson", "bernoulli", "binomial", "categorical"])
def test_a_step_by_hand(name):
    """By logits, the Hessian by the outputs is the Fisher information: both rules make one step, that of algebra."""
    model = model_of(name)
    g, F = slope(name, START), fisher(name, START)
    expected = START - np.linalg.solve(F + 1e-3 * np.eye(2), g)
    gauss_newton, natural_gradient = symupdates.gauss_newton(iterations=2), symupdates.natural_gradient(iterations=2)
    for optimizer, outputs in ((gauss_newton, "eta"), (symupdates.chain(natural_gradient), None)):
        run = MAP(model, optimizer, start={"b": START}, outputs=outputs, **QUICK)
        plain = pytensor.function([], of_pymc.negative_logp(run.values, model), mode="FAST_COMPILE")()
        run.fit(1, progressbar=False)
        np.testing.assert_allclose(run.losses, [plain], rtol=1e-12)
        np.testing.assert_allclose(run.estimate()["b"], expected, rtol=1e-8)


def scattered():
    """Of two outputs: one the mean, the other a free variable, which is transformed."""
    with pm.Model() as model:
        b, sigma = pm.Normal("b", 0, 2, shape=2), pm.HalfNormal("sigma", 1)
        pm.Normal("y", pm.Deterministic("mu", X @ b), sigma, observed=DATA["normal"])
        pm.Potential("small", -0.1 * (b**2).sum())
    return model, ["mu", sigma]


@pytest.mark.ci
@pytest.mark.parametrize(
    "build",
    [scattered, lambda: (model_of("poisson"), "eta"), lambda: (model_of("categorical"), ["eta"])],
    ids=["scattered", "poisson", "categorical"],
)
def test_reaches_find_map(build):
    model, outputs = build()
    with warnings.catch_warnings(action="ignore"):  # of what a later PyMC will return
        expected = pm.find_MAP(model=model, progressbar=False, tol=1e-12)
    optimizer = symupdates.levenberg_marquardt(iterations=3)
    got = of_pymc.map_estimate(model, optimizer, 300, outputs=outputs, progressbar=False, **QUICK)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_divergence_where_a_mean_or_a_probability_is_zero():
    """As it is of what is zero by the data: counts without an exposure, categories that cannot be."""
    with pm.Model() as model:
        b = pm.Normal("b")
        pm.Poisson("y", pt.exp(b) * np.array([0.0, 2.0]), observed=[0, 3])
        share = pt.sigmoid(b)
        pm.Categorical("k", pt.stack([share, 1 - share, pt.zeros_like(share)]), observed=1)
    values = of_pymc.shared_values(model, start={"b": 0.5})
    (value,) = values.values()
    divergence = likelihoods.divergence(model, values, [value])
    curvature = pytensor.grad(pytensor.grad(divergence, value), value)
    second = pytensor.function([], curvature, mode="FAST_COMPILE")()
    q = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(second, 2 * np.exp(0.5) + q * (1 - q), rtol=1e-12)


def test_refusals():
    model = model_of("poisson")
    gauss_newton, natural_gradient = symupdates.gauss_newton(), symupdates.natural_gradient()
    for error, message, optimizer, outputs in (
        (ValueError, 'name the outputs of the model, such as outputs="mu"', gauss_newton, None),
        (ValueError, r"adam\(.*\) asks for no outputs; they are for rules", symupdates.adam(), "eta"),
        (ValueError, "no variables of the model are called mu.* it has none", gauss_newton, "mu"),
        (ValueError, "no likelihood is a function of none", gauss_newton, []),
        (TypeError, "outputs must be names or variables of the model, not 3", gauss_newton, 3),
        (TypeError, r"outputs must be names or variables of the model, not \['eta'\]", gauss_newton, [["eta"]]),
        (ValueError, "no likelihood is a function of Mul", gauss_newton, 3 * model["b"]),
    ):
        with pytest.raises(error, match=message):
            MAP(model, optimizer, outputs=outputs, **QUICK)
    with pm.Model() as other:
        mu, alpha = pm.Normal("mu"), pm.HalfNormal("alpha")
        pm.Deterministic("twice", 2 * mu)
        pm.NegativeBinomial("y", mu=pt.exp(mu), alpha=alpha, observed=3)
    with pytest.raises(ValueError, match="no likelihood is a function of twice"):
        MAP(other, gauss_newton, outputs="twice", **QUICK)
    with pytest.raises(ValueError, match="divergence of y is known for an n that is given"):
        MAP(other, natural_gradient, **QUICK)
    MAP(other, natural_gradient, vars=["mu"], **QUICK)
    with pm.Model() as other:
        pm.Cauchy("y", pm.Normal("mu"), 1, observed=3)
    with pytest.raises(ValueError, match="no divergence is known in closed form for y, of CauchyRV; there are those"):
        MAP(other, natural_gradient, **QUICK)
    with pm.Model() as other:
        pm.Normal("mu")
    with pytest.raises(ValueError, match="the model has no likelihood; give natural_gradient"):
        MAP(other, natural_gradient, **QUICK)
