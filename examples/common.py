"""What the example programs share: options, rules by name, backends, the display of progress, figures."""

import argparse
import math
import sys
import time
import warnings
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import pytensor
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import symupdates

# The C backend says so of every installation by pip; the problems here are small enough not to mind.
warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS installation", category=UserWarning)

MODES = {"c": "CVM", "numba": "NUMBA", "jax": "JAX"}


def is_rule(name):
    """Whether that is a rule that needs nothing but the loss: no outputs of the model, and no divergence."""
    arguments = set(signature(getattr(symupdates, name)).parameters)
    return {"loss_or_grads", "params"} < arguments and not {"outputs", "divergence", "logits"} & arguments


ALL_RULES = {name: getattr(symupdates, name) for name in sorted(symupdates.__all__) if is_rule(name)}
RULES = {name: rule for name, rule in ALL_RULES.items() if "learning_rate" in signature(rule).parameters}


def optimizer(name, learning_rate=None):
    """The rule of that name, waiting for its loss and parameters; with its own default learning rate if None."""
    if name not in RULES:
        raise ValueError(f"No rule is called {name!r}. The rules are {', '.join(RULES)}.")
    return RULES[name]() if learning_rate is None else RULES[name](learning_rate=learning_rate)


def training_rate(args, rates):
    """The learning rate asked for, else that of the table `rates`, else the default of the rule."""
    return args.learning_rate or rates.get(args.optimizer) or RULES[args.optimizer]().keywords["learning_rate"]


# --- Options ----------------------------------------------------------------------------------------------------------


def add_training_options(parser, *, epochs, rule="adagrad"):
    """Add --optimizer, --learning-rate, --epochs, --seed, --float32, --backend and --plot."""
    parser.add_argument(
        "--optimizer",
        type=rule_name,
        default=rule,
        metavar="RULE",
        help=f"{', '.join(RULES)} (default: {rule})",
    )
    parser.add_argument(
        "--learning-rate", type=positive(float), metavar="RATE", help="default: one that suits the rule here"
    )
    parser.add_argument("--epochs", type=positive(int), default=epochs, metavar="N", help=f"default: {epochs}")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of the data, the start and the order (default: 0)"
    )
    parser.add_argument("--float32", action="store_true", help="train in single precision, not double")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")  # numba takes longer to compile
    add_plot_option(parser)


def add_backend_option(parser, default="numba"):
    """Add --backend; `MODES` of it is the mode for :func:`pytensor.function`."""
    parser.add_argument(
        "--backend", type=backend, default=default, metavar="NAME", help=f"c, numba or jax (default: {default})"
    )


def add_plot_option(parser):
    """Add --plot; give it to :func:`save_figure`."""
    parser.add_argument("--plot", type=plot_path, metavar="FILE.png", help="draw the curves")


def rule_name(text):
    try:
        optimizer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def name_of(choices, kind):
    """A parser of one of the names."""

    def parse(text):
        if text not in choices:
            raise argparse.ArgumentTypeError(f"no {kind} is called {text!r}. There are {', '.join(choices)}.")
        return text

    return parse


def rule_and_rate(rates):
    """A parser of ``name`` or ``name=rate``; without a rate, that of the table, or the default of the rule."""

    def parse(text):
        name, equals, rate = text.partition("=")
        if name not in RULES:
            raise argparse.ArgumentTypeError(f"no rule is called {name!r}. The rules are {', '.join(sorted(RULES))}.")
        if equals:
            return name, positive(float)(rate)
        return name, rates.get(name) or optimizer(name).keywords["learning_rate"]

    return parse


def backend(text):
    if text not in MODES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a backend: give {', '.join(MODES)}.")
    if text != "c" and find_spec(text) is None:
        raise argparse.ArgumentTypeError(f"the {text} backend needs the package {text}, which is not installed.")
    return text


def positive(kind, or_zero=False, below=math.inf):
    """A parser of numbers above zero and below a bound, of the kind int or float."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (0 < value < below or (or_zero and value == 0)):
            name = "whole number" if kind is int else "number"
            bound = "" if below == math.inf else f" below {below}"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a positive {name}{bound}{' or zero' if or_zero else ''}."
            )
        return value

    return parse


def seed(text):
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**32 - 1.")
    return int(text)


def plot_path(text):
    if Path(text).suffix.lower() not in {".png", ".pdf", ".svg"}:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png, .pdf or .svg.")
    return output_path(text)


def output_path(text):
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into.")
    return path


# --- Progress ---------------------------------------------------------------------------------------------------------


class Epochs:
    """Count the epochs and show what is logged of each: a line, and on a terminal a bar below the lines.

    >>> epochs = Epochs(20)
    >>> for epoch in epochs:
    ...     epochs.log(loss=train(), accuracy=test())
    >>> epochs.history["loss"]  # one an epoch

    With ``sparse=True`` there are lines for the epochs 1 to 10, 20, 30 to 100, 200, 300 to 1000 and so on, and for the
    last. A loss that is no longer finite ends the iteration. With the ``history`` of a run that was interrupted, it
    begins with the epoch after.
    """

    def __init__(self, count, sparse=False, history=None):
        self.count = count
        self.sparse = sparse
        self.history = history or {}
        self.console = Console(highlight=False)

    def __iter__(self):
        columns = [BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()]
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as self.bar:
            done = max(map(len, self.history.values()), default=0)
            task = self.bar.add_task("compiling", total=self.count, completed=done)
            for epoch in range(done + 1, self.count + 1):
                start = time.perf_counter()
                yield epoch
                seconds = time.perf_counter() - start
                last = {name: values[-1] for name, values in self.history.items()}
                shown = "   ".join(f"{name} {decimals(x, 6 if name == 'loss' else 4)}" for name, x in last.items())
                self.bar.update(task, advance=1, description=shown)
                scale = 10 ** (len(str(epoch)) - 1)
                if not self.sparse or epoch % scale == 0 or epoch == self.count:
                    duration = f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
                    self.print(f"epoch {epoch:{len(str(self.count))}}   {shown}   {duration}")
                if not math.isfinite(last["loss"]):
                    self.print(f"The loss is {last['loss']}: stopped. Try a smaller --learning-rate.")
                    return

    def log(self, **measures):
        """Add the measures of this epoch to the history; they are shown when it ends."""
        for name, value in measures.items():
            self.history.setdefault(name, []).append(float(value))

    def print(self, line):
        if self.console.is_terminal:
            self.console.print(line)  # above the bar
        else:
            print(line, flush=True)


def decimals(x, digits):
    """The number to so many digits, zero without a sign."""
    return f"{round(x, digits) + 0.0:.{digits}f}"


# --- Figures ----------------------------------------------------------------------------------------------------------


def new_figure(rows=1, columns=1, title=None):
    """A figure and its axes, in an array of that shape, with a light grid."""
    from matplotlib.figure import Figure  # only when a plot is asked for; it needs no display

    figure = Figure(figsize=(5.2 * columns, 3.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title)
    return figure, axes


def save_figure(figure, path):
    """Write the figure to the file of --plot and say so."""
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        sys.exit(f"The figure could not be written: {error}")
    print(f"wrote {path}")
