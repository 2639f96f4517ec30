"""Every number that the paper prints, what was reproduced of it, and a verdict.

A run counts as the paper's if it has its backbone, its preset, pre-trained weights and nothing
overridden. All others are substitutes: laid beside the number, never called a reproduction of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dslite import cards, paths
from dslite.evaluation import metrics
from dslite.models.weights import REGISTRY
from dslite.paper import published
from dslite.paper.published import BACKBONE, PRESET
from dslite.settings import Settings
from dslite.training import runs as training_runs
from dslite.training.runs import BASELINES, LABELS, LIBROSA, SHORTENED, SVM, Run, all_runs, load

COUNT_DECIMALS = {"files": 0, "classes": 0, "speakers": 0, "minutes": 1, "mean_s": 2, "std_s": 4}
OWN_PARTITION = ("demos", "ravdess")  # speaker-independent, says the paper, and no more
LAYERS = 427  # of DenseNet121 in Keras: Table 2 counts shares of them
TITLES = {name: row["title"] for name, row in REGISTRY.items()}  # of backbones
GROUP = ["backbone", "preset", "overrides", "random_weights", "weights"]  # of runs but for the seed
BOUNDS = ["reproduced_ci_low", "reproduced_ci_high"]
SCORES = ["reproduced", "deviation", *BOUNDS]  # of `mean_score`, percent
UNSCORED = dict.fromkeys(SCORES, np.nan) | {"seeds": 0, "note": ""}
EMPTY = {  # what `numbers` adds to a published number
    **dict.fromkeys(["reproduced", *BOUNDS], np.nan),
    **dict.fromkeys(["verdict", "half_widths", "remark", "runs", "command"], ""),
    **dict.fromkeys(["date", "commit", "hardware"], ""),
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
# Of Table 5; what the published memory means is not said
MEMORY = "peak of a fresh process over the loaded runtime"
STAGES = {  # column of Table 5 -> what of a profile stands in it: part and variant
    "preprocessing": ("spectrogram", "float32"),
    "tf_model": ("cnn", "Keras, compiled"),
    "tflite_cpu": ("cnn", "float32"),
}
OF_A_MACHINE = ("mean_time", "mean_memory")  # the other quantities are those of the model alone
UNITS = 512  # of the published model: with such a head DenseNet121 has 7.6 M parameters
BACKBONES = 7_037_504  # parameters of DenseNet121 without a head
TRAINED = 5_755_840  # of them in its last 298 layers, which Table 2 trains for CCS and ESS
FILTERS = 128 * 257  # numbers in the Mel filters of section 2.1: bands, bins of 512 samples
SHAPE = ("feature_layer", "pooling", "image_size")  # settings that make another network of it


# All numbers


def numbers(runs: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """Lay what was reproduced beside every number of Tables 1 to 5, with a verdict.

    Takes what `dslite.training.runs.all_runs` and `dslite.paper.published.findings` give. Adds the
    columns `EMPTY`; an interval is over files, of the mean over seeds.
    """
    printed, classes = published.numbers(), published.table(1).set_index("dataset")["classes"]
    corpora = {name: _corpus(name) for name in published.NAMES}
    runs = runs[runs["metric"] == "uar"]
    papers = _scored(runs[_is_papers(runs)], ["dataset", "configuration"])
    scores = papers.set_index("key").to_dict("index")
    measured, rows = _measured(), []
    for row in printed.to_dict("records"):
        corpus = corpora.get(row["dataset"])
        if row["table"] == 1:
            judgement = _judged_count(row, corpus)
        elif row["table"] == 2:
            judgement = _judged_setting(row, corpus)
        elif row["table"] == 5:
            judgement = cost_judged(row, measured[0]) | {"command": measured[1]}
        elif row["column"] == "chance":
            chance = 100 / classes[row["dataset"]]
            same = published.rule(row["value"], None, chance, None, 1) == published.EQUAL
            verdict = published.COMPUTED if same else published.CONTRADICTED
            judgement = {"reproduced": chance, "verdict": verdict, "command": "dslite datasets"}
            judgement["remark"] = "100 / classes of Table 1"
        elif _score_key(row) in scores:
            judgement = _judged_score(row, scores[_score_key(row)])
        else:
            judgement = _not_run(row, runs, corpus)
        rows.append(EMPTY | judgement)
    joined = printed.join(pd.DataFrame(rows)[list(EMPTY)])
    # What stands in a finding that does not hold cannot be reproduced, whatever was run.
    wrong = findings[~findings["holds"].astype(bool)]
    wrong = wrong.assign(key=wrong["keys"].str.split(";")).explode("key")
    reasons = joined["key"].map(wrong.groupby("key")["explanation"].agg(" ".join))
    verdicts = joined["verdict"].mask(reasons.notna(), published.ITSELF)
    remarks = joined["remark"].mask(reasons.notna(), reasons.astype(object))
    joined = joined.assign(verdict=verdicts, remark=remarks)
    scored = joined["verdict"].isin(published.TESTED) & joined["reproduced_ci_low"].notna()
    spans = joined.loc[scored, ["low", "high", *BOUNDS]].to_numpy()
    joined.loc[scored, "half_widths"] = [published.half_widths(s[:2], s[2:]) for s in spans]
    return joined


def summary(numbers: pd.DataFrame) -> pd.DataFrame:
    """Count the numbers of each table (columns) by verdict (rows, in their order)."""
    counts = pd.crosstab(numbers["verdict"], numbers["table"])
    return counts.reindex([v for v in published.ORDER if v in counts.index])


def _corpus(dataset: str) -> dict[str, Any]:
    """Our row of Table 1 (``counts``), the paper's ``preset``, and why there is no run."""
    from dslite.datasets import download

    card, present = cards.load(dataset), paths.raw(dataset).is_dir()
    # Without the scheme a report shows it as text: its page holds no address but its own.
    obtain = card.obtain.strip().replace("https://", "")
    files = [paths.results(dataset) / "table1.csv", *sorted(paths.records().glob("*/table1.csv"))]
    rows = [row for file in files if file.is_file() for row in pd.read_csv(file).to_dict("records")]
    return {
        "counts": next((row for row in rows if row["dataset"] == dataset), {}),
        "preset": cards.settings_of(card, PRESET),
        # neither at hand nor to be had by everybody
        "restricted": dataset not in download.ARCHIVES and not present,
        "absent": "not run" if present else f"corpus not at hand: {obtain}",
    }


