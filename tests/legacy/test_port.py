"""symupdates.port: legacy lines in, the report and the rewritten text out; and what was rewritten runs, to Theano's
numbers."""

import importlib
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from symupdates.port import __main__ as command
from symupdates.port import port
from symupdates.port.facts import CONSTRUCTORS, NAMES, SERVED, exists
from symupdates.theano.names import CHANGES

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

HEADER = """\
import numpy as np
import theano
import theano.tensor as T
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams
import lasagne
srng = RandomStreams(seed=1)
"""
PORTED_HEADER = """\
import numpy as np
import pytensor
import pytensor.tensor as T
from pytensor.tensor.random.utils import RandomStream as RandomStreams
import symupdates
srng = RandomStreams(seed=1)
"""


def ported(lines, header=HEADER):
    """The rewritten lines after the header, and what the report says of them.

    A second time changes nothing, and reports what was left to do by hand.
    """
    findings, text = port(header + lines)
    again, same = port(text)
    assert same == text
    assert [(f.kind, f.rewritten) for f in again] == [(f.kind, False) for f in findings if not f.rewritten]
    last = header.splitlines()[-1] + "\n"
    return text.partition(last)[2].removesuffix("\n"), [f for f in findings if f.line > header.count("\n")]


# --- Lines in, lines out ----------------------------------------------------------------------------------------------

SILENT = {
    # a random stream's size comes first no more, and its other arguments have other names
    "srng.normal((3, 2))": "srng.normal(size=(3, 2))",
    "srng.normal((3, 2), 3, 0.1)": "srng.normal(size=(3, 2), loc=3, scale=0.1)",
    "srng.normal(size=(3,), avg=-1.0, std=2)": "srng.normal(size=(3,), loc=-1.0, scale=2)",
    "srng.normal(x.shape, dtype=theano.config.floatX)": "srng.normal(size=x.shape, dtype=pytensor.config.floatX)",
    "srng.normal(x.shape, ndim=2, std=2.)": "srng.normal(size=x.shape, scale=2.)",
    "srng.normal(x.shape, avg=mu, std=T.exp(s))": "mu + T.exp(s) * srng.normal(size=x.shape)",
    "srng.normal(x.shape, std=a + b)": "(a + b) * srng.normal(size=x.shape)",
    "srng.normal(None, mu, s)": "srng.normal(size=None, loc=mu, scale=s)",
    "srng.normal(avg=mu)": "srng.normal(loc=mu)",
    "srng.uniform(x.shape)": "srng.uniform(size=x.shape)",
    "srng.uniform((3,), dtype='float32')": "srng.uniform(size=(3,), dtype='float32')",
    "RandomStreams(2, use_cuda=True)": "RandomStreams(2)",
    "srng.uniform((3, 2), -1, 1)": "srng.uniform(size=(3, 2), low=-1, high=1)",
    "srng.binomial((3, 2), p=0.3)": "srng.binomial(size=(3, 2), p=0.3, n=1)",
    "srng.binomial((3, 2), 1, 0.3)": "srng.binomial(size=(3, 2), n=1, p=0.3)",
    "srng.binomial((3,))": "srng.binomial(size=(3,), n=1, p=0.5)",
    "srng.binomial((3,), n=1, p=q, dtype='float32')": "srng.binomial(size=(3,), n=1, p=q).astype('float32')",
    "srng.multinomial(pvals=q)": "srng.multinomial(p=q, n=1)",
    "srng.choice((3,), a=5)": "srng.choice(size=(3,), a=5)",
    "srng.random_integers((3,), 0, 5)": "srng.integers(size=(3,), low=0, high=6)",
    "srng.random_integers((3,), high=k)": "srng.integers(size=(3,), high=k + 1, low=0)",
    "srng.permutation(n=7)": "srng.permutation(7)",
    "RandomStreams(2).normal((3,))": "RandomStreams(2).normal(size=(3,))",
    # softmax did each row
    "T.nnet.softmax(T.matrix())": "softmax(T.matrix())",
    "T.nnet.softmax(T.dot(x, W) + b)": "softmax(T.dot(x, W) + b)",
    "T.nnet.softmax": "softmax",
    "T.nnet.logsoftmax(x)": "logsoftmax(x)",
    # a logarithm of what is rounded to zero has no gradient
    "T.log(T.nnet.sigmoid(x))": "theano_tensor.log(T.sigmoid(x))",
    "theano.tensor.log(1 - T.nnet.sigmoid(x)[:, 0])": "theano_tensor.log(1 - T.sigmoid(x)[:, 0])",
    "T.log1p(-T.nnet.sigmoid(x).reshape((3,)))": "theano_tensor.log1p(-T.sigmoid(x).reshape((3,)))",
    "T.log(1. / (1. + T.exp(-x)))": "theano_tensor.log(1. / (1. + T.exp(-x)))",
    "T.log(T.exp(x).sum(axis=1))": "theano_tensor.log(T.exp(x).sum(axis=1))",
    "T.log(T.sum(T.exp(x)).T)": "theano_tensor.log(T.sum(T.exp(x)).T)",
    "T.log(T.nnet.softmax(x)[T.arange(3), y])": "theano_tensor.log(softmax(x)[T.arange(3), y])",
    # the Op of W[idx]
    "T.AdvancedSubtensor1": "T.subtensor.AdvancedSubtensor",
    # a shape, not a pattern
    "T.TensorType('float32', (False, True))": "T.TensorType('float32', shape=(None, 1))",
    "T.TensorType('float32', broadcastable=[False] * 4)": "T.TensorType('float32', shape=[None] * 4)",
    "T.tensor('float32', (0, 1), name='a')": "T.tensor(dtype='float32', shape=(None, 1), name='a')",
}


@pytest.mark.parametrize(("legacy", "now"), SILENT.items())
def test_silent_hazards_come_first_and_are_rewritten(legacy, now):
    line, findings = ported(f"y = T.inv({legacy})  # noted\n")
    assert line == f"y = T.reciprocal({now})  # noted"
    first = next(f for f in findings if f.legacy == legacy)
    assert (first.kind, first.column, first.rewritten) == ("silent", 11, True)
    assert first.now.strip("()") == now.strip("()") and first.why
    assert [f.kind for f in findings] == sorted((f.kind for f in findings), key=["silent", "renamed"].index)


def test_a_vector_gave_one_row():
    line, _ = ported("v = T.vector()\nx = T.matrix()\ny = T.nnet.softmax(v)\nz = T.nnet.softmax(x)\n")
    assert line.endswith("y = T.special.softmax(v, axis=-1)[None]\nz = T.special.softmax(x, axis=-1)")
    assert (
        "def softmax(x):\n    return T.special.softmax(x if x.ndim > 1 else x[None], axis=-1)\n"
        in (port(HEADER + "z = T.nnet.softmax(T.dot(v, W))\n")[1])
    )


