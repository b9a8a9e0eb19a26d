"""Bills: asked for, fetched, compared with their hash, read."""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import hashlib
from contextlib import aclosing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Self

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.pay.recorded import FakeGateway
from wxmp.errors import ConfigError, PayAPIError, PayDecryptError, ReplyError, TransportError
from wxmp.pay import _downloads as downloads
from wxmp.pay.bills import BillAPI, BillLink, BillTable, SubMerchantBill, fen_of_yuan, read_bill

if TYPE_CHECKING:
    from pathlib import Path

    from wxmp.pay import PayClient
    from wxmp.simulator import Phone, Simulator

DAY = 86_400.0
HEADER = "交易时间,商户订单号,应结订单金额,商品名称"
ROWS = ["`2026-11-20 10:00:00,`order-0001,`12.30,`茶, 一杯", "`2026-11-20 11:00:00,`order-0002,`0.01,`"]
TAIL = ["总交易单数,应结订单总金额", "`2,`12.31"]
TEXT = "\ufeff" + "".join(f"{line}\r\n" for line in [HEADER, *ROWS, *TAIL])


def link(content: bytes = TEXT.encode(), **changes: Any) -> BillLink:
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return BillLink(
        **{
            "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=t",
            "hash_value": digest,
            **changes,
        }
    )


def fake(content: bytes, *answers: Any) -> tuple[BillAPI, FakeGateway]:
    gateway = FakeGateway(*answers, content=content)
    return BillAPI(gateway), gateway  # type: ignore[arg-type]


@pytest.fixture
def buyer(pay_sim: Simulator) -> Phone:
    """A follower's phone."""
    return pay_sim.world.phone(pay_sim.world.create_followers(1)[0])


async def trading_day(pay: PayClient, pay_sim: Simulator, buyer: Phone, orders: int = 3) -> str:
    """Let a day of payments pass; return the day in Beijing, when its bill is ready."""
    for number in range(orders):
        order = await pay.order.native(f"order-{number:04}", description="茶, 一杯", total_fen=100 + number)
        assert buyer.pay(order.code_url).ok
    paid = await pay.order.get(out_trade_no="order-0000")
    assert paid.success_time is not None
    await pay.refund.create("refund-1", out_trade_no="order-0000", refund_fen=40, total_fen=100)
    day = datetime.fromtimestamp(paid.success_time.timestamp() + 8 * 3600, UTC).date().isoformat()
    pay_sim.advance(2 * DAY)
    return day


# ---- against the platform


@pytest.mark.parametrize("gzip", [False, True])
async def test_a_days_bill_is_read(pay: PayClient, pay_sim: Simulator, buyer: Phone, gzip: bool) -> None:
    """Rows come by the header's text, values without their mark; the summary stands apart."""
    day = await trading_day(pay, pay_sim, buyer)
    table = await pay.bill.read(await pay.bill.trade(day, gzip=gzip))
    payments = [row for row in table.rows if row["交易状态"] == "SUCCESS"]
    assert [(row["商户订单号"], fen_of_yuan(row["订单金额"])) for row in payments] == [
        ("order-0000", 100),
        ("order-0001", 101),
        ("order-0002", 102),
    ]
    assert {row["商品名称"] for row in table.rows} == {"茶, 一杯"}
    assert table.summary["总交易单数"] == str(len(table.rows)) == "4"


@pytest.mark.parametrize("gzip", [False, True])
async def test_a_bill_is_written_to_a_path(
    pay: PayClient, pay_sim: Simulator, buyer: Phone, tmp_path: Path, gzip: bool
) -> None:
    """The file is the uncompressed one whose hash was announced, and nothing else is left behind."""
    day = await trading_day(pay, pay_sim, buyer)
    found = await pay.bill.fund_flow(day, gzip=gzip)
    path = await pay.bill.download(found, to=tmp_path / "bill.csv")
    assert hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() == found.hash_value
    assert [item.name for item in tmp_path.iterdir()] == ["bill.csv"]
    assert read_bill(path.read_bytes()).rows
    assert await pay.bill.download(found) == path.read_bytes()


