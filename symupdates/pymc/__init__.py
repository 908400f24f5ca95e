"""The door to PyMC: estimates by any rule, and what ``pm.fit`` leaves to its optimizer.

Any rule, chain or schedule goes into ``pm.fit(obj_optimizer=...)`` as it is. This module is for what lies beyond that:
:func:`map_estimate`, and :class:`MAP` with the run itself; :func:`laplace`, for draws from a normal approximation
there; :func:`fit`, which is ``pm.fit`` until the averaged parameters stand still; :class:`Optimizer`, for the state of
a fit, fits without a score, rules that take the loss, and groups of the model's variables; and the pieces, to build
losses of your own: a model's value variables as shared variables, its log-probability with these in it, and the updates
of its random generators.

It needs PyMC, which nothing else in the package imports: ``import symupdates.pymc``.
"""

try:
    import pymc  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "pymc":
        raise
    raise ModuleNotFoundError(
        "symupdates.pymc needs PyMC, an optional extra: pip install pymc, or pip install symupdates[pymc].", name="pymc"
    ) from error

from symupdates.pymc.estimates import MAP, map_estimate
from symupdates.pymc.fits import Optimizer
from symupdates.pymc.laplace import laplace
from symupdates.pymc.values import as_estimate, as_point, negative_logp, random_updates, shared_values
from symupdates.pymc.variational import Convergence, Round, fit

__all__ = [
    "MAP",
    "Convergence",
    "Optimizer",
    "Round",
    "as_estimate",
    "as_point",
    "fit",
    "laplace",
    "map_estimate",
    "negative_logp",
    "random_updates",
    "shared_values",
]
