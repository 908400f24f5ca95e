"""How far each rule comes on four problems, at the best of eleven learning rates.

    quadratic    ½ xᵀA x in 20 dimensions, A of condition 10⁴ with random axes
    rosenbrock   the banana valley, from (-1.2, 1)
    logistic     logistic regression with a little weight decay on scikit-learn's breast cancer data
    digits       a multi-layer perceptron on scikit-learn's digits, minibatches of 128

Each rule runs with its defaults and every learning rate from 0.0001 to 10, half a decade apart; one that has no
learning rate runs once. The table has the lowest final loss above the minimum of the problem, its learning rate, and
the size of the state that the rule keeps, in multiples of the parameters. The picture has all final losses. Rules that
sample a posterior do not settle in the minimum: they end at the height of their noise.
"""

import argparse
from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import (
    ALL_RULES,
    MODES,
    add_backend_option,
    add_plot_option,
    name_of,
    new_figure,
    positive,
    save_figure,
)
from pytensor.gradient import disconnected_grad
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.optimize import minimize

import symupdates

OF_OUTPUTS = ("gauss_newton", "levenberg_marquardt", "natural_gradient")
RULES = dict(sorted({**ALL_RULES, **{name: getattr(symupdates, name) for name in OF_OUTPUTS}}.items()))
RATES = 10 ** np.arange(-4, 1.25, 0.5)
ROSENBROCK_START = np.array([-1.2, 1.0])


