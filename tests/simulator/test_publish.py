"""Drafts, news materials, publications, and the pages readers open."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.test_library import JPEG, MP4, PNG, add, send_form, upload
from wxmp.simulator import Clock, World, WorldError, articles, library

ADD, GET, LIST = "/cgi-bin/draft/add", "/cgi-bin/draft/get", "/cgi-bin/draft/batchget"
SUBMIT, STATUS = "/cgi-bin/freepublish/submit", "/cgi-bin/freepublish/get"


@pytest.fixture
def cover(desk):
    """A permanent picture."""
    return add(desk, "image", JPEG)["media_id"]


@pytest.fixture
def write(desk, cover):
    """Write a draft of so many articles and return its media id, or the errcode."""

    def make(count: int = 1, **fields: Any) -> Any:
        article = {"title": "标题", "author": "作者", "content": "<p>正文</p>", "thumb_media_id": cover} | fields
        answer = desk.post(ADD, {"articles": [article] * count})
        return answer.get("media_id") or answer["errcode"]

    return make


@pytest.fixture
def publish(desk, write):
    """Publish a draft of so many articles; return the publications."""

    def make(count: int = 1, **fields: Any) -> list[library.Published]:
        job = desk.post(SUBMIT, {"media_id": write(count, **fields)})
        desk.world.advance(30)
        return library.find_article(desk.account, desk.account.library.jobs[job["publish_id"]].article_id)

    return make


def page(desk, key: str) -> str:
    reply = desk.send("GET", f"/s/{key}", host="mp")
    return reply.body.decode() if reply.status == 200 else ""


# --- drafts -----------------------------------------------------------------------------------------------------


def test_a_draft_comes_back(desk, write, cover):
    """A draft is read as it was written, with a digest from its text and a preview link."""
    media_id = write(content="<p>你好 <b>世界</b></p>", need_open_comment=1, content_source_url="https://a.example/")
    (item,) = desk.post(GET, {"media_id": media_id})["news_item"]
    assert item["title"] == "标题"
    assert (item["content"], item["digest"]) == ("<p>你好 <b>世界</b></p>", "你好 世界")
    assert (item["thumb_media_id"], item["need_open_comment"], item["only_fans_can_comment"]) == (cover, 1, 0)
    assert "你好" in page(desk, item["url"].rpartition("/")[2])
    assert desk.account.library.reads == []


def test_the_made_up_digest(write, desk):
    """54 characters of the text for a single article; none where there are several."""
    media_id = write(content=f"<p>{'字' * 60}</p>")
    assert desk.post(GET, {"media_id": media_id})["news_item"][0]["digest"] == "字" * 54
    assert desk.post(GET, {"media_id": write(2)})["news_item"][1]["digest"] == ""


@pytest.mark.parametrize(
    ("fields", "errcode"),
    [
        ({"title": ""}, 40035),
        ({"title": "字" * 33}, 45003),
        ({"author": "字" * 17}, 45110),
        ({"digest": "字" * 129}, 45004),
        ({"content": ""}, 44003),
        ({"content": "x" * 20_000}, 45002),
        ({"content_source_url": "javascript:x"}, 41039),
        ({"content_source_url": "https://a.example/" + "x" * 1024}, 45005),
        ({"thumb_media_id": ""}, 40007),
        ({"thumb_media_id": "nope"}, 40007),
        ({"article_type": "poem"}, 40035),
        ({"need_open_comment": 2}, 40035),
        ({"pic_crop_235_1": "0.1_2"}, 40035),
        ({"product_info": {"footer_product_info": {"product_key": "k"}}}, 53406),
        ({"article_type": "newspic"}, 40035),
        ({"article_type": "newspic", "image_info": {"image_list": [{"image_media_id": "x"}]}}, 40007),
        ({"article_type": "newspic", "image_info": {"image_list": [{"image_media_id": "x"}] * 21}}, 40035),
    ],
)
def test_refused_articles(write, fields, errcode):
    """Each rule of an article has its code."""
    assert write(**fields) == errcode


def test_numbers_of_articles(write, desk, cover):
    """One to eight articles in a draft."""
    assert isinstance(write(8), str)
    assert write(9) == 45008
    assert desk.post(ADD, {"articles": []})["errcode"] == 44003
    assert desk.post(ADD, {"articles": {"title": "t"}})["errcode"] == 47001


def test_a_temporary_cover_will_not_do(write, desk):
    """The cover of a draft is permanent material."""
    assert write(thumb_media_id=upload(desk, "image", JPEG)["media_id"]) == 40007


def test_picture_articles(desk, write, cover):
    """A picture article needs no cover, keeps its pictures, and shows them on its page."""
    info = {"image_list": [{"image_media_id": cover}]}
    media_id = write(article_type="newspic", content="纯文字", thumb_media_id="", image_info=info)
    (item,) = desk.post(GET, {"media_id": media_id})["news_item"]
    assert (item["article_type"], item["image_info"]) == ("newspic", info)
    assert f'src="../mmbiz/{cover}"' in page(desk, item["url"].rpartition("/")[2])


def test_escapes_stay_in_the_draft(desk, cover):
    r"""Text sent as \uXXXX escapes ends up in the article literally."""
    raw = json.dumps({"articles": [{"title": "你", "content": "好", "thumb_media_id": cover}]}).encode()
    media_id = desk.send("POST", ADD, {"access_token": desk.token()}, raw).json()["media_id"]
    assert desk.post(GET, {"media_id": media_id})["news_item"][0]["title"] == "\\u4f60"


def test_changing_a_draft(desk, write, cover):
    """One article is replaced; a place that is not there is 40114, an unknown draft 40007."""
    media_id = write(2)
    desk.world.advance(60)
    new = {"title": "新", "content": "新的", "thumb_media_id": cover}
    change = lambda **body: desk.post(  # noqa: E731
        "/cgi-bin/draft/update", {"media_id": media_id, "index": 1, "articles": new} | body
    )["errcode"]
    assert change() == 0
    answer = desk.post(GET, {"media_id": media_id})
    assert [item["title"] for item in answer["news_item"]] == ["标题", "新"]
    assert answer["update_time"] - answer["create_time"] == 60
    assert [change(index=2), change(index=-1), change(index=None)] == [40114] * 3
    assert change(media_id="nope") == 40007
    assert change(articles=[new]) == 47001


def test_listing_and_deleting_drafts(desk, write):
    """Count, pages newest first with and without content, delete once."""
    ids = [write() for _ in range(3)]
    assert desk.get("/cgi-bin/draft/count") == {"total_count": 3}
    answer = desk.post(LIST, {"offset": 1, "count": 20, "no_content": 1})
    assert (answer["total_count"], answer["item_count"]) == (3, 2)
    assert [item["media_id"] for item in answer["item"]] == [ids[1], ids[0]]
    assert "content" not in answer["item"][0]["content"]["news_item"][0]
    assert desk.post(LIST, {"offset": 0, "count": 1})["item"][0]["content"]["news_item"][0]["content"] == "<p>正文</p>"
    assert desk.post(LIST, {"offset": 0, "count": 21})["errcode"] == 40097
    delete = lambda: desk.post("/cgi-bin/draft/delete", {"media_id": ids[0]})["errcode"]  # noqa: E731
    assert [delete(), delete()] == [0, 40007]


def test_the_draft_box_is_on(desk):
    """The switch takes a call without a body and says on."""
    for query in ({}, {"checkonly": "1"}):
        reply = desk.send("POST", "/cgi-bin/draft/switch", {"access_token": desk.token()} | query)
        assert reply.json()["is_open"] == 1


def test_news_materials(desk, cover, make_desk):
    """The old way: add, change, read, list, count, delete; closed where the policy says so."""
    article = {"title": "t", "content": "<p>x</p>", "thumb_media_id": cover, "show_cover_pic": 1}
    media_id = desk.post("/cgi-bin/material/add_news", {"articles": [article]})["media_id"]
    body = {"media_id": media_id, "index": 0, "articles": article | {"title": "u"}}
    assert desk.post("/cgi-bin/material/update_news", body)["errcode"] == 0
    assert desk.post("/cgi-bin/material/update_news", body | {"index": 1})["errcode"] == 40114
    (item,) = desk.post("/cgi-bin/material/get_material", {"media_id": media_id})["news_item"]
    assert (item["title"], item["show_cover_pic"]) == ("u", 1)
    listed = desk.post("/cgi-bin/material/batchget_material", {"type": "news", "offset": 0, "count": 1})
    assert listed["item"][0]["content"]["news_item"][0]["title"] == "u"
    assert desk.get("/cgi-bin/material/get_materialcount")["news_count"] == 1
    assert desk.post("/cgi-bin/material/del_material", {"media_id": media_id})["errcode"] == 0
    assert desk.post("/cgi-bin/material/update_news", body)["errcode"] == 40007
    assert (
        make_desk(old_news_open=False).post("/cgi-bin/material/add_news", {"articles": [article]})["errcode"] == 48001
    )


# --- publishing -------------------------------------------------------------------------------------------------


def test_publishing_is_reported_later(desk, write):
    """A task runs (1), ends (0), is pushed with its links, and takes the draft away."""
    media_id = write(2)
    job = desk.post(SUBMIT, {"media_id": media_id})
    assert isinstance(job["publish_id"], str)
    assert desk.post(STATUS, {"publish_id": job["publish_id"]})["publish_status"] == 1
    assert desk.world.pushes() == []
    desk.world.advance(30)
    status = desk.post(STATUS, {"publish_id": job["publish_id"]})
    assert (status["publish_status"], status["fail_idx"], status["article_detail"]["count"]) == (0, [], 2)
    assert [item["idx"] for item in status["article_detail"]["item"]] == [1, 2]
    (push,) = desk.world.pushes()
    assert push.fields["Event"] == "PUBLISHJOBFINISH"
    assert push.fields["PublishEventInfo"] == {
        "publish_id": int(job["publish_id"]),
        "publish_status": 0,
        "article_id": status["article_id"],
        "article_detail": status["article_detail"],
    }
    assert push.openid not in desk.account.users
    assert desk.post(GET, {"media_id": media_id})["errcode"] == 40007
    assert "正文" in page(desk, status["article_detail"]["item"][0]["article_url"].rpartition("/")[2])


def test_refused_publications(desk, write):
    """A decided outcome is pushed with the refused articles, and the draft stays."""
    media_id = write(2)
    library.decide_publication(desk.account, 2, [2])
    job = desk.post(SUBMIT, {"media_id": media_id})
    desk.world.advance(30)
    info = desk.world.pushes()[-1].fields["PublishEventInfo"]
    assert info == {"publish_id": int(job["publish_id"]), "publish_status": 2, "fail_idx": [2]}
    assert desk.post(STATUS, {"publish_id": int(job["publish_id"])})["fail_idx"] == [2]
    assert desk.post(GET, {"media_id": media_id})["news_item"]
    with pytest.raises(WorldError, match="can end"):
        library.decide_publication(desk.account, 5)


def test_a_second_task_for_one_draft_fails(desk, write):
    """Of two tasks for the same draft one succeeds; the other ends in state 3."""
    media_id = write()
    jobs = [desk.post(SUBMIT, {"media_id": media_id})["publish_id"] for _ in range(2)]
    desk.world.advance(30)
    assert sorted(desk.post(STATUS, {"publish_id": job})["publish_status"] for job in jobs) == [0, 3]


def test_unknown_things(desk):
    """Unknown draft 40007, task 40002, publication 53600."""
    assert desk.post(SUBMIT, {"media_id": "x"})["errcode"] == 40007
    assert desk.post(STATUS, {"publish_id": "x"})["errcode"] == 40002
    assert desk.post("/cgi-bin/freepublish/getarticle", {"article_id": "x"})["errcode"] == 53600
    assert desk.post("/cgi-bin/freepublish/delete", {"article_id": "x"})["errcode"] == 53600


def test_who_may_publish(desk, write):
    """An unverified subscription account is 48001, any service account may."""
    media_id = write()
    desk.account.verified, desk.account.kind = False, "subscription"
    assert desk.post(SUBMIT, {"media_id": media_id})["errcode"] == 48001
    desk.account.kind = "service"
    assert desk.post(SUBMIT, {"media_id": media_id})["errcode"] == 0


def test_deleting_publications(desk, publish):
    """One article or all; the list says deleted, the page is gone, and the task's state becomes 5."""
    first, second = publish(2)
    delete = lambda **body: desk.post("/cgi-bin/freepublish/delete", {"article_id": first.article_id} | body)["errcode"]  # noqa: E731
    assert delete(index=3) == 53600
    assert delete(index=2) == 0
    items = desk.post("/cgi-bin/freepublish/getarticle", {"article_id": first.article_id})["news_item"]
    assert [item["is_deleted"] for item in items] == [False, True]
    assert (bool(page(desk, first.key)), bool(page(desk, second.key))) == (True, False)
    assert delete() == 0
    (job,) = desk.account.library.jobs.values()
    assert desk.post(STATUS, {"publish_id": job.publish_id})["publish_status"] == 5
    assert desk.send("GET", f"/s/{first.key}", host="mp").status == 404


