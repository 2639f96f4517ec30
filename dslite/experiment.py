"""One configuration from settings to results: chosen on devel, tested once (paper 3.3)."""

import shutil
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import tensorflow as tf

from dslite import loader, model, paths, progress, runs, scoring, steps, training
from dslite.datasets.manifest import Manifest
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
    (paper 3.3). A finished run of the same identity is not repeated, an interrupted one goes on
    from its last finished epoch.

    Parameters
    ----------
    manifest : Manifest
    settings : Settings
    seed : int
    preset : str
        Only written down.
    force : bool
        Train from the start even if the run is finished or was interrupted.
    log : callable
        Is given the lines of the log.
    """
    card = manifest.card
    described, place, finished = runs.look_up(manifest, settings, seed, preset, runs.NETWORK)
    if finished and not force:
        log(runs.not_repeated(finished))
        return finished
    begin = time.perf_counter()
    tf.config.experimental.enable_op_determinism()
    if settings.random_weights:
        log("random weights: nothing is pre-trained, the whole network is trained")
    task = steps.task_of(card, settings, loader.load(manifest, settings))
    train, devel, test = (task.store.chunks(p) for p in ("train", "devel", "test"))
    trunks = steps.Trunks(task, log)
    interrupted = paths.cache() / "checkpoints" / card.dataset / described["identity"][:16]
    boards = paths.cache() / "tensorboard" / place.relative_to(paths.results())
    if force:
        shutil.rmtree(interrupted, ignore_errors=True)
    if not interrupted.exists():
        shutil.rmtree(boards, ignore_errors=True)

    def trained(name: str, chunks: np.ndarray, **given):
        network = training.build_model(task, chunks, seed)
        history = training.fit(
            network,
            task,
            chunks,
            seed,
            trunks=trunks,
            checkpoint=(interrupted / f"{name}.npz", described["identity"]),
            board=progress.tensorboard(boards / name),
            log=log,
            **given,
        )
        return network, history

    def scored(network, chunks: np.ndarray):
        whole = model.predictor(network, settings)
        outputs = loader.predict(whole, task.store.mel, chunks)
        return scoring.score(
            task.store.files, card, settings, task.store.file[chunks], outputs, seed
        )

    log(f"training on train: {len(train)} chunks; devel {len(devel)}, test {len(test)}")
    network, history = trained("train", train, devel=devel)
    devel_metrics, devel_table = scored(network, devel)

    epochs = training.epochs_to_best(history)
    log(f"training on train + devel for the {sum(epochs.values())} epochs that were best on devel")
    both = np.concatenate([train, devel])
    network, final = trained("train+devel", both, epochs=epochs)
    test_metrics, test_table = scored(network, test)
    trainings = [history.assign(training="train"), final.assign(training="train+devel")]
    with paths.replacing(place) as draft:
        draft.mkdir()
        network.save(draft / "model.keras")
        pd.concat(trainings).to_csv(draft / "history.csv", index=False)
        runs.write(
            draft,
            described | {"epochs": sum(epochs.values())},
            {"devel": devel_metrics, "test": test_metrics},
            pd.concat([devel_table, test_table], ignore_index=True),
            time.perf_counter() - begin,
        )
    shutil.rmtree(interrupted, ignore_errors=True)
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
    each = [settings.model_copy(update={"augmentation": name}) for name in AUGMENTATIONS]
    found = [runs.look_up(manifest, s, seed, preset, runs.NETWORK)[2] for s in each]
    finished = [done for done in found if done]
    if not finished:
        return run(manifest, settings, seed, preset, log=log)

    def devel(found: runs.Run) -> float:
        score = found.metrics["devel"]["file"]["score"]
        return -np.inf if score is None else score

    return max(finished, key=devel)
