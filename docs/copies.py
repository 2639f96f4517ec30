"""Copies of executed notebooks for the documentation: small, without local paths.

`make docs-notebooks` runs this on results/<dataset>/notebooks and writes docs/notebooks/<dataset>.
"""

import base64
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import soundfile
from PIL import Image

from dslite import cards, notebooks, paths, provenance

FOLDER = Path(__file__).parent / "notebooks"
SOURCES = paths.ROOT / "notebooks"
FIRST = "0_start"
# What is shown of which corpus. RAVDESS's licence allows pictures and numbers to be shown with its
# name, not for commercial use; its recordings stay out. The demo is not in the paper.
SHOWN = {
    "demo": (FIRST, *notebooks.ORDER[:-1]),
    "ravdess": ("2_spectrograms", "3_training", "4_ablation", "6_explainability", "7_paper"),
}
WITH_SOUND = {"demo"}
EXECUTED = {"3_training": "3_training-none"}  # the chain trains four configurations
LARGEST = 100_000  # bytes of a figure or a sound
SOUND = re.compile(r'"data:audio/wav;base64,([^"]+)"')


def copied(dataset: str, name: str) -> Path:
    """Return where the copy of a notebook lies."""
    return FOLDER / dataset / f"{name}.ipynb"


def source_digest(notebook: nbformat.NotebookNode) -> str:
    """Compute the SHA-256 of a notebook's cells, without those that papermill or a copy adds."""
    cells = [
        [cell.cell_type, cell.source]
        for cell in notebook.cells
        if not {"injected-parameters", "copy"} & set(cell.metadata.get("tags", ()))
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def outdated() -> list[str]:
    """List the copies that are missing or whose notebook has changed since it was executed."""
    stale = []
    for dataset, names in SHOWN.items():
        for name in names:
            file = copied(dataset, name)
            now = source_digest(nbformat.read(SOURCES / f"{name}.ipynb", as_version=4))
            if not file.is_file() or nbformat.read(file, 4).metadata["copy"]["digest"] != now:
                stale.append(f"{dataset}/{name}")
    return stale


def small_picture(png: bytes) -> bytes:
    """Return a PNG of at most 100 kB: in 256 colours, with fewer pixels where that is needed."""
    if len(png) <= LARGEST // 2:
        return png
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for share in (1, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3):
        size = [round(share * side) for side in picture.size]
        buffer = io.BytesIO()
        scaled = picture.resize(size, Image.Resampling.LANCZOS) if share < 1 else picture
        scaled.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def small_sound(page: str) -> str:
    """Return a player's HTML with its WAV as MP3."""

    def encode(match: re.Match) -> str:
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(match[1])))
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="MP3")
        return f'"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"'

    return SOUND.sub(encode, page).replace('type="audio/wav"', 'type="audio/mpeg"')


def _public(text: str) -> str:
    """Take this machine's folders out of a text."""
    places = {paths.results(): "results", paths.cache(): "data/cache"}
    for place, name in places.items():
        text = text.replace(str(place), name)
    for folder in (paths.ROOT, Path.cwd(), Path.home()):
        text = text.replace(f"{folder}/", "")
    return text


def _linked(text: str, dataset: str) -> str:
    """Let links that start in notebooks/ lead to pages; of those to other files leave the words."""

    def redirect(match: re.Match) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        stem = Path(target).stem
        if target.endswith(".ipynb"):
            places = [place for place in (dataset, "demo") if stem in SHOWN[place]]
            return f"[{words}](../{places[0]}/{stem}.ipynb{anchor})" if places else words
        inside = os.path.relpath(SOURCES / target, FOLDER.parent)
        is_page = target.endswith(".md") and not inside.startswith("..")
        return f"[{words}](../../{Path(inside).as_posix()}{anchor})" if is_page else words

    text = re.sub(r"(?<!!)\[([^\]]*)\]\(<?(?!https?:|#)([^)#>]+)(#[^)>]*)?>?\)", redirect, text)
    return re.sub(r'<a [^>]*href="(?!https?:|#)[^"]*"[^>]*>(.*?)</a>', r"\1", text, flags=re.DOTALL)


def small_output(output: nbformat.NotebookNode, dataset: str) -> nbformat.NotebookNode | None:
    """Return an output fit for a page; None for a sound that must not leave this machine."""
    if output.output_type == "stream":
        output.text = _public(output.text)
        return output
    output.metadata = {}
    data = output.get("data", {})
    if len(data) > 1:  # beside anything richer
        data.pop("text/plain", None)
    if "image/png" in data:
        png = small_picture(base64.b64decode(data["image/png"]))
        data["image/png"] = base64.b64encode(png).decode()
        data.pop("image/svg+xml", None)
    for kind in ("text/html", "text/markdown", "text/plain"):
        if kind in data:
            text = _public(data[kind])
            data[kind] = text if kind == "text/plain" else _linked(text, dataset)
    if any(key.startswith("audio/") for key in data):
        return None
    if re.search(r"<audio|data:audio", data.get("text/html", "")):
        data["text/html"] = small_sound(data["text/html"])
        return output if dataset in WITH_SOUND and len(data["text/html"]) <= LARGEST else None
    return output


def copy(dataset: str, name: str) -> Path:
    """Write the copy of an executed notebook."""
    executed = paths.results(dataset) / "notebooks" / f"{EXECUTED.get(name, name)}.ipynb"
    book = nbformat.read(executed, as_version=4)
    run, digest = book.metadata["papermill"], source_digest(book)
    card = cards.load(dataset)
    for cell in book.cells:
        # Tags stay: one of them names the parameters.
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if "injected-parameters" in cell.metadata.get("tags", ()):  # weights, perhaps
            cell.source = re.sub(r'"/[^"]*/([^"/]+)"', r'"\1"', cell.source)
        if cell.cell_type == "markdown":
            cell.source = _linked(cell.source, dataset)
            continue
        outputs = [small_output(output, dataset) for output in cell.outputs]
        cell.outputs = [output for output in outputs if output is not None]
    took = provenance.duration_in_words(run["duration"])
    text = f"*{card.title} (licence {card.licence}): executed in {took}."
    text += "*" if dataset in WITH_SOUND else " The recordings are left out.*"
    note = nbformat.v4.new_markdown_cell(text, metadata={"tags": ["copy"]}, id="copy")
    book.cells.insert(1, note)
    keep = ("kernelspec", "language_info")
    book.metadata = {key: book.metadata[key] for key in keep if key in book.metadata}
    book.metadata["copy"] = {"digest": digest, "seconds": round(run["duration"])}
    with paths.replacing(copied(dataset, name)) as draft:
        nbformat.write(book, draft)
    return copied(dataset, name)


def main() -> None:
    """Copy what was executed here, and say what was not."""
    for dataset, names in SHOWN.items():
        for name in names:
            try:
                file = copy(dataset, name)
            except FileNotFoundError as error:
                print(f"not executed: {paths.shown(error.filename)}", file=sys.stderr)
            else:
                print(f"{paths.shown(file)}  {file.stat().st_size / 1e6:.2f} MB")
    if stale := outdated():
        print(f"older than their notebooks, or missing: {', '.join(stale)}", file=sys.stderr)


if __name__ == "__main__":
    main()