def test_banned_publications(desk, publish):
    """What the platform takes away is gone, and the task's state becomes 6."""
    (one,) = publish()
    library.ban(desk.account, one.article_id)
    (job,) = desk.account.library.jobs.values()
    assert desk.post(STATUS, {"publish_id": job.publish_id})["publish_status"] == 6
    assert page(desk, one.key) == ""
    with pytest.raises(WorldError, match="no such article"):
        library.ban(desk.account, "x")


def test_listing_publications(desk, publish, make_desk):
    """Pages of publications, newest first, articles in order; mass sends only where the policy says so."""
    older, newer = publish(2), publish()
    world = desk.world
    library.publish_articles(world, desk.account, [newer[0].article], world.now(), msg_data_id=9)
    answer = desk.post("/cgi-bin/freepublish/batchget", {"offset": 0, "count": 20, "no_content": 1})
    assert (answer["total_count"], answer["item_count"]) == (2, 2)
    assert [item["article_id"] for item in answer["item"]] == [newer[0].article_id, older[0].article_id]
    assert len(answer["item"][1]["content"]["news_item"]) == 2
    assert "content" not in answer["item"][1]["content"]["news_item"][0]
    world.policy = attrs.evolve(world.policy, publish_lists_mass=True)
    assert desk.post("/cgi-bin/freepublish/batchget", {"offset": 0, "count": 20})["total_count"] == 3


