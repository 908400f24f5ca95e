"""Make rows.json: what torch.optim.SparseAdam computes of gradients that have some rows of a table only.

In an environment of its own, as generate.py:

    golden-env/bin/python tests/golden/generate_rows.py [--check]

The file has the version, the table, the rows looked up in each step (some of them twice), the gradient of each lookup,
the cases with the arguments of our rule and torch's, and the table after each step.
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

INDEX = [[0, 2, 2], [3, 2, 4], [4, 4, 4], [0, 1, 2], [3, 3, 0], [2, 6, 6], [2, 0, 6], [1, 1, 3]]
CASES = [
    ({"learning_rate": 0.001}, {"lr": 0.001}),
    (
        {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
        {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3},
    ),
]


def contents():
    import torch

    rng = np.random.default_rng(0)
    table, grads = rng.normal(size=(7, 2)), rng.normal(0.3, 1.0, (len(INDEX), 3, 2))
    cases = []
    for hyper, arguments in CASES:
        x = torch.nn.Parameter(torch.tensor(table))
        optimizer = torch.optim.SparseAdam([x], **arguments)
        after = []
        for index, g in zip(INDEX, grads, strict=True):
            x.grad = torch.sparse_coo_tensor([index], torch.tensor(g), x.shape, check_invariants=True)
            optimizer.step()
            after.append(x.detach().numpy().copy().tolist())
        cases.append({"hyper": hyper, "arguments": arguments, "table": after})
    versions = {"torch": version("torch"), "numpy": version("numpy")}
    return {"versions": versions, "table": table.tolist(), "index": INDEX, "grads": grads.tolist(), "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the file that is there")
    arguments = parser.parse_args()
    path, content = HERE / "rows.json", contents()
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
