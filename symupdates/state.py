"""The state of a run: everything that a step moves, as names and arrays; saved, restored, reset.

That is the keys of an updates dict, parameters, optimizer state and counts; and what the model moves beside them, such
as the generators of its dropout and the averages of its batch normalisation. A run is therefore resumed, bit for bit,
by building the same model and dict anew and putting the saved values back.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import explicit_graph_inputs
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.variable import TensorVariable

from symupdates.checkpoint import Checkpoint, Misfit, Stored, generator_text, stored_generator, write
from symupdates.core import flag, is_state
from symupdates.core.checks import as_updates, check_updates, shared_variables
from symupdates.core.names import refuse_unordered, unique_names
from symupdates.core.program import everything, named_hyper_tags, names_of
from symupdates.core.state import check_size, initial_value, is_of, shape_now
from symupdates.core.step import parameters_of
from symupdates.typing import Parameters, StateLike, UpdatesLike

__all__ = [
    "Unmatched",
    "hyperparameters",
    "load",
    "load_state_dict",
    "named",
    "reset",
    "save",
    "state_dict",
    "summary",
    "to_numpy",
]


def state_dict(updates: UpdatesLike) -> OrderedDict[str, np.ndarray]:
    """The values of everything that a step moves, by name.

    Parameters
    ----------
    updates : dict
        An updates dict.

    Returns
    -------
    OrderedDict
        Names and copies of the values, as NumPy arrays of the variables' dtypes: those of the keys in their order, and
        then what the model moves itself. The state of a random generator is an array of text (JSON). The names are
        those of :func:`named`.

    Raises
    ------
    TypeError
        For a key that is not a shared variable, or whose value is not an array or a random generator.
    ValueError
        If state is not of the size of its parameter, which has been resized without :func:`reset`; if values are
        divided among several processes (see :func:`symupdates.sharding.state_dict`).
    """
    return OrderedDict((name, to_array(variable)) for name, variable in by_own_names("state_dict", updates).items())


class Unmatched(NamedTuple):
    """The names that found no match when a state was loaded.

    Attributes
    ----------
    missing
        Names of variables that the state does not have, in their order.
    unknown
        Names in the state that no variable has.
    """

    missing: list[str]
    unknown: list[str]


def load_state_dict(updates: StateLike, state: Mapping[str, np.ndarray], strict: bool = True) -> Unmatched:
    """Set the values of everything that a step moves. All is checked before anything is set.

    Parameters
    ----------
    updates : dict, or list of shared variables
        An updates dict, built as the one that the state was taken from; or what :func:`load` takes in its place.
    state : mapping of str to array
        What :func:`state_dict` returned, of this dict or of one whose names are the same.
    strict : bool
        Whether all names have to match, as for :func:`load`.

    Returns
    -------
    Unmatched
        The names that are ``missing`` and ``unknown``; none if `strict`.

    Raises
    ------
    ValueError
        If names are missing or unknown (unless not `strict`), or an array has another shape or dtype than the variable:
        all of them are named, and nothing is changed.
    """
    flag("load_state_dict: strict", strict)
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: state must be a dict of names and arrays, not {state!r}.")
    arrays = {name: np.asarray(array) for name, array in state.items()}
    stored = {name: Stored(array.dtype, array.shape, partial(np.array, array)) for name, array in arrays.items()}
    return restore(by_name("load_state_dict", updates, arrays), stored, strict)


def save(file: str | bytes | os.PathLike[str], updates: StateLike) -> None:
    """Save the values of everything that a step moves to a file, all or nothing.

    The file takes the place of an older one in a single step, once its data are on the disk: whenever the process is
    killed, or the disk full, there is either the old file or the new one, whole. Of a link, it is what the link stands
    for. The mode stays.

    Parameters
    ----------
    file : str, bytes or path
        The file; ``.ckpt`` or whatever you like, no ending is added.
    updates : dict, or list of shared variables
        An updates dict; or a list of shared variables, or a dict of names and shared variables, for a file of these.

    Raises
    ------
    OSError
        If it cannot be written, or is a folder, a device or the like; the old file is still there.
    ValueError
        For a name that an archive cannot have, such as one with a NUL character, or state that is not of the size of
        its parameter, as for :func:`state_dict`; the old file is still there.
    TypeError
        For an iterator, or a dict of variables and None, of which ``list(...)`` is right; for a value that is not an
        array or one of NumPy's random generators.

    Notes
    -----
    The file is a ZIP archive of NumPy arrays, one a name (``numpy.load`` reads it), and of a list of the names. There
    is no pickle in it, no compression, and no date: the same values give the same bytes. A process killed while saving
    may leave a hidden temporary file beside it, ``.<name>.*.tmp``, which the next to save that file removes.

    The parameters are saved as they are, to go on from. What is to be evaluated, where a rule such as
    :func:`~symupdates.lbfgs` trains at other points, is in the state beside them, under the names of what
    :func:`~symupdates.averages` gives. For a file to evaluate from, call :func:`~symupdates.swap_averages` before, and
    after it.
    """
    variables = by_name("save", updates)
    write(file, list(variables), ((name, borrowed_array(v)) for name, v in variables.items()))


def load(file: str | bytes | os.PathLike[str], updates: StateLike, strict: bool = True) -> Unmatched:
    """Set the values of everything that a step moves from a file. All is checked before anything is set.

    Parameters
    ----------
    file : str, bytes or path
        A file that :func:`save` wrote.
    updates : dict, or list of shared variables
        An updates dict, built as the one that was saved. Or the variables that are to be set: a list, whose names are
        those that it would have as the keys of an updates dict; or a dict of names and shared variables, for names of
        the file. A dict of variables and None is none of these, but ``list(...)`` of it is.
    strict : bool
        Whether all names have to match. If not, variables that are missing from the file stay as they are; but state of
        rules that is missing begins anew, as by :func:`reset`, at the parameters that were loaded.

    Returns
    -------
    Unmatched
        The names that are ``missing`` from the file, and those ``unknown`` among the updates; none if `strict`.

    Raises
    ------
    OSError
        If the file cannot be read, FileNotFoundError if there is none.
    ValueError
        If it is truncated, corrupted or of another kind. If names are missing or unknown (unless not `strict`), or no
        name matches. If an array has another shape or dtype than the variable, or another kind of generator, strict or
        not. All that does not fit is named, and nothing is changed.

    Notes
    -----
    Equal names are taken for the same variable. Unnamed parameters, and several of one name, are told apart by their
    place: given in another order they are refused if their shapes differ, but if they have one shape, they are mixed
    up. Name your parameters.

    Nothing in the file is believed: names, shapes, dtypes and sizes are compared before an array is read, what is
    unknown is not read, checksums are verified before anything is set, and the state of a random generator has to be
    one, field by field, of the class that the variable holds.

    Arrays are read a second time, one by one, when all has been found whole, so that the memory needed is that of the
    largest. What a signal raises meanwhile, such as KeyboardInterrupt, is raised when all is set. Should the disk fail
    or the memory be exhausted then, the OSError or MemoryError has a note of what was set and what not.
    """
    flag("load: strict", strict)
    with open(os.fspath(file), "rb") as stream:
        state = Checkpoint(stream)
        return restore(by_name("load", updates, set(state)), state, strict)


def by_name(function, updates, stored=()):
    """The variables to save or load: of an updates dict, a list, or a dict that has the names.

    Under their former names, where a state is stored under these.
    """
    if isinstance(updates, Variable) or not isinstance(updates, Collection):
        raise TypeError(
            f"{function}: updates must be an updates dict, a list of shared variables, or a dict of names and shared "
            f"variables, not {updates!r}; of an iterator, give list(...)."
        )
    if not isinstance(updates, Mapping) or not all(isinstance(key, str) for key in updates):
        variables = by_own_names(function, updates)
        both = zip(variables, former_names(variables), strict=True)
        names = [old if old in stored and name not in stored else name for name, old in both]
        return OrderedDict(zip(names, variables.values(), strict=True))
    for name, variable in updates.items():
        if not isinstance(variable, SharedVariable):
            raise TypeError(f"{function}: {name} must be a shared variable, not {variable!r}.")
    return OrderedDict(updates)


def restore(variables, state, strict):
    """Set variables to what is stored under their names, after all of it was checked."""
    names = set(state)
    unmatched = Unmatched([name for name in variables if name not in names], [n for n in state if n not in variables])
    problems = []
    if strict or not names & variables.keys():
        problems += [f"{name} is missing" for name in unmatched.missing]
        problems += [f"{name} is unknown" for name in unmatched.unknown]
    new, matched = {}, {name: state[name] for name in variables if name in names}
    for name, stored in matched.items():
        try:
            new[name] = fitting(variables[name], stored)
        except Misfit as error:
            problems.append(f"{name} {error}")
    if problems:
        raise ValueError(
            f"this state does not fit the updates, and nothing was loaded: {'; '.join(problems)}. Build the updates as "
            "they were built when the state was taken: the same rules, parameters, shapes, names. Or load what fits: "
            "strict=False passes over missing and unknown names, and a list of variables over all other variables."
        )
    for stored in matched.values():
        stored.verify()
    for name in unmatched.missing:
        if is_state(variable := variables[name]):
            new[name] = partial(initial_value, variable.tag.symupdates, variable.dtype)
    set_values(variables, new)
    return unmatched


def former_names(variables):
    """The names of the first version, in which no group had one, and the counts of a rule that is called several times
    were told apart by the places of the keys.
    """
    names = []
    for name, variable in variables.items():
        tag = variable.tag.symupdates if is_state(variable) else None
        names.append(f"{tag.rule}/{tag.slot}" if tag and tag.parameter is None else name)
    return unique_names(names)


def fitting(variable, stored):
    """A function that gives the value for a variable, after refusing what it cannot have."""
    if isinstance(variable.type, RandomType):
        generator = stored_generator(variable, stored)
        return lambda: generator
    shape = value_of(variable).shape
    if is_state(variable) and None in (needed := shape_now(variable.tag.symupdates)):
        shape = needed
    different = []
    if not is_of(stored.shape, shape):
        different.append(f"shape {stored.shape} instead of {shape}")
    if stored.dtype != variable.dtype:
        different.append(f"dtype {stored.dtype} instead of {variable.dtype}")
    if different:
        raise Misfit(f"has {' and '.join(different)}")
    return stored.read


def set_values(variables, new):
    """Set variables to what a function for each gives, one by one, whatever a signal's handler raises meanwhile."""
    left, failed, raised = list(reversed(new)), None, None
    while left:
        try:
            while left:
                variables[left[-1]].set_value(new[left[-1]](), borrow=True)
                del left[-1]
        except Exception as error:
            if failed == len(left):  # twice, which handlers of signals do not
                done = [name for name in new if name not in left]
                error.add_note(f"Loaded: {', '.join(done) or 'nothing'}. Not loaded: {', '.join(reversed(left))}.")
                raise
            failed, raised = len(left), error
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised


