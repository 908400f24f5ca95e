"""The example that trains rows: embeddings.py."""

import re

import pytest
from programs import run

pytestmark = [pytest.mark.ci, pytest.mark.once]


def test_rows_train_as_tables_do_in_less_time(tmp_path):
    options = ["--epochs", "1", "--compare", "5"]
    output = run("embeddings.py", *options, folder=tmp_path)
    assert float(re.search(r"losses: (\S+)", output)[1]) < 1e-5
    assert float(re.search(r"(\S+) times as long", output)[1]) > 1.5
    words, rank = re.search(r"among (\d+): (\S+)", output).groups()
    assert int(words) > 10_000
    assert float(rank) < 0.02 * int(words)
