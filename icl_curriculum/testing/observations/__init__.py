"""The rules on observations, in the order in which they are checked."""

from icl_curriculum.testing.observations.rules import RULES

__all__ = ["RULES"]
