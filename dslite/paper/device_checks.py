"""Tables 2 and 5 checked against themselves, the text, and what DenseNet121 is made of.

Every function gives findings as `dslite.paper.score_checks.finding` does.
"""

import pandas as pd

from dslite.paper.published import ASSUMED, HYPERPARAMETERS, NAMES
from dslite.paper.score_checks import finding, listed, meets

# DenseNet121 without its top as Keras builds it: layers, parameters, channels that are batch
# normalised, and trainable parameters in the last N layers / in all but the first N, for every N
# of Table 2. From the shapes in Table 1 of Huang et al. 2017; a test counts them once more.
LAYERS, BACKBONE, NORMALISED = 427, 7_037_504, 41_824
LAST = {0: 0, 42: 934_464, 85: 1_719_168, 128: 2_889_408, 298: 5_755_840}
REST = {0: 6_953_856, 42: 6_675_520, 85: 6_302_464, 128: 5_792_704, 298: 2_889_664}
FEATURES, ARELU = 1024, 2  # width of the pooled features; alpha and beta
FLOAT = 4  # bytes
SLOTS = 2  # arrays that AdaDelta keeps beside every trained one: squared gradients and updates
# Bytes of the HDF5 file that are no numbers: those 610 arrays and 520 slots written by h5py with a
# group for every layer, as Keras does, less their numbers. Keras' description of the network
# (JSON, some 0.2 MB) is not in it.
STRUCTURE = 1_557_744
MULTIPLY_ADDS = 2_833_137_664  # of all convolutions, for an image of 224 x 224
TOLERANCE = 0.01  # of a size that is put together from its parts


def columns(settings: pd.DataFrame, claims: pd.DataFrame) -> list[dict]:
    """Every row of Table 2 prints one value for each corpus.

    Where it does not, the row is a claim ``row-<hyperparameter>`` as printed, and the table holds
    what was assumed. No key is in question: the values are right, and their status says the rest.
    """
    printed, rows = claims.set_index("id")["value"], []
    for name, own in settings.groupby("hyperparameter", sort=False):
        incomplete = (own["status"] == ASSUMED).any()
        row, n = f"row-{name}", len(own)
        found = len(printed[row].split()) if row in printed else int(own["value"].notna().sum())
        values = f"{found} values"
        said = "One value for each." if found == n else "Which cell is empty is not printed."
        holds = found == n and not incomplete
        place = f"Table 2, {HYPERPARAMETERS.get(name, name)}"
        rows.append(finding(row, place, values, f"{n} columns", holds, said))
    return rows


