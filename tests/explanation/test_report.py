"""Figures, tables and sounds under their names, summaries by hand, and files that hold them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from dslite.explanation import attributions, faithfulness, files, methods, report
from dslite.explanation.methods import Explanation
from dslite.explanation.report import Report
from dslite.features import spectrogram
from tests.explanation.explained import (
    CLASSES,
    SIDE,
    SMALL,
    a_run,
    a_store,
    explained_file,
    predictions,
    silent,
    waveform,
)


def explained(rng, name, rule="", classes=("calm",), base=0.25, **changed):
    parts = {of: Explanation(rng.normal(0, 1e-4, (SIDE, SIDE)), base, 0.7) for of in classes}
    return explained_file(name, parts, rule=rule, **changed)


def plain(text):
    """Without the spaces and line breaks of a title that was made to fit."""
    return "".join(text.split())


def test_a_row_of_the_table_for_each_class_of_a_file_and_two_sounds_that_sum_to_its_clip(
    rng, tmp_path
):
    several = [
        explained(rng, "a/x.wav", files.WRONG, ("calm", "happy")),
        explained(rng, "b/x.flac", base=float("nan"), waveform=8 * waveform(1.0)),  # too loud
    ]
    table = report.of_files(several, SMALL).tables["samples"]
    sounds = [[f"0{i}-x-{part}.wav" for part in ("kept", "removed")] for i in (1, 2)]
    columns = ["file", "rule", "true", "predicted", "explained", "kept", "removed"]
    assert table[columns].values.tolist() == [
        ["a/x.wav", files.WRONG, "happy", "calm", "calm", *sounds[0]],
        ["a/x.wav", files.WRONG, "happy", "calm", "happy", "", ""],
        ["b/x.flac", "", "calm", "calm", "calm", *sounds[1]],
    ]
    np.testing.assert_allclose(table["output"], 0.7)
    np.testing.assert_allclose(table["expected"], [0.25, 0.25, np.nan])
    parts = [part for file in several for part in file.explanations.values()]
    errors = [part.additivity_error for part in parts]
    np.testing.assert_allclose(table["additivity_error"], errors)
    assert np.isnan(errors[2])
    report.save_sounds(several, SMALL, tmp_path / "sounds")
    assert sorted(file.name for file in (tmp_path / "sounds").iterdir()) == sounds[0] + sounds[1]
    for file, names in zip(several, sounds, strict=True):
        halves = [soundfile.read(tmp_path / "sounds" / name) for name in names]
        assert {rate for _, rate in halves} == {SMALL.sample_rate}
        assert all(np.abs(sound).max() > 0.01 for sound, _ in halves)
        peak = max(1, *(np.abs(part).max() for part in files.split_sound(file, SMALL)))
        both = halves[0][0] + halves[1][0]
        np.testing.assert_allclose(both, file.waveform / peak, atol=2 / 32768)
    assert peak > 1.2
    assert soundfile.info(tmp_path / "sounds" / sounds[0][0]).subtype == "PCM_16"


@pytest.mark.parametrize("predicted", ["calm", "3.5"])  # of a regression it is no name
def test_methods_stand_beside_each_other(rng, tmp_path, monkeypatch, predicted):
    each = {name: explained(rng, "a.wav", "", ("calm", "sad")) for name in methods.METHODS}
    first = explained(rng, "a.wav", "", ("calm", "sad"), true="sad", predicted=predicted)
    asked = []

    def explain_files(run, store, model, chosen, *, method, **options):
        asked.append((method, *chosen[["file", "true"]].values.tolist()))
        return [each[method]]

    monkeypatch.setattr(files, "explain_files", explain_files)
    run = a_run(tmp_path, predictions([]))
    gains = {"method": methods.TITLES["gradient"], "deletion_gain": -0.1, "insertion_gain": 0.2}
    gains = pd.DataFrame([gains])
    figures = report.of_methods(run, None, None, first, "grad-cam", gains).figures
    others = [name for name in methods.METHODS if name != "grad-cam"]
    assert asked == [(name, ["a.wav", "sad"]) for name in others]
    assert list(figures) == ["methods"]
    first_axes, *axes = figures["methods"].axes
    assert "a.wav" in plain(first_axes.get_title(loc="left"))
    for name, of in zip(each, axes, strict=False):
        file = first if name == "grad-cam" else each[name]
        assert plain(of.get_title(loc="left")).startswith(plain(methods.TITLES[name]))
        values = file.explanations["calm"].values
        drawn = of.get_images()[1].get_array()
        np.testing.assert_allclose(drawn, values * SIDE**2 / np.abs(values).sum())
        assert ("deletion −0.10\ninsertion +0.20" in of.get_title(loc="left")) == (
            name == "gradient"
        )


ROWS = [
    ("long.wav", "test", "calm", 1.5, 0.6, 0.3, 0.1),  # chunks at 0 and 0.5 s
    ("short.wav", "test", "happy", 0.5, 0.7, 0.2, 0.1),  # half a chunk
    ("other.wav", "test", "calm", 1.0, 0.1, 0.1, 0.8),
    ("train.wav", "train", "sad", 1.0, 0.0, 0.0, 1.0),
]
SETTINGS = SMALL.model_copy(update={"chunk_hop_s": 0.5})
PREDICTED = [(*row[:3], *row[4:]) for row in ROWS]


class Pictured:
    """In a model's place: pictures that say which spectrogram they are."""

    def pictures(self, mel):
        return mel.astype(float).sum(axis=(1, 2))

    def outputs(self, pictures):
        return np.eye(3)[np.arange(len(pictures)) % 3]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("corpus"), [row[:4] for row in ROWS], SETTINGS)


