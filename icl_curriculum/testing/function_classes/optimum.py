"""The rules on what an oracle claims to be: the best that any learner can do, or a bound below it.

Dimensions: batch = prompts, points = K + 1; entry k has k examples before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.results.statistics.moments import MomentEstimate, beats, estimate_of
from icl_curriculum.testing.function_classes.answered import OracleCase, along, oracle_cases
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Standard errors by which a baseline's error may lie below the oracle's, and a mean that must be zero off it.
BEATEN, Z = 5.0, 6.0
#: Differences that may be rounding, relative to the trivial error: of squared errors, and of what must be zero.
ROUNDING = 1e-6
#: What the answers of an optimum without the functions may differ from those with them, relative to their size.
SAME = 1e-5
CLAIM = "oracle_kind and oracle_for say 'optimum' only for E[f(q) | the first k pairs], which nothing can beat"


def _cases(subject: FunctionClassSubject, *kinds: str) -> list[OracleCase]:
    cases = [case for case in oracle_cases(subject) if case.kind in kinds]
    if not cases:
        raise Inapplicable(f"no oracle is declared as {' or '.join(map(repr, kinds))}")
    return cases


@rule("oracle without truth", "an optimum answers from the prompts alone, without the functions", requires=("oracle",))
def without_truth(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Other prompts are drawn before it is asked again, lest it remember the functions that were drawn last."""
    mend = (
        "answer from xs, ys, query(), label_noise and scale; an oracle that reads truth is a 'lower bound', and "
        "oracle_kind says so"
    )
    for case in _cases(subject, "optimum"):
        prompts = case.draw(256, case.dims + 3, "without truth")
        with_truth = subject.function_class.oracle(prompts).double()
        case.draw(256, case.dims + 3, "other functions")
        try:
            alone = case.ask(prompts)
        except Exception as error:
            yield Finding(
                expected="an optimum that answers prompts without their truth",
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]} "
                f"({subject.where_raised(error) or 'raised outside the code of the class'}), with {case.how}",
                mend=mend,
            )
            return
        off = (alone - with_truth).abs()
        if not bool((off <= SAME * (float(with_truth.abs().max()) + 1e-12)).all()):
            yield Finding(
                expected="from an optimum, the same answers without prompts.truth and prompts.targets as with them",
                found=f"answers that differ in {float((off.nan_to_num(torch.inf) > 0).double().mean()):.0%} of the "
                f"entries, with {case.how}",
                mend=mend,
            )
            return


@rule("unbeaten oracle", "no baseline has a smaller error than the oracle, at any length", requires=("oracle",))
def unbeaten(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Asks the class's own baselines, and those for every class, in up to three dimensions and under as many noises."""
    for case in _cases(subject, "optimum", "lower bound"):
        own = case.errors(case.oracle)
        for name, predictions in case.baselines.items():
            theirs = case.errors(predictions)
            beaten = own[: len(predictions)]
            ahead = beats(theirs.numpy(), beaten.numpy(), BEATEN, rounding=ROUNDING * case.trivial)
            if ahead.any():
                k = int(ahead.nonzero()[0][0])
                lead = estimate_of((beaten - theirs)[:, k].numpy() / case.trivial)
                yield Finding(
                    expected=f"no baseline below the {case.kind}: {CLAIM}"
                    if case.kind == "optimum"
                    else "no baseline below a lower bound",
                    found=f"at k = {k} the squared error of {name} is smaller by {lead.mean:.3g} ± {lead.error:.1g} of "
                    f"that of zero, with {case.how}; {BEATEN:.0f} standard errors are allowed",
                    mend="check the formula, its prior and the noise that it assumes (prompts.noise_variance, "
                    "prompts.flip_probability); where nothing is proven, let oracle_kind be None",
                )
                return


@rule(
    "posterior mean", "an optimum's errors tell nothing that the prompt told before", requires=("oracle without truth",)
)
def posterior_mean(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """A posterior mean m has E[g (f(q) - m)] = 0 for every g that is computed from the prompt.

    As g serve numbers and signs made of m itself, of what the baselines predict, and of the last label. It shows in
    first order what the error shows in second: a wrong penalty, a mode or a median in the place of the mean, too much
    certainty. All g are cut off, which they may be, so that their tails don't hide anything.
    """
    for case in _cases(subject, "optimum"):
        missed = along(case.targets, classes=False) - case.along(case.oracle)
        for name, g in _of_the_prompt(case):
            products = (g * missed[: len(g)] / case.trivial).numpy()
            for k in range(products.shape[1]):
                estimate = estimate_of(products[:, k])
                if estimate.verdict(0.0, z=Z, rounding=ROUNDING * 10) is not None:
                    yield Finding(
                        expected="E[g (f(q) - m)] = 0 for the optimum's prediction m and every g of the prompt, as m "
                        "is the posterior mean E[f(q) | the first k pairs]",
                        found=f"{_against(estimate)} at k = {k}, where g is {name}, with {case.how}; {Z:.0f} standard "
                        "errors are allowed",
                        mend="predict the mean over all functions that the k examples allow, each weighed by prior and "
                        "likelihood: not the likeliest one, nor one that a wrong noise or a wrong prior makes; where "
                        "that is not known, let oracle_kind be None",
                    )
                    return


def _against(estimate: MomentEstimate) -> str:
    return f"{estimate.mean:.3g} ± {estimate.error:.1g} of E f^2"


def _of_the_prompt(case: OracleCase) -> Iterator[tuple[str, Float[Tensor, "batch points"]]]:
    """Functions of the prompt and the query, bounded, with a name for each."""
    m, size = case.along(case.oracle), case.trivial**0.5

    def cut(values: Tensor, at: float) -> Tensor:
        return values.clamp(-at * size, at * size)

    asked = case.prompts.query().double().square().sum(-1)
    yield "what the oracle predicts, cut off", cut(m, 3)
    yield "1 in the unit of f", torch.full_like(m, size)
    yield "what the oracle predicts, cut off early", cut(m, 0.5)
    yield "the size of what the oracle predicts, cut off", cut(m.abs(), 3)
    typical = m.square().mean(0).sqrt()
    yield "what the oracle predicts where that is large", cut(m, 3) * (m.abs() > typical)
    yield "what the oracle predicts where the query is large", cut(m, 3) * (asked > asked.median())
    labels = along(case.prompts.ys.double(), classes=False)
    last = torch.cat([torch.zeros_like(m[:, :1]), labels[:, :-1]], dim=1)
    yield "the last label, cut off", cut(last, 3)
    yield "the last label, cut off, times the sign of the prediction", cut(last, 3).abs() * m.sign()
    for name, predictions in case.baselines.items():
        yield f"what {name} predicts, cut off", cut(case.along(predictions), 3)
