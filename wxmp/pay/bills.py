"""Bills (账单): what was paid, refunded and moved on one day, as files."""

from __future__ import annotations

import codecs
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Literal, overload

import attrs

from wxmp._wire import JsonObject, decode
from wxmp.errors import ConfigError, PayDecryptError, ReplyError
from wxmp.pay import _checks as check
from wxmp.pay._downloads import Announced, Opener, fetch_bytes, fetch_file, fetch_spooled, pieces
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay.records import BillLink, of_kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from datetime import date
    from pathlib import Path

__all__ = [
    "BillAPI",
    "BillLink",
    "BillTable",
    "FundAccount",
    "SubMerchantBill",
    "SubMerchantBills",
    "TradeBillType",
    "fen_of_yuan",
    "read_bill",
]

TRADE: Final = PayEndpoint("GET", "/v3/bill/tradebill", repeat="yes")
FUND_FLOW: Final = PayEndpoint("GET", "/v3/bill/fundflowbill", repeat="yes")
SUB_MERCHANT_FUND_FLOW: Final = PayEndpoint("GET", "/v3/bill/sub-merchant-fundflowbill", repeat="yes")
DOWNLOAD: Final = PayEndpoint("GET", "/v3/billdownload/file", repeat="yes")

#: Everything, payments only, refunds only, refunds of coupons; with ``SPECIAL`` columns of preferential rates.
TradeBillType = Literal["ALL", "SUCCESS", "REFUND", "RECHARGE_REFUND", "ALL_SPECIAL", "SUC_SPECIAL", "REF_SPECIAL"]
TRADE_TYPES: Final = ("ALL", "SUCCESS", "REFUND", "RECHARGE_REFUND", "ALL_SPECIAL", "SUC_SPECIAL", "REF_SPECIAL")
#: Basic account (基本账户), operation account (运营账户), fee account (手续费账户).
FundAccount = Literal["BASIC", "OPERATION", "FEES"]
FUND_ACCOUNTS: Final = ("BASIC", "OPERATION", "FEES")

#: Stands before each value, so that spreadsheets leave it alone.
TICK: Final = "`"
#: Commas inside a value are not quoted: only a comma with the mark of the next value ends one.
BETWEEN: Final = ",`"
_YUAN: Final = re.compile(r"([+-]?)([0-9]{1,18})(?:\.([0-9]{1,2})(0*))?")


@attrs.frozen
class BillTable:
    """The content of a bill (账单内容).

    Columns go by the header's text: which ones there are depends on the type and on the merchant's products. Amounts
    are texts in yuan (:func:`fen_of_yuan` reads them), times are Beijing's, without offset.
    """

    columns: tuple[str, ...]
    #: One for each payment, refund or movement.
    rows: tuple[dict[str, str], ...] = attrs.field(repr=False)
    #: The sums at the end of the file; empty if it has none.
    summary: dict[str, str]


