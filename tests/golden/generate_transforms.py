"""Make transforms.json: what optax, torch and Keras compute, in float64, where their transforms are ours.

In the environment that generate.py describes:

    golden-env/bin/python tests/golden/generate_transforms.py

A case has our function with the arguments that reproduce the peer's, the peer with its arguments, and its values. A
number that JSON lacks is the string "nan", "inf" or "-inf". The file holds

    inputs        gradients, and the parameters that are theirs, by name
    gradients     transforms of gradients: the values for each of the inputs that it is ``on``
    start, paths  the parameters and their gradients, one row a step, by name
    updates       transforms of an updates dict around a rule: what is read of the parameters ``only`` (by default all),
                  or of their averages, after each of the ``steps``
    losses        by name
    plateaus      the rate of the first update, numbered 0, and of each whose rate differs from that before; an update's
                  own loss counts from the next
    tensors       by name
    constraints   the values of the tensor ``x``
    threefry      words of keys and counters
"""

import argparse
import json
import math
import platform
import sys
import warnings
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
from generate import HERE, deviation, dump

RNG = np.random.default_rng(20)
NAN, INF = math.nan, math.inf


def inputs(params, **grads):
    return {name: {"params": params, "grads": given} for name, given in grads.items()}


# A unit whose weights are zero, one whose gradients are; the norms of the layers are about 0.1, 5, 1e9, 3e5 and 0.
INPUTS = inputs(
    [[[0.5, 0.0], [-1.25, 0.0], [2.0, 0.0]], [0.25, -0.5, 0.125]],
    small=[[[0.03, -0.04], [0.0, 0.01], [-0.02, 0.05]], [0.02, 0.0, -0.06]],
    medium=[[[1.5, 0.0], [-3.1, 0.0], [0.4, 0.0]], [0.9, -1.2, 0.0]],
    large=[[[-2.5e7, 3e4], [1e9, 0.0], [4e8, -6e8]], [7e8, -1e-3, 2.5e6]],
    lopsided=[[[3e5, -1e5], [2e4, 4e3], [-500.0, 7e4]], [1e-9, -2e-9, 3e-10]],
    zero=[[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0.0, 0.0, 0.0]],
    broken=[[[NAN, 3.0], [INF, -0.25], [0.0, -INF]], [1.0, NAN, -0.5]],
) | inputs(
    [[[[0.5, -0.75], [1.0, 0.0]], [[1e-4, 0.0], [0.0, -2e-4]]]],
    kernel=[[[[0.4, -0.1], [2.5, 0.3]], [[0.01, -0.02], [1e-5, 0.03]]]],
)
LAYERS = ["small", "medium", "large", "zero"]

STEPS = 14
READ = [1, 5, 6, 10, 11, 12, 14]
START = [[[1.0], [-0.75]], 0.5]


def path(elements):
    """Gradients of STEPS steps, of several magnitudes and nowhere zero, but for some elements that are put in."""
    scales = 10.0 ** RNG.integers(-2, 2, size=STEPS)[:, None]
    flat = (RNG.normal(size=(STEPS, 3)) * scales).round(4)
    if not flat.all():
        raise RuntimeError("a gradient is zero")
    for step, broken in elements.items():
        flat[step - 1] = np.where(np.isfinite(broken), flat[step - 1], broken)
    return [[row[:2, None].tolist(), row[2].item()] for row in flat]


# Broken are one step, two in a row and three, of which the last leaves two elements finite.
BREAKS = {2: [NAN, 0, 0], 5: [0, 0, INF], 6: [0, -INF, NAN], 9: [NAN, 0, 0], 10: [0, 0, -INF], 11: [INF, 0, 0]}
PATHS = {"whole": path({}), "broken": path(BREAKS)}

