"""Sweep the learning rate of several rules, with several seeds each: all runs side by side in one compiled function.

The network of mlp.py, smaller, on scikit-learn's digits. ``symupdates.vectorize`` makes of the updates of one run those
of many, which differ in their learning rates and in the weights that they begin with; the runs of all rules are one
function. How the final loss depends on the rate tells more of a rule than its best number: a wide valley forgives. ::

    python examples/sweep.py
    python examples/sweep.py --optimizers adam lion muon --rates 1e-5 1 --backend jax --plot sweep.png
    python examples/sweep.py --range-test

With ``--range-test``, the rate grows from the lowest to the highest in the course of a single run for each seed, once
through the data (Smith, 2017): a good rate is some way below the one at which the loss turns up.
"""

import argparse
import time

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import (
    MODES,
    Epochs,
    add_backend_option,
    add_plot_option,
    new_figure,
    optimizer,
    positive,
    rule_name,
    save_figure,
    seed,
)
from mlp import digits, network, new_parameters
from rich.console import Console
from rich.table import Table

import symupdates
from symupdates import schedules

HIDDEN = (32, 32)
DTYPE = "float32"


class Sweep:
    """The runs of one rule: what they compute in a step, its updates, and how far each has come.

    Parameters
    ----------
    name : str
        The rule.
    model : function
        Gives a loss and its parameters, which begin as those of a seed.
    rates : array or callable
        The learning rates; or a schedule, the same in all runs.
    seeds : list of int
        Each rate is tried with each.
    """

    def __init__(self, name, model, rates, seeds):
        starts = [[p.get_value() for p in model(seed)[1]] for seed in seeds]
        self.loss, params = model(seeds[0])
        if callable(rates):
            self.one = optimizer(name, rates)(self.loss, params)
            differing = {p: list(values) for p, values in zip(params, zip(*starts, strict=True), strict=True)}
        else:
            rate = pytensor.shared(np.asarray(rates[0], DTYPE), name="learning_rate")
            self.one = optimizer(name, rate)(self.loss, params)
            differing = {rate: np.repeat(rates, len(seeds))}
            for p, values in zip(params, zip(*starts, strict=True), strict=True):
                differing[p] = np.tile(values, (len(rates), *[1] * p.ndim))
        self.losses, self.updates = symupdates.vectorize(self.loss, self.one, differing)


