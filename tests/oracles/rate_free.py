"""Rules that find the learning rate while they train; the parameter is the vector of all elements."""

import numpy as np

from oracles.common import at, moved


def ratio(a, b):
    """a/b, where zero over zero, of what has not begun, is zero."""
    return a / b if b != 0 else 0.0


def of_adam(b1, b2, t):
    """The bias corrections of Adam, as a factor of the rate."""
    return (1 - b2**t) ** 0.5 / (1 - b1**t)


def dadapt_adam(
    p,
    grads,
    learning_rate=1.0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.0,
    initial_distance=1e-6,
    bias_correction=False,
):
    """Defazio and Mishchenko (2023), Learning-rate-free learning by D-Adaptation, the algorithm for Adam.

    The inner product of g and s is that of A before this gradient, as in the authors' program. The numerator and s are
    kept without the factors 1 - √β₂ that they share; the decay, which is not in the paper, is decoupled.
    """
    d = 0.0
    m, v, s = (np.zeros_like(p) for _ in range(3))
    r = 0.0
    for t, g in enumerate(grads):
        b1, b2, eps = (at(hyper, t) for hyper in (beta1, beta2, epsilon))
        w = 1 - b2**0.5
        d = max(d, at(initial_distance, t))
        lam = d * at(learning_rate, t) * of_adam(b1, b2, t + 1) ** bias_correction
        r = b2**0.5 * r + w * lam * np.vdot(g, s / (np.sqrt(v) + eps))
        m = b1 * m + (1 - b1) * (lam * g)
        v = b2 * v + (1 - b2) * g**2
        s = b2**0.5 * s + w * (lam * g)
        p = p - (m / (np.sqrt(v) + eps) + lam * at(weight_decay, t) * p)
        d = max(d, ratio(r, w * np.sum(np.abs(s))))
        p = moved(p, (yield {"param": p, "m": m, "v": v, "s": s, "distance": d, "r": r, "t": t + 1}))


def prodigy(
    p,
    grads,
    learning_rate=1.0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.0,
    initial_distance=1e-6,
    d_coef=1.0,
    bias_correction=True,
    growth_rate=None,
    safeguard_warmup=False,
):
    """Mishchenko and Defazio (2024), Prodigy, algorithm 4, with decoupled decay, and Adam's corrections.

    The last three are of the authors' program: the best estimate, which the distance follows at a bounded rate, but for
    the first time; and s without the rate.
    """
    x0 = p
    d = 0.0
    m, v, s = (np.zeros_like(p) for _ in range(3))
    r = 0.0
    best = 0.0
    for k, g in enumerate(grads):
        b1, b2, eps, gamma = (at(hyper, k) for hyper in (beta1, beta2, epsilon, learning_rate))
        gamma = gamma * of_adam(b1, b2, k + 1) ** bias_correction
        d = max(d, at(initial_distance, k))
        weight = (1 - b2**0.5) * gamma * d**2
        m = b1 * m + (1 - b1) * d * g
        v = b2 * v + (1 - b2) * d**2 * g**2
        r = b2**0.5 * r + weight * np.vdot(g, x0 - p)
        s = b2**0.5 * s + (weight / gamma if safeguard_warmup else weight) * g
        p = p - gamma * d * m / (np.sqrt(v) + d * eps) - gamma * d * at(weight_decay, k) * p
        d_hat = at(d_coef, k) * ratio(r, np.sum(np.abs(s)))
        best = max(best, d, d_hat)
        if growth_rate is None or d == at(initial_distance, k):
            d = max(d, d_hat)
        else:
            d = min(best, d * growth_rate)
        p = moved(
            p,
            (
                yield {"param": p, "m": m, "v": v, "s": s, "start": x0, "distance": d, "r": r, "t": k + 1}
                | ({} if growth_rate is None else {"best": best})
            ),
        )


def dog(p, grads, learning_rate=1.0, relative_distance=1e-6, epsilon=1e-8):
    """Ivgi, Hinder and Carmon (2023), DoG is SGD's best friend: its step size, where r_ε is a fraction of 1 + ‖x₀‖."""
    x0 = p
    distances, squares = [0.0], []
    for t, g in enumerate(grads):
        distances += [at(relative_distance, t) * (1 + np.linalg.norm(x0)), np.linalg.norm(p - x0)]
        squares.append(np.linalg.norm(g) ** 2)
        r, G = max(distances), sum(squares)
        p = p - at(learning_rate, t) * (r / (G + at(epsilon, t)) ** 0.5) * g
        p = moved(p, (yield {"param": p, "start": x0, "distance": r, "accu": G}))


def l_dog(p, grads, learning_rate=1.0, relative_distance=1e-6, epsilon=1e-8):
    """Ivgi, Hinder and Carmon (2023), the layer-wise variant: `dog` for each parameter."""
    return dog(p, grads, learning_rate, relative_distance, epsilon)


