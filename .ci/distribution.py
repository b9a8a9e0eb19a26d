"""Builds, checks, tries and describes the distribution: ``make package``, ``make package-test``, ``make package-full``.

Runs in the environment of ``.ci/tools.txt``. Everything is made in temporary folders; only ``dist/`` is written to.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
#: A child that hangs fails, in seconds.
PATIENCE: Final = 2400


class Extra(NamedTuple):
    """What an extra is for: modules that import with it alone, and a program that goes through its door."""

    modules: tuple[str, ...]
    door: str


#: One entry for each extra of pyproject.toml. A module that no entry names must import without any extra.
EXTRAS: Final = {
    "cli": Extra(
        ("wxmp.cli.*",),
        """
        import subprocess, sys
        for option in ("--version", "--help"):
            subprocess.run([sys.executable, "-W", "error", "-m", "wxmp", option], check=True, stdout=subprocess.DEVNULL)
        """,
    ),
    "simulator": Extra(
        ("wxmp.simulator.app", "wxmp.simulator.control", "wxmp.simulator.control.*", "wxmp.simulator.live"),
        """
        import asyncio
        from wxmp import Client
        from wxmp.simulator import Simulator
        async def main(sim):
            async with Client(sim.account.appid, sim.account.secret, base_url=sim.url) as client:
                assert (await client.user.list()).total == 3
                picture = b"\\x89PNG\\r\\n\\x1a\\n" + bytes(64)
                assert (await client.media.upload(picture, type="image", filename="a.png")).media_id
        with Simulator(seed=1, followers=3) as sim:
            asyncio.run(main(sim))
        """,
    ),
    "control": Extra(
        (),  # the server itself is an ASGI application without a framework; the extra brings what serves it
        """
        import asyncio, httpx, uvicorn
        from wxmp import Client
        from wxmp.control import ControlKey, ControlServer
        async def main():
            client = Client("wx0123456789abcdef", "0" * 32)
            app = ControlServer([client], [ControlKey.create("shop", appids={client.appid})[0]])
            server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
            server.should_exit = True
            await serving
            await client.aclose()
        asyncio.run(asyncio.wait_for(main(), 20))
        """,
    ),
    "fastapi": Extra(
        ("wxmp.integrations.fastapi",),
        """
        import asyncio, httpx
        from fastapi import FastAPI
        from wxmp import Client
        from wxmp.integrations.fastapi import ClientDep, wxmp_lifespan
        app = FastAPI(lifespan=wxmp_lifespan(lambda: Client("wx0123456789abcdef", "0" * 32)))
        @app.get("/")
        async def show(client: ClientDep) -> str:
            return client.appid
        async def main():
            async with app.router.lifespan_context(app) as state:
                async def inner(scope, receive, send):
                    await app({**scope, "state": dict(state)}, receive, send)
                async with httpx.AsyncClient(transport=httpx.ASGITransport(inner), base_url="http://t") as http:
                    assert (await http.get("/")).json() == "wx0123456789abcdef"
        asyncio.run(main())
        """,
    ),
    "aiohttp": Extra(
        ("wxmp.integrations.aiohttp",),
        """
        import asyncio
        from aiohttp import web
        from wxmp import Client
        from wxmp.integrations.aiohttp import CLIENT, client_context
        async def main():
            app = web.Application()
            app.cleanup_ctx.append(client_context(lambda: Client("wx0123456789abcdef", "0" * 32)))
            runner = web.AppRunner(app)
            await runner.setup()
            assert app[CLIENT].appid == "wx0123456789abcdef"
            await runner.cleanup()
        asyncio.run(main())
        """,
    ),
    "taskiq": Extra(
        ("wxmp.integrations.taskiq",),
        """
        import taskiq_redis
        from taskiq import InMemoryBroker
        from wxmp.integrations.taskiq import BroadcastTask
        assert BroadcastTask and InMemoryBroker and taskiq_redis
        """,
    ),
    "opentelemetry": Extra(
        ("wxmp.integrations.opentelemetry",),
        """
        from wxmp import Client
        from wxmp.integrations.opentelemetry import OpenTelemetryHook
        Client("wx0123456789abcdef", "0" * 32, on_event=OpenTelemetryHook())
        """,
    ),
    "prometheus": Extra(
        ("wxmp.integrations.prometheus",),
        """
        from prometheus_client import CollectorRegistry
        from wxmp import Client
        from wxmp.integrations.prometheus import PrometheusHook
        registry = CollectorRegistry()
        Client("wx0123456789abcdef", "0" * 32, on_event=PrometheusHook(registry))
        """,
    ),
}

#: Modules that need more than one extra.
TOGETHER: Final = ("wxmp.cli._demo_service",)
#: Modules for tests: they need pytest, which a user's tests have.
FOR_TESTS: Final = ("wxmp.pytest_plugin", "wxmp.testing", "wxmp.testing.*")

#: What is tried in every run: a dependency that behaves otherwise than the tested one fails here. The rest is tried
#: before a release.
CORE_TESTS: Final = (
    "tests/test_caller.py",  # attrs, httpx
    "tests/test_client.py",
    "tests/test_pool.py",  # httpcore, sniffio
    "tests/test_redis_plumbing.py",  # redis
    "tests/test_retry.py",  # tenacity
    "tests/test_wire.py",  # cattrs
    "tests/tokens/test_encryption.py",  # cryptography
    "tests/webhook/test_crypto.py",
    "tests/pay/test_orders.py",
    "tests/api/stories/test_media.py",  # starlette, python-multipart
    "tests/cli/test_menu.py",  # cyclopts, rich, pyyaml
    "tests/integrations/test_aiohttp.py",
    "tests/integrations/test_fastapi.py",
    "tests/integrations/test_opentelemetry.py",
    "tests/integrations/test_prometheus.py",
)
#: Before a release: every test that is about the package and not about the tree around it.
LEFT_OUT_OF_ALL: Final = (
    "tests/browser",  # the page needs a Chromium, and does not depend on what is installed
    "tests/peers",  # have an environment of their own
    "tests/processes",  # minutes, and the same code paths with more processes
    "tests/typing",
    "tests/test_architecture.py",  # these five read the sources, the pages, the benchmarks
    "tests/test_benchmarks.py",
    "tests/test_docs.py",
    "tests/test_package.py",
    "tests/test_project.py",
    "tests/test_public_signatures.py",
    "tests/test_site.py",
    "tests/api/test_endpoint_page.py",
    "tests/cli/test_demo.py",
)
#: Members of the test group that none of these tests needs; they are large.
NOT_NEEDED: Final = ("playwright", "pandas", "polars")
#: An old Starlette beside the newest anyio: a name that is deprecated by now, and streams that its test client leaves.
THEIR_WARNINGS: Final = (
    "-W",
    "ignore:The anyio.abc:DeprecationWarning",
    "-W",
    "ignore:Unclosed <MemoryObject:ResourceWarning",
)
#: Its test reads the port from what aiohttp prints; before 3.11 that is the 0 which was asked for.
NOT_WITH_LOWEST: Final = ("tests/integrations/test_servers.py", "tests/integrations/test_servers_webhook.py")
#: What the lowest dependencies do not take in its tested version: they name the one they were released with.
BOUND: Final = (
    "multidict",
    "opentelemetry-instrumentation",
    "opentelemetry-instrumentation-httpx",
    "opentelemetry-sdk",
    "opentelemetry-semantic-conventions",
    "opentelemetry-util-http",
    "rich-rst",
    "wrapt",
)


class ProblemError(Exception):
    """Something about the distribution is not as it must be."""


def run(command: Sequence[str | Path], **options: Any) -> str:
    """Run a command and return what it prints; what it says goes into the error."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )
    if done.returncode:
        shown = " ".join(str(word) for word in command[:8])
        raise ProblemError(f"{shown} ...: exit code {done.returncode}\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
    return str(done.stdout)


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(prefix="wxmp-package-") as name:
        yield Path(name)


def say(text: str) -> None:
    """Tell what is done."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# ---- build


def commit_time() -> str:
    """Return the time that stands in the archives: the last commit's, so that anybody gets the same bytes."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    try:
        return run(["git", "-C", ROOT, "log", "-1", "--format=%ct"]).strip()
    except (ProblemError, OSError):
        return "1577836800"  # no history here: the first day of 2020


def build(out: Path, source: Path = ROOT) -> tuple[Path, Path]:
    """Build the source archive, and from nothing but that the wheel; return (wheel, source archive) in ``out``."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_time()}
    hatchling = [sys.executable, "-m", "hatchling", "build"]
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("*.whl"), *out.glob("*.tar.gz")]:
        old.unlink()
    run([*hatchling, "-t", "sdist", "-d", out], cwd=source, env=environment)
    (archive,) = out.glob("*.tar.gz")
    with folder() as place:
        with tarfile.open(archive) as opened:
            opened.extractall(place, filter="data")
        run([*hatchling, "-t", "wheel", "-d", out], cwd=place / archive.name.removesuffix(".tar.gz"), env=environment)
    (wheel,) = out.glob("*.whl")
    return wheel, archive


def digests(out: Path) -> dict[str, str]:
    """Return the SHA-256 of each archive in a folder, by name."""
    archives = sorted([*out.glob("*.whl"), *out.glob("*.tar.gz")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in archives}


# ---- check


def package_files() -> set[str]:
    """Return the files of the package that are or could be committed."""
    listed = run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "wxmp"]).splitlines()
    return {name for name in listed if (ROOT / name).is_file()}


def check(out: Path) -> None:
    """Refuse archives that hold anything but the package and its legal files, or whose description is not in order."""
    version = project()["project"]["version"]
    wheel, archive = out / f"wxmp_sdk-{version}-py3-none-any.whl", out / f"wxmp_sdk-{version}.tar.gz"
    if set(digests(out)) != {wheel.name, archive.name}:
        raise ProblemError(f"{out} must hold {wheel.name} and {archive.name}, and holds {sorted(digests(out))}")
    expected = package_files()
    info = f"wxmp_sdk-{version}.dist-info"
    extra = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    with zipfile.ZipFile(wheel) as opened:
        compare(wheel.name, set(opened.namelist()), expected | extra)
        modes = {(member.external_attr >> 16) & 0o777 for member in opened.infolist()}
        times = {member.date_time for member in opened.infolist()}
        metadata = opened.read(f"{info}/METADATA")
    uniform(wheel.name, modes, times)
    # hatchling always adds .gitignore: it decides what a build from the archive takes.
    beside = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "README.zh-CN.md", "pyproject.toml"}
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    root = archive.name.removesuffix(".tar.gz")
    compare(archive.name, {item.name for item in members}, {f"{root}/{name}" for name in expected | beside})
    uniform(archive.name, {item.mode & 0o777 for item in members}, {item.mtime for item in members})
    if {(item.uid, item.gid, item.uname, item.gname) for item in members} != {(0, 0, "", "")}:
        raise ProblemError(f"{archive.name} names the user who built it")
    check_metadata(metadata)
    run([sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, archive])


def compare(name: str, found: set[str], expected: set[str]) -> None:
    """Refuse an archive that lacks files or has others."""
    if found != expected:
        raise ProblemError(f"{name}: lacks {sorted(expected - found)}, has besides {sorted(found - expected)}")


def uniform(name: str, modes: set[int], times: set[Any]) -> None:
    """Refuse modes or times of the machine that built it."""
    if modes != {0o644} or len(times) != 1:
        raise ProblemError(f"{name}: modes {[oct(mode) for mode in modes]}, {len(times)} different times")


def check_metadata(raw: bytes) -> None:
    """Refuse a description with unknown classifiers, a wrong licence, or links that lead nowhere outside the tree."""
    from packaging.metadata import Metadata
    from trove_classifiers import classifiers  # type: ignore[import-not-found, unused-ignore]

    metadata = Metadata.from_email(raw, validate=True)
    if metadata.license_expression != "MIT" or metadata.license_files != ["LICENSE"]:
        raise ProblemError("the licence is not named as PEP 639 wants it")
    if unknown := set(metadata.classifiers or ()) - set(classifiers):
        raise ProblemError(f"unknown classifiers: {sorted(unknown)}")
    if not all(address.startswith("https://") for address in (metadata.project_urls or {}).values()):
        raise ProblemError("a project URL is not https")
    if set(metadata.provides_extra or ()) != set(project()["project"]["optional-dependencies"]):
        raise ProblemError("the extras are not those of pyproject.toml")
    page = metadata.description or ""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    links = [*re.findall(r"\]\(([^)\s]+)", text), *re.findall(r'(?:src|href|srcset)="([^"]+)"', text)]
    if relative := [link for link in links if not link.startswith(("https://", "#"))]:
        raise ProblemError(f"links of the page that lead nowhere on an index: {relative}")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    own = re.compile(
        r"https://(?:github\.com|raw\.githubusercontent\.com)/wxmp-sdk/wxmp/(?:blob/)?v[\d.]+/([^)\s\"#]+)"
    )
    if missing := [name for name in own.findall(page) if not (ROOT / name).exists()]:
        raise ProblemError(f"links of the page to files that are not there: {missing}")
    if (code := re.findall(r"^```.*?^```$", readme, re.MULTILINE | re.DOTALL)) and any(
        part not in page for part in code
    ):
        raise ProblemError("making the links absolute changed a program of the page")


def rebuild(out: Path) -> None:
    """Build once more: elsewhere, with other rights, times, language and order; refuse any other byte."""
    first = digests(out)
    with folder() as place:
        copy = place / "another folder" / "tree"
        for name in [*sorted(package_files(), reverse=True), "pyproject.toml", "LICENSE", "CHANGELOG.md", ".gitignore"]:
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(0o600)
            os.utime(target, (1_000_000_000, 1_000_000_000))
        for name in ("README.md", "README.zh-CN.md"):
            shutil.copyfile(ROOT / name, copy / name)
        # What lies about in a working tree must not get in.
        for stray in ("wxmp/notes.txt", "wxmp/.env", "wxmp/__pycache__/client.pyc", "tests/test_x.py", "build/x.py"):
            (copy / stray).parent.mkdir(parents=True, exist_ok=True)
            (copy / stray).write_text("stray", encoding="utf-8")
        words: list[str | Path] = [sys.executable, __file__, "build", "--out", place / "out", "--source", copy]
        other = {"TZ": "Asia/Shanghai", "LC_ALL": "C", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": commit_time()}
        run(words, env={**os.environ, **other}, umask=0o077, cwd=place)
        second = digests(place / "out")
    if first != second:
        raise ProblemError(f"two builds of one tree differ: {first} and {second}")


# ---- dependencies


def split(requirement: str) -> tuple[str, str]:
    """Return the normal name of a requirement, and its lower bound."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    parsed = Requirement(requirement)
    bounds = [item.version for item in parsed.specifier if item.operator == ">="]
    if len(bounds) != 1:
        raise ProblemError(f"{requirement}: a requirement names one lower bound")
    return canonicalize_name(parsed.name), bounds[0]


def lowest() -> dict[str, str]:
    """Return each dependency of the package and its extras at exactly the version that pyproject.toml claims to take.

    The same package in two places must have the same bound: two claims would need two proofs.
    """
    parts = project()["project"]
    found: dict[str, str] = {}
    for requirement in [
        *parts["dependencies"],
        *(item for items in parts["optional-dependencies"].values() for item in items),
    ]:
        name, bound = split(requirement)
        if found.setdefault(name, bound) != bound:
            raise ProblemError(f"{name} has two lower bounds: {found[name]} and {bound}")
    return found


def tested() -> dict[str, str]:
    """Return the versions of constraints.txt."""
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in pins}


