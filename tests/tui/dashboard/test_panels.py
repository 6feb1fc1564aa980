"""Words, rows and layouts: everything that needs no terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.contracts.runs.run import Event
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.tui.common import markup, run_status
from tui_trainer.tui.common.key_bar import Hint, fitting
from tui_trainer.tui.common.page import layout_classes
from tui_trainer.tui.dashboard.events_log import EventsLog, entries_of
from tui_trainer.tui.dashboard.hardware_panel import HardwarePanel, hardware_summary
from tui_trainer.tui.dashboard.outcome_banner import outcome_of
from tui_trainer.tui.dashboard.progress_panel import ProgressPanel, progress_of
from tui_trainer.tui.run_control import commands
from tui_trainer.tui.run_control.engines import Engines
from tui_trainer.tui.run_control.learning_rate import parse_rate
from tui_trainer.tui.startup import ascii_fallback, terminal_guard
from tui_trainer.watch.snapshots import MetricTable, RunSummary, RunView

RUN = RunSummary(
    Path("/runs/a"), "a", "alpha", "run", "training", step=1420, total_steps=3000, loss=1.284,
    best_val_loss=1.25, tokens_per_second=18402.0, eta_seconds=811.0, updated_at=100.0,
)  # fmt: skip
NASTY = "\x1b[31m[bold]x[/]\n\u202e\u0007"


@pytest.mark.parametrize(
    ("value", "messages"),
    [(0.00164, "1.64e-3"), (2e-4, "2e-4"), (0.05, "0.05"), (0, "0"), (None, "–"),
     (float("nan"), "–")],
)  # fmt: skip
def test_rates(value: float | None, messages: str) -> None:
    assert formats.rate(value) == messages


@pytest.mark.parametrize(
    ("seconds", "messages"), [(0.2, "less than 1 s"), (59, "59 s"), (3599, "59 min"), (9e5, "10 d")]
)
def test_ages(seconds: float, messages: str) -> None:
    assert formats.age(seconds) == messages


def test_bytes() -> None:
    assert formats.size_of(21.3 * 2**30, 128 * 2**30) == "21.3 / 128 GiB"
    assert formats.size(25 * 2**20) == "25.0 MiB" and formats.size(None) == formats.MISSING


@given(st.floats(), st.integers(1, 60))
def test_a_bar_keeps_its_width(fraction: float, width: int) -> None:
    bar = markup.meter(fraction, width)
    assert bar.cell_length == width
    if 0 < fraction < 1 and width > 1:
        assert "━" in bar.plain and "─" in bar.plain


@given(st.text())
def test_foreign_text_is_one_harmless_line(foreign: str) -> None:
    shown = markup.plain(foreign).plain
    assert "\x1b" not in shown and "\n" not in shown and "\u202e" not in shown


def test_each_status_has_a_label_and_a_colour() -> None:
    for status in ("idle", "training", "early_stopped", "crashed", "whatever"):
        assert run_status.label(status) and run_status.colour(status).startswith("$")
        assert " " not in run_status.label(status)


@pytest.mark.parametrize(
    ("changed", "messages"),
    [
        (
            {"kind": "csv", "tool": "Keras CSV"},
            "alpha cannot be controlled: it was written by Keras CSV",
        ),
        ({"status": "crashed"}, "alpha crashed; to resume it: press R"),
        ({"status": "completed"}, "accepts no commands"),
        ({"status": "idle"}, "has not started yet"),
    ],
)
def test_refusals(changed: dict[str, str], messages: str) -> None:
    run = replace(RUN, **changed)  # type: ignore[arg-type]
    assert messages in (commands.refusal(run, "R") or "")


def test_a_live_run_is_not_refused() -> None:
    assert commands.refusal(RUN, "R") is None
    assert commands.refusal(None, "R") == "no run is selected"


class Supervisor:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None:
        self.calls.append(f"start {folder.path.name}")

    def attach(self, folder: RunFolder) -> None:
        self.calls.append(f"attach {folder.path.name}")

    def stop_watching(self) -> None: ...


def test_a_stale_snapshot_does_not_bring_an_engine_back() -> None:
    supervisor = Supervisor()
    fleet = Engines(supervisor, None)
    fleet.attach_to_live([RUN, replace(RUN, path=Path("/runs/b"), status="completed")])
    fleet.attach_to_live([RUN])
    fleet.ended(EngineEnd(RUN.path, "crashed", "gone", None))
    fleet.attach_to_live([RUN])
    assert supervisor.calls == ["attach a"]
    fleet.attach_to_live([replace(RUN, updated_at=4e9)])  # started again, by whomever
    assert supervisor.calls == ["attach a", "attach a"]
    fleet.start(RunFolder(Path("/runs/c")))
    assert supervisor.calls[-1] == "start c"


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((80, 24), {"-narrow", "-short", "-low"}),
        ((120, 40), set()),
        ((120, 30), {"-low"}),
        ((200, 60), {"-large"}),
        ((80, 60), {"-narrow"}),
    ],
)
def test_layouts(size: tuple[int, int], wanted: set[str]) -> None:
    assert {name for name, on in layout_classes(*size).items() if on} == wanted


@given(st.integers(1, 200))
def test_hints_fit_and_keep_their_order(width: int) -> None:
    hints = tuple(Hint("k" * (n % 3 + 1), "word" * (n % 2 + 1), "x", 20 - n) for n in range(20))
    shown = fitting(hints, width)
    assert sum(len(h.key) + len(h.label) + 1 for h in shown) + 2 * max(0, len(shown) - 1) <= width
    assert shown == sorted(shown, key=hints.index)
    assert not shown or shown[-1] is hints[-1]  # the most important one stays longest


GPU = GpuSample(
    index=0, name="H200", utilisation=93.0, memory_used=41 * 2**30, memory_total=139 * 2**30,
    temperature=61.0,
)  # fmt: skip


@pytest.mark.parametrize("width", [20, 38, 80, 200])
@pytest.mark.parametrize("height", [1, 8, 30])
@pytest.mark.parametrize("gpus", [[], [GPU], [GpuSample(index=3)], [GPU] * 8])
def test_hardware_panel_keeps_its_width(width: int, height: int, gpus: list[GpuSample]) -> None:
    facts = hardware_summary([HardwareSample(time=0.0, cpu_percent=99.9, gpus=gpus)] * 30)
    lines = HardwarePanel().draw(facts, width, height).plain.split("\n")
    if width >= 80:
        assert all(cell_len(line) <= width for line in lines)
    if not gpus:
        assert any("not available" in line for line in lines)


def test_each_missing_value_is_marked() -> None:
    facts = hardware_summary([HardwareSample(time=0.0, gpus=[GpuSample(index=0, utilisation=5.0)])])
    shown = HardwarePanel().draw(facts, 40, 20).plain
    assert "5 %" in shown and shown.count("–") >= 3


def test_an_ended_run_has_no_remaining_time() -> None:
    view = RunView(replace(RUN, status="failed"))
    assert progress_of(view).remaining == "–"
    assert progress_of(RunView(RUN)).remaining == "13:31"
    line = ProgressPanel().draw(progress_of(RunView(RUN)), 80, 1)
    assert line.cell_length <= 80 and "1,420 / 3,000" in line.plain and "47 %" in line.plain


def test_the_speed_the_share_of_the_epoch_and_the_time_of_the_end_are_shown() -> None:
    columns = {
        "step": np.arange(1.0, 101.0), "epoch": np.arange(1, 101) / 80,
        "examples": np.full(100, 8.0), "step_time_ms": np.full(100, 250.0),
    }  # fmt: skip
    view = RunView(RUN, train=MetricTable(columns))
    facts = progress_of(view, now=1_000_000.0)
    assert facts.samples == "32" and facts.epoch == "1.25 (25 %)"
    assert facts.end == formats.clock(1_000_000.0 + (RUN.eta_seconds or 0), with_seconds=False)
    text = ProgressPanel().draw(facts, 40, 7).plain
    assert len(text.split("\n")) == 7 and f"ends {facts.end}" in text and "smp/s  32" in text
    note = "320 of 1,000 examples evaluated, 41/s, loss so far 1.23, 16 s left"
    evaluating = RunView(replace(RUN, status="evaluating", message=note), train=view.train)
    lines = ProgressPanel().draw(progress_of(evaluating), 40, 7).plain.split("\n")
    assert len(lines) == 7 and " ".join(line.strip() for line in lines[4:6]) == note
    line = ProgressPanel().draw(facts, 80, 1)
    assert line.cell_length <= 80 and "smp/s 32" in line.plain and "47 %" in line.plain
    line = ProgressPanel().draw(progress_of(evaluating), 80, 1)
    assert line.cell_length <= 80 and line.plain.strip() == f"evaluating  {note}"
    days = progress_of(RunView(replace(RUN, eta_seconds=200_000.0)), now=0.0)
    assert days.end.endswith(" +2 d")
    assert progress_of(RunView(replace(RUN, status="paused"))).end == ""
    assert progress_of(RunView(replace(RUN, status="completed"))).end == ""


def test_events_show_the_newest_and_clean_them() -> None:
    events = tuple(Event(time=0.0, step=n, kind="error", message=f"{NASTY}{n}") for n in range(9))
    view = RunView(RUN, events=events, warnings=("a torn line",))
    entries = entries_of(view)
    assert entries[0].message == "a torn line"
    shown = EventsLog().draw(entries, 80, 4).plain
    assert shown.split("\n")[-1].endswith("8") and "\x1b" not in shown
    assert len(shown.split("\n")) == 4


def test_outcomes() -> None:
    make: Callable[..., RunView] = lambda **c: RunView(replace(RUN, **c), log_tail=("last",))  # noqa: E731
    assert outcome_of(RunView(RUN), "R").status == ""
    assert outcome_of(make(status="crashed"), "R resumes").hint == "R resumes"
    assert outcome_of(make(status="crashed"), "R", "d").message.endswith("; d shows its log")
    assert "/runs/a/adapter" in outcome_of(make(status="completed"), "R").adapter
    reported = make(status="completed", message="the adapter is in /runs/a/adapter")
    assert outcome_of(reported, "R").adapter == ""


def test_plain_characters_keep_their_width() -> None:
    for character in "━─│◆·…▇⠿界":
        assert ascii_fallback.to_ascii(character).isascii()
        assert len(ascii_fallback.to_ascii(character)) == cell_len(character)
    line = ascii_fallback.AsciiFallback().apply([Segment("a"), Segment("◆·")], Color(0, 0, 0))
    assert "".join(segment.text for segment in line) == "ao."


def test_rates_that_can_be_set() -> None:
    assert parse_rate(" 2e-4 ") == 2e-4
    assert [parse_rate(t) for t in ("", "x", "0", "-1", "nan", "inf")] == [None] * 6


def test_a_lost_terminal_is_noticed() -> None:
    master, slave = os.openpty()
    try:
        assert not terminal_guard.is_gone(slave)
        os.close(master)
        assert terminal_guard.is_gone(slave)
    finally:
        os.close(slave)
