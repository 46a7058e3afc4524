"""The catalogue's golden numbers of baselines."""

from __future__ import annotations

import math

from icl_curriculum.verify.cases import Spec
from icl_curriculum.verify.checks import Figure, between, printed
from icl_curriculum.verify.learners import FEW, NONE, PROMPTS, Case, Golden
from icl_curriculum.verify.oracles import ridge_error

DIMS = 20

_CATALOGUE = "catalogue, Monte Carlo"
_THEIR_CODE = "what the code of Garg et al. gives"
_TRACE = "sigma^2 E tr (X^T X + sigma^2 I)^-1 / d"
_DISTANCE: Spec = {"name": "knn", "weights": "distance"}
_SIGNS: Spec = {"name": "other_inputs", "inputs": "rademacher"}
_SHARED: Spec = {"name": "skewed", "basis": "shared"}
_QUIETER: Spec = {"name": "noisy_linear", "label_noise": 0.5}


def _exact(values: dict[int, float]) -> dict[int, Figure]:
    return {k: Figure(value) for k, value in values.items()}


def _one_preconditioned_step(k: int) -> float:
    """The error of the best preconditioned step from 0, for inputs whose covariance is proportional to 1, 1/4, 1/9, ...

    With M = ((1 + 1/k) S + tr S / k I)^-1 it is tr(S - S M S) / tr S, as M E[S_k^2] = S for the S_k of k examples.
    """
    eigenvalues = [1 / i**2 for i in range(1, DIMS + 1)]
    total = sum(eigenvalues)
    return 1 - sum(value**2 / ((1 + 1 / k) * value + total / k) for value in eigenvalues) / total


def _printed(digits: dict[int, str]) -> dict[int, Figure]:
    return {k: printed(text) for k, text in digits.items()}


#: Trees and networks fit every prompt anew and so answer few of them. The wide tolerance shows how little that says.
CASES = [
    Case("linear", DIMS, [
        Golden("zero", _exact({20: 1.0}), "by definition"),
        Golden("averaging", _exact({k: (DIMS + 1) / k for k in (5, 10, 20, 40)}), "(d + 1) / k"),
        Golden(
            "gradient_descent", _exact({k: (DIMS + 1) / (k + DIMS + 1) for k in (5, 10, 20, 40)}),
            "(d + 1) / (k + d + 1), one step at the best rate, k / (k + d + 1)",
        ),
        Golden(
            {"name": "gradient_descent", "rate": 0.5}, _exact({k: 0.25 * (1 + (DIMS + 1) / k) for k in (5, 20)}),
            "(1 - rate)^2 + rate^2 (d + 1) / k",
        ),
        Golden("least_squares", _exact({k: 1 - k / DIMS for k in (1, 5, 10, 15)}), "max(0, 1 - k / d)"),
        Golden("knn", _printed({5: "1.106", 10: ".921", 20: ".791", 40: ".689"}), _CATALOGUE),
        Golden(_DISTANCE, _printed({5: "1.087", 10: ".910", 20: ".785", 40: ".683"}), _CATALOGUE),
    ]),
    Case("linear", DIMS, [Golden("least_squares", {20: NONE, 25: NONE}, "max(0, 1 - k / d)")], prompts=FEW),
    Case("linear", DIMS, [
        Golden(
            {"name": "preconditioned_gradient_descent", "inputs": _SHARED},
            _exact({k: _one_preconditioned_step(k) for k in (5, 10, 20, 40)}),
            "1 - sum l^2 / ((1 + 1/k) l + sum l / k) / sum l, l the covariance's eigenvalues",
        ),
    ], shift={"name": "other_inputs", "inputs": _SHARED}, prompts=2 * PROMPTS),
    Case("noisy_linear", DIMS, [
        Golden("ridge", _printed({10: ".545", 20: ".209", 40: ".0475"}), _CATALOGUE),
        Golden("ridge", dict.fromkeys((5, 15, 30), ridge_error), _TRACE),
        Golden("least_squares", _exact({k: 1 / (k - DIMS - 1) for k in (30, 40)}), "sigma^2 / (k - d - 1)"),
    ]),
    Case("sparse_linear", DIMS, [
        Golden(
            {"name": "lasso", "alpha": 0.01}, {5: between(0.60, 0.62), 10: between(0.06, 0.08)},
            "from what the code of Garg et al. gives to what they printed",
        ),
    ], prompts=1 << 13),
    Case("decision_tree", DIMS, [Golden("greedy_tree", {100: between(0.96, 1.1)}, _THEIR_CODE)], prompts=512),
    Case("decision_tree", DIMS, [Golden("gradient_boosting", {100: between(0.57, 0.68)}, _THEIR_CODE)], prompts=64),
    Case(
        "decision_tree", DIMS, [Golden("greedy_tree", {100: between(0.46, 0.55)}, _THEIR_CODE)],
        shift=_SIGNS, prompts=512,
    ),
    Case(
        "decision_tree", DIMS, [Golden("gradient_boosting", {100: between(0.31, 0.33)}, _THEIR_CODE)],
        shift=_SIGNS, prompts=64,
    ),
    Case("relu_network", DIMS, [Golden("mlp_gd", {100: printed(".17")}, "Garg et al. 2022")], prompts=128),
    Case("linear", DIMS, [
        Golden("least_squares", _exact({k: 1 - 2 * k / DIMS for k in (1, 5, 8)}) | {10: NONE}, "max(0, 1 - 2 k / d)"),
    ], shift="half_subspace"),
    Case("linear", DIMS, [
        Golden("least_squares", _printed({2: ".476", 5: ".211", 10: ".079"}), _CATALOGUE),
    ], shift="skewed", prompts=2 * PROMPTS),
    Case("linear", DIMS, [
        Golden("least_squares", _exact({1: (1 - 1 / DIMS) * (1 - 4 / math.pi**2)}), "(1 - 1/d) (1 - 4 / pi^2)"),
        Golden("least_squares", _printed({5: ".323", 10: ".200"}), _CATALOGUE),
    ], shift="opposite_quadrants"),
    Case("linear", DIMS, [
        Golden("least_squares", _exact({k: 1 - k / DIMS for k in (1, 5, 10, 15)}), "1 - k / d"),
    ], shift="random_quadrants"),
    Case("linear", DIMS, [
        Golden("least_squares", _exact(dict.fromkeys((1, 10), 1.0)), "linear methods know nothing"),
        Golden("averaging", _exact(dict.fromkeys((1, 10), 1.0)), "linear methods know nothing"),
    ], shift="orthogonal_queries"),
    Case("linear", DIMS, [
        Golden("least_squares", dict.fromkeys((1, 5, 10, 20, 40), NONE), "the query's label is an example"),
        Golden({"name": "knn", "neighbors": 1}, dict.fromkeys((1, 10, 40), NONE), "the query's label is an example"),
    ], shift="overlapping_queries", prompts=FEW),
    Case(_QUIETER, 8, [
        Golden("ridge", _exact({0: 1.0}) | _printed({4: ".533", 8: ".1815", 15: ".0376"}), _CATALOGUE),
        Golden("ridge", dict.fromkeys((2, 6, 12), ridge_error), _TRACE),
    ], prompts=2 * PROMPTS),
]  # fmt: skip
