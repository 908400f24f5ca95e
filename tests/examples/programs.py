"""Running the example programs."""

import os
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(script, *arguments, folder):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": "1",  # the tests run side by side
        "OPENBLAS_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    command = [sys.executable, ROOT / "examples" / script, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")


def run(script, *arguments, folder):
    """The output of a script, which must succeed and have nothing to complain of."""
    done = start(script, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def rows(output):
    """The cells of each row of the tables in the output."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]


def check_png(path):
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 700 and height >= 400
    assert 20_000 < len(content) < 2_000_000
