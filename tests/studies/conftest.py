"""Studies whose runs need no training."""

import pytest

from dslite import paths
from tests.studies.finished_study import finish, lay, runs_of


@pytest.fixture
def lay_study(tmp_path, rng, monkeypatch):
    """Lay a study of a table of birds, its card and its keys changed as given; gives its path."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))

    def laid(card=(), **study):
        return lay(tmp_path / "birds", rng, card, study)

    return laid


@pytest.fixture
def lay_finished(lay_study):
    """Lay a study of which every run is finished, with tables beside much that is none."""

    def laid(card=(), **study):
        file = lay_study(card, **study)
        for run in runs_of(file):
            finish(run)
        tables = paths.results("studies") / "flock"
        tables.mkdir(parents=True)
        for name in ("runs.csv", "README.md", "song.wav", ".draft.csv"):
            (tables / name).write_text(f"{name}\n", encoding="utf-8")
        (paths.results("birds") / "table1.csv").write_text("files\n6\n", encoding="utf-8")
        return file

    return laid
