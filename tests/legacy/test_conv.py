"""Theano's convolutions and poolings by their names and arguments: by hand, SciPy, and closed forms."""

import numpy as np
import pytensor
import pytest
import symupdates.theano.tensor as T
from scipy.signal import convolve, convolve2d, correlate
from symupdates.theano.gpuarray import dnn
from symupdates.theano.tensor import nnet
from symupdates.theano.tensor.nnet import abstract_conv, conv3d2d, corr, corr3d, neighbours
from symupdates.theano.tensor.nnet.conv import conv2d as old_conv2d
from symupdates.theano.tensor.signal import conv as signal_conv
from symupdates.theano.tensor.signal import downsample, pool

import symupdates.theano as theano

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 3, 6, 7)), RNG.normal(size=(4, 3, 3, 2))


@pytest.fixture(autouse=True)
def quick_to_compile():
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


def values(*expressions):
    return theano.function([], list(expressions))()


def by_scipy(x, w, mode="valid", function=convolve):
    """A convolution of one image after the other, one filter after the other, channel after channel."""
    return np.stack([[sum(function(c, k, mode) for c, k in zip(n, f, strict=True)) for f in w] for n in x])


def around(x, *pairs):
    return np.pad(x, [(0, 0), (0, 0), *pairs])


# --- conv2d and conv3d ------------------------------------------------------------------------------------------------


BORDERS = {
    "valid": [(0, 0), (0, 0)],
    "full": [(2, 2), (1, 1)],
    "half": [(1, 1), (1, 1)],
    1: [(1, 1), (1, 1)],
    (2, 0): [(2, 2), (0, 0)],
    (1, (0, 2)): [(1, 1), (0, 2)],
    ((0, 1), (2, 1)): [(0, 1), (2, 1)],
}


def test_borders():
    for flip, function in [(True, convolve), (False, correlate)]:
        found = values(*(nnet.conv2d(X, W, border_mode=mode, filter_flip=flip) for mode in BORDERS))
        for value, pairs in zip(found, BORDERS.values(), strict=True):
            np.testing.assert_allclose(value, by_scipy(around(X, *pairs), W, function=function), rtol=1e-10, atol=1e-12)


def test_strides_dilation_and_groups():
    whole, spread = by_scipy(X, W), np.zeros((4, 3, 5, 3))
    spread[:, :, ::2, ::2] = W
    x, w = np.concatenate([X, 2 * X], axis=1), np.concatenate([W, W[::-1]])
    found = values(
        nnet.conv2d(X, W, subsample=(2, 3)),
        nnet.conv2d(X, W, filter_dilation=(2, 2), border_mode="half"),
        nnet.conv2d(x, w, num_groups=2),
        nnet.separable_conv2d(X, W[:3, :1], W[:, :, :1, :1], 3),
        abstract_conv.causal_conv1d(X[..., 0], W[..., 0], (4, 3, 3), filter_dilation=2),
    )
    apart = np.concatenate([by_scipy(X[:, [c]], W[[c], :1]) for c in range(3)], axis=1)
    causal = np.zeros((4, 3, 5))
    causal[..., ::2] = W[..., 0]
    rights = [
        whole[..., ::2, ::3],
        by_scipy(around(X, (2, 2), (1, 1)), spread),
        np.concatenate([whole, 2 * whole[:, ::-1]], axis=1),
        np.einsum("nchw,fc->nfhw", apart, W[:, :, 0, 0]),
        by_scipy(np.pad(X[..., 0], [(0, 0), (0, 0), (4, 0)]), causal),
    ]
    for value, right in zip(found, rights, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)


def test_given_shapes_are_known_and_checked():
    x, w = T.tensor4("x"), T.tensor4("w")
    y = nnet.conv2d(x, w, (None, 3, 6, T.constant(7)), filter_shape=(4, 3, 3, None), subsample=(2, 1))
    assert y.type.shape == (None, 4, 2, None)
    assert nnet.conv2d(x, w, image_shape=(2, 3, 6, 7), filter_shape=[4, 3, 3, 2]).type.shape == (2, 4, 4, 6)
    f = theano.function([x, w], y)
    np.testing.assert_allclose(f(X, W), by_scipy(X, W)[..., ::2, :], rtol=1e-10, atol=1e-12)
    with pytest.raises(AssertionError, match="hape"):
        f(X[:, :, :5], W)


