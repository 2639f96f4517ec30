"""Tested comparisons of a corpus's finished runs on the same test files, and sentences on them.

The paper compares scores by eye. Here each question is asked of the predictions, with the tests of
`dslite.evaluation.significance`: of a mean over the seeds, on these files and for new speakers,
each with a p that is corrected for the number of comparisons of its question and network.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dslite import cards
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.evaluation.significance import BETTER, TOO_FEW, UNITS, WORSE
from dslite.paper.published import NAMES
from dslite.paper.reproduction import TITLES
from dslite.training.runs import BASELINES, LABELS, LIBROSA, SVM, all_runs, load

NONE = "none"
PARTITION = "test partition"  # the protocol of a run; that of a cross-validation: "5 folds"
FINE_TUNING = "Does the network beat a support vector machine on its frozen features?"
ACOUSTICS = "Does the network beat a support vector machine on acoustic statistics?"
AUGMENTATION = "Does augmentation help?"
PRESETS = "Does our recipe (tuned) beat the paper's method as printed (paper)?"
RATE = "Does the paper's method gain by a rate that learns (repaired against paper)?"
RECIPE = "Does our recipe beat the paper's method with that rate (tuned against repaired)?"
READINGS = "Do the readings of the authors' code gain (authors against paper)?"
BASELINE = {AUGMENTATION: NONE, FINE_TUNING: SVM, ACOUSTICS: LIBROSA}
BETWEEN = {  # a question between presets -> this, baseline
    **{PRESETS: ("tuned", "paper"), RATE: ("repaired", "paper")},
    **{RECIPE: ("tuned", "repaired"), READINGS: ("authors", "paper")},
}
QUESTIONS = (*BETWEEN, *BASELINE)
CLEAN = "clean speakers"  # of folds: those on whom no preset was chosen
WHERE = ["dataset", "protocol", "backbone", "preset"]
COLUMNS = [*WHERE, "configuration", "seed", "run", "file", "speaker", "label", "prediction"]


# Predictions and their comparisons


def predictions(dataset: str) -> pd.DataFrame:
    """Read the test predictions of every finished run and cross-validation of a corpus: `COLUMNS`.

    Runs from random weights or with settings of their own answer other questions: left out. Where
    a preset was chosen on some of the speakers that folds test, the others' files follow as a
    protocol of their own (`CLEAN`).
    """
    runs = all_runs(True, dataset=dataset, metric="uar", random_weights=False, overridden=False)
    folds = runs.groupby("run")["fold"].transform("max")
    protocols = folds.map("{} folds".format).where(folds > 0, PARTITION)
    runs = runs.assign(protocol=protocols, folds=folds > 0).sort_values("folds", kind="stable")
    # Statistics of the audio have no preset: those that were run under several are the same.
    runs.loc[runs["configuration"] == LIBROSA, ["backbone", "preset"]] = ""
    runs = runs.drop_duplicates([*WHERE, "configuration", "seed", "fold"])
    parts = [pd.DataFrame(columns=COLUMNS)]
    for run in runs.to_dict("records"):
        table = load(run["folder"]).predictions
        if table is not None:  # None where its corpus keeps them private
            table = table[(table["partition"] == "test") & (table["label"] != "")]
            shared = {key: run[key] for key in (*WHERE, "configuration", "seed", "run")}
            parts.append(table.assign(**shared)[COLUMNS])
    table = pd.concat(parts[1:] or parts, ignore_index=True)
    card = cards.load(dataset) if dataset in cards.names() else None
    used = [name for of in card.chosen_on for name in card.speakers_of_choice(of)] if card else []
    clean = table[(table["protocol"] != PARTITION) & ~table["speaker"].isin(["", *used])]
    clean = clean.assign(protocol=clean["protocol"] + f", {CLEAN}")
    return pd.concat([table, clean], ignore_index=True) if used and len(clean) else table


def answers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Answer every question of `QUESTIONS` that these predictions can answer.

    One row a comparison, see `dslite.evaluation.significance.compared`; ``this`` and ``baseline``
    are configurations, or presets.
    """
    parts = [pd.DataFrame(columns=["question", "protocol", "dataset"])]
    for _, same in predictions.groupby("protocol", sort=False):
        networks = same[~same["configuration"].isin(BASELINES)]
        for question, baseline in BASELINE.items():
            of_kind = same[same["configuration"] == baseline]
            rows = _with_baseline(networks, of_kind) if baseline in BASELINES else networks
            parts.append(_compared(question, rows, "configuration", baseline, WHERE))
        by = [*WHERE[:3], "configuration"]
        for question, presets in BETWEEN.items():
            pair = networks[networks["preset"].isin(presets)]
            parts.append(_compared(question, pair, "preset", presets[1], by))
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return table.sort_values(
        "question", key=lambda column: column.map(QUESTIONS.index), kind="stable", ignore_index=True
    )


