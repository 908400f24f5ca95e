"""A pytest plugin: functions timed in turn, and the tables of ratios that are printed at the end."""

import os
import platform
from importlib.metadata import version
from random import Random
from statistics import median
from time import perf_counter

import pytest

ROWS = pytest.StashKey()
PACKAGES = ["symupdates", "pytensor", "numpy", "numba", "jax", "optax", "torch"]


def pytest_addoption(parser):
    group = parser.getgroup("symupdates benchmarks")
    group.addoption("--quick", action="store_true", help="small sizes and few rounds: does everything run?")
    group.addoption("--parameters", default="10,40", help="the numbers of parameters to compile, such as 10,40,100,300")
    group.addoption("--elements", type=int, help="the size on the device, and by threads, in the place of their own")


@pytest.fixture
def quick(request):
    return request.config.getoption("--quick")


class Times:
    """The times of functions that were called in turn: a list for each name."""

    def __init__(self, by_name):
        self.by_name = by_name

    def median(self, name):
        return median(self.by_name[name])

    def ratio(self, name, peer):
        """The median of the ratios in each round, for noise that lasts longer than a round is in both."""
        return median(a / b for a, b in zip(self.by_name[name], self.by_name[peer], strict=True))


@pytest.fixture
def in_turn(benchmark):
    """Times functions in turn, B C A, C B A …: ``in_turn(functions by name, rounds) -> Times``.

    The first is what pytest-benchmark keeps for the test. The others run as the setup of its rounds, each time in
    another order, as some leave work behind for whoever comes next.
    """

    def measure(functions, rounds, warmup_rounds=2):
        (subject, function), *others = functions.items()
        shuffle = Random(0).shuffle
        times = {name: [] for name in functions}

        def time_others():
            shuffle(others)
            for name, other in others:
                start = perf_counter()
                other()
                times[name].append(perf_counter() - start)

        benchmark.pedantic(function, setup=time_others, rounds=rounds, warmup_rounds=warmup_rounds)
        times[subject] = list(benchmark.stats.stats.data)
        return Times({name: each[-rounds:] for name, each in times.items()})

    return measure


@pytest.fixture
def report(request, benchmark):
    """Puts a number into a table: ``report(table, row, column, value, target=None, unit="")``.

    Without a unit it is a ratio. A target is the largest value that is wanted; nothing fails where it is missed.
    """

    def put(table, row, column, value, target=None, unit=""):
        heading = f"{column} (≤ {target:g}{unit})" if target else column
        cell = f"{value:.{2 if value < 100 else 0}f}{unit}" + (" ✗" if target and value > target else "")
        request.config.stash.setdefault(ROWS, {}).setdefault(table, {}).setdefault(row, {})[heading] = cell
        benchmark.extra_info.setdefault("table", table)
        benchmark.extra_info[f"{row}: {column}"] = {"value": value, "unit": unit, "target": target}

    return put


def pytest_terminal_summary(terminalreporter, config):
    tables = config.stash.get(ROWS, {})
    if not tables:
        return
    terminalreporter.section("ratios")
    terminalreporter.line(f"{processor()}, on {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores")
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    terminalreporter.line("; ".join([f"Python {platform.python_version()}", *versions]))
    for table, rows in tables.items():
        terminalreporter.line(f"\n### {table}\n")
        for line in markdown(rows):
            terminalreporter.line(line)


def processor():
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.system()} {platform.machine()}, {names[0] if names else 'unknown processor'}"


def markdown(rows):
    """The lines of a table, from a dict of cells for each row."""
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    table = [["", *columns]] + [[row, *(cells.get(column, "") for column in columns)] for row, cells in rows.items()]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns) + 1)]
    table.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    for line in table:
        cells = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        yield f"| {' | '.join(cells)} |"
