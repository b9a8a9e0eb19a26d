"""Publishing drafts (发布能力), and the pages of articles."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from wxmp.simulator import articles, library, people
from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.families.material import ordered, page, show_article
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.library import Published, PublishJob
    from wxmp.simulator.state import Account, Event
    from wxmp.simulator.world import World

__all__ = ["EVENTS", "ROUTES"]

DONE, RUNNING, FAILED, ALL_DELETED, ALL_BANNED = 0, 1, 3, 5, 6


def publisher(call: Call) -> Account:
    """Return the account: any service account, and a subscription account that is verified (48001)."""
    account = call.owner
    if account.kind == "subscription" and not account.verified and not account.test:
        raise Refusal(48001, "an unverified subscription account may not publish")
    return account


def submit(call: Call) -> JsonObject:
    """Publish a draft: the task is done, and reported, later."""
    account, world = publisher(call), call.world
    media_id, own = call.text("media_id"), account.library
    if media_id not in own.drafts:
        raise Refusal(40007, "the account has no such draft")
    own.publish_serial += 1
    own.data_serial += 1 + world.state.dice.digest("msg data id")[0]
    job = library.PublishJob(str(own.publish_serial), media_id, own.data_serial, call.now)
    own.jobs[job.publish_id] = job
    low, high = world.policy.publish_delay
    delay = world.state.dice.between("publish delay", low, high)
    world.schedule(delay, "publish_finish", account, {"publish_id": job.publish_id})
    call.why += f"; publishing task {job.publish_id}, the report is due in {delay:.2f} s"
    return {**OK(), "publish_id": job.publish_id, "msg_data_id": str(job.msg_data_id)}


def finish(world: World, account: Account, event: Event) -> None:
    """End a publishing task and report it (PUBLISHJOBFINISH)."""
    own = account.library
    job = own.jobs[str(event.fields["publish_id"])]
    fate = own.fates.pop(0) if own.fates else library.Fate(DONE)
    draft = own.drafts.get(job.media_id)
    # A draft that was deleted, or published by another task in the meantime, cannot be published any more.
    job.status = fate.status if draft is not None else FAILED
    job.fail_idx = list(fate.fail_idx) if draft is not None else []
    if draft is not None and job.status == DONE:
        out = library.publish_articles(
            world, account, draft.articles, event.due, msg_data_id=job.msg_data_id, mass=False
        )
        job.article_id = out[0].article_id
        del own.drafts[job.media_id]
    info: JsonObject = {"publish_id": int(job.publish_id), **outcome(world, account, job)}
    if not info["fail_idx"]:
        del info["fail_idx"]
    fields: JsonObject = {"MsgType": "event", "Event": "PUBLISHJOBFINISH", "PublishEventInfo": info}
    sender = people.openid_for(world, account.appid, people.PLATFORM)
    people.tell(world, account, sender, "event", fields, event.due)


def outcome(world: World, account: Account, job: PublishJob) -> JsonObject:
    """Return what became of a task: of what was taken away since then, too."""
    found = library.find_article(account, job.article_id) if job.article_id else []
    status = job.status
    if found and all(p.deleted or p.banned for p in found):
        status = ALL_BANNED if any(p.banned for p in found) else ALL_DELETED
    shown: JsonObject = {"publish_status": status}
    if status == DONE and found:
        shown["article_id"] = job.article_id
        items = [{"idx": p.index + 1, "article_url": library.article_url(world, p.key)} for p in found]
        shown["article_detail"] = {"count": len(items), "item": items}
    shown["fail_idx"] = list(job.fail_idx)
    return shown


def get_status(call: Call) -> JsonObject:
    """Read the state of a publishing task."""
    account = publisher(call)
    given = call.body.get("publish_id")
    job = account.library.jobs.get(str(given) if isinstance(given, str | int) else "")
    if job is None:
        raise Refusal(call.world.policy.publish_id_errcode, "the account has no such publishing task")
    return {"publish_id": job.publish_id, **outcome(call.world, account, job)}


def find(call: Call) -> list[Published]:
    """Return the articles of the request's ``article_id``, or 53600."""
    found = library.find_article(publisher(call), call.text("article_id"))
    if not found:
        raise Refusal(53600, "the account has no such publication")
    return found


