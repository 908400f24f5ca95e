"""Rare features: AdaGrad against plain SGD at its best rate of a grid, on words of Python's own source code.

The task: which part of the standard library does a function come from? The features are the words in its source, each
there or not. A few words are in nearly every function ("self", "def"); most are in very few, and these tell most. Plain
SGD has one rate for all: one that the frequent words bear is too small for the rare ones. AdaGrad divides each rate by
the root of the sum of that word's own squared gradients.

Multinomial logistic regression, one pass over the training functions. For each rule a grid of eight rates, factors of
two apart; the one with the lowest validation loss is measured on held-out functions, on all of them and on those with
at least two rare words, which at most five training functions have. SGD with a rate that falls as 1/√t, tuned likewise,
shows how much of the gain is mere decay. Each rule is compiled once: the rate is a shared variable, and every run
begins by setting the parameters and the state back.
"""

import argparse
import ast
import sysconfig
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, add_backend_option, add_plot_option, new_figure, positive, save_figure
from pytensor.tensor.special import log_softmax
from rich.console import Console
from rich.table import Table
from scipy.special import logsumexp
from sklearn.feature_extraction.text import CountVectorizer
from threadpoolctl import threadpool_limits

import symupdates

PARTS = (
    "argparse asyncio configparser ctypes _pydecimal email http importlib inspect ipaddress logging mailbox "
    "multiprocessing pickle tarfile typing unittest urllib xml zipfile"
).split()
GRIDS = {"SGD": 2.0 ** np.arange(-2, 6), "SGD, 1/√t": 2.0 ** np.arange(1, 9), "AdaGrad": 2.0 ** np.arange(-5, 3)}
BATCH = 16
RARE = 5  # a word is rare if at most so many training functions have it
EVERY = 10  # steps between two points of a curve


# --- Data -------------------------------------------------------------------------------------------------------------


def functions(body):
    """The functions and methods in the body of a module or a class."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node.body)


def sources(part):
    """The source of each function of a module or package of the standard library, tests left out."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [library / f"{part}.py", *sorted((library / part).rglob("*.py"))]
    for file in files:
        if file.exists() and not {"test", "tests"} & set(file.relative_to(library).parts):
            text = file.read_text(encoding="utf-8")
            lines = text.splitlines()
            for node in functions(ast.parse(text).body):
                yield "\n".join(lines[node.lineno - 1 : node.end_lineno])


def load():
    """The features (0 or 1, a column a word) and the classes as one-hot rows."""
    texts, labels = [], []
    for number, part in enumerate(PARTS):
        found = list(sources(part))
        texts += found
        labels += [number] * len(found)
    vectorizer = CountVectorizer(binary=True, token_pattern="[A-Za-z]{2,}", min_df=3, dtype=np.float32)
    return vectorizer.fit_transform(texts), np.eye(len(PARTS), dtype=np.float32)[labels]


# --- Training ---------------------------------------------------------------------------------------------------------


class Model:
    """Logistic regression and, compiled once each, its three training functions."""

    def __init__(self, words, classes, mode):
        W = pytensor.shared(np.zeros((words, classes), dtype="float32"), name="W", shape=(words, classes))
        b = pytensor.shared(np.zeros(classes, dtype="float32"), name="b", shape=(classes,))
        X = pt.tensor("X", dtype="float32", shape=(None, words))
        self.predict = pytensor.function([X], X @ W + b, mode=mode)
        X = pt.tensor("X", dtype="float32", shape=(BATCH, words))
        Y = pt.tensor("Y", dtype="float32", shape=(BATCH, classes))
        loss = -(Y * log_softmax(X @ W + b, axis=1)).sum() / BATCH
        self.rate = pytensor.shared(1.0, name="rate")
        rules = {
            "SGD": symupdates.sgd(learning_rate=self.rate),
            "SGD, 1/√t": symupdates.sgd(learning_rate=lambda t: self.rate / pt.sqrt(t + 1)),
            "AdaGrad": symupdates.adagrad(learning_rate=self.rate),
        }
        self.train, self.start = {}, {}
        for name, rule in rules.items():
            updates = rule(loss, [W, b])
            self.train[name] = pytensor.function([X, Y], updates=updates, mode=mode)
            self.start[name] = {v: v.get_value() for v in updates}

    def run(self, rule, rate, X, Y, batches, watch=None):
        """Train from the start; return the values of `watch`, if given: before every tenth step and at the end."""
        self.rate.set_value(rate)
        for variable, value in self.start[rule].items():
            variable.set_value(value)
        curve = []
        for step, batch in enumerate(batches):
            if watch and step % EVERY == 0:
                curve.append(watch())
            self.train[rule](X[batch].toarray(), Y[batch])
        return [*curve, watch()] if watch else None

    def evaluate(self, X, Y):
        """The loss of each example, and whether its class is the likeliest."""
        logits = np.asarray(self.predict(X))
        return logsumexp(logits, axis=1) - (Y * logits).sum(axis=1), logits.argmax(axis=1) == Y.argmax(axis=1)

    def adagrad_rates(self):
        """The rate of each word after a run of AdaGrad, from the mean over the classes of its sums of squares."""
        accu = next(iter(self.start["AdaGrad"]))  # an updates dict begins with the state of the first parameter, W
        return self.rate.get_value() / np.sqrt(np.asarray(accu.get_value()).mean(axis=1) + 1e-6)