RENAMED = {
    "T.nnet.conv2d(x, W, border_mode='half')": "nnet.conv2d(x, W, border_mode='half')",
    "theano.tensor.nnet.conv.conv2d(x, W)": "conv.conv2d(x, W)",
    "T.signal.pool.pool_2d(x, (2, 2))": "pool.pool_2d(x, (2, 2))",
    "T.signal.downsample.max_pool_2d": "downsample.max_pool_2d",
    "T.nnet.abstract_conv.get_conv_output_shape(a, b, c, d)": "abstract_conv.get_conv_output_shape(a, b, c, d)",
    "T.nnet.binary_crossentropy(T.nnet.sigmoid(x), t)": "nnet.binary_crossentropy(T.sigmoid(x), t)",
    "T.nnet.categorical_crossentropy": "nnet.categorical_crossentropy",
    "T.inv(x)": "T.reciprocal(x)",
    "T.abs_(T.sgn(x))": "T.abs(T.sign(x))",
    "T.nnet.sigmoid": "T.sigmoid",
    "theano.tensor.nnet.softplus(x)": "pytensor.tensor.softplus(x)",
    "T.addbroadcast(x, 0)": "T.specify_broadcastable(x, 0)",
    "T.extra_ops.repeat(x, 2)": "T.repeat(x, 2)",
    "theano.tensor.grad(x, [y])": "pytensor.tensor.grad(x, [y])",
    "theano.gradient.consider_constant(x)": "pytensor.gradient.zero_grad(x)",
    "isinstance(x, theano.Variable)": "isinstance(x, pytensor.graph.basic.Variable)",
    # what Theano had in another module than PyTensor has
    "x.dtype in T.float_dtypes": "x.dtype in T.type.float_dtypes",
    "theano.gof.Op.__init__(self)": "pytensor.graph.op.Op.__init__(self)",
    "T.opt.register_canonicalize(r)": "T.rewriting.basic.register_canonicalize(r)",
    "theano.gof.OpSub(a, b)": "pytensor.graph.rewriting.basic.SubstitutionNodeRewriter(a, b)",
    "theano.gof.EquilibriumDB": "pytensor.graph.rewriting.db.EquilibriumDB",
    "T.Rop(y, x, v)": "pytensor.gradient.Rop(y, x, v)",
    "T.nlinalg.matrix_inverse(x)": "T.linalg.inv(x)",
    "T.slinalg.cholesky(x)": "T.linalg.cholesky(x)",
    "theano.ifelse.ifelse(c, a, b)": "pytensor.ifelse(c, a, b)",
    "lasagne.updates.adam(loss, params)": "symupdates.adam(loss, params)",
    "theano.function([x], x.sum(), mode='FAST_RUN')": "pytensor.function([x], x.sum(), mode='FAST_RUN')",
    "np.asarray(1, dtype=theano.config.floatX)": "np.asarray(1, dtype=pytensor.config.floatX)",
    "lambda x, f=T.nnet.sigmoid, g=theano.function: 1": "lambda x, f=T.sigmoid, g=pytensor.function: 1",
}
CHANGED = {
    "T.stack(T.sum(x), y)": "T.stack([T.sum(x), y])",
    "T.stack(a, b, c)": "T.stack([a, b, c])",
    "T.stack(T.sum(x), y, axis=1)": "T.stack([T.sum(x), y], axis=1)",
    "T.matrix('x', 'float32')": "T.matrix('x', dtype='float32')",
    "T.flatten(x, outdim=2)": "T.flatten(x, ndim=2)",
    "T.tile(x, (2, k), ndim=2)": "T.tile(x, (2, k))",
    "T.tile(x, reps=[2], ndim=3)": "T.tile(x, reps=[1, 1, 2])",
    "T.tile(x, 2, 2)": "T.tile(x, (1, 2))",
    "T.tile(x, reps, ndim=None)": "T.tile(x, reps)",
    "theano.shared(v, broadcastable=(True, False))": "pytensor.shared(v, shape=(1, None))",
    "T.stack(a, a ** 2)": "T.stack([a, a ** 2])",
    "theano.shared(v, target='cpu')": "pytensor.shared(v)",
    "theano.gof.graph.inputs([x])": "list(pytensor.graph.traversal.graph_inputs([x]))",
    "theano.clone(y, {x: z})": "pytensor.graph.replace.graph_replace(y, {x: z}, strict=False)",
    "theano.clone(y, replace={x: z})": "pytensor.graph.replace.graph_replace(y, replace={x: z}, strict=False)",
}
GONE = {
    "T.nnet.relu(x)": "0.5 * (x + abs(x))",
    "T.nnet.relu(x, 0.1)": "0.5 * (1 + 0.1) * x + 0.5 * (1 - 0.1) * abs(x)",
    "T.nnet.elu(x)": "T.switch(x > 0, x, T.expm1(x))",
    "T.nnet.hard_sigmoid(a + b)": "T.clip(0.2 * (a + b) + 0.5, 0, 1)",
    "T.nnet.sigmoid_binary_crossentropy(x + y, t)": None,
    "theano.updates.OrderedUpdates()": "dict()",
    "np.cast['float32'](x)": "np.asarray(x, 'float32')",
    "np.cast[theano.config.floatX](T.inv(x))": "np.asarray(T.reciprocal(x), pytensor.config.floatX)",
    "np.float(x)": "float(x)",
    "np.NaN": "np.nan",
}


@pytest.mark.parametrize(("legacy", "now"), (RENAMED | CHANGED | GONE).items())
def test_rewritten(legacy, now):
    line, findings = ported(f"z = [{legacy}]  # noted\n")
    if now is None:  # in a function, which the argument is given to once
        now = legacy.replace("T.nnet.", "")
        assert f"def {now.partition('(')[0]}(" in port(HEADER + f"z = [{legacy}]\n")[1]
    assert line.splitlines()[-1].strip("()") in (f"z = [{now}]  # noted", f"z = [({now})]  # noted")
    assert all(f.rewritten for f in findings)


AS_THEY_ARE = [
    "T.stack([a, b])",
    "T.stack([a, b], 1)",
    "T.stack((a, b), k + 1)",
    "1 if T.dscalar() == y else 2",
    "T.stack(tensors, axis=1)",
    "T.matrix('x')",
    "T.TensorType('float32', shape)",
    "np.random.RandomState(1).normal(0, 1, (3, 2))",
    "rng.normal(0, 1, size=(3, 2))",
    "x.T.dot(y) if len(xs) else x[0]",
    "T.dot(x, W).flatten(2)",
    "'T.inv is what this was called'",
    "T.tile(x, (2, 3))",
    "T.log(T.exp(x) + T.log(sigma) + T.log(T.sum(x)))",
    "T.log(1 - x.sum() + 2 / (1 + T.exp(x)))",
]


@pytest.mark.parametrize("legacy", AS_THEY_ARE)
def test_left_as_it_is(legacy):
    line, findings = ported(f"z = {legacy}\n")
    assert line == f"z = {legacy}"
    assert [f.kind for f in findings] == ["silent"] * legacy.startswith("T.TensorType")


BY_HAND = [
    ("f = T.nnet.conv.ConvOp", "gone", "T.nnet.conv.ConvOp", "symupdates.theano.tensor.nnet.conv2d"),
    (
        "S = theano.scan_module.scan_op.Scan",
        "renamed",
        "theano.scan_module.scan_op.Scan",
        "pytensor.scan.op import Scan",
    ),
    ("w = T.unbroadcast(x, 0)", "gone", "T.unbroadcast", "x"),
    ("w = theano.shared(v, broadcastable=b)", "changed", "theano.shared(v, broadcastable=b)", "shape="),
    ("x = T.tensor('float32', b, name='a')", "silent", "T.tensor('float32', b, name='a')", "shape="),
    ("x = T.tensor(theano.config.floatX)", "silent", "T.tensor(theano.config.floatX)", "dtype="),
    ("y = T.batched_dot(a, b)", "changed", "T.batched_dot", "matmul"),
    ("def f(W=None):\n    assert not W", "changed", "W", "W is not None"),
    ("h.default_update = h + 1", "changed", "h.default_update", "updates="),
    ("u = lasagne.updates.apply_momentum(v)", "silent", "lasagne.updates.apply_momentum(v)", "params=params"),
    ("y = T.tile(x, reps, ndim=3)", "changed", "T.tile(x, reps, ndim=3)", "tile(x, reps)"),
    ("y = T.AdvancedSubtensor1()(W, i)", "changed", "T.AdvancedSubtensor1()", "table[index]"),
    ("n = T.nnet.softmax(c=x)", "silent", "T.nnet.softmax(c=x)", "T.special.softmax"),
    ("f = theano.function([x], {'a': x})", "changed", "theano.function([x], {'a': x})", "list of outputs"),
    ("theano.config.device = 'cpu'", "gone", "theano.config.device", ""),
    ("theano.config.warn.round = f()", "gone", "theano.config.warn.round", ""),
    ("r = theano.gof.OpRemove(op)", "gone", "theano.gof.OpRemove", "node_rewriter([op])"),
    ("i = theano.In(x, value=1)", "gone", "theano.In(x, value=1)", "functools.partial"),
    ("i = theano.In(x, 'x', 1)", "gone", "theano.In(x, 'x', 1)", "functools.partial"),
    ("i = theano.Param(x, default=1)", "gone", "theano.Param(x, default=1)", "functools.partial"),
    ("p = theano.clone(q, share_inputs=False)", "changed", "theano.clone(q, share_inputs=False)", "graph_replace"),
    ("s = T.stack(a, b)", "changed", "T.stack(a, b)", "T.stack([a, b])"),
    ("o, u = theano.scan(step, x)", "changed", "theano.scan", "return_updates=False"),
    ("theano.nothing_like_it(x)", "gone", "theano.nothing_like_it", ""),
    ("srng.shuffle_row_elements(x)", "gone", "srng.shuffle_row_elements(x)", "argsort"),
    ("srng.choice((3,))", "silent", "srng.choice((3,))", "choice"),
    ("srng.normal(*args)", "silent", "srng.normal(*args)", "loc="),
    ("def f(theano_rng):\n    theano_rng.normal((3,))", "silent", "theano_rng.normal((3,))", "by keyword"),
    ("def f(rng):\n    rng.binomial(size=s, p=q, dtype='float32')", "silent", None, "by keyword"),
]


