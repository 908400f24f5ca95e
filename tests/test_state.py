"""Checkpoints: names, files that are whole or refused, runs that are resumed bit for bit."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX
from helpers import PYTHON, call, make_param, rule_of_each_kind, scheduled, values

from symupdates import adagrad, adagrad_window, adam, apply_ema, apply_momentum, averages, sgd, swap_averages
from symupdates.state import load, load_state_dict, reset, save, state_dict, summary, to_numpy


def build(row):
    """A rule with schedules, accelerated, on a named and an unnamed parameter; its training function's argument."""
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    params = [make_param(row.shape, "float64", "p"), make_param(row.shape, "float32", None, seed=1)]
    hyper = {name: scheduled(value) for name, value in row.hyper.items()}
    return g, apply_momentum(call(row, [g, g], params, **hyper), momentum=scheduled(0.5))


@rule_of_each_kind
def test_a_run_is_resumed_from_a_file(row, tmp_path):
    given = row.gradients(6, row.shape)
    g, updates = build(row)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for t in range(3):
        step(given[t])
    save(tmp_path / "run", updates)
    for t in range(3, 6):
        step(given[t])

    g, resumed = build(row)
    before = values(resumed)
    load(tmp_path / "run", resumed)
    assert not all(np.array_equal(a, b) for a, b in zip(before, values(resumed), strict=True))
    step = pytensor.function([g], [], updates=resumed, mode=PYTHON)
    for t in range(3, 6):
        step(given[t])
    for a, b in zip(values(updates), values(resumed), strict=True):
        assert a.tobytes() == b.tobytes()


def noisy(mode):
    """Adam with noise on the gradient from a generator in the dict."""
    p = pytensor.shared(np.linspace(-1, 1, 5), name="p")
    rng = pytensor.shared(np.random.default_rng(3), name="rng")
    next_rng, noise = pt.random.normal.make_node(rng, [5], 0.0, 1.0).outputs
    updates = adam([p + noise], [p], learning_rate=0.1) | {rng: next_rng}
    return updates, pytensor.function([], [], updates=updates, mode=mode)


@pytest.mark.parametrize("first, second", [("CVM", "CVM"), ("NUMBA", "NUMBA"), ("CVM", "NUMBA"), ("NUMBA", "CVM")])
def test_generators_are_saved(first, second, tmp_path):
    """A resumed run repeats the rest of the uninterrupted one, noise included, on its own backend and the other."""
    updates, step = noisy(first)
    continued, step_second = noisy(second)
    for _ in range(3):
        step()
    save(tmp_path / "run", updates)
    # The uninterrupted run goes on with the second backend's function from the first one's values.
    for mine, theirs in zip(continued, updates, strict=True):
        mine.set_value(theirs.get_value())
    for _ in range(3):
        step_second()
    uninterrupted = state_dict(continued)
    load(tmp_path / "run", continued)
    for _ in range(3):
        step_second()
    assert state_dict(continued).keys() == uninterrupted.keys() == {"p/adam/m", "p/adam/v", "p", "adam/t", "rng"}
    for name, array in state_dict(continued).items():
        assert array.tobytes() == uninterrupted[name].tobytes(), name
    assert json.loads(str(uninterrupted["rng"]))["bit_generator"] == "PCG64"


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_kind_of_generator(kind, tmp_path):
    rng = pytensor.shared(np.random.Generator(getattr(np.random, kind)(1)), name="rng")
    rng.get_value(borrow=True).normal(size=3)
    save(tmp_path / "rng", {rng: rng})
    expected = rng.get_value().normal(size=5)
    rng.set_value(np.random.default_rng(7))
    load(tmp_path / "rng", {rng: rng})
    np.testing.assert_array_equal(rng.get_value().normal(size=5), expected)


@pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")
def test_training_on_jax_predicting_elsewhere(tmp_path):
    p = pytensor.shared(np.ones(3), name="p", shape=(3,))
    updates = adam((p**2).sum(), [p])
    step = pytensor.function([], [], updates=updates, mode="JAX")
    step()
    save(tmp_path / "run", updates)
    assert all(type(array) is np.ndarray for array in state_dict(updates).values())
    assert not isinstance(p.get_value(borrow=True), np.ndarray)
    predict = pytensor.function([], 2 * p, mode="CVM")
    to_numpy(updates)
    expected = 2 * p.get_value()
    np.testing.assert_array_equal(predict(), expected)
    step()
    load(tmp_path / "run", updates)
    np.testing.assert_array_equal(predict(), expected)
    value = p.get_value(borrow=True)
    to_numpy([p])
    assert p.get_value(borrow=True) is value


