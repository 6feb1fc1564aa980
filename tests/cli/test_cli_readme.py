"""The set-up of README.md: two commands, whose extras exist. `tests/docs` has the rest."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
GUIDES = sorted((REPOSITORY / "docs" / "guide").glob("*.md"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = ["README.md", *(f"docs/guide/{path.name}" for path in GUIDES)]


def test_set_up_is_two_commands_with_extras_that_exist() -> None:
    block = re.search(r"^```bash set-up\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    first, second = block[1].splitlines()
    extras = re.findall(r"\.\[([\w,]+)\]", first)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert shlex.split(second)[0] == ".venv/bin/pytest"


def test_the_set_up_shows_its_download_which_is_named_above_it() -> None:
    above, _, block = README.partition("```bash set-up\n")
    assert "git clone <repository>" in above
    assert re.search(r"downloads about [\d.]+ GB", " ".join(above.split()))
    assert " -q" not in block.partition("```")[0]


@pytest.mark.parametrize("file", ["README.md", ".ci/run"])
def test_an_extra_that_is_named_exists(file: str) -> None:
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    named = {one for many in re.findall(r"\.\[([\w,]+)\]", text) for one in many.split(",")}
    assert named and named <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("file", PAGES)
def test_an_extra_in_the_text_exists(file: str) -> None:
    text = " ".join((REPOSITORY / file).read_text(encoding="utf-8").split())
    assert set(re.findall(r"extra `([\w-]+)`", text)) <= set(PROJECT["optional-dependencies"])


def test_the_tools_that_run_the_tests_come_with_dev() -> None:
    assert "tui-trainer[test]" in PROJECT["optional-dependencies"]["dev"]
    tools = {re.split(r"[<>=]", one)[0] for one in PROJECT["optional-dependencies"]["test"]}
    assert {"pytest", "pytest-xdist", "pytest-asyncio", "pytest-timeout", "hypothesis"} <= tools
