"""Fit a line, and a real data set, with any rule of symupdates on any backend.

The classic demonstration of AdaGrad, 100 points of y = 2 x + noise; then the diabetes data of scikit-learn: ten
measurements of 442 patients and the progress of their disease a year later, standardised, a fifth held out. Each epoch
is one step on all the training data, and the solution is known: least squares in closed form, shown for comparison. ::

    python examples/linear_regression.py
    python examples/linear_regression.py --data synthetic --optimizer sgd --learning-rate 0.01 --plot sgd.png
"""

import argparse
import time

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, Epochs, add_training_options, new_figure, optimizer, save_figure, training_rate
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

# For data of about unit size and 1000 steps; a rule that is not here gets its own default.
LEARNING_RATES = {
    "sgd": 0.2,
    "momentum": 0.05,
    "nesterov_momentum": 0.05,
    "adagrad": 0.2,
    "adagrad_window": 0.3,
    "rmsprop": 0.003,
    "adadelta": 1.0,
    "adam": 0.1,
    "adamax": 0.1,
    "amsgrad": 0.1,
}


def synthetic(seed):
    """100 points of y = 2 x + noise, and 100 more held out."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(200, 1))
    y = 2 * x[:, 0] + rng.normal(scale=0.3, size=200)
    return x[:100], y[:100], x[100:], y[100:]


def diabetes(seed):
    """The diabetes data, the inputs standardised and the target in units of its standard deviation."""
    x, x_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), test_size=0.2, random_state=seed)
    mean, std = x.mean(axis=0), x.std(axis=0)
    # The target keeps its mean. Without, the bias would start at its optimum, and AdaGrad scales up what rounding error
    # there then is in its gradient until it is seen.
    return (x - mean) / std, y / y.std(), (x_test - mean) / std, y_test / y.std()


DATA = {"synthetic": synthetic, "diabetes": diabetes}


def r_squared(y, prediction):
    """The part of the variance of `y` that is explained: 1 for a perfect prediction, 0 for the mean."""
    return 1 - np.mean((y - prediction) ** 2) / np.var(y)


def least_squares(x, y):
    """The weights and the bias of the least mean squared error, in closed form."""
    *weights, bias = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    return np.array(weights), bias


def fit(x, y, x_test, args):
    """Train; return the weights, the bias, the prediction for `x_test` and the history of the epochs."""
    dtype = "float32" if args.float32 else "float64"
    mode = MODES[args.backend]
    x, y, x_test = x.astype(dtype), y.astype(dtype), x_test.astype(dtype)

    weights = pytensor.shared(np.zeros(x.shape[1], dtype), name="weights", shape=(x.shape[1],))
    bias = pytensor.shared(np.zeros((), dtype), name="bias")
    inputs = pt.tensor("inputs", dtype=dtype, shape=x.shape)  # static shapes: JAX needs some, and all gain by them
    targets = pt.tensor("targets", dtype=dtype, shape=y.shape)
    loss = ((inputs @ weights + bias - targets) ** 2).mean()
    rule = optimizer(args.optimizer, training_rate(args, LEARNING_RATES))
    step = pytensor.function([inputs, targets], loss, updates=rule(loss, [weights, bias]), mode=mode)

    # Prediction is a function of its own, on the same backend: it reads the parameters where training leaves them.
    inputs = pt.tensor("inputs", dtype=dtype, shape=x_test.shape)
    predict = pytensor.function([inputs], inputs @ weights + bias, mode=mode)

    epochs = Epochs(args.epochs, sparse=True)
    for _ in epochs:
        error = step(x, y)
        epochs.log(loss=error, R2=1 - error / y.var())
    return np.asarray(weights.get_value()), float(bias.get_value()), predict(x_test), epochs.history


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="Same seed, same numbers: in double precision on every backend."
    )
    add_training_options(parser, epochs=1000)
    parser.add_argument("--data", choices=[*DATA, "both"], default="both", help="default: both")
    args = parser.parse_args(argv)

    precision = "float32" if args.float32 else "float64"
    title = f"{args.optimizer}, learning rate {training_rate(args, LEARNING_RATES):g}"
    print(f"{title}, {precision} on {args.backend}")
    names = list(DATA) if args.data == "both" else [args.data]
    if args.plot:
        figure, axes = new_figure(rows=len(names), columns=2, title=title)
    scores = {}
    for i, name in enumerate(names):
        start = time.perf_counter()
        x, y, x_test, y_test = DATA[name](args.seed)
        print(f"\n{name}: {len(x)} points, {x.shape[1]} input{'s' * (x.shape[1] > 1)}, {len(x_test)} points held out")
        weights, bias, prediction, history = fit(x, y, x_test, args)
        seconds = time.perf_counter() - start

        best_weights, best_bias = least_squares(x, y)
        best = r_squared(y_test, x_test @ best_weights + best_bias)
        scores[name] = r_squared(y_test, prediction)
        if len(weights) == 1:
            print(f"slope {weights[0]:.4f}, intercept {bias:.4f}; ", end="")
            print(f"least squares: {best_weights[0]:.4f}, {best_bias:.4f}")
        else:
            print(f"weights within {np.max(abs(weights - best_weights)):.2g} of those of least squares")
        print(f"held-out R2 {scores[name]:.4f}; least squares: {best:.4f}")
        print(f"{seconds:.1f} s, compilation included")

        if args.plot:
            least = np.mean((y - x @ best_weights - best_bias) ** 2)
            draw_loss(axes[i, 0], name, history["loss"], least)
            if len(weights) == 1:
                draw_line(axes[i, 1], x[:, 0], y, weights[0], bias)
            else:
                draw_prediction(axes[i, 1], y_test, prediction, scores[name])
    if args.plot:
        save_figure(figure, args.plot)
    return scores


def draw_loss(ax, name, loss, least):
    ax.loglog(np.arange(1, len(loss) + 1), loss)
    ax.axhline(least, color="gray", linestyle="--", label="least squares")
    ax.set(xlabel="epoch", ylabel="mean squared error", title=f"{name}: loss while training")
    ax.legend()


def draw_line(ax, x, y, slope, intercept):
    ends = np.array([-1, 1])
    ax.plot(x, y, "o", markersize=4, alpha=0.5, label="training points")
    ax.plot(ends, slope * ends + intercept, label=f"y = {slope:.3f} x {'+-'[intercept < 0]} {abs(intercept):.3f}")
    ax.set(xlabel="x", ylabel="y", title="the fit")
    ax.legend()


def draw_prediction(ax, y, prediction, score):
    ends = [min(*y, *prediction), max(*y, *prediction)]
    ax.plot(prediction, y, "o", markersize=4, alpha=0.5)
    ax.plot(ends, ends, color="gray", linestyle="--")
    ax.set(xlabel="predicted", ylabel="measured", title=f"held out: $R^2$ = {score:.3f}")


if __name__ == "__main__":
    main()
