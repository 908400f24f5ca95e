"""Backends, and the check that none is skipped where all are required."""

import importlib.util
import os
import warnings

import pytest

HAVE_JAX = importlib.util.find_spec("jax") is not None
if HAVE_JAX:
    # PyTensor sets JAX's precision from floatX when it loads this: float64 here, whatever a test sets later.
    import pytensor.link.jax.dispatch  # noqa: F401

if importlib.util.find_spec("pymc") is not None and "PYTEST_XDIST_WORKER" not in os.environ:
    # PyMC imports ArviZ, which warns once a day and notes the day in a file; here, before two workers do it at once.
    with warnings.catch_warnings(action="ignore"):
        import pymc  # noqa: F401

BACKENDS = ["CVM", "NUMBA", "JAX"]


def pytest_sessionstart(session):
    if os.environ.get("CI") and not HAVE_JAX:
        raise pytest.UsageError("JAX is not installed, and CI requires its tests: install the extra symupdates[jax].")


# Everything with everything takes half an hour. Without it, the backends that are slow to compile take turns, and rules
# of a kind stand for each other where what is tested is not theirs.
FULL = bool(os.environ.get("SYMUPDATES_FULL"))
BACKENDS_AND_DTYPES = [("CVM", "float64"), ("NUMBA", "float32"), ("JAX", "float32"), ("JAX", "float64")]
if FULL:
    BACKENDS_AND_DTYPES += [("CVM", "float32"), ("NUMBA", "float64")]


def on_backends(rows, everywhere=()):
    """Parametrize a test by a row of a table, a backend and a dtype.

    Rows take turns on the backends that are slow to compile, but for those that are to run `everywhere`.
    """
    slow = [pair for pair in BACKENDS_AND_DTYPES if pair[0] != "JAX"]
    cases = []
    for i, row in enumerate(rows):
        left_out = [] if FULL or row.name in everywhere else [slow[i % len(slow)]]
        cases += [
            pytest.param(row, *pair, id=f"{row.name}-{'-'.join(pair)}", marks=[NEEDS_JAX] * (pair[0] == "JAX"))
            for pair in BACKENDS_AND_DTYPES
            if pair not in left_out
        ]
    return pytest.mark.parametrize(("row", "backend", "dtype"), cases)


NEEDS_JAX = pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The name of a compilation mode: one of the three backends."""
    return if_installed(request.param)


@pytest.fixture(params=BACKENDS_AND_DTYPES, ids="-".join)
def backend_and_dtype(request):
    """A backend, and the dtype that is to be compiled for."""
    backend, dtype = request.param
    return if_installed(backend), dtype


def if_installed(backend):
    if backend == "JAX" and not HAVE_JAX:
        pytest.skip("JAX is not installed")
    return backend
