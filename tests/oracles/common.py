"""What every oracle stands on, and the gradients they are given."""

import math

import numpy as np


def at(hyper, step):
    """The value of a hyper-parameter at a step."""
    return hyper(step) if callable(hyper) else hyper


def moved(p, sent):
    """Where the parameter is now: where the rule put it, or where a transform has sent it from there."""
    return p if sent is None else sent


def tame_gradients(steps, shape, seed=0):
    """A sequence of float64 gradients of one size: the sums of their products are well-conditioned."""
    return np.random.default_rng(seed).normal(0.3, 1.0, (steps, *shape))


def gradients(steps, shape, seed=0):
    """A sequence of float64 gradients that tells the variants of the rules apart: an array of shape (steps, *shape).

    The coordinates, counted in C order, take turns in ten characters. Where an ε stands shows at the tiny gradients,
    what an accumulator forgets at those that change in size, and what happens before the first gradient at the zeros.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(steps)[:, None]
    size = math.prod(shape)
    ordinary = rng.normal(0.3, 1.0, (steps, size))
    sign = rng.choice([-1.0, 1.0], (steps, size))
    power = rng.random((steps, size))
    characters = [
        ordinary,
        sign * 10 ** (4 * power - 10),  # tiny: 1e-10 to 1e-6
        sign * 10 ** (4 * power + 4),  # huge: 1e4 to 1e8
        np.zeros_like(ordinary),  # always zero
        np.where(t < steps // 4, 0.0, ordinary),  # zero at first
        (-1.0) ** t * (0.5 + power),  # of changing sign
        np.where((t >= steps // 4) & (t < steps // 2), 0.0, ordinary),  # zero for a while
        np.where(t % 13 == 3, 1e3, 1.0) * ordinary,  # with outliers
        ordinary * 10 ** (-8.0 * t / steps),  # vanishing
        0.5 + power,  # of one sign
    ]
    kind = np.arange(size) % len(characters)
    return np.choose(kind, characters).reshape(steps, *shape)
