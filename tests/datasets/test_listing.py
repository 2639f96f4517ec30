"""Every corpus in its own layout: the verdict on what may be wrong, and links out of its folder."""

import os
from pathlib import Path

import pytest
import soundfile

from dslite import cards
from dslite.datasets import checks, listing, manifest, scan
from tests.datasets import trees
from tests.datasets.trees import layout_problem, listed, verdict
from tests.refusals import refusal

pytestmark = pytest.mark.usefixtures("cache")

PUBLISHED = tuple(name for name in trees.NAMES if name != "own")
# Tree -> kind of problem or warning, and what its only sentence says. Where a list of labels or of
# files is the only witness of a file, its absence is a matter of the layout.
WRONG = {
    "missing": ("audio", "there is no such file"),
    "broken_off": ("audio", "the audio ends before its header says"),
    "no_audio": ("audio", "not readable as audio ("),
    "surplus": ("without a label", "Neue Aufnahme.wav: no label mentions this audio"),
    "twin": ("audio in two partitions", ": the same audio is in "),
    "leak": ("speakers in two partitions", "a speaker belongs into one partition"),
}
LAYOUTS = ("ccs", "mpssc", "demos", "iemocap", "ravdess", "own")  # of those alike, one
PAIRS = [
    (name, tree)
    for name in LAYOUTS
    for tree in WRONG
    if (tree, name in trees.COMPARE) != ("leak", True)
    and (tree not in ("broken_off", "no_audio") or name in ("ravdess", "own"))  # of any layout
]


@pytest.mark.parametrize("name", trees.NAMES)
def test_a_good_tree_is_good_and_read_alike_again(tmp_path, name):
    card = trees.good(name, tmp_path)
    assert verdict(card) == ({}, {})
    assert manifest.digest(manifest.build(card)) == manifest.digest(manifest.build(card))


@pytest.mark.parametrize(("name", "tree"), PAIRS)
def test_what_is_wrong_is_named_and_nothing_else(tmp_path, name, tree):
    card = trees.good(name, tmp_path)
    manifest.build(card)  # what a cache remembers must not hide anything
    getattr(trees, tree)(name, tmp_path)
    problems, warnings = verdict(card)
    kind, words = WRONG[tree]
    if tree == "missing" and name in ("demos", "ravdess"):
        kind, words = "layout", "is listed and not there"
    organised = tree == "twin" and name in trees.COMPARE
    named, empty = (warnings, problems) if tree == "surplus" or organised else (problems, warnings)
    assert empty == {}
    assert list(named) == [kind]
    (sentence,) = named[kind]
    assert words in sentence
    if tree in ("missing", "broken_off", "no_audio"):
        assert Path(trees.FIRST[name]).stem in sentence
    assert ("as its organisers divided it" in sentence) == organised


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("demos", "PR_m_23_tri00a (1).wav, PR_m_23_TRI00a.wav, XX_m_23_tri00a.wav, x tri00a.mp3"),
        ("ravdess", "03-02-01-01-00-01-01.wav, 03-02-01-01-01-01.wav, 03-02-02-01 (copy).wav"),
    ],
)
def test_audio_of_another_name_is_surplus(tmp_path, name, files):
    files = files.split(", ")
    card = trees.good(name, tmp_path)
    expected = listed(card)
    for file in files:
        trees.sound_or_nothing((tmp_path / trees.FIRST[name]).with_name(file))
    corpus = listed(card)
    assert sorted(Path(path).name for path in corpus.surplus) == sorted(files)
    assert corpus.problems == ()
    assert corpus.table.equals(expected.table)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        *(
            (name, ["", "dist", "{0}", "{0}/dist", "Data/{0}/dist", "Data/{0}"])
            for name in ("css", "mpssc", "sleep")
        ),
        ("mpssc", ["Snore_dist"]),
        ("demos", ["", "DEMoS", "a/DEMoS"]),
        ("iemocap", ["", "IEMOCAP_full_release"]),
        ("ravdess", ["", "archive", "Audio_Song_Actors_01-24", "a/b/c"]),
    ],
)
def test_outer_folders_change_nothing(tmp_path, name, places):
    expected = listed(trees.good(name, tmp_path / "source"))
    home = expected.folder
    for i, place in enumerate(places):
        put = tmp_path / str(i) / place.format(trees.PACKAGES.get(name, [""])[0])
        put.parent.mkdir(parents=True, exist_ok=True)
        home = home.rename(put)
        corpus = listed(trees.card(name, tmp_path / str(i)))
        assert corpus.folder == home
        assert corpus.table.equals(expected.table)


