"""Which numbers a hyper-parameter may be: its name tells, or the function that has it."""

from math import inf
from typing import NamedTuple

from pytensor.graph.basic import Variable


class Range(NamedTuple):
    """The numbers that a hyper-parameter may be: those in an interval. Called with one, it says so of that one.

    Attributes
    ----------
    low, high
        The ends.
    has_low, has_high
        Whether they belong to it.
    is_rate
        Whether it is the rate at which a rule moves its parameters: what multiplies the step.
    """

    low: float = -inf
    high: float = inf
    has_low: bool = False
    has_high: bool = False
    is_rate: bool = False

    def __call__(self, value):
        return Ranged(value, self)

    def has(self, x):
        above = self.low <= x if self.has_low else self.low < x
        return bool(above and (x <= self.high if self.has_high else x < self.high))

    def __str__(self):
        low, high = (f"{x:g}" for x in (self.low, self.high))
        words = [f"at least {low}" if self.has_low else f"above {low}"] if self.low > -inf else []
        if self.high < inf:
            words.append(f"at most {high}" if self.has_high else f"below {high}")
        if not all(self.has(x) for x in (self.low, self.high) if abs(x) == inf):
            words.insert(0, "finite")
        return " and ".join(words) or "a number"


class Ranged(NamedTuple):
    """What is given for a hyper-parameter whose name does not tell what it may be, and what it may be."""

    value: object
    range: Range


REAL = Range()
EXTENDED = Range(has_low=True, has_high=True)
NON_NEGATIVE = Range(low=0, has_low=True)
POSITIVE = Range(low=0)
BOUND = Range(low=0, has_low=True, has_high=True)  # infinite, it is none
DECAY = Range(low=0, high=1, has_low=True)
PART = Range(low=0, high=1, has_low=True, has_high=True)
FRACTION = Range(low=0, high=1)
RATE = Range(is_rate=True)
NON_NEGATIVE_RATE = NON_NEGATIVE._replace(is_rate=True)
POSITIVE_RATE = POSITIVE._replace(is_rate=True)

RANGES = {
    "learning_rate": RATE,
    **dict.fromkeys(("beta", "beta1", "beta2", "beta3", "rho", "decay"), DECAY),
    **dict.fromkeys(("momentum", "dampening"), PART),
    **dict.fromkeys(("epsilon", "epsilon1", "epsilon2"), NON_NEGATIVE),
    **dict.fromkeys(("weight_decay", "coefficient", "damping", "temperature"), NON_NEGATIVE),
    **dict.fromkeys(("max_norm", "radius", "bound"), BOUND),
}


def ranged(name, given):
    """What is given for a hyper-parameter, and what it may be: as is said where it is given, or for its name."""
    return given if isinstance(given, Ranged) else Ranged(given, RANGES.get(name, REAL))


def in_order(function, **pair):
    """Refuse two numbers of which the first is larger; those that are variables or schedules are not known."""
    low, high = pair.values()
    if not any(callable(x) or isinstance(x, Variable) for x in (low, high)) and low > high:
        raise ValueError(f"{function}: {' must be at most '.join(pair)}, but they are {low!r} and {high!r}.")
