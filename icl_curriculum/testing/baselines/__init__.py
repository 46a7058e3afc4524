"""The rules on baselines, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.baselines import answers, following
from icl_curriculum.testing.baselines.subject import BaselineSubject
from icl_curriculum.testing.dimensions import dimensions
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[BaselineSubject], ...] = (
    *components.RULES,
    dimensions,
    answers.labels,
    answers.training_classes,
    answers.predict,
    answers.purity,
    answers.global_generators,
    answers.determinism,
    answers.no_examples,
    answers.mask,
    following.answers_unseen,
    following.causality,
)
