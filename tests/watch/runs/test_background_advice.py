"""Advice on runs without an advisor: part of the watcher's view, and never in its way."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.watch.folders import NEVER, Sink, focused, is_focused, make_run, watching
from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.watch.folder_watcher import FolderWatcher
from tui_trainer.watch.runs import background_advice
from tui_trainer.watch.runs.background_advice import BackgroundAdvice
from tui_trainer.watch.runs.foreign_advice import ForeignAdvice
from tui_trainer.watch.snapshots import FolderView, RunView


def write(path: Path, first: int, last: int, risen_from: int = 1 << 60) -> None:
    with path.open("a") as lines:
        for step in range(first, last):
            wobble = 0.02 * math.sin(step * 12.9898) + 0.01 * math.sin(step * 78.233)
            loss = 1 + 2 * math.exp(-step / 60) + wobble + 1.5 * (step >= risen_from)
            lines.write(json.dumps({"step": step, "train_loss": loss, "lr": 1e-3}) + "\n")


def is_advised(view: FolderView) -> bool:
    return view.focused is not None and view.focused.advice_computed


def kinds(view: FolderView) -> list[str]:
    return [one.kind for one in focused(view).advice or ()]


def whole(sink: Sink, rows: int) -> RunView:
    """The run in the first view that had all of its rows."""
    return focused(next(one for one in sink.views if is_focused("other.jsonl", rows)(one)))


def test_the_run_is_handed_out_first_and_again_with_its_advice(tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", 1, 301, risen_from=201)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        view = sink.wait(is_advised)
        first = whole(sink, 300)
    assert first.advice is None and not first.advice_computed
    assert kinds(view)[-1:] == ["divergence"]
    assert focused(view).train is first.train
    assert len([one for one in sink.views if is_advised(one)]) == 1


def test_advice_follows_a_run_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_advice, "REST_SECONDS", 0.01)
    file = tmp_path / "other.jsonl"
    write(file, 1, 201)
    with watching(tmp_path) as (_, sink):
        assert kinds(sink.wait(is_advised)) == []
        write(file, 201, 301, risen_from=201)
        sink.wait(lambda view: "divergence" in kinds(view))


def test_a_run_with_an_advisor_of_its_own_keeps_its_advice(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mine")
    (folder / "events.jsonl").write_text(
        json.dumps({"time": 0, "step": 0, "kind": "setup", "detail": {"advised": True}}) + "\n"
    )
    write(folder / "metrics.jsonl", 1, 301, risen_from=201)
    advice = BackgroundAdvice(AdvisorSettings())
    with watching(tmp_path) as (_, sink):
        view = focused(sink.wait(is_focused("mine", 300)))
    assert view.advice == () and not view.advice_computed
    assert not advice.wants(view) and advice.complete(view) is view


def test_settings_turn_it_off_and_long_runs_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "other.jsonl", 1, 301, risen_from=201)
    off = AdvisorSettings(enabled=False)
    sink = Sink()
    watcher = FolderWatcher(tmp_path, sink, poll_seconds=0.05, advisor=off)
    watcher.start()
    view = focused(sink.wait(is_focused("other.jsonl", 300)))
    watcher.stop()
    assert view.advice is None
    assert not BackgroundAdvice(off).wants(view)
    assert BackgroundAdvice(AdvisorSettings()).wants(view)
    monkeypatch.setattr(background_advice, "MOST_ROWS", 299)
    assert not BackgroundAdvice(AdvisorSettings()).wants(view)


def test_a_run_that_cannot_be_judged_says_so_and_is_still_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ForeignAdvice, view: RunView) -> None:
        raise RuntimeError("broken rule")

    monkeypatch.setattr(ForeignAdvice, "take", broken)
    write(tmp_path / "other.jsonl", 1, 301)

    def says_so(view: FolderView) -> bool:
        return any("no advice on this run" in one for one in focused(view).oddities)

    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(lambda view: view.focused is not None and says_so(view))
    assert len(focused(sink.views[-1]).train) == 300
    assert focused(sink.views[-1]).advice is None


def test_a_view_stays_the_same_object_until_something_changes(tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", 1, 301, risen_from=201)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("other.jsonl", 300))
        plain = whole(sink, 300)
    advice = BackgroundAdvice(AdvisorSettings())
    assert advice.complete(plain) is plain and advice.wants(plain)
    while not advice.work(plain):
        pass
    assert not advice.wants(plain), "nothing has changed"
    completed = advice.complete(plain)
    assert completed is advice.complete(plain) and completed.advice_computed
    assert completed.advice is not None and completed.advice[-1].kind == "divergence"
