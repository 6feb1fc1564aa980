"""What README.md promises: its set-up commands, its commands and its jobs are there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from tui_trainer.cli.main import root
from tui_trainer.store import jobs

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCKS = re.findall(r"^```(\S*)[^\n]*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_set_up_is_two_commands_with_extras_that_exist() -> None:
    block = re.search(r"^```bash set-up\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    first, second = block[1].splitlines()
    extras = re.findall(r"\.\[([\w,]+)\]", first)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert shlex.split(second)[0] == ".venv/bin/pytest"


def test_every_command_of_the_table_is_there() -> None:
    context = click.Context(root)
    named = set(re.findall(r"^\| `tui-trainer ([a-z-]+)", README, re.MULTILINE))
    assert len(named) > 8
    assert {name for name in named if root.get_command(context, name) is None} == set()


def test_every_job_is_one(tmp_path: Path) -> None:
    for name, text in (("train", "a"), ("val", "b"), ("test", "c")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{text}"}}\n')
    found = [tomllib.loads(text) for kind, text in BLOCKS if kind == "toml" and "[data]" in text]
    assert found
    for values in found:
        assert jobs.check_job(values, tmp_path, "README.md").data.train


@pytest.mark.parametrize("file", ["README.md", ".ci/run"])
def test_an_extra_that_is_named_exists(file: str) -> None:
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    named = {one for many in re.findall(r"\.\[([\w,]+)\]", text) for one in many.split(",")}
    assert named and named <= set(PROJECT["optional-dependencies"])


def test_the_tools_that_run_the_tests_come_with_dev() -> None:
    assert "tui-trainer[test]" in PROJECT["optional-dependencies"]["dev"]
    tools = {re.split(r"[<>=]", one)[0] for one in PROJECT["optional-dependencies"]["test"]}
    assert {"pytest", "pytest-xdist", "pytest-asyncio", "pytest-timeout", "hypothesis"} <= tools