def test_tools(*, everything: bool) -> list[str]:
    """Return the requirements of the test group."""
    items = [item for item in project()["dependency-groups"]["tests"] if isinstance(item, str)]
    return items if everything else [item for item in items if split(item.partition(";")[0])[0] not in NOT_NEEDED]


def constraints(kind: str) -> dict[str, str]:
    """Return what an installation is held to: nothing for ``newest``, the tree's own versions for ``tested``.

    ``lowest`` holds the package's dependencies to their lower bounds, and all they pull in to the tested versions: what
    is released tomorrow must not stop a change of ours.
    """
    if kind == "newest":
        return {}
    pins = tested()
    if kind == "tested":
        return pins
    return {**{name: version for name, version in pins.items() if name not in BOUND}, **lowest()}


def hold(place: Path, pins: Mapping[str, str]) -> tuple[str, Path]:
    """Write a file of constraints; return the option that names it."""
    held = place / "held.txt"
    held.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
    return "--constraint", held


def behind() -> dict[str, tuple[str, str]]:
    """Return what is no longer the newest in constraints.txt: name, tested version, newest version."""
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    page = ROOT / "pyproject.toml"
    words: list[str | Path] = ["--all-extras", "--group", f"{page}:dev", "--python", sys.executable, page]
    listed = uv("pip", "compile", "--quiet", "--no-header", "--no-annotate", *words).splitlines()
    newest = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in listed)}
    pins = tested()
    return {
        name: (pins[name], version)
        for name, version in sorted(newest.items())
        if name in pins and Version(version) > Version(pins[name])
    }


