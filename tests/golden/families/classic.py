"""The rules of Lasagne and PyMC, and AdamW; what clips and bounds norms."""

import numpy as np
from golden.common import MOMENTA, RATES, STEPS, case


def torch_cases():
    for rule, nesterov in [("momentum", False), ("nesterov_momentum", True)]:
        for eta, mu in [(0.1, 0.5), (0.01, 0.9)]:
            hyper = {"learning_rate": eta, "momentum": mu}
            yield case(rule, hyper, "SGD", {"lr": eta, "momentum": mu, "nesterov": nesterov})
        hyper = {"learning_rate": 0.1, "momentum": MOMENTA}
        yield case(rule, hyper, "SGD", {"lr": 0.1, "momentum": MOMENTA, "nesterov": nesterov})
    yield case("sgd", {"learning_rate": 0.001}, "SGD", {})
    yield case("sgd", {"learning_rate": RATES}, "SGD", {"lr": RATES})

    # Where their epsilon stands elsewhere, it is zero in both.
    hyper = {"learning_rate": 0.3, "epsilon": 0.0}
    yield case("adagrad", hyper, "Adagrad", {"lr": 0.3, "eps": 0.0}, nonzero=True)
    yield case("adagrad_window", hyper | {"n_win": STEPS[-1]}, "Adagrad", {"lr": 0.3, "eps": 0.0}, nonzero=True)
    for eta, rho in [(1.0, 0.9), (0.05, 0.99)]:
        hyper = {"learning_rate": eta, "rho": rho, "epsilon": 0.0}
        yield case("rmsprop", hyper, "RMSprop", {"lr": eta, "alpha": rho, "eps": 0.0}, nonzero=True)
    hyper = {"learning_rate": 0.05, "rho": 0.9, "epsilon": 0.0}
    arguments = {"lr": 0.05, "alpha": 0.9, "eps": 0.0, "momentum": 0.8}
    transform = {"name": "apply_momentum", "momentum": 0.8}
    yield case("rmsprop", hyper, "RMSprop", arguments, nonzero=True, transform=transform)

    yield case("adadelta", {"rho": 0.9}, "Adadelta", {})
    hyper = {"learning_rate": 0.5, "rho": 0.75, "epsilon": 0.01}
    yield case("adadelta", hyper, "Adadelta", {"lr": 0.5, "rho": 0.75, "eps": 0.01})

    for rule, more in [("adam", {}), ("amsgrad", {"amsgrad": True})]:
        yield case(rule, {"epsilon": {"corrected": 1e-8}}, "Adam", more)
        hyper = {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": {"corrected": 1e-3}}
        yield case(rule, hyper, "Adam", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3, **more})
        hyper = {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.99, "epsilon": 0.0}
        yield case(rule, hyper, "Adam", {"lr": 0.05, "betas": [0.9, 0.99], "eps": 0.0, **more}, nonzero=True)
    yield case("adam", {"learning_rate": RATES, "epsilon": {"corrected": 1e-8}}, "Adam", {"lr": RATES})
    hyper = {"learning_rate": 0.05, "beta1": MOMENTA, "epsilon": {"corrected": 1e-8}}
    yield case("adam", hyper, "Adam", {"lr": 0.05, "betas": [MOMENTA, 0.999]})
    yield case("adamw", {"epsilon": {"corrected": 1e-8}}, "AdamW", {})
    hyper = {"learning_rate": RATES, "beta1": 0.8, "epsilon": {"corrected": 1e-3}, "weight_decay": 0.2}
    yield case("adamw", hyper, "AdamW", {"lr": RATES, "betas": [0.8, 0.999], "eps": 1e-3, "weight_decay": 0.2})
    for eta, b1, b2 in [(0.002, 0.9, 0.999), (0.1, 0.8, 0.95)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": 0.0}
        yield case("adamax", hyper, "Adamax", {"lr": eta, "betas": [b1, b2], "eps": 0.0}, nonzero=True)


def optax_cases():
    yield case("sgd", {"learning_rate": 0.1}, "sgd", {"learning_rate": 0.1})
    yield case("sgd", {"learning_rate": RATES}, "sgd", {"learning_rate": RATES})
    for rule, nesterov in [("momentum", False), ("nesterov_momentum", True)]:
        for eta, mu in [(0.1, 0.5), (0.01, 0.9)]:
            hyper = {"learning_rate": eta, "momentum": mu}
            yield case(rule, hyper, "sgd", {"learning_rate": eta, "momentum": mu, "nesterov": nesterov})

    for eta, eps in [(1.0, 1e-6), (0.3, 0.01)]:
        hyper = {"learning_rate": eta, "epsilon": eps}
        yield case("adagrad", hyper, "adagrad", {"learning_rate": eta, "initial_accumulator_value": 0.0, "eps": eps})
    # A window as long as the run is AdaGrad, and a window of one is RMSprop without memory.
    hyper = {"learning_rate": 0.3, "n_win": STEPS[-1]}
    arguments = {"learning_rate": 0.3, "initial_accumulator_value": 0.0, "eps": 0.1}
    yield case("adagrad_window", hyper, "adagrad", arguments)
    hyper = {"learning_rate": 0.3, "n_win": 1}
    yield case("adagrad_window", hyper, "rmsprop", {"learning_rate": 0.3, "decay": 0.0, "eps": 0.1})

    yield case("rmsprop", {}, "rmsprop", {"learning_rate": 1.0, "eps": 1e-6})
    hyper = {"learning_rate": 0.05, "rho": 0.5, "epsilon": 0.01}
    yield case("rmsprop", hyper, "rmsprop", {"learning_rate": 0.05, "decay": 0.5, "eps": 0.01})
    # It takes the trace after the learning rate.
    hyper = {"learning_rate": RATES, "rho": 0.5, "epsilon": 0.01}
    for name, nesterov in [("apply_momentum", False), ("apply_nesterov_momentum", True)]:
        arguments = {"learning_rate": RATES, "decay": 0.5, "eps": 0.01, "momentum": 0.8, "nesterov": nesterov}
        yield case("rmsprop", hyper, "rmsprop", arguments, transform={"name": name, "momentum": 0.8})

    yield case("adadelta", {}, "adadelta", {"learning_rate": 1.0, "rho": 0.95})
    hyper = {"learning_rate": 0.5, "rho": 0.75, "epsilon": 0.01}
    yield case("adadelta", hyper, "adadelta", {"learning_rate": 0.5, "rho": 0.75, "eps": 0.01})

    yield case("adam", {"epsilon": {"corrected": 1e-8}}, "adam", {"learning_rate": 0.001})
    hyper = {"learning_rate": RATES, "epsilon": {"corrected": 1e-8}, "weight_decay": 0.2}
    yield case("adamw", hyper, "adamw", {"learning_rate": RATES, "weight_decay": 0.2})
    hyper = {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": {"corrected": 1e-3}}
    yield case("adam", hyper, "adam", {"learning_rate": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-3})
    hyper = {"learning_rate": RATES, "epsilon": 0.0}
    yield case("adam", hyper, "adam", {"learning_rate": RATES, "eps": 0.0}, nonzero=True)
    for eta, b1, b2 in [(0.002, 0.9, 0.999), (0.1, 0.8, 0.95)]:
        hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": 0.0}
        yield case("adamax", hyper, "adamax", {"learning_rate": eta, "b1": b1, "b2": b2, "eps": 0.0}, nonzero=True)

    # Its maximum is of the corrected averages, unless they are not corrected; then nor is the step size.
    for eta, b1, b2, eps in [(0.001, 0.9, 0.999, 1e-8), (0.1, 0.8, 0.95, 1e-3)]:
        hyper = {"learning_rate": {"uncorrected": eta}, "beta1": b1, "beta2": b2, "epsilon": eps}
        arguments = {"learning_rate": eta, "b1": b1, "b2": b2, "eps": eps, "bias_correction_nu": False}
        yield case("amsgrad", hyper, "amsgrad", arguments)


def keras_cases():
    yield case("sgd", {"learning_rate": 0.1}, "SGD", {"learning_rate": 0.1})
    yield case("sgd", {"learning_rate": RATES}, "SGD", {"learning_rate": RATES})
    for rule, nesterov in [("momentum", False), ("nesterov_momentum", True)]:
        for eta, mu in [(0.1, 0.5), (0.01, 0.9), (RATES, 0.9), (RATES, MOMENTA)]:
            hyper = {"learning_rate": eta, "momentum": mu}
            yield case(rule, hyper, "SGD", {"learning_rate": eta, "momentum": mu, "nesterov": nesterov})

    for eta, eps in [(1.0, 1e-6), (0.3, 0.01)]:
        hyper = {"learning_rate": eta, "epsilon": eps}
        arguments = {"learning_rate": eta, "initial_accumulator_value": 0.0, "epsilon": eps}
        yield case("adagrad", hyper, "Adagrad", arguments)
    hyper = {"learning_rate": 0.3, "n_win": STEPS[-1]}
    arguments = {"learning_rate": 0.3, "initial_accumulator_value": 0.0, "epsilon": 0.1}
    yield case("adagrad_window", hyper, "Adagrad", arguments)
    yield case("adagrad_window", {"n_win": 1}, "RMSprop", {"learning_rate": 0.001, "rho": 0.0, "epsilon": 0.1})

    yield case("rmsprop", {}, "RMSprop", {"learning_rate": 1.0, "epsilon": 1e-6})
    hyper = {"learning_rate": 0.05, "rho": 0.5, "epsilon": 0.01}
    yield case("rmsprop", hyper, "RMSprop", hyper)
    hyper = {"learning_rate": RATES, "rho": 0.5, "epsilon": 0.01}
    transform = {"name": "apply_momentum", "momentum": MOMENTA}
    yield case("rmsprop", hyper, "RMSprop", hyper | {"momentum": MOMENTA}, transform=transform)

    yield case("adadelta", {}, "Adadelta", {"learning_rate": 1.0, "epsilon": 1e-6})
    hyper = {"learning_rate": RATES, "rho": 0.75, "epsilon": 0.01}
    yield case("adadelta", hyper, "Adadelta", hyper)

    hyper = {"learning_rate": RATES, "epsilon": 1e-3, "weight_decay": 0.2}
    yield case("adamw", hyper, "AdamW", hyper)
    for rule, peer, eta, more in [
        ("adam", "Adam", 0.001, {}),
        ("adamw", "AdamW", 0.001, {"weight_decay": 0.01}),
        ("adamax", "Adamax", 0.002, {}),
        ("amsgrad", "Adam", 0.001, {"amsgrad": True}),
    ]:
        yield case(rule, {}, peer, {"learning_rate": eta, "epsilon": 1e-8, **more})
        for eta, b1, b2, eps in [(0.1, 0.8, 0.95, 1e-3), (RATES, MOMENTA, 0.99, 1e-7)]:
            hyper = {"learning_rate": eta, "beta1": b1, "beta2": b2, "epsilon": eps}
            arguments = {"learning_rate": eta, "beta_1": b1, "beta_2": b2, "epsilon": eps, **more}
            yield case(rule, hyper, peer, arguments)


def optax_clips():
    """Global norms, for `total_norm_constraint` with epsilon 0: inside the bound and outside."""
    import jax.numpy as jnp
    import optax

    xs = [np.array([3.0, -4.0]), np.array([[0.5], [2.0]]), np.array(-1.5)]
    for max_norm in [2.0, 10.0]:
        clipped, _ = optax.clip_by_global_norm(max_norm).update([jnp.asarray(x) for x in xs], optax.EmptyState())
        yield {"max_norm": max_norm, "xs": [x.tolist() for x in xs], "clipped": [x.tolist() for x in clipped]}


def keras_max_norms():
    """Norms over axes, for `norm_constraint`: columns inside the bound, outside, and zero."""
    import keras

    keras.config.set_floatx("float64")
    x = np.array([[3.0, 0.1, 0.0, -2.0], [-4.0, 0.2, 0.0, 1e-8], [12.0, -0.3, 0.0, 5e3]])
    for axis, max_norm in [(0, 1.5), (1, 4.0), ((0, 1), 0.01)]:
        constrained = keras.constraints.MaxNorm(max_norm, axis)(keras.ops.convert_to_tensor(x, dtype="float64"))
        yield {"max_norm": max_norm, "axes": axis, "x": x.tolist(), "constrained": np.asarray(constrained).tolist()}


def more():
    return {"clips": [*optax_clips()], "max_norms": [*keras_max_norms()]}
