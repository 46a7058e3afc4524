"""Lasso fits of many prompts at once, moved from one example to the next along paths of optimal weights.

Dimensions: batch = prompts, walkers = the prompts that are still on their way, k = examples so far, dims = d.

The problem: argmin_w |y - Xw|^2 / 2 + sum_j penalty_j |w_j|. Weights w with the gradient g = X^T (y - Xw) are
optimal if g_j = penalty_j sign(w_j) where coordinate j is active, and w_j = 0 and |g_j| <= penalty_j elsewhere.

The path: for any v that meets these conditions in the place of g, the same w is optimal where X^T y is X^T X w + v.
From there X^T y moves in a straight line to its true value, by g - v in all. The active weights and the gradients of
the other coordinates then move in straight lines too, until a weight reaches 0 and its coordinate leaves the active
ones, or a gradient reaches its penalty and its coordinate enters. This is the homotopy of Osborne, Presnell and
Turlach (2000), also known as least angle regression (Efron et al. 2004), from solution to solution as examples arrive
(Garrigues and El Ghaoui 2008); the straight line is that of the online active set strategy (Ferreau, Bock and Diehl
2008). It may start from any weights, so what rounding has left of one path is in the gap that the next one closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

# Weights count as optimal if no gradient is off by more than the first share of its penalty, or by more than rounding
# may leave, which is the second share of |x_j| |y|.
_TOLERANCE = 1e-9
_ROUNDING = 1e-15
# A coordinate whose part outside the span of the active ones has less than this share of its squared norm counts
# as lying in that span.
_DEPENDENT = 1e-9
# A path with more turns for each dimension than this must be going in circles.
_TURNS = 10
# How many prompts' tableaux are worked on at once.
_BLOCK = 64
# How often weights that are not optimal yet start a new path.
_REPAIRS = 5


class LassoFits:
    """The lasso fits of a batch of prompts to their first k examples, from k = 0 on."""

    def __init__(self, batch: int, dims: int) -> None:
        self.weights: Float[Array, "batch dims"] = np.zeros((batch, dims))
        # The signs of the active weights; 0 elsewhere.
        self._signs, self._gradients, self._squares = np.zeros((3, batch, dims))
        self._penalties = np.ones(dims)
        self._tableaux = _Tableaux(batch, dims)

    # Speeds of 0 are divided by, and a prompt whose numbers are not finite gets weights that aren't either.
    @np.errstate(all="ignore")
    def move_on(
        self, xs: Float[Array, "batch k dims"], ys: Float[Array, "batch k"], penalties: Float[Array, " dims"]
    ) -> None:
        """Fit these examples, which are those of before and one more. No prompt's fit depends on another prompt."""
        everyone = np.arange(len(xs))
        start = self._gradients * (penalties / self._penalties)
        self._penalties = penalties
        x, y = xs[:, -1], ys[:, -1]
        self._tableaux.add_row(x, self._signs != 0)
        self._squares += x * x
        self._gradients += x * (y - (x * self.weights).sum(axis=1))[:, None]
        self._walk(everyone, start)
        self._gradients = _gradients(xs, ys, self.weights)
        for attempt in range(_REPAIRS):
            prompts = self._unsettled(ys).nonzero()[0]
            if len(prompts) == 0:
                return
            if attempt > 0:
                self._tableaux.rebuild(prompts, xs[prompts], self._signs[prompts] != 0)
            self._walk(prompts, self._gradients[prompts])
            self._gradients[prompts] = _gradients(xs[prompts], ys[prompts], self.weights[prompts])

    def _unsettled(self, ys: Float[Array, "batch k"]) -> Bool[Flags, " batch"]:
        """The prompts whose weights are not optimal."""
        signs = np.sign(self.weights)
        slack = np.where(signs == 0, self._penalties, 0.0)
        rounding = _ROUNDING * np.sqrt(self._squares * (ys * ys).sum(axis=1, keepdims=True))
        excess = np.abs(self._gradients - signs * self._penalties) - slack
        unsettled: Flags = (excess > _TOLERANCE * self._penalties + rounding).any(axis=1)
        return unsettled

    def _walk(self, prompts: Int[Indices, " chosen"], start: Float[Array, "chosen dims"]) -> None:
        """Walk these prompts' paths. They begin where the gradient would be ``start``, made to meet the conditions."""
        signs, penalties = self._signs[prompts], self._penalties
        active = signs != 0
        start = np.where(active, signs * penalties, np.clip(start, -penalties, penalties))
        speeds = self._tableaux.swept(prompts, self._gradients[prompts] - start, active)
        low = np.where(active, np.where(signs > 0, 0.0, -np.inf), -penalties)
        high = np.where(active, np.where(signs > 0, np.inf, 0.0), penalties)
        values = np.where(active, self.weights[prompts], start)
        walkers = _Walkers(
            prompts, np.stack([values, speeds, low, high]), np.ones(len(prompts)), np.zeros_like(prompts)
        )
        for _ in range(_TURNS * len(penalties)):
            walkers = self._settle(walkers, walkers.go())
            if len(walkers.prompts) == 0:
                return
            walkers = self._turn(walkers)
        self._settle(walkers, np.ones(len(walkers.prompts), dtype=np.bool_))

    def _settle(self, walkers: _Walkers, there: Bool[Flags, " walkers"]) -> _Walkers:
        """Store the weights of the walkers whose path ends here. The others remain."""
        if not there.any():
            return walkers
        ending = walkers[there]
        signs = ending.signs
        # At a turn, rounding may have taken a weight past 0.
        self.weights[ending.prompts] = np.clip(ending.values, ending.low, ending.high) * np.abs(signs)
        self._signs[ending.prompts] = signs
        return walkers[~there]

    def _turn(self, walkers: _Walkers) -> _Walkers:
        """Let the turning coordinate of each walker enter or leave the active set."""
        prompts, turning = walkers.prompts, walkers.turning
        enters = walkers.signs[np.arange(len(turning)), turning] == 0
        outside = self._tableaux.entries[prompts, turning, turning]
        dependent = (enters & (outside <= _DEPENDENT * self._squares[prompts, turning])).nonzero()[0]
        weights = np.zeros(len(turning))
        if len(dependent) > 0:
            some = walkers[dependent]
            weights[dependent], leaving = self._slide(some)
            stuck = np.isinf(weights)
            if stuck.any():
                # Only rounding has caused this turn, so their path ends. The others turn in the next round.
                return self._settle(walkers, stuck)
            self._sweep(some, leaving, np.zeros(len(leaving)))
            walkers.state[:, dependent] = some.state
        self._sweep(walkers, turning, weights)
        return walkers

    def _slide(self, walkers: _Walkers) -> tuple[Float[Array, " walkers"], Int[Indices, " walkers"]]:
        """Make room for coordinates j in the span of the active ones. Returns their weights then, and those that leave.

        With x_j = X_A c, neither Xw nor the penalty changes while w_j grows from 0 in the direction of g_j and w_A
        changes by -c w_j. It grows until the first active weight is 0. Weights are infinite where none becomes 0.
        """
        each = np.arange(len(walkers.turning))
        way = np.sign(walkers.values[each, walkers.turning])
        column = self._tableaux.entries[walkers.prompts, walkers.turning] * way[:, None]
        signs = walkers.signs
        rates = column * signs
        sizes = np.divide(np.abs(walkers.values), rates, out=np.full_like(rates, np.inf), where=rates > _DEPENDENT)
        leaving = sizes.argmin(axis=1)
        sizes = sizes[each, leaving]
        walkers.values -= np.abs(signs) * np.where(np.isinf(sizes), 0.0, sizes)[:, None] * column
        return way * sizes, leaving

    def _sweep(
        self, walkers: _Walkers, coordinates: Int[Indices, " walkers"], weights: Float[Array, " walkers"]
    ) -> None:
        """Let coordinates leave, or enter with these weights: they are swapped in the tableau and in the state."""
        each = np.arange(len(coordinates))
        value, speed, low, high = walkers.state[:, each, coordinates]
        column = self._tableaux.entries[walkers.prompts, coordinates]
        ratio = speed / column[each, coordinates]
        sign = np.sign(low + high)
        enters = sign == 0
        sign = np.where(enters, np.sign(value), sign)
        turn = np.where(enters, 1.0, -1.0)
        penalty = self._penalties[coordinates]
        bound = np.where(enters, np.inf, penalty)
        walkers.speeds -= column * ratio[:, None]
        walkers.state[:, each, coordinates] = (
            np.where(enters, weights, sign * penalty),
            turn * ratio,
            np.where(enters & (sign > 0), 0.0, -bound),
            np.where(enters & (sign < 0), 0.0, bound),
        )
        self._tableaux.sweep(walkers.prompts, coordinates, turn)


