"""A study as jobs: in which words they run, what counts as finished, what is chosen of a grid."""

import pytest

from dslite import cards, paths
from dslite.studies import expand, load_study, study_jobs
from dslite.studies import jobs as studies_jobs
from dslite.studies.jobs import ABSENT, BASELINE, CANDIDATE, CHOSEN, FINISHED, MISSING, TRAINING
from dslite.training import runs
from dslite.training.runs import LIBROSA, NETWORK, SVM
from tests.finished_runs import into_record
from tests.refusals import refusal
from tests.studies.finished_study import finish, runs_of

OVERRIDES = {"overrides": {"epochs_phase2": 0}}


@pytest.fixture
def jobs_of(lay_study):
    """Jobs of the study of birds, its keys changed as given."""
    return lambda **keys: study_jobs(load_study(lay_study(**{"baselines": [], **keys})))


def test_a_training_has_the_notebook_s_parameters(jobs_of, tmp_path):
    jobs = jobs_of(**OVERRIDES)
    assert len(jobs) == len({job.output for job in jobs.values()}) == 4
    assert all(job.by_notebook for job in jobs.values())
    key, first = next(iter(jobs.items()))
    assert key == first.name == f"birds/{first.folder.name}"
    assert first.folder.name.startswith("squeezenet-none-s0-x")
    assert first.output == f"results/birds/notebooks/runs/{first.folder.name}.ipynb"
    assert f"dataset={tmp_path}/birds/birds.csv" in first.words()
    assert {"augmentation=none", "seed=0", "overrides=epochs_phase2=0"} <= set(first.words())
    for job in jobs.values():  # its folder is named by them
        words = dict(word.partition("=")[::2] for word in job.words())
        card = cards.load(words["dataset"])
        named = {key: words[key] for key in ("backbone", "augmentation")}
        assert "weights" not in words  # those of the card, which may lie elsewhere tomorrow
        used = cards.settings_of(card, words["preset"], words["overrides"], **named)
        assert runs.folder(card, used, int(words["seed"]), NETWORK, words["preset"]) == job.folder
        assert job.folder == paths.results() / job.key
    jobs = jobs_of(backbones=["squeezenet"], weights="imagenet")  # named by the study: passed on
    assert all("weights=imagenet" in job.words() for job in jobs.values())


def test_baselines_and_folds_are_commands(jobs_of, tmp_path):
    jobs = jobs_of(baselines=["svm", "librosa"], folds=3, **OVERRIDES)
    words = {job.folder.name.removesuffix("-3folds"): job.words() for job in jobs.values()}
    assert {(job.by_notebook, job.output[-11:]) for job in jobs.values()} == {
        (False, "-3folds.log")
    }
    assert len(words) == 6
    table = f"{tmp_path}/birds/birds.csv"
    (train,) = (each for run, each in words.items() if "-cutmix+specaugment-s1" in run)
    assert train[:2] == ["train", table]
    options = {"--augmentation=cutmix+specaugment", "--seed=1", "--folds=3"}
    assert options | {"--set=epochs_phase2=0"} <= set(train)
    for start, features in (("squeezenet-svm-", "network"), ("librosa", "librosa")):
        (baseline,) = (each for run, each in words.items() if run.startswith(start))
        assert baseline[:4] == ["baseline", table, "--features", features]
    assert not [word for word in baseline if "augmentation" in word or "backbone" in word]


def test_two_studies_share_the_jobs_that_they_share(jobs_of):
    one, other = jobs_of(), jobs_of(baselines=["librosa"])
    assert set(one) < set(other)
    assert [other[key].output for key in one] == [job.output for job in one.values()]
    # Acoustic statistics depend on no dropout, and a preset has runs of its own.
    changed = jobs_of(baselines=["librosa"], overrides={"dropout": 0.1}, presets=["quick"])
    assert set(other) & set(changed) == set(other) - set(one)
    assert not set(other) & set(jobs_of(presets=["slow"]))


