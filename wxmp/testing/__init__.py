"""Tests for your own implementations of the interfaces of wxmp. Needs ``pytest`` and ``pytest-asyncio``."""

from __future__ import annotations

import pytest

__all__ = ["TokenStoreContract"]

# assert statements in there then say what they compared, as they do in a test file
pytest.register_assert_rewrite("wxmp.testing.token_store")

from wxmp.testing.token_store import TokenStoreContract  # noqa: E402 - must come after the line above
