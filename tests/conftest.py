"""The tiers of the tests, the backends, and the check that none is skipped where all are required."""

import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # A lock lets one process at a time compile C into a folder, so each worker has a folder of its own.
    folder = f"compiledir_{worker}_%(short_platform)s-%(processor)s-%(python_version)s-%(python_bitwidth)s"
    os.environ["PYTENSOR_FLAGS"] = ",".join([f"compiledir_format={folder}", os.environ.get("PYTENSOR_FLAGS", "")])
elif sys.platform == "linux" and shutil.which("g++"):  # for the workers too, whose environment is this one
    compiled_once = tempfile.TemporaryDirectory(prefix="compiled_once_")
    os.environ["COMPILED_ONCE"] = compiled_once.name
    os.environ["PYTENSOR_FLAGS"] = f"cxx={Path(__file__).with_name('g++')},{os.environ.get('PYTENSOR_FLAGS', '')}"

import pytensor
import pytest
from pytensor.compile.mode import Mode, predefined_linkers, predefined_modes
from pytensor.link.vm import VMLinker

HAVE_JAX = importlib.util.find_spec("jax") is not None
if HAVE_JAX:
    # PyTensor sets JAX's precision from floatX when it loads this: float64 here, whatever a test sets later.
    import jax
    import pytensor.link.jax.dispatch

    jax.config.update("jax_num_cpu_devices", 8)  # for the meshes of test_sharding.py; all else uses the first

if importlib.util.find_spec("pymc") is not None and "PYTEST_XDIST_WORKER" not in os.environ:
    # PyMC imports ArviZ, which warns once a day and notes the day in a file; here, before two workers do it at once.
    with warnings.catch_warnings(action="ignore"):
        import pymc  # noqa: F401


# No test but those of traces reads what these are for, and they take a sixth of the time: where each node was made,
# and for a debugger.
pytensor.config.traceback__limit = 0
pytensor.config.gcc__cxxflags = "-g0"

# --- Tiers ------------------------------------------------------------------------------------------------------------
# Without a mark, a test is of the first tier, which shows in minutes that everything works. Those marked with ci run
# where the variable CI is set, too; those marked with full where SYMUPDATES_FULL is.

FULL = bool(os.environ.get("SYMUPDATES_FULL"))
ASKED_FOR = {"ci": FULL or bool(os.environ.get("CI")), "full": FULL}


def pytest_sessionstart(session):
    if os.environ.get("CI") and not HAVE_JAX:
        raise pytest.UsageError("JAX is not installed, and CI requires its tests: install the extra symupdates[jax].")


def tiers_of(item):
    """The names of its marks; what takes long on NUMBA and C is of the full tier there."""
    marks = {mark.name for mark in item.iter_markers()}
    params = item.callspec.params if hasattr(item, "callspec") else {}
    backend = params.get("backend") or params.get("backend_and_dtype", "?")[0]
    return marks | ({"full"} if "long" in marks and backend in ("NUMBA", "CVM") else set())


def pytest_collection_modifyitems(config, items):
    """Leave out the tiers that were not asked for."""
    out = [item for item in items if not all(ASKED_FOR.get(name, True) for name in tiers_of(item))]
    config.hook.pytest_deselected(items=out)
    gone = set(out)
    items[:] = [item for item in items if item not in gone]


# --- Backends ---------------------------------------------------------------------------------------------------------
# In the first tier, JAX compiles the tests, for it is the fastest, and every backend some rules, for one dtype. CI has
# one backend more, another in each environment of .ci/run, in the place of JAX; the full tier has all.

CI_BACKEND = os.environ.get("SYMUPDATES_BACKEND", "JAX")
BACKENDS = ["CVM", "NUMBA", "JAX"]
ALL_BACKENDS_AND_DTYPES = [(backend, dtype) for backend in BACKENDS for dtype in ("float32", "float64")]
FIRST_BACKENDS = ["JAX"] if CI_BACKEND == "JAX" else []
FIRST_DTYPES = [("CVM", "float64"), ("NUMBA", "float32"), ("JAX", "float32")]
CI_DTYPES = [*FIRST_DTYPES, ("JAX", "float64")]

NEEDS_JAX = pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")


def marks_of(backend, dtype=None, first=FIRST_BACKENDS):
    """The tier of a test that a backend compiles, where some are `first`, and what the backend needs."""
    in_first = backend in first and (dtype is None or (backend, dtype) in FIRST_DTYPES)
    in_ci = backend == CI_BACKEND and (dtype is None or (backend, dtype) in CI_DTYPES)
    tier = [] if in_first else [pytest.mark.ci] if in_ci else [pytest.mark.full]
    return tier + [NEEDS_JAX] * (backend == "JAX")


every_backend = pytest.mark.parametrize(
    "backend", [pytest.param(backend, marks=marks_of(backend, first=BACKENDS)) for backend in BACKENDS]
)


def on_backends(rows, kinds, too_long=lambda name, backend: False):
    """Parametrize a test by a row of a table, a backend and a dtype; the rows of `kinds` are for all backends first.

    CI leaves out what takes `too_long`, by the row's name and the backend.
    """

    def marks(row, backend, dtype):
        first = BACKENDS if row.name in kinds else ()
        return marks_of(backend, dtype, first) + [pytest.mark.full] * too_long(row.name, backend)

    cases = [
        pytest.param(row, *pair, id=f"{row.name}-{'-'.join(pair)}", marks=marks(row, *pair))
        for row in rows
        for pair in ALL_BACKENDS_AND_DTYPES
    ]
    return pytest.mark.parametrize(("row", "backend", "dtype"), cases)


@pytest.fixture(params=[pytest.param(backend, marks=marks_of(backend)) for backend in BACKENDS])
def backend(request):
    """The name of a compilation mode: one of the three backends."""
    return request.param


@pytest.fixture(
    params=[pytest.param(pair, marks=marks_of(*pair), id="-".join(pair)) for pair in ALL_BACKENDS_AND_DTYPES]
)
def backend_and_dtype(request):
    """A backend, and the dtype that is to be compiled for."""
    return request.param


AS_WRITTEN = Mode(VMLinker(use_cloop=False, c_thunks=False), optimizer=None)


@pytest.fixture(autouse=True)
def plain_python(request, monkeypatch):
    """Where a test asks for no backend, graphs are computed as they were written: no compiler, and no rewrites."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if {"backend", "backend_and_dtype"} & set(params):
        yield
        return
    monkeypatch.setitem(predefined_modes, "FAST_COMPILE", AS_WRITTEN)
    if not pytensor.__version__.startswith("2."):  # whose loops need a compiler to compute what is written
        for linker in ("cvm", "vm"):  # of loops, in any mode
            monkeypatch.setitem(predefined_linkers, linker, AS_WRITTEN.linker)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield
