"""Reading and changing the configuration file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from tui_trainer.contracts.chat.sampling import ChatSettings
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.settings import Settings
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import atomic, paths
from tui_trainer.store.file_lock import locked
from tui_trainer.store.toml import reading

if TYPE_CHECKING:  # imported only to change a setting
    from tomlkit import TOMLDocument

DEFAULT = "default"


def load_settings() -> Settings:
    """The user's settings, or the defaults if there is no file. Raises `UserError`."""
    file = paths.config_file()
    if not file.exists():
        return Settings()
    values, source = reading.read_source(file)
    return reading.convert(values, Settings, source)


def about(key: str) -> str:
    """The place of a dotted key in the configuration file, and the key: the start of an error."""
    try:
        source = reading.read_source(paths.config_file())[1]
    except UserError:  # the settings are not from a file, or it was deleted since
        source = reading.ValueSource("settings")
    return source.about(key)


S = TypeVar("S", bound=TeachingSettings | ChatSettings)
SECTIONS: dict[type, str] = {TeachingSettings: "teaching", ChatSettings: "chat"}


def changed_setting(settings: S, key: str, text: str) -> S:
    """`settings` with `key` set to `text`, a TOML value, or to its default by the text "default".

    Raises `UserError` for an unknown key, naming the most similar one, and for an invalid value.
    """
    kind = type(settings)
    values = msgspec.to_builtins(settings)
    if text.strip() == DEFAULT and key in values:
        del values[key]
    else:
        values[key] = reading.read_value(text)
    number = values.get(key)
    if isinstance(number, float) and not math.isfinite(number):
        raise UserError(f"/set: {key} must be a finite number, not {text.strip()}")
    return reading.convert(values, kind, "/set")


def save_setting(key: str, settings: TeachingSettings | ChatSettings) -> Path:
    """Write one checked value into its section (`[teaching]` or `[chat]`) of the configuration.

    The rest of the file, with its comments, stays the same; a default value is removed from it.
    Returns the file. Raises `UserError` if it is not valid or cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    file = paths.config_file().resolve()  # a link stays a link
    try:
        paths.make_private_dir(file.parent)
        with locked(file.parent / ".config.lock"):
            load_settings()  # raises for an invalid file, which must not be overwritten
            document = tomlkit.parse(file.read_text("utf-8-sig") if file.exists() else "")
            _put(document, key, settings)
            atomic.write_bytes(file, tomlkit.dumps(document).encode())
    except TOMLKitError as error:
        raise UserError(f"{file} is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", 1) from None
    return file


def _put(document: TOMLDocument, key: str, settings: TeachingSettings | ChatSettings) -> None:
    section = SECTIONS[type(settings)]
    value = getattr(settings, key)
    if value != getattr(type(settings)(), key):
        if section not in document:
            from tomlkit import table

            document[section] = table()
        document[section][key] = value
    elif key in document.get(section, {}):
        del document[section][key]
