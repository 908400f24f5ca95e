"""Random streams with Theano's signatures: the size first, ``avg`` and ``std``, a float dtype where it is asked for.

``theano.sandbox.rng_mrg.MRG_RandomStreams`` and ``theano.tensor.shared_randomstreams.RandomStreams`` are one class
here, but for their default seeds. The numbers are those of NumPy's generators, not Theano's.

Every draw has a generator of its own, a shared variable whose default update advances it at each call of every function
that reads the draw, whether :func:`symupdates.theano.function`, :func:`pytensor.function`, a scan, or
:func:`symupdates.loop` compiles or carries it. PyTensor 3 deprecates setting default updates, in favour of handing them
on by hand, which legacy code does not do; the warning is silenced where it is done for it.
"""

import copy
import warnings
from inspect import signature

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.scalar import upcast
from pytensor.tensor.random.op import RandomVariable

from symupdates.theano.parts.debugging import compute_behind

__all__ = ["MRG_RandomStreams", "RandomStateSharedVariable", "RandomStreams", "set_default_update"]

# PyTensor 3 asks for the next state of the generator beside the draw; before, it is there without.
WITH_NEXT = {"return_next_rng": True} if "return_next_rng" in signature(RandomVariable.__call__).parameters else {}


def set_default_update(variable, value):
    """Set the default update of a shared variable, without PyTensor 3's warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting default_update is deprecated", DeprecationWarning)
        variable.default_update = value


class RandomState(np.random.Generator):
    """A generator that can be seeded, and told its state, as NumPy's ``RandomState``."""

    def seed(self, seed=None):
        """Begin anew with that seed."""
        self.bit_generator.state = type(self.bit_generator)(seed).state

    def get_state(self):
        """The state, for :meth:`set_state`."""
        return self.bit_generator.state

    def set_state(self, state):
        """Go on from a state."""
        self.bit_generator.state = state


GENERATOR = pytensor.shared(np.random.default_rng(0))  # of a class that each PyTensor has in another place


class RandomStateSharedVariable(type(GENERATOR)):
    """The generator of a draw; its value is a :class:`RandomState`."""

    def get_value(self, borrow=False, return_internal_type=False):
        return RandomState(super().get_value(borrow, return_internal_type).bit_generator)