# ---- environments


def pythons(wanted: str) -> list[str]:
    """Return the interpreters that are meant: one by version or path, or the ``others`` of the classifiers."""
    if wanted != "others":
        return [wanted]
    found = []
    for version in re.findall(r"Python :: (3\.\d+)", " ".join(project()["project"]["classifiers"])):
        homes = sorted(
            Path.home().glob(f".pyenv/versions/{version}.*/bin/python"),
            key=lambda path: [int(number) for number in re.findall(r"\d+", path.parents[1].name)],
        )
        named = shutil.which(f"python{version}")
        candidates = [str(homes[-1])] if homes else [named] if named else []
        if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            continue
        if not candidates:
            say(f"Python {version} is not on this machine: not tried")
        found += candidates
    return found


def uv(*words: str | Path) -> str:
    """Run uv of the tools' environment."""
    return run([Path(sys.executable).parent / "uv", *words])


def environment(place: Path, python: str, wheel: Path, extras: Sequence[str], *more: str | Path) -> Path:
    """Make an environment with the wheel and some extras; return its interpreter."""
    uv("venv", "--quiet", "--python", python, place)
    interpreter = place / "bin" / "python"
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    uv("pip", "install", "--quiet", "--python", interpreter, wanted, *more)
    uv("pip", "check", "--quiet", "--python", interpreter)
    return interpreter


