"""Reads a script as a syntax tree, finds what must change in it, and changes what is safe to change."""

import ast
import importlib
import warnings
from dataclasses import dataclass, field
from functools import cache

import libcst as cst
import libcst.matchers as m
import pytensor
from libcst.helpers import get_full_name_for_node
from libcst.metadata import (
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameSource,
    ScopeProvider,
)

import symupdates
from symupdates.theano.modules import TREE
from symupdates.theano.names import CHANGES

__all__ = ["KINDS", "Finding", "examine"]

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
    "theano.tensor.nnet.relu": {
        "x": "0.5 * (x + abs(x))",
        "x, alpha": "0.5 * (1 + alpha) * x + 0.5 * (1 - alpha) * abs(x)",
    },
    "theano.tensor.nnet.elu": {
        "x": "T.switch(x > 0, x, T.expm1(x))",
        "x, alpha": "T.switch(x > 0, x, alpha * T.expm1(x))",
    },
    "theano.tensor.nnet.selu": {"x": "1.0507009873554805 * T.switch(x > 0, x, 1.6732632423543772 * T.expm1(x))"},
    "theano.tensor.nnet.softsign": {"x": "x / (1 + abs(x))"},
    "theano.tensor.nnet.hard_sigmoid": {"x": "T.clip(0.2 * x + 0.5, 0, 1)"},
    "theano.tensor.nnet.softmax_with_bias": {"x, b": "T.special.softmax(x + b, axis=-1)"},
    "theano.tensor.nnet.binary_crossentropy": {
        "output, target": "-(target * T.log(output) + (1 - target) * T.log1p(-output))"
    },
    "theano.tensor.nnet.sigmoid_binary_crossentropy": {"output, target": "T.softplus(output) - target * output"},
    "theano.tensor.nnet.categorical_crossentropy": {
        "coding_dist, true_dist": "-T.log(coding_dist[T.arange(true_dist.shape[0]), true_dist]) "
        "if true_dist.ndim < coding_dist.ndim else -T.sum(true_dist * T.log(coding_dist), axis=-1)"
    },
    "theano.tensor.nnet.batch_normalization": {
        "inputs, gamma, beta, mean, std": "(inputs - mean) * (gamma / std) + beta"
    },
    "theano.tensor.extra_ops.to_one_hot": {"y, nb_class": "T.eq(y[:, None], T.arange(nb_class)).astype('floatX')"},
    "theano.tensor.max_and_argmax": {"a, axis": "(T.max(a, axis=axis), T.argmax(a, axis=axis))"},
}

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
    "theano.tensor.nnet.categorical_crossentropy": (
        "true_dist",
        {
            1: "-T.log(coding_dist[T.arange(true_dist.shape[0]), true_dist])",
            2: "-T.sum(true_dist * T.log(coding_dist), axis=-1)",
        },
    ),
}
for name, other in {
    "nnet.bn.batch_normalization": "nnet.batch_normalization",
    "nnet.softsign.softsign": "nnet.softsign",
    "nnet.nnet.softmax": "nnet.softmax",
    "nnet.nnet.logsoftmax": "nnet.logsoftmax",
    "nnet.nnet.relu": "nnet.relu",
    "nnet.nnet.binary_crossentropy": "nnet.binary_crossentropy",
    "nnet.nnet.categorical_crossentropy": "nnet.categorical_crossentropy",
    "nnet.sigm.hard_sigmoid": "nnet.hard_sigmoid",
    "to_one_hot": "extra_ops.to_one_hot",
}.items():
    for table in (EXPRESSIONS, BY_AXES):
        if f"theano.tensor.{other}" in table:
            table[f"theano.tensor.{name}"] = table[f"theano.tensor.{other}"]

# As safe as the renamed rows of the table, and true of every supported PyTensor.
NAMES = {row.name: row.pytensor for row in CHANGES.values() if row.kind == "renamed"} | {
    "theano.ifelse.ifelse": "pytensor.ifelse",
    "theano.tensor.TensorVariable": "pytensor.tensor.TensorVariable",
    "theano.tensor.var.TensorVariable": "pytensor.tensor.TensorVariable",
    "theano.tensor.alloc_diag": "pytensor.tensor.diag",
    "theano.tensor.extract_diag": "pytensor.tensor.diag",
    "theano.tensor.nlinalg.matrix_inverse": "pytensor.tensor.linalg.inv",
    "theano.tensor.nlinalg.diag": "pytensor.tensor.diag",
    "theano.tensor.nlinalg.alloc_diag": "pytensor.tensor.diag",
    "theano.tensor.nlinalg.extract_diag": "pytensor.tensor.diag",
    "theano.tensor.nlinalg.trace": "pytensor.tensor.trace",
}
for module, names in {
    "nlinalg": "det eig eigh lstsq matrix_dot matrix_power norm pinv qr svd tensorinv tensorsolve",
    "slinalg": "cholesky eigvalsh expm kron solve",
}.items():
    NAMES |= {f"theano.tensor.{module}.{name}": f"pytensor.tensor.linalg.{name}" for name in names.split()}

