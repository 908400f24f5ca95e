"""How Sphinx builds these pages: ``python -m sphinx -E -W --keep-going symupdates/docs build/docs``."""

import os
import sys
from pathlib import Path

# The pictures are of so few numbers that nothing is compiled, nor is a compiler or a BLAS asked for.
os.environ["PYTENSOR_FLAGS"] = ",".join([os.environ.get("PYTENSOR_FLAGS", ""), "cxx="])

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

import functions  # noqa: E402

import symupdates  # noqa: E402

project = "symupdates"
copyright = "the authors of symupdates"
version = release = symupdates.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]
default_role = "code"
nitpicky = True
# No request to other pages.
nitpick_ignore_regex = [("py:.*", r"(pymc|xarray|jax|pytensor|numpy|functools|collections)\b.*")]

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

autodoc_mock_imports = functions.OPTIONAL
autodoc_typehints = "none"  # the docstrings say more
autodoc_class_signature = "separated"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "symupdates"
html_favicon = "static/icon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "footer_start": [],
    "footer_end": [],
    "show_toc_level": 2,
}


def setup(app):
    app.connect("builder-inited", functions.write_pages)
    app.connect("source-read", functions.expand)
    app.connect("autodoc-process-docstring", functions.add_picture, priority=400)  # before numpydoc
