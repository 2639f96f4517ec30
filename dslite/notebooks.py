"""The notebooks: their parameters, their execution with papermill, and the HTML page of them."""

import ast
import functools
import html
import itertools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslite import cards, paths, provenance
from dslite.cards import Card
from dslite.errors import InputError, NotebookError
from dslite.models import tensorflow_logging
from dslite.settings import MOST_SEED, Settings, nearest, parse_overrides, without_effect

ORDER = ("1_partition", "2_spectrograms", "3_training", "4_ablation", "5_tflite")
ORDER += ("6_explainability", "7_paper")
INJECTED = "# Parameters"  # first line of the cell that papermill adds
LEAST = {"evaluations": 3}  # of a number; of all others 0
PAGE = Path(__file__).with_suffix(".html.j2")  # of executed notebooks
CELLS = Path(__file__).with_suffix(".cells.j2")
FORMULA = re.compile(
    r"```.*?```|`[^`]*`|\$\$(?P<block>.+?)\$\$|\$(?=\S)(?P<inline>[^$\n]+?)(?<=\S)\$(?!\d)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Stage:
    """The corpus, settings and seed that a notebook's parameters name."""

    name: str  # of the notebook
    card: Card
    settings: Settings
    preset: str
    seed: int
    parameters: tuple[str, ...]  # their names

    def summary(self) -> str:
        """Return the corpus, the recipe and what differs from the paper and the preset, Markdown.

        A notebook without the parameter ``preset`` has no recipe.
        """
        title, licence = plain(self.card.title), plain(self.card.licence or "unknown")
        dataset = self.card.dataset.replace("`", "'")
        corpus = f"**{title}** (`{dataset}`), licence {licence}"
        if "preset" not in self.parameters:
            return corpus
        preset = f"Preset `{self.preset or 'defaults'}`, seed {self.seed}"
        rows = [f"| {name} | {text} |" for name, text in _recipe(self.settings).items()]
        rows.append(f"| Differs from the paper in | {self._changes('paper') or 'nothing'} |")
        if self.preset != "paper":
            changes = self._changes(self.preset) or "nothing"
            rows.append(f"| Differs from preset `{self.preset}` in | {changes} |")
        return "\n".join([f"{corpus}  \n{preset}\n", "| | |", "|:--|:--|", *rows])

    def _changes(self, preset: str) -> str:
        """The settings that a preset has otherwise, and its values."""
        changed = cards.overridden(self.card, self.settings, preset)
        changed.pop("augmentation", None)
        if "weights" in changed:  # a path is for those who have that disk
            changed["weights"] = [Path(value).name for value in changed["weights"]]
        return ", ".join(f"`{key}` {was} → **{now}**" for key, (was, now) in changed.items())

    def save(self, results: Mapping[str, Any] | None = None, written: Iterable[Path] = ()) -> None:
        """Write a notebook's results into the corpus's folder, and list them with links.

        Parameters
        ----------
        results
            File name to `matplotlib.figure.Figure` or `pandas.DataFrame`, the latter written as
            CSV without its index.
        written
            Files and folders that are there already, listed too.
        """
        from IPython.display import Markdown, display

        from dslite import plots

        folder, files = paths.results(self.card.dataset), []
        for name, result in (results or {}).items():
            with paths.replacing(folder / name) as draft:
                if hasattr(result, "to_csv"):
                    provenance.quoted(result).to_csv(draft, index=False)
                else:
                    plots.save(result, draft)
            files.append(folder / name)
        # Links of a notebook that is open in JupyterLab start where it lies, those of an executed
        # copy where the report of all lies.
        start = Path.cwd() if "JPY_SESSION_NAME" in os.environ else folder
        links = {paths.shown(file): os.path.relpath(file, start) for file in (*files, *written)}
        lines = [f"- [`{name}`](<{Path(link).as_posix()}>)" for name, link in links.items()]
        display(Markdown("\n".join(["Written:\n", *lines])))


def plain(text: object) -> str:
    r"""Return what a card, a table or a file name says, so that Markdown shows it as it is.

    Examples
    --------
    >>> plain("<b>a_b</b> $5")
    '&lt;b&gt;a\\_b&lt;/b&gt; &#36;5'
    """
    text = re.sub(
        r"([\\`*_\[\]!~#])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False)
    )
    return text.replace("$", "&#36;").replace("|", "&#124;")


def _recipe(used: Settings) -> dict[str, str]:
    """What is drawn, which network sees it, and how that learns, in words."""
    bands = f"{used.mel_bands} Mel bands up to {used.highest_hz / 1000:g} kHz"
    height, width = used.picture_shape
    chunks = f"chunks of {used.chunk_length_s:g} s"
    if used.picture == "chunk":
        windows = f"windows of {used.window_ms:g} ms every {used.hop_ms:g} ms"
        picture = f"{chunks}, {bands}, {windows}, resized to {width} x {height} pixels"
    else:
        windows = f"{used.columns} windows of {used.window_ms:g} ms"
        picture = f"what sounds in {chunks}: {bands}, {windows}"
        level = f"; below it, the level up to {used.level_max_hz / 1000:g} kHz on a fixed scale"
        picture += level * (used.panels > 1) + f"; {width} x {height} pixels"
    pooled = {"global": "average over the picture", "time": "average over time"}
    pooled["segments"] = f"statistics of {used.segments} parts of the time at several depths"
    cut = f"up to `{used.feature_layer}`" if used.feature_layer else "without its top"
    weights = Path(used.weights).name
    network = f"`{used.backbone}` (weights: {weights}), "
    network += (
        pooled[used.pooling] if used.pooling == "segments" else f"{cut}, {pooled[used.pooling]}"
    )
    rate = f"{used.optimizer}, rate {used.learning_rate:g}, {used.epochs_phase1} epochs"
    first = {"ridge": "the head, solved in closed form (ridge regression)"}
    first["arelu"] = f"a head of {used.units} units with AReLU on frozen layers: {rate}"
    if used.trained_whole:
        first["arelu"] = f"head ({used.units} units with AReLU) and the whole network: {rate}"
    later = used.learning_rate_phase2 or used.learning_rate / 10
    part = "the same" if used.trained_whole else f"the last {used.trained_share:.0%} of layers too"
    second = f"{part}: {used.optimizer}, rate {later:g}, {used.epochs_phase2} epochs"
    if used.head == "ridge" and used.epoch_choice == "best":
        second += ", kept only where devel gains"
    fine_tuned = used.epochs_phase2 and (used.trained_share or used.trained_whole)
    phases = {"Phase 1": first[used.head], "Phase 2": second if fine_tuned else "none"}
    return {"Picture": picture, "Network": network, **phases, "Augmentation": used.augmentation}


def begin(name: str, namespace: MutableMapping[str, Any]) -> Stage:
    """Check a notebook's parameters, turn them into settings and get the notebook ready.

    In a notebook, the summary is shown, figures appear below their cells, TensorFlow is imported
    without its start-up lines where the notebook needs it, and an InputError of any later cell
    takes one line.

    Parameters
    ----------
    name
        The notebook, for instance ``3_training``, whose parameters cell says what is read.
    namespace
        Where the parameters are, in a notebook ``globals()``; what is missing or None gets its
        default there (but a dataset that is None), and a number that is written as text becomes
        one.

    Raises
    ------
    InputError
        Where a parameter was mistyped (papermill only warns of it) or has no valid value.

    Examples
    --------
    >>> stage = begin("3_training", {"dataset": "demo", "seed": 3, "overrides": "units=7"})
    >>> stage.card.dataset, stage.preset, stage.settings.units
    ('demo', 'transfer', 7)
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell:
        shell.set_custom_exc((InputError,), _show_in_one_line)
        shell.run_line_magic("matplotlib", "inline")
    declared = _declared(name)
    for source in shell.user_ns.get("In", []) if shell else []:
        if source.startswith(INJECTED):
            assigned = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
            _check_names([node.targets[0].id for node in assigned], declared)
    values = {
        key: _value(key, namespace.get(key, default), default) for key, default in declared.items()
    }
    namespace.update(values)
    card, preset = cards.load(values["dataset"]), values.get("preset", "")
    named = {key: value for key, value in values.items() if key in Settings.model_fields}
    chosen = cards.settings_of(card, preset, values.get("overrides", ""), **named)
    if idle := without_effect(chosen, parse_overrides(values.get("overrides", ""))):
        print(f"warning: {idle}", file=sys.stderr, flush=True)
    seed = values.get("seed", 0)
    stage = Stage(name, card, chosen, preset or card.default_preset, seed, tuple(declared))
    if shell:
        if "preset" in declared:
            tensorflow_logging.import_tensorflow(chosen.threads)
        ipython.display.display(ipython.display.Markdown(stage.summary()))
    return stage


def progress(title: str) -> Callable[[str], None]:
    """Return what a training logs to: a bar in JupyterLab, elsewhere a line for each epoch."""
    if "JPY_SESSION_NAME" not in os.environ:
        return lambda line: print(f"[{title}] {line}", flush=True)
    from tqdm.auto import tqdm

    @functools.cache
    def bar() -> tqdm:  # when there is something to say, and the one before has ended
        return tqdm(file=sys.stdout, bar_format="{bar:20} {desc}")

    def log(line: str) -> None:
        if place := re.search(r"epoch +(\d+)/(\d+)", line):
            bar().n, bar().total = map(int, place.groups())
        text = line.partition("\n")[0][:100]
        bar().set_description_str(f"{title}: {text}")

    return log


def _declared(name: str) -> dict[str, Any]:
    """Return the parameters of a notebook of ours and their defaults."""
    book = json.loads((paths.ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
    cells = [c["source"] for c in book["cells"] if "parameters" in c["metadata"].get("tags", [])]
    body = ast.parse("".join(cells[0])).body
    return {line.target.id: ast.literal_eval(line.value) for line in body}


def _show_in_one_line(shell, kind, error, trace, tb_offset=None) -> None:
    """Show an error of the user's input without its traceback; it still ends the cell."""
    shell._showtraceback(kind, str(error), [f"{kind.__name__}: {error}"])


def _check_names(names: Iterable[str], parameters: Iterable[str]) -> None:
    """Fail on the first name that is no parameter, with the nearest one."""
    for name in names:
        if name not in parameters:
            raise InputError(f"unknown parameter '{name}'{nearest(name, sorted(parameters))}")


def parse_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Return ``name=value`` texts as a mapping; `execute` converts the values.

    Examples
    --------
    >>> parse_parameters(["dataset=a=b.csv", "preset="])
    {'dataset': 'a=b.csv', 'preset': ''}
    """
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"parameter '{pair}': expected name=value")
    return dict(pair.split("=", 1) for pair in pairs)


def _typed(values: Mapping[str, Any], declared: Mapping[str, Mapping]) -> dict[str, Any]:
    """Return parameters in the types that a notebook declares (`papermill.inspect_notebook`)."""
    _check_names(values, declared)
    zeros = {"int": 0, "float": 0.0}  # instead of defaults, which may be any expression
    kinds = {name: zeros.get(declared[name]["inferred_type_name"]) for name in values}
    return {
        name: value if kinds[name] is None else _value(name, value, kinds[name])
        for name, value in values.items()
    }


def _value(name: str, value: Any, default: str | int | float) -> str | int | float:
    """A parameter's value in the type of its default, which counts for None."""
    if value is None and name != "dataset":  # whose default is seldom meant by who hands one on
        return default
    if isinstance(default, str):
        if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
            raise InputError(f"parameter {name} = {value!r}: expected a text")
        return str(value)
    least, most = LEAST.get(name, 0), MOST_SEED if name == "seed" else math.inf
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    whole = isinstance(default, int)
    if not least <= number <= most or math.isinf(number) or (whole and number % 1):
        limits = f"from {least}" + f" to {most}" * (name == "seed")
        kind = "whole number" if whole else "number"
        raise InputError(f"parameter {name} = {value!r}: expected a {kind} {limits}")
    return type(default)(number)


def execute(notebook: str, output: str | Path, parameters: Mapping[str, Any]) -> Path:
    """Run a notebook, a name (``3_training``) or a path, with papermill.

    The output is written only when every cell ran; a failed notebook is kept as
    ``<name>.failed.ipynb``. InputError for no such notebook, an unknown parameter, or a cell that
    ended with one; else NotebookError, whose text fits on one screen.
    """
    import logging

    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    source = paths.ROOT / "notebooks" / f"{notebook}.ipynb"
    source = source if source.is_file() else paths.find(notebook)
    if not source.is_file():
        raise InputError(f"there is no notebook '{notebook}'{nearest(notebook, ORDER)}")
    parameters = _typed(parameters, papermill.inspect_notebook(_literal(source)))
    output = Path(output)
    if output.exists() and output.samefile(source):
        raise InputError(
            f"{output}: is the notebook itself; name another file for the executed one"
        )
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    logging.basicConfig(format=f"[{output.stem}] %(message)s", stream=sys.stderr)
    logger = logging.getLogger("papermill")
    logger.setLevel(logging.INFO)
    logger.filters = [_Progress()]
    failed.unlink(missing_ok=True)
    with paths.replacing(output) as draft, paths.scratch() as sockets:
        try:
            # Sockets in a folder of its own: TCP is open to all local users, and Jupyter's own
            # name, in the working folder, is taken twice by two kernels that start side by side.
            ipc = {"transport": "ipc", "ip": f"{sockets}/kernel"}
            config = Config({} if sys.platform == "win32" else {"KernelManager": ipc})
            how = {"kernel_name": "python3", "progress_bar": False, "log_output": True}
            how |= {"cwd": str(Path.cwd()), "config": config}
            papermill.execute_notebook(
                _literal(source), _literal(draft), parameters=parameters, **how
            )
        except papermill.PapermillExecutionError as error:
            draft.replace(failed)
            kind = InputError if error.ename == "InputError" else NotebookError
            raise kind(_one_screen(output.stem, error, failed)) from None
        except DeadKernelError:
            draft.replace(failed)
            raise NotebookError(
                f"{output.stem}: the kernel died, most likely for want of memory; "
                f"as far as it came: {paths.shown(failed)}"
            ) from None
    return output


def _literal(path: Path) -> str:
    """A path for papermill, which takes braces in it for places of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


class _Progress:
    """Log the lines that the cells print, not papermill's bookkeeping."""

    NOISE = ("Input Notebook", "Output Notebook", "Working directory", "Executing", "Ending Cell")
    NOISE += ("<Figure", "<IPython")

    def filter(self, record) -> bool:
        record.msg, record.args = record.getMessage().rstrip(), ()
        return bool(record.msg) and not record.msg.startswith(self.NOISE)


def _one_screen(name: str, error, failed: Path) -> str:
    """Describe a failed cell in at most a screen of lines, without colours."""
    message = error.evalue if error.ename == "InputError" else error.evalue.partition("\n")[0]
    lines = [f"{name}, cell {error.exec_count}: {error.ename}: {message}"]
    if error.ename != "InputError":
        lines.append("the cell:")
        lines += [f"    {line}" for line in error.source.strip().splitlines()[:10]]
        plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        trace = [line for line in plain.splitlines() if line.strip()]
        lines += ["the end of its traceback:", *(f"    {line}" for line in trace[-10:])]
    lines.append(f"the notebook as far as it came: {paths.shown(failed)}")
    return "\n".join(lines)


def write_page(title: str, notebooks: Iterable[Path], output: str | Path) -> Path:
    """Write one self-contained HTML page of executed notebooks, in their order, with an index.

    What cells tagged ``abstract`` put out stands at its top, with links to the files beside it;
    their notebooks are unfolded.
    """
    import jinja2
    import nbformat
    from markupsafe import Markup
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="basic", embed_images=True, exclude_anchor_links=True)
    exporter.raw_template = CELLS.read_text("utf-8")
    # papermill leaves an output for each printed line
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    numbers = itertools.count(1)
    exporter.register_filter("number", lambda _: next(numbers))
    # HTML in Markdown is shown as text: it may come from a card, a label or a file name.
    renderer = IPythonRenderer(False, allow_harmful_protocols=False, exclude_anchor_links=True)
    renderer.block_html = renderer.inline_html = html.escape
    exporter.register_filter("markdown2html", MarkdownWithMath(renderer=renderer).render)

    def rendered(anchor: str, cells: Sequence, numbered: bool = True) -> Markup:
        part, how = nbformat.v4.new_notebook(cells=cells), {"numbered": numbered}
        body, _ = exporter.from_notebook_node(part, how)
        body = re.sub("\ue000(block|inline)([0-9a-f]*)\ue001", _draw_formula, body)
        # Every notebook has a heading "Method": ids get the notebook's name in front; not those of
        # figures, and of a pandas Styler, which its style names.
        body = re.sub(r'\b(id="|href="#)(?!T_|figure)', rf"\g<1>{anchor}-", body)
        return Markup(re.sub(r"(</?h)([1-4])\b", lambda tag: f"{tag[1]}{int(tag[2]) + 1}", body))

    notebooks = [Path(path) for path in notebooks]
    _refuse_to_lose(Path(output), notebooks)
    chapters, abstract = {}, []
    for path in notebooks:
        book, anchor = _read(path), html.escape(path.stem)
        name, sections = _sections(book.cells)
        cells = [cell for _, of_section in sections for cell in of_section]
        tagged = [cell for cell in cells if "abstract" in cell.metadata.get("tags", [])]
        abstract += [rendered(f"{anchor}-abstract", tagged, False)] if tagged else []
        parameters = _parameters(book)
        parts = [f"{key} {of}" for key, of in parameters.items() if path.stem.endswith(f"-{of}")]
        chapters[anchor] = {
            "name": name,
            "title": f"{name} ({parts[0]})" if parts else name,
            "tagged": bool(tagged),  # what is not said in the abstract is folded
            "repeated": name in [chapter["name"] for chapter in chapters.values()],
            "sections": [(heading, rendered(anchor, of)) for heading, of in sections],
        }
    folder = Path(output).parent
    files = sorted(path.name for path in folder.glob("[!.]*.*") if path.is_file())
    files += ["../paper/report.html"] if (folder.parent / "paper" / "report.html").is_file() else []
    page = jinja2.Template(PAGE.read_text("utf-8"), autoescape=True).render(
        **{"title": title, "chapters": chapters, "abstract": Markup("").join(abstract)},
        files=[name for name in files if name != Path(output).name],
        code=Markup(HtmlFormatter(style="default").get_style_defs(".highlight")),
    )
    # A half of a surrogate pair, from JSON or a file's name, is shown as its number.
    paths.write(output, page.encode("utf-8", "backslashreplace").decode())
    return Path(output)


