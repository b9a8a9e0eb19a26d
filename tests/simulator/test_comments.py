"""Comments under articles: who may write, and what the account does with them."""

from __future__ import annotations

import pytest

from wxmp.simulator import WorldError, library

BASE = "/cgi-bin/comment/"


@pytest.fixture
def article(world):
    """An article with open comments, sent to followers."""
    made = library.Article("标题", "正文", need_open_comment=1)
    return library.publish_articles(world, world.account, [made], world.now(), msg_data_id=55)[0]


@pytest.fixture
def phone(world):
    """A follower's phone."""
    return world.phone(world.create_followers(1)[0])


@pytest.fixture
def ask(desk):
    """Call an endpoint about the article."""

    def call(what: str, **body):
        return desk.post(BASE + what, {"msg_data_id": 55} | body)

    return call


def listed(ask, **body):
    return ask("list", **({"begin": 0, "count": 49, "type": 0} | body))


def test_a_comment_is_listed(ask, article, phone, world):
    """A comment has an id, a time, its author and its text."""
    world.advance(60)
    number = phone.comment(article.key, "写得好")
    answer = listed(ask, index=0)
    assert (answer["errcode"], answer["total"]) == (0, 1)
    assert answer["comment"] == [
        {
            "user_comment_id": number,
            "openid": phone.openid,
            "create_time": int(world.now()),
            "content": "写得好",
            "comment_type": 0,
        }
    ]


def test_opening_and_closing(ask, article, phone):
    """Closed comments take nothing new and stay listed; opening again takes more."""
    phone.comment(article.key, "1")
    assert ask("close")["errcode"] == 0
    with pytest.raises(WorldError, match="closed"):
        phone.comment(article.key, "2")
    assert listed(ask)["total"] == 1
    assert ask("open", index=0)["errcode"] == 0
    phone.comment(article.key, "2")
    assert listed(ask)["total"] == 2


def test_comments_are_closed_unless_asked_for(world, phone):
    """An article that does not ask for comments has none, until they are opened."""
    made = library.Article("t", "x")
    (one,) = library.publish_articles(world, world.account, [made], world.now(), msg_data_id=1)
    with pytest.raises(WorldError, match="closed"):
        phone.comment(one.key, "x")


def test_only_followers_where_the_article_says_so(world, phone):
    """A stranger may comment on an open article, but not on one for followers."""
    stranger = world.phone()
    for only, refused in ((0, False), (1, True)):
        made = library.Article("t", "x", need_open_comment=1, only_fans_can_comment=only)
        (one,) = library.publish_articles(world, world.account, [made], world.now(), msg_data_id=only)
        phone.comment(one.key, "x")
        if refused:
            with pytest.raises(WorldError, match="followers"):
                stranger.comment(one.key, "x")
        else:
            stranger.comment(one.key, "x")


@pytest.mark.parametrize("text", ["", "  ", "字" * 601])
def test_lengths_of_comments(article, phone, text):
    """A comment has 1 to 600 characters."""
    with pytest.raises(WorldError, match="characters"):
        phone.comment(article.key, text)


def test_unknown_articles(ask, article, desk):
    """An unknown msg_data_id or index, and a deleted article, are 88001 on every endpoint."""
    for what in ("open", "close", "list", "markelect", "unmarkelect", "delete", "reply/add", "reply/delete"):
        assert ask(what, msg_data_id=56)["errcode"] == 88001
        assert ask(what, index=1)["errcode"] == 88001
    article.deleted = True
    assert ask("open")["errcode"] == 88001


def test_ids_may_be_texts(ask, article):
    """The id may come as a text: the answer of freepublish/submit is one."""
    assert ask("open", msg_data_id="55")["errcode"] == 0


def test_accounts_without_the_feature(ask, article, desk):
    """Without the comment feature all is 88000; unverified accounts are 48001."""
    desk.account.library.comments_allowed = False
    assert ask("open")["errcode"] == 88000
    desk.account.verified = False
    assert ask("open")["errcode"] == 48001


def test_a_restricted_article_cannot_be_opened(ask, article):
    """Comments of an article the platform took away cannot be opened (88002)."""
    article.banned = True
    assert ask("open")["errcode"] == 88002


def test_unknown_comments(ask, article):
    """An unknown comment is 88008 on every endpoint."""
    for what in ("markelect", "unmarkelect", "delete", "reply/add", "reply/delete"):
        assert ask(what, user_comment_id=9, content="x")["errcode"] == 88008


