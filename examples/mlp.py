"""Train a multi-layer perceptron on handwritten digits, with any rule of symupdates on any backend.

Five layers of 100 ReLU units, then a softmax layer, trained on the cross-entropy: the network of the textbook
comparison of optimizers. The data are the 1797 digits of 8 by 8 pixels in scikit-learn, a fifth of them held
out; or, with ``--data DIR``, MNIST and its own test set. Some noise on the images, new in each epoch, keeps the network
from learning so few digits by heart. ::

    python examples/mlp.py
    python examples/mlp.py --optimizer adam --backend jax --plot adam.png
    python examples/mlp.py --data ~/mnist --backend numba --batch-size 128 --float32
    python examples/mlp.py --optimizer adam --schedule warmup-cosine --clip 5 --weight-decay 0.1 --average 0.99
    python examples/mlp.py --checkpoint run.ckpt  # interrupt it, and the same command goes on

Training takes seconds; compilation, on two cores, 10 to 20 s for c, 30 s for numba (60 s with PyTensor 3.3) and 2 s for
jax. What c and numba compiled is kept for the next run. PyTensor from PyPI has no BLAS for c, which MNIST asks for: ten
times slower there than jax, it does for the small digits. A run that goes on from its checkpoint ends in the same
numbers, bit for bit, as one that was not interrupted.
"""

import argparse
import gzip
import math
import sys
import time
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import (
    MODES,
    Epochs,
    add_training_options,
    new_figure,
    optimizer,
    output_path,
    positive,
    save_figure,
    training_rate,
)
from pytensor.tensor.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symupdates
from symupdates import gradients, schedules

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

