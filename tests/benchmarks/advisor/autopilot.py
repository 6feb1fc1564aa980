"""What acting on the advice is worth: the faults that a learning rate can mend, trained three
times: without the fault, with it and left alone, and with it and the advice applied.

This stands in for the engine's `auto_apply`: advice of high or critical urgency that suggests a
rate is applied at once, within bounds, and where it names a good step the run goes back to the
newest snapshot (one every 10 steps, in memory) that is no younger.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from tests.benchmarks.advisor import drive, judge
from tests.benchmarks.advisor.cases import Case, all_cases
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.metrics import TrainRecord
from tui_trainer.engine.session import Session

SNAPSHOT_EVERY = 10
AFTER = 200  # steps after the onset
LOWEST, HIGHEST = 1e-6, 1e-2  # bounds of what may be set
WITHIN = 1.05


class Autopilot:
    """Applies high and critical advice by itself."""

    def __init__(self, case: Case) -> None:
        self._advisor = Advisor(facts=judge.facts(case))
        self._snapshots: dict[int, tuple[Any, Any, dict[str, Any]]] = {}
        self._handled: set[str] = set()
        self.applied: list[Advice] = []

    def begin(self, session: Session) -> None:
        """Keeps the start."""
        self._keep(session)

    def observe(self, session: Session, record: TrainRecord) -> tuple[int, float] | None:
        """Judges the step; see `drive.Pilot`."""
        step = session.state.step
        asked = None
        for advice in self._advisor.observe(record):
            if asked is None and self._is_for_us(advice):
                asked = advice
        if asked is not None and asked.suggested_lr is not None:
            self.applied.append(asked)
            self._handled.add(asked.id)
            if asked.good_step is not None and asked.kind != "plateau":
                self._go_back(session, asked.good_step)
            rate = min(max(asked.suggested_lr, LOWEST), HIGHEST)
            return session.state.step, rate
        if step % SNAPSHOT_EVERY == 0:
            self._keep(session)
        return None

    def _is_for_us(self, advice: Advice) -> bool:
        urgent = advice.urgency in ("high", "critical") and advice.status != "closed"
        return urgent and advice.id not in self._handled and len(self.applied) < 8

    def _keep(self, session: Session) -> None:
        weights = {name: p.detach().clone() for name, p in session.parameters.items()}
        optimizer = copy.deepcopy(session.optimizer.state_dict())
        self._snapshots[session.state.step] = (weights, optimizer, self._advisor.state())

    def _go_back(self, session: Session, step: int) -> None:
        """To the newest snapshot up to `step`, or to the oldest there is; ids of advice stay
        unique, as they count on."""
        kept = [at for at in self._snapshots if at <= step] or sorted(self._snapshots)[:1]
        if not kept:
            return
        at = max(kept)
        weights, optimizer, state = self._snapshots[at]
        with torch.no_grad():
            for name, parameter in session.parameters.items():
                parameter.copy_(weights[name])
        session.optimizer.load_state_dict(copy.deepcopy(optimizer))
        raised = self._advisor.state()["raised"]
        self._advisor.restore({**state, "raised": raised})
        session.state.step = at
        self._snapshots = {key: value for key, value in self._snapshots.items() if key <= at}


def print_table(folder: Path, only: str, group: str | None) -> None:
    """Trains what is not there yet, and prints the table."""
    lines = ["| run | good rate | left alone | advice applied | mended |", "|---|---|---|---|---|"]
    mended = failed = total = 0
    for case in all_cases():
        if case.fault is None or not case.fault.rate_helps:
            continue
        if only not in case.name or group not in (None, case.group):
            continue
        good, left, auto = (_final(file) for file in _three(case, folder))
        total += 1
        fails = not left <= WITHIN * good
        failed += fails
        mended += fails and auto <= WITHIN * good
        verdict = "no need" if not fails else "yes" if auto <= WITHIN * good else "no"
        lines.append(f"| {case.name} | {good:.3f} | {left:.3f} | {auto:.3f} | {verdict} |")
    lines.append(f"| **{total} runs** | | {failed} fail | {mended} of them mended | |")
    print("\n".join(lines))


def _three(case: Case, folder: Path) -> list[Path]:
    assert case.fault is not None
    spoiled = msgspec.structs.replace(case, steps=case.fault.onset + AFTER)
    good = msgspec.structs.replace(spoiled, fault=None, warmup=10)
    if case.fault.cause in ("no warmup", "far too low from the start"):
        good = msgspec.structs.replace(good, rate=case.rate / case.fault.factor)
    place = folder / "autopilot"
    return [
        drive.make(good, place, label=".good"),
        drive.make(spoiled, place, label=".left"),
        drive.make(spoiled, place, Autopilot(spoiled), label=".auto"),
    ]


def _final(file: Path) -> float:
    """The mean loss of the last 20 steps, infinite where the run broke off."""
    rows = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"][-20:]
    return float("inf") if None in losses else float(np.mean(losses))
