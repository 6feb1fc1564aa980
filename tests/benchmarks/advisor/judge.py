"""Replays the advisor, and the rules as first written, over the made runs, and counts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tests.benchmarks.advisor import rules_as_written
from tests.benchmarks.advisor.cases import SEEDS, Case, Fault, all_cases
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import Advice, JobFacts

STEPS = 20_000
Rows = list[dict[str, Any]]


@dataclass
class Verdict:
    """What one judge said of one run: false alarms above low in its healthy steps, and the step
    at which the fault was found with the right kind, if it was."""

    name: str
    group: str
    cause: str
    healthy_steps: int
    false_alarms: list[tuple[int, str]] = field(default_factory=list)
    found: int | None = None
    onset: int = 0
    other: list[tuple[int, str]] = field(default_factory=list)
    harm: float = 0.0  # the loss at the end over the loss before the onset


def print_table(
    folder: Path, only: str, group: str | None, details: bool, without: tuple[str, ...] = ()
) -> None:
    """The Markdown table over the runs in `folder`, and over the shared healthy ones where
    TUI_TRAINER_SHARED_DATA names them. `without` are fields that are taken out, and with them
    what is known of the job: as with another tool's run."""
    ours: list[Verdict] = []
    theirs: list[Verdict] = []
    for case in all_cases():
        file = folder / f"{case.name}.jsonl"
        if only in case.name and group in (None, case.group) and file.is_file():
            rows = _rows(file, without)
            known = JobFacts() if without else facts(case)
            ours.append(_verdict(case, _advised(rows, known)))
            ours[-1].harm = _harm(rows, case.fault)
            theirs.append(_verdict(case, _as_written(rows, case.fault)))
    for file in _shared():
        rows = _rows(file, without)
        for verdicts, messages in (
            (ours, _advised(rows, JobFacts())),
            (theirs, _as_written(rows, None)),
        ):
            verdicts.append(Verdict(file.name.split(".")[0], "shared", "", len(rows), messages))
    if details:
        for verdict in ours:
            print(_line(verdict))
    print(_table(ours, theirs))


def _rows(file: Path, without: tuple[str, ...] = ()) -> Rows:
    rows = [msgspec.json.decode(line) for line in file.read_bytes().splitlines() if line]
    return [{k: v for k, v in row.items() if k not in without} for row in rows]


def facts(case: Case) -> JobFacts:
    """What the engine would tell the advisor of a case."""
    return JobFacts(
        learning_rate=case.rate,
        scheduler=case.scheduler,
        warmup_steps=case.warmup,
        total_steps=case.steps,
        adapter=True,
    )


def _advised(rows: Rows, known: JobFacts) -> list[tuple[int, str]]:
    return [(advice.step, str(advice.kind)) for advice in _urgent(rows, known)]


def _urgent(rows: Rows, known: JobFacts) -> list[Advice]:
    """The first word above low urgency of every advice, at the step at which it fell."""
    advisor = Advisor(facts=known)
    found: dict[str, Advice] = {}
    for row in rows:
        for advice in advisor.observe(row):
            if advice.urgency != "low" and advice.status != "closed" and advice.id not in found:
                at = advice.updated_step
                found[advice.id] = msgspec.structs.replace(advice, step=at)
    return list(found.values())


def _as_written(rows: Rows, fault: Fault | None) -> list[tuple[int, str]]:
    """Checked every 50 rows where nothing is wrong, as it was meant; after an onset at every
    row, so that it is never late for want of looking. A kind that was raised just before the
    onset already tells nothing about it, and is left out."""
    train = [row for row in rows if "loss" in row]
    steps = [row["step"] for row in train]
    losses = np.array([_number(row.get("loss")) for row in train])
    norms = np.array([_number(row.get("gradient_norm")) for row in train])
    messages = [(steps[at], kind) for at, kind in rules_as_written.alarms(losses, norms)]
    if fault is None:
        return messages
    often = [(steps[at], kind) for at, kind in rules_as_written.alarms(losses, norms, every=1)]
    standing = {kind for step, kind in often if step == fault.onset - 1}
    late = [item for item in often if item[0] >= fault.onset and item[1] not in standing]
    return [item for item in messages if item[0] < fault.onset] + late


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _verdict(case: Case, messages: list[tuple[int, str]]) -> Verdict:
    fault = case.fault
    if fault is None:
        return Verdict(case.name, case.group, "", case.steps, messages)
    verdict = Verdict(case.name, case.group, fault.cause, fault.onset - 1, onset=fault.onset)
    # The step that hangs is not finished, so its advice carries the step before.
    begins = fault.onset - (fault.cause == "stall")
    for step, kind in messages:
        if step < begins:
            verdict.false_alarms.append((step, kind))
        elif kind in fault.right and step <= fault.onset + fault.within:
            verdict.found = step if verdict.found is None else min(verdict.found, step)
        else:
            verdict.other.append((step, kind))
    return verdict