def test_mass_sends_offer_articles(desk, write):
    """What a mass send publishes has pages, its own id for comments, and comments where the article asks for them."""
    draft = library.find_draft(desk.account, write(2, need_open_comment=1), desk.world.now())
    out = library.publish_articles(desk.world, desk.account, draft.articles, desk.world.now(), msg_data_id=77)
    assert [(p.msg_data_id, p.index, p.mass, p.comments_open) for p in out] == [
        (77, 0, True, True),
        (77, 1, True, True),
    ]
    assert library.find_published(desk.account, 77, 1) is out[1]
    assert "正文" in page(desk, out[1].key)
    assert library.find_draft(desk.account, "x", desk.world.now()) is None


def test_publishing_is_repeatable():
    """Equal seeds give equal ids and links."""

    def run() -> str:
        world = World(clock=Clock.frozen(), seed=5)
        article = library.Article("t", "x")
        out = library.publish_articles(world, world.account, [article], world.now(), msg_data_id=1)
        return library.article_url(world, out[0].key)

    assert run() == run()


def test_publications_survive_a_snapshot(desk, publish):
    """Publications, running tasks and comments survive a snapshot, and a running task ends in the restored world."""
    (one,) = publish(need_open_comment=1)
    desk.world.phone(desk.world.create_followers(1)[0]).comment(one.key, "好")
    draft = desk.post(ADD, {"articles": [{"title": "t", "content": "x", "thumb_media_id": one.article.thumb_media_id}]})
    job = desk.post(SUBMIT, {"media_id": draft["media_id"]})
    other = World(clock=Clock.frozen(), seed=99)
    other.restore(json.loads(json.dumps(desk.world.snapshot())))
    assert other.account.library == desk.account.library
    other.advance(30)
    assert other.account.library.jobs[job["publish_id"]].status == 0


