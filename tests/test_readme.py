"""README.md, the pages and the docstrings hold: their examples run, and a rule added as told gets every test."""

import doctest
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytensor
import pytest
from conftest import HAVE_JAX
from readme import DOCUMENTS, PAGES, README, ROOT, blocks

import symupdates

NEEDS = {"devices.md": "jax", "pytensor_ml.md": "pytensor_ml"}


FIRST = {"README", "tour"}


@pytest.mark.parametrize(
    "document", [pytest.param(d, id=d.stem, marks=() if d.stem in FIRST else pytest.mark.ci) for d in DOCUMENTS]
)
def test_pages(document, tmp_path, monkeypatch):
    """Each is a doctest; what else is in a fence is run by the tests named beside it."""
    monkeypatch.chdir(tmp_path)
    if document.name in NEEDS:
        pytest.importorskip(NEEDS[document.name])
    text = document.read_text(encoding="utf-8")
    page = doctest.DocTestParser().get_doctest(text, {}, document.name, str(document), 0)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        failed, attempted = doctest.DocTestRunner().run(page)
    assert failed == 0
    assert (attempted > 0) is bool(blocks("pycon", page=document))
    assert not any(">>>" in block for block in blocks(r"(?!pycon).*", page=document))


ELSEWHERE = {
    ("README.md", "sh"): 2,  # .ci/run
    ("README.md", ""): 1,  # a picture
    ("checkpoints.md", "python"): 1,  # test_a_program_that_is_killed_and_resumed_prints_the_same_numbers
    ("add_a_rule.md", "python"): 4,  # test_recipe
    ("pymc.md", "python"): 4,  # test_pymc.py
    ("lasagne.md", "sh"): 1,  # tests/legacy
    ("development.md", "sh"): 1,  # tests/test_docs.py
}


def test_every_block_is_a_test():
    fence = re.compile(r"^```(.*)\n(?:.*\n)*?```$", flags=re.MULTILINE)
    found = (
        (page.name, language) for page in DOCUMENTS for language in fence.findall(page.read_text(encoding="utf-8"))
    )
    assert Counter(x for x in found if x[1] != "pycon" and not x[1].startswith("{")) == ELSEWHERE


def test_recipes_are_short():
    recipes = blocks("pycon", page="recipes.md")[1:]
    assert len(recipes) >= 20
    assert [recipe for recipe in recipes if len(re.findall(r"^(>>>|\.\.\.)", recipe, flags=re.MULTILINE)) > 10] == []


def test_readme_is_short():
    assert len(README.read_bytes()) <= 10_000


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_links_lead_somewhere(document):
    """To a file that is there, and to a heading of it, by the anchor that GitHub and MyST give it."""
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", document.read_text(encoding="utf-8")):
        file = document.parent / target if target else document
        assert file.is_file(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE) if anchor else []
        anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, f"{target}#{anchor}"


