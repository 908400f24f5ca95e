"""Many steps in one call: the loop against calls of a function of one step, and what can be made of its updates."""

import warnings
from collections import OrderedDict

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import FAST_COMPILE, PYTHON, call, make_param, rules, scheduled, values
from pytensor.tensor.random.type import RandomType

import symupdates as su
from symupdates import gradients, schedules
from symupdates.loop import loop
from symupdates.modes import JAX_DONATED

STEPS = 7


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def like_all(arrays):
    return [pt.tensor(shape=a.shape, dtype=a.dtype) for a in arrays]


def state_of(updates):
    """The values of all keys, in bytes that can be compared."""
    return {name: array.tobytes() for name, array in su.state_dict(updates).items()}


def put(updates, start):
    for variable, value in zip(updates, start, strict=True):
        variable.set_value(value)


def both(outputs, updates, data, mode):
    """The outputs and values after calls of a function of one step, and after one call of the loop.

    `data` are inputs and, for each, an array of what it is in all steps.
    """
    start = values(updates)
    step = pytensor.function(list(data), outputs, updates=updates, mode=mode)
    recorded = [step(*given) for given in zip(*data.values(), strict=True)]
    recorded = [np.array(output) for output in zip(*recorded, strict=True)]
    one_by_one = recorded, values(updates)

    put(updates, start)
    inputs = like_all(data.values())
    stacked, many = loop(outputs, updates, dict(zip(data, inputs, strict=True)))
    assert type(many) is OrderedDict and list(many) == list(updates)
    for key, value in many.items():
        assert value.dtype == key.dtype and key.type.is_super(value.type)
    run = pytensor.function(inputs, stacked, updates=many, mode=mode)
    return one_by_one, (list(map(np.asarray, run(*data.values()))), values(updates))


def check_same_bits(outputs, updates, data, mode):
    start = values(updates)
    (expected, after), (got, after_loop) = both(outputs, updates, data, mode)
    for i, (x, y) in enumerate(zip(expected, got, strict=True)):
        assert x.dtype == y.dtype and x.tobytes() == y.tobytes(), f"outputs[{i}]: {y} instead of {x}"
    for variable, before, x, y in zip(updates, start, after, after_loop, strict=True):
        assert x.dtype == y.dtype == variable.dtype
        assert x.tobytes() == y.tobytes(), f"{variable.name}: {y} instead of {x}"
        may_stand = x.size == 0 or updates[variable] is variable or not x.any()  # a reward can be lost again
        assert may_stand or x.tobytes() != before.tobytes(), f"{variable.name} stands still"