class RandomStreams:
    """A source of random tensors, each drawn anew at every call of a compiled function.

    Parameters
    ----------
    seed : int or list of ints, optional
        Other numbers at every run without.

    Notes
    -----
    `size` is an int, a tuple of ints and scalar variables, or a vector such as ``x.shape``. Of a vector whose length is
    unknown, `ndim` tells it. Without `size`, the draw has the shape that the parameters broadcast to. `dtype` is by
    default what floatX and the parameters give, and ``"int64"`` for counts; a float dtype casts those. `nstreams` and
    `target` are accepted and have no effect.

    A draw `x` has its generator, a shared variable, as ``x.rng``: ``x.rng.get_value(borrow=True).seed(7)`` seeds it.
    The generators of the draws to come are told by ``rstate``, which another stream may be given.

    Draws are differentiable in `low`, `high`, `avg` and `std`, and have zero gradient in the probabilities.
    """

    def __init__(self, seed=None):
        self.default_instance_seed = seed
        self.state_updates = []
        self.set_rstate(seed)

    def set_rstate(self, seed):
        """Begin anew with that seed, for the draws to come."""
        self._seeds = np.random.SeedSequence(None if seed is None else np.asarray(seed, "int64").tolist())

    @property
    def rstate(self):
        """Where the generators of the draws to come are from."""
        return copy.copy(self._seeds)

    @rstate.setter
    def rstate(self, rstate):
        if isinstance(rstate, np.random.SeedSequence):
            self._seeds = copy.copy(rstate)
        else:
            self.set_rstate(rstate)

    def inc_rstate(self):
        """Go on to the next generator, as a draw does."""
        self._seeds.spawn(1)

    def seed(self, seed=None):
        """Seed all draws that were made of this stream, and those to come; by default with the first seed."""
        self.set_rstate(self.default_instance_seed if seed is None else seed)
        for generator, _ in self.state_updates:
            generator.set_value(self._new_generator(), borrow=True)

    def updates(self):
        """The generators and their next states, as pairs; compiled functions need not be given them."""
        return list(self.state_updates)

    def __getitem__(self, generator):
        return generator.get_value(borrow=True)

    def __setitem__(self, generator, value):
        generator.set_value(value, borrow=True)

    def _new_generator(self):
        return np.random.default_rng(self._seeds.spawn(1)[0])

    def _draw(self, op, *parameters, size, dtype=None):
        """A draw with a new generator, which its default update advances."""
        generator = RandomStateSharedVariable(type=GENERATOR.type, value=self._new_generator(), strict=False)
        drawn = op(*parameters, size=size, rng=generator, dtype=dtype, **WITH_NEXT)
        following, x = drawn if WITH_NEXT else drawn.owner.outputs
        compute_behind([x])
        set_default_update(generator, following)
        self.state_updates.append((generator, following))
        return x

    def _marked(self, x):
        """The result, with the pair of its generator and that one's next state, under Theano's names."""
        x.update = self.state_updates[-1]
        x.rng = x.rstate = x.update[0]
        return x

    def _unit(self, size, dtype):
        """Uniform numbers between 0 and 1, neither of which is drawn, though NumPy and rounding may."""
        info = np.finfo(dtype)
        u = self._draw(pt.random.uniform, 0.0, 1.0, size=size, dtype=dtype)
        return pt.clip(u, info.tiny, 1 - info.epsneg)

    def uniform(self, size=None, low=0.0, high=1.0, ndim=None, dtype=None, nstreams=None, target=None):
        """Uniform numbers between `low` and `high`, both excluded."""
        low, high = pt.as_tensor_variable(low), pt.as_tensor_variable(high)
        dtype = float_dtype(dtype, low, high)
        u = self._unit(shape_of(size, ndim, low, high), dtype)
        low, high = pt.cast(low, dtype), pt.cast(high, dtype)
        return self._marked(u * (high - low) + low)

    def normal(self, size=None, avg=0.0, std=1.0, ndim=None, dtype=None, nstreams=None, truncate=False, target=None):
        """Normal numbers of mean `avg` and standard deviation `std`; truncated at two of these, if asked for."""
        avg, std = pt.as_tensor_variable(avg), pt.as_tensor_variable(std)
        dtype = float_dtype(dtype, avg, std)
        size = shape_of(size, ndim, avg, std)
        if truncate:
            spread = 0.9544997361036416  # the probability of the interval from -2 to 2
            u = self._unit(size, "float64")
            z = pt.cast(np.sqrt(2) * pt.erfinv(spread * (2 * u - 1)), dtype)
        else:
            z = self._draw(pt.random.normal, 0.0, 1.0, size=size, dtype=dtype)
        return self._marked(z * pt.cast(std, dtype) + pt.cast(avg, dtype))

    def truncated_normal(self, size, avg=0.0, std=1.0, ndim=None, dtype=None, nstreams=None, target=None):
        """Normal numbers truncated so that their standard deviation is `std`."""
        return self.normal(size, avg, std / 0.87962566103423978, ndim, dtype, truncate=True)

    def binomial(self, size=None, n=1, p=0.5, ndim=None, dtype="int64", prob=None, nstreams=None, target=None):
        """How many of `n` trials succeed, each with probability `p`; `prob` is another name of it."""
        p = pt.as_tensor_variable(p if prob is None else prob)
        if isinstance(n, Variable) or n != 1:
            n = pt.as_tensor_variable(n)
            x = self._draw(pt.random.binomial, n, p, size=shape_of(size, ndim, n, p))
        else:
            u = self._unit(shape_of(size, ndim, p), upcast(pytensor.config.floatX, p.dtype))
            x = u < p
        return self._marked(pt.cast(x, dtype))

    def random_integers(self, size=None, low=0, high=1, ndim=None, dtype="int64"):
        """Integers from `low` to `high`, which is included."""
        low, high = pt.as_tensor_variable(low), pt.as_tensor_variable(high)
        u = self._unit(shape_of(size, ndim, low, high), "float64")
        return self._marked(pt.cast(pt.floor(u * (high - low + 1)) + low, dtype))

    def poisson(self, size=None, lam=1.0, ndim=None, dtype="int64"):
        """Poisson counts of mean `lam`."""
        lam = pt.as_tensor_variable(lam)
        return self._marked(pt.cast(self._draw(pt.random.poisson, lam, size=shape_of(size, ndim, lam)), dtype))

    def multinomial(self, size=None, n=1, pvals=(0.5, 0.5), ndim=None, dtype="int64", nstreams=None, target=None):
        """How often each outcome is drawn in `n` trials, with the probabilities along the last axis of `pvals`.

        They may sum to one as rounded: the last outcome has what is missing.
        """
        pvals = pt.as_tensor_variable(pvals)
        trials = (*shape_of(size, ndim, pvals[..., 0]), n)
        outcomes = self._outcomes(pvals[..., None, :], trials)
        counts = pt.eq(outcomes[..., None], pt.arange(pvals.shape[-1])).sum(axis=-2)
        return self._marked(pt.cast(counts, dtype))

    def _outcomes(self, pvals, size):
        """Numbers of outcomes, of the given shape."""
        u = self._unit(size, upcast(pytensor.config.floatX, pvals.dtype))
        above = pt.ge(u[..., None], pt.cumsum(pvals, axis=-1)).sum(axis=-1)
        return pt.minimum(above, pvals.shape[-1] - 1)

    def choice(self, size=None, a=None, replace=True, p=None, ndim=None, dtype="int64", nstreams=None, target=None):
        """Elements of `a`, or numbers below it, with or without replacement.

        Parameters
        ----------
        size : int, tuple or vector, optional
            As for the other draws; for a matrix `p`, how many to draw for each row.
        a : int or vector, optional
            The number of elements, or the elements; by default as many as `p` has, or two.
        replace : bool
            Whether an element may come twice.
        p : vector or matrix, optional
            The probabilities of the elements; equal by default. For a matrix, each row draws for itself.
        """
        elements = None if a is None else pt.as_tensor_variable(a)
        if p is None:
            number = 2 if a is None else elements if elements.ndim == 0 else elements.shape[0]
            p = pt.ones((number,), pytensor.config.floatX) / number
        p = pt.as_tensor_variable(p)
        if p.ndim == 2:
            number = 1 if size is None else size
            if replace:
                chosen = self._outcomes(p[:, None, :], (p.shape[0], number))
            else:
                chosen = self._order(p)[:, :number]
        else:
            shape = shape_of(size, ndim)
            if replace:
                chosen = self._outcomes(p, shape)
            else:
                chosen = self._order(p)[: pt.prod(pt.stack(shape)) if shape else 1].reshape(shape)
        return self._marked(pt.cast(chosen if elements is None or elements.ndim == 0 else elements[chosen], dtype))

    def _order(self, p):
        """The elements in the order in which they are drawn without replacement, along the last axis.

        That is the order of independent waiting times, exponential with rates `p`.
        """
        u = self._unit(tuple(p.shape), upcast(pytensor.config.floatX, p.dtype))
        return pt.argsort(-pt.log(u) / p, axis=-1)

    def multinomial_wo_replacement(self, size=None, n=1, pvals=None, ndim=None, dtype="int64", nstreams=None):
        """`n` different outcomes for each row of `pvals`."""
        return self.choice(n, replace=False, p=pvals, dtype=dtype)

    def permutation(self, size=None, n=1, ndim=None, dtype="int64"):
        """The numbers below `n` in random order, along the last axis; as many permutations as `size` says."""
        u = self._unit((*shape_of(size, ndim), n), "float64")
        return self._marked(pt.cast(pt.argsort(u, axis=-1), dtype))

    def shuffle_row_elements(self, input):
        """The rows of a matrix, each with its elements in random order; or the elements of a vector."""
        size = tuple(input.shape[:-1][i] for i in range(input.ndim - 1))
        order = self.permutation(size=size, n=input.shape[-1])
        return self._marked(pt.take_along_axis(input, order, axis=-1))