async def test_rows_are_yielded_one_by_one(pay: PayClient, pay_sim: Simulator, buyer: Phone) -> None:
    """The iterator gives the same rows as reading all at once; it can be left early."""
    day = await trading_day(pay, pay_sim, buyer)
    found = await pay.bill.trade(day, bill_type="SUCCESS")
    assert [row async for row in pay.bill.iter_rows(found)] == list((await pay.bill.read(found)).rows)
    async with aclosing(pay.bill.iter_rows(found)) as rows:
        assert (await anext(rows))["商户订单号"] == "order-0000"


async def test_a_bill_that_is_not_ready_says_so(pay: PayClient) -> None:
    """Today's bill does not exist yet."""
    today = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 8 * 3600, UTC).date()
    with pytest.raises(PayAPIError) as caught:
        await pay.bill.trade(today)
    assert (caught.value.code, caught.value.verdict) == ("STATEMENT_CREATING", "later")


async def test_a_link_lives_for_minutes(pay: PayClient, pay_sim: Simulator, buyer: Phone) -> None:
    """An old link is refused by the platform; the error says so."""
    found = await pay.bill.trade(await trading_day(pay, pay_sim, buyer))
    pay_sim.advance(600)
    with pytest.raises(PayAPIError) as caught:
        await pay.bill.download(found)
    assert caught.value.code == "INVALID_REQUEST"


@pytest.mark.parametrize("effect", ["truncated", "reset_after", "empty", "not_json"])
@pytest.mark.parametrize("gzip", [False, True])
async def test_a_spoilt_file_is_never_given_out(
    pay: PayClient, pay_sim: Simulator, buyer: Phone, tmp_path: Path, effect: Any, gzip: bool
) -> None:
    """What was at the path before stays, no row is yielded, and nothing is left behind."""
    found = await pay.bill.trade(await trading_day(pay, pay_sim, buyer), gzip=gzip)
    pay_sim.fault(effect, "/v3/billdownload/file")
    target = tmp_path / "bill.csv"
    target.write_text("yesterday's")
    with pytest.raises((ReplyError, TransportError)):
        await pay.bill.download(found, to=target)
    with pytest.raises((ReplyError, TransportError)):
        await anext(pay.bill.iter_rows(found))
    assert target.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/v3/billdownload/file?token=t",
        "http://api.mch.weixin.qq.com/v3/billdownload/file?token=t",
    ],
)
async def test_a_foreign_link_is_not_followed(pay: PayClient, tmp_path: Path, url: str) -> None:
    """Nothing that authorises us goes to another host, or without TLS."""
    with pytest.raises(ConfigError):
        await pay.bill.download(link(download_url=url), to=tmp_path / "bill.csv")
    assert list(tmp_path.iterdir()) == []


# ---- what goes out


async def test_bills_are_asked_for_as_documented() -> None:
    """Paths and parameters of the three calls; absent ones are left out."""
    api, gateway = fake(b"", {"download_url": "u", "hash_value": "h"})
    await api.trade("2026-11-20")
    await api.trade(date(2026, 11, 20), bill_type="REFUND", gzip=True, sub_mchid="1900000109")
    await api.fund_flow("2026-11-20", account_type="FEES", gzip=True)
    gateway.answers = [{"download_bill_count": 1, "download_bill_list": [PART]}]
    bills = await api.sub_merchant_fund_flow("2026-11-20", sub_mchid="1900000109", account_type="DEPOSIT")
    assert [asked.line for asked in gateway.asked] == [
        "GET /v3/bill/tradebill?bill_date=2026-11-20&bill_type=ALL",
        "GET /v3/bill/tradebill?bill_date=2026-11-20&sub_mchid=1900000109&bill_type=REFUND&tar_type=GZIP",
        "GET /v3/bill/fundflowbill?bill_date=2026-11-20&account_type=FEES&tar_type=GZIP",
        (
            "GET /v3/bill/sub-merchant-fundflowbill?sub_mchid=1900000109&bill_date=2026-11-20&account_type=DEPOSIT"
            "&algorithm=AEAD_AES_256_GCM"
        ),
    ]
    assert bills.download_bill_list[0].bill_sequence == 1
    assert "sealed" not in repr(bills)


