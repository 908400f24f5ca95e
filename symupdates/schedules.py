r"""Schedules: hyper-parameters as functions of the step.

Every function here returns a :class:`Schedule`, a callable ``step -> value``, for any hyper-parameter of any rule::

    adam(loss, params, learning_rate=warmup(cosine_decay(0.001, 10_000), 500), beta1=linear(0.85, 0.95, 10_000))

The step counts the updates made: 0 at the first, as in optax and keras, and in torch when ``scheduler.step()`` follows
every update. The same object takes a symbolic step and NumPy's, and so it draws itself::

    t = np.arange(10_500)
    plt.plot(t, warmup(cosine_decay(0.001, 10_000), 500)(t))

Each formula is written once, in terms of a module `xp` that is NumPy or ``pytensor.tensor``. It is float64 arithmetic
whatever ``floatX`` is; a rule casts the value to the dtype of each parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any, Literal, ParamSpec, TypeAlias, overload

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from symupdates.core import astype, flag, whole_number
from symupdates.core.awaits import in_words
from symupdates.core.checks import raised_by
from symupdates.core.state import Call, advance, call_state
from symupdates.typing import Hyper, Number

__all__ = [
    "Schedule",
    "constant",
    "cosine_decay",
    "cosine_restarts",
    "cyclic",
    "exponential_decay",
    "inverse_sqrt_decay",
    "inverse_time_decay",
    "join",
    "linear",
    "one_cycle",
    "piecewise_constant",
    "piecewise_interpolated",
    "polynomial_decay",
    "reduce_on_plateau",
    "step_decay",
    "warmup",
    "warmup_stable_decay",
]

Formula: TypeAlias = Callable[[Any, Any], Any]
Arguments = ParamSpec("Arguments")

# A Python float in a PyTensor graph would be rounded to floatX; a float64 is left as it is.
PI = np.float64(np.pi)
ZERO = np.float64(0)

# How to get from one value to the next: the weight of the first, 1 at x = 0 and 0 at x = 1.
WEIGHTS = {
    "linear": lambda x, xp: 1 - x,
    "cosine": lambda x, xp: (1 + xp.cos(PI * x)) / 2,
    "sqrt": lambda x, xp: 1 - xp.sqrt(x),
}


class Schedule:
    """A function of the step that shows how it was made, and can be copied and pickled.

    Called with a symbolic step (an int64 scalar variable, as rules do), it returns a scalar variable. Called with an
    integer or an array of them, it returns a float64 or an array of the same shape. A step before 0 counts as 0, so
    that ``lambda step: schedule(step - 100)`` is the schedule delayed.

    The functions of this module make them. Their values and counts may be numbers or scalar variables, such as shared
    variables to be changed while training; with a variable, a schedule takes symbolic steps only. What is a number is
    checked at once: a TypeError for what is no real number, a ValueError for one that makes no sense.
    """

    def __init__(self, make: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]):
        self._make = make, args, kwargs
        self._formula = make.__wrapped__(*args, **kwargs)

    @overload
    def __call__(self, step: Variable) -> TensorVariable: ...
    @overload
    def __call__(self, step: float | np.number[Any]) -> np.float64: ...
    @overload
    def __call__(self, step: np.ndarray | Sequence[float]) -> np.ndarray: ...
    def __call__(self, step):
        symbolic = isinstance(step, Variable)
        step = pt.as_tensor_variable(step) if symbolic else np.asarray(step)
        if np.dtype(step.dtype).kind not in "iuf":
            raise TypeError(f"the step of a schedule must be an integer, or an array of them, not {step!r}.")
        if symbolic:
            return pt.as_tensor_variable(self._formula(pt.maximum(step, 0), pt))
        if variables := ", ".join(str(x) for x in self._variables()):
            raise TypeError(f"{self!r} depends on {variables}: call it with a symbolic step, and evaluate the result.")
        step = step.astype("float64" if step.dtype.kind == "f" else "int64")
        with np.errstate(over="ignore"):
            value = self._formula(np.maximum(step, 0), np)
        return np.full(step.shape, value, dtype="float64")[()]

    def __repr__(self):
        make, args, kwargs = self._make
        arguments = [in_words(x) for x in args] + [f"{name}={in_words(x)}" for name, x in kwargs.items()]
        return f"{make.__name__}({', '.join(arguments)})"

    def __reduce__(self):
        return Schedule, self._make

    def _variables(self):
        _, args, kwargs = self._make
        return variables_of([*args, *kwargs.values()])


def variables_of(arguments):
    for x in arguments:
        if isinstance(x, Variable):
            yield x
        elif isinstance(x, list):
            yield from variables_of(x)
        elif isinstance(x, Schedule):
            yield from x._variables()


# --- Arguments --------------------------------------------------------------------------------------------------------


def makes_schedule(make: Callable[Arguments, Formula]) -> Callable[Arguments, Schedule]:
    """Decorate a function that returns a formula ``(step, xp) -> value``: it then returns a :class:`Schedule`."""

    @wraps(make)
    def wrapper(*args, **kwargs):
        return Schedule(wrapper, [plain(x) for x in args], {name: plain(x) for name, x in kwargs.items()})

    return wrapper


def plain(x):
    """An argument as it is kept: NumPy's numbers as Python's, and iterables as lists of ours."""
    if isinstance(x, np.ndarray | np.generic):
        return x.tolist()
    if isinstance(x, Iterable) and not isinstance(x, str | Variable):
        return [plain(item) for item in x]
    return x


def scalar_variable(name, x):
    if getattr(x, "ndim", None) != 0 or np.dtype(x.dtype).kind not in "iuf":
        raise TypeError(f"{name} must be a real number or a scalar variable, but it is a variable of type {x.type}.")
    return x


def numbers(function, above=-np.inf, **values):
    """The values, in order, as float64 or scalar variables, after refusing what is not."""
    return [number(f"{function}: {name}", x, above) for name, x in values.items()]


def number(name, x, above=-np.inf, kinds="a real number or a scalar variable"):
    if isinstance(x, Variable):
        return scalar_variable(name, x)
    if type(x) is int and 2**63 <= abs(x) < 2**1023:
        x = float(x)  # NumPy has no such integers
    if isinstance(x, list) or np.asarray(x).dtype.kind not in "iuf":
        raise TypeError(f"{name} must be {kinds}, not {x!r}.")
    if not (np.isfinite(x) and x > above):
        bound = "finite" if above == -np.inf else f"finite and above {above:g}"
        raise ValueError(f"{name} must be {bound}, but it is {x!r}.")
    return np.float64(x)


def counts(function, least=1, **values):
    """The numbers of steps, in order, as int or scalar variables, after refusing what is not."""
    return [count(f"{function}: {name}", x, least) for name, x in values.items()]


def count(name, x, least=1):
    if isinstance(x, Variable):
        return scalar_variable(name, x)
    value = number(name, x)
    if value != np.floor(value) or x < least:
        raise ValueError(f"{name} must be a whole number of steps, at least {least}, but it is {x!r}.")
    return whole_number(name, int(x), least)


def sequence(function, name, x):
    if not isinstance(x, list):
        raise TypeError(f"{function}: {name} must be a list, not {x!r}.")
    return x


def pieces(function, boundaries, **parts):
    """The boundaries, and what is between them, after checking their number and order."""
    ((name, parts),) = parts.items()
    parts = sequence(function, name, parts)
    boundaries = sequence(function, "boundaries", boundaries)
    boundaries = [count(f"{function}: boundaries[{i}]", x) for i, x in enumerate(boundaries)]
    if len(parts) != len(boundaries) + 1:
        raise ValueError(
            f"{function}: {name} must be one more than boundaries, but there are {len(parts)} and {len(boundaries)}; "
            "the first begins at step 0, each other at a boundary."
        )
    for a, b in pairwise(boundaries):
        if not isinstance(a, Variable) and not isinstance(b, Variable) and a >= b:
            raise ValueError(f"{function}: boundaries must increase, but {b} follows {a}; they count from step 0.")
    return boundaries, parts


def choice(function, choices, **values):
    ((name, x),) = values.items()
    if not isinstance(x, str) or x not in choices:
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, choices))}, not {x!r}.")


def part(name, x):
    """The formula of a schedule, a callable, or a number that stands for itself."""
    if isinstance(x, Schedule):
        return x._formula
    if isinstance(x, Variable) or not callable(x):
        x = number(name, x, kinds="a schedule, a real number or a scalar variable")
        return lambda step, xp: x

    def formula(step, xp):
        with raised_by(f"{name}, called with a step"):
            value = x(step)
        if not isinstance(value, Variable):
            value = np.asarray(value)
            if value.dtype.kind not in "iuf":
                raise TypeError(f"{name} must return real numbers, or scalar variables, not {value!r}.")
            return value.astype("float64")
        if xp is np:
            raise TypeError(f"{name} is symbolic, {value}: call the schedule with a symbolic step.")
        return value

    return formula


# --- Arithmetic -------------------------------------------------------------------------------------------------------


def ratio(a, b, xp):
    """``a / b`` of numbers of steps, in float64. PyTensor divides integers in floatX, and of casts JAX may warn."""
    return xp.maximum(a, ZERO) / xp.maximum(b, ZERO)


def progress(step, begin, end, xp):
    """How far `step` is between two others: 0 up to the first, 1 from the second."""
    return ratio(xp.clip(step - begin, 0, end - begin), end - begin, xp)


def remaining(step, begin, end, xp):
    """What is left of it. At the end it is exactly 0; `progress` may miss 1 on JAX, which divides by multiplying."""
    return ratio(xp.clip(end - step, 0, end - begin), end - begin, xp)


def between(a, b, weight):
    """From `a` at weight 1 to `b` at weight 0, both exact."""
    return weight * a + (1 - weight) * b


def interpolated(points, values, kind):
    """The formula that goes through ``values[i]`` at ``points[i]``, the first of them 0, and stays at the last."""

    def formula(step, xp):
        value = values[0]
        for (begin, a), (end, b) in pairwise(zip(points, values, strict=True)):
            weight = WEIGHTS[kind](progress(step, begin, end, xp), xp)
            value = xp.where(step < begin, value, between(a, b, weight))
        return value

    return formula


# --- Schedules --------------------------------------------------------------------------------------------------------


@makes_schedule
def constant(value: Number) -> Formula:
    r"""The same value at every step.

    .. math:: \eta_t = \eta

    Parameters
    ----------
    value : number or scalar variable
        The value :math:`\eta`, in units of the hyper-parameter.

    Returns
    -------
    Schedule
        Of the step :math:`t`.

    Notes
    -----
    As a hyper-parameter, the number itself does the same. optax: ``constant_schedule(value)``. torch's ``ConstantLR``
    is ``piecewise_constant([total_iters], [factor * lr, lr])``.
    """
    (value,) = numbers("constant", value=value)
    return lambda step, xp: value


@makes_schedule
def step_decay(initial: Number, step_size: Number, gamma: Number = 0.1) -> Formula:
    r"""A drop by a factor every so many steps.

    .. math:: \eta_t = \eta_0\, \gamma^{\lfloor t/s \rfloor}

    Parameters
    ----------
    initial : number or scalar variable
        The first value :math:`\eta_0`, in units of the hyper-parameter.
    step_size : whole number or scalar variable
        The steps :math:`s` from one drop to the next, at least 1; the first drop is at step `step_size`.
    gamma : number or scalar variable
        The factor :math:`\gamma`, positive. The default is torch's.

    Returns
    -------
    Schedule
        Of the step :math:`t`.

    Notes
    -----
    torch: ``StepLR(step_size, gamma)``. optax and keras: the exponential decay with ``staircase=True``, of rate `gamma`
    and `step_size` steps, as here.
    """
    (initial,) = numbers("step_decay", initial=initial)
    (gamma,) = numbers("step_decay", above=0, gamma=gamma)
    (step_size,) = counts("step_decay", step_size=step_size)
    return lambda step, xp: initial * gamma ** (step // step_size)


@makes_schedule
def piecewise_constant(boundaries: Iterable[Number], values: Iterable[Number]) -> Formula:
    r"""One value after the other.

    .. math:: \eta_t = v_i \quad\text{for}\quad b_i \le t < b_{i+1}, \qquad b_0 = 0,\; b_{n+1} = \infty

    Parameters
    ----------
    boundaries : list of whole numbers or scalar variables
        The steps :math:`b_1, \dots, b_n` at which the next value begins, increasing, the first at least 1.
    values : list of numbers or scalar variables
        The values :math:`v_0, \dots, v_n`, one more than boundaries, in units of the hyper-parameter.

    Returns
    -------
    Schedule
        Of the step :math:`t`; after the last boundary, it stays at the last value.

    Notes
    -----
    optax: ``piecewise_constant_schedule``, which takes factors in place of values. torch: ``MultiStepLR``, the values
    being powers of its `gamma`. keras: ``PiecewiseConstantDecay``, whose boundaries are one less, for there a value
    still holds at the boundary.
    """
    boundaries, values = pieces("piecewise_constant", boundaries, values=values)
    values = [number(f"piecewise_constant: values[{i}]", x) for i, x in enumerate(values)]

    def formula(step, xp):
        value = values[0]
        for boundary, following in zip(boundaries, values[1:], strict=True):
            value = xp.where(step < boundary, value, following)
        return value

    return formula


@makes_schedule
def piecewise_interpolated(
    boundaries: Iterable[Number], values: Iterable[Number], kind: Literal["linear", "cosine"] = "linear"
) -> Formula:
    r"""Through one value after the other, on straight lines or half cosines.

    .. math::
        \eta_t = w v_i + (1 - w) v_{i+1}, \qquad x = \frac{t - b_i}{b_{i+1} - b_i}, \qquad
        w = 1 - x \quad\text{or}\quad \tfrac12 (1 + \cos \pi x)

    Parameters
    ----------
    boundaries : list of whole numbers or scalar variables
        The steps :math:`b_1, \dots, b_n` at which the values after the first are reached, increasing, the first at
        least 1; :math:`b_0 = 0`.
    values : list of numbers or scalar variables
        The values :math:`v_0, \dots, v_n`, one more than boundaries, in units of the hyper-parameter.
    kind : {"linear", "cosine"}
        The way from one value to the next.

    Returns
    -------
    Schedule
        Of the step :math:`t`; after the last boundary, it stays at the last value.

    Notes
    -----
    optax: ``piecewise_interpolate_schedule``, which takes factors in place of values.
    """
    boundaries, values = pieces("piecewise_interpolated", boundaries, values=values)
    values = [number(f"piecewise_interpolated: values[{i}]", x) for i, x in enumerate(values)]
    choice("piecewise_interpolated", ("linear", "cosine"), kind=kind)
    return interpolated([0, *boundaries], values, kind)


@makes_schedule
def linear(initial: Number, final: Number, steps: Number, begin: Number = 0) -> Formula:
    r"""From one value to another on a straight line.

    .. math:: \eta_t = (1 - x)\, \eta_0 + x\, \eta_1, \qquad x = \frac{t - b}{n} \text{ within } [0, 1]

    Parameters
    ----------
    initial, final : number or scalar variable
        The values :math:`\eta_0` and :math:`\eta_1`, in units of the hyper-parameter; either may be the larger.
    steps : whole number or scalar variable
        The steps :math:`n` that it takes, at least 1.
    begin : whole number or scalar variable
        The step :math:`b` at which it begins.

    Returns
    -------
    Schedule
        Of the step :math:`t`; `initial` up to `begin`, `final` from ``begin + steps``.

    Notes
    -----
    optax: ``linear_schedule(initial, final, steps, begin)``. torch: ``LinearLR(start_factor, end_factor, steps)``, with
    the rates that the factors give. keras: ``PolynomialDecay(initial, steps, final)``.
    """
    initial, final = numbers("linear", initial=initial, final=final)
    (steps,) = counts("linear", steps=steps)
    (begin,) = counts("linear", least=0, begin=begin)
    return lambda step, xp: between(initial, final, remaining(step, begin, begin + steps, xp))


@makes_schedule
def polynomial_decay(initial: Number, final: Number, steps: Number, power: Number = 1.0, begin: Number = 0) -> Formula:
    r"""From one value to another on a power of the steps that are left.

    .. math:: \eta_t = \eta_1 + (\eta_0 - \eta_1) (1 - x)^p, \qquad x = \frac{t - b}{n} \text{ within } [0, 1]

    Parameters
    ----------
    initial, final : number or scalar variable
        The values :math:`\eta_0` and :math:`\eta_1`, in units of the hyper-parameter; either may be the larger.
    steps : whole number or scalar variable
        The steps :math:`n` that it takes, at least 1.
    power : number or scalar variable
        The power :math:`p`, positive; above 1, the value changes most at first. The default, a straight line, is that
        of torch and keras.
    begin : whole number or scalar variable
        The step :math:`b` at which it begins.

    Returns
    -------
    Schedule
        Of the step :math:`t`; `initial` up to `begin`, `final` from ``begin + steps``.

    Notes
    -----
    optax: ``polynomial_schedule(initial, final, power, steps, begin)``. torch: ``PolynomialLR(steps, power)``, which
    ends at 0. keras: ``PolynomialDecay(initial, steps, final, power)``, whose `final` is 0.0001 by default.
    """
    initial, final = numbers("polynomial_decay", initial=initial, final=final)
    (power,) = numbers("polynomial_decay", above=0, power=power)
    (steps,) = counts("polynomial_decay", steps=steps)
    (begin,) = counts("polynomial_decay", least=0, begin=begin)
    return lambda step, xp: between(initial, final, remaining(step, begin, begin + steps, xp) ** power)


@makes_schedule
def exponential_decay(
    initial: Number, rate: Number, steps: Number, staircase: bool = False, final: Number | None = None
) -> Formula:
    r"""A factor for every so many steps, gradually or at once.

    .. math:: \eta_t = \eta_0\, r^{t/n} \quad\text{or}\quad \eta_0\, r^{\lfloor t/n \rfloor}

    Parameters
    ----------
    initial : number or scalar variable
        The first value :math:`\eta_0`, in units of the hyper-parameter.
    rate : number or scalar variable
        The factor :math:`r`, positive; above 1, the value grows.
    steps : whole number or scalar variable
        The steps :math:`n` for which the factor stands, at least 1.
    staircase : bool
        Change every `steps` steps only, all at once.
    final : number or scalar variable, optional
        Where to stop: the value does not go beyond. Without it, the value goes on towards 0 or infinity.

    Returns
    -------
    Schedule
        Of the step :math:`t`.

    Raises
    ------
    ValueError
        If `final` is where the value never goes, such as above an `initial` that falls.

    Notes
    -----
    optax: ``exponential_decay(initial, steps, rate, staircase=staircase, end_value=final)``. keras:
    ``ExponentialDecay(initial, steps, rate, staircase)``. torch: ``ExponentialLR(gamma)`` with `rate` its `gamma` and 1
    for `steps`.
    """
    (initial,) = numbers("exponential_decay", initial=initial)
    (rate,) = numbers("exponential_decay", above=0, rate=rate)
    (steps,) = counts("exponential_decay", steps=steps)
    flag("exponential_decay: staircase", staircase)
    if final is not None:
        (final,) = numbers("exponential_decay", final=final)
        if not any(isinstance(x, Variable) for x in (initial, rate, final)):
            if final != initial and (final - initial) * (initial * rate - initial) <= 0:
                raise ValueError(
                    f"exponential_decay: final must be where the rate leads, but from {initial:g} a rate of {rate:g} "
                    f"does not lead to {final:g}; change the rate, or leave final out."
                )

    def formula(step, xp):
        value = initial * rate ** (step // steps if staircase else ratio(step, steps, xp))
        if final is None:
            return value
        falls = initial * rate < initial
        return xp.where(falls, xp.maximum(value, final), xp.minimum(value, final))

    return formula


@makes_schedule
def inverse_time_decay(
    initial: Number, rate: Number, steps: Number = 1, staircase: bool = False, power: Number = 1.0
) -> Formula:
    r"""In inverse proportion to the time, or to a power of it, gradually or at once.

    .. math:: \eta_t = \frac{\eta_0}{(1 + r\, t/n)^p} \quad\text{or}\quad
        \frac{\eta_0}{(1 + r \lfloor t/n \rfloor)^p}

    Parameters
    ----------
    initial : number or scalar variable
        The first value :math:`\eta_0`, in units of the hyper-parameter; by default, it is halved after :math:`n/r`
        steps.
    rate : number or scalar variable
        The rate :math:`r`, positive.
    steps : whole number or scalar variable
        The steps :math:`n` for which the rate stands, at least 1.
    staircase : bool
        Change every `steps` steps only, all at once.
    power : number or scalar variable
        The power :math:`p`, positive. Stochastic approximation converges with a rate of a power above 1/2, up to 1.

    Returns
    -------
    Schedule
        Of the step :math:`t`; it goes on towards 0.

    Notes
    -----
    keras: ``InverseTimeDecay(initial, steps, rate, staircase)``. torch has it as the ``lr_decay`` of its Adagrad.
    Neither has the power.

    A step size :math:`a/(b + t)^p` is ``inverse_time_decay(a / b**p, rate=1.0, steps=b, power=p)``.
    """
    (initial,) = numbers("inverse_time_decay", initial=initial)
    (rate,) = numbers("inverse_time_decay", above=0, rate=rate)
    (power,) = numbers("inverse_time_decay", above=0, power=power)
    (steps,) = counts("inverse_time_decay", steps=steps)
    flag("inverse_time_decay: staircase", staircase)
    return lambda step, xp: (
        initial / (1 + rate * (ratio(step // steps, 1, xp) if staircase else ratio(step, steps, xp))) ** power
    )


@makes_schedule
def inverse_sqrt_decay(initial: Number, steps: Number = 1) -> Formula:
    r"""In inverse proportion to the square root of the time.

    .. math:: \eta_t = \frac{\eta_0}{\sqrt{1 + t/n}}

    Parameters
    ----------
    initial : number or scalar variable
        The first value :math:`\eta_0`, in units of the hyper-parameter.
    steps : whole number or scalar variable
        The time scale :math:`n`, at least 1: after :math:`3n` steps the value is halved. The default gives
        :math:`\eta_0/\sqrt{t + 1}`.

    Returns
    -------
    Schedule
        Of the step :math:`t`; it goes on towards 0.

    Notes
    -----
    After a warm-up of as many steps, ``warmup(inverse_sqrt_decay(peak, n), n)``, the value is
    :math:`\eta_0 \sqrt{n/t}`. The schedule of [1]_, for a model of width :math:`d` with :math:`n` steps of warm-up,
    counts its steps from 1; it is, to the letter,
    ``warmup(inverse_sqrt_decay(peak, n), n - 1, initial=peak / n)`` with ``peak = (d * n) ** -0.5``.

    References
    ----------
    .. [1] A. Vaswani et al. (2017). Attention is all you need. NeurIPS. Section 5.3.
    """
    (initial,) = numbers("inverse_sqrt_decay", initial=initial)
    (steps,) = counts("inverse_sqrt_decay", steps=steps)
    return lambda step, xp: initial / xp.sqrt(1 + ratio(step, steps, xp))


@makes_schedule
def cosine_decay(initial: Number, steps: Number, final: Number = 0.0, exponent: Number = 1.0) -> Formula:
    r"""From one value to another on half a cosine: slowly at first and at last.

    .. math::
        \eta_t = \eta_1 + (\eta_0 - \eta_1) \left( \tfrac12 (1 + \cos \pi x) \right)^p, \qquad
        x = \min\left(\frac tn, 1\right)

    Parameters
    ----------
    initial : number or scalar variable
        The first value :math:`\eta_0`, in units of the hyper-parameter.
    steps : whole number or scalar variable
        The steps :math:`n` that it takes, at least 1.
    final : number or scalar variable
        The last value :math:`\eta_1`, in the same units.
    exponent : number or scalar variable
        The power :math:`p`, positive. The default 1 is the paper's.

    Returns
    -------
    Schedule
        Of the step :math:`t`; `final` from step `steps` on.

    Notes
    -----
    optax: ``cosine_decay_schedule(initial, steps, alpha, exponent)`` and keras: ``CosineDecay(initial, steps, alpha)``,
    with `alpha` the fraction ``final / initial``. torch: ``CosineAnnealingLR(steps, final)``, which rises again after
    `steps`.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter (2017). SGDR: stochastic gradient descent with warm restarts. ICLR.
       arXiv:1608.03983.
    """
    initial, final = numbers("cosine_decay", initial=initial, final=final)
    (exponent,) = numbers("cosine_decay", above=0, exponent=exponent)
    (steps,) = counts("cosine_decay", steps=steps)
    return lambda step, xp: between(initial, final, WEIGHTS["cosine"](progress(step, 0, steps, xp), xp) ** exponent)


@makes_schedule
def cosine_restarts(
    initial: Number, period: Number, multiplier: Number = 2, decay: Number = 1.0, final: Number = 0.0
) -> Formula:
    r"""SGDR: cosine decays one after the other, each longer than the last.

    With :math:`T_i = m^i T` the length of cycle :math:`i = 0, 1, \dots` and :math:`t_i` the steps since it began:

    .. math:: \eta_t = \eta_1 + (\eta_0 - \eta_1)\, d^i\, \tfrac12 \left(1 + \cos \pi \frac{t_i}{T_i}\right)

    Parameters
    ----------
    initial : number or scalar variable
        The value :math:`\eta_0` at the first step, in units of the hyper-parameter.
    period : whole number or scalar variable
        The length :math:`T` of the first cycle in steps, at least 1.
    multiplier : number
        How much longer each cycle is than the last, :math:`m`, at least 1. The default is that of keras; torch's is 1.
        If it is not whole, a cycle that would begin between two steps begins at the nearer one.
    decay : number or scalar variable
        How much lower each cycle begins, :math:`d`, positive. The default 1 is the paper's.
    final : number or scalar variable
        The value :math:`\eta_1` towards which each cycle goes, in units of the hyper-parameter. The step at which it
        would be reached is the first of the next cycle.

    Returns
    -------
    Schedule
        Of the step :math:`t`; it goes on without end.

    Notes
    -----
    torch: ``CosineAnnealingWarmRestarts(period, multiplier, final)``. keras:
    ``CosineDecayRestarts(initial, period, multiplier, decay, alpha)`` with `alpha` the fraction ``final / initial``.
    optax: ``sgdr_schedule``, which takes a list of cycles.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter (2017). SGDR: stochastic gradient descent with warm restarts. ICLR.
       arXiv:1608.03983.
    """
    initial, final = numbers("cosine_restarts", initial=initial, final=final)
    (decay,) = numbers("cosine_restarts", above=0, decay=decay)
    (period,) = counts("cosine_restarts", period=period)
    if isinstance(multiplier, Variable):
        raise TypeError("cosine_restarts: multiplier must be a number, not a variable.")
    (multiplier,) = numbers("cosine_restarts", multiplier=multiplier)
    if multiplier < 1:
        raise ValueError(f"cosine_restarts: multiplier must be at least 1, but it is {multiplier:g}.")

    def formula(step, xp):
        if multiplier == 1:
            cycle = step // period
            x = ratio(step % period, period, xp)
        else:
            # Cycle i begins after T (1 + m + ... + m^(i-1)) steps, where this is m^i.
            def power(step):
                return 1 + (multiplier - 1) * ratio(step, period, xp)

            cycle = xp.floor(xp.log(power(step + 0.5)) / np.log(multiplier))  # half a step later, for logs are rounded
            x = (power(step) / multiplier**cycle - 1) / (multiplier - 1)
        return between(initial, final, decay**cycle * WEIGHTS["cosine"](x, xp))

    return formula


@makes_schedule
def one_cycle(
    peak: Number,
    steps: Number,
    warmup_fraction: Number = 0.3,
    initial_div: Number = 25.0,
    final_div: Number = 1e4,
    kind: Literal["cosine", "linear"] = "cosine",
    return_fraction: Number | None = None,
) -> Formula:
    r"""One cycle: up from a low value to a high one, and down to a very low one.

    .. math::
        0 \to fn: \quad \frac{\eta}{a} \nearrow \eta, \qquad fn \to n: \quad \eta \searrow \frac{\eta}{ab}

    and with a return fraction :math:`r`, in three phases:

    .. math::
        0 \to fn: \quad \frac{\eta}{a} \nearrow \eta, \qquad fn \to rn: \quad \eta \searrow \frac{\eta}{a}, \qquad
        rn \to n: \quad \frac{\eta}{a} \searrow \frac{\eta}{ab}

    Parameters
    ----------
    peak : number or scalar variable
        The highest value :math:`\eta`, in units of the hyper-parameter.
    steps : whole number or scalar variable
        The steps :math:`n` of the cycle, at least 1.
    warmup_fraction : number or scalar variable
        The fraction :math:`f` of the steps that lead up to the peak, between 0 and 1. If :math:`fn` is not whole, the
        peak is between two steps.
    initial_div : number or scalar variable
        What the peak is divided by to give the first value, :math:`a`, positive.
    final_div : number or scalar variable
        What the first value is divided by to give the last, :math:`b`, positive. All defaults are torch's and optax's.
    kind : {"cosine", "linear"}
        The way from one value to the next, half a cosine or a straight line.
    return_fraction : number or scalar variable, optional
        The fraction :math:`r` of the steps after which the value is back at the first, between `warmup_fraction` and 1.
        In the paper the way back is as long as the way up, and the third phase short. Without it, there are two phases.

    Returns
    -------
    Schedule
        Of the step :math:`t`; it stays at the last value from step `steps` on.

    Notes
    -----
    optax: ``cosine_onecycle_schedule(steps, peak, warmup_fraction, initial_div, final_div)``, and
    ``linear_onecycle_schedule`` for the kind ``"linear"`` with a `return_fraction`, 0.85 there by default; both round
    the peak down to a whole step. torch: ``OneCycleLR(peak, total_steps, pct_start, ...)`` reaches the last value one
    step earlier, at the last of `total_steps` updates: give ``total_steps - 1`` for `steps`, and
    ``(pct_start * total_steps - 1) / (total_steps - 1)`` for `warmup_fraction`; for its ``three_phase=True``,
    ``(2 * pct_start * total_steps - 2) / (total_steps - 1)`` for `return_fraction`. It also lowers the momentum as the
    rate rises: ``one_cycle(0.85, ..., initial_div=0.85 / 0.95, final_div=1)`` does so.

    References
    ----------
    .. [1] L. N. Smith and N. Topin (2018). Super-convergence: very fast training of neural networks using large
       learning rates. arXiv:1708.07120.
    """
    (peak,) = numbers("one_cycle", peak=peak)
    (steps,) = counts("one_cycle", steps=steps)
    initial_div, final_div = numbers("one_cycle", above=0, initial_div=initial_div, final_div=final_div)
    (up,) = numbers("one_cycle", above=0, warmup_fraction=warmup_fraction)
    choice("one_cycle", ("cosine", "linear"), kind=kind)
    initial = peak / initial_div
    fractions, values = [up], [initial, peak, initial / final_div]
    if return_fraction is not None:
        fractions += numbers("one_cycle", above=0, return_fraction=return_fraction)
        values.insert(2, initial)
    known = [x for x in fractions if not isinstance(x, Variable)]
    if any(a >= b for a, b in pairwise([*known, 1])):
        raise ValueError(
            "one_cycle: warmup_fraction must be below return_fraction, if that is given, and both below 1, but they "
            f"are {warmup_fraction} and {return_fraction}."
        )
    return interpolated([0, *(x * steps for x in fractions), steps], values, kind)


@makes_schedule
def cyclic(
    low: Number,
    high: Number,
    half_period: Number,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: Number = 1.0,
) -> Formula:
    r"""Up and down between two values on straight lines, again and again.

    With :math:`c = \lfloor t/2s \rfloor` the number of cycles done:

    .. math::
        \eta_t = \eta_0 + (\eta_1 - \eta_0)\, (1 - x)\, a, \qquad
        x = \left| \frac{t - 2 s c}{s} - 1 \right|, \qquad
        a = 1 \quad\text{or}\quad 2^{-c} \quad\text{or}\quad \gamma^t

    Parameters
    ----------
    low, high : number or scalar variable
        The values :math:`\eta_0`, at which cycles begin and end, and :math:`\eta_1`, in units of the hyper-parameter.
        For a momentum that falls while the rate rises, give the larger one first.
    half_period : whole number or scalar variable
        The steps :math:`s` from the one to the other, at least 1.
    mode : {"triangular", "triangular2", "exp_range"}
        What becomes of the height :math:`a`: it stays; is halved after each cycle; or decays by `gamma` in every step.
    gamma : number or scalar variable
        The factor :math:`\gamma` of the mode ``"exp_range"``, positive; of no meaning in the others.

    Returns
    -------
    Schedule
        Of the step :math:`t`; it goes on without end.

    Raises
    ------
    ValueError
        Also if `gamma` is given in a mode that has none.

    Notes
    -----
    torch: ``CyclicLR(low, high, half_period, mode=mode, gamma=gamma)``, without ``step_size_down``.

    References
    ----------
    .. [1] L. N. Smith (2017). Cyclical learning rates for training neural networks. WACV. arXiv:1506.01186.
    """
    low, high = numbers("cyclic", low=low, high=high)
    (half_period,) = counts("cyclic", half_period=half_period)
    (gamma,) = numbers("cyclic", above=0, gamma=gamma)
    choice("cyclic", ("triangular", "triangular2", "exp_range"), mode=mode)
    if mode != "exp_range" and (isinstance(gamma, Variable) or gamma != 1):
        raise ValueError(
            f"cyclic: gamma is of mode 'exp_range' only; give that mode in place of {mode!r}, or no gamma."
        )

    def formula(step, xp):
        height = 1 - abs(ratio(step % (2 * half_period), half_period, xp) - 1)
        if mode == "triangular2":
            height = height * np.float64(0.5) ** (step // (2 * half_period))
        if mode == "exp_range":
            height = height * gamma**step
        return between(high, low, height)

    return formula


@makes_schedule
def warmup(schedule: Hyper, steps: Number, initial: Number = 0.0) -> Formula:
    r"""A straight line to the first value of any schedule, and then that schedule.

    .. math::
        \eta_t = (1 - x)\, \eta_0 + x\, s(\max(t - n, 0)), \qquad x = \min\left(\frac tn, 1\right)

    Parameters
    ----------
    schedule : schedule, number or scalar variable
        What to warm up to, :math:`s`: any callable of the step, or a value to stay at. It begins after the warm-up: it
        is given ``step - steps``, and so ``warmup(cosine_decay(0.1, 900), 100)`` ends at step 1000.
    steps : whole number or scalar variable
        The steps :math:`n` of the warm-up, at least 1.
    initial : number or scalar variable
        The first value :math:`\eta_0`, in units of the hyper-parameter. With the default 0, the first update of a
        learning rate does nothing; ``warmup(peak, steps - 1, initial=peak / steps)`` counts its steps from 1.

    Returns
    -------
    Schedule
        Of the step :math:`t`; :math:`s(0)` is reached at step `steps`.

    Notes
    -----
    optax: ``warmup_constant_schedule(initial, peak, steps)``; ``warmup_cosine_decay_schedule`` with `decay_steps` from
    the first step, warm-up included; ``warmup_exponential_decay_schedule``. keras: ``CosineDecay`` with `warmup_steps`.
    torch: ``SequentialLR`` of a ``LinearLR`` and the other.
    """
    after = part("warmup: schedule", schedule)
    (steps,) = counts("warmup", steps=steps)
    (initial,) = numbers("warmup", initial=initial)
    return lambda step, xp: between(initial, after(xp.maximum(step - steps, 0), xp), 1 - progress(step, 0, steps, xp))


@makes_schedule
def warmup_stable_decay(
    peak: Number,
    warmup: Number,
    stable: Number,
    decay: Number,
    initial: Number = 0.0,
    final: Number = 0.0,
    kind: Literal["linear", "cosine", "sqrt", "exponential"] = "linear",
) -> Formula:
    r"""WSD: a warm-up, a long time at the peak, and a decay.

    .. math::
        0 \to n_1: \quad \eta_0 \nearrow \eta, \qquad n_1 \to n_1 + n_2: \quad \eta, \qquad
        n_1 + n_2 \to n_1 + n_2 + n_3: \quad \eta \searrow \eta_1

    Parameters
    ----------
    peak : number or scalar variable
        The highest value :math:`\eta`, in units of the hyper-parameter.
    warmup : whole number or scalar variable
        The steps :math:`n_1` of the warm-up, on a straight line, at least 1.
    stable : whole number or scalar variable
        The steps :math:`n_2` at the peak, at least 0. A shared variable lets you decide while training when to end
        them.
    decay : whole number or scalar variable
        The steps :math:`n_3` of the decay, at least 1; about a tenth of all is usual.
    initial, final : number or scalar variable
        The first value :math:`\eta_0` and the last :math:`\eta_1`, in the same units.
    kind : {"linear", "cosine", "sqrt", "exponential"}
        The decay, with :math:`x` from 0 to 1: :math:`w \eta + (1 - w) \eta_1` with the weight :math:`w = 1 - x`,
        :math:`\tfrac12 (1 + \cos \pi x)` or :math:`1 - \sqrt x` (recommended by [2]_), or
        :math:`\eta^{1-x} \eta_1^x` (that of [1]_), which takes a positive `final`.

    Returns
    -------
    Schedule
        Of the step :math:`t`; it stays at `final` after the decay.

    Notes
    -----
    optax, torch and keras have to join it from three.

    References
    ----------
    .. [1] S. Hu et al. (2024). MiniCPM: unveiling the potential of small language models with scalable training
       strategies. COLM. arXiv:2404.06395.
    .. [2] A. Hägele et al. (2024). Scaling laws and compute-optimal training beyond fixed training durations. NeurIPS.
       arXiv:2405.18392.
    """
    peak, initial, final = numbers("warmup_stable_decay", peak=peak, initial=initial, final=final)
    warmup, decay = counts("warmup_stable_decay", warmup=warmup, decay=decay)
    (stable,) = counts("warmup_stable_decay", least=0, stable=stable)
    choice("warmup_stable_decay", (*WEIGHTS, "exponential"), kind=kind)
    if kind == "exponential":
        numbers("warmup_stable_decay of kind 'exponential'", above=0, peak=peak, final=final)

    def formula(step, xp):
        rise = between(peak, initial, progress(step, 0, warmup, xp))
        x = progress(step, warmup + stable, warmup + stable + decay, xp)
        if kind == "exponential":
            fall = peak ** (1 - x) * final**x
        else:
            fall = between(peak, final, WEIGHTS[kind](x, xp))
        return xp.where(step < warmup, rise, fall)

    return formula


@makes_schedule
def join(schedules: Iterable[Hyper], boundaries: Iterable[Number]) -> Formula:
    r"""One schedule after the other.

    .. math:: \eta_t = s_i(t - b_i) \quad\text{for}\quad b_i \le t < b_{i+1}, \qquad b_0 = 0,\; b_{n+1} = \infty

    Parameters
    ----------
    schedules : list of schedules, numbers or scalar variables
        What to join, :math:`s_0, \dots, s_n`: callables of the step, each given the steps since its own began, and
        values to stay at.
    boundaries : list of whole numbers or scalar variables
        The steps :math:`b_1, \dots, b_n` at which the schedules after the first begin, increasing, the first at least
        1; one less than schedules.

    Returns
    -------
    Schedule
        Of the step :math:`t`.

    Notes
    -----
    optax: ``join_schedules(schedules, boundaries)``, where numbers are not schedules. torch: ``SequentialLR``.
    """
    boundaries, schedules = pieces("join", boundaries, schedules=schedules)
    formulas = [part(f"join: schedules[{i}]", x) for i, x in enumerate(schedules)]
    begins, ends = [0, *boundaries], [*boundaries, None]

    def formula(step, xp):
        # Every piece is computed at every step: outside its own, at the nearest of them.
        values = [
            piece(xp.maximum(step - begin, 0) if end is None else xp.clip(step - begin, 0, end - begin), xp)
            for piece, begin, end in zip(formulas, begins, ends, strict=True)
        ]
        value = values[0]
        for boundary, following in zip(boundaries, values[1:], strict=True):
            value = xp.where(step < boundary, value, following)
        return value

    return formula


@makes_schedule
def reduce_on_plateau(
    schedule: Hyper,
    loss: Variable,
    factor: Number = 0.1,
    patience: Number = 10,
    rtol: Number = 1e-4,
    atol: Number = 0.0,
    cooldown: Number = 0,
    every: Number = 1,
    minimum: Number = 0.0,
) -> Formula:
    r"""Any schedule, lowered by a factor whenever a loss has stopped to improve.

    .. math:: \eta_t = \max(\eta_{\min},\, s(t)\, \gamma^{n_t})

    with :math:`n_t` the number of plateaus before update :math:`t`. A loss :math:`L` is an improvement if it is less
    than the best one, :math:`L < B - \rho \lvert B \rvert - \alpha`, and a plateau is a number of losses in a row
    that are none.

    Parameters
    ----------
    schedule : schedule, number or scalar variable
        What is lowered, :math:`s`: usually the learning rate, in units of the hyper-parameter.
    loss : scalar variable
        The loss that is watched: that of the minibatch, as trained, or a shared variable that you set to the loss on
        other data from time to time. It is read at each update and counts from the next. For a score that is to grow,
        give its negative.
    factor : number or scalar variable
        The factor :math:`\gamma` of each plateau, positive. The default is torch's and Keras'.
    patience : whole number or scalar variable
        The number of losses in a row without improvement that make a plateau, at least 1. The default is Keras' and
        optax'; torch's lets one more pass than its own number.
    rtol, atol : numbers or scalar variables
        By how much a loss must be less than the best, :math:`\rho` of its size and :math:`\alpha` in its units.
    cooldown : whole number or scalar variable
        The number of losses after a plateau that count for none, at least 0.
    every : whole number or scalar variable
        Take the mean of so many updates for one loss, such as those of an epoch.
    minimum : number or scalar variable
        The least value :math:`\eta_{\min}`, in units of the hyper-parameter.

    Returns
    -------
    Schedule
        Of the symbolic step :math:`t`.

    Notes
    -----
    A loss that is not a number is no improvement.

    State, made by this call and advanced by every updates dict that uses the schedule: ``reduce_on_plateau/scale``
    (:math:`\gamma^{n_t}`), ``best`` (infinite at first), ``bad`` (losses in a row without improvement), ``cooling``
    (what is left of the cooldown), ``sum`` and ``count`` (of the losses for the next mean).

    optax: ``contrib.reduce_on_plateau``, which takes the loss of the very update into account, and for a negative best
    takes slightly larger losses for improvements, as torch does. torch: ``ReduceLROnPlateau(patience=patience - 1)``.
    Keras: the callback of that name, an absolute ``min_delta`` for `atol`, and one loss less of cooldown.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W = pytensor.shared(np.ones(3), name="W")
    >>> loss = 1 + (W**2).sum()
    >>> rate = symupdates.schedules.reduce_on_plateau(0.1, loss, factor=0.5, patience=20)
    >>> updates = symupdates.sgd(loss, [W], learning_rate=rate)
    >>> step = pytensor.function([], loss, updates=updates)
    >>> for _ in range(100):
    ...     last = step()
    >>> float(symupdates.hyperparameters(updates)["sgd/learning_rate"].eval())
    0.0125
    """
    name = "reduce_on_plateau"
    formula = part(f"{name}: schedule", schedule)
    if not isinstance(loss, Variable):
        raise TypeError(f"{name}: loss must be a scalar variable, not {loss!r}.")
    loss = astype(scalar_variable(f"{name}: loss", loss), "float64")
    (factor,) = numbers(name, above=0, factor=factor)
    rtol, atol, minimum = numbers(name, rtol=rtol, atol=atol, minimum=minimum)
    patience, every = counts(name, patience=patience, every=every)
    (cooldown,) = counts(name, least=0, cooldown=cooldown)

    call = Call(name)
    scale = call_state(call, "scale", 1.0, "float64")
    best = call_state(call, "best", np.inf, "float64")
    total = call_state(call, "sum", 0.0, "float64")
    bad, cooling, count = (call_state(call, slot, 0, "int64") for slot in ("bad", "cooling", "count"))

    full = count + 1 >= every
    mean = (total + loss) / astype(count + 1, "float64")
    advance(total, pt.where(full, ZERO, total + loss))
    advance(count, pt.where(full, 0, count + 1))

    improves = mean < best * (1 - rtol * pt.sign(best)) - atol
    in_a_row = pt.where(improves, 0, bad + 1)
    plateau = (in_a_row >= patience) & (cooling <= 0)
    advance(best, pt.where(full & improves, mean, best))
    advance(bad, pt.where(full, pt.where(plateau | (cooling > 0), 0, in_a_row), bad))
    advance(cooling, pt.where(full, pt.where(plateau, cooldown, pt.maximum(cooling - 1, 0)), cooling))
    advance(scale, pt.where(full & plateau, factor * scale, scale))
    return lambda step, xp: xp.maximum(minimum, formula(step, xp) * scale)
