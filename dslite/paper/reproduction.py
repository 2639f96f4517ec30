"""Every number that the paper prints, what was reproduced of it, and a verdict.

A run counts as the paper's if it has its backbone, its preset, pre-trained weights and nothing
overridden. All others are substitutes: laid beside the number, never called a reproduction of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dslite import cards, paths
from dslite.errors import InputError
from dslite.evaluation import metrics
from dslite.paper import costs, published
from dslite.paper.published import BACKBONE, PRESET
from dslite.settings import Settings
from dslite.training import runs as training_runs
from dslite.training.runs import BASELINES, LABELS, LIBROSA, SHORTENED, SVM, Run

COUNT_DECIMALS = {"files": 0, "classes": 0, "speakers": 0, "minutes": 1, "mean_s": 2, "std_s": 4}
OWN_PARTITION = ("demos", "ravdess")  # speaker-independent, says the paper, and no more
LAYERS = 427  # of DenseNet121 in Keras: Table 2 counts shares of them
# Titles of backbones as in `dslite.models.backbones`, which needs TensorFlow
TITLES = {
    **{"densenet121": "DenseNet121", "mobilenet_v2": "MobileNetV2"},
    **{"squeezenet": "SqueezeNet 1.1"},
}
GROUP = ["backbone", "preset", "overrides", "random_weights", "weights"]  # of runs but for the seed
BOUNDS = ["reproduced_ci_low", "reproduced_ci_high"]
SCORES = ["reproduced", "deviation", *BOUNDS]  # of `mean_score`, percent
UNSCORED = dict.fromkeys(SCORES, np.nan) | {"seeds": 0, "note": ""}
EMPTY = {  # what `numbers` adds to a published number
    **dict.fromkeys(["reproduced", *BOUNDS], np.nan),
    **dict.fromkeys(["verdict", "remark", "runs", "command", "date", "commit", "hardware"], ""),
    "seconds": np.nan,
}
SUBSTITUTES = {
    **dict.fromkeys(["key", "dataset", "configuration", "column"], str),
    **dict.fromkeys(["published", "published_low", "published_high"], float),
    **dict.fromkeys(["backbone", "preset", "overrides", "label"], str),
    **{"seeds": int, **dict.fromkeys(SCORES, float)},
    **dict.fromkeys(["agreement", "remark", "runs", "command"], str),
    **{"date": str, "commit": str, "hardware": str, "seconds": float},
}
SEVERAL = "several"  # commits or computers
NO_FILES = "no predictions of files are kept: bounds are means of the seeds' own"


# All numbers


def numbers(runs: pd.DataFrame, findings: pd.DataFrame, substitutes: pd.DataFrame) -> pd.DataFrame:
    """Lay what was reproduced beside every number of Tables 1 to 5, with a verdict.

    Parameters
    ----------
    runs : DataFrame
        Of `dslite.training.runs.all_runs`.
    findings : DataFrame
        Of `dslite.paper.consistency.findings`. A number whose key stands in ``keys`` of a finding
        that does not hold is `dslite.paper.published.ITSELF`.
    substitutes : DataFrame
        Of `substitutes`.

    Returns
    -------
    DataFrame
        `dslite.paper.published.numbers` with ``reproduced``, its 95 % interval
        ``reproduced_ci_low``, ``reproduced_ci_high`` (over files, of the mean over seeds),
        ``verdict``, ``remark``, ``runs`` (``dataset/run``, joined by ``;``), the ``command`` that
        makes it again, ``date``, ``commit``, ``hardware`` and ``seconds`` of the runs.
    """
    printed = published.numbers()
    corpora = {name: corpus(name) for name in published.NAMES}
    judged = {
        **_judged_corpora(printed[printed["table"].isin((1, 2))], corpora),
        **_judged_scores(printed[printed["table"].isin((3, 4))], runs, substitutes, corpora),
        **_judged_costs(printed[printed["table"] == 5]),
    }
    rows = [EMPTY | judged[key] for key in printed["key"]]
    joined = printed.join(pd.DataFrame(rows, index=printed.index)[list(EMPTY)])
    reasons: dict[str, list[str]] = {}
    for finding in findings[~findings["holds"].astype(bool)].itertuples():
        for key in filter(None, finding.keys.split(";")):
            reasons.setdefault(key, []).append(finding.explanation)
    for key, texts in reasons.items():
        joined.loc[joined["key"] == key, ["verdict", "remark"]] = [
            published.ITSELF,
            " ".join(texts),
        ]
    return joined


def summary(numbers: pd.DataFrame) -> pd.DataFrame:
    """Count the numbers of each table (columns) by verdict (rows, in their order)."""
    counts = pd.crosstab(numbers["verdict"], numbers["table"])
    return counts.reindex([v for v in published.ORDER if v in counts.index])


# Tables 1 and 2


class Corpus(NamedTuple):
    """What is known of a published corpus, whatever the number.

    ``counts`` is our row of Table 1 (empty if there is none), ``preset`` the settings of the
    paper's preset; ``restricted``: neither at hand nor to be had by everybody; ``absent`` says why
    there is no run.
    """

    counts: Mapping[str, Any]
    preset: Settings
    restricted: bool
    absent: str


def corpus(dataset: str) -> Corpus:
    """Read what is known of one of the published corpora."""
    from dslite.datasets import download

    card, present = cards.load(dataset), paths.raw(dataset).is_dir()
    # Without the scheme a report shows it as text: its page holds no address but its own.
    obtain = card.obtain.strip().replace("https://", "")
    files = [paths.results(dataset) / "table1.csv", *sorted(paths.records().glob("*/table1.csv"))]
    tables = [pd.read_csv(file) for file in files if file.is_file()]
    rows = [row for table in tables for row in table.to_dict("records")]
    counts = next((row for row in rows if row["dataset"] == dataset), {})
    restricted = dataset not in download.ARCHIVES and not present
    absent = "not run" if present else f"corpus not at hand: {obtain}"
    return Corpus(counts, cards.settings_of(card, PRESET), restricted, absent)


def _judged_corpora(printed: pd.DataFrame, corpora: Mapping[str, Corpus]) -> dict[str, dict]:
    """Judge every number of Tables 1 and 2: key -> judgement."""
    judged = {}
    for row in printed.to_dict("records"):
        dataset = row["dataset"]
        if row["table"] == 1:
            judgement = _count(row, corpora[dataset])
            line = f"dslite partition {dataset}"
        else:
            judgement = _setting(row, corpora[dataset].preset)
            line = command(dataset, "none", PRESET, BACKBONE)
        judged[row["key"]] = judgement | {"command": line}
    return judged


def _count(row: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    """Judge a number of Table 1: equal as printed or not."""
    count = corpus.counts.get(row["column"])
    if count is None:
        verdict = published.RESTRICTED if corpus.restricted else published.NOT_RUN
        return {"verdict": verdict, "remark": corpus.absent}
    if pd.isna(count) or count == 0:
        remark = f"{row['column']} unknown: the corpus does not say"
        return {"verdict": published.NOT_RUN, "remark": remark}
    verdict = published.rule(row["value"], None, count, None, COUNT_DECIMALS[row["column"]])
    return {"reproduced": float(count), "verdict": verdict, "remark": "counted in the corpus"}


def _setting(row: Mapping[str, Any], preset: Settings) -> dict[str, Any]:
    """Lay our preset's value beside a number of Table 2."""
    layers = {"fine_tuned_layers": int(LAYERS * preset.trained_share)}
    value = float((preset.model_dump() | layers)[row["column"]])
    assumed = row["status"] == "assumed"
    remarks = ["which cell of the printed row it is, is assumed"] if assumed else []
    remarks += [f"our preset has {value:g}" if value != row["value"] else "as in our preset"]
    return {"reproduced": value, "verdict": published.SETTING, "remark": ", ".join(remarks)}


