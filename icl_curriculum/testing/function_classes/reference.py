"""The rule that oracles agree with a reference: a posterior mean over many functions that the class draws.

It needs no formula: functions from `sample`, each weighed by the likelihood of the examples. That resolves the
posterior as long as the examples leave enough of the functions likely, which noise and few examples do.
Dimensions: members = functions drawn, batch = prompts, points = K + 1; entry k has k examples before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.baselines import asked_members
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.results.statistics.moments import beats, estimate_of
from icl_curriculum.testing.function_classes.answered import OracleCase, along, oracle_cases
from icl_curriculum.testing.function_classes.optimum import BEATEN
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: The functions drawn, and the prompts that are asked; for a lower bound, whose error counts, more prompts.
MEMBERS, PROMPTS = 1 << 14, 12
MEMBERS_OF_BOUND, PROMPTS_OF_BOUND = 1 << 11, 256
#: The most points of a prompt: more examples leave few functions, and those that no noise blurs leave fewer.
POINTS, POINTS_WITHOUT_NOISE = 8, 4
#: The most numbers that the parameters of the functions drawn may take.
HELD = 1 << 24
#: A mean over fewer equally likely functions is not judged: its error is not normal, and not known.
LEAST = 500
#: Standard errors that are allowed: some thousand entries are compared.
Z = 7.0
#: A difference that may be rounding, relative to the root of the trivial error.
ROUNDING = 1e-3


@dataclass(frozen=True)
class ReferencePosterior:
    """A posterior mean by self-normalised importance sampling.

    ``error``: its standard error. ``effective``: how many equally likely functions would do as well, (sum w)^2 over
    sum w^2; 0 where there is no noise and functions near the examples stand in for those that agree with them.
    """

    mean: Float[Tensor, "batch points"]
    error: Float[Tensor, "batch points"]
    effective: Float[Tensor, "batch points"]


def reference_posterior(case: OracleCase, prompts: Prompts, members: int) -> ReferencePosterior:
    """Weigh ``members`` functions of the class by the examples of each prompt."""
    subject = case.subject
    drawn = subject.sample(members, case.dims, subject.generator(f"reference posterior/{case.dims}"))
    scale = subject.function_class.output_scale(case.dims)
    subject.doing = "evaluate, of many functions at the inputs of all prompts"
    parts = list(asked_members(subject.function_class, drawn, prompts.without_truth(), scale))
    likelihoods = torch.cat([part for part, _ in parts])
    weights = likelihoods.softmax(dim=0)
    answers = torch.cat([answers for _, answers in parts])
    # Along one direction, where labels are vectors; of classes the answers are one-hot.
    answers = torch.stack([along(each, classes=False) for each in answers]) if answers.ndim == 4 else answers
    mean = (weights * answers).sum(0)
    error = (weights * (answers - mean)).square().sum(0).sqrt()
    effective = 1 / weights.square().sum(0)
    discrete = subject.function_class.sign_valued or subject.function_class.class_valued
    if case.label_noise == 0 and not discrete:
        # Likelihoods are those of a rounding error. A function that agrees with the examples has next to none.
        exact = (weights * likelihoods).sum(0) > -0.01 * torch.arange(prompts.points)
        effective = torch.where(exact | (torch.arange(prompts.points) == 0), effective, 0.0)
    return ReferencePosterior(mean, error, effective)


@rule(
    "reference posterior",
    "oracles agree with the posterior mean over many functions that the class draws",
    requires=("oracle",),
)
def reference(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    if subject.function_class.owns_inputs:
        raise Inapplicable(
            "not tested: oracles by functions weighed by their labels, because the class declares owns_inputs, and its "
            "inputs may tell of the function"
        )
    if subject.function_class.shows_by_method:
        raise Inapplicable("the class shows its examples in a way of its own, whose likelihood is not known")
    cases = list(oracle_cases(subject))
    if not cases:
        raise Inapplicable("no oracle is known")
    looked_at: dict[str, list[str]] = {}
    for case in cases:
        if case.kind == "lower bound":
            finding = _of_bound(case)
        else:
            finding, lengths = _of_optimum(case)
            looked_at.setdefault(lengths, []).append(f"({case.label_noise:.3g}, {case.dims})")
        if finding is not None:
            yield finding
            return
    if looked_at:
        said = "; ".join(f"{lengths} with {', '.join(where)}" for lengths, where in looked_at.items())
        yield Note(f"compared as far as {LEAST} of the functions drawn stay likely: {said} (label noise, d)")


def _members(case: OracleCase, most: int) -> int:
    """As many functions as may be held."""
    one = case.subject.sample(1, case.dims, case.subject.generator("one member"))
    return max(LEAST, min(most, HELD // sum(value.numel() for value in one.values())))


def _points(case: OracleCase) -> int:
    return min(case.dims + 3, POINTS if case.label_noise > 0 else POINTS_WITHOUT_NOISE)


def _of_optimum(case: OracleCase) -> tuple[Finding | None, str]:
    """What is wrong, if anything, and the lengths at which the reference could tell."""
    prompts = case.draw(PROMPTS, _points(case), "reference prompts")
    found = reference_posterior(case, prompts, _members(case, MEMBERS))
    predictions = case.along(case.ask(prompts))
    known = found.effective >= LEAST
    lengths = [k for k in range(prompts.points) if bool(known[:, k].any())]
    told = (
        f"k = {lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"k = {lengths[0]} alone" if lengths else "no k"
    )
    off = (predictions - found.mean).abs()
    wrong = known & (off > Z * found.error + ROUNDING * case.trivial**0.5)
    if not bool(wrong.any()):
        return None, told
    k = int(wrong.any(0).nonzero()[0])
    row = int((off / found.error.clamp_min(1e-300) * wrong)[:, k].argmax())
    at = (row, k)
    return Finding(
        expected=f"from an optimum, the posterior mean: at k = {k}, {float(found.mean[at]):.4g} ± "
        f"{float(found.error[at]):.1g} over {_members(case, MEMBERS):,} functions drawn by sample and weighed by the "
        "examples",
        found=f"{float(predictions[at]):.4g} on one of {len(prompts)} prompts, and as far off on "
        f"{int(wrong[:, k].sum())} of them, with {case.how}; {Z:.0f} standard errors are allowed",
        mend="check the prior (that of sample), the likelihood (prompts.noise_variance, prompts.flip_probability), and "
        "that neither targets nor functions are known to it",
    ), told


def _of_bound(case: OracleCase) -> Finding | None:
    prompts = case.draw(PROMPTS_OF_BOUND, _points(case), "reference prompts")
    targets = along(prompts.targets.double(), classes=False)
    count = _members(case, MEMBERS_OF_BOUND)
    parts = [reference_posterior(case, prompts[start : start + 32], count).mean for start in range(0, len(prompts), 32)]
    theirs, own = ((given - targets).square() for given in (torch.cat(parts), case.along(case.ask(prompts))))
    ahead = beats(theirs.numpy(), own.numpy(), BEATEN, rounding=1e-4 * case.trivial)
    if not ahead.any():
        return None
    k = int(ahead.nonzero()[0][0])
    lead = estimate_of((own - theirs)[:, k].numpy() / case.trivial)
    return Finding(
        expected="from a lower bound, an error that no learner is below",
        found=f"at k = {k} that of the posterior mean over {count:,} functions drawn by sample is smaller by "
        f"{lead.mean:.3g} ± {lead.error:.1g} of that of zero, with {case.how}",
        mend="a bound knows at least what the prompt tells, and makes the most of it; else let oracle_kind be None",
    )
