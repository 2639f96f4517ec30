"""Which figures there are, and Figure 1, from made-up runs."""

from xml.etree import ElementTree

import pytest

from dslite.paper import comparisons, figures, published, reproduction
from dslite.paper.tables import environment

FACTS = {
    "name": "ravdess/a & b",
    "backbone": "MobileNetV2",
    "pooling": "mean over time",
    "ms": {"spectrogram": 2.26, "cnn": 6.78, "model": 1234.0},
    "sizes": {"float32": "4.70 MB", "int8": "1.57 MB", "Keras": "4.36 MB"},
    "peak_mb": 105.7,
    "settings": {"sample_rate": 16000, "chunk_length_s": 4.0, "window_ms": 64.0, "hop_ms": 16.0,
                 "feature_layer": "stride4", "units": 128},
    "classes": ["angry", "calm", "sad"],
    "threads": 1,
    "shapes": {"samples": [64000], "mel": [224, 247], "picture": [224, 224, 3],
               "features": [56, 56, 144], "pooled": [8064]},
    "layers": {"backbone": 30, "trained": 0, "backbone_parameters": 21040,
               "head_parameters": 1033096},
    "hardware": "two cores",
}  # fmt: skip


def texts(**changes):
    """Every text of Figure 1."""
    svg = environment().get_template("figure1.svg.j2").render(FACTS | changes)
    elements = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(element.itertext()).split()) for element in elements]


def test_figure_1_says_what_was_measured():
    said = texts()
    for text in (
        *("ravdess/a & b", "16 kHz, mono", "64,000 samples, float32", "224 bands × 247 frames"),
        *("224 × 224 × 3", "56 × 56 × 144", "8,064 numbers", "128 units", "3 numbers, float32"),
        *("21,040 parameters", "1,033,096 parameters", "2.26 ms", "4.70 MB", "1 of 3 classes"),
        *("Where the measured time goes (9.04 ms in all)", "Mel spectrogram: 2.26 ms, 25 %"),
    ):
        assert text in said
    whole = " ".join(said)
    assert "MobileNetV2, up to stride4, frozen: no layer trained" in whole
    assert "int8 1.57 MB, Keras 4.36 MB; 1,234 ms from audio to probabilities, 1 thread" in whole
    assert "peak memory 106 MB" in whole


def test_figure_1_names_the_trained_layers():
    layers = FACTS["layers"] | {"trained": 9}
    assert "frozen but for the last 9 of 30 layers" in " ".join(texts(layers=layers))


def test_what_was_not_measured_stays_empty():
    said = " ".join(texts(ms={}, peak_mb=None, sizes={}))
    assert "measured time" not in said
    assert " ms" not in said.replace("64 ms windows every 16 ms", "")
    assert "memory" not in said
    assert "None" not in said


@pytest.fixture(scope="module")
def drawn(material, elsewhere):
    tables = (material.runs, material.numbers, material.substitutes, material.answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLITE_RESULTS", str(elsewhere / "results"))
        return figures.figures(*tables)


def test_every_figure_of_a_corpus_that_was_run(drawn):
    stems = [figure.stem for figure in drawn]
    assert stems == [
        *("figure2-ravdess", "figure3-ravdess", "curves-ravdess"),
        *("forest", "published", "gains", "verdicts"),
    ]
    assert all(figure.alt and figure.caption for figure in drawn)
    assert "red raises" in drawn[0].figure  # Figure 2 as it was kept with the run


def test_the_best_on_devel_is_drawn_and_not_the_best_on_test(material):
    networks = material.runs[material.runs["configuration"] != "svm"]
    assert figures.best(material.runs)["devel"] == networks["devel"].max()
    assert figures.best(material.runs.iloc[:0]) is None


def test_published_gains_are_differences_of_the_published_table(drawn):
    (figure,) = (figure.figure for figure in drawn if figure.stem == "gains")
    written = {text.get_text() for axes in figure.axes for text in axes.texts}
    table = published.table(4).set_index(["dataset", "configuration"])["test"]
    gain = table["mpssc", "cutmix+specaugment"] - table["mpssc", "none"]
    assert f"+{gain:.1f}" in written


def test_the_published_scores_are_drawn_without_ours(drawn):
    ours, theirs = (figure.figure for figure in drawn if figure.stem in ("forest", "published"))
    legends = [[t.get_text() for t in figure.legends[0].get_texts()] for figure in (ours, theirs)]
    assert legends[0][0] == legends[1][0] == comparisons.PRINTED
    assert "MobileNetV2, tuned" in legends[0][1]
    assert legends[1][1:] == ["chance"]
    assert len(theirs.axes) == len(published.NAMES)
    assert len(ours.axes) == 1


def test_titles_are_those_of_the_registry():
    from dslite.models import backbones

    titles = {name: entry.title for name, entry in backbones.BACKBONES.items()}
    assert titles.items() >= reproduction.TITLES.items()
