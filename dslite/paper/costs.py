"""The paper's Table 5, what a model costs, and what was measured here beside it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dslite import paths
from dslite.deployment import phone as deployment_phone
from dslite.errors import InputError
from dslite.paper import published, verdicts
from dslite.paper.verdicts import BACKBONE, PRESET, differences
from dslite.settings import Settings

# The published figure's meaning is not said
MEMORY = "peak of a fresh process over the loaded runtime"
# Column of Table 5 -> what of a profile stands in it: part and variant
STAGES = {
    "preprocessing": ("spectrogram", "float32"),
    "tf_model": ("cnn", "Keras, compiled"),
    "tflite_cpu": ("cnn", "float32"),
}
OF_A_MACHINE = ("mean_time", "mean_memory")  # the other quantities are those of the model alone
UNITS = 512  # of the published model: with such a head DenseNet121 has 7.6 M parameters
SHAPE = ("feature_layer", "pooling", "image_size")  # settings that make another network of it


def beside_table5() -> pd.DataFrame:
    """Published Table 5 with our measurements beside it, one block of rows per measured run.

    Ours are ``ours_preprocessing`` to ``ours_tflite_phone``; ``ours_run`` is ``dataset/run``, and
    a ``remark`` says why a cell is empty.
    """
    printed = published.table(5)
    found = profiles()
    if not found:
        nothing = {f"ours_{column}": np.nan for column in printed.columns[2:]}
        return printed.assign(**nothing, ours_run="", hardware="", remark="not run")
    named = sorted(found.items())
    named.sort(key=lambda item: (item[1][1]["random_weights"], item[1][1]["backbone"] != BACKBONE))
    blocks = [printed.join(measured(name, path, content)) for name, (path, content) in named]
    return pd.concat(blocks, ignore_index=True)


def profiles() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Every measured run and fold: ``dataset/run`` -> path and content of its ``profile.json``.

    A fold of a cross-validation lies one deeper than a run. Of a run that is both in ``results/``
    and among its committed records, the user's own counts.
    """
    found = {}
    for home in (paths.records(), paths.results()):
        for path in (*home.glob("*/*/profile.json"), *home.glob("*/*/*/profile.json")):
            # The records lie in the results' folder: there they are no corpus.
            if home == paths.records() or not path.is_relative_to(paths.records()):
                found[path.parent.relative_to(home).as_posix()] = path
    return {name: (path, _read(path)) for name, path in found.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{paths.shown(path)}: not readable ({error}); measure it again") from None


def measured(name: str, path: Path, content: Mapping[str, Any]) -> pd.DataFrame:
    """Our columns of Table 5 from one of `profiles`: rows in the published order.

    TensorFlow Lite is shown on the first number of threads that was measured. A `dslite.deployment.phone`
    file beside the profile fills the phone's column.
    """
    pasted = path.with_name(deployment_phone.FILE)
    device = _read(pasted) if pasted.is_file() else {}
    stages = {column: stage(content, *which) for column, which in STAGES.items()}
    stages["tf_model"] |= {key: content.get(key) for key in ("parameters", "multiply_adds")}
    stages["tflite_phone"] = device
    remembered = any(found.get("growth_mb") is not None for found in stages.values())
    rows = {
        "mean_time": ("ms", 1, []),
        "flops": ("multiply_adds", 1e9, ["multiply-adds, as published; FLOPs are twice as many"]),
        "parameters": ("parameters", 1e6, ["counted in the TF model only"]),
        "mean_memory": ("growth_mb", 1, [MEMORY if remembered else "memory not measured"]),
        "model_size": ("size_bytes", 1e6, []),
    }
    order = published.table(5)["quantity"]
    keys, units, notes = zip(*(rows[quantity] for quantity in order), strict=True)
    ours = {
        f"ours_{column}": np.array([found.get(k) for k in keys], float) / units
        for column, found in stages.items()
    }
    differs = differences(content["backbone"], PRESET, "", content["random_weights"])
    phone = _phone(device)
    return pd.DataFrame(ours).assign(
        ours_run=name,
        hardware=f"{content['hardware']}, {content['threads'][0]} thread(s)",
        remark=["; ".join([*differs, *note, phone]) for note in notes],
    )


def stage(content: Mapping[str, Any], part: str, variant: str) -> dict[str, Any]:
    """The row of a profile on the first number of threads; Keras has one only."""
    found = [r for r in content["rows"] if (r["part"], r["variant"]) == (part, variant)]
    first = [row for row in found if row["threads"] == content["threads"][0]]
    return dict(next(iter(first or found), {}))


def _phone(device: Mapping[str, Any]) -> str:
    if not device:
        return "phone not available"
    known = [device.get("file", "")]
    known += [f"{device['threads']} thread(s)"] if "threads" in device else []
    said = ", ".join(filter(None, known))
    return f"phone: {device['name']}" + (f" ({said})" if said else "")


def of_papers_network() -> tuple[str, dict[str, Any], pd.DataFrame] | None:
    """The measured run whose network is the published one, or the nearest to it.

    The backbone counts as a whole and at the paper's size of picture; then a head of `UNITS` units
    goes before others, and pre-trained weights before random ones. Folds are passed over.

    Returns
    -------
    (name, record, columns) or None
        ``dataset/run``, the content of ``run.json`` (empty if there is none) and what `measured`
        gives.
    """
    found = []
    for name, (path, content) in sorted(profiles().items()):
        file = path.with_name("run.json")
        record = _read(file) if file.is_file() else {}
        used = record.get("settings", {})
        same = all(used.get(key) == Settings().model_dump()[key] for key in SHAPE if used)
        if content["backbone"] == BACKBONE and same and name.count("/") == 1:
            other = used.get("units", UNITS) != UNITS
            found.append((other, content["random_weights"], name, path, content, record))
    if not found:
        return None
    _, _, name, path, content, record = min(found, key=lambda one: one[:3])
    return name, record | {"measured": content["date"]}, measured(name, path, content)


def judged(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Our judgement of every number of Table 5, by its key.

    Parameters
    ----------
    rows : iterable of mapping
        Those of `dslite.paper.published.numbers`.

    Returns
    -------
    dict
        Key -> ``reproduced``, ``verdict``, ``remark`` and where it comes from. Counts and sizes are
        equal as printed or not; a time or a memory is another machine's.
    """
    found = of_papers_network()
    if found is None:
        nothing = {"verdict": verdicts.NOT_RUN, "remark": f"no profile of {BACKBONE}"}
        return {row["key"]: nothing for row in rows}
    name, record, table = found
    shared = {
        **{"runs": name, "date": record["measured"], "commit": record.get("commit", "")},
        **{"hardware": table["hardware"].iloc[0], "seconds": record.get("seconds", np.nan)},
    }
    table.index = published.table(5)["quantity"]
    return {row["key"]: shared | _judged(row, table, record) for row in rows}


def _judged(row: Mapping[str, Any], table: pd.DataFrame, record: Mapping[str, Any]) -> dict:
    quantity, column = row["configuration"], row["column"]
    ours, said = table.loc[quantity, f"ours_{column}"], [table.loc[quantity, "remark"]]
    if quantity == "model_size" and column == "tflite_phone" and np.isnan(ours):
        ours = table.loc[quantity, "ours_tflite_cpu"]
        said.append("the same file as for the CPU")
    units = record.get("settings", {}).get("units", UNITS)
    said += [f"head of {units} units instead of {UNITS}"] if units != UNITS else []
    preset = record.get("preset", PRESET)
    said += [f"preset {preset}"] if preset != PRESET else []
    if quantity in OF_A_MACHINE:
        known = column == "tflite_phone" or not np.isnan(ours)
        verdict = verdicts.HARDWARE if known else verdicts.NOT_RUN
    elif np.isnan(ours):
        verdict = verdicts.NOT_RUN
    else:
        # "150.0 kb" is printed of the preprocessing, everything else in MB, M or G
        decimals = 4 if row["key"] == "5/model_size/preprocessing" else 1
        verdict = verdicts.rule(row["value"], None, ours, None, decimals)
        said += ["counts and sizes are those of any weights"] if "random" in said[0] else []
    return {"reproduced": float(ours), "verdict": verdict, "remark": "; ".join(said)}
