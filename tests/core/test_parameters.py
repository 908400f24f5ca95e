"""Bad input: each error names the parameter and the remedy."""

import numpy as np
import pytensor
import pytensor.sparse
import pytensor.tensor as pt
import pytest
import scipy.sparse
from pytensor.gradient import disconnected_grad, undefined_grad

import symupdates
from symupdates import adagrad, adam, apply_momentum, get_or_compute_grads, sgd


@pytest.fixture
def W():
    return pytensor.shared(np.ones((3, 2)), name="W")


@pytest.fixture
def b():
    return pytensor.shared(np.ones(2), name="b")


def raises(error, *words):
    return pytest.raises(error, match="(?s)" + ".*".join(words))


# --- Parameters -------------------------------------------------------------------------------------------------------


def test_not_shared(W):
    with raises(ValueError, "shared variables only", r"params\[1\]", "Add", r"pytensor\.shared", "computed from"):
        sgd(W.sum(), [W, W + 1])
    with raises(ValueError, r"params\[0\]", "ndarray"):
        sgd(W.sum(), [np.ones(3)])
    with raises(ValueError, r"params\[0\] is 'W'"):
        sgd(W.sum(), {"W": W})


def test_one_parameter_instead_of_a_list(W):
    with raises(TypeError, "a list", r"write \[W\]"):
        sgd(W.sum(), W)
    with raises(TypeError, "a list", r"not Sum.*\.0\."):
        sgd([W], W.sum())
    with raises(TypeError, "a list", "not 3"):
        sgd(W.sum(), 3)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool"])
def test_discrete(dtype, W):
    p = pytensor.shared(np.ones(3, dtype=dtype), name="labels")
    with raises(TypeError, "parameter labels cannot", f"dtype is {dtype}", r"astype\('float32'\)"):
        sgd(W.sum(), [W, p])


def test_complex(W):
    p = pytensor.shared(np.ones(3, dtype="complex128"), name="z")
    with raises(TypeError, "parameter z cannot", "complex128", "real and the imaginary part"):
        sgd(W.sum(), [W, p])


def test_float16(W):
    p = pytensor.shared(np.ones(3, dtype="float16"), name="half")
    with raises(TypeError, "parameter half cannot", "float16", "NUMBA", "float32"):
        sgd(W.sum(), [W, p])


def test_sparse(W):
    p = pytensor.shared(scipy.sparse.csr_matrix(np.eye(3)), name="S")
    with raises(TypeError, "parameter S cannot", "sparse|Sparse", "vector of its values"):
        sgd(W.sum(), [W, p])


def test_random_generator(W):
    p = pytensor.shared(np.random.default_rng(0), name="rng")
    with raises(TypeError, "parameter rng cannot", "random generator", "leave it out"):
        sgd(W.sum(), [W, p])


def test_duplicates(W, b):
    with raises(ValueError, "duplicate", r"params\[2\] is params\[0\] \(W\);", r"list\(dict\.fromkeys\(params\)\)"):
        sgd(W.sum(), [W, b, W])


# --- Loss and gradients -----------------------------------------------------------------------------------------------


def test_unreached_parameters_are_all_named(W, b):
    c = pytensor.shared(np.ones(2))
    with raises(ValueError, r"does not depend on b, param\[2\]:", "Take them out"):
        adam((W**2).sum(), [W, b, c])
    with raises(ValueError, "does not depend on W"):
        sgd(disconnected_grad(W).sum(), [W])


def test_undefined_gradient(W):
    with raises(ValueError, "gradient of the loss with respect to W is undefined"):
        sgd(undefined_grad(W).sum(), [W])


def test_number_of_gradients(W, b):
    with raises(ValueError, "got 1 gradient expressions for 2 parameters", r"\(W, b\)"):
        sgd([pt.matrix()], [W, b])
    with raises(ValueError, "got 3 gradient expressions for 2 parameters"):
        sgd([pt.matrix()] * 3, [W, b])


def test_gradient_is_none(W, b):
    with raises(ValueError, "gradient of b is None", r"pt\.zeros_like\(b\)"):
        sgd([pt.matrix(), None], [W, b])


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2), (None, 3), (3, 2, 1)])
def test_shape_of_a_gradient(W, shape):
    shown = r"\(" + ", ".join("\\?" if n is None else str(n) for n in shape)
    with raises(ValueError, "gradient of W has shape " + shown, r"W has shape \(3, 2\)", "same order"):
        sgd([pt.tensor(shape=shape, dtype="float64")], [W])


