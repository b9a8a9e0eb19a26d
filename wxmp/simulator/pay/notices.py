"""Telling the merchant's server, as decisions only: what to send, when again, and what an answer means.

Nothing here does I/O: :mod:`wxmp.simulator.deliver` carries the requests. All that must survive a snapshot is in the
state; what is on its way at this moment is not, so a delivery that was cut off begins again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

import attrs

from wxmp.simulator.answers import BrokenReply, read_xml
from wxmp.simulator.callbacks import CallbackError, check_url
from wxmp.simulator.faults import Fault, PayNotice
from wxmp.simulator.journal import Exchange, keep_body, mask_body, mask_query
from wxmp.simulator.pay import shapes, signing
from wxmp.simulator.pay.records import Notice, NoticeAttempt
from wxmp.simulator.pay.xml import write_xml
from wxmp.simulator.wire import JsonObject, dump_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.answers import Answer
    from wxmp.simulator.pay.records import Merchant, NoticeState, Order, Refund, SignType, Transfer
    from wxmp.simulator.state import Account, Event
    from wxmp.simulator.world import World

__all__ = [
    "EVENTS",
    "Notices",
    "PayJob",
    "PayOutgoing",
    "idle",
    "paid",
    "refunded",
    "strike",
    "strike_order",
    "transferred",
    "warning",
]

EFFECTS: Final = frozenset({"pay_forged", "pay_twice", "pay_never", "pay_rotated_key"})
FORGERIES: Final = {
    "pay_forged": "a forged notice with the signature of a probe",
    "pay_doctype": "a notice with a DOCTYPE and an entity",
}
# Harmless here, but a reader that expands it would expand a file's name too.
ENTITY: Final = "expanded"
DOCTYPE: Final = f'<!DOCTYPE xml [<!ENTITY sim "{ENTITY}">]>'.encode()
SUMMARIES: Final = {
    "TRANSACTION.SUCCESS": "支付成功",
    "REFUND.SUCCESS": "退款成功",
    "REFUND.ABNORMAL": "退款异常",
    "REFUND.CLOSED": "退款关闭",
    "MCHTRANSFER.BILL.FINISHED": "商家转账单据终态通知",
}


@attrs.define(eq=False)
class PayJob:
    """One delivery of one notice, on its way."""

    notice: Notice
    steps: deque[str] | None = None
    rules: dict[str, Fault] = attrs.field(factory=dict[str, Fault])


@attrs.frozen
class PayOutgoing:
    """One request to the merchant's server.

    Attributes:
        step: ``"notice"``, or the effect that makes it a copy of another kind.
        number: 1 for the first delivery; 0 for a copy.
        inner: The deciphered body, for the journal.
    """

    method: Literal["POST"]
    url: str = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    step: str
    number: int
    seconds: float
    inner: bytes = attrs.field(default=b"", repr=False)


# --- what happens -----------------------------------------------------------------------------------------------------


def paid(world: World, merchant: Merchant, order: Order, *, subscribed: bool) -> None:
    """Tell of a payment."""
    plain: JsonObject = shapes.transaction(order)
    if order.api == "v2":
        plain = {**shapes.v2_transaction(order, subscribed=subscribed)}
        # The state is a matter of queries: a notice has none, because it is success.
        for name in ("trade_state", "trade_state_desc"):
            plain.pop(name)
    submit(world, merchant, order, "TRANSACTION.SUCCESS", "transaction", plain, order.notify_url)


def refunded(world: World, merchant: Merchant, order: Order, item: Refund) -> None:
    """Tell of the end of a refund, if there is an address for that."""
    url = item.notify_url or merchant.refund_notify_url
    if not url:
        return
    plain: JsonObject = (
        shapes.refund_notice(merchant, item) if item.api == "v3" else dict(shapes.v2_refund_notice(item).items())
    )
    submit(world, merchant, order, f"REFUND.{item.status}", "refund", plain, url, api=item.api)


def transferred(world: World, merchant: Merchant, item: Transfer) -> None:
    """Tell of the end of a transfer, if there is an address for that."""
    if item.notify_url:
        plain = shapes.transfer_bill(merchant, item)
        kind = "MCHTRANSFER.BILL.FINISHED"
        queue(world, merchant, kind, "mch_payment", plain, item.notify_url, item.appid, item.openid, "v3")


def submit(
    world: World,
    merchant: Merchant,
    order: Order,
    kind: str,
    original: str,
    plain: JsonObject,
    url: str,
    *,
    api: Literal["v3", "v2"] | None = None,
) -> None:
    """Queue a notice about an order."""
    form = api or order.api
    queue(world, merchant, kind, original, plain, url, order.appid, order.payer, form, sign_type=order.sign_type)


def queue(
    world: World,
    merchant: Merchant,
    kind: str,
    original: str,
    plain: JsonObject,
    url: str,
    appid: str,
    openid: str,
    api: Literal["v3", "v2"],
    *,
    sign_type: SignType = "MD5",
) -> Notice:
    """Put a notice into the queue, unless its address is out of bounds."""
    state, policy = world.state.pay, world.policy
    raw = world.state.dice.hex("pay notice", 32)
    notice = Notice(
        id=f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}",
        mchid=merchant.mchid,
        appid=appid,
        api=api,
        event_type=kind,
        original_type=original,
        summary=SUMMARIES[kind],
        url=url,
        openid=openid,
        created_at=world.now(),
        plain=plain,
        sign_type=sign_type,
    )
    state.notices.append(notice)
    state.queue.append(notice.id)
    while len(state.notices) > policy.pay_kept and not state.notices[0].flying:
        drop(world, state.notices.pop(0))
    try:
        check_url(url, policy.callback_hosts)
    except CallbackError as error:
        turn(world, notice, "blocked")
        write_down(world, notice, None, None, f"warning: {kind}: the notice is not sent: {error}", "")
        return notice
    if policy.pay_notice_delay > 0:
        sleep(world, notice, policy.pay_notice_delay)
    world.announce()
    return notice


def turn(world: World, notice: Notice, state: NoticeState) -> None:
    """Let a notice be in another state; only one that waits is in the queue."""
    notice.state = state
    drop(world, notice)
    if state == "waiting":
        world.state.pay.queue.append(notice.id)


def drop(world: World, notice: Notice) -> None:
    """Take a notice out of the queue."""
    if notice.id in world.state.pay.queue:
        world.state.pay.queue.remove(notice.id)


def resend(world: World, notice: Notice) -> None:
    """Send a notice once more, from its first delivery on, as the merchant's console can."""
    if notice.state != "blocked" and not notice.flying:
        notice.attempts = 0
        turn(world, notice, "waiting")
        world.announce()


