# The chain of notebooks as a workflow: resumable, on one machine or a cluster.
#
#   snakemake --cores 2 results/demo/report.html
#   snakemake --cores 2 results/ravdess/report.html --config backbone=mobilenet_v2 preset=paper
#   snakemake --cores 2 results/my/report.html --config dataset=path/to/my.csv (or a folder, or a card)
#
# Every rule runs one notebook with papermill (dslite notebook ...). An output is renamed into place
# when all cells ran; a failed notebook is kept as results/<dataset>/notebooks/<name>.failed.ipynb.

import os
from pathlib import Path

from dslite import cards, settings
from dslite.errors import InputError
from dslite.settings import AUGMENTATIONS
from dslite.studies import jobs, load_study
from dslite.studies.study import SUFFIXES
from snakemake.exceptions import WorkflowError

# What --config may hold; an empty value leaves the decision to the corpus's card.
OPTIONS = {"dataset": "", "preset": "", "backbone": "", "weights": "", "overrides": "", "seed": 0}
OPTIONS |= {"study": "", "gpus": 0}  # a study: see workflow/study.smk; GPUs of each training
# Notebooks run here whatever folder Snakemake was started from.
os.environ["DSLITE_RESULTS"] = str(Path("results").resolve())
for variable in ("DSLITE_DATA", "DSLITE_CACHE"):
    if os.environ.get(variable):
        os.environ[variable] = str(Path(os.environ[variable]).resolve())
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NOTEBOOKS = Path(workflow.basedir) / "notebooks"


def options():
    """The workflow's configuration, every key checked."""
    for key in config:
        if key not in OPTIONS:
            raise InputError(f"--config {key}: unknown key{settings.nearest(key, OPTIONS)}")
        if config.get("study") and config[key] and key not in ("study", "gpus"):
            raise InputError(f"--config {key}: a study names its own; write it in the study's file")
    return OPTIONS | config


def dataset(wildcards):
    """Name of the corpus, or the path of the user's whose results these are."""
    for job in JOBS.values():
        if job.dataset == wildcards.dataset:
            return job.config.dataset
    if TABLES and wildcards.dataset not in {*TABLES, *cards.names()}:
        name, table = next(iter(TABLES.items()))
        raise WorkflowError(f"the results of {table} lie in results/{name}: ask for those")
    return TABLES.get(wildcards.dataset, wildcards.dataset)


def recipe(values):
    """The settings of a training, checked."""
    named = {key: values[key] for key in ("backbone", "weights")}
    try:
        card = cards.load(values["dataset"])
        return cards.settings_of(card, values["preset"], values["overrides"], **named)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def training_threads(wildcards):
    """As many as the training gives TensorFlow: its settings decide, not the cores there are."""
    return recipe(options() | {"dataset": dataset(wildcards)}).threads


def parameters(wildcards):
    """The notebooks' parameters as arguments of ``dslite notebook``, their values checked."""
    values = options() | {"dataset": dataset(wildcards)}
    values = {key: value for key, value in values.items() if key not in ("study", "gpus")}
    recipe(values)
    if "augmentation" in wildcards.keys():
        values["augmentation"] = wildcards.augmentation
    pairs = {key: value for key, value in values.items() if value not in ("", None)}
    return [f"--parameter={key}={value}" for key, value in pairs.items()]


def corpus_parameters(wildcards):
    """Only the corpus, for notebooks that no recipe changes."""
    return [f"--parameter=dataset={dataset(wildcards)}"]


def paper_notebook(wildcards):
    """Notebook 7, of a corpus that the paper has; the report of another links its page."""
    try:
        card = cards.load(dataset(wildcards))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    return f"results/{wildcards.dataset}/notebooks/7_paper.ipynb" if card.paper_column else []


def source(name):
    return str(NOTEBOOKS / f"{name}.ipynb")


for key, value in list(config.items()):
    config[key] = "" if value is None else value
try:
    options()
    if Path(str(config.get("study"))).suffix in SUFFIXES:
        config["study"] = str(Path(config["study"]).resolve())
    STUDY = load_study(config["study"]) if config.get("study") else None
    JOBS = jobs.study_jobs(STUDY) if STUDY else {}
    if not str(config.get("gpus") or 0).isdigit():
        raise InputError(f"--config gpus={config['gpus']}: expected a whole number")
    GPUS = int(config.get("gpus") or 0)
    table = str(options()["dataset"])
    # Name of the results -> the user's table
    TABLES = {cards.load(table).dataset: str(Path(table).resolve())} if cards.is_own(table) else {}
except InputError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset=r"[^/]+",
    augmentation="|".join(name.replace("+", r"\+") for name in AUGMENTATIONS),


localrules:
    demo,
    study,