# Tables 3 and 4


def _is_papers(runs: pd.DataFrame) -> pd.Series:
    """Which runs count as the paper's; a weights file may stand in the place of ``imagenet``."""
    same = (runs["backbone"] == BACKBONE) & (runs["preset"] == PRESET)
    return same & ~runs["overridden"] & ~runs["random_weights"]


def _judged_scores(
    printed: pd.DataFrame,
    runs: pd.DataFrame,
    substitutes: pd.DataFrame,
    corpora: Mapping[str, Corpus],
) -> dict[str, dict]:
    """Judge every number of Tables 3 and 4: key -> judgement."""
    papers = runs[_is_papers(runs) & (runs["metric"] == "uar")]
    papers = papers.sort_values("n_overrides", kind="stable")
    judged = {}
    for (dataset, configuration), block in printed.groupby(["dataset", "configuration"]):
        same = (papers["dataset"] == dataset) & (papers["configuration"] == configuration)
        rows = papers[same].drop_duplicates("seed").sort_values("seed")
        cells = {row["column"]: row for row in block.to_dict("records")}
        if chance := cells.pop("chance", None):
            judged[chance["key"]] = _chance(chance)
        if cells and len(rows):
            judged |= _reproduced(cells, rows)
        elif cells:
            judged |= _not_run(cells, runs, substitutes, corpora[dataset])
    return judged


