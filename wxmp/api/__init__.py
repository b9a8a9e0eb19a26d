"""The endpoint families: one module each, with its records and its coroutines; loaded when first used.

``client.menu`` is the :class:`~wxmp.api.menu.MenuAPI` of :mod:`wxmp.api.menu`, and so on. What a family takes and gives
is imported from its module, ``from wxmp.api.menu import MenuButton``. Three modules serve several families:
:mod:`wxmp.api.articles` (what drafts, publications and materials are made of), :mod:`wxmp.api.uploads` and
:mod:`wxmp.api.downloads` (the types of files).
"""

__all__: list[str] = []
