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
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from functools import cache, partial, wraps
from inspect import signature
from numbers import Number
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.null_type import NullType
from pytensor.graph.traversal import graph_inputs
from pytensor.scalar import Cast, get_scalar_type
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import DenseTensorType

__all__ = ["StateTag", "Step", "awaits", "extend", "get_or_compute_grads", "is_state", "prepare"]


class StateTag(NamedTuple):
    """What a state variable is for; found as ``variable.tag.symupdates``.

    Attributes
    ----------
    rule
        The rule or transform that keeps it, as in the variable's name.
    slot
        Its role in that rule: ``"accu"``, ``"velocity"``, ``"m"``; ``"t"`` for the count of the updates made.
    parameter
        The parameter it belongs to; None for what belongs to the rule as a whole, such as the count.
    initial
        Its initial value: a number, or an array that is broadcast to the shape.
    shape
        Its shape, in which an Ellipsis stands for the shape of the parameter.
    """

    rule: str
    slot: str
    parameter: SharedVariable | None
    initial: float | np.ndarray
    shape: tuple


def is_state(variable):
    """Whether a shared variable is optimizer state (made by a rule or transform), not a parameter."""
    return isinstance(getattr(variable.tag, "symupdates", None), StateTag)


def initial_value(tag, dtype):
    """The value that a state variable of that tag begins with, for the shape its parameter has now."""
    of_parameter = () if tag.parameter is None else tag.parameter.get_value(borrow=True).shape
    return np.full(spelled_out(tag.shape, of_parameter), tag.initial, dtype=dtype)


def spelled_out(shape, of_parameter):
    """The shape with that of the parameter in the place of the Ellipsis."""
    return tuple(n for part in shape for n in (of_parameter if part is ... else (part,)))


def awaits(*data):
    """Decorate a function so that it waits for its data arguments.

    Called without any of them, the function returns a :func:`functools.partial` of itself that holds every other
    argument in ``.keywords``, defaults included; called with only some of them, it raises a ValueError that says which
    are missing.
    """

    def decorate(function):
        sig = signature(function)

        @wraps(function)
        def wrapper(*args, **kwargs):
            bound = sig.bind(*args, **kwargs)
            bound.apply_defaults()
            missing = [name for name in data if bound.arguments[name] is None]
            if not missing:
                return function(*bound.args, **bound.kwargs)
            others = {name: value for name, value in bound.arguments.items() if name not in data}
            if len(missing) == len(data):
                return partial(wrapper, **others)
            name = function.__name__
            raise ValueError(
                f"{name}: {' and '.join(missing)} missing. Give {' and '.join(data)} together for the updates; or none "
                "of them, and the others by keyword, for a partial that waits for them: "
                f"{name}({', '.join(f'{other}=...' for other in others)})."
            )

        return wrapper

    return decorate


# --- Parameters and gradients -----------------------------------------------------------------------------------------


def parameter_names(params):
    """Names for the parameters, all different: their own, or ``param[i]``; where one is shared, ``name[i]``."""
    return unique_names(p.name or f"param[{i}]" for i, p in enumerate(params))


def unique_names(names):
    """The names in a list, those that repeat with their position, ``name[i]``."""
    names = list(names)
    while len(set(names)) < len(names):
        count = Counter(names)
        names = [name if count[name] == 1 else f"{name}[{i}]" for i, name in enumerate(names)]
    return names


def check_params(params):
    """The parameters as a list, after refusing whatever cannot be trained, by name and with the way out."""
    if isinstance(params, Variable) or not isinstance(params, Iterable):
        remedy = f"; write [{params}]" if isinstance(params, SharedVariable) else ""
        raise TypeError(f"params must be a list (or any iterable) of shared variables, not {params!r}{remedy}.")
    params = list(params)
    for i, p in enumerate(params):
        if not isinstance(p, SharedVariable):
            raise ValueError(
                f"params must contain shared variables only, but params[{i}] is {p!r} ({type(p).__name__}). Make it "
                "one with pytensor.shared(value); for an expression, give the shared variables it is computed from."
            )
    names = parameter_names(params)
    for name, p in zip(names, params, strict=True):
        if reason := untrainable(p):
            raise TypeError(f"parameter {name} cannot be trained: {reason}.")
    first = {p: i for i, p in reversed(list(enumerate(params)))}
    repeated = [f"params[{i}] is params[{first[p]}] ({p})" for i, p in enumerate(params) if first[p] < i]
    if repeated:
        raise ValueError(
            f"duplicate parameters: {', '.join(repeated)}; give each once, for instance as list(dict.fromkeys(params))."
        )
    return params


