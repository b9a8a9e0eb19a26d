"""Followers: who they are, page by page, remarks, and openids after an account migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator.people import avatar, openid_for
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal, as_object

if TYPE_CHECKING:
    from wxmp.simulator.state import Person, User

__all__ = ["ROUTES", "cut_page"]


def describe(call: Call, user: User) -> JsonObject:
    """Return what the platform tells about a user: next to nothing when they do not follow."""
    account = call.owner
    shown: JsonObject = {"subscribe": 1 if user.following else 0, "openid": user.openid}
    person = call.world.person_of(user)
    if user.following:
        shown |= profile(call, person)
        shown |= {
            "subscribe_time": user.subscribe_time,
            "remark": user.remark,
            "groupid": user.group_id,
            "tagid_list": list(user.tags),
            "subscribe_scene": user.subscribe_scene,
            "qr_scene": user.qr_scene,
            "qr_scene_str": user.qr_scene_str,
        }
    if account.open_platform:
        shown["unionid"] = person.unionid
    return shown


def profile(call: Call, person: Person) -> JsonObject:
    """Return what is told about the person: hardly anything since the end of 2021."""
    policy = call.world.policy
    language = person.language if policy.user_language == "filled" else ""
    if policy.user_profile == "absent":
        return {"language": language}
    filled = policy.user_profile == "filled"
    return {
        "nickname": person.nickname if filled else "",
        "sex": 0,
        "language": language,
        "city": "",
        "province": "",
        "country": "",
        "headimgurl": avatar(person) if filled else "",
    }


def get_user(call: Call) -> JsonObject:
    """Read one user."""
    openid = call.query("openid")
    if not openid:
        raise Refusal(40003, "openid is missing")
    return describe(call, call.user(openid))


def batch_get(call: Call) -> JsonObject:
    """Read up to 100 users."""
    entries = [as_object(item) or {} for item in call.items("user_list")]
    limit = call.world.policy.user_batch
    if not 1 <= len(entries) <= limit:
        raise Refusal(40032, f"{len(entries)} users, 1 to {limit} are allowed")
    return {"user_info_list": [describe(call, call.user(call.text("openid", entry))) for entry in entries]}


def cut_page(call: Call, openids: list[str], cursor: str, size: int) -> JsonObject:
    """Return one page of openids after a cursor, in the platform's shape: ``data`` is missing when there is none."""
    start = 0
    if cursor:
        try:
            start = openids.index(cursor) + 1
        except ValueError:
            raise Refusal(40003, "next_openid is not in the list") from None
    page = openids[start : start + size]
    more = start + len(page) < len(openids)
    keep = page and (more or call.world.policy.last_page_cursor == "last_openid")
    answer: JsonObject = {"count": len(page)}
    if page:
        answer["data"] = {"openid": page}
    answer["next_openid"] = page[-1] if keep else ""
    return answer


def list_followers(call: Call) -> JsonObject:
    """List the followers, one page."""
    openids = [user.openid for user in call.owner.users.values() if user.following]
    page = cut_page(call, openids, call.query("next_openid"), call.world.policy.follower_page)
    return {"total": len(openids), **page}


def update_remark(call: Call) -> JsonObject:
    """Set the note on a follower."""
    user = call.user(call.text("openid"))
    if not user.following:
        raise Refusal(43004, "the user does not follow the account")
    remark = call.body.get("remark")
    limit = call.world.policy.remark_chars
    if not isinstance(remark, str) or len(remark) > limit:
        raise Refusal(40092, f"the remark must be a text of at most {limit} characters")
    user.remark = remark
    return OK()


def change_openid(call: Call) -> JsonObject:
    """Translate the openids of another account, for an account migration."""
    before = call.text("from_appid")
    openids = [item for item in call.items("openid_list") if isinstance(item, str)]
    if not openids:
        raise Refusal(63182, "openid_list is empty")
    limit = call.world.policy.openid_migration_batch
    if len(openids) > limit:
        raise Refusal(63179, f"{len(openids)} openids, at most {limit} are allowed")
    source = call.world.state.accounts.get(before)
    if source is None or before not in call.owner.migrated_from:
        raise Refusal(63178, "no migration from that account to this one")
    results: list[JsonObject] = []
    for openid in openids:
        known = source.users.get(openid)
        if known is None or not known.ever_followed:
            results.append({"ori_openid": openid, "err_msg": "ori_openid error"})
            continue
        fresh = openid_for(call.world, call.owner.appid, known.person)
        results.append({"ori_openid": openid, "new_openid": fresh, "err_msg": "ok"})
    return {**OK(), "result_list": results}


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/cgi-bin/user/info", get_user),
    Route("POST", "/cgi-bin/user/info/batchget", batch_get),
    Route("GET", "/cgi-bin/user/get", list_followers),
    Route("POST", "/cgi-bin/user/info/updateremark", update_remark),
    Route("POST", "/cgi-bin/changeopenid", change_openid, accounts="all"),
)
