"""Backends, and the check that none is skipped where all are required."""

import importlib.util
import os
import warnings
from zlib import crc32

import pytensor
import pytest

HAVE_JAX = importlib.util.find_spec("jax") is not None
if HAVE_JAX:
    # PyTensor sets JAX's precision from floatX when it loads this: float64 here, whatever a test sets later.
    import jax
    import pytensor.link.jax.dispatch

    jax.config.update("jax_num_cpu_devices", 8)  # for the meshes of test_sharding.py; all else uses the first

HAVE_PYMC = importlib.util.find_spec("pymc") is not None
if HAVE_PYMC and "PYTEST_XDIST_WORKER" not in os.environ:
    # PyMC imports ArviZ, which warns once a day and notes the day in a file; here, before two workers do it at once.
    with warnings.catch_warnings(action="ignore"):
        import pymc  # noqa: F401

BACKENDS = ["CVM", "NUMBA", "JAX"]


def pytest_sessionstart(session):
    if os.environ.get("CI") and not HAVE_JAX:
        raise pytest.UsageError("JAX is not installed, and CI requires its tests: install the extra symupdates[jax].")


# Everything with everything takes long. Without it, backends take turns: a test, or a row in it, has one in each of the
# three environments of .ci/run, and another in each. Rules of a kind stand for each other where what is tested is not
# theirs, and what does not depend on versions is tested once.
FULL = bool(os.environ.get("SYMUPDATES_FULL"))
TURNS = [("CVM", "float64")], [("NUMBA", "float32")], [("JAX", "float32"), ("JAX", "float64")]
ENVIRONMENT = 0 if not HAVE_PYMC else 1 if pytensor.__version__.startswith("2.") else 2
BACKENDS_AND_DTYPES = [("CVM", "float64"), ("NUMBA", "float32"), ("JAX", "float32"), ("JAX", "float64")]
if FULL:
    BACKENDS_AND_DTYPES += [("CVM", "float32"), ("NUMBA", "float64")]


NEEDS_JAX = pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")


def on_backends(rows, everywhere=()):
    """Parametrize a test by a row of a table, a backend and a dtype."""
    cases = [
        pytest.param(row, *pair, id=f"{row.name}-{'-'.join(pair)}", marks=marks_of(pair[0], row.name in everywhere))
        for row in rows
        for pair in BACKENDS_AND_DTYPES
    ]
    return pytest.mark.parametrize(("row", "backend", "dtype"), cases)


def marks_of(backend, everywhere):
    return [NEEDS_JAX] * (backend == "JAX") + [pytest.mark.everywhere] * everywhere


def pytest_collection_modifyitems(config, items):
    """Keep what `TURNS` says and what is not marked with `once`; all where SYMUPDATES_FULL is set."""
    left_out = [] if FULL else [item for item in items if not is_its_turn(item)]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def is_its_turn(item):
    if item.get_closest_marker("once") and HAVE_PYMC:
        return False
    params = item.callspec.params if hasattr(item, "callspec") else {}
    backend, dtype = params.get("backend_and_dtype") or (params.get("backend"), params.get("dtype"))
    if backend not in BACKENDS or item.get_closest_marker("everywhere"):
        return True
    row = params["row"].name if "row" in params else ""
    turn = TURNS[(crc32(f"{item.originalname} {row}".encode()) + ENVIRONMENT) % len(TURNS)]
    return (backend, dtype) in turn if dtype else backend in dict(turn)


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