class MRG_RandomStreams(RandomStreams):
    """The same, with Theano's default seed, 12345: every run draws the same numbers unless it is given another.

    Raises
    ------
    ValueError
        If `seed` is 0, as Theano's does.
    """

    def __init__(self, seed=12345, use_cuda=None):
        super().__init__(seed)

    def set_rstate(self, seed):
        if not np.any(seed):
            raise ValueError("the seed of MRG_RandomStreams must not be 0; give another number.")
        super().set_rstate(seed)


def float_dtype(dtype, *parameters):
    if dtype is None:
        return upcast(pytensor.config.floatX, *(x.dtype for x in parameters))
    return pytensor.config.floatX if dtype == "floatX" else str(np.dtype(dtype))


def shape_of(size, ndim, *parameters):
    """The size as a tuple of ints and scalar variables; without one, the shape that the parameters broadcast to."""
    if size is None:
        if not parameters:
            return ()
        together = parameters[0]
        for x in parameters[1:]:
            together = together + x
        return tuple(together.shape[i] for i in range(together.ndim))
    if isinstance(size, np.ndarray):
        size = size.tolist()
    if isinstance(size, Variable) and size.ndim == 1:
        try:
            length = pt.get_vector_length(size) if ndim is None else ndim
        except ValueError:
            raise ValueError(f"how many axes? The length of the size {size} is unknown: give ndim.") from None
        return tuple(size[i] for i in range(length))
    return tuple(size) if isinstance(size, tuple | list) else (size,)
