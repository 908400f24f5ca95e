"""Make schedules.json: the values of the schedules of optax, torch and Keras, in float64, where they are ours.

In the environment that generate.py describes:

    golden-env/bin/python tests/golden/generate_schedules.py

A case has our schedule with the arguments that reproduce the peer's, the peer with its arguments, and its values at the
steps 0, 1, 2 ... A schedule among the arguments is a dict of its name and its arguments.
"""

import argparse
import json
import os
import platform
import sys
import warnings
from functools import partial
from importlib.metadata import version

import numpy as np
from generate import HERE, deviation, dump

STEPS = 64


def case(schedule, arguments, peer, peer_arguments, values):
    values = [float(x) for x in values]
    return {
        "schedule": schedule,
        "arguments": arguments,
        "peer": peer,
        "peer_arguments": peer_arguments,
        "values": values,
    }


def made(schedule, **arguments):
    return {"schedule": schedule, "arguments": arguments}


def optax_cases():
    import optax

    def ours(schedule, peer, peer_arguments, /, **arguments):
        peer_schedule = getattr(optax, peer)(**peer_arguments)
        return case(schedule, arguments, f"optax.{peer}", peer_arguments, [peer_schedule(t) for t in range(STEPS)])

    yield ours("constant", "constant_schedule", {"value": 0.3}, value=0.3)
    for initial, final, steps, begin in [(0.1, 0.01, 50, 0), (0.1, 0.9, 40, 7), (1.0, 0.0, 1, 3)]:
        spans = {"transition_steps": steps, "transition_begin": begin}
        ends = {"init_value": initial, "end_value": final}
        arguments = {"initial": initial, "final": final, "steps": steps, "begin": begin}
        yield ours("linear", "linear_schedule", ends | spans, **arguments)
        for power in (0.5, 1.0, 2.0, 3.3):
            peer_arguments = ends | {"power": power} | spans
            yield ours("polynomial_decay", "polynomial_schedule", peer_arguments, **arguments, power=power)

    scales = {10: 0.5, 11: 0.1, 40: 3.0}
    values = [float(x) for x in np.cumprod([0.7, *scales.values()])]
    ends = {"init_value": 0.7, "boundaries_and_scales": scales}
    arguments = {"boundaries": [*scales], "values": values}
    yield ours("piecewise_constant", "piecewise_constant_schedule", ends, **arguments)
    for kind in ("linear", "cosine"):
        peer_arguments = {"interpolate_type": kind} | ends
        yield ours("piecewise_interpolated", "piecewise_interpolate_schedule", peer_arguments, **arguments, kind=kind)

    for rate, final in [(0.5, None), (0.5, 0.03), (1.3, None), (1.3, 0.4)]:
        for staircase in (False, True):
            peer_arguments = {"init_value": 0.1, "transition_steps": 9, "decay_rate": rate}
            peer_arguments |= {"staircase": staircase, "end_value": final}
            arguments = {"initial": 0.1, "rate": rate, "steps": 9, "staircase": staircase, "final": final}
            yield ours("exponential_decay", "exponential_decay", peer_arguments, **arguments)

    for steps, alpha, exponent in [(50, 0.0, 1.0), (33, 0.1, 1.0), (48, 0.02, 2.5)]:
        peer_arguments = {"init_value": 0.3, "decay_steps": steps, "alpha": alpha, "exponent": exponent}
        arguments = {"initial": 0.3, "steps": steps, "final": alpha * 0.3, "exponent": exponent}
        yield ours("cosine_decay", "cosine_decay_schedule", peer_arguments, **arguments)

    ends = {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 12}
    start = {"steps": 12, "initial": 0.01}
    yield ours("warmup", "warmup_constant_schedule", ends, schedule=0.3, **start)
    decay = made("cosine_decay", initial=0.3, steps=38, final=0.02, exponent=1.5)
    peer_arguments = ends | {"decay_steps": 50, "end_value": 0.02, "exponent": 1.5}
    yield ours("warmup", "warmup_cosine_decay_schedule", peer_arguments, schedule=decay, **start)
    decay = made("exponential_decay", initial=0.3, rate=0.8, steps=6, staircase=True, final=0.1)
    peer_arguments = ends | {"transition_steps": 6, "decay_rate": 0.8, "staircase": True, "end_value": 0.1}
    yield ours("warmup", "warmup_exponential_decay_schedule", peer_arguments, schedule=decay, **start)

    cycles = [
        {"init_value": 0.2 * 0.5**i, "peak_value": 0.2 * 0.5**i, "warmup_steps": 0, "decay_steps": 7 * 2**i}
        for i in range(4)
    ]
    arguments = {"initial": 0.2, "period": 7, "multiplier": 2, "decay": 0.5}
    yield ours("cosine_restarts", "sgdr_schedule", {"cosine_kwargs": cycles}, **arguments)

    for steps, fraction, initial_div, final_div in [(50, 0.3, 25.0, 1e4), (40, 0.25, 10.0, 100.0)]:
        peer_arguments = {"transition_steps": steps, "peak_value": 0.4, "pct_start": fraction}
        peer_arguments |= {"div_factor": initial_div, "final_div_factor": final_div}
        arguments = {"peak": 0.4, "steps": steps, "warmup_fraction": fraction}
        arguments |= {"initial_div": initial_div, "final_div": final_div}
        yield ours("one_cycle", "cosine_onecycle_schedule", peer_arguments, **arguments)
        peer_arguments["pct_final"] = 0.8
        arguments |= {"kind": "linear", "return_fraction": 0.8}
        yield ours("one_cycle", "linear_onecycle_schedule", peer_arguments, **arguments)

    parts = [
        made("linear", initial=0.1, final=0.5, steps=10),
        made("constant", value=0.5),
        made("cosine_decay", initial=0.5, steps=30),
    ]
    peers = [optax.linear_schedule(0.1, 0.5, 10), optax.constant_schedule(0.5), optax.cosine_decay_schedule(0.5, 30)]
    joined = optax.join_schedules(peers, [10, 25])
    peer_arguments = {"schedules": ["linear", "constant", "cosine"], "boundaries": [10, 25]}
    for name, arguments in [
        ("join", {"schedules": parts, "boundaries": [10, 25]}),
        (
            "warmup_stable_decay",
            {"peak": 0.5, "warmup": 10, "stable": 15, "decay": 30, "initial": 0.1, "kind": "cosine"},
        ),
    ]:
        yield case(name, arguments, "optax.join_schedules", peer_arguments, [joined(t) for t in range(STEPS)])


