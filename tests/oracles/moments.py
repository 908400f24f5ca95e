"""Variants of Adam that measure the size or the direction of the gradients in another way."""

import numpy as np

from oracles.common import at, moved


def adabelief(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-16):
    """Zhuang et al. (2020), AdaBelief optimizer, algorithm 2."""
    m = np.zeros_like(p)
    s = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        m_hat = m / (1 - b1**t)
        s_hat = s / (1 - b2**t)
        p = p - alpha * m_hat / (np.sqrt(s_hat) + eps)
        p = moved(p, (yield {"param": p, "m": m, "s": s, "t": t}))


def yogi(p, grads, learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-3, initial_accumulator=1e-6):
    """Zaheer et al. (2018), Adaptive methods for nonconvex optimization, algorithm 2, with Adam's bias corrections."""
    m = np.zeros_like(p)
    v = np.full_like(p, initial_accumulator)
    for t, g in enumerate(grads, start=1):
        eta, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = np.where(v < g**2, v + (1 - b2) * g**2, np.where(v > g**2, v - (1 - b2) * g**2, v))
        p = p - eta / (1 - b1**t) * m / (np.sqrt(v / (1 - b2**t)) + eps)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))


def novograd(p, grads, learning_rate=0.01, beta1=0.95, beta2=0.98, epsilon=1e-8, weight_decay=0.0):
    """Ginsburg et al. (2019), Stochastic gradient methods with layer-wise adaptive moments, algorithm 1."""
    v = m = None
    for t, g in enumerate(grads):
        b1, b2, eps, d = (at(hyper, t) for hyper in (beta1, beta2, epsilon, weight_decay))
        squared_norm = np.sum(g**2)
        v = squared_norm if v is None else b2 * v + (1 - b2) * squared_norm
        ratio = g / (np.sqrt(v) + eps) + d * p
        m = ratio if m is None else b1 * m + ratio
        p = p - at(learning_rate, t) * m
        p = moved(p, (yield {"param": p, "v": v, "m": m, "t": t + 1}))


def adan(p, grads, learning_rate=0.001, beta1=0.98, beta2=0.92, beta3=0.99, epsilon=1e-8, weight_decay=0.0):
    """Xie et al. (2024), Adan, algorithm 1, with its β₁, β₂, β₃, which are one minus those given.

    As in the authors' code, the averages begin at zero and are corrected for it, in place of beginning at the first
    gradient.
    """
    m, v, n = (np.zeros_like(p) for _ in range(3))
    g_before = None
    for k, g in enumerate(grads):
        b1, b2, b3 = (1 - at(beta, k) for beta in (beta1, beta2, beta3))
        eta, eps, decay = (at(hyper, k) for hyper in (learning_rate, epsilon, weight_decay))
        difference = np.zeros_like(g) if g_before is None else g - g_before
        m = (1 - b1) * m + b1 * g
        v = (1 - b2) * v + b2 * difference
        n = (1 - b3) * n + b3 * (g + (1 - b2) * difference) ** 2
        m_hat, v_hat, n_hat = (x / (1 - (1 - b) ** (k + 1)) for x, b in ((m, b1), (v, b2), (n, b3)))
        eta_k = eta / (np.sqrt(n_hat) + eps)
        p = (p - eta_k * (m_hat + (1 - b2) * v_hat)) / (1 + decay * eta)
        g_before = g
        p = moved(p, (yield {"param": p, "m": m, "v": v, "n": n, "g": g, "t": k + 1}))


def ademamix(
    p,
    grads,
    learning_rate=0.001,
    beta1=0.9,
    beta2=0.999,
    beta3=0.9999,
    alpha=5.0,
    epsilon=1e-8,
    weight_decay=0.0,
):
    """Pagliardini, Ablin and Grangier (2024), The AdEMAMix optimizer, algorithm 1."""
    m1, m2, nu = (np.zeros_like(p) for _ in range(3))
    for t, g in enumerate(grads, start=1):
        eta, b1, b2, b3 = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, beta3))
        a, eps, decay = (at(hyper, t - 1) for hyper in (alpha, epsilon, weight_decay))
        m1 = b1 * m1 + (1 - b1) * g
        m2 = b3 * m2 + (1 - b3) * g
        nu = b2 * nu + (1 - b2) * g**2
        m1_hat = m1 / (1 - b1**t)
        nu_hat = nu / (1 - b2**t)
        p = p - eta * ((m1_hat + a * m2) / (np.sqrt(nu_hat) + eps) + decay * p)
        p = moved(p, (yield {"param": p, "m1": m1, "m2": m2, "v": nu, "t": t}))


