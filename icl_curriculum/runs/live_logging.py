"""Live logging: what the tables gain during training, shown by TensorBoard or Weights & Biases as well.

Off unless asked for. It is no part of a run's config, and changes nothing of what is trained or written elsewhere.
Another backend is a class with the two methods of `LiveLogger` and a line in `BACKENDS`, here or in a plugin file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import UserError, described, did_you_mean
from icl_curriculum.core.extras import install_command, is_installed
from icl_curriculum.core.options import given
from icl_curriculum.results.columns import text_hash


class LiveLogger(Protocol):
    """A place that the values of one run go to while it trains. Whatever it raises ends the logging, not the run."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show what holds after ``step`` updates, by tags such as ``training/normalized_loss/linear/gaussian``.

        Comes at steps that never fall, maybe twice at one. What was given must not get lost if the process is killed.
        """

    def close(self) -> None:
        """Nothing more will come: the training has ended, or was interrupted."""


@dataclasses.dataclass(frozen=True)
class Backend:
    """How to log somewhere."""

    #: From the run, its directory, and the first step to come. Values that an interrupted run logged at that step
    #: or later are superseded. Imports the package, which nothing else does.
    open: Callable[[Run, Path, int], LiveLogger]
    #: The package that it needs, which the extra of the backend's name installs; None for none.
    package: str | None = None


class _TensorBoard:
    """Event files in the run's ``tensorboard`` folder, a new one whenever the run is resumed."""

    def __init__(self, run: Run, directory: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(directory / "tensorboard"), purge_step=step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _WeightsAndBiases:
    """An offline run in the run's ``wandb`` folder, for ``wandb sync``. No account, no network.

    Offline, nothing can be taken back: a resumed run writes a folder of its own under the same id, and steps that
    were logged after the last checkpoint are in both. On the same kind of device both say the same.
    """

    def __init__(self, run: Run, directory: Path, step: int) -> None:
        # Else it would report errors of its own to its makers, offline or not.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        if wandb.run is not None:
            # `wandb.init` would return it, and closing end it.
            raise RuntimeError("this process has a wandb run already")
        settings = wandb.Settings(console="off", silent=True)
        if hasattr(settings, "x_transaction_log_flush_interval"):
            # By default a killed process takes a quarter of a minute with it.
            settings.x_transaction_log_flush_interval = 1.0
        self.run = wandb.init(
            mode="offline",
            dir=str(directory),
            project="icl_curriculum",
            group=run.experiment.name,
            name=run.name,
            id=text_hash(f"{run.experiment.name}/{run.name}/{run.hash()}"),
            resume="allow",
            config=run.config(),
            settings=settings,
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


#: What ``--log`` takes.
BACKENDS: dict[str, Backend] = {
    "tensorboard": Backend(_TensorBoard, package="tensorboard"),
    "wandb": Backend(_WeightsAndBiases, package="wandb"),
}


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The names of backends, or one, each once. UserError for one that is unknown or whose package is not installed."""
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in BACKENDS:
            raise UserError(f"{given('--log', name)}: unknown{did_you_mean(name, BACKENDS)}")
        package = BACKENDS[name].package
        if package is not None and not is_installed(package):
            raise UserError(f"{given('--log', name)}: not installed; {install_command(name)}")
    return tuple(dict.fromkeys(names))


class LiveLogging:
    """The loggers of one run, opened at its first values. One that breaks is named by a warning and left out after."""

    def __init__(self, names: Sequence[str], run: Run, directory: Path, warn: Callable[[str], None]) -> None:
        """UserError as by `chosen`."""
        self.run, self.directory, self.warn = run, directory, warn
        self.active = list(chosen(names))
        self.opened: dict[str, LiveLogger] = {}

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name in list(self.active):
            with self._survived(name):
                if name not in self.opened:
                    self.opened[name] = BACKENDS[name].open(self.run, self.directory, step)
                self.opened[name].scalars(step, values)

    def close(self) -> None:
        for name, logger in list(self.opened.items()):
            with self._survived(name):
                logger.close()

    @contextlib.contextmanager
    def _survived(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.active.remove(name)
            broken = self.opened.pop(name, None)
            if broken is not None:
                with contextlib.suppress(Exception):
                    broken.close()
            self.warn(f"{self.run.name}: logging to {name} stopped, the run goes on: {described(error)}")
