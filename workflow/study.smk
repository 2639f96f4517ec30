# A study: many configurations of many corpora (data/studies/*.yaml), see the README.
#
#   snakemake --cores 2 --config study=demo
#   snakemake --config study=small --profile workflow/profiles/slurm
#
# A job is one configuration (`dslite notebook 3_training`), one baseline, one cross-validation or
# one conversion. What it leaves is named by its configuration, not by the study, so that a
# configuration that two studies share is run once.


for line in jobs.absent(STUDY).values():
    logger.warning(f"study {STUDY.name}: {line}; its part is passed over")


def job(wildcards):
    return JOBS[f"{wildcards.dataset}/{wildcards.run}"]


def words(wildcards):
    """What a job's command is told of its configuration."""
    return job(wildcards).words()


def job_threads(wildcards):
    """As many as the job gives TensorFlow."""
    return job(wildcards).settings.threads


def choice_threads(wildcards):
    """As many as the trainings of a grid have at most; it trains the best of them."""
    return max(one.settings.threads for one in JOBS.values() if one.group == wildcards.group)


TABLES = ("runs", "seeds", "comparisons", "cost")
DEVICES = jobs.devices(STUDY, JOBS)


wildcard_constraints:
    run=r"[^/]+",


rule study_training:
    input:
        source("3_training"),
        "results/{dataset}/manifest.csv",
    output:
        notebook="results/{dataset}/notebooks/runs/{run}.ipynb",
    params:
        arguments=lambda wildcards: [f"--parameter={pair}" for pair in words(wildcards)],
    threads: job_threads
    resources:
        mem_mb=3000,
        runtime=240,
        gpus=GPUS,
    message:
        "{wildcards.dataset}: {wildcards.run}"
    shell:
        "dslite notebook 3_training {output.notebook:q} {params.arguments:q}"


rule study_command:
    # Baselines, cross-validations and candidates of a grid: commands, whose log is kept.
    input:
        "results/{dataset}/manifest.csv",
    output:
        log="results/{dataset}/notebooks/runs/{run}.log",
    params:
        arguments=words,
        draft="results/{dataset}/notebooks/runs/.{run}.draft",
    threads: job_threads
    resources:
        mem_mb=3000,
        runtime=480,
        gpus=GPUS,
    message:
        "{wildcards.dataset}: {wildcards.run}"
    shell:
        "dslite {params.arguments:q} > {params.draft:q}"
        " && mv {params.draft:q} {output.log:q}"


rule study_choice:
    # The best point of a grid by devel, then trained on train + devel and tested once.
    input:
        lambda wildcards: [one.output for one in JOBS.values() if one.group == wildcards.group],
    output:
        f"{STUDY_FOLDER}/choice-{{group}}.csv",
    threads: choice_threads
    resources:
        mem_mb=3000,
        runtime=240,
        gpus=GPUS,
    message:
        "{wildcards.group}: the best point of the grid on devel"
    shell:
        "dslite study {config[study]:q} --choose {wildcards.group:q}"


rule study_device:
    # The files for the device: of each network the first seed of what is best on devel in the mean.
    input:
        lambda wildcards: [one.output for one in DEVICES[wildcards.device]],
    output:
        f"{STUDY_FOLDER}/device-{{device}}.csv",
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    message:
        "{wildcards.device}: files for the device"
    shell:
        "dslite study {config[study]:q} --device {wildcards.device:q}"


rule study_tables:
    input:
        [one.output for one in JOBS.values()],
        [f"{STUDY_FOLDER}/choice-{group}.csv" for group in jobs.groups(JOBS.values())],
        [f"{STUDY_FOLDER}/device-{device}.csv" for device in DEVICES],
    output:
        report(expand(f"{STUDY_FOLDER}/{{table}}.csv", table=TABLES), category=STUDY.title),
        f"{STUDY_FOLDER}/README.md",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    message:
        "study {STUDY.name}: tables"
    shell:
        "dslite study {config[study]:q}"
