"""Calls of functions that PyTensor has, with other arguments."""

import libcst as cst

from symupdates.port.facts import CONSTRUCTORS, OTHER_NUMBERS, STREAM, STREAMS, is_under
from symupdates.port.syntax import (
    argument,
    is_dtype,
    is_number,
    is_shape,
    renamed_keyword,
    shape_of_pattern,
    text_of,
    with_keyword,
    without,
)
from symupdates.theano.names import CHANGES


def keyworded(script, call, kind, why, change):
    """Plan a call with other arguments: `change` takes the list of new ones and returns it, changed."""

    def plan(updated):
        args = change(list(updated.args))
        if args and not call.args[-1].comma:
            args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated.with_changes(args=args)

    script.find(call, kind, why, plan)


def stack(script, call, name):
    positional = [arg for arg in call.args if arg.keyword is None]
    first = positional[0].value if positional else None
    if len(positional) < 2 or isinstance(first, cst.List | cst.Tuple | cst.ListComp | cst.GeneratorExp):
        return
    if len(positional) == 2 and is_number(positional[1].value):
        return
    computed = len(positional) > 1 and not isinstance(positional[1].value, cst.Name | cst.Attribute)
    row = CHANGES[name]
    if any(arg.star for arg in positional) or not (len(positional) > 2 or computed or script.is_symbolic(first)):
        script.find(call, "changed", row.note, now="if both are tensors: T.stack([a, b])")
        return

    def change(args):
        tensors = args[: len(positional)]
        last = tensors[-1].comma
        elements = [cst.Element(arg.value, comma=arg.comma) for arg in tensors[:-1]]
        merged = cst.Arg(cst.List([*elements, cst.Element(tensors[-1].value)]), comma=last)
        return [merged, *args[len(positional) :]]

    keyworded(script, call, "changed", row.note, change)


def flatten(script, call, name):
    if argument(call, "outdim") is not None:
        keyworded(
            script,
            call,
            "changed",
            CHANGES[name].note,
            lambda args: [renamed_keyword(a, {"outdim": "ndim"}) for a in args],
        )


def constructor(script, call, name):
    if len(call.args) > 1 and call.args[1].keyword is None and not call.args[1].star:
        change = lambda args: [args[0], with_keyword(args[1], "dtype"), *args[2:]]  # noqa: E731
        keyworded(script, call, "changed", "The dtype is by keyword only.", change)


def tensor_type(script, call, name):
    """TensorType(dtype, broadcastable) and tensor(dtype, broadcastable, name=...)."""
    row = CHANGES[name]
    pattern = argument(call, "broadcastable", 1)
    first = call.args[0] if call.args else None
    made = name.endswith(".tensor")
    is_new = is_under(script.function_of(call), "pytensor")  # then the first may be a name, and the second a shape
    if made and first is not None and first.keyword is None and pattern is None:
        if not is_new or is_dtype(first.value):
            script.find(call, "silent", row.note, now="T.tensor(name, dtype=..., shape=...)")
    if pattern is None or (is_new and argument(call, "broadcastable") is None and is_shape(pattern)):
        return
    shape = shape_of_pattern(pattern)
    if shape is None:
        script.find(call, "silent", row.note, now="shape= with 1 for True and None for False")
        return

    def change(args):
        args = [with_keyword(args[0], "dtype") if made else args[0], *args[1:]]
        for i, old in enumerate(call.args):
            if old.value is pattern:
                args[i] = with_keyword(args[i], "shape").with_changes(value=shape)
        return args

    keyworded(script, call, "silent", row.note, change)


def shared(script, call, name):
    pattern = argument(call, "broadcastable")
    if pattern is not None:
        shape = shape_of_pattern(pattern)
        if shape is None:
            script.find(call, "changed", CHANGES[name].note, now="shape= with 1 for True and None for False")
            return

        def change(args):
            return [
                with_keyword(new, "shape").with_changes(value=shape) if old.value is pattern else new
                for old, new in zip(call.args, args, strict=True)
            ]

        keyworded(script, call, "changed", CHANGES[name].note, change)
    elif argument(call, "target") is not None:
        keyworded(script, call, "gone", "There is one device, the CPU.", lambda args: without(args, {"target"}))


def function(script, call, name):
    if isinstance(argument(call, "outputs", 1), cst.Dict):
        script.find(call, "changed", "PyTensor 3 refuses a dict of outputs.", now="a list of outputs")


def default_input(script, call, name):
    if name.endswith("Param") or argument(call, "value", 2) is not None:
        script.find(call, "gone", CHANGES["theano.In"].note, now="functools.partial of the compiled function")


