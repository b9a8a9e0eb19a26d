"""The command line in this process, beside a platform that a whole file shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.line import Line
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as sim:
        yield sim


@pytest.fixture
def wxmp(
    platform: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Line:
    platform.reset()
    return Line(platform, tmp_path, monkeypatch, capsys)
