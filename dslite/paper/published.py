"""What the paper prints: every number with its key, its verdict beside ours, its contradictions.

Transcribed in ``data/paper/``; nothing here is measured by this project. Keys:
``1/<dataset>/<column>``, ``2/<dataset>/<hyperparameter>``,
``3/<dataset>/<configuration>/<column>`` (4 alike), ``3/<dataset>/chance`` (captions, once a corpus)
and ``5/<quantity>/<column>``.
"""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import yaml

from dslite import paths
from dslite.errors import InputError
from dslite.evaluation.metrics import Interval
from dslite.training.runs import LABELS

NAMES = {  # corpora as the paper abbreviates them
    **{"ccs": "CCS", "css": "CSS", "demos": "DEMoS", "ess": "ESS", "iemocap": "IEMOCAP"},
    **{"mpssc": "MPSSC", "ravdess": "RAVDESS", "sleep": "SLEEP"},
}
UNITS = {
    **{"files": "files", "classes": "classes", "speakers": "speakers", "minutes": "min"},
    **dict.fromkeys(["mean_s", "std_s", "chunk_length_s"], "s"),
    **{"units": "units", "dropout": "", "learning_rate": "", "fine_tuned_layers": "layers"},
    **dict.fromkeys(["epochs_phase1", "epochs_phase2"], "epochs"),
    **dict.fromkeys(["devel", "test", "ci_low", "ci_high", "chance"], "%"),
}
# Cells of Table 5 that stand in a column only by our reading: the FLOPs are printed once for all
# columns, parameters and size once for both devices.
READ_INTO = {"5/flops/tf_model", "5/parameters/tflite_phone", "5/model_size/tflite_phone"}
SAME_FILE = READ_INTO - {"5/flops/tf_model"}  # of the phone, which are the CPU's once more
ASSUMED, PRINTED = "assumed", "published"
COLUMNS = ["key", "table", "dataset", "configuration", "column", "value", "low", "high", "unit"]
BACKBONE, PRESET = "densenet121", "paper"  # of the runs that count as the paper's

EQUAL = "equal as printed"  # a count or a size, which cannot vary
COMPATIBLE, OVERLAPPING, CONTRADICTED = TESTED = ("compatible", "overlapping", "contradicted")
ANOTHER = "another definition"
RESTRICTED = "not run: corpus restricted"
WEIGHTS = "not run: weights unavailable"
ITSELF = "paper contradicts itself"
HARDWARE = "not testable: other hardware"
NOT_RUN = "not run"
COMPUTED = "computed"  # a chance level, from the number of classes
SETTING = "a setting"  # chosen by the paper's authors and taken over: nothing to be reproduced
ORDER = (
    *(EQUAL, COMPATIBLE, OVERLAPPING, CONTRADICTED, ANOTHER, ITSELF),
    *(HARDWARE, WEIGHTS, RESTRICTED, NOT_RUN, COMPUTED, SETTING),
)
# Of a run that is not the paper's: the same rule in other words, as it can reproduce nothing
INSIDE_BOTH, INSIDE_OURS, APART = "inside both intervals", "inside our interval", "apart"


def table(n: int) -> pd.DataFrame:
    """Read published Table ``n`` (1 to 5), transcribed in ``data/paper/``; empty cells are NaN."""
    # "none" is a configuration; only an empty cell is missing.
    return pd.read_csv(paths.data("paper") / f"table{n}.csv", keep_default_na=False, na_values=[""])


def scores() -> pd.DataFrame:
    """Read Tables 3 and 4 as one, with a column ``table`` (3 or 4); every value in percent."""
    return pd.concat([table(n).assign(table=n) for n in (3, 4)], ignore_index=True)


def texts(name: str) -> pd.DataFrame:
    """Read ``claims`` or ``contradictions`` of ``data/paper/``: strings, see its README."""
    return pd.read_csv(paths.data("paper") / f"{name}.csv", dtype=str, keep_default_na=False)


