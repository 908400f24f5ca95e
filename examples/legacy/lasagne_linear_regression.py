#!/usr/bin/env python

"""
A line through noisy points, in Lasagne, as such demonstrations were written for Python 2 and 3.

    python -m symupdates.theano lasagne_linear_regression.py [EPOCHS]
"""

from __future__ import print_function

import sys

import numpy as np
import theano
import theano.tensor as T

from lasagne.init import Constant
from lasagne.layers import DenseLayer, InputLayer, get_all_params, get_output
from lasagne.objectives import squared_error
from lasagne.updates import adagrad


def make_data():
    rng = np.random.RandomState(0)
    x = rng.uniform(-1, 1, (100, 1)).astype(theano.config.floatX)
    noise = rng.normal(0, 0.3, (100, 1)).astype(theano.config.floatX)
    return x, 2 * x + noise


def main(num_epochs=5):
    x_data, y_data = make_data()
    x, y = T.matrix('x'), T.matrix('y')
    network = DenseLayer(InputLayer((None, 1), x), num_units=1, W=Constant(0.),
                         nonlinearity=None)
    loss = squared_error(get_output(network), y).mean()
    params = get_all_params(network)
    updates = adagrad(loss, params, learning_rate=0.2)
    train_fn = theano.function([x, y], loss, updates=updates)

    history = []
    for epoch in range(num_epochs):
        for _ in range(20):
            err = train_fn(x_data, y_data)
        history.append((err,))
        print("Epoch {} of {}: loss {:.6f}".format(epoch + 1, num_epochs, float(err)))
    W, b = [p.get_value() for p in params]
    print("y = {:.4f} x + {:.4f}".format(W[0, 0], b[0]))
    return history


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
