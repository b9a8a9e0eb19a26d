"""What users write to the account (接收普通消息), and how the fields of a push become attributes of a record.

A push is read leniently. Only its envelope must be there. All other fields may be missing, empty or unreadable (the
platform's own samples hold ``"xxxx"`` for numbers):

* a text that is always sent reads as ``""`` when it is missing, one that is sometimes sent as ``None``; an element that
  is there and empty reads as ``""`` in both cases;
* a number, a time, a flag or a nested record reads as ``None``;
* a list reads as ``()``;
* of a field that occurs twice the first one counts.

What came stays in ``raw``. All attributes have defaults, so that a test can write ``TextMessage(content="hi")``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar, cast

import attrs

from wxmp._wire import WIRE_NAME, wire
from wxmp.webhook.reading import Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from wxmp.webhook.reading import RawValue

    #: Makes the value of an attribute; None leaves the attribute at its default.
    Read: TypeAlias = Callable[[RawValue], object]

__all__ = [
    "MESSAGES",
    "DeviceEventMessage",
    "DeviceTextMessage",
    "ImageMessage",
    "LinkMessage",
    "LocationMessage",
    "Message",
    "MiniProgramPageMessage",
    "Push",
    "ShortVideoMessage",
    "TextMessage",
    "UnknownMessage",
    "VideoMessage",
    "VoiceMessage",
]

R = TypeVar("R")
T = TypeVar("T")

#: Most digits of a whole number. The platform's ids have 19; Python takes seconds for a number of a million digits.
LONGEST_INTEGER: Final = 40
#: Most characters of any other number.
LONGEST_NUMBER: Final = 60
#: No whole number is as large as this.
TOO_LARGE: Final = 10**LONGEST_INTEGER

#: Python's own functions also take underscores, digits of other scripts, "nan" and "infinity".
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_FLAGS: Final[Mapping[str, bool]] = {"0": False, "1": True, "false": False, "true": True}

#: Where the metadata of an attribute keeps its function that reads, and other spellings of its name on the wire.
READ: Final = "wxmp.webhook.read"
ALIASES: Final = "wxmp.webhook.aliases"


# ---- values


def _first(value: RawValue) -> RawValue:
    """Return the first of several elements of one name."""
    return (value[0] if value else None) if isinstance(value, list) else value


def read_text(value: RawValue) -> str | None:
    """Return a text. JSON may send a number or a truth value where XML has text."""
    if type(value) is str:  # nearly always, and this is the hot path
        return value
    value = _first(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -TOO_LARGE < value < TOO_LARGE else None
    return repr(value) if isinstance(value, float) and math.isfinite(value) else None


def read_integer(value: RawValue) -> int | None:
    """Return a whole number."""
    if not isinstance(value, str):
        value = _first(value)
    if isinstance(value, str):
        # 64 bits have 19 digits or 20; the rest is for signs and blanks.
        if value.isdecimal() and value.isascii() and len(value) <= LONGEST_INTEGER:
            return int(value)
        value = value.strip() if len(value) <= LONGEST_NUMBER else ""
        return int(value) if _INTEGER.fullmatch(value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < TOO_LARGE else None
    if isinstance(value, int):
        return int(value) if -TOO_LARGE < value < TOO_LARGE else None
    return None


def read_number(value: RawValue) -> float | None:
    """Return a finite number."""
    value = _first(value)
    if isinstance(value, str):
        value = value.strip() if len(value) <= LONGEST_NUMBER else ""
        if not _NUMBER.fullmatch(value):
            return None
        number = float(value)
    elif isinstance(value, int | float) and -TOO_LARGE < value < TOO_LARGE:
        number = float(value)
    else:
        return None
    return number if math.isfinite(number) else None


def read_instant(value: RawValue) -> datetime | None:
    """Return a time in UTC; the platform writes 0 for a time that is not known."""
    seconds = read_integer(value)
    if seconds is None or seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def read_flag(value: RawValue) -> bool | None:
    """Return a truth value: 0 or 1, or true or false in words."""
    value = read_text(value)
    return None if value is None else _FLAGS.get(value.strip().lower())


def _read_integers(value: RawValue) -> tuple[int, ...]:
    """Return the readable numbers of a repeated element."""
    numbers = map(read_integer, value if isinstance(value, list) else [value])
    return tuple(number for number in numbers if number is not None)


def _objects(value: RawValue) -> Iterator[Fields]:
    """Yield the objects of a list; a list of one may come without the list."""
    for one in value if isinstance(value, list) else (value,):
        if isinstance(one, dict):
            yield one


def _entries(value: RawValue, item: str, names: frozenset[str]) -> Iterator[Fields]:
    """Yield the entries of a list: elements called ``item`` inside a wrapper, or the entries without the wrapper."""
    for one in _objects(value):
        if item in one:
            yield from _objects(one[item])
        elif not names.isdisjoint(one):
            yield one


# ---- records


@attrs.frozen
class Plan:
    """How the fields of a push become the attributes of one class."""

    #: Name on the wire -> attribute, how to read it.
    known: Mapping[str, tuple[str, Read]]
    #: Other spellings; they count where the first one says nothing.
    aliases: tuple[tuple[str, str, Read], ...]
    #: All names that the record has an attribute for.
    names: frozenset[str]


#: As many as there are classes.
_plans: Final[dict[type[object], Plan]] = {}


def plan_of(cls: type[object]) -> Plan:
    """Return the plan of a class; made when its first push comes."""
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _make_plan(cls)
    return plan


def _make_plan(cls: type[object]) -> Plan:
    known: dict[str, tuple[str, Read]] = {}
    aliases: list[tuple[str, str, Read]] = []
    for attribute in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
        read = attribute.metadata.get(READ)
        if read is None:
            continue
        name = attribute.metadata[WIRE_NAME]
        known[name] = attribute.name, read
        aliases += [(other, attribute.name, read) for other in attribute.metadata[ALIASES]]
    return Plan(known, tuple(aliases), frozenset(known) | {other for other, _, _ in aliases})


def read_record(cls: type[R], fields: Fields, values: dict[str, object]) -> R:
    """Make a record of its fields and of the given values of attributes. Nothing in the fields can make it fail."""
    plan = plan_of(cls)
    known = plan.known
    for name, value in fields.items():
        found = known.get(name)
        if found is not None:
            attribute, read = found
            read_value = read(value)
            if read_value is not None:
                values[attribute] = read_value
    for name, attribute, read in plan.aliases:
        if name in fields and values.get(attribute) in (None, "", ()):
            read_value = read(fields[name])
            if read_value is not None:
                values[attribute] = read_value
    make = cast("Callable[..., R]", cls)
    return make(**values)


# ---- attributes. Each of these stands where a default stands, and says the name on the wire.


def _attribute(default: T, read: Read, name: str, aliases: tuple[str, ...]) -> T:
    return attrs.field(default=default, metadata={**wire(name), READ: read, ALIASES: aliases})


def text(name: str, *aliases: str) -> str:
    """Declare a text that is always sent: ``""`` without it."""
    return _attribute("", read_text, name, aliases)


def optional_text(name: str, *aliases: str) -> str | None:
    """Declare a text that is sometimes sent: None without it."""
    return _attribute(None, read_text, name, aliases)


def integer(name: str, *aliases: str) -> int | None:
    """Declare a whole number."""
    return _attribute(None, read_integer, name, aliases)


def number(name: str, *aliases: str) -> float | None:
    """Declare a number."""
    return _attribute(None, read_number, name, aliases)


def instant(name: str, *aliases: str) -> datetime | None:
    """Declare a time, in seconds since 1970 on the wire."""
    return _attribute(None, read_instant, name, aliases)


def flag(name: str, *aliases: str) -> bool | None:
    """Declare a truth value, 0 or 1 on the wire."""
    return _attribute(None, read_flag, name, aliases)


def integers(name: str, *aliases: str) -> tuple[int, ...]:
    """Declare a repeated element that holds a whole number."""
    return _attribute((), _read_integers, name, aliases)


def group(name: str, cls: type[R], *aliases: str) -> R | None:
    """Declare an element that holds fields of its own."""

    def read(value: RawValue) -> R | None:
        value = _first(value)
        return read_record(cls, value, {}) if isinstance(value, dict) else None

    return _attribute(None, read, name, aliases)


def records(name: str, cls: type[R], *aliases: str, item: str = "") -> tuple[R, ...]:
    """Declare a repeated element that holds fields, or a wrapper around elements called ``item``."""

    def read(value: RawValue) -> tuple[R, ...]:
        return tuple(read_record(cls, entry, {}) for entry in _entries(value, item, plan_of(cls).names))

    return _attribute((), read, name, aliases)


# ---- what all pushes have


@attrs.frozen(kw_only=True)
class Push:
    """Anything that the platform sends to our address (消息与事件推送).

    Two records are equal when their attributes are; ``raw`` is left out, because XML and JSON spell the same push
    differently.
    """

    #: The ``MsgType`` of this class.
    type_name: ClassVar[str] = ""

    #: The account's original id (``gh_…``), not its appid.
    to_user_name: str = text("ToUserName")
    #: The sender's openid. Notices come from an account of the platform: see :attr:`openid`.
    from_user_name: str = text("FromUserName")
    #: Seconds since 1970; :attr:`created_at` is the same as a datetime.
    create_time: int = attrs.field(default=0, metadata={**wire("CreateTime"), READ: read_integer, ALIASES: ()})
    #: As sent: ``text``, ``image`` ..., ``event``.
    msg_type: str = attrs.field(
        default=attrs.Factory(lambda self: self.type_name, takes_self=True),
        metadata={**wire("MsgType"), READ: read_text, ALIASES: ()},
    )
    #: All fields as they came; XML holds texts only.
    raw: Fields = attrs.field(factory=dict, eq=False, repr=False)

    @property
    def created_at(self) -> datetime:
        """The time of the push on the platform's clock (消息创建时间), in UTC."""
        return datetime.fromtimestamp(self.create_time, UTC)

    @property
    def openid(self) -> str:
        """The user it is about. That is the sender, except for some notices."""
        return self.from_user_name

    @property
    def event(self) -> str | None:
        """The name of the event (事件类型) as sent; None for a message."""
        return None

    @property
    def key(self) -> str | None:
        """The event's key (EventKey): key of a menu button, its URL, a scene; None without one or if it is empty."""
        return None

    @property
    def extra(self) -> Fields:
        """The fields that the record has no attribute for, as they came."""
        names = plan_of(type(self)).names
        return {name: value for name, value in self.raw.items() if name not in names}


