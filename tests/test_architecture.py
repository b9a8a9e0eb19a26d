"""The rooms of the house: imports point downward, and some things stand in one place only."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

import wxmp

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(wxmp.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"

#: From the ground up. A module imports from lines above its own in this list, never from its own line or from below.
LAYERS = [
    ["wxmp.errcodes", "wxmp._beijing", "wxmp._hosts", "wxmp._log", "wxmp._redact"],
    ["wxmp._asgi", "wxmp.errors"],
    ["wxmp.events"],
    ["wxmp._watch"],
    ["wxmp._wire", "wxmp._redis", "wxmp._files", "wxmp._env"],
    ["wxmp.config", "wxmp._proxy"],
    ["wxmp.retry", "wxmp.tokens.store"],
    ["wxmp.tokens.memory", "wxmp.tokens._state", "wxmp.tokens._guard", "wxmp.tokens._report"],
    ["wxmp.tokens.file", "wxmp.tokens.redis", "wxmp.tokens.encryption", "wxmp.tokens._flight"],
    ["wxmp.tokens.keeper"],
    ["wxmp._pool", "wxmp._request", "wxmp._answer"],
    ["wxmp._loop_pools", "wxmp._body"],
    ["wxmp._cargo"],
    ["wxmp._failure", "wxmp._user_client"],
    ["wxmp._transport"],
    ["wxmp._caller"],
    ["wxmp._watched_caller"],
    ["wxmp.api._answers", "wxmp.api._checks", "wxmp.api._pages"],
    ["wxmp.api._templates", "wxmp.api.articles", "wxmp.api.downloads", "wxmp.api.uploads"],
    ["wxmp.api._datacube_dates", "wxmp.api._datacube_records"],
    ["wxmp.api._datacube_ads"],
    ["wxmp.api.*"],
    ["wxmp.webhook.crypto", "wxmp.webhook.reading"],
    ["wxmp.webhook.messages"],
    ["wxmp.webhook.events"],
    ["wxmp.webhook.parsing", "wxmp.webhook.replies"],
    ["wxmp.webhook.activity", "wxmp.webhook.dedupe", "wxmp.webhook.dispatch", "wxmp.webhook.gate"],
    ["wxmp.webhook.activity_redis", "wxmp.webhook.dedupe_redis", "wxmp.webhook.delivery"],
    ["wxmp.webhook.asgi"],
    ["wxmp.webhook.app"],
    ["wxmp.webhook"],
    ["wxmp.pay._codes", "wxmp.pay._cipher", "wxmp.pay._checks", "wxmp.pay._sites", "wxmp.pay._v2_sign"],
    ["wxmp.pay._v2_line"],
    ["wxmp.pay._keys", "wxmp.pay.records", "wxmp.pay.notify_reading"],
    ["wxmp.pay._signing", "wxmp.pay._v2_records"],
    ["wxmp.pay._certificates"],
    ["wxmp.pay._gateway"],
    ["wxmp.pay._downloads", "wxmp.pay._ordering"],
    ["wxmp.pay.*"],
    ["wxmp.pay.notify_records", "wxmp.pay.notify_asgi"],
    ["wxmp.pay.notifications"],
    ["wxmp.pay.client"],
    ["wxmp.pay.v2"],
    ["wxmp.pay"],
    ["wxmp.broadcast.records"],
    ["wxmp.broadcast.journal", "wxmp.broadcast.sources"],
    ["wxmp.broadcast.delivery"],
    ["wxmp.broadcast.engine", "wxmp.broadcast.redis", "wxmp.broadcast.sqlite", "wxmp.broadcast.*"],
    ["wxmp.broadcast.api"],
    ["wxmp.broadcast"],
    ["wxmp.control.wire"],
    ["wxmp.control.keys"],
    ["wxmp.control.store"],
    ["wxmp.client"],
    ["wxmp.control.limits", "wxmp.control.audit", "wxmp.control.ledger", "wxmp.control.openapi"],
    ["wxmp.control.desk"],
    ["wxmp.control.web", "wxmp.control.report"],
    ["wxmp.control.static"],
    ["wxmp.control.server"],
    ["wxmp.integrations._labels"],
    ["wxmp.control.*", "wxmp.integrations.*", "wxmp.testing.*"],
    ["wxmp.api", "wxmp.tokens", "wxmp.control", "wxmp.integrations", "wxmp.testing"],
    ["wxmp.simulator", "wxmp.simulator.*"],
    ["wxmp.cli", "wxmp._wx_sim"],
    [
        "wxmp.cli._command",
        "wxmp.cli._completion",
        "wxmp.cli._console",
        "wxmp.cli._doctor_report",
        "wxmp.cli._reach",
        "wxmp.cli._tag",
    ],
    [
        "wxmp.cli._account",
        "wxmp.cli._control_config",
        "wxmp.cli._demo_pipe",
        "wxmp.cli._progress",
        "wxmp.cli._export_file",
        "wxmp.cli._menu_file",
        "wxmp.cli._send_rows",
        "wxmp.cli._sim_options",
    ],
    ["wxmp.cli._sim_exec", "wxmp.cli._doctor_case"],
    ["wxmp.cli._doctor_settings", "wxmp.cli._doctor_network"],
    ["wxmp.cli._doctor_store", "wxmp.cli._doctor_account", "wxmp.cli._doctor_callback", "wxmp.cli._doctor_pay"],
    ["wxmp.cli.*", "wxmp.pytest_plugin"],
    ["wxmp", "wxmp.__main__"],
]

#: Imports that point upward on purpose.
ALLOWED = {
    # The processes of the demo: they are written as a user writes a program.
    ("wxmp.cli._demo_service", "wxmp"),
    ("wxmp.cli._demo_worker", "wxmp"),
}

PLUGIN = {"wxmp.pytest_plugin", "wxmp._wx_sim"}

#: Jitter, and nothing that anybody could gain from guessing.
MAY_USE_RANDOM = {
    "wxmp.broadcast.delivery",
    "wxmp.broadcast.engine",
    "wxmp.retry",
    "wxmp.tokens._flight",
    "wxmp.tokens._state",
}


@attrs.frozen
class Import:
    """One imported module, and whether only type checkers see it."""

    importer: str
    imported: str
    typing_only: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


# Not at import: every worker of a test run collects this file, and one of them runs it.
@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


def imports_of(name: str) -> Iterator[Import]:
    """Yield all imports of a module, those inside functions included."""
    pending: list[tuple[ast.AST, bool]] = [(tree_of(name), False)]
    while pending:
        node, typing_only = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            pending += [(child, True) for child in node.body] + [(child, typing_only) for child in node.orelse]
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, typing_only)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(name, inner if inner in SOURCES else str(node.module), typing_only)
        pending += [(child, typing_only) for child in ast.iter_child_nodes(node)]


@cache
def all_imports() -> list[Import]:
    return [found for name in SOURCES for found in imports_of(name)]


def layer_of(name: str) -> int | None:
    """The line of a module: by its own name, else by its package's."""
    parts = name.split(".")
    for pattern in [name, *(".".join([*parts[:length], "*"]) for length in range(len(parts) - 1, 0, -1))]:
        for number, layer in enumerate(LAYERS):
            if pattern in layer:
                return number
    return None


