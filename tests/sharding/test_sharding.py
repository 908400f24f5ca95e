"""Training on a mesh of eight CPU devices: the numbers of one device, and layouts that stay."""

import copy
import tracemalloc
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import FULL
from helpers import KINDS, rules
from loss_table import LOSS_KINDS, LOSS_ROWS
from table import ROWS

import symupdates as su
from symupdates.core import is_state

jax = pytest.importorskip("jax")

from jax.sharding import Mesh, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402
from mesh_model import LAYOUTS, Model, batches_of, param  # noqa: E402

from symupdates import sharding  # noqa: E402
from symupdates.sharding import JAX_SHARDED, bytes_per_device, collectives, feed, place  # noqa: E402


def mesh_of(*sizes, names=("data", "model")):
    devices = np.array(jax.devices("cpu")[: np.prod(sizes)])
    return Mesh(devices.reshape(sizes), names[: len(sizes)])


EIGHT = mesh_of(8)


def assert_close(got, expected):
    """To 1e-10 of the largest element; whole numbers exactly."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        atol = 1e-10 * np.abs(value).max() if value.dtype.kind == "f" else 0
        np.testing.assert_allclose(got[name], value, rtol=0, atol=atol, err_msg=name)


# --- Numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.ci
@rules(pytest.mark.full, rows=[*ROWS, *LOSS_ROWS], kinds=KINDS | LOSS_KINDS)
def test_numbers_are_those_of_one_device(row):
    of_loss = row in LOSS_ROWS
    outputs = row.arguments if of_loss else (lambda z: dict(row.structure))
    layouts = LAYOUTS.values() if FULL or row.rule in (su.adam, su.shampoo) else [LAYOUTS["all"]]
    check_numbers(Model(row.rule, outputs=outputs, **row.hyper), batches_of(), EIGHT, *layouts)


def check_numbers(model, batches, mesh, *layouts):
    """In each layout those of one device; and values stay where they were placed."""
    start = su.state_dict(model.updates)
    losses = model.run(batches)
    expected = su.state_dict(model.updates)
    assert any((expected[name] != start[name]).any() for name in ("W", "b", "s"))
    for layout in layouts:
        su.load_state_dict(model.updates, start)
        place(model.updates, mesh, **layout)
        placed = model.specs
        np.testing.assert_allclose(model.run(feed(batches, mesh, "data")), losses, rtol=1e-10)
        assert_close(su.state_dict(model.updates), expected)
        assert model.specs == placed


CHAINS = {
    "average": su.chain(su.gradients.clip_by_total_norm(max_norm=0.125), su.adamw(), su.apply_ema(decay=0.75)),
    "noise": su.chain(
        su.gradients.add_noise(eta=0.5, seed=3), su.momentum(learning_rate=0.125), su.apply_lookahead(every=3)
    ),
    "schedule": su.chain(su.sgd(learning_rate=su.schedules.cosine_decay(0.125, 10)), su.apply_if_small(max_norm=0.057)),
}


@pytest.mark.ci
@pytest.mark.parametrize("name", ["average", *(pytest.param(x, marks=pytest.mark.ci) for x in ("noise", "schedule"))])
def test_chains_on_a_mesh(name):
    optimizer = CHAINS[name]
    model = Model(lambda loss, params: optimizer(loss, params))
    check_numbers(model, batches_of(8), EIGHT, LAYOUTS["all"])
    assert all(spec for name, spec in model.specs.items() if name.startswith("W"))
    assert model.values.get("if_small/skipped", 3) == 3  # the gate is closed sometimes


@pytest.mark.ci
def test_parameters_divided_along_two_axes():
    """Products of matrices divided by rows and by columns, on a mesh of two axes."""
    model = Model()
    layout = {"params": {"W": P(None, "model"), "b": "model"}, "state": "data"}
    check_numbers(model, batches_of(5), mesh_of(2, 4), layout)
    assert model.specs["W"] == P(None, "model")
    assert model.specs["W/adam/m"] == P("data", "model")
    assert {s.data.shape for s in model.values["W/adam/v"].addressable_shards} == {(4, 2)}


@pytest.mark.ci
def test_many_runs_each_on_a_device():
    """The runs divided among the devices: the numbers of one device, and nothing is exchanged."""
    x, w = pt.tensor("x", shape=(4, 3), dtype="float64"), param(np.ones((3, 2)), "w")
    loss = (pt.tanh(x @ w) ** 2).mean()
    starts = {w: np.random.default_rng(0).normal(size=(8, 3, 2))}
    (here, alone), (there, runs) = (su.vectorize(loss, su.adam(loss, [w], 0.125), starts) for _ in range(2))
    place(runs, EIGHT, params=P("data"), state="data")
    step = pytensor.function([x], there, updates=runs, mode=JAX_SHARDED)
    reference = pytensor.function([x], here, updates=alone, mode="JAX")
    for batch in np.random.default_rng(1).normal(size=(4, 4, 3)):
        np.testing.assert_allclose(step(batch), reference(batch), rtol=1e-12)
    assert {v.get_value(borrow=True).addressable_shards[0].data.shape[0] for v in runs} == {1}
    assert_close(su.state_dict(runs), su.state_dict(alone))
    assert collectives(step, batch) == []


@pytest.mark.ci
def test_a_loop_of_steps_on_a_mesh():
    x, y = (pt.tensor(name, shape=(16, 8), dtype="float64") for name in "xy")
    xs, ys = (pt.tensor(name, shape=(6, 16, 8), dtype="float64") for name in ("xs", "ys"))
    results = []
    for layout in (None, "data"):
        W = param(np.eye(8), "W")
        loss = ((x @ W - y) ** 2).mean()
        losses, updates = su.loop(loss, su.adam(loss, [W]), {x: xs, y: ys})
        train = pytensor.function([xs, ys], losses, updates=updates, mode=JAX_SHARDED)
        if layout:
            place(updates, EIGHT, layout)
        data = [np.stack(arrays) for arrays in zip(*batches_of(6), strict=True)]
        results.append((np.asarray(train(*data)), su.state_dict(updates)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)
    assert_close(results[1][1], results[0][1])
    assert W.get_value(borrow=True).sharding.spec == P("data", None)


def test_what_the_model_moves_is_placed_too():
    """An average by a default update, in which the loss only is interested."""
    results = []
    for layout in (None, "data"):
        x = pt.tensor("x", shape=(16, 8), dtype="float64")
        W, mean = param(np.eye(8), "W"), param(np.zeros(8), "mean")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of PyTensor, from 3.3 on
            mean.default_update = 0.5 * mean + x.mean(axis=0)
        updates = su.sgd(((x @ W) ** 2).mean() + 0 * mean.sum(), [W])
        train = pytensor.function([x], ((x @ W) ** 2).mean() + mean.sum(), updates=updates, mode=JAX_SHARDED)
        if layout:
            place(updates, EIGHT, layout)
            assert len(mean.get_value(borrow=True).sharding.device_set) == 8
            assert bytes_per_device(updates).parameters == (64 + 8) * 8 // 8
        losses = [train(x) for x, _ in batches_of(3)]
        results.append((losses, su.state_dict(updates)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)
    assert list(results[0][1]) == ["W", "mean"]
    assert_close(results[1][1], results[0][1])


@pytest.mark.ci
def test_an_embedding_whose_table_is_divided():
    i = pt.lvector("i")
    results = []
    for layout in (None, "data"):
        E = pytensor.shared(np.arange(64.0).reshape(16, 4), name="E", shape=(16, 4))
        rows = su.rows(E, i)
        updates = su.adagrad((rows**2).mean(), [rows])
        train = pytensor.function([i], [], updates=updates, mode=JAX_SHARDED)
        if layout:
            place(updates, EIGHT, layout)
        for index in ([1, 5, 5, 9], [0, 1, 15, 15]):
            train(np.array(index))
        results.append(su.state_dict(updates))
    assert_close(results[1], results[0])
    trained = (results[0]["E"] != np.arange(64.0).reshape(16, 4)).any(axis=1)
    assert np.flatnonzero(trained).tolist() == [0, 1, 5, 9, 15]
    assert {len(s.data) for s in E.get_value(borrow=True).addressable_shards} == {2}


# --- Layouts ----------------------------------------------------------------------------------------------------------


def test_memory_of_each_device_falls():
    model = Model()
    of_arrays, of_scalar = 8 * (64 + 8), 8
    before = su.state_dict(model.updates)
    for layout, expected in {
        "replicated": (of_arrays + of_scalar, 2 * (of_arrays + of_scalar) + 8),
        "state": (of_arrays + of_scalar, 2 * (of_arrays / 8 + of_scalar) + 8),
        "all": (of_arrays / 8 + of_scalar, 2 * (of_arrays / 8 + of_scalar) + 8),
    }.items():
        place(model.updates, EIGHT, **LAYOUTS[layout])
        assert bytes_per_device(model.updates) == expected
        assert all((value == before[name]).all() for name, value in su.state_dict(model.updates).items())
        model.run(feed(batches_of(2), EIGHT, "data"))
        assert bytes_per_device(model.updates) == expected
        for state, bytes in zip((False, True), expected, strict=True):
            arrays = [v.get_value(borrow=True) for v in model.updates if is_state(v) == state]
            for device in jax.devices("cpu"):
                held = [s.data.nbytes for x in arrays for s in x.addressable_shards if s.device == device]
                assert sum(held) == bytes
        su.load_state_dict(model.updates, before)


def test_state_follows_its_parameter():
    W = pytensor.shared(np.ones((16, 24)), name="W")
    b = pytensor.shared(np.ones(24), name="b")
    c = pytensor.shared(np.ones(7), name="c")
    loss = (W @ b).sum() ** 2 + (c**2).sum()
    layouts = {"W": P("data"), "b": "data"}

    def specs_of(updates):
        return {name: v.get_value(borrow=True).sharding.spec for name, v in su.state.named(updates).items()}

    updates = su.adam(loss, [W, b, c])
    place(updates, EIGHT, layouts)
    specs = specs_of(updates)
    assert {specs[f"W/adam/{slot}"] for slot in "mv"} == {specs["W"]} == {P("data")}
    assert {specs[f"b/adam/{slot}"] for slot in "mv"} == {specs["b"]} == {P("data")}
    assert specs["c"] == specs["c/adam/m"] == specs["adam/t"] == P()

    place(updates, EIGHT, layouts, state={"*/v": "data", "b/adam/m": P()})
    specs = specs_of(updates)
    assert specs["W/adam/m"] == specs["W/adam/v"] == P("data")
    assert (specs["b/adam/m"], specs["b/adam/v"]) == (P(), P("data"))

    updates = su.lbfgs(loss, [W, b, c], memory=3)
    place(updates, EIGHT, layouts)
    histories = [v for v in updates if v.get_value(borrow=True).shape == (3, 16, 24)]
    assert len(histories) == 2
    assert {v.get_value(borrow=True).sharding.spec for v in histories} == {P(None, "data")}

    updates = su.adafactor(loss, [W, b, c])  # sums over rows and columns: small, and not laid out as W is
    place(updates, EIGHT, layouts)
    assert {spec for name, spec in specs_of(updates).items() if name.startswith("W/")} == {P()}


def test_an_axis_divides_the_largest_dimension_that_it_can():
    shapes = {"a": (8, 16), "b": (16, 8), "c": (9, 8), "d": (9, 7), "e": (), "f": (0, 3), "g": (8, 8), "h": (32, 3)}
    variables = [pytensor.shared(np.ones(shape), name=name) for name, shape in shapes.items()]

    def specs():
        return [v.get_value(borrow=True).sharding.spec for v in variables]

    place(variables, EIGHT, "data")
    a, b, whole, g = P(None, "data"), P("data", None), P(), P("data", None)
    assert specs() == [a, b, P(None, "data"), whole, whole, whole, g, P("data", None)]
    both = ("data", "model")
    place(variables, mesh_of(2, 4), both)
    assert specs() == [P(None, both), P(both, None), P(None, both), whole, whole, whole, P(both, None), P(both, None)]
    place(variables, mesh_of(2, 4), {"[ab]": "model"})
    assert specs() == [P(None, "model"), P("model", None), *[whole] * 6]


def test_an_explicit_mesh_is_taken_as_automatic():
    mesh = jax.make_mesh((8,), ("data",), devices=jax.devices("cpu"))
    model = Model()
    place(model.updates, mesh, "data")
    (x, y), *_ = feed(batches_of(1), mesh, "data")
    assert x.sharding == NamedSharding(EIGHT, P(("data",)))
    assert np.isfinite(model.train(x, y))


def test_layouts_survive_what_is_set_and_reset():
    model = Model()
    place(model.updates, EIGHT, "data")
    placed, batches = model.specs, list(feed(batches_of(3), EIGHT, "data"))
    W = model.params[0]
    for change in (
        lambda: W.set_value(np.ones((8, 8))),
        lambda: W.set_value(W.get_value()),
        lambda: su.reset(model.updates),
        lambda: su.load_state_dict(model.updates, su.state_dict(model.updates)),
        lambda: su.to_numpy(model.updates),
    ):
        change()
        before = np.asarray(W.get_value())
        model.run(batches)
        assert model.specs == placed
        assert (np.asarray(W.get_value()) != before).any()
        assert len(model.train.vm.jit_fn.compiled) == 1


@pytest.mark.ci
def test_what_is_placed_again_moves():
    """To fewer devices, to one, to another backend; each goes on with the numbers of the one before."""
    batches = batches_of(20)
    expected = Model()
    losses = expected.run(batches)
    model = Model()
    got, at = [], 0
    for mesh, layout in ((EIGHT, "data"), (mesh_of(2), None), (mesh_of(4), "data"), (mesh_of(1), "data")):
        place(model.updates, mesh, layout)
        got += model.run(feed(batches[at : at + 4], mesh, "data"))
        assert {v.sharding.mesh.size for v in model.values.values()} == {mesh.size}
        at += 4
    other = Model(mode=None)
    su.load_state_dict(other.updates, su.state_dict(model.updates))
    got += other.run(batches[at:])
    np.testing.assert_allclose(got, losses, rtol=1e-10)
    assert_close(su.state_dict(other.updates), su.state_dict(expected.updates))


def test_the_same_variables_on_another_backend():
    model = Model()
    place(model.updates, EIGHT, "data")
    model.run(feed(batches_of(2), EIGHT, "data"))
    su.to_numpy(model.updates)
    total = pytensor.function([], model.params[0].sum(), mode="FAST_COMPILE")
    np.testing.assert_allclose(total(), model.params[0].get_value().sum())


def test_a_plain_function_for_jax_computes_where_the_arrays_lie():
    """Without our mode: the numbers are the same, and replicated parameters stay so."""
    model, expected = Model(mode="JAX"), Model()
    place(model.updates, EIGHT)
    model.run(batches_of(3))
    expected.run(batches_of(3))
    assert_close(su.state_dict(model.updates), su.state_dict(expected.updates))
    assert all(value.sharding.is_fully_replicated and value.sharding.mesh.size == 8 for value in model.values.values())


def test_copies_of_a_model_are_placed_apart():
    model = Model()
    place(model.updates, EIGHT, "data")
    su.to_numpy(model.updates)
    W = copy.deepcopy(model.params[0])
    place([W], EIGHT)
    assert W.get_value(borrow=True).sharding.spec == P()
    model.run(feed(batches_of(1), EIGHT, "data"))
    assert model.specs["W"] == P("data", None)


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def test_a_run_is_resumed_bit_for_bit_on_the_same_mesh(tmp_path):
    batches = list(feed(batches_of(6), EIGHT, "data"))
    one, other = Model(su.adam), Model(su.adam)
    place(one.updates, EIGHT, "data")
    one.run(batches[:3])
    sharding.save(tmp_path / "run", one.updates)
    one.run(batches[3:])
    place(other.updates, EIGHT, "data")
    su.load(tmp_path / "run", other.updates)
    other.run(batches[3:])
    for name, value in sharding.state_dict(one.updates).items():
        assert value.tobytes() == sharding.state_dict(other.updates)[name].tobytes(), name


def test_a_checkpoint_is_the_same_whichever_saves_it(tmp_path):
    model = Model()
    place(model.updates, EIGHT, "data")
    sharding.save(tmp_path / "one", model.updates)
    su.save(tmp_path / "other", model.updates)
    with np.load(tmp_path / "one") as one, np.load(tmp_path / "other") as other:
        assert one.files == other.files
        arrays = [name for name in one.files if name != "symupdates.json"]
        assert [one[name].tobytes() for name in arrays] == [other[name].tobytes() for name in arrays]
    assert all(array.flags.writeable for array in sharding.state_dict(model.updates).values())


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    model = Model()
    place(model.updates, EIGHT, "data")
    file = tmp_path / "run"
    sharding.save(file, model.updates)
    old = file.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("symupdates.checkpoint.npy.write_array", full)
    with pytest.raises(OSError, match="No space left"):
        sharding.save(file, model.updates)
    assert file.read_bytes() == old
    assert list(tmp_path.iterdir()) == [file]


def test_saving_keeps_no_copy_of_what_is_divided(tmp_path):
    """JAX keeps what NumPy asks it for; of values that it holds in pieces, that would be all of them once more."""
    variables = [param(np.full((8, 2**17), float(i)), name) for i, name in enumerate("pqr")]
    place(variables, EIGHT, "data")
    for save in (su.save, sharding.save):
        tracemalloc.start()
        save(tmp_path / "run", variables)
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert now < 1e6 and peak < 2.5 * 2**23  # an array, and a part of it that is being written
    for variable in variables:
        variable.set_value(np.zeros((8, 2**17)))
    su.load(tmp_path / "run", variables)
    assert [variable.get_value()[7, -1] for variable in variables] == [0, 1, 2]
    with pytest.raises(TypeError, match=r"save: updates must be .*give list\(\.\.\.\)"):
        sharding.save(tmp_path / "run", iter(variables))


# --- Data -------------------------------------------------------------------------------------------------------------


def test_batches_are_divided_and_copied():
    given = batches_of(2)
    x, y = given[0]
    (one, other), _ = list(feed(given, EIGHT, "data"))
    np.testing.assert_array_equal(one, x)
    np.testing.assert_array_equal(other, y)
    assert {s.data.shape for s in one.addressable_shards} == {(2, 8)}
    (of_two_axes,) = next(feed([x], mesh_of(2, 4), ("data", "model")))
    assert {s.data.shape for s in of_two_axes.addressable_shards} == {(2, 8)}
    (of_one,) = next(feed([x], mesh_of(2, 4), "model"))
    assert {s.data.shape for s in of_one.addressable_shards} == {(4, 8)}
    labels = np.arange(16, dtype="int32")
    assert next(feed([labels], EIGHT, "data"))[0].dtype == "int32"
    ((local,),) = feed([x], EIGHT, "data", local=True)
    np.testing.assert_array_equal(local, x)


def test_a_batch_may_be_overwritten_once_it_is_fed():
    """Where JAX on a CPU would take over the memory as it is, at a multiple of 64 bytes."""
    memory = np.zeros(16 * 8 + 8)
    first = -memory.ctypes.data % 64 // 8
    x = memory[first : first + 16 * 8].reshape(16, 8)
    assert x.ctypes.data % 64 == 0
    for local in (False, True):
        x[:] = 1
        ((fed,),) = feed([x], EIGHT, "data", local=local)
        x[:] = 2
        assert (np.asarray(fed) == 1).all()


def test_old_values_are_donated():
    model = Model()
    place(model.updates, EIGHT, "data")
    batches = list(feed(batches_of(2), EIGHT, "data"))
    model.train(*batches[0])
    old = [v.get_value(borrow=True) for v in model.updates]
    model.train(*batches[1])
    assert all(value.is_deleted() for value in old)
    assert not any(x.is_deleted() for batch in batches for x in batch)


def test_a_padded_batch_weighs_what_its_rows_do():
    x = pt.tensor("x", shape=(None, 8), dtype="float64")
    weights = pt.vector("weights", dtype="float64")
    W = param(np.eye(8), "W")
    losses = pt.log(pt.cosh(x @ W - 1)).mean(axis=1)
    mean, weighed = losses.mean(), weights @ losses / weights.sum()
    batches = [x for x, _ in (*batches_of(1, rows=16), *batches_of(1, rows=11))]
    one, other = su.sgd(mean, [W], 0.1), su.sgd(weighed, [W], 0.1)
    plain = pytensor.function([x], mean, updates=one, mode="FAST_COMPILE")
    padded = pytensor.function([x, weights], weighed, updates=other, mode=JAX_SHARDED)
    expected = [float(plain(batch)) for batch in batches], W.get_value()
    W.set_value(np.eye(8))
    place(other, EIGHT)
    got = [float(padded(*batch)) for batch in feed(batches, EIGHT, "data", last="pad")]
    np.testing.assert_allclose(got, expected[0], rtol=1e-12)
    np.testing.assert_allclose(W.get_value(), expected[1], rtol=1e-12)


@pytest.mark.parametrize("rows", [12, 8, 5, 0])
def test_padding_makes_all_batches_alike(rows):
    full, short = np.ones((12, 3), "float32"), np.ones((rows, 3), "float32")
    for x, weights in feed([full, short], EIGHT, "data", last="pad"):
        assert (x.shape, x.dtype) == ((16, 3), "float32")
        assert (weights.shape, weights.dtype) == ((16,), "float32")
    assert float(x.sum()) == 3 * rows and float(weights.sum()) == rows
    assert (np.asarray(weights) == (np.arange(16) < rows)).all()
    ((_, weights),) = feed([np.arange(12)], EIGHT, "data", last="pad")
    assert weights.dtype == pytensor.config.floatX


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([np.ones(16), np.ones(12)], {}, "batch 1 has 12 rows, which cannot be divided among the 8 devices of 'data'"),
        ([np.ones((0, 3))], {}, "batch 0 has 0 rows"),
        ([(np.ones(8), np.ones(16))], {}, "batch 0 has arrays of 8 and 16 rows"),
        ([np.float64(1)], {}, "batch 0 has an array without a first dimension"),
        ([()], {}, "batch 0 .* or no array"),
        ([np.ones(8), np.ones(9)], {"last": "pad"}, "batch 1 has 9 rows, more than the 8"),
    ],
)
def test_batches_that_are_refused(batches, options, message):
    with pytest.raises(ValueError, match=message):
        list(feed(batches, EIGHT, "data", **options))


def test_a_feed_refuses_its_arguments_at_once():
    with pytest.raises(ValueError, match="the mesh has no axis 'batch', only 'data'"):
        feed([], EIGHT, "batch")
    for axis in (None, 3, ("data", None)):
        with pytest.raises(TypeError, match="feed: axis must be the name of an axis of the mesh"):
            feed([], EIGHT, axis)
    for batches in (None, 3):
        with pytest.raises(TypeError, match=f"feed: batches must be a list of batches, .* not {batches}"):
            feed(batches, EIGHT, "data")
    with pytest.raises(TypeError, match="feed: local must be True or False"):
        feed([], EIGHT, "data", local="yes")
    with pytest.raises(ValueError, match="last must be 'refuse' or 'pad', not 'drop'"):
        feed([], EIGHT, "data", last="drop")
    with pytest.raises(TypeError, match=r"mesh must be a jax\.sharding\.Mesh"):
        feed([], 8, "data")


def test_arrays_of_jax_are_not_brought_to_the_host(monkeypatch):
    model = Model()
    place(model.updates, EIGHT)
    (batch,) = feed(batches_of(1), EIGHT, "data")
    seen = []
    program = model.train.vm.jit_fn
    original = program.laid_out
    monkeypatch.setattr(program, "laid_out", lambda args: seen.extend(args) or original(args))
    model.train(*batch)
    assert seen[0] is batch[0] and seen[1] is batch[1]
    model.train(y=batch[1], x=batch[0])
    model.train(np.ones((16, 8)), batch[1].astype("float32"))
    assert seen[-len(model.updates) - 1].dtype == "float64"
    for wrong in (batch[0][:, 0], batch[0][:8], model):
        with pytest.raises(TypeError):
            model.train(wrong, batch[1])


# --- What it takes ----------------------------------------------------------------------------------------------------


RULES_OF_MANY_USES = [row for row in ROWS if row.name in {"sgd", "adam", "lamb", "adan", "prodigy", "adafactor"}]


@rules(pytest.mark.ci, rows=RULES_OF_MANY_USES, kinds={"adam"})
def test_one_all_reduce_for_each_gradient(row):
    """However often the rule uses it: three gradients and the loss, and nothing else is exchanged."""
    model = Model(row.rule)
    place(model.updates, EIGHT)
    (batch,) = feed(batches_of(1), EIGHT, "data")
    found = collectives(model.train, *batch)
    assert {c.kind for c in found} == {"all-reduce"}
    assert (sum(c.arrays for c in found), sum(c.bytes for c in found)) == (4, 8 * (64 + 8 + 1 + 1))


@pytest.mark.ci
@pytest.mark.parametrize("devices", [*(pytest.param(n, marks=pytest.mark.ci) for n in (1, 2, 4)), 8])
def test_bytes_exchanged_are_those_of_the_plan(devices):
    """Of the page: gradients are reduced, and what is divided is gathered."""
    model, mesh = Model(), mesh_of(devices)
    (batch,) = feed(batches_of(1), mesh, "data")
    W, b, s = 8 * 64, 8 * 8, 8
    for layout, gathered in {"replicated": 0, "state": W + b, "all": W + b}.items():
        place(model.updates, mesh, **LAYOUTS[layout])
        found = collectives(model.train, *batch)
        bytes = {kind: sum(c.bytes for c in found if c.kind == kind) for kind in ("all-reduce", "all-gather")}
        alone = devices == 1
        assert bytes == {"all-reduce": 0 if alone else W + b + s + 8, "all-gather": 0 if alone else gathered}
        assert len(found) == sum(c.kind in bytes for c in found)


def test_collectives_in_the_forms_of_other_compilers():
    text = """
  %p = bf16[4,8]{1,0:T(8,128)} parameter(0)
  %q = pred[8]{0} parameter(1)
  %ags = (bf16[4,8]{1,0}, bf16[32,8]{1,0}) all-gather-start(%p), replica_groups=[1,8]<=[8], dimensions={0}
  %agd = bf16[32,8]{1,0} all-gather-done(%ags)
  ROOT %rs = f32[2]{0} reduce-scatter(%r), replica_groups={{0,1}}, dimensions={0}, to_apply=%add
  %r = f32[4]{0} add(%x, %y)
  %ar = (pred[8]{0}, f32[4]{0}) all-reduce-start(%q, %r), to_apply=%add
  %cps = (f32[4]{0}, f32[4]{0}) collective-permute-start(%r), source_target_pairs={{0,1}}
  %call = f32[4]{0} call(%ags), to_apply=%all-reduce.3
