"""Training on many devices: the keys of an updates dict laid out over a JAX mesh.

JAX is the engine. Its compiler partitions a program by where the arrays lie that it is given, so the updates stay as
they are, and so does the call of ``pytensor.function``. What is here says where they lie, and keeps them there::

    mesh = jax.make_mesh((8,), ("data",))
    updates = symupdates.adam(loss, params)
    place(updates, mesh)
    train = pytensor.function([x, y], loss, updates=updates, mode=JAX_SHARDED)
    for batch in feed(batches, mesh, "data"):
        train(*batch)

Three layouts, by what :func:`place` is told:

======================================  ================================================================================
``place(updates, mesh)``                data parallel: all of it on each device
``place(updates, mesh, state="data")``  the state of the optimizer divided among the devices (ZeRO, stage 1)
``place(updates, mesh, "data")``        the parameters too, their state with them (ZeRO, stage 3; FSDP)
======================================  ================================================================================

and, by the names of the parameters, whatever else: ``{"W*": PartitionSpec(None, "model")}``.

It needs JAX: ``pip install symupdates[jax]``.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod
from typing import Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary
from zlib import crc32

import jax
import numpy as np
import pytensor
import pytensor.link.jax.dispatch  # sets the precision of JAX from floatX, as compiling would
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from numpy.typing import ArrayLike
from pytensor.compile import Function
from pytensor.compile.mode import Mode, get_mode
from pytensor.tensor.random.type import RandomType

from symupdates import checkpoint
from symupdates import state as states
from symupdates.core import flag, is_state
from symupdates.core.checks import as_updates
from symupdates.core.program import everything
from symupdates.core.selectors import fits_none
from symupdates.core.state import check_size
from symupdates.modes import DonatingJAXLinker
from symupdates.typing import Parameters, StateLike, UpdatesLike

__all__ = [
    "JAX_SHARDED",
    "BytesPerDevice",
    "Collective",
    "bytes_per_device",
    "collectives",
    "feed",
    "place",
    "save",
    "state_dict",
]

LayoutLike: TypeAlias = PartitionSpec | str | tuple[str, ...]

PLACES = WeakKeyDictionary()  # container of a shared variable: a list of the sharding that its values are to have


def place_of(container):
    """A list with the sharding that the values of a shared variable are to have, or None; those of an input have none.

    The same list at all times, as the storage of values is.
    """
    return [None] if container is None else PLACES.setdefault(container, [None])


# --- Layout -----------------------------------------------------------------------------------------------------------


def place(
    updates: UpdatesLike | Parameters,
    mesh: Mesh,
    params: LayoutLike | Mapping[str, LayoutLike] | None = None,
    state: LayoutLike | Mapping[str, LayoutLike] | None = None,
) -> None:
    """Lay out the values of an updates dict over the devices of a mesh, all of them or none.

    Parameters
    ----------
    updates : dict or iterable of shared variables
        An updates dict; or other shared variables, such as data.
    mesh : jax.sharding.Mesh
        The devices. The compiler divides the work: axes that ``jax.make_mesh`` made explicit are taken as automatic.
    params : PartitionSpec, str, tuple of str, or mapping; optional
        The layout of the parameters (and of all that is not state):

        * a PartitionSpec, for all of them;
        * the name of an axis of the mesh, or several: each parameter is divided along its largest dimension that the
          number of those devices divides, or kept whole where there is none;
        * a mapping of patterns of names (``"W*"``; the first that fits counts) to one or the other; what fits none is
          kept whole.

        The default keeps all whole on each device.
    state : PartitionSpec, str, tuple of str, or mapping; optional
        The layout of the state, in the same words, with names as in :func:`symupdates.named`. An axis is added to the
        layout of the parameter. By default, and where no pattern fits, state of the parameter's shape lies as the
        parameter does, state of several such (a history) likewise, and all other state is whole on each device.

    Raises
    ------
    TypeError
        If the mesh is no mesh, a layout none of these, or a value not an array.
    ValueError
        For an axis that the mesh does not have, or that a layout has twice; a layout with more dimensions than the
        variable; a dimension that the devices do not divide; a pattern that fits no name; and if several processes
        have different values. Nothing is placed then. A value that is set later and cannot be divided is refused by the
        function that takes it.

    Notes
    -----
    The layout belongs to the variable: functions compiled with :data:`JAX_SHARDED` leave their updates in it, and
    bring a value there that was set since (``set_value``, :func:`symupdates.load`, :func:`symupdates.reset`). Placing
    again, for instance on a mesh of another size, moves the values. :func:`symupdates.to_numpy` makes them NumPy's, for
    another backend.

    With several processes all have to call this, with the same values, as after :func:`symupdates.load` of one file.

    Examples
    --------
    >>> import jax, numpy as np, pytensor, symupdates
    >>> from symupdates.sharding import bytes_per_device, place
    >>> W = pytensor.shared(np.ones((16, 8)), name="W")
    >>> updates = symupdates.adam((W**2).sum(), [W])
    >>> mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])
    >>> place(updates, mesh, state="data")
    >>> bytes_per_device(updates)
    BytesPerDevice(parameters=1024, state=2056)
    """
    shardings = layout(updates, mesh, params, state)
    check_alike(shardings)
    values = [put(v.get_value(borrow=True), sharding) for v, sharding in shardings.items()]
    for (variable, sharding), value in zip(shardings.items(), values, strict=True):
        place_of(variable.container)[0] = sharding
        variable.container.storage[0] = value  # where set_value would make it NumPy's


def layout(updates, mesh, params, state):
    """The sharding of each key, after refusing what cannot be."""
    mesh = automatic(mesh)
    updates = as_updates("place", updates)
    names = {variable: name for name, variable in states.named(updates).items() if is_array(name, variable)}
    check_patterns("params", params, [name for variable, name in names.items() if not is_state(variable)])
    check_patterns("state", state, [name for variable, name in names.items() if is_state(variable)])
    specs = {}
    for variable in sorted(names, key=is_state):  # parameters first
        name, shape = names[variable], variable.get_value(borrow=True).shape
        if is_state(variable):
            spec = chosen(state, name, followed(variable.tag.symupdates, specs), shape, mesh)
        else:
            spec = chosen(params, name, PartitionSpec(), shape, mesh)
        check_spec(name, spec, shape, mesh)
        specs[variable] = spec
    return OrderedDict((variable, NamedSharding(mesh, specs[variable])) for variable in names)


def automatic(mesh):
    """The mesh with all axes automatic: explicit ones would ask each operation of a graph for its layout."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, as jax.make_mesh((8,), ('data',)) makes, not {mesh!r}.")
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def is_array(name, variable):
    """Whether a variable can be laid out. Random generators cannot: JAX's backend has copies of them."""
    if isinstance(variable.type, RandomType):
        return False
    if not hasattr(variable.get_value(borrow=True), "shape"):
        raise TypeError(f"{name} cannot be laid out over devices: its value is not a dense array ({variable.type}).")
    return True


