#!/usr/bin/env python

"""
A multi-layer perceptron for handwritten digits, in Lasagne, as such scripts were written for Python 2 and 3.

    python -m symupdates.theano lasagne_mlp.py [EPOCHS]
"""

from __future__ import print_function

import sys
import time

import numpy as np
import theano
import theano.tensor as T

import lasagne


# ############################ The data #####################################

def load_dataset():
    from sklearn.datasets import load_digits
    X, y = load_digits(return_X_y=True)
    order = np.random.RandomState(1234).permutation(len(X))
    X = (X[order] / 16).astype(theano.config.floatX)
    y = y[order].astype('int32')
    # A thousand to train with, the rest in halves to validate and to test
    return X[:1000], y[:1000], X[1000:1400], y[1000:1400], X[1400:], y[1400:]


# ############################ The network ##################################

def build_mlp(input_var=None, width=64, drop_input=0, drop_hidden=0):
    network = lasagne.layers.InputLayer(shape=(None, 64), input_var=input_var)
    if drop_input:
        network = lasagne.layers.dropout(network, p=drop_input)
    for _ in range(2):
        network = lasagne.layers.DenseLayer(
            network, width, nonlinearity=lasagne.nonlinearities.rectify)
        if drop_hidden:
            network = lasagne.layers.dropout(network, p=drop_hidden)
    return lasagne.layers.DenseLayer(
        network, 10, nonlinearity=lasagne.nonlinearities.softmax)


# ############################ Minibatches ##################################

def iterate_minibatches(inputs, targets, batchsize, shuffle=False):
    assert len(inputs) == len(targets)
    indices = np.arange(len(inputs))
    if shuffle:
        np.random.shuffle(indices)
    for start in range(0, len(inputs) - batchsize + 1, batchsize):
        excerpt = indices[start:start + batchsize]
        yield inputs[excerpt], targets[excerpt]


# ############################ Training #####################################

def main(num_epochs=5):
    X_train, y_train, X_val, y_val, X_test, y_test = load_dataset()
    np.random.seed(1234)
    lasagne.random.set_rng(np.random.RandomState(42))

    input_var = T.matrix('inputs')
    target_var = T.ivector('targets')
    network = build_mlp(input_var)

    prediction = lasagne.layers.get_output(network)
    loss = lasagne.objectives.categorical_crossentropy(prediction, target_var)
    loss = loss.mean()
    params = lasagne.layers.get_all_params(network, trainable=True)
    updates = lasagne.updates.nesterov_momentum(
        loss, params, learning_rate=0.1, momentum=0.9)

    test_prediction = lasagne.layers.get_output(network, deterministic=True)
    test_loss = lasagne.objectives.categorical_crossentropy(
        test_prediction, target_var).mean()
    test_acc = T.mean(T.eq(T.argmax(test_prediction, axis=1), target_var),
                      dtype=theano.config.floatX)

    train_fn = theano.function([input_var, target_var], loss, updates=updates)
    val_fn = theano.function([input_var, target_var], [test_loss, test_acc])

    history = []
    for epoch in range(num_epochs):
        start_time = time.time()
        train_err, batches = 0, 0
        for batch in iterate_minibatches(X_train, y_train, 100, shuffle=True):
            train_err += train_fn(*batch)
            batches += 1
        val_err, val_acc = val_fn(X_val, y_val)
        history.append((train_err / batches, val_err))
        print("Epoch {} of {} took {:.3f}s".format(
            epoch + 1, num_epochs, time.time() - start_time))
        print("  training loss:\t\t{:.6f}".format(train_err / batches))
        print("  validation loss:\t\t{:.6f}".format(float(val_err)))
        print("  validation accuracy:\t\t{:.2f} %".format(val_acc * 100))

    test_err, test_acc = val_fn(X_test, y_test)
    print("Final results:")
    print("  test loss:\t\t\t{:.6f}".format(float(test_err)))
    print("  test accuracy:\t\t{:.2f} %".format(test_acc * 100))
    return history


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
