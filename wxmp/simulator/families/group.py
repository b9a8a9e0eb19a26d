"""Groups, the old face of tags: a user is in exactly one, and 0 means none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator.families.tag import BUILT_IN, new_tag
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from wxmp.simulator.state import Tag, User

__all__ = ["ROUTES"]


def check_name(call: Call, name: str, own: int | None = None) -> None:
    """Refuse a group name that is empty or, by policy, taken (40051), or too long (45017)."""
    policy = call.world.policy
    if not name:
        raise Refusal(40051, "the name is empty")
    if len(name) > policy.tag_name_limit:
        raise Refusal(45017, f"the name has {len(name)} characters, at most {policy.tag_name_limit}")
    if policy.group_unique_names and any(t.name == name and t.id != own for t in call.owner.tags.values()):
        raise Refusal(40051, "the name is taken")


def known_group(call: Call, value: int | None) -> Tag:
    """Return a group or refuse (40050)."""
    group = call.owner.tags.get(value) if value is not None else None
    if group is None or not group.group:
        raise Refusal(40050, f"no group {value}")
    return group


def own_group(call: Call) -> Tag:
    """Return the group named in the body, which must not be a built-in one (45016)."""
    number = call.number("id", call.part("group"))
    if number in BUILT_IN:
        raise Refusal(45016, f"group {number} is built in")
    return known_group(call, number)


def create(call: Call) -> JsonObject:
    """Create a group."""
    name = call.text("name", call.part("group"))
    check_name(call, name)
    limit = call.world.policy.max_tags
    if len(call.owner.tags) - len(BUILT_IN) >= limit:
        raise Refusal(45018, f"the account has {limit} groups and tags already")
    group = new_tag(call.owner, name, group=True)
    return {"group": {"id": group.id, "name": group.name}}


def list_all(call: Call) -> JsonObject:
    """List the groups, the built-in ones too."""
    users = call.owner.users.values()
    return {
        "groups": [
            {
                "id": group.id,
                "name": group.name,
                "count": sum(user.following and user.group_id == group.id for user in users),
            }
            for group in call.owner.tags.values()
            if group.group
        ]
    }


def of_user(call: Call) -> JsonObject:
    """Tell the group of a user."""
    return {"groupid": call.user(call.text("openid")).group_id}


def update(call: Call) -> JsonObject:
    """Rename a group."""
    group = own_group(call)
    name = call.text("name", call.part("group"))
    check_name(call, name, group.id)
    group.name = name
    return OK()


def move(user: User, group: Tag) -> None:
    """Move a user: the old group goes, the new one comes, other tags stay."""
    if user.group_id in user.tags:
        user.tags.remove(user.group_id)
    user.group_id = group.id
    if group.id not in {0, *user.tags}:
        user.tags.append(group.id)


def move_one(call: Call) -> JsonObject:
    """Move one user."""
    user = call.user(call.text("openid"))
    move(user, known_group(call, call.number("to_groupid")))
    return OK()


def move_many(call: Call) -> JsonObject:
    """Move up to 50 users, all or none."""
    users = [call.user(openid) for openid in call.openids(call.world.policy.group_batch)]
    group = known_group(call, call.number("to_groupid"))
    for user in users:
        move(user, group)
    return OK()


def delete(call: Call) -> JsonObject:
    """Delete a group; its members fall back to group 0."""
    group = own_group(call)
    del call.owner.tags[group.id]
    for user in call.owner.users.values():
        if user.group_id == group.id:
            user.group_id = 0
        if group.id in user.tags:
            user.tags.remove(group.id)
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/groups/create", create, accounts="all"),
    Route("GET", "/cgi-bin/groups/get", list_all, accounts="all"),
    Route("POST", "/cgi-bin/groups/getid", of_user, accounts="all"),
    Route("POST", "/cgi-bin/groups/update", update, accounts="all"),
    Route("POST", "/cgi-bin/groups/members/update", move_one, accounts="all"),
    Route("POST", "/cgi-bin/groups/members/batchupdate", move_many, accounts="all"),
    Route("POST", "/cgi-bin/groups/delete", delete, accounts="all"),
)
