"""Corpora on disk: one module for each layout, one schema for all (`manifest`)."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dslite import paths
from dslite.cards import Card
from dslite.errors import InputError

CARD_LISTS = "the card's lists of speakers"  # where a partition comes from, in words
SHOWN = 20  # problems listed in one message


def read_table(card: Card) -> tuple[Path, pd.DataFrame]:
    """Files of a corpus, their labels, speakers and partitions, in the corpus's own layout.

    Returns
    -------
    folder : Path
        What the paths are relative to.
    table : DataFrame
        Columns of strings ``path`` (with ``/``), ``label`` (empty: unknown), ``speaker`` (empty:
        unknown) and ``partition`` (train, devel or test).

    Raises
    ------
    InputError
        The corpus is not there or not in its layout.

    Notes
    -----
    The demo corpus is generated on its first use.
    """
    # Each layout's module is imported where it is needed: listing datasets needs none of them.
    if card.layout == "demo":
        from dslite.datasets import demo

        folder = paths.cache() / "demo"
        _generate_demo(folder)
        return folder, demo.read(card, folder)
    if card.layout == "ravdess":
        from dslite.datasets import ravdess

        folder = ravdess.top(paths.raw(card.dataset))
        return folder, ravdess.read(card, folder)
    from dslite.datasets import table

    return Path(card.table).parent, table.read(card)


def _generate_demo(folder: Path) -> None:
    from tqdm import tqdm

    from dslite.datasets import demo

    if demo.is_complete(folder):
        return
    print("making the demo corpus ...", file=sys.stderr, flush=True)
    with tqdm(desc="voices", unit="clip", leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        demo.generate(folder, progress=show)


def is_present(card: Card) -> bool:
    """Whether `read_table` has something to read without a download; touches nothing."""
    if card.layout == "demo":
        return True  # made on the spot
    if card.layout == "ravdess":
        from dslite.datasets import ravdess

        return ravdess.is_present(paths.raw(card.dataset))
    return Path(card.table).is_file()


def require_none(problems: Sequence[str], heading: str) -> None:
    """Raise one InputError that lists all problems found, or the first 20 of very many."""
    if not problems:
        return
    lines = [f"{heading}: {len(problems)} problem{'s' * (len(problems) > 1)} to mend"]
    lines += [f"  - {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    raise InputError("\n".join(lines))
