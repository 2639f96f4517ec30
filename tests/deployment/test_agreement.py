"""The variants for the device: small where they should be, float where they must be, and true."""

import json
import shutil
import subprocess
import sys
import types
import zipfile

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from dslite import cards
from dslite.datasets import load_manifest, manifest, partitions
from dslite.deployment import agreement, convert, predict, quantise, runtime
from dslite.deployment.quantise import DYNAMIC, FLOAT16, FLOAT32, INT8, VARIANTS
from dslite.errors import InputError
from dslite.evaluation import metrics
from dslite.features import store as feature_store
from dslite.training import runs

# What a spectrogram needs, and a convolutional network: all of them are built into every runtime.
CUSTOM = {"CUSTOM", "Custom", "FlexRFFT", "FlexRFFT2D"}


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest.fixture(scope="module")
def assessed(small_run, small_corpus, small_cache, tmp_path_factory, patched):
    """A copy of the small run, converted in every variant and compared."""
    patched.setenv("DSLITE_CACHE", str(small_cache))
    folder = tmp_path_factory.mktemp("assessed") / small_run.folder.name
    shutil.copytree(small_run.folder, folder)
    run = runs.load(folder)
    built = load_manifest(cards.load(str(small_corpus)))
    store = feature_store.load_spectrograms(built, run.settings)
    lines = []
    found = agreement.assess(run, store, log=lines.append)
    return run, store, found, lines


