"""The comparison of every course: training loss against iterations, of SGD, Momentum, AdaGrad, RMSProp and Adam.

The network is that of mlp.py, five layers of 100 ReLU units and a softmax layer. Every rule begins with the same
weights and sees the same minibatches, of the digits of scikit-learn or, with ``--data DIR``, of MNIST; all runs are one
function, by ``symupdates.vectorize``. With ``--seeds N``, each rule runs from so many starts, and curves and table are
of the means. A curve is the mean over the last fiftieth of the run before each iteration, or with ``--per epoch`` over
each epoch. The table has the means of the last epoch, and the accuracy on what was held out. ::

    python examples/textbook.py --seeds 5
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

import symupdates

TEXTBOOK = ["sgd", "momentum", "adagrad", "rmsprop", "adam"]


class Training:
    """The runs of all rules, in one function.

    Parameters
    ----------
    rules : list of tuples
        Names and learning rates.
    data : tuple of arrays
        Images and labels to train with, and those held out.
    seeds : range
        Of the weights that the runs of a rule begin with; the first is that of the order of the minibatches, too.
    """

    def __init__(self, rules, data, batch_size, dtype, seeds, mode):
        self.x, self.y, self.x_test, self.y_test = data
        self.batch_size, self.seed = batch_size, seeds[0]
        self.names = [f"{name}={rate:g}" for name, rate in rules]
        sizes = (self.x.shape[1], *HIDDEN, 10)
        starts = [new_parameters(sizes, np.random.default_rng(seed), dtype) for seed in seeds]
        params = starts[0]
        images = pt.tensor("images", dtype=dtype, shape=(batch_size, sizes[0]))
        labels = pt.tensor("labels", dtype="int32", shape=(batch_size,))
        given = pt.tensor("given", dtype=dtype, shape=(None, sizes[0]))
        log_p = network(images, params)
        loss = -log_p[np.arange(batch_size), labels].mean()
        hits = pt.eq(pt.argmax(log_p, axis=1), labels).mean()
        differing = {p: [p.get_value() for p in ps] for p, *ps in zip(params, *starts, strict=True)}
        outputs, predictions, updates = [], [], {}
        for name, rate in rules:
            (*measures, log_ps), runs = symupdates.vectorize(
                [loss, hits, network(given, params)], optimizer(name, rate)(loss, params), differing
            )
            outputs += measures
            predictions.append(log_ps)
            updates |= runs
        self.step = pytensor.function([images, labels], outputs, updates=updates, mode=mode)
        self.predict = pytensor.function([given], predictions, mode=mode)

    def run(self, epochs):
        """Train; return the losses of each iteration, rule and run, and for each epoch and rule the mean measures."""
        rng = np.random.default_rng(self.seed)
        losses, history = [], []
        for _ in epochs:
            order = rng.permutation(len(self.x))[: len(self.x) // self.batch_size * self.batch_size]
            measures = np.array([self.step(self.x[i], self.y[i]) for i in order.reshape(-1, self.batch_size)])
            losses.append(measures[:, ::2])
            held_out = [accuracy(log_p, self.y_test) for log_p in self.predict(self.x_test)]
            history.append([*measures.mean(axis=(0, 2)).reshape(-1, 2).T, held_out])
            epochs.log(loss=np.nanmin(history[-1][0]), **dict(zip(self.names, history[-1][0], strict=True)))
        return np.concatenate(losses), np.array(history)


def smoothed(values, width):
    """Means over the `width` values up to each, fewer at the start."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def report(rules, at_end, title):
    table = Table("rule", "rate", "loss", "training accuracy", "held-out accuracy", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for (name, rate), loss, *accuracies in zip(rules, *at_end, strict=True):
        table.add_row(name, f"{rate:g}", f"{loss:.4f}", *(f"{100 * x:.2f} %" for x in accuracies))
    Console().print(table)


def draw(rules, losses, history, per, title, file):
    figure, [[ax]] = new_figure(title=title)
    figure.set_size_inches(7.2, 4.6)
    for i, (name, rate) in enumerate(rules):
        label = f"{NAMES.get(name, name)}, η = {rate:g}"
        if per == "epoch":
            ax.semilogy(np.arange(1, len(history) + 1), history[:, 0, i], ".-", label=label)
        else:
            ax.semilogy(smoothed(losses[:, i].mean(axis=1), max(len(losses) // 50, 1)), lw=1.4, label=label)
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
    parser.add_argument("--seeds", type=positive(int), default=1, metavar="N", help="runs of each rule (default: 1)")
    parser.add_argument("--float32", action="store_true", help="train in single precision, not double")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    add_plot_option(parser)
    parser.set_defaults(plot=Path("textbook.png"))
    args = parser.parse_args(argv)
    x, y, x_test, y_test = data_asked_for(parser, args)
    dtype = "float32" if args.float32 else "float64"
    data = x.astype(dtype), y.astype("int32"), x_test.astype(dtype), y_test
    seeds = range(args.seed, args.seed + args.seeds)
    training = Training(args.rules, data, args.batch_size, dtype, seeds, MODES[args.backend])
    losses, history = training.run(Epochs(args.epochs, sparse=True))
    title = f"{'MNIST' if args.data else 'Digits'}: five layers of 100 ReLU units"
    report(args.rules, history[-1], f"{title}, after {args.epochs} epochs")
    draw(args.rules, losses, history, args.per, title, args.plot)


if __name__ == "__main__":
    main()