def bare(**more: str) -> dict[str, str]:
    """Return an environment in which nothing leads to this tree."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COVERAGE", "WXMP_", "VIRTUAL_ENV"))
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}


#: Part of every run of the tests: whatever is imported as wxmp comes from the installation.
WATCH: Final = """
import sys, sysconfig
from pathlib import Path

def home():
    import wxmp
    place = Path(sysconfig.get_path("purelib")) / "wxmp"
    assert Path(wxmp.__file__).parent == place, wxmp.__file__
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "wxmp"}
    strange = [name for name, module in modules.items() if place not in Path(module.__file__).parents]
    assert not strange, strange
    return place

def pytest_report_header():
    from importlib.metadata import version
    return f"wxmp {version('wxmp-sdk')} from {home()}"

def pytest_sessionfinish():
    home()
"""


def test_wheel(wheel: Path, kind: str, python: str, *, everything: bool) -> None:
    """Install the wheel and run the tests against it, with no sources within reach."""
    began = time.monotonic()
    with folder() as place:
        held = hold(place, constraints(kind))
        tools = place / "tests.txt"
        tools.write_text("".join(f"{item}\n" for item in test_tools(everything=everything)))
        extras = list(project()["project"]["optional-dependencies"])
        interpreter = environment(place / "venv", python, wheel, extras, *held, "--requirement", tools)
        installed = {
            item["name"]: item["version"]
            for item in json.loads(uv("pip", "list", "--quiet", "--format", "json", "--python", interpreter))
        }
        if kind == "lowest":
            exactly(installed)
        tree = place / "away"
        shutil.copytree(ROOT / "tests", tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "pyproject.toml", tree / "pyproject.toml")
        (tree / "watch.py").write_text(WATCH, encoding="utf-8")
        for name in ("docs", "LICENSE"):
            if everything and (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tree / name)
        left_out = [*LEFT_OUT_OF_ALL, *(NOT_WITH_LOWEST if kind == "lowest" else ())]
        chosen = [f"--ignore={name}" for name in left_out] if everything else list(CORE_TESTS)
        plugins = ["-p", "watch", "-p", "no:cacheprovider", *(THEIR_WARNINGS if kind == "lowest" else ())]
        pytest: list[str | Path] = [interpreter, "-m", "pytest", "--quiet", "--numprocesses", "2", "--dist", "loadfile"]
        printed = run(
            [*pytest, *plugins, *chosen], cwd=tree, env=bare(HYPOTHESIS_STORAGE_DIRECTORY=str(place / "hypothesis"))
        )
        version = f"wxmp {installed['wxmp-sdk']}"
    seconds = time.monotonic() - began
    say(f"wheel, {kind} dependencies, Python {python}: {version}; {printed.splitlines()[-1]} ({seconds:.0f} s in all)")


def exactly(installed: Mapping[str, str]) -> None:
    """Refuse an installation whose dependencies are not the lowest that are claimed."""
    from packaging.version import Version

    wrong = {
        name: installed.get(name)
        for name, bound in lowest().items()
        if Version(installed.get(name, "0")) != Version(bound)
    }
    if wrong:
        raise ProblemError(f"the installation does not have the lowest dependencies: {wrong}")


IMPORT: Final = """
import importlib, json, pkgutil, sys, warnings
warnings.simplefilter("error")
import wxmp
failed = {}
names = ["wxmp", *(found.name for found in pkgutil.walk_packages(wxmp.__path__, "wxmp.", onerror=lambda name: None))]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = str(error)
print(json.dumps({"names": names, "failed": failed}))
"""


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a module is named by one of the patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def attempt(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a program that may fail, away from this tree."""
    away = Path(command[0]).parent
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=bare(), cwd=away, timeout=60, check=False
    )


