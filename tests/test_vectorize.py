"""Many runs in one call, against each run alone; and what can be made of their updates."""

import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX
from helpers import FAST_COMPILE, PYTHON, call, every_rule_once, make_param, rules
from loss_table import LOSS_ROWS
from pytensor.compile import SharedVariable

import symupdates as su
from symupdates import gradients, schedules
from symupdates.modes import JAX_DONATED

N, STEPS = 3, 6


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def regression(dtype="float64"):
    """A loss, its parameters and its inputs."""
    x, y = pt.tensor("x", shape=(7, 5), dtype=dtype), pt.tensor("y", shape=(7, 3), dtype=dtype)
    params = W, b = make_param((5, 3), dtype, "W"), make_param((3,), dtype, "b", seed=1)
    return ((pt.tanh(x @ W + b) - y) ** 2).mean(), params, [x, y]


def starts_of(params, by=0.125):
    """Other values for each run."""
    return {p: np.stack([p.get_value() + np.asarray(by * i, p.dtype) for i in range(N)]) for p in params}


def check(outputs, updates, differing, data, mode=PYTHON, rtol=1e-12):
    """All runs in one call, and each alone: what it gives and all that it moves. Returns the updates of many.

    `data` are inputs and, for each, an array of what it is in all steps; with the axis of the runs, if it differs.
    """
    many, runs = su.vectorize(outputs, updates, differing, N)
    assert list(su.named(runs)) == list(su.named(updates))
    for v, value in runs.items():
        assert v.dtype == value.dtype and v.type.is_super(value.type)
    inputs = {x: differing.get(x, x) for x in data}
    step = pytensor.function([*inputs.values()], many, updates=runs, mode=mode)
    begin = [su.take_run(runs, i) for i in range(N)]
    got = [step(*given) for given in zip(*data.values(), strict=True)]
    one = pytensor.function([*data], outputs, updates=updates, mode=mode)
    for i in range(N):
        su.load_state_dict(updates, begin[i])
        for v in differing:
            if isinstance(v, SharedVariable) and v not in updates:
                v.set_value(np.asarray(differing[v][i], v.dtype))
        for recorded, given in zip(got, zip(*data.values(), strict=True), strict=True):
            alone = one(*(a[i] if x in differing else a for x, a in zip(data, given, strict=True)))
            for a, b in zip(recorded, alone, strict=True):
                np.testing.assert_allclose(a[i], b, rtol=rtol)
        for (name, a), b in zip(su.take_run(runs, i).items(), su.state_dict(updates).values(), strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, name
            largest = np.max(np.abs(b), initial=0) if b.dtype.kind == "f" else 0
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * largest, err_msg=f"{name} of run {i}")
    return runs


# --- The numbers ------------------------------------------------------------------------------------------------------


def batches():
    return normal(STEPS, 7, 5, seed=8), normal(STEPS, 7, 3, seed=9)


@every_rule_once
def test_rules(row):
    loss, params, inputs = regression()
    updates = call(row, loss, params)
    runs = check([loss], updates, starts_of(params), dict(zip(inputs, batches(), strict=True)))
    values = [v.get_value() for v in runs if v.name in ("W", "b")]
    assert all(len(np.unique(value, axis=0)) == N for value in values)


@pytest.mark.ci
def test_rates_and_starts_on_every_backend(backend):
    loss, params, inputs = regression()
    rate = pytensor.shared(0.5, name="rate")
    updates = su.momentum(loss, params, learning_rate=rate)
    differing = starts_of(params) | {rate: [0.5, 0.25, 0.125]}
    check([loss], updates, differing, dict(zip(inputs, batches(), strict=True)), backend)


@pytest.mark.ci
@pytest.mark.long
def test_everything(backend_and_dtype):
    """Rates, starts, batches and seeds that differ, a clip, a gate, an average and a schedule."""
    backend, dtype = backend_and_dtype
    loss, params, inputs = regression(dtype)
    rate = pytensor.shared(np.asarray(0.5, dtype), name="rate")
    optimizer = su.chain(
        gradients.clip_by_total_norm(max_norm=0.25),
        gradients.add_noise(eta=0.125, seed=3),
        su.adam(learning_rate=rate, beta1=schedules.linear(0.75, 0.875, steps=4)),
        su.apply_if_finite(),
        su.apply_ema(decay=0.5),
    )
    updates = optimizer(loss, params)
    x, y = inputs
    xs, ys = batches()
    many = np.stack([xs, xs[::-1], 2 * xs], axis=1)
    many[3, 1, 0, 0] = np.nan  # of which only the second run has to know
    differing = starts_of(params) | {rate: [0.5, 0.25, 0.125], x: pt.tensor("xs", shape=(N, 7, 5), dtype=dtype)}
    data = {x: many.astype(dtype), y: ys.astype(dtype)}
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    runs = check([loss, *params], updates, differing, data, backend, tolerance)
    assert su.named(runs)["if_finite/skipped"].get_value().tolist() == [0, 1, 0]
    assert len({tuple(words) for words in su.named(runs)["add_noise/rng"].get_value().tolist()}) == N


