"""A study of an own table whose runs are finished without a training: records, scores, models."""

import json

import pandas as pd
import soundfile
import yaml

from dslite import provenance
from dslite.studies import runs as study_runs
from dslite.studies import study as study_study
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


def lay(folder, rng, card=(), study=()):
    """The table, its audio, its card and the study; gives the study's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{file},{('robin', 'wren')[i % 2]}" for i, file in enumerate(FILES)]
    (folder / "birds.csv").write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    for file in FILES:
        soundfile.write(folder / file, rng.normal(0, 0.1, 800), 8000)
    for name, content in (("birds", CARD | dict(card)), ("flock", STUDY | dict(study))):
        text = yaml.safe_dump(content, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / "flock.yaml"


def places(study):
    return study_runs.of_study(study_study.load(study))


def finish(place, devel=0.5, **record):
    """The files of a place: of a run, or of a cross-validation."""
    folds = place.point.folds
    numbered = range(1, folds + 1) if folds else [0]
    found = [
        _run(place, place.folder / (f"fold{i}" if i else ""), i, devel, record) for i in numbered
    ]
    if folds and place.role != study_runs.CANDIDATE:
        provenance.write_json(place.folder / "folds.json", {"identities": found})
        (place.folder / "folds.csv").write_text("fold\n", encoding="utf-8")
    return place.folder


def _run(place, folder, fold, devel, changed):
    point = place.point
    card, settings = study_runs.settings_of(point)
    kind = study_runs.kind_of(point)
    described = training_runs.describe(
        card, settings, point.seed, point.preset, f"{fold}" * 64, kind
    )
    described |= {"fold": f"{point.folds}folds/fold{fold}"} if fold else {}
    known = {"date": f"2026-01-0{1 + point.seed}T10:00:00Z", "commit": "abc+changes"}
    folder.mkdir(parents=True)
    scores = {part: {"file": {"score": devel}} for part in ("devel", "test")}
    provenance.write_json(folder / "metrics.json", scores)
    pd.DataFrame({"file": FILES[4:]}).to_csv(folder / "predictions.csv", index=False)
    for name in ("history.csv", "model.keras", "model.tflite", "secret.wav"):
        (folder / name).write_text(f"{name} of {place.name}\n", encoding="utf-8")
    provenance.write_json(folder / "run.json", described | known | changed)
    return described["identity"]


def notebook(place, output=""):
    """An executed notebook beside the results; gives its path."""
    file = place.folder.parent / "notebooks" / "runs" / f"{place.folder.name}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = {"output_type": "display_data", "data": {"text/html": output}, "metadata": {}}
    known = {"papermill": {"input_path": "/their/own/place.ipynb", "version": "2.7"}}
    cells = [{"cell_type": "code", "source": "", "metadata": {}, "outputs": [shown]}]
    content = {"cells": cells, "metadata": known, "nbformat": 4, "nbformat_minor": 5}
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