def _judged_count(row: Mapping[str, Any], corpus: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a number of Table 1: equal as printed or not."""
    count = corpus["counts"].get(row["column"])
    judgement = {"verdict": published.NOT_RUN, "command": f"dslite partition {row['dataset']}"}
    if count is None:
        verdict = published.RESTRICTED if corpus["restricted"] else published.NOT_RUN
        return judgement | {"verdict": verdict, "remark": corpus["absent"]}
    if pd.isna(count) or count == 0:
        return judgement | {"remark": f"{row['column']} unknown: the corpus does not say"}
    verdict = published.rule(row["value"], None, count, None, COUNT_DECIMALS[row["column"]])
    counted = {"reproduced": float(count), "remark": "counted in the corpus"}
    return judgement | counted | {"verdict": verdict}


def _judged_setting(row: Mapping[str, Any], corpus: Mapping[str, Any]) -> dict[str, Any]:
    """Lay our preset's value beside a number of Table 2."""
    layers = {"fine_tuned_layers": int(LAYERS * corpus["preset"].trained_share)}
    value = float((corpus["preset"].model_dump() | layers)[row["column"]])
    assumed = "which cell of the printed row it is, is assumed, "
    remark = assumed if row["status"] == published.ASSUMED else ""
    remark += f"our preset has {value:g}" if value != row["value"] else "as in our preset"
    line = _command(row["dataset"], "none", PRESET, BACKBONE)
    return {"verdict": published.SETTING, "remark": remark, "command": line, "reproduced": value}


# Tables 3 and 4


def _is_papers(runs: pd.DataFrame) -> pd.Series:
    """Which runs count as the paper's; a weights file may stand in the place of ``imagenet``."""
    same = (runs["backbone"] == BACKBONE) & (runs["preset"] == PRESET)
    return same & ~runs["overridden"] & ~runs["random_weights"]


def _score_key(row: Mapping[str, Any]) -> str:
    """The key of the score that a number of Table 3 or 4 is, or bounds."""
    return row["key"].replace("/ci_low", "/test").replace("/ci_high", "/test")


def _judged_score(row: Mapping[str, Any], score: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a score by the paper's own runs, and a bound as the interval it belongs to."""
    judgement = {key: score[key] for key in EMPTY if key in score}
    if np.isnan(score["reproduced"]):
        blinded = "no score: the labels are blinded"
        return judgement | {"verdict": published.NOT_RUN, "remark": blinded}
    judgement["verdict"] = published.rule(*_pair(score), 1)
    judgement["remark"] = score["remark"] or "the paper's settings"
    if row["column"] in ("ci_low", "ci_high"):
        judgement["reproduced"] = score[f"reproduced_{row['column']}"]
        judgement |= dict.fromkeys(BOUNDS, np.nan)
    return judgement


def _pair(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Arguments of the rule but for the decimals, from a row of `_scored`."""
    intervals = [(row["published_low"], row["published_high"]), tuple(row[b] for b in BOUNDS)]
    theirs, ours = (None if np.isnan(interval[0]) else interval for interval in intervals)
    return row["published"], theirs, row["reproduced"], ours


def _not_run(
    row: Mapping[str, Any], runs: pd.DataFrame, corpus: Mapping[str, Any]
) -> dict[str, Any]:
    """Say why there is no run of a number of Table 3 or 4."""
    runs = runs[(runs["dataset"] == row["dataset"]) & (runs["configuration"] != LIBROSA)]
    verdict, remark = published.NOT_RUN, corpus["absent"]
    if corpus["restricted"]:
        verdict = published.RESTRICTED
    elif len(runs):
        if not ((runs["backbone"] == BACKBONE) & ~runs["random_weights"]).any():
            verdict = published.WEIGHTS
        remark = f"no run of pre-trained {TITLES[BACKBONE]} with the paper's preset"
    line = _command(row["dataset"], row["configuration"], PRESET, BACKBONE)
    return {"verdict": verdict, "remark": remark, "command": line}


def substitutes(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay runs that are not the paper's beside the numbers that they stand in for.

    One row a published score (``devel`` and ``test`` of Tables 3 and 4) and group of runs that
    differ in nothing but the seed. ``agreement`` is that of `dslite.paper.published`: a substitute
    reproduces nothing. What no published row has is left out.
    """
    others = runs[~_is_papers(runs) & (runs["metric"] == "uar")]
    # A shortened run was made for something else (its cost, a trial) and says nothing of a score.
    others = others[~others["overrides"].str.contains(SHORTENED)]
    table = _scored(others, ["dataset", "configuration", *GROUP])
    return table.dropna(subset="reproduced", ignore_index=True)


def _scored(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Score groups of runs that differ in nothing but the seed: see `substitutes`."""
    names = {"value": "published", "low": "published_low", "high": "published_high"}
    printed = published.numbers().rename(columns=names).rename_axis("order").reset_index()
    printed = printed[printed["column"].isin(("devel", "test"))]
    cells, rows = dict(list(printed.groupby(["dataset", "configuration"]))), []
    chances = published.scores().drop_duplicates("dataset").set_index("dataset")["chance"]
    for key, group in runs.groupby(by, sort=False):
        group = group.sort_values("seed")
        run = group.iloc[0]
        seeds = [training_runs.load(folder) for folder in group["folder"]]
        shared = _origin(group, seeds[0])
        for cell in cells.get(key[:2], printed.iloc[:0]).to_dict("records"):
            row = cell | shared | _mean_score(seeds, cell["column"])
            remarks = published.differences(*run[GROUP[:4]])
            if run["weights"] not in ("imagenet", "random"):
                remarks.append(f"weights of the file {run['weights']}")
            if abs(run["chance"] - chances[row["dataset"]]) > 0.1:
                chance = f"chance {run['chance']:.1f} instead of {chances[row['dataset']]:.1f}"
                remarks.append(chance)
            if row["dataset"] in OWN_PARTITION:
                remarks.append("partition of our own (none is published)")
            row["remark"] = ", ".join(filter(None, [*remarks, row["note"]]))
            scored = not np.isnan(row["reproduced"])
            rows.append(row | {"agreement": published.agreement(*_pair(row), 1) if scored else ""})
    table = pd.DataFrame(rows, columns=[*SUBSTITUTES, "order"]).astype(SUBSTITUTES)
    table = table.sort_values("order", kind="stable", ignore_index=True)
    return table.drop(columns="order")


def _origin(runs: pd.DataFrame, first: Run) -> dict[str, Any]:
    """What runs share that differ in nothing but the seed, and where they are from."""
    run = runs.iloc[0]
    label = [TITLES.get(run["backbone"], run["backbone"]), run["preset"] or "own settings"]
    label += [run["overrides"], "random weights" * bool(run["random_weights"])]
    kind = run[["dataset", "configuration", "preset", "backbone"]]
    places = {column: runs[column].unique() for column in ("commit", "hardware")}
    return {
        **{key: run[key] for key in ("backbone", "preset", "overrides")},
        **{"label": ", ".join(filter(None, label)), "date": runs["date"].max()},
        **{"runs": ";".join(runs["dataset"] + "/" + runs["run"])},
        **{column: of[0] if len(of) == 1 else SEVERAL for column, of in places.items()},
        "seconds": float(runs["seconds"].sum(skipna=False)),
        "command": _command(*kind, runs["seed"].tolist(), _options(first.record)),
    }


def _mean_score(seeds: Sequence[Run], partition: str) -> dict[str, Any]:
    """`SCORES` of the UAR at file level over the seeds (NaN: blinded), ``seeds`` and a ``note``."""
    parts = [run.metrics[partition] for run in seeds]
    if not all(parts):
        return UNSCORED
    shares = np.array([part["file"]["score"] for part in parts])
    deviation = shares.std(ddof=1) if len(seeds) > 1 else np.nan
    note = ""
    if all(run.predictions is not None for run in seeds):
        rows = pd.concat([run.predictions.assign(seed=run.record["seed"]) for run in seeds])
        rows, names = rows[rows["partition"] == partition], ", ".join(run.name for run in seeds)
        classes = seeds[0].classes
        _, labels, predictions = metrics.by_seed(rows, classes, names)
        drawn = {"draws": seeds[0].settings.bootstrap_draws, "seed": seeds[0].record["seed"]}
        interval = metrics.bootstrap_interval(labels, predictions, len(classes), **drawn)
    else:  # private file names: the runs' intervals stand for the mean's, which would be narrower
        intervals = [part["file"]["interval_files"] or (np.nan, np.nan) for part in parts]
        interval = tuple(np.mean(intervals, axis=0))
        note = NO_FILES if len(seeds) > 1 else ""
    low, high = interval or (np.nan, np.nan)
    percent = 100 * np.array([shares.mean(), deviation, low, high])
    return dict(zip(SCORES, percent.tolist(), strict=True)) | {"seeds": len(seeds), "note": note}


def _command(
    dataset: str,
    kind: str,
    preset: str,
    backbone: str,
    seeds: Sequence[int] = (0,),
    added: str = "",
) -> str:
    """One shell line that makes a configuration's (``kind``) runs; ``added``: see `_options`."""
    named = {"preset": preset, "backbone": backbone}
    line = f"dslite {'baseline' if kind == SVM else 'train'} {dataset}"
    named |= {} if kind == SVM else {"augmentation": kind}
    line += "".join(f" --{key} {value}" for key, value in named.items() if value)
    line += f" --seed {seeds[0] if len(seeds) == 1 else '$seed'}{added}"
    return line if len(seeds) == 1 else f"for seed in {' '.join(map(str, seeds))}; do {line}; done"


def _options(record: Mapping[str, Any]) -> str:
    """What has to be added to `_command` for a run's overrides, a blank in front."""
    # A weights file is not named: where it lay is not recorded, and it stands for imagenet.
    words = ["--weights random"] if record["weights"]["random"] else []
    for key, (_, value) in sorted(record["overrides"].items()):
        if key not in ("backbone", "augmentation", "weights"):
            words.append(f"--set {key}={'null' if value is None else value}")
    return "".join(f" {word}" for word in words)


def ablation_block(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay finished runs of one corpus out like its block of Table 3 or 4, a row each, as texts.

    Takes rows of `dslite.training.runs.all_runs`; the index is the configuration in words.
    """
    by = ["backbone", "preset", "overrides", "seed"]
    runs = runs.assign(order=runs["configuration"].map(list(LABELS).index))
    runs = runs.sort_values(["order", *by, "run"])
    scores, rows = [["devel"], ["test"], ["low", "high"], ["low_speakers", "high_speakers"]], []
    for run in runs.to_dict("records"):
        form, unit = ("{:.1f}", 1) if run["metric"] == "uar" else ("{:.2f}", 100)
        texts = ["–".join(form.format(run[key] / unit) for key in keys) for keys in scores]
        words = [run["backbone"], run["preset"], f"seed {run['seed']}", run[by[2]]]
        words.append("random weights" * run["random_weights"])
        texts = ["–" if "nan" in of else of for of in texts]
        if texts[-1] == "–" and run["speakers"]:
            texts[-1] = f"{run['speakers']} speakers: no interval"
        rows.append([*texts, ", ".join(filter(None, words))])
    columns = ["Dev", "Test", "CI on test (files)", "CI (speakers)", "Run"]
    index = pd.Index(runs["configuration"].map(LABELS), name="configuration")
    return pd.DataFrame(rows, columns=columns, index=index)


def best_on_devel(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each pre-trained network's configuration by the first seed, best on devel first.

    Of `dslite.training.runs.all_runs`. Best is the mean over the seeds, never the lucky run; of
    equals, what comes first in `LABELS`.
    """
    by = ["dataset", "backbone", "preset", "overrides", "configuration"]
    runs = runs[~runs["random_weights"] & ~runs["configuration"].isin(BASELINES)]
    devel = runs.groupby(by)["devel"].transform("mean").round(6)
    order = runs["configuration"].map(list(LABELS).index)
    first = runs.assign(mean=devel, order=order).sort_values("seed", kind="stable")
    first = first.drop_duplicates(by).assign(name=first["dataset"] + "/" + first["run"])
    return first.sort_values(["mean", "order"], ascending=[False, True], kind="stable")


# Table 5


def best_measured(runs: pd.DataFrame) -> list[str]:
    """Return, `best_on_devel` first, the measured run of each network and preset: its name."""
    best = best_on_devel(runs)
    best = best[best["name"].isin(profiles())]
    return best.drop_duplicates(["dataset", "backbone", "preset", "overrides"])["name"].tolist()


def _measured() -> tuple[tuple[str, dict[str, Any], pd.DataFrame] | None, str]:
    """The measured network that is nearest to the paper's, and the line that measures it again."""
    if nearest := of_papers_network():
        name, record, _ = nearest
        preset, seed, added = record["preset"], record["seed"], _options(record)
    else:
        preset, seed, added, card = PRESET, 0, "", cards.load("ravdess")
        run = training_runs.folder(card, cards.settings_of(card, preset), seed, preset=preset)
        name = f"ravdess/{run.name}"
    folder = f"results/{name}"  # also where DSLITE_RESULTS names another place
    line = _command(name.partition("/")[0], "none", preset, BACKBONE, [seed], added)
    return nearest, f"{line} && dslite convert {folder} && dslite profile {folder}"


def profiles() -> dict[str, tuple[Run, dict[str, Any]]]:
    """Read every measured run and fold: ``dataset/run`` -> it and its ``profile.json``."""
    runs = map(load, all_runs(folds=True)["folder"])
    return {run.name: (run, content) for run in runs if (content := run.content("profile"))}


def measured(run: Run, content: Mapping[str, Any]) -> pd.DataFrame:
    """Lay one profile (a run and its ``profile.json``) out like Table 5; ``remark``: what lacks."""
    device = run.content("device") or {}
    stages = {column: _stage(content, *which) for column, which in STAGES.items()}
    stages["tf_model"] |= {key: content.get(key) for key in ("parameters", "multiply_adds")}
    stages["tflite_phone"] = device
    remembered = any(stage.get("growth_mb") is not None for stage in stages.values())
    rows = {
        "mean_time": ("ms", 1, []),
        "flops": ("multiply_adds", 1e9, ["multiply-adds; FLOPs are twice as many"]),
        "parameters": ("parameters", 1e6, ["counted in the TF model only"]),
        "mean_memory": ("growth_mb", 1, [MEMORY if remembered else "memory not measured"]),
        "model_size": ("size_bytes", 1e6, []),
    }
    order = published.table(5)["quantity"]
    keys, units, notes = zip(*(rows[quantity] for quantity in order), strict=True)
    values = {c: np.array([s.get(k) for k in keys], float) / units for c, s in stages.items()}
    phone = "phone not available"
    if device:
        facts = filter(None, [device.get("file"), _threads(device.get("threads", 0))])
        phone = f"phone: {device['name']} ({', '.join(facts)})".removesuffix(" ()")
    differences = published.differences(content["backbone"], PRESET, "", content["random_weights"])
    return pd.DataFrame(values, index=pd.Index(order)).assign(
        hardware=f"{content['hardware']}, {_threads(content['threads'][0])}",
        remark=["; ".join([*differences, *note, phone]) for note in notes],
    )


def _stage(content: Mapping[str, Any], *which: str) -> dict[str, Any]:
    """The row of a part and variant on the first number of threads; Keras has one only."""
    rows = [row for row in content["rows"] if (row["part"], row["variant"]) == which]
    first = [row for row in rows if row["threads"] == content["threads"][0]]
    return dict(next(iter(first or rows), {}))


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}" if n else ""


def measurements(runs: Collection[str]) -> pd.DataFrame:
    """Read what was measured of these runs, ``dataset/run``, in the units of Table 5."""
    empty = pd.DataFrame(columns=["label", "quantity", "column", "reproduced", "hardware", "other"])
    tables = [
        measured(*of)
        .reset_index()
        .drop(columns="remark")
        .melt(["quantity", "hardware"], var_name="column", value_name="reproduced")
        .assign(label=name, other=of[1]["backbone"] != BACKBONE)
        for name, of in sorted(profiles().items(), key=lambda item: item[0])
        if name in runs
    ]
    table = pd.concat(tables or [empty]).sort_values("other", kind="stable", ignore_index=True)
    return table.drop(columns="other").dropna(subset=["reproduced"], ignore_index=True)


def of_papers_network() -> tuple[str, dict[str, Any], pd.DataFrame] | None:
    """Choose the measured run whose network is the published one: name, ``run.json``, `measured`.

    The backbone counts as a whole and at the paper's size of picture; then a head of `UNITS` units
    goes before others, and pre-trained weights before random ones.
    """
    whole, named = Settings().model_dump(include=set(SHAPE)), profiles()
    candidates = [
        (run.record["settings"]["units"] != UNITS, content["random_weights"], name)
        for name, (run, content) in named.items()
        if content["backbone"] == BACKBONE and name.count("/") == 1
        if whole.items() <= run.record["settings"].items()
    ]
    if not candidates:
        return None
    run, content = named[name := min(candidates)[-1]]
    return name, run.record | {"measured": content["date"]}, measured(run, content)


def cost_judged(
    row: Mapping[str, Any], nearest: tuple[str, dict[str, Any], pd.DataFrame] | None
) -> dict[str, Any]:
    """Judge a number of Table 5: a count or size by rounding; a time is another machine's."""
    if nearest is None:
        return {"verdict": published.NOT_RUN, "remark": f"no profile of {BACKBONE}"}
    name, record, table = nearest
    quantity, column = row["configuration"], row["column"]
    measure = table.loc[quantity]
    value, remarks = measure[column], [measure["remark"]]
    if quantity == "model_size" and column == "tflite_phone" and np.isnan(value):
        value = measure["tflite_cpu"]
        remarks.append("the same file as for the CPU")
    units, preset = record["settings"]["units"], record["preset"]
    remarks += [f"head of {units} units instead of {UNITS}"] if units != UNITS else []
    remarks += [f"preset {preset}"] if preset != PRESET else []
    verdict = published.NOT_RUN
    if quantity in OF_A_MACHINE:
        if column == "tflite_phone" or not np.isnan(value):
            verdict = published.HARDWARE
    elif not np.isnan(value):
        # "150.0 kb" is printed of the preprocessing, everything else in MB, M or G
        decimals = 4 if row["key"] == "5/model_size/preprocessing" else 1
        verdict = published.rule(row["value"], None, value, None, decimals)
        if verdict != published.EQUAL and (text := _definition(row, table)):
            verdict, remarks = published.ANOTHER, [text, *remarks]
        remarks += ["counts and sizes are those of any weights"] if "random" in remarks[0] else []
    return {
        **{"reproduced": float(value), "verdict": verdict, "remark": "; ".join(remarks)},
        **{"runs": name, "date": record["measured"], "commit": record.get("commit", "")},
        **{"hardware": measure["hardware"], "seconds": record.get("seconds", np.nan)},
    }


def _definition(row: Mapping[str, Any], table: pd.DataFrame) -> str:
    """Compute from what was `measured` of what else a printed number is; empty if that fails."""
    printed, adds, filters = row["value"], table.loc["flops", "tf_model"], 4 * FILTERS / 1e6
    ours, program = table.loc["model_size", ["tf_model", "preprocessing"]]
    trained = (TRAINED - BACKBONES) / 1e6 + table.loc["parameters", "tf_model"]
    total = ours + 2 * 4 * trained
    holds, text = {
        "5/model_size/tf_model": (
            abs(total / printed - 1) < 0.01,
            "the printed file holds AdaDelta's two slots of each trained parameter, ours the "
            f"weights alone: {ours:.1f} MB + 2 x 4 bytes x {trained:.2f} M = {total:.1f} MB",
        ),
        "5/model_size/preprocessing": (
            filters < min(printed, program),
            "the file of another program, the authors': the Mel filters of both take 128 x 257 x 4 "
            f"bytes = {filters:.3f} MB, the rest is how the program is written",
        ),
        "5/flops/tf_model": (
            adds < printed < 2 * adds,
            f"between the multiply-adds, {adds:.2f} G, and the FLOPs, 2 x {adds:.2f} = "
            f"{2 * adds:.2f} G: which operations are counted is not said",
        ),
    }.get(row["key"], (False, ""))
    return text if holds else ""
