"""What a model costs (the paper's Table 5), as it was measured here."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dslite.paper import published
from dslite.paper.published import BACKBONE, PRESET
from dslite.settings import Settings
from dslite.training.runs import Run, all_runs, load

# The published figure's meaning is not said
MEMORY = "peak of a fresh process over the loaded runtime"
STAGES = {  # column of Table 5 -> what of a profile stands in it: part and variant
    "preprocessing": ("spectrogram", "float32"),
    "tf_model": ("cnn", "Keras, compiled"),
    "tflite_cpu": ("cnn", "float32"),
}
COLUMNS = (*STAGES, "tflite_phone")
OF_A_MACHINE = ("mean_time", "mean_memory")  # the other quantities are those of the model alone
UNITS = 512  # of the published model: with such a head DenseNet121 has 7.6 M parameters
SHAPE = ("feature_layer", "pooling", "image_size")  # settings that make another network of it


def profiles() -> dict[str, tuple[Run, dict[str, Any]]]:
    """Read every measured run and fold: ``dataset/run`` -> it and its ``profile.json``."""
    runs = map(load, all_runs(folds=True)["folder"])
    return {run.name: (run, content) for run in runs if (content := run.content("profile"))}


def measured(run: Run, content: Mapping[str, Any]) -> pd.DataFrame:
    """Lay one profile (a run and its ``profile.json``) out like Table 5, in its units.

    Rows are quantities, NaN where nothing was measured: ``remark`` says why. What was measured on a
    phone fills its column.
    """
    device = run.content("device") or {}
    stages = {column: _stage(content, *which) for column, which in STAGES.items()}
    stages["tf_model"] |= {key: content.get(key) for key in ("parameters", "multiply_adds")}
    stages["tflite_phone"] = device
    remembered = any(stage.get("growth_mb") is not None for stage in stages.values())
    rows = {
        "mean_time": ("ms", 1, []),
        "flops": ("multiply_adds", 1e9, ["multiply-adds, as published; FLOPs are twice as many"]),
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


def measurements(datasets: Collection[str]) -> pd.DataFrame:
    """Read what was measured of these corpora's pre-trained networks, in the units of Table 5.

    ``label`` (``dataset/run``), ``quantity, column`` (as there), ``reproduced``, ``hardware``.
    """
    empty = pd.DataFrame(columns=["label", "quantity", "column", "reproduced", "hardware", "other"])
    tables = [
        measured(*of).reset_index().drop(columns="remark")
        .melt(["quantity", "hardware"], var_name="column", value_name="reproduced")
        .assign(label=name, other=of[1]["backbone"] != BACKBONE)
        for name, of in sorted(profiles().items(), key=lambda item: item[0])
        if name.partition("/")[0] in datasets and not of[1]["random_weights"]
    ]  # fmt: skip
    table = pd.concat(tables or [empty]).sort_values("other", kind="stable", ignore_index=True)
    return table.drop(columns="other").dropna(subset=["reproduced"], ignore_index=True)


def of_papers_network() -> tuple[str, dict[str, Any], pd.DataFrame] | None:
    """Choose the measured run whose network is the published one, or the nearest to it.

    The backbone counts as a whole and at the paper's size of picture; then a head of `UNITS` units
    goes before others, and pre-trained weights before random ones. Folds are passed over. Gives its
    name, ``run.json`` with the date as ``measured``, and `measured`; None if there is none.
    """
    whole, named = Settings().model_dump(include=set(SHAPE)), profiles()
    candidates = [
        (run.record["settings"]["units"] != UNITS, content["random_weights"], name)
        for name, (run, content) in named.items()
        if content["backbone"] == BACKBONE and name.count("/") == 1
        if whole.items() <= run.record["settings"].items()
    ]  # fmt: skip
    if not candidates:
        return None
    run, content = named[name := min(candidates)[-1]]
    return name, run.record | {"measured": content["date"]}, measured(run, content)


def judged(
    row: Mapping[str, Any], nearest: tuple[str, dict[str, Any], pd.DataFrame] | None
) -> dict[str, Any]:
    """Judge a number of Table 5 by what `of_papers_network` gives.

    Counts and sizes are equal as printed or not; a time or a memory is another machine's.
    """
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
        remarks += ["counts and sizes are those of any weights"] if "random" in remarks[0] else []
    return {
        **{"reproduced": float(value), "verdict": verdict, "remark": "; ".join(remarks)},
        **{"runs": name, "date": record["measured"], "commit": record.get("commit", "")},
        **{"hardware": measure["hardware"], "seconds": record.get("seconds", np.nan)},
    }