LOSSES = {
    # Falls, stays with some noise, falls once more, stays.
    "two_plateaus": [2 * 0.7**t + 0.5 * (t < 24) + 0.4 + 0.01 * math.sin(5 * t) for t in range(48)],
    "through_zero": [max(1.5 - 0.25 * t, -0.6) + 0.02 * math.cos(3 * t) for t in range(30)],
    "not_a_number": [1, 0.5, NAN, NAN, 0.25, NAN, 0.3, 0.1875, 0.3, 0.31, INF, 0.1, 0.2, 0.2, 0.2, 0.2],
}
LOSSES = {name: [round(float(loss), 4) for loss in losses] for name, losses in LOSSES.items()}
# By so little that the default tolerances of the peers see it every 17 steps only.
LOSSES["creeping"] = [round(1 - 6e-6 * t, 6) for t in range(36)]

TENSORS = {
    "mixed": [[0.9, -0.3, 0.25], [-1.6, 0.7, -0.2], [2.2, 0.4, 1.3]],
    "small": [[0.1, -0.02, 0.0], [0.03, 0.05, -0.2]],
    "broken": [[NAN, -2.0, 0.0], [INF, -INF, 0.3]],
}


def plain(x):
    """Arrays as lists, and strings for what is no finite number."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x


def numbers(x):
    """A peer's tensor as lists; an error unless it is in float64."""
    x = np.asarray(x)
    if x.dtype != np.float64:
        raise RuntimeError(f"a peer computes in {x.dtype}")
    return x.tolist()


def arrays(xs):
    return [np.array(x, dtype="float64") for x in xs]


def run_optax(transform, params, grads):
    import jax.numpy as jnp

    params, grads = ([jnp.asarray(x) for x in arrays(xs)] for xs in (params, grads))
    transformed, _ = transform.update(grads, transform.init(params), params)
    return [numbers(x) for x in transformed]


def run_torch(function, params, grads):
    """Of a function that changes the gradients in place."""
    import torch

    params = [torch.nn.Parameter(torch.tensor(p, dtype=torch.float64)) for p in params]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g, dtype=torch.float64)
    function(params)
    return [numbers(p.grad) for p in params]


def run_keras(arguments, params, grads):
    """Of an argument of every optimizer: a step of size one away from zero."""
    import keras

    variables = [keras.Variable(np.zeros_like(p), dtype="float64") for p in arrays(params)]
    optimizer = keras.optimizers.SGD(learning_rate=1.0, **arguments)
    optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64") for g in arrays(grads)], variables)
    return [numbers(-v.numpy()) for v in variables]


