"""Expressions of many runs, node by node, against those of one run computed for each."""

import warnings
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import FAST_COMPILE
from pytensor.graph.replace import graph_replace

from symupdates.core.many import Single, vectorized, whole

try:
    from pytensor.conditional import ifelse
except ImportError:  # PyTensor before 3.3
    from pytensor.ifelse import ifelse

N = 3
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 4, 5)), RNG.normal(size=(N, 2, 5))
NUMBER, VECTOR, MATRIX = (RNG.integers(0, 4, size=(N, *shape)) for shape in [(), (2,), (2, 2)])

x, y = pt.matrix("x", dtype="float64"), pt.matrix("y", dtype="float64")
i, j, k = pt.lscalar("i"), pt.lvector("j"), pt.lmatrix("k")
VARIABLES = {x: X, y: Y, i: NUMBER, j: VECTOR, k: MATRIX}


INDICES = {
    "number": lambda x: x[i],
    "number of the second axis": lambda x: x[:, i],
    "numbers": lambda x: x[i, i - 1],
    "last": lambda x: x[-1, 1:],
    "rows": lambda x: x[j],
    "rows, a part of each": lambda x: x[j, 1:3],
    "columns": lambda x: x[:, j],
    "columns of some": lambda x: x[1:3, j],
    "elements": lambda x: x[j, j],
    "matrix of rows": lambda x: x[k],
    "matrix of columns": lambda x: x[:, k],
    "broadcast": lambda x: x[k, j],
    "number and array": lambda x: x[i, j],
    "new axis": lambda x: x[None, j],
    "new axis between": lambda x: x[j, None, j],
    "apart": lambda x: x.dimshuffle(0, "x", 1)[j, :, j],
    "from the end": lambda x: x[-j, ::-1],
    "known": lambda x: x[np.array([2, 0])] + x[:, np.array([1, 3])].sum(),
    "mask": lambda x: x[np.array([True, False, True, True])],
}


WRITTEN = ["number", "number of the second axis", "last", "rows", "columns", "columns of some", "broadcast", "new axis"]


def compare(expression, differing, mode=FAST_COMPILE):
    """The expression of many runs, of which those variables differ, against the one computed for each run."""
    used = [v for v in VARIABLES if v in differing]
    same = {v: pt.constant(array[0]) for v, array in VARIABLES.items() if v not in differing}
    one = graph_replace(expression, same, strict=False)
    stacks = {v: pt.tensor(dtype=v.dtype, shape=(N, *[None] * v.ndim)) for v in used}
    new = vectorized([one], stacks, N)
    many = pytensor.function([*stacks.values()], whole(one, new.get(one, one), N), mode=mode, on_unused_input="ignore")
    single = pytensor.function(used, one, mode=mode, on_unused_input="ignore")
    given = [VARIABLES[v] for v in used]
    value = many(*given)
    np.testing.assert_allclose(value, [single(*(array[run] for array in given)) for run in range(N)], rtol=1e-13)
    assert len(np.unique(value)) > 1


IN_CI = partial(pytest.param, marks=pytest.mark.ci)


@pytest.mark.parametrize(
    "differing",
    [pytest.param({x, y, i, j, k}, id="both"), IN_CI({x}, id="tensor"), IN_CI({i, j, k}, id="indices")],
)
@pytest.mark.parametrize("index", INDICES)
def test_reading(index, differing):
    known = index in ("known", "mask", "last") and x not in differing
    compare(INDICES[index](x) + (x.sum() * i if known else 0), differing)


@pytest.mark.parametrize("write", [pt.set_subtensor, pt.inc_subtensor])
@pytest.mark.parametrize(
    "differing",
    [
        pytest.param({x, y, i, j, k}, id="all"),
        IN_CI({x}, id="tensor"),
        IN_CI({i, j, k}, id="indices"),
        IN_CI({y}, id="values"),
    ],
)
@pytest.mark.parametrize("index", WRITTEN)
def test_writing(index, differing, write):
    """Of all elements, and of one value for all; an element that is met twice has both added."""
    part = INDICES[index](x)
    weights = pt.arange(1.0, 1 + part.size).reshape(part.shape)
    both = write(part, y.sum() * weights), write(part, y[0, 0])
    # Where an element is set twice, which value it has is not defined.
    compare(
        pt.stack(both if write is pt.inc_subtensor or index not in ("broadcast", "rows", "columns") else both[1:]) + i,
        differing,
    )


def test_gradients_at_indices():
    picked = x[pt.arange(2), j]
    compare(pytensor.grad((picked**3).sum() + (x[j] ** 2 * x[i]).sum(), x), {x, j, i})


def test_shapes_are_the_same_in_all_runs():
    z = pt.dot(x, y.T)
    compare(z / z.shape[0] + pt.ones((z.shape[1],)) + pt.zeros_like(z) + x.reshape((x.size,)).sum() * z.size, {x, y})


def test_sorts():
    compare(pt.sort(x, axis=0) + x[:, pt.argsort(x[0])] + pt.sort(x, axis=-1), {x})


def test_branches():
    compare(ifelse(pt.lt(i, 2), x + 1, x * 0), {x, i})
    with np.errstate(invalid="ignore"):
        compare(ifelse(pt.lt(i, 9), x, pt.log(-abs(x))), {x, i})


def test_what_has_another_length_in_each_run_is_refused():
    for expression in (x[:i], x[pt.gt(x[:, 0], 0)]):
        with pytest.raises(Single, match="cannot be computed for many runs"):
            vectorized([expression], {x: pt.tensor3(dtype="float64"), i: pt.lvector()}, N)


def test_draws():
    """All runs draw from one generator, other numbers; with a size or without, whatever differs."""
    rng = pytensor.shared(np.random.default_rng(1))
    for differing in (set(), {x}, {x, y}):
        stacks = {v: pt.constant(VARIABLES[v]) for v in differing}
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of PyTensor, from 3.0 on
            one = [
                pt.random.normal(10 * x, 1.0, rng=rng),
                pt.random.uniform(size=x.shape, rng=rng),
                pt.random.normal(y.sum(), abs(x[0]), size=(2, 5), rng=rng),
                pt.random.multinomial(7, abs(y) / abs(y).sum(axis=1, keepdims=True), rng=rng),
            ]
        given = {v: VARIABLES[v][0] for v in (x, y) if v not in differing}
        new = vectorized(one, stacks, N)
        draws = pytensor.function([], [new[v] for v in one], mode=FAST_COMPILE, givens=given)()
        normal, uniform, scaled, counts = draws
        assert normal.shape == uniform.shape == (N, 4, 5) and scaled.shape == (N, 2, 5) and counts.shape == (N, 2, 5)
        assert all(len(np.unique(draw[:, 0, 0])) == N for draw in (normal, uniform, scaled))
        assert len({draw.tobytes() for draw in counts}) == N and np.all(counts.sum(axis=-1) == 7)
        means = 10 * (X if x in differing else np.stack([X[0]] * N))
        assert np.max(abs(normal - means)) < 5


@pytest.mark.long
def test_on_every_backend(backend):
    z = x[j, 1:3] * x[:, i].sum() + pt.set_subtensor(x[:, j], y[0, 0])[:2, :2]
    z = z + pytensor.grad((x[pt.arange(2), j] ** 3).sum(), x)[:2, :2] + pt.sort(x, axis=0)[:, pt.argsort(x[0])][:2, :2]
    compare(ifelse(pt.lt(i, 2), z, -z), {x, y, i, j}, backend)
