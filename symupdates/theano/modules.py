"""Theano's modules, by their paths, and where each name in them is looked for.

A name is looked for in the module's own part of :mod:`symupdates.theano.parts`; then among the renamed of
:mod:`symupdates.theano.names`; in the modules of PyTensor's that hold what the one of Theano's held; among the modules
below it; and last among what cannot be served, of which any use raises an error. A name that is nowhere is an
AttributeError that says what is known of it.
"""

import importlib
import sys
from types import ModuleType

from symupdates.theano.names import ABSENT, CHANGES, RENAMED

__all__ = ["TREE", "TheanoModule", "absent", "modules", "place"]

PARTS = "symupdates.theano.parts"
TENSOR = (
    f"{PARTS}.tensor",
    "pytensor.tensor",
    "pytensor.tensor.type",
    "pytensor.tensor.math",
    "pytensor.tensor.basic",
    "pytensor.tensor.extra_ops",
    "pytensor.tensor.subtensor",
    "pytensor.tensor.elemwise",
    "pytensor.tensor.shape",
    "pytensor.tensor.variable",
    "pytensor.tensor.sharedvar",
    "pytensor.tensor.blas",
    "pytensor.gradient",
)
LINALG = (
    f"{PARTS}.linalg",
    f"{PARTS}.tensor",
    "pytensor.tensor.linalg",
    "pytensor.tensor.nlinalg",
    "pytensor.tensor.slinalg",
    *TENSOR,
)
GRAPH = (
    f"{PARTS}.compiling",
    f"{PARTS}.debugging",
    "pytensor.graph.basic",
    "pytensor.graph.op",
    "pytensor.graph.type",
    "pytensor.graph.fg",
    "pytensor.graph.traversal",
    "pytensor.graph.features",
    "pytensor.graph.rewriting.basic",
    "pytensor.graph.rewriting.db",
    "pytensor.graph.rewriting.utils",
    "pytensor.graph.utils",
    "pytensor.graph.null_type",
    "pytensor.link.basic",
    "pytensor.link.c.op",
    "pytensor.link.c.type",
)
COMPILE = (
    f"{PARTS}.compiling",
    "pytensor.compile",
    "pytensor.compile.mode",
    "pytensor.compile.io",
    "pytensor.compile.sharedvalue",
    "pytensor.compile.ops",
    "pytensor.compile.builders",
    "pytensor.compile.profiling",
    "pytensor.compile.debug.profiling",
    "pytensor.compile.function.types",
    "pytensor.compile.maker",
    "pytensor.compile.nanguardmode",
    "pytensor.compile.debug.nanguardmode",
    "pytensor.compile.monitormode",
    "pytensor.compile.debug.monitormode",
    "pytensor.compile.debugmode",
    "pytensor.compile.debug.debugmode",
)
NNET = (f"{PARTS}.nnet",)
CONV = (f"{PARTS}.conv", f"{PARTS}.upsampling")
CORR = (f"{PARTS}.corr", *CONV)
OLD_CONV = (f"{PARTS}.conv_old",)
POOL = (f"{PARTS}.pool",)
NEIGHBOURS = (f"{PARTS}.neighbours",)
STREAMS = (f"{PARTS}.streams",)
GPU = (f"{PARTS}.gpu",)
DNN = (f"{PARTS}.dnn", *GPU)
SPARSE = ("pytensor.sparse", "pytensor.sparse.basic", "pytensor.sparse.type", "pytensor.sparse.math")
REWRITING = (
    "pytensor.tensor.rewriting.basic",
    "pytensor.tensor.rewriting.elemwise",
    "pytensor.tensor.rewriting.math",
    "pytensor.tensor.rewriting.shape",
    "pytensor.tensor.rewriting.subtensor",
)
OF_GPU = (
    "basic_ops blas blocksparse conv cula dnn_flags dnn_opt elemwise extra_ops fft fftconv kernel_codegen linalg "
    "multinomial neighbours nerv nnet nvcc_compiler opt opt_util pool reduction rng_curand rng_mrg sort subtensor type "
    "var"
).split()

