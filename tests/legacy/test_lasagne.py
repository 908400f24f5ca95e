"""Lasagne under symupdates.theano: its layers, by hand on tiny sizes; and scripts in the old style, run as they are."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytensor
import pytest
from scipy.special import expit, softmax
from scipy.stats import multivariate_normal

import symupdates
import symupdates.theano
from symupdates.theano.installation import PKG_RESOURCES

LEGACY = Path(__file__).parent / "scripts"
NEEDS_LASAGNE = pytest.mark.skipif(importlib.util.find_spec("lasagne") is None, reason="Lasagne is not installed")
# Lasagne sets default updates; install() ignores the warning, but pytest begins every test with its own filters.
pytestmark = pytest.mark.filterwarnings("ignore:Setting default_update is deprecated")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4))


@pytest.fixture(autouse=True)
def theano():
    """Theano's name for symupdates.theano, quick to compile, and all as before afterwards."""
    symupdates.theano.install()
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield symupdates.theano
    symupdates.theano.uninstall()


@pytest.fixture
def lasagne():
    if importlib.util.find_spec("lasagne") is None:
        pytest.skip("Lasagne is not installed")
    import lasagne

    lasagne.random.set_rng(np.random.RandomState(0))
    return lasagne


def outputs(lasagne, layer, inputs, **kwargs):
    """A layer's output for arrays, one for each input layer, and the parameters, by name."""
    layers = lasagne.layers
    ins = [each for each in layers.get_all_layers(layer) if isinstance(each, layers.InputLayer)]
    f = symupdates.theano.function([each.input_var for each in ins], layers.get_output(layer, **kwargs))
    params = {p.name: p.get_value() for p in layers.get_all_params(layer)}
    return f(*inputs), params


def test_updates_are_symupdates(lasagne):
    import lasagne.updates

    assert lasagne.updates is symupdates
    assert lasagne.updates.adam is symupdates.adam
    there = sys.modules.get("pkg_resources")
    assert there in (None, PKG_RESOURCES) or hasattr(there, "working_set")  # or it is setuptools' own


def test_dense_merge_and_reshape_layers(lasagne):
    L = lasagne.layers
    a, b = L.InputLayer((2, 3, 4)), L.InputLayer((2, 5))
    dense = L.DenseLayer(a, 5, nonlinearity=lasagne.nonlinearities.LeakyRectify(0.1), name="dense")
    joined = L.ConcatLayer([L.ElemwiseSumLayer([dense, b], coeffs=[2, -1]), b])
    shaped = L.DimshuffleLayer(L.ReshapeLayer(joined, ([0], 2, -1)), (1, 0, 2))
    out = L.SliceLayer(L.PadLayer(shaped, 1, batch_ndim=2), slice(0, 5), axis=2)
    y = RNG.normal(size=(2, 5))
    found, params = outputs(lasagne, out, [X, y])
    z = X.reshape(2, 12) @ params["dense.W"] + params["dense.b"]
    right = np.hstack([2 * np.where(z < 0, 0.1 * z, z) - y, y]).reshape(2, 2, 5).transpose(1, 0, 2)
    np.testing.assert_allclose(found, np.pad(right, [(0, 0), (0, 0), (1, 1)])[:, :, :5], rtol=1e-12)


def test_embedding_nin_and_feature_pool_layers(lasagne):
    L = lasagne.layers
    tokens = L.InputLayer((2, 4), input_var=symupdates.theano.tensor.imatrix())
    embedded = L.EmbeddingLayer(tokens, 6, 3, name="emb")
    nin = L.NINLayer(embedded, 2, nonlinearity=lasagne.nonlinearities.tanh, name="nin")
    pooled = L.GlobalPoolLayer(L.FeaturePoolLayer(nin, 2, axis=1), symupdates.theano.tensor.max)
    words = np.array([[0, 1, 5, 2], [3, 3, 4, 0]], "int32")
    found, params = outputs(lasagne, pooled, [words])
    z = np.tanh(np.einsum("nct,ck->nkt", params["emb.W"][words], params["nin.W"]) + params["nin.b"][None, :, None])
    np.testing.assert_allclose(found, z.max(axis=1).max(axis=1, keepdims=True), rtol=1e-12)


