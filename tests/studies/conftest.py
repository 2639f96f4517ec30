"""Studies whose runs need no training."""

import pytest
import soundfile
import yaml

from dslite import paths
from tests.studies.finished_study import CARD, FILES, STUDY, finish, runs_of


@pytest.fixture
def lay_study(tmp_path, rng, monkeypatch):
    """Lay a study of a table of birds, its card and its keys changed as given; gives its path."""
    monkeypatch.setenv("DSLITE_RESULTS", str(tmp_path / "results"))
    folder = tmp_path / "birds"

    def lay(card=(), **study):
        folder.mkdir(exist_ok=True)
        rows = [f"{file},{('robin', 'wren')[i % 2]}\n" for i, file in enumerate(FILES)]
        (folder / "birds.csv").write_text("path,label\n" + "".join(rows), encoding="utf-8")
        for file in FILES:
            soundfile.write(folder / file, rng.normal(0, 0.1, 800), 8000)
        for name, content in (("birds", CARD | dict(card)), ("flock", STUDY | study)):
            text = yaml.safe_dump(content, sort_keys=False)
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        return folder / "flock.yaml"

    return lay


@pytest.fixture
def lay_finished(lay_study):
    """Lay a study of which every run is finished, with tables beside much that is none."""

    def lay(card=(), **study):
        file = lay_study(card, **study)
        for run in runs_of(file):
            finish(run)
        tables = paths.results("studies") / "flock"
        tables.mkdir(parents=True)
        for name in ("runs.csv", "README.md", "song.wav", ".draft.csv"):
            (tables / name).write_text(f"{name}\n", encoding="utf-8")
        (paths.results("birds") / "table1.csv").write_text("files\n6\n", encoding="utf-8")
        return file

    return lay
