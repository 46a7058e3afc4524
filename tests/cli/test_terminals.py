"""Terminals of every encoding, texts that would command them, and paths that are no text."""

from __future__ import annotations

import io
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from tiny_runs import TINY, Icl, write_toml

from icl_curriculum.cli import main
from icl_curriculum.cli.narrow import print_table
from icl_curriculum.cli.progress import _columns
from icl_curriculum.cli.screen import Screen
from icl_curriculum.pages import page

EVIL = "red \x1b[31m, link \x1b]8;;http://x\x1b\\, C1 \x9b31m, bell \x07, back \x08, turned \u202eround\u2066"


def obeyed(text: str) -> list[str]:
    """The characters of a text that a terminal would obey."""
    return [each for each in text if each in "\x07\x08\x1b\x9b\u202e\u2066"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("words", [["show", "my.toml"], ["list", "experiments"], ["show", "nowhere–é"], ["list", "–"]])
def test_every_encoding_shows_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_toml(Path("my.toml"), TINY | {"description": "1–2 ≤ ∞ × café 線"})
    write_toml(Path("experiments/mine.toml"), {"description": "1–2 ≤ ∞ × café 線"})
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, buffer in written.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding=encoding, errors="strict"))
    monkeypatch.setattr(sys, "argv", ["icl", *words])
    with pytest.raises(SystemExit) as end:
        main()
    texts = {name: buffer.getvalue().decode(encoding) for name, buffer in written.items()}
    if words[-1] in ("my.toml", "experiments"):
        assert end.value.code == 0
        shown = {
            "ascii": "1-2 <= inf x cafe \\u7dda",
            "latin-1": "1-2 <= inf × café \\u7dda",
            "utf-8": "1–2 ≤ ∞ × café 線",
        }
        assert shown[encoding] in texts["stdout"].replace("\\\\", "\\")
    else:
        assert end.value.code == 2
        assert texts["stderr"].startswith("error: ")


def test_nothing_from_outside_commands_the_terminal(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None
) -> None:
    monkeypatch.chdir(tmp_path)
    write_toml(Path("experiments/evil.toml"), {"description": EVIL})
    Path("evil.py").write_text(
        f"from icl_curriculum import register_baseline\nfrom icl_curriculum.baselines.classical import Zero\n"
        f"class Evil(Zero):\n    {EVIL!r}\nregister_baseline('evil')(Evil)\n",
        encoding="utf-8",
    )
    Path("raises.py").write_text(f"raise ValueError({EVIL!r})\n", encoding="utf-8")
    for words in (
        ["list", "experiments"], ["list", "baselines", "--plugin", "evil.py"], ["show", "evil"], ["show", EVIL],
        ["list", "--plugin", "raises.py"], ["list", "--plugin", "raises.py", "--debug"], [f"--{EVIL}"], [EVIL],
        ["run", "smoke", EVIL], ["plot", EVIL], ["show", "evil", "--set", f"{EVIL}=3"], ["list", "--plugin", EVIL],
    ):  # fmt: skip
        _, out, err = icl(*words)
        assert obeyed(out + err) == [], words
        assert "red" in out + err
    shown = icl("show", "evil")[1]
    assert tomllib.loads(shown)["description"] == EVIL


def test_bars_and_tables_show_names_as_they_are() -> None:
    written = io.StringIO()
    screen = Screen(file=written, force_terminal=True, color_system="truecolor", width=200)
    name = f"[red]{EVIL}[/] :smile: [link=x]"
    with Progress(TextColumn("", markup=False), *_columns(), console=screen, auto_refresh=False) as bars:
        bars.add_task("", detail=name)
    screen.print(name)
    table = Table("name")
    table.add_row(name)
    print_table(screen, table)
    text = written.getvalue()
    assert text.count("[red]red \\u001b[31m") >= 3
    assert text.count("[/] :smile: [link=x]") >= 3
    assert "\x1b[31m" not in text
    assert "\u202e" not in text


def test_a_page_shows_texts_as_they_are() -> None:
    assert obeyed(str(page._harmless(EVIL))) == obeyed(str(page._ticked(f"`{EVIL}`"))) == []
    assert page._harmless(3) == 3
    assert page._harmless(page.Markup("<b>")) == "<b>"


@pytest.mark.parametrize(
    "words",
    [
        ["show", "smoke", "--set", "description=\udce9"],
        ["show", "smoke", "--set", "name=\udce9"],
        ["score", "ridge", "--function-class", '{name="linear",id="\udce9"}'],
    ],
)
def test_bytes_that_no_file_of_ours_can_hold_are_refused(icl: Icl, words: list[str]) -> None:
    code, _, err = icl(*words)
    assert code == 2
    assert "expected text in UTF-8" in err


def test_a_name_that_files_here_cannot_have_is_one_message(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def encode(path: object) -> bytes:
        return str(path).encode("ascii")

    monkeypatch.setattr("icl_curriculum.cli.costs.show", lambda runs, device: encode(f"results/{runs[0].variant}"))
    write_toml(Path("my.toml"), TINY | {"variants": {"é": {}}})
    code, _, err = icl("show", "my.toml", "--cost")
    assert code == 2
    assert "cannot name a file here, where they are in ascii; with PYTHONUTF8=1" in err


def test_a_run_in_a_folder_whose_name_is_no_text(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_python: Path, undrawn: None, fresh_registries: None
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9s\n[red] :smile:"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "executable", str(quick_python))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    monkeypatch.setattr("icl_curriculum.cli.display.show_report", lambda report: None)
    write_toml(Path("my.toml"), TINY | {"evaluation": {"shifts": [], "n_prompts": 4}, "plugins": ["says.py"]})
    Path("says.py").write_text("print('plugin says é – ≤')\n", encoding="utf-8")
    code, _, err = icl("run", "my.toml", "--results", folder / "results", "--jobs", "1")
    assert code == 0, err
    assert "r\\xe9s\n[red] :smile:/results/tiny/*.csv" in err
    manifest = json.loads((folder / "results/tiny/mixed-seed0/manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished"
    code, _, err = icl("run", "my.toml", "--results", folder / "results", "--jobs", "1")
    assert code == 0
    assert "already finished, kept: mixed-seed0" in err