def untrainable(p):
    """Why a shared variable cannot be a parameter, and what to do about it; None if it can."""
    if isinstance(p.type, RandomType):
        return "it is a random generator, which is advanced and not trained; leave it out of params"
    if not isinstance(p.type, DenseTensorType):
        return (
            f"it has type {p.type}, not a dense tensor; for a sparse matrix, train the vector of its values and build "
            "the matrix in the loss (pytensor.sparse.CSR)"
        )
    if p.dtype == "float16":
        return (
            "its dtype is float16, which NUMBA lacks and in which an epsilon of 1e-8 is zero; keep it as float32 and "
            "cast to float16 in the model"
        )
    if p.dtype.startswith("complex"):
        return f"its dtype is {p.dtype}; train the real and the imaginary part as two parameters"
    if p.dtype not in ("float32", "float64"):
        return (
            f"its dtype is {p.dtype}, and steps on integers or booleans would be cut to zero; if it is a parameter, "
            "make it float: pytensor.shared(value.astype('float32'))"
        )
    return None


def get_or_compute_grads(loss_or_grads, params):
    """Return gradients as given, or the gradients of a loss.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        A loss to be differentiated, or one gradient per parameter, in the order of `params`.
    params : iterable of shared variables
        The parameters: float32 or float64, each once.

    Returns
    -------
    list of tensor variables
        One gradient per parameter. A list that was given is returned as it is, the same object; a tuple as a list.

    Raises
    ------
    ValueError
        For a parameter that is not a shared variable or stands there twice; a number of gradients that is not the
        number of parameters; a gradient that is None or cannot have its parameter's shape; a loss that is not a
        scalar; parameters that the loss does not depend on (all of them are named).
    TypeError
        For a parameter that is not a dense float32 or float64 tensor; a loss or gradient that is not real, or not a
        tensor variable.
    """
    return compute_grads(loss_or_grads, check_params(params))


def compute_grads(loss_or_grads, params):
    names = parameter_names(params)
    if isinstance(loss_or_grads, list | tuple):
        check_grads(loss_or_grads, params, names)
        return loss_or_grads if isinstance(loss_or_grads, list) else list(loss_or_grads)
    loss = loss_or_grads
    if not (isinstance(loss, Variable) and isinstance(loss.type, DenseTensorType)):
        raise TypeError(
            f"the loss must be a scalar tensor variable, or give a list or tuple of gradients; got {loss!r}."
        )
    if loss.ndim != 0:
        raise ValueError(
            f"the loss must be a scalar, but {loss} has {loss.ndim} dimension(s); reduce it, with loss.mean() or "
            "loss.sum()."
        )
    if not loss.dtype.startswith("float"):
        raise TypeError(f"the loss must be real and continuous, but {loss} has dtype {loss.dtype}.")
    if not params:
        return []
    grads = pytensor.grad(
        loss, params, disconnected_inputs="ignore", return_disconnected="disconnected", null_gradients="return"
    )
    unreached = [name for name, g in zip(names, grads, strict=True) if isinstance(g.type, DisconnectedType)]
    if unreached:
        raise ValueError(
            f"the loss does not depend on {', '.join(unreached)}: no gradient reaches there. Take them out of params, "
            "or look in the loss for another variable in their place, or for disconnected_grad, an integer cast or "
            "argmax."
        )
    for name, g in zip(names, grads, strict=True):
        if isinstance(g.type, NullType):
            raise ValueError(f"the gradient of the loss with respect to {name} is undefined: {g.type.why_null}")
    return grads


