"""The reference has every setting, command, key and file, and is what the package says now."""

from __future__ import annotations

from typing import get_type_hints

import click
import msgspec
import pytest

from tests.tables.reference import commands, files, settings
from tests.tables.reference.__main__ import FOLDER, PAGES
from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.settings import Settings
from tui_trainer.tui.keymap import KEYS


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_command_makes(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run: python -m tests.tables.reference"


@pytest.mark.parametrize("kind", [Job, Settings])
def test_every_setting_is_explained(kind: type) -> None:
    found = [setting for section in settings.sections(kind) for setting in section.settings]
    assert len(found) > 40
    assert [one.key for one in found if not one.description] == []
    assert all(f"| `{one.name}` |" in PAGES["settings.md"]() for one in found)


@pytest.mark.parametrize("kind", [Job, Settings])
def test_no_setting_is_missing(kind: type) -> None:
    """The fields are walked here without the code that makes the page."""
    listed = {one.key for section in settings.sections(kind) for one in section.settings}
    advised = {key.removeprefix("advisor.") for key in listed if key.startswith("advisor.")}
    assert advised == set(AdvisorSettings.__struct_fields__)
    for name, hint in get_type_hints(kind).items():
        inner = getattr(hint, "__struct_fields__", None)
        if name == "advisor":
            continue
        expected = {name} if inner is None else {f"{name}.{field}" for field in inner}
        assert expected <= listed


def test_every_command_and_option_is_there() -> None:
    page = PAGES["commands.md"]()
    found = dict(commands.commands())
    assert {"tui-trainer runs export", "tui-trainer notify test"} <= set(found)
    for name, command in found.items():
        assert f"\n## `{name}`\n" in page
        section = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help and option.opts[-1] in section, (name, option.name)


def test_every_key_is_there() -> None:
    assert [key.id for key in KEYS if f"| `{key.id}` |" not in PAGES["keys.md"]()] == []


@pytest.mark.parametrize("kind", [kind for kinds in files.TYPES.values() for kind in kinds])
def test_every_field_of_a_record_has_its_comment(kind: type[msgspec.Struct]) -> None:
    declared = list(files.fields(kind))
    assert [one.name for one in declared if not one.comment] == []
    inherited = {
        name
        for base in kind.__mro__[1:]
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct
        for name in base.__struct_encode_fields__
    }
    assert {one.name for one in declared} == set(kind.__struct_encode_fields__) - inherited


def test_every_file_of_a_run_is_explained() -> None:
    assert {"run.json", "adapter/", ".reserve"} <= set(files.run_files())
    assert [name for name, text in (files.run_files() | files.HOME).items() if not text] == []
