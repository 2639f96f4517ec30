"""The notebooks: their parameters, their execution with papermill, and the HTML page of them."""

import ast
import html
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslite import cards, paths
from dslite.cards import Card
from dslite.errors import InputError, NotebookError
from dslite.settings import Settings, nearest

ORDER = ("1_partition", "2_spectrograms", "3_training", "4_ablation", "5_tflite")
ORDER += ("6_explainability", "7_paper")
INJECTED = "# Parameters"  # first line of the cell that papermill adds
PAGE = Path(__file__).with_suffix(".html.j2")  # of executed notebooks
TEMPLATE = """{%- extends 'basic/index.html.j2' -%}
{% block input_group %}<details class="code"><summary>code</summary>{{ super() }}</details>
{% endblock %}"""


@dataclass(frozen=True)
class Stage:
    """The corpus, settings and seed that a notebook's parameters name."""

    card: Card
    settings: Settings
    preset: str
    seed: int

    def summary(self) -> str:
        """Return the corpus, the preset and every difference from the preset as Markdown."""
        used, weights = self.settings, Path(self.settings.weights).name
        lines = [
            f"**{self.card.title}** (`{self.card.dataset}`), "
            f"licence {self.card.licence or 'unknown'}",
            f"Preset `{self.preset or 'defaults'}`, backbone `{used.backbone}`, "
            f"weights `{weights}`, seed {self.seed}",
        ]
        if used.augmentation != "none":
            lines[-1] += f", augmentation `{used.augmentation}`"
        if used.random_weights:
            lines.append("**Random weights:** nothing is pre-trained")
            lines[-1] += ", the whole network is trained" * used.trained_whole
        changed = cards.overridden(self.card, used, self.preset)
        changed.pop("augmentation", None)
        if changed:
            changed |= {"weights": (changed["weights"][0], weights)} if "weights" in changed else {}
            items = (f"`{key}` {was} → **{now}**" for key, (was, now) in changed.items())
            lines.append(f"**Differs from the preset:** {', '.join(items)}")
        return "  \n".join(lines)


def begin(
    dataset: str,
    preset: str = "",
    seed: int = 0,
    overrides: Any = "",
    *,
    others: Iterable[str] = (),
    **named,
) -> Stage:
    """Check a notebook's parameters and turn them into settings, see `dslite.cards.settings_of`.

    ``others`` names the notebook's parameters that are no settings. InputError where a parameter
    was mistyped (papermill only warns of it) or has no valid value.

    Examples
    --------
    >>> stage = begin("demo", seed=3, overrides="units=7")
    >>> stage.card.dataset, stage.preset, stage.settings.units
    ('demo', 'tuned', 7)
    """
    parameters = {"dataset", "preset", "seed", "overrides", *named, *others}
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    for source in shell.user_ns.get("In", []) if shell else []:
        if source.startswith(INJECTED):
            assigned = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
            _check_names([node.targets[0].id for node in assigned], parameters)
    card = cards.load(dataset)
    chosen = cards.settings_of(card, preset, overrides, **named)
    return Stage(card, chosen, preset or card.default_preset, seed)


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
    converted = dict(values)
    for name, value in values.items():
        kind = {"int": int, "float": float}.get(declared[name]["inferred_type_name"])
        if isinstance(value, str) and kind:
            try:
                converted[name] = kind(value)
            except ValueError:
                text = f"parameter {name} = '{value}': expected {kind.__name__}"
                raise InputError(text) from None
    return converted


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
    parameters = _typed(parameters, papermill.inspect_notebook(str(source)))
    output = Path(output)
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    logging.basicConfig(format=f"[{output.stem}] %(message)s", stream=sys.stderr)
    logger = logging.getLogger("papermill")
    logger.setLevel(logging.INFO)
    logger.filters = [_Progress()]
    failed.unlink(missing_ok=True)
    with paths.replacing(output) as draft, tempfile.TemporaryDirectory() as sockets:
        try:
            # Sockets in a folder of its own: TCP is open to all local users, and Jupyter's own
            # name, in the working folder, is taken twice by two kernels that start side by side.
            ipc = {"transport": "ipc", "ip": f"{sockets}/kernel"}
            config = Config({} if sys.platform == "win32" else {"KernelManager": ipc})
            how = {"kernel_name": "python3", "progress_bar": False, "log_output": True}
            how |= {"cwd": str(Path.cwd()), "config": config}
            papermill.execute_notebook(str(source), str(draft), parameters=parameters, **how)
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
    """Write one self-contained HTML page of executed notebooks, in their order, with an index."""
    import jinja2
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="basic", embed_images=True)
    exporter.raw_template = TEMPLATE
    # papermill leaves an output for each printed line
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    sections = {}  # name -> HTML
    for path in map(Path, notebooks):
        if not path.is_file():
            raise InputError(f"{path}: the report needs this executed notebook")
        body, _ = exporter.from_notebook_node(nbformat.read(path, as_version=4))
        anchor = html.escape(path.stem)
        # Every notebook has a heading "Settings": ids get the notebook's name in front; not those
        # of a pandas Styler, which its style names.
        body = re.sub(r'\bid="(?!T_)', f'id="{anchor}-', body)
        body = re.sub(r'\bhref="#', f'href="#{anchor}-', body)
        # A picture is described by the heading that it stands under.
        pieces = re.split(r"(?=<h[1-3][^>]*>)", body)
        for i, piece in enumerate(pieces):
            heading = re.match("(?:<h.*?</h)?", piece, re.DOTALL)[0]
            heading = re.sub(r"<[^>]*>|¶|</h$", "", heading).strip().replace('"', "&quot;")
            pieces[i] = re.sub(r'(?<=alt=")No description[^"]*', heading.replace("\\", ""), piece)
        sections[anchor] = "".join(pieces)
    code = HtmlFormatter(style="default").get_style_defs(".highlight")
    page = jinja2.Template(PAGE.read_text("utf-8"))
    page = page.render(title=html.escape(title), code=code, sections=sections)
    paths.write(output, page)
    return Path(output)