def check_grads(grads, params, names):
    if len(grads) != len(params):
        raise ValueError(
            f"got {len(grads)} gradient expressions for {len(params)} parameters ({', '.join(names)}); "
            "give one for each, in the same order."
        )
    for name, p, g in zip(names, params, grads, strict=True):
        if g is None:
            raise ValueError(
                f"the gradient of {name} is None: the loss does not depend on it. Take it out of params, or give "
                f"pt.zeros_like({name})."
            )
        if not isinstance(g, Variable | np.ndarray | Number):
            raise TypeError(f"the gradient of {name} must be a tensor variable, not {g!r} ({type(g).__name__}).")
        if isinstance(g, Variable) and not isinstance(g.type, DenseTensorType):
            raise TypeError(f"the gradient of {name} must be a dense tensor variable, but it has type {g.type}.")
        g = pt.as_tensor_variable(g)
        if g.dtype.startswith("complex"):
            raise TypeError(f"the gradient of {name} is complex ({g.dtype}); give its real part.")
        shape = p.get_value(borrow=True).shape
        if g.ndim != p.ndim or any(n is not None and n != m for n, m in zip(g.type.shape, shape, strict=True)):
            raise ValueError(
                f"the gradient of {name} has shape {describe_shape(g)}, but {name} has shape {shape}: they must be "
                "equal, without broadcasting. Are gradients and params in the same order?"
            )


def describe_shape(x):
    return "(" + ", ".join("?" if n is None else str(n) for n in x.type.shape) + ("," if x.ndim == 1 else "") + ")"


# --- Types ------------------------------------------------------------------------------------------------------------


def astype(x, dtype):
    """Cast `x`, at run time too.

    The cast stays in the graph where the dtype is already right by the types, for two reasons. On JAX, a float32 sum
    returns its float64 accumulator, and whatever is computed from it would turn parameters into float64. On the C
    backend, the BLAS rewrites would fold a scalar that multiplies ``dot(x, y)`` into a second matrix product. Rewrites
    remove only casts of casts, and in a fused loop this one costs nothing.
    """
    if isinstance(x, Constant):
        return pt.constant(np.asarray(x.data, dtype=dtype), name=x.name)
    return Elemwise(Cast(get_scalar_type(dtype)))(x)


def total(x, axis=None, keepdims=False):
    """The sum of `x`, in its dtype at run time too (see :func:`astype`)."""
    return astype(pt.sum(x, axis=axis, keepdims=keepdims), x.dtype)


def like(key, value):
    """`value` with the type of `key`, for the update of `key`."""
    value = pt.as_tensor_variable(value)
    if value.ndim != key.ndim or any(
        None not in (n, m) and n != m for n, m in zip(value.type.shape, key.type.shape, strict=True)
    ):
        raise ValueError(
            f"the next value of {key} has shape {describe_shape(value)}, but {key} has shape {describe_shape(key)}."
        )
    if value.dtype != key.dtype:
        value = astype(value, key.dtype)
    return value if key.type.is_super(value.type) else pt.specify_shape(value, key.type.shape)


def gradient_of(p, g):
    """`g` in the dtype of `p`, and with its axes of length one: those that the arithmetic would take as unknown."""
    g = astype(pt.as_tensor_variable(g), p.dtype)
    axes = [i for i, n in enumerate(p.type.shape) if n == 1 and g.type.shape[i] is None]
    return pt.specify_broadcastable(g, *axes) if axes else g


# --- Hyper-parameters and clocks --------------------------------------------------------------------------------------


def new_state(name, tag, dtype):
    static = spelled_out(tag.shape, () if tag.parameter is None else tag.parameter.type.shape)
    variable = pytensor.shared(initial_value(tag, dtype), name=name, shape=static)
    variable.tag.symupdates = tag
    return variable


def new_clock(rule):
    """A count of the updates made: an int64 scalar, 0 at first, which every updates dict that reads it advances."""
    return new_state(f"{rule}/t", StateTag(rule, "t", None, 0, ()), "int64")


def is_clock(variable):
    return is_state(variable) and variable.tag.symupdates[1:3] == ("t", None)


