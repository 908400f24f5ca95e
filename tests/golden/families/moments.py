"""Variants of Adam."""

import jax.numpy as jnp
import numpy as np
import optax
from golden import generate
from golden.common import MOMENTA, RATES, STEPS, case

# No power of 0.96 is left of it: the momentum is constant.
CONSTANT = 1e6


def uncorrected(eta, b1, b2):
    """A rate that takes both of Adam's bias corrections back."""
    steps = range(1, STEPS[-1] + 1)
    return {"per_step": [eta * (1 - b1**t) / (1 - b2**t) ** 0.5 for t in steps]}


def run_optax(peer, arguments, p, grads):
    """As everywhere, but Yogi, whose average begins at zero in the paper and here, and at 1e-6 in optax."""
    if peer != "yogi":
        yield from generate.run_optax(peer, arguments, p, grads)
        return
    optimizer = optax.yogi(**arguments)
    x = jnp.asarray(p)
    averages, *others = optimizer.init(x)
    state = (averages._replace(mu=jnp.zeros_like(x)), *others)
    for g in grads:
        updates, state = optimizer.update(jnp.asarray(g), state, x)
        x = optax.apply_updates(x, updates)
        yield np.asarray(x)


def torch_cases():
    # More of AMSGrad than is in classic.py.
    hyper = {"learning_rate": RATES, "beta1": MOMENTA, "beta2": 0.99, "epsilon": {"corrected": 1e-3}}
    arguments = {"lr": RATES, "betas": [MOMENTA, 0.99], "eps": 1e-3, "amsgrad": True}
    yield case("amsgrad", hyper, "Adam", arguments)

    for rule, decay, more in [
        ("nadam", {}, {}),
        ("nadamw", {"weight_decay": 0.2}, {"decoupled_weight_decay": True, "weight_decay": 0.2}),
    ]:
        yield case(rule, decay, "NAdam", more)
        hyper = {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "momentum_decay": 0.1}
        arguments = {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3, "momentum_decay": 0.1}
        yield case(rule, hyper | decay, "NAdam", arguments | more)
        hyper = {"learning_rate": RATES, "beta1": MOMENTA, "momentum_decay": 0.5}
        arguments = {"lr": RATES, "betas": [MOMENTA, 0.999], "momentum_decay": 0.5}
        yield case(rule, hyper | decay, "NAdam", arguments | more)

    yield case("radam", {}, "RAdam", {})
    hyper = {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
    yield case("radam", hyper, "RAdam", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3})
    # So short an average that it never divides.
    yield case("radam", {"learning_rate": 0.1, "beta2": 0.5}, "RAdam", {"lr": 0.1, "betas": [0.9, 0.5]})
    hyper = {"learning_rate": RATES, "beta1": MOMENTA, "beta2": 0.99}
    yield case("radam", hyper, "RAdam", {"lr": RATES, "betas": [MOMENTA, 0.99]})


