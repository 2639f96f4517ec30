"""What a card may say of a corpus's labels, names and counts, and what the committed ones say."""

import csv

import pytest

from dslite import cards, paths
from dslite.errors import InputError

PACKAGE = "package: {name: P, labels: [train.csv]}\n"


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """Makes and loads the project's only card, of a corpus ``new``."""

    def load(text: str) -> cards.Card:
        (tmp_path / "new.yaml").write_text("dataset: new\ntitle: New\n" + text, encoding="utf-8")
        return cards.load("new")

    monkeypatch.setattr(paths, "cards", lambda: tmp_path)
    return load


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layout: compare\n", "package belongs to the layout compare, and to no other"),
        (f"layout: demos\n{PACKAGE}", "package belongs to the layout compare"),
        (f"layout: compare\n{PACKAGE}threshold: 7.5\n", "a threshold makes two classes; name them"),
        (f"layout: compare\n{PACKAGE}threshold: 7.5\nclasses: [a, b, c]\n", "makes two classes"),
        (f"layout: compare\n{PACKAGE}threshold: high\nclasses: [a, b]\n", "threshold = 'high'"),
        ("layout: demos\nclasses: [a, b]\nlabels: {x: c}\n", "name 'c', which is not in classes"),
        (
            "layout: demos\nclasses: [a, b]\nexpected: [{counts: {d: 3}, source: me}]\n",
            "labels or expected name 'd', which is not in classes",
        ),
        ("layout: demos\nlabels: {1: a}\n", "labels"),
        ("layout: demos\nexpected: [{files: 3}]\n", "source"),
        ("layout: demos\nexpected: [{files: some, source: me}]\n", "files"),
        ("layout: demos\nexpected: [{partition: dev, source: me}]\n", "partition"),
        ("layout: compare\npackage: {name: P}\n", "labels"),
        ("layout: compare\npackage: {name: P, labels: [a], label: b}\n", "label"),
        ("layout: compare21\n", "layout = 'compare21'"),
        ("layout: demos\ntable1: {files: 3}\n", "table1"),
        ("layout: demos\nexcluded: [neu]\n", "excluded"),
    ],
)
def test_refused_cards(committed, tmp_path, text, words):
    with pytest.raises(InputError) as error:
        committed(text)
    assert str(error.value).startswith(str(tmp_path / "new.yaml"))
    assert words in str(error.value)


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


# The committed cards of the eight corpora

EIGHT = ("ccs", "css", "demos", "ess", "iemocap", "mpssc", "ravdess", "sleep")


@pytest.fixture
def table_1():
    with (paths.published() / "table1.csv").open(encoding="utf-8", newline="") as file:
        return {row["dataset"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", EIGHT)
def test_a_card_repeats_table_1(table_1, name):
    """Files of the partitions add up to the paper's, and files of the classes to a partition's."""
    card, row = cards.load(name), table_1[name]
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


def test_only_a_free_licence_lets_lists_be_published():
    allowed = {name for name in cards.names() if cards.load(name).publish}
    assert allowed <= {"ravdess", "demo"}


def test_speakers_of_the_divided_corpora():
    spoken = {name: cards.load(name).partition for name in ("demos", "iemocap", "ravdess")}
    sizes = {name: [len(listed) for listed in found.values()] for name, found in spoken.items()}
    assert sizes == {"demos": [44, 12, 12], "iemocap": [6, 2, 2], "ravdess": [15, 4, 4]}
    demos = {speaker for listed in spoken["demos"].values() for speaker in listed}
    assert demos == {f"{n:02d}" for n in range(1, 70)} - {"35"}


def test_sleepy_is_eight_and_nine():
    card = cards.load("sleep")
    assert card.classes == ("not sleepy", "sleepy")
    assert 7 < card.threshold < 8