def test_names():
    """Of the whole dict: unnamed parameters by place, merged dicts, variables of one's own."""
    a, b, W, V = (make_param((2,), "float64", name) for name in (None, None, "W", "W"))
    mean = pytensor.shared(0.0, name="mean")
    merged = adam([pt.vector()] * 2, [a, W]) | adam([pt.vector()] * 2, [b, V]) | {mean: mean + 1}
    assert list(state_dict(merged)) == [
        "param[0]/adam/m",
        "param[0]/adam/v",
        "param[0]",
        "W[1]/adam/m",
        "W[1]/adam/v",
        "W[1]",
        "adam/t",
        "param[2]/adam/m",
        "param[2]/adam/v",
        "param[2]",
        "W[3]/adam/m",
        "W[3]/adam/v",
        "W[3]",
        "adam_2/t",
        "mean",
    ]
    state = state_dict(merged)
    state["W[3]"][:] = 5
    assert V.get_value().max() < 5


def test_a_state_that_does_not_fit_changes_nothing():
    p, q = make_param((3,), "float64", "p"), make_param((2,), "float64", "q")
    updates = adagrad([pt.vector(), pt.vector()], [p, q])
    state = {name: array + 1 for name, array in state_dict(updates).items()}
    before = values(updates)
    state["r"] = state.pop("p")
    state["q"] = np.ones(3)
    state["q/adagrad/accu"] = state["q/adagrad/accu"].astype("float32")
    with pytest.raises(ValueError) as caught:
        load_state_dict(updates, state)
    for problem in (
        "p is missing",
        "r is unknown",
        "q has shape (3,) instead of (2,)",
        "q/adagrad/accu has dtype float32 instead of float64",
        "nothing was loaded",
    ):
        assert problem in str(caught.value)
    for old, new in zip(before, values(updates), strict=True):
        np.testing.assert_array_equal(old, new)
    rng = pytensor.shared(np.random.default_rng(0), name="rng")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for text in (
        "",
        "{}",
        '{"bit_generator": "os"}',
        '{"bit_generator": "seed"}',
        '{"bit_generator": "RandomState"}',
        '{"bit_generator": "PCG64", "state": {}}',
    ):
        with pytest.raises(ValueError, match="rng is not the state of a random generator"):
            load_state_dict({rng: rng}, {"rng": np.array(text)})
    # A file names kinds of generators; it does not get other functions of NumPy called.
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    with pytest.raises(TypeError, match="keys of updates must be shared variables"):
        state_dict({pt.vector(): 1})
    thing = pytensor.shared({"a": 1}, name="thing")
    with pytest.raises(TypeError, match="value of thing cannot be saved: it is a dict"):
        state_dict({thing: thing})


def test_damaged_files_are_refused(tmp_path):
    """Cut at every length, a byte changed at every place: refused, or what was saved; never anything else."""
    p = make_param((3,), "float64", "p")
    updates = adagrad([pt.vector()], [p])
    save(tmp_path / "whole", updates)
    whole = (tmp_path / "whole").read_bytes()
    saved = state_dict(updates)
    for v in updates:
        v.set_value(v.get_value() + 1)
    changed = state_dict(updates)

    def attempt(data):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(data)
        try:
            load(damaged, updates)
        except ValueError as error:
            assert "nothing was loaded" in str(error)
            outcome = changed
        else:
            outcome = saved
        for name, array in state_dict(updates).items():
            assert array.tobytes() == outcome[name].tobytes()
        load_state_dict(updates, changed)
        return outcome is changed

    assert all(attempt(whole[:length]) for length in range(len(whole)))
    refused = sum(attempt(bytes([*whole[:i], whole[i] ^ 0x55, *whole[i + 1 :]])) for i in range(len(whole)))
    assert refused > 0.5 * len(whole)  # the others changed what says nothing, such as dates and padding
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none", updates)


def test_foreign_files_are_refused(tmp_path):
    p = make_param((3,), "float64", "p")
    updates = sgd([pt.vector()], [p])
    np.savez(tmp_path / "numpy.npz", p=np.ones(3))
    with pytest.raises(ValueError, match=r"not a whole checkpoint.*symupdates\.json"):
        load(tmp_path / "numpy.npz", updates)
    with zipfile.ZipFile(tmp_path / "later", "w") as archive:
        archive.writestr("symupdates.json", json.dumps({"format": "symupdates 2", "names": []}))
    with pytest.raises(ValueError, match="its format is 'symupdates 2'"):
        load(tmp_path / "later", updates)
    with zipfile.ZipFile(tmp_path / "pickle", "w") as archive:
        archive.writestr("symupdates.json", json.dumps({"format": "symupdates 1", "names": ["p"]}))
        with archive.open("p.npy", "w") as member:
            np.lib.format.write_array(member, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not a whole checkpoint.*pickle"):
        load(tmp_path / "pickle", updates)


def test_files_are_plain_and_replaced_whole(tmp_path):
    p = make_param((3,), "float64", "a/../file")
    updates = adam([pt.vector()], [p])
    old = os.umask(0o022)
    try:
        save(str(tmp_path / "run"), updates)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o644
    with np.load(tmp_path / "run", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["a/../file"], p.get_value())
    whole = (tmp_path / "run").read_bytes()
    with pytest.raises(TypeError):
        save(tmp_path / "run", {**updates, pytensor.shared({}, name="thing"): 0})
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "missing" / "run", updates)
    assert (tmp_path / "run").read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    p = make_param((3000,), "float64", "p")
    updates = sgd([pt.vector()], [p])
    save(tmp_path / "run", updates)
    whole = (tmp_path / "run").read_bytes()
    monkeypatch.setattr("symupdates.state.open", lambda path, mode: open("/dev/full", "wb"), raising=False)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "run", updates)
    monkeypatch.undo()
    assert (tmp_path / "run").read_bytes() == whole
    assert os.listdir(tmp_path) == ["run"]
    load(tmp_path / "run", updates)


