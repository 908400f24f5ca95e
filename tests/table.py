"""The rules under test, a row a rule: every generic test in test_rules.py runs for every row."""

from collections.abc import Callable
from dataclasses import dataclass

import oracles

import symupdates


@dataclass(frozen=True)
class Row:
    """What the generic tests need to know of a rule.

    Attributes
    ----------
    rule
        The rule.
    oracle
        The same in NumPy, written from the paper: ``oracle(p, grads, **hyper)`` yields after each step a dict of the
        parameter (``"param"``) and its state by slot.
    hyper
        Every hyper-parameter, with a value for the tests: a sum of few powers of two, so that it is the same number
        in every dtype, and unlike the default.
    keys
        For one parameter, the slots in the order of the keys; ``"param"`` stands for the parameter. Or a function of
        its shape.
    whole
        The slots of the rule as a whole, which come last; ``"t"`` is the count of the updates.
    order
        ``"by parameter"``: for each parameter its slots; or all parameters before all state, ``"params first"``, or
        after it, ``"params last"``.
    structure
        Arguments that are not hyper-parameters, such as a length.
    coupled
        Whether the step of a parameter depends on the gradients of the others: on all of them, as if they were one
        vector.
    reduces
        Whether a step needs sums over the parameter, as of a norm: it is not one loop then.
    products
        How many products of matrices a step on a matrix takes. Rounding errors are then relative to the largest element
        of a variable, not to each.
    shape
        The shape, of 16 elements, that the rule is tested on where one shape is enough.
    gradients
        Makes the gradients it is tested on, as `oracles.gradients` does: tamer ones for a rule that decomposes
        matrices, if no algorithm could decompose theirs to the tolerance of the tests.
    bases
        Slots of a basis in which the rule computes, of unit vectors that are unique up to their signs.
    has_peers
        Whether torch, optax or Keras define it: then there are golden values.
    """

    rule: Callable
    oracle: Callable
    hyper: dict
    keys: tuple | Callable
    whole: tuple = ()
    order: str = "by parameter"
    structure: tuple = ()
    coupled: bool = False
    reduces: bool = False
    products: int = 0
    shape: tuple = (16,)
    gradients: Callable = oracles.gradients
    bases: tuple = ()
    has_peers: bool = True

    @property
    def name(self):
        return self.rule.__name__

    def keys_of(self, p):
        """The keys of a parameter."""
        return self.keys(p.get_value().shape) if callable(self.keys) else self.keys

    def slots_of(self, p):
        """The slots kept for a parameter."""
        return [key for key in self.keys_of(p) if key != "param"]


def shampoo_keys(shape):
    """A matrix and its root for each axis."""
    return (*(f"{slot}{axis}" for axis in range(len(shape)) for slot in "HP"), "param") if shape else ("H0", "param")


def soap_keys(shape):
    """A matrix and its eigenvectors for each axis of what is more than a vector."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    return ("m", "v", "param", *(f"{slot}{axis}" for axis in axes for slot in "HQ" if len(axes) > 1))


EPS = 2.0**-20
MOMENTS = {"learning_rate": 2.0**-5, "beta1": 0.875, "beta2": 0.984375, "epsilon": EPS}

ROWS = [
    # Gradient descent
    Row(symupdates.sgd, oracles.sgd, {"learning_rate": 0.125}, ("param",)),
    Row(
        symupdates.momentum,
        oracles.momentum,
        {"learning_rate": 0.125, "momentum": 0.75},
        ("param", "velocity"),
        order="params first",
    ),
    Row(
        symupdates.nesterov_momentum,
        oracles.nesterov_momentum,
        {"learning_rate": 0.125, "momentum": 0.75},
        ("param", "velocity"),
        order="params first",
    ),
    # Signs
    # Steps divided by a record of each coordinate's gradients
    Row(symupdates.adagrad, oracles.adagrad, {"learning_rate": 0.5, "epsilon": EPS}, ("accu", "param")),
    Row(
        symupdates.adagrad_window,
        oracles.adagrad_window,
        {"learning_rate": 2.0**-5, "epsilon": 0.125},
        ("accu", "i", "param"),
        structure=(("n_win", 4),),
    ),
    Row(
        symupdates.rmsprop, oracles.rmsprop, {"learning_rate": 2.0**-5, "rho": 0.875, "epsilon": EPS}, ("accu", "param")
    ),
    Row(
        symupdates.adadelta,
        oracles.adadelta,
        {"learning_rate": 0.75, "rho": 0.9375, "epsilon": EPS},
        ("accu", "param", "delta_accu"),
    ),
    # Adam and its variants
    Row(symupdates.adam, oracles.adam, MOMENTS, ("m", "v", "param"), whole=("t",)),
    Row(symupdates.adamw, oracles.adamw, {**MOMENTS, "weight_decay": 0.25}, ("m", "v", "param"), whole=("t",)),
    Row(symupdates.adamax, oracles.adamax, MOMENTS, ("m", "u", "param"), whole=("t",)),
    Row(symupdates.amsgrad, oracles.amsgrad, MOMENTS, ("m", "v", "v_hat", "param"), whole=("t",)),
    # Layers and matrices
    Row(
        symupdates.lars,
        oracles.lars,
        {"learning_rate": 0.75, "momentum": 0.875, "weight_decay": 0.25, "trust_coefficient": 0.125},
        ("velocity", "param"),
        reduces=True,
    ),
    Row(
        symupdates.lamb,
        oracles.lamb,
        {**MOMENTS, "weight_decay": 0.25},
        ("m", "v", "param"),
        whole=("t",),
        reduces=True,
    ),
    Row(symupdates.fromage, oracles.fromage, {"learning_rate": 0.125, "min_norm": 2.0**-10}, ("param",), reduces=True),
    Row(
        symupdates.muon,
        oracles.muon,
        {"learning_rate": 0.125, "momentum": 0.875, "weight_decay": 0.25, "epsilon": 2.0**-10},
        lambda shape: ("m", "param") if len(shape) == 2 else ("param",),
        structure=(
            ("nesterov", True),
            ("ns_steps", 5),
            ("consistent_rms", None),
            ("others", symupdates.sgd(learning_rate=0.125)),
        ),
        reduces=True,
        products=15,
        shape=(2, 8),
    ),
    Row(
        symupdates.adafactor,
        oracles.adafactor,
        {
            "learning_rate": 0.25,
            "beta2_decay": -0.75,
            "epsilon1": 2.0**-40,
            "epsilon2": 2.0**-4,
            "clip_threshold": 0.5,
        },
        lambda shape: ("r", "c", "param") if len(shape) == 2 else ("v", "param"),
        whole=("t",),
        structure=(("relative_step", True), ("min_dim_size_to_factor", 1)),
        reduces=True,
        shape=(4, 4),
    ),
    Row(
        symupdates.shampoo,
        oracles.shampoo,
        {"learning_rate": 0.125, "epsilon": 0.75},
        shampoo_keys,
        whole=("t",),
        structure=(("every", 3), ("max_size", 20)),
        reduces=True,
        products=6,
        shape=(4, 4),
        gradients=oracles.tame_gradients,
        has_peers=False,
    ),
    Row(
        symupdates.soap,
        oracles.soap,
        MOMENTS,
        soap_keys,
        whole=("t",),
        structure=(("every", 3), ("max_size", 20)),
        reduces=True,
        products=10,
        shape=(4, 4),
        gradients=oracles.tame_gradients,
        bases=("Q0", "Q1"),
        has_peers=False,
    ),
    # Learning-rate-free
    # Sampling
    # Rules that take the loss
]