PART = {
    "bill_sequence": 1,
    "download_url": "https://api.mch.weixin.qq.com/x",
    "encrypt_key": "sealed",
    "nonce": "n",
    "hash_type": "SHA1",
    "hash_value": "h",
}


@pytest.mark.parametrize(
    ("field", "day", "changes"),
    [
        ("day", "2026-2-30", {}),
        ("day", "2026-02-30", {}),
        ("day", "20261120", {}),
        ("day", datetime(2026, 11, 20, tzinfo=UTC), {}),
        ("day", None, {}),
        ("bill_type", "2026-11-20", {"bill_type": "NONE"}),
        ("gzip", "2026-11-20", {"gzip": "GZIP"}),
        ("sub_mchid", "2026-11-20", {"sub_mchid": " "}),
    ],
)
async def test_a_bill_that_cannot_exist_is_not_asked_for(field: str, day: Any, changes: dict[str, Any]) -> None:
    """A datetime is refused too: its day depends on the time zone, the platform's is Beijing's."""
    api, gateway = fake(b"")
    with pytest.raises(ConfigError) as caught:
        await api.trade(day, **changes)
    assert caught.value.field == field
    assert gateway.asked == []


# ---- files


async def test_the_hash_is_counted_over_the_uncompressed_content(tmp_path: Path) -> None:
    """A compressed file is uncompressed by itself, also in several members."""
    half = len(TEXT.encode()) // 2
    packed = gzip_module.compress(TEXT.encode()[:half]) + gzip_module.compress(TEXT.encode()[half:])
    api, _ = fake(packed)
    assert await api.download(link()) == TEXT.encode()
    assert [piece async for piece in api.iter_content(link())] == [TEXT.encode()]


@pytest.mark.parametrize(
    "changes", [{"hash_value": "0" * 40}, {"hash_value": ""}, {"hash_type": "MD5"}, {"hash_value": "é"}]
)
async def test_another_hash_gives_nothing(tmp_path: Path, changes: dict[str, str]) -> None:
    """Neither file nor content nor a single piece comes out."""
    api, _ = fake(TEXT.encode())
    with pytest.raises(ReplyError):
        await api.download(link(**changes), to=tmp_path / "bill.csv")
    with pytest.raises(ReplyError):
        await api.download(link(**changes))
    with pytest.raises(ReplyError):
        await anext(api.iter_content(link(**changes)))
    assert list(tmp_path.iterdir()) == []


async def test_the_hash_may_be_written_in_capitals() -> None:
    """Hex is hex."""
    api, _ = fake(TEXT.encode())
    assert await api.download(link(hash_value=link().hash_value.upper())) == TEXT.encode()


@pytest.mark.parametrize("damage", ["cut", "flip", "header"])
async def test_a_damaged_compressed_file_is_an_error(damage: str) -> None:
    """What does not uncompress is no bill; the error says so and nothing of zlib escapes."""
    packed = bytearray(gzip_module.compress(TEXT.encode() * 50))
    if damage == "cut":
        del packed[-9:]
    else:
        packed[-12 if damage == "flip" else 3] ^= 0xFF
    api, _ = fake(bytes(packed))
    with pytest.raises(ReplyError, match="does not uncompress"):
        await api.download(link(TEXT.encode() * 50))


