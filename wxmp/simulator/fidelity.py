"""How true the simulation is: for each family what its answers come from, what its rules rest on, and what is missing.

The page ``docs/simulator-coverage.md`` is written from here (``make docs-tables``), and a test keeps
the two equal and every endpoint covered.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator.families import ROUTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.routes import Route

__all__ = ["FIDELITY", "Fidelity", "as_markdown", "family_of"]

HOSTS: Final = {
    "api": "api.weixin.qq.com",
    "mp": "mp.weixin.qq.com",
    "open": "open.weixin.qq.com",
    "mch": "api.mch.weixin.qq.com",
}


@attrs.frozen
class Fidelity:
    """What one family is worth.

    Attributes:
        title: The family, with its official title.
        state: What its answers come from.
        shape: What the fields of requests and answers rest on, in letters.
        rules: What limits, errors and effects rest on, in letters.
        missing: What the platform does and this does not.
    """

    title: str
    state: str
    shape: str
    rules: str
    missing: str


FIDELITY: Final[Mapping[str, Fidelity]] = MappingProxyType(
    {
        "base": Fidelity(
            "Tokens, quotas, addresses (基础接口)",
            "tokens of both channels with their true lives and overlaps, counters per path, day and minute",
            "D",
            "D F K S",
            "the address lists are samples; `callback/check` resolves and asks nothing, it tells the configured address"
            " and whether the last delivery was answered; limits do not grow with the followers (an account's `quotas`"
            " can be set); what `rid/get` tells has its credentials masked",
        ),
        "menu": Fidelity(
            "Menus (自定义菜单)",
            "the stored default and conditional menus, matched per user; each phone keeps the menu it has read",
            "D F",
            "D F K",
            "menus made by hand in the console; a phone too old for conditional menus",
        ),
        "user": Fidelity(
            "Users (用户管理)", "the users of the account", "D", "D K", "users without a unionid in a bound account"
        ),
        "tag": Fidelity("Tags (标签管理)", "the tags and who carries them, in order", "D", "D F K", ""),
        "blacklist": Fidelity("Blacklist (黑名单)", "the users' state", "D", "D F", ""),
        "group": Fidelity("Groups, the old tags (分组)", "tags of which a user has at most one", "F", "F S", ""),
        "template": Fidelity(
            "Template messages (模板消息)",
            "the account's templates, the messages sent, and their later delivery report",
            "D",
            "D F K S",
            "the public template library is small, and the same for every industry; a template belongs to the account's"
            " main industry; what is held back is told by markers, not by content",
        ),
        "custom": Fidelity(
            "Customer-service messages (客服消息)",
            "the windows each user's acts have opened, and the chat",
            "D",
            "D F K",
            "pictures and links inside cards are not fetched; `aimsgcontext` changes nothing",
        ),
        "qrcode": Fidelity(
            "QR codes (带参数二维码)",
            "the codes made, with real images that any reader reads",
            "D",
            "D F K",
            "rules of `qrcodejump*` are stored and open nothing: there are no mini programs here",
        ),
        "oauth": Fidelity(
            "Web pages (网页授权)",
            "codes, grants and consent per user, with a consent page",
            "D",
            "D F K",
            "QR login for web sites; that a visitor comes from the chat is said by `entry=chat` in the link",
        ),
        "ticket": Fidelity("JS-SDK tickets (jsapi_ticket)", "the tickets given out", "D", "K", ""),
        "media": Fidelity(
            "Temporary media (临时素材)",
            "the bytes uploaded by the account and sent by users, for three days",
            "D",
            "D F K",
            "nothing is transcoded, so high-quality voice is the stored file; lengths of videos and of WMA recordings"
            " are not measured",
        ),
        "material": Fidelity(
            "Materials (永久素材)",
            "the stored materials and articles",
            "D",
            "D F K",
            "review of video titles and pictures",
        ),
        "draft": Fidelity(
            "Drafts (草稿箱)", "the stored drafts", "D", "D F K", "product cards are kept and lead nowhere"
        ),
        "publish": Fidelity(
            "Publishing (发布能力)",
            "publishing jobs with their later report, and the articles as readable pages",
            "D",
            "D K S",
            "originality checks never find anything by themselves",
        ),
        "comment": Fidelity(
            "Comments (图文消息留言管理)",
            "what readers wrote under the articles",
            "D",
            "D F K",
            "comments of people without an openid",
        ),
        "subscribe": Fidelity(
            "Subscription notices (订阅通知)",
            "the account's templates and what each user has accepted",
            "D",
            "D F K S",
            "the public template library is small",
        ),
        "mass": Fidelity(
            "Mass sends (群发)",
            "jobs with their report, allowances per user and month, the recipients' chats",
            "D F",
            "D F S",
            "texts are judged by markers in them, not by content",
        ),
        "kf": Fidelity(
            "Customer-service staff (客服管理)",
            "the staff accounts, sessions and their records",
            "D F",
            "D F K S",
            "staff do not talk by themselves; there is no desktop client",
        ),
        "shorturl": Fidelity("Short data (短key托管)", "what was stored, until it expires", "D", "D K", ""),
        "autoreply": Fidelity(
            "Auto replies (自动回复规则)", "rules set from outside", "D", "K S", "the rules answer nobody"
        ),
        "datacube": Fidelity(
            "Statistics (数据统计)",
            "what really happened in this world, counted by day and hour",
            "D",
            "D K S",
            "sources of reads other than chat and elsewhere; reads of source pages and favourites, which are always 0;"
            " later corrections of the numbers",
        ),
        "image_ai": Fidelity(
            "Recognition, speech, translation (智能接口)",
            "the size of the picture, and otherwise from the digest of what was uploaded: the same bytes say the same",
            "D F",
            "D F S",
            "nothing is looked at, heard or translated, and what is read belongs to nobody; pictures elsewhere are not"
            " fetched; enlarged pictures stay as they are; no calls can be bought; that a picture holds nothing, or the"
            " back of a card, is told by a word in its name",
        ),
        "v3": Fidelity(
            "WeChat Pay, API v3 (微信支付)",
            "orders, refunds, transfers and bills of the merchant, signed and verified with real keys",
            "D F",
            "D F K S",
            "risk control, coupons, other currencies; combined orders, profit sharing and partners",
        ),
        "v2": Fidelity(
            "WeChat Pay, API v2 (微信支付 V2)",
            "the same orders and refunds, in XML",
            "D F",
            "D F K",
            "client certificates are not asked for",
        ),
    }
)

HEAD: Final = """# What is simulated, and how sure it is

