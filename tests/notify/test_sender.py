"""Every channel sends every notice, once, and delays neither another channel nor the caller."""

from __future__ import annotations

import multiprocessing
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.notify.conftest import Server, answer
from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify.sender import Channel, Sender, open_channels
from tui_trainer.store.runs import sent_notices
from tui_trainer.store.runs.run_folder import RunFolder

Make = Callable[..., Sender]


class Fake:
    """A channel that keeps what it was given, and fails with `problem`."""

    def __init__(self, name: str = "fake", shared: str | None = None) -> None:
        self.name, self.shared = name, shared
        self.sent: list[Notice] = []
        self.problem: str | None = None
        self.hold: threading.Event | None = None

    def send(self, notice: Notice) -> str | None:
        if self.hold is not None:
            self.hold.wait(60)
        self.sent.append(notice)
        return self.problem


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def make(problems: list[str]) -> Iterator[Make]:
    made: list[Sender] = []

    def sender(*channels: Channel, gap: float = 0.0) -> Sender:
        settings = NotifySettings(min_seconds=gap)
        made.append(
            Sender(channels, settings, claim=sent_notices.claim, on_problem=problems.append)
        )
        return made[-1]

    yield sender
    for one in made:
        one.close()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.info_file.write_text("{}")
    return folder


def notice(key: str = "finish-1", path: Path | str = "", text: str = "done") -> Notice:
    return Notice(kind="finish", key=key, time=0.0, title="t", text=text, path=str(path))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def test_a_slow_channel_delays_neither_the_caller_nor_the_others(make: Make) -> None:
    slow, quick = Fake("slow"), Fake("quick")
    slow.hold = threading.Event()
    sender = make(slow, quick)
    sender.send([notice("a")])
    wait_until(lambda: len(quick.sent) == 1)
    assert not slow.sent
    assert not sender.flush(0.05), "it waits so long, and no longer"
    assert not sender.flush(60.0, stop=lambda: True), "and may be left"
    slow.hold.set()
    assert sender.flush(60.0)
    assert len(slow.sent) == 1


def test_flush_sends_delayed_notices(make: Make) -> None:
    channel = Fake()
    sender = make(channel, gap=3600)
    sender.send([notice("a", text="a")])
    wait_until(lambda: len(channel.sent) == 1)
    sender.send([notice("b", text="b"), notice("c", text="c")])
    assert len(channel.sent) == 1
    assert sender.flush(60.0)
    assert [one.text for one in channel.sent] == ["a", "b · c"]


def test_a_failing_channel_is_reported_once_until_it_works_again(
    make: Make, problems: list[str]
) -> None:
    channel = Fake("webhook")
    sender = make(channel)
    for problem in ("no", "still no", None, "no again"):
        channel.problem = problem
        sender.send([notice()])
        assert sender.flush(60.0)
    wait_until(lambda: len(problems) == 2)
    assert problems == ["notify: webhook: no", "notify: webhook: no again"]


def test_a_channel_that_raises_is_reported(make: Make, problems: list[str]) -> None:
    class Broken(Fake):
        def send(self, notice: Notice) -> str | None:
            raise RuntimeError("boom")

    sender = make(Broken("command"))
    sender.send([notice()])
    assert sender.flush(60.0)
    wait_until(lambda: bool(problems))
    assert problems == ["notify: command: failed unexpectedly: RuntimeError: boom"]


def test_of_two_viewers_one_sends_and_both_ring(make: Make, run: RunFolder) -> None:
    bells, hooks = [Fake("terminal"), Fake("terminal")], [Fake("webhook", "webhook") for _ in "ab"]
    commands = [Fake("command", "command") for _ in "ab"]
    for at in range(2):
        sender = make(bells[at], hooks[at], commands[at])
        sender.send([notice("finish-1", run.path), notice("crash-2", run.path)])
        assert sender.flush(60.0)
    for channels, times in ((hooks, 2), (commands, 2), (bells, 4)):
        sent = [
            one for channel in channels for single in channel.sent for one in (single, *single.also)
        ]
        assert len(sent) == times
    assert run.notices_file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_does_not_prevent_sending(
    make: Make, run: RunFolder, tmp_path: Path
) -> None:
    run.notices_file.mkdir()  # even a superuser cannot write this file
    paths = [run.path, tmp_path / "gone", tmp_path / "loss.csv"]
    for run_path in paths:
        channel = Fake("webhook", "webhook")
        sender = make(channel)
        sender.send([notice("a", run_path)])
        assert sender.flush(60.0)
        assert len(channel.sent) == 1
    assert not (tmp_path / "gone").exists()


def _claim(path: str, results: multiprocessing.Queue[bool]) -> None:
    results.put(sent_notices.claim(notice("crash-1", path), "webhook"))


def test_of_many_processes_at_once_one_may_send(run: RunFolder) -> None:
    run.notices_file.write_text('{"torn')
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    workers = [
        context.Process(target=_claim, args=(str(run.path), results), daemon=True)
        for _ in range(6)
    ]  # fmt: skip
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert sorted(found) == [False] * 5 + [True]
    assert sent_notices.claim(notice("crash-2", run.path), "webhook"), (
        "another thing is another claim"
    )


def test_the_channels_are_those_that_are_set(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(answer(200))
    messages = tmp_path / "said"
    settings = NotifySettings(
        webhook=server.address, command=f"cp /dev/stdin {shlex.quote(str(messages))}"
    )
    written: list[str] = []
    channels = open_channels(settings, {"TERM": "xterm", "PATH": "/nowhere"}, written.append)
    assert [channel.name for channel in channels] == ["terminal", "webhook", "command"]
    problems: list[str] = []
    sender = Sender(channels, settings, claim=sent_notices.claim, on_problem=problems.append)
    sender.send([notice(text="all is done")])
    assert sender.flush(60.0)
    sender.close()
    assert problems == []
    assert server.got[0]["text"] == "all is done"
    assert "all is done" in messages.read_text()
    assert written[0].startswith("\x07\x1b]9;tui-trainer: all is done")
    silent = NotifySettings(bell=False, osc="off", desktop="off")
    assert open_channels(silent, {"TERM": "xterm"}, written.append) == []


def test_a_problem_is_reported_before_flush_returns() -> None:
    reported: list[str] = []

    def report(problem: str) -> None:
        time.sleep(0.3)
        reported.append(problem)

    channel = Fake()
    channel.problem = "is broken"
    sender = Sender([channel], NotifySettings(min_seconds=0), claim=sent_notices.claim,
                    on_problem=report)  # fmt: skip
    sender.send([notice()])
    assert sender.flush(60.0)
    assert reported == ["notify: fake: is broken"]
    sender.close()