def test_dropout_and_noise(lasagne):
    L = lasagne.layers
    source = L.InputLayer((200, 100))
    dropped, noisy = L.DropoutLayer(source, p=0.25), L.GaussianNoiseLayer(source, sigma=0.5)
    x = np.ones((200, 100))
    f = symupdates.theano.function([source.input_var], L.get_output([dropped, noisy]))
    (first, noise), (second, other) = f(x), f(x)
    assert np.unique(first).tolist() == [0, 1 / 0.75]
    assert abs((first == 0).mean() - 0.25) < 5 * (0.1875 / 20000) ** 0.5
    assert not np.array_equal(first, second)
    assert not np.array_equal(noise, other)
    assert abs(noise.std() - 0.5) < 0.02
    np.testing.assert_array_equal(outputs(lasagne, dropped, [x], deterministic=True)[0], x)


def test_batch_norm_layer(lasagne):
    L = lasagne.layers
    if not hasattr(L, "BatchNormLayer"):
        pytest.skip("Lasagne 0.1 has no batch normalisation")
    norm = L.BatchNormLayer(L.InputLayer((None, 4)), alpha=0.25, epsilon=1e-3, gamma=lasagne.init.Constant(2.0))
    x = X.reshape(6, 4)
    train = symupdates.theano.function([norm.input_layer.input_var], L.get_output(norm))
    std = np.sqrt(x.var(axis=0) + 1e-3)
    np.testing.assert_allclose(train(x), 2 * (x - x.mean(axis=0)) / std, rtol=1e-10)
    np.testing.assert_allclose(norm.mean.get_value(), 0.25 * x.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(norm.inv_std.get_value(), 0.75 + 0.25 / std, rtol=1e-10)
    found, params = outputs(lasagne, norm, [x], deterministic=True)
    np.testing.assert_allclose(found, 2 * (x - params["mean"]) * params["inv_std"], rtol=1e-10)


MASK = np.array([[1, 1, 1], [1, 0, 0]], "uint8")


def recurrent_params(layer):
    shared = layer.input_to_hidden.W, layer.hidden_to_hidden.W, layer.input_to_hidden.b, layer.hid_init
    W, U, b, h = (p.get_value() for p in shared)
    return W, U, b, h.repeat(2, axis=0)


def test_recurrent_layer(lasagne):
    L = lasagne.layers
    source = L.InputLayer((2, 3, 4))
    masked = L.RecurrentLayer(source, 2, nonlinearity=lasagne.nonlinearities.tanh, mask_input=L.InputLayer((None, 3)))
    found, _ = outputs(lasagne, masked, [X, MASK.astype("float64")])
    W, U, b, h = recurrent_params(masked)
    right = []
    for t in range(3):
        m = MASK[:, t, None]
        h = m * np.tanh(X[:, t] @ W + b + h @ U) + (1 - m) * h
        right.append(h)
    np.testing.assert_allclose(found, np.stack(right, axis=1), rtol=1e-10)
    unrolled = L.RecurrentLayer(source, 2, unroll_scan=True, backwards=True, gradient_steps=-1)
    found, _ = outputs(lasagne, unrolled, [X])
    W, U, b, h = recurrent_params(unrolled)
    right = []
    for t in (2, 1, 0):
        h = np.maximum(X[:, t] @ W + b + h @ U, 0)
        right.insert(0, h)
    np.testing.assert_allclose(found, np.stack(right, axis=1), rtol=1e-10)


def test_lstm_layer_and_its_gradient(lasagne):
    L = lasagne.layers
    lstm = L.LSTMLayer(L.InputLayer((None, 3, 4)), 2, peepholes=False, learn_init=True, grad_clipping=50.0)
    x = lstm.input_layers[0].input_var if hasattr(lstm, "input_layers") else lstm.input_layer.input_var
    loss = (L.get_output(lstm) ** 2).sum()
    b = next(p for p in L.get_all_params(lstm) if p.name == "b_forgetgate")
    f = symupdates.theano.function([x], [loss, symupdates.theano.tensor.grad(loss, b)])
    params = {p.name: p.get_value() for p in L.get_all_params(lstm)}

    def by_hand(**changed):
        p = params | changed
        h, c = (p[name].repeat(2, axis=0) for name in ("hid_init", "cell_init"))
        total = 0
        for t in range(3):

            def gate(name, t=t, h=h):
                return X[:, t] @ p[f"W_in_to_{name}"] + h @ p[f"W_hid_to_{name}"] + p[f"b_{name}"]

            i = expit(gate("ingate"))
            f = expit(gate("forgetgate"))
            c = f * c + i * np.tanh(gate("cell"))
            h = expit(gate("outgate")) * np.tanh(c)
            total += (h**2).sum()
        return total

    value, gradient = f(X)
    np.testing.assert_allclose(value, by_hand(), rtol=1e-10)
    np.testing.assert_allclose(gradient, numeric_gradient(by_hand, params, "b_forgetgate"), rtol=1e-6)


def test_gru_layer(lasagne):
    L = lasagne.layers
    found, p = outputs(lasagne, L.GRULayer(L.InputLayer((2, 3, 4)), 2), [X])
    h, right = p["hid_init"].repeat(2, axis=0), []
    for t in range(3):
        gates = {}
        for name in ("resetgate", "updategate"):
            gates[name] = expit(X[:, t] @ p[f"W_in_to_{name}"] + h @ p[f"W_hid_to_{name}"] + p[f"b_{name}"])
        new = np.tanh(
            X[:, t] @ p["W_in_to_hidden_update"]
            + gates["resetgate"] * (h @ p["W_hid_to_hidden_update"])
            + p["b_hidden_update"]
        )
        h = (1 - gates["updategate"]) * h + gates["updategate"] * new
        right.append(h)
    np.testing.assert_allclose(found, np.stack(right, axis=1), rtol=1e-10)


def test_nonlinearities_objectives_and_regularization(lasagne):
    T, f, o, r = symupdates.theano.tensor, lasagne.nonlinearities, lasagne.objectives, lasagne.regularization
    logits = X[0]
    p, classes = softmax(logits, axis=1), np.array([3, 0, 1])
    x = T.constant(logits)
    found = symupdates.theano.function(
        [],
        [
            f.sigmoid(x),
            f.softmax(x),
            f.rectify(x),
            f.very_leaky_rectify(x),
            o.categorical_crossentropy(f.softmax(x), T.constant(classes)),
            o.binary_crossentropy(T.constant(p), T.constant(np.ones_like(p))).mean(),
            o.aggregate(o.squared_error(x, T.constant(p)), T.constant(p), mode="normalized_sum"),
            r.apply_penalty([x], r.l1),
            r.l2(x),
        ],
    )()
    expected = [
        expit(logits),
        p,
        np.maximum(logits, 0),
        np.where(logits < 0, logits / 3, logits),
        -np.log(p[range(3), classes]),
        -np.log(p).mean(),
        ((logits - p) ** 2 * p).sum() / p.sum(),
        abs(logits).sum(),
        (logits**2).sum(),
    ]
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10)