def test_conv3d():
    x, w = RNG.normal(size=(2, 2, 3, 4, 5)), RNG.normal(size=(3, 2, 2, 1, 3))
    found = values(
        T.nnet.conv3d(x, w),
        T.nnet.conv3d(x, w, border_mode=(1, 0, (0, 2)), subsample=(2, 1, 2), filter_flip=False),
        conv3d2d.conv3d(
            x.swapaxes(1, 2), w.swapaxes(1, 2), border_mode=("valid", "half", "half"), filters_shape=(3, 2, 2, 1, 3)
        ),
        dnn.dnn_conv3d(x, w, conv_mode="cross"),
    )
    rights = [
        by_scipy(x, w),
        by_scipy(around(x, (1, 1), (0, 0), (0, 2)), w, function=correlate)[:, :, ::2, :, ::2],
        by_scipy(around(x, (0, 0), (0, 0), (1, 1)), w).swapaxes(1, 2),
        by_scipy(x, w, function=correlate),
    ]
    for value, right in zip(found, rights, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)


def test_older_convolutions():
    found = values(
        old_conv2d(T.constant(X), T.constant(W), image_shape=X.shape, filter_shape=W.shape, unroll_batch=1),
        old_conv2d(T.constant(X), T.constant(W), border_mode="full", subsample=(2, 1)),
        signal_conv.conv2d(T.constant(X[0, 0]), T.constant(W[0, 0]), border_mode="full"),
        signal_conv.conv2d(T.constant(X[0]), T.constant(W[0, 0]), image_shape=(3, 6, 7), filter_shape=(3, 2)),
        signal_conv.conv2d(T.constant(X[0, 0]), T.constant(W[0]), subsample=(1, 2)),
        signal_conv.conv2d(T.constant(X[0]), T.constant(W[0])),
    )
    one = np.array([[convolve2d(x, w, "valid") for w in W[0]] for x in X[0]])
    rights = [by_scipy(X, W), by_scipy(X, W, "full")[..., ::2, :], convolve2d(X[0, 0], W[0, 0]), one[:, 0]]
    for value, right in zip(found, [*rights, one[0, :, :, ::2], one], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)


# --- Derivatives by name ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [2, 3])
def test_derivatives_by_inputs_and_weights_are_those_of_the_convolution(ndim):
    x, w = (T.constant(RNG.normal(size=shape[: ndim + 2])) for shape in [(2, 4, 6, 5, 4), (6, 2, 3, 2, 2)])
    modes = {"border_mode": (1, 2, 0)[:ndim], "subsample": (2, 1, 3)[:ndim], "filter_dilation": (1, 2, 1)[:ndim]}
    modes |= {"filter_flip": False, "num_groups": 2} if ndim == 3 else {"num_groups": 2}
    y = getattr(nnet, f"conv{ndim}d")(x, w, **modes)
    dy = T.constant(RNG.normal(size=y.type.shape))
    rights = theano.grad((y * dy).sum(), [x, w])
    symbolic = T.as_tensor_variable([*x.shape[2:]]) * 1
    by_name = [getattr(abstract_conv, f"conv{ndim}d_grad_wrt_{of}") for of in ("inputs", "weights")]
    ops = [getattr(abstract_conv, f"AbstractConv{ndim}d_grad{of}") for of in ("Inputs", "Weights")]
    dx = [
        by_name[0](dy, w, (None, None, *(symbolic[i] for i in range(ndim))), **modes),
        by_name[0](dy, w, x.type.shape, w.type.shape, **modes),
        ops[0](imshp=(None, 4, *(None,) * ndim), **modes)(w, dy, x.shape[2:]),
    ]
    dw = [
        by_name[1](x, dy, (None, None, *w.shape[2:]), **modes),
        by_name[1](x, dy, w.type.shape, x.type.shape, **modes),
        ops[1](kshp=w.type.shape, **modes)(x, dy, w.type.shape[2:]),
    ]
    assert (dx[1].type.shape, dw[1].type.shape) == (x.type.shape, w.type.shape)
    by_x, by_w, *found = values(*rights, *dx, *dw)
    for value, right in zip(found, [by_x] * 3 + [by_w] * 3, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)


