"""Running the notebooks by machine: their parameters, and what becomes of a failed one."""

import ast
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dslite import cards, orphans, paths
from dslite import settings as dslite_settings
from dslite.cards import Card
from dslite.errors import InputError, NotebookError
from dslite.settings import Settings

ORDER = (
    "1_partition",
    "2_spectrograms",
    "3_training",
    "4_ablation",
    "5_tflite",
    "6_explainability",
    "7_paper",
)
INJECTED = "# Parameters"  # first line of the cell that papermill adds


@dataclass(frozen=True)
class Stage:
    """What a notebook's parameters come to."""

    card: Card
    settings: Settings
    preset: str
    seed: int
    augmentation: str = ""

    def summary(self) -> str:
        """Corpus, recipe, and everything that differs from the recipe, as Markdown."""
        used, weights = self.settings, Path(self.settings.weights).name
        lines = [
            f"**{self.card.title}** (`{self.card.dataset}`), "
            f"licence {self.card.licence or 'unknown'}",
            f"Preset `{self.preset or 'defaults'}`, backbone `{used.backbone}`, "
            f"weights `{weights}`, seed {self.seed}"
            + (f", augmentation `{self.augmentation}`" if self.augmentation else ""),
        ]
        if used.random_weights:
            lines.append("**Random weights:** nothing is pre-trained, the whole network is trained")
        changed = cards.overridden(self.card, used, self.preset)
        told = {key: pair for key, pair in changed.items() if key != "augmentation"}
        if told:
            items = (f"`{key}` {was} → **{_short(now)}**" for key, (was, now) in told.items())
            lines.append(f"**Differs from the preset:** {', '.join(items)}")
        return "  \n".join(lines)


