"""What acting on the advice is worth: the faults that a learning rate can mend, each trained by
the whole engine three times: without the fault, with it and left alone, and with it and
`advisor.auto_apply`.

The rate is spoilt as a user would spoil it: in the job, or by `set-lr` while the run goes on.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

from tests.benchmarks.advisor import drive
from tests.benchmarks.advisor.cases import Case, Fault, all_cases
from tui_trainer.advisor.record_values import RecordValues, read_record
from tui_trainer.advisor.replay import parse, without_replaced
from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.run import Command
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.engine import execute_commands, loop, setup
from tui_trainer.engine.__main__ import main
from tui_trainer.engine.state.session import Session
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_folder

AFTER = 200  # steps after the onset
WITHIN = 1.05
WAYS = ("good", "left", "auto")
_FROM_THE_START = ("no warmup", "far too low from the start")


class Result(msgspec.Struct, kw_only=True):
    """One training: the mean loss of its last 20 steps (None where it broke off), what it did
    by itself, the steps that it did twice, and seconds."""

    ended: float | None
    did: list[str]
    again: int
    seconds: float

    @property
    def loss(self) -> float:
        """The loss at the end, infinite where it broke off."""
        return float("inf") if self.ended is None else self.ended


def print_table(folder: Path, only: str, group: str | None) -> None:
    """Trains what is not there yet, and prints a line for every case, and the table."""
    lines = ["| run | good rate | left alone | auto_apply | mended | what it did |"]
    lines += ["|---|---|---|---|---|---|"]
    counts: dict[str, list[int]] = {}
    for case in all_cases():
        fault = case.fault
        if fault is None or not fault.rate_helps:
            continue
        if only not in case.name or group not in (None, case.group):
            continue
        good, left, auto = (train(case, fault, folder / "autopilot", way) for way in WAYS)
        fails = not left.loss <= WITHIN * good.loss
        mends = auto.loss <= WITHIN * good.loss
        count = counts.setdefault(fault.cause, [0, 0, 0, 0])
        count[0] += 1
        count[1] += fails
        count[2] += mends
        count[3] += fails and mends
        verdict = ("yes" if fails else "no need") if mends else "NO"
        numbers = " | ".join(f"{one.loss:.3f}" for one in (good, left, auto))
        lines.append(
            f"| {case.name} | {numbers} | {verdict} | {'; '.join(auto.did) or 'nothing'} |"
        )
        print(lines[-1], flush=True)
    print("\n".join(["", *lines, "", _summary(counts)]))


def _summary(counts: dict[str, list[int]]) -> str:
    lines = [
        "| fault | runs | left alone, within 5 % | auto_apply, within 5 % | of those that fail |",
        "|---|---|---|---|---|",
    ]
    whole = [sum(count[i] for count in counts.values()) for i in range(4)]
    for cause, (runs_, fails, mends, both) in [*counts.items(), ("**all**", whole)]:
        share = f"{100 * mends / max(runs_, 1):.0f} %"
        lines.append(
            f"| {cause} | {runs_} | {runs_ - fails} | {mends} ({share}) | {both} of {fails} |"
        )
    return "\n".join(lines)


def train(case: Case, fault: Fault, folder: Path, way: str) -> Result:
    """Trains a case in one of the `WAYS`, unless that was done."""
    target = folder / f"{case.name}.{way}.result.json"
    if target.is_file():
        return msgspec.json.decode(target.read_bytes(), type=Result)
    folder.mkdir(parents=True, exist_ok=True)
    run = run_folder.create_run(folder / "runs", _job(case, fault, folder, way), "case")
    started_at = time.monotonic()
    spoils = way != "good" and fault.cause not in _FROM_THE_START
    with (
        (run.path / "said.log").open("w") as messages,
        contextlib.redirect_stdout(messages),
        contextlib.redirect_stderr(messages),
        _at_onset(fault, spoils),
    ):
        main([str(run.path)])
    ended = run.state()
    if ended is None or ended.state not in ("completed", "failed"):
        raise SystemExit(f"{run.path} was stopped: {ended.state if ended else 'no state'}")
    rows, _ = parse(run.metrics_file.read_bytes())
    losses = [
        r.loss for r in without_replaced([read_record(row) for row in rows]) if row_is_train(r)
    ]
    events = [e for e in run.events() if e.kind == "rollback" or e.detail.get("by") == "auto"]
    is_whole = ended.state == "completed"
    tail = [float("inf") if loss is None else loss for loss in losses[-20:]]
    result = Result(
        ended=float(np.mean(tail)) if math.isfinite(sum(tail)) and is_whole else None,
        did=[event.message for event in events],
        again=sum(row.get("kind") == "train" for row in rows) - len(losses),
        seconds=time.monotonic() - started_at,
    )
    target.write_bytes(msgspec.json.encode(result))
    return result


def row_is_train(reading: RecordValues) -> bool:
    """Whether a reading is a training step's."""
    return reading.loss is not None or "loss" in reading.nonfinite


def _job(case: Case, fault: Fault, folder: Path, way: str) -> Job:
    case = msgspec.structs.replace(case, steps=fault.onset + AFTER)
    if way == "good":
        rate = case.rate / fault.factor if fault.cause in _FROM_THE_START else case.rate
        case = msgspec.structs.replace(case, warmup=10, rate=rate)
    job = drive.job_of(case, folder)
    return msgspec.structs.replace(job, advisor=AdvisorSettings(auto_apply=way == "auto"))


@contextlib.contextmanager
def _at_onset(fault: Fault, spoils: bool) -> Iterator[None]:
    """Sets the rate once, before the step of the onset, as `control RUN set-lr` would."""
    waiting = [fault.onset - 1] if spoils else []

    def spoilt(session: Session) -> Any:
        if session.state.step in waiting:
            waiting.clear()
            plan, settings = session.plan.total_steps, session.job.training
            rate = learning_rate_at(session.state.step, settings, plan) * fault.factor
            with atomic.appending(session.folder.control_file) as lines:
                arguments = {"learning_rate": rate}
                now = time.time()
                lines.append(Command(id="spoil", time=now, command="set-lr", arguments=arguments))
        return execute_commands.execute_commands(session)

    with (
        patch.object(loop, "execute_commands", spoilt),
        patch.object(setup, "usable_threads", lambda: 1),
    ):
        yield
