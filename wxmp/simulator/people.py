"""People and what they do: follow, write, tap, scan, pay - and what that opens for the account."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from wxmp.simulator import staff, statistics
from wxmp.simulator.state import Account, ChatEntry, Person, Push, User, Window
from wxmp.simulator.wire import WorldError

if TYPE_CHECKING:
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["act", "add_person", "avatar", "chat", "openid_for", "push", "push_fields", "tell"]

NICKNAMES = ("小明", "晓红", "阿强", "Ann", "李雷", "韩梅梅", "王大锤🔨", "José", "思思", "Ben")
SCAN_SCENE = "ADD_SCENE_QR_CODE"
# The platform's own notices come from an openid that belongs to nobody.
PLATFORM = 0


def openid_for(world: World, appid: str, person: int) -> str:
    """Return the openid of a person with an account: 28 characters, starts with ``o``, stable."""
    seed = world.state.dice.seed
    account = hashlib.sha256(f"{seed}|{appid}".encode()).digest()
    own = hashlib.sha256(f"{seed}|{appid}|{person}".encode()).digest()
    # Real openids of one account share their first characters.
    return "o" + base64.urlsafe_b64encode(account)[:5].decode() + base64.urlsafe_b64encode(own)[:22].decode()


def add_person(world: World, *, nickname: str | None = None) -> Person:
    """Bring one more WeChat user into the world; without a nickname they get one of a few."""
    number = len(world.state.people) + 1
    union = base64.urlsafe_b64encode(hashlib.sha256(f"{world.state.dice.seed}|union|{number}".encode()).digest())
    person = Person(
        number=number,
        nickname=nickname if nickname is not None else NICKNAMES[number % len(NICKNAMES)],
        wechat_id=f"wxid_{number:06d}",
        unionid="o" + union[:27].decode(),
        platform="1" if number % 2 else "2",
    )
    world.state.people.append(person)
    return person


def avatar(person: Person) -> str:
    """Return the link of a person's picture, where the platform tells it."""
    return f"https://thirdwx.qlogo.cn/mmopen/vi_32/simulated{person.number}/132"


def acquaint(world: World, account: Account, person: Person) -> User:
    """Return the person's user record with an account, made if needed (a stranger until they follow)."""
    openid = openid_for(world, account.appid, person.number)
    user = account.users.get(openid)
    if user is None:
        user = account.users[openid] = User(openid=openid, person=person.number)
    return user


def push(world: World, account: Account, user: User, kind: str, fields: JsonObject, now: float) -> Push | None:
    """Put something to tell the developer's server into the account's list; nobody hears of a blacklisted user."""
    if user.blacklisted and kind == "message":
        return None
    if kind == "message" and staff.hears(world, account, user.openid, fields, now):
        return None
    return tell(world, account, user.openid, kind, fields, now)


def tell(world: World, account: Account, sender: str, kind: str, fields: JsonObject, now: float) -> Push:
    """Put something to tell the developer's server into the account's list, whoever it is about."""
    account.push_serial += 1
    record = Push(
        at=now,
        kind="message" if kind == "message" else "event",
        openid=sender,
        fields=fields,
        id=account.push_serial,
    )
    account.pushes.append(record)
    del account.pushes[: -world.policy.sent_kept]
    world.callbacks.submit(account, record)
    return record


def act(world: World, account: Account, user: User, fields: JsonObject, now: float) -> Push | None:
    """Let something the user did appear in their chat, and push it: a message, or an event when there is one."""
    kind = "event" if fields["MsgType"] == "event" else "message"
    name = str(fields["Event"] if kind == "event" else fields["MsgType"])
    entry = ChatEntry("from_user", name, str(fields.get("Content", "")), dict(fields), now, "user")
    # The line comes first: an answer may be there before this function returns.
    chat(world, user, entry)
    if kind == "message" and not user.blacklisted:
        statistics.count_message(account, user.openid, fields, now)
    record = push(world, account, user, kind, fields, now)
    if record is not None:
        entry.push = record.id
    return record


def push_fields(world: World, account: Account, fields: JsonObject, openid: str | None) -> Push | None:
    """Push any fields as given; see :meth:`World.push <wxmp.simulator.World.push>`.

    Raises:
        WorldError: They are neither an event nor a message, or nobody is named.
    """
    whole: JsonObject = {"MsgType": "event", **fields} if "Event" in fields else dict(fields)
    sender, now = openid if openid is not None else whole.get("FromUserName"), world.now()
    if not isinstance(whole.get("MsgType"), str) or not isinstance(sender, str):
        raise WorldError("a push needs an Event or a MsgType, and an openid or a FromUserName")
    kind = "event" if whole["MsgType"] == "event" else "message"
    user = account.users.get(sender)
    if user is not None and kind == "event":
        return push(world, account, user, kind, whole, now)
    if user is not None:
        return act(world, account, user, whole, now)
    if openid is not None:
        raise WorldError("no such user of this account")
    return tell(world, account, sender, kind, whole, now)


def chat(world: World, user: User, entry: ChatEntry) -> None:
    """Add a line to the user's chat with the account."""
    user.chat.append(entry)
    del user.chat[: -world.policy.chat_kept]


def open_window(world: World, user: User, trigger: str, now: float) -> None:
    """Open or renew the customer-service window of a trigger."""
    policy = world.policy
    allowance = policy.custom_allowances.get(trigger)
    if trigger in policy.typing_contact_acts:
        user.last_contact_at = now
    if allowance is None or (trigger == "pay" and account_of(world, user).kind not in policy.custom_pay_window_kinds):
        return
    user.windows = [window for window in user.windows if window.until > now and window.trigger != trigger]
    user.windows.append(Window(trigger=trigger, until=now + allowance.seconds, left=allowance.messages))


def account_of(world: World, user: User) -> Account:
    """Return the account a user record belongs to."""
    return next(account for account in world.state.accounts.values() if account.users.get(user.openid) is user)


def follow(
    world: World, account: Account, user: User, now: float, *, scene: str, qr: tuple[int | None, str | None, str] | None
) -> None:
    """Make the user a follower, through a search or a QR code (scene number, scene text, ticket)."""
    gained = not user.following
    user.following = user.ever_followed = True
    user.subscribe_time = int(now)
    user.subscribe_scene = SCAN_SCENE if qr is not None else scene
    if gained:
        statistics.count_follow(world, account, user, now, gained=True)
    fields: JsonObject = {"MsgType": "event", "Event": "subscribe", "EventKey": ""}
    user.qr_scene, user.qr_scene_str = 0, ""
    if qr is not None:
        scene_id, scene_str, ticket = qr
        user.qr_scene, user.qr_scene_str = scene_id or 0, scene_str or ""
        fields["EventKey"] = f"qrscene_{scene_id if scene_id is not None else scene_str}"
        fields["Ticket"] = ticket
        open_window(world, user, "scan", now)
    open_window(world, user, "follow", now)
    act(world, account, user, fields, now)


def unfollow(world: World, account: Account, user: User, now: float) -> None:
    """End the following; open windows close."""
    if user.following:
        statistics.count_follow(world, account, user, now, gained=False)
    user.following = False
    user.windows.clear()
    act(world, account, user, {"MsgType": "event", "Event": "unsubscribe", "EventKey": ""}, now)
