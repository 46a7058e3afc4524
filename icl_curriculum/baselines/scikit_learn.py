"""Any regressor of scikit-learn, fitted anew to the examples of every prompt at every length.

scikit-learn is imported when a regressor is named, not before: it takes a second.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from icl_curriculum.baselines.base import Baseline, register_baseline
from icl_curriculum.baselines.per_prompt import Answer, Array, answer_each
from icl_curriculum.prompts import Prompts
from icl_curriculum.registry import UserError, did_you_mean

#: Examples and dimensions of the made-up problem that finds parameters which scikit-learn refuses.
_TRIAL = (24, 2)


@register_baseline("sklearn")
class ScikitLearn(Baseline):
    """A regressor of scikit-learn by its name, with ``parameters`` as scikit-learn calls them.

    It is fitted to the k examples of a prompt, in float64, whatever it says by default of an intercept. Where it has a
    ``random_state`` and none is given, that is 0. What it warns of is not shown. Source: Pedregosa et al. 2011.
    """

    costly: ClassVar[bool] = True
    id_fields: ClassVar[tuple[str, ...]] = ("regressor",)

    regressor: str = Field("LinearRegression", description="name of the class, e.g. RandomForestRegressor")
    parameters: dict[str, Any] = Field({}, description="its parameters, e.g. { n_estimators = 50 }")

    @property
    def id(self) -> str:
        if self.given_id is not None:
            return self.given_id
        return "/".join(["sklearn", self.regressor, *(f"{key}={value}" for key, value in self.parameters.items())])

    @model_validator(mode="after")
    def _buildable(self) -> ScikitLearn:
        made = self.made()
        try:
            rng = np.random.default_rng(0)
            xs = rng.normal(size=_TRIAL)
            regressor_answer(made)(xs, xs.sum(axis=1), xs[0])
        except (TypeError, ValueError) as error:
            # A number of neighbours that the trial does not have is no mistake: prompts may have them.
            if type(error).__name__ == "InvalidParameterError" or isinstance(error, TypeError):
                text = " ".join(str(error).split())
                raise UserError(f"sklearn: {self.regressor} refuses its parameters: {text}") from None
        except Exception:
            # Whatever else a made-up problem makes it raise says nothing of real ones.
            return self
        return self

    def made(self) -> Any:
        """The regressor, not fitted. UserError for a name or parameters that it can't be made of."""
        cls = _regressor(self.regressor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._made_of(cls)

    def _made_of(self, cls: type[Any]) -> Any:
        try:
            known = cls().get_params(deep=False)
        except TypeError as error:
            raise UserError(f"sklearn: {self.regressor} cannot be made of plain parameters: {error}") from None
        for key in self.parameters:
            if key not in known:
                raise UserError(f"sklearn: {self.regressor} has no parameter {key!r}{did_you_mean(key, known)}")
        fixed = {"random_state": 0} if "random_state" in known else {}
        return cls(**{**fixed, **self.parameters})

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        return answer_each(prompts, regressor_answer(self.made()))


def regressor_answer(regressor: Any) -> Answer:
    """What a copy of an unfitted regressor says after its ``fit`` to the examples: one number, without its warnings."""
    from sklearn.base import clone

    def answer(xs: Array, ys: Array, query: Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = np.ravel(clone(regressor, safe=False).fit(xs, ys).predict(query[None]))
        if found.size != 1:
            raise ValueError(f"expected one number, found {found.size}")
        return float(found[0])

    return answer


def _regressor(name: str) -> type[Any]:
    """scikit-learn's regressor of this name. UserError for what is none, with the closest one."""
    regressors = _estimators("regressor")
    if name in regressors:
        return regressors[name]
    kinds = {"classifier": "a classifier", "cluster": "a clustering method", "transformer": "a transformer"}
    for kind, words in kinds.items():
        if name in _estimators(kind):
            raise UserError(f"sklearn: {name} is {words} of scikit-learn, expected a regressor, such as SVR")
    raise UserError(f"sklearn: scikit-learn has no regressor {name!r}{did_you_mean(name, regressors)}")


@functools.cache
def _estimators(kind: str) -> dict[str, type[Any]]:
    from sklearn.utils import all_estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = all_estimators(type_filter=kind)
    return {name: cls for name, cls in found if not inspect.isabstract(cls)}