def check_patterns(argument, layout, names):
    if isinstance(layout, Mapping):
        for pattern in layout:
            if not isinstance(pattern, str):
                raise TypeError(f"{argument}: a pattern of names is a string, not {pattern!r}.")
            if not any(fnmatchcase(name, pattern) for name in names):
                raise fits_none(argument, pattern, names)


def followed(tag, specs):
    """The layout of state that follows its parameter."""
    spec = specs.get(tag.parameter, PartitionSpec())
    if callable(tag.shape) or ... not in tag.shape:
        return PartitionSpec()
    return PartitionSpec(*(None,) * tag.shape.index(...), *spec)


def chosen(layout, name, default, shape, mesh):
    """What the argument of :func:`place` says of a variable; `default` is what it has without."""
    if isinstance(layout, Mapping):
        layout = next((value for pattern, value in layout.items() if fnmatchcase(name, pattern)), None)
    if layout is None:
        return default
    if isinstance(layout, PartitionSpec):
        return layout
    if isinstance(layout, str):
        layout = (layout,)
    if not isinstance(layout, tuple) or not all(isinstance(axis, str) for axis in layout):
        raise TypeError(f"{name}: a layout is a PartitionSpec or the name of an axis of the mesh, not {layout!r}.")
    return divided(default, shape, layout, number_of_devices(name, layout, mesh))


