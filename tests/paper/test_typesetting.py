"""A sheet in each format says what the sheet says, whatever characters its texts hold."""

import csv
import io
import re
from html.parser import HTMLParser

import mistune
import nbformat
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbconvert import HTMLExporter

from dslite.paper import typesetting
from dslite.paper.typesetting import LATEX, LOWERED, RAISED, Sheet

SIGNS = "".join(LATEX) + "".join(RAISED.values()) + "ÄöéÅßΩ漢🎵-,'?!/()=+;:@"
LETTERS = st.sampled_from("".join(map(chr, range(33, 127))) + SIGNS)
TEXTS = st.lists(st.text(LETTERS, min_size=1, max_size=8), max_size=4).map(" ".join)
SHEET = Sheet(
    number=7,
    title="Of seven & more",
    caption="Values in %.",
    head=((("", 1), ("CCS", 2), ("#", 1)), (("[UAR %]", 1), ("Dev", 1), ("Test", 1), ("n", 1))),
    rows=(
        ("*first", "1.0", "2.0ʳ", "3"),
        ("[second]", "1.1", "2.1", ""),
        ("third", "4.0 ± 1", "–", "5"),
    ),
    align="lrrr",
    bold=frozenset({(1, 2)}),
    rules=frozenset({2}),
    groups={0: "as published", 2: "ours: a_b"},
    notes=("ʳ reproduced", "A second | note."),
)


def sheet_of(texts):
    """A sheet of one row of each text, and each text wherever else one may stand."""
    said = texts[0]
    return Sheet(
        number=1,
        title=said,
        caption=said,
        head=((("", 1), (said, 2)), ((f"a {said}", 1), (f"b {said}", 1), (f"c {said}", 1))),
        rows=tuple((text, text, text) for text in texts),
        align="lrr",
        bold=frozenset({(len(texts) - 1, 1)}),
        groups={0: f"of {said}"},
        notes=(said,) if said else (),
    )


SHEETS = st.lists(TEXTS, min_size=1, max_size=3).map(sheet_of)


def squeezed(text):
    return " ".join(text.split())


