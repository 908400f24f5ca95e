"""Names that were imported: renamed, written out, or gone."""

import libcst as cst

import symupdates
from symupdates.port.calls import HANDLERS
from symupdates.port.facts import (
    ALWAYS_CHANGED,
    BUILTINS,
    BY_AXES,
    EXPRESSIONS,
    LASAGNE,
    RULES_OF_MOMENTUM,
    exists,
    is_renamed_within,
    is_under,
    new_name,
    row_of_gone,
    served,
    under_pytensor,
    under_theano,
)
from symupdates.port.hazards import momentum
from symupdates.port.syntax import Fill, argument, comments_in, is_literal, is_simple, leftmost, text_of, walk
from symupdates.theano.names import CHANGES
from symupdates.theano.parts.config import WITHOUT_EFFECT


def refer(script, node):
    """What is to be said of a name that was imported, and of its call."""
    chain = [node]
    while isinstance(chain[-1], cst.Attribute):
        chain.append(chain[-1].value)
    for node in chain:  # the longest name that means something
        name = script.imported(node)
        if name is None:
            continue
        call = script.parents[node]
        call = call if isinstance(call, cst.Call) and call.func is node else None
        legacy = under_theano(name)
        if is_under(name, "lasagne"):
            if lasagne(script, node, name):
                return
        elif call is not None and name in RULES_OF_MOMENTUM:
            momentum(script, call)
            return
        elif call is not None and legacy in HANDLERS:
            HANDLERS[legacy](script, call, legacy)
            return
        elif deprecated(script, node, call, legacy) or instance(script, node, legacy):
            return
        elif rename(script, node, name) or express(script, node, name) or absent(script, node, name):
            return


def rename(script, node, name):
    if name in BUILTINS:
        kind = CHANGES[name].kind.replace("dropped", "gone")
        script.find(node, kind, CHANGES[name].note, script.replace(node, BUILTINS[name]), moved=node)
        return True
    new = new_name(name)
    row = CHANGES.get(name)
    if new is None and row is not None and row.name.startswith("numpy.") and is_under(row.pytensor or "", "numpy"):
        base = node.value if isinstance(node, cst.Attribute) else None
        if base is None or row.pytensor.startswith("numpy.asarray"):
            return False
        script.find(node, "renamed", row.note, script.replace(node, text_of(base) + row.pytensor.removeprefix("numpy")))
        return True
    if new is None:
        return False
    same = under_pytensor(name)
    if same == new or (new.startswith("pytensor.gradient.") and exists(same)):
        return True
    if isinstance(node, cst.Name) or served(script.imported(leftmost(node))):
        return True  # its import brings the new name under the old
    if is_under(new, "pytensor.scan"):  # a module that the function of its name hides
        module, _, last = new.rpartition(".")
        script.find(node, "renamed", row.note if row else "", now=f"from {module} import {last}")
        return True
    if (spelled := script.spell(new, node)) is None:
        return False
    kind = "silent" if row and (row.kind, row.pytensor) == ("silent", new) else "renamed"
    script.find(node, kind, row.note if row else "", script.replace(node, spelled), moved=node)
    return True


def instance(script, node, name):
    """In a test of what class something is: a class that has more instances now."""
    row = CHANGES.get("theano.tensor.TensorVariable" if name == "theano.tensor.variable.TensorVariable" else name)
    inside = script.parents[node]
    while isinstance(inside, cst.Arg | cst.Element | cst.Tuple):
        inside = script.parents[inside]
    is_test = isinstance(inside, cst.Call) and text_of(inside.func) == "isinstance"
    if row is None or row.kind != "silent" or not name.endswith(".TensorVariable") or not is_test:
        return False
    script.find(node, "silent", row.note, now="and not isinstance(x, (SharedVariable, Constant))")
    return exists(under_pytensor(name))


def deprecated(script, node, call, name):
    """What PyTensor has, and the newest warns of or has no more."""
    if name not in ALWAYS_CHANGED or (call is not None and argument(call, "return_updates") is not None):
        return False
    script.find(node, "changed", CHANGES[name].note, now=CHANGES[name].pytensor)
    return True


