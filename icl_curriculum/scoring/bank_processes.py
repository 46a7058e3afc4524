"""Banks that several processes of this machine answer, each the next one whenever it is free.

Every process opens what is asked by itself, since models, plugins and banks are found by their files; only numbers of
banks go to it, and rows come back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.machine import is_out_of_memory
from icl_curriculum.core.options import named_as_on_the_command_line, on_command_line, option
from icl_curriculum.core.registry import BUILT_IN, origin_of
from icl_curriculum.core.safe_path import safe_path

#: What answers the bank of a number, and what makes that in a process: of a question, which is pickled.
Answer = Callable[[int], Any]
OpenQuestion = Callable[[Any], Answer]


class BankFailed(Exception):
    """A bank could not be answered. ``number``: which; ``reason``: why, in words for the user."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number, self.reason = number, reason


@dataclass(frozen=True)
class _Failure:
    """An error of the user's or of a component, which might not survive being pickled."""

    reason: str
    of_the_question: bool = False


def answered_by_processes(
    open_question: OpenQuestion, question: Any, banks: int, jobs: int
) -> Iterator[tuple[int, Any]]:
    """What ``open_question(question)`` answers to each of so many banks, with the bank's number, as it comes in.

    BankFailed for the first bank that cannot be answered, UserError where the question cannot be opened, RunFailed
    where the system has ended a process.
    """
    with (
        safe_path(),
        ProcessPoolExecutor(
            min(jobs, banks), get_context("spawn"), _open, (open_question, question, on_command_line())
        ) as pool,
    ):
        pending = {pool.submit(_answer, number): number for number in range(banks)}
        try:
            for future in as_completed(pending):
                answered = future.result()
                if isinstance(answered, _Failure):
                    if answered.of_the_question:
                        raise UserError(answered.reason)
                    raise BankFailed(pending[future], answered.reason)
                yield pending[future], answered
        except BrokenProcessPool:
            raise RunFailed(
                "one of the processes that answer banks was ended, as the system does when memory runs out; lower "
                f"{option('--jobs')} or {option('--n-prompts')}"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def expect_sent(components: Sequence[Any]) -> None:
    """UserError for a component that is given itself and that other processes could not find."""
    for item in components:
        if not isinstance(item, str) and origin_of(item) != BUILT_IN:
            raise UserError(
                f"{item.name!r} is defined in {type(item).__module__}, which worker processes do not see",
                way_out=f"name it, and the file that defines it in {option('--plugin')}; or ask without "
                f"{option('--jobs')}",
            )


#: In a process that answers banks: what does, or why nothing can.
_opened: Answer | _Failure | None = None


def _open(open_question: OpenQuestion, question: Any, command_line: bool) -> None:
    global _opened
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with named_as_on_the_command_line(command_line):
        try:
            opened = open_question(question)
        except (UserError, RunFailed) as error:
            _opened = _Failure(str(error), of_the_question=True)
            return

    def answer(number: int) -> Any:
        with named_as_on_the_command_line(command_line):
            try:
                return opened(number)
            except (ComponentFailed, MemoryError, RuntimeError) as error:
                return _Failure(reason_of(error))

    _opened = answer


def _end_with_parent() -> None:
    """End at once when whoever has started this process does: it would wait for its next bank for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(number: int) -> Any:
    if isinstance(_opened, _Failure):
        return _opened
    assert _opened is not None
    return _opened(number)


def reason_of(error: Exception) -> str:
    """What the user is told of an error that a bank was answered with; another one than those passes."""
    if isinstance(error, ComponentFailed):
        return str(error)
    if isinstance(error, RuntimeError) and not is_out_of_memory(error):
        raise error
    return f"memory ran out; lower {option('--n-prompts')}"
