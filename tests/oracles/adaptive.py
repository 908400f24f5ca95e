"""Steps divided by a record of each coordinate's gradients."""

import numpy as np

from oracles.common import at, moved


def adagrad(p, grads, learning_rate=1.0, epsilon=1e-6, initial_accumulator=0.0):
    """Duchi, Hazan and Singer (2011), Adaptive subgradient methods, with the diagonal of G and ε under the root."""
    G = np.full_like(p, initial_accumulator)
    for t, g in enumerate(grads):
        G = G + g**2
        p = p - at(learning_rate, t) * g / np.sqrt(G + at(epsilon, t))
        p = moved(p, (yield {"param": p, "accu": G}))


def adagrad_window(p, grads, learning_rate=0.001, epsilon=0.1, n_win=10):
    """Zeiler (2012), ADADELTA, section 3.1: AdaGrad with a window over the last `n_win` gradients.

    The squares are kept on the last axis; ``"i"`` is the place of the next.
    """
    squares = np.zeros((*p.shape, n_win), dtype=p.dtype)
    for t, g in enumerate(grads):
        squares = squares.copy()
        squares[..., t % n_win] = g**2
        p = p - at(learning_rate, t) * g / np.sqrt(squares.sum(axis=-1) + at(epsilon, t))
        p = moved(p, (yield {"param": p, "accu": squares, "i": (t + 1) % n_win}))


def rmsprop(p, grads, learning_rate=1.0, rho=0.9, epsilon=1e-6):
    """Tieleman and Hinton (2012), COURSERA lecture 6.5, with ε under the root."""
    mean_square = np.zeros_like(p)
    for t, g in enumerate(grads):
        mean_square = at(rho, t) * mean_square + (1 - at(rho, t)) * g**2
        p = p - at(learning_rate, t) * g / np.sqrt(mean_square + at(epsilon, t))
        p = moved(p, (yield {"param": p, "accu": mean_square}))


def adadelta(p, grads, learning_rate=1.0, rho=0.95, epsilon=1e-6):
    """Zeiler (2012), ADADELTA, algorithm 1. The rate scales what is added to x, not the Δx that is accumulated."""
    E_g2 = np.zeros_like(p)
    E_dx2 = np.zeros_like(p)
    for t, g in enumerate(grads):
        r, eps = at(rho, t), at(epsilon, t)
        E_g2 = r * E_g2 + (1 - r) * g**2
        dx = -np.sqrt(E_dx2 + eps) / np.sqrt(E_g2 + eps) * g
        E_dx2 = r * E_dx2 + (1 - r) * dx**2
        p = p + at(learning_rate, t) * dx
        p = moved(p, (yield {"param": p, "accu": E_g2, "delta_accu": E_dx2}))


def centered_rmsprop(p, grads, learning_rate=0.001, rho=0.9, epsilon=1e-6):
    """Graves (2013), Generating sequences with recurrent neural networks, equations 38 to 41, without momentum."""
    n = np.zeros_like(p)
    g_bar = np.zeros_like(p)
    for t, g in enumerate(grads):
        r = at(rho, t)
        n = r * n + (1 - r) * g**2
        g_bar = r * g_bar + (1 - r) * g
        p = p - at(learning_rate, t) * g / np.sqrt(n - g_bar**2 + at(epsilon, t))
        p = moved(p, (yield {"param": p, "variance": n - g_bar**2, "mean": g_bar}))


def ftrl(p, grads, learning_rate=0.1, beta=1.0, l1=0.0, l2=0.0, initial_accumulator=0.0):
    """McMahan et al. (2013), Ad click prediction, algorithm 1, which computes the weights before each gradient.

    Here they are computed after it, so the first weights are those given, and not the zeros of the algorithm.
    """
    z = np.zeros_like(p)
    n = np.full_like(p, initial_accumulator)
    for t, g in enumerate(grads):
        alpha, b, l1_t, l2_t = (at(hyper, t) for hyper in (learning_rate, beta, l1, l2))
        sigma = (np.sqrt(n + g * g) - np.sqrt(n)) / alpha
        z = z + g - sigma * p
        n = n + g * g
        p = np.zeros_like(p)
        active = np.abs(z) > l1_t
        rate = (b + np.sqrt(n[active])) / alpha + l2_t
        p[active] = -(z[active] - np.sign(z[active]) * l1_t) / rate
        p = moved(p, (yield {"param": p, "z": z, "n": n}))


def sm3(p, grads, learning_rate=0.1, momentum=0.9, epsilon=1e-8):
    """Anil et al. (2019), Memory-efficient adaptive optimization, SM3-II and its momentum, element by element.

    The cover has a set for each slice of the array: each row and each column. A scalar is a vector of one element.
    """
    ndim = max(p.ndim, 1)
    shape = p.shape or (1,)
    mu = [np.zeros(n, dtype=p.dtype) for n in shape]
    m = np.zeros_like(p)
    for t, g in enumerate(grads):
        nu = np.empty(shape, dtype=p.dtype)
        new = [np.zeros_like(accumulator) for accumulator in mu]
        for i in np.ndindex(*shape):
            nu[i] = min(mu[r][i[r]] for r in range(ndim)) + np.reshape(g, shape)[i] ** 2
            for r in range(ndim):
                new[r][i[r]] = max(new[r][i[r]], nu[i])
        mu = new
        b = at(momentum, t)
        m = b * m + (1 - b) * (g / np.sqrt(nu.reshape(p.shape) + at(epsilon, t)))
        p = p - at(learning_rate, t) * m
        accumulators = {f"accu_{r}": mu[r].reshape(p.shape if p.ndim == 0 else -1) for r in range(ndim)}
        p = moved(p, (yield {"param": p, "m": m, **accumulators}))


def madgrad(p, grads, learning_rate=0.01, momentum=0.9, epsilon=1e-6):
    """Defazio and Jelassi (2022), Adaptivity without compromise, algorithm 1, with ε beside the root as in their code.

    The root is NumPy's own, and c is the paper's 1 - momentum.
    """
    x_0 = p
    s = np.zeros_like(p)
    nu = np.zeros_like(p)
    for k, g in enumerate(grads):
        lam = at(learning_rate, k) * (k + 1) ** 0.5
        s = s + lam * g
        nu = nu + lam * (g * g)
        z = x_0 - s / (np.cbrt(nu) + at(epsilon, k))
        c = 1 - at(momentum, k)
        p = (1 - c) * p + c * z
        p = moved(p, (yield {"param": p, "x0": x_0, "s": s, "nu": nu, "t": k + 1}))
