"""What rules ask of a model beside its loss: the outputs that it is a function of, and the distance that F measures."""

from __future__ import annotations

import pymc as pm
import pytensor.tensor as pt
from pymc.variational.minibatch_rv import MinibatchRandomVariable, get_scaling
from pytensor.compile.ops import ViewOp
from pytensor.gradient import disconnected_grad
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.scalar.math import Sigmoid
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random import basic
from pytensor.tensor.special import Softmax, log_softmax

from symupdates.core.replace import replaced


def in_values(graphs, model, values):
    """Expressions of a model's random variables as expressions of what stands for its value variables."""
    return replaced(model.replace_rvs_by_values(graphs), values)


def loss_of_outputs(model, values, jacobian, names):
    """The negative log-probability, and the variables in it through which the likelihoods depend on the parameters.

    Parameters
    ----------
    model, values, jacobian
        As for :func:`negative_logp`. It is the same number.
    names : str, variable, or list or tuple of them
        The outputs.
    """
    names = list(names) if isinstance(names, list | tuple) else [names]
    outputs = [named(model, name) for name in names]
    direct = {rv: set(ancestors([rv], blockers=model.free_RVs)) for rv in model.observed_RVs}
    unread = [str(z) for z in outputs if not any(z in read for read in direct.values())]
    if unread or not outputs:
        raise ValueError(
            f"map_estimate: outputs: no likelihood is a function of {', '.join(unread) or 'none'}; give "
            "what the observed variables are distributed around, such as the mean or the logits."
        )
    likelihoods = [rv for rv, read in direct.items() if not read.isdisjoint(outputs)]
    # PyMC simplifies what a log-probability is derived of, and would leave no output in it that has an expression.
    known = {v: v.type() for v in [*model.free_RVs, *outputs]}
    clones = zip(likelihoods, replaced(likelihoods, known), strict=True)
    terms = [pm.logp(clone, model.rvs_to_values[rv]).sum() for rv, clone in clones]
    there = dict(zip(known.values(), in_values(list(known), model, values), strict=True))
    others = [v for v in [*model.basic_RVs, *model.potentials] if v not in likelihoods]
    [rest] = replaced([model.logp(others, jacobian=jacobian)], values)
    return -sum(replaced(terms, there), rest), [there[known[z]] for z in outputs]


def named(model, name):
    """The variable of a model that has a name, be it one of PyMC's or of PyTensor's."""
    if isinstance(name, Variable):
        return name
    if not isinstance(name, str):
        raise TypeError(f"map_estimate: outputs must be names or variables of the model, not {name!r}.")
    if name in model.named_vars:
        return model.named_vars[name]
    found = [v for v in ancestors([*model.basic_RVs, *model.potentials]) if v.name == name]
    if len(found) != 1:
        raise ValueError(
            f"map_estimate: outputs: {len(found) or 'no'} variables of the model are called {name}. Make one of them "
            f"a pm.Deterministic; it has {', '.join(v.name for v in model.deterministics) or 'none'}."
        )
    return found[0]


def divergence(model, values, params):
    r"""The Kullback-Leibler divergence of the likelihoods from what they are now, of all observed data together.

    Parameters
    ----------
    model, values
        As for :func:`negative_logp`.
    params : list of shared variables
        Those of the values that are estimated.
    """
    if not model.observed_RVs:
        raise ValueError("map_estimate: the model has no likelihood; give natural_gradient its divergence.")
    return sum(divergence_of(rv, model, values, params) for rv in model.observed_RVs)


def divergence_of(rv, model, values, params):
    op, scale, data = rv.owner.op, 1, model.rvs_to_values[rv]
    node = rv.owner
    if isinstance(op, MinibatchRandomVariable):
        inner, *total_size = node.inputs
        node, scale = inner.owner, get_scaling(total_size, data.shape)
    family = next((f for kind, f in FAMILIES.items() if isinstance(node.op, kind)), None)
    if family is None:
        raise ValueError(
            f"map_estimate: no divergence is known in closed form for {rv.name}, of {type(node.op).__name__}; there "
            f"are those of {', '.join(kind.__name__ for kind in FAMILIES)}. Give natural_gradient its divergence, or "
            "take gauss_newton, with outputs."
        )
    coordinates, between, is_count = family
    new = in_values(coordinates(*node.op.dist_params(node)), model, values)
    if is_count and not set(ancestors(new[:1])).isdisjoint(params):
        raise ValueError(
            f"map_estimate: the divergence of {rv.name} is known for an n that is given, not for one that is "
            "estimated; hold it by vars, or give natural_gradient its divergence."
        )
    each = between([disconnected_grad(pt.as_tensor(x)) for x in new], new)
    return scale * (each + pt.zeros_like(data, dtype=each.dtype)).sum()


# --- For each family: coordinates that do not saturate, the divergence in them, and whether the first is a number n ---


def plain(x):
    while x.owner and isinstance(x.owner.op, ViewOp):
        x = x.owner.inputs[0]
    return x


def one_for_zero(x):
    """What is zero by the data, as it is without exposure, has no logarithm, and adds nothing to a divergence."""
    return pt.switch(pt.eq(x, 0), pt.ones_like(x), x)


def log_odds(p):
    p = plain(p)
    if p.owner and isinstance(p.owner.op, Elemwise) and isinstance(p.owner.op.scalar_op, Sigmoid):
        return p.owner.inputs[0]
    return pt.log(p) - pt.log1p(-p)


def log_probabilities(p):
    p = plain(p)
    if p.owner and isinstance(p.owner.op, Softmax):
        return log_softmax(p.owner.inputs[0], axis=p.owner.op.axis)
    return pt.log(one_for_zero(p))


def of_normals(old, new):
    (m0, s0), (m, s) = old, new
    return pt.log(s / s0) + (s0**2 + (m - m0) ** 2) / (2 * s**2) - 0.5


def of_poissons(old, new):
    (mu0,), (mu,) = old, new
    return mu0 * pt.log(one_for_zero(mu0) / one_for_zero(mu)) - mu0 + mu


def of_bernoullis(old, new):
    (z0,), (z,) = old, new
    return pt.sigmoid(z0) * (z0 - z) + pt.softplus(z) - pt.softplus(z0)


def of_categoricals(old, new):
    (logp0,), (logp,) = old, new
    return (pt.exp(logp0) * (logp0 - logp)).sum(axis=-1)


def of_binomials(old, new):
    (n, z0), (_, z) = old, new
    return n * of_bernoullis([z0], [z])


def of_negative_binomials(old, new):
    (n, z0), (_, z) = old, new
    return n * (pt.softplus(-z) - pt.softplus(-z0) + pt.exp(-z0) * (pt.softplus(z) - pt.softplus(z0)))


FAMILIES = {
    basic.NormalRV: (lambda mu, sigma: [mu, sigma], of_normals, False),
    basic.PoissonRV: (lambda mu: [mu], of_poissons, False),
    basic.BernoulliRV: (lambda p: [log_odds(p)], of_bernoullis, False),
    basic.CategoricalRV: (lambda p: [log_probabilities(p)], of_categoricals, False),
    basic.BinomialRV: (lambda n, p: [n, log_odds(p)], of_binomials, True),
    basic.NegBinomialRV: (lambda n, p: [n, log_odds(p)], of_negative_binomials, True),
}