# Set it to 100 and more to be thorough: a start of the program takes a second or two.
KILLS = int(os.environ.get("SYMUPDATES_KILLS", 8))

TRAINING = """
    import sys
    import numpy as np, pytensor
    from symupdates import adam
    from symupdates.state import load, save
    p = pytensor.shared(np.zeros(20000), name="p")
    updates = adam([p + 1], [p], learning_rate=0.5)
    step = pytensor.function([], [], updates=updates, mode="FAST_COMPILE")
    load(sys.argv[1], updates)
    count = list(updates)[-1]
    while True:
        step()
        save(sys.argv[1], updates)
        print(count.get_value(), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_process_loses_nothing(tmp_path):
    """Killed at random moments while saving, over and over: each time it goes on from the last step that was saved."""
    file = tmp_path / "run"
    random = np.random.default_rng(0)
    program = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(TRAINING), str(file)]
    p = pytensor.shared(np.zeros(20000), name="p")
    updates = adam([p + 1], [p], learning_rate=0.5)
    count = list(updates)[-1]
    save(file, updates)
    reached = 0
    for _ in range(KILLS):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            time.sleep(random.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            printed = [first, *process.stdout]
        load(file, updates)
        # A step is printed when it has been saved; at most one more was saved and not printed any more.
        saved = int(count.get_value())
        assert int(first) == reached + 1
        assert saved - int(printed[-1]) in (0, 1)
        reached = saved
    assert reached >= KILLS
    reset(updates)
    p.set_value(np.zeros(20000))
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(reached):
        step()
    expected = state_dict(updates)
    load(file, updates)
    for name, array in state_dict(updates).items():
        assert array.tobytes() == expected[name].tobytes(), name


def test_reset():
    W = make_param((3,), "float64", "W")
    own = pytensor.shared(1.0, name="own")
    g = pt.vector("g")
    updates = apply_momentum(adam([g], [W], learning_rate=0.5)) | OrderedDict({own: own + 1})
    first = state_dict(updates)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    step(np.ones(3))
    after = W.get_value()
    reset(updates)
    for name, array in state_dict(updates).items():
        if name == "W":
            np.testing.assert_array_equal(array, after)
        elif name == "own":
            assert array == 2
        else:
            np.testing.assert_array_equal(array, first[name])
    W.set_value(np.zeros(5))
    with pytest.raises(ValueError):
        step(np.ones(5))
    reset(updates)
    step(np.ones(5))
    np.testing.assert_allclose(W.get_value(), -0.5, rtol=1e-6)


def test_a_parameter_that_was_resized(tmp_path):
    """State of its old size is told by all that read it, until it is made anew."""
    W, b = make_param((3, 2), "float64", "W"), make_param((4,), "float64", "b")
    updates = apply_ema(adagrad_window((W**2).sum() + (b**2).sum(), [W, b], n_win=5), decay=0.5)
    save(tmp_path / "run", updates)
    whole = (tmp_path / "run").read_bytes()
    W.set_value(np.ones((7, 2)))
    told = (
        r"W/adagrad_window/accu has shape \(3, 2, 5\), not \(7, 2, 5\) for W as it is now.*symupdates\.reset\(updates\)"
    )
    for read in (state_dict, summary, lambda updates: save(tmp_path / "run", updates)):
        with pytest.raises(ValueError, match=told):
            read(updates)
    for read in (averages, swap_averages):
        with pytest.raises(ValueError, match=r"W/ema/average has shape \(3, 2\), not \(7, 2\)"):
            read(updates)
    assert (tmp_path / "run").read_bytes() == whole
    reset(updates)
    assert state_dict(updates)["W/adagrad_window/accu"].shape == (7, 2, 5)
    assert "(7, 2, 5)" in summary(updates)
    swap_averages(updates)
    assert W.get_value().shape == (7, 2)