def check_close(outputs, updates, data, mode):
    """All but the last bits, and all bits of what is integer."""
    (expected, after), (got, after_loop) = both(outputs, updates, data, mode)
    for x, y in zip(expected + after, got + after_loop, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(y, x, rtol=0, atol=16 * np.spacing(np.max(abs(x))) if x.dtype.kind == "f" else 0)
    return got, after_loop


def regression(dtype="float64"):
    """A loss, its parameters, a matrix and a vector, and its inputs, with data for some steps."""
    x, y = pt.tensor("x", shape=(7, 5), dtype=dtype), pt.tensor("y", shape=(7, 3), dtype=dtype)
    params = W, b = make_param((5, 3), dtype, "W"), make_param((3,), dtype, "b")
    loss = ((pt.tanh(x @ W + b) - y) ** 2).mean()
    data = {v: normal(STEPS, *v.type.shape, dtype=dtype, seed=i) for i, v in enumerate((x, y))}
    return loss, params, data


# --- The numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.ci
@rules(pytest.mark.full, kinds={"adam", "rprop", "muon", "sgnht"})
def test_rules(row):
    """The same bits, with fixed hyper-parameters and with schedules; plain Python computes, that nothing is fused."""
    # Without a compiler, PyTensor 3.0 computes sums of squares of very long expressions wrongly, in loops.
    long_sums = row.draws and row.coupled
    with pytensor.config.change_flags(floatX="float32", cxx=pytensor.config.cxx if long_sums else ""):
        x = pt.tensor("x", shape=(4, 3), dtype="float64")
        params = [make_param((4, 3), dtype, dtype) for dtype in ("float64" if long_sums else "float32", "float64")]
        grads = [pt.tanh(x * p) for p in params]
        updates = call(row, grads, params)
        p = make_param(row.shape, "float64", "scheduled")
        schedules = {name: scheduled(value) for name, value in row.hyper.items()}
        updates = su.merge(updates, call(row, [pt.tanh(p + x.mean())], [p], **schedules))
        assert "/t" in "".join(v.name for v in updates)
        # The rewrites take other products of matrices for the same, inside the loop and outside.
        check = check_close if long_sums or row.products else check_same_bits
        check([grads[1].sum(), params[0]], updates, {x: normal(STEPS, 4, 3)}, FAST_COMPILE)


def test_backends(backend_and_dtype):
    """The same bits on every backend, where floatX is the other dtype."""
    backend, dtype = backend_and_dtype
    with pytensor.config.change_flags(floatX={"float32": "float64", "float64": "float32"}[dtype]):
        loss, params, data = regression(dtype)
        optimizer = su.chain(
            gradients.clip_by_total_norm(max_norm=0.5),
            su.adam(learning_rate=schedules.cosine_decay(0.1, steps=5)),
            su.apply_ema(decay=0.5),
        )
        updates = optimizer(loss, params)
        rate = su.hyperparameters(updates)["adam/learning_rate"]
        check_same_bits([loss, rate, params[1]], updates, data, backend)


def test_backends_to_the_last_bits(backend):
    """AdaDelta's accumulators are sums of two products, of which either can be left unrounded in a fused loop."""
    loss, params, data = regression()
    updates = su.adadelta(loss, params, schedules.linear(1.0, 0.5, steps=5))
    check_close([loss], updates, data, backend)


@pytest.mark.long
def test_gates_and_accumulation(backend):
    """What stands still, and the counts of what goes on, in a loop with a step that is not a number."""
    loss, params, data = regression()
    data = {v: array.copy() for v, array in data.items()}
    next(iter(data.values()))[3, 0, 0] = np.nan
    optimizer = su.chain(su.accumulate(su.momentum(learning_rate=lambda step: 0.1 / (1 + step)), every=2))
    updates = su.apply_if_finite(optimizer(loss, params))
    check = both([loss], updates, data, backend)
    for x, y in zip(check[0][1], check[1][1], strict=True):
        assert x.tobytes() == y.tobytes()
    assert np.isnan(check[1][0][0]).tolist() == [i == 3 for i in range(STEPS)]
    counts = {name: v.get_value().item() for name, v in su.named(updates).items() if v.dtype == "int64"}
    assert counts["if_finite/skipped"] == 1 and counts["accumulate/t"] == STEPS - 1
    assert counts["momentum/t"] == (STEPS - 1) // 2


@pytest.mark.ci
def test_noise(backend):
    """A generator of our own is integer state like any other, and draws other numbers in each step."""
    W = make_param((4,), "float64", "W")
    x = pt.dscalar("x")
    (noise,) = gradients.add_noise([0 * x * W], eta=1.0, gamma=0.0, seed=3)
    updates = su.sgd([noise], [W], 1.0)
    (generator,) = [v for v in updates if v.dtype == "uint32"]
    first = generator.get_value()
    (draws,), _ = check_close([noise], updates, {x: np.ones(STEPS)}, backend)
    assert (generator.get_value() - first).tolist() == [0, 0, STEPS]
    assert len(np.unique(draws)) == draws.size


@pytest.mark.long
def test_order_into_shared_data(backend):
    """The order of the examples is an input: shuffled indices into data that are shared."""
    data = pytensor.shared(normal(12, 3), name="data")
    index = pt.tensor("index", shape=(4,), dtype="int64")
    W = make_param((3,), "float64", "W")
    loss = ((data[index] @ W - 1) ** 2).mean()
    updates = su.rmsprop(loss, [W], 0.1)
    order = np.random.default_rng(1).permutation(12).reshape(3, 4)
    assert order.tolist() != sorted(order.ravel())
    check_same_bits([loss], updates, {index: order}, backend)


@pytest.mark.long
def test_shapes(backend):
    """Axes of length one, none at all, and none that the types know of."""
    shapes = {"matrix": (2, 3), "row": (1, 3), "scalar": (), "empty": (0,)}
    params = [pytensor.shared(normal(*s), name=n, shape=s if 1 in s else None) for n, s in shapes.items()]
    x = pt.tensor("x", shape=(None, None), dtype="float64")
    matrix, row, scalar, empty = params
    loss = ((x * matrix * row - scalar) ** 2).sum() + empty.sum()
    updates = su.momentum(loss, params, 0.1)
    start = values(updates)
    step = pytensor.function([x], loss, updates=updates, mode=backend)
    given = normal(5, 2, 3)
    expected = [step(batch) for batch in given], *values(updates)
    put(updates, start)
    xs = pt.tensor("xs", shape=(5 if backend == "JAX" else None, None, None), dtype="float64")
    losses, many = loop(loss, updates, {x: xs})
    got = pytensor.function([xs], losses, updates=many, mode=backend)(given), *values(updates)
    for after, after_loop in zip(expected, got, strict=True):
        np.testing.assert_allclose(after_loop, after, rtol=1e-13)


def test_a_model_that_scans():
    """A recurrent network: a loop in the loop."""
    x = pt.tensor("x", shape=(6, 2), dtype="float64")
    W, U = make_param((2, 3), "float64", "W"), make_param((3, 3), "float64", "U", seed=1)
    states = pytensor.scan(
        lambda x_t, h: pt.tanh(x_t @ W + h @ U), sequences=x, outputs_info=pt.zeros(3), return_updates=False
    )
    loss = (states[-1] ** 2).sum()
    with pytensor.config.change_flags(cxx=""):
        check_same_bits([loss], su.adam(loss, [W, U], 0.1), {x: normal(3, 6, 2)}, FAST_COMPILE)


@pytest.mark.ci
def test_a_mode_of_ours():
    pytest.importorskip("jax")
    loss, params, data = regression()
    with pytensor.config.change_flags(mode="Mode"):  # of the steps in the loop
        check_same_bits([loss], su.adam(loss, params, 0.1), data, JAX_DONATED)


# --- What goes in, what comes out -------------------------------------------------------------------------------------


def test_outputs():
    """One for one, a list for a list; each as it is before the update of its step; the dict that was given stays."""
    x, y = pt.dvector("x"), pt.dscalar("y")
    W, c = pytensor.shared(np.zeros(2), name="W"), pytensor.shared(3.0, name="c")
    updates = su.sgd([pt.fill(W, -1) * y], [W], 1.0)
    given = dict(updates)
    ys = pt.constant(np.arange(1.0, 4.0))
    with pytensor.config.change_flags(cxx=""):
        stacked, many = loop([W, x, c, W.sum() + y], updates, {y: ys})
        assert updates == given
        W_t, x_t, c_t, sums = pytensor.function([x], stacked, updates=many, mode=PYTHON)([5.0, 6.0])
        np.testing.assert_array_equal(W_t, [[0, 0], [1, 1], [3, 3]])
        np.testing.assert_array_equal(x_t, [[5, 6]] * 3)
        np.testing.assert_array_equal(c_t, [3] * 3)
        np.testing.assert_array_equal(sums, [1, 4, 9])
        np.testing.assert_array_equal(W.get_value(), [6, 6])

        one, _ = loop(W.sum(), updates, {y: ys})
        assert pytensor.function([], one, mode=PYTHON)().tolist() == [12, 14, 18]
        for outputs, kind in (((W,), list), ([], list), (None, list)):
            stacked, _ = loop(outputs, updates, {y: ys})
            assert type(stacked) is kind and len(stacked) == len(outputs or ())


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("how", ["number", "variable", "sequence", "both"])
def test_number_of_steps(n, how):
    W, x = pytensor.shared(np.zeros(2, "float32"), name="W"), pt.scalar("x", dtype="float32")
    updates = su.sgd([pt.fill(W, x)], [W], lambda step: -1.0 - step)
    steps, xs = pt.lscalar("steps"), pt.vector("xs", dtype="float32")
    kinds = {
        "number": ({}, n, {x: np.float32(1)}),
        "variable": ({}, steps, {x: np.float32(1), steps: n}),
        "sequence": ({x: xs}, None, {xs: np.ones(n, "float32")}),
        "both": ({x: xs}, n, {xs: np.ones(n, "float32")}),
    }
    sequences, n_steps, inputs = kinds[how]
    with pytensor.config.change_flags(cxx=""):
        rates, many = loop(su.hyperparameters(updates)["sgd/learning_rate"], updates, sequences, n_steps)
        run = pytensor.function(list(inputs), rates, updates=many, mode=PYTHON)
        assert run(*inputs.values()).tolist() == list(range(-1, -1 - n, -1))
        run(*inputs.values())
    np.testing.assert_array_equal(W.get_value(), 2 * n * (2 * n + 1) / 2)
    assert su.named(updates)["sgd/t"].get_value() == 2 * n


@pytest.mark.skipif(pytensor.__version__.startswith("2."), reason="its scans in plain Python want a step")
def test_no_step_at_all():
    """Where the number of steps is an input, it may be zero."""
    W, n = make_param((3,), "float64", "W"), pt.lscalar("n")
    updates = su.adam((W**2).sum(), [W])
    losses, many = loop((W**2).sum(), updates, n_steps=n)
    before = state_of(updates)
    assert pytensor.function([n], losses, updates=many, mode=FAST_COMPILE)(0).shape == (0,)
    assert state_of(updates) == before


def test_lengths_that_differ_in_the_call(backend):
    """From another sequence, or from the number of steps, without which JAX has to know the lengths before."""
    x, y, xs, ys = pt.dscalar("x"), pt.dscalar("y"), pt.dvector("xs"), pt.dvector("ys")
    W = pytensor.shared(1.0, name="W")
    for n in (3,) if backend == "JAX" else (3, None):
        _, many = loop(None, su.sgd(W * x * y, [W]), {x: xs, y: ys}, n)
        run = pytensor.function([xs, ys], [], updates=many, mode=backend)
        run(np.ones(3), np.ones(3))
        for lengths in ((3, 4), (4, 3), (3, 2), (2, 3)):
            with pytest.raises((AssertionError, ValueError), match="shape"):
                run(*map(np.ones, lengths))


def test_sequences_that_are_no_inputs():
    """A learning rate that is shared, and an expression in the graph, step by step."""
    rate, W, x = pytensor.shared(0.5, name="rate"), pytensor.shared(0.0, name="W"), pt.dscalar("x")
    gradient = -(x**2)
    updates = su.sgd([gradient + 0 * W], [W], rate)
    _, many = loop(None, updates, {rate: np.array([1.0, 2.0]), gradient: np.array([-10.0, -100.0])})
    with pytensor.config.change_flags(cxx=""):
        pytensor.function([], [], updates=many, mode=PYTHON)()
    assert W.get_value() == 210 and rate.get_value() == 0.5


# --- Random generators of PyTensor ------------------------------------------------------------------------------------


def noisy(generator):
    """A loss that draws from a shared generator, its parameter, and the next value of the generator."""
    W = make_param((5,), "float64", "W")
    advanced, mask = pt.random.normal.make_node(generator, (5,), 0.0, 1.0).outputs
    return (W**2 * mask).sum(), W, advanced


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.filterwarnings("ignore:.*a copy will be used:UserWarning")  # PyTensor says so of every generator on JAX
def test_generators(backend, n):
    """A generator of the dict is carried; so is one with a default update, as the function of one step would."""
    finals, losses, states = [], [], []
    for form in ("one by one", "in the dict", "by default"):
        generator = pytensor.shared(np.random.default_rng(7), name="generator")
        loss, W, advanced = noisy(generator)
        updates = su.sgd(loss, [W], 0.1)
        if form == "by default":
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                generator.default_update = advanced
        else:
            updates[generator] = advanced
        if form == "one by one":
            step = pytensor.function([], loss, updates=updates, mode=backend)
            losses.append([step().item() for _ in range(2 * n)])
        else:
            stacked, updates = loop(loss, updates, n_steps=n)
            run = pytensor.function([], stacked, updates=updates, mode=backend)
            losses.append(np.concatenate([run(), run()]))
        assert list(updates) == [W, generator]
        finals.append(W.get_value())
        states.append(generator.get_value().bit_generator.state["state"]["state"])
    assert len(set(losses[0])) == 2 * n
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-14)
    np.testing.assert_allclose(finals[1:], [finals[0]] * 2, rtol=1e-14)
    first = np.random.default_rng(7).bit_generator.state["state"]["state"]
    assert len(set(states)) == 1 and (states[0] == first) is (backend == "JAX")  # which draws from its copy


