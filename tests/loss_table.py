"""The rules that take the loss, a row a rule: every generic test in test_loss_rules.py runs for every row."""

from collections.abc import Callable
from dataclasses import dataclass, field

import oracles
from pytensor.gradient import disconnected_grad
from pytensor.tensor import sigmoid, softplus, stack

import symupdates


@dataclass(frozen=True)
class LossRow:
    """What the generic tests need to know of a rule that takes the loss.

    Attributes
    ----------
    rule
        The rule.
    oracle
        The same in NumPy, written from the paper: ``oracle(x, losses, **hyper)``, with all parameters as one vector,
        yields after each step a dict of that vector (``"param"``) and of the state by slot.
    hyper
        Every hyper-parameter, with a value for the tests: a sum of few powers of two, unlike the default.
    keys
        For one parameter, the slots in the order of the keys; ``"param"`` stands for the parameter.
    whole
        The slots of the rule as a whole, which come last.
    structure
        Arguments that are not hyper-parameters, for the rule; and for the oracle, where it takes others, `told`.
    of_outputs
        Those that are of the model: a function of its outputs, the z = Ax - b of :class:`oracles.loss.Loss`.
    owner
        The rule in whose name the state of parameters is kept, if it is another.
    order
        As in :class:`table.Row`.
    same
        Whether the loss has to be the same at every step.
    rests
        Whether it stays where the gradient is zero: not if it takes the gradient at points that it draws.
    takes_gradients
        Whether it can do with gradients; here because it needs a loss that they belong to.
    """

    rule: Callable
    oracle: Callable
    hyper: dict
    keys: tuple
    whole: tuple = ()
    structure: dict = field(default_factory=dict)
    told: dict | None = None
    owner: str | None = None
    order: str = "by parameter"
    same: bool = False
    rests: bool = True
    takes_gradients: bool = False
    of_outputs: Callable | None = None

    @property
    def name(self):
        return self.rule.__name__

    def arguments(self, z):
        """The structural arguments, with those that are of the model for outputs `z`."""
        return self.structure | (self.of_outputs(z) if self.of_outputs else {})


HEAVY_BALL = {"learning_rate": 0.0625, "momentum": 0.75}


def on_momentum(learning_rate=0.0625, **structure):
    """What a row has of a rule that gives another one its gradients."""
    hyper = HEAVY_BALL | {"learning_rate": learning_rate}
    return {
        "structure": {"optimizer": symupdates.momentum(**hyper), **structure},
        "told": hyper | structure,
        "owner": "momentum",
        "order": "params first",
    }


def bernoulli_divergence(z):
    """Of coins with log odds `z` from what they are."""
    old = disconnected_grad(z)
    return (sigmoid(old) * (old - z) - softplus(old) + softplus(z)).sum()