def called_names(name: str) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)}


def test_the_source_is_read() -> None:
    """The tests below look at the whole package."""
    assert len(SOURCES) > 50
    assert Import("wxmp.client", "wxmp._caller", typing_only=False) in all_imports()
    assert Import("wxmp.client", "wxmp.api.menu", typing_only=True) in all_imports()
    assert Import("wxmp.client", "wxmp.api.menu", typing_only=False) in all_imports()


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_has_its_layer(name: str) -> None:
    """A new module says where in the house it stands."""
    assert layer_of(name) is not None


# The simulator is one layer inside; what it may import from outside has a test of its own.
@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith("wxmp.simulator")])
def test_imports_point_downward(name: str) -> None:
    """No module imports from its own layer or from above, inside functions neither; types may come from anywhere."""
    own = layer_of(name)
    assert own is not None
    wrong = [
        found.imported
        for found in all_imports()
        if found.importer == name
        and found.imported in SOURCES
        and not found.typing_only
        and (name, found.imported) not in ALLOWED
        and (layer_of(found.imported) or 0) >= own
    ]
    assert wrong == []


def test_exceptions_are_needed() -> None:
    """The list of exceptions names imports that exist."""
    assert {(found.importer, found.imported) for found in all_imports()} >= ALLOWED


def test_every_layer_is_in_use() -> None:
    """The picture of the house shows no module that is gone."""
    named = {entry for layer in LAYERS for entry in layer if not entry.endswith("*")}
    assert named <= set(SOURCES)


