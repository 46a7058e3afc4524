"""The rules on function classes, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.dimensions import dimensions
from icl_curriculum.testing.function_classes import (
    apart,
    conduct,
    contract,
    distribution,
    domain,
    moments,
    optimum,
    oracles,
    prompts,
    reference,
    steps,
)
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[FunctionClassSubject], ...] = (
    *components.RULES,
    domain.reference_inputs,
    contract.baselines,
    dimensions,
    contract.sample,
    contract.shape,
    contract.dtype,
    domain.signs,
    domain.classes,
    conduct.purity,
    conduct.global_generators,
    conduct.determinism,
    conduct.device,
    conduct.one_function_per_prompt,
    conduct.memory,
    contract.draw,
    contract.counts,
    prompts.asked,
    prompts.shown,
    steps.steps,
    domain.inputs_drawn,
    distribution.independent_prompts,
    distribution.independent_inputs,
    apart.apart,
    distribution.fresh_prompts,
    distribution.pools,
    moments.trivial_error,
    moments.second_moment,
    moments.growth,
    moments.units,
    oracles.oracle,
    optimum.without_truth,
    optimum.unbeaten,
    optimum.posterior_mean,
    reference.reference,
)
