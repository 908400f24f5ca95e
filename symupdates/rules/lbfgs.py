"""The limited-memory BFGS method, an evaluation of the loss at a time."""

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import and_, switch
from pytensor.tensor.linalg import solve_triangular

from symupdates.core import astype, awaits, inner, like, prepare, require_loss, total, whole_number
from symupdates.core.ranges import FRACTION, POSITIVE, in_order
from symupdates.core.types import largest_dtype
from symupdates.rules.line_search import Search, at_most_one
from symupdates.typing import Hyper, Loss, Parameters, Updates

__all__ = ["lbfgs"]


@awaits("loss_or_grads", "params")
def lbfgs(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    c1: Hyper = 1e-4,
    c2: Hyper = 0.9,
    memory: int = 10,
    max_trials: int = 20,
) -> Updates:
    r"""L-BFGS with a line search for the strong Wolfe conditions; each update is one trial of it.

    With :math:`\phi(a) = f(x + a d)` along the direction :math:`d` from the point :math:`x`, of which all parameters
    together are one vector, the next trial :math:`a` is searched for until

    .. math::
        \phi(a) &\le \phi(0) + c_1 a\, \phi'(0) \\
        |\phi'(a)| &\le c_2\, |\phi'(0)|

    Then the point moves there, and with :math:`s` and :math:`y` what it and its gradient have changed by,
    :math:`\rho = 1/s^\top y`, the next direction is, by a recursion over the last `memory` pairs,

    .. math::
        d &= -H \nabla f(x) \\
        H &\leftarrow (1 - \rho s y^\top)\, H\, (1 - \rho y s^\top) + \rho s s^\top, \qquad
            \text{from } \frac{s^\top y}{y^\top y} \text{ of the last pair}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`, the same function at every update; not gradients, which do not tell its value.
    params : iterable of shared variables
        The parameters, float32 or float64.
    learning_rate : hyper-parameter
        The first trial of each search, without unit: 1 is the whole quasi-Newton step. Where no pairs are known, at the
        start, it is the length of the first step, at most that of the gradient. Finite and above 0.
    c1, c2 : hyper-parameter
        The least decrease, and the largest slope that is left, as fractions of the slope at the beginning; :math:`0 <
        c_1 < c_2 < 1`. The defaults are those of the book.
    memory : int
        The number of pairs kept; 3 to 20 in the book.
    max_trials : int
        The number of trials after which a search is given up.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``s``, ``y``, ``x``, ``g`` and ``d``, then its own; last
        ``search``, ``trials`` and ``evaluations``.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.
    ValueError
        If `memory` or `max_trials` is not a whole number of at least 1.

    Notes
    -----
    For models that are trained on all data at once, with some parameters to hundreds of thousands: to the minimum, in
    few evaluations. The loss has to be the same at every update: no minibatches, no dropout.

    The parameters are where the loss is evaluated next, at a trial: on the way, a step too far can be worse than the
    last. The point that was reached, the best so far, is ``x``: :func:`~symupdates.averages` gives it for evaluation,
    and :func:`~symupdates.swap_averages` puts it in the place of the parameters. Each update costs one loss and one
    gradient, on every backend; to make several in one call, there is :func:`~symupdates.loop`. What else moves the
    parameters, such as a projection or momentum, is not known to the search; leave it out.

    A search begins with a bracket that is open, tries four times as far while the slope asks for it, and closes in by
    cubics; it is the pair of algorithms 3.5 and 3.6 of the book. A loss that is infinite, or not a number, is a step
    too far. After the last trial, the lowest point that satisfied the first condition is taken; if it is the point
    where the search began, as it is at a minimum where rounding leaves nothing to gain, the pairs are forgotten.

    The recursion is computed in compact form [3]_, by matrices of `memory` rows and columns: what there is to compile
    does not grow with `memory`.

    State: ``s`` and ``y``, the pairs, zero at first, of `memory` times the parameter's shape, with the latest last;
    ``x``, ``g`` and ``d``, the point, its gradient and the direction, of the parameter's shape, at first its value and
    zeros; all of its dtype. ``search``, nine numbers in the largest dtype of the parameters, is the trial and what is
    known of the ends of the bracket; ``trials`` of the search so far and ``evaluations`` of the loss are int64 scalars.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Nocedal (1980). Updating quasi-Newton matrices with limited storage. Mathematics of Computation 35(151).
    .. [2] J. Nocedal and S. J. Wright (2006). Numerical optimization, second edition, algorithms 3.5, 3.6, 7.4 and 7.5.
       Springer.
    .. [3] R. H. Byrd, J. Nocedal and R. B. Schnabel (1994). Representations of quasi-Newton matrices and their use in
       limited memory methods. Mathematical Programming 63.
    """
    whole_number("lbfgs: memory", memory)
    whole_number("lbfgs: max_trials", max_trials)
    loss = require_loss("lbfgs", loss_or_grads)
    step = prepare("lbfgs", loss, params, learning_rate=POSITIVE(learning_rate), c1=FRACTION(c1), c2=FRACTION(c2))
    in_order("lbfgs", c1=c1, c2=c2)
    params, grads = step.params, [g for _, g, _ in step]
    if not params:
        return step.finish()
    dtype = step.dtype
    eta, c1, c2 = step.hyper(dtype)
    s, y = ([step.state(p, slot, shape=(memory, ...)) for p in params] for slot in "sy")
    x = [step.stand_in(p, "x") for p in params]
    g, d = ([step.state(p, slot) for p in params] for slot in "gd")
    search = Search(step, loss, grads, d, c1, c2, max_trials)

    last_s = [p - old for p, old in zip(params, x, strict=True)]
    last_y = [g_p - old for g_p, old in zip(grads, g, strict=True)]
    is_pair = and_(search.arrives, and_(~search.begins, inner(last_s, last_y) > 0))
    S = [switch(is_pair, pushed(rows, row), rows) for rows, row in zip(s, last_s, strict=True)]
    Y = [switch(is_pair, pushed(rows, row), rows) for rows, row in zip(y, last_y, strict=True)]
    direction = [like(p, way) for p, way in zip(params, quasi_newton(grads, S, Y), strict=True)]
    slope = inner(grads, direction)
    # The first step has a length of one at most: without pairs, the direction is the negative gradient.
    a = search.next(slope, eta * switch(search.begins, at_most_one(slope), 1))
    for i, (p, g_p, _) in enumerate(step):
        step[s[i]] = switch(search.fails, pt.zeros_like(S[i]), S[i])
        step[y[i]] = switch(search.fails, pt.zeros_like(Y[i]), Y[i])
        step[x[i]] = switch(search.arrives, p, x[i])
        step[g[i]] = switch(search.arrives, g_p, g[i])
        step[d[i]] = switch(search.arrives, direction[i], d[i])
        step[p] = step[x[i]] + astype(a, p.dtype) * step[d[i]]
    return step.finish()


