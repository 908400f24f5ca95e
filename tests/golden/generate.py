"""Make the golden values: what torch, optax and Keras compute, in float64, where their rules are ours.

In an environment of its own, for the library need none of these:

    python -m venv golden-env
    golden-env/bin/pip install torch==2.13.0 optax==0.2.8 keras==3.15.1 jax==0.10.2 numpy==2.4.6 \
        ivon-opt==0.1.3
    golden-env/bin/python tests/golden/generate.py [--check] [FAMILY ...]

Each module of ``families`` gets a file beside this one: the versions, the initial parameter, its gradients (one row a
step), the steps after which the parameter was read, and the cases of each library. A case has our rule with the
hyper-parameters that reproduce the peer's, the peer with its arguments, and the parameter (one row for each of those
steps). It may have a transform of ours; a shape, into which the parameter and its gradients are brought; and
``"nonzero": true``: then only the coordinates whose gradients are never zero took part, for a rule without an epsilon
divides zero by zero at the others. ``"moderate": true`` leaves the coordinate of the huge gradients out, for a rule
that divides all by their norm then moves no other.

A hyper-parameter in a case is a number or a schedule:

    {"per_step": [...]}   the value at each step
    {"corrected": x}      x √(1 - β₂ᵗ), with t = 1 at the first step and β₂ of the same case
    {"uncorrected": x}    x / √(1 - β₂ᵗ)

lasagne.json is not made here: it has the numbers published in lasagne/tests/test_updates.py.
"""

import argparse
import importlib
import json
import math
import os
import platform
import sys
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from golden.common import GRADS, MODERATE, NONZERO, STEPS, P  # noqa: E402


def at(argument, t):
    """An argument as it is at a step."""
    if isinstance(argument, list):
        return tuple(at(x, t) for x in argument)
    return argument["per_step"][t] if isinstance(argument, dict) else argument


def run_torch(peer, arguments, p, grads):
    import torch

    torch.set_default_dtype(torch.float64)  # of the products that NAdam keeps
    x = torch.nn.Parameter(torch.tensor(p, dtype=torch.float64))
    optimizer = attrgetter(peer)(torch.optim)([x], **{name: at(arguments[name], 0) for name in arguments})
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
    optimizer = attrgetter(peer)(optax)(**arguments)
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
    optimizer = attrgetter(peer)(keras.optimizers)(**{name: at(arguments[name], 0) for name in arguments})
    for t, g in enumerate(grads):
        for name, argument in arguments.items():
            if isinstance(argument, dict):
                setattr(optimizer, name, at(argument, t))
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64")], [x])
        yield np.asarray(x.numpy())


LIBRARIES = {
    "torch": (["torch"], run_torch),
    "optax": (["jax", "optax"], run_optax),
    "keras": (["jax", "keras"], run_keras),
}


def contents(family):
    """All that the file of a family holds."""
    module = importlib.import_module(f"golden.families.{family}")
    content = {
        "versions": {"python": platform.python_version(), "numpy": version("numpy")},
        "p": P.tolist(),
        "gradients": GRADS.tolist(),
        "steps": STEPS,
    }
    for name, (packages, run) in LIBRARIES.items():
        if make_cases := getattr(module, f"{name}_cases", None):
            content["versions"] |= {package: version(package) for package in packages}
            content[name] = [with_values(one, getattr(module, f"run_{name}", run)) for one in make_cases()]
    return content | getattr(module, "more", dict)()


def with_values(one, run):
    columns = NONZERO | (not one["nonzero"])
    if one.get("moderate"):
        columns = columns & MODERATE
    p, grads = P[columns], GRADS[:, columns]
    if "shape" in one:
        p, grads = p.reshape(one["shape"]), grads.reshape(-1, *one["shape"])
    trajectory = list(run(one["peer"], one["arguments"], p, grads))
    values = np.array([trajectory[step - 1].ravel() for step in STEPS])
    if values.dtype != np.float64 or not np.isfinite(values).all():
        raise RuntimeError(f"{one['peer']} does not compute {one} in finite float64")
    return {**one, "params": values.tolist()}


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
    families = sorted(path.stem for path in HERE.glob("families/[a-z]*.py"))
    parser.add_argument("families", nargs="*", metavar="FAMILY", default=families, help=", ".join(families))
    arguments = parser.parse_args()
    failed = False
    for name in arguments.families:
        content = contents(name)
        path = HERE / f"{name}.json"
        count = sum(len(content.get(library, [])) for library in LIBRARIES)
        if not arguments.check:
            path.write_text(dump(content) + "\n")
            print(f"{path.name}: {count} cases, {path.stat().st_size} bytes")
            continue
        stored = json.loads(path.read_text())
        content = json.loads(json.dumps(content))
        if content.pop("versions") != stored.pop("versions"):
            print(f"{path.name}: other versions than these were used")
        worst = deviation(content, stored)
        failed |= worst > 1e-13
        print(f"{path.name}: {count} cases, largest relative deviation {worst:.1e}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
