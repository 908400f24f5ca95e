"""What became of Theano's names in PyTensor: the facts, as data, for whoever ports code and for the tests.

Every name is Theano's, in full. What is not listed is in PyTensor under the same path, ``theano`` replaced by
``pytensor``, and means the same. All rows are true of every supported PyTensor; `note` says where versions differ.
"""

from typing import NamedTuple

__all__ = ["ABSENT", "CHANGED", "CHANGES", "DROPPED", "PYTHON", "RENAMED", "SILENT", "Change"]


class Change(NamedTuple):
    """What became of a name.

    Attributes
    ----------
    name
        Theano's name, in full; of a method, with its class.
    kind
        ``"renamed"``: the same under another name, and safe to replace wherever it stands. ``"silent"``: the name is
        there and the call runs, to another result. ``"changed"``: the name is there, or has a near relative, with
        other arguments or another result, and old calls fail or warn. ``"dropped"``: PyTensor has no such name;
        :mod:`symupdates.theano` serves it. ``"absent"``: nor does :mod:`symupdates.theano`, which raises an error at
        the point of use.
    pytensor
        What to write instead: a name in full for what was renamed, an expression for the others; None if there is
        nothing.
    note
        What differs and what to watch, in a sentence or two.
    """

    name: str
    kind: str
    pytensor: str | None
    note: str = ""


def rows(kind, entries):
    return [Change(name, kind, *rest) for name, *rest in entries]


