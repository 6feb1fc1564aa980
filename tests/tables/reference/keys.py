"""`docs/reference/keys.md`: every key of the full-screen session, with its id in `[keys]`."""

from __future__ import annotations

from tests.tables.reference.markdown import cell, table
from tui_trainer.tui.keymap import KEYS, Keymap

_TITLES = {
    "app": "Everywhere",
    "run": "Dashboard and list of runs",
    "dashboard": "Dashboard",
    "runs": "List of runs",
    "chat": "Chat",
    "adapters": "Adapters",
    "new": "Form for a new run",
}


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Keys",
        "The id is the name of a key in `[keys]` of `config.toml`, where another one can be given. "
        "`?` lists the keys of the screen that is open. While text is typed only keys with `ctrl`, "
        "`esc` and the function keys work.",
    ]
    keymap = Keymap({})
    for scope, title in _TITLES.items():
        rows = [
            [
                " ".join(f"`{key}`" for key in keymap.all_shown(one).split()),
                cell(one.help),
                f"`{one.id}`",
            ]
            for one in KEYS
            if one.scope == scope
        ]
        parts += [f"## {title}", table(["keys", "what it does", "id"], rows)]
    return "\n\n".join(parts) + "\n"
