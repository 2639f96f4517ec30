"""Predicting: which files a user names, what is predicted of them and where, what is left out."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import audio
from dslite.deployment import predict
from dslite.errors import InputError
from dslite.settings import Settings

RATE = 16000
USED = Settings(sample_rate=RATE, chunk_length_s=1.0, chunk_hop_s=0.4, backbone="squeezenet")
CLASSES = ["calm", "happy", "sad", "angry"]


def loudness(waveforms):
    """Stands in for a network: a chunk's loudness, and the rest to 1."""
    assert len(waveforms) <= predict.BATCH
    loud = np.sqrt(np.mean(waveforms.astype(np.float64) ** 2, axis=1))
    return np.stack([loud, 1 - loud], axis=1).astype(np.float32)


def predictor(**changed):
    settings = USED.model_copy(update=changed)
    return predict.Predictor(settings, ("loud", "quiet"), loudness)


def noise(path, seconds=1.5, rate=RATE, channels=1, level=0.3, **how):
    """A file of white noise; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    samples = level * rng.uniform(-1, 1, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate, **how)
    return path


def named(*names):
    """Files of these names and what was reported."""
    errors = []
    files = [str(path) for path in predict.audio_files(names, errors.append)]
    return files, [str(error) for error in errors]


def predicted(files, level="file", of=None):
    errors = []
    tables = list(predict.tables(of or predictor(), files, level, errors.append))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table, [str(error) for error in errors]


# Which files are meant


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files in folders, some hidden, some no audio; the working folder."""
    names = ["b.wav", "a/z.WAV", "a/deep/x.flac", "a/deep/y.Ogg", "c.mp3", "d.aif", "e.AIFF"]
    others = [".hidden.wav", "a/.cache/h.wav", "a/notes.txt", "f.opus", "g.wav.part", "h.raw"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_its_audio_sorted_and_a_file_may_have_any_name(tree):
    everything = ["a/deep/x.flac", "a/deep/y.Ogg", "a/z.WAV", "b.wav", "c.mp3", "d.aif", "e.AIFF"]
    assert named(".") == ([*everything, "f.opus"], [])
    assert named(tree / "a") == ([str(tree / name) for name in everything[:3]], [])
    assert named("a/.cache") == (["a/.cache/h.wav"], [])  # hidden, but named
    names = ["h.raw", "a/notes.txt", ".hidden.wav", "gone.wav"]
    assert named(*names) == (names, [])


def test_patterns(tree, monkeypatch):
    assert named("a/**/*.[fwW]*") == (["a/deep/x.flac", "a/z.WAV"], [])
    assert named("*.wav") == (["b.wav"], [])
    assert named(f"{tree}/?.mp3") == ([f"{tree}/c.mp3"], [])
    assert named("*.wma", "b.wav") == (["b.wav"], ["*.wma: no file matches this pattern"])
    (tree / "take[1].wav").write_bytes(b"")
    assert named("take[1].wav") == (["take[1].wav"], [])
    monkeypatch.setenv("HOME", str(tree))
    assert named("~/*.mp3") == ([f"{tree}/c.mp3"], [])


def test_a_folder_without_audio_is_reported(tree):
    files, (error,) = named("empty", "b.wav")
    assert files == ["b.wav"]
    assert error.startswith("empty: no audio in this folder or below it (.aif ")


def test_each_file_once_in_the_order_of_the_names(tree):
    names = ("b.wav", "a/deep", "a", "./b.wav", tree / "b.wav", "*.wav", "a/../b.wav")
    assert named(*names) == (["b.wav", "a/deep/x.flac", "a/deep/y.Ogg", "a/z.WAV"], [])


def test_links(tree):
    (tree / "a" / "up").symlink_to(tree / "a")  # a circle
    (tree / "a" / "other").symlink_to(tree / "empty")
    noise(tree / "empty" / "in.wav")
    (tree / "a" / "z2.wav").symlink_to(tree / "b.wav")
    files = ["a/deep/x.flac", "a/deep/y.Ogg", "a/other/in.wav", "a/z.WAV", "a/z2.wav"]
    assert named("a") == (files, [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_reported(tree):
    (tree / "a" / "deep").chmod(0)
    try:
        assert named("a") == (["a/z.WAV"], ["a/deep: cannot be read (Permission denied)"])
    finally:
        (tree / "a" / "deep").chmod(0o755)


# What is predicted


def test_any_container_rate_and_number_of_channels(tmp_path):
    kinds = [("WAV", 8000, 1), ("FLAC", 22050, 2), ("OGG", 44100, 2), ("MP3", 48000, 1)]
    files = [
        noise(tmp_path / f"{kind}.{kind.lower()}", 2.5, rate, channels, format=kind)
        for kind, rate, channels in kinds
    ]
    table, errors = predicted(files)
    assert errors == []
    assert table["file"].tolist() == [str(file) for file in files]
    np.testing.assert_allclose(table["duration_s"], 2.5, atol=0.06)  # an MP3 is padded
    assert table["duration_s"][:3].tolist() == [2.5] * 3
    np.testing.assert_allclose(table[["loud", "quiet"]].sum(axis=1), 1)
    assert table["loud"].between(0.05, 0.2).all()


def test_a_file_is_the_mean_of_its_chunks_and_a_chunk_its_stretch(tmp_path):
    file = noise(tmp_path / "a.wav", 2.1)
    chunks, _ = predicted([file], "chunk")
    whole, _ = predicted([file])
    assert chunks.columns.tolist() == ["file", "start_s", "end_s", "prediction", "loud", "quiet"]
    np.testing.assert_allclose(chunks["start_s"], [0, 0.4, 0.8, 1.1])
    np.testing.assert_allclose(chunks["end_s"], chunks["start_s"] + 1)
    np.testing.assert_allclose(chunks["loud"].mean(), whole["loud"])
    assert set(chunks["prediction"]) == {"quiet"}


def test_votes(tmp_path):
    loud, quiet = 0.9 * np.ones(RATE), 0.1 * np.ones(RATE)
    soundfile.write(tmp_path / "a.wav", np.concatenate([loud, quiet, quiet]), RATE)
    of = predictor(fusion="vote", chunk_hop_s=1.0)
    table, _ = predicted([tmp_path / "a.wav"], of=of)
    assert table["prediction"].tolist() == ["quiet"]
    np.testing.assert_allclose(table["quiet"], 2 / 3, atol=1e-5)


def test_a_short_file_is_one_chunk_that_ends_with_it(tmp_path):
    table, errors = predicted([noise(tmp_path / "a.wav", 0.3)], "chunk", predictor(tail="keep"))
    assert (table["start_s"].tolist(), table["end_s"].tolist(), errors) == ([0.0], [0.3], [])


@pytest.mark.parametrize("rate", [16000, 44100])
def test_times_are_those_of_the_untrimmed_file(tmp_path, rate):
    """What is cut out of the file at these times has the loudness that was predicted."""
    rng = np.random.default_rng(0)
    envelope = np.interp(np.arange(3 * rate) / rate, [0, 1, 2, 3], [0.1, 0.9, 0.3, 0.7])
    sound = envelope * rng.uniform(-1, 1, 3 * rate)
    parts = [np.zeros(round(1.37 * rate)), sound, np.zeros(2 * rate)]
    soundfile.write(tmp_path / "a.wav", np.concatenate(parts), rate, subtype="FLOAT")
    table, _ = predicted([tmp_path / "a.wav"], "chunk", predictor(trim="on"))
    waveform = audio.read(tmp_path / "a.wav", RATE)
    assert 1.2 < table["start_s"][0] < 1.38
    assert table["end_s"].max() == pytest.approx(4.37, abs=0.1)
    for row in table.itertuples():
        chunk = waveform[round(row.start_s * RATE) : round(row.end_s * RATE)]
        assert row.loud == pytest.approx(loudness(chunk[None])[0, 0], rel=1e-5)
    assert table["loud"].nunique() == len(table) > 5
    whole, _ = predicted([tmp_path / "a.wav"], of=predictor(trim="on"))
    assert whole["duration_s"][0] == pytest.approx(6.37, abs=1e-4)


def test_a_regression_has_no_classes(tmp_path):
    of = predict.Predictor(USED, (), lambda waveforms: 1e-5 * np.ones((len(waveforms), 1)))
    table, _ = predicted([noise(tmp_path / "a.wav")], of=of)
    assert table.columns.tolist() == ["file", "duration_s", "prediction"]
    assert text([tmp_path / "a.wav"], "file", "csv", of).splitlines()[1].endswith(",1.5000,1e-05")


# What is left out


def unreadable(folder):
    """Files that cannot be predicted -> the reason."""
    (folder / "noise.wav").write_bytes(b"no audio at all" * 99)
    (folder / "nothing.mp3").write_bytes(b"")
    soundfile.write(folder / "empty.wav", np.zeros(0), RATE)
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    os.mkfifo(folder / "pipe.wav")
    return {
        "noise.wav": "not readable as audio",
        "nothing.mp3": "not readable as audio",
        "empty.wav": "holds no audio",
        "nan.wav": "NaN",
        "pipe.wav": "no such audio file",
        "gone.wav": "no such audio file",
        "x" * 300: "cannot be read",
    }


def test_the_others_are_predicted_all_the_same(tmp_path):
    reasons = unreadable(tmp_path)
    good = [noise(tmp_path / f"good{i}.wav") for i in range(len(reasons) + 1)]
    bad = [tmp_path / name for name in reasons]
    mixed = [good[0], *(path for pair in zip(bad, good[1:], strict=True) for path in pair)]
    table, errors = predicted(mixed)
    assert table["file"].tolist() == [str(path) for path in good]
    assert len(errors) == len(reasons)
    for line, (name, reason) in zip(errors, reasons.items(), strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        assert reason in line


# Rows as soon as they are predicted, and no more in memory than needed


def test_rows_come_before_the_last_file_is_decoded(tmp_path):
    asked, file = [], noise(tmp_path / "a.wav", 0.5)

    def files():
        for number in range(1000):
            asked.append(number)
            yield file

    stream = predict.tables(predictor(), files(), "file", pytest.fail)
    assert len(next(stream)) == predict.BATCH
    assert len(asked) <= predict.BATCH + 2
    stream.close()


def test_the_header_comes_before_anything_is_read(tmp_path):
    def given():
        pytest.fail("asked for a file")
        yield

    stream = predict.lines(predictor(), given(), "chunk", "csv", pytest.fail)
    assert next(stream) == "file,start_s,end_s,prediction,loud,quiet\n"


def long_file(path, seconds):
    """A file that becomes louder with every minute, written without being held; its path."""
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for part in range(seconds // 60):
            file.write((0.01 + part / 20) * np.ones(60 * 8000))
    return path


@pytest.mark.parametrize("trim", ["off", "on"])
def test_a_long_file_takes_little_more_than_its_waveform(tmp_path, trim):
    """10 minutes as 6,000 chunks: cut at once they would take 384 MB, the waveform takes 38 MB."""
    seconds, of = 600, predictor(chunk_hop_s=0.1, trim=trim)
    long_file(tmp_path / "long.wav", seconds)
    audio.sounding(np.ones(RATE, np.float32), RATE)  # imports librosa
    tracemalloc.start()
    try:
        table, _ = predicted([tmp_path / "long.wav"], "chunk", of)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 5991
    assert peak < 3 * 4 * seconds * RATE
    middle = table[(table["start_s"] % 60).between(5, 50)]
    expected = 0.01 + (middle["start_s"] // 60) / 20
    np.testing.assert_allclose(middle["loud"], expected, atol=1e-3)


def test_two_long_files_are_never_held_with_a_third(tmp_path):
    """One is predicted while the next one is decoded."""
    seconds = 300
    files = [long_file(tmp_path / "long.wav", seconds)] * 5
    tracemalloc.start()
    try:
        for table in predict.tables(predictor(), files, "file", pytest.fail):
            assert len(table) == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 4 * seconds * RATE  # while it is put together, a waveform counts twice


# Text


def text(files, level, form, of=None):
    return "".join(predict.lines(of or predictor(), files, level, form, pytest.fail))


@pytest.mark.parametrize("level", ["file", "chunk"])
def test_both_formats_say_the_same(tmp_path, level):
    odd = [noise(tmp_path / name) for name in ('comma, "quotes".wav', "Müller\nzwei.wav")]
    from_csv = pd.read_csv(io.StringIO(text(odd, level, "csv")))
    objects = [json.loads(line) for line in text(odd, level, "jsonl").splitlines()]
    assert from_csv.columns.tolist() == predict.columns(predictor(), level)
    assert [list(row) for row in objects] == [from_csv.columns.tolist()] * len(from_csv)
    assert from_csv["file"].unique().tolist() == [str(file) for file in odd]
    assert [row["file"] for row in objects] == from_csv["file"].tolist()
    for name in from_csv.columns[1:]:
        values = [row[name] for row in objects]
        if name == "prediction":
            assert values == from_csv[name].tolist()
        else:
            np.testing.assert_allclose(values, from_csv[name], atol=5.1e-5)
    assert [row["loud"] + row["quiet"] for row in objects] == pytest.approx([1] * len(objects))
    cells = list(csv.reader(io.StringIO(text(odd, level, "csv"))))[1]
    assert all(len(cell.partition(".")[2]) == 4 for cell in [*cells[1:-3], *cells[-2:]])


# The command, with a trained run


def test_the_same_numbers_as_the_runs_own(command, small_run, small_corpus):
    table = small_run.predictions.query("partition == 'test'")
    folder = small_corpus.parent
    status, out, err = command("predict", small_run.folder, folder)
    assert (status, err) == (0, "")
    rows = pd.read_csv(io.StringIO(out)).set_index("file")
    assert len(rows) == 96
    rows = rows.loc[[str(folder / path) for path in table["file"]]]
    np.testing.assert_allclose(rows[CLASSES], table[CLASSES], atol=6e-5)
    assert rows["prediction"].tolist() == table["prediction"].tolist()
    expected = [soundfile.info(path).duration for path in rows.index]
    np.testing.assert_allclose(rows["duration_s"], expected, atol=6e-5)


@pytest.fixture
def quick(monkeypatch):
    """The command predicts loudness instead of loading a model."""
    monkeypatch.setattr(predict, "load_model", lambda place: predictor())


def test_what_cannot_be_read_is_named_the_rest_predicted_and_the_status_1(command, quick, tmp_path):
    good = noise(tmp_path / "good" / "a.wav")
    folder = tmp_path / "bad"
    folder.mkdir()
    reasons = unreadable(folder)
    words = [folder / "gone.wav", good, folder, folder / "*.ogg", folder / "none"]
    status, out, err = command("predict", "model", *words, "--format", "jsonl")
    assert status == 1
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(good)]
    names = {*reasons, "*.ogg", "none"} - {"x" * 300}
    assert all(line.startswith(f"error: {folder}/") for line in err.splitlines())
    named_files = [line.split(":")[1].rpartition("/")[2] for line in err.splitlines()]
    assert sorted(named_files) == sorted(names)


def test_nothing_predicted_is_a_header_and_status_1(command, quick, tmp_path):
    status, out, err = command("predict", "model", tmp_path / "gone\n.wav")
    assert (status, out) == (1, "file,duration_s,prediction,loud,quiet\n")
    assert err == f"error: {tmp_path}/gone .wav: there is no such audio file\n"


@pytest.mark.parametrize("words", [["--level", "word"], ["--format", "xml"]])
def test_a_level_or_format_there_is_not(command, words):
    status, out, err = command("predict", "model", "x.wav", *words)
    assert (status, out) == (2, "")
    assert f"'{words[1]}' is not one of" in " ".join(err.split())


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"settings": {"unit": 1}}', '{"settings": 1}']
)
def test_a_damaged_record_of_a_run(command, tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    status, out, err = command("predict", tmp_path, "x.wav")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {tmp_path / 'run.json'}: not the record of a run")


def test_the_first_file_that_cannot_be_read_ends_the_function(quick, tmp_path):
    with pytest.raises(InputError, match="no such audio file"):
        predict.predict_files("model", [noise(tmp_path / "a.wav"), tmp_path / "gone.wav"])
    assert predict.predict_files("model", []).columns.tolist() == predict.columns(
        predictor(), "file"
    )


def test_a_tflite_needs_no_tensorflow(converted_run, small_corpus):
    wav = next(small_corpus.parent.glob("spk01/*.wav"))
    file = converted_run.folder / "model-int8.tflite"
    script = (
        "import sys\nfrom dslite.deployment import predict_files\n"
        f"assert len(predict_files({str(file)!r}, [{str(wav)!r}])) == 1\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


# The command as a process of its own


def started(*words, batches=1000, **environment):
    """With a model that never ends after so many batches; its output is buffered."""
    script = (
        "import time\nimport numpy as np\n"
        "from dslite import cli\nfrom dslite.deployment import predict\n"
        "from dslite.settings import Settings\n"
        "used, calls = Settings(chunk_length_s=1.0, backbone='squeezenet'), []\n"
        "def outputs(waveforms):\n"
        "    calls.append(1)\n"
        f"    time.sleep(600 if len(calls) > {batches} else 0)\n"
        "    return np.full((len(waveforms), 2), 0.5)\n"
        "predict.load_model = lambda place: predict.Predictor(used, ('a', 'b'), outputs)\n"
        "cli.run()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, "predict", "model", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": ""} | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_closed_pipe_is_no_error(tmp_path):
    for number in range(400):
        noise(tmp_path / f"{number:03}.wav", 0.2)
    process = started(tmp_path)
    assert process.stdout.readline().startswith(b"file,")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(120) == 1


def test_rows_do_not_wait_and_an_interruption_leaves_no_traceback(tmp_path):
    """The header and the first batch are there while the second one is predicted."""
    for number in range(70):
        noise(tmp_path / f"{number:03}.wav", 0.2)
    process = started(tmp_path, batches=1)
    lines = [process.stdout.readline() for _ in range(1 + predict.BATCH)]
    assert lines[0] == b"file,duration_s,prediction,a,b\n"
    assert lines[1].startswith(str(tmp_path / "000.wav").encode())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_a_name_that_is_not_utf_8(tmp_path):
    name = os.fsencode(tmp_path) + b"/m\xfcller.wav"
    noise(tmp_path / "a.wav").rename(os.fsdecode(name))
    # Strict, as with most locales.
    process = started(os.fsdecode(name), PYTHONIOENCODING="utf-8:strict")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert name in out