# What PyTensor lacks stays Theano's, and is told from what else the script's own names for modules stand for.
LACKING = re.compile(r"\bT(?=\.(nnet|unbroadcast|AdvancedSubtensor1))")
NOT_LACKING = re.compile(r"\btheano(?=\.(function|In|scan|shared|config\.floatX)\b)")


@pytest.mark.parametrize(("line", "kind", "legacy", "now"), BY_HAND)
def test_left_to_do_by_hand(line, kind, legacy, now):
    text, (finding, *others) = ported(line + "\n")
    assert text == NOT_LACKING.sub("pytensor", LACKING.sub("theano.tensor", line)).replace("lasagne.up", "symup")
    assert all(f.rewritten for f in others)
    assert finding.kind == kind and finding.legacy in (legacy, finding.legacy if legacy is None else legacy)
    assert now in finding.now and not finding.rewritten and (finding.why or finding.now)
    assert finding.line == HEADER.count("\n") + 1 + line.count("\n")


def test_a_variable_that_is_not_always_a_stream_is_left_alone():
    lines = "rng = np.random.RandomState(1)\nx = rng.normal((3,))\nrng = RandomStreams(2)\ny = rng.normal((3,))\n"
    text, findings = ported(lines)
    assert text == lines.rstrip("\n")
    assert [(f.line - 6, f.rewritten) for f in findings if "normal" in f.legacy] == [(2, False), (4, False)]


STREAMS_IN_BRANCHES = [
    "def f(s, rng=None):\n    if rng is None:\n        s.g = RandomStreams(1)\n    else:\n        s.g = rng\n",
    "if x:\n    s.g = RandomStreams(1)\nelse:\n    s.g = T.shared_randomstreams.RandomStreams(2)\n",
    "s.g = RandomStreams(1) if x else RandomStreams(2)\n",
    "def f(s, rng=None):\n    s.g = rng or RandomStreams(1)\n",
    "s.g = None\ns.g = RandomStreams(1)\n",
]


@pytest.mark.parametrize("lines", STREAMS_IN_BRANCHES)
def test_a_stream_that_is_made_in_branches(lines):
    text, _ = ported(lines + "y = s.g.normal((2,), std=3)\n")
    assert text.endswith("y = s.g.normal(size=(2,), scale=3)")
    other = lines.replace("RandomStreams(1)", "np.random.RandomState(1)")
    assert ported(other + "y = s.g.normal((2,), std=3)\n")[0].endswith("y = s.g.normal((2,), std=3)")


def test_an_argument_is_a_stream_only_where_none_makes_it_one():
    lines = """\
def f(srng, x):
    return srng.normal(0, 1, (3,))
def g(x):
    return srng.uniform((3,))
class A:
    def __init__(self, theano_rng=None):
        if theano_rng is None:
            theano_rng = RandomStreams(1)
        self.theano_rng = theano_rng
    def draw(self):
        return self.theano_rng.normal((3,))
"""
    text, findings = ported(lines)
    assert text == lines.rstrip("\n").replace("uniform((3,))", "uniform(size=(3,))").replace(
        "theano_rng.normal((3,))", "theano_rng.normal(size=(3,))"
    )
    assert [f.line - 6 for f in findings if "normal" in f.legacy or "uniform" in f.legacy] == [4, 11]


def hazards(lines, header=HEADER):
    return [(f.line - header.count("\n"), f.legacy, f.now) for f in ported(lines, header)[1] if f.kind == "silent"]


def test_no_gradient_through_argmax_and_integers():
    lines = """\
p = T.nnet.sigmoid(x)
k = T.argmax(p, axis=1)
accuracy = T.mean(T.eq(k, y))
loss = T.mean((k - y) ** 2) + T.sum(p.astype('int32')) + T.exp(p)[T.arange(3), T.cast(y, 'int32')].sum()
updates = lasagne.updates.sgd(loss, params, 0.1)
"""
    assert [(line, text) for line, text, _ in hazards(lines)] == [
        (2, "T.argmax(p, axis=1)"),
        (4, "p.astype('int32')"),
    ]
    assert hazards(lines.replace("T.mean((k - y) ** 2) + T.sum(p.astype('int32')) + ", "")) == []
    assert len(hazards(lines.replace("lasagne.updates.sgd(loss, params, 0.1)", "T.grad(loss, params)"))) == 2
    assert hazards("g = T.grad(T.switch(T.eq(T.argmax(x), 1), x, 0).sum(), x)\n") == []


def test_momentum_of_every_key():
    def text(params):
        return f"u = lasagne.updates.apply_momentum(v{params}, momentum=0.9)\n"

    ((_, legacy, now),) = hazards(text(""))
    assert legacy == text("")[4:-1] and now.endswith(", params=params)")
    assert hazards(text(", params")) == hazards(text(", params=params")) == []


def test_norms_of_every_key():
    lines = """\
updates = lasagne.updates.adam(loss, params)
for p, u in updates.items():
    if p.ndim == 2:
        updates[p] = lasagne.updates.norm_constraint(u, 3)
"""
    ((line, legacy, now),) = hazards(lines)
    assert (line, legacy, now) == (2, "for p, u in updates.items()", "for p in params")
    assert hazards(lines.replace("p, u in updates.items()", "p in params")) == []


def test_pytensors_own_names_are_examined_too():
    header = "import pytensor\nimport pytensor.tensor as pt\nfrom pytensor.tensor.random.utils import RandomStream\n"
    header += "import symupdates\nsrng = RandomStream(1)\n"
    left = """\
srng.normal((3,))
srng.choice(size=(3,))
srng.shuffle_row_elements(x)
pt.tensor("float32", shape=(3,))
pt.special.softmax(x)
isinstance(x, pt.TensorVariable)
symupdates.apply_momentum(updates, momentum=0.9)
pytensor.shared(v, broadcastable=b)
pytensor.scan(f, x)
pytensor.In(x, value=3)
pytensor.function([], {"a": x})
from pytensor.tensor import *
def f(rng, W=None): return W and rng.normal(avg=3)
"""
    found = [f.line - 5 for f in port(header + left)[0]]
    assert sorted({*found}) == [*range(1, 14)] and found.count(13) == 2
    right = """\
srng.normal(0, 1, size=(3,))
pt.tensor("x", dtype="float32", shape=(3,))
pt.TensorType("float32", (None, 1))
pt.special.softmax(x, axis=0)
symupdates.apply_momentum(updates, params)
symupdates.apply_momentum(momentum=0.9)
pytensor.scan(f, x, return_updates=False)
pytensor.function([], [x])
def f(x: pt.TensorVariable, W=None): return W is not None
"""
    assert port(header + right) == ([], header + right)


def test_flags_are_pytensors():
    text, (finding,) = ported("os.environ['THEANO_FLAGS'] = 'floatX=float32'\n")
    assert text == "os.environ['PYTENSOR_FLAGS'] = 'floatX=float32'"
    assert finding.kind == "silent" and "floatX" in finding.why


