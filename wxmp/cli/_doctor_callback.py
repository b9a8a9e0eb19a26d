"""The callback URL, asked as the platform asks it: is it there, does it know the Token, does it open what is sealed.

What the server sees, in this order:

1. ``GET`` with ``signature``, ``timestamp``, ``nonce`` and ``echostr`` (``wxmpdoctor`` and digits), correctly signed;
2. the same with a signature that is wrong;
3. ``POST`` of an event ``debug_demo``, the one that the platform's own console sends for a test, from an OpenID that
   nobody has. It is sealed if there is an EncodingAESKey. Only if it is refused, once more in plain text; only if it is
   taken, once more sealed with a key that is wrong.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlsplit

import attrs

from wxmp._request import WireReply, WireRequest
from wxmp._transport import Transport
from wxmp.cli._doctor_case import SkippedError, is_private
from wxmp.cli._doctor_network import CONNECT, WINDOW, clock_of, connect
from wxmp.cli._doctor_report import Finding
from wxmp.cli._doctor_settings import CONSOLE
from wxmp.errors import ConfigError, DecryptError, ReplyError, TimedOutError, TransportError
from wxmp.webhook.crypto import MessageCipher, check_key, check_token, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.cli._doctor_case import Case

__all__ = ["OPENID", "check_callback", "check_push", "check_signature"]

#: The platform waits this long, in seconds.
PATIENCE: Final = 5.0
#: From here on a user notices, in seconds.
SLOW: Final = 2.0
#: Nobody has this OpenID: real ones are random.
OPENID: Final = "o-wxmp-doctor-harmless-probe"
PORTS: Final = (80, 443)
_SEALED: Final = re.compile(rb"<Encrypt>\s*(?:<!\[CDATA\[)?([A-Za-z0-9+/=]+)")
_REDIRECTS: Final = range(300, 400)
_FINE: Final = range(200, 300)
_REFUSALS: Final = (400, 401, 403)
_SERVER_ERROR: Final = 500
#: What OpenSSL says of a certificate, and what that means.
CERTIFICATES: Final = (
    ("expired", "The certificate has expired: its renewal does not work, or the server still has the old one loaded."),
    ("not yet valid", "The certificate is not valid yet: the clock of this machine is wrong, or it is brand new."),
    ("self.signed", "The certificate is self-signed, or of a CA of your own."),
    ("local issuer", "The server leaves out the certificate between its own and the CA, or no public CA made it."),
    ("mismatch", "The certificate is for another name, often that of the first site on this server."),
)
SERVER_CONFIG: Final = f"{CONSOLE} → 服务器配置"


@attrs.frozen
class _Answer:
    """What the server said, or why it did not."""

    reply: WireReply | None
    seconds: float
    trouble: str = ""
    late: bool = False
    ahead: float | None = None

    @property
    def body(self) -> bytes:
        return self.reply.content if self.reply is not None else b""

    @property
    def status(self) -> int:
        return self.reply.status if self.reply is not None else 0


async def check_callback(case: Case) -> list[Finding]:
    """See that the address is one the platform takes, and that somebody is there."""
    if not case.callback:
        raise SkippedError("no callback URL is given (--callback, or WXMP_CALLBACK_URL)")
    findings: list[Finding] = []
    try:
        parts = urlsplit(case.callback)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.fragment:
        return [
            Finding(
                "error",
                "the callback URL is no address of the form https://host/path",
                "The platform takes http:// or https://, a host name and a path.",
                "Give the URL exactly as it stands in the console.",
            )
        ]
    if not case.simulated:
        findings += _reachable_from_outside(host, port)
    trouble, timings = await connect(host, port, parts.scheme)
    if trouble is not None:
        cause, remedy = trouble.cause, trouble.remedy
        if "certificate" in trouble.found:
            cause = f"{_certificate_cause(trouble.found)} Whoever checks certificates refuses such a server."
            remedy = (
                f"Install a certificate of a public CA with its full chain (fullchain.pem). To see what is sent: "
                f"openssl s_client -connect {host}:{port} -servername {host}"
            )
        return [Finding("error", f"the callback URL cannot be reached: {trouble.found}", cause, remedy), *findings]
    findings.insert(0, Finding("ok", f"{parts.scheme}://{host}:{port} answers: {timings}"))
    return findings


def _certificate_cause(found: str) -> str:
    """Say what OpenSSL's words mean for whoever installs certificates."""
    for sign_of, cause in CERTIFICATES:
        if re.search(sign_of, found):
            return cause
    return "The certificate is for another name, expired, or of no CA that this machine knows."


