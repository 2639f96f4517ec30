"""What a card may say of a corpus's labels, names and counts, and what the committed ones say."""

import csv

import pytest
from pydantic import ValidationError

from dslite import cards, paths, settings
from tests.refusals import refusal

PACKAGE = "package: {name: P, labels: [train.csv]}\n"


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """Makes and loads the project's only card, of a corpus ``new``."""

    def load(text):
        (tmp_path / "new.yaml").write_text("dataset: new\ntitle: New\n" + text, encoding="utf-8")
        return cards.load("new")

    monkeypatch.setattr(paths, "data", lambda name: tmp_path)
    return load


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layout: compare\n", "package belongs to the layout compare, and to no other"),
        (f"layout: pattern\n{PACKAGE}", "package belongs to the layout compare"),
        (f"layout: compare\n{PACKAGE}threshold: 7.5\n", "a threshold makes two classes; name them"),
        ("layout: pattern\nclasses: [a, b]\nlabels: {x: c}\n", "name 'c', which is not in classes"),
        ("layout: pattern\nclasses: [a]\nexpected: [{counts: {d: 3}, source: me}]\n", "name 'd'"),
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
    assert card.labels == {"0": "low", "1": "high", "2": "high"}
    assert card.expected[0].counts == {"low": 1}
    assert (card.publish, card.threshold, card.table1.minutes) == (True, 7.5, 1.5)
    # Labels need no classes: of a corpus whose classes are what its files say.
    assert committed("layout: pattern\nlabels: {x: a}\n").classes == ()


def published(name):
    with (paths.data("paper") / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", published("table1.csv"), ids=lambda row: row["dataset"])
def test_a_card_repeats_table_1(row):
    """Files of the partitions add up to the paper's, and files of the classes to a partition's."""
    card = cards.load(row["dataset"])
    repeated = card.table1.model_dump()
    assert repeated == {key: float(row[key]) for key in repeated}
    assert len(card.classes) == int(row["classes"])
    assert set(card.labels.values()) <= set(card.classes)
    assert not set(card.labels) & set(card.excluded)
    assert "" not in (card.citation, card.obtain)
    sizes = {e.partition: e.files for e in card.expected if e.files}
    assert sum(sizes.values()) == int(row["files"])
    assert set(sizes) in ({"all"}, {"train", "devel", "test"})
    for entry in card.expected:
        if entry.counts:
            assert set(entry.counts) == set(card.classes)
            assert sum(entry.counts.values()) == sizes[entry.partition]


def test_speakers_of_the_divided_corpora():
    expected = {"demos": [44, 12, 12], "iemocap": [6, 2, 2], "ravdess": [15, 4, 4]}
    parts = {name: cards.load(name).partition.values() for name in expected}
    assert {name: list(map(len, speakers)) for name, speakers in parts.items()} == expected
    assert set().union(*parts["demos"]) == {f"{n:02d}" for n in range(1, 70)} - {"35"}


NO_NAMES = ["../victim", "/tmp/x", "a/b", "'a\\b'", "'.'", "..", ".a", "''", '"a\\tb"', "a" * 200]


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("clases: [a, b]", "", "unknown key 'clases'; did you mean 'classes'?"),
        ("settings: {unit: 3}", ", settings", "unknown key 'unit'; did you mean 'units'?"),
        ("presets: {a: {tail: maybe}}", ", a", "tail = 'maybe': "),
        ("default_preset: tuend", "", "default_preset 'tuend' is not among the presets"),
        ("classes: [a, b, a]", "", "a class is listed twice"),
        ("partition: {train: [s1, s2], test: [s2]}", "", "speakers listed twice in partition: s2"),
        ("task: clasification", "", "task = 'clasification': "),
        ("- a", "", "expected 'key: value' lines, found list"),
        # A copied card of another corpus would read that corpus, or mix its results with these.
        ("layout: ravdess", "", "layout"),
        ("dataset: ../mine", "", "here the key is 'name'"),
        ("name: records", "", "is the name of a folder of results/"),
        ("variants: [float16, int4]", "", "variants.1 = 'int4': "),
        # A name becomes a folder: nothing of a stranger's card leads out of results/ and the cache.
        *((f"name: {name}", "", "dataset = ") for name in NO_NAMES),
        *((f"presets: {{{name}: {{}}}}", "", "presets.") for name in NO_NAMES),
    ],
)
def test_refused_cards_of_tables(user_card, tmp_path, text, where, reason):
    message = refusal(user_card, text)
    assert message.startswith(f"{tmp_path / 'my.yaml'}{where}: ")
    assert reason in message