def test_variables_in_conditions():
    lines = """\
x = T.matrix()
def f(mask=None, flag=True):
    if mask:
        pass
    if not mask or x and flag:
        pass
    return 1 if x.sum() > 0 else 2
"""
    found = [(f.line - 6, f.legacy, f.now) for f in ported(lines)[1]]
    assert found == [
        (3, "mask", "mask is not None"),
        (5, "mask", "mask is not None"),
        (5, "x", "x is not None"),
        (7, "x.sum() > 0", "T.switch(condition, one, other)"),
    ]


def test_arguments_by_keyword_only_may_be_variables_too():
    found = [(f.legacy, f.now) for f in ported("def f(*, mask=None):\n    return 1 if mask else 2\n")[1]]
    assert found == [("mask", "mask is not None")]


def test_shared_variables_are_tensor_variables_now():
    text, (finding,) = ported("if isinstance(x, T.TensorVariable):\n    pass\n")
    assert text.startswith("if isinstance(x, T.TensorVariable):")
    assert finding.kind == "silent" and "SharedVariable" in finding.why
    ((_, legacy, now),) = hazards("isinstance(x, T.var.TensorVariable)\n")
    assert legacy == "T.var.TensorVariable" and "SharedVariable" in now
    assert port("import theano.tensor as T\nx = T.var.TensorVariable\n")[1].endswith("x = T.TensorVariable\n")


# --- Imports ----------------------------------------------------------------------------------------------------------

IMPORTS = {
    "import theano": "import pytensor",
    "import theano as th": "import pytensor as th",
    "import theano as theano": "import pytensor",
    "import lasagne as lasagne": "import symupdates",
    "from theano.tensor.nnet import conv, conv2d as c": "from symupdates.theano.tensor.nnet import conv, conv2d as c",
    "from theano.tensor.signal import pool": "from symupdates.theano.tensor.signal import pool",
    "from theano.tensor.signal.downsample import max_pool_2d": (
        "from symupdates.theano.tensor.signal.downsample import max_pool_2d"
    ),
    "import theano.tensor.signal.pool as p": "import symupdates.theano.tensor.signal.pool as p",
    "import theano.tensor as TT": "import pytensor.tensor as TT",
    "import theano, theano.tensor as T, os": "import pytensor, pytensor.tensor as T, os",
    "from theano import tensor as T, shared": "from pytensor import tensor as T, shared",
    "from theano import (config,  # a\n    function)  # b": "from pytensor import (config,  # a\n    function)  # b",
    "from theano.tensor import inv, dot": "from pytensor.tensor import reciprocal as inv, dot",
    "from theano.tensor.nnet import sigmoid as s": "from pytensor.tensor import sigmoid as s",
    "from theano.ifelse import ifelse": "from pytensor import ifelse",
    "from theano.tensor import IncSubtensor as I": "from pytensor.tensor.subtensor import IncSubtensor as I",
    "from theano.tensor.shared_randomstreams import RandomStreams": (
        "from pytensor.tensor.random.utils import RandomStream as RandomStreams"
    ),
    "import lasagne.updates as U": "import symupdates as U",
    "from lasagne import updates": "import symupdates as updates",
    "from lasagne import updates as U": "import symupdates as U",
    "from lasagne.updates import adam, sgd as S": "from symupdates import adam, sgd as S",
    "from lasagne.updates import *": "from symupdates import *",
    "import numpy": "import numpy",
}


@pytest.mark.parametrize(("legacy", "now"), IMPORTS.items())
def test_imports(legacy, now):
    findings, text = port(f"# before\n{legacy}\nx = 1\n")
    assert text == f"# before\n{now}\nx = 1\n"
    assert [f.line for f in findings if f.kind == "renamed"] == [2] * (legacy != now)


def test_imports_that_nothing_needs_any_more_are_dropped():
    legacy = """\
import theano.tensor as T
import theano.tensor.nnet
from theano.tensor.nnet import hard_sigmoid, sigmoid, relu
try:
    from theano.sandbox import cuda
except ImportError:
    pass
y = hard_sigmoid(sigmoid(relu(x)))
"""
    findings, text = port(legacy)
    assert (
        text
        == """\
import pytensor.tensor as T
import pytensor
from pytensor.tensor import sigmoid
try:
    from theano.sandbox import cuda
except ImportError:
    pass
y = T.clip(0.2 * sigmoid(0.5 * (x + abs(x))) + 0.5, 0, 1)
"""
    )
    assert [f.legacy for f in findings if not f.rewritten] == ["theano.sandbox.cuda"]


def test_a_block_that_loses_its_only_import_has_a_statement():
    legacy = "import theano.tensor as T\nif 1:\n    from theano.tensor.nnet import hard_sigmoid\ny = hard_sigmoid(x)\n"
    text = "import pytensor.tensor as T\nif 1:\n    pass\ny = T.clip(0.2 * x + 0.5, 0, 1)\n"
    assert port(legacy)[1] == text


def test_flags_that_changed_no_result_are_dropped():
    legacy = """\
import theano
# before
theano.config.warn.subtensor_merge_bug = False  # quiet
try:
    theano.config.lib.cnmem = 0.5
except Exception:
    x = theano.config.floatX; theano.config.nvcc.fastmath = True
"""
    findings, text = port(legacy)
    assert (
        text
        == """\
import pytensor
# before
# quiet
try:
    pass
except Exception:
    x = pytensor.config.floatX
"""
    )
    assert [(f.line, f.kind, f.now, f.rewritten) for f in findings] == [
        (1, "renamed", "import pytensor", True),
        *((line, "gone", "nothing", True) for line in (3, 5, 7)),
    ]


def test_imports_that_something_needs_stay():
    legacy = "from theano.tensor.nnet import relu, sigmoid\ny = relu(*arguments)\nz = relu(x)\n"
    assert port(legacy)[1].splitlines() == [
        "from theano.tensor.nnet import relu",
        "from pytensor.tensor import sigmoid",
        "import pytensor.tensor as T",
        "y = relu(*arguments)",
        "z = 0.5 * (x + abs(x))",
    ]


def test_what_is_needed_is_imported():
    assert port("from theano.tensor.nnet import hard_sigmoid\ny = hard_sigmoid(T)\n")[1] == (
        "import pytensor.tensor as pt\ny = pt.clip(0.2 * T + 0.5, 0, 1)\n"
    )
    assert port("from theano.tensor import matrix\nfrom theano.tensor.nnet import hard_sigmoid\ny = hard_sigmoid(x)\n")[
        1
    ] == ("from pytensor.tensor import matrix\nimport pytensor.tensor as T\ny = T.clip(0.2 * x + 0.5, 0, 1)\n")


def test_imports_in_functions():
    legacy = "def f(x):\n    import theano.tensor as T\n    return T.inv(T.nnet.softmax(x))\n"
    assert port(legacy)[1] == (
        "def f(x):\n    import pytensor.tensor as T\n"
        "    return T.reciprocal(T.special.softmax(x if x.ndim > 1 else x[None], axis=-1))\n"
    )


def test_names_that_are_more_than_an_import():
    legacy = """\
try:
    import theano
    import theano.tensor as T
except ImportError:
    theano = T = None
def f(g, theano):
    return g(theano=theano.x)
def load():
    global theano
    import theano
a = theano is not None and T.inv(x)
"""
    other = "def f(g, theano):\n    return g(theano=theano.x)\n"
    new = legacy.replace("theano", "pytensor").replace("inv", "reciprocal")
    assert port(legacy)[1] == new.replace(other.replace("theano", "pytensor"), other)
    legacy = "import theano.tensor as T\nT = f()\ny = T.inv(T.nnet.relu(x + 1))\n"
    findings, text = port(legacy)
    assert text == legacy.replace("theano", "pytensor")
    assert [(f.line, f.rewritten) for f in findings] == [(1, True), (3, False), (3, False)]
    assert port("from . import theano\ny = theano.tensor.inv(x)\n")[0] == []