@attrs.frozen(kw_only=True)
class Message(Push):
    """What a user wrote (普通消息)."""

    #: Id of 64 bits. A repeated delivery carries the same one; two users may have the same one.
    msg_id: int | None = integer("MsgId")
    #: Id of the article from whose page the user wrote; None otherwise.
    msg_data_id: str | None = optional_text("MsgDataId")
    #: Position of that article among those sent together, from 1.
    idx: int | None = integer("Idx")
    #: Id of the sub-merchant whose customer service is meant.
    business_id: int | None = integer("BusinessId")
    #: Id of the line that the user tapped in a menu message of the customer service (客服消息菜单); comes with a text.
    bizmsgmenuid: str | None = optional_text("bizmsgmenuid")


# ---- messages


@attrs.frozen(kw_only=True)
class TextMessage(Message):
    """A text (文本消息). A reply is shown.

    A kind of message that the account cannot receive, most stickers for example, arrives as a text with a fixed
    sentence such as ``【收到不支持的消息类型，暂无法显示】``. Classic emoticons are codes such as ``/:8-)``.
    """

    type_name: ClassVar[str] = "text"

    #: As typed: spaces at both ends and line breaks are the user's own. It may be empty.
    content: str = text("Content")


@attrs.frozen(kw_only=True)
class ImageMessage(Message):
    """A picture (图片消息). A reply is shown."""

    type_name: ClassVar[str] = "image"

    #: Address of the picture, made by WeChat; it lives long.
    pic_url: str = text("PicUrl")
    #: Can be downloaded for 3 days.
    media_id: str = text("MediaId")