def gradient_cases():
    import optax
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_

    def case(transform, hyper, peer, arguments, on, run):
        values = [run(INPUTS[name]["params"], INPUTS[name]["grads"]) for name in on]
        return {
            "transform": transform,
            "hyper": hyper,
            "peer": peer,
            "arguments": arguments,
            "on": on,
            "values": values,
        }

    def of_optax(transform, hyper, peer, arguments, on=LAYERS):
        made = getattr(optax, peer)(**arguments)
        return case(transform, hyper, f"optax.{peer}", arguments, on, lambda p, g: run_optax(made, p, g))

    def of_keras(transform, hyper, argument, value, on=LAYERS):
        given = {argument: value}
        return case(transform, hyper, "keras.SGD", given, on, lambda p, g: run_keras(given, p, g))

    for limit, on in [(1.0, ["medium"]), (0.04, ["small", "lopsided", "zero", "broken"])]:
        hyper = {"limit": limit} if limit != 1 else {}
        yield of_optax("clip_by_value", hyper, "clip", {"max_delta": limit}, on)
        yield of_keras("clip_by_value", hyper, "clipvalue", limit, on)
        yield case(
            "clip_by_value",
            hyper,
            "torch.clip_grad_value_",
            {"clip_value": limit},
            on,
            lambda p, g, limit=limit: run_torch(lambda params: clip_grad_value_(params, limit), p, g),
        )

    for max_norm, on in [(1.0, LAYERS), (3.5, ["small", "medium", "lopsided"])]:
        hyper = {"max_norm": max_norm} if max_norm != 1 else {}
        yield of_keras("clip_by_norm", hyper, "clipnorm", max_norm, on)
        yield of_optax("clip_by_total_norm", hyper, "clip_by_global_norm", {"max_norm": max_norm}, on)
        yield of_keras("clip_by_total_norm", hyper, "global_clipnorm", max_norm, on)

        # torch scales by min(1, c / (n + 1e-6)). Outside the ball that is total_norm_constraint with this epsilon;
        # inside, where that one scales by n / (n + epsilon), it is one.
        def run(p, g, max_norm=max_norm):
            return run_torch(lambda params: clip_grad_norm_(params, max_norm), p, g)

        inside = [name for name in on if name in ("small", "zero")]
        outside = [name for name in on if name not in inside]
        arguments = {"max_norm": max_norm}
        yield case("clip_by_total_norm", hyper, "torch.clip_grad_norm_", arguments, inside, run)
        hyper = {"max_norm": max_norm, "epsilon": 1e-6}
        yield case("total_norm_constraint", hyper, "torch.clip_grad_norm_", arguments, outside, run)

    yield of_optax("clip_adaptively", {}, "adaptive_grad_clip", {"clipping": 0.01})
    arguments = {"clipping": 0.16, "eps": 0.5}
    yield of_optax(
        "clip_adaptively", {"clipping": 0.16, "epsilon": 0.5}, "adaptive_grad_clip", arguments, ["small", "medium"]
    )
    # Without an axis, the inputs are the first of a matrix, as ours, but the first three of a kernel's four.
    arguments = {"clipping": 0.05, "axis": [1, 2]}
    adaptive = optax.adaptive_grad_clip(0.05, axis=(1, 2))
    run = lambda p, g: run_optax(adaptive, p, g)  # noqa: E731
    yield case("clip_adaptively", {"clipping": 0.05}, "optax.adaptive_grad_clip", arguments, ["kernel"], run)

    yield of_optax("normalize", {}, "normalize_by_update_norm", {})
    yield of_optax("normalize", {"epsilon": 0.25}, "normalize_by_update_norm", {"eps": 0.25}, ["small", "medium"])

    # The units are the first axis of a matrix, too, where ours are the second: it gets the transposed.
    def centralized(params, grads):
        def turned(xs):
            return [x.T if x.ndim == 2 else x for x in arrays(xs)]

        return [x.tolist() for x in turned(run_optax(optax.centralize(), turned(params), turned(grads)))]

    on = ["small", "large", "zero", "kernel"]
    yield case("centralize", {}, "optax.centralize", {"matrices": "transposed"}, on, centralized)
    yield of_optax("zero_nans", {}, "zero_nans", {}, ["medium", "broken"])
    yield of_optax("sign", {}, "scale_by_sign", {}, ["lopsided", "zero", "broken"])
    yield of_optax("add_l2", {}, "add_decayed_weights", {"weight_decay": 1e-4}, ["small", "zero"])
    yield of_optax("add_l2", {"coefficient": 0.3}, "add_decayed_weights", {"weight_decay": 0.3}, ["medium", "kernel"])


def walk_optax(optimizer, grads, start=lambda params: params, read=lambda params: params):
    """What is read of the parameters after each step."""
    import jax.numpy as jnp
    import optax

    params = start([jnp.asarray(p) for p in arrays(START)])
    state = optimizer.init(params)
    for row in grads:
        updates, state = optimizer.update([jnp.asarray(g) for g in arrays(row)], state, params)
        params = optax.apply_updates(params, updates)
        yield [numbers(p) for p in read(params)]


def walk_optax_average(decay, optimizer, grads):
    """The averages of the parameters after each step."""
    import jax.numpy as jnp
    import optax

    average = optax.ema(decay)
    state = average.init([jnp.asarray(p) for p in arrays(START)])
    for params in walk_optax(optimizer, grads):
        averages, state = average.update([jnp.asarray(p) for p in arrays(params)], state)
        yield [numbers(a) for a in averages]


def walk_torch(peer, arguments, grads, average=None, averaged=()):
    """The parameters after each step; or the averages that a function makes of them, updated after some steps."""
    import torch

    params = torch.nn.ParameterList(torch.tensor(p, dtype=torch.float64) for p in START)
    optimizer = getattr(torch.optim, peer)(params.parameters(), **arguments)
    model = params if average is None else torch.optim.swa_utils.AveragedModel(params, **average)
    if 0 in averaged:
        model.update_parameters(params)
    for step, row in enumerate(grads, start=1):
        for p, g in zip(params, row, strict=True):
            p.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        if step in averaged:
            model.update_parameters(params)
        yield [numbers(p.detach()) for p in model.parameters()]