RENAMED = rows(
    "renamed",
    [
        ("theano.tensor.inv", "pytensor.tensor.reciprocal"),
        ("theano.tensor.abs_", "pytensor.tensor.abs"),
        ("theano.tensor.sgn", "pytensor.tensor.sign"),
        ("theano.tensor.sqr", "pytensor.tensor.square"),
        ("theano.tensor.isnan_", "pytensor.tensor.isnan"),
        ("theano.tensor.isinf_", "pytensor.tensor.isinf"),
        ("theano.tensor.addbroadcast", "pytensor.tensor.specify_broadcastable"),
        ("theano.tensor.extra_ops.repeat", "pytensor.tensor.repeat"),
        ("theano.tensor.extra_ops.cumsum", "pytensor.tensor.cumsum"),
        ("theano.tensor.extra_ops.diff", "pytensor.tensor.diff"),
        ("theano.tensor.extract_diag", "pytensor.tensor.diagonal"),
        ("theano.tensor.nlinalg.extract_diag", "pytensor.tensor.diagonal"),
        ("theano.tensor.nlinalg.diag", "pytensor.tensor.diag"),
        ("theano.tensor.nlinalg.trace", "pytensor.tensor.trace"),
        ("theano.tensor.nlinalg.matrix_inverse", "pytensor.tensor.linalg.inv"),
        *(
            (f"theano.tensor.{module}.{name}", f"pytensor.tensor.linalg.{name}")
            for module, names in (
                ("nlinalg", "det eig eigh lstsq matrix_dot matrix_power norm pinv qr svd tensorinv tensorsolve"),
                ("slinalg", "cholesky eigvalsh expm kron solve"),
            )
            for name in names.split()
        ),
        ("theano.sandbox.linalg.ops.trace", "pytensor.tensor.trace"),
        ("theano.tensor.nnet.sigmoid", "pytensor.tensor.sigmoid"),
        ("theano.tensor.nnet.softplus", "pytensor.tensor.softplus"),
        ("theano.tensor.nnet.nnet.softplus", "pytensor.tensor.softplus"),
        ("theano.tensor.nnet.sigm.sigmoid", "pytensor.tensor.sigmoid"),
        ("theano.tensor.sharedvar.SharedVariable", "pytensor.compile.SharedVariable"),
        ("theano.tensor.sharedvar.TensorSharedVariable", "pytensor.tensor.sharedvar.TensorSharedVariable"),
        ("theano.compile.SharedVariable", "pytensor.compile.SharedVariable"),
        ("theano.compile.sharedvalue.SharedVariable", "pytensor.compile.SharedVariable"),
        ("theano.gradient.consider_constant", "pytensor.gradient.zero_grad"),
        ("theano.tensor.consider_constant", "pytensor.gradient.zero_grad"),
        ("theano.tensor.grad", "pytensor.gradient.grad"),
        ("theano.tensor.jacobian", "pytensor.gradient.jacobian"),
        ("theano.tensor.hessian", "pytensor.gradient.hessian"),
        ("theano.tensor.Rop", "pytensor.gradient.Rop"),
        ("theano.tensor.Lop", "pytensor.gradient.Lop"),
        ("theano.tensor.verify_grad", "pytensor.gradient.verify_grad"),
        ("theano.Variable", "pytensor.graph.basic.Variable", "Variable(type) is Variable(type, None) now."),
        ("theano.Constant", "pytensor.graph.basic.Constant"),
        ("theano.Apply", "pytensor.graph.basic.Apply"),
        ("theano.Op", "pytensor.graph.op.Op"),
        ("theano.Type", "pytensor.graph.type.Type"),
        ("theano.FunctionGraph", "pytensor.graph.fg.FunctionGraph"),
        ("theano.gof.Variable", "pytensor.graph.basic.Variable", "As theano.Variable."),
        ("theano.gof.Constant", "pytensor.graph.basic.Constant"),
        ("theano.gof.Apply", "pytensor.graph.basic.Apply"),
        ("theano.gof.Op", "pytensor.graph.op.Op"),
        ("theano.gof.Type", "pytensor.graph.type.Type"),
        ("theano.gof.FunctionGraph", "pytensor.graph.fg.FunctionGraph"),
        ("theano.gof.graph.Variable", "pytensor.graph.basic.Variable", "As theano.Variable."),
        ("theano.gof.graph.Constant", "pytensor.graph.basic.Constant"),
        *(
            (f"theano.gof.{path}{name}", f"pytensor.graph.rewriting.basic.{new}")
            for path in ("", "opt.")
            for name, new in (("OpSub", "SubstitutionNodeRewriter"), ("PatternSub", "PatternNodeRewriter"))
        ),
        ("theano.sparse.SparseType", "pytensor.sparse.SparseTensorType"),
        ("theano.sparse.basic.SparseType", "pytensor.sparse.SparseTensorType"),
        ("theano.sparse.type.SparseType", "pytensor.sparse.SparseTensorType"),
        ("theano.scan_module.scan_op.Scan", "pytensor.scan.op.Scan"),
        ("theano.tensor.TensorConstant", "pytensor.tensor.variable.TensorConstant"),
        ("theano.tensor.var.TensorConstant", "pytensor.tensor.variable.TensorConstant"),
    ],
)

DRAWS = [
    (
        "normal",
        "avg + std * pytensor.tensor.random.normal(size=size, rng=rng)",
        "The first positional argument is the mean now, not the size: normal((3, 2)) is a draw of shape (2,) "
        "around 3 and 2. avg= and std= are accepted and ignored by PyTensor 3.0. In Theano up to 0.8, the draw was "
        "differentiable in avg and std.",
    ),
    (
        "uniform",
        "pytensor.tensor.random.uniform(low, high, size=size, rng=rng)",
        "The first positional argument is the lower bound now, not the size. Theano's interval was open: a float32 "
        "draw here can round to its upper end, where log(1 - u) is -inf.",
    ),
    (
        "binomial",
        "pytensor.tensor.random.binomial(n, p, size=size, rng=rng).astype(dtype)",
        "The first positional argument is n now, not the size; a float dtype is an error, and p has no gradient, "
        "where it was zero.",
    ),
    (
        "multinomial",
        "pytensor.tensor.random.multinomial(n, pvals, size=size, rng=rng)",
        "The first positional argument is n now, not the size.",
    ),
    (
        "choice",
        "pytensor.tensor.random.choice(a, size=size, replace=replace, p=p, rng=rng)",
        "The first positional argument is a now, not the size.",
    ),
]
"""The methods of both random streams of Theano's, what to write instead, and what differs."""

