"""What is said of the results: generated from rows, so that other rows say something else."""

from types import SimpleNamespace

import pandas as pd

from dslite import cards
from dslite.paper import published, reproduction, sentences
from dslite.paper.comparisons import CLEAN, PARTITION
from dslite.settings import Settings
from dslite.training.runs import all_runs
from tests.finished_runs import write_run


def judged():
    """Every published number with its verdict."""
    return reproduction.numbers(all_runs(), published.findings())


def score(configuration, test, preset="tuned", protocol=PARTITION, speakers=4, **other):
    row = {"dataset": "ravdess", "protocol": protocol, "backbone": "mobilenet_v2", "test": test}
    row |= {"preset": preset, "network": f"MobileNetV2, {preset}", "speakers": speakers}
    return row | {"configuration": configuration} | other


ACOUSTIC = {"backbone": "", "preset": "", "network": ""}


def test_without_a_run_of_the_papers_network_nothing_is_reproduced_or_contradicted(results):
    numbers = judged()
    text = sentences.verdicts(numbers)
    assert text.startswith(
        "Of the paper's 80 experimental results (72 scores in Tables 3 and 4, 8 times and amounts "
        "of memory in Table 5) none could be reproduced or contradicted with what can be had: "
    )
    assert "Of the 6 parameters, operations and sizes in Table 5: 6 not run." in text
    assert "TF Lite" not in text  # nothing was measured
    start = (
        "None of the paper's 80 results could be checked here: 7 of its 8 corpora are handed out"
    )
    assert sentences.in_short(numbers, pd.DataFrame([score("none", 1)]).iloc[:0]).startswith(start)


def test_a_run_of_the_papers_network_changes_the_sentence(results):
    write_run(results, configuration="cutmix")
    write_run(results, configuration="specaugment", devel=0.3, test=0.3)
    text = sentences.verdicts(numbers := judged())
    assert "4 could be tested by runs of its own network and settings: 2 compatible, " in text
    assert "2 contradicted; the others: " in text
    assert "none could be" not in text
    short = sentences.in_short(numbers, pd.DataFrame([score("none", 1)]).iloc[:0])
    assert short.startswith("4 of the paper's 80 results could be checked here")


def test_what_is_counted(results):
    measured, properties = sentences.results(numbers := judged())
    assert set(measured["column"]) == {"devel", "test", *reproduction.STAGES, "tflite_phone"}
    assert properties["configuration"].value_counts().to_dict() == {
        **{"model_size": 3, "parameters": 2, "flops": 1}  # a file for two devices is one
    }
    # Of a score and its bounds, one that the paper contradicts goes before.
    bound = numbers["key"] == "3/ccs/none/ci_low"
    changed = numbers.assign(verdict=numbers["verdict"].mask(bound, published.ITSELF))
    before, after = (sentences.results(of)[0]["verdict"] for of in (numbers, changed))
    assert (after == published.ITSELF).sum() == (before == published.ITSELF).sum() + 1


def test_everybody_is_told_how_many_of_100_files(results):
    rows = [
        score("none", 33.9, "paper"),
        score("cutmix", 19.3, "paper"),
        score("none", 61, "repaired"),
    ]
    rows += [score("none", 82.3), score("svm", 52.1), score("librosa", 88.5, **ACOUSTIC)]
    rows += [score("none", 99, network="MobileNetV2, tuned, override units 1 -> 2")]
    rows += [score("none", 83.4, protocol="5 folds")]
    assert sentences.in_short(judged(), pd.DataFrame(rows)).partition(". ")[2] == (
        "Of 100 test files of RAVDESS (emotional song), every class alike, guessing gets 17 right; "
        "the paper's method with its printed settings (paper) 19 to 34; "
        "the paper's method at a rate that learns (repaired) 61; our recipe (tuned) 82; "
        "a support vector machine on the networks' frozen "
        "features 52; one on acoustic statistics, without a network, 88."
    )


