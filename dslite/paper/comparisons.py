"""Tested answers from a corpus's finished runs: what beats what, on the same test files.

The paper compares scores by eye. Here each question is asked of the predictions, with the tests of
`dslite.evaluation.significance`: a mean over the seeds, intervals over files and over speakers, and a p that is
corrected for the number of comparisons of its question.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths
from dslite.errors import InputError
from dslite.evaluation import significance
from dslite.paper import verdicts
from dslite.studies.runs import GATHERED
from dslite.studies.tables import to_markdown
from dslite.training import runs as training_runs
from dslite.training.runs import BASELINES, LABELS

NONE, SVM, LIBROSA = "none", "svm", "librosa"
PARTITION = "test partition"  # the protocol of a run; that of a cross-validation: "5 folds"
FINE_TUNING = "Does the network beat a support vector machine on its frozen features?"
ACOUSTICS = "Does the network beat a support vector machine on acoustic statistics?"
AUGMENTATION = "Does augmentation help?"
PRESETS = "Do the tuned settings beat the printed ones?"
QUESTIONS = (FINE_TUNING, AUGMENTATION, PRESETS, ACOUSTICS)
WHERE = ["dataset", "protocol", "backbone", "preset"]
COLUMNS = [*WHERE, "configuration", "seed", "run", "file", "speaker", "label", "prediction"]


def predictions(dataset: str) -> pd.DataFrame:
    """Test predictions of every finished run and cross-validation of a corpus.

    Runs that start from random weights, or with settings of their own beside backbone and weights,
    answer other questions and are left out.

    Returns
    -------
    DataFrame
        Strings but for ``seed``: ``dataset, protocol, backbone, preset, configuration`` (a key of
        `dslite.training.runs.LABELS`), ``seed, run, file, speaker, label, prediction``; one row a file of
        a run. ``backbone`` and ``preset`` of acoustic statistics are empty: they have none.
    """
    chosen = {"dataset": dataset, "metric": "uar", "random_weights": False, "overridden": False}
    found = training_runs.all_runs(**chosen)
    # Statistics of the audio have no preset: those that were run under several are the same.
    acoustic = found["configuration"] == LIBROSA
    found = found[~(acoustic & found.duplicated(["configuration", "seed"]))]
    parts = [
        _table(Path(run.folder) / "predictions.csv", run._asdict(), PARTITION)
        for run in found.itertuples()
    ]
    parts += [_folds(place) for place in _cross_validations(dataset)]
    parts = [part for part in parts if part is not None and len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _table(file: Path, run: dict[str, Any], protocol: str) -> pd.DataFrame | None:
    """The labelled test files of one run; None where its corpus keeps them private."""
    if not file.is_file():
        return None
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table = table[(table["partition"] == "test") & (table["label"] != "")]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{paths.shown(file)}: not readable ({error}); run it again") from None
    shared = {key: run[key] for key in ("dataset", "backbone", "preset", "configuration")}
    if shared["configuration"] == LIBROSA:
        shared |= {"backbone": "", "preset": ""}
    table = table[["file", "speaker", "label", "prediction"]]
    return table.assign(**shared, protocol=protocol, seed=int(run["seed"]), run=run["run"])


def _cross_validations(dataset: str) -> Iterable[Path]:
    """Folders of finished cross-validations, the user's own instead of the record of the same."""
    found = {}
    for root in (paths.records(), paths.results()):
        found |= {file.parent.name: file.parent for file in root.glob(f"{dataset}/*/{GATHERED}")}
    return [found[name] for name in sorted(found)]


def _folds(place: Path) -> pd.DataFrame | None:
    gathered = json.loads((place / GATHERED).read_text(encoding="utf-8"))
    record = json.loads((place / "fold1" / "run.json").read_text(encoding="utf-8"))
    kind = gathered["kind"]
    shared = {key: gathered[key] for key in ("dataset", "preset", "seed")}
    shared |= {"backbone": record["settings"].get("backbone", ""), "run": place.name}
    network = kind not in training_runs.BASELINES
    shared["configuration"] = record["settings"]["augmentation"] if network else kind
    return _table(place / "predictions.csv", shared, f"{gathered['k']} folds")


