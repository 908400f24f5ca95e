"""The example programs that train: the linear regression and the multi-layer perceptron."""

import argparse
import gzip
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import KINDS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
HAVE_JAX = importlib.util.find_spec("jax") is not None
FAST = "jax" if HAVE_JAX else "c"  # the backend that compiles the fastest

sys.path.insert(0, str(EXAMPLES))

import common  # noqa: E402
import linear_regression  # noqa: E402
import mlp  # noqa: E402

pytestmark = pytest.mark.once


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


@pytest.mark.ci
def test_mlp_reaches_its_accuracy_with_the_defaults(mlp_output):
    score = float(re.search(r"^held-out accuracy ([\d.]+) %", mlp_output, flags=re.MULTILINE)[1])
    assert score >= 97
    assert "\x1b" not in mlp_output


@pytest.mark.ci
@pytest.mark.parametrize("other", [pytest.param("numba", marks=pytest.mark.full), "jax"])
def test_mlp_prints_the_same_first_epochs_on_every_backend(mlp_output, other):
    if other == "jax" and not HAVE_JAX:
        pytest.skip("JAX is not installed")
    assert epoch_lines(run("mlp.py", "--backend", other, "--epochs", "2"), 2) == epoch_lines(mlp_output, 2)


@pytest.mark.ci
def test_mlp_learns_in_single_precision_and_draws(tmp_path, capsys):
    path = tmp_path / "mlp.png"
    args = ["--float32", "--backend", FAST, "--epochs", "5", "--optimizer", "adam", "--plot", str(path)]
    assert mlp.main(args) > 0.8
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "float32" in capsys.readouterr().out


@pytest.mark.ci
def test_mlp_stops_when_the_loss_is_not_finite(capsys):
    mlp.main(["--backend", FAST, "--optimizer", "sgd", "--learning-rate", "1e9", "--epochs", "3"])
    output = capsys.readouterr().out
    assert "Try a smaller --learning-rate" in output
    assert len(epoch_lines(output.replace("nan", "0.0"), 1)) == 1


# --- Its stages -------------------------------------------------------------------------------------------------------

SMALL = ["--backend", FAST, "--batch-size", "128", "--epochs", "4"]


def one_step(gradients, learning_rate=0.5, steps=10, **options):
    """What a weight matrix and a bias, ones at first, are after one update with the stages asked for."""
    params = [pytensor.shared(np.ones(shape), name=name) for name, shape in [("W", (2, 2)), ("b", 2)]]
    stages = {"optimizer": "sgd", "schedule": "constant", "clip": None, "weight_decay": None, "average": None}
    rule = mlp.training_rule(argparse.Namespace(**(stages | options)), learning_rate, steps)
    grads = [g * pt.ones_like(p) for g, p in zip(gradients, params, strict=True)]
    updates = rule(grads, params)
    pytensor.function([], [], updates=updates, mode="FAST_COMPILE")()
    return [p.get_value() for p in params], updates


def test_mlp_clips_the_norm_of_all_gradients():
    (weights, bias), _ = one_step([3.0, -4.0], clip=2.0)
    norm = np.sqrt(4 * 3**2 + 2 * 4**2)
    np.testing.assert_allclose(weights, 1 - 0.5 * 3 * 2 / norm)
    np.testing.assert_allclose(bias, 1 + 0.5 * 4 * 2 / norm)


@pytest.mark.parametrize("schedule, rate", [("constant", 0.5), ("one-cycle", 0.5 / 25)])
def test_mlp_lets_the_weights_decay_at_the_learning_rate(schedule, rate):
    (weights, bias), _ = one_step([0.0, 0.0], weight_decay=0.1, schedule=schedule)
    np.testing.assert_allclose(weights, 1 - rate * 0.1)
    np.testing.assert_array_equal(bias, 1)


def test_mlp_averages_what_all_other_stages_have_left():
    params, updates = one_step([3.0, -4.0], clip=2.0, weight_decay=0.1, average=0.9)
    for value, average in zip(params, mlp.symupdates.averages(updates).values(), strict=True):
        np.testing.assert_allclose(average.get_value(), value)  # that of one update is the parameter itself


