"""The endpoint families: one module each, with its records and its coroutines; loaded when first used."""

__all__: list[str] = []
