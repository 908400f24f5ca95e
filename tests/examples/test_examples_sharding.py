"""The example on all devices there are: data_parallel.py."""

import re

import pytest
from conftest import NEEDS_JAX
from programs import run

pytestmark = [pytest.mark.ci, pytest.mark.once, NEEDS_JAX]


def losses_of(output):
    return [float(loss) for loss in re.findall(r"^epoch .* loss (\S+)", output, flags=re.MULTILINE)]


def test_layouts_train_alike_and_go_on_elsewhere(tmp_path):
    options = ["--width", "64", "--optimizer", "momentum", "--epochs"]
    alone = run("data_parallel.py", *options, "3", "--devices", "1", folder=tmp_path)
    here = run(
        "data_parallel.py", *options, "2", "--devices", "8", "--layout", "all", "--checkpoint", "c", folder=tmp_path
    )
    there = run(
        "data_parallel.py", *options, "3", "--devices", "2", "--layout", "state", "--checkpoint", "c", folder=tmp_path
    )
    assert losses_of(here) + losses_of(there) == pytest.approx(losses_of(alone), rel=1e-4)
    assert "images a second" in alone and "exchanged in a step: nothing" in alone

    weights, biases = 64 * 64 + 64 * 64 + 64 * 10, 64 + 64 + 10
    whole = 4 * (weights + biases)
    eighth = 4 * (weights + 128) // 8 + 40  # ten biases are not divided by eight
    assert f"parameters {whole:,} bytes; on each device {whole:,}, and of state {whole:,}\n" in alone
    assert f"on each device {eighth:,}, and of state {eighth:,}\n" in here
    assert f"on each device {whole:,}, and of state {whole // 2:,}\n" in there
    assert f"all-reduce of {whole + 8:,} bytes, all-gather of {whole:,} bytes" in there


def test_help_has_the_commands_for_a_cluster(tmp_path):
    output = run("data_parallel.py", "--help", folder=tmp_path)
    assert "--coordinator first:1234 --processes 4 --process 1" in output and "--layout" in output
