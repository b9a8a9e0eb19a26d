"""Runs programs, each in a process of its own that begins with what most of them import: a fork of this one.

Started with ``python forker.py MODULE...``. It imports these modules, says ``ready``, and then takes orders, a line of
JSON each: the program, its folder, its environment, folders for ``sys.path``, seconds, and whether it is a suite for
pytest. The answer is its exit code and what it printed. It needs the standard library alone, for it also runs in the
interpreter of other SDKs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import threading
import traceback
import types
from pathlib import Path

LOOPS = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


def run(order: dict[str, object]) -> int:
    """Be the program; what is raised, is raised to the interpreter, as for every program."""
    program, folder = str(order["program"]), str(order["folder"])
    os.chdir(folder)
    os.environ.clear()
    environment = order["environment"]
    assert isinstance(environment, dict)
    os.environ.update(environment)
    paths = order["path"]
    assert isinstance(paths, list)
    sys.path[:0] = [folder, *paths]
    sys.argv = [program]
    if order["suite"]:
        pytest = importlib.import_module("pytest")
        # Looking for plugins takes longer than most suites.
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        # Plugins that are imported already cannot have their assertions rewritten, which no test needs.
        warnings = ["-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        plugins = ["-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "wxmp.pytest_plugin"]
        return int(pytest.main([*plugins, *warnings, *LOOPS, "-q", "--rootdir", folder, program]))
    main = types.ModuleType("__main__")
    main.__file__ = program
    sys.modules["__main__"] = main
    exec(compile(Path(program).read_bytes(), program, "exec"), vars(main))
    return 0


def start(order: dict[str, object], output: Path) -> int:
    """Begin a program in a process group of its own; returns in both processes, as ``fork`` does."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    # Not caught by anything: whoever is not ready by then dies of it.
    signal.setitimer(signal.ITIMER_REAL, float(str(order["seconds"])))
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, source in ((0, nothing), (1, written), (2, written)):
        os.dup2(source, target)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115 - as above
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115 - as above
    return 0


def end(order: dict[str, object]) -> None:
    """Be the program, and end as one: threads, exit functions, exit code; but nothing is taken apart piece by piece."""
    code: object = 1
    try:
        code = run(order)
    except SystemExit as asked:
        code = asked.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls first when it ends
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


def main() -> None:
    """Take orders until the other side closes standard input."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    # What is there now is not looked through again, in none of the copies.
    gc.collect()
    gc.freeze()
    # Copies: a program that is forked from here must not find the orders of the others.
    with os.fdopen(os.dup(0), encoding="utf-8") as orders, os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        answers.write('"ready"\n')
        answers.flush()
        for line in orders:
            order = json.loads(line)
            output = Path(order["folder"]) / ".output"
            child = start(order, output)
            if not child:
                break
            _, status = os.waitpid(child, 0)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what it has left behind
            text = output.read_text(encoding="utf-8", errors="replace")
            answers.write(json.dumps({"code": os.waitstatus_to_exitcode(status), "output": text}) + "\n")
            answers.flush()
        else:
            return
    end(order)


if __name__ == "__main__":
    main()