# --- The result is an updates dict ------------------------------------------------------------------------------------


@pytest.mark.ci
def test_resume(tmp_path):
    """Three steps, a checkpoint, one step by itself, and four more: the bits of eight."""
    x = pt.dscalar("x")

    def build():
        W = make_param((4,), "float64", "W")
        updates = su.adam(gradients.add_noise([pt.cos(x * W)], seed=1), [W], schedules.linear(0.5, 0.1, steps=6))
        functions = {}
        for n in (3, 4, 8):
            xs = pt.dvector("xs")
            _, many = loop(None, updates, {x: xs}, n_steps=n)
            assert su.named(many) == su.named(updates)
            functions[n] = pytensor.function([xs], [], updates=many, mode=FAST_COMPILE), many
        functions[1] = pytensor.function([x], [], updates=updates, mode=FAST_COMPILE), updates
        return functions

    given = normal(8)
    with pytensor.config.change_flags(cxx=""):
        (run, uninterrupted), *_ = [build()[8]]
        run(given)
        functions = build()
        functions[3][0](given[:3])
        su.save(tmp_path / "run.ckpt", functions[3][1])
        functions = build()
        su.load(tmp_path / "run.ckpt", functions[1][1])
        functions[1][0](given[3])
        functions[4][0](given[4:])
    assert state_of(functions[4][1]) == state_of(uninterrupted)
    assert su.summary(functions[4][1]).startswith("name ")
    su.reset(functions[4][1])
    assert su.named(functions[8][1])["adam/t"].get_value() == 0


