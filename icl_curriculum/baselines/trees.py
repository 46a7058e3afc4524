"""Decision trees, single and boosted, by scikit-learn: one fit for every prompt and length."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.baselines.per_prompt import answer_each
from icl_curriculum.baselines.scikit_learn import regressor_answer
from icl_curriculum.core.prompts import Prompts


@register_baseline("greedy_tree")
class GreedyTree(Baseline):
    """A decision tree grown greedily on the squared error (CART), to pure leaves unless ``max_depth`` says less.

    scikit-learn's DecisionTreeRegressor; ties between splits are broken by a fixed seed.
    Source: Breiman et al. 1984; Garg et al. 2022, section 5.
    """

    answers = NUMBERS_AND_VECTORS

    costly: ClassVar[bool] = True

    max_depth: int | None = Field(None, ge=1, le=1_000, description="most decisions in a row; default: no limit")

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        from sklearn.tree import DecisionTreeRegressor

        return answer_each(prompts, regressor_answer(DecisionTreeRegressor(max_depth=self.max_depth, random_state=0)))


@register_baseline("gradient_boosting")
class GradientBoosting(Baseline):
    """Gradient boosting of regression trees on the squared error, by default 50 of depth 4 at rate 0.1.

    scikit-learn's GradientBoostingRegressor with a fixed seed. Source: Friedman 2001; Garg et al. 2022, section 5,
    who use XGBoost with these numbers.
    """

    answers = NUMBERS_AND_VECTORS

    costly: ClassVar[bool] = True

    trees: int = Field(50, ge=1, le=100_000, description="number of trees")
    max_depth: int = Field(4, ge=1, le=1_000, description="depth of each tree")
    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False, description="what each tree's answer is multiplied by")

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        from sklearn.ensemble import GradientBoostingRegressor

        boosted = GradientBoostingRegressor(
            n_estimators=self.trees, max_depth=self.max_depth, learning_rate=self.learning_rate, random_state=0
        )
        return answer_each(prompts, regressor_answer(boosted))
