"""The workflow in a folder of its own, with its own results and cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dslite import paths


class Workflow:
    """Snakemake with targets, a configuration and options, in a folder."""

    def __init__(self, folder, *targets, config=(), options=("--cores", "2")):
        self.folder, self.targets = Path(folder), targets
        self.config, self.options = config, options
        self.folder.mkdir(exist_ok=True)
        self.results, self.log = self.folder / "results", self.folder / "log"
        scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        changed = {"DSLITE_CACHE": str(self.folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.env = os.environ | changed | {"PATH": scripts}
        self.env.pop("DSLITE_RESULTS", None)

    def start(self, *options, config=()):
        """Start it in a process group of its own; gives the process."""
        words = ["snakemake", "-s", str(paths.ROOT / "Snakefile"), "--directory", str(self.folder)]
        words += [*self.targets, *self.options, *options, "--config", *self.config, *config]
        options = {"cwd": self.folder, "env": self.env, "start_new_session": True}
        with self.log.open("w") as log:
            return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, **options)

    def run(self, *options, config=()):
        status = self.start(*options, config=config).wait(1800)
        return status, self.log.read_text()

    def finish(self, *options):
        status, log = self.run(*options)
        assert status == 0, log[-5000:]
        return self

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workflow(folder, *self.targets, config=self.config)

    def times(self):
        """When each file of the results was written."""
        files = {str(path.relative_to(self.results)): path for path in self.results.rglob("*")}
        return {name: path.stat().st_mtime_ns for name, path in files.items() if path.is_file()}
