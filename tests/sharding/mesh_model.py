"""A small model to be trained on a mesh, in test_sharding.py and by several processes."""

import numpy as np
import pytensor
import pytensor.tensor as pt

import symupdates as su
from symupdates.sharding import JAX_SHARDED

LAYOUTS = {"replicated": {}, "state": {"state": "data"}, "all": {"params": "data"}}


def param(value, name):
    return pytensor.shared(value, name=name, shape=value.shape)


class Model:
    """A matrix, a vector and a scalar that are trained on batches; its updates, and a function that makes them."""

    def __init__(self, rule=su.adam, mode=JAX_SHARDED, outputs=lambda z: {}, **kwargs):
        rng = np.random.default_rng(0)
        W, b, s = rng.normal(size=(8, 8)) / 4, rng.normal(size=8), np.array(1.5)
        self.params = W, b, s = [param(value, name) for value, name in ((W, "W"), (b, "b"), (s, "s"))]
        x, y = (pt.tensor(name, shape=(16, 8), dtype="float64") for name in "xy")
        z = s * (x @ W) + b - y
        loss = pt.log(pt.cosh(z)).mean()
        self.updates = rule(loss, self.params, **kwargs, **outputs(z))
        self.train = pytensor.function([x, y], loss, updates=self.updates, mode=mode)

    def run(self, batches):
        return [float(self.train(*batch)) for batch in batches]

    @property
    def values(self):
        return {name: v.get_value(borrow=True) for name, v in su.state.named(self.updates).items()}

    @property
    def specs(self):
        return {name: value.sharding.spec for name, value in self.values.items()}


def batches_of(n=20, rows=16):
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(rows, 8)), rng.normal(size=(rows, 8))) for _ in range(n)]
