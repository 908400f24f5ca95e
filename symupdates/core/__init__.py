"""What every rule and transform stands on: *prepare* → math → *finish*.

A rule calls :func:`prepare` with its loss (or gradients), its parameters and its hyper-parameters, loops over the
:class:`Step` that comes back to write its mathematics, and returns :meth:`Step.finish`::

    step = prepare("adagrad", loss_or_grads, params, learning_rate=learning_rate, epsilon=epsilon)
    for p, g, (eta, eps) in step:
        accu = step.state(p, "accu")
        step[accu] = accu + g**2
        step[p] = p - eta * g / sqrt(step[accu] + eps)
    return step.finish()

Everything that is not mathematics is done here once: differentiating, validating, casting, schedules and their clocks,
the names and tags of the state. A transform of an updates dict does the same from :func:`extend`.

The arithmetic is done in the dtype of the parameter, hyper-parameters included: a float32 parameter is trained by
float32 arithmetic, whatever ``floatX`` is, and ``0.9``, ``np.float64(0.9)`` and a shared ``float32(0.9)`` give the same
bits. Inside a rule, ``1 - beta`` belongs to the very ``beta`` it stands beside: the weights of a moving average sum to
one, and its bias correction undoes just what its weights did.

The rooms, each of which uses those before it only: :mod:`~symupdates.core.arguments`, what an unknown argument was
meant to be; :mod:`~symupdates.core.depth`, graphs that are too deep; :mod:`~symupdates.core.awaits`, calls without
data; :mod:`~symupdates.core.checks`, what may be given; :mod:`~symupdates.core.types`, casts and shapes;
:mod:`~symupdates.core.replace`, variables in the place of others; :mod:`~symupdates.core.norms`, norms of every finite
tensor; :mod:`~symupdates.core.places`, whole variables and rows of tables; :mod:`~symupdates.core.state`, the variables
kept beside the parameters; :mod:`~symupdates.core.optimizers`, functions that users give to be called;
:mod:`~symupdates.core.parameters`, their checks and gradients; :mod:`~symupdates.core.selectors`, which of them are
meant; :mod:`~symupdates.core.hyper`, hyper-parameters, and
:mod:`~symupdates.core.ranges`, what numbers they may be; :mod:`~symupdates.core.step`, which puts them together.
"""

from symupdates.core.awaits import awaits
from symupdates.core.checks import flag
from symupdates.core.hyper import whole_number
from symupdates.core.norms import norm, rescaled
from symupdates.core.optimizers import called, check_optimizer
from symupdates.core.parameters import get_or_compute_grads, require_loss
from symupdates.core.state import StateTag, is_state
from symupdates.core.step import Step, extend, prepare, prepare_of_values
from symupdates.core.types import astype, inner, like, renewed, total

__all__ = [
    "StateTag",
    "Step",
    "astype",
    "awaits",
    "called",
    "check_optimizer",
    "extend",
    "flag",
    "get_or_compute_grads",
    "inner",
    "is_state",
    "like",
    "norm",
    "prepare",
    "prepare_of_values",
    "renewed",
    "require_loss",
    "rescaled",
    "total",
    "whole_number",
]
