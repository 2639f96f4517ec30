"""The check of a corpus: what is wrong with its manifest, what its reader should know, a report."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dslite import audio, paths
from dslite.cards import Card
from dslite.datasets import fingerprint, listing, manifest, partitions, scan
from dslite.datasets.manifest import Manifest
from dslite.errors import InputError
from dslite.settings import PARTITIONS, Settings

SILENT = 1e-4  # peak, -80 dB of full scale: below the last bits of 16
BEYOND = 2.0  # peak, of full scale: more than encoders overshoot
NOBODY = (
    "unknown, so people may be in train and in test, and a score that of voices heard in training; "
    "add a column 'speaker'"
)
NEAR_SPLIT = "one recording in two partitions"  # kinds of warnings
NEAR_TWICE = "one recording twice"
CROWDED = "one sound in many files"
UNEXPECTED = "not the expected counts"
# Table 1's columns -> heading and the decimals that are printed
TABLE1 = {
    "files": ("files", 0),
    "classes": ("classes", 0),
    "speakers": ("speakers", 0),
    "minutes": ("minutes in all", 1),
    "mean_s": ("mean s", 2),
    "std_s": ("deviation s", 4),
}


def load_manifest(card: Card) -> Manifest:
    """Build a corpus's manifest and hold it to what training and evaluation rely on.

    InputError where the corpus is not there, not in its layout, or has `problems`.
    """
    corpus = build(card)
    require_sound(corpus)
    return corpus


def load_audio(card: Card, listed: listing.Listing) -> Manifest:
    """Build the manifest of audio without labels; InputError where some cannot be decoded."""
    corpus = build(card, listed)
    listing.require_none([*_bad_files(corpus).values()], f"audio of {card.table or card.dataset}")
    return corpus


def build(card: Card, listed: listing.Listing | None = None) -> Manifest:
    """Build a manifest without its bad files, if they are no more than the card's ``skip_bad``."""
    corpus = manifest.build(card, listed)
    bad = _bad_files(corpus) if card.skip_bad else {}  # which are decoded once more
    if not 0 < len(bad) <= card.skip_bad:
        return corpus
    rows = corpus.table.index.difference(list(bad))
    table = corpus.table.loc[rows].reset_index(drop=True)
    return replace(corpus, table=table, skipped=tuple(bad.values()), rows=tuple(rows))


def require_sound(corpus: Manifest) -> None:
    """Raise an InputError that lists the `problems` of a manifest, 20 in full."""
    sentences = [sentence for kind in problems(corpus).values() for sentence in kind]
    listing.require_none(sentences, f"manifest of {corpus.card.table or corpus.card.dataset}")


def problems(corpus: Manifest) -> dict[str, list[str]]:
    """List what must be mended before anything is computed: kind of problem -> a sentence each.

    A blinded test partition is no problem, and of an official partition (layout compare) the audio
    is taken as its organisers divided it.
    """
    table, bad = corpus.table, [*_bad_files(corpus).values()]
    if 0 < corpus.card.skip_bad < len(bad):
        bad.append(f"these are {len(bad)} bad files, and --skip-bad is {corpus.card.skip_bad}")
    places = table["path"].map(lambda path: os.path.normpath(corpus.folder / path))
    kinds = {
        "layout": list(corpus.problems),
        "listed twice": [
            f"{_at(corpus, j)}: this file is in row {_row(corpus, i)} already; remove one"
            for i, j in listing.repeats(places.to_frame(), ["path"])
        ],
        "audio": bad,
        "labels": _label_problems(corpus),
        "partitions": _partition_problems(corpus),
        "speakers in two partitions": [
            f"speaker '{table['speaker'][i]}' is in {table['partition'][i]} ({_at(corpus, i)}) and "
            f"in {table['partition'][j]} ({_at(corpus, j)}); a speaker belongs into one partition"
            for i, j in listing.in_two_partitions(table, "speaker")
        ],
        "audio in two partitions": [] if corpus.card.package else _shared_audio(corpus),
    }
    return {kind: sentences for kind, sentences in kinds.items() if sentences}


