"""A study as jobs: what the workflow runs, in which words, and what each leaves."""

import pytest

from dslite.errors import InputError
from dslite.studies import jobs as study_jobs
from dslite.studies import study as study_study

STUDY = """\
title: A study
corpora: [small.csv]
augmentations: [none, cutmix]
seeds: [0, 1]
overrides: {epochs_phase2: 0}
"""


@pytest.fixture
def study(small_corpus, tmp_path):
    """Write a study of the small corpus with more lines; gives it loaded."""

    def made(more="", name="mine"):
        file = tmp_path / f"{name}.yaml"
        text = STUDY.replace("small.csv", str(small_corpus)) + more
        file.write_text(text, encoding="utf-8")
        return study_study.load(file)

    return made


def test_a_training_is_told_in_the_notebook_s_parameters(study, small_corpus):
    jobs = study_jobs.jobs(study())
    assert [job.kind for job in jobs.values()] == ["training"] * 4
    key, first = next(iter(jobs.items()))
    assert key == f"small/{first.run}"
    assert first.run.startswith("squeezenet-none-s0-x")
    assert first.output == f"results/small/notebooks/runs/{first.run}.ipynb"
    words = first.words()
    assert f"dataset={small_corpus}" in words
    assert {"augmentation=none", "seed=0", "overrides=epochs_phase2=0"} <= set(words)
    assert len({job.output for job in jobs.values()}) == 4


def test_baselines_folds_and_candidates_are_commands(study, small_corpus):
    found = study_jobs.jobs(study("baselines: [svm, librosa]\nfolds: 3\n"))
    kinds = [job.kind for job in found.values()]
    assert set(kinds) == {"command"}
    by_run = {job.run: job.words() for job in found.values()}
    train = next(words for run, words in by_run.items() if "-cutmix-s1" in run)
    assert train[:2] == ["train", str(small_corpus)]
    assert {"--augmentation=cutmix", "--seed=1", "--folds=3", "--set=epochs_phase2=0"} <= set(train)
    librosa = next(words for run, words in by_run.items() if run.startswith("librosa"))
    assert librosa[:4] == ["baseline", str(small_corpus), "--features", "librosa"]
    assert not [word for word in librosa if "augmentation" in word or "backbone" in word]
    network = next(
        words for run, words in by_run.items() if "-svm-" in run and "librosa" not in run
    )
    assert "network" in network
    assert all(run.endswith("-3folds") for run in by_run)


def test_what_a_job_is_told_is_what_its_folder_is_named_by(study, workplace):
    """The command's own reading of the words comes to the same folder."""
    from dslite import cards, settings
    from dslite.training import runs

    for job in study_jobs.jobs(study()).values():
        told = dict(word.partition("=")[::2] for word in job.words())
        card = cards.load(told["dataset"])
        named = {key: told[key] for key in ("backbone", "augmentation")}
        assert "weights" not in told  # those of the card, which may lie elsewhere tomorrow
        chosen = cards.settings_of(card, told["preset"], told["overrides"], **named)
        place = runs.folder(card, chosen, int(told["seed"]), "", told["preset"])
        assert place == workplace / job.key
        assert settings.parse_overrides(told["overrides"]) == {"epochs_phase2": 0}


def test_weights_that_the_study_names_are_passed_on(study, tmp_path):
    (job, *_) = study_jobs.jobs(study("backbones: [squeezenet]\nweights: random\n")).values()
    assert "weights=random" in job.words()


def test_two_studies_share_the_jobs_that_they_share(study):
    one = study_jobs.jobs(study(name="one"))
    other = study_jobs.jobs(study("baselines: [librosa]\n", name="other"))
    assert set(one) < set(other)
    assert [other[key].output for key in one] == [job.output for job in one.values()]


def test_a_grid_makes_candidates_in_groups(study, small_corpus, tmp_path):
    card = small_corpus.with_suffix(".yaml")
    own = tmp_path / "own.csv"
    own.write_bytes(small_corpus.read_bytes())
    text = card.read_text("utf-8") + "grid: {units: [4, 8], learning_rate: [1.0, 0.5]}\n"
    own.with_suffix(".yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        STUDY.replace("small.csv", str(own)) + "grid: true\n", encoding="utf-8"
    )
    found = study_study.load(tmp_path / "mine.yaml")
    jobs = study_jobs.jobs(found)
    assert len(jobs) == 16
    groups = study_jobs.groups(jobs)
    assert groups == [
        f"own-tuned-squeezenet-{augmentation}-s{seed}"
        for augmentation in ("none", "cutmix")
        for seed in (0, 1)
    ]
    assert all("--devel-only" in job.words() for job in jobs.values())
    assert all(job.folder.parts[0] == "candidates" for job in jobs.values())
    assert all("/candidate-" in job.key for job in jobs.values())
    assert study_jobs.devices(found, jobs) == {}


def test_the_device_gets_the_first_seed_of_each_network(study):
    found = study()
    devices = study_jobs.devices(found, study_jobs.jobs(found))
    assert list(devices) == ["small-tuned-squeezenet"]
    assert [job.point.augmentation for job in devices["small-tuned-squeezenet"]] == [
        "none",
        "cutmix",
    ]
    assert {job.point.seed for job in devices["small-tuned-squeezenet"]} == {0}


def test_a_corpus_that_is_not_here_is_passed_over_and_said(study, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_DATA", str(tmp_path / "nowhere"))
    file = tmp_path / "two.yaml"
    file.write_text("title: t\ncorpora: [demo, ccs]\naugmentations: [none]\n", encoding="utf-8")
    found = study_study.load(file)
    assert {job.dataset for job in study_jobs.jobs(found).values()} == {"demo"}
    (said,) = study_jobs.absent(found)
    assert said.startswith("ccs is not here")
    file.write_text("title: t\ncorpora: [ccs]\naugmentations: [none]\n", encoding="utf-8")
    with pytest.raises(InputError, match="ccs is not here"):
        study_jobs.jobs(study_study.load(file))
