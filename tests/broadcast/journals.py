"""Journals of both kinds whose time passes when a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wxmp.broadcast.records import RunKey
from wxmp.broadcast.redis import RedisJournal
from wxmp.broadcast.sqlite import SQLiteJournal
from wxmp.tokens.file import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.redis_server import GivenServer, RedisServer
    from wxmp.broadcast.journal import Journal

RUN = RunKey("wx1", "autumn")
LEASE = 15.0
DAY = 86_400

# Every point in time moves into the past, by ARGV[1] milliseconds; ARGV[2] days of Beijing pass with them.
_AGE = """
local by = tonumber(ARGV[1])
local function back(text) return string.format('%.0f', text - by) end
for _, key in ipairs(redis.call('KEYS', '*')) do
  if string.find(key, ':runs$') then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -by, member) end
  elseif string.find(key, ':pace$') then
    redis.call('HSET', key, 'at', string.format('%.6f', redis.call('HGET', key, 'at') - by / 1000))
    redis.call('HINCRBY', key, 'day', -ARGV[2])
  else
    local flat = redis.call('HGETALL', key)
    for i = 1, #flat, 2 do
      local value = flat[i + 1]
      local function first(text) return #text > 12 and back(text) or text end
      if string.find(key, ':flight$') then value = string.gsub(value, '(%d+)', first)
      elseif string.find(key, ':owners$') then value = string.gsub(value, '^(%d+)', back)
      elseif string.find(key, ':%d+$') then value = string.gsub(value, '(%d+)$', first)
      end
      redis.call('HSET', key, flat[i], value)
    end
  end
  if by > 0 and redis.call('PTTL', key) > 0 then redis.call('PEXPIRE', key, redis.call('PTTL', key) - by) end
end
"""


def let_redis_age(server: GivenServer | RedisServer, seconds: float, *, days: int = 0) -> None:
    """Let what is in ``server`` grow older."""
    server.command("EVAL", _AGE, 0, round(seconds * 1000), days)


class SQLiteRoom:
    """Journals on one file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.opened: list[Journal] = []
        self.tick = 5000.0
        #: Noon in Beijing.
        self.wall = 1_700_020_800.0
        self.boot = "boot 1"

    def journal(self) -> Journal:
        """Open the file as another process would."""
        made = SQLiteJournal(self.path, clock=Clock(self.boot, lambda: self.tick), wall=lambda: self.wall)
        self.opened.append(made)
        return made

    def now(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.tick += seconds
        self.wall += seconds

    def next_day(self) -> None:
        self.advance(DAY)


class RedisRoom:
    """Journals on one server."""

    def __init__(self, server: GivenServer | RedisServer) -> None:
        self.server = server
        self.opened: list[Journal] = []

    def journal(self, **settings: Any) -> Journal:
        """Connect as another process would."""
        made = RedisJournal(self.server.url, **{"timeout": 20.0} | settings)
        self.opened.append(made)
        return made

    def now(self) -> float:
        seconds, micro = self.server.command("TIME")
        return int(seconds) + int(micro) / 1e6

    def advance(self, seconds: float) -> None:
        let_redis_age(self.server, seconds)

    def next_day(self) -> None:
        let_redis_age(self.server, DAY, days=1)


Room = SQLiteRoom | RedisRoom
