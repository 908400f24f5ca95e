"""Train a multi-layer perceptron on handwritten digits, with any rule of symupdates on any backend.

Five layers of 100 ReLU units, then a softmax layer, trained on the cross-entropy: the network of the textbook
comparison of optimizers. The data are the 1797 digits of 8 by 8 pixels in scikit-learn, a fifth of them held
out; or, with ``--data DIR``, MNIST and its own test set. Some noise on the images, new in each epoch, keeps the network
from learning so few digits by heart. ::

    python examples/mlp.py
    python examples/mlp.py --optimizer adam --backend jax --plot adam.png
    python examples/mlp.py --data ~/mnist --backend numba --batch-size 128 --float32

Training takes seconds; compilation, on two cores, 10 to 20 s for c, 30 s for numba (60 s with PyTensor 3.3) and 2 s for
jax. What c and numba compiled is kept for the next run. PyTensor from PyPI has no BLAS for c, which MNIST asks for: ten
times slower there than jax, it does for the small digits.
"""

import argparse
import gzip
import math
import time
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, Epochs, add_training_options, new_figure, optimizer, positive, save_figure, training_rate
from pytensor.tensor.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HIDDEN = (100, 100, 100, 100, 100)  # to count the softmax layer among the five, leave one out

# For this network and batches of this size; a rule that is not here gets its own default.
LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.02,
    "nesterov_momentum": 0.02,
    "adagrad": 0.02,
    "adagrad_window": 0.01,
    "rmsprop": 0.001,
    "adadelta": 1.0,
    "adam": 0.001,
    "adamax": 0.002,
    "amsgrad": 0.001,
}


# --- Data -------------------------------------------------------------------------------------------------------------