SILENT = rows(
    "silent",
    [
        *(
            (f"theano.{stream}.{method}", written, note if "MRG" in stream else "As of MRG_RandomStreams.")
            for stream in ("sandbox.rng_mrg.MRG_RandomStreams", "tensor.shared_randomstreams.RandomStreams")
            for method, written, note in DRAWS
        ),
        (
            "theano.tensor.shared_randomstreams.RandomStreams.permutation",
            "pytensor.tensor.random.permutation(n, rng=rng)",
            "The first positional argument is n now, not the size.",
        ),
        (
            "theano.tensor.shared_randomstreams.RandomStreams.random_integers",
            "pytensor.tensor.random.integers(low, high + 1, size=size, rng=rng)",
            "The upper bound was included, and the first positional argument was the size.",
        ),
        (
            "theano.tensor.nnet.softmax",
            "pytensor.tensor.special.softmax(x, axis=-1)",
            "PyTensor normalises over all elements unless axis is given; Theano did each row. Of a vector, Theano made "
            "a matrix of one row.",
        ),
        (
            "theano.tensor.nnet.logsoftmax",
            "pytensor.tensor.special.log_softmax(x, axis=-1)",
            "As softmax.",
        ),
        *(
            (
                f"theano.tensor.{name}",
                f"symupdates.theano.tensor.{name}(x)",
                "Of a softmax or sigmoid, of one minus it, and of a sum of exponentials: where they round to 0, Theano "
                "computed it from the logits, and PyTensor makes the gradient NaN without an error. That of "
                "symupdates.theano is Theano's, as are T.special.log_softmax(x, axis=-1), -T.softplus(-x) and "
                "T.logsumexp(x).",
            )
            for name in ("log", "log1p")
        ),
        *(
            (
                f"theano.tensor.{path}AdvancedSubtensor1",
                "pytensor.tensor.subtensor.AdvancedSubtensor",
                "The Op of W[idx], which is that of W[i, j] too; AdvancedSubtensor1 is what PyTensor makes of it where "
                "it compiles, up to 3.2, and an isinstance test says False.",
            )
            for path in ("", "subtensor.", "basic.")
        ),
        (
            "theano.tensor.TensorType",
            "pytensor.tensor.TensorType(dtype, shape=(None, 1))",
            "The second argument is the shape now, where Theano's was the pattern of broadcasting. True and False are "
            "understood; of 0 and 1, TensorType('float32', (0, 1)) is an empty matrix.",
        ),
        (
            "theano.tensor.TensorVariable",
            "pytensor.tensor.variable.TensorVariable",
            "In isinstance tests: shared variables and constants are tensor variables now. Exclude SharedVariable and "
            "Constant.",
        ),
        (
            "theano.tensor.var.TensorVariable",
            "pytensor.tensor.variable.TensorVariable",
            "As theano.tensor.TensorVariable.",
        ),
        (
            "theano.gof.graph.inputs",
            "list(pytensor.graph.traversal.graph_inputs(variables))",
            "An iterator now, in another order.",
        ),
        (
            "theano.gof.graph.ancestors",
            "list(pytensor.graph.traversal.ancestors(variables))",
            "An iterator now, in another order.",
        ),
        (
            "theano.tensor.tensor",
            "pytensor.tensor.tensor(name, dtype=dtype, shape=shape)",
            "The first positional argument is the name now, not the dtype.",
        ),
        (
            "theano.tensor.argmax",
            "pytensor.tensor.argmax",
            "Its gradient is zero without a word, as are those of integer casts and of the condition of switch.",
        ),
    ],
)