def test_kind_of_a_gradient(W):
    with raises(TypeError, "gradient of W", "'g'", "str"):
        sgd(["g"], [W])
    with raises(TypeError, "gradient of W is complex"):
        sgd([pt.zmatrix()], [W])
    with raises(TypeError, "gradient of W", "dense"):
        sgd([pytensor.sparse.csr_matrix("g", dtype="float64")], [W])


@pytest.mark.parametrize("loss", [lambda W: W.sum(axis=0), lambda W: W, lambda W: W.mean(keepdims=True)])
def test_loss_is_not_a_scalar(W, loss):
    loss = loss(W)
    with raises(ValueError, "must be a scalar", f"{loss.ndim} dimension", r"loss\.mean\(\)"):
        sgd(loss, [W])


def test_kind_of_loss(W):
    with raises(TypeError, "scalar tensor variable", "0.5"):
        sgd(0.5, [W])
    with raises(TypeError, "scalar tensor variable", "generator"):
        sgd((g for g in [W]), [W])
    with raises(TypeError, "dtype int64"):
        sgd(pt.argmax(W), [W])
    with raises(TypeError, "dtype complex128"):
        sgd(pt.zscalar() * W.sum(), [W])


def test_get_or_compute_grads(W, b):
    grads = [pt.matrix(), pt.vector()]
    assert get_or_compute_grads(grads, [W, b]) is grads
    assert get_or_compute_grads(tuple(grads), (W, b)) == grads
    computed = get_or_compute_grads((W * b).sum(), (p for p in [W, b]))
    assert [g.type.ndim for g in computed] == [2, 1]
    with raises(ValueError, "shared variables only"):
        get_or_compute_grads(grads, [W, pt.vector()])


# --- Hyper-parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [[0.1, 0.2], np.ones(1), np.ones((2, 2)), pt.vector(), [[1], [1, 2]], lambda step: np.ones(2)]
)
def test_hyper_parameter_is_not_a_scalar(W, value):
    with raises(ValueError, "adagrad: ", "learning_rate must be a scalar", "once for each group"):
        adagrad(W.sum(), [W], learning_rate=value)


@pytest.mark.parametrize("value", ["0.1", None, True, np.array(False), 1j, pt.zscalar(), pt.bscalar() > 0, object()])
def test_hyper_parameter_is_not_real(W, value):
    with raises(TypeError, "adam: beta2 must be a real number", "schedule"):
        adam(W.sum(), [W], beta2=value)


def test_schedule_raises(W):
    with pytest.raises(TypeError) as caught:
        adam(W.sum(), [W], beta1=lambda: 0.9)
    assert "schedule of adam: beta1, called with its step" in caught.value.__notes__[0]


def test_schedule_returns_nonsense(W):
    with raises(TypeError, "value of the schedule of sgd: learning_rate", "None"):
        sgd(W.sum(), [W], learning_rate=lambda step: None)
    with raises(TypeError, "schedule"):
        sgd(W.sum(), [W], learning_rate=lambda step: lambda step: 1.0)


@pytest.mark.parametrize("n_win", [0, -1, 2.5, "10", None])
def test_window(W, n_win):
    with raises(ValueError, "n_win must be a whole number"):
        symupdates.adagrad_window(W.sum(), [W], n_win=n_win)


# --- Transforms -------------------------------------------------------------------------------------------------------


def test_transform_of_something_else(W, b):
    with raises(TypeError, "apply_momentum: updates must be a dict"):
        apply_momentum([(W, W + 1)])
    with raises(ValueError, "apply_momentum: b not among the updates"):
        apply_momentum(sgd(W.sum(), [W]), params=[W, b])
    with raises(ValueError, "shared variables only"):
        apply_momentum(sgd(W.sum(), [W]), params=[W + 1])
    with raises(ValueError, "next value of b has shape", r"b has shape \(\?,\)"):
        apply_momentum({b: pt.matrix()})


def test_fortran_order():
    """A warning, not an error: it is only slow. State is in C order all the same."""
    W = pytensor.shared(np.asfortranarray(np.ones((3, 2))), name="W")
    with pytest.warns(UserWarning, match=r"parameter W is in Fortran order.*W.set_value\(np.ascontiguousarray"):
        updates = adam((W**2).sum(), [W])
    assert next(iter(updates)).get_value(borrow=True).flags.c_contiguous
    W.set_value(np.ascontiguousarray(W.get_value()))
    adam((W**2).sum(), [W])
    for value in (np.ones((1, 3)), np.ones((3, 1)).T, np.ones(3), np.ones(())):  # in both orders
        adam([pt.tensor(shape=value.shape)], [pytensor.shared(value)])
