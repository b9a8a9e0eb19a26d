"""A tag (标签) as a person names it: by its name, or by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from wxmp.api.tag import Tag
    from wxmp.client import Client

__all__ = ["find_tag"]


async def find_tag(client: Client, wanted: str, *, option: str) -> Tag:
    """Return a tag of the account; a name counts before a number.

    Raises:
        ConfigError: There is none; the sentence begins with ``option``.
    """
    tags = await client.tag.list()
    # Names first: somebody may have called one 100.
    for tag in tags:
        if tag.name == wanted:
            return tag
    for tag in tags:
        if str(tag.tag_id) == wanted:
            return tag
    names = ", ".join(tag.name for tag in tags)
    raise ConfigError(f"{option}: the account has no tag {wanted!r}; it has {names or 'none'}", field=option)
