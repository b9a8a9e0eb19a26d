"""The control server (中控服务器): one place keeps tokens fresh, and hands them to services in any language by HTTP.

:class:`ControlServer` is the ASGI application, :class:`ControlKey` says who may ask it for what, and
:class:`HTTPTokenStore` lets a :class:`~wxmp.Client` use it, without the AppSecret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wxmp.control.keys import ControlKey
    from wxmp.control.server import ControlServer
    from wxmp.control.store import HTTPTokenStore

__all__ = ["ControlKey", "ControlServer", "HTTPTokenStore"]

# Names load when they are first asked for: a service that asks the server needs nothing of what serves.
_HOMES = {"ControlKey": "keys", "ControlServer": "server", "HTTPTokenStore": "store"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'wxmp.control' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"wxmp.control.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