@attrs.frozen(kw_only=True)
class VoiceMessage(Message):
    """A sound (语音消息). A reply is shown."""

    type_name: ClassVar[str] = "voice"

    #: Can be downloaded for 3 days; 8 kHz when the format is amr.
    media_id: str = text("MediaId")
    #: ``amr``, ``speex`` ...
    format: str = text("Format")
    #: The same sound at 16 kHz.
    media_id_16k: str | None = optional_text("MediaId16K")
    #: What was said, if speech recognition is on (语音识别结果); often empty.
    recognition: str | None = optional_text("Recognition")


@attrs.frozen(kw_only=True)
class VideoMessage(Message):
    """A video (视频消息). A reply is shown."""

    type_name: ClassVar[str] = "video"

    #: Can be downloaded for 3 days.
    media_id: str = text("MediaId")
    #: The thumbnail.
    thumb_media_id: str = text("ThumbMediaId")


@attrs.frozen(kw_only=True)
class ShortVideoMessage(Message):
    """A short video taken in the chat (小视频消息). A reply is shown."""

    type_name: ClassVar[str] = "shortvideo"

    #: Can be downloaded for 3 days.
    media_id: str = text("MediaId")
    #: The thumbnail.
    thumb_media_id: str = text("ThumbMediaId")


@attrs.frozen(kw_only=True)
class LocationMessage(Message):
    """A place that the user chose (地理位置消息). A reply is shown.

    The reports of the user's own position are events (:class:`~wxmp.webhook.events.LocationReportEvent`).
    """

    type_name: ClassVar[str] = "location"

    #: Degrees of latitude, whatever the letter suggests.
    location_x: float | None = number("Location_X")
    #: Degrees of longitude.
    location_y: float | None = number("Location_Y")
    #: Zoom of the map.
    scale: float | None = number("Scale")
    #: Description of the place.
    label: str = text("Label")

    @property
    def latitude(self) -> float | None:
        """Degrees of latitude (地理位置纬度)."""
        return self.location_x

    @property
    def longitude(self) -> float | None:
        """Degrees of longitude (地理位置经度)."""
        return self.location_y


