"""Where the paper agrees with itself and where it does not, computed from what it prints.

Every check runs over all rows that it applies to, so what holds is found too. The checks are in
`dslite.paper.score_checks` and `dslite.paper.device_checks`; here are those of the text, and all together.
"""

import pandas as pd

from dslite.errors import InputError
from dslite.paper import device_checks, published, score_checks
from dslite.paper.published import NAMES
from dslite.paper.score_checks import COLUMNS, NETWORKS, finding, gains, half, listed, meets, wide

HOLDS, FAILS, SETTING = "holds", "does not hold", "a setting, not a result"
# How the column `check` of claims.csv begins where it says at once how a claim is decided; all
# others have a finding of their own, with the claim's id.
COMPARED, A_SETTING, UNTESTABLE = "compared with Table", "a setting", "not testable here: "
# RAVDESS song can be had, and its 1,012 files hold six emotions: the table is right, not the text.
COUNTED = {"1/ravdess/classes"}
PREFIXES = {"kB": ("MB", 1e-3)}  # unit of a claim -> unit of the table, factor


def findings() -> pd.DataFrame:
    """Everything that can be derived from the published tables and claims alone.

    Returns
    -------
    DataFrame
        ``id`` (a claim's, where the finding decides one), ``place, printed, derived`` in words,
        ``holds`` (bool), ``explanation`` and ``keys``, joined by ";": the numbers of
        `dslite.paper.published.numbers` that cannot all be right, less those that a claim of the text
        bears out or that were counted (`COUNTED`). A mistake in a caption or in the text, a missing
        cell and another name for a quantity (FLOPs) make no number of a table doubtful.
    """
    one, two, five = (published.table(n) for n in (1, 2, 5))
    scores, claims = published.scores(), published.claims()
    said = claims.set_index("id")["value"]
    found = [
        *compared(claims, published.numbers()),
        *score_checks.improvements(scores, claims),
        *score_checks.augmentations(scores),
        *score_checks.superiorities(scores, int(said["fusion-superior"])),
        *small_corpora(scores, one, said["small-corpora"].split()),
        *largest_gain(scores, said),
        *recalls(scores, said),
        *sums(claims),
        *totals(scores, one, said),
        *captions(said),
        *device_checks.columns(two, claims),
        *device_checks.layer_shares(two),
        *device_checks.times(five, claims),
        *device_checks.network_sizes(one, two, five),
        *score_checks.durations(one),
        *score_checks.chance_levels(scores, one),
        *score_checks.insides(scores),
        *score_checks.centres(scores),
        *score_checks.repeats(scores),
        *score_checks.selections(scores),
        *gaps(scores),
    ]
    rows = pd.DataFrame(found, columns=COLUMNS)
    sure = COUNTED | confirmed(rows, claims)
    doubted = [";".join(k for k in keys.split(";") if k not in sure) for keys in rows["keys"]]
    return rows.assign(keys=doubted)


def confirmed(found: pd.DataFrame, claims: pd.DataFrame) -> set[str]:
    """Keys of the numbers that a claim of the text agrees with."""
    about = claims.set_index("id")["key"]
    holding = found.loc[found["holds"], "id"]
    return set(about.reindex(holding).dropna()) - {""}


def claims_checked() -> pd.DataFrame:
    """`dslite.paper.published.claims` with what was ``derived`` and the ``outcome``.

    The outcome is "holds", "does not hold", "not testable here: <why>" or, where the text merely
    says how something was done, "a setting, not a result".

    Raises
    ------
    InputError
        A claim that nothing decides.
    """
    claims = published.claims()
    found = findings().drop_duplicates("id").set_index("id")
    derived, outcomes = [], []
    for claim in claims.itertuples():
        if claim.id in found.index:
            derived.append(found.loc[claim.id, "derived"])
            outcomes.append(HOLDS if found.loc[claim.id, "holds"] else FAILS)
        elif claim.check.startswith((A_SETTING, UNTESTABLE)):
            derived.append("")
            outcomes.append(SETTING if claim.check.startswith(A_SETTING) else claim.check)
        else:
            raise InputError(
                f"data/paper/claims.csv: no finding decides claim {claim.id!r}; write a check for "
                f"it in dslite/consistency.py, or begin its check with {UNTESTABLE!r}"
            )
    return claims.assign(derived=derived, outcome=outcomes)


def compared(claims: pd.DataFrame, numbers: pd.DataFrame) -> list[dict]:
    """What the text repeats from a table is the same there."""
    table = numbers.set_index("key")
    rows = []
    for claim in claims[claims["check"].str.startswith(COMPARED)].itertuples():
        number = table.loc[claim.key]
        unit, factor = PREFIXES.get(claim.unit, (claim.unit, 1))
        holds = abs(float(claim.value) * factor - number["value"]) < half(claim.value) * factor
        place = f"Section {claim.section} and Table {number['table']}"
        place += f", {NAMES[number['dataset']]}" if number["dataset"] else ""
        wrong = f"The text: {claim.statement}."
        same = "The text and the table agree."
        printed = f"{claim.value} {claim.unit}, text"
        derived = f"{number['value']:,g} {unit}, Table {number['table']}"
        explanation = same if holds else wrong
        rows.append(finding(claim.id, place, printed, derived, holds, explanation, [claim.key]))
    return rows


