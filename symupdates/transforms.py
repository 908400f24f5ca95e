"""Transforms of an updates dict: dict → dict, the input never changed."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.tensor.type import DenseTensorType

from symupdates.constraints import non_negative
from symupdates.core import astype, awaits, extend, flag, is_state, norm, total, whole_number
from symupdates.core.checks import raised_by, shared_variables
from symupdates.core.hyper import gradient_in, hyper_parameter, hyper_tags, rate_of
from symupdates.core.names import parameter_names
from symupdates.core.norms import bounding, shrunk, trusted
from symupdates.core.places import written
from symupdates.core.program import moved, named_hyper_tags
from symupdates.core.ranges import BOUND, NON_NEGATIVE, PART, POSITIVE, REAL
from symupdates.core.replace import replaced
from symupdates.core.state import GROUPS, advance, call_state, check_size, stand_ins
from symupdates.core.step import parameters_of
from symupdates.core.types import count, largest_dtype, positive
from symupdates.proximal import l1
from symupdates.random import checked_seed
from symupdates.typing import Hyper, ProjectionLike, ProximalLike, Seed, Selection, Updates, UpdatesLike

__all__ = [
    "adjustable",
    "apply_cautious",
    "apply_ema",
    "apply_freeze",
    "apply_if_finite",
    "apply_if_small",
    "apply_lookahead",
    "apply_momentum",
    "apply_nesterov_momentum",
    "apply_polyak_average",
    "apply_projection",
    "apply_proximal",
    "apply_rms_clip",
    "apply_scale",
    "apply_schedule_free",
    "apply_swag",
    "apply_trust_ratio",
    "apply_weight_decay",
    "averages",
    "swag_draws",
    "swap_averages",
]

# --- Steps ------------------------------------------------------------------------------------------------------------


@awaits("updates")
def apply_momentum(updates: UpdatesLike | None = None, params: Selection = None, momentum: Hyper = 0.9) -> Updates:
    r"""Give the steps of any rule momentum.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`:

    .. math::
        v &\leftarrow \mu v + u \\
        p &\leftarrow p + v

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters to accelerate: a list of them; a string, which is a regular expression that is searched for in
        their names; or a function that says of a parameter whether it is one of these. By default, or by ``...``, all
        parameters among the keys, never optimizer state: Lasagne and PyMC then accelerate the accumulators and counters
        of adaptive rules too, which ruins them. Parameters are told from state by the tags of ours; if you have added
        float variables of your own, such as running statistics, name the parameters.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept: a number, a scalar variable or a schedule.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the ``velocity`` of each parameter.

    Raises
    ------
    TypeError
        If `updates` is not a dict; for parameters and hyper-parameters as in :func:`~symupdates.sgd`.
    ValueError
        If a parameter is not among the updates; if a pattern or function selects none.

    Notes
    -----
    Applied to :func:`~symupdates.sgd`, it gives :func:`~symupdates.momentum`. Without `updates`, it returns a
    :func:`functools.partial` that awaits it.

    State: ``velocity``, zero at first, of the parameter's shape and dtype.

    References
    ----------
    .. [1] B. T. Polyak (1964). Some methods of speeding up the convergence of iteration methods. USSR Computational
       Mathematics and Mathematical Physics 4(5).
    """
    step = extend("apply_momentum", updates, params, momentum=momentum)
    for p, p_next, (mu,) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v + (p_next - p)
        step[p] = p_next + mu * v
    return step.finish()


@awaits("updates")
def apply_nesterov_momentum(
    updates: UpdatesLike | None = None, params: Selection = None, momentum: Hyper = 0.9
) -> Updates:
    r"""Give the steps of any rule Nesterov momentum.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`:

    .. math::
        v &\leftarrow \mu v + u \\
        p &\leftarrow p + \mu v + u

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters to accelerate, by default all among the keys, as in :func:`apply_momentum`.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept: a number, a scalar variable or a schedule.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the ``velocity`` of each parameter.

    Notes
    -----
    Applied to :func:`~symupdates.sgd`, it gives :func:`~symupdates.nesterov_momentum`, where the form of the method is
    explained. The errors and the partial are as for :func:`apply_momentum`.

    State: ``velocity``, zero at first, of the parameter's shape and dtype.

    References
    ----------
    .. [1] Y. Bengio, N. Boulanger-Lewandowski and R. Pascanu (2013). Advances in optimizing recurrent networks. ICASSP.
    """
    step = extend("apply_nesterov_momentum", updates, params, momentum=momentum)
    for p, p_next, (mu,) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v + (p_next - p)
        step[p] = p_next + mu * step[v]
    return step.finish()


@awaits("updates")
def apply_weight_decay(
    updates: UpdatesLike | None = None,
    params: Selection = None,
    weight_decay: Hyper = 0.01,
    learning_rate: Hyper | None = None,
) -> Updates:
    r"""Let parameters decay beside the step of any rule, at its rate: decoupled weight decay.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, and :math:`\eta` its rate:

    .. math:: p \leftarrow p + u - \eta \lambda\, p

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters that decay, such as ``lambda p: p.ndim > 1`` or ``"weight$"``; by default all among the keys, as
        in :func:`apply_momentum`.
    weight_decay : hyper-parameter
        The strength :math:`\lambda`, at least 0: without gradients, a parameter falls by the fraction
        :math:`\eta\lambda` a step. The default is that of :func:`~symupdates.adamw`.
    learning_rate : hyper-parameter, optional
        The rate :math:`\eta`. By default that of the rule that moves the parameter, as a number, a variable or at the
        place of its schedule where that is, each group of a :func:`~symupdates.partition` at its own. With 1, a
        parameter falls by the fraction `weight_decay` a step.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Raises
    ------
    ValueError
        Without `learning_rate`, if nothing tells the rate of a parameter: in a dict written by hand or made by
        :func:`~symupdates.loop`, and of rules that have none, such as :func:`~symupdates.lbfgs`,
        :func:`~symupdates.rprop`, :func:`~symupdates.cocob` and :func:`~symupdates.polyak_step`.

    Notes
    -----
    After :func:`~symupdates.adam`, it is :func:`~symupdates.adamw`, to the last bit, for the parameters that decay: the
    decay takes their old values, and the rate without what the rule multiplies it by. The rate is the `learning_rate`
    of the rule; or what a rule has found that finds its rate, such as :func:`~symupdates.dog` or
    :func:`~symupdates.prodigy`. Of a rule around another, such as :func:`~symupdates.sam`, it is that of the inner one,
    which makes the step. What other transforms do to the step, such as :func:`apply_scale`, does not change it.

    The decay is no part of the loss; see :func:`symupdates.gradients.add_l2` for the penalty that is. The errors and
    the partial are as for :func:`apply_momentum`. No state.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W, b = (pytensor.shared(np.ones(shape), name=name) for name, shape in (("W", (2, 2)), ("b", 2)))
    >>> spare_biases = symupdates.apply_weight_decay(params=lambda p: p.ndim > 1, weight_decay=0.1)
    >>> optimizer = symupdates.chain(symupdates.sgd(learning_rate=0.5), spare_biases)
    >>> step = pytensor.function([], [], updates=optimizer(W.sum() + b.sum(), [W, b]))
    >>> _ = step()
    >>> W.get_value()[0, 0].round(6).item(), b.get_value()[0].item()
    (0.45, 0.5)

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter (2019). Decoupled weight decay regularization. ICLR. arXiv:1711.05101.
    """
    step, rates = extend_at_rate("apply_weight_decay", updates, params, learning_rate, weight_decay=weight_decay)
    for p, p_next, (decay, *_) in step:
        step[p] = p_next - rates[p] * decay * p
    return step.finish()


def extend_at_rate(transform, updates, params, learning_rate, **hyper):
    """Begin a transform that goes by the rate, given or that of the rule: the step, and the rate of each parameter."""
    given = {} if learning_rate is None else {"learning_rate": REAL(learning_rate)}
    step = extend(transform, updates, params, **hyper, **given)
    rates = {p: hyper[-1] if given else rate_of(p_next) for p, p_next, hyper in step}
    refuse_unknown(transform, rates, "the rate at which {} moves; give learning_rate, as that of the rule")
    return step, rates


def refuse_unknown(transform, known, what):
    """Refuse parameters of which an expression does not tell what a transform goes by."""
    if unknown := [name for name, x in zip(parameter_names(known), known.values(), strict=True) if x is None]:
        raise ValueError(f"{transform}: nothing tells {what.format(', '.join(unknown))}.")


@awaits("updates")
def apply_scale(updates: UpdatesLike | None = None, params: Selection = None, scale: Hyper = 1.0) -> Updates:
    r"""Scale the steps of some parameters, or of all: a learning rate of their own.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`:

    .. math:: p \leftarrow p + s\, u

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters whose steps are scaled, by default all among the keys, as in :func:`apply_momentum`.
    scale : hyper-parameter
        The factor :math:`s`.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Notes
    -----
    For a factor a layer, such as 0.9 to the power of its depth, apply it once for each. The errors and the partial are
    as for :func:`apply_momentum`. No state.
    """
    step = extend("apply_scale", updates, params, scale=scale)
    for p, p_next, (s,) in step:
        step[p] = p + s * (p_next - p)
    return step.finish()


@awaits("updates")
def apply_trust_ratio(
    updates: UpdatesLike | None = None,
    params: Selection = None,
    trust_coefficient: Hyper = 1.0,
    learning_rate: Hyper | None = None,
) -> Updates:
    r"""Scale the step of any rule in each layer to the norm of its weights, as LARS and LAMB do.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, and :math:`\eta` its rate:

    .. math:: p \leftarrow p + |\eta|\, c\, \frac{\lVert p \rVert}{\lVert u \rVert}\, u

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters whose steps are scaled, each of which is a layer, such as ``lambda p: p.ndim > 1``; by default
        all among the keys, as in :func:`apply_momentum`.
    trust_coefficient : hyper-parameter
        The part :math:`c` of its weights' norm that a layer moves by in a step, at a rate of 1. Finite and above 0. The
        default is LAMB's; LARS has 0.001.
    learning_rate : hyper-parameter, optional
        The rate :math:`\eta`; by default that of the rule that moves the parameter, as for :func:`apply_weight_decay`.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Raises
    ------
    ValueError
        Without `learning_rate`, if nothing tells the rate, as for :func:`apply_weight_decay`.

    Notes
    -----
    Where the weights or the step are zero, the step is as it was: weights that begin at zero would else never move.
    After :func:`~symupdates.adam` with decay, it is :func:`~symupdates.lamb`::

        chain(adam(), apply_weight_decay(), apply_trust_ratio())

    In a chain of optax, it is ``scale_by_trust_ratio(trust_coefficient)`` before ``scale_by_learning_rate``. LARS
    measures before its momentum: ``chain(sgd(), apply_trust_ratio(), apply_momentum())``. Other errors and the partial
    are as for :func:`apply_momentum`. No state.

    References
    ----------
    .. [1] Y. You, I. Gitman and B. Ginsburg (2017). Large batch training of convolutional networks. arXiv:1708.03888.
    .. [2] Y. You, J. Li, S. Reddi, J. Hseu, S. Kumar, S. Bhojanapalli, X. Song, J. Demmel, K. Keutzer and C.-J. Hsieh
       (2020). Large batch optimization for deep learning: training BERT in 76 minutes. ICLR. arXiv:1904.00962.
    """
    step, rates = extend_at_rate(
        "apply_trust_ratio", updates, params, learning_rate, trust_coefficient=POSITIVE(trust_coefficient)
    )
    for p, p_next, (trust, *_) in step:
        u = p_next - p
        step[p] = p + trusted(u, norm(u), pt.abs(rates[p]) * trust * norm(p).value)
    return step.finish()


@awaits("updates")
def apply_rms_clip(
    updates: UpdatesLike | None = None,
    params: Selection = None,
    threshold: Hyper = 1.0,
    learning_rate: Hyper | None = None,
) -> Updates:
    r"""Clip the step of any rule in each tensor to a root mean square of so many times the rate, as Adafactor does.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, and :math:`\eta` its rate:

    .. math::
        p \leftarrow p + \frac{u}{\max(1,\, \operatorname{rms}(u) / (d\, |\eta|))}, \qquad
        \operatorname{rms}(u) = \sqrt{\operatorname{mean}(u^2)}

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters whose steps are clipped, each for itself; by default all among the keys, as in
        :func:`apply_momentum`.
    threshold : hyper-parameter
        The bound :math:`d` at a rate of 1; at least 0, and infinite for none. The default is the paper's: steps of
        :func:`~symupdates.rmsprop` or :func:`~symupdates.adam` are then clipped where an average of squared gradients
        is behind them.
    learning_rate : hyper-parameter, optional
        The rate :math:`\eta`; by default that of the rule that moves the parameter, as for :func:`apply_weight_decay`.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Raises
    ------
    ValueError
        Without `learning_rate`, if nothing tells the rate, as for :func:`apply_weight_decay`.

    Notes
    -----
    A step within the bound is as it was. It is what :func:`~symupdates.adafactor` does by itself, and in a chain of
    optax ``clip_by_block_rms(threshold)`` before ``scale_by_learning_rate``. Before :func:`apply_weight_decay`, it
    leaves the decay as it is. StableAdamW [2]_ divides by the same maximum, but of :math:`g/\sqrt v` in the place of
    the step :math:`m/\sqrt v`, which is the same in :func:`~symupdates.adamw` with ``beta1=0``. Other errors and the
    partial are as for :func:`apply_momentum`. No state.

    References
    ----------
    .. [1] N. Shazeer and M. Stern (2018). Adafactor: adaptive learning rates with sublinear memory cost. ICML.
       arXiv:1804.04235.
    .. [2] M. Wortsman, T. Dettmers, L. Zettlemoyer, A. Morcos, A. Farhadi and L. Schmidt (2023). Stable and
       low-precision training for large-scale vision-language models. NeurIPS. arXiv:2304.13013.
    """
    step, rates = extend_at_rate("apply_rms_clip", updates, params, learning_rate, threshold=BOUND(threshold))
    for p, p_next, (d, *_) in step:
        u = p_next - p
        root = pt.sqrt(count(tuple(p.shape), p.dtype))
        step[p] = p + shrunk(u, norm(u), bounding(d, pt.abs(rates[p]) * root))
    return step.finish()


@awaits("updates")
def apply_cautious(updates: UpdatesLike | None = None, params: Selection = None, xi: Hyper = 1.0) -> Updates:
    r"""Make the step of any rule only where it goes against the gradient, and longer there: cautious optimizers.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, the gradient :math:`g` that the rule
    was given, and :math:`n` elements of :math:`p`, of which :math:`k` have :math:`u_i g_i < 0`:

    .. math::
        p_i \leftarrow p_i + \begin{cases}
            \frac{n}{k + \xi}\, u_i & \text{if } u_i g_i < 0 \\
            0 & \text{otherwise}
        \end{cases}

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters whose steps are cautious, each for itself; by default all among the keys, as in
        :func:`apply_momentum`.
    xi : hyper-parameter
        The number :math:`\xi` that is added to that of the elements, which bounds the factor of the few. Finite and
        above 0. The default is the paper's.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Raises
    ------
    ValueError
        If nothing tells the gradient of a parameter: in a dict written by hand or made by :func:`~symupdates.loop`, and
        of rows of a table.

    Notes
    -----
    For rules with momentum, whose steps are not always along the gradient; the paper has C-AdamW and C-Lion. Those of
    :func:`~symupdates.sgd` are, and become longer only. The gradient is that which the rule computes the step with:
    clipped, if it was clipped before. The rule's state is as without it, so it is not for rules that compute the
    parameters from their state, such as :func:`~symupdates.schedule_free_sgd` and :func:`~symupdates.lbfgs`. Decay is
    not meant to be masked, so it goes after::

        chain(adam(), apply_cautious(), apply_weight_decay())

    The factor is that of the paper. The authors' program, and that of timm, divide by the mean of the mask, which they
    bound by 0.001 from below. A scalar moves by half its step, or not at all, at :math:`\xi = 1`. Other errors and the
    partial are as for :func:`apply_momentum`. No state.

    References
    ----------
    .. [1] K. Liang, L. Chen, B. Liu and Q. Liu (2024). Cautious optimizers: improving training with one line of code.
       arXiv:2411.16085.
    """
    step = extend("apply_cautious", updates, params, xi=POSITIVE(xi))
    grads = {p: gradient_in(p_next, p) for p, p_next, _ in step}
    refuse_unknown("apply_cautious", grads, "the gradient of {}; it goes after the rule that computes with it")
    for p, p_next, (xi,) in step:
        u = p_next - p
        is_masked = pt.sign(u) * pt.sign(grads[p]) >= 0  # not so where one is NaN, which goes through
        k = total(astype(~is_masked, p.dtype))
        step[p] = p + pt.switch(is_masked, pt.zeros_like(u), count(tuple(p.shape), p.dtype) / (k + xi) * u)
    return step.finish()


@awaits("updates")
def apply_lookahead(
    updates: UpdatesLike | None = None, params: Selection = None, every: int = 5, alpha: Hyper = 0.5
) -> Updates:
    r"""Lookahead: every so many updates, go back a part of the way.

    With :math:`\theta` the parameter that the rule moves, and slow weights :math:`\phi`, at every :math:`k`-th update:

    .. math::
        \phi &\leftarrow \phi + \alpha\, (\theta - \phi) \\
        \theta &\leftarrow \phi

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters that have slow weights, by default all among the keys, as in :func:`apply_momentum`.
    every : int
        The number :math:`k` of updates from one return to the next. 5 to 10 in the paper.
    alpha : hyper-parameter
        The part :math:`\alpha` of the way that the slow weights take, from 0 to 1.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the ``slow`` weights of each parameter; last, the count.

    Raises
    ------
    ValueError
        If `every` is not a whole number of at least 1.

    Notes
    -----
    The state of the rule goes on as it is. The slow weights begin as the parameters are at the first update. They are
    where the paper evaluates, and :func:`~symupdates.averages` gives them. It is optax's ``lookahead(sync_period=every,
    slow_step_size=alpha)``, whose fast parameters ours are.

    State: ``slow``, of the parameter's shape and dtype. The other errors and the partial are as for
    :func:`apply_momentum`.

    References
    ----------
    .. [1] M. R. Zhang, J. Lucas, G. Hinton and J. Ba (2019). Lookahead optimizer: k steps forward, 1 step back.
       NeurIPS. arXiv:1907.08610.
    """
    whole_number("apply_lookahead: every", every)
    step = extend("apply_lookahead", updates, params, alpha=PART(alpha))
    returns = pt.eq(step.t % every, 0)
    for p, p_next, (alpha,) in step:
        slow = step.stand_in(p, "slow")
        before = pt.switch(pt.eq(step.t, 1), p, slow)
        step[slow] = pt.switch(returns, before + alpha * (p_next - before), before)
        step[p] = pt.switch(returns, step[slow], p_next)
    return step.finish()


@awaits("updates")
def apply_schedule_free(
    updates: UpdatesLike | None = None,
    params: Selection = None,
    beta: Hyper = 0.9,
    learning_rate: Hyper | None = None,
) -> Updates:
    r"""Make any rule schedule-free: it moves an iterate, and gradients are taken between that and its average.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, and :math:`\eta` its rate. The
    parameters :math:`p` are where gradients are taken; :math:`x` is where to evaluate:

    .. math::
        W &\leftarrow W + \eta^2 \\
        z &\leftarrow z + u \\
        x &\leftarrow x + \frac{\eta^2}{W} (z - x) \\
        p &\leftarrow (1 - \beta)\, z + \beta\, x

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed. The rule is to be one without
        momentum, whose place :math:`\beta` takes: ``adam(beta1=0.0)``, ``rmsprop()``.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters that it is done to, by default all among the keys, as in :func:`apply_momentum`.
    beta : hyper-parameter
        The share :math:`\beta` of the average in the point where gradients are taken. The default is the paper's. From
        0 to 1.
    learning_rate : hyper-parameter, optional
        The rate :math:`\eta`; by default that of the rule that moves the parameter, as for :func:`apply_weight_decay`.
        It weighs the iterates; with 1, all count the same.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then for each parameter its ``weights``, ``z`` and
        ``average``; with a schedule, its count.

    Raises
    ------
    ValueError
        Without `learning_rate`, if nothing tells the rate, as for :func:`apply_weight_decay`.

    Notes
    -----
    **Evaluate at the average**: :func:`~symupdates.averages` gives it, and :func:`~symupdates.swap_averages` puts it in
    the place of the parameters and back. After :func:`~symupdates.sgd`, it is :func:`~symupdates.schedule_free_sgd`;
    after :func:`~symupdates.adamw` with ``beta1=0.0``, it is :func:`~symupdates.schedule_free_adamw`; after
    :func:`~symupdates.radam` so, schedule-free RAdam, which needs no warmup. With a constant rate, it is optax's
    ``contrib.schedule_free``. A rule that reads the parameters reads them where gradients are taken: so does its decay.
    The parameters are computed from the state: what is done to them later, such as a projection, is seen by the next
    gradient, and then lost.

    State: ``z`` and ``average`` (:math:`x`), the parameter at first, of its shape and dtype; ``weights`` (:math:`W`), a
    scalar of its dtype, zero at first. The other errors and the partial are as for :func:`apply_momentum`.

    References
    ----------
    .. [1] A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled and A. Cutkosky (2024). The road less scheduled.
       NeurIPS. arXiv:2405.15682.
    """
    step, rates = extend_at_rate("apply_schedule_free", updates, params, learning_rate, beta=PART(beta))
    for p, p_next, (beta, *_) in step:
        z, x = step.state(p, "z", initial=p), step.stand_in(p, "average")
        weights = step.state(p, "weights", shape=())
        step[weights] = weights + rates[p] ** 2
        step[z] = z + (p_next - p)
        step[x] = x + rates[p] ** 2 / positive(step[weights]) * (step[z] - x)
        step[p] = (1 - beta) * step[z] + beta * step[x]
    return step.finish()


@awaits("updates")
def apply_projection(
    updates: UpdatesLike | None = None, params: Selection = None, projection: ProjectionLike = non_negative
) -> Updates:
    r"""Project parameters onto a set after each step: projected gradient descent.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, and :math:`\Pi` the projection:

    .. math:: p \leftarrow \Pi(p + u)

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters to project, by default all among the keys, as in :func:`apply_momentum`.
    projection : callable
        A function of a tensor variable that returns one of the same shape: one of :mod:`symupdates.constraints`, such
        as ``simplex(axis=1)``, or any other.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order.

    Raises
    ------
    TypeError
        If `projection` is not callable.
    ValueError
        If what it returns cannot have the shape of the parameter.

    Notes
    -----
    Momentum and the accumulators of the rule know nothing of it. The other errors and the partial are as for
    :func:`apply_momentum`. No state.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> from symupdates.constraints import simplex
    >>> weights = pytensor.shared(np.array([0.5, 0.3, 0.2]), name="weights")
    >>> cost = (weights * np.array([1.0, 2.0, 3.0])).sum()
    >>> updates = symupdates.apply_projection(symupdates.sgd(cost, [weights], 0.1), projection=simplex())
    >>> step = pytensor.function([], cost, updates=updates)
    >>> _ = step()
    >>> weights.get_value().round(6).tolist()
    [0.6, 0.3, 0.1]
    """
    if not callable(projection):
        raise TypeError(f"apply_projection: projection must be a function of a tensor, not {projection!r}.")
    step = extend("apply_projection", updates, params)
    for p, p_next, () in step:
        with raised_by(f"the projection of apply_projection, called with the next value of {p}"):
            step[p] = projection(p_next)
    return step.finish()


@awaits("updates")
def apply_proximal(
    updates: UpdatesLike | None = None,
    params: Selection = None,
    operator: ProximalLike = l1,
    strength: Hyper = 1e-3,
    learning_rate: Hyper | None = None,
) -> Updates:
    r"""Make a proximal step after that of any rule: exact zeros, or whatever else a penalty without derivative is for.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`, :math:`\eta` its rate, and :math:`h`
    the penalty:

    .. math::
        p &\leftarrow \operatorname{prox}_{\eta\lambda h}(p + u) \\
        \operatorname{prox}_{s h}(x) &= \arg\min_y\; s\, h(y) + \tfrac{1}{2} \lVert y - x \rVert^2

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, or callable, optional
        The parameters that are penalized, or a function that says of a parameter whether it is. By default all
        parameters among the keys, as in :func:`apply_momentum`.
    operator : callable
        The proximal operator: a function of a tensor variable and of the step size :math:`s`, a scalar of its dtype,
        that returns a tensor of the same shape. One of :mod:`symupdates.proximal`, such as
        ``group_lasso(axes=1)``, or any other.
    strength : hyper-parameter
        The strength :math:`\lambda` of the penalty, at least 0, in units of the loss per unit of :math:`h`.
    learning_rate : hyper-parameter, optional
        The rate :math:`\eta`; by default that of the rule that moves the parameter, as for :func:`apply_weight_decay`.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Raises
    ------
    TypeError
        If `operator` is not callable.
    ValueError
        If what it returns cannot have the shape of the parameter. Without `learning_rate`, if nothing tells the rate,
        as for :func:`apply_weight_decay`.

    Notes
    -----
    After :func:`~symupdates.sgd` it is the proximal gradient method, ISTA [1]_, which comes to the minimum of the loss
    and :math:`\lambda h` together. So it does after any rule whose steps are, in the mean, those of gradients times the
    rate: :func:`~symupdates.heavy_ball` with as much dampening as momentum, but not without, where steps add up to
    longer ones. A rule that divides the gradients, such as :func:`~symupdates.adam`, weighs the penalty against what it
    divides by. Zeros are as exact, and how many there are is tuned by the strength.

    What the rule keeps knows nothing of the penalty. Projections are proximal operators that ignore the step size; for
    them there is :func:`apply_projection`. The other errors and the partial are as for :func:`apply_momentum`. No
    state.

    Examples
    --------
    The lasso:

    >>> import numpy as np, pytensor, symupdates
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(100, 4)), rng.normal(size=100)
    >>> y = x @ [2.0, 0.0, 0.0, -1.0] + noise
    >>> W = pytensor.shared(np.zeros(4), name="W")
    >>> lasso = symupdates.chain(symupdates.sgd(learning_rate=0.3), symupdates.apply_proximal(strength=0.3))
    >>> step = pytensor.function([], [], updates=lasso(((x @ W - y) ** 2).mean() / 2, [W]))
    >>> for _ in range(200):
    ...     _ = step()
    >>> (W.get_value() == 0).tolist()
    [False, True, True, False]

    References
    ----------
    .. [1] A. Beck and M. Teboulle (2009). A fast iterative shrinkage-thresholding algorithm for linear inverse
       problems. SIAM Journal on Imaging Sciences 2(1).
    .. [2] N. Parikh and S. Boyd (2014). Proximal algorithms. Foundations and Trends in Optimization 1(3).
    """
    if not callable(operator):
        raise TypeError(f"apply_proximal: operator must be a function of a tensor and a step size, not {operator!r}.")
    step, rates = extend_at_rate("apply_proximal", updates, params, learning_rate, strength=NON_NEGATIVE(strength))
    for p, p_next, (strength, *_) in step:
        with raised_by(f"the operator of apply_proximal, called with the next value of {p} and a step size"):
            proximal_point = operator(p_next, rates[p] * strength)
        step[p] = proximal_point
    return step.finish()


# --- Gates ------------------------------------------------------------------------------------------------------------


@awaits("updates")
def apply_if_finite(updates: UpdatesLike | None = None, params: Selection = None, limit: int | None = None) -> Updates:
    """Skip every update that would leave a parameter, or state kept for one, infinite or not a number.

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters that are looked at and held, with their state; by default all among the keys, as in
        :func:`apply_momentum`.
    limit : int, optional
        After so many skipped updates in a row, let the next one through: what is then not finite is seen, and can be
        stopped. Without, none ever is, and a run whose every loss is NaN goes on without moving.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then two counts: of all updates ``skipped``, and of those
        skipped in a row until now, ``in_a_row``.

    Raises
    ------
    ValueError
        If `limit` is not a whole number of at least 1; if there are no parameters to look at.

    Notes
    -----
    When an update is skipped, everything stands still: parameters, state, and the counts that rule and schedules read,
    so that bias corrections stay right and schedules count the updates that were made. Random generators go on. The
    counts are read as ``symupdates.named(updates)["if_finite/skipped"].get_value()``.

    What the model moves itself is held as well, where the gate is for all parameters: keys of your own, and shared
    variables with a default update, which become keys. Statistics that Ops write, as in pytensor-ml's layers, are held
    only if they are keys before, ``{**updates, **collect_non_trainable_updates(loss)}``, for
    ``pytensor_ml.pytensorf.function`` to compile. Its ``compile_train`` writes them whatever a gate says, and refuses a
    dict that does not.

    What comes after it in a chain is not held. optax's ``apply_if_finite(max_consecutive_errors=limit)`` looks at the
    gradients instead. One that is finite may still overflow when it is squared, which makes a step of zero and an
    accumulator that is infinite for good. The other errors and the partial are as for :func:`apply_momentum`.
    """
    step = extend("apply_if_finite", updates, params)
    members = set(step.params)
    model = of_the_model(updates, members)
    kept = {v: x for v, x in updates.items() if v in members or (is_state(v) and v.tag.symupdates.parameter in members)}
    kept |= model
    changed = [(written(v, x) or (None, x))[1] for v, x in kept.items() if v.dtype.startswith("float")]
    sizes = [pt.abs(x) for x in changed]
    finite = [pt.all(size < np.asarray(np.inf, size.dtype)) for size in sizes]
    return skip_unless(pt.all(pt.stack(finite)) if finite else pt.constant(np.True_), updates, step, limit, model)


@awaits("updates")
def apply_if_small(
    updates: UpdatesLike | None = None, params: Selection = None, max_norm: Hyper = 1.0, limit: int | None = None
) -> Updates:
    r"""Skip every update whose step is longer than a bound.

    With :math:`u` the steps that `updates` makes, from :math:`p` to :math:`p + u`, they are made if

    .. math:: \sqrt{\textstyle\sum \lVert u \rVert^2} \le c

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters whose steps are measured together, and held with their state; by default all among the keys, as
        in :func:`apply_momentum`.
    max_norm : hyper-parameter
        The bound :math:`c`, in units of the parameters; at least 0.
    limit : int, optional
        After so many skipped updates in a row, let the next one through. Without, a bound that is too small stops
        training for good.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the counts ``skipped`` and ``in_a_row``, as of
        :func:`apply_if_finite`; with a schedule, its count.

    Notes
    -----
    Steps that are not finite are skipped, too. What stands still in a skipped update, errors and the partial are as for
    :func:`apply_if_finite`. To shorten the step instead, see :func:`symupdates.gradients.clip_by_total_norm`.
    """
    step = extend("apply_if_small", updates, params, max_norm=max_norm)
    steps = [p_next - p for p, p_next, _ in step]
    dtype = largest_dtype(steps)
    (bound,) = step.hyper(dtype)
    model = of_the_model(updates, set(step.params))
    return skip_unless(norm(steps, dtype=dtype).value <= bound, updates, step, limit, model)


def of_the_model(updates, params):
    """What the model moves itself, and its next value, where a gate is for all parameters; nothing where for some.

    A gate within a group, or within what accumulates, is for that part.
    """
    if any(group.is_part for group in GROUPS.get()) or not params.issuperset(parameters_of(updates)):
        return {}
    return {
        v: x
        for v, x in moved(updates).items()
        if (v in updates or v.default_update is not None)
        and isinstance(v.type, DenseTensorType)
        and not (v in params or is_state(v))
    }


def skip_unless(is_good, updates, step, limit, model):
    """Hold the step unless `is_good` or the limit of skipped steps is reached, and count those skipped."""
    if updates and not step.params:
        raise ValueError(
            f"apply_{step.call.rule}: params has no parameters to look at; leave it out for all that the dict updates."
        )
    skipped, in_a_row = step.count("skipped"), step.count("in_a_row")
    is_open = is_good
    if limit is not None:
        is_open |= in_a_row >= whole_number(f"apply_{step.call.rule}: limit", limit)
    step.hold(is_open, model)
    step[skipped] = pt.switch(is_open, skipped, skipped + 1)
    step[in_a_row] = pt.switch(is_good, np.int64(0), in_a_row + 1)
    return step.finish()


@awaits("updates")
def apply_freeze(updates: UpdatesLike | None = None, params: Selection = None, until: Hyper = np.inf) -> Updates:
    """Hold parameters as they are for a number of updates, or for good; with others, unfreeze them gradually.

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters to freeze, such as ``"^conv"``; by default all among the keys, as in :func:`apply_momentum`.
    until : hyper-parameter
        The number of updates for which they are frozen, at least 0: the next is the first that moves them. A shared
        variable may be set to zero to unfreeze them at any time.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; last, the count of all updates.

    Notes
    -----
    Parameters and state are held, and so are counts that nothing else reads. Where frozen parameters share a rule with
    others, its count goes on, and the bias correction of :func:`~symupdates.adam`, say, finds them at their first
    gradients as if they had been zero before. Give them a rule of their own, and they begin afresh::

        partition((head, adam()), (..., chain(adam(), apply_freeze(until=1000))))

    A parameter that is never to move is better left out of the parameters: its gradient is then not computed. The
    errors and the partial are as for :func:`apply_momentum`.
    """
    step = extend("apply_freeze", updates, params, until=BOUND(until))
    (until,) = step.hyper("float64")
    step.hold(astype(step.t, "float64") > until)
    return step.finish()


# --- Averages ---------------------------------------------------------------------------------------------------------


@awaits("updates")
def apply_ema(
    updates: UpdatesLike | None = None, params: Selection = None, decay: Hyper = 0.99, debias: bool = True
) -> Updates:
    r"""Keep an exponential moving average of the parameters, for evaluation.

    With :math:`p` the parameter after update :math:`t`:

    .. math::
        a \leftarrow a + \frac{1 - \beta}{1 - \beta^t}\, (p - a)

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed. What changes the parameters
        after the step, such as a projection, goes before the average.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters to average, by default all among the keys, as in :func:`apply_momentum`.
    decay : hyper-parameter
        The decay :math:`\beta`: the average reaches back about :math:`1/(1-\beta)` updates.
    debias : bool
        Without, the factor is :math:`1 - \beta` from the first, and the average begins at the value that the
        parameter has when this is called.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the ``average`` of each parameter; with `debias` or a
        schedule, last, the count.

    Notes
    -----
    The parameters train as without it. :func:`~symupdates.averages` gives the averages for evaluation,
    :func:`~symupdates.swap_averages` puts them in the place of the parameters and back.

    The debiased average is that of optax's ``ema(debias=True)``, which starts at zero and divides by
    :math:`1 - \beta^t`: the first update gives the parameter itself. torch's ``get_ema_multi_avg_fn`` is the plain one,
    begun at the parameters of the first update.

    State: ``average``, of the parameter's shape and dtype. The errors and the partial are as for
    :func:`apply_momentum`.

    References
    ----------
    .. [1] B. T. Polyak and A. B. Juditsky (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
       on Control and Optimization 30(4).
    """
    flag("apply_ema: debias", debias)
    step = extend("apply_ema", updates, params, decay=decay)
    for p, p_next, (beta,) in step:
        average = step.stand_in(p, "average")
        if debias:
            # At most one but for rounding; without the bound, numba multiplies in another order in the process that
            # compiles than in those that find the code in its cache.
            weight = pt.minimum((1 - beta) / step.bias_correction(beta), 1)
            before = pt.switch(pt.eq(step.t, 1), p_next, average)
            step[average] = before + weight * (p_next - before)
        else:
            step[average] = average + (1 - beta) * (p_next - average)
    return step.finish()


@awaits("updates")
def apply_polyak_average(
    updates: UpdatesLike | None = None, params: Selection = None, begin: int = 0, every: int = 1
) -> Updates:
    r"""Keep the plain average of the parameters over all updates, or some: Polyak averaging, or SWA.

    With :math:`p` the parameter after update :math:`t`, and :math:`n = (t - b)/k` where that is whole:

    .. math:: a \leftarrow a + \frac{1}{n} (p - a)

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed. What changes the parameters
        after the step, such as a projection, goes before the average.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters to average, as in :func:`apply_ema`.
    begin : int
        The number :math:`b` of updates before those that are averaged; until then, the average is the parameter itself.
    every : int
        Average every :math:`k`-th update after. For stochastic weight averaging (SWA), the updates of an epoch or of a
        cycle of the learning rate.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the ``average`` of each parameter; last, the count.

    Raises
    ------
    ValueError
        If `begin` is not a whole number of at least 0, or `every` of at least 1.

    Notes
    -----
    The parameters train as without it; :func:`~symupdates.averages` and :func:`~symupdates.swap_averages` give the
    averages for evaluation. Once it has begun, it is torch's ``AveragedModel``, updated after every `every`-th step.

    State: ``average``, of the parameter's shape and dtype. The other errors and the partial are as for
    :func:`apply_momentum`.

    References
    ----------
    .. [1] B. T. Polyak and A. B. Juditsky (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
       on Control and Optimization 30(4).
    .. [2] P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov and A. G. Wilson (2018). Averaging weights leads to wider
       optima and better generalization. UAI. arXiv:1803.05407.
    """
    whole_number("apply_polyak_average: begin", begin, least=0)
    whole_number("apply_polyak_average: every", every)
    step = extend("apply_polyak_average", updates, params)
    counted = step.t - begin
    n = pt.maximum(counted // every, 1)
    for p, p_next, () in step:
        average = step.stand_in(p, "average")
        next_average = average + (p_next - average) / astype(n, p.dtype)
        step[average] = pt.switch(pt.eq(counted % every, 0), next_average, average)
        step[average] = pt.switch(counted <= 0, p_next, step[average])
    return step.finish()


@awaits("updates")
def apply_swag(
    updates: UpdatesLike | None = None, params: Selection = None, begin: int = 0, every: int = 1, rank: int = 20
) -> Updates:
    r"""SWAG: keep the mean of the parameters over many updates, and how they vary about it, for draws of a posterior.

    With :math:`p` the parameter after update :math:`t`, and :math:`n = (t - b)/k` where that is whole:

    .. math::
        s &\leftarrow \left(1 - \frac{1}{n}\right) \left(s + \frac{1}{n} (p - a)^2\right) \\
        a &\leftarrow a + \frac{1}{n} (p - a) \\
        D &\leftarrow \text{the last } K \text{ of } p - a

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed. What changes the parameters
        after the step, such as a projection, goes before it.
    params : iterable of shared variables, str, callable or Ellipsis, optional
        The parameters that vary, as in :func:`apply_ema`.
    begin : int
        The number :math:`b` of updates before those that count, at least 0; until then, the mean is the parameter.
    every : int
        Every :math:`k`-th update after counts: those of an epoch in the paper.
    rank : int
        The number :math:`K` of deviations that are kept, at least 2. The default is the paper's.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the ``variance``, the ``mean`` and the ``deviations`` of
        each parameter; last, the number of parameters ``collected``, and the count.

    Raises
    ------
    ValueError
        If `begin`, `every` or `rank` is not such a whole number.

    Notes
    -----
    For a rule that moves about a minimum, as :func:`~symupdates.sgd` does on minibatches at a rate that does not fall.
    The parameters train as without it. :func:`~symupdates.swag_draws` draws from the Gaussian; the mean, which is that
    of :func:`apply_polyak_average`, is what :func:`~symupdates.averages` gives. Its width is that of the steps: on a
    linear model, the variances are in proportion to the rate, where those of the posterior are not. For samples of the
    posterior, see :func:`~symupdates.sgld` and its kin.

    State: ``variance`` (:math:`s`), zero at first, and ``mean`` (:math:`a`), the parameter at first, of its shape and
    dtype; ``deviations`` (:math:`D`), zero at first, as many in a row as `rank`; ``collected`` (:math:`n`). The other
    errors and the partial are as for :func:`apply_momentum`.

    References
    ----------
    .. [1] W. J. Maddox, T. Garipov, P. Izmailov, D. Vetrov and A. G. Wilson (2019). A simple baseline for Bayesian
       uncertainty in deep learning. NeurIPS. arXiv:1902.02476.
    """
    whole_number("apply_swag: begin", begin, least=0)
    whole_number("apply_swag: every", every)
    whole_number("apply_swag: rank", rank, least=2)
    step = extend("apply_swag", updates, params)
    collected = step.count("collected")
    has_begun = step.t > begin
    is_due = has_begun & pt.eq((step.t - begin) % every, 0)
    step[collected] = collected + pt.cast(is_due, "int64")
    n = pt.maximum(step[collected], 1)
    for p, p_next, () in step:
        variance, mean = step.state(p, "variance"), step.stand_in(p, "mean")
        deviations = step.state(p, "deviations", shape=(rank, ...))
        weight, off = 1 / astype(n, p.dtype), p_next - mean
        is_last = pt.eq(np.arange(rank).reshape(rank, *[1] * p.ndim), (n - 1) % rank)
        step[variance] = pt.switch(is_due, (1 - weight) * (variance + weight * off**2), variance)
        step[mean] = pt.switch(has_begun, pt.switch(is_due, mean + weight * off, mean), p_next)
        step[deviations] = pt.switch(is_due & is_last, (1 - weight) * off, deviations)
    return step.finish()


def swag_draws(updates: UpdatesLike, draws: int = 1, seed: Seed = None) -> OrderedDict[SharedVariable, np.ndarray]:
    r"""Draw parameters from the Gaussian that :func:`~symupdates.apply_swag` has gathered.

    With the mean :math:`a`, the variances :math:`s` and :math:`K` deviations :math:`D`, of all its parameters as one
    vector, and standard normal :math:`z_1` and :math:`z_2`:

    .. math:: p = a + \sqrt{\frac{s}{2}}\, z_1 + \frac{1}{\sqrt{2 (K - 1)}}\, D^\top z_2

    Until there are as many as its `rank`, :math:`K` is the number of deviations gathered.

    Parameters
    ----------
    updates : dict
        An updates dict with :func:`~symupdates.apply_swag` in it.
    draws : int
        How many.
    seed : int or sequence of ints, optional
        For the same draws in every run.

    Returns
    -------
    OrderedDict
        For each parameter an array of its dtype, of all draws, one after the other. A parameter is set to the one
        numbered ``i`` by ``parameter.set_value(values[i])``; batch norm's averages are to be computed anew.

    Raises
    ------
    ValueError
        If the dict has no :func:`~symupdates.apply_swag`, or has gathered less than two parameters yet; if `draws` is
        not a whole number of at least 1.

    Notes
    -----
    Parameters of several groups of a :func:`~symupdates.partition`, each with one of its own, are independent.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W, x = pytensor.shared(np.zeros(3), name="W"), pytensor.tensor.dvector("x")
    >>> optimizer = symupdates.chain(symupdates.sgd(learning_rate=0.5), symupdates.apply_swag(begin=10))
    >>> updates = optimizer(((W - x) ** 2).sum() / 2, [W])
    >>> step = pytensor.function([x], [], updates=updates)
    >>> rng = np.random.default_rng(0)
    >>> for _ in range(1000):
    ...     _ = step(rng.normal(size=3))
    >>> symupdates.swag_draws(updates, draws=500, seed=0)[W].shape
    (500, 3)

    References
    ----------
    .. [1] W. J. Maddox, T. Garipov, P. Izmailov, D. Vetrov and A. G. Wilson (2019). A simple baseline for Bayesian
       uncertainty in deep learning. NeurIPS. arXiv:1902.02476.
    """
    whole_number("swag_draws: draws", draws)
    calls = {}
    for v in shared_variables("swag_draws", updates):
        if is_state(v) and v.tag.symupdates.call is not None:
            check_size(v)
            tag = v.tag.symupdates
            calls.setdefault(tag.call, {}).setdefault(tag.slot, {})[tag.parameter] = np.asarray(v.get_value())
    found = [slots for slots in calls.values() if "deviations" in slots]
    if not found:
        raise ValueError("swag_draws: these updates keep no deviations; add apply_swag(updates).")
    rng, drawn = np.random.default_rng(checked_seed("swag_draws", seed)), OrderedDict()
    for slots in found:
        if (n := slots["collected"][None]) < 2:
            raise ValueError(f"swag_draws: {n} of at least 2 updates have been gathered; train on.")
        k = min(n, len(next(iter(slots["deviations"].values()))))
        z2 = rng.normal(size=(draws, k))
        for p, deviations in slots["deviations"].items():
            mean, variance = slots["mean"][p], slots["variance"][p]
            z1 = rng.normal(size=(draws, *mean.shape))
            along = np.tensordot(z2, deviations[:k].astype("float64"), axes=1) / np.sqrt(2 * (k - 1))
            drawn[p] = (mean + np.sqrt(variance / 2) * z1 + along).astype(p.dtype)
    return drawn


def averages(updates: UpdatesLike) -> OrderedDict[SharedVariable, SharedVariable]:
    """What an updates dict keeps to evaluate the model at, by parameter: averages, or what else stands in for them.

    Parameters
    ----------
    updates : dict
        An updates dict with :func:`~symupdates.apply_ema`, :func:`~symupdates.apply_polyak_average`,
        :func:`~symupdates.apply_swag`, :func:`~symupdates.apply_schedule_free` or :func:`~symupdates.apply_lookahead`
        in it, or of a rule whose parameters are not what it has found: :func:`~symupdates.asgd`,
        :func:`~symupdates.schedule_free_adamw` and its twin, :func:`~symupdates.lbfgs`; of several stand-ins for one
        parameter, the one that was made last counts.

    Returns
    -------
    OrderedDict
        Parameters and the shared variables in their place: their averages, the slow weights of lookahead, the point
        that a search has reached. It is what ``pytensor.function(..., givens=...)`` takes, for a function that
        evaluates the model there, and :func:`~symupdates.swap_averages`.

    Raises
    ------
    ValueError
        If the dict keeps no averages, or a parameter has been resized since (see :func:`~symupdates.reset`).

    Notes
    -----
    It is the rule that says what stands in for its parameters. A checkpoint has both, and a run goes on from the
    parameters.
    """
    found = stand_ins(shared_variables("averages", updates))
    for variable in found.values():
        check_size(variable)
    if not found:
        raise ValueError("these updates keep no averages; add apply_ema(updates) or apply_polyak_average(updates).")
    return found


def swap_averages(updates: UpdatesLike) -> None:
    """Exchange the values of the parameters and of what stands in for them; once more, and all is as before.

    Parameters
    ----------
    updates : dict
        An updates dict with averages, as for :func:`~symupdates.averages`. Do not train in between.

    Raises
    ------
    ValueError
        If the dict keeps no averages.
    """
    for parameter, average in averages(updates).items():
        value = parameter.get_value()
        parameter.set_value(average.get_value())
        average.set_value(value)


# --- Hyper-parameters -------------------------------------------------------------------------------------------------


@awaits("updates")
def adjustable(updates: UpdatesLike | None = None) -> Updates:
    """Make every hyper-parameter that was given as a number a shared variable, to be changed without compiling again.

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.

    Returns
    -------
    OrderedDict
        A new dict: the keys of `updates` in their order, then the hyper-parameters, named ``adam/learning_rate`` and
        so on, whose next values are their values. They are part of checkpoints, and of :func:`~symupdates.reset`.

    Notes
    -----
    ``symupdates.named(updates)["adam/learning_rate"].set_value(0.01)`` sets one; it applies from the next update. The
    NUMBA and C backends then find the code of other values in their caches, where a number is part of the code. In a
    chain it goes last. What is no hyper-parameter, such as a length, is not changed.

    A shared variable that you give as a hyper-parameter yourself does the same, for that one; it is then no key of the
    dict. Without `updates`, it returns a partial that awaits it.
    """
    step = extend("adjustable", updates, [])
    shared = {}
    for name, tag in named_hyper_tags(updates).items():
        if isinstance(tag.value, Constant):
            x = shared[tag.value] = call_state(tag.call, tag.name, tag.value.data, "float64")
            x.name = name
            advance(x, x)
    replacements = {
        v: hyper_parameter(tag._replace(value=shared[tag.value]), v.dtype)
        for v, tag in hyper_tags(updates).items()
        if tag.value in shared
    }
    for variable, value in zip(updates, replaced(list(updates.values()), replacements), strict=True):
        if value is not updates[variable]:  # as of random generators, which are no tensors
            step[variable] = value
    for x in shared.values():
        step[x] = x
    return step.finish()