def parts_of(url: str) -> SplitResult:
    """Take an address apart; one that cannot be read has no parts."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def warning(url: str) -> str:
    """Return what the real platform would dislike about an address, for the journal; an empty text when nothing."""
    parts = parts_of(url)
    trouble = [
        text
        for text, found in (
            ("is not https", parts.scheme != "https"),
            ("has a query", bool(parts.query)),
        )
        if found
    ]
    return f"; warning: notify_url {' and '.join(trouble)}, which the real platform does not accept" if trouble else ""


def sleep(world: World, notice: Notice, seconds: float) -> None:
    """Let a notice wait for its next delivery, in simulated time."""
    turn(world, notice, "sleeping")
    account = world.state.accounts.get(notice.appid) or world.account
    world.schedule(seconds, "pay_notice_due", account, {"notice": notice.id})


def wake(world: World, account: Account, event: Event) -> None:
    """Let a notice go: its time has come."""
    del account
    notice = world.state.pay.notice(event.fields["notice"])
    if notice is not None and notice.state == "sleeping":
        turn(world, notice, "waiting")


EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {"pay_notice_due": wake}


def idle(world: World) -> bool:
    """Tell whether no notice is to be sent now and none is on its way."""
    return not world.state.pay.queue and not world.state.pay.flying


def strike(world: World, notice: Notice, effects: frozenset[str]) -> dict[str, Fault]:
    """Return the fault rules that strike a notice; every call counts as a match."""
    about = PayNotice(
        path=parts_of(notice.url).path or "/",
        mchid=notice.mchid,
        appid=notice.appid,
        openid=notice.openid,
        event=notice.event_type,
        body=dump_json(notice.plain).decode("utf-8", errors="replace"),
    )
    return world.faults.strike_pay(effects, about, world.now(), world.state.dice)


def strike_order(world: World, merchant: Merchant, order: Order) -> Fault | None:
    """Return the rule ``pay_early`` that strikes an order before anybody could have paid it."""
    about = PayNotice(
        path=parts_of(order.notify_url).path or "/",
        mchid=merchant.mchid,
        appid=order.appid,
        openid=order.openid,
        event="TRANSACTION.SUCCESS",
        body=dump_json(shapes.transaction(order)).decode("utf-8", errors="replace"),
    )
    return world.faults.strike_pay({"pay_early"}, about, world.now(), world.state.dice).get("pay_early")


# --- what flies -------------------------------------------------------------------------------------------------------


class Notices:
    """The notices of a world, for somebody who carries them: the same verbs as for pushes.

    Args:
        world: Whose notices.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def take(self) -> list[PayJob]:
        """Return the deliveries to start now, in order, as many as may be on their way at once."""
        with self._world.lock:
            state = self._world.state.pay
            room = self._world.policy.pay_notice_concurrency - state.flying
            waiting = [state.notice(key) for key in state.queue] if room > 0 else []
            started = [PayJob(notice) for notice in waiting if notice is not None and not notice.flying][: max(room, 0)]
            for job in started:
                job.notice.flying = True
            state.flying += len(started)
            return started

    def next_request(self, job: PayJob) -> PayOutgoing | None:
        """Return the next request of a delivery; ``None`` when it is over."""
        world, notice = self._world, job.notice
        with world.lock:
            merchant = world.state.pay.merchants.get(notice.mchid)
            if not self._current(notice) or merchant is None:
                return None
            if job.steps is None:
                job.steps = self._plan(merchant, job)
            if not job.steps:
                self.end(job)
                return None
            step = job.steps.popleft()
            if step == "notice":
                notice.attempts += 1
            number = notice.attempts if step == "notice" else 0
            return (
                self._build_v3(merchant, job, step, number)
                if notice.api == "v3"
                else self._build_v2(merchant, job, step, number)
            )

    def _current(self, notice: Notice) -> bool:
        """Tell whether the notice belongs to the world as it is now: a reset or a snapshot may have taken its place."""
        return notice.flying and self._world.state.pay.notice(notice.id) is notice

    def _plan(self, merchant: Merchant, job: PayJob) -> deque[str]:
        world, notice = self._world, job.notice
        if notice.attempts == 0:
            job.rules = strike(world, notice, EFFECTS)
        if "pay_never" in job.rules:
            turn(world, notice, "lost")
            label = job.rules["pay_never"].label
            write_down(
                world, notice, None, None, f"lost: {notice.event_type}: the notice is never sent (fault {label})", label
            )
            return deque()
        if "pay_rotated_key" in job.rules and merchant.certificates:
            # Imported here: the ledger sends notices, so it stands above this module.
            from wxmp.simulator.pay import ledger

            ledger.rotate_certificate(world, merchant)
        steps = deque(["notice"])
        if "pay_forged" in job.rules:
            if notice.api == "v2" and notice.original_type == "transaction":
                steps.appendleft("pay_doctype")
            steps.appendleft("pay_forged")
        if "pay_twice" in job.rules:
            steps.append("pay_twice")
        return steps

    def end(self, job: PayJob, *, again: bool = False) -> None:
        """End a delivery. One that was cut off leaves its notice waiting: it begins again with the next courier."""
        with self._world.lock:
            if not self._current(job.notice):
                return
            job.notice.flying = False
            self._world.state.pay.flying -= 1
            if not again and job.notice.state == "waiting":
                # Nobody carries it any more and nothing was answered: the next try is a repeat.
                self._repeat(job.notice)
            self._world.announce()

    # --- building a request ---------------------------------------------------------------------------------------

    def _build_v3(self, merchant: Merchant, job: PayJob, step: str, number: int) -> PayOutgoing:
        world, notice = self._world, job.notice
        inner = dump_json(notice.plain)
        resource = signing.seal_resource(world, merchant.api_v3_key, inner, notice.original_type)
        body = dump_json(
            {
                "id": notice.id,
                "create_time": shapes.rfc3339(notice.created_at),
                "resource_type": "encrypt-resource",
                "event_type": notice.event_type,
                "summary": notice.summary,
                "resource": {"original_type": notice.original_type, **resource},
            }
        )
        serial, label = self._key(merchant)
        headers = dict(signing.platform_headers(world, serial, label, body))
        if step == "pay_forged":
            headers["Wechatpay-Signature"] = signing.probe_signature(world)
        return self._outgoing(notice, step, number, "application/json", headers, body, inner)

    def _key(self, merchant: Merchant) -> tuple[str, str]:
        """Return the serial and the label of the key that signs notices."""
        world = self._world
        valid = signing.valid_certificates(world, merchant)
        if merchant.notices_signed_by not in {merchant.public_key_id, *(item.serial for item in valid)}:
            # The certificate that was to sign has run out.
            merchant.notices_signed_by = ""
        wanted = merchant.notices_signed_by
        if not wanted:
            by_certificate = world.policy.pay_notices_signed_by == "certificate" or not merchant.public_key_id
            wanted = valid[-1].serial if by_certificate and valid else merchant.public_key_id
        return signing.signing_key(world, merchant, wanted)

    def _build_v2(self, merchant: Merchant, job: PayJob, step: str, number: int) -> PayOutgoing:
        world, notice = self._world, job.notice
        fields = {
            "return_code": "SUCCESS",
            "appid": notice.appid,
            "mch_id": merchant.mchid,
            "nonce_str": world.state.dice.hex("pay nonce", 32),
        }
        plain = {name: str(value) for name, value in notice.plain.items()}
        if notice.original_type == "refund":
            inner = write_xml(plain, root="root")
            fields["req_info"] = signing.v2_req_info(merchant.api_v2_key, inner)
            if step == "pay_forged":
                fields["req_info"] = signing.v2_req_info("not the merchant's key", inner)
            body = write_xml(fields)
        else:
            fields |= {"result_code": "SUCCESS", "sign_type": notice.sign_type, **plain}
            key = merchant.api_v2_key if step != "pay_forged" else "not the merchant's key"
            if step == "pay_doctype":
                fields["attach"] = ENTITY
            fields["sign"] = signing.sign_v2(fields, key, notice.sign_type)
            inner = body = write_xml(fields)
            if step == "pay_doctype":
                # Signed rightly: only a reader that refuses every DOCTYPE is not taken in.
                inner = body = DOCTYPE + body.replace(f"<![CDATA[{ENTITY}]]>".encode(), b"&sim;")
        return self._outgoing(notice, step, number, "text/xml; charset=utf-8", {}, body, inner)

    def _outgoing(
        self, notice: Notice, step: str, number: int, kind: str, headers: dict[str, str], body: bytes, inner: bytes
    ) -> PayOutgoing:
        request_id = f"{self._world.state.dice.hex('pay request', 40).upper()}-0"
        return PayOutgoing(
            method="POST",
            url=notice.url,
            headers=(
                ("user-agent", "Mozilla/4.0"),
                ("accept", "*/*"),
                ("pragma", "no-cache"),
                ("content-type", kind),
                ("Request-ID", request_id),
                *headers.items(),
            ),
            body=body,
            step=step,
            number=number,
            seconds=self._world.policy.pay_notice_seconds,
            inner=inner,
        )

    # --- judging an answer ----------------------------------------------------------------------------------------

    def answered(self, job: PayJob, outgoing: PayOutgoing, answer: Answer) -> NoticeAttempt | None:
        """Bring back what was answered; returns the attempt as it is kept, or ``None`` if the world has moved on."""
        world, notice = self._world, job.notice
        with world.lock:
            if not self._current(notice) or job.steps is None:
                return None
            good, why = judge(notice, answer)
            if outgoing.step in FORGERIES:
                verdict = "accepted" if good else "refused"
                why = f"{FORGERIES[outgoing.step]} was {verdict} ({why})"
            else:
                verdict = "delivered" if good else ("broken" if answer.status is None else "refused")
            if outgoing.step == "notice":
                if good:
                    turn(world, notice, "delivered")
                else:
                    job.steps.clear()
                    self._repeat(notice)
            effect = {"pay_doctype": "pay_forged", "notice": "pay_rotated_key"}.get(outgoing.step, outgoing.step)
            rule = job.rules.get(effect)
            state = world.state.pay
            state.attempt_serial += 1
            attempt = NoticeAttempt(
                id=state.attempt_serial,
                notice=notice.id,
                mchid=notice.mchid,
                event_type=notice.event_type,
                at=world.now(),
                number=outgoing.number,
                status=answer.status,
                seconds=round(answer.seconds, 3),
                verdict=verdict,
                why=why,
                fault=rule.label if rule is not None else "",
            )
            state.attempts.append(attempt)
            del state.attempts[: -world.policy.pay_kept]
            write_down(world, notice, outgoing, answer, f"{verdict}: {notice.event_type}: {why}", attempt.fault)
            world.announce()
            return attempt

    def _repeat(self, notice: Notice) -> None:
        """Let the notice come again after its wait, or give it up."""
        repeats = self._world.policy.pay_notice_repeats
        done = max(notice.attempts, 1)
        if done > len(repeats):
            turn(self._world, notice, "failed")
        else:
            sleep(self._world, notice, repeats[done - 1])


