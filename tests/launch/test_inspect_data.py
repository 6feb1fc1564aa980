"""The process that reads data: its result, its progress, its errors, and how it is cancelled."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.data_inspection import DataInspection, InspectionRequest
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.data_report import DataReport, PartReport
from tui_trainer.launch.inspect_data import Inspection, InspectionCancelledError
from tui_trainer.store import child_process

FOUND = DataInspection(
    model="builtin",
    task="causal-lm",
    max_length=32,
    report=DataReport(train=PartReport(), validation=PartReport(), replay=PartReport()),
    summary="",
    notices=[],
    lengths=[],
    median=0,
    longest=0,
)


@pytest.mark.parametrize(
    ("code", "expected", "exit_status"),
    [
        ("import sys; print('noise', file=sys.stderr); sys.exit('t.jsonl line 2: bad')",
         "t.jsonl line 2: bad", 1),
        ("import os; os.kill(os.getpid(), 9)", "most likely because memory ran out", 1),
        ("raise SystemExit(2)", "ended with status 2", 2),
    ],
)  # fmt: skip
def test_a_process_without_a_result_is_one_sentence(
    nothing_needed: None,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    expected: str,
    exit_status: int,
) -> None:
    play(monkeypatch, code)
    with pytest.raises(UserError, match=expected) as caught:
        Inspection(request()).run()
    assert caught.value.exit_status == exit_status


def test_progress_is_passed_on_and_other_lines_are_skipped(
    nothing_needed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = msgspec.json.encode(FOUND).decode()
    progress = '{"type": "progress", "message": "reading"}'
    play(monkeypatch, f"print('not ours'); print({progress!r}); print({result!r})")
    shown: list[str] = []
    assert Inspection(request()).run(shown.append) == FOUND
    assert shown == ["reading"]


def test_cancel_ends_the_process(nothing_needed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = '{"type": "progress", "message": "reading"}'
    play(monkeypatch, f"import time; print({progress!r}, flush=True); time.sleep(600)")
    inspection = Inspection(request())
    with pytest.raises(InspectionCancelledError):
        inspection.run(lambda _: inspection.cancel())


def test_a_cancelled_look_starts_no_process(
    nothing_needed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> subprocess.Popen[bytes]:
        raise AssertionError

    monkeypatch.setattr(child_process, "start", never)
    inspection = Inspection(request())
    inspection.cancel()
    with pytest.raises(InspectionCancelledError):
        inspection.run()


def request() -> InspectionRequest:
    return InspectionRequest(job=Job(data={"train": "t.jsonl"}))  # type: ignore[arg-type]


def play(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let another program be the process that reads the data."""
    monkeypatch.setattr(
        child_process,
        "module_command",
        lambda *_: [sys.executable, "-c", f"import sys; sys.stdin.read()\n{code}"],
    )
