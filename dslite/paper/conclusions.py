"""What came out, in plain sentences made from the tables: for the report and for the README.

No sentence here is written by hand for one outcome: with other results it says something else.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dslite.errors import InputError
from dslite.evaluation import comparison
from dslite.paper import comparisons, verdicts
from dslite.paper.scores import BASELINES, LABELS
from dslite.studies import markdown

BEGIN = "<!-- results: begin; made by `make paper` from results/records, do not edit -->"
END = "<!-- results: end -->"
PRINTED = "paper: DenseNet121"
JUDGED = (3, 4, 5)  # tables of results; the others describe corpora and settings
WORDS = {  # of a verdict in a sentence
    verdicts.ITSELF: "where the paper contradicts itself",
    verdicts.HARDWARE: "not testable on other hardware",
    verdicts.WEIGHTS: "not run for want of weights",
    verdicts.RESTRICTED: "not run for want of the corpus",
}
AT_CHANCE = 10  # points of UAR above chance within which a network has learnt next to nothing


def counted(numbers: pd.DataFrame) -> str:
    """How many numbers of Tables 3 to 5 got which verdict."""
    judged = numbers[numbers["table"].isin(JUDGED)]
    found = judged["verdict"].value_counts()
    parts = [
        f"{found[verdict]} {WORDS.get(verdict, verdict)}"
        for verdict in verdicts.ORDER
        if verdict in found
    ]
    made = f"Of the {len(judged)} numbers in Tables 3 to 5: {', '.join(parts)}."
    computed = judged[(judged["verdict"] == verdicts.REPRODUCED) & (judged["column"] == "chance")]
    if computed.empty:
        return made
    return f"{made} Of the reproduced ones {len(computed)} are chance levels, which are computed."


def signed(points: float) -> str:
    """Points of UAR with their sign: ``+1.2``, ``−0.4``, ``0.0``."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def network(row: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """``MobileNetV2, tuned``."""
    return ", ".join(
        filter(None, [titles.get(row["backbone"], row["backbone"]), row.get("preset")])
    )


def sides(row: Mapping[str, object]) -> str:
    """What was compared: ``CutMix against none``."""
    this, other = (LABELS.get(row[key], row[key]) for key in ("this", "baseline"))
    if row["question"] == comparisons.PRESETS:
        return f"{LABELS[row['configuration']]}: {row['this']} against {row['baseline']}"
    return f"{this} against {'none' if row['baseline'] == comparisons.NONE else other}"


def answered(rows: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Tested comparisons of `dslite.paper.comparisons.answers` as a reader wants them.

    Returns
    -------
    DataFrame
        Texts: ``network``, ``on``, ``compared``, ``points`` of UAR, ``95 %`` over speakers (over
        files where speakers are unknown), ``p`` after Holm's correction, ``p over files`` (McNemar,
        as if files of one speaker were independent), ``verdict``, which follows the first p.
    """
    made = []
    for row in rows.to_dict("records"):
        suffix = "" if np.isnan(row["low_speakers"]) else "_speakers"
        low, high = (signed(row[f"{end}{suffix}"]) for end in ("low", "high"))
        seeds = f", {row['seeds']} seeds" * (row["seeds"] > 1)
        few = f" (no p below {_least(row):.3g} on {row['units']} speakers)"
        made.append(
            {
                "network": network(row, titles),
                "on": f"{row['protocol']}{seeds}",
                "compared": sides(row),
                "points": signed(row["difference"]),
                "95 %": f"{low} to {high}",
                "p": f"{row['p_holm']:.2g}",
                "p over files": f"{row['p_mcnemar_holm']:.1g}",
                "verdict": row["verdict"] + few * (not decidable(row)),
            }
        )
    return pd.DataFrame(made)


def _least(row: Mapping[str, object]) -> float:
    """The smallest p that so many units can give: all of them on one side, by chance."""
    return 2.0 ** (1 - row["units"])


def decidable(row: Mapping[str, object]) -> bool:
    """Whether a comparison has enough units for any outcome but "not told apart"."""
    return row["verdict"] != comparison.UNDECIDED or _least(row) < comparison.ALPHA


