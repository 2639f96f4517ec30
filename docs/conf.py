"""Sphinx's configuration: `make docs` builds the pages into build/docs."""

import html
import shutil
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import pages
from dslite import __version__

project = "dslite"
author = "The dslite contributors"
copyright = author
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_generated/*.inc.md"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables and formulas in outputs, too
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]
autosummary_generate = False  # a page a room, not one a function
autodoc_typehints = "none"  # they stand in the signature and, where it matters, in the text
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
default_role = "py:obj"  # docstrings name functions in single back quotes
html_math_renderer = "mathml"
python_maximum_signature_line_length = 88

html_theme = "pydata_sphinx_theme"
html_title = "dslite"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def visit_math(self, node) -> None:
    """Write a formula as MathML, which browsers draw without a script from elsewhere."""
    as_block = node.tagname == "math_block"
    try:
        text = tex2mathml(node.astext(), as_block=as_block)
    except Exception as error:  # of several kinds, by what docutils does not know
        logging.getLogger(__name__).warning("formula: %s: %s", error, node.astext(), location=node)
        text = html.escape(node.astext())
    tag = "div" if as_block else "span"
    self.body.append(f'<{tag} class="math">{text}</{tag}>')
    raise SkipNode


def relink(app, name: str, source: list[str]) -> None:
    """Let a guide's links to texts elsewhere in the project lead to their pages."""
    if not name.startswith(("_generated/", "notebooks/")):
        source[0] = pages.relinked(source[0], pages.DOCS, pages.DOCS)


def copy_report(app, error: Exception | None) -> None:
    """Lay the report on the paper's numbers, which is a page of its own, beside the pages."""
    if not error:
        shutil.copytree(pages.REPORT.parent, Path(app.outdir) / "paper", dirs_exist_ok=True)


def setup(app) -> None:
    """Write the generated pages, and let formulas be MathML."""
    pages.write()
    app.connect("source-read", relink)
    app.connect("build-finished", copy_report)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
