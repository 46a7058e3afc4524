"""The rules on models, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.models import (
    attention,
    building,
    gradients,
    heads,
    instructions,
    labels,
    predictions,
    steps,
    updates,
)
from icl_curriculum.testing.models.subject import ModelSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[ModelSubject], ...] = (
    *components.RULES,
    building.capabilities,
    building.sizes,
    building.build,
    predictions.shape,
    predictions.device,
    predictions.longest_prompt,
    predictions.global_generators,
    predictions.determinism,
    predictions.causality,
    predictions.prompt_lengths,
    predictions.batch,
    predictions.predict,
    steps.steps,
    gradients.gradients,
    labels.vector_labels,
    labels.what_counts,
    building.state,
    updates.updates,
    gradients.explicit_parameters,
    gradients.second_derivatives,
    attention.attention,
    attention.token_places,
    heads.head_mask,
    instructions.instruction,
    instructions.instructed_prompts,
    instructions.instructed_training,
)