LOSS_ROWS = [
    LossRow(symupdates.sam, oracles.sam, {"rho": 0.25}, ("param", "velocity"), **on_momentum()),
    LossRow(symupdates.asam, oracles.asam, {"rho": 0.75, "eta": 0.125}, ("param", "velocity"), **on_momentum()),
    LossRow(symupdates.nag, oracles.nag, HEAVY_BALL, ("velocity", "param")),
    LossRow(symupdates.extragradient, oracles.extragradient, {"learning_rate": 0.125}, ("param",)),
    *(
        LossRow(
            symupdates.barzilai_borwein,
            oracles.barzilai_borwein,
            {"learning_rate": 2.0**-5},
            ("last_p", "last_g", "param"),
            structure={"short": short},
            same=True,
            takes_gradients=True,
        )
        for short in (False, True)
    ),
    LossRow(
        symupdates.adahessian,
        oracles.adahessian,
        {"learning_rate": 0.125, "beta1": 0.875, "beta2": 0.96875, "epsilon": 0.0625, "hessian_power": 0.75},
        ("m", "v", "param"),
        whole=("rng", "t"),
        structure={"seed": 7},
    ),
    LossRow(
        symupdates.sophia_h,
        oracles.sophia_h,
        {"learning_rate": 0.125, "beta1": 0.875, "beta2": 0.75, "gamma": 0.75, "epsilon": 0.0625},
        ("m", "h", "param"),
        whole=("rng", "t"),
        structure={"every": 3, "seed": 7},
    ),
    LossRow(
        symupdates.sophia_g,
        oracles.sophia_g,
        {"learning_rate": 0.125, "beta1": 0.875, "beta2": 0.75, "gamma": 0.75, "epsilon": 0.0625},
        ("m", "h", "param"),
        whole=("rng", "t"),
        structure={"every": 3, "seed": 7},
        takes_gradients=True,
        of_outputs=lambda z: {"logits": stack([z, -z], axis=-1)},
    ),
    LossRow(
        symupdates.esgd,
        oracles.esgd,
        {"learning_rate": 0.125, "damping": 0.25},
        ("d", "param"),
        whole=("rng", "t"),
        structure={"every": 3, "seed": 7},
    ),
    # Some of its steps are clipped.
    LossRow(
        symupdates.ivon,
        oracles.ivon,
        {
            "learning_rate": 0.125,
            "effective_sample_size": 24.0,
            "beta1": 0.875,
            "beta2": 0.96875,
            "weight_decay": 0.25,
            "clip_radius": 1.5,
        },
        ("m", "h", "param"),
        whole=("rng", "t"),
        structure={"initial_hessian": 0.75, "samples": 2, "seed": 7},
        rests=False,
    ),
    # At both, the rate is the largest in some steps only.
    LossRow(
        symupdates.momo,
        oracles.momo,
        {"learning_rate": 0.25, "beta": 0.75, "minimum": 0.5},
        ("d", "param"),
        whole=("loss", "gamma", "t"),
    ),
    LossRow(
        symupdates.momo_adam,
        oracles.momo_adam,
        {"learning_rate": 0.25, "beta1": 0.75, "beta2": 0.9375, "epsilon": 0.0625, "minimum": 1.0},
        ("d", "v", "param"),
        whole=("loss", "gamma", "t"),
    ),
    LossRow(
        symupdates.spsa,
        oracles.spsa,
        {"perturbation": 0.125},
        ("param", "velocity"),
        whole=("rng",),
        **on_momentum(2.0**-8, seed=7),
    ),
    LossRow(
        symupdates.mezo,
        oracles.mezo,
        {"perturbation": 0.125},
        ("param", "velocity"),
        whole=("rng",),
        **on_momentum(2.0**-8, seed=7),
    ),
    LossRow(
        symupdates.lbfgs,
        oracles.lbfgs,
        {"learning_rate": 0.5, "c1": 0.0625, "c2": 0.25},
        ("s", "y", "x", "g", "d", "param"),
        whole=("search", "trials", "evaluations"),
        structure={"memory": 3},
        same=True,
    ),
    LossRow(
        symupdates.nonlinear_cg,
        oracles.nonlinear_cg,
        {"learning_rate": 0.5, "c1": 0.0625, "c2": 0.25},
        ("x", "g", "d", "param"),
        whole=("search", "trials", "evaluations"),
        structure={"method": "polak_ribiere"},
        same=True,
    ),
    LossRow(
        symupdates.gauss_newton,
        oracles.gauss_newton,
        {"learning_rate": 0.25, "damping": 0.5},
        ("param",),
        structure={"iterations": 4},
        of_outputs=lambda z: {"outputs": [z]},
    ),
    LossRow(
        symupdates.levenberg_marquardt,
        oracles.levenberg_marquardt,
        {"damping": 0.125},
        ("param",),
        whole=("mu", "nu"),
        structure={"iterations": 4},
        of_outputs=lambda z: {"outputs": [z]},
    ),
    LossRow(
        symupdates.natural_gradient,
        oracles.natural_gradient,
        {"learning_rate": 0.0625, "damping": 0.25},
        ("param",),
        structure={"iterations": 4},
        of_outputs=lambda z: {"divergence": bernoulli_divergence(z)},
    ),
]

# Some that are quick to build: with the gradient elsewhere, and with curvature from signs that are drawn.
LOSS_KINDS = {"sam", "adahessian"}