CHANGED = rows(
    "changed",
    [
        (
            "theano.function",
            "pytensor.function",
            "PyTensor 3 refuses outputs as a dict and In(value=...), and warns of no_default_updates.",
        ),
        (
            "theano.In",
            "pytensor.In",
            "PyTensor 3 refuses value=, the default of an input; write a Python function around the compiled one.",
        ),
        (
            "theano.shared",
            "pytensor.shared(value, shape=(None, 1))",
            "broadcastable= is deprecated: shape= with 1 for True and None for False.",
        ),
        (
            "theano.scan",
            "pytensor.scan(..., return_updates=False)",
            "PyTensor 3.3 warns where the pair of outputs and updates is asked for. With return_updates=False, the "
            "outputs alone come back, and random generators are carried in outputs_info.",
        ),
        (
            "theano.map",
            "pytensor.map(..., return_updates=False)",
            "As scan.",
        ),
        ("theano.reduce", "pytensor.reduce(..., return_updates=False)", "As scan."),
        ("theano.foldl", "pytensor.foldl(..., return_updates=False)", "As scan."),
        ("theano.foldr", "pytensor.foldr(..., return_updates=False)", "As scan."),
        (
            "theano.clone",
            "pytensor.graph.replace.graph_replace(output, replace, strict=False)",
            "With share_inputs=False and no replacements: p.clone(). graph_replace keeps the inputs that it does not "
            "replace.",
        ),
        (
            "theano.tensor.stack",
            "pytensor.tensor.stack([a, b])",
            "The tensors are one list, and the second argument is the axis; Theano took stack(a, b) too.",
        ),
        (
            "theano.tensor.matrix",
            "pytensor.tensor.matrix(name, dtype=dtype)",
            "The dtype is by keyword only, for this and the other constructors: scalar, vector, row, col, tensor3, ...",
        ),
        (
            "theano.tensor.flatten",
            "pytensor.tensor.flatten(x, ndim=n)",
            "Its outdim= is ndim= now.",
        ),
        (
            "theano.tensor.tile",
            "pytensor.tensor.tile(x, reps)",
            "Without ndim=: give as many repetitions as the result has axes.",
        ),
        (
            "theano.tensor.batched_dot",
            "pytensor.tensor.matmul(a, b)",
            "Gone in PyTensor 3.3; matmul does it for tensors of three axes.",
        ),
        (
            "theano.tensor.batched_tensordot",
            "pytensor.tensor.vectorize(pytensor.tensor.tensordot, ...)",
            "Gone in PyTensor 3.3.",
        ),
        (
            "theano.tensor.nlinalg",
            "pytensor.tensor.linalg",
            "From PyTensor 3 on, pytensor.tensor.linalg; pytensor.tensor.nlinalg before.",
        ),
        (
            "theano.tensor.slinalg",
            "pytensor.tensor.linalg",
            "From PyTensor 3 on, pytensor.tensor.linalg; pytensor.tensor.slinalg before.",
        ),
        (
            "theano.ifelse.ifelse",
            "pytensor.ifelse",
            "The module is pytensor.conditional from PyTensor 3.3 on, where that of pytensor.ifelse warns.",
        ),
        (
            "theano.config.compute_test_value",
            "x.eval({inputs: values})",
            "Gone in PyTensor 3, with x.tag.test_value: eval has the value of any variable.",
        ),
        (
            "theano.gof.op.get_test_value",
            "x.eval({inputs: values})",
            "As compute_test_value.",
        ),
        (
            "theano.updates.OrderedUpdates",
            "dict",
            "Gone in PyTensor 3; a dict does.",
        ),
        (
            "theano.OrderedUpdates",
            "dict",
            "Gone in PyTensor 3; a dict does.",
        ),
        (
            "theano.compile.SharedVariable.default_update",
            "pytensor.function(..., updates={x: next_value})",
            "Deprecated in PyTensor 3, where setting it warns; give the update to each function.",
        ),
        (
            "theano.tensor.TensorVariable.__bool__",
            "x is not None",
            "A variable in an if, as in `if mask:` or `not x`, raises an error, where Theano took all but comparisons "
            "for true.",
        ),
    ],
)

