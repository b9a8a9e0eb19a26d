"""Customer-service staff: accounts of agents, the sessions they hold with users, and the record of what was said.

The records stand here together with what changes them. Nothing here may import ``state``, which holds the records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp.simulator.wire import JsonObject, WorldError, as_object

if TYPE_CHECKING:
    from wxmp.simulator.state import Account, Event, User
    from wxmp.simulator.world import World

__all__ = [
    "EVENTS",
    "Agent",
    "Record",
    "Session",
    "Staff",
    "add_agent",
    "agents",
    "answer_invitation",
    "close_session",
    "expire_invitation",
    "hand_over",
    "hears",
    "open_session",
    "remove_agent",
    "say",
    "set_online",
    "switch_session",
]

FIRST_KF_ID: Final = 1001
# What the record says instead of a message that is no text.
PLACEHOLDERS: Final = {
    "image": "[图片]",
    "voice": "[语音]",
    "video": "[视频]",
    "shortvideo": "[小视频]",
    "location": "[位置]",
    "link": "[链接]",
}
AGENT_SENT: Final = 2002
AGENT_RECEIVED: Final = 2003


@attrs.define
class Agent:
    """One customer-service account.

    Attributes:
        wx: The WeChat id bound to it; without one it cannot hold a session.
        invited: The WeChat id an invitation waits for, or was refused by.
        invitation: What became of the invitation; empty without one.
    """

    kf_account: str
    kf_id: int
    nickname: str
    wx: str = ""
    openid: str = ""
    avatar: str = ""
    online: bool = False
    invited: str = ""
    invitation: Literal["", "waiting", "rejected", "expired"] = ""
    invitation_ends: float = 0.0


@attrs.define
class Session:
    """A user who talks to an agent."""

    openid: str
    kf_account: str
    created_at: float
    serial: int


@attrs.define
class Record:
    """One line of the chat record."""

    id: int
    openid: str
    opercode: int
    text: str
    time: float
    worker: str


@attrs.define
class Staff:
    """All of it, for one account.

    Attributes:
        enabled: Whether the account has switched the customer service on (65400).
        sessions: By openid.
        waiting: When each waiting user wrote last, by openid.
    """

    enabled: bool = True
    agents: dict[str, Agent] = attrs.field(factory=dict[str, Agent])
    agent_serial: int = FIRST_KF_ID - 1
    sessions: dict[str, Session] = attrs.field(factory=dict[str, Session])
    session_serial: int = 0
    waiting: dict[str, float] = attrs.field(factory=dict[str, float])
    records: list[Record] = attrs.field(factory=list[Record], repr=False)
    record_serial: int = 0


def agents(account: Account) -> dict[str, Agent]:
    """Return the agents, after bringing them in line with the names in ``account.kf_accounts``.

    A name put there by hand is an agent who is bound and on line.
    """
    staff = account.staff
    names = account.kf_accounts if account.kf_accounts is not None else []
    for name in names:
        if name not in staff.agents:
            add_agent(account, name, name.partition("@")[0], wx=f"wx_{name.partition('@')[0]}", online=True)
    for name in [name for name in staff.agents if name not in names]:
        del staff.agents[name]
    return staff.agents


def add_agent(account: Account, kf_account: str, nickname: str, *, wx: str = "", online: bool = False) -> Agent:
    """Add an agent."""
    staff = account.staff
    staff.agent_serial += 1
    agent = staff.agents[kf_account] = Agent(kf_account, staff.agent_serial, nickname, wx=wx, online=online)
    if account.kf_accounts is None:
        account.kf_accounts = []
    if kf_account not in account.kf_accounts:
        account.kf_accounts.append(kf_account)
    return agent


def remove_agent(world: World, account: Account, kf_account: str, now: float) -> None:
    """Delete an agent; the open sessions end."""
    for session in [s for s in account.staff.sessions.values() if s.kf_account == kf_account]:
        close_session(world, account, session.openid, now)
    account.staff.agents.pop(kf_account, None)
    if account.kf_accounts is not None and kf_account in account.kf_accounts:
        account.kf_accounts.remove(kf_account)


def find_agent(account: Account, kf_account: str) -> Agent:
    """Return an agent for a test or the control page."""
    agent = agents(account).get(kf_account)
    if agent is None:
        raise WorldError("no such customer-service account")
    return agent


def set_online(world: World, account: Account, kf_account: str, online: bool = True) -> None:
    """Let an agent come on line (上线) or leave; sessions stay open."""
    with world.lock:
        find_agent(account, kf_account).online = online
        world.announce()


def answer_invitation(world: World, account: Account, kf_account: str, accept: bool = True) -> None:
    """Let the invited person answer the invitation to be an agent.

    Raises:
        WorldError: No invitation waits.
    """
    with world.lock:
        world.run_due()
        agent = find_agent(account, kf_account)
        expire_invitation(agent, world.now())
        if agent.invitation != "waiting":
            raise WorldError("no invitation of this agent waits for an answer")
        bind(world, account, agent, accept)
        world.announce()


def bind(world: World, account: Account, agent: Agent, accept: bool) -> None:
    """End a waiting invitation."""
    if not accept:
        agent.invitation = "rejected"
        return
    from wxmp.simulator import people

    agent.wx, agent.invited, agent.invitation = agent.invited, "", ""
    person = next((p for p in world.state.people if p.wechat_id == agent.wx), None)
    if person is not None:
        agent.openid = people.openid_for(world, account.appid, person.number)
    agent.online = world.policy.kf_online_when_bound


def expire_invitation(agent: Agent, now: float) -> None:
    """Let an invitation nobody answered run out."""
    if agent.invitation == "waiting" and now >= agent.invitation_ends:
        agent.invitation = "expired"


# --- sessions -----------------------------------------------------------------------------------------------------


def open_session(world: World, account: Account, user: User, kf_account: str, now: float) -> Session:
    """Begin a session; the developer's server hears of it (``kf_create_session``)."""
    staff = account.staff
    staff.waiting.pop(user.openid, None)
    staff.session_serial += 1
    session = staff.sessions[user.openid] = Session(user.openid, kf_account, now, staff.session_serial)
    tell(world, account, user, "kf_create_session", {"KfAccount": kf_account}, now)
    fields: JsonObject = {"openid": user.openid, "session": session.serial}
    world.schedule(world.policy.kf_session_seconds, "kf_session_over", account, fields)
    return session


