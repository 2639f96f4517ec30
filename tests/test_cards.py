"""What a card may say of a corpus's labels, names and counts, and what the committed ones say."""

import csv

import pytest
from pydantic import ValidationError

from dslite import cards, paths, settings
from dslite.errors import InputError
from tests.refusals import refusal

PACKAGE = "package: {name: P, labels: [train.csv]}\n"


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """Makes and loads the project's only card, of a corpus ``new``."""

    def load(text: str) -> cards.Card:
        (tmp_path / "new.yaml").write_text("dataset: new\ntitle: New\n" + text, encoding="utf-8")
        return cards.load("new")

    monkeypatch.setattr(paths, "data", lambda name: tmp_path)
    return load


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layout: compare\n", "package belongs to the layout compare, and to no other"),
        (f"layout: demos\n{PACKAGE}", "package belongs to the layout compare"),
        (f"layout: compare\n{PACKAGE}threshold: 7.5\n", "a threshold makes two classes; name them"),
        (f"layout: compare\n{PACKAGE}threshold: 7.5\nclasses: [a, b, c]\n", "makes two classes"),
        ("layout: demos\nclasses: [a, b]\nlabels: {x: c}\n", "name 'c', which is not in classes"),
        ("layout: demos\nclasses: [a]\nexpected: [{counts: {d: 3}, source: me}]\n", "name 'd'"),
        ("layout: demos\nlabels: {1: a}\n", "labels"),
        ("layout: demos\nexpected: [{files: 3}]\n", "source"),
        ("layout: demos\nexpected: [{partition: dev, source: me}]\n", "partition"),
        ("layout: compare\npackage: {name: P, labels: [a], label: b}\n", "label"),
        ("layout: compare21\n", "layout = 'compare21'"),
        ("layout: demos\ntable1: {files: 3}\n", "table1"),
        ("layout: demos\nexcluded: [neu]\n", "excluded"),
    ],
)
def test_refused_cards(committed, tmp_path, text, words):
    message = refusal(committed, text)
    assert message.startswith(str(tmp_path / "new.yaml"))
    assert words in message


def test_what_a_card_may_say(committed):
    card = committed(
        f"layout: compare\n{PACKAGE}task: classification\nclasses: [low, high]\n"
        "labels: {'0': low, '1': high, '2': high}\nexcluded: {neu: neutral}\nthreshold: 7.5\n"
        "expected: [{partition: test, files: 3, counts: {low: 1}, source: me}]\n"
        "table1: {files: 9, classes: 2, speakers: 3, minutes: 1.5, mean_s: 2, std_s: 0.1}\n"
        "publish: true\nfolder: elsewhere\n"
    )
    assert card.package == cards.Package(name="P", labels=("train.csv",))
    assert (card.package.revealing, card.package.metadata, card.package.low_rate) == ((), "", "")
    assert card.labels == {"0": "low", "1": "high", "2": "high"}
    assert card.expected[0].counts == {"low": 1}
    assert cards.Expectation(source="me").partition == "all"
    assert (card.publish, card.threshold, card.table1.minutes) == (True, 7.5, 1.5)
    # Labels need no classes: of a corpus whose classes are what its files say.
    assert committed("layout: demos\nlabels: {x: a}\n").classes == ()


EIGHT = ("ccs", "css", "demos", "ess", "iemocap", "mpssc", "ravdess", "sleep")