def test_a_local_t_hides_the_module():
    legacy = """\
import theano.tensor as T
from theano.tensor.nnet import hard_sigmoid
def f(x):
    T = x.shape[0]
    return hard_sigmoid(x)
y = hard_sigmoid(x)
"""
    assert (
        port(legacy)[1]
        == """\
import pytensor.tensor as T
import pytensor.tensor as pt
def f(x):
    T = x.shape[0]
    return pt.clip(0.2 * x + 0.5, 0, 1)
y = T.clip(0.2 * x + 0.5, 0, 1)
"""
    )


def test_modules_that_are_assigned():
    legacy = """\
import lasagne
import theano
T, U = 1, 2
T2 = theano.tensor
nnet = T2.nnet
rules = lasagne.updates
def f(x, T2):
    t = theano.tensor
    return T2.inv(t.inv(x))
y = nnet.relu(T2.inv(x))
before = after
after = before
"""
    findings, text = port(legacy)
    new = legacy.replace("theano", "pytensor").replace("lasagne.updates", "symupdates").replace("lasagne", "symupdates")
    new = new.replace("t.inv", "t.reciprocal").replace("y = nnet.relu(T2.inv(x))", "y = relu(T2.reciprocal(x))")
    new = new.replace("nnet = T2.nnet", "nnet = theano.tensor.nnet").replace(
        "import pytensor", "import pytensor\nimport theano"
    )
    assert text.replace(HELPER + "\n\n", "") == new
    assert [(f.line, f.legacy) for f in findings if not f.rewritten] == [(5, "T2.nnet")]


def test_what_is_known_of_a_name_is_said_of_what_is_in_it():
    lines = "theano.config.device.startswith('gpu')\nf = theano.gof.graph.inputs\ng = T.nnet.nothing.like_it\n"
    found = [(f.kind, f.rewritten, f.now or f.why) for f in ported(lines)[1]]
    device, inputs = CHANGES["theano.config.device"], CHANGES["theano.gof.graph.inputs"]
    assert found == [
        ("gone", False, device.note),
        ("gone", False, inputs.pytensor),
        ("gone", False, "PyTensor has no pytensor.tensor.nnet.nothing.like_it."),
    ]


def test_comments_of_an_import_that_goes_or_is_divided_stay():
    legacy = """\
import theano.tensor as T
def f(x):
    # one

    from theano.tensor.nnet import relu  # two
    return relu(x)
from theano.tensor import (inv,  # three
                           Rop)  # four
"""
    assert (
        port(legacy)[1]
        == """\
import pytensor.tensor as T
def f(x):
    # one
    # two
    return 0.5 * (x + abs(x))
# three
from pytensor.tensor import reciprocal as inv  # four
from pytensor.gradient import Rop
"""
    )


def test_what_would_lose_a_comment_is_left():
    call = "relu(  # first\n    x,  # second\n    0.1,\n)\n"
    legacy = f"from theano.tensor.nnet import relu\nimport theano.tensor as T\ny = {call}"
    findings, text = port(legacy)
    assert text == legacy.replace("theano.tensor as", "pytensor.tensor as")
    assert [(f.line, f.rewritten) for f in findings] == [(2, True), (1, False), (3, False)]
    kept = "y = T.stack(  # one\n    T.inv(a),  # two\n    b,  # three\n)\n"
    assert port(kept.join(["import theano.tensor as T\n", ""]))[1].count("#") == 3


def test_what_pytensor_lacks_stays_theanos():
    legacy = """\
import theano, os
import theano.tensor as T
x = theano.shared(3)
p = theano.Param(T.patternbroadcast(x, ()), default=1)
"""
    findings, text = port(legacy)
    assert (
        text
        == """\
import pytensor, os
import theano
import pytensor.tensor as T
x = pytensor.shared(3)
p = theano.Param(theano.tensor.patternbroadcast(x, ()), default=1)
"""
    )
    assert [f.legacy for f in findings if not f.rewritten] == [
        "theano.Param(T.patternbroadcast(x, ()), default=1)",
        "T.patternbroadcast",
    ]
    ported("p = T.unbroadcast(x)\n", "import theano.tensor as T\nx = T.scalar()\n")
    assert port("import theano.tensor as T\np = T.unbroadcast(x)\n")[1] == (
        "import pytensor.tensor as T\nimport theano\np = theano.tensor.unbroadcast(x)\n"
    )
    named = "import theano.tensor as T\ndef f(theano):\n    return T.unbroadcast(theano)\n"
    assert port(named)[1] == named.replace("theano.tensor", "pytensor.tensor")


def test_a_module_that_is_gone_stays_imported():
    legacy = "import theano.sandbox.nothing\nx = theano.shared(3)\ny = theano.sandbox.nothing.f(x)\n"
    findings, text = port(legacy)
    assert text == (
        "import pytensor\nimport theano.sandbox.nothing\nx = pytensor.shared(3)\ny = theano.sandbox.nothing.f(x)\n"
    )
    assert port(text) == ([f for f in port(text)[0] if f.kind == "gone"], text) and len(findings) == 3


def test_convolutions_take_names_that_are_free():
    legacy = """\
from mylib import pool
import theano.tensor as T
def f(conv):
    return T.nnet.conv.conv2d(T.signal.pool.pool_2d(x, (2, 2)), W) + T.nnet.conv2d(x, W)
"""
    assert port(legacy)[1].splitlines()[1:] == [
        "import pytensor.tensor as T",
        "import symupdates.theano.tensor.nnet as nnet",
        "import symupdates.theano.tensor.nnet.conv as theano_conv",
        "import symupdates.theano.tensor.signal.pool as theano_pool",
        "def f(conv):",
        "    return theano_conv.conv2d(theano_pool.pool_2d(x, (2, 2)), W) + nnet.conv2d(x, W)",
    ]


def test_a_module_with_convolutions_keeps_its_name():
    legacy = """\
import theano
from theano.tensor.nnet import conv
from theano.tensor.signal import downsample
import theano.tensor.signal.pool
y = downsample.max_pool_2d(conv.conv2d(x, W), (2, 2))
z = theano.tensor.signal.pool.pool_2d(x, (2, 2))
"""
    findings, text = port(legacy)
    assert all(f.rewritten for f in findings)
    assert text.splitlines() == [
        "import pytensor",
        "import symupdates.theano.tensor.signal.pool as pool",
        "from symupdates.theano.tensor.nnet import conv",
        "from symupdates.theano.tensor.signal import downsample",
        "y = downsample.max_pool_2d(conv.conv2d(x, W), (2, 2))",
        "z = pool.pool_2d(x, (2, 2))",
    ]


def test_every_served_name_is_served():
    for name in SERVED:
        module, _, attribute = name.rpartition(".")
        there = importlib.import_module(f"symupdates.{module}")
        assert getattr(there, attribute, None) is not None or importlib.import_module(f"symupdates.{name}"), name


def test_cross_entropies_of_lasagne_stay_finite():
    """What is written in their place knows the logits, as Theano's did."""
    lines = "from lasagne.objectives import binary_crossentropy, categorical_crossentropy\n"
    lines += "a, b = binary_crossentropy(p, t), categorical_crossentropy(p, t)\n"
    (said,) = [f.now for f in port(lines)[0] if f.kind == "gone"]
    for form in said.split("; "):
        name, _, written = form.partition(": ")
        module, _, function = written.removesuffix("(p, t)").rpartition(".")
        loss = getattr(importlib.import_module(module), function)
        x = pt.dmatrix()
        p, t = (pt.special.softmax(x, axis=-1), [0]) if name.startswith("categorical") else (pt.sigmoid(x), 1.0)
        derivative = pytensor.grad(loss(p, t).sum(), x).eval({x: [[-1000.0, 1000.0]]}, mode="FAST_COMPILE")
        assert derivative[0, 0] == -1 and np.isfinite(derivative).all()


