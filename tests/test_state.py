"""The state of a run: names, runs that are resumed bit for bit or in another way, what fits and what does not."""

import json
from collections import OrderedDict

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX
from helpers import PYTHON, call, make_param, rule_of_each_kind, scheduled, values

from symupdates import (
    adagrad,
    adagrad_window,
    adam,
    adjustable,
    apply_ema,
    apply_momentum,
    apply_polyak_average,
    averages,
    chain,
    swap_averages,
)
from symupdates.state import Unmatched, load, load_state_dict, named, reset, save, state_dict, summary, to_numpy


def build(row):
    """A rule with schedules, accelerated, on a named and an unnamed parameter; its training function's argument."""
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    params = [make_param(row.shape, "float64", "p"), make_param(row.shape, "float32", None, seed=1)]
    hyper = {name: scheduled(value) for name, value in row.hyper.items()}
    return g, apply_momentum(call(row, [g, g], params, **hyper), momentum=scheduled(0.5))


@rule_of_each_kind
def test_a_run_is_resumed_from_a_file(row, tmp_path):
    given = row.gradients(6, row.shape)
    g, updates = build(row)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for t in range(3):
        step(given[t])
    save(tmp_path / "run", updates)
    for t in range(3, 6):
        step(given[t])

    g, resumed = build(row)
    before = values(resumed)
    load(tmp_path / "run", resumed)
    assert not all(np.array_equal(a, b) for a, b in zip(before, values(resumed), strict=True))
    step = pytensor.function([g], [], updates=resumed, mode=PYTHON)
    for t in range(3, 6):
        step(given[t])
    for a, b in zip(values(updates), values(resumed), strict=True):
        assert a.tobytes() == b.tobytes()


def noisy(mode):
    """Adam with noise on the gradient from a generator in the dict."""
    p = pytensor.shared(np.linspace(-1, 1, 5), name="p")
    rng = pytensor.shared(np.random.default_rng(3), name="rng")
    next_rng, noise = pt.random.normal.make_node(rng, [5], 0.0, 1.0).outputs
    updates = adam([p + noise], [p], learning_rate=0.1) | {rng: next_rng}
    return updates, pytensor.function([], [], updates=updates, mode=mode)


@pytest.mark.ci
@pytest.mark.parametrize("first, second", [("CVM", "CVM"), ("NUMBA", "NUMBA"), ("CVM", "NUMBA"), ("NUMBA", "CVM")])
def test_generators_are_saved(first, second, tmp_path):
    """A resumed run repeats the rest of the uninterrupted one, noise included, on its own backend and the other."""
    updates, step = noisy(first)
    continued, step_second = noisy(second)
    for _ in range(3):
        step()
    save(tmp_path / "run", updates)
    # The uninterrupted run goes on with the second backend's function from the first one's values.
    for mine, theirs in zip(continued, updates, strict=True):
        mine.set_value(theirs.get_value())
    for _ in range(3):
        step_second()
    uninterrupted = state_dict(continued)
    load(tmp_path / "run", continued)
    for _ in range(3):
        step_second()
    assert state_dict(continued).keys() == uninterrupted.keys() == {"p/adam/m", "p/adam/v", "p", "adam/t", "rng"}
    for name, array in state_dict(continued).items():
        assert array.tobytes() == uninterrupted[name].tobytes(), name
    assert json.loads(str(uninterrupted["rng"]))["bit_generator"] == "PCG64"


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_kind_of_generator(kind, tmp_path):
    rng = pytensor.shared(np.random.Generator(getattr(np.random, kind)(1)), name="rng")
    rng.get_value(borrow=True).normal(size=3)
    save(tmp_path / "rng", {rng: rng})
    expected = rng.get_value().normal(size=5)
    rng.set_value(np.random.Generator(getattr(np.random, kind)(7)))
    load(tmp_path / "rng", {rng: rng})
    np.testing.assert_array_equal(rng.get_value().normal(size=5), expected)


@pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")
def test_training_on_jax_predicting_elsewhere(tmp_path):
    p = pytensor.shared(np.ones(3), name="p", shape=(3,))
    updates = adam((p**2).sum(), [p])
    step = pytensor.function([], [], updates=updates, mode="JAX")
    step()
    save(tmp_path / "run", updates)
    assert all(type(array) is np.ndarray for array in state_dict(updates).values())
    assert not isinstance(p.get_value(borrow=True), np.ndarray)
    predict = pytensor.function([], 2 * p, mode="CVM")
    to_numpy(updates)
    assert p.get_value(borrow=True).flags.writeable
    expected = 2 * p.get_value()
    np.testing.assert_array_equal(predict(), expected)
    step()
    load(tmp_path / "run", updates)
    np.testing.assert_array_equal(predict(), expected)
    value = p.get_value(borrow=True)
    to_numpy([p])
    assert p.get_value(borrow=True) is value


