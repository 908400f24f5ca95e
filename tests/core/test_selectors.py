"""Which parameters are meant, and what is said where none is."""

import pytest
from helpers import make_param

from symupdates.core.selectors import select

NAMES = ["conv1/W", "conv1/b", "conv2/W", "conv2/b", "dense/W", "dense/b", "norm/scale"]
PARAMS = [make_param((2,), "float64", name) for name in NAMES]


def names(selector):
    return [p.name for p in select("freeze: params", selector, PARAMS, NAMES)]


def test_what_is_selected():
    assert names("^conv") == NAMES[:4]
    assert names(r"\d/b$") == ["conv1/b", "conv2/b"]
    assert names(lambda p: p.name.startswith("norm")) == ["norm/scale"]
    assert names(...) == NAMES
    for given in ([PARAMS[3], PARAMS[0]], (PARAMS[3], PARAMS[0]), iter([PARAMS[3], PARAMS[0]])):
        assert names(given) == ["conv2/b", "conv1/W"]
    assert names([]) == []


def test_a_pattern_that_fits_nothing_tells_the_closest_names():
    with pytest.raises(ValueError, match=r"^freeze: params: the pattern '\^cnv' fits none of the names conv"):
        names("^cnv")
    with pytest.raises(ValueError, match=r"fits none of the names norm/scale, .* and 2 others"):
        names("nrom")
    with pytest.raises(ValueError, match="fits none of the names dense/"):
        names(r"^Dense(/W)?$")


def test_a_function_that_selects_nothing_is_named():
    def is_embedding(p):
        return "embed" in p.name

    with pytest.raises(
        ValueError, match=r"the function is_embedding selects none of the parameters conv1/W, .* 2 others"
    ):
        names(is_embedding)


def test_of_nothing_nothing_is_selected():
    for selector in ("^conv", lambda p: True, ..., []):
        assert select("freeze: params", selector, [], []) == []
