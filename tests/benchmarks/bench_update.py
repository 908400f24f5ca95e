"""A rule alone: one update of one parameter by a gradient that is given."""

import numpy as np
import pytest
from contestants import CONTESTANTS, MODES, RULES, example, three_steps

TARGETS = {
    ("NUMBA", "loop"): 1.05,
    ("NUMBA_PER_PARAMETER", "loop"): 1.05,
    ("CVM", "loop"): 3.0,
    ("CVM_SIMD", "loop"): 1.3,
    ("JAX_DONATED", "optax"): 1.1,
}
PAIRS = [
    *((mode, "optax" if mode.startswith("JAX") else "loop") for mode in MODES),
    ("NUMBA", "optax"),
    ("NUMBA", "torch"),
    ("optax", "loop"),
    ("torch", "loop"),
]


# JAX has no doubles here, and the peers are as fast in them as in floats.
DOUBLE = {name: make for name, make in CONTESTANTS.items() if name in {"loop", *MODES} and not name.startswith("JAX")}
BY_DTYPE = {"float32": (CONTESTANTS, PAIRS), "float64": (DOUBLE, [pair for pair in PAIRS if {*pair} <= {*DOUBLE}])}


@pytest.mark.parametrize("dtype", BY_DTYPE)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_update(rule, dtype, in_turn, report, quick):
    size = 10**6 if quick else 10**7
    p, g = example(size, dtype)
    contestants, pairs = BY_DTYPE[dtype]
    made = {name: make(rule, p, g) for name, make in contestants.items()}
    moved = {name: three_steps(step, value) - p for name, (step, value) in made.items()}
    for name, change in moved.items():
        np.testing.assert_allclose(change, moved["loop"], rtol=1e-4, err_msg=f"{rule.name} by {name}")

    times = in_turn({name: step for name, (step, _) in made.items()}, rounds=5 if quick else 25)
    table = f"update of {size:,} {dtype} elements"
    for name, peer in pairs:
        report(table, rule.name, f"{name} / {peer}", times.ratio(name, peer), TARGETS.get((name, peer)))
