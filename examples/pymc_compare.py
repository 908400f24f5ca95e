"""ADVI of ten models in PyMC, by pm.fit as it is and by symupdates.pymc.fit as it is, against NUTS.

The models are those of pymc_map.py, of the kinds that are in PyMC's gallery. For each, the mean-field approximation
is fitted by pm.fit(10000), whose optimizer is adagrad_window at a rate of 0.001, and by symupdates.pymc.fit(), which
ends by itself. No rate or number of steps is chosen for any model. ::

    python examples/pymc_compare.py
    python examples/pymc_compare.py --plot compare.png
    python examples/pymc_compare.py --quick

It ends in a table: the ELBO, by the same draws for both; the largest error of a mean and of a standard deviation, of
any coordinate of the unconstrained values, in standard deviations of the posterior, as NUTS finds them; the steps that
symupdates.pymc.fit made, and the seconds, compilation included. A mean-field approximation of a posterior with
correlations cannot have all of its standard deviations.
"""

import argparse
import logging
import time
import warnings
from typing import NamedTuple

import numpy as np
import pymc as pm
from common import MODES, add_backend_option, add_plot_option, new_figure, positive, save_figure, seed
from pymc_map import MODELS
from rich.console import Console
from rich.progress import track
from rich.table import Table

import symupdates.pymc

# --- What is measured -------------------------------------------------------------------------------------------------


def posterior(model, draws, seed, **options):
    """Draws of all coordinates by NUTS."""
    trace = pm.sample(
        draws,
        tune=min(draws, 1000),
        chains=2,
        cores=1,
        random_seed=seed,
        progressbar=False,
        compute_convergence_checks=False,
        idata_kwargs={"include_transformed": True},
        **options,
    ).posterior
    values = [np.asarray(trace[v.name]) for v in model.value_vars]
    return np.concatenate([x.reshape(2 * draws, -1) for x in values], axis=1)


def moments(approx, model):
    """Means and standard deviations of the approximation, in that order too."""
    mean, sd = np.asarray(approx.mean.eval()), np.asarray(approx.std.eval())
    index = np.concatenate([np.arange(len(mean))[approx.ordering[v.name][1]] for v in model.value_vars])
    return mean[index], sd[index]


def new_elbo(model, draws, rng, mode):
    """A function of means and standard deviations, always by the same draws."""
    logp = model.compile_logp(mode=mode)
    point = model.initial_point()
    ends = np.cumsum([np.size(point[v.name]) for v in model.value_vars])
    noise = rng.normal(size=(draws // 2, ends[-1]))

    def height(x):
        parts = zip(model.value_vars, np.split(x, ends[:-1]), strict=True)
        return float(logp({v.name: part.reshape(np.shape(point[v.name])) for v, part in parts}))

    def elbo(mean, sd):
        heights = [height(mean + sd * z) for z in (*noise, *-noise)]
        return np.mean(heights) + np.log(sd).sum() + 0.5 * len(sd) * (1 + np.log(2 * np.pi))

    return elbo


class Result(NamedTuple):
    elbo: float
    error_of_mean: float
    error_of_sd: float
    seconds: float
    approx: object


def compare(build, draws, seed, mode):
    """The results of both fits."""
    options = {"compile_kwargs": {"mode": mode}}
    with pm.Model() as model:
        build(np.random.default_rng(1))
        sample = posterior(model, draws, seed, **options)
        elbo = new_elbo(model, 2000, np.random.default_rng(seed), mode)
        for fit in (pm.fit, symupdates.pymc.fit):
            start = time.perf_counter()
            approx = fit(random_seed=seed, progressbar=False, **options)
            seconds = time.perf_counter() - start
            mean, sd = moments(approx, model)
            error_of_mean = np.max(abs(mean - sample.mean(axis=0)) / sample.std(axis=0))
            error_of_sd = np.max(abs(sd / sample.std(axis=0) - 1))
            yield Result(elbo(mean, sd), error_of_mean, error_of_sd, seconds, approx)


# --- The program ------------------------------------------------------------------------------------------------------


def main(argv=None):
    names = [build.__name__ for build in MODELS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--models", nargs="+", choices=names, default=names, metavar="NAME", help=f"{', '.join(names)} (default: all)"
    )
    parser.add_argument(
        "--draws", type=positive(int), default=2000, metavar="N", help="of NUTS, in each of two chains (default: 2000)"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the fits and of NUTS (default: 0)")
    parser.add_argument("--quick", action="store_true", help="the first model and 100 draws")
    add_backend_option(parser, default="numba")
    add_plot_option(parser)
    args = parser.parse_args(argv)
    if args.quick:
        args.models, args.draws = names[:1], 100
    logging.getLogger("pymc").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="The RandomType SharedVariables")  # of which JAX's functions have copies

    table = Table(
        "model", *(c for what in ("ELBO", "mean", "sd", "seconds") for c in (f"{what}: pm.fit", "ours")), "steps"
    )
    results = {}
    chosen = [build for build in MODELS if build.__name__ in args.models]
    for build in track(chosen, "models", disable=not Console().is_terminal):
        default, ours = results[build.__name__] = list(compare(build, args.draws, args.seed, MODES[args.backend]))
        end = ours.approx.convergence
        table.add_row(
            build.__name__,
            *(f"{x.elbo:.2f}" for x in (default, ours)),
            *(f"{x.error_of_mean:.2f}" for x in (default, ours)),
            *(f"{x.error_of_sd:.2f}" for x in (default, ours)),
            *(f"{x.seconds:.0f}" for x in (default, ours)),
            f"{end.steps}{'' if end.converged else ' (not converged)'}",
        )
    Console(width=140).print(table)
    better = sum(ours.elbo > default.elbo for default, ours in results.values())
    print(f"The ELBO of symupdates.pymc.fit is the higher one on {better} of {len(results)} models.")
    if args.plot:
        draw(results, args.plot)


def draw(results, path):
    figure, [[left, right]] = new_figure(columns=2, title="ADVI of models in PyMC against NUTS")
    y = np.arange(len(results))
    for k, (name, color) in enumerate((("pm.fit(10000)", "C1"), ("symupdates.pymc.fit()", "C0"))):
        errors = [both[k].error_of_mean for both in results.values()]
        left.semilogx(errors, y, "o", color=color, label=name)
    gains = [ours.elbo - default.elbo for default, ours in results.values()]
    right.barh(y, gains, color="C0")
    right.set_xscale("symlog", linthresh=1)
    for ax in (left, right):
        ax.set_yticks(y, results)
        ax.invert_yaxis()
    right.set_yticks(y, [""] * len(y))
    left.set(xlabel="error / standard deviation", title="the largest error of a mean")
    right.set(xlabel="nats", title="the ELBO above that of pm.fit")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
