"""Theano's name for these modules, in a process: ``install``, ``uninstall``, ``run``."""

import builtins
import collections
import importlib.abc
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import io
import re
import sys
import warnings
from collections import abc, namedtuple
from pathlib import Path
from types import ModuleType

import numpy as np
import pytensor
from pytensor.graph.op import Op
from pytensor.scan.op import Scan
from pytensor.tensor.variable import TensorVariable

import symupdates
from symupdates.theano.modules import MODULES, register
from symupdates.theano.names import PYTHON
from symupdates.theano.parts.compiling import evaluate
from symupdates.theano.parts.config import flags_from_environment
from symupdates.theano.parts.debugging import with_test_values
from symupdates.theano.parts.tensor import truth

__all__ = ["install", "run", "uninstall"]


def install():
    """Register :mod:`symupdates.theano` as ``theano``, with all its modules, for this process.

    Raises
    ------
    RuntimeError
        If a real Theano is imported already, or installed.
    ValueError
        If ``THEANO_FLAGS`` gives a flag a value that it cannot have; nothing is registered.

    Notes
    -----
    Beside ``theano``:

    * ``lasagne.updates`` is :mod:`symupdates`. Lasagne 0.1 asks ``pkg_resources`` for its version, and gets ours while
      it is imported, even where there is another. ``lasagne.layers.dnn`` is imported as if there were a GPU with cuDNN,
      and computes wherever the rest does.
    * Names that Python 3.11, Python 3.10 and NumPy 2 dropped are there again, where they are missing:
      ``inspect.getargspec``, ``collections.Callable`` and others of :mod:`collections.abc`, ``numpy.cast``,
      ``numpy.float`` and others. They mean what they did, and nothing that exists is changed. The list is
      :data:`symupdates.theano.names.PYTHON`. So is ``pkg_resources``, as far as it tells and compares
      versions and finds files.
    * Tensor variables are true in a condition, as in ``if mask:``, but for comparisons, which raise an error. Their
      ``eval`` makes the default updates that :func:`symupdates.theano.function` makes. The Op of a scan has ``inputs``
      and ``outputs``. With the flag compute_test_value, variables have the test values ``x.tag.test_value`` that they
      had; one whose inputs have none is passed over, as with ``"ignore"``.
    * PyTensor 3 warns where a shared variable's default update is set, as Lasagne's batch normalisation does; this
      warning is ignored from here on.
    * The flags floatX, mode, exception_verbosity, on_unused_input, warn_float64 and compute_test_value are taken from
      the environment variable ``THEANO_FLAGS``; others have no effect.

    A second call does nothing. :func:`uninstall` undoes it.
    """
    package = sys.modules["symupdates.theano"]
    present = sys.modules.get("theano")
    if present is package:
        return
    if present is not None:
        raise RuntimeError(
            f"install: theano is imported already, from {getattr(present, '__file__', present)}. Call install before "
            "anything imports it, in an environment where Theano is not installed."
        )
    if (spec := importlib.util.find_spec("theano")) is not None:
        raise RuntimeError(
            f"install: there is a theano at {spec.origin or list(spec.submodule_search_locations)}, which this would "
            "hide. Use it as it is; or uninstall it, or take its folder from sys.path, to run on PyTensor."
        )
    flags_from_environment()
    sys.modules["theano"] = package
    register("theano")
    sys.modules["lasagne.updates"] = symupdates
    sys.meta_path.insert(0, LASAGNE)
    for holder, name, value in (*legacy_names(), *OF_CLASSES):
        if not has(holder, name):
            give(holder, name, value)
    if not has(type(pytensor.config), "compute_test_value"):
        give(Op, "__call__", with_test_values(Op.__call__))
    if sys.modules.get("pkg_resources") is None and importlib.util.find_spec("pkg_resources") is None:
        sys.modules["pkg_resources"] = PKG_RESOURCES
    warnings.filterwarnings("ignore", "Setting default_update is deprecated", DeprecationWarning)


def uninstall():
    """Take back the modules and names of :func:`install`; what has imported them keeps them, and the flags stay."""
    package = sys.modules["symupdates.theano"]
    if sys.modules.get("theano") is not package:
        return
    for name in [name for name in sys.modules if name == "theano" or name.startswith("theano.")]:
        del sys.modules[name]
    sys.modules.pop("lasagne.updates", None)
    if sys.modules.get("pkg_resources") is PKG_RESOURCES:
        del sys.modules["pkg_resources"]
    sys.meta_path.remove(LASAGNE)
    while GIVEN:
        holder, name, before = GIVEN.pop()
        if before is None:
            delattr(holder, name)
        else:
            setattr(holder, name, before)


GIVEN = []


def give(holder, name, value):
    """Set an attribute of a module or a class until :func:`uninstall`."""
    GIVEN.append((holder, name, vars(holder).get(name)))
    setattr(holder, name, value)


def has(holder, name):
    return name in vars(holder)  # not by hasattr, for which NumPy warns; nor does it count what a class inherits


