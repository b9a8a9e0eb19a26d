"""An application of one command: a few words in the list of commands, its docstring as its own help."""

from __future__ import annotations

from cyclopts import App

__all__ = ["OneCommand"]


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
