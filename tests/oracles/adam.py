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


def adamaxw(p, grads, learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01):
    """Algorithm 2 of Kingma and Ba (2015) as in `adamax`, with the decay of Loshchilov and Hutter (2019) as in `adamw`.

    The decay comes first, of the parameter alone.
    """
    m = np.zeros_like(p)
    u = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        p = p * (1 - alpha * at(weight_decay, t - 1))
        p = p - alpha / (1 - b1**t) * m / (u + eps)
        p = moved(p, (yield {"param": p, "m": m, "u": u, "t": t}))


def nadam(p, grads, learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8, momentum_decay=0.004):
    """As `nadamw`, without the decay."""
    yield from nadamw(p, grads, learning_rate, beta1, beta2, epsilon, momentum_decay, weight_decay=0)


def nadamw(
    p, grads, learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8, momentum_decay=0.004, weight_decay=0.01
):
    """Dozat (2016), Incorporating Nesterov momentum into Adam, algorithm 2, whose n is v.

    His μ is β₁, and is what m decays by, in place of his μ_t. The decay is that of `adamw`, before the step.
    """
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    mus = []
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        mus.append(b1 * (1 - 0.96 ** (t * at(momentum_decay, t - 1)) / 2))
        mu_next = b1 * (1 - 0.96 ** ((t + 1) * at(momentum_decay, t - 1)) / 2)
        m = m + (1 - b1) * (g - m)
        v = v + (1 - b2) * (g**2 - v)
        g_hat = g / (1 - np.prod(mus))
        m_hat = m / (1 - np.prod([*mus, mu_next]))
        m_bar = (1 - mus[-1]) * g_hat + mu_next * m_hat
        p = p * (1 - alpha * at(weight_decay, t - 1)) - alpha * m_bar / (np.sqrt(v / (1 - b2**t)) + eps)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "mu_product": np.prod(mus), "t": t}))


def radam(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, threshold=5.0):
    """Liu et al. (2020), On the variance of the adaptive learning rate and beyond, algorithm 2.

    Their rho of step t is computed from what it stands for: the length of the simple moving average whose squares are
    as old in the mean as those of the exponential one. ε is added to √v, as in the authors' code.
    """
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        ages = np.arange(1, t + 1)
        rho = 2 * np.average(ages, weights=b2 ** (ages - 1.0)) - 1
        rho_inf = (1 + b2) / (1 - b2)
        if rho > at(threshold, t - 1):
            adaptive = np.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
            r = np.sqrt((rho - 4) / (rho_inf - 4) * (rho - 2) / (rho_inf - 2) * rho_inf / rho)
            p = p - alpha * r * m_hat * adaptive
        else:
            p = p - alpha * m_hat
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))
