"""``theano.tensor.log`` and ``log1p``: of probabilities, from the logits that they are computed from.

A probability that is rounded to zero has no logarithm, and the gradient of that logarithm is 1/0 times 0. Theano's
rewrites went back to the logits, in losses and in their gradients. PyTensor's do so in losses, but not in the mode
FAST_COMPILE, and miss most gradients, which are a product of two derivatives by the time they are compiled. So it is
the graph that is built from the logits here, and it is stable in every mode, with its derivatives of any order.
"""

import pytensor.tensor as pt
from pytensor.gradient import zero_grad
from pytensor.tensor import subtensor
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.math import Sum
from pytensor.tensor.shape import Reshape
from pytensor.tensor.special import Softmax, log_softmax

__all__ = ["log", "log1p"]

INDEXING = ("Subtensor", "AdvancedSubtensor", "AdvancedSubtensor1")  # the last is gone in PyTensor 3.3
MOVES = (DimShuffle, Reshape, *(getattr(subtensor, name) for name in INDEXING if hasattr(subtensor, name)))


def log(x):
    """The logarithm, elementwise.

    Of what was computed as a probability, or as a sum of exponentials, it is computed from the logits, and stays finite
    however large these are:

    * ``softmax(z)``, as :func:`~symupdates.theano.tensor.nnet.softmax` makes it;
    * ``sigmoid(z)`` and ``1 / (1 + exp(-z))``;
    * ``1 - p``, where `p` is one of the latter;
    * ``sum(exp(z))``, along any axes;
    * any of these indexed, reshaped or with its axes in another order.

    Notes
    -----
    The probabilities themselves are not in the graph: a gradient is by the logits or by what these are computed from,
    and so are replacements, as in ``givens``.
    """
    x = pt.as_tensor_variable(x)
    stable = log_of(x)
    return pt.log(x) if stable is None else pt.cast(stable, x.dtype)


def log1p(x):
    """The logarithm of ``1 + x``, elementwise; of ``1 - p`` as :func:`log` computes it."""
    x = pt.as_tensor_variable(x)
    stable = log_of(x.owner.inputs[0], of_complement=True) if is_of(pt.neg, x) else None
    return pt.log1p(x) if stable is None else pt.cast(stable, x.dtype)


def log_of(x, of_complement=False):
    """The logarithm of `x`, or of ``1 - x``, from the logits; None where there are none."""
    if x.owner is None:
        return None
    op, (first, *others) = x.owner.op, x.owner.inputs
    if isinstance(op, MOVES):
        stable = log_of(first, of_complement)
        return None if stable is None else op(stable, *others)
    if is_of(pt.sub, x) and is_one(first):
        return log_of(others[0], not of_complement)
    if (z := logit(x)) is not None:
        return -pt.softplus(z if of_complement else -z)
    if of_complement:
        return None
    if isinstance(op, Softmax):
        return log_softmax(first, axis=op.axis)
    if isinstance(op, Sum) and is_of(pt.exp, first):
        z = first.owner.inputs[0]
        axes = range(z.ndim) if op.axis is None else op.axis
        # The result does not depend on what is subtracted and added again.
        top = zero_grad(pt.max(z, axis=tuple(axes), keepdims=True))
        top = pt.switch(pt.isinf(top), 0, top)
        return pt.log(op(pt.exp(z - top))) + top.dimshuffle([axis for axis in range(z.ndim) if axis not in axes])
    return None


def logit(p):
    """The `z` of ``sigmoid(z)`` and of ``1 / (1 + exp(-z))``; None where there is none."""
    if is_of(pt.sigmoid, p):
        return pt.cast(p.owner.inputs[0], p.dtype)
    if is_of(pt.true_div, p) or is_of(pt.reciprocal, p):
        *numerator, denominator = p.owner.inputs
        if all(map(is_one, numerator)) and is_of(pt.add, denominator):
            terms = [x for x in denominator.owner.inputs if not is_one(x)]
            if len(terms) == len(denominator.owner.inputs) - 1 == 1 and is_of(pt.exp, terms[0]):
                return -pt.cast(terms[0].owner.inputs[0], p.dtype)
    return None


def is_of(op, x):
    return x.owner is not None and x.owner.op == op


def is_one(x):
    """Whether it is the number one, along no axis longer than that."""
    return all(x.type.broadcastable) and pt.get_underlying_scalar_constant_value(x, raise_not_constant=False) == 1