def judge(notice: Notice, answer: Answer) -> tuple[bool, str]:
    """Tell whether an answer counts as success, and why."""
    if answer.status is None:
        return False, answer.failure or "no answer"
    if notice.api == "v3":
        if answer.status in {200, 204}:
            odd = answer.status == 200 and b'"FAIL"' in answer.body
            return True, f"HTTP status {answer.status}" + (
                ", and the code FAIL in the body counts for nothing" if odd else ""
            )
        return False, f"HTTP status {answer.status}, not 200 or 204"
    if answer.status != 200:
        return False, f"HTTP status {answer.status}, not 200"
    try:
        code = read_xml(answer.body).get("return_code")
    except BrokenReply as broken:
        return False, f"the body cannot be read: {broken}"
    return code == "SUCCESS", f"return_code is {str(code)[:32]!r}"


def write_down(
    world: World, notice: Notice, outgoing: PayOutgoing | None, answer: Answer | None, why: str, fault: str
) -> None:
    """Put a request, or one that was not made, into the journal."""
    limit = world.policy.journal_body
    parts = parts_of(notice.url)
    inner = outgoing.inner if outgoing is not None else dump_json(notice.plain)
    asked, asked_cut = keep_body(inner, limit)
    told, told_cut = keep_body(answer.body if answer is not None else b"", limit)
    sealed = outgoing is not None and outgoing.body != outgoing.inner
    world.journal.add(
        Exchange(
            seq=world.journal.next_seq(),
            at=world.now(),
            method="POST",
            path=parts.path or "/",
            query=mask_query(dict(parse_qsl(parts.query, keep_blank_values=True))),
            client="",
            client_ip="",
            appid=notice.appid,
            status=answer.status if answer is not None and answer.status is not None else 0,
            errcode=None,
            why=why,
            rid="",
            fault=fault,
            processed=answer is not None and answer.status is not None,
            request_body=asked,
            response_body=told,
            direction="out",
            attempt=outgoing.number if outgoing is not None else 0,
            mode=notice.api,
            seconds=round(answer.seconds, 3) if answer is not None else 0.0,
            rule=f"{outgoing.step if outgoing is not None else 'notice'}:{why.partition(':')[0]}",
            caller="platform",
            speed=world.clock.speed,
            request_cut=asked_cut,
            response_cut=told_cut,
            request_raw=mask_body(outgoing.body, limit) if outgoing is not None and sealed else "",
            content_type="application/json" if notice.api == "v3" else "text/xml",
            response_type=answer.content_type if answer is not None else "",
            host="mch",
        )
    )
