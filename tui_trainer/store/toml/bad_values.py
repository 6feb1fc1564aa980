"""What is wrong with plain values that are not of a record's type, in words for users."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from tui_trainer.text.formats import one_line
from tui_trainer.text.similar import nearest

Path = tuple[str | int, ...]  # keys, and positions in lists from 0
_BITS = 63  # of a whole number, beside its sign
_LONGEST = 60  # characters of a value in a sentence


@dataclass(frozen=True)
class BadValue:
    """The first problem in some values."""

    path: Path  # of the key
    message: str  # one sentence, which names the key


def find(values: dict[str, Any], kind: type[Any]) -> BadValue | None:
    """The first value that a record of type `kind` cannot have, or key that it does not have."""
    return _in_record(values, kind, (), kind)


def find_too_large(value: object, path: Path = ()) -> BadValue | None:
    """The first whole number that needs more than 64 bits, which no file of a run can hold."""
    items: Iterable[tuple[Any, object]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    elif isinstance(value, int) and value.bit_length() > _BITS:
        return BadValue(path, f"{key_of(path)}: the number is too large: {_BITS + 1} bits at most")
    return next(
        (found for key, item in items if (found := find_too_large(item, (*path, key)))), None
    )


def key_of(path: Path) -> str:
    """A path as a key: `data.train[0].weight`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' * bool(text)}{one_line(part)}"
    return text


def bad_value(value: object, annotation: Any) -> str:
    """Why `value` is not of the type, with the values that are, and the nearest of them."""
    shown = text_of(value)
    known = [str(choice) for choice in choices(annotation)]
    info = _bare(inspect.type_info(annotation))
    if isinstance(info, inspect.LiteralType) and info.values:
        return f"{shown} is not {_choice(known)}{hint(value, known)}"
    return f"{_needed(annotation)} is needed, not {shown}{hint(value, known)}"


def hint(value: object, known: list[str]) -> str:
    """`; did you mean "cosine"?`, or nothing where no known text is similar."""
    guess = nearest(value, known) if isinstance(value, str) else None
    return f'; did you mean "{guess}"?' if guess else ""


def text_of(value: object) -> str:
    """A value for a sentence, about as in TOML, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{one_line(value, _LONGEST)}"'
    if isinstance(value, dict):
        return "a table" if value else "an empty table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    try:
        return one_line(str(value), _LONGEST)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of too many digits"


def choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a literal type, also as a part of another, in the order of the contract, which
    msgspec does not keep."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    parts = (part for part in _members(annotation) if part is not annotation)
    return next((found for part in parts if (found := choices(part))), ())


def _in_record(
    values: dict[Any, Any], kind: type[Any], path: Path, whole: type[Any]
) -> BadValue | None:
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, value in values.items():
        field = known.get(key)
        if field is None:
            if kind.__struct_config__.forbid_unknown_fields:
                return BadValue((*path, str(key)), _unknown_key(str(key), path, kind, whole))
            continue
        found = _find(value, field.type, (*path, key), whole)
        if found is not None:
            return found
    for key, field in known.items():
        if field.required and key not in values:
            return BadValue(path, f"{key_of((*path, key))} is missing")
    return None


def _find(value: Any, annotation: Any, path: Path, whole: type[Any]) -> BadValue | None:
    for member in _members(annotation):
        origin = typing.get_origin(member)
        if _is_record(member) and isinstance(value, dict):
            return _in_record(value, member, path, whole)
        items: list[tuple[Any, Any]] = []
        if origin is list and isinstance(value, list):
            items = list(enumerate(value))
        elif origin is dict and isinstance(value, dict):
            items = list(value.items())
        for key, item in items:
            found = _find(item, typing.get_args(member)[-1], (*path, key), whole)
            if found is not None:
                return found
    try:
        msgspec.convert(value, annotation, strict=True)
    except msgspec.ValidationError:
        return BadValue(path, f"{key_of(path)}: {bad_value(value, annotation)}")
    return None


def _unknown_key(key: str, path: Path, kind: type[Any], whole: type[Any]) -> str:
    """That a key is not known, and the most similar one of its section, or else of all."""
    message = f"unknown key {key_of((*path, key))}"
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    everywhere = _all_keys(whole)
    for other in everywhere:
        if other.rpartition(".")[2] == key:  # known, but in another section
            return f"{message}; it belongs to {other}"
    guess = nearest(key, known)
    if guess is not None:
        return f"{message}; did you mean {key_of((*path, guess))}?"
    names = {other.rpartition(".")[2]: other for other in reversed(everywhere)}
    guess = nearest(key, list(names))
    if guess is not None:
        return f"{message}; did you mean {names[guess]}?"
    return f"{message}; known keys here: {', '.join(known)}"


def _all_keys(kind: type[Any], prefix: str = "") -> list[str]:
    found = []
    for field in msgspec.structs.fields(kind):
        found.append(f"{prefix}{field.encode_name}")
        for member in _members(field.type):
            if _is_record(member):
                found += _all_keys(member, f"{prefix}{field.encode_name}.")
    return found


def _members(annotation: Any) -> list[Any]:
    """The types of a union, without annotations; a single type is a union of one."""
    if typing.get_origin(annotation) is Annotated:
        return _members(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return [member for part in typing.get_args(annotation) for member in _members(part)]
    return [annotation]


def _is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _needed(annotation: Any) -> str:
    """What a value must be, in words."""
    info = inspect.type_info(annotation)
    while isinstance(info, inspect.Metadata):
        info = info.type
    infos = info.types if isinstance(info, inspect.UnionType) else (info,)
    bare = [_bare(one) for one in infos]
    named = [_name(one, annotation) for one in bare if not isinstance(one, inspect.NoneType)]
    return " or ".join(dict.fromkeys(named))


def _name(info: inspect.Type, annotation: Any) -> str:
    if isinstance(info, inspect.LiteralType):
        return _choice([f'"{choice}"' for choice in choices(annotation)])
    if isinstance(info, inspect.BoolType):
        return "true or false"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return f"a {'whole ' * isinstance(info, inspect.IntType)}number{bounds(info)}"
    if isinstance(info, inspect.StrType):
        if info.pattern is not None:
            return f"text that matches {info.pattern}"
        return "text that is not empty" if info.min_length else "text"
    if isinstance(info, inspect.ListType | inspect.VarTupleType | inspect.TupleType):
        return "a list with a value" if getattr(info, "min_length", None) else "a list"
    if isinstance(info, inspect.DictType):
        return "a table"
    return "a table of settings" if isinstance(info, inspect.StructType) else "another value"


def bounds(info: inspect.IntType | inspect.FloatType) -> str:
    """` of at least 0 and below 1`, or nothing for a number without bounds."""
    low = f" above {info.gt:,g}" if info.gt is not None else ""
    low = f" of at least {info.ge:,g}" if info.ge is not None else low
    high = f" below {info.lt:,g}" if info.lt is not None else ""
    high = f" of at most {info.le:,g}" if info.le is not None else high
    return f"{low} and{high.replace(' of', '')}" if low and high else low or high


def _choice(known: list[str]) -> str:
    return known[0] if len(known) == 1 else f"one of {', '.join(known)}"


def _bare(info: inspect.Type) -> inspect.Type:
    """The type without annotations, and without None."""
    while isinstance(info, inspect.Metadata | inspect.UnionType):
        if isinstance(info, inspect.Metadata):
            info = info.type
        else:
            others = [one for one in info.types if not isinstance(one, inspect.NoneType)]
            if len(others) != 1:
                return info
            info = others[0]
    return info
