"""The comparison with other SDKs: how endpoints are counted, and that what is observed is observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import comparison

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_endpoints_are_counted_by_their_path(tmp_path: Path) -> None:
    """A path counts with and without its first part, also in pieces; tests and other files do not count."""
    (tmp_path / "a.py").write_text('get("https://api.weixin.qq.com/cgi-bin/menu/create")', encoding="utf-8")
    (tmp_path / "b.go").write_text('post("/tags/create")', encoding="utf-8")
    (tmp_path / "c.cs").write_text('Request("cgi-bin", "user", "info")', encoding="utf-8")
    (tmp_path / "notes.txt").write_text("/cgi-bin/menu/delete", encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "d.py").write_text('"/cgi-bin/menu/get"', encoding="utf-8")
    assert comparison.named_paths(tmp_path) == 3


def test_we_are_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run of our own half: no secret in the log, the old push refused, one run and one answer."""
    monkeypatch.setattr(comparison, "SLOW", 0.1)
    found = comparison.observe_ours()
    assert found.endpoints == len(comparison.endpoint_paths())
    assert (found.calls, found.leaks, found.replay, found.runs, found.answered) == (3, 0, False, 1, True)


def test_a_peer_is_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run finds what is known of WeRoBot: its log holds the token, and it takes a push of any age."""
    monkeypatch.setattr(comparison, "SLOW", 0.1)
    found = comparison.observe_peer("werobot")
    assert found.leaks > 0
    assert (found.calls, found.replay, found.runs, found.answered) == (1, True, 1, True)
    assert comparison.table([found]).count("\n") == 1 + len(comparison.LABELS)
