"""Where the runs of a study are looked for, what counts as finished, what is chosen of a grid."""

import pytest

from dslite.studies import expand, load_study
from dslite.studies import runs as studies_runs
from dslite.studies.jobs import BASELINE, CANDIDATE, CHOSEN, TRAINING
from dslite.studies.runs import ABSENT, FINISHED, MISSING
from dslite.training import cross_validation
from dslite.training import runs as training_runs
from tests.refusals import refusal
from tests.studies.finished_study import finish, runs_of


def test_runs_come_in_the_studys_order_and_baselines_last(lay_study):
    file = lay_study()
    runs = runs_of(file)
    assert [run.role for run in runs] == [TRAINING] * 4 + [BASELINE] * 2
    networks = [
        f"squeezenet-{name}-s{i}" for name in ("none", "cutmix+specaugment") for i in (0, 1)
    ]
    folders = [*networks, "squeezenet-svm-s0", "librosa-svm-s0"]
    assert [run.name for run in runs] == [f"birds/{folder}" for folder in folders]
    assert [run.config for run in runs[:4]] == expand(load_study(file))
    assert {run.state for run in runs} == {MISSING}
    assert not any(run.finished or run.run or run.runs for run in runs)
    for run in runs[1:]:
        finish(run)
    missing, *finished = runs_of(file)
    assert (missing.state, {run.state for run in finished}) == (MISSING, {FINISHED})
    assert [run.run.record["seed"] for run in finished] == [1, 0, 1, 0, 0]
    kinds = [training_runs.NETWORK] * 3 + [training_runs.SVM, training_runs.LIBROSA]
    assert [run.run.record["kind"] for run in finished] == kinds


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
    finish(first, **{key: first.settings.model_dump() | value if key == "settings" else value})
    first = runs_of(file)[0]
    assert (first.finished, first.runs) == (False, ())
    assert first.state.startswith(f"{MISSING}: what lies there has other {differing}")


def test_versions_and_manifest_do_not_matter_but_damage_does(lay_study):
    file = lay_study()
    folder = finish(runs_of(file)[0], versions={"dslite": "0.0.1"}, manifest="f" * 64)
    assert runs_of(file)[0].finished
    (folder / "run.json").write_text("{", encoding="utf-8")
    assert runs_of(file)[0].state == f"{MISSING}: run.json there cannot be read"


def test_a_corpus_that_is_not_here_is_absent_but_what_it_left_counts(lay_study):
    file = lay_study(corpora=["birds.csv", "ess"], backbones=["squeezenet"], weights="random")
    runs = runs_of(file)
    assert {run.dataset: run.state for run in runs} == {"birds": MISSING, "ess": ABSENT}
    finish(next(run for run in runs if run.dataset == "ess"))
    assert [run.state for run in runs_of(file) if run.dataset == "ess"].count(FINISHED) == 1


def test_a_cross_validation_is_finished_when_it_is_gathered(lay_study):
    assert studies_runs.GATHERED == cross_validation.LAST
    file = lay_study(folds=3, baselines=[])
    first = runs_of(file)[0]
    assert first.name == "birds/squeezenet-none-s0-3folds"
    finish(first)
    whole = runs_of(file)[0]
    assert (whole.state, len(whole.runs), whole.run) == (FINISHED, 3, None)
    assert [run.folder.name for run in whole.runs] == ["fold1", "fold2", "fold3"]
    (first.folder / "folds.json").write_text('{"identities": ["older"]}', encoding="utf-8")
    assert runs_of(file)[0].state == f"{MISSING}: the folds are not gathered"
    (first.folder / "fold2" / "run.json").unlink()
    assert runs_of(file)[0].state == f"{MISSING}: 2 of 3 folds are finished"


GRID = {"grid": {"units": [8, 32], "dropout": [0.1, 0.4]}}


@pytest.fixture
def gridded(lay_study):
    return lay_study(GRID, grid=True, seeds=[0], augmentations=["none"], baselines=[])


def test_a_grid_has_candidates_and_a_choice(gridded):
    runs = runs_of(gridded)
    assert [run.role for run in runs] == [CANDIDATE] * 4 + [CHOSEN]
    assert all(run.folder.parent.name == "candidates" for run in runs[:4])
    assert len({run.folder for run in runs}) == 5
    for run, devel in zip(runs[:3], (0.4, 0.7, 0.5), strict=True):
        finish(run, devel)
    assert runs_of(gridded)[4].state == f"{MISSING}: 1 of 4 candidates are to be tried first"
    message = refusal(studies_runs.rank, runs_of(gridded)[:4])
    assert f"{runs[3].name}: this point of the grid is not finished" in message
    finish(runs[3], 0.6)
    chosen = runs_of(gridded)[4]
    assert (chosen.config, chosen.state) == (runs[1].config, MISSING)
    assert chosen.folder.parent.name == "birds"
    finish(chosen)
    assert runs_of(gridded)[4].finished


def test_the_best_on_devel_is_chosen_in_each_grid_and_of_equals_the_first(lay_study):
    file = lay_study(GRID, grid=True, seeds=[0], baselines=["svm"])
    scores = (0.7, None, 0.7, 0.6, 0.2, 0.1, 0.3, 0.9)  # on test, 1 less these: another order
    for run, devel in zip(runs_of(file), scores, strict=False):
        finish(run, devel)
    runs = runs_of(file)
    assert [run.role for run in runs] == [CANDIDATE] * 8 + [CHOSEN] * 2 + [BASELINE]
    assert [run.config for run in runs[8:10]] == [runs[0].config, runs[7].config]
    first = studies_runs.candidates(runs, "birds-quick-squeezenet-none-s0")
    table = studies_runs.rank(first)
    columns = {"rank": [1, 4, 2, 3], "chosen": [True] + [False] * 3, "point": [0, 1, 2, 3]}
    columns["run"] = [run.name for run in runs[:4]]
    assert table[list(columns)].to_dict("list") == columns
    assert table["overrides"][2] == "dropout=0.1 units=32"
    assert set(table["weights"]) == {"random"}
    message = refusal(studies_runs.candidates, runs, "birds-quick-squeezenet-none-s1")
    assert "did you mean 'birds-quick-squeezenet-none-s0'" in message


def test_a_grid_without_any_score_has_no_choice(gridded):
    for run in runs_of(gridded)[:4]:
        finish(run, None)
    message = "birds, quick, squeezenet, none, 0: no point of the grid has a devel score"
    assert message in runs_of(gridded)[4].state