def _refuse_to_lose(output: Path, notebooks: Sequence[Path]) -> None:
    """Refuse to replace, with a page, one of its notebooks or what is no page: hours of work."""
    same = output.exists() and any(path.exists() and path.samefile(output) for path in notebooks)
    if same or output.suffix.lower() == ".ipynb" or output.is_dir():
        raise InputError(
            f"{output}: is to become the page and is a notebook or a folder; give it "
            "as dslite report TITLE PAGE.html NOTEBOOK ..."
        )
    if output.is_file() and output.read_bytes()[:15].strip()[:1] not in (b"", b"<"):
        raise InputError(f"{output}: holds something else than a page; name another file")


def _read(path: Path):
    """Read an executed notebook; an InputError where it is none."""
    import nbformat

    if not path.is_file():
        raise InputError(f"{path}: the report needs this executed notebook")
    try:
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
    except Exception as error:  # of json, nbformat, jsonschema: whatever a broken file provokes
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise InputError(f"{path}: is no notebook ({reason}); execute it again") from None
    return book


def _parameters(book) -> Mapping[str, Any]:
    """What papermill says that a notebook was executed with."""
    papermill = book.metadata.get("papermill", {})
    parameters = papermill.get("parameters", {}) if isinstance(papermill, dict) else {}
    return parameters if isinstance(parameters, dict) else {}


