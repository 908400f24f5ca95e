"""The examples that draw: trajectories.py, textbook.py, decay.py, sparse_features.py, convergence.py, posterior.py."""

import re
from itertools import pairwise

import numpy as np
import pytest
from conftest import HAVE_JAX
from programs import check_png, rows, run, start
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

pytestmark = pytest.mark.once

BACKENDS = {"CVM": "c", "NUMBA": "numba", "JAX": "jax"}
FAST = "jax" if HAVE_JAX else "c"  # the backend that compiles the fastest


@pytest.mark.ci
@pytest.mark.parametrize(
    "script", ["trajectories.py", "textbook.py", "decay.py", "sparse_features.py", "convergence.py", "posterior.py"]
)
def test_help(script, tmp_path):
    output = run(script, "--help", folder=tmp_path)
    assert "--backend" in output and "--plot" in output


def test_trajectories_are_those_of_numpy(backend, tmp_path):
    rules = ["sgd", "momentum", "adagrad"]
    output = run("trajectories.py", "--backend", BACKENDS[backend], "--optimizers", *rules, folder=tmp_path)
    printed = {name: float(value) for name, *_, value in rows(output)}
    expected = dict(zip(rules, by_hand(), strict=True))
    assert printed == pytest.approx(expected, rel=1e-6)
    assert "wrote trajectories.png" in output
    check_png(tmp_path / "trajectories.png")


def by_hand(steps=30):
    def gradient(p):
        return np.array([p[0] / 10, 2 * p[1]])

    sgd, momentum, velocity, adagrad, squares = np.array([[-7.0, 2.0], [-7.0, 2.0], [0, 0], [-7.0, 2.0], [0, 0]])
    for _ in range(steps):
        sgd = sgd - 0.95 * gradient(sgd)
        velocity = 0.9 * velocity - 0.1 * gradient(momentum)
        momentum = momentum + velocity
        squares = squares + gradient(adagrad) ** 2
        adagrad = adagrad - 1.5 * gradient(adagrad) / np.sqrt(squares + 1e-6)
    return [x**2 / 20 + y**2 for x, y in (sgd, momentum, adagrad)]


@pytest.mark.ci
def test_trajectories_of_any_rule_at_any_rate(tmp_path):
    rules = ["nesterov_momentum", "adagrad_window", "adadelta", "adamax", "amsgrad", "rmsprop=0.25", "sgd=1.1"]
    output = run("trajectories.py", "--steps", "20", "--plot", "some.png", "--optimizers", *rules, folder=tmp_path)
    table = {name: (float(rate), float(value)) for name, rate, *_, value in rows(output)}
    assert list(table) == [rule.partition("=")[0] for rule in rules]
    assert table["rmsprop"][0] == 0.25
    assert all(value < 1 for name, (_, value) in table.items() if name != "sgd")
    assert table["sgd"][1] > 4 * 1.2**40  # y grows by 1.2 a step
    check_png(tmp_path / "some.png")


@pytest.mark.ci
@pytest.mark.parametrize("text", ["adam=fast", "adam=-1", "adam=", "madam"])
def test_trajectories_refuse(text, tmp_path):
    done = start("trajectories.py", "--optimizers", text, folder=tmp_path)
    assert done.returncode == 2
    assert "argument --optimizers" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.ci
def test_textbook_is_that_of_numpy(tmp_path):
    """An epoch of SGD from two starts, by backpropagation by hand, beside another rule that begins at the same."""
    options = ["--rules", "adagrad", "sgd=0.05", "--seeds", "2", "--epochs", "1", "--plot", "some.png"]
    output = run("textbook.py", *options, "--backend", FAST, folder=tmp_path)
    (_, _, *adagrad), (name, rate, *sgd) = rows(output)
    assert (name, rate) == ("sgd", "0.05")
    loss, training, held_out = np.mean([an_epoch_by_hand(0.05, [100] * 5, seed) for seed in (0, 1)], axis=0)
    assert sgd == [f"{loss:.4f}", f"{100 * training:.2f} %", f"{100 * held_out:.2f} %"]
    assert float(adagrad[0]) < loss
    check_png(tmp_path / "some.png")


