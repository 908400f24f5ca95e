"""Transforms of an updates dict: dict → dict, the input never changed."""

from collections import OrderedDict

import numpy as np
import pytensor.tensor as pt

from symupdates.core import astype, awaits, extend, is_state

__all__ = [
    "apply_ema",
    "apply_momentum",
    "apply_nesterov_momentum",
    "apply_polyak_average",
    "apply_weight_decay",
    "averages",
    "swap_averages",
]


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


@awaits("updates")
def apply_ema(updates=None, params=None, decay=0.99, debias=True):
    r"""Keep an exponential moving average of the parameters, for evaluation.

    With :math:`p` the parameter after update :math:`t`:

    .. math::
        a \leftarrow a + \frac{1 - \beta}{1 - \beta^t}\, (p - a)

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed. What changes the parameters
        after the step, such as a projection, goes before the average.
    params : iterable of shared variables, or callable, optional
        The parameters to average, or a function that says of a parameter whether to. By default all parameters among
        the keys, as in :func:`apply_momentum`.
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
    step = extend("apply_ema", updates, params, decay=decay)
    for p, p_next, (beta,) in step:
        if debias:
            average = step.state(p, "average")
            step[average] = average + (1 - beta) / step.bias_correction(beta) * (p_next - average)
        else:
            average = step.state(p, "average", initial=np.array(p.get_value()))
            step[average] = average + (1 - beta) * (p_next - average)
    return step.finish()


@awaits("updates")
def apply_polyak_average(updates=None, params=None, begin=0, every=1):
    r"""Keep the plain average of the parameters over all updates, or some: Polyak averaging, or SWA.

    With :math:`p` the parameter after update :math:`t`, and :math:`n = (t - b)/k` where that is whole:

    .. math:: a \leftarrow a + \frac{1}{n} (p - a)

    Parameters
    ----------
    updates : dict
        Shared variables and their next values, such as a rule returns. It is not changed. What changes the parameters
        after the step, such as a projection, goes before the average.
    params : iterable of shared variables, or callable, optional
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
    averages for evaluation. It is torch's ``AveragedModel``, updated after every `every`-th step.

    State: ``average``, of the parameter's shape and dtype. The other errors and the partial are as for
    :func:`apply_momentum`.

    References
    ----------
    .. [1] B. T. Polyak and A. B. Juditsky (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
       on Control and Optimization 30(4).
    .. [2] P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov and A. G. Wilson (2018). Averaging weights leads to wider
       optima and better generalization. UAI. arXiv:1803.05407.
    """
    for name, value, least in (("begin", begin, 0), ("every", every, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"apply_polyak_average: {name} must be a whole number of at least {least}, not {value!r}.")
    step = extend("apply_polyak_average", updates, params)
    counted = step.t - begin
    n = pt.maximum(counted // every, 1)
    for p, p_next, () in step:
        average = step.state(p, "average", initial=np.array(p.get_value()))
        next_average = average + (p_next - average) / astype(n, p.dtype)
        step[average] = pt.switch(pt.eq(counted % every, 0), next_average, average)
        step[average] = pt.switch(counted <= 0, p_next, step[average])
    return step.finish()


def averages(updates):
    """The averages that an updates dict keeps, by parameter.

    Parameters
    ----------
    updates : dict
        An updates dict with :func:`~symupdates.apply_ema` or :func:`~symupdates.apply_polyak_average` in it; of several
        for one parameter, the last counts.

    Returns
    -------
    OrderedDict
        Parameters and the shared variables of their averages: what ``pytensor.function(..., givens=...)`` takes, for a
        function that evaluates the model at the averages, and :func:`~symupdates.swap_averages`.

    Raises
    ------
    ValueError
        If the dict keeps no averages.
    """
    found = OrderedDict()
    for variable in updates:
        if is_state(variable) and variable.tag.symupdates.slot == "average":
            found[variable.tag.symupdates.parameter] = variable
    if not found:
        raise ValueError("these updates keep no averages; add apply_ema(updates) or apply_polyak_average(updates).")
    return found


def swap_averages(updates):
    """Exchange the values of the parameters and of their averages; once more, and all is as before.

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
