"""The watcher's thread: what it tells, when, and that it tells nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.contracts.run import RunInfo, RunState
from tui_trainer.store import atomic
from tui_trainer.watch import run as run_module
from tui_trainer.watch.folder import FolderWatcher
from tui_trainer.watch.notify import Notifier
from tui_trainer.watch.run import RunReader
from tui_trainer.watch.tail import Tail
from tui_trainer.watch.view import FolderView, RunView

POLL = 0.05
NEVER = 3600.0
PATIENCE = 20.0


class Sink:
    """Collects views and waits for one that fits."""

    def __init__(self) -> None:
        self.views: list[FolderView] = []
        self._changed = threading.Condition()

    def __call__(self, view: FolderView) -> None:
        with self._changed:
            self.views.append(view)
            self._changed.notify_all()

    def wait(self, fits: Callable[[FolderView], bool]) -> FolderView:
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not (self.views and fits(self.views[-1])):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    pytest.fail(f"never told; last: {self.views[-1:]}")
            return self.views[-1]


@contextmanager
def watching(root: Path, poll: float = POLL) -> Iterator[tuple[FolderWatcher, Sink]]:
    sink = Sink()
    watcher = FolderWatcher(root, sink, poll_seconds=poll, look_seconds=poll)
    watcher.start()
    try:
        yield watcher, sink
    finally:
        watcher.stop()


def make_run(folder: Path, created: float = 1000.0, state: str = "completed", **more: Any) -> Path:
    folder.mkdir(parents=True)
    info = RunInfo(
        id=folder.name, name=folder.name, created_at=created,
        job=Job(data=DataSettings(train="t.jsonl")), base_model="builtin", base_path=None,
        base_hash=None, data_hash="h", data_files={}, versions={}, host=socket.gethostname(),
        seed=1,
    )  # fmt: skip
    set_state(folder, state, **more)
    atomic.write_json(folder / "run.json", info)
    return folder


def set_state(folder: Path, state: str, **more: Any) -> None:
    me = psutil.Process()
    known = {"pid": me.pid, "pid_created": me.create_time(), "host": socket.gethostname()}
    record = msgspec.convert({"state": state, **known, **more}, RunState)
    atomic.write_json(folder / "state.json", record, durable=False)


def add_rows(path: Path, *steps: int) -> None:
    with path.open("a") as file:
        for step in steps:
            file.write(json.dumps({"kind": "train", "step": step, "loss": 10.0 - step}) + "\n")


def focused(view: FolderView) -> RunView:
    assert view.focused is not None
    return view.focused


def is_focused(name: str, rows: int | None = None) -> Callable[[FolderView], bool]:
    def fits(view: FolderView) -> bool:
        run = view.focused
        return (
            run is not None
            and run.summary.path.name == name
            and (rows is None or len(run.train) == rows)
        )

    return fits


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


def test_new_rows_are_told_without_a_poll(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r", state="training")
    add_rows(folder / "metrics.jsonl", 1)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("r", 1))
        for step in range(2, 30):
            add_rows(folder / "metrics.jsonl", step)
        sink.wait(is_focused("r", 29))


def test_a_new_run_is_told_without_a_poll(tmp_path: Path) -> None:
    make_run(tmp_path / "first")
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("first"))
        make_run(tmp_path / "elsewhere" / "second", created=2000.0)
        (tmp_path / "elsewhere" / "second").rename(tmp_path / "second")
        sink.wait(lambda v: [run.name for run in v.runs] == ["second", "first"])


def test_bursts_are_told_together(tmp_path: Path) -> None:
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


def test_a_finished_run_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_rows(make_run(tmp_path / "r") / "metrics.jsonl", 1, 2)
    make_run(tmp_path / "s", created=1.0)
    with watching(tmp_path, poll=0.02) as (watcher, sink):
        sink.wait(lambda v: not v.loading and is_focused("r", 2)(v))
        polls = count_calls(monkeypatch, watcher, "_poll")
        told = len(sink.views)
        wait_for(lambda: polls[0] >= 10)
        assert len(sink.views) == told


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
        assert view.problem == f"{root} does not exist; its runs are shown once it does"
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
    monkeypatch.setattr("tui_trainer.watch.readers.LOADING_SECONDS", 0.0)
    folder = make_run(tmp_path / "r")
    add_rows(folder / "metrics.jsonl", *range(30_000))
    with watching(tmp_path) as (_, sink):
        sink.wait(lambda v: not v.loading and is_focused("r", 30_000)(v))
    lengths = [len(focused(view).train) for view in sink.views if view.loading and view.focused]
    assert len(lengths) > 1 and lengths == sorted(lengths)


def test_without_notices_the_poll_does_the_work_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Notifier, folder: Path) -> Any:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Notifier, "_schedule", fail)
    folder = make_run(tmp_path / "r", state="training")
    with watching(tmp_path) as (_, sink):
        view = sink.wait(is_focused("r"))
        add_rows(folder / "metrics.jsonl", 1)
        view = sink.wait(is_focused("r", 1))
    assert view.oddities == (
        "no notice of changes from the system ([Errno 28] inotify watch limit reached); "
        "files are polled",
    )


def test_trouble_in_one_run_stays_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, created in (("bad", 2.0), ("good", 1.0)):
        add_rows(make_run(tmp_path / name, created) / "metrics.jsonl", 1)
    read = RunReader.read

    def fail(self: RunReader, check_process: bool = True) -> tuple[bool, bool]:
        if self.place.name == "bad":
            raise ZeroDivisionError("a bug")
        return read(self, check_process)

    monkeypatch.setattr(run_module.RunReader, "read", fail)
    with watching(tmp_path) as (watcher, sink):
        view = sink.wait(lambda v: bool(v.oddities) and not v.loading)
        assert view.oddities == ("bad: ZeroDivisionError: a bug",)
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
        told = len(sink.views)
        add_rows(folder / "metrics.jsonl", 1)
        watcher.refresh()
        assert len(sink.views) == told
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
        "import sys, tui_trainer.watch.folder;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'textual', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_reading_does_not_wake_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "r", state="training")
    add_rows(folder / "metrics.jsonl", 1)
    with watching(tmp_path, poll=NEVER) as (watcher, sink):
        sink.wait(is_focused("r", 1))
        turns = count_calls(monkeypatch, watcher, "_turn")
        for _ in range(20):
            (folder / "metrics.jsonl").read_bytes()
            list(folder.iterdir())
        add_rows(folder / "metrics.jsonl", 2)
        sink.wait(is_focused("r", 2))
        assert turns[0] <= 3


def test_further_runs_are_read_whole_beside_the_focused_one(tmp_path: Path) -> None:
    for name, created in (("a", 3.0), ("b", 2.0), ("c", 1.0)):
        add_rows(make_run(tmp_path / name, created) / "metrics.jsonl", *range(5))
    with watching(tmp_path, poll=NEVER) as (watcher, sink):
        sink.wait(is_focused("a", 5))
        watcher.also([tmp_path / "c", tmp_path / "a", tmp_path / "not-there", tmp_path / "b"])
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
        watcher.also([])
        sink.wait(lambda v: v.others == ())


def test_at_most_eight_others_are_read(tmp_path: Path) -> None:
    for index in range(11):
        add_rows(make_run(tmp_path / f"r{index:02}", float(index)) / "metrics.jsonl", 1, 2)
    with watching(tmp_path) as (watcher, sink):
        watcher.also(tmp_path / f"r{index:02}" for index in range(11))
        view = sink.wait(lambda v: not v.loading and len(v.others) == 8)
    assert all(len(other.train) == 2 for other in view.others)


def test_the_focused_run_is_told_while_the_others_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.watch.readers.OTHERS_SECONDS", 0.0)
    poll = Tail.poll
    monkeypatch.setattr(Tail, "poll", lambda tail, limit=1024: poll(tail, 1024))
    for name, rows in (("small", 3), ("big", 2000), ("other", 2000)):
        add_rows(make_run(tmp_path / name, float(-rows)) / "metrics.jsonl", *range(rows))
    with watching(tmp_path) as (watcher, sink):
        watcher.also([tmp_path / "big", tmp_path / "other"])
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
    monkeypatch.setattr(Notifier, "_pass_on", lambda self, event: None)
    folder = make_run(tmp_path / "r", state="training")
    sink = Sink()
    watcher = FolderWatcher(tmp_path, sink, poll_seconds=NEVER, look_seconds=0.02)
    watcher.start()
    try:
        sink.wait(is_focused("r"))
        add_rows(folder / "metrics.jsonl", 1)
        view = sink.wait(is_focused("r", 1))
    finally:
        watcher.stop()
    assert view.oddities == ()


def test_the_usual_look_and_poll_keep_within_two_seconds() -> None:
    watcher = FolderWatcher(Path("nowhere"), lambda view: None)
    assert watcher._look_seconds <= 1.0
    assert watcher._poll_seconds <= 1.5


def test_a_new_run_deep_below_is_found_by_the_poll(tmp_path: Path) -> None:
    (tmp_path / "team" / "project").mkdir(parents=True)
    with watching(tmp_path) as (_, sink):
        sink.wait(lambda v: not v.loading)
        make_run(tmp_path / "team" / "project" / "r")
        sink.wait(is_focused("r"))
        make_run(tmp_path / "new" / "deep" / "s", created=9000.0)
        sink.wait(is_focused("s"))


def test_progress_of_the_list_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.watch.folder._BUDGET_SECONDS", 0.0)
    for index in range(6):
        add_rows(make_run(tmp_path / f"r{index}", float(index)) / "metrics.jsonl", 1)
    with watching(tmp_path) as (_, sink):
        view = sink.wait(lambda v: not v.loading and v.read == 6)
    progress = [view.read for view in sink.views if len(view.runs) == 6]
    assert progress == sorted(progress) and progress[0] < 6
    assert [run.loss for run in view.runs] == [9.0] * 6