def clone(script, call, name):
    keys = [arg.keyword.value if arg.keyword else i for i, arg in enumerate(call.args)]
    spelled = script.spell("pytensor.graph.replace.graph_replace", call.func)
    if keys not in ([0, 1], [0, "replace"]) or any(arg.star for arg in call.args) or spelled is None:
        script.find(call, "changed", CHANGES[name].note, now=CHANGES[name].pytensor)
        return

    def plan(updated):
        strict = with_keyword(cst.Arg(cst.Name("False")), "strict")
        args = [*updated.args[:-1], updated.args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT), strict]
        return updated.with_changes(func=cst.parse_expression(spelled), args=args)

    script.find(call, "changed", CHANGES[name].note, plan, moved=call.func)


def graph_inputs(script, call, name):
    new = CHANGES[name].pytensor.removeprefix("list(").partition("(")[0]
    spelled = script.spell(new, call.func)
    if spelled is None or len(call.args) != 1 or call.args[0].keyword or call.args[0].star:
        script.find(call, "changed", CHANGES[name].note, now=CHANGES[name].pytensor)
        return

    def plan(updated):
        new = updated.with_changes(func=cst.parse_expression(spelled), lpar=[], rpar=[])
        return cst.Call(cst.Name("list"), [cst.Arg(new)], lpar=updated.lpar, rpar=updated.rpar)

    script.find(call, "changed", CHANGES[name].note, plan, moved=call.func)


def stream(script, call, name):
    """The constructor of a random stream."""
    func = call.func
    spelled = func.value if isinstance(func, cst.Name) else script.spell(STREAM, func)
    if spelled is None:
        script.find(call, "silent", OTHER_NUMBERS, now=f"{STREAM}(seed)")
        return

    def plan(updated):
        args = without(updated.args, {"use_cuda"})
        return updated.with_changes(func=cst.parse_expression(spelled), args=args)

    script.find(call, "silent", OTHER_NUMBERS, plan, moved=func)


def softmax_over_all(script, call, name):
    if len(call.args) == 1:
        why = "It normalises over all elements; Theano's did each row."
        script.find(call, "silent", why, now=text_of(call)[:-1] + ", axis=-1)")


def tile(script, call, name):
    """With the number of axes of the result, which is that of the repetitions now."""
    ndim, reps = argument(call, "ndim", 2), argument(call, "reps", 1)
    if ndim is None:
        return
    row = CHANGES[name]
    if text_of(ndim) == "None":
        keyworded(script, call, "changed", row.note, lambda args: without_value(call, args, ndim))
        return
    one = is_number(reps)
    if not (isinstance(ndim, cst.Integer) and (one or isinstance(reps, cst.Tuple | cst.List))):
        script.find(call, "changed", row.note, now=row.pytensor)
        return
    given = [cst.Element(reps)] if one else list(reps.elements)
    ones = [cst.Element(cst.Integer("1"))] * (int(ndim.value) - len(given))
    parentheses = {} if isinstance(reps, cst.List) else {"lpar": [cst.LeftParen()], "rpar": [cst.RightParen()]}
    kind = cst.List if isinstance(reps, cst.List) else cst.Tuple
    whole = kind([*ones, *given], **parentheses)

    def change(args):
        args = [
            new.with_changes(value=whole) if old.value is reps and (ones or one) else new
            for old, new in zip(call.args, args, strict=True)
        ]
        return without_value(call, args, ndim)

    keyworded(script, call, "changed", row.note, change)


def without_value(call, args, value):
    args = [new for old, new in zip(call.args, args, strict=True) if old.value is not value]
    return [*args[:-1], args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]


def rows_by_op(script, call, name):
    """Rows of a table by the Op, whose arguments are others in each PyTensor."""
    script.find(call, "changed", CHANGES[name].note, now="table[index]")


def logarithm(script, call, name):
    """Of probabilities: Theano computed it from their logits, and its gradient."""
    if not call.args or not script.is_probability(call.args[0].value):
        return
    spelled, row = script.spell(f"symupdates.{name}", call.func), CHANGES[name]
    if spelled is None:
        script.find(call, "silent", row.note, now=row.pytensor)
        return
    plan = lambda updated: updated.with_changes(func=cst.parse_expression(spelled))  # noqa: E731
    script.find(call, "silent", row.note, plan, moved=call.func)


HANDLERS = {
    "theano.tensor.stack": stack,
    "theano.tensor.flatten": flatten,
    "theano.tensor.log": logarithm,
    "theano.tensor.log1p": logarithm,
    "theano.tensor.tile": tile,
    "theano.tensor.TensorType": tensor_type,
    "theano.tensor.tensor": tensor_type,
    "theano.shared": shared,
    "theano.function": function,
    "theano.In": default_input,
    "theano.Param": default_input,
    "theano.clone": clone,
    "theano.gof.graph.inputs": graph_inputs,
    "theano.gof.graph.ancestors": graph_inputs,
    "theano.tensor.special.softmax": softmax_over_all,
    "theano.tensor.special.log_softmax": softmax_over_all,
    **{name: rows_by_op for name in CHANGES if name.endswith(".AdvancedSubtensor1")},
    **{name: constructor for name in (f"theano.tensor.{name}" for name in CONSTRUCTORS)},
    **{name: stream for name in STREAMS},
}
