"""One self-contained page of executed notebooks."""

import html
import re
from collections.abc import Iterable
from pathlib import Path

from dslite import paths
from dslite.errors import InputError

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
nav { position: fixed; top: 0; bottom: 0; width: 15rem; overflow: auto; padding: 1rem;
      border-right: 1px solid var(--line); box-sizing: border-box; font-size: .9rem; }
nav ol { padding-left: 1.2rem; } nav li { margin: .3rem 0; }
main { margin-left: 15rem; padding: 1rem 2rem; max-width: 60rem; }
section { border-top: 2px solid var(--line); margin-top: 3rem; }
details.code { color: var(--dim); font-size: .85rem; margin: .5rem 0; }
.highlight, .output_stream pre, .output_stdout pre { background: #8881; border-radius: 4px; }
pre { padding: .5rem; overflow-x: auto; font-size: .82rem; white-space: pre-wrap; margin: .3rem 0; }
table { border-collapse: collapse; font-size: .88rem; margin: .5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.output_png img, .jp-OutputArea-output img { background: white; }
img { max-width: 100%; height: auto; } .prompt, .anchor-link { display: none; }
@media (max-width: 50rem) { nav { position: static; width: auto; } main { margin: 0; } }
@media print { nav { display: none; } main { margin: 0; } details.code { display: none; } }
"""

TEMPLATE = """{%- extends 'basic/index.html.j2' -%}
{% block input_group %}<details class="code"><summary>code</summary>{{ super() }}</details>
{% endblock %}"""


def _described(body: str) -> str:
    """The page with a description of each picture: the heading that it stands under."""
    parts = re.split(r"(<h[1-3][^>]*>.*?</h[1-3]>)", body, flags=re.DOTALL)
    heading = ""
    for i, part in enumerate(parts):
        if i % 2:
            heading = re.sub(r"<[^>]+>|¶", "", part).strip().replace('"', "&quot;")
        parts[i] = re.sub(r'alt="No description[^"]*"', f'alt="{heading}"', part)
    return "".join(parts)


def build(title: str, notebooks: Iterable[Path], output: str | Path) -> Path:
    """One self-contained HTML page of executed notebooks with an index.

    Parameters
    ----------
    title : str
    notebooks : iterable of path
        Executed notebooks in the order they are shown.
    output : path

    Raises
    ------
    InputError
        A notebook is missing.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="basic", embed_images=True)
    exporter.raw_template = TEMPLATE
    # papermill leaves an output for each printed line
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    index, sections = [], []
    for path in map(Path, notebooks):
        if not path.is_file():
            raise InputError(f"{path}: the report needs this executed notebook")
        content = nbformat.read(path, as_version=4)
        body, _ = exporter.from_notebook_node(content)
        anchor = html.escape(path.stem)
        body = _described(body)
        # Every notebook has a heading "Settings": ids get the notebook's name in front; not those
        # of a pandas Styler, which its style names.
        body = re.sub(r'\bid="(?!T_)', f'id="{anchor}-', body)
        body = re.sub(r'\bhref="#', f'href="#{anchor}-', body)
        index.append(f'<li><a href="#{anchor}">{anchor}</a></li>')
        sections.append(f'<section id="{anchor}">{body}</section>')
    code = HtmlFormatter(style="default").get_style_defs(".highlight")
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}\n"
        f"@media (prefers-color-scheme: light) {{ {code} }}</style></head>\n"
        f"<body><nav><strong>{html.escape(title)}</strong><ol>{''.join(index)}</ol></nav>\n"
        f"<main><h1>{html.escape(title)}</h1>{''.join(sections)}</main></body></html>\n"
    )
    output = Path(output)
    with paths.replacing(output) as draft:
        draft.write_text(page, encoding="utf-8")
    return output
