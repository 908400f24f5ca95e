"""Memory: what a step allocates, and what stays, beyond the parameter, the state and the gradient.

Each rule is measured in a process of its own. Run as a program, this file is that process.
"""

import gc
import json
import subprocess
import sys

import numpy as np
import pytest
from contestants import CONTESTANTS, MODES, RULES

NAMES = [*MODES, "optax"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_memory(rule, report, benchmark, quick):
    size = 10**7 if quick else 4 * 10**7
    command = [sys.executable, __file__, rule.name, str(size)]
    done = benchmark.pedantic(lambda: subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True), rounds=1)
    for name, used in json.loads(done.stdout.splitlines()[-1]).items():
        for what, value in used.items():
            table = f"memory {what}, in multiples of the parameter of {size:,} float32 elements"
            report(table, rule.name, name, value, None if name == "optax" else 0.1)


def measure(make, rule, p, g, on_device):
    before = memory("VmRSS")
    step, _ = make(rule, p, g)
    for _ in range(3):
        step()
    gc.collect()
    after = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # the peak begins anew
    step()
    own = (1 + rule.slots + on_device) * p.nbytes
    return {
        "allocated by a step": (memory("VmHWM") - after) / p.nbytes,
        "kept beyond parameter, state and gradient": (after - before - own) / p.nbytes,
    }


def memory(field):
    """A number of bytes from the system's account of this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(rule, size):
    rule = next(each for each in RULES if each.name == rule)
    # The first of each loads its compiler, which is not to be counted.
    small = np.ones(1000, "float32")
    for name in NAMES:
        CONTESTANTS[name](rule, small, small)[0]()
    p, g = np.ones(int(size), "float32"), np.ones(int(size), "float32")
    used = {}
    for name in NAMES:
        gc.collect()
        used[name] = measure(CONTESTANTS[name], rule, p, g, name.startswith(("JAX", "optax")))
    print(json.dumps(used))


if __name__ == "__main__":
    main(*sys.argv[1:])
