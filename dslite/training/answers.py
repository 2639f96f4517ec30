"""What finished runs say: how phase 1 was solved, which phase was kept, what helps on this corpus.

Everything is computed from runs of either head; gains are paired, of the same devel files.
"""

import math
from collections.abc import Sequence

import pandas as pd

from dslite.evaluation import metrics, significance
from dslite.training import ridge, runs
from dslite.training.runs import LABELS, Run

FAR = 0.05  # of UAR or rho: by so much heads of absolute level are better "by far"
PLAIN = "none"


def heads_table(run: Run) -> pd.DataFrame:
    """Tabulate the heads that phase 1 solved for the final model; empty where it was trained."""
    score = "rho" if run.task == "regression" else "UAR (%)"
    factor = 1 if run.task == "regression" else 100
    rows = [
        {
            "head": head["head"],
            "sees": ", ".join(ridge.HEADS.get(head["head"], ["all features"])).replace("_", " "),
            "strength": f"{head['strength']:.3g}",
            "held-out loss": round(head["loss"], 3),
            f"held-out {score}": round(factor * head["score"], 3 if factor == 1 else 1),
            "averaged": "yes" if head["chosen"] else "",
        }
        for head in run.record.get("heads", [])
    ]
    return pd.DataFrame(rows)


def calibration_table(run: Run) -> pd.DataFrame:
    """Tabulate how far probabilities are from what comes true, in percent; a row a partition."""
    rows = []
    for partition, files in run.predictions.query("label != ''").groupby("partition", sort=False):
        probabilities = files[list(run.classes)].to_numpy(float)
        right = (files["label"] == files["prediction"]).to_numpy()
        error = metrics.calibration_error(probabilities.max(axis=1), right)
        row = {"partition": partition, "mean probability": probabilities.max(axis=1).mean()}
        rows.append(row | {"recognised": right.mean(), "calibration error": error})
    return (100 * pd.DataFrame(rows).set_index("partition")).round(1)


def phase_kept(run: Run) -> str:
    """Say which phase's network was kept, and why."""
    history = run.history[run.history["training"] == "train"]
    best = history[history["best"]].iloc[0]
    if run.settings.head != "ridge":
        return (
            f"Both phases are trained: epoch {best['epoch']} of {len(history)} (phase "
            f"{best['phase']}) was best on devel and is kept."
        )
    if not (chosen := run.record.get("kept")):
        return "Phase 1 is kept: there was no phase 2."
    gain, noise = _points(chosen["gain"], run), _points(chosen["noise"], run, "")
    if chosen["phase"] == 2:
        return f"Phase 2 is kept: {gain} on devel, more than its noise ({noise})."
    return f"Phase 1 is kept: phase 2 gained at best {gain} on devel, within its noise ({noise})."


def ablation_gains(finished: Sequence[Run]) -> pd.DataFrame:
    """Tabulate what phase 2 and augmentation add on devel, beside the baselines; texts.

    ``gain of phase 2`` is that of its best epoch above the solved head. A noise is twice the
    standard error over the files that both see; a regression's gains are of the squared error.
    """
    plain, rows = _networks(finished)[PLAIN], []
    for run in finished:
        row = dict.fromkeys(["phase kept", "gain of phase 2", "its noise"], "")
        if chosen := run.record.get("kept"):
            row = {"phase kept": str(chosen["phase"])}
            row["gain of phase 2"] = _points(chosen["gain"], run)
            row["its noise"] = _points(chosen["noise"], run, "")
        if run is not plain:
            gain, noise = _gain(run, plain)
            row["against no augmentation"] = _points(gain, run)
            row["noise"] = _points(noise, run, "")
        devel = run.metrics["devel"]["file"]["score"]
        shown = "" if devel is None else _score(devel, run)
        rows.append({"configuration": _label(run), "devel": shown} | row)
    return pd.DataFrame(rows).fillna("").set_index("configuration")


