"""What a user does with the account on their phone: follow, write, send, tap, scan - and what that tells the server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from wxmp.simulator import menus, people
from wxmp.simulator.wire import WorldError

if TYPE_CHECKING:
    from wxmp.simulator.state import Account, ChatEntry, Push, User
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["SENDABLE", "Phone"]

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

    # --- following ------------------------------------------------------------------------------------------------

    def follow(self, *, scene: str = "ADD_SCENE_SEARCH") -> None:
        """Follow the account (关注)."""
        with self._world.lock:
            account, user, now = self._begin()
            people.follow(self._world, account, user, now, scene=scene, qr=None)
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

    def pay(self) -> None:
        """Let a payment succeed, as far as the customer-service window is concerned."""
        with self._world.lock:
            _account, user, now = self._begin()
            people.open_window(self._world, user, "pay", now)

    # --- messages -------------------------------------------------------------------------------------------------

    def send(self, kind: str, **fields: object) -> None:
        """Send a message of any kind, with the platform's own field names; fields left out get made-up values.

        Args:
            kind: One of :data:`SENDABLE`.
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
        for name in SENDABLE[kind]:
            fields[name] = given[name] if name in given else self._made_up(name, given)
        fields |= {name: value for name, value in given.items() if name not in fields}
        fields["MsgId"] = self._world.next_msgid(account)
        people.act(self._world, account, user, fields, now)

    def _made_up(self, name: str, given: JsonObject) -> object:
        if name in {"MediaId", "ThumbMediaId", "MediaId16K"}:
            return self._world.make_id("media", 64)
        if name == "PicUrl":
            return f"http://mmbiz.qpic.cn/mmbiz_jpg/{given.get('MediaId') or self._world.make_id('picture', 40)}/0"
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

    def send_image(self, *, media_id: str | None = None, pic_url: str | None = None) -> None:
        """Send a picture (图片消息)."""
        self.send("image", **given(MediaId=media_id, PicUrl=pic_url))

    def send_voice(self, *, media_id: str | None = None, recognition: str | None = None) -> None:
        """Send a voice message (语音消息), with the recognised text where the account has that switched on."""
        self.send("voice", **given(MediaId=media_id, Recognition=recognition))

    def send_video(self, *, media_id: str | None = None, short: bool = False) -> None:
        """Send a video or a short video (视频消息, 小视频消息)."""
        self.send("shortvideo" if short else "video", **given(MediaId=media_id))

    def send_location(self, place: Place = HERE, *, scale: int = 15) -> None:
        """Send a place (地理位置消息): latitude, longitude, label."""
        latitude, longitude, label = place
        self.send("location", Location_X=latitude, Location_Y=longitude, Scale=scale, Label=label)

    def send_link(self, url: str, *, title: str = "", description: str = "") -> None:
        """Send a link (链接消息)."""
        self.send("link", Title=title, Description=description, Url=url)

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
            shown = menus.shown_menu(self._world, account, user)
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
                sums = [{"PicMd5Sum": hashlib.md5(m.encode(), usedforsecurity=False).hexdigest()} for m in media]
                event["SendPicsInfo"] = {"Count": pictures, "PicList": {"item": sums}}
            elif kind == "location_select":
                event["SendLocationInfo"] = place_info(place)
            people.act(self._world, account, user, event, now)
            for media_id in media:
                self._send(account, user, now, "image", {"MediaId": media_id})
            if kind == "location_select":
                latitude, longitude, label = place
                sent: JsonObject = {"Location_X": latitude, "Location_Y": longitude, "Scale": 15, "Label": label}
                self._send(account, user, now, "location", sent)
            self._world.announce()
            return button

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

    def push(self, fields: JsonObject) -> Push | None:
        """Push any fields about this user; see :meth:`World.push <wxmp.simulator.World.push>`."""
        return self._world.push(fields, self.openid, appid=self._appid)


def given(**fields: object) -> JsonObject:
    """Return the fields that are not ``None``."""
    return {name: value for name, value in fields.items() if value is not None}


def place_info(place: Place) -> JsonObject:
    """Return a chosen place as a menu event has it: all values are texts there."""
    latitude, longitude, label = place
    return {"Location_X": str(latitude), "Location_Y": str(longitude), "Scale": "15", "Label": label, "Poiname": ""}
