"""The short form of ``python tests/support/mutated_commands.py``, and that it would find a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from mistaken import Answer
from mutated_commands import Case, case, faults, wrong


def test_no_mutated_file_or_command_ends_in_anything_but_a_message(tmp_path: Path) -> None:
    assert wrong(7, range(40), tmp_path) == []


def test_cases_repeat() -> None:
    assert case(0, 3) == case(0, 3) != case(0, 4)
    words = [case(0, number).words[0] for number in range(200)]
    assert {"show", "run", "score", "evaluate", "clean", "import"} <= set(words)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(2, "", "error: mutated.toml: dims: expected a number\n"), None),
        (Answer(3, "", ""), "exit code 3"),
        (Answer(1, "", "Traceback (most recent call last)"), "a traceback"),
        (Answer(1, "", "error: an error of icl itself: KeyError"), "an error of icl itself"),
        (Answer(2, "", "error: mutated.toml: \x1b[31m\n"), "characters that a terminal obeys"),
        (Answer(2, "", "mutated.toml is wrong\n"), "0 messages"),
        (Answer(2, "", "error: it is wrong\n"), "a message that does not name the file"),
        (Answer(0, "", "error: oh\n"), "an error, and exit code 0"),
    ],
)
def test_a_fault_is_found(answer: Answer, fault: str | None) -> None:
    found = list(faults(Case(["show", "mutated.toml"], b""), answer))
    assert fault in found if fault else found == []