def ablation_answers(finished: Sequence[Run]) -> list[str]:
    """Say what wins on devel, a baseline first, whether augmentation helps, what level carries."""
    networks = _networks(finished)
    plain, scored = networks[PLAIN], [run for run in finished if not math.isnan(_devel(run))]
    best = max(networks.values(), key=_devel)
    others = [run for run in scored if run.record["kind"] in runs.BASELINES]
    lines, ours = [], f"the best network ({_label(best)}) {_score(_devel(best), best)}"
    if others:
        other = max(others, key=_devel)
        theirs = f"{_label(other)} {_score(_devel(other), other)}"
        if _devel(other) > _devel(best):
            lines.append(f"**A baseline wins on devel:** {theirs}, {ours}.")
        else:
            lines.append(f"No baseline is better on devel: {ours}, {theirs}.")
    gains = {name: _gain(run, plain) for name, run in networks.items() if name != PLAIN}
    helping = [name for name, (gain, noise) in gains.items() if gain > noise]
    parts = []
    for name in helping or [name for name in gains if any(gains[name])]:
        gain, noise = _points(gains[name][0], best), _points(gains[name][1], best, "")
        parts.append(f"{LABELS[name]} {gain} (noise {noise})")
    verb = "helps here" if helping else "does not help here, beyond noise"
    if parts:
        lines.append(f"Augmentation {verb}: on devel, against none, {', '.join(parts)}.")
    elif gains:
        lines.append("Augmentation changes nothing here: all configurations recognise the same.")
    if phases := [run for run in networks.values() if run.record.get("kept")]:
        gaining = [_label(run) for run in phases if run.record["kept"]["phase"] == 2]
        lines.append(
            f"Phase 2 gained more than its noise with {', '.join(gaining)} and is kept there."
            if gaining
            else "Phase 2 gained more than its noise in no configuration: phase 1 is kept."
        )
    return [*lines, *filter(None, [level_line(best)])]


def better_baselines(run: Run) -> list[str]:
    """Say which finished baselines of the same partitions are better on devel."""
    table, lines = runs.all_runs(folds=True, dataset=run.record["dataset"]), []
    for folder in table.loc[table["configuration"].isin(runs.BASELINES), "folder"]:
        other = runs.load(folder)
        same = other.record["manifest"] == run.record["manifest"] and other.metrics["devel"]
        if same and _devel(other) > _devel(run):
            scores = f"{_score(_devel(other), run)}, this network {_score(_devel(run), run)}"
            lines.append(f"{_label(other)} is better on devel: {scores}")
    return list(dict.fromkeys(lines))


def level_line(run: Run) -> str:
    """Say, where heads of absolute level are better by far, what that may mean; else nothing."""
    scores = {head["head"]: head["score"] for head in run.record.get("heads", [])}
    relative = max([scores[name] for name in ("deep", "relative") if name in scores], default=1.0)
    if not scores.get("level", 0.0) > relative + FAR:
        return ""
    return (
        f"Absolute level alone reaches {_score(scores['level'], run)} on held-out training "
        f"speakers, pictures without it {_score(relative, run)}: level may carry how a class was "
        "recorded (distance, gain, room), not only how it sounds."
    )


def _networks(finished: Sequence[Run]) -> dict[str, Run]:
    """The networks by augmentation."""
    networks = (run for run in finished if run.record["kind"] == runs.NETWORK)
    return {run.settings.augmentation: run for run in networks}


def _label(run: Run) -> str:
    kind = run.record["kind"]
    return LABELS[kind if kind in runs.BASELINES else run.settings.augmentation]


def _devel(run: Run) -> float:
    score = run.metrics["devel"]["file"]["score"]
    return math.nan if score is None else score


def _score(value: float, run: Run) -> str:
    return f"{value:.3f}" if run.task == "regression" else f"{100 * value:.1f} %"


def _points(value: float, run: Run, sign: str = "+") -> str:
    """A gain, with its sign, or a noise."""
    if run.task == "regression":
        return f"{value:{sign}.3g}"
    return f"{100 * value:{sign}.1f} points"


def _gain(run: Run, other: Run) -> tuple[float, float]:
    """By how much a run is better than another on devel, and twice the standard error of that."""
    return significance.paired_gain(_credit(run) - _credit(other))


def _credit(run: Run) -> pd.Series:
    """What each devel file adds: the mean is the UAR, or minus the mean squared error."""
    files = run.predictions.query("partition == 'devel' and label != ''").set_index("file")
    if run.task == "regression":
        return -((files["label"].astype(float) - files["prediction"].astype(float)) ** 2)
    right, classes = files["label"] == files["prediction"], files["label"]
    return right * len(files) / classes.map(classes.value_counts()) / classes.nunique()
