"""The new-run form, generated from the contracts: fields, parsing, checking. Pure but for the
files that `check_job` looks at."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import inspect

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import checks, jobs, paths

Kind = Literal["text", "int", "float", "choice"]
SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("run", ("name", "model")),
    ("data", ("data.train", "data.validation", "data.val_split", "data.max_length")),
    ("adapter", ("lora.rank", "lora.alpha", "lora.dropout")),
    (
        "training",
        (
            "training.max_steps",
            "training.epochs",
            "training.batch_size",
            "training.learning_rate",
            "training.scheduler",
            "training.warmup_steps",
            "training.eval_every",
            "training.checkpoint_every",
            "training.seed",
        ),
    ),
)
_WHERE = "form"
_LABELS = {"data.train": "train file", "data.validation": "validation", "data.val_split": "split"}


@dataclass(frozen=True)
class Field:
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
class Checked:
    """A job, or what is wrong by field; an error of no field stands under an empty key. `odd` is
    what can be started but is hardly meant."""

    job: Job | None
    errors: dict[str, str]
    odd: tuple[str, ...] = ()


@functools.cache
def fields() -> tuple[Field, ...]:
    """Every field of the form in its order."""
    known = _fields_of(Job, "")
    return tuple(known[key] for _title, keys in SECTIONS for key in keys)


def texts_of(job: Job) -> dict[str, str]:
    """A job as the texts of the form."""
    values = msgspec.to_builtins(job)
    return {field.key: _text(_get(values, field.key)) for field in fields()}


def check(texts: dict[str, str], folder: Path) -> Checked:
    """Parses and checks the form; relative paths count from `folder`."""
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for field in fields():
        text = texts.get(field.key, "").strip()
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
        return Checked(None, errors)
    try:
        paths.safe_name(str(values["name"]), "name")
    except UserError as error:
        return Checked(None, {"name": str(error)})
    try:
        job = jobs.check_job(values, folder, _WHERE)
    except UserError as error:
        return Checked(None, _placed(str(error)))
    found = checks.check(job, count=False)
    wrong = {finding.key: finding.message for finding in found if finding.level == "error"}
    odd = tuple(finding.message for finding in found if finding.level == "warning")
    return Checked(None if wrong else job, wrong, odd)


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


def _fields_of(kind: Any, prefix: str) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for field in msgspec.structs.fields(kind):
        key = f"{prefix}{field.encode_name}"
        bare, description = _bare(inspect.type_info(field.type))
        if isinstance(bare, inspect.StructType):
            found.update(_fields_of(bare.cls, f"{key}."))
        else:
            found[key] = _field(key, field.type, bare, description, field.default)
    return found


def _field(key: str, kind: Any, bare: inspect.Type, description: str, default: Any) -> Field:
    shape, needs, choices = _kind(bare)
    return Field(
        key=key,
        type=kind,
        label=_LABELS.get(key, key.rpartition(".")[2].replace("_", " ")),
        description=description,
        kind=shape,
        needs=needs,
        choices=choices,
        default="" if default is msgspec.NODEFAULT else _text(default),
    )


def _kind(bare: inspect.Type) -> tuple[Kind, str, tuple[str, ...]]:
    if isinstance(bare, inspect.LiteralType):
        choices = tuple(str(value) for value in bare.values)
        return "choice", f"needs one of {', '.join(choices)}", choices
    if isinstance(bare, inspect.IntType):
        least = "" if bare.ge is None else f" of at least {bare.ge}"
        return "int", f"needs a whole number{least}", ()
    if isinstance(bare, inspect.FloatType):
        return "float", f"needs a number{_bounds(bare)}", ()
    return "text", "needs a value", ()


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


def _parse(field: Field, text: str) -> Any:
    if field.kind == "int":
        return int(text.replace(",", "").replace("_", ""))
    if field.kind == "float":
        return _finite(float(text))
    if field.kind == "choice" and text not in field.choices:
        raise ValueError(text)
    if field.key in ("data.train", "data.validation") and ", " in text:
        return re.split(r",\s+", text)
    return text


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _get(values: dict[str, Any], key: str) -> Any:
    target: Any = values
    for part in key.split("."):
        target = target.get(part)
    return target


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value