def test_a_grid_makes_candidates_in_groups_and_the_device_gets_none(lay_study):
    grid = {"grid": {"units": [4, 8], "learning_rate": [1.0, 0.5]}}
    study = load_study(lay_study(grid, grid=True, baselines=[]))
    jobs = study_jobs(study)
    assert len(jobs) == 16
    seeded = [f"{name}-s{seed}" for name in ("none", "cutmix+specaugment") for seed in (0, 1)]
    groups = [f"birds-quick-squeezenet-{run}" for run in seeded]
    assert studies_jobs.groups(jobs.values()) == groups
    for job in jobs.values():
        assert "--devel-only" in job.words()
        assert ("/candidates/" in job.name, "/candidate-" in job.key) == (True, True)
    assert studies_jobs.devices(study, jobs) == {}
    # The device gets every seed of each network, the study's first one first, and no candidate.
    study = load_study(lay_study(seeds=[1, 0]))
    devices = studies_jobs.devices(study, study_jobs(study))
    assert list(devices) == ["birds-quick-squeezenet"]
    of = [(job.config.augmentation, job.config.seed) for job in devices.popitem()[1]]
    assert of == [(name, seed) for name in ("none", "cutmix+specaugment") for seed in (1, 0)]


def test_a_corpus_that_is_not_here_is_passed_over_and_named(lay_study, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "nowhere"))
    study = load_study(lay_study(corpora=["demo", "ccs"], baselines=[]))
    assert {job.dataset for job in study_jobs(study).values()} == {"demo"}
    (line,) = studies_jobs.absent(study).values()
    assert line.startswith("ccs is not here")
    study = load_study(lay_study(corpora=["ccs"], baselines=[]))
    assert "ccs is not here" in refusal(study_jobs, study)


def test_runs_come_in_the_studys_order_and_baselines_last(lay_study):
    file = lay_study()
    runs = runs_of(file)
    assert [run.role for run in runs] == [TRAINING] * 4 + [BASELINE] * 2
    names = [f"{name}-s{i}" for name in ("none", "cutmix+specaugment") for i in (0, 1)]
    folders = [*(f"squeezenet-{name}" for name in (*names, "svm-s0")), "librosa-svm-s0"]
    assert [run.name for run in runs] == [f"birds/{folder}" for folder in folders]
    assert [run.config for run in runs[:4]] == expand(load_study(file))
    assert {run.state for run in runs} == {MISSING}
    assert not any(run.finished or run.runs for run in runs)
    for run in runs[1:]:
        finish(run)
    missing, *finished = runs_of(file)
    assert (missing.state, {run.state for run in finished}) == (MISSING, {FINISHED})
    assert [run.runs[0].record["seed"] for run in finished] == [1, 0, 1, 0, 0]
    kinds = [NETWORK] * 3 + [SVM, LIBROSA]
    assert [run.runs[0].record["kind"] for run in finished] == kinds


@pytest.mark.parametrize(
    ("key", "value", "differing"),
    [
        ("seed", 7, "seed"),
        ("kind", "svm", "kind"),
        ("task", "regression", "task"),
        ("dataset", "fish", "dataset"),
        ("weights", {"name": "imagenet", "sha256": None, "random": False}, "weights: name"),
        ("settings", {"units": 9, "dropout": 0.9}, "settings: dropout, units"),
    ],
)
def test_what_is_of_another_recipe_is_not_counted(lay_study, key, value, differing):
    file = lay_study()
    first = runs_of(file)[0]
    settings = first.settings.model_dump()
    finish(first, **{key: settings | value if key == "settings" else value})
    first = runs_of(file)[0]
    assert (first.finished, first.runs) == (False, ())
    assert first.state.startswith(f"{MISSING}: what lies there has other {differing}")


def test_versions_manifest_and_a_corpus_that_is_gone_do_not_matter_but_damage_does(lay_study):
    file = lay_study(corpora=["ess"], backbones=["squeezenet"], weights="random")
    assert {run.state for run in runs_of(file)} == {ABSENT}
    folder = finish(runs_of(file)[0], versions={"dslite": "0.0.1"}, manifest="f" * 64)
    assert [run.state for run in runs_of(file)[:2]] == [FINISHED, ABSENT]
    (folder / "run.json").write_text("{", encoding="utf-8")
    assert runs_of(file)[0].state.endswith(": run.json there cannot be read")


