"""Adam and its variants."""

import numpy as np

from oracles.common import at, moved


def adam(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Kingma and Ba (2015), Adam, algorithm 1, its last three lines as at the end of section 2 (ε is their ε-hat)."""
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        alpha_t = alpha * (1 - b2**t) ** 0.5 / (1 - b1**t)
        p = p - alpha_t * m / (np.sqrt(v) + eps)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))


def adamw(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01):
    """Loshchilov and Hutter (2019), Decoupled weight decay regularization, algorithm 2, with the step of `adam`.

    The decay is multiplied by the rate, as everywhere but in the paper, which multiplies both by a schedule.
    """
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        alpha_t = alpha * (1 - b2**t) ** 0.5 / (1 - b1**t)
        p = p - (alpha_t * m / (np.sqrt(v) + eps) + alpha * at(weight_decay, t - 1) * p)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))


def adamax(p, grads, learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Kingma and Ba (2015), Adam, algorithm 2; ε, which is not in the paper, is added to the divisor."""
    m = np.zeros_like(p)
    u = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        p = p - alpha / (1 - b1**t) * m / (u + eps)
        p = moved(p, (yield {"param": p, "m": m, "u": u, "t": t}))


def amsgrad(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Reddi, Kale and Kumar (2018), On the convergence of Adam and beyond, algorithm 2, with the step size of `adam`.

    The maximum is of the uncorrected averages, as in the paper; the corrections and ε, which are not in the paper, are
    as in `adam`.
    """
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    v_hat = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_hat = np.maximum(v_hat, v)
        alpha_t = alpha * (1 - b2**t) ** 0.5 / (1 - b1**t)
        p = p - alpha_t * m / (np.sqrt(v_hat) + eps)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "v_hat": v_hat, "t": t}))
