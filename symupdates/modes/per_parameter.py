"""The linker of NUMBA_PER_PARAMETER."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from math import prod

import numpy as np
from pytensor.configdefaults import config
from pytensor.graph.basic import Constant, clone_get_equiv
from pytensor.graph.destroyhandler import DestroyHandler
from pytensor.graph.fg import FunctionGraph
from pytensor.link.numba.linker import NumbaLinker
from pytensor.link.utils import raise_with_op
from pytensor.scalar import ScalarType
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.type import TensorType

from symupdates.modes.threads import checked, usable

try:
    from pytensor.conditional import LazyIfElse
except ImportError:  # PyTensor before 3.3
    LazyIfElse = ()

PIECE = 2**19  # elements: half a millisecond of a loop such as Adam's, where another call takes some microseconds


class PerParameterNumbaLinker(NumbaLinker):
    """PyTensor's linker for numba, with the loops that update parameters compiled each for itself.

    The linker makes one function of a graph, and what LLVM takes for it grows with more than the square of the arrays
    that go in and out: minutes for a hundred parameters. A loop that changes a parameter and its state in place is here
    a function of its own, called after what it depends on and before what reads its results, such as the sum of a
    penalty's squares, with which PyTensor fuses it. Parameters of the same dtype and number of axes that are trained by
    the same rule share it, whatever their lengths. A large array is cut into slices that threads share.

    From PyTensor 3.3 on, so is a loop that makes a number of what these loops read, as for the norm of the gradients;
    and each branch of a condition, which is compiled when it is first taken.

    Parameters
    ----------
    threads : int, optional
        How many threads may share a large array; by default as many as the process may use when it is called.
    """

    def __init__(self, *args, threads=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.threads = checked(threads)

    def create_jitable_thunk(self, compute_map, order, input_storage, output_storage, storage_map):
        from pytensor.link.numba.dispatch.basic import numba_funcify_ensure_cache  # numba is optional

        fgraph = self.fgraph
        by_stage = stages(fgraph)
        if len(by_stage) == 1:
            return super().create_jitable_thunk(compute_map, order, input_storage, output_storage, storage_map)
        storages = {"input_storage": input_storage, "output_storage": output_storage, "storage_map": storage_map}
        calls, functions = [], {}

        def add(node, function, arguments, results):
            arguments = [[v.data] if isinstance(v, Constant) else storage_map[v] for v in arguments]
            calls.append((node, function, arguments, [(storage_map[v], scalar_type(v)) for v in results]))

        def add_stage(nodes, results):
            if results:
                graph, arguments = part(nodes, results)
                function = self.jit_compile(self.fgraph_convert(graph, order=graph.toposort(), **storages))
                add(nodes[0] if nodes else by_stage[1][0], function, arguments, results)

        def add_apart(node):
            if isinstance(node.op, LazyIfElse):
                add(node, self.compile_branches(node, **storages), node.inputs, node.outputs)
                return
            add(node, function_of(node), node.inputs, node.outputs)

        def function_of(node):
            is_cut = may_be_cut(node)
            kind = (node.op, is_cut, *(compiled_as(v.type, node.op) for v in node.inputs))
            if kind in functions:
                return functions[kind]
            loop, key = numba_funcify_ensure_cache(node.op, node=node, **storages)
            if key is None:
                return compile_loop(loop, key, node, is_cut)
            if (key, is_cut) not in functions:  # that of PyTensor's cache: what has the same is the same code
                functions[key, is_cut] = compile_loop(loop, key, node, is_cut)
            functions[kind] = functions[key, is_cut]
            return functions[kind]

        def compile_loop(loop, key, node, is_cut):
            if is_cut:
                return in_pieces(without_the_lock(loop, key), node, self.threads)
            return self.compile_whole(loop, key)

        unchanged = [v for v in fgraph.outputs if v.owner is None]
        for place, nodes in enumerate(by_stage):
            if place % 2:
                for node in nodes:
                    add_apart(node)
            else:
                add_stage(nodes, (unchanged if place == 0 else []) + read_outside(nodes, fgraph))

        def thunk():
            for node, function, arguments, results in calls:
                try:
                    values = function(*(x[0] for x in arguments))
                except Exception:
                    raise_with_op(fgraph, node, thunk)
                values = values if isinstance(values, tuple) else (values,)
                for (storage, as_type), value in zip(results, values, strict=True):
                    storage[0] = value if as_type is None else as_type(value)

        thunk.inputs = [storage_map[v] for v in fgraph.inputs]
        thunk.outputs = [storage_map[v] for v in fgraph.outputs]
        thunk.lazy = False
        return [thunk], [by_stage[1][0]], calls[0][1]

    def compile_whole(self, function, key):
        """As PyTensor does; but without its cache, what it has of a node is not to be compiled by itself."""
        return self.jit_compile((function, key)) if hasattr(function, "py_func") else without_the_lock(function, key)

    def compile_branches(self, node, **storages):
        """The branches of a condition, each compiled when it is first taken: that of a rare overflow never is."""
        from pytensor.link.numba.dispatch.basic import numba_funcify_ensure_cache

        @cache
        def compiled(branch):
            return self.compile_whole(*numba_funcify_ensure_cache(branch, node=node, **storages))

        return lambda condition, *xs: compiled(node.op.true_branch if condition else node.op.false_branch)(*xs)


def compiled_as(type_, op):
    """What the code of a loop depends on, of the type of an input: the lengths of its axes are read when it is called.

    PyTensor's loops that gather and reduce have graphs of their own, with the types in them.
    """
    is_plain = isinstance(op, Elemwise) and isinstance(type_, TensorType)
    return (type_.dtype, type_.broadcastable) if is_plain else type_


def may_be_cut(node):
    """Whether it is a loop all of whose results are in place, over arrays that may be large."""
    shape = node.outputs[0].type.shape
    return (
        isinstance(node.op, Elemwise)
        and len(node.op.destroy_map) == len(node.outputs)
        and (None in shape or prod(shape) >= 2 * PIECE)
    )


def without_the_lock(function, key):
    """A function of numba's, compiled to be called from Python and to leave the interpreter to other threads.

    It has a key of its own, since numba's cache would give it what was compiled to keep the lock.
    """
    from pytensor.link.numba.cache import compile_numba_function_src
    from pytensor.link.numba.dispatch.basic import numba_njit

    caller = compile_numba_function_src(
        "def loop(*arguments): return function(*arguments)",
        "loop",
        globals() | {"function": function},
        cache_key=key and f"{key}_fastmath{int(config.numba__fastmath)}_nogil",
    )
    return numba_njit(caller, final_function=True, cache=key is not None, nogil=True)


def in_pieces(loop, node, threads):
    """The loop of a node, all of whose results are in place, called for one piece of large arrays after the other.

    Whoever computes a piece, one thread or several, computes the same to the bit. Arrays are seen as one row, for numba
    vectorises along rows.
    """
    arrays = [k for k, v in enumerate(node.inputs) if not all(v.type.broadcastable)]
    results = [node.op.destroy_map[o][0] for o in range(len(node.outputs))]
    row = (*(1,) * (node.outputs[0].type.ndim - 1), -1)

    def call(*arguments):
        size, shape = arguments[arrays[0]].size, arguments[arrays[0]].shape
        if size < 2 * PIECE:
            return loop(*arguments)
        if not all(arguments[k].shape == shape and arguments[k].flags.c_contiguous for k in arrays):
            return loop(*arguments)
        rows = {k: arguments[k].reshape(row) for k in arrays}
        pieces = deque(slice(start, start + PIECE) for start in range(0, size, PIECE))

        def share():
            while pieces:
                try:
                    piece = pieces.popleft()
                except IndexError:  # another thread was faster
                    return
                loop(*(rows[k][..., piece] if k in rows else x for k, x in enumerate(arguments)))

        others = min(threads or usable(), size // PIECE) - 1
        calls = [workers(os.getpid()).submit(share) for _ in range(others)]
        try:
            share()
        finally:
            share()  # an interrupt leaves no array half done
            begun = [each for each in calls if not each.cancel()]
            wait(begun)
        for each in begun:
            each.result()
        return tuple(arguments[k] for k in results)

    return call


@cache
def workers(process):
    """The threads of a process: those of its parent did not come along with it."""
    return ThreadPoolExecutor(os.cpu_count(), "symupdates")


def stages(fgraph):
    """The nodes in lists, one computed after the other: at odd places those that are compiled each for itself."""
    by_stage, stage_of = [[]], {}
    first, nodes = fgraph.orderings(), fgraph.toposort()  # readers of what is destroyed, before those who destroy it
    loops = {node for node in nodes if updates_in_place(node, fgraph)}
    arrays = {v for node in loops for v in node.inputs}
    for node in nodes:
        needed = [*(v.owner for v in node.inputs if v.owner), *first.get(node, ())]
        latest = max((stage_of[n] for n in needed), default=0)
        is_apart = node in loops or isinstance(node.op, LazyIfElse) or reduces(node, arrays)
        stage_of[node] = latest + (latest % 2 != is_apart)
        while len(by_stage) <= stage_of[node]:
            by_stage.append([])
        by_stage[stage_of[node]].append(node)
    return by_stage


def updates_in_place(node, fgraph):
    """Whether it is a loop over axes that overwrites nothing but old values, by next ones that nothing else reads."""
    sources = {fgraph.outputs[o]: fgraph.inputs[i] for o, i in fgraph.update_mapping.items()}
    overwritten = {node.outputs[place]: [node.inputs[k] for k in ks] for place, ks in node.op.destroy_map.items()}
    return (
        "Elemwise" in type(node.op).__name__
        and node.outputs[0].ndim > 0
        and bool(overwritten)
        and all([sources.get(v)] == old and len(fgraph.clients[v]) == 1 for v, old in overwritten.items())
    )


def reduces(node, arrays):
    """Whether it is a loop that makes nothing but numbers, of nothing but these arrays and numbers."""
    return (
        "Elemwise" in type(node.op).__name__
        and all(v.ndim == 0 for v in node.outputs)
        and any(v.ndim > 0 for v in node.inputs)
        and all(v in arrays for v in node.inputs if v.ndim > 0)
    )


def read_outside(nodes, fgraph):
    """What others than these nodes read of their results, or is an output."""
    inside = set(nodes)
    return [v for node in nodes for v in node.outputs if any(reader not in inside for reader, _ in fgraph.clients[v])]


def part(nodes, results):
    """The graph of nothing but these nodes, with these results; and the variables that are its inputs."""
    inside = set(nodes)
    read = [*(v for node in nodes for v in node.inputs), *results]
    arguments = list(dict.fromkeys(v for v in read if v.owner not in inside and not isinstance(v, Constant)))
    copies = clone_get_equiv(arguments, results, copy_orphans=False)
    copied = ([copies[v] for v in variables] for variables in (arguments, results))
    return FunctionGraph(*copied, features=[DestroyHandler()], clone=False), arguments


def scalar_type(variable):
    """What makes the number that numba returns, a Python float, one of the right dtype again; None for an array."""
    return np.dtype(variable.type.dtype).type if isinstance(variable.type, ScalarType) else None
