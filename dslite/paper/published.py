"""What the paper prints: its tables, its claims, and every number with its key.

Transcribed in ``data/paper/``; nothing here is measured by this project. Keys:
``1/<dataset>/<column>``, ``2/<dataset>/<hyperparameter>``,
``3/<dataset>/<configuration>/<column>`` (4 alike), ``3/<dataset>/chance`` (captions, once a corpus)
and ``5/<quantity>/<column>``.
"""

import pandas as pd

from dslite import paths

NAMES = {  # corpora as the paper abbreviates them
    **{"ccs": "CCS", "css": "CSS", "demos": "DEMoS", "ess": "ESS", "iemocap": "IEMOCAP"},
    **{"mpssc": "MPSSC", "ravdess": "RAVDESS", "sleep": "SLEEP"},
}
CONFIGURATIONS = {
    "svm": "Deep Spectrum + SVM",
    "none": "no augmentation",
    "cutmix": "CutMix",
    "specaugment": "SpecAugment",
    "cutmix+specaugment": "CutMix+SpecAugment",
}
HYPERPARAMETERS = {  # rows of Table 2 as printed
    **{"units": "Classifier units", "dropout": "Dropout rate"},
    **{"learning_rate": "Initial learning rate", "epochs_phase1": "Epochs of first phase"},
    **{"epochs_phase2": "Epochs of second phase", "fine_tuned_layers": "Fine-tuned layers"},
    **{"chunk_length_s": "Audio chunk length [s]"},
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


def table(n: int) -> pd.DataFrame:
    """Read published Table ``n`` (1 to 5), transcribed in ``data/paper/``; empty cells are NaN."""
    # "none" is a configuration; only an empty cell is missing.
    return pd.read_csv(paths.published() / f"table{n}.csv", keep_default_na=False, na_values=[""])


def scores() -> pd.DataFrame:
    """Read Tables 3 and 4 as one, with a column ``table`` (3 or 4); every value in percent."""
    return pd.concat([table(n).assign(table=n) for n in (3, 4)], ignore_index=True)


def claims() -> pd.DataFrame:
    """Read what the text claims in numbers or in comparisons of numbers.

    Returns
    -------
    DataFrame
        Strings: ``id, section, statement`` (quoted or closely paraphrased), ``value`` with the
        decimals as printed, ``unit, check`` (in words) and ``key``, the number that the claim is
        about, or empty. `dslite.paper.consistency.claims_checked` carries the checks out.
    """
    return pd.read_csv(paths.published() / "claims.csv", dtype=str, keep_default_na=False)


def numbers() -> pd.DataFrame:
    """Read every number that Tables 1 to 5 print, one a row.

    Returns
    -------
    DataFrame
        ``key, table`` (int), ``dataset, configuration, column`` (as in the key, empty where there
        is none; of Table 5 the quantity is the ``configuration``), ``value``, ``low`` and ``high``
        (published 95 % interval: column ``test`` only, else NaN), ``unit`` and ``status``:
        ``published``, or ``assumed`` where the value is printed but not for which column. A cell
        that is empty is no number.
    """
    cells = pd.concat([_counts(), _settings(), _scores(), _chances(), _devices()])
    return cells[cells["value"].notna()].reset_index(drop=True)


def _numbers(long: pd.DataFrame, n: int | pd.Series, key: list[str]) -> pd.DataFrame:
    """Put the columns ``key`` of a long table together to keys, and add what it has not got."""
    rows = long.assign(table=n)
    rows["key"] = rows[["table", *key]].astype(str).agg("/".join, axis=1)
    for column in ("dataset", "configuration"):
        rows[column] = rows[column] if column in key else ""
    for column in ("low", "high"):
        rows[column] = rows[column].where(rows["column"] == "test") if column in rows else None
    rows["unit"] = rows.get("unit", rows["column"].map(UNITS))
    rows["status"] = rows.get("status", PRINTED)
    kinds = {"table": int, "value": float, "low": float, "high": float}
    return rows[[*COLUMNS, "status"]].astype(kinds)


def _counts() -> pd.DataFrame:
    long = table(1).drop(columns="name").melt("dataset", var_name="column")
    return _numbers(long, 1, ["dataset", "column"])


def _settings() -> pd.DataFrame:
    long = table(2).rename(columns={"hyperparameter": "column"})
    return _numbers(long, 2, ["dataset", "column"])


def _scores() -> pd.DataFrame:
    printed = scores().drop(columns="chance").assign(low=lambda of: of["ci_low"])
    printed["high"] = printed["ci_high"]
    same = ["table", "dataset", "configuration", "low", "high"]
    long = printed.melt(same, var_name="column")
    return _numbers(long, long["table"], ["dataset", "configuration", "column"])


def _chances() -> pd.DataFrame:
    long = scores().drop_duplicates("dataset").rename(columns={"chance": "value"})
    long = long[["table", "dataset", "value"]].assign(column="chance")
    return _numbers(long, long["table"], ["dataset", "column"])


def _devices() -> pd.DataFrame:
    printed = table(5).rename(columns={"quantity": "configuration"})
    long = printed.melt(["configuration", "unit"], var_name="column")
    rows = _numbers(long, 5, ["configuration", "column"])
    rows.loc[rows["key"].isin(READ_INTO), "status"] = ASSUMED
    return rows
