"""Regression on every prefix at once, against numpy and scikit-learn one prefix at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import assert_mean
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge
from torch import Tensor

from icl_curriculum.core import regression as prefix_regression
from icl_curriculum.core.regression import fit_every_prefix, log_evidence, predict_every_prefix
from icl_curriculum.inputs import random_rotations

Fit = Callable[[np.ndarray, np.ndarray], np.ndarray]

BATCH, POINTS, WIDTH = 3, 12, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def minimum_norm(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(rows, labels, rcond=1e-9)[0]


def one_at_a_time(fit: Fit, rows: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Entry k of every prompt from a fit of its own; 0 at k = 0."""
    predicted = torch.zeros_like(labels)
    for i in range(rows.shape[0]):
        for k in range(1, rows.shape[1]):
            weights = fit(rows[i, :k].numpy(), labels[i, :k].numpy())
            predicted[i, k] = float(queries[i, k].numpy() @ weights)
    return predicted


def repeated(*order: int) -> Tensor:
    """Rows drawn from a small stock, so that some recur: ``order`` says which comes when."""
    return normal(BATCH, max(order) + 1, WIDTH)[:, list(order)]


DESIGNS = {
    "general": normal(BATCH, POINTS, WIDTH),
    "rank 2": normal(BATCH, POINTS, 2) @ normal(BATCH, 2, WIDTH, seed=1),
    "a row repeated later": repeated(0, 1, 2, 3, 4, 5, 2, 6, 1, 7),
    "a row repeated at once": repeated(0, 0, 1, 2, 3, 4, 5, 6),
    "one row only, then others": repeated(0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6),
    "a row of zeros": normal(BATCH, POINTS, WIDTH) * (torch.arange(POINTS) != 1).view(1, -1, 1),
    "unit vectors": torch.eye(WIDTH, dtype=torch.float64)[[0, 0, 1, 1, 0, 2, 3, 3, 4, 2, 1, 0]].expand(BATCH, -1, -1),
    "rows of unequal size": normal(BATCH, POINTS, WIDTH) * torch.logspace(-3, 3, POINTS).double().view(1, -1, 1),
    "more features than rows": normal(BATCH, 4, 9),
    "more features than rows, some repeated": normal(BATCH, 4, 15)[:, [0, 1, 1, 2, 0, 3, 2]],
    "more features than rows, rank 3": normal(BATCH, 6, 3) @ normal(BATCH, 3, 20, seed=1),
    "one feature": normal(BATCH, POINTS, 1),
}


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_least_squares_is_numpy_s_minimum_norm_solution(design: str, noise: float) -> None:
    rows = DESIGNS[design]
    width = rows.shape[-1]
    labels = (rows @ normal(BATCH, width, 1, seed=2)).squeeze(-1) + noise * normal(*rows.shape[:2], seed=3)
    queries = normal(*rows.shape, seed=4)
    expected = one_at_a_time(minimum_norm, rows, labels, queries)
    torch.testing.assert_close(predict_every_prefix(rows, labels, queries), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("width", [3, 20])
@pytest.mark.parametrize(("share", "tolerance"), [(1e-2, 1e-6), (1e-3, 1e-4), (1e-4, 1e-2), (1e-5, 0.5)])
def test_a_nearly_dependent_row_does_no_lasting_harm(width: int, share: float, tolerance: float) -> None:
    """The last row that adds a direction adds little of it; the rows after it must mend that, not add to it."""
    rows = normal(40, width + 5, width)
    inside = normal(40, 1, width - 1, seed=1) @ rows[:, : width - 1] / width**0.5
    rows[:, width - 1 : width] = inside + share * rows[:, width - 1 : width]
    labels, queries = normal(*rows.shape[:2], seed=2), normal(*rows.shape, seed=3)
    for k in (width + 2, width + 4):
        expected = (torch.linalg.lstsq(rows[:, :k], labels[:, :k, None]).solution.squeeze(-1) * queries[:, k]).sum(-1)
        got = predict_every_prefix(rows, labels, queries)[:, k]
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 1), min_size=3, max_size=3), min_size=2, max_size=9), st.integers(0, 100))
def test_least_squares_on_any_small_integer_design(design: list[list[int]], seed: int) -> None:
    """Integer rows are exactly dependent in every way there is."""
    rows = torch.tensor([design], dtype=torch.float64)
    labels, queries = normal(*rows.shape[:2], seed=seed), normal(*rows.shape, seed=seed + 1)
    expected = one_at_a_time(minimum_norm, rows, labels, queries)
    torch.testing.assert_close(predict_every_prefix(rows, labels, queries), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("penalty", [0.01, 2.5])
def test_ridge_is_scikit_learn_s(design: str, penalty: float) -> None:
    rows = DESIGNS[design]
    labels, queries = normal(*rows.shape[:2], seed=2), normal(*rows.shape, seed=4)

    def ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(x, y).coef_)

    expected = one_at_a_time(ridge, rows, labels, queries)
    got = predict_every_prefix(rows, labels, queries, penalty=penalty)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("penalty", [0.0, 0.01, 2.5])
