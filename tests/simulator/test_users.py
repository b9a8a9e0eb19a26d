"""Users, tags, groups, blacklist."""

from __future__ import annotations

import re

import pytest


def test_follower_and_stranger(desk):
    """A follower shows everything the platform still tells; a stranger shows subscribe 0 and the openid."""
    world = desk.world
    follower, stranger = world.create_followers(1)[0], world.create_stranger()
    shown = desk.get("/cgi-bin/user/info", openid=follower)
    assert (shown["subscribe"], shown["subscribe_time"], shown["tagid_list"]) == (1, int(world.now()), [])
    assert (shown["nickname"], shown["headimgurl"], shown["sex"]) == ("", "", 0)
    assert "errcode" not in shown
    assert desk.get("/cgi-bin/user/info", openid=stranger) == {"subscribe": 0, "openid": stranger}
    desk.account.open_platform = True
    assert set(desk.get("/cgi-bin/user/info", openid=stranger)) == {"subscribe", "openid", "unionid"}


def test_openids_look_right_and_belong_to_one_account(desk):
    """An openid has 28 characters and starts with o; another account's is 49003, an invented one 40003."""
    world = desk.world
    openid = world.create_followers(1)[0]
    assert re.fullmatch(r"o[A-Za-z0-9_-]{27}", openid)
    desk.account = world.add_account()
    assert desk.get("/cgi-bin/user/info", openid=openid)["errcode"] == 49003
    assert desk.get("/cgi-bin/user/info", openid="o123")["errcode"] == 40003


def test_following_again_changes_the_time(desk):
    """subscribe_time is the latest follow; in between the user shows as a non-follower."""
    world = desk.world
    openid = world.user_follows()
    world.user_unfollows(openid)
    assert desk.get("/cgi-bin/user/info", openid=openid)["subscribe"] == 0
    world.advance(1000)
    world.user_follows(openid)
    assert desk.get("/cgi-bin/user/info", openid=openid)["subscribe_time"] == int(world.now())
    assert [push.fields["Event"] for push in world.pushes(openid)] == ["subscribe", "unsubscribe", "subscribe"]


def test_batch_get(desk):
    """Up to 100 users in one call; 101 and none are 40032."""
    openids = desk.world.create_followers(100)
    users = [{"openid": openid} for openid in openids]
    shown = desk.post("/cgi-bin/user/info/batchget", {"user_list": users})["user_info_list"]
    assert [user["openid"] for user in shown] == openids
    for wrong in ([*users, users[0]], []):
        assert desk.post("/cgi-bin/user/info/batchget", {"user_list": wrong})["errcode"] == 40032


def read_pages(desk):
    found, cursor, answers = [], "", []
    for _ in range(20):
        answer = desk.get("/cgi-bin/user/get", **({"next_openid": cursor} if cursor else {}))
        answers.append(answer)
        found += answer.get("data", {}).get("openid", [])
        cursor = answer["next_openid"]
        if not cursor:
            break
    return found, answers


@pytest.mark.parametrize(("style", "pages"), [("empty", 3), ("last_openid", 4)])
def test_follower_pages(make_desk, style, pages):
    """Pages follow each other by next_openid; by policy the last page still names one and an empty one follows."""
    desk = make_desk(follower_page=2, last_page_cursor=style)
    openids = desk.world.create_followers(5)
    desk.world.create_stranger()
    found, answers = read_pages(desk)
    assert found == openids
    assert [answer["total"] for answer in answers] == [5] * pages
    assert ("data" in answers[-1]) == (style == "empty")


def test_no_followers_at_all(desk):
    """An empty list has no data, count 0 and an empty cursor."""
    assert desk.get("/cgi-bin/user/get") == {"total": 0, "count": 0, "next_openid": ""}
    assert desk.get("/cgi-bin/user/get", next_openid="o1")["errcode"] == 40003


def test_remark(desk):
    """A remark of 30 characters is kept, 31 are 40092, a stranger is 43004."""
    world = desk.world
    openid, stranger = world.create_followers(1)[0], world.create_stranger()
    path = "/cgi-bin/user/info/updateremark"
    assert desk.post(path, {"openid": openid, "remark": "字" * 30})["errcode"] == 0
    assert desk.get("/cgi-bin/user/info", openid=openid)["remark"] == "字" * 30
    assert desk.post(path, {"openid": openid, "remark": "字" * 31})["errcode"] == 40092
    assert desk.post(path, {"openid": stranger, "remark": "x"})["errcode"] == 43004


def test_changed_openids(desk):
    """After a migration old openids are translated one by one; the whole call fails without the relation."""
    world, new = desk.world, desk.account
    old = world.add_account()
    openid = world.create_followers(1, appid=old.appid)[0]
    ask = lambda **body: desk.post("/cgi-bin/changeopenid", {"from_appid": old.appid} | body)  # noqa: E731
    assert ask(openid_list=[openid])["errcode"] == 63178
    new.migrated_from.append(old.appid)
    good, bad = ask(openid_list=[openid, "o1"])["result_list"]
    assert (good["err_msg"], good["ori_openid"], len(good["new_openid"])) == ("ok", openid, 28)
    assert bad == {"ori_openid": "o1", "err_msg": "ori_openid error"}
    assert ask(openid_list=[])["errcode"] == 63182
    assert ask(openid_list=["o"] * 101)["errcode"] == 63179


