"""The three lists of dependencies agree, and the pinned versions work together."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dslite
from dslite import paths

# What a marker can ask for, on the machines that people have.
MACHINES = {
    "linux": ("x86_64", "Linux", "posix", "linux"),
    "linux-arm": ("aarch64", "Linux", "posix", "linux"),
    "mac": ("arm64", "Darwin", "posix", "darwin"),
    "mac-intel": ("x86_64", "Darwin", "posix", "darwin"),
    "windows": ("AMD64", "Windows", "nt", "win32"),
}
MARKERS = ("platform_machine", "platform_system", "os_name", "sys_platform")
PYTHONS = ("3.11", "3.12", "3.13")


def read_yaml(name):
    return yaml.safe_load((paths.ROOT / name).read_text("utf-8"))


PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Direct dependencies and those of the dev extra.
LISTED = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
DECLARED = [Requirement(line) for line in LISTED]
CONDA = read_yaml("environment.yml")["dependencies"]
(PIP,) = (item["pip"] for item in CONDA if isinstance(item, dict))
FROM_CONDA = [Requirement(line) for line in PIP if line != "-e ."]
# Lines of the lock without comments; an entry and its hashes are one line.
LOCK = (paths.ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ").splitlines()
LOCK = [line for line in LOCK if line.strip() and not line.startswith("#")]
LOCKED = [Requirement(line.split("--hash")[0]) for line in LOCK]


def on(machine: str, python: str) -> dict[str, str]:
    """The environment in which markers are evaluated."""
    return dict(zip(MARKERS, MACHINES[machine], strict=True)) | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def installed(requirements, environment) -> dict[str, str]:
    """Name -> exact version of what a list installs in an environment."""
    return {
        re.sub("[-_.]+", "-", r.name).lower(): str(r.specifier)
        for r in requirements
        if r.marker is None or r.marker.evaluate(environment)
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_three_lists_agree(machine, python):
    environment = on(machine, python)
    wanted = installed(DECLARED, environment)
    assert installed(FROM_CONDA, environment) == wanted
    assert wanted.items() <= installed(LOCKED, environment).items()
    assert len({"tensorflow", "tensorflow-cpu"} & wanted.keys()) == 1


def test_every_direct_dependency_is_pinned():
    for requirement in [*DECLARED, *FROM_CONDA, *LOCKED]:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
    # Conda's list has the same markers.
    assert sorted(map(str, FROM_CONDA)) == sorted(map(str, DECLARED))


def test_the_lock_has_hashes_and_no_address():
    assert len(LOCK) > 100
    for line in LOCK:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line
        assert "@" not in line, line
        assert set(re.findall(r"(?<!\S)(-\S+?)(?==|\s|$)", line)) == {"--hash"}, line
        assert "://" not in line, line


def test_condas_python_is_supported():
    (python,) = (item for item in CONDA if str(item).startswith("python="))
    supported = SpecifierSet(PROJECT["requires-python"])
    assert all(f"{v}.0" in supported for v in (*PYTHONS, python.removeprefix("python=")))
    assert {"pip"} <= {item for item in CONDA if isinstance(item, str)}
    assert PIP[-1] == "-e ."


def test_hooks_run_the_pinned_tools():
    pins = {r.name: str(r.specifier).removeprefix("==") for r in DECLARED}
    hooks = read_yaml(".pre-commit-config.yaml")["repos"]
    revisions = {repo["repo"].rsplit("/", 1)[1]: repo["rev"] for repo in hooks}
    assert revisions["ruff-pre-commit"] == f"v{pins['ruff']}"
    assert revisions["nbstripout"] == pins["nbstripout"]


def test_the_citation_names_the_version_and_the_paper():
    citation = read_yaml("CITATION.cff")
    assert str(citation["version"]) == PROJECT["version"] == dslite.__version__
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert paper["doi"] == "10.3389/frai.2022.856232"
    authors = "Amiriparian Hübner Karas Gerczuk Ottl Schuller"
    assert [author["family-names"] for author in paper["authors"]] == authors.split()


def test_librosa_does_not_crash():
    """A fresh process, since numpy 2.4 with numba ends in a segmentation fault here."""
    script = """
import librosa, numpy as np
sr = 16000
y = np.sin(2 * np.pi * 440 * np.arange(sr) / sr).astype(np.float32)
print(np.median(librosa.yin(y, fmin=100, fmax=1000, sr=sr)))
print(np.median(librosa.piptrack(y=y, sr=sr, threshold=0.9)[0].max(axis=0)))
print(np.median(librosa.feature.chroma_stft(y=y, sr=sr, tuning=0).argmax(axis=0)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    yin, piptrack, chroma = map(float, done.stdout.split())
    assert (yin, piptrack) == (pytest.approx(440, abs=5), pytest.approx(440, abs=10))
    assert chroma == 9  # the bin of A
