"""The imports of a script, and the definitions after them."""

import libcst as cst
from libcst.helpers import get_full_name_for_node

import symupdates
from symupdates.port.calls import HANDLERS
from symupdates.port.facts import (
    BUILTINS,
    EXPRESSIONS,
    LASAGNE,
    LASAGNE_NOW,
    STREAM,
    STREAMS,
    exists,
    is_under,
    new_name,
    served,
    under_pytensor,
)
from symupdates.port.references import gone
from symupdates.port.syntax import aliased, definition, dotted, leftmost, local_name, text_of, walk


def imports_and_additions(script):
    """Plan the new imports, with those that new names need beside the first."""
    first = None
    for line in script.imports:
        if isinstance(line.names, cst.ImportStar):
            star(script, line)
        if not script.is_legacy(line):
            continue
        new = import_line(script, line)
        top = script.is_at_the_top(line)
        if top and first is None:
            first = line, new
        elif new is not None:
            script.replace_statement(line, new)
    if first is not None:
        line, new = first
        present = {text_of(statement) for statement in (new or [line])}
        extra = []
        for local, module in sorted(script.added.items()):
            text = f"import {module}" if local == module else f"import {module} as {local}"
            if text not in present:
                extra.append(cst.parse_statement(text).body[0])
        if new is not None or extra:
            script.replace_statement(line, [*([line] if new is None else new), *extra])
    if script.helpers:
        define_helpers(script)


def define_helpers(script):
    """Plan the definitions after the last import before the first statement that is no import, nor a setting."""
    body = list(script.module.body)
    tops = [i for i, line in enumerate(body) if any(child in script.imports for child in line.children)]
    first = next(i for i in tops if any(script.is_followed_by_helpers(line) for line in body[i].body))
    used = [i for i, line in enumerate(body) if i > first and any(n in script.called for n in walk(line))]
    place = max(i for i in tops if i < min(used, default=first + 1))
    after, following = body[place], body[place + 1 : place + 2]
    before, _ = script.plans.get(after, (lambda updated: updated, None))
    blank = [cst.EmptyLine(indent=False)] * 2
    there = sum(line.comment is None for each in following for line in each.leading_lines) if following else 2
    definitions = [
        cst.parse_statement(definition(name, arguments, text)).with_changes(leading_lines=blank)
        for name, (arguments, text) in script.helpers.items()
    ]
    last = definitions[-1].body.with_changes(footer=blank[there:])
    definitions[-1] = definitions[-1].with_changes(body=last)

    def plan(updated):
        new = before(updated)
        lines = [new] if isinstance(new, cst.CSTNode) else list(new) if isinstance(new, cst.FlattenSentinel) else []
        return cst.FlattenSentinel([*lines, *definitions])

    script.plans[after] = plan, None


def is_free(script, line, local, full):
    """Whether nothing stands any more on a name that an import binds."""
    for node in script.references:
        root = leftmost(node)
        if root.value == local and root not in script.moved and is_under(script.imported(node) or "", full):
            return False
    return True


def import_line(script, line):
    """The statements that take the place of a legacy import, or None if it stays."""
    if isinstance(line, cst.Import):
        return import_modules(script, line)
    module = get_full_name_for_node(line.module)
    if isinstance(line.names, cst.ImportStar):
        new = module_of_star(module)
        return new and [line.with_changes(module=dotted(new))]
    groups, stay = {}, []
    for alias in line.names:
        name, local = alias.name.value, local_name(alias)
        full = f"{module}.{name}"
        new = moved_import(full)
        if new == full:
            stay.append(alias)
        elif new is not None and "." not in new:
            groups.setdefault(None, []).append((new, local))
        elif new is not None:
            groups.setdefault(new.rpartition(".")[0], []).append((new.rpartition(".")[2], local))
        elif not is_free(script, line, local, full) or full not in (*HANDLERS, *EXPRESSIONS, *BUILTINS):
            if not (is_free(script, line, local, full) and script.is_prefix(full)):
                stay.append(alias)
                if not is_under(full, "lasagne"):
                    gone(script, alias, full, legacy=full)
    if stay and is_under(module, "lasagne"):
        needs_lasagne(script, line, stay)
    if len(stay) == len(line.names):
        return None
    if len(groups) == 1 and not stay and None not in groups:
        ((module, names),) = groups.items()
        if len(names) == len(line.names):  # as it is formatted
            aliases = [
                alias if alias.name.value == name else aliased(name, local).with_changes(comma=alias.comma)
                for alias, (name, local) in zip(line.names, names, strict=True)
            ]
            return [line.with_changes(module=dotted(module), names=aliases)]
    new = []
    if stay:
        stay = [alias.with_changes(comma=cst.MaybeSentinel.DEFAULT) for alias in stay]
        new.append(line.with_changes(names=stay))
    for module, names in groups.items():
        aliases = [aliased(name, local) for name, local in names]
        new.append(cst.Import(aliases) if module is None else cst.ImportFrom(dotted(module), aliases))
    return new


