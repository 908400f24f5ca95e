"""Pieces of syntax trees: what they are, and how to make them."""

import libcst as cst
import libcst.matchers as m
from libcst.helpers import get_full_name_for_node

from symupdates.port.facts import DTYPES


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def leftmost(node):
    while isinstance(node, cst.Attribute):
        node = node.value
    return node


def argument(call, keyword, position=None):
    """The argument of a call, by keyword or position, or None."""
    for i, arg in enumerate(call.args):
        if arg.star:
            return None
        if arg.keyword is not None and arg.keyword.value == keyword:
            return arg.value
        if arg.keyword is None and i == position:
            return arg.value
    return None


def is_number(node):
    return m.matches(node, m.Integer() | m.Float() | m.UnaryOperation(expression=m.Integer() | m.Float()))


def is_literal(node):
    """Whether it is a number, a text, or True, False or None."""
    return is_number(node) or isinstance(node, cst.SimpleString) or text_of(node) in {"True", "False", "None"}


def is_simple(node):
    """Whether it may stand twice: a name, an attribute of one, or a number."""
    return isinstance(leftmost(node), cst.Name) or is_number(node)


def closed(node):
    """The expression, in parentheses where its operators ask for them."""
    if node.lpar or not isinstance(
        node,
        cst.BinaryOperation
        | cst.UnaryOperation
        | cst.BooleanOperation
        | cst.Comparison
        | cst.Lambda
        | cst.IfExp
        | cst.Tuple
        | cst.NamedExpr,
    ):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


class Fill(cst.CSTTransformer):
    """Puts expressions in the places of names."""

    def __init__(self, values):
        self.values = values

    def leave_Name(self, original_node, updated_node):
        return closed(self.values.get(original_node.value, updated_node))

    def leave_Arg(self, original_node, updated_node):
        arg = original_node.value
        if isinstance(arg, cst.Name) and arg.value in self.values:
            return updated_node.with_changes(keyword=original_node.keyword, value=self.values[arg.value])
        return updated_node.with_changes(keyword=original_node.keyword)

    def visit_Attribute_attr(self, node):
        return None


def comments_in(node):
    return [child for child in walk(node) if isinstance(child, cst.Comment)]


def text_of(nodes):
    """The code of nodes, on one line."""
    nodes = nodes if isinstance(nodes, list | tuple | cst.FlattenSentinel) else [nodes]
    code = "; ".join(cst.Module([]).code_for_node(node) for node in nodes if isinstance(node, cst.CSTNode))
    return " ".join(code.split()).rstrip(" ;,")


def dotted(name):
    return cst.parse_expression(name)


def definition(name, arguments, text):
    """The definition of a function that returns an expression; on two lines, of one with a condition."""
    value = cst.parse_expression(text)
    lines = [f"def {name}({', '.join(arguments)}):"]
    if isinstance(value, cst.IfExp):
        lines += [f"    if {text_of(value.test)}:", f"        return {text_of(value.body)}"]
        text = text_of(value.orelse)
    return "\n".join([*lines, f"    return {text}\n"])


def local_name(alias):
    """What an import calls a module or what is in it, in full: dotted, of a module without an alias."""
    return alias.asname.name.value if alias.asname else get_full_name_for_node(alias.name)


def aliased(name, local):
    asname = None if name == local else cst.AsName(cst.Name(local))
    return cst.ImportAlias(cst.Name(name), asname)


def with_keyword(arg, keyword):
    tight = cst.SimpleWhitespace("")
    equal = cst.AssignEqual(whitespace_before=tight, whitespace_after=tight)
    return arg.with_changes(keyword=cst.Name(keyword), equal=arg.equal if arg.keyword else equal)


def renamed_keyword(arg, names):
    old = arg.keyword.value if arg.keyword else None
    return with_keyword(arg, names[old]) if old in names else arg


def without(args, names):
    args = [arg for arg in args if not (arg.keyword and arg.keyword.value in names)]
    if args:
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return args


def without_last_semicolon(line):
    """A line of statements, of which the last may have been followed by another."""
    last = [statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for statement in line.body[-1:]]
    return line.with_changes(body=[*line.body[:-1], *last])


def plus_one(node):
    if isinstance(node, cst.Integer) and node.value.isdecimal():
        return cst.Integer(str(int(node.value) + 1))
    return cst.BinaryOperation(closed(node), cst.Add(), cst.Integer("1"))


def is_dtype(node):
    """Whether it is a dtype, written out or Theano's default."""
    return text_of(node).strip("'\"") in DTYPES or m.matches(node, m.Attribute(attr=m.Name("floatX")))


def is_shape(node):
    """Whether it is a static shape that is written out, and not a pattern of True and False."""
    literal = isinstance(node, cst.Tuple | cst.List) or m.matches(node, m.BinaryOperation(left=m.Tuple() | m.List()))
    return literal and not any(isinstance(n, cst.Name) and n.value in {"True", "False"} for n in walk(node))


def shape_of_pattern(node):
    """The static shape that a pattern of broadcasting means, where it is written out."""
    if isinstance(node, cst.Tuple | cst.List):
        elements = []
        for element in node.elements:
            value = {"True": "1", "1": "1", "False": "None", "0": "None"}.get(text_of(element.value))
            if value is None:
                return None
            elements.append(element.with_changes(value=cst.parse_expression(value)))
        return node.with_changes(elements=elements)
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Multiply):
        left = shape_of_pattern(node.left)
        return left and node.with_changes(left=left)
    return None
