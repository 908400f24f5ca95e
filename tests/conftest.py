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
