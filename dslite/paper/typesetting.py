"""A table ready to be set (`Sheet`), as Markdown, LaTeX, HTML, a pandas Styler or a flat frame.

Pure: texts in, text out. What a cell says is decided where the sheet is made (`dslite.paper.tables`).
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

# Letters that stand raised beside a number, as Unicode has them: a text of plain characters is
# readable in every format, and those that can set a real superscript do.
RAISED = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
LOWERED = {raised: letter for letter, raised in RAISED.items()}
SUPERSCRIPT = re.compile(f"[{''.join(LOWERED)}]+")
LATEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%"},
    **{"#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"`": r"\textasciigrave{}", "“": "``", "”": "''", "‘": "`", "’": "'"},
    # braces: after \\ or a rule, a bracket or an asterisk would be taken for an argument
    **{"[": "{[}", "]": "{]}", "*": "{*}"},
    **{"–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$"},
    **{"≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "→": r"$\rightarrow$"},
    **{"ρ": r"$\rho$", "α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "σ": r"$\sigma$"},
    **{"Δ": r"$\Delta$", "µ": r"$\mu$", "μ": r"$\mu$", "°": r"$^{\circ}$", "…": r"\ldots{}"},
    **{"®": r"\textregistered{}", "™": r"\texttrademark{}", "©": r"\textcopyright{}"},
    **{"²": r"\textsuperscript{2}", "³": r"\textsuperscript{3}", "″": "$''$"},
    **{"\N{NO-BREAK SPACE}": "~", "\N{NARROW NO-BREAK SPACE}": r"\,", "\N{THIN SPACE}": r"\,"},
}


def markdown(text: str) -> str:
    """A text that stands for itself in a cell of a Markdown table."""
    escaped = re.sub(r"([\\`*_|<>~$&#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("](", r"]\(")  # brackets alone are no link


def latex(text: str) -> str:
    """A text that stands for itself in LaTeX.

    Signs of `LATEX` become commands, Latin letters stay, and of any other character that a usual
    font may lack the code point is shown (``{[}U+2603{]}``), so that it stops no run and is seen.
    """
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    # twice the same of these three would be drawn as one other sign
    apart = ["{}" * (a == b and a in "-',") for a, b in zip(" " + plain, plain, strict=False)]
    return "".join(gap + _latex(character) for gap, character in zip(apart, plain, strict=True))


def _latex(character: str) -> str:
    if character in LOWERED:
        return rf"\textsuperscript{{{LOWERED[character]}}}"
    if character in LATEX or character.isascii() or (character.isalpha() and character < "ƀ"):
        return LATEX.get(character, character)
    return f"{{[}}U+{ord(character):04X}{{]}}"


def markup(text: str) -> str:
    """A text that stands for itself in HTML; raised letters are superscripts."""

    def superscript(found: re.Match) -> str:
        return f"<sup>{''.join(LOWERED[letter] for letter in found[0])}</sup>"

    return SUPERSCRIPT.sub(superscript, html.escape(text))


if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

WIDE = 5  # columns that still fit in one of a page's two
CROWDED = 9  # columns that still fit on a page in \small
NEEDS = r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; the file is UTF-8"


@dataclass(frozen=True)
class Sheet:
    """A table of texts.

    Attributes
    ----------
    number : int
    title, caption : str
        What it is in a phrase without a full stop, and in sentences what a reader needs.
    head : tuple of tuple of (str, int)
        Rows of the header, each of texts with the number of columns that they span. The texts over
        a column, joined, are its name and like no other's.
    rows : tuple of tuple of str
        A cell may hold letters of `dslite.paper.typesetting.RAISED`.
    align : str
        ``l`` or ``r`` for each column.
    bold : frozenset of (int, int)
        Cells, as (row, column).
    rules : frozenset of int
        Rows before which a rule stands.
    groups : mapping of int to str
        Rows before which a heading stands that spans all columns.
    notes : tuple of str
        Sentences below the table.
    """

    number: int
    title: str
    caption: str
    head: tuple[tuple[tuple[str, int], ...], ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    bold: frozenset[tuple[int, int]] = frozenset()
    rules: frozenset[int] = frozenset()
    groups: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        width, places = len(self.align), range(len(self.rows))
        wrong = [row for row in self.rows if len(row) != width]
        if wrong or any(sum(span for _, span in level) != width for level in self.head):
            raise ValueError(f"Table {self.number}: a row has not its {width} columns {wrong}")
        if not {*self.rules, *self.groups, *(row for row, _ in self.bold)} <= set(places):
            raise ValueError(f"Table {self.number}: a mark is on a row that it does not have")
        if len(set(self.columns)) != width:
            raise ValueError(f"Table {self.number}: two columns of one name: {self.columns}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Name of each column: what stands over it in all rows of the header."""
        return tuple(" ".join(filter(None, texts)) for texts in self.levels)

    @property
    def levels(self) -> list[tuple[str, ...]]:
        """Of each column, its text in each row of the header."""
        spread = [[text for text, span in level for _ in range(span)] for level in self.head]
        return list(zip(*spread, strict=True))

    @property
    def heading(self) -> str:
        """Number, title and caption as one line."""
        return f"Table {self.number}. {self.title}. {self.caption}"


