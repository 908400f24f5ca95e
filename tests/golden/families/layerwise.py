"""Layers and matrices."""

from unittest import mock

from golden.common import RATES, case
from oracles.matrix import POLAR_EXPRESS

MATRIX = [2, 5]


def run_torch(peer, arguments, p, grads):
    """Muon for transposed matrices, as torch's are, and in float64: without its cast."""
    import torch
    from golden.generate import run_torch

    if peer != "Muon":
        yield from run_torch(peer, arguments, p, grads)
        return
    with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
        for x in run_torch(peer, arguments, p.T.copy(), grads.swapaxes(1, 2).copy()):
            yield x.T


def torch_cases():
    # Its epsilons stand elsewhere.
    hyper = {"learning_rate": 0.02, "weight_decay": 0.1, "epsilon": 0.0}
    yield case("muon", hyper, "Muon", {"lr": 0.02, "eps": 0.0}, shape=MATRIX)
    hyper = {"learning_rate": RATES, "momentum": 0.5, "epsilon": 0.0, "nesterov": False, "ns_steps": 3}
    arguments = {"lr": RATES, "momentum": 0.5, "eps": 0.0, "nesterov": False, "ns_steps": 3, "weight_decay": 0.0}
    yield case("muon", hyper, "Muon", arguments, shape=[5, 2])
    hyper = {"learning_rate": 0.1, "weight_decay": 0.3, "epsilon": 0.0, "consistent_rms": 0.2}
    arguments = {"lr": 0.1, "weight_decay": 0.3, "eps": 0.0, "adjust_lr_fn": "match_rms_adamw"}
    yield case("muon", hyper, "Muon", arguments, shape=MATRIX)

    for nonzero, shape in [(True, [7]), (False, MATRIX), (False, [5, 2])]:
        yield case("adafactor", {"epsilon1": 0.0}, "Adafactor", {"eps": [0.0, 1e-3]}, nonzero=nonzero, shape=shape)
        hyper = {
            "learning_rate": RATES,
            "beta2_decay": -0.6,
            "epsilon1": 0.0,
            "epsilon2": 2.0,
            "clip_threshold": 1.5,
        }
        arguments = {"lr": RATES, "beta2_decay": -0.6, "eps": [0.0, 2.0], "d": 1.5}
        yield case("adafactor", hyper, "Adafactor", arguments, nonzero=nonzero, shape=shape)


def run_optax(peer, arguments, p, grads):
    """Adafactor as it is put together there, but for the decay of its averages, which is computed in float32."""
    import optax
    from golden.generate import run_optax

    def adafactor(learning_rate, min_dim_size_to_factor=128, decay_rate=0.8, clipping_threshold=1.0):
        return optax.chain(
            optax.scale_by_factored_rms(
                decay_rate=decay_rate,
                min_dim_size_to_factor=min_dim_size_to_factor,
                decay_rate_fn=lambda count, exponent: 1 - (count + 1.0) ** -exponent,
            ),
            optax.clip_by_block_rms(clipping_threshold),
            optax.scale_by_learning_rate(learning_rate, flip_sign=False),
            optax.scale_by_param_block_rms(),
            optax.scale(-1),
        )

    with mock.patch.object(optax, "adafactor", adafactor):
        yield from run_optax(peer, arguments, p, grads)


