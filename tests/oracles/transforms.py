"""What is done to steps and gradients of any rule."""

import numpy as np

from oracles.common import at, moved


def changed(p, grads, rule, change, hyper):
    """The steps u of a rule, which goes on from where its parameter was moved to, changed.

    ``change(p, u, g, t)`` returns where the parameter goes to, and state. A step is known as a difference of parameters
    only, to the rounding of the parameter.
    """
    drawn = []

    def drawing():
        for g in grads:
            drawn[:] = [g]
            yield g

    rule_steps = rule(p, drawing(), **hyper)
    state = next(rule_steps, None)
    t = 0
    while state is not None:
        p, own = change(p, state["param"] - p, drawn[0], t)
        p = moved(p, (yield {**state, **own, "param": p}))
        t += 1
        try:
            state = rule_steps.send(p)
        except StopIteration:
            return


def accelerate(p, grads, rule, momentum, nesterov, hyper):
    v = np.zeros_like(p)

    def change(p, u, g, t):
        nonlocal v
        mu = at(momentum, t)
        v = mu * v + u
        return p + mu * v + u if nesterov else p + v, {"velocity": v}

    return changed(p, grads, rule, change, hyper)


def apply_momentum(p, grads, rule, momentum=0.9, **hyper):
    """Polyak (1964), Some methods of speeding up the convergence of iteration methods: v ← μv + u, p ← p + v.

    `rule` is another rule of this module, `hyper` its hyper-parameters; its state is yielded too. Wrapped once more, it
    is passed with :func:`functools.partial`.
    """
    return accelerate(p, grads, rule, momentum, False, hyper)


def apply_nesterov_momentum(p, grads, rule, momentum=0.9, **hyper):
    """As `apply_momentum`, with the step of `nesterov_momentum`: v ← μv + u, p ← p + μv + u."""
    return accelerate(p, grads, rule, momentum, True, hyper)


def apply_trust_ratio(p, grads, rule, trust_coefficient=1.0, learning_rate=1.0, **hyper):
    """You et al. (2020), LAMB, algorithm 2, of any direction d, whose step is -η d; η_t times that in LARS."""

    def change(p, u, g, t):
        eta = at(learning_rate, t)
        d = -u / eta
        weights, size = np.linalg.norm(np.ravel(p)), np.linalg.norm(np.ravel(d))
        ratio = at(trust_coefficient, t) * weights / size if weights > 0 and size > 0 else 1
        return p - eta * ratio * d, {}

    return changed(p, grads, rule, change, hyper)


def apply_rms_clip(p, grads, rule, threshold=1.0, learning_rate=1.0, **hyper):
    """Shazeer and Stern (2018), Adafactor, algorithm 4: U ← U / max(1, RMS(U)/d), of any U that makes the step."""

    def change(p, u, g, t):
        rho = at(learning_rate, t)
        U = -u / rho
        return p - rho * U / max(1, np.sqrt(np.mean(U**2)) / at(threshold, t)), {}

    return changed(p, grads, rule, change, hyper)


def apply_cautious(p, grads, rule, xi=1.0, **hyper):
    """Liang et al. (2024), Cautious optimizers, equation 1: φ = dim/(nnz(u ∘ g > 0) + ξ) I(u ∘ g > 0)."""

    def change(p, u, g, t):
        agrees = -u * g > 0
        return p + u * agrees * (p.size / (np.sum(agrees) + at(xi, t))), {}

    return changed(p, grads, rule, change, hyper)


def apply_schedule_free(p, grads, rule, beta=0.9, learning_rate=1.0, **hyper):
    """Defazio et al. (2024), The road less scheduled, equations 3 to 5, of the step of any rule; weights γ²."""
    z, x, weights = p, p, 0.0

    def change(p, u, g, t):
        nonlocal z, x, weights
        z = z + u
        weights = weights + at(learning_rate, t) ** 2
        c = at(learning_rate, t) ** 2 / weights
        x = (1 - c) * x + c * z
        return (1 - at(beta, t)) * z + at(beta, t) * x, {"z": z, "average": x, "weights": weights}

    return changed(p, grads, rule, change, hyper)


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


# --- Gradients --------------------------------------------------------------------------------------------------------
# Of each update, a list of them; and what is left of them, in float64.


def length_of(grads):
    return np.sqrt(sum(np.sum(g**2) for g in grads))


def clip_by_percentile(steps, params, percentile=10.0, window=1000):
    """Seetharaman et al. (2020), AutoClip, algorithm 1, of the last norms."""
    norms = []
    for t, grads in enumerate(steps):
        norms.append(length_of(grads))
        c = np.percentile(norms[-window:], at(percentile, t))
        yield [g * min(1, c / norms[-1]) for g in grads]


def clip_by_zscore(steps, params, threshold=2.5, decay=0.97, warmup=25):
    """Kumar et al. (2025), ZClip, algorithm 1: reciprocal clipping, and the averages of the clipped norms."""
    first = []
    for t, grads in enumerate(steps):
        norm = length_of(grads)
        if len(first) < warmup:
            first.append(norm)
            mu, variance = np.mean(first), np.var(first)
            yield grads
            continue
        z_threshold, alpha = at(threshold, t), at(decay, t)
        z = (norm - mu) / np.sqrt(variance)
        clipped = mu + z_threshold**2 / z * np.sqrt(variance) if z > z_threshold else norm
        mu = alpha * mu + (1 - alpha) * clipped
        variance = alpha * variance + (1 - alpha) * (clipped - mu) ** 2
        yield [g * clipped / norm for g in grads]


def orthograd(steps, params, rescale=True):
    """Prieto et al. (2025), Grokking at the edge of numerical stability, equation 7; rescaled as in their program."""
    for grads in steps:
        rest = [g - np.vdot(w, g) / np.vdot(w, w) * w for g, w in zip(grads, params, strict=True)]
        scale = [length_of([g]) / length_of([r]) if rescale else 1 for g, r in zip(grads, rest, strict=True)]
        yield [s * r for s, r in zip(scale, rest, strict=True)]


def grokfast(steps, params, decay=0.98, amplification=2.0):
    """Lee et al. (2024), Grokfast, algorithm 2, from the first gradient on."""
    h = None
    for t, grads in enumerate(steps):
        alpha = at(decay, t)
        h = grads if h is None else [alpha * a + (1 - alpha) * g for a, g in zip(h, grads, strict=True)]
        yield [g + at(amplification, t) * a for a, g in zip(h, grads, strict=True)]


def mars(steps, params, beta=0.95, gamma=0.025, max_norm=1.0):
    """Yuan et al. (2025), MARS, algorithm 1, with the gradient before as it was; equation 7 for the clipping."""
    before = None
    for t, grads in enumerate(steps):
        b = at(beta, t)
        before = grads if before is None else before
        c = [g + at(gamma, t) * b / (1 - b) * (g - old) for g, old in zip(grads, before, strict=True)]
        before = grads
        yield [x * min(1, at(max_norm, t) / length_of([x])) for x in c]
