"""The slash command that shows and changes the settings of chat and teaching."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.sampling import ChatSettings
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.store.settings import changed_setting, save_setting
from tui_trainer.store.toml import nearest


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
        known = [*_keys(context.chat), *_keys(context.settings)]
        if not text.strip() and key in ("", *known):
            context.emit(settings_table(context.chat, context.settings, only=key or None))
            return
        if key not in known:
            guess = nearest(key, known)
            hint = f"did you mean {guess}?" if guess else "/set lists the settings"
            raise UserError(f"there is no setting {key}; {hint}")
        new: ChatSettings | TeachingSettings
        if key in _keys(context.chat):
            new = changed_setting(context.chat, key, text.strip())
        else:
            new = changed_setting(context.settings, key, text.strip())
        file = save_setting(key, new)
        if isinstance(new, ChatSettings):
            context.chat = new
        else:
            context.settings = new
        [(_, value, _)] = settings_table(new, only=key).rows
        context.emit_notice(f"{key} is set to {value}, also for later sessions ({file})")
        context.emit_buffer()
        context.trainer.wake()


def _keys(settings: ChatSettings | TeachingSettings) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(settings)]


def settings_table(
    *sections: ChatSettings | TeachingSettings, only: str | None = None
) -> events.TextTable:
    """Every setting, or the one named `only`, with its value and effect."""
    rows = []
    for settings, field in ((s, field) for s in sections for field in msgspec.structs.fields(s)):
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
