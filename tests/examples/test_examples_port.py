"""The example that ports three Lasagne scripts: its three stages print the same losses."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytensor
import pytest
from conftest import FULL

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import port_lasagne  # noqa: E402

pytestmark = pytest.mark.once


@pytest.fixture
def in_python():
    """Functions without a compiler: these are about numbers."""
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


@pytest.fixture
def lasagne():
    """Lasagne, and what its import brings put away again."""
    if port_lasagne.find_spec("lasagne") is None:
        pytest.skip("Lasagne is not installed")
    import symupdates.theano

    before = set(sys.modules)
    yield
    symupdates.theano.uninstall()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"lasagne", "theano"}:
            del sys.modules[name]


def by_hand(epochs):
    """AdaGrad on the line, in NumPy."""
    x, y = port_lasagne.line()
    parameters, squares, history = np.zeros(2), np.zeros(2), []
    design = np.column_stack([x, np.ones(len(x))])
    for step in range(20 * epochs):
        error = design @ parameters - y[:, 0]
        gradient = 2 * design.T @ error / len(x)
        squares = squares + gradient**2
        parameters = parameters - 0.2 * gradient / np.sqrt(squares + 1e-6)
        if step % 20 == 19:
            history.append((np.mean(error**2),))
    return history


def check_same(results, stages):
    assert tuple(results) == stages
    printed = [[f"{x:.6f}" for losses in history for x in losses] for history in results.values()]
    assert all(losses == printed[0] for losses in printed)
    assert port_lasagne.furthest(results) < 1e-12


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore:invalid escape sequence:DeprecationWarning")
def test_the_three_stages_of_the_line_are_those_of_numpy(in_python, lasagne, capsys):
    results = port_lasagne.stages("line", 2)
    check_same(results, port_lasagne.STAGES)
    np.testing.assert_allclose(results["legacy"], by_hand(2), rtol=1e-12)
    assert "least squares: y = 1.99" in capsys.readouterr().out


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore:invalid escape sequence:DeprecationWarning")
def test_the_three_stages_of_the_mlp_are_the_same(in_python, lasagne, capsys):
    results = port_lasagne.stages("mlp", 2 if FULL else 1)  # its loop is slow in Python
    check_same(results, port_lasagne.STAGES)
    training, validation = np.transpose(results["ported"])
    assert training[0] < np.log(10) and validation[0] < 0.75 * np.log(10)
    assert "rate still 0.1" in capsys.readouterr().out


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore:invalid escape sequence:DeprecationWarning")
def test_the_cnn_and_its_port_are_the_same(in_python, lasagne, monkeypatch, tmp_path):
    """On eight pictures in the files of MNIST: in Python, two a step are slow enough, and a loop would be too slow."""
    rng = np.random.default_rng(0)
    for part, n in [("train", 6), ("t10k", 2)]:
        for kind, values in [("images-idx3", rng.integers(0, 256, (n, 28, 28))), ("labels-idx1", np.arange(n))]:
            header = b"".join(length.to_bytes(4, "big") for length in (0x800 + values.ndim, *values.shape))
            with gzip.open(tmp_path / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + values.astype("uint8").tobytes())
    script = (ROOT / "examples" / "legacy" / "lasagne_cnn.py").read_text()
    script = script.replace("train, val = 50000, 60000", "train, val = 4, 6").replace("(500, 0.01)", "(2, 0.01)")
    (tmp_path / "lasagne_cnn.py").write_text(script)
    monkeypatch.setattr(port_lasagne, "LEGACY", tmp_path)
    whole = port_lasagne.pictures

    def pictures(folder):
        x, y = (np.concatenate(whole(folder)[i::2]) for i in (0, 1))
        return x[:4], y[:4], x[4:6], y[4:6], x[6:], y[6:]

    monkeypatch.setattr(port_lasagne, "pictures", pictures)
    monkeypatch.setattr(port_lasagne, "cnn_settings", lambda folder: (0.01, 2))
    legacy = port_lasagne.unmodified("lasagne_cnn.py", 1, tmp_path)
    ported = port_lasagne.ported_cnn(1, tmp_path)
    np.testing.assert_allclose(ported, legacy, rtol=1e-12)
    assert abs(ported[0][0] / np.log(10) - 1) < 0.2


@pytest.mark.parametrize("part", [0, 2, 4])
def test_digits_are_drawn_three_times_as_large(part):
    x, labels = port_lasagne.pictures()[part : part + 2]
    assert x.shape == ({0: 1400, 2: 100, 4: 297}[part], 1, 28, 28)
    small = x[:, 0, 2:-2:3, 2:-2:3]
    np.testing.assert_array_equal(x[:, 0, 3:-2:3, 4:-2:3], small)
    assert not x[..., :2].any() and len(labels) == len(x)


def test_without_lasagne_it_says_so_and_shows_the_others(in_python, monkeypatch, capsys):
    monkeypatch.setattr(port_lasagne, "find_spec", lambda name: None)
    monkeypatch.setattr(port_lasagne, "MODES", {"c": "FAST_COMPILE"})
    port_lasagne.main(["--problem", "line", "--epochs", "2", "--backend", "c"])
    out, error = capsys.readouterr()
    assert "pip install 'symupdates[legacy]'" in error and "stage 1 is left out" in error
    assert f"{by_hand(2)[-1][0]:.6f}" in out and "legacy:" not in out
    assert float(re.search(r"The losses of 2 stages differ by (\S+) at most", out)[1]) < 1e-12


def test_losses_that_differ_are_an_error(monkeypatch, capsys):
    monkeypatch.setattr(port_lasagne, "stages", lambda *args: {"ported": [(0.5,)], "with more": [(0.50001,)]})
    with pytest.raises(SystemExit) as exit:
        port_lasagne.main(["--problem", "line"])
    assert "not the same" in exit.value.code


def run(*args):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "160",
    }
    command = [sys.executable, ROOT / "examples" / "port_lasagne.py", *args]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)


@pytest.mark.ci
def test_help():
    done = run("--help")
    assert done.returncode == 0 and "--problem" in done.stdout


@pytest.mark.full
def test_as_a_user_runs_it(lasagne):
    done = run()
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"The losses of 3 stages differ by (\S+) at most", done.stdout)) == 3
    _, convolutional = re.findall(r"(\S+)% of the test digits right", done.stdout)
    assert float(convolutional) >= 98