def numbers() -> pd.DataFrame:
    """Read every number that Tables 1 to 5 print, one a row; an empty cell is none.

    Of Table 5 the quantity is the ``configuration``; the 95 % interval ``low`` to ``high`` stands
    at ``test`` only; ``status`` is ``assumed`` where it is not printed for which column.
    """
    scored, names = scores(), ["dataset", "configuration", "column"]
    chances = scored.drop_duplicates("dataset").melt(["table", "dataset"], ["chance"], "column")
    bounds = scored.assign(low=scored["ci_low"], high=scored["ci_high"]).drop(columns="chance")
    devices = table(5).rename(columns={"quantity": "configuration"})
    cells = pd.concat(
        [
            table(1).drop(columns="name").melt("dataset", var_name="column").assign(table=1),
            table(2).rename(columns={"hyperparameter": "column"}).assign(table=2),
            bounds.melt(["table", "dataset", "configuration", "low", "high"], var_name="column"),
            chances,
            devices.melt(["configuration", "unit"], var_name="column").assign(table=5),
        ]
    )
    cells = cells[cells["value"].notna()].reset_index(drop=True)
    cells[names] = cells[names].fillna("")
    keys = cells[["table", *names]].astype(str).itertuples(index=False)
    cells["key"] = ["/".join(filter(None, key)) for key in keys]
    cells[["low", "high"]] = cells[["low", "high"]].where(cells["column"] == "test")
    cells["unit"] = cells["unit"].fillna(cells["column"].map(UNITS))
    cells["status"] = cells["status"].fillna(PRINTED)
    cells["status"] = cells["status"].mask(cells["key"].isin(READ_INTO), ASSUMED)
    return cells[[*COLUMNS, "status"]]


# The verdict on a number


@cache
def words(kind: str) -> dict[str, str]:
    """Read the ``letter``, ``symbol``, ``kind``, ``meaning`` or ``sentence`` of every verdict."""
    text = resources.files("dslite.paper").joinpath("verdicts.yaml").read_text("utf-8")
    return {verdict: of.get(kind, verdict) for verdict, of in yaml.safe_load(text).items()}


def rule(
    published: float,
    published_interval: Interval | None,
    ours: float,
    ours_interval: Interval | None,
    decimals: int,
) -> str:
    """Judge a published number by ours, rounded to the ``decimals`` that are printed.

    `COMPATIBLE` if each number lies in the other's 95 % interval (bounds included), `OVERLAPPING`
    if only the intervals have something in common, else `CONTRADICTED`. Where no interval is
    published: `COMPATIBLE` if the number lies in ours. Without any it cannot vary: `EQUAL` or not.
    """
    ends = [published, ours, *(ours_interval or (ours, ours)), *(published_interval or ())]
    printed, reproduced, low, high, *theirs = (round(float(end), decimals) for end in ends)
    inside_ours = low <= printed <= high
    if not theirs:
        same = COMPATIBLE if ours_interval else EQUAL
        return same if inside_ours else CONTRADICTED
    bottom, top = theirs
    if max(low, bottom) > min(high, top):
        return CONTRADICTED
    return COMPATIBLE if inside_ours and bottom <= reproduced <= top else OVERLAPPING


def half_widths(theirs: Interval, ours: Interval) -> str:
    """Write by how much two scores can vary, without which being compatible says nothing.

    >>> half_widths((72.7, 84.5), (70.0, 84.0)), half_widths((np.nan, np.nan), (80.0, 84.0))
    ('± 6 / ± 7', 'none printed / ± 2')
    """
    spans = [(high - low) / 2 for low, high in (theirs, ours)]
    return " / ".join("none printed" if np.isnan(half) else f"± {half:.0f}" for half in spans)


def agreement(published: float, published_interval: Interval | None, *ours: Any) -> str:
    """Compare by `rule` a run with another backbone or preset, which can reproduce nothing.

    `INSIDE_BOTH` (`INSIDE_OURS` where no interval is published), `OVERLAPPING` or `APART`.
    """
    inside = INSIDE_OURS if published_interval is None else INSIDE_BOTH
    verdict = rule(published, published_interval, *ours)
    return {COMPATIBLE: inside, EQUAL: inside, CONTRADICTED: APART}.get(verdict, verdict)


def differences(backbone: str, preset: str, overrides: str, random_weights: bool) -> list[str]:
    """Say what of a run is not as in the paper; ``overrides``: what was changed, in words."""
    parts = [f"other backbone ({backbone})" if backbone != BACKBONE else ""]
    parts += [f"preset {preset or 'none'}" if preset != PRESET else "", overrides]
    return list(filter(None, [*parts, "random weights" if random_weights else ""]))


# What the paper says against itself: five rules are applied to every row of the tables; what was
# derived of a single place stands in data/paper/, in claims.csv where it holds (derived), else in
# contradictions.csv. Printed numbers are rounded: a rule asks whether exact values could hold.