def warnings(corpus: Manifest) -> dict[str, list[str]]:
    """List what a reader should know and may leave: kind of warning -> a sentence each."""
    table = corpus.table
    decoded = table[table["audio_hash"] != ""]
    kinds = {
        "passed over": list(corpus.skipped),
        "read otherwise": list(corpus.cautions),
        "speakers": [NOBODY] if not corpus.card.package and (table["speaker"] == "").any() else [],
        "class absent from a partition": _absences(corpus),
        "segments of one file in two partitions": _shared_files(corpus),
        "audio in two partitions": _shared_audio(corpus) if corpus.card.package else [],
        **_near_duplicates(corpus),
        "the same audio twice": [
            f"{_at(corpus, j)}: the same audio as {_at(corpus, i)} ({table['partition'][i]})"
            for i, j in listing.repeats(decoded, ["partition", "audio_hash"])
        ],
        "silent": [
            f"{_at(corpus, i)}: silent (peak {table['peak'][i]:.1g} of full scale)"
            for i in np.flatnonzero(table["peak"] < SILENT)
        ],
        "clipped": [
            f"{_at(corpus, i)}: {table['clipped'][i]} samples in runs at full scale"
            for i in np.flatnonzero(table["clipped"])
        ],
        "beyond full scale": [
            f"{_at(corpus, i)}: peak {table['peak'][i]:.3g} times full scale; divide the floats by "
            "their scale, if the other files have another"
            for i in np.flatnonzero(table["peak"] > BEYOND)
        ],
        "audio heard otherwise than it is stored": [
            f"{_at(corpus, i)}: {table['remarks'][i]}"
            for i in np.flatnonzero(table["remarks"] != "")
        ],
        "without a label": [
            f"{path}: no label mentions this audio; it is not used" for path in corpus.surplus
        ],
    }
    return {kind: sentences for kind, sentences in kinds.items() if sentences}


def in_short(kinds: Mapping[str, Sequence[str]]) -> list[str]:
    """Summarise problems or warnings: a line for each kind, with its first sentence."""
    return [
        f"{kind}: {first}" + (f" (and {len(more)} more)" if more else "")
        for kind, (first, *more) in kinds.items()
    ]


def _at(corpus: Manifest, i: int) -> str:
    return f"row {_row(corpus, i)}, {corpus.table['path'][i]}"


def _row(corpus: Manifest, i: int) -> int:
    return (corpus.rows[i] if corpus.rows else i) + 2


def _bad_files(corpus: Manifest) -> dict[int, str]:
    """Rows whose audio cannot be read or is broken off -> what is wrong."""
    table, home = corpus.table, listing.home(corpus.card)
    sentences = {}
    for i in np.flatnonzero(table["audio_hash"] == ""):
        file = corpus.folder / table["path"][i]
        if listing.leads_out(home, file):
            reason = (
                f"leads out of the corpus's folder {home}, by its path or a link; "
                "put the audio inside, or name the folder that holds all of it (--data, or "
                "`folder` in the card)"
            )
        elif not audio.source(file).is_file():
            reason = f"there is no such file in {corpus.folder}"
        else:
            try:
                scan.of_file(file)
                reason = "the file has changed; build the manifest again"
            except InputError as error:
                reason = str(error).removeprefix(f"{file}: ")
        sentences[int(i)] = f"{_at(corpus, i)}: {reason}"
    return sentences | {
        int(i): f"{_at(corpus, i)}: {audio.BROKEN_OFF.format(table['duration_s'][i])}"
        for i in np.flatnonzero(table["truncated"])
    }


def _label_problems(corpus: Manifest) -> list[str]:
    labels, partitions = corpus.table["label"], corpus.table["partition"]
    missing = (labels == "") & (partitions != "test")
    sentences = [
        f"{_at(corpus, i)}: no label, and only test files may do without; add it"
        for i in np.flatnonzero(missing)
    ]
    if corpus.card.task == "regression":
        values = pd.to_numeric(labels, errors="coerce")
        wrong, remedy = ~np.isfinite(values), "is not a finite number, as a regression needs"
    else:
        wrong = ~labels.isin(list(corpus.classes))
        remedy = f"is not a class of the card ({', '.join(corpus.classes)})"
    wrong &= labels != ""
    return sentences + [
        f"{_at(corpus, i)}: label '{labels[i]}' {remedy}; correct the label or the card"
        for i in np.flatnonzero(wrong)
    ]


