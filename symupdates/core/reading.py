"""What expressions are computed with."""


def unseen(expressions, seen):
    """The variables that expressions are computed with, themselves too, but for those seen before; they are, from then.

    In the order of :func:`~pytensor.graph.traversal.ancestors`, which takes a copy of what it is to pass over: for one
    expression after the other, that is another time the whole graph for each.
    """
    new, unread = [], list(expressions)
    while unread:
        if (v := unread.pop()) not in seen:
            seen.add(v)
            new.append(v)
            if v.owner is not None:
                unread.extend(v.owner.inputs)
    return new