def divided(spec, shape, axes, devices):
    """The layout with axes added to the largest dimension that is whole and that the devices divide."""
    parts = [*spec, *(None,) * (len(shape) - len(spec))]
    if set(axes) & set(axes_of(spec)):
        return spec
    free = [d for d, size in enumerate(shape) if parts[d] is None and size and size % devices == 0]
    if not free:
        return spec
    parts[max(free, key=lambda d: shape[d])] = axes[0] if len(axes) == 1 else axes
    return PartitionSpec(*parts)


def axes_of(spec):
    """All axes in a layout."""
    return [axis for part in spec if part is not None for axis in ((part,) if isinstance(part, str) else part)]


def number_of_devices(name, axes, mesh):
    """Along the axes together."""
    for axis in axes:
        if axis not in mesh.shape:
            known = ", ".join(map(repr, mesh.axis_names))
            raise ValueError(f"{name}: the mesh has no axis {axis!r}, only {known}.")
    return prod(mesh.shape[axis] for axis in axes)


def check_spec(name, spec, shape, mesh):
    axes = axes_of(spec)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{name}: {spec} has an axis twice; each can divide one dimension.")
    number_of_devices(name, axes, mesh)
    if len(spec) > len(shape):
        raise ValueError(f"{name}: {spec} has {len(spec)} dimensions, but the shape is {shape}.")
    for d, part in enumerate(spec):
        devices = number_of_devices(name, axes_of([part]), mesh)
        if shape[d] % devices:
            raise ValueError(
                f"{name}: {spec} divides dimension {d} of the shape {shape} among {devices} devices, and {shape[d]} "
                "is no multiple of that. Divide another dimension, take another number of devices, or give the name of "
                "the axis alone, which divides a dimension that it can."
            )


def check_alike(variables):
    """That all processes have the same values: of arrays in the hosts' memory, by their checksums."""
    if jax.process_count() == 1:
        return
    values = {name: v.get_value(borrow=True) for name, v in states.named(list(variables)).items()}
    sums = [0 if isinstance(x, jax.Array) else crc32(np.ascontiguousarray(x)) for x in values.values()]
    of_all = multihost_utils.process_allgather(np.array(sums, "uint32"))
    if different := [name for name, of_each in zip(values, of_all.T, strict=True) if len(set(of_each.tolist())) > 1]:
        raise ValueError(
            f"the processes have different values of {', '.join(different)}; nothing was placed. Each has to build the "
            "same from the same seed, or load the same checkpoint, a file that all of them see."
        )


def brought(name, value, sharding):
    """A value that was set since its variable was placed, laid out like the one before."""
    check_spec(name, sharding.spec, value.shape, sharding.mesh)
    return put(value, sharding)


def put(value, sharding):
    """An array laid out over devices. Of one in the host's memory, each process copies what its devices hold."""
    if isinstance(value, jax.Array):
        return jax.device_put(value, sharding)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: np.array(value[index]))


# --- The mode ---------------------------------------------------------------------------------------------------------


class ShardedJAXLinker(DonatingJAXLinker):
    """The donating linker for JAX, keeping the layouts of :func:`place`."""

    def fgraph_convert(self, fgraph, **kwargs):
        converted = super().fgraph_convert(fgraph, **kwargs)
        self.containers = [getattr(x, "container", None) for x in fgraph.inputs]
        self.inputs_of_updates = [fgraph.update_mapping.get(i) for i in range(len(fgraph.outputs))]
        return converted

    def jit_compile(self, fn):
        return Program(fn, self.containers, self.inputs_of_updates, self.scalar_shape_inputs, self.donated)

    def make_all(self, *args, **kwargs):
        thunk, inputs, *rest = super().make_all(*args, **kwargs)
        for container in inputs:
            container.type = OnDevices(container.type)
        return thunk, inputs, *rest


