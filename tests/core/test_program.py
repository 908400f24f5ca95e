"""The program around an updates dict: what the model moves itself, what is a parameter, and the name of each thing."""

import os
import pickle
import signal
import subprocess
import sys
import warnings
from ast import literal_eval
from functools import partial
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, moves

import symupdates as su
from symupdates.core.program import moved
from symupdates.gradients import add_noise, clip_by_value
from symupdates.schedules import constant, linear, reduce_on_plateau


class Model:
    """A regression with dropout and batch normalisation: a generator and two averages that no rule knows of."""

    def __init__(self, seed=3):
        rng = np.random.default_rng(0)
        self.x, self.y = pt.dmatrix("x"), pt.dvector("y")
        self.w = pytensor.shared(rng.normal(size=4), name="w")
        self.b = pytensor.shared(0.0, name="b")
        self.mean, self.sd = pytensor.shared(np.zeros(4), name="mean"), pytensor.shared(np.ones(4), name="sd")
        self.rng = pytensor.shared(np.random.default_rng(seed))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of what it returns, from 3.0 on
            next_rng, kept = pt.random.bernoulli(0.5, size=self.x.shape, rng=self.rng).owner.outputs
        moves(self.rng, next_rng)
        moves(self.mean, 0.5 * self.mean + 0.5 * self.x.mean(axis=0))
        moves(self.sd, 0.5 * self.sd + 0.5 * self.x.std(axis=0))
        # The averages of what was before this minibatch, as in batch renormalisation.
        hidden = (self.x - self.mean) / self.sd * kept
        self.loss = ((hidden @ self.w + self.b - self.y) ** 2).mean()
        self.params = [self.w, self.b]

    def trained_by(self, optimizer):
        updates = optimizer(self.loss, self.params)
        return updates, pytensor.function([self.x, self.y], self.loss, updates=updates, mode=PYTHON)


def batches(n, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(6, 4)), rng.normal(size=6)) for _ in range(n)]


def test_state_has_what_only_the_loss_reads():
    w, running = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="running")
    moves(running, 0.9 * running + 0.1 * w)
    updates = su.sgd(w**2 + 0 * running, [w], 0.1)
    assert list(updates) == [w]
    assert su.state_dict(updates) == {"w": 1.0, "running": 0.0}
    assert list(su.named(updates).values()) == [w, running]
    assert "running" in su.summary(updates) and "1 parameter of 1 element" in su.summary(updates)
    assert "1 other variable of 8 bytes" in su.summary(updates)


@pytest.mark.parametrize(
    "optimizer",
    [
        su.adam(learning_rate=0.1),
        su.chain(clip_by_value(limit=linear(1.0, 0.1, steps=3)), su.adam(), su.apply_ema()),
        su.partition(("^w", su.sgd(learning_rate=0.1)), (..., su.adam())),
        su.accumulate(su.momentum(learning_rate=0.1), every=2),
        su.sam(optimizer=su.sgd(learning_rate=0.1)),
    ],
    ids=["rule", "chain", "partition", "accumulate", "sam"],
)
def test_a_run_with_dropout_and_batch_normalisation_is_resumed_bit_for_bit(optimizer, tmp_path):
    given = batches(9)
    updates, step = Model().trained_by(optimizer)
    for batch in given[:4]:
        step(*batch)
    su.save(tmp_path / "run.ckpt", updates)
    expected = [step(*batch) for batch in given[4:]]

    resumed, step = Model(seed=99).trained_by(optimizer)
    su.load(tmp_path / "run.ckpt", resumed)
    assert [step(*batch) for batch in given[4:]] == expected
    for (name, got), (other, value) in zip(su.state_dict(resumed).items(), su.state_dict(updates).items(), strict=True):
        assert name == other and got.tobytes() == value.tobytes()


