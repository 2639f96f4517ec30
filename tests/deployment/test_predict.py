"""Predicting: which files a user names, what is predicted of them and where, what is left out."""

import ast
import csv
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from dslite import audio, paths
from dslite.deployment import predict
from dslite.errors import InputError
from tests.deployment.stand_in import RATE, loudness, noise, peak_memory, predictor, started


def named(*names):
    errors = []
    files = [str(path) for path in predict.audio_files(names, errors.append)]
    return files, [str(error) for error in errors]


def predicted(files, level="file", of=None):
    errors = []
    tables = list(predict.tables(of or predictor(), files, level, errors.append))
    return pd.concat(tables, ignore_index=True), [str(error) for error in errors]


def text(files, level, form, of=None):
    return "".join(predict.lines(of or predictor(), files, level, form, pytest.fail))


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


def test_which_files_are_meant(tree, monkeypatch):
    everything = ["a/deep/x.flac", "a/deep/y.Ogg", "a/z.WAV", "b.wav", "c.mp3", "d.aif", "e.AIFF"]
    names = ["h.raw", "a/notes.txt", ".hidden.wav", "gone.wav"]
    repeated = ["b.wav", "a/deep", "a", "./b.wav", tree / "b.wav", "b*.wav", "a/../b.wav"]
    (tree / "take[1].wav").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tree))
    for words, files in [
        (["."], [*everything, "f.opus", "take[1].wav"]),
        ([tree / "a"], [str(tree / name) for name in everything[:3]]),
        (["a/.cache"], ["a/.cache/h.wav"]),  # hidden, but named
        (names, names),  # a file may have any name
        (["a/**/*.[fwW]*"], ["a/deep/x.flac", "a/z.WAV"]),
        ([f"{tree}/?.mp3"], [f"{tree}/c.mp3"]),
        (["take[1].wav"], ["take[1].wav"]),
        (["~/*.mp3"], [f"{tree}/c.mp3"]),
        (repeated, ["b.wav", *everything[:3]]),  # each once, in the order of the names
    ]:
        assert named(*words) == (files, [])
    assert named("*.wma", "b.wav") == (["b.wav"], ["*.wma: no file matches this pattern"])
    files, (error,) = named("empty", "b.wav")
    assert files == ["b.wav"]
    assert error.startswith("empty: no audio in this folder or below it")


def test_links(tree):
    (tree / "a" / "up").symlink_to(tree / "a")  # a circle
    (tree / "a" / "other").symlink_to(tree / "empty")
    noise(tree / "empty" / "in.wav")
    (tree / "a" / "z2.wav").symlink_to(tree / "b.wav")
    files = ["a/deep/x.flac", "a/deep/y.Ogg", "a/other/in.wav", "a/z.WAV", "a/z2.wav"]
    assert named("a") == (files, [])


def test_a_file_is_the_mean_of_its_chunks_and_a_chunk_its_stretch(tmp_path):
    file = noise(tmp_path / "a.wav", 2.1)
    chunks, _ = predicted([file], "chunk")
    whole, _ = predicted([file])
    assert chunks.columns.tolist() == ["file", "start_s", "end_s", "prediction", "loud", "quiet"]
    np.testing.assert_allclose(chunks["start_s"], [0, 0.4, 0.8, 1.1])
    np.testing.assert_allclose(chunks["end_s"], chunks["start_s"] + 1)
    np.testing.assert_allclose(chunks["loud"].mean(), whole["loud"])
    assert set(chunks["prediction"]) == {"quiet"}
    short, errors = predicted([noise(file, 0.3)], "chunk", predictor(tail="keep"))
    assert (short["start_s"].tolist(), short["end_s"].tolist(), errors) == ([0.0], [0.3], [])


def test_votes(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.repeat([0.9, 0.1, 0.1], RATE), RATE)
    table, _ = predicted([tmp_path / "a.wav"], of=predictor(fusion="vote", chunk_hop_s=1.0))
    assert table["prediction"].tolist() == ["quiet"]
    np.testing.assert_allclose(table["quiet"], 2 / 3, atol=1e-5)


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
    of = predictor(lambda waveforms: 1e-5 * np.ones((len(waveforms), 1)), classes=())
    table, _ = predicted([noise(tmp_path / "a.wav")], of=of)
    assert table.columns.tolist() == ["file", "duration_s", "prediction"]
    assert text([tmp_path / "a.wav"], "file", "csv", of).splitlines()[1].endswith(",1.5000,1e-05")


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