def answers(found: pd.DataFrame) -> pd.DataFrame:
    """Every question of `QUESTIONS` that these predictions can answer.

    Parameters
    ----------
    found : DataFrame
        Of `predictions`.

    Returns
    -------
    DataFrame
        ``question, protocol, dataset, backbone, preset, this, baseline`` (configurations, or
        presets), then the columns of `dslite.evaluation.significance.compared` from ``files`` on. A question
        that nothing answers has no row.
    """
    parts = []
    for protocol, same in found.groupby("protocol", sort=False):
        networks = same[~same["configuration"].isin(training_runs.BASELINES)]
        asked = [
            (FINE_TUNING, _against(networks, same[same["configuration"] == SVM]), SVM),
            (AUGMENTATION, networks, NONE),
            (ACOUSTICS, _against(networks, same[same["configuration"] == LIBROSA]), LIBROSA),
        ]
        for question, rows, baseline in asked:
            parts.append(_asked(question, protocol, rows, "configuration", baseline, WHERE))
        by = [*WHERE[:3], "configuration"]
        parts.append(_asked(PRESETS, protocol, networks, "preset", "paper", by))
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=["question", "protocol"])
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(
        "question", key=lambda column: column.map(QUESTIONS.index), kind="stable", ignore_index=True
    )


