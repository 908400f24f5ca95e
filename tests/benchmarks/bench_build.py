"""Before anything is compiled: the import, and the updates dict of a thousand parameters."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from contestants import naive_adam, naive_sgd

import symupdates


def test_import(in_turn, report, quick, tmp_path):
    # Bytecode is written by the first of them, wherever the environment would have it and even if nowhere.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def imports(module):
        return partial(subprocess.run, [sys.executable, "-c", f"import {module}"], check=True, env=environment)

    functions = {module: imports(module) for module in ("symupdates", "pytensor")}
    times = in_turn(functions, rounds=3 if quick else 15)
    report("import", "symupdates", "symupdates / pytensor", times.ratio("symupdates", "pytensor"), 1.05)
    report("import", "symupdates", "pytensor", times.median("pytensor"), unit=" s")


def adam_and_more(grads, params, rate):
    """With a clip, an average and a gate, and to be adjusted."""
    grads = symupdates.gradients.clip_by_total_norm(grads, max_norm=1.0)
    updates = symupdates.apply_ema(symupdates.adam(grads, params, rate))
    return symupdates.adjustable(symupdates.apply_if_finite(updates))


@pytest.mark.parametrize(
    "rule, naive, target",
    [(symupdates.sgd, naive_sgd, 1), (symupdates.adam, naive_adam, 1), (adam_and_more, naive_adam, 2)],
)
def test_updates(rule, naive, target, in_turn, report, quick):
    params = [pytensor.shared(np.zeros(3, pytensor.config.floatX), name=f"p{i}") for i in range(100 if quick else 1000)]
    loss = pt.add(*((p**2).sum() for p in params))
    grads = pytensor.grad(loss, params)
    functions = {"symupdates": partial(rule, grads, params, 0.001), "naive": partial(naive, grads, params, 0.001)}
    functions["gradient"] = partial(pytensor.grad, loss, params)

    times = in_turn(functions, rounds=3 if quick else 7, warmup_rounds=1)
    table = f"updates dict of {len(params)} parameters, from their gradients"
    row = rule.__name__
    report(table, row, "symupdates", times.median("symupdates"), None if quick else target, unit=" s")
    report(table, row, "naive", times.median("naive"), unit=" s")
    report(table, row, "symupdates / naive", times.ratio("symupdates", "naive"))
    report(table, row, "pytensor.grad", times.median("gradient"), unit=" s")
