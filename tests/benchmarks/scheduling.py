"""What the workflow costs beside its notebooks: seconds a job, in a study of short trainings.

python tests/benchmarks/scheduling.py [jobs]

Time of the workflow on one core less the time inside the notebooks (papermill's own clock, from its
kernel's start to its end), by the number of jobs. All of the last job, which makes the tables and
has no notebook, counts as overhead.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from dslite import paths

STUDY = """\
title: Scheduling
corpora: [demo]
augmentations: [none]
seeds: [{seeds}]
overrides: {{epochs_phase1: 1, epochs_phase2: 0, bootstrap_draws: 20}}
variants: []
"""


def main(jobs: int = 8) -> None:
    """Run the study in a temporary folder and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        study = place / "scheduling.yaml"
        study.write_text(STUDY.format(seeds=", ".join(map(str, range(jobs)))), encoding="utf-8")
        words = ["snakemake", "-s", str(paths.ROOT / "Snakefile"), "--directory", folder]
        words += ["--cores", "1", "--quiet", "--config", f"study={study}"]
        env = {key: value for key, value in os.environ.items() if key != "DSLITE_RESULTS"}
        begin = time.perf_counter()
        subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True)
        whole = time.perf_counter() - begin
        executed = list(place.glob("results/demo/notebooks/**/*.ipynb"))
        inside = sum(nbformat.read(book, 4).metadata.papermill.duration for book in executed)
    count = len(executed) + 1
    print(
        f"{count} jobs, {whole:.1f} s in all, {inside:.1f} s of them in {len(executed)} notebooks"
    )
    print(f"overhead: {(whole - inside) / count:.2f} s a job")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