"""
    assert sharding.collectives_in(text) == [
        ("all-gather", 1, 2 * 32 * 8),
        ("reduce-scatter", 1, 16),
        ("all-reduce", 2, 8 + 16),
        ("collective-permute", 1, 16),
    ]


@pytest.mark.ci
def test_collectives_of_what_is_no_function_of_ours():
    model, plain = Model(), Model(mode="JAX")
    with pytest.raises(TypeError, match="JAX_SHARDED"):
        collectives(plain.train, *batches_of(1)[0])
    with pytest.raises(TypeError, match="has 2 inputs, and 1 were given"):
        collectives(model.train, np.ones((16, 8)))


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "error", "message"),
    [
        ({"params": P("batch")}, ValueError, "W: the mesh has no axis 'batch', only 'data'"),
        ({"params": "batch"}, ValueError, "W: the mesh has no axis 'batch', only 'data'"),
        ({"params": {"b": P("data"), "s": P("data")}}, ValueError, r"s: .* has 1 dimensions, but the shape is \(\)"),
        ({"params": {"odd": P(None, "data")}}, ValueError, r"odd: .* dimension 1 .* \(8, 7\) among 8 devices, and 7"),
        ({"state": {"odd/*/v": P(None, "data")}}, ValueError, "odd/adam/v: .* dimension 1"),
        ({"params": {"W": P("data", "data")}}, ValueError, "W: .* has an axis twice"),
        ({"params": {"*/weights": "data"}}, ValueError, r"params: the pattern '\*/weights' fits none of the names "),
        ({"state": {"W": "data"}}, ValueError, "state: the pattern 'W' fits none of the names W/adam/"),
        ({"params": {0: "data"}}, TypeError, "params: a pattern of names is a string, not 0"),
        ({"params": 0}, TypeError, "W: a layout is a PartitionSpec or the name of an axis of the mesh, not 0"),
        ({"state": {"W/*": ["data"]}}, TypeError, r"W/adam/m: a layout is a PartitionSpec or .*\['data'\]"),
        ({"mesh": "data"}, TypeError, r"mesh must be a jax\.sharding\.Mesh, as jax\.make_mesh"),
    ],
)
def test_nothing_is_placed_by_what_is_refused(layout, error, message):
    params = [pytensor.shared(np.ones(n), name=name) for name, n in (("W", (8, 8)), ("b", 8), ("s", ()))]
    params.append(pytensor.shared(np.ones((8, 7)), name="odd"))
    updates = su.adam(sum((p**2).sum() for p in params), params)
    before = [v.get_value(borrow=True) for v in updates]
    with pytest.raises(error, match=message):
        place(updates, **({"mesh": EIGHT} | layout))
    assert all(v.get_value(borrow=True) is value for v, value in zip(updates, before, strict=True))
    assert all(sharding.place_of(v.container) == [None] for v in updates)


def test_nothing_is_placed_where_memory_ends(monkeypatch):
    model = Model()
    before = [v.get_value(borrow=True) for v in model.updates]
    calls = []

    def out_of_memory(value, target):
        calls.append(value)
        if len(calls) == len(before):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return value

    monkeypatch.setattr(sharding, "put", out_of_memory)
    with pytest.raises(RuntimeError, match="Out of memory"):
        place(model.updates, EIGHT, "data")
    assert all(v.get_value(borrow=True) is value for v, value in zip(model.updates, before, strict=True))
    assert all(sharding.place_of(v.container) == [None] for v in model.updates)


def test_what_has_no_layout():
    """Random generators are left where they are; what is not an array is refused."""
    rng = pytensor.shared(np.random.default_rng(0), name="rng")
    W = pytensor.shared(np.ones(8), name="W")
    place([W, rng], EIGHT, "data")
    assert isinstance(rng.get_value(borrow=True), np.random.Generator)
    assert bytes_per_device([W, rng]) == (8, 0)
    with pytest.raises(TypeError, match="things cannot be laid out over devices: its value is not a dense array"):
        place([W, pytensor.shared({"a": 1}, name="things")], EIGHT)
    with pytest.raises(TypeError, match="must be shared variables"):
        place([W, pt.vector("x")], EIGHT)
    for wrong in (None, 3, W):
        with pytest.raises(TypeError, match=f"place: updates must be a list .*updates dict, not {wrong}"):
            place(wrong, EIGHT)
        with pytest.raises(TypeError, match=f"bytes_per_device: updates must be a list .*updates dict, not {wrong}"):
            bytes_per_device(wrong)
    with pytest.raises(TypeError, match="place: the next value of W must be a variable, not None"):
        place({W: None}, EIGHT)
    with pytest.raises(ValueError, match="place: updates is empty"):
        place(iter([]), EIGHT)


def test_a_resized_parameter_that_cannot_be_divided():
    """The function that takes the value says which, before JAX."""
    W = pytensor.shared(np.ones((8, 2)), name="W")
    updates = su.sgd((W**2).sum(), [W], learning_rate=0.25)
    place(updates, EIGHT, P("data"))
    step = pytensor.function([], updates=updates, mode=JAX_SHARDED)
    step()
    W.set_value(np.ones((9, 2)))
    with pytest.raises(
        ValueError, match=r"W: .*'data'.* divides dimension 0 of the shape \(9, 2\) among 8 devices, and 9"
    ):
        step()
    W.set_value(np.ones((16, 2)))
    step()
    np.testing.assert_array_equal(W.get_value(), np.full((16, 2), 0.5))