@attrs.frozen
class SubMerchantBill:
    """One part of a sub merchant's bill (二级商户资金账单), enciphered with a key of its own."""

    bill_sequence: int
    #: Not shown by ``repr``.
    download_url: str = attrs.field(repr=False)
    #: Key of the file, enciphered for the merchant. Not shown by ``repr``.
    encrypt_key: str = attrs.field(repr=False)
    nonce: str
    #: Hash of the deciphered, uncompressed part.
    hash_value: str
    hash_type: str = "SHA1"
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubMerchantBills:
    """All parts of a sub merchant's bill (二级商户资金账单). Fetch each, and join them by their sequence."""

    download_bill_count: int
    download_bill_list: tuple[SubMerchantBill, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class BillAPI:
    """Bills (下载账单): ask for the link of a day, then fetch the file at once."""

    _call: Gateway

    async def trade(
        self,
        day: date | str,
        *,
        bill_type: TradeBillType = "ALL",
        gzip: bool = False,
        sub_mchid: str | None = None,
    ) -> BillLink:
        """Ask for the bill of a day's payments and refunds (申请交易账单).

        Args:
            day: The day in Beijing, within the last three months. Its bill is ready on the next day, after about 10:00
                in Beijing (08:00 at the earliest).
            bill_type: What it holds.
            gzip: Whether the file travels compressed; it is uncompressed by itself.
            sub_mchid: One sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``NO_STATEMENT_EXIST``: nothing happened on that day, or it is out of range.
                ``STATEMENT_CREATING``: not ready, ask later.

        Source:
            GET /v3/bill/tradebill - 下载账单 / 申请交易账单
        """
        params = check.compact(
            {
                "bill_date": check.bill_date("day", day),
                "sub_mchid": check.optional_text("sub_mchid", sub_mchid, max_chars=32),
                "bill_type": check.choice("bill_type", bill_type, TRADE_TYPES),
                "tar_type": _tar(gzip=gzip),
            }
        )
        return decode(BillLink, await self._call(TRADE, params=params), endpoint=TRADE.name)

    async def fund_flow(self, day: date | str, *, account_type: FundAccount = "BASIC", gzip: bool = False) -> BillLink:
        """Ask for the bill of a day's movements of money (申请资金账单).

        Args:
            day: The day in Beijing, within the last three months; ready on the next day, after 10:00 in Beijing.
            account_type: Which account.
            gzip: Whether the file travels compressed; it is uncompressed by itself.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`trade`.

        Source:
            GET /v3/bill/fundflowbill - 下载账单 / 申请资金账单
        """
        params = check.compact(
            {
                "bill_date": check.bill_date("day", day),
                "account_type": check.choice("account_type", account_type, FUND_ACCOUNTS),
                "tar_type": _tar(gzip=gzip),
            }
        )
        return decode(BillLink, await self._call(FUND_FLOW, params=params), endpoint=FUND_FLOW.name)

    async def sub_merchant_fund_flow(
        self,
        day: date | str,
        *,
        sub_mchid: str,
        account_type: Literal["BASIC", "OPERATION", "FEES", "DEPOSIT"] = "BASIC",
        gzip: bool = False,
    ) -> SubMerchantBills:
        """Ask for the movements of one sub merchant's money (申请单个子商户资金账单); service providers only.

        The parts are enciphered, each with a key of its own: :meth:`download_part` fetches and opens one.

        Args:
            day: The day in Beijing.
            sub_mchid: The sub merchant.
            account_type: Which account.
            gzip: Whether the parts are compressed.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`trade`.

        Source:
            GET /v3/bill/sub-merchant-fundflowbill - 下载账单 / 申请单个子商户资金账单
        """
        params = check.compact(
            {
                "sub_mchid": check.text("sub_mchid", sub_mchid, max_chars=32),
                "bill_date": check.bill_date("day", day),
                "account_type": check.choice("account_type", account_type, (*FUND_ACCOUNTS, "DEPOSIT")),
                "algorithm": "AEAD_AES_256_GCM",
                "tar_type": _tar(gzip=gzip),
            }
        )
        reply = await self._call(SUB_MERCHANT_FUND_FLOW, params=params)
        return decode(SubMerchantBills, reply, endpoint=SUB_MERCHANT_FUND_FLOW.name)

    @overload
    async def download(self, link: BillLink) -> bytes: ...
    @overload
    async def download(self, link: BillLink, *, to: str | Path) -> Path: ...
    async def download(self, link: BillLink, *, to: str | Path | None = None) -> bytes | Path:
        """Fetch a bill, uncompress it, and compare its hash (下载账单).

        Args:
            link: Where it is; links live for minutes at most.
            to: A path, where the file appears only when its hash is right; what was there before stays until then.
                Without it the whole content is returned: some bills are large.

        Returns:
            The path, or the content (UTF-8 with a byte order mark).

        Raises:
            ConfigError: The link names a host that is not WeChat Pay's, or the folder is not there; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the link is too old, ask for a new one.
            ReplyError: The file is not the one that was announced, or damaged.

        Source:
            GET /v3/billdownload/file - 下载账单 / 下载账单
        """
        file = announced(link)
        return await fetch_bytes(self._call, file) if to is None else await fetch_file(self._call, file, to)

    @overload
    async def download_part(self, part: SubMerchantBill) -> bytes: ...
    @overload
    async def download_part(self, part: SubMerchantBill, *, to: str | Path) -> Path: ...
    async def download_part(self, part: SubMerchantBill, *, to: str | Path | None = None) -> bytes | Path:
        """Fetch one part of a sub merchant's bill, decipher and uncompress it, and compare its hash (下载账单).

        Join the parts by ``bill_sequence``; :func:`read_bill` reads the whole.

        Args:
            part: One of :meth:`sub_merchant_fund_flow`; links live for minutes at most.
            to: A path, where the file appears only when its hash is right. Without it the content is returned.

        Raises:
            ConfigError: The link names a host that is not WeChat Pay's, or the folder is not there; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the link is too old, ask for a new one.
            PayDecryptError: The key is for another merchant certificate, or the file does not open with it.
            ReplyError: The file is not the one that was announced, or damaged.

        Source:
            GET /v3/billdownload/file - 下载账单 / 下载账单
        """
        of_kind("part", part, SubMerchantBill)
        opener = Opener(_file_key(self._call.decrypt(part.encrypt_key)), part.nonce.encode())
        file = Announced(part.download_url, part.hash_type, part.hash_value, DOWNLOAD, opener)
        return await fetch_bytes(self._call, file) if to is None else await fetch_file(self._call, file, to)

    async def iter_content(self, link: BillLink) -> AsyncGenerator[bytes, None]:
        """Yield the uncompressed content of a bill in pieces (下载账单).

        The first piece comes when the hash of the whole is known to be right: until then, a large file waits on disk.

        Args:
            link: Where it is; links live for minutes at most.

        Raises:
            ConfigError: The link names a host that is not WeChat Pay's; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the link is too old, ask for a new one.
            ReplyError: The file is not the one that was announced, or damaged.

        Source:
            GET /v3/billdownload/file - 下载账单 / 下载账单
        """
        with await fetch_spooled(self._call, announced(link)) as spool:
            async for data in pieces(spool):
                yield data

    async def iter_rows(self, link: BillLink) -> AsyncGenerator[dict[str, str], None]:
        """Yield the rows of a bill by the header's text, for example ``row["商户订单号"]`` (下载账单).

        The summary at the end is no row; :meth:`read` has it. Amounts are texts in yuan: :func:`fen_of_yuan`.

        Args:
            link: Where it is; links live for minutes at most.

        Raises:
            ConfigError: The link names a host that is not WeChat Pay's; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the link is too old, ask for a new one.
            ReplyError: The file is not the one that was announced, damaged, or a row does not fit the header.

        Source:
            GET /v3/billdownload/file - 下载账单 / 下载账单
        """
        reader = TableReader()
        async with aclosing(self.iter_content(link)) as content:
            async for data in content:
                for row in reader.feed(data):
                    yield row
        for row in reader.end():
            yield row

    async def read(self, link: BillLink) -> BillTable:
        """Fetch a bill and read all of it (下载账单).

        Args:
            link: Where it is; links live for minutes at most.

        Raises:
            ConfigError: The link names a host that is not WeChat Pay's; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the link is too old, ask for a new one.
            ReplyError: The file is not the one that was announced, damaged, or a row does not fit the header.

        Source:
            GET /v3/billdownload/file - 下载账单 / 下载账单
        """
        return read_bill(await self.download(link))


def announced(link: BillLink) -> Announced:
    """Return the file behind a link."""
    of_kind("link", link, BillLink)
    return Announced(link.download_url, link.hash_type, link.hash_value, DOWNLOAD)


def _file_key(text: str) -> bytes:
    """Return the key of a file; like the APIv3 key it is a text of as many characters as AES-256 has bytes.

    Raises:
        PayDecryptError: It is no such text.
    """
    if not text.isascii():
        raise PayDecryptError("the key of the file is no ASCII text", reason="malformed")
    return text.encode()


def _tar(*, gzip: bool) -> str | None:
    return "GZIP" if check.flag("gzip", gzip) else None


# ---- reading


class TableReader:
    """Reads the lines of a bill as they come."""

    def __init__(self) -> None:
        self.columns: tuple[str, ...] = ()
        self.summary: dict[str, str] = {}
        self._sums: tuple[str, ...] = ()
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest = ""
        self._line = 0

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[dict[str, str]]:
        """Yield the rows that are complete.

        Raises:
            ReplyError: A line is not what a bill has there.
        """
        try:
            text = self._rest + self._decoder.decode(data, final)
        except UnicodeDecodeError:
            raise self._unreadable("it is no UTF-8") from None
        # Only a line feed ends a line: the others that Python knows may stand in a name.
        *lines, self._rest = text.split("\n")
        for line in lines:
            yield from self._row(line.removesuffix("\r"))

    def end(self) -> Iterator[dict[str, str]]:
        """Yield the last row, if no line end follows it.

        Raises:
            ReplyError: There is no table, or the last line is not what a bill has there.
        """
        yield from self.feed(b"", final=True)
        if self._rest:
            yield from self._row(self._rest.removesuffix("\r"))
            self._rest = ""
        if not self.columns:
            raise self._unreadable("it is empty")

    def _row(self, line: str) -> Iterator[dict[str, str]]:
        self._line += 1
        if not line:
            return
        if line.startswith(TICK):
            values = line[len(TICK) :].split(BETWEEN)
            columns = self._sums or self.columns
            if len(values) != len(columns) or self.summary:
                raise self._unreadable(f"line {self._line} has {len(values)} values for {len(columns)} columns")
            row = dict(zip(columns, values, strict=True))
            if self._sums:
                self.summary = row
            else:
                yield row
        elif not self.columns:
            self.columns = tuple(name.strip() for name in line.split(","))
        elif not self._sums:
            self._sums = tuple(name.strip() for name in line.split(","))
        else:
            raise self._unreadable(f"line {self._line} is neither a row nor a header")

    def _unreadable(self, problem: str) -> ReplyError:
        message = f"the bill cannot be read: {problem}. download() has the file as it is"
        return ReplyError(message, endpoint=DOWNLOAD.name, maybe_acted=False)


def read_bill(content: bytes) -> BillTable:
    """Read a bill that was fetched before (账单内容).

    Args:
        content: The uncompressed file, as :meth:`BillAPI.download` returns or writes it.

    Raises:
        ReplyError: It is no bill, or a row does not fit the header.
    """
    reader = TableReader()
    rows = (*reader.feed(content), *reader.end())
    return BillTable(reader.columns, rows, reader.summary)


def fen_of_yuan(text: object) -> int:
    """Read an amount of a bill (元 → 分): ``"12.30"`` is 1230 fen. Nothing is rounded.

    Raises:
        ConfigError: It is no amount, or has a part of a fen (fees can: read those with ``Decimal``).
    """
    found = _YUAN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ConfigError("text must be an amount in yuan with whole fen, such as 12.30", field="text")
    sign, yuan, cents, _ = found.groups()
    amount = int(yuan) * 100 + int((cents or "").ljust(2, "0"))
    return -amount if sign == "-" else amount
