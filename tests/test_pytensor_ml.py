"""pytensor-ml: its layers trained by our rules, by its compile_train and by pytensor.function."""

import numpy as np
import pytensor
import pytest

import symupdates as su

pytest.importorskip("pytensor_ml")

from pytensor_ml.layers import BatchNorm, Dropout, Input, Linear, Sequential
from pytensor_ml.loss import SquaredError, supervised_loss
from pytensor_ml.optim import compile_train
from pytensor_ml.pytensorf import collect_differentiable_params, collect_non_trainable_updates
from pytensor_ml.pytensorf import function as ml_function

MODE = {"mode": "FAST_COMPILE"}
OPTIMIZERS = {
    "rule": su.adam(learning_rate=0.01),
    "chain": su.chain(su.gradients.clip_by_total_norm(max_norm=1.0), su.lion(), su.apply_ema(decay=0.9)),
}


class Model:
    def __init__(self, seed=0):
        self.x = Input("x", shape=(None, 3))
        layers = Linear("fc", n_in=3, n_out=4), BatchNorm("bn", n_in=4), Dropout("drop", p=0.5, random_state=seed)
        prediction = Sequential(*layers, Linear("out", n_in=4, n_out=1))(self.x)
        self.loss, self.y = supervised_loss(prediction, SquaredError())
        self.params = collect_differentiable_params(self.loss)
        rng = np.random.default_rng(5)
        for p in self.params:
            p.set_value(rng.normal(size=p.get_value().shape))

    def statistics(self):
        return collect_non_trainable_updates(self.loss)

    def generator(self, updates):
        (generator,) = (v for v in su.named(updates).values() if "rng" in v.name)
        return generator


def batches(n):
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(5, 3)), rng.normal(size=(5, 1))) for _ in range(n)]


def by_compile_train(model, optimizer):
    updates = optimizer(model.loss, model.params)
    return updates, compile_train(model.loss, updates, inputs=[model.x, model.y], compile_kwargs=MODE)


def by_function(model, optimizer):
    updates = optimizer(model.loss, model.params) | model.statistics()
    generator = model.generator(updates)
    (drawn,) = (
        v.owner
        for v in pytensor.graph.traversal.ancestors([model.loss])
        if v.owner and generator in v.owner.inputs and v.owner.outputs[0].type == generator.type
    )
    updates[generator] = drawn.outputs[0]
    return updates, pytensor.function([model.x, model.y], model.loss, updates=updates, **MODE)


@pytest.mark.parametrize("compiled", [by_compile_train, by_function])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_is_resumed_bit_for_bit(optimizer, compiled, tmp_path):
    """Parameters, the statistics of the batch normalisation and the generator of the dropout."""
    model = Model()
    updates, step = compiled(model, optimizer)
    assert {"bn_running_mean", "bn_running_var"} <= {name.replace("/", "_") for name in su.named(updates)}
    given = batches(6)
    start = su.state_dict(updates)
    for batch in given[:3]:
        step(*batch)
    moved = su.state_dict(updates)
    assert all(not np.array_equal(start[name], moved[name]) for name in start if name != "fc/b"), moved.keys()
    su.save(tmp_path / "run.ckpt", updates)
    expected = [step(*batch) for batch in given[3:]]

    resumed, step = compiled(Model(seed=7), optimizer)
    su.load(tmp_path / "run.ckpt", resumed)
    assert [step(*batch) for batch in given[3:]] == expected
    for (name, got), value in zip(su.state_dict(resumed).items(), su.state_dict(updates).values(), strict=True):
        assert got.tobytes() == value.tobytes(), name


def test_both_compile_the_same_program():
    results = []
    for compiled in (by_compile_train, by_function):
        model = Model()
        updates, step = compiled(model, OPTIMIZERS["chain"])
        losses = [step(*batch).item() for batch in batches(4)]
        results.append((losses, {name: np.asarray(x) for name, x in su.state_dict(updates).items()}))
    (losses, state), (others, more) = results
    assert losses == others and state.keys() == more.keys()
    assert all(state[name].tobytes() == more[name].tobytes() for name in state)


def test_a_gate_holds_the_statistics_that_are_in_the_dict():
    model = Model()

    def with_statistics(updates):
        return {**updates, **model.statistics()}

    updates = su.chain(su.adam(), with_statistics, su.apply_if_finite())(model.loss, model.params)
    step = ml_function([model.x, model.y], model.loss, updates=updates, **MODE)
    good, bad = batches(2)
    step(*good)
    before = su.state_dict(updates)
    bad[0][0, 0] = np.nan
    step(*bad)
    after = su.state_dict(updates)
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    assert changed == {"if_finite/skipped", "if_finite/in_a_row", model.generator(updates).name}
    assert np.isfinite(step(*good))


def test_compile_train_writes_the_statistics_whatever_a_gate_says():
    """And refuses a dict that does not, so that a gate holds the others there."""
    model = Model()
    gated = su.apply_if_finite(su.adam(model.loss, model.params))
    step = compile_train(model.loss, gated, inputs=[model.x, model.y], compile_kwargs=MODE)
    ((x, y),) = batches(1)
    before = su.state_dict(gated)
    step(np.full_like(x, np.nan), y)
    changed = {name for name, value in su.state_dict(gated).items() if not np.array_equal(before[name], value)}
    written = {v.name for v in model.statistics()}
    assert changed == {"if_finite/skipped", "if_finite/in_a_row", model.generator(gated).name} | written
    held = su.apply_if_finite({**su.sgd(model.loss, model.params), **model.statistics()})
    with pytest.raises(ValueError, match="leave it out of the rule"):
        compile_train(model.loss, held, inputs=[model.x, model.y])


def test_an_average_of_the_statistics():
    model = Model()
    mean = next(v for v in model.statistics() if "mean" in v.name)
    average = su.apply_polyak_average(params=[*model.params, mean])
    updates = su.chain(su.sgd(learning_rate=0.01), average)(model.loss, model.params)
    step = compile_train(model.loss, updates, inputs=[model.x, model.y], compile_kwargs=MODE)
    seen = []
    for batch in batches(3):
        step(*batch)
        seen.append(mean.get_value())
    np.testing.assert_allclose(su.averages(updates)[mean].get_value(), np.mean(seen, axis=0), rtol=1e-12)


def test_transforms_of_updates_leave_the_statistics_alone():
    model = Model()
    updates = su.apply_momentum({**su.sgd(model.loss, model.params), **model.statistics()})
    assert {v.name.partition("/momentum")[0] for v in updates if v.name.endswith("velocity")} == {
        p.name for p in model.params
    }
