"""Three Lasagne scripts in three stages, which print the same losses: as they are, ported, and with what is new.

The scripts in examples/legacy, a multi-layer perceptron and a convolutional network on handwritten digits and a linear
regression, are in the style of Lasagne's own, and nothing in them is changed. Stage 1 runs them under
``symupdates.theano``, with Lasagne's layers. Stage 2 is what porting makes of them: plain PyTensor, with symupdates for
``lasagne.updates`` and for convolutions. Stage 3 adds what was not to be had: an epoch in a single call of the compiled
function, hyper-parameters that can be changed while it runs, averages of the parameters, and a checkpoint. None of that
touches the numbers, and so the losses stay the same; after five epochs the convolutional network has 98.3 % of the
digits right that it has not seen. ::

    python examples/port_lasagne.py
    python examples/port_lasagne.py --problem line --epochs 10
    python examples/port_lasagne.py --problem cnn --data ~/mnist
    python examples/port_lasagne.py --backend numba

Stage 1 needs Lasagne, which the extra ``symupdates[legacy]`` brings. Where it is missing, the program says so and shows
the others.
"""

import argparse
import contextlib
import io
import runpy
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, positive
from mlp import mnist
from rich.console import Console
from rich.table import Table

import symupdates
from symupdates.theano.conv_ops import Correlate, Pool

LEGACY = Path(__file__).parent / "legacy"
STAGES = ("legacy", "ported", "with more")


# --- Stage 1: as they are ---------------------------------------------------------------------------------------------


def unmodified(script, epochs, *arguments):
    """The losses of an unmodified script, with symupdates.theano in the place of Theano."""
    import symupdates.theano

    symupdates.theano.install()
    with contextlib.redirect_stdout(io.StringIO()):  # what it prints is shown in the table
        return runpy.run_path(str(LEGACY / script))["main"](epochs, *arguments)


# --- Stage 2: ported to PyTensor and symupdates -----------------------------------------------------------------------