def optax_cases():
    # It divides by the norm of the gradient and the decay together, which is ours without decay only.
    for shape in [[10], MATRIX]:
        hyper = {"learning_rate": RATES, "trust_coefficient": 0.3}
        yield case("lars", hyper, "lars", hyper, shape=shape)
    hyper = {"learning_rate": 0.1, "momentum": 0.5}
    yield case("lars", hyper, "lars", hyper)
    hyper = {"learning_rate": 0.5, "momentum": 0.0, "trust_coefficient": 0.125}
    arguments = {"learning_rate": 0.5, "momentum": 0.75, "trust_coefficient": 0.125, "nesterov": True}
    yield case("lars", hyper, "lars", arguments, transform={"name": "apply_nesterov_momentum", "momentum": 0.75})

    yield case("lamb", {"weight_decay": 0.0}, "lamb", {"learning_rate": 0.001})
    hyper = {"learning_rate": RATES, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.2}
    arguments = {"learning_rate": RATES, "b1": 0.8, "b2": 0.95, "eps": 1e-3, "weight_decay": 0.2}
    for shape in [[10], MATRIX]:
        yield case("lamb", hyper, "lamb", arguments, shape=shape)

    yield case("fromage", {}, "fromage", {"learning_rate": 0.01})
    for shape in [[10], MATRIX]:
        hyper = {"learning_rate": RATES, "min_norm": 1e-3}
        yield case("fromage", hyper, "fromage", hyper, shape=shape)

    # Its Nesterov step corrects both parts for their start at zero.
    hyper = {"learning_rate": 0.1, "weight_decay": 0.3, "epsilon": 0.0, "nesterov": False}
    arguments = {"learning_rate": 0.1, "weight_decay": 0.3, "eps": 0.0, "nesterov": False}
    for shape in [MATRIX, [5, 2]]:
        yield case("muon", hyper, "contrib.muon", arguments, shape=shape)
    hyper = {"learning_rate": RATES, "momentum": 0.5, "epsilon": 0.0, "nesterov": False, "consistent_rms": 0.3}
    arguments = {"learning_rate": RATES, "beta": 0.5, "eps": 0.0, "nesterov": False, "consistent_rms": 0.3}
    yield case("muon", hyper, "contrib.muon", arguments, shape=MATRIX)

    hyper = {"learning_rate": 0.1, "epsilon": 0.0, "nesterov": False}
    arguments = hyper | {"eps": 0.0, "ns_coeffs": POLAR_EXPRESS, "ns_steps": 8}
    del arguments["epsilon"]
    yield case(
        "muon", hyper | {"coefficients": "polar_express", "ns_steps": 8}, "contrib.muon", arguments, shape=MATRIX
    )

    hyper = {"learning_rate": 0.1, "relative_step": False, "min_dim_size_to_factor": 128}
    for shape in [[10], MATRIX]:
        yield case("adafactor", hyper, "adafactor", {"learning_rate": 0.1}, shape=shape)
    hyper = {"learning_rate": RATES, "beta2_decay": -0.5, "clip_threshold": 1.5, "relative_step": False}
    arguments = {"learning_rate": RATES, "decay_rate": 0.5, "clipping_threshold": 1.5, "min_dim_size_to_factor": 2}
    for shape in [[10], MATRIX, [5, 2]]:
        yield case("adafactor", hyper, "adafactor", arguments, shape=shape)


def run_keras(peer, arguments, p, grads):
    """In float64 throughout: Keras computes means and norms in float32 whatever its floatX is."""
    import jax.numpy as jnp
    import keras
    from golden.generate import run_keras

    def in_float64(function):
        return lambda x, **options: function(keras.ops.convert_to_tensor(x), **options)

    with mock.patch.multiple("keras.src.ops", mean=in_float64(jnp.mean), norm=in_float64(jnp.linalg.norm)):
        yield from run_keras(peer, arguments, p, grads)


def keras_cases():
    yield case("lamb", {"weight_decay": 0.0}, "Lamb", {"learning_rate": 0.001, "epsilon": 1e-6})
    hyper = {"learning_rate": RATES, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.0}
    arguments = {"learning_rate": RATES, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}
    yield case("lamb", hyper, "Lamb", arguments, shape=MATRIX)

    # Its momentum is a sum: epsilon is relative to that.
    hyper = {"learning_rate": 0.02, "weight_decay": 0.3, "epsilon": 5e-9, "consistent_rms": 0.2}
    for shape in [MATRIX, [5, 2]]:
        yield case("muon", hyper, "Muon", {"learning_rate": 0.02, "weight_decay": 0.3}, shape=shape)
    hyper = {"learning_rate": RATES, "momentum": 0.5, "epsilon": 5e-8, "nesterov": False, "consistent_rms": 0.4}
    arguments = {"learning_rate": RATES, "momentum": 0.5, "nesterov": False, "rms_rate": 0.4, "weight_decay": 0.0}
    yield case("muon", hyper, "Muon", arguments, shape=MATRIX)

    # Without relative steps, it takes relative steps.
    arguments = {"learning_rate": 0.4, "relative_step": False}
    yield case("adafactor", {"learning_rate": 0.4, "relative_step": True}, "Adafactor", arguments, shape=MATRIX)
    for shape in [[10], MATRIX, [5, 2]]:
        yield case("adafactor", {"learning_rate": 0.01}, "Adafactor", {"learning_rate": 0.01}, shape=shape)
        hyper = {
            "learning_rate": RATES,
            "beta2_decay": -0.6,
            "epsilon1": 1e-3,
            "epsilon2": 2.0,
            "clip_threshold": 1.5,
        }
        arguments = {
            "learning_rate": RATES,
            "beta_2_decay": -0.6,
            "epsilon_1": 1e-3,
            "epsilon_2": 2.0,
            "clip_threshold": 1.5,
        }
        yield case("adafactor", hyper, "Adafactor", arguments, shape=shape)