@pytest.fixture
def tables_of(store, tmp_path, monkeypatch):
    """Tables of a run's partition with values that are known for each chunk and output."""
    sums, asked = Pictured().pictures(store.mel).tolist(), []
    assert len(set(sums)) == 5

    def explain(method, model, picture, outputs, evaluations, seed):
        chunk = sums.index(picture)
        asked.append((method, chunk, outputs, evaluations, seed))
        values = np.zeros((SIDE, SIDE))
        values[:4] = 1 + chunk  # the highest of 8 bands
        values[-4:, :8] = -8.0  # the lowest one, in the first quarter
        return [Explanation(values, 0.0, values.sum())]

    monkeypatch.setattr(methods, "explain", explain)

    def call(rows=PREDICTED, classes=CLASSES, log=silent, **options):
        asked.clear()
        run = a_run(tmp_path / "run", predictions(rows, classes), classes, SETTINGS)
        partition = report.of_partition(run, store, Pictured(), log=log, **options)
        assert list(partition.figures) == list(partition.tables) == ["frequencies", "times"]
        return partition.tables["frequencies"], partition.tables["times"]

    call.asked = asked
    return call


def test_a_summary_by_hand(tables_of):
    frequencies, times = tables_of(seed=5)
    # Each chunk for its file's true class; two chunks of the long file.
    expected = [(0, [0]), (1, [0]), (2, [1]), (3, [0])]
    assert tables_of.asked == [("partition", *of, 100, 5) for of in expected]
    assert frequencies.groupby("class")["files"].first().to_dict() == {"calm": 2, "happy": 1}
    # long: of 48 columns, the mean of two chunks: 16 of 0.5, 16 of 1.5, 16 of 1; below, 4 at the
    # start of each.
    long, happy, other = (8 * 4 * 2 / 48, (0.5 + 1.5 + 1.0) / 3), (2, 3), (2, 4)
    bands = frequencies["mean_abs"].to_numpy().reshape(2, 8)
    np.testing.assert_allclose(bands[:, [0, -1]], [np.mean([long, other], axis=0), happy])
    assert np.abs(bands[:, 1:-1]).max() < 1e-12
    edges = attributions.band_edges(spectrogram.mel_frequencies(SETTINGS), report.BANDS)
    rows = frequencies[["low_hz", "high_hz"]][:8]
    np.testing.assert_allclose(rows, np.stack([edges[:-1], edges[1:]], axis=1))
    # short: its half chunk in ten bins of 1.6 columns, 8 columns with the low band too.
    happy = np.where(np.arange(10) < 5, 3 + 8, 3) * 4 / SIDE
    np.testing.assert_allclose(times.query("`class` == 'happy'")["mean_abs"], happy)


def test_what_blinded_files_and_numbers_are_explained_for(tables_of):
    rows = [(file, partition, "", *scores) for file, partition, _, *scores in PREDICTED]
    _, times = tables_of(rows)
    assert [outputs for _, _, outputs, _, _ in tables_of.asked] == [[0], [0], [0], [2]]
    assert times["class"].unique().tolist() == ["calm", "sad"]
    rows = [(file, partition, "1.5", 2.0) for file, partition, *_ in PREDICTED]
    frequencies, _ = tables_of(rows, ())
    assert {tuple(outputs) for _, _, outputs, _, _ in tables_of.asked} == {(0,)}
    assert frequencies["class"].unique().tolist() == ["prediction"]
    assert frequencies["files"].unique().tolist() == [3]


