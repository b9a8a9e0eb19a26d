"""What commands have in common: how options look in help, and an application of one command."""

from __future__ import annotations

from typing import Final

from cyclopts import App, Parameter

__all__ = ["JSON", "PLAIN", "OneCommand"]

#: An option without a --no- form, whose default says nothing: a switch that is off, a list that is empty.
PLAIN: Final = Parameter(negative="", show_default=False)
#: The switch that makes a command print one line for programs.
JSON: Final = Parameter(name="--json", negative="", show_default=False)


class OneCommand(App):
    """A command that is loaded when it is called.

    The list of commands is given a help of its own, so that nothing has to be loaded for it; cyclopts would then show
    that one everywhere.
    """

    @property
    def help(self) -> str:
        """The docstring of the command."""
        return (self.default_command.__doc__ or "") if self.default_command is not None else ""

    @help.setter
    def help(self, value: str) -> None:
        """Leave it to the list of commands."""
