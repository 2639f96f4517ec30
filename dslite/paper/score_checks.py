"""Tables 1, 3 and 4 checked against themselves and against what the text says of them.

Printed numbers are rounded: a check asks whether there are exact values behind them with which it
would hold. Every function gives findings as dicts with the entries `COLUMNS`, one for everything
that it has looked at; `dslite.paper.consistency` puts them together.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from dslite.paper.published import CONFIGURATIONS, NAMES

COLUMNS = ["id", "place", "printed", "derived", "holds", "explanation", "keys"]
SINGLE, FUSION = ["cutmix", "specaugment"], "cutmix+specaugment"
NETWORKS = ["none", *SINGLE, FUSION]
# Share of half the interval's width by which a score may lie off the middle. The mean of the
# bootstrap is the score, so only skewness moves the middle away from it: by
# skewness * (1.96^2 - 1) / 6 deviations (Cornish-Fisher), which is 0.24 * skewness of the half
# width. Even a recall of 10 % of 16 files has a skewness of 0.67, and a mean over classes has less;
# the percentiles of 1,000 draws and the rounding add about 0.05. Of the 36 intervals 33 lie below
# 0.08 and the other three above 0.33, so any bound between the two tells the same.
CENTRED = 0.25


def finding(
    name: str, place: str, printed: str, derived: str, holds: Any, explanation: str, keys=()
) -> dict[str, Any]:
    """One finding; where it holds, the keys of the numbers it would call into question go."""
    doubted = "" if holds else ";".join(keys)
    values = (name, place, printed, derived, bool(holds), explanation, doubted)
    return dict(zip(COLUMNS, values, strict=True))


def half(text: str) -> float:
    """Half a unit of a printed number's last decimal."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def meets(text: str, low: float, high: float) -> bool:
    """Whether an exact value in [low, high] can have been printed as ``text``."""
    rounding = 1e-9  # of binary fractions: 240.0 - 89.7 is not quite 150.3
    off = max(low - float(text), float(text) - high, 0)
    return off <= half(text) + rounding


def wide(scores: pd.DataFrame, column: str = "test") -> pd.DataFrame:
    """Scores with a row a corpus, in the printed order, and a column a configuration."""
    across = scores.pivot(index="dataset", columns="configuration", values=column)
    return across.reindex(index=scores["dataset"].unique(), columns=list(CONFIGURATIONS))


def gains(scores: pd.DataFrame) -> pd.Series:
    """Relative gain of every corpus's best augmentation over none, in percent of the test score."""
    test = wide(scores)
    return 100 * (test[[*SINGLE, FUSION]].max(axis=1) / test["none"] - 1)


def listed(corpora: Iterable[str]) -> str:
    """Corpora as the paper names them."""
    return ", ".join(NAMES[corpus] for corpus in corpora) or "none"


def _place(row: Any) -> str:
    return f"Table {row.table}, {NAMES[row.dataset]}, {CONFIGURATIONS[row.configuration]}"


def _keys(row: Any, *columns: str) -> list[str]:
    return [f"{row.table}/{row.dataset}/{row.configuration}/{column}" for column in columns]


def _off_centre(row: Any) -> float:
    """Distance of the interval's middle from the score, as a share of its half width."""
    middle, width = (row.ci_low + row.ci_high) / 2, (row.ci_high - row.ci_low) / 2
    return (middle - row.test) / width


# Table 1


def durations(counts: pd.DataFrame) -> list[dict]:
    """Files times the mean length are the total minutes, in every row of Table 1."""
    rows = []
    for row in counts.itertuples():
        low, high = (row.files * (row.mean_s + sign * 0.005) / 60 for sign in (-1, 1))
        holds = meets(f"{row.minutes:.1f}", low, high)
        fits, total = 60 * row.minutes / row.mean_s, (low + high) / 2
        wrong = (
            f"The printed total is {100 * (row.minutes / total - 1):+.1f} % off: it belongs to "
            f"{fits:,.0f} files of that mean length, or the mean to other files."
        )
        keys = [f"1/{row.dataset}/{column}" for column in ("files", "minutes", "mean_s")]
        rows.append(
            finding(
                f"duration-{row.dataset}",
                f"Table 1, {NAMES[row.dataset]}, duration",
                f"{row.minutes} min",
                f"{row.files:,} files x {row.mean_s} s = {total:.1f} min",
                holds,
                "Files times their mean length are the total, within rounding." if holds else wrong,
                keys,
            )
        )
    return rows