def reset(updates: UpdatesLike) -> None:
    """Put optimizer state back to what it is before the first update: parameters, and variables of your own, stay.

    State is made for the shape and, where it begins at the parameter, for the value that its parameter has now, so this
    is also what to do after a parameter whose static shape allows it was resized. Counts, the generators of rules, and
    hyper-parameters that :func:`symupdates.adjustable` made begin anew as well; PyTensor's random generators do not.

    Parameters
    ----------
    updates : dict
        An updates dict.
    """
    for variable in shared_variables("reset", updates):
        if is_state(variable):
            variable.set_value(initial_value(variable.tag.symupdates, variable.dtype))


def to_numpy(updates: UpdatesLike | Parameters) -> None:
    """Make the values of all that a step moves NumPy's again, after training on JAX.

    The JAX backend leaves arrays of its own in the shared variables, which functions compiled for other backends do
    not take. Where the values are NumPy's already, nothing is copied.

    Parameters
    ----------
    updates : dict or iterable of shared variables
        An updates dict, or the parameters.

    Raises
    ------
    ValueError
        If values are divided among several processes; nothing is changed.
    """
    arrays = {}
    for variable in everything("to_numpy", updates):
        value = variable.get_value(borrow=True)
        if hasattr(value, "__array__") and not isinstance(value, np.ndarray):
            arrays[variable] = np.array(whole_array(variable, value))
    for variable, array in arrays.items():
        variable.set_value(array, borrow=True)


