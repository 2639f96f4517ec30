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
    "linux": {"platform_machine": "x86_64", "platform_system": "Linux", "os_name": "posix"},
    "linux-arm": {"platform_machine": "aarch64", "platform_system": "Linux", "os_name": "posix"},
    "mac": {"platform_machine": "arm64", "platform_system": "Darwin", "os_name": "posix"},
    "mac-intel": {"platform_machine": "x86_64", "platform_system": "Darwin", "os_name": "posix"},
    "windows": {"platform_machine": "AMD64", "platform_system": "Windows", "os_name": "nt"},
}
SYS_PLATFORM = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def declared(project):
    """Direct dependencies and those of the dev extra, from pyproject.toml."""
    listed = project["dependencies"] + project["optional-dependencies"]["dev"]
    return [Requirement(line) for line in listed]


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((paths.ROOT / "environment.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def from_conda(conda):
    (listed,) = (item["pip"] for item in conda["dependencies"] if isinstance(item, dict))
    assert listed[-1] == "-e ."
    return [Requirement(line) for line in listed[:-1]]


@pytest.fixture(scope="module")
def lock_lines():
    """Lines of the lock without comments; an entry and its hashes are one line."""
    text = (paths.ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def locked(lock_lines):
    return [Requirement(line.split("--hash")[0]) for line in lock_lines]


def on(machine: str, python: str) -> dict[str, str]:
    """The environment in which markers are evaluated."""
    values = MACHINES[machine]
    return values | {
        "sys_platform": SYS_PLATFORM[values["platform_system"]],
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
def test_the_three_lists_agree(declared, from_conda, locked, machine, python):
    environment = on(machine, python)
    wanted = installed(declared, environment)
    assert installed(from_conda, environment) == wanted
    assert wanted.items() <= installed(locked, environment).items()
    assert len({"tensorflow", "tensorflow-cpu"} & wanted.keys()) == 1


def test_every_direct_dependency_is_pinned(declared, from_conda, locked):
    for requirement in [*declared, *from_conda, *locked]:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement


def test_conda_has_the_same_markers(declared, from_conda):
    assert sorted(map(str, from_conda)) == sorted(map(str, declared))


def test_the_lock_has_hashes_and_no_address(lock_lines):
    assert len(lock_lines) > 100
    for line in lock_lines:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line
        assert "@" not in line, line
        assert set(re.findall(r"(?<!\S)(-\S+?)(?==|\s|$)", line)) == {"--hash"}, line
    assert "://" not in (paths.ROOT / "requirements.lock").read_text("utf-8")


def test_condas_python_is_supported(project, conda):
    (python,) = (item for item in conda["dependencies"] if str(item).startswith("python="))
    assert SpecifierSet(project["requires-python"]).contains(python.removeprefix("python=") + ".0")
    assert all(SpecifierSet(project["requires-python"]).contains(f"{v}.0") for v in PYTHONS)
    assert "pip" in conda["dependencies"]


def test_hooks_run_the_pinned_tools(declared):
    pins = {r.name: str(r.specifier).removeprefix("==") for r in declared}
    config = yaml.safe_load((paths.ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    revisions = {repo["repo"].rsplit("/", 1)[1]: repo["rev"] for repo in config["repos"]}
    assert revisions["ruff-pre-commit"] == f"v{pins['ruff']}"
    assert revisions["nbstripout"] == pins["nbstripout"]


def test_the_citation_names_the_version_and_the_paper(project):
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == project["version"] == dslite.__version__
    assert citation["license"] == project["license"]
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