def test_transforms_of_the_result():
    """A call is a step to them; averages of the epochs, and a bound on what an epoch may do."""
    W, b = make_param((3,), "float64", "W"), make_param((), "float64", "b")
    x = pt.dscalar("x")
    inner = su.apply_ema(su.sgd((x * W).sum() + b, [W, b], 0.25), decay=0.5)
    _, many = loop(None, inner, {x: np.ones(4)})
    updates = su.apply_polyak_average(su.apply_if_small(many, params=[W, b], max_norm=10.0))
    with pytensor.config.change_flags(cxx=""):
        start = W.get_value()
        epoch = pytensor.function([], [], updates=updates, mode=PYTHON)
        epoch()
        epoch()
    np.testing.assert_array_equal(W.get_value(), start - 2)
    average = su.averages(updates)[W]
    np.testing.assert_allclose(average.get_value(), start - 1.5)
    count = {name: v.get_value() for name, v in su.named(updates).items()}
    assert (count["ema/t"], count["polyak_average/t"], count["if_small/skipped"]) == (8, 2, 0)


# --- Gradients through the loop ---------------------------------------------------------------------------------------


def check_gradients(mode, momentum):
    """With respect to the learning rate, the start, the data, and more with momentum: finite differences."""
    x, factor, rate, mu = pt.tensor("x", shape=(2,), dtype="float64"), pt.dscalar(), pt.dscalar(), pt.dscalar()
    W = make_param((2,), "float64", "W")
    xs, factors = like_all([np.empty((STEPS, 2)), np.empty(STEPS)])
    point, sequences = {rate: np.array(0.3), xs: normal(STEPS, 2)}, {x: xs}
    loss = pt.cos(W * x).sum()
    if momentum:
        updates = su.apply_scale(su.momentum(loss, [W], rate, mu), scale=factor)
        point |= {mu: np.array(0.8), factors: np.linspace(0.5, 1.5, STEPS)}
        sequences[factor] = factors
    else:
        updates = su.sgd(loss, [W], rate)
    _, many = loop(None, updates, sequences)
    result = (many[W] ** 2).sum()
    f = pytensor.function(list(point), [result, *pytensor.grad(result, [*point, W])], mode=mode)
    slopes = [np.asarray(g) for g in f(*point.values())[1:]]
    start, h = W.get_value(), 1e-6

    def value(variable, at):
        W.set_value(at if variable is W else start)
        return float(f(*(point | {variable: at} if variable in point else point).values())[0])

    for variable, slope in zip([*point, W], slopes, strict=True):
        for place in np.ndindex(slope.shape):
            there = point.get(variable, start)
            shift = np.zeros_like(there)
            shift[place] = h
            numeric = (value(variable, there + shift) - value(variable, there - shift)) / (2 * h)
            assert slope[place] == pytest.approx(numeric, rel=1e-6, abs=1e-8), (variable, place)
    assert min(np.max(abs(g)) for g in slopes) > 1e-3


