"""IEMOCAP: the exact listing, missing parts, and every bad line of an evaluation."""

import shutil

import pytest

from dslite.datasets import listing
from tests.datasets import trees
from tests.datasets.trees import layout_problem, listed, verdict

pytestmark = pytest.mark.usefixtures("cache")


def test_listing(tmp_path):
    corpus = listed(trees.good("iemocap", tmp_path))
    turns = [
        ("F_impro01", "F000", "neutral", "neu"),
        ("F_impro01", "F001", "happiness", "hap"),
        ("F_impro01", "M000", "anger", "ang"),
        ("M_script01_1b", "F000", "happiness", "exc"),
        ("M_script01_1b", "M000", "sadness", "sad"),
    ]
    expected = [
        [
            f"Session{s}/sentences/wav/Ses0{s}{dialog}/Ses0{s}{dialog}_{turn}.wav",
            label,
            f"{s}{turn[0]}",
            part,
            source,
        ]
        for s, part in enumerate(["train"] * 3 + ["devel", "test"], start=1)
        for dialog, turn, label, source in turns
    ]
    assert corpus.table.to_numpy().tolist() == expected
    assert corpus.excluded == {"frustration": 5, "no agreement of the annotators": 5}
    assert corpus.partition_source == listing.CARD_LISTS
    assert (corpus.problems, corpus.surplus, corpus.notes) == ((), (), ())
    for session in ("Session2", "Session3"):
        shutil.rmtree(tmp_path / "IEMOCAP_full_release" / session)
    part = listed(trees.card("iemocap", tmp_path))
    assert set(part.table["speaker"]) == {"1F", "1M", "4F", "4M", "5F", "5M"}
    note = "no labels of Session2, Session3: the counts differ from the whole corpus's"
    assert part.notes == (note,)


@pytest.fixture
def evaluation(tmp_path):
    card = trees.good("iemocap", tmp_path)
    place = "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    return card, tmp_path / place


GOOD_LINE = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"

NO_NAMES = ("Ses01F_impro01_X000", "Ses06F_impro01_F000", "Ses01F_script01_F000")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD_LINE.replace("\t", " "), "Ses01F_impro01.txt, line 24: neither time"),
        (GOOD_LINE.replace("\tneu", ""), "neither time, utterance, label and dimensions"),
        ("[", "neither time"),
        *((GOOD_LINE.replace("Ses01F_impro01_F000", name), "neither time") for name in NO_NAMES),
        (GOOD_LINE.replace("neu", "bored"), "label 'bored' of Ses01F_impro01_F000 is not known"),
        (GOOD_LINE.replace("neu", "ang"), "Ses01F_impro01_F000 is 'ang', and 'neu' in Session1"),
        (GOOD_LINE.replace("Ses01", "Ses02"), "Ses02F_impro01_F000 is of Session2; move the file"),
    ],
)
def test_bad_lines_of_an_evaluation(evaluation, line, words):
    card, file = evaluation
    trees.text(file, file.read_text() + "\n" + line + "\n")
    problem = layout_problem(card)
    assert "Ses01F_impro01.txt, line 24" in problem
    assert words in problem


def test_an_evaluation_may_repeat_a_line_and_have_comments_in_any_encoding(evaluation):
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
