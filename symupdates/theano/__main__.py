"""Run an unmodified Theano script: ``python -m symupdates.theano script.py arguments...``."""

import os
import sys

from symupdates.theano.installation import run

USAGE = """usage: python -m symupdates.theano script.py [arguments...]

Runs a Python 3 script that imports Theano, or Lasagne, on PyTensor: symupdates.theano stands for theano, and symupdates
for lasagne.updates. The script finds its arguments in sys.argv, and its own folder first in sys.path.
"""

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if len(sys.argv) > 1 else sys.stderr)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    if sys.argv[1].startswith("-"):
        sys.exit(f"{USAGE}\nunknown option {sys.argv[1]}: the script comes first.")
    if not os.path.isfile(sys.argv[1]):
        sys.exit(f"python -m symupdates.theano: there is no file {sys.argv[1]}.")
    run(*sys.argv[1:])
