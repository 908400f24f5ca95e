"""What ``theano`` itself has: functions and their inputs, shared variables, loops, and copies of graphs."""

import warnings
from collections import OrderedDict
from contextlib import contextmanager
from inspect import signature

import pytensor
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.compile.ops import wrap_py
from pytensor.graph.basic import Constant, equal_computations
from pytensor.graph.basic import Variable as PlainVariable
from pytensor.graph.replace import graph_replace
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.scan import views
from pytensor.tensor.type import DenseTensorType

from symupdates.core import like
from symupdates.theano.parts.compat import _asarray as _asarray
from symupdates.theano.parts.debugging import compute_behind, no_test_values

__all__ = [
    "Function",
    "In",
    "OpRemove",
    "OrderedUpdates",
    "Param",
    "Variable",
    "ancestors",
    "as_op",
    "clone",
    "dot",
    "foldl",
    "foldr",
    "function",
    "inputs",
    "is_same_graph",
    "local_optimizer",
    "map",
    "reduce",
    "scan",
    "shared",
]

OrderedUpdates = OrderedDict


class AnyVariable(type(PlainVariable)):
    def __instancecheck__(cls, x):
        return isinstance(x, PlainVariable)


class Variable(PlainVariable, metaclass=AnyVariable):
    """Any variable; ``Variable(type)`` is one that nothing computes, where PyTensor's class asks for an owner too."""

    def __init__(self, type, owner=None, index=None, name=None):
        super().__init__(type, owner, index, name)


@contextmanager
def without_warning(*messages):
    """Silence deprecations of PyTensor's, of what is asked for here in the name of the legacy code."""
    with warnings.catch_warnings():
        for message in messages:
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


# --- Functions --------------------------------------------------------------------------------------------------------


class In(pytensor.In):
    """An input of a function, with a default value, and a value that the function updates, as in Theano.

    Parameters
    ----------
    variable : variable
        What is replaced by the value given.
    name : str, optional
        Its name as a keyword; by default the variable's.
    value : optional
        What it is when nothing is given.
    update : variable, optional
        What `value` becomes after each call; the function keeps it.
    mutable, strict, allow_downcast, autoname, implicit, borrow, shared
        As for :class:`pytensor.In`.
    """

    def __init__(self, variable, name=None, value=None, update=None, **kwargs):
        super().__init__(variable, name=name, **kwargs)
        self.default = value
        self.next_value = update
        if update is not None and value is None:
            raise ValueError(f"the input {variable} has an update, and so needs a value to begin with: give value.")


class Param(In):
    """The same by Theano's older name, with `default` for the value."""

    def __init__(self, variable, default=None, name=None, mutable=False, strict=False, **kwargs):
        super().__init__(variable, name=name, value=default, mutable=mutable, strict=strict, **kwargs)


def function(
    inputs,
    outputs=None,
    mode=None,
    updates=None,
    givens=None,
    no_default_updates=False,
    accept_inplace=False,
    name=None,
    rebuild_strict=True,
    allow_input_downcast=None,
    profile=None,
    on_unused_input=None,
):
    """Compile a function, with Theano's arguments.

    Parameters
    ----------
    inputs : list
        Variables, and :class:`In` for those with a default or an update.
    outputs : variable, list, dict of str to variable, or None
        For a dict, the function returns one.
    mode, updates, givens, no_default_updates, accept_inplace, name, rebuild_strict
        As for :func:`pytensor.function`, to which they go.
    allow_input_downcast, profile, on_unused_input
        As well.

    Returns
    -------
    callable
        PyTensor's compiled function; a :class:`Function` around it where inputs have values, or outputs names.

    Raises
    ------
    TypeError
        If `inputs` is no list.
    """
    if not isinstance(inputs, list | tuple):
        raise TypeError(f"function: inputs must be a list of variables, not {inputs!r}; write [{inputs}].")
    keys = sorted(outputs) if isinstance(outputs, dict) else None
    if keys is not None:
        outputs = [outputs[key] for key in keys]
    updates = list(updates.items() if isinstance(updates, dict) else updates or [])
    givens = list(givens.items() if isinstance(givens, dict) else givens or [])
    slots, arguments = [], []
    for x in inputs:
        slot = Slot(x)
        slots.append(slot)
        if slot.state is None:
            arguments.append(x)
        else:
            givens.append((x.variable, slot.state))
            updates.append((slot.state, x.next_value))
    outputs_list = outputs if isinstance(outputs, list | tuple) else [] if outputs is None else [outputs]
    updates = [(x, fitted(x, value)) for x, value in updates]
    if no_default_updates is not True:
        read = [*outputs_list, *(value for _, value in (*updates, *givens))]
        given = {x.variable if isinstance(x, pytensor.In) else x for x in arguments} | {x for x, _ in givens}
        updates += default_updates(read, updates, no_default_updates or (), given)
    keywords = {"no_default_updates": no_default_updates} if no_default_updates else {}
    with without_warning("The no_default_updates parameter is deprecated"), no_test_values():
        compiled = pytensor.function(
            arguments,
            outputs,
            mode=mode,
            updates=updates,
            givens=givens,
            accept_inplace=accept_inplace,
            name=name,
            rebuild_strict=rebuild_strict,
            allow_input_downcast=allow_input_downcast,
            profile=profile,
            on_unused_input=on_unused_input,
            **keywords,
        )
    if keys is None and not any(slot.has_value for slot in slots):
        return compiled
    return Function(compiled, slots, keys)


