"""Any learner on any task: `score` in Python, ``icl score`` and ``icl evaluate``, and finished runs to be asked."""

from icl_curriculum.scoring.learners import Contender, contender, contenders
from icl_curriculum.scoring.score import score

__all__ = ["Contender", "contender", "contenders", "score"]
