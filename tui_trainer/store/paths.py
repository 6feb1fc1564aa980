"""Where things lie on disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from tui_trainer.contracts.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def home() -> Path:
    """The user's folder for adapters, feedback and the configuration.

    `TUI_TRAINER_HOME` wins over the platform's own place. Nothing is created.
    """
    override = os.environ.get("TUI_TRAINER_HOME")
    if override:
        return Path(override).expanduser()
    return Path(platformdirs.user_data_dir("tui-trainer", appauthor=False))


def config_file() -> Path:
    """`config.toml`, which need not exist."""
    return config_dir() / "config.toml"


def config_dir() -> Path:
    """The folder of `config.toml` and of the user's own `themes/`."""
    override = os.environ.get("TUI_TRAINER_HOME")
    if override:
        return Path(override).expanduser()
    return Path(platformdirs.user_config_dir("tui-trainer", appauthor=False))


def cache_dir() -> Path:
    """The folder of what can be made again, which may be deleted at any time.

    `TUI_TRAINER_HOME` wins over the platform's own place. Nothing is created.
    """
    override = os.environ.get("TUI_TRAINER_HOME")
    if override:
        return Path(override).expanduser() / "cache"
    return Path(platformdirs.user_cache_dir("tui-trainer", appauthor=False))


def builtin_model() -> Path:
    """The folder of the built-in base model."""
    return _PACKAGE / "models" / "builtin"


def examples() -> Path:
    """The folder of the example job and its data."""
    return _PACKAGE / "examples"


def themes() -> list[Path]:
    """The folders of palettes, the user's own last so that they win.

    A wheel carries `themes/` inside the package; a checkout keeps it beside the package.
    """
    shipped = [p for p in (_PACKAGE / "themes", _PACKAGE.parent / "themes") if p.is_dir()]
    return [*shipped[:1], config_dir() / "themes"]


def safe_name(name: str, what: str = "name") -> str:
    """`name`, if it can be a folder's name and cannot leave its parent.

    Raises `UserError` otherwise.
    """
    if _NAME.fullmatch(name) is None or ".." in name:
        raise UserError(
            f"{what} {name!r} cannot be a folder's name: use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, 100 characters at most"
        )
    return name


def make_private_dir(path: Path) -> Path:
    """Creates `path` (and parents) for the user alone and returns it."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in (*reversed(missing), path):  # mkdir itself would make parents for everybody
        folder.mkdir(exist_ok=True, mode=0o700)
    return path