def stacked(blocks: Iterable[tuple[str, list[list[str]]]]) -> dict[str, Any]:
    """Headings with their rows, one block below the other, as arguments of a `Sheet`.

    Returns
    -------
    dict
        ``rows``, ``groups`` and ``rules`` (before every block but the first). A block without rows
        is left out.
    """
    rows: list[tuple[str, ...]] = []
    groups = {}
    for heading, block in blocks:
        groups |= {len(rows): heading} if block else {}
        rows += [tuple(row) for row in block]
    return {"rows": tuple(rows), "groups": groups, "rules": frozenset(groups) - {0}}


def _blocks(sheet: Sheet) -> Iterator[tuple[str, range]]:
    """Heading (empty where there is none) and rows of each part of the table."""
    starts = sorted({0, *sheet.groups})
    for start, end in zip(starts, [*starts[1:], len(sheet.rows)], strict=True):
        yield sheet.groups.get(start, ""), range(start, end)


# Markdown


def to_markdown(sheet: Sheet) -> str:
    """A Markdown table (GitHub's dialect) with its caption above and its notes below.

    It has one row of column names, bold cells in ``**``, and a row in italics for each heading.
    """
    lines = [_line([markdown(name) for name in sheet.columns])]
    lines.append(_line(["---:" if side == "r" else ":---" for side in sheet.align]))
    for heading, places in _blocks(sheet):
        if heading:
            lines.append(_line([f"*{markdown(heading)}*", *[""] * (len(sheet.align) - 1)]))
        for i in places:
            cells = [markdown(text) for text in sheet.rows[i]]
            bold = [f"**{c}**" if c and (i, j) in sheet.bold else c for j, c in enumerate(cells)]
            lines.append(_line(bold))
    title = markdown(f"Table {sheet.number}. {sheet.title}.")
    notes = [f"- {markdown(note)}" for note in sheet.notes]
    parts = [f"**{title}** {markdown(sheet.caption)}".strip(), "\n".join(lines)]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


# LaTeX


