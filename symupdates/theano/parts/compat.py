"""``theano.compat``: what was the same in both Pythons, and is Python's own now; and ``theano.version``."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np

__all__ = [
    "PY3",
    "Callable",
    "Counter",
    "OrderedDict",
    "defaultdict",
    "ifilter",
    "imap",
    "izip",
    "partial",
    "reduce",
    "string_types",
    "xrange",
]

from functools import reduce

PY3 = True
imap, ifilter, izip, xrange = map, filter, zip, range
string_types = (str,)
_asarray = np.asarray
version = full_version = short_version = "1.0.5"  # of the Theano that this stands for
