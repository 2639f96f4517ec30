"""What is read, broken: valid files, what breaks them, and what must come of it.

``python tests/fuzz.py --minutes 60`` goes through all kinds and prints a table; ``--kind card
--seed 7`` repeats one input. The same seed gives the same input, also in ``test_fuzz.py``.
"""

import argparse
import contextlib
import copy
import faulthandler
import importlib
import io
import json
import multiprocessing
import os
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nbformat
import numpy as np
import soundfile
import yaml

from dslite import audio, cards, notebooks, paths, provenance
from dslite.datasets import checks, download, manifest, scan
from dslite.deployment import predict, runtime, stream
from dslite.deployment import profile as deployment_profile
from dslite.errors import InputError
from dslite.models import guard, weights
from dslite.settings import Settings
from dslite.studies import jobs, study
from dslite.training import cross_validation, records, runs
from tests import encoded
from tests.deployment import stand_in
from tests.finished_runs import into_record, write_run

SECONDS, MIB = 5, 1024  # that an input may take
LINES, LENGTH = 25, 20_000  # of a message
SILENT_S = 120  # after which an input counts as one that ends the process
FORK = multiprocessing.get_context("fork")
HEAVY = ("training.loop", "models.classifier", "deployment.convert")  # each seconds to import
TOGETHER = 20  # inputs with HDF5 that one process tries
MANY = 300  # in `make test-all`; of `--minutes` in an hour, before the rest is shared alike
ODD = (
    *(None, True, -1, 0, 1, 2**31, 10**30, 1e308, float("inf"), float("nan"), -0.5),
    *("", " ", "x" * 5000, "../victim", "/etc/passwd", "a/b", "\0", "\x1b[31m", "\u202e", "\ud800"),
    *("=1+1", "<script>alert(1)</script>", "{dataset}", "$(touch x)", "1e400", "nan", "?", "*"),
    *([], {}, [[]], {"a": {"b": []}}, [None], [1, "x"], {"": ""}),
)
WORDS = (
    *(b"\0", b"\xff" * 4, b"\r", b"\n\n", b"'", b'"', b"{{", b"&a [*a]", b",", b";", b"\t"),
    b"\xef\xbb\xbf",
)
SIZES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**24, 10**6)


# What breaks a file


def broken_bytes(content: bytes, rng: random.Random) -> bytes:
    """Break some bytes of a content, at a few places."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(len(content) + 1)
        length = min(rng.choice((1, 2, 4, 8, 64, 1024)), len(content) - place)
        kind = rng.randrange(8)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[place : place + length] = rng.randbytes(length)
        elif kind == 2:
            del content[place : place + length]
        elif kind == 3:
            content[place:place] = content[place : place + length]
        elif kind == 4:
            content[place:place] = rng.choice(WORDS)
        elif kind == 5:
            form = rng.choice("<>") + rng.choice("HIQ")
            size = rng.choice(SIZES) % (1 << 8 * struct.calcsize(form))
            packed = struct.pack(form, size)
            content[place : place + len(packed)] = packed
        elif kind == 6:
            content[place : place + length] = bytes(length)
        elif rng.random() < 0.5:
            del content[place:]
    return bytes(content)


def broken_tree(content: Any, rng: random.Random) -> Any:
    """Break some values or keys of nested lists and mappings."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, outer = content, None
        while isinstance(place, dict | list) and place and (outer is None or rng.random() < 0.7):
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
            outer, place = (place, key), place[key]
        if outer is None:
            return rng.choice(ODD)
        (inside, key), kind = outer, rng.randrange(6)
        if kind == 0:
            del inside[key]
        elif kind == 1 and isinstance(inside, dict):
            inside[rng.choice(("x", "", "settings", key * 2 if isinstance(key, str) else 0))] = (
                inside.pop(key)
            )
        elif kind == 2:
            inside[key] = [place]
        elif kind == 3:
            inside[key] = str(place)
        else:
            inside[key] = copy.deepcopy(rng.choice(ODD))
    return content


