"""Uses of every kind that are right: type checkers find no error here, and the types that are written."""

# pyright: reportPrivateImportUsage=false, reportOperatorIssue=false

from collections import OrderedDict
from typing import Any, assert_type

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

import symupdates
from symupdates import adam, constraints, gradients, schedules, sgd
from symupdates.typing import (
    GradientTransform,
    Hyper,
    LossOrGrads,
    Optimizer,
    OptimizerLike,
    Parameters,
    Projection,
    Rows,
    Updates,
    UpdateTransform,
)

W = pytensor.shared(np.zeros(3), name="W")
x, rate = pt.vector("x"), pt.scalar("rate")


def rules(loss: TensorVariable, params: list[SharedVariable], grads: list[TensorVariable]) -> None:
    updates: OrderedDict[SharedVariable, TensorVariable] = adam(loss, params)
    assert_type(adam(loss, params)[W], TensorVariable)
    assert_type([*adam(loss, params).items()], list[tuple[SharedVariable, TensorVariable]])
    assert_type(adam([updates[p] for p in updates], updates), Updates)
    assert_type(adam(loss, [W], 0.01), Updates)
    assert_type(adam(loss, params, learning_rate=0.01, beta1=np.float32(0.9)), Updates)
    assert_type(adam(loss_or_grads=loss, params=params), Updates)
    assert_type(adam(params=iter(params), loss_or_grads=grads, epsilon=1), Updates)
    assert_type(adam(tuple(grads), {p: None for p in params}), Updates)
    assert_type(adam(pytensor.grad(loss, params), params), Updates)
    assert_type(adam(symupdates.get_or_compute_grads(loss, params), params), Updates)
    assert_type(symupdates.sam(loss, params, rho=rate, optimizer=symupdates.momentum(momentum=0.8)), Updates)
    assert_type(symupdates.lbfgs(loss, params, memory=5), Updates)
    assert_type(symupdates.lbfgs(loss, params, bounds={"W": (0, None)}), Updates)
    assert_type(symupdates.sgld(loss, params, seed=[1, 2]), Updates)
    assert_type(symupdates.gauss_newton(loss, params, outputs=grads), Updates)
    pytensor.function([x], loss, updates=adam(((x - W) ** 2).sum(), [W], rate))


def optimizers(loss: TensorVariable, params: list[TensorSharedVariable], grads: list[TensorVariable]) -> None:
    assert_type(adam(), Optimizer)
    assert_type(adam(learning_rate=0.01), Optimizer)
    assert_type(adam(learning_rate=0.01)(loss, params), Updates)
    assert_type(adam(beta1=0.8)(loss_or_grads=grads, params=params), Updates)
    assert_type(adam(beta1=0.8)(grads, params, beta1=0.7), Updates)
    assert_type(adam().keywords, dict[str, Any])
    assert_type(adam.__name__, str)


def hyper_parameters(loss: TensorVariable, params: list[SharedVariable]) -> None:
    learning_rates: list[Hyper] = [
        1,
        0.1,
        np.int64(1),
        rate,
        pytensor.shared(0.1),
        schedules.cosine_decay(0.1, 1_000),
        lambda step: 0.1 / (1 + step),
    ]
    for learning_rate in learning_rates:
        adam(loss, params, learning_rate)
        adam(learning_rate=learning_rate)
    sgd(learning_rate=schedules.warmup(schedules.linear(0.1, 0.0, 1_000), 100))
    sgd(learning_rate=schedules.join([schedules.constant(0.1), 0.01, lambda step: 0.1], [100, 200]))
    sgd(learning_rate=schedules.reduce_on_plateau(0.1, loss))


