"""Finished runs and what the report makes of them, made once."""

import pandas as pd
import pytest

from dslite.paper import report
from tests.finished_runs import write_run

AUGMENTATIONS = ("none", "cutmix", "specaugment", "cutmix+specaugment")


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """A results folder of made-up runs, and no corpus at hand.

    MobileNetV2 with all augmentations, two seeds of one of them, and its baseline.
    """
    folder = tmp_path_factory.mktemp("paper")
    where = {"backbone": "mobilenet_v2", "preset": "tuned", "weights": "imagenet"}
    for i, augmentation in enumerate(AUGMENTATIONS):
        write_run(folder / "results", configuration=augmentation, test=0.7 + 0.05 * i, **where)
    write_run(folder / "results", configuration="none", test=0.72, seed=1, **where)
    write_run(folder / "results", configuration="svm", test=0.4, **where)
    for run in (folder / "results" / "ravdess").glob("*none-s0*"):
        table = {"epoch": [1, 2], "phase": [1, 2], "train_loss": [2.0, 1.0]}
        table |= {"devel_loss": [2.1, 1.4], "devel_score": [0.3, 0.8]}
        pd.DataFrame(table).to_csv(run / "history.csv", index=False)
        (run / "explanation").mkdir()
        drawn = '<svg xmlns="http://www.w3.org/2000/svg"><text>red raises</text></svg>'
        (run / "explanation" / "shap_confident.svg").write_text(drawn, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def material(elsewhere):
    """What the report is made of, from the runs of `elsewhere`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSLITE_RESULTS", str(elsewhere / "results"))
        patch.setenv("DSLITE_DATA", str(elsewhere / "raw"))
        return report.gather()
