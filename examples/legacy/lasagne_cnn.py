#!/usr/bin/env python

"""
A convolutional network for handwritten digits, in Lasagne, as its own example for MNIST has it.

    python -m symupdates.theano lasagne_cnn.py [EPOCHS [FOLDER]]

Without a folder with the files of MNIST it takes scikit-learn's digits, three times as large and with a margin.
"""

from __future__ import print_function

import gzip
import os
import sys
import time

import numpy as np
import theano
import theano.tensor as T

import lasagne


# ############################ The data #####################################

def load_dataset(folder=None):
    if folder is None:
        from sklearn.datasets import load_digits
        X, y = load_digits(return_X_y=True)
        order = np.random.RandomState(1234).permutation(len(X))
        X = np.kron(X[order].reshape(-1, 8, 8) / 16, np.ones((3, 3)))
        X = np.pad(X, [(0, 0), (2, 2), (2, 2)], mode='constant')
        y, train, val = y[order], 1400, 1500
    else:
        def load(name, offset):
            with gzip.open(os.path.join(folder, name), 'rb') as f:
                return np.frombuffer(f.read(), np.uint8, offset=offset)

        X = np.concatenate([load(part + '-images-idx3-ubyte.gz', 16)
                            for part in ('train', 't10k')])
        X = X.reshape(-1, 28, 28) / np.float32(256)
        y = np.concatenate([load(part + '-labels-idx1-ubyte.gz', 8)
                            for part in ('train', 't10k')])
        train, val = 50000, 60000
    X, y = X[:, np.newaxis].astype(theano.config.floatX), y.astype('int32')
    return X[:train], y[:train], X[train:val], y[train:val], X[val:], y[val:]


# ############################ The network ##################################

def build_cnn(input_var=None, drop=0):
    network = lasagne.layers.InputLayer(shape=(None, 1, 28, 28),
                                        input_var=input_var)
    for _ in range(2):
        # 32 kernels of size 5x5, and max-pooling of factor 2 in both dimensions
        network = lasagne.layers.Conv2DLayer(
            network, num_filters=32, filter_size=(5, 5),
            nonlinearity=lasagne.nonlinearities.rectify,
            W=lasagne.init.GlorotUniform())
        network = lasagne.layers.MaxPool2DLayer(network, pool_size=(2, 2))
    if drop:
        network = lasagne.layers.dropout(network, p=drop)
    network = lasagne.layers.DenseLayer(
        network, num_units=256, nonlinearity=lasagne.nonlinearities.rectify)
    if drop:
        network = lasagne.layers.dropout(network, p=drop)
    return lasagne.layers.DenseLayer(
        network, num_units=10, nonlinearity=lasagne.nonlinearities.softmax)


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

def main(num_epochs=5, folder=None):
    X_train, y_train, X_val, y_val, X_test, y_test = load_dataset(folder)
    batchsize, learning_rate = (25, 0.05) if folder is None else (500, 0.01)
    np.random.seed(1234)
    lasagne.random.set_rng(np.random.RandomState(42))

    input_var = T.tensor4('inputs')
    target_var = T.ivector('targets')
    network = build_cnn(input_var)

    prediction = lasagne.layers.get_output(network)
    loss = lasagne.objectives.categorical_crossentropy(prediction, target_var)
    loss = loss.mean()
    params = lasagne.layers.get_all_params(network, trainable=True)
    updates = lasagne.updates.nesterov_momentum(
        loss, params, learning_rate=learning_rate, momentum=0.9)

    test_prediction = lasagne.layers.get_output(network, deterministic=True)
    test_loss = lasagne.objectives.categorical_crossentropy(
        test_prediction, target_var).mean()
    test_acc = T.mean(T.eq(T.argmax(test_prediction, axis=1), target_var),
                      dtype=theano.config.floatX)

    train_fn = theano.function([input_var, target_var], loss, updates=updates)
    val_fn = theano.function([input_var, target_var], [test_loss, test_acc])

    def evaluate(X, y):
        size = min(len(X), 500)
        return np.mean([val_fn(*batch)
                        for batch in iterate_minibatches(X, y, size)], axis=0)

    history = []
    for epoch in range(num_epochs):
        start_time = time.time()
        train_err, batches = 0, 0
        for batch in iterate_minibatches(X_train, y_train, batchsize,
                                         shuffle=True):
            train_err += train_fn(*batch)
            batches += 1
        val_err, val_acc = evaluate(X_val, y_val)
        history.append((train_err / batches, val_err))
        print("Epoch {} of {} took {:.3f}s".format(
            epoch + 1, num_epochs, time.time() - start_time))
        print("  training loss:\t\t{:.6f}".format(train_err / batches))
        print("  validation loss:\t\t{:.6f}".format(float(val_err)))
        print("  validation accuracy:\t\t{:.2f} %".format(val_acc * 100))

    test_err, test_acc = evaluate(X_test, y_test)
    print("Final results:")
    print("  test loss:\t\t\t{:.6f}".format(float(test_err)))
    print("  test accuracy:\t\t{:.2f} %".format(test_acc * 100))
    return history


if __name__ == '__main__':
    main(*[int(sys.argv[1])] + sys.argv[2:] if sys.argv[1:] else [])
