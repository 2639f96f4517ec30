"""Real audio and real ImageNet weights through the training: better than chance, and repeatable."""

import os
from pathlib import Path

import numpy as np
import pytest

from dslite import cards, paths
from dslite.datasets import load_manifest

SHARED = paths.ROOT.parent / "shared"
CORPORA = Path(os.environ.get("DSLITE_REAL_DATA", SHARED / "corpora"))
WEIGHTS = Path(os.environ.get("DSLITE_REAL_WEIGHTS", SHARED / "weights"))
SQUEEZENET = WEIGHTS / "squeezenet_v1.1.weights.h5"


@pytest.mark.real
@pytest.mark.skipif(
    not (CORPORA / "ravdess").is_dir() or not SQUEEZENET.is_file(),
    reason="the real corpus or the real weights are not on this machine",
)
def test_two_epochs_on_ravdess_beat_chance(cache, tmp_path, monkeypatch):
    from dslite.training import experiment

    monkeypatch.setenv("DSLITE_DATA", str(CORPORA))
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    card = cards.load("ravdess")
    used = cards.settings_of(
        card,
        "tuned",
        "image_size=96 epochs_phase1=1 epochs_phase2=1 trained_share=0.2",
        backbone="squeezenet",
        weights=str(SQUEEZENET),
        augmentation="cutmix+specaugment",
    )
    run = experiment.train(load_manifest(card), used, seed=0, log=lambda line: None)
    assert run.metrics["devel"]["file"]["n"] == run.metrics["test"]["file"]["n"] == 176
    assert run.metrics["test"]["file"]["recall"].keys() == set(card.classes)
    for partition in ("devel", "test"):
        score = run.metrics[partition]["file"]["score"]
        assert score > 1.4 / 6, f"{partition}: UAR {score:.3f}, chance {1 / 6:.3f}"
    assert np.isfinite(run.history["train_loss"]).all()