def layer_shares(settings: pd.DataFrame) -> list[dict]:
    """The numbers of fine-tuned layers are tenths of DenseNet121's, rounded down."""
    rows, own = [], settings[settings["hyperparameter"] == "fine_tuned_layers"]
    for row in own.itertuples():
        tenths = [k for k in range(11) if LAYERS * k // 10 == row.value]
        nearest = tenths[0] if tenths else round(10 * row.value / LAYERS)
        rows.append(
            finding(
                f"layers-{row.dataset}",
                f"Table 2, {NAMES[row.dataset]}, fine-tuned layers",
                f"{row.value:.0f}",
                f"int({LAYERS} x {nearest / 10}) = {LAYERS * nearest // 10}",
                tenths,
                "The number of layers was given as a share; whether of the frozen or of the "
                "trained ones, the table does not tell.",
                [f"2/{row.dataset}/fine_tuned_layers"],
            )
        )
    return rows


def times(table5: pd.DataFrame, claims: pd.DataFrame) -> list[dict]:
    """What the text says of Table 5's times, memory and sizes; claims' values as printed."""
    five, said = table5.set_index("quantity"), claims.set_index("id")["value"]
    ms, memory, size = (five.loc[key] for key in ("mean_time", "mean_memory", "model_size"))
    total, saved = ms["preprocessing"] + ms["tflite_phone"], ms["tf_model"] - ms["tflite_cpu"]
    sizes = (size["tf_model"], size["tflite_cpu"])
    factor = [(sizes[0] + s * 0.05) / (sizes[1] - s * 0.05) for s in (-1, 1)]
    both = f"{ms['preprocessing']} + {ms['tflite_phone']} = {total:.1f} ms"
    lag, quarter, chunk = (said[k] for k in ("abstract-latency", "quarter-second", "real-time"))
    cpu = "The preprocessing was timed on a CPU; for the phone none is printed."
    return [
        finding("abstract-latency", "Abstract, lag of the whole pipeline", f"{lag} ms", both,
                meets(lag, total - 0.1, total + 0.1),
                f"Table 5 has {ms['tflite_phone']} ms for the network alone. {cpu}"),
        finding("quarter-second", "Section 4, total time", f"{quarter} s", both,
                meets(quarter, total / 1000, total / 1000), cpu),
        finding("real-time", "Section 4, time-continuous analysis", f"a chunk of {chunk} s", both,
                total < 1000 * float(chunk), "A chunk is done with before the next has come."),
        finding("time-difference", "Section 3.4, gain in time", f"{said['time-difference']} ms",
                f"{ms['tf_model']} - {ms['tflite_cpu']} = {saved:.1f} ms",
                meets(said["time-difference"], saved - 0.1, saved + 0.1), "Both on the CPU."),
        finding("size-factor", "Section 3.4, gain in size", f"factor {said['size-factor']}",
                f"{sizes[0]} / {sizes[1]} = {sizes[0] / sizes[1]:.2f}",
                meets(said["size-factor"], *factor), "Of the files, not of the networks in them."),
        finding("more-memory", "Section 3.4, memory", "TF Lite takes more than TF",
                f"{memory['tflite_cpu']} against {memory['tf_model']} MB",
                memory["tflite_cpu"] > memory["tf_model"], "Both on the CPU."),
    ]  # fmt: skip


def head(units: float, classes: float) -> int:
    """Parameters of the head: pooled features, dense with AReLU, dense."""
    return int((FEATURES + 1) * units + ARELU + (units + 1) * classes)


def network_sizes(counts: pd.DataFrame, settings: pd.DataFrame, table5: pd.DataFrame) -> list[dict]:
    """Table 5's parameters, operations and sizes from DenseNet121 and the heads of Table 2."""
    wide = settings.pivot(index="dataset", columns="hyperparameter", values="value")
    classes = counts.set_index("dataset")["classes"].reindex(wide.index)
    heads = pd.Series(map(head, wide["units"], classes), index=wide.index)
    five = table5.set_index("quantity")["tf_model"]
    total = BACKBONE + heads
    fits = total[[meets(str(five["parameters"]), n / 1e6, n / 1e6) for n in total]].index
    able = fits if len(fits) else total.index  # a size has to be explained by some network
    either = ", ".join(f"{n / 1e6:.2f}" for n in sorted({round(n, -4) for n in total}))
    units = sorted({f"{wide.loc[dataset, 'units']:.0f}" for dataset in fits})
    flops, adds = 2 * MULTIPLY_ADDS / 1e9, MULTIPLY_ADDS / 1e9
    return [
        finding("parameters", "Table 5, parameters", f"{five['parameters']} M",
                f"{either} M, by corpus", len(fits),
                f"With a head of {' or '.join(units)} units: the network of {listed(fits)}.",
                ["5/parameters/tf_model", "5/parameters/tflite_cpu"]),
        # No key: the paper does not contradict itself, it names the quantity otherwise.
        finding("flops", "Table 5, FLOPs", f"{five['flops']} G",
                f"2 x {adds:.2f} G multiply-adds = {flops:.1f} G",
                meets(str(five["flops"]), flops, flops),
                f"The multiply-adds alone are {adds:.2f} G."),
        _hdf5(heads.loc[able], wide["fine_tuned_layers"].astype(int), five["model_size"]),
        _tflite(total.loc[able], table5.set_index("quantity").loc["model_size", "tflite_cpu"]),
    ]  # fmt: skip


def _hdf5(heads: pd.Series, layers: pd.Series, printed: float) -> dict:
    """The HDF5 file: all weights, two slots for each trained one, and HDF5's own bytes."""
    readings = {"last N trained": LAST, "first N frozen": REST}
    trained = {
        (corpus, how): counts.get(layers[corpus], 0) + heads[corpus]
        for how, counts in readings.items()
        for corpus in heads.index
    }
    numbers = pd.Series(
        {key: FLOAT * (BACKBONE + heads[key[0]] + SLOTS * n) / 1e6 for key, n in trained.items()}
    )
    off = ((numbers + STRUCTURE / 1e6) / printed - 1).abs()
    fits, nearest = off.index[off <= TOLERANCE], numbers[off.idxmin()]
    ways = {how: [corpus for corpus, own in fits if own == how] for how in readings}
    networks = "; ".join(f"{listed(own)} ({how})" for how, own in ways.items())
    said = (
        f"The file holds the optimiser's state too. Within 1 %: {networks}; so the size does not "
        f"decide how N is read. The numbers alone are {100 * (nearest / printed - 1):+.1f} % off."
    )
    return finding(
        "tf-size",
        "Table 5, size of the TF model",
        f"{printed} MB",
        f"{nearest:.1f} MB of weights and AdaDelta's slots + {STRUCTURE / 1e6:.1f} MB of HDF5 "
        f"structure = {nearest + STRUCTURE / 1e6:.1f} MB",
        len(fits),
        said if len(fits) else "Weights and the optimiser's slots do not explain it.",
    )


def _tflite(total: pd.Series, printed: float) -> dict:
    """The TFLite file: float32, batch normalisation as scale and shift (two numbers, not four)."""
    sizes = FLOAT * (total - 2 * NORMALISED) / 1e6
    return finding(
        "tflite-size",
        "Table 5, size of the TF Lite model",
        f"{printed} MB",
        f"{FLOAT} bytes x {(total.iloc[0] - 2 * NORMALISED) / 1e6:.2f} M = {sizes.iloc[0]:.1f} MB",
        ((sizes / printed - 1).abs() <= TOLERANCE).any(),
        "Weights as float32, not quantised; the gain in size is the optimiser's state left out.",
    )
