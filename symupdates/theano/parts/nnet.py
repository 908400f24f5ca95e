"""``theano.tensor.nnet``: activations, cross-entropies and batch normalisation, with Theano's meaning.

Softmax is of each row, and makes a row of a vector; integer targets are the numbers of classes; rectified linear units
have the gradient one half at 0. A cross-entropy of what :func:`softmax` or ``sigmoid`` returned is computed from the
logits, as Theano's rewrites did, so that it stays finite however large they are.
"""

from numbers import Number

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import sigmoid, softplus
from pytensor.tensor.special import log_softmax
from pytensor.tensor.special import softmax as softmax_along

from symupdates.theano.parts.logarithms import log

__all__ = [
    "batch_normalization",
    "batch_normalization_test",
    "batch_normalization_train",
    "binary_crossentropy",
    "categorical_crossentropy",
    "confusion_matrix",
    "crossentropy_categorical_1hot",
    "crossentropy_softmax_1hot",
    "crossentropy_softmax_1hot_with_bias",
    "crossentropy_softmax_argmax_1hot_with_bias",
    "crossentropy_softmax_max_and_argmax_1hot",
    "crossentropy_softmax_max_and_argmax_1hot_with_bias",
    "elu",
    "h_softmax",
    "hard_sigmoid",
    "logsoftmax",
    "prepend_0_to_each_row",
    "prepend_1_to_each_row",
    "prepend_scalar_to_each_row",
    "relu",
    "selu",
    "sigmoid",
    "sigmoid_binary_crossentropy",
    "softmax",
    "softmax_graph",
    "softmax_op",
    "softmax_with_bias",
    "softplus",
    "softsign",
    "ultra_fast_sigmoid",
]


# --- Activations ------------------------------------------------------------------------------------------------------


def rows(name, x):
    """A matrix as it is, a vector as a matrix of one row."""
    x = pt.as_tensor_variable(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"{name} takes a matrix, or a vector as one row, but {x} has {x.ndim} axes; reshape it.")
    return x[None, :] if x.ndim == 1 else x


def softmax(c):
    """Softmax of each row of a matrix; of a vector, a matrix of one row.

    PyTensor's normalises over all elements, unless it is given an axis.
    """
    return softmax_along(rows("softmax", c), axis=1)


softmax_graph = softmax
softmax_op = softmax(pt.matrix()).owner.op


def softmax_with_bias(x, b):
    """Softmax of each row of ``x + b``."""
    return softmax(x + b)


def logsoftmax(x):
    """Logarithm of the softmax of each row of a matrix; of a vector, a matrix of one row."""
    return log_softmax(rows("logsoftmax", x), axis=1)


def hard_sigmoid(x):
    """``clip(0.2 * x + 0.5, 0, 1)``: three straight lines for the logistic function."""
    x = pt.as_tensor_variable(x)
    number = constants(x)
    return pt.clip(x * number(0.2) + number(0.5), number(0), number(1))


def ultra_fast_sigmoid(x):
    """The logistic function to within 0.03, in pieces: a fraction near 0, a line further out, and constants."""
    x = pt.as_tensor_variable(x)
    number = constants(x)
    half = abs(x * number(0.5))
    near = number(1.5) * half / (1 + half)
    line = number(0.935409070603099) + number(0.0458812946797165) * (half - number(1.7))
    value = pt.switch(half < number(1.7), near, pt.switch(half < 3, line, number(0.99505475368673)))
    return number(0.5) * (pt.sign(x) * value + 1)


def relu(x, alpha=0):
    """``x`` where it is positive, ``alpha * x`` elsewhere; the gradient at 0 is the mean of both."""
    if isinstance(alpha, Number) and alpha == 0:
        return 0.5 * (x + abs(x))
    return 0.5 * (1 + alpha) * x + 0.5 * (1 - alpha) * abs(x)


def elu(x, alpha=1):
    """``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    x = pt.as_tensor_variable(x)
    return pt.switch(x > 0, x, alpha * pt.expm1(x))


def selu(x):
    """``scale * elu(x, alpha)``, with the two numbers that keep mean 0 and variance 1 from layer to layer."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def softsign(x):
    """``x / (1 + abs(x))``."""
    x = pt.as_tensor_variable(x)
    return x / (1 + abs(x))


def constants(x):
    """Numbers in the dtype of a float tensor, so that they do not widen it; as they are beside integers."""
    return lambda number: np.asarray(number, x.dtype) if x.dtype.startswith("float") else number


# --- Cross-entropies --------------------------------------------------------------------------------------------------


def binary_crossentropy(output, target):
    """``-(target * log(output) + (1 - target) * log(1 - output))``, elementwise."""
    output, target = pt.as_tensor_variable(output), pt.as_tensor_variable(target)
    return -(target * log(output) + (1 - target) * log(1 - output))


def sigmoid_binary_crossentropy(output, target):
    """The same for ``sigmoid(output)``, from the logits."""
    return target * pt.softplus(-output) + (1 - target) * pt.softplus(output)