def test_menu_buttons_show_what_they_lead_to(desk, publish, cover):
    """A tap on a media_id or article_id button puts the material into the chat."""
    (one,) = publish()
    video = json.dumps({"title": "片", "introduction": "简"})
    film = send_form(desk, "/cgi-bin/material/add_material", MP4, "a.mp4", query={"type": "video"}, description=video)[
        "media_id"
    ]
    article = {"title": "旧", "content": "<p>x</p>", "thumb_media_id": cover}
    news = desk.post("/cgi-bin/material/add_news", {"articles": [article]})["media_id"]
    buttons = [
        *({"type": "media_id", "name": name, "media_id": m} for name, m in (("i", cover), ("v", film), ("n", news))),
        {"type": "article_id", "name": "a", "article_id": one.article_id},
    ]
    assert desk.post("/cgi-bin/menu/create", {"button": [{"name": "m", "sub_button": buttons}]})["errcode"] == 0
    phone = desk.world.phone(desk.world.create_followers(1)[0])
    for name in "ivna":
        phone.tap(name)
    lines = [line for line in phone.chat if line.direction == "to_user"]
    assert [line.kind for line in lines] == ["image", "video", "news", "news"]
    assert lines[0].payload == {"MsgType": "image", "Image": {"MediaId": cover}}
    assert lines[1].payload["Video"] == {"MediaId": film, "Title": "片", "Description": "简"}
    assert [line.payload["Articles"]["item"][0]["Title"] for line in lines[2:]] == ["旧", "标题"]
    desk.post("/cgi-bin/freepublish/delete", {"article_id": one.article_id})
    phone.tap("a")
    assert phone.chat[-1].direction == "from_user"