def fitted(x, value):
    """A next value in the static shape of its shared variable, of which PyTensor knows more than Theano did."""
    if (
        isinstance(value, PlainVariable)
        and isinstance(value.type, DenseTensorType)
        and isinstance(x.type, DenseTensorType)
    ):
        if value.dtype == x.dtype and value.ndim == x.ndim:
            return like(x, value)
    return value


def default_updates(read, updates, without, given):
    """The default updates of shared variables that are read, but for those that have another, as pairs.

    What the `given` variables are computed from is not read.
    """
    known, found = {*without, *given, *(x for x, _ in updates)}, []
    while read:
        read = [x.variable if isinstance(x, pytensor.Out) else x for x in read]
        new = [
            x
            for x in inputs([x for x in read if isinstance(x, PlainVariable)], given)
            if isinstance(x, SharedVariable) and x.default_update is not None and x not in known
        ]
        known.update(new)
        read = [fitted(x, x.default_update) for x in new]
        found += zip(new, read, strict=True)
    return found


def evaluate(variable, inputs_to_values=None, **kwargs):
    """The value of a variable, ``x.eval({y: 1.0})``, by a :func:`function` that it keeps for the next time."""
    given = inputs_to_values or {}
    if any(isinstance(key, str) for key in given):
        return PlainVariable.eval(variable, given, **kwargs)
    arguments = sorted(given, key=id)
    functions = {} if kwargs else vars(variable).setdefault("_fn_cache", {})
    if (key := tuple(arguments)) not in functions:
        functions[key] = function(arguments, variable, **kwargs)
    return functions[key](*(given[x] for x in arguments))


class Slot:
    """An argument of a :class:`Function`: its name, its default, and the state it stands for, if it is updated."""

    def __init__(self, x):
        variable = x.variable if isinstance(x, pytensor.In) else x
        self.name = getattr(x, "name", None) or variable.name
        self.default = getattr(x, "default", None)
        self.has_value = self.default is not None
        self.state = None
        if getattr(x, "next_value", None) is not None:
            self.state = pytensor.shared(variable.type.filter(self.default, allow_downcast=True), name=self.name)


class Function:
    """A compiled function whose arguments may be left out, or that returns a dict.

    ``f[name]`` reads and sets the value that an input has by itself. All else is found as in the compiled function
    within.
    """

    def __init__(self, compiled, slots, keys):
        self.compiled = compiled
        self.slots = slots
        self.keys = keys

    def __call__(self, *args, **kwargs):
        if len(args) > len(self.slots):
            raise TypeError(f"the function takes {len(self.slots)} arguments, but {len(args)} were given.")
        given = dict(zip(self.slots, args, strict=False))
        for name, value in kwargs.items():
            given[self._slot(name)] = value
        values = []
        for slot in self.slots:
            if slot.state is not None:
                if slot in given:
                    slot.state.set_value(given[slot])
            elif slot in given or slot.has_value:
                values.append(given.get(slot, slot.default))
            else:
                raise TypeError(f"the function needs a value for the input {slot.name or self.slots.index(slot)}.")
        results = self.compiled(*values)
        return results if self.keys is None else dict(zip(self.keys, results, strict=True))

    def _slot(self, name):
        name = getattr(name, "name", name)
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise TypeError(f"the function has no input {name!r}; it has {', '.join(str(s.name) for s in self.slots)}.")

    def __getitem__(self, name):
        slot = self._slot(name)
        return slot.default if slot.state is None else slot.state.get_value()

    def __setitem__(self, name, value):
        slot = self._slot(name)
        if slot.state is None:
            slot.default, slot.has_value = value, True
        else:
            slot.state.set_value(value)

    def __getattr__(self, name):
        if name == "compiled":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.compiled, name)


# --- Shared variables -------------------------------------------------------------------------------------------------