def dowg(p, grads, learning_rate=1.0, initial_distance=1e-2, epsilon=1e-4):
    """Khaled, Mishchenko and Jin (2023), DoWG unleashed, algorithm 1, with the ε of its program beside the root."""
    x0 = p
    r, v = 0.0, 0.0
    for t, g in enumerate(grads):
        r = max(r, at(initial_distance, t), np.linalg.norm(p - x0))
        v = v + (r * np.linalg.norm(g)) ** 2
        p = p - at(learning_rate, t) * r**2 / (v**0.5 + at(epsilon, t)) * g
        p = moved(p, (yield {"param": p, "start": x0, "squared_distance": r**2, "accu": v}))


def cocob(p, grads, learning_rate=1.0, alpha=100.0, epsilon=1e-8):
    """Orabona and Tommasi (2017), Training deep networks without learning rates, algorithm 2, with L at least ε.

    As there, in negative gradients, here weighted by the rate.
    """
    w1 = p
    L, G, reward, theta = (np.zeros_like(p) for _ in range(4))
    for t, gradient in enumerate(grads):
        g = -at(learning_rate, t) * gradient
        L = np.maximum(np.maximum(L, np.abs(g)), at(epsilon, t))
        G = G + np.abs(g)
        reward = np.maximum(reward + (p - w1) * g, 0)
        theta = theta + g
        beta = theta / np.maximum(G + L, at(alpha, t) * L) / L
        p = w1 + beta * (L + reward)
        p = moved(p, (yield {"param": p, "start": w1, "largest": L, "accu": G, "reward": reward, "theta": theta}))


def polyak_step(p, losses, grads, max_learning_rate=1.0, minimum=0.0, c=1.0):
    """Loizou et al. (2021), Stochastic Polyak step-size, SPS_max, with the positive part of Garrigos et al. (2023)."""
    for t, (f, g) in enumerate(zip(losses, grads, strict=True)):
        gap = max(f - at(minimum, t), 0.0)
        sps = ratio(gap, at(c, t) * np.sum(g**2))
        p = p - min(sps, at(max_learning_rate, t)) * g
        p = moved(p, (yield {"param": p}))


def hypergradient_sgd(p, grads, learning_rate=1e-3, hyper_learning_rate=1e-6):
    """Baydin et al. (2018), Online learning rate adaptation with hypergradient descent, algorithm 4: SGD-HD."""
    before = np.zeros_like(p)
    learned = 0.0
    for t, g in enumerate(grads):
        learned = learned - at(hyper_learning_rate, t) * np.vdot(g, -before)
        p = p - (at(learning_rate, t) + learned) * g
        before = g
        p = moved(p, (yield {"param": p, "gradient": g, "learned": learned}))


def hypergradient_adam(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, hyper_learning_rate=1e-8):
    """Baydin et al. (2018), algorithm 6: Adam-HD, with the ε of `adam`."""
    m, v, u = (np.zeros_like(p) for _ in range(3))
    learned = 0.0
    for t, g in enumerate(grads, start=1):
        b1, b2, eps = (at(hyper, t - 1) for hyper in (beta1, beta2, epsilon))
        learned = learned - at(hyper_learning_rate, t - 1) * np.vdot(g, u)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        u = -((1 - b2**t) ** 0.5) * m_hat / (np.sqrt(v) + eps)
        p = p + (at(learning_rate, t - 1) + learned) * u
        state = {"param": p, "m": m, "v": v, "direction": -u, "learned": learned, "t": t}
        p = moved(p, (yield state))


def mechanic(p, grads, rule, initial_scale=1e-6, weight_decay=0.01, epsilon=1e-8, betas=6):
    """Cutkosky, Defazio and Mehta (2023), Mechanic, algorithm 1, with the clipping and the ε of its program.

    `rule` is another rule, a partial with its hyper-parameters. Each s has a loop of its own.
    """
    x_ref = p
    delta = np.zeros_like(p)
    s, r, m, v = ([0.0] * betas for _ in range(4))
    rule_steps = rule(p, grads)
    for t, g in enumerate(grads):
        after = rule_steps.send(None if t == 0 else p)
        scale_0, lam, eps = (at(x, t) for x in (initial_scale, weight_decay, epsilon))
        h = np.vdot(delta, g + lam * sum(s) * np.linalg.norm(g) * p / (np.linalg.norm(p) + eps))
        for i in range(betas):
            beta = 1 - 0.1 ** (i + 1)
            r[i] = beta * r[i] - min(max(h, -m[i]), m[i]) * s[i]
            m[i] = max(beta * m[i], abs(h) + eps)
            v[i] = beta**2 * v[i] + h**2
            s[i] = (scale_0 / betas * m[i] + max(0.0, r[i])) / (v[i] ** 0.5 + eps)
        delta = delta + (after["param"] - p)
        p = x_ref + sum(s) * delta
        whole = {slot: np.array(x) for slot, x in zip("smvr", (s, m, v, r), strict=True)}
        p = moved(p, (yield {"param": p, "delta": delta, "start": x_ref, **whole}))
