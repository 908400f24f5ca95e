"""The example programs that train: the linear regression and the multi-layer perceptron."""

import gzip
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
HAVE_JAX = importlib.util.find_spec("jax") is not None
FAST = "jax" if HAVE_JAX else "c"  # the backend that compiles the fastest

sys.path.insert(0, str(EXAMPLES))

import common  # noqa: E402
import linear_regression  # noqa: E402
import mlp  # noqa: E402


def run(program, *args):
    """What the program prints, run as a user runs it, from another folder."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, *args],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=EXAMPLES.parent,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def epoch_lines(output, count):
    """The measures of the first epochs, as printed, without the time they took."""
    lines = re.findall(r"^epoch +\d+ +(loss .*?) +[\d.e-]+ m?s$", output, flags=re.MULTILINE)
    assert len(lines) >= count
    return lines[:count]


def refused(capsys, program, *args):
    """The message with which the program refuses its arguments."""
    with pytest.raises(SystemExit) as exit:
        program.main(list(args))
    assert exit.value.code == 2
    return capsys.readouterr().err


# --- The multi-layer perceptron ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlp_output():
    return run("mlp.py")  # on c, where there is a compiler for it


def test_mlp_reaches_its_accuracy_with_the_defaults(mlp_output):
    score = float(re.search(r"^held-out accuracy ([\d.]+) %", mlp_output, flags=re.MULTILINE)[1])
    assert score >= 97
    assert "\x1b" not in mlp_output


@pytest.mark.parametrize("other", ["numba", "jax"])
def test_mlp_prints_the_same_first_epochs_on_every_backend(mlp_output, other):
    if other == "jax" and not HAVE_JAX:
        pytest.skip("JAX is not installed")
    assert epoch_lines(run("mlp.py", "--backend", other, "--epochs", "2"), 2) == epoch_lines(mlp_output, 2)


def test_mlp_learns_in_single_precision_and_draws(tmp_path, capsys):
    path = tmp_path / "mlp.png"
    args = ["--float32", "--backend", FAST, "--epochs", "5", "--optimizer", "adam", "--plot", str(path)]
    assert mlp.main(args) > 0.8
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "float32" in capsys.readouterr().out


def test_mlp_stops_when_the_loss_is_not_finite(capsys):
    mlp.main(["--backend", FAST, "--optimizer", "sgd", "--learning-rate", "1e9", "--epochs", "3"])
    output = capsys.readouterr().out
    assert "Try a smaller --learning-rate" in output
    assert len(epoch_lines(output.replace("nan", "0.0"), 1)) == 1


# --- MNIST files ------------------------------------------------------------------------------------------------------


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype("u1").tobytes()


def write_mnist(folder, compress):
    """The digits of scikit-learn, as MNIST files; return what was written."""
    x, y, x_test, y_test = mlp.digits(0)
    for part, images, labels in [("train", x, y), ("t10k", x_test, y_test)]:
        images = np.round(images * 255).reshape(-1, 8, 8)
        for name, data in [("images-idx3", idx(images)), ("labels-idx1", idx(labels))]:
            path = folder / f"{part}-{name}-ubyte{'.gz' if compress else ''}"
            path.write_bytes(gzip.compress(data, 1) if compress else data)
    return x, y, x_test, y_test


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzipped"])
def test_mnist_files_are_read(tmp_path, compress):
    written = write_mnist(tmp_path, compress)
    for read, array in zip(mlp.mnist(tmp_path), written, strict=True):
        np.testing.assert_allclose(read, array, atol=0.5 / 255)


def test_mlp_trains_on_mnist_files(tmp_path, capsys):
    write_mnist(tmp_path, compress=True)
    assert mlp.main(["--data", str(tmp_path), "--backend", FAST, "--epochs", "3"]) > 0.8
    assert "1437 images in 44 batches of 32 an epoch, 360 held out" in capsys.readouterr().out


DIGITS = idx(np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    "data, message",
    [
        (DIGITS[:-1], "33 bytes, but its header says 34"),
        (DIGITS + b"\0", "35 bytes, but its header says 34"),
        (DIGITS[:10], "ends in the header"),
        (b"", "starts with"),
        (idx(np.zeros(5)), "starts with 00000801, not 00000803"),
        (bytes([0, 0, 13, 3]) + DIGITS[4:], "starts with 00000d03"),
        (idx(np.zeros((0, 3, 3))), "no data"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "16 bytes, but its header says"),
        (gzip.compress(DIGITS, mtime=0)[:-9], "not a whole gzip file"),
        (b"\x1f\x8b\x08\0" + b"\xff" * 30, "not a whole gzip file"),
    ],
    ids=["short", "long", "header", "empty", "labels", "floats", "none", "huge", "cut gzip", "broken gzip"],
)
def test_bad_idx_files_are_refused(tmp_path, data, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        mlp.read_idx(path, ndim=3)
    assert path.name in str(error.value)


def test_missing_and_inconsistent_mnist_files_are_refused(tmp_path, capsys):
    message = refused(capsys, mlp, "--data", str(tmp_path))
    for name in "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1":
        assert f"{name}-ubyte" in message

    write_mnist(tmp_path, compress=False)
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(5)))
    assert "360 t10k images, but 5 labels" in refused(capsys, mlp, "--data", str(tmp_path))
    labels.write_bytes(idx(np.full(360, 10)))
    assert "labels go up to 10" in refused(capsys, mlp, "--data", str(tmp_path))


# --- The linear regression --------------------------------------------------------------------------------------------


def test_linear_regression_finds_the_least_squares(tmp_path):
    path = tmp_path / "lines.png"
    output = run("linear_regression.py", "--backend", FAST, "--plot", str(path))
    slope, intercept, best_slope, best_intercept = map(
        float, re.search(r"^slope (\S+), intercept (\S+); least squares: (\S+), (\S+)$", output, re.MULTILINE).groups()
    )
    assert slope == pytest.approx(best_slope, abs=2e-4) == pytest.approx(2, abs=0.2)
    assert intercept == pytest.approx(best_intercept, abs=2e-4)
    scores = re.findall(r"^held-out R2 (\S+); least squares: (\S+)$", output, re.MULTILINE)
    assert len(scores) == 2
    for score, best in scores:
        assert float(score) == pytest.approx(float(best), abs=2e-3)
    assert "\x1b" not in output
    assert path.read_bytes().startswith(b"\x89PNG")


def test_linear_regression_prints_the_same_on_every_backend(capsys):
    outputs = []
    for name in ["c", "numba", *["jax"] * HAVE_JAX]:
        linear_regression.main(["--backend", name, "--epochs", "20"])
        outputs.append(epoch_lines(capsys.readouterr().out, 22))
    assert all(output == outputs[0] for output in outputs)


@pytest.mark.parametrize("name", common.RULES)
def test_linear_regression_takes_every_rule(name, capsys):
    linear_regression.main(["--optimizer", name, "--backend", FAST, "--data", "synthetic", "--epochs", "1"])
    assert f"{name}, learning rate" in capsys.readouterr().out


# --- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [mlp, linear_regression])
@pytest.mark.parametrize(
    "args, message",
    [
        (["--optimizer", "adagard"], "No rule is called 'adagard'. The rules are .*adagrad.*sgd"),
        (["--backend", "cuda"], "not a backend: give c, numba, jax"),
        (["--epochs", "0"], "not a positive whole number"),
        (["--epochs", "many"], "not a positive whole number"),
        (["--learning-rate", "nan"], "not a positive number"),
        (["--seed", "-1"], "not a whole number from 0"),
        (["--plot", "curves.txt"], "does not end in .png"),
        (["--plot", "no/such/folder/curves.png"], "there is no folder"),
    ],
)
def test_bad_arguments_are_refused(program, args, message, capsys):
    assert re.search(message, refused(capsys, program, *args))


def test_backend_that_is_not_installed_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(common, "find_spec", lambda name: None)
    assert "needs the package jax, which is not installed" in refused(capsys, mlp, "--backend", "jax")
