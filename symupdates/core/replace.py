"""Expressions with other variables in the place of some."""

from copy import copy

from pytensor.graph.basic import Apply
from pytensor.graph.traversal import toposort


def replaced(expressions, replacements):
    """Expressions in which variables are replaced: a list.

    In time linear in the graph, where :func:`~pytensor.graph.replace.graph_replace` asks of each variable whether it
    depends on each replacement. What depends on none stays the same variables, and replacements are taken as they are:
    one may contain a variable that another replaces.

    Parameters
    ----------
    expressions : list of variables
    replacements : dict
        Variables, and what stands in their place: of the same types, or of more specific ones.
    """
    new = {x: x.type.filter_variable(value) for x, value in replacements.items()}
    for node in toposort(expressions, blockers=new):
        if not any(x in new for x in node.inputs):
            continue
        inputs = [new.get(x, x) for x in node.inputs]
        if all(x.type == value.type for x, value in zip(node.inputs, inputs, strict=True)):
            outputs = Apply(node.op, inputs, [x.clone() for x in node.outputs]).outputs
        else:
            outputs = node.clone_with_new_inputs(inputs).outputs
            for x, value in zip(node.outputs, outputs, strict=True):
                value.name, value.tag = x.name, copy(x.tag)
        for x, value in zip(node.outputs, outputs, strict=True):
            new.setdefault(x, value)
    return [new.get(x, x) for x in expressions]