def test_init_and_helpers(lasagne):
    L, T = lasagne.layers, symupdates.theano.tensor
    W = lasagne.init.Orthogonal().sample((5, 3))
    np.testing.assert_allclose(W.T @ W, np.eye(3), atol=1e-12)
    bound = np.sqrt(6 / 80)
    assert abs(abs(lasagne.init.GlorotUniform().sample((40, 40))).max() / bound - 1) < 0.05
    net = L.DenseLayer(L.DenseLayer(L.InputLayer((None, 4)), 3), 2, b=None)
    assert L.count_params(net) == 4 * 3 + 3 + 3 * 2
    assert [p.name for p in L.get_all_params(net, regularizable=True)] == ["W", "W"]
    start = L.get_all_param_values(net)
    L.set_all_param_values(net, [value + 1 for value in start])
    np.testing.assert_array_equal(net.W.get_value(), start[-1] + 1)
    assert L.get_output_shape(net) == (None, 2)
    x, y = T.matrix(), T.constant(X[0])
    np.testing.assert_array_equal(L.get_output(net, x).eval({x: X[0]}), L.get_output(net, y).eval())
    if hasattr(lasagne.utils, "collect_shared_vars"):  # not in 0.1
        assert lasagne.utils.collect_shared_vars(L.get_output(net, x).sum()) == L.get_all_params(net)