def test_one_module_speaks_http() -> None:
    """Only the transport imports httpx, and with it only the pool imports httpcore; types of them are nowhere else."""
    users = {(found.importer, found.imported.partition(".")[0]) for found in all_imports()}
    assert {importer for importer, library in users if library == "httpx"} == {
        "wxmp._transport",
        "wxmp.simulator.deliver",  # what the platform sends
        "wxmp.simulator.inprocess",  # and how a client in the same process reaches it without sockets
    }
    assert {importer for importer, library in users if library == "httpcore"} <= {"wxmp._transport", "wxmp._pool"}
    assert {
        importer for importer, library in users if library in ("httpx2", "httpcore2", "requests", "urllib3")
    } == set()


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        # The doctor asks the server about itself (INFO, CONFIG), which no script of ours does.
        ("redis", {"wxmp._redis", "wxmp.tokens.redis", "wxmp.cli._doctor_store"}),
        ("cattrs", {"wxmp._wire", "wxmp.simulator.snapshots"}),  # the simulator shares no code with the SDK
        ("tenacity", {"wxmp.retry"}),
        ("fastapi", {"wxmp.integrations.fastapi"}),
        ("aiohttp", {"wxmp.integrations.aiohttp"}),
        ("taskiq", {"wxmp.integrations.taskiq"}),
        ("opentelemetry", {"wxmp.integrations.opentelemetry"}),
        ("prometheus_client", {"wxmp.integrations.prometheus"}),
        ("yaml", {"wxmp.simulator.strict", "wxmp.cli._menu_file"}),  # it reads nodes and lets nothing be constructed
        ("python_multipart", {"wxmp.simulator.wire"}),
    ],
)
def test_other_libraries_have_one_home(library: str, homes: set[str]) -> None:
    """What a library does for us, one module does; changing it touches one file."""
    users = {
        found.importer for found in all_imports() if found.imported.split(".")[0] == library and not found.typing_only
    }
    assert users <= homes


def test_simulator_stands_apart() -> None:
    """The simulator imports nothing of the SDK but the table of codes: a shared mistake would hide itself."""
    outside = {
        found.imported
        for found in all_imports()
        if found.importer.startswith("wxmp.simulator")
        and found.imported.startswith("wxmp")
        and not found.imported.startswith("wxmp.simulator")
    }
    assert outside <= {"wxmp.errcodes"}


def test_sdk_does_not_need_the_simulator() -> None:
    """Only the command line and the pytest plugin know that there is a simulator."""
    users = {found.importer for found in all_imports() if found.imported.startswith("wxmp.simulator")}
    users = {name for name in users if not name.startswith("wxmp.simulator")}
    assert {name for name in users if not name.startswith("wxmp.cli.") and name not in PLUGIN} == set()


@pytest.mark.parametrize("name", SOURCES)
def test_no_module_for_odds_and_ends(name: str) -> None:
    """A module is called by what is in it."""
    words = {word for part in name.split(".") for word in part.strip("_").split("_")}
    assert (
        words & {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "base_utils"} == set()
    )


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_executes_data(name: str) -> None:
    """No pickle, marshal, shelve, eval, exec or yaml.load: data is never code."""
    imported = {found.imported.partition(".")[0] for found in all_imports() if found.importer == name}
    assert imported & {"pickle", "marshal", "shelve", "dill", "cloudpickle"} == set()
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "pickle.loads"}
    forbidden |= {"yaml.safe_load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"}
    assert called_names(name) & forbidden == set()


