"""Reading TOML into typed records, with errors that name the file, the line and the key."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.store.regular_files import without_mark
from tui_trainer.store.toml import bad_values, lines
from tui_trainer.text.formats import one_line

T = TypeVar("T")

_DIGITS = re.compile(r"[\d_]+")


@dataclass
class ValueSource:
    """Where values come from, for errors about them."""

    name: str  # a file, or what gave the values
    text: str = ""  # content of the file
    overrides: dict[tuple[str, ...], str] = field(default_factory=dict)  # `--set` by key

    def at(self, *path: str | int) -> str:
        """The place of a key: `--set KEY=VALUE`, `FILE, line N`, or `FILE` where the line cannot be
        told."""
        for key, assignment in reversed(self.overrides.items()):
            if path[: len(key)] == key:
                return f"--set {one_line(assignment)}"
        line = lines.line_of(self.text, path) if path else None
        return self.name if line is None else f"{self.name}, line {line}"

    def about(self, key: str) -> str:
        """The place of a dotted key, and the key: the start of an error about its value."""
        return f"{self.at(*key.split('.'))}: {key}"


def read_toml(path: Path) -> dict[str, Any]:
    """The file as plain values. Raises `UserError` that names the file and the line."""
    return read_source(path)[0]


def read_source(path: Path) -> tuple[dict[str, Any], ValueSource]:
    """The file as plain values, and as their source. Raises `UserError`."""
    text = _read(path)
    try:
        return tomllib.loads(text), ValueSource(str(path), text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise UserError(f"{path} cannot be read: a value is nested too deeply") from None
    except ValueError:  # Python converts no longer numbers, unless it is told to
        most = sys.get_int_max_str_digits()
        long = next((one for one in _DIGITS.finditer(text) if len(one[0]) > most), None)
        line = "" if long is None else f", line {text.count(chr(10), 0, long.start()) + 1}"
        raise UserError(f"{path}{line}: a number has more than {most:,} digits") from None


def _read(path: Path) -> str:
    try:
        return without_mark(path.read_bytes()).decode()
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
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def convert(values: dict[str, Any], kind: type[T], where: str | ValueSource) -> T:
    """`values` as a `kind`. Raises `UserError` that names the place, the key, the values that it
    can have, and the most similar one."""
    source = ValueSource(where) if isinstance(where, str) else where
    try:
        large = bad_values.find_too_large(values)
        if large is not None:
            raise UserError(f"{source.at(*large.path)}: {large.message}")
        return msgspec.convert(values, kind, strict=True)
    except RecursionError:
        raise UserError(f"{source.name}: a value is nested too deeply") from None
    except msgspec.ValidationError as error:
        found = bad_values.find(values, kind)
        if found is None:  # the record checks its values together
            raise UserError(f"{source.name}: {error}") from None
        raise UserError(f"{source.at(*found.path)}: {found.message}") from None


def apply_override(
    values: dict[str, Any], assignment: str, source: ValueSource | None = None
) -> None:
    """Set a key of nested `values` by an assignment such as `training.max_steps=40`, and record it
    in their `source`.

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
    if source is not None:
        source.overrides.pop(tuple(parts), None)  # the last assignment counts
        source.overrides[tuple(parts)] = assignment


def read_value(text: str) -> Any:
    """`text` as a TOML value, or unchanged if it is not one."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also of a number with too many digits
        return text
