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

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
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
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors, graph_inputs, toposort
from pytensor.scalar import Cast, get_scalar_type, upcast
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.shape import SpecifyShape
from pytensor.tensor.type import DenseTensorType

from symupdates.rows import Lookups, is_rows, whole, written

try:
    from pytensor.conditional import IfElse, ifelse
except ImportError:  # PyTensor before 3.3
    from pytensor.ifelse import IfElse, ifelse

__all__ = ["StateTag", "Step", "awaits", "extend", "get_or_compute_grads", "is_state", "prepare", "require_loss"]


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
        Its initial value: a number; an array, which is broadcast to the shape; or a shared variable, such as the
        parameter itself, whose value it begins with.
    shape
        Its shape, in which an Ellipsis stands for the shape of the parameter; or a function of that shape.
    next_value
        For state that advances by itself, such as a count or a random generator, the expression of its next value:
        every updates dict whose expressions read such state advances it. None for all other.
    """

    rule: str
    slot: str
    parameter: SharedVariable | None
    initial: float | np.ndarray | SharedVariable
    shape: tuple | Callable
    next_value: Variable | None = None


class HyperTag(NamedTuple):
    """What a hyper-parameter is, in the expressions of an updates dict; found as ``variable.tag.symupdates``.

    Attributes
    ----------
    rule, name
        Whose it is, and its name among the arguments.
    position
        Its position among them.
    value
        The scalar variable, before it was cast to the dtype of a parameter.
    given
        What was given for it, in words.
    """

    rule: str
    name: str
    position: int
    value: Variable
    given: str


def is_state(variable):
    """Whether a shared variable is optimizer state (made by a rule or transform), not a parameter."""
    return isinstance(getattr(variable.tag, "symupdates", None), StateTag)


def advances(variable):
    """Whether a variable is state that advances by itself."""
    return is_state(variable) and variable.tag.symupdates.next_value is not None


def initial_value(tag, dtype):
    """The value that a state variable of that tag begins with, for the shape its parameter has now."""
    of_parameter = () if tag.parameter is None else tag.parameter.get_value(borrow=True).shape
    initial = tag.initial.get_value(borrow=True) if isinstance(tag.initial, SharedVariable) else tag.initial
    return np.full(spelled_out(tag.shape, of_parameter), initial, dtype=dtype)


def spelled_out(shape, of_parameter):
    """The shape with that of the parameter in the place of the Ellipsis, or computed from it."""
    if callable(shape):
        return shape(of_parameter)
    return tuple(n for part in shape for n in (of_parameter if part is ... else (part,)))


signature_of = cache(signature)  # of a function when it is first called: a hundred of them at import take a while


def awaits(*data):
    """Decorate a function so that it waits for its data arguments.

    Called without any of them, the function returns a :func:`functools.partial` of itself that holds every other
    argument in ``.keywords``, defaults included; called with only some of them, it raises a ValueError that says which
    are missing.
    """

    def decorate(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            bound = signature_of(function).bind(*args, **kwargs)
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
    """Names for the parameters, all different: their own, or ``param[i]``; where one is shared, ``name[i]``.

    That of rows is the name of their table.
    """
    first = {whole(p): i for i, p in reversed(list(enumerate(params)))}
    tables = sorted(first, key=first.get)
    names = unique_names(p.name or f"param[{first[p]}]" for p in tables)
    names = dict(zip(tables, names, strict=True))
    return [names[whole(p)] for p in params]


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
        if not (isinstance(p, SharedVariable) or (isinstance(p, Variable) and is_rows(p))):
            raise ValueError(
                f"params must contain shared variables only, but params[{i}] is {p!r} ({type(p).__name__}). Make it "
                "one with pytensor.shared(value); for an expression, give the shared variables it is computed from, or "
                "take rows of one by symupdates.rows(table, index)."
            )
    names = parameter_names(params)
    for name, p in zip(names, params, strict=True):
        if reason := untrainable(whole(p)):
            raise TypeError(f"parameter {name} cannot be trained: {reason}.")
    first = {p: i for i, p in reversed(list(enumerate(params)))}
    repeated = [f"params[{i}] is params[{first[p]}] ({p})" for i, p in enumerate(params) if first[p] < i]
    if repeated:
        raise ValueError(
            f"duplicate parameters: {', '.join(repeated)}; give each once, for instance as list(dict.fromkeys(params))."
        )
    if twice := [name for name, p in zip(names, params, strict=True) if is_rows(p) and whole(p) in first]:
        raise ValueError(
            f"both {twice[0]} and rows of it are among the parameters; give the rows alone, or {twice[0]} alone, whose "
            "gradient has what comes from the rows too."
        )
    for name, p in dict(zip(names, map(whole, params), strict=True)).items():
        warn_of_order(name, p)
    return params


def whole_params(rule, params):
    """The parameters, checked, of a rule that takes no rows."""
    params = check_params(params)
    rows = [name for name, p in zip(parameter_names(params), params, strict=True) if is_rows(p)]
    if rows:
        raise only_whole(rule, rows, "it needs its parameters whole")
    return params


def only_whole(rule, tables, reason):
    """The error of a rule that cannot train rows of a table."""
    return TypeError(
        f"{rule} cannot train rows of {', '.join(dict.fromkeys(tables))}: {reason}. Give the table itself; or give the "
        "rows to a rule that goes element by element, such as sgd, adagrad or adam, and the other parameters to this "
        "one (symupdates.partition)."
    )


def warn_of_order(name, p):
    value = p.get_value(borrow=True)
    if isinstance(value, np.ndarray) and value.flags.fnc:
        warnings.warn(
            f"parameter {name} is in Fortran order, and each step on it takes several times as long as in C order: "
            f"{p}.set_value(np.ascontiguousarray({p}.get_value())).",
            stacklevel=2,
        )


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
    params = check_params(params)
    grads = compute_grads(loss_or_grads, params)
    return grads if isinstance(loss_or_grads, list | tuple) else summed_by_row(params, grads)


def lookups_of(params):
    """The rows among the parameters: for each table, which of them."""
    tables = dict.fromkeys(whole(p) for p in params if is_rows(p))
    return {table: [p for p in params if whole(p) is table] for table in tables}


def summed_by_row(params, grads):
    """The gradients, those of rows that were looked up several times in one place, and zero in the others."""
    grads = dict(zip(params, grads, strict=True))
    for several in lookups_of(params).values():
        lookups = Lookups(several)
        grads.update(zip(several, lookups.summed_once([grads[p] for p in several]), strict=True))
    return list(grads.values())


def require_loss(rule, loss_or_grads):
    """The loss, after refusing gradients, which do not tell what a rule has to know of it."""
    if isinstance(loss_or_grads, list | tuple):
        raise TypeError(
            f"{rule} takes the loss, not gradients: it needs the loss itself, for its value, its curvature or its "
            "gradient at other points. Give the scalar loss; transforms of gradients go into the rule that makes the "
            "step, or into the loss. In PyMC's fit, symupdates.pymc.Optimizer has it."
        )
    return loss_or_grads


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
    refuse_more_than_rows(loss, params, names)
    return grads


def refuse_more_than_rows(loss, params, names):
    """Refuse a loss whose gradient reaches a table by another way than the rows that are given."""
    given = [p for p in params if is_rows(p)]
    tables = {whole(p): name for name, p in zip(names, params, strict=True) if is_rows(p)}
    if not tables.keys() & set(ancestors([loss], blockers=given)):
        return
    rest = pytensor.grad(
        loss,
        list(tables),
        consider_constant=given,
        disconnected_inputs="ignore",
        return_disconnected="disconnected",
        null_gradients="return",
    )
    more = [name for name, g in zip(tables.values(), rest, strict=True) if not isinstance(g.type, DisconnectedType)]
    if more:
        raise ValueError(
            f"the loss depends on {', '.join(more)} by more than the rows given, and the gradient of these is not that "
            "of the table. Look up all rows by symupdates.rows, and give every lookup; or give the table itself; or "
            "put disconnected_grad around what is not to be trained."
        )


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
        shape = p.type.shape if is_rows(p) else p.get_value(borrow=True).shape
        if g.ndim != p.ndim or any(None not in (n, m) and n != m for n, m in zip(g.type.shape, shape, strict=True)):
            raise ValueError(
                f"the gradient of {name} has shape {describe_shape(g)}, but {name} has shape {in_brackets(shape)}: "
                "they must be equal, without broadcasting. Are gradients and params in the same order?"
            )


def describe_shape(x):
    return in_brackets(x.type.shape)


def in_brackets(shape):
    return "(" + ", ".join("?" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


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


def largest_dtype(tensors):
    return upcast(*(x.dtype for x in tensors)) if tensors else "float64"


def inner(xs, ys):
    """The inner product of two lists of tensors, as if each were one vector, in the largest dtype."""
    dtype = largest_dtype(xs)
    return sum((total(astype(x, dtype) * astype(y, dtype)) for x, y in zip(xs, ys, strict=True)), pt.constant(0, dtype))


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
    if not key.type.is_super(value.type):
        value = pt.specify_shape(value, key.type.shape)
    # PyTensor refuses an update that is known to have length one where the variable is not.
    return value if key.type.in_same_class(value.type) else pt.second(key, value)


def renewed(key, is_due, value, otherwise=None):
    """`value` for `key` if `is_due`, a boolean scalar; else `otherwise`, by default `key`. Only that is computed.

    So it is on the C backend and, from PyTensor 3.3 on, on NUMBA and JAX. Before, these two compute both always.
    """
    return ifelse(is_due, like(key, value), key if otherwise is None else like(key, otherwise))


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


def rule_state(rule, slot, initial, dtype, shape=()):
    """State that belongs to a rule as a whole."""
    return new_state(f"{rule}/{slot}", StateTag(rule, slot, None, initial, shape), dtype)


def advance(variable, next_value):
    """Let state advance by itself, to that next value, in every updates dict that reads it."""
    variable.tag.symupdates = variable.tag.symupdates._replace(next_value=like(variable, next_value))


def new_clock(rule):
    """A count of the updates made: an int64 scalar, 0 at first, which every updates dict that reads it advances."""
    clock = rule_state(rule, "t", 0, "int64")
    advance(clock, clock + 1)
    return clock


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


def resolve(function, hyper, rule=None, clock=None):
    """The hyper-parameters of a function, checked: a function ``dtype -> tuple of scalars``, in the order given.

    They are tagged as those of `rule`, by default the function. Without a clock, they have one of their own, which the
    updates dict of whatever rule reads them advances.
    """
    rule = rule or function
    clock = clock or cache(partial(new_clock, rule))
    tags = [
        HyperTag(rule, name, i, scalar(f"{function}: {name}", value, clock), in_words(value))
        for i, (name, value) in enumerate(hyper.items())
    ]
    return cache(lambda dtype: tuple(hyper_parameter(tag, dtype) for tag in tags))


def hyper_parameter(tag, dtype):
    """The scalar in that dtype, a variable of its own that carries the tag."""
    x = astype(tag.value, dtype)
    x.tag.symupdates = tag
    return x


def hyper_tags(updates):
    """The hyper-parameters in the expressions of an updates dict, each with its tag."""
    tags = ((v, getattr(v.tag, "symupdates", None)) for v in ancestors(updates.values()))
    return {v: tag for v, tag in tags if isinstance(tag, HyperTag)}


def whole_number(name, value, least=1):
    """A structural argument, after refusing what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return int(value)