class Page(HTMLParser):
    """Cells (text, tag, attributes) by row, and every tag, of some HTML."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.open, self.strong = [], [], [], set()
        self.inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(["", tag, dict(attributes)])

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags nest"

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            cell = self.rows[-1][-1]
            cell[0] += "".join(RAISED[c] for c in data) if "sup" in self.open else data
            if "strong" in self.open:
                self.strong.add((len(self.rows) - 1, len(self.rows[-1]) - 1))

    @property
    def texts(self):
        return [[squeezed(cell[0]) for cell in row] for row in self.rows]


# The sheet itself


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": (("a", "b"),)},
        {"head": ((("a", 1), ("b", 2)),)},
        {"head": ((("a", 1), ("b", 1), ("b", 2)),)},
        {"bold": frozenset({(3, 0)})},
        {"rules": frozenset({3})},
        {"groups": {3: "nothing follows"}},
    ],
)
def test_a_sheet_that_does_not_add_up_is_refused(wrong):
    fields = {name: getattr(SHEET, name) for name in SHEET.__dataclass_fields__}
    with pytest.raises(ValueError, match="Table 7"):
        Sheet(**(fields | wrong))


def test_a_columns_name_is_what_stands_over_it():
    assert SHEET.columns == ("[UAR %]", "CCS Dev", "CCS Test", "# n")


def test_blocks_are_stacked_with_rules_between_them():
    blocks = [("a", [["1"], ["2"]]), ("nothing", []), ("b", [["3"]])]
    assert typesetting.stacked(blocks) == {
        "rows": (("1",), ("2",), ("3",)),
        "groups": {0: "a", 2: "b"},
        "rules": frozenset({2}),
    }


# Markdown


def rendered(text):
    return mistune.create_markdown(plugins=["table", "strikethrough"])(text)


@settings(deadline=None)
@given(sheet=SHEETS)
def test_markdown_says_what_the_sheet_says(sheet):
    page = Page(rendered(typesetting.to_markdown(sheet)))
    head, heading, *rows = page.texts
    assert head == [squeezed(name) for name in sheet.columns]
    assert heading == [squeezed(sheet.groups[0]), "", ""]
    assert rows == [[squeezed(text) for text in row] for row in sheet.rows]
    last = len(sheet.rows) - 1
    assert page.strong == ({(2 + last, 1)} if sheet.rows[last][1] else set())
    expected = {"p", "strong", "table", "thead", "tbody", "tr", "th", "td", "em", "ul", "li"}
    assert {tag for tag, _ in page.tags} <= expected


def test_markdown_is_one_line_a_row():
    title, _, *lines = typesetting.to_markdown(SHEET).splitlines()
    assert title == r"**Table 7. Of seven \& more.** Values in %."
    assert lines == [
        r"| [UAR %] | CCS Dev | CCS Test | \# n |",
        "| :--- | ---: | ---: | ---: |",
        "| *as published* |  |  |  |",
        r"| \*first | 1.0 | 2.0ʳ | 3 |",
        "| [second] | 1.1 | **2.1** |  |",
        r"| *ours: a\_b* |  |  |  |",
        "| third | 4.0 ± 1 | – | 5 |",
        *("", "- ʳ reproduced", r"- A second \| note."),
    ]


# LaTeX

TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|\$[^$]*\$|[{}]|[^\\{}]", re.DOTALL)
SPECIAL = set("&%$#_~^\\")
# `~` and `` ` `` `'` are also what a space and quotation marks are set with
AMBIGUOUS = {'"', "”", "“", "‘", "’", "\N{NO-BREAK SPACE}", "~", "`"}


def balanced(text):
    depth = 0
    for token in TOKEN.findall(text):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0


@settings(deadline=None)
@given(text=TEXTS)
def test_latex_leaves_no_special_character_and_balances(text):
    found = TOKEN.findall(typesetting.latex(text))
    assert "".join(found) == typesetting.latex(text)
    bare = [token for token in found if token in SPECIAL]
    assert bare.count("~") == text.count("\N{NO-BREAK SPACE}")
    assert set(bare) <= {"~"}
    assert balanced(typesetting.latex(text))
    assert all(token.isascii() or token < "ƀ" for token in found)


# of two signs that look alike, the one that is read back
ALIKE = str.maketrans({"µ": "μ", "\N{THIN SPACE}": "\N{NARROW NO-BREAK SPACE}"})
READ = {code: sign for sign, code in LATEX.items() if sign not in AMBIGUOUS}
READ |= {rf"\textsuperscript{{{letter}}}": sign for letter, sign in RAISED.items()}
CODES = re.compile("|".join(map(re.escape, sorted(READ, key=len, reverse=True))) + "|{}|.")


def shown(character):
    known = character in LATEX or character in LOWERED or character < "ƀ"
    return character if known else f"[U+{ord(character):04X}]"


@settings(deadline=None)
@given(text=TEXTS.filter(lambda text: not AMBIGUOUS & set(text)))
def test_latex_can_be_read_back(text):
    read = CODES.sub(
        lambda found: READ.get(found[0], found[0].replace("{}", "")), typesetting.latex(text)
    )
    assert read.translate(ALIKE) == "".join(map(shown, text)).translate(ALIKE)


def test_latex_draws_no_ligature_that_was_not_written():
    assert typesetting.latex("a--b---c ,,") == "a-{}-b-{}-{}-c ,{},"


def body(text):
    """Lines of the tabular, without its rules."""
    inside = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0].strip("\n").splitlines()
    return [line for line in inside if not line.startswith((r"\midrule", r"\cmidrule"))]


def columns_of(line):
    """Columns that a row of LaTeX fills, those of a cell over several counted."""
    cells = re.split(r"(?<!\\)&", line)
    spans = [re.match(r"\s*\\multicolumn\{(\d+)\}", cell) for cell in cells]
    return sum(int(span[1]) if span else 1 for span in spans)


@settings(deadline=None)
@given(sheet=SHEETS)
def test_latex_has_as_many_columns_in_every_row(sheet):
    text = typesetting.to_latex(sheet)
    lines = body(text)
    assert [columns_of(line) for line in lines] == [3] * (len(sheet.head) + 1 + len(sheet.rows))
    assert all(line.endswith(r" \\") for line in lines)
    # what follows \\ or a rule must not look like its argument
    assert not [line for line in lines if line.lstrip().startswith(("[", "*"))]
    assert balanced(text.partition("\n")[2])


def test_latex_is_a_booktabs_table():
    text = typesetting.to_latex(SHEET)
    assert text.startswith("% needs \\usepackage{booktabs}")
    assert text.count(r"\label{tab:dslite-7}") == 1
    assert r"\caption[Of seven \& more]{Of seven \& more. Values in \%.}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    rules = re.findall(r"\\(toprule|midrule|bottomrule|cmidrule\S*)", text)
    assert rules == ["toprule", "cmidrule(lr){2-3}", "midrule", "midrule", "bottomrule"]
    assert body(text) == [
        r" & \multicolumn{2}{c}{CCS} & \# \\",
        r"{[}UAR \%{]} & Dev & Test & n \\",
        r"\multicolumn{4}{@{}l@{}}{\emph{as published}} \\",
        r"{*}first & 1.0 & 2.0\textsuperscript{r} & 3 \\",
        r"{[}second{]} & 1.1 & \textbf{2.1} &  \\",
        r"\multicolumn{4}{@{}l@{}}{\emph{ours: a\_b}} \\",
        r"third & 4.0 $\pm$ 1 & -- & 5 \\",
    ]


@pytest.mark.parametrize("width", [4, 5, 6, 9, 10, 13])
def test_latex_makes_room_for_a_wide_table(width):
    head = (tuple((str(i), 1) for i in range(width)),)
    text = typesetting.to_latex(Sheet(1, "t", "c", head, (("x",) * width,), "r" * width))
    assert (r"\begin{table*}" in text) == (r"\end{table*}" in text) == (width > typesetting.WIDE)
    assert (r"\footnotesize" in text) == (width > typesetting.CROWDED)
    assert (r"\small" in text) == (width <= typesetting.CROWDED)


# HTML


@settings(deadline=None)
@given(sheet=SHEETS)
def test_html_says_what_the_sheet_says(sheet):
    page = Page(typesetting.to_html(sheet))
    top, names, heading, *rows = page.texts
    assert top == ["", squeezed(sheet.head[0][1][0])]
    assert names == [squeezed(name) for name, _ in sheet.head[1]]
    assert heading == [squeezed(sheet.groups[0])]
    assert rows == [[squeezed(text) for text in row] for row in sheet.rows]
    bold = {(3 + row, column) for row, column in sheet.bold if sheet.rows[row][column]}
    assert page.strong == bold
    assert not page.open


def test_html_has_a_header_for_every_cell_and_no_style():
    text = typesetting.to_html(SHEET)
    page = Page(text)
    assert not [attributes for _, attributes in page.tags if "style" in attributes]
    assert page.tags[0] == ("div", {"class": "sheet", "id": "sheet-7"})
    assert len([tag for tag, _ in page.tags if tag == "tbody"]) == 2
    top, names, first, *_ = page.rows
    assert [cell[1] for cell in top] == ["td", "th", "th"]
    assert top[1] == ["CCS", "th", {"scope": "colgroup", "colspan": "2"}]
    assert [cell[2]["scope"] for cell in names] == ["col"] * 4
    assert first == [["as published", "th", {"scope": "rowgroup", "colspan": "4"}]]
    for row in (page.rows[i] for i in (3, 4, 6)):
        assert row[0][1:] == ["th", {"scope": "row", "class": "text"}]
        assert [cell[1:] for cell in row[1:]] == [["td", {"class": "number"}]] * 3
    ruled = [attributes for tag, attributes in page.tags if tag == "tr" and "class" in attributes]
    assert ruled == [{"class": "group"}, {"class": "group rule"}]
    assert "2.0<sup>r</sup>" in text
    assert text.count("<li>") == len(SHEET.notes)


def test_html_draws_a_rule_without_a_heading():
    fields = {name: getattr(SHEET, name) for name in SHEET.__dataclass_fields__}
    page = Page(typesetting.to_html(Sheet(**(fields | {"groups": {}, "notes": ()}))))
    rows = [attributes for tag, attributes in page.tags if tag == "tr"]
    assert rows == [{}, {}, {}, {}, {"class": "rule"}]
    assert "ul" not in {tag for tag, _ in page.tags}


# Frames


@settings(deadline=None)
@given(sheet=SHEETS)
def test_csv_can_be_read_back(sheet):
    frame = typesetting.to_csv_frame(sheet)
    written = frame.to_csv(index=False)
    head, *rows = csv.reader(io.StringIO(written))
    assert head == ["group", *sheet.columns]
    assert rows == [[sheet.groups[0], *row] for row in sheet.rows]


def test_csv_has_no_column_of_groups_where_there_are_none():
    fields = {name: getattr(SHEET, name) for name in SHEET.__dataclass_fields__}
    frame = typesetting.to_csv_frame(Sheet(**(fields | {"groups": {}})))
    assert tuple(frame.columns) == SHEET.columns
    assert typesetting.to_csv_frame(SHEET)["group"].tolist() == ["as published"] * 2 + ["ours: a_b"]


def of_styler(text):
    return Page(re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL))


@settings(deadline=None, max_examples=30)
@given(sheet=SHEETS)
def test_styler_says_what_the_sheet_says(sheet):
    page = of_styler(typesetting.to_styler(sheet).to_html())
    heading, *rows = page.texts[2:]
    assert heading == [squeezed(sheet.groups[0]), "", ""]
    assert rows == [[squeezed(text) for text in row] for row in sheet.rows]
    assert page.texts[1] == [squeezed(name) for name, _ in sheet.head[1]]
    bold = {(3 + row, column) for row, column in sheet.bold if sheet.rows[row][column]}
    assert page.strong == bold


def test_styler_is_the_same_each_time_and_has_no_index():
    text = typesetting.to_styler(SHEET).to_html()
    assert text == typesetting.to_styler(SHEET).to_html()
    assert "row_heading" not in text
    assert "Table 7. Of seven &amp; more. Values in %." in text
    assert "A second | note." in text


def test_styler_survives_a_notebook_and_its_page():
    """What nbconvert makes of a notebook that shows the table keeps its cells and its style."""
    shown = typesetting.to_styler(SHEET)
    output = nbformat.v4.new_output("display_data", {"text/html": shown._repr_html_()})
    cell = nbformat.v4.new_code_cell("shown", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    text, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    table = text[text.index("<style") : text.index("</table>") + len("</table>")]
    kept = of_styler(table)
    assert kept.texts == of_styler(shown.to_html()).texts
    assert "<strong>2.1</strong>" in table
    identities = set(re.findall(r"#(T_[\w-]+)", table[: table.index("</style>")]))
    known = {attributes.get("id") for _, attributes in kept.tags}
    assert identities
    assert identities <= known, "every rule of the style finds its cell"


def test_a_table_without_groups_or_rows_is_set_in_every_format():
    sheet = Sheet(1, "t", "c", ((("a", 1), ("b", 1)),), (), "lr")
    assert typesetting.to_markdown(sheet).splitlines()[2:] == ["| a | b |", "| :--- | ---: |"]
    assert body(typesetting.to_latex(sheet)) == [r"a & b \\"]
    assert Page(typesetting.to_html(sheet)).texts == [["a", "b"]]
    assert of_styler(typesetting.to_styler(sheet).to_html()).texts == [["a", "b"]]
    pd.testing.assert_frame_equal(
        typesetting.to_csv_frame(sheet), pd.DataFrame(columns=["a", "b"], dtype=str)
    )
