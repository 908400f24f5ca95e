"""A rule whose steps tell little of any one example: the gradient of each is clipped, and their sum has noise."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors

from symupdates.core import awaits, called, check_optimizer, norm, prepare, require_loss, total
from symupdates.core.many import Single, vectorized, whole
from symupdates.core.norms import Norm, shrunk
from symupdates.core.program import moved
from symupdates.core.ranges import NON_NEGATIVE, POSITIVE
from symupdates.core.stacks import is_generator
from symupdates.random import normals
from symupdates.rules.sgd import sgd
from symupdates.typing import Hyper, Loss, OptimizerLike, Parameters, Seed, Updates

__all__ = ["dp_sgd"]


@awaits("loss_or_grads", "params")
def dp_sgd(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    examples: Mapping[Variable, Variable] | None = None,
    batch_size: Hyper | None = None,
    max_norm: Hyper = 1.0,
    noise_multiplier: Hyper = 1.0,
    seed: Seed = None,
    optimizer: OptimizerLike = sgd,
) -> Updates:
    r"""DP-SGD: the step of any rule, with gradients clipped for each example, and noise: differentially private.

    With :math:`g_i` the gradient of the loss of example :math:`i` with respect to all parameters together, and
    :math:`\xi` standard normal, new at each update:

    .. math::
        g = \frac{1}{B} \left(\sum_i g_i \min\left(1, \frac{C}{\lVert g_i \rVert_2}\right) + \sigma C\, \xi\right)

    and the step is that of `optimizer` with :math:`g`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss of **one** example; not gradients, and not a mean over a minibatch.
    params : iterable of shared variables
        The parameters, float32 or float64.
    examples : dict
        For each variable that is an example's in the loss, the variable of a minibatch, with one axis more, the first:
        ``{x: xs, y: ys}``. The compiled function takes the minibatch. It may have any number of examples, or none.
    batch_size : hyper-parameter
        The number :math:`B` of examples that a minibatch is expected to have, above 0. Privacy is counted for
        minibatches into which each example comes by a coin of its own: their sizes differ, and to divide by this one
        tells nothing of an example.
    max_norm : hyper-parameter
        The bound :math:`C` of the norm of an example's gradient, in units of the gradient, above 0. The paper takes the
        median of these norms.
    noise_multiplier : hyper-parameter
        The standard deviation :math:`\sigma` of the noise in units of the bound, at least 0. It is what an accountant
        makes a budget of, with the part of the data that a minibatch is and the number of steps.
    seed : int or sequence of ints, optional
        For the same noise in every run, as tests need it. Who knows it can take the noise away.
    optimizer : callable
        The rule that makes the step, as for :func:`~symupdates.sam`. It sees private gradients only, and whatever it
        makes of them is as private.

    Returns
    -------
    OrderedDict
        That of `optimizer`; the generator ``rng`` and, with a schedule, its count; last, generators of PyTensor's own
        that the loss draws from.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `examples` is no dict of variables, or one of them is not of
        the dtype and one axis more; if `batch_size` is missing.
    ValueError
        If the loss does not depend on an example's variable, or moves a statistic by it.
    NotImplementedError
        If the loss is computed with what cannot be computed for many examples at once, such as a loop.

    Notes
    -----
    The gradients of all examples are one graph, by :func:`pytensor.graph.replace.vectorize_graph`; all are there at
    once, in the memory of as many times the parameters. What the loss draws, as for dropout, is the same for all
    examples of a minibatch by :mod:`symupdates.random`, and each example's own by PyTensor's generators; statistics
    over the minibatch, as of batch normalisation, are refused. A penalty of the parameters does not belong into the
    loss, where it would be clipped with each example: `optimizer` is its place, as in
    ``chain(gradients.add_l2(), sgd())``.

    What this does not do: count the privacy that is spent (libraries do, as ``dp-accounting``, from :math:`\sigma`, the
    rate of sampling and the number of steps), sample the minibatches, or keep the generator secret. It is not a
    cryptographic one, and a checkpoint holds its key. The loss itself, where it is an output, is not private.

    State: that of `optimizer`, and ``rng``, three uint32 words: see :mod:`symupdates.random`. It is optax's
    ``contrib.differentially_private_aggregate``, which divides by the number of examples that there are.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. Abadi, A. Chu, I. Goodfellow, H. B. McMahan, I. Mironov, K. Talwar and L. Zhang (2016). Deep learning with
       differential privacy. CCS. arXiv:1607.00133, algorithm 1.
    """
    check_optimizer("dp_sgd: optimizer", optimizer)
    loss = require_loss("dp_sgd", loss_or_grads)
    examples = checked_examples(loss, examples)
    if batch_size is None:
        raise TypeError("dp_sgd: batch_size is missing: the number of examples that a minibatch is expected to have.")
    hyper = {"batch_size": POSITIVE(batch_size), "max_norm": POSITIVE(max_norm)}
    step = prepare("dp_sgd", loss, params, **hyper, noise_multiplier=NON_NEGATIVE(noise_multiplier))
    xi = normals(step, seed)
    gradients, generators = of_each(loss, [g for _, g, _ in step], examples)
    each = dict(zip(step.params, gradients, strict=True))
    sizes = [norm(gs, axis=tuple(range(1, gs.ndim))).value.dimshuffle(0) for gs in each.values()]
    size = norm(pt.stack(sizes), axis=0)
    grads = []
    for p, _, (expected, bound, noise) in step:
        beside = Norm(*(part.dimshuffle(1, *"x" * p.ndim) for part in size))
        summed = total(shrunk(each[p], beside, bound), axis=0)
        grads.append((summed + noise * bound * xi(p)) / expected)
    return OrderedDict(called("dp_sgd: optimizer", optimizer, grads, step.params) | generators)


def checked_examples(loss, examples):
    """The dict, after refusing what it cannot be."""
    if not isinstance(examples, Mapping) or not examples:
        raise TypeError(
            "dp_sgd: examples must be a dict of the variables of one example, in the loss, and those of a minibatch, "
            f"{{x: xs, y: ys}}, not {examples!r}."
        )
    read = set(ancestors([loss]))
    for x, xs in examples.items():
        if not (isinstance(x, Variable) and isinstance(xs, Variable)):
            raise TypeError(f"dp_sgd: examples: {x!r} and {xs!r} must be variables.")
        if x not in read:
            raise ValueError(f"dp_sgd: examples: the loss does not depend on {x}.")
        if xs.type.ndim != x.type.ndim + 1 or xs.type.dtype != x.type.dtype:
            raise TypeError(
                f"dp_sgd: examples: for {x}, {x.type}, a minibatch has one axis more, the first, and the same dtype; "
                f"got {xs}, {xs.type}."
            )
    return dict(examples)


def of_each(loss, grads, examples):
    """The gradients of each example, along a new first axis; and PyTensor's generators after they drew for all."""
    by_model = moved({}, [loss])
    n = next(iter(examples.values())).shape[0]
    try:
        new = vectorized([*grads, *by_model.values()], examples, n)
    except Single as error:
        raise NotImplementedError(
            f"dp_sgd: the gradient of an example is computed with {error.node.op}, which cannot be computed for many "
            "examples at once."
        ) from error
    by_each = {v: new[value] for v, value in by_model.items() if value in new}
    if statistics := [v for v in by_each if not is_generator(v)]:
        raise ValueError(
            f"dp_sgd: the loss of an example moves {statistics[0]}; a statistic over a minibatch, as of batch "
            "normalisation, is not private: leave it out of the loss."
        )
    return [whole(g, new.get(g, g), n) for g in grads], by_each
