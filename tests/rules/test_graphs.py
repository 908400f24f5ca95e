"""What becomes of a rule when it is compiled: one loop over each parameter, in place, and nothing beside it."""

from functools import cache

import pytensor
import pytensor.tensor as pt
import pytest
from conftest import CI_BACKEND
from helpers import IdleNumbaLinker, call, make_param, rules
from pytensor.compile.mode import Mode, get_mode
from pytensor.tensor.blas import Dot22, Dot22Scalar, Gemm
from pytensor.tensor.math import Dot

from symupdates.core import is_state

PRODUCTS = Dot | Dot22 | Dot22Scalar | Gemm


MODES = {
    "CVM": Mode("py", get_mode("CVM").provided_optimizer),
    "NUMBA": Mode(IdleNumbaLinker(), get_mode("NUMBA").provided_optimizer),
}


def compiled(mode, row=None):
    """A float32 model of two layers, trained by a rule, or only differentiated."""
    x = pt.tensor("x", shape=(6, 4), dtype="float32")
    W, V = (pytensor.shared(make_param(shape, "float32").get_value(), shape=shape) for shape in ((4, 5), (5, 3)))
    loss = ((pt.tanh(x @ W) @ V) ** 2).mean()
    if row is None:
        return pytensor.function([x], [loss, *pytensor.grad(loss, [W, V])], mode=MODES[mode]), {}
    updates = call(row, loss, [W, V])
    return pytensor.function([x], loss, updates=updates, mode=MODES[mode]), updates


def is_loop(node):
    return "Elemwise" in type(node.op).__name__  # of which later versions of PyTensor have several


def products(function):
    return sum(isinstance(node.op, PRODUCTS) for node in function.maker.fgraph.apply_nodes)


@cache
def products_of_the_gradients(mode):
    return products(compiled(mode)[0])


# In CI, each environment its own of them, and the first, which has JAX, NUMBA.
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("CVM", marks=pytest.mark.full if CI_BACKEND != "CVM" else ()),
        pytest.param("NUMBA", marks=pytest.mark.full if CI_BACKEND == "CVM" else ()),
    ],
)
@rules(pytest.mark.ci, kinds={"adam", "sm3", "prodigy"})
def test_one_loop_in_place(row, mode):
    function, updates = compiled(mode, row)
    fgraph = function.maker.fgraph
    assert {v.dtype for v in fgraph.variables} <= {"float32", "int64", "int8", "int32", "uint32", "bool", "uint8"}
    made, expected = products(function), products_of_the_gradients(mode) + 2 * row.products
    # PyTensor 3.3 has batched products in the place of some for numba.
    assert made == expected or (row.products and mode == "NUMBA" and made < expected)
    sources = {fgraph.outputs[o]: fgraph.inputs[i] for o, i in fgraph.update_mapping.items()}
    assert len(sources) == len(updates)
    loops = set()
    for output, variable in sources.items():
        if output is variable:  # what only stays, such as the start
            continue
        node = output.owner
        if is_state(variable) and callable(variable.tag.symupdates.shape):
            continue  # a sum or a matrix, which is not computed element by element
        if not row.fused and type(node.op).__name__ == "FusedElemwise":
            continue  # PyTensor 3.3 has numba sum in the same loop, which is then not in place
        place = node.outputs.index(output)
        # A rule that sets a part of its state does that in place as well, in a node of its own.
        destroyed = [node.inputs[i] for i in node.op.destroy_map.get(place, [])]
        # Scalars of several parameters may be computed by one node, which overwrites one of them. A parameter that is
        # computed from its state alone may take the memory of its gradient.
        in_place = destroyed == [variable] or variable.ndim == 0 or (destroyed and variable not in node.inputs)
        assert in_place, f"{variable} is not updated in place by {node}"
        if variable.ndim == 2:
            assert is_loop(node)
            loops.add(node)
    if not row.fused:
        return
    assert len(loops) == 2, "one loop for each parameter and all that is kept for it"
    for node in loops:
        # What is of one element, such as a bias correction, is computed before; anything larger would be read twice.
        large = [v for v in node.inputs if v.owner and not all(getattr(v.type, "broadcastable", ()))]
        assert not any(is_loop(v.owner) for v in large)