DROPPED = rows(
    "dropped",
    [
        (
            "theano.sandbox.rng_mrg.MRG_RandomStreams",
            "pytensor.shared(numpy.random.default_rng(seed))",
            "The random stream of pytensor.tensor.random.utils has other signatures (see the silent changes), and is "
            "deprecated in PyTensor 3.",
        ),
        (
            "theano.tensor.shared_randomstreams.RandomStreams",
            "pytensor.shared(numpy.random.default_rng(seed))",
            "As MRG_RandomStreams.",
        ),
        (
            "theano.Param",
            "pytensor.In",
            "Param(x, default=...) is In(x, value=...), which PyTensor 3 refuses.",
        ),
        (
            "theano.tensor.patternbroadcast",
            "pytensor.tensor.specify_broadcastable(x, *axes)",
            "The axes that are True; those that are False have nothing to do.",
        ),
        (
            "theano.tensor.unbroadcast",
            "x",
            "A static length of 1 cannot be forgotten; leave it out.",
        ),
        (
            "theano.tensor.nnet.relu",
            "0.5 * (1 + alpha) * x + 0.5 * (1 - alpha) * abs(x)",
            "The gradient at 0 was one half, as this one's, and not as that of maximum(x, alpha * x).",
        ),
        ("theano.tensor.nnet.elu", "pytensor.tensor.switch(x > 0, x, alpha * pytensor.tensor.expm1(x))"),
        (
            "theano.tensor.nnet.selu",
            "1.0507009873554805 * pytensor.tensor.switch(x > 0, x, 1.6732632423543772 * pytensor.tensor.expm1(x))",
        ),
        ("theano.tensor.nnet.softsign", "x / (1 + abs(x))"),
        ("theano.tensor.nnet.hard_sigmoid", "pytensor.tensor.clip(0.2 * x + 0.5, 0, 1)"),
        ("theano.tensor.nnet.ultra_fast_sigmoid", "pytensor.tensor.sigmoid(x)", "An approximation to within 0.03."),
        *(
            (
                f"theano.tensor.nnet.{path}{name}",
                f"symupdates.theano.tensor.nnet.{path}{name}",
                f"Theano computed it from the logits, and stably, where it knew them; of logits x, write {of_logits}.",
            )
            for path in ("", "nnet.")
            for name, of_logits in (
                ("binary_crossentropy", "t * T.softplus(-x) + (1 - t) * T.softplus(x)"),
                ("categorical_crossentropy", "-T.special.log_softmax(x, axis=-1)[T.arange(t.shape[0]), t]"),
            )
        ),
        (
            "theano.tensor.nnet.sigmoid_binary_crossentropy",
            "pytensor.tensor.softplus(output) - target * output",
        ),
        ("theano.tensor.nnet.crossentropy_categorical_1hot", "-pytensor.tensor.log(p[pytensor.tensor.arange(n), t])"),
        ("theano.tensor.nnet.crossentropy_softmax_1hot", "see categorical_crossentropy"),
        ("theano.tensor.nnet.crossentropy_softmax_1hot_with_bias", "see categorical_crossentropy"),
        ("theano.tensor.nnet.crossentropy_softmax_argmax_1hot_with_bias", "see categorical_crossentropy"),
        ("theano.tensor.nnet.crossentropy_softmax_max_and_argmax_1hot", "see categorical_crossentropy"),
        ("theano.tensor.nnet.crossentropy_softmax_max_and_argmax_1hot_with_bias", "see categorical_crossentropy"),
        ("theano.tensor.nnet.softmax_with_bias", "pytensor.tensor.special.softmax(x + b, axis=-1)"),
        ("theano.tensor.nnet.softmax_graph", "pytensor.tensor.special.softmax(x, axis=-1)"),
        ("theano.tensor.nnet.h_softmax", None),
        ("theano.tensor.nnet.confusion_matrix", None),
        ("theano.tensor.nnet.batch_normalization", "(inputs - mean) * (gamma / std) + beta"),
        ("theano.tensor.nnet.bn.batch_normalization", "(inputs - mean) * (gamma / std) + beta"),
        ("theano.tensor.nnet.bn.batch_normalization_train", None),
        ("theano.tensor.nnet.bn.batch_normalization_test", None),
        *(
            (
                f"theano.{name}",
                f"symupdates.theano.{name}",
                "Of Ops for PyTensor, which are differentiable and run on every backend.",
            )
            for name in (
                "tensor.nnet.conv2d tensor.nnet.conv3d tensor.nnet.conv2d_transpose tensor.nnet.conv "
                "tensor.nnet.conv3d2d tensor.nnet.abstract_conv tensor.nnet.corr tensor.nnet.corr3d "
                "tensor.nnet.neighbours sandbox.neighbours tensor.signal.conv tensor.signal.pool "
                "tensor.signal.downsample"
            ).split()
        ),
        ("theano.gpuarray.dnn", "symupdates.theano.gpuarray.dnn", "On the CPU, or where mode='JAX' computes."),
        *(
            (
                f"theano.tensor.{path}to_one_hot",
                "pytensor.tensor.eq(y[:, None], pytensor.tensor.arange(nb_class)).astype('floatX')",
            )
            for path in ("", "extra_ops.")
        ),
        ("theano.tensor.alloc_diag", "pytensor.tensor.diag(x)"),
        ("theano.compat.OrderedDict", "collections.OrderedDict"),
        ("theano.compat.python2x.OrderedDict", "collections.OrderedDict"),
        (
            "theano.tensor.basic.MaxAndArgmax",
            "pytensor.tensor.max_and_argmax(x, axis=axis)",
            "Two Ops now, Max and Argmax.",
        ),
        (
            "theano.gof.local_optimizer",
            "pytensor.graph.rewriting.basic.node_rewriter",
            "The function takes the graph before the node.",
        ),
        *(
            (f"theano.gof.{path}OpRemove", "pytensor.graph.rewriting.basic.node_rewriter([op])")
            for path in ("", "opt.")
        ),
        ("theano.config.device", None, "There is one: the CPU."),
    ],
)

