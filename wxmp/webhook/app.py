"""One account's webhook (接收消息与事件的服务器配置): everything between a web framework and your handlers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypedDict, Unpack, cast

import attrs

from wxmp._asgi import Seldom, announces_more, is_compressed
from wxmp._env import is_redis_address, named_in_env
from wxmp._log import AccountLogger, log_fields
from wxmp.errors import APIError, ConfigError, MalformedError, WebhookError, WxmpError
from wxmp.webhook.dedupe import DedupeStore, MemoryDedupe
from wxmp.webhook.delivery import HANDLER_TIMEOUT, Deliveries, DeliveryPolicy, Work
from wxmp.webhook.dispatch import Handlers
from wxmp.webhook.gate import Gate
from wxmp.webhook.parsing import identity, read_push
from wxmp.webhook.replies import as_reply, late_message, render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from wxmp.client import Client
    from wxmp.events import EventHook
    from wxmp.webhook.activity import ActivityLog, Outcome
    from wxmp.webhook.asgi import WebhookASGI
    from wxmp.webhook.gate import Mode, Opened
    from wxmp.webhook.messages import Push
    from wxmp.webhook.replies import Reply

__all__ = ["Webhook", "WebhookAnswer", "WebhookSettings"]

logger: logging.Logger = logging.getLogger("wxmp.webhook")
# The library is quiet unless the program sets up logging.
logging.getLogger("wxmp").addHandler(logging.NullHandler())

#: Seconds around the server's clock in which a push is fresh.
WINDOW: Final = 300.0
#: Bytes of a request body; the platform's own are a few thousand.
MAX_BODY: Final = 1 << 20
#: Longest name of an event or a kind of message that goes into the log as it is.
NAME_SHOWN: Final = 64

PLAIN: Final = "text/plain; charset=utf-8"
XML: Final = "application/xml; charset=utf-8"
JSON: Final = "application/json; charset=utf-8"


@attrs.frozen
class WebhookAnswer:
    """What goes back over HTTP, for an adapter to send as it is."""

    status: int
    body: bytes = attrs.field(repr=False)
    content_type: str = PLAIN


#: Says "handled, nothing to show", and is never encrypted.
SUCCESS: Final = WebhookAnswer(200, b"success")
#: One text for every refusal. What was wrong stands in the log.
REFUSED: Final = b"refused\n"


class WebhookSettings(TypedDict, total=False):
    """The arguments of :class:`Webhook`, for :meth:`Webhook.from_env`."""

    token: str
    encoding_aes_key: str | None
    appid: str
    mode: Mode | None
    previous: Iterable[tuple[str, str | None]]
    window: float | None
    max_body: int
    clock: Callable[[], float]
    dedupe: DedupeStore | None
    client: Client | None
    activity: ActivityLog | None
    delivery: DeliveryPolicy | None
    original_id: str | None
    observer: EventHook | None


class Webhook(Handlers):
    """What WeChat pushes to one account: verified, decrypted, handled once, answered in time (接收消息与事件).

    ::

        hook = Webhook(token="...", encoding_aes_key="...", appid="wx...")


        @hook.on(TextMessage)
        async def echo(message: TextMessage) -> str:
            return message.content


        app = hook.asgi()

    Handlers are asynchronous. They return a reply, a text, or ``None`` for nothing to show, and take the message and,
    by the name ``client``, the client. One that outlives its connections is answered by a customer-service message,
    if there is a client; without one the answer is dropped with a warning.

    A push is handled once in this process; :class:`~wxmp.webhook.RedisDedupe`, or its address in ``WXMP_DEDUPE``,
    makes that once in a fleet.
    """

    def __init__(
        self,
        *,
        token: str,
        encoding_aes_key: str | None = None,
        appid: str,
        mode: Mode | None = None,
        previous: Iterable[tuple[str, str | None]] = (),
        window: float | None = WINDOW,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
        dedupe: DedupeStore | None = None,
        client: Client | None = None,
        activity: ActivityLog | None = None,
        delivery: DeliveryPolicy | None = None,
        original_id: str | None = None,
        observer: EventHook | None = None,
    ) -> None:
        """Check the settings. Nothing is opened.

        Args:
            token: The Token (令牌) of the account's server settings, 3 to 32 letters and digits.
            encoding_aes_key: The EncodingAESKey (消息加解密密钥), 43 characters.
            appid: The account's AppID.
            mode: ``"safe"`` (安全模式), ``"compatible"`` (兼容模式) or ``"plain"`` (明文模式), as set in the console.
                Safe when there is a key. It is never taken from the request. In plain mode the signature does not
                cover the body: whoever has seen one request can send others.
            previous: Pairs of Token and EncodingAESKey that are still accepted while they are changed. The answer goes
                out under the pair that opened the push.
            window: Seconds around the server's clock in which a push is fresh; ``None`` accepts any age.
            max_body: Most bytes of a request.
            clock: Seconds since 1970.
            dedupe: Where deliveries of one push meet; :class:`~wxmp.webhook.MemoryDedupe` if absent, which is right
                for a single process.
            client: For handlers that ask for it and for late answers. It is not closed here.
            activity: Keeps who wrote when, and what the menu was answered.
            delivery: Time limits and what happens at their end.
            original_id: The account's original id (``gh_...``). When given, a push for another account is refused.
            observer: Called with an :class:`~wxmp.Event` for each push that is handled and each request that is
                answered. (``on_event`` is what registers a handler.)

        Raises:
            ConfigError: A setting cannot work; it names the field.
        """
        super().__init__()
        self._gate = Gate(
            token=token,
            encoding_aes_key=encoding_aes_key,
            appid=appid,
            mode=mode,
            previous=previous,
            window=window,
            max_body=max_body,
            clock=clock,
            original_id=original_id,
        )
        if client is not None and client.appid != appid:
            raise ConfigError("client is a client of another account: it must have the webhook's appid", field="client")
        if observer is not None:
            from wxmp.events import guarded

            observer = guarded(observer)
        self._observer = observer
        self._appid = appid
        self._max_body = max_body
        self._clock = clock
        self._client = client
        self._activity = activity
        self._dedupe = dedupe if dedupe is not None else MemoryDedupe()
        self._policy = delivery if delivery is not None else DeliveryPolicy()
        # Handlers and those who wait for them live in one event loop. Loops meet in the store, as processes do.
        self._by_loop: dict[asyncio.AbstractEventLoop, Deliveries] = {}
        self._local = MemoryDedupe()
        self._refusals = Seldom()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def from_env(cls, prefix: str = "WXMP_", **settings: Unpack[WebhookSettings]) -> Self:
        """Make a webhook from environment variables.

        Args:
            prefix: In front of ``APPID``, ``CALLBACK_TOKEN``, ``ENCODING_AES_KEY`` (optional), ``CALLBACK_MODE``
                (optional) and ``DEDUPE`` (optional): where deliveries of one push meet, ``memory:`` (the default, right
                for a single process) or the ``redis://…``, ``rediss://…``, ``unix://…`` that all workers share. The
                store is closed with the webhook.
            settings: Further arguments, see :class:`Webhook`. They win over the variables; ``DEDUPE`` is not read if
                there is a ``dedupe``.

        Raises:
            ConfigError: A variable is missing or cannot work; it names the variable.
        """
        for name in ("APPID", "CALLBACK_TOKEN"):
            if not os.environ.get(prefix + name):
                raise ConfigError(f"set the environment variable {prefix}{name}", field=prefix + name)
        values: WebhookSettings = {
            "appid": os.environ[f"{prefix}APPID"],
            "token": os.environ[f"{prefix}CALLBACK_TOKEN"],
            "encoding_aes_key": os.environ.get(f"{prefix}ENCODING_AES_KEY") or None,
            # Another text than the three is refused below, like all settings that cannot work.
            "mode": cast("Mode | None", os.environ.get(f"{prefix}CALLBACK_MODE") or None),
        }
        values.update(settings)
        if values.get("dedupe") is None:
            values["dedupe"] = dedupe_from_env(os.environ, f"{prefix}DEDUPE")
        return cls(**values)

    def __repr__(self) -> str:
        return f"Webhook(appid={self._appid!r}, mode={self.mode!r}, handlers={len(self._dispatcher)})"

    @property
    def appid(self) -> str:
        """The account's AppID."""
        return self._appid

    @property
    def mode(self) -> Mode:
        """``"safe"``, ``"compatible"`` or ``"plain"``."""
        return self._gate.mode

    @property
    def activity(self) -> ActivityLog | None:
        """The activity log, if there is one."""
        return self._activity

    # ---- adapters

    def asgi(self) -> WebhookASGI:
        """Return a plain ASGI application. It answers on whatever path it is reached, and drains at shutdown."""
        from wxmp.webhook.asgi import WebhookASGI

        return WebhookASGI(self)

    @property
    def max_body(self) -> int:
        """Bytes that an adapter may read of a request: one more is enough to refuse it."""
        return self._max_body

    def refuse_unread(self, method: str, *, content_length: str | None, encoding: str | None) -> WebhookAnswer | None:
        """Return the refusal of a request whose headers say enough, before any of its body is read.

        Args:
            method: The HTTP method.
            content_length: The header, if there is one.
            encoding: The header ``Content-Encoding``: the platform sends nothing compressed.
        """
        if method not in ("GET", "POST"):
            return WebhookAnswer(405, REFUSED)
        if is_compressed(encoding):
            answer = self._refuse(MalformedError("a compressed body"))
        elif announces_more(content_length, self._max_body):
            answer = self._refuse(MalformedError("the body is larger than max_body", status=413))
        else:
            return None
        if self._observer is not None:
            from wxmp._watch import AnswerWatch

            with AnswerWatch(self._observer, appid=self._appid) as watch:
                watch.status = answer.status
        return answer

    async def answer(
        self, method: str, query: bytes, body: bytes = b"", *, client: Client | None = None
    ) -> WebhookAnswer:
        """Answer one request. It raises nothing but what cancels it.

        Args:
            method: ``"GET"`` for the verification of the address, ``"POST"`` for a push.
            query: The query string as received.
            body: The body, at most one byte more than :attr:`max_body`.
            client: Instead of the webhook's own; a client of another account is not used.
        """
        if self._observer is None:
            return await self._respond(method, query, body, client)
        from wxmp._watch import AnswerWatch

        with AnswerWatch(self._observer, appid=self._appid) as watch:
            answer = await self._respond(method, query, body, client)
            watch.status = answer.status
            return answer

    async def _respond(self, method: str, query: bytes, body: bytes, client: Client | None) -> WebhookAnswer:
        try:
            if method == "GET":
                return WebhookAnswer(200, self._gate.verify_url(query))
            if method != "POST":
                return WebhookAnswer(405, REFUSED)
            opened = self._gate.open(query, body)
            try:
                push = read_push(opened.fields)
            except MalformedError as error:
                if self.mode == "plain":
                    raise
                # What was wrong inside of an encrypted push looks like anything else that was wrong with it.
                raise MalformedError(error.message, code=error.code, status=403) from None
            if client is None:
                client = self._client
            elif client.appid != self._appid:
                # Its users have other openids, and its token other rights.
                logger.error(
                    "the client that came with the request is of another account, and is not used",
                    extra=log_fields("foreign_client", appid=self._appid),
                )
                client = self._client
            reply = await self._deliveries.deliver(self._work(opened, push, client))
            if not reply:
                return SUCCESS
            content_type = XML if opened.format == "xml" else JSON
            return WebhookAnswer(200, self._gate.seal(opened, reply), content_type)
        except WebhookError as error:
            return self._refuse(error)
        except Exception as error:
            logger.exception(
                "the webhook itself failed",
                extra=log_fields("webhook_failed", appid=self._appid, error=type(error).__name__),
            )
            return WebhookAnswer(500, REFUSED)

    def _refuse(self, error: WebhookError) -> WebhookAnswer:
        text = str(error)
        if isinstance(error.__cause__, WebhookError):
            text = f"{text} ({error.__cause__})"  # for the operator; outside all reasons look alike
        if self._refusals.lets(text):
            logger.warning(
                "answered %d: %s",
                error.status,
                text,
                extra=log_fields("push_refused", appid=self._appid, status=error.status, error=type(error).__name__),
            )
        return WebhookAnswer(error.status, REFUSED)

    # ---- one push

    @property
    def _deliveries(self) -> Deliveries:
        """What is under way in this event loop."""
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            for other in [other for other in list(self._by_loop) if other.is_closed()]:
                self._by_loop.pop(other, None)
            log = AccountLogger(logger, appid=self._appid)
            found = self._by_loop[loop] = Deliveries(self._dedupe, self._policy, local=self._local, log=log)
        return found

    def _work(self, opened: Opened, push: Push, client: Client | None) -> Work:
        said: list[Reply] = []

        async def handle() -> bytes:
            reply = await self._run(push, client)
            if reply is None:
                return b""
            said.append(reply)
            return render(reply, push, format=opened.format, created=int(self._clock()))

        async def send_late(_: bytes) -> None:
            await self._send_late(push, said[0], client)

        digest = hashlib.sha256(identity(push).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        name = push.event or push.msg_type
        if not (name.isascii() and name.isidentifier() and len(name) <= NAME_SHOWN):
            name = type(push).__name__  # what a push calls itself may be anything, and this goes into the log
        return Work(
            key=f"{self._appid}:{digest}",
            replay=f"{self._appid}:{opened.replay_key}",
            # Without a window a request is good for ever, and remembered for as long as the push.
            replay_for=opened.replay_for or self._policy.keep,
            handle=handle if self._observer is None else partial(self._watched, push, handle, self._observer),
            send_late=send_late,
            label=f"{name} {digest[:8]}",
        )

    async def _watched(self, push: Push, handle: Callable[[], Awaitable[bytes]], hook: EventHook) -> bytes:
        from wxmp._watch import PushWatch

        handled = self._dispatcher.find(push) is not None
        with PushWatch(hook, type(push).__name__, stop=HANDLER_TIMEOUT, appid=self._appid, handled=handled):
            return await handle()

    async def _run(self, push: Push, client: Client | None) -> Reply | None:
        route = self._dispatcher.find(push)
        if self._activity is None:
            return None if route is None else as_reply(await route.run(push, client))
        seen = self._spawn(self._record(push))
        loop = asyncio.get_running_loop()  # its clock is that of the deadline
        started = loop.time()
        outcome: Outcome = "no_handler"
        try:
            reply = None
            if route is not None:
                outcome = "error"
                reply = as_reply(await route.run(push, client))
                outcome = "ok" if loop.time() - started < self._policy.deadline else "late"
            return reply
        finally:
            await seen
            await self._record_outcome(push, outcome)

    async def _send_late(self, push: Push, reply: Reply, client: Client | None) -> None:
        outcome = await self._send_message(push, reply, client)
        if self._observer is not None:
            from wxmp.events import LateAnswer

            self._observer(LateAnswer(appid=self._appid, kind=type(push).__name__, outcome=outcome))

    async def _send_message(self, push: Push, reply: Reply, client: Client | None) -> str:
        """Send an answer that no connection could carry as a customer-service message (客服消息); tell its outcome."""
        name = type(reply).__name__
        if client is None:
            logger.warning(
                "a %s came too late and is dropped: Webhook(client=...) could have sent it",
                name,
                extra=log_fields("late_answer_dropped", appid=self._appid, reason="no_client"),
            )
            return "no_client"
        message = late_message(reply)
        if message is None:
            logger.warning(
                "a %s came too late and is dropped: it has no form as a customer-service message",
                name,
                extra=log_fields("late_answer_dropped", appid=self._appid, reason="no_form"),
            )
            return "no_form"
        if self._activity is not None:
            try:
                window = await self._activity.window(push.openid)
            except Exception as error:  # noqa: BLE001 - as above
                _activity_failed(error)
            else:
                if not window.open:
                    logger.warning(
                        "a %s came too late and is dropped: the user's window is closed or used up",
                        name,
                        extra=log_fields("late_answer_dropped", appid=self._appid, reason="window_closed"),
                    )
                    return "window_closed"
        try:
            await client.custom.send(push.openid, message)
        except WxmpError as error:
            logger.warning(
                "a %s came too late and could not be sent: %s",
                name,
                error,
                extra=log_fields(
                    "late_answer_failed",
                    appid=self._appid,
                    error=type(error).__name__,
                    errcode=error.errcode if isinstance(error, APIError) else None,
                ),
            )
            return type(error).__name__
        logger.info(
            "a %s came too late and went out as a customer-service message",
            name,
            extra=log_fields("late_answer_sent", appid=self._appid),
        )
        if self._activity is not None:
            try:
                await self._activity.record_sent(push.openid)
            except Exception as error:  # noqa: BLE001 - as above
                _activity_failed(error)
        return "sent"

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _record(self, push: Push) -> None:
        if self._activity is not None:
            try:
                await self._activity.record(push)
            except Exception as error:  # noqa: BLE001 - a log of the user's own may fail in any way
                _activity_failed(error)

    async def _record_outcome(self, push: Push, outcome: Outcome) -> None:
        if self._activity is not None and push.event is not None:
            try:
                await self._activity.record_outcome(push, outcome)
            except Exception as error:  # noqa: BLE001 - as above
                _activity_failed(error)

    # ---- the end

    async def drain(self) -> None:
        """Let the handlers of this event loop end, up to ``delivery.drain`` seconds; start none meanwhile.

        Several webhooks that share a store are drained before any of them is closed.
        """
        await self._deliveries.aclose()

    async def aclose(self) -> None:
        """:meth:`drain`, and release the stores. Safe to call twice; the webhook may be used again."""
        try:
            await self.drain()
        finally:
            try:
                await self._dedupe.aclose()
            finally:
                if self._activity is not None:
                    await self._activity.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def dedupe_from_env(variables: Mapping[str, str], name: str) -> DedupeStore:
    """Make the store of deliveries that a variable names; the one in memory without it.

    Raises:
        ConfigError: It cannot be one; the message names the variable.
    """
    value = variables.get(name) or "memory:"
    if value.partition(":")[0] == "memory":
        return MemoryDedupe()
    if is_redis_address(value):
        from wxmp.webhook.dedupe_redis import RedisDedupe

        with named_in_env(name):
            return RedisDedupe(value)
    # What stands there is not shown: it may be an address with a password and a slip in its scheme.
    raise ConfigError(f"{name} must be memory:, redis://…, rediss://… or unix://…", field=name)


def _activity_failed(error: Exception) -> None:
    # Ours say what failed without values; what others say may hold an openid.
    logger.warning(
        "the activity log failed: %s",
        error if isinstance(error, WxmpError) else type(error).__name__,
        extra=log_fields("activity_failed", error=type(error).__name__),
    )