PROGRAM = """
import os, signal, sys
import symupdates as su
from test_program import Model, batches

updates, step = Model(seed=int(sys.argv[2])).trained_by(su.chain(su.adam(), su.apply_if_finite()))
at = 0
if os.path.exists("run.ckpt"):
    su.load("run.ckpt", updates)
    at = int(su.named(updates)["adam/t"].get_value())
for batch in batches(6)[at:]:
    print(step(*batch).item().hex(), flush=True)
    su.save("run.ckpt", updates)
    if su.named(updates)["adam/t"].get_value() == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.ci
@pytest.mark.once
def test_a_program_that_is_killed_and_resumed_prints_the_same_numbers(tmp_path):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *filter(None, sys.path)])

    def run(folder, kill_at, seed):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", PROGRAM, str(kill_at), str(seed)]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == (-signal.SIGKILL if kill_at else 0), done.stderr
        return done.stdout.split()

    whole = run(tmp_path / "whole", 0, seed=3)
    assert len(whole) == 6 and run(tmp_path / "killed", 2, seed=3) + run(tmp_path / "killed", 0, seed=9) == whole


def test_the_loop_carries_what_the_model_moves():
    given = batches(6)
    model = Model()
    updates, step = model.trained_by(su.adam())
    expected = [step(*batch) for batch in given]

    model = Model()
    xs, ys = (pt.tensor(shape=(6, *x.shape), dtype="float64") for x in given[0])
    losses, updates_of_loop = su.loop(model.loss, su.adam(model.loss, model.params), {model.x: xs, model.y: ys})
    epoch = pytensor.function([xs, ys], losses, updates=updates_of_loop, mode=PYTHON)
    np.testing.assert_allclose(epoch(*map(np.stack, zip(*given, strict=True))), expected, rtol=1e-12)
    for got, value in zip(su.state_dict(updates_of_loop).values(), su.state_dict(updates).values(), strict=True):
        if value.dtype.kind == "f":
            np.testing.assert_allclose(got, value, rtol=1e-12)
        else:
            assert got == value


@pytest.mark.parametrize("gate", [su.apply_if_finite(), su.apply_if_small(max_norm=1e9)], ids=["finite", "small"])
def test_a_skipped_step_leaves_the_model_as_it_was(gate):
    model = Model()
    counted = pytensor.shared(0, name="counted")

    def with_own(updates):
        return {**updates, counted: counted + 1}

    updates, step = model.trained_by(su.chain(su.adam(), with_own, gate))
    assert set(updates) >= {model.mean, model.sd, counted} and model.rng not in updates
    good, bad = batches(2)
    bad[0][0, 1] = np.nan
    step(*good)
    before = su.state_dict(updates)
    np.testing.assert_allclose(before["mean"], 0.5 * good[0].mean(axis=0), rtol=1e-14)
    step(*bad)
    after = su.state_dict(updates)
    moving = {name for name in after if not np.array_equal(before[name], after[name])}
    name = gate.func.__name__.removeprefix("apply_")
    assert moving == {"model", f"{name}/skipped", f"{name}/in_a_row"}  # the generator goes on
    step(*good)
    assert counted.get_value() == 2 and np.isfinite(model.mean.get_value()).all()


def test_a_skipped_step_leaves_a_statistic_that_alone_is_not_finite():
    w, largest = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="largest")
    x = pt.dscalar("x")
    moves(largest, largest + x**3)
    updates = su.apply_if_finite(su.sgd(w * x + 0 * largest, [w], 0.1))
    step = pytensor.function([x], updates=updates, mode=PYTHON)
    step(1e200)
    assert (w.get_value(), largest.get_value()) == (1.0, 0.0)
    assert su.named(updates)["if_finite/skipped"].get_value() == 1
    step(1.0)
    assert (w.get_value(), largest.get_value()) == (0.9, 1.0)


GATED = su.chain(su.adam(), su.apply_if_finite())


@pytest.mark.parametrize(
    "optimizer",
    [
        su.chain(su.adam(), su.apply_if_finite(params="w")),
        su.partition(("w", GATED), (..., su.sgd())),
        su.partition((..., GATED)),
        su.accumulate(GATED, every=2),
    ],
    ids=["some", "group", "one group", "accumulated"],
)
def test_a_gate_for_a_part_of_the_step_leaves_the_model_alone(optimizer):
    model = Model()
    updates, _ = model.trained_by(optimizer)
    assert model.mean not in updates and model.sd not in updates


def test_freezing_and_accumulating_leave_the_model_alone():
    for optimizer in (su.chain(su.sgd(), su.apply_freeze(until=3)), su.accumulate(su.sgd(), every=2)):
        model = Model()
        _, step = model.trained_by(optimizer)
        ((x, y),) = batches(1)
        step(x, y)
        np.testing.assert_allclose(model.mean.get_value(), 0.5 * x.mean(axis=0), rtol=1e-14)


def test_an_average_of_what_the_model_moves():
    w, running = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="running")
    moves(running, running + 1)
    updates = su.apply_polyak_average(su.sgd(w**2 + 0 * running, [w], 0.1), params=[w, running])
    step = pytensor.function([], updates=updates, mode=PYTHON)
    for _ in range(3):
        step()
    assert running not in updates and running.get_value() == 3
    assert su.averages(updates)[running].name == "running/polyak_average/average"
    assert su.averages(updates)[running].get_value() == (1 + 2 + 3) / 3


def test_to_numpy_converts_what_the_model_moves():
    jnp = pytest.importorskip("jax.numpy")
    w, running = pytensor.shared(np.ones(2), name="w"), pytensor.shared(np.zeros(2), name="running")
    moves(running, running + w)
    updates = su.sgd((w**2).sum() + 0 * running.sum(), [w], 0.1)
    running.set_value(jnp.ones(2), borrow=True)
    running.container.storage[0] = jnp.ones(2)
    su.to_numpy(updates)
    assert type(running.get_value(borrow=True)) is np.ndarray


def test_defaults_are_found_behind_defaults_and_of_outputs():
    w, first, second, other = (pytensor.shared(1.0, name=name) for name in ("w", "first", "second", "other"))
    moves(second, second / 2)
    moves(first, first + second)
    moves(other, other + 1)
    updates = su.sgd(w * first, [w], 0.1)
    assert list(moved(updates)) == [w, first, second]
    assert set(moved(updates, [other])) == {w, first, second, other}
    assert moved(updates)[first] is first.default_update


# --- Parameters and other keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [su.apply_momentum(), su.apply_weight_decay(learning_rate=1.0), su.apply_scale(scale=0.5), su.apply_projection()],
    ids=lambda transform: transform.func.__name__,
)
def test_transforms_leave_keys_of_ones_own_alone(transform):
    """A hidden state, a target network and a running mean beside a parameter, from 1 to 0.9."""
    w, hidden, target = (pytensor.shared(1.0, name=name) for name in ("w", "hidden", "target"))
    updates = su.sgd(w**2 / 2, [w], 0.1)
    own = {hidden: pt.tanh(hidden - 3), target: 0.5 * target + 0.5 * w}
    transformed = transform({**updates, **own})
    assert [transformed[v] for v in own] == list(own.values())
    assert not any(v.name.startswith(("hidden/", "target/")) for v in transformed)


def test_momentum_of_a_dict_with_a_hidden_state():
    w, hidden = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="hidden")
    updates = su.sgd(w**2 / 2, [w], 0.1)
    updates[hidden] = pt.tanh(hidden + 1)
    step = pytensor.function([], updates=su.apply_momentum(updates), mode=PYTHON)
    expected = 0.0
    for _ in range(10):
        step()
        expected = np.tanh(expected + 1)
    np.testing.assert_allclose(hidden.get_value(), expected, rtol=1e-14)


def test_in_a_dict_of_ones_own_all_float_keys_are_parameters():
    w, count = pytensor.shared(1.0, name="w"), pytensor.shared(0, name="count")
    updates = su.apply_momentum({w: 0.9 * w, count: count + 1})
    assert [v.name for v in updates] == ["w", "count", "w/momentum/velocity"]


def test_a_parameter_of_another_dict_is_one():
    """Trained by a rule before, and by an expression of one's own now."""
    w, other = pytensor.shared(1.0, name="w"), pytensor.shared(1.0, name="other")
    su.adam(w**2, [w])
    assert [v.name for v in su.apply_momentum({other: other / 2, w: w / 2})] == ["other", "w", "w/momentum/velocity"]


