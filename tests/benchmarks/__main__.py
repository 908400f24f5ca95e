"""How fast symupdates is, as ratios: updates, training steps, many in one call, rows, compiling, building, memory.

    pip install -e ".[benchmarks]"
    python tests/benchmarks                            everything: about an hour
    python tests/benchmarks update mlp                 some sections
    python tests/benchmarks update --quick -k adam     small sizes, some rules
    python tests/benchmarks compile --parameters 100,300
    python tests/benchmarks device                     on a GPU, where JAX has one
    python tests/benchmarks device --elements 10000000
    python tests/benchmarks threads                    on all cores that the process may use
    python tests/benchmarks update mlp --newest        again in a new environment, with the newest of all packages

Sections come first; whatever follows them goes to pytest. ``--benchmark-json=FILE`` keeps all numbers.

update      a rule alone, on 10 million numbers: against a loop by hand in numba; in float32 against optax and torch too
mlp         a training step of a perceptron with four hidden layers of 100, batch 128: against optax
conv        a training step of LeNet, two convolutions with pooling, batch 128: against torch, and jax by hand
loop        many steps in one call: against a call a step, and jax.lax.scan with optax
rows        a step on the rows of a table that are looked up: against the whole table, and torch
compile     the first compilation, against the naive form, and what a clip and an average add; and what another
            learning rate costs later
build       importing, and the updates dict of a thousand parameters
memory      what a step allocates beyond parameters, state and gradient

device      adam on 100 million float32 numbers, on JAX's default device: against optax, torch (on CUDA where it has it)
            and a copy
threads     a rule alone, by all threads that the process may use: against one, and torch with as many
            device and threads run only where asked for, and each by itself

All that is compared is timed in one run and in turn, B C A, C B A …, on one core (but for device and threads), after
checking that it computes the same. A number in a table is a ratio, the median over the rounds, or has a unit. A target
stands at the head of its column, and ✗ at what misses it. Nothing fails for being slow: it fails where a contestant
computes something else.

``--newest`` is for another interpreter, python3.13 or ``--newest=PYTHON``: as PyTensor 3.3 needs a newer one than 3.0.

The modes of symupdates.modes take part by themselves. Another form of the updates, or another way to compile them, is
one line in ``FORMS`` of bench_compile.py or in ``MODES`` of contestants.py.
"""

import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
SECTIONS = ["update", "mlp", "conv", "loop", "rows", "compile", "build", "memory"]
BY_ITSELF = ["device", "threads"]  # where the others are pinned to one core of the CPU


def main(*arguments):
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    newest = [argument for argument in arguments if argument.partition("=")[0] == "--newest"]
    arguments = [argument for argument in arguments if argument not in newest]
    sections = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    if unknown := [section for section in sections if section not in [*SECTIONS, *BY_ITSELF]]:
        print(f"There is no section {', '.join(unknown)}, only {', '.join([*SECTIONS, *BY_ITSELF])}.", file=sys.stderr)
        return 2
    alone = set(BY_ITSELF) & set(sections)
    if alone and len(set(sections)) > 1:
        print(f"{min(alone)} runs by itself: other sections are pinned to one core of the CPU.", file=sys.stderr)
        return 2
    if newest:
        # In processes of their own: this one would be pinned for the second environment, too.
        here = subprocess.run([sys.executable, __file__, *arguments]).returncode
        return here or in_newest(newest[-1].partition("=")[2] or "python3.13", arguments)

    # One core for all, before any library counts them; and single precision for JAX as well as for PyTensor.
    if not alone:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", JAX_PLATFORMS="cpu")
    os.environ["PYTENSOR_FLAGS"] = ",".join(filter(None, [os.environ.get("PYTENSOR_FLAGS"), "floatX=float32"]))

    import pytest

    files = [str(HERE / f"bench_{section}.py") for section in sections or SECTIONS]
    options = "-p tables -p no:xdist -p no:cacheprovider -W ignore --benchmark-quiet --benchmark-disable-gc"
    return pytest.main([*files, *options.split(), *arguments[len(sections) :]])


def in_newest(python, arguments):
    """The same by another interpreter, with all packages as they are published today."""
    with TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        own = Path(folder, "bin", "python")
        subprocess.run([own, "-m", "pip", "install", "-q", "-e", f"{HERE.parents[1]}[benchmarks]"], check=True)
        return subprocess.run([own, __file__, *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
