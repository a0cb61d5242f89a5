"""How the documentation is built: ``sphinx-build -W docs docs/_build/html``."""

import os
import shutil
from pathlib import Path

# The width of a terminal decides where argparse breaks the lines of a usage.
os.environ["COLUMNS"] = "72"

import dae

HERE = Path(__file__).parent

# They are executed where they lie; Sphinx reads only what lies below this file.
NOTEBOOKS = HERE / "notebooks"
NOTEBOOKS.mkdir(exist_ok=True)
for notebook in HERE.parent.glob("notebooks/*.ipynb"):
    shutil.copy2(notebook, NOTEBOOKS)

project = "dae"
release = version = dae.__version__
project_copyright = "2026, the dae developers; the code is under the BSD 3-Clause licence"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinxarg.ext",
]
exclude_patterns = ["_build", "notebooks/.ipynb_checkpoints"]
templates_path = ["_templates"]

# Names in docstrings become links where there is something to link to.
default_role = "py:obj"
autodoc_typehints = "none"  # numpydoc's sections have the types, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
smartquotes = False  # an option begins with two hyphens

nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"dae {release}"
html_static_path = ["_static"]
html_css_files = ["dae.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("commands", "changes", "index_ja")}  # of one page each
html_copy_source = False
html_theme_options = {
    "logo": {"text": "dae"},
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_toc_level": 2,
}


def skip_aliases(app, what, name, obj, skip, options):
    """Leave out what `NamedTuple` says of its fields: the class has described them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def set_language(app, pagename, templatename, context, doctree):
    """Say which pages are in Japanese, so that browsers choose its characters."""
    if pagename.endswith("_ja"):
        context["language"] = "ja"


def setup(app):
    """Connect the above."""
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("html-page-context", set_language)
