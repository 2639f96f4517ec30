"""The report of `dslite check`: its figures, its marks, its exit status."""

import json

import numpy as np
import pytest
import soundfile

from dslite import cards
from dslite.datasets import checks, manifest

RATE = 16000
PARTS = {"train": ("a", "b"), "devel": ("c",), "test": ("d",)}


def noise(seed: int, seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.3, 0.3, (round(seconds * rate), channels)).astype("float32")


@pytest.fixture
def table(tmp_path, cache):
    """Sixteen files of four speakers and two classes, 1 s but for one of 0.5 s, with a card."""
    rows = ["path,label,speaker,partition"]
    for i, (part, speaker) in enumerate((p, s) for p, names in PARTS.items() for s in names):
        for j in range(4):
            name = f"{speaker}{j}.wav"
            seconds = 0.5 if name == "a0.wav" else 1.0
            soundfile.write(tmp_path / name, noise(10 * i + j, seconds), RATE)
            rows.append(f"{name},{'no' if j % 2 else 'yes'},{speaker},{part}")
    file = tmp_path / "own.csv"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def card_of(table, text):
    table.with_suffix(".yaml").write_text(text, encoding="utf-8")


def findings(table, **overrides):
    card = cards.load(str(table))
    return checks.findings(manifest.build(card), cards.settings_of(card, overrides=overrides))


def test_a_clean_corpus(table):
    found = findings(table, chunk_length_s=1.0)
    assert found["verdict"] == "clean"
    assert found["errors"] == found["warnings"] == {}
    assert found["counts"]["train"] == {"no": 4, "yes": 4}
    assert found["speakers"] == {"train": 2, "devel": 1, "test": 1}
    assert found["sample_rates"] == {"16000": 16}
    assert found["channels"] == {"1": 16}
    assert found["table1"]["minutes"] == {"found": round(15.5 / 60, 1), "paper": None}
    assert json.loads(json.dumps(found)) == found


def test_chunks_kept_and_dropped(table):
    kept = findings(table, chunk_length_s=0.8, chunk_hop_s=0.8)["chunks"]
    # 15 files of 1 s have a chunk and one that ends with the file, the short one is padded
    assert (kept["chunks"], kept["shorter"], kept["dropped"]) == (31, 1, [])
    assert kept["padded"] == ["a0.wav"]
    assert kept["unheard_s"] == 0
    dropped = findings(table, chunk_length_s=0.8, chunk_hop_s=0.8, tail="drop")["chunks"]
    assert (dropped["chunks"], dropped["padded"]) == (15, [])
    assert dropped["dropped"] == ["a0.wav"]
    assert dropped["unheard_s"] == pytest.approx(15 * 0.2)


def test_expected_counts_are_marked(table):
    card_of(
        table,
        "classes: [no, yes]\n"
        "expected:\n"
        "  - {partition: train, files: 8, counts: {no: 4, yes: 5}, source: a list}\n"
        "  - {files: 16, source: another}\n"
        "table1: {files: 16, speakers: 5, minutes: 0.3, mean_s: 0.97, std_s: 0.5}\n",
    )
    found = findings(table)
    assert found["verdict"] == "warnings"
    (said,) = found["warnings"][checks.UNEXPECTED]
    assert said == "yes in train: 4 files, expected 5 (a list)"
    report = checks.report(found)
    row = {line.split()[0]: line for line in report.splitlines() if line}
    assert row["yes"].split()[1:4] == ["4", "≠", "5"]
    assert row["no"].split()[1:3] == ["4", "="]
    assert report.index("16 =") > 0
    # What differs from Table 1 is marked and no warning: the printed table has mistakes of its own.
    assert found["table1"]["speakers"] == {"found": 4, "paper": 5}
    speakers = [line for line in report.splitlines() if line.startswith("speakers")]
    assert speakers[1].split() == ["speakers", "4", "5", "≠"]
    assert found["table1"]["files"] == {"found": 16, "paper": 16}


def test_blinded_labels_are_counted_and_their_classes_not_compared(table):
    text = table.read_text("utf-8").replace("yes,d", "?,d").replace("no,d", "?,d")
    table.write_text(text, encoding="utf-8")
    card_of(
        table,
        "classes: [no, yes]\n"
        "expected:\n"
        "  - {partition: test, files: 4, counts: {no: 2, yes: 2}, source: a list}\n",
    )
    found = findings(table)
    assert found["blinded"] == 4
    assert found["verdict"] == "clean"
    assert [e["of"] for e in found["expected"]] == ["files"]
    assert "4 labels are not given out" in checks.report(found)


def test_a_regression_is_counted_in_steps(table):
    lines = table.read_text("utf-8").splitlines()
    rows = [
        line.replace(",yes,", f",{i},").replace(",no,", f",{i}.5,") for i, line in enumerate(lines)
    ]
    table.write_text("\n".join(rows), encoding="utf-8")
    card_of(table, "task: regression\n")
    found = findings(table)
    assert found["verdict"] == "clean"
    assert sum(sum(part.values()) for part in found["counts"].values()) == 16
    assert checks.report(found)


