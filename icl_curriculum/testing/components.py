"""Rules on components of every kind: they can be built, say what they are, and are written and read again."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator

import tomli_w

from icl_curriculum.core.misspelling import misspelt
from icl_curriculum.models.base import Capability
from icl_curriculum.testing.rules import Finding, Note, Rule, rule
from icl_curriculum.testing.subject import AnySubject


@rule("construction", "every abstract method is given, and every field has a default")
def construction(subject: AnySubject) -> Iterator[Finding | Note]:
    if isinstance(subject.given, type):
        missing = sorted(getattr(subject.cls, "__abstractmethods__", ()))
        if missing:
            yield Finding(
                expected=f"{_listed(subject.must_have())}, which a {subject.registry.kind} must have",
                found=f"{subject.cls.__name__} lacks {', '.join(missing)}",
                mend=f"define {', '.join(missing)}; the docstrings of {subject.base.__name__} say what each returns",
            )
            return
        required = [name for name, info in subject.cls.model_fields.items() if info.is_required()]
        if required:
            yield Finding(
                expected="a default for every field, so that the bare name in an experiment file works",
                found=f"no default for {', '.join(required)}",
                mend=f"write {required[0]}: ... = Field(<default>, description=...)",
            )
            return
    _ = subject.as_given


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


@rule("documentation", "a one-line summary in the docstring, and a description of every field")
def documentation(subject: AnySubject) -> Iterator[Finding | Note]:
    lines = (subject.cls.__doc__ or "").strip().split("\n")
    if not lines[0]:
        yield Finding(
            expected="a docstring whose first line is a summary; `icl list` shows it",
            found=f"{subject.cls.__name__} has no docstring",
            mend=f'begin the class with, for example, """{subject.example_summary}"""',
        )
    elif len(lines) > 1 and lines[1].strip():
        yield Finding(
            expected="a summary of one line, followed by a blank line; `icl list` shows that line alone",
            found=f"the docstring goes on in its second line: {lines[0]!r}, {lines[1].strip()!r}",
            mend="shorten the first sentence to one line and leave a blank line after it",
        )
    for name, info in subject.cls.model_fields.items():
        if not (info.description or "").strip():
            yield Finding(
                expected="a description of every field",
                found=f"the field {name!r} has none",
                mend=f"write {name}: ... = Field(..., description='what it does')",
            )


@rule("known methods", "no method, property or class variable is a misspelt one of the contract")
def known_methods(subject: AnySubject) -> Iterator[Finding | Note]:
    for cls, base in subject.contracts():
        for name, meant in misspelt(cls, base).items():
            yield Finding(
                expected=f"under a name close to {meant!r}, that of the contract: {base.__name__}.{meant}",
                found=f"{cls.__name__}.{name}: nothing calls it",
                mend=f"did you mean {meant}? If not, give it a name that is not so close, or begin it with _",
            )


@rule("config", "spec() written to TOML and read again builds an equal component", requires=("construction",))
def config(subject: AnySubject) -> Iterator[Finding | Note]:
    expected = f"a {subject.registry.kind} that is rebuilt, equal, from its spec() by way of a TOML file"
    subject.doing = "spec()"
    spec = subject.as_given.spec()
    try:
        table = tomllib.loads(tomli_w.dumps(spec))
    except TypeError as error:
        yield Finding(
            expected=expected,
            found=f"spec() cannot be written as TOML: {error}; it is {spec}",
            mend="use fields of numbers, strings, booleans, and tuples or models of these",
        )
        return
    try:
        if subject.registered:
            rebuilt = subject.registry.build(table)
        else:
            rebuilt = subject.cls.model_validate({key: value for key, value in table.items() if key != "name"})
    except Exception as error:
        yield Finding(
            expected=expected,
            found=f"building from {table} raises {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            mend="let every field accept what TOML gives: Field(..., strict=False) for a tuple; a validator accepts "
            "what it returned",
        )
        return
    if rebuilt != subject.as_given:
        yield Finding(
            expected=expected,
            found=f"{subject.as_given!r} became {rebuilt!r}",
            mend="keep in each field the value that was given; derive others in properties or methods",
        )


def unlike_capabilities(declared: object) -> str | None:
    """The first thing that is no capability, in words, in what should be a set of them; None where all are."""
    if not isinstance(declared, frozenset | set):
        return repr(declared)
    known = {item.value: f"Capability.{item.name}" for item in Capability}
    for item in declared:
        if not isinstance(item, Capability):
            close = difflib.get_close_matches(str(item), known, n=1)
            return f"{item!r}; " + (
                f"did you mean {known[close[0]]}?" if close else f"known: {', '.join(known.values())}"
            )
    return None


#: The first rules of every kind.
RULES: tuple[Rule[AnySubject], ...] = (construction, documentation, known_methods, config)
