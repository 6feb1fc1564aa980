"""Weights of an ensemble as they are typed."""

from __future__ import annotations

from tui_trainer.tui.adapters.adapter_names import weights_problem


def test_weights_are_checked() -> None:
    assert weights_problem("a=0.7 b=-0.3") is None
    for text in ("", "a", "a=x", "a=0", "a=nan", "a=inf", "=1"):
        assert weights_problem(text)