def test_tables_are_those_of_the_functions():
    spec = importlib.util.spec_from_file_location("tables", PAGES / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert len(tables.PAGES) == 10
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert text == tables.written(text), "python symupdates/docs/tables.py writes them"
        assert "| --- |" in text


@pytest.mark.ci
def test_a_program_that_is_killed_and_resumed_prints_the_same_numbers(tmp_path):
    """Killed as soon as it has printed so many, perhaps before it has saved: then it makes that step again."""
    (program,) = blocks("python", page="checkpoints.md")

    def run(folder, lines=None):
        folder.mkdir(exist_ok=True)
        flags = ",".join(["mode=FAST_COMPILE,cxx=", os.environ.get("PYTENSOR_FLAGS", "")])
        with subprocess.Popen(
            [sys.executable, "-u", "-c", program],
            cwd=folder,
            env=os.environ | {"PYTENSOR_FLAGS": flags, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            printed = [line for line, _ in zip(process.stdout, range(lines or 100), strict=False)]
            if lines:
                process.kill()
            printed += process.stdout
        assert bool(process.returncode) == bool(lines)
        return printed

    whole, killed = run(tmp_path / "whole"), run(tmp_path / "killed", 5)
    resumed = run(tmp_path / "killed")
    first = int(resumed[0].split()[0])
    assert len(whole) == 50 and 4 <= len(killed) - 1 <= first <= len(killed)
    assert killed[:first] + resumed == whole and killed == whole[: len(killed)]
    assert float(whole[-1].split()[1]) < float(whole[0].split()[1])


HAVE_PYMC = importlib.util.find_spec("pymc") is not None
MODULES = [module.name for module in pkgutil.walk_packages(symupdates.__path__, "symupdates.")]
if not HAVE_PYMC:
    MODULES.remove("symupdates.pymc")  # which imports it
if not HAVE_JAX:
    MODULES = [name for name in MODULES if name not in ("symupdates.sharding", "symupdates.theano.conv_ops.for_jax")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


PUBLIC = {name: getattr(symupdates, name) for name in symupdates.__all__}
PUBLIC |= {f"gradients.{name}": getattr(symupdates.gradients, name) for name in symupdates.gradients.__all__}
PUBLIC |= {
    f"schedules.{name}": getattr(symupdates.schedules, name)
    for name in symupdates.schedules.__all__
    if name != "Schedule"
}


# Documented by their attributes.
DATA = {"JAX_SHARDED", "BytesPerDevice", "Collective", "Convergence", "Round", "Unmatched"}
DOCUMENTED = dict(PUBLIC)
for name in ("constraints", "random", "state", "pymc", "sharding"):
    if f"symupdates.{name}" in MODULES:
        module = importlib.import_module(f"symupdates.{name}")
        DOCUMENTED |= {f"{name}.{part}": getattr(module, part) for part in module.__all__ if part not in DATA}
DOCUMENTED |= {
    f"{name}.{method}": function
    for name, kind in list(DOCUMENTED.items())
    if inspect.isclass(kind)
    for method, function in inspect.getmembers(kind, inspect.isfunction)
    if not method.startswith("_")
}


@pytest.mark.once
@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings_are_numpydoc(name):
    """Each section under its heading, each argument described."""
    doc = inspect.getdoc(DOCUMENTED[name])
    sections = dict(re.findall(r"^(\w+)\n-{4,}\n(.*?)(?=^\w+\n-{4,}\n|\Z)", doc + "\n", flags=re.DOTALL | re.MULTILINE))
    assert "----" not in re.sub(r"^-+$", "", doc, flags=re.MULTILINE)
    assert "Parameters" in sections
    if not inspect.isclass(DOCUMENTED[name]):
        assert ("Returns" in sections) is ("return " in inspect.getsource(DOCUMENTED[name]).split('"""')[-1])
    described = re.findall(r"^(\*{0,2}\w+(?:, \w+)*) :", sections["Parameters"], flags=re.MULTILINE)
    described = [part for names in described for part in names.split(", ")]
    assert [d.lstrip("*") for d in described] == [
        a for a in inspect.signature(DOCUMENTED[name]).parameters if a != "self"
    ]


def test_some_docstrings_have_examples():
    tests = [t for name in MODULES for t in doctest.DocTestFinder().find(importlib.import_module(name)) if t.examples]
    assert len(tests) >= 2


def test_quick_start_is_two_commands():
    install, test = blocks("sh", "Quick start")
    assert "examples/mlp.py" in install and "pytest" in test


def test_every_function_and_example_is_in_the_pages():
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    shown = []
    for name in " ".join(re.findall(r"^```\{functions\} (.*)$", text, flags=re.MULTILINE)).split():
        if name in MODULES:
            module = importlib.import_module(name)
            shown += [getattr(module, part) for part in module.__all__]
        else:
            shown.append(getattr(symupdates, name.removeprefix("symupdates."), None))
    assert [name for name, function in PUBLIC.items() if not any(function is other for other in shown)] == []
    for program in (ROOT / "examples").glob("[a-z]*.py"):
        if 'if __name__ == "__main__":' in program.read_text(encoding="utf-8"):
            assert f"`examples/{program.name}`" in text


@pytest.mark.ci
@pytest.mark.once
def test_recipe(tmp_path):
    """A copy of the project, the blocks of the recipe put where it says, and the generic tests for the new rule."""
    for part in ("symupdates", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    rule, *appended = blocks("python", page="add_a_rule.md")
    targets = ["symupdates/__init__.py", "tests/oracles/sgd.py", "tests/table.py"]
    text = (PAGES / "add_a_rule.md").read_text(encoding="utf-8")
    (new_file,) = re.findall(r"in a new file `(.*?)`", text)
    (tmp_path / new_file).write_text(rule, encoding="utf-8")
    for target, block in zip(targets, appended, strict=True):
        assert f"`{target}`" in text
        with open(tmp_path / target, "a", encoding="utf-8") as file:
            file.write("\n\n" + block)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "powersign"]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            "tests/rules/test_rules.py",
            "tests/test_transforms.py",
            "tests/test_compositions.py",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "CI": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    (passed,) = re.findall(r"(\d+) passed", run.stdout)
    # Every generic test of test_rules.py and those of the two transforms; two precisions on each backend.
    assert int(passed) >= 20 - 2 * (not HAVE_JAX), run.stdout
