"""Compilation modes for training, to be given to ``pytensor.function(..., mode=...)``."""

import numpy as np
from pytensor.compile.mode import Mode, get_mode
from pytensor.graph.basic import Constant
from pytensor.link.jax.linker import JAXLinker
from pytensor.link.numba.linker import NumbaLinker
from pytensor.link.utils import raise_with_op
from pytensor.scalar import ScalarType

__all__ = ["JAX_DONATED", "NUMBA_PER_PARAMETER", "DonatingJAXLinker", "PerParameterNumbaLinker"]


class DonatingJAXLinker(JAXLinker):
    """PyTensor's linker for JAX, with the old values of all that is updated donated.

    XLA then writes the new values into the memory of the old ones, where it would else allocate, and fill, memory for
    all parameters and state at every call.
    """

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
"""The mode ``"JAX"`` with donation: the same numbers, and a step at the speed of memory.

The arrays that a step has replaced are gone: values taken by ``get_value(borrow=True)`` before it raise an error when
they are read after. ``get_value()``, checkpoints and averages take copies and are not concerned. Two shared variables
must not hold one JAX array, as after ``b.set_value(a.get_value(borrow=True), borrow=True)``.
"""


class PerParameterNumbaLinker(NumbaLinker):
    """PyTensor's linker for numba, with the loops that only update parameters compiled each for itself.

    The linker makes one function of a graph, and what LLVM takes for it grows with more than the square of the arrays
    that go in and out: minutes for a hundred parameters. A loop that changes a parameter and its state in place, and
    whose results nothing else reads, is here a function of its own, called after the rest. Parameters of the same type
    that are trained by the same rule share it.
    """

    def create_jitable_thunk(self, compute_map, order, input_storage, output_storage, storage_map):
        from pytensor.link.numba.dispatch.basic import numba_funcify_ensure_cache  # numba is optional

        fgraph = self.fgraph
        places = {variable: i for i, variable in enumerate(fgraph.outputs)}
        loops = [node for node in fgraph.toposort() if only_updates_in_place(node, fgraph)]
        apart = {places[variable] for node in loops for variable in node.outputs}
        rest = [i for i in range(len(fgraph.outputs)) if i not in apart]
        if not loops:
            return super().create_jitable_thunk(compute_map, order, input_storage, output_storage, storage_map)

        given = {v for node in loops for v in node.inputs if v.owner is not None}
        between = [v for v in given if v not in {fgraph.outputs[i] for i in rest}]
        graph, copies = fgraph.clone_get_equiv(check_integrity=False, attach_feature=True)
        for variable in between:
            graph.add_output(copies[variable])
        for i in sorted(apart, reverse=True):
            graph.remove_output(i)
        used = [i for i, variable in enumerate(graph.inputs) if graph.clients[variable]]
        for i in sorted(set(range(len(graph.inputs))) - set(used), reverse=True):
            graph.remove_input(i)
        storages = {"input_storage": input_storage, "output_storage": output_storage, "storage_map": storage_map}
        converted = self.fgraph_convert(graph, order=graph.toposort(), **storages)
        compute = self.jit_compile(converted)

        inputs = [storage_map[fgraph.inputs[i]] for i in used]
        results = [(storage_map[fgraph.outputs[i]], None) for i in rest]
        results += [(storage_map[v], scalar_type(v)) for v in between]
        functions, calls = {}, []
        for node in loops:
            function, key = numba_funcify_ensure_cache(node.op, node=node, **storages)
            key = (key, *(v.type for v in node.inputs)) if key else node
            if key not in functions:
                functions[key] = self.jit_compile((function, key))
            function = functions[key]
            arguments = [[v.data] if isinstance(v, Constant) else storage_map[v] for v in node.inputs]
            calls.append((node, function, arguments, [storage_map[v] for v in node.outputs]))

        def thunk():
            node = loops[0]
            try:
                values = compute(*(x[0] for x in inputs)) or ()  # None for no outputs
                for (storage, as_type), value in zip(results, values, strict=True):
                    storage[0] = value if as_type is None else as_type(value)
                for node, function, arguments, stored in calls:  # noqa: B007
                    values = function(*(x[0] for x in arguments))
                    for storage, value in zip(stored, values if len(stored) > 1 else (values,), strict=True):
                        storage[0] = value
            except Exception:
                raise_with_op(fgraph, node, thunk)

        thunk.inputs = [storage_map[v] for v in fgraph.inputs]
        thunk.outputs = [storage_map[v] for v in fgraph.outputs]
        thunk.lazy = False
        return [thunk], [loops[0]], compute


def only_updates_in_place(node, fgraph):
    """Whether all that a loop computes are next values, each in the place of the old one, that nothing else reads."""
    sources = {fgraph.outputs[o]: fgraph.inputs[i] for o, i in fgraph.update_mapping.items()}
    return "Elemwise" in type(node.op).__name__ and all(
        variable in sources
        and [node.inputs[k] for k in node.op.destroy_map.get(place, ())] == [sources[variable]]
        and len(fgraph.clients[variable]) == 1
        for place, variable in enumerate(node.outputs)
    )


def scalar_type(variable):
    """What makes the number that numba returns, a Python float, one of the right dtype again; None for an array."""
    return np.dtype(variable.type.dtype).type if isinstance(variable.type, ScalarType) else None


NUMBA_PER_PARAMETER = Mode(PerParameterNumbaLinker(), get_mode("NUMBA").provided_optimizer)
"""The mode ``"NUMBA"`` for models of many parameters, from about twenty on: compiled in a fraction of the time."""