async def test_a_file_that_swells_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small compressed file cannot fill the disk."""
    monkeypatch.setattr(downloads, "LARGEST", 1 << 20)
    content = bytes(1 << 22)
    api, _ = fake(gzip_module.compress(content))
    with pytest.raises(ReplyError, match="larger than"):
        await api.download(link(content), to=tmp_path / "bill.csv")
    assert list(tmp_path.iterdir()) == []


async def test_a_large_file_arrives_whole(tmp_path: Path) -> None:
    """Pieces of any size, memory and disk make the same file."""
    content = b"\xef\xbb\xbf" + bytes(range(256)) * 30_000
    api, _ = fake(gzip_module.compress(content))
    found = link(content)
    assert (await api.download(found, to=tmp_path / "bill.csv")).read_bytes() == content
    assert b"".join([piece async for piece in api.iter_content(found)]) == content


async def test_a_missing_folder_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    """The link would be used up for nothing."""
    api, gateway = fake(TEXT.encode())
    with pytest.raises(ConfigError) as caught:
        await api.download(link(), to=tmp_path / "nowhere" / "bill.csv")
    assert caught.value.field == "to"
    assert gateway.asked == []


async def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    """Whoever gives up finds no half file."""
    started = asyncio.Event()

    class Slow(FakeGateway):
        def download(self, url: str, endpoint: Any) -> Any:
            return self

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def aiter_bytes(self) -> Any:
            yield TEXT.encode()[:9]
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(BillAPI(Slow()).download(link(), to=tmp_path / "bill.csv"))  # type: ignore[arg-type]
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


# ---- tables


def test_a_table_is_read() -> None:
    """A comma inside a value stays, an empty value is empty, the summary is no row."""
    assert read_bill(TEXT.encode()) == BillTable(
        ("交易时间", "商户订单号", "应结订单金额", "商品名称"),
        (
            {
                "交易时间": "2026-11-20 10:00:00",
                "商户订单号": "order-0001",
                "应结订单金额": "12.30",
                "商品名称": "茶, 一杯",
            },
            {"交易时间": "2026-11-20 11:00:00", "商户订单号": "order-0002", "应结订单金额": "0.01", "商品名称": ""},
        ),
        {"总交易单数": "2", "应结订单总金额": "12.31"},
    )


def test_a_table_without_rows_or_summary_is_read() -> None:
    """A header alone is an empty bill; the last line needs no end."""
    assert read_bill(b"a,b") == BillTable(("a", "b"), (), {})
    assert read_bill(b"a,b\n`1,`2\nc\n`3") == BillTable(("a", "b"), ({"a": "1", "b": "2"},), {"c": "3"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ufeff",
        "a,b\n`1\n",
        "a,b\n`1,`2,`3\n",
        "a,b\n`1,`2\nc\n`3\n`4\n",
        "a,b\n`1,`2\nc\n`3\nd\n",
        "`1,`2\n",
        "a,b\n`name with\na line end,`2\n`3,`4\nc\n`5\n",
    ],
)
def test_what_is_no_table_is_an_error(text: str) -> None:
    """A row that does not fit its header is not guessed at; the error names the line, not its content."""
    with pytest.raises(ReplyError, match="cannot be read") as caught:
        read_bill(text.encode())
    assert "name with" not in str(caught.value)


def test_other_bytes_are_an_error() -> None:
    """What is no UTF-8 is no bill."""
    with pytest.raises(ReplyError, match="UTF-8"):
        read_bill(b"a,b\n`\xff,`2\n")


CELL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n`"), max_size=8)


@given(rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=5), size=st.integers(1, 9))
async def test_whatever_stands_in_a_value_is_read_back(rows: list[tuple[str, str, str]], size: int) -> None:
    """Commas, quotes, odd blanks and line ends of other kinds stay inside their value, however the bytes come."""
    lines = ["甲,乙,丙", *(",".join(f"`{cell}" for cell in row) for row in rows), "笔数", f"`{len(rows)}"]
    content = "\r\n".join(lines).encode()
    api, _ = fake(content)
    found = [tuple(row.values()) async for row in api.iter_rows(link(content))]
    assert found == rows


# ---- amounts


@given(st.integers(-(10**17), 10**17))
def test_amounts_are_read_exactly(fen: int) -> None:
    """Yuan with two decimals are fen, without any rounding."""
    sign, size = ("-" if fen < 0 else ""), abs(fen)
    assert fen_of_yuan(f"{sign}{size // 100}.{size % 100:02}") == fen
    assert fen_of_yuan(f"{sign}{size // 100}.{size % 100:02}000") == fen


@pytest.mark.parametrize(("text", "fen"), [("1", 100), ("1.5", 150), ("+0.01", 1), ("-0.60", -60)])
def test_short_amounts_are_read(text: str, fen: int) -> None:
    """Missing decimals are zeros."""
    assert fen_of_yuan(text) == fen


@pytest.mark.parametrize(
    "text", ["", "1.234", "0.00600", "1e2", "１.00", "1,000.00", "--1", "1.", ".5", "NaN", 1.5, None]
)
def test_what_is_no_amount_is_an_error(text: Any) -> None:
    """Parts of a fen, other digits and numbers that are no text are refused."""
    with pytest.raises(ConfigError):
        fen_of_yuan(text)


# ---- parts that travel enciphered

FILE_KEY = "0123456789abcdef0123456789abcdef"
NONCE = "abcdefghijkl"


def sealed_part(content: bytes, **changes: Any) -> tuple[SubMerchantBill, bytes]:
    """One part of a sub merchant's bill, and its file."""
    part = {
        "bill_sequence": 1,
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=t",
        "encrypt_key": f"sealed:{FILE_KEY}",
        "nonce": NONCE,
        "hash_value": hashlib.sha1(TEXT.encode(), usedforsecurity=False).hexdigest(),
    }
    return SubMerchantBill(**{**part, **changes}), AESGCM(FILE_KEY.encode()).encrypt(NONCE.encode(), content, None)