# --- Counts that several parts read -----------------------------------------------------------------------------------


def two_params():
    a, b = pytensor.shared(4.0, name="a"), pytensor.shared(4.0, name="b")
    return a, b, 3 * a + 3 * b


def test_the_schedule_of_a_clip_before_accumulation_counts_minibatches():
    a, _, loss = two_params()
    optimizer = su.chain(clip_by_value(limit=linear(1.0, 0.0, steps=4)), su.accumulate(su.sgd(learning_rate=1.0), 2))
    updates = optimizer(loss, [a])
    step = pytensor.function([], updates=updates, mode=PYTHON)
    path = []
    for _ in range(4):
        step()
        path.append(a.get_value().item())
    # Clipped to 1, 0.75, 0.5, 0.25; a step by the mean of two.
    assert path == [4.0, 4.0 - 0.875, 4.0 - 0.875, 4.0 - 0.875 - 0.375]
    assert su.named(updates)["clip_by_value/t"].get_value() == 4


@pytest.mark.parametrize(
    ("gated", "moved_by"),
    [
        (su.accumulate(su.sgd(learning_rate=1.0), every=3), 0.75),
        (su.chain(su.sgd(learning_rate=1.0), su.apply_freeze(until=2)), 0.5),
        (su.chain(su.sgd(learning_rate=1.0), su.apply_if_small(max_norm=0.6)), 0.5),
    ],
    ids=["accumulate", "freeze", "if_small"],
)
def test_the_schedule_of_a_clip_before_groups_counts_updates_whatever_their_gates_hold(gated, moved_by):
    """The clip is 1, 0.75, 0.5: one group goes by it; the other not before the third step, by the last or the mean."""
    a, b, loss = two_params()
    groups = {"one": ("a", gated), "two": ("b", su.sgd(learning_rate=1.0))}
    clip = clip_by_value(limit=linear(1.0, 0.0, steps=4))
    updates = su.chain(clip, su.partition(**groups))(loss, [a, b])
    step = pytensor.function([], updates=updates, mode=PYTHON)
    for _ in range(3):
        step()
    assert b.get_value() == 4 - 1 - 0.75 - 0.5
    assert a.get_value() == 4 - moved_by
    assert su.named(updates)["clip_by_value/t"].get_value() == 3


