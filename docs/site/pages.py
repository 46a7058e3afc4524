"""What the site needs beside the pages: an mkdocs hook.

Pages refer to files of the checkout as GitHub shows them, ``../results/…``; these are copied into the site.
Code spans that are public names of the package become links to the reference.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
#: A link to a file that may lie outside the pages.
UPWARDS = re.compile(r"\]\((\.\./[^)\s#]+)\)")
#: Where these lie in the site.
COPIES = "checkout"
PUBLIC = re.findall(r"^from \S+ import (\w+) as", (ROOT / "icl_curriculum/__init__.pyi").read_text(), re.MULTILINE)
SPAN = re.compile(rf"(?<![`\[\w])`({'|'.join(sorted(PUBLIC, key=len, reverse=True))})`(?![`\]])")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
#: Words of the command line that are names of Python too.
WORDS = {"run", "score", "load"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in ("iframe-worker.js", "stylesheet.css"):
        files.append(File.generated(config, name, abs_src_path=str(DOCS / "site" / name)))
    for page in files.documentation_pages():
        for target in UPWARDS.findall(page.content_string):
            path = outside(target, page)
            if path and files.get_file_from_path(f"{COPIES}/{path}") is None:
                files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    return files


def outside(target: str, page: File) -> str | None:
    """The path in the checkout of a file that is linked to and lies outside the pages."""
    path = (DOCS / page.src_uri).parent.joinpath(target).resolve()
    return str(path.relative_to(ROOT)) if path.is_file() and not path.is_relative_to(DOCS) else None


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    up = "../" * page.file.src_uri.count("/")

    def copied(match: re.Match[str]) -> str:
        path = outside(match[1], page.file)
        return f"]({up}{COPIES}/{path})" if path else match[0]

    markdown = UPWARDS.sub(copied, markdown)
    # Headings have anchors of their own, made from their text.
    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else "\n".join(map(linked, part.split("\n"))) for part in parts)


def linked(line: str) -> str:
    return line if line.startswith("#") else SPAN.sub(_link, line)


def _link(match: re.Match[str]) -> str:
    name = match[1]
    return match[0] if name in WORDS else f"[`{name}`][icl_curriculum.{name}]"
