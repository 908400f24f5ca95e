"""Convolution and pooling: Ops for PyTensor, which need nothing but PyTensor and NumPy.

A batch of images is ``x[n, c, *places]``, filters are ``w[f, c, *taps]``, with one to three axes of places. Along each
of them, with padding p in front, stride s and dilation d,

``y[n, f, i] = sum over c and k of x[n, c, i s + k d - p] w[f, c, k]``,

which is a cross-correlation: whoever wants a convolution flips the filters. It is bilinear, and its two transposes are
the other two Ops; each of the three has the others for its derivatives, of any order.

=======================  ===========================================================================
Op                       computes
=======================  ===========================================================================
`Correlate`              ``y`` of ``x`` and ``w``
`CorrelateByInputs`      from what stands for ``y``, and ``w``, what stands for ``x``
`CorrelateByFilters`     from what stands for ``y``, and ``x``, what stands for ``w``
`Pool`                   maximum, sum or average of windows
`PoolSpread`             the derivative: what stands for its result, back to the places of the windows
`PoolMaxima`             the transpose of that for the maximum: sums over the places of the maxima
=======================  ===========================================================================

``perform`` multiplies the matrix of all windows, of one minibatch, with that of the filters. Numba and JAX are told how
to run the Ops when a function is first compiled for them, and not imported before: Numba gathers the windows of one
image after the other for the same product, JAX has ``lax.conv_general_dilated`` and ``lax.reduce_window``.

Ops that need a shape take a tensor that has it, and ``infer_shape`` computes none, but passes on the lengths that are
those of an input: to JAX the shape of an array is known, and one that was computed from other shapes is not.
"""

from importlib import import_module

from pytensor.compile.mode import optdb
from pytensor.graph.rewriting.basic import GraphRewriter

from symupdates.theano.conv_ops.convolution import Correlate, CorrelateByFilters, CorrelateByInputs
from symupdates.theano.conv_ops.pooling import Pool, PoolMaxima, PoolSpread

__all__ = ["Correlate", "CorrelateByFilters", "CorrelateByInputs", "Pool", "PoolMaxima", "PoolSpread"]


class Tell(GraphRewriter):
    """Changes no graph; at the first compilation for a backend it imports what tells that how to run the Ops."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def apply(self, fgraph):
        import_module(f"{__name__}.{self.module}")


optdb.register("correlate_and_pool_jax", Tell("for_jax"), "jax", position=-0.5)
optdb.register("correlate_and_pool_numba", Tell("for_numba"), "numba", position=-0.5)
