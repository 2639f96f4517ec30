"""Figures, tables and sounds under their names, summaries by hand, and files that hold them."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image

from dslite.explanation import attributions, faithfulness, files, methods, report
from dslite.explanation.faithfulness import FaithfulnessTest
from dslite.explanation.files import ExplainedFile
from dslite.explanation.methods import Explanation
from dslite.explanation.report import Report
from dslite.features import spectrogram
from tests.explanation.explained import (
    CLASSES,
    SIDE,
    SMALL,
    a_run,
    a_store,
    predictions,
    silent,
    waveform,
)


def explained(rng, name, rule="", classes=("calm",), base=0.25, true="", predicted=""):
    """A file that was taken for the first of the explained classes."""
    values = {of: rng.normal(0, 1e-4, (SIDE, SIDE)) for of in classes}
    return ExplainedFile(
        name=name,
        rule=rule,
        true=true or classes[-1],
        predicted=predicted or classes[0],
        probability=0.7,
        waveform=waveform(1.0),
        sample_rate=SMALL.sample_rate,
        picture=rng.uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32),
        seconds=1.0,
        explanations={of: Explanation(array, base, 0.7) for of, array in values.items()},
    )


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def plain(text):
    """Without the spaces and line breaks of a title that was made to fit."""
    return "".join(text.split())


# Of files


def test_an_overlay_says_what_is_explained(rng):
    file = explained(rng, "a/b.wav", classes=("sad", "calm"))
    figure = report.overlays([file], SMALL)
    shown = ["calm,predictedsad(0.70)a/b.wav", "forsadexpected0.25,output0.70"]
    assert [plain(title) for title in titles(figure)][:2] == shown
    for axes, part in zip(figure.axes[1:3], file.explanations.values(), strict=True):
        np.testing.assert_array_equal(axes.get_images()[1].get_array(), part.values)
    figure = report.overlays([explained(rng, "a.wav", base=np.nan)], SMALL)
    assert plain(titles(figure)[1]) == "forcalmoutput0.70"  # its values sum to nothing


@pytest.mark.parametrize(("n", "pages"), [(1, 1), (6, 1), (13, 3)])
def test_six_files_fill_a_page(rng, n, pages):
    several = [explained(rng, f"file-{i}.wav", files.CONFIDENT) for i in range(n)]
    figures = report.of_files(several, SMALL).figures
    names = ["shap_confident", *(f"shap_confident_{page}" for page in range(2, pages + 1))]
    assert list(figures) == [each for name in names for each in (name, f"{name}_safe")]
    shown = []
    for name in names:
        assert titles(figures[name]) == titles(figures[f"{name}_safe"])
        shown += [title for title in map(plain, titles(figures[name])) if "file-" in title]
        maps = [
            figures[of].axes[1].get_images()[1].get_cmap().name for of in (name, f"{name}_safe")
        ]
        assert maps[0] != maps[1]
    assert [f"file-{i}.wav" in title for i, title in enumerate(shown)] == [True] * n


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ((files.CONFIDENT, files.MEDIAN, files.WRONG), ("confident", "median", "wrong")),
        (files.REGRESSION, ("highest", "middle", "error")),
        ((*files.BLINDED, ""), ("confident", "median", "files")),
    ],
)
def test_every_rule_has_a_figure_of_its_own(rng, rules, names):
    several = [explained(rng, f"{i}.wav", rules[i % 3]) for i in (0, 1, 2, 0)]
    figures = report.of_files(several, SMALL).figures
    assert list(figures) == [f"shap_{name}{safe}" for name in names for safe in ("", "_safe")]
    assert sum(".wav" in title for title in titles(figures[f"shap_{names[0]}"])) == 2


def test_a_row_of_the_table_for_each_class_of_a_file(rng):
    several = [
        explained(rng, "a/x.wav", files.WRONG, ("calm", "happy")),
        explained(rng, "b/x.wav", base=float("nan")),
    ]
    table = report.of_files(several, SMALL).tables["samples"]
    columns = ["file", "rule", "true", "predicted", "explained", "kept", "removed"]
    assert table[columns].values.tolist() == [
        ["a/x.wav", files.WRONG, "happy", "calm", "calm", "01-x-kept.wav", "01-x-removed.wav"],
        ["a/x.wav", files.WRONG, "happy", "calm", "happy", "", ""],
        ["b/x.wav", "", "calm", "calm", "calm", "02-x-kept.wav", "02-x-removed.wav"],
    ]
    np.testing.assert_allclose(table["output"], 0.7)
    np.testing.assert_allclose(table["expected"], [0.25, 0.25, np.nan])
    parts = [part for file in several for part in file.explanations.values()]
    errors = [part.additivity_error for part in parts]
    np.testing.assert_allclose(table["additivity_error"], errors)
    assert np.isnan(errors[2])


@pytest.mark.parametrize("predicted", ["calm", "3.5"])  # of a regression it is no name
def test_methods_stand_beside_each_other(rng, tmp_path, monkeypatch, predicted):
    each = {name: explained(rng, "a.wav", "", ("calm", "sad")) for name in methods.METHODS}
    first = explained(rng, "a.wav", "", ("calm", "sad"), true="sad", predicted=predicted)
    asked = []

    def explain_files(run, store, model, chosen, *, method, **options):
        asked.append((method, chosen["file"].tolist(), chosen["true"].tolist()))
        return [each[method]]

    monkeypatch.setattr(files, "explain_files", explain_files)
    run = a_run(tmp_path, predictions([]))
    figures = report.of_methods(run, None, None, first, "grad-cam").figures
    others = [name for name in methods.METHODS if name != "grad-cam"]
    assert asked == [(name, ["a.wav"], ["sad"]) for name in others]
    assert list(figures) == ["methods", "methods_safe"]
    first_axes, *axes = figures["methods"].axes
    assert "a.wav" in plain(first_axes.get_title(loc="left"))
    for name, of in zip(each, axes, strict=False):
        file = first if name == "grad-cam" else each[name]
        assert plain(of.get_title(loc="left")).startswith(plain(methods.TITLES[name]))
        values = file.explanations["calm"].values
        np.testing.assert_array_equal(of.get_images()[1].get_array(), values)


# Of a partition

ROWS = [
    ("long.wav", "test", "calm", 1.5),  # chunks at 0 and 0.5 s
    ("short.wav", "test", "happy", 0.5),  # half a chunk
    ("other.wav", "test", "calm", 1.0),
    ("train.wav", "train", "sad", 1.0),
]
SETTINGS = SMALL.model_copy(update={"chunk_hop_s": 0.5})
PREDICTED = [
    ("long.wav", "test", "calm", 0.6, 0.3, 0.1),
    ("short.wav", "test", "happy", 0.7, 0.2, 0.1),
    ("other.wav", "test", "calm", 0.1, 0.1, 0.8),
    ("train.wav", "devel", "sad", 0.0, 0.0, 1.0),
]


class Pictured:
    """In a model's place: pictures that say which spectrogram they are."""

    def pictures(self, mel):
        return mel.astype(float).sum(axis=(1, 2))

    def outputs(self, pictures):
        return np.eye(3)[np.arange(len(pictures)) % 3]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("corpus"), ROWS, SETTINGS)


