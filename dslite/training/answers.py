"""What finished runs say: which phase was kept, what helps on this corpus, what level carries.

Everything is computed from runs of either head; gains are paired, of the same devel files.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dslite.evaluation import significance
from dslite.training import runs
from dslite.training.runs import LABELS, Run

FAR = 0.05  # of UAR or rho: by so much heads of absolute level are better "by far"
PLAIN = "none"


def phase_kept(run: Run) -> str:
    """Say which phase's network was kept, and why."""
    history = run.history[run.history["training"] == "train"]
    best = history[history["best"]].iloc[0]
    if run.settings.head != "ridge":
        return (
            f"Both phases are trained: epoch {best['epoch']} of {len(history)} (phase "
            f"{best['phase']}) was best on devel and is kept."
        )
    if "kept" not in run.record:
        return "Phase 1 is kept: there was no phase 2."
    return gain_of_phase_2(run.record["kept"], run.task)


def gain_of_phase_2(phase: Mapping[str, Any], task: str) -> str:
    """Say of ``phase``, ``gain`` and ``noise`` of a run's record which phase is kept, and why."""
    gain, noise = (_points(phase[key], task, sign) for key, sign in (("gain", "+"), ("noise", "")))
    if phase["phase"] == 2:
        return f"Phase 2 is kept: {gain} on devel, more than its noise ({noise})."
    return f"Phase 1 is kept: phase 2 gained at best {gain} on devel, within its noise ({noise})."


def ablation_gains(finished: Sequence[Run]) -> pd.DataFrame:
    """Tabulate what phase 2 and augmentation add on devel, beside the baselines; texts.

    ``gain of phase 2`` is that of its best epoch above the solved head. A noise is twice the
    standard error over the files that both see; a regression's gains are of the squared error.
    """
    plain, rows = _networks(finished)[PLAIN], []
    texts = ["phase kept", "gain of phase 2", "against no augmentation"]
    for run in finished:
        row = {"configuration": _label(run), "devel": _score(run.devel, run)}
        row |= dict.fromkeys(texts, "")
        if phase := run.record.get("kept"):
            row["phase kept"] = str(phase["phase"])
            row["gain of phase 2"] = _with_noise(phase["gain"], phase["noise"], run)
        if run is not plain:
            row["against no augmentation"] = _with_noise(*_gain(run, plain), run)
        rows.append(row)
    return pd.DataFrame(rows).set_index("configuration")


def ablation_answers(finished: Sequence[Run]) -> list[str]:
    """Say what wins on devel, a baseline first, whether augmentation helps, what level carries."""
    networks, lines = _networks(finished), []
    best = runs.best_on_devel([*networks.values()])
    if others := [run for run in finished if run.record["kind"] in runs.BASELINES]:
        other = runs.best_on_devel(others)
        ours = f"the best network ({_label(best)}) {_score(best.devel, best)}"
        theirs = f"{_label(other)} {_score(other.devel, other)}"
        lines.append(
            f"**A baseline wins on devel:** {theirs}, {ours}."
            if other.devel > best.devel
            else f"No baseline is better on devel: {ours}, {theirs}."
        )
    gains = {name: _gain(run, networks[PLAIN]) for name, run in networks.items() if name != PLAIN}
    helping = [name for name, (gain, noise) in gains.items() if gain > noise]
    differing = [name for name, pair in gains.items() if any(pair)]
    if differing:
        verb = "helps here" if helping else "does not help here, beyond noise"
        names = helping or differing
        texts = ", ".join(f"{LABELS[of]} {_with_noise(*gains[of], best)}" for of in names)
        lines.append(f"Augmentation {verb}: on devel, against none, {texts}.")
    elif gains:
        lines.append("Augmentation changes nothing here: all configurations recognise the same.")
    if phases := [run for run in networks.values() if "kept" in run.record]:
        gaining = [_label(run) for run in phases if run.record["kept"]["phase"] == 2]
        lines.append(
            f"Phase 2 gained more than its noise with {', '.join(gaining)} and is kept there."
            if gaining
            else "Phase 2 gained more than its noise in no configuration: phase 1 is kept."
        )
    return [*lines, *filter(None, [level_line(best)])]


def better_baselines(run: Run) -> list[str]:
    """Say which finished baselines of the same partitions are better on devel."""
    table = runs.all_runs(dataset=run.record["dataset"])
    table = table[table["configuration"].isin(runs.BASELINES) & (table["devel"] > 100 * run.devel)]
    others, manifest = map(runs.load, table["folder"]), run.record["manifest"]
    better = [other for other in others if other.record["manifest"] == manifest]
    lines = [
        f"{_label(other)} is better on devel: {_score(other.devel, run)}, this network "
        f"{_score(run.devel, run)}"
        for other in better
    ]
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


def _score(value: float, run: Run) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.3f}" if run.task == "regression" else f"{100 * value:.1f} %"


def _points(value: float, task: str, sign: str) -> str:
    return f"{value:{sign}.3g}" if task == "regression" else f"{100 * value:{sign}.1f} points"


def _with_noise(gain: float, noise: float, run: Run) -> str:
    return f"{_points(gain, run.task, '+')} (noise {_points(noise, run.task, '')})"


def _gain(run: Run, other: Run) -> tuple[float, float]:
    """By how much a run is better than another on devel, and twice the standard error of that."""
    return significance.paired_gain(_credit(run) - _credit(other))


def _credit(run: Run) -> pd.Series:
    """What each devel file adds: the mean is the UAR, or minus the mean squared error."""
    files = run.predictions.query("partition == 'devel' and label != ''").set_index("file")
    if run.task == "regression":
        return -((files["label"].astype(float) - files["prediction"].astype(float)) ** 2)
    pair = (files[column].to_numpy() for column in ("label", "prediction"))
    return pd.Series(significance.recall_shares(*pair), files.index)
