"""Prompts from the rows of a table, so that models meet data that nobody generated."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.named_files import File, NamedFile
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes.base import FunctionClass, InputSampler, Parameters, register_function_class

#: What the rows of a data frame are called, and how many random numbers one draw of rows holds.
_IN_MEMORY, _HELD = Path("frame.csv"), 1 << 24


@register_function_class("table")
class Table(FunctionClass):
    """Rows of a table: x are some of its features, y is its target, all standardised; by default on diabetes.

    Every prompt has features of its own, d of them in a random order, and rows of its own, drawn without replacement,
    so no example is the query. Where the table has fewer features than d, the last coordinates are zero. Features and
    target have mean 0 and variance 1 over the table. Trivial error 1. No oracle. The default is the data set of 442
    patients and 10 features that scikit-learn ships (Efron et al. 2004). `evaluate` gives the target of the nearest
    row.
    """

    reference_inputs: ClassVar[str | dict[str, Any]] = "own"
    owns_inputs: ClassVar[bool] = True
    drawn_labels: ClassVar[bool] = True
    #: Real features depend on one another, which least squares with as many examples as dimensions does not survive.
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", {"name": "ridge", "penalty": 1.0}, "knn", "gradient_boosting",
    )  # fmt: skip

    rows: File | None = Field(None, description="CSV file with a header and numbers; none: the diabetes data set")
    target: str | None = Field(None, description="column to predict; none: the last one")

    @property
    def growth(self) -> float:
        return 0.0

    def numbers(self) -> tuple[Tensor, Tensor]:
        """The standardised features (rows, features) and targets (rows,) of the table. UserError if it has none."""
        return _numbers(self.rows, self.target)

    def check_dims(self, dims: int) -> None:
        self.numbers()

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        """Which features each prompt has, in which order: (n, d) of them, -1 for a coordinate without one."""
        there = self.numbers()[0].shape[1]
        drawn = torch.rand(n, there, generator=generator, device=generator.device).argsort(dim=1)[:, :dims]
        return {"features": torch.nn.functional.pad(drawn, (0, max(0, dims - there)), value=-1)}

    def _of(self, parameters: Parameters) -> Float[Tensor, "n rows dims"]:
        """All rows in the coordinates of every prompt."""
        features, chosen = self.numbers()[0].to(parameters["features"].device), parameters["features"]
        found = features[:, chosen.clamp_min(0)].movedim(0, 1)
        return torch.where(chosen.unsqueeze(1) < 0, 0.0, found)

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        own, targets = self._of(parameters).to(xs.dtype), self.numbers()[1].to(xs.device, xs.dtype)
        return targets[torch.cdist(xs, own).argmin(dim=-1)]

    def trivial_error(self, dims: int) -> float:
        return 1.0

    def draw(
        self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points"], Parameters]:
        features, targets = _numbers_on(self.rows, self.target, str(streams.device))
        if points > len(targets):
            raise UserError(
                f"expected prompts of at most {len(targets)} points, as the table has so many rows, found {points}",
                subject=self.name,
            )
        parameters = self.draw_functions(n, dims, streams)
        rows = _without_replacement(n, points, len(targets), streams.generator("rows"))
        chosen = parameters["features"].to(rows.device)
        xs = features[rows.unsqueeze(-1), chosen.clamp_min(0).unsqueeze(1)]
        xs = torch.where(chosen.unsqueeze(1) < 0, 0.0, xs)
        return xs, targets[rows], parameters


def _without_replacement(n: int, points: int, rows: int, made: torch.Generator) -> Int[Tensor, "n points"]:
    """Numbers of rows in a random order for every prompt, each at most once."""
    found, left = [], n
    while left > 0:
        some = min(left, max(1, _HELD // rows))
        keys = torch.rand(some, rows, generator=made, device=made.device)
        found.append(keys.topk(points, dim=1).indices)
        left -= some
    return torch.cat(found)


def table_of(frame: Any, target: str | None) -> Table:
    """The class of a data frame, or of anything that `pandas.DataFrame` takes. UserError if it is none of numbers."""
    import pandas as pd

    try:
        columns = pd.DataFrame(frame)
    except (TypeError, ValueError) as error:
        raise UserError(f"expected a data frame, found a {type(frame).__name__}: {error}", key="frame") from None
    text = columns.to_csv(index=False).encode()
    made = Table(rows=NamedFile.of(_IN_MEMORY, text), target=target)
    made.numbers()
    return made


@functools.lru_cache(maxsize=16)
def _numbers(rows: NamedFile | None, target: str | None) -> tuple[Tensor, Tensor]:
    found, where = _diabetes() if rows is None else _read(rows), "diabetes" if rows is None else str(rows)
    name = str(found.columns[-1]) if target is None else target
    if name not in found.columns:
        raise UserError(f"unknown column {name!r} of {where}{did_you_mean(name, map(str, found))}", key="target")
    numbers = {}
    for column in found:
        try:
            numbers[column] = found[column].to_numpy(dtype=float)
        except (TypeError, ValueError):
            kind = found[column].dtype
            raise UserError(f"expected numbers in column {column!r} of {where}, found {kind}", key="rows") from None
        if not np.isfinite(numbers[column]).all():
            raise UserError(f"expected a finite number in every row of column {column!r} of {where}", key="rows")
    spreads = {column: float(values.std()) for column, values in numbers.items()}
    if not spreads.get(name, 0) > 0:
        raise UserError(f"expected different numbers in the target {name!r} of {where}, found one alone", key="target")
    # A constant tells nothing.
    features = [column for column in numbers if column != name and spreads[column] > 0]
    if not features:
        raise UserError(f"expected a feature beside the target {name!r} of {where} that is not constant", key="rows")
    scaled = {column: (numbers[column] - numbers[column].mean()) / spreads[column] for column in (*features, name)}
    columns = np.stack([scaled[column] for column in features], axis=1)
    return torch.tensor(columns).float(), torch.tensor(scaled[name]).float()


@functools.lru_cache(maxsize=16)
def _numbers_on(rows: NamedFile | None, target: str | None, device: str) -> tuple[Tensor, Tensor]:
    """The same on a device, where they stay from draw to draw."""
    features, targets = _numbers(rows, target)
    return features.to(torch.device(device)), targets.to(torch.device(device))


def _diabetes() -> Any:
    import sklearn.datasets

    return sklearn.datasets.load_diabetes(as_frame=True, scaled=False).frame


def _read(rows: NamedFile) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(io.BytesIO(rows.data))
    except (ValueError, pd.errors.ParserError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"expected a CSV file with a header, found {rows}: {reason}", key="rows") from None
