"""The watcher's thread: what it tells, when, and that it tells nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.watch.folders import (
    NEVER,
    PATIENCE,
    POLL,
    Sink,
    add_rows,
    focused,
    is_focused,
    make_run,
    set_state,
    watching,
)
from tui_trainer.watch.file_events import FileEvents
from tui_trainer.watch.folder_watcher import FolderWatcher
from tui_trainer.watch.snapshots import FolderView
from tui_trainer.watch.tables.metrics_file import MetricsFile


def test_runs_are_listed_newest_first_and_the_newest_is_focused(tmp_path: Path) -> None:
    for index, name in enumerate(["old", "new", "middle"]):
        folder = make_run(tmp_path / name, created=[1.0, 3.0, 2.0][index], step=5)
        add_rows(folder / "metrics.jsonl", 1, 2)
    with watching(tmp_path) as (_, sink):
        view = sink.wait(lambda v: not v.loading and len(v.runs) == 3 and v.runs[2].loss == 8.0)
    assert [run.name for run in view.runs] == ["new", "middle", "old"]
    assert [run.loss for run in view.runs] == [8.0, 8.0, 8.0]
    assert focused(view).summary == view.runs[0]
    assert view.problem is None


def test_an_active_run_is_focused_before_a_newer_one(tmp_path: Path) -> None:
    make_run(tmp_path / "live", created=1.0, state="training")
    make_run(tmp_path / "done", created=2.0)
    with watching(tmp_path) as (_, sink):
        sink.wait(is_focused("live"))
        set_state(tmp_path / "live", "completed")
        sink.wait(is_focused("done"))


def test_new_rows_are_reported_without_a_poll(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", state="training")
    add_rows(folder / "metrics.jsonl", 1)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("r", 1))
        for step in range(2, 30):
            add_rows(folder / "metrics.jsonl", step)
        sink.wait(is_focused("r", 29))


def test_a_new_run_is_reported_without_a_poll(tmp_path: Path) -> None:
    make_run(tmp_path / "first")
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("first"))
        make_run(tmp_path / "elsewhere" / "second", created=2000.0)
        (tmp_path / "elsewhere" / "second").rename(tmp_path / "second")
        sink.wait(lambda v: [run.name for run in v.runs] == ["second", "first"])


def test_bursts_are_reported_together(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", state="training")
    add_rows(folder / "metrics.jsonl", 1)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("r", 1))
        before = len(sink.views)
        begun = time.monotonic()
        with (folder / "metrics.jsonl").open("ab", buffering=0) as file:
            for step in range(2, 1002):
                file.write(b'{"kind":"train","step":%d,"loss":1.0}\n' % step)
        sink.wait(is_focused("r", 1001))
        spent = time.monotonic() - begun
        assert len(sink.views) - before <= spent / 0.02 + 2


def test_a_finished_run_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_rows(make_run(tmp_path / "r") / "metrics.jsonl", 1, 2)
    make_run(tmp_path / "s", created=1.0)
    with watching(tmp_path, poll=0.02) as (watcher, sink):
        sink.wait(is_focused("r", 2))
        sink.wait(lambda v: not v.loading and focused(v).advice_computed)
        polls = count_calls(monkeypatch, watcher, "_poll")
        reported = len(sink.views)
        wait_for(lambda: polls[0] >= 10)
        assert len(sink.views) == reported


def count_calls(monkeypatch: pytest.MonkeyPatch, target: object, name: str) -> list[int]:
    calls, original = [0], getattr(target, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, counted)
    return calls


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.005)


def test_a_crash_is_noticed_though_no_file_changes(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = psutil.Process(process.pid).create_time()
    for name in ("focused", "other"):
        stamp = 2.0 if name == "focused" else 1.0
        folder = make_run(tmp_path / name, stamp, "training", pid=process.pid, pid_created=created)
        (folder / "engine.log").write_text("last words\n")
    with watching(tmp_path) as (_, sink):
        sink.wait(lambda v: [run.status for run in v.runs] == ["training", "training"])
        process.kill()
        process.wait()
        view = sink.wait(lambda v: [run.status for run in v.runs] == ["crashed", "crashed"])
    assert focused(view).log_tail == ("last words",)


def test_the_user_chooses_the_focus(tmp_path: Path) -> None:
    for name, created in (("a", 1.0), ("b", 2.0)):
        add_rows(make_run(tmp_path / name, created) / "metrics.jsonl", 1)
    with watching(tmp_path, poll=NEVER) as (watcher, sink):
        sink.wait(is_focused("b", 1))
        watcher.focus(tmp_path / "a")
        sink.wait(is_focused("a", 1))
        add_rows(tmp_path / "a" / "metrics.jsonl", 2)
        sink.wait(is_focused("a", 2))
        watcher.focus(None)
        sink.wait(is_focused("b", 1))


def test_a_focus_that_is_not_there_yet_is_remembered(tmp_path: Path) -> None:
    make_run(tmp_path / "old", created=9000.0, state="training")
    with watching(tmp_path) as (watcher, sink):
        watcher.focus(tmp_path / "coming")
        sink.wait(is_focused("old"))
        make_run(tmp_path / "coming")
        sink.wait(is_focused("coming"))


def test_a_folder_that_appears_later_is_picked_up(tmp_path: Path) -> None:
    root = tmp_path / "later"
    with watching(root) as (_, sink):
        view = sink.wait(lambda v: v.problem is not None)
        assert view.problem == f"{root} does not exist; its runs appear once it is created"
        make_run(root / "r")
        view = sink.wait(is_focused("r"))
        assert view.problem is None


def test_a_run_folder_and_a_file_as_the_root(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r")
    add_rows(folder / "metrics.jsonl", 1, 2)
    with watching(folder) as (_, sink):
        assert len(sink.wait(is_focused("r", 2)).runs) == 1
    with watching(folder / "metrics.jsonl", poll=NEVER) as (_, sink):
        sink.wait(is_focused("metrics.jsonl", 2))
        add_rows(folder / "metrics.jsonl", 3)
        sink.wait(is_focused("metrics.jsonl", 3))


def test_a_removed_run_leaves_the_list(tmp_path: Path) -> None:
    make_run(tmp_path / "a", created=1.0)
    gone = make_run(tmp_path / "b", created=2.0)
    with watching(tmp_path) as (_, sink):
        sink.wait(is_focused("b"))
        for file in gone.iterdir():
            file.unlink()
        gone.rmdir()
        assert len(sink.wait(is_focused("a")).runs) == 1


def test_a_long_run_grows_while_it_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.watch.runs.reader_pool.LOADING_SECONDS", 0.0)
    folder = make_run(tmp_path / "r")
    add_rows(folder / "metrics.jsonl", *range(30_000))
    with watching(tmp_path) as (_, sink):
        sink.wait(lambda v: not v.loading and is_focused("r", 30_000)(v))
    lengths = [len(focused(view).train) for view in sink.views if view.loading and view.focused]
    assert len(lengths) > 1 and lengths == sorted(lengths)


def test_without_notices_the_poll_does_the_work_and_it_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileEvents, folder: Path) -> Any:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(FileEvents, "_schedule", fail)
    folder = make_run(tmp_path / "r", state="training")
    with watching(tmp_path) as (_, sink):
        view = sink.wait(is_focused("r"))
        add_rows(folder / "metrics.jsonl", 1)
        view = sink.wait(is_focused("r", 1))
    assert view.warnings == (
        "the system gives no notice of file changes ([Errno 28] inotify watch limit reached); "
        "files are polled",
    )


def test_a_problem_in_one_run_stays_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, created in (("bad", 2.0), ("good", 1.0)):
        add_rows(make_run(tmp_path / name, created) / "metrics.jsonl", 1)
    read = MetricsFile.read

    def fail(self: MetricsFile) -> tuple[bool, bool]:
        if self.path.parent.name == "bad":
            raise ZeroDivisionError("a bug")
        return read(self)

    monkeypatch.setattr(MetricsFile, "read", fail)
    with watching(tmp_path) as (watcher, sink):
        view = sink.wait(lambda v: bool(v.warnings) and not v.loading)
        assert view.warnings == ("run bad: cannot be read: ZeroDivisionError: a bug",)
        (row,) = [run for run in view.runs if run.name == "bad"]
        assert row.problem == "cannot be read: ZeroDivisionError: a bug"
        assert focused(view).warnings[0] == row.problem
        watcher.focus(tmp_path / "good")
        sink.wait(is_focused("good", 1))


def test_a_listener_that_fails_does_not_end_the_watching(tmp_path: Path) -> None:
    sink = Sink()

    def fail_first(view: FolderView) -> None:
        sink(view)
        if len(sink.views) == 1:
            raise RuntimeError("a bug in the screen")

    folder = make_run(tmp_path / "r", state="training")
    watcher = FolderWatcher(tmp_path, fail_first, poll_seconds=POLL)
    watcher.start()
    try:
        sink.wait(is_focused("r"))
        add_rows(folder / "metrics.jsonl", 1)
        sink.wait(is_focused("r", 1))
    finally:
        watcher.stop()


def test_stopping_ends_every_thread_and_every_telling(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    folder = make_run(tmp_path / "r", state="training")
    with watching(tmp_path) as (watcher, sink):
        sink.wait(is_focused("r"))
        watcher.stop()
        reported = len(sink.views)
        add_rows(folder / "metrics.jsonl", 1)
        watcher.refresh()
        assert len(sink.views) == reported
    assert set(threading.enumerate()) <= before
    FolderWatcher(tmp_path, sink).stop()  # never started


def test_it_may_be_stopped_from_its_own_listener(tmp_path: Path) -> None:
    stopped = threading.Event()

    def stop_at_once(_: FolderView) -> None:
        watcher.stop()
        stopped.set()

    watcher = FolderWatcher(tmp_path, stop_at_once, poll_seconds=POLL)
    watcher.start()
    assert stopped.wait(PATIENCE)
    watcher.stop()


def test_refresh_looks_at_once(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with watching(tmp_path, poll=NEVER) as (watcher, sink):
        sink.wait(lambda v: not v.loading)
        make_run(tmp_path / "deep" / "r")
        watcher.refresh()
        sink.wait(is_focused("r"))


def test_two_hundred_runs_are_all_listed(tmp_path: Path) -> None:
    for index in range(200):
        folder = make_run(tmp_path / f"r{index:03}", created=float(index))
        add_rows(folder / "metrics.jsonl", index + 1)
    with watching(tmp_path) as (_, sink):
        view = sink.wait(lambda v: not v.loading and len(v.runs) == 200)
    assert [run.name for run in view.runs] == [f"r{index:03}" for index in range(199, -1, -1)]
    assert [run.loss for run in view.runs] == [9.0 - index for index in range(199, -1, -1)]


def test_the_watcher_imports_neither_torch_nor_textual() -> None:
    script = (
        "import sys, tui_trainer.watch.folder_watcher;"
        "heavy = ('torch', 'textual', 'transformers', 'yaml');"
        "sys.exit(any(name in sys.modules for name in heavy))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_reading_does_not_wake_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "r", state="training")
    add_rows(folder / "metrics.jsonl", 1)
    with watching(tmp_path, poll=NEVER) as (watcher, sink):
        sink.wait(is_focused("r", 1))
        turns = count_calls(monkeypatch, watcher, "_round")
        for _ in range(20):
            (folder / "metrics.jsonl").read_bytes()
            list(folder.iterdir())
        add_rows(folder / "metrics.jsonl", 2)
        sink.wait(is_focused("r", 2))
        assert turns[0] <= 3
