"""Random numbers from counters: their distribution, and the same on every backend."""

import numpy as np
import oracles.sampling
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, values

from symupdates import chain, gradients, named, sgd
from symupdates.random import categorical, new_generator, normal, rademacher, threefry


def draws(shape, seed=0, updates=1, stream=0, dtype="float64", mode=PYTHON):
    generator = new_generator("test", seed)
    x = pt.tensor(shape=(None,) * len(shape), dtype=dtype)
    advance = {generator: generator.tag.symupdates.next_value}
    draw = pytensor.function([x], normal(generator, x, stream), updates=advance, mode=mode)
    return np.array([draw(np.zeros(shape, dtype)) for _ in range(updates)])


@pytest.mark.ci
def test_moments():
    """Each within five standard errors of a standard normal's; and no more of the tails than there should be."""
    x = draws((300, 200), updates=2).ravel()
    n = len(x)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 5 * np.sqrt(variance / n)
    for bound, p in ((1, 0.317311), (2, 0.0455003), (3, 0.00269980)):
        assert abs((abs(x) > bound).mean() - p) < 5 * np.sqrt(p / n)
    assert len(np.unique(x)) == n and np.isfinite(x).all()


@pytest.mark.ci
def test_independence():
    """Of elements, updates, streams and keys: correlations within five standard errors of zero."""
    x = draws((400, 50), updates=2)
    n = x[0].size
    others = {
        "update": x[1],
        "stream": draws((400, 50), stream=1)[0],
        "key": draws((400, 50), seed=1)[0],
        "element": np.roll(x[0], 1, axis=1),
        "row": np.roll(x[0], 1, axis=0),
    }
    for name, other in others.items():
        assert abs((x[0] * other).mean()) < 5 / np.sqrt(n), name
        assert abs(((x[0] ** 2 - 1) * (other**2 - 1)).mean()) < 5 * 2 / np.sqrt(n), name


KNOWN = [  # the answers for 20 rounds that come with the authors' Random123
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def test_known_answers(backend):
    """Of the package and of the oracle."""
    words = [pt.tensor(shape=(3,), dtype="uint32") for _ in range(4)]
    keys, counters, answers = (np.array(part, "uint32").T for part in zip(*KNOWN, strict=True))
    got = pytensor.function(words, list(threefry(*words)), mode=backend)(*keys, *counters)
    np.testing.assert_array_equal(got, answers)
    np.testing.assert_array_equal(oracles.sampling.threefry2x32(keys, counters), answers)


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.ci
def test_the_same_on_every_backend(backend_and_dtype, floatx):
    backend, dtype = backend_and_dtype
    with pytensor.config.change_flags(floatX=floatx):
        got = draws((3, 5), updates=3, dtype=dtype, mode=backend)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, draws((3, 5), updates=3), rtol=0, atol=1e-5 if dtype == "float32" else 1e-13)


def test_shapes():
    """Elements are counted in C order: the shape does not matter, nor whether it is known."""
    x = draws((24,))[0]
    np.testing.assert_array_equal(draws((2, 3, 4))[0].ravel(), x)
    np.testing.assert_array_equal(draws(())[0], x[0])
    assert draws((0, 3)).shape == (1, 0, 3)


def test_noise_is_annealed_and_resumed(backend):
    """The generator is advanced by the dict of the rule, and is in its checkpoint."""
    eta, gamma = 0.25, 0.5
    g = pt.tensor("g", shape=(2000,), dtype="float64")
    W, b = pytensor.shared(np.zeros(2000), name="W"), pytensor.shared(np.zeros(2000, "float32"), name="b")
    noisy = chain(gradients.add_noise(eta=eta, gamma=gamma, seed=7), sgd(learning_rate=1.0))
    updates = noisy([g, g], [W, b])
    assert [v.name for v in updates] == ["W", "b", "add_noise/rng"]
    step = pytensor.function([g], [], updates=updates, mode=backend)
    path = [values(updates)]
    for _ in range(4):
        step(np.ones(2000))
        path.append(values(updates))
    for t in range(4):
        for old, new in zip(path[t][:2], path[t + 1][:2], strict=True):
            noise = -(new.astype("float64") - old) - 1
            sigma = np.sqrt(eta / (1 + t) ** gamma)
            assert abs(noise.mean()) < 5 * sigma / np.sqrt(2000)
            assert abs(noise.std() / sigma - 1) < 5 / np.sqrt(2 * 2000)
    assert np.corrcoef(path[1][0], path[1][1])[0, 1] < 0.1  # not the same noise for both
    for variable, value in zip(updates, path[2], strict=True):
        variable.set_value(value)
    step(np.ones(2000))
    step(np.ones(2000))
    for variable, value in zip(updates, path[4], strict=True):
        assert variable.get_value().tobytes() == value.tobytes()


def test_each_gradient_has_noise_of_its_own():
    zeros = [pt.zeros((40,), "float64"), pt.zeros((40,), "float64")]
    one, other = pytensor.function([], gradients.add_noise(zeros, eta=1.0, gamma=0.0, seed=0), mode=PYTHON)()
    assert not np.any(one == other)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.5


def test_seeds():
    W = pytensor.shared(np.zeros(3), name="W")
    keys = [
        named(chain(gradients.add_noise(seed=seed), sgd)([W], [W]))["add_noise/rng"].get_value().tolist()
        for seed in (1, 1, 2, [1, 2], None, None)
    ]
    assert keys[0] == keys[1]
    assert len({tuple(key) for key in keys}) == 5 and {key[2] for key in keys} == {0}
    with pytest.raises(ValueError, match="add_noise: seed must not be negative"):
        gradients.add_noise([W], seed=-1)
    with pytest.raises(TypeError, match="add_noise: seed must be a whole number"):
        gradients.add_noise([W], seed=0.5)


@pytest.mark.ci
def test_signs(backend_and_dtype):
    """As many of each as chance allows, independent of their neighbours, and those of the bits, exactly."""
    backend, dtype = backend_and_dtype
    generator = new_generator("test", 0)
    x = pt.tensor(shape=(None, None), dtype=dtype)
    signs, normals = (
        pytensor.function([x], draw(generator, x), mode=backend)(np.zeros((200, 50), dtype))
        for draw in (rademacher, normal)
    )
    assert signs.dtype == dtype and set(np.unique(signs)) == {-1, 1}
    n = signs.size
    assert abs(signs.mean()) < 5 / np.sqrt(n)
    assert abs((signs * np.roll(signs, 1)).mean()) < 5 / np.sqrt(n)
    # The first word makes the radius of a normal number: short for a large word, where the sign is negative.
    assert (signs[np.abs(normals) > np.sqrt(2 * np.log(2))] == 1).all()


@pytest.mark.long
def test_classes(backend_and_dtype):
    """One of each vector, each as often as chance allows, and none whose probability is zero."""
    backend, dtype = backend_and_dtype
    generator = new_generator("test", 0)
    p = np.array([0.5, 0.0, 0.375, 0.125])
    z = pt.tensor(shape=(None, None, 4), dtype=dtype)
    with np.errstate(divide="ignore"):
        logits = np.tile(np.log(p) + 3, (200, 25, 1)).astype(dtype)
    y = pytensor.function([z], categorical(generator, z), mode=backend)(logits)
    assert y.dtype == dtype and set(np.unique(y)) == {0, 1} and (y.sum(axis=-1) == 1).all()
    share = y.mean(axis=(0, 1))
    assert (abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 5000)).all()
    first, before = y[..., 0], np.roll(y[..., 0], 1, axis=0)
    assert abs((first * before).mean() - 0.25) < 5 * np.sqrt(3 / 16 / 5000)
