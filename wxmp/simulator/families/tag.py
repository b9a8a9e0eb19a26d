"""User tags: create, rename, delete, put on and take off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator.families.user import cut_page
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, Tag, User
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUILT_IN", "ROUTES", "new_tag"]

BUILT_IN: Final = frozenset({0, 1, 2})


def new_tag(account: Account, name: str, *, group: bool = False) -> Tag:
    """Add a tag (or a group, which shares the numbers) to an account."""
    account.tag_serial += 1
    tag = account.tags[account.tag_serial] = Tag(account.tag_serial, name, group)
    return tag


def check_name(call: Call, name: str, own: int | None = None) -> None:
    """Refuse a tag name that is empty or taken (45157) or too long (45158)."""
    policy = call.world.policy
    length = len(name.encode("utf-8", "replace")) if policy.tag_name_unit == "bytes" else len(name)
    if length > policy.tag_name_limit:
        raise Refusal(45158, f"the name has {length} {policy.tag_name_unit}, at most {policy.tag_name_limit}")
    if not name:
        raise Refusal(45157, "the name is empty")
    if any(tag.name == name and tag.id != own for tag in call.owner.tags.values()):
        raise Refusal(45157, "the name is taken")


def known_tag(call: Call, value: int | None) -> Tag:
    """Return a tag or refuse (45159)."""
    tag = call.owner.tags.get(value) if value is not None else None
    if tag is None:
        raise Refusal(45159, f"no tag {value}")
    return tag


def own_tag(call: Call) -> Tag:
    """Return the tag named in the body, which must not be a built-in one (45058)."""
    number = call.number("id", call.part("tag"))
    if number in BUILT_IN:
        raise Refusal(45058, f"tag {number} is built in")
    return known_tag(call, number)


def count(account: Account, tag: Tag) -> int:
    """Count the followers that carry a tag."""
    return sum(user.following and tag.id in user.tags for user in account.users.values())


def create(call: Call) -> JsonObject:
    """Create a tag."""
    name = call.text("name", call.part("tag"))
    check_name(call, name)
    limit = call.world.policy.max_tags
    if len(call.owner.tags) - len(BUILT_IN) >= limit:
        raise Refusal(45056, f"the account has {limit} tags already")
    tag = new_tag(call.owner, name)
    return {"tag": {"id": tag.id, "name": tag.name}}


def list_all(call: Call) -> JsonObject:
    """List the tags."""
    account, shown = call.owner, call.world.policy.shown_builtin_tags
    return {
        "tags": [
            {"id": tag.id, "name": tag.name, "count": count(account, tag)}
            for tag in account.tags.values()
            if tag.id not in BUILT_IN or tag.id in shown
        ]
    }


def update(call: Call) -> JsonObject:
    """Rename a tag."""
    tag = own_tag(call)
    name = call.text("name", call.part("tag"))
    check_name(call, name, tag.id)
    tag.name = name
    return OK()


def delete(call: Call) -> JsonObject:
    """Delete a tag and take it off everybody."""
    tag, account, limit = own_tag(call), call.owner, call.world.policy.tag_delete_max_followers
    carried = count(account, tag)
    if carried > limit:
        raise Refusal(45057, f"{carried} followers carry the tag, at most {limit} may")
    del account.tags[tag.id]
    for user in account.users.values():
        if tag.id in user.tags:
            user.tags.remove(tag.id)
        if user.group_id == tag.id:
            user.group_id = 0
    return OK()


def members(call: Call) -> JsonObject:
    """List who carries a tag, one page."""
    tag = known_tag(call, call.number("tagid"))
    openids = [user.openid for user in call.owner.users.values() if user.following and tag.id in user.tags]
    return cut_page(call, openids, call.text("next_openid"), call.world.policy.follower_page)


def put_on(call: Call) -> JsonObject:
    """Put a tag on users."""
    tag, limit = changeable(call), call.world.policy.tags_per_user

    def problem(user: User) -> Refusal | None:
        if tag.id not in user.tags and len(user.tags) >= limit:
            return Refusal(45059, f"a user carries {limit} tags already")
        return None

    users, failed = chosen(call, problem)
    for user in users:
        if tag.id in user.tags:
            user.tags.remove(tag.id)
        # The order counts: the tag put on last decides which conditional menu is shown.
        user.tags.append(tag.id)
    return finish(failed)


def take_off(call: Call) -> JsonObject:
    """Take a tag off users; who does not carry it is no error."""
    tag = changeable(call)
    users, failed = chosen(call, lambda _user: None)
    for user in users:
        if tag.id in user.tags:
            user.tags.remove(tag.id)
        if user.group_id == tag.id:
            user.group_id = 0
    return finish(failed)


def changeable(call: Call) -> Tag:
    """Return the tag of a batch call; the built-in groups 0 and 1 cannot be put on."""
    number = call.number("tagid")
    if number in {0, 1}:
        raise Refusal(45058, f"tag {number} is built in")
    return known_tag(call, number)


def chosen(call: Call, problem: Callable[[User], Refusal | None]) -> tuple[list[User], list[str]]:
    """Return the users of a batch call that can be changed, and the openids of the others.

    Raises:
        Refusal: None of them can be changed, or the policy has no partial failures.
    """
    good: list[User] = []
    failed: list[str] = []
    first: Refusal | None = None
    openids = call.openids(call.world.policy.tag_batch)
    for openid in openids:
        try:
            user = call.user(openid)
        except Refusal as refusal:
            trouble: Refusal | None = refusal
        else:
            trouble = Refusal(50005, "the user does not follow the account") if not user.following else problem(user)
            if trouble is None:
                good.append(user)
                continue
        failed.append(openid)
        first = first or trouble
    if first is not None and (not good or not call.world.policy.tag_partial_failure):
        raise first
    return good, failed


def finish(failed: list[str]) -> JsonObject:
    """Answer a batch call: success, or 45171 with those that failed."""
    if failed:
        raise Refusal(45171, "some of the openids failed, the others were changed", extra={"fail_openid_list": failed})
    return OK()


def of_user(call: Call) -> JsonObject:
    """List the tags of a user."""
    user = call.user(call.text("openid"))
    if not user.following:
        raise Refusal(43004, "the user does not follow the account")
    return {"tagid_list": list(user.tags)}


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/tags/create", create),
    Route("GET", "/cgi-bin/tags/get", list_all),
    Route("POST", "/cgi-bin/tags/update", update),
    Route("POST", "/cgi-bin/tags/delete", delete),
    Route("POST", "/cgi-bin/user/tag/get", members),
    Route("POST", "/cgi-bin/tags/members/batchtagging", put_on),
    Route("POST", "/cgi-bin/tags/members/batchuntagging", take_off),
    Route("POST", "/cgi-bin/tags/getidlist", of_user),
)