@pytest.mark.parametrize("second", [su.sgd, su.momentum])
def test_a_plateau_that_groups_share_counts_every_loss(second):
    """Two in a row that are no better halve the rate of both, though a gate holds one."""
    a, b, loss = two_params()
    rate = reduce_on_plateau(constant(1.0), 0 * loss, factor=0.5, patience=2)
    never = su.chain(su.sgd(learning_rate=rate), su.apply_freeze())
    updates = su.partition(("a", never), ("b", second(learning_rate=rate)))(loss, [a, b])
    step = pytensor.function([], updates=updates, mode=PYTHON)
    for _ in range(3):
        step()
    assert a.get_value() == 4
    assert su.named(updates)["reduce_on_plateau/scale"].get_value() == 0.5


def test_values_of_ones_own_that_differ_are_a_conflict():
    w, own = pytensor.shared(1.0, name="w"), pytensor.shared(1.0, name="own")
    with pytest.raises(ValueError, match="more than one of the dicts updates own"):
        su.merge({w: w / 2, own: own + 1}, {own: own + 2})


# --- Names ------------------------------------------------------------------------------------------------------------


def conv_and_out():
    conv, out = pytensor.shared(1.0, name="conv"), pytensor.shared(2.0, name="out")
    return conv, out, conv * out


FIRST, SECOND = su.adam(learning_rate=0.001), su.adam(learning_rate=0.01)


@pytest.mark.parametrize(
    ("optimizer", "labels"),
    [
        (su.partition(("^conv", FIRST), (..., SECOND)), ("adam", "adam_2")),
        (su.partition(conv=("^conv", FIRST), rest=(..., SECOND)), ("conv/adam", "rest/adam")),
        (su.partition(("^conv", FIRST), rest=(..., SECOND)), ("adam", "rest/adam")),
        (
            su.partition(all=(..., su.partition(conv=("^conv", FIRST), rest=(..., SECOND)))),
            ("all/conv/adam", "all/rest/adam"),
        ),
    ],
    ids=["unnamed", "named", "one named", "nested"],
)
def test_one_naming_the_first_group_first(optimizer, labels):
    """Of counts, hyper-parameters and what makes them adjustable; state is named after its parameter."""
    conv, out, loss = conv_and_out()
    updates = su.adjustable(optimizer(loss, [conv, out]))
    names = su.named(updates)
    hyper = [f"{label}/{name}" for label in labels for name in ("learning_rate", "beta1", "beta2", "epsilon")]
    of = {"conv": conv, "out": out}
    slots = [
        name
        for key, label in zip(of, labels, strict=True)
        for name in (f"{key}/adam/m", f"{key}/adam/v", key, f"{label}/t")
    ]
    assert list(names) == slots + hyper
    assert [v.name for v in updates] == list(names) == list(su.state_dict(updates))
    assert [names[f"{label}/learning_rate"].get_value() for label in labels] == [0.001, 0.01]
    hyperparameters = su.hyperparameters(updates)
    assert list(hyperparameters) == hyper and [hyperparameters[h] for h in hyper] == [names[h] for h in hyper]
    assert [line.split()[0] for line in su.summary(updates).splitlines() if "0.001" in line] == [hyper[0]]