def test_lasagne_is_said_once_of_each_import():
    lines = """\
from lasagne.layers import DenseLayer, InputLayer
l = InputLayer((3, 4))
for _ in range(2):
    l = DenseLayer(l, 2, W=lasagne.init.GlorotUniform(), nonlinearity=lasagne.nonlinearities.rectify)
l = DenseLayer(l, 2, nonlinearity=lasagne.nonlinearities.rectify)
"""
    gone = [(f.line, f.legacy, f.now) for f in port(HEADER + lines)[0] if f.kind == "gone"]
    assert [(line, legacy) for line, legacy, _ in gone] == [(5, "import lasagne"), (7, lines.partition("\n")[0])]
    assert gone[0][2].startswith("GlorotUniform: rng.uniform(") and gone[0][2].endswith("; rectify: 0.5 * (x + abs(x))")
    assert gone[1][2] == "DenseLayer: f(T.dot(x, W) + b); InputLayer: T.matrix()"


def test_lasagne_with_layers_stays_and_its_updates_go():
    legacy = "import lasagne\nl = lasagne.layers.InputLayer((3, 4))\nu = lasagne.updates.sgd(loss, params, 0.1)\n"
    findings, text = port(legacy)
    assert text == (
        "import lasagne\nimport symupdates\n"
        "l = lasagne.layers.InputLayer((3, 4))\nu = symupdates.sgd(loss, params, 0.1)\n"
    )
    gone = [f for f in findings if f.kind == "gone"]
    ((line, legacy, now, why),) = [(f.line, f.legacy, f.now, f.why) for f in gone]
    assert (line, legacy, now) == (1, "import lasagne", "InputLayer: T.matrix()")
    assert "symupdates.theano.install()" in why


def test_a_half_ported_script():
    """Theano renamed to PyTensor by search and replace: what PyTensor has not is found nevertheless."""
    legacy = "import pytensor\nimport pytensor.tensor as T\ny = T.nnet.softmax(T.inv(x))\nz = T.special.softmax(y)\n"
    findings, text = port(legacy)
    assert text.endswith("\n\n\ny = softmax(T.reciprocal(x))\nz = T.special.softmax(y)\n")
    assert "def softmax(x):\n    return T.special" in text
    assert [(f.kind, f.line, f.rewritten) for f in findings] == [
        ("silent", 3, True),
        ("silent", 4, False),
        ("renamed", 3, True),
    ]


def test_helpers_stand_after_the_imports():
    legacy = "import theano.tensor as T\nimport os\n\ny = T.nnet.relu(T.dot(a, b))\nz = T.nnet.relu(-y)\n"
    assert port(legacy)[1] == textwrap.dedent("""\
        import pytensor.tensor as T
        import os


        def relu(x):
            return 0.5 * (x + abs(x))


        y = relu(T.dot(a, b))
        z = relu(-y)
        """)


HELPER = "\n\ndef relu(x):\n    return 0.5 * (x + abs(x))\n"
OTHERS_NAMED_RELU = [
    "from mylib import relu\ny = {}(a + b) + relu(3)\n",
    "y = lambda relu, a: {}(a + 1) + relu(a)\n",
    "y = [{}(relu + 1) for relu in z]\n",
    "def relu(x):\n    return {}(x + 1)\n",
]


@pytest.mark.parametrize("lines", OTHERS_NAMED_RELU)
def test_helpers_take_no_name_that_is_taken(lines):
    text = port("import theano.tensor as T\n" + lines.format("T.nnet.relu"))[1]
    assert HELPER.replace("relu", "theano_relu") in text and HELPER not in text.replace(lines, "")
    assert text.endswith(lines.format("theano_relu").partition("\n")[2])
    compile(text, "script", "exec")


def test_helpers_of_what_stands_before_or_beside_the_import():
    before = "def f(x):\n    return {}(x + 1)\nimport {}.tensor as T\n"
    legacy, now = before.format("T.nnet.relu", "theano"), before.format("relu", "pytensor")
    assert port(legacy)[1] == now + HELPER
    assert port(legacy + "y = f(3)\n")[1] == now + HELPER + "\n\ny = f(3)\n"
    findings, text = port("import theano.tensor as T; y = T.nnet.relu(a + b)\n")
    assert text == "import pytensor.tensor as T; import theano; y = theano.tensor.nnet.relu(a + b)\n"
    assert [f.rewritten for f in findings] == [True, False]


@pytest.mark.parametrize("script", sorted((ROOT / "examples" / "legacy").glob("*.py")), ids=lambda path: path.name)
def test_whole_scripts(script):
    source = script.read_bytes()
    findings, text = port(source)
    assert b"import pytensor" in text and b"theano.config" not in text.replace(b"symupdates.theano", b"")
    assert text.count(b"#") == source.count(b"#") and port(text)[1] == text
    assert {f.legacy.split(".")[0].split()[-1] for f in findings if not f.rewritten} <= {
        "lasagne",
        *script_names(source),
    }
    compile(text, script.name, "exec")


def script_names(source):
    """What a script imports from Lasagne by name."""
    lines = [line for line in source.decode().splitlines() if line.startswith("from lasagne")]
    return {name.strip() for line in lines for name in line.partition(" import ")[2].split(",")}


def test_every_new_name_is_in_pytensor():
    missing = {name for name in NAMES.values() if not exists(name)}
    assert missing == set()
    assert {f"theano.tensor.{name}" for name in CONSTRUCTORS if not hasattr(pt, name)} == set()
    assert exists("pytensor.tensor.random.utils.RandomStream") and not exists("pytensor.tensor.nnet")
    assert {row.name for row in CHANGES.values() if row.kind == "renamed"} <= set(NAMES)


# --- What was rewritten runs ------------------------------------------------------------------------------------------


@pytest.fixture
def in_python():
    """Functions without a compiler: these are about numbers."""
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


def run(lines, header="import numpy as np\nimport theano\nimport theano.tensor as T\n"):
    """Run ported lines with PyTensor and give what they define."""
    _, text = port(header + textwrap.dedent(lines))
    scope = {}
    exec(text, scope)
    return scope


def values(expression, **given):
    """The value of a legacy expression, ported."""
    variables = {name: pt.constant(value, dtype=np.asarray(value).dtype) for name, value in given.items()}
    _, text = port(f"import theano\nimport theano.tensor as T\ny = {expression}\n")
    scope = dict(variables)
    exec(text, scope)
    return pytensor.function([], scope["y"])()


X = np.array([[-1.0, 0.0], [2.0, 0.5], [-3.0, 1.0]])
ROWS = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
P, GOALS = np.array([0.2, 0.9, 0.4]), np.array([0.0, 1.0, 0.5])
LABELS = np.array([1, 0, 1])
EXPECTED = {
    "T.nnet.softmax(x)": ROWS,
    "T.nnet.logsoftmax(x)": np.log(ROWS),
    "T.nnet.relu(x)": np.maximum(X, 0),
    "T.nnet.relu(x, 0.1)": np.where(X > 0, X, 0.1 * X),
    "T.nnet.elu(x - 0.5)": np.where(X > 0.5, X - 0.5, np.exp(X - 0.5) - 1),
    "T.nnet.elu(x, 2)": np.where(X > 0, X, 2 * (np.exp(X) - 1)),
    "T.nnet.selu(x)": 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * (np.exp(X) - 1)),
    "T.nnet.hard_sigmoid(x)": np.clip(0.2 * X + 0.5, 0, 1),
    "T.nnet.softsign(x)": X / (1 + np.abs(X)),
    "T.nnet.sigmoid(x) ** 2": 1 / (1 + np.exp(-X)) ** 2,
    "T.inv(T.abs_(x) + 1)": 1 / (1 + np.abs(X)),
    "T.stack(T.sum(x), T.max(x))": np.array([-0.5, 2.0]),
    "T.nnet.binary_crossentropy(p, t).sum()": -(np.log(0.8) + np.log(0.9) + 0.5 * (np.log(0.4) + np.log(0.6))),
    "T.nnet.sigmoid_binary_crossentropy(p, t)": GOALS * np.log1p(np.exp(-P)) + (1 - GOALS) * np.log1p(np.exp(P)),
    "T.nnet.batch_normalization(x, 2, 1, 0.5, 4)": (X - 0.5) / 4 * 2 + 1,
    "T.extra_ops.to_one_hot(labels, 3)": np.eye(3)[LABELS],
    "T.max_and_argmax(x, axis=1)[1]": np.array([1, 0, 1]),
    "T.extra_ops.cumsum(x)": np.cumsum(X),
    "theano.clone(p * 2, {p: p + 1})": 2 * (P + 1),
    "T.nlinalg.matrix_inverse(T.dot(x.T, x))": np.linalg.inv(X.T @ X),
}


