"""Commands of the user's, and the desktop's program: real processes."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify.subprocess_channel import (
    CommandChannel,
    desktop_program,
    find_desktop_channel,
)

NOTICE = Notice(
    kind="hang",
    key="hang-1",
    time=1.0,
    title="lighthouse hangs?",
    text="lighthouse hangs? $(touch gone); `id`\x1b[2J -rf",
    name="lighthouse",
    path="/runs/lighthouse",
    step=12,
)


def command(script: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", script, *arguments])


def test_a_command_gets_the_notice_and_its_arguments(tmp_path: Path) -> None:
    script = (
        "import json, os, sys; print(json.dumps([json.load(sys.stdin), sys.argv[2:],"
        "{k: v for k, v in os.environ.items() if k.startswith('TUI_TRAINER_')}]),"
        "file=open(sys.argv[1], 'w'))"
    )
    file = tmp_path / "sent.json"
    assert (
        CommandChannel(command(script, str(file), "two words", "$HOME"), 30.0).send(NOTICE) is None
    )
    notice, arguments, variables = json.loads(file.read_text())
    assert notice["text"] == NOTICE.text
    assert arguments == ["two words", "$HOME"], "no shell looks at it"
    assert variables["TUI_TRAINER_KIND"] == "hang"
    assert variables["TUI_TRAINER_STEP"] == "12"
    assert variables["TUI_TRAINER_RUN_DIR"] == "/runs/lighthouse"
    assert variables["TUI_TRAINER_TEXT"] == NOTICE.text


def test_a_command_that_fails_gives_the_reason() -> None:
    script = "import sys; sys.exit('no route\\x1b[2J to the pager')"
    problem = CommandChannel(command(script), 30.0).send(NOTICE)
    assert problem is not None
    assert problem.endswith("ended with exit status 1: no route [2J to the pager")


def test_a_missing_command_is_reported() -> None:
    problem = CommandChannel("/no/such/pager --now", 30.0).send(NOTICE)
    assert problem == "pager cannot be started: No such file or directory"


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid} ')\n"
        "time.sleep(600)"
    )
    problem = CommandChannel(command(script, str(pids)), 1.0).send(NOTICE)
    assert problem is not None
    assert "took longer than 1.0 s" in problem
    deadline = time.monotonic() + 60
    while any(_is_running(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < deadline


def test_a_command_may_leave_a_background_process_and_read_nothing() -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '1']).pid)"
    big = Notice(kind="test", key="k", time=0.0, title="t", text="x" * 300_000)
    assert CommandChannel(command(script), 60.0).send(big) is None


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def desktop(tmp_path: Path) -> dict[str, str]:
    """An environment with a desktop whose program writes down what it is shown."""
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {shlex.quote(str(tmp_path))}/shown\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DISPLAY": ":0", "TERM": "xterm-256color"}


def test_the_desktop_shows_a_notice(
    desktop: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    channel = find_desktop_channel(NotifySettings(), desktop)
    assert channel is not None
    assert channel.send(NOTICE) is None
    shown = (tmp_path / "shown").read_text()
    assert shown == (
        "--app-name=tui-trainer|--|tui-trainer: lighthouse hangs?|"
        "lighthouse hangs? $(touch gone); `id` [2J -rf|"
    )
    assert desktop_program({"PATH": desktop["PATH"]}) is None, "no desktop, no program"
    assert find_desktop_channel(NotifySettings(desktop="off"), desktop) is None
    kitty = {**desktop, "KITTY_WINDOW_ID": "1"}
    assert find_desktop_channel(NotifySettings(), kitty) is None, "the terminal shows it already"
    assert find_desktop_channel(NotifySettings(desktop="on"), kitty) is not None