def test_the_function_ends_at_the_first_that_cannot_be_read(tmp_path, quick):
    with pytest.raises(InputError, match="no such audio file"):
        predict.predict_files("model", [noise(tmp_path / "good.wav"), tmp_path / "gone.wav"])
    header = predict.columns(predictor(), "file")
    assert predict.predict_files("model", []).columns.tolist() == header


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
    audio.sounding(np.ones(RATE, np.float32), RATE, 60)  # imports librosa
    (table, _), peak = peak_memory(lambda: predicted([tmp_path / "long.wav"], "chunk", of))
    assert len(table) == 5991
    assert peak < 3 * 4 * seconds * RATE
    middle = table[(table["start_s"] % 60).between(5, 50)]
    expected = 0.01 + (middle["start_s"] // 60) / 20
    np.testing.assert_allclose(middle["loud"], expected, atol=1e-3)


@pytest.mark.parametrize("level", ["file", "chunk"])
def test_both_formats_say_the_same(tmp_path, level):
    odd = [noise(tmp_path / name) for name in ('comma, "quotes".wav', "Müller\nzwei.wav")]
    from_csv = pd.read_csv(io.StringIO(text(odd, level, "csv")))
    objects = [json.loads(line) for line in text(odd, level, "jsonl").splitlines()]
    assert from_csv.columns.tolist() == predict.columns(predictor(), level)
    assert from_csv["file"].unique().tolist() == [str(file) for file in odd]
    pd.testing.assert_frame_equal(pd.DataFrame(objects), from_csv, rtol=0, atol=5.1e-5)
    cells = list(csv.reader(io.StringIO(text(odd, level, "csv"))))[1]
    assert all(len(cell.partition(".")[2]) == 4 for cell in [*cells[1:-3], *cells[-2:]])


def test_the_same_numbers_as_the_runs_own(command, small_run, small_corpus):
    table = small_run.predictions.query("partition == 'test'")
    folder, classes = small_corpus.parent, list(small_run.classes)
    status, out, err = command("predict", small_run.folder, folder)
    assert (status, err) == (0, f"note: {folder}: passed over by their suffix: .h5 1\n")
    rows = pd.read_csv(io.StringIO(out)).set_index("file")
    assert len(rows) == 96
    rows = rows.loc[[str(folder / path) for path in table["file"]]]
    np.testing.assert_allclose(rows[classes], table[classes], atol=6e-5)
    assert rows["prediction"].tolist() == table["prediction"].tolist()
    expected = [soundfile.info(path).duration for path in rows.index]
    np.testing.assert_allclose(rows["duration_s"], expected, atol=6e-5)


def test_what_is_not_heard_as_it_is_stored_is_named(command, quick, tmp_path):
    """A broken-off file has a row and an error, channels that cancel a note; texts need none."""
    wave = np.random.default_rng(97).uniform(-0.5, 0.5, 2 * RATE)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, -wave], axis=1), RATE)
    content = noise(tmp_path / "half.wav", 2).read_bytes()
    (tmp_path / "half.wav").write_bytes(content[: len(content) // 2])
    for name in ("a.xyz", "b.XYZ", "notes.txt", "bare"):
        (tmp_path / name).write_bytes(b"")
    status, out, err = command("predict", "model", tmp_path)
    assert status == 1
    assert len(out.splitlines()) == 3
    lines = err.splitlines()
    assert lines[0] == f"note: {tmp_path}: passed over by their suffix: .xyz 2, without suffix 1"
    assert lines[1].startswith(f"error: {tmp_path}/half.wav: the audio ends before its header says")
    assert lines[2].startswith(f"note: {tmp_path}/stereo.wav: channels that cancel each other: num")


def test_what_cannot_be_read_is_named_the_rest_predicted_and_the_status_1(command, quick, tmp_path):
    good, reasons = noise(tmp_path / "good.wav"), unreadable(tmp_path)
    bad = [tmp_path / name for name in reasons]
    status, out, err = command("predict", "model", *bad[:3], good, *bad[3:], "--format", "jsonl")
    assert (status, json.loads(out)["file"]) == (1, str(good))
    for line, (name, reason) in zip(err.splitlines(), reasons.items(), strict=True):
        assert line.startswith(f"error: {tmp_path / name}: ")
        assert reason in line
    # Nothing predicted is a header.
    status, out, err = command("predict", "model", tmp_path / "gone\n.wav")
    assert (status, out) == (1, "file,duration_s,prediction,loud,quiet\n")
    assert err == f"error: {tmp_path}/gone .wav: there is no such audio file\n"


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


def test_rows_do_not_wait_and_an_interruption_leaves_no_traceback(tmp_path):
    """The header and the first batch are there while the second one is predicted."""
    for number in range(70):
        noise(tmp_path / f"{number:03}.wav", 0.2)
    process = started("predict", "model", tmp_path, batches=1)
    lines = [process.stdout.readline() for _ in range(1 + predict.BATCH)]
    assert lines[0] == b"file,duration_s,prediction,loud,quiet\n"
    assert lines[1].startswith(str(tmp_path / "000.wav").encode())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_a_name_that_is_not_utf_8(tmp_path):
    name = os.fsencode(tmp_path) + b"/m\xfcller.wav"
    noise(tmp_path / "a.wav").rename(os.fsdecode(name))
    strict = {"PYTHONIOENCODING": "utf-8:strict"}  # as with most locales
    process = started("predict", "model", os.fsdecode(name), **strict)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert name in out


@pytest.mark.parametrize("seconds", [0.4, 2.3], ids=["short", "several chunks"])
def test_the_lines_of_the_documentation_predict_the_same(converted_run, seconds, tmp_path, rng):
    """docs/device.md: a file is run without this package."""
    page = (paths.ROOT / "docs" / "device.md").read_text("utf-8")
    (tmp_path / "classify.py").write_text(page.split("```python\n")[1].split("```")[0], "utf-8")
    model, clip = converted_run.folder / "model-int8.tflite", tmp_path / "clip.wav"
    rate = converted_run.settings.sample_rate
    soundfile.write(clip, rng.normal(0, 0.1, int(seconds * rate)), rate, "PCM_16")
    hidden = "import runpy, sys; sys.modules['dslite'] = None; sys.argv[:] = sys.argv[1:]"
    words = [sys.executable, "-c", f"{hidden}; runpy.run_path(sys.argv[0])"]
    words += [tmp_path / "classify.py", model, clip]
    done = subprocess.run(words, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    row = predict.predict_files(model, [clip]).iloc[0]
    shown = ast.literal_eval(done.stdout)
    assert list(shown) == list(converted_run.classes)
    assert row[list(shown)].tolist() == pytest.approx(list(shown.values()), abs=1e-4)
