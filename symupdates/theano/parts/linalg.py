"""``theano.tensor.slinalg`` and ``theano.sandbox.linalg``: what PyTensor does not have by these names."""

import pytensor.tensor as pt

__all__ = ["psd", "solve_lower_triangular", "solve_upper_triangular"]


def solve_lower_triangular(a, b):
    """Solve with the lower triangle of a matrix."""
    return pt.linalg.solve_triangular(a, b, lower=True)


def solve_upper_triangular(a, b):
    """Solve with the upper triangle of a matrix."""
    return pt.linalg.solve_triangular(a, b, lower=False)


def psd(x):
    """A matrix that is positive semi-definite, as it is; Theano took the hint in its rewrites."""
    return x