def without_extras(interpreter: Path) -> list[str]:
    """Import everything where no extra is installed; return what is wrong."""
    wrong = []
    answer = json.loads(run([interpreter, "-I", "-c", IMPORT], env=bare()))
    optional = [pattern for extra in EXTRAS.values() for pattern in extra.modules]
    wrong += [
        f"{name} needs an extra that EXTRAS does not name: {why}"
        for name, why in answer["failed"].items()
        if not matches(name, [*optional, *FOR_TESTS])
    ]
    for name, why in answer["failed"].items():
        if name.startswith("wxmp.integrations.") and not re.fullmatch(
            rf'{name} needs [\w -]+: pip install "wxmp-sdk\[{name.rpartition(".")[2]}\]"', why
        ):
            wrong.append(f"{name} does not say what to install: {why}")
    for name, extra in EXTRAS.items():
        if extra.modules and not any(matches(failed, extra.modules) for failed in answer["failed"]):
            wrong.append(f"the modules of the extra {name} import without it")
    command = attempt([interpreter, "-m", "wxmp", "--version"])
    sentence = re.fullmatch(r"[^\n]+pip install \"wxmp-sdk\[cli[^\n]+\n", command.stderr)
    if command.returncode != 2 or command.stdout or not sentence:
        wrong.append(f"the command does not say in one sentence what to install: {command.stderr}")
    simulator = attempt([interpreter, "-c", "from wxmp.simulator import Simulator\nwith Simulator(): pass"])
    if 'pip install "wxmp-sdk[simulator]"' not in simulator.stderr:
        wrong.append(f"the simulator does not say what to install: {simulator.stderr.splitlines()[-1:]}")
    return wrong


