"""What ``pm.fit`` leaves to its optimizer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.variational import Inference
from pytensor.compile import SharedVariable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.random.type import RandomType

from symupdates.compose import divided, merge, merging
from symupdates.core import called, check_optimizer, flag, whole_number
from symupdates.core.parameters import check_params, get_or_compute_grads, mark_as_parameters
from symupdates.core.state import Call, Group, StateTag, mark_as_stand_in, new_state, stand_ins, within
from symupdates.pymc.values import counts, random_updates, reseed, shared_values
from symupdates.random import checked_seed
from symupdates.typing import LossOrGrads, OptimizerLike, Parameters, Updates


@merging
def by_variables(loss_or_grads, params, groups, model):
    """Updates of vectors of all variables of a model, in parts: the variables of each group, by its optimizer.

    A part is a shared variable, for rules that take any, with the numbers that are in the vector. It is the vector that
    counts: what is computed of a part reads it, so that it may be set, or swapped for an average, from outside.
    """
    params = check_params(params)
    grads = get_or_compute_grads(loss_or_grads, params)
    variables = list(shared_values(model).values())
    members = divided("symupdates.pymc.Optimizer", variables, {key: key for key in groups})
    number = np.repeat(np.arange(len(variables)), [v.get_value().size for v in variables])
    after = {p: p for p in params}
    averages, dicts = dict(after), []
    for key, optimizer in groups.items():
        if optimizer is None or not members[key]:
            continue
        index = [np.flatnonzero(np.isin(number[coordinates(p, len(number))], members[key])) for p in params]
        label = "..." if key is ... else key
        parts = [
            pytensor.shared(
                np.take(p.get_value(), i, -1), name=f"{p.name}[{label}]", shape=(*p.type.shape[:-1], len(i))
            )
            for p, i in zip(params, index, strict=True)
        ]
        with within(Group(is_part=True)):
            name = f"symupdates.pymc.Optimizer: the optimizer of {label}"
            updates = called(name, optimizer, [g[..., i] for g, i in zip(grads, index, strict=True)], parts)
        of_vector = {part: p[..., i] for part, p, i in zip(parts, params, index, strict=True)}
        values = graph_replace(list(updates.values()), of_vector, strict=False)
        updates = OrderedDict(zip(updates, values, strict=True))
        kept = stand_ins(updates)
        for p, part, i in zip(params, parts, index, strict=True):
            averages[p] = pt.set_subtensor(averages[p][..., i], updates[kept.get(part, part)])
            after[p] = pt.set_subtensor(after[p][..., i], updates[part])
        for x in kept.values():
            mark_as_stand_in(x, False)
        dicts.append((updates, kept))
    if any(kept for _, kept in dicts):
        call = Call("groups")
        for p in params:
            tag = StateTag(call.rule, "average", p, p, (...,), call=call, stands_in=True)
            after[new_state(f"{p.name}/{call.rule}/average", tag, p.dtype)] = averages[p]
    mark_as_parameters(params)
    return [*(updates for updates, _ in dicts), after]


def coordinates(p, n):
    """Of n coordinates, the one that each element on the last axis of a parameter belongs to."""
    size = p.get_value(borrow=True).shape[-1]
    if size == n:
        return np.arange(n)
    if p.name == "L_tril" and size == n * (n + 1) // 2:
        return np.tril_indices(n)[0]
    raise ValueError(
        f"symupdates.pymc.Optimizer: {p} has {size} elements, of which it is not known which belong to which of the "
        f"{n} coordinates of the model's variables; give one optimizer, such as a symupdates.partition of {p}."
    )


ALL_SKIPPED = (
    "more than {} steps in a row were skipped (by {}): nothing moves any more. Look, without the gate, for what is not "
    "finite; take a smaller learning rate, or clip the gradients."
)


class Optimizer:
    """An optimizer for ``pm.fit(obj_optimizer=...)`` that one can look into, and that takes care of what PyMC does not.

    It goes there like the optimizer it is made of, and with the same numbers. After the call, ``updates`` is its dict:
    for checkpoints, averages and adjustable hyper-parameters.

    Parameters
    ----------
    optimizer : callable, or dict of them
        A rule, a partial of one, a :func:`~symupdates.chain` or :func:`~symupdates.partition`. Or one for each group of
        the model's variables, by patterns of their names, as :func:`~symupdates.partition` has them: ``{"^sigma":
        adam(learning_rate=0.01), ...: adam(learning_rate=0.1)}``; None leaves a group as it is. For ADVI, full-rank
        ADVI and SVGD, whose parameters are vectors of all variables; of full-rank ADVI's matrix, a variable has rows.
        Each optimizer sees parameters of its own, the parts ``mu[^sigma]`` and ``rho[^sigma]``.
    inference : pymc.variational.inference.Inference, optional
        What is to be fitted, such as ``pm.ADVI()``, for rules that take the loss, such as :func:`~symupdates.sam` and
        :func:`~symupdates.adahessian`. PyMC passes gradients only; with this, the rule is given the negative ELBO. So
        is a function of your own, for a schedule that watches it: ``lambda loss, params: adam(loss, params,
        learning_rate=reduce_on_plateau(0.05, loss, every=100))``.
    n_mc : int
        With `inference`: the number of draws from the approximation for each evaluation of that loss; what
        ``obj_n_mc`` is else. ``more_replacements`` and ``total_grad_norm_constraint`` of ``pm.fit`` are not applied to
        it: for the latter, have a rule inside that takes gradients, such as the one of :func:`~symupdates.sam`, clip.
    fixed_draws : bool
        With `inference`: make all steps with the same draws, so that the loss is a function, with a minimum to be
        found to any accuracy by :func:`~symupdates.lbfgs` [1]_. `n_mc` should then be large, 30 say.
    seed : int, optional
        Seeds the generators that are advanced here and not by PyMC: without a score, or with `inference`.
    max_skipped : int, optional
        How many steps in a row a gate of the optimizer, such as :func:`~symupdates.apply_if_finite`, may skip. At one
        more the fit ends by an error, as nothing moves any more; PyMC would go to the end without a word. With None it
        may skip all. JAX, which compiles no such checks, knows none.

    Attributes
    ----------
    updates : OrderedDict or None
        The updates of the last call: those of the optimizer, and of the generators that the gradients draw from.
    skipped : int
        The number of steps that gates have skipped since.

    Raises
    ------
    TypeError
        If `optimizer` is not callable.
    ValueError
        When it is called: if a pattern fits no variable, or a variable is in no group; if `inference` has no loss (SVGD
        has gradients only); if `fixed_draws` are asked for where minibatches are drawn; if the parameters are of
        another inference.
    FloatingPointError
        During the fit, if a gate skips more than `max_skipped` steps in a row.

    Notes
    -----
    Without a score, ``score=False``, PyMC advances no generator: every step has the same draws from the approximation,
    and the same minibatch. With this optimizer every step has its own, score or not.

    A fit is saved and resumed bit for bit by ``inference.fit(0, obj_optimizer=optimizer)``, which makes the dict and
    no step, ``symupdates.load(file, optimizer.updates)`` and ``inference.refine(n)``. On JAX, whose functions draw from
    copies of the generators, it is the optimizer that goes on, with other draws.

    References
    ----------
    .. [1] R. Giordano, M. Ingram and T. Broderick (2024). Black box variational inference with a deterministic
       objective: faster, more accurate, and even more black box. Journal of Machine Learning Research 25(18).

    Examples
    --------
    >>> import numpy as np, pymc as pm, symupdates
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=np.linspace(0, 1, 10))
    ...     optimizer = symupdates.pymc.Optimizer(
    ...         symupdates.chain(symupdates.adam(learning_rate=0.05), symupdates.apply_ema(decay=0.99)), seed=1
    ...     )
    ...     approx = pm.fit(1000, obj_optimizer=optimizer, score=False, random_seed=1, progressbar=False)
    >>> symupdates.swap_averages(optimizer.updates)  # approx has the averages now
    >>> bool(abs(approx.mean.eval()[0] - 5 / 11) < 0.05)
    True
    """

    def __init__(
        self,
        optimizer: OptimizerLike | Mapping[Any, OptimizerLike | None],
        inference: Any = None,
        n_mc: int = 1,
        fixed_draws: bool = False,
        seed: int | None = None,
        max_skipped: int | None = 100,
    ):
        for one in optimizer.values() if isinstance(optimizer, Mapping) else [optimizer]:
            if one is not None or one is optimizer:
                check_optimizer("symupdates.pymc.Optimizer: optimizer", one)
        if not isinstance(inference, Inference | None):
            raise TypeError(
                f"symupdates.pymc.Optimizer: inference must be one of PyMC's, such as pm.ADVI(), not {inference!r}."
            )
        self.optimizer = optimizer
        self.inference = inference
        self.n_mc = whole_number("symupdates.pymc.Optimizer: n_mc", n_mc)
        self.fixed_draws = flag("symupdates.pymc.Optimizer: fixed_draws", fixed_draws)
        self.seed = checked_seed("symupdates.pymc.Optimizer", seed)
        self.max_skipped = max_skipped
        if max_skipped is not None:
            whole_number("symupdates.pymc.Optimizer: max_skipped", max_skipped)
        self.updates = None
        if inference is None and fixed_draws:
            raise ValueError("symupdates.pymc.Optimizer: fixed_draws are those of an inference; give it as well.")

    def __call__(self, loss_or_grads: LossOrGrads | None = None, params: Parameters | None = None) -> Updates:
        target = loss_or_grads if self.inference is None else self._loss(params)
        generators = {} if self.fixed_draws else random_updates(target)
        reseed(generators, self.seed)
        if isinstance(self.optimizer, Mapping):
            model = None if self.inference is None else self.inference.approx.model
            updates = by_variables(target, params, self.optimizer, model)
        else:
            updates = called("symupdates.pymc.Optimizer: optimizer", self.optimizer, target, params)
        self.updates = merge(updates, generators)
        if self.max_skipped is not None:
            for count in counts(self.updates, "in_a_row"):
                self.updates[count] = CheckAndRaise(FloatingPointError, ALL_SKIPPED.format(self.max_skipped, count))(
                    self.updates[count], self.updates[count] <= self.max_skipped
                )
        return self.updates

    @property
    def skipped(self):
        return sum(int(count.get_value()) for count in counts(self.updates or (), "skipped"))

    def _loss(self, params):
        objective = self.inference.objective
        kind = type(self.inference).__name__
        if not objective.op.returns_loss:
            raise ValueError(
                f"symupdates.pymc.Optimizer: {kind} has no loss, only gradients, for rules that take these; rules that "
                "take the loss are for ADVI, full-rank ADVI and other inferences with an ELBO."
            )
        loss = objective(self.n_mc)
        read = set(graph_inputs([loss]))
        if strange := [str(p) for p in params if isinstance(p, SharedVariable) and p not in read]:
            raise ValueError(
                f"symupdates.pymc.Optimizer: the loss of this {kind} does not depend on {', '.join(strange)}; give "
                "pm.fit, as method, the very inference that the optimizer was given."
            )
        if self.fixed_draws and any(
            isinstance(v.type, RandomType) for v in graph_inputs([self.inference.approx.model.logp()])
        ):
            raise ValueError(
                "symupdates.pymc.Optimizer: fixed_draws with minibatches would fit the first one; give the model all "
                "data, or draw anew in each step."
            )
        return loss
