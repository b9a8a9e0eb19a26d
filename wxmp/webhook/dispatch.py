"""Which handler a push goes to (消息分发)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs

from wxmp.errors import ConfigError
from wxmp.webhook.messages import Push

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp.client import Client
    from wxmp.webhook.replies import Reply

__all__ = ["Dispatcher", "Handler", "Handlers", "Route"]

#: ``async def handler(message)`` or ``async def handler(message, client)``. It returns a reply, a text for a
#: ``TextReply``, or ``None`` for nothing to show.
Handler: TypeAlias = "Callable[..., Awaitable[Reply | str | None]]"

H = TypeVar("H", bound="Callable[..., Awaitable[Reply | str | None]]")

#: The name by which a handler asks for the client.
CLIENT: Final = "client"


@attrs.frozen
class Route:
    """A handler, and whether it takes the client."""

    handler: Handler
    wants_client: bool
    #: It has a default for the client, and works without one.
    can_do_without: bool = False

    @property
    def name(self) -> str:
        """How messages call it."""
        return str(getattr(self.handler, "__qualname__", type(self.handler).__name__))

    async def run(self, push: Push, client: Client | None) -> object:
        """Await the handler.

        Raises:
            ConfigError: It asks for a client and there is none.
        """
        if not self.wants_client:
            return await self.handler(push)
        if client is None:
            if self.can_do_without:
                return await self.handler(push)
            raise ConfigError(
                f"{self.name} asks for a client and the webhook has none: pass Webhook(client=...), or use the "
                "integration that hands the application's client over",
                field="client",
            )
        return await self.handler(push, client=client)


class Dispatcher:
    """The handlers of one account. The most specific one gets a push.

    In this order: event with key, event with the longest fitting prefix of the key, event, the record's class or the
    nearest of its base classes, default.
    """

    def __init__(self) -> None:
        self._classes: dict[type[Push], Route] = {}
        self._events: dict[str, Route] = {}
        self._keys: dict[tuple[str, str], Route] = {}
        self._prefixes: dict[str, list[tuple[str, Route]]] = {}
        self._default: Route | None = None

    def __len__(self) -> int:
        prefixes = sum(len(routes) for routes in self._prefixes.values())
        return len(self._classes) + len(self._events) + len(self._keys) + prefixes + (self._default is not None)

    def add_class(self, cls: object, handler: Handler) -> None:
        """Register a handler for a class of records.

        Raises:
            ConfigError: Not a class of records, the class is taken, or the handler cannot work.
        """
        if not (isinstance(cls, type) and issubclass(cls, Push)):
            raise ConfigError(
                f"hook.on() takes classes of wxmp.webhook such as TextMessage, not {cls!r}", field="record"
            )
        self._refuse_second(cls.__name__, self._classes.get(cls), handler)
        self._classes[cls] = route_of(handler)

    def add_event(self, event: object, handler: Handler, *, key: object, prefix: object) -> None:
        """Register a handler for an event, with its key, or the beginning of its key.

        Raises:
            ConfigError: No event name, key and prefix together, the place is taken, or the handler cannot work.
        """
        if not isinstance(event, str) or not event.strip():
            raise ConfigError("hook.on_event() takes the name of an event such as 'CLICK'", field="event")
        if key is not None and prefix is not None:
            raise ConfigError("give key or prefix, not both", field="prefix")
        name = event.strip().lower()
        route = route_of(handler)
        if key is not None:
            if not isinstance(key, str):
                raise ConfigError("key must be a text: keys arrive as text, numbers of scenes too", field="key")
            self._refuse_second(f"{event} with key {key!r}", self._keys.get((name, key)), handler)
            self._keys[name, key] = route
        elif prefix is not None:
            if not isinstance(prefix, str) or not prefix:
                raise ConfigError("prefix must be a text with something in it", field="prefix")
            known = self._prefixes.setdefault(name, [])
            taken = next((other for start, other in known if start == prefix), None)
            self._refuse_second(f"{event} with prefix {prefix!r}", taken, handler)
            known.append((prefix, route))
            known.sort(key=lambda entry: -len(entry[0]))
        else:
            self._refuse_second(event, self._events.get(name), handler)
            self._events[name] = route

    def set_default(self, handler: Handler) -> None:
        """Register the handler for everything that has no other.

        Raises:
            ConfigError: There is one, or the handler cannot work.
        """
        self._refuse_second("the default", self._default, handler)
        self._default = route_of(handler)

    def include(self, other: Dispatcher) -> None:
        """Take over all handlers of another one, or none.

        Raises:
            ConfigError: A place is taken.
        """
        for cls, route in other._classes.items():
            self._refuse_second(cls.__name__, self._classes.get(cls), route.handler)
        for event, route in other._events.items():
            self._refuse_second(event, self._events.get(event), route.handler)
        for (event, key), route in other._keys.items():
            self._refuse_second(f"{event} with key {key!r}", self._keys.get((event, key)), route.handler)
        for event, routes in other._prefixes.items():
            for prefix, route in routes:
                taken = dict(self._prefixes.get(event, ())).get(prefix)
                self._refuse_second(f"{event} with prefix {prefix!r}", taken, route.handler)
        if other._default is not None:
            self._refuse_second("the default", self._default, other._default.handler)
        self._classes |= other._classes
        self._events |= other._events
        self._keys |= other._keys
        for event, routes in other._prefixes.items():
            joined = [*self._prefixes.get(event, ()), *routes]
            self._prefixes[event] = sorted(joined, key=lambda entry: -len(entry[0]))
        self._default = self._default or other._default

    def find(self, push: Push) -> Route | None:
        """Return the handler of a push, or ``None``."""
        if push.event is not None and (self._events or self._keys or self._prefixes):
            route = self._find_event(push.event.strip().lower(), push.key)
            if route is not None:
                return route
        classes = self._classes
        for cls in type(push).__mro__:
            if cls in classes:
                return classes[cls]
        return self._default

    def _find_event(self, name: str, key: str | None) -> Route | None:
        if key is not None:
            route = self._keys.get((name, key))
            if route is not None:
                return route
            for prefix, route in self._prefixes.get(name, ()):
                if key.startswith(prefix):
                    return route
        return self._events.get(name)

    @staticmethod
    def _refuse_second(place: str, taken: Route | None, handler: object) -> None:
        if taken is not None:
            name = getattr(handler, "__qualname__", type(handler).__name__)
            raise ConfigError(f"{place} has a handler already: {taken.name}; {name} would never run", field="handler")


class Handlers:
    """Handlers that belong together (处理函数集合): a webhook, or a part of one in a module of its own.

    ::

        orders = Handlers()


        @orders.on_event("CLICK", key="MY_ORDERS")
        async def show_orders(event: MenuClickEvent) -> str: ...


        hook.include(orders)
    """

    def __init__(self) -> None:
        self._dispatcher = Dispatcher()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._dispatcher)})"

    def on(self, *records: type[Push]) -> Callable[[H], H]:
        """Register a handler for classes of records: ``@hook.on(TextMessage)``.

        A base class takes everything below it that has no handler of its own: ``Message``, ``EventPush``, ``Push``.

        Raises:
            ConfigError: No class of records, one that has a handler, or a handler that cannot work.
        """
        if not records:
            raise ConfigError("hook.on() needs a class of records: @hook.on(TextMessage)", field="record")

        def register(handler: H) -> H:
            for record in records:
                self._dispatcher.add_class(record, handler)
            return handler

        return register

    def on_event(self, event: str, *, key: str | None = None, prefix: str | None = None) -> Callable[[H], H]:
        """Register a handler for an event by its name, in any case: ``@hook.on_event("CLICK", key="help")``.

        Args:
            event: The name, as in ``Event`` of the push.
            key: Only with this ``EventKey``. The key of a follow through a QR code begins with ``qrscene_``.
            prefix: Only with an ``EventKey`` that begins so. A whole key comes first, then the longest prefix.

        Raises:
            ConfigError: The place is taken, or the handler cannot work.
        """

        def register(handler: H) -> H:
            self._dispatcher.add_event(event, handler, key=key, prefix=prefix)
            return handler

        return register

    def default(self, handler: H) -> H:
        """Register the handler for everything that has no other: ``@hook.default``.

        Raises:
            ConfigError: There is one, or it cannot work.
        """
        self._dispatcher.set_default(handler)
        return handler

    def include(self, *others: Handlers) -> None:
        """Take over the handlers that others have now. What is registered there afterwards is not seen here.

        Raises:
            ConfigError: A place is taken; nothing of that one is included.
        """
        for other in others:
            self._dispatcher.include(other._dispatcher)  # noqa: SLF001 - another one of this class


def is_asynchronous(handler: Any) -> bool:
    """Tell whether calling a handler gives something to await."""
    # An object is asynchronous by its method, and a functools.partial by its function.
    method = getattr(type(handler), "__call__", None)  # noqa: B004
    return any(map(inspect.iscoroutinefunction, (handler, method, getattr(handler, "func", None))))


def route_of(handler: Any) -> Route:
    """Look at a handler: it must be asynchronous, and take the push and perhaps the client."""
    name = getattr(handler, "__qualname__", type(handler).__name__)
    if not is_asynchronous(handler):
        raise ConfigError(
            f"{name} is not asynchronous: write 'async def', and 'await asyncio.to_thread(...)' around what blocks. "
            "A handler in a thread could not be stopped, and every other message would wait for a free thread",
            field="handler",
        )
    try:
        parameters = inspect.signature(handler).parameters
    except (TypeError, ValueError):
        return Route(handler, wants_client=False)
    wants_client = CLIENT in parameters and parameters[CLIENT].kind is not inspect.Parameter.POSITIONAL_ONLY
    required = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name != CLIENT
    ]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    first = next((p.name for p in positional if p.name != CLIENT), None)
    if (first is None and not takes_any) or [entry for entry in required if entry != first]:
        raise ConfigError(
            f"{name} must take the message, and may take 'client' by that name: async def {name}(message, client)",
            field="handler",
        )
    can_do_without = wants_client and parameters[CLIENT].default is not inspect.Parameter.empty
    return Route(handler, wants_client=wants_client, can_do_without=can_do_without)
