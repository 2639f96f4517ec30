"""Tested comparisons of a corpus's finished runs on the same test files, and sentences on them.

The paper compares scores by eye. Here each question is asked of the predictions, with the tests of
`dslite.evaluation.significance`: a mean over the seeds, intervals over files and over speakers, and
a p that is corrected for the number of comparisons of its question.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.paper import published
from dslite.paper.reproduction import TITLES
from dslite.studies.tables import to_markdown
from dslite.training.runs import BASELINES, LABELS, LIBROSA, SVM, all_runs, load

NONE = "none"
PARTITION = "test partition"  # the protocol of a run; that of a cross-validation: "5 folds"
FINE_TUNING = "Does the network beat a support vector machine on its frozen features?"
ACOUSTICS = "Does the network beat a support vector machine on acoustic statistics?"
AUGMENTATION = "Does augmentation help?"
PRESETS = "Do the tuned settings beat the printed ones?"
QUESTIONS = (FINE_TUNING, AUGMENTATION, PRESETS, ACOUSTICS)
WHERE = ["dataset", "protocol", "backbone", "preset"]
COLUMNS = [*WHERE, "configuration", "seed", "run", "file", "speaker", "label", "prediction"]


# Predictions and their comparisons


def predictions(dataset: str) -> pd.DataFrame:
    """Read the test predictions of every finished run and cross-validation of a corpus.

    Runs that start from random weights, or with settings of their own beside backbone and weights,
    answer other questions and are left out.

    Returns
    -------
    DataFrame
        Strings but for ``seed``: ``dataset, protocol, backbone, preset, configuration`` (a key of
        `dslite.training.runs.LABELS`), ``seed, run, file, speaker, label, prediction``; one row a
        file of a run. ``backbone`` and ``preset`` of acoustic statistics are empty: they have none.
    """
    runs = all_runs(True, dataset=dataset, metric="uar", random_weights=False, overridden=False)
    # Statistics of the audio have no preset: those that were run under several are the same.
    acoustic = (runs["configuration"] == LIBROSA) & (runs["fold"] == 0)
    runs = runs[~(acoustic & runs.duplicated(["configuration", "seed", "fold"]))]
    runs = runs.assign(folds=runs.groupby("run")["fold"].transform("max"))
    runs = runs.sort_values("folds", key=lambda folds: folds > 0, kind="stable")
    parts = [part for run in runs.to_dict("records") if len(part := _table(run))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _table(run: Mapping[str, Any]) -> pd.DataFrame:
    """The labelled test files of a run or fold; none where its corpus keeps them private."""
    try:
        table = load(run["folder"]).predictions
        if table is None:
            return pd.DataFrame(columns=COLUMNS)
        table = table[(table["partition"] == "test") & (table["label"] != "")]
    except (OSError, ValueError, KeyError) as error:
        file = paths.shown(Path(run["folder"]) / "predictions.csv")
        raise InputError(f"{file}: not readable ({error}); run it again") from None
    protocol = f"{run['folds']} folds" if run["folds"] else PARTITION
    shared = {key: run[key] for key in ("dataset", "backbone", "preset", "configuration")}
    if shared["configuration"] == LIBROSA:
        shared |= {"backbone": "", "preset": ""}
    table = table[["file", "speaker", "label", "prediction"]]
    return table.assign(**shared, protocol=protocol, seed=int(run["seed"]), run=run["run"])


def answers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Answer every question of `QUESTIONS` that these predictions can answer.

    Parameters
    ----------
    predictions : DataFrame
        Of `predictions`.

    Returns
    -------
    DataFrame
        ``question, protocol, dataset, backbone, preset, this, baseline`` (configurations, or
        presets), then the columns of `dslite.evaluation.significance.compared` from ``files`` on.
        A question that nothing answers has no row.
    """
    parts = []
    for protocol, same in predictions.groupby("protocol", sort=False):
        networks = same[~same["configuration"].isin(BASELINES)]
        asked = [
            (FINE_TUNING, _with_baseline(networks, same[same["configuration"] == SVM]), SVM),
            (AUGMENTATION, networks, NONE),
            (ACOUSTICS, _with_baseline(networks, same[same["configuration"] == LIBROSA]), LIBROSA),
        ]
        for question, rows, baseline in asked:
            parts.append(_compared(question, protocol, rows, "configuration", baseline, WHERE))
        by = [*WHERE[:3], "configuration"]
        parts.append(_compared(PRESETS, protocol, networks, "preset", "paper", by))
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=["question", "protocol", "dataset", "units"])
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(
        "question", key=lambda column: column.map(QUESTIONS.index), kind="stable", ignore_index=True
    )


