"""The files around the package: legal, changelog, packaging, nothing of the machine they were written on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project_files() -> list[str]:
    """Every file that is or could be committed; in a tree without git, every file of the known folders."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode == 0 and done.stdout:
        return sorted(name for name in done.stdout.splitlines() if (ROOT / name).is_file())
    folders = ["wxmp", "tests", "docs", "benchmarks"]
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.*") if "__pycache__" not in path.parts]
    return sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.*"), *found] if path.is_file())


FILES = project_files()

# ---- legal and security


def test_licence() -> None:
    """The licence is in the tree, and the metadata name it."""
    text = read("LICENSE")
    assert text.startswith("MIT License\n")
    assert "Copyright (c) " in text
    assert (PROJECT["license"], PROJECT["license-files"]) == ("MIT", ["LICENSE"])


def test_security_policy() -> None:
    """The security policy says how to report, what is supported, and when an answer comes."""
    text = read("SECURITY.md")
    assert "privately" in text
    assert "working days" in text
    assert "## Supported versions" in text


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_readme_links_the_security_policy(page: str) -> None:
    """Whoever finds a hole finds the way to report it."""
    assert re.search(r"\]\((\./)?SECURITY\.md\)", read(page))


@pytest.mark.parametrize("name", re.findall(r"`(tests/[\w/.]+)`", read("SECURITY.md")))
def test_proofs_of_the_security_policy_exist(name: str) -> None:
    """A promise that names its test names one that exists."""
    assert (ROOT / name).is_file()


def test_package_is_marked_as_typed() -> None:
    """Type checkers of users read our annotations, and the metadata say so."""
    assert read("wxmp/py.typed") == ""
    assert "Typing :: Typed" in PROJECT["classifiers"]


# ---- changelog


CHANGELOG = read("CHANGELOG.md")
SECTIONS = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)


def test_changelog_begins_with_what_is_unreleased() -> None:
    """The changelog names its form, and what is not released yet stands on top."""
    assert CHANGELOG.startswith("# Changelog\n")
    assert "https://keepachangelog.com/" in CHANGELOG
    assert SECTIONS[0] == "[Unreleased]"


def test_changelog_releases_have_version_and_date() -> None:
    """Each release has a version and a day, the newest first."""
    releases = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d{2}-\d{2})", section) for section in SECTIONS[1:]]
    assert None not in releases
    versions = [tuple(map(int, found.groups()[:3])) for found in releases if found]
    assert versions == sorted(set(versions), reverse=True)


def test_changelog_has_known_headings() -> None:
    """Entries stand under the six headings of the form, and each heading has entries."""
    headings = re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)
    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert len(re.findall(r"^### .+\n\n- ", CHANGELOG, re.MULTILINE)) == len(headings)


def test_changelog_entries_are_sentences() -> None:
    """Each entry ends like a sentence."""
    _, *entries = re.split(r"^- ", CHANGELOG, flags=re.MULTILINE)
    texts = [re.split(r"\n\n|\n#", entry)[0].strip() for entry in entries]
    assert [text for text in texts if not text.endswith(".")] == []


def test_version_is_unreleased_or_in_the_changelog() -> None:
    """A version that has been released is described."""
    released = [section for section in SECTIONS if section.startswith(f"[{PROJECT['version']}]")]
    assert released or "- " in CHANGELOG


# ---- dependencies


PINS = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]


def normal(requirement: str) -> str:
    """Return the normal form of a requirement's package name."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def test_constraints_hold_versions_and_no_addresses() -> None:
    """The tested set is names and versions: it works with whatever registry a user has."""
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert re.findall(r"https?:|://|--\S*index|--hash|git\+|file:", read("constraints.txt")) == []


def test_constraints_name_each_package_once() -> None:
    """No package has two versions."""
    names = [normal(line) for line in PINS]
    assert len(names) == len(set(names))
    assert "wxmp-sdk" not in names


def test_every_direct_dependency_is_pinned() -> None:
    """What users, tests and checks install is the tested set; only the benchmarks' peers are free."""
    wanted = [*PROJECT["dependencies"]]
    for requirements in PROJECT["optional-dependencies"].values():
        wanted += requirements
    for group, requirements in PYPROJECT["dependency-groups"].items():
        if group != "bench":
            wanted += [item for item in requirements if isinstance(item, str)]
    assert {normal(item) for item in wanted} - {normal(line) for line in PINS} == set()


PEERS = [line for line in read("constraints-peers.txt").splitlines() if line and not line.startswith("#")]


