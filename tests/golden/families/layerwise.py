"""Layers and matrices."""

from golden.common import RATES, case

MATRIX = [2, 5]


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


def keras_cases():
    yield case("lamb", {"weight_decay": 0.0}, "Lamb", {"learning_rate": 0.001, "epsilon": 1e-6})
    hyper = {"learning_rate": RATES, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.0}
    arguments = {"learning_rate": RATES, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}
    yield case("lamb", hyper, "Lamb", arguments, shape=MATRIX)
