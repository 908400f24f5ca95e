"""A rule alone by all threads that the process may use: against one thread, and torch with as many."""

import os

import numpy as np
import pytest
from contestants import RULES, by_hand, by_torch, example, in_mode, three_steps

from symupdates.modes import cvm_simd, numba_per_parameter

MODES = {"CVM_SIMD": cvm_simd, "NUMBA_PER_PARAMETER": numba_per_parameter}
THREADS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_threads(rule, in_turn, report, quick, request):
    import torch

    torch.set_num_threads(THREADS)
    size = request.config.getoption("--elements") or (10**6 if quick else 10**7)
    p, g = example(size)
    makers = {(name, threads): in_mode(mode(threads)) for name, mode in MODES.items() for threads in (1, THREADS)}
    made = {name: make(rule, p, g) for name, make in {**makers, "torch": by_torch}.items()}
    expected = three_steps(*by_hand(rule, p, g)) - p
    for name, (step, value) in made.items():
        change = three_steps(step, value) - p
        np.testing.assert_allclose(change, expected, rtol=1e-4, err_msg=f"{rule.name} by {name}")

    times = in_turn({name: step for name, (step, _) in made.items()}, rounds=5 if quick else 50)
    table = f"update of {size:,} float32 elements by {THREADS} threads"
    for name in MODES:
        target = 0.6 if THREADS == 2 else None
        report(table, rule.name, f"{name} / one thread", times.ratio((name, THREADS), (name, 1)), target)
        report(table, rule.name, f"{name} / torch", times.ratio((name, THREADS), "torch"), 1.0)
