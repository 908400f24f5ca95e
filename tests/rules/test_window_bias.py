"""What the docstring of adagrad_window says of ADVI: its standard deviations come out too large.

ADVI of a Gaussian posterior with standard deviation 1/√11, 64 runs side by side, with the rules' oracles.
"""

import numpy as np
import oracles
import pytest

pytestmark = [pytest.mark.ci, pytest.mark.once]

EXACT = 11**-0.5
RUNS, STEPS = 64, 30_000


def bias(rule, draws=1, **hyper):
    """By how much the standard deviation of mean-field ADVI exceeds the exact one, in per cent."""
    rng = np.random.default_rng(0)
    start = np.zeros((2, RUNS))
    start[1] = np.log(np.expm1(EXACT))
    now = {"param": start}
    deviations = []

    def gradients():
        for t in range(STEPS):
            mu, rho = now["param"]
            sigma = np.logaddexp(0, rho)
            noise = rng.standard_normal((draws, RUNS))
            d_z = (mu + sigma * noise) * 11
            d_sigma = (d_z * noise).mean(axis=0) - 1 / sigma
            if t >= STEPS // 2:
                deviations.append(sigma)
            yield np.stack([d_z.mean(axis=0), d_sigma / (1 + np.exp(-rho))])

    for now in rule(start, gradients(), learning_rate=0.01, **hyper):  # noqa: B007
        pass
    return 100 * (np.mean(deviations) / EXACT - 1)


@pytest.mark.parametrize(
    "hyper, expected",
    [({}, 8.7), ({"n_win": 30}, 3.2), ({"n_win": 100}, 1.1), ({"draws": 5}, 1.6), ({"draws": 20}, 0.4)],
)
def test_adagrad_window_is_biased(hyper, expected):
    assert abs(bias(oracles.adagrad_window, **hyper) - expected) < 0.2


def test_adam_is_not():
    assert abs(bias(oracles.adam)) < 0.15
