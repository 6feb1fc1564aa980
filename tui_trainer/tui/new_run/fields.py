"""The fields of the new-run form, generated from the contracts, with parsing and checking. The
only I/O is that of `check_job`, which looks at the data files."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import job_checks, jobs, paths
from tui_trainer.tui.new_run import layout

Kind = Literal["text", "int", "float", "choice", "switch", "pairs", "names", "texts"]
_WHERE = "form"
_PAIR = r"\s*([^=\s][^=]*?)\s*=\s*([^=,\s]+)\s*(?:,|$)"
_WEIGHTED = re.compile(r"(.*\S)\s+weight=([-+.\deE]+)")
_SWITCH = ("off", "on")
_FILES = (
    "data.train", "data.validation", "data.test", "data.replay", "data.retain", "data.null_space"
)  # fmt: skip


@dataclass(frozen=True)
class FormField:
    """One field: `needs` is the error text for a bad value, `default` the value of an empty field,
    `type` the contract's type."""

    key: str
    type: Any
    label: str
    description: str
    kind: Kind
    needs: str
    choices: tuple[str, ...] = ()
    default: str = ""


@dataclass(frozen=True)
class CheckedForm:
    """A job, or the errors by field; an error of no field has an empty key. `warnings` by field are
    about values that can be started but are probably a mistake."""

    job: Job | None
    errors: dict[str, str]
    warnings: dict[str, str] = dataclasses.field(default_factory=dict)


@functools.cache
def fields() -> tuple[FormField, ...]:
    """Every field of the form, in order."""
    known = _every_field()
    return tuple(known[key] for _title, keys in layout.SECTIONS for key in keys)


def texts_of(job: Job) -> dict[str, str]:
    """The texts of the form for a job."""
    values = msgspec.to_builtins(job)
    return {field.key: _text(_get(values, field.key), field.kind) for field in fields()}


def effective(texts: Mapping[str, str]) -> frozenset[str]:
    """The keys of the fields that have an effect with these values."""
    values = {field.key: texts.get(field.key, "").strip() or field.default for field in fields()}
    return frozenset(key for key in values if layout.has_effect(key, values))


def changed(field: FormField, text: str) -> bool:
    """Whether a text differs in value from the field's default."""
    text = text.strip()
    if text in ("", field.default):
        return False
    try:
        return not field.default or bool(_parse(field, text) != _parse(field, field.default))
    except ValueError:
        return True


def check(texts: Mapping[str, str], folder: Path, base: Job | None = None) -> CheckedForm:
    """Parse and check the form; relative paths start at `folder`.

    Settings without a field are taken from `base`, the job that the form was filled from. Fields
    without an effect are left out of the job.
    """
    values = _rest(base)
    errors: dict[str, str] = {}
    used = effective(texts)
    for field in fields():
        text = texts.get(field.key, "").strip()
        if field.key not in used:
            continue
        if not text:
            if field.key in ("name", "data.train"):
                errors[field.key] = field.needs
            continue
        try:
            value = _parse(field, text)
            msgspec.convert(value, field.type)
            _set(values, field.key, value)
        except ValueError:  # msgspec's own error is one
            errors[field.key] = field.needs
    if errors:
        return CheckedForm(None, errors)
    try:
        paths.safe_name(str(values["name"]), "name")
    except UserError as error:
        return CheckedForm(None, {"name": str(error)})
    try:
        job = jobs.check_job(values, folder, _WHERE)
    except UserError as error:
        return CheckedForm(None, _by_field(str(error)))
    found = job_checks.check(job, count=False)
    errors = {one.key: _without_key(one.key, one.message) for one in found if one.level == "error"}
    warnings = {
        one.key: _without_key(one.key, one.message) for one in found if one.level == "warning"
    }
    return CheckedForm(None if errors else job, errors, warnings)


def _without_key(key: str, message: str) -> str:
    """A message without the field's key at its start: the label is beside it already."""
    return re.sub(rf'^{re.escape(key)} (= )?(?=[\w"])', "", message)


def _rest(base: Job | None) -> dict[str, Any]:
    """The settings of a job for which the form has no field."""
    values: dict[str, Any] = {}
    given = {} if base is None else msgspec.to_builtins(base)
    for key in _every_field().keys() - {field.key for field in fields()}:
        value = _get(given, key)
        if value is not None:
            _set(values, key, value)
    return values


def _by_field(message: str) -> dict[str, str]:
    """An error of `check_job` by the field that it names."""
    text = message.removeprefix(f"{_WHERE}: ")
    for key in sorted((field.key for field in fields()), key=len, reverse=True):
        if text.startswith(f"{key}: "):
            return {key: text.removeprefix(f"{key}: ")}
        if text.startswith(f"{key} "):
            return {key: text}
    return {"model": text} if text.startswith("model") else {"": text}


@functools.cache
def _every_field() -> dict[str, FormField]:
    """Every setting of a job by its key, in the form or not."""
    return _fields_of(Job, "")


def _fields_of(kind: Any, prefix: str) -> dict[str, FormField]:
    found: dict[str, FormField] = {}
    for field in msgspec.structs.fields(kind):
        key = f"{prefix}{field.encode_name}"
        bare, description = _bare(inspect.type_info(field.type))
        if isinstance(bare, inspect.StructType):
            found.update(_fields_of(bare.cls, f"{key}."))
        else:
            found[key] = _field(key, field.type, bare, description, field.default)
    return found


