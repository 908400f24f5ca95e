"""Noise on the gradient: optax, made to draw the numbers that symupdates.random draws."""

from itertools import count
from unittest.mock import patch

from golden.common import RATES, case
from oracles.sampling import normals


def run_optax(peer, arguments, p, grads):
    """As for other rules, with the normal numbers of our generator in the place of JAX's; the key is the seed."""
    import jax.numpy as jnp
    import optax
    from golden.generate import run_optax

    drawn = normals(p, arguments["key"], stream=0, place=None)
    sigma = count()

    def random_like(key, target_tree, sampler):
        next(sigma)
        return jnp.asarray(next(drawn)[0])

    with patch.object(optax.tree, "random_like", random_like):
        yield from run_optax(peer, arguments, p, grads)
    if next(sigma) != len(grads):
        raise RuntimeError("optax did not draw its numbers where this expects it")


def optax_cases():
    for rate, eta, gamma, seed in [(0.1, 0.01, 0.55, 0), (0.05, 0.3, 1.0, 7), (RATES, 1.0, 0.0, 1)]:
        hyper = {"learning_rate": rate, "eta": eta, "gamma": gamma, "seed": seed}
        arguments = {"learning_rate": rate, "eta": eta, "gamma": gamma, "key": seed}
        yield case("noisy_sgd", hyper, "noisy_sgd", arguments)