def test_names():
    """Of the whole dict: unnamed parameters by place, merged dicts, variables of one's own."""
    a, b, W, V = (make_param((2,), "float64", name) for name in (None, None, "W", "W"))
    mean = pytensor.shared(0.0, name="mean")
    merged = adam([pt.vector()] * 2, [a, W]) | adam([pt.vector()] * 2, [b, V]) | {mean: mean + 1}
    assert list(state_dict(merged)) == [
        "param[0]/adam/m",
        "param[0]/adam/v",
        "param[0]",
        "W[1]/adam/m",
        "W[1]/adam/v",
        "W[1]",
        "adam/t",
        "param[2]/adam/m",
        "param[2]/adam/v",
        "param[2]",
        "W[3]/adam/m",
        "W[3]/adam/v",
        "W[3]",
        "adam_2/t",
        "mean",
    ]
    state = state_dict(merged)
    state["W[3]"][:] = 5
    assert V.get_value().max() < 5


def test_a_state_that_does_not_fit_changes_nothing():
    p, q = make_param((3,), "float64", "p"), make_param((2,), "float64", "q")
    updates = adagrad([pt.vector(), pt.vector()], [p, q])
    state = {name: array + 1 for name, array in state_dict(updates).items()}
    before = values(updates)
    state["r"] = state.pop("p")
    state["q"] = np.ones(3)
    state["q/adagrad/accu"] = state["q/adagrad/accu"].astype("float32")
    with pytest.raises(ValueError) as caught:
        load_state_dict(updates, state)
    for problem in (
        "p is missing",
        "r is unknown",
        "q has shape (3,) instead of (2,)",
        "q/adagrad/accu has dtype float32 instead of float64",
        "nothing was loaded",
    ):
        assert problem in str(caught.value)
    for old, new in zip(before, values(updates), strict=True):
        np.testing.assert_array_equal(old, new)
    rng = pytensor.shared(np.random.default_rng(0), name="rng")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for text in (
        "",
        "{}",
        '{"bit_generator": "os"}',
        '{"bit_generator": "seed"}',
        '{"bit_generator": "RandomState"}',
        '{"bit_generator": "PCG64", "state": {}}',
    ):
        with pytest.raises(ValueError, match="rng is not the state of a random generator"):
            load_state_dict({rng: rng}, {"rng": np.array(text)})
    # A file names kinds of generators; it does not get other functions of NumPy called.
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    with pytest.raises(TypeError, match="keys of updates must be shared variables"):
        state_dict({pt.vector(): 1})
    thing = pytensor.shared({"a": 1}, name="thing")
    with pytest.raises(TypeError, match="value of thing cannot be saved: it is a dict"):
        state_dict({thing: thing})


# --- What fits --------------------------------------------------------------------------------------------------------


def params(*names, value=0.0):
    """Parameters of three elements; unnamed for None."""
    return [pytensor.shared(np.full(3, value + i), name=name) for i, name in enumerate(names)]


def trained(optimizer, ps, steps=3):
    """The updates of an optimizer on gradients of one, after some steps."""
    updates = optimizer([np.ones(3)] * len(ps), ps)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(steps):
        step()
    return updates


@pytest.fixture
def run(tmp_path):
    """A file of three steps of AdaGrad, and what was saved."""
    updates = trained(adagrad(learning_rate=0.5), params("w", None, value=5.0))
    save(tmp_path / "run", updates)
    return tmp_path / "run", state_dict(updates)


def assert_values(updates, expected):
    for name, variable in named(updates).items():
        np.testing.assert_array_equal(variable.get_value(), expected[name], err_msg=name)


STATE = ["w/adagrad/accu", "param[1]/adagrad/accu"]


def test_parameters_alone(run):
    """Into a list, or a dict of names; the rest is reported, and left alone."""
    file, saved = run
    w, b = params("w", None)
    assert load(file, [w, b], strict=False) == Unmatched(missing=[], unknown=STATE)
    assert_values([w, b], saved)
    encoder, other = params("encoder/w", "other", value=1.0)
    with pytest.raises(ValueError, match=r"other is missing; w/adagrad/accu is unknown; param\[1\]/adagrad"):
        load(file, {"w": encoder, "other": other})
    got = load(file, {"w": encoder, "other": other}, strict=False)
    assert got == (["other"], ["w/adagrad/accu", "param[1]/adagrad/accu", "param[1]"])
    np.testing.assert_array_equal(encoder.get_value(), saved["w"])
    np.testing.assert_array_equal(other.get_value(), 2)
    updates = adagrad([pt.vector()] * 2, params("w", None))
    assert load(file, updates) == Unmatched([], [])
    assert_values(updates, saved)


