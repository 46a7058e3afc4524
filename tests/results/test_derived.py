"""Tables that are computed of others: one that was edited is named, and one that is half written is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_scorecard import write_card

from icl_curriculum.core.errors import UserError
from icl_curriculum.results import derived
from icl_curriculum.results.derived import check_derived, write_derived
from icl_curriculum.results.tables import read_table


def test_an_edited_scorecard_is_shown_by_nobody(tmp_path: Path) -> None:
    path = write_card(tmp_path) / "scorecard.csv"
    written = path.read_text()
    write_derived(path, written)
    assert len(read_table(tmp_path, "scorecard")) > 0
    path.write_text(written.replace("0.62", "0.92", 1))
    with pytest.raises(UserError) as raised:
        read_table(tmp_path, "scorecard")
    assert str(raised.value) == (
        f"{path} is damaged: it is not what icl wrote; remove it: the command that has written it writes it anew"
    )
    # So does that command where it is left there.
    write_derived(path, written)
    assert len(read_table(tmp_path, "scorecard")) > 0


def test_one_of_an_earlier_version_is_believed(tmp_path: Path) -> None:
    assert len(read_table(write_card(tmp_path), "scorecard")) > 0


@pytest.mark.parametrize("at", [1, 2, 3])
def test_wherever_writing_ends_what_is_there_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    path = tmp_path / "transfer.csv"
    write_derived(path, "before\n")
    calls: list[Path] = []
    write = derived.write_atomically

    def killed(file: Path, text: str) -> None:
        calls.append(file)
        if len(calls) == at:
            raise KeyboardInterrupt
        write(file, text)

    monkeypatch.setattr(derived, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        write_derived(path, "after\n")
    assert path.read_text() == ("after\n" if at == 3 else "before\n")
    check_derived(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tables": {"transfer.csv": []}}'])
def test_a_record_that_is_damaged_says_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "transfer.csv"
    write_derived(path, "a\n")
    (tmp_path / "derived.json").write_text(content)
    check_derived(path)
