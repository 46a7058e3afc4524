"""How docstrings of the package become Markdown: a griffe extension.

- `Name` between single backticks is a cross reference, ``code`` between double ones is not. A name that the package
  doesn't know is a warning, which is an error when the site is built. What has no entry of its own stays code.
- ``#:`` comments above an attribute and the description of a pydantic field are its docstring.
- `training.steps` is a key of an experiment file. Lines of ``>>>`` are a code block, and so is what follows ``::``.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from griffe import Alias, Attribute, Class, Docstring, Extension, Module, Object
from mkdocs.plugins import get_plugin_logger

log = get_plugin_logger("docstrings")

REFERENCE = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)(\(\))?`(?!`)")
LITERAL = re.compile(r"::(?=\n\n? +\S)")
DOCTEST = re.compile(r"(?m)^>>> (?:.|\n(?!\n))*")


class Docstrings(Extension):
    def on_package(self, *, pkg: Module, **_: Any) -> None:
        if pkg.name != "icl_curriculum":
            return
        names = Names(pkg)
        for item in walk(pkg):
            if isinstance(item, Attribute):
                describe(item)
            if item.docstring is not None:
                item.docstring.value = markdown(item.docstring.value, item, names)


def walk(item: Object) -> Iterator[Object]:
    """An object and all that it holds, without what it imports."""
    yield item
    for member in item.members.values():
        if isinstance(member, Object):
            yield from walk(member)


def markdown(text: str, owner: Object, names: Names) -> str:
    """A docstring with its references as links and its examples as code blocks."""

    def linked(match: re.Match[str]) -> str:
        name = match[1]
        path = names.path(name, owner)
        if path is None:
            log.warning(f"{owner.path}: the docstring refers to `{name}`, which the package doesn't know")
            return match[0]
        if not path:
            return match[0]
        return f'<autoref optional identifier="{path}"><code>{name}{match[2] or ""}</code></autoref>'

    text = LITERAL.sub(":", REFERENCE.sub(linked, text))
    return DOCTEST.sub(lambda match: f"```pycon\n{match[0]}\n```", text)


class Names:
    """What a name in a docstring may mean."""

    def __init__(self, package: Module) -> None:
        self.package = package
        self.everywhere: dict[str, set[str]] = {}
        self.objects: dict[str, Object] = {}
        for item in walk(package):
            self.objects[item.path] = item
            if isinstance(item, Module) or isinstance(item.parent, Module):
                self.everywhere.setdefault(item.name, set()).add(item.path)
            if isinstance(item, Class):
                # `linear` is the class that is registered by this name.
                for decorator in item.decorators:
                    found = re.fullmatch(r"register_\w+\(['\"](\w+)['\"]\)", str(decorator.value))
                    if found:
                        self.everywhere.setdefault(found[1], set()).add(item.path)

    def path(self, name: str, owner: Object) -> str | None:
        """The path of what is meant: empty for what is another package's, None for what is nothing."""
        first, *rest = name.split(".")
        if first in KEYS and f"{KEYS[first]}.{'.'.join(rest)}" in self.objects:
            return f"{KEYS[first]}.{'.'.join(rest)}"
        for scope in self._scopes(owner):
            path = self._member(scope, first)
            if path is None:
                continue
            if not path.startswith("icl_curriculum"):
                return ""
            for part in rest:
                inner = self.objects.get(path)
                path = None if inner is None else self._member(inner, part)
                if path is None:
                    break
            if path is not None:
                return path
        ends = [path for path in self.objects if path.endswith(f".{name}")] if rest else self._anywhere(name)
        if ends:
            return min(ends, key=len)
        return "" if first in EXTERNAL else None

    def _anywhere(self, name: str) -> set[str]:
        found = self.everywhere.get(name, set())
        kinds = {path for path in found if not isinstance(self.objects[path], Module)}
        return kinds or found

    def _scopes(self, owner: Object) -> Iterator[Object]:
        scope: Any = owner
        while scope is not None:
            yield scope
            scope = scope.parent

    def _member(self, scope: Object, name: str) -> str | None:
        member = scope.members.get(name)
        if isinstance(member, Alias):
            return member.target_path
        if member is not None:
            return member.path
        if isinstance(scope, Class):
            for base in scope.bases:
                named = str(base).split("[")[0].split(".")[-1]
                for path in self.everywhere.get(named, ()):
                    inherited = self._member(self.objects[path], name)
                    if inherited is not None:
                        return inherited
        return None


#: The classes of the tables of an experiment file.
KEYS = {
    "curriculum": "icl_curriculum.config.tables.CurriculumConfig",
    "evaluation": "icl_curriculum.config.tables.EvaluationConfig",
    "instruction": "icl_curriculum.config.tables.InstructionConfig",
    "model": "icl_curriculum.models.transformer.TransformerConfig",
    "training": "icl_curriculum.config.tables.TrainingConfig",
}

#: Packages that docstrings name in full.
EXTERNAL = {"matplotlib", "numpy", "pandas", "pathlib", "scipy", "sklearn", "torch"}


def describe(attribute: Attribute) -> None:
    """Give an attribute the words that stand in its ``#:`` comment or its pydantic field, and the field's default."""
    field = field_of(attribute)
    if field is not None:
        for keyword in field.keywords:
            if keyword.arg == "description" and attribute.docstring is None:
                text = ast.literal_eval(keyword.value)
                attribute.docstring = Docstring(text[:1].upper() + text[1:] + ".", parent=attribute)
        attribute.value = ast.unparse(field.args[0]) if field.args else None
    comment = comment_above(attribute)
    decorator = re.fullmatch(r"[A-Z_]+\.of\((\w+)\)", str(attribute.value))
    if decorator:
        attribute.value, comment = None, f"Decorator, with a name: makes a subclass of `{decorator[1]}` known by it."
    if comment and attribute.docstring is None:
        attribute.docstring = Docstring(comment, parent=attribute)


def field_of(attribute: Attribute) -> ast.Call | None:
    """The call of pydantic's Field that an attribute is set to."""
    if attribute.value is None:
        return None
    try:
        value = ast.parse(str(attribute.value), mode="eval").body
    except SyntaxError:
        return None
    named = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Field"
    return value if isinstance(value, ast.Call) and named else None


def comment_above(attribute: Attribute) -> str:
    if attribute.lineno is None or not isinstance(attribute.filepath, Path):
        return ""
    lines = lines_of(attribute.filepath)
    found: list[str] = []
    number = attribute.lineno - 2
    while number >= 0 and lines[number].strip().startswith("#:"):
        found.insert(0, lines[number].strip().removeprefix("#:").strip())
        number -= 1
    return " ".join(found)


@functools.cache
def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
