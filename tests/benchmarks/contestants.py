"""Who is compared: each rule as symupdates compiles it, as a loop by hand, in optax and in torch; and the naive form.

A contestant is made by a function ``(rule, p, g) -> (step, value)`` from NumPy arrays: ``step()`` makes one update by
the gradient `g` and comes back when it is done, ``value()`` gives the parameter as NumPy's. The hyper-parameters in
``RULES`` make all of them compute the same, where no element of `g` is so small that it matters where a rule has its
epsilon.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
from numba import njit
from pytensor.compile.mode import Mode

import symupdates.modes

# The modes under test, by the names they have in the tables: PyTensor's own and ours. Names of JAX's begin with JAX.
MODES = {"NUMBA": "NUMBA", "CVM": "CVM", "JAX": "JAX"}
MODES |= {name: mode for name, mode in vars(symupdates.modes).items() if isinstance(mode, Mode)}

ETA, MU, RHO, B1, B2, DECAY = 0.001, 0.9, 0.9, 0.9, 0.999, 0.1
EPS, TINY = 1e-6, 1e-10  # Adam's family does not add its epsilon where the peers do: there it is next to nothing.


# --- By hand: loops over all elements, in place, in float32 -----------------------------------------------------------

# They write after all their reading: a read that follows a write in the same pass makes Adam take twice as long.
loop = njit(fastmath=True, error_model="numpy")


@loop
def sgd(p, g, eta):
    for i in range(p.size):
        p[i] -= eta * g[i]


@loop
def momentum(p, g, v, eta, mu):
    for i in range(p.size):
        v_i = mu * v[i] - eta * g[i]
        p_i = p[i] + v_i
        v[i], p[i] = v_i, p_i


@loop
def nesterov_momentum(p, g, v, eta, mu):
    for i in range(p.size):
        step = eta * g[i]
        v_i = mu * v[i] - step
        p_i = p[i] + mu * v_i - step
        v[i], p[i] = v_i, p_i


@loop
def adagrad(p, g, accu, eta, eps):
    for i in range(p.size):
        accu_i = accu[i] + g[i] * g[i]
        p_i = p[i] - eta * g[i] / np.sqrt(accu_i + eps)
        accu[i], p[i] = accu_i, p_i


@loop
def rmsprop(p, g, accu, eta, rho, rest, eps):
    for i in range(p.size):
        accu_i = rho * accu[i] + rest * g[i] * g[i]
        p_i = p[i] - eta * g[i] / np.sqrt(accu_i + eps)
        accu[i], p[i] = accu_i, p_i


@loop
def adadelta(p, g, accu, delta, eta, rho, rest, eps):
    for i in range(p.size):
        accu_i = rho * accu[i] + rest * g[i] * g[i]
        step = g[i] * np.sqrt((delta[i] + eps) / (accu_i + eps))
        p_i = p[i] - eta * step
        delta_i = rho * delta[i] + rest * step * step
        accu[i], p[i], delta[i] = accu_i, p_i, delta_i


@loop
def adam(p, g, m, v, alpha, b1, rest1, b2, rest2, eps):
    for i in range(p.size):
        m_i = b1 * m[i] + rest1 * g[i]
        v_i = b2 * v[i] + rest2 * g[i] * g[i]
        p_i = p[i] - alpha * m_i / (np.sqrt(v_i) + eps)
        m[i], v[i], p[i] = m_i, v_i, p_i


@loop
def adamw(p, g, m, v, alpha, b1, rest1, b2, rest2, eps, decay):
    for i in range(p.size):
        m_i = b1 * m[i] + rest1 * g[i]
        v_i = b2 * v[i] + rest2 * g[i] * g[i]
        p_i = p[i] - alpha * m_i / (np.sqrt(v_i) + eps) - decay * p[i]
        m[i], v[i], p[i] = m_i, v_i, p_i


@loop
def adamax(p, g, m, u, alpha, b1, rest1, b2, eps):
    for i in range(p.size):
        m_i = b1 * m[i] + rest1 * g[i]
        u_i = max(b2 * u[i], abs(g[i]))
        p_i = p[i] - alpha * m_i / (u_i + eps)
        m[i], u[i], p[i] = m_i, u_i, p_i


@loop
def amsgrad(p, g, m, v, v_hat, alpha, b1, rest1, b2, rest2, eps):
    for i in range(p.size):
        m_i = b1 * m[i] + rest1 * g[i]
        v_i = b2 * v[i] + rest2 * g[i] * g[i]
        v_hat_i = max(v_hat[i], v_i)
        p_i = p[i] - alpha * m_i / (np.sqrt(v_hat_i) + eps)
        m[i], v[i], v_hat[i], p[i] = m_i, v_i, v_hat_i, p_i


# --- The rules --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """What reproduces a rule elsewhere.

    Attributes
    ----------
    hyper
        The hyper-parameters of symupdates.
    loop, slots
        The loop, and the number of its arrays of state.
    scalars
        What the loop takes after the arrays, at update t, 1 at the first.
    optax
        Gives the transformation, from the module.
    torch
        The name of the class and its arguments; it is fused where torch has that, on lists (foreach) where not.
    """

    hyper: dict
    loop: Callable
    slots: int
    scalars: Callable
    optax: Callable
    torch: tuple

    @property
    def name(self):
        return self.loop.__name__


def alpha(t):
    """Adam's step size."""
    return ETA * (1 - B2**t) ** 0.5 / (1 - B1**t)


