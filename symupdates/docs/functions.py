"""A page for each public function, from its docstring, and what the hand-written pages show of them.

A fence ``{functions} NAME ...`` in a page, of modules or single functions, becomes a section for each function: its
summary, its formula, its picture and a link to its page. Pages and pictures go to the folder ``generated``, which git
ignores; a picture is kept until the module of its function changes.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path

from sphinx.ext.autodoc.mock import mock

import symupdates

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "generated"
OPTIONAL = ["pymc", "xarray"]  # what the documented functions import, and the pages are built without
FENCE = re.compile(r"^```\{functions\} (.*)\n```$", flags=re.MULTILINE)


def members(fence):
    """The full public names of the functions in a fence: the package's own, where it has them."""
    for name in fence.split():
        module = imported(name)
        if inspect.ismodule(module):
            for own in module.__all__:
                short = getattr(symupdates, own, None) is getattr(module, own)
                yield f"symupdates.{own}" if short else f"{name}.{own}"
        else:
            yield name


def imported(name):
    """The module or the function of that name; the function, where a module has its name."""
    module, _, own = name.rpartition(".")
    with mock(OPTIONAL):
        thing = getattr(import_module(module), own, None) if module else None
        return import_module(name) if thing is None else thing


def page_of(name):
    return name.removeprefix("symupdates.")


def directive(name):
    """How autodoc documents it."""
    thing = imported(name)
    if inspect.isclass(thing):
        return f".. autoclass:: {name}\n   :members:"
    return f".. {'autofunction' if callable(thing) else 'autodata'}:: {name}"


def digest(name):
    """The summary and the formula of a docstring."""
    doc = inspect.getdoc(imported(name))
    summary = doc.split("\n\n")[0].replace("\n", " ")
    body = re.split(r"^\w[\w ]*\n-{4,}$", doc, flags=re.MULTILINE)[0]
    formula = re.search(r"^\.\. math::.*\n?(?:(?:[ ]+.*)?\n)*", body + "\n", flags=re.MULTILINE)
    return f"{summary}\n\n{formula[0].rstrip() if formula else ''}\n"


# --- Events -----------------------------------------------------------------------------------------------------------


def write_pages(app):
    """The page and the picture of each function that a page shows."""
    import pictures

    GENERATED.mkdir(exist_ok=True)
    for page in HERE.glob("*.md"):
        for fence in FENCE.findall(page.read_text(encoding="utf-8")):
            for name in members(fence):
                text = f"# {page_of(name)}\n\n```{{eval-rst}}\n{directive(name)}\n```\n"
                write(GENERATED / f"{page_of(name)}.md", text)
    pictures.draw_all(GENERATED)


def write(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def expand(app, docname, source):
    """Replace the fences of a page."""

    def sections(match):
        names = list(members(match[1]))
        level = "###" if "\n## " in match.string[: match.start()] else "##"
        modules = [name for name in match[1].split() if any(full.startswith(f"{name}.") for full in names)]
        parts = [f"```{{eval-rst}}\n.. py:module:: {name}\n```" for name in modules]
        parts += [section(level, name) for name in names]
        tree = "\n".join(f"generated/{page_of(name)}" for name in names)
        return "\n\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{tree}\n```"])

    source[0] = FENCE.sub(sections, source[0])


def section(level, name):
    page = page_of(name)
    content = f".. currentmodule:: {name.rpartition('.')[0]}\n\n{picture(name, 'generated/')}{digest(name)}"
    return f"{level} [`{page}`](generated/{page}.md)\n\n```{{eval-rst}}\n{content}```"


def picture(name, folder):
    page = page_of(name)
    if not (GENERATED / f"{page}.svg").exists():
        return ""
    return f".. image:: {folder}{page}.svg\n   :class: beside\n   :alt: {page}\n\n"


def add_picture(app, what, name, thing, options, lines):
    """Put the picture of a function behind the summary of its docstring."""
    if what == "function":
        lines[0:0] = picture(name, "").splitlines()
