"""Paths of the user's folders and of the package's files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from tui_trainer.contracts.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def home() -> Path:
    """The user's folder for adapters, feedback and conversations.

    `TUI_TRAINER_HOME` overrides the platform's folder. Nothing is created.
    """
    override = os.environ.get("TUI_TRAINER_HOME")
    if override:
        return Path(override).expanduser()
    return Path(platformdirs.user_data_dir("tui-trainer", appauthor=False))


def config_file() -> Path:
    """`config.toml`, which may not exist."""
    return config_dir() / "config.toml"


def config_dir() -> Path:
    """The folder of `config.toml` and of the user's own `themes/`."""
    override = os.environ.get("TUI_TRAINER_HOME")
    if override:
        return Path(override).expanduser()
    return Path(platformdirs.user_config_dir("tui-trainer", appauthor=False))


def cache_dir() -> Path:
    """The cache folder, which may be deleted at any time.

    `TUI_TRAINER_HOME` overrides the platform's folder. Nothing is created.
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


def example_job() -> Path:
    """The job of the packaged example."""
    return examples() / "lighthouse.toml"


def themes() -> list[Path]:
    """The folders of palettes; those in the last one, the user's own, override the others.

    A wheel has `themes/` inside the package, a checkout beside it.
    """
    shipped = [p for p in (_PACKAGE / "themes", _PACKAGE.parent / "themes") if p.is_dir()]
    return [*shipped[:1], config_dir() / "themes"]


def safe_name(name: str, what: str = "name") -> str:
    """Return `name` if it can be the name of a folder inside its parent, else raise `UserError`."""
    if _NAME.fullmatch(name) is None or ".." in name:
        raise UserError(
            f"{what} {name!r} cannot be a folder's name: use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, 100 characters at most"
        )
    return name


def make_private_dir(path: Path) -> Path:
    """Create `path` and its parents, accessible by the user only, and return it."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in (*reversed(missing), path):  # `mkdir(parents=True)` ignores the mode for parents
        folder.mkdir(exist_ok=True, mode=0o700)
    return path
