"""One configuration from settings to results: chosen on devel, tested once (paper 3.3)."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import loader, model, paths, runs, training
from dslite.datasets.manifest import Manifest, digest
from dslite.settings import AUGMENTATIONS, Settings


def run(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    force: bool = False,
    log: Callable[[str], None] = print,
) -> runs.Run:
    """One configuration: choose on devel, train the final model, evaluate it once on test.

    The first training (train partition) gives the devel column and the number of epochs; the
    second one (train + devel, as many epochs) gives the model that is kept and the test column
    (paper 3.3). A finished run of the same identity is not repeated.

    Parameters
    ----------
    manifest : Manifest
    settings : Settings
    seed : int
    preset : str
        Only written down.
    force : bool
        Train even if the run is finished already.
    log : callable
        Is given the lines of the log.
    """
    card = manifest.card
    described, place, finished = runs.look_up(
        card, settings, seed, preset, digest(manifest), runs.NETWORK
    )
    if finished and not force:
        log(runs.not_repeated(finished))
        return finished
    begin = time.perf_counter()
    tf.config.experimental.enable_op_determinism()
    if settings.random_weights:
        log("random weights: nothing is pre-trained, the whole network is trained")
    task = training.task_of(card, settings, loader.load(manifest, settings))
    train, devel, test = (task.store.chunks(p) for p in ("train", "devel", "test"))

    log(f"training on train: {len(train)} chunks; devel {len(devel)}, test {len(test)}")
    network = training.build_model(task, train, seed)
    history = training.fit(network, task, train, seed, devel=devel, log=log)
    files = task.store.files

    def scored(chunks: np.ndarray):
        outputs = loader.predict(model.predictor(network, settings), task.store, chunks)
        return runs.score(files, card, settings, task.store.file[chunks], outputs, seed)

    devel_metrics, devel_table = scored(devel)
    epochs = int(history.loc[history["best"], "epoch"].iloc[0]) if len(history) else 0

    log(f"training on train + devel for the {epochs} epochs that were best on devel")
    both = np.concatenate([train, devel])
    network = training.build_model(task, both, seed)
    final = training.fit(network, task, both, seed, epochs=epochs, log=log)
    test_metrics, test_table = scored(test)
    trainings = [history.assign(training="train"), final.assign(training="train+devel")]
    with paths.replacing(place) as draft:
        draft.mkdir()
        network.save(draft / "model.keras")
        pd.concat(trainings).to_csv(draft / "history.csv", index=False)
        runs.write(
            draft,
            described | {"epochs": epochs},
            {"devel": devel_metrics, "test": test_metrics},
            pd.concat([devel_table, test_table], ignore_index=True),
            time.perf_counter() - begin,
        )
    return runs.load(place)


def best_of(
    manifest: Manifest,
    settings: Settings,
    seed: int,
    preset: str = "",
    log: Callable[[str], None] = print,
) -> runs.Run:
    """Of the finished runs of the four augmentations, the one that is best on devel.

    Where none is finished, the configuration of ``settings`` is trained.
    """
    known = digest(manifest)
    each = [settings.model_copy(update={"augmentation": name}) for name in AUGMENTATIONS]
    found = [runs.look_up(manifest.card, s, seed, preset, known, runs.NETWORK)[2] for s in each]
    finished = [done for done in found if done]
    if not finished:
        return run(manifest, settings, seed, preset, log=log)

    def devel(found: runs.Run) -> float:
        score = found.metrics["devel"]["file"]["score"]
        return -np.inf if score is None else score

    return max(finished, key=devel)