def tensors(file):
    """Operator name -> types of the constants it reads, for every operator in order."""
    made = Interpreter(
        model_path=str(file),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    types = {t["index"]: np.dtype(t["dtype"]).name for t in made.get_tensor_details()}
    return [
        (op["op_name"], [types[i] for i in op["inputs"] if i in types], types[op["outputs"][0]])
        for op in made._get_ops_details()
    ]


def file_of(run, variant, part="model"):
    return run.folder / f"{convert.stem(part, variant)}.tflite"


# What is in the files


@pytest.mark.parametrize("variant", VARIANTS)
def test_built_in_operators_only_and_float_at_both_ends(assessed, variant):
    run, *_ = assessed
    for part in ("model", "cnn"):
        file = file_of(run, variant, part)
        assert not CUSTOM & set(runtime.operators(file))
        made = Interpreter(model_path=str(file))
        (given,), (told,) = made.get_input_details(), made.get_output_details()
        assert np.dtype(given["dtype"]).name == ("uint8" if part == "cnn" else "float32")
        assert np.dtype(told["dtype"]).name == "float32"
    assert "RFFT2D" in runtime.operators(file_of(run, variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_spectrogram_stays_in_float32(assessed, variant):
    run, *_ = assessed
    before = []
    for name, reads, writes in tensors(file_of(run, variant)):
        if name == "CONV_2D":
            break
        if name == "DEQUANTIZE":  # of the network's weights, wherever the runtime puts it
            continue
        before.append(name)
        assert writes not in ("int8", "float16") or name == "QUANTIZE", name
        assert "float16" not in reads, name
        assert "int8" not in reads, name
    assert {"RFFT2D", "LOG", "RESIZE_BILINEAR"} <= set(before)


def test_the_network_is_smaller(assessed):
    run, _, found, _ = assessed
    weights = {FLOAT32: "float32", DYNAMIC: "int8", INT8: "int8"}
    for variant, kind in weights.items():
        convolutions = [r for name, r, _ in tensors(file_of(run, variant)) if name == "CONV_2D"]
        assert len(convolutions) > 20
        assert all(kind in reads for reads in convolutions), variant
    sizes = {variant: found[variant]["size_bytes"] for variant in VARIANTS}
    assert sizes == {variant: file_of(run, variant).stat().st_size for variant in VARIANTS}
    parameters = 4 * run_parameters(run)
    # What is saved is saved of the weights: three quarters by int8, half by float16.
    assert sizes[FLOAT32] - sizes[FLOAT16] == pytest.approx(parameters / 2, rel=0.1)
    assert sizes[FLOAT32] - sizes[DYNAMIC] == pytest.approx(parameters * 3 / 4, rel=0.1)
    assert sizes[FLOAT32] - sizes[INT8] == pytest.approx(parameters * 3 / 4, rel=0.1)


def run_parameters(run):
    from dslite.models import classifier

    return classifier.load_classifier(run.folder / "model.keras").count_params()


def test_layers_that_are_kept_stay_in_float32(assessed):
    run, store, *_ = assessed
    contents = convert.convert_all(run, load(run))
    waves = list(feature_store.waveforms(store, store.chunks("train")[:4], run.settings))
    quantiser = quantise.Quantiser(contents["model"], [w[None] for w in waves])
    layers = quantiser.layers()
    assert len(layers) > 20
    for variant in (DYNAMIC, INT8):
        plain, kept = (quantiser.make(variant, keep) for keep in ([], layers[3:5]))
        assert len(kept) > len(plain)
        # Made again it is the same file: nothing of a recipe stays behind.
        assert quantiser.make(variant) == plain
        assert quantiser.make(variant, layers[3:5]) == kept


def load(run):
    from dslite.models import classifier

    return classifier.load_classifier(run.folder / "model.keras")


# What the files say


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_alone_predicts_as_keras(assessed, small_corpus, tmp_path, variant):
    run, *_ = assessed
    lonely = tmp_path / "anything.tflite"
    shutil.copy(file_of(run, variant), lonely)
    audio = sorted(small_corpus.parent.glob("spk0[36]/*.wav"))[:6]
    expected, told = (predict.files(place, audio) for place in (run.folder, lonely))
    assert told.columns.tolist() == expected.columns.tolist()
    classes = list(run.classes)
    difference = np.abs(told[classes].to_numpy() - expected[classes].to_numpy()).mean()
    assert difference <= agreement.TOLERANCE[variant]
    pd.testing.assert_series_equal(told["duration_s"], expected["duration_s"])
    settings, record = runtime.metadata(lonely).settings, run.settings
    changed = {"weights"}  # by its name, not by where it lay
    assert settings.model_dump(exclude=changed) == record.model_dump(exclude=changed)


def test_a_file_needs_no_tensorflow(assessed, small_corpus):
    run, *_ = assessed
    audio = next(small_corpus.parent.glob("spk01/*.wav"))
    script = (
        "import sys\nfrom dslite.deployment import predict\n"
        f"table = predict.files({str(file_of(run, INT8))!r}, [{str(audio)!r}])\n"
        "assert len(table) == 1\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_file_says_of_itself(assessed, variant):
    run, *_ = assessed
    told = runtime.metadata(file_of(run, variant)).told
    assert (told["part"], told["variant"]) == ("model", variant)
    assert (told["dataset"], told["run"]) == ("small", run.folder.name)
    assert told["identity"] == run.record["identity"]
    assert tuple(told["classes"]) == run.classes
    assert "small.weights.h5" in told["weights"]["licence"]
    assert str(run.settings.chunk_samples) in told["input"]
    with zipfile.ZipFile(file_of(run, variant)) as archive:
        assert archive.namelist() == [runtime.MEMBER]
    assert str(run.folder.parent) not in json.dumps(told)


def test_attaching_is_repeatable_and_needs_no_other_reader(tmp_path):
    one, other = (runtime.attach(b"model" * 100, {"classes": ["a"]}) for _ in range(2))
    assert one == other
    assert one.startswith(b"model" * 100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"TFL3" * 20, "says nothing of itself"),
        (b"", "says nothing of itself"),
        (runtime.attach(b"x", {"format": 99, "version": "9.9"}), "newer dslite (9.9)"),
        (runtime.attach(b"x", {"task": "classification"}), "is damaged"),
        (
            runtime.attach(b"x", {"settings": {"units": 0}, "classes": [], "task": "x"}),
            "is damaged",
        ),
        (runtime.attach(b"x", {"settings": {}, "classes": ["a"], "task": "x"}), "not a TensorFlow"),
    ],
    ids=["no-metadata", "empty", "newer", "no-settings", "bad-settings", "no-model"],
)
def test_a_file_that_cannot_be_used(tmp_path, command, content, said):
    file = tmp_path / "some.tflite"
    file.write_bytes(content)
    status, out, err = command("predict", file, "a.wav")
    assert (status, out) == (2, "")
    assert "some.tflite" in err
    assert said in err
    assert "Traceback" not in err
    assert "there is no such file" in command("predict", tmp_path / "no.tflite", "a.wav")[2]


# Compared with Keras


def test_all_of_devel_and_test_is_compared(assessed):
    run, store, found, _ = assessed
    assert list(found) == list(VARIANTS)
    assert json.loads((run.folder / agreement.FILE).read_text()) == found
    for variant, one in found.items():
        assert one["chunks"] == len(store.chunks("devel"))
        assert one["test"]["chunks"] == len(store.chunks("test"))
        assert one["mean_difference"] <= agreement.TOLERANCE[variant]
        assert one["uar_difference"] == pytest.approx(one["uar"] - one["keras_uar"])
        low, high = one["interval"]
        assert low <= one["uar_difference"] <= high
        assert len(one["kept"]) <= one["layers"]
    assert found[FLOAT32]["kept"] == []
    table = agreement.table(found)
    assert table.index.tolist() == list(VARIANTS)
    assert table["MB"].idxmax() == FLOAT32


def test_the_float32_column_is_that_of_the_run(assessed):
    """Keras's decisions on the test partition, by another way: those of predictions.csv."""
    run, _, found, _ = assessed
    test = run.predictions.query("partition == 'test'")
    index = {name: i for i, name in enumerate(run.classes)}
    truth, said = (test[c].map(index).to_numpy(int) for c in ("label", "prediction"))
    expected = metrics.uar(truth, said, len(run.classes))
    assert found[FLOAT32]["test"]["keras_uar"] == pytest.approx(expected)


def test_comparing_counts_files_not_chunks(assessed):
    run, store, *_ = assessed
    chunks = store.chunks("devel")
    labels = store.files["label"].iloc[store.file[chunks]]
    truth = np.eye(4, dtype=np.float32)[[run.classes.index(name) for name in labels]]
    one = agreement.compare(run, store, chunks, truth, truth)
    assert (one["uar"], one["uar_difference"], one["interval"]) == (1.0, 0.0, [0.0, 0.0])
    assert one["same_decision"] == 1.0
    # One file of devel is taken for another class.
    wrong = truth.copy()
    first = store.file[chunks] == store.file[chunks][0]
    wrong[first] = np.roll(truth[first], 1, axis=1)
    other = agreement.compare(run, store, chunks, truth, wrong)
    per_class = (store.files.query("partition == 'devel'")["label"] == labels.iloc[0]).sum()
    assert other["uar_difference"] == pytest.approx(-1 / 4 / per_class)
    assert other["interval"][0] < other["uar_difference"] <= other["interval"][1] <= 0
    assert other["same_decision"] == pytest.approx(1 - first.mean())


def test_of_one_file_nothing_varies(assessed):
    run, store, found, _ = assessed
    chunks = np.flatnonzero(store.file == store.file[store.chunks("devel")[0]])
    said = np.eye(4, dtype=np.float32)[np.zeros(len(chunks), int)]
    one = agreement.compare(run, store, chunks, said, said)
    assert (one["uar_difference"], one["interval"]) == (0.0, None)
    table = agreement.table({INT8: found[INT8] | one})
    assert table.loc[INT8, "95 %"] == ""


class FakeQuantiser:
    """Layers a to f; 'content' names the layers in float32."""

    shares = types.MappingProxyType({"a": 1.0, "b": 8.0, "c": 0.0, "d": 4.0, "e": 2.0, "f": 0.5})

    def layers(self):
        return list(self.shares)

    def make(self, variant, keep=()):
        return tuple(self.shares) if variant == FLOAT32 else tuple(keep)

    @classmethod
    def loss(cls, content):
        return sum(share for name, share in cls.shares.items() if name not in content)


@pytest.fixture
def fake(monkeypatch):
    def says(content, waveforms, threads=2):
        return np.full((len(waveforms), 1), FakeQuantiser.loss(content))

    monkeypatch.setattr(agreement, "outputs", says)
    return FakeQuantiser()


def test_the_most_sensitive_layer_comes_first(fake):
    ranked = agreement.sensitivity(fake, INT8, [0, 0], np.zeros((2, 1)))
    assert list(ranked) == ["b", "d", "e", "a", "f", "c"]
    assert ranked["b"] == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("scale", "kept"),
    [(0.0005, []), (0.001, ["b"]), (0.002, ["b", "d"]), (0.01, ["b", "d", "e", "a"])],
)
def test_layers_are_put_back_until_little_is_lost(fake, scale, kept):
    lines = []

    def compared(content, part):
        assert part == "devel"  # nothing is chosen on test
        return {"uar_difference": -scale * FakeQuantiser.loss(content)}

    keep, found = agreement._mended(fake, INT8, [0, 0], compared, lines.append)
    assert keep == kept
    assert found["uar_difference"] == pytest.approx(-scale * FakeQuantiser.loss(kept))
    assert bool(lines) == bool(kept)
    assert not kept or f"the {len(kept)} most sensitive of 6 layers" in lines[-1]


def test_what_cannot_be_mended_is_said(fake):
    lines = []
    keep, found = agreement._mended(
        fake, INT8, [0], lambda content, part: {"uar_difference": -0.5}, lines.append
    )
    assert len(keep) <= agreement.MOST_KEPT
    assert found["uar_difference"] == -0.5
    assert "lost 50.00 points" in lines[0]


# The command


def test_the_command(small_run, small_corpus, workplace, tmp_path, command):
    folder = tmp_path / small_run.folder.name
    shutil.copytree(small_run.folder, folder)
    status, out, err = command("convert", folder, "--table", small_corpus)
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()[-5:-1]] == list(VARIANTS)
    assert {f"{convert.stem(p, v)}.tflite" for p in ("model", "cnn") for v in VARIANTS} | {
        "spectrogram.tflite",
        agreement.FILE,
    } <= {file.name for file in folder.iterdir()}


