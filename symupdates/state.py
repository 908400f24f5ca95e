"""The state of a run: everything that a step moves, as names and arrays; saved, restored, reset.

That is the keys of an updates dict, parameters, optimizer state and counts; and what the model moves beside them, such
as the generators of its dropout and the averages of its batch normalisation. A run is therefore resumed, bit for bit,
by building the same model and dict anew and putting the saved values back.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import explicit_graph_inputs
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.variable import TensorVariable

from symupdates.core import is_state
from symupdates.core.checks import check_updates, shared_variables
from symupdates.core.program import everything, named_hyper_tags, names_of
from symupdates.core.state import check_size, initial_value
from symupdates.core.step import parameters_of
from symupdates.typing import Parameters, UpdatesLike

__all__ = [
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

FORMAT = "symupdates 1"
INDEX = "symupdates.json"


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
        If values are divided among several processes (see :func:`symupdates.sharding.state_dict`).
    """
    return OrderedDict((name, to_array(variable)) for name, variable in named(updates).items())


def load_state_dict(updates: UpdatesLike, state: Mapping[str, np.ndarray]) -> None:
    """Set the values of all keys of an updates dict. Everything is checked before anything is set.

    Parameters
    ----------
    updates : dict
        An updates dict, built as the one that the state was taken from.
    state : mapping of str to array
        What :func:`state_dict` returned, of this dict or of one whose names are the same.

    Raises
    ------
    ValueError
        If names are missing or unknown, or an array has another shape or dtype than the variable: all of them are
        named, and nothing is changed.
    """
    variables = named(updates)
    problems = [f"{name} is missing" for name in variables if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in variables]
    values = {}
    for name, variable in variables.items():
        if name in state:
            try:
                values[variable] = from_array(variable, np.asarray(state[name]))
            except ValueError as error:
                problems.append(f"{name} {error}")
    if problems:
        raise ValueError(
            f"this state does not fit the updates, and nothing was loaded: {'; '.join(problems)}. Build the updates as "
            "they were built when the state was taken: the same rules, parameters, shapes and names."
        )
    for variable, value in values.items():
        variable.set_value(value)


def save(file: str | os.PathLike[str], updates: UpdatesLike) -> None:
    """Save the values of all keys of an updates dict to a file, all or nothing.

    The file takes the place of an older one in a single step, once its data are on the disk: whenever the process is
    killed, or the disk full, there is either the old file or the new one, whole.

    Parameters
    ----------
    file : str or path
        The file; ``.ckpt`` or whatever you like, no ending is added.
    updates : dict
        An updates dict.

    Raises
    ------
    OSError
        If it cannot be written; the old file is still there.

    Notes
    -----
    The file is a ZIP archive of NumPy arrays, one a name (``numpy.load`` reads it), and of a list of the names. There
    is no pickle in it. A process killed while saving may leave a hidden temporary file beside it, ``.<name>.*.tmp``,
    which can be deleted.
    """
    variables = named(updates)
    write(Path(file), list(variables), ((name, to_array(variable)) for name, variable in variables.items()))


def write(file, names, arrays):
    """Write a checkpoint of these names, from pairs of a name and its array."""
    with replacing(file) as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(INDEX, json.dumps({"format": FORMAT, "names": names}))
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


@contextmanager
def replacing(file):
    """A binary stream whose content takes the place of a file in a single step, once it is on the disk."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def load(file: str | os.PathLike[str], updates: UpdatesLike) -> None:
    """Set the values of all keys of an updates dict from a file. Everything is checked before anything is set.

    Parameters
    ----------
    file : str or path
        A file that :func:`save` wrote.
    updates : dict
        An updates dict, built as the one that was saved.

    Raises
    ------
    OSError
        If the file cannot be read, FileNotFoundError if there is none.
    ValueError
        If it is truncated, corrupted or of another kind; if it does not fit the updates, as in
        :func:`load_state_dict`. Nothing is changed.
    """
    state = {}
    with open(file, "rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                index = json.loads(archive.read(INDEX))
                if index["format"] != FORMAT:
                    raise ValueError(f"its format is {index['format']!r}, not {FORMAT!r}")
                for name in index["names"]:
                    # Read whole, so that the checksum is verified before NumPy believes the header.
                    member = io.BytesIO(archive.read(f"{name}.npy"))
                    state[name] = npy.read_array(member, allow_pickle=False)
        except Exception as error:  # there is no end to what damaged archives make their readers raise
            raise ValueError(f"{file} is not a whole checkpoint, and nothing was loaded: {error}") from error
    load_state_dict(updates, state)


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
            arrays[variable] = whole_array(variable, value)
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
    """The value of a scalar variable, where it has one without inputs."""
    if list(explicit_graph_inputs([x])):
        return "?"
    return f"{np.asarray(x.data if isinstance(x, Constant) else x.eval(mode='FAST_COMPILE')).item():g}"


# --- Names and arrays -------------------------------------------------------------------------------------------------


def named(updates: UpdatesLike) -> OrderedDict[str, SharedVariable]:
    """Everything that a step moves, by name: one name wherever a thing is named.

    Parameters
    ----------
    updates : dict
        An updates dict.

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
        For a key that is not a shared variable.
    """
    check_updates("named", updates)
    return OrderedDict((name, variable) for variable, name in names_of(updates).items())


def to_array(variable):
    check_size(variable)
    if isinstance(variable.type, RandomType):
        return np.array(json.dumps(variable.get_value(borrow=True).bit_generator.state, default=encode))
    value = variable.get_value(borrow=True)
    if not hasattr(value, "__array__"):
        raise TypeError(f"the value of {variable} cannot be saved: it is a {type(value).__name__}, not an array.")
    return whole_array(variable, value)


def whole_array(variable, value):
    if not getattr(value, "is_fully_addressable", True) and not value.is_fully_replicated:
        raise ValueError(
            f"the value of {variable} is divided among several processes. symupdates.sharding.state_dict and "
            "symupdates.sharding.save gather it, called in all of them."
        )
    return np.array(value, dtype=variable.dtype)


def from_array(variable, array):
    if isinstance(variable.type, RandomType):
        return new_generator(array)
    shape = variable.get_value(borrow=True).shape
    if array.shape != shape:
        raise ValueError(f"has shape {array.shape} instead of {shape}")
    if array.dtype != variable.dtype:
        raise ValueError(f"has dtype {array.dtype} instead of {variable.dtype}")
    return array


def new_generator(array):
    try:
        state = json.loads(str(array), object_hook=decode)
        kind = getattr(np.random, state["bit_generator"])
        if not issubclass(kind, np.random.BitGenerator):
            raise TypeError(f"{kind.__name__} is no bit generator")
        bit_generator = kind()
        bit_generator.state = state
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"is not the state of a random generator ({error})") from error
    return np.random.Generator(bit_generator)


def encode(array):
    return {"array": np.asarray(array).tolist(), "dtype": np.asarray(array).dtype.str}


def decode(value):
    return np.array(value["array"], dtype=value["dtype"]) if value.keys() == {"array", "dtype"} else value
