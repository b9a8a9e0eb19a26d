"""The gateway: what happens to every request on its way to a handler, and to the answer on its way back."""

from __future__ import annotations

import logging
import re
import traceback
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator import tokens
from wxmp.simulator.effects import ERRCODES, SPOILING
from wxmp.simulator.families import DIALECTS, ROUTES
from wxmp.simulator.faults import HEADER_LABEL, HEADER_NAME, Fault, Struck, read_fault_header
from wxmp.simulator.journal import Exchange, keep_body, mask_query, rule_of
from wxmp.simulator.messages import errmsg
from wxmp.simulator.routes import Call, Dialect, Route, RouteTable, Trouble
from wxmp.simulator.wire import (
    Refusal,
    Reply,
    Request,
    WorldError,
    dump_json,
    escaped_text,
    json_reply,
    keep_escapes,
    load_json,
    parse_form,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.state import Account, Channel
    from wxmp.simulator.world import World

__all__ = ["ENDPOINTS", "Gateway"]

logger: logging.Logger = logging.getLogger("wxmp.simulator")

ENDPOINTS: Final = RouteTable(ROUTES)
# The longest prefix counts.
BY_LENGTH: Final[tuple[Dialect, ...]] = tuple(sorted(DIALECTS, key=lambda dialect: -len(dialect.prefix)))
TOKEN_PATHS: Final[Mapping[str, Channel]] = MappingProxyType(
    {"/cgi-bin/token": "plain", "/cgi-bin/stable_token": "stable"}
)
# How the faults that end a token do it.
TOKEN_DEATHS: Final[Mapping[str, tokens.HowKilled]] = MappingProxyType(
    {"token_killed": "forced", "token_expired": "expired", "token_unknown": "unknown"}
)
APPID_IN_BODY: Final = re.compile(rb'"appid"\s*:\s*"([^"\\]{1,64})"')
APPID_WITHIN: Final = 4_096
MOST_PATHS: Final = 2_000
JSON_TYPE: Final = "application/json; charset=UTF-8"
#: What a bug of the simulator answers; never what the platform does by itself.
BROKEN: Final = 500


class Gateway:
    """Takes every request of a world through the same steps: faults, endpoint, checks, handler, journal.

    Args:
        world: The world.
        routes: The endpoints; ``None``: all there are.
    """

    def __init__(self, world: World, routes: RouteTable | None = None) -> None:
        self._world = world
        self.routes: RouteTable = routes if routes is not None else ENDPOINTS

    def handle(self, request: Request) -> Reply:
        """Answer one request. Call it under the world's lock."""
        world = self._world
        world.run_due()
        call = Call(world=world, request=request, now=world.now())
        appid = self._appid_of(request)
        try:
            struck = self._choose_faults(call, appid)
        except WorldError as error:
            reply = Reply(dump_json({"error": str(error)}), status=400, why=str(error))
            self._note(call, reply, appid, HEADER_LABEL, processed=False)
            world.announce()
            return reply
        fault = struck.main
        if fault is None or fault.effect != "refused":
            self._count_arrival(request, appid)
        for rule in struck.preparing:
            self._prepare(rule, call)
        processed = fault is None or fault.acts
        reply = self._process(call) if processed else Reply()
        if fault is not None:
            reply = self._apply(fault, reply, call)
        delivery = reply.delivery
        for rule in struck.slowing:
            delivery = rule.slow(delivery, world.state.dice)
        if delivery is not reply.delivery:
            reply = attrs.evolve(reply, delivery=delivery)
        self._note(call, reply, appid, struck.labels, processed)
        world.announce()
        return reply

    # --- before it is judged ----------------------------------------------------------------------------------

    def _appid_of(self, request: Request) -> str:
        """Find out which account a request is about, without judging it."""
        found = self._world.find_token(request.query.get("access_token", ""))
        if found is not None:
            return found[0].appid
        appid = request.query.get("appid", "")
        if not appid and request.body:
            match = APPID_IN_BODY.search(request.body[:APPID_WITHIN])
            appid = match.group(1).decode("utf-8", errors="replace") if match else ""
        return appid

    def _count_arrival(self, request: Request, appid: str) -> None:
        state = self._world.state
        if request.path in state.calls or len(state.calls) < MOST_PATHS:
            # Anybody may make up paths: those that come first are counted.
            state.calls[request.path] = state.calls.get(request.path, 0) + 1
        channel = TOKEN_PATHS.get(request.path)
        if channel is not None:
            state.token_requests += 1
            account = state.accounts.get(appid)
            if account is not None:
                account.channel(channel).requests += 1

    # --- faults -----------------------------------------------------------------------------------------------

    def _choose_faults(self, call: Call, appid: str) -> Struck:
        """Return the faults of this request: those its own header orders, and the rules that strike it."""
        world, request = self._world, call.request
        header = request.headers.get(HEADER_NAME) if world.policy.fault_header else None
        if header is None and not world.faults.rules:
            return NOTHING
        ordered = read_fault_header(header) if header is not None else []
        host = request.host or self._host_of(request)
        return world.faults.choose(request, appid, call.now, world.state.dice, host=host, ordered=ordered)

    def _host_of(self, request: Request) -> str:
        """Return the host that serves the path of a request to the bare address."""
        found = self.routes.find(request.path)
        if found:
            return found[0][0].host
        dialect = dialect_of(request)
        return dialect.host if dialect is not None else ""

    def _prepare(self, fault: Fault, call: Call) -> None:
        """Let a fault change the world before the request is judged."""
        world = self._world
        how = TOKEN_DEATHS.get(fault.effect)
        if how is None:
            world.clock.jump(fault.seconds)
            world.run_due()
            call.now = world.now()
            return
        found = world.find_token(call.request.query.get("access_token", ""))
        if found is not None:
            account, token = found
            world.state.outsider_fetches += how == "forced"
            tokens.kill(world, account, fault.channel or token.channel, how, call.now, fault.reason)

    def _apply(self, fault: Fault, reply: Reply, call: Call) -> Reply:
        """Return what arrives in the place of the platform's answer."""
        if fault.effect == "errcode" or fault.effect in ERRCODES:
            return self._answer_with(fault, call)
        if fault.effect in SPOILING and fault.acts:
            return fault.spoil(reply)
        if fault.effect in SPOILING - {"reset_after"}:
            # "processed" was switched off: spoil a plain answer instead of the real one.
            return fault.spoil(json_reply({"errcode": 0, "errmsg": "ok"}))
        return fault.replace()

    def _answer_with(self, fault: Fault, call: Call) -> Reply:
        """Write an ordered error in the form of the host that was asked."""
        code = fault.errcode if fault.errcode is not None else ERRCODES.get(fault.effect, -1)
        dialect = dialect_of(call.request)
        if dialect is not None:
            return dialect.trouble(call, Trouble(fault.trouble, fault.reason, code, fault.code))
        address = call.request.client_ip
        detail = f"{address} ipv6 ::ffff:{address}" if fault.effect == "ip_refused" else ""
        return self._refuse(Refusal(code, fault.reason, detail=detail), None, call.now)

    # --- the endpoint and its checks --------------------------------------------------------------------------

    def _process(self, call: Call) -> Reply:
        route: Route | None = None
        try:
            route, reply = self._find(call)
            if route is None:
                return reply
            self._check(route, call)
            answer = route.handler(call)
        except Refusal as refusal:
            return self._refuse(refusal, route, call.now)
        except Exception as error:  # noqa: BLE001  (a bug of the simulator, whatever it is; it is logged)
            return self._own_up(error, route, call)
        if isinstance(answer, Reply):
            return answer
        content_type = self._world.policy.sns_content_type if route.style == "sns" else JSON_TYPE
        return json_reply(answer, why=call.why, content_type=content_type)

    def _find(self, call: Call) -> tuple[Route | None, Reply]:
        """Return the endpoint; where there is none, the answer."""
        request, policy = call.request, self._world.policy
        found = self.routes.find(request.path, request.host)
        for route, parts in found:
            if route.method == request.method:
                call.path = parts
                return route, NO_REPLY
        dialect = dialect_of(request)
        if dialect is not None:
            return None, dialect.nowhere(call, found[0][0].method if found else "")
        if found:
            # The first says which verb is wanted.
            route, call.path = found[0]
            return route, NO_REPLY
        if policy.strict_paths:
            raise Refusal(policy.unknown_path_errcode, "the simulator has no such endpoint")
        return None, json_reply({"errcode": 0, "errmsg": "ok"}, why="unknown path, answered ok by policy")

    def _check(self, route: Route, call: Call) -> None:
        """Do what comes before every handler: verb, token, rights, quota, body."""
        world, request = self._world, call.request
        if request.method != route.method and world.policy.strict_verbs:
            raise Refusal(43001 if route.method == "GET" else 43002, f"{request.method} where {route.method} is wanted")
        if route.auth == "token":
            call.account, token = tokens.judge(world, call.query("access_token"), call.now)
            call.why = f"token #{token.serial} ({token.channel})"
            check_rights(route, call.account)
            world.spend(call.account, route.path, call.now)
        takes = route.body
        if takes in {"json", "form"}:
            self._read_body(route, takes == "json", call)

    def _read_body(self, route: Route, as_json: bool, call: Call) -> None:
        body, policy = call.request.body, self._world.policy
        limit = policy.max_body if as_json else policy.max_upload_body
        if len(body) > limit:
            raise Refusal(45001, f"the body has {len(body)} bytes")
        if not as_json:
            call.form = parse_form(body, call.request.content_type)
            return
        if b"\\u" in body:
            if route.path in policy.escapes_refused and escaped_text(body):
                raise Refusal(policy.escapes_refused_errcode, "non-ASCII text was sent as \\uXXXX escapes")
            if route.path in policy.escapes_literal:
                body = keep_escapes(body)
        call.body = load_json(body)

    # --- saying no --------------------------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal, route: Route | None, now: float, status: int = 200) -> Reply:
        policy, dice = self._world.policy, self._world.state.dice
        rid = f"{int(now):08x}-{dice.hex('rid', 8)}-{dice.hex('rid', 8)}"
        message = f"{errmsg(refusal.errcode, refusal.detail)} rid: {rid}"
        content_type = JSON_TYPE
        if route is not None and route.style == "sns":
            content_type = policy.sns_content_type
        elif route is not None and route.style == "binary":
            content_type = policy.binary_error_content_type
        return Reply(
            dump_json({"errcode": refusal.errcode, "errmsg": message, **refusal.extra}),
            status=status,
            content_type=content_type,
            errcode=refusal.errcode,
            why=f"{refusal.errcode}: {refusal.why}",
            rid=rid,
        )

    def _own_up(self, error: Exception, route: Route | None, call: Call) -> Reply:
        """Answer for a bug of the simulator, so that it is seen as one and not as a lost connection."""
        request, call.bug = call.request, type(error).__name__
        why = f"a bug of the simulator: {call.bug} in {request.method} {request.path}"
        tell_of_bug(why, error)
        dialect = dialect_of(request)
        if dialect is not None:
            return dialect.trouble(call, Trouble("broken", why))
        return self._refuse(Refusal(-1, why), route, call.now, BROKEN)

    # --- the journal ------------------------------------------------------------------------------------------

    def _note(self, call: Call, reply: Reply, appid: str, fault: str, processed: bool) -> None:
        world, request = self._world, call.request
        limit, kind, used = world.policy.journal_body, request.content_type, world.quotas.take_counted()
        errcode = None if reply.delivery.reset or reply.delivery.hang else reply.errcode
        asked, asked_cut = keep_body(request.body, limit, kind)
        told, told_cut = keep_body(reply.body, limit, reply.content_type)
        exchange = Exchange(
            seq=world.journal.next_seq(),
            at=call.now,
            method=request.method,
            path=request.path,
            query=mask_query(request.query),
            client=request.client,
            client_ip=request.client_ip,
            appid=call.account.appid if call.account is not None else appid,
            status=reply.status,
            errcode=errcode,
            why=reply.why,
            rid=reply.rid,
            fault=fault,
            processed=processed,
            request_body=asked,
            response_body=told,
            rule=f"bug:{call.bug}" if call.bug else rule_of(errcode, reply.status, fault),
            caller=request.client or request.client_ip,
            speed=world.clock.speed,
            quota_used=None if used is None else (used[0] - 1, used[0]),
            quota_limit=None if used is None else used[1],
            request_cut=asked_cut,
            response_cut=told_cut,
            host=request.host,
            content_type=kind,
            response_type=reply.content_type,
        )
        world.journal.add(exchange)
        try:
            world.lint.see(call, reply, exchange)
        except Exception as error:  # noqa: BLE001  (advice must not cost the caller an answer)
            tell_of_bug(f"a bug of the simulator's lint: {type(error).__name__} at exchange {exchange.seq}", error)


NO_REPLY: Final = Reply()
NOTHING: Final = Struck()


def dialect_of(request: Request) -> Dialect | None:
    """Return the part of the platform with a form of its own that a request is for, if it is for one."""
    return next((dialect for dialect in BY_LENGTH if dialect.serves(request.host, request.path)), None)


def tell_of_bug(why: str, error: Exception) -> None:
    """Log where a bug is. The error's own text is left out: it may repeat what a caller has sent."""
    logger.error("%s\n%s", why, "".join(traceback.format_tb(error.__traceback__)))


def check_rights(route: Route, account: Account) -> None:
    """Check that an account may use an endpoint.

    Raises:
        Refusal: It is banned (48004) or not granted (48001).
    """
    if route.path in account.banned:
        raise Refusal(48004, "the interface is banned for this account")
    granted = account.test or (
        route.accounts == "all" or (account.verified and (route.accounts == "verified" or account.kind == "service"))
    )
    if not granted or route.path in account.ungranted:
        raise Refusal(48001, f"needs a {route.accounts} account" if not granted else "not granted to this account")
