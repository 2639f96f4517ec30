"""Figures are saved as they are, and leave no trace."""

import io
import sys
from types import SimpleNamespace

import matplotlib as mpl
import pytest
from matplotlib import font_manager, pyplot
from matplotlib.text import Text
from PIL import Image

from dslite import plots


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_picture_gives_the_same_file_and_leaves_no_trace(tmp_path, suffix):
    before, contents = mpl.rcParams.copy(), set()
    for _ in range(2):
        figure, axes = plots.panels(2)
        axes.plot([3, 4])
        plots.save(figure, tmp_path / f"a.{suffix}")
        contents.add((tmp_path / f"a.{suffix}").read_bytes())
    (content,) = contents
    assert b"/FontFile2" in content or suffix != "pdf"  # a TrueType font is embedded
    assert pyplot.get_fignums() == []
    assert mpl.rcParams == before
    if suffix == "png":
        assert Image.open(tmp_path / "a.png").info["dpi"] == pytest.approx((200, 200), abs=0.1)
        plots.save(figure, tmp_path / "a.png", dpi=50)
        assert Image.open(tmp_path / "a.png").info["dpi"] == pytest.approx((50, 50), abs=0.1)


def drawn(labels):
    """A picture with labels at both kinds of axes, in a title and a legend; its texts."""
    figure, (bars, rows) = plots.panels(3, 1, 2)
    bars.bar(labels, range(len(labels)))
    rows.set_yticks(range(len(labels)), labels)
    rows.set_title(f"{labels[0]}: files")
    rows.plot([0, 1], label=labels[0])
    rows.legend()
    figure.savefig(picture := io.BytesIO())
    texts = [text.get_text() for text in figure.findobj(Text)]
    figure.savefig(io.BytesIO())
    assert [text.get_text() for text in figure.findobj(Text)] == texts
    return picture.getvalue(), texts


@pytest.fixture
def fonts(monkeypatch):
    """Let only these families of Matplotlib's own be installed."""

    def install(*families):
        bundled = [f for f in font_manager.fontManager.ttflist if "mpl-data" in f.fname]
        chosen = [f for f in bundled if f.name in (*families, "Last Resort High-Efficiency")]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", chosen)
        for cached in (plots._font, plots._usual, plots._report):
            cached.cache_clear()

    yield install
    plots._font.cache_clear()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("labels", "others", "text"),
    [
        (("高兴", "悲伤"), ("愤怒", "平静"), "9AD8-5174"),
        (("카", "나"), ("다", "라"), "ka"),
        (("\U0001faa0 x", "b"), ("\U0001faa1 x", "b"), "1FAA0 x"),
    ],
)
def test_labels_that_no_font_has_are_spelled_and_one_message_says_so(
    capsys, monkeypatch, fonts, labels, others, text
):
    fonts("DejaVu Sans")
    legends = []
    display = SimpleNamespace(display=legends.append, Markdown=str)
    kernel = SimpleNamespace(get_ipython=lambda: True, display=display)
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    (first, texts), (second, _) = drawn(labels), drawn(others)
    assert first != second
    assert {text, f"{text}: files"} <= set(texts)
    message, _ = capsys.readouterr().err.splitlines()
    assert f" for {labels[0].split()[0]}" in message
    assert "Install" in message
    legend, _ = legends
    assert f" for {labels[0].split()[0]}" in legend


@pytest.mark.filterwarnings("error")
def test_labels_are_drawn_in_a_font_that_has_them(capsys, fonts):
    labels = ("\ue00e a", "b")  # of a private area that one of Matplotlib's own fonts has
    fonts("DejaVu Sans", "STIXNonUnicode")
    fallback, texts = drawn(labels)
    assert labels[0] in texts
    assert capsys.readouterr().err == ""
    fonts("DejaVu Sans")
    assert drawn(labels)[0] != fallback


@pytest.mark.filterwarnings("error")
def test_labels_are_no_formulas_and_long_ones_are_shortened(capsys):
    labels = ("$\\frac{$", "a$b$", "x_y^2", "\\alpha", "long" * 50 + "1", "long" * 50 + "2")
    _, texts = drawn(labels)
    assert {"x_y^2", "\\alpha", r"a\$b\$", "$\\frac{$: files"} <= set(texts)
    short = {text for text in texts if text.startswith("longlong")}
    assert {len(text) for text in short} == {plots.LONGEST}
    assert {text[-1] for text in short} == {"1", "2"}
    assert capsys.readouterr().err == ""
