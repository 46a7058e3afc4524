"""MetaICT: MetaICL with an instruction for the task, one task a batch."""

from __future__ import annotations

from typing import ClassVar, Literal

from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Capability
from icl_curriculum.training.methods.base import register_method
from icl_curriculum.training.methods.meta_icl import MetaIcl


@register_method("meta_ict")
class MetaIct(MetaIcl):
    """MetaICT: MetaICL where the model is told the task, and a batch holds prompts of one cell.

    The instruction is that of the table ``[instruction]``, whose ``kind`` must be other than ``none``. Source: Chen et
    al. 2022, arXiv 2110.07814.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INSTRUCTION})

    def check(self, training: TrainingConfig, *, cells: int, draw: Literal["batch", "prompt"]) -> None:
        super().check(training, cells=cells, draw=draw)
        if draw == "prompt":
            raise UserError('expected "batch", one cell for all prompts of an update', key="curriculum.draw")
