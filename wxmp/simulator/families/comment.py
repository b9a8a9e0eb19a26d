"""Comments under articles (图文消息留言管理)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator import library
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from wxmp.simulator.library import Comment, Published

__all__ = ["ROUTES"]

NORMAL, FEATURED = 1, 2


def find(call: Call) -> Published:
    """Return the article of ``msg_data_id`` and ``index`` (the first without), or refuse: 88000, 88001."""
    own = call.owner.library
    if not own.comments_allowed:
        raise Refusal(88000, "the account has no comment feature")
    given = call.body.get("index")
    index = 0 if given in (None, "") else call.number("index")
    published = library.find_published(call.owner, call.number("msg_data_id"), -1 if index is None else index)
    if published is None or published.deleted:
        raise Refusal(88001, "no article has this msg_data_id and index")
    return published


def find_comment(call: Call) -> tuple[Published, Comment]:
    """Return the article and the comment of the request; an unknown comment is 88008."""
    published, wanted = find(call), call.number("user_comment_id")
    for comment in published.comments:
        if comment.id == wanted:
            return published, comment
    raise Refusal(88008, "the article has no such comment")


def open_comments(call: Call) -> JsonObject:
    """Open the comments of an article."""
    published = find(call)
    if published.banned:
        raise Refusal(88002, "the platform has taken the article away")
    published.comments_open = True
    return OK()


def close_comments(call: Call) -> JsonObject:
    """Close the comments of an article; those that are there stay."""
    find(call).comments_open = False
    return OK()


def list_page(call: Call) -> JsonObject:
    """List comments, one page: all, the normal ones, or the featured ones."""
    published, limit = find(call), call.world.policy.comment_page
    begin, count, kind = call.number("begin"), call.number("count"), call.number("type")
    if begin is None or begin < 0 or count is None or not 1 <= count <= limit:
        raise Refusal(88010, f"begin {call.body.get('begin')!r}, count {call.body.get('count')!r}, 1 to {limit}")
    if kind not in {0, NORMAL, FEATURED}:
        raise Refusal(40097, f"type is {call.body.get('type')!r}")
    found = [
        comment
        for comment in published.comments
        if not comment.withdrawn and (kind == 0 or comment.featured == (kind == FEATURED))
    ]
    return {**OK(), "total": len(found), "comment": [show(comment) for comment in found[begin : begin + count]]}


def show(comment: Comment) -> JsonObject:
    """Return one comment in the platform's shape."""
    shown: JsonObject = {
        "user_comment_id": comment.id,
        "openid": comment.openid,
        "create_time": int(comment.at),
        "content": comment.content,
        "comment_type": int(comment.featured),
    }
    if comment.reply is not None:
        shown["reply"] = {"content": comment.reply, "create_time": int(comment.reply_at)}
    return shown


def feature(call: Call) -> JsonObject:
    """Feature a comment, so that all readers see it."""
    published, comment = find_comment(call)
    if comment.withdrawn:
        raise Refusal(88004, "its author has deleted the comment")
    limit = call.world.policy.comment_featured_max
    if not comment.featured and sum(other.featured for other in published.comments) >= limit:
        raise Refusal(88003, f"{limit} comments are featured already")
    comment.featured = True
    return OK()


def unfeature(call: Call) -> JsonObject:
    """Stop featuring a comment."""
    find_comment(call)[1].featured = False
    return OK()


def delete(call: Call) -> JsonObject:
    """Delete a comment."""
    published, comment = find_comment(call)
    published.comments.remove(comment)
    return OK()


def reply(call: Call) -> JsonObject:
    """Reply to a comment, once."""
    comment, content = find_comment(call)[1], call.text("content")
    limit = call.world.policy.comment_reply_chars
    if comment.reply is not None:
        raise Refusal(88005, "the comment has a reply already")
    if not content or len(content) > limit:
        raise Refusal(88007, f"the reply has {len(content)} characters, 1 to {limit} are allowed")
    comment.reply, comment.reply_at = content, call.now
    return OK()


def delete_reply(call: Call) -> JsonObject:
    """Delete the reply to a comment."""
    comment = find_comment(call)[1]
    if comment.reply is None:
        raise Refusal(call.world.policy.comment_no_reply_errcode, "the comment has no reply")
    comment.reply, comment.reply_at = None, 0.0
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/comment/open", open_comments),
    Route("POST", "/cgi-bin/comment/close", close_comments),
    Route("POST", "/cgi-bin/comment/list", list_page),
    Route("POST", "/cgi-bin/comment/markelect", feature),
    Route("POST", "/cgi-bin/comment/unmarkelect", unfeature),
    Route("POST", "/cgi-bin/comment/delete", delete),
    Route("POST", "/cgi-bin/comment/reply/add", reply),
    Route("POST", "/cgi-bin/comment/reply/delete", delete_reply),
)
