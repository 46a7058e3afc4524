"""Classical estimators. Importing the package registers them."""

from icl_curriculum.baselines.base import Baseline, register_baseline
from icl_curriculum.baselines.classical import Averaging, LeastSquares, NearestNeighbours, Ridge, Zero
from icl_curriculum.baselines.descent_rates import best_rate, expected_error
from icl_curriculum.baselines.gradient_descent import GradientDescent, PreconditionedGradientDescent
from icl_curriculum.baselines.kernel_ridge import KernelRidge
from icl_curriculum.baselines.lasso import Lasso
from icl_curriculum.baselines.logistic_regression import LogisticRegression
from icl_curriculum.baselines.networks import NetworkByGradientDescent
from icl_curriculum.baselines.pool import PoolPosteriorMean, asked_members, pool_posterior_mean
from icl_curriculum.baselines.quadratic_features import QuadraticFeatures
from icl_curriculum.baselines.scikit_learn import ScikitLearn, regressor_answer
from icl_curriculum.baselines.sparse_posterior import SparsePosterior
from icl_curriculum.baselines.trees import GradientBoosting, GreedyTree

__all__ = [
    "Averaging",
    "Baseline",
    "GradientBoosting",
    "GradientDescent",
    "GreedyTree",
    "KernelRidge",
    "Lasso",
    "LeastSquares",
    "LogisticRegression",
    "NearestNeighbours",
    "NetworkByGradientDescent",
    "PoolPosteriorMean",
    "PreconditionedGradientDescent",
    "QuadraticFeatures",
    "Ridge",
    "ScikitLearn",
    "SparsePosterior",
    "Zero",
    "asked_members",
    "best_rate",
    "expected_error",
    "pool_posterior_mean",
    "register_baseline",
    "regressor_answer",
]
