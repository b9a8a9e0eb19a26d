"""What a step of a scenario can do, and how the world does it when its time has come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

import attrs

from wxmp.simulator import outreach
from wxmp.simulator.faults import read_fault
from wxmp.simulator.pay import ledger
from wxmp.simulator.phone import HERE, SENDABLE, Phone
from wxmp.simulator.state import Account
from wxmp.simulator.story import StepDone
from wxmp.simulator.wire import JsonObject, Refusal, WorldError, as_list, as_object

if TYPE_CHECKING:
    from wxmp.simulator.pay.pad import How
    from wxmp.simulator.state import Channel, Event
    from wxmp.simulator.tokens import HowKilled
    from wxmp.simulator.world import World  # noqa: TC004  (a cycle at run time; nothing resolves the hints of Stage)

__all__ = ["ACTIONS", "EVENTS", "EVENT_KIND", "Action", "Stage", "perform"]

logger: logging.Logger = logging.getLogger("wxmp.simulator")

EVENT_KIND: Final = "scenario_step"
STEPS_KEPT: Final = 10_000

# "back" is a duration that may be negative; "any" is passed on as it is; a tuple holds the possible texts.
PlainKind = Literal["text", "whole", "number", "flag", "seconds", "back", "moment", "texts", "object", "any"]
FieldKind: TypeAlias = "PlainKind | tuple[str, ...]"
Run: TypeAlias = "Callable[[Stage, JsonObject], object]"

CHANNELS: Final = ("stable", "plain")
HOWS: Final = ("plain", "forced", "expired", "unknown")


@attrs.frozen
class Stage:
    """Where a step takes place: the world, the account, and the user who acts, if one does."""

    world: World
    account: Account
    openid: str | None

    @property
    def phone(self) -> Phone:
        """The user's phone."""
        return Phone(self.world, self.openid or "", self.account.appid)


@attrs.frozen
class Action:
    """One thing a step can do.

    Attributes:
        run: Does it.
        who: Whether a step of this kind has a user.
        fields: The further keys of the step and what they hold.
        needed: Those of them that must be there.
    """

    run: Run
    who: Literal["user", "world", "either"]
    fields: Mapping[str, FieldKind] = attrs.field(factory=dict[str, "FieldKind"])
    needed: tuple[str, ...] = ()


# --- what users do ------------------------------------------------------------------------------------------------


def say(stage: Stage, args: JsonObject) -> None:
    """Write a text."""
    line = args.get("menu_line")
    stage.phone.say(str(args["text"]), menu_line=None if line is None else str(line))


def tap(stage: Stage, args: JsonObject) -> None:
    """Tap a menu button."""
    stage.phone.tap(
        str(args["key"]),
        scan_result=str(args.get("scan_result", "https://example.com/")),
        scan_type=str(args.get("scan_type", "qrcode")),
        pictures=cast("int", args.get("pictures", 1)),
    )


def report_location(stage: Stage, args: JsonObject) -> None:
    """Report where the phone is."""
    latitude, longitude, _label = HERE
    stage.phone.report_location(
        cast("float", args.get("latitude", latitude)),
        cast("float", args.get("longitude", longitude)),
        precision=cast("float", args.get("precision", 65.0)),
    )


def sender(kind: str) -> Run:
    """Return the act that sends one kind of message with the platform's own fields."""
    return lambda stage, args: stage.phone.send(kind, **args)


def pay(stage: Stage, args: JsonObject) -> None:
    """Pay the user's newest open order, or the one with this number."""
    orders = as_list(ledger.describe_orders(stage.world, stage.openid)["orders"]) or []
    for order in map(as_object, orders):
        if order is None or not order["payable"] or args.get("order", order["out_trade_no"]) != order["out_trade_no"]:
            continue
        key = order["prepay_id"] or order["code_url"] or order["h5_url"]
        stage.phone.pay(str(key), how=cast("How", args.get("how", "confirm")))
        return
    raise WorldError(f"there is no order {args['order']!r} to pay" if "order" in args else "there is no order to pay")