def _partition_problems(corpus: Manifest) -> list[str]:
    table, classification = corpus.table, corpus.card.task == "classification"
    sentences = [
        f"{_at(corpus, i)}: partition '{table['partition'][i]}' is none of {PARTITIONS}"
        for i in np.flatnonzero(~table["partition"].isin(PARTITIONS))
    ]
    if classification and len(corpus.classes) < 2:
        sentences.append(f"all labels are '{''.join(corpus.classes)}'; two classes are needed")
    for partition in PARTITIONS:
        labels = table["label"][table["partition"] == partition]
        if labels.empty:
            sentences.append(f"partition {partition} is empty; it needs files of every class")
        elif partition == "train":
            sentences += [
                f"class '{name}' has no file in train, so it cannot be learnt; add files, divide "
                "the corpus otherwise, or leave the class out"
                for name in _absent(corpus, partition)
            ]
    return sentences


def _absent(corpus: Manifest, partition: str) -> list[str]:
    """Classes without a file in a partition whose labels are known."""
    labels = corpus.table["label"][corpus.table["partition"] == partition]
    return [] if (labels == "").any() else [n for n in corpus.classes if n not in set(labels)]


def _absences(corpus: Manifest) -> list[str]:
    """What is not scored: classes that devel or test has no file of."""
    table = corpus.table
    absent = {p: _absent(corpus, p) for p in ("devel", "test") if (table["partition"] == p).any()}
    reason = ""
    if any(absent.values()) and corpus.partition_source.startswith("drawn"):
        k = partitions.folds_that_test_all(corpus)
        reason = "; no division of its speakers puts it into train, devel and test: "
        reason += f"--folds {k} tests every class" if k else "add speakers of it"
    return [
        f"class '{name}' has no file in {partition}: the score there, and chance, are of the other "
        f"classes{reason}"
        for partition, names in absent.items()
        for name in names
    ]


def _shared_audio(corpus: Manifest) -> list[str]:
    path, partition = corpus.table["path"], corpus.table["partition"]
    remedy = "as its organisers divided it" if corpus.card.package else "remove one"
    return [
        f"{_at(corpus, j)}: the same audio is in {partition[i]} ({_at(corpus, i)}) and in "
        f"{partition[j]}; {remedy}"
        for i, j in listing.in_two_partitions(corpus.table, "audio_hash")
        if path[i] != path[j]
    ]


def _near_duplicates(corpus: Manifest) -> dict[str, list[str]]:
    """Files that are one recording though their samples differ: in two partitions, and in one."""
    table, most = corpus.table, fingerprint.MOST_NEIGHBOURS
    file = _files(corpus)
    kinds: dict[str, dict[int, str]] = {NEAR_SPLIT: {}, NEAR_TWICE: {}}
    pairs, crowded = scan.near_duplicates(table["fingerprint"], corpus.card.dataset)
    for i, j in pairs:
        if file[i] != file[j] and table["audio_hash"][i] != table["audio_hash"][j]:
            text = f"{_at(corpus, j)} ({table['partition'][j]}): the same recording as " + (
                f"{_at(corpus, i)} ({table['partition'][i]}), by its sound; listen, and remove one"
            )
            apart = table["partition"][i] != table["partition"][j]
            kinds[NEAR_SPLIT if apart else NEAR_TWICE].setdefault(j, text)  # of many, the first
    if crowded:
        kinds[CROWDED] = {
            0: f"{len(crowded)} files, as {_at(corpus, crowded[0])}, hold a sound that {most} "
            "files before them hold, too, perhaps a tone; by that sound they are compared with the "
            f"first {most} of these only"
        }
    return {kind: list(sentences.values()) for kind, sentences in kinds.items()}


def _files(corpus: Manifest) -> list[str]:
    """The file of each row, of which it may be a segment."""
    return [str(audio.source(corpus.folder / path)) for path in corpus.table["path"]]


def _shared_files(corpus: Manifest) -> list[str]:
    files = corpus.table.assign(file=_files(corpus))
    return [
        f"{_at(corpus, j)}: {files['partition'][j]} has a segment of a file of which another, "
        f"{_at(corpus, i)}, is in {files['partition'][i]}"
        for i, j in listing.in_two_partitions(files, "file")
        if files["path"][i] != files["path"][j]
    ]


