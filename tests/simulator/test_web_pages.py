"""What pages inside the phone meet: the signature of wx.config, the subscription popup, and no consent page."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import pytest

if TYPE_CHECKING:
    import httpx

    from tests.simulator.conftest import Desk
    from wxmp.simulator import World

URL = "http://127.0.0.1:8000/shop/?item=%E8%8C%B6"


def signed(ticket: str, noncestr: str = "n1", timestamp: str = "1700000000", url: str = URL) -> str:
    """Return the signature a service makes."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def judge(http: httpx.Client, desk: Desk):
    """Let the phone judge a signature."""

    def call(signature: str, status: int = 200, **changes: str) -> Any:
        body = {"appid": desk.account.appid, "timestamp": "1700000000", "noncestr": "n1", "url": URL}
        answer = http.post("/_sim/jssdk", json=body | {"signature": signature} | changes)
        assert answer.status_code == status, answer.text
        return answer.json()

    return call


@pytest.fixture
def ticket(desk: Desk) -> str:
    """The living ticket of the account."""
    return desk.get("/cgi-bin/ticket/getticket", type="jsapi")["ticket"]


def test_right_signature_passes(judge: Any, ticket: str):
    """A signature over the living ticket and the page's address is right, wherever the page has scrolled to."""
    assert judge(signed(ticket)) == {"ok": True, "error": "config:ok", "why": ""}
    assert judge(signed(ticket), url=f"{URL}#/pay")["ok"] is True


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": f"{URL}#/pay"}, "from # on"),
        ({"url": "http://127.0.0.1:8000/shop/"}, "lacks the query"),
        ({"url": "http://127.0.0.1:8000/shop/?item=茶"}, "decoded"),
        ({"noncestr": "1700000000", "timestamp": "n1"}, "swapped"),
        ({"url": "http://127.0.0.1:8000/other"}, "another url"),
        ({"ticket": "old"}, "an old jsapi_ticket"),
    ],
)
def test_wrong_signature_is_explained(judge: Any, ticket: str, changes: dict[str, str], told: str):
    """The usual mistakes are named; neither the ticket nor the right signature is given away."""
    judged = judge(signed(**{"ticket": ticket} | changes), url=f"{URL}#/pay")
    assert (judged["ok"], judged["error"]) == (False, "config:fail, invalid signature")
    assert told in judged["why"]
    assert ticket not in str(judged)
    assert signed(ticket) not in str(judged)


def test_ticket_must_be_there_and_living(judge: Any, desk: Desk, world: World):
    """Without a ticket, with one over its life, and for an unknown account the page is refused."""
    assert "no jsapi_ticket" in judge(signed(""))["why"]
    ticket = desk.get("/cgi-bin/ticket/getticket", type="jsapi")["ticket"]
    card = desk.get("/cgi-bin/ticket/getticket", type="wx_card")["ticket"]
    assert "for cards" in judge(signed(card))["why"]
    assert judge(signed(ticket), appid="wx0")["error"] == "config:fail, invalid appid"
    world.advance(world.policy.ticket_life)
    assert "over its life" in judge(signed(ticket))["why"]
    assert "missing" in judge("", status=400)["error"]


def test_popup_shows_what_is_allowed(http: httpx.Client, desk: Desk, world: World):
    """The templates of an account come with what the person at the phone allows of each."""
    (openid,) = world.create_followers(1)
    added = desk.post("/wxaapi/newtmpl/addtemplate", {"tid": "1221", "kidList": [2, 3], "sceneDesc": "x"})
    query = {"openid": openid}
    before = http.get("/_sim/subscriptions", params=query).json()
    assert before["most"] == world.policy.subscribe_popup_templates
    assert [(t["template_id"], t["left"], t["refused"]) for t in before["templates"]] == [
        (added["priTmplId"], 0, False)
    ]
    world.phone(openid).answer_popup({added["priTmplId"]: "accept"})
    assert http.get("/_sim/subscriptions", params=query).json()["templates"][0]["left"] == 1
    assert http.get("/_sim/subscriptions", params={"openid": "nobody"}).status_code == 400


@pytest.mark.parametrize(
    ("cookie", "status"), [("", 200), ("sim_entry=", 200), ("sim_entry=scan", 200), ("sim_entry=chat", 302)]
)
def test_follower_from_the_chat_sees_no_consent_page(desk: Desk, world: World, cookie: str, status: int):
    """The phone's cookie tells that a follower came from the chat or the menu: they are not asked."""
    (openid,) = world.create_followers(1)
    query = {
        "appid": desk.account.appid,
        "redirect_uri": "http://localhost:1/back",
        "response_type": "code",
        "scope": "snsapi_userinfo",
    }
    headers = {"accept": "text/html", "cookie": f"sim_user={openid}; {cookie}"}
    assert desk.send("GET", "/connect/oauth2/authorize", query, headers=headers).status == status
    world.policy = attrs.evolve(world.policy, oauth_silent_for_followers=False)
    assert desk.send("GET", "/connect/oauth2/authorize", query, headers=headers).status == 200
    world.policy = attrs.evolve(world.policy, oauth_silent_for_followers=True)
    world.phone(openid).unfollow()
    assert desk.send("GET", "/connect/oauth2/authorize", query, headers=headers).status == 200
