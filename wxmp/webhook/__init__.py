"""What WeChat pushes to us (接收消息与事件): receive, decrypt, dispatch, reply, in time and only once."""

from __future__ import annotations

__all__: list[str] = []