def chance_levels(scores: pd.DataFrame, counts: pd.DataFrame) -> list[dict]:
    """The chance level of every corpus is 100 over the classes of Table 1."""
    classes, rows = counts.set_index("dataset")["classes"], []
    for row in scores.drop_duplicates("dataset").itertuples():
        number = classes[row.dataset]
        holds = meets(f"{row.chance:.1f}", 100 / number, 100 / number)
        keys = [f"{row.table}/{row.dataset}/chance", f"1/{row.dataset}/classes"]
        wrong = f"A chance level of {row.chance} % is that of {100 / row.chance:.0f} classes."
        rows.append(
            finding(
                f"chance-{row.dataset}",
                f"Table {row.table}, caption, chance level of {NAMES[row.dataset]}",
                f"{row.chance} %",
                f"100 / {number} classes = {100 / number:.1f} %",
                holds,
                "Guessing has a UAR of one over the number of classes." if holds else wrong,
                keys,
            )
        )
    return rows


# Intervals of Tables 3 and 4


def insides(scores: pd.DataFrame) -> list[dict]:
    """Every test score lies inside its own interval."""
    return [
        finding(
            f"inside-{row.table}-{row.dataset}-{row.configuration}",
            _place(row),
            f"{row.test} %",
            f"{row.ci_low} to {row.ci_high} %",
            row.ci_low <= row.test <= row.ci_high,
            "A score has to lie inside its own confidence interval.",
            _keys(row, "test", "ci_low", "ci_high"),
        )
        for row in scores.itertuples()
    ]


def centres(scores: pd.DataFrame) -> list[dict]:
    """Every interval has its score near the middle (`CENTRED`)."""
    rows = []
    for row in scores.itertuples():
        off = _off_centre(row)
        said = f"The middle lies {100 * abs(off):.0f} % of half the width from the score"
        wrong = f"{said}; a percentile bootstrap of this very score does not do that."
        rows.append(
            finding(
                f"centre-{row.table}-{row.dataset}-{row.configuration}",
                _place(row),
                f"{row.test} % in {row.ci_low} to {row.ci_high} %",
                f"middle {(row.ci_low + row.ci_high) / 2:.2f} %",
                abs(off) <= CENTRED,
                f"{said}." if abs(off) <= CENTRED else wrong,
                _keys(row, "test", "ci_low", "ci_high"),
            )
        )
    return rows


def repeats(scores: pd.DataFrame) -> list[dict]:
    """No interval stands beside two scores, unless it fits them both.

    Two scores that hardly differ may have the same interval when rounded. It is called a copy where
    it is not centred on one of its scores, and then it is in question there.
    """
    rows = []
    for (n, dataset), own in scores.groupby(["table", "dataset"], sort=False):
        repeated = own[own.duplicated(["ci_low", "ci_high"], keep=False)]
        if repeated.empty:
            place, number = f"Table {n}, {NAMES[dataset]}", f"{len(own)} intervals"
            said = "Every score has an interval of its own."
            rows.append(finding(f"repeats-{n}-{dataset}", place, number, number, True, said))
        for (low, high), same in repeated.groupby(["ci_low", "ci_high"]):
            foreign = [row for row in same.itertuples() if abs(_off_centre(row)) > CENTRED]
            copied = "It is not centred on " + " and ".join(f"{row.test} %" for row in foreign)
            keys = [key for row in foreign for key in _keys(row, "ci_low", "ci_high")]
            rows.append(
                finding(
                    f"repeats-{n}-{dataset}-{'-'.join(same['configuration'])}",
                    "; ".join(map(_place, foreign or same.itertuples())),
                    f"{low} to {high} %, {len(same)} times",
                    f"scores {' and '.join(map(str, same['test']))} %",
                    not foreign,
                    f"{copied}: a copy of the other's."
                    if foreign
                    else "It is centred on all of them, so nothing shows that it is a copy.",
                    keys,
                )
            )
    return rows


# What the text says of the scores


