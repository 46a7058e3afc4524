"""Classical estimators. Importing the package registers them."""

from icl_curriculum.baselines.base import Baseline, register_baseline
from icl_curriculum.baselines.classical import Averaging, LeastSquares, NearestNeighbours, Ridge, Zero

__all__ = ["Averaging", "Baseline", "LeastSquares", "NearestNeighbours", "Ridge", "Zero", "register_baseline"]
