"""The problem that all rules are given, and what a case is."""

import numpy as np
from oracles import gradients

STEPS = [1, 2, 3, 5, 10, 20, 40]
P = np.array([1.0, -0.8, 1.5, 0.7, -1.2, 0.9, 1.1, -1.4, 0.6, 1.3])
GRADS = gradients(STEPS[-1], P.shape)
NONZERO = (GRADS != 0).all(axis=0)
MODERATE = (abs(GRADS) < 1e4).all(axis=0)

# Schedules, as they are stored.
RATES = {"per_step": [0.1 / (1 + 0.25 * t) for t in range(STEPS[-1])]}
MOMENTA = {"per_step": [0.5 + 0.4 * t / STEPS[-1] for t in range(STEPS[-1])]}


def case(rule, hyper, peer, arguments, nonzero=False, **more):
    """A case without its values. Arguments that change are ``{"per_step": [...]}``, as in `hyper`.

    The peer is a name of ``torch.optim``, ``optax`` or ``keras.optimizers``, such as ``"contrib.muon"``.
    """
    return {"rule": rule, "hyper": hyper, "peer": peer, "arguments": arguments, "nonzero": nonzero, **more}
