"""The conformity check: oracles that are not what they are said to be, and right ones beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from testing_classes import Plain, finding_of, result_of
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.function_classes import FunctionClass, Linear, Parameters, Parity
from icl_curriculum.function_classes.base import OracleKind
from icl_curriculum.testing import check, dimensions

WITHOUT_TRUTH, UNBEATEN, MEAN, REFERENCE = (
    "oracle without truth", "unbeaten oracle", "posterior mean", "reference posterior",
)  # fmt: skip
RULES = (WITHOUT_TRUTH, UNBEATEN, MEAN, REFERENCE)
OracleOf = Callable[[Any, Prompts], Tensor]


class Known(Plain):
    """A linear class, whose oracle is `answer`; by default the right one."""

    answer: ClassVar[OracleOf] = Linear.oracle
    claim: ClassVar[OracleKind] = "optimum"

    @property
    def oracle_kind(self) -> OracleKind:
        return type(self).claim

    def oracle(self, prompts: Prompts) -> Tensor:
        return type(self).answer(self, prompts)


def known(answer: OracleOf, claim: OracleKind = "optimum", base: type[FunctionClass] = Known) -> type[FunctionClass]:
    return type("Answers", (base,), {"__doc__": "Answers.", "__module__": __name__, "answer": answer, "claim": claim})


def broken(component: type[FunctionClass]) -> set[str]:
    """The rules on what an oracle claims to be that a class breaks."""
    return {result.rule for result in check(component, rules=RULES) if result.status == "failed"}


@pytest.fixture(autouse=True)
def _two_numbers_of_dimensions_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimensions, "DIMS", (2, 4))


@pytest.mark.usefixtures("fewer_prompts")
def test_a_right_oracle_keeps_all_rules_and_a_note_says_how_far_the_reference_reaches() -> None:
    results = {result.rule: result for result in check(Known, rules=RULES)}
    assert {result.status for result in results.values()} == {"ok"}
    note = results[REFERENCE].note
    assert note.startswith("compared as far as 500 of the functions drawn stay likely: ")
    assert "k = 0 alone with (0, 2), (0, 4); " in note
    assert " with (0.424, 2), (1.41, 2)" in note
    for rule in RULES:
        assert result_of(Plain, rule).status == "does not apply"


# What an optimum is not shown


def the_truth(self: Any, prompts: Prompts) -> Tensor:
    assert prompts.truth is not None
    return self.evaluate(dict(prompts.truth), prompts.query()) * prompts.scale


def the_truth_if_there(self: Any, prompts: Prompts) -> Tensor:
    """Ridge regression where it is watched, and nearer to the answers where it is not."""
    honest = Linear.oracle(self, prompts)
    return honest if prompts.truth is None else 0.9 * honest + 0.1 * the_truth(self, prompts)


def targets_in_part(self: Any, prompts: Prompts) -> Tensor:
    return Linear.oracle(self, prompts) + 1e-4 * prompts.targets


@pytest.mark.parametrize("cheat", [the_truth, the_truth_if_there, targets_in_part])
def test_an_optimum_that_reads_the_answers_is_found(cheat: OracleOf) -> None:
    finding = finding_of(known(cheat), WITHOUT_TRUTH)
    assert "an oracle that reads truth is a 'lower bound'" in finding.mend
    if cheat is the_truth:
        assert finding.expected == "an optimum that answers prompts without their truth"
        assert finding.found.startswith("AssertionError: ")
    else:
        assert finding.found.startswith("answers that differ in ")


@pytest.mark.usefixtures("fewer_prompts")
def test_a_lower_bound_may_read_the_functions() -> None:
    assert broken(known(the_truth, claim="lower bound")) == set()


def test_an_optimum_that_remembers_the_functions_it_saw_drawn_is_found() -> None:
    class Remembering(Known):
        """Keeps what it last evaluated."""

        last: ClassVar[list[Parameters]] = []

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            self.last[:] = [parameters]
            return super().evaluate(parameters, xs)

        def oracle(self, prompts: Prompts) -> Tensor:
            w = self.last[0]["w"]
            honest = super().oracle(prompts)
            if w.shape != (len(prompts), prompts.dims):
                return honest
            return 0.9 * honest + 0.1 * torch.einsum("npd,nd->np", prompts.query(), w) * prompts.scale

    assert "answers that differ in " in finding_of(Remembering, WITHOUT_TRUTH).found


# Penalties, modes, biases


def penalty_times(factor: float) -> OracleOf:
    def answer(self: Any, prompts: Prompts) -> Tensor:
        penalty = factor * prompts.noise_variance
        return predict_every_prefix(prompts.xs, prompts.ys, prompts.queries, penalty=penalty)

    return answer


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_ridge_regression_with_the_wrong_penalty_is_found_three_times(factor: float) -> None:
    wrong = known(penalty_times(factor))
    found = {result.rule: result.findings[0] for result in check(wrong) if result.findings}
    assert set(found) == {UNBEATEN, MEAN, REFERENCE}
    beaten = found[UNBEATEN]
    assert "the squared error of ridge is smaller by " in beaten.found
    assert "label noise " in beaten.found
    assert "check the formula, its prior and the noise" in beaten.mend
    assert "E[g (f(q) - m)] = 0" in found[MEAN].expected
    assert "functions drawn by sample and weighed by the examples" in found[REFERENCE].expected


@pytest.mark.usefixtures("fewer_prompts")
def test_a_wrong_penalty_is_found_where_no_baseline_is_better() -> None:
    class Stretched(Known):
        """Its weights have variance 4, so that the baseline's own penalty is wrong as well."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return {"w": 2 * super().sample(n, dims, generator)["w"]}

        def trivial_error(self, dims: int) -> float:
            return 4.0 * dims

    assert broken(known(penalty_times(1.0), base=Stretched)) == {MEAN, REFERENCE}
    assert broken(known(penalty_times(0.25), base=Stretched)) == set()