def spoil(table, name):
    """One file of the corpus made bad in a way; returns kind and word of the finding."""
    file = table.parent / "a1.wav"
    if name == "missing":
        file.unlink()
    elif name == "unreadable":
        file.write_bytes(b"no audio at all" * 100)
    elif name == "empty":
        soundfile.write(file, np.zeros((0, 1)), RATE)
    elif name == "nan":
        soundfile.write(file, np.full((RATE, 1), np.nan), RATE, subtype="FLOAT")
    elif name == "truncated":
        file.write_bytes(file.read_bytes()[:20000])
    elif name == "silent":
        soundfile.write(file, np.zeros((RATE, 1)), RATE)
    elif name == "clipped":
        soundfile.write(file, np.clip(8 * noise(99, 1), -1, 1), RATE)
    elif name == "twin":
        file.write_bytes((table.parent / "a2.wav").read_bytes())
    elif name == "leak of audio":
        file.write_bytes((table.parent / "d2.wav").read_bytes())
    elif name == "leak of a speaker":
        table.write_text(table.read_text("utf-8").replace("a1.wav,no,a", "a1.wav,no,d"), "utf-8")
    elif name == "surplus":
        soundfile.write(table.parent / "more.wav", noise(98, 1), RATE)


@pytest.mark.parametrize(
    ("name", "verdict", "kind", "said"),
    [
        ("missing", "errors", "audio", "no such file"),
        ("unreadable", "errors", "audio", "not readable as audio"),
        ("empty", "errors", "audio", "holds no audio"),
        ("nan", "errors", "audio", "NaN"),
        ("truncated", "errors", "audio", "ends before its header says"),
        ("silent", "warnings", "silent", "a1.wav: silent"),
        ("clipped", "warnings", "clipped", "samples in runs at full scale"),
        ("twin", "warnings", "the same audio twice", "the same audio as"),
        ("leak of audio", "errors", "audio in two partitions", "a1.wav"),
        ("leak of a speaker", "errors", "speakers in two partitions", "speaker 'd'"),
        ("surplus", "warnings", "without a label", "more.wav"),
    ],
)
def test_what_is_found(table, command, name, verdict, kind, said):
    spoil(table, name)
    found = findings(table)
    assert found["verdict"] == verdict
    assert list(found[verdict]) == [kind]
    assert said in found[verdict][kind][0]
    assert ("a1.wav" if name != "surplus" else "more.wav") in found[verdict][kind][0]
    # The same through the command: 2 for errors, 1 for warnings if asked, and no traceback
    status, out, err = command("check", str(table))
    assert status == (2 if verdict == "errors" else 0)
    assert said in (err if verdict == "errors" else out)
    assert f"verdict: {verdict}" in out
    assert command("check", str(table), "--strict")[0] == (2 if verdict == "errors" else 1)


def test_strict_is_clean_where_nothing_is_to_say(table, command):
    assert command("check", str(table), "--strict")[0] == 0


def test_json_is_all_of_it_and_says_errors_too(table, command):
    soundfile.write(table.parent / "a2.wav", np.zeros((RATE, 1)), RATE)
    status, out, _ = command("check", str(table), "--json", "--set", "chunk_length_s=1")
    assert status == 0
    assert json.loads(out) == findings(table, chunk_length_s=1)
    table.write_text("file,class\na0.wav,yes\n", encoding="utf-8")
    status, out, err = command("check", str(table), "--json")
    assert status == 2
    assert err == ""
    found = json.loads(out)
    assert found["verdict"] == "errors"
    assert "no column 'path'" in found["errors"]["layout"][0]


def test_many_of_a_kind_are_counted_in_the_report_and_listed_in_json(table):
    kinds = {"clipped": [f"row {i}" for i in range(25)]}
    lines = checks.sentences_text("warning", kinds).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"


def test_mixed_rates_and_channels(table):
    soundfile.write(table.parent / "a1.wav", noise(97, 1, 2, 44100), 44100)
    found = findings(table)
    assert found["sample_rates"] == {"16000": 15, "44100": 1}
    assert found["channels"] == {"1": 15, "2": 1}


def test_another_folder(table, command, tmp_path):
    """The audio lies elsewhere: --data names the folder that the table's paths are relative to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in tmp_path.glob("*.wav"):
        file.rename(elsewhere / file.name)
    assert command("check", str(table))[0] == 2
    assert command("check", str(table), "--data", str(elsewhere))[0] == 0
    card_of(table, "folder: elsewhere\n")
    assert command("check", str(table))[0] == 0
    status, _, err = command("check", str(table), "--data", str(tmp_path / "nowhere"))
    assert status == 2
    assert "nowhere: there is no such folder" in err


@pytest.mark.real
def test_ravdess_is_as_published(command, cache, real_ravdess):
    status, out, _ = command("check", "ravdess", "--data", str(real_ravdess), "--strict")
    assert status == 0
    assert "1,012 files" in out
    for words in ("speakers            23      23", "minutes in all    78.4    78.4"):
        assert words in out
    assert out.count("184 =") == 5
    assert out.count("92 =") == 1
    assert "verdict: clean" in out
