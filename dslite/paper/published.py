"""What the paper prints, every number with its key, and the rule that judges ours beside it.

Transcribed in ``data/paper/``; nothing here is measured by this project. Keys:
``1/<dataset>/<column>``, ``2/<dataset>/<hyperparameter>``,
``3/<dataset>/<configuration>/<column>`` (4 alike), ``3/<dataset>/chance`` (captions, once a corpus)
and ``5/<quantity>/<column>``.
"""

from functools import cache
from importlib import resources
from typing import Any

import pandas as pd
import yaml

from dslite import paths
from dslite.evaluation.metrics import Interval

NAMES = {  # corpora as the paper abbreviates them
    **{"ccs": "CCS", "css": "CSS", "demos": "DEMoS", "ess": "ESS", "iemocap": "IEMOCAP"},
    **{"mpssc": "MPSSC", "ravdess": "RAVDESS", "sleep": "SLEEP"},
}
UNITS = {
    **{"files": "files", "classes": "classes", "speakers": "speakers", "minutes": "min"},
    **dict.fromkeys(["mean_s", "std_s", "chunk_length_s"], "s"),
    **{"units": "units", "dropout": "", "learning_rate": "", "fine_tuned_layers": "layers"},
    **dict.fromkeys(["epochs_phase1", "epochs_phase2"], "epochs"),
    **dict.fromkeys(["devel", "test", "ci_low", "ci_high", "chance"], "%"),
}
# Cells of Table 5 that stand in a column only by our reading: the FLOPs are printed once for all
# columns, parameters and size once for both devices.
READ_INTO = {"5/flops/tf_model", "5/parameters/tflite_phone", "5/model_size/tflite_phone"}
ASSUMED, PRINTED = "assumed", "published"
COLUMNS = ["key", "table", "dataset", "configuration", "column", "value", "low", "high", "unit"]
BACKBONE, PRESET = "densenet121", "paper"  # of the runs that count as the paper's

REPRODUCED, OVERLAPPING, CONTRADICTED = "reproduced", "overlapping", "contradicted"
RESTRICTED = "not run: corpus restricted"
WEIGHTS = "not run: weights unavailable"
ITSELF = "paper contradicts itself"
HARDWARE = "not testable: other hardware"
NOT_RUN = "not run"
SETTING = "a setting"  # chosen by the paper's authors and taken over: nothing to be reproduced
ORDER = (
    *(REPRODUCED, OVERLAPPING, CONTRADICTED, ITSELF),
    *(HARDWARE, WEIGHTS, RESTRICTED, NOT_RUN, SETTING),
)
# Of a run that is not the paper's: the same rule in other words, as it can reproduce nothing
INSIDE_BOTH, INSIDE_OURS, APART = "inside both intervals", "inside our interval", "apart"


def table(n: int) -> pd.DataFrame:
    """Read published Table ``n`` (1 to 5), transcribed in ``data/paper/``; empty cells are NaN."""
    # "none" is a configuration; only an empty cell is missing.
    return pd.read_csv(paths.data("paper") / f"table{n}.csv", keep_default_na=False, na_values=[""])


def scores() -> pd.DataFrame:
    """Read Tables 3 and 4 as one, with a column ``table`` (3 or 4); every value in percent."""
    return pd.concat([table(n).assign(table=n) for n in (3, 4)], ignore_index=True)


def texts(name: str) -> pd.DataFrame:
    """Read ``claims`` or ``contradictions`` of ``data/paper/``: strings, see its README."""
    return pd.read_csv(paths.data("paper") / f"{name}.csv", dtype=str, keep_default_na=False)


def numbers() -> pd.DataFrame:
    """Read every number that Tables 1 to 5 print, one a row; an empty cell is none.

    Of Table 5 the quantity is the ``configuration``; the 95 % interval ``low`` to ``high`` stands
    at ``test`` only; ``status`` is ``assumed`` where it is not printed for which column.
    """
    scored, names = scores(), ["dataset", "configuration", "column"]
    chances = scored.drop_duplicates("dataset").melt(["table", "dataset"], ["chance"], "column")
    bounds = scored.assign(low=scored["ci_low"], high=scored["ci_high"]).drop(columns="chance")
    devices = table(5).rename(columns={"quantity": "configuration"})
    cells = pd.concat(
        [
            table(1).drop(columns="name").melt("dataset", var_name="column").assign(table=1),
            table(2).rename(columns={"hyperparameter": "column"}).assign(table=2),
            bounds.melt(["table", "dataset", "configuration", "low", "high"], var_name="column"),
            chances,
            devices.melt(["configuration", "unit"], var_name="column").assign(table=5),
        ]
    )
    cells = cells[cells["value"].notna()].reset_index(drop=True)
    cells[names] = cells[names].fillna("")
    keys = cells[["table", *names]].astype(str).itertuples(index=False)
    cells["key"] = ["/".join(filter(None, key)) for key in keys]
    cells[["low", "high"]] = cells[["low", "high"]].where(cells["column"] == "test")
    cells["unit"] = cells["unit"].fillna(cells["column"].map(UNITS))
    cells["status"] = cells["status"].fillna(PRINTED)
    cells["status"] = cells["status"].mask(cells["key"].isin(READ_INTO), ASSUMED)
    return cells[[*COLUMNS, "status"]]


# The verdict on a number


@cache
def words(kind: str) -> dict[str, str]:
    """Read the ``letter``, ``symbol``, ``kind``, ``meaning`` or ``sentence`` of every verdict."""
    text = resources.files("dslite.paper").joinpath("verdicts.yaml").read_text("utf-8")
    return {verdict: of.get(kind, verdict) for verdict, of in yaml.safe_load(text).items()}


def rule(
    published: float,
    published_interval: Interval | None,
    ours: float,
    ours_interval: Interval | None,
    decimals: int,
) -> str:
    """Judge a published number by ours, rounded to the ``decimals`` that are printed.

    `REPRODUCED` if each number lies in the other's 95 % interval (bounds included), `OVERLAPPING`
    if only the intervals have something in common, else `CONTRADICTED`. Where no interval is
    published: `REPRODUCED` if the number lies in ours. Without one, ours cannot vary (a count).
    """
    ends = [published, ours, *(ours_interval or (ours, ours)), *(published_interval or ())]
    printed, reproduced, low, high, *theirs = (round(float(end), decimals) for end in ends)
    inside_ours = low <= printed <= high
    if not theirs:
        return REPRODUCED if inside_ours else CONTRADICTED
    bottom, top = theirs
    if max(low, bottom) > min(high, top):
        return CONTRADICTED
    return REPRODUCED if inside_ours and bottom <= reproduced <= top else OVERLAPPING


def agreement(published: float, published_interval: Interval | None, *ours: Any) -> str:
    """Compare by `rule` a run with another backbone or preset, which can reproduce nothing.

    `INSIDE_BOTH` (`INSIDE_OURS` where no interval is published), `OVERLAPPING` or `APART`.
    """
    inside = INSIDE_OURS if published_interval is None else INSIDE_BOTH
    verdict = rule(published, published_interval, *ours)
    return {REPRODUCED: inside, CONTRADICTED: APART}.get(verdict, verdict)


def differences(backbone: str, preset: str, overrides: str, random_weights: bool) -> list[str]:
    """Say what of a run is not as in the paper; ``overrides``: what was changed, in words."""
    parts = [f"other backbone ({backbone})" if backbone != BACKBONE else ""]
    parts += [f"preset {preset or 'none'}" if preset != PRESET else "", overrides]
    return list(filter(None, [*parts, "random weights" if random_weights else ""]))