def torch_cases():
    import torch
    from torch.optim import lr_scheduler

    def rates(make, steps):
        """The rate of every update, the scheduler being stepped after each."""
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        scheduler = make(optimizer)
        for _ in range(steps):
            yield optimizer.param_groups[0]["lr"]
            optimizer.step()
            scheduler.step()

    def ours(schedule, peer, peer_arguments, arguments, steps=STEPS):
        make = partial(getattr(lr_scheduler, peer), **peer_arguments)
        return case(schedule, arguments, f"torch.{peer}", {"lr": 0.3} | peer_arguments, rates(make, steps))

    for schedule, peer, peer_arguments, steps, arguments in [
        (
            "step_decay",
            "StepLR",
            {"step_size": 9, "gamma": 0.7},
            STEPS,
            {"initial": 0.3, "step_size": 9, "gamma": 0.7},
        ),
        ("step_decay", "StepLR", {"step_size": 20}, STEPS, {"initial": 0.3, "step_size": 20}),
        (
            "piecewise_constant",
            "MultiStepLR",
            {"milestones": [5, 30], "gamma": 0.5},
            STEPS,
            {"boundaries": [5, 30], "values": [0.3, 0.15, 0.075]},
        ),
        (
            "piecewise_constant",
            "ConstantLR",
            {"factor": 0.25, "total_iters": 8},
            STEPS,
            {"boundaries": [8], "values": [0.075, 0.3]},
        ),
        (
            "linear",
            "LinearLR",
            {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 20},
            STEPS,
            {"initial": 0.3 * 0.2, "final": 0.3 * 0.9, "steps": 20},
        ),
        (
            "polynomial_decay",
            "PolynomialLR",
            {"total_iters": 40, "power": 2.0},
            STEPS,
            {"initial": 0.3, "final": 0.0, "steps": 40, "power": 2.0},
        ),
        ("exponential_decay", "ExponentialLR", {"gamma": 0.95}, STEPS, {"initial": 0.3, "rate": 0.95, "steps": 1}),
        (
            "cosine_decay",
            "CosineAnnealingLR",
            {"T_max": 40, "eta_min": 0.01},
            41,
            {"initial": 0.3, "steps": 40, "final": 0.01},
        ),
    ]:
        yield ours(schedule, peer, peer_arguments, arguments, steps)

    for multiplier in (1, 2, 3):
        peer_arguments = {"T_0": 5, "T_mult": multiplier, "eta_min": 0.02}
        arguments = {"initial": 0.3, "period": 5, "multiplier": multiplier, "final": 0.02}
        yield ours("cosine_restarts", "CosineAnnealingWarmRestarts", peer_arguments, arguments)

    for kind, anneal in [("cosine", "cos"), ("linear", "linear")]:
        for three_phase in (False, True):
            n, up = 50, 0.3
            peer_arguments = {"max_lr": 0.3, "total_steps": n, "pct_start": up, "anneal_strategy": anneal}
            peer_arguments |= {"div_factor": 20.0, "final_div_factor": 50.0, "three_phase": three_phase}
            peer_arguments |= {"cycle_momentum": False}
            arguments = {"peak": 0.3, "steps": n - 1, "warmup_fraction": (up * n - 1) / (n - 1), "kind": kind}
            arguments |= {"initial_div": 20.0, "final_div": 50.0}
            arguments |= {"return_fraction": (2 * up * n - 2) / (n - 1)} if three_phase else {}
            yield ours("one_cycle", "OneCycleLR", peer_arguments, arguments, n)

    for mode, gamma in [("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.97)]:
        peer_arguments = {"base_lr": 0.05, "max_lr": 0.35, "step_size_up": 7, "mode": mode, "gamma": gamma}
        arguments = {"low": 0.05, "high": 0.35, "half_period": 7, "mode": mode, "gamma": gamma}
        yield ours("cyclic", "CyclicLR", peer_arguments | {"cycle_momentum": False}, arguments)


def keras_cases():
    os.environ["KERAS_BACKEND"] = "torch"  # on JAX's and NumPy's, its cosine is float32
    import keras

    keras.config.set_floatx("float64")

    def ours(schedule, peer, peer_arguments, /, **arguments):
        peer_schedule = getattr(keras.optimizers.schedules, peer)(**peer_arguments)
        values = [peer_schedule(t) for t in range(STEPS)]
        return case(schedule, arguments, f"keras.{peer}", peer_arguments, values)

    start = {"initial_learning_rate": 0.3}
    for staircase in (False, True):
        peer_arguments = start | {"decay_steps": 9, "decay_rate": 0.6, "staircase": staircase}
        arguments = {"initial": 0.3, "rate": 0.6, "steps": 9, "staircase": staircase}
        yield ours("exponential_decay", "ExponentialDecay", peer_arguments, **arguments)
        yield ours("inverse_time_decay", "InverseTimeDecay", peer_arguments, **arguments)
    peer_arguments = start | {"decay_steps": 1, "decay_rate": 0.2}
    yield ours("inverse_time_decay", "InverseTimeDecay", peer_arguments, initial=0.3, rate=0.2)

    # A value still holds at its boundary.
    peer_arguments = {"boundaries": [4, 29], "values": [0.3, 0.2, 0.5]}
    yield ours(
        "piecewise_constant", "PiecewiseConstantDecay", peer_arguments, boundaries=[5, 30], values=[0.3, 0.2, 0.5]
    )
    peer_arguments = start | {"decay_steps": 40, "end_learning_rate": 0.02, "power": 1.5}
    yield ours("polynomial_decay", "PolynomialDecay", peer_arguments, initial=0.3, final=0.02, steps=40, power=1.5)
    peer_arguments = start | {"decay_steps": 40, "alpha": 0.1}
    yield ours("cosine_decay", "CosineDecay", peer_arguments, initial=0.3, steps=40, final=0.03)
    peer_arguments = {"initial_learning_rate": 0.03, "decay_steps": 40, "warmup_target": 0.3, "warmup_steps": 10}
    decay = made("cosine_decay", initial=0.3, steps=40)
    yield ours("warmup", "CosineDecay", peer_arguments, schedule=decay, steps=10, initial=0.03)
    for multiplier, decay, alpha in [(2.0, 1.0, 0.0), (1.0, 0.8, 0.1), (2.0, 0.5, 0.1), (1.5, 0.9, 0.0)]:
        peer_arguments = start | {"first_decay_steps": 8, "t_mul": multiplier, "m_mul": decay, "alpha": alpha}
        arguments = {"initial": 0.3, "period": 8, "multiplier": multiplier, "decay": decay, "final": alpha * 0.3}
        yield ours("cosine_restarts", "CosineDecayRestarts", peer_arguments, **arguments)


def content():
    with warnings.catch_warnings(action="ignore"):
        cases = [*optax_cases(), *torch_cases(), *keras_cases()]
    names = ("numpy", "jax", "optax", "torch", "keras")
    return {"versions": {"python": platform.python_version()} | {x: version(x) for x in names}, "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the file that is there")
    check = parser.parse_args().check
    path = HERE / "schedules.json"
    new = content()
    if not check:
        path.write_text(dump(new) + "\n")
        print(f"{path.name}: {len(new['cases'])} cases, {path.stat().st_size} bytes")
        return
    old, new = json.loads(path.read_text()), json.loads(json.dumps(new))
    if new.pop("versions") != old.pop("versions"):
        print(f"{path.name}: other versions than these were used")
    worst = deviation(new, old)
    print(f"{path.name}: {len(new['cases'])} cases, largest relative deviation {worst:.1e}")
    sys.exit(worst > 1e-13)


if __name__ == "__main__":
    main()