def digits(seed):
    """The digits of scikit-learn: training images and labels, held-out images and labels."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images / 16, labels, test_size=0.2, stratify=labels, random_state=seed)
    return x, y, x_test, y_test


def mnist(folder):
    """MNIST from its four IDX files, gzipped or not: training images and labels, test images and labels."""
    arrays = []
    for part in "train", "t10k":
        images = read_idx(find(folder, f"{part}-images-idx3-ubyte"), ndim=3)
        labels = read_idx(find(folder, f"{part}-labels-idx1-ubyte"), ndim=1)
        if len(images) != len(labels):
            raise ValueError(f"{folder}: {len(images)} {part} images, but {len(labels)} labels.")
        if labels.max() > 9:
            raise ValueError(f"{folder}: the {part} labels go up to {labels.max()}, not 9.")
        arrays += [images.reshape(len(images), -1) / 255, labels]
    if arrays[0].shape[1] != arrays[2].shape[1]:
        raise ValueError(f"{folder}: the training and the test images differ in size.")
    return arrays


def find(folder, name):
    for path in Path(folder, name), Path(folder, f"{name}.gz"):
        if path.is_file():
            return path
    raise ValueError(
        f"There is no {name} or {name}.gz in {str(folder)!r}. MNIST is the four files train-images-idx3-ubyte, "
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each with or without .gz."
    )


def read_idx(path, ndim):
    """Read an IDX file of unsigned bytes: 0, 0, 8, the number of axes, their lengths (big-endian), the data."""
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: not a whole gzip file ({error}).") from None
    mark = bytes([0, 0, 8, ndim])
    start = 4 + 4 * ndim
    if data[:4] != mark:
        raise ValueError(f"{path}: starts with {data[:4].hex() or 'nothing'}, not {mark.hex()} as such IDX files do.")
    if len(data) < start:
        raise ValueError(f"{path}: truncated, it ends in the header.")
    shape = tuple(np.frombuffer(data, ">u4", count=ndim, offset=4).tolist())
    size = start + math.prod(shape)
    if len(data) != size:
        raise ValueError(f"{path}: {len(data)} bytes, but its header says {size}, for the shape {shape}.")
    if size == start:
        raise ValueError(f"{path}: no data, the shape is {shape}.")
    return np.frombuffer(data, "u1", offset=start).reshape(shape)


# --- Model ------------------------------------------------------------------------------------------------------------


def new_parameters(sizes, rng, dtype):
    """Weights (He et al., 2015) and biases of each layer."""
    params = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        weights = rng.normal(scale=np.sqrt(2 / n_in), size=(n_in, n_out))
        params.append(pytensor.shared(weights.astype(dtype), name=f"W{i}", shape=(n_in, n_out)))
        params.append(pytensor.shared(np.zeros(n_out, dtype), name=f"b{i}", shape=(n_out,)))
    return params


def network(x, params):
    """The logarithm of the probability of each class."""
    *hidden, last = zip(params[0::2], params[1::2], strict=True)
    for weights, bias in hidden:
        x = pt.maximum(x @ weights + bias, 0)
    weights, bias = last
    return log_softmax(x @ weights + bias, axis=1)


def accuracy(log_p, labels):
    return np.mean(np.argmax(log_p, axis=1) == labels)


def main(argv=None):
    start = time.perf_counter()
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="Same seed, same numbers: in double precision on every backend."
    )
    add_training_options(parser, epochs=50)
    parser.add_argument("--batch-size", type=positive(int), default=32, metavar="N", help="default: 32")
    parser.add_argument(
        "--noise",
        type=positive(float, or_zero=True),
        default=0.2,
        metavar="SD",
        help="on the pixels, which are from 0 to 1 (default: 0.2)",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="a folder with the files of MNIST (default: scikit-learn's digits)"
    )
    args = parser.parse_args(argv)
    try:
        x, y, x_test, y_test = mnist(args.data) if args.data else digits(args.seed)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if args.batch_size > len(x):
        parser.error(f"--batch-size {args.batch_size}: there are only {len(x)} images.")

    dtype = "float32" if args.float32 else "float64"
    mode = MODES[args.backend]
    x, x_test = x.astype(dtype), x_test.astype(dtype)
    y = y.astype("int32")
    batches = len(x) // args.batch_size
    rng = np.random.default_rng(args.seed)
    params = new_parameters((x.shape[1], *HIDDEN, 10), rng, dtype)

    # Static shapes let the backends, JAX above all, compile more tightly.
    images = pt.tensor("images", dtype=dtype, shape=(args.batch_size, x.shape[1]))
    labels = pt.tensor("labels", dtype="int32", shape=(args.batch_size,))
    log_p = network(images, params)
    loss = -log_p[np.arange(args.batch_size), labels].mean()
    rate = training_rate(args, LEARNING_RATES)
    # A shared variable may be changed while training; and with a number, numba would compile anew for each.
    rule = optimizer(args.optimizer, pytensor.shared(np.asarray(rate), name="learning_rate"))
    step = pytensor.function([images, labels], [loss, log_p], updates=rule(loss, params), mode=mode)

    # Prediction is a function of its own, on the same backend: it reads the parameters where training leaves them.
    test_images = pt.tensor("test_images", dtype=dtype, shape=x_test.shape)
    predict = pytensor.function([test_images], network(test_images, params), mode=mode)

    print(f"{args.optimizer}, learning rate {rate:g}, {dtype} on {args.backend}")
    print(f"{len(x)} images in {batches} batches of {args.batch_size} an epoch, {len(x_test)} held out")
    epochs = Epochs(args.epochs)
    for _ in epochs:
        order = rng.permutation(len(x))[: batches * args.batch_size].reshape(batches, args.batch_size)
        losses, hits = [], []
        for batch in order:
            noise = rng.standard_normal((args.batch_size, x.shape[1]), dtype=dtype)
            batch_loss, batch_log_p = step(x[batch] + args.noise * noise, y[batch])
            losses.append(batch_loss)
            hits.append(accuracy(batch_log_p, y[batch]))
        epochs.log(loss=np.mean(losses), accuracy=np.mean(hits), held_out=accuracy(predict(x_test), y_test))

    score = epochs.history["held_out"][-1]
    print(f"held-out accuracy {100 * score:.2f} % after {time.perf_counter() - start:.1f} s, compilation included")
    if args.plot:
        draw(epochs.history, f"{args.optimizer}, learning rate {rate:g}", args.plot)
    return score


def draw(history, title, path):
    figure, [[left, right]] = new_figure(columns=2, title=title)
    epochs = np.arange(1, len(history["loss"]) + 1)
    left.semilogy(epochs, history["loss"])
    left.set(xlabel="epoch", ylabel="cross-entropy", title="loss while training")
    right.plot(epochs, history["accuracy"], label="while training")
    right.plot(epochs, history["held_out"], label=f"held out: {history['held_out'][-1]:.2%} at the end")
    right.set(xlabel="epoch", ylabel="accuracy", title="accuracy", ylim=(min(0.85, *history["held_out"]), 1.005))
    right.legend()
    save_figure(figure, path)


if __name__ == "__main__":
    main()