def summary(updates: UpdatesLike) -> str:
    """A table of what an updates dict moves: parameters, the state kept for each, hyper-parameters.

    Parameters
    ----------
    updates : dict
        An updates dict.

    Returns
    -------
    str
        A line for each name of :func:`state_dict`: name, rule, slot, dtype, shape, bytes; a line for each
        hyper-parameter: name, value, and what was given for it; and the totals. Print it.

    Raises
    ------
    ValueError
        If state is not of the size of its parameter, which has been resized without :func:`reset`.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W = pytensor.shared(np.ones((3, 2)), name="W")
    >>> print(symupdates.summary(symupdates.momentum((W**2).sum(), [W], learning_rate=lambda step: 0.1 / (1 + step))))
    name                 rule      slot      dtype    shape   bytes
    W                                        float64  (3, 2)     48
    W/momentum/velocity  momentum  velocity  float64  (3, 2)     48
    momentum/t           momentum  t         int64    ()          8
    <BLANKLINE>
    hyper-parameter         value  given
    momentum/learning_rate  0.1    <lambda>
    momentum/momentum       0.9    0.9
    <BLANKLINE>
    1 parameter of 6 elements, 48 bytes; state of 56 bytes, 1.17 times the parameters
    """
    check_updates("summary", updates)
    rows, parameters = [], set(parameters_of(updates))
    of_parameters, of_state, elements, others = 0, 0, 0, []
    for name, variable in named(updates).items():
        if isinstance(variable.type, RandomType):
            rows.append((name, "", "", "generator", "", ""))
            continue
        check_size(variable)
        value = variable.get_value(borrow=True)
        shape, size = np.shape(value), np.size(value) * np.dtype(variable.dtype).itemsize
        rule, slot = variable.tag.symupdates[:2] if is_state(variable) else ("", "")
        rows.append((name, rule, slot, variable.dtype, str(shape), str(size)))
        if is_state(variable):
            of_state += size
        elif variable in parameters:
            of_parameters, elements = of_parameters + size, elements + np.size(value)
        else:
            others.append(size)
    blocks = [table(("name", "rule", "slot", "dtype", "shape", "bytes"), rows)]
    hyper = [(name, in_numbers(tag.value), tag.given) for name, tag in named_hyper_tags(updates).items()]
    if hyper:
        blocks.append(table(("hyper-parameter", "value", "given"), hyper))
    times = f", {of_state / of_parameters:.2f} times the parameters" if of_parameters else ""
    size = f"{counted(len(parameters), 'parameter')} of {counted(elements, 'element')}, {of_parameters} bytes"
    more = f"; {counted(len(others), 'other variable')} of {sum(others)} bytes" if others else ""
    blocks.append(f"{size}; state of {of_state} bytes{times}{more}")
    return "\n\n".join(blocks)