def to_latex(sheet: Sheet) -> str:
    r"""A ``booktabs`` table as a float that other text can ``\input`` and ``\ref``.

    Its label is ``tab:dslite-<number>``. One of more than `WIDE` columns spans both columns of a
    page (``table*``), in a smaller type if it is broader still.
    """
    width = len(sheet.align)
    kind = "table*" if width > WIDE else "table"
    size = r"\footnotesize\setlength{\tabcolsep}{3pt}" if width > CROWDED else r"\small"
    lines = [NEEDS, rf"\begin{{{kind}}}", r"\centering"]
    lines.append(
        rf"\caption[{latex(sheet.title)}]{{{latex(f'{sheet.title}. {sheet.caption}'.strip())}}}"
    )
    lines += [rf"\label{{tab:dslite-{sheet.number}}}", size]
    lines += [rf"\begin{{tabular}}{{@{{}}{sheet.align}@{{}}}}", r"\toprule", *_latex_head(sheet)]
    lines.append(r"\midrule")
    for heading, places in _blocks(sheet):
        for i in places:
            lines += [r"\midrule"] * (i in sheet.rules)
            if heading and i == places[0]:
                spanning = rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}"
                lines.append(rf"{spanning}{{\emph{{{latex(heading)}}}}} \\")
            cells = [latex(text) for text in sheet.rows[i]]
            cells = [rf"\textbf{{{c}}}" if (i, j) in sheet.bold else c for j, c in enumerate(cells)]
            lines.append(rf"{' & '.join(cells)} \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        notes = [rf"{latex(note)}\par" for note in sheet.notes]
        lines += ["", r"\smallskip", r"\parbox{\linewidth}{\raggedright", *notes, "}"]
    return "\n".join([*lines, rf"\end{{{kind}}}", ""])


def _latex_head(sheet: Sheet) -> Iterator[str]:
    """Rows of the header; below all but the last, a rule under each text that spans columns."""
    for depth, level in enumerate(sheet.head, 1):
        cells, rules, first = [], [], 1
        for text, span in level:
            if span > 1:
                cells.append(rf"\multicolumn{{{span}}}{{c}}{{{latex(text)}}}")
                rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
            else:
                cells.append(latex(text))
            first += span
        yield rf"{' & '.join(cells)} \\"
        if rules and depth < len(sheet.head):
            yield " ".join(rules)


# HTML


def to_html(sheet: Sheet) -> str:
    """A table with a header for every cell, to be styled by the page's own rules.

    Returns
    -------
    str
        ``div.sheet`` with id ``sheet-<number>``: in it ``div.scroll``, so that a narrow window
        scrolls the table and not the page, and ``ul.notes``. Classes in the table: ``text`` and
        ``number`` (cells by their column's alignment), ``group`` (heading of a ``tbody``), ``rule``
        (row below a rule). Bold is ``strong``.
    """
    name, width = f"Table {sheet.number}", len(sheet.align)
    caption = f"<strong>{name}. {markup(sheet.title)}.</strong> {markup(sheet.caption)}"
    lines = [f'<div class="sheet" id="sheet-{sheet.number}">']
    lines.append(f'<div class="scroll" role="region" tabindex="0" aria-label="{name}"><table>')
    lines += [f"<caption>{caption.strip()}</caption>", "<thead>", *_html_head(sheet), "</thead>"]
    for heading, places in _blocks(sheet):
        lines.append("<tbody>")
        if heading:
            spanning = f'<th scope="rowgroup" colspan="{width}">{markup(heading)}</th>'
            ruled = places[0] in sheet.rules
            lines.append(f'<tr class="group{" rule" * ruled}">{spanning}</tr>')
        for i in places:
            ruled = i in sheet.rules and not (heading and i == places[0])
            opened = '<tr class="rule">' if ruled else "<tr>"
            lines.append(f"{opened}{_html_cells(sheet, i)}</tr>")
        lines.append("</tbody>")
    lines.append("</table></div>")
    notes = "".join(f"<li>{markup(note)}</li>" for note in sheet.notes)
    lines += [f'<ul class="notes">{notes}</ul>'] * bool(notes)
    return "\n".join([*lines, "</div>", ""])


def _html_head(sheet: Sheet) -> Iterator[str]:
    for level in sheet.head:
        cells, first = [], 0
        for text, span in level:
            scope = f'scope="colgroup" colspan="{span}"' if span > 1 else 'scope="col"'
            side = ' class="text"' if span == 1 and sheet.align[first] == "l" else ""
            first += span
            # a header that says nothing is announced as one all the same
            cells.append(f"<th {scope}{side}>{markup(text)}</th>" if text else "<td></td>")
        yield f"<tr>{''.join(cells)}</tr>"


def _html_cells(sheet: Sheet, row: int) -> str:
    cells = []
    for j, (text, side) in enumerate(zip(sheet.rows[row], sheet.align, strict=True)):
        tag, scope = ("th", ' scope="row"') if j == 0 else ("td", "")
        kind = "text" if side == "l" else "number"
        cells.append(f'<{tag}{scope} class="{kind}">{_emphasised(sheet, row, j, text)}</{tag}>')
    return "".join(cells)


def _emphasised(sheet: Sheet, row: int, column: int, text: str) -> str:
    said = markup(text)
    return f"<strong>{said}</strong>" if (row, column) in sheet.bold else said


# Frames


def to_csv_frame(sheet: Sheet) -> pd.DataFrame:
    """The cells as a frame of texts, to be written as CSV.

    Returns
    -------
    DataFrame
        A column of each of the sheet's; before them, where there are headings, ``group``.
    """
    frame = pd.DataFrame(sheet.rows, columns=list(sheet.columns), dtype=str)
    if sheet.groups:
        headings = [heading for heading, places in _blocks(sheet) for _ in places]
        frame.insert(0, "group", headings)
    return frame


def to_styler(sheet: Sheet) -> "Styler":
    """The table for a notebook, its notes under its caption; headings are rows of their own.

    What carries meaning (bold, superscripts) is markup in the cells, so that it outlives a viewer
    that drops styles. The uuid is the sheet's, not a random one, for outputs that can be compared.
    """
    cells, headings = [], []
    for heading, places in _blocks(sheet):
        if heading:
            headings.append(len(cells))
            cells.append([f"<em>{markup(heading)}</em>", *[""] * (len(sheet.align) - 1)])
        for i in places:
            cells.append([_emphasised(sheet, i, j, text) for j, text in enumerate(sheet.rows[i])])
    levels = sheet.levels if len(sheet.head) > 1 else sheet.columns
    frame = pd.DataFrame(cells, columns=pd.Index(levels), dtype=str)
    left = [column for column, side in zip(frame, sheet.align, strict=True) if side == "l"]
    notes = "".join(f"<br /><small>{markup(note)}</small>" for note in sheet.notes)
    styles = [
        {"selector": "caption", "props": "text-align: left; caption-side: top;"},
        {"selector": "th.col_heading", "props": "text-align: center;"},
        {"selector": "th.col0", "props": "text-align: left;"},
    ]
    styler = frame.style.hide(axis="index").set_uuid(f"sheet-{sheet.number}")
    styler = styler.set_caption(markup(sheet.heading) + notes).set_table_styles(styles)
    styler = styler.format_index(markup, axis="columns")
    styler = styler.set_properties(**{"text-align": "right", "white-space": "nowrap"})
    styler = styler.set_properties(subset=left, **{"text-align": "left"})
    # a heading is longer than its column: it runs over the empty cells beside it
    over = {"max-width": "1px", "overflow": "visible"}
    return styler.set_properties(subset=(headings, [frame.columns[0]]), **over)
