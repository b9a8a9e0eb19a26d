"""What is released: only the package and its legal files, the same bytes everywhere, and only from a tagged commit.

The environment of the packaging tools is made by ``make``; where it is there already, that costs nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".venv" / "package"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION: str = PYPROJECT["project"]["version"]


def load_distribution() -> Any:
    """Load .ci/distribution.py, which is no package."""
    spec = importlib.util.spec_from_file_location("wxmp_distribution", ROOT / ".ci" / "distribution.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


distribution = load_distribution()


def command(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this run's environment that could lead it to this tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "GIT_", "PYTHON", "MAKE"))}
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def tools() -> Path:
    """The environment of the packaging tools."""
    if not (TOOLS / "bin" / "python").exists():
        done = command("make", "--silent", ".venv/.package", cwd=ROOT)
        assert done.returncode == 0, done.stderr
    return TOOLS


@pytest.fixture(scope="module")
def clone(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of this tree, in one commit that is tagged and whose changelog is in order."""
    place = tmp_path_factory.mktemp("release") / "clone"
    names = [*distribution.package_files(), "pyproject.toml", "LICENSE", "README.md", "README.zh-CN.md", ".gitignore"]
    for name in [*names, "constraints.txt", ".ci/distribution.py", ".ci/publish"]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    # The pages that the README links to: the check looks for them.
    for name in ("docs", "tests", "benchmarks", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        if not (place / name).exists():
            (place / name).symlink_to(ROOT / name)
    (place / ".git-excluded").write_text("docs\ntests\nbenchmarks\nSECURITY.md\nCONTRIBUTING.md\n.git-excluded\n")
    (place / "CHANGELOG.md").unlink()
    (place / "CHANGELOG.md").write_text(f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-11-21\n\n- All.\n")
    (place / ".venv").mkdir()
    (place / ".venv" / "package").symlink_to(tools)
    git(place, "init", "--quiet")
    git(place, "config", "core.excludesFile", str(place / ".git-excluded"))
    git(place, "add", ".")
    git(place, "commit", "--quiet", "--message", "release")
    git(place, "tag", f"v{VERSION}")
    return place


def git(place: Path, *words: str) -> str:
    """Run git as somebody."""
    who = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    date = {"GIT_AUTHOR_DATE": "1795000000 +0000", "GIT_COMMITTER_DATE": "1795000000 +0000"}
    done = command("git", *words, cwd=place, **who, **date, GIT_CONFIG_GLOBAL="/dev/null")
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish(clone: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/publish of the clone, without the identity that a workflow has."""
    mine = {"ACTIONS_ID_TOKEN_REQUEST_URL": "", "EXPECTED_SHA256": "", "GITHUB_REF": f"refs/tags/v{VERSION}"}
    return command(clone / ".ci" / "publish", *words, cwd=clone, **{**mine, **environment})


@pytest.fixture(scope="module")
def released(clone: Path) -> tuple[Path, str]:
    """The archives of this tree as they would be published, and what the dry run said."""
    done = publish(clone, "--dry-run")
    assert done.returncode == 0, done.stderr
    return clone / "dist", done.stdout


# ---- the archives


def test_archives_are_in_order_and_the_same_everywhere(released: tuple[Path, str]) -> None:
    """Only the package and legal files, uniform modes and times, metadata an index takes; a second build is the same.

    The second build is made elsewhere: other folder, umask, times, time zone, language, hash seed, and strays about.
    """
    out, said = released
    assert "dist/ holds the package and its legal files, and is built the same elsewhere" in said
    with zipfile.ZipFile(next(out.glob("*.whl"))) as opened:
        assert {name.partition("/")[0] for name in opened.namelist()} == {"wxmp", f"wxmp_sdk-{VERSION}.dist-info"}


@pytest.mark.parametrize("stray", ["wxmp/notes.txt", "tests/test_x.py", "wxmp/__pycache__/client.cpython-311.pyc"])
def test_a_stray_file_is_refused(released: tuple[Path, str], tmp_path: Path, stray: str) -> None:
    """The check above can fail: a wheel that holds one file more is refused, and the file is named."""
    for path in [*released[0].glob("*.whl"), *released[0].glob("*.tar.gz")]:
        shutil.copy(path, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as opened:
        opened.writestr(stray, "stray")
    with pytest.raises(distribution.ProblemError, match=re.escape(stray)):
        distribution.check(tmp_path)


# ---- dependencies


def test_each_extra_has_a_trial() -> None:
    """A new extra is tried alone: it is named here together with its modules and its door."""
    assert set(distribution.EXTRAS) == set(PYPROJECT["project"]["optional-dependencies"])


def test_the_short_run_names_tests_that_exist() -> None:
    """A test file that moves is not silently left out."""
    assert [name for name in distribution.CORE_TESTS if not (ROOT / name).exists()] == []


def test_each_claimed_python_is_tested() -> None:
    """A change waits for each Python of the classifiers, with the same dependencies tomorrow; the page says so."""
    import yaml

    claimed = re.findall(r"Python :: (3\.\d+)", " ".join(PYPROJECT["project"]["classifiers"]))
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    (own,) = [step["with"]["python-version"] for step in jobs["run"]["steps"] if "setup-python" in step.get("uses", "")]
    others = jobs["pythons"]["strategy"]["matrix"]["include"]
    assert sorted({own, *(job["python"] for job in others)}) == claimed
    assert {job["dependencies"] for job in others} == {"lowest", "tested"}
    page = (ROOT / "docs" / "howto" / "production.md").read_text(encoding="utf-8")
    assert f"with Python {claimed[0]} to {claimed[-1]}." in page


def test_what_an_installation_is_held_to() -> None:
    """To nothing, to the tree's own versions, or to the lowest that are claimed, with the tested rest beside them."""
    tested, lowest = distribution.tested(), distribution.lowest()
    assert distribution.constraints("newest") == {}
    assert distribution.constraints("tested") == tested
    held = distribution.constraints("lowest")
    assert held.items() >= lowest.items()
    rest = set(tested) - set(lowest) - set(distribution.BOUND)
    assert {name: held[name] for name in rest} == {name: tested[name] for name in rest}
    assert {"anyio", "h11", "pydantic", "pytest"} <= rest


def test_the_newest_patch_of_another_python_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3.12.10 came after 3.12.9; this Python itself is no other one."""
    here, other = f"3.{sys.version_info[1]}", "3.13" if sys.version_info[1] == 12 else "3.12"
    for version in (f"{other}.9", f"{other}.10", f"{other}.2", f"{here}.1"):
        (tmp_path / ".pyenv" / "versions" / version / "bin").mkdir(parents=True)
        (tmp_path / ".pyenv" / "versions" / version / "bin" / "python").touch()
    monkeypatch.setattr(distribution.Path, "home", lambda: tmp_path)
    monkeypatch.setattr(distribution.shutil, "which", lambda _: None)
    assert distribution.pythons("others") == [str(tmp_path / ".pyenv" / "versions" / f"{other}.10" / "bin" / "python")]


def test_the_tools_are_names_and_versions() -> None:
    """No registry is named, and no package twice."""
    lines = (ROOT / ".ci" / "tools.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert len({line.partition("==")[0] for line in pins}) == len(pins)


# ---- publishing


def test_dry_run(released: tuple[Path, str]) -> None:
    """A dry run builds, checks, describes, and says what it would sign and upload, without doing it."""
    out, said = released
    assert said.count("would sign: ") == 2
    assert "--publish-url https://upload.pypi.org/legacy/ --trusted-publishing always" in said
    base = f"wxmp_sdk-{VERSION}"
    assert {path.name for path in out.iterdir()} == {
        f"{base}-py3-none-any.whl",
        f"{base}.tar.gz",
        f"{base}.cdx.json",
        "SHA256SUMS",
    }
    summed = command("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=out)
    assert summed.returncode == 0, summed.stdout
    assert len((out / "SHA256SUMS").read_text().splitlines()) == 3


def test_the_bill_names_what_was_tested(released: tuple[Path, str]) -> None:
    """The bill of materials lists the direct dependencies with the versions that the tests ran with."""
    (bill,) = released[0].glob("*.cdx.json")
    listed = {part["name"]: part["version"] for part in json.loads(bill.read_text())["components"]}
    tested = distribution.tested()
    direct = {distribution.split(item)[0] for item in PYPROJECT["project"]["dependencies"]}
    assert {name: listed.get(name) for name in direct} == {name: tested[name] for name in direct}


@pytest.mark.parametrize(
    ("words", "why"),
    [((), "no identity"), (("--token", "pypi-x"), "the only argument"), (("--dry-run", "x"), "the only argument")],
    ids=["no identity", "a token", "two arguments"],
)
def test_refusals_of_the_command(clone: Path, words: tuple[str, ...], why: str) -> None:
    """Without a workflow's identity nothing is signed or uploaded, and a secret is not taken as an argument."""
    done = publish(clone, *words)
    assert done.returncode == 1
    assert why in done.stderr


def changelog(text: str) -> str:
    """A command that writes the changelog and commits it under the tag."""
    return f"printf '%b' '{text}' > CHANGELOG.md && git add -A && git commit -qm x && git tag -f v{VERSION} >/dev/null"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("echo x >> LICENSE", "not committed"),
        ("echo x > wxmp/stray.txt", "not committed"),
        (f"git tag -d v{VERSION}", "there is no tag"),
        ("git commit -q --allow-empty -m x", "on another commit"),
        ("sed -i 's/^version = .*/version = \"1;touch pwned\"/' pyproject.toml && git commit -qam x", "is not like"),
        (changelog("# Changelog\\n\\n## [Unreleased]\\n\\n- New.\\n"), "newest release"),
        (changelog("# Changelog\\n\\n## [Unreleased]\\n\\n## [0.0.9] - 2026-01-01\\n"), "newest release"),
        (changelog(f"## [Unreleased]\\n\\n- New.\\n\\n## [{VERSION}] - 2026-01-01\\n"), "under [Unreleased]"),
        (f"git tag v0.0.9 && git commit -q --allow-empty -m x && git tag -f v{VERSION}", "is the one of v0.0.9"),
    ],
    ids=[
        "changed",
        "untracked",
        "no tag",
        "tag elsewhere",
        "version",
        "not released",
        "older",
        "left over",
        "same changelog",
    ],
)
def test_refusals_of_the_tree(clone: Path, tmp_path: Path, change: str, why: str) -> None:
    """What is not a tagged commit with its changelog is not published, and the reason is said."""
    mine = tmp_path / "mine"
    git(tmp_path, "clone", "--quiet", str(clone), str(mine))
    (mine / ".venv").mkdir()
    (mine / ".venv" / "package").symlink_to(TOOLS)
    git(mine, "config", "user.name", "a")
    git(mine, "config", "user.email", "a@b.c")
    done = command("bash", "-ec", change, cwd=mine, GIT_CONFIG_GLOBAL="/dev/null")
    assert done.returncode == 0, done.stderr
    refused = publish(mine, "--dry-run")
    assert refused.returncode == 1
    assert why in refused.stderr
    assert not (mine / "dist").exists()


@pytest.mark.parametrize(
    "ref", ["refs/tags/v9.9.9", "refs/heads/main", "refs/tags/v0;touch${IFS}pwned", "$(touch pwned)"]
)
def test_a_workflow_for_something_else_is_refused(clone: Path, ref: str) -> None:
    """What started the workflow is the version's tag; a name that a shell would run is only shown."""
    refused = publish(clone, "--dry-run", GITHUB_REF=ref)
    assert refused.returncode == 1
    assert f"runs for {ref}" in refused.stderr
    assert not (clone / "pwned").exists()


def test_one_machine_is_not_enough(clone: Path) -> None:
    """With an identity, but without the sums of another machine, nothing is built, signed or uploaded."""
    refused = publish(clone, ACTIONS_ID_TOKEN_REQUEST_URL="https://127.0.0.1:1/")
    assert refused.returncode == 1
    assert "no other machine" in refused.stderr


def test_the_script_names_no_secret() -> None:
    """Nothing in it could hold a password or a token."""
    text = (ROOT / ".ci" / "publish").read_text(encoding="utf-8")
    assert re.findall(r"TWINE_|UV_PUBLISH_|--token|--password|\$\{?\w*(?:PASSWORD|SECRET|API_KEY)", text) == []


# ---- workflows


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_no_rights_and_pinned_actions(path: Path) -> None:
    """A workflow begins without rights; each action is a commit with its version beside it; no secret is read."""
    import yaml

    text = path.read_text(encoding="utf-8")
    parsed = yaml.safe_load(text)
    assert parsed["permissions"] == {}
    uses = re.findall(r"uses: (.*)", text)
    assert [line for line in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    assert "secrets." not in text
    assert "pull_request_target" not in text
    for name, job in parsed["jobs"].items():
        assert "permissions" in job, name
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), f"{name}: an expression in a command"
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_only_publishing_has_an_identity() -> None:
    """One job can sign and upload, and it runs neither tests nor builds of others' code before a maintainer agrees."""
    import yaml

    jobs = {
        f"{path.stem}/{name}": job
        for path in WORKFLOWS
        for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
    }
    assert [name for name, job in jobs.items() if "id-token" in job["permissions"]] == ["release/publish"]
    assert jobs["release/publish"]["environment"]["name"] == "pypi"
    assert jobs["release/publish"]["needs"] == "build"


def test_interpreter_of_the_tools_is_not_this_one(tools: Path) -> None:
    """The tools are nobody's dependency: they live in an environment of their own."""
    assert (tools / "bin" / "python").exists()
    assert Path(sys.prefix) != tools