def selections(scores: pd.DataFrame) -> list[dict]:
    """The configuration that is best on devel is the one that is best on test, and so quoted."""
    devel, test = (wide(scores, column)[NETWORKS] for column in ("devel", "test"))
    rows = []
    for dataset in test.index:
        chosen, best = devel.loc[dataset].idxmax(), test.loc[dataset].idxmax()
        reached, highest = test.loc[dataset, chosen], test.loc[dataset, best]
        wrong = (
            "Section 3.3 chooses on the development set, and yet it is the best score on test that "
            "is printed in bold and quoted; no number is wrong by that."
        )
        rows.append(
            finding(
                f"selection-{dataset}",
                f"Tables 3 and 4, {NAMES[dataset]}, best configuration",
                f"best on test: {CONFIGURATIONS[best]}, {highest} %",
                f"best on devel: {CONFIGURATIONS[chosen]}, {reached} % on test",
                reached == highest,
                "Devel and test prefer the same." if reached == highest else wrong,
            )
        )
    same = sum(row["holds"] for row in rows)
    place, printed = "Section 3.3, choice on devel", f"{len(rows)} of {len(rows)} corpora"
    derived = f"{same} of {len(rows)} corpora"
    said = "Counts in how many corpora the best on devel is also what is quoted as best."
    return [*rows, finding("chosen-on-devel", place, printed, derived, same == len(rows), said)]


def improvements(scores: pd.DataFrame, claims: pd.DataFrame) -> list[dict]:
    """Quoted relative improvements follow from the test scores.

    Against the baseline where a corpus has one, else against no augmentation.
    """
    test, rows = wide(scores), []
    for claim in claims[claims["id"].str.startswith("improvement-")].itertuples():
        own = test.loc[claim.id.removeprefix("improvement-")]
        best, base = own[NETWORKS].max(), own["none"] if np.isnan(own["svm"]) else own["svm"]
        low, high = (100 * ((best + s * 0.05) / (base - s * 0.05) - 1) for s in (-1, 1))
        derived = f"{best} / {base} = {100 * (best / base - 1):+.1f} %"
        said = f"With the rounding of both scores it can be {low:.1f} to {high:.1f} %."
        keys, holds = [claim.key], meets(claim.value, low, high)
        place, printed = f"Section {claim.section}, {own.name.upper()}", f"+{claim.value} %"
        rows.append(finding(claim.id, place, printed, derived, holds, said, keys))
    return rows


def augmentations(scores: pd.DataFrame) -> list[dict]:
    """Where augmentation helps: with the best method of a corpus, and with every method."""
    test = wide(scores)
    every, none = test[[*SINGLE, FUSION]], test["none"]
    best, worst = every.max(axis=1) > none, every.min(axis=1) > none
    below = [
        f"{NAMES[dataset]} with {CONFIGURATIONS[kind]} ({value} < {none[dataset]})"
        for dataset, row in every.iterrows()
        for kind, value in row.items()
        if value <= none[dataset]
    ]
    place, n = "Section 3.3, gain by augmentation", len(test)
    chance = "The best of three methods is compared with none, so chance alone favours it."
    said = f"Not above no augmentation: {'; '.join(below) or 'none'}."
    derived = [f"{held.sum()} of {n}, {how}" for held, how in
               ((best, "the best method of each"), (worst, "every method"))]  # fmt: skip
    return [
        finding("augmentation-best", place, f"all {n}", derived[0], best.all(), chance),
        finding("augmentation-every", place, f"all {n}", derived[1], worst.all(), said),
    ]


def superiorities(scores: pd.DataFrame, fusions: int) -> list[dict]:
    """Where both methods together beat each alone (``fusions`` is printed), and all the baseline.

    "Outperforms" is read as: every configuration has a higher test score than the baseline.
    """
    test = wide(scores)
    n, fusion = len(test), test.index[test[FUSION] > test[SINGLE].max(axis=1)]
    rivals = test[test["svm"].notna()]
    lowest, best = rivals[NETWORKS].min(axis=1), rivals[NETWORKS].idxmax(axis=1)
    low = pd.Series({d: wide(scores, "ci_low").loc[d, kind] for d, kind in best.items()})
    overlapping = low < wide(scores, "ci_high").loc[rivals.index, "svm"]
    beaten, m = lowest > rivals["svm"], len(rivals)
    return [
        finding(
            "fusion-superior",
            "Section 3.3, both methods against each",
            f"{fusions} of {n}",
            f"{len(fusion)} of {n}",
            len(fusion) == fusions,
            f"The fusion has the higher test score for {listed(fusion)}.",
        ),
        finding(
            "outperforms",
            "Section 3.3, against the baseline",
            f"all {m}",
            f"{beaten.sum()} of {m}, with every configuration",
            beaten.all(),
            "So on test, though the intervals of the baseline and of the best network overlap "
            f"in {overlapping.sum()} of {m}.",
        ),
    ]