def newest_article(stage: Stage, args: JsonObject) -> str:
    """Return the article a step names, or the newest one of the account."""
    named = args.get("article")
    if named is not None:
        return str(named)
    keys = [key for key, item in stage.account.library.published.items() if not (item.deleted or item.banned)]
    if not keys:
        raise WorldError("the account has published no article")
    return keys[-1]


# --- what the platform, the account's owner and other systems do --------------------------------------------------


def push(stage: Stage, args: JsonObject) -> None:
    """Push any fields, about a user or about nobody."""
    stage.world.push(as_object(args["fields"]) or {}, stage.openid, appid=stage.account.appid)


def add_fault(stage: Stage, args: JsonObject) -> None:
    """Add a fault rule."""
    stage.world.faults.add(read_fault(args))


def clear_faults(stage: Stage, _args: JsonObject) -> None:
    """Remove all fault rules."""
    stage.world.faults.clear()


def clock(stage: Stage, args: JsonObject) -> None:
    """Move the clock, or change its speed."""
    moved = stage.world.clock
    if "jump" in args:
        moved.jump(cast("float", args["jump"]))
    if "set" in args:
        moved.jump(cast("float", args["set"]) - moved.now())
    if "speed" in args:
        moved.set_speed(cast("float", args["speed"]))
    if args.get("freeze") is True:
        moved.freeze()


def kill_token(stage: Stage, args: JsonObject) -> None:
    """End the current token as another system would."""
    channel, how = cast("Channel", args.get("channel", "stable")), cast("HowKilled", args.get("how", "forced"))
    stage.world.kill_token(channel, how, appid=stage.account.appid)


def kill_new_tokens(stage: Stage, args: JsonObject) -> None:
    """Let the next tokens be dead on arrival."""
    channel, count = cast("Channel", args.get("channel", "stable")), cast("int", args.get("count", -1))
    stage.world.kill_new_tokens(channel, count, appid=stage.account.appid)


def outsider(stage: Stage, args: JsonObject) -> None:
    """Let another system fetch tokens again and again, or no more."""
    every = cast("float | None", args.get("every"))
    channel, how = cast("Channel", args.get("channel", "plain")), cast("HowKilled", args.get("how", "plain"))
    stage.world.outsider(every, channel=channel, how=how, appid=stage.account.appid)


def risk(stage: Stage, args: JsonObject) -> None:
    """Play the administrator of the risk control."""
    decision: Literal["allow", "refuse"] = "allow" if args["decision"] == "allow" else "refuse"
    stage.world.decide_risk(str(args["address"]), decision, appid=stage.account.appid)


def decide(stage: Stage, args: JsonObject) -> None:
    """Play the administrator of mass sends: all that wait are sent, or none."""
    waiting = [found for found in stage.account.outreach.broadcasts.values() if found.state == "approval"]
    if not waiting:
        raise WorldError("no mass send waits for the administrator")
    for found in waiting:
        outreach.decide(stage.world, stage.account, found.msg_id, args["approve"] is True)


def change_account(stage: Stage, args: JsonObject) -> None:
    """Change settings of the account, as its owner or the platform would."""
    for name, value in args.items():
        setattr(stage.account, name, None if name == "ip_list" and value == ["*"] else value)


