"""The curvature where a run has ended, and draws as ArviZ has them: what an estimate and an approximation need."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray
from pymc.backends import NDArray
from pymc.backends.base import MultiTrace
from scipy.linalg import eigh_tridiagonal


class Curvature:
    """The Hessian of the negative log-probability at a run's estimate, which need not be stored: it multiplies vectors.

    Attributes
    ----------
    mode : array
        All value variables that are estimated, as one vector.
    """

    def __init__(self, run, point):
        if run._draws:
            raise ValueError(
                "the curvature is that of all data, and this model draws in each step, such as minibatches: give a "
                "model of all data, with start= what was estimated."
            )
        self.values = list(run.values)
        self.at = [point[v.name] for v in self.values]
        self.mode = np.concatenate([x.ravel() for x in self.at])
        places, vectors = ([p.type() for p in run.params] for _ in range(2))
        slopes = pytensor.grad(run.loss, run.params)
        along = pt.add(*((g * v).sum() for g, v in zip(slopes, vectors, strict=True)), np.zeros((), run.loss.dtype))
        products = pytensor.grad(along, run.params, disconnected_inputs="ignore")
        with run.model:
            self.function = pm.compile(
                [*places, *vectors],
                products,
                givens=dict(zip(run.params, places, strict=True)),
                on_unused_input="ignore",
                **run.compile_kwargs,
            )

    def product(self, vector):
        """The Hessian times a vector."""
        parts = (x.astype(v.dtype) for x, v in zip(self.split(vector), self.values, strict=True))
        return np.concatenate([np.ravel(x).astype("float64") for x in self.function(*self.at, *parts)])

    def split(self, vector):
        """Arrays, one for each value variable, from one vector."""
        ends = np.cumsum([x.size for x in self.at])
        return [part.reshape(x.shape) for part, x in zip(np.split(vector, ends[:-1]), self.at, strict=True)]

    def matrix(self):
        """The Hessian."""
        hessian = np.array([self.product(row) for row in np.eye(len(self.mode))])
        return (hessian + hessian.T) / 2

    def normal(self, draws, rng, dense):
        """Draws from the normal distribution that has the inverse of the Hessian as its covariance, one a row."""
        z = rng.normal(size=(draws, len(self.mode)))
        if not dense:
            return np.array([inverse_root(self.product, row) for row in z])
        values, vectors = np.linalg.eigh(self.matrix())
        check_minimum(values, values[-1])
        return (z / np.sqrt(values)) @ vectors.T


def inverse_root(product, z, tol=1e-10):
    r""":math:`H^{-1/2} z` by products with :math:`H`: the Lanczos method, which begins at :math:`z`.

    In the basis of what the products span, H is tridiagonal. It grows until the result no longer changes.
    """
    size = np.linalg.norm(z)
    basis, diagonal, beside, before = [z / size], [], [], np.zeros(0)
    while True:
        w = product(basis[-1])
        diagonal.append(basis[-1] @ w)
        Q = np.array(basis)
        for _ in range(2):  # rounding of the first is taken out by the second
            w = w - Q.T @ (Q @ w)
        values, vectors = eigh_tridiagonal(diagonal, beside)
        check_minimum(values, values[-1])
        weights = size * vectors @ (vectors[0] / np.sqrt(values))
        change = np.linalg.norm(weights - np.append(before, np.zeros(len(weights) - len(before))))
        width = np.linalg.norm(w)
        if change <= tol * np.linalg.norm(weights) or width <= tol * values[-1] or len(basis) == len(z):
            return weights @ Q
        before = weights
        beside.append(width)
        basis.append(w / width)


def check_minimum(curvatures, largest):
    if not curvatures[0] > np.finfo(float).eps * largest:
        raise ValueError(
            f"the curvature of the negative log-probability is {curvatures[0]:.2g} in some direction: the estimate is "
            "no minimum, or the data and the prior say nothing of that direction. Make more steps; begin off a saddle, "
            "with jitter=True; or give a prior to what has none."
        )


def in_draws(model, points, attrs):
    """Draws as PyMC returns them, with the model's variables and deterministics, of values of all value variables.

    Parameters
    ----------
    points : dict
        Names of value variables, and arrays whose first axis is that of the draws.
    attrs : dict
        What is noted of how they were made, in the attributes of the posterior.
    """
    count = len(next(iter(points.values())))
    rows = [{name: np.asarray(value[i]) for name, value in points.items()} for i in range(count)]
    trace = NDArray(model=model, test_point=rows[0])
    trace.setup(draws=count, chain=0)
    for row in rows:
        trace.record(row, in_warmup=False)
    trace.close()
    data = pm.to_inference_data(MultiTrace([trace]), model=model, log_likelihood=False)
    data.posterior.attrs.update(attrs)
    return data


def with_group(data, name, group):
    """The same with a group more."""
    if hasattr(data, "add_groups"):  # ArviZ before 1
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a group that has no schema
            data.add_groups({name: group})
    else:
        data[name] = xarray.DataTree(group)
    return data


def normal_fit(run, point, with_covariance):
    """The estimate, and the inverse of the Hessian there, as ``find_MAP`` has them in its group ``fit``."""
    names = [f"{v.name}{list(i) or ''}" for v in run.values for i in np.ndindex(point[v.name].shape)]
    fit = {"mean_vector": (("rows",), np.concatenate([point[v.name].ravel() for v in run.values]))}
    if with_covariance:
        fit["covariance_matrix"] = (("rows", "columns"), np.linalg.inv(Curvature(run, point).matrix()))
    return xarray.Dataset(fit, coords={"rows": names, "columns": names})