# --- What Python and NumPy dropped ------------------------------------------------------------------------------------


ArgSpec = namedtuple("ArgSpec", ["args", "varargs", "keywords", "defaults"])


def getargspec(func):
    """The names and defaults of a function's arguments, as Python had it up to 3.10."""
    spec = inspect.getfullargspec(func)
    if spec.kwonlyargs or spec.annotations:
        raise ValueError("getargspec: the function has keyword-only arguments or annotations; use getfullargspec.")
    return ArgSpec(*spec[:4])


class Cast(dict):
    """``np.cast[dtype](x)``: an array of that dtype, as NumPy had it up to 1.26."""

    def __missing__(self, dtype):
        return lambda x: np.asarray(x).astype(dtype)


def legacy_names():
    """The dropped names, each with its module and its value."""
    written = {"inspect.getargspec": getargspec, "numpy.cast": Cast()}
    for row in PYTHON:
        module, _, name = row.name.rpartition(".")
        if row.name in written:
            value = written[row.name]
        else:
            holder, _, attribute = row.pytensor.rpartition(".")
            value = getattr({"": builtins, "numpy": np, "collections.abc": abc}[holder], attribute)
        yield {"numpy": np, "inspect": inspect, "collections": collections}[module], name, value


def parse_version(version):
    """The numbers of a release, to be compared: of ``"1.10.0rc1"``, ``(1, 10)``."""
    release = re.match(r"\s*v?(\d+(?:\.\d+)*)", version)
    if release is None:
        raise ValueError(f"parse_version: {version!r} does not begin with a number.")
    numbers = [int(number) for number in release[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


PKG_RESOURCES = ModuleType("pkg_resources", "Versions and files of distributions, as setuptools told them.")
PKG_RESOURCES.get_distribution = importlib.metadata.distribution
PKG_RESOURCES.parse_version = parse_version
PKG_RESOURCES.DistributionNotFound = importlib.metadata.PackageNotFoundError
PKG_RESOURCES.resource_filename = lambda package, path: str(importlib.resources.files(package) / path)

OF_CLASSES = [
    (TensorVariable, "__bool__", truth),
    (TensorVariable, "eval", evaluate),
    (Scan, "inputs", property(lambda op: op.inner_inputs)),
    (Scan, "outputs", property(lambda op: op.inner_outputs)),
]
"""What variables and Ops of PyTensor's are given, while there is a ``theano``."""


# --- Lasagne ----------------------------------------------------------------------------------------------------------


class LasagneFinder(importlib.abc.MetaPathFinder):
    """Finds Lasagne as others do, and has some of its modules loaded with what their first lines need."""

    def __init__(self):
        self.searching = False

    def find_spec(self, name, path=None, target=None):
        if name not in LOADED or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: LOADED[name](execute, module)
        return spec


LASAGNE = LasagneFinder()


def load_lasagne(execute, module):
    """Load Lasagne with a ``pkg_resources`` that tells versions, and without warnings of its sources' age."""
    before = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = PKG_RESOURCES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            execute(module)
    finally:
        del sys.modules["pkg_resources"]
        if before is not None:
            sys.modules["pkg_resources"] = before


def load_dnn_layers(execute, module):
    """Load the layers for cuDNN, which refuse without it, as if it were there: what they call then is served."""
    told = [
        (MODULES[""].config, "device", "gpu"),
        (MODULES["gpuarray"], "pygpu_activated", True),
        (MODULES["gpuarray.dnn"], "dnn_present", lambda: True),
        (MODULES["sandbox.cuda.dnn"], "dnn_available", lambda: True),
    ]
    for holder, name, value in told:
        vars(holder)[name] = value
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are using a GPU layer", UserWarning)
            execute(module)
    finally:
        for holder, name, _ in told:
            del vars(holder)[name]


LOADED = {"lasagne": load_lasagne, "lasagne.layers.dnn": load_dnn_layers}


# --- Scripts ----------------------------------------------------------------------------------------------------------


def run(script, *arguments):
    """Run a script as ``python script arguments...`` would, with :mod:`symupdates.theano` for Theano.

    Parameters
    ----------
    script : path
        A Python 3 file.
    *arguments : str
        What it finds in ``sys.argv[1:]``.

    Returns
    -------
    dict
        The names that the script has defined.

    Notes
    -----
    The script is the module ``__main__``, and its folder the first of ``sys.path``. Both, and ``sys.argv``, stay so.
    """
    install()
    path = Path(script)
    with io.open_code(str(path.resolve())) as file:
        source = file.read()
    try:
        code = compile(source, str(script), "exec", dont_inherit=True)
    except SyntaxError as error:
        error.add_note("If it is Python 2, 2to3 -w (in Python up to 3.12) makes it Python 3.")
        raise
    main = ModuleType("__main__")
    main.__file__ = str(script)
    main.__builtins__ = builtins
    main.__annotations__ = {}
    sys.modules["__main__"] = main
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(path.resolve().parent)
    exec(code, vars(main))
    return vars(main)