@pytest.mark.parametrize("gzip", [False, True])
async def test_a_part_is_deciphered_uncompressed_and_compared(tmp_path: Path, gzip: bool) -> None:
    """The key is opened with the merchant's private key; what comes out is the bill, and can be read."""
    plain = TEXT.encode()
    part, file = sealed_part(gzip_module.compress(plain) if gzip else plain)
    api, gateway = fake(file)
    assert await api.download_part(part) == plain
    path = await api.download_part(part, to=tmp_path / "part.csv")
    assert read_bill(path.read_bytes()).summary
    assert [asked.line for asked in gateway.asked] == [f"GET {part.download_url}"] * 2
    assert FILE_KEY not in repr(part)


@pytest.mark.parametrize("place", [0, -1, -17, -16])
async def test_a_part_that_was_changed_is_never_given_out(tmp_path: Path, place: int) -> None:
    """One bit of the content or of the tag is enough, and nothing is left behind."""
    part, file = sealed_part(TEXT.encode())
    spoilt = bytearray(file)
    spoilt[place] ^= 1
    api, _ = fake(bytes(spoilt))
    with pytest.raises((PayDecryptError, ReplyError)):
        await api.download_part(part, to=tmp_path / "part.csv")
    assert list(tmp_path.iterdir()) == []


async def test_a_tag_counts_even_where_the_hash_is_right() -> None:
    """The hash is not the only witness."""
    part, file = sealed_part(TEXT.encode())
    for spoilt in (file[:-1] + bytes([file[-1] ^ 1]), file[:10], b""):
        api, _ = fake(spoilt)
        with pytest.raises(PayDecryptError):
            await api.download_part(part)


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (PayDecryptError, {"encrypt_key": "sealed:short"}),
        (PayDecryptError, {"encrypt_key": "sealed:" + "钥" * 32}),
        (PayDecryptError, {"encrypt_key": "sealed:" + "x" * 32}),
        (PayDecryptError, {"nonce": "n"}),
        (ReplyError, {"hash_value": "0" * 40}),
    ],
)
async def test_a_part_with_another_key_or_hash_gives_nothing(error: type[Exception], changes: dict[str, str]) -> None:
    """Key, nonce and hash must all be the part's own."""
    part, file = sealed_part(TEXT.encode(), **changes)
    api, _ = fake(file)
    with pytest.raises(error):
        await api.download_part(part)