def broken_json(content: bytes, rng: random.Random) -> bytes:
    """Break a JSON file in its bytes, its values, or by a depth that no reader likes."""
    kind = rng.random()
    if kind < 0.3:
        return broken_bytes(content, rng)
    if kind < 0.32:
        return b"[" * 100_000
    tree = broken_tree(json.loads(content), rng)
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def broken_yaml(content: bytes, rng: random.Random) -> bytes:
    """Break a YAML file in its bytes, its values, or by what only YAML can."""
    kind = rng.random()
    if kind < 0.3:
        return broken_bytes(content, rng)
    if kind < 0.34:
        bomb = b"".join(b"a%d: &a%d [%s]\n" % (i, i, b"*a%d, " % (i - 1) * 9) for i in range(1, 12))
        return rng.choice((b"title: &a [*a]\n", b"a0: &a0 x\n" + bomb, b"{" * 1500, b"- " * 1500))
    tree = broken_tree(yaml.safe_load(content), rng)
    return json.dumps(tree).encode("utf-8", "surrogatepass")  # which is YAML


def broken_table(content: bytes, rng: random.Random) -> bytes:
    """Break a table in its bytes, or some of its cells and rows."""
    if rng.random() < 0.3:
        return broken_bytes(content, rng)
    rows = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice(rows)
        cell, kind = rng.randrange(len(row)), rng.randrange(6)
        if kind == 0:
            del row[cell]
        elif kind == 1:
            row.insert(cell, row[cell])
        elif kind == 2:
            rows.append(list(row))
        elif kind == 3:
            rows[rng.randrange(len(rows))] = list(row)
        else:
            row[cell] = str(rng.choice(ODD))
        row.extend([""] if not row else [])
    return "\n".join(map(",".join, rows)).encode("utf-8", "surrogatepass")


def broken_zip(content: bytes, rng: random.Random) -> bytes:
    """Break an archive in its bytes, or its members."""
    if rng.random() < 0.4:
        return broken_bytes(content, rng)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            data, kind = old.read(name), rng.randrange(5) if name == chosen else None
            if kind == 0:
                continue
            if kind == 1:
                name = rng.choice(("../victim", "/tmp/victim", f"../{name}", "a\\b", name.upper()))
            elif kind is not None:
                data = (broken_json if name.endswith("json") else broken_bytes)(data, rng)
            new.writestr(zipfile.ZipInfo(name), data)  # whose date is fixed
    return target.getvalue()


# What is read: a valid file, what breaks it, and how it is read and used


@dataclass(frozen=True)
class Target:
    """A kind of file: how a valid one is made in a folder, broken and read."""

    make: Callable[[Path], Path]  # writes valid files; gives the one that is broken
    read: Callable[[Path], object]  # reads and uses it
    broken: Callable[[bytes, random.Random], bytes] = broken_bytes
    few: int = 30  # inputs in `make test`; `MANY` in `make test-all`
    hdf5: bool = False


def _sounds(folder: Path) -> Path:
    """A table of six tiny sounds, with its card."""
    (folder / "my").mkdir()
    rows = ["path,label,speaker,partition"]
    for i, part in enumerate(("train", "train", "devel", "devel", "test", "test")):
        name = f"my/{i}.wav"
        soundfile.write(folder / name, np.sin(np.arange(800) * (i + 1) / 9) / 2, 8000)
        rows.append(f"{name},{'happy' if i % 2 else 'sad'},s{part},{part}")
    (folder / "my.csv").write_text("\n".join(rows) + "\n")
    card = {"title": "Mine", "licence": "CC0", "classes": ["happy", "sad"], "skip_bad": 1}
    card |= {
        "labels": {"h": "happy"},
        "settings": {"chunk_length_s": 1.0, "backbone": "squeezenet"},
    }
    card |= {"presets": {"small": {"units": 8}}, "default_preset": "small", "grid": {"units": [4]}}
    card |= {"columns": {"label": "label"}, "folder": "."}
    (folder / "my.yaml").write_text(yaml.safe_dump(card))
    return folder / "my.csv"


