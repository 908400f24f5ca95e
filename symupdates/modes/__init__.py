"""Compilation modes for training, to be given to ``pytensor.function(..., mode=...)``."""

from pytensor.compile.mode import Mode, get_mode

from symupdates.modes.donating import DonatingJAXLinker
from symupdates.modes.per_parameter import PerParameterNumbaLinker
from symupdates.modes.simd import VectorizedLoops

__all__ = [
    "CVM_SIMD",
    "JAX_DONATED",
    "NUMBA_PER_PARAMETER",
    "DonatingJAXLinker",
    "PerParameterNumbaLinker",
    "cvm_simd",
    "numba_per_parameter",
]

JAX_DONATED = Mode(DonatingJAXLinker(), get_mode("JAX").provided_optimizer)
"""The mode ``"JAX"`` with donation: a step at the speed of memory.

The numbers are the same but for the rounding of float32: a model in float32 computes in float32 throughout. By
``"JAX"`` alone, where floatX is float64, a sum comes out in double precision, and so does what depends on it: with a
softmax, all gradients.

The arrays that a step has replaced are gone: values taken by ``get_value(borrow=True)`` before it raise an error when
they are read after. ``get_value()``, checkpoints and averages take copies and are not concerned. Two shared variables
must not hold one JAX array, as after ``b.set_value(a.get_value(borrow=True), borrow=True)``.
"""


def numba_per_parameter(threads=None):
    """The mode ``"NUMBA"`` for models of many parameters, with so many threads.

    See :data:`NUMBA_PER_PARAMETER`.

    Parameters
    ----------
    threads : int, optional
        How many threads may share the loop over a large array: one of 2**20 elements or more. By default as many as
        the process may use when the step is called (its affinity, which ``taskset`` and batch systems set). What the
        step computes is the same to the bit for any number.

    Returns
    -------
    Mode

    Raises
    ------
    TypeError, ValueError
        If `threads` is not an integer of 1 or more.
    """
    return Mode(PerParameterNumbaLinker(threads=threads), get_mode("NUMBA").provided_optimizer)


NUMBA_PER_PARAMETER = numba_per_parameter()
"""The mode ``"NUMBA"`` for models of many parameters, from about twenty on: compiled in a fraction of the time.

The loops over large arrays are shared by all threads that the process may use; :func:`numba_per_parameter` makes the
same mode for another number.
"""


def cvm_simd(threads=None):
    """The mode ``"CVM"`` with vectorised loops, and with so many threads.

    See :data:`CVM_SIMD`.

    Parameters
    ----------
    threads : int, optional
        How many threads may share the loop over a large array: one of 2**18 elements or more. By default as many as
        the process may use when the step is called (its affinity, which ``taskset`` and batch systems set); one where
        there are no POSIX threads. What the step computes is the same to the bit for any number.

    Returns
    -------
    Mode

    Raises
    ------
    TypeError, ValueError
        If `threads` is not an integer of 1 or more.
    """
    return get_mode("CVM").register((VectorizedLoops(threads), 99))  # after all that is made in place


CVM_SIMD = cvm_simd()
"""The mode ``"CVM"``, the C backend, with vectorised loops: a step at the speed of memory.

Each loop over elements, such as the one that updates a parameter and its state in place, becomes a function of its own,
in which the compiler vectorises over contiguous arrays, or contiguous rows, with constants in the dtype of the model;
large arrays are shared by threads, see :func:`cvm_simd`. Other arrays are passed over by their strides, an element at a
time, as ``"CVM"`` does. It takes as long to compile as ``"CVM"``. The loops inside a scan are left to PyTensor.

The numbers are those of ``"CVM"`` but for rounding: a model in float32 computes in float32, where ``"CVM"`` computes
in double whatever has a constant in it; in float64 there may be a last digit of difference, where a product is fused
with a sum (FMA) in the one and not in the other.
"""