def test_transposed_convolution_puts_filters_where_the_numbers_are():
    x = np.zeros((1, 4, 2, 2))
    x[0, 1, 0, 1] = 2.0
    (found,) = values(nnet.conv2d_transpose(x, W, (None, None, 5, 4), input_dilation=(2, 2), filter_flip=False))
    right = np.zeros((1, 3, 5, 4))
    right[0, :, 0:3, 2:4] = 2 * W[1]
    np.testing.assert_allclose(found, right)


def test_corr():
    x, w = T.constant(X), T.constant(W)
    options = {"border_mode": ((0, 1), (2, 1)), "filter_dilation": (2, 1)}
    y = corr.CorrMM(**options)(x, w)
    right = nnet.conv2d(x, w, filter_flip=False, **options)
    dx, dw = theano.grad((y**2).sum(), [x, w])
    full = corr.CorrMM("full")(x, w)
    pairs = [
        (y, right),
        (corr.CorrMM_gradInputs(**options)(w, 2 * y), dx),
        (corr.CorrMM_gradWeights(**options)(x, 2 * y), dw),
        (corr.CorrMM_gradWeights("full")(x, full), theano.grad((full**2).sum() / 2, w)),
        (corr.CorrMM_gradInputs("full")(w, full), theano.grad((full**2).sum() / 2, x)),
        (corr.CorrMM_gradWeights("half", (2, 2))(x, corr.CorrMM("half", (2, 2))(x, w), (3, 2)), None),
    ]
    found = values(*(x for pair in pairs for x in pair if x is not None))
    for value, right in zip(found[0:10:2], found[1:10:2], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)
    for kind in (corr.CorrMM_gradInputs, corr.CorrMM_gradWeights):
        with pytest.raises(ValueError, match="give the shape"):
            kind(subsample=(2, 2))(x, w)


def test_corr3d_of_one_place_along_the_last_axis_is_corr():
    x, w = T.constant(X), T.constant(W[:3, :1])
    flat, deep = ("full", (1, 1), (2, 1), 3), ("full", (1, 1, 1), (2, 1, 1), None, 3)
    y = corr.CorrMM(*flat)(x, w)
    deep_x, deep_w, deep_y = x[..., None], w[..., None], y[..., None]
    found = values(
        y,
        corr3d.Corr3dMM(*deep)(deep_x, deep_w)[..., 0],
        corr.CorrMM_gradInputs(*flat)(w, y),
        corr3d.Corr3dMM_gradInputs(*deep)(deep_w, deep_y)[..., 0],
        corr.CorrMM_gradWeights(*flat)(x, y),
        corr3d.Corr3dMM_gradWeights(*deep)(deep_x, deep_y)[..., 0],
    )
    for value, right in zip(found[1::2], found[0::2], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="Corr3dMM_gradWeights: give the shape"):
        corr3d.Corr3dMM_gradWeights("half")(deep_x, deep_y)