def counted(n, noun):
    return f"{n} {noun}{'' if n == 1 else 's'}"


def table(head, rows):
    """Columns as wide as they need to be, bytes to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [name == "bytes" for name in head]
    lines = (
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in (head, *rows)
    )
    return "\n".join(lines)


def hyperparameters(updates: UpdatesLike) -> OrderedDict[str, TensorVariable]:
    """The hyper-parameters of an updates dict, by name: what each of its rules and transforms works with.

    Parameters
    ----------
    updates : dict
        An updates dict.

    Returns
    -------
    OrderedDict
        Names, such as ``adam/learning_rate``, as :func:`named` makes them, and scalar variables. As an output of a
        function that trains, such a variable is the value that this very update uses; and ``.eval()`` gives that of
        the next. What is the same for several parameters stands there once.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W = pytensor.shared(np.ones(3), name="W")
    >>> loss = (W**2).sum()
    >>> updates = symupdates.sgd(loss, [W], learning_rate=symupdates.schedules.linear(0.1, 0.0, steps=10))
    >>> rate = symupdates.hyperparameters(updates)["sgd/learning_rate"]
    >>> step = pytensor.function([], rate, updates=updates)
    >>> [round(float(step()), 3) for _ in range(3)], round(float(rate.eval()), 3)
    ([0.1, 0.09, 0.08], 0.07)
    """
    check_updates("hyperparameters", updates)
    return OrderedDict((name, tag.value) for name, tag in named_hyper_tags(updates).items())


def in_numbers(x):
    """The value of a scalar variable, or the first values of one of many runs, where it has any without inputs."""
    if list(explicit_graph_inputs([x])):
        return "?"
    values = np.ravel(x.data if isinstance(x, Constant) else x.eval(mode="FAST_COMPILE"))
    return " ".join(f"{value:g}" for value in values[:3]) + " …" * (values.size > 3)


# --- Names and arrays -------------------------------------------------------------------------------------------------


def named(updates: UpdatesLike | Parameters) -> OrderedDict[str, SharedVariable]:
    """Everything that a step moves, by name: one name wherever a thing is named.

    Parameters
    ----------
    updates : dict, or list of shared variables
        An updates dict; or shared variables, for the names that they would have as its keys.

    Returns
    -------
    OrderedDict
        Names and shared variables: the keys in their order, then what the model moves itself.

        Parameters and variables of your own have their own names, or ``param[i]`` by their place among these keys; of
        several with one name each has ``name[i]``. State of a parameter has ``<parameter>/<rule>/<slot>``, that of a
        rule as a whole ``<rule>/<slot>``, as do the hyper-parameters of :func:`hyperparameters`; a second call of the
        rule is ``<rule>_2``, and a group that has a name stands before: ``<group>/<rule>/<slot>``. What the model moves
        has its own name, or ``model``; whatever would repeat a name has ``_2``, ``_3`` … appended.

    Notes
    -----
    The names are of this dict. A transform or a group that is added behind does not change those of what stands before;
    where two dicts are merged, state has the names of the merged one, whatever it was called in each.

    What the model moves is found in the updates and in the losses that they were derived from: shared variables with a
    default update; statistics that the layers of pytensor-ml write; and random generators, which
    PyMC's and pytensor-ml's functions advance. What only another output of the compiled function reads is not found;
    make its update a key of the dict.

    Raises
    ------
    TypeError
        For a key that is not a shared variable, or a value that is no variable: ``dict.fromkeys(variables)``, whose
        values are None, is no updates dict; give ``list(...)`` of it.
    ValueError
        For a set of variables of which some have no name of their own: its order is another in every process.
    """
    return by_own_names("named", updates)


def by_own_names(function, updates):
    """What :func:`named` returns, for a function that is called with the updates."""
    names = names_of(as_updates(function, updates))
    refuse_unordered(f"{function}: updates", updates, names.items())
    return OrderedDict((name, variable) for variable, name in names.items())


def to_array(variable):
    """The value as an array of its own."""
    return np.array(borrowed_array(variable))


def borrowed_array(variable):
    """The value as an array, which may be the variable's own."""
    check_size(variable)
    if isinstance(variable.type, RandomType):
        return np.array(generator_text(variable))
    return whole_array(variable, value_of(variable))


def value_of(variable):
    value = variable.get_value(borrow=True)
    if not hasattr(value, "__array__"):
        raise TypeError(f"the value of {variable} cannot be saved: it is a {type(value).__name__}, not an array.")
    return value


def whole_array(variable, value):
    """The value as an array, without a copy where that can be."""
    if hasattr(value, "addressable_shards"):
        value = brought_together(variable, value)
    return np.asarray(value, dtype=variable.dtype)


def brought_together(variable, value):
    """The whole of an array of JAX, which would keep a copy of its own if NumPy asked it."""
    if value.is_fully_replicated:
        return value.addressable_data(0)
    if not value.is_fully_addressable:
        raise ValueError(
            f"the value of {variable} is divided among several processes. symupdates.sharding.state_dict and "
            "symupdates.sharding.save gather it, called in all of them."
        )
    array = np.empty(value.shape, value.dtype)
    for shard in value.addressable_shards:
        if shard.replica_id == 0:
            array[shard.index] = shard.data.addressable_data(0)
    return array
