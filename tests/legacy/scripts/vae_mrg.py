"""A variational autoencoder, linear, with two latent variables, on data that have two factors."""
from __future__ import print_function

from collections import OrderedDict

import numpy as np
import theano
import theano.tensor as T
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams

from lasagne.updates import adam

floatX = theano.config.floatX


def shared_zeros(*shape, **kwargs):
    return theano.shared(np.zeros(shape, dtype=floatX), **kwargs)


class VAE(object):
    def __init__(self, n_in, n_latent, rng, srng):
        self.n_latent = n_latent
        self.srng = srng
        self.params = OrderedDict()
        for name, shape in [('W_mu', (n_in, n_latent)), ('W_x', (n_latent, n_in))]:
            value = rng.normal(0, 0.5, shape).astype(floatX)
            self.params[name] = theano.shared(value, name=name)
        self.params['log_std'] = shared_zeros(n_latent, name='log_std')
        self.params['log_sigma'] = theano.shared(np.asarray(0., dtype=floatX), name='log_sigma')

    def lower_bound(self, x):
        p = self.params
        mu = T.dot(x, p['W_mu'])
        log_std = p['log_std']
        eps = self.srng.normal((x.shape[0], self.n_latent), avg=0.0, std=1.0, dtype=floatX)
        z = mu + T.exp(log_std) * eps
        x_mean = T.dot(z, p['W_x'])
        kl = -0.5 * T.sum(1 + 2 * log_std - T.sqr(mu) - T.exp(2 * log_std), axis=1)
        logpx = T.sum(-0.5 * np.log(2 * np.pi) - p['log_sigma'] -
                      0.5 * T.sqr(x - x_mean) * T.exp(-2 * p['log_sigma']), axis=1)
        return T.mean(logpx - kl)


def make_data(n=60):
    rng = np.random.RandomState(1)
    W = np.array([[2.0, 1.0, 0.0, -1.0], [0.0, 1.0, -1.5, 0.5]])
    X = np.dot(rng.normal(size=(n, 2)), W) + 0.5 * rng.normal(size=(n, 4))
    return (X - X.mean(axis=0)).astype(floatX)


X = make_data()
srng = RandomStreams(seed=234)
model = VAE(4, 2, np.random.RandomState(2), srng)
data = theano.shared(X, borrow=True)
x = T.matrix('x')
rate = theano.shared(np.asarray(0.1, dtype=floatX))
bound = model.lower_bound(x)
updates = adam(-bound, list(model.params.values()), learning_rate=rate)
train = theano.function([], bound, updates=updates, givens={x: data})
evaluate = theano.function([], bound, givens={x: data})

for epoch in range(6):
    bounds = [train() for _ in range(60)]
    print('epoch %d: lower bound %.4f' % (epoch + 1, np.mean(bounds)))
    rate.set_value(np.asarray(rate.get_value() * 0.5, dtype=floatX))
final = np.mean([evaluate() for _ in range(50)])
print('lower bound %.4f' % final)
