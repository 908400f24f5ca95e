"""Learn the learning rate: gradient descent on the hyper-parameters of gradient descent.

Logistic regression on the breast cancer data of scikit-learn: what the weights are after 50 steps of SGD with momentum
is one expression, which symupdates.loop makes of the updates of one step. The validation loss there is a function of
the learning rate and of the momentum, and has a gradient, back through all steps. Adam follows it, on the logarithm of
the rate and the logit of the momentum, which keep the rate positive and the momentum between zero and one. ::

    python examples/learn_learning_rate.py
    python examples/learn_learning_rate.py --per-step --plot rates.png

The gradient is first compared with finite differences, and what was learned, in the end, with the best of a grid. With
a rate for each step, there are as many hyper-parameters as steps to fit the validation data: the loss on a third part
of the data, held out of both, tells what that is worth.
"""

import argparse

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, Epochs, add_backend_option, add_plot_option, new_figure, positive, save_figure, seed
from pytensor.graph.replace import graph_replace
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import symupdates

BATCH = 32
START = {"rate": 0.01, "momentum": 0.5}
GRID = {"rate": np.geomspace(1e-3, 10, 33), "momentum": np.linspace(0.05, 0.95, 19)}


def load(random_state):
    """Data for training, for validation and held out: standardised inputs and a column of ones, labels of -1 and 1."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x, y_train, y = train_test_split(x, 2.0 * y - 1, train_size=0.5, random_state=random_state, stratify=y)
    x_valid, x_test, y_valid, y_test = train_test_split(x, y, train_size=0.5, random_state=random_state, stratify=y)
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    parts = (x_train, y_train), (x_valid, y_valid), (x_test, y_test)
    return [(np.column_stack([(x - mean) / std, np.ones(len(x))]), y) for x, y in parts]


def logistic_loss(weights, x, y):
    return pt.softplus(-y * (x @ weights)).mean()


def logit(p):
    return np.log(p) - np.log1p(-p)


class Training:
    """The losses after some steps of training, as expressions of the hyper-parameters.

    Attributes
    ----------
    log_rate : shared variable
        The logarithm of the learning rate, or of that of each step.
    logit_momentum : shared variable
    validation_loss, held_out_loss : scalar tensor variables
    """

    def __init__(self, steps, random_state, per_step=False):
        (x, y), *others = [map(pt.constant, part) for part in load(random_state)]
        log_rate = np.full(steps if per_step else (), np.log(START["rate"]))
        self.log_rate = pytensor.shared(log_rate, name="log rate", shape=log_rate.shape)
        self.logit_momentum = pytensor.shared(np.array(logit(START["momentum"])), name="logit momentum")

        weights = pytensor.shared(np.zeros(31), name="weights", shape=(31,))
        index, rate = pt.tensor("index", shape=(BATCH,), dtype="int64"), pt.dscalar("rate")
        step = symupdates.momentum(
            logistic_loss(weights, x[index], y[index]),
            [weights],
            learning_rate=rate,
            momentum=pt.sigmoid(self.logit_momentum),
        )
        order = np.random.default_rng(random_state).integers(len(x.data), size=(steps, BATCH))
        rates = pt.exp(self.log_rate) * np.ones(steps)
        _, after = symupdates.loop(None, step, {index: order, rate: rates})
        losses = [logistic_loss(weights, *part) for part in others]
        self.validation_loss, self.held_out_loss = graph_replace(losses, {weights: after[weights]})

    @property
    def parameters(self):
        return [self.log_rate, self.logit_momentum]

    @property
    def rates(self):
        return np.exp(np.asarray(self.log_rate.get_value()))

    @property
    def momentum(self):
        return 1 / (1 + np.exp(-np.asarray(self.logit_momentum.get_value())))

    def set(self, rate, momentum):
        self.log_rate.set_value(np.full(self.log_rate.type.shape, np.log(rate)))
        self.logit_momentum.set_value(np.array(logit(momentum)))


def difference_quotient(losses, parameter, direction, h=1e-5):
    """The slope of the validation loss along a direction, by a central difference."""
    start = np.array(parameter.get_value())
    ends = []
    for sign in (1, -1):
        parameter.set_value(start + sign * h * direction)
        ends.append(float(losses()[0]))
    parameter.set_value(start)
    return (ends[0] - ends[1]) / (2 * h)


def check_gradient(training, slopes, losses):
    """Print the gradient beside difference quotients, that of many rates along a random direction."""
    table = Table("parameter", "gradient", "finite difference", "relative error", title="At the start")
    for parameter, slope in zip(training.parameters, map(np.asarray, slopes), strict=True):
        direction = np.random.default_rng(1).normal(size=slope.shape) if slope.ndim else np.ones(())
        quotient = difference_quotient(losses, parameter, direction)
        gradient = np.sum(slope * direction)
        table.add_row(parameter.name, f"{gradient:.9f}", f"{quotient:.9f}", f"{abs(gradient / quotient - 1):.1e}")
    Console(width=100).print(table)


def learn(training, losses, iterations, learning_rate, mode):
    """Follow the gradient of the validation loss; return the history of the loss, the mean rate and the momentum."""
    slopes = pytensor.grad(training.validation_loss, training.parameters)
    updates = symupdates.adam(slopes, training.parameters, learning_rate=learning_rate)
    step = pytensor.function([], [training.validation_loss, *slopes], updates=updates, mode=mode)
    _, *slopes = step()
    training.set(**START)
    symupdates.reset(updates)
    check_gradient(training, slopes, losses)

    epochs = Epochs(iterations, sparse=True)
    for _ in epochs:
        rate, momentum = np.exp(np.mean(np.log(training.rates))), training.momentum
        epochs.log(loss=step()[0], rate=rate, momentum=momentum)
    return epochs.history


def search(training, losses):
    """The validation loss at each point of the grid."""
    values = np.empty([len(axis) for axis in GRID.values()])
    for i, rate in enumerate(GRID["rate"]):
        for j, momentum in enumerate(GRID["momentum"]):
            training.set(rate, momentum)
            values[i, j] = losses()[0]
    return values


def report(rows, steps):
    """Print the losses at the hyper-parameters of each row."""
    table = Table("", "rate", "momentum", "validation loss", "held-out loss", title=f"After {steps} steps of training")
    for name, (rate, *others) in rows.items():
        first, last = np.ravel(rate)[[0, -1]]
        shown = f"{first:.4f} … {last:.4f}" if np.ndim(rate) else f"{first:.4f}"
        table.add_row(name, shown, *(f"{x:.{digits}f}" for x, digits in zip(others, (4, 6, 6), strict=True)))
    Console(width=100).print(table)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive(int), default=50, metavar="N", help="steps of training (default: 50)")
    parser.add_argument(
        "--iterations",
        type=positive(int),
        default=200,
        metavar="N",
        help="steps on the hyper-parameters (default: 200)",
    )
    parser.add_argument(
        "--learning-rate", type=positive(float), default=0.05, metavar="RATE", help="theirs, of Adam (default: 0.05)"
    )
    parser.add_argument("--per-step", action="store_true", help="learn a rate for each step of training")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the split and the order (default: 0)")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    add_plot_option(parser)
    args = parser.parse_args(argv)
    mode = MODES[args.backend]

    training = Training(args.steps, args.seed, args.per_step)
    losses = pytensor.function([], [training.validation_loss, training.held_out_loss], mode=mode)
    history = learn(training, losses, args.iterations, args.learning_rate, mode)

    rates = training.rates
    rows = {"learned": (rates, training.momentum, *losses())}
    grid = search(training, losses)
    i, j = np.unravel_index(np.argmin(grid), grid.shape)
    best = GRID["rate"][i], GRID["momentum"][j]
    for name, (rate, momentum) in {"at the start": START.values(), f"best of {grid.size}": best}.items():
        training.set(rate, momentum)
        rows[name] = (rate, momentum, *losses())
    report(rows, args.steps)
    if args.plot:
        draw(history, rates, grid, args)


def draw(history, rates, grid, args):
    figure, axes = new_figure(1, 2, f"Validation loss after {args.steps} steps of SGD with momentum")
    left, right = axes.flat
    levels = np.geomspace(grid.min(), grid.min() * 10, 16)
    left.contour(GRID["rate"], GRID["momentum"], grid.T, levels=levels, linewidths=0.8, cmap="viridis")
    left.plot(history["rate"], history["momentum"], "C3.-", lw=1.2, markersize=3, label="the path of Adam")
    left.set(
        xscale="log",
        xlabel="learning rate" + (", geometric mean" if rates.ndim else ""),
        ylabel="momentum",
        ylim=GRID["momentum"][[0, -1]],
        title="on a grid, for one rate",
    )
    left.legend(loc="lower left")
    if rates.ndim:
        right.semilogy(np.arange(1, len(rates) + 1), rates, "o-", markersize=3)
        right.set(xlabel="step of training", ylabel="learning rate", title="the learned rates")
    else:
        right.loglog(np.arange(1, len(history["loss"]) + 1), history["loss"])
        right.axhline(grid.min(), color="gray", linestyle="--", label="the best of the grid")
        right.set(xlabel="iteration", ylabel="validation loss", title="while learning")
        right.legend()
    save_figure(figure, args.plot)


if __name__ == "__main__":
    main()
