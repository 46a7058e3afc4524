"""A run that freezes in the middle of its training, as its machine may: ``python -m frozen_run RESULTS``.

It prints the id of its process, stops itself by SIGSTOP, and once it is woken says how it ended.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

from tiny_runs import tiny_run

from icl_curriculum.core import heartbeat
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.runs.execution import Progress, execute

RUN = tiny_run(
    {
        "training.steps": 8, "training.checkpoint_every": 2, "training.log_every": 1, "training.learning_every": 4,
        "evaluation.shifts": [], "evaluation.baselines": ["zero"], "evaluation.n_prompts": 4,
    }
)  # fmt: skip


def freeze(progress: Progress) -> None:
    """Stop this process where it has written a checkpoint, and has rows that are not on disk."""
    if progress.phase == "training" and progress.done == 5:
        os.kill(os.getpid(), signal.SIGSTOP)


def main(results: Path) -> None:
    # Its file system has locks, which are kept to each machine.
    fcntl.flock = lambda handle, how: None  # type: ignore[assignment,misc]
    heartbeat.BEAT = 0.02
    print(os.getpid(), flush=True)
    try:
        execute(RUN, results, report=freeze)
    except RunFailed as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