# --- readers ----------------------------------------------------------------------------------------------------


def test_reading_counts(desk, publish):
    """A reader finds an article by link, key or article id; each read is remembered with its time and reader."""
    (one,) = publish()
    phone = desk.world.phone(desk.world.create_followers(1)[0])
    url = library.article_url(desk.world, one.key)
    start = desk.world.now()
    assert [phone.read(name).title for name in (url, one.key, one.article_id)] == ["标题"] * 3
    desk.world.advance(86_400)
    assert "阅读 4" in page(desk, one.key)
    own = desk.account
    assert [read.openid for read in library.reads_between(own, start, start + 86_400)] == [phone.openid] * 3
    assert [(r.key, r.openid) for r in library.reads_between(own, start + 86_400, start + 172_800)] == [(one.key, "")]
    for name in ("nope", "http://[/s/x", one.article.key + "x"):
        with pytest.raises(WorldError):
            phone.read(name)


def test_deleted_articles_cannot_be_read(desk, publish):
    """A reader of a deleted article gets a notice instead."""
    (one,) = publish()
    desk.post("/cgi-bin/freepublish/delete", {"article_id": one.article_id})
    with pytest.raises(WorldError, match="taken away"):
        desk.world.phone(desk.world.create_followers(1)[0]).read(one.key)


def test_a_page_escapes_everything(desk, publish):
    """Title, author, digest and source link are text; scripts, handlers and odd links of the body are gone."""
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    (one,) = publish(
        title='<b>"t</b>',
        author="<i>a</i>",
        digest='"><script>',
        content=f'<p onclick="x()" style="position:fixed">hi</p>{evil}<a href=" java\nscript:x">l</a>'
        '<a href="https://a.example/?a&amp;b">ok</a><iframe src="https://a.example/"></iframe>'
        '<svg><script>1</script></svg><style>p{}</style><form action="/x">f</form>',
        content_source_url='https://a.example/"><script>',
    )
    text = page(desk, one.key)
    body = text.partition("<body>")[2]
    assert "&lt;b&gt;&quot;t&lt;/b&gt;" in text
    for bad in ("<script", "onerror", "onclick", "javascript", "java\n", "<iframe", "<svg", "<form", "<b>", "<i>"):
        assert bad not in text.lower()
    assert "<style" not in body
    assert "position" not in body
    assert "<p>hi</p>" in body
    assert '<a href="https://a.example/?a&amp;b">ok</a>' in body
    headers = dict(desk.send("GET", f"/s/{one.key}", host="mp").headers)
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_foreign_pictures_are_stripped(desk, publish, make_desk):
    """Pictures of other hosts are taken out of the content; the account's own stay and are shown."""
    url = send_form(desk, "/cgi-bin/media/uploadimg", PNG, "a.png")["url"]
    content = f'<p>a<img src="https://evil.example/x.png">b<img data-src="{url}"></p>'
    (one,) = publish(content=content)
    kept = one.article.content
    assert "evil.example" not in kept
    assert f'<img data-src="{url.replace("&", "&amp;")}">' in kept
    shown = page(desk, one.key)
    key = url.split("/")[4]
    assert f'<img src="../mmbiz/{key}">' in shown
    assert desk.send("GET", f"/mmbiz/{key}", host="mp").body == PNG
    assert "evil" in articles.kept_html(content, foreign_pictures=True)