def _short(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and os.sep in value else value


def begin(
    dataset: str,
    preset: str = "",
    seed: int = 0,
    overrides: Any = "",
    *,
    known: Iterable[str] = (),
    **named,
) -> Stage:
    """First call of every notebook: check its parameters and make settings of them.

    Parameters
    ----------
    dataset : str
        Name of a corpus or path of a table.
    preset, overrides, **named
        See `dslite.cards.settings_of`.
    seed : int
    known : iterable of str
        Parameters of this notebook alone.

    Raises
    ------
    InputError
        A parameter was mistyped (papermill only warns of it) or has no valid value.
    """
    given = {"dataset", "preset", "seed", "overrides", *named, *known}
    history = _history()
    check_injected(given, history)
    if any(source.startswith(INJECTED) for source in history):  # papermill's kernel
        orphans.die_with_parent()
    card = cards.load(dataset)
    chosen = cards.settings_of(card, preset, overrides, **named)
    return Stage(card, chosen, preset or card.default_preset, seed, named.get("augmentation", ""))


def _history() -> list[str]:
    """Sources of the cells that this kernel has run; empty outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return list(shell.user_ns.get("In", [])) if shell else []


def check_injected(known: Iterable[str], history: Iterable[str]) -> None:
    """Fail on a parameter that papermill injected and the notebook does not have.

    Parameters
    ----------
    known : iterable of str
        The notebook's parameters.
    history : iterable of str
        Sources of the cells run so far.
    """
    for source in history:
        if source.startswith(INJECTED):
            for node in ast.parse(source).body:
                if isinstance(node, ast.Assign):
                    require_known(known, [node.targets[0].id])


def require_known(known: Iterable[str], names: Iterable[str]) -> None:
    """Fail on the first name that is no parameter, with the nearest valid one."""
    known = sorted(known)
    for name in names:
        if name not in known:
            raise InputError(f"unknown parameter '{name}'{dslite_settings.nearest(name, known)}")


def parse_parameters(pairs: Iterable[str]) -> dict[str, str]:
    """``["seed=1", "dataset=demo"]`` as a mapping of texts; `execute` knows their types."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"parameter '{pair}': expected name=value")
        parsed[name] = value
    return parsed


def typed(given: Mapping[str, Any], declared: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Parameters as a notebook declares them: a text for a number is read as one.

    Parameters
    ----------
    given : mapping
    declared : mapping
        Of `papermill.inspect_notebook`.
    """
    require_known(declared, given)
    found = dict(given)
    for name, value in found.items():
        kind = declared[name]["inferred_type_name"]
        if isinstance(value, str) and kind in ("int", "float"):
            try:
                found[name] = {"int": int, "float": float}[kind](value)
            except ValueError:
                raise InputError(f"parameter {name} = '{value}': expected {kind}") from None
    return found


def execute(notebook: str, output: str | Path, parameters: Mapping[str, Any]) -> Path:
    """Run one of the project's notebooks with papermill.

    Parameters
    ----------
    notebook : str
        Name (``3_training``) or path.
    output : path
        Written only when every cell ran; a failed notebook is kept as ``<name>.failed.ipynb``.
    parameters : mapping

    Raises
    ------
    InputError
        No such notebook, an unknown parameter, or a cell that ended with an InputError.
    NotebookError
        Another error in a cell; the text fits on one screen.
    """
    import logging

    import papermill
    from nbclient.exceptions import DeadKernelError

    source = paths.notebooks() / f"{notebook}.ipynb"
    source = source if source.is_file() else paths.find(notebook)
    if not source.is_file():
        raise InputError(
            f"there is no notebook '{notebook}'{dslite_settings.nearest(notebook, ORDER)}"
        )
    parameters = typed(parameters, papermill.inspect_notebook(str(source)))
    output = Path(output)
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    logging.basicConfig(format=f"[{output.stem}] %(message)s", stream=sys.stderr)
    logger = logging.getLogger("papermill")
    logger.setLevel(logging.INFO)
    logger.filters = [_Progress()]
    failed.unlink(missing_ok=True)
    with paths.replacing(output) as draft, tempfile.TemporaryDirectory() as sockets:
        try:
            papermill.execute_notebook(
                str(source),
                str(draft),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                log_output=True,
                cwd=str(Path.cwd()),
                config=_kernel_config(sockets),
            )
        except papermill.PapermillExecutionError as error:
            draft.replace(failed)
            text = _one_screen(output.stem, error, failed)
            kind = InputError if error.ename == "InputError" else NotebookError
            raise kind(text) from None
        except DeadKernelError:
            draft.replace(failed)
            raise NotebookError(
                f"{output.stem}: the kernel died, most likely for want of memory; "
                f"as far as it came: {paths.shown(failed)}"
            ) from None
    return output


def _kernel_config(folder: str):
    """Reach the kernel through sockets in a folder of its own: TCP is open to all local users.

    Jupyter's own choice, ``kernel-ipc-1`` in the working folder, is taken twice by two kernels
    that start side by side.
    """
    from traitlets.config import Config

    if sys.platform == "win32":
        return Config()
    return Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})


class _Progress:
    """Let through what a reader follows: the cells' own lines, not papermill's bookkeeping."""

    NOISE = (
        *("Input Notebook", "Output Notebook", "Working directory", "Executing", "Ending Cell"),
        *("<Figure", "<IPython"),
    )

    def filter(self, record) -> bool:
        record.msg, record.args = record.getMessage().rstrip(), ()
        return bool(record.msg) and not record.msg.startswith(self.NOISE)


def _one_screen(name: str, error, failed: Path, most: int = 10) -> str:
    """What a failed cell said, in at most a screen of lines, without colours."""
    said = error.evalue if error.ename == "InputError" else error.evalue.partition("\n")[0]
    lines = [f"{name}, cell {error.exec_count}: {error.ename}: {said}"]
    if error.ename != "InputError":
        lines.append("the cell:")
        lines += [f"    {line}" for line in error.source.strip().splitlines()[:most]]
        plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        trace = [line for line in plain.splitlines() if line.strip()]
        lines += ["the end of its traceback:", *(f"    {line}" for line in trace[-most:])]
    lines.append(f"the notebook as far as it came: {paths.shown(failed)}")
    return "\n".join(lines)
