"""Showing and changing how corrections are learned."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts import session as events
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.store.settings import changed_teaching, save_teaching


class SettingsCommands:
    """`/set`."""

    def __init__(self, desk: SessionContext) -> None:
        self._desk = desk

    def handlers(self) -> dict[str, Handler]:
        """The commands by name."""
        return {"set": self._set}

    def _set(self, command: SlashCommand) -> None:
        desk = self._desk
        key, _, text = command.rest.strip().partition(" ")
        shown = settings_table(desk.settings, key or None)
        if shown.rows and not text.strip():
            desk.emit(shown)
            return
        changed = changed_teaching(desk.settings, key, text.strip())
        file = save_teaching(key, changed)
        desk.settings = changed
        [(_, value, _)] = settings_table(changed, key).rows
        desk.say(f"{key} is {value} from now on, also in later sessions ({file})")
        desk.tell_buffer()
        desk.teacher.poke()


def settings_table(settings: TeachingSettings, only: str | None = None) -> events.TextTable:
    """Every setting, or only one, with its value and what it does."""
    rows = []
    for field in msgspec.structs.fields(settings):
        if only in (None, field.encode_name):
            value = getattr(settings, field.encode_name)
            shown = "automatic" if value is None else str(value)
            rows.append([field.encode_name, shown, _description(field.type)])
    return events.TextTable(title="settings", headers=["KEY", "VALUE", "WHAT IT DOES"], rows=rows)


def _description(annotation: object) -> str:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return ""
