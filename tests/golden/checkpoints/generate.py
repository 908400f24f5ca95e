"""Make the checkpoints here: files of the format "symupdates 1", as the first version that saved them wrote them.

    python tests/golden/checkpoints/generate.py

They are not made again when the code changes: it is to read them as they are.
"""

from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt

import symupdates

HERE = Path(__file__).resolve().parent
KINDS = np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64


def run():
    """The state of rules: of a named and an unnamed parameter, in two dtypes, with counts, schedules and averages."""
    W, b = (pytensor.shared(np.zeros(3, dtype), name=name) for name, dtype in (("W", "float32"), (None, "float64")))
    adam = symupdates.adam(learning_rate=lambda t: 0.1 / (t + 1))
    updates = adam([pt.vector(dtype=p.dtype) for p in (W, b)], [W, b])
    updates = symupdates.apply_ema(updates)
    for i, variable in enumerate(updates):
        value = variable.get_value(borrow=True)
        variable.set_value(np.full_like(value, 10 * i) + np.arange(value.size, dtype=value.dtype).reshape(value.shape))
    return updates


def groups():
    """Two calls of a rule, each with a count."""
    W, b = (pytensor.shared(np.zeros(3), name=name) for name in ("W", "b"))
    optimizer = symupdates.partition(("W", symupdates.adam()), (..., symupdates.adam()))
    updates = optimizer([pt.vector(), pt.vector()], [W, b])
    for i, variable in enumerate(updates):
        variable.set_value(np.full_like(variable.get_value(), 10 * i))
    return updates


def repeated():
    """Transforms that are applied twice to the parameters, which have one name and none."""
    ps = [pytensor.shared(np.zeros(3), name=name) for name in ("W", "W", None)]
    momentum = symupdates.apply_momentum(momentum=lambda t: 0.5 / (t + 1))
    updates = momentum(momentum(symupdates.sgd([pt.vector()] * 3, ps)))
    for i, variable in enumerate(updates):
        variable.set_value(np.full_like(variable.get_value(), 10 * i))
    return updates


def arrays():
    """Orders, dtypes and sizes of arrays; names of all sorts."""
    values = {
        "C order": np.arange(6.0).reshape(2, 3),
        "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "neither order": np.arange(24, dtype="float32").reshape(2, 3, 4).transpose(1, 0, 2),
        "no elements": np.zeros((0, 3), dtype="int8"),
        "no dimensions": np.array(True),
        "a/../complex": np.array([1 + 2j, np.nan], dtype="complex64"),
        "größer als \N{EURO SIGN}, \N{GRINNING FACE}": np.array([2**64 - 1], dtype="uint64"),
        "long " * 60: np.array([-1], dtype="int16"),
    }
    variables = [pytensor.shared(value, name=name, borrow=True) for name, value in values.items()]
    return dict(zip(variables, variables, strict=True))


def generators():
    """Random generators of every kind; with half of a number left over, where they keep it."""
    made = [np.random.Generator(kind(seed)) for seed, kind in enumerate(KINDS)]
    for generator in made:
        generator.integers(2**32, size=3, dtype="uint32")
    variables = [pytensor.shared(x, name=type(x.bit_generator).__name__) for x in made]
    return dict(zip(variables, variables, strict=True))


CASES = {"run": run, "groups": groups, "repeated": repeated, "arrays": arrays, "generators": generators}


def main():
    for name, case in CASES.items():
        symupdates.save(HERE / f"{name}.ckpt", case())


if __name__ == "__main__":
    main()
