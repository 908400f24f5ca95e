"""symupdates.theano's logarithms of probabilities: every form, in every mode and on every backend, by SciPy."""

import numpy as np
import pytensor.tensor as pt
import pytest
import symupdates.theano.tensor as T
from pytensor.compile.mode import Mode, get_mode
from scipy.special import expit, log_softmax, logsumexp, softmax

import symupdates.theano as theano

nnet = T.nnet
X = np.array([[0, 1000, -3], [2, 0.5, -1], [-900, 800, 900], [1, 1, 1]])
Y = np.array([0, 2, 0, 1])
ONE_HOT = np.eye(3)[Y]
ROWS = np.arange(4)


# --- The losses in closed form: value and gradient --------------------------------------------------------------------


def softmax_loss(x):
    return -log_softmax(x, axis=1)[ROWS, Y].mean(), (softmax(x, axis=1) - ONE_HOT) / 4


def sigmoid_loss(x):
    return np.sum(ONE_HOT * np.logaddexp(0, -x) + (1 - ONE_HOT) * np.logaddexp(0, x)), expit(x) - ONE_HOT


def log_sum_exp(axis):
    return lambda x: (logsumexp(x, axis=axis).sum(), softmax(x, axis=axis))


# --- The losses as they are written -----------------------------------------------------------------------------------


def picked(rows):
    """The elements of the true classes."""
    return rows[T.arange(rows.shape[0]), Y]


def binary(log_p, log_q):
    return -T.sum(ONE_HOT * log_p + (1 - ONE_HOT) * log_q)


def by_hand(x):
    return 1 / (1 + T.exp(-x))


BIAS = np.array([1.0, -2.0, 0.5])
FORMS = {
    "indexed before": (softmax_loss, lambda x: -T.mean(T.log(picked(nnet.softmax(x))))),
    "indexed after": (softmax_loss, lambda x: -T.mean(picked(T.log(nnet.softmax(x))))),
    "one-hot": (softmax_loss, lambda x: -T.mean(T.sum(ONE_HOT * T.log(nnet.softmax(x)), axis=1))),
    "bias": (softmax_loss, lambda x: -T.mean(T.log(picked(nnet.softmax_with_bias(x - BIAS, T.constant(BIAS)))))),
    "vectors": (softmax_loss, lambda x: -sum(T.log(nnet.softmax(x[i])[0, Y[i]]) for i in range(4)) / 4),
    "vector": (softmax_loss, lambda x: -sum(T.log(nnet.softmax(x[i]))[0][Y[i]] for i in range(4)) / 4),
    "transposed": (softmax_loss, lambda x: -T.mean(T.log(nnet.softmax(x).T)[Y, ROWS])),
    "other axis": (softmax_loss, lambda x: -T.mean(T.log(pt.special.softmax(x.T, axis=0))[Y, ROWS])),
    "reshaped": (softmax_loss, lambda x: -T.mean(T.log(nnet.softmax(x).reshape((2, 2, 3)).flatten()[3 * ROWS + Y]))),
    "logsoftmax": (softmax_loss, lambda x: -T.mean(picked(nnet.logsoftmax(x)))),
    "classes": (softmax_loss, lambda x: nnet.categorical_crossentropy(nnet.softmax(x), Y).mean()),
    "distributions": (softmax_loss, lambda x: nnet.categorical_crossentropy(nnet.softmax(x), ONE_HOT).mean()),
    "crossentropy": (softmax_loss, lambda x: nnet.crossentropy_softmax_1hot(x, Y)[0].mean()),
    "log(sigmoid)": (sigmoid_loss, lambda x: binary(T.log(nnet.sigmoid(x)), T.log(nnet.sigmoid(-x)))),
    "log(1 - sigmoid)": (sigmoid_loss, lambda x: binary(T.log(1 - nnet.sigmoid(-x)), T.log(1.0 - nnet.sigmoid(x)))),
    "log1p(-sigmoid)": (sigmoid_loss, lambda x: binary(T.log1p(-nnet.sigmoid(-x)), T.log1p(-nnet.sigmoid(x)))),
    "by hand": (sigmoid_loss, lambda x: binary(T.log(by_hand(x)), T.log(1 - by_hand(x)))),
    "reciprocal": (sigmoid_loss, lambda x: binary(T.log(T.inv(T.exp(-x) + 1)), T.log(1 - T.inv(T.exp(-x) + 1.0)))),
    "twice": (sigmoid_loss, lambda x: binary(T.log(1 - (1 - nnet.sigmoid(x))), T.log1p(-nnet.sigmoid(x).T.T))),
    "binary": (sigmoid_loss, lambda x: nnet.binary_crossentropy(nnet.sigmoid(x), ONE_HOT).sum()),
    "flat": (sigmoid_loss, lambda x: nnet.binary_crossentropy(nnet.sigmoid(x).flatten(), ONE_HOT.ravel()).sum()),
    "rows": (log_sum_exp(1), lambda x: T.log(T.sum(T.exp(x), axis=1)).sum()),
    "columns": (log_sum_exp(0), lambda x: T.log(T.exp(x).sum(axis=0, keepdims=True)).sum()),
    "all": (log_sum_exp(None), lambda x: T.log(T.exp(x).sum())),
}