def check_optimizer(name, optimizer):
    """Refuse an argument that should be a rule, or whatever stands for one, and cannot be called."""
    if not callable(optimizer):
        raise TypeError(f"{name} must be a rule or another optimizer, not {optimizer!r}.")


def in_words(given):
    if isinstance(given, Variable):
        return str(given)
    if callable(given):
        return getattr(given, "__name__", None) or repr(given)
    return str(given)


# --- The step ---------------------------------------------------------------------------------------------------------


class Step:
    """One training step in the making: what :func:`prepare` and :func:`extend` give a rule to write its math with.

    Iterating gives, for each parameter, ``(parameter, companion, hyper-parameters)``. The companion is the gradient (in
    a rule) or the next value so far (in a transform); the hyper-parameters come as a tuple of scalars, in the order
    they were given. All have the parameter's dtype. ``step[variable] = expression`` sets the next value of a parameter
    or state variable, ``step[variable]`` reads it.

    Attributes
    ----------
    rule : str
        The name under which state is kept: that of the rule or transform, and a number where a dict has several.
    params : list of shared variables
        All parameters. A rule that asks for them needs them whole, and is refused where one is rows of a table.
    hyper : callable
        The hyper-parameters, ``dtype -> tuple of scalars``.
    dtype : str
        The widest dtype of the parameters, for what is computed from all of them.
    t : int64 scalar
        The number of this update, 1 at the first.
    """

    def __init__(self, function, params, companions, hyper, updates=(), names=None, lookups=None):
        self._params = params
        self._lookups = lookups or {}
        self._wholes = {p: self._lookups[p].table for p in self._lookups}
        self._values = {}
        self.dtype = largest_dtype(params)
        self._updates = OrderedDict(updates)
        rules = {v.tag.symupdates.rule for v in self._updates if is_state(v)}
        self.rule = next(r for r in numbered(function.removeprefix("apply_")) if r not in rules)
        self._companions = companions
        names = names or parameter_names([self._wholes.get(p, p) for p in params])
        self._names = dict(zip(params, names, strict=True))
        self._taken = {v.name for v in self._updates} | set(self._names.values())
        self._clock = cache(partial(new_clock, self.rule))
        self.hyper = resolve(function, hyper, self.rule, self._clock)
        self._corrections = {}

    def __iter__(self):
        for p, companion in zip(self._params, self._companions, strict=True):
            yield p, companion, self.hyper(p.dtype)

    def __setitem__(self, variable, value):
        value = like(variable, value)
        if self._lookups:
            self._refuse_unless_by_element(value, variable in self._wholes)
        if variable in self._wholes:
            self._values[variable] = value
            # Of a cast, PyTensor before 3.3 does not see that it is a sum with what stands there: it would add to the
            # rows in place of setting them, once for each lookup.
            value = astype(value, value.dtype)
            self._updates[self._wholes[variable]] = self._lookups[variable].write(self._wholes[variable], value)
        else:
            self._updates[variable] = value

    def __getitem__(self, variable):
        return self._values[variable] if variable in self._values else self._updates[variable]

    @property
    def params(self):
        if self._lookups:
            self._refuse_rows("it needs its parameters whole")
        return self._params

    @property
    def t(self):
        return self._clock() + 1

    def state(self, p, slot, initial=0.0, shape=(...,), dtype=None):
        """A new state variable.

        Parameters
        ----------
        p : shared variable
            The parameter it is kept for; None for what belongs to the rule as a whole.
        slot : str
            Its role; the variable is named ``<parameter>/<rule>/<slot>``, or ``<rule>/<slot>``.
        initial : float, array or shared variable
            Its initial value; an array is broadcast to the shape. Of a shared variable, such as the parameter, it is
            the value that one has, now and whenever state is reset.
        shape : tuple or callable
            Its shape, in which an Ellipsis stands for that of the parameter: ``(...,)`` by default, ``()`` for a
            scalar, ``(..., 10)`` for ten values for each element. Or a function of the parameter's shape, of whose
            elements some may be None.
        dtype : str, optional
            Its dtype; by default the parameter's, or the widest of all parameters.

        Returns
        -------
        tensor variable
            The shared variable. Where the parameter is rows of a table, the shared variable is for all of it, and what
            is returned are its rows.
        """
        owner = "" if p is None else f"{self._names[p]}/"
        name = self._unique(f"{owner}{self.rule}/{slot}")
        dtype = dtype or (self if p is None else p).dtype
        if isinstance(initial, Variable):
            initial = self._wholes.get(initial, initial)
        lookups = self._lookups.get(p)
        if lookups is None:
            return new_state(name, StateTag(self.rule, slot, p, initial, shape), dtype)
        if shape not in ((...,), ()):
            self._refuse_rows(f"its {slot} is not a number for each element")
        variable = new_state(name, StateTag(self.rule, slot, lookups.table, initial, shape), dtype)
        if shape == ():
            return variable
        at_rows = lookups.read(variable)
        self._lookups[at_rows] = lookups
        self._wholes[at_rows] = variable
        return at_rows

    def shape(self, p):
        """The shape that a parameter has now: in numbers, for a rule that depends on them."""
        if p in self._lookups:
            self._refuse_rows("it goes by the shape of the whole parameter")
        return p.get_value(borrow=True).shape

    def gradients_at(self, points):
        """The gradients where parameters have other values.

        Parameters
        ----------
        points : dict
            For parameters, the values they are to have, as expressions. All other inputs of the loss are the same, and
            what it draws of random generators too.

        Returns
        -------
        dict
            For each parameter the gradient there.
        """
        there = {p: like(p, value) for p, value in points.items()}
        return dict(zip(self.params, graph_replace(self._companions, there, strict=False), strict=True))

    def count(self, slot):
        """A new count that belongs to the rule as a whole: an int64 scalar, 0 at first."""
        return self.state(None, slot, 0, (), "int64")

    def bias_correction(self, beta, t=None):
        r""":math:`1 - \beta^t`, what a moving average from zero has gathered of its weights after update `t`.

        `t` is that of the step, unless it is given: for an average that began later.

        In the dtype of `beta` and exact to it at any `t`, which a power of a float32 near one is not: it is
        computed as ``-expm1(t * log(beta))`` from the integer `t`.
        """
        if (beta, t) not in self._corrections:
            count = astype(self.t if t is None else t, beta.dtype)
            self._corrections[beta, t] = -pt.expm1(count * pt.log(beta))
        return self._corrections[beta, t]

    def total(self, tensors):
        """The sum of all elements of some tensors, such as one for each parameter, in the widest dtype of these."""
        return sum((total(astype(x, self.dtype)) for x in tensors), astype(pt.constant(0), self.dtype))

    def hold(self, is_open):
        """Let nothing of the parameters change unless `is_open`, a boolean scalar.

        Their values stand still, and so does all state that is kept for them, and what belongs to a rule as a whole,
        such as its count, unless something that goes on reads it. Random generators always advance: a gate that closed
        because of the numbers drawn would else meet the same numbers again.
        """
        updates = self._updates
        members = {None, *self.params}
        held = {v for v in updates if v in members or (is_state(v) and v.tag.symupdates.parameter in members)}
        held -= {v for v in held if is_state(v) and v.tag.symupdates.slot == "rng"}
        moving = [v for v in updates if v not in held]
        while moving:
            read = set(graph_inputs([updates[v] for v in moving])) & held
            moving = [v for v in read if is_state(v) and v.tag.symupdates.parameter is None]
            held.difference_update(moving)
        for variable in updates:
            if variable in held and (rows := written(variable, updates[variable])):
                index, values = rows
                at_rows = variable[index]
                self[variable] = pt.set_subtensor(at_rows, pt.switch(is_open, values, at_rows))
            elif variable in held:
                self[variable] = pt.switch(is_open, updates[variable], variable)

    def finish(self, params_first=False):
        """The updates dict: what was set, in that order, and last the state that advances by itself.

        All such state that the expressions read, and those of its own advance, is found: the dict is closed. What
        belongs to the rule as a whole comes after what belongs to the parameters, and counts come last; where there is
        nothing else, the dict is empty.

        Parameters
        ----------
        params_first : bool
            Put the entries of the parameters before those of the state.
        """
        updates = OrderedDict(sorted(self._updates.items(), key=lambda item: params_first and is_state(item[0])))
        of_rule = [v for v in updates if is_state(v) and v.tag.symupdates[:3:2] == (self.rule, None)]
        if len(of_rule) == len(updates):
            return OrderedDict()
        for variable in of_rule:
            updates.move_to_end(variable)
        unread = updates.values()
        while found := [v for v in dict.fromkeys(graph_inputs(unread)) if advances(v) and v not in updates]:
            for variable in sorted(found, key=lambda v: v.tag.symupdates.slot == "t"):
                variable.name = self._unique(variable.name)
                updates[variable] = variable.tag.symupdates.next_value
            unread = [updates[variable] for variable in found]
        return updates

    def _refuse_unless_by_element(self, value, of_rows):
        """Refuse what a rule computes of rows, unless each element is computed of the same element."""
        grads = (g for p, g in zip(self._params, self._companions, strict=True) if p in self._lookups)
        sources = {*self._lookups, *grads}
        reached = set(sources)
        for node in toposort([value], blockers=sources):
            if reached.isdisjoint(node.inputs):
                continue
            by_element = isinstance(node.op, Elemwise | SpecifyShape) or (
                isinstance(node.op, IfElse) and node.inputs[0] not in reached
            )
            if not by_element:
                self._refuse_rows(f"what it computes of one element depends on others (by {node.op})")
            reached.update(node.outputs)
        if value in reached and not of_rows:
            self._refuse_rows("it computes what is common to all rows of some")

    def _refuse_rows(self, reason):
        raise only_whole(self.rule, [self._names[p] for p in self._params if p in self._lookups], reason)

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
    params, grads, lookups = by_table(params, grads)
    return Step(rule, params, grads, hyper, lookups=lookups)


def by_table(params, grads):
    """The parameters and their gradients, with one parameter in the place of all lookups in a table.

    That is the rows themselves, those of all lookups one after the other. Last, a dict from it to its lookups.
    """
    of = dict(zip(params, grads, strict=True))
    lookups = {}
    entries = {}
    for p in params:
        several = [q for q in params if whole(q) is whole(p)]
        if not is_rows(p):
            entries[p] = of[p]
        elif p is several[0]:
            found = Lookups(several)
            # Not the variable of the model itself, which a schedule may read by way of the loss.
            at_rows = found.flat(several).copy()
            lookups[at_rows] = found
            entries[at_rows] = found.summed([of[q] for q in several])
    return list(entries), list(entries.values()), lookups


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
        params = list(dict.fromkeys(map(whole, check_params(params))))
    absent = [name for name, p in zip(parameter_names(params), params, strict=True) if p not in updates]
    if absent:
        raise ValueError(
            f"{transform}: {', '.join(absent)} not among the updates; give params that the dict updates, or none for "
            "all of them."
        )
    every += [p for p in params if p not in every]
    names = dict(zip(every, parameter_names(every), strict=True))
    return Step(transform, params, [like(p, updates[p]) for p in params], hyper, updates, [names[p] for p in params])
