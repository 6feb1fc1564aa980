"""Somebody is told of a run without a screen, and tries whether it works."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.test_headless import DRIVER, Shell, wait_until
from tests.notify.conftest import Server, answer
from tui_trainer.cli.main import root
from tui_trainer.store import paths

# A hang is known as soon as the advisor's own limit allows, and nobody waits long.
QUICK = """
from tui_trainer.cli.common import notifications
from tui_trainer.watch.runs import hang_detector
hang_detector.LEAST_SECONDS = 0.1
notifications.CHECK_SECONDS = 0.1
notifications.QUIET_SECONDS, notifications.FLUSH_SECONDS = 0.1, {flush}
"""
TRAINS = "for step in range(1, 13): row(step)\nsay('training', 12)\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    made = Server(answer(200))
    yield made
    made.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Shell]]:
    opened: list[Shell] = []

    def make(flush: float = 60.0) -> Shell:
        quick = QUICK.format(flush=flush) + DRIVER
        monkeypatch.setattr("tests.cli.test_headless.DRIVER", quick)
        opened.append(Shell(tmp_path))
        return opened[-1]

    yield make
    for one in opened:
        for folder in one.runs():
            state = folder.state()
            if state is not None and state.pid is not None and folder.status() == "training":
                os.kill(state.pid, signal.SIGKILL)
        one.process.kill()
        one.process.wait()


def configure(**settings: object) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    paths.config_file().write_text("\n".join(["[notify]", *lines]) + "\n")


def reported(server: Server) -> list[str]:
    every = [one for got in server.got for one in (got, *got["also"])]
    return [one["kind"] for one in every]


@pytest.mark.slow
def test_a_hang_and_a_crash_are_notified_without_a_screen(
    shell: Callable[..., Shell], server: Server
) -> None:
    configure(webhook=server.address, min_seconds=0)
    one = shell()
    one.train(TRAINS + "time.sleep(600)")
    pid = one.engine_pid()
    wait_until(lambda: reported(server) == ["hang"])
    os.kill(pid, signal.SIGSTOP)  # a process that is stopped is alive
    time.sleep(0.3)
    assert reported(server) == ["hang"]
    os.kill(pid, signal.SIGKILL)
    status, _, err = one.ends()
    assert status == 1
    assert reported(server) == ["hang", "crash"]
    hang, crash = server.got
    assert "No step has finished for 1 s since step 12" in hang["text"]
    assert "killed by SIGKILL" in crash["text"]
    assert "resume it with: tui-trainer resume" in crash["text"]
    assert crash["path"] == str(one.runs()[0].path.absolute())
    assert err.count("job may hang: No step has finished for 1 s since step 12") == 1
    assert "notify:" not in err


def test_the_end_is_notified_before_the_command_returns(
    shell: Callable[..., Shell], server: Server
) -> None:
    configure(webhook=server.address, on=["finish"])
    one = shell()
    one.train(TRAINS + "say('completed', 40, 'completed 40 steps')")
    status, _, _ = one.ends()
    assert status == 0
    assert reported(server) == ["finish"]
    assert server.got[0]["text"] == "job completed 40 steps"


def test_a_dead_webhook_is_reported_and_changes_nothing(shell: Callable[..., Shell]) -> None:
    configure(webhook="http://127.0.0.1:1/hook/s3cret", webhook_retries=0)
    one = shell()
    one.train(TRAINS + "say('completed', 40, 'completed 40 steps')")
    status, out, err = one.ends()
    assert (status, out) == (0, "")
    assert err.count("warning: notify: webhook: http://127.0.0.1:1/… cannot be reached") == 1
    assert "s3cret" not in err
    assert "Traceback" not in err


def test_a_webhook_that_hangs_keeps_nobody(shell: Callable[..., Shell], server: Server) -> None:

    def never(_: object) -> None:
        server.over.wait(600)

    slow = Server(never)
    configure(webhook=slow.address, webhook_seconds=100)
    one = shell(flush=0.2)
    one.train(TRAINS + "say('completed', 40, 'completed 40 steps')")
    status, _, err = one.ends()
    assert status == 0
    assert "a notification is still being sent; press Ctrl-C to exit without waiting" in err
    slow.close()


def test_each_channel_is_tried_and_reported(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "told"
    configure(webhook=server.address, command=f"cp /dev/stdin {shlex.quote(str(file))}")
    done = CliRunner().invoke(root, ["notify", "test", "--json"], standalone_mode=False)
    assert done.return_value == 0, done.output
    ways = {way["way"]: way["worked"] for way in json.loads(done.stdout)["ways"]}
    assert (ways["webhook"], ways["command"]) == (True, True)
    assert json.loads(file.read_bytes())["kind"] == reported(server)[0] == "test"


def test_a_failing_channel_is_reported_and_the_others_are_tried(tmp_path: Path) -> None:
    configure(webhook="http://127.0.0.1:1/s3cret", webhook_retries=0, command="true")
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "notify", "test"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    assert "webhook   FAILED: http://127.0.0.1:1/… cannot be reached" in done.stdout
    assert "command   sent: finished after" in done.stdout
    assert "terminal  not used: standard error is not a terminal" in done.stdout


def test_a_terminal_is_rung_and_shows_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "notify", "test"],
        stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=False, cwd=tmp_path,
        env={**os.environ, "TERM": "foot", "TMUX": "", "TERM_PROGRAM": "", "KITTY_WINDOW_ID": ""},
    )  # fmt: skip
    os.close(theirs)
    written = os.read(ours, 65_536)
    os.close(ours)
    assert done.returncode == 0
    assert written.startswith(b"\x07\x1b]777;notify;test;This is a test from ")
    assert "terminal  sent: the bell and OSC 777" in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('webhook = "hooks.example.org/s3cret"', "webhook is not an address such as https://"),
        ('command = "say \'hi"', "command cannot be split into words"),
        ('on = ["crsh"]', "notify.on[0]"),
        ('bel = true', "did you mean notify.bell?"),
        ("min_seconds = -1", "notify.min_seconds"),
        ("min_seconds = nan", "notify.min_seconds"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_one_sentence(line: str, expected: str, tmp_path: Path) -> None:
    paths.config_file().write_text(f"[notify]\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "notify", "test"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done
    assert expected in done.stderr
    assert "s3cret" not in done.stderr