def test_a_cross_validation_is_finished_when_it_is_gathered(lay_study):
    file = lay_study(folds=3, baselines=[])
    first = runs_of(file)[0]
    assert first.name == "birds/squeezenet-none-s0-3folds"
    finish(first)
    whole = runs_of(file)[0]
    assert (whole.state, len(whole.runs)) == (FINISHED, 3)
    assert [run.folder.name for run in whole.runs] == ["fold1", "fold2", "fold3"]
    (first.folder / "folds.json").write_text('{"identities": ["older"]}', encoding="utf-8")
    assert runs_of(file)[0].state == f"{MISSING}: the folds are not gathered"
    (first.folder / "fold2" / "run.json").unlink()
    assert runs_of(file)[0].state == f"{MISSING}: 2 of 3 folds are finished"


@pytest.mark.parametrize("folds", [None, 3])
def test_what_is_recorded_counts_unless_it_is_of_another_recipe(lay_study, folds):
    file = lay_study(folds=folds, baselines=[], seeds=[0])
    first, second = runs_of(file)
    finish(first)
    finish(second, settings=second.settings.model_dump() | {"units": 9})
    into_record(*(run.parent for run in sorted(first.folder.parent.rglob("run.json"))))
    first, second = runs_of(file)
    assert second.state == f"{MISSING}: what is recorded has other settings: units"
    if folds:  # those that were gathered are no part of this record
        assert first.state == f"{MISSING}: the folds are not gathered"
    else:
        assert (first.state, first.recorded) == (FINISHED, True)


@pytest.fixture
def gridded(lay_study):
    """A study with a grid of four points, for none and for both methods."""
    grid = {"grid": {"units": [8, 32], "dropout": [0.1, 0.4]}}
    return lay_study(grid, grid=True, seeds=[0], baselines=[])


def test_the_best_on_devel_is_chosen_in_each_grid_and_of_equals_the_first(gridded):
    scores = (0.7, None, 0.7, 0.6, 0.2, 0.1, 0.3, 0.9)  # on test, 1 less these: another order
    runs = runs_of(gridded)
    assert [run.role for run in runs] == [CANDIDATE] * 8 + [CHOSEN] * 2
    assert all(run.folder.parent.name == "candidates" for run in runs[:8])
    assert len({run.folder for run in runs[:9]}) == 9
    for run, devel in zip(runs[:7], scores, strict=False):
        finish(run, devel)
    assert runs_of(gridded)[9].state == f"{MISSING}: 1 of 4 candidates are to be tried first"
    message = refusal(studies_jobs.rank, runs_of(gridded)[4:8])
    assert f"{runs[7].name}: this point of the grid is not finished" in message
    finish(runs[7], scores[7])
    runs = runs_of(gridded)
    assert [run.config for run in runs[8:]] == [runs[0].config, runs[7].config]
    assert (runs[8].state, runs[8].folder.parent.name) == (MISSING, "birds")
    finish(runs[8])
    assert runs_of(gridded)[8].finished
    table = studies_jobs.rank(studies_jobs.candidates(runs, "birds-quick-squeezenet-none-s0"))
    columns = {"rank": [1, 4, 2, 3], "chosen": [True] + [False] * 3, "point": [0, 1, 2, 3]}
    columns["run"] = [run.name for run in runs[:4]]
    assert table[list(columns)].to_dict("list") == columns
    assert table["overrides"][2] == "dropout=0.1 units=32"
    assert set(table["weights"]) == {"random"}
    message = refusal(studies_jobs.candidates, runs, "birds-quick-squeezenet-none-s1")
    assert "did you mean 'birds-quick-squeezenet-none-s0'" in message


def test_a_grid_without_any_score_has_no_choice(gridded):
    for run in runs_of(gridded)[:4]:
        finish(run, None)
    message = "birds, quick, squeezenet, none, 0: no point of the grid has a devel score"
    assert message in runs_of(gridded)[8].state
