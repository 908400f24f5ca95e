r"""Proximal operators of penalties, for :func:`symupdates.apply_proximal`.

That of a penalty :math:`h` with step size :math:`s` takes a tensor to

.. math:: \operatorname{prox}_{s h}(x) = \arg\min_y\; s\, h(y) + \tfrac{1}{2} \lVert y - x \rVert^2

Each awaits its tensor ``x`` and the ``step_size``, a number of at least 0 or a scalar variable: called without, it
returns a partial that waits for them. The result has the shape and dtype of `x`; NaN stays NaN. Operators of your own
are functions of the same two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.linalg import svd
from pytensor.tensor.variable import TensorVariable

from symupdates.constraints import axes_of, begin
from symupdates.core import astype, awaits, norm
from symupdates.core.ranges import NON_NEGATIVE, PART
from symupdates.typing import Number

__all__ = ["elastic_net", "group_lasso", "l1", "nuclear_norm"]


@awaits("x", "step_size")
def l1(x: Variable | None = None, step_size: Number | None = None) -> TensorVariable:
    r"""Soft thresholding, of :math:`h = \lVert x \rVert_1`: the lasso.

    .. math:: \operatorname{sign}(x) \max(|x| - s, 0)

    Parameters
    ----------
    x : tensor variable
        The tensor.
    step_size : number or scalar variable
        The step size :math:`s`.

    Returns
    -------
    tensor variable
        Each element, nearer to zero by the step size: those within it are exactly zero.

    References
    ----------
    .. [1] R. Tibshirani (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical
       Society B 58(1).
    """
    x, s = begin("l1", x, step_size=NON_NEGATIVE(step_size))
    return softened(x, s)


@awaits("x", "step_size")
def elastic_net(x: Variable | None = None, step_size: Number | None = None, l1_ratio: Number = 0.5) -> TensorVariable:
    r"""That of :math:`h = r \lVert x \rVert_1 + \frac{1 - r}{2} \lVert x \rVert^2`: the elastic net.

    .. math:: \frac{\operatorname{sign}(x) \max(|x| - s r, 0)}{1 + s (1 - r)}

    Parameters
    ----------
    x : tensor variable
        The tensor.
    step_size : number or scalar variable
        The step size :math:`s`.
    l1_ratio : number or scalar variable
        The part :math:`r` of the absolute values in the penalty, from 0 to 1; 1 is :func:`l1`. It is scikit-learn's,
        and the default too.

    Returns
    -------
    tensor variable
        Each element, nearer to zero: those within :math:`s r` are exactly zero.

    References
    ----------
    .. [1] H. Zou and T. Hastie (2005). Regularization and variable selection via the elastic net. Journal of the Royal
       Statistical Society B 67(2).
    """
    x, s, r = begin("elastic_net", x, step_size=NON_NEGATIVE(step_size), l1_ratio=PART(l1_ratio))
    return softened(x, s * r) / (1 + s * (1 - r))


@awaits("x", "step_size")
def group_lasso(
    x: Variable | None = None, step_size: Number | None = None, axes: int | Sequence[int] | None = None
) -> TensorVariable:
    r"""That of :math:`h = \sum_i \lVert x_i \rVert_2`, over the weights :math:`x_i` of each unit: the group lasso.

    .. math:: x_i \max\left(1 - \frac{s}{\lVert x_i \rVert}, 0\right)

    Parameters
    ----------
    x : tensor variable
        The tensor.
    step_size : number or scalar variable
        The step size :math:`s`. Groups of :math:`n` elements often weigh :math:`\sqrt n`, which is a part of the
        strength here.
    axes : int or sequence of ints, optional
        The axes along which a group lies: of a matrix, 1 for groups that are rows, and 0 for columns. By default those
        of a unit's inputs, as in :func:`~symupdates.norm_constraint`: the columns.

    Returns
    -------
    tensor variable
        The groups, each with a norm that is less by the step size: those within it are exactly zero.

    Raises
    ------
    ValueError
        If `axes` is not given, and `x` is not of 2 to 5 dimensions.

    References
    ----------
    .. [1] M. Yuan and Y. Lin (2006). Model selection and estimation in regression with grouped variables. Journal of
       the Royal Statistical Society B 68(1).
    """
    x, s = begin("group_lasso", x, step_size=NON_NEGATIVE(step_size))
    n = norm(x, axes_of(x, axes, "group_lasso", "axes")).value
    is_zero = n <= s
    return x * pt.switch(is_zero, pt.zeros_like(n), 1 - s / pt.switch(is_zero, pt.ones_like(n), n))


@awaits("x", "step_size")
def nuclear_norm(x: Variable | None = None, step_size: Number | None = None) -> TensorVariable:
    r"""That of the sum of a matrix's singular values, :math:`h = \lVert x \rVert_*`: matrices of low rank.

    With :math:`x = U \operatorname{diag}(\sigma) V^\top`:

    .. math:: U \operatorname{diag}\bigl(\max(\sigma - s, 0)\bigr)\, V^\top

    Parameters
    ----------
    x : tensor variable
        The matrix.
    step_size : number or scalar variable
        The step size :math:`s`.

    Returns
    -------
    tensor variable
        The matrix of singular values that are less by the step size: those within it are zero, to rounding. NaN, where
        an element of `x` is not finite.

    Raises
    ------
    ValueError
        If `x` is not a matrix.

    References
    ----------
    .. [1] J.-F. Cai, E. J. Candès and Z. Shen (2010). A singular value thresholding algorithm for matrix completion.
       SIAM Journal on Optimization 20(4).
    """
    x, s = begin("nuclear_norm", x, step_size=NON_NEGATIVE(step_size))
    if x.ndim != 2:
        raise ValueError(f"nuclear_norm: x must be a matrix, but {x} has {x.ndim} dimension(s).")
    is_finite = pt.all(pt.abs(x) < np.asarray(np.inf, x.dtype))
    U, sigma, V_T = svd(pt.switch(is_finite, x, pt.zeros_like(x)), full_matrices=False)
    shrunk = astype((U * pt.maximum(sigma - s, pt.zeros_like(sigma))) @ V_T, x.dtype)
    return pt.switch(is_finite, shrunk, np.asarray(np.nan, x.dtype))


def softened(x, s):
    """What is left of each element beyond its part in [-s, s]."""
    return x - pt.clip(x, -s, s)