TREE = {
    "": (*COMPILE[:1], f"{PARTS}.config", "pytensor", *COMPILE, *GRAPH, "pytensor.gradient", "pytensor.printing"),
    "compat": (f"{PARTS}.compat",),
    "compat.python2x": (f"{PARTS}.compat",),
    "compile": COMPILE,
    "compile.builders": COMPILE,
    "compile.debugmode": COMPILE,
    "compile.function": COMPILE,
    "compile.function_module": COMPILE,
    "compile.io": COMPILE,
    "compile.mode": COMPILE,
    "compile.monitormode": COMPILE,
    "compile.nanguardmode": COMPILE,
    "compile.ops": COMPILE,
    "compile.pfunc": COMPILE,
    "compile.profiling": COMPILE,
    "compile.sharedvalue": COMPILE,
    "configdefaults": (f"{PARTS}.config",),
    "configparser": (f"{PARTS}.config",),
    "d3viz": ("pytensor.d3viz",),
    "gof": GRAPH,
    "gof.fg": GRAPH,
    "gof.graph": GRAPH,
    "gof.null_type": GRAPH,
    "gof.op": GRAPH,
    "gof.opt": GRAPH,
    "gof.optdb": GRAPH,
    "gof.toolbox": GRAPH,
    "gof.type": GRAPH,
    "gof.utils": GRAPH,
    "gpuarray": GPU,
    "gpuarray.dnn": DNN,
    **{f"gpuarray.{name}": GPU for name in OF_GPU},
    "gradient": ("pytensor.gradient",),
    "ifelse": ("pytensor.conditional", "pytensor.ifelse"),
    "misc": ("pytensor.misc",),
    "misc.pkl_utils": ("pytensor.misc.pkl_utils",),
    "misc.safe_asarray": (f"{PARTS}.compat",),
    "printing": ("pytensor.printing",),
    "raise_op": ("pytensor.raise_op",),
    "sandbox": (),
    "sandbox.cuda": GPU,
    "sandbox.cuda.dnn": DNN,
    **{f"sandbox.cuda.{name}": GPU for name in OF_GPU},
    "sandbox.gpuarray": GPU,
    "sandbox.gpuarray.dnn": DNN,
    **{f"sandbox.gpuarray.{name}": GPU for name in OF_GPU},
    "sandbox.linalg": LINALG,
    "sandbox.linalg.ops": LINALG,
    "sandbox.neighbours": NEIGHBOURS,
    "sandbox.rng_mrg": STREAMS,
    "sandbox.softsign": NNET,
    "scalar": ("pytensor.scalar",),
    "scalar.basic": ("pytensor.scalar",),
    "scan_module": (f"{PARTS}.compiling", "pytensor.scan"),
    "scan_module.scan": (f"{PARTS}.compiling",),
    "scan_module.scan_op": ("pytensor.scan.op",),
    "scan_module.scan_utils": (f"{PARTS}.compiling", "pytensor.scan.utils"),
    "scan_module.scan_views": (f"{PARTS}.compiling",),
    "sparse": SPARSE,
    "sparse.basic": SPARSE,
    "sparse.type": SPARSE,
    "tensor": (*TENSOR, f"{PARTS}.config"),
    "tensor.basic": TENSOR,
    "tensor.blas": TENSOR,
    "tensor.elemwise": TENSOR,
    "tensor.extra_ops": TENSOR,
    "tensor.fft": ("pytensor.tensor.fft",),
    "tensor.nlinalg": LINALG,
    "tensor.nnet": (*NNET, *CORR),
    "tensor.nnet.abstract_conv": CONV,
    "tensor.nnet.bn": NNET,
    "tensor.nnet.conv": OLD_CONV,
    "tensor.nnet.conv3d2d": OLD_CONV,
    "tensor.nnet.corr": CORR,
    "tensor.nnet.corr3d": CORR,
    "tensor.nnet.ctc": (),
    "tensor.nnet.neighbours": NEIGHBOURS,
    "tensor.nnet.nnet": NNET,
    "tensor.nnet.sigm": NNET,
    "tensor.opt": (*REWRITING, "pytensor.raise_op"),
    "tensor.raw_random": (),
    "tensor.shared_randomstreams": STREAMS,
    "tensor.sharedvar": (*TENSOR, f"{PARTS}.compiling", "pytensor.compile.sharedvalue"),
    "tensor.signal": (),
    "tensor.signal.conv": OLD_CONV,
    "tensor.signal.downsample": POOL,
    "tensor.signal.pool": POOL,
    "tensor.slinalg": LINALG,
    "tensor.sort": TENSOR,
    "tensor.subtensor": TENSOR,
    "tensor.type": TENSOR,
    "tensor.utils": ("pytensor.tensor.utils",),
    "tensor.var": TENSOR,
    "tests": (),
    "tests.breakpoint": ("pytensor.breakpoint",),
    "tests.unittest_tools": (f"{PARTS}.testing",),
    "typed_list": ("pytensor.typed_list",),
    "updates": (f"{PARTS}.compiling",),
    "version": (f"{PARTS}.compat",),
}
"""Theano's modules by their paths below ``theano``, each with the modules that its names are looked for in."""

