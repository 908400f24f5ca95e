"""Fit a hierarchical regression in PyMC by minibatch ADVI: a schedule, clipping and averaging against PyMC's default.

50 000 observations in 40 groups, with an intercept for each group, drawn around a common mean, and five slopes. The
mean-field approximation is fitted twice, on minibatches of 200: by PyMC's default optimizer, adagrad_window at a rate
of 0.001, and by Adam with a learning rate that warms up and falls along a cosine, clipped gradients, and an average of
the variational parameters. ::

    python examples/pymc_hierarchical.py
    python examples/pymc_hierarchical.py --plot elbo.png
    python examples/pymc_hierarchical.py --quick

The data enter the ELBO through a few sums, so that it is evaluated on all of them, not on a minibatch, in milliseconds;
and the reference posterior, by a Gibbs sampler, takes a second. It ends with the ELBO of either fit, and how far the
approximation is from the posterior. On two cores it takes one to two minutes, a good part of it compilation.
"""

import argparse
import logging
import time

import numpy as np
import pymc as pm
import pytensor
from common import MODES, add_backend_option, add_plot_option, new_figure, positive, save_figure, seed
from rich.console import Console
from rich.table import Table

import symupdates
from symupdates import gradients, schedules
from symupdates.pymc import Optimizer

GROUPS, SLOPES, BATCH = 40, 5, 200


# --- Data and model ---------------------------------------------------------------------------------------------------


def make_data(n, rng):
    """Group, features and outcome of n observations."""
    group = rng.integers(GROUPS, size=n)
    x = rng.normal(size=(n, SLOPES))
    intercept = rng.normal(1.0, 0.7, size=GROUPS)
    slope = rng.normal(0.0, 0.5, size=SLOPES)
    return group, x, intercept[group] + x @ slope + rng.normal(0.0, 1.5, size=n)


def hierarchical_model(group, x, y):
    """The model on minibatches of the data."""
    batch_group, batch_x, batch_y = pm.Minibatch(group, x, y, batch_size=BATCH)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfNormal("tau", 2)
        intercept = pm.Normal("intercept", mu, tau, shape=GROUPS)
        slope = pm.Normal("slope", 0, 1, shape=SLOPES)
        sigma = pm.HalfNormal("sigma", 2)
        mean = intercept[batch_group] + (batch_x * slope).sum(axis=-1)
        pm.Normal("y", mean, sigma, observed=batch_y, total_size=len(y))
    return model


# --- Two fits ---------------------------------------------------------------------------------------------------------


