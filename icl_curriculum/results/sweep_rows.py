"""The rows of sweep.csv: which variant has which value of which swept key, as the runs' manifests say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from icl_curriculum.results.fields import EXPERIMENT
from icl_curriculum.results.schema import TableColumn


class SweepRow(NamedTuple):
    """The values of each combination of a sweep: a row for each variant and swept key. Only where there is a sweep."""

    experiment: Annotated[str, EXPERIMENT]
    variant: Annotated[str, TableColumn("the combination, as `width=8,dims=3`", key=True)]
    swept_variant: Annotated[
        str | None,
        TableColumn("the entry of `[variants]` that the values were set in", empty="where the file has none"),
    ]
    parameter: Annotated[str, TableColumn("the dotted key that is swept, as `model.width`", key=True)]
    value: Annotated[
        str, TableColumn("its value: a number, a word, a component's id; items of a list with a plus between them")
    ]


def sweep_rows(manifests: Iterator[Mapping[str, Any]]) -> Iterator[SweepRow]:
    """A row for each variant that a sweep made, and each of its keys. ``manifests``: of the finished runs."""
    met = set[str]()
    for manifest in manifests:
        swept, variant = manifest.get("swept"), str(manifest["variant"])
        if swept and variant not in met:
            met.add(variant)
            for parameter, value in swept["values"].items():
                yield SweepRow(str(manifest["experiment"]), variant, swept["variant"] or None, parameter, value)
