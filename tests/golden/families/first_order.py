"""Momenta, signs, and records of the gradients, beyond those of Lasagne."""

import numpy as np
from golden.common import GRADS, MOMENTA, RATES, STEPS, P, case

INVERSE_TIME = {"per_step": [0.3 / (1 + 0.1 * t) for t in range(STEPS[-1])]}


def run_torch(peer, arguments, p, grads):
    """With float64 as torch's default dtype, in which its ASGD keeps the rate and the weight of the average."""
    import torch
    from golden import generate

    torch.set_default_dtype(torch.float64)
    yield from generate.run_torch(peer, arguments, p, grads)
    torch.set_default_dtype(torch.float32)


def torch_cases():
    for eta, mu, d, nesterov in [
        (0.1, 0.5, 0.0, False),
        (0.01, 0.9, 0.5, False),
        (RATES, 0.9, 0.0, False),
        (RATES, MOMENTA, 0.25, False),
        (RATES, MOMENTA, 0.0, True),
    ]:
        hyper = {"learning_rate": eta, "momentum": mu, "dampening": d, "nesterov": nesterov}
        arguments = {"lr": eta, "momentum": mu, "dampening": d, "nesterov": nesterov}
        yield case("heavy_ball", hyper, "SGD", arguments)
    for eta, mu in [(0.1, 0.5), (0.01, 0.9)]:
        hyper = {"learning_rate": eta / (1 - mu), "momentum": mu, "nu": mu}
        yield case("qhm", hyper, "SGD", {"lr": eta, "momentum": mu, "nesterov": True})
        hyper = {"learning_rate": eta / (1 - mu), "momentum": mu, "nu": 1.0}
        yield case("qhm", hyper, "SGD", {"lr": eta, "momentum": mu})

    yield case("asgd", {}, "ASGD", {"t0": -1.0})
    hyper = {"learning_rate": 0.1, "weight_decay": 0.2, "power": 0.6, "begin": 6.0}
    yield case("asgd", hyper, "ASGD", {"lr": 0.1, "lambd": 0.2, "alpha": 0.6, "t0": 5.0})

    yield case("rprop", {}, "Rprop", {})
    hyper = {"learning_rate": 0.1, "eta_minus": 0.6, "eta_plus": 1.5, "min_step_size": 0.03, "max_step_size": 0.7}
    yield case("rprop", hyper, "Rprop", {"lr": 0.1, "etas": [0.6, 1.5], "step_sizes": [0.03, 0.7]})

    hyper = {"learning_rate": 0.3, "epsilon": 0.0, "initial_accumulator": 0.1}
    yield case("adagrad", hyper, "Adagrad", {"lr": 0.3, "initial_accumulator_value": 0.1, "eps": 0.0})
    hyper = {"learning_rate": INVERSE_TIME, "epsilon": 0.0}
    yield case("adagrad", hyper, "Adagrad", {"lr": 0.3, "lr_decay": 0.1, "eps": 0.0}, nonzero=True)
    for eta, rho in [(0.001, 0.9), (RATES, 0.99)]:
        hyper = {"learning_rate": eta, "rho": rho, "epsilon": 0.0}
        arguments = {"lr": eta, "alpha": rho, "eps": 0.0, "centered": True}
        yield case("centered_rmsprop", hyper, "RMSprop", arguments, nonzero=True)
    hyper = {"learning_rate": 0.05, "rho": 0.9, "epsilon": 0.0}
    arguments = {"lr": 0.05, "alpha": 0.9, "eps": 0.0, "centered": True, "momentum": 0.8}
    transform = {"name": "apply_momentum", "momentum": 0.8}
    yield case("centered_rmsprop", hyper, "RMSprop", arguments, nonzero=True, transform=transform)