REFUSED = {"gauss_newton", "levenberg_marquardt", "natural_gradient"}  # whose conjugate gradients are a loop


@rules(pytest.mark.ci, pytest.mark.once, rows=LOSS_ROWS, kinds={"sam", "gauss_newton"})
def test_rules_of_the_loss(row):
    x, params = pt.tensor("x", shape=(7, 5), dtype="float64"), [make_param((5,), "float64", "w")]
    z = x @ params[0] - 1
    loss = pt.log(pt.cosh(z)).sum()
    updates = row.rule(loss, params, **row.arguments(z), **row.hyper)
    if row.name in REFUSED:
        with pytest.raises(NotImplementedError, match=r"vectorize: the next values of w.* are computed with Scan"):
            su.vectorize(loss, updates, n_runs=2)
        return
    data, _ = batches()
    check([loss], updates, starts_of(params), {x: np.stack([data[0]] * STEPS) if row.same else data}, FAST_COMPILE)


def test_rules_with_schedules():
    """Counts are those of each run, and go on from where they are."""
    loss, params, inputs = regression()
    updates = su.adam(loss, params, learning_rate=schedules.linear(0.5, 0.125, steps=4))
    su.named(updates)["adam/t"].set_value(2)
    runs = check([loss], updates, starts_of(params), dict(zip(inputs, batches(), strict=True)))
    assert su.named(runs)["adam/t"].get_value().tolist() == [2 + STEPS] * N


def test_a_table_of_rows():
    """Rows that a step looks up, of which each run looks up others."""
    table, index = make_param((6, 2), "float64", "table"), pt.lvector("index")
    rows = su.rows(table, index)
    loss = ((rows - 1) ** 2).sum()
    updates = su.adagrad(loss, [rows], 0.25)
    given = np.random.default_rng(0).integers(0, 6, size=(STEPS, N, 4))
    check([loss], updates, {index: pt.tensor("indices", shape=(N, 4), dtype="int64")}, {index: given})


def test_labels_that_differ():
    """Folds of a classification: minibatches with integer labels for each run."""
    x, y, W = pt.matrix("x", dtype="float64"), pt.lvector("y"), make_param((5, 3), "float64", "W")
    loss = -pt.special.log_softmax(x @ W, axis=1)[pt.arange(y.shape[0]), y].mean()
    differing = {x: pt.tensor3("xs", dtype="float64"), y: pt.lmatrix("ys")}
    rng = np.random.default_rng(0)
    data = {x: rng.normal(size=(STEPS, N, 4, 5)), y: rng.integers(0, 3, size=(STEPS, N, 4))}
    check([loss], su.momentum(loss, [W], 0.5), differing, data)


def test_the_model_own_state():
    """Averages of the model are each run's own; draws of a generator of PyTensor differ between the runs."""
    loss, params, inputs = regression()
    mean = pytensor.shared(np.zeros(5), name="mean")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of PyTensor, from 3.3 on
        mean.default_update = 0.5 * mean + 0.5 * inputs[0].mean(axis=0)
    rng = pytensor.shared(np.random.default_rng(2), name="dropout")
    next_rng, kept = pt.random.bernoulli.make_node(rng, pt.as_tensor([5]), pt.constant(0.5)).outputs
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        rng.default_update = next_rng
    loss = loss + ((inputs[0] - mean) * kept).mean() ** 2 + (params[0].sum(axis=1) * kept).mean() ** 2
    updates = su.sgd(loss, params, 0.125)
    many, runs = su.vectorize([loss, kept], updates, n_runs=N)
    assert sorted(su.named(runs)) == ["W", "b", "dropout", "mean"]
    step = pytensor.function(inputs, many, updates=runs, mode=FAST_COMPILE)
    xs, ys = batches()
    masks = np.array([step(x, y)[1] for x, y in zip(xs, ys, strict=True)])
    assert masks.shape == (STEPS, N, 5) and len(np.unique(masks.swapaxes(0, 1).reshape(N, -1), axis=0)) == N
    right = np.zeros(5)
    for x in xs:
        right = 0.5 * right + 0.5 * x.mean(axis=0)
    np.testing.assert_allclose(su.named(runs)["mean"].get_value(), [right] * N, rtol=1e-12)