def create_tag(desk, name):
    return desk.post("/cgi-bin/tags/create", {"tag": {"name": name}})


def put_on(desk, tag, openids):
    return desk.post("/cgi-bin/tags/members/batchtagging", {"tagid": tag, "openid_list": openids})


def test_tag_names(desk):
    """30 characters are fine, 31 are 45158; empty and taken names are 45157."""
    assert create_tag(desk, "字" * 30)["tag"]["id"] == 100
    assert create_tag(desk, "字" * 31)["errcode"] == 45158
    assert create_tag(desk, "字" * 30)["errcode"] == 45157
    assert create_tag(desk, "")["errcode"] == 45157


def test_tag_name_in_bytes_by_policy(make_desk):
    """The other official page counts bytes."""
    assert create_tag(make_desk(tag_name_unit="bytes"), "字" * 11)["errcode"] == 45158


def test_hundred_tags(desk):
    """The hundred and first tag is 45056."""
    assert all("tag" in create_tag(desk, f"t{number}") for number in range(100))
    assert create_tag(desk, "one more")["errcode"] == 45056


def test_tag_life(desk):
    """Create, rename, list with counts, delete; built-in tags are 45058, unknown ones 45159."""
    world = desk.world
    openid = world.create_followers(1)[0]
    tag = create_tag(desk, "旧")["tag"]["id"]
    assert desk.post("/cgi-bin/tags/update", {"tag": {"id": tag, "name": "新"}})["errcode"] == 0
    put_on(desk, tag, [openid])
    listed = desk.get("/cgi-bin/tags/get")["tags"]
    assert listed == [{"id": 2, "name": "星标组", "count": 0}, {"id": tag, "name": "新", "count": 1}]
    for path in ("update", "delete"):
        assert desk.post(f"/cgi-bin/tags/{path}", {"tag": {"id": 2, "name": "x"}})["errcode"] == 45058
        assert desk.post(f"/cgi-bin/tags/{path}", {"tag": {"id": 999, "name": "x"}})["errcode"] == 45159
    assert desk.post("/cgi-bin/tags/delete", {"tag": {"id": tag}})["errcode"] == 0
    assert desk.account.users[openid].tags == []


def test_tag_with_too_many_followers_cannot_be_deleted(make_desk):
    """Above the limit of followers deleting a tag is 45057."""
    desk = make_desk(tag_delete_max_followers=1)
    tag = create_tag(desk, "x")["tag"]["id"]
    put_on(desk, tag, desk.world.create_followers(2))
    assert desk.post("/cgi-bin/tags/delete", {"tag": {"id": tag}})["errcode"] == 45057


def test_tagging_in_batches(desk):
    """50 openids are fine, 51 are 40032; the members can be listed and untagged, and a user's tags keep their order."""
    openids = desk.world.create_followers(51)
    tag, other = create_tag(desk, "a")["tag"]["id"], create_tag(desk, "b")["tag"]["id"]
    assert put_on(desk, tag, openids)["errcode"] == 40032
    assert put_on(desk, tag, openids[:50])["errcode"] == 0
    members = desk.post("/cgi-bin/user/tag/get", {"tagid": tag})
    assert (members["count"], members["data"]["openid"], members["next_openid"]) == (50, openids[:50], "")
    put_on(desk, other, openids[:1])
    ask = {"openid": openids[0]}
    assert desk.post("/cgi-bin/tags/getidlist", ask) == {"tagid_list": [tag, other]}
    desk.post("/cgi-bin/tags/members/batchuntagging", {"tagid": tag, "openid_list": openids[:1]})
    assert desk.post("/cgi-bin/tags/getidlist", ask) == {"tagid_list": [other]}


def test_partial_failure_names_those_that_failed(desk):
    """With one bad openid among good ones the good ones are tagged and 45171 lists the bad one."""
    good = desk.world.create_followers(2)
    tag = create_tag(desk, "a")["tag"]["id"]
    answer = put_on(desk, tag, [good[0], "o-bad", good[1]])
    assert (answer["errcode"], answer["fail_openid_list"]) == (45171, ["o-bad"])
    assert desk.post("/cgi-bin/user/tag/get", {"tagid": tag})["data"]["openid"] == good
    assert put_on(desk, tag, ["o-bad"])["errcode"] == 40003


