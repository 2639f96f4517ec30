"""What the plots of a training say: labels, positions, scales."""

import numpy as np
import pandas as pd
import pytest

from dslite.settings import AUGMENTATIONS, Settings
from dslite.training import plots


@pytest.fixture
def history():
    """Five epochs, two of them in phase 1; the fourth is the best."""
    losses = {"train_loss": [2.0, 1.5, 1.2, 1.0, 0.9], "devel_loss": [2.1, 1.8, 1.6, 1.5, 1.6]}
    epochs = {"epoch": [1, 2, 3, 4, 5], "phase": [1, 1, 2, 2, 2]}
    return pd.DataFrame(epochs | losses | {"devel_score": [0.2, 0.3, 0.35, 0.5, 0.45]})


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_learning_curves_mark_the_second_phase_and_the_best_epoch(history):
    loss, score = plots.learning_curves(history).axes
    assert legend(loss) == ["train", "devel", "phase 2 begins"]
    assert loss.get_lines()[2].get_xdata()[0] == 2.5
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("Epoch", "Loss")
    assert score.get_ylabel() == "Devel UAR (%)"
    np.testing.assert_allclose(score.get_lines()[0].get_ydata(), [20, 30, 35, 50, 45])
    star = score.get_lines()[1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (4, 50)
    assert "best: 50.0 in epoch 4" in legend(score)
    _, score = plots.learning_curves(history, "spearman").axes
    assert score.get_ylabel() == "Devel Spearman's ρ"
    assert "best: 0.50 in epoch 4" in legend(score)


def test_phase_2_starts_from_the_solved_head_and_has_to_rise_above_its_noise(history):
    solved = {"phase": [1, 2, 2, 2, 2], "learning_rate": [0.0, 1e-4, 1e-4, 1e-4, 1e-4]}
    solved |= {"noise": [np.nan, 0.2, 0.2, 0.3, 0.3], "best": [True, *[False] * 4]}
    loss, score = plots.learning_curves(history.assign(**solved)).axes
    assert legend(loss) == ["train", "devel", "phase 1, solved"]
    assert loss.get_lines()[2].get_xydata().tolist() == [[1, 2.0], [1, 2.1]]
    assert legend(score) == ["kept: 20.0 in epoch 1", "phase 1 + noise"]
    np.testing.assert_allclose(score.get_lines()[2].get_ydata()[1:], [40, 40, 50, 50])


def test_learning_curves_without_devel_or_second_phase(history):
    final = history.assign(devel_loss=np.nan, devel_score=np.nan)
    (loss,) = plots.learning_curves(final).axes
    assert legend(loss) == ["train", "phase 2 begins"]
    loss, _ = plots.learning_curves(history[:2]).axes
    assert legend(loss) == ["train", "devel"]


def test_the_policy_falls_from_the_easiest_sample_to_the_hardest():
    (axes,) = plots.policy(Settings(batch_size=8)).axes
    ranks, strength = axes.get_lines()[0].get_data()
    probability = axes.get_lines()[1].get_ydata()
    assert list(ranks) == list(range(1, 9))
    assert (np.diff(strength) < 0).all()
    assert strength[-1] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(probability, 0.1 + 0.15 * np.asarray(strength), atol=1e-6)


def test_examples_of_every_augmentation_at_three_strengths(rng):
    mel = rng.integers(0, 256, (3, 32, 40), dtype=np.uint8)
    examples = plots.examples(mel, Settings(image_size=32))
    assert [title.partition("\n")[0] for title, _ in examples] == [*AUGMENTATIONS] * 3
    assert all(picture.shape == (32, 32, 3) for _, picture in examples)
    assert all(0 <= picture.min() <= picture.max() <= 1 for _, picture in examples)
    untouched, *augmented = [picture for _, picture in examples[8:]]
    for picture in augmented:
        assert (picture != untouched).any()
