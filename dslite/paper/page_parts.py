"""Pieces of HTML that the sections of the paper's page share; whatever comes in is escaped."""

from collections.abc import Iterable, Mapping
from html import escape

import pandas as pd

from dslite.paper import verdicts
from dslite.paper.page_pictures import slug
from dslite.paper.published import NAMES

SYMBOLS = {  # beside the words: a verdict is never told by its colour alone
    verdicts.REPRODUCED: ("✓", "good"),
    verdicts.OVERLAPPING: ("≈", "near"),
    verdicts.CONTRADICTED: ("✗", "bad"),
    verdicts.ITSELF: ("≠", "odd"),
    verdicts.RESTRICTED: ("⊘", "none"),
    verdicts.WEIGHTS: ("∅", "none"),
    verdicts.HARDWARE: ("◇", "none"),
    verdicts.SETTING: ("·", "none"),
}
MEANINGS = {
    verdicts.REPRODUCED: "The published value lies in our 95 % interval and ours in the published "
    "one; a count or a size is equal to the printed digit. Where no interval is published, the "
    "published value lies in ours.",
    verdicts.OVERLAPPING: "The two 95 % intervals have something in common, but at least one value "
    "lies outside of the other's interval.",
    verdicts.CONTRADICTED: "The intervals have nothing in common, or a count or size differs.",
    verdicts.ITSELF: "The number cannot be right beside another one that the paper prints, so "
    "there is nothing to be reproduced. The contradictions are listed below.",
    verdicts.HARDWARE: "A time or a memory of the authors' computer or phone, which are not here.",
    verdicts.WEIGHTS: "The paper's backbone needs ImageNet weights that were not at hand.",
    verdicts.RESTRICTED: "The corpus is handed out under an agreement and was not at hand.",
    verdicts.NOT_RUN: "Could be run here and was not.",
    verdicts.SETTING: "Chosen by the authors and taken over: there is nothing to be reproduced.",
}
OUTCOMES = {  # of a claim
    "holds": ("✓", "good"),
    "does not hold": ("✗", "bad"),
    "a setting, not a result": ("·", "none"),
}
OTHER = ("○", "none")


def words(value: object) -> str:
    """A value as escaped text; None and NaN are empty."""
    return (
        "" if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) else _text(value)
    )


def _text(value: object) -> str:
    return escape(str(value))


def corpus(dataset: str) -> str:
    """A corpus as the paper writes it."""
    return NAMES.get(dataset, dataset.upper())


def badge(said: str) -> str:
    """A verdict, or the outcome of a claim, as a symbol and its words."""
    symbol, kind = SYMBOLS.get(said, OUTCOMES.get(said, OTHER))
    return f'<span class="badge {kind}"><i aria-hidden="true">{symbol}</i> {words(said)}</span>'


def region(label: str, content: str) -> str:
    """What may be wider than the page: it scrolls by itself, also by the keyboard."""
    named = f'role="region" tabindex="0" aria-label="{words(label)}"'
    return f'<div class="region" {named}>{content}</div>'


def section(anchor: str, title: str, *content: str) -> str:
    """A part of the page that the contents lead to."""
    head = f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
    return (
        f'{head}\n<h2 id="{anchor}-title">{words(title)}</h2>\n' + "\n".join(content) + "</section>"
    )


def pairs(given: Mapping[str, str], kind: str = "") -> str:
    """Terms and what is said of them, HTML already; those with nothing are left out."""
    held = "".join(f"<dt>{words(k)}</dt><dd>{v}</dd>" for k, v in given.items() if v)
    if not held:
        return ""
    return f'<dl class="{kind}">{held}</dl>' if kind else f"<dl>{held}</dl>"


def row(cells: Iterable[str], head: bool = False) -> str:
    """A row of plain cells, HTML already; the first one names the row, or all name columns."""
    first, *others = cells
    if head:
        return "<tr>" + "".join(f'<th scope="col">{c}</th>' for c in [first, *others]) + "</tr>"
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{c}</td>" for c in others) + "</tr>"


def command(line: object) -> str:
    """A line for the shell; the page's script puts a button beside it."""
    said = words(line)
    return f'<span class="command"><code>{said}</code></span>' if said else ""


def duration(seconds: float) -> str:
    """Seconds as a reader says them: ``2 h 13 min``, ``4 min 5 s``, ``12 s``."""
    if pd.isna(seconds):
        return ""
    whole = round(float(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def provenance(of: Mapping[str, object]) -> str:
    """Where a number comes from and how to repeat it, of a row of numbers or of substitutes."""
    seconds = of.get("seconds")
    return pairs(
        {
            "Runs": ", ".join(words(of.get("runs")).split(";")),
            "Date": words(of.get("date")),
            "Commit": words(of.get("commit")),
            "Hardware": words(of.get("hardware")),
            "Computing": "" if not words(seconds) else duration(seconds),
            "To repeat": command(of.get("command")),
        }
    )


def target(key: object) -> str:
    """The ``id`` of a published number's row."""
    return f"n-{slug(key)}"
