"""What is known of Theano's and Lasagne's names: tables, and what the installed PyTensor has."""

import importlib
import warnings
from functools import cache

import pytensor

from symupdates.theano.modules import place
from symupdates.theano.names import CHANGES

KINDS = ("silent", "renamed", "changed", "gone")

LEGACY = ("theano", "lasagne")
OF_GRAPHS = (*LEGACY, "pytensor", "symupdates")

STREAMS = ("theano.sandbox.rng_mrg.MRG_RandomStreams", "theano.tensor.shared_randomstreams.RandomStreams")
STREAM = "pytensor.tensor.random.utils.RandomStream"
ALL_STREAMS = (*STREAMS, STREAM, "pytensor.tensor.random.RandomStream")

# By position, the arguments of Theano's streams; and by name, those that are called otherwise now, or no more.
DRAWS = {
    "normal": "size avg std ndim dtype nstreams",
    "uniform": "size low high ndim dtype nstreams",
    "binomial": "size n p ndim dtype nstreams",
    "multinomial": "size n pvals ndim dtype nstreams",
    "choice": "size a replace p ndim dtype nstreams",
    "random_integers": "size low high ndim dtype",
    "permutation": "size n ndim dtype",
}
KEYWORDS = {"avg": "loc", "std": "scale", "pvals": "p"}
DROPPED_KEYWORDS = {"ndim", "nstreams"}

# What Theano computed, in PyTensor's terms, for each number of arguments. T is pytensor.tensor.
EXPRESSIONS = {
    "theano.tensor.nnet.softmax": {"x": "T.special.softmax(x if x.ndim > 1 else x[None], axis=-1)"},
    "theano.tensor.nnet.logsoftmax": {"x": "T.special.log_softmax(x if x.ndim > 1 else x[None], axis=-1)"},
    "theano.tensor.nnet.relu": {"x": "0.5 * (x + abs(x))"},
    "theano.tensor.nnet.elu": {"x": "T.switch(x > 0, x, T.expm1(x))"},
    "theano.tensor.max_and_argmax": {"a, axis": "(T.max(a, axis=axis), T.argmax(a, axis=axis))"},
}
# The arguments of what is an expression in the table of names.
for name, arguments in {
    "nnet.relu": "x, alpha",
    "nnet.elu": "x, alpha",
    "nnet.selu": "x",
    "nnet.softsign": "x",
    "nnet.hard_sigmoid": "x",
    "nnet.softmax_with_bias": "x, b",
    "nnet.sigmoid_binary_crossentropy": "output, target",
    "nnet.batch_normalization": "inputs, gamma, beta, mean, std",
    "extra_ops.to_one_hot": "y, nb_class",
}.items():
    expression = CHANGES[f"theano.tensor.{name}"].pytensor.replace("pytensor.tensor.", "T.")
    EXPRESSIONS.setdefault(f"theano.tensor.{name}", {})[arguments] = expression

# Where the syntax tells how many axes an argument has: its name, and the part of the expression that is for that.
BY_AXES = {
    "theano.tensor.nnet.softmax": (
        "x",
        {1: "T.special.softmax(x, axis=-1)[None]", 2: "T.special.softmax(x, axis=-1)"},
    ),
    "theano.tensor.nnet.logsoftmax": (
        "x",
        {1: "T.special.log_softmax(x, axis=-1)[None]", 2: "T.special.log_softmax(x, axis=-1)"},
    ),
}
for name, other in {
    "nnet.bn.batch_normalization": "nnet.batch_normalization",
    "nnet.softsign.softsign": "nnet.softsign",
    "nnet.nnet.softmax": "nnet.softmax",
    "nnet.nnet.logsoftmax": "nnet.logsoftmax",
    "nnet.nnet.relu": "nnet.relu",
    "nnet.sigm.hard_sigmoid": "nnet.hard_sigmoid",
    "to_one_hot": "extra_ops.to_one_hot",
}.items():
    for table in (EXPRESSIONS, BY_AXES):
        if f"theano.tensor.{other}" in table:
            table[f"theano.tensor.{name}"] = table[f"theano.tensor.{other}"]

# What is replaced by a name: what was renamed, and what is as safe to replace, though there is more to say of it.
NAMES = {
    row.name: row.pytensor
    for row in CHANGES.values()
    if row.kind == "renamed" or row.name.endswith((".AdvancedSubtensor1", ".ifelse.ifelse"))
} | {
    "theano.tensor.TensorVariable": "pytensor.tensor.TensorVariable",
    "theano.tensor.var.TensorVariable": "pytensor.tensor.TensorVariable",
    "theano.tensor.alloc_diag": "pytensor.tensor.diag",
    "theano.tensor.nlinalg.alloc_diag": "pytensor.tensor.diag",
}

# What PyTensor lacks and symupdates has, with Theano's names and meaning: the same path under symupdates.
SERVED = {row.name for row in CHANGES.values() if row.pytensor == f"symupdates.{row.name}"} | {
    "theano.sandbox.cuda.dnn"
}

# What has probabilities for its result, of which symupdates.theano.tensor.log knows the logits.
PROBABILITIES = {
    *(
        f"theano.tensor.{name}"
        for name in (
            "nnet.softmax nnet.softmax_with_bias nnet.softmax_graph nnet.sigmoid nnet.nnet.softmax nnet.nnet.sigmoid "
            "nnet.sigm.sigmoid sigmoid special.softmax"
        ).split()
    ),
    "lasagne.nonlinearities.softmax",
    "lasagne.nonlinearities.sigmoid",
}

BUILTINS = {row.name: row.pytensor for row in CHANGES.values() if row.pytensor in {"float", "int", "object", "dict"}}

DTYPES = {
    "bool",
    *"int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split(),
}