@pytest.mark.parametrize("steps", [1, 2, 5, 30, 2200])
@pytest.mark.parametrize("name", mlp.SCHEDULES)
def test_mlp_schedules_of_runs_of_any_length(name, steps):
    schedule = mlp.SCHEDULES[name](0.1, steps)
    rates = schedule(np.arange(steps)) if callable(schedule) else np.full(steps, schedule)
    assert np.all((rates >= 0) & (rates <= 0.1 + 1e-12))
    if steps >= 30:
        assert rates.max() > 0.095
        assert (rates[-1] < 0.02) == (name != "constant")
        assert (rates[0] < 0.01) == (name in ("warmup-cosine", "one-cycle"))


@pytest.mark.ci
def test_mlp_tests_the_averages_and_trains_as_without_them(capsys):
    outputs = []
    for options in [], ["--average", "0.99"]:
        mlp.main([*SMALL, "--schedule", "cosine", *options])
        lines = epoch_lines(capsys.readouterr().out, 4)
        outputs.append(list(zip(*(line.split("held_out") for line in lines), strict=True)))
    (training, held_out), (same, averaged) = outputs
    assert training == same
    assert held_out != averaged


# --- Its checkpoints --------------------------------------------------------------------------------------------------

EVERYTHING = "--optimizer adam --schedule warmup-cosine --clip 1 --weight-decay 0.1 --average 0.9 --float32".split()


def saved(path):
    """The arrays in a checkpoint, as bytes."""
    with np.load(path) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files if name != "symupdates.json"}


def interrupt(monkeypatch, epoch):
    """Make the next run stop amid an epoch, as on Ctrl-C."""
    calls = iter(range(12 * epoch - 6))  # eleven batches and the held-out images in each

    def accuracy(*args, measure=mlp.accuracy):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return measure(*args)

    monkeypatch.setattr(mlp, "accuracy", accuracy)


@pytest.mark.ci
@pytest.mark.parametrize("options", [[], EVERYTHING], ids=["defaults", "everything"])
def test_mlp_resumed_is_the_uninterrupted_run_to_the_last_bit(tmp_path, monkeypatch, capsys, options):
    whole, parts = tmp_path / "whole.ckpt", tmp_path / "parts.ckpt"
    score = mlp.main([*SMALL, *options, "--checkpoint", str(whole)])
    lines = epoch_lines(capsys.readouterr().out, 4)

    command = [*SMALL, *options, "--checkpoint", str(parts)]
    for epoch in 1, 3:  # before there is a checkpoint, and between two
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt(patch, epoch)
            mlp.main(command)
        assert parts.exists() == (epoch > 1)
    assert epoch_lines(capsys.readouterr().out, 2) == lines[:2]
    assert saved(parts) != saved(whole)

    assert mlp.main([*command, "--plot", str(tmp_path / "mlp.png")]) == score
    output = capsys.readouterr().out
    assert "2 of 4 epochs are done" in output
    assert epoch_lines(output, 2) == lines[2:]
    assert saved(parts) == saved(whole)

    assert mlp.main(command) == score  # nothing is left to do
    assert "4 of 4 epochs are done" in capsys.readouterr().out
    assert saved(parts) == saved(whole)


@pytest.mark.ci
def test_mlp_trains_further_from_its_checkpoint(tmp_path, capsys):
    whole, parts = tmp_path / "whole.ckpt", tmp_path / "parts.ckpt"
    mlp.main([*SMALL, "--checkpoint", str(whole)])
    for epochs in "2", "4":
        score = mlp.main([*SMALL, "--checkpoint", str(parts), "--epochs", epochs])
    assert saved(parts) == saved(whole)
    assert mlp.main([*SMALL, "--checkpoint", str(parts)]) == score
    message = refused(capsys, mlp, *SMALL, "--checkpoint", str(parts), "--epochs", "3")
    assert "4 epochs are done, more than --epochs 3" in message


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.ckpt"
    mlp.main([*SMALL, "--schedule", "step", "--clip", "1", "--checkpoint", str(path)])
    return path


