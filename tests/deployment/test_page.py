"""The page in a real browser: what it shows, and what it asks for."""

import json
import re
import zipfile

import numpy as np
import pytest
import soundfile
import soxr

from dslite import audio
from dslite.deployment import predict, runtime, web
from dslite.errors import InputError
from dslite.training import runs
from tests.deployment import browser

RATE = 16000
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def converted(small_run, tmp_path_factory):
    """Path of the small run's model, with its spectrogram beside it; real LiteRT.js is there."""
    pytest.importorskip("websocket")
    if not browser.program():
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    try:
        for wanted in web.PACKAGES:
            web.fetch(wanted)
    except InputError as error:
        pytest.skip(f"no LiteRT.js: {error}")
    from dslite.deployment import convert

    folder = tmp_path_factory.mktemp("converted") / small_run.folder.name
    folder.mkdir()
    for file in small_run.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    convert.convert_run(runs.load(folder))
    return folder / "model.tflite"


@pytest.fixture(scope="module")
def clips(small_corpus, tmp_path_factory):
    """Files of the corpus and made from it: name -> path."""
    folder = tmp_path_factory.mktemp("clips")
    given = sorted(small_corpus.parent.glob("spk0[1-4]/*.wav"))[::5][:6]
    found = {"corpus": given[0], "corpus2": given[1]}
    voices = [audio.read(path, RATE) for path in given]
    long = np.concatenate(voices)
    silence = np.zeros(20_000, np.float32)
    other = soxr.resample(long, RATE, 44100, "VHQ")
    for name, samples, rate in (
        ("short.wav", voices[2][:9000], RATE),
        ("long.wav", long, RATE),
        ("stereo.wav", np.stack([long[:50_000], 0.3 * long[5000:55_000]], axis=1), RATE),
        ("silence.wav", np.zeros(RATE), RATE),
        ("padded.wav", np.concatenate([silence, voices[3], silence[:7777]]), RATE),
        ("lossless.flac", voices[4], RATE),
        ("44100.wav", other / max(1, abs(other).max()), 44100),
    ):
        soundfile.write(folder / name, samples, rate)
        found[name] = folder / name
    return found


@pytest.fixture(scope="module")
def browsing(converted, clips, tmp_path_factory):
    """One browser for all tests; its microphone hears the long file."""
    heard = f"--use-file-for-fake-audio-capture={clips['long.wav']}"
    with browser.started(tmp_path_factory.mktemp("profile"), heard) as page:
        yield page


@pytest.fixture
def opened(browsing, converted, tmp_path):
    """A function that opens the page of the small model with some settings changed.

    It gives the browser's page and the address; after the test, nothing but the page's own files
    was asked for.
    """
    browsing.requests.clear()
    browsing.said.clear()
    folder = tmp_path / "page"
    with browser.serving(folder) as (address, _asked):

        def go(query="", task=None, **changed):
            content = converted.read_bytes()
            with zipfile.ZipFile(converted) as held:
                own = held.infolist()[0].header_offset
            says = runtime.metadata(converted).told
            says = says | {"settings": says["settings"] | changed, "task": task or says["task"]}
            (tmp_path / "model.tflite").write_bytes(runtime.attach(content[:own], says))
            half = converted.with_name("spectrogram.tflite").read_bytes()
            (tmp_path / "spectrogram.tflite").write_bytes(half)
            web.write(tmp_path / "model.tflite", folder)
            browsing.open(address + query)
            return browsing, tmp_path / "model.tflite"

        yield go
        browsing.call("Page.navigate", url="about:blank")
        # An image of data is one of the browser's own audio player.
        foreign = [url for url in browsing.requests if not url.startswith((address, "data:"))]
        assert {url for url in foreign if not url.startswith(f"blob:{address}")} <= {"about:blank"}


