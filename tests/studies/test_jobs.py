"""A study as jobs: what the workflow runs, in which words, and what each leaves."""

import pytest

from dslite import cards, paths, settings
from dslite.errors import InputError
from dslite.studies import jobs as studies_jobs
from dslite.studies import load_study, study_jobs
from dslite.training import runs

OVERRIDES = {"overrides": {"epochs_phase2": 0}}


@pytest.fixture
def jobs_of(lay_study):
    """Jobs of the study of birds, its keys changed as given."""

    def made(card=(), **study):
        return study_jobs(load_study(lay_study(card, **{"baselines": [], **study})))

    return made


def test_a_training_is_told_in_the_notebook_s_parameters(jobs_of, tmp_path):
    jobs = jobs_of(**OVERRIDES)
    assert len(jobs) == len({job.output for job in jobs.values()}) == 4
    assert all(job.by_notebook for job in jobs.values())
    key, first = next(iter(jobs.items()))
    assert key == first.name == f"birds/{first.folder.name}"
    assert first.folder.name.startswith("squeezenet-none-s0-x")
    assert first.output == f"results/birds/notebooks/runs/{first.folder.name}.ipynb"
    assert f"dataset={tmp_path}/birds/birds.csv" in first.words()
    assert {"augmentation=none", "seed=0", "overrides=epochs_phase2=0"} <= set(first.words())


def test_baselines_and_folds_are_commands(jobs_of, tmp_path):
    jobs = jobs_of(baselines=["svm", "librosa"], folds=3, **OVERRIDES)
    for job in jobs.values():
        assert not job.by_notebook
        assert (job.folder.name[-7:], job.output[-11:]) == ("-3folds", "-3folds.log")
    by_run = {job.folder.name: job.words() for job in jobs.values()}
    table = f"{tmp_path}/birds/birds.csv"
    train = next(words for run, words in by_run.items() if "-cutmix+specaugment-s1" in run)
    assert train[:2] == ["train", table]
    wanted = {"--augmentation=cutmix+specaugment", "--seed=1", "--folds=3", "--set=epochs_phase2=0"}
    assert wanted <= set(train)
    librosa = next(words for run, words in by_run.items() if run.startswith("librosa"))
    assert librosa[:4] == ["baseline", table, "--features", "librosa"]
    assert not [word for word in librosa if "augmentation" in word or "backbone" in word]
    network = next(words for run, words in by_run.items() if run.startswith("squeezenet-svm-"))
    assert network[:4] == ["baseline", table, "--features", "network"]


def test_what_a_job_is_told_is_what_its_folder_is_named_by(jobs_of):
    for job in jobs_of(**OVERRIDES).values():
        told = dict(word.partition("=")[::2] for word in job.words())
        card = cards.load(told["dataset"])
        named = {key: told[key] for key in ("backbone", "augmentation")}
        assert "weights" not in told  # those of the card, which may lie elsewhere tomorrow
        used = cards.settings_of(card, told["preset"], told["overrides"], **named)
        assert runs.folder(card, used, int(told["seed"]), "", told["preset"]) == job.folder
        assert settings.parse_overrides(told["overrides"]) == {"epochs_phase2": 0}
        assert job.folder == paths.results() / job.key
    jobs = jobs_of(backbones=["squeezenet"], weights="imagenet")  # named by the study: passed on
    assert all("weights=imagenet" in job.words() for job in jobs.values())


def test_two_studies_share_the_jobs_that_they_share(jobs_of):
    one, other = jobs_of(), jobs_of(baselines=["librosa"])
    assert set(one) < set(other)
    assert [other[key].output for key in one] == [job.output for job in one.values()]
    # Acoustic statistics depend on no dropout, and a preset has runs of its own.
    changed = jobs_of(baselines=["librosa"], overrides={"dropout": 0.1}, presets=["quick"])
    assert set(other) & set(changed) == set(other) - set(one)
    assert not set(other) & set(jobs_of(presets=["slow"]))


def test_a_grid_makes_candidates_in_groups(lay_study):
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


def test_the_device_gets_the_first_seed_of_each_network(lay_study):
    study = load_study(lay_study(seeds=[1, 0]))
    devices = studies_jobs.devices(study, study_jobs(study))
    assert list(devices) == ["birds-quick-squeezenet"]
    first = {job.config.augmentation: job.config.seed for job in devices.popitem()[1]}
    assert first == {"none": 1, "cutmix+specaugment": 1}


def test_a_corpus_that_is_not_here_is_passed_over_and_named(lay_study, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "nowhere"))
    study = load_study(lay_study(corpora=["demo", "ccs"], baselines=[]))
    assert {job.dataset for job in study_jobs(study).values()} == {"demo"}
    (line,) = studies_jobs.absent(study)
    assert line.startswith("ccs is not here")
    with pytest.raises(InputError, match="ccs is not here"):
        study_jobs(load_study(lay_study(corpora=["ccs"], baselines=[])))
