"""A guide to porting legacy Theano and Lasagne code, and the command that helps.

**Three ways to stand.** Each can be the last:

1. *As it is, under the shim.* ``python -m symupdates.theano script.py`` runs an unmodified script in Python 3, with
   Lasagne's layers if it has any. Do this first: its losses are the numbers that the port has to reproduce.
2. *On PyTensor and symupdates alone.* What this guide is about.
3. *With what the new library adds*: schedules, chains, averages, checkpoints, many steps in one call.
   ``examples/port_lasagne.py`` has a script in all three, with the same losses.

**Step by step.**

1. Make it Python 3: ``2to3 -w script.py``, which Python has up to 3.12.
2. ``python -m symupdates.theano script.py``, and keep the losses. Fix the seeds of NumPy and of the streams.
3. ``python -m symupdates.port script.py`` reports what must change, line by line, silent hazards first. Read those.
4. ``python -m symupdates.port --write script.py`` rewrites imports, names and calls, where the syntax tells that it is
   safe; comments and formatting stay, and a second run changes nothing. ``--diff`` shows it.
5. Do what is left, marked "by hand", until the report is empty but for what you have judged to be right. It examines
   PyTensor's names as it does Theano's, so that nothing leaves it by being half done. What PyTensor lacks keeps
   Theano's name, and ``import theano``: until the last is gone, ``python -m symupdates.theano`` runs the script.
6. Run it, with the random numbers out of the way (dropout at zero, say), and compare the losses with those of step 2.

The report is made from the syntax, of one file at a time. It knows what is imported, what is assigned to a variable and
how a call is written; it does not know what a function is given. A script without findings may still have work left.

**What runs, and gives other numbers.** These raise no error.

*Random streams.* The first argument of a draw was its size; of PyTensor's streams it is the mean, the lower bound or
the number of trials. ``normal((3, 2))`` there is two numbers, around 3 and around 2, and broadcasts into a model
without a word. ``avg`` and ``std`` are ignored by some versions. Give every argument by its name:

>>> legacy = '''
... from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams
... srng = RandomStreams(seed=1)
... noise = srng.normal((3, 2), std=0.1)
... mask = srng.binomial((3, 2), p=0.5, dtype='float32')
... '''
>>> findings, ported = port(legacy)
>>> print(ported.strip())
from pytensor.tensor.random.utils import RandomStream as RandomStreams
srng = RandomStreams(seed=1)
noise = srng.normal(size=(3, 2), scale=0.1)
mask = srng.binomial(size=(3, 2), p=0.5, n=1).astype('float32')

``RandomStream`` is the target because every supported PyTensor has it, and because it advances by itself in each
function, as Theano's streams did. PyTensor 3 deprecates it, and warns. Code for PyTensor 3 alone has ``rng =
pt.random.shared_rng(seed=1)``, ``next_rng, noise = rng.normal(size=(3, 2))``, and ``updates[rng] = next_rng`` in the
function that draws: the generator is then a key of the updates dict, and part of its checkpoints. Two draws need two
generators, or the one that the first returned. The numbers of a seed are in any case not Theano's. A draw cannot be
differentiated with respect to its mean and deviation: write ``mu + sigma * draw``, as the command does.

*Softmax* normalises over all elements, where Theano's did each row:

>>> import numpy as np, pytensor.tensor as pt
>>> x = pt.constant(np.zeros((2, 2)))
>>> pt.special.softmax(x).eval().tolist(), pt.special.softmax(x, axis=-1).eval().tolist()
([[0.25, 0.25], [0.25, 0.25]], [[0.5, 0.5], [0.5, 0.5]])

Of a vector, Theano made a matrix of one row; ``[None]`` after it does so again. Where the syntax does not tell how many
axes there are, the command defines a function that asks.

*Logarithms of probabilities.* Where a softmax or a sigmoid is rounded to 0, its logarithm has no gradient, and the loss
becomes NaN. Theano computed both from the logits. The command has the function of ``symupdates.theano`` do it, wherever
the syntax tells that it is a probability, be it what a function of the script returns; written anew it is
``T.special.log_softmax(x, axis=-1)``, ``-T.softplus(-x)`` for ``log(sigmoid(x))`` and ``-T.softplus(x)`` for
``log(1 - sigmoid(x))``:

>>> findings, ported = port('''
... import theano.tensor as T
... p = T.nnet.sigmoid(T.vector())
... loss = -T.log(p).mean()
... ''')
>>> print(ported.strip())
import pytensor.tensor as T
import symupdates.theano.tensor as theano_tensor
p = T.sigmoid(T.vector())
loss = -theano_tensor.log(p).mean()

*Gradients that are zero.* Through ``argmax``, a cast to integers and the condition of ``switch`` no gradient passes,
and nothing says so:

>>> import pytensor
>>> W = pytensor.shared(np.array([1.0, 2.0]), name="W")
>>> pytensor.grad(((pt.cast(W, "int64") - 3.0) ** 2).sum(), W).eval().tolist()
[0.0, 0.0]

*The keys of updates* are parameters and optimizer state. A loop that constrains every matrix among them constrains
Adam's moments too. Walk the parameters:

>>> import symupdates
>>> V = pytensor.shared(np.ones((2, 2)), name="V")
>>> updates = symupdates.adam((V**2).sum(), [V])
>>> [variable.name for variable in updates if variable.ndim == 2]
['V/adam/m', 'V/adam/v', 'V']
>>> for p in [V]:
...     updates[p] = symupdates.norm_constraint(updates[p], 3.0)

*Momentum on any rule.* Lasagne's ``apply_momentum(updates)`` accelerates all keys, the accumulators of adaptive rules
too; that of symupdates only the parameters. With ``params`` both do the same.

*THEANO_FLAGS* and ``.theanorc`` are not read, so that a script that asked for float32 there trains in float64; the
variable is ``PYTENSOR_FLAGS`` and the file ``.pytensorrc``.

*TensorType and tensor* take a shape in the place of a pattern of broadcasting: 1 for True, None for False.

**What was renamed**

=========================================  ===================================================
Theano and Lasagne                         PyTensor and symupdates
=========================================  ===================================================
``theano``, ``theano.tensor``              ``pytensor``, ``pytensor.tensor``
``lasagne.updates``                        ``symupdates``: the same names, arguments, defaults
``T.nnet.sigmoid``, ``T.nnet.softplus``    ``T.sigmoid``, ``T.softplus``
``T.inv``, ``T.abs_``, ``T.sgn``           ``T.reciprocal``, ``T.abs``, ``T.sign``
``T.stack(a, b)``                          ``T.stack([a, b])``
``T.addbroadcast``                         ``T.specify_broadcastable``
``theano.clone(y, {a: b})``                ``graph_replace(y, {a: b}, strict=False)``
``theano.gof.graph.inputs``                ``pytensor.graph.traversal.graph_inputs``
``consider_constant(x)``                   ``zero_grad(x)``
=========================================  ===================================================

:mod:`symupdates.theano.names` has them all, and the command applies them; names that PyTensor has in another module,
as ``T.type.float_dtypes`` for ``T.float_dtypes``, too. Your aliases stay: ``T`` remains ``T``. Statements that set a
flag which PyTensor lacks and which changed no result, as ``theano.config.warn.round = False``, go.

**What is gone.** Most of ``T.nnet`` is an expression, which the command writes out, with Theano's values and gradients:

>>> findings, ported = port('''
... import theano.tensor as T
... def layer(x, W, b):
...     return T.nnet.relu(T.dot(x, W) + b)  # rectified
... ''')
>>> print(ported.strip())
import pytensor.tensor as T
<BLANKLINE>
<BLANKLINE>
def relu(x):
    return 0.5 * (x + abs(x))
<BLANKLINE>
<BLANKLINE>
def layer(x, W, b):
    return relu(T.dot(x, W) + b)  # rectified

*Cross-entropies, convolutions and pooling* are not PyTensor's. The functions of ``symupdates.theano``, to which the
command moves them, take PyTensor's variables, with Theano's arguments, and run on every backend:

>>> findings, ported = port('''
... from theano.tensor.nnet import conv2d
... import theano.tensor as T
... def layer(x, W):
...     return T.signal.pool.pool_2d(conv2d(x, W), (2, 2), ignore_border=True)
... ''')
>>> print(ported.strip())
from symupdates.theano.tensor.nnet import conv2d
import symupdates.theano.tensor.signal.pool as pool
import pytensor.tensor as T
def layer(x, W):
    return pool.pool_2d(conv2d(x, W), (2, 2), ignore_border=True)

Convolutions are made of the Ops of :mod:`symupdates.theano.conv_ops`, which new code can use by themselves:
``Correlate`` with ``border``, ``strides``, ``dilation`` and ``groups`` is a cross-correlation, and of filters that are
flipped, ``W[:, :, ::-1, ::-1]``, Theano's convolution; ``Pool(ignore_border=True, mode="max")(x, (2, 2))`` is the
pooling.

*The rest.* The GPU has no successor but ``mode="JAX"``, which compiles everything for the device that JAX has. Defaults
of inputs, ``In(x, value=...)``, are refused by PyTensor 3; ``functools.partial`` of the compiled function does it. A
variable in a condition, ``if mask:``, raises an error: ``if mask is not None:``.

**Lasagne's layers** import Theano; the report names each import once, with what to write for what is used of it. They
run on PyTensor's variables under ``symupdates.theano.install()``; without it, write the expressions out, which for
dense layers is a line each. Its initialisers draw from NumPy: with
``lasagne.random.set_rng(np.random.RandomState(seed))`` and the same draws in the same order the port begins with the
same weights.

**What else is different.** PyTensor 3 compiles by numba unless ``mode="CVM"`` or ``pytensor.config.mode`` says
otherwise. Rules refuse parameters that they would train wrongly (the page "Lasagne and Theano"). Counts are
integers."""

