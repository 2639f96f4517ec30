"""Finished runs without a training: what a run leaves behind, with scores as wanted."""

import json
import shutil

import numpy as np
import pandas as pd

from dslite import cards, paths
from dslite.evaluation import metrics as evaluation_metrics
from dslite.training import records, runs

FILES = 240  # of each partition of a made-up corpus
MACHINE = {"processor": "P", "cores": 2, "memory_gib": 1.0, "system": "S"}


def predicted(classes, right, seed):
    """A partition's labels and predictions, of which the share ``right`` are equal."""
    labels = np.arange(FILES) % len(classes)
    hit = np.arange(FILES) // len(classes) < round(right * FILES / len(classes))
    shifted = (np.random.default_rng(seed).permutation(FILES) % (len(classes) - 1)) + 1
    return labels, np.where(hit, labels, (labels + shifted) % len(classes))


def write_run(
    home,
    dataset="ravdess",
    configuration="none",
    seed=0,
    devel=0.847,
    test=0.766,
    preset="paper",
    metrics=None,
    predictions=True,
    **settings,
):
    """One finished run as `dslite.training.runs.write` leaves it, which recognises these shares."""
    card = cards.load(dataset)
    kind = configuration if configuration == runs.SVM else runs.NETWORK
    named = {} if kind == runs.SVM else {"augmentation": configuration}
    chosen = cards.settings_of(card, preset, "", **settings, **named)
    described = runs.describe(card, chosen, seed, preset, "digest", kind)
    scored, tables = {}, []
    for partition, share in (("devel", devel), ("test", test)):
        labels, guesses = predicted(card.classes, share or 0.5, seed)
        names = np.asarray(card.classes)
        table = pd.DataFrame({"file": [f"{partition}{i}" for i in range(FILES)], "speaker": ""})
        table = table.assign(partition=partition, label=names[labels], prediction=names[guesses])
        scores, order = np.eye(len(names))[guesses], np.arange(FILES)
        scored[partition] = evaluation_metrics.evaluate(
            labels, scores, order, None, names, draws=chosen.bootstrap_draws, seed=seed
        )
        if share is None:  # blinded
            scored[partition], table["label"] = None, ""
        tables.append(table)
    folder = home / dataset / runs.name(chosen, seed, kind, preset)
    folder.mkdir(parents=True)
    shared = ("dataset", "kind", "preset", "seed", "overrides", "task", "classes")
    content = {key: described[key] for key in shared} | {
        **{"backbone": chosen.backbone, "augmentation": chosen.augmentation},
        **{"random_weights": chosen.random_weights, "weights": described["weights"]["name"]},
    }
    (folder / "metrics.json").write_text(json.dumps(content | scored | (metrics or {})))
    if predictions:
        pd.concat(tables).to_csv(folder / "predictions.csv", index=False)
    origin = {"date": f"2026-01-0{seed + 1}", "commit": "abc", "hardware": MACHINE, "seconds": 10.5}
    (folder / "run.json").write_text(json.dumps(described | origin))
    return folder


def evaluation(score, metric="uar", chance=1 / 6, speakers=(0.5, 0.9)):
    """What a run writes down of a partition with this score."""
    level = {"n": 176, "score": score, "interval_files": [score - 0.05, score + 0.05]}
    level |= {"interval_speakers": speakers and list(speakers), "speakers": 9 if speakers else None}
    level |= {"recall": {}, "confusion": []}
    return {"metric": metric, "chance": chance, "file": level, "chunk": level}


def write_metrics(results, configuration="none", dataset="ravdess", **changes):
    """The ``metrics.json`` of a run, which is enough for a table; ``changes`` replace entries."""
    baseline, acoustic = configuration in runs.BASELINES, configuration == runs.LIBROSA
    content = {
        **{"dataset": dataset, "kind": configuration if baseline else runs.NETWORK},
        **{"backbone": "" if acoustic else "densenet121", "preset": "paper", "seed": 0},
        **{"random_weights": False, "weights": "" if acoustic else "imagenet"},
        **{"augmentation": "none" if baseline else configuration},
        **{"overrides": {}, "task": "classification", "classes": ["calm", "sad"]},
        **{"devel": evaluation(0.7), "test": evaluation(0.766)},
    } | changes
    folder = results / dataset
    folder /= f"{content['backbone'] or 'acoustic'}-{configuration}-s{content['seed']}"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def into_record(*folders, study="study"):
    """Move runs (or folds) from the results into a record; gives where they lie now."""
    names = [folder.relative_to(paths.results()).as_posix() for folder in folders]
    contents = {name: records.contents(folder) for name, folder in zip(names, folders, strict=True)}
    records.write(paths.records() / study, contents)
    for folder in folders:
        shutil.rmtree(folder)
    return [paths.records() / study / name for name in names]
