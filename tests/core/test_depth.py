"""Graphs deeper than Python nests calls: the RecursionError tells the way out, which is one."""

import sys
from contextlib import contextmanager

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from symupdates import accumulate, chain, get_or_compute_grads, gradients, loop, partition, sgd, sophia_h


@contextmanager
def recursion_limit(n):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(n)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@pytest.fixture(scope="module")
def deep():
    W = pytensor.shared(np.ones(2), name="W")
    x = W
    for _ in range(600):
        x = -x
    return W, x.sum()


OPTIMIZERS = {
    "get_or_compute_grads": get_or_compute_grads,
    "sgd": sgd,
    "sophia_h": sophia_h,
    "chain": chain(gradients.sign(), sgd()),
    "partition": partition((..., sgd())),
    "accumulate": accumulate(sgd()),
}


def is_told(caught):
    (note,) = (note for note in caught.value.__notes__ if "nested calls" in note)  # once
    assert "sys.setrecursionlimit(" in note and "pytensor.scan" in note


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_deep_losses(optimizer, deep):
    W, loss = deep
    with recursion_limit(500), pytest.raises(RecursionError) as caught:
        optimizer(loss, [W])
    is_told(caught)


@pytest.mark.skipif(pytensor.__version__ >= "3.3", reason="expressions are replaced without recursion")
def test_deep_steps(deep):
    W, loss = deep
    with recursion_limit(20_000):
        updates = sgd(loss, [W], learning_rate=0.5)
    with recursion_limit(500), pytest.raises(RecursionError) as caught:
        loop(None, {W: W - loss * updates[W]}, n_steps=2)
    is_told(caught)


def test_other_errors_stay_as_they_are():
    with pytest.raises(ValueError) as caught:
        sgd(pt.vector(), [pytensor.shared(1.0)])
    assert not hasattr(caught.value, "__notes__")
