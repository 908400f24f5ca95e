"""An LSTM for sequences of words, with Adadelta by hand: gradients are parked in shared variables, and applied by a
second function."""
from __future__ import print_function

from collections import OrderedDict

import numpy
import theano
from theano import config
import theano.tensor as tensor


def numpy_floatX(data):
    return numpy.asarray(data, dtype=config.floatX)


def init_params(n_words, dim, ydim, seed=3):
    rng = numpy.random.RandomState(seed)
    params = OrderedDict()
    params['Wemb'] = rng.normal(size=(n_words, dim))
    params['lstm_W'] = rng.normal(size=(dim, 4 * dim))
    params['lstm_U'] = rng.normal(size=(dim, 4 * dim))
    params['lstm_b'] = 0.1 * rng.normal(size=4 * dim)
    params['U'] = rng.normal(size=(dim, ydim))
    params['b'] = numpy.zeros(ydim)
    return OrderedDict((k, v.astype(config.floatX)) for k, v in params.items())


def init_tparams(params):
    tparams = OrderedDict()
    for kk, pp in params.items():
        tparams[kk] = theano.shared(params[kk], name=kk)
    return tparams


def lstm_layer(tparams, state_below, dim, mask):
    nsteps = state_below.shape[0]
    n_samples = state_below.shape[1]

    def _slice(_x, n, dim):
        return _x[:, n * dim:(n + 1) * dim]

    def _step(m_, x_, h_, c_):
        preact = tensor.dot(h_, tparams['lstm_U'])
        preact += x_
        i = tensor.nnet.sigmoid(_slice(preact, 0, dim))
        f = tensor.nnet.sigmoid(_slice(preact, 1, dim))
        o = tensor.nnet.sigmoid(_slice(preact, 2, dim))
        c = tensor.tanh(_slice(preact, 3, dim))
        c = f * c_ + i * c
        c = m_[:, None] * c + (1. - m_)[:, None] * c_
        h = o * tensor.tanh(c)
        h = m_[:, None] * h + (1. - m_)[:, None] * h_
        return h, c

    state_below = tensor.dot(state_below, tparams['lstm_W']) + tparams['lstm_b']
    rval, updates = theano.scan(_step,
                                sequences=[mask, state_below],
                                outputs_info=[tensor.alloc(numpy_floatX(0.), n_samples, dim),
                                              tensor.alloc(numpy_floatX(0.), n_samples, dim)],
                                name='lstm_layers',
                                n_steps=nsteps)
    return rval[0]


def build_model(tparams, dim):
    x = tensor.matrix('x', dtype='int64')
    mask = tensor.matrix('mask', config.floatX)
    y = tensor.vector('y', dtype='int64')
    n_timesteps = x.shape[0]
    n_samples = x.shape[1]
    emb = tparams['Wemb'][x.flatten()].reshape([n_timesteps, n_samples, dim])
    proj = lstm_layer(tparams, emb, dim, mask)
    proj = (proj * mask[:, :, None]).sum(axis=0)
    proj = proj / mask.sum(axis=0)[:, None]
    pred = tensor.nnet.softmax(tensor.dot(proj, tparams['U']) + tparams['b'])
    cost = -tensor.log(pred[tensor.arange(n_samples), y] + 1e-8).mean()
    return x, mask, y, cost


def adadelta(tparams, grads, x, mask, y, cost):
    zipped_grads = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_grad' % k)
                    for k, p in tparams.items()]
    running_up2 = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_rup2' % k)
                   for k, p in tparams.items()]
    running_grads2 = [theano.shared(p.get_value() * numpy_floatX(0.), name='%s_rgrad2' % k)
                      for k, p in tparams.items()]

    zgup = [(zg, g) for zg, g in zip(zipped_grads, grads)]
    rg2up = [(rg2, 0.95 * rg2 + 0.05 * (g ** 2)) for rg2, g in zip(running_grads2, grads)]
    f_grad_shared = theano.function([x, mask, y], cost, updates=zgup + rg2up,
                                    name='adadelta_f_grad_shared')

    updir = [-tensor.sqrt(ru2 + 1e-6) / tensor.sqrt(rg2 + 1e-6) * zg
             for zg, ru2, rg2 in zip(zipped_grads, running_up2, running_grads2)]
    ru2up = [(ru2, 0.95 * ru2 + 0.05 * (ud ** 2)) for ru2, ud in zip(running_up2, updir)]
    param_up = [(p, p + ud) for p, ud in zip(tparams.values(), updir)]
    f_update = theano.function([], [], updates=ru2up + param_up,
                               on_unused_input='ignore', name='adadelta_f_update')
    return f_grad_shared, f_update, zipped_grads


dim = 2
params = init_params(5, dim, 3)
tparams = init_tparams(params)
x, mask, y, cost = build_model(tparams, dim)
grads = tensor.grad(cost, wrt=list(tparams.values()))
f_grad_shared, f_update, parked = adadelta(tparams, grads, x, mask, y, cost)

batch_x = numpy.array([[0, 3, 1], [2, 4, 1], [1, 0, 2]], dtype='int64')
batch_mask = numpy_floatX([[1, 1, 1], [1, 1, 1], [1, 0, 1]])
batch_y = numpy.array([0, 2, 1], dtype='int64')

costs, first_grads = [], None
for update in range(4):
    costs.append(float(f_grad_shared(batch_x, batch_mask, batch_y)))
    if first_grads is None:
        first_grads = [g.get_value() for g in parked]
    f_update()
    print('update %d: cost %.6f' % (update + 1, costs[-1]))
