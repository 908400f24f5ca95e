"""Random numbers that every backend draws alike: a counter-based generator as plain arithmetic in the graph.

PyTensor's own generators are advanced on the C and NUMBA backends; on JAX a compiled function draws from a copy that no
checkpoint sees. The generator here is ordinary state, three words of an updates dict: a key and a count of the updates
made. Each number is a function of key, count and place, so that a resumed run draws what the uninterrupted one would
have drawn, on any backend.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from symupdates.core import Step, astype
from symupdates.core.state import Call, advance, call_state
from symupdates.typing import Seed

__all__ = ["new_generator", "normal", "normals", "rademacher", "threefry"]

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = np.uint32(0x1BD11BDA)


def new_generator(rule: str | Call, seed: Seed = None) -> TensorSharedVariable:
    """A random generator: state of a rule, which every updates dict that reads it advances.

    Parameters
    ----------
    rule : str
        The rule or transform that draws from it; it is named ``<rule>/rng``. In a rule of your own, ``step.call``.
    seed : int or sequence of ints, optional
        What :class:`numpy.random.SeedSequence` takes; another key at every call without.

    Returns
    -------
    shared variable
        Three uint32 words: two of the key, and the number of updates made.

    Raises
    ------
    ValueError, TypeError
        If `seed` is negative, or not made of integers.
    """
    key = np.random.SeedSequence(seed).generate_state(2)
    call = rule if isinstance(rule, Call) else Call(rule)
    generator = call_state(call, "rng", np.array([*key, 0]), "uint32", (3,))
    advance(generator, generator + np.array([0, 0, 1], "uint32"))
    return generator


def normal(generator: Variable, x: Variable, stream: int = 0) -> TensorVariable:
    """Standard normal numbers, one for each element of a tensor.

    Parameters
    ----------
    generator : shared variable
        What :func:`new_generator` made.
    x : tensor variable
        The tensor whose shape and dtype they are to have; up to 2³² elements.
    stream : int
        Which of the tensors that are drawn in one update this is: others have other numbers.

    Returns
    -------
    tensor variable
        Independent draws, by the method of Box and Muller [1]_ from 32 random bits each for the radius and the angle,
        which bounds them by 6.8.

    References
    ----------
    .. [1] G. E. P. Box and M. E. Muller (1958). A note on the generation of random normal deviates. Annals of
       Mathematical Statistics 29(2).
    """
    words = random_words(generator, x, stream)
    u, v = (astype(word, x.dtype) * scale(x, 2.0**-32) + scale(x, 2.0**-33) for word in words)
    return pt.sqrt(scale(x, -2.0) * pt.log(u)) * pt.cos(scale(x, 2 * np.pi) * v)


def normals(step: Step, seed: Seed = None) -> Callable[[Variable], TensorVariable]:
    """Standard normal numbers for the parameters of a step: what a rule that draws needs.

    Parameters
    ----------
    step : symupdates.core.Step
        What the rule began with; the generator is its state ``rng``.
    seed : int or sequence of ints, optional
        As for :func:`new_generator`.

    Returns
    -------
    callable
        A function of a parameter, which gives independent draws for its elements, in its dtype. Its position among the
        parameters is the stream.
    """
    generator = new_generator(step.call, seed)
    return lambda p: normal(generator, p, stream=step.params.index(p))


def rademacher(generator: Variable, x: Variable, stream: int = 0) -> TensorVariable:
    """Random signs: one or minus one for each element of a tensor, as likely.

    Parameters
    ----------
    generator : shared variable
        What :func:`new_generator` made.
    x : tensor variable
        The tensor whose shape and dtype they are to have; up to 2³² elements.
    stream : int
        Which of the tensors that are drawn in one update this is: others have other signs.

    Returns
    -------
    tensor variable
        Independent draws, of a random bit each: one where it is 0. They are exact, and so the same on every backend to
        the last bit.
    """
    word, _ = random_words(generator, x, stream)
    return 1 - 2 * astype(word // np.uint32(2**31), x.dtype)


def random_words(generator, x, stream):
    """Two words of 32 random bits for each element of a tensor."""
    return threefry(generator[0], add(generator[1], np.uint32(stream)), generator[2], places(x))


def scale(x, number):
    return np.asarray(number, dtype=x.dtype)


def places(x):
    """The number of each element of a tensor, from 0 in C order, without a reshape, which JAX cannot do here."""
    ones = pt.ones_like(x, dtype="int64")
    place = ones - 1
    for axis in range(x.ndim):
        place = place * x.shape[axis] + pt.cumsum(ones, axis=axis) - 1
    return astype(place, "uint32")


def threefry(
    key0: Variable, key1: Variable, counter0: Variable, counter1: Variable
) -> tuple[TensorVariable, TensorVariable]:
    """Threefry-2x32 with 20 rounds: 64 random bits for each key and counter.

    Parameters
    ----------
    key0, key1, counter0, counter1 : uint32 tensor variables
        The two words of the key and of the counter; they broadcast.

    Returns
    -------
    pair of uint32 tensor variables
        The random words.

    References
    ----------
    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw (2011). Parallel random numbers: as easy as 1, 2, 3.
       SC11.
    """
    keys = [key0, key1, key0 ^ key1 ^ PARITY]
    x, y = add(counter0, keys[0]), add(counter1, keys[1])
    for i in range(20):
        x = add(x, y)
        y = rotate(y, ROTATIONS[i % 8]) ^ x
        if i % 4 == 3:
            n = i // 4 + 1
            x, y = add(x, keys[n % 3]), add(y, keys[(n + 1) % 3], np.uint32(n))
    return x, y


def add(*words):
    """The sum modulo 2³², cast at each step: numba and Python would go on with more bits."""
    first, *rest = words
    for word in rest:
        first = astype(first + word, "uint32")
    return first


def rotate(word, bits):
    return astype(word * np.uint32(2**bits), "uint32") | (word // np.uint32(2 ** (32 - bits)))
