"""Draws from random streams."""

import libcst as cst
import libcst.matchers as m

from symupdates.port.facts import ALL_STREAMS, DRAWS, DROPPED_KEYWORDS, KEYWORDS, STREAMS, is_under
from symupdates.port.syntax import Fill, is_number, plus_one, text_of, with_keyword
from symupdates.theano.names import CHANGES

ABSENT = {
    "shuffle_row_elements": "rows[T.argsort(srng.uniform(size=rows.shape), axis=-1)]",
    "truncated_normal": "T.clip(srng.normal(size=size), -2, 2), or a quantile function of srng.uniform",
    "multinomial_wo_replacement": "the largest of log(pvals) plus Gumbel noise",
}
"""Methods of Theano's streams that PyTensor's has not, and what to write instead."""

DEFAULTS = {
    "binomial": {"n": "1", "p": "0.5"},
    "multinomial": {"n": "1"},
    "random_integers": {"low": "0", "high": "2"},
}
"""What an argument was where none was given, and is not now."""


def draw(script, call):
    """A call of a random stream's method."""
    func = call.func
    if m.matches(func, m.Subscript()) and isinstance(func.value, cst.Attribute):
        cast(script, call)
    if not isinstance(func, cst.Attribute):
        return
    method = func.attr.value
    if method in ABSENT and script.is_stream(func.value, ALL_STREAMS):
        script.find(call, "gone", f"PyTensor's stream has no {method}.", now=ABSENT[method])
    if method not in DRAWS:
        return
    why = CHANGES[f"{STREAMS['MRG' not in method and method in ('permutation', 'random_integers')]}.{method}"].note
    names = DRAWS[method].split()
    if not script.is_stream(func.value):
        perhaps_draw(script, call, names, why)
        return
    if any(arg.star for arg in call.args) or len(call.args) > len(names):
        script.find(call, "silent", why, now=f"srng.{method}({', '.join(KEYWORDS.get(k, k) + '=' for k in names)})")
        return
    given = {arg.keyword.value if arg.keyword else names[i]: arg.value for i, arg in enumerate(call.args)}
    if (method == "choice" and "a" not in given) or (method == "permutation" and "n" not in given):
        script.find(call, "silent", why, now=CHANGES[f"{STREAMS[1]}.{method}"].pytensor)
        return
    if method == "permutation" and "size" in given and text_of(given["size"]) not in {"None", "()"}:
        script.find(call, "silent", why, now="a permutation for each: there is no size")
        return
    script.find(call, "silent", why, lambda updated: by_keyword(script, call, updated))


def cast(script, call):
    """``np.cast[dtype](x)``, which looks like a method's call in that it has an attribute before it."""
    func = call.func
    if script.imported(func.value) != "numpy.cast" or len(call.args) != 1:
        return
    base = text_of(func.value.value)
    script.plans.pop(func.value, None)
    script.findings = [f for f in script.findings if f.legacy != text_of(func.value)]

    def plan(updated):
        args = [updated.args[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
        args.append(cst.Arg(updated.func.slice[0].slice.value))
        return updated.with_changes(func=cst.parse_expression(f"{base}.asarray"), args=args)

    script.find(call, "gone", CHANGES["numpy.cast"].note, plan)


def by_keyword(script, call, updated):
    """The draw with PyTensor's arguments; around it what PyTensor's does not do, moments and dtypes."""
    method = call.func.attr.value
    names = DRAWS[method].split()
    taken = {arg.keyword.value if arg.keyword else names[i]: arg.value for i, arg in enumerate(updated.args)}
    moments = method == "normal" and not all(is_number(taken[k]) for k in ("avg", "std") if k in taken)
    moments = moments and text_of(taken.get("size", "")) not in {"", "None"}  # without, the shape is theirs
    args = [
        new
        for key, arg in zip(taken, updated.args, strict=True)
        if (new := argument(method, key, arg, moments)) is not None
    ]
    for key, value in DEFAULTS.get(method, {}).items():
        if key not in taken:
            args.append(with_keyword(cst.Arg(cst.parse_expression(value)), key))
    if args:
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    args = [
        arg
        if isinstance(arg.comma, cst.Comma) or arg is args[-1]
        else arg.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        for arg in args
    ]
    name = "integers" if method == "random_integers" else method
    new = updated.with_changes(func=updated.func.with_changes(attr=cst.Name(name)), args=args)
    if "dtype" in taken and method not in {"normal", "uniform"}:
        new = cst.Call(cst.Attribute(new, cst.Name("astype")), [cst.Arg(taken["dtype"])])
    if moments:
        expression = "avg + std * draw" if "std" in taken else "avg + draw"
        expression = expression if "avg" in taken else "std * draw"
        new = cst.parse_expression(expression).visit(Fill(taken | {"draw": new}))
        return script.replace(call, new)(updated.with_changes(lpar=[], rpar=[]))
    return new


def argument(method, key, arg, moments):
    """An argument of a draw as PyTensor has it, or None if it has it not; `moments` are written around the draw."""
    if key in DROPPED_KEYWORDS or (moments and key in {"avg", "std"}):
        return None
    if key == "dtype" and method not in {"normal", "uniform"}:
        return None
    if method == "permutation":
        return arg.with_changes(keyword=None, equal=cst.MaybeSentinel.DEFAULT) if key == "n" else None
    if method == "random_integers" and key == "high":
        arg = arg.with_changes(value=plus_one(arg.value))
    return with_keyword(arg, KEYWORDS.get(key, key))


def perhaps_draw(script, call, names, why):
    """A draw from what may be a stream: say so, and change nothing."""
    value = call.func.value
    if not isinstance(value, cst.Name | cst.Attribute) or script.imported(value) is not None:
        return
    made = {script.function_of(v) for v in script.values_of(value) if isinstance(v, cst.Call)}
    called_so = script.written_for_graphs and any(word in text_of(value).lower() for word in ("rng", "stream"))
    maybe = made & {*ALL_STREAMS} or (called_so and not any(is_under(name or "", "numpy") for name in made))
    keywords = {arg.keyword.value for arg in call.args if arg.keyword}
    first = call.args[0] if call.args and call.args[0].keyword is None else None
    by_position = first is not None and (
        isinstance(first.value, cst.Tuple | cst.List)
        or (isinstance(first.value, cst.Attribute) and first.value.attr.value == "shape")
    )
    method = call.func.attr.value
    in_float = "dtype" in keywords and method == "binomial"
    unclear = any(arg.star for arg in call.args) or (first is None and method == "choice" and "a" not in keywords)
    unclear = unclear or (method == "permutation" and "size" in keywords)
    if maybe and (by_position or in_float or unclear or keywords & {"avg", "std", "pvals"}):
        script.find(call, "silent", f"If this is a random stream: {why}", now="every argument by keyword")