@pytest.fixture
def tables_of(store, tmp_path, monkeypatch):
    """Tables of a run's partition with values that are known for each chunk and output."""
    sums = store.mel.astype(float).sum(axis=(1, 2)).tolist()
    assert len(set(sums)) == 5
    asked = []

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


def of_class(table, name):
    return table[table["class"] == name]["mean_abs"].to_numpy()


def test_a_summary_by_hand(tables_of):
    frequencies, times = tables_of(seed=5)
    # Each chunk for its file's true class; two chunks of the long file.
    expected = [(0, [0]), (1, [0]), (2, [1]), (3, [0])]
    assert tables_of.asked == [("partition", *of, 100, 5) for of in expected]
    assert frequencies.groupby("class")["files"].first().to_dict() == {"calm": 2, "happy": 1}
    # long: of 48 columns, the mean of two chunks: 16 of 0.5, 16 of 1.5, 16 of 1; below, 4 at the
    # start of each.
    long = [8 * 4 * 2 / 48, 0, 0, 0, 0, 0, 0, (0.5 + 1.5 + 1.0) / 3]
    happy = [8 * 8 / 32, 0, 0, 0, 0, 0, 0, 3.0]
    other = [8 * 8 / 32, 0, 0, 0, 0, 0, 0, 4.0]
    calm = np.mean([long, other], axis=0)
    np.testing.assert_allclose(of_class(frequencies, "happy"), happy, atol=1e-12)
    np.testing.assert_allclose(of_class(frequencies, "calm"), calm, atol=1e-12)
    edges = attributions.band_edges(spectrogram.mel_frequencies(SETTINGS), report.BANDS)
    np.testing.assert_allclose(frequencies["low_hz"][:8], edges[:-1])
    np.testing.assert_allclose(frequencies["high_hz"][:8], edges[1:])
    # short: its half chunk in ten bins of 1.6 columns, 8 columns with the low band too.
    share = 4 / SIDE
    happy = np.where(np.arange(10) < 5, (3 + 8) * share, 3 * share)
    np.testing.assert_allclose(of_class(times, "happy"), happy)
    assert len(of_class(times, "calm")) == report.TIME_BINS


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


