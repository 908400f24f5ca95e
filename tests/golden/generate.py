"""Make the golden values: what torch, optax and Keras compute, in float64, where their rules are ours.

In an environment of its own, for the library need none of these:

    python -m venv golden-env
    golden-env/bin/pip install torch==2.13.0 optax==0.2.8 keras==3.15.1 jax==0.10.2 numpy==2.4.6
    golden-env/bin/python tests/golden/generate.py

Each library gets a file beside this one: the versions, the initial parameter, its gradients (one row a step), the
steps after which the parameter was read, and the cases. A case has our rule with the hyper-parameters that reproduce
the peer's, the peer with its arguments, and the parameter (one row for each of those steps). It may have a transform of
ours, and ``"nonzero": true``: then only the coordinates whose gradients are never zero took part, for a rule without an
epsilon divides zero by zero at the others.

A hyper-parameter in a case is a number or a schedule:

    {"per_step": [...]}   the value at each step
    {"corrected": x}      x √(1 - β₂ᵗ), with t = 1 at the first step and β₂ of the same case
    {"uncorrected": x}    x / √(1 - β₂ᵗ)

lasagne.json is not made here: it has the numbers published in lasagne/tests/test_updates.py.
"""

import argparse
import json
import math
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from oracles import gradients  # noqa: E402

STEPS = [1, 2, 3, 5, 10, 20, 40]
P = np.array([1.0, -0.8, 1.5, 0.7, -1.2, 0.9, 1.1, -1.4, 0.6, 1.3])
GRADS = gradients(STEPS[-1], P.shape)
NONZERO = (GRADS != 0).all(axis=0)

# Schedules, as they are stored.
RATES = {"per_step": [0.1 / (1 + 0.25 * t) for t in range(STEPS[-1])]}
MOMENTA = {"per_step": [0.5 + 0.4 * t / STEPS[-1] for t in range(STEPS[-1])]}


def case(rule, hyper, peer, arguments, nonzero=False, **more):
    """A case without its values. Arguments that change are ``{"per_step": [...]}``, as in `hyper`."""
    return {"rule": rule, "hyper": hyper, "peer": peer, "arguments": arguments, "nonzero": nonzero, **more}


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


def at(argument, t):
    """An argument as it is at a step."""
    if isinstance(argument, list):
        return tuple(at(x, t) for x in argument)
    return argument["per_step"][t] if isinstance(argument, dict) else argument


def run_torch(peer, arguments, p, grads):
    import torch

    x = torch.nn.Parameter(torch.tensor(p, dtype=torch.float64))
    optimizer = getattr(torch.optim, peer)([x], **{name: at(arguments[name], 0) for name in arguments})
    for t, g in enumerate(grads):
        optimizer.param_groups[0].update({name: at(arguments[name], t) for name in arguments})
        x.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        yield x.detach().numpy().copy()


def run_optax(peer, arguments, p, grads):
    import jax.numpy as jnp
    import optax

    def schedule(values):
        return lambda count: jnp.asarray(values)[count]

    arguments = {k: schedule(v["per_step"]) if isinstance(v, dict) else v for k, v in arguments.items()}
    optimizer = getattr(optax, peer)(**arguments)
    x = jnp.asarray(p)
    state = optimizer.init(x)
    for g in grads:
        updates, state = optimizer.update(jnp.asarray(g), state, x)
        x = optax.apply_updates(x, updates)
        yield np.asarray(x)


def run_keras(peer, arguments, p, grads):
    import keras

    keras.config.set_floatx("float64")
    x = keras.Variable(p, dtype="float64")
    optimizer = getattr(keras.optimizers, peer)(**{name: at(arguments[name], 0) for name in arguments})
    for t, g in enumerate(grads):
        for name, argument in arguments.items():
            if isinstance(argument, dict):
                setattr(optimizer, name, at(argument, t))
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64")], [x])
        yield np.asarray(x.numpy())


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


def library(name, packages, cases, run):
    """All that a library's file holds."""
    done = []
    for one in cases:
        columns = NONZERO if one["nonzero"] else slice(None)
        trajectory = list(run(one["peer"], one["arguments"], P[columns], GRADS[:, columns]))
        values = np.array([trajectory[step - 1] for step in STEPS])
        if values.dtype != np.float64 or not np.isfinite(values).all():
            raise RuntimeError(f"{name} does not compute {one} in finite float64")
        done.append({**one, "params": values.tolist()})
    return {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "p": P.tolist(),
        "gradients": GRADS.tolist(),
        "steps": STEPS,
        "cases": done,
    }


def contents():
    """The files' contents by name."""
    return {
        "torch": library("torch", ["numpy", "torch"], torch_cases(), run_torch),
        "optax": library("optax", ["numpy", "jax", "optax"], optax_cases(), run_optax) | {"clips": [*optax_clips()]},
        "keras": library("keras", ["numpy", "jax", "keras"], keras_cases(), run_keras)
        | {"max_norms": [*keras_max_norms()]},
    }


def dump(x, indent=""):
    """JSON in lines of bearable length: what fits stays on one."""
    flat = json.dumps(x, allow_nan=False)
    if len(indent + flat) <= 120 or not isinstance(x, dict | list):
        return flat
    inner = indent + " "
    if isinstance(x, dict):
        items = [f"{json.dumps(key)}: {dump(value, inner)}" for key, value in x.items()]
        opening, closing = "{}"
    else:
        opening, closing = "[]"
        items = [dump(value, inner) for value in x]
        if all(isinstance(value, float) for value in x):
            lines = [items[i : i + 5] for i in range(0, len(items), 5)]
            items = [", ".join(line) for line in lines]
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{closing}"


def deviation(new, old):
    """The largest relative difference of the numbers; infinite where anything else differs."""
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        return max((deviation(new[key], old[key]) for key in new), default=0.0)
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return max((deviation(a, b) for a, b in zip(new, old, strict=True)), default=0.0)
    if isinstance(new, float) and isinstance(old, float):
        return 0.0 if new == old else abs(new - old) / max(abs(new), abs(old))
    return 0.0 if new == old else math.inf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the files that are there")
    check = parser.parse_args().check
    failed = False
    for name, content in contents().items():
        path = HERE / f"{name}.json"
        if not check:
            path.write_text(dump(content) + "\n")
            print(f"{path.name}: {len(content['cases'])} cases, {path.stat().st_size} bytes")
            continue
        stored = json.loads(path.read_text())
        content = json.loads(json.dumps(content))
        if content.pop("versions") != stored.pop("versions"):
            print(f"{path.name}: other versions than these were used")
        worst = deviation(content, stored)
        failed |= worst > 1e-13
        print(f"{path.name}: {len(content['cases'])} cases, largest relative deviation {worst:.1e}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