def _read_corpus(file: Path) -> object:
    card = cards.load(str(file.with_name("my.csv")))
    used = cards.settings_of(card)
    corpus = checks.build(card)
    figures = checks.findings(corpus, used)
    checks.report(figures)
    json.dumps(figures)
    if not figures["errors"]:
        manifest.write_partition(checks.load_manifest(card))
    return figures


def _of_sounds(name: str) -> Callable[[Path], Path]:
    return lambda folder: _sounds(folder).with_name(name)


def _weka(folder: Path) -> Path:
    """The same table as a Weka file, with times."""
    rows = [line.split(",") for line in _sounds(folder).read_text().splitlines()[1:]]
    head = "@relation x\n@attribute path string\n@attribute n numeric\n"
    head += "@attribute class {happy,sad}\n@data\n"
    (folder / "my.arff").write_text(head + "".join(f"'{r[0]}',1.5,{r[1]}\n" for r in rows))
    (folder / "my.csv").unlink()
    (folder / "my.yaml").unlink()
    return folder / "my.arff"


def _read_weka(file: Path) -> object:
    return checks.findings(checks.build(card := cards.load(str(file))), cards.settings_of(card))


def _segments(folder: Path) -> Path:
    table = _sounds(folder)
    lines = table.read_text().splitlines()
    rows = [f"{line},{i / 100},0.09" for i, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},start,end", *rows]) + "\n")
    return table


