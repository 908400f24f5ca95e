"""What is said of a script."""

from dataclasses import dataclass


@dataclass
class Finding:
    """What must change at one place of a script.

    Attributes
    ----------
    line, column : int
        Where it begins, from 1.
    kind : str
        ``"silent"``: the code would run, to other numbers. ``"renamed"``: another name does the same. ``"changed"``: it
        fails, or warns, for its arguments or where it stands. ``"gone"``: there is no such thing.
    legacy : str
        The text as it is.
    now : str
        What to write instead.
    why : str
        What is behind it, in a sentence or two; may be empty.
    rewritten : bool
        Whether the rewritten script has it so; otherwise it is to be done by hand.
    """

    line: int
    column: int
    kind: str
    legacy: str
    now: str
    why: str = ""
    rewritten: bool = False
