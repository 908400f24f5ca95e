"""Compiling: how long until the first update is made, and how long again with another learning rate.

Each is measured in a process of its own, whose cache is empty or its predecessor's. Run as a program, this file is that
process.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from time import perf_counter

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from contestants import MODES, naive_adam

import symupdates

FLOAT = pytensor.config.floatX


def adjustable(loss, params, rate):
    return symupdates.chain(symupdates.adam(learning_rate=rate), symupdates.adjustable())(loss, params)


def clipped_and_averaged(loss, params, rate):
    clip = symupdates.gradients.clip_by_total_norm(max_norm=1e6)  # which here clips nothing: the losses are comparable
    chain = symupdates.chain(clip, symupdates.adam(learning_rate=rate), symupdates.apply_ema())
    return chain(loss, params)


# The forms of the updates: (loss or gradients, parameters, learning rate) -> updates.
FORMS = {
    "symupdates": symupdates.adam,
    "shared rate": lambda loss, params, rate: symupdates.adam(loss, params, pytensor.shared(rate)),
    "adjustable": adjustable,
    "clip and average": clipped_and_averaged,
    "naive": naive_adam,
}
COLD = ["naive", "symupdates", "clip and average"]
WARM = ["naive", "symupdates", "shared rate", "adjustable"]


@pytest.fixture
def in_process(tmp_path):
    """Compiles in a new process: ``in_process(cache, **what) -> (seconds of each phase by name, first losses)``."""

    def run(cache, **what):
        flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={tmp_path / cache}"]
        environment = {**os.environ, "PYTENSOR_FLAGS": ",".join(filter(None, flags))}
        command = [sys.executable, __file__, json.dumps(what)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    return run


def pytest_generate_tests(metafunc):
    if "model" in metafunc.fixturenames:
        counts = metafunc.config.getoption("--parameters").split(",")
        quick = metafunc.config.getoption("--quick")
        metafunc.parametrize(
            "model", ["4 parameters"] if quick else [*(f"{n} parameters" for n in counts), "21 layers"]
        )


@pytest.mark.parametrize("mode", MODES)
def test_cold(model, mode, in_process, report, benchmark):
    def measure():
        return {form: in_process(form, model=model, mode=mode, form=form, rate=0.001) for form in COLD}

    table = "adam compiled for the first time"
    measured = benchmark.pedantic(measure, rounds=1)
    naive, expected = measured["naive"]
    for form, (phases, losses) in measured.items():
        np.testing.assert_allclose(losses, expected, rtol=1e-4, err_msg=f"{form} differs from naive")
        row = f"{model}, {mode}, {form}"
        for phase, value in phases.items():
            report(table, row, phase, value, unit=" s")
        report(table, row, "total / naive", phases["total"] / naive["total"])
    bare, with_both = (measured[form][0]["total"] for form in ("symupdates", "clip and average"))
    report(table, f"{model}, {mode}, clip and average", "total / without", with_both / bare, 1.5)


@pytest.mark.parametrize("form", WARM)
@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.startswith("JAX")])  # which keeps no cache
def test_warm(mode, form, in_process, report, benchmark, quick):
    what = {"model": "2 parameters" if quick else "10 parameters", "mode": mode, "form": form}

    def measure():
        return [in_process("cache", **what, rate=rate)[0]["total"] for rate in (0.001, 0.001, 0.002)]

    first, again, other = benchmark.pedantic(measure, rounds=1)
    table = f"adam compiled again, {what['model']}"
    report(table, f"{mode}, {form}", "first", first, unit=" s")
    report(table, f"{mode}, {form}", "again", again, unit=" s")
    report(table, f"{mode}, {form}", "another rate", other, unit=" s")
    report(table, f"{mode}, {form}", "another rate / again", other / again)


def alone(count):
    """Nothing but the updates of so many parameters of 64 by 64, of which it returns one number."""
    params = [pytensor.shared(np.full((64, 64), 0.1 + 0.01 * i, FLOAT), name=f"p{i}") for i in range(count)]
    return [], params[0][0, 0], [2 * p for p in params], params


def perceptron(layers):
    rng = np.random.default_rng(0)
    sizes = [784, *[64] * (layers - 1), 10]
    x, y = pt.matrix("x"), pt.lvector("y")
    h, params = x, []
    for i, shape in enumerate(pairwise(sizes)):
        W = pytensor.shared(rng.normal(0, shape[0] ** -0.5, shape).astype(FLOAT), name=f"W{i}")
        b = pytensor.shared(np.zeros(shape[1], FLOAT), name=f"b{i}")
        params += [W, b]
        h = pt.tanh(h @ W + b)
    loss = ((h - pt.eye(10, dtype=FLOAT)[y]) ** 2).mean()
    return [x, y], loss, loss, params


def seconds(function, *arguments):
    start = perf_counter()
    function(*arguments)
    return perf_counter() - start


def main(model, mode, form, rate):
    # Whatever a mode compiles only once is not counted.
    warm = pytensor.shared(np.ones(2, FLOAT))
    pytensor.function([], updates={warm: warm + 1}, mode=MODES[mode])()

    number, what = model.split()
    inputs, output, loss_or_grads, params = (perceptron if what == "layers" else alone)(int(number))
    gradient = min(seconds(symupdates.get_or_compute_grads, loss_or_grads, params) for _ in range(3))
    start = perf_counter()
    updates = FORMS[form](loss_or_grads, params, rate)
    built = perf_counter()
    function = pytensor.function(inputs, output, updates=updates, mode=MODES[mode], profile=True)
    compiled = perf_counter()
    data = [np.ones((128, 784), FLOAT), np.ones(128, "int64")][: len(inputs)]
    losses = [float(function(*data))]
    called = perf_counter()
    losses += [float(function(*data)) for _ in range(3)]

    rewriting = function.profile.rewriting_time
    phases = {
        "gradient": gradient,
        "updates": built - start - gradient,
        "rewriting": rewriting,
        "linking": compiled - built - rewriting,
        "first call": called - compiled,
        "total": called - start,
    }
    print(json.dumps([phases, losses]))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
