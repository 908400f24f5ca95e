"""Means and deviations by samplers and Gaussian fits, against those of a posterior that is known.

Bayesian linear regression: 200 examples, four weights, of which two have correlated inputs and one has inputs half as
large; noise of deviation 1, a standard normal prior. The posterior is a Gaussian, by a formula. Each method begins at
zero, and takes the gradients of all data, or of minibatches of 20 that are drawn anew in each step.

Rates of different methods mean different things. Here each is given by its speed: the part of the way to the mean that
the drift covers in a step, in the long run and along the direction in which it covers most. At 1 it covers all of it,
and a step without momentum diverges from 2 on. Each method runs at the same seven speeds, half a decade apart, from
slow to too fast; the runs of a method are one function: ``vectorize`` makes them of one run, ``loop`` many steps of
one.

A quarter of each run is left out as burn-in. The rate of IVON falls to zero by a cosine, and its draws are of the end;
that of cyclical SGLD falls so four times, and its draws are of the last fifth of each time but the first.

The table has, of each method, the fastest speed at which the deviations of all weights are right to a tenth, or if
there is none, that with the smallest error: there, the error of the mean that one run finds, in deviations of the
posterior, root of the mean square over runs and weights; and by what factor the deviations are too large, of the
weights with the smallest and the largest. The picture has these factors at all speeds.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, add_backend_option, add_plot_option, name_of, new_figure, positive, save_figure, seed
from rich.console import Console
from rich.progress import track
from rich.table import Table

import symupdates
from symupdates import schedules

EXAMPLES = 200
SPEEDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
BLOCKS, BURN_IN = 20, 5  # a run is so many calls; the first are left out
CYCLE, SAMPLED = 5, 1  # in blocks, too: of a cycle, the last samples


# --- The posterior ----------------------------------------------------------------------------------------------------


class Posterior(NamedTuple):
    """The data, and the moments by the formula."""

    x: np.ndarray
    y: np.ndarray
    precision: np.ndarray
    mean: np.ndarray
    deviations: np.ndarray

    def loss(self, w, place):
        """The negative log density, up to a constant; by examples in some places, or if that is None, by all."""
        if place is None:  # the same, of fewer numbers
            return ((w - self.mean) * (self.precision * (w - self.mean)).sum(axis=1)).sum() / 2
        x, y = pt.constant(self.x)[place], pt.constant(self.y)[place]
        return EXAMPLES / y.shape[0] * ((y - (x * w).sum(axis=1)) ** 2).sum() / 2 + (w**2).sum() / 2


def posterior(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(EXAMPLES, 4)) * [1.0, 0.8, 1.0, 0.5]
    x[:, 1] += 0.6 * x[:, 0]
    y = x @ [1.0, -1.0, 0.5, 2.0] + rng.normal(size=EXAMPLES)
    precision = x.T @ x + np.eye(4)
    covariance = np.linalg.inv(precision)
    return Posterior(x, y, precision, covariance @ x.T @ y, np.sqrt(np.diag(covariance)))


# --- Methods ----------------------------------------------------------------------------------------------------------


def after_burn_in(chain, one, many):
    return chain[len(chain) // BLOCKS * BURN_IN :]


def ends_of_cycles(chain, one, many):
    blocks = after_burn_in(chain, one, many).reshape(-1, CYCLE, len(chain) // BLOCKS, *chain.shape[1:])
    return blocks[:, -SAMPLED:].reshape(-1, *chain.shape[1:])


def of_swag(chain, one, many):
    draws = []
    for i in range(chain.shape[1]):
        symupdates.load_state_dict(one, symupdates.take_run(many, i))
        draws += symupdates.swag_draws(one, draws=1000, seed=i).values()
    return np.stack(draws, axis=1)


def of_ivon(chain, one, many):
    state = {name: v.get_value() for name, v in symupdates.named(many).items()}
    xi = np.random.default_rng(0).normal(size=(1000, *state["w"].shape))
    return state["w"] + xi / np.sqrt(state["w/ivon/h"])


class Setting(NamedTuple):
    """What the rates are in proportion to, and what else the methods have in common.

    Parameters
    ----------
    plain, scaled, newton : float
        One over the largest eigenvalue of the precision: as it is; where each step is divided by the root of the mean
        square of the coordinate's gradient, by all data; and where it is divided by the coordinate's curvature.
    noise : float
        The variance that a minibatch adds to a gradient, the mean of all weights.
    block : int
        The number of steps in a call.
    seed : int
        Of what the methods draw.
    """

    plain: float
    scaled: float
    newton: float
    noise: float
    block: int
    seed: int


def setting(precision, batch_size, block, seed):
    diagonal = np.diag(precision)  # the mean squares of the gradients, too
    plain, scaled, newton = (
        1 / np.linalg.eigvalsh(precision / np.outer(diagonal, diagonal) ** power)[-1] for power in (0, 0.25, 0.5)
    )
    noise = EXAMPLES / batch_size * diagonal.mean() if batch_size else 0.0
    return Setting(plain, scaled, newton, noise, block, seed)


class Method(NamedTuple):
    """An optimizer, for a setting and a speed; and what it draws, when the chain of its parameters is known."""

    optimizer: Callable
    draws: Callable = after_burn_in


def sgld(at, speed):
    return symupdates.sgld(learning_rate=2 * at.plain * speed, seed=at.seed)


def cyclical_sgld(at, speed):
    return symupdates.sgld(
        learning_rate=schedules.cosine_restarts(2 * at.plain * speed, period=CYCLE * at.block, multiplier=1),
        temperature=lambda step: pt.switch(step // at.block % CYCLE < CYCLE - SAMPLED, 0.0, 1.0),
        seed=at.seed,
    )


def psgld(at, speed, rho=0.99):
    return symupdates.psgld(learning_rate=2 * at.scaled * speed, rho=rho, seed=at.seed)


def sghmc(at, speed):
    return symupdates.sghmc(learning_rate=0.1 * at.plain * speed, friction=0.1, seed=at.seed)


def sghmc_with_estimate(at, speed):
    eta = 0.1 * at.plain * speed
    estimate = pt.minimum(eta * at.noise / 2, 0.1)
    return symupdates.sghmc(learning_rate=eta, friction=0.1, noise_estimate=estimate, seed=at.seed)


def baoab(at, speed):
    return symupdates.baoab(learning_rate=0.1 * at.plain * speed, friction=0.1, seed=at.seed)


def sgnht(at, speed, per_element=False):
    return symupdates.sgnht(learning_rate=0.1 * at.plain * speed, diffusion=0.1, per_element=per_element, seed=at.seed)


def scale_adapted_sghmc(at, speed):
    return symupdates.scale_adapted_sghmc(
        learning_rate=0.05 * at.scaled * speed, friction=0.05, burn_in=BURN_IN * at.block, seed=at.seed
    )


def swag(at, speed):
    return symupdates.chain(
        symupdates.sgd(learning_rate=at.plain * speed), symupdates.apply_swag(begin=BURN_IN * at.block)
    )


def ivon(at, speed):
    return symupdates.ivon(
        learning_rate=schedules.cosine_decay(at.newton / EXAMPLES * speed, steps=BLOCKS * at.block),
        initial_hessian=float(EXAMPLES),  # that of inputs of variance 1
        weight_decay=0.0,  # the loss has the prior
        beta2=0.999,
        seed=at.seed,
    )


METHODS = {
    "sgld": Method(sgld),
    "cyclical sgld": Method(cyclical_sgld, ends_of_cycles),
    "psgld": Method(psgld),
    "psgld, rho=0.999": Method(partial(psgld, rho=0.999)),
    "sghmc": Method(sghmc),
    "sghmc, noise_estimate": Method(sghmc_with_estimate),
    "baoab": Method(baoab),
    "sgnht": Method(sgnht),
    "sgnht, per_element": Method(partial(sgnht, per_element=True)),
    "scale_adapted_sghmc": Method(scale_adapted_sghmc),
    "apply_swag": Method(swag, of_swag),
    "ivon": Method(ivon, of_ivon),
}


# --- Runs -------------------------------------------------------------------------------------------------------------


def moments(name, exact, args, batch_size):
    """At each speed, the error of a run's mean, and by what factor each deviation is too large; infinite, if diverged.

    Without a batch size, by the gradients of all data.
    """
    method = METHODS[name]
    w, speed = pytensor.shared(np.zeros(4), name="w", shape=(4,)), pytensor.shared(1.0, name="speed")
    shape = args.steps // BLOCKS, len(args.speeds) * args.runs, batch_size
    place, places, order = (pt.tensor(shape=shape[i:], dtype="int64") for i in (2, 1, 0)) if batch_size else [None] * 3
    at = setting(exact.precision, batch_size, shape[0], args.seed)
    one = method.optimizer(at, speed)(exact.loss(w, place), [w])
    differing = {speed: np.repeat(args.speeds, args.runs)} | ({place: places} if batch_size else {})
    position, many = symupdates.vectorize(w, one, differing)
    chain, updates = symupdates.loop(position, many, {places: order} if batch_size else None, n_steps=shape[0])
    block = pytensor.function([order] if batch_size else [], chain, updates=updates, mode=MODES[args.backend])
    rng = np.random.default_rng(args.seed)
    orders = ([rng.integers(EXAMPLES, size=shape)] if batch_size else [] for _ in range(BLOCKS))
    with np.errstate(all="ignore"):
        draws = method.draws(np.concatenate([block(*order) for order in orders]), one, many)
        z = ((draws - exact.mean) / exact.deviations).reshape(len(draws), len(args.speeds), args.runs, 4)
        error, factor = np.sqrt((z.mean(axis=0) ** 2).mean(axis=(1, 2))), np.sqrt((z**2).mean(axis=(0, 2)))
    diverged = ~(factor < 100).all(axis=1)
    error[diverged], factor[diverged] = np.inf, np.inf
    return error, factor


def chosen(factor):
    """The fastest speed at which all deviations are right to a tenth, or the one with the smallest error."""
    with np.errstate(divide="ignore"):
        off = np.abs(np.log(factor)).max(axis=1)
    right = np.flatnonzero(off <= np.log(1.1))
    return right[-1] if len(right) else np.argmin(off)


def report(results, speeds):
    columns = ["speed on all data", "mean", "deviations", "speed on minibatches", "mean", "deviations"]
    table = Table("method", *columns, title="Where deviations are right to a tenth, or nearest to right")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, kinds in results.items():
        cells = []
        for error, factor in kinds:
            i = chosen(factor)
            cells += [f"{speeds[i]:g}", f"{error[i]:.2f}", f"{factor[i].min():.2f} to {factor[i].max():.2f}"]
        table.add_row(name, *cells)
    Console(width=max(120, Console().width)).print(table)


def draw(results, speeds, kinds, file):
    columns = min(4, len(results))
    figure, axes = new_figure(-(-len(results) // columns), columns, "Deviations, as multiples of the exact ones")
    figure.set_size_inches(3 * columns, 0.6 + 2.4 * len(axes))
    for ax in axes.flat[len(results) :]:
        ax.remove()
    for ax, (name, by_kind) in zip(axes.flat, results.items(), strict=False):
        ax.axhline(1, color="black", lw=0.8)
        for label, color, (_, factor) in zip(kinds, ("C0", "C1"), by_kind, strict=True):
            shown = np.where(np.isfinite(factor), factor, np.nan)
            low, high = shown.min(axis=1), shown.max(axis=1)
            ax.fill_between(speeds, low, high, color=color, alpha=0.4, lw=0)
            ax.plot(speeds, np.sqrt(low * high), ".-", color=color, lw=1, label=label)
        ax.set(xscale="log", yscale="log", ylim=(0.3, 4), xlim=(speeds[0] / 1.3, speeds[-1] * 1.3))
        ax.set_yticks([0.5, 1, 2], ["½", "1", "2"])
        ax.minorticks_off()
        ax.set_title(name, fontsize="medium")
    for ax in axes[-1]:
        ax.set_xlabel("speed")
    axes[0, 0].legend(fontsize="small")
    save_figure(figure, file)


def number_of_steps(text):
    steps = positive(int)(text)
    if steps % BLOCKS:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of {BLOCKS}.")
    return steps


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "Without --plot, the picture is written to posterior.png."
    parser.add_argument(
        "--methods",
        nargs="+",
        type=name_of(METHODS, "method"),
        default=list(METHODS),
        metavar="METHOD",
        help=f"{'; '.join(METHODS)} (default: all)",
    )
    parser.add_argument(
        "--speeds",
        nargs="+",
        type=positive(float),
        default=SPEEDS,
        metavar="SPEED",
        help=f"default: {' '.join(map(str, SPEEDS))}",
    )
    parser.add_argument("--runs", type=positive(int), default=32, metavar="N", help="at each speed (default: 32)")
    parser.add_argument("--steps", type=number_of_steps, default=10_000, metavar="N", help="default: 10000")
    parser.add_argument("--batch-size", type=positive(int), default=20, metavar="N", help="default: 20")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the data and the noise (default: 0)")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    add_plot_option(parser)
    parser.set_defaults(plot=Path("posterior.png"))
    args = parser.parse_args(argv)
    args.speeds = sorted(args.speeds)
    exact = posterior(args.seed)
    kinds = {"all data": None, f"minibatches of {args.batch_size}": args.batch_size}
    results = {}
    for name in track(args.methods, "methods", transient=True):
        results[name] = [moments(name, exact, args, size) for size in kinds.values()]
    report(results, args.speeds)
    draw(results, args.speeds, kinds, args.plot)


if __name__ == "__main__":
    main()
