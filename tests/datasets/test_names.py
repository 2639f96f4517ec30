"""File names of the corpora: what is generated from their grammar is read back, near misses not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dslite.datasets import compare, demos, iemocap, ravdess

DIGITS = "0123456789"
# What no grammar has: other capitals and digits, separators, white space, a line's end
FOREIGN = "X%$-+. _\n\t\u0660\u0663\u00b2\u00e9\uff11"


def digits(n: int):
    return st.text(DIGITS, min_size=n, max_size=n)


@st.composite
def iemocap_names(draw):
    """An utterance's name, and its dialogue, session and speaker."""
    session, wearer = draw(st.sampled_from("12345")), draw(st.sampled_from("FM"))
    part = draw(st.sampled_from(["", "a", "b"]))
    number = draw(digits(2))
    scenario = draw(st.sampled_from([f"impro{number}", f"script{number}_{draw(digits(1))}"]))
    dialog = f"Ses0{session}{wearer}_{scenario}{part}"
    gender = draw(st.sampled_from("FM"))
    return f"{dialog}_{gender}{draw(digits(3))}", dialog, session, session + gender


@st.composite
def demos_names(draw):
    """A recording's name, and its speaker and emotion."""
    emotion = draw(st.sampled_from(["neu", "rab", "tri", "gio", "pau", "dis", "col", "sor"]))
    kind = "" if emotion == "neu" else draw(st.sampled_from(["PR_", "NP_"]))
    speaker, gender = draw(digits(2)), draw(st.sampled_from("mf"))
    letter = draw(st.sampled_from("abc"))
    return f"{kind}{gender}_{speaker}_{emotion}{draw(digits(2))}{letter}", speaker, emotion


@st.composite
def compare_names(draw):
    """A file's name, and its partition and key."""
    partition = draw(st.sampled_from(["train", "devel", "test"]))
    number = draw(st.text(DIGITS, min_size=1, max_size=6))
    suffix = draw(st.sampled_from(["", ".wav", ".WAV"]))
    spelled = draw(st.sampled_from([partition, partition.upper(), partition.capitalize()]))
    return f"{spelled}_{number}{suffix}", partition, f"{partition}_{number}"


@st.composite
def ravdess_names(draw):
    """A recording's name, and its seven fields."""
    few = ["01", "02"]
    fields = [draw(st.sampled_from([*few, "03"])), draw(st.sampled_from(few)), draw(digits(2))]
    fields += [draw(st.sampled_from(few)) for _ in range(3)] + [draw(digits(2))]
    return "-".join(fields), tuple(fields)


@given(iemocap_names())
def test_iemocap(name):
    name, dialog, session, speaker = name
    match = iemocap.NAME.fullmatch(name)
    assert (match["dialog"], match["session"], iemocap.speaker(match)) == (dialog, session, speaker)


@given(demos_names())
def test_demos(name):
    name, speaker, emotion = name
    match = demos.NAME.fullmatch(name)
    assert (match["speaker"], match["emotion"]) == (speaker, emotion)


@given(compare_names())
def test_compare(name):
    name, partition, key = name
    assert compare.NAME.fullmatch(name)[1].lower() == partition
    assert compare.key(name) == key


@given(ravdess_names())
def test_ravdess(name):
    name, fields = name
    assert ravdess.NAME.fullmatch(name).groups() == fields


GRAMMARS = {
    "iemocap": (iemocap.NAME, iemocap_names()),
    "demos": (demos.NAME, demos_names()),
    "ravdess": (ravdess.NAME, ravdess_names()),
    # Its numbers have any number of digits, so that a cut or doubled digit is still a name.
    "compare": (compare.NAME, compare_names()),
}


@pytest.mark.parametrize("corpus", GRAMMARS)
@given(data=st.data())
def test_a_foreign_character_is_no_name(corpus, data):
    grammar, names = GRAMMARS[corpus]
    name = data.draw(names)[0]
    place = data.draw(st.integers(0, len(name)))
    foreign = data.draw(st.sampled_from(FOREIGN))
    keep = data.draw(st.booleans())
    changed = name[:place] + foreign + name[place + (not keep) :]
    if changed != name:
        assert not grammar.fullmatch(changed)


@pytest.mark.parametrize("corpus", ["demos", "ravdess"])
@given(data=st.data())
def test_a_missing_or_doubled_character_is_no_name(corpus, data):
    grammar, names = GRAMMARS[corpus]
    name = data.draw(names)[0]
    place = data.draw(st.integers(0, len(name) - 1))
    assert not grammar.fullmatch(name[:place] + name[place + 1 :])
    assert not grammar.fullmatch(name[:place] + name[place] + name[place:])


@pytest.mark.parametrize(
    "name",
    [
        "Ses01F_impro01",  # a dialogue
        "Ses01F_impro01_FXX0",
        "Ses01F_impro01_F00",
        "Ses01F_impro01_F0000",
        "Ses06F_impro01_F000",
        "Ses00F_impro01_F000",
        "Ses1F_impro01_F000",
        "Ses01X_impro01_F000",
        "ses01F_impro01_F000",
        "Ses01F_impro1_F000",
        "Ses01F_impro01_1_F000",
        "Ses01F_script01_F000",
        "Ses01F_script01_1bb_F000",
        "Ses01F_script01_1B_F000",
        "Ses01F_impro01_F000.wav",
        "._Ses01F_impro01_F000",
        "",
    ],
)
def test_no_utterance_of_iemocap(name):
    assert not iemocap.NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        "m_23_tri00a",  # only neutral names lack the first field
        "PR_m_68_neu05b",
        "XX_m_23_tri00a",
        "PR_x_23_tri00a",
        "PR_m_3_tri00a",
        "PR_m_123_tri00a",
        "PR_m_23_TRI00a",
        "PR_m_23_tri0a",
        "PR_m_23_tri00d",
        "PR_m_23_tri00",
        "PR_m_23_tri_00a",
        "PR-m-23-tri00a",
        "PRm_23_tri00a",
        "pr_m_23_tri00a",
        "PR_m_23_tri00a (1)",
    ],
)
def test_no_recording_of_demos(name):
    assert not demos.NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["train_001.mp3", "train001.wav", "train_.wav", "train_1a.wav", "val_001.wav", "dev_001.wav",
     "wav/train_001.wav", "train_001.wav.wav", "a_train_001.wav", "train_-1.wav"],
)  # fmt: skip
def test_no_file_of_a_challenge(name):
    assert not compare.NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["04-02-01-01-01-01-01", "03-03-01-01-01-01-01", "03-02-01-03-01-01-01", "03-02-01-01-00-01-01",
     "03-02-1-01-01-01-01", "03-02-01-01-01-01", "03-02-01-01-01-01-01-01", "03_02_01_01_01_01_01"],
)  # fmt: skip
def test_no_recording_of_ravdess(name):
    assert not ravdess.NAME.fullmatch(name)