def optax_cases():
    for mu, nesterov in [(0.5, False), (0.9, True)]:
        hyper = {"learning_rate": RATES, "momentum": mu, "nesterov": nesterov}
        yield case("heavy_ball", hyper, "sgd", hyper)
    yield case("qhm", {"learning_rate": 0.1, "momentum": 0.5, "nu": 0.0}, "sgd", {"learning_rate": 0.1})
    yield case("optimistic_gradient", {}, "optimistic_gradient_descent", {"learning_rate": 0.001})
    hyper = {"learning_rate": RATES, "alpha": 0.7, "beta": 0.4}
    yield case("optimistic_gradient", hyper, "optimistic_gradient_descent", hyper)

    yield case("sign_sgd", {}, "sign_sgd", {"learning_rate": 0.001})
    yield case("sign_sgd", {"learning_rate": RATES}, "sign_sgd", {"learning_rate": RATES})
    yield case("signum", {}, "signum", {"learning_rate": 0.001})
    hyper = {"learning_rate": RATES, "beta": 0.7}
    yield case("signum", hyper, "signum", hyper)
    yield case("lion", {}, "lion", {"learning_rate": 0.0001, "weight_decay": 0.0})
    hyper = {"learning_rate": RATES, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.2}
    arguments = {"learning_rate": RATES, "b1": 0.8, "b2": 0.95, "weight_decay": 0.2}
    yield case("lion", hyper, "lion", arguments)

    yield case("adagrad", {"epsilon": 1e-7, "initial_accumulator": 0.1}, "adagrad", {"learning_rate": 1.0})
    hyper = {"learning_rate": RATES, "epsilon": 0.01, "initial_accumulator": 2.0}
    arguments = {"learning_rate": RATES, "eps": 0.01, "initial_accumulator_value": 2.0}
    yield case("adagrad", hyper, "adagrad", arguments)
    yield case("centered_rmsprop", {}, "rmsprop", {"learning_rate": 0.001, "eps": 1e-6, "centered": True})
    hyper = {"learning_rate": RATES, "rho": 0.5, "epsilon": 0.01}
    for name, nesterov in [("apply_momentum", False), ("apply_nesterov_momentum", True)]:
        arguments = {"learning_rate": RATES, "decay": 0.5, "eps": 0.01, "momentum": 0.8, "nesterov": nesterov}
        transform = {"name": name, "momentum": 0.8}
        yield case("centered_rmsprop", hyper, "rmsprop", arguments | {"centered": True}, transform=transform)
    # Its RMSprop with a bias correction.
    for eta, rho, eps in [(0.001, 0.9, 1e-8), (RATES, 0.99, 1e-3)]:
        hyper = {"learning_rate": eta, "beta1": 0.0, "beta2": rho, "epsilon": {"corrected": eps}}
        arguments = {"learning_rate": eta, "decay": rho, "eps": eps, "bias_correction": True, "eps_in_sqrt": False}
        yield case("adam", hyper, "rmsprop", arguments)

    yield case("sm3", {}, "sm3", {"learning_rate": 0.1})
    for shape in [[2, 5], [5, 1, 2]]:
        yield case("sm3", {}, "sm3", {"learning_rate": 0.1}, shape=shape)
        hyper = {"learning_rate": 0.5, "momentum": 0.7}
        yield case("sm3", hyper, "sm3", hyper, shape=shape)
    # It adds its epsilon to the rate as well, and takes the root of t in float32: the product too, if the rate is a
    # number.
    t = np.arange(1, STEPS[-1] + 1)
    for rates, mu, eps in [([0.01] * STEPS[-1], 0.9, 1e-6), (RATES["per_step"], 0.6, 1e-3)]:
        ours = {"per_step": ((np.array(rates) + eps) * np.sqrt(t, dtype="float32") / np.sqrt(t)).tolist()}
        hyper = {"learning_rate": ours, "momentum": mu, "epsilon": eps}
        arguments = {"learning_rate": {"per_step": rates}, "momentum": mu, "eps": eps}
        yield case("madgrad", hyper, "contrib.madgrad", arguments)


def keras_cases():
    for eta, mu in [(0.1, 0.5), (0.01, 0.9)]:
        hyper = {"learning_rate": eta, "momentum": mu}
        yield case("heavy_ball", hyper, "SGD", hyper)
        yield case("heavy_ball", hyper | {"nesterov": True}, "SGD", hyper | {"nesterov": True})

    yield case("lion", {"learning_rate": 0.001}, "Lion", {})
    hyper = {"learning_rate": RATES, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.2}
    arguments = {"learning_rate": RATES, "beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.2}
    yield case("lion", hyper, "Lion", arguments)

    hyper = {"learning_rate": 0.001, "epsilon": 1e-7, "initial_accumulator": 0.1}
    yield case("adagrad", hyper, "Adagrad", {})
    hyper = {"learning_rate": RATES, "epsilon": 0.01, "initial_accumulator": 2.0}
    arguments = {"learning_rate": RATES, "epsilon": 0.01, "initial_accumulator_value": 2.0}
    yield case("adagrad", hyper, "Adagrad", arguments)
    yield case("centered_rmsprop", {"epsilon": 1e-7}, "RMSprop", {"centered": True})
    hyper = {"learning_rate": RATES, "rho": 0.5, "epsilon": 0.01}
    transform = {"name": "apply_momentum", "momentum": MOMENTA}
    arguments = hyper | {"centered": True, "momentum": MOMENTA}
    yield case("centered_rmsprop", hyper, "RMSprop", arguments, transform=transform)

    hyper = {"learning_rate": 0.001, "beta": 0.0, "initial_accumulator": 0.1}
    yield case("ftrl", hyper, "Ftrl", {})
    hyper = {"learning_rate": 0.1}
    yield case("ftrl", hyper, "Ftrl", {"learning_rate": 0.1, "beta": 1.0, "initial_accumulator_value": 0.0})
    hyper = {"learning_rate": RATES, "beta": 0.5, "l1": 0.3, "l2": 0.2, "initial_accumulator": 0.25}
    arguments = {
        "learning_rate": RATES,
        "beta": 0.5,
        "l1_regularization_strength": 0.3,
        "l2_regularization_strength": 0.1,
        "initial_accumulator_value": 0.25,
    }
    yield case("ftrl", hyper, "Ftrl", arguments)


def torch_averages():
    """The averages of ASGD after each of the steps, which are no parameters."""
    import torch

    torch.set_default_dtype(torch.float64)
    for arguments in [{"t0": -1.0}, {"t0": 0.0}, {"lr": 0.1, "lambd": 0.2, "alpha": 0.6, "t0": 5.0}]:
        x = torch.nn.Parameter(torch.tensor(P))
        optimizer = torch.optim.ASGD([x], **arguments)
        averages = []
        for g in GRADS:
            x.grad = torch.tensor(g)
            optimizer.step()
            averages.append(optimizer.state[x]["ax"].numpy().tolist())
        yield {"arguments": arguments, "averages": [averages[step - 1] for step in STEPS]}
    torch.set_default_dtype(torch.float32)


def optax_rprop():
    """What optax makes of Rprop: the steps of another update than the one whose gradient it is given."""
    import jax.numpy as jnp
    import optax

    optimizer = optax.rprop(0.01)
    p = jnp.asarray(P)
    state = optimizer.init(p)
    steps = []
    for g in GRADS:
        step, state = optimizer.update(jnp.asarray(g), state, p)
        steps.append(np.asarray(step).tolist())
    return {"arguments": {"learning_rate": 0.01}, "steps": steps}


def more():
    return {"asgd_averages": [*torch_averages()], "optax_rprop": optax_rprop()}
