"""Partitions of corpora that come with none: a file list, or the card's speakers."""

import pytest

from dslite import cards
from dslite.datasets import partitions
from dslite.datasets.listing import CARD_LISTS
from dslite.errors import InputError

SPEAKERS = {"x/a.wav": "s1", "x/b.wav": "s1", "y/c.flac": "s2", "d.wav": "s3"}
LIST = "path,partition\nx/a.wav,train\nx/b.wav,train\ny/c.flac,devel\nd.wav,test\n"
PLACED = {"x/a.wav": "train", "x/b.wav": "train", "y/c.flac": "devel", "d.wav": "test"}


@pytest.fixture
def card():
    lists = {"train": ("s1",), "devel": ("s2",), "test": ("s3",)}
    return cards.Card(dataset="my", layout="demos", title="My", partition=lists)


def place(card, tmp_path, text=None, **how):
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / partitions.FILE).write_bytes(content)
    return partitions.place(card, (tmp_path,), SPEAKERS, **how)


def refusal(card, tmp_path, text) -> str:
    with pytest.raises(InputError) as error:
        place(card, tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / partitions.FILE))
    return str(error.value)


def test_by_the_cards_speakers(card, tmp_path):
    assert place(card, tmp_path) == (PLACED, CARD_LISTS, [])


def test_speakers_that_the_card_leaves_out_are_named_once(card, tmp_path):
    card = card.model_copy(update={"partition": {"train": ("s3",)}})
    found, _, problems = place(card, tmp_path)
    assert found == {"d.wav": "train"}
    assert problems == [
        "x/a.wav: speaker s1 is in no partition; add the speaker to `partition` in the card",
        "y/c.flac: speaker s2 is in no partition; add the speaker to `partition` in the card",
    ]


def test_a_file_list_goes_first(card, tmp_path):
    found, source, problems = place(card, tmp_path, LIST.replace("d.wav,test", "d.wav,train"))
    assert found == PLACED | {"d.wav": "train"}
    assert source == "the file list partition.csv"
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        LIST.replace(",", ";"),
        LIST.replace(",", "\t"),
        LIST.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + LIST.encode(),
        LIST.replace("path,partition", "Path,PARTITION"),
        LIST.replace("devel", "Dev").replace("test", "Testing").replace("train", "training"),
        LIST.replace("devel", "validation"),
        LIST.replace("x/", "").replace("y/", ""),
        LIST.replace("/", "\\"),
        LIST.replace("x/a.wav", "/data/corpora/my/x/a.wav"),
        LIST.replace(".wav", ".flac").replace("c.flac", "c"),
        LIST + "x/a.wav,train\n",
        "".join(f"1,{line},x\n" for line in LIST.split()).replace("1,path", "n,path"),
    ],
    ids=["semicolons", "tabs", "windows", "bom", "header case", "partition names", "validation",
         "no folders", "backslashes", "absolute", "suffixes", "repeated", "more columns"],
)  # fmt: skip
def test_spellings_of_a_file_list(card, tmp_path, text):
    assert place(card, tmp_path, text)[::2] == (PLACED, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LIST.replace("path", "file"), "no column 'path' in its first row"),
        (LIST.replace("partition", "split"), "no column 'partition' in its first row"),
        ("path,partition\n", "no rows below the header"),
        (LIST.replace("devel", "eval"), "row 4: partition 'eval' is not known"),
        (LIST.replace("devel", ""), "row 4: partition '' is not known"),
        (LIST.replace("y/c.flac,devel", "y/c.flac"), "row 4: too few cells"),
        (LIST + "z/a.wav,test\n", "row 6: 'z/a.wav' is in two partitions"),
        (LIST.encode("utf-16"), "not UTF-8"),
    ],
)
def test_refused_file_lists(card, tmp_path, text, said):
    assert said in refusal(card, tmp_path, text)


def test_what_the_list_and_the_folder_do_not_share(card, tmp_path):
    text = LIST.replace("x/b.wav", "x/e.wav") + "out.wav,train\n"
    found, _, problems = place(card, tmp_path, text, left_out=["z/out.wav"])
    assert found == {path: part for path, part in PLACED.items() if path != "x/b.wav"}
    assert len(problems) == 2
    assert problems[0].startswith("x/b.wav: not in ")
    assert problems[0].endswith("partition.csv; add it there, or move the file away")
    assert problems[1] == "partition.csv: 'e' is listed and not there"


def test_the_list_in_the_named_folder_goes_before_one_inside(card, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / partitions.FILE).write_text(LIST.replace("test", "train"))
    folders = (tmp_path, inside)
    assert partitions.place(card, folders, SPEAKERS)[0]["d.wav"] == "train"
    (tmp_path / partitions.FILE).write_text(LIST)
    assert partitions.place(card, folders, SPEAKERS)[0] == PLACED