def moments(**more):
    return {"learning_rate": ETA, "beta1": B1, "beta2": B2, "epsilon": TINY, **more}


def uncorrected(count):
    """The rate for optax's AMSGrad, which is to correct nothing but m."""
    return ETA * (1 - B2 ** (count + 1)) ** 0.5


FUSED, FOREACH = {"fused": True}, {"foreach": True}
BETAS = {"lr": ETA, "betas": (B1, B2), "eps": TINY}

RULES = [
    Rule(
        {"learning_rate": ETA},
        sgd,
        0,
        lambda t: (ETA,),
        lambda optax: optax.sgd(ETA),
        ("SGD", {"lr": ETA, **FUSED}),
    ),
    Rule(
        {"learning_rate": ETA, "momentum": MU},
        momentum,
        1,
        lambda t: (ETA, MU),
        lambda optax: optax.sgd(ETA, momentum=MU),
        ("SGD", {"lr": ETA, "momentum": MU, **FUSED}),
    ),
    Rule(
        {"learning_rate": ETA, "momentum": MU},
        nesterov_momentum,
        1,
        lambda t: (ETA, MU),
        lambda optax: optax.sgd(ETA, momentum=MU, nesterov=True),
        ("SGD", {"lr": ETA, "momentum": MU, "nesterov": True, **FUSED}),
    ),
    Rule(
        {"learning_rate": ETA, "epsilon": EPS},
        adagrad,
        1,
        lambda t: (ETA, EPS),
        lambda optax: optax.adagrad(ETA, initial_accumulator_value=0.0, eps=EPS),
        ("Adagrad", {"lr": ETA, "eps": EPS, **FUSED}),
    ),
    Rule(
        {"learning_rate": ETA, "rho": RHO, "epsilon": EPS},
        rmsprop,
        1,
        lambda t: (ETA, RHO, 1 - RHO, EPS),
        lambda optax: optax.rmsprop(ETA, decay=RHO, eps=EPS),
        ("RMSprop", {"lr": ETA, "alpha": RHO, "eps": EPS, **FOREACH}),
    ),
    Rule(
        {"learning_rate": 1.0, "rho": RHO, "epsilon": EPS},
        adadelta,
        2,
        lambda t: (1.0, RHO, 1 - RHO, EPS),
        lambda optax: optax.adadelta(1.0, rho=RHO, eps=EPS),
        ("Adadelta", {"lr": 1.0, "rho": RHO, "eps": EPS, **FOREACH}),
    ),
    Rule(
        moments(),
        adam,
        2,
        lambda t: (alpha(t), B1, 1 - B1, B2, 1 - B2, TINY),
        lambda optax: optax.adam(ETA, B1, B2, TINY),
        ("Adam", {**BETAS, **FUSED}),
    ),
    Rule(
        moments(weight_decay=DECAY),
        adamw,
        2,
        lambda t: (alpha(t), B1, 1 - B1, B2, 1 - B2, TINY, ETA * DECAY),
        lambda optax: optax.adamw(ETA, B1, B2, TINY, weight_decay=DECAY),
        ("AdamW", {**BETAS, "weight_decay": DECAY, **FUSED}),
    ),
    Rule(
        moments(),
        adamax,
        2,
        lambda t: (ETA / (1 - B1**t), B1, 1 - B1, B2, TINY),
        lambda optax: optax.adamax(ETA, B1, B2, TINY),
        ("Adamax", {**BETAS, **FOREACH}),
    ),
    Rule(
        moments(),
        amsgrad,
        3,
        lambda t: (alpha(t), B1, 1 - B1, B2, 1 - B2, TINY),
        lambda optax: optax.amsgrad(uncorrected, B1, B2, TINY, bias_correction_nu=False),
        ("Adam", {**BETAS, "amsgrad": True, **FUSED}),
    ),
]