def batches(x, y, size, rng):
    """One time through the data, in a new order."""
    order = rng.permutation(len(x))[: len(x) // size * size].reshape(-1, size)
    for batch in order:
        yield x[batch], y[batch]


def seconds_of_one(sweep, inputs, mode, data):
    """How long a step of a single run takes, the median of some."""
    step = pytensor.function(inputs, sweep.loss, updates=sweep.one, mode=mode)
    times = []
    for given in data:
        start = time.perf_counter()
        np.asarray(step(*given))  # JAX gives a promise
        times.append(time.perf_counter() - start)
    return np.median(times)


def report(final, rates):
    """For each rule, the best rate and the loss there, of all seeds; and how wide the valley is."""
    table = Table("rule", "best rate", "loss", "worst seed", "rates within twice the best")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, losses in final.items():
        median = np.median(losses, axis=1)
        best = np.argmin(np.where(np.isfinite(median), median, np.inf))
        near = rates[median <= 2 * median[best]]
        table.add_row(
            name,
            f"{rates[best]:.2g}",
            f"{median[best]:.4f}",
            f"{np.max(losses[best]):.4f}",
            f"{near.min():.2g} to {near.max():.2g}",
        )
    Console().print(table)


def draw_sweep(final, rates, file):
    figure, [[ax]] = new_figure(title="Loss after training, of all seeds")
    for i, (name, losses) in enumerate(final.items()):
        losses = np.where(np.isfinite(losses), losses, np.nan)
        whole = np.isfinite(losses).all(axis=1)  # where every seed has come to an end
        ax.loglog(rates[whole], np.median(losses[whole], axis=1), "o-", ms=3, color=f"C{i}", label=name)
        ax.fill_between(
            rates[whole], losses[whole].min(axis=1), losses[whole].max(axis=1), color=f"C{i}", alpha=0.2, lw=0
        )
    ax.set(xlabel="learning rate", ylabel="cross-entropy", ylim=(None, 5))
    ax.legend()
    save_figure(figure, file)


def draw_range(losses, rates, file):
    figure, [[ax]] = new_figure(title="Loss while the rate grows, of all seeds")
    for i, (name, values) in enumerate(losses.items()):
        ax.semilogx(rates, np.median(values, axis=1), color=f"C{i}", label=name)
        ax.fill_between(rates, values.min(axis=1), values.max(axis=1), color=f"C{i}", alpha=0.2, lw=0)
    ax.set(xlabel="learning rate", ylabel="cross-entropy", ylim=(0, 5))
    ax.legend()
    save_figure(figure, file)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["sgd", "momentum", "adam"]
    parser.add_argument(
        "--optimizers",
        nargs="+",
        type=rule_name,
        default=default,
        metavar="RULE",
        help=f"default: {' '.join(default)}",
    )
    parser.add_argument(
        "--rates",
        nargs=2,
        type=positive(float),
        default=[1e-4, 10.0],
        metavar=("LOW", "HIGH"),
        help="the lowest and the highest (default: 1e-4 10)",
    )
    parser.add_argument("--count", type=positive(int), default=16, metavar="N", help="of the rates (default: 16)")
    parser.add_argument("--seeds", type=positive(int), default=4, metavar="N", help="a run for each (default: 4)")
    parser.add_argument("--epochs", type=positive(int), default=10, metavar="N", help="default: 10")
    parser.add_argument("--batch-size", type=positive(int), default=32, metavar="N", help="default: 32")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="the first of the seeds (default: 0)")
    parser.add_argument("--range-test", action="store_true", help="let the rate grow, once through the data")
    add_backend_option(parser)
    add_plot_option(parser)
    args = parser.parse_args(argv)
    x, y, _, _ = digits(args.seed)
    if args.batch_size > len(x):
        parser.error(f"--batch-size {args.batch_size}: there are only {len(x)} images.")
    low, high = args.rates
    if low >= high:
        parser.error(f"--rates {low:g} {high:g}: the first must be the lower.")
    x, y = x.astype(DTYPE), y.astype("int32")
    steps = len(x) // args.batch_size
    seeds = list(range(args.seed, args.seed + args.seeds))

    images = pt.tensor("images", dtype=DTYPE, shape=(args.batch_size, x.shape[1]))
    labels = pt.tensor("labels", dtype="int32", shape=(args.batch_size,))

    def model(seed):
        params = new_parameters((x.shape[1], *HIDDEN, 10), np.random.default_rng(seed), DTYPE)
        return -network(images, params)[np.arange(args.batch_size), labels].mean(), params

    rates = np.geomspace(low, high, steps if args.range_test else args.count)
    given = schedules.exponential_decay(low, (high / low) ** (1 / max(steps - 1, 1)), 1) if args.range_test else rates
    sweeps = [Sweep(name, model, given, seeds) for name in args.optimizers]
    runs = sum(len(next(iter(sweep.updates)).get_value(borrow=True)) for sweep in sweeps)
    updates = {v: value for sweep in sweeps for v, value in sweep.updates.items()}
    mode = MODES[args.backend]
    print(f"{runs} runs in one function, on {args.backend}")
    start = time.perf_counter()
    step = pytensor.function([images, labels], [sweep.losses for sweep in sweeps], updates=updates, mode=mode)
    rng = np.random.default_rng(args.seed)
    epochs = Epochs(1 if args.range_test else args.epochs)
    spent = []
    for _ in epochs:
        losses = []
        for batch in batches(x, y, args.batch_size, rng):
            begin = time.perf_counter()
            losses.append(np.array(step(*batch)))
            spent.append(time.perf_counter() - begin)
        losses = np.array(losses)  # of each step, rule and run
        with np.errstate(invalid="ignore"):
            best = np.nanmin(losses.mean(axis=0), axis=1)
        epochs.log(loss=best.min(), **dict(zip(args.optimizers, best, strict=True)))
    print(f"{time.perf_counter() - start:.1f} s, compilation included")

    many = np.median(spent)
    data = list(batches(x, y, args.batch_size, rng))[:20]
    alone = sum(runs / len(sweeps) * seconds_of_one(sweep, [images, labels], mode, data) for sweep in sweeps)
    ratio = f"{alone / many:.1f} times as long"
    print(f"a step of all runs takes {1000 * many:.1f} ms; one by one, {1000 * alone:.1f} ms: {ratio}")

    if args.range_test:
        result = {name: losses[:, i] for i, name in enumerate(args.optimizers)}
        for name, values in result.items():
            median = np.median(values, axis=1)
            turn = np.argmin(np.where(np.isfinite(median), median, np.inf))
            print(f"{name}: the loss is lowest, {median[turn]:.3f}, at the rate {rates[turn]:.2g}; try a tenth of it")
        if args.plot:
            draw_range(result, rates, args.plot)
        return result
    final = losses.mean(axis=0).reshape(len(sweeps), args.count, args.seeds)
    result = dict(zip(args.optimizers, final, strict=True))
    report(result, rates)
    if args.plot:
        draw_sweep(result, rates, args.plot)
    return result


if __name__ == "__main__":
    main()