def test_gates_of_groups_are_named_after_them():
    conv, out, loss = conv_and_out()
    gated = su.chain(su.sgd(), su.apply_if_finite())
    updates = su.partition(conv=("^conv", gated), rest=(..., gated))(loss, [conv, out])
    assert [name for name in su.named(updates) if "skipped" in name] == [
        "conv/if_finite/skipped",
        "rest/if_finite/skipped",
    ]


BEHIND = {
    "stage": lambda optimizer: su.chain(optimizer, su.apply_momentum(), su.apply_momentum(), su.apply_if_finite()),
    "group": lambda optimizer: su.partition(("conv|out", optimizer), (..., su.adam(learning_rate=linear(1, 0, 9)))),
    "gate": lambda optimizer: su.accumulate(optimizer),
    "adjustable": lambda optimizer: su.chain(optimizer, su.adjustable()),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize(
    "optimizer",
    [
        su.adam(learning_rate=linear(1.0, 0.5, steps=3)),
        su.partition(("conv", su.adam()), ("out", su.adam())),
        su.chain(add_noise(seed=1), clip_by_value(limit=linear(1.0, 0.5, 3)), su.adam(), su.apply_momentum()),
    ],
    ids=["rule", "partition", "chain"],
)
def test_what_is_added_behind_renames_nothing(optimizer, behind):
    conv, out, loss = conv_and_out()
    more = pytensor.shared(3.0, name="more")
    before = list(su.named(optimizer(loss, [conv, out])))
    grouped = behind is BEHIND["group"]
    after = list(su.named(behind(optimizer)(loss + more, [conv, out, *([more] if grouped else [])])))
    kept = [name for name in before if name in after]
    assert kept == before
    hyper = list(su.hyperparameters(optimizer(loss, [conv, out])))
    assert set(hyper) <= set(su.hyperparameters(behind(optimizer)(loss + more, [conv, out] + [more] * grouped)))


def hyper_values(updates):
    return {name: v.eval() for name, v in su.hyperparameters(updates).items()}


TWICE = {
    "weight_decay/weight_decay": lambda x: su.apply_weight_decay(weight_decay=x, learning_rate=0.5),
    "proximal/learning_rate": lambda x: su.apply_proximal(learning_rate=x),
    "trust_ratio/trust_coefficient": lambda x: su.apply_trust_ratio(trust_coefficient=x, learning_rate=0.5),
    "scale/scale": lambda x: su.apply_scale(scale=x),
    "ema/decay": lambda x: su.apply_ema(decay=x),
}


@pytest.mark.parametrize("name", TWICE)
def test_another_of_a_stage_takes_no_name_of_the_first(name):
    """Nor does one for parameters that come first in the dict; also where variables stand for the numbers."""
    conv, out, loss = conv_and_out()
    updates = su.sgd(loss, [out, conv], 0.25)
    behind = [TWICE[name](0.5), TWICE[name](0.625), su.adjustable(), TWICE[name](0.75), su.adjustable()]
    for stage in [partial(TWICE[name](0.375), params=[conv]), partial(TWICE[name](0.4375), params=[out]), *behind]:
        before, updates = updates, stage(updates)
        names = su.named(updates)
        assert len({v.name for v in updates}) == len(updates)
        assert {name: names.get(name) for name in su.named(before)} == su.named(before)
        assert hyper_values(before).items() <= hyper_values(updates).items()
    rule, number = name.split("/")
    found = [hyper_values(updates)[f"{rule}{n}/{number}"] for n in ("", "_2", "_3", "_4", "_5")]
    assert found == [0.375, 0.4375, 0.5, 0.625, 0.75]


def test_what_is_put_around_an_optimizer_takes_no_name_of_it():
    conv, out, loss = conv_and_out()
    updates = su.accumulate(su.accumulate(su.sgd(), every=2), every=3)(loss, [conv, out])
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(3):
        step()
    counts = {name: v.get_value().item() for name, v in su.named(updates).items() if name.endswith("/t")}
    assert counts == {"accumulate/t": 1, "accumulate_2/t": 3}


def test_stages_of_gradients_are_numbered_as_they_stand():
    conv, out, loss = conv_and_out()
    clips = [clip_by_value(limit=limit) for limit in (3.0, 2.0, 1.0)]
    found = hyper_values(su.chain(*clips, su.sgd())(loss, [conv, out]))
    assert [found[f"clip_by_value{n}/limit"] for n in ("", "_2", "_3")] == [3, 2, 1]


def test_what_stands_behind_an_unpickled_dict_takes_no_name():
    """Read by another process, which has made no call yet."""
    conv, out, loss = conv_and_out()
    dict_of = su.chain(su.sgd(), su.adjustable(), TWICE["scale/scale"](0.5), su.adjustable())(loss, [conv, out])
    program = (
        "import pickle, sys, symupdates as su\n"
        "updates = su.apply_scale(pickle.load(sys.stdin.buffer), scale=0.25)\n"
        "print({name: float(v.eval()) for name, v in su.hyperparameters(updates).items()})"
    )
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(dict_of), capture_output=True, check=True)
    assert literal_eval(done.stdout.decode()) == {"scale/scale": 0.5, "scale_2/scale": 0.25, "sgd/learning_rate": 0.001}


