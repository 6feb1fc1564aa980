"""An engine that trains beside a chat leaves it time and a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tui_trainer
from tui_trainer.engine.process import background

PRIORITIES = """
import os, subprocess, sys
from pathlib import Path
from tui_trainer.engine.process import background

before = os.nice(0)
background.enter()
background.enter()
child = (
    "import os; from tui_trainer.engine.process.background import enter; "
    "enter(); print(os.nice(0))"
)
print(before, os.nice(0), subprocess.check_output([sys.executable, "-c", child], text=True))
print(Path("/proc/self/autogroup").read_text() if os.path.exists("/proc/self/autogroup") else "")
"""


def test_the_priority_is_lowered_once_and_inherited() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tui_trainer.__file__).parents[1])}
    command = [sys.executable, "-c", PRIORITIES]
    shown = subprocess.check_output(command, text=True, env=environment, start_new_session=True)
    before, own, child = map(int, shown.split()[:3])
    if "autogroup" in shown:
        assert shown.split()[-1] == str(background.NICENESS)
    assert own == child == min(before + background.NICENESS, 19)


def test_a_cpu_is_left_to_others_where_there_are_more_than_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(background._VARIABLE, raising=False)
    assert [background.cpus_of(count) for count in (1, 2, 3, 8)] == [1, 2, 3, 8]
    monkeypatch.setenv(background._VARIABLE, "1")
    assert [background.cpus_of(count) for count in (1, 2, 3, 8)] == [1, 2, 2, 7]


def test_the_number_of_threads_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_trainer.engine import setup

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv(background._VARIABLE, "1")
    assert setup.usable_threads() == 7
