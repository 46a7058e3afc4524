"""Work that is shared out to threads by hand, and what torch takes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from icl_curriculum.core.threads import in_threads, sharing, sharing_threads, threads_to_share


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_operations_take_one_thread_while_all_are_shared() -> None:
    assert (sharing(), threads_to_share()) == (False, 3)
    with sharing_threads():
        with sharing_threads():
            assert (torch.get_num_threads(), sharing(), threads_to_share()) == (1, True, 3)
        assert (torch.get_num_threads(), sharing(), threads_to_share()) == (1, True, 3)
    assert (sharing(), threads_to_share()) == (False, 3)


def test_each_share_has_a_thread_and_the_order_stays() -> None:
    together = threading.Barrier(3)

    def work(share: str) -> tuple[str, int, int]:
        together.wait(timeout=60)
        return share, torch.get_num_threads(), threading.get_ident()

    done = in_threads(work, ["a", "b", "c"])
    assert [share for share, _, _ in done] == ["a", "b", "c"]
    assert [threads for _, threads, _ in done] == [1, 1, 1]
    assert len({thread for _, _, thread in done}) == 3
    assert done[0][2] == threading.get_ident()


def test_one_share_is_done_here_with_what_threads_there_are() -> None:
    assert in_threads(lambda share: (share, torch.get_num_threads()), [7]) == [(7, 3)]


@pytest.mark.parametrize("broken", [0, 2])
def test_what_goes_wrong_is_raised_when_all_threads_have_ended(broken: int) -> None:
    ended = []

    def work(share: int) -> None:
        if share == broken:
            raise ValueError("broken")
        threading.Event().wait(0.05)
        ended.append(share)

    with pytest.raises(ValueError, match="broken"):
        in_threads(work, [0, 1, 2])
    assert len(ended) == 2