def an_epoch_by_hand(rate, hidden, seed=0, batch_size=32):
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images / 16, labels, test_size=0.2, stratify=labels, random_state=0)
    rng = np.random.default_rng(seed)
    sizes = [64, *hidden, 10]
    W = [rng.normal(scale=np.sqrt(2 / n), size=(n, m)) for n, m in pairwise(sizes)]
    b = [np.zeros(m) for m in sizes[1:]]

    def layers(x):
        xs = [x]
        for i in range(len(W)):
            z = xs[-1] @ W[i] + b[i]
            xs.append(np.maximum(z, 0) if i < len(hidden) else z - z.max(axis=1, keepdims=True))
        return xs

    losses, hits = [], []
    order = np.random.default_rng(0).permutation(len(x))
    for k in range(len(x) // batch_size):
        batch = order[k * batch_size : (k + 1) * batch_size]
        *xs, z = layers(x[batch])
        probabilities = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        right = np.eye(10)[y[batch]]
        losses.append(-np.log(probabilities[right == 1]).mean())
        hits.append((z.argmax(axis=1) == y[batch]).mean())
        delta = (probabilities - right) / batch_size
        for i in reversed(range(len(W))):
            slopes = xs[i].T @ delta, delta.sum(axis=0)
            delta = delta @ W[i].T * (xs[i] > 0)
            W[i] -= rate * slopes[0]
            b[i] -= rate * slopes[1]
    return np.mean(losses), np.mean(hits), (layers(x_test)[-1].argmax(axis=1) == y_test).mean()


@pytest.mark.ci
def test_sweep_is_that_of_numpy(tmp_path):
    """Of two rates and two seeds, side by side, each run is the one by hand."""
    options = ["--optimizers", "sgd", "--rates", "0.05", "0.2", "--count", "2", "--seeds", "2", "--epochs", "1"]
    output = run("sweep.py", *options, "--plot", "some.png", "--backend", FAST, folder=tmp_path)
    ((name, rate, loss, worst, _),) = rows(output)
    losses = [an_epoch_by_hand(0.2, [32, 32], seed)[0] for seed in (0, 1)]
    assert (name, rate) == ("sgd", "0.2")
    assert [float(loss), float(worst)] == pytest.approx([np.mean(losses), max(losses)], abs=1e-4)
    assert np.mean(losses) < an_epoch_by_hand(0.05, [32, 32])[0]
    assert "4 runs in one function" in output and "times as long" in output
    check_png(tmp_path / "some.png")


@pytest.mark.ci
def test_sweep_range_test(tmp_path):
    options = ["--range-test", "--optimizers", "sgd", "--seeds", "2", "--plot", "some.png", "--backend", FAST]
    output = run("sweep.py", *options, folder=tmp_path)
    rate = float(re.search(r"at the rate ([\d.e-]+)", output)[1])
    assert 0.05 < rate < 2
    check_png(tmp_path / "some.png")


@pytest.mark.ci
@pytest.mark.parametrize("arguments", [["--rates", "1", "0.1"], ["--batch-size", "5000"], ["--optimizers", "madam"]])
def test_sweep_refuses(arguments, tmp_path):
    done = start("sweep.py", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert arguments[0] in done.stderr and "Traceback" not in done.stderr


@pytest.mark.ci
@pytest.mark.parametrize("text", ["adam=fast", "madam"])
def test_textbook_refuses(text, tmp_path):
    done = start("textbook.py", "--rules", text, folder=tmp_path)
    assert done.returncode == 2
    assert "argument --rules" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.ci
def test_decay(backend, tmp_path):
    output = run("decay.py", "--backend", BACKENDS[backend], folder=tmp_path)
    slope = re.search(r"as t to the power (-[\d.]+)", output)
    assert float(slope[1]) == pytest.approx(-0.5, abs=0.01)
    table = rows(output)
    constant = {name: list(map(float, cells)) for name, *cells in table[:4]}
    shrinking = {name: list(map(float, cells)) for name, *cells in table[4:]}
    assert list(constant) == list(shrinking) == ["AdaGrad", "RMSProp", "AdaDelta", "Adam"]
    for k, rate in enumerate(constant["AdaGrad"][:5]):  # 0.1 / sqrt(sum of squares), each 1.09 in the mean
        assert rate == pytest.approx(0.1 / np.sqrt(1.09 * 10**k), rel=0.1)
    for name in ("RMSProp", "Adam"):
        assert constant[name][4] == pytest.approx(0.01 / np.sqrt(1.09), rel=0.1)
        assert abs(constant[name][5]) < 0.01
    growth = {name: values[-1] for name, values in shrinking.items()}
    assert growth["AdaGrad"] < 1.01
    assert growth["RMSProp"] == pytest.approx(100, rel=0.05)
    assert growth["AdaDelta"] > 10 and growth["Adam"] > 10
    check_png(tmp_path / "decay.png")


@pytest.mark.ci
def test_adagrad_beats_tuned_sgd_on_rare_features(tmp_path):
    options = ["--seeds", "2", "--plot", "rare.png", "--backend", "jax" if HAVE_JAX else "c"]
    output = run("sparse_features.py", *options, folder=tmp_path)
    result = re.search(r"Held-out loss ([\d.]+) with AdaGrad, ([\d.]+) with tuned SGD", output)
    assert float(result[1]) < 0.9 * float(result[2])
    assert "lower in 2 of 2 splits" in output
    table = {name: cells for name, *cells in rows(output)[-3:]}
    assert list(table) == ["SGD", "SGD, 1/√t", "AdaGrad"]
    accuracy, on_rare_words = ({name: float(cells[i]) for name, cells in table.items()} for i in (2, 4))
    assert accuracy["AdaGrad"] > max(accuracy["SGD"], accuracy["SGD, 1/√t"]) + 0.03
    assert on_rare_words["AdaGrad"] > max(on_rare_words["SGD"], on_rare_words["SGD, 1/√t"]) + 0.02
    assert int(table["AdaGrad"][-1]) < int(table["SGD"][-1])
    check_png(tmp_path / "rare.png")


@pytest.mark.ci
def test_convergence(tmp_path):
    """On the quadratic, gradient descent by hand; the logistic minimum is one; the state is as large as it is.

    IVON comes near it by the number of examples that it is told, and only so.
    """
    fast = "jax" if HAVE_JAX else "c"
    options = ["--optimizers", "sgd", "adam", "ivon", "--problems", "quadratic", "logistic", "--steps", "200"]
    output = run("convergence.py", "--backend", fast, *options, folder=tmp_path)
    (name, quadratic, logistic, state), (other, _, adams, moments), (_, _, ivons, _) = rows(output)
    assert (name, other, state, moments) == ("sgd", "adam", "0.00", f"{(2 * 31 + 1) / 31:.2f}")
    spectrum, best = np.logspace(0, -4, 20), np.inf
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))
    for rate in (0.32, 1.0):
        x = (1 - rate * spectrum) ** 200 * (axes.T @ np.ones(20))
        best = min(best, 0.5 * (spectrum * x**2).sum())
    assert quadratic == f"{best:.1e} at 1"
    assert all(0 <= float(cell.split()[0]) < 1e-3 for cell in (logistic, adams, ivons))  # of ln 2 at the start
    check_png(tmp_path / "convergence.png")