ABSENT = rows(
    "absent",
    [
        ("theano.tensor.nnet.conv.ConvOp", "symupdates.theano.tensor.nnet.conv2d"),
        ("theano.tensor.nnet.ctc.ctc", None),
        ("theano.sandbox.cuda", None, "Compile with mode='JAX' to run on a GPU."),
        ("theano.sandbox.gpuarray", None, "Compile with mode='JAX' to run on a GPU."),
        ("theano.gpuarray", None, "Compile with mode='JAX' to run on a GPU."),
    ],
)

PYTHON = rows(
    "dropped",
    [
        ("numpy.cast", "numpy.asarray(x, dtype)", "np.cast['float32'](x); gone in NumPy 2."),
        ("numpy.float", "float"),
        ("numpy.int", "int"),
        ("numpy.object", "object"),
        ("numpy.float_", "numpy.float64"),
        ("numpy.NaN", "numpy.nan"),
        ("numpy.Inf", "numpy.inf"),
        ("numpy.infty", "numpy.inf"),
        ("numpy.product", "numpy.prod"),
        ("numpy.cumproduct", "numpy.cumprod"),
        ("numpy.sometrue", "numpy.any"),
        ("numpy.alltrue", "numpy.all"),
        ("inspect.getargspec", "inspect.getfullargspec", "Gone in Python 3.11."),
        ("collections.Callable", "collections.abc.Callable"),
        ("collections.Iterable", "collections.abc.Iterable"),
        ("collections.Iterator", "collections.abc.Iterator"),
        ("collections.Mapping", "collections.abc.Mapping"),
        ("collections.MutableMapping", "collections.abc.MutableMapping"),
        ("collections.MutableSequence", "collections.abc.MutableSequence"),
        ("collections.MutableSet", "collections.abc.MutableSet"),
        ("collections.Set", "collections.abc.Set"),
        ("collections.Sequence", "collections.abc.Sequence"),
        ("collections.Hashable", "collections.abc.Hashable"),
    ],
)
"""Names that Python and NumPy dropped, not Theano, and that code of its time uses."""

CHANGES = {row.name: row for row in [*RENAMED, *SILENT, *CHANGED, *DROPPED, *ABSENT, *PYTHON]}
"""All of them, by name."""