def scalar(name, value, clock=None):
    """A hyper-parameter as a scalar tensor variable, after refusing what cannot be one.

    Parameters
    ----------
    name : str
        Its name, for the errors.
    value : number, NumPy scalar, 0-d array, scalar variable, or callable
        The hyper-parameter. A callable is a schedule: it is called with the clock.
    clock : callable, optional
        Makes the clock, at the first call, and returns it. Without it, schedules are refused.
    """
    if callable(value) and not isinstance(value, Variable):
        if clock is None:
            raise TypeError(f"{name} cannot be a schedule here: no updates dict advances its step.")
        try:
            value = value(clock())
        except Exception as error:
            error.add_note(f"Raised by the schedule of {name}, called with its step, an int64 scalar variable.")
            raise
        return scalar(f"the value of the schedule of {name}", value)
    if isinstance(value, Variable):
        x = value
    else:
        try:
            value = np.asarray(value)
        except ValueError:
            value = np.asarray(value, dtype=object)
        x = pt.constant(value, name=name) if value.dtype.kind in "fiu" else value
    if getattr(x, "ndim", None) != 0:
        raise ValueError(
            f"{name} must be a scalar, but it is {value!r}; for rates that differ between parameters, call the rule "
            "once for each group and merge the dicts."
        )
    if not isinstance(x, Variable) or not isinstance(x.type, DenseTensorType) or np.dtype(x.dtype).kind not in "fiu":
        raise TypeError(
            f"{name} must be a real number, a scalar variable, or a schedule (a callable step -> value), not {value!r}."
        )
    return x


def resolve(function, hyper, clock=None):
    """The hyper-parameters of a function, checked: a function ``dtype -> tuple of scalars``, in the order given.

    Without a clock they have one of their own, named after the function, which the updates dict of whatever rule reads
    them advances.
    """
    clock = clock or cache(partial(new_clock, function))
    scalars = [scalar(f"{function}: {name}", value, clock) for name, value in hyper.items()]
    return cache(lambda dtype: tuple(astype(x, dtype) for x in scalars))


# --- The step ---------------------------------------------------------------------------------------------------------


class Step:
    """One training step in the making: what :func:`prepare` and :func:`extend` give a rule to write its math with.

    Iterating gives, for each parameter, ``(parameter, companion, hyper-parameters)``. The companion is the gradient (in
    a rule) or the next value so far (in a transform); the hyper-parameters come as a tuple of scalars, in the order
    they were given. All have the parameter's dtype. ``step[variable] = expression`` sets the next value of a parameter
    or state variable, ``step[variable]`` reads it.

    Attributes
    ----------
    params : list of shared variables
    t : int64 scalar
        The number of this update, 1 at the first.
    """

    def __init__(self, function, params, companions, hyper, updates=(), names=None):
        self.params = params
        self._updates = OrderedDict(updates)
        rules = {v.tag.symupdates.rule for v in self._updates if is_state(v)}
        self._rule = next(r for r in numbered(function.removeprefix("apply_")) if r not in rules)
        self._companions = companions
        self._names = dict(zip(params, names or parameter_names(params), strict=True))
        self._taken = {v.name for v in self._updates} | set(self._names.values())
        self._clock = cache(partial(new_clock, self._rule))
        self._hyper = resolve(function, hyper, self._clock)
        self._corrections = {}

    def __iter__(self):
        for p, companion in zip(self.params, self._companions, strict=True):
            yield p, companion, self._hyper(p.dtype)

    def __setitem__(self, variable, value):
        self._updates[variable] = like(variable, value)

    def __getitem__(self, variable):
        return self._updates[variable]

    @property
    def t(self):
        return self._clock() + 1

    def state(self, p, slot, initial=0.0, shape=(...,), dtype=None):
        """A new state variable for parameter `p`.

        Parameters
        ----------
        p : shared variable
            The parameter it is kept for.
        slot : str
            Its role; the variable is named ``<parameter>/<rule>/<slot>``.
        initial : float or array
            Its initial value; an array is broadcast to the shape.
        shape : tuple
            Its shape, in which an Ellipsis stands for that of the parameter: ``(...,)`` by default, ``()`` for a
            scalar, ``(..., 10)`` for ten values for each element.
        dtype : str, optional
            Its dtype; the parameter's by default.
        """
        name = self._unique(f"{self._names[p]}/{self._rule}/{slot}")
        return new_state(name, StateTag(self._rule, slot, p, initial, shape), dtype or p.dtype)

    def bias_correction(self, beta):
        r""":math:`1 - \beta^t`, what a moving average from zero has gathered of its weights after update `t`.

        In the dtype of `beta` and exact to it at any `t`, which a power of a float32 near one is not: it is
        computed as ``-expm1(t * log(beta))`` from the integer `t`.
        """
        if beta not in self._corrections:
            self._corrections[beta] = -pt.expm1(astype(self.t, beta.dtype) * pt.log(beta))
        return self._corrections[beta]

    def finish(self, params_first=False):
        """The updates dict: what was set, in that order, and last the clocks that its expressions read, all of them.

        Parameters
        ----------
        params_first : bool
            Put the entries of the parameters before those of the state.
        """
        updates = OrderedDict(sorted(self._updates.items(), key=lambda item: params_first and is_state(item[0])))
        for variable in graph_inputs(updates.values()):
            if is_clock(variable) and variable not in updates:
                variable.name = self._unique(variable.name)
                updates[variable] = variable + 1
        return updates

    def _unique(self, name):
        name = next(n for n in numbered(name) if n not in self._taken)
        self._taken.add(name)
        return name