def _with_baseline(networks: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Networks and, in each of their groups, the baseline, as often as there are seeds.

    A support vector machine on fixed features gives the same with every seed: compared with a
    network of three seeds, its one result counts three times.
    """
    parts = [networks]
    for key, group in networks.groupby(WHERE, sort=False):
        same = baselines
        for column, value in zip(WHERE, key, strict=True):
            same = same[same[column].isin([value, ""])]
        same = same[same["seed"] == same["seed"].min()].assign(**dict(zip(WHERE, key, strict=True)))
        parts += [same.assign(seed=seed) for seed in sorted(group["seed"].unique())]
    return pd.concat(parts, ignore_index=True)


def _compared(
    question: str, protocol: str, rows: pd.DataFrame, varied: str, baseline: str, by: list[str]
) -> pd.DataFrame:
    """One question's rows, of the groups that have the baseline and something to compare."""
    complete = rows.groupby(by, sort=False).filter(
        lambda group: (group[varied] == baseline).any() and group[varied].nunique() > 1
    )
    if complete.empty:
        return pd.DataFrame()
    table = significance.compared(complete, varied, baseline, by=by)
    if varied == "preset":
        table = table.rename(columns={"preset": "this"}).assign(preset="")
    else:
        table = table.rename(columns={varied: "this"}).assign(configuration="")
    first = ["question", "protocol", "dataset", "backbone", "preset", "configuration", "this"]
    table = table.assign(question=question, protocol=protocol)
    return table[[*first, *(c for c in table.columns if c not in first)]]


def means(predictions: pd.DataFrame) -> pd.DataFrame:
    """Compute every configuration's UAR in percent: mean and deviation over its seeds.

    Parameters
    ----------
    predictions : DataFrame
        Of `predictions`.

    Returns
    -------
    DataFrame
        `WHERE`, ``configuration, seeds, files, speakers, test, deviation`` (NaN of one seed).
    """
    rows = []
    for key, group in predictions.groupby([*WHERE, "configuration"], sort=False):
        right = group.assign(right=group["label"] == group["prediction"])
        recalls = right.groupby(["seed", "label"])["right"].mean()
        scores = 100 * recalls.groupby("seed").mean()
        rows.append(
            dict(zip([*WHERE, "configuration"], key, strict=True))
            | {"seeds": len(scores), "files": group["file"].nunique()}
            | {"speakers": group["speaker"].replace("", np.nan).nunique()}
            | {"test": scores.mean(), "deviation": scores.std(ddof=1) if len(scores) > 1 else None}
        )
    columns = [*WHERE, "configuration", "seeds", "files", "speakers", "test", "deviation"]
    return pd.DataFrame(rows, columns=columns).astype({"test": float, "deviation": float})


# Sentences and tables of texts

BEGIN = "<!-- results: begin; made by `make paper` from results/records, do not edit -->"
END = "<!-- results: end -->"
PRINTED = "paper: DenseNet121"
RESULTS = (3, 4, 5)  # tables of results; the others describe corpora and settings
AT_CHANCE = 10  # points of UAR above chance within which a network has learnt next to nothing


def count_verdicts(numbers: pd.DataFrame) -> str:
    """Say how many numbers of Tables 3 to 5 got which verdict."""
    judged = numbers[numbers["table"].isin(RESULTS)]
    counts = judged["verdict"].value_counts()
    words = published.words("sentence")
    parts = [f"{counts[v]} {words[v]}" for v in published.ORDER if v in counts]
    sentence = f"Of the {len(judged)} numbers in Tables 3 to 5: {', '.join(parts)}."
    computed = judged[(judged["verdict"] == published.REPRODUCED) & (judged["column"] == "chance")]
    if computed.empty:
        return sentence
    return (
        f"{sentence} Of the reproduced ones {len(computed)} are chance levels, which are computed."
    )


def signed(points: float) -> str:
    """Return points of UAR with their sign: ``+1.2``, ``−0.4``, ``0.0``."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def network(row: Mapping[str, Any]) -> str:
    """Return a network's backbone and preset: ``MobileNetV2, tuned``."""
    title = TITLES.get(row["backbone"], row["backbone"])
    return ", ".join(filter(None, [title, row.get("preset")]))


def _sides(row: Mapping[str, Any]) -> str:
    """What was compared: ``CutMix against none``."""
    if row["question"] == PRESETS:
        return f"{LABELS[row['configuration']]}: {row['this']} against {row['baseline']}"
    this, other = (LABELS.get(row[key], row[key]) for key in ("this", "baseline"))
    return f"{this} against {'none' if row['baseline'] == NONE else other}"


def answers_table(answers: pd.DataFrame) -> pd.DataFrame:
    """Write tested comparisons as a reader wants them.

    Parameters
    ----------
    answers : DataFrame
        Of `answers`.

    Returns
    -------
    DataFrame
        Texts: ``network``, ``on``, ``compared``, ``points`` of UAR, ``95 %`` over speakers (over
        files where speakers are unknown), ``p`` after Holm's correction, ``p over files`` (McNemar,
        as if files of one speaker were independent), ``verdict``, which follows the first p.
    """
    rows = []
    for row in answers.to_dict("records"):
        suffix = "" if np.isnan(row["low_speakers"]) else "_speakers"
        low, high = (signed(row[f"{end}{suffix}"]) for end in ("low", "high"))
        seeds = f", {row['seeds']} seeds" * (row["seeds"] > 1)
        few = f" (no p below {_least_p(row):.3g} on {row['units']} speakers)"
        rows.append(
            {
                "network": network(row),
                "on": f"{row['protocol']}{seeds}",
                "compared": _sides(row),
                "points": signed(row["difference"]),
                "95 %": f"{low} to {high}",
                "p": f"{row['p_holm']:.2g}",
                "p over files": f"{row['p_mcnemar_holm']:.1g}",
                "verdict": row["verdict"] + few * (not _decidable(row)),
            }
        )
    return pd.DataFrame(rows)


def _least_p(row: Mapping[str, Any]) -> float:
    """The smallest p that so many units can give: all of them on one side, by chance."""
    return 2.0 ** (1 - row["units"])


def _decidable(row: Mapping[str, Any]) -> bool:
    """Whether a comparison has enough units for any outcome but "not told apart"."""
    return row["verdict"] != significance.UNDECIDED or _least_p(row) < significance.ALPHA


def summarise(question: str, answers: pd.DataFrame) -> str:
    """Say of all comparisons of a question how many came out which way."""
    rows = answers[answers["question"] == question]
    better, worse = (
        (rows["verdict"] == side).sum() for side in (significance.BETTER, significance.WORSE)
    )
    undecided = len(rows) - better - worse
    few = sum(not _decidable(row) for row in rows.to_dict("records"))
    parts = [f"{better} better"] * bool(better) + [f"{worse} worse"] * bool(worse)
    too_few = f" ({few} of them on too few speakers to decide)" * bool(few)
    parts += [f"{undecided} not told apart{too_few}"] * bool(undecided)
    return f"Of {len(rows)} tested comparisons {', '.join(parts)}."


def deciding(answers: pd.DataFrame) -> pd.DataFrame:
    """Select of each question the comparisons on the most speakers, which can tell most."""
    most = answers.groupby(["dataset", "question"])["units"].transform("max")
    return answers[answers["units"] == most]


def learning(means: pd.DataFrame, chance: float) -> list[str]:
    """Say of each network and preset of a corpus whether it is above chance (in percent) at all."""
    networks = means[~means["configuration"].isin(BASELINES)]
    networks = networks[networks["protocol"] == PARTITION]
    sentences = []
    for (backbone, preset), rows in networks.groupby(["backbone", "preset"], sort=False):
        low, high = rows["test"].min(), rows["test"].max()
        span = f"{low:.1f} to {high:.1f} %" if len(rows) > 1 else f"{high:.1f} %"
        who = network({"backbone": backbone, "preset": preset})
        verdict = "learns next to nothing" if high < chance + AT_CHANCE else "learns"
        sentences.append(f"{who} {verdict}: test UAR {span} (chance {chance:.1f} %).")
    return sentences


def scores_table(means: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Lay out one corpus's test UAR: configurations as rows; the paper and networks as columns.

    Parameters
    ----------
    means : DataFrame
        Of `means`, one corpus.
    published : DataFrame
        Its rows of Table 3 or 4.

    Returns
    -------
    DataFrame
        Texts, ``mean ± deviation`` over the seeds; ``–`` where there is none.
    """
    networks = means.loc[means["backbone"] != "", ["backbone", "preset", "protocol"]]
    networks = networks.drop_duplicates().to_dict("records")
    printed = published.set_index("configuration")["test"].map("{:.1f}".format)
    rows = []
    for configuration, label in LABELS.items():
        row = {"test UAR in %": label, PRINTED: printed.get(configuration, "–")}
        same = means[means["configuration"] == configuration]
        for key in networks:
            fits = same[same["protocol"] == key["protocol"]]
            for column in ("backbone", "preset"):  # acoustic statistics fit: they have neither
                fits = fits[fits[column].isin([key[column], ""])]
            protocol = "" if key["protocol"] == PARTITION else key["protocol"]
            column = ", ".join(filter(None, [network(key), protocol]))
            row[column] = _mean(fits.iloc[0]) if len(fits) else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(row: Mapping[str, float]) -> str:
    spread = "" if np.isnan(row["deviation"]) else f" ± {row['deviation']:.1f}"
    return f"{row['test']:.1f}{spread}"


def cost(runs: pd.DataFrame) -> str:
    """Say what the runs took, from ``seconds`` of `dslite.training.runs.all_runs`."""
    minutes = runs["seconds"].sum() / 60
    took = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.1f} minutes"
    machines = ", ".join(sorted(set(filter(None, runs["hardware"]))))
    return f"{len(runs)} runs took {took}, added up, on {machines}."


def section(lead: Sequence[str], parts: Mapping[str, pd.DataFrame]) -> str:
    """Write the README's results: markers around sentences, and tables under bold titles."""
    lines = [BEGIN, *lead]
    for title, table in parts.items():
        lines += ["", f"**{title}**", "", to_markdown(table)]
    return "\n".join([*lines, END])


def inserted(text: str, results: str, name: str = "README.md") -> str:
    """Replace the part of a text between its markers.

    Raises
    ------
    InputError
        The markers are not there, or not once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise InputError(f"{name}: expected once '{BEGIN}' and, below it, '{END}'")
    before, rest = text.split(BEGIN)
    return before + results + rest.split(END)[1]
