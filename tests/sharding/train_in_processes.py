"""One of several processes that train the model of mesh_model.py on one mesh; run by test_processes.py.

Arguments in JSON: ``process`` of ``processes`` of ``devices`` each, found at the ``address``; ``load`` a checkpoint,
train on the batches from ``begin`` to ``end`` with the ``layout``, save to ``save`` after each fifth; the second
process is to ``die`` before a batch, if any. Prints, in JSON, what it saw.
"""

import json
import os
import sys
import warnings

import jax
import numpy as np

warnings.simplefilter("error")
told = json.loads(sys.argv[1])
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", told["devices"])
if told["processes"] > 1:
    jax.distributed.initialize(
        told["address"], told["processes"], told["process"], heartbeat_timeout_seconds=10, initialization_timeout=60
    )

from mesh_model import Model, batches_of  # noqa: E402

import symupdates as su  # noqa: E402
from symupdates import checkpoint, sharding  # noqa: E402

written = []
write = checkpoint.write
checkpoint.write = lambda file, *args: (write(file, *args), written.append(str(file)))

model = Model()
mesh = jax.make_mesh((len(jax.devices()),), ("data",))
if told["load"]:
    su.load(told["load"], model.updates)
sharding.place(model.updates, mesh, **told["layout"])

batches = batches_of()[told["begin"] : told["end"]]
if told["local"]:
    rows = 16 // told["processes"]
    mine = slice(told["process"] * rows, (told["process"] + 1) * rows)
    batches = [tuple(x[mine] for x in batch) for batch in batches]
losses = []
for t, batch in enumerate(sharding.feed(batches, mesh, "data", local=told["local"]), start=told["begin"]):
    if t == told["die"] and told["process"] == 1:
        os._exit(7)
    losses.append(float(model.train(*batch)))
    if (t + 1) % 5 == 0:
        sharding.save(told["save"], model.updates)


def place_what_differs():
    other = Model()
    if told["process"] == 1:
        other.params[0].set_value(2 * other.params[0].get_value())
    try:
        sharding.place(other.updates, mesh)
    finally:
        assert all(isinstance(v.get_value(borrow=True), np.ndarray) for v in other.updates)


errors = []
for attempt in (
    place_what_differs,
    lambda: sharding.save(os.path.join(told["save"], "no", "folder"), model.updates),
    lambda: su.state_dict(model.updates),
    lambda: su.to_numpy(model.updates),
):
    try:
        attempt()
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")

state = sharding.state_dict(model.updates)
print(json.dumps({
    "losses": losses,
    "state": {name: value.tolist() for name, value in state.items()},
    "bytes": sharding.bytes_per_device(model.updates),
    "written": written,
    "errors": errors,
}))  # fmt: skip