# The report of `dslite check`


def findings(corpus: Manifest, settings: Settings) -> dict[str, Any]:
    """Gather what there is to say of a corpus, as plain values that JSON holds.

    ``verdict`` (clean, warnings or errors), ``errors`` and ``warnings`` (kind -> sentences),
    ``counts`` (partition -> class -> files), ``expected`` (one entry a figure that the card names:
    partition, ``of`` a class or "files", expected, counted, source), ``table1`` (figure -> found
    and paper's), ``speakers`` (partition -> number), ``sample_rates`` and ``channels`` (value ->
    files), ``chunks`` (by the settings), ``excluded``, ``notes``. The manifest need not be sound.
    """
    table = corpus.table
    decoded = table[table["audio_hash"] != ""]
    errors, cautions, expected = problems(corpus), warnings(corpus), _expected(corpus)
    wrong = [
        f"{e['of']} in {e['partition']}: {e['counted']} files, expected {e['expected']} "
        f"({e['source']})"
        for e in expected
        if e["counted"] != e["expected"]
    ]
    cautions |= {UNEXPECTED: wrong} if wrong else {}
    paper = corpus.card.table1.model_dump() if corpus.card.table1 else {}
    speakers = table[table["speaker"] != ""].groupby("partition")["speaker"].nunique()
    return {
        "dataset": corpus.card.dataset,
        "folder": paths.shown(corpus.folder),
        "partition_source": corpus.partition_source,
        "verdict": "errors" if errors else "warnings" if cautions else "clean",
        "counts": {p: _plain(of) for p, of in manifest.counts(corpus, "label").items()},
        "blinded": int((table["label"] == "").sum()),
        "expected": expected,
        "speakers": {partition: int(speakers.get(partition, 0)) for partition in PARTITIONS},
        "table1": {
            key: {
                "found": round(value, TABLE1[key][1]) if np.isfinite(value) else None,
                "paper": paper.get(key),
            }
            for key, value in manifest.table1_row(corpus).items()
        },
        "sample_rates": _plain(decoded["sample_rate"].value_counts().sort_index()),
        "channels": _plain(decoded["channels"].value_counts().sort_index()),
        "chunks": _chunks(decoded, settings),
        "excluded": dict(corpus.excluded),
        "notes": list(corpus.notes),
        "errors": errors,
        "warnings": cautions,
    }


def _plain(counted: pd.Series) -> dict[str, int]:
    return {str(key): int(n) for key, n in counted.items()}


def _expected(corpus: Manifest) -> list[dict[str, Any]]:
    """The card's figures and the corpus's; classes of blinded files are not compared."""
    figures = []
    for entry in corpus.card.expected:
        rows = corpus.table
        if entry.partition != "all":
            rows = rows[rows["partition"] == entry.partition]
        counted = Counter(rows["label"])
        named = {} if counted[""] else entry.counts
        named = named if entry.files is None else {"files": entry.files} | named
        figures += [
            {
                **{"partition": entry.partition, "source": entry.source, "of": of, "expected": n},
                "counted": len(rows) if of == "files" else counted[of],
            }
            for of, n in named.items()
        ]
    return figures


