"""The help: long texts continue beside the keys."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.common.help_screen import help_text


def test_a_long_text_continues_below_its_start() -> None:
    line = ("a", "apply the learning rate that the current advice suggests")
    assert help_text([line], 40).plain.split("\n") == [
        "        a  apply the learning rate that",
        "           the current advice suggests",
    ]


def test_short_lines_and_headings_stay() -> None:
    assert help_text([Content("Dashboard")], 40).plain == "Dashboard"
    assert help_text([("p", "pause")], 40).plain == "        p  pause"