def test_merging_renames_neither_inputs_nor_their_variables():
    conv, out, _ = conv_and_out()
    first, second = (su.adam(p**2, [p]) for p in (conv, out))
    names = [[v.name for v in updates] for updates in (first, second)]
    merged = su.merge(first, second)
    assert [[v.name for v in updates] for updates in (first, second)] == names
    assert list(su.named(second)) == names[1]
    assert [name for name in su.named(merged) if name.endswith("/t")] == ["adam/t", "adam_2/t"]
    assert list(su.hyperparameters(merged))[::4] == ["adam/learning_rate", "adam_2/learning_rate"]


def test_generators_and_rates_of_one_call_have_one_number():
    conv, out, loss = conv_and_out()
    noisy = su.chain(add_noise(eta=linear(1.0, 0.0, 5), seed=1), add_noise(eta=linear(1.0, 0.0, 5), seed=2), su.sgd())
    updates = noisy(loss, [conv, out])
    names = [name for name in su.named(updates) if name.startswith("add_noise")]
    assert sorted(names) == ["add_noise/rng", "add_noise/t", "add_noise_2/rng", "add_noise_2/t"]
    rates = su.hyperparameters(updates)
    for label in ("add_noise", "add_noise_2"):
        assert su.named(updates)[f"{label}/t"] in pytensor.graph.traversal.ancestors([rates[f"{label}/eta"]])


def test_what_the_model_moves_takes_no_name_from_a_key():
    w, same = pytensor.shared(1.0, name="w"), pytensor.shared(1.0, name="w")
    unnamed = [moves(v := pytensor.shared(1.0), v + 1) for _ in range(2)]
    moves(same, same + 1)
    updates = su.sgd(w + 0 * (same + unnamed[0] + unnamed[1]), [w], 0.1)
    names = su.named(updates)
    assert list(names) == ["w", *sorted(set(names) - {"w"}, key=list(names).index)]
    assert set(names) == {"w", "w_2", "model", "model_2"} and names["w"] is w and names["w_2"] is same


@pytest.mark.parametrize("kind", [set, frozenset])
@pytest.mark.parametrize("given", ["rule", "chain", "transform", "names", "state"])
def test_a_set_of_parameters_needs_names(kind, given):
    """Its order is another in every process, so that position does not tell what is what."""
    functions = {
        "rule": partial(su.sgd, learning_rate=0.1),
        "chain": su.chain(clip_by_value(), su.sgd()),
        "transform": lambda loss, params: su.apply_momentum(su.sgd(loss, list(params)), params=params),
        "names": lambda loss, params: su.named(params).values(),
        "state": lambda loss, params: su.state_dict(params) and params,
    }
    for names in ((None, "b"), ("a", "a")):
        params = [pytensor.shared(1.0, name=name) for name in names]
        with pytest.raises(ValueError, match=r"a set, whose order .* Give a list, or give each its name"):
            functions[given](sum(params), kind(params))
    params = [pytensor.shared(1.0, name=name) for name in ("a", "b")]
    assert set(functions[given](sum(params), kind(params))) >= set(params)
    functions[given](sum(params), dict.fromkeys(params).keys())  # which has an order