def correlated(x, W):
    """The correlation of images with filters, place by place."""
    windows = np.lib.stride_tricks.sliding_window_view(x, W.shape[2:], axis=tuple(range(2, x.ndim)))
    return np.einsum(windows, [0, 1, 3, 4, 5, 6][: x.ndim] + [7, 8, 9][: x.ndim - 2], W, [2, 1, 7, 8, 9][: x.ndim])


def test_convolutions_and_pooling(lasagne):
    L = lasagne.layers
    source = L.InputLayer((None, 2, 7, 6))
    same = L.Conv2DLayer(source, 3, 3, pad="same", nonlinearity=None, name="same")
    pooled = L.MaxPool2DLayer(same, 2, ignore_border=False)
    strided = L.Conv2DLayer(pooled, 2, (3, 2), stride=(1, 2), name="strided")
    x = RNG.normal(size=(2, 2, 7, 6))
    found, p = outputs(lasagne, strided, [x])
    W, V = (p[name][:, :, ::-1, ::-1] for name in ("same.W", "strided.W"))
    y = correlated(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), W) + p["same.b"][:, None, None]
    y = np.pad(y, [(0, 0), (0, 0), (0, 1), (0, 0)], constant_values=-np.inf).reshape(2, 3, 4, 2, 3, 2).max(axis=(3, 5))
    right = correlated(y, V)[..., ::2] + p["strided.b"][:, None, None]
    np.testing.assert_allclose(found, np.maximum(right, 0), rtol=1e-10)
    assert L.get_output_shape(strided) == (None, *found.shape[1:])


def test_convolutions_and_pooling_of_one_axis(lasagne):
    L = lasagne.layers
    conv = L.Conv1DLayer(L.InputLayer((2, 3, 8)), 4, 3, pad="full", nonlinearity=None)
    pooled = L.MaxPool1DLayer(conv, 3, stride=2)
    x = RNG.normal(size=(2, 3, 8))
    found, p = outputs(lasagne, pooled, [x])
    right = correlated(np.pad(x, [(0, 0), (0, 0), (2, 2)])[..., None], p["W"][:, :, ::-1, None])[..., 0]
    right = right + p["b"][:, None]
    right = np.stack([right[..., i : i + 3].max(axis=-1) for i in range(0, 8, 2)], axis=-1)
    np.testing.assert_allclose(found, right, rtol=1e-10)


def test_layers_for_cudnn_compute_the_same(lasagne):
    from lasagne.layers import dnn

    L = lasagne.layers
    x, source = RNG.normal(size=(2, 2, 5, 6)), L.InputLayer((None, 2, 5, 6))
    conv = dnn.Conv2DDNNLayer(source, 3, 3, pad="same", nonlinearity=None, flip_filters=False)
    found, p = outputs(lasagne, dnn.Pool2DDNNLayer(conv, 2, stride=1, mode="average_inc_pad"), [x])
    y = correlated(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), p["W"]) + p["b"][:, None, None]
    right = (y[..., 1:, 1:] + y[..., 1:, :-1] + y[..., :-1, 1:] + y[..., :-1, :-1]) / 4
    np.testing.assert_allclose(found, right, rtol=1e-10)
    theano = symupdates.theano
    assert theano.config.device == "cpu"  # it was another only while the layers were imported
    assert theano.gpuarray.pygpu_activated is theano.gpuarray.dnn.dnn_present() is False
    assert theano.sandbox.cuda.dnn.dnn_available() is False


