"""Every number that the paper prints, ours beside it, and a verdict.

A run counts as the paper's if it has its backbone, its preset, pre-trained weights and nothing
overridden. All others are substitutes: laid beside the number, never called a reproduction of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dslite import cards, paths
from dslite.errors import InputError
from dslite.evaluation.metrics import Interval
from dslite.paper import consistency, costs, published, verdicts
from dslite.paper.verdicts import BACKBONE, PRESET
from dslite.settings import Settings
from dslite.training import runs
from dslite.training.runs import BASELINES, LABELS, SHORTENED, Run, all_runs

DECIMALS = {"files": 0, "classes": 0, "speakers": 0, "minutes": 1, "mean_s": 2, "std_s": 4}
OWN_PARTITION = ("demos", "ravdess")  # speaker-independent, says the paper, and no more
LAYERS = 427  # of DenseNet121 in Keras: Table 2 counts shares of them


class Corpus(NamedTuple):
    """What is known of a published corpus, whatever the number.

    ``counts`` is our row of Table 1 (empty if there is none), ``preset`` the settings of the preset
    `dslite.paper.verdicts.PRESET`; ``restricted``: neither at hand nor to be had by everybody; ``absent``
    says why there is no run.
    """

    counts: Mapping[str, Any]
    preset: Settings
    restricted: bool
    absent: str


def known(dataset: str) -> Corpus:
    """What is known of one of the published corpora."""
    from dslite.datasets import download

    preset = cards.settings_of(cards.load(dataset), verdicts.PRESET)
    restricted = dataset not in download.ARCHIVES and not paths.raw(dataset).is_dir()
    return Corpus(counts_of(dataset), preset, restricted, absent(dataset))


def absent(dataset: str) -> str:
    """Why there is no run: the corpus is not at hand, or nobody has run it."""
    if paths.raw(dataset).is_dir():
        return "not run"
    # Without the scheme a report shows it as text: its page holds no address but its own.
    obtain = cards.load(dataset).obtain.strip().replace("https://", "")
    return f"corpus not at hand: {obtain}"


def counts_of(dataset: str) -> dict[str, Any]:
    """Our row of Table 1 of a corpus, the user's own or a committed one; empty where none is."""
    for home in (paths.results(), paths.records()):
        path = home / dataset / "table1.csv"
        if path.is_file():
            return pd.read_csv(path).iloc[0].to_dict()
    return {}


def judged_counts(
    rows: Iterable[Mapping[str, Any]], corpora: Mapping[str, Corpus]
) -> dict[str, dict[str, Any]]:
    """Our judgement of every number of Tables 1 and 2, by its key.

    Parameters
    ----------
    rows : iterable of mapping
        Those of `dslite.paper.published.numbers`.
    corpora : mapping
        Dataset -> see `known`.

    Returns
    -------
    dict
        Key -> ``reproduced`` (NaN where there is none), ``verdict``, ``remark``. A count is equal as
        printed or not; a setting has our preset's value beside it.
    """
    judge = {1: _count, 2: _setting}
    return {row["key"]: judge[row["table"]](row, corpora[row["dataset"]]) for row in rows}


