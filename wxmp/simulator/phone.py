"""What a user does with the account on their phone: follow, write, send, tap, scan - and what that tells the server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, overload

import attrs

from wxmp.simulator import formats, library, menus, outreach, people, statistics
from wxmp.simulator.pay import pad
from wxmp.simulator.state import ChatEntry
from wxmp.simulator.wire import WorldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.pay.pad import How, PayResult
    from wxmp.simulator.state import Account, ConditionalMenu, Push, User
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["SENDABLE", "Phone", "seen_menu"]

# The kinds of message a user can send, with the fields each carries; what is left out gets a made-up value.
SENDABLE: Final[dict[str, tuple[str, ...]]] = {
    "text": ("Content",),
    "image": ("PicUrl", "MediaId"),
    "voice": ("MediaId", "Format", "MediaId16K"),
    "video": ("MediaId", "ThumbMediaId"),
    "shortvideo": ("MediaId", "ThumbMediaId"),
    "location": ("Location_X", "Location_Y", "Scale", "Label"),
    "link": ("Title", "Description", "Url"),
}
# What the media ids of a message name.
FILES: Final[dict[str, dict[str, library.MediaKind]]] = {
    "image": {"MediaId": "image"},
    "voice": {"MediaId": "voice", "MediaId16K": "voice"},
    "video": {"MediaId": "video", "ThumbMediaId": "thumb"},
    "shortvideo": {"MediaId": "video", "ThumbMediaId": "thumb"},
}
PICTURE_TAPS: Final = frozenset({"pic_sysphoto", "pic_photo_or_album", "pic_weixin"})
SCAN_TAPS: Final = frozenset({"scancode_push", "scancode_waitmsg"})
Place = tuple[float, float, str]
HERE: Final[Place] = (31.2304, 121.4737, "上海市黄浦区人民大道200号")
MAX_PICTURES: Final = 9


class Phone:
    """One user's phone, open at one account. Every method may be called from any thread.

    Args:
        world: The world.
        openid: The user.
        appid: The account; ``None`` means the default one.
    """

    def __init__(self, world: World, openid: str, appid: str | None = None) -> None:
        self._world = world
        self._appid = world.account_of(appid).appid
        self.openid = openid
        self._find()

    def __repr__(self) -> str:
        return f"Phone({self.openid!r})"

    def _find(self) -> tuple[Account, User]:
        account = self._world.account_of(self._appid)
        user = account.users.get(self.openid)
        if user is None:
            raise WorldError("no such user of this account")
        return account, user

    def _begin(self, *, follower: bool = False) -> tuple[Account, User, float]:
        """Let everything due happen first, then look at who acts and when."""
        self._world.run_due()
        account, user = self._find()
        if follower and not user.following:
            raise WorldError("only a follower can write to the account")
        return account, user, self._world.now()

    @property
    def chat(self) -> list[ChatEntry]:
        """The lines of the chat, oldest first."""
        with self._world.lock:
            return list(self._find()[1].chat)

    @property
    def name(self) -> str:
        """The person's nickname."""
        with self._world.lock:
            return self._world.person_of(self._find()[1]).nickname

    @property
    def replies(self) -> list[ChatEntry]:
        """What the account has said to the user, oldest first: passive replies and messages, no grey notices."""
        return [line for line in self.chat if line.direction == "to_user" and line.source != "system"]

    @property
    def last_reply(self) -> ChatEntry | None:
        """The last of :attr:`replies`; ``None`` before the first."""
        return next(reversed(self.replies), None)

    # --- following ------------------------------------------------------------------------------------------------

    def follow(self, *, scene: str = "ADD_SCENE_SEARCH") -> None:
        """Follow the account (关注)."""
        with self._world.lock:
            account, user, now = self._begin()
            people.follow(self._world, account, user, now, scene=scene, qr=None)
            user.menu_read_at = None  # a phone that follows again reads the menu at once
            self._world.announce()

    def unfollow(self) -> None:
        """Unfollow the account (取消关注); the open windows close."""
        with self._world.lock:
            account, user, now = self._begin()
            people.unfollow(self._world, account, user, now)
            self._world.announce()

    def scan(self, ticket: str) -> None:
        """Scan a parametric QR code (扫描带参数二维码): a follower gives a ``SCAN`` event, anybody else follows."""
        with self._world.lock:
            account, user, now = self._begin()
            code = account.qr.get(ticket)
            if code is None or (code.expires_at is not None and now >= code.expires_at):
                raise WorldError("the QR code is unknown or expired: the phone shows a notice and nothing is pushed")
            if not user.following:
                scene = (code.scene_id, code.scene_str, ticket)
                people.follow(self._world, account, user, now, scene=people.SCAN_SCENE, qr=scene)
            else:
                people.open_window(self._world, user, "scan", now)
                event_key = str(code.scene_id if code.scene_id is not None else code.scene_str)
                fields: JsonObject = {"MsgType": "event", "Event": "SCAN", "EventKey": event_key, "Ticket": ticket}
                people.act(self._world, account, user, fields, now)
            self._world.announce()

    @overload
    def pay(self) -> None: ...

    @overload
    def pay(self, what: str | Mapping[str, object], how: How = "confirm", password: str | None = None) -> PayResult: ...

    def pay(
        self, what: str | Mapping[str, object] | None = None, how: How = "confirm", password: str | None = None
    ) -> PayResult | None:
        """Pay an order of a merchant (微信支付), or take a transfer.

        Args:
            what: A ``prepay_id``, the parameters of the page's payment call (their ``paySign`` is checked first), a
                ``code_url`` or an ``h5_url``; of a transfer ``mchId``, ``appId`` and ``package``. ``None``: no order at
                all, a payment succeeds only as far as the customer-service window is concerned.
            how: ``"confirm"``; ``"cancel"``; ``"fail"``: the bank refuses; ``"slow"``: the order is USERPAYING first.
            password: What is typed; ``None`` types the right one.

        Returns:
            What the page's callback hears and why; ``None`` without an order.
        """
        with self._world.lock:
            account, user, now = self._begin()
            if what is None:
                people.open_window(self._world, user, "pay", now)
                return None
            return pad.pay(self._world, account, user, what, how, password)

    # --- messages -------------------------------------------------------------------------------------------------

    def send(self, kind: str, /, **fields: object) -> None:
        """Send a message of any kind, with the platform's own field names; fields left out get made-up values.

        Args:
            kind: One of ``SENDABLE``.
            fields: Such as ``Content="你好"`` or ``MediaId="m1"``.
        """
        if kind not in SENDABLE:
            raise WorldError(f"a user cannot send {kind!r}; known: {', '.join(sorted(SENDABLE))}")
        with self._world.lock:
            account, user, now = self._begin(follower=True)
            self._send(account, user, now, kind, fields)
            self._world.announce()

    def _send(self, account: Account, user: User, now: float, kind: str, given: JsonObject) -> None:
        menu_line = given.get("bizmsgmenuid")
        # A tapped line of a menu message counts as a menu tap, not as writing.
        people.open_window(self._world, user, "write" if menu_line is None else "menu", now)
        fields: JsonObject = {"MsgType": kind}
        if kind in FILES:
            given = self._with_files(account, kind, given, now)
        for name in SENDABLE[kind]:
            fields[name] = given[name] if name in given else self._made_up(name)
        fields |= {name: value for name, value in given.items() if name not in fields}
        fields["MsgId"] = self._world.next_msgid(account)
        people.act(self._world, account, user, fields, now)

    def _with_files(self, account: Account, kind: str, given: JsonObject, now: float) -> JsonObject:
        """Let every media id of a message name a file: what nobody stored becomes a built-in sample."""
        fields = dict(given)
        for name in FILES[kind]:
            media_id = fields.setdefault(name, self._world.make_id("media", 64))
            if isinstance(media_id, str) and media_id:
                media = library.store_sample(self._world, account, FILES[kind][name], media_id, now)
                if kind == "image":
                    fields.setdefault("PicUrl", library.media_url(self._world, media_id, media.format))
        return fields

    def _send_file(self, kind: str, file: tuple[bytes, str] | None, fields: JsonObject) -> None:
        """Send a picture, a recording or a video, with its bytes when there are any."""
        with self._world.lock:
            account, user, now = self._begin(follower=True)
            if file is not None:
                data, filename = file
                own = fields.get("MediaId")
                media = library.store_media(
                    *(self._world, account, FILES[kind]["MediaId"], filename, data, now),
                    media_id=own if isinstance(own, str) else None,
                    by_user=True,
                )
                fields["MediaId"] = media.media_id
                if kind == "voice":
                    fields.setdefault("Format", formats.file_format(data) or "amr")
            self._send(account, user, now, kind, fields)
            self._world.announce()

    def _made_up(self, name: str) -> object:
        latitude, longitude, label = HERE
        plain: JsonObject = {
            "Format": "amr",
            "Location_X": latitude,
            "Location_Y": longitude,
            "Scale": 15,
            "Label": label,
            "Title": "",
            "Description": "",
            "Url": "https://example.com/",
        }
        return plain.get(name, "")

    def say(self, text: str, *, menu_line: str | None = None) -> None:
        """Write a text (文本消息); ``menu_line`` is the id of a tapped line of a menu message."""
        self.send("text", Content=text, **({} if menu_line is None else {"bizmsgmenuid": menu_line}))

    def send_image(
        self,
        *,
        media_id: str | None = None,
        pic_url: str | None = None,
        data: bytes | None = None,
        filename: str = "image.jpg",
    ) -> None:
        """Send a picture (图片消息). The account can download it: the given bytes, or a small built-in picture."""
        file = None if data is None else (data, filename)
        self._send_file("image", file, given(MediaId=media_id, PicUrl=pic_url))

    def send_voice(
        self,
        *,
        media_id: str | None = None,
        recognition: str | None = None,
        data: bytes | None = None,
        filename: str = "voice.amr",
    ) -> None:
        """Send a voice message (语音消息), with the recognised text where the account has that switched on."""
        file = None if data is None else (data, filename)
        self._send_file("voice", file, given(MediaId=media_id, Recognition=recognition))

    def send_video(
        self,
        *,
        media_id: str | None = None,
        short: bool = False,
        data: bytes | None = None,
        filename: str = "video.mp4",
    ) -> None:
        """Send a video or a short video (视频消息, 小视频消息)."""
        file = None if data is None else (data, filename)
        self._send_file("shortvideo" if short else "video", file, given(MediaId=media_id))

    def send_location(self, place: Place = HERE, *, scale: int = 15) -> None:
        """Send a place (地理位置消息): latitude, longitude, label."""
        latitude, longitude, label = place
        self.send("location", Location_X=latitude, Location_Y=longitude, Scale=scale, Label=label)

    def send_link(self, url: str, *, title: str = "", description: str = "") -> None:
        """Send a link (链接消息)."""
        self.send("link", Title=title, Description=description, Url=url)

    # --- the open chat --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the chat: an old menu is read again, and the place is reported where the account asks for it."""
        with self._world.lock:
            account, user, now = self._begin()
            age = self._world.policy.menu_reread_seconds
            if user.menu_read_at is None or now - user.menu_read_at > age:
                read_menu(self._world, account, user, now)
            if account.reports_location and user.following:
                self.report_location()
            self._world.announce()

    def refresh_menu(self) -> None:
        """Read the menu again now, as following again does; otherwise a change shows after minutes."""
        with self._world.lock:
            account, user, now = self._begin()
            read_menu(self._world, account, user, now)
            self._world.announce()

    # --- articles -------------------------------------------------------------------------------------------------

    def read(self, article: str) -> library.Article:
        """Open an article of the account (阅读图文) by its link, its key or its ``article_id``; return what it says."""
        with self._world.lock:
            account, _user, now = self._begin()
            published = library.find_readable(account, article)
            library.count_read(self._world, account, published, self.openid, now)
            self._world.announce()
            return published.article

    def comment(self, article: str, text: str) -> int:
        """Write under an article (写留言); return the number the comment has."""
        with self._world.lock:
            account, user, now = self._begin()
            published = library.find_readable(account, article)
            name = self._world.person_of(user).nickname
            made = library.add_comment(self._world, account, published, self.openid, name, text, now)
            self._world.announce()
            return made.id

    def withdraw_comment(self, article: str, comment: int) -> None:
        """Delete one's own comment (删除自己的留言)."""
        with self._world.lock:
            account, _user, _now = self._begin()
            for made in library.find_readable(account, article).comments:
                if made.id == comment and made.openid == self.openid:
                    made.withdrawn = True
                    self._world.announce()
                    return
            raise WorldError("this user has written no such comment")

    # --- menu and location ----------------------------------------------------------------------------------------

    def tap(
        self,
        key: str,
        *,
        scan_result: str = "https://example.com/",
        scan_type: str = "qrcode",
        pictures: int = 1,
        place: Place = HERE,
    ) -> JsonObject:
        """Tap the menu button with this key, url or name; return the button.

        Args:
            key: What names the button.
            scan_result: What a scan button finds.
            scan_type: ``"qrcode"`` or ``"barcode"``.
            pictures: How many pictures a picture button sends; each follows as an image message of its own.
            place: What a location button sends; it follows as a location message.
        """
        if not 1 <= pictures <= MAX_PICTURES:
            raise WorldError(f"1 to {MAX_PICTURES} pictures can be sent")
        with self._world.lock:
            account, user, now = self._begin()
            shown = seen_menu(self._world, account, user)
            button = menus.find_button(shown.button if shown else [], key)
            if button is None or not user.following:
                raise WorldError("this user sees no such menu button")
            kind = str(button["type"])
            if kind in menus.WINDOW_TYPES:
                people.open_window(self._world, user, "menu", now)
            event = menus.tap_event(button, shown.menuid if shown else 0)
            media = [self._world.make_id("media", 64) for _ in range(pictures)] if kind in PICTURE_TAPS else []
            if kind in SCAN_TAPS:
                event["ScanCodeInfo"] = {"ScanType": scan_type, "ScanResult": scan_result}
            elif kind in PICTURE_TAPS:
                files = [formats.sample("image", media_id) for media_id in media]
                sums = [{"PicMd5Sum": hashlib.md5(data, usedforsecurity=False).hexdigest()} for data in files]
                event["SendPicsInfo"] = {"Count": pictures, "PicList": {"item": sums}}
            elif kind == "location_select":
                event["SendLocationInfo"] = place_info(place)
            if menus.is_told(button, self._world.policy):
                people.act(self._world, account, user, event, now)
            else:
                entry = ChatEntry("from_user", str(event["Event"]), "", event, now, "user")
                people.chat(self._world, user, entry)
            self._receive_material(account, user, now, button)
            follow = self._world.policy.menu_acts_follow
            for media_id in media if follow else ():
                self._send(account, user, now, "image", {"MediaId": media_id})
            if kind == "location_select" and follow:
                latitude, longitude, label = place
                sent: JsonObject = {"Location_X": latitude, "Location_Y": longitude, "Scale": 15, "Label": label}
                self._send(account, user, now, "location", sent)
            self._world.announce()
            return button

    def _receive_material(self, account: Account, user: User, now: float, button: JsonObject) -> None:
        """Get what a menu button leads to: the platform itself sends the material, or shows the article."""
        kind = button["type"]
        sent: JsonObject | None = None
        if kind == "media_id":
            sent = library.material_reply(self._world, account, str(button["media_id"]))
        elif kind == "article_id":
            found = library.find_article(account, str(button["article_id"]))
            readable = [one.article for one in found if not (one.deleted or one.banned)]
            sent = library.news_reply(self._world, readable) if readable else None
        if sent is not None:
            note = "sent by the platform for a menu button"
            people.chat(
                self._world, user, ChatEntry("to_user", str(sent["MsgType"]), "", sent, now, "reply", note=note)
            )

    def report_location(
        self, latitude: float = HERE[0], longitude: float = HERE[1], *, precision: float = 65.0
    ) -> None:
        """Let the phone report where it is (上报地理位置), as it does when the chat is opened."""
        with self._world.lock:
            account, user, now = self._begin(follower=True)
            fields: JsonObject = {
                "MsgType": "event",
                "Event": "LOCATION",
                "Latitude": latitude,
                "Longitude": longitude,
                "Precision": precision,
            }
            people.push(self._world, account, user, "event", fields, now)
            self._world.announce()

    # --- permissions of web pages ----------------------------------------------------------------------------------

    def change_password(self) -> None:
        """Change the WeChat password (修改密码): the tokens that web pages hold for this user are over (42007)."""
        with self._world.lock:
            account, _user, _now = self._begin()
            for held in (account.oauth_tokens, account.refresh_tokens):
                for grant in held.values():
                    grant.revoked |= grant.openid == self.openid
            self._world.announce()

    def revoke_authorization(self, info: str = "205") -> None:
        """Withdraw what web pages were allowed (撤回授权); the account hears of it and has to delete what it keeps.

        Args:
            info: What is withdrawn, as the event's ``RevokeInfo`` has it: 205 is nickname and avatar.
        """
        with self._world.lock:
            account, user, now = self._begin()
            if self._world.policy.oauth_revoke_ends_tokens:
                for held in (account.oauth_tokens, account.refresh_tokens):
                    for text in [text for text, grant in held.items() if grant.openid == self.openid]:
                        del held[text]
            event: JsonObject = {"MsgType": "event", "Event": "user_authorization_revoke"}
            event |= {"OpenID": self.openid, "AppID": account.appid, "RevokeInfo": info}
            if account.open_platform:
                event["UnionID"] = self._world.person_of(user).unionid
            sender = people.openid_for(self._world, account.appid, people.PLATFORM)
            people.tell(self._world, account, sender, "event", event, now)
            self._world.announce()

    # --- subscription notices -------------------------------------------------------------------------------------

    def answer_popup(self, choices: Mapping[str, str], *, scene: int = 1) -> None:
        """Answer the popup that asks for subscription notices (订阅通知弹窗).

        Args:
            choices: ``"accept"`` or ``"reject"`` for each template id shown.
            scene: Where the popup stood: 1 a web page, 2 an article.
        """
        with self._world.lock:
            account, user, now = self._begin()
            event = outreach.answer_popup(self._world.policy, account, user.openid, choices, scene)
            people.act(self._world, account, user, event, now)
            self._world.announce()

    def change_subscription(self, template_id: str, on: bool) -> None:
        """Switch a subscription template on or off in the settings (用户管理订阅通知); only off is pushed."""
        with self._world.lock:
            account, user, now = self._begin()
            event = outreach.change_subscription(account, user.openid, template_id, on)
            if event is not None:
                people.act(self._world, account, user, event, now)
            self._world.announce()

    def share(self, article: str, *, scene: int = 1) -> None:
        """Share an article (分享): with a friend (1), in the feed (2), elsewhere (255). Only statistics notice."""
        with self._world.lock:
            account, user, now = self._begin()
            published = library.find_readable(account, article)
            statistics.count_share(account, published.key, user.openid, now, scene=scene)
            self._world.announce()

    def push(self, fields: JsonObject) -> Push | None:
        """Push any fields about this user; see :meth:`World.push <wxmp.simulator.World.push>`."""
        return self._world.push(fields, self.openid, appid=self._appid)


def read_menu(world: World, account: Account, user: User, now: float) -> None:
    """Let a phone read the menu in force."""
    shown = menus.shown_menu(world, account, user) if user.following else None
    # A copy: the menu in force may be changed, and this one must not follow.
    user.menu_seen = None if shown is None else attrs.evolve(shown, button=list(shown.button))
    user.menu_read_at = now


def seen_menu(world: World, account: Account, user: User) -> ConditionalMenu | None:
    """Return the menu a phone shows: the one it has read, or the one in force when it has never read any."""
    return menus.shown_menu(world, account, user) if user.menu_read_at is None else user.menu_seen


def given(**fields: object) -> JsonObject:
    """Return the fields that are not ``None``."""
    return {name: value for name, value in fields.items() if value is not None}


def place_info(place: Place) -> JsonObject:
    """Return a chosen place as a menu event has it: all values are texts there."""
    latitude, longitude, label = place
    return {"Location_X": str(latitude), "Location_Y": str(longitude), "Scale": "15", "Label": label, "Poiname": ""}
