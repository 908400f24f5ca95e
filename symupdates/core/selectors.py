"""Selectors: which parameters are meant, by a list of them, a pattern of their names, or a function."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from pytensor.graph.basic import Variable

from symupdates.core.awaits import in_words
from symupdates.core.checks import raised_by
from symupdates.core.names import names_known
from symupdates.core.parameters import check_params


def checked_selector(name, selector):
    """A selector as it can be used any number of times, after refusing what is none.

    Parameters
    ----------
    name : str
        What it is, for the errors.
    selector : iterable of shared variables, str, callable or Ellipsis
        The parameters; a regular expression that is searched for in their names, ``param[i]`` for an unnamed one; a
        function that says of a parameter whether it is selected; or ``...``, for all.
    """
    if selector is ... or is_function(selector):
        return selector
    if isinstance(selector, str):
        try:
            re.compile(selector)
        except re.error as error:
            raise ValueError(
                f"{name}: {selector!r} is not a regular expression: {error}. For a name as it is, give re.escape(name)."
            ) from error
        return selector
    if isinstance(selector, Variable) or not isinstance(selector, Iterable):
        remedy = f"; write [{selector}]" if isinstance(selector, Variable) and selector.name else ""
        raise TypeError(
            f"{name} must be a list of parameters, a pattern of their names, a function of a parameter, or ..., not "
            f"{selector!r}{remedy}."
        )
    return check_params(selector, name)


def select(name, selector, params, names):
    """The parameters that a selector selects, of those there are, with their names; a list, whatever is in it.

    A pattern or function that selects none of them is an error, unless there are none.
    """
    selector = checked_selector(name, selector)
    if selector is ...:
        return params
    if isinstance(selector, str):
        known = [names_known(p, of_p) for p, of_p in zip(params, names, strict=True)]
        chosen = [p for p, of_p in zip(params, known, strict=True) if any(re.search(selector, n) for n in of_p)]
        if params and not chosen:
            raise fits_none(name, selector, [n for of_p in known for n in of_p])
    elif is_function(selector):
        chosen = []
        for p in params:
            with raised_by(f"the function of {name}, called with the parameter {p}; it must return a bool"):
                chosen += [p] if selector(p) else []
        if params and not chosen:
            raise ValueError(f"{name}: the function {in_words(selector)} selects none of the parameters {some(names)}.")
    else:
        chosen = selector
    return chosen


def is_function(selector):
    return callable(selector) and not isinstance(selector, Variable)


def fits_none(name, pattern, names):
    """The error for a pattern that fits none of the names there are: it tells those that are most like it."""
    wanted = "".join(re.findall(r"\w", pattern))
    closest = sorted(names, key=lambda known: likeness(wanted, known), reverse=True)
    return ValueError(f"{name}: the pattern {pattern!r} fits none of the names {some(closest)}.")


def likeness(wanted, name):
    """How much a name, or a word in it, is like what was wanted: from 0 to 1."""
    return max(SequenceMatcher(None, wanted, part).ratio() for part in (name, *re.findall(r"[^\W\d_]+", name)))


def some(names):
    """The first of the names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")
