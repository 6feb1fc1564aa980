"""The configuration file, read once at the start of a session."""

from __future__ import annotations

from tui_trainer.contracts.settings import Settings
from tui_trainer.store import paths, toml


def load_settings() -> Settings:
    """The user's settings, or the defaults where there is no file. Raises `UserError`."""
    file = paths.config_file()
    if not file.exists():
        return Settings()
    return toml.convert(toml.read_toml(file), Settings, str(file))
