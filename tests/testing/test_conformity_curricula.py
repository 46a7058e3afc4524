"""The conformity check of curricula: the suite's pass, and one broken for every rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from places import EVERY_KIND
from pydantic import Field, PrivateAttr
from testing_classes import failures, finding_of, result_of

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import CURRICULA
from icl_curriculum.curricula import Bandit, Curriculum, Single, State, WhenConverged


class Hardest(Curriculum):
    """More of the items whose loss, as a running mean, is higher."""

    sharpness: float = Field(2.0, ge=0, description="power of the losses")

    def shares(self, step: int, state: State, *, items: Any, steps: int) -> list[float]:
        weights = [min(max(state.get(item, 1.0), 1e-3), 1e6) ** self.sharpness for item in items]
        return [weight / sum(weights) for weight in weights]

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        return {**state, **{item: 0.9 * state.get(item, 1.0) + 0.1 * loss for item, loss in signals.items()}}


class InPlace(Hardest):
    """The same, which changes the state that it is given: a resumed run goes on as before, so it may."""

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        state.update(super().update(state, signals))
        return state


#: Unlike the others, or with others than their defaults; `make check` looks at all.
KEPT: list[Any] = [
    "mixed",
    "backwards",
    Hardest,
    InPlace,
    Single(only="mine/2"),
    Bandit(epsilon=0.0),
    WhenConverged(window=1),
]


@pytest.mark.parametrize("curriculum", KEPT, ids=lambda item: getattr(item, "id", getattr(item, "__name__", item)))
def test_right_curricula_keep_the_contract(curriculum: Any, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    assert failures(curriculum) == {}


def test_a_fixed_curriculum_has_no_update_to_look_at() -> None:
    for rule in ("update", "signals"):
        result = result_of("mixed", rule)
        assert (result.status, result.note.split(":")[0]) == ("does not apply", "a fixed curriculum")
        assert result_of("bandit", rule).status == "ok"


def having(base: type[Curriculum] = Hardest, **members: Any) -> type[Curriculum]:
    return type("Broken", (base,), {"__doc__": "Broken.", "__module__": __name__, **members})


def giving(change: Any) -> type[Curriculum]:
    """A fixed curriculum whose shares are ``change(step, state, items)``."""
    return having(Curriculum, shares=lambda self, step, state, *, items, steps: change(step, state, items))


def updating(change: Any, **members: Any) -> type[Curriculum]:
    return having(update=lambda self, state, signals: change(state, signals), **members)


def noting(state: State, items: Any) -> list[float]:
    state["asked"] = state.get("asked", 0) + 1
    return [1 / len(items)] * len(items)


class Remembering(Hardest):
    """Keeps its losses where no checkpoint finds them."""

    _losses: dict[str, float] = PrivateAttr(default_factory=dict)

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        self._losses.update({item: loss + state.get("n", 0) for item, loss in signals.items()})
        return {"n": state.get("n", 0) + 1}

    def shares(self, step: int, state: State, *, items: Any, steps: int) -> list[float]:
        return super().shares(step, self._losses if state else {}, items=items, steps=steps)


class Hiding(Hardest):
    """Counts the runs that it has begun in itself, and forgets them when a run is resumed."""

    _first: float | None = PrivateAttr(None)

    def shares(self, step: int, state: State, *, items: Any, steps: int) -> list[float]:
        if self._first is None:
            self._first = float(step)
        return super().shares(step, {items[0]: 1.0 + self._first}, items=items, steps=steps)


COMMON: dict[str, float] = {}


def shared(self: Any) -> State:
    return COMMON


def to_common(self: Any, state: State, signals: Mapping[str, float]) -> State:
    state.update(signals)
    return state


def refuses(self: Any, items: Any, steps: int) -> None:
    raise UserError("never enough steps")


def fails(self: Any, items: Any, steps: int) -> None:
    raise KeyError(steps)


BROKEN: dict[str, tuple[type[Curriculum], str, str]] = {
    # The rule, and what is wrong: a curriculum, what was found, what mends it.
    "known methods": (
        having(Curriculum, shares=Hardest.shares, updte=Hardest.update),
        "Broken.updte: nothing calls it",
        "did you mean update?",
    ),
    "check/refuses": (having(check=refuses), "with: never enough steps", "let check raise only"),
    "check/fails": (having(check=fails), "KeyError: 40", "test_conformity_curricula.py"),
    "shares/sum": (giving(lambda step, state, items: [0.4] * len(items)), "[0.4], which sum to 0.4", "by their sum"),
    "shares/one too few": (giving(lambda step, state, items: [1.0]), "[1.0]", "for each of items"),
    "shares/negative": (
        giving(lambda step, state, items: [2.0, *[-1 / max(1, len(items) - 1)] * (len(items) - 1)][: len(items)]),
        "[2.0], which sum to 2",
        "by their sum",
    ),
    "shares/not a number": (giving(lambda step, state, items: [float("nan")] * len(items)), "[nan]", "by their sum"),
    "shares/by name": (
        giving(lambda step, state, items: dict.fromkeys(items, 1.0)),
        "{'linear': 1.0}",
        "return a list",
    ),
    "shares/later": (
        giving(lambda step, state, items: [(1 - step / 30) / len(items)] * len(items)),
        "which sum to 0.96",
        "by their sum",
    ),
    "shares/state changed": (
        giving(lambda step, state, items: noting(state, items)),
        "shares changed asked",
        "update alone",
    ),
    "shares/random": (
        giving(lambda step, state, items: torch.softmax(torch.randn(len(items)), 0).tolist()),
        " and then ",
        "no random numbers",
    ),
    "global generators": (
        giving(lambda step, state, items: [1 / len(items) + 0 * float(np.random.rand())] * len(items)),
        "numpy's global generator changed",
        "the trainer draws by them",
    ),
    "state/of a fixed one": (
        having(CURRICULA.get("random"), initial_state=lambda self: {"block": 0}),  # type: ignore[arg-type]
        "{'block': 0} from start(",
        "what never changes belongs in fields",
    ),
    "state/objects": (
        updating(
            lambda state, signals: {**state, "seen": set(signals)},
            shares=lambda self, step, state, *, items, steps: [1 / len(items)] * len(items),
        ),
        "state['seen'] holds something of the type set after 1 updates",
        "sets as lists",
    ),
    "state/no dict": (
        having(
            initial_state=lambda self: [],
            shares=lambda self, step, state, *, items, steps: [1 / len(items)] * len(items),
            update=lambda self, state, signals: [*state, 1],
        ),
        "a list after 0 updates",
        "keep numbers as int and float",
    ),
    "state/shared": (
        having(initial_state=shared, update=to_common),
        "differ once a run has gone on from the first",
        "make a new dict",
    ),
    "update/nothing": (
        updating(lambda state, signals: dict(state)),
        "the state that the run began with",
        "{**state, ...}",
    ),
    "update/losses": (
        updating(lambda state, signals: {**state, "last": signals.popitem()[1]}),
        "changed by update",
        "dict(signals)",
    ),
    "signals/overflow": (
        having(
            shares=lambda self, step, state, *, items, steps: torch.softmax(
                torch.tensor([state.get(item, 1.0) for item in items]) ** 2, 0
            ).tolist()
        ),
        "nan",
        "bound what is made of the losses",
    ),
    "signals/missing item": (
        updating(
            lambda state, signals: {"last": dict(signals)},
            shares=lambda self, step, state, *, items, steps: [
                (x := state.get("last") or dict.fromkeys(items, 1.0)).get(item, 0.0) / (sum(x.values()) or 1)
                for item in items
            ],
        ),
        "which sum to 0",
        "an item without a loss as one that was not drawn",
    ),
    "determinism": (Remembering, "others in a run beside another, or after one", "keep everything in the state"),
    "resuming": (Hiding, "others from step 20 on", "nothing in attributes of the curriculum"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_curriculum_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    curriculum, found, mend = BROKEN[case]
    COMMON.clear()
    finding = finding_of(curriculum, case.split("/")[0])
    assert found in finding.found
    assert mend in finding.mend


def test_losses_that_change_nothing_are_noted() -> None:
    deaf = having(shares=lambda self, step, state, *, items, steps: [1 / len(items)] * len(items))
    assert result_of(deaf, "signals").note == "no losses tried here changed the shares"
    assert result_of(Hardest, "signals").note == ""
