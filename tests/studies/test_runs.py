"""Where the runs of a study are looked for, and what counts as finished."""

import pytest

from dslite.studies import runs as study_runs
from dslite.studies import study as study_study
from dslite.studies.runs import ABSENT, BASELINE, CANDIDATE, CHOSEN, FINISHED, MISSING, TRAINING
from dslite.training import cross_validation
from dslite.training import runs as training_runs
from tests.studies.finished_study import finish, lay, places


@pytest.fixture
def study(tmp_path, rng, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))

    def laid(card=(), **changed):
        return lay(tmp_path / "birds", rng, card, changed)

    return laid


def states(found):
    return [place.state for place in found]


def test_places_come_in_the_studys_order_and_baselines_last(study):
    file = study()
    found = places(file)
    assert [place.role for place in found] == [TRAINING] * 4 + [BASELINE] * 2
    assert [place.name for place in found] == [
        "birds/squeezenet-none-s0",
        "birds/squeezenet-none-s1",
        "birds/squeezenet-cutmix+specaugment-s0",
        "birds/squeezenet-cutmix+specaugment-s1",
        "birds/squeezenet-svm-s0",
        "birds/librosa-svm-s0",
    ]
    assert [place.point for place in found[:4]] == study_study.expand(study_study.load(file))
    assert set(states(found)) == {MISSING}
    assert not any(place.finished or place.run or place.runs for place in found)


def test_finished_runs_are_read(study):
    file = study()
    for place in places(file)[1:]:
        finish(place)
    found = places(file)
    assert states(found) == [MISSING] + [FINISHED] * 5
    assert [place.run.record["seed"] for place in found[1:]] == [1, 0, 1, 0, 0]
    kinds = [place.run.record["kind"] for place in found[1:]]
    assert kinds == [training_runs.NETWORK] * 3 + [
        training_runs.SVM,
        training_runs.LIBROSA,
    ]


def test_presets_and_overrides_have_places_of_their_own(study):
    plain = [place.folder for place in places(study())]
    slow = [place.folder for place in places(study(presets=["slow"]))]
    other = [place.folder for place in places(study(overrides={"dropout": 0.1}))]
    # Acoustic statistics depend on no dropout: that one place is shared.
    assert set(plain) & set(other) == {plain[-1]}
    assert not set(plain) & set(slow)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", 7, "other seed"),
        ("kind", "svm", "other kind"),
        ("task", "regression", "other task"),
        ("dataset", "fish", "other dataset"),
        ("weights", {"name": "imagenet", "sha256": None, "random": False}, "other weights: name"),
    ],
)
def test_what_is_of_another_recipe_is_not_counted(study, key, value, said):
    file = study()
    finish(places(file)[0], **{key: value})
    first = places(file)[0]
    assert (first.finished, first.runs) == (False, ())
    assert first.state.startswith(MISSING)
    assert said in first.state


def test_a_changed_setting_is_named(study):
    file = study()
    first = places(file)[0]
    _, settings = study_runs.settings_of(first.point)
    finish(first, settings=settings.model_dump() | {"units": 9, "dropout": 0.9})
    assert "other settings: dropout, units" in places(file)[0].state


def test_versions_and_manifest_do_not_matter(study):
    file = study()
    finish(places(file)[0], versions={"dslite": "0.0.1"}, manifest="f" * 64, identity="old")
    assert places(file)[0].finished


def test_a_damaged_record_is_missing(study):
    file = study()
    place = finish(places(file)[0])
    (place / "run.json").write_text("{", encoding="utf-8")
    assert places(file)[0].state == f"{MISSING}: run.json there cannot be read"


def test_a_corpus_that_is_not_here_is_absent_but_what_it_left_counts(study):
    file = study(corpora=["birds.csv", "ess"], backbones=["squeezenet"], weights="random")
    found = places(file)
    assert {place.card.dataset: place.state for place in found} == {"birds": MISSING, "ess": ABSENT}
    finish(next(place for place in found if place.card.dataset == "ess"))
    assert [p.state for p in places(file) if p.card.dataset == "ess"].count(FINISHED) == 1


def test_a_cross_validation_is_finished_when_it_is_gathered(study):
    assert study_runs.GATHERED == cross_validation.LAST
    file = study(folds=3, baselines=[])
    first = places(file)[0]
    assert first.name == "birds/squeezenet-none-s0-3folds"
    finish(first)
    whole = places(file)[0]
    assert (whole.state, len(whole.runs), whole.run) == (FINISHED, 3, None)
    assert [run.folder.name for run in whole.runs] == ["fold1", "fold2", "fold3"]
    (first.folder / "folds.json").write_text('{"identities": ["older"]}', encoding="utf-8")
    assert places(file)[0].state == f"{MISSING}: the folds are not gathered"
    (first.folder / "fold2" / "run.json").unlink()
    assert places(file)[0].state == f"{MISSING}: 2 of 3 folds are finished"


GRID = {"grid": {"units": [8, 32], "dropout": [0.1, 0.4]}}


def test_a_grid_has_candidates_and_a_choice(study):
    file = study(GRID, grid=True, seeds=[0], augmentations=["none"], baselines=[])
    found = places(file)
    assert [place.role for place in found] == [CANDIDATE] * 4 + [CHOSEN]
    assert all(place.folder.parent.name == "candidates" for place in found[:4])
    assert len({place.folder for place in found}) == 5
    for place, devel in zip(found[:3], (0.4, 0.7, 0.5), strict=True):
        finish(place, devel)
    assert places(file)[4].state == f"{MISSING}: 1 of 4 candidates are to be tried first"
    finish(found[3], 0.6)
    chosen = places(file)[4]
    assert (chosen.point, chosen.state) == (found[1].point, MISSING)
    assert chosen.folder.parent.name == "birds"
    finish(chosen)
    assert places(file)[4].finished


def test_a_grid_without_any_score_has_no_choice(study):
    file = study(GRID, grid=True, seeds=[0], augmentations=["none"], baselines=[])
    for place in places(file)[:4]:
        finish(place, None)
    assert "no point of the grid has a devel score" in places(file)[4].state