class Program:
    """A function for JAX, compiled for each combination of layouts that its shared variables have had."""

    def __init__(self, fn, containers, inputs_of_updates, static, donated):
        self.fn, self.static, self.donated = fn, static, donated
        self.containers, self.inputs_of_updates = containers, inputs_of_updates
        self.places = [place_of(container) for container in containers]
        self.compiled = {}

    def __call__(self, *args):
        shardings, args = self.laid_out(args)
        return self.compiled_for(shardings)(*args)

    def laid_out(self, args):
        """The shardings of the inputs, None where :func:`place` said nothing; and the inputs brought there."""
        shardings = tuple([place[0] for place in self.places])
        args = [
            x if s is None or getattr(x, "sharding", None) == s else brought(container.name, x, s)
            for container, x, s in zip(self.containers, args, shardings, strict=True)
        ]
        for i in self.static:
            args[i] = int(args[i])
        return shardings, args

    def compiled_for(self, shardings):
        if shardings not in self.compiled:
            outputs = tuple(None if i is None else shardings[i] for i in self.inputs_of_updates)
            self.compiled[shardings] = jax.jit(
                self.fn, static_argnums=self.static, donate_argnums=self.donated, out_shardings=outputs
            )
        return self.compiled[shardings]

    def text(self, batch):
        """The program that each device has for inputs like these, as the compiler made it."""
        given = iter(batch)
        shardings, args = self.laid_out([next(given) if c is None else c.storage[0] for c in self.containers])
        return self.compiled_for(shardings).lower(*args).compile().as_text()


class OnDevices:
    """The type of an input that takes JAX's arrays as they are. PyTensor's would bring them to the host."""

    def __init__(self, type):
        self.type = type

    def filter(self, value, **kwargs):
        if isinstance(value, jax.Array) and value.dtype == getattr(self.type, "dtype", None):
            sizes = getattr(self.type, "shape", ())
            if len(sizes) == value.ndim and all(n in (None, m) for n, m in zip(sizes, value.shape, strict=True)):
                return value
        return self.type.filter(value, **kwargs)

    def filter_inplace(self, value, storage, **kwargs):
        return self.filter(value, **kwargs)

    def is_valid_value(self, value, **kwargs):
        return isinstance(value, jax.Array) or self.type.is_valid_value(value, **kwargs)


JAX_SHARDED = Mode(ShardedJAXLinker(), get_mode("JAX").provided_optimizer)
"""The mode ``"JAX"`` for many devices: what :func:`place` laid out stays there, whatever is set or trained.

It takes JAX's arrays, such as those of :func:`feed`, as inputs, without bringing them to the host; and it donates the
old values of what is updated, as :data:`symupdates.modes.JAX_DONATED` does.
"""


# --- Data -------------------------------------------------------------------------------------------------------------


def feed(
    batches: Iterable[ArrayLike | Sequence[ArrayLike]],
    mesh: Mesh,
    axis: str | tuple[str, ...],
    *,
    last: Literal["refuse", "pad"] = "refuse",
    local: bool = False,
) -> Iterator[tuple[jax.Array, ...]]:
    """Divide batches among the devices of a mesh, along their first dimension.

    Parameters
    ----------
    batches : iterable of arrays, or of tuples or lists of arrays
        The batches. With several processes, each gives the same ones, and copies of each only the rows that its own
        devices take.
    mesh : jax.sharding.Mesh
        The devices.
    axis : str or tuple of str
        The axis, or axes, of the mesh to divide by. Devices along other axes have the same rows.
    last : {"refuse", "pad"}
        What to do with a batch whose rows the devices do not divide. ``"refuse"`` raises an error. ``"pad"`` appends
        rows of zeros to each batch that is shorter than the first, and to each batch an array of weights, 1 for a row
        and 0 for an appended one: for a loss ``(weights * losses).sum() / weights.sum()``. They have the dtype of the
        first array of floats, or else floatX. All batches then have the same shape, and one program serves them.
    local : bool
        With several processes, that each gives its own rows, equally many. They are joined in the order of the
        processes.

    Returns
    -------
    iterator of tuples of jax.Array
        The arrays of each batch, divided; with ``last="pad"``, the weights after them.

    Raises
    ------
    ValueError
        For arrays of a batch with different numbers of rows, or without a first dimension; rows that the devices do
        not divide; a batch longer than the first, with ``last="pad"``; an axis that the mesh does not have. The
        batch is named by its number.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from symupdates.sharding import feed
    >>> mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])
    >>> for x, weights in feed([np.arange(4.0), np.arange(3.0)], mesh, "data", last="pad"):
    ...     print(x, weights)
    [0. 1. 2. 3.] [1. 1. 1. 1.]
    [0. 1. 2. 0.] [1. 1. 1. 0.]
    """
    if last not in ("refuse", "pad"):
        raise ValueError(f"last must be 'refuse' or 'pad', not {last!r}.")
    flag("feed: local", local)
    axes = (axis,) if isinstance(axis, str) else axis
    if not isinstance(axes, tuple | list) or not all(isinstance(name, str) for name in axes):
        raise TypeError(f"feed: axis must be the name of an axis of the mesh, or a tuple of names, not {axis!r}.")
    if not isinstance(batches, Iterable):
        raise TypeError(f"feed: batches must be a list of batches, or another iterable of them, not {batches!r}.")
    axes = tuple(axes)
    mesh = automatic(mesh)
    devices = number_of_devices("feed", axes, mesh)
    return fed(batches, NamedSharding(mesh, PartitionSpec(axes)), devices, last == "pad", local)


