"""The examples that need PyMC."""

import importlib.util

import numpy as np
import pytest
from conftest import FULL, NEEDS_JAX
from programs import check_png, rows, run

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(importlib.util.find_spec("pymc") is None, reason="PyMC is not installed"),
]


@pytest.mark.full
def test_the_chain_is_nearer_to_the_posterior_than_the_default(tmp_path):
    options = ["--quick", "--plot", "elbo.png"] if not FULL else ["--plot", "elbo.png"]
    output = run("pymc_hierarchical.py", *options, folder=tmp_path)
    default, last, averages = ([float(cell) for cell in cells] for _, *cells in rows(output)[-3:])
    for chain in (last, averages):
        assert chain[0] > default[0] + 100  # the ELBO
        assert chain[1] < default[1] / 3  # the largest error of a mean, in posterior standard deviations
        assert abs(np.log(chain[2])) < abs(np.log(default[2])) / 3  # the standard deviations
    if FULL:
        assert averages[1] < 1.5 and abs(averages[2] - 1) < 0.05
    check_png(tmp_path / "elbo.png")


@NEEDS_JAX
def test_map_estimate_reaches_the_modes(tmp_path):
    """To 1e-4 of where find_MAP ends, unless it ends above; and never above it."""
    options = ["--backend", "jax", *([] if FULL else ["--quick"])]
    found = [[float(cell) for cell in cells] for _, *cells in rows(run("pymc_map.py", *options, folder=tmp_path))]
    assert len(found) == (10 if FULL else 3)
    for ours, theirs, difference, *_ in found:
        assert difference < 1e-4 or theirs > 1e-9
        assert ours < 1e-9


@NEEDS_JAX
@pytest.mark.full
def test_ours_comes_nearer_than_the_default(tmp_path):
    """By ELBO and by the means, and it converges."""
    output = run("pymc_compare.py", "--quick", "--backend", "jax", "--plot", "compare.png", folder=tmp_path)
    ((name, *cells),) = rows(output)
    default, ours, of_default, of_ours, *_ = (float(cell) for cell in cells[:-1])
    assert name == "regression" and ours > default + 10 and of_ours < of_default / 10
    assert cells[-1].isdecimal()
    check_png(tmp_path / "compare.png")
