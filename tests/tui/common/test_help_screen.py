"""The help: long texts continue beside the keys."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.common.help_screen import hanging


def test_a_long_text_continues_below_its_start() -> None:
    line = Content("        a  apply the learning rate that the current advice suggests")
    assert hanging(line, 40).plain.split("\n") == [
        "        a  apply the learning rate that",
        "           the current advice suggests",
    ]


def test_short_lines_and_headings_stay() -> None:
    for text in ("Dashboard", "        p  pause"):
        assert hanging(Content(text), 40).plain == text
