"""One contract, three stores."""

from __future__ import annotations

import pytest

from tests.tokens.conftest import VirtualClock, far_from_midnight, let_redis_age
from wxmp.testing import TokenStoreContract
from wxmp.tokens.encryption import AESGCMCodec
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.redis import RedisTokenStore
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