def test_so_many_files_are_drawn_of_each_class_the_same_number(tables_of):
    drawn = set()
    for seed in range(6):
        _, times = tables_of(count=2, seed=seed)
        assert times.groupby("class")["files"].first().to_dict() == {"calm": 1, "happy": 1}
        drawn.add(tuple(chunk for _, chunk, *_ in tables_of.asked))
    assert drawn == {(0, 1, 2), (2, 3)}


def test_of_many_files_it_tells_how_far_it_is(tables_of):
    lines = []
    tables_of(PREDICTED[:1] * 101, log=lines.append)
    assert lines == ["summary: 50 of 101 files", "summary: 100 of 101 files"]


def test_trimmed_files_end_where_their_sound_does(tmp_path):
    store = a_store(tmp_path, [("a.wav", "test", "calm", 0.5)])
    trimmed = SMALL.model_copy(update={"trim": "on"})
    whole = report._duration_s(store, 0, np.array([0]), trimmed)
    assert 0 < whole <= 0.5
    sound, rate = soundfile.read(tmp_path / "a.wav")
    silence = np.zeros(2000)
    soundfile.write(tmp_path / "a.wav", np.concatenate([silence, sound, silence]), rate)  # 1.5 s
    padded = report._duration_s(store, 0, np.array([0]), trimmed)
    assert whole <= padded < 0.75  # some silence stays at the ends
    assert report._duration_s(store, 0, np.array([0]), SMALL) == 0.5  # of the manifest


# Of tests and confusions


def result():
    curve = {name: np.tile(np.linspace(1, 0, 5), (2, 1)) for name in ("occlusion", "random")}
    one = {"occlusion": np.array([0.25, 0.5])}
    return FaithfulnessTest(curve, curve, {}, one, one, {})


@pytest.fixture
def tested(store, tmp_path, monkeypatch):
    """Report of methods that were tested, and what they were tested on."""
    run, asked = a_run(tmp_path / "run", predictions(PREDICTED), settings=SETTINGS), {}

    def assess(model, pictures, outputs, **options):
        asked.update(options, pictures=pictures, outputs=outputs)
        return result()

    monkeypatch.setattr(faithfulness, "assess", assess)
    options = {"pictures": 2, "evaluations": 9, "seed": 1}
    return report.of_faithfulness(run, store, Pictured(), **options), asked