# --- Scripts in the old style -----------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch):
    """Run a script in this process, and restore what it has changed."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    return lambda script, *arguments: symupdates.theano.run(LEGACY / script, *arguments)


@NEEDS_LASAGNE
def test_mlp_in_lasagne(run, tmp_path, capsys):
    """Against the same network trained with NumPy: forwards, backwards, and Nesterov's momentum by hand."""
    done = run("mlp_lasagne.py", "2", str(tmp_path / "model.npz"))
    X, y = done["load_dataset"]()
    params = [value.copy() for value in done["start"]]
    velocities = [np.zeros_like(p) for p in params]
    losses = []
    for _ in range(2):
        total = 0
        for k in range(0, 120, 40):
            x, one_hot = X[k : k + 40], np.eye(3)[y[k : k + 40]]
            W, b, V, c = params
            h = np.maximum(x @ W + b, 0)
            p = softmax(h @ V + c, axis=1)
            total += -np.log((p * one_hot).sum(axis=1)).mean() + 1e-2 * ((W**2).sum() + (V**2).sum())
            dz = (p - one_hot) / 40
            dh = dz @ V.T * (h > 0)
            grads = [x.T @ dh + 2e-2 * W, dh.sum(axis=0), h.T @ dz + 2e-2 * V, dz.sum(axis=0)]
            velocities = [0.9 * v - 0.1 * g for v, g in zip(velocities, grads, strict=True)]
            params = [q + 0.9 * v - 0.1 * g for q, v, g in zip(params, velocities, grads, strict=True)]
        losses.append(total / 3)
    np.testing.assert_allclose(done["losses"], losses, rtol=1e-9)
    with np.load(tmp_path / "model.npz") as saved:
        for name, right in zip(["arr_0", "arr_1", "arr_2", "arr_3"], params, strict=True):
            np.testing.assert_allclose(saved[name], right, rtol=1e-7, atol=1e-9)
    W, b, V, c = params
    right = (np.maximum(X @ W + b, 0) @ V + c).argmax(axis=1) == y
    assert done["accuracy"] == pytest.approx(right.mean())
    assert f"accuracy {100 * right.mean():.2f} %" in capsys.readouterr().out


def test_vae_with_mrg_streams(run):
    """Against the maximum of the likelihood, which principal components give, and which a linear VAE attains."""
    done = run("vae_mrg.py")
    X = done["X"]
    n, d = X.shape
    spectrum = np.linalg.eigvalsh(X.T @ X / n)[::-1]
    noise = spectrum[2:].mean()
    best = -0.5 * (d * np.log(2 * np.pi) + np.log(spectrum[:2]).sum() + 2 * np.log(noise) + d)
    params = {name: p.get_value() for name, p in done["model"].params.items()}
    W, sigma = params["W_x"], np.exp(params["log_sigma"])
    likelihood = multivariate_normal(np.zeros(d), W.T @ W + sigma**2 * np.eye(d)).logpdf(X).mean()
    assert best - 0.01 < likelihood <= best
    bounds = [done["evaluate"]() for _ in range(50)]
    assert abs(done["final"] - best) < 5 * np.std(bounds) / 50**0.5
    # What happens when the size is taken for the mean: the same noise for all, as two numbers around n and 2.
    z = done["srng"].normal((X.shape[0], 2))
    value = symupdates.theano.function([], z)()
    assert value.shape == (n, 2)
    assert abs(value.mean()) < 0.3
    assert len(np.unique(value)) == 2 * n


