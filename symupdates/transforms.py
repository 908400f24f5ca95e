"""Transforms of an updates dict: dict → dict, the input never changed."""

from symupdates.core import awaits, extend

__all__ = ["apply_momentum", "apply_nesterov_momentum", "apply_weight_decay"]


@awaits("updates")
def apply_momentum(updates=None, params=None, momentum=0.9):
    r"""Give the steps of any rule momentum.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`:

    .. math::
        v &\leftarrow \mu v + u \\
        p &\leftarrow p + v

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, optional
        The variables to accelerate. By default the parameters among the keys, never optimizer state: Lasagne and PyMC
        then accelerate the accumulators and counters of adaptive rules too, which ruins them. Parameters are told from
        state by the tags of ours; if you have added float variables of your own, such as running statistics, name the
        parameters.
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
        If a parameter is not among the updates.

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
def apply_nesterov_momentum(updates=None, params=None, momentum=0.9):
    r"""Give the steps of any rule Nesterov momentum.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`:

    .. math::
        v &\leftarrow \mu v + u \\
        p &\leftarrow p + \mu v + u

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, optional
        The variables to accelerate; by default the parameters among the keys, as in :func:`apply_momentum`.
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
def apply_weight_decay(updates=None, params=None, weight_decay=0.01, learning_rate=1.0):
    r"""Let parameters decay beside the step of any rule: decoupled weight decay.

    With :math:`u` the step that `updates` makes, from :math:`p` to :math:`p + u`:

    .. math:: p \leftarrow p + u - \eta \lambda\, p

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed.
    params : iterable of shared variables, or callable, optional
        The parameters that decay: a list of them, or a function that says of a parameter whether it does, such as
        ``lambda p: p.ndim > 1``. By default all parameters among the keys, as in :func:`apply_momentum`.
    weight_decay : hyper-parameter
        The strength :math:`\lambda`.
    learning_rate : hyper-parameter
        A factor :math:`\eta`. Give the rule's own rate, number, variable or schedule, for the decay to follow it, as
        in :func:`~symupdates.adamw`; with the default, 1, a parameter falls by the fraction `weight_decay` a step.

    Returns
    -------
    OrderedDict
        A new dict of the keys of `updates`, in their order; with a schedule, and its count.

    Notes
    -----
    The decay takes the old value of the parameter, as in :func:`~symupdates.adamw`. It is no part of the loss; see
    :func:`symupdates.gradients.add_l2` for the penalty that is. The errors and the partial are as for
    :func:`apply_momentum`. No state.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W, b = (pytensor.shared(np.ones(shape), name=name) for name, shape in (("W", (2, 2)), ("b", 2)))
    >>> spare_biases = symupdates.apply_weight_decay(params=lambda p: p.ndim > 1, weight_decay=0.1)
    >>> optimizer = symupdates.chain(symupdates.adam(learning_rate=0.0), spare_biases)
    >>> step = pytensor.function([], [], updates=optimizer((W * b).sum(), [W, b]))
    >>> _ = step()
    >>> W.get_value()[0, 0].round(6).item(), b.get_value()[0].item()
    (0.9, 1.0)

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter (2019). Decoupled weight decay regularization. ICLR. arXiv:1711.05101.
    """
    step = extend("apply_weight_decay", updates, params, weight_decay=weight_decay, learning_rate=learning_rate)
    for p, p_next, (decay, eta) in step:
        step[p] = p_next - eta * decay * p
    return step.finish()
