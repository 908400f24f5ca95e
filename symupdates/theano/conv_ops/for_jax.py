"""How JAX runs the Ops; imported when a function is first compiled for it."""

import jax
import jax.numpy as jnp
from jax import lax
from pytensor.graph.basic import Constant
from pytensor.link.jax.dispatch import jax_funcify

from symupdates.theano.conv_ops.convolution import Correlate, CorrelateByFilters, CorrelateByInputs
from symupdates.theano.conv_ops.pooling import Pool, PoolMaxima, PoolSpread


def transposed(function, like, result):
    (value,) = jax.linear_transpose(function, jax.ShapeDtypeStruct(like, result.dtype))(result)
    return value


@jax_funcify.register(Correlate)
def correlate(op, **kwargs):
    def correlate(x, w):
        op.result_shape(x.shape, w.shape)
        return lax.conv_general_dilated(
            x,
            w,
            op.strides,
            op.padding(w.shape[2:]),
            rhs_dilation=op.dilation,
            feature_group_count=op.groups,
        )

    return correlate


@jax_funcify.register(CorrelateByInputs)
def correlate_by_inputs(op, **kwargs):
    forward = correlate(op)

    def by_inputs(dy, w, x):
        op.check(x.shape, w.shape, dy.shape)
        return transposed(lambda x: forward(x, w), x.shape, dy)

    return by_inputs


@jax_funcify.register(CorrelateByFilters)
def correlate_by_filters(op, **kwargs):
    forward = correlate(op)

    def by_filters(dy, x, w):
        op.check(x.shape, w.shape, dy.shape)
        return transposed(lambda w: forward(x, w), w.shape, dy)

    return by_filters


def constants(op, node):
    *_, size, stride, pad = node.inputs
    if not all(isinstance(v, Constant) for v in (size, stride, pad)):
        raise NotImplementedError(
            f"{type(op).__name__}: JAX needs the sizes, distances and paddings of windows to be constant, not "
            f"{size}, {stride} and {pad}; give numbers, or tensors of static shape where they depend on shapes."
        )
    return [tuple(map(int, v.data)) for v in (size, stride, pad)]


@jax_funcify.register(Pool)
def pool(op, node, **kwargs):
    vectors = size, stride, _ = constants(op, node)

    def pool(x, *_):
        places = x.shape[-op.ndim :]
        lengths, padding = op.geometry(places, *vectors)
        others = x.ndim - op.ndim
        z = lax.reduce_window(
            x,
            op.lowest(x.dtype.name),
            lax.max if op.mode == "max" else lax.add,
            (1,) * others + size,
            (1,) * others + stride,
            ((0, 0),) * others + tuple(padding),
        )
        return op.averaged(z, places, *vectors, lengths)

    return pool


def sum_over_maxima(op, vectors, x, z):
    size, stride, _ = vectors
    lengths, padding = op.geometry(x.shape[-op.ndim :], *vectors)
    padding = ((0, 0),) * (x.ndim - op.ndim) + tuple(padding)
    whole = jnp.pad(x, padding)

    def sum_over(v):
        v = jnp.pad(v, padding)
        return sum(jnp.where(whole[index] == z, v[index], 0) for index in op.elements(size, stride, lengths))

    return sum_over


@jax_funcify.register(PoolSpread)
def pool_spread(op, node, **kwargs):
    vectors = constants(op, node)

    def pool_spread(dz, x, z, *_):
        if op.mode == "max":
            return transposed(sum_over_maxima(op, vectors, x, z), x.shape, dz)
        return transposed(pool(op, node), x.shape, dz)

    return pool_spread


@jax_funcify.register(PoolMaxima)
def pool_maxima(op, node, **kwargs):
    vectors = constants(op, node)
    return lambda v, x, z, *_: sum_over_maxima(op, vectors, x, z)(v)