def close_session(world: World, account: Account, openid: str, now: float) -> None:
    """End a session, if there is one (``kf_close_session``)."""
    session = account.staff.sessions.pop(openid, None)
    user = account.users.get(openid)
    if session is not None and user is not None:
        tell(world, account, user, "kf_close_session", {"KfAccount": session.kf_account}, now)


def switch_session(world: World, account: Account, openid: str, kf_account: str) -> None:
    """Let an agent hand a user on to another agent, as on the staff's own page (``kf_switch_session``).

    Raises:
        WorldError: There is no session, or the other agent is unknown or off line.
    """
    with world.lock:
        world.run_due()
        session, user = account.staff.sessions.get(openid), account.users.get(openid)
        if session is None or user is None:
            raise WorldError("this user is in no session")
        agent = find_agent(account, kf_account)
        if not agent.online or kf_account == session.kf_account:
            raise WorldError("the session can only go to another agent who is on line")
        before, session.kf_account = session.kf_account, kf_account
        fields: JsonObject = {"FromKfAccount": before, "ToKfAccount": kf_account}
        tell(world, account, user, "kf_switch_session", fields, world.now())
        world.announce()


def session_over(world: World, account: Account, event: Event) -> None:
    """End a session that lasted too long: from now on the developer's server hears the user again."""
    openid = str(event.fields["openid"])
    session = account.staff.sessions.get(openid)
    if session is not None and session.serial == event.fields["session"]:
        close_session(world, account, openid, event.due)


def invitation_answered(world: World, account: Account, event: Event) -> None:
    """Let an invited person say yes, where nobody else decides."""
    agent = agents(account).get(str(event.fields["kf_account"]))
    if agent is not None and agent.invitation == "waiting" and agent.invited == event.fields["wx"]:
        bind(world, account, agent, accept=True)


def hand_over(world: World, account: Account, openid: str, reply: JsonObject, message: JsonObject, now: float) -> None:
    """Take a user over from the developer's server (transfer_customer_service): to the named agent, or to the queue."""
    user, staff = account.users.get(openid), account.staff
    if user is None or reply.get("MsgType") != "transfer_customer_service" or not staff.enabled:
        return
    named = (as_object(reply.get("TransInfo")) or {}).get("KfAccount")
    agent = agents(account).get(str(named)) if named is not None else None
    if named is not None and agent is None and account.kf_accounts is not None:
        # An agent who does not exist: the message waits for nobody.
        return
    if openid in staff.sessions:
        return
    staff.waiting.setdefault(openid, now)
    if agent is not None and agent.online and agent.wx:
        open_session(world, account, user, agent.kf_account, now)
        write_down(world, account, openid, AGENT_RECEIVED, line(message), agent.kf_account, now)


def hears(world: World, account: Account, openid: str, fields: JsonObject, now: float) -> bool:
    """Let a user's message reach the agent; tell whether it goes there instead of the developer's server."""
    staff = account.staff
    if openid in staff.waiting:
        staff.waiting[openid] = now
    session = staff.sessions.get(openid)
    if session is None:
        return False
    write_down(world, account, openid, AGENT_RECEIVED, line(fields), session.kf_account, now)
    return world.policy.kf_session_bypasses_server


def say(world: World, account: Account, openid: str, text: str) -> None:
    """Let the agent write to the user in their session.

    Raises:
        WorldError: The user is in no session.
    """
    from wxmp.simulator import people
    from wxmp.simulator.state import ChatEntry

    with world.lock:
        world.run_due()
        now, user, session = world.now(), account.users.get(openid), account.staff.sessions.get(openid)
        if session is None or user is None:
            raise WorldError("this user is in no session")
        payload: JsonObject = {"msgtype": "text", "text": {"content": text}, "kf_account": session.kf_account}
        entry = ChatEntry("to_user", "text", text, payload, now, "custom", f"written by {session.kf_account}")
        people.chat(world, user, entry)
        user.typing_until, user.last_contact_at = 0.0, now
        write_down(world, account, openid, AGENT_SENT, text, session.kf_account, now)
        world.announce()


def line(fields: JsonObject) -> str:
    """Return what the record says of a message."""
    kind = str(fields.get("MsgType", ""))
    return str(fields.get("Content", "")) if kind == "text" else PLACEHOLDERS.get(kind, f"[{kind}]")


def write_down(world: World, account: Account, openid: str, opercode: int, text: str, worker: str, now: float) -> None:
    """Add a line to the chat record."""
    staff = account.staff
    staff.record_serial += 1
    staff.records.append(Record(staff.record_serial, openid, opercode, text, now, worker))
    del staff.records[: -world.policy.sent_kept]


def tell(world: World, account: Account, user: User, event: str, fields: JsonObject, now: float) -> None:
    """Push an event about a session."""
    from wxmp.simulator import people

    people.push(world, account, user, "event", {"MsgType": "event", "Event": event, **fields}, now)


EVENTS: Final = {"kf_session_over": session_over, "kf_invite_answer": invitation_answered}
