"""The comparison of every course: training loss against iterations, of SGD, Momentum, AdaGrad, RMSProp and Adam.

The network is that of mlp.py, five layers of 100 ReLU units and a softmax layer. Every rule begins with the same
weights and sees the same minibatches, of the digits of scikit-learn or, with ``--data DIR``, of MNIST. A curve is the
mean over the last fiftieth of the run before each iteration, or with ``--per epoch`` over each epoch. The table has the
means of the last epoch, and the accuracy on what was held out. ::

    python examples/textbook.py
    python examples/textbook.py --rules sgd=0.3 adagrad=0.02 adamw lion=0.0003 --plot mine.png
    python examples/textbook.py --data ~/mnist --backend jax --float32 --per epoch
"""

import argparse
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import (
    MODES,
    RULES,
    Epochs,
    add_backend_option,
    add_plot_option,
    new_figure,
    optimizer,
    positive,
    rule_and_rate,
    save_figure,
    seed,
)
from mlp import HIDDEN, LEARNING_RATES, accuracy, data_asked_for, network, new_parameters
from rich.console import Console
from rich.table import Table
from trajectories import NAMES

TEXTBOOK = ["sgd", "momentum", "adagrad", "rmsprop", "adam"]


class Training:
    """The network, and its weights as they were made, to begin with anew for each rule."""

    def __init__(self, data, batch_size, dtype, seed, mode):
        self.x, self.y, self.x_test, self.y_test = data
        self.batch_size, self.seed, self.mode = batch_size, seed, mode
        self.params = new_parameters((self.x.shape[1], *HIDDEN, 10), np.random.default_rng(seed), dtype)
        self.start = [p.get_value() for p in self.params]
        self.images = pt.tensor("images", dtype=dtype, shape=(batch_size, self.x.shape[1]))
        self.labels = pt.tensor("labels", dtype="int32", shape=(batch_size,))
        log_p = network(self.images, self.params)
        self.loss = -log_p[np.arange(batch_size), self.labels].mean()
        self.outputs = [self.loss, log_p]
        given = pt.tensor("given", dtype=dtype, shape=(None, self.x.shape[1]))
        self.predict = pytensor.function([given], network(given, self.params), mode=mode)

    def run(self, rule, epochs):
        """Train by a rule; return the loss at each iteration. What is of epochs goes to their history."""
        for p, value in zip(self.params, self.start, strict=True):
            p.set_value(value)
        updates = rule(self.loss, self.params)
        step = pytensor.function([self.images, self.labels], self.outputs, updates=updates, mode=self.mode)
        rng = np.random.default_rng(self.seed)
        losses = []
        for _ in epochs:
            order = rng.permutation(len(self.x))[: len(self.x) // self.batch_size * self.batch_size]
            batches = order.reshape(-1, self.batch_size)
            done = [step(self.x[batch], self.y[batch]) for batch in batches]
            losses += [float(loss) for loss, _ in done]
            hits = [accuracy(log_p, self.y[batch]) for (_, log_p), batch in zip(done, batches, strict=True)]
            held_out = accuracy(self.predict(self.x_test), self.y_test)
            epochs.log(loss=np.mean(losses[-len(batches) :]), accuracy=np.mean(hits), held_out=held_out)
        return np.array(losses)


def smoothed(values, width):
    """Means over the `width` values up to each, fewer at the start."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def report(runs, title):
    table = Table("rule", "rate", "loss", "training accuracy", "held-out accuracy", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rate, _, history in runs:
        at_end = [f"{history['loss'][-1]:.4f}", *(f"{100 * history[of][-1]:.2f} %" for of in ("accuracy", "held_out"))]
        table.add_row(name, f"{rate:g}", *at_end)
    Console().print(table)


def draw(runs, per, title, file):
    figure, [[ax]] = new_figure(title=title)
    figure.set_size_inches(7.2, 4.6)
    for name, rate, losses, history in runs:
        label = f"{NAMES.get(name, name)}, η = {rate:g}"
        if per == "epoch":
            ax.semilogy(np.arange(1, len(history["loss"]) + 1), history["loss"], ".-", label=label)
        else:
            ax.semilogy(smoothed(losses, max(len(losses) // 50, 1)), lw=1.4, label=label)
    ax.set(xlabel=per, ylabel="training loss")
    ax.legend(fontsize="small")
    save_figure(figure, file)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "Without --plot, the figure is written to textbook.png."
    parser.add_argument(
        "--rules",
        nargs="+",
        type=rule_and_rate(LEARNING_RATES),
        default=[rule_and_rate(LEARNING_RATES)(name) for name in TEXTBOOK],
        metavar="RULE[=RATE]",
        help=f"{', '.join(sorted(RULES))}; at RATE or at one that suits it (default: {' '.join(TEXTBOOK)})",
    )
    parser.add_argument("--data", metavar="DIR", help="a folder with the files of MNIST (default: the digits)")
    parser.add_argument("--epochs", type=positive(int), default=20, metavar="N", help="default: 20")
    parser.add_argument("--batch-size", type=positive(int), default=32, metavar="N", help="default: 32")
    parser.add_argument("--per", choices=["iteration", "epoch"], default="iteration", help="(default: iteration)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the start and the order (default: 0)")
    parser.add_argument("--float32", action="store_true", help="train in single precision, not double")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    add_plot_option(parser)
    parser.set_defaults(plot=Path("textbook.png"))
    args = parser.parse_args(argv)
    x, y, x_test, y_test = data_asked_for(parser, args)
    dtype = "float32" if args.float32 else "float64"
    data = x.astype(dtype), y.astype("int32"), x_test.astype(dtype), y_test
    training = Training(data, args.batch_size, dtype, args.seed, MODES[args.backend])
    runs = []
    for name, rate in args.rules:
        print(f"{name}, learning rate {rate:g}")
        epochs = Epochs(args.epochs, sparse=True)
        losses = training.run(optimizer(name, rate), epochs)
        runs.append((name, rate, losses, epochs.history))
    title = f"{'MNIST' if args.data else 'Digits'}: five layers of 100 ReLU units"
    report(runs, f"{title}, after {args.epochs} epochs")
    draw(runs, args.per, title, args.plot)


if __name__ == "__main__":
    main()
