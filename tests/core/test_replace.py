"""Variables in the place of others."""

import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.traversal import ancestors

import symupdates as su
from symupdates.core.replace import replaced


def test_what_depends_on_none_stays_the_same_variables():
    x, y = pt.scalars("xy")
    kept = pt.exp(y)
    product = x * kept
    product.name, product.tag.mine = "product", "tag"
    new, other = replaced([product + 1, kept], {x: 2 * y})
    assert other is kept and kept in ancestors([new]) and x not in ancestors([new])
    [copied] = [v for v in ancestors([new]) if v.name == "product"]
    assert copied is not product and copied.tag.mine == "tag"
    assert new.eval({y: 0.5}) == pytest.approx(2 * 0.5 * np.exp(0.5) + 1, rel=1e-6)


def test_replacements_are_taken_as_they_are():
    x, y, z = pt.dscalars("xyz")
    double = 2 * x
    expressions = replaced([double - y, x, z, double], {x: y, y: x + z, double: 10 * x})
    values = [v.eval({x: 1.0, y: 20.0, z: 300.0}, on_unused_input="ignore") for v in expressions]
    assert values == [10 - 301, 20, 300, 10]


def test_a_more_specific_type_is_passed_on_and_another_refused():
    x = pt.dvector("x")
    of_three = pytensor.shared(np.arange(3.0), shape=(3,))
    [y] = replaced([2 * x], {x: of_three})
    assert y.type.shape == (3,) and y.eval().tolist() == [0, 2, 4]
    with pytest.raises(TypeError):
        replaced([2 * x], {x: pt.dmatrix()})


def lines(n):
    """How many lines of Python run to build the dict of a model of n layers, with every kind of function."""
    params = [pytensor.shared(np.ones(2), name=f"p{i}") for i in range(n)]
    h = pt.dvector()
    for p in params:
        h = h * p
    grads = pytensor.grad(h.sum(), params)
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        grads = su.gradients.clip_by_total_norm(grads, max_norm=1.0)
        su.adjustable(su.apply_if_finite(su.apply_ema(su.adam(grads, params))))
    finally:
        sys.settrace(before)
    return count


def test_building_is_linear():
    lines(1)  # what is done once
    few, some, many = (lines(n) for n in (8, 16, 32))
    assert (many - some) / (some - few) == pytest.approx(2, rel=0.02)
