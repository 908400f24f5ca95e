"""Train a perceptron on all the devices there are: one CPU, the GPUs of a machine, or those of a cluster.

The digits of scikit-learn, two hidden layers, and each batch divided among the devices. ``--layout`` says what of the
model each device keeps: all of it (``replicated``), all parameters and its share of the state (``state``), or its share
of both (``all``). The losses are the same but for rounding, which Adam magnifies; the memory is not.

    python examples/data_parallel.py --devices 8                  a CPU that stands for eight
    python examples/data_parallel.py --devices 8 --layout all
    python examples/data_parallel.py --checkpoint run.ckpt        interrupt it, and go on with other devices

One machine with GPUs: ``pip install symupdates[jax]`` and JAX for them (``pip install "jax[cuda13]"``); without
``--devices`` all are used.

A cluster: the same command on each machine, with the address of the first. Each process uses the devices of its
machine, and reads the same data; the first prints and saves.

    python examples/data_parallel.py --coordinator first:1234 --processes 4 --process 0      on the first machine
    python examples/data_parallel.py --coordinator first:1234 --processes 4 --process 1      on the second, and so on
    srun --ntasks-per-node 1 python examples/data_parallel.py --cluster                      under Slurm: JAX knows

``--checkpoint`` must then be a file that all machines see. If one of them dies, the others end with an error within
two minutes; start all again, or those that are left, and they go on from the last epoch.

At the end stand the images trained in a second, the bytes on each device, and those that devices exchange in a step.
"""

import argparse
import sys
import time

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
from common import optimizer, output_path, positive, rule_name, seed
from mlp import accuracy, digits, network, new_parameters

import symupdates
from symupdates.sharding import JAX_SHARDED, bytes_per_device, collectives, feed, place, save

LAYOUTS = {"replicated": {}, "state": {"state": "data"}, "all": {"params": "data"}}


def start(args, parser):
    """A mesh of all devices, of all processes."""
    if args.devices:
        jax.config.update("jax_num_cpu_devices", args.devices)
        jax.config.update("jax_platforms", "cpu")
    try:
        if args.cluster:
            jax.distributed.initialize()
        elif args.coordinator:
            jax.distributed.initialize(args.coordinator, args.processes, args.process)
    except (ValueError, RuntimeError) as error:
        parser.error(f"the processes did not find each other: {error}")
    if not args.coordinator and (args.processes or args.process is not None):
        parser.error("--processes and --process need --coordinator, the address of the first machine.")
    return jax.make_mesh((len(jax.devices()),), ("data",))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=LAYOUTS, default="replicated", help="default: replicated")
    parser.add_argument("--optimizer", type=rule_name, default="adam", metavar="RULE", help="default: adam")
    parser.add_argument("--width", type=positive(int), default=512, metavar="N", help="of both layers (default: 512)")
    parser.add_argument("--batch-size", type=positive(int), default=128, metavar="N", help="default: 128")
    parser.add_argument("--epochs", type=positive(int), default=10, metavar="N", help="default: 10")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the data and the start (default: 0)")
    parser.add_argument("--checkpoint", type=output_path, metavar="FILE", help="save each epoch, and go on from there")
    parser.add_argument("--devices", type=positive(int), metavar="N", help="make N of the CPU")
    parser.add_argument("--cluster", action="store_true", help="find the other processes as JAX does")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="the address of the first machine, and a free port")
    parser.add_argument("--processes", type=positive(int), metavar="N", help="how many, with --coordinator")
    parser.add_argument("--process", type=int, metavar="I", help="which of them this is, from 0, with --coordinator")
    args = parser.parse_args(argv)

    mesh = start(args, parser)
    say = print if jax.process_index() == 0 else lambda *line: None
    x, y, x_test, y_test = digits(args.seed)
    if args.batch_size > len(x):
        parser.error(f"--batch-size {args.batch_size}: there are only {len(x)} images.")
    x, x_test, y = x.astype("float32"), x_test.astype("float32"), y.astype("int32")
    rng = np.random.default_rng(args.seed)
    params = new_parameters((x.shape[1], args.width, args.width, 10), rng, "float32")

    # Batches are padded to a number of rows that the devices divide; what is padded has no weight.
    rows = -(-args.batch_size // mesh.size) * mesh.size
    images = pt.tensor("images", dtype="float32", shape=(rows, x.shape[1]))
    labels = pt.tensor("labels", dtype="int32", shape=(rows,))
    weights = pt.tensor("weights", dtype="float32", shape=(rows,))
    losses = -network(images, params)[pt.arange(rows), labels]
    loss = (weights * losses).sum() / weights.sum()
    updates = optimizer(args.optimizer)(loss, params)
    epoch = pytensor.shared(0, name="epoch")
    run = updates | {epoch: epoch}
    if args.checkpoint and args.checkpoint.exists():
        try:
            symupdates.load(args.checkpoint, run)
        except (OSError, ValueError) as error:
            parser.error(f"--checkpoint {args.checkpoint}: {error}")

    place(updates, mesh, **LAYOUTS[args.layout])
    train = pytensor.function([images, labels, weights], loss, updates=updates, mode=JAX_SHARDED)
    test_images = pt.tensor("test_images", dtype="float32", shape=x_test.shape)
    predict = pytensor.function([test_images], network(test_images, params), mode=JAX_SHARDED)

    kind = jax.devices()[0].device_kind
    say(f"{mesh.size} devices ({kind}) of {jax.process_count()} processes, layout {args.layout}, {args.optimizer}")
    done = int(epoch.get_value())
    seconds = []
    for number in range(done, args.epochs):
        order = np.random.default_rng((args.seed, number)).permutation(len(x))
        batches = [(x[i], y[i]) for i in np.split(order, range(args.batch_size, len(x), args.batch_size))]
        begin = time.perf_counter()
        of_batches = [train(*batch) for batch in feed(batches, mesh, "data", last="pad")]
        mean = np.mean([float(value) for value in of_batches])
        seconds.append(time.perf_counter() - begin)
        held_out = accuracy(np.asarray(predict(x_test)), y_test)
        say(f"epoch {number + 1:3}   loss {mean:.6f}   held_out {held_out:.4f}   {seconds[-1]:.2f} s")
        epoch.set_value(number + 1)
        if args.checkpoint:
            try:
                save(args.checkpoint, run)
            except OSError as error:
                sys.exit(f"The checkpoint could not be written: {error}")

    if len(seconds) > 1:
        say(f"{len(x) * (len(seconds) - 1) / sum(seconds[1:]):,.0f} images a second, without the first epoch")
    of_all = [v.get_value(borrow=True).nbytes for v in params]
    each = bytes_per_device(updates)
    say(f"parameters {sum(of_all):,} bytes; on each device {each.parameters:,}, and of state {each.state:,}")
    (batch,) = feed([(x[:rows], y[:rows])], mesh, "data", last="pad")
    kinds = {}
    for found in collectives(train, *batch):
        kinds[found.kind] = kinds.get(found.kind, 0) + found.bytes
    say("exchanged in a step:", ", ".join(f"{kind} of {n:,} bytes" for kind, n in kinds.items()) or "nothing")


if __name__ == "__main__":
    main()
