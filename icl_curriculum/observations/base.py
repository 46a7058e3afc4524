"""The contract of an observation: how the context of a prompt shows its examples.

Dimensions: n = prompts, points = K + 1, dims = d, shown = the numbers of an input as it is shown, labels = the numbers
of a label, an axis that is only there if they are several.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.registry import OBSERVATIONS, Registered

#: What labels may be: a number each, a vector of several, -1 or 1, or one-hot classes.
LabelKind = Literal["numbers", "vectors", "signs", "classes"]
ALL_KINDS: frozenset[LabelKind] = frozenset({"numbers", "vectors", "signs", "classes"})
#: Labels to which something can be added.
OF_NUMBERS: frozenset[LabelKind] = frozenset({"numbers", "vectors"})


@dataclass(frozen=True)
class Pairs:
    """What the prompts of a batch show: the inputs and labels of the examples, and the inputs asked about.

    ``ys``: in the units of the targets, with the class's label noise. ``queries``: where the query at k is not
    ``xs[:, k]``; else None. ``size``: the root of the trivial error of one number of a label, in the same units, by
    which levels of noise are given. ``scale``: what the class's raw values were multiplied by. ``kind``: what the
    labels are.
    """

    xs: Float[Tensor, "n points shown"]
    ys: Float[Tensor, "n points *labels"]
    queries: Float[Tensor, "n points shown"] | None
    size: float
    scale: float
    kind: LabelKind

    def __len__(self) -> int:
        return self.xs.shape[0]

    def copy(self) -> Pairs:
        """The same pairs with tensors of their own."""
        queries = None if self.queries is None else self.queries.clone()
        return replace(self, xs=self.xs.clone(), ys=self.ys.clone(), queries=queries)

    @property
    def points(self) -> int:
        return self.xs.shape[1]

    @property
    def n_classes(self) -> int:
        """How many classes there are: 2 of signs."""
        return 2 if self.kind == "signs" else self.ys.shape[-1]


class Observation(Component):
    """How the context shows its examples, where that is not "each input, and its label".

    A function class has one as its field ``observation``, for training and evaluation; the shift ``other_observation``
    brings one in at test time alone. Targets stay the clean values at the inputs as they are, whatever is shown. No
    oracle is claimed where there is an observation.
    """

    #: What labels it can change.
    kinds: ClassVar[frozenset[LabelKind]] = ALL_KINDS
    #: The baselines that suit what it shows, beside those of the function class: registered names, or tables.
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = ()

    def shown_dims(self, dims: int) -> int:
        """How many numbers an input of ``dims`` coordinates is shown as, which is what models and baselines read."""
        return dims

    @property
    def noise_variance(self) -> float:
        """E (shown - clean)^2 of a number of a label over ``size`` squared, for inputs with E|x|^2 = d.

        It adds to the noise that ``prompts.label_noise`` states, from which ridge regression takes its penalty. 0 where
        labels are left alone or nothing is known.
        """
        return 0.0

    @abstractmethod
    def show(self, pairs: Pairs, generator: torch.Generator) -> Pairs:
        """The pairs as they are shown: ``dataclasses.replace(pairs, xs=..., ys=..., queries=...)``.

        It changes no tensor of ``pairs`` in place, and draws from ``generator`` alone, on whose device all is. What
        stands at an entry may depend on earlier entries of its prompt, never on later ones, nor on other prompts; its
        input and its query never on its own label. ``xs`` and ``queries`` have `shown_dims` numbers; ``queries`` stays
        None where it is. Labels stay of their kind.
        """


register_observation = OBSERVATIONS.of(Observation)

#: A field that holds an observation.
AnyObservation = Annotated[Observation, Registered(OBSERVATIONS)]
