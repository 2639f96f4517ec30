"""The page: what is written and refused, and what it shows and asks for in a real browser."""

import base64
import functools
import hashlib
import io
import json
import re
import shutil
import tarfile
import time
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from dslite import audio, paths, provenance
from dslite.deployment import predict, runtime, web
from dslite.errors import InputError
from dslite.settings import Settings
from tests.deployment import browser
from tests.deployment.stand_in import without_metadata
from tests.encoded import encode, sound
from tests.refusals import refusal

RATE = 16000
PAGE = paths.ROOT / "dslite" / "deployment" / "page"
FILES = {*web.SOURCES, "model.json", "model.tflite", "spectrogram.tflite", "litert"}


def facts(part="model", identity="abc", **changed):
    return {
        **{"dataset": "small", "run": "squeezenet-none-s0", "identity": identity, "part": part},
        **{"variant": "float32", "task": "classification", "classes": ["quiet", "loud"]},
        "settings": Settings(backbone="squeezenet", **changed).model_dump(),
        "weights": {"name": "random", "licence": "none: trained from random weights"},
        "version": "0.1.0",
    }


@pytest.fixture
def model(tmp_path):
    (tmp_path / "run").mkdir()
    for part in ("spectrogram", "model"):
        file = tmp_path / "run" / f"{part}.tflite"
        file.write_bytes(runtime.attach(b"flatbuffer", facts(part)))
    return file


def tarball(*members):
    """An archive as npm's registry hands it out: of pairs (name, content)."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in members:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return content.getvalue()


def publish(monkeypatch, **archives):
    """Take these for the published archives: name -> content and members."""
    packages = {
        name.replace("_", "-"): (hashlib.sha512(content).hexdigest(), members)
        for name, (content, members) in archives.items()
    }
    monkeypatch.setattr(web, "PACKAGES", packages)


@pytest.fixture
def registry(cache, monkeypatch):
    """Two small packages in LiteRT.js' place, in the cache as if they had been downloaded."""
    folder, end = cache / "litertjs" / web.VERSION, b"\n//# sourceMappingURL=index.js.map"
    folder.mkdir(parents=True)
    code = {"core": b'import { x } from "@litertjs/wasm-utils";\nx();', "wasm-utils": b"y();"}
    targets, archives = {"core": "index.js", "wasm-utils": "wasm-utils.js"}, {}
    for name, target in targets.items():
        members = ("package/dist/index.js", code[name] + end), ("../../outside", b"x")
        content = tarball(*members)
        (folder / f"{name}-{web.VERSION}.tgz").write_bytes(content)
        archives[name.replace("-", "_")] = content, {"package/dist/index.js": target}
    publish(monkeypatch, **archives)
    monkeypatch.setenv("DSLITE_MIRROR", "http://127.0.0.1:9")  # nothing is asked for


def test_the_page_is_whole(model, registry, tmp_path):
    folder = web.write_page(model, tmp_path / "web")
    assert {entry.name for entry in folder.iterdir()} == FILES
    assert (folder / "model.tflite").read_bytes() == model.read_bytes()
    files = ["LICENSE.txt", "NOTICE.txt", "index.js", "wasm-utils.js"]
    assert sorted(f.name for f in (folder / "litert").rglob("*")) == files
    assert "Apache License" in (folder / "litert" / "LICENSE.txt").read_text()
    code = (folder / "litert" / "index.js").read_text()
    changed = "// Changed by dslite, see NOTICE.txt\n"
    assert code == f'{changed}import {{ x }} from "./wasm-utils.js";\nx();\n'
    assert sorted(f.name for f in PAGE.iterdir()) == sorted([*web.SOURCES, "Apache-2.0.txt"])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["cache", "run", "web"]
    (folder / "page.js").write_text("older")
    changed = {"trim": "on", "chunk_length_s": 1.5, "sample_rate": 8000, "fusion": "vote"}
    model.write_bytes(runtime.attach(b"flatbuffer", facts(**changed)))
    web.write_page(model, folder)
    assert (folder / "page.js").read_bytes() == (PAGE / "page.js").read_bytes()
    text = json.loads((folder / "model.json").read_text())
    assert (text["rate"], text["chunk"], text["hop"]) == (8000, 12000, 6000)
    assert text["trim"] == {"frame": 1024, "hop": 256, "db": 60, "margin": 0}
    assert (text["classes"], text["fusion"]) == (["quiet", "loud"], "vote")


