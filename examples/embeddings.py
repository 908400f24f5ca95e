"""Word vectors of Python's own source, by GloVe: a step touches the rows that it looks up, not the whole vocabulary.

Names that stand near each other in the standard library, counted within a window, are the data: x of them for a word i
and its neighbour j. GloVe (Pennington, Socher and Manning, 2014) gives each word two vectors w, c and two numbers a, b
with wᵢ·cⱼ + aᵢ + bⱼ ≈ log x, by AdaGrad on the squared error, weighted by min(1, (x/20)^¾). A batch has a thousand
pairs, the vocabulary many thousands of words: the four tables are given to the rule by the rows looked up,
``rows(w, i)`` in the place of ``w``.

What is checked at the end: the same steps with the tables themselves for parameters give the same losses, and take
several times as long; and words that mean opposites, or parts of one thing, have become near neighbours.
"""

import argparse
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from common import MODES, Epochs, add_backend_option, positive, seed

import symupdates

BATCH = 1024
WINDOW = 4
RATE = 0.1
NO_TEXT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "encodings"}
PAIRS = (
    "min max, lower upper, read write, true false, encode decode, left right, start stop, year month, width height, "
    "getattr setattr, row column, dumps loads, readline readlines, stdout stderr, func args, client server"
)


# --- Data -------------------------------------------------------------------------------------------------------------


def load(least):
    """The names in the source of the standard library: a list of those that come often enough, and their sequence."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [file for file in sorted(library.rglob("*.py")) if not NO_TEXT & set(file.relative_to(library).parts)]
    text = "\n".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)
    found = re.findall("[a-z_]{2,}", text.lower())
    words = [word for word, count in Counter(found).most_common() if count >= least]
    number = {word: i for i, word in enumerate(words)}
    return words, np.array([number[word] for word in found if word in number])


def cooccurrences(sequence, size):
    """The pairs of words, two columns, that stand within a window, and how often: the nearer, the more it counts."""
    keys, weights = [], []
    for distance in range(1, WINDOW + 1):
        a, b = sequence[:-distance], sequence[distance:]
        keys += [a * size + b, b * size + a]
        weights += [np.full(2 * len(a), 1 / distance)]
    keys, place = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.bincount(place, np.concatenate(weights))
    often = counts >= 1
    return np.stack(np.divmod(keys[often], size), axis=1), counts[often].astype("float32")


# --- Model ------------------------------------------------------------------------------------------------------------


class Model:
    """GloVe, and the function that makes a step of it: on the rows looked up, or on the tables."""

    def __init__(self, size, dimensions, seed, mode, by_rows=True):
        rng = np.random.default_rng(seed)
        shapes = {"w": (size, dimensions), "c": (size, dimensions), "a": (size,), "b": (size,)}
        self.tables = {
            name: pytensor.shared(rng.uniform(-0.5, 0.5, shape).astype("float32") / dimensions, name=name, shape=shape)
            for name, shape in shapes.items()
        }
        i, j = (pt.vector(name, dtype="int64", shape=(BATCH,)) for name in "ij")
        x = pt.vector("x", dtype="float32", shape=(BATCH,))
        w, c, a, b = (
            symupdates.rows(table, index) if by_rows else table[index]
            for table, index in zip(self.tables.values(), (i, j, i, j), strict=True)
        )
        error = (w * c).sum(axis=1) + a + b - pt.log(x)
        loss = (pt.minimum(1, (x / np.float32(20)) ** np.float32(0.75)) * error**2).sum() / 2
        params = [w, c, a, b] if by_rows else list(self.tables.values())
        updates = symupdates.adagrad(loss, params, learning_rate=RATE)
        self.step = pytensor.function([i, j, x], loss / BATCH, updates=updates, mode=mode)

    def vectors(self):
        """The vectors of the words, of length one: the sums of both, as in the paper."""
        vectors = np.asarray(self.tables["w"].get_value()) + np.asarray(self.tables["c"].get_value())
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def compare(models, pairs, counts, order, steps):
    """Both on the same batches: the largest difference of their losses, and the shortest time of a step of each."""
    losses, times = [], []
    for model in models:
        took = []
        for batch in order[:steps]:
            begin = time.perf_counter()
            loss = model.step(pairs[batch, 0], pairs[batch, 1], counts[batch])
            took.append(time.perf_counter() - begin)
            losses.append(float(loss))
        times.append(min(took[1:]))
    losses = np.reshape(losses, (2, -1))
    return np.max(np.abs(losses[0] - losses[1]) / losses[1]), times


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive(int), default=6, metavar="N", help="default: 6")
    parser.add_argument("--dimensions", type=positive(int), default=50, metavar="N", help="of a vector (default: 50)")
    parser.add_argument("--least", type=positive(int), default=1, metavar="N", help="of a word's counts (default: 1)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the start and the order (default: 0)")
    parser.add_argument("--compare", type=positive(int), default=20, metavar="N", help="steps that both make")
    add_backend_option(parser, default="c" if pytensor.config.cxx else "numba")
    args = parser.parse_args(argv)

    words, sequence = load(args.least)
    pairs, counts = cooccurrences(sequence, len(words))
    print(f"{len(sequence)} words, {len(words)} different; {len(pairs)} pairs of neighbours")
    model, dense = (
        Model(len(words), args.dimensions, args.seed, MODES[args.backend], by_rows) for by_rows in (True, False)
    )
    rng = np.random.default_rng(args.seed)

    def new_order():
        return rng.permutation(len(pairs))[: len(pairs) // BATCH * BATCH].reshape(-1, BATCH)

    difference, (by_rows, by_tables) = compare((model, dense), pairs, counts, new_order(), args.compare + 1)
    epochs = Epochs(args.epochs)
    for _ in epochs:
        losses = [model.step(pairs[batch, 0], pairs[batch, 1], counts[batch]) for batch in new_order()]
        epochs.log(loss=np.mean(losses))

    vectors, number = model.vectors(), {word: i for i, word in enumerate(words)}
    ranks = []
    for pair in PAIRS.split(", "):
        first, second = (number[word] for word in pair.split())
        likeness = vectors @ vectors[first]
        ranks.append(int((likeness > likeness[second]).sum()))  # the word itself is the nearest
        nearest = [words[k] for k in np.argsort(-likeness)[1:6]]
        print(f"{words[first]:>12}: {', '.join(nearest)}; {words[second]} is number {ranks[-1]}")
    print(f"loss {epochs.history['loss'][0]:.4f} after one epoch, {epochs.history['loss'][-1]:.4f} after {args.epochs}")
    print(f"median rank of the second word among {len(words)}: {np.median(ranks):g}")
    print(
        f"a step: {1000 * by_rows:.2f} ms on the rows, {1000 * by_tables:.2f} ms on the tables, "
        f"{by_tables / by_rows:.1f} times as long; largest difference of their losses: {difference:.1e}"
    )


if __name__ == "__main__":
    main()