def _chunks(decoded: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    """What becomes of the files at the chosen chunk length."""
    lengths = (decoded["duration_s"] * settings.sample_rate).round().astype(int)
    chunk, hop = settings.chunk_samples, settings.chunk_hop_samples
    starts = [audio.chunk_starts(n, chunk, hop, settings.tail) for n in lengths]
    short = decoded["path"][lengths < chunk].tolist()
    # Under "drop", what lies behind a file's last whole chunk is heard by nobody.
    cut = [n - (s[-1] + chunk) for n, s in zip(lengths, starts, strict=True) if len(s)]
    return {
        "length_s": settings.chunk_length_s,
        "hop_s": hop / settings.sample_rate,
        "tail": settings.tail,
        "picture": settings.picture,
        "trim": settings.trim,
        "chunks": sum(len(s) for s in starts),
        "shorter": len(short),
        "padded": short if settings.tail == "keep" else [],
        "dropped": short if settings.tail == "drop" else [],
        "unheard_s": round(sum(max(0, n) for n in cut) / settings.sample_rate, 3),
    }


def report(figures: Mapping[str, Any]) -> str:
    """Lay out `findings` for a terminal, without the errors."""
    files = figures["table1"]["files"]["found"]

    def text(counted: Mapping[str, int], unit: str) -> str:
        return ", ".join(f"{n:,} files {value} {unit}" for value, n in counted.items()) or "none"

    parts = [
        f"{figures['dataset']}: {files:,} files in {figures['folder']}\n"
        f"partition: {figures['partition_source']}",
        _counts_text(figures),
        _table1_text(figures["table1"]),
        f"sample rates: {text(figures['sample_rates'], 'Hz')}\n"
        f"channels: {text(figures['channels'], 'channel(s)')}",
        _chunks_text(figures["chunks"], files),
    ]
    if figures["excluded"]:
        reasons = ", ".join(f"{n:,} {why}" for why, n in figures["excluded"].items())
        parts.append(f"left out on purpose: {reasons}")
    parts += [f"note: {note}" for note in figures["notes"]]
    if figures["warnings"]:
        parts.append(sentences_text("warning", figures["warnings"]))
    return "\n\n".join(parts)


def sentences_text(word: str, kinds: Mapping[str, Sequence[str]]) -> str:
    """Lay out problems or warnings by kind, 20 of each in full."""
    return "\n".join(
        listing.list_text(f"{word}, {kind}: {len(sentences)}", sentences)
        for kind, sentences in kinds.items()
    )


def _counts_text(figures: Mapping[str, Any]) -> str:
    """Files of each class and partition, each with the expected number where there is one."""
    counts = pd.DataFrame(figures["counts"]).fillna(0).astype(int)
    counts.loc["files"] = counts.sum()
    counts["all"] = counts.sum(axis=1)
    texts = counts.map("{:,}".format)
    for entry in figures["expected"]:
        of, partition, n = entry["of"], entry["partition"], entry["expected"]
        if of in texts.index and partition in texts:
            texts.loc[of, partition] += " =" if entry["counted"] == n else f" ≠ {n:,}"
    speakers = figures["speakers"] | {"all": figures["table1"]["speakers"]["found"]}
    texts.loc["speakers"] = [
        f"{speakers.get(partition, 0):,}" if any(speakers.values()) else "unknown"
        for partition in texts
    ]
    legend = "(= as expected, ≠ n: n are expected)" if figures["expected"] else ""
    blinded = figures["blinded"]
    note = f"\n{blinded:,} labels are not given out" if blinded else ""
    return f"files per class {legend}\n{texts.to_string()}{note}"


def _table1_text(table1: Mapping[str, Mapping[str, float | None]]) -> str:
    rows = {}
    for key, (title, digits) in TABLE1.items():
        value, paper = table1[key]["found"], table1[key]["paper"]
        rows[title] = {
            "here": "unknown" if value is None else f"{value:,.{digits}f}",
            "paper": "" if paper is None else f"{paper:,.{digits}f}",
            "": "≠" if paper not in (None, value) else "",
        }
    table = pd.DataFrame(rows).T
    return f"Table 1\n{table.to_string(columns=None if table['paper'].any() else ['here'])}"


def _chunks_text(chunks: dict[str, Any], files: int) -> str:
    padded = chunks["picture"] == "chunk"  # else the sound alone fills the picture
    shorter = f"{chunks['shorter']:,} files are shorter than a chunk and"
    lines = [
        f"chunks of {chunks['length_s']:g} s every {chunks['hop_s']:g} s (tail: {chunks['tail']}): "
        f"{chunks['chunks']:,} chunks from {files:,} files",
        f"{shorter} {'padded with zeros' if padded else 'one picture each'}; none is dropped"
        if chunks["tail"] == "keep"
        else f"{shorter} DROPPED, and {chunks['unheard_s']:,.1f} s behind the last whole chunk of "
        "others; tail=keep keeps them",
    ]
    if chunks["trim"] == "on":
        lines.append("counted before trimming: silence at both ends is cut off first (trim: on)")
    return "\n".join(lines)
