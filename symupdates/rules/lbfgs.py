"""The limited-memory BFGS method, an evaluation of the loss at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor import and_, or_, sqrt, switch
from pytensor.tensor.linalg import solve, solve_triangular

from symupdates.core import astype, awaits, inner, like, prepare, require_loss, total, whole_number
from symupdates.core.names import parameter_names
from symupdates.core.ranges import FRACTION, POSITIVE, in_order
from symupdates.core.selectors import select
from symupdates.core.types import largest_dtype
from symupdates.rules.line_search import Search, at_most_one
from symupdates.typing import Bounds, Hyper, Loss, Parameters, Updates

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
    bounds: Bounds | Mapping[SharedVariable | str, Bounds] | None = None,
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
    bounds : pair or dict, optional
        The least and the greatest value of each element: numbers, or arrays that fit the parameter; None or infinite is
        no bound. For some parameters only, a dict of these by parameter, or by a pattern of the names.

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
        If `memory` or `max_trials` is not a whole number of at least 1; if `bounds` are no such pair, do not fit, or
        are not in order.

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

    With `bounds`, no trial leaves them, nor does the point; a start outside is moved there first. Elements at a bound
    that the gradient pushes against stay. The others go to the minimum of the quadratic model, the :math:`B = H^{-1}`
    of the pairs; those that it takes beyond a bound are put there, and the rest solved for again [4]_. The search
    is along the straight way to where this leads, and no farther than the next bound. On thirteen bounded problems of
    the collections of Hock and Schittkowski and of CUTE, it finds what SciPy's ``"L-BFGS-B"`` does, with 214
    evaluations where that one needs 220; on HS38, past a saddle that its path meets, with 116 where that one needs 33.

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
    .. [4] R. H. Byrd, P. Lu, J. Nocedal and C. Zhu (1995). A limited memory algorithm for bound constrained
       optimization. SIAM Journal on Scientific Computing 16(5). J. L. Morales and J. Nocedal (2011), in ACM
       Transactions on Mathematical Software 38(1), project as is done here.
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
    space = Everywhere() if bounds is None else Box("lbfgs: bounds", bounds, params)
    search = Search(step, loss, grads, d, c1, c2, max_trials, most=space.farthest(x, d, dtype))

    last_s = [p - old for p, old in zip(params, x, strict=True)]
    last_y = [g_p - old for g_p, old in zip(grads, g, strict=True)]
    is_pair = and_(search.arrives, and_(~search.begins, inner(last_s, last_y) > 0))
    S = [switch(is_pair, pushed(rows, row), rows) for rows, row in zip(s, last_s, strict=True)]
    Y = [switch(is_pair, pushed(rows, row), rows) for rows, row in zip(y, last_y, strict=True)]
    direction, slope, first = space.direction(params, grads, S, Y, eta, search.begins)
    a = search.next(slope, first)
    for i, (p, g_p, _) in enumerate(step):
        step[s[i]] = switch(search.fails, pt.zeros_like(S[i]), S[i])
        step[y[i]] = switch(search.fails, pt.zeros_like(Y[i]), Y[i])
        step[x[i]] = switch(search.arrives, space.inside(p, p), x[i])
        step[g[i]] = switch(search.arrives, g_p, g[i])
        step[d[i]] = switch(search.arrives, direction[i], d[i])
        step[p] = space.inside(p, step[x[i]] + astype(a, p.dtype) * step[d[i]])
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
    SY = products(S, Y)
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


def products(A, B):
    """The inner products of each row with each."""
    dtype = largest_dtype(A)
    return sum(pt.dot(matrix(a, dtype), matrix(b, dtype).T) for a, b in zip(A, B, strict=True))


def combined(weights, rows):
    """The sum of the rows, by their weights."""
    return total(pt.shape_padright(astype(weights, rows.dtype), rows.ndim - 1) * rows, axis=0)


def row_products(A, B):
    """The inner product of each row of one list of tensors with that of another, or with another as one vector."""
    dtype = largest_dtype(A)
    products = (astype(a, dtype) * astype(b, dtype) for a, b in zip(A, B, strict=True))
    return sum(total(ab, axis=tuple(range(1, ab.ndim))) for ab in products)


# --- Where parameters may be ------------------------------------------------------------------------------------------


class Everywhere:
    """No bounds, and what a search does without."""

    def inside(self, p, value):
        """What is nearest to the value of a parameter, of those that it may have."""
        return value

    def farthest(self, x, d, dtype):
        """The greatest factor of the way `d` from `x` that stays inside; None if all do."""
        return None

    def direction(self, params, grads, S, Y, eta, begins):
        """The next direction, the slope along it, and the first trial."""
        direction = [like(p, way) for p, way in zip(params, quasi_newton(grads, S, Y), strict=True)]
        slope = inner(grads, direction)
        # The first step has a length of one at most: without pairs, the direction is the negative gradient.
        return direction, slope, eta * switch(begins, at_most_one(slope), 1)


class Box:
    """The bounds of each parameter, and what a search does within them."""

    def __init__(self, name, bounds, params):
        names, self.ends = parameter_names(params), dict.fromkeys(params, (-np.inf, np.inf))
        for selector, pair in bounds.items() if isinstance(bounds, Mapping) else [(..., bounds)]:
            if isinstance(selector, Variable) and selector not in self.ends:
                raise ValueError(f"{name}: {selector} is none of the parameters {', '.join(names)}.")
            for p in select(name, [selector] if isinstance(selector, Variable) else selector, params, names):
                self.ends[p] = ends_of(f"{name} of {p}", pair, p)

    def inside(self, p, value):
        return pt.clip(value, *self.ends[p])

    def farthest(self, x, d, dtype):
        factors = [
            switch(way > 0, (high - at) / way, switch(way < 0, (low - at) / way, np.inf)).ravel()
            for at, way, (low, high) in zip(x, d, self.ends.values(), strict=True)
        ]
        return pt.min(pt.concatenate([np.array([np.inf], dtype), *(astype(factor, dtype) for factor in factors)]))

    def cut(self, at, way):
        """The way, each element of it up to the bound."""
        return [like(p, self.inside(p, a + u) - a) for p, a, u in zip(self.ends, at, way, strict=True)]

    def direction(self, params, grads, S, Y, eta, begins):
        """Nearly to the minimum of the model inside, or else down the gradient; from outside nowhere, at first."""
        ends = self.ends.values()
        at = [self.inside(p, p) for p in params]
        free = [
            ~or_(and_(a <= low, g > 0), and_(a >= high, g < 0))
            for a, g, (low, high) in zip(at, grads, ends, strict=True)
        ]
        model = Model(S, Y)
        way = model.solved(grads, free)
        there = [a + u for a, u in zip(at, way, strict=True)]
        hits = [and_(f, or_(a < low, a > high)) for f, a, (low, high) in zip(free, there, ends, strict=True)]
        fixed = [switch(hit, u, 0) for hit, u in zip(hits, self.cut(at, way), strict=True)]
        way = self.cut(at, model.solved(grads, [and_(f, ~hit) for f, hit in zip(free, hits, strict=True)], fixed))

        down = [-switch(f, g, 0) for f, g in zip(free, grads, strict=True)]
        length = at_most_one(inner(grads, down))
        down = self.cut(at, [astype(length, u.dtype) * u for u in down])
        descends = and_(model.is_known, inner(grads, way) < 0)
        is_inside = pt.all(pt.stack([pt.all(pt.eq(p, a)) for p, a in zip(params, at, strict=True)]))
        direction = [switch(is_inside, switch(descends, u, v), 0) for u, v in zip(way, down, strict=True)]
        return direction, inner(grads, direction), switch(is_inside, pt.minimum(eta, 1), 0)


class Model:
    r"""The quadratic model of the pairs, by the matrix that :math:`H` is the inverse of.

    .. math::
        B = \theta - W^\top N^{-1} W, \qquad
        W = \begin{pmatrix} Y \\ \theta S \end{pmatrix}, \quad
        N = \begin{pmatrix} -1 & L^\top \\ L & \theta S S^\top \end{pmatrix}

    with :math:`L` what is below the diagonal of :math:`S Y^\top`, and :math:`\theta` what scales by the last pair; rows
    of zeros are none. Each pair is scaled to :math:`s^\top y = 1`, which leaves :math:`B` as it is: else the matrices
    have the square of the steps' lengths, and those of a search that ends are too different to solve by.
    """

    def __init__(self, S, Y):
        sy = row_products(S, Y)
        self.is_known = sy[-1] > 0
        self.theta = switch(self.is_known, row_products(Y, Y)[-1] / sy[-1], 1)
        weight = switch(sy > 0, 1 / sqrt(sy), 0)
        S, Y = ([pt.shape_padright(astype(weight, x.dtype), x.ndim - 1) * x for x in rows] for rows in (S, Y))
        SY, SS = products(S, Y), products(S, S)
        L = switch(np.tril(np.ones(SY.type.shape, bool), -1), SY, 0)
        self.W = [pt.concatenate([y, astype(self.theta, s.dtype) * s]) for s, y in zip(S, Y, strict=True)]
        upper = pt.concatenate([-np.eye(SY.type.shape[0], dtype=SY.dtype), L.T], axis=1)
        lower = pt.concatenate([L, self.theta * SS + pt.diag(astype(pt.eq(pt.diagonal(SS), 0), SS.dtype))], axis=1)
        self.N = pt.concatenate([upper, lower])

    def solved(self, g, free, fixed=None):
        """Where the gradient of the model is zero in the elements that are `free`; the others are `fixed`, or zero."""
        if fixed is not None:
            weights = solve(self.N, row_products(self.W, fixed))
            g = [
                g_p + astype(self.theta, u.dtype) * u - combined(weights, w)
                for g_p, u, w in zip(g, fixed, self.W, strict=True)
            ]
        g = [switch(f, g_p, 0) for f, g_p in zip(free, g, strict=True)]
        W = [switch(f, w, 0) for f, w in zip(free, self.W, strict=True)]
        weights = solve(self.N - products(W, W) / self.theta, row_products(W, g)) / self.theta
        way = [-(g_p + combined(weights, w)) / astype(self.theta, g_p.dtype) for g_p, w in zip(g, W, strict=True)]
        return way if fixed is None else [u + more for u, more in zip(fixed, way, strict=True)]


def ends_of(name, pair, p):
    """The ends of the bounds of a parameter, as arrays of its dtype, checked."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} must be a pair of the least and the greatest value, not {pair!r}.")
    shape, ends = p.get_value(borrow=True).shape, []
    for value, none in zip(pair, (-np.inf, np.inf), strict=True):
        try:
            end = np.asarray(none if value is None else value, p.dtype)
            np.broadcast_to(end, shape)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be numbers, or arrays that fit its shape {shape}, not {value!r}.") from None
        ends.append(end)
    low, high = ends
    if not np.all(low <= high):
        raise ValueError(f"{name} must be in order and no NaN, but they are {low} and {high}.")
    return low, high
