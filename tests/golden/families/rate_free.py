"""Rules that find the learning rate while they train, and schedule-free ones; Polyak's step, which takes the loss."""

import numpy as np
from golden.common import GRADS, NONZERO, RATES, STEPS, P, case


def optax_cases():
    yield case("dadapt_adam", {"bias_correction": True}, "contrib.dadapt_adamw", {})
    hyper = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.2, "initial_distance": 1e-2}
    arguments = {"betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.2, "estim_lr0": 1e-2}
    yield case(
        "dadapt_adam",
        hyper | {"learning_rate": RATES, "bias_correction": True},
        "contrib.dadapt_adamw",
        arguments | {"learning_rate": RATES},
    )
    # Its epsilon is multiplied by the new estimate.
    yield case("prodigy", {"epsilon": 0.0}, "contrib.prodigy", {"eps": 0.0}, nonzero=True)
    hyper = {"beta1": 0.8, "beta2": 0.95, "epsilon": 0.0, "weight_decay": 0.2, "initial_distance": 1e-2}
    yield case(
        "prodigy",
        hyper | {"learning_rate": RATES},
        "contrib.prodigy",
        arguments | {"learning_rate": RATES, "eps": 0.0},
        nonzero=True,
    )

    yield case(
        "prodigy",
        hyper | {"learning_rate": RATES, "d_coef": 0.4, "safeguard_warmup": True},
        "contrib.prodigy",
        arguments | {"learning_rate": RATES, "eps": 0.0, "estim_lr_coef": 0.4, "safeguard_warmup": True},
        nonzero=True,
    )

    start = np.linalg.norm(P)
    moderate = np.linalg.norm(np.delete(P, 2))
    for rule in ("dog", "l_dog"):
        yield case(rule, {}, "contrib.dog", {}, moderate=True)
        hyper = {"learning_rate": RATES, "relative_distance": 0.01, "epsilon": 0.5}
        arguments = {"learning_rate": RATES, "init_step": ["heuristic", 0.01], "eps": 0.5}
        yield case(rule, hyper, "contrib.dog", arguments)
        arguments = {"init_step": ["distance", 0.25]}
        yield case(rule, {"relative_distance": 0.25 / (1 + start)}, "contrib.dog", arguments)
        hyper = {"relative_distance": 0.25 / (1 + moderate)}
        yield case(rule, hyper, "contrib.dog", arguments, moderate=True)
    yield case("dowg", {}, "contrib.dowg", {}, moderate=True)
    hyper = {"learning_rate": RATES, "initial_distance": 0.25, "epsilon": 0.5}
    arguments = {"learning_rate": RATES, "init_estim_sq_dist": 0.0625, "eps": 0.5}
    yield case("dowg", hyper, "contrib.dowg", arguments)

    yield case("cocob", {}, "contrib.cocob", {})
    hyper = {"learning_rate": RATES, "alpha": 10.0, "epsilon": 1e-3}
    yield case("cocob", hyper, "contrib.cocob", {"learning_rate": RATES, "alpha": 10.0, "eps": 1e-3})

    yield case("schedule_free_sgd", {}, "contrib.schedule_free_sgd", {})
    hyper = {"learning_rate": 0.1, "beta": 0.6}
    yield case("schedule_free_sgd", hyper, "contrib.schedule_free_sgd", {"learning_rate": 0.1, "b1": 0.6})
    yield case("schedule_free_adamw", {"epsilon": {"corrected": 1e-8}}, "contrib.schedule_free_adamw", {})
    hyper = {"learning_rate": 0.1, "beta1": 0.6, "beta2": 0.95, "epsilon": {"corrected": 1e-3}, "weight_decay": 0.2}
    arguments = {"learning_rate": 0.1, "b1": 0.6, "b2": 0.95, "eps": 1e-3, "weight_decay": 0.2}
    yield case("schedule_free_adamw", hyper, "contrib.schedule_free_adamw", arguments)


def keras_cases():
    yield case("schedule_free_adamw", {"epsilon": {"corrected": 1e-8}}, "ScheduleFreeAdamW", {})
    hyper = {"learning_rate": 0.1, "beta1": 0.6, "beta2": 0.95, "epsilon": {"corrected": 1e-3}}
    arguments = {"learning_rate": 0.1, "beta_1": 0.6, "beta_2": 0.95, "epsilon": 1e-3}
    yield case("schedule_free_adamw", hyper, "ScheduleFreeAdamW", arguments)


LOSSES = {
    "squares": lambda x: (np.arange(1.0, 11.0) * (x - 0.5) ** 2).sum(),
    "absolute": lambda x: (np.arange(1.0, 11.0) * abs(x - 0.5)).sum(),
}


def polyak_steps():
    """Losses, and the arguments with which their steps are optax's."""
    import jax
    import jax.numpy as jnp
    import optax

    # Its scaling multiplies the gradient before the step is computed, and so divides the step.
    for loss, hyper, arguments in [
        ("squares", {}, {}),
        ("squares", {"max_learning_rate": 0.01}, {"max_learning_rate": 0.01}),
        ("squares", {"minimum": 1.0}, {"f_min": 1.0, "variant": "sps+"}),
        ("squares", {"max_learning_rate": 0.0375, "c": 0.5}, {"max_learning_rate": 0.075, "scaling": 0.5}),
        ("absolute", {}, {}),
        ("absolute", {"max_learning_rate": 0.125, "c": 2.0}, {"max_learning_rate": 0.0625, "scaling": 2.0}),
    ]:
        optimizer = optax.polyak_sgd(**arguments)
        x = jnp.asarray(P)
        state = optimizer.init(x)
        params = []
        for t in range(1, STEPS[-1] + 1):
            value, g = jax.value_and_grad(LOSSES[loss])(x)
            updates, state = optimizer.update(g, state, x, value=value)
            x = optax.apply_updates(x, updates)
            if t in STEPS:
                params.append(x.tolist())
        yield {"loss": loss, "hyper": hyper, "arguments": arguments, "params": params}


def mechanics():
    """Rules whose scale is found, and the optimizers of optax; the coordinates that are never zero.

    It divides what it recovers of the parameters by a scale plus epsilon, so that one is large and the other small.
    """
    import jax.numpy as jnp
    import optax

    for rule, hyper, peer, arguments, tuning, peer_tuning in [
        ("sgd", {"learning_rate": 0.1}, "sgd", {"learning_rate": 0.1}, {"initial_scale": 0.5}, {"s_init": 0.5}),
        (
            "adam",
            {"learning_rate": 0.01, "epsilon": 0.0},
            "adam",
            {"learning_rate": 0.01, "eps": 0.0},
            {"initial_scale": 2.0, "weight_decay": 0.5, "betas": 3},
            {"s_init": 2.0, "weight_decay": 0.5, "num_betas": 3},
        ),
    ]:
        base = getattr(optax, peer)(**arguments)
        optimizer = optax.contrib.mechanize(base, eps=1e-30, **peer_tuning)
        x = jnp.asarray(P[NONZERO])
        state = optimizer.init(x)
        params = []
        for t, g in enumerate(GRADS[:, NONZERO], start=1):
            updates, state = optimizer.update(jnp.asarray(g), state, x)
            x = optax.apply_updates(x, updates)
            if t in STEPS:
                params.append(x.tolist())
        yield {"rule": rule, "hyper": hyper, "tuning": {"epsilon": 1e-30, **tuning}, "params": params}


def more():
    return {"polyak": [*polyak_steps()], "mechanic": [*mechanics()]}
