"""The modes of ten models in PyMC, by map_estimate as it is and by find_MAP.

Each model is of the kind that is in PyMC's gallery, with data drawn from it. For each, the mode is found by
symupdates.pymc.map_estimate, with no optimizer, rate or number of steps chosen, and by scipy's L-BFGS, as
pm.find_MAP(tol=1e-8). ::

    python examples/pymc_map.py
    python examples/pymc_map.py --quick

It ends in a table: the negative log-probability above the lower of the two, the largest difference of any variable,
relative where it is above one, the evaluations of the gradient, and the seconds, most of which are compilation.
"""

import argparse
import logging
import time
import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from common import MODES, add_backend_option
from rich.console import Console
from rich.table import Table

from symupdates.pymc import MAP

X = np.random.default_rng(0).normal(size=(100, 3))
T = np.linspace(0, 10, 40)


# --- Models -----------------------------------------------------------------------------------------------------------


def regression(rng):
    intercept, slope, sigma = pm.Normal("intercept", 0, 10), pm.Normal("slope", 0, 5, shape=3), pm.HalfNormal("sigma")
    y = 1 + X @ [1.0, -2.0, 0.5] + 0.7 * rng.normal(size=100)
    pm.Normal("y", intercept + (X * slope).sum(axis=-1), sigma, observed=y)


def robust_regression(rng):
    slope, sigma, nu = pm.Normal("slope", 0, 5, shape=3), pm.HalfNormal("sigma"), pm.Gamma("nu", 2, 0.1)
    y = X @ [1.0, -2.0, 0.5] + 0.5 * rng.standard_t(3, size=100)
    pm.StudentT("y", nu=nu, mu=(X * slope).sum(axis=-1), sigma=sigma, observed=y)


def logistic_regression(rng):
    intercept, slope = pm.Normal("intercept", 0, 2), pm.Normal("slope", 0, 2, shape=3)
    y = rng.uniform(size=100) < 1 / (1 + np.exp(-X @ [1.0, -2.0, 0.5]))
    pm.Bernoulli("y", logit_p=intercept + (X * slope).sum(axis=-1), observed=y.astype("int64"))


def poisson_regression(rng):
    intercept, slope = pm.Normal("intercept", 0, 2), pm.Normal("slope", 0, 2, shape=3)
    counts = rng.poisson(np.exp(1 + X @ [0.5, -0.3, 0.1]))
    pm.Poisson("counts", pt.exp(intercept + (X * slope).sum(axis=-1)), observed=counts)


def hierarchical(rng):
    """With a prior that keeps the mode of tau off zero, as Chung et al. (2013) have it."""
    mu, tau, sigma = pm.Normal("mu", 0, 5), pm.Gamma("tau", 2, 0.5), pm.HalfNormal("sigma", 2)
    intercept, slope = pm.Normal("intercept", mu, tau, shape=10), pm.Normal("slope", 0, 2, shape=3)
    group = np.arange(100) % 10
    y = rng.normal(1, 2, size=10)[group] + X @ [1.0, -2.0, 0.5] + rng.normal(size=100)
    pm.Normal("y", intercept[group] + (X * slope).sum(axis=-1), sigma, observed=y)


def eight_schools(rng):
    """With the same kind of prior."""
    mu, tau, z = pm.Normal("mu", 0, 5), pm.Gamma("tau", 2, 0.1), pm.Normal("z", 0, 1, shape=8)
    error = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    pm.Normal("effect", mu + tau * z, error, observed=np.array([28.0, 8, -3, 7, -1, 1, 18, 12]))


def proportions(rng):
    p, q = pm.Dirichlet("p", np.array([2.0, 3.0, 4.0])), pm.Beta("q", 2, 2)
    pm.Multinomial("votes", 200, p, observed=np.array([50, 40, 110]))
    pm.Binomial("wins", 10, q, observed=7)


def ordered_mixture(rng):
    w = pm.Dirichlet("w", np.full(2, 3.0))
    center = pm.Normal("center", 0, 5, shape=2, transform=pm.distributions.transforms.ordered, initval=[-1.0, 1.0])
    sigma = pm.Gamma("sigma", 3, 3)
    y = np.where(rng.uniform(size=200) < 0.3, rng.normal(-2, 0.7, 200), rng.normal(2, 0.7, 200))
    pm.NormalMixture("y", w=w, mu=center, sigma=sigma, observed=y)


def gaussian_process(rng):
    length, height, sigma = pm.InverseGamma("length", 3, 3), pm.HalfNormal("height", 2), pm.HalfNormal("sigma", 1)
    gp = pm.gp.Marginal(cov_func=height**2 * pm.gp.cov.ExpQuad(1, ls=length))
    gp.marginal_likelihood("y", X=T[:, None], y=np.sin(T) + 0.1 * rng.normal(size=40), sigma=sigma)


def autoregression(rng):
    rho, sigma = pm.Uniform("rho", -1, 1), pm.HalfNormal("sigma", 1)
    y = np.zeros(200)
    for t in range(1, 200):
        y[t] = 0.8 * y[t - 1] + 0.5 * rng.normal()
    pm.Normal("y", rho * y[:-1], sigma, observed=y[1:])


MODELS = [regression, robust_regression, logistic_regression, poisson_regression, hierarchical, eight_schools]
MODELS += [proportions, ordered_mixture, gaussian_process, autoregression]


# --- The program ------------------------------------------------------------------------------------------------------


def compare(build, mode):
    """The two heights above the lower one, the largest difference, the evaluations, and the seconds of both."""
    with pm.Model() as model:
        build(np.random.default_rng(1))
        start = time.perf_counter()
        run = MAP(compile_kwargs={"mode": mode}).fit(tol=1e-8, progressbar=False)
        ours, our_time = run.estimate(), time.perf_counter() - start
        in_mode = {} if pm.__version__.startswith("5") else {"compile_kwargs": {"mode": mode}}  # PyMC 5 takes none
        start = time.perf_counter()
        with warnings.catch_warnings(action="ignore"):  # of what a later PyMC will return
            theirs = pm.find_MAP(tol=1e-8, progressbar=False, **in_mode)
        their_time = time.perf_counter() - start
    height = model.compile_logp(jacobian=False, mode="FAST_COMPILE")
    names = [v.name for v in model.value_vars]
    heights = [-float(height({name: found[name] for name in names})) for found in (ours, theirs)]
    difference = max(np.max(abs(ours[n] - theirs[n]) / np.maximum(1, abs(theirs[n]))) for n in theirs)
    return *(h - min(heights) for h in heights), difference, len(run.losses), our_time, their_time


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="the first, the fourth and the seventh only")
    add_backend_option(parser, default="numba")
    args = parser.parse_args(argv)
    logging.getLogger("pymc").setLevel(logging.ERROR)
    table = Table("model", "above: ours", "find_MAP", "largest difference", "evaluations", "seconds: ours", "find_MAP")
    worst = 0.0
    for build in MODELS[0:7:3] if args.quick else MODELS:
        *heights, difference, evaluations, our_time, their_time = compare(build, MODES[args.backend])
        cells = [f"{x:.1e}" for x in (*heights, difference)]
        table.add_row(build.__name__, *cells, str(evaluations), f"{our_time:.1f}", f"{their_time:.1f}")
        worst = max(worst, difference)
    Console(width=120).print(table)
    print(f"The largest difference of all is {worst:.1e}.")


if __name__ == "__main__":
    main()
