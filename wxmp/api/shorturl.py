"""Short keys (短key托管): keep up to 4 KB on the platform behind fifteen characters."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_number, check_text

__all__ = ["LongData", "ShortURLAPI"]

#: Most bytes of the data, in UTF-8.
LONG_DATA_BYTES: Final = 4096
#: Seconds: 30 days. The longest life of a key, and the one without a wish.
LONGEST_LIFE: Final = 2_592_000

PARAMETER_REFUSED: Final = 47003
DATA_TOO_LONG: Final = 9410010
LIFE_REFUSED: Final = 9410011

CREATE: Final = Endpoint("POST", "/cgi-bin/shorten/gen", repeatable=True)
FETCH: Final = Endpoint("POST", "/cgi-bin/shorten/fetch", repeatable=True)


@attrs.frozen
class LongData:
    """What a short key stands for (长信息)."""

    long_data: str
    #: When the key was made.
    create_time: datetime | None = None
    #: Seconds that are left of its life.
    expire_seconds: int | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ShortURLAPI:
    """Short keys (短key托管): keep up to 4 KB on the platform behind fifteen characters.

    A key is no address: your own page finds it in a link and fetches the data. The older service that made short
    addresses (长链接转短链接) has made no new ones since 2021.
    """

    _call: Caller

    async def create(self, long_data: str, *, expire_seconds: int | None = None) -> str:
        """Keep data under a new key (生成短key).

        Every call makes another key, also for the same data. So does a repeat after a broken connection: the key
        nobody has heard of runs out by itself.

        Args:
            long_data: An address, a JSON text or any other, at most 4096 bytes in UTF-8.
            expire_seconds: Life of the key, at most 2592000 (30 days), which is also what it has without a wish.

        Returns:
            The ``short_key``: 15 letters and digits.

        Raises:
            ArgumentError: The data is empty (47003) or too long (9410010), or the life is not 1 to 2592000 (9410011).

        Source:
            POST /cgi-bin/shorten/gen - 短key托管 / 生成短key
        """
        data = check_text(
            CREATE,
            "long_data",
            long_data,
            errcode=PARAMETER_REFUSED,
            max_bytes=LONG_DATA_BYTES,
            too_long=DATA_TOO_LONG,
        )
        payload: JsonObject = {"long_data": data}
        if expire_seconds is not None:
            payload["expire_seconds"] = check_number(
                CREATE,
                "expire_seconds",
                expire_seconds,
                errcode=LIFE_REFUSED,
                problem=f"must be 1 to {LONGEST_LIFE} seconds (30 days)",
                least=1,
                most=LONGEST_LIFE,
            )
        reply = await self._call(CREATE, json=payload)
        return decode(str, field_of(reply, "short_key", CREATE), endpoint=CREATE.name)

    async def fetch(self, short_key: str) -> LongData:
        """Read what a key stands for (还原短key).

        Args:
            short_key: From :meth:`create` of the same account.

        Raises:
            NotFoundError: The key is unknown, has run out, or belongs to another account (9410012).
            ArgumentError: ``short_key`` is empty (47003; found before sending).

        Source:
            POST /cgi-bin/shorten/fetch - 短key托管 / 还原短key
        """
        key = check_text(FETCH, "short_key", short_key, errcode=PARAMETER_REFUSED)
        reply = await self._call(FETCH, json={"short_key": key})
        return decode(LongData, without_verdict(reply), endpoint=FETCH.name)