def walk_keras(peer, arguments, grads, spared=()):
    """The parameters after each step; those spared, by number, do not decay."""
    import keras

    params = [keras.Variable(p, dtype="float64") for p in arrays(START)]
    optimizer = getattr(keras.optimizers, peer)(**arguments)
    if spared:
        optimizer.exclude_from_weight_decay([params[i] for i in spared])
    for row in grads:
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64") for g in arrays(row)], params)
        yield [numbers(p.numpy()) for p in params]


# A rule with its arguments, and the same of optax. Adam has no epsilon, which optax and torch have elsewhere.
SGD = "sgd", {"learning_rate": 0.1}, {"learning_rate": 0.1}
MOMENTUM = "momentum", {"learning_rate": 0.02, "momentum": 0.8}, {"learning_rate": 0.02, "momentum": 0.8}
ADAM = "adam", {"learning_rate": 0.1, "epsilon": 0.0}, {"learning_rate": 0.1, "eps": 0.0}


def update_cases():
    import jax.numpy as jnp
    import optax
    from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_avg_fn

    def case(transform, hyper, rule, rule_hyper, peer, arguments, walk, path="whole", steps=READ, only=None):
        walked = list(walk(PATHS[path]))
        return {
            "transform": transform,
            "hyper": hyper,
            "rule": rule,
            "rule_hyper": rule_hyper,
            "only": only,
            "peer": peer,
            "arguments": arguments,
            "path": path,
            "steps": steps,
            "values": [walked[step - 1] for step in steps],
        }

    def of_optax(rule, transform, hyper, peer, arguments, walk, path="whole", only=None):
        """Of a walk with optax's optimizer, and the gradients."""
        name, rule_hyper, given = rule
        optimizer = getattr(optax, {"momentum": "sgd"}.get(name, name))(**given)
        peer, arguments = f"optax.{peer}", arguments | given
        return case(transform, hyper, name, rule_hyper, peer, arguments, lambda g: walk(optimizer, g), path, only=only)

    def of_torch(rule, transform, hyper, peer, arguments, steps=READ, **how):
        name, rule_hyper, _ = rule
        walk = partial(walk_torch, peer, arguments, **how)
        return case(transform, hyper, name, rule_hyper, f"torch.{peer}", arguments, walk, steps=steps)

    def wrapped(wrap, **arguments):
        return lambda optimizer, grads: walk_optax(wrap(optimizer, **arguments), grads)

    sgd, adam = {"lr": 0.1}, {"lr": 0.1, "eps": 0.0}
    arguments = {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.2}
    yield of_torch(MOMENTUM, "add_l2", {"coefficient": 0.2}, "SGD", arguments)
    yield of_torch(ADAM, "add_l2", {"coefficient": 0.2}, "Adam", adam | {"weight_decay": 0.2})

    yield of_torch(ADAM, "apply_weight_decay", {"learning_rate": 0.1}, "AdamW", adam)
    chain = {"weight_decay": 0.3, "mask": [True, False]}
    decay = [optax.trace(0.8), optax.add_decayed_weights(**chain), optax.scale_by_learning_rate(0.02)]
    hyper = {"weight_decay": 0.3, "learning_rate": 0.02}
    walk = wrapped(lambda _: optax.chain(*decay))
    yield of_optax(MOMENTUM, "apply_weight_decay", hyper, "add_decayed_weights", chain, walk, only=[0])
    for rule, rule_hyper, peer, arguments in [
        (*MOMENTUM[:2], "SGD", MOMENTUM[2]),
        (
            "rmsprop",
            {"learning_rate": 0.02, "rho": 0.8},
            "RMSprop",
            {"learning_rate": 0.02, "rho": 0.8, "epsilon": 1e-6},
        ),
    ]:
        arguments = arguments | {"weight_decay": 0.3}
        walk = partial(walk_keras, peer, arguments, spared=[1])
        yield case("apply_weight_decay", hyper, rule, rule_hyper, f"keras.{peer}", arguments, walk, only=[0])

    for hyper, decay in [({}, 0.99), ({"decay": 0.6}, 0.6)]:
        yield of_optax(SGD, "apply_ema", hyper, "ema", {"decay": decay}, partial(walk_optax_average, decay))
        # torch's average begins at the parameters of its first update: here, one before the first step, like ours.
        how = {"average": {"multi_avg_fn": get_ema_multi_avg_fn(decay)}, "averaged": range(STEPS + 1)}
        hyper = hyper | {"debias": False}
        yield of_torch(SGD, "apply_ema", hyper, "SGD", sgd, **how) | {"average": {"decay": decay}}
    for hyper, averaged in [
        ({}, range(1, STEPS + 1)),
        ({"begin": 4}, range(5, STEPS + 1)),
        ({"begin": 3, "every": 2}, range(5, STEPS + 1, 2)),
    ]:
        # Before, torch's average is the initial parameter and ours the current one. Its default divides in float32.
        steps = [step for step in READ if step >= averaged[0]]
        how = {"average": {"avg_fn": get_swa_avg_fn()}, "averaged": averaged}
        made = of_torch(SGD, "apply_polyak_average", hyper, "SGD", sgd, steps, **how)
        yield made | {"average": {"updated": [*averaged]}}

    def measured(transform):
        """Between the direction of a rule and its rate."""
        directions = {"adam": optax.scale_by_adam(eps=0.0), "momentum": optax.trace(0.8)}
        rate = {"adam": 0.1, "momentum": 0.02}

        def walk(name):
            chained = optax.chain(directions[name], transform, optax.scale_by_learning_rate(rate[name]))
            return wrapped(lambda _: chained)

        return walk

    for rule, trust in [(ADAM, 1.0), (MOMENTUM, 0.3)]:
        hyper, arguments = {"trust_coefficient": trust} if trust != 1 else {}, {"trust_coefficient": trust}
        walk = measured(optax.scale_by_trust_ratio(**arguments))(rule[0])
        yield of_optax(rule, "apply_trust_ratio", hyper, "scale_by_trust_ratio", arguments, walk)
    for rule, threshold in [(ADAM, 1.0), (MOMENTUM, 0.7)]:
        hyper, arguments = {"threshold": threshold} if threshold != 1 else {}, {"threshold": threshold}
        walk = measured(optax.clip_by_block_rms(**arguments))(rule[0])
        yield of_optax(rule, "apply_rms_clip", hyper, "clip_by_block_rms", arguments, walk)

    for rule, hyper in [(SGD, {}), (ADAM, {}), (MOMENTUM, {"beta": 0.75})]:
        arguments = {"learning_rate": rule[2]["learning_rate"], "b1": hyper.get("beta", 0.9)}
        walk = wrapped(optax.contrib.schedule_free, **arguments)
        yield of_optax(rule, "apply_schedule_free", hyper, "contrib.schedule_free", arguments, walk)

    def lookahead(arguments):
        def walk(optimizer, grads):
            made = optax.lookahead(optimizer, **arguments)
            return walk_optax(made, grads, start=optax.LookaheadParams.init_synced, read=lambda params: params.fast)

        return walk

    for rule, hyper, arguments in [
        (SGD, {}, {"sync_period": 5, "slow_step_size": 0.5}),
        (ADAM, {}, {"sync_period": 5, "slow_step_size": 0.5}),
        (ADAM, {"every": 3, "alpha": 0.8}, {"sync_period": 3, "slow_step_size": 0.8}),
        (MOMENTUM, {"every": 2, "alpha": 0.25}, {"sync_period": 2, "slow_step_size": 0.25}),
    ]:
        yield of_optax(rule, "apply_lookahead", hyper, "lookahead", arguments, lookahead(arguments))

    for rule, hyper, most in [
        (SGD, {"limit": 2}, 2),
        (MOMENTUM, {}, 100),
        (MOMENTUM, {"limit": 3}, 3),
        (ADAM, {}, 100),
    ]:
        arguments = {"max_consecutive_errors": most}
        walk = wrapped(optax.apply_if_finite, **arguments)
        yield of_optax(rule, "apply_if_finite", hyper, "apply_if_finite", arguments, walk, "broken")

    for rule, hyper, arguments in [
        (MOMENTUM, {}, {"every_k_schedule": 4}),
        (ADAM, {}, {"every_k_schedule": 4}),
        (MOMENTUM, {"every": 3, "mean": False}, {"every_k_schedule": 3, "use_grad_mean": False}),
    ]:
        walk = wrapped(optax.MultiSteps, **arguments, accumulator_dtype=jnp.float64)
        yield of_optax(rule, "accumulate", hyper, "MultiSteps", arguments, walk)
    for rule, rule_hyper, peer, arguments in [
        (*MOMENTUM[:2], "SGD", MOMENTUM[2]),
        ("adam", {"learning_rate": 0.1, "epsilon": 1e-3}, "Adam", {"learning_rate": 0.1, "epsilon": 1e-3}),
    ]:
        arguments = arguments | {"gradient_accumulation_steps": 3}
        walk = partial(walk_keras, peer, arguments)
        yield case("accumulate", {"every": 3}, rule, rule_hyper, f"keras.{peer}", arguments, walk)

    def scaled(optimizer):
        return optax.chain(optimizer, optax.scale(0.3))

    def partly(transform):
        return lambda optimizer: optax.partition({"W": transform(optimizer), "b": optimizer}, ["W", "b"])

    hyper, arguments = {"scale": 0.3}, {"step_size": 0.3}
    yield of_optax(ADAM, "apply_scale", hyper, "scale", arguments, wrapped(scaled))
    yield of_optax(MOMENTUM, "apply_scale", hyper, "scale", arguments, wrapped(partly(scaled)), only=[0])
    frozen = partly(lambda _: optax.set_to_zero())
    yield of_optax(ADAM, "apply_freeze", {}, "set_to_zero", {}, wrapped(frozen), only=[0])

    def non_negative(optimizer):
        return optax.chain(optimizer, optax.keep_params_nonnegative())

    yield of_optax(MOMENTUM, "apply_projection", {}, "keep_params_nonnegative", {}, wrapped(non_negative))

    # It measures the gradients, ten times the steps of this rule; there is one of 0.267 and one of 0.273.
    arguments = {"max_squared_norm": 0.27**2}
    skip = {"should_skip_update_fn": partial(optax.skip_large_updates, **arguments), "accumulator_dtype": jnp.float64}
    walk = wrapped(optax.MultiSteps, every_k_schedule=1, **skip)
    yield of_optax(SGD, "apply_if_small", {"max_norm": 0.027}, "skip_large_updates", arguments, walk, "broken")