@dataclass
class _Walkers:
    """Prompts on their paths.

    ``state``: values, speeds, low and high. The values are weights of active coordinates and gradients of the others;
    they move by ``speeds`` over the whole path, and turn at ``low`` and ``high``, which are 0 and infinite for a weight
    and the penalties for a gradient. ``left``: the share of the path that is left, from 1 to 0. ``turning``: the
    coordinate that is to turn next.
    """

    prompts: Int[Indices, " walkers"]
    state: Float[Array, "4 walkers dims"]
    left: Float[Array, " walkers"]
    turning: Int[Indices, " walkers"]

    def __post_init__(self) -> None:
        self.values, self.speeds, self.low, self.high = self.state

    @property
    def signs(self) -> Float[Array, "walkers dims"]:
        """The signs of the active weights; 0 elsewhere."""
        signs: Array = np.sign(self.low + self.high)
        return signs

    def __getitem__(self, chosen: Flags | Indices) -> _Walkers:
        return _Walkers(self.prompts[chosen], self.state[:, chosen], self.left[chosen], self.turning[chosen])

    def go(self) -> Bool[Flags, " walkers"]:
        """Walk to the next turn, or to the end of the path. Returns which walkers have arrived at the end."""
        paces = 1 / self.speeds
        times = np.maximum((self.high - self.values) * paces, (self.low - self.values) * paces)
        np.copyto(times, np.inf, where=self.speeds == 0)
        self.turning = times.argmin(axis=1)
        # The time is negative where rounding has taken a value past its turn.
        time = np.maximum(times[np.arange(len(times)), self.turning], 0.0)
        self.values += np.minimum(time, self.left)[:, None] * self.speeds
        self.left = self.left - time
        arrived: Flags = ~(self.left > 0)
        return arrived