@pytest.fixture
def tested(store, tmp_path, monkeypatch):
    """Report of methods that were tested, and what they were tested on."""
    run, asked = a_run(tmp_path / "run", predictions(PREDICTED), settings=SETTINGS), {}
    row = dict.fromkeys(("deletion", "insertion"), np.linspace(1, 0, 5))
    row |= {"random_head": 0.25, "random_head_abs": 0.5}
    row |= {"additivity_error": np.nan, "stability": np.nan}
    results = pd.DataFrame([{"method": name} | row for name in ("occlusion", "random")] * 2)

    def assess(model, pictures, outputs, **options):
        asked.update(options, pictures=pictures, outputs=outputs)
        return results

    monkeypatch.setattr(faithfulness, "assess", assess)
    options = {"pictures": 2, "evaluations": 9, "seed": 1}
    return report.of_faithfulness(run, store, Pictured(), **options), asked


def test_methods_are_tested_on_drawn_chunks_of_each_class_and_the_command_says_so(
    rng, tested, store
):
    of_tests, asked = tested
    sums = Pictured().pictures(store.mel).tolist()
    rows = store.file[[sums.index(picture) for picture in asked["pictures"]]]
    assert sorted(store.files["label"].to_numpy()[rows]) == ["calm", "happy"]
    assert asked["outputs"] == [0, 1]
    assert (asked["evaluations"], asked["seed"]) == (9, 1)
    assert list(of_tests.figures) == ["curves"]
    assert list(of_tests.tables) == ["scrutiny", "curves"]
    assert of_tests.tables["scrutiny"]["method"].tolist() == ["Occlusion", "Random order"]
    assert len(of_tests.tables["curves"]) == 2 * 2 * 5

    file, undefined = explained(rng, "a.wav"), explained(rng, "b.wav", base=float("nan"))
    of_files = report.of_files([file, undefined], SMALL)
    merged = report.merge(of_files, of_tests, Report({}, {}))
    assert merged.figures == of_files.figures | of_tests.figures
    assert list(merged.tables) == ["samples", "scrutiny", "curves"]
    first, head, row, *_ = report.summary_lines(merged)
    error = file.explanations["calm"].additivity_error
    assert first == f"largest additivity error of the explained files: {error:.1e}"
    assert "beats_random" in head
    assert row.split()[0] == "Occlusion"
    assert "NO" in row
    assert "nan" not in row.lower()
    assert report.summary_lines(report.of_files([undefined], SMALL)) == []


@pytest.mark.parametrize("labelled", [("devel", "test"), ("devel",), ()])
def test_confusions_of_a_run_where_its_labels_are_known(tmp_path, labelled):
    scores = [("calm", 0.9), ("happy", 0.8), ("happy", 0.1)]
    rows = [
        (f"{part}{i}.wav", part, label if part in labelled else "", score, 1 - score)
        for part in ("devel", "test")
        for i, (label, score) in enumerate(scores)
    ]
    part = {"n": 3, "score": 0.75, "confusion": [[1, 0], [1, 1]]}
    metrics = {"devel": None, "test": None} | {of: {"file": part, "chunk": part} for of in labelled}
    classes = ("calm", "happy")
    run = a_run(tmp_path, predictions(rows, classes), classes, metrics=metrics)
    actual = report.of_confusions(run)
    recalls = ["recalls"] * bool(labelled)
    figures = [f"confusion_{of}{level}" for of in labelled for level in ("", "_chunks")]
    assert list(actual.figures) == figures
    assert list(actual.tables) == [f"confusions_{of}" for of in labelled] + recalls
    if labelled:
        table = actual.tables["recalls"][["partition", "recall"]]
        assert table.values.tolist() == [[of, recall] for of in labelled for recall in (1, 0.5)]


def test_every_figure_and_table_is_written_with_the_digits_of_small_values(rng, tmp_path):
    file = explained(rng, "a.wav", files.WRONG, ("calm", "happy"))
    small = pd.DataFrame({"mean_abs": [1e-6, 3.45678e-6]})
    actual = report.merge(report.of_files([file], SMALL), Report({}, {"frequencies": small}))
    report.save(actual, tmp_path)
    expected = {"shap_wrong.png", "shap_wrong.svg", "samples.csv", "frequencies.csv"}
    assert {file.name for file in tmp_path.iterdir()} == expected
    with Image.open(tmp_path / "shap_wrong.png") as picture:
        picture.load()
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert picture.width == round(300 * actual.figures["shap_wrong"].get_figwidth())
    assert "<svg" in (tmp_path / "shap_wrong.svg").read_text("utf-8")[:1000]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "frequencies.csv"), small)