def test_methods_are_tested_on_drawn_chunks_of_each_class(tested, store):
    made, asked = tested
    sums = store.mel.astype(float).sum(axis=(1, 2))
    chunks = [int(np.flatnonzero(sums == picture)[0]) for picture in asked["pictures"]]
    labels = store.files["label"].to_numpy()[store.file[chunks]]
    assert sorted(labels) == ["calm", "happy"]
    assert asked["outputs"] == [0, 1]
    assert (asked["evaluations"], asked["seed"]) == (9, 1)
    assert list(made.figures) == ["curves"]
    assert list(made.tables) == ["scrutiny", "curves"]
    assert made.tables["scrutiny"]["method"].tolist() == ["Occlusion", "Random order"]
    pd.testing.assert_frame_equal(made.tables["curves"], faithfulness.curve_table(result()))


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
    made = report.of_confusions(run)
    figures = [f"confusion_{of}{level}" for of in labelled for level in ("", "_chunks")]
    assert list(made.figures) == figures + ["recalls"] * bool(labelled)
    tables = [f"confusions_{of}" for of in labelled]
    assert list(made.tables) == tables + ["recalls"] * bool(labelled)
    if labelled:
        recalls = made.tables["recalls"]
        assert recalls["partition"].tolist() == [of for of in labelled for _ in classes]
        np.testing.assert_allclose(recalls["recall"], [1, 0.5] * len(labelled))


# Together and on disk


def test_what_is_merged_keeps_its_names():
    figures, tables = [Figure(), Figure()], [pd.DataFrame({"x": [i]}) for i in (1, 2)]
    one, two = (Report({n: f}, {n: t}) for n, f, t in zip("ab", figures, tables, strict=True))
    merged = report.merge(one, two, Report({}, {}))
    assert list(merged.figures.items()) == list(zip("ab", figures, strict=True))
    assert [id(table) for table in merged.tables.values()] == [id(table) for table in tables]


def test_what_a_command_says(rng, tested):
    file, undefined = explained(rng, "a.wav"), explained(rng, "b.wav", base=float("nan"))
    error = file.explanations["calm"].additivity_error
    of_files = report.of_files([file, undefined], SMALL)
    first, head, row, *_ = report.summary_lines(report.merge(of_files, tested[0]))
    assert first == f"largest additivity error of the explained files: {error:.1e}"
    assert "beats_random" in head
    assert row.split()[0] == "Occlusion"
    assert "NO" in row
    assert "nan" not in row.lower()
    assert report.summary_lines(report.of_files([undefined], SMALL)) == []


def test_every_figure_and_table_is_written_with_the_digits_of_small_values(rng, tmp_path):
    file = explained(rng, "a.wav", files.WRONG, ("calm", "happy"))
    small = pd.DataFrame({"mean_abs": [1e-6, 3.45678e-6]})
    made = report.merge(report.of_files([file], SMALL), Report({}, {"frequencies": small}))
    report.save(made, tmp_path)
    expected = [f"shap_wrong{safe}.{of}" for safe in ("", "_safe") for of in ("png", "svg")]
    expected += ["samples.csv", "frequencies.csv"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(expected)
    with Image.open(tmp_path / "shap_wrong.png") as picture:
        picture.load()
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert picture.width == round(300 * made.figures["shap_wrong"].get_figwidth())
    assert "<svg" in (tmp_path / "shap_wrong.svg").read_text("utf-8")[:1000]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "frequencies.csv"), small)


def test_both_sounds_of_every_file_sum_to_its_clip(rng, tmp_path):
    several = [explained(rng, "a/x.wav", classes=("calm", "happy")), explained(rng, "b/x.flac")]
    report.save_sounds(several, SMALL, tmp_path / "sounds")
    table = report.sample_table(several)
    names = sorted(name for name in [*table["kept"], *table["removed"]] if name)
    assert sorted(file.name for file in (tmp_path / "sounds").iterdir()) == names
    assert len(names) == 4
    for file, row in zip(several, table[table["kept"] != ""].itertuples(), strict=True):
        parts = [soundfile.read(tmp_path / "sounds" / name) for name in (row.kept, row.removed)]
        assert {rate for _, rate in parts} == {SMALL.sample_rate}
        assert all(np.abs(sound).max() > 0.01 for sound, _ in parts)
        np.testing.assert_allclose(parts[0][0] + parts[1][0], file.waveform, atol=2 / 32768)