def published(name):
    with (paths.data("paper") / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", EIGHT)
def test_a_card_repeats_table_1(name):
    """Files of the partitions add up to the paper's, and files of the classes to a partition's."""
    card = cards.load(name)
    (row,) = [row for row in published("table1.csv") if row["dataset"] == name]
    repeated = card.table1.model_dump()
    assert repeated == {key: float(row[key]) for key in repeated}
    assert len(card.classes) == int(row["classes"])
    assert set(card.labels.values()) <= set(card.classes)
    assert not set(card.labels) & set(card.excluded)
    assert card.citation
    assert card.obtain
    sizes = {e.partition: e.files for e in card.expected if e.files}
    assert sum(sizes.values()) == int(row["files"])
    assert set(sizes) in ({"all"}, {"train", "devel", "test"})
    for entry in card.expected:
        if entry.counts:
            assert set(entry.counts) == set(card.classes)
            assert sum(entry.counts.values()) == sizes[entry.partition]


def test_speakers_of_the_divided_corpora():
    spoken = {name: cards.load(name).partition for name in ("demos", "iemocap", "ravdess")}
    sizes = {
        name: [len(listed) for listed in partitions.values()] for name, partitions in spoken.items()
    }
    assert sizes == {"demos": [44, 12, 12], "iemocap": [6, 2, 2], "ravdess": [15, 4, 4]}
    demos = {speaker for listed in spoken["demos"].values() for speaker in listed}
    assert demos == {f"{n:02d}" for n in range(1, 70)} - {"35"}


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("clases: [a, b]", "", "unknown key 'clases'; did you mean 'classes'?"),
        ("preset: {}", "", "unknown key 'preset'; did you mean 'presets'?"),
        ("settings: {unit: 3}", ", settings", "unknown key 'unit'; did you mean 'units'?"),
        ("presets: {a: {drop_out: 0}}", ", a", "unknown key 'drop_out'; did you mean 'dropout'?"),
        ("1: a", "", "unknown key '1'; there is: dataset, layout, "),
        ("settings: {2: a}", "", "settings.2"),
        ("settings: {units: 0}", ", settings", "units = 0: "),
        ("presets: {a: {tail: maybe}}", ", a", "tail = 'maybe': "),
        ("presets: {a: null}", "", "presets.a = None"),
        ("default_preset: tuned", "", "default_preset 'tuned' is not among the presets"),
        ("classes: [a, b, a]", "", "a class is listed twice"),
        ("classes: [1, 2]", "", "classes.0 = 1: "),
        ("partition: {train: [s1, s2], test: [s2]}", "", "speakers listed twice in partition: s2"),
        ("partition: {dev: [s1]}", "", "partition.dev"),
        ("partition: {train: [1]}", "", "partition.train.0 = 1: "),
        ("task: clasification", "", "task = 'clasification': "),
        ("- a", "", "expected 'key: value' lines, found list"),
        # A copied card of another corpus would read that corpus, or mix its results with these.
        ("layout: ravdess", "", "layout"),
        ("dataset: ravdess", "", "ravdess"),
    ],
)
def test_refused_cards_of_tables(user_card, tmp_path, text, where, reason):
    message = refusal(user_card, text)
    assert message.startswith(f"{tmp_path / 'my.yaml'}{where}: ")
    assert reason in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ravdes", "unknown dataset 'ravdes'; did you mean 'ravdess'?"),
        ("", "unknown dataset ''; there is: ccs, css, demo, demos, "),
        ("../cards/demo", "unknown dataset '../cards/demo'"),
        ("no/none.csv", "no/none.csv: there is no such table"),
    ],
)
def test_what_is_neither_a_dataset_nor_a_table(name, reason):
    assert reason in refusal(cards.load, name)


def test_broken_yaml_names_the_card(user_card, tmp_path):
    with pytest.raises(InputError, match="not readable as YAML") as error:
        user_card("classes: [a")
    assert str(tmp_path / "my.yaml") in str(error.value)


def test_table_without_a_card(user_card, tmp_path):
    assert "demo.csv: 'demo' is the name of a corpus" in refusal(user_card, name="demo")
    card = user_card()
    assert (card.dataset, card.layout, card.task) == ("my", "table", "classification")
    assert card.table == str(tmp_path / "my.csv")
    assert (card.classes, card.partition, card.settings) == ((), {}, {})
    # A recipe that learns, and the paper's beside it
    assert card.default_preset == "tuned"
    assert cards.settings_of(card).optimizer == "adam"
    assert cards.settings_of(card, "paper") == settings.Settings()
    for frozen, field in ((card, "title"), (settings.Settings(), "units")):
        with pytest.raises(ValidationError):
            setattr(frozen, field, "other")


@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.CSV"])
def test_table_with_a_card(user_card, tmp_path, monkeypatch, name):
    text = "classes: [no, yes, off]\nsettings: {units: 3, trim: on, trunk_cache: off}"  # words
    user_card(f"task: regression\ntitle: Mine\n{text}")
    if name != "my.csv":
        (tmp_path / "my.csv").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    card = cards.load(name)
    assert (card.dataset, card.layout, card.title) == ("my", "table", "Mine")
    assert (card.task, card.table) == ("regression", str(tmp_path / name))
    assert card.classes == ("no", "yes", "off")
    used = cards.settings_of(card)
    assert (used.units, used.trim, used.trunk_cache) == (3, "on", "off")


def every_preset():
    return [(name, preset) for name in cards.names() for preset in ["", *cards.load(name).presets]]


@pytest.mark.parametrize(("name", "preset"), every_preset())
def test_every_preset_of_every_card_loads(name, preset):
    card = cards.load(name)
    assert card.dataset == name
    assert card.title
    assert card.licence
    # A challenge comes with its partition, and with no speakers.
    assert set(card.partition) == (set() if card.package else {"train", "devel", "test"})
    loaded = cards.settings_of(card, preset)
    stated = card.settings | card.presets.get(preset or card.default_preset, {})
    for key, value in stated.items():
        if key != "weights":  # a path is made absolute
            assert getattr(loaded, key) == value, key


def test_paper_presets_are_table_2():
    rows, compared = published("table2.csv"), 0
    for name in cards.names():
        card = cards.load(name)
        if "paper" not in card.presets or not card.paper_column:  # the demo corpus has none
            continue
        loaded = cards.settings_of(card, "paper")
        column = card.paper_column.lower()
        values = {r["hyperparameter"]: r["value"] for r in rows if r["dataset"] == column}
        assert values.pop("fine_tuned_layers") == str(int(427 * loaded.trained_share))
        for key, value in values.items():
            if value:  # two cells of the table are empty
                assert getattr(loaded, key) == float(value), key
                compared += 1
    assert compared >= 8 * 6 - 2