def test_what_the_fits_say_of_the_next_label(design: str, penalty: float) -> None:
    """The posterior predictive of weights N(0, I) and noise of variance p: at x it has variance p + x S x^T.

    S is (X^T X / p + I)^-1, and without noise the projector on what the rows so far leave open. The
    residual is the next label less the prediction at its own row, whatever the query.
    """
    rows = DESIGNS[design]
    labels, queries = normal(*rows.shape[:2], seed=2), normal(*rows.shape, seed=4)
    fits = fit_every_prefix(rows, labels, queries, penalty=penalty)
    assert fits.predictions.equal(predict_every_prefix(rows, labels, queries, penalty=penalty))
    at_own_rows = predict_every_prefix(rows, labels, penalty=penalty)
    torch.testing.assert_close(fits.residuals, labels - at_own_rows, rtol=1e-9, atol=1e-9)
    for i, k in np.ndindex(*labels.shape):
        seen, x = rows[i, :k].numpy(), rows[i, k].numpy()
        if penalty:
            covariance = np.linalg.inv(seen.T @ seen / penalty + np.eye(len(x)))
        else:
            covariance = np.eye(len(x)) - np.linalg.pinv(seen, rcond=1e-9) @ seen
        expected = penalty + x @ covariance @ x
        assert float(fits.variances[i, k]) == pytest.approx(expected, rel=1e-6, abs=1e-8 * (1 + x @ x))


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("penalty", [0.01, 2.5])
def test_the_evidence_is_the_density_of_the_labels(design: str, penalty: float) -> None:
    """Up to what all models of k labels share, (k / 2) log 2 pi."""
    rows = DESIGNS[design]
    labels = normal(*rows.shape[:2], seed=2)
    evidence = log_evidence(fit_every_prefix(rows, labels, penalty=penalty), torch.zeros_like(labels))
    for i, k in np.ndindex(*labels.shape):
        if k == 0:
            assert float(evidence[i, k]) == 0
            continue
        seen = rows[i, :k].numpy()
        covariance = seen @ seen.T + penalty * np.eye(k)
        density = multivariate_normal(np.zeros(k), covariance).logpdf(labels[i, :k].numpy())
        assert float(evidence[i, k]) == pytest.approx(density + k / 2 * np.log(2 * np.pi), rel=1e-4, abs=1e-4)


def test_without_noise_the_evidence_allows_for_rounding_that_dependent_rows_enlarge() -> None:
    """The fourth label follows from three rows nearly in a plane: they enlarge what rounding has done to theirs."""
    rows = normal(200, 5, 3)
    rows[:, 2] = rows[:, 0] + rows[:, 1] + 1e-4 * rows[:, 2]
    exact = torch.einsum("npd,nd->np", rows, normal(200, 3, seed=1))
    fits = fit_every_prefix(rows, exact.float())
    rounded, kept = (log_evidence(item, rows.square().sum(-1)) for item in (fits, fit_every_prefix(rows, exact)))
    torch.testing.assert_close(rounded, kept, rtol=0, atol=0.1)
    assert fits.residuals[:, 3].abs().max() > 1e-4