@pytest.mark.parametrize(
    ("html", "kept"),
    [
        ("a & b", "a & b"),
        ("<p>1 < 2&nbsp;&amp; 3</p>", "<p>1 < 2&nbsp;&amp; 3</p>"),
        ("<embed><p>1 < 2 &amp; 3</p>", "<p>1 &lt; 2 &amp; 3</p>"),
        ("<p>&lt;script&gt;</p>", "<p>&lt;script&gt;</p>"),
        ("<embed><p>a<br/>b", "<p>a<br>b</p>"),
        ("<embed></p>x<p>", "x<p></p>"),
        ("</p>x<p>", "</p>x<p>"),
        ("<script>a</scr</script>b<p>c</p>", "b<p>c</p>"),
        ('<p style="color:red" class="k">x</p>', '<p style="color:red" class="k">x</p>'),
        ("<embed src='https://a.example/x'>text", "text"),
        ("<a href='JaVaScRiPt:x'>l</a>", "<a>l</a>"),
        ("<a href='data:text/html,x'>l</a>", "<a>l</a>"),
        ("<embed><!-- c --><p>x</p><?php x ?>", "<p>x</p>"),
        ("<embed><p><b>x</p>y", "<p><b>x</b></p>y"),
    ],
)
def test_what_is_kept_of_html(html, kept):
    """Scripts and what can do harm goes; text, styles and order stay."""
    assert articles.kept_html(html, foreign_pictures=False) == kept


TAGS = "|".join(sorted(articles.SHOWN_TAGS))
HARMLESS = re.compile(rf'</?({TAGS})( href="https?://[^"<>]*"| src="../mmbiz/[A-Za-z0-9_-]+"| alt="[^"<>]*")*>')
PIECES = [
    "<",
    ">",
    "<![",
    "<!",
    "<!--",
    "-->",
    "<?",
    "</",
    "<p>",
    "<script>",
    "</script>",
    "<img src=",
    "'",
    '"',
    "&",
    "=",
    "]]>",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12))
@settings(max_examples=300, deadline=None, database=None)
def test_any_content_makes_a_harmless_page(pieces):
    """Whatever the content is, the page is made, and no tag in it is one that could do harm."""
    html = "".join(pieces)
    articles.plain_text(html)
    for text in (articles.shown_html(html), articles.shown_html(articles.kept_html(html, foreign_pictures=False))):
        assert HARMLESS.sub("", text).count("<") == 0


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://mmbiz.qpic.cn/mmbiz_jpg/abc/0?wx_fmt=jpeg", "abc"),
        ("http://127.0.0.1:80/mp/mmbiz/abc", "abc"),
        ("../mmbiz/abc", ""),
        ("/mmbiz/abc", "abc"),
        ("https://evil.example/mmbiz/abc", ""),
        ("https://mmbiz.qpic.cn.evil.example/mmbiz/abc", ""),
        ("http://[", ""),
        ("http://mmbiz.qpic.cn/mmbiz/../x", ""),
    ],
)
def test_own_pictures_are_told_by_their_host(url, key):
    """Only links of the platform's own hosts count as its pictures."""
    assert articles.own_picture(url) == key


def test_a_simulator_elsewhere_knows_its_own_pictures(desk, cover):
    """Behind another name than loopback the simulator's own links are not foreign."""
    desk.world.base_url = "http://sim.example:8080"
    url = send_form(desk, "/cgi-bin/media/uploadimg", PNG, "a.png")["url"]
    content = f'<p><img src="{url}"><img src="http://sim.example:80800/mp/mmbiz/x"></p>'
    body = {"articles": [{"title": "t", "content": content, "thumb_media_id": cover}]}
    media_id = desk.post(ADD, body)["media_id"]
    (item,) = desk.post(GET, {"media_id": media_id})["news_item"]
    assert item["content"] == f'<p><img src="{url}"></p>'
    assert f'<img src="../mmbiz/{url.rpartition("/")[2]}">' in page(desk, item["url"].rpartition("/")[2])


def test_pages_over_http(world, http, simulator):
    """The link of a publication opens in a browser, pictures included."""
    media = library.store_media(world, world.account, "image", "a.jpg", JPEG, world.now(), permanent=True)
    src = library.media_url(world, media.media_id, "jpg")
    article = library.Article("标题", f'<p><img src="{src}"></p>', author="作者")
    (one,) = library.publish_articles(world, world.account, [article], world.now(), msg_data_id=1)
    url = library.article_url(world, one.key)
    assert url.startswith(simulator.url)
    shown = http.get(url)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "标题" in shown.text
    assert http.get(f"/mp/s/../mmbiz/{media.media_id}").content == JPEG
    assert http.get("/mp/s/nope").status_code == 404