def _with_baseline(networks: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Networks and, in each of their groups, the baseline, as often as there are seeds."""
    # On fixed features every seed gives the same: beside three seeds it counts three times.
    parts = [networks]
    for key, group in networks.groupby(WHERE, sort=False):
        where = dict(zip(WHERE, key, strict=True))
        same = baselines[
            baselines[WHERE].isin({c: [of, ""] for c, of in where.items()}).all(axis=1)
        ]
        same = same[same["seed"] == same["seed"].min()].assign(**where)
        parts += [same.assign(seed=seed) for seed in sorted(group["seed"].unique())]
    return pd.concat(parts, ignore_index=True)


def _compared(
    question: str, rows: pd.DataFrame, varied: str, baseline: str, by: list[str]
) -> pd.DataFrame:
    """One question's rows, of the groups that have the baseline and something to compare."""
    complete = rows.groupby(by, sort=False).filter(
        lambda group: (group[varied] == baseline).any() and group[varied].nunique() > 1
    )
    if complete.empty:
        return pd.DataFrame()
    family = [key for key in by if key != "configuration"]  # of one network
    table = significance.compared(complete, varied, baseline, by, family)
    table = table.rename(columns={varied: "this"}).assign(**{varied: ""}, question=question)
    first = ["question", "protocol", "dataset", "backbone", "preset", "configuration", "this"]
    return table[[*first, *(c for c in table.columns if c not in first)]]


# Sentences and tables of texts

READING = (
    "Of a comparison's two answers take the one for new speakers if it shall hold for others, and "
    "the one on these files to know whether the difference there is more than chance. "
    "Points are of UAR; p is corrected for the number of comparisons of its question and network. "
    "Too few: so few speakers that no outcome could be significant; each one's points stand "
    "instead of an interval."
)
BEGIN = "<!-- results: begin; made by `make paper` from results/records, do not edit -->"
END = "<!-- results: end -->"
ANSWERS = {"": "on these files", "_speakers": "for new speakers"}  # by their columns' ending


def signed(points: float) -> str:
    """Return points of UAR with their sign: ``+1.2``, ``−0.4``, ``0.0``."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def network(row: Mapping[str, Any]) -> str:
    """Return a network's backbone and preset: ``MobileNetV2, tuned``."""
    title = TITLES.get(row["backbone"], row["backbone"])
    return ", ".join(filter(None, [title, row.get("preset")]))


def answers_table(answers: pd.DataFrame) -> pd.DataFrame:
    """Write `answers` as texts; of too few speakers for an interval, each one's points."""
    rows = []
    for row in answers.to_dict("records"):
        configuration = row["configuration"] if row["question"] in BETWEEN else row["this"]
        line = {
            "network": network(row),
            "on": row["protocol"] + f", {row['seeds']} seeds" * (row["seeds"] > 1),
            "configuration": LABELS[configuration],
            "points": signed(row["difference"]),
        }
        each = [signed(float(of)) for of in str(row["by_speaker"]).split(";") if of]
        for end, unit in UNITS.items():
            ends = [row[f"{side}{end}"] for side in ("low", "high")]
            span = " / ".join(each) if np.isnan(ends).any() else " to ".join(map(signed, ends))
            verdict = row[f"verdict{end}"]
            if verdict == TOO_FEW:
                n = row[f"{unit}_better"] + row[f"{unit}_worse"]
                which = row[unit] if n == row[unit] else f"{n} of {row[unit]} differ"
                verdict = f"too few ({which})"
            line[f"95 % ({unit})"] = span or "–"
            line[f"p ({unit})"] = f"{row[f'p_holm{end}']:.2g}".replace("nan", "–")
            line[ANSWERS[end]] = verdict
        gain = f"{row['speakers_better']} of {row['speakers']}" if row["speakers"] else "–"
        rows.append(line | {"speakers that gain": gain})
    return pd.DataFrame(rows)


def summarise(question: str, answers: pd.DataFrame) -> str:
    """Say of all comparisons of a question how many came out which way, corpus by corpus."""
    sentences = []
    for dataset, rows in answers[answers["question"] == question].groupby("dataset", sort=False):
        parts = []
        for end, title in ANSWERS.items():
            outcomes = []
            for verdict, same in rows.groupby(f"verdict{end}"):
                text, points = f"{len(same)} {verdict}", same[f"difference{end}"]
                if verdict in (BETTER, WORSE):
                    span = dict.fromkeys(map(signed, [points.min(), points.max()]))
                    text += f" ({' to '.join(span)} points)"
                elif verdict == TOO_FEW and end:
                    n = " or ".join(map(str, sorted(same["speakers"].unique())))
                    gain, lose = (
                        (same[f"speakers_{side}"] == same["speakers"]).sum()
                        for side in (BETTER, WORSE)
                    )
                    text += f" ({n} speakers; all gain in {gain}, all lose in {lose})"
                outcomes.append(text)
            parts.append(f"{title} {', '.join(outcomes)}")
        plural = "" if len(rows) == 1 else "s"
        where = f"On {NAMES.get(dataset, dataset)}, of {len(rows)} comparison{plural}"
        sentences.append(f"{where} {'; '.join(parts)}.")
    return " ".join(sentences)


def inserted(text: str, results: str, name: str = "README.md") -> str:
    """Replace the part of a text between its markers; InputError if they are not there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise InputError(f"{name}: expected once '{BEGIN}' and, below it, '{END}'")
    before, rest = text.split(BEGIN)
    return before + results + rest.split(END)[1]
