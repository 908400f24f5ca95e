"""Steps divided by a record of each coordinate's gradients."""

import numpy as np

from oracles.common import at, moved


def adagrad(p, grads, learning_rate=1.0, epsilon=1e-6):
    """Duchi, Hazan and Singer (2011), Adaptive subgradient methods, with the diagonal of G and ε under the root."""
    G = np.zeros_like(p)
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