def module_of_star(module):
    """The module that takes the place of one of which all is imported, or None."""
    if module == "lasagne.updates":
        return "symupdates"
    new = under_pytensor(module)
    return new if is_under(new, "pytensor") and exists(new) else None


def star(script, line):
    """An import of all that is in a module, of PyTensor's and symupdates' too."""
    module = get_full_name_for_node(line.module) if line.module and not line.relative else ""
    new = module if is_under(module, "symupdates") else module_of_star(module)
    if new is not None:
        why = "What a star brings is not the same, and cannot be seen here: import by name, or the module."
        script.find(line, "changed", why, now=f"from {new} import ...")
    elif script.is_legacy(line):
        lasagne = is_under(module, "lasagne")
        script.find(line, "gone", LASAGNE if lasagne else f"PyTensor has no {under_pytensor(module)}.")


def moved_import(full):
    """The name that stands for a legacy one in an import; itself to stay; None if there is none."""
    if is_under(full, "lasagne"):
        if full == "lasagne.updates":
            return "symupdates"
        name = full.removeprefix("lasagne.updates.")
        return f"symupdates.{name}" if name != full and hasattr(symupdates, name) else None
    if not is_under(full, "theano"):
        return full
    if full in STREAMS:
        return STREAM
    if (new := new_name(full)) is not None:
        return new
    if full in EXPRESSIONS:
        return None
    return under_pytensor(full) if exists(under_pytensor(full)) else None


def stands_on_theano(script):
    """Whether something that PyTensor has stands on the name ``theano``, which becomes ``pytensor`` there."""
    roots = {leftmost(node) for node in script.references}
    return any(root.value == "theano" and script.imported(root) == "theano" for root in roots - script.staying)


def import_modules(script, line):
    """The statements that take the place of an import of modules, or None if it stays."""
    new, kept, changed = [], [], False
    for alias in line.names:
        full = get_full_name_for_node(alias.name)
        local = local_name(alias)
        alias = alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        if local == full:
            alias = alias.with_changes(asname=None)  # as in `import theano as theano`
        if "." in local or local == full:
            local = None
        if is_under(full, "lasagne"):
            target = None
            if full == "lasagne.updates" and (local or script.only_updates):
                target = "symupdates"
            elif full == "lasagne" and script.only_updates:
                target = "symupdates"
            if target is None:
                needs_lasagne(script, line, [alias])
                new.append(alias)
                continue
        elif full == "theano" and local is None:
            stays = bool(script.staying)
            said = script.says_pytensor and not script.has_plain_import("pytensor")
            if not stays or said or stands_on_theano(script):
                new.append(alias.with_changes(name=dotted("pytensor")))
                changed = True
            if stays:
                kept.append(alias)
            continue
        elif is_under(full, "theano"):
            target = under_pytensor(full)
            if local and served(full) is not None:
                target = served(full)
            elif not exists(target):
                free = is_free(script, line, local or "theano", full)
                if not (free and (script.is_prefix(full) or served(full))):
                    gone(script, line, full, legacy=full)
                    kept.append(alias)
                    if not local and not script.has_plain_import() and stands_on_theano(script):
                        new.append(cst.ImportAlias(cst.Name("pytensor")))
                        changed = True
                    continue
                target = None if local or script.has_plain_import() else "pytensor"
        else:
            new.append(alias)
            continue
        changed = True
        if target is not None:
            new.append(alias.with_changes(name=dotted(target)))
    if not changed:
        return None
    unique = {text_of(alias): alias for alias in new}
    return [line.with_changes(names=names) for names in (list(unique.values()), kept) if names]


def needs_lasagne(script, line, aliases):
    """Say, of an import, what of Lasagne the script uses through it."""
    used = {
        name
        for alias in aliases
        for name in script.lasagne_uses.get(local_name(alias).partition(".")[0], ())
        if is_under(name, script.full_name(line, alias))
    }
    now = "; ".join(f"{name.rpartition('.')[2]}: {LASAGNE_NOW[name]}" for name in sorted(used & {*LASAGNE_NOW}))
    script.find(line, "gone", LASAGNE, now=now, legacy=text_of(line))