def test_whom_the_recipe_was_chosen_on_is_named_and_the_others_score_stands_by_itself(monkeypatch):
    rows = [score("none", 82.3), score("none", 83.4, protocol="5 folds", speakers=23)]
    (text,) = sentences.choice(pd.DataFrame([*rows, score("none", 61, "repaired")]))
    assert text == (
        "Of the 23 speakers of RAVDESS, recipes were chosen on: tuned on all of them; repaired on "
        "4 (16, 17, 19, 20). So every score of tuned on RAVDESS is optimistic: other corpora judge "
        "it."
    )
    clean = {"protocol": f"5 folds, {CLEAN}"}
    rows += [score("none", 85.9, **clean), score("librosa", 87.5, **clean | ACOUSTIC)]
    card = cards.load("ravdess").model_copy(update={"chosen_on": {"tuned": ("train", "devel")}})
    with monkeypatch.context() as patched:
        patched.setattr(sentences.cards, "names", lambda: ["ravdess"])
        patched.setattr(sentences.cards, "load", lambda name: card)
        (text,) = sentences.choice(pd.DataFrame(rows))
    assert text.startswith(
        "Of the 23 speakers of RAVDESS, recipes were chosen on: tuned on 19 (01, 02, 03, "
    )
    assert text.endswith(
        ", 17, 19, 20). 21, 22, 23, 24 of test were never used. The 5 folds test all 23, so that "
        "their score is optimistic; on the 4 clean speakers alone: librosa statistics + RBF-SVM "
        "87.5 %, no augmentation (MobileNetV2, tuned) 85.9 %."
    )
    rows = [score("none", 50, dataset="ess"), score("none", 50, "paper", dataset="ccs")]
    (text,) = sentences.choice(pd.DataFrame(rows))
    assert text.startswith(
        "The recipe tuned was chosen on Free Spoken Digit Dataset (FSDD) and RAVDESS"
    )
    assert text.endswith(", on no speaker of ESS.")


def test_how_long_networks_learnt_and_which_phase_was_kept(monkeypatch):
    trained = {
        **{"a": ("paper", "arelu", 44, "best"), "b": ("paper", "arelu", 120, "best")},
        **{"c": ("repaired", "arelu", 120, "last"), "d": ("tuned", "ridge", 1, "best")},
        **{"e": ("tuned", "ridge", 1, "best")},
    }
    loaded = {
        name: SimpleNamespace(
            settings=Settings(head=head, epoch_choice=choice, epochs_phase1=40, epochs_phase2=80),
            record={"epochs": epochs, "kept": {"phase": 1 + (name == "e")}},
        )
        for name, (_, head, epochs, choice) in trained.items()
    }
    monkeypatch.setattr(sentences, "load", loaded.get)
    runs = pd.DataFrame({"folder": list(trained), "preset": [of[0] for of in trained.values()]})
    runs = runs.assign(dataset="ravdess", backbone="squeezenet", configuration="none")
    texts = sentences.training(runs.assign(random_weights=False, overridden=False))
    assert texts[:2] == [
        "The final networks of paper on RAVDESS learnt for 44 to 120 (SqueezeNet 1.1) of 120 "
        "epochs; fewer: cut at the one that was best on devel.",
        "The final networks of repaired on RAVDESS learnt for 120 (SqueezeNet 1.1) of 120 epochs.",
    ]
    assert texts[2].endswith("the paper's second phase, which fine-tunes, was kept in 1 of 2 runs.")
    assert "early layers, frozen, pooled over time" in texts[2]


def test_what_it_took():
    machines = ["P, 2 cores", "", "Q, 4 cores"]
    runs = pd.DataFrame({"seconds": [90.0, 3000.0, 4000.0], "hardware": machines})
    assert sentences.cost(runs) == "3 runs took 2 hours, added up, on P, 2 cores and Q, 4 cores."