# One of each kind, for what takes long to compile.
KINDS = ["indexed before", "one-hot", "log(sigmoid)", "log(1 - sigmoid)", "by hand", "rows"]


def check(mode, dtype, tolerance, forms=tuple(FORMS)):
    x = T.matrix("x", dtype)
    losses = [FORMS[name][1](x) for name in forms]
    f = theano.function([x], [*losses, *(T.grad(loss, x) for loss in losses)], mode=mode)
    found = f(X.astype(dtype))
    for name, value, gradient in zip(forms, found[: len(forms)], found[len(forms) :], strict=True):
        for got, right in zip((value, gradient), FORMS[name][0](X), strict=True):
            np.testing.assert_allclose(got, right, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        ("fast_compile", "float32"),
        ("fast_run", "float64"),
        pytest.param("fast_compile", "float64", marks=pytest.mark.full),
        pytest.param("fast_run", "float32", marks=pytest.mark.ci),
    ],
)
def test_losses_are_finite_in_plain_python(optimizer, dtype):
    check(Mode("py", optimizer), dtype, {"float32": 1e-6, "float64": 1e-12}[dtype])


@pytest.mark.parametrize(
    "optimizer", [pytest.param("fast_compile", marks=[pytest.mark.ci, pytest.mark.long]), "fast_run"]
)
def test_losses_are_finite_in_every_mode_on_every_backend(optimizer, backend):
    mode = get_mode(backend)
    check(mode if optimizer == "fast_run" else Mode(mode.linker, optimizer), "float64", 1e-12, KINDS)


# --- What is recognised, and what is not ------------------------------------------------------------------------------


def test_second_derivatives():
    x = theano.shared(np.array([0.0, 1000.0, 1000.0]))
    half = np.array([0, 0.5, 0.5])
    found = [T.hessian(T.log(T.sum(T.exp(x))), x), T.hessian(T.log(nnet.softmax(x))[0, 0], x)]
    for value, sign in zip(theano.function([], found)(), (1, -1), strict=True):
        np.testing.assert_allclose(value, sign * (np.diag(half) - np.outer(half, half)), atol=1e-15)


def test_sums_of_nothing_and_of_infinities():
    x = theano.shared(np.array([[-np.inf, -np.inf], [-np.inf, 3.0], [np.inf, 0.0]]))
    assert T.log(T.sum(T.exp(x), axis=1)).eval().tolist() == [-np.inf, 3, np.inf]


def test_other_logarithms_are_pytensor_s():
    x, p = T.matrix("x"), nnet.sigmoid(T.matrix("z"))
    others = [x, 1 - x, 2 - p, 1 + p, -p, T.sum(x), 1 - nnet.softmax(x), 1 - T.sum(T.exp(x))]
    others += [1 / (2 + T.exp(x)), 1 / (1 + x), 2 / (1 + T.exp(x)), 1 / (T.exp(x) + x)]
    for argument in others:
        assert T.log(argument).owner.inputs == [argument]
        assert T.log(argument).owner.op == pt.log
    for argument in (x, p, -x):
        assert T.log1p(argument).owner.op == pt.log1p
    assert T.log(1).eval() == 0


def test_the_type_is_that_of_the_logarithm_of_the_rounded():
    z = T.matrix("z", "float32")
    i = T.matrix("i", "uint8")
    wide = T.constant(np.ones((), "float64"))
    for argument in (nnet.sigmoid(z), wide - nnet.sigmoid(z), T.sum(T.exp(z), axis=0, dtype="float64")):
        assert T.log(argument).dtype == argument.dtype
    f = theano.function([i], [T.log(nnet.sigmoid(i)), T.log(1 - 1 / (1 + T.exp(i))), T.log(T.sum(T.exp(i)))])
    found = f(np.array([[1, 2]], "uint8"))
    expected = [np.log(expit([[1.0, 2.0]])), np.log(expit([[1.0, 2.0]])), np.log(np.exp([1, 2]).sum())]
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-6)
    tall = T.log(T.ones((4, 1)) - nnet.sigmoid(T.constant([[0.0, 0.0]])))  # the one is longer
    assert tall.eval().shape == (4, 2)
