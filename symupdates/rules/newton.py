"""Steps that solve a linear system in the loss's curvature, or the model's, without ever forming its matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, truncated_graph_inputs
from pytensor.scalar import ScalarType

from symupdates.core import astype, awaits, inner, like, prepare, require_loss, whole_number
from symupdates.core.checks import tensor_of
from symupdates.core.parameters import check_loss
from symupdates.core.ranges import POSITIVE
from symupdates.core.replace import replaced
from symupdates.typing import Hyper, Loss, Parameters, Updates

__all__ = ["gauss_newton", "levenberg_marquardt", "natural_gradient"]


@awaits("loss_or_grads", "params")
def gauss_newton(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    damping: Hyper = 1e-3,
    outputs: Variable | Sequence[Variable] | None = None,
    iterations: int = 10,
) -> Updates:
    r"""The damped Gauss-Newton method, by conjugate gradients.

    With :math:`z` the outputs of a model, :math:`J` their Jacobian with respect to all parameters and :math:`H_z` the
    Hessian of the loss with respect to them:

    .. math::
        (J^\top H_z J + \lambda I)\, \delta &= g \\
        p &\leftarrow p - \eta\, \delta

    where :math:`\delta` is what a fixed number of iterations of conjugate gradients comes to, from zero.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss, a function of the outputs; not gradients, which do not tell the curvature.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The part :math:`\eta` of the step to make, without unit; 1 is the whole.
    damping : hyper-parameter
        The damping :math:`\lambda`, in units of the curvature: the larger, the shorter the step and the nearer to the
        direction of the gradient. Too small a damping shows as a loss that grows.
    outputs : tensor variable, or list or tuple of tensor variables
        The variables :math:`z` that stand between parameters and loss: predictions, logits or residuals, those of the
        loss itself. For :math:`\frac{1}{2} \lVert r \rVert^2`, the residuals :math:`r`, and :math:`H_z = I`.
    iterations : int
        The number of iterations, each of about the cost of two gradients. As many as there are parameters solve the
        system; far fewer make a good step.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `outputs` are not tensor variables.
    ValueError
        If `iterations` is not a whole number of at least 1; if the loss does not depend on the outputs.

    Notes
    -----
    It is Newton's method without the curvature of the model itself: of the Hessian, what is left if :math:`z` were
    linear. Where the loss is convex in the outputs, as squares and cross entropies are, that is never negative, and
    exact for residuals of zero. What of the loss does not go through the outputs, such as a penalty, is in the gradient
    and not in the curvature. Products with :math:`J` are gradients of gradients; what does not change in the iterations
    is computed once.

    Damping that follows the success of the steps is that of :func:`levenberg_marquardt`.

    No state. Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] D. W. Marquardt (1963). An algorithm for least-squares estimation of nonlinear parameters. Journal of the
       Society for Industrial and Applied Mathematics 11(2).
    .. [2] N. N. Schraudolph (2002). Fast curvature matrix-vector products for second-order gradient descent. Neural
       Computation 14(7).
    .. [3] J. Martens (2010). Deep learning via Hessian-free optimization. ICML.
    """
    whole_number("gauss_newton: iterations", iterations)
    loss = require_loss("gauss_newton", loss_or_grads)
    step = prepare("gauss_newton", loss, params, learning_rate=learning_rate, damping=damping)
    if not step.params:
        return step.finish()
    zs = checked_outputs("gauss_newton", outputs, loss)
    delta = solution(step, gauss_newton_products(loss, zs, step.params), [lam for _, _, (_, lam) in step], iterations)
    for p, _, (eta, _) in step:
        step[p] = p - eta * delta[p]
    return step.finish()


@awaits("loss_or_grads", "params")
def levenberg_marquardt(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    damping: Hyper = 1e-3,
    outputs: Variable | Sequence[Variable] | None = None,
    iterations: int = 10,
) -> Updates:
    r"""The Levenberg-Marquardt method, by conjugate gradients, with Nielsen's damping: steps that never go uphill.

    With :math:`L` the loss, :math:`z` the outputs of a model, :math:`J` their Jacobian with respect to all parameters
    and :math:`H_z` the Hessian of the loss with respect to them, :math:`\mu` starting at 1 and :math:`\nu` at 2:

    .. math::
        (J^\top H_z J + \lambda \mu I)\, \delta &= g \\
        \varrho &= \frac{L(p) - L(p - \delta)}{\tfrac{1}{2}\, \delta^\top (g + \lambda \mu\, \delta)} \\
        \varrho > 0: \quad p &\leftarrow p - \delta, \quad
            \mu \leftarrow \mu \max\bigl(\tfrac{1}{3},\, 1 - (2 \varrho - 1)^3\bigr), \quad \nu \leftarrow 2 \\
        \text{else}: \quad \mu &\leftarrow \mu \nu, \quad \nu \leftarrow 2 \nu

    where :math:`\delta` is what a fixed number of iterations of conjugate gradients comes to, from zero.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss, a function of the outputs; not gradients, which do not tell the curvature.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    damping : hyper-parameter
        The damping :math:`\lambda` of the first step, in units of the curvature, that is, of loss per squared
        parameter. Small, such as 1e-6 of the largest curvature, if the start is good; up to 1 of it if not. Finite and
        above 0.
    outputs : tensor variable, or list or tuple of them
        The variables :math:`z` through which the loss depends on the parameters: residuals, predictions, logits.
    iterations : int
        The number of iterations, each of about the cost of two gradients. As many as there are parameters solve the
        system exactly.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order; of the state. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `outputs` are not tensor variables.
    ValueError
        If `iterations` is not a whole number of at least 1; if the loss does not depend on the outputs.

    Notes
    -----
    The gain ratio :math:`\varrho` compares what a step gains with what the quadratic model promised: near 1, the model
    is trusted with less damping; where the loss would rise, or not be a number, the parameters stay, and the next
    update tries a shorter step, nearer to the gradient. Each update costs one loss more than one of
    :func:`gauss_newton`. The promise in the denominator is exact for any number of iterations, whose residual is
    orthogonal to :math:`\delta`.

    Both losses are of the same minibatch, and of the same random numbers; but what a minibatch rejects, the next may
    not, so that it is best on all data.

    State: the scalars ``mu`` and ``nu``, in the largest dtype of the parameters, which stay between the machine epsilon
    squared and its inverse: at a minimum where rounding leaves nothing to gain, every step is rejected.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] D. W. Marquardt (1963). An algorithm for least-squares estimation of nonlinear parameters. Journal of the
       Society for Industrial and Applied Mathematics 11(2).
    .. [2] K. Madsen, H. B. Nielsen and O. Tingleff (2004). Methods for non-linear least squares problems, second
       edition, algorithm 3.16. Technical University of Denmark.
    .. [3] J. Martens (2010). Deep learning via Hessian-free optimization. ICML.
    """
    whole_number("levenberg_marquardt: iterations", iterations)
    loss = require_loss("levenberg_marquardt", loss_or_grads)
    step = prepare("levenberg_marquardt", loss, params, damping=POSITIVE(damping))
    if not step.params:
        return step.finish()
    zs = checked_outputs("levenberg_marquardt", outputs, loss)
    dtype, params, grads = step.dtype, step.params, [g for _, g, _ in step]
    mu, nu = (step.state(None, slot, initial, (), dtype) for slot, initial in (("mu", 1.0), ("nu", 2.0)))
    damping = step.hyper(dtype)[0] * mu
    dampings = [astype(damping, p.dtype) for p in params]
    delta = solution(step, gauss_newton_products(loss, zs, params), dampings, iterations)
    deltas = list(delta.values())

    there = {p: like(p, p - delta[p]) for p in params}
    gain = astype(loss - replaced([loss], there)[0], dtype)
    promise = (inner(deltas, grads) + damping * inner(deltas, deltas)) / 2
    ratio = gain / promise
    gains = ratio > 0
    for p in params:
        step[p] = pt.switch(gains, there[p], p)
    least = np.asarray(np.finfo(dtype).eps ** 2, dtype)
    third = np.asarray(1 / 3, dtype)
    step[mu] = pt.clip(mu * pt.switch(gains, pt.maximum(third, 1 - (2 * ratio - 1) ** 3), nu), least, 1 / least)
    step[nu] = pt.switch(gains, 2, pt.minimum(2 * nu, 1 / least))
    return step.finish()


@awaits("loss_or_grads", "params")
def natural_gradient(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    damping: Hyper = 1e-3,
    divergence: Variable | None = None,
    iterations: int = 10,
) -> Updates:
    r"""Natural gradient descent, by conjugate gradients: steepest descent where distance is between distributions.

    With :math:`F` the Fisher information of the model's distribution, the Hessian of its divergence from where it is:

    .. math::
        F &= \nabla_p^2\, \mathrm{KL}(q_{\mathrm{old}} \,\Vert\, q_p) \quad \text{at } q_p = q_{\mathrm{old}} \\
        (F + \lambda I)\, \delta &= g \\
        p &\leftarrow p - \eta\, \delta

    where :math:`\delta` is what a fixed number of iterations of conjugate gradients comes to, from zero.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss; not gradients, as for all rules that know of curvature.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`; without unit if the loss is a negative log-likelihood, per the same number of
        examples as the divergence.
    damping : hyper-parameter
        The damping :math:`\lambda`, in units of the Fisher information: bounds the step in directions that do not
        change the distribution.
    divergence : scalar tensor variable
        An expression of the parameters whose Hessian is :math:`F`: the divergence of the distribution from what it is
        now, the latter held by ``pytensor.gradient.disconnected_grad``. For logits ``z`` of classes, with ``logq =
        log_softmax(z)`` and ``old = disconnected_grad(logq)``: ``(exp(old) * (old - logq)).sum(-1).mean()``.
    iterations : int
        The number of iterations, each of about the cost of two gradients.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `divergence` is not a tensor variable.
    ValueError
        If `iterations` is not a whole number of at least 1; for a `divergence` as for a loss.

    Notes
    -----
    To first order, the step does not depend on how the model is parametrised. The Fisher information is the true one,
    an expectation over the model's distribution, and not the empirical one of the data's gradients. For distributions
    of an exponential family, with their natural parameters for outputs, it is the same as :func:`gauss_newton` on the
    negative log-likelihood [2]_. As trust-region policy optimisation has it [3]_, the divergence takes any
    distribution.

    No state. Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] S. Amari (1998). Natural gradient works efficiently in learning. Neural Computation 10(2).
    .. [2] J. Martens (2020). New insights and perspectives on the natural gradient method. JMLR 21.
    .. [3] J. Schulman, S. Levine, P. Abbeel, M. Jordan and P. Moritz (2015). Trust region policy optimization. ICML.
    """
    whole_number("natural_gradient: iterations", iterations)
    loss = require_loss("natural_gradient", loss_or_grads)
    if divergence is None:
        raise TypeError(
            "natural_gradient: divergence must be given, that from the distribution as it is; map_estimate of "
            "symupdates.pymc has those of many likelihoods."
        )
    check_loss("natural_gradient: divergence", divergence)
    step = prepare("natural_gradient", loss, params, learning_rate=learning_rate, damping=damping)
    if not step.params:
        return step.finish()
    divergence_p = gradients(divergence, step.params)

    def products(v):
        return gradients(inner(divergence_p, v), step.params, constant=v)

    delta = solution(step, products, [lam for _, _, (_, lam) in step], iterations)
    for p, _, (eta, _) in step:
        step[p] = p - eta * delta[p]
    return step.finish()


def checked_outputs(rule, outputs, loss):
    """The outputs as a list, after refusing what the loss is not a function of."""
    zs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if not zs or not all(isinstance(z, Variable) for z in zs):
        raise TypeError(
            f"{rule}: outputs must be given, as tensor variables: those between parameters and loss; not {outputs!r}. "
            'map_estimate of symupdates.pymc finds them by name, as in outputs="mu".'
        )
    of_loss = set(ancestors([loss]))
    for i, z in enumerate(zs):
        tensor_of(f"{rule}: outputs[{i}]", z, "float")
        if z not in of_loss:
            raise ValueError(
                f"{rule}: the loss does not depend on outputs[{i}], {z}; give the variables it is made of."
            )
    return zs


def gradients(cost, wrt, constant=()):
    return pytensor.grad(
        cost, wrt, consider_constant=list(constant), disconnected_inputs="ignore", return_disconnected="zero"
    )


def pulled(outputs, vectors, params):
    """The products of the transposed Jacobian of the outputs with vectors: one for each parameter."""
    known = dict(zip(outputs, vectors, strict=True))
    return pytensor.grad(None, params, known_grads=known, disconnected_inputs="ignore", return_disconnected="zero")


def gauss_newton_products(loss, zs, params):
    """A function of vectors `v` that gives their products with the Gauss-Newton matrix, one for each parameter."""
    loss_z = pytensor.grad(loss, zs, disconnected_inputs="raise")

    def products(v):
        w = [pt.zeros_like(z) for z in zs]  # of any value: the products are linear in it
        Jv = gradients(inner(pulled(zs, w, params), v), w)
        H_Jv = gradients(inner(loss_z, Jv), zs, constant=Jv)
        return pulled(zs, H_Jv, params)

    return products


def solution(step, products, damping, iterations):
    """The solution δ of ``(C + damping) δ = g``, by parameter, where ``products(v)`` are those of C with v."""
    v = [p.type() for p in step.params]
    terms = zip(step.params, products(v), damping, v, strict=True)
    damped = [astype(Cv, p.dtype) + lam * v_p for p, Cv, lam, v_p in terms]
    deltas = conjugate_gradients(damped, v, [g for _, g, _ in step], iterations)
    return dict(zip(step.params, deltas, strict=True))


def conjugate_gradients(products, v, b, iterations):
    """Nocedal and Wright (2006), Numerical optimization, algorithm 5.2, for products that are expressions of `v`.

    What does not depend on `v` is computed before the loop. Without a positive curvature, or at the solution, nothing
    moves.
    """
    n = len(b)
    known = [x for x in truncated_graph_inputs(products, v) if x not in v and not isinstance(x, Constant)]
    scalars = {x: pt.tensor_from_scalar(x) for x in known if isinstance(x.type, ScalarType)}  # no loop takes these

    def iteration(*values):
        x, r, d = values[:n], values[n : 2 * n], values[2 * n : 3 * n]
        there = dict(zip([*v, *known], [*map(like, v, d), *values[3 * n :]], strict=True))
        there |= {x: pt.scalar_from_tensor(there[x]) for x in scalars}
        Ad = replaced(products, there)
        rr, dAd = inner(r, r), inner(d, Ad)
        alpha = pt.switch(dAd <= 0, 0, rr / dAd)
        x = [x_p + astype(alpha, x_p.dtype) * d_p for x_p, d_p in zip(x, d, strict=True)]
        new_r = [r_p - astype(alpha, r_p.dtype) * Ad_p for r_p, Ad_p in zip(r, Ad, strict=True)]
        beta = pt.switch(rr <= 0, 0, inner(new_r, new_r) / rr)
        d = [r_p + astype(beta, r_p.dtype) * d_p for r_p, d_p in zip(new_r, d, strict=True)]
        return [like(old, new) for old, new in zip(values, [*x, *new_r, *d], strict=False)]

    start = [*(pt.zeros_like(x) for x in b), *b, *b]
    results = pytensor.scan(
        iteration,
        outputs_info=start,
        non_sequences=[scalars.get(x, x) for x in known],
        n_steps=iterations,
        strict=True,
        return_list=True,
        return_updates=False,
    )
    return [x[-1] for x in results[:n]]
