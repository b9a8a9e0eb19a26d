"""A platform that cannot be reached: each command gives up soon, and says where, why, and what to do next."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from tests.redis_server import refusing_port
from wxmp import Client
from wxmp.cli import _reach
from wxmp.cli._reach import in_words, knocking, set_proxies
from wxmp.errors import ReplyError, TimedOutError, TransportError

if TYPE_CHECKING:
    from tests.cli.line import Line

MENU = "menu: [{name: 今日歌曲, type: click, key: TODAY}]\n"
SEND = ("send", "template", "n", "--template-id", "T", "--value", "a=b")


@pytest.fixture(autouse=True)
def out_of_reach(wxmp: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reach, "PATIENCE", 0.0)
    monkeypatch.setenv("WXMP_ENDPOINT", f"http://127.0.0.1:{refusing_port()}")
    (wxmp.folder / "menu.yaml").write_text(MENU, encoding="utf-8")
    (wxmp.folder / "to.txt").write_text("openid-of-somebody\n")


@pytest.mark.parametrize(
    "tokens",
    [
        ("token", "get"),
        ("token", "refresh", "--yes"),
        ("menu", "pull", "-"),
        ("menu", "diff", "menu.yaml"),
        ("menu", "push", "menu.yaml", "--yes"),
        ("user", "export", "-"),
        ("user", "export", "all.csv"),
        (*SEND, "--to", "all", "--journal", "sent.db"),
        (*SEND, "--to", "tag:vip", "--dry-run"),
    ],
    ids=" ".join,
)
def test_a_connection_that_is_refused(wxmp: Line, tokens: tuple[str, ...]) -> None:
    """The first sentence names the true cause and the address; the log's own words about it are left out."""
    done = wxmp(*tokens)
    assert done.code == 1
    assert "cannot connect: Connection refused (http://127.0.0.1:" in done.err
    assert "wxmp doctor looks further" in done.err
    assert "refresh_failed" not in done.err
    assert "cool" not in done.err
    assert not (wxmp.folder / "sent.db").exists()


def test_it_is_one_line_of_json(wxmp: Line) -> None:
    """A script reads the same sentence, and the class of the error."""
    error = json.loads(wxmp("token", "get", "--json").out)["error"]
    assert (error["type"], error["errcode"]) == ("TransportError", 0)
    assert "Connection refused" in error["message"]


def test_a_dry_run_of_a_file_needs_nobody(wxmp: Line) -> None:
    """Nothing is asked of a platform that is not needed."""
    done = wxmp(*SEND, "--to", "to.txt", "--dry-run", "--json")
    assert (done.code, json.loads(done.out)["outcomes"]) == (0, {"planned": 1})


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            TransportError("cannot connect: [Errno -2] Name or service not known"),
            "cannot connect: Name or service not known (https://api.weixin.qq.com).",
        ),
        (
            TransportError("cannot connect: [SSL: CERTIFICATE_VERIFY_FAILED] it has expired (_ssl.c:1006)"),
            "cannot connect: it has expired (https://api.weixin.qq.com).",
        ),
        (TimedOutError("no answer within 5 s"), "no answer within 5 s (https://api.weixin.qq.com)."),
        (ReplyError("the answer is not JSON"), "the answer is not JSON (https://api.weixin.qq.com)."),
    ],
)
def test_the_words_of_a_failure(error: TransportError | ReplyError, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of the system go, the address comes; the class, and whether it may have acted, stay."""
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("ALL_PROXY", raising=False)
    monkeypatch.delenv("all_proxy", raising=False)
    with pytest.raises(type(error)) as found, in_words(Client("wx0123456789abcdef", "0" * 32)):
        raise error
    assert str(found.value) == f"{told} wxmp doctor looks further."
    assert found.value.maybe_acted is error.maybe_acted


def test_a_proxy_that_is_not_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever relies on HTTPS_PROXY learns why there is no way out; its password stays out of sight."""
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:password@proxy:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(TransportError) as found, in_words(Client("wx0123456789abcdef", "0" * 32)):
        raise TransportError("cannot connect: Connection refused")
    assert "HTTPS_PROXY is set, but wxmp takes its proxy from WXMP_PROXY only" in str(found.value)
    assert "password" not in str(found.value)
    client = Client("wx0123456789abcdef", "0" * 32, proxy="http://proxy:3128")
    with pytest.raises(TransportError) as found, in_words(client):
        raise TransportError("cannot connect: the proxy proxy:3128: Connection refused")
    assert "HTTPS_PROXY" not in str(found.value)


def test_a_proxy_that_refuses(wxmp: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command takes its proxy from WXMP_PROXY; one that is down is named, and its password is not."""
    place = f"127.0.0.1:{refusing_port()}"
    monkeypatch.setenv("WXMP_ENDPOINT", "https://api.weixin.qq.com")
    monkeypatch.setenv("WXMP_PROXY", f"http://somebody:pass-word@{place}")
    done = wxmp("token", "get")
    assert done.code == 1
    assert f"cannot connect: the proxy {place}: Connection refused (https://api.weixin.qq.com)" in done.err
    assert "pass-word" not in done.out + done.err


def test_a_proxy_that_cannot_be_one(wxmp: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a mistake of the settings, told by the variable's name and without its value."""
    monkeypatch.setenv("WXMP_PROXY", "socks5://somebody:pass-word@proxy:1080")
    done = wxmp("token", "get")
    assert done.code == 2
    assert "WXMP_PROXY: proxy must be an address" in done.err
    assert "pass-word" not in done.out + done.err


@pytest.mark.parametrize(
    ("address", "variables", "names"),
    [
        ("https://api.weixin.qq.com", {"https_proxy": "http://p"}, ("HTTPS_PROXY",)),
        ("https://api.weixin.qq.com", {"ALL_PROXY": "socks5://p", "HTTPS_PROXY": "p"}, ("HTTPS_PROXY", "ALL_PROXY")),
        ("https://api.weixin.qq.com", {"HTTP_PROXY": "http://p"}, ()),
        ("https://api.weixin.qq.com", {"HTTPS_PROXY": "p", "NO_PROXY": "localhost, .qq.com"}, ()),
        ("https://api.weixin.qq.com", {"HTTPS_PROXY": "p", "NO_PROXY": "*"}, ()),
        ("https://api.weixin.qq.com", {"HTTPS_PROXY": "p", "no_proxy": "xin.qq.com,"}, ("HTTPS_PROXY",)),
        ("http://127.0.0.1:8000", {"HTTP_PROXY": "http://p"}, ()),
    ],
)
def test_which_variables_would_matter(address: str, variables: dict[str, str], names: tuple[str, ...]) -> None:
    """Those of the scheme, with NO_PROXY heeded, and never for this machine."""
    assert set_proxies(address, variables) == names


def test_the_log_is_quiet_about_tokens_only(caplog: pytest.LogCaptureFixture) -> None:
    """A store that is down is told all the same, and afterwards everything is."""
    logger = logging.getLogger("wxmp.token")
    failed = {"wxmp_event": "token_refresh_failed"}
    with knocking():
        logger.warning("left out", extra=failed)
        logger.warning("the store", extra={"wxmp_event": "token_store_down"})
    logger.warning("afterwards", extra=failed)
    assert caplog.messages == ["the store", "afterwards"]
