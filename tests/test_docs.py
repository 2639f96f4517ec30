"""The documentation: its copies of executed notebooks, its links, and that it can be built."""

import base64
import importlib.util
import io
import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dslite import paths

DOCS = paths.ROOT / "docs"


@pytest.fixture(scope="module")
def copies():
    spec = importlib.util.spec_from_file_location("copies", DOCS / "copies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_copy_is_older_than_its_notebook(copies):
    """Execute the notebooks (make demo; for RAVDESS the workflow), then make docs-notebooks."""
    assert copies.outdated() == []


def test_a_copy_is_outdated_once_its_notebook_changes(copies, tmp_path, monkeypatch):
    for name in ("SOURCES", "FOLDER"):
        monkeypatch.setattr(copies, name, tmp_path / name)
    monkeypatch.setattr(copies, "SHOWN", {"demo": ("a",)})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A")])
    copies.SOURCES.mkdir()
    nbformat.write(book, copies.SOURCES / "a.ipynb")
    assert copies.outdated() == ["demo/a"]  # there is none
    book.metadata["papermill"] = {"duration": 3.2, "input_path": f"{paths.ROOT}/a.ipynb"}
    png = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(png, "PNG")
    picture = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": "<Figure>"}
    written = {"text/markdown": f"[`x`](<x.csv>), {paths.ROOT}/y, [z](https://a.b)"}
    player = {"text/html": '<audio><source src="data:audio/ogg;base64,AAAA"></audio>'}
    outputs = [nbformat.v4.new_output("display_data", d) for d in (picture, written, player)]
    book.cells.append(nbformat.v4.new_code_cell("1", outputs=outputs))
    monkeypatch.setattr(copies, "WITH_SOUND", set())
    monkeypatch.setattr(copies.paths, "results", lambda dataset="": tmp_path)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(book, tmp_path / "notebooks" / "a.ipynb")
    copy = copies.copy("demo", "a")
    first, second = nbformat.read(copy, as_version=4).cells[-1].outputs  # without the player
    assert len(base64.b64decode(first["data"]["image/png"])) <= copies.LARGEST
    assert second["data"] == {"text/markdown": "`x`, y, [z](https://a.b)"}
    assert str(paths.ROOT) not in copy.read_text("utf-8")
    assert copies.outdated() == ["demo/a"]  # of an older state: it had no code
    nbformat.write(book, copies.SOURCES / "a.ipynb")
    assert copies.outdated() == []


def test_copies_are_small_and_hold_no_recording_and_no_place_of_a_machine(copies):
    files = sorted(DOCS.glob("notebooks/*/*.ipynb"))
    assert sum(file.stat().st_size for file in files) < 12_000_000
    for file in files:
        text = file.read_text("utf-8")
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/\w|file://", text), file
        recorded = file.parent.name not in copies.WITH_SOUND
        assert not (recorded and re.search(r"audio/[\w-]+;base64,\w", text)), file
        for picture in re.findall(r'"image/png": "([^"]+)"', text):
            assert len(base64.b64decode(picture)) <= copies.LARGEST, file


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning_and_every_link_leads_somewhere(tmp_path):
    pytest.importorskip("myst_nb", reason="the extra docs is not installed")
    words = ["-m", "sphinx", "-q", "-W", "-b", "html", "-d", tmp_path / "trees", DOCS]
    for arguments in ([*words, tmp_path / "site"], [DOCS / "links.py", tmp_path / "site"]):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    page = (tmp_path / "site" / "notebooks" / "demo" / "3_training.html").read_text("utf-8")
    assert "<math" in page
    assert "cdn" not in page


def test_what_ravdess_readme_says_of_explanations_is_what_the_record_holds():
    text = (paths.ROOT / "results/ravdess/README.md").read_text()
    run = paths.ROOT / "results/records/ravdess/ravdess/mobilenet_v2-none-s0"
    tables = {file.stem: pd.read_csv(file) for file in (run / "explanation").glob("*.csv")}
    panels = tables["panels"].sort_values("level_share", ascending=False, kind="stable")
    mean = np.average(panels["level_share"], weights=panels["files"])
    each = zip(panels["level_share"], panels["class"], strict=True)
    shares = ", ".join(f"{100 * share:.0f} % for *{label}*" for share, label in each)
    assert f"\n{100 * mean:.0f} % of the absolute attribution" in text
    assert f": {shares}. How loud" in " ".join(text.split())
    for row in tables["scrutiny"].to_dict("records")[:-1]:
        for of in ("deletion", "insertion"):
            gain, *ends = (f"{row[f'{of}_{end}']:.3f}" for end in ("gain", "low", "high"))
            assert f" {row[of]:.3f} | {gain} ({'–'.join(ends)})" in text, row["method"]
    worst = tables["confusions_test"].iloc[0]
    assert f"{worst['true']} for {worst['predicted']} ({worst['files']} of 32)" in text
    recalls = tables["recalls"].set_index(["partition", "class"]).loc["test", worst["true"]]
    low, high = (f"{100 * recalls[end]:.0f}" for end in ("low", "high"))
    assert f"recall of {100 * recalls['recall']:.0f} % has" in text
    assert f"interval of {low} to {high} over files" in text


def test_what_the_guide_says_of_tuned_on_a_device_is_what_was_measured():
    text = " ".join((DOCS / "device.md").read_text("utf-8").split())
    figures = json.loads((paths.ROOT / "results/benchmarks/device.json").read_text())["tuned"]
    for variant, words in {
        "float32": "{:.1f} ms against {:.1f} ms in float32 ({:.2f} against {:.1f} MB)",
        "int8": "{:.1f} against {:.1f} ms in int8 ({:.2f} against {:.1f} MB)",
    }.items():
        of = [f"{preset} model {variant}" for preset in ("tuned", "paper")]
        values = [figures[f"{name}, {unit}"] for unit in ("ms", "MB") for name in of]
        assert words.format(*values) in text
    ratio = "tuned / paper, {}, per s of {}"
    for length, words in {
        "buffer": "{:.2f} (float32) and {:.2f} (int8) of the time",
        "clip": "a clip of 2.7 s, {:.2f} and {:.2f}",
    }.items():
        values = [figures[ratio.format(variant, length)] for variant in ("float32", "int8")]
        assert words.format(*values) in text
