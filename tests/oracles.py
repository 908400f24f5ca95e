"""The rules in plain NumPy, each written from its paper, in the paper's symbols and form.

A rule is a generator: ``rule(p, grads, **hyper)`` takes one parameter and an iterable of its gradients and yields,
after each step, the parameter as ``"param"`` and the state by slot. The arrays it yields are never changed afterwards.
Nothing is cast: with Python numbers for the hyper-parameters, the arithmetic is done in the dtype of `p`. A
hyper-parameter is a number or a callable of the step, 0 at the first.

Gradients are drawn one at a time, after the last yield: a generator of gradients may look at what was yielded.
"""

import math

import numpy as np


def at(hyper, step):
    """The value of a hyper-parameter at a step."""
    return hyper(step) if callable(hyper) else hyper


def moved(p, sent):
    """Where the parameter is now: where the rule put it, or where a transform has sent it from there."""
    return p if sent is None else sent


def sgd(p, grads, learning_rate=1e-3):
    """Robbins and Monro (1951), A stochastic approximation method: x ← x - a g."""
    for t, g in enumerate(grads):
        p = p - at(learning_rate, t) * g
        p = moved(p, (yield {"param": p}))


def momentum(p, grads, learning_rate=1e-3, momentum=0.9):
    """Sutskever et al. (2013), On the importance of initialization and momentum, equations 1 and 2."""
    v = np.zeros_like(p)
    for t, g in enumerate(grads):
        v = at(momentum, t) * v - at(learning_rate, t) * g
        p = p + v
        p = moved(p, (yield {"param": p, "velocity": v}))


def nesterov_momentum(p, grads, learning_rate=1e-3, momentum=0.9):
    """Sutskever et al. (2013), equations 3 and 4, for the point ahead of theirs, θ + μv, where the gradient is taken.

    With p = θ + μv, the same as Bengio, Boulanger-Lewandowski and Pascanu (2013), Advances in optimizing recurrent
    networks, equation 7, where μ is constant.
    """
    v = np.zeros_like(p)
    for t, g in enumerate(grads):
        mu, eta = at(momentum, t), at(learning_rate, t)
        v = mu * v - eta * g
        p = p + mu * v - eta * g
        p = moved(p, (yield {"param": p, "velocity": v}))


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


def accelerate(p, grads, rule, momentum, nesterov, hyper):
    """Momentum on the steps u of a rule, which goes on from where its parameter was moved to.

    A step is known as a difference of parameters only, to the rounding of the parameter: so is the velocity.
    """
    v = np.zeros_like(p)
    rule_steps = rule(p, grads, **hyper)
    state = next(rule_steps, None)
    t = 0
    while state is not None:
        mu = at(momentum, t)
        u = state["param"] - p
        v = mu * v + u
        p = p + mu * v + u if nesterov else p + v
        p = moved(p, (yield {**state, "param": p, "velocity": v}))
        t += 1
        try:
            state = rule_steps.send(p)
        except StopIteration:
            return


def apply_momentum(p, grads, rule, momentum=0.9, **hyper):
    """Polyak (1964), Some methods of speeding up the convergence of iteration methods: v ← μv + u, p ← p + v.

    `rule` is another rule of this module, `hyper` its hyper-parameters; its state is yielded too. Wrapped once more, it
    is passed with :func:`functools.partial`.
    """
    return accelerate(p, grads, rule, momentum, False, hyper)


def apply_nesterov_momentum(p, grads, rule, momentum=0.9, **hyper):
    """As `apply_momentum`, with the step of `nesterov_momentum`: v ← μv + u, p ← p + μv + u."""
    return accelerate(p, grads, rule, momentum, True, hyper)


def norm_constraint(x, max_norm, axes, epsilon=1e-7):
    """Srivastava et al. (2014), Dropout, section 5.1: norms over `axes` of at most `max_norm`; Lasagne's ε."""
    norms = np.sqrt(np.sum(x**2, axis=axes, keepdims=True))
    return x * np.clip(norms, 0, max_norm) / (norms + epsilon)


def total_norm_constraint(xs, max_norm, epsilon=1e-7):
    """Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent networks, algorithm 1; Lasagne's ε.

    Returns the list of scaled arrays and the norm before scaling.
    """
    norm = np.sqrt(sum(np.sum(x**2) for x in xs))
    return [x * np.clip(norm, 0, max_norm) / (norm + epsilon) for x in xs], norm


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
