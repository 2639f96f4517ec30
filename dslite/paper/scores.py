"""The paper's tables of corpora and scores, and what was measured here beside them.

Published values come from `dslite.paper.published`; ours are read from ``results/`` and from its
committed records. A run with another backbone, preset or setting than the paper's is shown, and its
remark says so. `dslite.paper.costs` does the same for Table 5.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths
from dslite.errors import InputError
from dslite.paper import published
from dslite.paper.corpora import DECIMALS, absent, counts_of
from dslite.paper.verdicts import BACKBONE, PRESET, differences

LABELS = {
    "svm": "Deep Spectrum + linear SVM",
    "librosa": "librosa statistics + RBF-SVM",  # ours: no published table has it
    "none": "no augmentation",
    "cutmix": "CutMix",
    "specaugment": "SpecAugment",
    "cutmix+specaugment": "CutMix+SpecAugment",
}
SHORTENED = "fewer epochs"  # what `runs` says of a run with fewer than its preset
BASELINES = (
    "svm",
    "librosa",
)  # kinds of run in `dslite.training.runs`; a network is its augmentation
OWN_PARTITION = ("demos", "ravdess")  # speaker-independent, says the paper, and no more
PERCENT = ["devel", "test", "low", "high", "low_speakers", "high_speakers", "chance"]
RUN_COLUMNS = {
    **{"dataset": str, "run": str, "configuration": str, "backbone": str, "preset": str},
    **{"seed": int, "random_weights": bool, "overridden": bool, **dict.fromkeys(PERCENT, float)},
    **{"metric": str, "overrides": int, "changed": str, "altered": str, "weights": str},
    **{"place": str, "date": str, "commit": str, "hardware": str, "seconds": float},
}


def runs(folder: Path | None = None) -> pd.DataFrame:
    """Every finished run, one a row.

    Parameters
    ----------
    folder : path, optional
        What to look through instead of ``results/`` and its committed records. Of a run that is in
        both, the user's own counts. A run's folder without ``metrics.json`` is unfinished and
        passed over, and so are the folds of a cross-validation, which lie one deeper.

    Returns
    -------
    DataFrame
        Columns ``dataset, run, configuration`` (a key of `LABELS`), ``backbone`` (empty where there
        is none), ``preset, seed, random_weights, overridden``; ``devel, test`` and the test's 95 %
        intervals over files ``low, high`` and over speakers ``low_speakers, high_speakers``
        (percent at file level; NaN where there is none, 100 rho for regression); ``chance, metric``
        and what was overridden, as a number of settings ``overrides`` and in words, ``changed``;
        ``altered`` is the same but for a file in the place of the weights, which ``weights`` names.
        The backbone and the augmentation have columns of their own and do not count as overrides.
        Where it lies, ``place``, and of its ``run.json`` ``date, commit, hardware`` (empty where
        there is no such file) and ``seconds`` (NaN).
    """
    places = [folder] if folder else [paths.records(), paths.results()]
    finished = {
        path.parent.relative_to(place).as_posix(): path
        for place in map(Path, places)
        for path in place.glob("*/*/metrics.json")
        if path.parent.parent != paths.records()  # the records' folder is no corpus
    }
    found = [_run(path) for _, path in sorted(finished.items())]
    return pd.DataFrame(found, columns=list(RUN_COLUMNS)).astype(RUN_COLUMNS)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{paths.shown(path)}: not readable ({error}); run it again") from None


def _run(path: Path) -> dict[str, Any]:
    run = _read(path)
    devel, test = (run.get(part) or {} for part in ("devel", "test"))
    files, known = test.get("file", {}), devel or test
    own_column = {"augmentation", "backbone"} | ({"weights"} if run["random_weights"] else set())
    overrides = {k: v for k, v in (run.get("overrides") or {}).items() if k not in own_column}
    pair = [np.nan, np.nan]
    shares = [
        *(devel.get("file", {}).get("score"), files.get("score")),
        *(files.get("interval_files") or pair),
        *(files.get("interval_speakers") or pair),
        known.get("chance"),
    ]
    return dict(zip(PERCENT, 100 * np.array(shares, float), strict=True)) | {
        **{key: run[key] for key in ("backbone", "preset", "seed", "random_weights")},
        **{"dataset": path.parent.parent.name, "run": path.parent.name},
        "configuration": run["kind"] if run["kind"] in BASELINES else run["augmentation"],
        "metric": known.get("metric", ""),
        **{"overridden": bool(overrides), "overrides": len(overrides)},
        "changed": _changed(overrides),
        "altered": _changed({k: v for k, v in overrides.items() if k != "weights"}),
        **{"weights": run.get("weights", ""), "place": str(path.parent)},
        **_origin(path.with_name("run.json")),
    }


def _origin(path: Path) -> dict[str, Any]:
    """Where and when a run was made, from its record."""
    record = _read(path) if path.is_file() else {}
    machine = record.get("hardware")
    return {
        **{key: record.get(key) or "" for key in ("date", "commit")},
        "hardware": f"{machine['processor']}, {machine['cores']} cores" if machine else "",
        "seconds": record.get("seconds", np.nan),
    }


def _changed(overrides: Mapping[str, Any]) -> str:
    epochs, others = [], []
    for key, values in sorted(overrides.items()):
        # Where a user's weights file lies is nobody's business.
        old, new = (Path(v).name for v in values) if key == "weights" else values
        fewer = key.startswith("epochs_") and new < old
        (epochs if fewer else others).append(f"{key} {old} -> {new}")
    said = [f"{SHORTENED} (override {'; '.join(epochs)})"] if epochs else []
    return ", ".join(said + ([f"override {'; '.join(others)}"] if others else []))


def _preferred(found: pd.DataFrame) -> pd.DataFrame:
    """Runs in the order in which they are to stand for a published row.

    Pre-trained ones first, then the paper's backbone with the paper's preset, then the fewest
    overrides, then the lowest seed: never by the score.
    """
    other = (found["backbone"] != BACKBONE) | (found["preset"] != PRESET)
    order = ["random_weights", "other", "overrides", "backbone", "preset", "seed", "dataset", "run"]
    return found.assign(other=other).sort_values(order, ignore_index=True).drop(columns="other")


def beside(n: int) -> pd.DataFrame:
    """Published Table 3 or 4 with our runs beside it.

    Returns
    -------
    DataFrame
        The published rows with ``ours_devel, ours_test, ours_low, ours_high`` (interval over
        files), ``ours_run`` and ``remark``: why a cell is empty, or what is not as in the paper.
    """
    if n not in (3, 4):
        raise InputError(f"results are in Tables 3 and 4, not {n}")
    printed, found = published.table(n), _preferred(runs())
    return printed.join(pd.DataFrame([_ours(row, found) for row in printed.itertuples()]))


def _ours(row: Any, found: pd.DataFrame) -> dict[str, Any]:
    same = found[(found["dataset"] == row.dataset) & (found["configuration"] == row.configuration)]
    recalls = same[same["metric"] == "uar"]
    columns = ("devel", "test", "low", "high")
    if recalls.empty:
        remark = "only a regression run, which has no UAR" if len(same) else absent(row.dataset)
        return {**{f"ours_{c}": np.nan for c in columns}, "ours_run": "", "remark": remark}
    run = recalls.iloc[0]
    said = differences(run.backbone, run.preset, run.changed, run.random_weights)
    if np.isnan(run.test):
        said.append("no test score (labels blinded)")
    if abs(run.chance - row.chance) > 0.1:
        said.append(f"chance {run.chance:.1f} instead of {row.chance:.1f}")
    if row.dataset in OWN_PARTITION:
        said.append("partition of our own (none is published)")
    values = {f"ours_{c}": round(run[c], 1) for c in columns}
    return {**values, "ours_run": run.run, "remark": ", ".join(said) or "the paper's settings"}


def beside_table1() -> pd.DataFrame:
    """Published Table 1 with the counts of the corpora at hand, ``ours_files`` to ``ours_std_s``.

    The ``remark`` compares them after rounding to the published decimals.
    """
    printed = published.table(1)
    rows = []
    for row in printed.to_dict("records"):
        ours = counts_of(row["dataset"])
        here = paths.raw(row["dataset"]).is_dir()
        missing = "partition not run" if here else "corpus not present"
        rows.append(ours | {"remark": _compared(row, ours) if ours else missing})
    counts = dict.fromkeys(["files", "classes", "speakers"], "Int64")
    ours = pd.DataFrame(rows, columns=[*DECIMALS, "remark"]).astype(counts)
    return printed.join(ours.rename(columns={key: f"ours_{key}" for key in DECIMALS}))


def _compared(row: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    said = []
    for key, decimals in DECIMALS.items():
        if pd.isna(ours[key]) or ours[key] == 0:
            said.append(f"{key} unknown")
        elif round(ours[key], decimals) != row[key]:
            said.append(f"{key} {ours[key]:.{decimals}f} instead of {row[key]}")
    return f"differs: {', '.join(said)}" if said else "equal as published (rounded)"


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
        shared = ["backbone", "preset", "random_weights", "seed", "changed"]
        networks = own[~own["configuration"].isin(BASELINES)]
        svm, acoustic = (own[own["configuration"] == kind] for kind in BASELINES)
        leading = next(rows for rows in (networks, svm, acoustic) if len(rows))
        groups = leading.groupby(shared, sort=False)
        group = dict(zip(shared, groups["configuration"].nunique().idxmax(), strict=True))
        agree = own[shared] == pd.Series(group)
        # A baseline hardly depends on the seed and not at all on epochs and the like.
        svm = svm[agree[shared[:3]].all(axis=1)[svm.index]]
        acoustic = acoustic[agree["preset"][acoustic.index]]
        nearest = {"by": ["changed", "seed"], "kind": "stable"}  # first those of the group itself
        baselines = [
            rows.sort_values(**nearest, key=lambda of: of != group[of.name]).head(1)
            for rows in (svm, acoustic)
        ]
        fits = pd.concat([*baselines, networks[agree.all(axis=1)[networks.index]]])
        block = {run.configuration: _cells(run) for run in fits.itertuples()}
        said = [group["backbone"], f"preset {group['preset'] or 'none'}", f"seed {group['seed']}"]
        said += [group["changed"], "random weights" if group["random_weights"] else ""]
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
