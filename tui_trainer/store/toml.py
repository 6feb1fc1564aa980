"""Reading TOML into typed records, with errors that name the key."""

from __future__ import annotations

import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.store.regular_files import without_mark

T = TypeVar("T")

_UNKNOWN = re.compile(
    r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `\$\.?(?P<at>[^`]*)`)?"
)
_PLACE = re.compile(r"(?P<what>.*) - at `\$\.?(?P<at>[^`]*)`", re.S)


def read_toml(path: Path) -> dict[str, Any]:
    """The file as plain values. Raises `UserError` that names the file and the line."""
    try:
        return tomllib.loads(without_mark(path.read_bytes()).decode())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a TOML file is needed") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        encoding = "UTF-16" if error.object.startswith((b"\xff\xfe", b"\xfe\xff")) else "Latin-1"
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start + 1} is 0x{byte:02X}), probably {encoding}: "
            f"save it as UTF-8, or convert it with iconv -f {encoding} -t UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def convert(values: dict[str, Any], kind: type[T], where: str) -> T:
    """`values` as a `kind`. Raises `UserError` with the key, and the most similar known one."""
    try:
        return msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {_explain(str(error), kind)}") from None


def apply_override(values: dict[str, Any], assignment: str) -> None:
    """Set a key of nested `values` by an assignment such as `training.max_steps=40`.

    The right side is a TOML value, or text. Raises `UserError`.
    """
    key, equals, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UserError(f"--set {assignment!r} is not KEY=VALUE, such as training.max_steps=40")
    target = values
    for part in parts[:-1]:
        inner = target.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {assignment!r}: {part!r} is a value, not a section")
        target = inner
    target[parts[-1]] = read_value(text.strip())


def nearest(word: str, known: list[str]) -> str | None:
    """The known name that is most similar to `word`; None if none is similar."""
    import difflib  # needed only for a typing error

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return found[0] if found else None


def read_value(text: str) -> Any:
    """`text` as a TOML value, or unchanged if it is not one."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(message: str, kind: type[Any]) -> str:
    unknown = _UNKNOWN.search(message)
    if unknown:
        return _explain_unknown(unknown["key"], unknown["at"] or "", kind)
    placed = _PLACE.match(message)
    if placed:
        what = placed["what"][:1].lower() + placed["what"][1:]
        return f"{placed['at']}: {what}"
    return message[:1].lower() + message[1:]


def _explain_unknown(key: str, at: str, kind: type[Any]) -> str:
    section = _section(kind, [part for part in at.split(".") if part])
    prefix = f"{at}." if at else ""
    for path, name in _all_keys(kind):
        if name == key:  # known, but in another section
            return f"unknown key {prefix}{key}; it belongs to {path}"
    if section is not None:
        guess = nearest(key, [f.encode_name for f in msgspec.structs.fields(section)])
        if guess:
            return f"unknown key {prefix}{key}; did you mean {prefix}{guess}?"
    names = [f.encode_name for f in msgspec.structs.fields(section or kind)]
    return f"unknown key {prefix}{key}; known keys here: {', '.join(names)}"


def _all_keys(kind: type[Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for field in msgspec.structs.fields(kind):
        found.append((f"{prefix}{field.encode_name}", field.encode_name))
        inner = _struct_in(field.type)
        if inner is not None:
            found.extend(_all_keys(inner, f"{prefix}{field.encode_name}."))
    return found


def _section(kind: type[Any], path: list[str]) -> type[Any] | None:
    current: type[Any] | None = kind
    for part in path:
        if current is None:
            return None
        fields = {f.encode_name: f.type for f in msgspec.structs.fields(current)}
        current = _struct_in(fields.get(part))
    return current


def _struct_in(annotation: Any) -> type[Any] | None:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        for inner in typing.get_args(annotation):
            found = _struct_in(inner)
            if found is not None:
                return found
    return None
