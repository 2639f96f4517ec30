"""IEMOCAP: the exact listing, missing parts, names, and every bad line of an evaluation."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dslite.datasets import iemocap, listing
from tests.datasets import trees
from tests.datasets.trees import layout_problem, listed, verdict

pytestmark = pytest.mark.usefixtures("cache")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    session=st.sampled_from("12345"),
    scenario=st.from_regex(r"(impro[0-9]{2}|script[0-9]{2}_[0-9])[ab]?", fullmatch=True),
    genders=st.sampled_from(["FF", "FM", "MF", "MM"]),
    turn=st.from_regex(r"[0-9]{3}", fullmatch=True),
    data=st.data(),
)
def test_names(session, scenario, genders, turn, data):
    dialog = f"Ses0{session}{genders[0]}_{scenario}"
    name = f"{dialog}_{genders[1]}{turn}"
    match = iemocap.NAME.fullmatch(name)
    assert (match["dialog"], match["session"]) == (dialog, session)
    assert iemocap.speaker(match) == session + genders[1]
    i = data.draw(st.integers(0, len(name) - 1))
    for other in trees.FOREIGN:
        if other != name[i]:
            assert not iemocap.NAME.fullmatch(name[:i] + other + name[i + 1 :])
            assert not iemocap.NAME.fullmatch(name[:i] + other + name[i:])


@pytest.mark.parametrize(
    "name",
    ["Ses01F_impro01", "Ses01F_impro01_FXX0", "Ses01F_impro01_F00", "Ses01F_impro01_F0000",
     "Ses06F_impro01_F000", "Ses00F_impro01_F000", "Ses1F_impro01_F000", "Ses01X_impro01_F000",
     "ses01F_impro01_F000", "Ses01F_impro1_F000", "Ses01F_impro01_1_F000", "Ses01F_script01_F000",
     "Ses01F_script01_1bb_F000", "Ses01F_script01_1B_F000", "Ses01F_impro01_F000.wav",
     "._Ses01F_impro01_F000", ""],
)  # fmt: skip
def test_no_names(name):
    assert not iemocap.NAME.fullmatch(name)


def test_listing(tmp_path):
    corpus = listed(trees.good("iemocap", tmp_path))
    partitions = dict(zip("12345", ["train"] * 3 + ["devel", "test"], strict=True))
    turns = [
        ("F_impro01", "F000", "neutral", "neu"),
        ("F_impro01", "F001", "happiness", "hap"),
        ("F_impro01", "M000", "anger", "ang"),
        ("M_script01_1b", "F000", "happiness", "exc"),
        ("M_script01_1b", "M000", "sadness", "sad"),
    ]
    expected = [
        (
            f"Session{s}/sentences/wav/Ses0{s}{rest}/Ses0{s}{rest}_{turn}.wav",
            *(label, s + turn[0], partitions[s], source),
        )
        for s in "12345"
        for rest, turn, label, source in turns
    ]
    assert [tuple(row) for row in corpus.table.to_numpy()] == expected
    assert corpus.excluded == {"frustration": 5, "no agreement of the annotators": 5}
    assert corpus.partition_source == listing.CARD_LISTS
    assert (corpus.problems, corpus.surplus, corpus.notes) == ((), (), ())
    # Without its outer folder, and with missing sessions
    inside = listed(trees.card("iemocap", tmp_path / "IEMOCAP_full_release"))
    assert inside.folder == corpus.folder
    assert inside.table.equals(corpus.table)
    for session in ("Session2", "Session3"):
        shutil.rmtree(tmp_path / "IEMOCAP_full_release" / session)
    part = listed(trees.card("iemocap", tmp_path))
    assert set(part.table["speaker"]) == {"1F", "1M", "4F", "4M", "5F", "5M"}
    note = "no labels of Session2, Session3: the counts differ from the whole corpus's"
    assert part.notes == (note,)


@pytest.fixture
def evaluation(tmp_path):
    """IEMOCAP's card, and one of its label files."""
    card = trees.good("iemocap", tmp_path)
    place = "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    return card, tmp_path / place


GOOD_LINE = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD_LINE.replace("\t", " "), "Ses01F_impro01.txt, line 24: neither time"),
        (GOOD_LINE.replace("\tneu", ""), "neither time, utterance, label and dimensions"),
        (GOOD_LINE[:50], "neither time"),
        ("[", "neither time"),
        (GOOD_LINE.replace("_F000", "_X000"), "neither time"),
        (GOOD_LINE.replace("neu", "bored"), "label 'bored' of Ses01F_impro01_F000 is not known"),
        (GOOD_LINE.replace("neu", "NEU"), "label 'NEU'"),
        (GOOD_LINE.replace("neu", "ang"), "Ses01F_impro01_F000 is 'ang', and 'neu' in Session1"),
        (GOOD_LINE.replace("Ses01", "Ses02"), "Ses02F_impro01_F000 is of Session2; move the file"),
    ],
)  # fmt: skip
def test_bad_lines_of_an_evaluation(evaluation, line, words):
    card, file = evaluation
    trees.text(file, file.read_text() + "\n" + line + "\n")
    problem = layout_problem(card)
    assert "Ses01F_impro01.txt, line 24" in problem
    assert words in problem


def test_what_an_evaluation_may_hold(evaluation):
    """The same line again, Windows line ends, comments in any encoding."""
    card, file = evaluation
    expected = listed(card)
    content = file.read_bytes() + GOOD_LINE.encode() + b"\nC-E1:\tvoil\xe0 \xc2\x85[;\t()\n"
    file.write_bytes(content.replace(b"\n", b"\r\n"))
    corpus = listed(card)
    assert corpus.table.equals(expected.table)
    assert (corpus.problems, corpus.excluded) == ((), expected.excluded)


def test_audio_and_lines_without_each_other(evaluation):
    """Audio of labels that are left out is not needed; audio without a line is surplus."""
    card, file = evaluation
    wav = file.parents[2] / "sentences" / "wav"
    (wav / "Ses01F_impro01" / "Ses01F_impro01_M001.wav").unlink()  # fru
    assert verdict(card) == ({}, {})
    trees.sound(wav / "Ses01F_impro01" / "Ses01F_impro01_F009.wav")
    trees.sound(wav / "Ses01F_impro02" / "Ses01F_impro01_F000.wav")
    assert listed(card).surplus == (
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F009.wav",
        "Session1/sentences/wav/Ses01F_impro02/Ses01F_impro01_F000.wav",
    )
    trees.sound(wav / "Ses01F_impro01" / "Ses01F_impro01_F000.flac")
    assert "the same recording is there as" in listed(card).problems[0]
