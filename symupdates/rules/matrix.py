"""Rules that take a parameter for what it is: a matrix."""

from math import prod

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import maximum, minimum, sqrt

from symupdates.compose import merge
from symupdates.core import astype, awaits, prepare, total, whole_number
from symupdates.rules.adam import adamw

__all__ = ["adafactor", "muon"]


def count(shape, dtype):
    """The number of elements of a shape, as a scalar variable; one for none."""
    return maximum(astype(pt.as_tensor_variable(prod(shape)), dtype), np.asarray(1, dtype))


def mean(x, axis):
    return total(x, axis=axis) / count((x.shape[axis],), x.dtype)


def rms(x):
    return sqrt(total(x**2) / count(tuple(x.shape), x.dtype))


@awaits("loss_or_grads", "params")
def adafactor(
    loss_or_grads=None,
    params=None,
    learning_rate=0.01,
    beta2_decay=-0.8,
    epsilon1=1e-30,
    epsilon2=1e-3,
    clip_threshold=1.0,
    relative_step=True,
    min_dim_size_to_factor=1,
):
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
        The default, -0.8, is the paper's; optax gives it as 0.8.
    epsilon1 : hyper-parameter
        Keeps a row or column without gradients at rest, in units of the squared gradient.
    epsilon2 : hyper-parameter
        The least root mean square that a parameter is taken to have: it lets one move that begins at zero.
    clip_threshold : hyper-parameter
        The largest root mean square :math:`d` of :math:`u`, which is about 1 while gradients do not grow.
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

    torch has no :math:`\epsilon_1` in the averages but bounds both roots by its own from below: with zero for both, it
    is the same. keras is the same, but its ``relative_step=False`` has no effect, and for each matrix it holds the
    product of :math:`r` and :math:`c` as state, too. optax with ``learning_rate=x`` is ``relative_step=False`` here,
    with its `min_dim_size_to_factor`; it computes :math:`\beta_t` in float32, and factors the two longest axes. None of
    their options for weight decay are here: see :func:`~symupdates.apply_weight_decay`.

    State: ``r`` and ``c``, zero at first, of the parameter's shape without its last axis and without the one before it;
    or ``v``, of its shape; of its dtype. ``t``, an int64 scalar, one for all parameters, the number of updates made.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] N. Shazeer and M. Stern (2018). Adafactor: adaptive learning rates with sublinear memory cost. ICML.
       arXiv:1804.04235.
    """
    whole_number("adafactor: min_dim_size_to_factor", min_dim_size_to_factor)
    step = prepare(
        "adafactor",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta2_decay=beta2_decay,
        epsilon1=epsilon1,
        epsilon2=epsilon2,
        clip_threshold=clip_threshold,
    )
    for p, g, (eta, exponent, eps1, eps2, d) in step:
        t = astype(step.t, p.dtype)
        rest = t**exponent  # 1 - β
        if p.ndim > 1 and min(p.get_value(borrow=True).shape[-2:]) >= min_dim_size_to_factor:
            r = step.state(p, "r", shape=lambda shape: shape[:-1])
            c = step.state(p, "c", shape=lambda shape: shape[:-2] + shape[-1:])
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


def orthogonalized(x, steps):
    """An approximation of the orthogonal matrix next to `x`, of which no singular value is above one.

    Each step of the iteration of Newton and Schulz takes a singular value s to as + bs³ + cs⁵; several take all that
    are not tiny to between about 0.7 and 1.2.
    """
    a, b, c = (np.asarray(number, dtype=x.dtype) for number in (3.4445, -4.7750, 2.0315))
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * (A @ A)) @ x
    return astype(x, x.dtype)  # else the last product would be part of the step, and that not in place


@awaits("loss_or_grads", "params")
def muon(
    loss_or_grads=None,
    params=None,
    learning_rate=0.02,
    momentum=0.95,
    weight_decay=0.0,
    epsilon=1e-7,
    nesterov=True,
    ns_steps=5,
    consistent_rms=None,
    others=adamw,
):
    r"""Muon: the momentum of each matrix, with its singular values brought to about one, is the step.

    .. math::
        m &\leftarrow \mu m + (1 - \mu)\, g \\
        u &= \mu m + (1 - \mu)\, g \\
        p &\leftarrow p - \eta \left( \sqrt{\max(1, n_{\mathrm{columns}} / n_{\mathrm{rows}})}\,
            \operatorname{NS}\!\left( \frac{u}{\lVert u \rVert + \epsilon} \right) + \lambda\, p \right) \\
        \operatorname{NS}(x) &: \text{five times } x \leftarrow a x + b\, x x^\top x + c\, x x^\top x x^\top x

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
        The number of iterations. Five make the smallest singular values 485 times as large, and products of matrices
        are what they cost: fifteen, two thirds of them of the shorter side only.
    consistent_rms : float, optional
        Instead of the root of the shape's ratio, the factor ``consistent_rms * sqrt(max(rows, columns))``: elements
        then move by about this number times the rate, whatever the shape. With 0.2, rates and decays found for
        :func:`adamw` suit.
    others : callable
        The rule of the parameters that are not matrices: :func:`adamw` with its defaults, or an optimizer of yours.

    Returns
    -------
    OrderedDict
        For each matrix in order: the next value of its ``m``, then its own; then what `others` returns for the rest.

    Raises
    ------
    TypeError
        If `others` is not callable.
    ValueError
        If `ns_steps` is not a whole number of at least 1.

    Notes
    -----
    For the hidden layers of neural networks. Matrices that are looked up in, such as embeddings, and those of the last
    layer belong to another rule, too; give them one by :func:`~symupdates.partition`. Kernels of convolutions, with
    their four axes, go to `others`.

    The arithmetic is that of the parameter's dtype. :math:`a, b, c` are the author's 3.4445, -4.7750 and 2.0315, chosen
    to be steep at zero: the result is not orthogonal, its singular values lie between about 0.7 and 1.2. The shape's
    factor is for matrices that are multiplied from the left, ``x @ W``, as in optax; torch has theirs transposed, and
    so divides rows by columns. torch computes the iterations in bfloat16, with errors of about 1 %, and is else the
    same for the transposed matrices, to the place of :math:`\epsilon`. keras is the same with ``consistent_rms=0.2``,
    where :math:`\epsilon` does not matter: its momentum is a sum, of 20 times the length. optax is the same with
    ``nesterov=False``; else it corrects both parts of :math:`u` for their start at zero, which the norm undoes only
    with time.

    State: ``m``, zero at first, of the matrix's shape and dtype. That of `others` is as they name it.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein (2024). Muon: an optimizer for
       hidden layers in neural networks. https://kellerjordan.github.io/posts/muon/
    .. [2] J. Liu et al. (2025). Muon is scalable for LLM training. arXiv:2502.16982.
    """
    whole_number("muon: ns_steps", ns_steps)
    if not callable(others):
        raise TypeError(f"muon: others must be a rule or another optimizer, not {others!r}.")
    step = prepare(
        "muon",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        epsilon=epsilon,
    )
    rest, grads = [], []
    for p, g, (eta, mu, decay, eps) in step:
        if p.ndim != 2:
            rest.append(p)
            grads.append(g)
            continue
        m = step.state(p, "m")
        step[m] = mu * m + (1 - mu) * g
        u = mu * step[m] + (1 - mu) * g if nesterov else step[m]
        x = u / (sqrt(total(u**2)) + eps)
        rows, columns = p.get_value(borrow=True).shape
        x = orthogonalized(x.T, ns_steps).T if rows > columns else orthogonalized(x, ns_steps)
        rows, columns = (count((n,), p.dtype) for n in p.shape)
        if consistent_rms is None:
            scale = sqrt(maximum(1, columns / rows))
        else:
            scale = astype(pt.as_tensor_variable(consistent_rms), p.dtype) * sqrt(maximum(rows, columns))
        step[p] = p - eta * (scale * x + decay * p)
    return merge(step.finish(), others(grads, rest)) if rest else step.finish()
