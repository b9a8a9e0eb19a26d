"""The control routes under ``/_sim/``: for the page, for tests in other processes, and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route as WebRoute

from wxmp.simulator.control import faults, files, jssdk, money, people, settings, staff, watching
from wxmp.simulator.control.reading import View, endpoint, raw_endpoint

if TYPE_CHECKING:
    from wxmp.simulator.deliver import Courier
    from wxmp.simulator.world import World

__all__ = ["control_routes"]


def control_routes(world: World, courier: Courier | None = None) -> list[WebRoute]:
    """Return the control routes of a world, without their prefix."""
    table: list[tuple[str, str, View]] = [
        *watching.ROUTES,
        *settings.ROUTES,
        ("POST", "/callback", settings.set_callback(courier)),
        *people.ROUTES,
        *faults.ROUTES,
        *money.ROUTES,
        *staff.ROUTES,
        *files.ROUTES,
        *jssdk.ROUTES,
    ]
    return [
        *(WebRoute(path, endpoint(world, view), methods=[method]) for method, path, view in table),
        WebRoute("/scenario", raw_endpoint(world, settings.apply_scenario), methods=["POST"]),
    ]