TWICE, SAME = "the same recording is there as", "another recording is called the same,"


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("ccs", "dist/wav/TRAIN_001.flac", "keep one"),
        ("demos", "DEMoS/DEMOS/PR_m_34_xyz00a.wav", "label 'xyz' is not a class of the card"),
        ("demos", "DEMoS/NEU/PR_f_01_col01b.wav", f"{SAME} DEMoS/DEMOS/PR_f_01_col01b.wav"),
        ("demos", "DEMoS/DEMOS/PR_f_01_col01b.flac", SAME),
        ("demos", "DEMoS/DEMOS/PR_m_35_col01b.wav", "speaker 35 is in no partition; add the speak"),
        ("iemocap", trees.FIRST["iemocap"].replace(".wav", ".flac"), TWICE),
        ("ravdess", "Actor_01/03-02-07-01-01-01-01.wav", "label '07' is not a class of the card"),
        ("ravdess", "Actor_02/03-02-01-01-01-01-01.flac", SAME),
        ("ravdess", "Actor_18/03-02-01-01-01-01-18.wav", "speaker 18 is in no partition; add the"),
    ],
)
def test_audio_that_has_no_place(tmp_path, name, file, words):
    card = trees.good(name, tmp_path)
    trees.sound_or_nothing(tmp_path / file)
    problem = layout_problem(card)
    assert words in problem
    assert Path(file).stem in problem
    assert listed(card).surplus == ()


@pytest.mark.parametrize("name", PUBLISHED)
def test_nothing_there(tmp_path, name):
    card = trees.card(name, tmp_path)
    assert not listing.is_present(card)
    message = refusal(listing.read, card)
    assert message.startswith(f"{tmp_path}: no ")
    assert f"`dslite fetch {name}`" in message


@pytest.mark.parametrize("name", LAYOUTS[:-1])
def test_lossless_compression_changes_no_verdict(tmp_path, name):
    """FLAC is taken in WAV's place, whatever the label files call it, and capitals as well."""
    card = trees.good(name, tmp_path)
    before = manifest.build(card)
    first, other = (tmp_path / place[name] for place in (trees.FIRST, trees.OTHER))
    wave, rate = soundfile.read(first, dtype="int16")
    soundfile.write(first.with_suffix(".flac"), wave, rate)
    first.unlink()
    other.rename(other.with_suffix(".WAV"))
    after = manifest.build(card)
    assert (checks.problems(after), checks.warnings(after)) == ({}, {})
    assert sorted(after.table["audio_hash"]) == sorted(before.table["audio_hash"])
    assert {Path(p).suffix for p in after.table["path"]} == {".wav", ".flac", ".WAV"}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("name", "unused"),
    [("demos", "f_01_neu05b"), ("iemocap", "Ses01F_impro01_M001"), ("ravdess", "")],
)
def test_a_file_list_divides_the_corpus(tmp_path, name, inside, unused):
    """From beside the audio or the named folder, before the card; it may hold what is left out."""
    card = trees.good(name, tmp_path)
    before = listed(card)
    turned = before.table["partition"].map({"train": "test", "devel": "dev", "test": "train"})
    place = before.folder if inside else tmp_path
    rows = ["path,partition", *(before.table["path"] + "," + turned), f"{unused},train"]
    trees.text(place / "partition.csv", "\n".join(rows if unused else rows[:-1]))
    after = listed(card)
    assert after.partition_source == "the file list partition.csv"
    assert after.table["partition"].tolist() == turned.replace("dev", "devel").tolist()
    assert verdict(card) == ({}, {})


def test_where_a_corpus_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path))
    assert listing.home(cards.load("sleep")) == tmp_path / "sleep"
    assert listing.home(cards.load("sleep-regression")) == tmp_path / "sleep"
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    assert listing.home(cards.load("sleep", "x")) == tmp_path / "x"
    message = refusal(listing.read, cards.load("ravdess"))
    assert "run `dslite fetch ravdess`, or let DSLITE_DATA" in message
    assert str(tmp_path / "ravdess") in message
    assert not (tmp_path / "ravdess").exists()


