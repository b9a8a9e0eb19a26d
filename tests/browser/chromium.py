"""Finds the machine's Chromium, and installs one where that takes a single command: ``make browser``.

Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

#: Names another binary.
ADDRESS = "WXMP_CHROMIUM"
#: Set to "required" where a missing Chromium is an error: in continuous integration.
SETTING = "WXMP_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = f"no Chromium: run 'make browser', or set {ADDRESS} to the binary of a Chromium or Chrome"
#: What keeps it quiet, and what lets it run in a container as root.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Not even a name is asked for beyond this machine; addresses written as numbers count as names here.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


def find() -> str | None:
    """Return the path of a Chromium, if there is one."""
    named = os.environ.get(ADDRESS)
    if named:
        return shutil.which(named)
    return next((path for path in map(shutil.which, NAMES) if path), None)


def required() -> bool:
    """Tell whether a missing Chromium is an error."""
    return os.environ.get(SETTING) == "required"


def install() -> str | None:
    """Install Chromium from the system's packages; return why it cannot be, or nothing."""
    if os.environ.get(ADDRESS):
        return f"{ADDRESS} names {os.environ[ADDRESS]}, which is not there"
    if shutil.which("apt-get") is None:
        return f"this system has no apt-get: install Chromium or Chrome with its own tools, or set {ADDRESS}"
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    prefix = [] if root else ["sudo", "-n"]
    if not root and (shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], check=False).returncode):
        return "this takes root: run 'sudo apt-get install chromium', then again"
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"]
    for outdated in (False, True):
        # An outdated list of packages is the usual reason for a first failure.
        if outdated:
            subprocess.run([*command, "update"], check=False)
        if subprocess.run([*command, "install", "--no-install-recommends", "chromium"], check=False).returncode == 0:
            return None
    return f"apt-get has no package that can be installed as chromium here: install Chrome by hand, or set {ADDRESS}"


def main() -> int:
    """Make sure that there is a Chromium; say what is missing otherwise."""
    path = find()
    if path is None:
        why = install()
        path = find()
        if path is None:
            print(f"no Chromium: {why}" if why else MISSING, file=sys.stderr)
            return 1
    print(f"Chromium for the tests of the page: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