def compare(model, X, Y, seed):
    """Tune and try each rule on one split of the data."""
    order = np.random.default_rng(seed).permutation(len(Y))
    training, validation, held_out = np.split(order, [int(0.6 * len(order)), int(0.8 * len(order))])
    batches = training[: len(training) // BATCH * BATCH].reshape(-1, BATCH)
    steps = [*range(0, len(batches), EVERY), len(batches)]
    frequency = np.asarray(X[training].sum(axis=0)).ravel()
    rare = X[held_out] @ ((0 < frequency) & (frequency <= RARE)) >= 2
    validation = X[validation].toarray(), Y[validation]
    held_out = X[held_out].toarray(), Y[held_out]

    def validation_loss():
        return model.evaluate(*validation)[0].mean()

    results = {}
    for rule, grid in GRIDS.items():
        losses = []
        for rate in grid:
            model.run(rule, rate, X, Y, batches)
            losses.append(validation_loss())
        rate = grid[np.argmin(losses)]
        curve = model.run(rule, rate, X, Y, batches, watch=validation_loss)
        loss, right = model.evaluate(*held_out)
        results[rule] = {
            "grid": losses,
            "rate": rate,
            "curve": (steps, curve),
            "held out": (loss.mean(), right.mean(), loss[rare].mean(), right[rare].mean()),
        }
        target = results["SGD"]["curve"][1][-1]
        results[rule]["steps"] = next((t for t, loss in zip(steps, curve, strict=True) if loss <= target), None)
    results["AdaGrad"]["rates"] = frequency, model.adagrad_rates()
    return results


# --- Report -----------------------------------------------------------------------------------------------------------


def report(splits):
    """Print the grids, the comparison, and what it comes to."""
    console = Console()
    count = len(splits)
    table = Table(title=f"Rates tried, and validation loss (mean of {count} splits)", show_header=False)
    for rule, grid in GRIDS.items():
        losses = np.mean([split[rule]["grid"] for split in splits], axis=0)
        table.add_row(rule, *[f"{rate:g}" for rate in grid], style="bold")
        table.add_row("", *[f"{loss:.3f}" for loss in losses], end_section=True)
    console.print(table)

    table = Table("rule", "rates", "loss", "accuracy", "rare loss", "rare accuracy", "steps")
    table.title = f"Held-out functions (mean of {count} splits)"
    held_out = {rule: np.array([split[rule]["held out"] for split in splits]) for rule in GRIDS}
    for rule, values in held_out.items():
        rates = ", ".join(f"{rate:g}" for rate in sorted({split[rule]["rate"] for split in splits}))
        cells = [f"{value:.3f}" for value in values.mean(axis=0)]
        steps = [split[rule]["steps"] for split in splits]
        table.add_row(rule, rates, *cells, "never" if None in steps else f"{np.mean(steps):.0f}")
    console.print(table)
    total = splits[0]["SGD"]["curve"][0][-1]
    print(f"rare: with two or more rare words. steps: to the validation loss of SGD at the end, after {total}.")

    sgd, adagrad = held_out["SGD"][:, 0], held_out["AdaGrad"][:, 0]
    print(
        f"Held-out loss {adagrad.mean():.4f} with AdaGrad, {sgd.mean():.4f} with tuned SGD: "
        f"{1 - adagrad.mean() / sgd.mean():.1%} lower, and lower in {np.sum(adagrad < sgd)} of {count} splits."
    )


def draw(splits, path):
    figure, axes = new_figure(1, 3, "Which part of the standard library is this function from?")
    left, middle, right = axes.flat
    for (rule, grid), style in zip(GRIDS.items(), ("o-", "s--", "^-"), strict=True):
        curves = [split[rule]["curve"] for split in splits]
        (line,) = left.plot(curves[0][0], np.mean([c[1] for c in curves], axis=0), style[1:], lw=2, label=rule)
        for steps, curve in curves:
            left.plot(steps, curve, style[1:], color=line.get_color(), lw=0.7, alpha=0.4)
        middle.loglog(grid, np.mean([split[rule]["grid"] for split in splits], axis=0), style, lw=2, label=rule)
    left.set(title="One pass, each rule at its best rate", xlabel="step", ylabel="validation loss")
    left.set_yscale("log")
    middle.set(title="Tuning", xlabel="learning rate", ylabel="validation loss after one pass")
    for ax in (left, middle):
        ax.set_yticks([0.7, 1, 2, 4], ["0.7", "1", "2", "4"])
        ax.minorticks_off()

    frequency, rates = splits[0]["AdaGrad"]["rates"]
    right.loglog(frequency, rates, "C2.", ms=3, alpha=0.3, rasterized=True)
    right.axhline(splits[0]["SGD"]["rate"], color="C0", lw=2)
    right.set(title="Rate of each word at the end", xlabel="training functions with the word", ylabel="effective rate")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive(int), default=3, metavar="N", help="splits of the data (default: 3)")
    add_backend_option(parser)
    add_plot_option(parser)
    args = parser.parse_args(argv)
    X, Y = load()
    words_each, seen = X.sum() / X.shape[0], np.asarray(X.sum(axis=0)).ravel()
    print(
        f"{X.shape[0]} functions from {Y.shape[1]} parts; {X.shape[1]} words, {words_each:.0f} in a function;", end=" "
    )
    print(f"half of the words are in {np.median(seen):.0f} functions or fewer")
    model = Model(X.shape[1], Y.shape[1], MODES[args.backend])
    splits = []
    for seed in range(args.seeds):
        with threadpool_limits(1):  # products this small gain nothing from more, and lose much on a busy machine
            splits.append(compare(model, X, Y, seed))
        print(f"split {seed + 1} of {args.seeds} done", flush=True)
    report(splits)
    if args.plot:
        draw(splits, args.plot)


if __name__ == "__main__":
    main()
