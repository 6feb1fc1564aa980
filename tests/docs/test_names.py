"""README.md and the guides name only commands, options, settings, files and links that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from tests.docs.pages import GUIDES, PARSED_MARKS, README, REPOSITORY, RUN_MARKS, WRITTEN, Page
from tests.tables.reference import settings
from tui_trainer.cli.main import root
from tui_trainer.contracts.settings import Settings
from tui_trainer.repl.command_table import COMMANDS
from tui_trainer.store import jobs
from tui_trainer.store.toml import reading
from tui_trainer.tui.keymap import KEYS, display

every_page = pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)


def test_the_readme_is_short_and_the_guides_are_there() -> None:
    assert len(README.text.splitlines()) <= 160
    names = {page.path.stem for page in GUIDES}
    assert names >= {
        "training", "teaching", "watching", "distributed", "advice", "configuration"
    }  # fmt: skip


@every_page
def test_every_block_of_commands_can_be_parsed(page: Page) -> None:
    for block in page.blocks("bash"):
        assert block.mark in RUN_MARKS | PARSED_MARKS
        found = subprocess.run(
            ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr


@every_page
def test_commands_and_options_exist(page: Page) -> None:
    for words in page.commands():
        command: click.Command = root
        known = {"--help"} | {name for param in command.params for name in param.opts}
        for word in words[1:]:
            if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
                inner = command.get_command(click.Context(command), word)
                assert inner is not None, f"{' '.join(words)}: no command {word}"
                command = inner
                known |= {name for param in command.params for name in param.opts}
            if re.fullmatch(r"--[a-z][a-z-]*", word):
                assert word in known, f"{' '.join(words)}: no option {word}"


@every_page
def test_settings_that_are_named_exist(page: Page) -> None:
    known = settings.keys()
    sections = {key.partition(".")[0] for key in known if "." in key}
    codes = page.inline() + [word for words in page.commands() for word in words]
    for code in codes:
        found = re.fullmatch(r"([a-z]+)\.([a-z_]+)( ?=.*)?", code)
        if found and found[1] in sections and found[2] not in ("json", "jsonl", "toml", "csv"):
            assert f"{found[1]}.{found[2]}" in known, code
        section = re.match(r"\[([a-z]+)\]", code)
        assert section is None or section[1] in known, code


@every_page
def test_slash_commands_and_keys_that_are_named_exist(page: Page) -> None:
    keys = {display(key) for one in KEYS for key in one.keys.split(",")}
    for code in page.inline():
        slash = re.match(r"/([a-z]+)\b(?!/)", code)
        assert slash is None or slash[1] in COMMANDS, code
        if re.fullmatch(r"ctrl\+\w", code):
            assert code in keys, code


@every_page
def test_files_and_modules_that_are_named_exist(page: Page) -> None:
    for code in [*page.inline(), *(block.text for block in page.blocks("bash"))]:
        for module in re.findall(r"\b-m ((?:tests|tui_trainer)[\w.]*)", code):
            place = REPOSITORY / module.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
        if re.fullmatch(r"(tests|docs|tui_trainer|themes|sample_runs)/[\w./]*", code):
            assert (REPOSITORY / code).exists() or code.startswith("docs/_build"), code


@every_page
def test_links_lead_somewhere(page: Page) -> None:
    for link in page.links():
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.is_file(), link
        if anchor:
            assert anchor in Page(target, target.read_text(encoding="utf-8")).anchors(), link


def test_every_job_and_configuration_is_one(tmp_path: Path) -> None:
    for name, text in (("train", "a"), ("val", "b"), ("test", "c")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{text}"}}\n')
    (tmp_path / "mail.csv").write_text("text,label\na,b\n")
    found = 0
    for page in WRITTEN:
        for block in page.blocks("toml"):
            found += 1
            values = tomllib.loads(block.text)
            if block.mark == "config.toml":
                reading.convert(values, Settings, page.name)
            else:
                assert jobs.check_job(values, tmp_path, page.name).data.train
    assert found > 5


@every_page
def test_python_can_be_parsed(page: Page) -> None:
    for block in page.blocks("python"):
        ast.parse(block.text)
