"""The drawn way from audio to a decision: what it says, and that it can be read."""

import re
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from matplotlib.text import Text

from dslite import plots
from dslite.paper import pipeline
from dslite.paper.pipeline import Stage

FACTS = {
    "sample_rate": 16000,
    "chunk_length_s": 4.0,
    "samples": 64000,
    "mel_shape": [224, 251],
    "window_ms": 64.0,
    "hop_ms": 16.0,
    "image_shape": [224, 224, 3],
    "backbone": "MobileNetV2",
    "feature_layer": "stride4",
    "feature_shape": [56, 56, 144],
    "pooling": "time",
    "pooled": 8064,
    "units": 128,
    "classes": ["angry", "calm", "fearful", "happy", "neutral", "sad"],
    "parameters": {"backbone": 20000, "head": 1034136},
    "ms": {"spectrogram": 1.5, "cnn": 4.5, "model": 9.0},
    "bytes": {"keras": 4355726, "float32": 4228303, "float16": 2128643, "int8": 990000},
    "threads": 2,
    "hardware": "A processor of some make and number, 2 cores",
    "peak_mb": 102.7,
    "picture": None,
}
WORDS = "a sentence of several words that goes on for longer than one line, and then some "


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def full(picture, rng):
    return pipeline.stages(FACTS | {"picture": picture, "waveform": rng.normal(size=8000)})


