"""What the source of the program says: docstrings of members and settings, and messages of errors."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import avpenet_cli

PACKAGE = Path(avpenet_cli.__file__).parent


def members(kind: type[Enum]) -> Iterator[tuple[Enum, str]]:
    """(member, the docstring below it) of an enumeration."""
    documented = attribute_docs(kind)
    for member in kind:
        yield member, documented.get(member.name, "")


def attribute_docs(kind: type) -> dict[str, str]:
    """Attribute to the docstring below it, or to its entry under `Attributes:` in the class's docstring or a base's."""
    documented: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        if hasattr(cls, "__dataclass_fields__") or cls is kind:
            documented |= _own_attribute_docs(cls)
    return documented


def _own_attribute_docs(kind: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    entries = re.findall(r"^    (\w+(?:, \w+)*): ((?:.|\n {8})+)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)
    found = {name: said for names, said in entries for name in names.split(", ")}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        target = before.target if isinstance(before, ast.AnnAssign) else getattr(before, "targets", [None])[0]
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[target.id] = str(after.value.value)
    return {name: " ".join(text.split()) for name, text in found.items()}


def package_summary(name: str) -> str:
    """The first paragraph of the docstring of a package or module in `avpenet_cli`, on one line."""
    path = PACKAGE / name / "__init__.py" if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split())


def failure_codes() -> dict[str, list[str]]:
    """Code of a `RecordingError` to its messages, in alphabetical order; an ellipsis stands for what is filled in."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in _made(tree, "RecordingError"):
            text = message(call.args[1])
            for word in _words(call.args[0], tree):
                messages = found.setdefault(word, [])
                if text.strip(".") and text not in messages:
                    messages.append(text)
    return dict(sorted(found.items()))


def _made(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    """Every call in a module that makes an object of this class, by its name or as `cls` within it."""
    inside = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    for root, word in [(tree, name), *((node, "cls") for node in inside)]:
        for node in ast.walk(root):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == word and len(node.args) > 1:
                yield node


def _words(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The texts that an expression may stand for; a name stands for what its module assigns to it."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _words(node.body, tree)
        yield from _words(node.orelse, tree)
    elif isinstance(node, ast.Name):
        for statement in ast.walk(tree):
            if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == node.id:
                yield from _words(statement.value, tree)


def message(node: ast.expr) -> str:
    """A message with an ellipsis for each value that is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return re.sub(r"\s*\(\.\.\.\)", "", "".join(message(part) for part in node.values))
    return "..."