@pytest.mark.ci
@pytest.mark.parametrize(
    "other, problem",
    [
        (["--optimizer", "adam"], "--optimizer adam is missing.*--optimizer adagrad is unknown.*W1/adagrad/accu"),
        (["--learning-rate", "0.5"], "--learning-rate 0.5 is missing; --learning-rate 0.02 is unknown"),
        (["--clip", "2"], "--clip 2.0 is missing; --clip 1.0 is unknown"),
        (["--schedule", "linear"], "--schedule linear is missing; --schedule step is unknown"),
        (["--weight-decay", "0.1"], "--weight-decay 0.1 is missing"),
        (["--average", "0.9"], "--average 0.9 is missing; W1/ema/average is missing"),
        (["--epochs", "5"], "--epochs 5 is missing; --epochs 4 is unknown"),
        (["--batch-size", "64"], "--batch-size 64 is missing; --batch-size 128 is unknown"),
        (["--noise", "0"], "--noise 0.0 is missing; --noise 0.2 is unknown"),
        (["--seed", "1"], "--seed 1 is missing; --data .* is missing; --seed 0 is unknown; --data .* is unknown"),
        (["--float32"], "W1 has dtype float64 instead of float32"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_mlp_refuses_the_checkpoint_of_another_run(checkpoint, capsys, other, problem):
    content = checkpoint.read_bytes()
    args = [*SMALL, "--schedule", "step", "--clip", "1", "--checkpoint", str(checkpoint), *other]
    message = refused(capsys, mlp, *args)
    assert f"--checkpoint {checkpoint}: " in message
    assert re.search(problem, message)
    assert checkpoint.read_bytes() == content


@pytest.mark.ci
def test_mlp_refuses_other_data_and_other_layers(checkpoint, tmp_path, monkeypatch, capsys):
    args = [*SMALL, "--schedule", "step", "--clip", "1", "--checkpoint", str(checkpoint)]
    write_mnist(tmp_path, compress=False)
    message = refused(capsys, mlp, *args, "--data", str(tmp_path))
    assert re.search("--data with checksum .* is missing; --data with checksum .* is unknown", message)
    monkeypatch.setattr(mlp, "HIDDEN", (100, 100, 100, 100, 50))
    assert "W5 has shape (100, 100) instead of (100, 50)" in refused(capsys, mlp, *args)


@pytest.mark.ci
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-100], lambda data: b"", lambda data: b"text", lambda data: data.replace(b"W1", b"Wl", 1)],
    ids=["cut", "empty", "text", "changed"],
)
def test_mlp_refuses_a_damaged_checkpoint_and_leaves_it(checkpoint, tmp_path, capsys, damage):
    path = tmp_path / "run.ckpt"
    path.write_bytes(damage(checkpoint.read_bytes()))
    content = path.read_bytes()
    message = refused(capsys, mlp, *SMALL, "--schedule", "step", "--clip", "1", "--checkpoint", str(path))
    assert f"{path} is not a whole checkpoint" in message
    assert path.read_bytes() == content


@pytest.mark.ci
def test_mlp_says_so_when_the_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    def save(file, updates):
        raise OSError("no space left")

    monkeypatch.setattr(mlp.symupdates, "save", save)
    with pytest.raises(SystemExit, match="The checkpoint could not be written: no space left"):
        mlp.main([*SMALL, "--checkpoint", str(tmp_path / "run.ckpt")])


@pytest.mark.ci
def test_mlp_keeps_no_checkpoint_of_a_loss_that_is_not_finite(tmp_path):
    path = tmp_path / "run.ckpt"
    mlp.main([*SMALL, "--optimizer", "sgd", "--learning-rate", "1e9", "--checkpoint", str(path)])
    assert not path.exists()


@pytest.mark.parametrize(
    "args, message",
    [
        (["--schedule", "cosin"], "argument --schedule: invalid choice: 'cosin'"),
        (["--clip", "0"], "argument --clip: '0' is not a positive number"),
        (["--clip", "inf"], "argument --clip: 'inf' is not a positive number"),
        (["--weight-decay", "-0.1"], "argument --weight-decay: '-0.1' is not a positive number"),
        (["--average", "1"], "argument --average: '1' is not a positive number below 1"),
        (["--average", "nan"], "argument --average: 'nan' is not a positive number below 1"),
        (["--checkpoint", "no/such/folder/run.ckpt"], "there is no folder 'no/such/folder' to write 'run.ckpt' into"),
        (["--checkpoint", "."], "--checkpoint .: .*directory"),
    ],
)
def test_mlp_refuses_values_that_make_no_sense(args, message, capsys):
    assert re.search(message, refused(capsys, mlp, *args))


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


@pytest.mark.ci
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


@pytest.mark.full
@pytest.mark.ci
def test_linear_regression_prints_the_same_on_every_backend(capsys):
    outputs = []
    for name in ["c", "numba", *["jax"] * HAVE_JAX]:
        linear_regression.main(["--backend", name, "--epochs", "20"])
        outputs.append(epoch_lines(capsys.readouterr().out, 22))
    assert all(output == outputs[0] for output in outputs)


@pytest.mark.ci
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name not in KINDS)) for name in common.RULES]
)
def test_linear_regression_takes_any_rule(name, capsys):
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