__all__ = ["port"]


def port(source):
    """Find what must change in a legacy script, and change what is safe to change.

    Parameters
    ----------
    source : str or bytes
        The script, in Python 3.

    Returns
    -------
    findings : list
        What must change, each with ``line``, ``column``, ``kind``, ``legacy``, ``now``, ``why`` and ``rewritten``.
        First those of kind ``"silent"``, which run, to other numbers; then ``"renamed"``; ``"changed"``, what fails or
        warns; and ``"gone"``; in each, line by line. What is not ``rewritten`` is to be done by hand.
    ported : str or bytes
        The script with the rest done; comments, formatting, encoding and line endings are kept.

    Raises
    ------
    SyntaxError
        If it is not Python 3; the line is named.
    ImportError
        If libcst is not installed.

    Examples
    --------
    >>> findings, ported = port("import theano.tensor as T\\ny = T.inv(T.scalar())  # one over it\\n")
    >>> [(f.line, f.kind, f.legacy, f.now) for f in findings][1]
    (2, 'renamed', 'T.inv', 'T.reciprocal')
    >>> ported.splitlines()[1]
    'y = T.reciprocal(T.scalar())  # one over it'
    """
    try:
        from symupdates.port.rewrite import examine
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "libcst":
            raise
        raise ImportError("it needs libcst, which is not installed: pip install 'symupdates[port]'.") from None
    return examine(source)