# --- What can be made of them -----------------------------------------------------------------------------------------


def noisy(loss, params):
    return su.chain(gradients.add_noise(eta=0.125, seed=3), su.adam(learning_rate=0.25), su.apply_ema(decay=0.5))(
        loss, params
    )


@pytest.mark.ci
@pytest.mark.once
def test_a_loop_of_many_runs():
    """A whole sweep in one call: the steps of the function of one step."""
    loss, params, inputs = regression()
    many, runs = su.vectorize(loss, noisy(loss, params), starts_of(params))
    start = su.state_dict(runs)
    step = pytensor.function(inputs, many, updates=runs, mode=FAST_COMPILE)
    expected = np.array([step(*given) for given in zip(*batches(), strict=True)])
    after = su.state_dict(runs)
    su.load_state_dict(runs, start)
    stacks = [pt.tensor(shape=a.shape, dtype=a.dtype) for a in batches()]
    recorded, epoch = su.loop(many, runs, dict(zip(inputs, stacks, strict=True)))
    got = pytensor.function(stacks, recorded, updates=epoch, mode=FAST_COMPILE)(*batches())
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    for name, a in su.state_dict(epoch).items():
        np.testing.assert_allclose(a, after[name], rtol=1e-12, err_msg=name)


def test_checkpoints_reset_and_averages(tmp_path):
    """A new dict resumes; state begins again as it began, for each run; averages are of each."""
    loss, params, inputs = regression()
    differing = starts_of(params)
    many, runs = su.vectorize(loss, noisy(loss, params), differing)
    began = su.state_dict(runs)
    step = pytensor.function(inputs, many, updates=runs, mode=PYTHON)
    data = list(zip(*batches(), strict=True))
    for given in data[:3]:
        step(*given)
    su.save(tmp_path / "runs.ckpt", runs)
    expected = [step(*given) for given in data[3:]]

    loss, params, inputs = regression()
    many, again = su.vectorize(loss, noisy(loss, params), n_runs=N)
    su.load(tmp_path / "runs.ckpt", again)
    step = pytensor.function(inputs, many, updates=again, mode=PYTHON)
    np.testing.assert_array_equal([step(*given) for given in data[3:]], expected)

    for v, average in su.averages(again).items():
        assert average.get_value().shape == v.get_value().shape == (N, *dict(W=(5, 3), b=(3,))[v.name])
    su.reset(again)
    for name, v in su.named(again).items():
        at_parameter = name.endswith("ema/average")
        right = su.named(again)[name.split("/")[0]].get_value() if at_parameter else began[name]
        if "/" in name:
            np.testing.assert_array_equal(v.get_value(), right, err_msg=name)


def test_what_is_added_behind():
    """A transform of many runs is one of larger parameters; a run of it is taken out all the same."""
    loss, params, inputs = regression()
    many, runs = su.vectorize(loss, su.sgd(loss, params, 0.25), starts_of(params))
    runs = su.apply_ema(runs, decay=0.5)
    step = pytensor.function(inputs, many, updates=runs, mode=PYTHON)
    for given in zip(*batches(), strict=True):
        step(*given)
    alone = su.apply_ema(su.sgd(loss, params, 0.25), decay=0.5)
    su.load_state_dict(alone, su.take_run(runs, 1))
    assert su.named(alone)["ema/t"].get_value() == STEPS
    for name in ("W", "W/ema/average", "b/ema/average"):
        np.testing.assert_array_equal(su.named(alone)[name].get_value(), su.named(runs)[name].get_value()[1])


def test_hyper_parameters_by_name():
    """Those that were numbers differ too: by what hyperparameters gives, which they are found by afterwards."""
    loss, params, inputs = regression()
    updates = su.adam(loss, params, learning_rate=0.25, beta1=0.875)
    rates = [0.5, 0.25, 0.125]
    many, runs = su.vectorize(loss, updates, {su.hyperparameters(updates)["adam/learning_rate"]: rates})
    found = su.hyperparameters(runs)
    assert list(found) == list(su.hyperparameters(updates))
    np.testing.assert_array_equal(found["adam/learning_rate"].get_value(), rates)
    step = pytensor.function(inputs, many, updates=runs, mode=PYTHON)
    start = su.state_dict(updates)
    xs, ys = batches()
    step(xs[0], ys[0])
    for i, rate in enumerate(rates):
        one = su.adam(loss, params, learning_rate=rate, beta1=0.875)
        su.load_state_dict(one, start)
        pytensor.function(inputs, [], updates=one, mode=PYTHON)(xs[0], ys[0])
        for name, value in su.take_run(runs, i).items():
            np.testing.assert_allclose(value, su.named(one)[name].get_value(), rtol=1e-12)


