"""What no name tells: momentum without parameters, gradients that are zero, loops over all keys, conditions."""

import libcst as cst
import libcst.matchers as m
from libcst.helpers import get_full_name_for_node

import symupdates
from symupdates.port.facts import EVERY_KEY, FLAGS, MOMENTUM, NO_GRADIENT, TRUTH, is_under, under_theano
from symupdates.port.syntax import argument, text_of, walk
from symupdates.theano.names import CHANGES

CASTS = {"theano.tensor.cast", "theano.tensor.astype"}


def momentum(script, call):
    """Momentum on an updates dict, of which the parameters are not given."""
    given = argument(call, "updates", 0) is not None
    if given and argument(call, "params", 1) is None and not any(arg.star for arg in call.args):
        script.find(call, "silent", MOMENTUM, now=text_of(call)[:-1] + ", params=params)")


def differentiate(script, call):
    """Look in what is differentiated for what no gradient passes."""
    name = under_theano(script.function_of(call) or "")
    last = name.rpartition(".")[2]
    is_rule = is_under(name, "lasagne.updates") or (is_under(name, "symupdates") and last in symupdates.__all__)
    if not is_rule and name not in {"theano.grad", "theano.tensor.grad", "theano.gradient.grad"}:
        return
    loss = argument(call, "loss_or_grads" if is_rule else "cost", 0)
    if loss is None or last.startswith(("apply_", "norm_", "total_norm")):
        return
    seen, unread = set(), [loss]
    while unread:
        node = unread.pop()
        if isinstance(node, cst.Name | cst.Attribute):
            key = get_full_name_for_node(node)
            if key in script.values and key not in seen:
                seen.add(key)
                unread += [v for v in script.values[key] if v is not None]
            elif isinstance(node, cst.Attribute):
                unread.append(node.value)
            continue
        if isinstance(node, cst.Subscript):
            unread.append(node.value)  # what selects is not differentiated
            continue
        if isinstance(node, cst.Call):
            functions, _ = script.applied(node)
            to = argument(node, "dtype", 0 if "theano.tensor.astype" in functions else 1) if functions & CASTS else None
            whole = to is not None and text_of(to).strip("'\"").startswith(("int", "uint"))
            if whole or "theano.tensor.argmax" in functions:
                if not any(f.why is NO_GRADIENT and f.legacy == text_of(node) for f in script.findings):
                    script.find(node, "silent", NO_GRADIENT, now="nothing that is differentiated")
                continue
            if any(name.endswith("crossentropy") for name in functions):
                unread += [arg.value for arg in node.args[:1]]
                continue
            if any(name.endswith(("switch", "arange")) for name in functions):
                unread += [arg.value for arg in node.args[1:]]
                continue
        unread += [child for child in node.children if not isinstance(child, cst.Annotation)]


def flags(script, node):
    if node.raw_value == "THEANO_FLAGS":
        quoted = node.value.replace("THEANO_FLAGS", "PYTENSOR_FLAGS")
        script.find(node, "silent", FLAGS, lambda updated: updated.with_changes(value=quoted))


def walk_keys(script, loop):
    """A loop over the keys of an updates dict that tells weights by their number of axes."""
    over = loop.iter
    while isinstance(over, cst.Call):
        keys = isinstance(over.func, cst.Attribute) and over.func.attr.value in {"keys", "items"}
        if keys:
            over = over.func.value
        elif text_of(over.func) in {"list", "tuple", "sorted"} and len(over.args) == 1:
            over = over.args[0].value
        else:
            return
    made = any(
        isinstance(v, cst.Call) and is_under(script.function_of(v) or "", root)
        for v in script.values_of(over)
        for root in ("lasagne.updates", "symupdates")
    )
    if not made and "updates" not in (get_full_name_for_node(over) or "").lower():
        return
    where = loop.body if isinstance(loop, cst.For) else script.parents[loop]
    for node in walk(where):
        name = script.function_of(node) if isinstance(node, cst.Call) else None
        if name in {"lasagne.updates.norm_constraint", "symupdates.norm_constraint"} or m.matches(
            node, m.Attribute(attr=m.Name("ndim"))
        ):
            target = text_of(loop.target)
            header = f"for {target} in {text_of(loop.iter)}"
            script.find(loop, "silent", EVERY_KEY, now="for p in params", legacy=header)
            return


def default_update(script, node):
    """Default updates of shared variables."""
    for target in (each.target for each in node.targets):
        if script.written_for_graphs and m.matches(target, m.Attribute(attr=m.Name("default_update"))):
            row = CHANGES["theano.compile.SharedVariable.default_update"]
            script.find(node, "changed", row.note, now=row.pytensor, legacy=text_of(target))


def truth(script, node):
    """Symbolic variables in conditions."""
    if isinstance(node, cst.If | cst.While | cst.IfExp | cst.Assert | cst.CompIf):
        tests = [node.test]
    elif isinstance(node, cst.BooleanOperation):
        tests = [node.left, node.right]
    elif isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        tests = [node.expression]
    else:
        return
    for test in tests:
        if isinstance(test, cst.Name) and may_be_none(script, test):
            script.find(test, "changed", f"If a symbolic variable comes in: {TRUTH}", now=f"{test.value} is not None")
        elif script.is_symbolic(test) and not m.matches(test, m.UnaryOperation(operator=m.Not())):
            named = isinstance(test, cst.Name | cst.Attribute)
            now = f"{text_of(test)} is not None" if named else "T.switch(condition, one, other)"
            script.find(test, "changed", TRUTH, now=now)


def may_be_none(script, name):
    """Whether it is an argument whose default is None, in a script of Theano's."""
    if not script.written_for_graphs:
        return False
    node = name
    while not isinstance(node, cst.Module):
        node = script.parents[node]
        if isinstance(node, cst.FunctionDef):
            for param in (*node.params.params, *node.params.kwonly_params):
                if param.name.value == name.value:
                    return param.default is not None and text_of(param.default) == "None"
    return False
