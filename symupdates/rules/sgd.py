"""Stochastic gradient descent and its momenta."""

from symupdates.core import awaits, prepare

__all__ = ["momentum", "nesterov_momentum", "sgd"]


@awaits("loss_or_grads", "params")
def sgd(loss_or_grads=None, params=None, learning_rate=1e-3):
    r"""Stochastic gradient descent.

    .. math:: p \leftarrow p - \eta\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient. Lasagne asks for it; the default
        is PyMC's.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Notes
    -----
    A *hyper-parameter*, here and in every rule, is a number, a scalar variable (shared, to be changed while training;
    of any float or int dtype), or a schedule: a callable that takes the number of updates made so far, an int64
    scalar variable, and returns the value.

    Called without `loss_or_grads` and `params`, every rule returns a :func:`functools.partial` of itself that awaits
    them. The errors are those of :func:`~symupdates.get_or_compute_grads`, a ValueError for a hyper-parameter that is
    not a scalar, and a TypeError for one that is not a real number.

    References
    ----------
    .. [1] H. Robbins and S. Monro (1951). A stochastic approximation method. Annals of Mathematical Statistics 22(3).
    """
    step = prepare("sgd", loss_or_grads, params, learning_rate=learning_rate)
    for p, g, (eta,) in step:
        step[p] = p - eta * g
    return step.finish()


@awaits("loss_or_grads", "params")
def momentum(loss_or_grads=None, params=None, learning_rate=1e-3, momentum=0.9):
    r"""Gradient descent with classical momentum (the heavy ball).

    .. math::
        v &\leftarrow \mu v - \eta\, g \\
        p &\leftarrow p + v

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`. It enters the velocity, so a change of it takes effect gradually, over about
        :math:`1/(1-\mu)` steps (keras does so too; torch and optax multiply the velocity by it, which is the same
        only while it is constant). Lasagne asks for it; the default is PyMC's.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept. The default 0.9 makes a steady step ten times as long.

    Returns
    -------
    OrderedDict
        The next value of each parameter, then of each ``velocity``, in the order of the parameters.

    Notes
    -----
    State: ``velocity``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and errors are as
    for :func:`sgd`.

    References
    ----------
    .. [1] B. T. Polyak (1964). Some methods of speeding up the convergence of iteration methods. USSR Computational
       Mathematics and Mathematical Physics 4(5).
    .. [2] I. Sutskever, J. Martens, G. Dahl and G. Hinton (2013). On the importance of initialization and momentum in
       deep learning. ICML.
    """
    step = prepare("momentum", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum)
    for p, g, (eta, mu) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v - eta * g
        step[p] = p + step[v]
    return step.finish(params_first=True)


@awaits("loss_or_grads", "params")
def nesterov_momentum(loss_or_grads=None, params=None, learning_rate=1e-3, momentum=0.9):
    r"""Gradient descent with Nesterov momentum.

    .. math::
        v &\leftarrow \mu v - \eta\, g \\
        p &\leftarrow p + \mu v - \eta\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`; it enters the velocity. Lasagne asks for it; the default is PyMC's.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept.

    Returns
    -------
    OrderedDict
        The next value of each parameter, then of each ``velocity``, in the order of the parameters.

    Notes
    -----
    Nesterov's method takes the gradient at the point where the velocity leads to. Here the parameters *are* that point:
    they stand for :math:`\theta + \mu v` of the paper, so that the gradient is taken where they are [2]_.

    State: ``velocity``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and errors are as
    for :func:`sgd`.

    References
    ----------
    .. [1] Y. Nesterov (1983). A method of solving a convex programming problem with convergence rate O(1/k²). Soviet
       Mathematics Doklady 27(2).
    .. [2] Y. Bengio, N. Boulanger-Lewandowski and R. Pascanu (2013). Advances in optimizing recurrent networks. ICASSP.
    """
    step = prepare("nesterov_momentum", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum)
    for p, g, (eta, mu) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v - eta * g
        step[p] = p + mu * step[v] - eta * g
    return step.finish(params_first=True)
