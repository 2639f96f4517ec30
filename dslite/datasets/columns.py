"""The columns of a user's table: which is the path, which the label, in whose words ever.

A column is taken by its own name, by a spelling of the field where only one column has any, or, for
paths and partitions, by what it holds. What looks like one of ours is never left out silently.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dslite.datasets.listing import is_audio_name
from dslite.datasets.partitions import EVALUATION, SPELLINGS
from dslite.errors import InputError
from dslite.settings import nearest

# Name of a column -> how tables of the field call it, without case, blanks and punctuation
SPELLED = {
    "path": "path file filename filepath fname wav wavpath wavfile wavfilename audio audiopath "
    "audiofile audiofilename clip clippath recording soundfile",
    "label": "label labels emotion emotionlabel class classname classlabel category target y "
    "affect sentiment diagnosis gold",
    "speaker": "speaker speakerid spk spkid subject subjectid participant participantid clientid "
    "patient patientid person personid actor actorid singer singerid talker user userid",
    "partition": "partition split set subset fold part",
    "start": "start onset begin starts startsec starttime begintime startms onsetms beginms",
    "end": "end offset stop ends endsec endtime stoptime endms offsetms stopms",
    "duration": "duration dur length durations durationsec durationms durms lengthms",
}
REQUIRED = ("path", "label")
TIMES = ("start", "end", "duration")
ROWS = 200  # whose cells are looked at
OPEN = ("", "NaT", "nan", "NaN")  # an end that is the file's, as audformat writes it


@dataclass(frozen=True)
class Columns:
    """The places of the columns of a table, and what to say of them."""

    places: Mapping[str, int]  # name of ours -> place in the header
    milliseconds: tuple[str, ...]  # those of `TIMES` that are in ms, by their names in the table
    notes: tuple[str, ...]  # which column is taken as what
    cautions: tuple[str, ...]  # which column looks like one of ours and is not used


def seconds(cells: pd.Series) -> pd.Series:
    """Return times as numbers: of these, ``00:01:02.5`` or ``0 days 00:01:02.5``; NaN of others.

    Examples
    --------
    >>> seconds(pd.Series(["1.5", "0,5", "00:01:02.5", "NaT"])).tolist()
    [1.5, 0.5, 62.5, nan]
    """
    cells = cells.str.replace(",", ".")
    numbers = pd.to_numeric(cells, errors="coerce")
    clock = cells.where(cells.str.contains(":"))  # a time without one is no number, but nanoseconds
    return numbers.fillna(pd.to_timedelta(clock, errors="coerce").dt.total_seconds())


def parse(text: str) -> dict[str, str]:
    """Parse ``label=emotion,speaker=spk``: our name -> the table's; an empty one is no column.

    Examples
    --------
    >>> parse("label=emotion,end=")
    {'label': 'emotion', 'end': ''}
    """
    chosen = {}
    for pair in filter(None, text.split(",")):
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not equals:
            raise InputError(f"columns '{pair}': expected for instance label=emotion,speaker=spk")
        chosen[name] = column
    return chosen


def resolve(
    table: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    chosen: Mapping[str, str],
    required: Sequence[str] = REQUIRED,
) -> Columns:
    """Return which column is what; ``chosen`` are those that the user named.

    InputError where a column that is needed is missing, or two may be meant.
    """
    spelled = [re.sub(r"[\W_]+", "", name.casefold()) for name in header]
    places, notes, cautions = _chosen(table, header, chosen), [], []
    for name in (name for name in SPELLED if name not in chosen):
        free = [i for i in range(len(header)) if i not in places.values()]
        exact = [i for i in free if header[i].strip().lower() == name]
        words = _words(name, spelled, places)
        like = [i for i in free if spelled[i] in words and i not in exact]
        if name in TIMES:
            like = [i for i in like if _are_times(_cells(rows, i))]
            exact = exact if words else []
        if name == "partition":
            foreign = [i for i in like if not any(_is_partition(cell) for cell in _cells(rows, i))]
            like = [i for i in like if i not in foreign]
            unused = [] if exact or like else foreign
            cautions += [_unlike(header[i], rows, i) for i in unused]
        by_content = _by_content(name, free, rows)
        like = like if exact or like else by_content
        if len(exact) > 1:
            raise InputError(f"{table}: there are two columns '{name}'; keep one")
        if exact:
            notes += [f"column '{header[i]}' is not used: '{name}' is" for i in like]
        elif len(like) > 1:
            names = " and ".join(f"'{header[i]}'" for i in like)
            raise InputError(
                f"{table}: {names} may both be the {name}; name one: --columns "
                f"{name}={header[like[0]]}, or columns: {{{name}: {header[like[0]]}}} in "
                f"{table.with_suffix('.yaml').name}"
            )
        elif like:
            notes.append(f"column '{header[like[0]]}' is taken as the {name}")
        if exact or like:
            places[name] = (exact or like)[0]
            unused = [header[i] for i in by_content if i not in (*exact, *like)]
            notes += [f"column '{one}' is not used: '{header[places[name]]}' is" for one in unused]
    _require(table, header, places, required)
    thousandths = [
        name for name in TIMES if name in places and spelled[places[name]].endswith("ms")
    ]
    return Columns(places, tuple(thousandths), tuple(notes), tuple(cautions))


def _words(name: str, spelled: Sequence[str], places: Mapping[str, int]) -> list[str]:
    """Spellings of a column in such a table; `offset` is an end, or a start with a duration."""
    words = SPELLED[name].split()
    starts, durations = (SPELLED[of].split() for of in ("start", "duration"))
    if name == "start" and not set(starts) & set(spelled) and set(durations) & set(spelled):
        return [*words, "offset"]
    if name == "duration" and ("start" not in places or "end" in places):
        return []  # of the file, or what start and end say already
    return words


def _chosen(table: Path, header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    """Places of the columns that the user named."""
    lower, places = [name.strip().lower() for name in header], {}
    for name, column in chosen.items():
        if name not in SPELLED:
            raise InputError(f"{table}: columns names no '{name}'{nearest(name, SPELLED)}")
        if not column:
            continue
        if column.lower() not in lower:
            raise InputError(
                f"{table}: no column '{column}' in its first row{nearest(column, header)}"
            )
        places[name] = lower.index(column.lower())
    return places


def _by_content(name: str, free: Sequence[int], rows: Sequence[Sequence[str]]) -> list[int]:
    """Columns whose cells are names of audio, or partitions (not one word throughout)."""
    test = {"path": is_audio_name, "partition": _is_partition}.get(name)
    like = [i for i in free if test and _holds(rows, i, test)]
    if name == "partition":
        like = [i for i in like if len({cell.lower() for cell in _cells(rows, i)}) > 1]
    return like


def _cells(rows: Sequence[Sequence[str]], place: int) -> list[str]:
    """The first cells of a column that are not empty."""
    return [row[place] for row in rows[:ROWS] if place < len(row) and row[place]]


def _holds(rows: Sequence[Sequence[str]], place: int, test: Callable[[str], bool]) -> bool:
    """Return whether all cells of a column that are not empty pass a test."""
    return all(map(test, cells := _cells(rows, place))) and bool(cells)


def _is_partition(cell: str) -> bool:
    return cell.lower() in SPELLINGS or cell.lower() in EVALUATION


def _are_times(cells: Sequence[str]) -> bool:
    """Return whether there are cells, and each is a time or open."""
    times = pd.Series([cell for cell in cells if cell not in OPEN], dtype="str")
    return bool(cells) and bool(seconds(times).notna().all())


def _unlike(column: str, rows: Sequence[Sequence[str]], place: int) -> str:
    """What to say of a column that is called like a partition and holds none."""
    cells = list(dict.fromkeys(_cells(rows, place)))
    shown = ", ".join(cells[:3]) + (", ..." if len(cells) > 3 else "")
    return (
        f"column '{column}' ({shown}) is not used: none of it is train, devel or test; write these "
        "words, or say that it is something else: --columns partition="
    )


def _require(
    table: Path, header: Sequence[str], places: Mapping[str, int], required: Sequence[str]
) -> None:
    """Refuse a table without a path or a label, or whose segments have no start."""
    for name in required:
        if name not in places:
            data = " (which looks like a row of data)" * any(map(is_audio_name, header))
            raise InputError(
                f"{table}: no column '{name}' in its first row{data}{nearest(name, header)} "
                "(needed are path and label; speaker, partition, start and end may be there); a "
                f"column of another name is named by --columns {name}=..., or in the card: columns"
            )
    if "end" in places and "start" not in places:
        raise InputError(
            f"{table}: a column '{header[places['end']]}', but none for the start of a segment; "
            "name it (--columns start=...), or say that there are no segments: --columns end="
        )