def transforms(loss: TensorVariable, params: list[SharedVariable], grads: list[TensorVariable]) -> None:
    assert_type(gradients.clip_by_norm(grads), list[TensorVariable])
    assert_type(gradients.clip_by_norm(grads=grads, max_norm=rate), list[TensorVariable])
    assert_type(gradients.clip_by_norm(max_norm=1.0), GradientTransform)
    assert_type(gradients.clip_by_norm(max_norm=1.0)(grads), list[TensorVariable])
    assert_type(gradients.clip_by_total_norm(max_norm=1.0), GradientTransform)
    assert_type(gradients.clip_by_total_norm(pytensor.grad(loss, params), 1.0), list[TensorVariable])
    scaled, norm = gradients.clip_by_total_norm(grads, return_norm=True)
    assert_type(norm, TensorVariable)
    scaled, norm = symupdates.total_norm_constraint(scaled, 1.0, return_norm=True)
    assert_type(adam(symupdates.total_norm_constraint(scaled, 1.0), params), Updates)
    assert_type(gradients.add_l2(grads, params, coefficient=0.1), list[TensorVariable])

    updates = adam(loss, params)
    assert_type(symupdates.apply_ema(updates, decay=0.99), Updates)
    assert_type(symupdates.apply_ema(decay=0.99), UpdateTransform)
    assert_type(symupdates.apply_ema(decay=0.99)(updates), Updates)
    assert_type(symupdates.apply_weight_decay(updates, lambda p: p.ndim > 1, 0.1), Updates)
    assert_type(symupdates.apply_momentum({W: updates[W] * 0.9}, [W]), Updates)
    assert_type(symupdates.apply_projection(updates, params, constraints.simplex(axis=1)), Updates)
    assert_type(symupdates.apply_projection(projection=lambda p: p.clip(0, 1)), UpdateTransform)
    assert_type(constraints.box(low=-1), Projection)
    assert_type(constraints.box(updates[W], -1, 1), TensorVariable)
    updates[W] = symupdates.norm_constraint(updates[W], max_norm=1.0)


def my_rule(loss_or_grads: LossOrGrads, params: Parameters, learning_rate: Hyper = 0.1) -> Updates:
    return sgd(loss_or_grads, params, learning_rate)


def by_hand(loss_or_grads, params):
    return {p: p - 0.1 * g for p, g in zip(params, symupdates.get_or_compute_grads(loss_or_grads, params), strict=True)}


def my_transform(grads: list[TensorVariable], scale: float = 2.0) -> list[TensorVariable]:
    return [scale * g for g in grads]


def compositions(loss: TensorVariable, params: list[SharedVariable]) -> None:
    optimizer = symupdates.chain(
        gradients.clip_by_total_norm(max_norm=1.0),
        gradients.centralize,
        my_transform,
        adam(learning_rate=schedules.constant(0.1)),
        symupdates.apply_ema(decay=0.99),
        symupdates.apply_if_finite,
    )
    assert_type(optimizer, Optimizer)
    assert_type(optimizer(loss, params), Updates)
    assert_type(symupdates.chain(adam), Optimizer)
    assert_type(symupdates.chain(my_rule), Optimizer)
    groups = symupdates.partition(("^b", sgd(learning_rate=0.1)), ([W], None), rest=(..., symupdates.chain(adam)))
    assert_type(symupdates.accumulate(groups, every=2), Optimizer)
    assert_type(symupdates.mechanic(sgd), Optimizer)
    assert_type(symupdates.line_search(sgd, c2=None), Optimizer)
    many: list[OptimizerLike] = [adam, adam(), symupdates.sam, optimizer, groups, my_rule, by_hand]
    assert_type(symupdates.merge(*(make(loss, params) for make in many)), Updates)


def more(loss: TensorVariable, params: list[SharedVariable]) -> None:
    words = symupdates.rows(W, [0, 1])
    assert_type(words, Rows)
    updates = adam((words**2).sum(), [words, *params])
    losses, looped = symupdates.loop(loss, updates, {x: pt.matrix("xs")})
    assert_type(losses, TensorVariable)
    assert_type(symupdates.loop([loss, loss], updates, n_steps=10)[0], list[TensorVariable])
    symupdates.save("run.ckpt", looped)
    symupdates.load("run.ckpt", updates)
    symupdates.load_state_dict(updates, symupdates.state_dict(updates))
    assert_type(symupdates.named(updates)["adam/t"], SharedVariable)
    assert_type(symupdates.hyperparameters(updates)["adam/beta1"], TensorVariable)
    assert_type(symupdates.summary(updates), str)
    assert_type(schedules.cosine_decay(0.1, 1_000)(rate), TensorVariable)
    assert_type(schedules.cosine_decay(0.1, 1_000)(10), np.float64)
    assert_type(schedules.cosine_decay(0.1, 1_000)(np.arange(10)), np.ndarray)
    symupdates.to_numpy(params)
