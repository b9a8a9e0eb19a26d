"""Customer-service staff (客服管理): accounts, invitations, sessions, the queue, the record of what was said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wxmp.simulator import staff
from wxmp.simulator.formats import file_format
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.staff import Agent, Staff
    from wxmp.simulator.state import Account, Event
    from wxmp.simulator.world import World

__all__ = ["EVENTS", "ROUTES"]

PREFIX: Final = re.compile(r"[A-Za-z0-9_]+")
WECHAT_ID: Final = re.compile(r"[A-Za-z0-9_-]+")


def office(call: Call) -> Staff:
    """Return the staff of the account, where the customer service is switched on."""
    found = call.owner.staff
    if not found.enabled:
        raise Refusal(65400, "the account has not switched the customer service on")
    return found


def agent_named(call: Call, kf_account: str) -> Agent:
    """Return an agent, with an invitation that ran out marked so."""
    office(call)
    agent = staff.agents(call.owner).get(kf_account)
    if agent is None:
        raise Refusal(65401, "no such customer-service account")
    staff.expire_invitation(agent, call.now)
    return agent


# --- accounts -----------------------------------------------------------------------------------------------------


def list_accounts(call: Call) -> JsonObject:
    """List the agents."""
    office(call)
    return {"kf_list": [show(agent, call.now) for agent in staff.agents(call.owner).values()]}


def show(agent: Agent, now: float) -> JsonObject:
    """Return one agent in the platform's shape: who is bound, or who is invited."""
    staff.expire_invitation(agent, now)
    shown: JsonObject = {
        "kf_account": agent.kf_account,
        "kf_headimgurl": agent.avatar,
        "kf_id": str(agent.kf_id),
        "kf_nick": agent.nickname,
    }
    if agent.wx:
        shown["kf_wx"] = agent.wx
    if agent.openid:
        shown["kf_openid"] = agent.openid
    if agent.invitation:
        shown |= {
            "invite_wx": agent.invited,
            "invite_expire_time": int(agent.invitation_ends),
            "invite_status": agent.invitation,
        }
    return shown


def list_online(call: Call) -> JsonObject:
    """List the agents who are on line."""
    sessions = list(office(call).sessions.values())
    entries: list[JsonObject] = []
    for agent in staff.agents(call.owner).values():
        if not agent.online:
            continue
        entry: JsonObject = {
            "kf_account": agent.kf_account,
            "status": 1,
            "kf_id": agent.kf_id,
            "accepted_case": sum(session.kf_account == agent.kf_account for session in sessions),
        }
        if agent.openid:
            entry["kf_openid"] = agent.openid
        entries.append(entry)
    return {"kf_online_list": entries}


def check_nickname(call: Call) -> str:
    """Return the nickname, if it can be one."""
    nickname, limit = call.text("nickname"), call.world.policy.kf_nickname_chars
    if not 1 <= len(nickname) <= limit:
        raise Refusal(65403, f"the nickname has {len(nickname)} characters, 1 to {limit} are allowed")
    return nickname


def add(call: Call) -> JsonObject:
    """Add an agent; somebody must be invited before they can serve."""
    office(call)
    account, policy, name = call.owner, call.world.policy, call.text("kf_account")
    prefix, _at, suffix = name.partition("@")
    if not PREFIX.fullmatch(prefix) or len(prefix) > policy.kf_prefix_chars:
        raise Refusal(65404, f"kf_account is {name!r}: letters, digits, underscore before the @")
    if not WECHAT_ID.fullmatch(suffix) or len(suffix) > policy.kf_suffix_chars:
        raise Refusal(65404, f"kf_account is {name!r}: the account's WeChat id stands after the @")
    nickname = check_nickname(call)
    known = staff.agents(account)
    if name in known:
        raise Refusal(65406, "the customer-service account exists")
    if len(known) >= policy.kf_accounts_max:
        raise Refusal(65405, f"the account has {len(known)} customer-service accounts already")
    staff.add_agent(account, name, nickname)
    return OK()


def update(call: Call) -> JsonObject:
    """Change the nickname of an agent."""
    agent = agent_named(call, call.text("kf_account"))
    agent.nickname = check_nickname(call)
    return OK()


def delete(call: Call) -> JsonObject:
    """Delete an agent; open sessions end. The name is in the body, or in the query of the older form."""
    agent = agent_named(call, call.text("kf_account") or call.query("kf_account"))
    staff.remove_agent(call.world, call.owner, agent.kf_account, call.now)
    return OK()


def delete_by_get(call: Call) -> JsonObject:
    """Delete an agent the older way, with GET."""
    if not call.world.policy.kf_delete_by_get:
        raise Refusal(43002, "GET where POST is wanted")
    return delete(call)


def upload_avatar(call: Call) -> JsonObject:
    """Set the picture of an agent."""
    agent = agent_named(call, call.query("kf_account"))
    file, limit = call.form.files.get("media"), call.world.policy.kf_avatar_bytes
    if file is None:
        raise Refusal(41005, "the form has no file named media")
    if file_format(file.data) != "jpg":
        raise Refusal(40005, "the file is no JPEG")
    if len(file.data) > limit:
        raise Refusal(40009, f"the picture has {len(file.data)} bytes, at most {limit} are allowed")
    key = call.world.make_id("kf avatar", 40)
    agent.avatar = f"http://mmbiz.qpic.cn/mmbiz_jpg/{key}/0"
    return OK()