@pytest.mark.parametrize(("legacy", "expected"), EXPECTED.items())
def test_rewritten_expressions_have_theanos_values(legacy, expected, in_python):
    names = {"x": X, "p": P, "t": GOALS, "labels": LABELS}
    given = {name: value for name, value in names.items() if name in legacy.replace("(", " ").replace(")", " ")}
    np.testing.assert_allclose(values(legacy, **given), expected, rtol=1e-12)


@pytest.mark.parametrize(("kind", "targets"), [("ivector", LABELS.astype("int32")), ("dmatrix", np.eye(2)[LABELS])])
def test_crossentropies_by_what_the_targets_are(kind, targets, in_python):
    scope = run(f"p = T.dmatrix()\nt = T.{kind}()\nloss = T.nnet.categorical_crossentropy(p, t)\n")
    loss = pytensor.function([scope["p"], scope["t"]], scope["loss"])
    np.testing.assert_allclose(loss(ROWS, targets), -np.log(ROWS[range(3), LABELS]), rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        ("-T.log(T.nnet.softmax(x)[T.arange(1), [0]]).sum()", [-1, 1]),
        ("T.nnet.categorical_crossentropy(T.nnet.softmax(x), T.constant([0])).sum()", [-1, 1]),
        ("-T.log(1 - T.nnet.sigmoid(x)).sum()", [0.5, 1]),
        ("T.nnet.binary_crossentropy(T.nnet.sigmoid(x), 0).sum()", [0.5, 1]),
    ],
)
def test_losses_of_large_logits_keep_their_gradient(loss, slope, in_python):
    scope = run(f"x = T.dmatrix()\nloss = {loss}\ng = T.grad(loss, x)\n")
    value, gradient = pytensor.function([scope["x"]], [scope["loss"], scope["g"]])([[0.0, 1000.0]])
    np.testing.assert_allclose(value, 1000 + np.log(2) * (slope[0] == 0.5), rtol=1e-12)
    np.testing.assert_allclose(gradient, [slope], rtol=1e-12)


def test_a_logarithm_of_what_was_assigned_elsewhere():
    source = """\
import theano.tensor as T
class Model:
    def __init__(self, x):
        self.softmax = T.nnet.softmax
        self.p = self.softmax(x)
        self.rows = T.reshape(self.p, y.shape)
        self.scale = T.exp(x)
    def decode(self, x):
        if self.scale is None:
            return x
        return self.again(T.dot(x, self.W))
    def again(self, x):
        return T.nnet.sigmoid(x) if x.ndim else self.again(x)
    def loss(self, y, q):
        p = T.log(self.decode(q)) + T.log(1 - net.decode(q).T) + T.log(self.loss(q)) + T.log(q.encode())
        return -T.mean(T.log(self.rows)[T.arange(y.shape[0]), y]) + T.log(self.scale) + T.log(q)
"""
    *_, before, last = map(str.strip, port(source)[1].splitlines())
    assert before == (
        "p = theano_tensor.log(self.decode(q)) + theano_tensor.log(1 - net.decode(q).T) + T.log(self.loss(q)) "
        "+ T.log(q.encode())"
    )
    assert last == (
        "return -T.mean(theano_tensor.log(self.rows)[T.arange(y.shape[0]), y]) + T.log(self.scale) + T.log(q)"
    )


def test_the_gradient_of_relu_at_zero_is_one_half(in_python):
    scope = run("x = T.dvector()\ng = T.grad(T.nnet.relu(x).sum(), x)\nh = T.grad(T.nnet.relu(x * 1).sum(), x)\n")
    g = pytensor.function([scope["x"]], [scope["g"], scope["h"]])
    assert np.array(g([-1.0, 0.0, 2.0])).tolist() == [[0.0, 0.5, 1.0]] * 2


def test_a_vector_softmax_has_one_row(in_python):
    scope = run("v = T.dvector()\ny = T.nnet.softmax(v)\n")
    assert pytensor.function([scope["v"]], scope["y"])([0.0, 0.0]).tolist() == [[0.5, 0.5]]


def test_static_shapes_are_those_of_the_patterns():
    scope = run("""
        a = T.TensorType('float32', (False, True))('a')
        b = T.tensor('float64', (True, False, False), name='b')
        c = theano.shared(np.ones((1, 2)), broadcastable=(True, False))
        d = T.fmatrix('d'); e = T.matrix('e', 'float32')
        """)
    assert [scope[name].type.shape for name in "abc"] == [(None, 1), (1, None, None), (1, None)]
    assert (scope["b"].dtype, scope["b"].name, scope["d"].type) == ("float64", "b", scope["e"].type)


def test_a_ported_script_ends_where_the_shim_ends(in_python, capsys):
    """Two merged updates dicts, with Lasagne's Adam: ported, and as it is under symupdates.theano."""
    source = (ROOT / "tests" / "legacy" / "scripts" / "gan_merged_updates.py").read_text(encoding="utf-8")
    findings, text = port(source)
    assert all(f.rewritten for f in findings) and "import theano" not in text
    names = [
        re.search(r"(?<!symupdates\.)\btheano", text.partition("import numpy")[2]),
        "T.nnet" in text,
        "lasagne" in text.partition("import")[2],
    ]
    assert not any(names)
    new, old = {}, {}
    exec(text, new)
    legacy = source.replace("import theano\n", "import symupdates.theano as theano\n")
    legacy = legacy.replace("import theano.tensor as T", "import symupdates.theano.tensor as T")
    legacy = legacy.replace("from theano import", "from symupdates.theano import")
    exec(legacy.replace("from lasagne import updates as optim", "import symupdates as optim"), old)
    ends = [[p.get_value() for p in [*scope["g_params"], *scope["d_params"], scope["eta"]]] for scope in (new, old)]
    np.testing.assert_allclose(np.hstack(ends[0]), np.hstack(ends[1]), rtol=1e-10)
    assert np.isclose(ends[0][-1], 0.02 * 0.99**60) and not np.allclose(np.hstack(ends[0][:2]), [0.5, -1.0])


@pytest.mark.filterwarnings("ignore:RandomStream is deprecated")
@pytest.mark.filterwarnings("ignore:Setting default_update is deprecated")
@pytest.mark.filterwarnings("ignore:RandomVariable Ops will stop hiding")
def test_draws_have_the_sizes_and_the_moments_that_were_asked_for(in_python):
    scope = run(
        """
        mu = T.dscalar()
        draws = [
            srng.normal((400, 50), avg=3, std=10),
            srng.normal((400, 50), mu, T.exp(mu)),
            srng.uniform((400, 50), -1, 3),
            srng.binomial((400, 50), p=0.3, dtype='float32'),
            srng.random_integers((400, 50), 1, 6),
        ]
        slope = T.grad(draws[1].mean(), mu)
        """,
        header=HEADER,
    )
    function = pytensor.function([scope["mu"]], [*scope["draws"], scope["slope"]])
    first, second = function(0.5), function(0.5)
    *draws, slope = first
    assert all(draw.shape == (400, 50) for draw in draws)
    assert not any((a == b).all() for a, b in zip(first[:3], second[:3], strict=True))
    means = [3, 0.5, 1, 0.3, 3.5]
    deviations = [10, np.exp(0.5), 4 / np.sqrt(12), np.sqrt(0.21), np.sqrt(35 / 12)]
    for draw, mean, deviation in zip(draws, means, deviations, strict=True):
        assert abs(draw.mean() - mean) < 5 * deviation / np.sqrt(20_000)  # five standard errors
        assert abs(draw.std() / deviation - 1) < 0.05
    assert draws[3].dtype == "float32" and set(np.unique(draws[3])) == {0.0, 1.0}
    assert set(np.unique(draws[4])) == {1, 2, 3, 4, 5, 6}
    assert abs(slope - (1 + (draws[1].mean() - 0.5))) < 1e-9  # d(mu + exp(mu) z) = 1 + exp(mu) z


