"""What is printed of texts from outside, and on terminals that know few characters."""

import io
import sys

import pytest
from places import ROOT

from icl_curriculum.core.printable import harmless, in_a_cell, make_tolerant, readable


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert harmless("a\x1b[31m\x9b1m\x07\r\x7f\u202e\u2066\u2028b") == (
        "a\\u001b[31m\\u009b1m\\u0007\\u000d\\u007f\\u202e\\u2066\\u2028b"
    )
    plain = "two lines\n\twith [red]markup[/], :smile:, é, 線, 😀 and ‑ hyphens"
    assert harmless(plain) == plain


def test_bytes_that_are_no_text_are_shown_as_bytes() -> None:
    assert harmless(b"r\xe9sultats".decode("utf-8", "surrogateescape")) == "r\\xe9sultats"


def test_the_name_of_a_folder_is_one_harmless_cell() -> None:
    assert in_a_cell("r\udce9s\n=1\x1b") == "r\\xe9s\\n=1\\u001b"
    assert [in_a_cell(name) for name in ("=1", "+1", "-rf", "@x", "a-b")] == ["./=1", "./+1", "./-rf", "./@x", "a-b"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stream_takes_every_character(encoding: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors="strict")
    make_tolerant(stream)
    print("1–2 × d ≤ 4 … é 線 😀 \udce9", file=stream, flush=True)
    text = written.getvalue().decode(encoding)
    if encoding == "ascii":
        assert text == "1-2 x d <= 4 ... e \\u7dda \\U0001f600 \\xe9\n"
    assert "?" not in text
    assert len(text) > 20


def test_streams_that_are_no_files_are_left_alone() -> None:
    make_tolerant(io.StringIO())
    make_tolerant(None)


def test_all_that_the_package_itself_prints_is_readable_in_ascii() -> None:
    files = [path for path in (ROOT / "icl_curriculum").rglob("*.py") if path.name != "printable.py"]
    used = {letter for path in files for letter in path.read_text(encoding="utf-8")}
    assert len(used) > 100
    for letter in used:
        assert "\\" not in readable(letter) or letter == "\\", letter
    assert sys.getdefaultencoding() == "utf-8"
