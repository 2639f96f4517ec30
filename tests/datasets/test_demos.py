"""DEMoS: the exact listing, the folders around it, names, and what may be wrong."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dslite.datasets import demos, listing
from tests.datasets import trees
from tests.datasets.trees import layout_problem, listed, refusal

pytestmark = pytest.mark.usefixtures("cache")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    speaker=st.from_regex(r"[0-9]{2}", fullmatch=True),
    gender=st.sampled_from("mf"),
    emotion=st.sampled_from(["neu", "rab", "tri", "gio", "pau", "dis", "col", "sor"]),
    kind=st.sampled_from(["PR_", "NP_"]),
    take=st.from_regex(r"[0-9]{2}[abc]", fullmatch=True),
    data=st.data(),
)
def test_names(speaker, gender, emotion, kind, take, data):
    """And that nothing is a name in which a character is missing, doubled or a foreign one."""
    name = f"{'' if emotion == 'neu' else kind}{gender}_{speaker}_{emotion}{take}"
    match = demos.NAME.fullmatch(name)
    assert (match["speaker"], match["emotion"]) == (speaker, emotion)
    i = data.draw(st.integers(0, len(name) - 1))
    for other in ("", 2 * name[i], *trees.FOREIGN):
        if other != name[i]:
            assert not demos.NAME.fullmatch(name[:i] + other + name[i + 1 :])


@pytest.mark.parametrize(
    "name",
    ["m_23_tri00a", "PR_m_68_neu05b", "XX_m_23_tri00a", "PR_x_23_tri00a", "PR_m_23_TRI00a",
     "PR_m_23_tri00d", "PR_m_23_tri_00a", "PR-m-23-tri00a", "pr_m_23_tri00a",
     "PR_m_23_tri00a (1)"],
)  # fmt: skip
def test_no_names(name):
    """Only neutral names lack the first field, and all of these do."""
    assert not demos.NAME.fullmatch(name)


def test_listing(tmp_path):
    corpus = listed(trees.good("demos", tmp_path))
    classes = {"rab": "anger", "gio": "happiness", "dis": "disgust", "sor": "surprise"}
    others = {"tri": "sadness", "pau": "fear", "col": "guilt"}
    partitions = {"01": "train", "02": "train", "34": "devel", "58": "test"}
    expected = [
        (f"DEMOS/{kind}_{trees.DEMOS_SPEAKERS[speaker]}_{speaker}_{code}01"
         f"{'b' if code == 'col' else 'a'}.wav", name, speaker, part, code)
        for speaker, part in partitions.items()
        for kind, names in (("NP", classes), ("PR", others))
        for code, name in names.items()
    ]  # fmt: skip
    assert [tuple(row) for row in corpus.table.to_numpy()] == sorted(expected)
    assert corpus.excluded == {"neutral, left out as in the paper": 4}
    assert corpus.partition_source == listing.CARD_LISTS
    assert (corpus.problems, corpus.surplus, corpus.notes) == ((), (), ())
    assert corpus.folder == tmp_path / "DEMoS"


@pytest.mark.parametrize("place", ["", "DEMoS", "a/DEMoS"])
def test_at_most_three_folders_deep(tmp_path, place):
    expected = listed(trees.good("demos", tmp_path / "source")).table
    home = tmp_path / "put" / place
    home.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "source" / "DEMoS").rename(home)
    corpus = listed(trees.card("demos", tmp_path / "put"))
    assert corpus.folder == home
    assert corpus.table.equals(expected)
    (tmp_path / "deep" / "a" / "b").mkdir(parents=True)
    home.rename(tmp_path / "deep" / "a" / "b" / "DEMoS")
    card = trees.card("demos", tmp_path / "deep")
    assert not listing.is_present(card)
    assert "folders DEMOS and NEU with files like PR_m_23_tri00a.wav, at most 3" in refusal(card)


def test_without_neutral_files(tmp_path):
    card = trees.good("demos", tmp_path)
    expected = listed(card)
    shutil.rmtree(tmp_path / "DEMoS" / "NEU")
    corpus = listed(card)
    assert corpus.excluded == {}
    assert corpus.folder == expected.folder
    assert corpus.table.equals(expected.table)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("DEMOS/PR_m_34_xyz00a.wav", "emotion 'xyz' is not known; add it to `labels` or"),
        ("NEU/PR_f_01_col01b.wav", "the same recording is there as DEMoS/DEMOS/PR_f_01_col01b.wav"),
        ("DEMOS/PR_f_01_col01b.flac", "the same recording is there as"),
        ("DEMOS/PR_m_34_col09b.mp3", "neither WAV nor FLAC"),
        ("DEMOS/PR_m_35_col01b.wav", "speaker 35 is in no partition; add the speaker to"),
    ],
)
def test_problems(tmp_path, file, words):
    card = trees.good("demos", tmp_path)
    trees.sound_or_nothing(tmp_path / "DEMoS" / file)
    problem = layout_problem(card)
    assert words in problem
    assert Path(file).stem in problem