def _reachable_from_outside(host: str, port: int) -> list[Finding]:
    findings = []
    if is_private(host):
        findings.append(
            Finding(
                "error",
                f"{host} is an address of this machine or of a private network",
                "The platform pushes from the internet and cannot get there.",
                f"Give the URL that stands in {SERVER_CONFIG}; for development use wxmp sim, which pushes to loopback.",
            )
        )
    if port not in PORTS:
        findings.append(
            Finding(
                "error",
                f"the callback URL uses port {port}",
                "The platform pushes to port 80 (http) and 443 (https) only.",
                "Put a reverse proxy in front that listens on 443.",
            )
        )
    return findings


# ---- the Token


async def check_signature(case: Case) -> list[Finding]:
    """Verify the address as the console does; a wrong signature must be refused."""
    if not case.callback:
        raise SkippedError("no callback URL is given")
    if case.failed("callback"):
        raise SkippedError("needs “Callback URL”, which is not in order")
    token = case.callback_token
    if not token:
        raise SkippedError("WXMP_CALLBACK_TOKEN is not set")
    _usable(check_token, token, "WXMP_CALLBACK_TOKEN")
    echo = f"wxmpdoctor{secrets.randbelow(10**9):09d}"
    right = await _verify(case, token, echo)
    findings = [_judge_echo(case, right, echo)]
    if findings[0].status == "error" and (right.reply is None or right.status not in (200, *_REFUSALS)):
        return findings  # nobody who looks at signatures has answered
    wrong = await _verify(case, "wxmp" + secrets.token_hex(8), echo)
    if wrong.status in _FINE and echo.encode() in wrong.body:
        findings.insert(
            0,
            Finding(
                "error",
                "your server accepts anybody: it echoes a request with a wrong signature",
                "It does not check the signature, so everybody can send it messages in the name of users.",
                "Check the signature before anything else. wxmp.webhook.Webhook does; in other code compare "
                "sha1(sorted(Token, timestamp, nonce)) with signature, and answer 403.",
            ),
        )
        # An echo proves nothing about the Token then.
        findings = [finding for finding in findings if finding.status == "error"]
    return findings


def _usable(check: Callable[[str], object], value: str, name: str) -> None:
    """See that a setting has the form of what it should be.

    Raises:
        SkippedError: It has not.
    """
    try:
        check(value)
    except ConfigError:
        raise SkippedError(f"{name} cannot be used, see “Settings”") from None


async def _verify(case: Case, token: str, echo: str) -> _Answer:
    timestamp, nonce = _moment(case), secrets.token_hex(8)
    signature = sign(token.encode(), timestamp.encode(), nonce.encode()).decode()
    return await _ask(case, "GET", f"signature={signature}&timestamp={timestamp}&nonce={nonce}&echostr={echo}", None)


def _judge_echo(case: Case, answer: _Answer, echo: str) -> Finding:
    trouble = _transport_trouble(case, answer, "GET")
    if trouble is not None:
        return trouble
    body = answer.body
    if answer.status in _FINE and body == echo.encode():
        if answer.seconds > SLOW:
            return Finding(
                "warning",
                f"the verification took {answer.seconds:.1f} s",
                f"The platform waits {PATIENCE:g} s, then it gives up; its own way to the server comes on top.",
                "Answer first and work later: wxmp.webhook does by itself.",
            )
        return Finding("ok", f"A signed verification is echoed in {answer.seconds:.1f} s: the Token is right")
    if answer.status in _REFUSALS:
        if answer.ahead is not None and abs(answer.ahead) > WINDOW:
            return Finding(
                "error",
                f"the server refuses a correct signature (HTTP {answer.status}), and its clock is "
                f"{abs(answer.ahead):.0f} s {'ahead' if answer.ahead > 0 else 'behind'}",
                f"Whatever is more than {WINDOW:g} s old looks like a replay to it.",
                "Let NTP set the clock of the server: timedatectl set-ntp true.",
            )
        return Finding(
            "error",
            f"the server refuses a request signed with WXMP_CALLBACK_TOKEN (HTTP {answer.status})",
            "Wrong Token: the server has another Token than this environment, or stands behind something that refuses.",
            f"Give both the Token of {SERVER_CONFIG}: it must be the same in the console, on the server, and here.",
        )
    if answer.status not in _FINE:
        return _bad_status(answer)
    return Finding(
        "error",
        f"the server answers, but not with the echostr: {_differs(body, echo)}",
        "The console says “token 验证失败” to everything that is not exactly the echostr.",
        "Answer the GET with the bare value of echostr as text/plain: no quotation marks, no JSON, no HTML, no "
        "byte order mark, no line break. wxmp.webhook.Webhook does.",
    )


def _differs(body: bytes, echo: str) -> str:
    text = body.decode("utf-8", "replace")
    if not body:
        return "the body is empty, as some frameworks refuse a wrong Token"
    if text.strip('"') == echo or (text[:1] == "{" and echo in text):
        return "it is wrapped in JSON"
    if text.strip().lstrip("\ufeff") == echo:
        return "there are blanks or a byte order mark around it"
    if "<html" in text.lower():
        return "it is a web page"
    return f"{len(body)} bytes of something else"