def test_what_the_tests_import_is_declared() -> None:
    """A clone that installs only what is named can run every test: nothing comes in by chance with something else."""
    declared = [
        *PROJECT["dependencies"],
        *PYPROJECT["dependency-groups"]["bench"],
        *PYPROJECT["dependency-groups"]["tests"],
    ]
    for requirements in PROJECT["optional-dependencies"].values():
        declared += requirements
    known = {normal(item) for item in declared} | {"yarl"}  # aiohttp's own type of an address
    homes = packages_distributions()
    imported: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        if "peers" not in path.parts:  # they have an environment of their own
            found = re.findall(r"^ *(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            imported |= {name: str(path.relative_to(ROOT)) for name in found if name not in sys.stdlib_module_names}
    third = {name: where for name, where in imported.items() if name in homes and name != "wxmp"}
    assert "pytest" in third
    assert {name: where for name, where in third.items() if not {normal(home) for home in homes[name]} & known} == {}


def test_peers_are_pinned_once_and_without_addresses() -> None:
    """The SDKs that judge the simulator are names and versions, each once, the second wechatpy apart."""
    assert [line for line in PEERS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    names = [normal(line) for line in PEERS]
    assert len(names) == len(set(names))
    assert {"wechatpy", "werobot", "wechatpayv3"} <= set(names)
    assert re.search(r"^WECHATPY_NEXT := 2\.\S+$", read("Makefile"), re.MULTILINE)


def test_peers_are_none_of_our_dependencies() -> None:
    """Nothing that users, tests or checks install is one of the judges; only the benchmarks compare with one."""
    ours = [*PROJECT["dependencies"]]
    for requirements in PROJECT["optional-dependencies"].values():
        ours += requirements
    for group, requirements in PYPROJECT["dependency-groups"].items():
        if group != "bench":
            ours += [item for item in requirements if isinstance(item, str)]
    assert {normal(item) for item in ours} & {"wechatpy", "werobot", "wechatpayv3"} == set()


def test_dependencies_have_a_lower_bound() -> None:
    """Each dependency says which version it needs at least."""
    extras = [item for requirements in PROJECT["optional-dependencies"].values() for item in requirements]
    assert [item for item in [*PROJECT["dependencies"], *extras] if ">=" not in item] == []


@pytest.mark.parametrize("name", [name for name in FILES if Path(name).suffix in {".toml", ".txt", ".cfg", ".ini", ""}])
def test_no_registry_is_named(name: str) -> None:
    """No file makes an installation go to a registry of our choice."""
    assert re.findall(r"--(?:extra-)?index-url|index-url\s*=|--find-links|trusted-host", read(name)) == []


def test_python_versions_agree() -> None:
    """The lower bound, the classifiers and the tools speak of the same Python."""
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert versions == sorted(versions, key=lambda version: int(version.split(".")[1]))
    assert versions[0] == lowest
    assert PYPROJECT["tool"]["mypy"]["python_version"] == PYPROJECT["tool"]["pyright"]["pythonVersion"] == lowest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"


def test_pytest_finds_the_plugin() -> None:
    """The fixtures for users' tests come with the installation, without a line in their conftest."""
    assert PROJECT["entry-points"]["pytest11"] == {"wxmp": "wxmp.pytest_plugin"}
    assert [point.value for point in entry_points(group="pytest11", name="wxmp")] == ["wxmp.pytest_plugin"]


def test_continuous_integration_leaves_nothing_out() -> None:
    """It runs the commands of the README, and a missing Chromium is an error there."""
    lines = [line for line in read(".ci/run").splitlines() if line.startswith(("make", "export"))]
    commands = ["make browser", "make check", "make package-test", "make test", "make demo"]
    assert lines == ["export WXMP_BROWSER=required", *commands]


def test_make_explains_its_commands() -> None:
    """Each command of the Makefile is in its help."""
    makefile = read("Makefile")
    commands = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    told = re.findall(r'@echo "make (\w+)', makefile)
    assert set(commands) - set(told) - {"help"} == set()


def test_source_archive_is_complete() -> None:
    """Every file that the metadata name for the source archive exists."""
    assert [
        name
        for name in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
        if not any(ROOT.glob(name[1:]))
    ] == []


# ---- nothing of the place they were written in


#: The folder around this checkout, where it is a folder of its own; and folders of people.
PLACES = [rf"{re.escape(str(ROOT.parent))}/"] if ROOT.parent != Path("/") else []
PLACES += [r"/(?:home|Users)/(?!you\b|user\b|me\b)[a-z][\w.-]*/"]
PLACE = re.compile(rf"(?<![\w.-])(?:{'|'.join(PLACES)})")


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_the_machine(name: str) -> None:
    """No project file holds a path of the machine it was written on."""
    text = (ROOT / name).read_bytes().decode("utf-8", "replace")
    assert PLACE.findall(text) == []


def test_the_search_finds_something() -> None:
    """The test above can fail."""
    assert PLACE.search(f"see {ROOT.parent}/notes.md")
    assert PLACE.search("in /" + "home/somebody/project")
    assert not PLACE.search("in /home/you/project or https://example.com/home/page")


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".py", ".md", ".toml", ".yml", ".yaml"))])
def test_text_files_are_clean(name: str) -> None:
    """Text is UTF-8 with Unix line ends, and ends with a line end."""
    raw = (ROOT / name).read_bytes()
    raw.decode("utf-8")
    assert b"\r\n" not in raw
    assert not raw or raw.endswith(b"\n")
