"""Names: of parameters, and whatever else has to be told apart."""

from collections import Counter

from symupdates.core.places import whole


def parameter_names(params):
    """Names for the parameters, all different: their own, or ``param[i]``; where one is shared, ``name[i]``.

    That of rows is the name of their table.
    """
    first = {whole(p): i for i, p in reversed(list(enumerate(params)))}
    tables = sorted(first, key=first.get)
    names = unique_names(p.name or f"param[{first[p]}]" for p in tables)
    names = dict(zip(tables, names, strict=True))
    return [names[whole(p)] for p in params]


def also_named(variable, *names):
    """Let a variable be known by other names too: those by which a pattern may select it."""
    variable.tag.also_named = names


def names_known(variable, name):
    """All names that a pattern is searched for in, of a variable of that name."""
    return [name, *getattr(variable.tag, "also_named", ())]


def refuse_unordered(argument, given, names):
    """Refuse a set of variables that are told apart by their places; `names` are pairs, of a variable and its name."""
    if isinstance(given, set | frozenset) and (by_place := [name for v, name in names if name != whole(v).name]):
        raise ValueError(
            f"{argument} is a set, whose order is another in every process, and {', '.join(by_place)} can be told "
            "apart by order only: a checkpoint would be loaded into the wrong ones. Give a list, or give each its name."
        )


def unique_names(names):
    """The names in a list, those that repeat with their position, ``name[i]``."""
    names = list(names)
    while len(set(names)) < len(names):
        count = Counter(names)
        names = [name if count[name] == 1 else f"{name}[{i}]" for i, name in enumerate(names)]
    return names


def free_name(name, taken):
    """The name, or ``name_2``, ``name_3`` …, the first that is not taken; from then on it is."""
    free, n = name, 1
    while free in taken:
        n += 1
        free = f"{name}_{n}"
    taken.add(free)
    return free