def rates_of_optax(value, arguments, losses):
    import jax.numpy as jnp
    from optax.contrib import reduce_on_plateau

    transform = reduce_on_plateau(**arguments)
    state = transform.init(jnp.zeros(()))
    yield value
    for loss in losses:
        scaled, state = transform.update(jnp.asarray(value), state, value=jnp.asarray(loss))
        yield numbers(scaled)


def rates_of_torch(value, arguments, losses):
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=value)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **arguments)
    yield value
    for loss in losses:
        optimizer.step()
        scheduler.step(loss)
        yield optimizer.param_groups[0]["lr"]


def rates_of_keras(value, arguments, losses):
    import keras

    optimizer = keras.optimizers.SGD(value)
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", **arguments)
    callback.set_model(SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    yield value
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"loss": loss})
        yield numbers(optimizer.learning_rate)


def plateau_cases():
    def case(value, hyper, peer, arguments, losses, rates):
        values = list(rates(value, arguments, LOSSES[losses]))
        changes = [[t, x] for t, x in enumerate(values) if t == 0 or x != values[t - 1]]
        if len(changes) < 2:
            raise RuntimeError(f"{peer} reduces nothing with {arguments}")
        return {
            "value": value,
            "hyper": hyper,
            "peer": peer,
            "arguments": arguments,
            "losses": losses,
            "changes": changes,
        }

    def of_optax(value, hyper, arguments, losses="two_plateaus"):
        return case(value, hyper, "optax.reduce_on_plateau", arguments, losses, rates_of_optax)

    def of_torch(value, hyper, arguments, losses="two_plateaus"):
        return case(value, hyper, "torch.ReduceLROnPlateau", {"eps": 0.0} | arguments, losses, rates_of_torch)

    def of_keras(value, hyper, arguments, losses="two_plateaus"):
        return case(value, hyper, "keras.ReduceLROnPlateau", arguments, losses, rates_of_keras)

    # torch reduces after one bad loss more than its patience. keras forgives one bad loss less than its cooldown, and
    # its only tolerance is absolute. Below zero, rtol makes the bound of torch and optax larger than the best loss.
    for losses in ("two_plateaus", "through_zero", "not_a_number"):
        for hyper in [
            {"factor": 0.5, "patience": 3},
            {"factor": 0.5, "patience": 2, "cooldown": 3, "rtol": 0.05},
            {"factor": 0.25, "patience": 1, "cooldown": 1, "minimum": 0.0625},
        ]:
            if losses == "through_zero":
                continue
            names = {"minimum": "min_scale"}
            arguments = {names.get(name, name): x for name, x in hyper.items()}
            yield of_optax(1.0, hyper, arguments, losses)
            names = {"minimum": "min_lr", "rtol": "threshold"}
            arguments = {names.get(name, name): x for name, x in hyper.items()}
            yield of_torch(1.0, hyper, arguments | {"patience": hyper["patience"] - 1}, losses)
        hyper = {"factor": 0.5, "patience": 2, "rtol": 0.0, "atol": 0.0625, "cooldown": 3, "minimum": 0.0625}
        common = {"factor": 0.5, "min_lr": 0.0625}
        arguments = {"patience": 1, "threshold": 0.0625, "threshold_mode": "abs", "cooldown": 3}
        yield of_torch(1.0, hyper, common | arguments, losses)
        yield of_keras(1.0, hyper, common | {"patience": 2, "min_delta": 0.0625, "cooldown": 4}, losses)
    yield of_optax(0.3, {}, {}, "creeping")
    yield of_torch(0.3, {}, {"patience": 9}, "creeping")
    yield of_keras(0.3, {"rtol": 0.0, "atol": 1e-4}, {}, "creeping")
    arguments = {"factor": 0.7, "patience": 2, "accumulation_size": 3}
    yield of_optax(0.3, {"factor": 0.7, "patience": 2, "every": 3}, arguments)
    arguments = {"factor": 0.7, "patience": 3, "cooldown": 1, "rtol": 0.01, "atol": 0.01, "accumulation_size": 2}
    hyper = {"factor": 0.7, "patience": 3, "cooldown": 1, "rtol": 0.01, "atol": 0.01, "every": 2}
    yield of_optax(0.3, hyper, arguments)