def test_random_is_for_jitter_only() -> None:
    """What must not be guessed comes from secrets; random is used where its only job is to spread waits."""
    users = {found.importer for found in all_imports() if found.imported.partition(".")[0] in ("random", "uuid")}
    assert users <= MAY_USE_RANDOM
    makers = {found.importer for found in all_imports() if found.imported == "secrets"}
    assert users & makers == set()


@pytest.mark.parametrize(
    "name",
    [name for name in SOURCES if name != "wxmp.testing.token_store"],  # a suite for pytest: its asserts are its purpose
)
def test_nothing_depends_on_assert(name: str) -> None:
    """``python -O`` takes no check away."""
    assert [node.lineno for node in ast.walk(tree_of(name)) if isinstance(node, ast.Assert)] == []


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith(("wxmp.cli", "wxmp.__main__"))])
def test_library_does_not_print(name: str) -> None:
    """The library logs; only the command line speaks to a terminal."""
    assert called_names(name) & {"print", "input", "sys.stdout.write", "logging.basicConfig"} == set()


@pytest.mark.parametrize("name", SOURCES)
def test_annotations_cost_nothing(name: str) -> None:
    """Every module with functions or classes postpones its annotations."""
    code = [n for n in ast.walk(tree_of(name)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    assert not code or any(found.imported == "__future__" for found in all_imports() if found.importer == name)


@pytest.mark.parametrize("name", SOURCES)
def test_loggers_belong_to_the_package(name: str) -> None:
    """Every logger is below ``wxmp``, so that a program can set one level for all."""
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger":
            assert node.args
            assert isinstance(node.args[0], ast.Constant)
            assert str(node.args[0].value).partition(".")[0] == "wxmp"


#: ``dependencies`` and the extras of pyproject.toml.
DECLARED = {"attrs", "cattrs", "cryptography", "httpcore", "httpx", "redis", "sniffio", "tenacity"} | {
    *(
        "aiohttp",
        "cyclopts",
        "fastapi",
        "opentelemetry",
        "prometheus_client",
        "rich",
        "python_multipart",
        "segno",
        "starlette",
        "taskiq",
        "uvicorn",
        "yaml",
    )
}
#: ``wxmp.testing`` runs in the test suite of a user, which has them.
OF_TESTS = {"pytest", "pytest_asyncio"}


def test_only_declared_libraries_are_imported() -> None:
    """Whatever the package imports is the standard library, a dependency, or belongs to an extra."""
    tops = {(found.importer, found.imported.partition(".")[0]) for found in all_imports()}
    known = DECLARED | {"wxmp"} | set(sys.stdlib_module_names)
    foreign = {(importer, library) for importer, library in tops if library not in known}
    assert {library for _, library in foreign} <= OF_TESTS
    assert {importer for importer, _ in foreign} <= {"wxmp.testing", "wxmp.testing.token_store", "wxmp.pytest_plugin"}


# ---- the page about the architecture, in both languages


def rooms(page: Path) -> list[str]:
    """The rooms that the page about the architecture names, from the ground up."""
    text = page.read_text(encoding="utf-8")
    cells = re.findall(r"^\| ((?:`\w+`(?:, |、)?)+) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize("name", ["architecture.md", "zh/architecture.md"])
def test_the_page_about_the_architecture_names_all_rooms(name: str) -> None:
    """The table has each room of the package once."""
    known = {module.split(".")[1] for module in SOURCES if "." in module}
    named = rooms(DOCS / name)
    assert sorted(named) == sorted(room for room in known if not room.startswith("_"))


@pytest.mark.parametrize("name", ["architecture.md", "zh/architecture.md"])
def test_rooms_stand_in_the_order_of_their_imports(name: str) -> None:
    """A room imports from rooms above its own in the table, but for the exceptions that the page names."""
    order = {room: number for number, room in enumerate(rooms(DOCS / name))}
    wrong = set()
    for found in all_imports():
        if found.typing_only or found.imported not in SOURCES or (found.importer, found.imported) in ALLOWED:
            continue
        above, own = (f"{module}.".split(".")[1] for module in (found.imported, found.importer))
        if above in order and own in order and order[above] > order[own]:
            wrong.add((own, above))
    assert wrong == {("client", "control")}