def test_lists_and_dicts_of_names_are_saved(tmp_path):
    w, b = params("w", None, value=3.0)
    for what, into in (
        ([w, b], params("w", None)),
        ({"u": w, "v": b}, dict(zip("uv", params(None, "v"), strict=True))),
    ):
        save(tmp_path / "some", what)
        load(tmp_path / "some", into)
        for variable, value in zip(into.values() if isinstance(into, dict) else into, (3, 4), strict=True):
            np.testing.assert_array_equal(variable.get_value(), value)


@pytest.mark.parametrize("how", ["file", "dict"])
def test_another_rule(how, run):
    """Its state begins anew, whatever it was before; what the file has of the old rule is reported."""
    file, saved = run
    updates = trained(adam(learning_rate=lambda t: 0.1), params("w", None))
    if how == "file":
        got = load(file, updates, strict=False)
    else:
        got = load_state_dict(updates, saved, strict=False)
    assert got.missing == ["w/adam/m", "w/adam/v", "param[1]/adam/m", "param[1]/adam/v", "adam/t"]
    assert got.unknown == STATE
    assert_values(updates, saved | dict.fromkeys(got.missing, 0))


def test_an_added_average(run):
    """It begins at the parameter that was loaded, or with the first update from there."""
    file, saved = run
    updates = apply_ema(adagrad([np.zeros(3)] * 2, params("w", None)), debias=False)
    assert load(file, updates, strict=False).missing == ["w/ema/average", "param[1]/ema/average"]
    assert_values(updates, saved | {"w/ema/average": saved["w"], "param[1]/ema/average": saved["param[1]"]})
    for apply_average in (apply_ema, apply_polyak_average):
        updates = trained(chain(adagrad(learning_rate=0.5), apply_average()), params("w", None))
        assert "w/adagrad/accu" not in load(file, updates, strict=False).missing
        pytensor.function([], [], updates=updates, mode=PYTHON)()
        (w, average), _ = averages(updates).items()
        np.testing.assert_array_equal(average.get_value(), w.get_value())
        assert (w.get_value() != saved["w"]).all()


def test_another_rate(run):
    """A number is no state; as an adjustable one it is that of the file, until it is set."""
    file, saved = run
    updates = adjustable(adagrad([pt.vector()] * 2, params("w", None), learning_rate=0.25))
    assert "adagrad/learning_rate" in load(file, updates, strict=False).missing
    assert_values(updates, saved | {"adagrad/learning_rate": 0.25, "adagrad/epsilon": 1e-6})
    save(file, updates)
    updates = adjustable(adagrad([pt.vector()] * 2, params("w", None), learning_rate=0.125))
    load(file, updates)
    rate = named(updates)["adagrad/learning_rate"]
    assert rate.get_value() == 0.25
    rate.set_value(0.125)


def test_an_added_layer(run):
    """Its parameters stay as they were made, and their state begins."""
    file, saved = run
    updates = trained(adagrad(learning_rate=0.5), params("w", None, "u"))
    u = named(updates)["u"].get_value()
    assert load(file, updates, strict=False) == (["u/adagrad/accu", "u"], [])
    assert_values(updates, saved | {"u": u, "u/adagrad/accu": np.zeros(3)})


def test_all_that_does_not_fit_is_told(run):
    """And nothing is changed. Another shape or dtype is an error, strict or not, and so is a file that has no name."""
    file, _ = run
    w, b = pytensor.shared(np.ones((3, 1)), name="w"), pytensor.shared(np.ones(3, "float32"))
    updates = adagrad([pt.matrix(), pt.vector()], [w, b]) | {(more := pytensor.shared(1.0, name="more")): more}
    before = state_dict(updates)
    fits = [
        "w/adagrad/accu has shape (3,) instead of (3, 1)",
        "w has shape (3,) instead of (3, 1)",
        "param[1]/adagrad/accu has dtype float64 instead of float32",
        "param[1] has dtype float64 instead of float32",
    ]
    for strict in (True, False):
        with pytest.raises(ValueError, match="nothing was loaded") as caught:
            load(file, updates, strict=strict)
        assert all(problem in str(caught.value) for problem in fits)
        assert ("more is missing" in str(caught.value)) is strict
    with pytest.raises(ValueError, match=r"has shape \(3,\) instead of \(\) and dtype float64 instead"):
        load(file, [pytensor.shared(np.float32(1), name="w")], strict=False)
    with pytest.raises(ValueError, match="nothing was loaded: more is missing; w/adagrad/accu is unknown"):
        load(file, [more], strict=False)
    assert_values(updates, before)