def _count(row: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    ours = corpus.counts.get(row["column"])
    if ours is None:
        verdict = verdicts.RESTRICTED if corpus.restricted else verdicts.NOT_RUN
        return {"reproduced": np.nan, "verdict": verdict, "remark": corpus.absent}
    if pd.isna(ours) or ours == 0:
        remark = f"{row['column']} unknown: the corpus does not say"
        return {"reproduced": np.nan, "verdict": verdicts.NOT_RUN, "remark": remark}
    verdict = verdicts.rule(row["value"], None, ours, None, DECIMALS[row["column"]])
    return {"reproduced": float(ours), "verdict": verdict, "remark": "counted in the corpus"}


def _setting(row: Mapping[str, Any], corpus: Corpus) -> dict[str, Any]:
    layers = {"fine_tuned_layers": int(LAYERS * corpus.preset.trained_share)}
    ours = float((corpus.preset.model_dump() | layers)[row["column"]])
    said = ["which cell of the printed row it is, is assumed"] if row["status"] == "assumed" else []
    said += [f"our preset has {ours:g}"] if ours != row["value"] else ["as in our preset"]
    return {"reproduced": ours, "verdict": verdicts.SETTING, "remark": ", ".join(said)}


def _preferred(found: pd.DataFrame) -> pd.DataFrame:
    """Runs in the order in which they are to stand for a published row.

    Pre-trained ones first, then the paper's backbone with the paper's preset, then the fewest
    overrides, then the lowest seed: never by the score.
    """
    other = (found["backbone"] != BACKBONE) | (found["preset"] != PRESET)
    order = [
        "random_weights",
        "other",
        "n_overrides",
        "backbone",
        "preset",
        "seed",
        "dataset",
        "run",
    ]
    return found.assign(other=other).sort_values(order, ignore_index=True).drop(columns="other")


def ablation_block(dataset: str, runs: pd.DataFrame) -> pd.DataFrame:
    """One corpus's block of Table 3 or 4, from our ``runs`` alone.

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
    own = _preferred(runs[runs["dataset"] == dataset])
    block, caption = {}, "not run"
    if len(own):
        shared = ["backbone", "preset", "random_weights", "seed", "overrides_and_weights"]
        networks = own[~own["configuration"].isin(BASELINES)]
        svm, acoustic = (own[own["configuration"] == kind] for kind in BASELINES)
        leading = next(rows for rows in (networks, svm, acoustic) if len(rows))
        groups = leading.groupby(shared, sort=False)
        group = dict(zip(shared, groups["configuration"].nunique().idxmax(), strict=True))
        agree = own[shared] == pd.Series(group)
        # A baseline hardly depends on the seed and not at all on epochs and the like.
        svm = svm[agree[shared[:3]].all(axis=1)[svm.index]]
        acoustic = acoustic[agree["preset"][acoustic.index]]
        nearest = {
            "by": ["overrides_and_weights", "seed"],
            "kind": "stable",
        }  # first those of the group itself
        baselines = [
            rows.sort_values(**nearest, key=lambda of: of != group[of.name]).head(1)
            for rows in (svm, acoustic)
        ]
        fits = pd.concat([*baselines, networks[agree.all(axis=1)[networks.index]]])
        block = {run.configuration: _cells(run) for run in fits.itertuples()}
        said = [group["backbone"], f"preset {group['preset'] or 'none'}", f"seed {group['seed']}"]
        said += [
            group["overrides_and_weights"],
            "random weights" if group["random_weights"] else "",
        ]
        blinded = fits["devel"].notna().any() and fits["test"].isna().all()
        said += ["test labels blinded: predicted, not scored"] if blinded else []
        caption = ", ".join(filter(None, said))
    columns = ["Dev", "Test", "CI on test (files)", "CI (speakers)"]
    rows = [block.get(configuration, ["–"] * 4) for configuration in LABELS]
    frame = pd.DataFrame(rows, columns=columns, index=pd.Index(LABELS.values(), name=dataset))
    frame.attrs["caption"] = f"{dataset}: {caption}"
    return frame


def _cells(run: Any) -> list[str]:
    unit, decimals = (1, 1) if run.metric == "uar" else (100, 2)

    def shown(*values: float) -> str:
        known = not any(np.isnan(value) for value in values)
        return "–".join(f"{value / unit:.{decimals}f}" for value in values) if known else "–"

    speakers = shown(run.low_speakers, run.high_speakers)
    return [shown(run.devel), shown(run.test), shown(run.low, run.high), speakers]


SCORED = (
    "reproduced",
    "deviation",
    "reproduced_ci_low",
    "reproduced_ci_high",
)  # of `score`, percent
NOTHING = dict.fromkeys(SCORED, np.nan) | {"seeds": 0, "note": ""}
SEVERAL = "several"  # commits or computers
NO_FILES = "no predictions of files are kept: bounds are means of the seeds' own"


def score(found: Sequence[Run], partition: str) -> dict[str, Any]:
    """Mean over the seeds of the UAR at file level, with its interval over files.

    Parameters
    ----------
    found : sequence of Run
        One a seed, alike in all else; classifications.
    partition : {"devel", "test"}

    Returns
    -------
    dict
        Percent: ``reproduced`` (mean over seeds), ``deviation`` (ddof 1; NaN for one seed), ``reproduced_ci_low``
        and ``reproduced_ci_high`` (95 %, see `mean_uar_interval`; draws and seed are those of the first
        run). Then the number of ``seeds``, and a ``note`` on the interval, mostly empty. All NaN
        where the partition's labels are blinded.

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
    parts = [run.metrics[partition] for run in found]
    if not all(parts):
        return NOTHING
    shares = np.array([part["file"]["score"] for part in parts])
    deviation = shares.std(ddof=1) if len(found) > 1 else np.nan
    note = ""
    if all((run.folder / "predictions.csv").is_file() for run in found):
        labels, predictions = _arrays(found, partition)
        draws, seed = found[0].settings.bootstrap_draws, found[0].record["seed"]
        interval = mean_uar_interval(labels, predictions, len(found[0].classes), draws, seed)
    else:
        known = [part["file"]["interval_files"] or (np.nan, np.nan) for part in parts]
        interval = tuple(np.mean(known, axis=0))
        note = NO_FILES if len(found) > 1 else ""
    low, high = interval or (np.nan, np.nan)
    percent = 100 * np.array([shares.mean(), deviation, low, high])
    return dict(zip(SCORED, percent.tolist(), strict=True)) | {"seeds": len(found), "note": note}


def _arrays(found: Sequence[Run], partition: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels int [files] and predictions int [seeds, files], files in the first run's order."""
    whole = [run.predictions for run in found]
    tables = [all_[(all_["partition"] == partition) & (all_["label"] != "")] for all_ in whole]
    wanted = tables[0].set_index("file")["label"]
    codes, classes = [], pd.Index(found[0].classes)
    for run, table in zip(found, tables, strict=True):
        own = table.set_index("file").reindex(wanted.index)
        if len(table) != len(wanted) or not own["label"].equals(wanted):
            raise InputError(
                f"{run.record['dataset']}/{run.folder.name}: scored on other files or labels than "
                f"{found[0].folder.name}; repeat the runs that were made before the corpus changed"
            )
        codes.append(classes.get_indexer(own["prediction"]))
    return classes.get_indexer(wanted), np.stack(codes)


def mean_uar_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    n_classes: int,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Percentile bootstrap interval, over files, of the mean over seeds of the UAR (paper 3.3).

    Parameters
    ----------
    labels : int [files]
    predictions : int [seeds, files]
    level : float
        Share of the draws inside the interval.

    Returns
    -------
    (low, high) or None
        Fractions; None with fewer than two files. A class absent from a draw is left out of that
        draw's mean.

    Notes
    -----
    A draw takes the same files for all seeds. A recall is linear in each file's share of seeds that
    recognise it, so the mean of the UARs is the UAR of these shares, and files with the same label
    and predictions are drawn together. For one seed it is
    `dslite.evaluation.metrics.bootstrap_interval`.
    """
    if len(labels) < 2:
        return None
    columns = np.column_stack([labels, *predictions])
    cells, equal = np.unique(columns, axis=0, return_counts=True)
    of_class = np.eye(n_classes)[cells[:, 0]]
    right = (cells[:, 1:] == cells[:, :1]).mean(axis=1)
    drawn = np.random.default_rng(seed).multinomial(len(labels), equal / len(labels), size=draws)
    files, hits = drawn @ of_class, drawn @ (of_class * right[:, None])
    recalls = np.divide(hits, files, out=np.full(files.shape, np.nan), where=files > 0)
    low, high = np.quantile(np.nanmean(recalls, axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def scored(rows: pd.DataFrame) -> dict[str, Any]:
    """Scores, origin and command of runs that differ in nothing but the seed.

    Parameters
    ----------
    rows : DataFrame
        Of `dslite.training.runs.all_runs`.

    Returns
    -------
    dict
        ``devel`` and ``test`` (see `score`) and ``origin``: `together` and the ``command``.
    """
    rows = rows.sort_values("seed")
    loaded = [runs.load(place) for place in rows["folder"]]
    known = rows.iloc[0][["dataset", "configuration", "preset", "backbone"]]
    line = command(*known, rows["seed"].tolist(), options_of(loaded[0].record))
    return {
        **{part: score(loaded, part) for part in ("devel", "test")},
        "origin": together(rows) | {"command": line},
    }


def together(rows: pd.DataFrame) -> dict[str, Any]:
    """Where numbers over several runs come from.

    Parameters
    ----------
    rows : DataFrame
        Of `dslite.training.runs.all_runs`.

    Returns
    -------
    dict
        ``runs`` (``dataset/run``, joined by ``;``), the latest ``date``, ``commit`` and
        ``hardware`` (`SEVERAL` where they differ), the sum of ``seconds`` (NaN if one is unknown).
    """
    named = rows["dataset"] + "/" + rows["run"]

    def shared(column: str) -> str:
        found = rows[column].unique()
        return found[0] if len(found) == 1 else SEVERAL

    return {
        "runs": ";".join(named),
        "date": rows["date"].max(),
        **{column: shared(column) for column in ("commit", "hardware")},
        "seconds": float(rows["seconds"].sum(skipna=False)),
    }


def command(
    dataset: str,
    configuration: str,
    preset: str,
    backbone: str,
    seeds: Sequence[int] = (0,),
    options: str = "",
) -> str:
    """One shell line that makes a configuration's runs; ``options`` as `options_of` gives them."""
    seed = seeds[0] if len(seeds) == 1 else "$seed"
    known = {"preset": preset, "backbone": backbone}
    if configuration == runs.SVM:
        line = f"dslite baseline {dataset}"
    else:
        line = f"dslite train {dataset}"
        known |= {"augmentation": configuration}
    line += "".join(f" --{key} {value}" for key, value in known.items() if value)
    line += f" --seed {seed}{options}"
    if len(seeds) == 1:
        return line
    return f"for seed in {' '.join(map(str, seeds))}; do {line}; done"


def options_of(record: Mapping[str, Any]) -> str:
    """What has to be added to `command` for a run's overrides; empty, or with a blank in front.

    A weights file is not named: where it lay is not recorded, and it stands for ``imagenet``.
    """
    words = ["--weights random"] if record["weights"]["random"] else []
    for key, (_, value) in sorted(record["overrides"].items()):
        if key not in ("backbone", "augmentation", "weights"):
            words.append(f"--set {key}={'null' if value is None else value}")
    return "".join(f" {word}" for word in words)


# Titles of backbones as in `dslite.models.backbones`, which needs TensorFlow
TITLES = {
    **{"densenet121": "DenseNet121", "mobilenet_v2": "MobileNetV2"},
    **{"squeezenet": "SqueezeNet 1.1"},
}
GROUP = ["backbone", "preset", "overrides", "random_weights", "weights"]  # of runs but for the seed
ORIGIN = {**dict.fromkeys(["runs", "date", "commit", "hardware"], ""), "seconds": np.nan}
OURS = {
    **dict.fromkeys(["reproduced", "reproduced_ci_low", "reproduced_ci_high"], np.nan),
    **{"verdict": "", "remark": "", "command": "", **ORIGIN},
}
BOUNDS = ["reproduced_ci_low", "reproduced_ci_high"]
JUDGED = ["reproduced", *BOUNDS, "verdict", "remark", "runs", "command"]  # columns of `numbers`
JUDGED += ["date", "commit", "hardware", "seconds"]
SUBSTITUTES = {
    **dict.fromkeys(["key", "dataset", "configuration", "column"], str),
    **dict.fromkeys(["published", "published_low", "published_high"], float),
    **dict.fromkeys(["backbone", "preset", "overrides", "label"], str),
    **{
        "seeds": int,
        **dict.fromkeys(
            ["reproduced", "deviation", "reproduced_ci_low", "reproduced_ci_high"], float
        ),
    },
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
        `dslite.paper.published.numbers` with ``reproduced``, its 95 % interval ``reproduced_ci_low, reproduced_ci_high`` (over
        files, of the mean over seeds), ``verdict``, ``remark``, ``runs`` (``dataset/run``, joined
        by ``;``), the ``command`` that makes it again, ``date``, ``commit``, ``hardware`` and
        ``seconds`` of the runs.
    """
    printed, found = published.numbers(), all_runs()
    beside = substitutes(printed, found) if beside is None else beside
    corpora = {name: known(name) for name in published.NAMES}
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
    made = judged_counts(rows, corpora)
    for row in rows:
        dataset = row["dataset"]
        trained = command(dataset, "none", verdicts.PRESET, verdicts.BACKBONE)
        line = f"dslite partition {dataset}" if row["table"] == 1 else trained
        made[row["key"]] = OURS | made[row["key"]] | {"command": line}
    return made


# Tables 3 and 4


def _is_papers(found: pd.DataFrame) -> pd.Series:
    """Which runs count as the paper's; a weights file may stand in the place of ``imagenet``."""
    same = (found["backbone"] == verdicts.BACKBONE) & (found["preset"] == verdicts.PRESET)
    return same & ~found["overridden"] & ~found["random_weights"]


def _scores(
    printed: pd.DataFrame,
    found: pd.DataFrame,
    beside: pd.DataFrame,
    corpora: Mapping[str, Corpus],
) -> dict[str, dict[str, Any]]:
    """Our judgement of every number of Tables 3 and 4, by its key."""
    own = found[_is_papers(found) & (found["metric"] == "uar")]
    own = own.sort_values("n_overrides", kind="stable")
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
    return OURS | {"reproduced": ours, "verdict": verdict} | told


def _interval(low: float, high: float) -> tuple[float, float] | None:
    return None if np.isnan(low) else (low, high)


def _block(cells: Mapping[str, Mapping[str, Any]], rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """One printed row of Table 3 or 4 with the paper's own runs: column -> judgement.

    The bounds of the published interval are judged as the interval they belong to.
    """
    made, judged = scored(rows), {}
    for column in ("devel", "test"):
        row, score = cells[column], made[column]
        if np.isnan(score["reproduced"]):
            told = {"verdict": verdicts.NOT_RUN, "remark": "no score: the labels are blinded"}
        else:
            said = ", ".join([*_said(rows.iloc[0], row), *filter(None, [score["note"]])])
            told = {
                key: score[key] for key in ("reproduced", "reproduced_ci_low", "reproduced_ci_high")
            }
            told["verdict"] = verdicts.rule(*_pair(row, score), 1)
            told["remark"] = said or "the paper's settings"
        judged[column] = OURS | made["origin"] | told
    test = judged["test"]
    for column, bound in (("ci_low", "reproduced_ci_low"), ("ci_high", "reproduced_ci_high")):
        judged[column] = test | dict.fromkeys(BOUNDS, np.nan) | {"reproduced": test[bound]}
    return {column: judged[column] for column in cells}


def _pair(row: Mapping[str, Any], score: Mapping[str, Any]) -> tuple[Any, ...]:
    """Arguments of the rule but for the decimals."""
    theirs = _interval(row["low"], row["high"])
    return (
        row["value"],
        theirs,
        score["reproduced"],
        _interval(score["reproduced_ci_low"], score["reproduced_ci_high"]),
    )


def _said(run: pd.Series, row: Mapping[str, Any]) -> list[str]:
    """What of a run's conditions a reader of the score has to know."""
    said = verdicts.differences(
        run["backbone"], run["preset"], run["overrides"], run["random_weights"]
    )
    said += (
        [f"weights of the file {run['weights']}"]
        if "weights" in run["overrides_and_weights"]
        else []
    )
    caption = published.table(row["table"]).set_index("dataset")["chance"][row["dataset"]].iloc[0]
    if abs(run["chance"] - caption) > 0.1:
        said.append(f"chance {run['chance']:.1f} instead of {caption:.1f}")
    if row["dataset"] in OWN_PARTITION:
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
    line = command(dataset, configuration, verdicts.PRESET, verdicts.BACKBONE)
    judged = {}
    for column in cells:
        score = "test" if column in ("ci_low", "ci_high") else column
        told = beside[beside["key"] == cells[score]["key"]]
        shown = [
            f"{one.label}: {one.reproduced:.1f} % ({one.reproduced_ci_low:.1f} to {one.reproduced_ci_high:.1f}), "
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
        options = options_of(record) if record.get("settings") else ""
    else:
        dataset, preset, seed, options = "ravdess", verdicts.PRESET, 0, ""
        card = cards.load(dataset)
        run = runs.folder(card, cards.settings_of(card, preset), seed, preset=preset).name
    given = (dataset, "none", preset, verdicts.BACKBONE, [seed], options)
    folder = f"results/{dataset}/{run}"  # also where DSLITE_RESULTS names another place
    line = f"{command(*given)} && dslite convert {folder} && dslite profile {folder}"
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
        `dslite.paper.published.numbers` and `dslite.training.runs.all_runs`, which they are if not given.

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
    found = all_runs() if found is None else found
    others = found[~_is_papers(found) & (found["metric"] == "uar")]
    # A shortened run was made for something else (its cost, a trial) and says nothing of a score.
    others = others[~others["overrides"].str.contains(SHORTENED)]
    wanted = printed[printed["column"].isin(("devel", "test"))].to_dict("records")
    keys = ["dataset", "configuration"]
    cells = {(row["dataset"], row["configuration"], row["column"]): row for row in wanted}
    rows = []
    for (dataset, configuration, *_), group in others.groupby([*keys, *GROUP], sort=False):
        if (dataset, configuration, "test") not in cells:
            continue
        made = scored(group)
        for column in ("devel", "test"):
            row, score = cells[dataset, configuration, column], made[column]
            if not np.isnan(score["reproduced"]):
                rows.append(_substitute(row, group.iloc[0], score) | made["origin"])
    frame = pd.DataFrame(rows, columns=list(SUBSTITUTES)).astype(SUBSTITUTES)
    order = {row["key"]: place for place, row in enumerate(wanted)}
    return frame.sort_values(
        "key", key=lambda key: key.map(order), kind="stable", ignore_index=True
    )


def _substitute(row: Mapping[str, Any], run: pd.Series, score: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `substitutes`, less where it comes from."""
    title = TITLES.get(run["backbone"], run["backbone"])
    said = [title, run["preset"] or "own settings", run["overrides"]]
    said += ["random weights"] if run["random_weights"] else []
    return {
        **{key: row[key] for key in ("key", "dataset", "configuration", "column")},
        **{"published": row["value"], "published_low": row["low"], "published_high": row["high"]},
        **{key: run[key] for key in ("backbone", "preset")},
        **{"overrides": run["overrides"], "label": ", ".join(filter(None, said))},
        **{key: score[key] for key in ("seeds", *SCORED)},
        "agreement": verdicts.agreement(*_pair(row, score), 1),
        "remark": ", ".join([*_said(run, row), *filter(None, [score["note"]])]),
    }
