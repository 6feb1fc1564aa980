"""The slash command that shows and changes the settings of chat and teaching."""

from __future__ import annotations

from collections import Counter

import msgspec

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.sampling import ChatSettings
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.store.job_checks import quantization_problem
from tui_trainer.store.settings import SECTIONS, changed_setting, save_setting
from tui_trainer.text.similar import nearest

_Section = ChatSettings | TeachingSettings
_LATER = ("chat.quantization",)  # used when the base is loaded


class SettingsCommands:
    """`/set`."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {"set": self._set}

    def _set(self, command: SlashCommand) -> None:
        context = self._context
        name, _, text = command.argument_text.strip().partition(" ")
        known = _names(context.chat, context.settings)
        if not name:
            context.emit(_table(known))
            return
        if name not in known:
            raise UserError(_unknown(name, list(known)))
        settings, key = known[name]
        if not text.strip():
            context.emit(_table({name: (settings, key)}))
            return
        new = changed_setting(settings, key, text.strip())
        value = getattr(new, key)
        if key == "quantization" and (problem := quantization_problem(name, value)) is not None:
            raise UserError(problem)
        file = save_setting(key, new)
        if isinstance(new, ChatSettings):
            context.chat = new
        else:
            context.settings = new
        when = "for later sessions only" if name in _LATER else "also for later sessions"
        context.emit_notice(f"{name} is set to {_shown(value)}, {when} ({file})")
        context.emit_buffer()
        context.trainer.wake()


def _names(*sections: _Section) -> dict[str, tuple[_Section, str]]:
    """Every setting by the name that `/set` uses: its key, after the section where both have it."""
    keys = [(section, field.encode_name) for section in sections for field in _fields(section)]
    count = Counter(key for _, key in keys)
    return {
        (f"{SECTIONS[type(section)]}.{key}" if count[key] > 1 else key): (section, key)
        for section, key in keys
    }


def _unknown(name: str, known: list[str]) -> str:
    several = [other for other in known if other.endswith(f".{name}")]
    if several:
        return f"there are several settings {name}; use {' or '.join(several)}"
    guess = nearest(name, known)
    hint = f"did you mean {guess}?" if guess else "/set lists the settings"
    return f"there is no setting {name}; {hint}"


def _fields(section: _Section) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(section)


def _table(names: dict[str, tuple[_Section, str]]) -> events.TextTable:
    """The settings with their values and effects."""
    rows = []
    for name, (section, key) in names.items():
        [kind] = [field.type for field in _fields(section) if field.encode_name == key]
        rows.append([name, _shown(getattr(section, key)), _description(kind)])
    return events.TextTable(title="settings", headers=["KEY", "VALUE", "WHAT IT DOES"], rows=rows)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "automatic" if value is None else str(value)


def _description(annotation: object) -> str:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return ""
