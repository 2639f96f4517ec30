"""Everything a researcher wants to know of a corpus before training: findings, and their report."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from dslite import audio, paths
from dslite.datasets import checks, manifest
from dslite.datasets.listing import SHOWN, Manifest
from dslite.settings import PARTITIONS, Settings

# Table 1's columns -> heading and the decimals that are printed
TABLE1 = {
    "files": ("files", 0),
    "classes": ("classes", 0),
    "speakers": ("speakers", 0),
    "minutes": ("minutes in all", 1),
    "mean_s": ("mean s", 2),
    "std_s": ("deviation s", 4),
}
UNEXPECTED = "not the expected counts"


def findings(built: Manifest, settings: Settings) -> dict[str, Any]:
    """What there is to say of a corpus, as plain values that JSON holds.

    Parameters
    ----------
    built : Manifest
        Not yet held to anything.
    settings : Settings
        Its chunks are what ``chunks`` is about.

    Returns
    -------
    dict
        ``verdict`` (clean, warnings or errors), ``errors`` and ``warnings`` (kind -> sentences),
        ``counts`` (partition -> class -> files), ``expected`` (one entry a figure the card knows:
        partition, class or "files", expected, found, source), ``table1`` (figure -> found and
        paper's), ``speakers`` (files' speakers a partition), ``sample_rates`` and ``channels``
        (value -> files), ``chunks``, ``excluded``, ``notes``.
    """
    table = built.table
    decoded = table[table["audio_hash"] != ""]
    errors, warnings = checks.problems(built), checks.warnings(built)
    expected = _expected(built)
    wrong = [
        f"{e['of']} in {e['partition']}: {e['found']} files, expected {e['expected']} "
        f"({e['source']})"
        for e in expected
        if e["found"] != e["expected"]
    ]
    warnings |= {UNEXPECTED: wrong} if wrong else {}
    counts = manifest.counts(built, "label")
    return {
        "dataset": built.card.dataset,
        "folder": paths.shown(built.folder),
        "partition_source": built.partition_source,
        "verdict": "errors" if errors else "warnings" if warnings else "clean",
        "counts": {part: _plain(counts[part]) for part in counts.columns},
        "blinded": int((table["label"] == "").sum()),
        "expected": expected,
        "speakers": {
            part: len(set(table["speaker"][table["partition"] == part]) - {""})
            for part in PARTITIONS
        },
        "table1": _table1(built),
        "sample_rates": _plain(decoded["sample_rate"].value_counts().sort_index()),
        "channels": _plain(decoded["channels"].value_counts().sort_index()),
        "chunks": _chunks(decoded, settings),
        "excluded": dict(built.excluded),
        "notes": list(built.notes),
        "errors": errors,
        "warnings": warnings,
    }


def _plain(counted: pd.Series) -> dict[str, int]:
    return {str(key): int(n) for key, n in counted.items()}


def _expected(built: Manifest) -> list[dict[str, Any]]:
    """The card's figures beside the corpus's; classes of blinded files are not compared."""
    found = []
    for known in built.card.expected:
        rows = built.table
        if known.partition != "all":
            rows = rows[rows["partition"] == known.partition]
        here = {"partition": known.partition, "source": known.source}
        if known.files is not None:
            found.append({**here, "of": "files", "expected": known.files, "found": len(rows)})
        if (rows["label"] == "").any():
            continue
        labels = Counter(rows["label"])
        found += [
            {**here, "of": name, "expected": n, "found": labels[name]}
            for name, n in known.counts.items()
        ]
    return found


def _table1(built: Manifest) -> dict[str, dict[str, float | None]]:
    paper = built.card.table1.model_dump() if built.card.table1 else {}
    return {
        key: {
            "found": round(value, TABLE1[key][1]) if np.isfinite(value) else None,
            "paper": paper.get(key),
        }
        for key, value in manifest.table1_row(built).items()
    }


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
        "trim": settings.trim,
        "chunks": sum(len(s) for s in starts),
        "shorter": len(short),
        "padded": short if settings.tail == "keep" else [],
        "dropped": short if settings.tail == "drop" else [],
        "unheard_s": round(sum(max(0, n) for n in cut) / settings.sample_rate, 3),
    }


def text(found: dict[str, Any]) -> str:
    """The findings as a report for a terminal, without the errors."""
    parts = [
        f"{found['dataset']}: {found['table1']['files']['found']:,} files in {found['folder']}\n"
        f"partition: {found['partition_source']}",
        _counts_text(found),
        _table1_text(found["table1"]),
        _audio_text(found),
        _chunks_text(found["chunks"], found["table1"]["files"]["found"]),
    ]
    if found["excluded"]:
        left = ", ".join(f"{n:,} {why}" for why, n in found["excluded"].items())
        parts.append(f"left out on purpose: {left}")
    parts += [f"note: {note}" for note in found["notes"]]
    parts += [sentences("warning", found["warnings"])] if found["warnings"] else []
    return "\n\n".join(parts)


def sentences(word: str, kinds: dict[str, list[str]]) -> str:
    """Problems by kind, 20 of each in full."""
    lines = []
    for kind, said in kinds.items():
        lines.append(f"{word}, {kind}: {len(said)}")
        lines += [f"  - {sentence}" for sentence in said[:SHOWN]]
        if len(said) > SHOWN:
            lines.append(f"  ... and {len(said) - SHOWN} more")
    return "\n".join(lines)


def _mark(n: float, expected: float | None) -> str:
    if expected is None:
        return f"{n:,}"
    return f"{n:,} =" if n == expected else f"{n:,} ≠ {expected:,}"


def _counts_text(found: dict[str, Any]) -> str:
    """Files of each class and partition, each beside the expected number where one is known."""
    known = {(e["of"], e["partition"]): e["expected"] for e in found["expected"]}
    names = list(dict.fromkeys(name for part in found["counts"].values() for name in part))
    rows = {}
    for name in [*names, "files", "speakers"]:
        cells = {}
        for part, counted in found["counts"].items():
            n = {"files": sum(counted.values()), "speakers": found["speakers"].get(part, 0)}
            cells[part] = _mark(n.get(name, counted.get(name, 0)), known.get((name, part)))
        whole = {
            "files": sum(sum(counted.values()) for counted in found["counts"].values()),
            "speakers": found["table1"]["speakers"]["found"],
        }
        n = whole.get(name, sum(counted.get(name, 0) for counted in found["counts"].values()))
        rows[name] = cells | {"all": _mark(n, known.get((name, "all")))}
    if not any(found["speakers"].values()):
        rows["speakers"] = dict.fromkeys(rows["speakers"], "unknown")
    legend = "(= as expected, ≠ n: n are expected)" if known else ""
    blinded = f"\n{found['blinded']:,} labels are not given out" if found["blinded"] else ""
    return f"files per class {legend}\n{pd.DataFrame(rows).T.to_string()}{blinded}"


def _table1_text(table1: dict[str, dict[str, float | None]]) -> str:
    rows = {
        title: {
            "here": "unknown" if known["found"] is None else f"{known['found']:,.{digits}f}",
            "paper": "" if known["paper"] is None else f"{known['paper']:,.{digits}f}",
            "": "≠" if known["paper"] not in (None, known["found"]) else "",
        }
        for (title, digits), known in zip(
            TABLE1.values(), (table1[key] for key in TABLE1), strict=True
        )
    }
    table = pd.DataFrame(rows).T
    if not table["paper"].any():
        table = table[["here"]]
    return f"Table 1\n{table.to_string()}"


def _audio_text(found: dict[str, Any]) -> str:
    def told(counted: dict[str, int], unit: str) -> str:
        return ", ".join(f"{n:,} files {value} {unit}" for value, n in counted.items()) or "none"

    return (
        f"sample rates: {told(found['sample_rates'], 'Hz')}\n"
        f"channels: {told(found['channels'], 'channel(s)')}"
    )


def _chunks_text(chunks: dict[str, Any], files: int) -> str:
    lines = [
        f"chunks of {chunks['length_s']:g} s every {chunks['hop_s']:g} s (tail: {chunks['tail']}): "
        f"{chunks['chunks']:,} chunks from {files:,} files"
    ]
    n = chunks["shorter"]
    if chunks["tail"] == "keep":
        lines.append(f"{n:,} files are shorter than a chunk and padded with zeros; none is dropped")
    else:
        lines.append(
            f"{n:,} files are shorter than a chunk and DROPPED, and {chunks['unheard_s']:,.1f} s "
            "behind the last whole chunk of others; tail=keep keeps them"
        )
    if chunks["trim"] == "on":
        lines.append("counted before trimming: silence at both ends is cut off first (trim: on)")
    return "\n".join(lines)