def test_tagging_refusals(desk):
    """Twenty tags a user (45059), strangers (50005), unknown tags (45159), empty lists (40031)."""
    world = desk.world
    openid = world.create_followers(1)[0]
    tags = [create_tag(desk, f"t{number}")["tag"]["id"] for number in range(21)]
    assert {put_on(desk, tag, [openid])["errcode"] for tag in tags[:20]} == {0}
    assert put_on(desk, tags[20], [openid])["errcode"] == 45059
    assert put_on(desk, tags[0], [world.create_stranger()])["errcode"] == 50005
    assert put_on(desk, 999, [openid])["errcode"] == 45159
    assert put_on(desk, tags[0], [])["errcode"] == 40031
    assert desk.post("/cgi-bin/tags/getidlist", {"openid": world.create_stranger()})["errcode"] == 43004


def test_whole_failure_by_policy(make_desk):
    """Without partial failures one bad openid refuses the whole call and nobody is tagged."""
    desk = make_desk(tag_partial_failure=False)
    good = desk.world.create_followers(1)
    tag = create_tag(desk, "a")["tag"]["id"]
    assert put_on(desk, tag, [*good, "o-bad"])["errcode"] == 40003
    assert desk.account.users[good[0]].tags == []


def test_groups(desk):
    """A user is in one group; moving keeps other tags; deleting a group sends its members back to 0."""
    openid, second = desk.world.create_followers(2)
    tag = create_tag(desk, "标签")["tag"]["id"]
    put_on(desk, tag, [openid])
    one, two = (desk.post("/cgi-bin/groups/create", {"group": {"name": name}})["group"]["id"] for name in "ab")
    for group in (one, two):
        body = {"openid": openid, "to_groupid": group}
        assert desk.post("/cgi-bin/groups/members/update", body)["errcode"] == 0
        assert desk.post("/cgi-bin/groups/getid", {"openid": openid}) == {"groupid": group}
    assert desk.account.users[openid].tags == [tag, two]
    body = {"openid_list": [openid, second], "to_groupid": two}
    assert desk.post("/cgi-bin/groups/members/batchupdate", body)["errcode"] == 0
    groups = {group["id"]: group["count"] for group in desk.get("/cgi-bin/groups/get")["groups"]}
    assert groups == {0: 0, 1: 0, 2: 0, one: 0, two: 2}
    assert desk.post("/cgi-bin/groups/update", {"group": {"id": two, "name": "c"}})["errcode"] == 0
    assert desk.post("/cgi-bin/groups/delete", {"group": {"id": two}})["errcode"] == 0
    assert desk.post("/cgi-bin/groups/getid", {"openid": second}) == {"groupid": 0}
    assert desk.account.users[openid].tags == [tag]


def test_group_refusals(desk):
    """Built-in (45016), unknown (40050), empty name (40051), long name (45017), too many (45018), long list (40032)."""
    openid = desk.world.create_followers(1)[0]
    create = lambda name: desk.post("/cgi-bin/groups/create", {"group": {"name": name}})  # noqa: E731
    assert (create("")["errcode"], create("字" * 31)["errcode"]) == (40051, 45017)
    assert desk.post("/cgi-bin/groups/update", {"group": {"id": 1, "name": "x"}})["errcode"] == 45016
    assert desk.post("/cgi-bin/groups/delete", {"group": {"id": 55}})["errcode"] == 40050
    body = {"openid": openid, "to_groupid": 55}
    assert desk.post("/cgi-bin/groups/members/update", body)["errcode"] == 40050
    body = {"openid_list": [openid] * 51, "to_groupid": 0}
    assert desk.post("/cgi-bin/groups/members/batchupdate", body)["errcode"] == 40032
    body = {"openid_list": [], "to_groupid": 0}
    assert desk.post("/cgi-bin/groups/members/batchupdate", body)["errcode"] == 40031
    assert all("group" in create("same") for _ in range(100))
    assert create("x")["errcode"] == 45018


def test_blacklist(make_desk):
    """20 openids a call; pages go in by begin_openid and out by next_openid; messages of the listed are not pushed."""
    desk = make_desk(blacklist_page=2)
    openids = desk.world.create_followers(21)
    add = lambda some: desk.post("/cgi-bin/tags/members/batchblacklist", {"openid_list": some})  # noqa: E731
    assert (add(openids)["errcode"], add([])["errcode"], add(["o1"])["errcode"]) == (40032, 40032, 40003)
    assert add(openids[:3])["errcode"] == 0
    first = desk.post("/cgi-bin/tags/members/getblacklist", {"begin_openid": ""})
    assert (first["total"], first["data"]["openid"]) == (3, openids[:2])
    second = desk.post("/cgi-bin/tags/members/getblacklist", {"begin_openid": first["next_openid"]})
    assert (second["data"]["openid"], second["next_openid"]) == (openids[2:3], "")
    desk.world.user_writes(openids[0], "hello")
    assert desk.world.pushes(openids[0]) == []
    desk.post("/cgi-bin/tags/members/batchunblacklist", {"openid_list": openids[:3]})
    assert desk.post("/cgi-bin/tags/members/getblacklist", {})["total"] == 0