def test_adjustable_hyper_parameters():
    loss, params, inputs = regression()
    optimizer = su.chain(su.adam(learning_rate=0.25), su.adjustable())
    updates = optimizer(loss, params)
    many, runs = su.vectorize(loss, updates, n_runs=N)
    rate = su.named(runs)["adam/learning_rate"]
    assert rate.get_value().tolist() == [0.25] * N
    rate.set_value(np.array([0.0, 0.25, 0.5]))
    before = su.named(runs)["W"].get_value()
    pytensor.function(inputs, many, updates=runs, mode=PYTHON)(*(a[0] for a in batches()))
    moved = [np.any(a != b) for a, b in zip(before, su.named(runs)["W"].get_value(), strict=True)]
    assert moved == [False, True, True]


def test_summary():
    loss, params, _ = regression()
    _, runs = su.vectorize(loss, su.adam(loss, params, learning_rate=schedules.linear(0.5, 0.25, 10)), n_runs=N)
    text = su.summary(runs)
    assert f"({N}, 5, 3)" in text and "linear" in text


def test_one_call_makes_the_runs_of_the_present_values():
    """One run, and none of the axes that PyTensor broadcasts is taken for that of the runs."""
    loss, params, inputs = regression()
    many, runs = su.vectorize([loss, pt.constant(2.0)], su.adam(loss, params), n_runs=1)
    values = pytensor.function(inputs, many, updates=runs, mode=PYTHON)(*(a[0] for a in batches()))
    alone = pytensor.function(inputs, loss, updates=su.adam(loss, params), mode=PYTHON)(*(a[0] for a in batches()))
    np.testing.assert_allclose(values[0], [alone], rtol=1e-12)
    assert values[1].tolist() == [2.0]
    for name, value in su.take_run(runs, -1).items():
        if name in ("W", "b"):
            np.testing.assert_allclose(value, {p.name: p for p in params}[name].get_value(), rtol=1e-12)


@pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")
@pytest.mark.ci
def test_donated():
    loss, params, inputs = regression("float32")
    updates = su.adam(loss, params, 0.25)
    data = dict(zip(inputs, (a.astype("float32") for a in batches()), strict=True))
    check([loss], updates, starts_of(params), data, JAX_DONATED, 1e-5)


# --- Errors -----------------------------------------------------------------------------------------------------------

w = pytensor.shared(np.ones(2), name="w")
r = pt.scalar("r", dtype="float64")
loss_of_w = (w**2).sum()


by_rate = su.sgd(loss_of_w, [w], r)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((loss_of_w, by_rate), ValueError, r"how many runs\? Give n_runs"),
        ((loss_of_w, by_rate, {r: [1.0, 2.0]}, 3), ValueError, r"how many runs\? 2 by .* r, 3 by n_runs"),
        ((loss_of_w, by_rate, {r: pt.vector(dtype="float64")}), ValueError, "n_runs, as a number"),
        ((loss_of_w, by_rate, {r: 1.0}), ValueError, r"r has shape \(\), and what is given for it \(\)"),
        ((loss_of_w, by_rate, {r: [1j]}), TypeError, r"r has dtype float64, .*complex128"),
        ((loss_of_w, by_rate, {w: pt.matrix(dtype="float64")}, 2), TypeError, "w is updated; give"),
        ((loss_of_w, by_rate, {w: np.ones((2, 3))}), ValueError, r"w has a value of shape \(2,\), and what"),
        ((loss_of_w, by_rate, {pt.scalar("z"): [1.0]}), ValueError, "neither outputs nor updates depend on z"),
        ((loss_of_w, by_rate, {"r": [1.0]}), TypeError, "the keys must be tensor variables of one run"),
        ((loss_of_w, by_rate, [1.0]), TypeError, "differing must be a dict"),
        ((loss_of_w, by_rate, {}, 0), ValueError, "n_runs must be a whole number of at least 1"),
        ((loss_of_w, [w], {}, 2), TypeError, "vectorize: updates must be"),
        ((3.0, by_rate, {}, 2), TypeError, "outputs must be a list"),
        (([w, 3.0], by_rate, {}, 2), TypeError, "outputs must be dense tensor variables"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        su.vectorize(*arguments)


def test_errors_of_take_run():
    updates = su.sgd(loss_of_w, [w], 0.5)
    with pytest.raises(ValueError, match="take_run: these are the updates of one run"):
        su.take_run(updates, 0)
    _, runs = su.vectorize(None, updates, n_runs=2)
    with pytest.raises(IndexError):
        su.take_run(runs, 2)
