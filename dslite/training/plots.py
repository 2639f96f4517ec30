"""Plots of a training: learning curves, SapAugment's policy, a sample under each augmentation."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dslite.plots import COLOURS, METRICS, panels, styled, whole_ticks
from dslite.settings import AUGMENTATIONS, Settings

GREY = 127.5  # stands for 0 after input scaling, the value of masked areas
STRENGTHS = (0.25, 0.6, 1.0)
LINES = ("-", "--", "-.", ":")  # of series, so that they can be told apart in grey


def draw_scores(
    axes: Axes, history: pd.DataFrame, i: int = 1, label: str = "", metric: str = "uar"
) -> pd.Series:
    """Draw the devel score of one run, or of its seeds (thin) and their mean, as series i.

    Takes what `learning_curves` does, with a column ``seed`` if there are several; gives the mean
    by epoch, as far as all seeds have been trained.
    """
    name, factor, _ = METRICS[metric]
    history = history.assign(seed=history.get("seed", 0))
    seeds = factor * history.pivot(index="epoch", columns="seed", values="devel_score")
    mean, style = seeds.dropna().mean(axis=1), {"color": COLOURS[i % 4], "ls": LINES[i % 4]}
    if seeds.shape[1] > 1:
        axes.plot(seeds, lw=0.5, alpha=0.6, **style)
    axes.plot(mean, lw=1.6, label=label, **style)
    axes.set(xlabel="Epoch", ylabel=f"Devel {name}")
    axes.xaxis.set_major_locator(whole_ticks())
    return mean


@styled
def learning_curves(history: pd.DataFrame, metric: str = "uar") -> Figure:
    """Draw losses and, unless it is NaN throughout, the devel score over the epochs of both phases.

    Columns of the history: ``epoch`` (counted through), ``phase`` (1, 2), ``train_loss``,
    ``devel_loss``, ``devel_score`` (a fraction, of the metric "uar" or "spearman"), and perhaps
    ``best`` (whether an epoch was kept), ``learning_rate`` (0 of a solved phase 1, the one point
    that phase 2's curves start from) and ``noise``, above which phase 2 has to gain.

    Examples
    --------
    >>> import pandas as pd
    >>> losses = {"train_loss": [1.4, 1.1], "devel_loss": [1.5, 1.3], "devel_score": [0.4, 0.6]}
    >>> figure = learning_curves(pd.DataFrame({"epoch": [1, 2], "phase": [1, 2]} | losses))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['Loss', 'Devel UAR (%)']
    """
    scored = history["devel_score"].notna().any()
    solved = "learning_rate" in history and history["learning_rate"].iloc[0] == 0
    figure, row = panels(2.7, 1, 1 + scored, squeeze=False)
    for name, dash in (("train", "-"), ("devel", "--")):
        if history[f"{name}_loss"].notna().any():
            row[0, 0].plot(history["epoch"], history[f"{name}_loss"], dash, label=name)
    row[0, 0].set_ylabel("Loss")
    if scored:
        score, digits = draw_scores(row[0, 1], history, metric=metric), METRICS[metric][2]
        epochs = history.loc[history["best"], "epoch"] if "best" in history else [score.idxmax()]
        epoch = next(iter(epochs))
        best = f"{'kept' if solved else 'best'}: {score[epoch]:{digits}} in epoch {epoch}"
        row[0, 1].plot(epoch, score[epoch], "k*", ms=9, label=best)
        if solved and metric == "uar" and "noise" in history:
            above = score.iloc[0] + 100 * history["noise"]
            row[0, 1].plot(history["epoch"], above, "k:", lw=1, label="phase 1 + noise")
    if solved:
        losses = history[["train_loss", "devel_loss"]].iloc[0]
        row[0, 0].plot([history["epoch"].iloc[0]] * 2, losses, "kD", ms=4, label="phase 1, solved")
    second = history.loc[history["phase"] == 2, "epoch"]
    for axes in row[0]:
        if 0 < len(second) < len(history) and not solved:
            axes.axvline(second.min() - 0.5, color="grey", lw=1, ls=":", label="phase 2 begins")
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(whole_ticks())
        axes.legend(fontsize=8)
    return figure


@styled
def policy(settings: Settings) -> Figure:
    """Draw SapAugment's strength and probability over the ranks of a batch (paper 3.2)."""
    from dslite.training import augmentation

    losses = np.arange(settings.batch_size, dtype=np.float32)
    strength = augmentation.strength(losses, settings.sap_a, settings.sap_s)
    figure, axes = panels(2.4)
    ranks = np.arange(1, settings.batch_size + 1)
    axes.plot(ranks, strength, "o-", ms=3, label="strength λ")
    probability = augmentation.probability(strength, settings)
    axes.plot(ranks, probability, "s--", ms=3, label="probability of execution")
    axes.set(xlabel="Rank of the sample's loss in the batch (1: lowest)", ylim=(-0.03, 1.03))
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def examples(mel: np.ndarray, settings: Settings, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Show the first of some samples under the four augmentations at three strengths.

    Takes uint8 [n, mel_bands, frames], at least two (patches come from the others). Gives titles
    and pictures, float32 [image_size, image_size, 3] from 0 to 1; for each strength the four
    configurations in the order of `dslite.settings.AUGMENTATIONS`.
    """
    import tensorflow as tf

    from dslite.features import spectrogram
    from dslite.training import augmentation

    pictures = spectrogram.picture(tf.constant(mel), settings) - GREY
    labels = tf.eye(len(mel))
    always = {"probability_min": 1.0, "probability_max": 1.0, "probability_reading": "paper"}
    settings = settings.model_copy(update=always)
    shown = []
    for strength in STRENGTHS:
        lam = tf.fill([len(mel)], strength)
        seeds = tf.random.split(tf.constant([seed, round(100 * strength)]), 2)
        cut_plan = augmentation.plan_cutmix(lam, seeds[0], settings)
        mask_plan = augmentation.plan_specaugment(lam, seeds[1], settings)
        pasted, mixed = augmentation.apply(pictures, labels, cut_plan, settings)
        masked, both = (
            augmentation.mask(batch, mask_plan, settings) for batch in (pictures, pasted)
        )
        plain = f"λ = {strength:g}"
        cut = f"{plain}, label kept {100 * float(mixed[0, 0]):.0f} %"
        lines = (plain, cut, plain, cut)
        titles = [f"{name}\n{line}" for name, line in zip(AUGMENTATIONS, lines, strict=True)]
        shown += zip(titles, (pictures, pasted, masked, both), strict=True)
    return [(title, ((batch[0] + GREY) / 255).numpy()) for title, batch in shown]