def shared(value, name=None, strict=False, allow_downcast=None, broadcastable=None, target=None, **kwargs):
    """Make a shared variable; `broadcastable` tells which axes have the length 1 for good, by default none.

    `target`, Theano's name of a device, has no effect.
    """
    if broadcastable is not None:
        kwargs["shape"] = tuple(1 if alone else None for alone in broadcastable)
    return pytensor.shared(value, name=name, strict=strict, allow_downcast=allow_downcast, **kwargs)


# --- Loops ------------------------------------------------------------------------------------------------------------


def returning_updates(function):
    """PyTensor's function of that kind, returning outputs and updates, which PyTensor 3.3 warns of."""

    def looping(*args, **kwargs):
        if "return_updates" in signature(function).parameters:
            kwargs["return_updates"] = True
        with (
            without_warning("Scan return signature will change", "Setting default_update is deprecated"),
            no_test_values(),
        ):
            outputs, updates = function(*args, **kwargs)
        compute_behind([x for x in (outputs if isinstance(outputs, list) else [outputs]) if x is not None])
        return outputs, updates

    looping.__name__ = looping.__qualname__ = function.__name__
    looping.__doc__ = f"PyTensor's {function.__name__}, returning outputs, one alone not in a list, and updates."
    return looping


scan = returning_updates(pytensor.scan)
map = returning_updates(views.map)
reduce = returning_updates(views.reduce)
foldl = returning_updates(views.foldl)
foldr = returning_updates(views.foldr)


# --- Graphs -----------------------------------------------------------------------------------------------------------


def clone(output, replace=None, strict=True, share_inputs=True, copy_inputs=None):
    """Copy a graph, with replacements.

    Parameters
    ----------
    output : variable or list of variables
        The outputs of the graph.
    replace : dict or list of pairs, optional
        Variables and what stands for them in the copy, all at once.
    strict : bool
        Accepted: what stands for a variable must have its type, where Theano could make a copy of other types.
    share_inputs : bool
        Whether the copy has the same inputs. Copies of shared variables have a common value.
    copy_inputs : bool, optional
        Theano's older name of `share_inputs`.

    Returns
    -------
    variable or list of variables
        The copy.
    """
    if copy_inputs is not None:
        share_inputs = copy_inputs
    outputs = list(output) if isinstance(output, list | tuple) else [output]
    pairs = replace.items() if isinstance(replace, dict) else replace or []
    replacements = {x: x.type.filter_variable(y) if strict else pt.as_tensor_variable(y) for x, y in pairs}
    if not share_inputs:
        own = [x for x in inputs(outputs) if not isinstance(x, Constant) and x not in replacements]
        replacements |= {x: x.clone() for x in own}
    copies = graph_replace(outputs, replacements, strict=False)
    return copies if isinstance(output, list | tuple) else copies[0]


def ancestors(variables, blockers=None):
    """All variables that the given ones are computed from, and they themselves, as a list.

    They are in Theano's order: the last of `variables` first, each before what it is computed from. What `blockers` are
    computed from is left out.
    """
    stack, found = list(variables), {}
    while stack:
        variable = stack.pop()
        if variable not in found:
            found[variable] = None
            if variable.owner is not None and variable not in (blockers or ()):
                stack.extend(reversed(variable.owner.inputs))
    return list(found)


def inputs(variables, blockers=None):
    """The inputs of graphs: those of the :func:`ancestors` that nothing computes, constants too."""
    return [variable for variable in ancestors(variables, blockers) if variable.owner is None]


def is_same_graph(var1, var2, givens=None):
    """Whether two variables are computed alike from the same inputs, after the replacements of `givens` in both."""
    return equal_computations(*([clone(x, replace=givens)] for x in (var1, var2)))


def local_optimizer(tracks, inplace=False, requirements=()):
    """Decorate a function of a node, which returns what stands for its outputs, as a rewrite of graphs.

    `tracks` has the Ops, or their classes, whose nodes it is given; `inplace` and `requirements` are those of
    PyTensor's ``node_rewriter``, whose functions take the graph first.
    """

    def decorate(rewrite):
        def of_graph(fgraph, node):
            return rewrite(node)

        of_graph.__name__ = rewrite.__name__
        of_graph.__doc__ = rewrite.__doc__
        return node_rewriter(tracks, inplace=inplace, requirements=requirements)(of_graph)

    return decorate


def OpRemove(op):
    """The rewrite of graphs that puts an Op's inputs in the places of its outputs."""
    return local_optimizer([op])(lambda node: node.inputs)


def as_op(itypes, otypes, infer_shape=None):
    """Decorate a NumPy function so that it can stand in a graph."""
    return wrap_py(itypes, otypes, infer_shape)


def dot(left, right):
    """The product of matrices or vectors, dense or sparse."""
    if any(isinstance(x, PlainVariable) and not isinstance(x.type, DenseTensorType) for x in (left, right)):
        from pytensor import sparse

        return sparse.dot(left, right)
    return pt.dot(left, right)
