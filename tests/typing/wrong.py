"""Uses that are wrong: type checkers find an error in each line that says so, and in no other."""

# pyright: reportPrivateImportUsage=false

from pytensor.compile import SharedVariable
from pytensor.tensor.variable import TensorVariable

import symupdates
from symupdates import adam, constraints, gradients, schedules, sgd


def rules(loss: TensorVariable, params: list[SharedVariable], grads: list[TensorVariable], W: SharedVariable) -> None:
    adam(loss)  # wrong
    adam(params=params)  # wrong
    adam(loss, W)  # wrong
    adam(loss, [loss])  # wrong
    adam("loss", params)  # wrong
    adam(0.01)  # wrong
    adam(loss, params, 0.01, 0.9, 0.999, 1e-8, 0.01)  # wrong
    adam(loss, params, lr=0.01)  # wrong
    adam(lr=0.01)  # wrong
    adam(adam(loss, params), params)  # wrong
    symupdates.sam(grads, params)  # wrong
    symupdates.lbfgs(loss, params, memory=5.0)  # wrong
    symupdates.sgld(seed="1")  # wrong


def hyper_parameters(loss: TensorVariable, params: list[SharedVariable]) -> None:
    adam(loss, params, "0.01")  # wrong
    adam(learning_rate="0.01")  # wrong
    adam(loss, params, learning_rate=[0.01, 0.1])  # wrong
    adam(learning_rate=None)  # wrong
    adam(learning_rate=sgd)  # wrong
    adam(learning_rate=schedules.cosine_decay)  # wrong
    adam(learning_rate=lambda: 0.1)  # wrong
    schedules.cosine_decay(0.1)  # wrong
    schedules.cosine_decay(0.1, total=100)  # wrong
    schedules.one_cycle(0.1, 100, kind="cubic")  # wrong
    schedules.step_decay(0.1, "100")  # wrong
    schedules.warmup(adam(), 100)  # wrong
    schedules.constant(0.1)("step")  # wrong


def transforms(loss: TensorVariable, params: list[SharedVariable], grads: list[TensorVariable]) -> None:
    gradients.clip_by_norm(1.0)  # wrong
    gradients.clip_by_norm(adam(loss, params))  # wrong
    gradients.clip_by_norm(limit=1.0)  # wrong
    adam(gradients.clip_by_norm(max_norm=1.0), params)  # wrong
    adam(gradients.clip_by_total_norm(grads, return_norm=True), params)  # wrong
    symupdates.apply_ema(0.99)  # wrong
    symupdates.apply_ema(adam())  # wrong
    symupdates.apply_ema(adam(loss, params), rate=0.99)  # wrong
    symupdates.apply_ema({"W": loss})  # wrong
    symupdates.apply_momentum(adam(loss, params), 0.9)  # wrong
    symupdates.apply_projection(projection=0.5)  # wrong
    constraints.box(0.0, 1.0)  # wrong
    constraints.box(low=lambda step: 0.0)  # wrong


def compositions(loss: TensorVariable, params: list[SharedVariable], grads: list[TensorVariable]) -> None:
    adam()(loss)  # wrong
    adam()(loss, params, 0.01)  # wrong
    symupdates.chain(adam(loss, params))  # wrong
    symupdates.chain(0.01, adam())  # wrong
    symupdates.chain(adam())(loss)  # wrong
    symupdates.accumulate(gradients.sign)  # wrong
    symupdates.accumulate(symupdates.apply_ema())  # wrong
    symupdates.partition(adam())  # wrong
    symupdates.partition((0, adam()))  # wrong
    symupdates.sam(optimizer=0.01)  # wrong
    symupdates.merge([adam(loss, params)])  # wrong


def more(loss: TensorVariable, params: list[SharedVariable], W: SharedVariable) -> None:
    updates = adam(loss, params)
    updates["W"]  # wrong
    symupdates.save(updates, "run.ckpt")  # wrong
    symupdates.load_state_dict(symupdates.state_dict(updates), updates)  # wrong
    symupdates.loop(updates, loss)  # wrong
    symupdates.rows(loss, [0, 1])  # wrong
    symupdates.named(updates)[W]  # wrong
