"""Rules that take a parameter for what it is: a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import maximum, minimum, sign, sqrt, switch
from pytensor.tensor.linalg import eigh, qr, solve_triangular

from symupdates.compose import merge
from symupdates.core import (
    astype,
    awaits,
    called,
    check_optimizer,
    extend,
    flag,
    norm,
    prepare,
    renewed,
    rescaled,
    total,
    whole_number,
)
from symupdates.core.checks import listed
from symupdates.core.hyper import scalar
from symupdates.core.ranges import NON_NEGATIVE, PART, Range
from symupdates.core.types import count, positive
from symupdates.random import normals
from symupdates.rules.adam import adamw
from symupdates.typing import Hyper, LossOrGrads, OptimizerLike, Parameters, Seed, Updates

__all__ = ["adafactor", "adamuon", "muon", "normuon", "psgd_kron", "shampoo", "soap"]


def mean(x, axis):
    return total(x, axis=axis) / count((x.shape[axis],), x.dtype)


def rms(x):
    return norm(x).value / sqrt(count(tuple(x.shape), x.dtype))


@awaits("loss_or_grads", "params")
def adafactor(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    beta2_decay: Hyper = -0.8,
    epsilon1: Hyper = 1e-30,
    epsilon2: Hyper = 1e-3,
    clip_threshold: Hyper = 1.0,
    relative_step: bool = True,
    min_dim_size_to_factor: int = 1,
) -> Updates:
    r"""Adafactor: the squared gradients of a matrix are averaged over its rows and columns, and only that is kept.

    .. math::
        \beta_t &= 1 - t^{-0.8} \\
        r &\leftarrow \beta_t r + (1 - \beta_t) \operatorname{mean}_j(g_{ij}^2 + \epsilon_1) \\
        c &\leftarrow \beta_t c + (1 - \beta_t) \operatorname{mean}_i(g_{ij}^2 + \epsilon_1) \\
        u_{ij} &= g_{ij} \bigg/ \sqrt{\frac{r_i\, c_j}{\operatorname{mean}(r)}} \\
        p &\leftarrow p - \min(\eta, 1/\sqrt t)\, \max(\epsilon_2, \operatorname{rms}(p))\,
            \frac{u}{\max(1, \operatorname{rms}(u) / d)}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The largest step :math:`\eta`, as a fraction of the root mean square of the parameter. The default is the
        paper's.
    beta2_decay : hyper-parameter
        The exponent of :math:`t` in the decay of the averages: the longer training lasts, the further they reach back.
        The default, -0.8, is the paper's; optax gives it as 0.8. Finite and at most 0.
    epsilon1 : hyper-parameter
        Keeps a row or column without gradients at rest, in units of the squared gradient.
    epsilon2 : hyper-parameter
        The least root mean square that a parameter is taken to have: it lets one move that begins at zero.
    clip_threshold : hyper-parameter
        The largest root mean square :math:`d` of :math:`u`, which is about 1 while gradients do not grow. Above 0, and
        infinite for none.
    relative_step : bool
        Let the rate fall as :math:`1/\sqrt t` once that is less than `learning_rate`. Otherwise it is `learning_rate`,
        for schedules.
    min_dim_size_to_factor : int
        Factor only parameters whose last two axes are both at least this long: for the small ones there is little to
        save. The average of all others is kept as it is. optax has 128.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next values of its ``r`` and ``c``, or of its ``v``, then its own; last, the
        count ``t``.

    Raises
    ------
    ValueError
        If `min_dim_size_to_factor` is not a whole number of at least 1.

    Notes
    -----
    For models whose state must not take as much memory as they do: that of a matrix takes one row and one column. The
    average is that of the squares if they are a row times a column; vectors and scalars keep it as :math:`v` of their
    shape, and :math:`u = g/\sqrt v`. Of more than two axes, the last two are factored. There is no momentum; for it,
    add :func:`~symupdates.apply_momentum`, which takes as much memory as the parameters.

    torch has no :math:`\epsilon_1` in the averages but bounds the roots by its own from below: with zero for both, it
    is the same. keras is the same, but its ``relative_step=False`` has no effect, and for each matrix it holds the
    product of :math:`r` and :math:`c` as state, too. optax is ``relative_step=False`` and
    ``min_dim_size_to_factor=128`` here, and factors the two longest axes. In float64, they agree with this to seven
    digits only: optax computes :math:`\beta_t` in float32, and keras means and norms. Their weight decay is not here:
    see :func:`~symupdates.apply_weight_decay`.

    State: ``r`` and ``c``, zero at first, of the parameter's shape without its last axis and without the one before it;
    or ``v``, of its shape; of its dtype. ``t``, an int64 scalar, one for all parameters, the number of updates made.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] N. Shazeer and M. Stern (2018). Adafactor: adaptive learning rates with sublinear memory cost. ICML.
       arXiv:1804.04235.
    """
    flag("adafactor: relative_step", relative_step)
    whole_number("adafactor: min_dim_size_to_factor", min_dim_size_to_factor)
    step = prepare(
        "adafactor",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta2_decay=Range(high=0, has_high=True)(beta2_decay),
        epsilon1=epsilon1,
        epsilon2=epsilon2,
        clip_threshold=Range(low=0, has_high=True)(clip_threshold),
    )
    for p, g, (eta, exponent, eps1, eps2, d) in step:
        t = astype(step.t, p.dtype)
        rest = t**exponent  # 1 - β
        if p.ndim > 1 and min(step.shape(p)[-2:]) >= min_dim_size_to_factor:
            r = step.state(p, "r", shape=of_rows)
            c = step.state(p, "c", shape=of_columns)
            step[r] = (1 - rest) * r + rest * mean(g**2 + eps1, axis=-1)
            step[c] = (1 - rest) * c + rest * mean(g**2 + eps1, axis=-2)
            # Factor by factor: their product can be too small for float32.
            row, column = sqrt(step[r])[..., :, None], sqrt(step[c])[..., None, :]
            u = g / row / column * sqrt(mean(step[r], axis=-1))[..., None, None]
        else:
            v = step.state(p, "v")
            step[v] = (1 - rest) * v + rest * (g**2 + eps1)
            u = g / sqrt(step[v])
        rho = minimum(eta, 1 / sqrt(t)) if relative_step else eta
        step[p] = p - rho * maximum(eps2, rms(p)) * u / maximum(1, rms(u) / d)
    return step.finish()


# Of each iteration, the last for all that follow: a, b and c.
COEFFICIENTS = {
    "jordan": [(3.4445, -4.7750, 2.0315)],
    # Amsel et al. (2025), algorithm 1: the best for singular values from 0.001 on, those before the last with a margin.
    "polar_express": [
        *(
            (a / 1.01, b / 1.01**3, c / 1.01**5)
            for a, b, c in [
                (8.28721201814563, -23.595886519098837, 17.300387312530933),
                (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
                (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
                (3.3184196573706015, -2.488488024314874, 0.51004894012372),
                (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
                (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
                (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
            ]
        ),
        (1.875, -1.25, 0.375),
    ],
}


def of_each_step(rule, coefficients, steps):
    """The coefficients of each iteration, checked."""
    whole_number(f"{rule}: ns_steps", steps)
    if isinstance(coefficients, str):
        if coefficients not in COEFFICIENTS:
            raise ValueError(
                f"{rule}: coefficients must be {' or '.join(map(repr, COEFFICIENTS))}, or triples of numbers, not "
                f"{coefficients!r}."
            )
        triples = COEFFICIENTS[coefficients]
    else:
        given = listed(f"{rule}: coefficients", coefficients, "triples of numbers", ordered=True)
        try:
            triples = np.asarray(given, dtype="float64")
        except (TypeError, ValueError):
            triples = np.zeros(())
        if triples.ndim != 2 or triples.shape[1] != 3 or not np.isfinite(triples).all():
            raise ValueError(f"{rule}: coefficients must be triples of finite numbers, not {coefficients!r}.")
    return [triples[min(i, len(triples) - 1)] for i in range(steps)]


def orthogonalized(x, coefficients):
    """An approximation of the orthogonal matrix next to `x`, whose singular values are at most one.

    Each step of the iteration of Newton and Schulz takes a singular value s to as + bs³ + cs⁵.
    """
    for triple in coefficients:
        a, b, c = (np.asarray(number, dtype=x.dtype) for number in triple)
        A = x @ x.T
        x = a * x + (b * A + c * (A @ A)) @ x
    return astype(x, x.dtype)  # else the last product would be part of the step, and that not in place


def nearly_orthogonal(x, shape, coefficients):
    """The same of a matrix that may have more rows than columns."""
    return orthogonalized(x.T, coefficients).T if shape[0] > shape[1] else orthogonalized(x, coefficients)


@awaits("loss_or_grads", "params")
def muon(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.02,
    momentum: Hyper = 0.95,
    weight_decay: Hyper = 0.0,
    epsilon: Hyper = 1e-7,
    nesterov: bool = True,
    ns_steps: int = 5,
    consistent_rms: float | None = None,
    others: OptimizerLike = adamw,
    coefficients: str | Sequence[tuple[float, float, float]] = "jordan",
    kernels: bool = False,
) -> Updates:
    r"""Muon: the momentum of each matrix, with its singular values brought to about one, is the step.

    .. math::
        m &\leftarrow \mu m + (1 - \mu)\, g \\
        u &= \mu m + (1 - \mu)\, g \\
        p &\leftarrow p - \eta \left( \sqrt{\max(1, n_{\mathrm{columns}} / n_{\mathrm{rows}})}\,
            \operatorname{NS}\!\left( \frac{u}{\lVert u \rVert + \epsilon} \right) + \lambda\, p \right) \\
        \operatorname{NS}(x) &: \text{several times } x \leftarrow a x + b\, x x^\top x + c\, x x^\top x x^\top x

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`: about the norm of the step as an operator, that is, by how much it changes the
        outputs of a layer per unit of its inputs. The default is the author's.
    momentum : hyper-parameter
        The decay :math:`\mu` of the average.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which is multiplied by the rate. torch has 0.1, keras 0.004.
    epsilon : hyper-parameter
        Keeps a matrix without gradients at rest. In units of the gradient.
    nesterov : bool
        Step ahead along the momentum, as above; otherwise, :math:`u = m`.
    ns_steps : int
        The number of iterations. Five, of the default coefficients, make the smallest singular values 485 times as
        large. Each is three products of matrices, one of them of the shorter side only.
    consistent_rms : float, optional
        Instead of the root of the shape's ratio, the factor ``consistent_rms * sqrt(max(rows, columns))``: elements
        then move by about this number times the rate, whatever the shape. With 0.2, rates and decays found for
        :func:`adamw` suit. Finite and at least 0.
    others : callable
        The rule of the parameters that are not matrices: :func:`adamw` with its defaults, or an optimizer of yours.
    coefficients : str or list of triples
        The :math:`a, b, c` of the iterations. ``"jordan"``: the author's 3.4445, -4.7750 and 2.0315 in each, which are
        steep at zero; what comes out is not orthogonal, its singular values lie between about 0.7 and 1.2.
        ``"polar_express"``: others in each, by which five iterations come nearer, and eight to an orthogonal matrix
        [3]_. Or a list of your own, of whose triples the last is for all further iterations.
    kernels : bool
        Take parameters of more than two axes, (units, channels, ...) as of convolutions, for matrices of their units
        and of all else.

    Returns
    -------
    OrderedDict
        For each matrix in order: the next value of its ``m``, then its own; then what `others` returns for the rest.

    Raises
    ------
    TypeError
        If `others` is not callable, or `kernels` not a bool.
    ValueError
        If `ns_steps` is not a whole number of at least 1, or `coefficients` are none of these.

    Notes
    -----
    For the hidden layers of neural networks. Matrices that are looked up in, such as embeddings, and those of the last
    layer belong to another rule, too; give them one by :func:`~symupdates.partition`.

    The arithmetic is that of the parameter's dtype. The shape's factor is for matrices that are multiplied from the
    left, ``x @ W``, as in optax; torch has theirs transposed, and so divides rows by columns. torch computes the
    iterations in bfloat16, with errors of about 1 %, and is else the same for the transposed matrices, to the place of
    :math:`\epsilon`. keras is the same with ``consistent_rms=0.2``, where :math:`\epsilon` does not matter: its
    momentum is a sum, of 20 times the length. So is optax with ``nesterov=False``; else it corrects both parts of
    :math:`u` for their start at zero, which makes another direction of the first steps. In float64, keras agrees with
    this to seven digits only: it takes norms in float32.

    State: ``m``, zero at first, of the matrix's shape and dtype. That of `others` is as they name it.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein (2024). Muon: an optimizer for
       hidden layers in neural networks. https://kellerjordan.github.io/posts/muon/
    .. [2] J. Liu et al. (2025). Muon is scalable for LLM training. arXiv:2502.16982.
    .. [3] N. Amsel, D. Persson, C. Musco and R. M. Gower (2025). The polar express: optimal matrix sign methods and
       their application to the Muon algorithm. arXiv:2505.16932.
    """
    flag("muon: nesterov", nesterov)
    flag("muon: kernels", kernels)
    coefficients = of_each_step("muon", coefficients, ns_steps)
    check_optimizer("muon: others", others)
    if consistent_rms is not None:
        consistent_rms = scalar("muon: consistent_rms", consistent_rms, NON_NEGATIVE)
    step = prepare(
        "muon",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        epsilon=epsilon,
    )
    rest = []
    for p, g, (eta, mu, decay, eps) in step:
        shape = step.shape(p)
        if len(shape) != 2 and not (kernels and len(shape) > 2):
            rest.append((p, g))
            continue
        m = step.state(p, "m")
        step[m] = mu * m + (1 - mu) * g
        u = mu * step[m] + (1 - mu) * g if nesterov else step[m]
        x = rescaled(u, norm(u) + eps)
        if len(shape) == 2:
            x = nearly_orthogonal(x, shape, coefficients)
            rows, columns = (count((n,), p.dtype) for n in p.shape)
        else:
            sizes = prod(shape[1:]), shape[0]
            x = nearly_orthogonal(x.reshape(sizes[::-1]).T, sizes, coefficients).T.reshape(shape)
            rows, columns = (count((n,), p.dtype) for n in sizes)
        if consistent_rms is None:
            scale = sqrt(maximum(1, columns / rows))
        else:
            scale = astype(consistent_rms, p.dtype) * sqrt(maximum(rows, columns))
        step[p] = p - eta * (scale * x + decay * p)
    return with_others(step, "muon: others", others, rest)


@awaits("loss_or_grads", "params")
def normuon(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    beta1: Hyper = 0.95,
    beta2: Hyper = 0.95,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    ns_steps: int = 5,
    others: OptimizerLike = adamw,
    coefficients: str | Sequence[tuple[float, float, float]] = "jordan",
) -> Updates:
    r"""NorMuon: the step of :func:`muon`, divided for each neuron by a moving root mean square of what it was.

    For a matrix of :math:`r` rows and :math:`c` columns, with NS as for :func:`muon` and a mean over the weights of
    each neuron, its column:

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        o &= \operatorname{NS}(m / \lVert m \rVert) \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) \operatorname{mean}_{\mathrm{rows}}(o^2) \\
        u &= \frac{o}{\sqrt{v} + \epsilon} \\
        p &\leftarrow p - \eta \left( 0.2\, \sqrt{r\, c}\, \frac{u}{\lVert u \rVert} + \lambda\, p \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the root mean square of a step is 0.2 times that,
        whatever the shape, so that rates and decays found for :func:`adamw` suit.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are the paper's.
    epsilon : hyper-parameter
        Keeps a neuron without gradients at rest. Without unit: the squares are of a matrix of norm about one.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which is multiplied by the rate.
    ns_steps : int
        The number of iterations, as in :func:`muon`.
    others : callable
        The rule of the parameters that are not matrices: :func:`adamw` with its defaults, or an optimizer of yours.
    coefficients : str or list of triples
        Those of the iterations, as in :func:`muon`.

    Returns
    -------
    OrderedDict
        For each matrix in order: the next value of its ``m``, of its ``v``, then its own; then what `others` returns
        for the rest.

    Raises
    ------
    TypeError
        If `others` is not callable.
    ValueError
        If `ns_steps` is not a whole number of at least 1, or `coefficients` are none of these.

    Notes
    -----
    What comes out of the iterations has singular values near one, but neurons whose steps differ in length; this evens
    them out, for one number more of state for each. The neurons are the columns, as in ``x @ W``; in the paper they are
    rows. The authors' program also steps ahead along the momentum, as :func:`muon` does by default, and has the factor
    of its shapes.

    For the matrices that suit :func:`muon`, which see. State: ``m``, zero at first, of the parameter's shape; ``v``,
    zero at first, a vector of the length of its rows; both of its dtype. Hyper-parameters, partials and the other
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Z. Li, L. Liu, C. Liang, W. Chen and T. Zhao (2025). NorMuon: making Muon more efficient and scalable.
       arXiv:2510.05491.
    """
    coefficients = of_each_step("normuon", coefficients, ns_steps)
    check_optimizer("normuon: others", others)
    step = prepare(
        "normuon",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    rest = []
    for p, g, (eta, beta1, beta2, eps, decay) in step:
        shape = step.shape(p)
        if len(shape) != 2:
            rest.append((p, g))
            continue
        m = step.state(p, "m")
        v = step.state(p, "v", shape=of_columns)
        step[m] = beta1 * m + (1 - beta1) * g
        o = nearly_orthogonal(rescaled(step[m], norm(step[m]).or_one()), shape, coefficients)
        step[v] = beta2 * v + (1 - beta2) * mean(o**2, axis=0)
        u = o / (sqrt(step[v]) + eps)
        step[p] = p - eta * (of_root_mean_square(u, 0.2) + decay * p)
    return with_others(step, "normuon: others", others, rest)


@awaits("loss_or_grads", "params")
def adamuon(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    beta: Hyper = 0.95,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    ns_steps: int = 5,
    others: OptimizerLike = adamw,
    coefficients: str | Sequence[tuple[float, float, float]] = "jordan",
) -> Updates:
    r"""AdaMuon: the step of :func:`muon`, of the signs of the momentum, divided by a moving root of its squares.

    For a matrix of :math:`r` rows and :math:`c` columns, with NS as for :func:`muon`:

    .. math::
        m &\leftarrow \beta m + (1 - \beta)\, g \\
        o &= \operatorname{NS}(\operatorname{sign}(m) / \lVert \operatorname{sign}(m) \rVert) \\
        v &\leftarrow \beta v + (1 - \beta)\, o^2 \\
        u &= \frac{o}{\sqrt{v} + \epsilon} \\
        p &\leftarrow p - \eta \left( 0.2\, \sqrt{r\, c}\, \frac{u}{\lVert u \rVert} + \lambda\, p \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the root mean square of a step is 0.2 times that,
        whatever the shape, so that rates and decays found for :func:`adamw` suit.
    beta : hyper-parameter
        The decay :math:`\beta` of both averages. The default is the paper's.
    epsilon : hyper-parameter
        Bounds the steps of elements whose steps were small. Without unit: the squares are of a matrix of norm about
        one.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which is multiplied by the rate.
    ns_steps : int
        The number of iterations, as in :func:`muon`.
    others : callable
        The rule of the parameters that are not matrices: :func:`adamw` with its defaults, or an optimizer of yours.
    coefficients : str or list of triples
        Those of the iterations, as in :func:`muon`.

    Returns
    -------
    OrderedDict
        For each matrix in order: the next value of its ``m``, of its ``v``, then its own; then what `others` returns
        for the rest.

    Raises
    ------
    TypeError
        If `others` is not callable.
    ValueError
        If `ns_steps` is not a whole number of at least 1, or `coefficients` are none of these.

    Notes
    -----
    The first step is 0.2 times the rate in each element, as that of the signs. The paper's momentum is a sum, of the
    same signs. The authors' first program took no signs, stepped ahead along the momentum, and had another decay for
    :math:`v`, 0.999.

    For the matrices that suit :func:`muon`, which see. State: ``m`` and ``v``, zero at first, of the parameter's shape
    and dtype. Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] C. Si, D. Zhang and W. Shen (2025). AdaMuon: adaptive Muon optimizer. arXiv:2507.11005.
    """
    coefficients = of_each_step("adamuon", coefficients, ns_steps)
    check_optimizer("adamuon: others", others)
    step = prepare(
        "adamuon",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta=beta,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    rest = []
    for p, g, (eta, beta, eps, decay) in step:
        shape = step.shape(p)
        if len(shape) != 2:
            rest.append((p, g))
            continue
        m = step.state(p, "m")
        v = step.state(p, "v")
        step[m] = beta * m + (1 - beta) * g
        signs = sign(step[m])
        o = nearly_orthogonal(rescaled(signs, norm(signs).or_one()), shape, coefficients)
        step[v] = beta * v + (1 - beta) * o**2
        u = o / (sqrt(step[v]) + eps)
        step[p] = p - eta * (of_root_mean_square(u, 0.2) + decay * p)
    return with_others(step, "adamuon: others", others, rest)


def of_root_mean_square(x, size):
    """The multiple of a tensor whose root mean square is that; zero of zero."""
    return rescaled(x, norm(x).or_one(), np.asarray(size, x.dtype) * sqrt(count(tuple(x.shape), x.dtype)))


def with_others(step, name, others, rest):
    """The updates of a step, and those that another rule makes of the rest: parameters, each with its gradient."""
    if not rest:
        return step.finish()
    params, grads = map(list, zip(*rest, strict=True))
    return merge(step.finish(), called(name, others, grads, params))


def of_rows(shape):
    return shape[:-1]


def of_columns(shape):
    return shape[:-2] + shape[-1:]


# --- A matrix for each axis -------------------------------------------------------------------------------------------


def square(shape, axis):
    """The shape of a matrix for an axis."""
    return (shape[axis], shape[axis])


def along(shape, axis):
    """The shape of a vector along an axis, which broadcasts with the parameter."""
    return tuple(n if i == axis else 1 for i, n in enumerate(shape))


def unfolded(x, axis, sizes):
    """The matrix whose rows are the slices of `x` along an axis.

    JAX cannot reshape to sizes that are known at run time only; so of more than two axes, the sizes are numbers.
    """
    if x.ndim == 1:
        return x[:, None]
    slices = pt.moveaxis(x, axis, 0)
    return slices if x.ndim == 2 else slices.reshape((sizes[axis], prod(sizes[:axis] + sizes[axis + 1 :])))


def mapped(function, x, axis, sizes):
    """`x` after a function of the matrix whose columns are its vectors along an axis."""
    columns = function(unfolded(x, axis, sizes))
    if x.ndim == 1:
        return columns[:, 0]
    if x.ndim > 2:
        columns = columns.reshape((sizes[axis], *sizes[:axis], *sizes[axis + 1 :]))
    return pt.moveaxis(columns, 0, axis)


def times(matrix, x, axis, sizes):
    """The matrix times each vector of `x` along an axis."""
    return mapped(lambda columns: matrix @ columns, x, axis, sizes)


def turned(x, matrices, sizes):
    """`x` with each of the axes in the dict multiplied by its matrix."""
    for axis, matrix in matrices.items():
        x = times(matrix, x, axis, sizes)
    return x


def second_moment(x, axis, sizes):
    """The sum of the outer products with itself of each vector of `x` along an axis."""
    slices = unfolded(x, axis, sizes)
    return astype(slices @ slices.T, x.dtype)


def decomposed(matrix):
    """The eigenvalues and eigenvectors of a symmetric matrix; where it has NaNs or infinities, NaN, and no error."""
    finite = pt.lt(abs(total(matrix)), np.inf)
    values, vectors = eigh(switch(finite, matrix, pt.zeros_like(matrix)))
    return values, switch(finite, vectors, np.asarray(np.nan, dtype=matrix.dtype))


def descending(values):
    """The positions of the elements of a vector, from that of the largest on."""
    return pt.argsort(-values, kind="mergesort")


def sorted_by(positions, x):
    """`x` with the slices along each of the axes in the dict in the order of its positions."""
    for axis, order in positions.items():
        x = x[(slice(None),) * axis + (order,)]
    return x


def inverse_root(matrix, epsilon, order):
    """The matrix, positive semidefinite, plus epsilon times the identity, to the power of ``-1 / order``."""
    values, vectors = decomposed(matrix)
    return (vectors * (maximum(values, 0) + epsilon) ** np.asarray(-1 / order, matrix.dtype)) @ vectors.T


@awaits("loss_or_grads", "params")
def shampoo(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.1,
    epsilon: Hyper = 1e-4,
    every: int = 1,
    max_size: int = 1024,
    beta2: Hyper | None = None,
    graft: OptimizerLike | None = None,
) -> Updates:
    r"""Shampoo: AdaGrad with a matrix for each axis of a parameter in the place of one number for each element.

    .. math::
        L &\leftarrow L + g g^\top \\
        R &\leftarrow R + g^\top g \\
        u &= (L + \epsilon I)^{-1/4}\, g\, (R + \epsilon I)^{-1/4} \\
        p &\leftarrow p - \eta\, u

    or, with moving averages, :math:`L \leftarrow \beta_2 L + (1 - \beta_2)\, g g^\top` and :math:`R` alike; and, with
    the step :math:`d` of another rule grafted, :math:`p \leftarrow p - \eta\, \lVert d \rVert\, u / \lVert u \rVert`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`: about the norm of the first step of a matrix as an operator. With `every` at 1, no
        later step has a larger one.
    epsilon : hyper-parameter
        Keeps directions without gradients at rest, in units of the squared gradient: it is added to the eigenvalues.
        Those of float32 have errors of about a millionth of the largest one.
    every : int
        Compute the roots only at the first of so many updates, and use them in all. At 1, as in the paper, they are not
        kept. They are what a step costs: a decomposition into eigenvectors for each axis.
    max_size : int
        The longest axis that is given a matrix. A longer one is given the diagonal of it only.
    beta2 : hyper-parameter, optional
        The decay :math:`\beta_2` of moving averages in the place of sums: steps then do not grow shorter for ever, and
        the first is :math:`1/\sqrt{1 - \beta_2}` times as long. The authors' later program [2]_ has 0.999, and a graft.
    graft : callable, optional
        The rule whose step :math:`d` says how long that of each parameter is [2]_ [3]_, while Shampoo says where to. It
        is called with the rate 1, since `learning_rate` multiplies its step: ``graft=adagrad(learning_rate=1.0)``, as
        in the paper, or ``graft=rmsprop(learning_rate=1.0)``.

    Returns
    -------
    OrderedDict
        For each parameter in order: for each of its axes the next value of ``H0``, ``H1`` …, if `every` is more than 1
        with that of ``P0``, ``P1`` …; then its own; before all, the state of `graft`. With `every` or a schedule: last,
        the count ``t``.

    Raises
    ------
    TypeError
        If `graft` is not callable, or returns no dict.
    ValueError
        If `every` or `max_size` is not a whole number of at least 1; if `graft` leaves parameters out.

    Notes
    -----
    For :math:`k` axes, each matrix :math:`H_i` sums the products over all the others, and the exponent is
    :math:`-1/(2k)`; the lengths of more than two axes cannot change after this call. A vector has the full matrix of
    AdaGrad, a scalar is stepped as by :func:`~symupdates.adagrad`. There is no momentum: add it by
    :func:`~symupdates.apply_momentum`.

    Between the updates that compute the roots, the C backend does not, nor do NUMBA and JAX from PyTensor 3.3 on.
    Before that, they compute them always, and `every` saves nothing there.

    State: ``H0``, ``H1`` …, zero at first, a matrix for each axis; for one longer than `max_size`, of the parameter's
    shape, but all other axes of length one. ``P0``, ``P1`` …, zero at first, the roots of those matrices. All of the
    parameter's dtype. ``t``, an int64 scalar, the number of updates made. Hyper-parameters, partials and the other
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] V. Gupta, T. Koren and Y. Singer (2018). Shampoo: preconditioned stochastic tensor optimization. ICML.
       arXiv:1802.09568.
    .. [2] R. Anil, V. Gupta, T. Koren, K. Regan and Y. Singer (2020). Scalable second order optimization for deep
       learning. arXiv:2002.09018.
    .. [3] N. Agarwal, R. Anil, E. Hazan, T. Koren and C. Zhang (2020). Disentangling adaptive gradient methods from
       learning rates. arXiv:2002.11803.
    """
    whole_number("shampoo: every", every)
    whole_number("shampoo: max_size", max_size)
    averaged = {} if beta2 is None else {"beta2": beta2}
    step = prepare("shampoo", loss_or_grads, params, learning_rate=learning_rate, epsilon=epsilon, **averaged)
    lengths = {}
    if graft is not None:
        check_optimizer("shampoo: graft", graft)
        updates = called("shampoo: graft", graft, [g for _, g, _ in step], step.params)
        lengths = {p: norm(p_next - p).value for p, p_next, _ in extend("shampoo: graft", updates, step.params)}
        for variable, value in updates.items():
            if variable not in lengths:
                step[variable] = value
    for p, g, (eta, eps, *decay) in step:
        old, new = (decay[0], 1 - decay[0]) if decay else (1, 1)
        sizes = step.shape(p) or (0,)
        order = 2 * len(sizes)
        u = g
        for axis, size in enumerate(sizes):
            if 0 < size <= max_size:
                H = step.state(p, f"H{axis}", shape=partial(square, axis=axis))
                step[H] = old * H + new * second_moment(g, axis, sizes)
                root = inverse_root(step[H], eps, order)
                if every > 1:
                    P = step.state(p, f"P{axis}", shape=partial(square, axis=axis))
                    root = step[P] = renewed(P, pt.eq(step.t % every, 1), root)
                u = times(root, u, axis, sizes)
            else:
                H = step.state(p, f"H{axis}", shape=partial(along, axis=axis))
                others = tuple(i for i in range(p.ndim) if i != axis)
                step[H] = old * H + new * total(g**2, axis=others, keepdims=True)
                u = u * (step[H] + eps) ** np.asarray(-1 / order, p.dtype)
        u = astype(u, p.dtype)
        if lengths:
            u = rescaled(u, norm(u).or_one(), lengths[p])
        step[p] = p - eta * u
    return step.finish()


@awaits("loss_or_grads", "params")
def soap(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.003,
    beta1: Hyper = 0.95,
    beta2: Hyper = 0.95,
    epsilon: Hyper = 1e-8,
    every: int = 10,
    max_size: int = 1024,
) -> Updates:
    r"""SOAP: Adam in the basis of the eigenvectors of Shampoo's matrices.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, (Q_L^\top g\, Q_R)^2 \\
        p &\leftarrow p - \eta\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\,
            Q_L \frac{Q_L^\top m\, Q_R}{\sqrt{v} + \epsilon}\, Q_R^\top \\
        L &\leftarrow \beta_2 L + (1 - \beta_2)\, g g^\top \\
        R &\leftarrow \beta_2 R + (1 - \beta_2)\, g^\top g \\
        Q_L, Q_R &\leftarrow \operatorname{qr}(L Q_L), \operatorname{qr}(R Q_R)
            \quad \text{every few updates, in the order of falling } q^\top L\, q,\; q^\top R\, q

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, as :func:`adam`'s. The default is the authors'.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages, the second also of the matrices. The defaults are the
        authors'.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; as in :func:`adam`.
    every : int
        The number of updates from one step of the power iteration to the next. The default is the authors'.
    max_size : int
        The longest axis that is given a matrix. A longer one keeps the basis that it has.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, its own, then for each of its axes those
        of ``H0`` and ``Q0``, ``H1`` and ``Q1`` …; last, the count ``t``.

    Raises
    ------
    ValueError
        If `every` or `max_size` is not a whole number of at least 1.

    Notes
    -----
    The first gradient of a matrix only makes its basis, by the decomposition of :math:`L` and :math:`R`, and the step
    and its :math:`t` begin at the second, as in the authors' program. In its own basis a gradient is diagonal, but for
    rounding errors, of which Adam's first step would make full steps. Vectors, scalars, and whatever has fewer than two
    axes longer than one, or none of at most `max_size`, have no such basis: their steps are :func:`adam`'s from the
    first on. Of more than two axes, each has its matrix, and their lengths cannot change after this call. The basis of
    directions without gradients is arbitrary; so, before the gradients have spanned all directions, backends may take
    steps that differ.

    Power iteration turns the first vectors of a basis to the largest eigenvalues. The vectors therefore begin in their
    order, and are sorted again at each iteration, and :math:`v` with them, as in the authors' program. State that was
    saved in the rising order, as this rule once kept it, loads as it is: the next iteration sorts it.

    The decomposition and the power iteration are computed only when they are due on the C backend, and on NUMBA and JAX
    from PyTensor 3.3 on; before that, these two compute them at every update.

    State: ``m`` and ``v``, zero at first, of the parameter's shape; ``H0``, ``H1`` … (:math:`L, R`) and ``Q0``,
    ``Q1`` … (:math:`Q_L, Q_R`), zero at first, a matrix each for each axis; all of its dtype. ``t``, an int64 scalar,
    one for all parameters, the number of updates made. Hyper-parameters, partials and the other errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] N. Vyas, D. Morwani, R. Zhao, M. Kwun, I. Shapira, D. Brandfonbrener, L. Janson and S. Kakade (2024). SOAP:
       improving and stabilizing Shampoo using Adam. arXiv:2409.11321.
    """
    whole_number("soap: every", every)
    whole_number("soap: max_size", max_size)
    step = prepare(
        "soap", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        sizes = step.shape(p)
        is_matrix = sum(size > 1 for size in sizes) > 1
        axes = [axis for axis, size in enumerate(sizes) if is_matrix and 1 < size <= max_size]
        Q = {axis: step.state(p, f"Q{axis}", shape=partial(square, axis=axis)) for axis in axes}
        H = {axis: step.state(p, f"H{axis}", shape=partial(square, axis=axis)) for axis in axes}
        is_first = pt.eq(step.t, 1)
        t = maximum(step.t - 1, 1) if axes else step.t
        is_due = pt.eq(t % every, 0)
        Q_T = {axis: matrix.T for axis, matrix in Q.items()}
        alpha = eta * sqrt(step.bias_correction(beta2, t)) / step.bias_correction(beta1, t)
        m_next = beta1 * m + (1 - beta1) * g
        v_next = beta2 * v + (1 - beta2) * turned(g, Q_T, sizes) ** 2
        u = turned(turned(m_next, Q_T, sizes) / (sqrt(v_next) + eps), Q, sizes)
        p_next = p - alpha * astype(u, p.dtype)
        H_next = {axis: beta2 * H[axis] + (1 - beta2) * second_moment(g, axis, sizes) for axis in axes}
        HQ = {axis: H_next[axis] @ Q[axis] for axis in axes}
        order = {axis: descending(total(Q[axis] * HQ[axis], axis=0)) for axis in axes}
        if axes:
            m_next, p_next = switch(is_first, m, m_next), switch(is_first, p, p_next)
            v_next = switch(is_first, v, renewed(v, is_due, sorted_by(order, v_next), v_next))
        step[m], step[v], step[p] = m_next, v_next, p_next
        for axis in axes:
            step[H[axis]] = H_next[axis]
            iterated = renewed(Q[axis], is_due, qr(HQ[axis][:, order[axis]])[0])
            step[Q[axis]] = renewed(Q[axis], is_first, decomposed(H_next[axis])[1][:, ::-1], iterated)
    return step.finish()


# --- A triangular matrix for each axis --------------------------------------------------------------------------------


def spectral_norm(matrix):
    """An estimate from below of the spectral norm of a symmetric matrix, positive semidefinite.

    By two steps of the power iteration from its longest column.
    """
    x = matrix[:, pt.argmax(total(matrix**2, axis=0))]
    x = pt.dot(matrix, x)
    x = pt.dot(matrix, x / positive(sqrt(total(x**2))))
    return sqrt(total(x**2))


@awaits("loss_or_grads", "params")
def psgd_kron(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    beta: Hyper = 0.9,
    preconditioner_rate: Hyper = 0.1,
    damping: Hyper = 1e-9,
    clip_threshold: Hyper = 2.0,
    every: int = 1,
    max_size: int = 1024,
    seed: Seed = None,
) -> Updates:
    r"""PSGD with a Kronecker product: a triangular matrix for each axis, fitted so that they whiten the gradient.

    For a matrix, with :math:`\xi` standard normal, new for each element and update, triu the upper triangle, and
    :math:`\lVert \cdot \rVert` the spectral norm, estimated:

    .. math::
        A &= Q_L\, (g + \delta\, \xi)\, Q_R^\top, \qquad B = Q_L^{-\top}\, \xi\, Q_R^{-1} \\
        Q_L &\leftarrow Q_L - \mu\, \operatorname{triu}(A A^\top - B B^\top)\, Q_L
            \,/\, \lVert A A^\top + B B^\top \rVert \\
        Q_R &\leftarrow Q_R - \mu\, \operatorname{triu}(A^\top A - B^\top B)\, Q_R
            \,/\, \lVert A^\top A + B^\top B \rVert \\
        m &\leftarrow \beta m + (1 - \beta)\, g \\
        u &= Q_L^\top Q_L\, \frac{m}{1 - \beta^t}\, Q_R^\top Q_R \\
        p &\leftarrow p - \eta\, \frac{u}{\max(1, \operatorname{rms}(u) / d)}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: once the preconditioner has been found, elements move by
        about that where gradients are all of one direction, and by less where they differ. The default is that of the
        author's program.
    beta : hyper-parameter
        The decay :math:`\beta` of the average of gradients; 0 for none, as in the paper.
    preconditioner_rate : hyper-parameter
        The step size :math:`\mu` of the preconditioner: in an update, no direction of :math:`Q` changes by much more
        than this fraction. The default is that of the author's program. From 0 to 1.
    damping : hyper-parameter
        The noise :math:`\delta`, in units of the gradient: it bounds the preconditioner by its reciprocal, where there
        are no gradients. The default is that of the author's program.
    clip_threshold : hyper-parameter
        The largest root mean square :math:`d` of :math:`u`, which is about 1 at most while gradients are as they were.
        The default is that of the author's program. Above 0, and infinite for none.
    every : int
        Change the preconditioner only at the first of so many updates. Once it has been found, it changes little.
    max_size : int
        The longest axis that is given a matrix. A longer one is given the diagonal of it only, and so are axes of
        length one and those of vectors.
    seed : int or sequence of ints, optional
        For the same noise in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, for each of its axes that of ``Q0``, ``Q1`` …, then
        its own; last, the generator ``rng`` and the count ``t``.

    Raises
    ------
    ValueError
        If `every` or `max_size` is not a whole number of at least 1.

    Notes
    -----
    The preconditioner :math:`P = Q^\top Q`, with :math:`Q` the Kronecker product of the matrices, is found by
    descending :math:`g^\top P g + \xi^\top P^{-1} \xi` on the group of triangular matrices [1]_ [2]_: at its minimum,
    the elements of :math:`P g` are of size one and uncorrelated, as far as the product can make them so. What
    :func:`shampoo` and :func:`soap` get from decompositions is here followed by products of matrices and triangular
    systems. The matrices begin as the identity; from there to the size of gradients :math:`g` it takes in the order of
    :math:`|\log |g|| / \mu` updates, with steps that are short for small gradients, and clipped for large ones.

    In each update, the matrices of a parameter are brought to the same largest element, which changes nothing of
    :math:`P`. Of more than two axes, each has its matrix, and their lengths cannot change after this call.

    It is the author's ``KronWhiten`` with ``dQ="EQ"``, a simpler estimate of the norm and without its average over
    time (``betaL``), and the package ``kron_torch`` where it does not fit the momentum, with the author's noise.

    State: ``Q0``, ``Q1`` …, the identity at first, a matrix for each axis, or ones of the parameter's shape, but all
    other axes of length one; ``m``, zero at first, of the parameter's shape; all of its dtype. ``rng``, three uint32
    words, as in :func:`~symupdates.sgld`; ``t``, an int64 scalar, the number of updates made. Hyper-parameters,
    partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] X. Li (2019). Preconditioner on matrix Lie group for SGD. ICLR. arXiv:1809.10232.
    .. [2] X. Li (2022). Black box Lie group preconditioners for SGD. arXiv:2211.04422.
    """
    whole_number("psgd_kron: every", every)
    whole_number("psgd_kron: max_size", max_size)
    step = prepare(
        "psgd_kron",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta=beta,
        preconditioner_rate=PART(preconditioner_rate),
        damping=damping,
        clip_threshold=Range(low=0, has_high=True)(clip_threshold),
    )
    xi = normals(step, seed)
    for p, g, (eta, beta, mu, delta, d) in step:
        sizes = step.shape(p) or (0,)
        full = {axis for axis, size in enumerate(sizes) if len(sizes) > 1 and 1 < size <= max_size}
        noise, Q = xi(p), {}
        A, B = g + delta * noise, noise
        for axis, size in enumerate(sizes if prod(step.shape(p)) else ()):  # without elements, there are no matrices
            shape, identity = (square, np.eye(size)) if axis in full else (along, 1.0)
            q = Q[axis] = step.state(p, f"Q{axis}", initial=identity, shape=partial(shape, axis=axis))
            if axis in full:
                A = times(q, A, axis, sizes)
                B = mapped(partial(solve_triangular, q.T, lower=True, check_finite=False), B, axis, sizes)
            else:
                A, B = q * A, B / q
        A, B = rescaled([A, B], norm([A, B]).or_one())
        fitted = {}
        for axis, q in Q.items():
            if axis in full:
                S, U = (second_moment(x, axis, sizes) for x in (A, B))
                change = ((np.tri(sizes[axis], dtype=p.dtype).T * (S - U)) @ q) / positive(spectral_norm(S + U))
            else:
                others = tuple(i for i in range(p.ndim) if i != axis)
                S, U = (total(x**2, axis=others, keepdims=True) for x in (A, B))
                change = (S - U) / positive(pt.max(S + U)) * q
            fitted[axis] = q - mu * change
        largest = {axis: pt.max(abs(q)) for axis, q in fitted.items()}
        common = prod(size ** np.asarray(1 / len(Q), p.dtype) for size in largest.values())
        m = step.state(p, "m")
        step[m] = beta * m + (1 - beta) * g
        u = step[m] / step.bias_correction(beta)
        for axis, q in Q.items():
            balanced = fitted[axis] * (common / largest[axis])
            step[q] = renewed(q, pt.eq(step.t % every, 1), balanced) if every > 1 else balanced
            q = step[q]
            u = times(q.T, times(q, u, axis, sizes), axis, sizes) if axis in full else q**2 * u
        step[p] = p - eta * u / maximum(1, rms(u) / d)
    return step.finish()
