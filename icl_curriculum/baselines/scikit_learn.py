"""Any regressor of scikit-learn, fitted anew to the examples of every prompt at every length.

scikit-learn is imported when a regressor is named, not before: it takes 1.2 s, as long as torch.
Dimensions: batch = prompts, points = K + 1.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import json
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.baselines.per_prompt import Answer, Array, answer_each
from icl_curriculum.core.errors import UserError, described, did_you_mean
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.prompts import Prompts

# The modules in which scikit-learn keeps its regressors. To list all of them would take many seconds of imports.
_HOMES = (
    "linear_model", "svm", "tree", "neighbors", "ensemble", "kernel_ridge", "gaussian_process", "neural_network",
    "isotonic", "cross_decomposition", "compose", "dummy", "multioutput",
)  # fmt: skip
# Numbers of examples and dimensions of made-up problems. Some regressors need one dimension, some parameters many.
_TRIALS = ((24, 2), (24, 1), (60, 20))


@register_baseline("sklearn")
class ScikitLearn(Baseline):
    """A regressor of scikit-learn by its name, with ``parameters`` as scikit-learn calls them.

    It is fitted to the k examples of a prompt, in float64, with its own default for an intercept. If it has a
    ``random_state`` and none is given, that is 0. Its output and warnings are not shown. Raises UserError, as soon as
    it is named, for what is no regressor, for parameters that it doesn't have or refuses, and for a regressor that
    can't be fitted to one label of any sign for each example. Source: Pedregosa et al. 2011.
    """

    answers = NUMBERS_AND_VECTORS

    costly: ClassVar[bool] = True
    id_fields: ClassVar[tuple[str, ...]] = ("regressor",)

    regressor: str = Field("LinearRegression", description="name of the class, e.g. RandomForestRegressor")
    parameters: dict[str, Any] = Field({}, description="its parameters, e.g. { n_estimators = 50 }")

    @property
    def id(self) -> str:
        if self.given_id is not None:
            return self.given_id
        shown = {key: _shown(value) for key, value in self.parameters.items()}
        return str(Identifier.of("sklearn", [self.regressor], shown))

    @model_validator(mode="after")
    def _possible(self) -> ScikitLearn:
        known = inspect.signature(_regressor(self.regressor)).parameters
        for key in self.parameters:
            if key not in known:
                raise UserError(f"sklearn: {self.regressor} has no parameter {key!r}{did_you_mean(key, known)}")
        needed = [key for key, parameter in known.items() if parameter.default is parameter.empty]
        if needed:
            raise UserError(
                f"sklearn: {self.regressor} cannot be made of plain parameters: {needed[0]!r} holds other estimators"
            )
        failure = _failure(self.regressor, json.dumps(self.parameters, sort_keys=True, default=str))
        if failure is not None:
            raise UserError(f"sklearn: {self.regressor} {failure}")
        return self

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        return answer_each(prompts, regressor_answer(_made(self.regressor, self.parameters)))


def regressor_answer(regressor: Any) -> Answer:
    """Make a function that fits a copy of ``regressor`` to the examples and predicts, with output and warnings hidden.

    ``regressor``: any object with scikit-learn's ``get_params``, ``fit`` and ``predict``. The function raises whatever
    these raise, and ValueError for a prediction that is not one finite number.
    """
    from sklearn.base import clone

    def answer(xs: Array, ys: Array, query: Array) -> float:
        with _quiet():
            found = np.ravel(clone(regressor, safe=False).fit(xs, ys).predict(query[None]))
        if found.size != 1:
            raise ValueError(f"expected one number, found {found.size}")
        if not np.isfinite(found).all():
            raise ValueError(f"expected a finite number, found {found[0]}")
        return float(found[0])

    return answer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    nowhere = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield


def _shown(value: object) -> str:
    """Words a value as it is read back from an id: true, not True; text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _made(name: str, parameters: dict[str, Any]) -> Any:
    """The regressor, not fitted."""
    cls = _regressor(name)
    fixed = {"random_state": 0} if "random_state" in inspect.signature(cls).parameters else {}
    with _quiet():
        return cls(**{**fixed, **parameters})


@functools.lru_cache(maxsize=256)
def _failure(name: str, parameters: str) -> str | None:
    """Why a regressor with parameters, given as JSON, answers no made-up prompt; None if it answers one.

    Failing on some is no mistake of the user's: a regressor may want more neighbours than one problem has.
    """
    rng = np.random.default_rng(0)
    failure = None
    for examples, dims in _TRIALS:
        xs = rng.normal(size=(examples, dims))
        try:
            regressor_answer(_made(name, json.loads(parameters)))(xs, xs.sum(axis=1), xs[0])
        except Exception as error:
            text = " ".join(str(error).split())
            refused = type(error).__name__ == "InvalidParameterError"
            failure = f"refuses its parameters: {text}" if refused else f"cannot be fitted: {described(error)}"
        else:
            return None
    return failure


@functools.cache
def _regressor(name: str) -> Any:
    """scikit-learn's regressor of this name. UserError for what is none, with the closest one."""
    from sklearn import base

    for home in _HOMES:
        found = getattr(importlib.import_module(f"sklearn.{home}"), name, None)
        if isinstance(found, type) and issubclass(found, base.RegressorMixin):
            return found
    kinds = {
        "a classifier": base.ClassifierMixin,
        "a clustering method": base.ClusterMixin,
        "an outlier detector": base.OutlierMixin,
        "a transformer": base.TransformerMixin,
    }
    estimators = _estimators()
    regressors = [key for key, cls in estimators.items() if issubclass(cls, base.RegressorMixin)]
    if name in regressors:
        return estimators[name]
    if name in estimators:
        words = next(
            (words for words, mixin in kinds.items() if issubclass(estimators[name], mixin)), "another estimator"
        )
        raise UserError(f"sklearn: {name} is {words} of scikit-learn, expected a regressor, such as SVR")
    raise UserError(f"sklearn: scikit-learn has no regressor {name!r}{did_you_mean(name, regressors)}")


@functools.cache
def _estimators() -> dict[str, Any]:
    from sklearn.utils import all_estimators

    with _quiet():
        return dict(all_estimators())