def shown(page, file):
    """What the page says of a file, by name."""
    page.run("document.body.dataset.state = 'chosen'")
    page.choose("#file", file)
    page.wait("['done', 'failed'].includes(document.body.dataset.state)")
    return page.run(
        """(() => {
          const text = (id) => document.getElementById(id).textContent;
          const rows = [...document.querySelectorAll('#bars li')];
          return {
            state: document.body.dataset.state,
            status: text('status'), source: text('source'), decision: text('decision'),
            caption: text('caption'), time: text('time'),
            number: Number(document.getElementById('decision').dataset.value),
            names: rows.map((row) => row.querySelector('.name').textContent),
            shares: rows.map((row) => Number(row.dataset.value)),
            said: rows.map((row) => row.querySelector('.share').textContent),
            widths: rows.map((row) => row.querySelector('.bar').getBoundingClientRect().width
                                      / row.querySelector('.track').clientWidth),
          };
        })()"""
    )


def compare(page, file, path, atol=1e-3):
    expected = predict.files(file, [path]).iloc[0]
    found = shown(page, path)
    assert (found["state"], found["status"]) == ("done", "")
    names = list(expected.index[3:])
    assert found["names"] == names
    np.testing.assert_allclose(found["shares"], expected[names].astype(float), atol=atol)
    assert found["decision"] == expected["prediction"] == names[int(np.argmax(found["shares"]))]
    assert found["said"] == [f"{100 * share:.1f} %" for share in found["shares"]]
    np.testing.assert_allclose(found["widths"], found["shares"], atol=0.01)
    (duration,) = re.findall(r", ([\d.]+) s, ", found["source"])
    assert float(duration) == pytest.approx(expected["duration_s"], abs=0.0051)
    assert re.search(r"[\d.]+ ms a decision.*, [\d.]+ ms with the picture", found["time"])
    return found


def test_the_page_says_what_predict_says(opened, clips):
    page, file = opened()
    for name in ("corpus", "corpus2", "short.wav", "long.wav", "stereo.wav", "lossless.flac"):
        compare(page, file, clips[name])
    assert page.said == []


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
    assert page.said == []


@pytest.mark.parametrize("changed", [{"chunk_hop_s": 0.7}, {"fusion": "vote"}, {"trim": "on"}])
def test_with_other_settings(opened, clips, changed):
    page, file = opened(**changed)
    for name in ("long.wav", "padded.wav", "short.wav", "silence.wav"):
        compare(page, file, clips[name])
    assert page.said == []


