"""Tiny corpora in the layouts in which they are handed out, and what may be wrong with them.

`good` makes one; its audio is a fraction of a second of noise, at the corpus's own rate. `FIRST`
and `OTHER` are two of its files, in two partitions and of two speakers where there are any. The
last functions are what tests of layouts ask of a corpus.
"""

import dataclasses
import struct
import zlib
from pathlib import Path

import numpy as np
import soundfile

from dslite import cards
from dslite.datasets import checks, listing, manifest

# Labels as the organisers write them, digits in a file's number, rows and header of a label file.
PACKAGES = {
    "ccs": ("ComParE2021_CCS", ("negative", "positive"), 3, "filename,label"),
    "css": ("ComParE2021_CSS", ("negative", "positive"), 3, "filename,label"),
    "ess": ("ComParE2021_ESS", ("0", "1", "2"), 3, "filename,label"),
    # What the second column is called is not known; in a sister task it was a long phrase.
    "mpssc": ("ComParE2017_Snore", ("V", "O", "T", "E"), 4, "file_name\tsite (V, O, T, E), type"),
    "sleep": ("ComParE2019_ContinuousSleepiness", ("1", "7", "8", "9"), 4, "file_name,label"),
}
PACKAGES["sleep-regression"] = PACKAGES["sleep"]
COMPARE = tuple(PACKAGES)
NAMES = (*COMPARE, "demos", "iemocap", "ravdess", "own")

FIRST = {
    **dict.fromkeys(("ccs", "css", "ess"), "dist/wav/train_001.wav"),
    **dict.fromkeys(("mpssc", "sleep", "sleep-regression"), "wav/train_0001.wav"),
    "demos": "DEMoS/DEMOS/PR_f_01_col01b.wav",
    "iemocap": "IEMOCAP_full_release/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    "ravdess": "Actor_01/03-02-02-01-01-01-01.wav",
    "own": "clips/s00.wav",
}
OTHER = {
    **dict.fromkeys(("ccs", "css", "ess"), "dist/wav/devel_001.wav"),
    **dict.fromkeys(("mpssc", "sleep", "sleep-regression"), "wav/devel_0001.wav"),
    "demos": "DEMoS/DEMOS/PR_m_34_col01b.wav",
    "iemocap": "IEMOCAP_full_release/Session4/sentences/wav/Ses04F_impro01/Ses04F_impro01_F000.wav",
    "ravdess": "Actor_16/03-02-02-01-01-01-16.wav",
    "own": "clips/s10.wav",
}
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
# Of three partitions; two in train, which so has every class even if a file is taken away.
DEMOS_SPEAKERS = {"01": "f", "02": "m", "34": "m", "58": "m"}
RAVDESS_ACTORS = ("01", "02", "16", "24")
EVALUATIONS = {  # dialog without its session -> turn, label
    "F_impro01": [("F000", "neu"), ("M000", "ang"), ("F001", "hap"), ("M001", "fru")],
    "M_script01_1b": [("M000", "sad"), ("F000", "exc"), ("F001", "xxx")],
}


def text(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode())


def noise(seed: str, *shape: int) -> np.ndarray:
    """Noise that no other seed has: int16."""
    return np.random.default_rng(zlib.crc32(seed.encode())).integers(-9999, 9999, shape, np.int16)


