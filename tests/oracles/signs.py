"""Rules that take the signs of the gradients."""

import numpy as np

from oracles.common import at, moved


def sign_sgd(p, grads, learning_rate=1e-3):
    """Bernstein et al. (2018), signSGD, algorithm 1."""
    for t, g in enumerate(grads):
        p = p - at(learning_rate, t) * np.sign(g)
        p = moved(p, (yield {"param": p}))


def signum(p, grads, learning_rate=1e-3, beta=0.9):
    """Bernstein et al. (2018), signSGD, algorithm 2, without weight decay."""
    m = np.zeros_like(p)
    for t, g in enumerate(grads):
        m = at(beta, t) * m + (1 - at(beta, t)) * g
        p = p - at(learning_rate, t) * np.sign(m)
        p = moved(p, (yield {"param": p, "m": m}))


def lion(p, grads, learning_rate=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.0):
    """Chen et al. (2023), Symbolic discovery of optimization algorithms, algorithm 2."""
    m = np.zeros_like(p)
    for t, g in enumerate(grads):
        eta, b1, b2, lam = (at(hyper, t) for hyper in (learning_rate, beta1, beta2, weight_decay))
        c = b1 * m + (1 - b1) * g
        p = p - eta * (np.sign(c) + lam * p)
        m = b2 * m + (1 - b2) * g
        p = moved(p, (yield {"param": p, "m": m}))


def rprop(p, grads, learning_rate=0.01, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0):
    """Igel and Hüsken (2003), Empirical evaluation of the improved Rprop, algorithm iRprop-, element by element.

    All step sizes begin at the first value of the rate. What is yielded as ``"sign"`` is that of the gradient which
    the algorithm stores.
    """
    shape = p.shape
    delta = stored = None
    for t, g in enumerate(grads):
        if delta is None:
            delta = np.full(p.size, at(learning_rate, t), dtype=p.dtype)
            stored = np.zeros(p.size, dtype=p.dtype)
        delta, stored, x, g = delta.copy(), stored.copy(), p.ravel().copy(), np.array(g, dtype=p.dtype).ravel()
        smallest, largest = at(min_step_size, t), at(max_step_size, t)
        for i in range(x.size):
            if stored[i] * np.sign(g[i]) > 0:
                delta[i] = delta[i] * at(eta_plus, t)
            elif stored[i] * np.sign(g[i]) < 0:
                delta[i] = delta[i] * at(eta_minus, t)
                g[i] = 0
            delta[i] = min(max(delta[i], smallest), largest)
            x[i] = x[i] - np.sign(g[i]) * delta[i]
            stored[i] = np.sign(g[i])
        p = x.reshape(shape)
        p = moved(p, (yield {"param": p, "step_size": delta.reshape(shape), "sign": stored.reshape(shape)}))