def _study(folder: Path) -> Path:
    _sounds(folder)
    study = {"title": "Study", "corpora": ["my.csv"], "presets": ["small"], "weights": "random"}
    study |= {"augmentations": ["none", "cutmix"], "seeds": [0, 1], "baselines": ["svm"]}
    study |= {
        "overrides": {"epochs_phase1": 1},
        "variants": ["float32"],
        "backbones": ["squeezenet"],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def _read_study(file: Path) -> object:
    loaded = study.load_study(file)
    every = [*study.expand(loaded), *study.baselines(loaded)]
    assert all(isinstance(word, str) for config in every for word in config.override_words())
    return jobs.study_jobs(loaded)


def _words(*words: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "words").write_text("\n".join(words))
        return folder / "words"

    return make


def _broken_words(content: bytes, rng: random.Random) -> bytes:
    """Break one value, or the bytes, of lines ``key=value``."""
    if rng.random() < 0.5:
        return broken_bytes(content, rng)
    lines = content.decode().split("\n")
    at = rng.randrange(len(lines))
    value = rng.choice(ODD)
    text = value if isinstance(value, str) else json.dumps(value)
    lines[at] = f"{lines[at].partition('=')[0]}={text}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _lines(file: Path) -> list[str]:
    return file.read_bytes().decode("utf-8", "surrogateescape").split("\n")


def _read_settings(file: Path) -> object:
    card = cards.load("ravdess")
    used = cards.settings_of(card, "", _lines(file))
    assert used.picture_shape[0] > 0
    assert used.chunk_hop_samples > 0
    return runs.name(used, 0), json.dumps(used.model_dump(), allow_nan=False)


def _read_parameters(file: Path) -> object:
    kinds = {"dataset": "str", "seed": "int", "preset": "str", "overrides": "str", "gain": "float"}
    declared = {name: {"inferred_type_name": kind} for name, kind in kinds.items()}
    typed = notebooks._typed(notebooks.parse_parameters(_lines(file)), declared)
    json.dumps(typed)
    return notebooks.begin("3_training", {k: v for k, v in typed.items() if k != "gain"})


def _run(folder: Path) -> Path:
    """A finished run's folder in the results; gives its ``run.json``."""
    run = write_run(paths.results(), seed=3, bootstrap_draws=10)
    return run / "run.json"


def _beside(name: str) -> Callable[[Path], Path]:
    return lambda folder: _run(folder).with_name(name)


def _read_run(file: Path) -> object:
    run = runs.load(file.parent)
    used = run.name, run.task, run.classes, run.devel, run.predictions, run.history
    for part in ("devel", "test"):
        runs.headline(run.metrics.get(part))
    table = runs.all_runs(dataset="ravdess")
    return used, table.to_string()


def _folds(folder: Path) -> Path:
    home = paths.results("my") / "x-none-s0-3folds"
    home.mkdir(parents=True)
    pooled = {"score": 0.5, "n": 30, "interval_files": [0.4, 0.6], "interval_speakers": None}
    record = {"dataset": "my", "kind": "svm", "preset": "tuned", "seed": 0, "k": 3, "mean": 0.5}
    record |= {"task": "classification", "classes": ["a", "b"], "metric": "uar", "chance": 0.5}
    record |= {"deviation": 0.1, "pooled": pooled, "identities": ["x", "y", "z"]}
    (home / "folds.json").write_text(json.dumps(record))
    (home / "folds.csv").write_text("fold,train,devel,test,test_score\n1,9,9,9,0.5\n")
    return home / "folds.json"


def _read_folds(file: Path) -> object:
    return [cross_validation.headline(each) for each in cross_validation.summaries("my")]


def _profile(folder: Path) -> Path:
    home = paths.results("my") / "x-none-s0"
    home.mkdir(parents=True)
    times = {"ms": 1.5, "ms_std": 0.1, "runs": 3, "ms_median": 1.4, "ms_p95": 2.0}
    rows = [{"part": "model", "variant": v, "threads": 1, **times} for v in ("float32", "int8")]
    rows = [row | {"size_bytes": 9e6, "peak_mb": 90, "growth_mb": 9} for row in rows]
    profile = {"dataset": "my", "run": "x-none-s0", "backbone": "squeezenet", "rows": rows}
    profile |= {"random_weights": False, "parameters": 10, "multiply_adds": 9, "flops": 18}
    profile |= {"metric": "uar", "devel": {"int8": 0.5}, "test": {"int8": 0.5, "float32": 0.6}}
    profile |= {"test_interval": {"int8": [0.4, 0.6]}, "hardware": "P", "threads": [1]}
    (home / "profile.json").write_text(json.dumps(profile))
    return home / "profile.json"


def _read_profile(file: Path) -> object:
    table = deployment_profile.all_profiles("my")
    text = deployment_profile.operations_text(table)
    return deployment_profile.display_table(table).to_string(), text


PHONE = """\
INFO: Graph: [/data/local/tmp/cnn.tflite]
INFO: Num threads: [1]
INFO: The input model file size (MB): 3.5
INFO: Inference timings in us: Init: 1, First inference: 9, Warmup (avg): 9, Inference (avg): 7.5e3
INFO: Memory footprint delta from the start of the tool (MB): init=1.5 overall=4.25
"""


def _phone(folder: Path) -> Path:
    (folder / "phone.txt").write_text(PHONE)
    return folder / "phone.txt"


def _read_phone(file: Path) -> object:
    return deployment_profile.store_phone(file.parent / "run", str(file), "phone")


def _broken_text(content: bytes, rng: random.Random) -> bytes:
    """Break a text in its bytes, or its numbers."""
    if rng.random() < 0.5:
        return broken_bytes(content, rng)
    words = content.split(b" ")
    words[rng.randrange(len(words))] = str(rng.choice(ODD)).encode("utf-8", "replace")
    return b" ".join(words)


def _notebook(folder: Path) -> Path:
    make = nbformat.v4
    cells = [make.new_markdown_cell("# 1 Title\ntext $x^2$\n\n## Method\n`a`")]
    cells += [make.new_code_cell("print(1)"), make.new_markdown_cell("## Outcome\n$$y$$")]
    cells[1].outputs = [
        make.new_output("stream", name="stdout", text="1\n"),
        make.new_output("display_data", {"text/markdown": "| a |\n| --- |\n| b |"}),
        make.new_output("execute_result", {"text/html": "<table><td>x</table>", "text/plain": "x"}),
    ]
    cells[1].metadata["tags"] = ["abstract"]
    book = make.new_notebook(cells=cells)
    book.metadata["papermill"] = {"parameters": {"augmentation": "none"}}
    nbformat.write(book, folder / "3_x-none.ipynb")
    return folder / "3_x-none.ipynb"


def _read_notebook(file: Path) -> object:
    page = notebooks.write_page("title", [file], file.parent / "report.html").read_text("utf-8")
    assert "<script" not in page.partition("</head>")[2].replace("&lt;script", "")
    return page


def _archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "songs.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        for i in range(4):
            bundle.writestr(f"Actor_0{i}/03-02-0{i}.wav", b"RIFF" + bytes(500))
    return folder / "songs.zip"


def _read_archive(file: Path) -> object:
    size = file.stat().st_size
    archive = download.Archive("http://x/songs.zip", "", size, unpacked=4 * 504, files=4)
    target = paths.raw("songs")
    shutil.rmtree(target, ignore_errors=True)
    download._unpack(file, archive, target, "licence")
    assert len(list(target.rglob("*.wav"))) == 4
    return target


def _pcm(folder: Path) -> Path:
    (folder / "pcm").write_bytes(
        np.random.default_rng(0).integers(-999, 999, 9000, "<i2").tobytes()
    )
    return folder / "pcm"


def _read_pcm(file: Path) -> object:
    logged, written = [], []
    with file.open("rb") as raw:
        blocks = stream.raw_blocks(raw, 16000, 1 + len(logged), logged.append)
        source = stream.Source(stream.STANDARD_INPUT, 16000, blocks)
        source = contextlib.nullcontext(source)
        stream.run(stand_in.predictor(), source, None, 3, "csv", written.append, logged.append)
    return written


def _checkpoint(folder: Path) -> Path:
    from dslite.training import loop

    arrays = {"chosen": [np.ones((3, 4), np.float32)], "variables": [np.ones(5, np.float32)]}
    order = np.random.default_rng(0).bit_generator.state
    facts = {"history": [{"phase": 1}], "order": order}
    loop.save_state(folder / "train.npz", "identity", arrays, facts)
    return folder / "train.npz"


def _read_checkpoint(file: Path) -> object:
    from dslite.training import loop

    stored = loop.load_state(file, "identity")
    if stored is None:
        raise InputError(f"{file}: not taken, the training begins anew")
    arrays, facts = stored
    if [array.shape for array in arrays.get("variables", ())] != [(5,)]:  # `fit` does the same
        raise InputError(f"{file}: of another network, the training begins anew")
    return len(facts["history"])


def _record(folder: Path) -> Path:
    run = _run(folder).parent
    into_record(run)
    return paths.records() / "study" / "runs.csv"


def _read_record(file: Path) -> object:
    for name in records.read(file.parent):
        run = runs.load(file.parent / name)
        runs.headline(run.metrics.get("test"))
    return runs.all_runs()


def _audio(form: str, **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        wave = np.sin(np.arange(8000) / 9) / 2
        file = folder / f"a.{form.lower()}"
        soundfile.write(file, np.stack([wave, wave / 2], 1), 16000, format=form, **how)
        return file

    return make


def _read_audio(file: Path) -> object:
    decoded = audio.decode(file, 16000)
    assert np.isfinite(decoded.waveform).all()
    return decoded, scan.of_file(file)


def _encoded(codec: str, form: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rate, file = 8000 if form == "amr" else 16000, folder / f"a.{form}"
        file.write_bytes(encoded.encode(codec, form, encoded.sound(0.5, rate), rate=rate))
        return file

    return make


def _network() -> Any:
    """A network of three layers."""
    import keras

    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((8, 8, 3))
    maps = layers.Conv2D(4, 3, name="conv")(image)
    pooled = layers.GlobalAveragePooling2D(name="pooling")(maps)
    return keras.Model(image, layers.Dense(2, name="dense")(pooled))


_one_network = cache(_network)  # that weights are read into


def _saved(name: str, how: str = "save") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        getattr(_network(), how)(folder / name)
        return folder / name

    return make


def _read_weights(file: Path) -> None:
    from dslite.models import backbones

    backbones._load_weights(_one_network(), "a network", file)
    assert all(np.isfinite(variable.numpy()).all() for variable in _one_network().weights)


def _read_keras(file: Path) -> object:
    from dslite.models import classifier

    return classifier.load_classifier(file).count_params()


def _tflite(folder: Path) -> Path:
    import tensorflow as tf

    kernel = tf.constant(np.ones((1600, 2), np.float32))
    function = tf.function(
        lambda wave: tf.nn.softmax(tf.matmul(wave, kernel)),
        input_signature=[tf.TensorSpec([1, 1600], tf.float32)],
    )
    concrete = function.get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    used = Settings(sample_rate=16000, chunk_length_s=0.1).model_dump()
    facts = {"settings": used, "classes": ["a", "b"], "task": "classification", "typical_s": 0.1}
    (folder / "model.tflite").write_bytes(runtime.attach(content, facts | {"part": "model"}))
    return folder / "model.tflite"


def _read_tflite(file: Path) -> object:
    model = predict.load_model(file)
    return model.outputs(np.zeros((2, model.settings.chunk_samples), np.float32))


TARGETS = {
    "table": Target(_of_sounds("my.csv"), _read_corpus, broken_table, 20),
    "table, segments": Target(_segments, _read_corpus, broken_table, 15),
    "table, Weka": Target(_weka, _read_weka, broken_table, 15),
    "card": Target(_of_sounds("my.yaml"), _read_corpus, broken_yaml, 20),
    "study": Target(_study, _read_study, broken_yaml, 15),
    "--set": Target(
        _words("units=64", "top_db=null", "dropout=0.5", "weights=random", "mel_max_hz=corpus"),
        *(_read_settings, _broken_words),
    ),
    "parameters": Target(
        _words("dataset=demo", "seed=1", "preset=paper", "overrides=units=4", "gain=0.5"),
        *(_read_parameters, _broken_words),
    ),
    "run": Target(_run, _read_run, broken_json, 15),
    "metrics": Target(_beside("metrics.json"), _read_run, broken_json, 15),
    "predictions": Target(_beside("predictions.csv"), _read_run, broken_table, 5),
    "record": Target(_record, _read_record, broken_table, 10),
    "folds": Target(_folds, _read_folds, broken_json),
    "profile": Target(_profile, _read_profile, broken_json, 15),
    "device text": Target(_phone, _read_phone, _broken_text),
    "notebook": Target(_notebook, _read_notebook, broken_json, 10),
    "archive": Target(_archive, _read_archive, broken_zip),
    "raw PCM": Target(_pcm, _read_pcm, few=10),
    "WAV": Target(_audio("WAV"), _read_audio),
    "FLAC": Target(_audio("FLAC"), _read_audio),
    "AIFF": Target(_audio("AIFF"), _read_audio),
    "Ogg": Target(_audio("OGG"), _read_audio, few=15),
    "MP3": Target(_audio("MP3"), _read_audio, few=15),
    "M4A": Target(_encoded("aac", "mp4"), _read_audio, few=15),
    "WebM": Target(_encoded("libopus", "webm"), _read_audio, few=15),
    "AMR": Target(_encoded("libopencore_amrnb", "amr"), _read_audio, few=15),
    # From here on with TensorFlow
    "checkpoint": Target(_checkpoint, _read_checkpoint, broken_zip),
    "weights": Target(_saved("a.weights.h5", "save_weights"), _read_weights, few=20, hdf5=True),
    "weights, older": Target(_saved("a.h5"), _read_weights, few=20, hdf5=True),
    ".keras": Target(_saved("model.keras"), _read_keras, broken_zip, 20, hdf5=True),
    ".tflite": Target(_tflite, _read_tflite, few=3),
}


# What must come of an input


class Failure(Exception):
    """An input was neither used nor refused in a sentence."""


class Bench:
    """A folder with a valid file of a kind, in which broken ones are tried."""

    def __init__(self, kind: str, folder: Path):
        self.target, self.home = TARGETS[kind], folder / "home"
        self.home.mkdir(parents=True)
        (folder / "victim").write_text("untouched")
        self.folder = folder
        self.enter()
        (self.home / "run").mkdir()
        self.file = self.target.make(self.home)
        self.valid = self.file.read_bytes()
        self.file.write_bytes(self.valid)
        self.target.read(self.file)

    def enter(self) -> None:
        """Let results, cache and corpora lie in this folder."""
        for name in ("RESULTS", "CACHE", "DATA"):
            os.environ[f"DSLITE_{name}"] = str(self.home / name.lower())

    def broken(self, seed: int) -> bytes:
        """Return the input of a seed."""
        return self.target.broken(self.valid, random.Random(seed))

    def try_together(self, seeds: Sequence[int]) -> None:
        """Try inputs with HDF5 in one process, in place of one each, unless one of them ends it."""
        files = [self.home / f"tried-{seed}" for seed in seeds]
        for seed, file in zip(seeds, files, strict=True):
            file.write_bytes(self.broken(seed))
        ended = guard.failure(weights._READ, files)
        for file in files:
            if not ended:
                weights.trust(file)
            file.unlink()

    def outcome(self, content: bytes) -> str:
        """Read an input: ``accepted`` or ``refused``; a `Failure` says what else came of it."""
        for older in (self.home / "results" / "my").glob("*.*"):
            if older.is_file():  # the division of the input before
                older.unlink()
        self.file.write_bytes(content)
        began, peak = time.process_time(), provenance.peak_mb()
        silent = io.StringIO()
        try:
            with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
                self.target.read(self.file)
            outcome = "accepted"
        except InputError as error:
            outcome = self._judged(str(error))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            ours = [
                at for at in traceback.extract_tb(error.__traceback__) if "/dslite/" in at.filename
            ]
            at = (ours or [last])[-1]
            where = f"{Path(at.filename).name}:{at.lineno}"
            text = " ".join(str(error).split())[:150]
            raise Failure(f"{type(error).__name__} at {where}: {text}") from error
        if (spent := time.process_time() - began) > SECONDS:
            raise Failure(f"took {spent:.0f} s")
        if (more := provenance.peak_mb() - peak) > MIB * 1.048576:
            raise Failure(f"took {more:.0f} MB")
        others = {file.name for file in self.folder.iterdir()} - {"home", "victim"}
        if others or (self.folder / "victim").read_text() != "untouched":
            raise Failure(f"wrote outside of its folder: {others or 'victim'}")
        return outcome

    def _judged(self, message: str) -> str:
        """Hold a refusal to what a user needs."""
        if len(lines := message.splitlines()) > LINES or len(message) > LENGTH:
            raise Failure(f"a message of {len(lines)} lines, {len(message)} characters")
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in message.replace("\n", "")):
            raise Failure("a message with unprintable characters")
        names = (self.file.name, self.file.stem, self.file.parent.name, "override", "parameter")
        names += ("settings", "weights", "standard input", "unknown dataset", "preset")
        names += ("there is no such", "cannot be read")
        if not any(name in message for name in names):
            raise Failure(f"a message that names no place: {message[:150]}")
        return "refused"


# Long runs, each kind in a process of its own, which may die


def work(kind: str, first: int, inputs: int, seconds: float, log: Path) -> None:
    """Try some seeds, or until the time is over; write a line for each as JSON."""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder, log.open("w") as lines:
        bench = Bench(kind, Path(folder) / "bench")
        for seed in range(first, first + inputs):
            faulthandler.dump_traceback_later(SILENT_S, exit=True)
            print(json.dumps([seed, "begun", "", 0]), file=lines, flush=True)
            began = sum(os.times()[:4])
            if bench.target.hdf5 and (seed - first) % TOGETHER == 0:
                bench.try_together(range(seed, seed + TOGETHER))
            try:
                outcome, text = bench.outcome(bench.broken(seed)), ""
            except Failure as failure:
                outcome, text = "failed", str(failure)
            spent = sum(os.times()[:4]) - began
            print(json.dumps([seed, outcome, text, spent]), file=lines, flush=True)
            if time.monotonic() > end:
                return


class Explored:
    """What came of the inputs of a kind."""

    def __init__(self, kind: str, first: int):
        self.kind, self.seed, self.seconds = kind, first, 0.0
        self.counts = {"accepted": 0, "refused": 0, "failed": 0}
        self.failures: dict[str, int] = {}

    def go_on(self, seconds: float, inputs: int = 10**12) -> None:
        """Try as many inputs, or for some time, also where inputs end the process."""
        end, last = time.monotonic() + seconds, self.seed + inputs
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            while (left := end - time.monotonic()) > 0 and self.seed < last:
                log.write_text("")
                how = (self.kind, self.seed, last - self.seed, left, log)
                process = FORK.Process(target=work, args=how)
                process.start()
                process.join()
                lines = [json.loads(line) for line in log.read_text().splitlines()]
                if not lines:
                    self.failures[f"no input was tried, status {process.exitcode}"] = self.seed
                    return
                for at, outcome, text, spent in lines:
                    if outcome in self.counts:
                        self.counts[outcome] += 1
                    self.seconds += spent
                    if text:
                        self.failures.setdefault(text, at)
                if lines[-1][1] == "begun":
                    self.counts["failed"] += 1
                    text = f"the process ended, status {process.exitcode}"
                    self.failures.setdefault(text, lines[-1][0])
                self.seed = lines[-1][0] + 1

    def row(self) -> str:
        """Return it as a row of the table."""
        inputs = sum(self.counts.values())
        each = round(1000 * self.seconds / max(1, inputs))
        cells = [self.kind, inputs, *self.counts.values(), len(self.failures), each]
        return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kind", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=10**6, help="the first one (with --kind: it)")
    asked = parser.parse_args()
    if asked.kind and "--minutes" not in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(asked.kind[0], Path(folder) / "bench")
            print(bench.broken(asked.seed)[:2000])
            print(bench.outcome(bench.broken(asked.seed)))
    else:
        end = time.monotonic() + 60 * asked.minutes
        every = [Explored(kind, asked.seed) for kind in asked.kind or TARGETS]
        for each in every:
            if list(TARGETS).index(each.kind) >= list(TARGETS).index("checkpoint"):
                for module in HEAVY:  # once for all kinds, whose processes are copies of this
                    importlib.import_module(f"dslite.{module}")
            each.go_on(end - time.monotonic(), round(MANY * asked.minutes / 60))
            print(each.row(), each.failures or "", file=sys.stderr, flush=True)
        for i, each in enumerate(every):
            each.go_on((end - time.monotonic()) / (len(every) - i))
        print("| kind | inputs | accepted | refused | failures | distinct | ms of CPU each |")
        print("|:--|--:|--:|--:|--:|--:|--:|")
        print(*(each.row() for each in every), sep="\n")
        failures = [(each.kind, *pair) for each in every for pair in each.failures.items()]
        for kind, text, seed in failures:
            print(f"{kind}, seed {seed}: {text}")
        sys.exit(bool(failures))


if __name__ == "__main__":
    main()
