"""Pushing to the developer's server, as decisions only: what to send, when again, and what an answer means.

Nothing here does I/O. Somebody asks for work (:meth:`Callbacks.take`), for the requests of a delivery one after the
other (:meth:`Callbacks.next_request`), and brings back what was answered (:meth:`Callbacks.answered`); in the
simulator that is :mod:`wxmp.simulator.deliver`.
"""

from __future__ import annotations

import hmac
import re
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import urlencode, urlsplit

import attrs

from wxmp.simulator import envelope, library, people, staff, statistics
from wxmp.simulator.answers import Bounds, BrokenReply, Judgement, check_reply, read_reply, review
from wxmp.simulator.faults import Fault
from wxmp.simulator.hosts import is_loopback
from wxmp.simulator.journal import Exchange, keep_body, mask_body, mask_query
from wxmp.simulator.payload import push_body, sealed_body
from wxmp.simulator.state import Account, Attempt, CallbackFormat, CallbackMode, ChatEntry, Push
from wxmp.simulator.wire import JsonObject, WorldError, dump_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxmp.simulator.answers import Answer
    from wxmp.simulator.state import Event
    from wxmp.simulator.world import World

__all__ = ["AddressCheckError", "CallbackError", "CallbackSettings", "Callbacks", "Job", "Outgoing", "check_settings"]

TOKEN: Final = re.compile(r"[A-Za-z0-9]{3,32}")
# Documented as letters and digits; keys made by other tools hold the two further characters of base64.
AES_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}")
WORLDLY: Final = frozenset({"push_twice", "push_late", "push_reordered"})
FORGED_BEFORE: Final = ("push_wrong_signature", "push_wrong_appid", "push_stale")
FORGED: Final = frozenset({*FORGED_BEFORE, "push_replayed"})
FORGERY_NAMES: Final = {
    "push_wrong_signature": "a wrong signature",
    "push_wrong_appid": "another account's AppID in the cipher text",
    "push_stale": "an old timestamp",
    "push_replayed": "a request that was sent before",
}

Lane: TypeAlias = tuple[str, ...]
Pair: TypeAlias = "tuple[str, str | None]"


class CallbackError(WorldError):
    """The address or its settings cannot work; the text says why, and nothing was changed."""


class AddressCheckError(CallbackError):
    """The address did not pass its check: it may later, when the developer's server runs."""


@attrs.frozen(kw_only=True)
class CallbackSettings:
    """The server configuration (服务器配置) of an account. Token and key are kept out of ``repr``."""

    url: str
    token: str = attrs.field(repr=False)
    encoding_aes_key: str | None = attrs.field(default=None, repr=False)
    mode: CallbackMode = "safe"
    format: CallbackFormat = "xml"


@attrs.define(eq=False)
class Job:
    """One delivery of one push, on its way."""

    appid: str
    push: Push
    lane: Lane
    number: int = 0
    steps: deque[str] | None = None
    rules: dict[str, Fault] = attrs.field(factory=dict[str, Fault])
    sent: Outgoing | None = None
    twin: bool = False


@attrs.frozen
class Outgoing:
    """One request to the developer's server.

    Attributes:
        step: ``"check"`` (the address check), ``"push"``, or the effect of a forged copy.
        number: 1 for the first delivery; 0 for everything else.
        inner: The plain body, for the journal.
        pair: The token and the key the push is made with.
    """

    method: Literal["GET", "POST"]
    url: str = attrs.field(repr=False)
    query: dict[str, str] = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=False)
    step: str
    number: int
    mode: CallbackMode
    format: CallbackFormat
    seconds: float
    inner: bytes = attrs.field(default=b"", repr=False)
    pair: Pair = attrs.field(default=("", None), repr=False)


def check_settings(settings: CallbackSettings, hosts: tuple[str, ...]) -> None:
    """Check settings before anything is asked of the address.

    Raises:
        CallbackError: What cannot work.
    """
    check_url(settings.url, hosts)
    if not TOKEN.fullmatch(settings.token):
        raise CallbackError("the Token must be 3 to 32 letters and digits")
    if settings.encoding_aes_key is not None and not AES_KEY.fullmatch(settings.encoding_aes_key):
        raise CallbackError("the EncodingAESKey must be 43 letters and digits")
    if settings.mode not in {"plain", "compatible", "safe"}:
        raise CallbackError("the mode must be plain, compatible or safe")
    if settings.format not in {"xml", "json"}:
        raise CallbackError("the format must be xml or json")
    if settings.mode != "plain" and settings.encoding_aes_key is None:
        raise CallbackError(f"{settings.mode} mode needs an EncodingAESKey")