def drawn(figure):
    """Texts of a figure that was laid out, with their places in pixels."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


def check_texts(figure):
    texts = drawn(figure)
    for (a, first), (b, second) in combinations(texts, 2):
        assert not first.overlaps(second), (a, b)
    for text, box in texts:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    assert figure.get_figwidth() == 7
    return texts


def boxes(figure):
    """Stages' boxes in their order, in inches."""
    return [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


# Legible


def test_no_text_of_a_run_overlaps_or_is_cut(full):
    texts = [plain(text) for text, _ in check_texts(pipeline.figure(full, "A run"))]
    assert "A run" in texts
    assert {stage.name for stage in full} <= set(texts)
    assert {"1.5 ms", "4.23 MB", "1,034,136 parameters", "224 × 224 × 3"} <= set(texts)
    assert "on the device, in one .tflite file" in texts


@pytest.mark.parametrize("n", range(1, 13))
def test_any_number_of_stages_with_long_texts(n, picture):
    stages = [
        Stage(
            *(f"Stage {i} with a long name", WORDS[: 30 * (i % 3)], WORDS * (i % 4)),
            ms=10.0**i if i % 3 else None,
            timed=WORDS if i % 2 else "",
            size_bytes=10**i if i % 2 else None,
            parameters=10**i if i % 5 else None,
            picture=picture if i % 4 == 0 else None,
            on_device=2 <= i < n - 1,
        )
        for i in range(n)
    ]
    check_texts(pipeline.figure(stages, WORDS * 3))


def test_a_word_wider_than_a_box_is_broken_and_none_of_it_lost():
    word = "abcdefghij" * 12
    figure = pipeline.figure([Stage(word, word, word)], "")
    texts = check_texts(figure)
    assert "".join(text for text, _ in texts) == word * 3


def test_texts_lie_in_their_stages_boxes(full):
    figure = pipeline.figure(full, "A run")
    texts = drawn(figure)
    for stage, box in zip(full, boxes(figure), strict=True):
        outside = box.get_window_extent()
        (name,) = [extent for text, extent in texts if text == stage.name]
        assert outside.x0 < name.x0
        assert name.x1 < outside.x1
        inside = [
            text
            for text, of in texts
            if outside.x0 < of.x0 and of.x1 < outside.x1
            if outside.y0 < of.y0 and of.y1 < outside.y1
        ]
        said = [text for text in (stage.name, stage.shape, stage.detail) if text]
        assert " ".join(inside) == " ".join(said)


# Drawn


def test_rows_of_four_joined_by_arrows(full):
    figure = pipeline.figure(full, "A run")
    lefts = [round(box.get_x(), 6) for box in boxes(figure)]
    assert len(lefts) == 11
    assert lefts == [sorted(set(lefts))[i % 4] for i in range(11)]
    tops = [box.get_y() for box in boxes(figure)]
    assert [len(set(tops[i : i + 4])) for i in (0, 4, 8)] == [1, 1, 1]
    assert tops[0] < tops[4] < tops[8]  # downwards
    heads = [text for text in figure.axes[0].texts if getattr(text, "arrow_patch", None)]
    assert len(heads) == len(full) - 1
    ends = sorted((round(head.xy[1], 6), round(head.xy[0], 6)) for head in heads)
    targets = [(round(box.get_y() + box.get_height() / 2, 6), round(box.get_x(), 6))
               for box in boxes(figure)[1:]]  # fmt: skip
    assert ends == sorted(targets)


def holds(outlines, box):
    middle = (box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2)
    return any(of.get_path().contains_point(middle) for of in outlines)


@pytest.mark.parametrize(("first", "last"), [(0, 2), (2, 9), (3, 4), (1, 7), (0, 10), (5, 5)])
def test_the_dashed_outline_holds_what_is_on_the_device(first, last):
    stages = [Stage(f"stage {i}", on_device=first <= i <= last) for i in range(11)]
    figure = pipeline.figure(stages, "")
    outlines = [p for p in figure.axes[0].patches if isinstance(p, Polygon)]
    assert len(outlines) == 1
    assert outlines[0].get_linestyle() == "--"
    assert [holds(outlines, box) for box in boxes(figure)] == [s.on_device for s in stages]
    inches = figure.get_size_inches()
    assert (outlines[0].get_xy() >= 0).all()
    assert (outlines[0].get_xy() <= inches).all()


def test_nothing_on_the_device_draws_no_outline():
    figure = pipeline.figure([Stage("a"), Stage("b")], "title")
    assert not [p for p in figure.axes[0].patches if isinstance(p, Polygon)]
    assert [text for text, _ in drawn(figure)] == ["title", "a", "b"]


def test_pictures_lie_in_their_boxes(full, picture):
    figure = pipeline.figure(full, "A run")
    (image,) = figure.axes[0].get_images()
    np.testing.assert_array_equal(image.get_array(), picture)
    left, right, bottom, top = image.get_extent()
    assert right - left == pytest.approx(bottom - top)  # as high as wide
    assert top < bottom  # of the axis downwards: row 0 at the top
    (wave,) = figure.axes[0].collections
    texts = drawn(figure)
    for place, box in ((image, boxes(figure)[3]), (wave, boxes(figure)[0])):
        inner, outer = place.get_window_extent(), box.get_window_extent()
        assert outer.x0 < inner.x0 < inner.x1 < outer.x1
        assert outer.y0 < inner.y0 < inner.y1 < outer.y1
        assert not [text for text, extent in texts if extent.overlaps(inner)]


def bar(figure):
    """Widths of the time bar's parts, and their looks."""
    parts = [p for p in figure.axes[0].patches if type(p) is Rectangle and p.get_height() > 0.15]
    return [p.get_width() for p in parts], {(p.get_facecolor(), p.get_hatch()) for p in parts}


def test_the_bar_shares_the_time_out_among_what_was_measured(full):
    figure = pipeline.figure(full, "A run")
    widths, looks = bar(figure)
    assert widths[1] / widths[0] == pytest.approx(4.5 / 1.5)  # the whole model is no part of it
    assert len(looks) == 2
    texts = [plain(text) for text, _ in drawn(figure)]
    assert "Where the measured time goes (6 ms in all)" in texts
    assert "Mel spectrogram: 1.5 ms, 25 %" in texts
    assert "Network, from the spectrogram on: 4.5 ms, 75 %" in texts


def test_no_bar_without_times(full):
    untimed = [stage for stage in full if stage.ms is None]
    figure = pipeline.figure(untimed, "")
    assert bar(figure)[0] == []
    assert not [text for text, _ in drawn(figure) if "measured" in text]


def test_parts_of_the_bar_differ_without_colour():
    figure = pipeline.figure([Stage(f"s{i}", ms=1.0) for i in range(7)], "")
    hatches = {hatch for _, hatch in bar(figure)[1]}
    assert len(hatches) == 7


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_it_can_be_saved(full, ending, tmp_path):
    path = tmp_path / f"pipeline.{ending}"
    plots.save(pipeline.figure(full, "A run"), path)
    assert path.stat().st_size > 5000


# From a run


def test_stages_of_a_run(full):
    assert [stage.name for stage in full] == [
        *("Audio", "Chunk", "Mel spectrogram", "Viridis picture", "Frozen trunk", "Trained tail"),
        *("Pooling", "Head", "Probabilities", "TensorFlow Lite file", "Decision"),
    ]
    said = {stage.name: (plain(stage.shape), plain(stage.detail)) for stage in full}
    assert said["Audio"] == ("", "16 kHz, mono")
    assert said["Chunk"] == ("64,000 samples, float32", "4 s")
    assert said["Mel spectrogram"][0] == "224 bands × 251 frames, uint8"
    assert said["Mel spectrogram"][1] == "64 ms windows every 16 ms"
    assert said["Frozen trunk"][1] == "MobileNetV2, 20,000 parameters with the tail"
    assert said["Trained tail"] == ("56 × 56 × 144", "up to stride4")
    assert said["Pooling"] == ("8,064 numbers", "mean over time")
    assert said["Probabilities"] == ("6 numbers, float32", ", ".join(FACTS["classes"]))
    assert said["TensorFlow Lite file"][1] == (
        "Keras 4.36 MB, float16 2.13 MB, int8 990 kB; 9 ms from audio to probabilities, "
        "2 threads, A processor of some make and number, 2 cores, peak memory 103 MB"
    )
    assert said["Decision"][0] == "1 of 6 classes"
    assert [stage.name for stage in full if not stage.on_device] == ["Audio", "Chunk", "Decision"]
    assert {stage.name: stage.ms for stage in full if stage.ms} == {
        "Mel spectrogram": 1.5,
        "Probabilities": 4.5,
    }


def test_every_pooling_is_told():
    from dslite.settings import Settings

    names = get_args(Settings.model_fields["pooling"].annotation)
    assert set(names) == set(pipeline.POOLINGS)


def test_a_tail_only_where_layers_are_trained():
    some = pipeline.stages(FACTS | {"trained_layers": 3, "layers": 30})
    assert some[5].detail == "the last 3 of 30 layers, up to stride4"
    none = pipeline.stages(FACTS | {"trained_layers": 0, "layers": 30})
    assert "Trained tail" not in [stage.name for stage in none]
    assert (none[4].shape, none[4].parameters) == ("56 × 56 × 144", 20000)


@pytest.mark.parametrize("facts", [{}, dict.fromkeys(FACTS)], ids=["absent", "None"])
def test_what_is_unknown_stays_empty(facts):
    stages = pipeline.stages(facts)
    assert len(stages) == 11
    for stage in stages:
        assert not re.search(r"\d|None", stage.name + stage.shape + stage.detail)
        assert stage.ms is stage.size_bytes is stage.parameters is stage.picture is None
    check_texts(pipeline.figure(stages, "nothing known"))


@pytest.mark.parametrize("missing", sorted(FACTS))
def test_one_missing_fact_takes_nothing_else_away(missing):
    whole = pipeline.stages(FACTS)
    part = pipeline.stages({key: value for key, value in FACTS.items() if key != missing})
    assert [stage.name for stage in part] == [stage.name for stage in whole]
    changed = [a.name for a, b in zip(whole, part, strict=True) if a != b]
    assert len(changed) <= 3  # where it was written

    def numbers(stages):
        return {n for of in stages for n in re.findall(r"\d[\d.,]*", f"{of.shape} {of.detail}")}

    assert numbers(part) <= numbers(whole)


@pytest.mark.parametrize(("count", "text"), [(4228303, "4.23 MB"), (262900, "263 kB")])
def test_sizes(count, text):
    assert plain(pipeline.size_text(count)) == text