def test_dnn():
    x, w = T.constant(X), T.constant(W)
    y = dnn.dnn_conv(x, w, border_mode=(1, 1), subsample=(2, 1), conv_mode="cross", algo="small")
    dx, dw = theano.grad((y**2).sum() / 2, [x, w])
    options = {"border_mode": (1, 1), "subsample": (2, 1), "conv_mode": "cross"}
    pooled = dnn.dnn_pool(x, (2, 2), mode="sum"), pool.pool_2d(x, (2, 2), True, (1, 1), mode="sum")
    gamma = T.constant(RNG.normal(size=(1, 3, 1, 1)))
    normal = dnn.dnn_batch_normalization_train(x, gamma, gamma, "spatial")
    right = T.nnet.bn.batch_normalization_train(x, gamma, gamma, "spatial")
    again = dnn.dnn_batch_normalization_test(x, gamma, gamma, right[1], x.var(axis=(0, 2, 3), keepdims=True), "spatial")
    found = values(
        y, nnet.conv2d(x, w, filter_flip=False, border_mode=1, subsample=(2, 1)),
        dnn.dnn_gradinput(w, y, X.shape, **options), dx,
        dnn.dnn_gradweight(x, y, W.shape, **options), dw,
        *pooled, *(v for pair in zip(normal, right, strict=True) for v in pair), again, right[0],
    )  # fmt: skip
    for value, right in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="conv_mode"):
        dnn.dnn_conv(x, w, conv_mode="convolution")


# --- Upsampling and shapes --------------------------------------------------------------------------------------------


def interpolated(x, ratio):
    """Bilinear interpolation, the edges repeated: of rows and of columns, by NumPy."""
    up, down = ratio
    for axis in (2, 3):
        n = x.shape[axis]
        places = np.arange(0, n * up, down) / up
        shift = (up - 1) // 2 / up  # the first new place lies before the first old one
        at = np.clip(places - shift, 0, n - 1)
        x = np.apply_along_axis(lambda line, at=at, n=n: np.interp(at, np.arange(n), line), axis, x)
    return x


def test_bilinear_upsampling():
    x = T.constant(X[:, :2, :3, :4])
    found = values(
        abstract_conv.bilinear_upsampling(x, 2, use_1D_kernel=True),
        abstract_conv.bilinear_upsampling(x, 3, batch_size=2, num_input_channels=2, use_1D_kernel=False),
        abstract_conv.bilinear_upsampling(x, frac_ratio=(3, 1), use_1D_kernel=False),
        abstract_conv.bilinear_kernel_2D((2, 3)),
    )
    for value, ratio in zip(found, [2, 3, 3], strict=False):
        np.testing.assert_allclose(value, interpolated(X[:, :2, :3, :4], (ratio, 1)), rtol=1e-6)
    np.testing.assert_allclose(found[3], np.outer([0.5, 1, 0.5], np.array([1, 2, 3, 2, 1]) / 3), rtol=1e-6)
    with pytest.raises(ValueError, match="either ratio or frac_ratio"):
        abstract_conv.bilinear_upsampling(x)
    with pytest.raises(ValueError, match="use_1D_kernel=False"):
        abstract_conv.bilinear_upsampling(x, frac_ratio=(3, 2))


def test_upsampling_by_a_fraction():
    """Theano's rows are those of the whole ratio, every second."""
    x = T.constant(X[:, :2, :3, :4])
    whole, half = values(
        abstract_conv.bilinear_upsampling(x, 3),
        abstract_conv.bilinear_upsampling(x, frac_ratio=((3, 2), (3, 1)), use_1D_kernel=False),
    )
    np.testing.assert_allclose(half, whole[:, :, ::2], rtol=1e-6)


def test_get_conv_output_shape():
    shape = abstract_conv.get_conv_output_shape
    assert shape((2, 3, 6, 7), (4, 3, 3, 2), "valid", (1, 1)) == (2, 4, 4, 6)
    assert shape((2, 3, 6, 7), (4, 3, 3, 2), "full", (2, 1), (1, 2)) == (2, 4, 4, 9)
    assert shape((2, 3, 6, None), (4, 3, 3, 2), "half", (1, 1)) == (2, 4, 6, None)
    assert shape((None, 3, 6, 7, 5), (4, 3, 3, 2, 1), ((1, 0), 2, 0), (1, 1, 2)) == (None, 4, 5, 10, 3)
    assert values(shape((1, 1, T.constant(6)), (1, 1, 3), 1, (2,))[2]) == [3]
    with pytest.raises(ValueError, match="negative"):
        shape((1, 1, 6), (1, 1, 3), -1, (1,))