def pushed(rows, row):
    """The rows but for the first, and one more."""
    return pt.concatenate([rows[1:], row[None]])


def quasi_newton(g, S, Y):
    r"""The direction :math:`-Hg`, without a loop over the pairs; rows of zeros are none.

    What the recursion of algorithm 7.4 finds one after the other are the solutions of two triangular systems, in
    :math:`R_{ij} = s_i^\top y_j` for :math:`i \le j` and its diagonal :math:`D`:

    .. math::
        R \alpha &= S g, & r &= \gamma\, (g - Y^\top \alpha) \\
        R^\top \delta &= D \alpha - Y r, & H g &= r + S^\top \delta
    """
    dtype, memory = largest_dtype(g), S[0].type.shape[0]
    SY = sum(pt.dot(matrix(a, dtype), matrix(b, dtype).T) for a, b in zip(S, Y, strict=True))
    sy, yy = row_products(S, Y), row_products(Y, Y)
    known = sy > 0
    gamma = switch(known[-1], sy[-1] / yy[-1], 1)
    above, diagonal = np.triu(np.ones((memory, memory), bool), 1), np.eye(memory, dtype=dtype)
    R = switch(and_(above, and_(known, known[:, None])), SY, switch(known, sy, 1) * diagonal)
    alpha = solve_triangular(R, switch(known, row_products(S, g), 0))
    r = [astype(gamma, x.dtype) * (x - combined(alpha, y)) for x, y in zip(g, Y, strict=True)]
    delta = solve_triangular(R.T, switch(known, sy * alpha - row_products(Y, r), 0), lower=True)
    return [-x - combined(delta, s) for x, s in zip(r, S, strict=True)]


def matrix(rows, dtype):
    """The rows, each as a vector."""
    return astype(rows, dtype).reshape((rows.type.shape[0], -1))


def combined(weights, rows):
    """The sum of the rows, by their weights."""
    return total(pt.shape_padright(astype(weights, rows.dtype), rows.ndim - 1) * rows, axis=0)


def row_products(A, B):
    """The inner product of each row of one list of tensors with that of another, or with another as one vector."""
    dtype = largest_dtype(A)
    products = (astype(a, dtype) * astype(b, dtype) for a, b in zip(A, B, strict=True))
    return sum(total(ab, axis=tuple(range(1, ab.ndim))) for ab in products)
