"""The three lists of dependencies agree, and so do hooks and citation."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dslite
from dslite import paths

# What a marker can ask for, on the machines that people have
MARKERS = ("platform_machine", "platform_system", "os_name", "sys_platform")
MACHINES = {
    **{machine: (machine, "Linux", "posix", "linux") for machine in ("x86_64", "aarch64")},
    **{f"mac {machine}": (machine, "Darwin", "posix", "darwin") for machine in ("arm64", "x86_64")},
    "windows": ("AMD64", "Windows", "nt", "win32"),
}
PYTHONS = ("3.11", "3.12", "3.13")


def read_yaml(name):
    return yaml.safe_load((paths.ROOT / name).read_text("utf-8"))


PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LISTED = PROJECT["dependencies"] + EXTRAS["dev"] + EXTRAS["docs"]
DECLARED = [Requirement(line) for line in LISTED]
CONDA = read_yaml("environment.yml")["dependencies"]
(PIP,) = (item["pip"] for item in CONDA if isinstance(item, dict))
FROM_CONDA = [Requirement(line) for line in PIP if line != "-e ."]
# Lines of the lock without comments; an entry and its hashes are one line.
LOCK = (paths.ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ").splitlines()
LOCK = [line for line in LOCK if line.strip() and not line.startswith("#")]
LOCKED = [Requirement(line.split("--hash")[0]) for line in LOCK]


def installed(requirements, environment) -> dict[str, str]:
    return {
        re.sub("[-_.]+", "-", r.name).lower(): str(r.specifier)
        for r in requirements
        if r.marker is None or r.marker.evaluate(environment)
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_three_lists_agree(machine, python):
    environment = dict(zip(MARKERS, MACHINES[machine], strict=True)) | {
        **{"python_version": python, "python_full_version": f"{python}.9"},
        **{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
    }
    wanted = installed(DECLARED, environment)
    assert installed(FROM_CONDA, environment) == wanted
    assert wanted.items() <= installed(LOCKED, environment).items()
    assert len({"tensorflow", "tensorflow-cpu"} & wanted.keys()) == 1


def test_everything_is_pinned_and_the_lock_has_hashes_and_no_address():
    for requirement in [*DECLARED, *FROM_CONDA, *LOCKED]:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
    # Conda's list has the same markers.
    assert sorted(map(str, FROM_CONDA)) == sorted(map(str, DECLARED))
    assert len(LOCK) > 100
    for line in LOCK:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line
        assert not re.search("@|://", line), line
        assert set(re.findall(r"(?<!\S)(-\S+?)(?==|\s|$)", line)) == {"--hash"}, line


def test_condas_python_is_supported_and_hooks_run_the_pinned_tools():
    (python,) = (item for item in CONDA if str(item).startswith("python="))
    supported = SpecifierSet(PROJECT["requires-python"])
    assert all(f"{v}.0" in supported for v in (*PYTHONS, python.removeprefix("python=")))
    assert ("pip" in CONDA, PIP[-1]) == (True, "-e .")
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
    authors = [author["family-names"] for author in paper["authors"]]
    assert " ".join(authors) == "Amiriparian Hübner Karas Gerczuk Ottl Schuller"