def one_extra(interpreter: Path, name: str) -> list[str]:
    """Import what an extra is for, where it alone is installed, and go through its door; return what is wrong."""
    answer = json.loads(run([interpreter, "-I", "-c", IMPORT], env=bare()))
    mine = [module for module in answer["names"] if matches(module, EXTRAS[name].modules)]
    failed = [module for module in mine if module in answer["failed"] and module not in TOGETHER]
    wrong = [f"{name}: {module}: {answer['failed'][module]}" for module in failed]
    if EXTRAS[name].modules and not mine:
        wrong.append(f"{name}: there is no module {EXTRAS[name].modules}")
    program = f"{WATCH}\nhome()\n{textwrap.dedent(EXTRAS[name].door)}\nhome()\n"
    door = attempt([interpreter, "-W", "error", "-c", program])
    if door.returncode:
        wrong.append(f"{name}: its door is shut:\n{door.stderr[-3000:]}")
    return wrong


def test_extras(wheel: Path, python: str) -> None:
    """Install each extra alone; and none."""
    claimed = set(project()["project"]["optional-dependencies"])
    if claimed != set(EXTRAS):
        raise ProblemError(f"EXTRAS and pyproject.toml name different extras: {sorted(claimed ^ set(EXTRAS))}")
    wrong = []
    with folder() as place:
        held = hold(place, tested())

        def trial(name: str) -> list[str]:
            began = time.monotonic()
            extras = [name] if name in EXTRAS else []
            interpreter = environment(place / name, python, wheel, extras, *held)
            found = one_extra(interpreter, name) if extras else without_extras(interpreter)
            say(f"{name if extras else 'no extra'}{' alone' if extras else ''}: {time.monotonic() - began:.1f} s")
            return found

        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(trial, ["none", *sorted(EXTRAS)]):
                wrong += found
    if wrong:
        raise ProblemError("\n".join(wrong))