# --- Pooling ----------------------------------------------------------------------------------------------------------


def test_pool_2d():
    x = T.constant(X)
    found = values(
        pool.pool_2d(x, (2, 3), ignore_border=True),
        downsample.max_pool_2d(x, (2, 3)),
        pool.pool_2d(input=x, ds=(2, 2), st=(1, 1), padding=(1, 1), mode="average_inc_pad", ignore_border=True),
        pool.pool_2d(x, T.constant([3, 2]), True, pad=(1, 0), mode="sum"),
        pool.Pool(True, "max_deterministic")(x, (2, 3)),
        pool.pool_3d(x, (3, 2, 1), True),
    )
    blocks = X[..., :6].reshape(2, 3, 3, 2, 2, 3).max(axis=(3, 5))
    last = X[..., 6].reshape(2, 3, 3, 2).max(axis=-1)[..., None]
    p = around(X, (1, 1), (1, 1))
    np.testing.assert_array_equal(found[0], blocks)
    np.testing.assert_array_equal(found[1], np.concatenate([blocks, last], axis=-1))
    mean = (p[..., 1:, 1:] + p[..., :-1, 1:] + p[..., 1:, :-1] + p[..., :-1, :-1]) / 4
    np.testing.assert_allclose(found[2], mean, rtol=1e-12)
    sums = around(X, (1, 1), (0, 0))[..., :6, :6].reshape(2, 3, 2, 3, 3, 2).sum(axis=(3, 5))
    np.testing.assert_allclose(found[3], sums, rtol=1e-12)
    np.testing.assert_array_equal(found[4], blocks)
    np.testing.assert_array_equal(found[5], X[:, :, :6].reshape(2, 1, 3, 3, 2, 7).max(axis=(2, 4)).reshape(2, 1, 3, 7))


def test_pooling_that_keeps_its_size_and_ties():
    x = T.constant(np.array([[1.0, 2.0, 2.0, 0.0], [2.0, 0.0, 1.0, 1.0]]))
    y = pool.pool_2d(x, (2, 2), ignore_border=True)
    average = pool.pool_2d(x, (2, 2), ignore_border=True, mode="average_exc_pad")
    kept, by_max, by_average = values(
        pool.max_pool_2d_same_size(x, (2, 2)),
        pool.MaxPoolGrad(True)(x, y, 3 * y, (2, 2)),
        pool.AveragePoolGrad(True, "average_exc_pad")(x, average, (2, 2)),
    )
    np.testing.assert_array_equal(kept, [[0, 2, 2, 0], [2, 0, 0, 0]])
    np.testing.assert_array_equal(by_max, 3 * kept)
    np.testing.assert_array_equal(by_average, np.repeat([[1.25 / 4] * 2 + [1 / 4] * 2], 2, axis=0))