@attrs.frozen(kw_only=True)
class LinkMessage(Message):
    """A link (链接消息). A reply is shown."""

    type_name: ClassVar[str] = "link"

    title: str = text("Title")
    description: str = text("Description")
    url: str = text("Url")


@attrs.frozen(kw_only=True)
class MiniProgramPageMessage(Message):
    """A card of a mini program (小程序卡片消息); mini programs push it to an address shared with them."""

    type_name: ClassVar[str] = "miniprogrampage"

    title: str = text("Title")
    #: The mini program.
    appid: str = text("AppId")
    #: Path of the page, with its query.
    page_path: str = text("PagePath")
    #: Address of the thumbnail.
    thumb_url: str = text("ThumbUrl")
    #: The thumbnail, if it can be downloaded.
    thumb_media_id: str | None = optional_text("ThumbMediaId")


@attrs.frozen(kw_only=True)
class DeviceTextMessage(Message):
    """What a piece of hardware sent (设备消息). A retired product."""

    type_name: ClassVar[str] = "device_text"

    device_type: str = text("DeviceType")
    device_id: str = text("DeviceID")
    session_id: str = text("SessionID")
    #: What the device sent, in base64.
    content: str = text("Content")
    #: The user of the device (OpenID); :attr:`openid` is the same.
    affected_openid: str = text("OpenID")

    @property
    def openid(self) -> str:
        """The user of the device."""
        return self.affected_openid or self.from_user_name


@attrs.frozen(kw_only=True)
class DeviceEventMessage(Message):
    """What happened to a piece of hardware (设备事件). A retired product.

    Its ``MsgType`` is not ``event``: it is a message with a name of an event.
    """

    type_name: ClassVar[str] = "device_event"

    #: ``bind``, ``unbind``, ``subscribe_status`` or ``unsubscribe_status``.
    event: str = text("Event")  # pyright: ignore[reportIncompatibleMethodOverride] - an attribute that is only read
    device_type: str = text("DeviceType")
    device_id: str = text("DeviceID")
    session_id: str | None = optional_text("SessionID")
    #: What the device sent, in base64.
    content: str | None = optional_text("Content")
    #: 0 end of the subscription, 1 heartbeat, 2 subscription.
    op_type: int | None = integer("OpType")
    #: The user of the device (OpenID); :attr:`openid` is the same.
    affected_openid: str = text("OpenID")

    @property
    def openid(self) -> str:
        """The user of the device."""
        return self.affected_openid or self.from_user_name


@attrs.frozen(kw_only=True)
class UnknownMessage(Message):
    """A kind of message that this version does not know; ``extra`` has its fields."""

    #: All fields as they came.
    raw: Fields = attrs.field(factory=dict, hash=False)


#: The classes by their ``MsgType`` (消息类型).
MESSAGES: Final[Mapping[str, type[Message]]] = {
    cls.type_name: cls
    for cls in (
        TextMessage,
        ImageMessage,
        VoiceMessage,
        VideoMessage,
        ShortVideoMessage,
        LocationMessage,
        LinkMessage,
        MiniProgramPageMessage,
        DeviceTextMessage,
        DeviceEventMessage,
    )
}