def categorical_crossentropy(coding_dist, true_dist):
    """Cross-entropy of each row.

    Parameters
    ----------
    coding_dist : matrix, or tensor of more axes
        Probabilities, along the last axis.
    true_dist : tensor of as many axes, or vector of integers
        Probabilities too, or the numbers of the true classes.

    Returns
    -------
    tensor
        ``-sum(true * log(coding))`` along the last axis; for classes, ``-log(coding[row, class])``.

    Raises
    ------
    TypeError
        If the axes do not fit.
    """
    coding_dist, true_dist = pt.as_tensor_variable(coding_dist), pt.as_tensor_variable(true_dist)
    if true_dist.ndim == coding_dist.ndim:
        return -pt.sum(true_dist * log(coding_dist), axis=coding_dist.ndim - 1)
    if true_dist.ndim == coding_dist.ndim - 1 == 1:
        return crossentropy_categorical_1hot(coding_dist, true_dist)
    raise TypeError(
        f"categorical_crossentropy: the true distribution has {true_dist.ndim} axes, and the coding distribution "
        f"{coding_dist.ndim}; give it as many, or the classes as a vector for a matrix of probabilities."
    )


def crossentropy_categorical_1hot(coding_dist, true_one_of_n):
    """``-log(coding[row, class])`` for a matrix of probabilities and a vector of classes."""
    coding_dist, classes = pt.as_tensor_variable(coding_dist), pt.as_tensor_variable(true_one_of_n)
    if coding_dist.ndim != 2 or classes.ndim != 1 or not classes.dtype.startswith(("int", "uint")):
        raise TypeError(
            "the cross-entropy takes a matrix of probabilities and an integer vector of classes, not "
            f"{coding_dist.type} and {classes.type}; cast the classes with T.cast(y, 'int32')."
        )
    return -log(coding_dist[pt.arange(classes.shape[0]), classes])


def crossentropy_softmax_1hot_with_bias(x, b, y_idx, **kwargs):
    """Cross-entropies of the classes `y_idx`, and the softmax of each row of ``x + b``."""
    return crossentropy_softmax_1hot(x + b, y_idx)


def crossentropy_softmax_1hot(x, y_idx, **kwargs):
    """Cross-entropies of the classes `y_idx`, and the softmax of each row of `x`."""
    probabilities = softmax(x)
    return crossentropy_categorical_1hot(probabilities, y_idx), probabilities


def crossentropy_softmax_argmax_1hot_with_bias(x, b, y_idx, **kwargs):
    """Cross-entropies, softmax, and the most probable class of each row of ``x + b``."""
    losses, probabilities = crossentropy_softmax_1hot(x + b, y_idx)
    return losses, probabilities, pt.argmax(probabilities, axis=1)


def crossentropy_softmax_max_and_argmax_1hot_with_bias(x, b, y_idx, **kwargs):
    """Cross-entropies, softmax, and its maximum and most probable class for each row of ``x + b``."""
    losses, probabilities = crossentropy_softmax_1hot(x + b, y_idx)
    return losses, probabilities, pt.max(probabilities, axis=1), pt.argmax(probabilities, axis=1)


def crossentropy_softmax_max_and_argmax_1hot(x, y_idx, **kwargs):
    """The same without a bias."""
    return crossentropy_softmax_max_and_argmax_1hot_with_bias(x, 0, y_idx)


# --- Batch normalisation ----------------------------------------------------------------------------------------------


def batch_normalization(inputs, gamma, beta, mean, std, mode="low_mem"):
    """``(inputs - mean) * (gamma / std) + beta``; both modes, ``"low_mem"`` and ``"high_mem"``, are the same here."""
    if mode not in ("low_mem", "high_mem"):
        raise ValueError(f"batch_normalization: mode must be 'low_mem' or 'high_mem', not {mode!r}.")
    return (inputs - mean) * (gamma / std) + beta


def normalization_axes(axes, ndim):
    if isinstance(axes, str) and axes in ("per-activation", "spatial"):
        return (0,) if axes == "per-activation" else (0, *range(2, ndim))
    if isinstance(axes, str) or not len(axes):
        raise ValueError(f"axes must be 'per-activation', 'spatial' or a list of axes, not {axes!r}.")
    axes = tuple(sorted(int(axis) for axis in axes))
    if axes[0] < 0 or axes[-1] >= ndim:
        raise ValueError(f"axes must be from 0 to {ndim - 1}, not {axes}.")
    return axes


def like_inputs(inputs, axes, tensors):
    """Parameters of batch normalisation with as many axes as the inputs, which they broadcast along `axes`."""
    others = [axis for axis in range(inputs.ndim) if axis not in axes]
    pattern = [others.index(axis) if axis in others else "x" for axis in range(inputs.ndim)]
    result = []
    for x in map(pt.as_tensor_variable, tensors):
        if x.ndim == inputs.ndim:
            result.append(pt.specify_broadcastable(x, *axes))
        elif x.ndim == len(others):
            result.append(x.dimshuffle(*pattern))
        else:
            raise ValueError(
                f"gamma, beta, mean and variance must have {len(others)} axes, those that are not normalised, or "
                f"{inputs.ndim} as the inputs, not {x.ndim}."
            )
    return result