def test_nothing_of_a_page_is_inline_or_elsewhere():
    page = (PAGE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(.*?)>(.*?)</script>", page) == [
        (' type="module" src="page.js"', "")
    ]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    allowed = {word for words in rules.values() for word in words.split()}
    assert allowed == {"'none'", "'self'", "'wasm-unsafe-eval'", "data:", "blob:"}
    assert page.index("Content-Security-Policy") < page.index("<link") < page.index("<script")
    for name in web.SOURCES:
        assert not re.search(r"(https?|wss?):|//[a-z0-9-]+\.", (PAGE / name).read_text("utf-8"))


def test_a_folder_with_something_else_and_what_is_no_whole_model(model, registry, tmp_path):
    folder, half = tmp_path / "web", model.with_name("spectrogram.tflite")
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.tex").write_text("years")
    assert "thesis.tex" in refusal(web.write_page, model, other)
    assert (other / "thesis.tex").read_text() == "years"
    assert "is a file" in refusal(web.write_page, model, other / "thesis.tex")
    site = tmp_path / "site"  # of the names that a page has
    for name in ("index.html", "style.css", "litert/notes.html", "litert/index.js", "model.json"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("{}")
    for lacking, reason in (("", "litert/notes.html"), ("litert/notes.html", "model.json")):
        (site / lacking).unlink() if lacking else None
        before = {file: file.read_text() for file in site.rglob("*.*")}
        assert reason in refusal(web.write_page, model, site)
        assert {file: file.read_text() for file in site.rglob("*.*")} == before
    assert "is a part of a model (spectrogram)" in refusal(web.write_page, half, folder)
    half.write_bytes(runtime.attach(b"flatbuffer", facts("spectrogram", identity="def")))
    assert "another run" in refusal(web.write_page, model, folder)
    half.unlink()
    assert "spectrogram.tflite: is missing" in refusal(web.write_page, model, folder)
    assert not folder.exists()
    model.write_bytes(b"flatbuffer")
    assert "holds no metadata" in refusal(web.write_page, model, tmp_path / "other")


def test_the_command_and_which_model_is_meant(command, refused, model, registry, tmp_path):
    status, out, err = command("web", model.parent)
    assert (status, err) == (0, "")
    assert f"python -m http.server 8000 --bind 127.0.0.1 -d {model.parent / 'web'}" in out
    assert (model.parent / "web" / "index.html").is_file()
    assert command("web", model, tmp_path / "else where")[0] == 0
    assert (tmp_path / "else where" / "model.json").is_file()
    model.unlink()
    assert "dslite convert" in refused("web", model.parent)
    assert "neither" in refused("web", tmp_path / "gone")


# In a browser


@pytest.fixture(scope="module")
def litert():
    """The real LiteRT.js is there."""
    pytest.importorskip("websocket")
    try:
        for name in web.PACKAGES:
            web.fetch(name)
    except InputError as error:
        pytest.skip(f"no LiteRT.js: {error}")


@pytest.fixture(scope="module")
def clips(small_corpus, tmp_path_factory):
    """Files of the corpus and made from it: name -> path."""
    folder = tmp_path_factory.mktemp("clips")
    files = sorted(small_corpus.parent.glob("spk0[1-4]/*.wav"))[::5][:6]
    voices = [audio.read(path, RATE) for path in files]
    long, silence = np.concatenate(voices), np.zeros(20_000, np.float32)
    clips = {"corpus": files[0]}
    for name, samples in (
        ("short.wav", voices[2][:9000]),
        ("long.wav", long),
        ("stereo.wav", np.stack([long[:50_000], 0.3 * long[5000:55_000]], axis=1)),
        ("cancelling.wav", np.stack([0.5 * voices[1], -0.4 * voices[1]], axis=1)),
        ("silence.wav", np.zeros(RATE)),
        ("faded.wav", voices[1] * np.exp(-np.linspace(0, 12, len(voices[1])))),
        ("padded.wav", np.concatenate([silence, voices[3], silence[:7777]])),
        ("lossless.flac", voices[4]),
    ):
        clips[name] = folder / name
        soundfile.write(clips[name], samples, RATE)
    return clips


@pytest.fixture(scope="module")
def tabs(litert, clips, tmp_path_factory):
    """A function from a browser's name to a tab of it; each is started once."""
    with ExitStack() as stack:

        @functools.cache
        def tab(name):
            if not browser.program(name):
                pytest.skip(f"no {name} on this machine (apt-get install {browser.NAMES[name][0]})")
            folder = tmp_path_factory.mktemp("profile")
            if name == "firefox":
                return stack.enter_context(browser.started_firefox(folder))
            microphone = f"--use-file-for-fake-audio-capture={clips['long.wav']}"
            return stack.enter_context(browser.started(folder, microphone))

        yield tab


@pytest.fixture
def browsing(request, tabs):
    """Chromium, whose microphone hears the long file, or the browser that a test names."""
    return tabs(getattr(request, "param", "chromium"))


in_both = pytest.mark.parametrize("browsing", ["chromium", "firefox"], indirect=True)


@pytest.fixture
def opened(browsing, converted_run, tmp_path):
    """A function that opens the page with settings changed; gives it and its model.

    After the test, nothing but the page's own files was asked for.
    """
    browsing.requests.clear()
    browsing.errors.clear()
    folder = tmp_path / "page"
    original = converted_run.folder / "model.tflite"
    with browser.serving(folder) as (address, _asked):

        def go(task=None, **changed):
            metadata = runtime.read_metadata(original).facts
            metadata["settings"] |= changed
            metadata["task"] = task or metadata["task"]
            content = runtime.attach(without_metadata(original), metadata)
            (tmp_path / "model.tflite").write_bytes(content)
            shutil.copy(converted_run.folder / "spectrogram.tflite", tmp_path)
            web.write_page(tmp_path / "model.tflite", folder)
            browsing.open(address)
            return browsing, tmp_path / "model.tflite"

        yield go
        browsing.go("about:blank")
        own_files = (address, "data:", f"blob:{address}")  # data: the browser's own audio player
        foreign = {url for url in browsing.requests if not url.startswith(own_files)}
        assert foreign <= {"about:blank"}


def shown(page, *files, within="#file"):
    """Choose files; gives what the page shows of them, by name."""
    page.run("document.body.dataset.state = 'chosen'")
    page.choose(within, *files)
    return displayed(page)


def displayed(page):
    page.wait("['done', 'failed'].includes(document.body.dataset.state)")
    return page.run(
        """(() => {
          const text = (id) => document.getElementById(id).textContent;
          const ids = ['counts', 'status', 'source', 'decision', 'caption', 'time'];
          const rows = [...document.querySelectorAll('#bars li')];
          return {
            ...Object.fromEntries(ids.map((id) => [id, text(id)])),
            state: document.body.dataset.state,
            number: Number(document.getElementById('decision').dataset.value),
            table: [...document.querySelectorAll('#rows tr')].map(
              (row) => [...row.children].map((cell) => cell.textContent)),
            names: rows.map((row) => row.querySelector('.name').textContent),
            shares: rows.map((row) => Number(row.dataset.value)),
            percent: rows.map((row) => row.querySelector('.share').textContent),
            widths: rows.map((row) => row.querySelector('.bar').getBoundingClientRect().width
                                      / row.querySelector('.track').clientWidth),
          };
        })()"""
    )


def compare(page, file, *paths):
    """The page says what `dslite predict` says of these files."""
    for path, (_, expected) in zip(
        paths, predict.predict_files(file, paths).iterrows(), strict=True
    ):
        actual = shown(page, path)
        assert (actual["state"], actual["status"]) == ("done", "")
        names = list(expected.index[3:])
        assert actual["names"] == names
        shares = expected[names].astype(float)
        np.testing.assert_allclose(actual["shares"], shares, atol=1e-3, err_msg=str(path))
        best = names[int(np.argmax(actual["shares"]))]
        assert actual["decision"] == expected["prediction"] == best
        assert actual["percent"] == [f"{100 * share:.1f} %" for share in actual["shares"]]
        np.testing.assert_allclose(actual["widths"], actual["shares"], atol=0.01)
        (duration,) = re.findall(r", ([\d.]+) s, ", actual["source"])
        assert float(duration) == pytest.approx(expected["duration_s"], abs=0.0051)
        assert re.search(r"[\d.]+ ms a decision.*, [\d.]+ ms with the picture", actual["time"])


def of_script(page, call):
    return page.run(f"import('./sound.js').then(async (sound) => sound.{call})")


def samples(waveform):
    return f"Float32Array.from({waveform.tolist()})"


@pytest.mark.browser
@pytest.mark.parametrize(
    "changed", [{}, {"chunk_hop_s": 0.7, "fusion": "vote"}, {"trim": "on"}], ids=str
)
def test_the_page_says_what_predict_says(opened, clips, changed):
    page, file = opened(**changed)
    compare(page, file, *clips.values())
    assert page.errors == []


@pytest.mark.browser
def test_a_browser_without_relaxed_simd(opened, clips, browsing):
    lacking = """(() => {
      const own = WebAssembly.instantiate;
      WebAssembly.instantiate = (code, ...more) =>
        code.byteLength < 99 ? Promise.reject(new Error('unknown')) : own(code, ...more);
    })()"""
    script = browsing.call("Page.addScriptToEvaluateOnNewDocument", source=lacking)
    try:
        page, file = opened()
        compare(page, file, clips["long.wav"])
    finally:
        browsing.call("Page.removeScriptToEvaluateOnNewDocument", **script)
    assert any("litert_wasm_compat_internal.wasm" in url for url in page.requests)
    assert page.errors == []


@pytest.mark.browser
def test_another_rate_is_resampled_alike(opened, clips, rng, tmp_path):
    page, file = opened()
    paths = []
    kinds = ((8000, "wav"), (11025, "wav"), (44100, "flac"), (8000, "ogg"), (44100, "mp3"))
    for rate, kind in (*kinds, (48000, "opus")):
        paths.append(tmp_path / f"{rate}.{kind}")
        coding = {"format": "OGG", "subtype": "OPUS"} if kind == "opus" else {}
        soundfile.write(paths[-1], 0.9 * audio.read(clips["corpus"], rate), rate, **coding)
    compare(page, file, *paths)
    for rate in (8000, 11025, 44100, 48000):
        noise = rng.uniform(-1, 1, rate // 4).astype(np.float32)
        resampled = of_script(page, f"resampled({samples(noise)}, {rate}, {RATE}).join()")
        actual = np.array(resampled.split(","), float)
        expected = soxr.resample(noise, rate, RATE, "VHQ")
        # Where noise begins at once, soxr's first samples are other ones from some rates.
        np.testing.assert_allclose(actual[5:], expected[5:], atol=2e-3)


def tagged(content):
    return b"ID3\4\0\0\0\0\1\2" + b"\xff\xfb" * 65 + content


def boxed(**changed):
    return encode("aac", "mp4", sound(0.5, 32000), rate=32000, **changed)


@pytest.mark.browser
def test_the_rate_of_a_file_is_read(opened):
    page, _ = opened()

    def stored(rate, kind, coding):
        content = io.BytesIO()
        soundfile.write(content, sound(0.5, rate), rate, coding, format=kind)
        return content.getvalue()

    vorbis, mp3 = stored(8000, "OGG", "VORBIS"), stored(22050, "MP3", "MPEG_LAYER_III")
    for content, rate in (
        (stored(11025, "WAV", "FLOAT"), 11025),
        (stored(96000, "FLAC", "PCM_24"), 96000),
        (vorbis, 8000),
        (stored(16000, "OGG", "OPUS"), 48000),
        (encode("flac", "ogg", sound(0.5, 32000), rate=32000), 32000),
        (mp3, 22050),
        (tagged(tagged(stored(48000, "MP3", "MPEG_LAYER_III"))), 48000),
        (boxed(), 32000),
        (boxed(video=True), 32000),
        (encode("libopus", "webm", sound(0.5, 48000), rate=48000), 48000),
        *((vorbis[:30], 0), (tagged(b""), 0), (boxed()[:900], 0), (b"RIFF1234WAVE", 0), (b"", 0)),
        *((b"notes on a sound", 0), (b"\xff\xfb\xfe\0", 0)),
    ):
        text = base64.b64encode(content).decode()
        stream = f"Uint8Array.from(atob('{text}'), (letter) => letter.charCodeAt())"
        assert of_script(page, f"storedRate({stream}.buffer)") == rate, content[:40]


@pytest.mark.browser
@in_both
def test_of_several_files_there_is_a_table_and_a_csv(opened, clips, tmp_path):
    page, file = opened()
    odd, rate, broken = tmp_path / '=a, "b".wav', tmp_path / "rate.flac", tmp_path / "broken.wav"
    shutil.copy(clips["padded.wav"], odd)
    soundfile.write(rate, 0.9 * audio.read(clips["corpus"], 44100), 44100)
    broken.write_text("no audio")
    actual = shown(page, rate, broken, odd)
    assert (actual["state"], actual["status"]) == ("done", "")
    assert actual["counts"] == "2 of 3 files predicted, 1 failed."
    expected = predict.predict_files(file, [odd, rate])
    shares = [f"{100 * share:.1f} %" for share in expected.iloc[:, 3:].max(axis=1)]
    rows = zip([odd.name, rate.name], expected["prediction"], shares, strict=True)
    assert actual["table"][::2] == [*map(list, rows)]
    name, reason = actual["table"][1]
    assert (name, reason.startswith("cannot be read as audio (")) == (broken.name, True)
    page.run("document.getElementById('csv').click()")
    table, until = page.downloads / "predictions.csv", time.monotonic() + 20
    while not (table.is_file() and table.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    expected["file"] = [f"'{odd.name}", rate.name]
    pd.testing.assert_frame_equal(pd.read_csv(table), expected, rtol=0, atol=1e-3)
    page.run("document.querySelector('#rows tr:last-child button').click()")
    actual = displayed(page)
    assert actual["source"].startswith("rate.flac, ")
    assert actual["shares"] == pytest.approx([*expected.iloc[1, 3:]], abs=1e-3)
    assert shown(page, rate)["shares"] == actual["shares"]
    assert page.run("document.getElementById('files').hidden")
    assert page.errors == []


@pytest.mark.browser
def test_a_folder_is_chosen_or_dropped(opened, clips, tmp_path):
    page, _ = opened()
    folder = tmp_path / "new"
    for name in ("b.wav", "far/a.wav", ".hidden/c.wav", "notes.txt", "table.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clips["corpus"], folder / name)
    actual = shown(page, folder, within="#folder")
    counts = "2 of 2 files predicted; 2 that are no audio left out."
    assert actual["counts"] == counts
    assert [row[0] for row in actual["table"]] == ["new/b.wav", "new/far/a.wav"]
    dropped = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    page.run("document.body.dataset.state = document.getElementById('counts').textContent = ''")
    for kind in ("dragEnter", "dragOver", "drop"):
        page.call("Input.dispatchDragEvent", type=kind, x=50, y=50, data=dropped)
    again = displayed(page)
    assert (again["counts"], again["table"]) == (counts, actual["table"])
    cells = ["a", "-0.5", "+1e5", "=1", "'=1", "-", "-x", "@x", "\tx", "-inf", 'b "c"', "d,e\nf"]
    line = page.run(f"import('./files.js').then((files) => files.csvLine({json.dumps(cells)}))")
    assert line == provenance.quoted(pd.DataFrame([cells])).to_csv(index=False, header=False)
    assert page.errors == []


@pytest.mark.browser
def test_a_regression_shows_its_number(opened, clips):
    page, file = opened(task="regression")
    chunks, _ = audio.chunks_of(clips["long.wav"], runtime.read_metadata(file).settings)
    run = runtime.runner(file)  # of classes, so that `predict` would refuse it as a regression
    expected = np.mean([run(chunk[None])[0, 0] for chunk in chunks])
    actual = shown(page, clips["long.wav"])
    assert (actual["number"], actual["names"]) == (pytest.approx(expected, abs=1e-3), [])
    assert float(actual["decision"]) == pytest.approx(expected, rel=0.01)


@pytest.mark.browser
def test_every_chunk_can_be_looked_at(opened, clips):
    page, file = opened()
    actual = shown(page, clips["long.wav"])
    predictor = predict.load_model(file)
    (table,) = predict.tables(predictor, [clips["long.wav"]], "chunk", pytest.fail)
    assert actual["caption"].startswith(f"Chunk 1 of {len(table)}, 0.00 to 2.00 s: ")
    before = page.run("document.getElementById('spectrogram').toDataURL()")
    slider = "document.getElementById('chunk')"
    page.run(f"{slider}.value = {slider}.max; {slider}.dispatchEvent(new Event('input'))")
    last = table.iloc[-1]
    words = f"{last['start_s']:.2f} to {last['end_s']:.2f} s: {last['prediction']} "
    page.wait(f"document.getElementById('caption').textContent.includes({json.dumps(words)})")
    assert page.run("document.getElementById('spectrogram').toDataURL()") != before


@pytest.mark.browser
def test_what_is_no_audio_is_named_the_page_goes_on_and_a_file_beside_it(opened, clips, tmp_path):
    page, file = opened()
    (tmp_path / "notes.wav").write_text("no audio at all")
    actual = shown(page, tmp_path / "notes.wav")
    assert actual["state"] == "failed"
    assert actual["status"].startswith("notes.wav: cannot be read as audio")
    compare(page, file, clips["corpus"])
    (tmp_path / "page" / "clip.wav").write_bytes(clips["corpus"].read_bytes())
    page.open(page.run("location.href") + "?file=clip.wav")
    page.wait("document.body.dataset.state === 'done'")
    assert "clip.wav" in page.run("document.getElementById('source').textContent")


@pytest.mark.browser
def test_no_other_host_is_asked(opened, clips):
    page, _ = opened()
    other = "http://127.0.0.2:9/"
    posted = "'https://example.org', {method: 'POST', body: 'sound', mode: 'no-cors'}"
    for request in (f"'{other}'", posted):
        answer = page.run(f"fetch({request}).then(() => 'sent', () => 'refused')")
        assert answer == "refused"
    for tag in ("img", "script", "iframe"):
        page.run(
            f"""new Promise((done) => {{
              document.addEventListener('securitypolicyviolation', () => done(), {{once: true}});
              document.body.append(Object.assign(document.createElement('{tag}'),
                {{src: '{other}'}}));
            }})"""
        )
    assert page.run("navigator.sendBeacon('http://127.0.0.2:9/z') && false") is False
    assert len([line for line in page.errors if "Content Security Policy" in line]) >= 5
    # Chromium names what it has refused as well: none of it was answered, or sent.
    refused = ("http://127.0.0.2", "https://example.org")
    page.requests[:] = [url for url in page.requests if not url.startswith(refused)]


@pytest.mark.browser
@pytest.mark.parametrize("rate", ["the model's", "the sound card's"])
def test_the_microphone(opened, rate):
    page, _ = opened()
    if rate != "the model's":  # as in Firefox
        page.run(
            """(() => {
              const own = AudioContext.prototype.createMediaStreamSource;
              AudioContext.prototype.createMediaStreamSource = function (stream) {
                if (this.sampleRate === 16000) throw new Error('another rate');
                return own.call(this, stream);
              };
            })()"""
        )
    page.run("document.getElementById('microphone').click()")
    for words in ("ms a decision", "median of 2"):
        page.wait(f"document.getElementById('time').textContent.includes('{words}')")
    shares = page.run("[...document.querySelectorAll('#bars li')].map(r => +r.dataset.value)")
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert page.run("document.getElementById('caption').textContent") == "The last 2 s"
    page.run("document.getElementById('microphone').click()")
    page.wait("document.getElementById('microphone').textContent === 'Start the microphone'")
    page.wait("document.getElementById('status').textContent === ''")
    assert page.errors == []
