"""What the command line says about components: lists of them, and how well they keep their contract."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from icl_curriculum.cli import completion, flags, output
from icl_curriculum.cli.completion import COLUMNS, COVERAGE, kinds
from icl_curriculum.config.finding import experiment_names
from icl_curriculum.config.loading import find, read
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.extras import EXTRAS, Extra
from icl_curriculum.core.registry import KINDS, Registry, origin_of
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.schema import TableDefinition
from icl_curriculum.shifts import coverage
from icl_curriculum.testing import check, describe
from icl_curriculum.testing.checking import ToCheck, as_row
from icl_curriculum.testing.rules import Result

#: A name, where it is from, and what it is.
Rows = list[tuple[str, str, str]]
#: The extra that each component needs which does not work in every installation, by the name of the component.
Needs = dict[str, Extra]


def coverage_table() -> str:
    """A Markdown table of function classes by shifts: ✓ where a shift is defined, else the number of a reason below."""
    reasons = coverage()
    classes = list(dict.fromkeys(name for name, _ in reasons))
    shifts = list(dict.fromkeys(shift for _, shift in reasons))
    numbers = {reason: i for i, reason in enumerate(dict.fromkeys(filter(None, reasons.values())), start=1)}
    lines = [f"| | {' | '.join(shift.replace('_', ' ') for shift in shifts)} |", "|---|" + ":-:|" * len(shifts)]
    for name in classes:
        cells = [reasons[name, shift] for shift in shifts]
        lines.append(f"| `{name}` | {' | '.join('✓' if cell is None else str(numbers[cell]) for cell in cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for reason, number in numbers.items())])


def columns_tables() -> str:
    """The columns of every result table in Markdown: a heading, a sentence and a table of columns for each file."""
    return "\n\n".join([_KEYS, *(_columns_table(table) for table in TABLES.values())])


_KEYS = (
    "Keys, taken together, tell the rows of a table apart, and tables join on the keys that both have. An infinite "
    "number is written `inf`; a cell whose value is missing is empty."
)


def _columns_table(table: TableDefinition) -> str:
    lines = [f"### `{table.name}.csv`", "", table.about, ""]
    lines += ["| column | holds | unit | empty | key | meaning |", "|---|---|---|---|:-:|---|"]
    for name, column in table.columns.items():
        joins = f"; joins `{column.joins}`" if column.joins and column.joins != f"{table.name}.csv" else ""
        cells = [f"`{name}`", column.allowed, column.unit, column.empty or "never", "✓" if column.key else ""]
        lines.append(f"| {' | '.join([*cells, column.meaning + joins])} |")
    return "\n".join(lines)


def show_components(kind: str | None) -> None:
    """List experiments and components by kind: name, origin, and what each is in one line."""
    if kind is not None and kind not in kinds():
        raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, kinds())}")
    if kind in (COVERAGE, COLUMNS):
        _show_markdown(kind)
        return
    listed: list[dict[str, str | bool]] = []
    for shown in [kind] if kind else ["experiments", *KINDS, completion.EXTRAS]:
        rows, needs = _rows(shown)
        title = shown.replace("_", " ")
        listed += [_listed(shown, row, needs.get(row[0])) for row in rows]
        if flags.as_json():
            continue
        if not output.results.is_terminal:
            # One line for each component, however long, so that grep finds all of it.
            widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
            lines = [f"  {name:{widths[0]}}  {origin:{widths[1]}}  {text}".rstrip() for name, origin, text in rows]
            output.show("\n".join([title, *lines, ""]))
            continue
        if output.results.width < sum(max(len(row[column]) for row in rows) for column in (0, 1)) + _LEAST:
            _show_below_each_other(title, rows)
            continue
        table = Table(title=title, title_justify="left", show_edge=False, box=None, padding=(0, 2))
        table.add_column("name", no_wrap=True)
        for column in ("from", "what it is"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        output.show(table)
        output.show("")
    output.put(components=listed)


#: The columns of a terminal that the descriptions of components take beside names and origins, at least.
_LEAST = 48


def _show_below_each_other(title: str, rows: Rows) -> None:
    """List components where a terminal has no room for columns: what each is stands below its name."""
    output.show(title)
    for name, origin, text in rows:
        output.show(f"  {name}  ({origin})")
        for line in textwrap.wrap(text, max(20, output.results.width - 6), break_on_hyphens=False):
            output.show(f"      {line}")
    output.show("")


def _show_markdown(kind: str) -> None:
    """Print the table of shifts by classes, or those of columns."""
    if kind == COVERAGE:
        if not flags.as_json():
            output.show(coverage_table())
        output.put_all(
            lambda: {
                "coverage": [
                    {"function_class": name, "shift": shift, "undefined": reason}
                    for (name, shift), reason in coverage().items()
                ]
            }
        )
        return
    output.show(columns_tables())
    output.put(
        columns=[
            {
                "table": table.name, "column": name, "holds": column.allowed, "unit": column.unit,
                "empty": column.empty, "key": column.key, "joins": column.joins, "meaning": column.meaning,
            }
            for table in TABLES.values()
            for name, column in table.columns.items()
        ]
    )  # fmt: skip


def _rows(kind: str) -> tuple[Rows, Needs]:
    """The rows of a kind, and what extras they need, which their texts say, too."""
    if kind == completion.EXTRAS:
        return [(extra.name, extra.here, f"{extra.what}: {extra.install}") for extra in EXTRAS.values()], dict(EXTRAS)
    if kind == "experiments":
        return _experiment_rows(), {}
    return _component_rows(KINDS[kind])


def _listed(kind: str, row: tuple[str, str, str], extra: Extra | None) -> dict[str, str | bool]:
    """A component as JSON has it."""
    name, origin, text = row
    needs: dict[str, str | bool] = {} if extra is None else {"needs": extra.install, "installed": extra.installed}
    return {"kind": kind, "name": name, "from": origin, "what": text, **needs}


def _experiment_rows() -> Rows:
    rows = []
    for name in experiment_names():
        path = find(name)
        try:
            rows.append((name, _near(str(path)), str(read(path).get("description", ""))))
        except UserError as error:
            rows.append((name, "cannot be used", str(error)))
    return rows


def _component_rows(registry: Registry) -> tuple[Rows, Needs]:
    rows: Rows = []
    needs: Needs = {}
    for name in registry.names():
        try:
            cls = registry.get(name)
            text = cls.summary()
            if extra := EXTRAS.get(cls.needs_extra):
                needs[name] = extra
                text = f"{text} Needs {extra.install} ({extra.here})."
            rows.append((name, _near(registry.origin(name)), text))
        except UserError as error:
            # One broken package must not hide all the others.
            rows.append((name, "cannot be used", str(error)))
    return rows, needs


def _near(origin: str) -> str:
    """A path as seen from the working directory, where it lies below it."""
    path = Path(origin)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else origin


def show_checks(subjects: Sequence[ToCheck], *, every_rule: bool) -> bool:
    """Check components and print the results, rule by rule or one line for each; True if all are sound."""
    broken, found = [], []
    for subject in subjects:
        try:
            results = _show_check(subject, every_rule=every_rule)
            found += [as_row(subject.kind, subject.name, result) for result in results]
            sound = all(result.status != "failed" for result in results)
        except UserError as error:
            # One broken package must not hide all the others.
            output.show(f"{subject.name}: {error}")
            found.append({"kind": subject.kind, "component": subject.name, "status": "failed", "found": str(error)})
            sound = False
        if not sound:
            broken.append(subject.name)
    if len(subjects) > 1:
        verdict = f"these do not: {', '.join(broken)}" if broken else "all keep the contract"
        counts = Counter(subject.kind for subject in subjects)
        listed = ", ".join(_counted(n, KINDS[kind].kind) for kind, n in counts.items())
        output.show(f"{listed}; {verdict}")
    output.put(rules=found)
    return not broken


def _counted(n: int, noun: str) -> str:
    """The number of things with their name: ``1 model``, ``15 function classes``, ``6 curricula``."""
    if n != 1:
        noun = noun.removesuffix("um") + "a" if noun.endswith("um") else noun + ("es" if noun.endswith("s") else "s")
    return f"{n} {noun}"


def _show_check(subject: ToCheck, *, every_rule: bool) -> list[Result]:
    """Check a component, print the results and return them."""
    component = subject.component
    origin = _near(KINDS[subject.kind].origin(component) if isinstance(component, str) else origin_of(component))
    output.show(f"{subject.name} ({origin})", end="\n" if every_rule else ": ")
    results = []
    for result in check(component, kind=subject.kind):
        results.append(result)
        if every_rule:
            output.show(describe(result))
    failed = [result for result in results if result.status == "failed"]
    held = sum(result.status == "ok" for result in results)
    output.show(f"{held} rules hold, {len(failed)} do not, {len(results) - held - len(failed)} do not apply")
    for result in failed if not every_rule else ():
        output.show(describe(result))
    return results
