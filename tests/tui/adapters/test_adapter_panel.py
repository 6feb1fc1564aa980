"""The text of the empty adapters screen."""

from __future__ import annotations

from tui_trainer.tui.adapters.adapter_panel import no_adapters_text
from tui_trainer.tui.keymap import make_keymap


def test_an_empty_store_names_the_keys_that_the_user_has() -> None:
    text = no_adapters_text(0, make_keymap({})).plain
    assert "Press 3 and correct answers" in text and "press K on the dashboard" in text
    own = no_adapters_text(2, make_keymap({"adopt": "f8", "trash": "f9"})).plain
    assert "press f8 on the dashboard" in own and "f9 restores one of 2 deleted adapters" in own
