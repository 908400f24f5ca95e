#!/usr/bin/env python
"""A multi-layer perceptron in Lasagne, on three clouds of points.

Usage: mlp_lasagne.py [EPOCHS [MODEL_FILE]]
"""
from __future__ import print_function

import os
import sys

import lasagne
import numpy as np
import theano
import theano.tensor as T


def load_dataset(n=120):
    rng = np.random.RandomState(0)
    y = rng.randint(0, 3, n).astype('int32')
    X = rng.normal(size=(n, 4)) + np.eye(3, 4)[y] * 2
    return X.astype(theano.config.floatX), y


def build_mlp(input_var=None):
    l_in = lasagne.layers.InputLayer(shape=(None, 4), input_var=input_var)
    l_hid = lasagne.layers.DenseLayer(
        l_in, num_units=5, nonlinearity=lasagne.nonlinearities.rectify,
        W=lasagne.init.GlorotUniform())
    l_out = lasagne.layers.DenseLayer(
        l_hid, num_units=3, nonlinearity=lasagne.nonlinearities.softmax)
    return l_out


def iterate_minibatches(inputs, targets, batchsize):
    for start_idx in range(0, len(inputs) - batchsize + 1, batchsize):
        yield inputs[start_idx:start_idx + batchsize], targets[start_idx:start_idx + batchsize]


def main(num_epochs=3, filename=None):
    X_train, y_train = load_dataset()
    input_var = T.matrix('inputs')
    target_var = T.ivector('targets')

    network = build_mlp(input_var)
    start = lasagne.layers.get_all_param_values(network)

    prediction = lasagne.layers.get_output(network)
    loss = lasagne.objectives.categorical_crossentropy(prediction, target_var)
    loss = loss.mean()
    penalty = lasagne.regularization.regularize_network_params(network, lasagne.regularization.l2)
    loss = loss + 1e-2 * penalty

    params = lasagne.layers.get_all_params(network, trainable=True)
    updates = lasagne.updates.nesterov_momentum(loss, params, learning_rate=0.1, momentum=0.9)

    test_prediction = lasagne.layers.get_output(network, deterministic=True)
    test_acc = T.mean(T.eq(T.argmax(test_prediction, axis=1), target_var),
                      dtype=theano.config.floatX)

    train_fn = theano.function([input_var, target_var], loss, updates=updates)
    val_fn = theano.function([input_var, target_var], test_acc)

    losses = []
    for epoch in range(num_epochs):
        train_err = 0
        for batch in iterate_minibatches(X_train, y_train, 40):
            train_err += train_fn(*batch)
        losses.append(float(train_err) / 3)
        print("epoch %d: training loss %.6f" % (epoch + 1, losses[-1]))
    accuracy = float(val_fn(X_train, y_train))
    print("accuracy %.2f %%" % (accuracy * 100))
    if filename:
        np.savez(filename, *lasagne.layers.get_all_param_values(network))
    return start, losses, accuracy


if __name__ == '__main__':
    np.random.seed(42)
    kwargs = {}
    if len(sys.argv) > 1:
        kwargs['num_epochs'] = int(sys.argv[1])
    if len(sys.argv) > 2:
        kwargs['filename'] = os.path.expanduser(sys.argv[2])
    start, losses, accuracy = main(**kwargs)