def optax_cases():
    # As the paper has it, without corrections.
    for eta, b1, b2, eps in [(0.001, 0.9, 0.999, 1e-8), (0.1, 0.8, 0.95, 1e-3)]:
        hyper = {"learning_rate": uncorrected(eta, b1, b2), "beta1": b1, "beta2": b2, "epsilon": eps}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps}
        arguments |= {"bias_correction_mu": False, "bias_correction_nu": False}
        yield case("amsgrad", hyper, "amsgrad", arguments)

    for eta, b1, b2, decay in [(0.002, 0.9, 0.999, 0.01), (0.1, 0.8, 0.95, 0.2), (RATES, 0.9, 0.99, 0.05)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": 0.0, "weight_decay": decay}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": 0.0, "weight_decay": decay}
        yield case("adamaxw", hyper, "adamaxw", arguments, nonzero=True)

    for rule, decay in [("nadam", {}), ("nadamw", {"weight_decay": 0.2})]:
        hyper = {"learning_rate": 0.001, "momentum_decay": CONSTANT}
        yield case(rule, hyper | decay, rule, {"learning_rate": 0.001} | decay)
        hyper = {"learning_rate": RATES, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "momentum_decay": CONSTANT}
        yield case(rule, hyper | decay, rule, {"learning_rate": RATES, "b1": 0.8, "b2": 0.95, "eps": 1e-3} | decay)

    yield case("radam", {"epsilon": {"corrected": 1e-8}}, "radam", {"learning_rate": 0.001})
    for eta, b1, b2, eps, threshold in [(0.1, 0.8, 0.95, 1e-3, 5.0), (RATES, 0.9, 0.99, 1e-8, 9.5)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": {"corrected": eps}, "threshold": threshold}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps, "threshold": threshold}
        yield case("radam", hyper, "radam", arguments)

    yield case("adabelief", {}, "adabelief", {"learning_rate": 0.001})
    for eta, b1, b2, eps in [(0.1, 0.8, 0.95, 1e-3), (RATES, 0.9, 0.99, 1e-8)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps, "eps_root": eps}
        yield case("adabelief", hyper, "adabelief", arguments)

    yield case("yogi", {}, "yogi", {"learning_rate": 0.01})
    for eta, b1, b2, eps in [(0.1, 0.8, 0.95, 1e-3), (0.05, 0.9, 0.99, 0.1)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps}
        yield case("yogi", hyper, "yogi", {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps})

    for eta, b1, b2, eps, decay in [
        (0.01, 0.95, 0.98, 1e-8, 0.0),
        (1e4, 0.5, 0.25, 0.5, 1e-5),
        (RATES, 0.9, 0.75, 1e-3, 0.1),
    ]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps, "weight_decay": decay}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps, "weight_decay": decay}
        yield case("novograd", hyper, "novograd", arguments)

    # It weighs the differences by 1 - b2 in place of b2.
    for eta, b1, b3, eps in [(0.001, 0.98, 0.99, 1e-8), (0.1, 0.8, 0.95, 1e-3), (RATES, 0.9, 0.9, 1e-8)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": 0.5, "beta3": b3, "epsilon": eps}
        arguments = {"learning_rate": eta, "b1": b1, "b2": 0.5, "b3": b3, "eps": eps, "eps_root": 0.0}
        yield case("adan", hyper, "adan", arguments)

    yield case("ademamix", {}, "contrib.ademamix", {"learning_rate": 0.001})
    growing = {"per_step": [5.0 * t / STEPS[-1] for t in range(STEPS[-1])]}
    for eta, b1, b2, b3, alpha, eps, decay in [
        (0.1, 0.8, 0.95, 0.99, 2.0, 1e-3, 0.2),
        (RATES, 0.9, 0.99, MOMENTA, growing, 1e-8, 0.05),
    ]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "beta3": b3, "alpha": alpha, "epsilon": eps}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "b3": b3, "alpha": alpha, "eps": eps}
        more = {"weight_decay": decay}
        yield case("ademamix", hyper | more, "contrib.ademamix", arguments | more)

    yield case("simplified_ademamix", {}, "contrib.simplified_ademamix", {"learning_rate": 0.0001})
    for eta, b1, b2, alpha, eps, decay in [(0.01, 0.8, 0.95, 2.0, 1e-3, 0.2), (RATES, 0.9, 0.99, growing, 1e-8, 0.05)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "alpha": alpha, "epsilon": eps}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "alpha": alpha, "eps": eps}
        more = {"weight_decay": decay}
        yield case("simplified_ademamix", hyper | more, "contrib.simplified_ademamix", arguments | more)

    yield case("adopt", {}, "contrib.adopt", {"learning_rate": 0.001})
    for eta, b1, b2, eps in [(0.1, 0.8, 0.95, 1e-3), (RATES, 0.5, 0.75, 1e-6)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps}
        yield case("adopt", hyper, "contrib.adopt", {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps})

    for eta, b1, b2, eps, omega in [
        (0.001, 0.9, 0.999, 1e-8, 1.0),
        (0.1, 0.5, 0.9, 1e-3, 0.25),
        (RATES, 0.8, 0.95, 1e-8, 2.0),
    ]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps, "optimism": omega}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps, "beta": omega, "nesterov": False}
        yield case("optimistic_adam", hyper, "optimistic_adam_v2", arguments)
    arguments = {"learning_rate": 0.1, "optimism": 0.025, "nesterov": False}
    yield case("optimistic_adam", {"learning_rate": 0.1, "optimism": 0.25}, "optimistic_adam", arguments)


def keras_cases():
    for eta, b1, b2, eps, decay in [(0.002, 0.9, 0.999, 1e-8, 0.01), (RATES, MOMENTA, 0.95, 1e-3, 0.2)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps, "weight_decay": decay}
        arguments = {"learning_rate": eta, "beta_1": b1, "beta_2": b2, "epsilon": eps, "weight_decay": decay}
        yield case("adamaxw", hyper, "Adamax", arguments)

    for rule, decay in [("nadam", {}), ("nadamw", {"weight_decay": 0.2})]:
        hyper = {"learning_rate": 0.001, "epsilon": 1e-7, "momentum_decay": 1.0}
        yield case(rule, hyper | decay, "Nadam", decay)
        for eta, b1, b2, eps in [(0.1, 0.8, 0.95, 1e-3), (RATES, MOMENTA, 0.99, 1e-8)]:
            hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps, "momentum_decay": 1.0}
            arguments = {"learning_rate": eta, "beta_1": b1, "beta_2": b2, "epsilon": eps}
            yield case(rule, hyper | decay, "Nadam", arguments | decay)


def more():
    """What optax has otherwise, with its defaults."""
    arguments = {"adan": {"learning_rate": 0.1}, "amsgrad": {"learning_rate": 0.1}, "yogi": {"learning_rate": 0.1}}
    return {
        "otherwise": {
            peer: generate.with_values(case(peer, {}, peer, chosen), generate.run_optax)["params"]
            for peer, chosen in arguments.items()
        }
    }
