"""What an administrator does in the console (公众平台): new accounts, templates, answers to risk confirmations."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from wxmp.simulator.state import Account, Risk, Tag, Template
from wxmp.simulator.wire import WorldError

if TYPE_CHECKING:
    from wxmp.simulator.world import World

__all__ = ["add_account", "add_template", "decide_risk"]

FIRST_TAGS = ((0, "未分组"), (1, "黑名单"), (2, "星标组"))


def add_account(world: World, appid: str | None, secret: str | None, *, test: bool, verified: bool) -> Account:
    """Add an account; see :meth:`World.add_account <wxmp.simulator.World.add_account>`."""
    state = world.state
    number = len(state.accounts) + 1
    digest = hashlib.sha256(f"{world.seed}|account|{number}".encode()).hexdigest()
    appid = appid if appid is not None else f"wx{digest[:16]}"
    if appid in state.accounts:
        raise WorldError("this AppID exists already")
    account = Account(
        appid=appid,
        secret=secret if secret is not None else f"simulated{digest[16:39]}",
        original_id=f"gh_{digest[40:52]}",
        test=test,
        verified=verified,
    )
    account.tag_serial = world.policy.first_tag_id - 1
    for tag_id, name in FIRST_TAGS:
        account.tags[tag_id] = Tag(tag_id, name, group=True)
    state.accounts[appid] = account
    return account


def add_template(world: World, account: Account, title: str, content: str, industry: int) -> str:
    """Put a template into an account's list; return its ``template_id``."""
    template_id = world.make_id("template", 43)
    account.templates[template_id] = Template(template_id, title, content, industry=industry)
    return template_id


def decide_risk(world: World, account: Account, address: str, decision: Literal["allow", "refuse"]) -> None:
    """Answer the risk confirmation (89503) of a caller address."""
    risk = account.risks.setdefault(address, Risk())
    if decision == "allow":
        risk.state = "allowed"
        return
    risk.state = "refused"
    risk.refusals += 1
    policy = world.policy
    hours = policy.risk_refusal_hours if risk.refusals == 1 else policy.risk_block_hours
    risk.until = world.now() + hours * 3600
