"""Transforms of an updates dict: dict → dict, the input never changed."""

from symupdates.core import awaits, extend

__all__ = ["apply_momentum", "apply_nesterov_momentum"]


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