def test_gan_with_merged_updates(run):
    """Against NumPy: the gradients of both players by hand, Adam of each, and the rate that decays in the updates."""
    done = run("gan_merged_updates.py")
    g, D = np.array([0.5, -1.0]), np.array([0.1, -0.05, 0.2])
    state = {name: [0.0, 0.0] for name in "gD"}
    eta, history = 0.02, []
    for t, (real, noise) in enumerate(done["batches"], start=1):
        fake = g[0] * noise + g[1]
        features = [np.stack([x, x**2, np.ones_like(x)]) for x in (real, fake)]
        p_real, p_fake = (expit(D @ phi) for phi in features)
        history.append([-(np.log(p_real) + np.log(1 - p_fake)).mean(), -np.log(p_fake).mean()])
        grad_D = (-(1 - p_real) * features[0] + p_fake * features[1]).mean(axis=1)
        by_fake = -(1 - p_fake) * (D[0] + 2 * D[1] * fake)
        grad_g = np.array([(by_fake * noise).mean(), by_fake.mean()])
        steps = {}
        for name, grad in [("g", grad_g), ("D", grad_D)]:
            m, v = state[name]
            m, v = 0.5 * m + 0.5 * grad, 0.999 * v + 0.001 * grad**2
            state[name] = [m, v]
            steps[name] = eta * np.sqrt(1 - 0.999**t) / (1 - 0.5**t) * m / (np.sqrt(v) + 1e-8)
        g, D, eta = g - steps["g"], D - steps["D"], eta * 0.99
    np.testing.assert_allclose(done["history"], history, rtol=1e-9)
    np.testing.assert_allclose([p.get_value() for p in done["g_params"]], g, rtol=1e-8)
    np.testing.assert_allclose(np.append(*(p.get_value() for p in done["d_params"])), D, rtol=1e-8)


def numeric_gradient(f, params, name):
    gradient = np.empty_like(params[name])
    for place in np.ndindex(gradient.shape):
        step = np.zeros_like(gradient)
        step[place] = 1e-5
        gradient[place] = (f(**{name: params[name] + step}) - f(**{name: params[name] - step})) / 2e-5
    return gradient


def test_lstm_with_adadelta_and_parked_gradients(run):
    """Against NumPy: the cost by hand, its gradients by differences, and Adadelta's recursions."""
    done = run("lstm_adadelta_parked.py")
    x, mask, y, dim = done["batch_x"], done["batch_mask"], done["batch_y"], done["dim"]

    def cost(**p):
        h, c = np.zeros((2, 3, dim))
        total = 0
        for t in range(3):
            i, f, o, new = np.split(h @ p["lstm_U"] + p["Wemb"][x[t]] @ p["lstm_W"] + p["lstm_b"], 4, axis=1)
            m = mask[t][:, None]
            c = m * (expit(f) * c + expit(i) * np.tanh(new)) + (1 - m) * c
            h = m * expit(o) * np.tanh(c) + (1 - m) * h
            total = total + h * m
        p = softmax(total / mask.sum(axis=0)[:, None] @ p["U"] + p["b"], axis=1)
        return -np.log(p[range(3), y] + 1e-8).mean()

    params, costs = dict(done["params"]), []
    squares, steps = ({k: np.zeros_like(v) for k, v in params.items()} for _ in range(2))
    for update in range(4):
        costs.append(cost(**params))
        grads = {k: numeric_gradient(lambda **changed: cost(**params | changed), params, k) for k in params}
        if update == 0:
            for parked, right in zip(done["first_grads"], grads.values(), strict=True):
                np.testing.assert_allclose(parked, right, rtol=1e-5, atol=1e-9)
        for k, g in grads.items():
            squares[k] = 0.95 * squares[k] + 0.05 * g**2
            step = -np.sqrt(steps[k] + 1e-6) / np.sqrt(squares[k] + 1e-6) * g
            steps[k] = 0.95 * steps[k] + 0.05 * step**2
            params[k] = params[k] + step
    np.testing.assert_allclose(done["costs"], costs, rtol=1e-8)
    for name, p in done["tparams"].items():
        np.testing.assert_allclose(p.get_value(), params[name], rtol=1e-6, atol=1e-8)
