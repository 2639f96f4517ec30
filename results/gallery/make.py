"""Make ``method.png``, the picture in the README, from the results of ``make demo``.

python results/gallery/make.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dslite import cards, paths, plots, tensorflow_logging
from dslite.datasets import load_manifest

tensorflow_logging.import_tensorflow()
from dslite.explanation import explain_files, load_model  # noqa: E402
from dslite.explanation import plots as explanation_plots  # noqa: E402
from dslite.explanation.files import choose_by_rule  # noqa: E402
from dslite.features import draw_mel, load_spectrograms, panel_frequencies  # noqa: E402
from dslite.training import best_run, runs  # noqa: E402

SHOWN = "happy"  # whose most confident test file is drawn: a rule of notebook 6


def scores(axes: Axes, finished: dict[str, runs.Run]) -> None:
    """Test UAR of the network and the baselines, with intervals over files, and chance."""
    for place, (name, run) in enumerate(finished.items()):
        file = run.metrics["test"]["file"]
        low, high = (100 * end for end in file["interval_files"])
        axes.plot([low, high], [place, place], color=plots.COLOURS[place], lw=2)
        axes.plot(100 * file["score"], place, "o", color=plots.COLOURS[place])
        axes.annotate(f"{name}: {100 * file['score']:.0f}", (27, place - 0.25), fontsize=9)
    chance = 100 * run.metrics["test"]["chance"]
    axes.axvline(chance, color="grey", ls="--", lw=1)
    axes.annotate("chance", (chance + 1, len(finished) - 0.55), fontsize=9, color="grey")
    axes.set(yticks=[], ylim=(len(finished) - 0.4, -0.7), xlim=(15, 90))
    axes.set_xlabel(f"UAR of {file['n']} test files (%), 95 % over files")


@plots.styled
def main() -> None:
    """Draw one clip on its way to a decision, and how good such decisions are."""
    card = cards.load("demo")
    corpus, settings = load_manifest(card), cards.settings_of(card)
    run = best_run(corpus, settings, 0)
    store = load_spectrograms(corpus, run.settings)
    chosen = choose_by_rule(run).query("true == @SHOWN").head(1)
    (file,) = explain_files(run, store, load_model(run, store), chosen, log=str)
    hz, (begin, end) = panel_frequencies(run.settings), file.span_s
    (part,) = file.explanations.values()

    figure, axes = plots.panels(5.4, 2, 3, width=11)
    (sound, picture, decision), (overlay, matrix, score) = axes
    rate = run.settings.sample_rate
    sound.plot(np.arange(len(file.waveform)) / rate, file.waveform, lw=0.4)
    sound.set(xlabel="Time (s)", ylabel="Amplitude (full scale: 1)", xlim=(begin, end))
    draw_mel(picture, np.clip(file.picture / 255, 0, 1), begin, end, hz)
    row = run.predictions.set_index("file").loc[file.name, list(run.classes)].astype(float)
    decision.barh(run.classes, 100 * row)
    decision.invert_yaxis()
    decision.set(xlabel="Probability (%)", xlim=(0, 100))
    values = explanation_plots.density(part)
    limit = float(np.quantile(np.abs(values), 0.99))
    image = explanation_plots.draw_overlay(overlay, file, values, limit, hz)
    bar = figure.colorbar(image, ax=overlay, extend="both")
    bar.set_label("against   ←   share   →   for")
    bar.set_ticks([])
    tested = run.predictions.query("partition == 'test'")
    shares = pd.crosstab(tested["label"], tested["prediction"], normalize="index")
    shares = 100 * shares.reindex(index=run.classes, columns=run.classes, fill_value=0)
    matrix.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (i, j), n in np.ndenumerate(shares):
        colour = "white" if n > 60 else "black"
        matrix.text(j, i, f"{n:.0f}" if n else "", ha="center", va="center", color=colour)
    matrix.set_xticks(range(len(shares)), run.classes)
    matrix.set_yticks(range(len(shares)), run.classes)
    matrix.set(xlabel="Decision (numbers: % of the true class)", ylabel="True")
    kinds = {"pre-trained features + SVM": runs.SVM, "acoustic statistics + SVM": runs.LIBROSA}
    others = {name: runs.load(runs.folder(card, settings, 0, of)) for name, of in kinds.items()}
    scores(score, {"this network": run} | others)
    titles = ("1  A sound", "2  Its picture", f"3  The network's decision: {SHOWN}")
    titles += (f"4  What spoke for {SHOWN}", "5  All test files", "6  How good is that?")
    for each, title in zip(axes.flat, titles, strict=True):
        each.set_title(title, fontsize=11)
    target = Path(__file__).with_name("method.png")
    plots.save(figure, target, dpi=110)
    target.write_bytes(plots.reduced(target))
    print(paths.shown(target))


if __name__ == "__main__":
    main()
