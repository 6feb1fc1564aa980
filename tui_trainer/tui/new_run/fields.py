"""The new-run form, generated from the contracts: fields, parsing, checking. Pure but for the
files that `check_job` looks at."""

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

Kind = Literal["text", "int", "float", "choice", "switch", "pairs"]
_WHERE = "form"
_PAIR = r"\s*([^=\s][^=]*?)\s*=\s*([^=,\s]+)\s*(?:,|$)"
_SWITCH = ("off", "on")
_FILES = ("data.train", "data.validation", "data.replay")


@dataclass(frozen=True)
class FormField:
    """One field: `needs` says what a value must be, `default` what an empty one means, `type`
    is the contract's own."""

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
    """A job, or what is wrong by field; an error of no field stands under an empty key. `odd` is
    what can be started but is hardly meant, by field."""

    job: Job | None
    errors: dict[str, str]
    odd: dict[str, str] = dataclasses.field(default_factory=dict)


@functools.cache
def fields() -> tuple[FormField, ...]:
    """Every field of the form in its order."""
    known = _every_field()
    return tuple(known[key] for _title, keys in layout.SECTIONS for key in keys)


def texts_of(job: Job) -> dict[str, str]:
    """A job as the texts of the form."""
    values = msgspec.to_builtins(job)
    return {field.key: _text(_get(values, field.key)) for field in fields()}


def acting(texts: Mapping[str, str]) -> frozenset[str]:
    """The keys of the fields that have an effect beside each other."""
    values = {field.key: texts.get(field.key, "").strip() or field.default for field in fields()}
    return frozenset(key for key in values if layout.acts(key, values))


def changed(field: FormField, text: str) -> bool:
    """Whether a text means anything else than the field's default."""
    text = text.strip()
    if text in ("", field.default):
        return False
    try:
        return not field.default or bool(_parse(field, text) != _parse(field, field.default))
    except ValueError:
        return True


def check(texts: Mapping[str, str], folder: Path, base: Job | None = None) -> CheckedForm:
    """Parses and checks the form; relative paths count from `folder`.

    What the form has no field for is as in `base`, the job that it was filled from. Fields
    without an effect are left out.
    """
    values = _rest(base)
    errors: dict[str, str] = {}
    acts = acting(texts)
    for field in fields():
        text = texts.get(field.key, "").strip()
        if field.key not in acts:
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
        return CheckedForm(None, _placed(str(error)))
    found = job_checks.check(job, count=False)
    wrong = {one.key: _beside(one.key, one.message) for one in found if one.level == "error"}
    odd = {one.key: _beside(one.key, one.message) for one in found if one.level == "warning"}
    return CheckedForm(None if wrong else job, wrong, odd)


def _beside(key: str, message: str) -> str:
    """A sentence about a field without the name that stands beside it already."""
    return re.sub(rf'^{re.escape(key)} (= )?(?=[\w"])', "", message)


def _rest(base: Job | None) -> dict[str, Any]:
    """What a job says beyond the form's fields, as plain values."""
    values: dict[str, Any] = {}
    said = {} if base is None else msgspec.to_builtins(base)
    for key in _every_field().keys() - {field.key for field in fields()}:
        value = _get(said, key)
        if value is not None:
            _set(values, key, value)
    return values


def _placed(message: str) -> dict[str, str]:
    """An error of `check_job` beside the field that it names."""
    text = message.removeprefix(f"{_WHERE}: ")
    known = {field.key: field for field in fields()}
    for key in sorted(known, key=len, reverse=True):
        if text.startswith(f"{key}: "):
            said = text.removeprefix(f"{key}: ")
            return {key: known[key].needs if said.startswith("expected") else said}
        if text.startswith(f"{key} "):
            return {key: text}
    return {"model": text} if text.startswith("model") else {"": text}


@functools.cache
def _every_field() -> dict[str, FormField]:
    """Every setting of a job by its key, whether or not the form has it."""
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
        default="" if default is msgspec.NODEFAULT else _text(default),
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
    if field.key in _FILES and ", " in text:
        return re.split(r",\s+", text)
    if field.key == "lora.target_modules" and text != field.default:
        return _layers(text)
    return text


def _layers(text: str) -> str | list[str]:
    """Names of layers as a list, also as a job file writes it; else one pattern for PEFT."""
    listed = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    names = [name.strip(" \t\"'") for name in listed.split(",") if name.strip()]
    return names if all(re.fullmatch(r"[\w.-]+", name) for name in names) else text


def _pairs(text: str) -> dict[str, int | float]:
    """`name=number` pairs; a name may be a pattern with commas of its own."""
    if not re.fullmatch(f"(?:{_PAIR})+", text):
        raise ValueError(text)
    found = re.findall(_PAIR, text)
    return {name: int(n) if n.isdecimal() else _finite(float(n)) for name, n in found}


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _SWITCH[value]
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(number)}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _get(values: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; None also where its section is left out."""
    target: Any = values
    for part in key.split("."):
        target = None if target is None else target.get(part)
    return target


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value
