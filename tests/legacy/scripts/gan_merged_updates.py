"""A generative adversarial network for numbers: both players in one function, of two dicts of updates merged."""
from __future__ import print_function

from collections import OrderedDict

import numpy as np
import theano
import theano.tensor as T
from theano import config
from lasagne import updates as optim

rng = np.random.RandomState(7)


def param(value, name):
    return theano.shared(np.asarray(value, dtype=config.floatX), name=name, borrow=True)


g_params = [param(0.5, 'g_scale'), param(-1.0, 'g_shift')]
d_params = [param([0.1, -0.05], 'd_w'), param(0.2, 'd_b')]


def generator(noise):
    return g_params[0] * noise + g_params[1]


def discriminator(x):
    features = T.stack(x, x ** 2).T
    return T.nnet.sigmoid(T.dot(features, d_params[0]) + d_params[1])


real, noise = T.vectors('real', 'noise')
p_real = discriminator(real)
p_fake = discriminator(generator(noise))
d_loss = (T.nnet.binary_crossentropy(p_real, T.ones_like(p_real)) +
          T.nnet.binary_crossentropy(p_fake, T.zeros_like(p_fake))).mean()
g_loss = T.nnet.binary_crossentropy(p_fake, T.ones_like(p_fake)).mean()

eta = theano.shared(np.asarray(0.02, dtype=config.floatX), name='eta')
g_updates = optim.adam(loss_or_grads=g_loss, params=g_params, learning_rate=eta, beta1=0.5)
d_updates = optim.adam(loss_or_grads=d_loss, params=d_params, learning_rate=eta, beta1=0.5)
updates = OrderedDict(list(g_updates.items()) + list(d_updates.items()))
updates[eta] = eta * np.asarray(0.99, dtype=config.floatX)

train_fn = theano.function([real, theano.In(noise, borrow=True)], [d_loss, g_loss],
                           updates=updates, allow_input_downcast=True)

batches = [(rng.normal(2.0, 0.7, 16), rng.normal(size=16)) for _ in range(60)]
history = []
for step, batch in enumerate(batches):
    history.append([float(value) for value in train_fn(*batch)])
    if step % 20 == 19:
        print('step %d: discriminator %.4f generator %.4f' % ((step + 1,) + tuple(history[-1])))
