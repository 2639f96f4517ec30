"""Where the time of a file for the device goes: its operators, by the runtime's own profile.

    python tests/benchmarks/operators.py [--runs 200]

MobileNetV2 (random weights, which make no difference to the time) of presets ``paper`` and
``tuned`` is converted in float32 and int8 and run on one thread with the profiler of LiteRT's C
interface on, the files in turn. Writes ``results/benchmarks/operators.md``.
"""

import argparse
import ctypes
import os
import tempfile
from collections import defaultdict
from ctypes import byref, c_int, c_size_t, c_void_p
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ai_edge_litert
import numpy as np
import pandas as pd
from device import a_run
from timing import write

from dslite import cards, provenance, settings
from dslite.deployment import runtime
from dslite.models import tensorflow_logging

VARIANTS = (runtime.FLOAT32, runtime.INT8)
OPERATOR, INSIDE_DELEGATE = 2, 8  # types of the profiler's events
SHOWN = 12  # kinds of operators
GROUPS = {
    "1x1 convolutions and dense layers": "Fully Connected",
    "depthwise convolutions": "DWConv",
    "the first convolution": "IGEMM",
}
READING = """
float32 against int8 of paper: {groups}. All other operators take {others:.2f} ms of the int8 file,
the Fourier transform {fft:.2f} of them: with a network of half its float32 time the file would take
{half:.2f} of the float32 one. How much int8 gains depends on the processor's instructions: on an
Intel Xeon depthwise convolutions and that of three channels took longer than in float32.

Tried there on MobileNetV2 of paper, one thread, least of 60 runs in turn, and left out: int8 with
its depthwise layers in float32 7.9 ms instead of 7.1 (each needs a conversion before and behind),
with its first convolution in float32 6.9, with both 7.5; XNNPACK's flags (latest operators,
transient indirection, reshaping, half precision) are within the noise. Colours and resizing, folded
into the first convolution, could save no more than {picture:.2f} ms. The int8 file is not
interrupted by float32: it has {conversions} conversions, all at its ends. The picture of tuned is
not stretched. For tuned, too, left out: the largest absolute sample from the largest and the least
one, which is no faster, since whatever reads the samples first waits for them.

Kept, for tuned, by this profile: rows and colours of a picture are looked up at once (2.16 instead
of 2.46 ms), and means over the picture's own rows are taken along the axis of the maps (1.88
instead of 2.01 ms, on an AMD EPYC).
"""


class Event(ctypes.Structure):
    """`ProfiledEventData` of litert_profiler_event.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", c_int),
        ("begin_us", ctypes.c_uint64),
        ("us", ctypes.c_uint64),
        ("memory", ctypes.c_int64 * 6),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", c_int),
    )


class Profiled:
    """A file ready to run on noise, on one thread, with the profiler on."""

    def __init__(self, file: Path):
        self._library = ctypes.CDLL(str(Path(ai_edge_litert.__file__).with_name("libLiteRt.so")))
        environment, model, options = c_void_p(), c_void_p(), c_void_p()
        self._call("CreateEnvironment", 0, None, byref(environment))
        self._call("CreateModelFromFile", environment, str(file).encode(), byref(model))
        self._call("CreateOptions", byref(options))
        self._call("SetOptionsHardwareAccelerators", options, 1)  # the processor
        self._texts, self._free = [], ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
        for name, text in (
            (b"runtime_options_string", b"enable_profiling = true\n"),
            (b"xnnpack", b"num_threads = 1\n"),
        ):
            self._texts.append(ctypes.create_string_buffer(text))
            opaque, content = c_void_p(), ctypes.cast(self._texts[-1], c_void_p)
            self._call("CreateOpaqueOptions", name, content, self._free, byref(opaque))
            self._call("AddOpaqueOptions", options, opaque)
        self._model, self._profiler, signature = c_void_p(), c_void_p(), c_void_p()
        self._call("CreateCompiledModel", environment, model, options, byref(self._model))
        self._call("GetModelSignature", model, c_size_t(0), byref(signature))
        self._buffers = [self._buffer(environment, signature, kind) for kind in ("Input", "Output")]
        noise = runtime.example_input(file)
        place = c_void_p()
        self._call("LockTensorBuffer", self._buffers[0], byref(place), 1)  # to write
        ctypes.memmove(place, noise.ctypes.data, noise.nbytes)
        self._call("UnlockTensorBuffer", self._buffers[0])
        self._call("CompiledModelGetProfiler", self._model, byref(self._profiler))

    def _call(self, name: str, *arguments) -> None:
        """Call a function of the C interface; a RuntimeError if it fails."""
        if status := getattr(self._library, f"LiteRt{name}")(*arguments):
            raise RuntimeError(f"LiteRt{name}: status {status}")

    def _buffer(self, environment, signature, kind: str) -> c_void_p:
        """Return a buffer for the only input or output."""
        tensor, requirements, buffer = c_void_p(), c_void_p(), c_void_p()
        shape = ctypes.create_string_buffer(1024)  # larger than any version's structure
        zero = c_size_t(0)
        self._call(f"GetSignature{kind}TensorByIndex", signature, zero, byref(tensor))
        self._call("GetRankedTensorType", tensor, shape)
        wanted = f"GetCompiledModel{kind}BufferRequirements"
        self._call(wanted, self._model, zero, zero, byref(requirements))
        create = "CreateManagedTensorBufferFromRequirements"
        self._call(create, environment, shape, requirements, byref(buffer))
        return buffer

    def run(self) -> list[tuple[str, float]]:
        """Run once; return name and microseconds of each operator, in order."""
        one, zero, count = c_size_t(1), c_size_t(0), c_int()
        source, result = ((c_void_p * 1)(buffer) for buffer in self._buffers)
        self._call("ResetProfiler", self._profiler)
        self._call("StartProfiler", self._profiler)
        self._call("RunCompiledModel", self._model, zero, one, source, one, result)
        self._call("StopProfiler", self._profiler)
        self._call("GetNumProfilerEvents", self._profiler, byref(count))
        events = (Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count, events)
        # A delegate's node holds operators of its own, and is none.
        return [
            (event.name.decode(), float(event.us))
            for event in events
            if event.type in (OPERATOR, INSIDE_DELEGATE) and b"Delegate" not in event.name
        ]


def profiles(files: dict[str, Path], runs: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ms (medians over the runs, summed) and number of operators, by kind and file."""
    loaded = {name: Profiled(file) for name, file in files.items()}
    times = {name: [] for name in files}
    for _ in range(runs):
        for name, file in loaded.items():
            times[name].append(file.run())
    ms, count = {}, {}
    for name, repeated in times.items():
        medians = np.median([[us for _, us in once] for once in repeated], axis=0) / 1000
        by_kind = defaultdict(list)
        for (kind, _), median in zip(repeated[0], medians, strict=True):
            by_kind[kind].append(median)
        ms[name] = {kind: sum(of) for kind, of in by_kind.items()}
        count[name] = {kind: len(of) for kind, of in by_kind.items()}
    return pd.DataFrame(ms).fillna(0.0), pd.DataFrame(count).fillna(0).astype(int)