# --- The contestants --------------------------------------------------------------------------------------------------


def by_hand(rule, p, g):
    p = p.copy()
    state = [np.zeros_like(p) for _ in range(rule.slots)]
    t = 0

    def step():
        nonlocal t
        t += 1
        rule.loop(p, g, *state, *map(p.dtype.type, rule.scalars(t)))

    return step, lambda: p


def in_mode(mode):
    """The contestant that is symupdates in a mode, or in one of ``MODES`` by its name."""

    def make(rule, p, g):
        p = pytensor.shared(p, name="p")
        gradient = pt.tensor("g", dtype=p.dtype, shape=(None,) * g.ndim)
        updates = getattr(symupdates, rule.name)([gradient], [p], **rule.hyper)
        compiled = MODES[mode] if isinstance(mode, str) else mode
        function = pytensor.function([gradient], [], updates=updates, mode=compiled, trust_input=True)
        return when_done(function, [on_device(mode, g)], p), lambda: np.asarray(p.get_value())

    return make


def on_device(mode, array):
    """An array as a function of that mode takes it without a copy."""
    if not isinstance(mode, str) or not mode.startswith("JAX"):
        return array
    import jax

    return jax.device_put(array)


def when_done(function, inputs, updated):
    """The call of a function that comes back when a variable is updated: JAX works on after the call."""

    def step():
        output = function(*inputs)
        value = updated.get_value(borrow=True)
        if hasattr(value, "block_until_ready"):
            value.block_until_ready()
        return output

    return step


def by_optax(rule, p, g):
    """optax under ``jax.jit``, which may write parameters and state in place (donation)."""
    import jax
    import optax

    optimizer = rule.optax(optax)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(p, state, g):
        steps, state = optimizer.update(g, state, p)
        return optax.apply_updates(p, steps), state

    p, g = jax.device_put(p), jax.device_put(g)
    state = optimizer.init(p)

    def step():
        nonlocal p, state
        p, state = jax.block_until_ready(update(p, state, g))

    return step, lambda: np.asarray(p)


def by_torch(rule, p, g, device="cpu"):
    import torch

    p = torch.nn.Parameter(torch.from_numpy(p.copy()).to(device))
    p.grad = torch.from_numpy(g).to(device)
    name, arguments = rule.torch
    update = getattr(torch.optim, name)([p], **arguments).step

    def step():
        update()
        if device == "cuda":
            torch.cuda.synchronize()

    return step, lambda: p.detach().cpu().numpy()


CONTESTANTS = {
    "loop": by_hand,
    **{mode: in_mode(mode) for mode in MODES},
    "optax": by_optax,
    "torch": by_torch,
}


def example(size, dtype="float32"):
    """A parameter and a gradient for them."""
    rng = np.random.default_rng(0)
    p = rng.uniform(-0.1, 0.1, size).astype(dtype)
    g = (rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.5, size)).astype(dtype)
    return p, g


def three_steps(step, value):
    for _ in range(3):
        step()
    return value().copy()


# --- The naive form: Lasagne's, written out for each parameter --------------------------------------------------------


def naive_sgd(loss_or_grads, params, learning_rate):
    grads = loss_or_grads if isinstance(loss_or_grads, list) else pytensor.grad(loss_or_grads, params)
    return OrderedDict((p, p - learning_rate * g) for p, g in zip(params, grads, strict=True))


def naive_adam(loss_or_grads, params, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    grads = loss_or_grads if isinstance(loss_or_grads, list) else pytensor.grad(loss_or_grads, params)
    updates = OrderedDict()
    one = pt.constant(1, dtype=pytensor.config.floatX)
    t_prev = pytensor.shared(np.asarray(0, dtype=pytensor.config.floatX))
    t = t_prev + one
    a_t = learning_rate * pt.sqrt(one - beta2**t) / (one - beta1**t)
    for p, g in zip(params, grads, strict=True):
        value = p.get_value(borrow=True)
        m_prev = pytensor.shared(np.zeros(value.shape, dtype=value.dtype), shape=p.type.shape)
        v_prev = pytensor.shared(np.zeros(value.shape, dtype=value.dtype), shape=p.type.shape)
        m_t = beta1 * m_prev + (one - beta1) * g
        v_t = beta2 * v_prev + (one - beta2) * g**2
        updates[m_prev] = m_t
        updates[v_prev] = v_t
        updates[p] = p - a_t * m_t / (pt.sqrt(v_t) + epsilon)
    updates[t_prev] = t
    return updates
