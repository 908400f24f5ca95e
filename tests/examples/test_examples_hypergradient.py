"""The example that differentiates training: learn_learning_rate.py."""

import numpy as np
import pytest
from conftest import NEEDS_JAX
from programs import rows, run

pytestmark = [pytest.mark.ci, pytest.mark.once]


@pytest.mark.parametrize("backend", [pytest.param("c", marks=pytest.mark.full), pytest.param("jax", marks=NEEDS_JAX)])
def test_the_gradient_is_right_and_what_is_learned_is_as_good_as_the_grid(backend, tmp_path):
    options = ["--iterations", "200", "--backend", backend, "--plot", "rates.png"]
    cells = {row[0]: row[1:] for row in rows(run("learn_learning_rate.py", *options, folder=tmp_path))}
    for name in ("log rate", "logit momentum"):
        gradient, quotient = map(float, cells[name][:2])
        np.testing.assert_allclose(gradient, quotient, atol=2e-8)
        assert gradient < 0
    learned, start = float(cells["learned"][2]), float(cells["at the start"][2])
    (best,) = [float(values[2]) for name, values in cells.items() if name.startswith("best of")]
    assert learned < best < start / 2
    assert (tmp_path / "rates.png").stat().st_size > 10_000


@pytest.mark.full
def test_a_rate_for_each_step(tmp_path):
    output = run("learn_learning_rate.py", "--iterations", "5", "--steps", "8", "--per-step", folder=tmp_path)
    cells = {row[0]: row[1:] for row in rows(output)}
    assert "…" in cells["learned"][0]
    assert float(cells["learned"][2]) < float(cells["at the start"][2])
