"""Rules that take the loss: their cases have a loss in the place of gradients.

It is log cosh(Ax - b) summed, A with the rows of a fixed matrix, and x⁴/4 of each coordinate; for Sophia, whose
curvature optax takes from other steps than the paper, cx²/2: there it is the same at all.
"""

from importlib.metadata import version
from platform import python_version
from unittest.mock import patch

import numpy as np
from oracles.sampling import normals

X = np.array([1.0, -0.8, 1.5, 0.7])
A = np.random.default_rng(2).normal(0, 0.5, (6, 4)).round(3)
B = np.random.default_rng(3).normal(0, 1.0, 6).round(3)
C = np.array([1.0, 0.25, 4.0, 0.0625])
STEPS = 20


def functions():
    import jax.numpy as jnp

    return {
        "log cosh": lambda x: jnp.sum(jnp.log(jnp.cosh(A @ x - B))) + jnp.sum(x**4) / 4,
        "quadratic": lambda x: jnp.sum(C * x**2) / 2,
    }


def run_sam(loss, rho, optimizer):
    import jax
    import optax

    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(rho))
    rule = optax.contrib.sam(optimizer, ascent, opaque_mode=True)
    gradient = jax.grad(functions()[loss])
    return run(rule, gradient, grad_fn=lambda params, i: gradient(params))


def run_sophia(loss, **arguments):
    import jax
    import optax

    f = functions()[loss]
    return run(optax.contrib.sophia(**arguments), jax.grad(f), obj_fn=f)


def run_momo(loss, peer, **arguments):
    import jax
    import optax

    f = functions()[loss]
    return run(getattr(optax.contrib, peer)(**arguments), jax.grad(f), value=f)


def run_ivon(loss, seed, samples, **arguments):
    """The authors' package for torch, made to draw the numbers that symupdates.random draws."""
    import ivon
    import jax
    import torch

    gradient = jax.grad(functions()[loss])
    drawn = [normals(X, seed, stream=i, place=None) for i in range(samples)]
    x = torch.nn.Parameter(torch.tensor(X, dtype=torch.float64))
    optimizer = ivon.IVON([x], mc_samples=samples, **arguments)
    path = []
    for _ in range(STEPS):
        for numbers in drawn:
            with (
                patch.object(torch, "randn", lambda *_, numbers=numbers, **__: torch.tensor(next(numbers)[0])),
                optimizer.sampled_params(train=True),
            ):
                x.grad = torch.tensor(np.asarray(gradient(x.detach().numpy())))
        optimizer.step()
        path.append(x.detach().numpy().copy())
    path = np.array(path)
    if path.dtype != np.float64 or not np.isfinite(path).all():
        raise RuntimeError("ivon does not compute this in finite float64")
    return path.tolist()


def run(rule, gradient, value=None, **more):
    import jax.numpy as jnp
    import optax

    x = jnp.asarray(X)
    state = rule.init(x)
    path = []
    for _ in range(STEPS):
        more |= {"value": value(x)} if value else {}
        updates, state = rule.update(gradient(x), state, x, **more)
        x = optax.apply_updates(x, updates)
        path.append(np.asarray(x))
    path = np.array(path)
    if path.dtype != np.float64 or not np.isfinite(path).all():
        raise RuntimeError("optax does not compute this in finite float64")
    return path.tolist()


def sam_cases():
    import optax

    for rho, optimizer, hyper, peer in [
        (0.05, "sgd", {"learning_rate": 0.1}, optax.sgd(0.1)),
        (0.5, "momentum", {"learning_rate": 0.05, "momentum": 0.8}, optax.sgd(0.05, momentum=0.8)),
        (0.2, "nesterov_momentum", {"learning_rate": 0.05, "momentum": 0.8}, optax.sgd(0.05, 0.8, nesterov=True)),
    ]:
        case = {"rule": "sam", "hyper": {"rho": rho}, "optimizer": optimizer, "optimizer_hyper": hyper}
        yield {**case, "peer": "contrib.sam", "loss": "log cosh", "params": run_sam("log cosh", rho, peer)}


def sophia_cases():
    """The curvature is constant, and remembered for one estimate only: optax knows of it after the first step.

    That one is clipped in all coordinates, with and without. Its correction of the momentum, a division by 1 - β₁ᵗ,
    is in the schedules of gamma and epsilon.
    """
    for eta, beta1, gamma, every, decay in [(0.01, 0.96, 0.05, 1, 0.0), (0.02, 0.8, 0.2, 3, 0.5)]:
        arguments = {"learning_rate": eta, "b1": beta1, "b2": 0.0, "gamma": gamma, "eps": 1e-8}
        params = run_sophia("quadratic", **arguments, update_interval=every, weight_decay=decay)
        hyper = {"learning_rate": eta, "beta1": beta1, "beta2": 0.0, "every": every}
        corrected = {"gamma": gamma, "epsilon": 1e-8}
        case = {"rule": "sophia_h", "hyper": hyper, "corrected": corrected, "weight_decay": decay}
        yield {**case, "peer": "contrib.sophia", "loss": "quadratic", "params": params}


def momo_cases():
    """Whose rates are the largest in some of the steps, and found in the others; in the last case, the largest."""
    adam = {"b1": 0.8, "b2": 0.95, "eps": 1e-3}
    for rule, loss, rate, beta, minimum, peers in [
        ("momo", "log cosh", 0.2, 0.9, 2.0, {"beta": 0.9}),
        ("momo", "quadratic", 0.6, 0.5, 0.0, {"beta": 0.5}),
        ("momo_adam", "log cosh", 0.1, 0.8, 2.0, adam),
        ("momo_adam", "quadratic", 0.05, 0.8, 0.0, adam),
    ]:
        arguments = {"learning_rate": rate, "lower_bound": minimum, **peers}
        hyper = {"learning_rate": rate, "minimum": minimum}
        hyper |= {"beta1": beta, "beta2": 0.95, "epsilon": 1e-3} if rule == "momo_adam" else {"beta": beta}
        params = run_momo(loss, rule, **arguments)
        yield {"rule": rule, "hyper": hyper, "peer": f"contrib.{rule}", "loss": loss, "params": params}


def ivon_cases():
    """In the last case, some steps are clipped."""
    names = {
        "learning_rate": "lr",
        "effective_sample_size": "ess",
        "initial_hessian": "hess_init",
        "beta1": "beta1",
        "beta2": "beta2",
        "weight_decay": "weight_decay",
        "clip_radius": "clip_radius",
    }
    for loss, samples, *values in [
        ("log cosh", 1, 0.1, 50.0, 1.0, 0.9, 0.99999, 1e-4, 1e3),
        ("log cosh", 3, 0.05, 10.0, 0.5, 0.8, 0.9, 0.1, 1.0),
    ]:
        hyper = dict(zip(names, values, strict=True))
        params = run_ivon(loss, 1, samples, **{names[name]: value for name, value in hyper.items()})
        hyper |= {"samples": samples, "seed": 1}
        yield {"rule": "ivon", "hyper": hyper, "peer": "ivon.IVON", "loss": loss, "params": params}


def more():
    packages = ("numpy", "jax", "optax", "torch", "ivon-opt")
    return {
        "versions": {"python": python_version()} | {package: version(package) for package in packages},
        "x": X.tolist(),
        "A": A.tolist(),
        "b": B.tolist(),
        "c": C.tolist(),
        "cases": [*sam_cases(), *sophia_cases(), *momo_cases(), *ivon_cases()],
    }