def constraint_cases():
    import jax
    import jax.numpy as jnp
    import keras
    import optax

    def case(constraint, hyper, peer, arguments, x, values):
        peer = {"peer": peer, "arguments": arguments}
        return {"constraint": constraint, "hyper": hyper, **peer, "x": x, "values": numbers(values)}

    def of_optax(constraint, hyper, peer, arguments, x="mixed", along=None):
        """Of the whole tensor, or of each slice along an axis."""

        def project(tensor):
            return getattr(optax.projections, peer)(tensor, *arguments)

        if along is not None:
            project = jax.vmap(project, in_axes=1 - along, out_axes=1 - along)
        values = project(jnp.asarray(TENSORS[x], dtype="float64"))
        return case(constraint, hyper, f"optax.{peer}", arguments, x, values)

    def of_keras(constraint, hyper, peer, arguments, x="mixed"):
        tensor = keras.ops.convert_to_tensor(TENSORS[x], dtype="float64")
        values = getattr(keras.constraints, peer)(**arguments)(tensor)
        return case(constraint, hyper, f"keras.{peer}", arguments, x, values)

    for x in ("mixed", "broken"):
        yield of_optax("non_negative", {}, "projection_non_negative", [], x)
        yield of_keras("non_negative", {}, "NonNeg", {}, x)
        yield of_optax("box", {"low": -0.25, "high": 0.75}, "projection_box", [-0.25, 0.75], x)

    # keras adds keras.config.epsilon() to each norm: here none, which makes its constraints ours.
    epsilon = keras.config.epsilon()
    keras.config.set_epsilon(0.0)
    for axes in (0, 1, [0, 1]):
        yield of_keras("unit_norm", {"axes": axes}, "UnitNorm", {"axis": axes})
        yield of_keras("max_norm", {"bound": 1.2, "axes": axes}, "MaxNorm", {"max_value": 1.2, "axis": axes})
    yield of_keras("unit_norm", {}, "UnitNorm", {"axis": 0})
    yield of_keras("max_norm", {"bound": 0.9}, "MaxNorm", {"max_value": 0.9, "axis": 0})
    keras.config.set_epsilon(epsilon)
    yield of_optax("unit_norm", {"axes": [0, 1]}, "projection_l2_sphere", [])
    yield of_optax("max_norm", {"bound": 1.2}, "projection_l2_ball", [1.2], along=0)

    for x in ("mixed", "small"):
        yield of_optax("l2_ball", {}, "projection_l2_ball", [], x)
        yield of_optax("l1_ball", {}, "projection_l1_ball", [], x)
        yield of_optax("simplex", {}, "projection_simplex", [], x)
    yield of_optax("l2_ball", {"radius": 0.15}, "projection_l2_ball", [0.15], "small")
    yield of_optax("l1_ball", {"radius": 0.15}, "projection_l1_ball", [0.15], "small")
    yield of_optax("simplex", {"total": 2.5}, "projection_simplex", [2.5])
    for axis in (0, 1):
        yield of_optax("l2_ball", {"radius": 1.5, "axes": axis}, "projection_l2_ball", [1.5], along=axis)
        yield of_optax("l1_ball", {"radius": 2.0, "axis": axis}, "projection_l1_ball", [2.0], along=axis)
        yield of_optax("simplex", {"total": 0.5, "axis": axis}, "projection_simplex", [0.5], along=axis)