def test_a_file_that_differs_too_much_is_a_failure(
    small_run, small_corpus, workplace, tmp_path, command, monkeypatch
):
    folder = tmp_path / small_run.folder.name
    shutil.copytree(small_run.folder, folder)
    monkeypatch.setitem(agreement.TOLERANCE, DYNAMIC, 1e-9)
    status, _, err = command("convert", folder, "--table", small_corpus)
    assert status == 1
    assert "dynamic: differs from Keras" in err
    assert "Traceback" not in err
    assert not (folder / agreement.FILE).exists()
    assert not list(folder.glob("*.tflite"))


def test_another_corpus_is_refused(small_run, small_corpus, workplace, command):
    table = pd.read_csv(small_corpus, dtype=str)
    other = small_corpus.with_name("fewer.csv")
    table.drop(index=0).to_csv(other, index=False)
    card = small_corpus.with_suffix(".yaml").read_text("utf-8")
    other.with_suffix(".yaml").write_text(card, encoding="utf-8")
    status, _, err = command("convert", small_run.folder, "--table", other)
    assert status == 2
    assert "the corpus is not the one of this run" in err


def test_the_manifest_of_a_fold_is_found_again(small_corpus, workplace):
    built = load_manifest(cards.load(str(small_corpus)))
    for i, fold in enumerate(partitions.divide(built, 3), start=1):
        record = {"fold": f"3folds/fold{i}", "manifest": manifest.digest(fold)}
        assert partitions.of_run(built, record).table.equals(fold.table)
    with pytest.raises(InputError, match="not the one of this run"):
        partitions.of_run(built, {"fold": "3folds/fold1", "manifest": manifest.digest(built)})
