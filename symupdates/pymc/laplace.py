"""The normal approximation of a posterior at its mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from symupdates.core import whole_number
from symupdates.pymc.curvature import Curvature, in_draws
from symupdates.pymc.estimates import MAP
from symupdates.random import checked_seed


def laplace(run: MAP | None = None, draws: int = 1000, seed: int | None = None, dense: bool | None = None) -> Any:
    r"""The Laplace approximation of a posterior: a normal distribution of the unconstrained values, at their mode.

    With :math:`f` the negative logarithm of their density, :math:`\hat x` its minimum, :math:`z` of independent normal
    numbers, draws are

    .. math:: x = \hat x + H^{-1/2} z, \qquad H = \nabla^2 f(\hat x)

    Parameters
    ----------
    run : MAP, optional
        A run that has converged, of a model with all its data and ``jacobian=True``, so that the mode is that of the
        unconstrained values. By default one of the model of the context, ``MAP(jacobian=True).fit(tol=1e-8)``.
    draws : int
        The number of draws.
    seed : int, optional
        Seeds them.
    dense : bool, optional
        Whether to compute the matrix, of one product with a vector for each of its rows, and decompose it. Otherwise,
        each draw takes some products, by the method of Lanczos, about as many as the matrix has clusters of
        eigenvalues, and no memory. By default up to 1000 numbers that are estimated.

    Returns
    -------
    InferenceData, or DataTree of ArviZ 1
        The draws of the model's variables, constrained as they are, and of its deterministics, in ``posterior``.
        Variables that are not estimated stay where they started.

    Raises
    ------
    ValueError
        For a run without ``jacobian=True``, or of a model that draws in each step; if the curvature is not positive in
        all directions, as where the run has not converged.

    Notes
    -----
    The Hessian is exact, from the graph. The approximation is right where the posterior is normal in the unconstrained
    space, as with much data; it knows one mode only, and no tails. With a scale of many variables among those that are
    estimated, the mode is often where that scale is nearly zero: marginalise, or sample.

    References
    ----------
    .. [1] L. Tierney and J. B. Kadane (1986). Accurate approximations for posterior moments and marginal densities.
       Journal of the American Statistical Association 81(393).
    .. [2] E. Chow and Y. Saad (2014). Preconditioned Krylov subspace methods for sampling multivariate Gaussian
       distributions. SIAM Journal on Scientific Computing 36(2).

    Examples
    --------
    >>> import pymc as pm, symupdates.pymc
    >>> with pm.Model():
    ...     p = pm.Beta("p", 2, 2)
    ...     k = pm.Binomial("k", 100, p, observed=70)
    ...     posterior = symupdates.pymc.laplace(seed=1).posterior
    >>> round(float(posterior["p"].mean()), 2), round(float(posterior["p"].std()), 3)  # Beta(72, 32): 0.692, 0.045
    (0.69, 0.045)
    """
    whole_number("laplace: draws", draws)
    rng = np.random.default_rng(checked_seed("laplace", seed))
    if run is None:
        run = MAP(jacobian=True).fit(tol=1e-8, progressbar=False)
    elif not isinstance(run, MAP):
        raise TypeError(f"laplace: run must be a symupdates.pymc.MAP, not {run!r}.")
    if not run.jacobian:
        raise ValueError("laplace: the run must be of the density of the unconstrained values: MAP(jacobian=True).")
    point = run.point()
    curvature = Curvature(run, point)
    if dense is None:
        dense = len(curvature.mode) <= 1000
    samples = curvature.mode + curvature.normal(draws, rng, dense)
    columns = zip(*(curvature.split(row) for row in samples), strict=True)
    points = {name: np.repeat(value[None], draws, axis=0) for name, value in point.items()}
    for v, column in zip(curvature.values, columns, strict=True):
        points[v.name] = np.array(column, dtype=v.dtype)
    return in_draws(run.model, points, {"sampling_method": "Laplace approximation"})
