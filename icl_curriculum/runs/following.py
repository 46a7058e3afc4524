"""The part of those processes that train a run together with a first one: they compute, and write and print nothing.

What they are told holds all of a run: its config, its plugins and other files by content, and the trainer's state. So
they read nothing of their own, and may be on other machines.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import rebuild
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import computing_threads, device_kind, reproducible, resolve_device
from icl_curriculum.core.options import named_as_on_the_command_line, on_command_line
from icl_curriculum.core.plugin_files import COPIES, read_copies
from icl_curriculum.core.processes import Place, hush
from icl_curriculum.core.provenance import source_hash, versions
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.temporary import temporary_folder
from icl_curriculum.runs.collectives import Collectives, ProcessLost
from icl_curriculum.runs.description import copies
from icl_curriculum.training import Trainer

#: How the folders begin, among the system's temporary ones, in which a process has the files of the run that it trains.
_FOLDERS = "icl-following-"


def order_of(run: Run, trainer: Trainer) -> tuple[bytes, bytes]:
    """What tells another process to train a run on from a trainer's state: all of the run, and the state."""
    about = {
        "config": run.config(), "hash": run.hash(), "device": device_kind(trainer.device), "code": _code(),
        "files": {name: base64.b64encode(content).decode() for name, content in copies(run).items()},
        "on_command_line": on_command_line(), "width": width_of(trainer),
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(trainer.state_dict(), buffer)
    return json.dumps(about).encode(), buffer.getvalue()


def width_of(trainer: Trainer) -> int:
    """The most numbers that the processes exchange on their way: those that `Shards.gradients` compares."""
    return 2 + len(list(trainer.model.parameters()))


#: What tells the other processes that nothing is left to be done.
END = b"{}"


def follow(crew: Collectives) -> None:
    """Train what the first process says, run after run, until it says that nothing is left."""
    while order := json.loads(crew.broadcast()):
        state = crew.broadcast()
        # The first process has been told what was raised here, and ends the run.
        with (
            contextlib.suppress(Exception),
            named_as_on_the_command_line(order["on_command_line"]),
            crew.together(order["width"]),
        ):
            _train(crew, order, state)


@own_settings(training=True)
def _train(crew: Collectives, order: Mapping[str, Any], state: bytes) -> None:
    own = _code()
    for name, found in order["code"].items():
        if own[name] != found:
            raise UserError(
                f"{name} is {found} in the first process, and {own[name]} in process {crew.rank}",
                way_out="install the same for all",
            )
    device = own_device(order["device"], crew.local_rank)
    crew.use(device)
    with temporary_folder(_FOLDERS) as folder:
        for name, content in order["files"].items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(base64.b64decode(content))
        plugins = order["config"]["plugins"]
        copied = read_copies(folder / COPIES, plugins, known_as=plugins)
        run = rebuild(order["config"], copied, source="what the first process says", folder=folder)
        if run.hash() != order["hash"]:
            raise UserError(f"an installed package that the run uses is another one in process {crew.rank}")
        with computing_threads(run.experiment.threads), reproducible(device):
            trainer = Trainer(run, device, crew)
            with at_work(run.experiment.model, "prepare"):
                trainer.model.prepare()
            trainer.load_state_dict(torch.load(io.BytesIO(state), map_location=_placed(device), weights_only=True))
            while trainer.step < trainer.config.steps:
                trainer.update()


def _code() -> dict[str, str | None]:
    """The versions of everything that computes, and what the package's source is."""
    return {**versions(), "source": source_hash()}


def own_device(device: str, local_rank: int) -> str:
    """The device of a process: on CUDA the one of its number. UserError where it is not there."""
    return resolve_device(f"cuda:{local_rank}") if device_kind(device) == "cuda" else device


def _placed(device: str) -> Any:
    """Where a tensor of the first process is to lie: on the CPU if it did there, else on this process's device."""

    def placed(storage: Any, location: str) -> Any:
        place = location if location == "cpu" else device
        return torch.serialization.default_restore_location(storage, place)  # type: ignore[no-untyped-call]

    return placed


def follow_silently(place: Place, store: Any = None, said: int | None = None) -> int:
    """Join the others and `follow`; the exit code. A signal ends this process at once, which writes nothing.

    ``said``: where to say what nobody else can say, such as an error in the suite itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    crew = Collectives(place)
    try:
        crew.join(store)
        follow(crew)
        crew.leave()
    except ProcessLost:
        pass
    except Exception:
        if said is not None:
            os.write(said, traceback.format_exc().encode(errors="replace"))
    else:
        return 0
    # What is left of an exchange, perhaps with a process that is frozen, would be waited for.
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Follow the process that has started this one; ``arguments``: the rank, how many there are, and a port."""
    rank, processes, port = (int(text) for text in arguments)
    said = hush()
    store = dist.TCPStore("127.0.0.1", port, is_master=False)  # type: ignore[attr-defined]
    store.set(f"ready/{rank}", "")
    return follow_silently(Place(rank, processes, rank), store, said)