def express(script, node, name):
    """Write out what a function of Theano's computed."""
    forms = EXPRESSIONS.get(name)
    if forms is None:
        return False
    row = CHANGES.get(name)
    kind = "silent" if row is not None and row.kind == "silent" else "gone"
    why = row.note if row is not None else ""
    call = script.parents[node]
    tensor = script.tensor(node)
    if not (isinstance(call, cst.Call) and call.func is node):
        (arguments, text), *_ = forms.items()
        if tensor is None:
            return False
        if " if " in text and script.can_define(node):
            new = cst.Name(script.define(node, name, arguments.split(", "), text))
        else:
            new = cst.parse_expression(f"lambda {arguments}: {text}").visit(Fill({"T": tensor}))
        script.find(node, kind, why, script.replace(node, new), moved=node)
        return True
    given = len(call.args)
    form = next(((a.split(", "), text) for a, text in forms.items() if len(a.split(", ")) == given), None)
    if form is None or tensor is None or any(arg.star for arg in call.args):
        script.find(call, kind, why, now=row.pytensor if row is not None else next(iter(forms.values())))
        return True
    names, text = form
    keywords = [arg.keyword.value if arg.keyword else None for arg in call.args]
    order = [keyword or names[i] for i, keyword in enumerate(keywords)]
    bound = dict(zip(order, call.args, strict=True))
    if set(order) != set(names):
        script.find(call, kind, why, now=text)
        return True
    argument_of, by_axes = BY_AXES.get(name, (None, {}))
    text = by_axes.get(argument_of and script.ndim(bound[argument_of].value), text)
    body = cst.parse_expression(text)
    uses = [n.value for n in walk(body) if isinstance(n, cst.Name)]
    twice = any(uses.count(key) > 1 and not is_simple(bound[key].value) for key in names)
    defined = (twice or " if " in text) and script.can_define(node)
    if twice and not defined:
        script.find(call, kind, why, now=text)
        return True
    helper = script.define(call, name, names, text) if defined else None

    def plan(updated):
        if helper is not None:
            return updated.with_changes(func=cst.Name(helper))
        arguments = {key: arg.value for key, arg in zip(order, updated.args, strict=True)}
        return script.replace(call, body.visit(Fill(arguments | {"T": tensor})))(updated)

    script.find(call, kind, why, plan, moved=node)
    return True


def absent(script, node, name):
    """Report a name that PyTensor has not."""
    if row_of_gone(name) is None and (not is_under(name, "theano") or exists(under_pytensor(name))):
        return False
    if is_renamed_within(name):
        return False
    if not flag(script, node, name):
        gone(script, node, name)
    return True


def flag(script, node, name):
    """Take out a statement that sets a flag of Theano's which has no effect."""
    target = script.parents[node]
    statement = script.parents[target]
    if name.removeprefix("theano.config.").replace(".", "__") not in WITHOUT_EFFECT:
        return False
    if not isinstance(statement, cst.Assign) or len(statement.targets) > 1 or not is_literal(statement.value):
        return False
    script.replace_statement(statement, [], "gone", "PyTensor has no such flag, and it changed no result.")
    script.moved.add(leftmost(node))
    return True


def gone(script, node, name, legacy=None):
    """Say what is known of a name that is gone."""
    if is_under(name, "lasagne"):
        script.find(node, "gone", LASAGNE, legacy=legacy)
        return
    row = CHANGES.get(name) or row_of_gone(name)
    why, now = (row.note, row.pytensor) if row is not None else ("", None)
    script.find(node, "gone", why or f"PyTensor has no {under_pytensor(name)}.", now=now, legacy=legacy)


def lasagne(script, node, name):
    if is_under(name, "lasagne.updates"):
        function = name.removeprefix("lasagne.updates").lstrip(".")
        call = script.parents[node]
        if name in RULES_OF_MOMENTUM and isinstance(call, cst.Call) and call.func is node:
            momentum(script, call)
        if "." in function:
            return False
        if function and not hasattr(symupdates, function):
            script.find(node, "gone", f"symupdates has no {function}.")
        elif isinstance(node, cst.Attribute) and (spelled := script.spell(f"symupdates.{function or '*'}", node)):
            spelled = spelled.removesuffix(".*")
            finding = script.find(node, "renamed", "", script.replace(node, spelled), moved=node)
            if text_of(cst.parse_expression(spelled)) == finding.legacy:  # of an alias that the import keeps
                script.findings.remove(finding)
                script.plans.pop(node, None)
        return True
    if name == "lasagne":
        return False
    script.lasagne_uses.setdefault(leftmost(node).value, set()).add(name)  # said once, of its import
    return True


def keep_what_is_theanos(script):
    """Plan that ``theano`` becomes ``pytensor``, but where PyTensor lacks the name: what is left is Theano's.

    So the rewritten script says what it still needs, and runs with :func:`symupdates.theano.install`.
    """
    for node in script.references:
        root, name = leftmost(node), script.imported(node)
        if name is None or not is_under(name, "theano") or root in script.moved:
            continue
        if exists(under_pytensor(name)) and row_of_gone(name) is None:
            continue
        bound = script.imported(root)
        if root.value == bound:
            script.staying.add(root)
        elif bound != name and exists(under_pytensor(bound)) and can_say_theano(script, node):
            script.staying.add(root)
            script.plans[node] = (lambda updated, name=name: cst.parse_expression(name)), None
            if not script.has_plain_import():
                script.added["theano"] = "theano"
    imported = {node for line in script.imports for node in walk(line)}
    for node in script.nodes:
        if isinstance(node, cst.Name) and node not in script.staying | imported and script.binds_theano(node):
            script.plans[node] = (lambda updated: updated.with_changes(value="pytensor")), None


def can_say_theano(script, node):
    """Whether a name of Theano's in full can take the place of a reference."""
    root = leftmost(node)
    free = script.means("theano", "theano", root) or not script.scopes[root]["theano"]
    read = not isinstance(script.parents[node], cst.AssignTarget) and not script.is_rebound(root)
    return free and read and node not in script.plans and not comments_in(node) and script.takes_imports()