ACCOUNT_FIELDS: Final[dict[str, FieldKind]] = {
    "secret_frozen": "flag",
    "frozen": "flag",
    "token_forbidden": "flag",
    "risk_control": "flag",
    "reports_location": "flag",
    "verified": "flag",
    "ip_list": "texts",
    "ungranted": "texts",
    "banned": "texts",
    "oauth_domains": "texts",
    "linked_miniprograms": "texts",
}
USER_ACTIONS: Final[dict[str, Action]] = {
    "follow": Action(
        lambda stage, args: stage.phone.follow(scene=str(args.get("scene", "ADD_SCENE_SEARCH"))),
        "user",
        {"scene": "text"},
    ),
    "unfollow": Action(lambda stage, _args: stage.phone.unfollow(), "user"),
    "open": Action(lambda stage, _args: stage.phone.open(), "user"),
    "refresh_menu": Action(lambda stage, _args: stage.phone.refresh_menu(), "user"),
    "say": Action(say, "user", {"text": "text", "menu_line": "text"}, ("text",)),
    **{
        kind: Action(sender(kind), "user", dict.fromkeys((*fields, "Recognition"), "any"))
        for kind, fields in SENDABLE.items()
        if kind != "text"
    },
    "tap": Action(
        tap, "user", {"key": "text", "scan_result": "text", "scan_type": "text", "pictures": "whole"}, ("key",)
    ),
    # The name of a code becomes its ticket when the scenario is applied.
    "scan": Action(
        lambda stage, args: stage.phone.scan(str(args["ticket"])), "user", {"code": "text", "ticket": "text"}
    ),
    "report_location": Action(
        report_location, "user", {"latitude": "number", "longitude": "number", "precision": "number"}
    ),
    "pay": Action(pay, "user", {"order": "text", "how": ("confirm", "cancel", "fail", "slow")}),
    "read": Action(lambda stage, args: stage.phone.read(newest_article(stage, args)), "user", {"article": "text"}),
    "comment": Action(
        lambda stage, args: stage.phone.comment(newest_article(stage, args), str(args["text"])),
        "user",
        {"article": "text", "text": "text"},
        ("text",),
    ),
    "answer_popup": Action(
        lambda stage, args: stage.phone.answer_popup(cast("dict[str, str]", args["choices"])),
        "user",
        {"choices": "object"},
        ("choices",),
    ),
}
WORLD_ACTIONS: Final[dict[str, Action]] = {
    # The fields of a fault are read by the rules of faults.
    "fault": Action(add_fault, "world"),
    "clear_faults": Action(clear_faults, "world"),
    "clock": Action(clock, "world", {"jump": "back", "set": "moment", "speed": "number", "freeze": "flag"}),
    "kill_token": Action(kill_token, "world", {"channel": CHANNELS, "how": HOWS}),
    "kill_new_tokens": Action(kill_new_tokens, "world", {"channel": CHANNELS, "count": "whole"}),
    "outsider": Action(outsider, "world", {"every": "seconds", "channel": CHANNELS, "how": HOWS}),
    "risk": Action(risk, "world", {"address": "text", "decision": ("allow", "refuse")}, ("address", "decision")),
    "decide": Action(decide, "world", {"approve": "flag"}, ("approve",)),
    "account": Action(change_account, "world", ACCOUNT_FIELDS),
}
ACTIONS: Final[dict[str, Action]] = {
    **USER_ACTIONS,
    "push": Action(push, "either", {"fields": "object"}, ("fields",)),
    **WORLD_ACTIONS,
}


def perform(world: World, account: Account, event: Event) -> None:
    """Do one step. A step that fails is noted and told; the ones after it take place all the same."""
    openid, error = event.fields.get("openid"), ""
    args = dict(as_object(event.fields["args"]) or {})
    where, text = str(event.fields["where"]), str(event.fields["text"])
    stage = Stage(world, account, None if openid is None else str(openid))
    try:
        ACTIONS[str(event.fields["do"])].run(stage, args)
    except Refusal as refusal:
        error = f"{refusal.errcode}: {refusal.why}"
    except (ValueError, TypeError) as problem:
        error = str(problem)
    if error:
        logger.warning("a step of the scenario failed: %s: %s: %s", where, text, error)
    story = world.state.story
    story.done.append(StepDone(event.due, text, where, error))
    del story.done[:-STEPS_KEPT]


EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {EVENT_KIND: perform}