def digits():
    """The digits of scikit-learn as the legacy script takes them: for training, validation and test."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(1234).permutation(len(x))
    x, y = (x[order] / 16).astype(pytensor.config.floatX), y[order].astype("int32")
    return x[:1000], y[:1000], x[1000:1400], y[1000:1400], x[1400:], y[1400:]


def mlp(widths=(64, 64, 64, 10)):
    """The inputs, the probabilities and the parameters; weights are drawn as Lasagne draws them."""
    rng = np.random.RandomState(42)
    inputs = h = pt.matrix("inputs")
    params = []
    for i, (n, m) in enumerate(pairwise(widths)):
        bound = np.sqrt(6 / (n + m))  # GlorotUniform
        W = pytensor.shared(rng.uniform(-bound, bound, (n, m)).astype(pytensor.config.floatX), name=f"W{i}")
        b = pytensor.shared(np.zeros(m, pytensor.config.floatX), name=f"b{i}")
        params += [W, b]
        h = pt.dot(h, W) + b
        last = i == len(widths) - 2
        h = pt.special.softmax(h, axis=-1) if last else 0.5 * (h + abs(h))
    return inputs, h, params


def pictures(folder=None):
    """The digits as pictures of 28 by 28, of scikit-learn or of MNIST, as the legacy script takes them."""
    if folder is not None:
        x, y, x_test, y_test = mnist(folder)
        x, y = np.concatenate([x, x_test]) * (255 / 256), np.concatenate([y, y_test])
        x, train, validation = x.reshape(-1, 28, 28), 50000, 60000
    else:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        order = np.random.RandomState(1234).permutation(len(x))
        x = np.pad(np.kron(x[order].reshape(-1, 8, 8) / 16, np.ones((3, 3))), [(0, 0), (2, 2), (2, 2)])
        y, train, validation = y[order], 1400, 1500
    x, y = x[:, None].astype(pytensor.config.floatX), y.astype("int32")
    return x[:train], y[:train], x[train:validation], y[train:validation], x[validation:], y[validation:]


def cnn():
    """The inputs, the probabilities and the parameters of two convolutions with pooling and two dense layers."""
    rng = np.random.RandomState(42)
    inputs = h = pt.tensor4("inputs")
    params = []
    for i, shape in enumerate([(32, 1, 5, 5), (32, 32, 5, 5), (512, 256), (256, 10)]):
        bound = np.sqrt(6 / (sum(shape[:2]) * np.prod(shape[2:])))  # GlorotUniform
        W = pytensor.shared(rng.uniform(-bound, bound, shape).astype(pytensor.config.floatX), name=f"W{i}")
        filters = len(shape) == 4
        b = pytensor.shared(np.zeros(shape[0] if filters else shape[1], pytensor.config.floatX), name=f"b{i}")
        params += [W, b]
        if filters:  # a convolution is the correlation with the filters flipped
            h = Correlate()(h, W[:, :, ::-1, ::-1]) + b[:, None, None]
            h = Pool(ignore_border=True)(0.5 * (h + abs(h)), (2, 2))
        else:
            h = pt.dot(h.reshape((h.shape[0], -1)), W) + b
            h = pt.special.softmax(h, axis=-1) if i == 3 else 0.5 * (h + abs(h))
    return inputs, h, params


def crossentropy(probabilities, targets):
    return -pt.log(probabilities[pt.arange(targets.shape[0]), targets]).mean()


def orders(epochs, n, batch):
    """For each epoch, the places of the examples in its minibatches, a row a minibatch, as the legacy script draws."""
    np.random.seed(1234)  # noqa: NPY002
    for _ in range(epochs):
        indices = np.arange(n)
        np.random.shuffle(indices)  # noqa: NPY002
        yield indices.reshape(-1, batch)


def in_parts(function, x, y, size=500):
    """The mean of what a function gives for the examples, so many at a time."""
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    return np.average([function(x[part], y[part]) for part in parts], weights=[len(x[part]) for part in parts])


def ported_network(epochs, data, network, rate, batch):
    x_train, y_train, x_val, y_val, _, _ = data
    inputs, probabilities, params = network()
    targets = pt.ivector("targets")
    loss = crossentropy(probabilities, targets)
    updates = symupdates.nesterov_momentum(loss, params, learning_rate=rate, momentum=0.9)
    train = pytensor.function([inputs, targets], loss, updates=updates)
    validate = pytensor.function([inputs, targets], loss)
    history = []
    for order in orders(epochs, len(x_train), batch):
        losses = [train(x_train[rows], y_train[rows]) for rows in order]
        history.append((sum(losses) / len(losses), in_parts(validate, x_val, y_val)))
    return history


def ported_mlp(epochs):
    return ported_network(epochs, digits(), mlp, rate=0.1, batch=100)


def ported_cnn(epochs, folder=None):
    return ported_network(epochs, pictures(folder), cnn, *cnn_settings(folder))


def cnn_settings(folder):
    """The learning rate and the size of the minibatches."""
    return (0.05, 25) if folder is None else (0.01, 500)


def line():
    """100 points of y = 2 x + noise, as the legacy script draws them."""
    rng = np.random.RandomState(0)
    x = rng.uniform(-1, 1, (100, 1)).astype(pytensor.config.floatX)
    return x, 2 * x + rng.normal(0, 0.3, (100, 1)).astype(pytensor.config.floatX)


def line_model():
    x, y = pt.matrix("x"), pt.matrix("y")
    W = pytensor.shared(np.zeros((1, 1), pytensor.config.floatX), name="W")
    b = pytensor.shared(np.zeros(1, pytensor.config.floatX), name="b")
    return x, y, ((pt.dot(x, W) + b - y) ** 2).mean(), [W, b]


def ported_line(epochs):
    x, y, loss, params = line_model()
    train = pytensor.function([x, y], loss, updates=symupdates.adagrad(loss, params, learning_rate=0.2))
    data = line()
    return [([train(*data) for _ in range(20)][-1],) for _ in range(epochs)]


# --- Stage 3: with what the library adds ------------------------------------------------------------------------------


def network_with_more(epochs, data, network, rate, batch):
    """An epoch a call on shared data; averages of the parameters; a run that is interrupted and goes on."""
    x_train, y_train, x_val, y_val, x_test, y_test = data
    inputs, probabilities, params = network()
    targets = pt.ivector("targets")
    loss = crossentropy(probabilities, targets)
    optimizer = symupdates.chain(
        symupdates.nesterov_momentum(learning_rate=rate, momentum=0.9),
        symupdates.apply_ema(decay=0.95),
        symupdates.adjustable(),
    )
    updates = optimizer(loss, params)
    rows = pt.lvector("rows")
    order = pt.tensor("order", dtype="int64", shape=(len(x_train) // batch, batch))
    data = {inputs: pytensor.shared(x_train)[rows], targets: pytensor.shared(y_train)[rows]}
    there, *values = pytensor.graph.replace.graph_replace([loss, *updates.values()], data, strict=False)
    losses, epoch_updates = symupdates.loop(there, dict(zip(updates, values, strict=True)), {rows: order})
    epoch = pytensor.function([order], losses, updates=epoch_updates)
    validate = pytensor.function([inputs, targets], loss)
    right = pt.eq(pt.argmax(probabilities, axis=1), targets).mean()
    averaged = pytensor.function([inputs, targets], right, givens=symupdates.averages(updates))

    history = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "network.ckpt")
        for i, places in enumerate(orders(epochs, len(x_train), batch)):
            if i == epochs // 2:  # as if it had been killed here: another start, and the checkpoint
                symupdates.save(checkpoint, epoch_updates)
                symupdates.reset(epoch_updates)
                for p in params:
                    p.set_value(np.zeros_like(p.get_value()))
                symupdates.load(checkpoint, epoch_updates)
            history.append((np.mean(epoch(places)), in_parts(validate, x_val, y_val)))
    rate = symupdates.named(updates)["nesterov_momentum/learning_rate"].get_value()
    right = in_parts(averaged, x_test, y_test)
    print(f"  {right:.2%} of the test digits right, by the averages; rate still {rate:g}")
    return history


def mlp_with_more(epochs):
    return network_with_more(epochs, digits(), mlp, rate=0.1, batch=100)


def cnn_with_more(epochs, folder=None):
    return network_with_more(epochs, pictures(folder), cnn, *cnn_settings(folder))


def line_with_more(epochs):
    """The whole run in one call; its losses come back in one array."""
    x, y, loss, params = line_model()
    x_data, y_data = line()
    loss = pytensor.graph.replace.graph_replace(loss, {x: pt.constant(x_data), y: pt.constant(y_data)})
    updates = symupdates.chain(symupdates.adagrad(learning_rate=0.2), symupdates.apply_ema(decay=0.95))(loss, params)
    losses, updates = symupdates.loop(loss, updates, n_steps=20 * epochs)
    run = pytensor.function([], losses, updates=updates)
    history = [(value,) for value in run()[19::20]]
    W, b = (p.get_value().item() for p in params)
    design = np.column_stack([x_data, np.ones(len(x_data))])
    slope, intercept = np.linalg.lstsq(design, y_data[:, 0], rcond=None)[0]
    print(f"  y = {W:.4f} x + {b:.4f}; least squares: y = {slope:.4f} x + {intercept:.4f}")
    return history


# --- All three ------------------------------------------------------------------------------------------------------


PROBLEMS = {
    "mlp": ("lasagne_mlp.py", ported_mlp, mlp_with_more, ("training loss", "validation loss")),
    "cnn": ("lasagne_cnn.py", ported_cnn, cnn_with_more, ("training loss", "validation loss")),
    "line": ("lasagne_linear_regression.py", ported_line, line_with_more, ("loss",)),
}


def stages(problem, epochs, with_lasagne=True, data=None):
    """The losses of each stage: for each epoch, a tuple of them; `data` is the folder of MNIST for the cnn."""
    script, ported, more, _ = PROBLEMS[problem]
    runs = [partial(unmodified, script), ported, more]
    arguments = [data] if problem == "cnn" else []
    results = {}
    for name, run in zip(STAGES, runs, strict=True):
        if name == "legacy" and not with_lasagne:
            continue
        start = time.perf_counter()
        results[name] = [tuple(map(float, losses)) for losses in run(epochs, *arguments)]
        print(f"  {name}: {time.perf_counter() - start:.1f} s, compilation included")
    return results


def show(problem, results):
    """Print the losses side by side."""
    table = Table(header_style="")
    for column in ("epoch", *(f"{measure}, {name}" for measure in PROBLEMS[problem][-1] for name in results)):
        table.add_column(column, justify="right")
    histories = list(results.values())
    for epoch in range(len(histories[0])):
        cells = [f"{h[epoch][k]:.6f}" for k in range(len(PROBLEMS[problem][-1])) for h in histories]
        table.add_row(str(epoch + 1), *cells)
    Console(highlight=False).print(table)


def furthest(results):
    """The largest relative difference between two stages in any loss."""
    all_of_them = np.array(list(results.values()))
    return float(np.max(np.ptp(all_of_them, axis=0) / all_of_them.min(axis=0)))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--problem", choices=[*PROBLEMS, "all"], default="all", help="default: all")
    parser.add_argument("--data", metavar="DIR", help="a folder with the files of MNIST, gzipped, for the cnn")
    parser.add_argument("--epochs", type=positive(int), default=5, metavar="N", help="default: 5")
    default = "c" if pytensor.config.cxx else "numba"
    parser.add_argument("--backend", choices=["c", "numba"], default=default, help=f"default: {default}")
    args = parser.parse_args(argv)

    with_lasagne = find_spec("lasagne") is not None
    if not with_lasagne:
        print("Lasagne is not installed, and stage 1 is left out: pip install 'symupdates[legacy]'", file=sys.stderr)
    with pytensor.config.change_flags(mode=MODES[args.backend]):
        for problem in PROBLEMS if args.problem == "all" else [args.problem]:
            print(f"{problem}: {PROBLEMS[problem][0]}")
            results = stages(problem, args.epochs, with_lasagne, args.data)
            show(problem, results)
            far = furthest(results)
            print(f"The losses of {len(results)} stages differ by {far:.1e} at most, relatively.")
            printed = {tuple(f"{x:.6f}" for losses in history for x in losses) for history in results.values()}
            if len(printed) > 1:
                sys.exit("They are not the same to the digits printed.")


if __name__ == "__main__":
    main()