def _harm(rows: Rows, fault: Fault | None) -> float:
    losses = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    if fault is None or fault.onset < 20:
        return 0.0
    before = [loss for step, loss in losses if fault.onset - 20 <= step < fault.onset]
    return float(np.median([loss for _, loss in losses[-20:]]) / np.median(before))


def _shared() -> list[Path]:
    folder = os.environ.get("TUI_TRAINER_SHARED_DATA")
    return sorted(Path(folder, "healthy_runs").glob("*.metrics.jsonl")) if folder else []


def _line(verdict: Verdict) -> str:
    if not verdict.cause:
        return f"{verdict.name}: {verdict.false_alarms or 'silent'}"
    found = "MISSED" if verdict.found is None else f"+{verdict.found - verdict.onset}"
    early = f" EARLY {verdict.false_alarms}" if verdict.false_alarms else ""
    also = f" also {verdict.other[:6]}" if verdict.other else ""
    return f"{verdict.name} @{verdict.onset}: {found}{early} harm {verdict.harm:.2f}{also}"


def _table(ours: list[Verdict], theirs: list[Verdict]) -> str:
    lines = [
        "| runs | count | this advisor | rules as first written |",
        "|---|---|---|---|",
    ]
    for group in ("shared", *SEEDS):
        healthy = [[v for v in side if v.group == group and not v.cause] for side in (ours, theirs)]
        if healthy[0]:
            counts = [_false_alarms(side) for side in healthy]
            name = f"healthy, {group}: false alarms per 20,000 steps"
            lines.append(f"| {name} | {len(healthy[0])} | {counts[0]} | {counts[1]} |")
    healthy = [[v for v in side if not v.cause] for side in (ours, theirs)]
    counts = [f"**{_false_alarms(side)}**" for side in healthy]
    name = "**all healthy: false alarms per 20,000 steps**"
    lines.append(f"| {name} | {len(healthy[0])} | {counts[0]} | {counts[1]} |")
    for group in SEEDS:
        faulty = [[v for v in side if v.group == group and v.cause] for side in (ours, theirs)]
        if not faulty[0]:
            continue
        counts = [_false_alarms(side) for side in faulty]
        name = f"before the onset, {group}: false alarms per 20,000 steps"
        lines.append(f"| {name} | {len(faulty[0])} | {counts[0]} | {counts[1]} |")
        for cause in dict.fromkeys(v.cause for v in faulty[0]):
            rows = [[v for v in side if v.cause == cause] for side in faulty]
            cells = [_found(side) for side in rows]
            lines.append(f"| {cause}, {group} | {len(rows[0])} | {cells[0]} | {cells[1]} |")
        cells = [f"**{_found(side)}**" for side in faulty]
        lines.append(f"| **all faults, {group}** | {len(faulty[0])} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _false_alarms(verdicts: list[Verdict]) -> str:
    alarms = sum(len(v.false_alarms) for v in verdicts)
    steps = sum(v.healthy_steps for v in verdicts)
    return f"{alarms * STEPS / max(steps, 1):.1f} ({alarms} in {steps:,})"


def _found(verdicts: list[Verdict]) -> str:
    found = [v.found - v.onset for v in verdicts if v.found is not None]
    share = f"{100 * len(found) / len(verdicts):.0f} % ({len(found)}/{len(verdicts)})"
    return share if not found else f"{share}, median {int(np.median(found)):+d} steps"