def delete(call: Call) -> JsonObject:
    """Delete a publication, or one of its articles; positions stay."""
    found, given = find(call), call.body.get("index")
    index = 0 if given in (None, "") else call.number("index")
    if index is None or not 0 <= index <= len(found):
        raise Refusal(53600, f"index is {given!r}, there are {len(found)} articles")
    for published in found:
        if index in {0, published.index + 1}:
            published.deleted = True
    return OK()


def show(world: World, found: list[Published], *, content: bool) -> JsonObject:
    """Return a publication in the platform's shape."""
    items: list[JsonObject] = []
    for published in found:
        shown = show_article(world, published.article, content=content)
        items.append({**shown, "is_deleted": published.deleted or published.banned})
    at = int(found[0].at)
    return {"news_item": items, "create_time": at, "update_time": at}


def get_article(call: Call) -> JsonObject:
    """Read a publication."""
    found = find(call)
    return {"news_item": show(call.world, found, content=call.number("no_content") != 1)["news_item"]}


def list_page(call: Call) -> JsonObject:
    """List publications, one page."""
    account, wanted, content = publisher(call), page(call), call.number("no_content") != 1
    groups: dict[str, list[Published]] = {}
    for published in account.library.published.values():
        if call.world.policy.publish_lists_mass or not published.mass:
            groups.setdefault(published.article_id, []).append(published)
    entries: list[JsonObject] = [
        {
            "article_id": found[0].article_id,
            "content": show(call.world, found, content=content),
            "update_time": int(found[0].at),
        }
        for found in ordered(call, list(groups.values()))[wanted]
    ]
    return {"total_count": len(groups), "item_count": len(entries), "item": entries}


def read_page(call: Call) -> Reply:
    """Serve the page of an article, or of the preview of a draft; what was taken away is 404."""
    key, world = call.path["key"], call.world
    for account in world.state.accounts.values():
        own = account.library
        published = own.published.get(key)
        if published is not None and not (published.deleted or published.banned):
            call.account = account
            library.count_read(world, account, published, "", call.now)
            everything = world.policy.comments_shown == "all"
            comments = [c for c in published.comments if (everything or c.featured) and not c.withdrawn]
            when = datetime.fromtimestamp(published.at, SHANGHAI).strftime("%Y-%m-%d")
            return html(articles.article_page(published.article, published, comments, when, base_url=world.base_url))
        for draft in (*own.drafts.values(), *own.news.values()):
            for article in draft.articles:
                if article.key == key:
                    call.account = account
                    return html(articles.article_page(article, None, (), "", base_url=world.base_url))
    return html(articles.NOTHING_HERE, status=404)


def html(body: bytes, *, status: int = 200) -> Reply:
    """Return a page that can load nothing and send nothing."""
    why = "an article, shown to anybody" if status == 200 else "no such article, or it was taken away"
    return Reply(body, status=status, content_type="text/html; charset=utf-8", headers=articles.PAGE_HEADERS, why=why)


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/freepublish/submit", submit, accounts="all"),
    Route("POST", "/cgi-bin/freepublish/get", get_status, accounts="all"),
    Route("POST", "/cgi-bin/freepublish/delete", delete, accounts="all"),
    Route("POST", "/cgi-bin/freepublish/getarticle", get_article, accounts="all"),
    Route("POST", "/cgi-bin/freepublish/batchget", list_page, accounts="all"),
    Route("GET", "/s/{key}", read_page, auth="none", host="mp", style="page"),
)
EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {"publish_finish": finish}