def fed(batches, sharding, devices, pad, local):
    """The generator of :func:`feed`, which has checked its arguments before the first batch is asked for."""
    processes = jax.process_count() if local else 1
    among = f"the {devices} devices of {' and '.join(map(repr, axes_of(sharding.spec)))}"
    full = None
    for number, batch in enumerate(batches):
        arrays = [np.asarray(x) for x in (batch if isinstance(batch, tuple | list) else (batch,))]
        told = f"feed: batch {number}"
        if not arrays or not all(x.ndim for x in arrays):
            raise ValueError(f"{told} has an array without a first dimension to divide, or no array.")
        if strange := [str(x.dtype) for x in arrays if x.dtype.kind not in "biufc"]:
            raise TypeError(f"{told} has an array of {strange[0]}; give arrays of numbers.")
        rows = len(arrays[0])
        if any(len(x) != rows for x in arrays):
            raise ValueError(
                f"{told} has arrays of {' and '.join(str(len(x)) for x in arrays)} rows; give equally many."
            )
        if pad:
            if full is None:
                full = -(-rows * processes // devices) * devices // processes
            if rows > full:
                raise ValueError(f"{told} has {rows} rows, more than the {full} that the first was padded to.")
            arrays = [np.concatenate([x, np.zeros((full - rows, *x.shape[1:]), x.dtype)]) for x in arrays]
            floats = [x.dtype for x in arrays if x.dtype.kind == "f"]
            arrays.append((np.arange(full) < rows).astype(floats[0] if floats else pytensor.config.floatX))
        elif not rows or rows * processes % devices:
            raise ValueError(
                f"{told} has {rows} rows, which cannot be divided among {among}. Leave that batch out; or give "
                "last='pad' and weigh the rows in the loss."
            )
        if local:
            yield tuple(jax.make_array_from_process_local_data(sharding, np.array(x)) for x in arrays)
        else:
            yield tuple(put(x, sharding) for x in arrays)


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def state_dict(updates: UpdatesLike) -> OrderedDict[str, np.ndarray]:
    """The values of all keys of an updates dict, by name, wherever they lie: :func:`symupdates.state_dict`.

    Parameters
    ----------
    updates : dict
        An updates dict. With several processes, all have to call this.

    Returns
    -------
    OrderedDict
        Names and whole NumPy arrays, in each process.
    """
    return OrderedDict((name, np.array(array)) for name, array in gathered(states.named(updates)))


def save(file: str | bytes | os.PathLike[str], updates: StateLike) -> None:
    """Save the values of everything that a step moves to a file, once: :func:`symupdates.save`.

    Parameters
    ----------
    file : str or path
        The file. The first process writes it, one variable after the other, and the others wait until it is there.
        :func:`symupdates.load` reads it in each process, however many there are then, and on any mesh.
    updates : dict, or list of shared variables
        An updates dict, or what :func:`symupdates.save` takes in its place. With several processes, all have to call
        this.

    Raises
    ------
    OSError
        If it cannot be written, in all processes; the old file is still there. The other errors of
        :func:`symupdates.save` are raised in the first process, and this one in the others.
    """
    variables = states.by_name("save", updates)
    failure, arrays = None, gathered(variables)
    try:
        if jax.process_index() == 0:
            checkpoint.write(file, list(variables), arrays)
        drain(arrays)
    except Exception as error:  # to be raised when the others know
        failure = error
        drain(arrays)  # each takes all processes: they stay together when the writing has failed
    failed = multihost_utils.process_allgather(np.array(failure is not None)).any()
    if failure is not None:
        raise failure
    if failed:
        raise OSError(f"the first process could not write {file}.")


def drain(arrays):
    for _ in arrays:
        pass


def gathered(variables):
    """Names and whole arrays; one after the other, so that no more than one is whole at a time."""
    for name, variable in variables.items():
        value = variable.get_value(borrow=True)
        if isinstance(value, jax.Array) and not (value.is_fully_addressable or value.is_fully_replicated):
            check_size(variable)
            yield name, np.asarray(multihost_utils.process_allgather(value, tiled=True), dtype=variable.dtype)
        else:
            yield name, states.borrowed_array(variable)


# --- What it takes ----------------------------------------------------------------------------------------------------


class BytesPerDevice(NamedTuple):
    """Bytes on the device that has the most."""

    parameters: int
    state: int


def bytes_per_device(updates: UpdatesLike | Parameters) -> BytesPerDevice:
    """The memory that the values of an updates dict take on each device.

    Parameters
    ----------
    updates : dict or iterable of shared variables
        An updates dict.

    Returns
    -------
    BytesPerDevice
        Bytes of ``parameters`` (and other variables of yours) and of ``state``, on a single device. Values that are
        NumPy's count whole.
    """
    sizes = {False: 0, True: 0}
    for variable in everything("bytes_per_device", updates):
        if not isinstance(variable.type, RandomType):
            value = variable.get_value(borrow=True)
            shape = value.sharding.shard_shape(value.shape) if isinstance(value, jax.Array) else value.shape
            sizes[is_state(variable)] += prod(shape) * value.dtype.itemsize
    return BytesPerDevice(sizes[False], sizes[True])


class Collective(NamedTuple):
    """An operation in which devices exchange arrays.

    Attributes
    ----------
    kind
        ``"all-reduce"``, ``"all-gather"``, ``"reduce-scatter"``, ``"all-to-all"`` or ``"collective-permute"``.
    arrays
        How many arrays it takes at once.
    bytes
        Their size before they are divided or after they are joined, in bytes.
    """

    kind: str
    arrays: int
    bytes: int


KINDS = "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"
INSTRUCTION = re.compile(r"%([\w.-]+) = (.+?) ([\w-]+)\((.*?)\)")  # name, type, operation, operands
ARRAY = re.compile(r"(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")  # bits of an element, shape


def collectives(function: Function, *batch: ArrayLike) -> list[Collective]:
    """What the devices exchange in a step of a compiled function.

    Parameters
    ----------
    function : pytensor.compile.Function
        A function compiled with :data:`JAX_SHARDED`.
    *batch : arrays
        Its inputs, as :func:`feed` gives them. They are not computed with; nothing is updated.

    Returns
    -------
    list of Collective
        In the order of the compiled program. One in a loop stands there once.

    Raises
    ------
    TypeError
        For a function compiled with another mode, or another number of inputs.
    """
    program = getattr(getattr(function, "vm", None), "jit_fn", None)
    if not isinstance(program, Program):
        raise TypeError("collectives are those of a function compiled with mode=symupdates.sharding.JAX_SHARDED.")
    inputs = program.containers.count(None)
    if len(batch) != inputs:
        raise TypeError(f"the function has {inputs} inputs, and {len(batch)} were given for its batch.")
    return collectives_in(program.text(batch))


def collectives_in(text):
    """Those in XLA's text of a program: ``%x = (f32[8,4]{1,0}, f32[4]{0}) all-reduce(%y, %z), ...``."""
    instructions = [INSTRUCTION.search(line).groups() for line in text.splitlines() if INSTRUCTION.search(line)]
    sizes = {name: [bytes_of(*array) for array in ARRAY.findall(type)] for name, type, _, _ in instructions}
    found = []
    for name, _, operation, operands in instructions:
        kind = operation.removesuffix("-start")
        if kind in KINDS:
            taken = [sum(sizes[operand]) for operand in re.findall(r"%([\w.-]+)", operands)]
            made = sizes[name]
            if len(made) == 2 * len(taken):
                made = made[len(taken) :]  # what starts one has its operands among its results
            found.append(Collective(kind, len(taken), max(sum(taken), sum(made))))
    return found


def bytes_of(bits, shape):
    return int(bits or 8) * prod(int(n) for n in shape.split(",") if n) // 8