FINDING = ["id", "place", "printed", "derived", "holds", "grade", "explanation", "keys"]
# Of a contradiction: printed numbers exclude each other; a sentence or caption says something else
# than a table; or it is one only if we assume what is not printed.
ARITHMETIC, WORDING, READING = GRADES = ("arithmetic", "wording", "our reading")
HOLDS, FAILS, NO_RESULT = "holds", "does not hold", "a setting, not a result"
# How the column `check` of claims.csv begins where it says at once how a claim is decided
COMPARED, A_SETTING, UNTESTABLE = "compared with Table", "a setting", "not testable here: "
# RAVDESS song can be had, and its 1,012 files hold six emotions: the table is right, not the text.
COUNTED = {"1/ravdess/classes"}
PREFIXES = {"kB": ("MB", 1e-3)}  # unit of a claim -> unit of the table, factor
# Share of half the interval's width by which a score may lie off the middle. The mean of the
# bootstrap is the score, so only skewness moves the middle away from it: by
# skewness * (1.96^2 - 1) / 6 deviations (Cornish-Fisher), 0.24 * skewness of the half width. Even a
# recall of 10 % of 16 files has a skewness of 0.67; draws and rounding add about 0.05. Of the 36
# intervals 33 lie below 0.08 and the other three above 0.33: any bound between tells the same.
CENTRED = 0.25


def findings() -> pd.DataFrame:
    """Derive what can be derived from the published tables and claims alone: `FINDING`.

    ``id`` is a claim's, where the finding decides one; ``keys``, joined by ";", are the numbers
    that cannot all be right, less those that a claim bears out or that were counted (`COUNTED`).
    """
    counts, results = table(1), scores()
    rules = [
        *_repetitions(texts("claims"), numbers()),
        *_durations(counts),
        *_chance_levels(results, counts),
        *_centres(results),
        _choice(results),
    ]
    decided = texts("contradictions").assign(holds=False, keys="")
    checks = pd.concat([pd.DataFrame(rules, columns=FINDING), decided], ignore_index=True)
    checks["grade"] = checks["grade"].where(~checks["holds"], "")
    claims = claims_checked(checks)
    sure = COUNTED | set(claims.loc[claims["outcome"] == HOLDS, "key"])
    keys = checks["keys"].mask(checks["holds"].astype(bool), "").str.split(";").explode()
    keys = keys.mask(keys.isin(sure)).groupby(level=0).agg(lambda of: ";".join(of.dropna()))
    return checks.assign(keys=keys)


def claims_checked(findings: pd.DataFrame) -> pd.DataFrame:
    """Decide the claims of the text by `findings`: what was ``derived``, and the ``outcome``."""
    claims, decided = texts("claims"), findings.drop_duplicates("id").set_index("id")
    derived, holds = (claims["id"].map(decided[column]) for column in ("derived", "holds"))
    check, outcome = claims["check"], holds.map({True: HOLDS, False: FAILS})
    outcome = outcome.fillna(check.where(check.str.startswith(UNTESTABLE)))
    outcome = outcome.mask(outcome.isna() & check.str.startswith(A_SETTING), NO_RESULT)
    outcome = outcome.mask(outcome.isna() & (claims["derived"] != ""), HOLDS)
    for claim in claims.loc[outcome.isna(), "id"]:
        raise InputError(
            f"data/paper/claims.csv: nothing decides claim {claim!r}; write what shows that "
            f"it holds under 'derived', else a row of contradictions.csv, or begin its check "
            f"with {UNTESTABLE!r}"
        )
    return claims.assign(derived=derived.fillna(claims["derived"]), outcome=outcome)


def counted(findings: pd.DataFrame) -> str:
    """Say in how many places the paper contradicts itself, by grade."""
    grades = findings.loc[~findings["holds"], "grade"].value_counts()
    parts = [f"{grades[grade]} by {grade}" for grade in GRADES if grade in grades]
    places = f"The paper contradicts itself in {grades.sum()} places"
    return f"{places}: {', '.join(parts)}."


def _meets(text: str, low: float, high: float) -> bool:
    """Whether an exact value in [low, high] can have been printed as ``text``."""
    rounding = 1e-9  # of binary fractions: 240.0 - 89.7 is not quite 150.3
    off = max(low - float(text), float(text) - high)
    return off <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + rounding


def _repetitions(claims: pd.DataFrame, numbers: pd.DataFrame) -> Iterator[tuple]:
    """What the text repeats from a table is the same there."""
    table = numbers.set_index("key")
    for claim in claims[claims["check"].str.startswith(COMPARED)].itertuples():
        number = table.loc[claim.key]
        unit, factor = PREFIXES.get(claim.unit, (claim.unit, 1))
        holds = _meets(claim.value, number["value"] / factor, number["value"] / factor)
        place = f"Section {claim.section} and Table {number['table']}"
        place += f", {NAMES[number['dataset']]}" if number["dataset"] else ""
        printed = f"{claim.value} {claim.unit}, text"
        derived = f"{number['value']:,g} {unit}, Table {number['table']}"
        text = "The text and the table agree." if holds else f"The text: {claim.statement}."
        yield claim.id, place, printed, derived, holds, WORDING, text, claim.key