# ---- bill of materials


def bill(wheel: Path, out: Path, python: str) -> None:
    """Write a CycloneDX bill of materials: the wheel and all that it pulls in, without extras, as it was tested.

    No version is chosen while a release is made, and nothing that comes from an index is built: that would run it.
    """
    with folder() as place:
        interpreter = environment(place / "venv", python, wheel, [], *hold(place, tested()), "--no-build")
        words: list[str | Path] = [
            "environment",
            "--pyproject",
            ROOT / "pyproject.toml",
            "--mc-type",
            "library",
            "--output-reproducible",
        ]
        written = place / "bill.json"
        tool = Path(sys.executable).parent / "cyclonedx-py"
        run([tool, *words, "--spec-version", "1.6", "--output-format", "JSON", "--output-file", written, interpreter])
        content = json.loads(written.read_text(encoding="utf-8"))
    names = {part["name"] for part in content["components"]}
    if missing := {split(item)[0] for item in project()["project"]["dependencies"]} - names:
        raise ProblemError(f"the bill of materials lacks {sorted(missing)}")
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    if str(ROOT) in text or "file:///" in text:
        raise ProblemError("the bill of materials names a folder of this machine")
    out.write_text(f"{text}\n", encoding="utf-8")
    say(f"{out.name}: {len(names)} components")


# ---- the command


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["build", "check", "wheel", "extras", "sbom", "behind"])
    parser.add_argument("--out", type=Path, default=DIST)
    parser.add_argument("--source", type=Path, default=ROOT)
    parser.add_argument("--dependencies", choices=["lowest", "tested", "newest"], default="lowest")
    parser.add_argument("--python", default=sys.executable, help="a version, a path, or: others")
    parser.add_argument("--all", action="store_true", help="all tests about the package, not only the short run")
    chosen = parser.parse_args()
    began = time.monotonic()
    try:
        if chosen.command == "behind":
            for name, (old, new) in behind().items():
                say(f"constraints.txt: {name} {old} is tested, {new} is the newest")
            return
        if chosen.command == "build":
            for path in build(chosen.out, chosen.source):
                say(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
            return
        (wheel,) = chosen.out.resolve().glob("*.whl")
        if chosen.command == "check":
            check(chosen.out)
            rebuild(chosen.out)
            say(f"{chosen.out.name}/ holds the package and its legal files, and is built the same elsewhere")
        elif chosen.command == "wheel":
            for python in pythons(chosen.python):
                test_wheel(wheel, chosen.dependencies, python, everything=chosen.all)
        elif chosen.command == "extras":
            test_extras(wheel, chosen.python)
        else:
            bill(wheel, chosen.out / f"{wheel.name.removesuffix('-py3-none-any.whl')}.cdx.json", chosen.python)
    except ProblemError as error:
        sys.exit(f"{chosen.command}: {error}")
    say(f"{chosen.command}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