def our_optimizer(steps):
    """Warm-up and cosine, clipping, and an average over about the last tenth of the run."""
    return Optimizer(
        symupdates.chain(
            gradients.clip_by_total_norm(max_norm=500.0),  # most are below 400; of the first, some are near 20 000
            symupdates.adam(learning_rate=schedules.warmup(schedules.cosine_decay(0.02, steps), steps // 20)),
            symupdates.apply_ema(decay=1 - 20 / steps),
        )
    )


class Curve:
    """A callback of pm.fit: the ELBO on all data, every so many steps; at the averages where there are some."""

    def __init__(self, elbo, every, optimizer=None):
        self.elbo, self.every, self.optimizer = elbo, every, optimizer
        self.steps, self.values, self.of_averages = [], [], []

    def __call__(self, approx, losses, i):
        if i % self.every:
            return
        self.steps.append(i)
        self.values.append(self.elbo(*moments(approx)))
        if self.optimizer is not None:
            symupdates.swap_averages(self.optimizer.updates)
            self.of_averages.append(self.elbo(*moments(approx)))
            symupdates.swap_averages(self.optimizer.updates)


def moments(approx):
    """Means and standard deviations of the approximation, which PyMC keeps as softplus(rho)."""
    params = {p.name: np.asarray(p.get_value()) for p in approx.params}
    return params["mu"], np.logaddexp(0, params["rho"])


def fit(model, steps, curve, mode, seed, **options):
    start = time.perf_counter()
    with model:
        approx = pm.fit(
            steps,
            random_seed=seed,
            callbacks=[curve],
            progressbar=Console().is_terminal,
            compile_kwargs={"mode": mode},
            **options,
        )
    return approx, time.perf_counter() - start


# --- The ELBO on all data, and the posterior --------------------------------------------------------------------------


class Sums:
    """What the likelihood needs of the data: with z the indicators of the groups and the features, a few sums."""

    def __init__(self, group, x, y):
        z = np.column_stack([group[:, None] == np.arange(GROUPS), x]).astype("float64")
        self.n, self.zz, self.zy, self.yy = len(y), z.T @ z, z.T @ y, y @ y

    def residual(self, coefficients):
        """The sum of the squared residuals, for each row of intercepts and slopes."""
        return self.yy - 2 * coefficients @ self.zy + np.einsum("si,ij,sj->s", coefficients, self.zz, coefficients)


def log_normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def log_half_normal(log_x, sd):
    """The density of the logarithm of a half-normal variable."""
    return log_normal(np.exp(log_x), 0, sd) + np.log(2) + log_x


def full_elbo(sums, draws, rng):
    """A function of means and standard deviations: the ELBO on all data, always by the same draws."""
    size = 3 + GROUPS + SLOPES
    noise = rng.normal(size=(draws // 2, size))
    noise = np.concatenate([noise, -noise])

    def elbo(mean, sd):
        mu, log_tau, intercept, slope, log_sigma = parts(mean + sd * noise)
        log_p = -0.5 * sums.residual(np.concatenate([intercept, slope], axis=1)) / np.exp(2 * log_sigma)
        log_p -= sums.n * (log_sigma + 0.5 * np.log(2 * np.pi))
        log_p += log_normal(mu, 0, 5) + log_half_normal(log_tau, 2) + log_half_normal(log_sigma, 2)
        log_p += log_normal(intercept, mu[:, None], np.exp(log_tau)[:, None]).sum(axis=1)
        log_p += log_normal(slope, 0, 1).sum(axis=1)
        return log_p.mean() + np.log(sd).sum() + 0.5 * size * (1 + np.log(2 * np.pi))

    return elbo


def parts(values):
    """The columns, in the order of PyMC: mu, log tau, intercepts, slopes, log sigma."""
    mu, log_tau, intercept, slope, log_sigma = np.split(values, np.cumsum([1, 1, GROUPS, SLOPES]), axis=1)
    return mu[:, 0], log_tau[:, 0], intercept, slope, log_sigma[:, 0]


def gibbs(sums, draws, rng):
    """Draws from the posterior, as rows in the order of PyMC; the standard deviations on a grid of their logarithm."""
    intercept_prior = np.arange(GROUPS + SLOPES) < GROUPS
    mu, tau, sigma = 0.0, 1.0, 1.0
    rows = []
    for _ in range(draws + 200):
        prior_precision = np.where(intercept_prior, tau**-2.0, 1.0)
        factor = np.linalg.cholesky(sums.zz / sigma**2 + np.diag(prior_precision))
        right = sums.zy / sigma**2 + prior_precision * np.where(intercept_prior, mu, 0.0)
        white = np.linalg.solve(factor, right) + rng.normal(size=len(right))
        coefficients = np.linalg.solve(factor.T, white)
        intercept = coefficients[:GROUPS]
        precision = GROUPS / tau**2 + 1 / 25
        mu = intercept.sum() / tau**2 / precision + rng.normal() / np.sqrt(precision)
        tau = half_normal_scale(((intercept - mu) ** 2).sum(), GROUPS, rng)
        sigma = half_normal_scale(sums.residual(coefficients[None])[0], sums.n, rng)
        rows.append([mu, np.log(tau), *coefficients, np.log(sigma)])
    return np.array(rows[200:])


def half_normal_scale(squares, n, rng):
    """A draw of a scale with the prior HalfNormal(2), given a sum of n squares."""
    width = 8 / np.sqrt(2 * n)
    log_scale = 0.5 * np.log(squares / n) + np.linspace(-width, width, 2001)
    log_p = -n * log_scale - 0.5 * squares * np.exp(-2 * log_scale) + log_half_normal(log_scale, 2)
    p = np.exp(log_p - log_p.max())
    return np.exp(rng.choice(log_scale, p=p / p.sum()))


# --- The program ------------------------------------------------------------------------------------------------------


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=positive(int), default=20_000, metavar="N", help="of each fit (default: 20000)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the data and the fits (default: 0)")
    parser.add_argument(
        "--quick", action="store_true", help="2000 observations and 2000 steps, unless --steps says otherwise"
    )
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    add_plot_option(parser)
    args = parser.parse_args(argv)
    if args.quick and args.steps == parser.get_default("steps"):
        args.steps = 2000
    if args.steps < 40:
        parser.error(f"--steps {args.steps}: at least 40.")
    logging.getLogger("pymc").setLevel(logging.ERROR)

    rng = np.random.default_rng(args.seed)
    data = make_data(2000 if args.quick else 50_000, rng)
    sums = Sums(*data)
    elbo = full_elbo(sums, 1000, rng)
    posterior = gibbs(sums, 1000 if args.quick else 4000, rng)
    model = hierarchical_model(*data)
    every = max(args.steps // 200, 1)
    print(f"{sums.n} observations in {GROUPS} groups, {args.steps} steps on minibatches of {BATCH}")

    default = Curve(elbo, every)
    theirs, their_time = fit(model, args.steps, default, MODES[args.backend], args.seed)
    optimizer = our_optimizer(args.steps)
    chain = Curve(elbo, every, optimizer)
    ours, our_time = fit(model, args.steps, chain, MODES[args.backend], args.seed, obj_optimizer=optimizer)
    last = moments(ours)
    symupdates.swap_averages(optimizer.updates)  # from here on, the approximation is that of the averages

    table = Table("optimizer", "ELBO", "largest error of a mean", "standard deviations", "seconds")
    results = {}
    for name, (mean, sd), seconds in (
        ("PyMC's default", moments(theirs), their_time),
        ("chain, last parameters", last, our_time),
        ("chain, averages", moments(ours), our_time),
    ):
        errors = abs(mean - posterior.mean(axis=0)) / posterior.std(axis=0)
        ratio = np.exp(np.log(sd / posterior.std(axis=0)).mean())
        results[name] = elbo(mean, sd), errors.max(), ratio
        table.add_row(name, f"{results[name][0]:.2f}", f"{errors.max():.2f}", f"{ratio:.3f}", f"{seconds:.1f}")
    Console(width=100).print(table)
    print(
        "The error is in standard deviations of the posterior; the standard deviations are the geometric mean of their"
    )
    print("ratios to the posterior's. The seconds include compilation and the evaluation of the curves.")
    gain = results["chain, averages"][0] - results["PyMC's default"][0]
    print(f"The ELBO of the chain's averages is {gain:+.2f} above that of PyMC's default.")
    if args.plot:
        draw(default, chain, args.plot)
    return results


def draw(default, chain, path):
    figure, [[left, right]] = new_figure(columns=2, title="ADVI of a hierarchical regression, ELBO on all data")
    curves = (
        ("PyMC's default", default.steps, default.values, "C1"),
        ("chain, last parameters", chain.steps, chain.values, "C0"),
        ("chain, averages", chain.steps, chain.of_averages, "k"),
    )
    best = max(max(values) for _, _, values, _ in curves)
    for name, steps, values, color in curves:
        left.plot(steps, values, label=name, color=color, linewidth=1)
        right.semilogy(steps, best + 0.01 - np.array(values), label=name, color=color, linewidth=1)
    left.set(
        xlabel="step", ylabel="ELBO", title="all of the run", ylim=(best - 0.1 * abs(best), best + 0.005 * abs(best))
    )
    right.set(xlabel="step", ylabel="ELBO below the best, + 0.01", title="the distance to the best")
    left.legend()
    save_figure(figure, path)


if __name__ == "__main__":
    main()
