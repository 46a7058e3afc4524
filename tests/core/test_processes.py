"""The place that torchrun gives a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from icl_curriculum.core.processes import Place, place_by_torchrun

GIVEN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, Place(rank=3, processes=4, local_rank=1)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"MASTER_PORT": None}, None),
        ({"RANK": None}, None),
        ({"RANK": "first"}, None),
        ({"RANK": "4"}, None),
    ],
    ids=str,
)
def test_the_place_of_a_process(
    changes: dict[str, str | None], found: Place | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without all that torchrun sets, a process is by itself, whatever else is called RANK."""
    for name, value in {**GIVEN, **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert place_by_torchrun() == found
    assert found is None or found.follows


def test_a_process_that_is_hushed_has_a_way_to_say_its_last_words() -> None:
    script = (
        "import os; from icl_curriculum.core.processes import hush; said = hush();"
        "print('printed', flush=True); os.write(2, b'complained'); os.write(said, b'last words')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "last words")
