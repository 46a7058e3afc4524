"""The rules on input distributions, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.dimensions import dimensions
from icl_curriculum.testing.inputs import moments, sampling, spectrum, statements
from icl_curriculum.testing.inputs.subject import InputsSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[InputsSubject], ...] = (
    *components.RULES,
    dimensions,
    sampling.sample,
    sampling.global_generators,
    sampling.determinism,
    sampling.device,
    sampling.independent_prompts,
    sampling.fresh_inputs,
    moments.tail_index,
    moments.squared_norm,
    statements.bounds,
    statements.signs,
    statements.rank,
    statements.rotations,
    spectrum.spectrum,
)