class _Tableaux:
    """The Gram matrices G = X^T X of a batch of prompts, each swept on its active set A (Goodnight 1979).

    ``entries``: symmetric, -G_AA^-1 among the active coordinates, G_AA^-1 G_AI across, and G_II - G_IA G_AA^-1 G_AI,
    the Gram matrix of what lies outside the span of the active ones, among the others.
    """

    def __init__(self, batch: int, dims: int) -> None:
        self.entries: Float[Array, "batch dims dims"] = np.zeros((batch, dims, dims))

    def swept(
        self, prompts: Int[Indices, " chosen"], vectors: Float[Array, "chosen dims"], active: Bool[Flags, "chosen dims"]
    ) -> Float[Array, "chosen dims"]:
        """Returns G_AA^-1 v_A for the active coordinates, and v_I - G_IA G_AA^-1 v_A for the others."""
        inside = np.where(active, vectors, 0.0)
        swept = vectors - inside
        for part in _blocks(len(prompts)):
            swept[part] -= _products(inside[part], self.entries[prompts[part]])
        return swept

    def add_row(self, x: Float[Array, "batch dims"], active: Bool[Flags, "batch dims"]) -> None:
        """Update the tableaux to those of G + x x^T, by the formula of Sherman and Morrison for all blocks."""
        column = self.swept(np.arange(len(x)), x, active)
        stretch = 1 + (column * np.where(active, x, 0.0)).sum(axis=1, keepdims=True)
        column /= np.sqrt(stretch)
        for part in _blocks(len(x)):
            self.entries[part] += _outer(column[part], column[part])

    def sweep(
        self, prompts: Int[Indices, " chosen"], coordinates: Int[Indices, " chosen"], turn: Float[Array, " chosen"]
    ) -> None:
        """Move a coordinate into the active set (``turn`` = 1) or out of it (-1)."""
        each = np.arange(len(coordinates))
        column = self.entries[prompts, coordinates]
        pivot = column[each, coordinates]
        scaled = column / np.sqrt(np.abs(pivot))[:, None]
        for part in _blocks(len(prompts)):
            self.entries[prompts[part]] -= _outer(turn[part, None] * scaled[part], scaled[part])
        column *= (turn / pivot)[:, None]
        column[each, coordinates] = -1 / pivot
        self.entries[prompts, coordinates] = column
        self.entries[prompts, :, coordinates] = column

    def rebuild(
        self, prompts: Int[Indices, " chosen"], xs: Float[Array, "chosen k dims"], active: Bool[Flags, "chosen dims"]
    ) -> None:
        """Compute tableaux anew from the inputs themselves, as their pseudo-inverse loses less to rounding than G's."""
        inside = np.where(active[:, None, :], xs, 0.0)
        inverse = np.linalg.pinv(inside, _DEPENDENT)
        shares = inverse @ xs
        outside = xs - inside @ shares
        row, column = active[:, :, None], active[:, None, :]
        among = np.where(row, -inverse @ inverse.mT, outside.mT @ outside)
        self.entries[prompts] = np.where(row == column, among, np.where(row, shares, shares.mT))


def _blocks(count: int) -> Iterator[slice]:
    """Slices that are short enough for all that is computed on each to stay in the cache."""
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def _gradients(
    xs: Float[Array, "chosen k dims"], ys: Float[Array, "chosen k"], weights: Float[Array, "chosen dims"]
) -> Float[Array, "chosen dims"]:
    """Returns X^T (y - Xw)."""
    return _products(ys - (xs @ weights[:, :, None])[:, :, 0], xs)


def _products(
    vectors: Float[Array, "chosen rows"], matrices: Float[Array, "chosen rows dims"]
) -> Float[Array, "chosen dims"]:
    """Each vector times its matrix."""
    products: Array = (vectors[:, None, :] @ matrices)[:, 0]
    return products


def _outer(left: Float[Array, "chosen dims"], right: Float[Array, "chosen dims"]) -> Float[Array, "chosen dims dims"]:
    products: Array = np.einsum("ni,nj->nij", left, right)
    return products
