"""Traces: whatever is made knows the line of the user's that it was made for."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.traversal import ancestors
from pytensor.scalar import Exp

import symupdates as su

LIMIT = 8  # PyTensor's own, which these tests else run without


@pytest.fixture
def model():
    p = pytensor.shared(np.ones(2), name="p")
    with pytensor.config.change_flags(traceback__limit=LIMIT):
        yield p, (p**2).sum()


def functions_traced(v):
    """The files and functions in the traces of a variable."""
    return {(file, function) for trace in v.tag.trace for file, _, function, _ in trace}


def made(updates, before):
    known = set(ancestors(before))
    return [v for v in ancestors(updates.values()) if v.owner and v not in known]


def test_all_that_is_made_has_the_trace_of_the_call(model):
    p, loss = model

    def the_users_line():
        stages = [su.gradients.clip_by_total_norm(), lambda grads: [2 * g for g in grads], su.adam(), su.apply_ema()]
        return su.chain(*stages)(loss, [p])

    variables = made(the_users_line(), [loss])
    assert len(variables) > 50
    doubled = [v for v in variables if (__file__, "<lambda>") in functions_traced(v)]
    assert doubled
    assert all((__file__, "the_users_line") in functions_traced(v) for v in variables if v not in doubled)
    assert pytensor.config.traceback__limit == LIMIT


def test_what_a_users_function_makes_has_traces_of_its_own(model):
    p, loss = model

    def schedule(t):
        return pt.exp(-t)

    updates = su.sgd(loss, [p], learning_rate=schedule)
    [exp] = [v for v in made(updates, [loss]) if isinstance(getattr(v.owner.op, "scalar_op", None), Exp)]
    assert (__file__, "schedule") in functions_traced(exp)


@pytest.mark.parametrize("limit", [0, 1])
def test_the_limit_is_the_users(model, limit):
    p, loss = model
    with pytensor.config.change_flags(traceback__limit=limit):
        variables = made(su.momentum(loss, [p], 0.1), [loss])
    assert {len(trace) for v in variables for trace in v.tag.trace} == ({limit} if limit else set())


def test_an_error_leaves_the_limit(model):
    with pytest.raises(ValueError, match="duplicate"):
        su.sgd(model[1], [model[0]] * 2, 0.1)
    assert pytensor.config.traceback__limit == LIMIT
