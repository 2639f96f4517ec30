"""Every number that the paper prints, ours beside it, and a verdict.

A run counts as the paper's if it has its backbone, its preset, pre-trained weights and nothing
overridden. All others are substitutes: laid beside the number, never called a reproduction of it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dslite import cards
from dslite.paper import consistency, costs, published, run_groups, scores, verdicts
from dslite.paper import corpora as paper_corpora
from dslite.paper.corpora import Corpus
from dslite.training import runs

# Titles of backbones as in `dslite.models.backbones`, which needs TensorFlow
TITLES = {
    **{"densenet121": "DenseNet121", "mobilenet_v2": "MobileNetV2"},
    **{"squeezenet": "SqueezeNet 1.1"},
}
GROUP = ["backbone", "preset", "altered", "random_weights", "weights"]  # of runs but for the seed
ORIGIN = {**dict.fromkeys(["runs", "date", "commit", "hardware"], ""), "seconds": np.nan}
OURS = {
    **dict.fromkeys(["ours", "ours_low", "ours_high"], np.nan),
    **{"verdict": "", "remark": "", "command": "", **ORIGIN},
}
BOUNDS = ["ours_low", "ours_high"]
JUDGED = ["ours", *BOUNDS, "verdict", "remark", "runs", "command"]  # columns of `numbers`
JUDGED += ["date", "commit", "hardware", "seconds"]
SUBSTITUTES = {
    **dict.fromkeys(["key", "dataset", "configuration", "column"], str),
    **dict.fromkeys(["published", "published_low", "published_high"], float),
    **dict.fromkeys(["backbone", "preset", "changed", "label"], str),
    **{"seeds": int, **dict.fromkeys(["ours", "deviation", "ours_low", "ours_high"], float)},
    **dict.fromkeys(["agreement", "remark", "runs", "command"], str),
    **{"date": str, "commit": str, "hardware": str, "seconds": float},
}


def numbers(
    findings: pd.DataFrame | None = None, beside: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every number of Tables 1 to 5 with ours and a verdict.

    Parameters
    ----------
    findings : DataFrame, optional
        What the paper says against itself, see `dslite.paper.consistency.findings`, which it is if not
        given. A number whose key stands in ``keys`` of a finding that does not hold is
        `dslite.paper.verdicts.ITSELF`.
    beside : DataFrame, optional
        `substitutes`, which it is if not given.

    Returns
    -------
    DataFrame
        `dslite.paper.published.numbers` with ``ours``, its 95 % interval ``ours_low, ours_high`` (over
        files, of the mean over seeds), ``verdict``, ``remark``, ``runs`` (``dataset/run``, joined
        by ``;``), the ``command`` that makes it again, ``date``, ``commit``, ``hardware`` and
        ``seconds`` of the runs.
    """
    printed, found = published.numbers(), scores.runs()
    beside = substitutes(printed, found) if beside is None else beside
    corpora = {name: paper_corpora.known(name) for name in published.NAMES}
    judged = {
        **_corpora(_rows(printed, 1, 2), corpora),
        **_scores(printed[printed["table"].isin((3, 4))], found, beside, corpora),
        **_costs(_rows(printed, 5)),
    }
    ours = pd.DataFrame([judged[key] for key in printed["key"]], index=printed.index)
    joined = printed.join(ours[JUDGED])
    findings = consistency.findings() if findings is None else findings
    failed = findings[~findings["holds"].astype(bool)]
    for key, reason in _doubted(failed).items():
        joined.loc[joined["key"] == key, ["verdict", "remark"]] = [verdicts.ITSELF, reason]
    return joined


def summary(numbers: pd.DataFrame) -> pd.DataFrame:
    """How many numbers of each table have each verdict: verdicts in their order x tables."""
    counts = pd.crosstab(numbers["verdict"], numbers["table"])
    return counts.reindex([v for v in verdicts.ORDER if v in counts.index])


def _rows(printed: pd.DataFrame, *tables: int) -> list[dict[str, Any]]:
    return printed[printed["table"].isin(tables)].to_dict("records")


def _doubted(failed: pd.DataFrame) -> dict[str, str]:
    """Keys that findings call into question -> why; several reasons one after the other."""
    reasons: dict[str, list[str]] = {}
    for finding in failed.itertuples():
        for key in filter(None, finding.keys.split(";")):
            reasons.setdefault(key, []).append(finding.explanation)
    return {key: " ".join(said) for key, said in reasons.items()}


def _corpora(
    rows: list[dict[str, Any]], corpora: Mapping[str, Corpus]
) -> dict[str, dict[str, Any]]:
    """Our judgement of every number of Tables 1 and 2, by its key."""
    made = paper_corpora.judged(rows, corpora)
    for row in rows:
        dataset = row["dataset"]
        trained = run_groups.command(dataset, "none", verdicts.PRESET, verdicts.BACKBONE)
        line = f"dslite partition {dataset}" if row["table"] == 1 else trained
        made[row["key"]] = OURS | made[row["key"]] | {"command": line}
    return made


