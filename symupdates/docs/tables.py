"""The tables of functions in the pages, for who reads these in the repository.

``python symupdates/docs/tables.py`` writes them anew, from the docstrings: one before each fence ``{functions}`` of the
pages of rules, schedules and transforms.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGES = [*sorted(HERE.glob("rules_*.md")), HERE / "schedules.md", HERE / "transforms.md"]
FENCE = re.compile(r"\n+(?:\|.*\n)*\n*```\{functions\} (.*)\n```$", flags=re.MULTILINE)


def written(text):
    """A page with its tables as they ought to be."""
    return FENCE.sub(lambda match: f"\n\n{table(match[1].split())}\n\n```{{functions}} {match[1]}\n```", text)


def table(modules):
    """What the functions of some modules do, and where they have one, at what rate by default."""
    functions = {name: getattr(module, name) for module in map(import_module, modules) for name in module.__all__}
    rates = {name: inspect.signature(f).parameters.get("learning_rate") for name, f in functions.items()}
    rows = [["function", "", "rate"], ["---", "---", "---:"]]
    for name, function in functions.items():
        rate = rates[name].default if rates[name] else None
        rows.append([f"`{name}`", summary(function), "" if rate is None else f"{rate:g}"])
    columns = 3 if any(row[2] for row in rows[2:]) else 2
    return "\n".join(f"| {' | '.join(row[:columns])} |".replace("|  |", "| |") for row in rows)


def summary(function):
    """The first line of the docstring, without the roles of Sphinx."""
    text = " ".join(inspect.getdoc(function).split("\n\n")[0].split())
    text = re.sub(r":math:`(.*?)`(\\ )?", r"$\1$", text)
    return re.sub(r":\w+:`~?(?:symupdates\.)?(.*?)`", r"`\1`", text).replace("``", "`").replace("|", r"\|")


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
