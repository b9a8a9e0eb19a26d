"""The reference: what autodoc needs to know of this package, and where its names lead."""

from __future__ import annotations

import ast
import builtins
import contextlib
import enum
import importlib
import inspect
import pkgutil
import re
import sys
from typing import TYPE_CHECKING, Any, get_origin

from sphinx import addnodes
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

import wxmp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def give_types() -> None:
    """Run the imports that only type checkers see, so that annotations can be read.

    Everything is loaded first, so that nothing can go in circles.
    """
    names = [found.name for found in pkgutil.walk_packages(wxmp.__path__, "wxmp.")]
    modules = [
        importlib.import_module(name)
        for name in names
        if "__main__" not in name and ".cli" not in name
    ]
    for module in modules:
        source = inspect.getsource(module)
        for node in ast.parse(source).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for statement in node.body:
                    with contextlib.suppress(ImportError):
                        exec(ast.unparse(statement), vars(module))  # noqa: S102 - our own imports


def put_calls_first() -> None:
    """Let the page of a family begin with its calls; the records follow in the order of the source."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("wxmp.api."):
            analyzer = ModuleAnalyzer.for_module(name)
            analyzer.analyze()
            places, names = analyzer.tagorder, vars(module)
            # Sphinx shows the members of a module in the order of this list.
            module.__all__ = sorted(
                module.__all__,
                key=lambda entry: (
                    not _is_family(names[entry]),
                    places.get(entry, len(places)),
                    entry,
                ),
            )


def _is_family(value: object) -> bool:
    return (
        inspect.isclass(value)
        and value.__module__.startswith("wxmp.")
        and value.__name__.endswith("API")
    )


class Docstring(GoogleDocstring):
    """Our docstrings: types stand in the signature, so that a colon in a sentence is only a colon."""

    def _consume_returns_section(
        self, preprocess_types: bool = False
    ) -> list[tuple[str, str, list[str]]]:
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if lines else []

    def _parse_attribute_docstring(self) -> list[str]:
        return list(self._lines)

    def _parse_custom_generic_section(self, section: str) -> list[str]:
        """Show where a fact comes from: one line each, without a heading."""
        lines = [
            line.strip() for line in self._consume_to_next_section() if line.strip()
        ]
        return [
            ".. container:: source",
            "",
            *[f"   | {self._source(line)}" for line in lines],
            "",
        ]

    @staticmethod
    def _source(line: str) -> str:
        return re.sub(r"^((?:GET|POST|PUT|DELETE|PATCH) \S+)", r"``\1``", line)


def read(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn a docstring into reStructuredText."""
    lines[:] = Docstring(list(lines), app.config, app, what, name, obj, options).lines()


def shorten(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str,
    returns: str,
) -> Any:
    """Leave the constructor of a family out, because the client calls it, and the default that says "a new one"."""
    if what == "class" and _is_family(obj):
        return "", returns
    return (signature or "").replace("= NOTHING", "= ...") or signature, returns


def skip(
    app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any
) -> bool | None:
    """Show the members of an enum, and not the field that every record has."""
    if name == "extra":
        return True
    return False if isinstance(obj, enum.Enum) else None


def named(target: str, rooms: Iterable[str]) -> tuple[object, str] | None:
    """Return the thing a name stands for, and its full name: as a module reads it, else as an absolute address."""
    first, _, rest = target.partition(".")
    for room in rooms:
        scope = vars(sys.modules.get(room, object))
        if first in scope:
            found = _walk(scope[first], rest)
            if found is not None:
                return found, _home(found, scope[first], rest, f"{room}.{target}")
    if hasattr(builtins, first) and not rest:
        return getattr(builtins, first), target
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None:
            found = _walk(module, ".".join(parts[length:]))
            return None if found is None else (found, _home(found, found, "", target))
    return None


def _walk(value: object, path: str) -> object | None:
    for name in filter(None, path.split(".")):
        fields = {field.name: field for field in getattr(value, "__attrs_attrs__", ())}
        value = getattr(value, name, None) or fields.get(name) or vars(value).get(name)
        if value is None:
            return None
    return value


def _home(found: object, first: object, rest: str, address: str) -> str:
    if inspect.ismodule(found):
        return found.__name__
    if get_origin(first) is not None or not (
        inspect.isclass(first) or inspect.isroutine(first)
    ):
        return address
    home, name = first.__module__, first.__qualname__
    return f"{home}.{name}" + (f".{rest}" if rest else "")


def point(app: Sphinx, doctree: nodes.document) -> None:
    """Give each name its full address, and leave those of other packages as words.

    Names are looked up where they were written, in the module itself. What is found nowhere stays as it is, for Sphinx
    to complain.
    """
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("refdomain") != "py":
            continue
        target, room = node["reftarget"], node.get("py:module") or "wxmp"
        owner = node.get("py:class")
        rooms = [
            room,
            "wxmp",
            "wxmp.webhook",
            "wxmp.pay",
            "wxmp.broadcast",
            "wxmp.control",
        ]
        found = named(f"{owner}.{target}", [room]) if owner else None
        found = (
            found
            or named(target, rooms)
            or (named(target, sorted(sys.modules)) if _in_signature(node) else None)
        )
        if found is None:
            if _in_signature(node) and not target.replace(".", "").isidentifier():
                node.replace_self(node.children)
            continue
        if not found[1].startswith("wxmp"):
            node.replace_self(node.children)
        else:
            node["reftarget"] = found[1]
            node.attributes.pop("refspecific", None)
            node["undocumented"] = _in_signature(node)


def _in_signature(node: nodes.Node | None) -> bool:
    """Types of signatures may be private; what a sentence refers to may not."""
    while node is not None:
        if isinstance(node, addnodes.desc_signature):
            return True
        node = node.parent
    return False


def rescue(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Node
) -> nodes.Node | None:
    """Find the members of what is shown under another module's name; show private types of signatures as words."""
    if node.get("refdomain") != "py":
        return None
    domain, tail = (
        env.domains.python_domain,
        ".".join(node["reftarget"].split(".")[-2:]),
    )
    found = [name for name in domain.objects if name.endswith(f".{tail}")]
    if len(found) == 1 and "." in tail:
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", found[0], node, content
        )
    return content if node.get("undocumented") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hooks."""
    give_types()
    put_calls_first()
    for name, value, rebuild, types in Config._config_values:  # noqa: SLF001 - as the extension does
        app.add_config_value(name, value, rebuild, types=types)
    app.connect("autodoc-process-docstring", read)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", shorten)
    app.connect("doctree-read", point)
    app.connect("missing-reference", rescue)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