# What PyTensor lacks and symupdates has Ops for, with Theano's names and meaning: the same path under symupdates.
SERVED = {
    f"theano.{name}"
    for name in (
        "tensor.nnet.conv tensor.nnet.conv2d tensor.nnet.conv3d tensor.nnet.conv2d_transpose tensor.nnet.conv3d2d "
        "tensor.nnet.abstract_conv tensor.nnet.corr tensor.nnet.neighbours sandbox.neighbours tensor.signal.conv "
        "tensor.signal.pool tensor.signal.downsample gpuarray.dnn sandbox.cuda.dnn"
    ).split()
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
    "lasagne.objectives.binary_crossentropy": "-(t * T.log(p) + (1 - t) * T.log1p(-p))",
    "lasagne.objectives.categorical_crossentropy": "-T.log(p[T.arange(t.shape[0]), t])",
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


@dataclass
class Finding:
    """What must change at one place of a script.

    Attributes
    ----------
    line, column : int
        Where it begins, from 1.
    kind : str
        ``"silent"``: the code would run, to other numbers. ``"renamed"``: another name does the same. ``"changed"``: it
        fails, or warns, for its arguments or where it stands. ``"gone"``: there is no such thing.
    legacy : str
        The text as it is.
    now : str
        What to write instead.
    why : str
        What is behind it, in a sentence or two; may be empty.
    rewritten : bool
        Whether the rewritten script has it so; otherwise it is to be done by hand.
    """

    line: int
    column: int
    kind: str
    legacy: str
    now: str
    why: str = ""
    rewritten: bool = False


def examine(source):
    """Find what must change and change what is safe: :func:`symupdates.port.port`."""
    try:
        module = cst.parse_module(source)
    except cst.ParserSyntaxError as error:
        raise not_python_3(source, error) from None
    script = Script(module)
    rewritten = script.rewrite()
    findings = sorted(script.findings, key=lambda f: (KINDS.index(f.kind), f.line, f.column))
    return findings, rewritten.code if isinstance(source, str) else rewritten.bytes


def not_python_3(source, error):
    """The error that names the line: by Python's own parser, or if that takes it, by libcst's."""
    line = error.editor_line
    try:
        ast.parse(source)
    except SyntaxError as python:
        line = python.lineno or line
    except ValueError:
        pass
    lines = (source if isinstance(source, str) else source.decode("latin-1")).splitlines()
    text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    reason = f"not Python 3: {text!r}. If it is Python 2, 2to3 -w (in Python up to 3.12) makes it Python 3."
    return SyntaxError(reason, (None, line, 1, text))


@cache
def exists(name):
    """Whether the installed PyTensor has that name."""
    at = pytensor
    path = name.split(".")[1:]
    with warnings.catch_warnings(action="ignore"):  # of names that have moved since
        for i, part in enumerate(path):
            if not hasattr(at, part):
                try:
                    importlib.import_module(".".join(["pytensor", *path[: i + 1]]))
                except ImportError:
                    return False
            at = getattr(at, part, None)
    return True


def row_of_gone(name):
    """The row of the table that says that a name, or what it is in, is gone; or None."""
    rows = (row for row in CHANGES.values() if row.kind in {"dropped", "absent"})
    return next((row for row in rows if is_under(name, row.name)), None)


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


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def leftmost(node):
    while isinstance(node, cst.Attribute):
        node = node.value
    return node


def argument(call, keyword, position=None):
    """The argument of a call, by keyword or position, or None."""
    for i, arg in enumerate(call.args):
        if arg.star:
            return None
        if arg.keyword is not None and arg.keyword.value == keyword:
            return arg.value
        if arg.keyword is None and i == position:
            return arg.value
    return None


def is_number(node):
    return m.matches(node, m.Integer() | m.Float() | m.UnaryOperation(expression=m.Integer() | m.Float()))


def is_simple(node):
    """Whether it may stand twice: a name, an attribute of one, or a number."""
    return isinstance(leftmost(node), cst.Name) or is_number(node)


def closed(node):
    """The expression, in parentheses where its operators ask for them."""
    if node.lpar or not isinstance(
        node,
        cst.BinaryOperation
        | cst.UnaryOperation
        | cst.BooleanOperation
        | cst.Comparison
        | cst.Lambda
        | cst.IfExp
        | cst.Tuple
        | cst.NamedExpr,
    ):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


class Fill(cst.CSTTransformer):
    """Puts expressions in the places of names."""

    def __init__(self, values):
        self.values = values

    def leave_Name(self, original_node, updated_node):
        return closed(self.values.get(original_node.value, updated_node))

    def leave_Arg(self, original_node, updated_node):
        arg = original_node.value
        if isinstance(arg, cst.Name) and arg.value in self.values:
            return updated_node.with_changes(keyword=original_node.keyword, value=self.values[arg.value])
        return updated_node.with_changes(keyword=original_node.keyword)

    def visit_Attribute_attr(self, node):
        return None


class Apply(cst.CSTTransformer):
    """Applies the plans, a function of the new node for each old one, and notes what came of them."""

    def __init__(self, script):
        self.script = script

    def on_leave(self, original_node, updated_node):
        plan, finding = self.script.plans.get(original_node, (None, None))
        if plan is None:
            return updated_node
        new = plan(updated_node)
        if finding is not None:
            finding.now = text_of(new)
            finding.rewritten = True
        return new


def comments_in(node):
    return [child for child in walk(node) if isinstance(child, cst.Comment)]


def text_of(nodes):
    """The code of nodes, on one line."""
    nodes = nodes if isinstance(nodes, list | tuple | cst.FlattenSentinel) else [nodes]
    code = "; ".join(cst.Module([]).code_for_node(node) for node in nodes if isinstance(node, cst.CSTNode))
    return " ".join(code.split()).rstrip(" ;,")


@dataclass
class Script:
    """A script, what is to be said of it, and what is to be done to it."""

    module: cst.Module
    findings: list = field(default_factory=list)
    plans: dict = field(default_factory=dict)

    def __post_init__(self):
        wrapper = MetadataWrapper(self.module)
        self.module = wrapper.module
        self.scopes = wrapper.resolve(ScopeProvider)
        self.positions = wrapper.resolve(PositionProvider)
        self.parents = wrapper.resolve(ParentNodeProvider)
        self.nodes = list(walk(self.module))
        self.imports = [node for node in self.nodes if isinstance(node, cst.Import | cst.ImportFrom)]
        self.references = [node for node in self.nodes if self.is_reference(node)]
        self.moved = set()  # references that no longer stand on the name that a legacy import bound
        self.staying = set()  # names at the beginning of references that stay Theano's
        self.lasagne_uses = {}  # for each name at the beginning of references, what of Lasagne they are
        self.written_for_graphs = any(self.is_legacy(line, OF_GRAPHS) for line in self.imports)
        self.spelled = set()  # modules that new names begin with
        self.added = {}  # local names of imports to add, and their modules
        self.arguments = {node.name.value for node in self.nodes if isinstance(node, cst.Param)}
        self.called = set()
        self.helpers = {}  # functions to define, and their arguments and expressions
        self.words = {node.value for node in self.nodes if isinstance(node, cst.Name)}
        self.values = self.collect_values()

    # --- What the names are -----------------------------------------------------------------------------------------

    def is_reference(self, node):
        """Whether it is a name, or the longest chain of attributes of one, that is read somewhere."""
        if not isinstance(node, cst.Name | cst.Attribute) or not isinstance(leftmost(node), cst.Name):
            return False
        parent = self.parents[node]
        if isinstance(parent, cst.Attribute | cst.ImportAlias | cst.Import | cst.ImportFrom | cst.AsName):
            return False
        named = parent.name if isinstance(parent, cst.Param) else getattr(parent, "keyword", None)
        return node is not named and leftmost(node) in self.scopes

    def imported(self, node, seen=()):
        """The full name of what an expression names, if that was imported: its legacy name, if it has one."""
        root = leftmost(node)
        if (module := self.module_assigned_to(root)) is not None and root.value not in seen:
            name = self.imported(module, (*seen, root.value))
            return name + text_of(node).removeprefix(root.value) if name is not None and self.is_prefix(name) else None
        names = self.scopes[root].get_qualified_names_for(node) if root in self.scopes else ()
        names = sorted(name.name for name in names if name.source is QualifiedNameSource.IMPORT)
        name = next((name for name in names if is_under(name, "theano")), names[0] if names else None)
        if name is not None and is_under(name, "pytensor") and not exists(name):
            name = under_theano(name)  # half ported: renamed by search and replace
        return name

    def module_assigned_to(self, node):
        """What a name stands for that is assigned once, as in ``T = theano.tensor``, or None."""
        bound = [*self.scopes[node][node.value]] if isinstance(node, cst.Name) and node in self.scopes else []
        target = getattr(bound[0], "node", None) if len(bound) == 1 else None
        if not isinstance(target, cst.Name) or target is node:
            return None
        assign = self.parents[self.parents[target]]
        return assign.value if isinstance(assign, cst.Assign) and self.is_reference(assign.value) else None

    def binds_theano(self, node):
        """Whether it is the name ``theano`` where ``import theano`` binds it, whatever else may."""
        parent = self.parents[node]
        scope = self.scopes.get(self.parents[parent] if isinstance(parent, cst.NameItem) else node)
        if node.value != "theano" or scope is None or (isinstance(parent, cst.Attribute) and parent.attr is node):
            return False
        bound = scope["theano"]
        names = [name for each in bound for name in each.get_qualified_names_for("theano")]
        return any((name.name, name.source) == ("theano", QualifiedNameSource.IMPORT) for name in names)

    def is_rebound(self, node):
        """Whether a name that was imported is something else too, None excepted, as after a failed import."""
        if not isinstance(node, cst.Name) or self.imported(node) is None or self.module_assigned_to(node) is not None:
            return False
        sources = {name.source for name in self.scopes[node].get_qualified_names_for(node)}
        values = [value and text_of(value) for value in self.values_of(node)]
        return sources != {QualifiedNameSource.IMPORT} and set(values) != {"None"}

    def means(self, local, full, near):
        """Whether a local name means that import where a reference stands, or if None, at the top."""
        bound = self.scopes[near or self.module][local]
        names = [name.name for each in bound for name in each.get_qualified_names_for(local)]
        return set(names) == {full}

    def function_of(self, call):
        return self.imported(call.func) if isinstance(call.func, cst.Name | cst.Attribute) else None

    def collect_values(self):
        """For each variable, by its text, all that is assigned to it in the script."""
        values = {}
        for node in self.nodes:
            if isinstance(node, cst.Assign):
                targets, value = [target.target for target in node.targets], node.value
            elif isinstance(node, cst.AugAssign) or (isinstance(node, cst.AnnAssign) and node.value is not None):
                targets, value = [node.target], node.value
            else:
                continue
            for target in targets:
                parts = [e.value for e in target.elements] if isinstance(target, cst.Tuple | cst.List) else [target]
                for part in parts:
                    if name := get_full_name_for_node(part):
                        values.setdefault(name, []).append(value if part is target else None)
        return values

    def values_of(self, node):
        return self.values.get(get_full_name_for_node(node) or "", [])

    def is_stream(self, node, makers=STREAMS, seen=()):
        """Whether it is a random stream for sure: made here, or a variable that is never anything else.

        In the place of one there may be None, or an argument whose default that is.
        """
        if isinstance(node, cst.Call):
            return self.function_of(node) in makers
        if isinstance(node, cst.IfExp):
            values = [node.body, node.orelse]
        elif isinstance(node, cst.BooleanOperation):
            values = [node.left, node.right]
        elif isinstance(node, cst.Name | cst.Attribute) and False not in self.defaults_to_none(node):
            name = get_full_name_for_node(node)
            values, seen = (self.values.get(name, ()) if name not in seen else ()), (*seen, name)
        else:
            return False
        values = [v for v in values if v is None or not self.is_none(v)]
        return bool(values) and all(v is not None and self.is_stream(v, makers, seen) for v in values)

    def is_none(self, node):
        """Whether it is None, or an argument whose default that is and that is given nothing else."""
        given = get_full_name_for_node(node) in self.values
        return text_of(node) == "None" or (not given and True in self.defaults_to_none(node))

    def defaults_to_none(self, node):
        """For each argument of the functions around it that it can be: whether its default is None."""
        bound = self.scopes[node][node.value] if isinstance(node, cst.Name) and node in self.scopes else ()
        params = [each.node for each in bound if isinstance(getattr(each, "node", None), cst.Param)]
        return {param.default is not None and text_of(param.default) == "None" for param in params}

    def is_symbolic(self, node, seen=()):
        """Whether it is a symbolic variable, as far as the syntax tells."""
        if isinstance(node, cst.Call):
            name = self.function_of(node) or ""
            if is_under(name, "theano.tensor") or is_under(name, "pytensor.tensor"):
                return name.rpartition(".")[2] not in {"TensorType", "grad", "RandomStreams"}
            if name in {"theano.shared", "pytensor.shared"}:
                return True
            method = node.func.attr.value if isinstance(node.func, cst.Attribute) else "get_value"
            return not name and method not in {"get_value", "eval"} and self.is_symbolic(node.func.value, seen)
        if isinstance(node, cst.BinaryOperation):
            return self.is_symbolic(node.left, seen) or self.is_symbolic(node.right, seen)
        if isinstance(node, cst.Comparison):
            ordered = all(
                isinstance(part.operator, cst.LessThan | cst.GreaterThan | cst.LessThanEqual | cst.GreaterThanEqual)
                for part in node.comparisons
            )
            return ordered and self.is_symbolic(node.left, seen)
        if isinstance(node, cst.UnaryOperation):
            return self.is_symbolic(node.expression, seen)
        if isinstance(node, cst.Subscript):
            return self.is_symbolic(node.value, seen)
        if isinstance(node, cst.Name | cst.Attribute) and self.imported(node) is None:
            name = get_full_name_for_node(node)
            if name in self.values and name not in (*seen, *self.arguments):
                return all(v is not None and self.is_symbolic(v, (*seen, name)) for v in self.values[name])
            return isinstance(node, cst.Attribute) and node.attr.value == "T" and self.is_symbolic(node.value, seen)
        return False

    def ndim(self, node):
        """The number of axes of a variable that a constructor made, or None."""
        found = {NDIM.get(self.function_of(v)) if isinstance(v, cst.Call) else None for v in self.values_of(node)}
        return found.pop() if len(found) == 1 else None

    # --- Words for what is new --------------------------------------------------------------------------------------

    def spell(self, name, near):
        """How to write a name of PyTensor or symupdates in full at a reference, or None if no import can be had."""
        root = near and leftmost(near)
        if is_under(name, "symupdates.theano"):
            module = name if name.removeprefix("symupdates.theano.") in TREE else name.rpartition(".")[0]
            local = module.rpartition(".")[2]
            local = f"theano_{local}" if self.is_taken(local) else local
            if self.added.get(local, module) != module or not self.takes_imports():
                return None
            self.added[local] = module
            return local + name.removeprefix(module)
        bound = near and self.imported(root)
        if bound is not None:
            new = "symupdates" if self.becomes_symupdates(bound) else under_pytensor(bound)
            word = new if root.value == bound else root.value
            if is_under(name, new) and name != new and self.is_rewritten_import(root):
                self.spelled.add(new)
                return word + name.removeprefix(new)
        words = {}
        for line in self.imports:
            if not self.is_at_the_top(line) or isinstance(line.names, cst.ImportStar):
                continue
            for alias in line.names:
                full = self.full_name(line, alias)
                if isinstance(line, cst.Import) and alias.asname is None:
                    full = full.partition(".")[0]
                new = under_pytensor(full)
                local = alias.asname.name.value if alias.asname else full.rpartition(".")[2]
                if new in {"pytensor", "pytensor.tensor", "symupdates"} and self.means(local, full, root):
                    words[new] = "pytensor" if local == full == "theano" else local
        module = max((k for k in words if is_under(name, k) and k != name), key=len, default=None)
        if module is None:
            if not self.takes_imports():
                return None
            module = "pytensor.tensor" if is_under(name, "pytensor.tensor") else name.partition(".")[0]
            local = module
            if module == "pytensor.tensor":
                free = (word for word in ("T", "pt", "tensor_") if word not in self.words or word in self.added)
                local = next(free)
            self.added[local] = module
            words[module] = local
        self.spelled.add(module)
        return words[module] + name.removeprefix(module)

    def takes_imports(self):
        """Whether there is a legacy import at the top, beside which others can stand."""
        return any(self.is_at_the_top(line) and self.is_legacy(line) for line in self.imports)

    def tensor(self, near):
        """How to write pytensor.tensor at a reference, as an expression, or None."""
        spelled = self.spell("pytensor.tensor.x", near)
        return spelled and cst.parse_expression(spelled.removesuffix(".x"))

    def tensor_at_the_top(self):
        return cst.parse_expression(self.spell("pytensor.tensor.x", None).removesuffix(".x"))

    def can_define(self, node):
        """Whether a function that is defined after the imports can stand for that name."""
        place = any(map(self.is_followed_by_helpers, self.imports))
        return place and not self.is_rebound(leftmost(node)) and self.spell("pytensor.tensor.x", None) is not None

    def define(self, node, name, arguments, text):
        """The name of a function to define after the imports, for what Theano's computed at a node."""
        self.called.add(node)
        body = cst.parse_expression(text).visit(Fill({"T": self.tensor_at_the_top()}))
        return self.helper(name.rpartition(".")[2], arguments, text_of(body))

    def helper(self, name, arguments, text):
        """The name under which a function is to be defined."""
        name = f"theano_{name}" if self.is_taken(name) else name
        name = name if self.helpers.get(name, (arguments, text)) == (arguments, text) else f"{name}_{len(arguments)}"
        self.helpers[name] = arguments, text
        return name

    def is_taken(self, name):
        """Whether the script has something of its own under that name."""
        for node in self.nodes:
            if not isinstance(node, cst.Name) or node.value != name:
                continue
            parent = self.parents[node]
            line = self.parents[parent] if isinstance(parent, cst.ImportAlias) else None
            if line is not None and self.is_legacy(line):
                continue
            is_attribute = isinstance(parent, cst.Attribute) and parent.attr is node
            if not is_attribute and not is_under(self.imported(node) or "", "theano"):
                return True
        return False

    def is_rewritten_import(self, root):
        """Whether the import that binds that name stays, under PyTensor's name: not so of a module that is gone."""
        bound = self.imported(root)
        return bound == "lasagne" or exists(under_pytensor(bound)) or self.becomes_symupdates(bound)

    def is_at_the_top(self, line):
        return self.parents[self.parents[line]] is self.module

    def is_followed_by_helpers(self, line):
        """Whether it is such an import at the top, on a line of imports only: functions can be defined after it."""
        alone = self.is_at_the_top(line) and all(part in self.imports for part in self.parents[line].body)
        return alone and self.is_legacy(line, OF_GRAPHS)

    def full_name(self, line, alias):
        name = get_full_name_for_node(alias.name)
        return f"{get_full_name_for_node(line.module)}.{name}" if isinstance(line, cst.ImportFrom) else name

    def is_legacy(self, line, roots=LEGACY):
        if isinstance(line, cst.ImportFrom):
            name = get_full_name_for_node(line.module) if line.module and not line.relative else ""
            return any(is_under(name, root) for root in roots)
        return any(is_under(get_full_name_for_node(alias.name), root) for alias in line.names for root in roots)

    def becomes_symupdates(self, bound):
        return bound == "lasagne.updates" or (bound == "lasagne" and self.only_updates)

    # --- What is said and done --------------------------------------------------------------------------------------

    def find(self, node, kind, why="", plan=None, now=None, legacy=None, moved=None):
        """Say something of a node, and plan to replace it if there is a plan that is safe.

        It is not where it would lose a comment, or where the name may have been given to something else since its
        import. `moved` is a reference that the plan takes from its import.
        """
        start = self.positions[node].start
        legacy = text_of(node) if legacy is None else legacy
        finding = Finding(start.line, start.column + 1, kind, legacy, now or "", why)
        self.findings.append(finding)
        if plan is None:
            return finding
        root = leftmost(node.func if isinstance(node, cst.Call) else node)
        new = plan(node)
        if len(comments_in(new)) < len(comments_in(node)) or self.is_rebound(root):
            finding.now = text_of(new)
            return finding
        self.plans[node] = plan, finding
        if moved is not None:
            self.moved.add(leftmost(moved))
        return finding

    def replace(self, node, text):
        """A plan: put that expression in its place, in parentheses if need be."""
        new = cst.parse_expression(text) if isinstance(text, str) else text
        inside = isinstance(
            self.parents[node],
            cst.Assign
            | cst.AnnAssign
            | cst.AugAssign
            | cst.Return
            | cst.Arg
            | cst.Param
            | cst.Expr
            | cst.Index
            | cst.Element,
        )
        if not inside or (isinstance(new, cst.Tuple) and not isinstance(self.parents[node], cst.Assign | cst.Return)):
            new = closed(new)

        def plan(updated):
            return new.with_changes(lpar=updated.lpar, rpar=updated.rpar) if updated.lpar else new

        return plan

    def rewrite(self):
        lasagne = {name for node in self.references if (name := self.imported(node)) and is_under(name, "lasagne")}
        self.only_updates = all(is_under(name, "lasagne.updates") for name in lasagne)
        for node in self.references:
            self.refer(node)
        for node in self.nodes:
            if isinstance(node, cst.Call):
                self.draw(node)
                self.differentiate(node)
            elif isinstance(node, cst.SimpleString):
                self.flags(node)
            elif isinstance(node, cst.For | cst.CompFor):
                self.walk_keys(node)
            elif isinstance(node, cst.Assign):
                self.default_update(node)
            self.truth(node)
        self.keep_what_is_theanos()
        self.imports_and_additions()
        return self.module.visit(Apply(self))

    def keep_what_is_theanos(self):
        """Plan that ``theano`` becomes ``pytensor``, but where PyTensor lacks the name: what is left is Theano's.

        So the rewritten script says what it still needs, and runs with :func:`symupdates.theano.install`.
        """
        for node in self.references:
            root, name = leftmost(node), self.imported(node)
            if name is None or not is_under(name, "theano") or root in self.moved:
                continue
            if exists(under_pytensor(name)) and row_of_gone(name) is None:
                continue
            bound = self.imported(root)
            if root.value == bound:
                self.staying.add(root)
            elif bound != name and exists(under_pytensor(bound)) and self.can_say_theano(node):
                self.staying.add(root)
                self.plans[node] = (lambda updated, name=name: cst.parse_expression(name)), None
                if not self.has_plain_import():
                    self.added["theano"] = "theano"
        imported = {node for line in self.imports for node in walk(line)}
        for node in self.nodes:
            if isinstance(node, cst.Name) and node not in self.staying | imported and self.binds_theano(node):
                self.plans[node] = (lambda updated: updated.with_changes(value="pytensor")), None

    def can_say_theano(self, node):
        """Whether a name of Theano's in full can take the place of a reference."""
        root = leftmost(node)
        free = self.means("theano", "theano", root) or not self.scopes[root]["theano"]
        read = not isinstance(self.parents[node], cst.AssignTarget) and not self.is_rebound(root)
        return free and read and node not in self.plans and not comments_in(node) and self.takes_imports()

    # --- References -------------------------------------------------------------------------------------------------

    def refer(self, node):
        """What is to be said of a name that was imported, and of its call."""
        chain = [node]
        while isinstance(chain[-1], cst.Attribute):
            chain.append(chain[-1].value)
        for node in chain:  # the longest name that means something
            name = self.imported(node)
            if name is None:
                continue
            call = (
                self.parents[node] if m.matches(self.parents[node], m.Call(func=m.MatchIfTrue(node.__eq__))) else None
            )
            legacy = under_theano(name)
            if is_under(name, "lasagne"):
                if self.lasagne(node, name):
                    return
            elif call is not None and name in RULES_OF_MOMENTUM:
                self.momentum(call)
                return
            elif call is not None and legacy in HANDLERS:
                HANDLERS[legacy](self, call, legacy)
                return
            elif self.deprecated(node, call, legacy) or self.instance(node, legacy):
                return
            elif self.rename(node, name) or self.express(node, name) or self.absent(node, name):
                return

    def rename(self, node, name):
        if name in BUILTINS:
            kind = CHANGES[name].kind.replace("dropped", "gone")
            self.find(node, kind, CHANGES[name].note, self.replace(node, BUILTINS[name]), moved=node)
            return True
        new = NAMES.get(name) or (served(name) if is_under(name, "theano") else None)
        row = CHANGES.get(name)
        if new is None and row is not None and row.name.startswith("numpy.") and is_under(row.pytensor or "", "numpy"):
            base = node.value if isinstance(node, cst.Attribute) else None
            if base is None or row.pytensor.startswith("numpy.asarray"):
                return False
            self.find(node, "renamed", row.note, self.replace(node, text_of(base) + row.pytensor.removeprefix("numpy")))
            return True
        if new is None:
            return False
        same = under_pytensor(name)
        if same == new or (new.startswith("pytensor.gradient.") and exists(same)):
            return True
        if isinstance(node, cst.Name) or served(self.imported(leftmost(node))):
            return True  # its import brings the new name under the old
        if (spelled := self.spell(new, node)) is None:
            return False
        kind = "silent" if row is not None and row.kind == "silent" else "renamed"
        self.find(node, kind, row.note if row else "", self.replace(node, spelled), moved=node)
        return True

    def instance(self, node, name):
        """In a test of what class something is: a class that has more instances now."""
        row = CHANGES.get("theano.tensor.TensorVariable" if name == "theano.tensor.variable.TensorVariable" else name)
        inside = self.parents[node]
        while isinstance(inside, cst.Arg | cst.Element | cst.Tuple):
            inside = self.parents[inside]
        is_test = isinstance(inside, cst.Call) and text_of(inside.func) == "isinstance"
        if row is None or row.kind != "silent" or not name.endswith(".TensorVariable") or not is_test:
            return False
        self.find(node, "silent", row.note, now=row.pytensor)
        return exists(under_pytensor(name))

    def deprecated(self, node, call, name):
        """What PyTensor has, and the newest warns of or has no more."""
        if name not in ALWAYS_CHANGED or (call is not None and argument(call, "return_updates") is not None):
            return False
        self.find(node, "changed", CHANGES[name].note, now=CHANGES[name].pytensor)
        return True

    def express(self, node, name):
        """Write out what a function of Theano's computed."""
        forms = EXPRESSIONS.get(name)
        if forms is None:
            return False
        row = CHANGES.get(name)
        kind = "silent" if row is not None and row.kind == "silent" else "gone"
        why = row.note if row is not None else ""
        call = self.parents[node]
        tensor = self.tensor(node)
        if not (isinstance(call, cst.Call) and call.func is node):
            (arguments, text), *_ = forms.items()
            if tensor is None:
                return False
            if " if " in text and self.can_define(node):
                new = cst.Name(self.define(node, name, arguments.split(", "), text))
            else:
                new = cst.parse_expression(f"lambda {arguments}: {text}").visit(Fill({"T": tensor}))
            self.find(node, kind, why, self.replace(node, new), moved=node)
            return True
        given = len(call.args)
        form = next(((a.split(", "), text) for a, text in forms.items() if len(a.split(", ")) == given), None)
        if form is None or tensor is None or any(arg.star for arg in call.args):
            self.find(call, kind, why, now=row.pytensor if row is not None else next(iter(forms.values())))
            return True
        names, text = form
        keywords = [arg.keyword.value if arg.keyword else None for arg in call.args]
        order = [keyword or names[i] for i, keyword in enumerate(keywords)]
        bound = dict(zip(order, call.args, strict=True))
        if set(order) != set(names):
            self.find(call, kind, why, now=text)
            return True
        argument_of, by_axes = BY_AXES.get(name, (None, {}))
        text = by_axes.get(argument_of and self.ndim(bound[argument_of].value), text)
        body = cst.parse_expression(text)
        uses = [n.value for n in walk(body) if isinstance(n, cst.Name)]
        twice = any(uses.count(key) > 1 and not is_simple(bound[key].value) for key in names)
        defined = (twice or " if " in text) and self.can_define(node)
        if twice and not defined:
            self.find(call, kind, why, now=text)
            return True
        helper = self.define(call, name, names, text) if defined else None

        def plan(updated):
            if helper is not None:
                return updated.with_changes(func=cst.Name(helper))
            arguments = {key: arg.value for key, arg in zip(order, updated.args, strict=True)}
            return self.replace(call, body.visit(Fill(arguments | {"T": tensor})))(updated)

        self.find(call, kind, why, plan, moved=node)
        return True

    def absent(self, node, name):
        """Report a name that PyTensor has not."""
        if row_of_gone(name) is None and not (is_under(name, "theano") and not exists(under_pytensor(name))):
            return False
        self.gone(node, name)
        return True

    def gone(self, node, name, legacy=None):
        """Say what is known of a name that is gone."""
        if is_under(name, "lasagne"):
            self.find(node, "gone", LASAGNE, legacy=legacy)
            return
        row = CHANGES.get(name) or row_of_gone(name)
        why, now = (row.note, row.pytensor) if row is not None else ("", None)
        self.find(node, "gone", why or f"PyTensor has no {under_pytensor(name)}.", now=now, legacy=legacy)

    def lasagne(self, node, name):
        if is_under(name, "lasagne.updates"):
            function = name.removeprefix("lasagne.updates").lstrip(".")
            call = self.parents[node]
            if name in RULES_OF_MOMENTUM and isinstance(call, cst.Call) and call.func is node:
                self.momentum(call)
            if "." in function:
                return False
            if function and not hasattr(symupdates, function):
                self.find(node, "gone", f"symupdates has no {function}.")
            elif isinstance(node, cst.Attribute) and (spelled := self.spell(f"symupdates.{function or '*'}", node)):
                spelled = spelled.removesuffix(".*")
                finding = self.find(node, "renamed", "", self.replace(node, spelled), moved=node)
                if text_of(cst.parse_expression(spelled)) == finding.legacy:  # of an alias that the import keeps
                    self.findings.remove(finding)
                    self.plans.pop(node, None)
            return True
        if name == "lasagne":
            return False
        self.lasagne_uses.setdefault(leftmost(node).value, set()).add(name)  # said once, of its import
        return True

    def momentum(self, call):
        """Momentum on an updates dict, of which the parameters are not given."""
        given = argument(call, "updates", 0) is not None
        if given and argument(call, "params", 1) is None and not any(arg.star for arg in call.args):
            self.find(call, "silent", MOMENTUM, now=text_of(call)[:-1] + ", params=params)")

    # --- Calls ------------------------------------------------------------------------------------------------------

    def keyworded(self, call, kind, why, change):
        """Plan a call with other arguments: `change` takes the list of new ones and returns it, changed."""

        def plan(updated):
            args = change(list(updated.args))
            if args and not call.args[-1].comma:
                args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            return updated.with_changes(args=args)

        self.find(call, kind, why, plan)

    def stack(self, call, name):
        positional = [arg for arg in call.args if arg.keyword is None]
        first = positional[0].value if positional else None
        if len(positional) < 2 or isinstance(first, cst.List | cst.Tuple | cst.ListComp | cst.GeneratorExp):
            return
        if len(positional) == 2 and is_number(positional[1].value):
            return
        computed = len(positional) > 1 and not isinstance(positional[1].value, cst.Name | cst.Attribute)
        row = CHANGES[name]
        if any(arg.star for arg in positional) or not (len(positional) > 2 or computed or self.is_symbolic(first)):
            self.find(call, "changed", row.note, now="if both are tensors: T.stack([a, b])")
            return

        def change(args):
            tensors = args[: len(positional)]
            last = tensors[-1].comma
            elements = [cst.Element(arg.value, comma=arg.comma) for arg in tensors[:-1]]
            merged = cst.Arg(cst.List([*elements, cst.Element(tensors[-1].value)]), comma=last)
            return [merged, *args[len(positional) :]]

        self.keyworded(call, "changed", row.note, change)

    def flatten(self, call, name):
        if argument(call, "outdim") is not None:
            self.keyworded(
                call, "changed", CHANGES[name].note, lambda args: [renamed_keyword(a, {"outdim": "ndim"}) for a in args]
            )

    def constructor(self, call, name):
        if len(call.args) > 1 and call.args[1].keyword is None and not call.args[1].star:
            change = lambda args: [args[0], with_keyword(args[1], "dtype"), *args[2:]]  # noqa: E731
            self.keyworded(call, "changed", "The dtype is by keyword only.", change)

    def tensor_type(self, call, name):
        """TensorType(dtype, broadcastable) and tensor(dtype, broadcastable, name=...)."""
        row = CHANGES[name]
        pattern = argument(call, "broadcastable", 1)
        first = call.args[0] if call.args else None
        made = name.endswith(".tensor")
        is_new = is_under(self.function_of(call), "pytensor")  # then the first may be a name, and the second a shape
        if made and first is not None and first.keyword is None and pattern is None:
            if not is_new or is_dtype(first.value):
                self.find(call, "silent", row.note, now="T.tensor(name, dtype=..., shape=...)")
        if pattern is None or (is_new and argument(call, "broadcastable") is None and is_shape(pattern)):
            return
        shape = shape_of_pattern(pattern)
        if shape is None:
            self.find(call, "silent", row.note, now="shape= with 1 for True and None for False")
            return

        def change(args):
            args = [with_keyword(args[0], "dtype") if made else args[0], *args[1:]]
            for i, old in enumerate(call.args):
                if old.value is pattern:
                    args[i] = with_keyword(args[i], "shape").with_changes(value=shape)
            return args

        self.keyworded(call, "silent", row.note, change)

    def shared(self, call, name):
        pattern = argument(call, "broadcastable")
        if pattern is not None:
            shape = shape_of_pattern(pattern)
            if shape is None:
                self.find(call, "changed", CHANGES[name].note, now="shape= with 1 for True and None for False")
                return

            def change(args):
                return [
                    with_keyword(new, "shape").with_changes(value=shape) if old.value is pattern else new
                    for old, new in zip(call.args, args, strict=True)
                ]

            self.keyworded(call, "changed", CHANGES[name].note, change)
        elif argument(call, "target") is not None:
            self.keyworded(call, "gone", "There is one device, the CPU.", lambda args: without(args, {"target"}))

    def function(self, call, name):
        if isinstance(argument(call, "outputs", 1), cst.Dict):
            self.find(call, "changed", "PyTensor 3 refuses a dict of outputs.", now="a list of outputs")

    def default_input(self, call, name):
        if name.endswith("Param") or argument(call, "value", 2) is not None:
            self.find(call, "gone", CHANGES["theano.In"].note, now="functools.partial of the compiled function")

    def clone(self, call, name):
        keys = [arg.keyword.value if arg.keyword else i for i, arg in enumerate(call.args)]
        spelled = self.spell("pytensor.graph.replace.graph_replace", call.func)
        if keys not in ([0, 1], [0, "replace"]) or any(arg.star for arg in call.args) or spelled is None:
            self.find(call, "changed", CHANGES[name].note, now=CHANGES[name].pytensor)
            return

        def plan(updated):
            strict = with_keyword(cst.Arg(cst.Name("False")), "strict")
            args = [*updated.args[:-1], updated.args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT), strict]
            return updated.with_changes(func=cst.parse_expression(spelled), args=args)

        self.find(call, "changed", CHANGES[name].note, plan, moved=call.func)

    def graph_inputs(self, call, name):
        new = CHANGES[name].pytensor.removeprefix("list(").partition("(")[0]
        spelled = self.spell(new, call.func)
        if spelled is None or len(call.args) != 1 or call.args[0].keyword or call.args[0].star:
            self.find(call, "changed", CHANGES[name].note, now=CHANGES[name].pytensor)
            return

        def plan(updated):
            new = updated.with_changes(func=cst.parse_expression(spelled), lpar=[], rpar=[])
            return cst.Call(cst.Name("list"), [cst.Arg(new)], lpar=updated.lpar, rpar=updated.rpar)

        self.find(call, "changed", CHANGES[name].note, plan, moved=call.func)

    def stream(self, call, name):
        """The constructor of a random stream."""
        func = call.func
        spelled = func.value if isinstance(func, cst.Name) else self.spell(STREAM, func)
        if spelled is None:
            self.find(call, "silent", OTHER_NUMBERS, now=f"{STREAM}(seed)")
            return

        def plan(updated):
            args = without(updated.args, {"use_cuda"})
            return updated.with_changes(func=cst.parse_expression(spelled), args=args)

        self.find(call, "silent", OTHER_NUMBERS, plan, moved=func)

    def softmax_over_all(self, call, name):
        if len(call.args) == 1:
            why = "It normalises over all elements; Theano's did each row."
            self.find(call, "silent", why, now=text_of(call)[:-1] + ", axis=-1)")

    # --- Draws ------------------------------------------------------------------------------------------------------

    def draw(self, call):
        """A call of a random stream's method."""
        func = call.func
        if m.matches(func, m.Subscript()) and isinstance(func.value, cst.Attribute):
            if self.imported(func.value) == "numpy.cast" and len(call.args) == 1:
                base = text_of(func.value.value)
                self.plans.pop(func.value, None)
                self.findings = [f for f in self.findings if f.legacy != text_of(func.value)]

                def plan(updated):
                    args = [updated.args[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
                    args.append(cst.Arg(updated.func.slice[0].slice.value))
                    return updated.with_changes(func=cst.parse_expression(f"{base}.asarray"), args=args)

                self.find(call, "gone", CHANGES["numpy.cast"].note, plan)
            return
        if not isinstance(func, cst.Attribute):
            return
        method = func.attr.value
        now = {
            "shuffle_row_elements": "rows[T.argsort(srng.uniform(size=rows.shape), axis=-1)]",
            "truncated_normal": "T.clip(srng.normal(size=size), -2, 2), or a quantile function of srng.uniform",
            "multinomial_wo_replacement": "the largest of log(pvals) plus Gumbel noise",
        }
        if method in now and self.is_stream(func.value, ALL_STREAMS):
            self.find(call, "gone", f"PyTensor's stream has no {method}.", now=now[method])
        if method not in DRAWS:
            return
        why = CHANGES[f"{STREAMS['MRG' not in method and method in ('permutation', 'random_integers')]}.{method}"].note
        names = DRAWS[method].split()
        if not self.is_stream(func.value):
            self.perhaps_draw(call, names, why)
            return
        if any(arg.star for arg in call.args) or len(call.args) > len(names):
            self.find(call, "silent", why, now=f"srng.{method}({', '.join(KEYWORDS.get(k, k) + '=' for k in names)})")
            return
        given = {arg.keyword.value if arg.keyword else names[i]: arg.value for i, arg in enumerate(call.args)}
        if (method == "choice" and "a" not in given) or (method == "permutation" and "n" not in given):
            self.find(call, "silent", why, now=CHANGES[f"{STREAMS[1]}.{method}"].pytensor)
            return
        if method == "permutation" and "size" in given and text_of(given["size"]) not in {"None", "()"}:
            self.find(call, "silent", why, now="a permutation for each: there is no size")
            return
        moments = method == "normal" and not all(is_number(given[k]) for k in ("avg", "std") if k in given)
        moments = moments and text_of(given.get("size", "")) not in {"", "None"}  # without, the shape is theirs

        def plan(updated):
            args, taken = [], {}
            for i, arg in enumerate(updated.args):
                key = arg.keyword.value if arg.keyword else names[i]
                taken[key] = arg.value
                if key in DROPPED_KEYWORDS or (moments and key in {"avg", "std"}):
                    continue
                if key == "dtype" and method not in {"normal", "uniform"}:
                    continue
                if method == "permutation":
                    if key == "n":
                        args.append(arg.with_changes(keyword=None, equal=cst.MaybeSentinel.DEFAULT))
                    continue
                if method == "random_integers" and key == "high":
                    arg = arg.with_changes(value=plus_one(arg.value))
                args.append(with_keyword(arg, KEYWORDS.get(key, key)))
            if method in {"binomial", "multinomial"} and "n" not in taken:
                args.append(with_keyword(cst.Arg(cst.Integer("1")), "n"))
            if method == "binomial" and "p" not in taken:
                args.append(with_keyword(cst.Arg(cst.Float("0.5")), "p"))
            if method == "random_integers":
                for key, default in (("low", "0"), ("high", "2")):
                    if key not in taken:
                        args.append(with_keyword(cst.Arg(cst.Integer(default)), key))
            if args:
                args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            args = [
                arg
                if isinstance(arg.comma, cst.Comma) or arg is args[-1]
                else arg.with_changes(comma=cst.MaybeSentinel.DEFAULT)
                for arg in args
            ]
            name = "integers" if method == "random_integers" else method
            new = updated.with_changes(func=updated.func.with_changes(attr=cst.Name(name)), args=args)
            if "dtype" in taken and method not in {"normal", "uniform"}:
                new = cst.Call(cst.Attribute(new, cst.Name("astype")), [cst.Arg(taken["dtype"])])
            if moments:
                expression = "avg + std * draw" if "std" in taken else "avg + draw"
                expression = expression if "avg" in taken else "std * draw"
                new = cst.parse_expression(expression).visit(Fill(taken | {"draw": new}))
                return self.replace(call, new)(updated.with_changes(lpar=[], rpar=[]))
            return new

        self.find(call, "silent", why, plan)

    def perhaps_draw(self, call, names, why):
        """A draw from what may be a stream: say so, and change nothing."""
        value = call.func.value
        if not isinstance(value, cst.Name | cst.Attribute) or self.imported(value) is not None:
            return
        made = {self.function_of(v) for v in self.values_of(value) if isinstance(v, cst.Call)}
        called_so = self.written_for_graphs and any(word in text_of(value).lower() for word in ("rng", "stream"))
        maybe = made & {*ALL_STREAMS} or (called_so and not any(is_under(name or "", "numpy") for name in made))
        keywords = {arg.keyword.value for arg in call.args if arg.keyword}
        first = call.args[0] if call.args and call.args[0].keyword is None else None
        by_position = first is not None and (
            isinstance(first.value, cst.Tuple | cst.List)
            or (isinstance(first.value, cst.Attribute) and first.value.attr.value == "shape")
        )
        method = call.func.attr.value
        in_float = "dtype" in keywords and method == "binomial"
        unclear = any(arg.star for arg in call.args) or (first is None and method == "choice" and "a" not in keywords)
        unclear = unclear or (method == "permutation" and "size" in keywords)
        if maybe and (by_position or in_float or unclear or keywords & {"avg", "std", "pvals"}):
            self.find(call, "silent", f"If this is a random stream: {why}", now="every argument by keyword")

    # --- What no call of its own tells ------------------------------------------------------------------------------

    def differentiate(self, call):
        """Look in what is differentiated for what no gradient passes."""
        name = self.function_of(call) or ""
        last = name.rpartition(".")[2]
        is_rule = is_under(name, "lasagne.updates") or (is_under(name, "symupdates") and last in symupdates.__all__)
        if not (
            is_rule
            or name.removeprefix("theano").removeprefix("pytensor") in {".grad", ".tensor.grad", ".gradient.grad"}
        ):
            return
        loss = argument(call, "loss_or_grads" if is_rule else "cost", 0)
        if loss is None or last.startswith(("apply_", "norm_", "total_norm")):
            return
        seen, unread = set(), [loss]
        while unread:
            node = unread.pop()
            if isinstance(node, cst.Name | cst.Attribute):
                key = get_full_name_for_node(node)
                if key in self.values and key not in seen:
                    seen.add(key)
                    unread += [v for v in self.values[key] if v is not None]
                elif isinstance(node, cst.Attribute):
                    unread.append(node.value)
                continue
            if isinstance(node, cst.Subscript):
                unread.append(node.value)  # what selects is not differentiated
                continue
            if isinstance(node, cst.Call):
                function = (self.function_of(node) or "").removeprefix("theano").removeprefix("pytensor")
                method = node.func.attr.value if isinstance(node.func, cst.Attribute) else ""
                to = argument(node, "dtype", 0 if method == "astype" else 1)
                is_cast = function == ".tensor.cast" or (method == "astype" and not function)
                whole = is_cast and to is not None and text_of(to).strip("'\"").startswith(("int", "uint"))
                if function == ".tensor.argmax" or (method == "argmax" and not function) or whole:
                    if not any(f.why is NO_GRADIENT and f.legacy == text_of(node) for f in self.findings):
                        self.find(node, "silent", NO_GRADIENT, now="nothing that is differentiated")
                    continue
                if function.endswith("crossentropy"):
                    unread += [arg.value for arg in node.args[:1]]
                    continue
                if function.endswith(("switch", "arange")):
                    unread += [arg.value for arg in node.args[1:]]
                    continue
            unread += [child for child in node.children if not isinstance(child, cst.Annotation)]

    def flags(self, node):
        if node.raw_value == "THEANO_FLAGS":
            quoted = node.value.replace("THEANO_FLAGS", "PYTENSOR_FLAGS")
            self.find(node, "silent", FLAGS, lambda updated: updated.with_changes(value=quoted))

    def walk_keys(self, loop):
        """A loop over the keys of an updates dict that tells weights by their number of axes."""
        over = loop.iter
        while isinstance(over, cst.Call):
            keys = isinstance(over.func, cst.Attribute) and over.func.attr.value in {"keys", "items"}
            if keys:
                over = over.func.value
            elif text_of(over.func) in {"list", "tuple", "sorted"} and len(over.args) == 1:
                over = over.args[0].value
            else:
                return
        made = any(
            isinstance(v, cst.Call) and is_under(self.function_of(v) or "", root)
            for v in self.values_of(over)
            for root in ("lasagne.updates", "symupdates")
        )
        if not made and "updates" not in (get_full_name_for_node(over) or "").lower():
            return
        where = loop.body if isinstance(loop, cst.For) else self.parents[loop]
        for node in walk(where):
            name = self.function_of(node) if isinstance(node, cst.Call) else None
            if name in {"lasagne.updates.norm_constraint", "symupdates.norm_constraint"} or m.matches(
                node, m.Attribute(attr=m.Name("ndim"))
            ):
                target = text_of(loop.target)
                header = f"for {target} in {text_of(loop.iter)}"
                self.find(loop, "silent", EVERY_KEY, now="for p in params", legacy=header)
                return

    def default_update(self, node):
        """Default updates of shared variables."""
        for target in (each.target for each in node.targets):
            if self.written_for_graphs and m.matches(target, m.Attribute(attr=m.Name("default_update"))):
                row = CHANGES["theano.compile.SharedVariable.default_update"]
                self.find(node, "changed", row.note, now=row.pytensor, legacy=text_of(target))

    def truth(self, node):
        """Symbolic variables in conditions."""
        if isinstance(node, cst.If | cst.While | cst.IfExp | cst.Assert | cst.CompIf):
            tests = [node.test]
        elif isinstance(node, cst.BooleanOperation):
            tests = [node.left, node.right]
        elif isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
            tests = [node.expression]
        else:
            return
        for test in tests:
            if isinstance(test, cst.Name) and self.may_be_none(test):
                self.find(test, "changed", f"If a symbolic variable comes in: {TRUTH}", now=f"{test.value} is not None")
            elif not isinstance(test, cst.BooleanOperation) and not (
                isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not)
            ):
                if self.is_symbolic(test):
                    named = isinstance(test, cst.Name | cst.Attribute)
                    now = f"{text_of(test)} is not None" if named else "T.switch(condition, one, other)"
                    self.find(test, "changed", TRUTH, now=now)

    def may_be_none(self, name):
        """Whether it is an argument whose default is None, in a script of Theano's."""
        if not self.written_for_graphs:
            return False
        node = name
        while not isinstance(node, cst.Module):
            node = self.parents[node]
            if isinstance(node, cst.FunctionDef):
                for param in (*node.params.params, *node.params.kwonly_params):
                    if param.name.value == name.value:
                        return param.default is not None and text_of(param.default) == "None"
        return False

    # --- Imports ----------------------------------------------------------------------------------------------------

    def imports_and_additions(self):
        first = None
        for line in self.imports:
            if isinstance(line.names, cst.ImportStar):
                self.star(line)
            if not self.is_legacy(line):
                continue
            new = self.import_line(line)
            top = self.is_at_the_top(line)
            if top and first is None:
                first = line, new
            elif new is not None:
                self.plan_import(line, new)
        if first is not None:
            line, new = first
            present = {text_of(statement) for statement in (new or [line])}
            extra = []
            for local, module in sorted(self.added.items()):
                text = f"import {module}" if local == module else f"import {module} as {local}"
                if text not in present:
                    extra.append(cst.parse_statement(text).body[0])
            if new is not None or extra:
                self.plan_import(line, [*([line] if new is None else new), *extra])
        if self.helpers:
            self.define_helpers()

    def define_helpers(self):
        """Plan the definitions after the last import before the first statement that is no import, nor a setting."""
        body = list(self.module.body)
        tops = [i for i, line in enumerate(body) if any(child in self.imports for child in line.children)]
        first = next(i for i in tops if any(self.is_followed_by_helpers(line) for line in body[i].body))
        used = [i for i, line in enumerate(body) if i > first and any(n in self.called for n in walk(line))]
        place = max(i for i in tops if i < min(used, default=first + 1))
        after, following = body[place], body[place + 1 : place + 2]
        before, _ = self.plans.get(after, (lambda updated: updated, None))
        blank = [cst.EmptyLine(indent=False)] * 2
        there = sum(line.comment is None for each in following for line in each.leading_lines) if following else 2
        definitions = [
            cst.parse_statement(definition(name, arguments, text)).with_changes(leading_lines=blank)
            for name, (arguments, text) in self.helpers.items()
        ]
        last = definitions[-1].body.with_changes(footer=blank[there:])
        definitions[-1] = definitions[-1].with_changes(body=last)

        def plan(updated):
            new = before(updated)
            lines = [new] if isinstance(new, cst.CSTNode) else list(new) if isinstance(new, cst.FlattenSentinel) else []
            return cst.FlattenSentinel([*lines, *definitions])

        self.plans[after] = plan, None

    def plan_import(self, line, new):
        """Put statements in the place of an import, on lines of their own where it has one."""
        parent = self.parents[line]
        finding = self.find(line, "renamed", "")
        kept = [text_of(statement) for statement in new]
        if not new and isinstance(self.parents[parent], cst.IndentedBlock) and len(self.parents[parent].body) == 1:
            new = [cst.Pass()]
        if isinstance(parent, cst.SimpleStatementLine) and len(parent.body) == 1:

            def plan(updated):
                if not new:
                    lines = [cst.EmptyLine(comment=each) for each in comments_in(updated)]
                    return cst.FlattenSentinel(lines)
                lost = comments_in(line) if sum(len(comments_in(each)) for each in new) < len(comments_in(line)) else []
                above = [*updated.leading_lines, *(cst.EmptyLine(comment=each) for each in lost)]
                lines = [updated.with_changes(body=[new[0]], leading_lines=above)]
                lines += [cst.SimpleStatementLine([statement]) for statement in new[1:]]
                return cst.FlattenSentinel(lines)

            self.plans[parent] = plan, None
        else:
            self.plans[line] = (lambda updated: cst.FlattenSentinel(new) if new else cst.RemoveFromParent()), None
        finding.now = "; ".join(kept) or "nothing"
        finding.rewritten = True

    def is_free(self, line, local, full):
        """Whether nothing stands any more on a name that an import binds."""
        for node in self.references:
            root = leftmost(node)
            if root.value == local and root not in self.moved and is_under(self.imported(node) or "", full):
                return False
        return True

    def import_line(self, line):
        """The statements that take the place of a legacy import, or None if it stays."""
        if isinstance(line, cst.Import):
            return self.import_modules(line)
        module = get_full_name_for_node(line.module)
        if isinstance(line.names, cst.ImportStar):
            new = self.module_of_star(module)
            return new and [line.with_changes(module=dotted(new))]
        groups, stay = {}, []
        for alias in line.names:
            name, local = alias.name.value, local_name(alias)
            full = f"{module}.{name}"
            new = self.moved_import(full)
            if new == full:
                stay.append(alias)
            elif new is not None and "." not in new:
                groups.setdefault(None, []).append((new, local))
            elif new is not None:
                groups.setdefault(new.rpartition(".")[0], []).append((new.rpartition(".")[2], local))
            elif not self.is_free(line, local, full) or full not in (*HANDLERS, *EXPRESSIONS, *BUILTINS):
                if not (self.is_free(line, local, full) and self.is_prefix(full)):
                    stay.append(alias)
                    if not is_under(full, "lasagne"):
                        self.gone(alias, full, legacy=full)
        if stay and is_under(module, "lasagne"):
            self.needs_lasagne(line, stay)
        if len(stay) == len(line.names):
            return None
        if len(groups) == 1 and not stay and None not in groups:
            ((module, names),) = groups.items()
            if len(names) == len(line.names):  # as it is formatted
                aliases = [
                    alias if alias.name.value == name else aliased(name, local).with_changes(comma=alias.comma)
                    for alias, (name, local) in zip(line.names, names, strict=True)
                ]
                return [line.with_changes(module=dotted(module), names=aliases)]
        new = []
        if stay:
            stay = [alias.with_changes(comma=cst.MaybeSentinel.DEFAULT) for alias in stay]
            new.append(line.with_changes(names=stay))
        for module, names in groups.items():
            aliases = [aliased(name, local) for name, local in names]
            new.append(cst.Import(aliases) if module is None else cst.ImportFrom(dotted(module), aliases))
        return new

    def module_of_star(self, module):
        """The module that takes the place of one of which all is imported, or None."""
        if module == "lasagne.updates":
            return "symupdates"
        new = under_pytensor(module)
        return new if is_under(new, "pytensor") and exists(new) else None

    def star(self, line):
        """An import of all that is in a module, of PyTensor's and symupdates' too."""
        module = get_full_name_for_node(line.module) if line.module and not line.relative else ""
        new = module if is_under(module, "symupdates") else self.module_of_star(module)
        if new is not None:
            why = "What a star brings is not the same, and cannot be seen here: import by name, or the module."
            self.find(line, "changed", why, now=f"from {new} import ...")
        elif self.is_legacy(line):
            lasagne = is_under(module, "lasagne")
            self.find(line, "gone", LASAGNE if lasagne else f"PyTensor has no {under_pytensor(module)}.")

    def has_plain_import(self, name="theano"):
        """Whether a module is imported at the top under its own name."""
        plain = [line for line in self.imports if isinstance(line, cst.Import) and self.is_at_the_top(line)]
        return any(text_of(alias.name) == name == local_name(alias) for line in plain for alias in line.names)

    def is_prefix(self, full):
        """Whether it is a module of which parts are known: `theano.tensor.nnet`, `theano.gof`."""
        return any(known != full and is_under(known, full) for known in (*CHANGES, *EXPRESSIONS, *NAMES))

    def moved_import(self, full):
        """The name that stands for a legacy one in an import; itself to stay; None if there is none."""
        if is_under(full, "lasagne"):
            if full == "lasagne.updates":
                return "symupdates"
            name = full.removeprefix("lasagne.updates.")
            return f"symupdates.{name}" if name != full and hasattr(symupdates, name) else None
        if not is_under(full, "theano"):
            return full
        if full in STREAMS:
            return STREAM
        if full in NAMES:
            return NAMES[full]
        if full in EXPRESSIONS:
            return None
        if (new := served(full)) is not None:
            return new
        return under_pytensor(full) if exists(under_pytensor(full)) else None

    def import_modules(self, line):
        new, kept, changed = [], [], False
        for alias in line.names:
            full = get_full_name_for_node(alias.name)
            local = local_name(alias)
            alias = alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
            if local == full:
                alias = alias.with_changes(asname=None)  # as in `import theano as theano`
            if "." in local or local == full:
                local = None
            if is_under(full, "lasagne"):
                target = None
                if full == "lasagne.updates" and (local or self.only_updates):
                    target = "symupdates"
                elif full == "lasagne" and self.only_updates:
                    target = "symupdates"
                if target is None:
                    self.needs_lasagne(line, [alias])
                    new.append(alias)
                    continue
            elif full == "theano" and local is None:
                roots = [leftmost(node) for node in self.references]
                roots = {root for root in roots if root.value == "theano" and self.imported(root) == "theano"}
                stays = bool(self.staying)
                spelled = "pytensor" in self.spelled and not self.has_plain_import("pytensor")
                if not stays or roots - self.staying or spelled:
                    new.append(alias.with_changes(name=dotted("pytensor")))
                    changed = True
                if stays:
                    kept.append(alias)
                continue
            elif is_under(full, "theano"):
                target = under_pytensor(full)
                if local and served(full) is not None:
                    target = served(full)
                elif not exists(target):
                    free = self.is_free(line, local or "theano", full)
                    if not (free and (self.is_prefix(full) or served(full))):
                        self.gone(line, full, legacy=full)
                        kept.append(alias)
                        continue
                    target = None if local or self.has_plain_import() else "pytensor"
            else:
                new.append(alias)
                continue
            changed = True
            if target is not None:
                new.append(alias.with_changes(name=dotted(target)))
        if not changed:
            return None
        unique = {text_of(alias): alias for alias in new}
        return [line.with_changes(names=names) for names in (list(unique.values()), kept) if names]

    def needs_lasagne(self, line, aliases):
        """Say, of an import, what of Lasagne the script uses through it."""
        used = {
            name
            for alias in aliases
            for name in self.lasagne_uses.get(local_name(alias).partition(".")[0], ())
            if is_under(name, self.full_name(line, alias))
        }
        now = "; ".join(f"{name.rpartition('.')[2]}: {LASAGNE_NOW[name]}" for name in sorted(used & {*LASAGNE_NOW}))
        self.find(line, "gone", LASAGNE, now=now, legacy=text_of(line))


def dotted(name):
    return cst.parse_expression(name)


def definition(name, arguments, text):
    """The definition of a function that returns an expression; on two lines, of one with a condition."""
    value = cst.parse_expression(text)
    lines = [f"def {name}({', '.join(arguments)}):"]
    if isinstance(value, cst.IfExp):
        lines += [f"    if {text_of(value.test)}:", f"        return {text_of(value.body)}"]
        text = text_of(value.orelse)
    return "\n".join([*lines, f"    return {text}\n"])


def local_name(alias):
    """What an import calls a module or what is in it, in full: dotted, of a module without an alias."""
    return alias.asname.name.value if alias.asname else get_full_name_for_node(alias.name)


def aliased(name, local):
    asname = None if name == local else cst.AsName(cst.Name(local))
    return cst.ImportAlias(cst.Name(name), asname)


def with_keyword(arg, keyword):
    tight = cst.SimpleWhitespace("")
    equal = cst.AssignEqual(whitespace_before=tight, whitespace_after=tight)
    return arg.with_changes(keyword=cst.Name(keyword), equal=arg.equal if arg.keyword else equal)


def renamed_keyword(arg, names):
    old = arg.keyword.value if arg.keyword else None
    return with_keyword(arg, names[old]) if old in names else arg


def without(args, names):
    args = [arg for arg in args if not (arg.keyword and arg.keyword.value in names)]
    if args:
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return args


def plus_one(node):
    if isinstance(node, cst.Integer) and node.value.isdecimal():
        return cst.Integer(str(int(node.value) + 1))
    return cst.BinaryOperation(closed(node), cst.Add(), cst.Integer("1"))


def is_dtype(node):
    """Whether it is a dtype, written out or Theano's default."""
    return text_of(node).strip("'\"") in DTYPES or m.matches(node, m.Attribute(attr=m.Name("floatX")))


def is_shape(node):
    """Whether it is a static shape that is written out, and not a pattern of True and False."""
    literal = isinstance(node, cst.Tuple | cst.List) or m.matches(node, m.BinaryOperation(left=m.Tuple() | m.List()))
    return literal and not any(isinstance(n, cst.Name) and n.value in {"True", "False"} for n in walk(node))


def shape_of_pattern(node):
    """The static shape that a pattern of broadcasting means, where it is written out."""
    if isinstance(node, cst.Tuple | cst.List):
        elements = []
        for element in node.elements:
            value = {"True": "1", "1": "1", "False": "None", "0": "None"}.get(text_of(element.value))
            if value is None:
                return None
            elements.append(element.with_changes(value=cst.parse_expression(value)))
        return node.with_changes(elements=elements)
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Multiply):
        left = shape_of_pattern(node.left)
        return left and node.with_changes(left=left)
    return None


ALWAYS_CHANGED = {
    "theano.scan",
    "theano.map",
    "theano.reduce",
    "theano.foldl",
    "theano.foldr",
    "theano.tensor.batched_dot",
    "theano.tensor.batched_tensordot",
}

HANDLERS = {
    "theano.tensor.stack": Script.stack,
    "theano.tensor.flatten": Script.flatten,
    "theano.tensor.TensorType": Script.tensor_type,
    "theano.tensor.tensor": Script.tensor_type,
    "theano.shared": Script.shared,
    "theano.function": Script.function,
    "theano.In": Script.default_input,
    "theano.Param": Script.default_input,
    "theano.clone": Script.clone,
    "theano.gof.graph.inputs": Script.graph_inputs,
    "theano.gof.graph.ancestors": Script.graph_inputs,
    "theano.tensor.special.softmax": Script.softmax_over_all,
    "theano.tensor.special.log_softmax": Script.softmax_over_all,
    **{name: Script.constructor for name in (f"theano.tensor.{name}" for name in CONSTRUCTORS)},
    **{name: Script.stream for name in STREAMS},
}