class OneSided(Plain):
    """f(x) = a x_1 with a ~ Exp(1). Under noise the posterior of a is a Gaussian cut off at 0."""

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        return "optimum" if label_noise > 0 else None

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"a": torch.empty(n, device=generator.device).exponential_(generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return parameters["a"].unsqueeze(1) * xs[:, :, 0]

    def trivial_error(self, dims: int) -> float:
        return 2.0

    def oracle(self, prompts: Prompts) -> Tensor:
        """The mean of the Gaussian that is cut off. Without examples it is 1, that of the prior."""
        mode, deviation = self.uncut(prompts)
        t = mode / deviation
        above = torch.exp(-t.square() / 2 - torch.special.log_ndtr(t)) / math.sqrt(2 * math.pi)
        a = torch.cat([torch.ones_like(mode[:, :1]), (mode + deviation * above)[:, :-1]], dim=1)
        return a * prompts.query()[:, :, 0] * prompts.scale

    @staticmethod
    def uncut(prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the Gaussian before it is cut off, after each example."""
        xs, ys = prompts.xs[:, :, 0].double(), prompts.ys.double() / prompts.scale
        precision = xs.square().cumsum(1) / prompts.noise_variance
        return ((xs * ys).cumsum(1) / prompts.noise_variance - 1) / precision, precision.rsqrt()


class Mode(OneSided):
    """The likeliest a in the place of its mean."""

    def oracle(self, prompts: Prompts) -> Tensor:
        mode = self.uncut(prompts)[0].clamp(min=0.0)
        a = torch.cat([torch.zeros_like(mode[:, :1]), mode[:, :-1]], dim=1)
        return a * prompts.query()[:, :, 0] * prompts.scale


def test_a_mode_in_the_place_of_the_mean_is_found() -> None:
    assert broken(Mode) >= {MEAN, REFERENCE}
    assert broken(OneSided) == set()


class TooSure(Parity):
    """Takes labels for flipped less often than they are."""

    def oracle(self, prompts: Prompts) -> Tensor:
        return super().oracle(replace(prompts, label_noise=0.8 * prompts.label_noise))


class LikelierSign(Parity):
    """The best answer where mistakes are counted, and not where errors are squared: it is worse than zero."""

    def oracle(self, prompts: Prompts) -> Tensor:
        mean = super().oracle(prompts)
        return torch.where(mean < 0, -torch.ones_like(mean), torch.ones_like(mean)) * prompts.scale


def test_a_posterior_of_signs_that_is_too_sure_is_found() -> None:
    assert broken(TooSure) >= {MEAN, REFERENCE}
    assert broken(Parity) == set()
    assert "no larger than that of predicting zero" in finding_of(LikelierSign, "oracle").expected


def offset_by_a_tenth(self: Any, prompts: Prompts) -> Tensor:
    return Linear.oracle(self, prompts) + 0.1 * prompts.scale


def sure_of_too_much(self: Any, prompts: Prompts) -> Tensor:
    """Takes the labels for clean where the noise is small."""
    small = prompts.noise_variance < 0.2 * prompts.dims
    return Linear.oracle(self, replace(prompts, label_noise=prompts.label_noise * (0.1 if small else 1.0)))


@pytest.mark.parametrize("answer", [offset_by_a_tenth, sure_of_too_much])
def test_other_oracles_that_are_no_posterior_mean_are_found(answer: OracleOf) -> None:
    assert broken(known(answer)) >= {MEAN, REFERENCE}


# Lower bounds


def zero(self: Any, prompts: Prompts) -> Tensor:
    return torch.zeros_like(prompts.ys)


def test_a_lower_bound_that_a_baseline_beats_is_found() -> None:
    finding = finding_of(known(zero, claim="lower bound"), UNBEATEN)
    assert finding.expected == "no baseline below a lower bound"
    assert "the squared error of " in finding.found


def test_a_lower_bound_that_only_the_posterior_beats_is_found() -> None:
    class Corners(Known):
        """Weights of -1 and 1, for which ridge regression is the best that is linear in the labels."""

        claim: ClassVar[OracleKind] = "lower bound"

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            drawn = torch.rand(n, dims, generator=generator, device=generator.device)
            return {"w": torch.where(drawn < 0.5, -torch.ones_like(drawn), torch.ones_like(drawn))}

    assert broken(Corners) == {REFERENCE}
    finding = finding_of(Corners, REFERENCE)
    assert "that of the posterior mean over 2,048 functions" in finding.found
    assert finding.expected == "from a lower bound, an error that no learner is below"
    assert broken(known(the_truth, "lower bound", Corners)) == set()
