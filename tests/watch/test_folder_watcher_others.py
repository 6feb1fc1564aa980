"""The watcher beside the focused run: others read whole, slow disks, rows of long runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.watch.folders import (
    NEVER,
    Sink,
    add_rows,
    focused,
    is_focused,
    make_run,
    watching,
)
from tui_trainer.watch.file_events import FileEvents
from tui_trainer.watch.folder_watcher import FolderWatcher
from tui_trainer.watch.tables.tail import Tail


def test_further_runs_are_read_whole_beside_the_focused_one(tmp_path: Path) -> None:
    for name, created in (("a", 3.0), ("b", 2.0), ("c", 1.0)):
        add_rows(make_run(tmp_path / name, created) / "metrics.jsonl", *range(5))
    with watching(tmp_path, poll=NEVER) as (watcher, sink):
        sink.wait(is_focused("a", 5))
        watcher.watch_others(
            [tmp_path / "c", tmp_path / "a", tmp_path / "not-there", tmp_path / "b"]
        )
        view = sink.wait(lambda v: not v.loading and len(v.others) == 2)
        assert [other.summary.name for other in view.others] == ["c", "b"]
        assert [len(other.train) for other in view.others] == [5, 5]
        add_rows(tmp_path / "b" / "metrics.jsonl", 5)  # others are woken by notices, too
        view = sink.wait(lambda v: [len(other.train) for other in v.others] == [5, 6])
        assert focused(view).summary.name == "a"
        assert view.runs[1].step == view.others[1].summary.step
        watcher.focus(tmp_path / "b")
        view = sink.wait(is_focused("b", 6))
        view = sink.wait(lambda v: [other.summary.name for other in v.others] == ["c", "a"])
        watcher.watch_others([])
        sink.wait(lambda v: v.others == ())


def test_at_most_eight_others_are_read(tmp_path: Path) -> None:
    for index in range(11):
        add_rows(make_run(tmp_path / f"r{index:02}", float(index)) / "metrics.jsonl", 1, 2)
    with watching(tmp_path) as (watcher, sink):
        watcher.watch_others(tmp_path / f"r{index:02}" for index in range(11))
        view = sink.wait(lambda v: not v.loading and len(v.others) == 8)
    assert all(len(other.train) == 2 for other in view.others)


def test_the_focused_run_is_reported_while_the_others_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.watch.runs.reader_pool.OTHERS_SECONDS", 0.0)
    poll = Tail.poll
    monkeypatch.setattr(Tail, "poll", lambda tail, limit=1024: poll(tail, 1024))
    for name, rows in (("small", 3), ("big", 2000), ("other", 2000)):
        add_rows(make_run(tmp_path / name, float(-rows)) / "metrics.jsonl", *range(rows))
    with watching(tmp_path) as (watcher, sink):
        watcher.watch_others([tmp_path / "big", tmp_path / "other"])
        sink.wait(lambda v: not v.loading and [len(o.train) for o in v.others] == [2000, 2000])
    partly = [view for view in sink.views if view.others and view.loading]
    assert any(
        is_focused("small", 3)(view) and 0 < len(view.others[0].train) < 2000 for view in partly
    )
    # Neither waits for the other to be done.
    assert any(0 < len(view.others[1].train) < 2000 for view in partly if len(view.others[0].train))


def test_where_no_notice_comes_the_focused_run_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system: watching it succeeds, and nothing is ever said."""
    monkeypatch.setattr(FileEvents, "_forward", lambda self, event: None)
    folder = make_run(tmp_path / "r", state="training")
    sink = Sink()
    watcher = FolderWatcher(tmp_path, sink, poll_seconds=NEVER, check_seconds=0.02)
    watcher.start()
    try:
        sink.wait(is_focused("r"))
        add_rows(folder / "metrics.jsonl", 1)
        view = sink.wait(is_focused("r", 1))
    finally:
        watcher.stop()
    assert view.warnings == ()


def test_the_usual_look_and_poll_keep_within_two_seconds() -> None:
    watcher = FolderWatcher(Path("nowhere"), lambda view: None)
    assert watcher._check_seconds <= 1.0
    assert watcher._poll_seconds <= 1.5


def test_a_new_run_deep_below_is_found_by_the_poll(tmp_path: Path) -> None:
    (tmp_path / "team" / "project").mkdir(parents=True)
    with watching(tmp_path) as (_, sink):
        sink.wait(lambda v: not v.loading)
        make_run(tmp_path / "team" / "project" / "r")
        sink.wait(is_focused("r"))
        make_run(tmp_path / "new" / "deep" / "s", created=9000.0)
        sink.wait(is_focused("s"))


def test_progress_of_the_list_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.watch.folder_watcher._BUDGET_SECONDS", 0.0)
    for index in range(6):
        add_rows(make_run(tmp_path / f"r{index}", float(index)) / "metrics.jsonl", 1)
    with watching(tmp_path) as (_, sink):
        view = sink.wait(lambda v: not v.loading and v.read == 6)
    progress = [view.read for view in sink.views if len(view.runs) == 6]
    assert progress == sorted(progress) and progress[0] < 6
    assert [run.loss for run in view.runs] == [9.0] * 6


def test_a_long_run_that_ended_is_known_whole_without_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list says the least loss of each, though a look finds no more than its last."""
    monkeypatch.setattr("tui_trainer.watch.runs.run_summary._WHOLE_BYTES", 1024)
    monkeypatch.setattr("tui_trainer.watch.runs.run_summary._END_BYTES", 512)
    for name, created in (("small", 3.0), ("long", 2.0), ("longer", 1.0)):
        folder = make_run(tmp_path / name, created)
        add_rows(folder / "metrics.jsonl", *range(3), *range(3, 3 if name == "small" else 200))
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"kind": "train", "step": 200, "loss": 50.0}\n')
    live = make_run(tmp_path / "live", 0.5, state="training")
    add_rows(live / "metrics.jsonl", *range(200))
    with watching(tmp_path, focus=tmp_path / "small") as (_, sink):
        view = sink.wait(lambda v: len([run for run in v.runs if run.best_loss is not None]) == 3)
    found = {run.name: (run.loss, run.best_loss, len(run.spark)) for run in view.runs}
    assert found["long"] == found["longer"] == (50.0, -189.0, 24)
    assert found["live"][1] is None  # it would be read again and again
