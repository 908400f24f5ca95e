"""Reads a script as a syntax tree, finds what must change in it, and changes what is safe to change."""

import ast

import libcst as cst

from symupdates.port.draws import draw
from symupdates.port.facts import KINDS
from symupdates.port.hazards import default_update, differentiate, flags, truth, walk_keys
from symupdates.port.imports import imports_and_additions
from symupdates.port.references import keep_what_is_theanos, refer
from symupdates.port.script import Script
from symupdates.port.syntax import text_of

__all__ = ["examine"]


def examine(source):
    """Find what must change and change what is safe: :func:`symupdates.port.port`."""
    try:
        module = cst.parse_module(source)
    except cst.ParserSyntaxError as error:
        raise not_python_3(source, error) from None
    script = Script(module)
    rewritten = rewrite(script)
    findings = sorted(script.findings, key=lambda f: (KINDS.index(f.kind), f.line, f.column))
    return findings, rewritten.code if isinstance(source, str) else rewritten.bytes


def not_python_3(source, error):
    """The error that names the line: by Python's own parser, or if that takes it, by libcst's."""
    line = error.editor_line
    try:
        ast.parse(source)
    except SyntaxError as python:
        line = python.lineno or line
    except ValueError:
        pass
    lines = (source if isinstance(source, str) else source.decode("latin-1")).splitlines()
    text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    reason = f"not Python 3: {text!r}. If it is Python 2, 2to3 -w (in Python up to 3.12) makes it Python 3."
    return SyntaxError(reason, (None, line, 1, text))


def rewrite(script):
    """Say and plan what is to be done to each part of a script, and do it: the new tree."""
    for node in script.references:
        refer(script, node)
    for node in script.nodes:
        if isinstance(node, cst.Call):
            draw(script, node)
            differentiate(script, node)
        elif isinstance(node, cst.SimpleString):
            flags(script, node)
        elif isinstance(node, cst.For | cst.CompFor):
            walk_keys(script, node)
        elif isinstance(node, cst.Assign):
            default_update(script, node)
        truth(script, node)
    keep_what_is_theanos(script)
    imports_and_additions(script)
    return script.module.visit(Apply(script))


class Apply(cst.CSTTransformer):
    """Applies the plans, a function of the new node for each old one, and notes what came of them."""

    def __init__(self, script):
        self.script = script

    def on_leave(self, original_node, updated_node):
        plan, finding = self.script.plans.get(original_node, (None, None))
        if plan is None:
            return updated_node
        new = plan(updated_node)
        if finding is not None:
            finding.now = text_of(new)
            finding.rewritten = True
        return new