# --- Files and the command --------------------------------------------------------------------------------------------

SCRIPT = "import theano.tensor as T  # the tensors\n\n\nx = T.inv( T.scalar() )   # spaced\n"
NEW = "import pytensor.tensor as T  # the tensors\n\n\nx = T.reciprocal( T.scalar() )   # spaced\n"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def test_the_report(script, capsys):
    assert command.main([str(script)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{script}: renamed",
        f"{script}:1:1: import theano.tensor as T → import pytensor.tensor as T",
        f"{script}:4:5: T.inv → T.reciprocal",
        f"{script}: 2 renamed; 2 that --write changes, 0 by hand",
    ]
    assert script.read_text(encoding="utf-8") == SCRIPT


def test_write_keeps_the_rest_and_a_second_time_changes_nothing(script, capsys):
    script.chmod(0o750)
    assert command.main(["--write", str(script)]) == 0
    assert script.read_text(encoding="utf-8") == NEW and script.stat().st_mode & 0o777 == 0o750
    before = script.stat().st_mtime_ns, script.stat().st_ino
    assert command.main(["--write", str(script)]) == 0
    assert (script.stat().st_mtime_ns, script.stat().st_ino) == before
    assert capsys.readouterr().out.endswith(f"{script}: nothing to change\n")
    assert [path.name for path in script.parent.iterdir()] == ["script.py"]


def test_something_left_by_hand_is_status_1(script, capsys):
    script.write_text(SCRIPT + "y = T.unbroadcast(x, 0)\n", encoding="utf-8")
    assert command.main(["--write", str(script)]) == 1
    assert "T.unbroadcast → x (by hand)" in capsys.readouterr().out
    assert command.main(["--write", str(script)]) == 1
    assert "theano.tensor.unbroadcast → x (by hand)" in capsys.readouterr().out


def test_a_reason_is_said_once(script, capsys):
    script.write_text(HEADER + "a = srng.normal((2,))\nb = srng.normal((3,))\n", encoding="utf-8")
    command.main([str(script)])
    assert capsys.readouterr().out.count("The first positional argument is the mean") == 1


def test_diff(script, capsys):
    command.main(["--diff", str(script)])
    out = capsys.readouterr().out
    assert "-x = T.inv( T.scalar() )   # spaced\n+x = T.reciprocal( T.scalar() )   # spaced\n" in out
    assert script.read_text(encoding="utf-8") == SCRIPT


ENCODINGS = {
    "dos": SCRIPT.replace("\n", "\r\n").encode(),
    "mixed": SCRIPT.replace("\n\n\n", "\r\n\r\n\n").encode(),
    "latin": ("# -*- coding: latin-1 -*-\n" + SCRIPT + "s = 'caf\xe9'\n").encode("latin-1"),
    "utf": (SCRIPT + "s = 'η'\n").encode(),
    "bom": b"\xef\xbb\xbf" + SCRIPT.encode(),
    "no last line ending": SCRIPT.rstrip("\n").encode(),
    "tabs": (SCRIPT + "if x:\n\tT.inv(x)\n").encode(),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
def test_encoding_and_line_endings_stay(script, content):
    script.write_bytes(content)
    command.main(["--write", str(script)])
    expected = content.replace(b"theano.tensor", b"pytensor.tensor").replace(b"T.inv", b"T.reciprocal")
    assert script.read_bytes() == expected


def test_of_a_link_the_file_is_rewritten(script, tmp_path):
    link = tmp_path / "link.py"
    link.symlink_to(script)
    command.main(["--write", str(link)])
    assert link.is_symlink() and script.read_text(encoding="utf-8") == NEW


def test_a_failed_write_leaves_the_script(script, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert command.main(["--write", str(script)]) == 2
    assert script.read_text(encoding="utf-8") == SCRIPT
    assert [path.name for path in script.parent.iterdir()] == ["script.py"]
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "text"),
    [("print 'a'", "print 'a'"), ("raise ValueError, 'a'", "raise"), ("exec code", "exec"), ("x = `y`", "x = `y`")],
)
def test_python_2_is_refused_by_line(line, text, script, capsys):
    script.write_text(f"import theano\n\n{line}\n", encoding="utf-8")
    assert command.main(["--write", str(script)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{script}: line 3: not Python 3") and text in error and "2to3" in error
    with pytest.raises(SyntaxError) as caught:
        port(f"import theano\n\n{line}\n")
    assert caught.value.lineno == 3


def test_other_files_are_done_where_one_cannot_be(script, tmp_path, capsys):
    bad = tmp_path / "bad.py"
    bad.write_bytes(b"x = '\xe9'\n")
    status = command.main(["--write", str(tmp_path / "none.py"), str(tmp_path), str(bad), str(script)])
    errors = capsys.readouterr().err.splitlines()
    assert status == 2 and script.read_text(encoding="utf-8") == NEW
    assert errors[0] == f"{tmp_path / 'none.py'}: No such file or directory"
    assert errors[1].startswith(f"{tmp_path}: a directory")
    assert errors[2].startswith(f"{bad}: ") and "Save it in UTF-8" in errors[2] and len(errors) == 3


@pytest.mark.parametrize("declared", ["nosuch", "ascii"])
def test_a_declared_encoding_that_is_not_its_own(declared, script, capsys):
    content = f"# coding: {declared}\n{SCRIPT}s = 'η'\n".encode()
    script.write_bytes(content)
    assert command.main(["--write", str(script)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{script}: ") and "declare its encoding" in error and error.count("\n") == 1
    assert script.read_bytes() == content


def test_an_expression_that_is_too_deep(script, tmp_path, monkeypatch, capsys):
    deep = tmp_path / "deep.py"
    deep.write_text("x = 1 + 1\n", encoding="utf-8")

    def shallow(source):
        if b"+" in source:
            raise RecursionError("maximum recursion depth exceeded")
        return port(source)

    monkeypatch.setattr(command, "port", shallow)  # how deep is too deep, Python, PyTensor and libcst decide
    assert command.main(["--write", str(deep), str(script)]) == 2
    assert capsys.readouterr().err.startswith(f"{deep}: an expression in it is too long")
    assert script.read_text(encoding="utf-8") == NEW


def test_a_read_only_script_stays(script, capsys):
    script.chmod(0o444)
    assert command.main(["--write", str(script)]) == 2
    assert capsys.readouterr().err == f"{script}: read-only: chmod u+w {script}, to have it rewritten.\n"
    assert script.read_text(encoding="utf-8") == SCRIPT and script.stat().st_mode & 0o777 == 0o444
    assert command.main([str(script)]) == 1


def test_without_libcst_it_says_what_to_install(script, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "libcst", None)
    monkeypatch.delitem(sys.modules, "symupdates.port.rewrite")
    monkeypatch.delattr(importlib.import_module("symupdates.port"), "rewrite")
    assert command.main([str(script)]) == 2
    assert "pip install 'symupdates[port]'" in capsys.readouterr().err


def test_the_command_from_a_shell(script):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}  # which has no arrow
    line = [sys.executable, "-m", "symupdates.port", "--write", str(script)]
    done = subprocess.run(line, capture_output=True, encoding="ascii", env=environment)
    assert (done.returncode, done.stderr) == (0, "") and "2 rewritten, 0 by hand" in done.stdout
    assert script.read_text(encoding="utf-8") == NEW


def test_importing_symupdates_does_not_import_libcst():
    code = "import sys, symupdates, symupdates.port; sys.exit('libcst' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == 0
