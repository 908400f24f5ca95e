"""Type checkers and editors: right uses pass, wrong ones do not, and rules are shown with their arguments.

The checkers are those of the extra ``symupdates[typing]``; without it, these tests are skipped.
"""

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_overloads

import pytest
from loss_table import LOSS_ROWS
from readme import PAGES, ROOT
from table import ROWS

import symupdates
from symupdates import gradients, schedules, transforms
from symupdates import typing as types

FILES = [ROOT / "tests" / "typing" / name for name in ("right.py", "wrong.py")]


def told(checker, *arguments):
    """What a checker prints."""
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    run = subprocess.run([sys.executable, "-m", checker, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout, run.stderr
    return run.stdout


def by_pyright(*files):
    """The severity, file, line and words of each message."""
    output = json.loads(told("pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, files)))
    for x in output["generalDiagnostics"]:
        yield x["severity"], Path(x["file"]).name, x["range"]["start"]["line"] + 1, x["message"]


def by_mypy(cache, *files):
    options = ["--output=json", "--follow-imports=silent", f"--cache-dir={cache}"]
    for x in map(json.loads, told("mypy", *options, *map(str, files)).splitlines()):
        yield x["severity"], Path(x["file"]).name, x["line"], x["message"]


@pytest.mark.ci
@pytest.mark.once
@pytest.mark.parametrize("checker", ["pyright", "mypy"])
def test_right_and_wrong_uses(checker, request):
    messages = by_pyright(*FILES) if checker == "pyright" else by_mypy(request.config.cache.mkdir("mypy"), *FILES)
    errors = {(file, line): words for severity, file, line, words in messages if severity == "error"}
    lines = ((file.name, i, line) for file in FILES for i, line in enumerate(file.read_text().splitlines(), 1))
    wrong = {(file, i) for file, i, line in lines if line.endswith("  # wrong")}
    assert len(wrong) > 50
    assert {place: words for place, words in errors.items() if place not in wrong} == {}
    assert wrong - errors.keys() == set()


def arguments_in(words):
    """The names and defaults in a type of a function, as pyright writes it."""
    return dict(re.findall(r"(\w+): [^:=]+ = ([^,()]+)", words))


@pytest.mark.ci
@pytest.mark.once
def test_editors_show_arguments(tmp_path):
    rules = {f"symupdates.{row.name}": row.rule for row in (*ROWS, *LOSS_ROWS)}
    others = {f"symupdates.gradients.{name}": getattr(gradients, name) for name in gradients.__all__}
    others |= {f"symupdates.{name}": getattr(symupdates, name) for name in transforms.__all__}
    others |= {
        f"symupdates.schedules.{name}": make
        for name in schedules.__all__
        if inspect.isfunction(make := getattr(schedules, name))
    }
    functions = rules | others
    file = tmp_path / "shown.py"
    file.write_text("import symupdates\n" + "".join(f"reveal_type({name})\n" for name in functions))
    shown = dict(re.fullmatch(r'Type of "(.*?)" is "(.*)"', words).groups() for *_, words in by_pyright(file))
    assert shown.keys() == functions.keys()
    for name, function in functions.items():
        data = {"loss_or_grads", "params"} if name in rules else {"grads", "updates"}
        defaults = {
            q.name: q.default
            for q in inspect.signature(function).parameters.values()
            if q.name not in data and q.default is not q.empty
        }
        found = {argument: text for argument, text in arguments_in(shown[name]).items() if argument not in data}
        assert found.keys() == defaults.keys(), name
        for argument, default in defaults.items():
            assert eval(found[argument], inspect.unwrap(function).__globals__) == default, (name, argument)
        assert name not in rules or shown[name].startswith("Rule["), shown[name]


MODULES = ["", ".gradients", ".transforms", ".schedules", ".constraints", ".state", ".random"]
MODULES += [".pymc"] * (find_spec("pymc") is not None) + [".sharding"] * (find_spec("jax") is not None)


@pytest.mark.parametrize("module", [f"symupdates{name}" for name in MODULES])
def test_all_is_annotated(module):
    module = import_module(module)
    functions = [x for name in module.__all__ if inspect.isfunction(x := getattr(module, name))]
    functions += [
        method
        for name in module.__all__
        if inspect.isclass(kind := getattr(module, name)) and kind.__module__ == module.__name__
        for method in vars(kind).values()
        if inspect.isfunction(method) and (method.__name__ in ("__init__", "__call__") or method.__name__[0] != "_")
    ]
    for function in functions:
        signature = inspect.signature(function)
        annotations = [q.annotation for q in signature.parameters.values() if q.name != "self"]
        annotations += [signature.return_annotation] * (function.__name__ != "__init__")
        assert get_overloads(function) or signature.empty not in annotations, function


def test_names_are_in_the_pages():
    text = (PAGES / "types.md").read_text(encoding="utf-8")
    assert {name for name in types.__all__ if f"`{name}`" not in text} == set()
