"""What is done to steps and gradients of any rule."""

import numpy as np

from oracles.common import at, moved


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
