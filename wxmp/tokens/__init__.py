"""Shared credentials: the stores that hold them and the keeper that renews them (中控)."""

__all__: list[str] = []