def small_corpora(scores: pd.DataFrame, counts: pd.DataFrame, named: list[str]) -> list[dict]:
    """Whether augmentation gains more on the corpora ``named`` as small than on the others.

    Medians, as one corpus (MPSSC) outweighs all others in a mean.
    """
    gain, files = gains(scores), counts.set_index("dataset")["files"]
    others = gain.drop(named)
    small, large = gain[named].median(), others.median()
    single = ", ".join(f"{NAMES[d]} {value:.1f}" for d, value in gain.sort_values().items())
    rank = gain.rank().corr(files[gain.index].rank())
    said = (
        f"Gains in percent: {single}. Means: {gain[named].mean():.1f} and {others.mean():.1f}; "
        f"rank correlation with the number of files {rank:+.2f}."
    )
    place, printed = "Section 3.3, small corpora", f"a larger gain for {listed(named)}"
    derived = f"median gain {small:.1f} % against {large:.1f} % for the others"
    return [finding("small-corpora", place, printed, derived, small > large, said)]


def largest_gain(scores: pd.DataFrame, said: pd.Series) -> list[dict]:
    """The corpus on which augmentation gains most is the one that the text names."""
    gain, named = gains(scores), said["largest-gain"]
    first, second = gain.nlargest(2).index
    place, printed = "Section 3.3, largest gain", NAMES[named]
    derived = f"{NAMES[first]}, {gain[first]:+.1f} %"
    following = f"Next is {NAMES[second]} with {gain[second]:+.1f} %."
    return [finding("largest-gain", place, printed, derived, first == named, following)]


def recalls(scores: pd.DataFrame, said: pd.Series) -> list[dict]:
    """Sensitivity and specificity of CSS give its best UAR, and CCS is confused less than CSS."""
    best = wide(scores)[NETWORKS].max(axis=1)
    sensitivity, specificity = float(said["css-sensitivity"]), float(said["css-specificity"])
    mean = (sensitivity + specificity) / 2
    key = f"3/css/{wide(scores)[NETWORKS].loc['css'].idxmax()}/test"
    lost = {corpus: 100 - best[corpus] for corpus in ("ccs", "css")}
    return [
        finding("css-sensitivity", "Section 3.5 and Table 3, CSS", f"{best['css']} %, Table 3",
                f"({sensitivity} + {specificity}) / 2 = {mean:.1f} %",
                meets(str(best["css"]), mean - 0.05, mean + 0.05),
                "The mean recall of two classes is that of sensitivity and specificity.", [key]),
        finding("css-specificity", "Section 3.5, CSS", "specificity above sensitivity",
                f"{specificity} - {sensitivity} = {specificity - sensitivity:+.1f}",
                specificity > sensitivity, "Only the order is checked, not what is much."),
        finding("ccs-confusion", "Section 3.5, CCS and CSS", "CCS confuses less",
                f"{lost['ccs']:.1f} % against {lost['css']:.1f} %", lost["ccs"] < lost["css"],
                "Of two classes the mean share of confused files is 100 % - UAR."),
    ]  # fmt: skip


def sums(claims: pd.DataFrame) -> list[dict]:
    """Women and men (``<dataset>-sexes``, "23+45") are the speakers that the text counts."""
    said, rows = claims.set_index("id")["value"], []
    for claim in claims[claims["id"].str.endswith("-sexes")].itertuples():
        dataset = claim.id.removesuffix("-sexes")
        total, added = int(said[f"{dataset}-speakers"]), sum(map(int, claim.value.split("+")))
        place, printed = f"Section {claim.section}, {NAMES[dataset]}", f"{total} speakers"
        derived, explanation = f"{claim.value} = {added}", "Women and men are all speakers."
        rows.append(finding(claim.id, place, printed, derived, total == added, explanation))
    return rows


def totals(scores: pd.DataFrame, counts: pd.DataFrame, said: pd.Series) -> list[dict]:
    """As many corpora and configurations as the text counts are in the tables."""
    corpora = {len(counts), scores["dataset"].nunique()}
    networks = set(scores[scores["configuration"] != "svm"].groupby("dataset").size())
    rows = []
    for name, found in (("corpora", corpora), ("configurations", networks)):
        derived = ", ".join(map(str, sorted(found)))
        place, holds = f"Section 3, number of {name}", found == {int(said[name])}
        rows.append(finding(name, place, said[name], derived, holds, "Counted in the tables."))
    return rows


def captions(said: pd.Series) -> list[dict]:
    """Captions against the method: Figure 2's axes, and the year of the challenge in Table 4."""
    longest = max(map(float, said["row-chunk_length_s"].split()))
    nyquist = 1000 * float(said["sample-rate"]) / 2
    year, text = said["snore-year-caption"], said["snore-year-text"]
    seconds, hertz = said["figure2-time"], said["figure2-frequency"]
    return [
        finding("figure2-time", "Figure 2, time axis", f"0 to {seconds} s",
                f"chunks of at most {longest} s (Table 2)", float(seconds) <= longest,
                "A network sees no more than a chunk."),
        finding("figure2-frequency", "Figure 2, frequency axis", f"0 to {hertz} Hz",
                f"0 to {nyquist:.0f} Hz, half the sample rate", float(hertz) == nyquist,
                "The Mel bands reach to half the sample rate of section 2.1."),
        finding("snore-year-caption", "Table 4, caption, year of the Snore sub-challenge", year,
                f"{text}, section 3.1.5", year == text, "The text says whose partition was used."),
    ]  # fmt: skip


def gaps(scores: pd.DataFrame) -> list[dict]:
    """Devel scores lie off their test scores: section 4 speaks of a gap."""
    devel = scores["devel"]
    outside = (devel < scores["ci_low"]) | (devel > scores["ci_high"])
    derived = f"{outside.sum()} of {len(scores)} outside the interval of their test score"
    place, printed = "Section 4, devel and test", "a gap"
    signs = f"Test is the higher one in {(scores['test'] > devel).sum()} of {len(scores)}."
    return [finding("devel-test-gap", place, printed, derived, outside.any(), signs)]
