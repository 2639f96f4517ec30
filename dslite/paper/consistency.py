"""What the paper says against itself: its tables and claims, checked without any run.

Printed numbers are rounded: a check asks whether there are exact values behind them with which it
would hold. Every check gives findings as dicts with the entries `COLUMNS`, one for everything that
it has looked at.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.paper import published
from dslite.paper.published import ASSUMED, CONFIGURATIONS, HYPERPARAMETERS, NAMES

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


HOLDS, FAILS, SETTING = "holds", "does not hold", "a setting, not a result"
# How the column `check` of claims.csv begins where it says at once how a claim is decided; all
# others have a finding of their own, with the claim's id.
COMPARED, A_SETTING, UNTESTABLE = "compared with Table", "a setting", "not testable here: "
# RAVDESS song can be had, and its 1,012 files hold six emotions: the table is right, not the text.
COUNTED = {"1/ravdess/classes"}
PREFIXES = {"kB": ("MB", 1e-3)}  # unit of a claim -> unit of the table, factor


# DenseNet121 without its top as Keras builds it: layers, parameters, channels that are batch
# normalised, and trainable parameters in the last N layers / in all but the first N, for every N
# of Table 2. From the shapes in Table 1 of Huang et al. 2017; a test counts them once more.
LAYERS, BACKBONE, NORMALISED = 427, 7_037_504, 41_824
LAST = {0: 0, 42: 934_464, 85: 1_719_168, 128: 2_889_408, 298: 5_755_840}
REST = {0: 6_953_856, 42: 6_675_520, 85: 6_302_464, 128: 5_792_704, 298: 2_889_664}
FEATURES, ARELU = 1024, 2  # width of the pooled features; alpha and beta
FLOAT = 4  # bytes
SLOTS = 2  # arrays that AdaDelta keeps beside every trained one: squared gradients and updates
# Bytes of the HDF5 file that are no numbers: those 610 arrays and 520 slots written by h5py with a
# group for every layer, as Keras does, less their numbers. Keras' description of the network
# (JSON, some 0.2 MB) is not in it.
STRUCTURE = 1_557_744
MULTIPLY_ADDS = 2_833_137_664  # of all convolutions, for an image of 224 x 224
TOLERANCE = 0.01  # of a size that is put together from its parts


def findings() -> pd.DataFrame:
    """Derive what can be derived from the published tables and claims alone.

    Returns
    -------
    DataFrame
        ``id`` (a claim's, where the finding decides one), ``place, printed, derived`` in words,
        ``holds`` (bool), ``explanation`` and ``keys``, joined by ";": the numbers of
        `dslite.paper.published.numbers` that cannot all be right, less those that a claim of the
        text bears out or that were counted (`COUNTED`). A mistake in a caption or in the text, a
        missing cell and another name for a quantity (FLOPs) make no number of a table doubtful.
    """
    one, two, five = (published.table(n) for n in (1, 2, 5))
    scores, claims = published.scores(), published.texts("claims")
    claimed = claims.set_index("id")["value"]
    rows = [
        *compared(claims, published.numbers()),
        *improvements(scores, claims),
        *augmentations(scores),
        *superiorities(scores, int(claimed["fusion-superior"])),
        *small_corpora(scores, one, claimed["small-corpora"].split()),
        *largest_gain(scores, claimed),
        *recalls(scores, claimed),
        *sums(claims),
        *totals(scores, one, claimed),
        *captions(claimed),
        *columns(two, claims),
        *layer_shares(two),
        *times(five, claims),
        *network_sizes(one, two, five),
        *durations(one),
        *chance_levels(scores, one),
        *insides(scores),
        *centres(scores),
        *repeats(scores),
        *selections(scores),
        *gaps(scores),
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    sure = COUNTED | confirmed(table, claims)
    doubted = [";".join(k for k in keys.split(";") if k not in sure) for keys in table["keys"]]
    return table.assign(keys=doubted)


def confirmed(findings: pd.DataFrame, claims: pd.DataFrame) -> set[str]:
    """Return keys of the numbers that a claim of the text agrees with."""
    about = claims.set_index("id")["key"]
    holding = findings.loc[findings["holds"], "id"]
    return set(about.reindex(holding).dropna()) - {""}


def claims_checked(findings: pd.DataFrame) -> pd.DataFrame:
    """Decide the claims of the text.

    Parameters
    ----------
    findings : DataFrame
        Of `findings`.

    Returns
    -------
    DataFrame
        ``claims.csv`` with what was ``derived`` and the ``outcome``: "holds",
        "does not hold", "not testable here: <why>" or, where the text merely says how something was
        done, "a setting, not a result".

    Raises
    ------
    InputError
        A claim that nothing decides.
    """
    claims = published.texts("claims")
    decided = findings.drop_duplicates("id").set_index("id")
    derived, outcomes = [], []
    for claim in claims.itertuples():
        if claim.id in decided.index:
            derived.append(decided.loc[claim.id, "derived"])
            outcomes.append(HOLDS if decided.loc[claim.id, "holds"] else FAILS)
        elif claim.check.startswith((A_SETTING, UNTESTABLE)):
            derived.append("")
            outcomes.append(SETTING if claim.check.startswith(A_SETTING) else claim.check)
        else:
            raise InputError(
                f"data/paper/claims.csv: no finding decides claim {claim.id!r}; write a check for "
                f"it in dslite/paper/consistency.py, or begin its check with {UNTESTABLE!r}"
            )
    return claims.assign(derived=derived, outcome=outcomes)


def finding(
    name: str, place: str, printed: str, derived: str, holds: Any, explanation: str, keys=()
) -> dict[str, Any]:
    """Return one finding; where it holds, it calls no numbers (``keys``) into question."""
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
        holds, total = meets(f"{row.minutes:.1f}", low, high), (low + high) / 2
        right = "Files times their mean length are the total, within rounding."
        wrong = (
            f"The printed total is {100 * (row.minutes / total - 1):+.1f} % off: it belongs to "
            f"{60 * row.minutes / row.mean_s:,.0f} files of that mean length, or the mean to other "
            "files."
        )
        place, printed = f"Table 1, {NAMES[row.dataset]}, duration", f"{row.minutes} min"
        derived = f"{row.files:,} files x {row.mean_s} s = {total:.1f} min"
        keys = [f"1/{row.dataset}/{column}" for column in ("files", "minutes", "mean_s")]
        name, text = f"duration-{row.dataset}", right if holds else wrong
        rows.append(finding(name, place, printed, derived, holds, text, keys))
    return rows


def chance_levels(scores: pd.DataFrame, counts: pd.DataFrame) -> list[dict]:
    """The chance level of every corpus is 100 over the classes of Table 1."""
    classes, rows = counts.set_index("dataset")["classes"], []
    for row in scores.drop_duplicates("dataset").itertuples():
        number, name = classes[row.dataset], f"chance-{row.dataset}"
        holds = meets(f"{row.chance:.1f}", 100 / number, 100 / number)
        place = f"Table {row.table}, caption, chance level of {NAMES[row.dataset]}"
        derived = f"100 / {number} classes = {100 / number:.1f} %"
        right = "Guessing has a UAR of one over the number of classes."
        wrong = f"A chance level of {row.chance} % is that of {100 / row.chance:.0f} classes."
        text = right if holds else wrong
        keys = [f"{row.table}/{row.dataset}/chance", f"1/{row.dataset}/classes"]
        rows.append(finding(name, place, f"{row.chance} %", derived, holds, text, keys))
    return rows


# Intervals of Tables 3 and 4


def insides(scores: pd.DataFrame) -> list[dict]:
    """Every test score lies inside its own interval."""
    text, rows = "A score has to lie inside its own confidence interval.", []
    for row in scores.itertuples():
        name = f"inside-{row.table}-{row.dataset}-{row.configuration}"
        derived, holds = f"{row.ci_low} to {row.ci_high} %", row.ci_low <= row.test <= row.ci_high
        keys = _keys(row, "test", "ci_low", "ci_high")
        rows.append(finding(name, _place(row), f"{row.test} %", derived, holds, text, keys))
    return rows


def centres(scores: pd.DataFrame) -> list[dict]:
    """Every interval has its score near the middle (`CENTRED`)."""
    rows = []
    for row in scores.itertuples():
        off, name = _off_centre(row), f"centre-{row.table}-{row.dataset}-{row.configuration}"
        holds, middle = abs(off) <= CENTRED, (row.ci_low + row.ci_high) / 2
        text = f"The middle lies {100 * abs(off):.0f} % of half the width from the score"
        text += "." if holds else "; a percentile bootstrap of this very score does not do that."
        printed = f"{row.test} % in {row.ci_low} to {row.ci_high} %"
        keys = _keys(row, "test", "ci_low", "ci_high")
        place, derived = _place(row), f"middle {middle:.2f} %"
        rows.append(finding(name, place, printed, derived, holds, text, keys))
    return rows


def repeats(scores: pd.DataFrame) -> list[dict]:
    """No interval is printed of two scores, unless it fits them both.

    Two scores that hardly differ may have the same interval when rounded. It is called a copy where
    it is not centred on one of its scores, and then it is in question there.
    """
    rows = []
    for (n, dataset), block in scores.groupby(["table", "dataset"], sort=False):
        name = f"repeats-{n}-{dataset}"
        repeated = block[block.duplicated(["ci_low", "ci_high"], keep=False)]
        if repeated.empty:
            place, number = f"Table {n}, {NAMES[dataset]}", f"{len(block)} intervals"
            text = "Every score has an interval of its own."
            rows.append(finding(name, place, number, number, True, text))
        for (low, high), same in repeated.groupby(["ci_low", "ci_high"]):
            foreign = [row for row in same.itertuples() if abs(_off_centre(row)) > CENTRED]
            copied = "It is not centred on " + " and ".join(f"{row.test} %" for row in foreign)
            text = "It is centred on all of them, so nothing shows that it is a copy."
            text = f"{copied}: a copy of the other's." if foreign else text
            place = "; ".join(map(_place, foreign or same.itertuples()))
            printed = f"{low} to {high} %, {len(same)} times"
            derived = f"scores {' and '.join(map(str, same['test']))} %"
            keys = [key for row in foreign for key in _keys(row, "ci_low", "ci_high")]
            full_name = f"{name}-{'-'.join(same['configuration'])}"
            rows.append(finding(full_name, place, printed, derived, not foreign, text, keys))
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
        text = "Devel and test prefer the same." if reached == highest else wrong
        place = f"Tables 3 and 4, {NAMES[dataset]}, best configuration"
        printed = f"best on test: {CONFIGURATIONS[best]}, {highest} %"
        derived = f"best on devel: {CONFIGURATIONS[chosen]}, {reached} % on test"
        name = f"selection-{dataset}"
        rows.append(finding(name, place, printed, derived, reached == highest, text))
    same, n = sum(row["holds"] for row in rows), len(rows)
    place, printed = "Section 3.3, choice on devel", f"{n} of {n} corpora"
    text = "Counts in how many corpora the best on devel is also what is quoted as best."
    last = finding("chosen-on-devel", place, printed, f"{same} of {n} corpora", same == n, text)
    return [*rows, last]


def improvements(scores: pd.DataFrame, claims: pd.DataFrame) -> list[dict]:
    """Quoted relative improvements follow from the test scores.

    Against the baseline where a corpus has one, else against no augmentation.
    """
    test, rows = wide(scores), []
    for claim in claims[claims["id"].str.startswith("improvement-")].itertuples():
        test_scores = test.loc[claim.id.removeprefix("improvement-")]
        best, base = (
            test_scores[NETWORKS].max(),
            test_scores["none"] if np.isnan(test_scores["svm"]) else test_scores["svm"],
        )
        low, high = (100 * ((best + s * 0.05) / (base - s * 0.05) - 1) for s in (-1, 1))
        derived = f"{best} / {base} = {100 * (best / base - 1):+.1f} %"
        text = f"With the rounding of both scores it can be {low:.1f} to {high:.1f} %."
        keys, holds = [claim.key], meets(claim.value, low, high)
        place, printed = f"Section {claim.section}, {test_scores.name.upper()}", f"+{claim.value} %"
        rows.append(finding(claim.id, place, printed, derived, holds, text, keys))
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
    text = f"Not above no augmentation: {'; '.join(below) or 'none'}."
    derived = [f"{held.sum()} of {n}, {how}" for held, how in
               ((best, "the best method of each"), (worst, "every method"))]  # fmt: skip
    return [
        finding("augmentation-best", place, f"all {n}", derived[0], best.all(), chance),
        finding("augmentation-every", place, f"all {n}", derived[1], worst.all(), text),
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
    derived = f"{beaten.sum()} of {m}, with every configuration"
    text = (
        "So on test, though the intervals of the baseline and of the best network overlap "
        f"in {overlapping.sum()} of {m}."
    )
    return [
        finding("fusion-superior", "Section 3.3, both methods against each", f"{fusions} of {n}",
                f"{len(fusion)} of {n}", len(fusion) == fusions,
                f"The fusion has the higher test score for {listed(fusion)}."),
        finding("outperforms", "Section 3.3, against the baseline", f"all {m}", derived,
                beaten.all(), text),
    ]  # fmt: skip


# Tables 2 and 5


def columns(settings: pd.DataFrame, claims: pd.DataFrame) -> list[dict]:
    """Every row of Table 2 prints one value for each corpus.

    Where it does not, the row is a claim ``row-<hyperparameter>`` as printed, and the table holds
    what was assumed. No key is in question: the values are right, and their status says the rest.
    """
    printed, rows = claims.set_index("id")["value"], []
    for name, cells in settings.groupby("hyperparameter", sort=False):
        incomplete = (cells["status"] == ASSUMED).any()
        row, n = f"row-{name}", len(cells)
        count = len(printed[row].split()) if row in printed else int(cells["value"].notna().sum())
        values = f"{count} values"
        text = "One value for each." if count == n else "Which cell is empty is not printed."
        holds = count == n and not incomplete
        place = f"Table 2, {HYPERPARAMETERS.get(name, name)}"
        rows.append(finding(row, place, values, f"{n} columns", holds, text))
    return rows


def layer_shares(settings: pd.DataFrame) -> list[dict]:
    """The numbers of fine-tuned layers are tenths of DenseNet121's, rounded down."""
    text = (
        "The number of layers was given as a share; whether of the frozen or of the trained ones, "
        "the table does not tell."
    )
    rows = []
    for row in settings[settings["hyperparameter"] == "fine_tuned_layers"].itertuples():
        tenths = [k for k in range(11) if LAYERS * k // 10 == row.value]
        nearest = tenths[0] if tenths else round(10 * row.value / LAYERS)
        place = f"Table 2, {NAMES[row.dataset]}, fine-tuned layers"
        derived = f"int({LAYERS} x {nearest / 10}) = {LAYERS * nearest // 10}"
        name, keys = f"layers-{row.dataset}", [f"2/{row.dataset}/fine_tuned_layers"]
        rows.append(finding(name, place, f"{row.value:.0f}", derived, tenths, text, keys))
    return rows


def times(table5: pd.DataFrame, claims: pd.DataFrame) -> list[dict]:
    """What the text says of Table 5's times, memory and sizes; claims' values as printed."""
    five, claimed = table5.set_index("quantity"), claims.set_index("id")["value"]
    ms, memory, size = (five.loc[key] for key in ("mean_time", "mean_memory", "model_size"))
    total, saved = ms["preprocessing"] + ms["tflite_phone"], ms["tf_model"] - ms["tflite_cpu"]
    sizes = (size["tf_model"], size["tflite_cpu"])
    factor = [(sizes[0] + s * 0.05) / (sizes[1] - s * 0.05) for s in (-1, 1)]
    both = f"{ms['preprocessing']} + {ms['tflite_phone']} = {total:.1f} ms"
    lag, quarter, chunk = (claimed[k] for k in ("abstract-latency", "quarter-second", "real-time"))
    cpu = "The preprocessing was timed on a CPU; for the phone none is printed."
    return [
        finding("abstract-latency", "Abstract, lag of the whole pipeline", f"{lag} ms", both,
                meets(lag, total - 0.1, total + 0.1),
                f"Table 5 has {ms['tflite_phone']} ms for the network alone. {cpu}"),
        finding("quarter-second", "Section 4, total time", f"{quarter} s", both,
                meets(quarter, total / 1000, total / 1000), cpu),
        finding("real-time", "Section 4, time-continuous analysis", f"a chunk of {chunk} s", both,
                total < 1000 * float(chunk), "A chunk is done with before the next has come."),
        finding("time-difference", "Section 3.4, gain in time", f"{claimed['time-difference']} ms",
                f"{ms['tf_model']} - {ms['tflite_cpu']} = {saved:.1f} ms",
                meets(claimed["time-difference"], saved - 0.1, saved + 0.1), "Both on the CPU."),
        finding("size-factor", "Section 3.4, gain in size", f"factor {claimed['size-factor']}",
                f"{sizes[0]} / {sizes[1]} = {sizes[0] / sizes[1]:.2f}",
                meets(claimed["size-factor"], *factor),
                "Of the files, not of the networks in them."),
        finding("more-memory", "Section 3.4, memory", "TF Lite takes more than TF",
                f"{memory['tflite_cpu']} against {memory['tf_model']} MB",
                memory["tflite_cpu"] > memory["tf_model"], "Both on the CPU."),
    ]  # fmt: skip


def head(units: float, classes: float) -> int:
    """Parameters of the head: pooled features, dense with AReLU, dense."""
    return int((FEATURES + 1) * units + ARELU + (units + 1) * classes)


def network_sizes(counts: pd.DataFrame, settings: pd.DataFrame, table5: pd.DataFrame) -> list[dict]:
    """Table 5's parameters, operations and sizes from DenseNet121 and the heads of Table 2."""
    wide = settings.pivot(index="dataset", columns="hyperparameter", values="value")
    classes = counts.set_index("dataset")["classes"].reindex(wide.index)
    heads = pd.Series(map(head, wide["units"], classes), index=wide.index)
    five = table5.set_index("quantity")["tf_model"]
    total = BACKBONE + heads
    fits = total[[meets(str(five["parameters"]), n / 1e6, n / 1e6) for n in total]].index
    able = fits if len(fits) else total.index  # a size has to be explained by some network
    either = ", ".join(f"{n / 1e6:.2f}" for n in sorted({round(n, -4) for n in total}))
    units = sorted({f"{wide.loc[dataset, 'units']:.0f}" for dataset in fits})
    flops, adds = 2 * MULTIPLY_ADDS / 1e9, MULTIPLY_ADDS / 1e9
    return [
        finding("parameters", "Table 5, parameters", f"{five['parameters']} M",
                f"{either} M, by corpus", len(fits),
                f"With a head of {' or '.join(units)} units: the network of {listed(fits)}.",
                ["5/parameters/tf_model", "5/parameters/tflite_cpu"]),
        # No key: the paper does not contradict itself, it names the quantity otherwise.
        finding("flops", "Table 5, FLOPs", f"{five['flops']} G",
                f"2 x {adds:.2f} G multiply-adds = {flops:.1f} G",
                meets(str(five["flops"]), flops, flops),
                f"The multiply-adds alone are {adds:.2f} G."),
        _hdf5(heads.loc[able], wide["fine_tuned_layers"].astype(int), five["model_size"]),
        _tflite(total.loc[able], table5.set_index("quantity").loc["model_size", "tflite_cpu"]),
    ]  # fmt: skip


def _hdf5(heads: pd.Series, layers: pd.Series, printed: float) -> dict:
    """The HDF5 file: all weights, two slots for each trained one, and HDF5's own bytes."""
    readings = {"last N trained": LAST, "first N frozen": REST}
    trained = {
        (corpus, how): counts.get(layers[corpus], 0) + heads[corpus]
        for how, counts in readings.items()
        for corpus in heads.index
    }
    numbers = pd.Series(
        {key: FLOAT * (BACKBONE + heads[key[0]] + SLOTS * n) / 1e6 for key, n in trained.items()}
    )
    off = ((numbers + STRUCTURE / 1e6) / printed - 1).abs()
    fits, nearest = off.index[off <= TOLERANCE], numbers[off.idxmin()]
    ways = {how: [corpus for corpus, reading in fits if reading == how] for how in readings}
    networks = "; ".join(f"{listed(corpora)} ({how})" for how, corpora in ways.items())
    text = (
        f"The file holds the optimiser's state too. Within 1 %: {networks}; so the size does not "
        f"decide how N is read. The numbers alone are {100 * (nearest / printed - 1):+.1f} % off."
    )
    derived = (
        f"{nearest:.1f} MB of weights and AdaDelta's slots + {STRUCTURE / 1e6:.1f} MB of HDF5 "
        f"structure = {nearest + STRUCTURE / 1e6:.1f} MB"
    )
    text = text if len(fits) else "Weights and the optimiser's slots do not explain it."
    place = "Table 5, size of the TF model"
    return finding("tf-size", place, f"{printed} MB", derived, len(fits), text)


def _tflite(total: pd.Series, printed: float) -> dict:
    """The TFLite file: float32, batch normalisation as scale and shift (two numbers, not four)."""
    sizes = FLOAT * (total - 2 * NORMALISED) / 1e6
    counted = (total.iloc[0] - 2 * NORMALISED) / 1e6
    derived = f"{FLOAT} bytes x {counted:.2f} M = {sizes.iloc[0]:.1f} MB"
    holds = ((sizes / printed - 1).abs() <= TOLERANCE).any()
    place = "Table 5, size of the TF Lite model"
    text = "Weights as float32, not quantised; the gain in size is the optimiser's state left out."
    return finding("tflite-size", place, f"{printed} MB", derived, holds, text)


# What the text says


def compared(claims: pd.DataFrame, numbers: pd.DataFrame) -> list[dict]:
    """What the text repeats from a table is the same there."""
    table = numbers.set_index("key")
    rows = []
    for claim in claims[claims["check"].str.startswith(COMPARED)].itertuples():
        number = table.loc[claim.key]
        unit, factor = PREFIXES.get(claim.unit, (claim.unit, 1))
        holds = abs(float(claim.value) * factor - number["value"]) < half(claim.value) * factor
        place = f"Section {claim.section} and Table {number['table']}"
        place += f", {NAMES[number['dataset']]}" if number["dataset"] else ""
        wrong = f"The text: {claim.statement}."
        same = "The text and the table agree."
        printed = f"{claim.value} {claim.unit}, text"
        derived = f"{number['value']:,g} {unit}, Table {number['table']}"
        explanation = same if holds else wrong
        rows.append(finding(claim.id, place, printed, derived, holds, explanation, [claim.key]))
    return rows


def small_corpora(scores: pd.DataFrame, counts: pd.DataFrame, named: list[str]) -> list[dict]:
    """Whether augmentation gains more on the corpora ``named`` as small than on the others.

    Medians, as one corpus (MPSSC) outweighs all others in a mean.
    """
    gain, files = gains(scores), counts.set_index("dataset")["files"]
    others = gain.drop(named)
    small, large = gain[named].median(), others.median()
    single = ", ".join(f"{NAMES[d]} {value:.1f}" for d, value in gain.sort_values().items())
    rank = gain.rank().corr(files[gain.index].rank())
    text = (
        f"Gains in percent: {single}. Means: {gain[named].mean():.1f} and {others.mean():.1f}; "
        f"rank correlation with the number of files {rank:+.2f}."
    )
    place, printed = "Section 3.3, small corpora", f"a larger gain for {listed(named)}"
    derived = f"median gain {small:.1f} % against {large:.1f} % for the others"
    return [finding("small-corpora", place, printed, derived, small > large, text)]


def largest_gain(scores: pd.DataFrame, claimed: pd.Series) -> list[dict]:
    """The corpus on which augmentation gains most is the one that the text names."""
    gain, named = gains(scores), claimed["largest-gain"]
    first, second = gain.nlargest(2).index
    place, printed = "Section 3.3, largest gain", NAMES[named]
    derived = f"{NAMES[first]}, {gain[first]:+.1f} %"
    following = f"Next is {NAMES[second]} with {gain[second]:+.1f} %."
    return [finding("largest-gain", place, printed, derived, first == named, following)]


def recalls(scores: pd.DataFrame, claimed: pd.Series) -> list[dict]:
    """Sensitivity and specificity of CSS give its best UAR, and CCS is confused less than CSS."""
    best = wide(scores)[NETWORKS].max(axis=1)
    sensitivity, specificity = float(claimed["css-sensitivity"]), float(claimed["css-specificity"])
    mean = (sensitivity + specificity) / 2
    key = f"3/css/{wide(scores)[NETWORKS].loc['css'].idxmax()}/test"
    lost = {corpus: 100 - best[corpus] for corpus in ("ccs", "css")}
    return [
        finding("css-sensitivity", "Section 3.5 and Table 3, CSS", f"{best['css']} %, Table 3",
                f"({sensitivity} + {specificity}) / 2 = {mean:.1f} %",
                meets(str(best["css"]), mean - 0.05, mean + 0.05),
                "The mean recall of two classes is that of sensitivity and specificity.", [key]),
        finding("css-specificity", "Section 3.5, CSS", "specificity above sensitivity",
                f"{specificity} - {sensitivity} = {specificity - sensitivity:+.1f}",
                specificity > sensitivity, "Only the order is checked, not what is much."),
        finding("ccs-confusion", "Section 3.5, CCS and CSS", "CCS confuses less",
                f"{lost['ccs']:.1f} % against {lost['css']:.1f} %", lost["ccs"] < lost["css"],
                "Of two classes the mean share of confused files is 100 % - UAR."),
    ]  # fmt: skip


def sums(claims: pd.DataFrame) -> list[dict]:
    """Women and men (``<dataset>-sexes``, "23+45") are the speakers that the text counts."""
    claimed, rows = claims.set_index("id")["value"], []
    for claim in claims[claims["id"].str.endswith("-sexes")].itertuples():
        dataset = claim.id.removesuffix("-sexes")
        total, added = int(claimed[f"{dataset}-speakers"]), sum(map(int, claim.value.split("+")))
        place, printed = f"Section {claim.section}, {NAMES[dataset]}", f"{total} speakers"
        derived, explanation = f"{claim.value} = {added}", "Women and men are all speakers."
        rows.append(finding(claim.id, place, printed, derived, total == added, explanation))
    return rows


def totals(scores: pd.DataFrame, counts: pd.DataFrame, claimed: pd.Series) -> list[dict]:
    """As many corpora and configurations as the text counts are in the tables."""
    corpora = {len(counts), scores["dataset"].nunique()}
    networks = set(scores[scores["configuration"] != "svm"].groupby("dataset").size())
    rows = []
    for name, count in (("corpora", corpora), ("configurations", networks)):
        derived = ", ".join(map(str, sorted(count)))
        place, holds = f"Section 3, number of {name}", count == {int(claimed[name])}
        rows.append(finding(name, place, claimed[name], derived, holds, "Counted in the tables."))
    return rows


def captions(claimed: pd.Series) -> list[dict]:
    """Captions against the method: Figure 2's axes, and the year of the challenge in Table 4."""
    longest = max(map(float, claimed["row-chunk_length_s"].split()))
    nyquist = 1000 * float(claimed["sample-rate"]) / 2
    year, text = claimed["snore-year-caption"], claimed["snore-year-text"]
    seconds, hertz = claimed["figure2-time"], claimed["figure2-frequency"]
    return [
        finding("figure2-time", "Figure 2, time axis", f"0 to {seconds} s",
                f"chunks of at most {longest} s (Table 2)", float(seconds) <= longest,
                "A network sees no more than a chunk."),
        finding("figure2-frequency", "Figure 2, frequency axis", f"0 to {hertz} Hz",
                f"0 to {nyquist:.0f} Hz, half the sample rate", float(hertz) == nyquist,
                "The Mel bands reach to half the sample rate of section 2.1."),
        finding("snore-year-caption", "Table 4, caption, year of the Snore sub-challenge", year,
                f"{text}, section 3.1.5", year == text, "The text says whose partition was used."),
    ]  # fmt: skip


def gaps(scores: pd.DataFrame) -> list[dict]:
    """Devel scores lie off their test scores: section 4 speaks of a gap."""
    devel = scores["devel"]
    outside = (devel < scores["ci_low"]) | (devel > scores["ci_high"])
    derived = f"{outside.sum()} of {len(scores)} outside the interval of their test score"
    place, printed = "Section 4, devel and test", "a gap"
    signs = f"Test is the higher one in {(scores['test'] > devel).sum()} of {len(scores)}."
    return [finding("devel-test-gap", place, printed, derived, outside.any(), signs)]