# The learning rate in a run of so many updates: one-cycle and the warm-up lead up to the given one, others begin there.
SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "linear": lambda rate, steps: schedules.linear(rate, 0, steps),
    "cosine": lambda rate, steps: schedules.cosine_decay(rate, steps),
    "warmup-cosine": lambda rate, steps: schedules.warmup(
        schedules.cosine_decay(rate, steps - steps // 10), steps // 10 or 1
    ),
    "one-cycle": lambda rate, steps: schedules.one_cycle(rate, steps),
    "step": lambda rate, steps: schedules.step_decay(rate, steps // 3 + 1),
    "exponential": lambda rate, steps: schedules.exponential_decay(rate, 0.01, steps),
}

MEASURES = ("loss", "accuracy", "held_out")  # of each epoch


# --- Data -------------------------------------------------------------------------------------------------------------


def digits(seed):
    """The digits of scikit-learn: training images and labels, held-out images and labels."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images / 16, labels, test_size=0.2, stratify=labels, random_state=seed)
    return x, y, x_test, y_test


def data_asked_for(parser, args):
    """MNIST with --data, else the digits; the parser refuses what is not there, and batches that are too large."""
    try:
        data = mnist(args.data) if args.data else digits(args.seed)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if args.batch_size > len(data[0]):
        parser.error(f"--batch-size {args.batch_size}: there are only {len(data[0])} images.")
    return data


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
    return np.mean(np.argmax(log_p, axis=-1) == labels)


# --- Training ---------------------------------------------------------------------------------------------------------


def training_rule(args, rate, steps):
    """The optimizer for a run of so many updates: a chain of the stages that are asked for."""
    learning_rate = SCHEDULES[args.schedule](rate, steps)
    stages = []
    if args.clip:
        stages.append(gradients.clip_by_total_norm(max_norm=args.clip))
    stages.append(optimizer(args.optimizer, learning_rate))
    if args.weight_decay:
        stages.append(
            symupdates.apply_weight_decay(
                params=lambda p: p.ndim > 1,  # the weights, not the biases
                weight_decay=args.weight_decay,
                learning_rate=learning_rate,
            )
        )
    if args.average:
        stages.append(symupdates.apply_ema(decay=args.average))
    # Without it, a number would be part of the code, and numba would compile anew for each.
    stages.append(symupdates.adjustable())
    return symupdates.chain(*stages)


def option_keys(args, rate, *data):
    """A variable for each option that the numbers depend on, and for the data, with nothing to it but its name.

    Among the keys of what is saved, they make a checkpoint fit only a run with the same.
    """
    free = {"backend", "checkpoint", "plot"}
    if args.schedule == "constant":
        free.add("epochs")  # such a run may be made longer
    checksum = 0
    for array in data:
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
    options = vars(args) | {"learning_rate": rate, "data": f"with checksum {checksum:08x}"}
    given = {name: value for name, value in options.items() if name not in free and value is not None}
    return [pytensor.shared(0, name=f"--{name.replace('_', '-')} {value}") for name, value in given.items()]


def save(file, run):
    try:
        symupdates.save(file, run)
    except OSError as error:
        sys.exit(f"The checkpoint could not be written: {error}")


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
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="constant",
        metavar="NAME",
        help=f"of the learning rate over the whole run: {', '.join(SCHEDULES)} (default: constant)",
    )
    parser.add_argument(
        "--clip", type=positive(float), metavar="NORM", help="scale gradients down to this total norm (default: no)"
    )
    parser.add_argument(
        "--weight-decay",
        type=positive(float),
        metavar="STRENGTH",
        help="of the weights, not the biases, times the learning rate, beside the rule's step (default: no)",
    )
    parser.add_argument(
        "--average",
        type=positive(float, below=1),
        metavar="DECAY",
        help="test a moving average of the parameters on the held-out images, in place of the last (default: no)",
    )
    parser.add_argument(
        "--checkpoint",
        type=output_path,
        metavar="FILE",
        help="save the run after every epoch, and go on from there if the file exists, to the same numbers. The "
        "options and the data must be the same; only --plot is free, --backend but for rounding, and with the constant "
        "schedule --epochs, which may be raised, up to 1000, to train further",
    )
    args = parser.parse_args(argv)
    x, y, x_test, y_test = data_asked_for(parser, args)

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
    updates = training_rule(args, rate, args.epochs * batches)(loss, params)

    # All that moves in a run, as shared variables: those that the updates move, and those moved here. A checkpoint is
    # of the keys of a dict; what they are updated to is of no interest to it, so that it may be themselves.
    generator = pytensor.shared(rng, name="rng")
    epoch = pytensor.shared(0, name="epoch")
    history = pytensor.shared(np.full((max(args.epochs, 1000), len(MEASURES)), np.nan), name="history")
    if args.checkpoint:
        run = [*option_keys(args, rate, x, y, x_test, y_test), *updates, generator, epoch, history]
        run = {variable: variable for variable in run}
        if args.checkpoint.exists():
            try:
                symupdates.load(args.checkpoint, run)
            except (OSError, ValueError) as error:
                parser.error(f"--checkpoint {args.checkpoint}: {error}")
    done = int(epoch.get_value())
    if done > args.epochs:
        parser.error(f"--checkpoint {args.checkpoint}: {done} epochs are done, more than --epochs {args.epochs}.")
    rng = generator.get_value(borrow=True)  # itself, not a copy: what it draws, it draws from what is saved

    step = pytensor.function([images, labels], [loss, log_p], updates=updates, mode=mode)
    # Prediction is a function of its own, on the same backend: it reads the parameters where training leaves them.
    test_images = pt.tensor("test_images", dtype=dtype, shape=x_test.shape)
    predict = pytensor.function(
        [test_images],
        network(test_images, params),
        givens=symupdates.averages(updates) if args.average else None,
        mode=mode,
    )

    title = f"{args.optimizer}, {'' if args.schedule == 'constant' else f'{args.schedule} '}learning rate {rate:g}"
    print(f"{title}, {dtype} on {args.backend}")
    print(f"{len(x)} images in {batches} batches of {args.batch_size} an epoch, {len(x_test)} held out")
    if done:
        print(f"{args.checkpoint}: {done} of {args.epochs} epochs are done")
    epochs = Epochs(args.epochs, history=dict(zip(MEASURES, history.get_value()[:done].T.tolist(), strict=True)))
    for number in epochs:
        order = rng.permutation(len(x))[: batches * args.batch_size].reshape(batches, args.batch_size)
        losses, hits = [], []
        for batch in order:
            noise = rng.standard_normal((args.batch_size, x.shape[1]), dtype=dtype)
            batch_loss, batch_log_p = step(x[batch] + args.noise * noise, y[batch])
            losses.append(batch_loss)
            hits.append(accuracy(batch_log_p, y[batch]))
        measures = np.mean(losses), np.mean(hits), accuracy(predict(x_test), y_test)
        epochs.log(**dict(zip(MEASURES, measures, strict=True)))
        if args.checkpoint and np.isfinite(measures[0]):
            epoch.set_value(number)
            history.get_value(borrow=True)[number - 1] = measures
            save(args.checkpoint, run)

    score = epochs.history["held_out"][-1]
    print(f"held-out accuracy {100 * score:.2f} % after {time.perf_counter() - start:.1f} s, compilation included")
    if args.plot:
        draw(epochs.history, title, args.plot)
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