def _chance(row: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a chance level, which the classes of Table 1 give."""
    chance = 100 / published.table(1).set_index("dataset")["classes"][row["dataset"]]
    return {
        **{"reproduced": chance, "verdict": published.rule(row["value"], None, chance, None, 1)},
        **{"remark": "computed: 100 / classes of Table 1", "command": "dslite datasets"},
    }


def _reproduced(cells: Mapping[str, Mapping[str, Any]], rows: pd.DataFrame) -> dict[str, dict]:
    """Judge one printed row of Table 3 or 4 by the paper's own runs.

    The bounds of the published interval are judged as the interval they belong to.
    """
    scores, judged = scored(rows), {}
    for column in ("devel", "test"):
        row, score = cells[column], scores[column]
        if np.isnan(score["reproduced"]):
            judgement = {"verdict": published.NOT_RUN, "remark": "no score: the labels are blinded"}
        else:
            remarks = [*_conditions(rows.iloc[0], row), score["note"]]
            judgement = {key: score[key] for key in ("reproduced", *BOUNDS)}
            judgement["verdict"] = published.rule(*_pair(row, score), 1)
            judgement["remark"] = ", ".join(filter(None, remarks)) or "the paper's settings"
        judged[column] = EMPTY | scores["origin"] | judgement
    test = judged["test"]
    for column, bound in zip(("ci_low", "ci_high"), BOUNDS, strict=True):
        judged[column] = test | dict.fromkeys(BOUNDS, np.nan) | {"reproduced": test[bound]}
    return {row["key"]: judged[column] for column, row in cells.items()}


def _pair(row: Mapping[str, Any], score: Mapping[str, Any]) -> tuple[Any, ...]:
    """Arguments of the rule but for the decimals."""
    intervals = [(row["low"], row["high"]), tuple(score[bound] for bound in BOUNDS)]
    theirs, ours = (None if np.isnan(interval[0]) else interval for interval in intervals)
    return row["value"], theirs, score["reproduced"], ours


def _conditions(run: pd.Series, row: Mapping[str, Any]) -> list[str]:
    """What of a run's conditions a reader of the score has to know."""
    kind = run[["backbone", "preset", "overrides", "random_weights"]]
    conditions = published.differences(*kind)
    if "weights" in run["overrides_and_weights"]:
        conditions.append(f"weights of the file {run['weights']}")
    caption = published.table(row["table"]).set_index("dataset")["chance"][row["dataset"]].iloc[0]
    if abs(run["chance"] - caption) > 0.1:
        conditions.append(f"chance {run['chance']:.1f} instead of {caption:.1f}")
    if row["dataset"] in OWN_PARTITION:
        conditions.append("partition of our own (none is published)")
    return conditions


def _not_run(
    cells: Mapping[str, Mapping[str, Any]],
    runs: pd.DataFrame,
    substitutes: pd.DataFrame,
    corpus: Corpus,
) -> dict[str, dict]:
    """Say why there is no run of one printed row of Table 3 or 4, and what there is instead."""
    first = next(iter(cells.values()))
    dataset, configuration = first["dataset"], first["configuration"]
    same = (runs["dataset"] == dataset) & (runs["configuration"] != LIBROSA)
    others = runs[same & (runs["metric"] == "uar")]
    papers = (others["backbone"] == BACKBONE) & ~others["random_weights"]
    verdict, why = published.NOT_RUN, corpus.absent
    if corpus.restricted:
        verdict = published.RESTRICTED
    elif len(others):
        verdict = published.NOT_RUN if papers.any() else published.WEIGHTS
        why = f"no run of pre-trained {TITLES[BACKBONE]} with the paper's preset"
    line = command(dataset, configuration, PRESET, BACKBONE)
    judged = {}
    for column, row in cells.items():
        score = "test" if column in ("ci_low", "ci_high") else column
        instead = [
            f"{one.label}: {one.reproduced:.1f} % ({one.reproduced_ci_low:.1f} to "
            f"{one.reproduced_ci_high:.1f}), {one.agreement}"
            for one in substitutes[substitutes["key"] == cells[score]["key"]].itertuples()
        ]
        remark = why + (f"; instead of it {'; '.join(instead)}" if instead else "")
        judged[row["key"]] = {"verdict": verdict, "remark": remark, "command": line}
    return judged


def substitutes(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay runs that are not the paper's beside the numbers that they stand in for.

    Parameters
    ----------
    runs : DataFrame
        Of `dslite.training.runs.all_runs`.

    Returns
    -------
    DataFrame
        One row a published score (columns ``devel`` and ``test`` of Tables 3 and 4) and group of
        runs that differ in nothing but the seed: the columns `SUBSTITUTES`, scores in percent.
        ``agreement`` is that of `dslite.paper.published`: a substitute reproduces nothing. What
        no published row has (another configuration, a regression) is left out, and so is a run with
        fewer epochs than its preset.
    """
    others = runs[~_is_papers(runs) & (runs["metric"] == "uar")]
    # A shortened run was made for something else (its cost, a trial) and says nothing of a score.
    others = others[~others["overrides"].str.contains(SHORTENED)]
    printed = published.numbers()
    printed = printed[printed["column"].isin(("devel", "test"))].to_dict("records")
    cells = {(row["dataset"], row["configuration"], row["column"]): row for row in printed}
    rows = []
    by = ["dataset", "configuration", *GROUP]
    for (dataset, configuration, *_), group in others.groupby(by, sort=False):
        if (dataset, configuration, "test") not in cells:
            continue
        scores = scored(group)
        for column in ("devel", "test"):
            row, score = cells[dataset, configuration, column], scores[column]
            if not np.isnan(score["reproduced"]):
                rows.append(_substitute(row, group.iloc[0], score) | scores["origin"])
    frame = pd.DataFrame(rows, columns=list(SUBSTITUTES)).astype(SUBSTITUTES)
    order = {row["key"]: place for place, row in enumerate(printed)}
    return frame.sort_values(
        "key", key=lambda key: key.map(order), kind="stable", ignore_index=True
    )


def _substitute(row: Mapping[str, Any], run: pd.Series, score: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `substitutes`, less where it comes from."""
    title = TITLES.get(run["backbone"], run["backbone"])
    label = [title, run["preset"] or "own settings", run["overrides"]]
    label += ["random weights"] if run["random_weights"] else []
    return {
        **{key: row[key] for key in ("key", "dataset", "configuration", "column")},
        **{"published": row["value"], "published_low": row["low"], "published_high": row["high"]},
        **{key: run[key] for key in ("backbone", "preset", "overrides")},
        **{"label": ", ".join(filter(None, label))},
        **{key: score[key] for key in ("seeds", *SCORES)},
        "agreement": published.agreement(*_pair(row, score), 1),
        "remark": ", ".join(filter(None, [*_conditions(run, row), score["note"]])),
    }


# Runs that differ in nothing but the seed


def scored(rows: pd.DataFrame) -> dict[str, Any]:
    """Score runs that differ in nothing but the seed.

    Parameters
    ----------
    rows : DataFrame
        Of `dslite.training.runs.all_runs`.

    Returns
    -------
    dict
        ``devel`` and ``test`` (see `mean_score`) and ``origin``: ``runs`` (``dataset/run``, joined
        by ``;``), the latest ``date``, ``commit`` and ``hardware`` (`SEVERAL` where they differ),
        the sum of ``seconds`` (NaN if one is unknown) and the ``command``.
    """
    rows = rows.sort_values("seed")
    loaded = [training_runs.load(folder) for folder in rows["folder"]]
    kind = rows.iloc[0][["dataset", "configuration", "preset", "backbone"]]

    def shared(column: str) -> str:
        values = rows[column].unique()
        return values[0] if len(values) == 1 else SEVERAL

    origin = {
        **{"runs": ";".join(rows["dataset"] + "/" + rows["run"]), "date": rows["date"].max()},
        **{column: shared(column) for column in ("commit", "hardware")},
        "seconds": float(rows["seconds"].sum(skipna=False)),
        "command": command(*kind, rows["seed"].tolist(), options(loaded[0].record)),
    }
    return {part: mean_score(loaded, part) for part in ("devel", "test")} | {"origin": origin}


def mean_score(seeds: Sequence[Run], partition: str) -> dict[str, Any]:
    """Compute the mean over the seeds of the UAR at file level, with its interval over files.

    Parameters
    ----------
    seeds : sequence of Run
        One a seed, alike in all else; classifications.
    partition : {"devel", "test"}

    Returns
    -------
    dict
        Percent: ``reproduced`` (mean over seeds), ``deviation`` (ddof 1; NaN for one seed),
        ``reproduced_ci_low`` and ``reproduced_ci_high`` (95 %; draws and seed are
        those of the first run). Then the number of ``seeds``, and a ``note`` on the
        interval, mostly empty. All NaN where the partition's labels are blinded.

    Raises
    ------
    InputError
        The seeds were scored on other files or labels.

    Notes
    -----
    Of a corpus whose file names are private the committed records hold no predictions. What the
    runs say of their own intervals then stands for the interval of the mean, which would be
    narrower.
    """
    parts = [run.metrics[partition] for run in seeds]
    if not all(parts):
        return UNSCORED
    shares = np.array([part["file"]["score"] for part in parts])
    deviation = shares.std(ddof=1) if len(seeds) > 1 else np.nan
    note = ""
    if all(run.predictions is not None for run in seeds):
        labels, predictions = _arrays(seeds, partition)
        drawn = {"draws": seeds[0].settings.bootstrap_draws, "seed": seeds[0].record["seed"]}
        n_classes = len(seeds[0].classes)
        interval = metrics.bootstrap_interval(labels, predictions, n_classes, **drawn)
    else:
        intervals = [part["file"]["interval_files"] or (np.nan, np.nan) for part in parts]
        interval = tuple(np.mean(intervals, axis=0))
        note = NO_FILES if len(seeds) > 1 else ""
    low, high = interval or (np.nan, np.nan)
    percent = 100 * np.array([shares.mean(), deviation, low, high])
    return dict(zip(SCORES, percent.tolist(), strict=True)) | {"seeds": len(seeds), "note": note}


def _arrays(seeds: Sequence[Run], partition: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels int [files] and predictions int [seeds, files], files in the first run's order."""
    whole = [run.predictions for run in seeds]
    tables = [all_[(all_["partition"] == partition) & (all_["label"] != "")] for all_ in whole]
    wanted = tables[0].set_index("file")["label"]
    codes, classes = [], pd.Index(seeds[0].classes)
    for run, table in zip(seeds, tables, strict=True):
        rows = table.set_index("file").reindex(wanted.index)
        if len(table) != len(wanted) or not rows["label"].equals(wanted):
            raise InputError(
                f"{run.record['dataset']}/{run.folder.name}: scored on other files or labels than "
                f"{seeds[0].folder.name}; repeat the runs that were made before the corpus changed"
            )
        codes.append(classes.get_indexer(rows["prediction"]))
    return classes.get_indexer(wanted), np.stack(codes)


def command(
    dataset: str,
    configuration: str,
    preset: str,
    backbone: str,
    seeds: Sequence[int] = (0,),
    options: str = "",
) -> str:
    """Return one shell line that makes a configuration's runs; ``options``: see `options`."""
    named = {"preset": preset, "backbone": backbone}
    line = f"dslite {'baseline' if configuration == SVM else 'train'} {dataset}"
    named |= {} if configuration == SVM else {"augmentation": configuration}
    line += "".join(f" --{key} {value}" for key, value in named.items() if value)
    line += f" --seed {seeds[0] if len(seeds) == 1 else '$seed'}{options}"
    return line if len(seeds) == 1 else f"for seed in {' '.join(map(str, seeds))}; do {line}; done"


def options(record: Mapping[str, Any]) -> str:
    """Return what has to be added to `command` for a run's overrides, a blank in front.

    A weights file is not named: where it lay is not recorded, and it stands for ``imagenet``.
    """
    words = ["--weights random"] if record["weights"]["random"] else []
    for key, (_, value) in sorted(record["overrides"].items()):
        if key not in ("backbone", "augmentation", "weights"):
            words.append(f"--set {key}={'null' if value is None else value}")
    return "".join(f" {word}" for word in words)


# Table 5


def _judged_costs(printed: pd.DataFrame) -> dict[str, dict]:
    """Judge every number of Table 5: key -> judgement."""
    nearest = costs.of_papers_network()
    if nearest:
        name, record, _ = nearest
        dataset, run = name.split("/")
        preset, seed = record.get("preset", PRESET), record.get("seed", 0)
        added = options(record) if record.get("settings") else ""
    else:
        dataset, preset, seed, added = "ravdess", PRESET, 0, ""
        card = cards.load(dataset)
        settings = cards.settings_of(card, preset)
        run = training_runs.folder(card, settings, seed, preset=preset).name
    folder = f"results/{dataset}/{run}"  # also where DSLITE_RESULTS names another place
    line = command(dataset, "none", preset, BACKBONE, [seed], added)
    line += f" && dslite convert {folder} && dslite profile {folder}"
    judged = costs.judged(printed.to_dict("records"))
    return {key: judgement | {"command": line} for key, judgement in judged.items()}


# One corpus's block of Table 3 or 4, from our runs alone


def ablation_block(dataset: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out one corpus's block of Table 3 or 4 from finished runs alone.

    The four networks differ in nothing but the augmentation: of several groups that share
    backbone, preset, weights, seed and overrides, the one with the most configurations is shown,
    and of equals the one nearest to the paper's settings. The baselines beside it share its preset,
    and the one that has a backbone that too.

    Returns
    -------
    DataFrame
        Strings: percent (regression: rho), ``–`` where there is none; ``attrs["caption"]`` names
        the group.
    """
    of_corpus = _preferred(runs[runs["dataset"] == dataset])
    block, caption = {}, "not run"
    if len(of_corpus):
        rows, group = _group(of_corpus)
        block = {run.configuration: _cells(run) for run in rows.itertuples()}
        words = [group["backbone"], f"preset {group['preset'] or 'none'}", f"seed {group['seed']}"]
        words.append(group["overrides_and_weights"])
        words.append("random weights" if group["random_weights"] else "")
        blinded = rows["devel"].notna().any() and rows["test"].isna().all()
        words.append("test labels blinded: predicted, not scored" if blinded else "")
        caption = ", ".join(filter(None, words))
    columns = ["Dev", "Test", "CI on test (files)", "CI (speakers)"]
    cells = [block.get(configuration, ["–"] * 4) for configuration in LABELS]
    frame = pd.DataFrame(cells, columns=columns, index=pd.Index(LABELS.values(), name=dataset))
    frame.attrs["caption"] = f"{dataset}: {caption}"
    return frame


def _preferred(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs in the order in which they are to stand for a published row, never by the score.

    Pre-trained ones first, then the paper's backbone with the paper's preset, then the fewest
    overrides, then the lowest seed.
    """
    other = (runs["backbone"] != BACKBONE) | (runs["preset"] != PRESET)
    order = ["random_weights", "other", "n_overrides", "backbone", "preset", "seed", "run"]
    return runs.assign(other=other).sort_values(order, ignore_index=True)


def _group(runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of a corpus's block, and what its networks share."""
    shared = ["backbone", "preset", "random_weights", "seed", "overrides_and_weights"]
    networks = runs[~runs["configuration"].isin(BASELINES)]
    svm, acoustic = (runs[runs["configuration"] == kind] for kind in BASELINES)
    leading = next(rows for rows in (networks, svm, acoustic) if len(rows))
    configurations = leading.groupby(shared, sort=False)["configuration"].nunique()
    group = dict(zip(shared, configurations.idxmax(), strict=True))
    agree = runs[shared] == pd.Series(group)
    # A baseline hardly depends on the seed and not at all on epochs and the like.
    svm = svm[agree[shared[:3]].all(axis=1)[svm.index]]
    acoustic = acoustic[agree["preset"][acoustic.index]]
    by = ["overrides_and_weights", "seed"]  # first those of the group itself
    baselines = [
        rows.sort_values(by, kind="stable", key=lambda of: of != group[of.name]).head(1)
        for rows in (svm, acoustic)
    ]
    return pd.concat([*baselines, networks[agree.all(axis=1)[networks.index]]]), group


def _cells(run: Any) -> list[str]:
    unit, decimals = (1, 1) if run.metric == "uar" else (100, 2)

    def shown(*values: float) -> str:
        if any(np.isnan(value) for value in values):
            return "–"
        return "–".join(f"{value / unit:.{decimals}f}" for value in values)

    speakers = shown(run.low_speakers, run.high_speakers)
    return [shown(run.devel), shown(run.test), shown(run.low, run.high), speakers]
