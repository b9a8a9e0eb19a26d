"""What every run of the tests says about itself."""

from __future__ import annotations

from tests.browser import chromium


def pytest_report_header() -> str:
    """Say at the top whether the tests of the page take part."""
    path = chromium.find()
    return f"browser: {path}" if path else f"browser: none, the tests of the page are left out ({chromium.MISSING})"