def lines(ms: pd.DataFrame, count: pd.DataFrame, runs: int) -> list[str]:
    """Write the table and what it says."""
    ranked = ms.sum(axis=1).sort_values(ascending=False).index
    columns = [f"{name}, ms (operators)" for name in ms]
    text = ["# Where a file's time goes", ""]
    machine = "{processor}, {cores} cores".format(**provenance.hardware())
    text += [
        f"{machine}; medians of {runs} runs in turn, one thread, one chunk (4 s; tuned: 6 s).",
        "",
    ]
    text += [f"| operator | {' | '.join(columns)} |", "|:--|" + "--:|" * len(columns)]
    for kind in ranked[:SHOWN]:
        cells = [f"{ms.at[kind, name]:.3f} ({count.at[kind, name]})" for name in ms]
        text.append(f"| {kind} | {' | '.join(cells)} |")
    rest = [f"{ms.loc[ranked[SHOWN:], name].sum():.3f}" for name in ms]
    text += [f"| others | {' | '.join(rest)} |"]
    text += [f"| **all** | {' | '.join(f'**{ms[name].sum():.2f}**' for name in ms)} |"]

    def total(name: str, word: str) -> float:
        return ms.loc[[kind for kind in ms.index if word in kind], name].sum()

    exact, small = "paper float32", "paper int8"
    network = {name: sum(total(name, word) for word in GROUPS.values()) for name in (exact, small)}
    groups = [
        f"{title} {total(exact, word):.2f} against {total(small, word):.2f} ms"
        for title, word in GROUPS.items()
    ]
    others = ms[small].sum() - network[small]
    reading = READING.format(
        groups=", ".join(groups),
        others=others,
        fft=total(small, "RFFT"),
        half=(network[exact] / 2 + others) / ms[exact].sum(),
        picture=total(exact, "GATHER") + total(exact, "Resize"),
        conversions=count[small][[kind for kind in ms.index if "Convert" in kind]].sum(),
    )
    return text + reading.rstrip().splitlines()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    tensorflow_logging.import_tensorflow()
    network = {"backbone": "mobilenet_v2", "weights": "random"}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for preset, recipe in (("paper", {}), ("tuned", cards.TUNED)):
            run = a_run(Path(folder) / preset, settings.Settings(**recipe | network), VARIANTS)
            for variant in VARIANTS:
                files[f"{preset} {variant}"] = run.folder / runtime.file_name("model", variant)
        report = lines(*profiles(files, options.runs), options.runs)
    print("\n".join(report))
    write("operators.md", report)


if __name__ == "__main__":
    main()