def batch_normalization_train(
    inputs,
    gamma,
    beta,
    axes="per-activation",
    epsilon=1e-4,
    running_average_factor=0.1,
    running_mean=None,
    running_var=None,
):
    """Normalise by the mean and the variance of a batch.

    Parameters
    ----------
    inputs : tensor
        The batch.
    gamma, beta : tensor
        Scale and shift, of the axes that are not normalised, or of as many as the inputs.
    axes : "per-activation", "spatial" or a sequence of int
        The axes to normalise over: the first; all but the second; or those given.
    epsilon : float
        Added to the variance.
    running_average_factor : float
        The weight of this batch in the running averages.
    running_mean, running_var : tensor, optional
        The running averages before, both or neither.

    Returns
    -------
    tuple of tensors
        The normalised batch, its mean, and one over its standard deviation; and the next running averages, if those
        before were given, the variance's with the unbiased estimate. All of the form of `gamma`.
    """
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_normalization_train: give both running_mean and running_var, or neither.")
    axes = normalization_axes(axes, inputs.ndim)
    scale, shift = like_inputs(inputs, axes, [gamma, beta])
    mean = inputs.mean(axis=axes, keepdims=True)
    variance = inputs.var(axis=axes, keepdims=True)
    inverse = 1 / pt.sqrt(variance + np.asarray(epsilon, inputs.dtype))
    results = [mean, inverse]
    if running_mean is not None:
        before, variance_before = like_inputs(inputs, axes, [running_mean, running_var])
        weight = np.asarray(running_average_factor, inputs.dtype)
        m = pt.cast(pt.prod([inputs.shape[axis] for axis in axes]), inputs.dtype)
        results += [before * (1 - weight) + mean * weight]
        results += [variance_before * (1 - weight) + m / (m - 1) * variance * weight]
    if gamma.ndim < inputs.ndim:
        results = [x.dimshuffle(*(axis for axis in range(inputs.ndim) if axis not in axes)) for x in results]
    return ((inputs - mean) * (scale * inverse) + shift, *results)


def batch_normalization_test(inputs, gamma, beta, mean, var, axes="per-activation", epsilon=1e-4):
    """Normalise by a given mean and variance; the arguments are those of :func:`batch_normalization_train`."""
    axes = normalization_axes(axes, inputs.ndim)
    gamma, beta, mean, var = like_inputs(inputs, axes, [gamma, beta, mean, var])
    return (inputs - mean) * gamma / pt.sqrt(var + np.asarray(epsilon, inputs.dtype)) + beta


# --- The rest ---------------------------------------------------------------------------------------------------------


def h_softmax(x, batch_size, n_outputs, n_classes, n_outputs_per_class, W1, b1, W2, b2, target=None):
    """Softmax in two levels: of the classes, and of the outputs in each.

    Parameters
    ----------
    x : matrix
        Features, a row for each of `batch_size` examples.
    n_outputs, n_classes, n_outputs_per_class : int
        ``n_classes * n_outputs_per_class`` is at least `n_outputs`; what is beyond it is ignored.
    W1, b1 : tensors of shape (features, n_classes) and (n_classes,)
        The first level.
    W2, b2 : tensors of shape (n_classes, features, n_outputs_per_class) and (n_classes, n_outputs_per_class)
        The second.
    target : integer tensor, optional
        The output of each example.

    Returns
    -------
    tensor
        The probability of each example's target, a vector; without targets, those of all outputs, a matrix.
    """
    of_class = softmax(pt.dot(x, W1) + b1)
    if target is None:
        logits = pt.tensordot(x, W2, (1, 1)) + b2
        within = softmax(logits.reshape((-1, n_outputs_per_class))).reshape((batch_size, n_classes, -1))
        return (of_class[:, :, None] * within).reshape((batch_size, -1))[:, :n_outputs]
    target = target.flatten()
    rows, group, place = pt.arange(batch_size), target // n_outputs_per_class, target % n_outputs_per_class
    within = softmax((x[:, :, None] * W2[group]).sum(axis=1) + b2[group])
    return of_class[rows, group] * within[rows, place]


def confusion_matrix(actual, pred):
    """How often each value of `actual`, a row, was predicted as each, a column; and the values in order."""
    values = pt.unique(pt.concatenate([actual, pred]))
    hits = [pt.eq(x[:, None], values).astype("int64") for x in (actual, pred)]
    return [pt.dot(hits[0].T, hits[1]), values]


def prepend_scalar_to_each_row(val, mat):
    """The matrix with a column of that scalar in front."""
    mat = pt.as_tensor_variable(mat)
    return pt.concatenate([pt.alloc(pt.cast(val, mat.dtype), mat.shape[0], 1), mat], axis=1)


def prepend_0_to_each_row(mat):
    """The matrix with a column of zeros in front."""
    return prepend_scalar_to_each_row(0, mat)


def prepend_1_to_each_row(mat):
    """The matrix with a column of ones in front."""
    return prepend_scalar_to_each_row(1, mat)