def test_residuals_over_their_deviations_are_standard_normal_for_labels_from_the_prior() -> None:
    """Labels w·x + noise of variance p: the residuals are N(0, variance), one independent of the next."""
    rows, w, noise = normal(4000, 7, 3), normal(4000, 3, seed=1), normal(4000, 7, seed=2)
    labels = torch.einsum("npd,nd->np", rows, w) + 0.5 * noise
    fits = fit_every_prefix(rows, labels, penalty=0.25)
    scores = fits.residuals / fits.variances.sqrt()
    assert_mean(scores, [0.0] * 7)
    assert_mean(scores.square(), [1.0] * 7)
    assert_mean(scores[:, 1:] * scores[:, :-1], [0.0] * 6)


PENALTIES = pytest.mark.parametrize("penalty", [0.0, 1.0])


@PENALTIES
def test_without_queries_each_row_is_the_question_of_those_before_it(penalty: float) -> None:
    rows, labels = normal(BATCH, POINTS, WIDTH), normal(BATCH, POINTS, seed=1)
    got = predict_every_prefix(rows, labels, penalty=penalty)
    assert got.equal(predict_every_prefix(rows, labels, rows.clone(), penalty=penalty))
    assert (got[:, 0] == 0).all()


@PENALTIES
@pytest.mark.parametrize("width", [WIDTH, POINTS, 30])
@pytest.mark.parametrize("k", [0, 3, WIDTH, 9])
def test_later_pairs_change_nothing(penalty: float, k: int, width: int) -> None:
    rows, labels, queries = (normal(BATCH, POINTS, width), normal(BATCH, POINTS, seed=1), normal(BATCH, POINTS, width))
    before = predict_every_prefix(rows, labels, queries, penalty=penalty)
    changed_rows, changed_labels = rows.clone(), labels.clone()
    changed_rows[:, k:] += 1
    changed_labels[:, k:] -= 3
    after = predict_every_prefix(changed_rows, changed_labels, queries, penalty=penalty)
    assert after[:, : k + 1].equal(before[:, : k + 1])
    assert k >= POINTS - 1 or not after[:, k + 1 :].equal(before[:, k + 1 :])


@PENALTIES
@pytest.mark.parametrize("width", [WIDTH, 30])
def test_prompts_are_fitted_in_parts(penalty: float, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels, queries = (normal(BATCH, POINTS, width), normal(BATCH, POINTS, seed=1), normal(BATCH, POINTS, width))
    whole = predict_every_prefix(rows, labels, queries, penalty=penalty)
    monkeypatch.setattr(prefix_regression, "_CHUNK", 2 * POINTS * min(POINTS, width))
    torch.testing.assert_close(predict_every_prefix(rows, labels, queries, penalty=penalty), whole)
    assert predict_every_prefix(rows[:0], labels[:0], penalty=penalty).shape == (0, POINTS)


@PENALTIES
def test_predictions_do_not_depend_on_the_basis(penalty: float) -> None:
    rows, labels, queries = (normal(BATCH, POINTS, WIDTH), normal(BATCH, POINTS, seed=1), normal(BATCH, POINTS, WIDTH))
    rotation = random_rotations(BATCH, WIDTH, torch.Generator().manual_seed(0)).double()
    turned = predict_every_prefix(rows @ rotation, labels, queries @ rotation, penalty=penalty)
    # The rotation is drawn in float32, so it is orthogonal to about 1e-7.
    expected = predict_every_prefix(rows, labels, queries, penalty=penalty)
    torch.testing.assert_close(turned, expected, rtol=1e-3, atol=1e-4)


@PENALTIES
def test_the_order_of_earlier_examples_does_not_matter(penalty: float) -> None:
    rows, labels, queries = (normal(BATCH, POINTS, WIDTH), normal(BATCH, POINTS, seed=1), normal(BATCH, POINTS, WIDTH))
    order = [3, 0, 7, 2, 5, 1, 6, 4, *range(8, POINTS)]
    shuffled = predict_every_prefix(rows[:, order], labels[:, order], queries, penalty=penalty)
    expected = predict_every_prefix(rows, labels, queries, penalty=penalty)
    torch.testing.assert_close(shuffled[:, 8:], expected[:, 8:])
