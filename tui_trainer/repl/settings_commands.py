"""The slash command that shows and changes the teaching settings."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts import session as events
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.store.settings import changed_teaching, save_teaching


class SettingsCommands:
    """`/set`."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {"set": self._set}

    def _set(self, command: SlashCommand) -> None:
        context = self._context
        key, _, text = command.argument_text.strip().partition(" ")
        shown = settings_table(context.settings, key or None)
        if shown.rows and not text.strip():
            context.emit(shown)
            return
        changed = changed_teaching(context.settings, key, text.strip())
        file = save_teaching(key, changed)
        context.settings = changed
        [(_, value, _)] = settings_table(changed, key).rows
        context.emit_notice(f"{key} is set to {value}, also for later sessions ({file})")
        context.emit_buffer()
        context.trainer.wake()


def settings_table(settings: TeachingSettings, only: str | None = None) -> events.TextTable:
    """Every setting, or the one named `only`, with its value and effect."""
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
