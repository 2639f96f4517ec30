"""The commands that train: what they ask for, print and refuse."""

from pathlib import Path

import pandas as pd
import pytest

from dslite import cards
from dslite.datasets.manifest import digest
from dslite.training import baselines, commands, cross_validation, loop, runs
from tests.refusals import assert_refused, refusal
from tests.training.conftest import SHORT


@pytest.mark.parametrize("folds", [(), ("--folds", 3)])
def test_the_baseline_prints_its_scores(command, corpus, workplace, folds):
    words = ("baseline", corpus().card.table, "--features", "librosa", "--seed", 2, *folds)
    status, out, err = command(*words)
    assert (status, err) == (0, "")
    if folds:
        (summary,) = cross_validation.summaries("small")
        for i in (1, 2, 3):
            assert f"fold {i} of 3, test: UAR" in out
        mean, deviation = (100 * summary.record[key] for key in ("mean", "deviation"))
        over, pooled = cross_validation.headline(summary)
        words_of_mean = f"test: UAR {mean:.1f} % ± {deviation:.1f} (mean and standard deviation"
        assert over == f"{words_of_mean} of 3 folds)"
        assert over in out
        assert pooled in out
    else:
        run = runs.load(workplace / "small" / "librosa-svm-s2")
        for partition in ("devel", "test"):
            assert f"{partition}: {runs.headline(run.metrics[partition])}" in out
    assert "librosa-svm-s2" in out
    assert "not repeated" not in out
    assert command(*words)[1].count("not repeated") == (3 if folds else 1)
    for other in (["--force"], ["--set", "bootstrap_draws=40"]):
        assert "not repeated" not in command(*words, *other)[1]


def test_a_runs_table_is_found_by_its_record_or_asked_for(command, corpus, workplace):
    table = Path(corpus().card.table)
    words = (
        "baseline",
        table,
        "--features",
        "librosa",
        "--name",
        "mine",
        "--columns",
        "label=label",
    )
    assert command(*words)[0] == 0
    run = runs.load(workplace / "mine" / "librosa-svm-s0")
    assert run.record["table"] == {"path": str(table), "columns": {"label": "label"}}
    for typed in ("", str(table)):
        built = commands.corpus_of(run, typed)
        assert (built.card.dataset, digest(built)) == ("mine", run.record["manifest"])
    moved = table.with_name("moved.csv")
    table.rename(moved)
    table.with_suffix(".yaml").rename(moved.with_suffix(".yaml"))
    missing = f"the table of this run, {table}, is not there; say where it is with --table"
    assert missing in refusal(commands.corpus_of, run, "")
    assert digest(commands.corpus_of(run, str(moved))) == run.record["manifest"]
    del run.record["table"]  # as runs before that was recorded
    assert "mine.csv, is not there; say where it is with --table" in refusal(
        commands.corpus_of, run, ""
    )
    assert digest(commands.corpus_of(run, str(moved))) == run.record["manifest"]
    # Under the name of these results another corpus is refused.
    moved.write_text(moved.read_text("utf-8").replace(",sad,", ",calm,", 1), "utf-8")
    status, _, err = command("baseline", moved, *words[2:])
    assert status == 2
    assert "--name" in err


def test_the_baseline_takes_the_networks_features_unless_told_otherwise(
    command, corpus, workplace, monkeypatch
):
    built, asked = corpus(), []
    train_baseline = baselines.train_baseline

    def recorder(built, used, seed, preset, force, log, kind):
        asked.append((used.backbone, used.weights, kind))
        return train_baseline(built, used, seed, preset, force, log, runs.LIBROSA)

    monkeypatch.setattr(baselines, "train_baseline", recorder)
    words = ("baseline", built.card.table, "--weights=random")
    assert command(*words, "--backbone=mobilenet_v2")[0] == 0
    assert command(*words, "--features=network")[0] == 0
    assert asked == [("mobilenet_v2", "random", "svm"), ("squeezenet", "random", "svm")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--features networks", "did you mean 'network'"),
        ("--features mfcc", "network, librosa"),
        ("--features librosa --backbone squeezenet", "no backbone"),
        ("--features librosa --weights random", "no backbone"),
        ("--features librosa --set sample_rates=1", "sample_rate"),
        ("--preset nonsense", "nonsense"),
        ("--folds 2", "take 3 to 12 folds"),
        ("--folds 13", "12 speakers"),
    ],
)
def test_what_the_baseline_refuses(command, corpus, workplace, words, message):
    assert_refused(command("baseline", corpus().card.table, *words.split()), message)
    assert not workplace.exists()


def test_a_network_is_trained_in_each_fold(command, corpus, workplace, tiny, monkeypatch):
    learnt, histories, fit = [], [], loop.fit

    def watched(network, task, chunks, *args, devel=None, **options):
        """Both trainings of the first fold in earnest."""
        learnt.append(set(task.store.files["path"].iloc[task.store.file[chunks]]))
        if len(histories) < 2:
            histories.append(fit(network, task, chunks, *args, devel=devel, **options))
        return histories[devel is None]

    monkeypatch.setattr(loop, "fit", watched)
    used = SHORT | {"epochs_phase2": 0}
    card = corpus().card
    librosa = ("baseline", card.table, "--features", "librosa", "--folds", 3)
    theirs = command(*librosa)[1].splitlines()
    words = ["train", card.table, "--weights", tiny, "--folds", 3]
    words += [word for pair in used.items() for word in ("--set", "{}={}".format(*pair))]
    status, out, err = command(*words)
    assert status == 0, err
    name = runs.folder(card, cards.settings_of(card, "", used), 0).name
    assert name.startswith("squeezenet-none-s0-x")
    place = workplace / "small" / f"{name}-3folds"
    predictions = pd.read_csv(place / "predictions.csv")
    assert predictions["file"].nunique() == len(predictions) == 96
    for i in (1, 2, 3):
        assert (place / f"fold{i}" / "model.keras").is_file()
        tested = set(predictions["file"][predictions["fold"] == i])
        assert learnt[2 * i - 1] == set(predictions["file"]) - tested
    lines = out.splitlines()
    (ours,) = (line for line in lines if line.startswith("pooled: UAR"))
    (pooled,) = (line.split(";")[0] for line in theirs if line.startswith("pooled: UAR"))
    at = lines.index(f"{runs.LABELS[runs.LIBROSA]}, same folds: {pooled[8:]}")
    gain, by_speaker = lines[at + 1 : at + 3]
    score, other = (float(text.split()[2]) for text in (ours, pooled))
    assert gain.startswith("  network less baseline: ")
    assert float(gain.split()[3]) == pytest.approx(score - other, abs=0.11)
    numbers = [float(part.split()[1]) for part in by_speaker.split(": ")[1].split(", ")]
    assert (len(numbers), numbers) == (12, sorted(numbers))
    better, worse = (sum(sign * n > 0 for n in numbers) for sign in (1, -1))
    assert f"; {better} of 12 speakers better, {worse} worse" in gain
    assert "same folds" not in "".join(theirs)
    listed = command("results", card.table)[1]
    (line,) = [x for x in listed.splitlines() if x.startswith(f"{place.name}: test: UAR ")]
    assert line.split("; pooled: ")[1] in out
    err = command("train", card.table, "--folds", 0)[2]
    assert "take 3 to 12 folds" in err