def samples(file: Path, rate: int, channels: int = 1) -> np.ndarray:
    """A twentieth of a second of noise; the folders above a corpus do not matter."""
    return noise("/".join(file.parts[-3:]), rate // 20, channels)


def sound(file: Path, rate: int = 16000, channels: int = 1) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    suffix = file.suffix[1:].upper()
    soundfile.write(file, samples(file, rate, channels), rate, format=suffix)
    return file


def sound_or_nothing(file: Path) -> None:
    """Audio; of a format that is not decoded an empty file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"") if file.suffix == ".mp3" else sound(file)


def riff(file: Path, rate: int, channels: int = 1) -> Path:
    """A WAV file with the chunks of RAVDESS: its samples do not begin at byte 44."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data = samples(file, rate, channels).tobytes()
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    chunks = {b"fmt ": form, b"FLLR": bytes(4008), b"data": data, b"bext": bytes(602)}
    body = b"".join(name + struct.pack("<I", len(held)) + held for name, held in chunks.items())
    file.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    return file


# ComParE


def entries(name: str) -> list[tuple[str, str]]:
    """File and true label, two of each label in every partition."""
    _, labels, digits, _ = PACKAGES[name]
    return [
        (f"{partition}_{number:0{digits}d}.wav", label)
        for partition in ("train", "devel", "test")
        for number, label in enumerate(labels * 2, start=1)
    ]


def label_file(file: Path, header: str, rows: list[tuple[str, str]]) -> None:
    delimiter = "\t" if file.suffix == ".tsv" else ","
    text(file, "\n".join([header, *(delimiter.join(row) for row in rows)]) + "\n")


def labels(name: str, lab: Path, test: str = "?") -> None:
    """The label files that every package has; the test labels are ``?``, ``absent`` or ``real``."""
    header = PACKAGES[name][3]
    rows = [(f, "?" if f[:4] == "test" and test == "?" else label) for f, label in entries(name)]
    rows = [row for row in rows if not (row[0][:4] == "test" and test == "absent")]
    if name == "mpssc":
        label_file(lab / "ComParE2017_Snore.tsv", header, rows)
    elif name.startswith("sleep"):
        label_file(lab / "labels.csv", header, rows)
    else:
        for partition in ("train", "devel", "test"):
            part = [row for row in rows if row[0].startswith(partition)]
            if part:
                label_file(lab / f"{partition}.csv", header, part)


def audio(name: str, home: Path) -> None:
    for file, _ in entries(name):
        sound(home / "wav" / file)
        if name == "ess":  # transcripts
            text(home / "text" / file.replace(".wav", ".txt"), "ja [onverstaanbaar] rustig\n")
    (home / "wav" / "._train_001.wav").write_bytes(APPLE_DOUBLE)


def package(name: str, home: Path, test: str = "") -> None:
    """A challenge package, blinded as it was handed out unless ``test`` says otherwise."""
    audio(name, home)
    labels(name, home / "lab", test or ("absent" if name == "mpssc" else "?"))
    (home / "lab" / "._train.csv").write_bytes(APPLE_DOUBLE)
    text(home / "features" / "train.csv", "filename,f0\ntrain_001.wav,0.5\n")
    text(home / "end2you" / "labels.csv", "filename,label\ntrain_999.wav,nobody\n")


def release(name: str, folder: Path) -> None:
    """The later release of Cambridge: one table of all labels beside the packages, no ``lab``."""
    package_name, short = PACKAGES[name][0], name.upper()
    audio(name, folder / package_name / "dist")
    (folder / "ComParE2021_OTHER" / "dist" / "wav").mkdir(parents=True)
    head = "filename,label,Age,Sex,Medhistory,Symptoms,Smoking,Hospitalized,Covid-Tested"
    rows = [
        f'{f},{label},30-39,Male,none,"dry cough, fever",never,no,x' for f, label in entries(name)
    ]
    text(folder / f"metaData_{short}.csv", "\n".join([head, *rows]) + "\n")
    low = "train_001.wav\ntrain_002.wav\ntest_001.wav\n"
    rows = [f"{i},{f},x" for i, f in enumerate(low.split())]
    text(folder / f"lowSR_{short}.list", "\n".join([",filename_x,filename_y", *rows]) + "\n")


# The others


def demos(folder: Path) -> None:
    home = folder / "DEMoS"
    for speaker, gender in DEMOS_SPEAKERS.items():
        for number, emotion in enumerate(("rab", "tri", "gio", "pau", "dis", "col", "sor")):
            kind = "PR" if number % 2 else "NP"
            letter = "b" if emotion == "col" else "a"
            name = f"{kind}_{gender}_{speaker}_{emotion}01{letter}.wav"
            sound(home / "DEMOS" / name, 44100)
        sound(home / "NEU" / f"{gender}_{speaker}_neu05b.wav", 44100)
    (home / "DEMOS" / "._PR_m_34_tri01a.wav").write_bytes(APPLE_DOUBLE)


def evaluation(dialog: str, turns: list[tuple[str, str]]) -> str:
    """A label file: a comment, and for each turn a line of the majority and lines of annotators."""
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, (turn, label) in enumerate(turns):
        times = f"[{number + 6}.2901 - {number + 8}.2357]"
        lines += [
            f"{times}\t{dialog}_{turn}\t{label}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral state;\t()",
            "C-F1:\tOther;\t([laughing] ironic)",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
    return "\n".join(lines) + "\n"


def iemocap(folder: Path) -> None:
    home = folder / "IEMOCAP_full_release"
    text(home / "README.txt", "IEMOCAP\n")
    for session in "12345":
        place = home / f"Session{session}"
        for rest, turns in EVALUATIONS.items():
            dialog = f"Ses0{session}{rest}"
            labels = place / "dialog" / "EmoEvaluation"
            text(labels / f"{dialog}.txt", evaluation(dialog, turns))
            (labels / f"._{dialog}.txt").write_bytes(APPLE_DOUBLE + b"\n[\t\n")
            for below in ("Attribute", "Categorical", "Self-evaluation"):
                text(labels / below / f"{dialog}_e2.txt", f"[1 - 2]\t{dialog}_F000\tfoo\t[0]\n")
            words = f"{dialog}_F000 [006.2901-008.2357]: Excuse me.\n"
            text(place / "dialog" / "transcriptions" / f"{dialog}.txt", words)
            sound(place / "dialog" / "wav" / f"{dialog}.wav", 16000, channels=2)
            wav = place / "sentences" / "wav" / dialog
            for turn, _ in turns:
                sound(wav / f"{dialog}_{turn}.wav")
            (wav / f"._{dialog}_F000.wav").write_bytes(APPLE_DOUBLE)
            aligned = place / "sentences" / "ForcedAlignment" / dialog / f"{dialog}_F000.wdseg"
            text(aligned, "SFrm EFrm\n")


def ravdess(folder: Path) -> None:
    for actor in RAVDESS_ACTORS:
        for emotion in range(1, 7):
            stereo = (actor, emotion) == ("24", 1)
            name = f"03-02-{emotion:02d}-01-01-01-{actor}.wav"
            riff(folder / f"Actor_{actor}" / name, 48000, channels=2 if stereo else 1)


OWN = {"s0": "train", "s1": "devel", "s2": "test", "s3": "train"}


def table(folder: Path, speakers: dict[str, str], wave, n=2, place="", rate=16000) -> Path:
    """A user's table of ``n`` files ``wave(speaker, j)`` of each speaker, label no, yes, no, ..."""
    rows = ["path,label,speaker,partition"]
    (folder / place).mkdir(parents=True, exist_ok=True)
    for speaker, partition in speakers.items():
        for j in range(n):
            name = f"{place}{speaker}{j}.wav"
            soundfile.write(folder / name, wave(speaker, j), rate)
            rows.append(f"{name},{('no', 'yes')[j % 2]},{speaker},{partition}")
    text(folder / "own.csv", "\n".join(rows) + "\n")
    return folder / "own.csv"


def card(name: str, folder: Path) -> cards.Card:
    return cards.load(str(folder / "own.csv")) if name == "own" else cards.load(name, folder)


def good(name: str, folder: Path) -> cards.Card:
    if name in ("ccs", "css", "ess"):
        package(name, folder / "dist")
    elif name in COMPARE:
        package(name, folder)
    elif name == "own":
        table(folder, OWN, lambda s, j: noise(f"{s}{j}", 22050 // 20), place="clips/", rate=22050)
    else:
        {"demos": demos, "iemocap": iemocap, "ravdess": ravdess}[name](folder)
    return card(name, folder)


# What may be wrong


def partition_list(name: str, folder: Path) -> Path:
    """The corpus's own division as a file list; of speakers, where the corpus names them."""
    file = folder / "partition.csv"
    listing.read(card(name, folder)).table[["path", "partition"]].to_csv(file, index=False)
    return file


def missing(name: str, folder: Path) -> None:
    if name in ("demos", "ravdess"):  # nothing says what they should hold, unless a list does
        partition_list(name, folder)
    (folder / FIRST[name]).unlink()


def surplus(name: str, folder: Path) -> None:
    sound((folder / FIRST[name]).with_name("Neue Aufnahme.wav"))


def broken_off(name: str, folder: Path) -> None:
    content = (folder / FIRST[name]).read_bytes()
    (folder / FIRST[name]).write_bytes(content[: len(content) * 2 // 3])


def no_audio(name: str, folder: Path) -> None:
    (folder / FIRST[name]).write_bytes(b"<html>404 not found</html>")


def twin(name: str, folder: Path) -> None:
    (folder / OTHER[name]).write_bytes((folder / FIRST[name]).read_bytes())


def leak(name: str, folder: Path) -> None:
    file = folder / "own.csv" if name == "own" else partition_list(name, folder)
    stem = Path(FIRST[name]).stem
    lines = file.read_text().splitlines()
    changed = [line.replace(",train", ",devel") if stem in line else line for line in lines]
    assert changed != lines
    text(file, "\n".join(changed) + "\n")


def replace_text(file: Path, old: str, new: str) -> None:
    content = file.read_bytes()
    assert old.encode() in content
    file.write_bytes(content.replace(old.encode(), new.encode()))


def with_cells(corpus: manifest.Manifest, **cells) -> manifest.Manifest:
    """The manifest with some cells changed: ``column=(row or rows, value)``."""
    table = corpus.table.copy()
    for column, (rows, value) in cells.items():
        table.loc[rows, column] = value
    return dataclasses.replace(corpus, table=table)


# What is asked

BLINDED = "{0} of {0} test files have no label: this package keeps them back"


def verdict(card) -> tuple[dict, dict]:
    corpus = manifest.build(card)
    return checks.problems(corpus), checks.warnings(corpus)


def listed(card) -> listing.Listing:
    assert listing.is_present(card)
    return listing.read(card)


def layout_problem(card) -> str:
    """The only problem of a corpus, which is one of its layout."""
    problems, _ = verdict(card)
    assert set(problems) <= {"layout", "labels", "partitions"}
    (problem,) = problems.get("layout") or problems["labels"]
    return problem
