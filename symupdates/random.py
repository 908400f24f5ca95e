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

from symupdates.core import Step, astype, whole_number
from symupdates.core.checks import tensor_of
from symupdates.core.state import Call, advance, call_state
from symupdates.typing import Seed

__all__ = ["categorical", "new_generator", "normal", "normals", "rademacher", "threefry"]

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
    if not isinstance(rule, str | Call):
        raise TypeError(f"new_generator: rule must be the name of one, or the call of a step, not {rule!r}.")
    call = rule if isinstance(rule, Call) else Call(rule)
    key = np.random.SeedSequence(checked_seed(call.rule, seed)).generate_state(2)
    generator = call_state(call, "rng", np.array([*key, 0]), "uint32", (3,))
    advance(generator, generator + np.array([0, 0, 1], "uint32"))
    return generator


def checked_seed(rule, seed):
    """A seed, after refusing what is none."""
    words = [] if seed is None else seed if isinstance(seed, list | tuple | np.ndarray) else [seed]
    if not all(isinstance(word, int | np.integer) and not isinstance(word, bool) for word in words):
        raise TypeError(f"{rule}: seed must be a whole number, a sequence of them, or None, not {seed!r}.")
    if any(word < 0 for word in words):
        raise ValueError(f"{rule}: seed must not be negative, but it is {seed!r}.")
    return seed


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
    x, words = random_words("normal", generator, x, stream, "float")
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
    if not isinstance(step, Step):
        raise TypeError(f"normals: step must be what symupdates.core.prepare or extend gave the rule, not {step!r}.")
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
    x, (word, _) = random_words("rademacher", generator, x, stream)
    return 1 - 2 * astype(word // np.uint32(2**31), x.dtype)


def categorical(generator: Variable, logits: Variable, stream: int = 0) -> TensorVariable:
    """Random classes: for each vector of logits along the last axis, one in the place of a class and zero elsewhere.

    Parameters
    ----------
    generator : shared variable
        What :func:`new_generator` made.
    logits : tensor variable
        The logarithms of the classes' probabilities, each vector up to a number of its own; up to 2³² elements.
    stream : int
        Which of the tensors that are drawn in one update this is: others have other numbers.

    Returns
    -------
    tensor variable
        Independent draws, of the shape and dtype of the logits: the class whose logit is the largest after a Gumbel
        number is added to each [1]_, from 32 random bits, between about -3 and 23.

    Raises
    ------
    ValueError
        If the logits have no axis.

    References
    ----------
    .. [1] E. J. Gumbel (1954). Statistical theory of extreme values and some practical applications. National Bureau of
       Standards.
    """
    z = tensor_of("categorical: logits", logits, "float")
    if z.ndim == 0:
        raise ValueError("categorical: logits must have a last axis, that of the classes, but they are a scalar.")
    _, (word, _) = random_words("categorical", generator, z, stream)
    u = pt.minimum(
        astype(word, z.dtype) * scale(z, 2.0**-32) + scale(z, 2.0**-33), scale(z, 1 - np.finfo(z.dtype).epsneg)
    )
    scores = z - pt.log(-pt.log1p(-u))
    classes = pt.cumsum(pt.ones_like(z, dtype="int64"), axis=-1) - 1
    return astype(pt.eq(classes, pt.argmax(scores, axis=-1, keepdims=True)), z.dtype)


def random_words(function, generator, x, stream, dtype=""):
    """A tensor, checked to be of that dtype; and two words of 32 random bits for each of its elements."""
    if not isinstance(generator, Variable) or getattr(generator.type, "dtype", None) != "uint32" or generator.ndim != 1:
        raise TypeError(f"{function}: generator must be what new_generator made, not {generator!r}.")
    x = tensor_of(f"{function}: x", x, dtype)
    stream = np.uint32(whole_number(f"{function}: stream", stream, least=0) % 2**32)
    return x, threefry(generator[0], add(generator[1], stream), generator[2], places(x))


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
    words = {"key0": key0, "key1": key1, "counter0": counter0, "counter1": counter1}
    key0, key1, counter0, counter1 = (tensor_of(f"threefry: {name}", word, "uint32") for name, word in words.items())
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