def test_featuring(ask, article, phone, make_desk):
    """Featured comments are listed apart; more than the policy allows are 88003."""
    first, second = phone.comment(article.key, "1"), phone.comment(article.key, "2")
    assert ask("markelect", user_comment_id=first)["errcode"] == 0
    assert [c["content"] for c in listed(ask, type=2)["comment"]] == ["1"]
    assert [c["content"] for c in listed(ask, type=1)["comment"]] == ["2"]
    assert listed(ask, type=2)["comment"][0]["comment_type"] == 1
    assert ask("unmarkelect", user_comment_id=first)["errcode"] == 0
    assert listed(ask, type=2)["total"] == 0
    for comment in article.comments:
        comment.featured = True
    article.comments += [library.Comment(n, "o", "n", "c", 0.0, featured=True) for n in range(100, 198)]
    third = phone.comment(article.key, "3")
    assert ask("markelect", user_comment_id=third)["errcode"] == 88003
    assert ask("markelect", user_comment_id=second)["errcode"] == 0


def test_a_comment_its_author_deleted(ask, article, phone, world):
    """It is listed no more and cannot be featured (88004); nobody deletes another one's."""
    number = phone.comment(article.key, "1")
    with pytest.raises(WorldError, match="no such comment"):
        world.phone(world.create_followers(1)[0]).withdraw_comment(article.key, number)
    phone.withdraw_comment(article.key, number)
    assert ask("markelect", user_comment_id=number)["errcode"] == 88004
    assert listed(ask)["total"] == 0


def test_replies(ask, article, phone, world):
    """One reply per comment (88005), of 1 to 600 characters (88007); deleted once (88009)."""
    number = phone.comment(article.key, "1")
    reply = lambda text: ask("reply/add", user_comment_id=number, content=text)["errcode"]  # noqa: E731
    delete = lambda: ask("reply/delete", user_comment_id=number)["errcode"]  # noqa: E731
    assert [delete(), reply(""), reply("字" * 601), reply("谢谢"), reply("again")] == [88009, 88007, 88007, 0, 88005]
    assert listed(ask)["comment"][0]["reply"] == {"content": "谢谢", "create_time": int(world.now())}
    assert [delete(), delete(), reply("again")] == [0, 88009, 0]


def test_deleting_comments(ask, article, phone):
    """A deleted comment is gone: a repeat is 88008."""
    number = phone.comment(article.key, "1")
    delete = lambda: ask("delete", user_comment_id=number)["errcode"]  # noqa: E731
    assert [delete(), delete()] == [0, 88008]


def test_pages_of_comments(ask, article, phone):
    """Pages of 1 to 49 from any place; anything else is 88010, a strange type 40097."""
    for n in range(5):
        phone.comment(article.key, str(n))
    answer = listed(ask, begin=3, count=49)
    assert (answer["total"], [c["content"] for c in answer["comment"]]) == (5, ["3", "4"])
    assert [listed(ask, count=n)["errcode"] for n in (0, 49, 50)] == [88010, 0, 88010]
    assert listed(ask, begin=-1)["errcode"] == 88010
    assert listed(ask, type=3)["errcode"] == 40097


def test_readers_see_featured_comments(ask, article, phone, desk, make_desk):
    """The page shows featured comments with the reply, escaped; the others are the account's to read."""
    shown = phone.comment(article.key, "<b>好</b>")
    phone.comment(article.key, "hidden")
    ask("markelect", user_comment_id=shown)
    ask("reply/add", user_comment_id=shown, content="<i>谢</i>")
    text = desk.send("GET", f"/s/{article.key}", host="mp").body.decode()
    assert "&lt;b&gt;好&lt;/b&gt;" in text
    assert "&lt;i&gt;谢&lt;/i&gt;" in text
    assert "hidden" not in text


def test_comments_are_bounded(world, phone, make_desk):
    """The simulator keeps so many comments on one article and no more."""
    desk = make_desk(comments_kept=1)
    made = library.Article("t", "x", need_open_comment=1)
    (one,) = library.publish_articles(desk.world, desk.account, [made], desk.world.now(), msg_data_id=1)
    other = desk.world.phone(desk.world.create_followers(1)[0])
    other.comment(one.key, "1")
    with pytest.raises(WorldError, match="no more"):
        other.comment(one.key, "2")
