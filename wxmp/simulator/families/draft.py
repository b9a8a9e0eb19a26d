"""The draft box (草稿箱)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator import library
from wxmp.simulator.families.material import ordered, page, replace_article, show_articles
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from wxmp.simulator.library import Draft

__all__ = ["ROUTES"]


def find(call: Call) -> Draft:
    """Return the draft of the request, or 40007."""
    draft = call.owner.library.drafts.get(call.text("media_id"))
    if draft is None:
        raise Refusal(40007, "the account has no such draft")
    return draft


def add(call: Call) -> JsonObject:
    """Create a draft."""
    found = library.check_articles(call.world, call.owner, call.body.get("articles"), call.now)
    return {"media_id": library.store_draft(call.world, call.owner, found, call.now).media_id}


def update(call: Call) -> JsonObject:
    """Replace one article of a draft."""
    replace_article(call, find(call))
    return OK()


def get(call: Call) -> JsonObject:
    """Read a draft."""
    return show_articles(call.world, find(call), content=call.number("no_content") != 1)


def delete(call: Call) -> JsonObject:
    """Delete a draft."""
    del call.owner.library.drafts[find(call).media_id]
    return OK()


def count(call: Call) -> JsonObject:
    """Count the drafts."""
    return {"total_count": len(call.owner.library.drafts)}


def list_page(call: Call) -> JsonObject:
    """List drafts, one page."""
    wanted, content = page(call), call.number("no_content") != 1
    drafts = list(call.owner.library.drafts.values())
    entries: list[JsonObject] = [
        {
            "media_id": draft.media_id,
            "content": show_articles(call.world, draft, content=content),
            "update_time": int(draft.updated_at),
        }
        for draft in ordered(call, drafts)[wanted]
    ]
    return {"total_count": len(drafts), "item_count": len(entries), "item": entries}


def switch(_call: Call) -> JsonObject:
    """Read or set the switch of the draft box: everybody has it on, and it cannot be switched off."""
    return {**OK(), "is_open": 1}


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/draft/add", add, accounts="all"),
    Route("POST", "/cgi-bin/draft/update", update, accounts="all"),
    Route("POST", "/cgi-bin/draft/get", get, accounts="all"),
    Route("POST", "/cgi-bin/draft/delete", delete, accounts="all"),
    Route("GET", "/cgi-bin/draft/count", count, accounts="all"),
    Route("POST", "/cgi-bin/draft/batchget", list_page, accounts="all"),
    Route("POST", "/cgi-bin/draft/switch", switch, accounts="all", takes="none"),
)
