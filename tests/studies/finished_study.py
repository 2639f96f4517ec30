"""A study of an own table whose runs are finished without a training: records, scores, models."""

import pandas as pd

from dslite import provenance
from dslite.studies import load_study, study_runs
from dslite.studies.jobs import CANDIDATE
from dslite.training import runs as training_runs

CARD = {
    "title": "Two birds",
    "licence": "CC BY 4.0",
    "obtain": "Ask the wren.",
    "classes": ["robin", "wren"],
    "settings": {"backbone": "squeezenet", "weights": "random", "sample_rate": 8000},
    "default_preset": "quick",
    "presets": {"quick": {"units": 8}, "slow": {"units": 16}},
    "publish": True,
}
STUDY = {
    "title": "Do birds like augmentation?",
    "corpora": ["birds.csv"],
    "augmentations": ["none", "cutmix+specaugment"],
    "seeds": [0, 1],
    "baselines": ["svm", "librosa"],
}
FILES = [f"{partition}_{i}.wav" for partition in ("train", "devel", "test") for i in range(2)]


def runs_of(study):
    return study_runs(load_study(study))


def finish(run, devel=0.5, **record):
    """Write the files of a run or of a cross-validation; of the test score, what is left to 1."""
    folds = range(1, run.config.folds + 1) if run.config.folds else [0]
    identities = [_finish(run, fold, devel, record) for fold in folds]
    if run.config.folds and run.role != CANDIDATE:
        provenance.write_json(run.folder / "folds.json", {"identities": identities})
        (run.folder / "folds.csv").write_text("fold\n", encoding="utf-8")
    return run.folder


def _finish(run, fold, devel, changed):
    config, folder = run.config, run.folder / (f"fold{fold}" if fold else "")
    described = training_runs.describe(
        run.card, run.settings, config.seed, config.preset, f"{fold}" * 64, config.kind
    )
    described |= {"fold": f"{config.folds}folds/fold{fold}"} if fold else {}
    origin = {"date": f"2026-01-0{1 + config.seed}T10:00:00Z", "commit": "abc+changes"}
    folder.mkdir(parents=True)
    test = None if devel is None else 1 - devel
    scores = {part: {"file": {"score": s}} for part, s in (("devel", devel), ("test", test))}
    provenance.write_json(folder / "metrics.json", scores)
    pd.DataFrame({"file": FILES[4:]}).to_csv(folder / "predictions.csv", index=False)
    for name in ("history.csv", "model.keras", "model.tflite", "secret.wav"):
        (folder / name).write_text(f"{name} of {run.name}\n", encoding="utf-8")
    provenance.write_json(folder / "run.json", described | origin | changed)
    return described["identity"]
