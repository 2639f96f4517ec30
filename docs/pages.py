"""Pages of the documentation that are made from the code and the notebooks, when it is built."""

import importlib
import os
import re
from pathlib import Path

import nbformat
import typer
from typer.cli import get_docs_for_click

import copies
from dslite import cards, cli, paths, provenance
from dslite.models import tensorflow_logging

DOCS = Path(__file__).parent
GENERATED = DOCS / "_generated"
REPORT = paths.ROOT / "results" / "paper" / "report.html"  # published with its folder, as it is
# Texts that lie where their readers on disk look for them, and the names of their pages
TEXTS = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "data/partitions/README.md": "partitions",
    "results/benchmarks/recipe.md": "recipe",
    "results/benchmarks/training.md": "training-times",
    "results/ravdess/README.md": "ravdess",
    "results/records/README.md": "records",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")

ROOMS = ("datasets", "features", "models", "training", "evaluation", "deployment", "explanation")
ROOMS += ("studies", "paper")
ROOT_MODULES = ("settings", "cards", "notebooks", "audio", "plots", "paths", "errors", "provenance")


def write() -> None:
    """Write all of them, those that have changed only: Sphinx reads no page twice."""
    tensorflow_logging.import_tensorflow()
    content = {"notebooks.inc.md": notebook_tables(), "contents.inc.md": notebook_contents()}
    content |= {"reference.md": command_reference(), "api.md": api_index()}
    content |= {f"api-{room}.md": room_page(room) for room in ROOMS}
    for place, page in TEXTS.items():
        text = (paths.ROOT / place).read_text("utf-8")
        content[f"{page}.md"] = relinked(text, (paths.ROOT / place).parent, GENERATED)
    GENERATED.mkdir(exist_ok=True)
    for name, text in content.items():
        file = GENERATED / name
        if not file.is_file() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def relinked(text: str, start: Path, page: Path) -> str:
    """Let links that start in one folder lead to the same places from a page in another.

    Texts of ``TEXTS`` have a page, the paper's report lies beside the pages, other files are
    offered for download; of folders, and of texts without a page, only the words are left.
    """

    def redirect(match: re.Match) -> str:
        image, words, target, anchor = match[1], match[2], match[3], match[4] or ""
        place = Path(os.path.normpath(start / target))
        text_page = TEXTS.get(os.path.relpath(place, paths.ROOT))
        if text_page:
            place = GENERATED / f"{text_page}.md"
        elif place == paths.ROOT / "README.md":
            place = DOCS / "index.md"
        elif place.is_relative_to(REPORT.parent) and not image:
            up = "../" * len(page.relative_to(DOCS).parts)
            return f'<a href="{up}paper/{place.relative_to(REPORT.parent).as_posix()}">{words}</a>'
        elif not place.is_relative_to(DOCS) and (place.is_dir() or place.suffix == ".md"):
            return words
        return f"{image}[{words}]({Path(os.path.relpath(place, page)).as_posix()}{anchor})"

    return LINK.sub(redirect, text)


def question(book: nbformat.NotebookNode) -> str:
    """Return what a notebook asks: its first paragraph to a question mark, or one sentence."""
    text = "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    paragraph = " ".join(re.split(r"\n\s*\n", "\n".join(lines).strip())[0].split())
    asked = re.match(r".*\?|.*?[.](?=\s[A-Z`]|$)", paragraph)
    return asked[0] if asked else paragraph


def title(book: nbformat.NotebookNode) -> str:
    """Return a notebook's heading."""
    return book.cells[0].source.splitlines()[0].lstrip("# ")


def notebook_tables() -> str:
    """A table a corpus: the notebooks in their order, what each answers and how long it takes."""
    parts = []
    for dataset, names in copies.SHOWN.items():
        rows, total = [], 0
        for name in names:
            if (file := copies.copied(dataset, name)).is_file():
                book = nbformat.read(file, as_version=4)
                seconds = book.metadata["copy"]["seconds"]
                total += seconds
                link = f"[{title(book)}](notebooks/{dataset}/{name}.ipynb)"
                asked = LINK.sub(r"\2", question(book)).replace("|", r"\|")
                rows.append(f"| {link} | {asked} | {provenance.duration_in_words(seconds)} |")
        if rows:
            card = cards.load(dataset)
            head = [f"**{card.title}**: {provenance.duration_in_words(total)} in all\n"]
            head += [":::{table}", ":class: collection", ""]
            head += ["| notebook | its question | took |", "|:--|:--|--:|"]
            parts.append("\n".join([*head, *rows, ":::"]))
    return "\n\n".join(parts) + "\n"


def notebook_contents() -> str:
    """The notebooks for the navigation, a list a corpus."""
    parts = []
    for dataset, names in copies.SHOWN.items():
        present = [name for name in names if copies.copied(dataset, name).is_file()]
        if present:
            lines = ["```{toctree}", ":maxdepth: 1", f":caption: {cards.load(dataset).title}", ""]
            lines += [f"notebooks/{dataset}/{name}" for name in present]
            parts.append("\n".join([*lines, "```"]))
    return "\n\n".join(parts) + "\n"


def command_reference() -> str:
    """Every command with its arguments and options, as Typer documents them."""
    command = typer.main.get_command(cli.app)
    context = typer.Context(command)
    text = get_docs_for_click(obj=command, ctx=context, name="dslite")
    text = re.sub(r"^(#+) `(.*)`$", r"\1 \2", text, flags=re.MULTILINE)
    text = text.replace("# dslite\n", "# The command's options\n", 1)
    # Typer cuts what it lists after 45 characters.
    for name, listed in command.commands.items():
        line = f"* [`{name}`](#dslite-{name}): {listed.help.strip().splitlines()[0]}"
        text = re.sub(rf"^\* `{name}`: .*$", lambda _, line=line: line, text, flags=re.MULTILINE)
    return text


def summary(name: str) -> str:
    """Return the first line of a module's docstring."""
    return importlib.import_module(name).__doc__.strip().splitlines()[0]


def api_index() -> str:
    """The rooms of the package and what each is for."""
    rows = [f"| [dslite.{room}](api-{room}.md) | {summary(f'dslite.{room}')} |" for room in ROOMS]
    lines = ["# The package, by room", "", summary("dslite"), ""]
    lines += ["A room names at its door what notebooks and users call:", ""]
    lines += ["| room | what for |", "|:--|:--|", *rows, "", "At the root:", ""]
    lines += ["| module | what for |", "|:--|:--|"]
    lines += [f"| `dslite.{name}` | {summary(f'dslite.{name}')} |" for name in ROOT_MODULES]
    toctree = ["", "```{toctree}", ":hidden:", "", *(f"api-{room}" for room in ROOMS), "```", ""]
    return "\n".join(lines + toctree)


def room_page(room: str) -> str:
    """What a room's door offers: a table, then each with its documentation."""
    name = f"dslite.{room}"
    module = importlib.import_module(name)
    lines = [f"# {name}", "", summary(name), "", "```{eval-rst}", f".. currentmodule:: {name}", ""]
    lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {one}" for one in module.__all__)]
    for one in module.__all__:
        if isinstance(getattr(module, one), type):
            lines += ["", f".. autoclass:: {one}", "   :members:"]
        else:
            lines += ["", f".. autofunction:: {one}"]
    return "\n".join([*lines, "```", ""])