def _transport_trouble(case: Case, answer: _Answer, method: Literal["GET", "POST"]) -> Finding | None:
    if answer.reply is None:
        if answer.late and method == "GET":
            return Finding(
                "error",
                f"the server does not answer the verification within {PATIENCE:g} s",
                "It takes the connection, and then nothing comes: all its workers are busy or blocked, or the proxy in "
                "front of it cannot reach the application.",
                "Ask it on its own machine: curl -v http://127.0.0.1:PORT/path. A verification needs no database: look "
                "for blocking code (time.sleep, requests, a slow query) in handlers and middleware.",
            )
        if answer.late:
            return Finding(
                "error",
                f"the server does not answer a push within {PATIENCE:g} s",
                "The platform gives up after 5 s and sends the push again, three times in all; then the user sees "
                "“该公众号提供的服务出现故障”.",
                "Answer “success” first and work later. wxmp.webhook answers in time by itself: look for blocking code "
                "in a handler (time.sleep, requests, a slow query).",
            )
        return Finding(
            "error",
            f"the server gives no answer: {answer.trouble}",
            "It breaks the connection, or does not speak HTTP there (is it https?).",
            "Look at the log of the server and of the proxy in front of it.",
        )
    if answer.status in _REDIRECTS:
        there = answer.reply.headers.get("location", "")
        remedy = f"Enter the final address under {SERVER_CONFIG}. If it leads to a login page, let this path through."
        if urlsplit(case.callback).path.rstrip("/") == _path(there).rstrip("/"):
            remedy += " If only a “/” is added: in Starlette and FastAPI use a raw Route, not a Mount."
        return Finding(
            "error",
            f"the server redirects (HTTP {answer.status}{f' to {_place(there)}' if there else ''})",
            "The platform does not follow redirects: not from http to https, not to a path with “/” at its end.",
            remedy,
        )
    return None


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is no address"
    return f"{parts.scheme}://{parts.hostname}{parts.path}"[:100] if parts.scheme else parts.path[:100]


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _bad_status(answer: _Answer) -> Finding:
    status = answer.status
    if status == 404:
        cause, remedy = "Nothing is served at this path.", "Compare the path with the route of the application."
    elif status == 405:
        cause = "The route does not take this method."
        remedy = "The same address must take GET (verification) and POST (pushes)."
    elif status >= _SERVER_ERROR:
        cause = "The application, or the proxy in front of it, fails."
        remedy = "Look at the log of the server: the request came a moment ago."
    else:
        cause, remedy = "Something in front of the application answers.", "Look at the proxy's rules for this path."
    return Finding("error", f"the server answers HTTP {status}", cause, remedy)


# ---- the key


async def check_push(case: Case) -> list[Finding]:
    """Send a harmless push, sealed as the console seals it; tell a wrong key from a wrong mode."""
    if not case.callback:
        raise SkippedError("no callback URL is given")
    if not case.push:
        raise SkippedError("--no-push leaves it out")
    case.need("signature")
    sealed = bool(case.aes_key)
    if sealed:
        _usable(check_key, case.aes_key, "WXMP_ENCODING_AES_KEY")
    answer = await _push(case, "sealed" if sealed else "plain")
    trouble = _transport_trouble(case, answer, "POST")
    if trouble is not None:
        return [trouble]
    if answer.status in _FINE:
        return await _taken(case, answer) if sealed else [_plain_taken(answer)]
    if answer.status not in _REFUSALS:
        return [_bad_status(answer)]
    other = await _push(case, "plain" if sealed else "sealed")
    if not sealed:
        return [
            Finding(
                "error",
                f"the server refuses a push in plain text (HTTP {answer.status}), though the Token is right",
                "The server runs in safe mode (安全模式): it has an EncodingAESKey, and this environment has none.",
                f"Set WXMP_ENCODING_AES_KEY to the EncodingAESKey of {SERVER_CONFIG}, or take it away on the server if "
                "the console says 明文模式.",
            )
        ]
    if other.status in _FINE:
        return [
            Finding(
                "error",
                f"the server refuses a sealed push (HTTP {answer.status}) and takes a plain one",
                "The server runs in plain mode (明文模式): it has no EncodingAESKey, and this environment has one.",
                f"Give the server the EncodingAESKey of {SERVER_CONFIG}; or set the console to 明文模式 and unset "
                "WXMP_ENCODING_AES_KEY here.",
            )
        ]
    return [
        Finding(
            "error",
            f"the server refuses a push sealed with WXMP_ENCODING_AES_KEY (HTTP {answer.status}), though the Token is "
            "right",
            "Wrong EncodingAESKey: the server has another one than this environment, or another AppID. (A server that "
            "checks the original ID refuses as well: give it with --original-id.)",
            f"Give both the EncodingAESKey of {SERVER_CONFIG}. After a change keep the old pair for a while: "
            "Webhook(previous=[...]).",
        )
    ]


