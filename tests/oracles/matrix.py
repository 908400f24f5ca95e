"""Matrices."""

import numpy as np

import oracles
from oracles.common import at, moved


def adafactor(
    p,
    grads,
    learning_rate=0.01,
    beta2_decay=-0.8,
    epsilon1=1e-30,
    epsilon2=1e-3,
    clip_threshold=1.0,
    relative_step=True,
    min_dim_size_to_factor=1,
):
    """Shazeer and Stern (2018), Adafactor, algorithms 4 and 5; of more than two axes, a matrix of the last two each.

    The paper's sums R and C over the n columns and m rows are yielded as means.
    """
    factored = p.ndim > 1 and min(p.shape[-2:]) >= min_dim_size_to_factor
    V = np.zeros_like(p)
    R, C = (np.zeros_like(p).sum(axis=axis, keepdims=True) if factored else None for axis in (-1, -2))
    for t, g in enumerate(grads, start=1):
        eta, exponent, eps1, eps2, d = (
            at(hyper, t - 1) for hyper in (learning_rate, beta2_decay, epsilon1, epsilon2, clip_threshold)
        )
        beta = 1 - float(t) ** exponent
        squares = g**2 + eps1
        if factored:
            R = beta * R + (1 - beta) * squares.sum(axis=-1, keepdims=True)
            C = beta * C + (1 - beta) * squares.sum(axis=-2, keepdims=True)
            V = R * C / R.sum(axis=-2, keepdims=True)
            state = {"r": R[..., 0] / p.shape[-1], "c": C[..., 0, :] / p.shape[-2]}
        else:
            V = beta * V + (1 - beta) * squares
            state = {"v": V}
        U = g / np.sqrt(V)
        U = U / max(1, np.sqrt(np.mean(U**2)) / d)
        rho = min(eta, t**-0.5) if relative_step else eta
        p = p - max(eps2, np.sqrt(np.mean(p**2))) * rho * U
        p = moved(p, (yield {"param": p, **state, "t": t}))


def quintic(s):
    """What an iteration of Newton and Schulz does to a singular value."""
    return 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5


def muon(
    p,
    grads,
    learning_rate=0.02,
    momentum=0.95,
    weight_decay=0.0,
    epsilon=1e-7,
    nesterov=True,
    ns_steps=5,
    consistent_rms=None,
    others=None,
):
    """Jordan et al. (2024), Muon, in the form of their code: the momentum is an average.

    The iterations are carried out on the singular values. `others` is a partial of a rule, whose oracle does the rest.
    """
    if p.ndim != 2:
        yield from getattr(oracles, others.func.__name__)(p, grads, **others.keywords)
        return
    rows, columns = p.shape
    m = np.zeros_like(p)
    for t, g in enumerate(grads):
        mu, eta = at(momentum, t), at(learning_rate, t)
        m = m + (1 - mu) * (g - m)
        u = g + mu * (m - g) if nesterov else m
        U, s, Vt = np.linalg.svd(u, full_matrices=False)
        s = s / (np.linalg.norm(u) + at(epsilon, t))
        for _ in range(ns_steps):
            s = quintic(s)
        factor = max(1, columns / rows) ** 0.5 if consistent_rms is None else consistent_rms * max(p.shape) ** 0.5
        p = (1 - eta * at(weight_decay, t)) * p - eta * factor * (U * s) @ Vt
        p = moved(p, (yield {"param": p, "m": m}))
