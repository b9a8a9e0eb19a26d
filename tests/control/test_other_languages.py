"""The control server is for services in any language: the examples of the documentation, against the simulator."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.control.test_store import listening

if TYPE_CHECKING:
    from tests.control.conftest import House

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def tool(name: str) -> str:
    """Return the path of a program that an example needs."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: its example was not run")
    return path


def environment(house: House, url: str) -> dict[str, str]:
    """What an example is told: everything but the AppSecret."""
    given = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {
        **given,
        "WXMP_CONTROL": url,
        "WXMP_CONTROL_KEY": house.text,
        "WXMP_APPID": house.appid,
        "WXMP_ENDPOINT": house.simulator.url,
    }


async def run_shell(house: House, url: str) -> str:
    tool("curl")
    started = await asyncio.create_subprocess_exec(
        *("sh", str(EXAMPLES / "control_client.sh")),
        env=environment(house, url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, trouble = await asyncio.wait_for(started.communicate(), 30)
    assert started.returncode == 0, trouble.decode()
    return said.decode()


async def test_a_shell_script(house: House) -> None:
    """With curl and sed alone a token can be used, also when the platform has ended it in the meantime."""
    async with listening(house.server) as url:
        assert "ip_list" in await run_shell(house, url)
        house.simulator.kill_token()
        assert "ip_list" in await run_shell(house, url)
    assert house.simulator.token_requests == 2


async def test_a_service_in_javascript(house: House) -> None:
    """A service of some twenty lines keeps its token, and has a dead one replaced in the middle of its work."""
    node = tool("node")
    async with listening(house.server) as url:
        service = await asyncio.create_subprocess_exec(
            *(node, str(EXAMPLES / "control_client.mjs"), "3"),
            env=environment(house, url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert service.stdin is not None
        assert service.stdout is not None
        for turn in range(3):
            assert b"ip_list" in await asyncio.wait_for(service.stdout.readline(), 30)
            if turn == 1:
                house.simulator.kill_token()
            if turn < 2:
                service.stdin.write(b"go on\n")
                await service.stdin.drain()
        assert await asyncio.wait_for(service.wait(), 30) == 0
    assert house.simulator.token_requests == 2
    (death,) = house.server._desks[house.appid, "access_token"].ledger.deaths
    assert (death.errcode, death.path) == (40001, "/cgi-bin/get_api_domain_ip")


def test_the_examples_are_short() -> None:
    """A client in another language is some twenty lines."""
    for name in ("control_client.mjs", "control_client.sh"):
        code = [line for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines() if line.strip()]
        assert len(code) <= 27
