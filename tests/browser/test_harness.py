"""The browser's harness can fail: what goes wrong in a page is seen, and nothing gets out."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium as machine
from tests.browser.conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Watched
    from wxmp.simulator import Simulator


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        ("<script>console.error('said so')</script>", "console error: said so"),
        ("<script>missing()</script>", "missing is not defined"),
        ("<img src='http://192.0.2.1/a.png'>", "request leaves this machine: http://192.0.2.1/a.png"),
        ("<img src='http://example.com/a.png'>", "request leaves this machine: http://example.com/a.png"),
        (
            "<meta http-equiv='Content-Security-Policy' content=\"script-src 'none'\"><script>1</script>",
            "Content Security Policy",
        ),
    ],
    ids=["console", "script", "address", "name", "policy"],
)
def test_trouble_is_seen(watched_page: tuple[Page, Watched], body: str, trouble: str) -> None:
    """Each kind of trouble is noted, and would fail the test if it were not meant."""
    page, watched = watched_page
    page.set_content(f"<!doctype html>{body}")
    deadline = time.monotonic() + PATIENCE / 1000
    while not any(trouble in text for text in watched.left) and time.monotonic() < deadline:
        page.wait_for_timeout(20)  # what the browser tells comes on its own way
    assert any(trouble in text for text in watched.left), watched.left
    watched.allow(".")
    assert watched.left == []


def test_nothing_gets_out(watched_page: tuple[Page, Watched]) -> None:
    """Neither a name nor an address beyond this machine is reached."""
    page, watched = watched_page
    watched.allow("example.com|192.0.2.1|ERR_NAME_NOT_RESOLVED")
    for url in ("http://example.com/", "http://192.0.2.1/"):
        assert "Failed to fetch" in page.evaluate("(url) => fetch(url).then(() => 'reached', String)", url)


@pytest.mark.usefixtures("service")
def test_service_answers(sim: Simulator) -> None:
    """The service behind the page welcomes and echoes."""
    phone = sim.phone()
    phone.follow()
    assert sim.wait_until_settled()
    phone.say("你好")
    assert sim.wait_until_settled()
    assert [line.content for line in phone.chat if line.source == "reply"] == ["欢迎关注", "你说：你好"]


def test_missing_browser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads nowhere is no Chromium, and the advice says what to do."""
    monkeypatch.setenv(machine.ADDRESS, "/no/such/chromium")
    assert machine.find() is None
    assert machine.install() == f"{machine.ADDRESS} names /no/such/chromium, which is not there"
    monkeypatch.setenv(machine.SETTING, "required")
    assert machine.required()


APT_GET = """#!/bin/sh
echo "$@" >> "$0.log"
case "$*" in
  *update) touch "$0.updated" ;;
  *) test -f "$0.updated" && echo '#!/bin/sh' > "${0%/*}/chromium" && chmod +x "${0%/*}/chromium" ;;
esac
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a system without apt-get by nature")
def test_browser_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where there is none, apt-get is asked for it, after an update when its list is out of date."""
    for name in ("env", "sh", "touch", "chmod"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    (tmp_path / "apt-get").write_text(APT_GET)
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(machine.ADDRESS, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert machine.main() == 0
    calls = (tmp_path / "apt-get.log").read_text().splitlines()
    assert [call.split("--quiet ")[1].split()[0] for call in calls] == ["install", "update", "install"]
    assert str(tmp_path / "chromium") in capfd.readouterr().out


def test_system_without_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere one sentence says what to do, and the command fails."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(machine.ADDRESS, raising=False)
    assert machine.main() == 1
    assert "install Chromium or Chrome with its own tools" in capfd.readouterr().err