def _field(key: str, kind: Any, bare: inspect.Type, description: str, default: Any) -> FormField:
    shape, needs, choices = _kind(bare, kind)
    return FormField(
        key=key,
        type=kind,
        label=layout.LABELS.get(key, key.rpartition(".")[2].replace("_", " ")),
        description=description,
        kind=shape,
        needs=needs,
        choices=choices,
        default="" if default is msgspec.NODEFAULT else _text(default, shape),
    )


def _kind(bare: inspect.Type, annotation: Any) -> tuple[Kind, str, tuple[str, ...]]:
    if isinstance(bare, inspect.LiteralType):
        choices = _choices(annotation)
        return "choice", f"needs one of {', '.join(choices)}", choices
    if isinstance(bare, inspect.BoolType):
        return "switch", f"needs {' or '.join(_SWITCH)}", _SWITCH
    if isinstance(bare, inspect.IntType):
        least = "" if bare.ge is None else f" of at least {bare.ge}"
        most = "" if bare.le is None else f" and at most {bare.le}"
        return "int", f"needs a whole number{least}{most}", ()
    if isinstance(bare, inspect.FloatType):
        return "float", f"needs a number{_bounds(bare)}", ()
    if isinstance(bare, inspect.ListType):
        return "texts", 'needs a text, or a list such as ["What is rain?", "Who are you?"]', ()
    if isinstance(bare, inspect.DictType) and isinstance(
        _bare(bare.value_type)[0], inspect.StrType
    ):
        return "names", "needs name=field pairs, such as text=sentence, label=intent", ()
    if isinstance(bare, inspect.DictType):
        return "pairs", "needs name=number pairs, such as q_proj=8, v_proj=4", ()
    return "text", "needs a value", ()


def _choices(annotation: Any) -> tuple[str, ...]:
    """A literal's values in the contract's order, which msgspec does not keep."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _bounds(bare: inspect.FloatType) -> str:
    low = f" above {bare.gt:g}" if bare.gt is not None else ""
    low = f" of at least {bare.ge:g}" if bare.ge is not None else low
    high = f" and below {bare.lt:g}" if bare.lt is not None else ""
    return low + (high if low else high.replace(" and", "", 1))


def _bare(info: inspect.Type) -> tuple[inspect.Type, str]:
    """The type without annotations and without None, and its description."""
    description = ""
    while isinstance(info, inspect.Metadata | inspect.UnionType):
        if isinstance(info, inspect.Metadata):
            description = description or (info.extra_json_schema or {}).get("description", "")
            info = info.type
        else:
            options = [one for one in info.types if not isinstance(one, inspect.NoneType)]
            info = options[0]
    return info, description


def _parse(field: FormField, text: str) -> Any:
    if field.kind == "int":
        return int(text.replace(",", "").replace("_", ""))
    if field.kind == "float":
        return _finite(float(text))
    if field.choices and text not in field.choices:
        raise ValueError(text)
    if field.kind == "switch":
        return text == _SWITCH[1]
    if field.kind == "pairs":
        return _pairs(text)
    if field.kind == "names":
        return _names(text)
    if field.kind == "texts":
        return msgspec.json.decode(text, type=list[str]) if text.startswith("[") else [text]
    if field.key in _FILES:
        return _sources(text)
    if field.key == "lora.target_modules" and text != field.default:
        return _layers(text)
    return text


def _sources(text: str) -> str | list[Any]:
    """One file, or several; ` weight=2` after one makes it a source with that weight."""
    found: list[Any] = []
    for item in re.split(r",\s+", text):
        weighted = _WEIGHTED.fullmatch(item)
        found.append(
            {"path": weighted[1], "weight": _finite(float(weighted[2]))} if weighted else item
        )
    return text if found == [text] else found


def _layers(text: str) -> str | list[str]:
    """Layer names as a list, also in the notation of a job file; else one pattern for PEFT."""
    listed = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    names = [name.strip(" \t\"'") for name in listed.split(",") if name.strip()]
    return names if all(re.fullmatch(r"[\w.-]+", name) for name in names) else text


def _pairs(text: str) -> dict[str, int | float]:
    """`name=number` pairs; a name may be a pattern that contains commas."""
    if not re.fullmatch(f"(?:{_PAIR})+", text):
        raise ValueError(text)
    found = re.findall(_PAIR, text)
    return {name: int(n) if n.isdecimal() else _finite(float(n)) for name, n in found}


def _names(text: str) -> dict[str, str]:
    """`name=field` pairs; a field's name may have spaces, but no comma."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and own.strip() for name, _, own in pairs):
        raise ValueError(text)
    return {name.strip(): own.strip() for name, _, own in pairs}


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def _text(value: Any, kind: Kind = "text") -> str:
    if value is None:
        return ""
    if kind == "texts" and (len(value) > 1 or any(_is_no_line(text) for text in value)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return _SWITCH[value]
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(number)}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_source_text(item) if isinstance(item, dict) else item for item in value)
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _source_text(source: dict[str, Any]) -> str:
    """A source with a weight as `_sources` reads it."""
    weight = source.get("weight", 1.0)
    return f"{source['path']} weight={_text(weight)}" if weight != 1 else str(source["path"])


def _is_no_line(text: str) -> bool:
    """Whether a text would be read otherwise as the only line of a field."""
    return text.startswith("[") or text != text.strip() or len(text.splitlines()) != 1


def _get(values: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; None also if its section is missing."""
    target: Any = values
    for part in key.split("."):
        target = None if target is None else target.get(part)
    return target


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value