def test_what_is_neither_a_dataset_nor_a_table():
    for name, reason in (
        ("", "unknown dataset ''; there is: ccs, crema-d, css, demo, demos, "),
        ("../cards/demo", "cards/demo: there is no such table or folder"),
        ("no/none.csv", "no/none.csv: there is no such table"),
    ):
        assert reason in refusal(cards.load, name)


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


def test_the_results_of_a_table_may_have_a_name(user_card, tmp_path):
    user_card("name: voices")
    table = str(tmp_path / "my.csv")
    assert cards.load(table).dataset == "voices"
    assert cards.load(table, name="other").dataset == "other"
    for name in ("ravdess", "demo"):
        assert "is the name of a corpus of this project" in refusal(cards.load, table, name=name)
    assert "are for a corpus of yours" in refusal(cards.load, "demo", name="other")


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


@pytest.mark.parametrize("name", cards.names())
def test_every_preset_of_every_card_loads(name):
    card = cards.load(name)
    assert card.dataset == name
    assert "" not in (card.title, card.licence)
    # A challenge comes with its partition, and with no speakers.
    divided = not card.package and name != "tess"  # which has two speakers
    assert set(card.partition) == ({"train", "devel", "test"} if divided else set())
    for preset in ("", *card.presets):
        loaded = cards.settings_of(card, preset).model_dump()
        stated = card.settings | card.presets.get(preset or card.default_preset, {})
        stated.pop("weights", None)  # a path is made absolute
        assert stated.items() <= loaded.items()


def test_readings_change_a_cards_paper_and_nothing_else(user_card):
    """What the text leaves open as the public code has it, and a rate that learns."""
    texts = [f"presets: {{paper: {{units: 9}}{mine}}}\n" for mine in ("", ", repaired: {units: 8}")]
    plain, repaired = map(user_card, texts)
    ravdess = cards.load("ravdess")
    for card, units in ((plain, 9), (ravdess, 128)):
        paper = cards.settings_of(card, "paper")
        assert (paper.units, paper.epoch_choice) == (units, "last")
        for name, changes in cards.READINGS.items():
            read = cards.settings_of(card, name)
            assert read == paper.model_copy(update=changes)
            differing = {key for key, value in read if value != getattr(paper, key)}
            assert differing == set(changes) - {"top_db"}  # which they have already
    assert set(cards.READINGS["repaired"]) == {"learning_rate"}
    authors = cards.settings_of(ravdess, "authors")
    assert {value for key, value in authors if key.endswith("_reading")} == {"code"}
    assert cards.settings_of(ravdess, "tuned").epoch_choice == "best"
    assert cards.settings_of(repaired, "repaired") == settings.Settings(units=8)


def test_paper_presets_are_table_2():
    columns = {card.paper_column.lower(): card for card in map(cards.load, cards.names())}
    rows = [row for row in published("table2.csv") if row["value"]]  # two cells are empty
    assert len(rows) >= 8 * 7 - 2
    for row in rows:
        loaded = cards.settings_of(columns[row["dataset"]], "paper")
        layers = int(427 * loaded.trained_share)
        key = row["hyperparameter"]
        value = layers if key == "fine_tuned_layers" else getattr(loaded, key)
        assert value == float(row["value"]), row
