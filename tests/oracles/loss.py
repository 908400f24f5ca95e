"""Rules that take the loss.

They are given a loss a step in the place of gradients, and all parameters as one vector, whose state is one vector a
slot: ``rule(x, losses, **hyper)``. A loss has its value, gradient and Hessian in closed form.
"""

import numpy as np

from oracles.common import at, moved

SHAPES = ((3, 2), (2,), ())  # of the parameters
SIZES = tuple(int(np.prod(shape)) for shape in SHAPES)


class Loss:
    """The sum of log cosh(Ax - b), and c x⁴ / 4 - d x² / 2 of each coordinate x: with wells, and with saddles."""

    c = 0.5 + 0.25 * np.arange(9) % 1
    d = np.where(np.arange(9) % 3 == 1, 0.75, 0.0)

    def __init__(self, A, b):
        self.A, self.b = A, b

    def value(self, x):
        z = self.A @ x - self.b
        return np.sum(np.logaddexp(z, -z) - np.log(2)) + np.sum(self.c * x**4 / 4 - self.d * x**2 / 2)

    def gradient(self, x):
        return self.A.T @ np.tanh(self.A @ x - self.b) + self.c * x**3 - self.d * x

    def hessian(self, x):
        sech2 = 1 - np.tanh(self.A @ x - self.b) ** 2
        return self.A.T @ (sech2[:, None] * self.A) + np.diag(3 * self.c * x**2 - self.d)


def losses(steps, seed=0, same=False):
    """A sequence of losses: those of minibatches, or one and the same."""
    rng = np.random.default_rng(seed)
    A, b = rng.normal(0, 0.5, (6, 9)), rng.normal(0, 1, 6)
    for _ in range(steps):
        yield Loss(A, b) if same else Loss(A + rng.normal(0, 0.25, A.shape), b + rng.normal(0, 0.5, b.shape))


# --- Gradients elsewhere ----------------------------------------------------------------------------------------------


def sam(x, losses, rho=0.05, learning_rate=1e-3, momentum=0.0):
    """Foret et al. (2021), Sharpness-aware minimization, algorithm 1 with p = 2, on gradient descent with momentum."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        g = f.gradient(x)
        epsilon = at(rho, t) * g / np.sqrt(np.sum(g**2))
        v = momentum * v - learning_rate * f.gradient(x + epsilon)
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v}))


def asam(x, losses, rho=0.5, eta=0.01, learning_rate=1e-3, momentum=0.0):
    """Kwon et al. (2021), ASAM, algorithm 1 with p = 2 and T + ηI for T, as a matrix, on the same."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        T = np.diag(np.abs(x) + at(eta, t))
        g = f.gradient(x)
        epsilon = at(rho, t) * T @ T @ g / np.linalg.norm(T @ g)
        v = momentum * v - learning_rate * f.gradient(x + epsilon)
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v}))


def nag(x, losses, learning_rate=1e-3, momentum=0.9):
    """Sutskever et al. (2013), On the importance of initialization and momentum, equations 3 and 4."""
    v = np.zeros_like(x)
    for t, f in enumerate(losses):
        v = at(momentum, t) * v - at(learning_rate, t) * f.gradient(x + at(momentum, t) * v)
        x = x + v
        x = moved(x, (yield {"param": x, "velocity": v}))


def extragradient(x, losses, learning_rate=1e-3):
    """Korpelevich (1976), The extragradient method for finding saddle points, without a projection."""
    for t, f in enumerate(losses):
        x_bar = x - at(learning_rate, t) * f.gradient(x)
        x = x - at(learning_rate, t) * f.gradient(x_bar)
        x = moved(x, (yield {"param": x}))
