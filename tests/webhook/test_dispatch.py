"""Which handler gets a push."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.webhook.pushes import fields
from wxmp.errors import ConfigError
from wxmp.webhook import (
    EventPush,
    ImageMessage,
    MenuClickEvent,
    Message,
    Push,
    ScanEvent,
    SubscribeEvent,
    TextMessage,
    UnknownEvent,
)
from wxmp.webhook.dispatch import Dispatcher, Handlers
from wxmp.webhook.parsing import read_push


async def handler(message: Push) -> None:
    """Take anything."""


def made(name: str) -> Any:
    """A handler with a name of its own."""

    async def take(message: Push) -> None: ...

    take.__qualname__ = name
    return take


def event(name: str, key: str | None = None) -> Push:
    values = fields("event", Event=name)
    if key is not None:
        values["EventKey"] = key
    return read_push({name: str(value) for name, value in values.items()})


def text() -> Push:
    return read_push({name: str(value) for name, value in fields().items()})


def found(dispatcher: Dispatcher, push: Push) -> str | None:
    route = dispatcher.find(push)
    return None if route is None else route.name


def test_the_nearest_class_wins() -> None:
    """A record goes to the handler of its own class, else to that of the nearest base class."""
    dispatcher = Dispatcher()
    for cls in (Push, Message, TextMessage, EventPush):
        dispatcher.add_class(cls, made(cls.__name__))
    assert found(dispatcher, text()) == "TextMessage"
    assert (
        found(dispatcher, read_push({"ToUserName": "a", "FromUserName": "b", "CreateTime": "1", "MsgType": "image"}))
        == "Message"
    )
    assert found(dispatcher, event("CLICK", "x")) == "EventPush"


def test_an_unknown_event_reaches_its_class() -> None:
    """What the platform will send tomorrow can be handled today."""
    dispatcher = Dispatcher()
    dispatcher.add_class(UnknownEvent, made("unknown"))
    assert found(dispatcher, event("something_new")) == "unknown"


def test_events_by_key_prefix_and_name() -> None:
    """Whole key first, then the longest prefix, then the event, then the class, then the default."""
    dispatcher = Dispatcher()
    dispatcher.set_default(made("default"))
    dispatcher.add_class(MenuClickEvent, made("class"))
    assert found(dispatcher, event("CLICK", "V1")) == "class"
    dispatcher.add_event("click", made("event"), key=None, prefix=None)
    assert found(dispatcher, event("CLICK", "V1")) == "event"
    dispatcher.add_event("Click", made("prefix V"), key=None, prefix="V")
    dispatcher.add_event("Click", made("prefix V1"), key=None, prefix="V1")
    assert found(dispatcher, event("CLICK", "V1")) == "prefix V1"
    assert found(dispatcher, event("CLICK", "V2")) == "prefix V"
    dispatcher.add_event("CLICK", made("key"), key="V1", prefix=None)
    assert found(dispatcher, event("CLICK", "V1")) == "key"
    assert found(dispatcher, event("CLICK", "W")) == "event"
    assert found(dispatcher, event("VIEW", "V1")) == "default"
    assert len(dispatcher) == 6


def test_scenes_by_their_prefix() -> None:
    """A follow through a QR code is told from one without by the prefix qrscene_."""
    dispatcher = Dispatcher()
    dispatcher.add_event("subscribe", made("by code"), key=None, prefix="qrscene_")
    dispatcher.add_class(SubscribeEvent, made("by search"))
    dispatcher.add_class(ScanEvent, made("scan"))
    assert found(dispatcher, event("subscribe", "qrscene_123")) == "by code"
    assert found(dispatcher, event("subscribe", "")) == "by search"
    assert found(dispatcher, event("subscribe")) == "by search"
    assert found(dispatcher, event("SCAN", "123")) == "scan"


def test_without_a_handler_there_is_none() -> None:
    """Nothing is registered: nothing is found."""
    assert found(Dispatcher(), text()) is None


def sync(message: Push) -> None:
    """Not asynchronous."""


class Robot:
    """An object that is a handler."""

    async def __call__(self, message: Push) -> str:
        """Take anything."""
        return "robot"

    async def method(self, message: Push) -> str:
        """Take anything."""
        return "method"


@pytest.mark.parametrize("bad", [sync, lambda message: None, print, functools.partial(sync), 3, Robot])
def test_synchronous_handlers_are_refused(bad: Any) -> None:
    """The error says what to write instead."""
    with pytest.raises(ConfigError, match="async def") as caught:
        Dispatcher().add_class(TextMessage, bad)
    assert caught.value.field == "handler"


@pytest.mark.parametrize("good", [handler, Robot(), Robot().method, functools.partial(handler)])
async def test_all_kinds_of_asynchronous_handlers_work(good: Any) -> None:
    """Functions, methods, objects and partials."""
    dispatcher = Dispatcher()
    dispatcher.add_class(TextMessage, good)
    route = dispatcher.find(text())
    assert route is not None
    await route.run(text(), None)


async def none() -> None: ...
async def two(message: Push, other: Push) -> None: ...
async def only_client(client: object) -> None: ...
async def keyword(*, message: Push) -> None: ...


@pytest.mark.parametrize("bad", [none, two, only_client, keyword])
def test_handlers_with_other_arguments_are_refused(bad: Any) -> None:
    """A handler takes the message, and may take the client."""
    with pytest.raises(ConfigError, match="client"):
        Dispatcher().add_class(TextMessage, bad)


async def with_client(message: Push, client: object) -> object:
    return client


async def with_client_keyword(message: Push, *, client: object, retries: int = 3) -> object:
    return client


async def with_client_or_not(message: Push, client: object = None) -> object:
    return client


@pytest.mark.parametrize("asking", [with_client, with_client_keyword])
async def test_a_handler_gets_the_client_by_name(asking: Any) -> None:
    """Who asks for the client gets it; without one the error says what to do."""
    dispatcher = Dispatcher()
    dispatcher.add_class(TextMessage, asking)
    route = dispatcher.find(text())
    assert route is not None
    client: Any = object()
    assert await route.run(text(), client) is client
    with pytest.raises(ConfigError, match="asks for a client"):
        await route.run(text(), None)


def test_a_place_is_given_once() -> None:
    """A second handler for the same place would never run: it is refused, and both are named."""
    dispatcher = Dispatcher()
    dispatcher.add_class(TextMessage, made("first"))
    with pytest.raises(ConfigError, match=r"first.*second"):
        dispatcher.add_class(TextMessage, made("second"))
    for settings in ({"key": "a", "prefix": None}, {"key": None, "prefix": "a"}, {"key": None, "prefix": None}):
        dispatcher.add_event("CLICK", made("first"), **settings)
        with pytest.raises(ConfigError, match="never run"):
            dispatcher.add_event("click", made("second"), **settings)
    dispatcher.set_default(made("first"))
    with pytest.raises(ConfigError, match="default"):
        dispatcher.set_default(made("second"))


@pytest.mark.parametrize("bad", [int, "text", TextMessage(content="x"), None])
def test_only_classes_of_records_are_taken(bad: Any) -> None:
    """on("text") is a mistake that is told at once."""
    with pytest.raises(ConfigError, match="TextMessage"):
        Dispatcher().add_class(bad, handler)


@pytest.mark.parametrize(
    ("name", "key", "prefix", "field"),
    [
        ("", None, None, "event"),
        (ImageMessage, None, None, "event"),
        ("CLICK", "a", "b", "prefix"),
        ("CLICK", 7, None, "key"),
        ("CLICK", None, "", "prefix"),
    ],
)
def test_odd_events_are_refused(name: Any, key: Any, prefix: Any, field: str) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigError) as caught:
        Dispatcher().add_event(name, handler, key=key, prefix=prefix)
    assert caught.value.field == field


async def test_a_handler_with_a_default_for_the_client_works_without_one() -> None:
    """It gets the client if there is one."""
    dispatcher = Dispatcher()
    dispatcher.add_class(TextMessage, with_client_or_not)
    route = dispatcher.find(text())
    assert route is not None
    client: Any = object()
    assert await route.run(text(), client) is client
    assert await route.run(text(), None) is None


def test_blanks_around_the_name_of_an_event_do_not_count() -> None:
    """The record is found without them, and so is the handler."""
    dispatcher = Dispatcher()
    dispatcher.add_event(" CLICK", made("click"), key=None, prefix=None)
    assert found(dispatcher, event("CLICK ", "x")) == "click"
    with pytest.raises(ConfigError):
        dispatcher.add_event(" ", made("nothing"), key=None, prefix=None)


def parts() -> tuple[Handlers, Handlers]:
    """Two parts that do not get in each other's way."""
    one, two = Handlers(), Handlers()
    one.on(TextMessage)(made("text"))
    one.on_event("CLICK", prefix="V")(made("V"))
    one.default(made("default"))
    two.on_event("CLICK", prefix="V1")(made("V1"))
    two.on_event("CLICK", key="X")(made("X"))
    two.on_event("VIEW")(made("view"))
    return one, two


