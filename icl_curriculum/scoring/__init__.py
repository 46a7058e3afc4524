"""Any learner on any task: `score` and `prediction_differences` in Python, ``icl score`` and ``icl evaluate``.

And finished runs, opened to be asked.
"""

from icl_curriculum.scoring.learners import Contender, contender, contenders
from icl_curriculum.scoring.score import prediction_differences, score

__all__ = ["Contender", "contender", "contenders", "prediction_differences", "score"]