# Tables 3 and 4


def _is_papers(found: pd.DataFrame) -> pd.Series:
    """Which runs count as the paper's; a weights file may stand in the place of ``imagenet``."""
    same = (found["backbone"] == verdicts.BACKBONE) & (found["preset"] == verdicts.PRESET)
    return same & (found["altered"] == "") & ~found["random_weights"]


def _scores(
    printed: pd.DataFrame,
    found: pd.DataFrame,
    beside: pd.DataFrame,
    corpora: Mapping[str, Corpus],
) -> dict[str, dict[str, Any]]:
    """Our judgement of every number of Tables 3 and 4, by its key."""
    own = found[_is_papers(found) & (found["metric"] == "uar")]
    own = own.sort_values("overrides", kind="stable")
    judged = {}
    for (dataset, configuration), block in printed.groupby(["dataset", "configuration"]):
        same = (own["dataset"] == dataset) & (own["configuration"] == configuration)
        rows = own[same].drop_duplicates("seed").sort_values("seed")
        cells = {row["column"]: row for row in block.to_dict("records")}
        if chance := cells.pop("chance", None):
            judged[chance["key"]] = _chance(chance)
        if cells:
            missing = (found, beside, corpora[dataset])
            made = _block(cells, rows) if len(rows) else _unrun(cells, *missing)
            judged |= {cells[column]["key"]: told for column, told in made.items()}
    return judged