# The known answers of Random123: key, counter, words.
RANDOM123 = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def threefry_cases():
    from jax.extend.random import threefry_2x32

    counters = [[0, 0], [1, 0], [0, 1], [0xFFFFFFFF, 0xFFFFFFFF], [0x243F6A88, 0x85A308D3]]
    for key in [[0, 0], [0, 42], [0x80000000, 1], [0xFFFFFFFF, 0xFFFFFFFF], [0x13198A2E, 0x03707344]]:
        # It takes all first words, then all second words.
        flat = threefry_2x32(np.array(key, dtype="uint32"), np.array(counters, dtype="uint32").T.ravel())
        words = np.asarray(flat).reshape(2, -1).T.tolist()
        for known_key, counter, answer in RANDOM123:
            if key == list(known_key) and words[counters.index(list(counter))] != list(answer):
                raise RuntimeError("this is not Threefry-2x32-20")
        yield {"key": key, "counters": counters, "words": words}


def content():
    import keras

    keras.config.set_floatx("float64")
    names = ("numpy", "jax", "optax", "torch", "keras")
    with warnings.catch_warnings(action="ignore"):
        return plain(
            {
                "versions": {"python": platform.python_version()} | {x: version(x) for x in names},
                "inputs": INPUTS,
                "gradients": [*gradient_cases()],
                "start": START,
                "paths": PATHS,
                "updates": [*update_cases()],
                "losses": LOSSES,
                "plateaus": [*plateau_cases()],
                "tensors": TENSORS,
                "constraints": [*constraint_cases()],
                "threefry": [*threefry_cases()],
            }
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the file that is there")
    check = parser.parse_args().check
    path = HERE / "transforms.json"
    new = content()
    cases = sum(len(new[part]) for part in ("gradients", "updates", "plateaus", "constraints", "threefry"))
    if not check:
        path.write_text(dump(new) + "\n")
        print(f"{path.name}: {cases} cases, {path.stat().st_size} bytes")
        return
    old, new = json.loads(path.read_text()), json.loads(json.dumps(new))
    if new.pop("versions") != old.pop("versions"):
        print(f"{path.name}: other versions than these were used")
    worst = deviation(new, old)
    print(f"{path.name}: {cases} cases, largest relative deviation {worst:.1e}")
    sys.exit(worst > 1e-13)


if __name__ == "__main__":
    main()
