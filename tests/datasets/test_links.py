"""What leads out of a corpus's folder, by a link or by its path, is refused and never opened."""

import os
from pathlib import Path

import pytest

from dslite import cards
from dslite.datasets import checks, manifest, scan
from tests.datasets import trees

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def opened(monkeypatch):
    """Real paths of all audio that is opened."""
    found = []
    whole = scan.of_file

    def facts_of(path):
        found.append(os.path.realpath(path))
        return whole(path)

    monkeypatch.setattr(scan, "of_file", facts_of)
    return found


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


def problems(card) -> list[str]:
    found = checks.problems(manifest.build(card))
    assert set(found) <= {"audio"}
    return found.get("audio", [])


def move(place: Path, target: Path) -> None:
    """Put a file or folder elsewhere and a link in its place."""
    place.rename(target)
    place.symlink_to(target, target_is_directory=target.is_dir())


@pytest.mark.parametrize("name", trees.NAMES)
def test_a_link_to_a_file_outside(tmp_path, outside, opened, name):
    card = trees.good(name, tmp_path / "corpus")
    move(tmp_path / "corpus" / trees.FIRST[name], outside / "a.wav")
    said = problems(card)
    assert len(said) == 1
    assert Path(trees.FIRST[name]).name in said[0]
    assert "leads out of the corpus's folder" in said[0]
    assert "by its path or a link" in said[0]
    assert opened
    assert str(outside / "a.wav") not in opened


@pytest.mark.parametrize("name", trees.NAMES)
def test_a_link_to_a_folder_outside(tmp_path, outside, opened, name):
    card = trees.good(name, tmp_path / "corpus")
    move((tmp_path / "corpus" / trees.FIRST[name]).parent, outside / "clips")
    files = len(list((outside / "clips").glob("[!.]*.wav")))
    left_out = {"iemocap": 1}.get(name, 0)  # one utterance of no class
    said = problems(card)
    assert len(said) == files - left_out
    assert all("leads out of the corpus's folder" in problem for problem in said)
    assert not [path for path in opened if path.startswith(str(outside))]


@pytest.mark.parametrize("name", trees.NAMES)
def test_links_inside_and_a_link_to_the_corpus_are_fine(tmp_path, name):
    card = trees.good(name, tmp_path / "corpus")
    home = manifest.build(card).folder
    store = home / ".store"
    store.mkdir()
    move(tmp_path / "corpus" / trees.OTHER[name], store / "a")
    move((tmp_path / "corpus" / trees.FIRST[name]).parent, store / "clips")
    assert problems(card) == []
    (tmp_path / "link").symlink_to(tmp_path / "corpus", target_is_directory=True)
    assert problems(trees.card(name, tmp_path / "link")) == []


@pytest.mark.parametrize("name", ["ccs", "demos", "iemocap"])
def test_the_named_folder_counts_not_the_one_inside_that_holds_the_audio(tmp_path, name):
    """Which is what the message advises: --data may name a folder that holds all of it."""
    card = trees.good(name, tmp_path / "corpus")
    assert manifest.build(card).folder != tmp_path / "corpus"
    (tmp_path / "corpus" / ".store").mkdir()
    place = (tmp_path / "corpus" / trees.FIRST[name]).parent
    move(place, tmp_path / "corpus" / ".store" / place.name)
    assert problems(card) == []


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path):
    card = trees.good("own", tmp_path)
    file = tmp_path / trees.FIRST["own"]
    for target in ("nowhere.wav", file.name):
        file.unlink()
        file.symlink_to(target)
        said = problems(card)
        assert len(said) == 1
        assert "there is no such file" in said[0]


@pytest.fixture
def listed(tmp_path):
    """Makes the small table with another path in its first row; gives its card."""

    def make(path: str, **how) -> cards.Card:
        trees.good("own", tmp_path / "corpus")
        table = tmp_path / "corpus" / "own.csv"
        table.write_text(table.read_text().replace(trees.FIRST["own"], path))
        return cards.load(str(table), **how)

    return make


@pytest.mark.parametrize("path", ["../outside/x.wav", "clips/../../outside/x.wav", "{}/x.wav"])
def test_a_path_out_of_the_corpus(tmp_path, outside, opened, listed, path):
    trees.sound(outside / "x.wav")
    card = listed(path.format(outside))
    said = problems(card)
    assert len(said) == 1
    assert said[0].startswith(f"row 2, {path.format(outside)}: leads out of the corpus's folder")
    assert "--data" in said[0]
    assert str(outside / "x.wav") not in opened


@pytest.mark.parametrize("path", ["{}/clips/s0_no.wav", "clips/../clips/s0_no.wav",
                                  "../corpus/clips/s0_no.wav"])  # fmt: skip
def test_a_path_that_stays_inside(tmp_path, listed, path):
    assert problems(listed(path.format(tmp_path / "corpus"))) == []


def test_the_folder_is_the_cards_or_the_users(tmp_path, outside, listed):
    """What leads out of the table's folder may lie inside the one that holds all of the audio."""
    trees.sound(outside / "x.wav")
    listed(str(outside / "x.wav"))
    table = tmp_path / "corpus" / "own.csv"
    text = (
        table.read_text().replace(",clips/", ",corpus/clips/").replace("\nclips", "\ncorpus/clips")
    )
    table.write_text(text)
    assert problems(cards.load(str(table), tmp_path)) == []
    table.with_suffix(".yaml").write_text("folder: ..\n")
    assert problems(cards.load(str(table))) == []
