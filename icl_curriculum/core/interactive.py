"""Classes that are typed in, in a notebook or at a prompt: told apart by their source, and defined anew at will."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import linecache
import symtable
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option

#: Where classes were registered: a file or what stands for one, and a line.
_PLACES: weakref.WeakKeyDictionary[type, tuple[str, int]] = weakref.WeakKeyDictionary()


def note_place(cls: type, frame: FrameType) -> None:
    """Note that code in a frame has defined a class."""
    _PLACES[cls] = frame.f_code.co_filename, frame.f_lineno


def is_interactive(cls: type) -> bool:
    """Whether a class was typed in, so that no file says what it is."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None:
        return cls.__module__.partition(".")[0] not in sys.stdlib_module_names or cls.__module__ == "__main__"
    return cls.__module__ == "__main__" and all(place != file for place, _ in _places(cls))


def is_defined_again(old: type, new: type, frame: FrameType) -> bool:
    """Whether a class takes the place of an older one: typed in again, or of a module that is being reloaded.

    ``frame``: where the new one is being registered.
    """
    if (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
        return False
    file = getattr(sys.modules.get(new.__module__), "__file__", None)
    if file is None or (new.__module__ == "__main__" and frame.f_code.co_filename != file):
        return True
    above: FrameType | None = frame
    while above is not None and above.f_code is not importlib.reload.__code__:
        above = above.f_back
    return above is not None


def typed_in(cls: type, outside: Callable[[str], str]) -> str:
    """The source of a class that was typed in, and of all that it uses and was typed in, too.

    ``outside``: what stands for a module that is not the class's own. UserError, with the way out, for what has no
    source that could be had, and for values that are no plain ones.
    """
    found = _Definitions(cls, outside)
    found.add_class(cls)
    return "\n".join(f"{name}\n{text}" for name, text in sorted(found.texts.items()))


class _Definitions:
    """What a class is made of, by name: sources of classes and functions of its module, and the values of variables."""

    def __init__(self, cls: type, outside: Callable[[str], str]) -> None:
        self.cls, self.outside = cls, outside
        self.module = cls.__module__
        self.namespace = vars(sys.modules[self.module])
        self.texts: dict[str, str] = {}

    def add_class(self, cls: type) -> None:
        if f"class {cls.__qualname__}" not in self.texts:
            self._add_source(f"class {cls.__qualname__}", cls, _places(cls), ast.ClassDef)
            for base in cls.__mro__[1:]:
                if base.__module__ == self.module:
                    self.add_class(base)

    def _add_source(self, what: str, defined: Any, places: Iterator[tuple[str, int]], kind: type[ast.AST]) -> None:
        name = defined.__qualname__
        text = next(filter(None, (_source_at(place, name, self.namespace, kind) for place in places)), None)
        if text is None:
            raise self._unseen(f"the source of {name} cannot be had")
        self.texts[what] = text
        for used in sorted(_globals_in(text)):
            if used in self.namespace:
                self._add_value(used, self.namespace[used])

    def _add_value(self, name: str, value: Any) -> None:
        if f"{name} =" in self.texts:
            return
        self.texts[f"{name} ="] = "itself"  # While it is looked into.
        self.texts[f"{name} ="] = self._worded(name, value)

    def _worded(self, name: str, value: Any) -> str:
        if isinstance(value, ModuleType):
            return self.outside(value.__name__)
        if isinstance(value, type):
            if value.__module__ != self.module:
                return f"{value.__qualname__} of {self.outside(value.__module__)}"
            self.add_class(value)
            return value.__qualname__
        function = inspect.unwrap(value) if callable(value) else None
        if isinstance(function, FunctionType | MethodType):
            if function.__module__ != self.module:
                return f"{function.__qualname__} of {self.outside(function.__module__)}"
            places = iter([(function.__code__.co_filename, function.__code__.co_firstlineno)])
            self._add_source(f"def {function.__qualname__}", function, places, ast.FunctionDef)
            return function.__qualname__
        if isinstance(value, BuiltinFunctionType):
            return f"{value.__qualname__} of {value.__module__}"
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | range | PurePath):
            return repr(value)
        if isinstance(value, list | tuple | set | frozenset):
            inner = [self._worded(name, item) for item in value]
            return (
                f"{type(value).__name__}({', '.join(sorted(inner) if isinstance(value, set | frozenset) else inner)})"
            )
        if isinstance(value, dict):
            pairs = (f"{self._worded(name, key)}: {self._worded(name, item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        if hasattr(array, "tobytes") and hasattr(array, "dtype") and str(array.dtype) != "object":
            return f"{array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        if type(value).__module__ in ("typing", "types") or callable(getattr(value, "spec", None)):
            return repr(value)
        raise self._unseen(f"the content of {name}, a {type(value).__name__}, cannot be told")

    def _unseen(self, reason: str) -> UserError:
        where = (
            "a notebook or at a prompt" if self.module == "__main__" else f"the module {self.module}, without a file"
        )
        return UserError(
            f"{self.cls.__qualname__} is defined in {where}, and {reason}, so that an edit would go unnoticed",
            way_out=f"write it to a file of its own, and name that in the file's plugins or by {option('--plugin')}",
        )


def _places(cls: type) -> Iterator[tuple[str, int]]:
    """Where a class may have been defined: where it was registered, and where its methods were."""
    if cls in _PLACES:
        yield _PLACES[cls]
    for value in vars(cls).values():
        inner = getattr(value, "fget", None) or getattr(value, "__func__", None) or getattr(value, "wrapped", None)
        function = (
            inspect.unwrap(getattr(inner or value, "__func__", inner or value)) if callable(inner or value) else 0
        )
        if isinstance(function, FunctionType) and function.__qualname__.startswith(f"{cls.__qualname__}."):
            yield function.__code__.co_filename, function.__code__.co_firstlineno


def _source_at(place: tuple[str, int], name: str, namespace: dict[str, Any], kind: type[ast.AST]) -> str | None:
    """The text of a class or function that is defined at a line of what stands for a file."""
    lines = linecache.getlines(place[0], namespace)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return None
    if name.endswith("<lambda>"):
        kept = [each for each in tree.body if each.lineno <= place[1] <= (each.end_lineno or each.lineno)]
        return ast.get_source_segment("".join(lines), kept[0]) if kept else None
    for qualified, node in _defined_in(tree, ""):
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        if qualified == name and isinstance(node, kind) and first <= place[1] <= (node.end_lineno or first):
            return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
    return None


def _defined_in(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """The classes and functions of a text with their qualified names; none that is defined within a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _defined_in(node, f"{prefix}{node.name}.")
        elif not isinstance(node, ast.expr):
            yield from _defined_in(node, prefix)


def _globals_in(text: str) -> set[str]:
    """The names of a module that a text uses, in whatever function of it."""
    tables = [symtable.symtable(text, "<typed in>", "exec")]
    found: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        whole = table.get_type() == "module"
        found |= {
            each.get_name() for each in table.get_symbols() if each.is_referenced() and (whole or each.is_global())
        }
    return found
