"""Paths of optimizers down a long valley: f(x, y) = x²/20 + y² from (-7, 2).

The valley curves twenty times as much across as along, so that the gradient hardly points to the minimum. SGD bounces
between its sides; momentum rolls along and overshoots. AdaGrad, RMSProp and Adam divide each coordinate of the step by
the size of its own gradients, and head along the valley from the start.
"""

import argparse
from pathlib import Path

import numpy as np
import pytensor
from common import (
    MODES,
    RULES,
    add_backend_option,
    add_plot_option,
    new_figure,
    optimizer,
    positive,
    rule_and_rate,
    save_figure,
)
from rich.console import Console
from rich.table import Table

START = (-7.0, 2.0)
NAMES = {
    "sgd": "SGD",
    "momentum": "Momentum",
    "nesterov_momentum": "Nesterov momentum",
    "adagrad": "AdaGrad",
    "adagrad_window": "AdaGrad, window",
    "rmsprop": "RMSProp",
    "adadelta": "AdaDelta",
    "adam": "Adam",
    "adamax": "Adamax",
    "amsgrad": "AMSGrad",
}
RATES = {
    "sgd": 0.95,
    "momentum": 0.1,
    "nesterov_momentum": 0.1,
    "adagrad": 1.5,
    "adagrad_window": 1.0,
    "rmsprop": 0.3,
    "adadelta": 100.0,
    "adam": 0.3,
    "adamax": 0.5,
    "amsgrad": 0.3,
}


@np.errstate(over="ignore")  # a rule may diverge
def f(x, y):
    return x**2 / 20 + y**2


def trajectory(rule, steps, mode):
    """The points the rule visits, from START on: an array of shape (steps + 1, 2)."""
    x = pytensor.shared(START[0], name="x")
    y = pytensor.shared(START[1], name="y")
    train = pytensor.function([], [x, y], updates=rule(f(x, y), [x, y]), mode=mode)
    return np.array([train() for _ in range(steps + 1)], dtype="float64")  # each call gives the point before its step


def report(paths):
    table = Table("rule", "rate", "x", "y", "f(x, y)", title=f"After {len(paths[0][2]) - 1} steps")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rate, path in paths:
        x, y = path[-1]
        table.add_row(name, f"{rate:g}", f"{x:.6g}", f"{y:.6g}", f"{f(x, y):.6e}")
    Console().print(table)


def draw(paths, file):
    from matplotlib.colors import PowerNorm

    columns = min(3, len(paths) + 1)
    rows = -(-(len(paths) + 1) // columns)
    figure, axes = new_figure(rows, columns)
    *panels, last = axes.flat[: len(paths) + 1]
    for ax in axes.flat[len(paths) + 1 :]:
        ax.remove()
    xs, ys = np.meshgrid(np.linspace(-8.5, 8.5, 300), np.linspace(-3.4, 3.4, 300))
    heights = f(xs, ys)
    levels = f(0, np.arange(0, 4.5, 0.4))
    for i, (ax, (name, rate, path)) in enumerate(zip(panels, paths, strict=True)):
        color, label = f"C{i % 10}", f"{NAMES.get(name, name)}, η = {rate:g}"
        path = np.where(f(*path.T)[:, None] < 1e9, path, np.nan)  # leave out where a rule has diverged to
        ax.grid(False)
        ax.contourf(xs, ys, heights, levels=levels, cmap="Blues", norm=PowerNorm(0.5, 0, 4 * levels[-1]), zorder=0)
        ax.contour(xs, ys, heights, levels=levels, colors="0.6", linewidths=0.6, zorder=1)
        ax.plot(*path.T, "o-", color=color, lw=1.4, ms=4)
        ax.plot(*START, "s", color="black", ms=7, label="start")
        ax.plot(0, 0, "*", color="black", ms=13, label="minimum")
        ax.set(title=label, xlim=(-8.5, 8.5), ylim=(-3.4, 3.4), xlabel="x", ylabel="y")
        last.semilogy(f(*path.T), color=color, lw=1.8, label=label)
    last.set(title="Height above the minimum", xlabel="step", ylabel="f(x, y)")
    last.legend(fontsize="small")
    panels[0].legend(loc="lower right", fontsize="small")
    save_figure(figure, file)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "Without --plot, the figure is written to trajectories.png."
    default = ["sgd", "momentum", "adagrad", "rmsprop", "adam"]
    parser.add_argument(
        "--optimizers",
        nargs="+",
        type=rule_and_rate(RATES),
        default=[rule_and_rate(RATES)(name) for name in default],
        metavar="RULE[=RATE]",
        help=f"{', '.join(sorted(RULES))}; at RATE or at one that suits it here (default: {' '.join(default)})",
    )
    parser.add_argument("--steps", type=positive(int), default=30, metavar="N", help="default: 30")
    add_backend_option(parser)
    add_plot_option(parser)
    parser.set_defaults(plot=Path("trajectories.png"))
    args = parser.parse_args(argv)
    paths = [
        (name, rate, trajectory(optimizer(name, rate), args.steps, MODES[args.backend]))
        for name, rate in args.optimizers
    ]
    report(paths)
    draw(paths, args.plot)


if __name__ == "__main__":
    main()
