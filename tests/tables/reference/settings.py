"""`docs/reference/settings.md`: every setting of a job and of `config.toml`, from their types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from tests.tables.reference.markdown import cell, table
from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.job import DataSource, Job
from tui_trainer.contracts.settings import Settings

_PLAIN: dict[type, str] = {
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class Setting(NamedTuple):
    """One setting as a row of the reference."""

    key: str  # with its section, such as training.max_steps
    name: str  # in its section
    type: str
    default: str
    description: str


class Section(NamedTuple):
    """The settings of one struct."""

    name: str  # such as "training"; "" for the values without a section
    summary: str  # first line of the struct's docstring
    settings: list[Setting]


def type_text(kind: inspect.Type) -> str:
    """A type as a user writes its values."""
    if isinstance(kind, inspect.Metadata):
        return type_text(kind.type)
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(f"`{_toml(value)}`" for value in kind.values)
    if isinstance(kind, inspect.UnionType):
        parts = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return ", or ".join(type_text(one) for one in parts)
    if isinstance(kind, inspect.ListType):
        return f"list of: {type_text(kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return f"table of names with: {type_text(kind.value_type)}"
    if isinstance(kind, inspect.StructType):
        names = ", ".join(field.encode_name for field in kind.fields)
        return f"table with {names}"
    bounds = [
        f"{sign} {value}"
        for name, sign in _BOUNDS.items()
        if (value := getattr(kind, name, None)) is not None
    ]
    return ", ".join([_PLAIN[type(kind)], *bounds])


def _toml(value: object) -> str:
    """A value as it is written in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {_toml(one)}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    return "–" if value is None or value is msgspec.UNSET else f"`{_toml(value)}`"


def description_of(kind: inspect.Type) -> str:
    """The `description` of a field's type; empty if it has none."""
    found = getattr(kind, "extra_json_schema", None) or {}
    if found.get("description"):
        return str(found["description"])
    inner = getattr(kind, "type", None)
    return description_of(inner) if isinstance(inner, inspect.Type) else ""


def _section_type(kind: inspect.Type) -> inspect.StructType | None:
    """The struct of a field that is a section of the file, also where it may be left out."""
    if isinstance(kind, inspect.Metadata):
        return _section_type(kind.type)
    if isinstance(kind, inspect.StructType):
        return kind
    if isinstance(kind, inspect.UnionType):
        return next((one for one in map(_section_type, kind.types) if one is not None), None)
    return None


def sections(struct: Any) -> Iterator[Section]:
    """The values without a section first, then each section in the order of the fields."""
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    yield from _sections(kind, "")


def _sections(kind: inspect.StructType, name: str) -> Iterator[Section]:
    own = [field for field in kind.fields if _section_type(field.type) is None]
    yield Section(name, (kind.cls.__doc__ or "").splitlines()[0], [_setting(f, name) for f in own])
    for field in kind.fields:
        inner = _section_type(field.type)
        if inner is not None:
            yield from _sections(inner, f"{name}.{field.encode_name}".lstrip("."))


def _setting(field: inspect.Field, section: str) -> Setting:
    name = field.encode_name
    return Setting(
        f"{section}.{name}".lstrip("."),
        name,
        type_text(field.type),
        _default(field),
        description_of(field.type),
    )


def keys() -> set[str]:
    """The key of every setting of a job and of the configuration, and the names of sections."""
    found = {
        setting.key for one in (Job, Settings) for s in sections(one) for setting in s.settings
    }
    return found | {s.name for one in (Job, Settings) for s in sections(one) if s.name}


def _table(section: Section) -> str:
    rows = [[f"`{s.name}`", s.type, s.default, cell(s.description)] for s in section.settings]
    return table(["setting", "type", "default", "what it does"], rows)


def page() -> str:
    """The page as Markdown."""
    advisor = (AdvisorSettings.__doc__ or "").splitlines()[0]
    parts = [
        "# Settings",
        "A job is a TOML file that `tui-trainer train` starts, the configuration is `config.toml` "
        "([where it is](files.md#the-home-folder)). A value of a job is replaced on the command "
        "line by `--set SECTION.KEY=VALUE`. “–” is a setting that is left out by default.",
        "## A job",
    ]
    for section in sections(Job):
        if section.name == "advisor":
            parts += ["### `[advisor]` of a job", f"{advisor} It has the settings of "
                      "`[advisor]` of the configuration, and overrides them."]  # fmt: skip
            continue
        title = f"### `[{section.name}]`" if section.name else "### Without a section"
        parts += [title, section.summary, _table(section)]
        if section.name == "data":
            kind = inspect.type_info(DataSource)
            assert isinstance(kind, inspect.StructType)
            source = next(_sections(kind, ""))
            parts += ["#### A source in `data.train`", source.summary, _table(source)]
    parts += ["## The configuration"]
    for section in sections(Settings):
        title = f"### `[{section.name}]`" if section.name else "### Without a section, and `[keys]`"
        parts += [title, section.summary, _table(section)]
    return "\n\n".join(parts) + "\n"
