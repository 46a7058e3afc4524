"""Runs measurements in child processes: one in a fresh process, or several at once.

Not by concurrent.futures: before Python 3.14 its pool cannot end workers that are busy, so that a measurement of
minutes would go on after an interruption, and it does not say with which code a worker ended.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from icl_curriculum.core.safe_path import safe_path

#: What the child calls: with its request, and with a function that sends a message to the parent.
Work = Callable[[Any, Callable[[Any], None]], Any]


class ChildFailed(Exception):
    """A child process raised an error, or ended without an answer."""


def in_children(
    work: Work, requests: Sequence[Any], heard: Callable[[int, Any], None] = lambda number, message: None
) -> list[Any]:
    """Call ``work(request, say)`` for all requests at the same time, each in a fresh process; the answers in order.

    Whatever a child passes to ``say`` arrives here as ``heard(number, message)``. Requests, messages and answers are
    pickled.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[Connection, int] = {}
    processes = []
    answers: dict[int, Any] = {}
    try:
        for number, request in enumerate(requests):
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(work, request, theirs), daemon=True)
            with safe_path():
                process.start()
            theirs.close()
            processes.append(process)
            pipes[mine] = number
        while pipes:
            for ready in wait(list(pipes)):
                assert isinstance(ready, Connection)
                number = pipes[ready]
                try:
                    kind, message = ready.recv()
                except EOFError:
                    processes[number].join()
                    code = processes[number].exitcode
                    raise ChildFailed(f"a measuring process ended with code {code} and no answer") from None
                if kind == "said":
                    heard(number, message)
                elif kind == "failed":
                    raise ChildFailed(message)
                else:
                    answers[number] = message
                    del pipes[ready]
                    ready.close()
        return [answers[number] for number in range(len(requests))]
    finally:
        for process in processes:
            # A process that has answered has nothing left to do.
            process.terminate()
            process.join()


def _child(work: Work, request: Any, pipe: Connection) -> None:
    # An interruption also reaches the parent, which ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer = work(request, lambda message: pipe.send(("said", message)))
    except BrokenPipeError:  # The parent is gone.
        return
    except Exception as error:
        pipe.send(("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
        return
    pipe.send(("answered", answer))