def _sections(cells: Iterable) -> tuple[str, list[tuple[str, list]]]:
    """A notebook's title, and its cells by the heading of second level that they stand under.

    Formulas are drawn; a cell gets its heading, a figure the Markdown behind it as its caption.
    """
    import nbformat

    title, heading, sections, figure = "", "", [("", [])], None
    for cell in cells:
        if cell.cell_type == "markdown":
            figure = None
            for source in re.split("^(?=##? )", cell.source, flags=re.MULTILINE):
                mark, _, rest = source.partition(" ")
                if mark in ("#", "##"):
                    heading, _, source = rest.partition("\n")
                    heading = re.sub("[`*]", "", heading)
                    title = title or heading
                    sections += [(heading, [])] if mark == "##" else []
                sections[-1][1].append(
                    nbformat.v4.new_markdown_cell(FORMULA.sub(_hide_formula, source))
                )
        elif cell.cell_type == "code":
            cell.metadata |= {"heading": heading or title, "alt": heading or title}
            figure = _captioned(cell, figure)
            sections[-1][1].append(cell)
    return title, sections


def _captioned(cell: Any, figure: Any) -> Any:
    """Move a last output that is Markdown behind a figure into its caption; return the figure."""
    outputs = []
    for output in cell.outputs:
        data = output.get("data", {})
        if text := data.get("text/markdown"):
            data["text/markdown"] = text = FORMULA.sub(_hide_formula, text)
        if text and figure is not None and output is cell.outputs[-1]:
            figure.metadata["caption"] = text
        else:
            outputs.append(output)
        figure = output if any(kind.startswith("image/") for kind in data) else None
    cell.outputs = outputs
    return figure


def _hide_formula(match: re.Match) -> str:
    """A formula as a word that Markdown leaves alone; code stays as it is."""
    kind = match.lastgroup
    return f"\ue000{kind}{match[kind].strip().encode().hex()}\ue001" if kind else match[0]


def _draw_formula(match: re.Match) -> str:
    """The hidden TeX as MathML, which a browser draws without MathJax."""
    from docutils.utils.math import MathError
    from docutils.utils.math.latex2mathml import tex2mathml

    tex = bytes.fromhex(match[2]).decode()
    tex = re.sub(r"(\\[dt]?frac)\s*(\w)\s*(\w)", r"\1{\2}{\3}", tex)  # which docutils needs
    try:
        return tex2mathml(tex, as_block=match[1] == "block")
    except (MathError, SyntaxError):
        return f"<code>{html.escape(tex)}</code>"
