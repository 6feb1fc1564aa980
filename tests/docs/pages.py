"""README.md and the pages of the site: their blocks, inline code and headings.

The word behind the language of a block says what a test does with it:

- `bash`: the commands are run, in order, in a folder of the page's own;
- `bash screen`: run in a terminal, and left with `q`;
- `bash gpu`, `machines`, `hub`, `network`: needs what is named, and is only parsed;
- `bash measured`: a measurement, which takes long, and is only parsed;
- `bash set-up`: run by `.ci/run`;
- `toml NAME` and `python NAME`: the content of a file that later commands use.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
RUN_MARKS = {"", "screen"}
PARSED_MARKS = {"gpu", "machines", "hub", "network", "measured", "set-up"}
_BLOCK = re.compile(r"^```(\S*) *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SEPARATORS = {"|", "||", "&&", ";", "&", "!", "do", "until", "then"}


class Block(NamedTuple):
    """A fenced block."""

    language: str
    mark: str  # what stands behind the language
    text: str


class Page(NamedTuple):
    """A page of the documentation."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The path in the repository."""
        return str(self.path.relative_to(REPOSITORY))

    def blocks(self, language: str) -> list[Block]:
        """The blocks in this language, in order."""
        return [one for one in self.all_blocks() if one.language == language]

    def all_blocks(self) -> list[Block]:
        """Every block, in order."""
        return [Block(*found) for found in _BLOCK.findall(self.text)]

    def inline(self) -> list[str]:
        """The inline code, each on one line."""
        prose = _BLOCK.sub("", self.text)
        return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]

    def anchors(self) -> set[str]:
        """The names of the headings in links."""
        heads = re.findall(r"^#+ (.*)$", _BLOCK.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    def links(self) -> list[str]:
        """The targets of links and pictures."""
        return re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", self.text))

    def commands(self) -> Iterator[list[str]]:
        """The words of every `tui-trainer` command, in blocks and in the text."""
        lines = [line for block in self.blocks("bash") for line in _joined(block.text)]
        for line in [*lines, *self.inline()]:
            yield from _commands(line)


def read_page(path: Path) -> Page:
    """Read a page."""
    return Page(path, path.read_text(encoding="utf-8"))


README = read_page(REPOSITORY / "README.md")
GUIDES = [read_page(path) for path in sorted((REPOSITORY / "docs" / "guide").glob("*.md"))]
WRITTEN = [
    README,
    *GUIDES,
    *(
        read_page(REPOSITORY / "docs" / f"{name}.md")
        for name in ("index", "measurements", "design")
    ),
]


def _joined(text: str) -> list[str]:
    """The lines of commands, without the content of files in them (`<<'END'`)."""
    return re.sub(r"<<'END'\n.*?^END$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()


def _commands(line: str) -> Iterator[list[str]]:
    if "tui-trainer" not in line:
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    try:
        for word in [*lexer, ";"]:
            if word not in _SEPARATORS:
                words.append(word)
                continue
            if words and Path(words[0]).name == "tui-trainer":
                yield words
            words = []
    except ValueError:  # prose in code, with a quote
        return
