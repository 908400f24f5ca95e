"""The path of each rule down a valley, and the curve of each schedule."""

import inspect
import textwrap
from inspect import signature
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from matplotlib.figure import Figure
from pytensor.compile.mode import Mode
from pytensor.gradient import disconnected_grad

import symupdates
from symupdates import schedules
from symupdates.rules import matrix

START = np.array([-7.0, 2.0])
STEPS = 40
RATES = 10 ** np.arange(-3, 1.25, 0.5)
PLAIN = Mode("py", "fast_compile")  # for so few numbers, nothing compiles as fast
FALLING = pytensor.shared(3.0, name="falling")
PLATEAU = pt.maximum(FALLING, 0.0)  # from the 30th update on, at the rate 0.1
PLATEAU.name = "loss"
SCHEDULES = {
    "constant": schedules.constant(0.1),
    "step_decay": schedules.step_decay(0.1, 25, 0.5),
    "piecewise_constant": schedules.piecewise_constant([20, 60], [0.1, 0.05, 0.01]),
    "piecewise_interpolated": schedules.piecewise_interpolated([20, 60, 100], [0.02, 0.1, 0.04, 0.0], "cosine"),
    "linear": schedules.linear(0.1, 0.01, 80),
    "polynomial_decay": schedules.polynomial_decay(0.1, 0.0, 80, power=2.0),
    "exponential_decay": schedules.exponential_decay(0.1, 0.1, 80),
    "inverse_time_decay": schedules.inverse_time_decay(0.1, 1.0, 20),
    "inverse_sqrt_decay": schedules.inverse_sqrt_decay(0.1, 10),
    "cosine_decay": schedules.cosine_decay(0.1, 80),
    "cosine_restarts": schedules.cosine_restarts(0.1, 20),
    "one_cycle": schedules.one_cycle(0.1, 100),
    "cyclic": schedules.cyclic(0.01, 0.1, 12, mode="triangular2"),
    "warmup": schedules.warmup(schedules.cosine_decay(0.1, 80), 20),
    "warmup_stable_decay": schedules.warmup_stable_decay(0.1, 20, 40, 40),
    "join": schedules.join([schedules.constant(0.1), schedules.linear(0.05, 0.0, 40)], [40]),
    "reduce_on_plateau": schedules.reduce_on_plateau(0.1, PLATEAU, factor=0.5, patience=20),
}


def draw_all(folder):
    """Draw what is not there, or older than the module of its function or than this one."""
    for name in symupdates.__all__:
        rule = getattr(symupdates, name)
        if rule.__module__.startswith("symupdates.rules.") and next(iter(signature(rule).parameters)) != "optimizer":
            draw(folder / f"{name}.svg", rule, draw_path, rule, (2, 1) if name in matrix.__all__ else (2,))
    for name, schedule in SCHEDULES.items():
        draw(folder / f"schedules.{name}.svg", getattr(schedules, name), draw_curve, schedule)


def draw(file, function, drawn, *what):
    if file.exists() and file.stat().st_mtime > max(
        Path(source).stat().st_mtime for source in (__file__, inspect.getsourcefile(inspect.unwrap(function)))
    ):
        return
    figure = Figure(figsize=(3.2, 2.2), layout="constrained")
    ax = figure.subplots()
    ax.tick_params(labelsize="x-small")
    ax.spines[["top", "right"]].set_visible(False)
    drawn(ax, *what)
    figure.savefig(file, metadata={"Date": None})


# --- Rules ------------------------------------------------------------------------------------------------------------


def best_path(rule, shape):
    """The rate with the lowest mean height, or None where there is no rate, and the points on the way."""
    p = pytensor.shared(START.reshape(shape), name="p", shape=shape)
    z = p * np.array([20**-0.5, 1.0]).reshape(shape)
    loss, example = (z**2).sum(), pt.dscalar("example")
    rate = pytensor.shared(1.0, name="learning_rate")
    optimizer = symupdates.sgd(learning_rate=rate)
    given = {
        "learning_rate": rate,
        "optimizer": optimizer,
        "outputs": z,
        "divergence": ((z - disconnected_grad(z)) ** 2).sum(),
        "logits": pt.stack([z, -z], axis=-1),
        "examples": {example: pt.constant(np.ones(4))},
        "batch_size": 4,
        "seed": 1,
    }
    asked = {name: value for name, value in given.items() if name in signature(rule).parameters}
    updates = rule(loss * example if "examples" in asked else loss, [p], **asked)
    train = pytensor.function([], [], updates=updates, mode=PLAIN)
    paths = {}
    for value in RATES if {"learning_rate", "optimizer"} & set(asked) else [None]:
        p.set_value(START.reshape(shape))
        symupdates.reset(updates)
        if value is not None:
            rate.set_value(value)
        path = [START]
        for _ in range(STEPS):
            train()
            path.append(p.get_value().ravel())
        paths[value] = np.array(path)
    return min(paths.items(), key=lambda item: np.nan_to_num(height(*item[1].T).mean(), nan=np.inf))


def height(x, y):
    return x**2 / 20 + y**2


def draw_path(ax, rule, shape):
    with np.errstate(all="ignore"):
        rate, path = best_path(rule, shape)
    xs, ys = np.meshgrid(np.linspace(-8, 4, 60), np.linspace(-2.6, 2.6, 60))
    ax.contour(xs, ys, height(xs, ys), levels=height(0, np.arange(0.2, 3, 0.4)), colors="0.8", linewidths=0.6)
    ax.plot(*path.T, ".-", color="C0", lw=1, ms=3)
    ax.plot(0, 0, "*", color="black", ms=7)
    ax.set(xlim=(-8, 4), ylim=(-2.6, 2.6))
    ax.set_title(f"{STEPS} steps" + ("" if rate is None else f", η = {rate:.2g}"), fontsize="small")


# --- Schedules --------------------------------------------------------------------------------------------------------


def draw_curve(ax, schedule):
    updates = symupdates.sgd([pt.ones_like(FALLING)], [FALLING], learning_rate=schedule)
    rate = symupdates.hyperparameters(updates)["sgd/learning_rate"]
    step = pytensor.function([], rate, updates=updates, mode=PLAIN)
    ax.plot([step() for _ in range(121)], color="C0", lw=1.4, drawstyle="steps-post")
    ax.set_ylim(bottom=0)
    ax.set_title(textwrap.fill(str(schedule), 44), fontsize="x-small")