def test_parts_are_put_together() -> None:
    """Handlers of several modules become those of one webhook, in whatever order they are included."""
    for order in (parts(), parts()[::-1]):
        whole = Handlers()
        whole.include(*order)
        dispatcher = whole._dispatcher
        assert found(dispatcher, text()) == "text"
        assert found(dispatcher, event("CLICK", "V12")) == "V1"
        assert found(dispatcher, event("CLICK", "V2")) == "V"
        assert found(dispatcher, event("CLICK", "X")) == "X"
        assert found(dispatcher, event("VIEW", "https://example.com")) == "view"
        assert found(dispatcher, event("unsubscribe")) == "default"
        assert repr(whole) == "Handlers(6)"


@pytest.mark.parametrize("place", range(6))
def test_a_part_that_does_not_fit_is_not_included(place: int) -> None:
    """A place that is taken is an error that names both handlers, and nothing of the part is taken over."""
    registrations: list[Any] = [
        lambda group: group.on(TextMessage),
        lambda group: group.on_event("CLICK", prefix="V"),
        lambda group: group.default,
        lambda group: group.on_event("CLICK", prefix="V1"),
        lambda group: group.on_event("click", key="X"),
        lambda group: group.on_event("view"),
    ]
    whole, other = Handlers(), Handlers()
    whole.include(*parts())
    other.on(ImageMessage)(made("new"))
    registrations[place](other)(made("second"))
    with pytest.raises(ConfigError, match="second would never run"):
        whole.include(other)
    assert repr(whole) == "Handlers(6)"
