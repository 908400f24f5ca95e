"""Training by several processes, as on several machines: two of them, on the loopback interface."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")

import jax
from mesh_model import LAYOUTS, Model, batches_of

import symupdates as su
from symupdates import sharding

pytestmark = pytest.mark.ci

SCRIPT = Path(__file__).with_name("train_in_processes.py")


def train(processes, devices=2, begin=0, end=10, layout="all", **options):
    """Run them to their end; their exit codes, what they printed, and their errors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"load": None, "local": False, "die": None} | options
    told |= {"begin": begin, "end": end, "layout": LAYOUTS[layout]}
    told |= {"devices": devices, "processes": processes, "address": f"127.0.0.1:{port}"}
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, json.dumps(told | {"process": i})],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for i in range(processes)
    ]
    try:
        ended = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], *zip(*ended, strict=True)


def results_of(*args, **kwargs):
    codes, printed, errors = train(*args, **kwargs)
    assert codes == [0] * len(codes), "\n".join(errors)
    return [json.loads(text.splitlines()[-1]) for text in printed]


@pytest.fixture(scope="module")
def alone():
    """The numbers of one process, of one device."""
    model = Model()
    losses = model.run(batches_of(10))
    return losses, su.state_dict(model.updates)


def assert_same(result, expected, begin=0):
    losses, state = expected
    np.testing.assert_allclose(result["losses"], losses[begin:], rtol=1e-10)
    assert_same_state(result["state"], state)


def assert_same_state(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-10 * np.abs(value).max(), err_msg=name)


def test_two_processes_have_the_numbers_of_one(alone, tmp_path):
    """And write one checkpoint, which one process or two resume; what only all of them can gather says so."""
    file = tmp_path / "run"
    one, other = results_of(2, save=str(file))
    for result in (one, other):
        assert_same(result, alone)
        assert result["bytes"] == [8 * (72 / 4 + 1), 2 * 8 * (72 / 4 + 1) + 8]
    assert (one["written"], other["written"]) == ([str(file)] * 2, [])
    assert list(tmp_path.iterdir()) == [file]

    different, failed, gathering, numpy = one["errors"]
    assert different.startswith("ValueError: the processes have different values of W; nothing was placed.")
    assert other["errors"][0] == different
    assert failed.startswith(("FileNotFoundError", "NotADirectoryError"))
    assert other["errors"][1].startswith("OSError: the first process could not write")
    assert gathering.startswith("ValueError: the value of W/adam/m is divided among several processes. symupdates.sh")
    assert numpy.startswith("ValueError: the value of W")
    assert other["errors"][2:] == [gathering, numpy]

    resumed = Model()
    su.load(file, resumed.updates)
    mesh = jax.make_mesh((8,), ("data",), devices=jax.devices("cpu"))
    sharding.place(resumed.updates, mesh, "data")
    resumed.run(sharding.feed(batches_of(12)[10:], mesh, "data"))
    expected = Model()
    expected.run(batches_of(12))
    for name, value in su.state_dict(expected.updates).items():
        np.testing.assert_allclose(
            su.state_dict(resumed.updates)[name], value, rtol=0, atol=1e-10 * np.abs(value).max()
        )


@pytest.mark.once
def test_a_run_of_one_process_goes_on_with_two(alone, tmp_path):
    """Each with its own rows of the batches."""
    file = tmp_path / "run"
    model = Model()
    model.run(batches_of(5))
    su.save(file, model.updates)
    for result in results_of(2, devices=8, begin=5, load=str(file), save=str(file), layout="state", local=True):
        assert_same(result, alone, begin=5)


@pytest.mark.once
def test_a_process_that_dies_ends_the_others(alone, tmp_path):
    """They end with an error, no later than the heartbeat; the last checkpoint is whole."""
    file = tmp_path / "run"
    codes, _, errors = train(2, die=7, save=str(file))
    assert codes[1] == 7
    assert codes[0] not in (0, 7)
    assert "stopped sending heartbeats" in errors[0] or "another task died" in errors[0] or "Gloo" in errors[0]
    resumed = Model()
    su.load(file, resumed.updates)
    assert list(tmp_path.iterdir()) == [file]
    np.testing.assert_allclose(resumed.run(batches_of(10)[5:]), alone[0][5:], rtol=1e-10)
