"""Compilation modes for training, to be given to ``pytensor.function(..., mode=...)``."""

import numpy as np
from pytensor.compile.mode import Mode, get_mode
from pytensor.graph.basic import Constant, clone_get_equiv
from pytensor.graph.destroyhandler import DestroyHandler
from pytensor.graph.fg import FunctionGraph
from pytensor.link.jax.linker import JAXLinker
from pytensor.link.numba.linker import NumbaLinker
from pytensor.link.utils import raise_with_op
from pytensor.scalar import ScalarType
from pytensor.tensor.math import Prod, Sum

__all__ = ["JAX_DONATED", "NUMBA_PER_PARAMETER", "DonatingJAXLinker", "PerParameterNumbaLinker"]


class DonatingJAXLinker(JAXLinker):
    """PyTensor's linker for JAX, with the old values of all that is updated donated, and sums of their own dtype.

    XLA then writes the new values into the memory of the old ones, where it would else allocate, and fill, memory for
    all parameters and state at every call. PyTensor's linker gives a sum the dtype it accumulates in, double for single
    precision, without accumulating in it; all that is computed from the sum, such as the gradients behind a softmax,
    would be of double precision.
    """

    def make_all(self, *args, **kwargs):
        for node in list(self.fgraph.apply_nodes):
            if isinstance(node.op, Sum | Prod) and node.op.acc_dtype != node.outputs[0].dtype:
                in_own_dtype = node.op.clone(acc_dtype=node.outputs[0].dtype)
                self.fgraph.replace(node.outputs[0], in_own_dtype(*node.inputs), reason="accumulate in its own dtype")
        return super().make_all(*args, **kwargs)

    def fgraph_convert(self, fgraph, **kwargs):
        converted = super().fgraph_convert(fgraph, **kwargs)
        self.donated = tuple(sorted(set(fgraph.update_mapping.values()) - set(self.scalar_shape_inputs)))
        return converted

    def jit_compile(self, fn):
        import jax  # only when a function is compiled: JAX is optional

        static = self.scalar_shape_inputs
        jitted = jax.jit(fn, static_argnums=static, donate_argnums=self.donated)
        if not static:
            return jitted
        return lambda *args: jitted(*(int(x) if i in static else x for i, x in enumerate(args)))


JAX_DONATED = Mode(DonatingJAXLinker(), get_mode("JAX").provided_optimizer)
"""The mode ``"JAX"`` with donation: a step at the speed of memory.

The numbers are the same but for the rounding of float32: a model in float32 computes in float32 throughout. By
``"JAX"`` alone, where floatX is float64, a sum comes out in double precision, and so does what depends on it: with a
softmax, all gradients.

The arrays that a step has replaced are gone: values taken by ``get_value(borrow=True)`` before it raise an error when
they are read after. ``get_value()``, checkpoints and averages take copies and are not concerned. Two shared variables
must not hold one JAX array, as after ``b.set_value(a.get_value(borrow=True), borrow=True)``.
"""


class PerParameterNumbaLinker(NumbaLinker):
    """PyTensor's linker for numba, with the loops that update parameters compiled each for itself.

    The linker makes one function of a graph, and what LLVM takes for it grows with more than the square of the arrays
    that go in and out: minutes for a hundred parameters. A loop that changes a parameter and its state in place is here
    a function of its own, called after what it depends on and before what reads its results, such as the sum of a
    penalty's squares, with which PyTensor fuses it. Parameters of the same type that are trained by the same rule share
    it.
    """

    def create_jitable_thunk(self, compute_map, order, input_storage, output_storage, storage_map):
        from pytensor.link.numba.dispatch.basic import numba_funcify_ensure_cache  # numba is optional

        fgraph = self.fgraph
        before, loops, after = stages(fgraph)
        if not loops:
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
                add(nodes[0] if nodes else loops[0], function, arguments, results)

        unchanged = [v for v in fgraph.outputs if v.owner is None]
        add_stage(before, unchanged + read_outside(before, fgraph))
        for node in loops:
            function, key = numba_funcify_ensure_cache(node.op, node=node, **storages)
            key = (key, *(v.type for v in node.inputs)) if key else node
            if key not in functions:
                functions[key] = self.jit_compile((function, key))
            add(node, functions[key], node.inputs, node.outputs)
        add_stage(after, read_outside(after, fgraph))

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
        return [thunk], [loops[0]], calls[0][1]


def stages(fgraph):
    """The nodes that come before the loops that update in place, these loops, and what comes after; each in order."""
    by_stage, stage_of = ([], [], []), {}
    before, loop, after = range(3)
    first = fgraph.orderings()  # readers of what is destroyed, before those who destroy it
    for node in fgraph.toposort():
        needed = [*(v.owner for v in node.inputs if v.owner), *first.get(node, ())]
        latest = max((stage_of[n] for n in needed), default=before)
        if latest != after and updates_in_place(node, fgraph):
            stage_of[node] = loop
        else:
            stage_of[node] = before if latest == before else after
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


NUMBA_PER_PARAMETER = Mode(PerParameterNumbaLinker(), get_mode("NUMBA").provided_optimizer)
"""The mode ``"NUMBA"`` for models of many parameters, from about twenty on: compiled in a fraction of the time."""