def invite(call: Call) -> JsonObject:
    """Invite a WeChat user to serve as an agent."""
    agent, name, world = agent_named(call, call.text("kf_account")), call.text("invite_wx"), call.world
    others = staff.agents(call.owner).values()
    if agent.wx:
        raise Refusal(65412, f"the customer-service account is bound to {agent.wx}")
    if agent.invitation == "waiting":
        raise Refusal(65411, f"an invitation of {agent.invited} waits for an answer")
    if not any(person.wechat_id == name for person in world.state.people):
        raise Refusal(65409, "nobody in this world has this WeChat id")
    if any(other.wx == name for other in others):
        raise Refusal(65407, "the WeChat user is an agent of this account already")
    for other in others:
        staff.expire_invitation(other, call.now)
    if any(other.invited == name and other.invitation == "waiting" for other in others):
        raise Refusal(65408, "the WeChat user is invited already, for another customer-service account")
    bindings = sum(
        other.wx == name for account in world.state.accounts.values() for other in staff.agents(account).values()
    )
    if bindings >= world.policy.kf_bindings:
        raise Refusal(65410, f"the WeChat user serves as {bindings} agents")
    agent.invited, agent.invitation = name, "waiting"
    agent.invitation_ends = call.now + world.policy.kf_invite_seconds
    if world.policy.kf_invite_delay is not None:
        event: JsonObject = {"kf_account": agent.kf_account, "wx": name}
        world.schedule(world.policy.kf_invite_delay, "kf_invite_answer", call.owner, event)
    return OK()


# --- sessions -----------------------------------------------------------------------------------------------------


def create_session(call: Call) -> JsonObject:
    """Put a user into a session with an agent who is on line."""
    agent, user = agent_named(call, call.text("kf_account")), call.user(call.text("openid"))
    if not agent.wx:
        raise Refusal(65402, "nobody is bound to the customer-service account")
    session = call.owner.staff.sessions.get(user.openid)
    if session is not None and session.kf_account != agent.kf_account:
        raise Refusal(65414, f"{session.kf_account} serves the user")
    if not agent.online:
        raise Refusal(65415, "the agent is off line")
    if session is None:
        staff.open_session(call.world, call.owner, user, agent.kf_account, call.now)
    return OK()


def close_session(call: Call) -> JsonObject:
    """End the session of a user with an agent."""
    office(call)
    user, name = call.user(call.text("openid")), call.text("kf_account")
    session = call.owner.staff.sessions.get(user.openid)
    if session is None:
        raise Refusal(65413, "the user is in no session")
    if session.kf_account != name:
        raise Refusal(65414, f"{session.kf_account} serves the user")
    staff.close_session(call.world, call.owner, user.openid, call.now)
    return OK()


def get_session(call: Call) -> JsonObject:
    """Tell who serves a user."""
    user = call.user(call.query("openid"))
    session = office(call).sessions.get(user.openid)
    if session is None:
        return {"createtime": 0, "kf_account": ""}
    return {"createtime": int(session.created_at), "kf_account": session.kf_account}


def list_sessions(call: Call) -> JsonObject:
    """List the sessions of an agent."""
    agent = agent_named(call, call.query("kf_account"))
    if not agent.wx:
        raise Refusal(65402, "nobody is bound to the customer-service account")
    found = [s for s in call.owner.staff.sessions.values() if s.kf_account == agent.kf_account]
    return {"sessionlist": [{"createtime": int(s.created_at), "openid": s.openid} for s in found]}


def list_waiting(call: Call) -> JsonObject:
    """List the users in the queue, who waits longest first."""
    waiting, limit = office(call).waiting, call.world.policy.kf_waiting_page
    shown = [{"latest_time": int(at), "openid": openid} for openid, at in list(waiting.items())[:limit]]
    return {"count": len(waiting), "waitcaselist": shown}


def list_messages(call: Call) -> JsonObject:
    """Read the record of what was said, page by page."""
    office(call)
    policy = call.world.policy
    start, end, cursor, size = (call.number(name) for name in ("starttime", "endtime", "msgid", "number"))
    if start is None or end is None or cursor is None or size is None:
        raise Refusal(65416, "starttime, endtime, msgid and number are whole numbers")
    if start > end or cursor < 0 or not 1 <= size <= policy.kf_records_page:
        raise Refusal(65416, f"starttime {start}, endtime {end}, msgid {cursor}, number {size}")
    if end - start > policy.kf_records_seconds:
        raise Refusal(65417, f"{end - start} s are asked for, at most {policy.kf_records_seconds:.0f} s are allowed")
    found = [r for r in call.owner.staff.records if r.id >= cursor and start <= r.time <= end][:size]
    records = [
        {"openid": r.openid, "opercode": r.opercode, "text": r.text, "time": int(r.time), "worker": r.worker}
        for r in found
    ]
    return {"recordlist": records, "number": len(found), "msgid": found[-1].id + 1 if found else cursor}


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/cgi-bin/customservice/getkflist", list_accounts),
    Route("GET", "/cgi-bin/customservice/getonlinekflist", list_online),
    Route("POST", "/customservice/kfaccount/add", add),
    Route("POST", "/customservice/kfaccount/update", update),
    Route("POST", "/customservice/kfaccount/del", delete),
    Route("GET", "/customservice/kfaccount/del", delete_by_get),
    Route("POST", "/customservice/kfaccount/uploadheadimg", upload_avatar, takes="form"),
    Route("POST", "/customservice/kfaccount/inviteworker", invite),
    Route("POST", "/customservice/kfsession/create", create_session),
    Route("POST", "/customservice/kfsession/close", close_session),
    Route("GET", "/customservice/kfsession/getsession", get_session),
    Route("GET", "/customservice/kfsession/getsessionlist", list_sessions),
    Route("GET", "/customservice/kfsession/getwaitcase", list_waiting),
    Route("POST", "/customservice/msgrecord/getmsglist", list_messages),
)
EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = dict(staff.EVENTS)
