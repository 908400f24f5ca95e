"""``theano.tests.unittest_tools``: what tests of Ops are written with."""

import numpy as np
from numpy.testing import assert_allclose
from pytensor import gradient

__all__ = ["assert_allclose", "fetch_seed", "seed_rng", "verify_grad"]


def fetch_seed(pseed=None):
    """The seed of tests: the given one, or 666."""
    return 666 if pseed is None else pseed


def seed_rng(pseed=None):
    """Seed NumPy's global random numbers; returns the seed."""
    seed = fetch_seed(pseed)
    np.random.seed(seed)  # noqa: NPY002
    return seed


def verify_grad(op, pt, n_tests=2, rng=None, **kwargs):
    """Compare gradients with differences, in random directions of the same seed always unless `rng` has others."""
    gradient.verify_grad(op, pt, n_tests, np.random.RandomState(fetch_seed()) if rng is None else rng, **kwargs)