def check_url(url: str, hosts: tuple[str, ...]) -> None:
    """Check the address: http or https, on this machine or a host that is allowed."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise CallbackError("the URL cannot be read") from None
    if parts.scheme not in {"http", "https"} or not host or parts.fragment or parts.username is not None:
        raise CallbackError("the URL must be a plain http or https address")
    if not is_loopback(host) and host not in hosts:
        raise CallbackError("the URL leads beyond this machine; policy.callback_hosts may allow the host")


class Callbacks:
    """Deliveries of a world: what waits, what is on its way, and what came of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lanes: dict[Lane, deque[Job]] = {}
        self._ready: deque[Lane] = deque()
        self._flying: set[Job] = set()
        self._waiting = 0
        self._to_be_overtaken = 0

    # --- settings -------------------------------------------------------------------------------------------------

    def check_request(self, settings: CallbackSettings) -> tuple[Outgoing, bytes]:
        """Return the request of the address check (URL 校验), and the body that must come back."""
        world = self._world
        with world.lock:
            echo = str(int.from_bytes(world.state.dice.digest("echostr")[:8], "big"))
            query = self._signed(settings.token)
            query["echostr"] = echo
            outgoing = Outgoing(
                method="GET",
                url=with_query(settings.url, query),
                query=query,
                headers=(("user-agent", "Mozilla/4.0"), ("accept", "*/*"), ("pragma", "no-cache")),
                body=b"",
                step="check",
                number=0,
                mode=settings.mode,
                format=settings.format,
                seconds=world.policy.callback_seconds,
            )
            return outgoing, echo.encode()

    def checked(self, account: Account, outgoing: Outgoing, answer: Answer, echo: bytes) -> str:
        """Note the outcome of the address check; return what is wrong, or an empty text."""
        if answer.status is None:
            why = f"no answer: {answer.failure}"
        elif answer.status != 200:
            why = f"HTTP status {answer.status} instead of 200"
        elif not hmac.compare_digest(answer.body, echo):
            same = answer.body.strip() == echo
            why = "the body has more than the echostr" if same else "the body is not the echostr"
        else:
            why = ""
        with self._world.lock:
            self._note(account, outgoing, answer, "address check: " + (why or "ok"), "", None)
            self._world.announce()
        return why

    def configure(self, account: Account, settings: CallbackSettings) -> None:
        """Put new settings in force; token and key before them stay good for replies for a while."""
        check_settings(settings, self._world.policy.callback_hosts)
        with self._world.lock:
            new = (settings.token, settings.encoding_aes_key)
            if account.callback_enabled and new != (account.callback_token, account.encoding_aes_key):
                account.previous_callback_token = account.callback_token
                account.previous_encoding_aes_key = account.encoding_aes_key
                account.callback_changed_at = self._world.now()
            account.callback_url = settings.url
            account.callback_token, account.encoding_aes_key = new
            account.callback_mode, account.callback_format = settings.mode, settings.format
            account.callback_enabled = True
            self._world.announce()

    # --- what waits -----------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not self._waiting and not self._flying

    def submit(self, account: Account, push: Push) -> None:
        """Take a new push in."""
        world = self._world
        if not account.callback_enabled:
            return
        if self._waiting >= world.policy.callback_queue:
            push.state = "dropped"
            return
        path = urlsplit(account.callback_url or "").path or "/"
        rules = world.faults.strike_push(WORLDLY, path, account.appid, push, world.now(), world.state.dice)
        delay = rules.get("push_late") or rules.get("push_reordered")
        if delay is not None:
            push.state = "held"
            overtaken = delay.effect == "push_reordered"
            self._to_be_overtaken += overtaken
            world.schedule(delay.seconds, "push_due", account, {"push": push.id, "overtaken": overtaken})
            return
        self._queue(account, push, rules)
        if self._to_be_overtaken:
            self._overtake(account, push)

    def _overtake(self, account: Account, push: Push) -> None:
        """Let those pushes of the same user go that were held back to be overtaken."""
        world = self._world
        for event in [e for e in world.state.events if e.kind == "push_due" and e.fields["overtaken"]]:
            held = find_push(account, event.fields["push"]) if event.appid == account.appid else None
            if held is not None and held.openid == push.openid:
                world.state.events.remove(event)
                self._to_be_overtaken -= 1
                self._queue(account, held, {})

    def release(self, account: Account, event: Event) -> None:
        """Let a push go that a fault has held back: its time has come."""
        self._to_be_overtaken -= event.fields["overtaken"] is True
        push = find_push(account, event.fields["push"])
        if push is not None and push.state == "held":
            self._queue(account, push, {})

    def _queue(self, account: Account, push: Push, rules: dict[str, Fault]) -> None:
        push.state = "waiting"
        order = self._world.policy.callback_order
        lane: Lane = {"user": (account.appid, push.openid), "account": (account.appid,)}.get(
            order, (account.appid, "", str(push.id))
        )
        job = Job(account.appid, push, lane, rules=dict(rules))
        self._enter(job)

    def _enter(self, job: Job) -> None:
        lane = self._lanes.get(job.lane)
        if lane is None:
            lane = self._lanes[job.lane] = deque()
            self._ready.append(job.lane)
        lane.append(job)
        self._waiting += 1

    def clear(self) -> None:
        """Forget everything; answers still on their way no longer count."""
        self._lanes.clear()
        self._ready.clear()
        self._flying.clear()
        self._waiting = self._to_be_overtaken = 0

    def rebuild(self) -> None:
        """Queue again what a snapshot holds undelivered; a delivery that had begun begins again."""
        self.clear()
        events = self._world.state.events
        self._to_be_overtaken = sum(e.kind == "push_due" and e.fields["overtaken"] is True for e in events)
        for account in self._world.state.accounts.values():
            for push in account.pushes:
                if push.state in {"waiting", "flying"}:
                    push.attempts = 0
                    self._queue(account, push, {})

    # --- what flies -----------------------------------------------------------------------------------------------

    def take(self) -> list[Job]:
        """Return the deliveries to start now, in order, as many as may be on their way at once."""
        with self._world.lock:
            started: list[Job] = []
            while self._ready and len(self._flying) < self._world.policy.callback_concurrency:
                # The lane stays closed until its delivery is over: it is in no list of ready ones meanwhile.
                job = self._lanes[self._ready.popleft()].popleft()
                self._waiting -= 1
                job.push.state = "flying"
                self._flying.add(job)
                started.append(job)
                if "push_twice" in job.rules:
                    twin = Job(job.appid, job.push, (*job.lane, "twin"), twin=True)
                    self._lanes[twin.lane] = deque()
                    self._flying.add(twin)
                    started.append(twin)
            return started

    def next_request(self, job: Job) -> Outgoing | None:
        """Return the next request of a delivery; ``None`` when it is over."""
        world = self._world
        with world.lock:
            account = world.state.accounts.get(job.appid)
            if job not in self._flying:
                return None
            if account is None or not account.callback_enabled:
                # Switched off while the delivery was on its way.
                self.end(job)
                return None
            if job.steps is None:
                job.steps = self._plan(account, job)
            if not job.steps:
                self._land(job)
                return None
            step = job.steps.popleft()
            if step == "push_replayed":
                return attrs.evolve(job.sent, step=step, number=0) if job.sent is not None else self.next_request(job)
            if step == "push" and job.sent is not None and not world.policy.callback_fresh_repeats:
                job.number += 1
                job.push.attempts += 1
                return attrs.evolve(job.sent, number=job.number)
            outgoing = self._build(account, job, step)
            if step == "push":
                job.sent = job.sent or outgoing
            return outgoing

    def _plan(self, account: Account, job: Job) -> deque[str]:
        world = self._world
        if not job.twin:
            path = urlsplit(account.callback_url or "").path or "/"
            job.rules |= world.faults.strike_push(FORGED, path, job.appid, job.push, world.now(), world.state.dice)
        steps: deque[str] = deque(effect for effect in FORGED_BEFORE if effect in job.rules)
        if account.callback_mode == "plain" and "push_wrong_appid" in steps:
            # Nothing is enciphered, so nothing can be enciphered wrongly.
            steps.remove("push_wrong_appid")
        steps.append("push")
        if "push_replayed" in job.rules:
            steps.append("push_replayed")
        return steps

    def end(self, job: Job, *, again: bool = False) -> None:
        """End a delivery nobody carries any more: it has failed, or begins again with the next courier."""
        with self._world.lock:
            if job not in self._flying:
                return
            if job.twin or job.push.state != "flying":
                again = False
            elif not again:
                job.push.state = "failed"
            if again:
                job.push.state = "waiting"
                job.steps, job.number, job.sent = None, 0, None
                self._lanes[job.lane].appendleft(job)
                self._waiting += 1
            self._land(job)

    def _land(self, job: Job) -> None:
        """End a delivery and open its lane for the next one."""
        if job not in self._flying:
            return
        self._flying.remove(job)
        lane = self._lanes.get(job.lane)
        if lane:
            self._ready.append(job.lane)
        else:
            self._lanes.pop(job.lane, None)
        self._world.announce()

    # --- building a request ---------------------------------------------------------------------------------------

    def _signed(self, token: str, *, age: float = 0.0) -> dict[str, str]:
        world = self._world
        now = world.now() if world.policy.callback_timestamp == "world" else world.clock.source_now()
        timestamp, nonce = str(int(now - age)), str(int(world.state.dice.hex("push nonce", 8), 16))
        return {
            "signature": envelope.signature(token, timestamp, nonce),
            "timestamp": timestamp,
            "nonce": nonce,
        }

    def _build(self, account: Account, job: Job, step: str) -> Outgoing:
        world, push, mode, form = self._world, job.push, account.callback_mode, account.callback_format
        pair = self._pair(account, job, step)
        token, key = pair
        if step == "push":
            job.number += 1
            push.attempts += 1
        query = self._signed(token, age=job.rules[step].seconds if step == "push_stale" else 0.0)
        query["openid"] = push.openid
        fields: JsonObject = {
            "ToUserName": account.original_id,
            "FromUserName": push.openid,
            "CreateTime": int(push.at),
            **push.fields,
        }
        inner = body = push_body(fields, form)
        if mode != "plain" and key is not None:
            appid = account.appid if step != "push_wrong_appid" else other_appid(account.appid)
            encrypt = envelope.encrypt(key, appid, inner, world.state.dice.digest("push noise")[:16])
            query["encrypt_type"] = "aes"
            query["msg_signature"] = envelope.signature(token, query["timestamp"], query["nonce"], encrypt)
            body = (
                sealed_body(str(fields["ToUserName"]), encrypt, form)
                if mode == "safe"
                else push_body(fields, form, encrypt)
            )
        if step == "push_wrong_signature":
            for name in ("signature", "msg_signature"):
                if name in query:
                    query[name] = envelope.signature("not the token", query[name])
        content_type = "text/xml" if form == "xml" else "application/json"
        return Outgoing(
            method="POST",
            url=with_query(account.callback_url or "", query),
            query=query,
            headers=(
                ("user-agent", "Mozilla/4.0"),
                ("accept", "*/*"),
                ("pragma", "no-cache"),
                ("content-type", content_type),
            ),
            body=body,
            step=step,
            number=job.number if step == "push" else 0,
            mode=mode,
            format=form,
            seconds=world.policy.callback_seconds,
            inner=inner,
            pair=pair,
        )

    def _pair(self, account: Account, job: Job, step: str) -> Pair:
        """Return the token and key to use: the current ones, or the previous ones where a fault says so."""
        current: Pair = (account.callback_token, account.encoding_aes_key)
        if step != "push" or not account.previous_callback_token:
            return current
        if self._strike(account, job, "push_previous_key") is None:
            return current
        previous: Pair = (account.previous_callback_token, account.previous_encoding_aes_key)
        return previous if account.callback_mode == "plain" or previous[1] is not None else current

    def _strike(self, account: Account, job: Job, effect: str) -> Fault | None:
        world = self._world
        path = urlsplit(account.callback_url or "").path or "/"
        dice = world.state.dice
        struck = world.faults.strike_push({effect}, path, account.appid, job.push, world.now(), dice).get(effect)
        if struck is not None:
            job.rules[effect] = struck
        return struck

    # --- judging an answer ----------------------------------------------------------------------------------------

    def answered(self, job: Job, outgoing: Outgoing, answer: Answer) -> Attempt | None:
        """Bring back what was answered; returns the attempt as it is kept, or ``None`` if the world has moved on."""
        world = self._world
        with world.lock:
            account = world.state.accounts.get(job.appid)
            if job not in self._flying or account is None or job.steps is None:
                return None
            fault = job.rules[outgoing.step].label if outgoing.step in job.rules else ""
            if outgoing.step in FORGED:
                judgement: Judgement | None = None
                accepted = answer.status is not None and 200 <= answer.status < 300
                verdict = "accepted" if accepted else "refused"
                why = f"{FORGERY_NAMES[outgoing.step]} was {verdict}"
                if not accepted:
                    why += f": {answer.failure or f'HTTP status {answer.status}'}"
            else:
                judgement, fault = self._judge(account, job, outgoing, answer)
                self._settle(account, job, judgement)
                verdict, why = judgement.verdict, judgement.why
            account.attempt_serial += 1
            attempt = Attempt(
                id=account.attempt_serial,
                push=job.push.id,
                openid=job.push.openid,
                name=job.push.name,
                at=world.now(),
                number=outgoing.number,
                mode=outgoing.mode,
                status=answer.status,
                seconds=round(answer.seconds, 3),
                verdict=verdict,
                why=why,
                reply=judgement.reply if judgement is not None else None,
                fault=fault,
            )
            account.attempts.append(attempt)
            if outgoing.step not in FORGED:
                statistics.count_attempt(account, attempt)
            del account.attempts[: -world.policy.deliveries_kept]
            self._note(account, outgoing, answer, f"{verdict}: {why}", fault, attempt.reply)
            world.lint.see_attempt(account, job.push, outgoing.step, answer, attempt)
            world.announce()
            return attempt

    def _judge(self, account: Account, job: Job, outgoing: Outgoing, answer: Answer) -> tuple[Judgement, str]:
        world, push = self._world, job.push
        lost = self._strike(account, job, "push_lost_answer")
        if lost is not None:
            why = "the answer was lost on its way"
            return Judgement("broken", why, repeat=True), lost.label
        # A generic push may name another sender and receiver than usual: the reply goes back to those.
        bounds = Bounds(
            user=str(push.fields.get("FromUserName", push.openid)),
            account=str(push.fields.get("ToUserName", account.original_id)),
            to_event=push.kind == "event",
            shows=push.kind == "message" or push.name in world.policy.callback_reply_events,
            agents=account.kf_accounts,
            media=(lambda media_id, kinds: self._has_media(account, media_id, kinds))
            if world.policy.callback_checks_media
            else None,
        )
        judgement = review(
            answer,
            world.policy,
            lambda body: self._open(account, outgoing, body),
            lambda reply: check_reply(reply, bounds, world.policy),
        )
        previous = job.rules.get("push_previous_key")
        current = (account.callback_token, account.encoding_aes_key)
        return judgement, previous.label if previous is not None and outgoing.pair != current else ""

    def _has_media(self, account: Account, media_id: str, kinds: Sequence[str]) -> bool:
        """Tell whether a reply can show a file: a temporary one, a material, or a video made ready for mass sends."""
        media = library.find_media(account, media_id, self._world.now())
        if media is None:
            return "video" in kinds and media_id in account.outreach.videos
        return media.kind in kinds or not self._world.policy.media_kind_must_fit

    def _open(self, account: Account, outgoing: Outgoing, body: bytes) -> JsonObject:
        """Read a reply; in the encrypted modes, check and open its envelope first."""
        either, form = self._world.policy.callback_either_format, outgoing.format
        outer = read_reply(body, form, either=either)
        if outgoing.mode == "plain":
            if "Encrypt" in outer:
                raise BrokenReply("an encrypted reply in plain mode")
            return outer
        if "Encrypt" not in outer:
            if outgoing.mode == "safe":
                raise BrokenReply("a plain reply in safe mode")
            return outer
        values = {name: outer.get(name) for name in ("Encrypt", "MsgSignature", "TimeStamp", "Nonce")}
        found = {name: str(value) for name, value in values.items() if isinstance(value, str | int) and value != ""}
        if len(found) != len(values):
            missing = next(name for name in values if name not in found)
            raise BrokenReply(f"the envelope of the reply has no {missing}")
        signed = (found["TimeStamp"], found["Nonce"], found["Encrypt"])
        trouble: BrokenReply | None = None
        for token, key in self._pairs(account, outgoing):
            expected = envelope.signature(token, *signed)
            if key is not None and hmac.compare_digest(expected.encode(), found["MsgSignature"].encode()):
                try:
                    inner = envelope.decrypt(key, account.appid, found["Encrypt"])
                except BrokenReply as broken:
                    # The token alone may be unchanged: the next pair may have another key.
                    trouble = trouble or broken
                    continue
                return read_reply(inner, form, either=either)
        raise trouble or BrokenReply("the MsgSignature of the reply does not match")

    def _pairs(self, account: Account, outgoing: Outgoing) -> list[Pair]:
        """Return the pairs a reply may be made with: the push's own, the current, and for a while the previous."""
        pairs: list[Pair] = [outgoing.pair, (account.callback_token, account.encoding_aes_key)]
        age = self._world.now() - account.callback_changed_at
        if account.previous_callback_token and age <= self._world.policy.callback_key_overlap:
            pairs.append((account.previous_callback_token, account.previous_encoding_aes_key))
        return pairs

    def _settle(self, account: Account, job: Job, judgement: Judgement) -> None:
        """Decide what follows from a judgement: another delivery, a line in the chat, or nothing."""
        world, push = self._world, job.push
        if judgement.verdict == "broken":
            if judgement.repeat and job.number < world.policy.callback_deliveries:
                if job.steps is not None:
                    job.steps.appendleft("push")
                return
            if not job.twin and push.state == "flying":
                push.state = "failed"
                if push.kind == "message" or push.name in world.policy.callback_notice_events:
                    why = judgement.why if job.number == 1 else f"{judgement.why} (delivery {job.number})"
                    self._say(account, push, "notice", {}, "system", why, world.policy.callback_notice)
            return
        push.state = "delivered"
        reply = judgement.reply
        if judgement.verdict == "handed_over" and reply is not None:
            self._say(account, push, str(reply["MsgType"]), reply, "system", judgement.why)
            staff.hand_over(world, account, push.openid, reply, push.fields, world.now())
        elif judgement.verdict == "shown" and reply is not None and not push.shown:
            push.shown = True
            self._say(account, push, str(reply["MsgType"]), reply, "reply", judgement.why)

    def _say(
        self,
        account: Account,
        push: Push,
        kind: str,
        payload: JsonObject,
        source: Literal["reply", "system"],
        note: str,
        content: str | None = None,
    ) -> None:
        user = account.users.get(push.openid)
        if user is None:
            return
        if source == "reply":
            # A message ends the typing hint, and is contact like any other.
            user.typing_until, user.last_contact_at = 0.0, self._world.now()
        text = content if content is not None else str(payload.get("Content", ""))
        entry = ChatEntry("to_user", kind, text, payload, self._world.now(), source, note, push.id)
        people.chat(self._world, user, entry)

    def _note(
        self, account: Account, outgoing: Outgoing, answer: Answer, why: str, fault: str, reply: JsonObject | None
    ) -> None:
        world, limit = self._world, self._world.policy.journal_body
        told, told_cut = keep_body(dump_json(reply) if reply is not None else answer.body, limit)
        asked, asked_cut = keep_body(outgoing.inner, limit)
        world.journal.add(
            Exchange(
                seq=world.journal.next_seq(),
                at=world.now(),
                method=outgoing.method,
                path=urlsplit(outgoing.url).path or "/",
                query=mask_query(outgoing.query),
                client="",
                client_ip="",
                appid=account.appid,
                status=answer.status if answer.status is not None else 0,
                errcode=None,
                why=why,
                rid="",
                fault=fault,
                processed=answer.status is not None,
                request_body=asked,
                response_body=told,
                direction="out",
                attempt=outgoing.number,
                mode=outgoing.mode,
                seconds=round(answer.seconds, 3),
                rule=f"{outgoing.step}:{rule_of_push(outgoing, why)}",
                caller="platform",
                speed=world.clock.speed,
                request_cut=asked_cut,
                response_cut=told_cut,
                request_raw=mask_body(outgoing.body, limit) if outgoing.body != outgoing.inner else "",
                response_raw=mask_body(answer.body, limit) if reply is not None else "",
                content_type=next((value for name, value in outgoing.headers if name == "content-type"), ""),
                response_type=answer.content_type,
                host="{0.scheme}://{0.netloc}".format(urlsplit(outgoing.url)),
            )
        )


def rule_of_push(outgoing: Outgoing, why: str) -> str:
    """Return the short name of what came of a request: its verdict, or how the address check ended."""
    if outgoing.step == "check":
        return "ok" if why.endswith(": ok") else "failed"
    return why.partition(":")[0]


def with_query(url: str, query: dict[str, str]) -> str:
    """Add parameters to an address that may have some of its own."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def other_appid(appid: str) -> str:
    """Return an AppID that looks right and is another account's."""
    return f"{appid[:-1]}{'0' if appid[-1:] != '0' else '1'}"


def find_push(account: Account, push_id: object) -> Push | None:
    """Find a push that is still remembered; the wanted ones are near the end."""
    return next((push for push in reversed(account.pushes) if push.id == push_id), None)
