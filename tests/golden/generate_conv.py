"""Make conv.json: what torch computes of random convolutions and poolings, their derivatives included.

In an environment of its own, as generate.py:

    golden-env/bin/python tests/golden/generate_conv.py [--check]

The file has the versions and the cases. A convolution has its configuration as the Ops take it, images x, filters w,
the result y, a number for each of its elements, dy, and the derivatives of sum(y * dy) by both; a pooling likewise,
without filters. All numbers are whole, and so all results are exact in every precision, but for averages; those that
are pooled for their maximum differ from each other, as torch has another meaning for ties.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from golden.generate import deviation, dump  # noqa: E402

CONVOLUTIONS, POOLINGS = 16, 16


def convolution(rng, torch):
    ndim = int(rng.choice([1, 2, 2, 3]))
    groups = int(rng.choice([1, 1, 2]))
    taps, strides, dilation = (rng.integers(1, 4, ndim) for _ in range(3))
    if ndim == 3:
        dilation = np.minimum(dilation, 2)
    border = str(rng.choice(["valid", "half", "full", "pairs"]))
    extents = (taps - 1) * dilation + 1
    pairs = {"valid": 0 * extents, "half": extents // 2, "full": extents - 1}.get(border)
    pairs = rng.integers(0, 3, (ndim, 2)) if pairs is None else np.stack([pairs, pairs], axis=1)
    places = np.maximum(extents - pairs.sum(axis=1), 1) + rng.integers(0, 4, ndim)
    x = rng.integers(-4, 5, (2, 2 * groups, *places))
    w = rng.integers(-4, 5, (3 * groups, 2, *taps))
    tensors = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (x, w)]
    padded = torch.nn.functional.pad(tensors[0], [int(p) for pair in pairs[::-1] for p in pair])
    conv = getattr(torch.nn.functional, f"conv{ndim}d")
    settings = [list(map(int, each)) for each in (strides, dilation)]
    y = conv(padded, tensors[1], None, settings[0], 0, settings[1], groups)
    dy = rng.integers(-4, 5, y.shape)
    dx, dw = torch.autograd.grad((y * torch.tensor(dy)).sum(), tensors)
    op = {"border": border if border != "pairs" else pairs.tolist(), "strides": settings[0], "dilation": settings[1]}
    values = {"x": x, "w": w, "y": y, "dy": dy, "dx": dx, "dw": dw}
    return {"op": {**op, "groups": groups}, **{name: numbers(value) for name, value in values.items()}}


def pooling(rng, torch):
    ndim = int(rng.choice([1, 2, 2, 3]))
    mode = str(rng.choice(["max", "sum", "average_inc_pad", "average_exc_pad"]))
    size, stride = rng.integers(1, 4, ndim), rng.integers(1, 4, ndim)
    pad = np.minimum(rng.integers(0, 2, ndim), size // 2)  # torch allows no more
    places = size + rng.integers(0, 5, ndim)
    x = rng.permutation(int(2 * np.prod(places))).reshape(2, 1, *places)
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    kind = "max" if mode == "max" else "avg"
    pool = getattr(torch.nn.functional, f"{kind}_pool{ndim}d")
    more = {} if mode == "max" else {"count_include_pad": mode != "average_exc_pad"}
    size, stride, pad = (list(map(int, each)) for each in (size, stride, pad))
    z = pool(tensor, size, stride, pad, **more)
    if mode == "sum":
        z = torch.round(z * int(np.prod(size)))  # whole numbers, and the derivative below is of the average
    dz = rng.integers(-4, 5, z.shape)
    y = pool(tensor, size, stride, pad, **more) * (int(np.prod(size)) if mode == "sum" else 1)
    (dx,) = torch.autograd.grad((y * torch.tensor(dz)).sum(), [tensor])
    values = {"x": x, "z": z, "dz": dz, "dx": torch.round(dx) if mode == "sum" else dx}
    vectors = {"size": size, "stride": stride, "pad": pad}
    return {"mode": mode, **vectors, **{name: numbers(value) for name, value in values.items()}}


def numbers(values):
    """As nested lists, of integers where they are whole."""
    values = np.asarray(values.detach() if hasattr(values, "detach") else values)
    return (values.astype(int) if (values == np.round(values)).all() else values).tolist()


def contents():
    import torch

    rng = np.random.default_rng(0)
    convolutions = [convolution(rng, torch) for _ in range(CONVOLUTIONS)]
    poolings = [pooling(rng, torch) for _ in range(POOLINGS)]
    versions = {"torch": version("torch"), "numpy": version("numpy")}
    return {"versions": versions, "convolutions": convolutions, "poolings": poolings}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the file that is there")
    arguments = parser.parse_args()
    path, content = HERE / "conv.json", contents()
    if not arguments.check:
        path.write_text(dump(content) + "\n")
        return
    stored = json.loads(path.read_text())
    content.pop("versions"), stored.pop("versions")
    worst = deviation(content, stored)
    print(f"{path.name}: largest relative deviation {worst:.1e}")
    sys.exit(worst > 1e-13)


if __name__ == "__main__":
    main()
