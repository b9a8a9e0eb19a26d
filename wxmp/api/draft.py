"""The draft box (草稿箱): articles before they are published or sent."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_digits, check_number, check_page, check_text, refusal
from wxmp.api._pages import walk_offsets
from wxmp.api.articles import ArticleType, NewsContent, article_list, article_payload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from wxmp.api.articles import AnyArticle

__all__ = ["Draft", "DraftAPI", "DraftPage", "ProductCard", "ProductCardType"]

#: Most entries on one page of :meth:`DraftAPI.list`.
PAGE: Final = 20

UNKNOWN_MEDIA: Final = 40007
ARGUMENT_REFUSED: Final = 40097
INDEX_REFUSED: Final = 40114
PRODUCT_REFUSED: Final = 10170001
CARD_ARTICLE_REFUSED: Final = 10170002
CARD_TYPE_REFUSED: Final = 10170003

# Each success makes one more draft.
ADD: Final = Endpoint("POST", "/cgi-bin/draft/add", repeatable=False)
UPDATE: Final = Endpoint("POST", "/cgi-bin/draft/update", repeatable=True)
GET: Final = Endpoint("POST", "/cgi-bin/draft/get", repeatable=True)
DELETE: Final = Endpoint("POST", "/cgi-bin/draft/delete", repeatable=True, done_codes=frozenset({UNKNOWN_MEDIA}))
COUNT: Final = Endpoint("GET", "/cgi-bin/draft/count", repeatable=True)
LIST: Final = Endpoint("POST", "/cgi-bin/draft/batchget", repeatable=True)
SWITCH: Final = Endpoint("POST", "/cgi-bin/draft/switch", repeatable=True)
GET_PRODUCT_CARD: Final = Endpoint("POST", "/channels/ec/service/product/getcardinfo", repeatable=True)


class ProductCardType(IntEnum):
    """How a product is shown in an article (商品卡类型)."""

    #: Not in picture articles.
    LARGE = 0
    SMALL = 1
    TEXT = 2
    #: Picture articles only.
    STRIP = 3


_CARDS: Final[dict[str, tuple[ProductCardType, ...]]] = {
    ArticleType.NEWS: (ProductCardType.LARGE, ProductCardType.SMALL, ProductCardType.TEXT),
    ArticleType.NEWSPIC: (ProductCardType.SMALL, ProductCardType.TEXT, ProductCardType.STRIP),
}


@attrs.frozen
class Draft:
    """A draft of the list (草稿)."""

    media_id: str
    #: Its articles.
    content: NewsContent
    #: When it was changed last.
    update_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class DraftPage:
    """One page of drafts (草稿列表)."""

    #: All drafts there are, on all pages.
    total: int = attrs.field(metadata=wire("total_count"))
    #: Entries on this page.
    count: int = attrs.field(default=0, metadata=wire("item_count"))
    drafts: tuple[Draft, ...] = attrs.field(default=(), metadata=wire("item"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ProductCard:
    """A product as an article shows it (商品卡片)."""

    #: For ``product_key`` of an article: the product at its end.
    product_key: str = ""
    #: HTML for the ``content`` of an article.
    dom: str = attrs.field(default="", metadata=wire("DOM"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class DraftAPI:
    """The draft box (草稿箱): add, change, read, list and delete drafts.

    A draft goes out with ``client.publish.submit`` or with a mass send, and is gone from the box then.
    """

    _call: Caller

    async def add(self, articles: AnyArticle | Iterable[AnyArticle]) -> str:
        """Add a draft (新增草稿).

        It is not repeated when its outcome is unknown: a second one makes a second draft. Look at :meth:`list` then.
        1000 calls a day.

        Args:
            articles: One article, or several of both kinds, in their order. 8 are known to fit; the documentation
                names no number, so the platform decides. Each is checked before sending, and
                ``field`` of the error names the place, for example ``articles[1].title``.

        Returns:
            The ``media_id`` of the draft.

        Raises:
            ArgumentError: No article (44003) or too many (45008); a title that is missing (40035) or longer than 32
                characters (45003), a digest of more than 128 (45004), an author of more than 16 (45110); a content that
                is missing (44003), too long (45002) or refused (45166); a link over 1024 bytes (45005) or refused
                (41039); no cover or picture (40007), more than 20 pictures or a crop that cannot be (40035); product
                data that is refused (53405).
            NotFoundError: The cover or a picture is no permanent material of the account (40007).
            NotAuthorizedError: An article asks for comments and the account has none (88000).
            AccountError: An article shows products and the account may not sell (53404, 53406).

        Source:
            POST /cgi-bin/draft/add - 草稿箱 / 草稿管理 / 新增草稿
        """
        reply = await self._call(ADD, json={"articles": article_list(ADD, "articles", articles, most=None)})
        return decode(str, field_of(reply, "media_id", ADD), endpoint=ADD.name)

    async def update(self, media_id: str, *, index: int, article: AnyArticle) -> None:
        """Replace one article of a draft (更新草稿).

        All of it is replaced. To change a part, read the draft and change what comes of it::

            item = (await client.draft.get(media_id)).news_item[0]
            article = attrs.evolve(item.as_article(), title="…")
            await client.draft.update(media_id, index=0, article=article)

        Args:
            media_id: The draft.
            index: Which article, from 0.
            article: The new one; checked like those of :meth:`add`.

        Raises:
            ArgumentError: The draft has no such article (40114), or as :meth:`add`.
            NotFoundError: No such draft, or no such cover or picture (40007).
            NotAuthorizedError: The article asks for comments and the account has none (88000).
            AccountError: The article shows products and the account may not sell (53404, 53406).

        Source:
            POST /cgi-bin/draft/update - 草稿箱 / 草稿管理 / 更新草稿
        """
        payload: JsonObject = {"media_id": _draft(UPDATE, media_id), "index": _position(index)}
        # The platform's word is in the plural, for one article.
        payload["articles"] = article_payload(UPDATE, "article", article)
        await self._call(UPDATE, json=payload)

    async def get(self, media_id: str) -> NewsContent:
        """Read the articles of a draft (获取草稿详情). 500 calls a day.

        Raises:
            NotFoundError: No such draft (40007).

        Source:
            POST /cgi-bin/draft/get - 草稿箱 / 草稿管理 / 获取草稿详情
        """
        reply = await self._call(GET, json={"media_id": _draft(GET, media_id)})
        return decode(NewsContent, without_verdict(reply), endpoint=GET.name)

    async def delete(self, media_id: str) -> None:
        """Delete a draft; it cannot be brought back (删除草稿).

        Raises:
            NotFoundError: No such draft (40007). Not raised when an attempt before it may have deleted the draft.

        Source:
            POST /cgi-bin/draft/delete - 草稿箱 / 草稿管理 / 删除草稿
        """
        await self._call(DELETE, json={"media_id": _draft(DELETE, media_id)})

    async def count(self) -> int:
        """Count the drafts (获取草稿的总数).

        Source:
            GET /cgi-bin/draft/count - 草稿箱 / 草稿管理 / 获取草稿的总数
        """
        reply = await self._call(COUNT)
        return decode(int, field_of(reply, "total_count", COUNT), endpoint=COUNT.name)

    async def list(self, *, offset: int = 0, count: int = PAGE, no_content: bool = False) -> DraftPage:
        """List one page of drafts (获取草稿列表). 1000 calls a day.

        :meth:`iter_drafts` walks through all pages.

        Args:
            offset: Entries to leave out, from 0.
            count: Entries on the page, 1 to 20.
            no_content: Leave out the contents of the articles, which are most of the answer.

        Raises:
            ArgumentError: ``offset`` or ``count`` is out of its range (40097).

        Source:
            POST /cgi-bin/draft/batchget - 草稿箱 / 草稿管理 / 获取草稿列表
        """
        check_page(LIST, offset, count, most=PAGE, errcode=ARGUMENT_REFUSED)
        payload = {"offset": offset, "count": count, "no_content": 1 if no_content else 0}
        reply = await self._call(LIST, json=payload)
        return decode(DraftPage, without_verdict(reply), endpoint=LIST.name)

    def iter_drafts(self, *, offset: int = 0, no_content: bool = False) -> AsyncGenerator[Draft, None]:
        """Iterate over all drafts, page by page (获取草稿列表).

        A draft that is added or deleted meanwhile moves the others: one can come twice or be left out.

        Args:
            offset: Entries to leave out, from 0.
            no_content: Leave out the contents of the articles, which are most of the answer.

        Raises:
            ArgumentError: ``offset`` is below 0 (40097).

        Source:
            POST /cgi-bin/draft/batchget - 草稿箱 / 草稿管理 / 获取草稿列表
        """

        async def fetch(start: int) -> tuple[Sequence[Draft], int]:
            page = await self.list(offset=start, no_content=no_content)
            return page.drafts, page.total

        return walk_offsets(fetch, LIST, offset=offset)

    async def switch(self, *, check_only: bool = False) -> bool:
        """Turn the draft box on, or ask whether it is on (草稿箱开关设置).

        Deprecated: everybody has the draft box now, and the answer is always yes. It cannot be turned off. Nothing
        takes its place; leave it out.

        Args:
            check_only: Only ask.

        Returns:
            Whether the draft box is on.

        Source:
            POST /cgi-bin/draft/switch - 草稿箱 / 草稿管理 / 草稿箱开关设置
        """
        reply = await self._call(SWITCH, params={"checkonly": 1 if check_only else None})
        # The answer to turning it on is a mere "ok" in the documentation's example.
        done = "errcode" in reply and not check_only
        is_open = reply.get("is_open", 1) if done else field_of(reply, "is_open", SWITCH)
        return decode(bool, is_open, endpoint=SWITCH.name)

    async def get_product_card(
        self, product_id: str | int, *, article_type: ArticleType | str, card_type: ProductCardType | int
    ) -> ProductCard:
        """Get the card of a product of the account's shop, for an article (获取商品卡片的DOM结构).

        Args:
            product_id: A product of the WeChat shop (微信小店).
            article_type: The kind of the article the card is for.
            card_type: What the card looks like: large, small or a text link in an article; small, a text link or a
                strip in a picture article.

        Returns:
            The markup to put into the content, and the key for the product at the end.

        Raises:
            ArgumentError: No such product (10170001), kind of article (10170002), or card (10170003).

        Source:
            POST /channels/ec/service/product/getcardinfo - 草稿箱 / 商品卡片 / 获取商品卡片的DOM结构
        """
        endpoint = GET_PRODUCT_CARD
        # By comparison: what has no hash must be refused like everything else.
        cards = next((cards for kind, cards in _CARDS.items() if kind == article_type), None)
        if cards is None:
            raise refusal(endpoint, "article_type", CARD_ARTICLE_REFUSED, "must be 'news' or 'newspic'")
        if card_type not in cards:
            known = ", ".join(f"{card.value} ({card.name})" for card in cards)
            raise refusal(endpoint, "card_type", CARD_TYPE_REFUSED, f"must be {known} for {str(article_type)!r}")
        payload: JsonObject = {
            "product_id": check_digits(
                endpoint, "product_id", product_id, errcode=PRODUCT_REFUSED, problem="must be the number of a product"
            ),
            "article_type": str(article_type),
            "card_type": int(card_type),
        }
        reply = await self._call(endpoint, json=payload)
        return decode(ProductCard, without_verdict(reply), endpoint=endpoint.name)


def _draft(endpoint: Endpoint, media_id: object) -> str:
    return check_text(endpoint, "media_id", media_id, errcode=UNKNOWN_MEDIA)


def _position(index: object) -> int:
    return check_number(
        UPDATE, "index", index, errcode=INDEX_REFUSED, problem="must be the place of an article, from 0"
    )