# --- Problems ---------------------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """A loss of parameters; the inputs' data for each step; and for the rules that ask for them, what lies between.

    The outputs are those of the model, through which the loss depends on the parameters, and the divergence is that of
    their distribution, of which the loss is the negative log-likelihood, from what it is now. The loss is a mean over
    so many examples.
    """

    loss: pt.TensorVariable
    params: list
    outputs: pt.TensorVariable
    divergence: pt.TensorVariable
    lowest: float = 0.0
    inputs: tuple = ()
    data: tuple = ()
    examples: int = 1


def of_squares(z, params, scale):
    """The loss that is the scale times the squares of residuals, which are of a normal distribution."""
    return Problem(scale * (z**2).sum(), params, z, scale * ((z - disconnected_grad(z)) ** 2).sum())


def quadratic(steps):
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    x = pytensor.shared(np.ones(20), name="x", shape=(20,))
    return of_squares(pt.constant(np.logspace(0, -2, 20)[:, None] * axes.T) @ x, [x], 0.5)


def rosenbrock(steps):
    x = pytensor.shared(ROSENBROCK_START, name="x", shape=(2,))
    return of_squares(pt.stack([1 - x[0], 10 * (x[1] - x[0] ** 2)]), [x], 1.0)


def logistic(steps):
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    x, sign = (x - x.mean(axis=0)) / x.std(axis=0), 2.0 * y - 1

    def value(w):
        margins = sign * (x @ w[:-1] + w[-1])
        slopes = -sign / (1 + np.exp(margins)) / len(x)
        gradient = np.append(x.T @ slopes, slopes.sum()) + 1e-3 * w
        return np.logaddexp(0, -margins).mean() + 5e-4 * w @ w, gradient

    best = minimize(
        value, np.zeros(31), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 0, "gtol": 1e-9}
    )
    w, b = pytensor.shared(np.zeros(30), name="w", shape=(30,)), pytensor.shared(0.0, name="b")
    z = pt.constant(x) @ w + b
    loss = pt.softplus(-sign * z).mean() + 5e-4 * ((w**2).sum() + b**2)
    old = disconnected_grad(z)
    divergence = (pt.sigmoid(old) * (old - z) - pt.softplus(old) + pt.softplus(z)).mean()
    return Problem(loss, [w, b], z, divergence, best.fun, examples=len(x))


def digits(steps):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, targets = images / 16, np.eye(10)[labels]
    rng = np.random.default_rng(0)
    params = []
    for i, shape in enumerate(pairwise((64, 50, 10))):
        W = rng.normal(0, (2 / shape[0]) ** 0.5, shape)
        params += [pytensor.shared(W, name=f"W{i}", shape=shape)]
        params += [pytensor.shared(np.zeros(shape[1]), name=f"b{i}", shape=shape[1:])]
    x, y = (pt.tensor(name, shape=(128, width), dtype="float64") for name, width in (("x", 64), ("y", 10)))
    hidden = pt.maximum(x @ params[0] + params[1], 0)
    z = hidden @ params[2] + params[3]
    log_p = pt.special.log_softmax(z, axis=1)
    old = disconnected_grad(log_p)
    divergence = (pt.exp(old) * (old - log_p)).sum(axis=1).mean()
    orders = [rng.permutation(len(images))[:1792].reshape(14, 128) for _ in range(-(-steps // 14))]
    batches = [(images[i], targets[i]) for order in orders for i in order]
    loss = -(y * log_p).sum(axis=1).mean()
    return Problem(loss, params, z, divergence, inputs=(x, y), data=tuple(batches[:steps]), examples=len(images))


PROBLEMS = {"quadratic": (quadratic, 1000), "rosenbrock": (rosenbrock, 1000), "logistic": (logistic, 300)}
PROBLEMS["digits"] = (digits, 280)


# --- Runs -------------------------------------------------------------------------------------------------------------


def evaluation_point(updates):
    """The averages of rules that keep them: it is there that their loss counts."""
    try:
        return symupdates.averages(updates)
    except ValueError:
        return {}


def final_losses(rule, problem, steps, mode):
    """The loss above the minimum after training at each learning rate, infinite if it diverged; and the state's size.

    For a problem with data, it is the mean of the last 14 minibatches.
    """
    problem = problem(steps)
    params, data = problem.params, problem.data or [()] * steps
    rate = pytensor.shared(1.0, name="learning_rate")
    arguments = {
        "learning_rate": rate,
        "outputs": problem.outputs,
        "divergence": problem.divergence,
        "effective_sample_size": problem.examples,
        "seed": 0,
    }
    asked = {name: value for name, value in arguments.items() if name in signature(rule).parameters}
    rated = "learning_rate" in asked
    updates = rule(problem.loss, params, **asked)
    train = pytensor.function(problem.inputs, [], updates=updates, mode=mode)
    evaluate = pytensor.function(problem.inputs, problem.loss, givens=evaluation_point(updates), mode=mode)
    start = [np.array(p.get_value()) for p in params]
    losses = []
    for learning_rate in RATES if rated else RATES[:1]:
        rate.set_value(learning_rate)
        for p, value in zip(params, start, strict=True):
            p.set_value(value)
        symupdates.reset(updates)
        for batch in data:
            train(*batch)
        height = np.mean([float(evaluate(*batch)) for batch in problem.data[-14:] or [()]]) - problem.lowest
        losses.append(max(height, 0) if np.isfinite(height) else np.inf)
    state = sum(np.asarray(v.get_value()).nbytes for v in updates if symupdates.core.is_state(v))
    return losses, state / sum(value.nbytes for value in start)


def report(results):
    problems = list(next(iter(results.values())))
    table = Table("rule", *problems, "state", title="Loss above the minimum, at the best learning rate")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, by_problem in results.items():
        cells = []
        for losses, _ in by_problem.values():
            best = int(np.argmin(losses))
            cells.append(f"{losses[best]:.1e}" + (f" at {RATES[best]:.2g}" if len(losses) > 1 else ""))
        table.add_row(name, *cells, f"{by_problem[problems[-1]][1]:.2f}")
    Console(width=max(100, 24 + 22 * len(problems))).print(table)


def draw(results, file):
    problems = list(next(iter(results.values())))
    figure, axes = new_figure(1, len(problems))
    figure.set_size_inches(4 * len(problems), max(4, 2 + 0.22 * len(results)))
    for ax, problem in zip(axes.flat, problems, strict=True):
        heights = np.full((len(results), len(RATES)), np.inf)
        for i, by_problem in enumerate(results.values()):
            heights[i] = by_problem[problem][0]
        log = np.log10(np.clip(heights, 1e-12, 1e3))
        ax.grid(False)
        image = ax.imshow(log, aspect="auto", cmap="viridis_r", vmin=max(log.min(), -12), vmax=min(log.max(), 2))
        ax.set(title=problem, xlabel="learning rate", xticks=range(0, len(RATES), 2))
        ax.set_xticklabels([f"{rate:g}" for rate in RATES[::2]], fontsize="x-small")
        ax.set_yticks(range(len(results)), list(results) if ax is axes.flat[0] else [], fontsize="x-small")
        figure.colorbar(
            image, ax=ax, location="bottom", pad=0.01, aspect=30, label="log₁₀ of the loss above the minimum"
        )
    save_figure(figure, file)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.epilog = "Without --plot, the picture is written to convergence.png."
    parser.add_argument("--optimizers", nargs="+", type=name_of(RULES, "rule"), default=list(RULES), metavar="RULE")
    parser.add_argument(
        "--problems", nargs="+", type=name_of(PROBLEMS, "problem"), default=list(PROBLEMS), metavar="PROBLEM"
    )
    parser.add_argument("--steps", type=positive(int), metavar="N", help="default: 1000, 1000, 300 and 280")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    add_plot_option(parser)
    parser.set_defaults(plot=Path("convergence.png"))
    args = parser.parse_args(argv)
    results = {}
    for name in track(args.optimizers, "rules", transient=True):
        results[name] = {}
        for problem in args.problems:
            make, steps = PROBLEMS[problem]
            results[name][problem] = final_losses(RULES[name], make, args.steps or steps, MODES[args.backend])
    report(results)
    draw(results, args.plot)


if __name__ == "__main__":
    main()