RENAMES = {row.name: row.pytensor for row in RENAMED}
ABSENCES = {row.name: row for row in ABSENT}


def existing(module):
    """The module of that name, or None where this PyTensor has none."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None


class Absent(type):
    """The class of what stands for names that cannot be served: what is in one of these is another."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls._name}.{name}", cls._advice)


def absent(name, advice=""):
    """What stands for a name that cannot be served: a class, so that isinstance can test for it.

    Any call of it raises a RuntimeError with the advice.
    """

    def refuse(cls, *args, **kwargs):
        raise RuntimeError(
            f"{name} is not there: neither PyTensor nor symupdates.theano has it. {advice or 'There is no substitute.'}"
        )

    contents = {"__new__": refuse, "__doc__": f"Not served; see {__name__}.", "_name": name, "_advice": advice}
    return Absent(name.rpartition(".")[2], (), contents)


class TheanoModule(ModuleType):
    """A module of Theano's, made of what serves its names."""

    def __init__(self, path, serving):
        super().__init__(f"theano.{path}" if path else "theano", f"Theano's module ``{path}``, as PyTensor has it.")
        self.__path__ = []
        self._path = path
        self._serving = serving

    def __getattr__(self, name):
        if name == "__all__":
            value = public_names(self._serving)
        elif name.startswith("__"):
            raise AttributeError(name)
        else:
            value = self._find(name)
        setattr(self, name, value)
        return value

    def _find(self, name):
        full = f"{self.__name__}.{name}"
        path = full.removeprefix("theano.")
        own, others = divided(self._serving)
        if (module := holder(own, name)) is not None:
            return vars(module)[name]
        if full in RENAMES:
            module, _, renamed = RENAMES[full].rpartition(".")
            return getattr(importlib.import_module(module), renamed)
        if path in MODULES:
            return MODULES[path]
        if full in ABSENCES:
            return absent(full, advice(ABSENCES[full]))
        if (module := holder(others, name)) is not None:
            return vars(module)[name]
        for above in (row for known, row in ABSENCES.items() if full.startswith(f"{known}.")):
            return absent(full, advice(above))
        known = CHANGES.get(full)
        raise AttributeError(
            f"symupdates.theano has no {full}, nor has PyTensor." + (f" {advice(known)}" if known else ""), name=name
        )

    def __dir__(self):
        return sorted({*super().__dir__(), *self.__all__})


def divided(serving):
    """Of the modules that a module of Theano's is made of, those that are ours, and PyTensor's."""
    return [[m for m in serving if m.startswith(PARTS) is ours] for ours in (True, False)]


def holder(modules, name):
    """The first of the modules that has the name, or None."""
    for module in filter(None, map(existing, modules)):
        if name in vars(module):  # not by getattr, which warns of what PyTensor has moved
            return module
    return None


def place(full):
    """Where PyTensor has what Theano had under that name, in full, with the same meaning; None where it has it not."""
    path, _, name = full.removeprefix("theano.").rpartition(".")
    own, others = divided(TREE.get(path, ()))
    if full in CHANGES or full.removeprefix("theano.") in TREE or holder(own, name) is not None:
        return None
    if (module := holder(others, name)) is None:
        return None
    value = vars(module)[name]
    home = existing(getattr(value, "__module__", None) or module.__name__)  # others import it from there
    module = home if home is not None and vars(home).get(name) is value else module
    return f"{module.__name__}.{name}"


def public_names(serving):
    """What a star import takes: the public names of the first module that is ours and of the first that is not."""
    found = {}
    for module in filter(None, map(existing, serving)):
        if module.__name__.startswith(PARTS):
            found |= dict.fromkeys(module.__all__)
        else:
            return [*found, *(name for name in vars(module) if not name.startswith("_") and name not in found)]
    return list(found)


def advice(row):
    return " ".join(filter(None, [f"Write {row.pytensor} instead." if row.pytensor else "", row.note]))


MODULES = {path: TheanoModule(path, serving) for path, serving in TREE.items()}


def modules():
    """Theano's modules below ``theano``, by their paths."""
    return {path: module for path, module in MODULES.items() if path}


def register(name):
    """Make the modules importable below a package of that name."""
    for path, module in modules().items():
        sys.modules[f"{name}.{path}"] = module
