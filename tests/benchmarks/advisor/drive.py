"""Trains a case through the engine's own parts, spoiling it from its onset on.

Everything that a step is made of (data, loss, clipping, optimizer, schedule, records) is the
engine's. Only the loop is ours, so that a fault can begin at an exact step.
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from statistics import median

import msgspec
import torch

from tests.benchmarks.advisor import bases, rows
from tests.benchmarks.advisor.cases import Case
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.engine import loop, setup
from tui_trainer.engine.data.batching import BatchPlan
from tui_trainer.engine.data.dataset import load_dataset
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.records import step_records
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.session import Finished, Session
from tui_trainer.engine.validation.evaluate import evaluate
from tui_trainer.store import jobs
from tui_trainer.store.runs import run_folder

EVALUATE_EVERY = 10


def make(case: Case, folder: Path) -> Path:
    """Trains `case` below `folder` unless that was done; gives its metrics file."""
    target = folder / f"{case.name}.jsonl"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    run = run_folder.create_run(folder / "runs", job_of(case, folder), "case")
    info = run.info()
    assert info is not None
    report = RunReporter(run)
    with (run.path / "said.log").open("w") as messages, contextlib.redirect_stdout(messages):
        try:
            session = setup.prepare(run, info, report, CommandSource(run), None)
            torch.set_num_threads(1)  # the same numbers however many cores there are
            _train(session, case, _Spoiler(session, case, folder))
        finally:
            report.close()
    (folder / f"{case.name}.json").write_bytes(msgspec.json.encode(case))
    run.metrics_file.replace(target)
    return target


def job_of(case: Case, folder: Path) -> Job:
    """The job of a case; makes its base and rows below `folder`."""
    files = folder / "rows"
    files.mkdir(exist_ok=True)
    count = case.steps * case.batch
    train = rows.write(case.data, count, case.seed, files / f"{case.name}.train.jsonl")
    held_out = rows.validation_rows(case.data, case.seed, files / f"{case.name}.val.jsonl")
    data: dict[str, object] = {"train": str(train.resolve()), "max_length": 128}
    if held_out is not None:
        data["validation"] = str(held_out.resolve())
    values = {
        "name": "case",
        "model": bases.base(case.base, folder),
        "data": data,
        "training": {
            "max_steps": case.steps,
            "batch_size": case.batch,
            "learning_rate": case.rate,
            "scheduler": case.scheduler,
            "warmup_steps": case.warmup,
            "seed": case.seed,
            "eval_every": EVALUATE_EVERY,
        },
    }
    return jobs.check_job(values, folder, case.name)


def _train(session: Session, case: Case, spoiler: _Spoiler) -> None:
    settings, state = session.job.training, session.state
    override: tuple[int, float] | None = None
    session.model.train()
    while state.step < case.steps:
        started_at = time.perf_counter()
        number = state.step + 1
        override = spoiler.before(number, override)
        rate = learning_rate_at(state.step, settings, session.plan.total_steps, override)
        set_learning_rate(session.optimizer, rate)
        passes = spoiler.plan(number).passes(state.step)
        loss = loop.forward_backward(session, passes)
        spoiler.after_backward(number)
        outcome = loop.update(session, loss, passes)
        state.step += 1
        done = Finished(state.step, outcome, rate, time.perf_counter() - started_at, time.time())
        session.report.train_steps([step_records.step_record(session, done)], 0)
        if not outcome.healthy:
            return
        if state.step % EVALUATE_EVERY == 0 and session.dataset.validation:
            evaluate(session)


class _Spoiler:
    """Does to a session what the case's fault says, from its onset on."""

    def __init__(self, session: Session, case: Case, folder: Path) -> None:
        self._session, self._case = session, case
        self._cause = case.fault.cause if case.fault else ""
        self._onset = case.fault.onset if case.fault else case.steps + 1
        self._bad = self._other_plan(folder)
        self._started_at = time.perf_counter()
        self._seconds: list[float] = []

    def _other_plan(self, folder: Path) -> BatchPlan | None:
        kind = {
            "shuffled labels": f"shuffled-{self._case.data}",
            "repeated data": f"repeated-{self._case.data}",
            "bad rows": "garbage",
        }.get(self._cause)
        if kind is None:
            return None
        case, session = self._case, self._session
        file = folder / "rows" / f"{case.name}.bad.jsonl"
        rows.write(kind, case.steps * case.batch, case.seed + 1, file)
        data = msgspec.structs.replace(session.job.data, train=str(file.resolve()))
        job = msgspec.structs.replace(session.job, data=data)
        return BatchPlan(load_dataset(job, session.tokenizer).train, job.training)

    def plan(self, number: int) -> BatchPlan:
        """Where the step's examples come from; bad rows come in three steps' batches."""
        if self._bad is None or number < self._onset:
            return self._session.plan
        if self._cause == "bad rows" and number >= self._onset + 3:
            return self._session.plan
        return self._bad

    def before(self, number: int, override: tuple[int, float] | None) -> tuple[int, float] | None:
        """Spoils what a step begins with; gives the rate that was set, if any."""
        now = time.perf_counter()
        self._seconds.append(now - self._started_at)
        self._started_at = now
        if number != self._onset:
            return override
        case, session = self._case, self._session
        if self._cause in ("rate too high", "edge of stability", "far too low"):
            assert case.fault is not None
            now = learning_rate_at(number - 1, session.job.training, case.steps)
            return number - 1, now * case.fault.factor
        if self._cause == "zeroed part":
            with torch.no_grad():
                for parameter in session.parameters.values():
                    parameter.zero_()
        elif self._cause == "broken weight":
            with torch.no_grad():
                next(iter(session.parameters.values())).view(-1)[0] = math.inf
        elif self._cause == "stall":
            # By definition a hang is longer than 20 median steps, however slow the machine.
            time.sleep(max(2.0, 25 * median(self._seconds)))
        return override

    def after_backward(self, number: int) -> None:
        """Loses the gradients of all but the first layer's queries."""
        if self._cause != "frozen part" or number < self._onset:
            return
        for name, parameter in self._session.parameters.items():
            if "layers.0.self_attn.q_proj" not in name:
                parameter.grad = None
