"""The rules in plain NumPy, a family a file, each written from its paper, in the paper's symbols and form.

A rule is a generator: ``rule(p, grads, **hyper)`` takes one parameter and an iterable of its gradients and yields,
after each step, the parameter as ``"param"`` and the state by slot. The arrays it yields are never changed afterwards.
Nothing is cast: with Python numbers for the hyper-parameters, the arithmetic is done in the dtype of `p`. A
hyper-parameter is a number or a callable of the step, 0 at the first.

Gradients are drawn one at a time, after the last yield: a generator of gradients may look at what was yielded.
"""

from oracles.adam import *  # noqa: F403
from oracles.adaptive import *  # noqa: F403
from oracles.common import *  # noqa: F403
from oracles.layerwise import *  # noqa: F403
from oracles.loss import *  # noqa: F403
from oracles.matrix import *  # noqa: F403
from oracles.moments import *  # noqa: F403
from oracles.rate_free import *  # noqa: F403
from oracles.sampling import *  # noqa: F403
from oracles.schedule_free import *  # noqa: F403
from oracles.sgd import *  # noqa: F403
from oracles.signs import *  # noqa: F403
from oracles.transforms import *  # noqa: F403