def numbered(name):
    """The name, then ``name_2``, ``name_3`` …"""
    yield name
    n = 2
    while True:
        yield f"{name}_{n}"
        n += 1


def prepare(rule, loss_or_grads, params, **hyper):
    """Begin a rule: check its arguments, differentiate the loss, and resolve the hyper-parameters.

    Parameters
    ----------
    rule : str
        The rule's name, for the names of its state.
    loss_or_grads, params
        As in :func:`get_or_compute_grads`, with the errors described there.
    **hyper : number, NumPy scalar, 0-d array, scalar variable, or schedule
        The hyper-parameters, in the order in which the step is to give them. A schedule is a callable that takes the
        number of updates made, an int64 scalar variable (0 at the first update), and returns the value.

    Returns
    -------
    Step
        Iterates over ``(parameter, gradient, hyper-parameters)``.
    """
    params = check_params(params)
    grads = [gradient_of(p, g) for p, g in zip(params, compute_grads(loss_or_grads, params), strict=True)]
    return Step(rule, params, grads, hyper)


def extend(transform, updates, params=None, **hyper):
    """Begin a transform of an updates dict, which is copied and never changed.

    Parameters
    ----------
    transform : str
        The transform's name; without ``apply_``, it is part of the names of its state.
    updates : dict
        The updates to transform: shared variables and their next values.
    params : iterable of shared variables, or callable, optional
        The parameters to transform, or a function that says of a parameter whether it is to be; all that the dict
        updates by default, and never optimizer state. They are known by exclusion (float keys without a state's tag),
        so give `params` if the dict also updates float variables of your own that are not parameters.
    **hyper
        As for :func:`prepare`.

    Returns
    -------
    Step
        Iterates over ``(parameter, next value so far, hyper-parameters)``; it already holds all updates.
    """
    if not isinstance(updates, dict):
        raise TypeError(
            f"{transform}: updates must be a dict of shared variables and their next values, not {updates!r}."
        )
    every = [v for v in updates if isinstance(v, SharedVariable) and not is_state(v) and untrainable(v) is None]
    if params is None:
        params = every
    elif callable(params) and not isinstance(params, Variable):
        params = [p for p in every if params(p)]
    else:
        params = check_params(params)
    absent = [name for name, p in zip(parameter_names(params), params, strict=True) if p not in updates]
    if absent:
        raise ValueError(
            f"{transform}: {', '.join(absent)} not among the updates; give params that the dict updates, or none for "
            "all of them."
        )
    every += [p for p in params if p not in every]
    names = dict(zip(every, parameter_names(every), strict=True))
    return Step(transform, params, [like(p, updates[p]) for p in params], hyper, updates, [names[p] for p in params])