def test_another_rate_is_resampled_alike(opened, clips, rng):
    page, file = opened()
    compare(page, file, clips["44100.wav"], atol=5e-3)
    for rate in (8000, 11025, 44100, 48000):
        noise = rng.uniform(-1, 1, rate // 4).astype(np.float32)
        found = page.run(
            f"""import('./sound.js').then(({{resampled}}) => Array.from(
              resampled(Float32Array.from({noise.tolist()}), {rate}, {RATE})))"""
        )
        expected = soxr.resample(noise, rate, RATE, "VHQ")
        assert abs(len(found) - len(expected)) <= 1
        # Up to 90 % of the lower rate's band; above, where both roll off, they differ.
        spectra = [np.fft.rfft(one[: len(expected) - 1]) for one in (found, expected)]
        kept = round(0.9 * min(rate, RATE) / RATE * len(spectra[0]))
        error = np.abs(spectra[0] - spectra[1])[:kept].max() / np.abs(spectra[1]).max()
        assert error < 0.01


def test_trimming_finds_the_same_sound(opened, rng):
    page, _ = opened(trim="on")
    noise = rng.normal(0, 0.1, RATE).astype(np.float32)
    faded = noise * np.exp(-np.linspace(0, 12, RATE)).astype(np.float32)
    waveforms = [noise, faded, faded[::-1].copy(), 1e-4 * noise, np.zeros(5000, np.float32)]
    waveforms += [noise[:100], noise[:1], np.concatenate([np.zeros(9999), noise]), 1e-6 * noise]
    frame, hop = audio.level_frames(RATE)
    for waveform in waveforms:
        found = page.run(
            f"""import('./sound.js').then(({{sounding}}) => sounding(
              Float32Array.from({waveform.tolist()}), {{frame: {frame}, hop: {hop}, db: 60}}))"""
        )
        assert tuple(found) == audio.sounding(waveform.astype(np.float32), RATE)


def test_the_rate_that_a_file_says_it_has(opened, tmp_path, rng):
    page, _ = opened()
    for name in ("a.wav", "a.flac", "a.ogg"):
        for rate in (8000, 22050, 96000):
            soundfile.write(tmp_path / "page" / name, rng.uniform(-1, 1, rate // 10), rate)
            found = page.run(
                f"""import('./sound.js').then(async ({{storedRate}}) =>
                  storedRate(await (await fetch('{name}', {{cache: 'reload'}})).arrayBuffer()))"""
            )
            assert found == (0 if name == "a.ogg" else rate)


def test_a_regression_shows_its_number(opened, clips):
    page, file = opened(task="regression")
    expected = predict.files(file, [clips["long.wav"]])["prediction"][0]
    found = shown(page, clips["long.wav"])
    assert found["number"] == pytest.approx(expected, abs=1e-3)
    assert float(found["decision"]) == pytest.approx(expected, rel=0.01)
    assert found["names"] == []


def test_every_chunk_can_be_looked_at(opened, clips):
    page, file = opened()
    found = shown(page, clips["long.wav"])
    predictor = predict.load(file)
    (table,) = predict.tables(predictor, [clips["long.wav"]], "chunk", pytest.fail)
    assert found["caption"].startswith(f"Chunk 1 of {len(table)}, 0.00 to 2.00 s: ")
    before = page.run("document.getElementById('spectrogram').toDataURL()")
    page.run(
        """(() => {
          const slider = document.getElementById('chunk');
          slider.value = slider.max;
          slider.dispatchEvent(new Event('input'));
        })()"""
    )
    last = table.iloc[-1]
    words = f"{last['start_s']:.2f} to {last['end_s']:.2f} s: {last['prediction']} "
    page.wait(f"document.getElementById('caption').textContent.includes({json.dumps(words)})")
    assert page.run("document.getElementById('spectrogram').toDataURL()") != before


def test_what_is_no_audio_is_told_and_the_page_goes_on(opened, clips, tmp_path):
    page, file = opened()
    (tmp_path / "notes.wav").write_text("no audio at all")
    found = shown(page, tmp_path / "notes.wav")
    assert found["state"] == "failed"
    assert found["status"].startswith("notes.wav cannot be read as audio")
    compare(page, file, clips["corpus"])


def test_a_file_beside_the_page(opened, clips, tmp_path):
    page, _ = opened()
    (tmp_path / "page" / "clip.wav").write_bytes(clips["corpus"].read_bytes())
    page.open(page.run("location.href") + "?file=clip.wav")
    page.wait("document.body.dataset.state === 'done'")
    assert "clip.wav" in page.run("document.getElementById('source').textContent")


def test_no_other_host_is_asked(opened, clips):
    page, _ = opened()
    for request in (
        "fetch('http://127.0.0.2:9/x')",
        "fetch('https://example.org', {method: 'POST', body: 'sound', mode: 'no-cors'})",
    ):
        assert page.run(f"{request}.then(() => 'sent', () => 'refused')") == "refused"
    for tag, source in (("img", "src"), ("script", "src"), ("iframe", "src")):
        page.run(
            f"""new Promise((done) => {{
              document.addEventListener('securitypolicyviolation', () => done(), {{once: true}});
              document.body.append(Object.assign(document.createElement('{tag}'),
                {{{source}: 'http://127.0.0.2:9/y'}}));
            }})"""
        )
    assert page.run("navigator.sendBeacon('http://127.0.0.2:9/z') && false") is False
    assert len([line for line in page.said if "Content Security Policy" in line]) >= 5
    # Chromium names what it has refused as well: none of it was answered, or sent.
    page.requests[:] = [url for url in page.requests if not url.startswith("http://127.0.0.2")]
    page.requests[:] = [url for url in page.requests if "example.org" not in url]


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
    page.wait("document.getElementById('time').textContent.includes('ms a decision')")
    page.wait("document.getElementById('time').textContent.includes('median of 2')")
    shares = page.run("[...document.querySelectorAll('#bars li')].map(r => +r.dataset.value)")
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert page.run("document.getElementById('caption').textContent") == "The last 2 s"
    page.run("document.getElementById('microphone').click()")
    page.wait("document.getElementById('microphone').textContent === 'Start the microphone'")
    page.wait("document.getElementById('status').textContent === ''")
    assert page.said == []
