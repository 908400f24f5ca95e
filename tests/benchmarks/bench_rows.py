"""Rows of a table: a step on the rows looked up, against the table as a parameter, and torch's sparse gradients."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from contestants import MODES

import symupdates

# Each with torch's counterpart: where that has its epsilon elsewhere, it is next to nothing.
TINY = 1e-10
RULES = {
    "sgd": (symupdates.sgd(learning_rate=0.1), lambda torch, p: torch.optim.SGD(p, 0.1)),
    "adagrad": (
        symupdates.adagrad(learning_rate=0.1, epsilon=TINY),
        lambda torch, p: torch.optim.Adagrad(p, 0.1, eps=TINY),
    ),
    "rmsprop": (symupdates.rmsprop(learning_rate=0.01, epsilon=TINY), None),
    "adam": (
        symupdates.adam(learning_rate=0.01, epsilon=TINY),
        lambda torch, p: torch.optim.SparseAdam(p, 0.01, eps=TINY),
    ),
}
BATCH, COLUMNS = 1024, 64
COMPARED = [mode for mode in MODES if mode != "NUMBA_PER_PARAMETER"]  # the same code for one parameter


@pytest.mark.parametrize("mode", COMPARED)
@pytest.mark.parametrize("rule", RULES)
def test_rows(rule, mode, in_turn, report, quick):
    vocabulary = 10**5 if quick else 10**6
    rng = np.random.default_rng(0)
    # As words are: some come often, most hardly ever.
    index = rng.zipf(1.2, 10 * BATCH)
    index = index[index < vocabulary][:BATCH]
    table = rng.uniform(-0.1, 0.1, (vocabulary, COLUMNS)).astype("float32")
    # No gradients of a row that cancel.
    weights = (rng.choice([-1.0, 1.0], COLUMNS) * rng.uniform(0.5, 1.5, (BATCH, COLUMNS))).astype("float32")

    ours, peer = RULES[rule]
    made = {name: step_of(ours, name == "rows", MODES[mode], table, index, weights) for name in ("rows", "table")}
    if peer and mode == "NUMBA":
        made["torch"] = step_of_torch(peer, table, index, weights)
    moved = {}
    for name, (step, value) in made.items():
        for _ in range(3):
            step()
        moved[name] = value()[: BATCH * 4].copy()
        assert np.isfinite(moved[name]).all()
    # The same rows at each step: where the lazy rules are what they are with the table for a parameter.
    for name, value in moved.items():
        np.testing.assert_allclose(value, moved["table"], rtol=1e-3, atol=1e-5, err_msg=f"{rule} by {name}, {mode}")
    assert np.abs(moved["rows"] - table[: BATCH * 4]).max() > 0.01

    times = in_turn({name: step for name, (step, _) in made.items()}, rounds=5 if quick else 15)
    heading = f"a step on {BATCH} rows of {vocabulary:,} by {COLUMNS}, float32"
    report(heading, f"{rule}, {mode}", "rows", times.median("rows") * 1e3, unit=" ms")
    report(heading, f"{rule}, {mode}", "table", times.median("table") * 1e3, unit=" ms")
    target = 2 if mode in ("CVM", "NUMBA") else None
    report(heading, f"{rule}, {mode}", "rows / table", times.ratio("rows", "table") * 100, target, unit=" %")
    if "torch" in made:
        report(heading, f"{rule}, {mode}", "rows / torch, sparse", times.ratio("rows", "torch"))


def step_of(rule, by_rows, mode, table, index, weights):
    E, i, c = pytensor.shared(table, name="E", shape=table.shape), pt.lvector("i"), pt.fmatrix("c")
    x = symupdates.rows(E, i) if by_rows else E[i]
    updates = rule((x * c).sum(), [x if by_rows else E])
    step = pytensor.function([i, c], updates=updates, mode=mode, trust_input=True)

    def run():
        step(index, weights)
        value = E.get_value(borrow=True)
        if hasattr(value, "block_until_ready"):
            value.block_until_ready()

    return run, lambda: np.asarray(E.get_value())


def step_of_torch(make, table, index, weights):
    import torch

    torch.set_num_threads(1)
    embedding = torch.nn.Embedding.from_pretrained(torch.tensor(table), freeze=False, sparse=True)
    optimizer = make(torch, embedding.parameters())
    i, c = torch.tensor(index), torch.tensor(weights)

    def step():
        optimizer.zero_grad()
        (embedding(i) * c).sum().backward()
        optimizer.step()

    return step, lambda: embedding.weight.detach().numpy()