def test_names_that_are_given_are_those_of_the_file():
    """And not what the variable was called by the first version, as where a dict is given."""
    updates = trained(adam(), params("w"))
    count = named(updates)["adam/t"]
    with pytest.raises(ValueError, match=r"nothing was loaded: t is missing; adam/t is unknown\."):
        load_state_dict({"t": count}, {"adam/t": np.array(7)})


def test_parameters_of_one_name_in_another_order():
    """Their shapes tell; if these are equal nothing can, as the documentation says."""
    W, V, U = pytensor.shared(np.ones((3, 2)), name="W"), *params("W", "W")
    saved = state_dict([W, V, U])
    with pytest.raises(ValueError, match=r"W\[0\] has shape \(3, 2\) instead of \(3,\); W\[1\] has shape"):
        load_state_dict([V, W, U], saved)
    load_state_dict([W, U, V], saved)
    assert (V.get_value() != saved["W[1]"]).all()
    assert "in another order" in load.__doc__


def test_what_is_no_dict_and_no_list_is_refused(tmp_path, run):
    """An iterator would be used up, and an empty file saved; of a single variable, a list is meant."""
    file, saved = run
    whole = file.read_bytes()
    w, b = params("w", None)
    for updates in ((v for v in (w, b)), iter([w, b]), map(id, []), w, None, 3):
        for function, *given in (
            (save, file, updates),
            (load, file, updates, False),
            (load_state_dict, updates, saved),
        ):
            with pytest.raises(TypeError, match=r"updates must be an updates dict, a list .*give list\(\.\.\.\)"):
                function(*given)
    with pytest.raises(TypeError, match="load: w must be a shared variable"):
        load(file, {"w": w.get_value()})
    with pytest.raises(TypeError, match="keys of updates must be shared variables"):
        load(file, {"w": w, b: b})
    with pytest.raises(TypeError, match="value of thing cannot be saved: it is a dict"):
        load_state_dict({"w": pytensor.shared({}, name="thing")}, saved, strict=False)
    assert file.read_bytes() == whole


def test_memory_that_is_exhausted_while_values_are_set():
    """Twice, as another try is made for what the handler of a signal has raised."""
    w, b = params("w", "b")
    b.set_value = lambda *args, **kwargs: np.empty(2**59)
    with pytest.raises(MemoryError) as caught:
        load_state_dict([w, b], {"w": np.ones(3), "b": np.ones(3)})
    assert caught.value.__notes__ == ["Loaded: w. Not loaded: b."]


def test_reset():
    W = make_param((3,), "float64", "W")
    own = pytensor.shared(1.0, name="own")
    g = pt.vector("g")
    updates = apply_momentum(adam([g], [W], learning_rate=0.5)) | OrderedDict({own: own + 1})
    first = state_dict(updates)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    step(np.ones(3))
    after = W.get_value()
    reset(updates)
    for name, array in state_dict(updates).items():
        if name == "W":
            np.testing.assert_array_equal(array, after)
        elif name == "own":
            assert array == 2
        else:
            np.testing.assert_array_equal(array, first[name])
    W.set_value(np.zeros(5))
    with pytest.raises(ValueError):
        step(np.ones(5))
    reset(updates)
    step(np.ones(5))
    np.testing.assert_allclose(W.get_value(), -0.5, rtol=1e-6)


def test_a_parameter_that_was_resized(tmp_path):
    """State of its old size is told by all that read it, until it is made anew."""
    W, b = make_param((3, 2), "float64", "W"), make_param((4,), "float64", "b")
    updates = apply_ema(adagrad_window((W**2).sum() + (b**2).sum(), [W, b], n_win=5), decay=0.5)
    save(tmp_path / "run", updates)
    whole = (tmp_path / "run").read_bytes()
    W.set_value(np.ones((7, 2)))
    told = (
        r"W/adagrad_window/accu has shape \(3, 2, 5\), not \(7, 2, 5\) for W as it is now.*symupdates\.reset\(updates\)"
    )
    for read in (state_dict, summary, lambda updates: save(tmp_path / "run", updates)):
        with pytest.raises(ValueError, match=told):
            read(updates)
    for read in (averages, swap_averages):
        with pytest.raises(ValueError, match=r"W/ema/average has shape \(3, 2\), not \(7, 2\)"):
            read(updates)
    assert (tmp_path / "run").read_bytes() == whole
    reset(updates)
    assert state_dict(updates)["W/adagrad_window/accu"].shape == (7, 2, 5)
    assert "(7, 2, 5)" in summary(updates)
    swap_averages(updates)
    assert W.get_value().shape == (7, 2)