<!-- Written by `make docs-tables` from the simulator's own table; do not edit by hand. -->

There is no account behind this: each rule comes from documents or from the field and carries the letter of its source.

- **D** the platform's own documentation
- **F** field evidence: reports, other SDKs, recorded answers
- **K** general knowledge, not checked again
- **S** our own choice where the platform is silent

Every rule of kind K or S is a named field of `wxmp.simulator.Policy`, so a correction from the field is one line, and a
test of yours can take the other side: `Policy(custom_windows_add_up=True)`.

"Shape" is about the fields of requests and answers, "rules" about limits, errors, times and effects. An endpoint that
is not listed answers 40066, or `ok` with `Policy(strict_paths=False)`.
"""


def family_of(route: Route) -> str:
    """Return the family an endpoint belongs to: the module that answers it."""
    return route.handler.__module__.rpartition(".")[2]


def as_markdown() -> str:
    """Return the page of the documentation."""
    parts = [HEAD]
    for name, fidelity in FIDELITY.items():
        routes = [route for route in ROUTES if family_of(route) == name]
        parts.append(
            f"## {fidelity.title}\n\n"
            f"Answers from {fidelity.state}. Shape: **{fidelity.shape}**, rules: **{fidelity.rules}**."
            f"{f' Not simulated: {fidelity.missing}.' if fidelity.missing else ''}\n\n"
            "| endpoint | host |\n|---|---|\n"
            + "".join(f"| `{route.method} {route.path}` | {HOSTS[route.host]} |\n" for route in routes)
        )
    return "\n".join(parts)
