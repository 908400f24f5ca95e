"""Effective learning rates of AdaGrad, RMSProp, AdaDelta and Adam over 10 000 steps: |step| / |gradient|.

The gradients are made up. Each has the size 1 and noise, 1 + 0.3 N(0, 1), independent in every step and in each of 400
coordinates; in a second run they are 100 times smaller from half-way on. There is no loss: the rules take a list of
gradients as well. Shown is the median over the coordinates of |step| / |gradient|, with the steps of the compiled
updates: the learning rate at which plain SGD would move as far.

AdaGrad divides by the root of a sum, which only grows: its rate falls as 1/√t, and when the gradients shrink it stays
where it is, so that the parameters all but stand still. The others divide by the root of a moving average, which
forgets, in about 10 steps (RMSProp, rho 0.9), 20 (AdaDelta, rho 0.95) or 1000 (Adam, beta2 0.999): their rates level
off, and rise again for smaller gradients. Adam's peak half-way is its momentum, which carries on at the old speed.
AdaDelta has no rate of its own to rise to: it starts from its epsilon and works its way up.
"""

import argparse
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, add_backend_option, add_plot_option, new_figure, positive, save_figure
from rich.console import Console
from rich.table import Table

import symupdates

NOISE = 0.3
COORDINATES = 400
SHRINKAGE = 100
RULES = {
    "AdaGrad": symupdates.adagrad(learning_rate=0.1),
    "RMSProp": symupdates.rmsprop(learning_rate=0.01),
    "AdaDelta": symupdates.adadelta(learning_rate=1.0),
    "Adam": symupdates.adam(learning_rate=0.01),
}
LABELS = {"AdaGrad": "AdaGrad, η = 0.1", "RMSProp": "RMSProp, η = 0.01", "Adam": "Adam, η = 0.01"}
STYLES = {"AdaGrad": "-", "RMSProp": "--", "AdaDelta": "-.", "Adam": ":"}


def effective_rates(steps, mode):
    """For each rule, an array of shape (steps, 2): with gradients of constant size, and with shrinking ones."""
    gradient = pt.vector("gradient", dtype="float64")
    updates, rates = {}, []
    for name, rule in RULES.items():
        p = pytensor.shared(np.zeros(2 * COORDINATES), name=name)
        of_this_rule = rule([gradient], [p])
        step = of_this_rule[p] - p
        rates.append(abs(step / gradient))
        updates.update(of_this_rule)
    train = pytensor.function([gradient], pt.stack(rates), updates=updates, mode=mode)

    rng = np.random.default_rng(0)
    result = np.empty((steps, len(RULES), 2))
    for t in range(steps):
        g = 1 + NOISE * rng.normal(size=(2, COORDINATES))
        if t >= steps // 2:
            g[1] /= SHRINKAGE
        rate = np.asarray(train(g.ravel()))
        result[t] = np.median(rate.reshape(len(RULES), 2, COORDINATES), axis=-1)
    return {name: result[:, i] for i, name in enumerate(RULES)}


def slope(rates):
    """The exponent of t in the rate, fitted on log-log axes to the last nine tenths of the steps."""
    t = np.arange(1, len(rates) + 1)
    late = t > len(t) // 10
    return np.polyfit(np.log(t[late]), np.log(rates[late]), 1)[0]


def report(rates, steps):
    """Print both runs as tables, and the slope of AdaGrad."""
    at = [10**k for k in range(len(str(steps)))]
    rows = {name: [r[t - 1, 0] for t in at] for name, r in rates.items()}
    slopes = {name: slope(r[:, 0]) for name, r in rates.items()}
    show("Gradients of constant size", [f"t = {t}" for t in at], rows, "slope", slopes)
    half = steps // 2
    rows = {name: [r[t - 1, 1] for t in (half, min(half + 100, steps), steps)] for name, r in rates.items()}
    growth = {name: r[-1] / r[0] for name, r in rows.items()}
    show(
        f"{SHRINKAGE} times smaller after step {half}", ["before", "100 steps on", "at the end"], rows, "growth", growth
    )
    print(f"AdaGrad's rate falls as t to the power {slopes['AdaGrad']:.4f} (1/√t: -0.5).")


def show(title, columns, rows, last_column, last):
    table = Table("rule", *columns, last_column, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in rows.items():
        table.add_row(name, *[f"{value:.2e}" for value in values], f"{last[name]:.3f}")
    Console().print(table)


def draw(rates, steps, path):
    figure, axes = new_figure(1, 2, "Effective learning rate, |step| / |gradient|")
    left, right = axes.flat
    t = np.arange(1, steps + 1)
    some = np.unique(np.geomspace(1, steps, 200).astype(int)) - 1  # points at even distances along the axis
    every = slice(0, None, max(1, steps // 200))
    for name, r in rates.items():
        left.loglog(t[some], r[some, 0], STYLES[name], lw=2.2, label=LABELS.get(name, name))
        right.semilogy(t[every], r[every, 1], STYLES[name], lw=2.2)
    left.loglog(t, 0.04 / np.sqrt(t), color="0.6", lw=1, label="slope -1/2")
    left.set(title="Gradients of constant size, with noise", xlabel="step", ylabel="effective learning rate")
    right.set(title=f"Gradients {SHRINKAGE} times smaller in the second half", xlabel="step")
    final = rates["AdaGrad"][-1, 1]
    right.annotate(
        "AdaGrad does not recover",
        (0.75 * steps, final),
        (0, 9),
        textcoords="offset points",
        ha="center",
        color="C0",
    )
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    save_figure(figure, path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "Without --plot, the figure is written to decay.png."
    parser.add_argument("--steps", type=positive(int), default=10_000, metavar="N", help="default: 10000")
    add_backend_option(parser)
    add_plot_option(parser)
    parser.set_defaults(plot=Path("decay.png"))
    args = parser.parse_args(argv)
    if args.steps < 10:
        parser.error("--steps: it takes 10 to see the rates change.")
    rates = effective_rates(args.steps, MODES[args.backend])
    report(rates, args.steps)
    draw(rates, args.steps, args.plot)


if __name__ == "__main__":
    main()
