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
        The slots of the rule as a whole, which come last; ``"t"`` is the count of the updates. A rule with a ``"rng"``
        draws random numbers, and its oracle takes their streams and places: see oracles/sampling.py.
    order
        ``"by parameter"``: for each parameter its slots; or all parameters before all state, ``"params first"``, or
        after it, ``"params last"``.
    structure
        Arguments that are not hyper-parameters, such as a length.
    coupled
        Whether the step of a parameter depends on the gradients of the others: on all of them, as if they were one
        vector.
    fused
        Whether the step is one loop over the elements of each parameter, in place. Not where anything is summed before.
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
    fused: bool = True
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

    @property
    def draws(self):
        """Whether it draws random numbers."""
        return "rng" in self.whole


def shampoo_keys(shape):
    """A matrix and its root for each axis."""
    return (*(f"{slot}{axis}" for axis in range(len(shape)) for slot in "HP"), "param") if shape else ("H0", "param")


def soap_keys(shape):
    """A matrix and its eigenvectors for each axis of what is more than a vector."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    return ("m", "v", "param", *(f"{slot}{axis}" for axis in axes for slot in "HQ" if len(axes) > 1))


EPS = 2.0**-20
SEED = (("seed", 6),)  # with which no early number is so near zero that float32 has few digits of it
MOMENTS = {"learning_rate": 2.0**-5, "beta1": 0.875, "beta2": 0.984375, "epsilon": EPS}
ADAPTED = {
    "learning_rate": 0.5,
    "beta1": 0.875,
    "beta2": 0.765625,  # a square, of 0.875
    "epsilon": EPS,
    "weight_decay": 0.25,
    "initial_distance": 0.5,
}

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
    Row(
        symupdates.heavy_ball,
        oracles.heavy_ball,
        {"learning_rate": 0.125, "momentum": 0.75, "dampening": 0.5},
        ("velocity", "param"),
        whole=("t",),
        structure=(("nesterov", False),),
    ),
    Row(
        symupdates.qhm,
        oracles.qhm,
        {"learning_rate": 0.125, "momentum": 0.875, "nu": 0.75},
        ("velocity", "param"),
    ),
    Row(
        symupdates.optimistic_gradient,
        oracles.optimistic_gradient,
        {"learning_rate": 0.125, "alpha": 0.75, "beta": 0.5},
        ("previous", "param"),
        whole=("t",),
    ),
    Row(
        symupdates.asgd,
        oracles.asgd,
        {"learning_rate": 0.125, "weight_decay": 0.25, "power": 0.625, "begin": 4.0},
        ("param", "average"),
        whole=("t",),
    ),
    # Signs
    Row(symupdates.sign_sgd, oracles.sign_sgd, {"learning_rate": 0.125}, ("param",)),
    Row(symupdates.signum, oracles.signum, {"learning_rate": 0.125, "beta": 0.75}, ("m", "param")),
    Row(
        symupdates.lion,
        oracles.lion,
        {"learning_rate": 0.125, "beta1": 0.75, "beta2": 0.875, "weight_decay": 0.25},
        ("param", "m"),
    ),
    Row(
        symupdates.rprop,
        oracles.rprop,
        {
            "learning_rate": 0.125,
            "eta_minus": 0.625,
            "eta_plus": 2.5,
            "min_step_size": 2.0**-5,
            "max_step_size": 0.5,
        },
        ("step_size", "sign", "param"),
    ),
    # Steps divided by a record of each coordinate's gradients
    Row(
        symupdates.adagrad,
        oracles.adagrad,
        {"learning_rate": 0.5, "epsilon": EPS},
        ("accu", "param"),
        structure=(("initial_accumulator", 0.25),),
    ),
    Row(
        symupdates.adagrad_window,
        oracles.adagrad_window,
        {"learning_rate": 2.0**-5, "epsilon": 0.125},
        ("accu", "i", "param"),
        structure=(("n_win", 4),),
        fused=False,
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
    Row(
        symupdates.centered_rmsprop,
        oracles.centered_rmsprop,
        {"learning_rate": 2.0**-5, "rho": 0.875, "epsilon": 0.125},
        ("variance", "mean", "param"),
    ),
    Row(
        symupdates.ftrl,
        oracles.ftrl,
        {"learning_rate": 8.0, "beta": 0.75, "l1": 0.25, "l2": 0.125},
        ("z", "n", "param"),
        structure=(("initial_accumulator", 0.0),),
    ),
    Row(
        symupdates.sm3,
        oracles.sm3,
        {"learning_rate": 0.5, "momentum": 0.75, "epsilon": EPS},
        lambda shape: (*(f"accu_{axis}" for axis in range(max(len(shape), 1))), "m", "param"),
        fused=False,
    ),
    Row(
        symupdates.madgrad,
        oracles.madgrad,
        {"learning_rate": 2.0**-9, "momentum": 0.75, "epsilon": 2.0**-10},
        ("x0", "s", "nu", "param"),
        whole=("t",),
    ),
    # Adam and its variants
    Row(symupdates.adam, oracles.adam, MOMENTS, ("m", "v", "param"), whole=("t",)),
    Row(symupdates.adamw, oracles.adamw, {**MOMENTS, "weight_decay": 0.25}, ("m", "v", "param"), whole=("t",)),
    Row(symupdates.adamax, oracles.adamax, MOMENTS, ("m", "u", "param"), whole=("t",)),
    Row(symupdates.adamaxw, oracles.adamaxw, {**MOMENTS, "weight_decay": 0.25}, ("m", "u", "param"), whole=("t",)),
    Row(symupdates.amsgrad, oracles.amsgrad, MOMENTS, ("m", "v", "v_hat", "param"), whole=("t",)),
    Row(
        symupdates.nadam,
        oracles.nadam,
        {**MOMENTS, "momentum_decay": 0.625},
        ("m", "v", "mu_product", "param"),
        whole=("t",),
    ),
    Row(
        symupdates.nadamw,
        oracles.nadamw,
        {**MOMENTS, "momentum_decay": 0.625, "weight_decay": 0.25},
        ("m", "v", "mu_product", "param"),
        whole=("t",),
    ),
    Row(symupdates.radam, oracles.radam, {**MOMENTS, "threshold": 13.0}, ("m", "v", "param"), whole=("t",)),
    Row(symupdates.adabelief, oracles.adabelief, MOMENTS, ("m", "s", "param"), whole=("t",)),
    Row(
        symupdates.yogi,
        oracles.yogi,
        MOMENTS,
        ("m", "v", "param"),
        whole=("t",),
        structure=(("initial_accumulator", 2.0**-10),),
    ),
    Row(
        symupdates.novograd,
        oracles.novograd,
        {**MOMENTS, "weight_decay": 0.25},
        ("v", "m", "param"),
        whole=("t",),
        fused=False,
    ),
    Row(
        symupdates.adan,
        oracles.adan,
        {
            "learning_rate": 2.0**-5,
            "beta1": 0.9375,
            "beta2": 0.875,
            "beta3": 0.96875,
            "epsilon": EPS,
            "weight_decay": 0.25,
        },
        ("m", "v", "n", "param", "g"),
        whole=("t",),
    ),
    Row(
        symupdates.ademamix,
        oracles.ademamix,
        {
            "learning_rate": 2.0**-5,
            "beta1": 0.875,
            "beta2": 0.984375,
            "beta3": 0.96875,
            "alpha": 2.5,
            "epsilon": EPS,
            "weight_decay": 0.25,
        },
        ("m1", "m2", "v", "param"),
        whole=("t",),
    ),
    Row(
        symupdates.simplified_ademamix,
        oracles.simplified_ademamix,
        {
            "learning_rate": 2.0**-7,
            "beta1": 0.875,
            "beta2": 0.984375,
            "alpha": 2.5,
            "epsilon": EPS,
            "weight_decay": 0.25,
        },
        ("m", "v", "param"),
        whole=("t",),
    ),
    Row(symupdates.adopt, oracles.adopt, MOMENTS, ("m", "param", "v"), whole=("t",)),
    Row(
        symupdates.qhadam,
        oracles.qhadam,
        {"learning_rate": 2.0**-5, "beta1": 0.875, "beta2": 0.984375, "nu1": 0.625, "nu2": 0.75, "epsilon": EPS},
        ("m", "v", "param"),
        whole=("t",),
        has_peers=False,
    ),
    Row(
        symupdates.optimistic_adam,
        oracles.optimistic_adam,
        {**MOMENTS, "optimism": 0.75},
        ("m", "v", "r", "param"),
        whole=("t",),
    ),
    Row(symupdates.laprop, oracles.laprop, MOMENTS, ("v", "m", "param"), whole=("t",), has_peers=False),
    Row(
        symupdates.adam_atan2,
        oracles.adam_atan2,
        {"learning_rate": 2.0**-5, "beta1": 0.875, "beta2": 0.984375},
        ("m", "u", "param"),
        whole=("t",),
        has_peers=False,
    ),
    Row(
        symupdates.spam,
        oracles.spam,
        {**MOMENTS, "threshold": 4.0},
        ("m", "v", "param"),
        whole=("t",),
        structure=(("every", 10), ("warmup", 4), ("delay", 3)),
        has_peers=False,
    ),
    # Layers and matrices
    Row(
        symupdates.lars,
        oracles.lars,
        {"learning_rate": 0.75, "momentum": 0.875, "weight_decay": 0.25, "trust_coefficient": 0.125},
        ("velocity", "param"),
        fused=False,
    ),
    Row(
        symupdates.lamb,
        oracles.lamb,
        {**MOMENTS, "weight_decay": 0.25},
        ("m", "v", "param"),
        whole=("t",),
        fused=False,
    ),
    Row(symupdates.fromage, oracles.fromage, {"learning_rate": 0.125, "min_norm": 2.0**-10}, ("param",), fused=False),
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
            ("coefficients", "jordan"),
            ("kernels", False),
        ),
        fused=False,
        products=15,
        shape=(2, 8),
    ),
    *(
        Row(
            rule,
            oracle,
            hyper | {"epsilon": 0.125, "weight_decay": 0.25},
            lambda shape: ("m", "v", "param") if len(shape) == 2 else ("param",),
            structure=(
                ("ns_steps", 5),
                ("others", symupdates.sgd(learning_rate=0.125)),
                ("coefficients", "jordan"),
            ),
            fused=False,
            products=15,
            shape=(2, 8),
            has_peers=False,
        )
        for rule, oracle, hyper in [
            (symupdates.normuon, oracles.normuon, {"learning_rate": 0.125, "beta1": 0.875, "beta2": 0.75}),
            (symupdates.adamuon, oracles.adamuon, {"learning_rate": 0.125, "beta": 0.875}),
        ]
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
        fused=False,
        shape=(4, 4),
    ),
    Row(
        symupdates.shampoo,
        oracles.shampoo,
        {"learning_rate": 0.125, "epsilon": 0.75},
        shampoo_keys,
        whole=("t",),
        structure=(("every", 3), ("max_size", 20), ("beta2", None), ("graft", None)),
        fused=False,
        products=6,
        shape=(4, 4),
        gradients=oracles.tame_gradients,
        has_peers=False,
    ),
    Row(
        symupdates.shampoo,
        oracles.shampoo,
        {"learning_rate": 0.125, "epsilon": 0.75, "beta2": 0.75},
        shampoo_keys,
        whole=("t",),
        structure=(
            ("every", 3),
            ("max_size", 20),
            ("graft", symupdates.sgd(learning_rate=0.5)),
        ),
        fused=False,
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
        fused=False,
        products=10,
        shape=(4, 4),
        gradients=oracles.tame_gradients,
        bases=("Q0", "Q1"),
        has_peers=False,
    ),
    Row(
        symupdates.psgd_kron,
        oracles.psgd_kron,
        {
            "learning_rate": 0.125,
            "beta": 0.75,
            "preconditioner_rate": 0.375,
            "damping": 2.0**-10,
            "clip_threshold": 0.75,
        },
        lambda shape: ("m", *(f"Q{axis}" for axis in range(max(len(shape), 1))), "param"),
        whole=("rng", "t"),
        structure=(("every", 2), ("max_size", 20), *SEED),
        fused=False,
        products=16,
        shape=(4, 4),
        gradients=oracles.tame_gradients,
        has_peers=False,
    ),
    # Learning-rate-free
    Row(
        symupdates.dadapt_adam,
        oracles.dadapt_adam,
        ADAPTED,
        ("m", "v", "s", "param"),
        whole=("r", "distance", "t"),
        structure=(("bias_correction", True),),
        coupled=True,
        fused=False,
    ),
    Row(
        symupdates.prodigy,
        oracles.prodigy,
        {**ADAPTED, "d_coef": 0.75},
        ("m", "v", "s", "start", "param"),
        whole=("r", "distance", "t"),
        structure=(("bias_correction", True), ("growth_rate", None), ("safeguard_warmup", False)),
        coupled=True,
        fused=False,
    ),
    Row(
        symupdates.dog,
        oracles.dog,
        {"learning_rate": 0.5, "relative_distance": 0.125, "epsilon": EPS},
        ("start", "param"),
        whole=("distance", "accu"),
        coupled=True,
        fused=False,
    ),
    Row(
        symupdates.l_dog,
        oracles.l_dog,
        {"learning_rate": 0.5, "relative_distance": 0.125, "epsilon": EPS},
        ("start", "distance", "accu", "param"),
        fused=False,
    ),
    Row(
        symupdates.dowg,
        oracles.dowg,
        {"learning_rate": 0.5, "initial_distance": 0.25, "epsilon": EPS},
        ("start", "param"),
        whole=("squared_distance", "accu"),
        coupled=True,
        fused=False,
    ),
    # The tiny gradients are above epsilon, and move their coordinates as far as the others.
    Row(
        symupdates.cocob,
        oracles.cocob,
        {"learning_rate": 0.5, "alpha": 4.0, "epsilon": 2.0**-40},
        ("start", "largest", "accu", "reward", "theta", "param"),
    ),
    # With the huge gradients, whose squares teach the rate.
    Row(
        symupdates.hypergradient_sgd,
        oracles.hypergradient_sgd,
        {"learning_rate": 0.125, "hyper_learning_rate": 2.0**-60},
        ("gradient", "param"),
        whole=("learned",),
        coupled=True,
        fused=False,
        has_peers=False,
    ),
    Row(
        symupdates.hypergradient_adam,
        oracles.hypergradient_adam,
        {**MOMENTS, "hyper_learning_rate": 2.0**-30},
        ("m", "v", "direction", "param"),
        whole=("learned", "t"),
        coupled=True,
        fused=False,
        has_peers=False,
    ),
    Row(
        symupdates.schedule_free_sgd,
        oracles.schedule_free_sgd,
        {"learning_rate": 0.125, "beta": 0.75},
        ("z", "average", "param"),
        whole=("weights",),
    ),
    Row(
        symupdates.schedule_free_adamw,
        oracles.schedule_free_adamw,
        {**MOMENTS, "weight_decay": 0.25},
        ("v", "z", "average", "param"),
        whole=("weights", "t"),
    ),
    # Sampling
    Row(
        symupdates.noisy_sgd,
        oracles.noisy_sgd,
        {"learning_rate": 0.125, "eta": 0.375, "gamma": 0.75},
        ("param",),
        whole=("rng", "t"),
        structure=SEED,
    ),
    Row(
        symupdates.sgld,
        oracles.sgld,
        {"learning_rate": 2.0**-8, "temperature": 0.75},
        ("param",),
        whole=("rng",),
        structure=SEED,
        has_peers=False,
    ),
    Row(
        symupdates.psgld,
        oracles.psgld,
        {"learning_rate": 0.125, "rho": 0.875, "epsilon": 2.0**-6, "temperature": 0.75},
        ("accu", "param"),
        whole=("rng",),
        structure=SEED,
        has_peers=False,
    ),
    Row(
        symupdates.sghmc,
        oracles.sghmc,
        {"learning_rate": 0.125, "friction": 0.375, "noise_estimate": 0.125, "temperature": 0.75},
        ("velocity", "param"),
        whole=("rng",),
        structure=SEED,
        has_peers=False,
    ),
    Row(
        symupdates.sgnht,
        oracles.sgnht,
        {"learning_rate": 2.0**-30, "diffusion": 0.375, "temperature": 0.75},  # the table's gradients are up to 1e8
        ("velocity", "param"),
        whole=("thermostat", "rng"),
        structure=(*SEED, ("per_element", False)),
        coupled=True,
        has_peers=False,
    ),
    Row(
        symupdates.sgnht,
        oracles.sgnht,
        {"learning_rate": 2.0**-30, "diffusion": 0.375, "temperature": 0.75},
        ("velocity", "param", "thermostat"),
        whole=("rng",),
        structure=(*SEED, ("per_element", True)),
        has_peers=False,
    ),
    Row(
        symupdates.scale_adapted_sghmc,
        oracles.scale_adapted_sghmc,
        {"learning_rate": 2.0**-4, "friction": 0.375, "epsilon": 2.0**-6, "temperature": 0.75},
        ("tau", "g", "accu", "velocity", "param"),
        whole=("rng", "t"),
        structure=(("burn_in", 15), *SEED),
        has_peers=False,
    ),
    Row(
        symupdates.baoab,
        oracles.baoab,
        {"learning_rate": 0.125, "friction": 0.375, "temperature": 0.75},
        ("velocity", "param"),
        whole=("rng",),
        structure=SEED,
        has_peers=False,
    ),
    # Rules that take the loss
]