@pytest.mark.long
def test_gradients_through_the_loop(backend):
    check_gradients(backend, momentum=False)


def test_gradients_through_momentum():
    """And with respect to the momentum, and to a factor for each step."""
    with pytensor.config.change_flags(cxx=""):
        check_gradients(PYTHON, momentum=True)


# --- Errors -----------------------------------------------------------------------------------------------------------

W = pytensor.shared(np.ones(3), name="W")
X, T, I = pt.dvector("x"), pt.dscalar("other"), pt.iscalar("index")  # noqa: E741
LOSS = (W * X).sum() + W[I]
UPDATES = su.sgd(LOSS, [W])


@pytest.mark.parametrize(
    "error, message, arguments",
    [
        (ValueError, "Give n_steps, or for some variable what it is in each step", (LOSS, UPDATES)),
        (ValueError, "Give n_steps", (LOSS, UPDATES, {})),
        (ValueError, "n_steps must be a whole number of at least 1, not 0", (LOSS, UPDATES, None, 0)),
        (ValueError, "n_steps must be a whole number", (LOSS, UPDATES, None, 2.5)),
        (TypeError, "n_steps must be a number or an integer scalar variable", (LOSS, UPDATES, None, pt.dscalar())),
        (TypeError, "n_steps must be .* not one of Vector", (LOSS, UPDATES, None, pt.lvector())),
        (ValueError, "number of steps must be .* at least 1, not 0", (LOSS, UPDATES, {X: np.ones((0, 3))})),
        (
            ValueError,
            r"x has shape \(\?,\), .* given for it \(5,\); .* stacked",
            (LOSS, UPDATES, {X: np.ones(5)}),
        ),
        (ValueError, r"x has shape .* given for it \(\?, \?, \?\)", (LOSS, UPDATES, {X: pt.tensor3()})),
        (
            TypeError,
            r"index has dtype int32, and what is given for it int64; cast it with .astype\('int32'\)",
            (LOSS, UPDATES, {I: np.ones(5, "int64")}),
        ),
        (ValueError, "depend on other", (LOSS, UPDATES, {T: pt.dvector()})),
        (ValueError, "W is updated", (LOSS, UPDATES, {W: pt.dmatrix()})),
        (TypeError, "keys must be tensor variables of one step, but 'x' is not", (LOSS, UPDATES, {"x": pt.dmatrix()})),
        (
            ValueError,
            "how many steps[?] 5 by what is given for x, 4 by what is given for index; all must be the same",
            (LOSS, UPDATES, {X: np.ones((5, 3)), I: np.ones(4, "int32")}),
        ),
        (ValueError, "5 by what is given for x, 6 by n_steps", (LOSS, UPDATES, {X: np.ones((5, 3))}, 6)),
        (TypeError, "updates must be a dict", (LOSS, list(UPDATES.items()), {}, 3)),
        (TypeError, "keys of updates must be shared variables, but x is not", (LOSS, {X: X}, {}, 3)),
        (ValueError, r"next value of W has shape \(\)", (LOSS, {W: W.sum()}, {}, 3)),
        (TypeError, "outputs must be dense tensor variables.* 3 is not", ([LOSS, 3], UPDATES, {}, 3)),
        (
            TypeError,
            "outputs must be dense tensor variables.* generator is not",
            (pytensor.shared(np.random.default_rng(), name="generator"), UPDATES, {}, 3),
        ),
    ],
)
def test_errors(error, message, arguments):
    with pytest.raises(error, match=message):
        loop(*arguments)


def test_static_shapes_are_compared():
    x = pt.tensor("x", shape=(2,), dtype="float64")
    with pytest.raises(ValueError, match=r"x has shape \(2,\), and what is given for it \(5, 3\)"):
        loop(None, su.sgd((W[:2] * x).sum(), [W]), {x: np.ones((5, 3))})


def test_sparse_keys_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    key = pytensor.shared(sparse.csr_matrix(np.eye(2)), name="key")
    with pytest.raises(TypeError, match=r"key has type Sparse.* of which there cannot be many"):
        loop(None, {key: key}, n_steps=2)


def test_a_key_that_is_a_generator_keeps_its_type():
    generator = pytensor.shared(np.random.default_rng(7), name="generator")
    _, W, advanced = noisy(generator)
    _, updates = loop(None, OrderedDict([(generator, advanced), (W, W + 1)]), n_steps=2)
    assert isinstance(updates[generator].type, RandomType) and list(updates) == [generator, W]