@pytest.mark.ci
def test_convergence_of_rules_that_ask_for_outputs(tmp_path):
    """With the exact minimum of squares in two parameters: Newton's steps."""
    options = ["--optimizers", "levenberg_marquardt", "--problems", "rosenbrock", "--steps", "60"]
    output = run("convergence.py", "--backend", "jax" if HAVE_JAX else "c", *options, folder=tmp_path)
    ((name, height, _),) = rows(output)
    assert name == "levenberg_marquardt" and float(height) < 1e-20


@pytest.mark.ci
def test_posterior(tmp_path):
    """What SGLD, and SGD with SWAG behind it, come to in the long run, by all data and by minibatches."""
    speed, steps, batch_size = 0.3, 2000, 20
    options = ["--methods", "sgld", "apply_swag", "--speeds", str(speed), "--steps", str(steps), "--runs", "64"]
    output = run("posterior.py", *options, "--backend", FAST, folder=tmp_path)
    check_png(tmp_path / "posterior.png")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) * [1.0, 0.8, 1.0, 0.5]
    x[:, 1] += 0.6 * x[:, 0]
    y = x @ [1.0, -1.0, 0.5, 2.0] + rng.normal(size=200)
    P = x.T @ x + np.eye(4)
    S, residuals = np.linalg.inv(P), y - x @ np.linalg.solve(P, x.T @ y)
    rate, eye = speed / np.linalg.eigvalsh(P)[-1], np.eye(4)
    A, slopes = eye - rate * P, x * residuals[:, None]

    def in_the_long_run(injected, noise):
        """The covariance of w ← w - rate (H w - e) + injected noise, with H and e of a minibatch if there is noise."""
        C = S
        for _ in range(2000):
            of_curvature = np.einsum("ni,nj,n->ij", x, x, np.einsum("ni,ij,nj->n", x, C, x)) / 200
            of_curvature -= x.T @ x @ C @ x.T @ x / 200**2
            of_slopes = np.cov(slopes.T, bias=True)
            C = A @ C @ A + injected * eye + noise * rate**2 * 200**2 / batch_size * (of_curvature + of_slopes)
        return C

    def expected(C, width=1.0):
        """The error of the mean of the last three quarters of a run, and the ratios of the deviations."""
        of_mean = np.linalg.solve(eye - A, C) * 2 - C
        error = np.sqrt(np.mean(np.diag(of_mean) / np.diag(S)) / (0.75 * steps))
        ratios = np.sqrt(width * np.diag(C) / np.diag(S))
        return error, ratios.min(), ratios.max()

    (name, *sgld), (other, *swag) = rows(output)
    assert (name, other) == ("sgld", "apply_swag")
    swag_width = 0.5 + 0.5 * 20 / 19  # the half of its deviations, of which there are 20
    for cells, injected, noise, width in (
        (sgld[:3], 2 * rate, 0, 1),
        (sgld[3:], 2 * rate, 1, 1),
        (swag[3:], 0, 1, swag_width),
    ):
        assert float(cells[0]) == speed
        error, *ratios = expected(in_the_long_run(injected, noise), width)
        assert float(cells[1]) == pytest.approx(error, abs=0.02)
        assert [*map(float, cells[2].split(" to "))] == pytest.approx(ratios, abs=0.04)
    assert swag[:3] == ["0.3", "0.00", "0.00 to 0.00"]  # without noise, it stands still


@pytest.mark.ci
@pytest.mark.parametrize("arguments", [["--methods", "slgd"], ["--steps", "30"]])
def test_posterior_refuses(arguments, tmp_path):
    done = start("posterior.py", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert f"argument {arguments[0]}" in done.stderr and "Traceback" not in done.stderr