def _against(networks: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
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


def _asked(
    question: str,
    protocol: str,
    rows: pd.DataFrame,
    varied: str,
    baseline: str,
    by: list[str],
) -> pd.DataFrame:
    """One question's rows, of the groups that have the baseline and something beside it."""
    kept = rows.groupby(by, sort=False).filter(
        lambda group: (group[varied] == baseline).any() and group[varied].nunique() > 1
    )
    if kept.empty:
        return pd.DataFrame()
    table = significance.compared(kept, varied, baseline, by=by)
    if varied == "preset":
        table = table.rename(columns={"preset": "this", "configuration": "preset_of"})
        table = table.assign(configuration=table.pop("preset_of"), preset="")
    else:
        table = table.rename(columns={varied: "this"}).assign(configuration="")
    first = ["question", "protocol", "dataset", "backbone", "preset", "configuration", "this"]
    table = table.drop(columns="protocol").assign(question=question, protocol=protocol)
    return table[[*first, *(c for c in table.columns if c not in first)]]


def means(found: pd.DataFrame) -> pd.DataFrame:
    """UAR in percent of every configuration: mean and deviation over its seeds.

    Parameters
    ----------
    found : DataFrame
        Of `predictions`.

    Returns
    -------
    DataFrame
        `WHERE`, ``configuration, seeds, files, speakers, test, deviation`` (NaN of one seed).
    """
    rows = []
    for key, group in found.groupby([*WHERE, "configuration"], sort=False):
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


BEGIN = "<!-- results: begin; made by `make paper` from results/records, do not edit -->"
END = "<!-- results: end -->"
PRINTED = "paper: DenseNet121"
JUDGED = (3, 4, 5)  # tables of results; the others describe corpora and settings
WORDS = {  # of a verdict in a sentence
    verdicts.ITSELF: "where the paper contradicts itself",
    verdicts.HARDWARE: "not testable on other hardware",
    verdicts.WEIGHTS: "not run for want of weights",
    verdicts.RESTRICTED: "not run for want of the corpus",
}
AT_CHANCE = 10  # points of UAR above chance within which a network has learnt next to nothing


def counted(numbers: pd.DataFrame) -> str:
    """How many numbers of Tables 3 to 5 got which verdict."""
    judged = numbers[numbers["table"].isin(JUDGED)]
    found = judged["verdict"].value_counts()
    parts = [
        f"{found[verdict]} {WORDS.get(verdict, verdict)}"
        for verdict in verdicts.ORDER
        if verdict in found
    ]
    made = f"Of the {len(judged)} numbers in Tables 3 to 5: {', '.join(parts)}."
    computed = judged[(judged["verdict"] == verdicts.REPRODUCED) & (judged["column"] == "chance")]
    if computed.empty:
        return made
    return f"{made} Of the reproduced ones {len(computed)} are chance levels, which are computed."


def signed(points: float) -> str:
    """Points of UAR with their sign: ``+1.2``, ``−0.4``, ``0.0``."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def network(row: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """``MobileNetV2, tuned``."""
    return ", ".join(
        filter(None, [titles.get(row["backbone"], row["backbone"]), row.get("preset")])
    )


def sides(row: Mapping[str, object]) -> str:
    """What was compared: ``CutMix against none``."""
    this, other = (LABELS.get(row[key], row[key]) for key in ("this", "baseline"))
    if row["question"] == PRESETS:
        return f"{LABELS[row['configuration']]}: {row['this']} against {row['baseline']}"
    return f"{this} against {'none' if row['baseline'] == NONE else other}"


def answered(rows: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Tested comparisons of `dslite.paper.comparisons.answers` as a reader wants them.

    Returns
    -------
    DataFrame
        Texts: ``network``, ``on``, ``compared``, ``points`` of UAR, ``95 %`` over speakers (over
        files where speakers are unknown), ``p`` after Holm's correction, ``p over files`` (McNemar,
        as if files of one speaker were independent), ``verdict``, which follows the first p.
    """
    made = []
    for row in rows.to_dict("records"):
        suffix = "" if np.isnan(row["low_speakers"]) else "_speakers"
        low, high = (signed(row[f"{end}{suffix}"]) for end in ("low", "high"))
        seeds = f", {row['seeds']} seeds" * (row["seeds"] > 1)
        few = f" (no p below {_least(row):.3g} on {row['units']} speakers)"
        made.append(
            {
                "network": network(row, titles),
                "on": f"{row['protocol']}{seeds}",
                "compared": sides(row),
                "points": signed(row["difference"]),
                "95 %": f"{low} to {high}",
                "p": f"{row['p_holm']:.2g}",
                "p over files": f"{row['p_mcnemar_holm']:.1g}",
                "verdict": row["verdict"] + few * (not decidable(row)),
            }
        )
    return pd.DataFrame(made)


def _least(row: Mapping[str, object]) -> float:
    """The smallest p that so many units can give: all of them on one side, by chance."""
    return 2.0 ** (1 - row["units"])


def decidable(row: Mapping[str, object]) -> bool:
    """Whether a comparison has enough units for any outcome but "not told apart"."""
    return row["verdict"] != significance.UNDECIDED or _least(row) < significance.ALPHA


def verdict_of(question: str, answers: pd.DataFrame) -> str:
    """One sentence on all comparisons of a question: how many came out which way."""
    rows = answers[answers["question"] == question]
    better, worse = (
        (rows["verdict"] == side).sum() for side in (significance.BETTER, significance.WORSE)
    )
    open_ = len(rows) - better - worse
    few = sum(not decidable(row) for row in rows.to_dict("records"))
    parts = [f"{better} better"] * bool(better) + [f"{worse} worse"] * bool(worse)
    too_few = f" ({few} of them on too few speakers to decide)" * bool(few)
    parts += [f"{open_} not told apart{too_few}"] * bool(open_)
    return f"Of {len(rows)} tested comparisons {', '.join(parts)}."


def deciding(answers: pd.DataFrame) -> pd.DataFrame:
    """Of each question the comparisons on the most speakers: the test that can tell most."""
    most = answers.groupby(["dataset", "question"])["units"].transform("max")
    return answers[answers["units"] == most]


def learnt(means: pd.DataFrame, chance: float, titles: Mapping[str, str]) -> list[str]:
    """Of each network and preset, whether it is above chance at all: a sentence each."""
    networks = means[~means["configuration"].isin(BASELINES)]
    networks = networks[networks["protocol"] == PARTITION]
    said = []
    for (backbone, preset), rows in networks.groupby(["backbone", "preset"], sort=False):
        low, high = rows["test"].min(), rows["test"].max()
        span = f"{low:.1f} to {high:.1f} %" if len(rows) > 1 else f"{high:.1f} %"
        who = network({"backbone": backbone, "preset": preset}, titles)
        verdict = "learns next to nothing" if high < chance + AT_CHANCE else "learns"
        said.append(f"{who} {verdict}: test UAR {span} (chance {chance:.1f} %).")
    return said


def scores(means: pd.DataFrame, published: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Test UAR of one corpus: configurations as rows; the paper's and our networks as columns.

    Parameters
    ----------
    means : DataFrame
        Of `dslite.paper.comparisons.means`, one corpus.
    published : DataFrame
        Its rows of Table 3 or 4.
    titles : mapping
        Backbone -> name in print.

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
            row[_column(key, titles)] = _mean(fits.iloc[0]) if len(fits) else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _column(row: Mapping[str, str], titles: Mapping[str, str]) -> str:
    protocol = "" if row["protocol"] == PARTITION else row["protocol"]
    return ", ".join(filter(None, [network(row, titles), protocol]))


def _mean(row: Mapping[str, float]) -> str:
    spread = "" if np.isnan(row["deviation"]) else f" ± {row['deviation']:.1f}"
    return f"{row['test']:.1f}{spread}"


def cost(found: pd.DataFrame) -> str:
    """What the runs took, from ``seconds`` of `dslite.training.runs.all_runs`."""
    minutes = found["seconds"].sum() / 60
    took = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.1f} minutes"
    machines = ", ".join(sorted(set(filter(None, found["hardware"]))))
    return f"{len(found)} runs took {took}, added up, on {machines}."


def section(lead: Sequence[str], parts: Mapping[str, pd.DataFrame]) -> str:
    """The README's results: markers around sentences, and tables under bold titles."""
    lines = [BEGIN, *lead]
    for title, table in parts.items():
        lines += ["", f"**{title}**", "", to_markdown(table)]
    return "\n".join([*lines, END])


def inserted(text: str, made: str, name: str = "README.md") -> str:
    """A text with the part between its markers replaced.

    Raises
    ------
    InputError
        The markers are not there, or not once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise InputError(f"{name}: expected once '{BEGIN}' and, below it, '{END}'")
    before, rest = text.split(BEGIN)
    return before + made + rest.split(END)[1]
