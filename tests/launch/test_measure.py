"""The process that evaluates, as its caller sees it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationProgress, EvaluationRequest
from tui_trainer.launch.measure import measure
from tui_trainer.store import child_process

REQUEST = EvaluationRequest(
    model="builtin", adapter=None, task="causal-lm", files=["a.jsonl"], journal="j.jsonl"
)
PROGRESS = """
import sys, time
sys.stdin.read()
print("a library's own line")
print('{"phase": "answers", "done": 1, "total": 2}', flush=True)
"""


@pytest.fixture(autouse=True)
def installed(nothing_needed: None) -> None:
    """No package is missed."""


def use(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = [sys.executable, "-c", script]
    monkeypatch.setattr(child_process, "module_command", lambda *_: command)


def test_progress_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, PROGRESS)
    seen: list[EvaluationProgress] = []
    measure(REQUEST, seen.append)
    assert seen == [EvaluationProgress(phase="answers", done=1, total=2)]


def test_the_message_and_status_of_a_failure_are_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = "import sys; sys.stdin.read(); print('no such thing', file=sys.stderr); sys.exit(2)"
    use(monkeypatch, script)
    with pytest.raises(UserError, match="no such thing") as raised:
        measure(REQUEST, lambda _: None)
    assert raised.value.exit_status == 2


def test_a_killed_process_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "import os, sys; sys.stdin.read(); os.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match="most likely because memory ran out"):
        measure(REQUEST, lambda _: None)


def test_an_interruption_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    write = f"import os; open({str(file)!r}, 'w').write(str(os.getpid()))"
    use(monkeypatch, f"{write}{PROGRESS}time.sleep(600)")

    def interrupt(_: EvaluationProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(REQUEST, interrupt)
    pid = int(file.read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the process still runs")