def verdict_of(question: str, answers: pd.DataFrame) -> str:
    """One sentence on all comparisons of a question: how many came out which way."""
    rows = answers[answers["question"] == question]
    better, worse = (
        (rows["verdict"] == side).sum() for side in (comparison.BETTER, comparison.WORSE)
    )
    open_ = len(rows) - better - worse
    few = sum(not decidable(row) for row in rows.to_dict("records"))
    parts = [f"{better} better"] * bool(better) + [f"{worse} worse"] * bool(worse)
    too_few = f" ({few} of them on too few speakers to decide)" * bool(few)
    parts += [f"{open_} not told apart{too_few}"] * bool(open_)
    return f"Of {len(rows)} tested comparisons {', '.join(parts)}."


def deciding(answers: pd.DataFrame) -> pd.DataFrame:
    """Of each question the comparisons on the most speakers: the test that can tell most."""
    most = answers.groupby(["dataset", "question"])["units"].transform("max")
    return answers[answers["units"] == most]


def learnt(means: pd.DataFrame, chance: float, titles: Mapping[str, str]) -> list[str]:
    """Of each network and preset, whether it is above chance at all: a sentence each."""
    networks = means[~means["configuration"].isin(BASELINES)]
    networks = networks[networks["protocol"] == comparisons.PARTITION]
    said = []
    for (backbone, preset), rows in networks.groupby(["backbone", "preset"], sort=False):
        low, high = rows["test"].min(), rows["test"].max()
        span = f"{low:.1f} to {high:.1f} %" if len(rows) > 1 else f"{high:.1f} %"
        who = network({"backbone": backbone, "preset": preset}, titles)
        verdict = "learns next to nothing" if high < chance + AT_CHANCE else "learns"
        said.append(f"{who} {verdict}: test UAR {span} (chance {chance:.1f} %).")
    return said


def scores(means: pd.DataFrame, published: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Test UAR of one corpus: configurations as rows; the paper's and our networks as columns.

    Parameters
    ----------
    means : DataFrame
        Of `dslite.paper.comparisons.means`, one corpus.
    published : DataFrame
        Its rows of Table 3 or 4.
    titles : mapping
        Backbone -> name in print.

    Returns
    -------
    DataFrame
        Texts, ``mean ± deviation`` over the seeds; ``–`` where there is none.
    """
    networks = means.loc[means["backbone"] != "", ["backbone", "preset", "protocol"]]
    networks = networks.drop_duplicates().to_dict("records")
    printed = published.set_index("configuration")["test"].map("{:.1f}".format)
    rows = []
    for configuration, label in LABELS.items():
        row = {"test UAR in %": label, PRINTED: printed.get(configuration, "–")}
        same = means[means["configuration"] == configuration]
        for key in networks:
            fits = same[same["protocol"] == key["protocol"]]
            for column in ("backbone", "preset"):  # acoustic statistics fit: they have neither
                fits = fits[fits[column].isin([key[column], ""])]
            row[_column(key, titles)] = _mean(fits.iloc[0]) if len(fits) else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _column(row: Mapping[str, str], titles: Mapping[str, str]) -> str:
    protocol = "" if row["protocol"] == comparisons.PARTITION else row["protocol"]
    return ", ".join(filter(None, [network(row, titles), protocol]))


def _mean(row: Mapping[str, float]) -> str:
    spread = "" if np.isnan(row["deviation"]) else f" ± {row['deviation']:.1f}"
    return f"{row['test']:.1f}{spread}"


def cost(found: pd.DataFrame) -> str:
    """What the runs took, from ``seconds`` of `dslite.paper.scores.runs`."""
    minutes = found["seconds"].sum() / 60
    took = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.1f} minutes"
    machines = ", ".join(sorted(set(filter(None, found["hardware"]))))
    return f"{len(found)} runs took {took}, added up, on {machines}."


def section(lead: Sequence[str], parts: Mapping[str, pd.DataFrame]) -> str:
    """The README's results: markers around sentences, and tables under bold titles."""
    lines = [BEGIN, *lead]
    for title, table in parts.items():
        lines += ["", f"**{title}**", "", markdown.to_markdown(table)]
    return "\n".join([*lines, END])


def inserted(text: str, made: str, name: str = "README.md") -> str:
    """A text with the part between its markers replaced.

    Raises
    ------
    InputError
        The markers are not there, or not once.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise InputError(f"{name}: expected once '{BEGIN}' and, below it, '{END}'")
    before, rest = text.split(BEGIN)
    return before + made + rest.split(END)[1]