def _chance(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = published.table(1).set_index("dataset")["classes"]
    ours = 100 / counts[row["dataset"]]
    verdict = verdicts.rule(row["value"], None, ours, None, 1)
    told = {"remark": "computed: 100 / classes of Table 1", "command": "dslite datasets"}
    return OURS | {"ours": ours, "verdict": verdict} | told


def _interval(low: float, high: float) -> tuple[float, float] | None:
    return None if np.isnan(low) else (low, high)


def _block(cells: Mapping[str, Mapping[str, Any]], rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """One printed row of Table 3 or 4 with the paper's own runs: column -> judgement.

    The bounds of the published interval are judged as the interval they belong to.
    """
    made, judged = run_groups.scored(rows), {}
    for column in ("devel", "test"):
        row, score = cells[column], made[column]
        if np.isnan(score["ours"]):
            told = {"verdict": verdicts.NOT_RUN, "remark": "no score: the labels are blinded"}
        else:
            said = ", ".join([*_said(rows.iloc[0], row), *filter(None, [score["note"]])])
            told = {key: score[key] for key in ("ours", "ours_low", "ours_high")}
            told["verdict"] = verdicts.rule(*_pair(row, score), 1)
            told["remark"] = said or "the paper's settings"
        judged[column] = OURS | made["origin"] | told
    test = judged["test"]
    for column, bound in (("ci_low", "ours_low"), ("ci_high", "ours_high")):
        judged[column] = test | dict.fromkeys(BOUNDS, np.nan) | {"ours": test[bound]}
    return {column: judged[column] for column in cells}


def _pair(row: Mapping[str, Any], score: Mapping[str, Any]) -> tuple[Any, ...]:
    """Arguments of the rule but for the decimals."""
    theirs = _interval(row["low"], row["high"])
    return row["value"], theirs, score["ours"], _interval(score["ours_low"], score["ours_high"])


def _said(run: pd.Series, row: Mapping[str, Any]) -> list[str]:
    """What of a run's conditions a reader of the score has to know."""
    said = verdicts.differences(
        run["backbone"], run["preset"], run["altered"], run["random_weights"]
    )
    said += [f"weights of the file {run['weights']}"] if "weights" in run["changed"] else []
    caption = published.table(row["table"]).set_index("dataset")["chance"][row["dataset"]].iloc[0]
    if abs(run["chance"] - caption) > 0.1:
        said.append(f"chance {run['chance']:.1f} instead of {caption:.1f}")
    if row["dataset"] in scores.OWN_PARTITION:
        said.append("partition of our own (none is published)")
    return said


def _unrun(
    cells: Mapping[str, Mapping[str, Any]],
    found: pd.DataFrame,
    beside: pd.DataFrame,
    corpus: Corpus,
) -> dict[str, dict[str, Any]]:
    """One printed row of Table 3 or 4 of which there is no run: column -> why, what there is."""
    first = next(iter(cells.values()))
    dataset, configuration = first["dataset"], first["configuration"]
    same = (found["dataset"] == dataset) & (found["configuration"] != runs.LIBROSA)
    others = found[same & (found["metric"] == "uar")]
    papers = (others["backbone"] == verdicts.BACKBONE) & ~others["random_weights"]
    verdict, why = verdicts.NOT_RUN, corpus.absent
    if corpus.restricted:
        verdict = verdicts.RESTRICTED
    elif len(others):
        verdict = verdicts.NOT_RUN if papers.any() else verdicts.WEIGHTS
        why = f"no run of pre-trained {TITLES[verdicts.BACKBONE]} with the paper's preset"
    line = run_groups.command(dataset, configuration, verdicts.PRESET, verdicts.BACKBONE)
    judged = {}
    for column in cells:
        score = "test" if column in ("ci_low", "ci_high") else column
        told = beside[beside["key"] == cells[score]["key"]]
        shown = [
            f"{one.label}: {one.ours:.1f} % ({one.ours_low:.1f} to {one.ours_high:.1f}), "
            f"{one.agreement}"
            for one in told.itertuples()
        ]
        said = f"; instead of it {'; '.join(shown)}" if shown else ""
        judged[column] = OURS | {"verdict": verdict, "remark": why + said, "command": line}
    return judged


# Table 5


def _costs(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = costs.of_papers_network()
    if found:
        name, record, _ = found
        dataset, run = name.split("/")
        preset, seed = record.get("preset", verdicts.PRESET), record.get("seed", 0)
        options = run_groups.options_of(record) if record.get("settings") else ""
    else:
        dataset, preset, seed, options = "ravdess", verdicts.PRESET, 0, ""
        card = cards.load(dataset)
        run = runs.folder(card, cards.settings_of(card, preset), seed, preset=preset).name
    given = (dataset, "none", preset, verdicts.BACKBONE, [seed], options)
    folder = f"results/{dataset}/{run}"  # also where DSLITE_RESULTS names another place
    line = f"{run_groups.command(*given)} && dslite convert {folder} && dslite profile {folder}"
    judged = costs.judged(rows)
    return {key: OURS | told | {"command": line} for key, told in judged.items()}


# Substitutes


def substitutes(
    printed: pd.DataFrame | None = None, found: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Runs that are not the paper's beside the numbers that they stand in for.

    Parameters
    ----------
    printed, found : DataFrame, optional
        `dslite.paper.published.numbers` and `dslite.paper.scores.runs`, which they are if not given.

    Returns
    -------
    DataFrame
        One row a published score (columns ``devel`` and ``test`` of Tables 3 and 4) and group of
        runs that differ in nothing but the seed: the columns `SUBSTITUTES`, scores in percent.
        ``agreement`` is `dslite.paper.verdicts.agreement`: a substitute reproduces nothing. What no
        published row has (another configuration, a regression) is left out, and so is a run with
        fewer epochs than its preset.
    """
    printed = published.numbers() if printed is None else printed
    found = scores.runs() if found is None else found
    others = found[~_is_papers(found) & (found["metric"] == "uar")]
    # A shortened run was made for something else (its cost, a trial) and says nothing of a score.
    others = others[~others["changed"].str.contains(scores.SHORTENED)]
    wanted = printed[printed["column"].isin(("devel", "test"))].to_dict("records")
    keys = ["dataset", "configuration"]
    cells = {(row["dataset"], row["configuration"], row["column"]): row for row in wanted}
    rows = []
    for (dataset, configuration, *_), group in others.groupby([*keys, *GROUP], sort=False):
        if (dataset, configuration, "test") not in cells:
            continue
        made = run_groups.scored(group)
        for column in ("devel", "test"):
            row, score = cells[dataset, configuration, column], made[column]
            if not np.isnan(score["ours"]):
                rows.append(_substitute(row, group.iloc[0], score) | made["origin"])
    frame = pd.DataFrame(rows, columns=list(SUBSTITUTES)).astype(SUBSTITUTES)
    order = {row["key"]: place for place, row in enumerate(wanted)}
    return frame.sort_values(
        "key", key=lambda key: key.map(order), kind="stable", ignore_index=True
    )


def _substitute(row: Mapping[str, Any], run: pd.Series, score: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `substitutes`, less where it comes from."""
    title = TITLES.get(run["backbone"], run["backbone"])
    said = [title, run["preset"] or "own settings", run["altered"]]
    said += ["random weights"] if run["random_weights"] else []
    return {
        **{key: row[key] for key in ("key", "dataset", "configuration", "column")},
        **{"published": row["value"], "published_low": row["low"], "published_high": row["high"]},
        **{key: run[key] for key in ("backbone", "preset")},
        **{"changed": run["altered"], "label": ", ".join(filter(None, said))},
        **{key: score[key] for key in ("seeds", *run_groups.SCORED)},
        "agreement": verdicts.agreement(*_pair(row, score), 1),
        "remark": ", ".join([*_said(run, row), *filter(None, [score["note"]])]),
    }