async def _taken(case: Case, answer: _Answer) -> list[Finding]:
    """A sealed push was taken. That proves something only if one with a wrong key is not."""
    found = _SEALED.search(answer.body)
    if found is not None:
        try:
            MessageCipher(case.aes_key, case.appid).decrypt(found[1])
        except DecryptError:
            return [
                Finding(
                    "error",
                    "the server's reply does not open with WXMP_ENCODING_AES_KEY",
                    "Wrong EncodingAESKey: it seals with another key, or for another AppID.",
                    f"Give both the EncodingAESKey of {SERVER_CONFIG}.",
                )
            ]
        return [Finding("ok", f"A sealed push is opened and answered in {answer.seconds:.1f} s: the key is right")]
    wrong = await _push(case, "foreign")
    if wrong.status in _FINE and wrong.body == answer.body:
        return [
            Finding(
                "warning",
                "the server takes a sealed push, and takes one with a wrong key just the same",
                "It does not open what it gets, or hides its errors: the key may be right or wrong.",
                "Write the platform's own test into the log: the event is debug_demo. A server that cannot open a push "
                "should answer 403, so that the fault is seen.",
            )
        ]
    line = f"A sealed push is taken in {answer.seconds:.1f} s, one with a wrong key is not: the key is right"
    return [_late(answer) or Finding("ok", line)]


def _plain_taken(answer: _Answer) -> Finding:
    return _late(answer) or Finding(
        "ok", f"A push in plain text is taken in {answer.seconds:.1f} s; there is no EncodingAESKey to try"
    )


def _late(answer: _Answer) -> Finding | None:
    if answer.seconds <= SLOW:
        return None
    return Finding(
        "warning",
        f"the push was answered after {answer.seconds:.1f} s",
        f"The platform waits {PATIENCE:g} s.",
        "Answer first and work later: wxmp.webhook does by itself.",
    )


async def _push(case: Case, kind: Literal["sealed", "plain", "foreign"]) -> _Answer:
    timestamp, nonce = _moment(case), secrets.token_hex(8)
    account = case.original_id or "gh_wxmpdoctor0"
    message = (
        f"<xml><ToUserName><![CDATA[{account}]]></ToUserName><FromUserName><![CDATA[{OPENID}]]></FromUserName>"
        f"<CreateTime>{timestamp}</CreateTime><MsgType><![CDATA[event]]></MsgType>"
        "<Event><![CDATA[debug_demo]]></Event><debug_str><![CDATA[wxmp doctor]]></debug_str></xml>"
    ).encode()
    token = case.callback_token.encode()
    signature = sign(token, timestamp.encode(), nonce.encode()).decode()
    query = f"signature={signature}&timestamp={timestamp}&nonce={nonce}&openid={OPENID}"
    if kind != "plain":
        own = case.aes_key if kind == "sealed" and case.aes_key else ""
        key = own or base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        sealed = MessageCipher(key, case.appid).encrypt(message)
        proof = sign(token, timestamp.encode(), nonce.encode(), sealed.encode()).decode()
        query += f"&encrypt_type=aes&msg_signature={proof}"
        message = (
            f"<xml><ToUserName><![CDATA[{account}]]></ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
        ).encode()
    return await _ask(case, "POST", query, message)


def _moment(case: Case) -> str:
    """The platform's time: a wrong clock of this machine must not look like a wrong Token."""
    return str(int(time.time() + (case.ahead or 0.0)))


async def _ask(case: Case, method: str, query: str, body: bytes | None) -> _Answer:
    parts = urlsplit(case.callback)
    whole = f"{parts.query}&{query}" if parts.query else query
    started, before = time.monotonic(), time.time()
    try:
        transport = Transport(
            base_url=f"{parts.scheme}://{parts.netloc}",
            timeout=PATIENCE,
            connect_timeout=CONNECT,
            max_connections=1,
            allow_insecure=True,
            max_body=1 << 20,
        )
    except ConfigError as error:
        return _Answer(None, 0.0, str(error))
    try:
        reply = await transport.send(
            WireRequest(
                method,
                quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~"),
                query=whole,
                content=body,
                content_type="text/xml",
            )
        )
    except TimedOutError as error:
        return _Answer(None, time.monotonic() - started, str(error), late=True)
    except (TransportError, ReplyError, ConfigError) as error:
        return _Answer(None, time.monotonic() - started, str(error))
    finally:
        await transport.aclose()
    took = time.monotonic() - started
    ahead, _ = clock_of(reply.headers, before + (case.ahead or 0.0), took)
    return _Answer(reply, took, ahead=ahead)
