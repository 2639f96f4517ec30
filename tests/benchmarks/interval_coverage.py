"""How often intervals and tests over few speakers are right, on drawn corpora.

    python tests/benchmarks/interval_coverage.py

A speaker's recalls come from a beta distribution, and each of their files is right with that
probability: 6 classes and 44 files a speaker, as in RAVDESS. Two configurations of the same mean
suit each speaker alike, or differently. Counted are the intervals that hold the mean of all
speakers that there could be, and how often a test calls the two different. Takes two minutes and
replaces ``results/benchmarks/coverage.md``.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm, t
from timing import write

from dslite.evaluation import metrics, significance

SPEAKERS, REPEATS, PAIRS, DRAWS = (4, 6, 8, 23), 4000, 1000, 2000
FILES = np.repeat(np.arange(6), [4, 8, 8, 8, 8, 8])  # classes of one speaker's
CASES = {"75": (0.75, 0.08), "85": (0.85, 0.08)}  # mean and deviation of speakers
TEXT = """# How often intervals and tests over few speakers are right

`python tests/benchmarks/interval_coverage.py`: {:,} drawn corpora a row ({:,} pairs in the second
table), 6 classes, 44 files a speaker. All figures are per cent.

## Intervals of a UAR that should hold the true one in 95 %

In brackets half the mean width. The package takes Student's t with the jackknife over speakers
(`dslite.evaluation.metrics.over_speakers`). Percentiles, expanded or not, cannot reach beyond the
worst and the best speaker, who enclose the mean in 7 of 8 cases of 4 (ties aside). Of 4 speakers t
is right but so wide that the package shows their four points instead.

{}

## Two configurations that are equally good

How often the 95 % interval of the speakers' mean gain holds 0, and how often the sign-flip tests
call the two different, which should be 5 at most. Each configuration suits some speakers; in the
last column both suit the same. Files answer for these speakers: who takes that answer for new
speakers is wrong more often.

{}
"""
T, EXPANDED, PLAIN = "t over speakers", "expanded percentile", "percentile"


def qualities(rng, mean: float, deviation: float, speakers: int) -> np.ndarray:
    """Draw each speaker's recall: float [speakers, 1]."""
    n = mean * (1 - mean) / deviation**2 - 1
    return rng.beta(mean * n, (1 - mean) * n, (speakers, 1))


def recognised(rng, quality: np.ndarray) -> np.ndarray:
    """Draw which files are recognised: bool [speakers, files]."""
    return rng.random((len(quality), len(FILES))) < quality


def intervals(rng, right: np.ndarray) -> dict[str, metrics.Interval]:
    """Intervals of the UAR by each function; the first is the package's."""
    n, labels = len(right), np.tile(FILES, len(right))
    of = np.repeat(np.arange(n), len(FILES))
    ends = {T: metrics.speaker_interval(labels, np.where(right.ravel(), labels, -1), of)}
    uars = np.stack([right[:, label == FILES].mean(axis=1) for label in range(6)]).mean(axis=0)
    means = uars[rng.integers(n, size=(DRAWS, n))].mean(axis=1)
    tail = norm.cdf(t.ppf(0.025, n - 1) * np.sqrt(n / (n - 1)))
    for name, share in ((EXPANDED, tail), (PLAIN, 0.025)):
        ends[name] = np.quantile(means, [share, 1 - share])
    return ends


def coverage(mean: float, deviation: float, speakers: int) -> dict[str, str]:
    """Count over drawn corpora what each interval holds, and how wide it is: in per cent."""
    rng, ends = np.random.default_rng(0), []
    for _ in range(REPEATS):
        right = recognised(rng, qualities(rng, mean, deviation, speakers))
        ends.append(intervals(rng, right))
    row = {}
    for name in ends[0]:
        low, high = 100 * np.array([of[name] for of in ends]).T
        held = 100 * np.mean((low <= 100 * mean) & (100 * mean <= high))
        row[name] = f"{held:.1f} (± {np.mean(high - low) / 2:.1f})"
    return row


def errors(mean: float, deviation: float, speakers: int) -> dict[str, str]:
    """Count how often two equally good configurations differ: in per cent."""
    rng, p, held = np.random.default_rng(0), [], []
    labels, of = np.tile(FILES, speakers), np.repeat(np.arange(speakers), len(FILES))
    for _ in range(PAIRS):
        one, other = (qualities(rng, mean, deviation, speakers) for _ in range(2))
        for second in (one, other):  # suits the same speakers, or others
            rights = (recognised(rng, quality).ravel() for quality in (one, second))
            both = [np.where(right, labels, -1) for right in rights]
            before, after = (significance.recall_shares(labels, each) for each in both)
            p.append(significance.sign_flip(after - before))
        gains = significance.speaker_gains(labels, *both, of)
        p.append(significance.sign_flip(gains))
        low, high = metrics.over_speakers(lambda each, of=gains: of[each].mean(), gains.index)
        held.append(low <= 0 <= high)
    wrong = 100 * (np.reshape(p, (-1, 3)) < significance.ALPHA).mean(axis=0)
    return {
        "interval holds 0": f"{100 * np.mean(held):.1f}",
        "speakers, p < 0.05": f"{wrong[2]:.1f}",
        "files, p < 0.05": f"{wrong[1]:.1f}",
        "files, p < 0.05, of alike": f"{wrong[0]:.1f}",
    }


def main() -> None:
    """Count for every number of speakers, and write the figures."""
    metrics.FEWEST = min(SPEAKERS)  # to see what an interval of 4 would be
    held, wrong = [], []
    for case, of in CASES.items():
        for speakers in SPEAKERS:
            where = {"speakers": speakers, "their UARs": f"{case} ± {100 * of[1]:.0f}"}
            held.append(where | coverage(*of, speakers))
            wrong.append(where | errors(*of, speakers))
            print(held[-1], wrong[-1], flush=True)
    tables = (
        pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) for rows in (held, wrong)
    )
    text = TEXT.format(REPEATS, PAIRS, *tables)
    write("coverage.md", text.splitlines())


if __name__ == "__main__":
    main()