def _durations(counts: pd.DataFrame) -> Iterator[tuple]:
    """Files times the mean length are the total minutes, in every row of Table 1."""
    for row in counts.itertuples():
        low, total, high = (row.files * (row.mean_s + off) / 60 for off in (-0.005, 0, 0.005))
        holds = _meets(f"{row.minutes:.1f}", low, high)
        text = "Files times their mean length are the total, within rounding."
        if not holds:
            text = f"The printed total is {100 * (row.minutes / total - 1):+.1f} % off: it belongs "
            text += f"to {60 * row.minutes / row.mean_s:,.0f} files of that mean length, or the "
            text += "mean to other files."
        place, printed = f"Table 1, {NAMES[row.dataset]}, duration", f"{row.minutes} min"
        derived = f"{row.files:,} files x {row.mean_s} s = {total:.1f} min"
        keys = ";".join(f"1/{row.dataset}/{column}" for column in ("files", "minutes", "mean_s"))
        yield f"duration-{row.dataset}", place, printed, derived, holds, ARITHMETIC, text, keys


def _chance_levels(scores: pd.DataFrame, counts: pd.DataFrame) -> Iterator[tuple]:
    """The chance level of every corpus is 100 over the classes of Table 1."""
    classes = counts.set_index("dataset")["classes"]
    for row in scores.drop_duplicates("dataset").itertuples():
        name, chance = f"chance-{row.dataset}", 100 / classes[row.dataset]
        holds = _meets(f"{row.chance:.1f}", chance, chance)
        place = f"Table {row.table}, caption, chance level of {NAMES[row.dataset]}"
        derived = f"100 / {classes[row.dataset]} classes = {chance:.1f} %"
        text = "Guessing has a UAR of one over the number of classes."
        if not holds:
            text = f"A chance level of {row.chance} % is that of {100 / row.chance:.0f} classes."
        keys = f"{row.table}/{row.dataset}/chance;1/{row.dataset}/classes"
        yield name, place, f"{row.chance} %", derived, holds, ARITHMETIC, text, keys


def _centres(scores: pd.DataFrame) -> Iterator[tuple]:
    """Every interval has its score near the middle (`CENTRED`), or else may be a copy."""
    bounds = ["dataset", "ci_low", "ci_high"]
    for row in scores.itertuples():
        middle, width = (row.ci_low + row.ci_high) / 2, (row.ci_high - row.ci_low) / 2
        off = abs(middle - row.test) / width
        text = f"The middle lies {100 * off:.0f} % of half the width from the score"
        if off > CENTRED:
            text += "; a percentile bootstrap of this very score does not do that"
            same = (scores[bounds] == [row.dataset, row.ci_low, row.ci_high]).all(axis=1)
            for other in scores[same].drop(row.Index).itertuples():
                text += f". It is a copy of {LABELS[other.configuration]}'s ({other.test} %)"
        place = f"Table {row.table}, {NAMES[row.dataset]}, {LABELS[row.configuration]}"
        printed = f"{row.test} % in {row.ci_low} to {row.ci_high} %"
        where = f"{row.table}/{row.dataset}/{row.configuration}"
        keys = ";".join(f"{where}/{column}" for column in ("test", "ci_low", "ci_high"))
        name, derived = f"centre-{where.replace('/', '-')}", f"middle {middle:.2f} %"
        yield name, place, printed, derived, off <= CENTRED, ARITHMETIC, f"{text}.", keys


def _choice(scores: pd.DataFrame) -> tuple:
    """The configuration that is best on devel is the one that is best on test, and so quoted."""
    networks, others = scores[scores["configuration"] != "svm"], []
    for dataset, block in networks.groupby("dataset", sort=False):
        chosen, best = (block.loc[block[column].idxmax()] for column in ("devel", "test"))
        if chosen["test"] < best["test"]:
            scored = f"{LABELS[chosen['configuration']]}: {chosen['test']} %"
            others.append(f"{NAMES[dataset]} ({scored} instead of {best['test']})")
    n = networks["dataset"].nunique()
    text = (
        "Section 3.3 chooses on the development set, yet the best score on test is printed in bold "
        f"and quoted. Best on devel is another one for {', '.join(others) or 'no corpus'}. "
        "No number is wrong by that."
    )
    counts = (f"{n} of {n} corpora", f"{n - len(others)} of {n} corpora")
    place = "Section 3.3, choice on devel"
    return "chosen-on-devel", place, *counts, not others, WORDING, text, ""