def simplified_ademamix(
    p, grads, learning_rate=0.0001, beta1=0.99, beta2=0.95, alpha=0.0, epsilon=1e-8, weight_decay=0.0
):
    """Morwani et al. (2025), Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD variants.

    Their momentum is a sum, not an average, and is not corrected.
    """
    m, nu = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        eta, b1, b2 = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2))
        a, eps, decay = (at(hyper, t - 1) for hyper in (alpha, epsilon, weight_decay))
        m = b1 * m + g
        nu = b2 * nu + (1 - b2) * g**2
        denominator = np.sqrt(nu / (1 - b2**t)) + eps
        p = p * (1 - eta * decay) - eta * m / denominator - eta * a * g / denominator
        p = moved(p, (yield {"param": p, "m": m, "v": nu, "t": t}))


def adopt(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.9999, epsilon=1e-6):
    """Taniguchi et al. (2024), ADOPT, algorithm 2, with c_t = t^¼; their t is that of the second gradient on."""
    m = np.zeros_like(p)
    v = None
    for t, g in enumerate(grads):
        eta, b1, b2, eps = (at(hyper, t) for hyper in (learning_rate, beta1, beta2, epsilon))
        if v is None:
            v = g**2
        else:
            ratio = g / np.maximum(np.sqrt(v), eps)
            m = b1 * m + (1 - b1) * np.clip(ratio, -(t**0.25), t**0.25)
            p = p - eta * m
            v = b2 * v + (1 - b2) * g**2
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t + 1}))


def qhadam(p, grads, learning_rate=0.001, beta1=0.995, beta2=0.999, nu1=0.7, nu2=1.0, epsilon=1e-8):
    """Ma and Yarats (2019), Quasi-hyperbolic momentum and Adam for deep learning, section 4."""
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        alpha, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        n1, n2 = at(nu1, t - 1), at(nu2, t - 1)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        p = p - alpha * (g + n1 * (m_hat - g)) / (np.sqrt((1 - n2) * g**2 + n2 * v_hat) + eps)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))


def optimistic_adam(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, optimism=1.0):
    """Daskalakis et al. (2018), Training GANs with optimism, algorithm 1: w ← w - 2η r_t + η r_{t-1}.

    `optimism` is 1 there. Their r_0 is 0; here it is r_1.
    """
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    before = None
    for t, g in enumerate(grads, start=1):
        eta, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        r = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        if before is None:
            before = r
        p = p - eta * (1 + at(optimism, t - 1)) * r + eta * at(optimism, t - 1) * before
        before = r
        p = moved(p, (yield {"param": p, "m": m, "v": v, "r": r, "t": t}))


def laprop(p, grads, learning_rate=4e-4, beta1=0.9, beta2=0.999, epsilon=1e-15):
    """Ziyin, Wang and Ueda (2020), LaProp, algorithm 1; b2 and v are their second decay and n."""
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        eta, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        v = b2 * v + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - eta * m / (1 - b1**t)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))


def adam_atan2(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999):
    """Everett et al. (2024), Scaling exponents across parameterizations and optimizers, section 5: Adam's moments."""
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        eta, b1, b2 = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        p = p - eta * np.arctan2(m / (1 - b1**t), np.sqrt(v / (1 - b2**t)))
        p = moved(p, (yield {"param": p, "m": m, "u": np.sqrt(v), "t": t}))


def spam(
    p,
    grads,
    learning_rate=0.001,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    threshold=5000.0,
    every=500,
    warmup=150,
    delay=20,
):
    """Huang et al. (2025), SPAM, algorithm 1 without sparse momentum, in the form of their program.

    Its warmup counts from 0 after each reset; before the first, there is none.
    """
    m, v = np.zeros_like(p), np.zeros_like(p)
    since = None
    for t, g in enumerate(grads, start=1):
        eta, b1, b2, eps, theta = (at(a, t - 1) for a in (learning_rate, beta1, beta2, epsilon, threshold))
        if t % every == 0:
            m, v, since = np.zeros_like(p), np.zeros_like(p), 0
        if t % every >= delay:
            spikes = g**2 > theta * v
            g = np.where(spikes, np.sign(g) * np.sqrt(theta * v), g)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        factor = 1.0
        if since is not None:
            if since < warmup:
                factor = 1 - 0.99 * np.cos(np.pi * since / (warmup + 1) / 2) ** 2
            since += 1
        p = p - eta * factor * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))
