"""What became of a message is told later, by an event: into the journal with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxmp.broadcast.records import Outcome

if TYPE_CHECKING:
    from wxmp.broadcast.journal import Journal
    from wxmp.webhook.events import TemplateSendJobFinishEvent

__all__ = ["settle_event"]


async def settle_event(journal: Journal, event: TemplateSendJobFinishEvent, appid: str) -> bool:
    """Write down how a template message ended (模版消息发送任务完成).

    Call it in the webhook's handler. The platform repeats an event that is not answered: taking it in twice does no
    harm.

    Args:
        journal: The journal of the bulk sends, or one that is open on the same file or server.
        event: The event.
        appid: The account that the webhook belongs to.

    Returns:
        Whether the message belongs to a bulk send of this journal.

    Raises:
        JournalError: The journal failed. Let it out of the handler, so that the platform repeats the event.
    """
    outcome = Outcome.DELIVERED if event.ok else Outcome.BLOCKED if event.blocked else Outcome.FAILED
    return await journal.settle(
        appid, openid=event.openid, msg_id=event.msg_id, outcome=outcome, at=float(event.create_time)
    )
