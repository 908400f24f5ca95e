"""The program that an updates dict stands in: everything that a step moves, whose each thing is, and its name.

A compiled function moves more than the keys of the dict: the generators of the model's dropout, the averages of its
batch normalisation. Checkpoints, gates, loops, meshes and summaries find them here.
"""

from collections import OrderedDict, defaultdict

from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.random.type import RandomType

from symupdates.core.checks import as_updates
from symupdates.core.hyper import hyper_tags, hyper_tags_by_key
from symupdates.core.names import free_name, parameter_names
from symupdates.core.reading import unseen
from symupdates.core.state import is_state


def moved(updates, outputs=()):
    """Everything that a step moves, and its next value: the updates, and then what the model around them moves itself.

    That is what the updates, the losses that they were derived from, and the outputs read of

    * shared variables with a default update, which :func:`pytensor.function` applies;
    * those that an Op of the model writes, by its ``update_map``, as the layers of pytensor-ml do for their statistics:
      its ``compile_train`` applies these;
    * random generators, which PyMC's and pytensor-ml's functions advance. Where nothing tells how, the next value is
      the generator itself.

    Parameters
    ----------
    updates : dict
        Shared variables and their next values.
    outputs : sequence of variables
        What else the function computes.

    Returns
    -------
    OrderedDict
        Shared variables and their next values: the keys first, in their order.
    """
    found, seen = OrderedDict(updates), set()
    unread = [*outputs, *(x for x in updates.values() if isinstance(x, Variable))]
    while unread:
        new, unread = unseen(unread, seen), []
        for variable, value in moved_by_the_model(new).items():
            if variable not in found:
                found[variable] = value
                unread.append(value)
    return found


def everything(function, updates):
    """Everything that a step moves; or the shared variables of a list, where one is given in the place of updates."""
    return list(moved(as_updates(function, updates)))


def moved_by_the_model(variables):
    """What the model moves of the shared variables among these, and by the Ops that compute the others."""
    found, times = {}, {}
    for v in variables:
        if isinstance(v, SharedVariable) and v.default_update is not None:
            found[v] = v.default_update
        elif isinstance(v, SharedVariable) and isinstance(v.type, RandomType):
            found[v] = v
        elif v.owner:
            for place in update_map(v.owner):
                value = v.owner.outputs[place]
                variable, n = written(value)
                if isinstance(variable, SharedVariable) and n > times.get(variable, 0):
                    found[variable], times[variable] = value, n
    return found


def update_map(node):
    """For each output that is the next value of an input, by what the Op says of itself, which input."""
    return getattr(node.op, "update_map", dict)()


def written(value):
    """What an Op's output is the next value of, and the number of Ops that have made it so, one after the other."""
    n = 0
    while value.owner and (place := update_map(value.owner).get(value.owner.outputs.index(value))) is not None:
        value, n = value.owner.inputs[place], n + 1
    return value, n


def key_names(updates):
    """Names for the keys that are not state, as :func:`~symupdates.core.names.parameter_names` gives them."""
    own = [v for v in updates if not is_state(v)]
    return dict(zip(own, parameter_names(own), strict=True))


def names_of(updates):
    """The name of everything that a step moves, all different: a dict of variables and names, in order.

    Names are of the dict: those of the keys do not depend on what is added behind them, nor on the names that state was
    given when it was made, in another dict.
    """
    names, labels, taken = key_names(updates), labels_of(updates), set()
    names = {v: free_name(name, taken) for v, name in names.items()}
    found = moved(updates)
    for v in found:
        if v not in names:
            names[v] = free_name(state_name(v, names, labels) if is_state(v) else v.name or "model", taken)
    return {v: names[v] for v in found}


def state_name(v, names, labels):
    tag = v.tag.symupdates
    label = labels[tag.parameter, tag.call]
    if tag.parameter is None:
        return f"{label}/{tag.slot}"
    # Of a parameter that is no key, as where a rule only looks at it, the name that the state was made with.
    return f"{names[tag.parameter]}/{label}/{tag.slot}" if tag.parameter in names else v.name


def labels_of(updates):
    """The part of the names that says by what call a thing was made: its rule, numbered where there are several.

    In a dict, for a parameter and a call of which there is state for it; and for None and a call, which is for what
    belongs to the call as a whole, where groups that have names stand before the rule. They are numbered in the order
    in which their calls ended, so that a stage behind takes no name of one before it.
    """
    names = {}
    for v, of_value in zip(updates, hyper_tags_by_key(updates), strict=True):
        of_key = [v.tag.symupdates] if is_state(v) else []
        names |= {(tag.parameter, tag.call): tag.rule for tag in of_key if tag.parameter is not None}
        names |= {(None, tag.call): tag.call.name for tag in (*of_key, *of_value.values())}
    labels, taken = {}, defaultdict(set)
    for parameter, call in sorted(names, key=lambda of: of[1].place):
        labels[parameter, call] = free_name(names[parameter, call], taken[parameter])
    return labels


def named_hyper_tags(updates):
    """The tags of the hyper-parameters of an updates dict, by name: by rule, in the order of the arguments."""
    labels = labels_of(updates)
    tags = dict.fromkeys(hyper_tags(updates).values())
    tags = sorted(tags, key=lambda tag: (tag.call.name, tag.call.place, tag.position))
    return {f"{labels[None, tag.call]}/{tag.name}": tag for tag in tags}