def test_shapes_of_pooling():
    assert pool.Pool.out_shape((2, 5, 7), (2, 2)) == [2, 3, 4]
    assert pool.Pool.out_shape((2, 5, 7), (2, 2), ignore_border=True) == [2, 2, 3]
    assert pool.DownsampleFactorMax.out_shape((5, 7), (3, 3), True, (2, 1), (1, 1)) == [3, 7]
    symbolic = pool.Pool.out_shape((2, T.constant(5), 7), (2, 2), st=(1, 3))
    assert [int(n) for n in values(*map(T.as_tensor_variable, symbolic))] == [2, 4, 3]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: nnet.conv2d(x, x, unshared=True), NotImplementedError, "images2neibs"),
        (lambda x: nnet.conv2d(x, x, border_mode="same"), ValueError, "border must be"),
        (lambda x: nnet.conv2d(x, x, border_mode=(1, 1, 1)), ValueError, "border must be"),
        (lambda x: nnet.conv2d(x, x, border_mode=-1), ValueError, "border must be"),
        (lambda x: nnet.conv2d(x, x, subsample=(1, 1, 1)), ValueError, "strides"),
        (lambda x: nnet.conv2d(x, x, (1,) * 4, image_shape=(1,) * 4), ValueError, "not both"),
        (lambda x: nnet.conv2d(x, x, (1, 1, 1)), ValueError, "of 3 numbers"),
        (lambda x: nnet.conv2d(x, x, x.shape), ValueError, "imshp must be made of numbers"),
        (lambda x: nnet.conv2d(x, x, imshp_logical=(1, 1)), ValueError, "imshp_logical"),
        (lambda x: nnet.conv2d(x, x[0]), TypeError, "4 axes"),
        (lambda x: pool.pool_2d(x), ValueError, "give ws"),
        (lambda x: pool.pool_2d(x, (1, 1), ds=(1, 1)), ValueError, "ws or ds"),
        (lambda x: pool.pool_2d(x, (1, 1), pad=(0, 0), padding=(1, 1)), ValueError, "pad or padding"),
        (lambda x: neighbours.images2neibs(x, (1, 1), mode="same"), ValueError, "mode must be"),
        (lambda x: neighbours.neibs2images(x[0, 0], (1, 1), (1, 1, 1, 1), "half"), ValueError, "mode must be"),
        (
            lambda x: conv3d2d.conv3d(x[None], x[None], border_mode=("full", "valid", "valid")),
            ValueError,
            "filters_shape",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(T.tensor4("x"))


# --- Windows as rows --------------------------------------------------------------------------------------------------


def test_windows_of_images_and_back():
    x, n = T.constant(X), T.lscalar("n")
    f = theano.function(
        [n],
        [
            neighbours.images2neibs(x, (2, 7)),
            neighbours.images2neibs(x, (n, n), (1, 2)),
            neighbours.images2neibs(x, (3, 3), (3, 3), mode="ignore_borders"),
            neighbours.images2neibs(x, (2, 3), (1, 1), mode="half"),
            neighbours.images2neibs(x, (2, 3), (1, 1), mode="full"),
            neighbours.images2neibs(x, (3, 5), (2, 3), mode="wrap_centered"),
            neighbours.neibs2images(neighbours.images2neibs(x, (3, 7)), (3, 7), X.shape),
            neighbours.neibs2images(
                neighbours.images2neibs(x, (4, 3), mode="ignore_borders"), (4, 3), x.shape, "ignore_borders"
            ),
        ],
    )
    *found, back, cut = f(3)

    def rows(x, size, step):
        places = [range(0, m - k + 1, s) for m, k, s in zip(x.shape[2:], size, step, strict=True)]
        return [
            x[n, c, i : i + size[0], j : j + size[1]].ravel()
            for n in range(2) for c in range(3) for i in places[0] for j in places[1]
        ]  # fmt: skip

    rights = [rows(X, (2, 7), (2, 7)), rows(X, (3, 3), (1, 2)), rows(X[..., :6], (3, 3), (3, 3))]
    rights += [rows(around(X, (1, 1), (1, 1)), (2, 3), (1, 1)), rows(around(X, (1, 1), (2, 2)), (2, 3), (1, 1))]
    rights += [rows(np.pad(X, [(0, 0), (0, 0), (1, 1), (2, 2)], mode="wrap"), (3, 5), (2, 3))]
    for value, right in zip(found, rights, strict=True):
        np.testing.assert_array_equal(value, right)
    np.testing.assert_array_equal(back, X)
    np.testing.assert_array_equal(cut[..., :4, :6], X[..., :4, :6])
    assert not cut[..., 4:, :].any()
    assert not cut[..., 6:].any()
    with pytest.raises(AssertionError, match="do not fill"):
        f(4)


def test_windows_of_images_are_differentiable():
    x = T.constant(X)
    (by_x,) = values(theano.grad(neighbours.images2neibs(x, (2, 3), (1, 1)).sum(), x))
    counts = np.outer([1, 2, 2, 2, 2, 1], [1, 2, 3, 3, 3, 2, 1])
    np.testing.assert_array_equal(by_x, np.broadcast_to(counts, X.shape))