if STUDY:
    STUDY_FOLDER = f"results/studies/{STUDY.name}"

    rule study:
        default_target: True
        input:
            f"{STUDY_FOLDER}/runs.csv",


rule demo:
    input:
        "results/demo/report.html",


rule partition:
    input:
        source("1_partition"),
    output:
        notebook="results/{dataset}/notebooks/1_partition.ipynb",
        manifest="results/{dataset}/manifest.csv",
        table1="results/{dataset}/table1.csv",
    params:
        arguments=corpus_parameters,
    threads: 2
    resources:
        mem_mb=1000,
        runtime=60,
    message:
        "{wildcards.dataset}: partition"
    shell:
        "dslite notebook 1_partition {output.notebook:q} {params.arguments:q}"


rule spectrograms:
    input:
        source("2_spectrograms"),
        "results/{dataset}/manifest.csv",
    output:
        notebook="results/{dataset}/notebooks/2_spectrograms.ipynb",
    params:
        arguments=parameters,
    threads: 2
    resources:
        mem_mb=2000,
        runtime=240,
    message:
        "{wildcards.dataset}: spectrograms"
    shell:
        "dslite notebook 2_spectrograms {output.notebook:q} {params.arguments:q}"


rule training:
    input:
        source("3_training"),
        # The spectrograms are stored by then, so that no two trainings compute them side by side.
        "results/{dataset}/notebooks/2_spectrograms.ipynb",
    output:
        notebook="results/{dataset}/notebooks/3_training-{augmentation}.ipynb",
    params:
        arguments=parameters,
    threads: training_threads
    resources:
        mem_mb=3000,
        runtime=240,
        gpus=GPUS,
    message:
        "{wildcards.dataset}: training, augmentation {wildcards.augmentation}"
    shell:
        "dslite notebook 3_training {output.notebook:q} {params.arguments:q}"


rule ablation:
    input:
        source("4_ablation"),
        expand(
            "results/{{dataset}}/notebooks/3_training-{augmentation}.ipynb",
            augmentation=AUGMENTATIONS,
        ),
    output:
        notebook="results/{dataset}/notebooks/4_ablation.ipynb",
        table="results/{dataset}/ablation.csv",
    params:
        arguments=parameters,
    threads: training_threads
    resources:
        mem_mb=3000,
        runtime=120,
        gpus=GPUS,
    message:
        "{wildcards.dataset}: ablation"
    shell:
        "dslite notebook 4_ablation {output.notebook:q} {params.arguments:q}"


rule tflite:
    input:
        source("5_tflite"),
        "results/{dataset}/ablation.csv",
    output:
        notebook="results/{dataset}/notebooks/5_tflite.ipynb",
        table="results/{dataset}/tflite.csv",
    params:
        arguments=parameters,
    threads: os.cpu_count()  # it measures time: nothing else should run beside it
    resources:
        mem_mb=4000,
        runtime=120,
    message:
        "{wildcards.dataset}: TensorFlow Lite"
    shell:
        "dslite notebook 5_tflite {output.notebook:q} {params.arguments:q}"


rule explainability:
    input:
        source("6_explainability"),
        "results/{dataset}/ablation.csv",
    output:
        notebook="results/{dataset}/notebooks/6_explainability.ipynb",
    params:
        arguments=parameters,
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    message:
        "{wildcards.dataset}: explainability"
    shell:
        "dslite notebook 6_explainability {output.notebook:q} {params.arguments:q}"


rule paper:
    input:
        source("7_paper"),
        "results/{dataset}/table1.csv",
        "results/{dataset}/ablation.csv",
        "results/{dataset}/tflite.csv",
    output:
        notebook="results/{dataset}/notebooks/7_paper.ipynb",
    params:
        arguments=corpus_parameters,
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    message:
        "{wildcards.dataset}: the paper's tables"
    shell:
        "dslite notebook 7_paper {output.notebook:q} {params.arguments:q}"


rule report:
    input:
        "results/{dataset}/notebooks/1_partition.ipynb",
        "results/{dataset}/notebooks/2_spectrograms.ipynb",
        expand(
            "results/{{dataset}}/notebooks/3_training-{augmentation}.ipynb",
            augmentation=AUGMENTATIONS,
        ),
        "results/{dataset}/notebooks/4_ablation.ipynb",
        "results/{dataset}/notebooks/5_tflite.ipynb",
        "results/{dataset}/notebooks/6_explainability.ipynb",
        paper_notebook,
    output:
        "results/{dataset}/report.html",
    params:
        title=lambda wildcards: f"{wildcards.dataset}: from audio to the device",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=15,
    message:
        "{wildcards.dataset}: report"
    shell:
        "dslite report {params.title:q} {output:q} {input:q}"


if STUDY:

    include: "workflow/study.smk"