# What leads out of a corpus's folder, by a link or by its path, is refused and never opened


@pytest.fixture
def opened(monkeypatch):
    """Real paths of all audio that is opened."""
    paths = []
    of_file = scan.of_file

    def watched(path):
        paths.append(os.path.realpath(path))
        return of_file(path)

    monkeypatch.setattr(scan, "of_file", watched)
    return paths


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "outside").mkdir()
    return tmp_path / "outside"


def audio_problems(card) -> list[str]:
    problems = checks.problems(manifest.build(card))
    assert set(problems) <= {"audio"}
    return problems.get("audio", [])


def move(place: Path, target: Path) -> None:
    place.rename(target)
    place.symlink_to(target, target_is_directory=target.is_dir())


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_link_to_a_folder_or_file_outside(tmp_path, outside, opened, name):
    card = trees.good(name, tmp_path / "corpus")
    move((tmp_path / "corpus" / trees.FIRST[name]).parent, outside / "clips")
    move(tmp_path / "corpus" / trees.OTHER[name], outside / "other.wav")
    place = Path(trees.OTHER[name])
    files = {file.name for file in (outside / "clips").glob("[!.]*.wav")} | {place.name}
    problems = audio_problems(card)
    assert len(problems) == len(files) - {"iemocap": 1}.get(name, 0)  # one utterance of no class
    assert any(place.name in problem for problem in problems)
    for problem in problems:
        assert "leads out of the corpus's folder" in problem
        assert "by its path or a link" in problem
    assert not [path for path in opened if path.startswith(str(outside))]


@pytest.mark.parametrize("name", LAYOUTS)
def test_links_inside_and_a_link_to_the_corpus_are_fine(tmp_path, name):
    """The folder that the user named counts, not the one inside that holds the audio."""
    card = trees.good(name, tmp_path / "corpus")
    store = tmp_path / "corpus" / ".store"
    store.mkdir()
    move(tmp_path / "corpus" / trees.OTHER[name], store / "a")
    move((tmp_path / "corpus" / trees.FIRST[name]).parent, store / "clips")
    assert audio_problems(card) == []
    (tmp_path / "link").symlink_to(tmp_path / "corpus", target_is_directory=True)
    assert audio_problems(trees.card(name, tmp_path / "link")) == []


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path):
    card = trees.good("own", tmp_path)
    file = tmp_path / trees.FIRST["own"]
    for target in ("nowhere.wav", file.name):
        file.unlink()
        file.symlink_to(target)
        (problem,) = audio_problems(card)
        assert "there is no such file" in problem


@pytest.fixture
def table_with(tmp_path):
    def make(path: str) -> Path:
        trees.good("own", tmp_path / "corpus")
        table = tmp_path / "corpus" / "own.csv"
        trees.replace_text(table, trees.FIRST["own"], path)
        return table

    return make


@pytest.mark.parametrize("path", ["../outside/x.wav", "clips/../../outside/x.wav", "{}/x.wav"])
def test_a_path_out_of_the_corpus(outside, opened, table_with, path):
    trees.sound(outside / "x.wav")
    (problem,) = audio_problems(cards.load(str(table_with(path.format(outside)))))
    assert problem.startswith(f"row 2, {path.format(outside)}: leads out of the corpus's folder")
    assert "--data" in problem
    assert str(outside / "x.wav") not in opened


@pytest.mark.parametrize(
    "path", ["{}/clips/s00.wav", "clips/../clips/s00.wav", "../corpus/clips/s00.wav"]
)
def test_a_path_that_stays_inside(tmp_path, table_with, path):
    table = table_with(path.format(tmp_path / "corpus"))
    assert audio_problems(cards.load(str(table))) == []


def test_the_folder_is_the_cards_or_the_users(tmp_path, outside, table_with):
    """What leads out of the table's folder may lie inside the one that holds all of the audio."""
    table = table_with(str(trees.sound(outside / "x.wav")))
    trees.replace_text(table, "\nclips", "\ncorpus/clips")
    assert audio_problems(cards.load(str(table), tmp_path)) == []
    table.with_suffix(".yaml").write_text("folder: ..\n")
    assert audio_problems(cards.load(str(table))) == []
