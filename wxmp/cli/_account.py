"""What all commands that call the platform have in common: the account they are for.

A secret is never an argument: arguments show in the process list and stay in the history of the shell.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
from cyclopts import Parameter

from wxmp.client import Client
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.retry import RetryPolicy

__all__ = ["AccountOptions", "options_of"]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class AccountOptions:
    """The account. What is not given comes from the environment: WXMP_APPID, WXMP_SECRET, WXMP_TOKEN_STORE ...

    Args:
        appid: AppID of the account, instead of WXMP_APPID.
        secret_file: File that holds the AppSecret, instead of WXMP_SECRET or WXMP_SECRET_FILE. Without any of them it
            is asked for on a terminal. It is never an argument.
        token_store: Where the token is shared, instead of WXMP_TOKEN_STORE: memory:, file:PATH, redis://…, or
            control:https://…. An address with a password belongs in WXMP_TOKEN_STORE.
        endpoint: Address of the platform, instead of WXMP_ENDPOINT; such as that of wxmp sim.
    """

    appid: str | None = None
    secret_file: Path | None = None
    token_store: str | None = None
    endpoint: str | None = None

    def environ(self) -> dict[str, str]:
        """Return the variables as ``Client.from_env`` takes them: the environment, changed by the options.

        Raises:
            ConfigError: An option cannot work.
        """
        variables = dict(os.environ)
        if self.appid is not None:
            variables["WXMP_APPID"] = self.appid
        if self.secret_file is not None:
            variables["WXMP_SECRET_FILE"] = str(self.secret_file)
            variables.pop("WXMP_SECRET", None)
        if self.token_store is not None:
            if _has_password(self.token_store):
                raise ConfigError(
                    "token_store: an address with a password shows in the process list; set WXMP_TOKEN_STORE instead",
                    field="token_store",
                )
            variables["WXMP_TOKEN_STORE"] = self.token_store
        if self.endpoint is not None:
            variables["WXMP_ENDPOINT"] = self.endpoint
        if _lacks_secret(variables) and sys.stdin.isatty():
            # On the terminal itself, so that a pipe of the output never holds the question.
            variables["WXMP_SECRET"] = getpass.getpass("AppSecret: ")
        return variables

    def client(self, *, retry: RetryPolicy | None = None) -> Client:
        """Make the client.

        Raises:
            ConfigError: An option or a variable is missing or cannot work.
        """
        variables = self.environ()
        secret = variables.get("WXMP_SECRET", "")
        if secret != secret.strip():
            raise ConfigError("WXMP_SECRET: there are blanks or a line break around the value", field="WXMP_SECRET")
        try:
            return Client.from_env(environ=variables, retry=retry)
        except ConfigError as error:
            if error.field != "base_url":  # the client's own name for it, which nobody here has written
                raise
            raise ConfigError(f"WXMP_ENDPOINT, or --endpoint: {error}", field="WXMP_ENDPOINT") from None


def options_of(account: AccountOptions | None) -> AccountOptions:
    """Return the options, also where none was given."""
    return account if account is not None else AccountOptions()


def _has_password(address: str) -> bool:
    try:
        parts = urlsplit(address.partition("control:")[2] or address)
    except ValueError:
        return False  # what it is wrong with is said by who takes it apart
    return bool(parts.password) or "password=" in parts.query


def _lacks_secret(variables: Mapping[str, str]) -> bool:
    if not variables.get("WXMP_APPID") or variables.get("WXMP_TOKEN_STORE", "").startswith("control:"):
        return False
    return not variables.get("WXMP_SECRET") and not variables.get("WXMP_SECRET_FILE")
