"""Classical estimators. Importing the package registers them."""

from icl_curriculum.baselines.base import Baseline, register_baseline
from icl_curriculum.baselines.classical import Averaging, LeastSquares, NearestNeighbours, Ridge, Zero
from icl_curriculum.baselines.pool import PoolPosteriorMean, pool_posterior_mean

__all__ = [
    "Averaging",
    "Baseline",
    "LeastSquares",
    "NearestNeighbours",
    "PoolPosteriorMean",
    "Ridge",
    "Zero",
    "pool_posterior_mean",
    "register_baseline",
]