RULES_OF_MOMENTUM = {
    f"{module}.{name}"
    for module in ("lasagne.updates", "symupdates")
    for name in ("apply_momentum", "apply_nesterov_momentum")
}

CONSTRUCTORS = {"scalar": 0, "vector": 1, "row": 2, "col": 2, "matrix": 2, "tensor3": 3, "tensor4": 4, "tensor5": 5}
NDIM = {f"theano.tensor.{prefix}{name}": n for prefix in ["", *"bwilfdcz"] for name, n in CONSTRUCTORS.items()}

LASAGNE = (
    "Lasagne imports Theano: its layers run under `import symupdates.theano; symupdates.theano.install()`, and on "
    "PyTensor alone the expressions are to be written out."
)
LASAGNE_NOW = {
    "lasagne.layers.InputLayer": "T.matrix()",
    "lasagne.layers.DenseLayer": "f(T.dot(x, W) + b)",
    "lasagne.layers.get_output": "the expression",
    "lasagne.layers.get_all_params": "the list of shared variables",
    "lasagne.init.GlorotUniform": "rng.uniform(-a, a, (n, m)) with a = sqrt(6 / (n + m))",
    "lasagne.init.Normal": "rng.normal(0, 0.01, shape)",
    "lasagne.init.Uniform": "rng.uniform(-0.01, 0.01, shape)",
    "lasagne.init.Constant": "np.full(shape, value)",
    "lasagne.nonlinearities.rectify": "0.5 * (x + abs(x))",
    "lasagne.nonlinearities.sigmoid": "T.sigmoid(x)",
    "lasagne.nonlinearities.softmax": "T.special.softmax(x, axis=-1)",
    "lasagne.nonlinearities.tanh": "T.tanh(x)",
    "lasagne.objectives.aggregate": "loss.mean()",
    "lasagne.objectives.binary_crossentropy": "symupdates.theano.tensor.nnet.binary_crossentropy(p, t)",
    "lasagne.objectives.categorical_crossentropy": "symupdates.theano.tensor.nnet.categorical_crossentropy(p, t)",
    "lasagne.objectives.squared_error": "(a - b) ** 2",
    "lasagne.regularization.l1": "T.sum(abs(x))",
    "lasagne.regularization.l2": "T.sum(x**2)",
}
OTHER_NUMBERS = (
    "For the same seed the numbers are other than Theano's. PyTensor 3 deprecates its stream, the one that all "
    "versions have; from 3 on there is rng = pt.random.shared_rng(seed=1); next_rng, x = rng.normal(size=...), with "
    "updates[rng] = next_rng."
)
FLAGS = "PyTensor does not read THEANO_FLAGS (nor .theanorc), and so runs with another floatX than was asked for."
NO_GRADIENT = (
    "The loss depends on its parameters through it, and no gradient passes: it is zero there, without an error. "
    "Differentiate another expression, or leave it out of the loss."
)
MOMENTUM = (
    "Without params, Lasagne accelerated every key, accumulators of adaptive rules too; symupdates accelerates the "
    "parameters only, and so trains with other numbers. Give params, and both do the same."
)
EVERY_KEY = (
    "The keys of updates are parameters and optimizer state, and a moment of a matrix is a matrix: what is meant for "
    "weights changes state too. Walk the parameters: for p in params, updates[p] = ..."
)
TRUTH = (
    "Theano took a variable in a condition for true; PyTensor raises an error. Say which is meant: `is not None`, or "
    "T.switch for its value."
)

ALWAYS_CHANGED = {
    "theano.scan",
    "theano.map",
    "theano.reduce",
    "theano.foldl",
    "theano.foldr",
    "theano.tensor.batched_dot",
    "theano.tensor.batched_tensordot",
}


@cache
def exists(name):
    """Whether the installed PyTensor has that name."""
    at = pytensor
    path = name.split(".")[1:]
    with warnings.catch_warnings(action="ignore"):  # of names that have moved since
        for i, part in enumerate(path):
            if hasattr(at, part):
                at = getattr(at, part)
                continue
            try:
                at = importlib.import_module(".".join(["pytensor", *path[: i + 1]]))
            except ImportError:
                return False
    return True


def row_of_gone(name):
    """The row of the table that says that a name, or what it is in, is gone; or None."""
    rows = (row for row in CHANGES.values() if row.kind in {"dropped", "absent"})
    return next((row for row in rows if is_under(name, row.name)), None)


@cache
def new_name(name):
    """The name that takes the place of one of Theano's, with the same meaning, or None."""
    if not is_under(name, "theano"):
        return None
    if (new := NAMES.get(name) or served(name)) is not None or exists(under_pytensor(name)):
        return new
    new = place(name) if row_of_gone(name) is None else None
    return new if new is not None and exists(new) else None


def is_renamed_within(name):
    """Whether it is an attribute of something that has a new name."""
    within, _, attribute = name.rpartition(".")
    new = new_name(within)
    return new is not None and exists(f"{new}.{attribute}")


def under_pytensor(name):
    """The name with ``pytensor`` in the place of ``theano``."""
    return "pytensor" + name.removeprefix("theano") if is_under(name, "theano") else name


def under_theano(name):
    """The name with ``theano`` in the place of ``pytensor``: a script that was ported has some of both."""
    return "theano" + name.removeprefix("pytensor") if is_under(name, "pytensor") else name


def served(name):
    """The name that symupdates has in the place of one that PyTensor lacks, with the same meaning; or None."""
    row = CHANGES.get(name)
    absent = row is not None and row.kind == "absent"
    return f"symupdates.{name}" if not absent and any(is_under(name, each) for each in SERVED) else None


def is_under(name, prefix):
    return name == prefix or name.startswith(prefix + ".")
