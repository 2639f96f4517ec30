"""What came out, in sentences generated from the rows: the same on the page and in all texts.

The first one is for a reader who knows neither the paper nor statistics.
"""

import itertools
from collections.abc import Iterator

import pandas as pd

from dslite import cards, provenance
from dslite.paper import published
from dslite.paper.comparisons import CLEAN, PARTITION, network
from dslite.paper.published import NAMES
from dslite.paper.reproduction import OF_A_MACHINE, TITLES
from dslite.training.runs import BASELINES, LABELS, LIBROSA, SVM, load

TUNED = "tuned"
WHO = {  # presets and baselines, in the order of a sentence
    "paper": "the paper's method with its printed settings (paper)",
    "authors": "the same as its authors' code reads it (authors)",
    "repaired": "the paper's method at a rate that learns (repaired)",
    TUNED: "our recipe (tuned)",
    SVM: "a support vector machine on the networks' frozen features",
    LIBROSA: "one on acoustic statistics, without a network,",
}


def results(numbers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the paper's results, which were measured, and the properties of its network.

    Of Tables 3 to 5. A score and its interval are one, which the paper contradicts if it does one
    of them; a file that is printed for two devices is one. Chance levels are computed: none.
    """
    rows = numbers.replace({"column": {"ci_low": "test", "ci_high": "test"}})
    rows = rows[~rows["key"].isin(published.SAME_FILE) & (rows["column"] != "chance")]
    rows = rows.sort_values("verdict", key=lambda of: of != published.ITSELF, kind="stable")
    rows = rows.drop_duplicates(["table", "dataset", "configuration", "column"])
    scores, costs = rows[rows["table"].isin((3, 4))], rows[rows["table"] == 5]
    machine = costs["configuration"].isin(OF_A_MACHINE)
    return pd.concat([scores, costs[machine]]), costs[~machine]


def _counted(rows: pd.DataFrame) -> str:
    """Say how many rows have which verdict."""
    counts, words = rows["verdict"].value_counts(), published.words("sentence")
    return ", ".join(f"{counts[v]} {words[v]}" for v in published.ORDER if v in counts)


def in_short(numbers: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Say it all for a reader who knows neither the paper nor statistics."""
    rows, _ = results(numbers)
    tested, of = rows["verdict"].isin(published.TESTED).sum(), rows[rows["dataset"] != ""]
    text = f"{tested or 'None'} of the paper's {len(rows)} results could be checked here"
    locked = of.loc[of["verdict"] == published.RESTRICTED, "dataset"].nunique()
    if locked:
        n, lacking = of["dataset"].nunique(), of["verdict"].eq(published.WEIGHTS).any()
        text += f": {locked} of its {n} corpora are handed out under agreements"
        text += ", and the weights of its network could not be had" if lacking else ""
    texts, about = [f"{text}."], published.table(1).set_index("dataset")["name"]
    for dataset, same in scores[scores["protocol"] == PARTITION].groupby("dataset", sort=False):
        chance = 100 / len(cards.load(dataset).classes)
        spans = [f"guessing gets {chance:.0f} right", *_spans(same)]
        name = f"{NAMES[dataset]} ({about[dataset].lower()})"
        texts.append(f"Of 100 test files of {name}, every class alike, {'; '.join(spans)}.")
    return " ".join(texts)


def _spans(scores: pd.DataFrame) -> Iterator[str]:
    """How many of 100 files each preset and baseline recognises, from the worst to the best."""
    plain = scores["network"].eq([network(row) for row in scores.to_dict("records")])
    kinds = scores["configuration"].where(scores["configuration"].isin(BASELINES), scores["preset"])
    for kind, who in WHO.items():
        of = scores.loc[plain & kinds.eq(kind), "test"].dropna()
        if len(of):
            ends = dict.fromkeys(f"{end:.0f}" for end in (of.min(), of.max()))
            yield f"{who} {' to '.join(ends)}"


def verdicts(numbers: pd.DataFrame) -> str:
    """Say how many results could be reproduced or contradicted, and which properties are equal."""
    rows, properties = results(numbers)
    n = rows["table"].eq(5).sum()
    kinds = f"{len(rows) - n} scores in Tables 3 and 4, {n} times and amounts of memory in Table 5"
    tested = rows["verdict"].isin(published.TESTED)
    if tested.any():
        text = f"{tested.sum()} could be tested by runs of its own network and settings: "
        text += f"{_counted(rows[tested])}; the others: {_counted(rows[~tested])}"
    else:
        text = f"none could be reproduced or contradicted with what can be had: {_counted(rows)}"
    texts = [f"Of the paper's {len(rows)} experimental results ({kinds}) {text}."]
    what = "parameters, operations and sizes"
    texts += [f"Of the {len(properties)} {what} in Table 5: {_counted(properties)}."]
    sizes = ["5/model_size/tflite_cpu", "5/model_size/tf_model"]
    small, large = numbers.set_index("key").reindex(sizes).to_dict("records")
    if large["verdict"] == published.ANOTHER:
        printed, ours = (large[of] / small[of] for of in ("value", "reproduced"))
        texts.append(
            f"That TF Lite makes the file {printed:.1f} times smaller ({large['value']:.1f} to "
            f"{small['value']:.1f} MB) compares weights and the optimizer's state with weights; "
            f"weights with weights it is {ours:.2f} times."
        )
    return " ".join(texts)


def choice(scores: pd.DataFrame) -> list[str]:
    """Say on whose speakers a preset was chosen and, of folds, how the others are recognised."""
    corpora = [card for name in cards.names() if TUNED in (card := cards.load(name)).chosen_on]
    places, texts = " and ".join(NAMES.get(of.dataset, of.title) for of in corpora), []
    for dataset, same in scores.groupby("dataset", sort=False):
        card, name, presets = cards.load(dataset), NAMES[dataset], set(same["preset"])
        used = {of: card.speakers_of_choice(of) for of in card.chosen_on if of in presets}
        if not used:
            text = f"The recipe tuned was chosen on {places}, on no speaker of {name}."
            texts += [text] * (TUNED in presets)
            continue
        every = [preset for preset, of in used.items() if len(of) == len(card.part_of_speaker)]
        whom = {preset: f"{len(of)} ({', '.join(of)})" for preset, of in used.items()}
        whom |= dict.fromkeys(every, "all of them")
        parts = [f"{preset} on {of}" for preset, of in whom.items()]
        test = set(card.partition.get("test", ())) - set(itertools.chain(*used.values()))
        text = f"Of the {len(card.part_of_speaker)} speakers of {name}, recipes were chosen on: "
        text += f"{'; '.join(parts)}."
        text += f" {', '.join(sorted(test))} of test were never used." if test else ""
        for preset in every:
            text += f" So every score of {preset} on {name} is optimistic: other corpora judge it."
        for protocol, clean in same[same["protocol"].str.endswith(CLEAN)].groupby("protocol"):
            folds = protocol.removesuffix(f", {CLEAN}")
            n = same.loc[same["protocol"] == folds, "speakers"].max()
            each = [
                f"{LABELS[row.configuration]}{f' ({row.network})' if row.preset else ''} "
                f"{row.test:.1f} %"
                for row in clean.sort_values("test", ascending=False).itertuples()
            ]
            text += f" The {folds} test all {n}, so that their score is optimistic; on the "
            text += f"{clean['speakers'].max()} clean speakers alone: {', '.join(each)}."
        texts.append(text)
    return texts


def training(runs: pd.DataFrame) -> list[str]:
    """Say what `TUNED` is, and for how many epochs the other presets' final networks learnt."""
    other = runs["configuration"].isin(BASELINES) | runs["random_weights"] | runs["overridden"]
    texts = []
    for (dataset, preset), same in runs[~other].groupby(["dataset", "preset"], sort=False):
        name, loaded = NAMES[dataset], list(map(load, same["folder"]))
        if all(run.settings.head == "ridge" for run in loaded):
            second = sum(run.record.get("kept", {}).get("phase") == 2 for run in loaded)
            texts.append(
                f"What {preset} is on {name}: early layers, frozen, pooled over time, and a solved "
                "head; the paper's second phase, which fine-tunes, was kept in "
                f"{second or 'none'} of {len(loaded)} runs."
            )
            continue
        total = max(run.settings.epochs_phase1 + run.settings.epochs_phase2 for run in loaded)
        epochs = pd.Series([run.record.get("epochs", total) for run in loaded], same["backbone"])
        parts = []
        for backbone, of in epochs.groupby(level=0):
            ends = dict.fromkeys([str(of.min()), str(of.max())])
            parts.append(f"{' to '.join(ends)} ({TITLES.get(backbone, backbone)})")
        text = f"The final networks of {preset} on {name} learnt for {', '.join(parts)} of {total} "
        best = bool(epochs.min() < total) and loaded[0].settings.epoch_choice == "best"
        texts.append(text + f"epochs{'; fewer: cut at the one that was best on devel' * best}.")
    return texts


def cost(runs: pd.DataFrame) -> str:
    """Say what the runs took, from ``seconds`` of `dslite.training.runs.all_runs`."""
    took = provenance.duration_in_words(runs["seconds"].sum())
    machines = " and ".join(sorted(set(filter(None, runs["hardware"]))))
    return f"{len(runs)} runs took {took}, added up, on {machines}."
