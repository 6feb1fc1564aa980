"""Runs one training from the queue to an active adapter."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.errors import UserError, error_text, reason_of
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.metrics import TrainRecord
from tui_trainer.contracts.runs.run import ACTIVE_STATES, RunState
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.contracts.teaching.training import TrainingState
from tui_trainer.store import atomic, jsonl, paths
from tui_trainer.store.runs import checkpoints, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching import less_memory, promotion_gate, time_limit
from tui_trainer.teaching.answer_cache import Ask
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.engine_run import EngineOutcome, EngineRun, RunRequests
from tui_trainer.teaching.plan import (
    START,
    TrainingPlan,
    copy_adapter,
    expected_seconds,
    null_space_share,
    parent_adapter,
    read_plan,
    write_plan,
)
from tui_trainer.teaching.retention.retention_set import gather
from tui_trainer.teaching.training_queue import QueueEntry, with_progress
from tui_trainer.teaching.training_rows import newest
from tui_trainer.text import formats

# An engine that crashes is started once more.
MAX_STARTS = 2


_LEAST_SHOWN = 10  # questions asked before a training, so that their number is shown


class TrainingTask:
    """Runs one training, resuming it in whichever state it is.

    Each state is written to the queue before the next step, and adding the adapter to the store
    is the one point at which its examples count as learned: being killed at any instant neither
    loses feedback nor lets an example be learned twice.
    """

    def __init__(self, context: TeachingContext, entry: QueueEntry) -> None:
        self._context = context
        self._entry = entry
        self._seen: tuple[int, int | None] = (-1, None)
        self._state_seen: RunState | None = None
        self._asked_since = 0.0

    def run(self) -> None:
        """Runs until the training has ended or the session ends."""
        self._context.current_id = self._entry.record.id
        try:
            if self._state == "queued":
                self._prepare()
            if self._state == "training":
                self._train()
            if self._state == "checking" and not self._context.stopping.is_set():
                self._check()
        except UserError as error:
            # The model ends with its session; the next session resumes the training.
            if self._context.stopping.is_set():
                return
            cancelled = self._cancel_reason() is not None
            self._end("cancelled" if cancelled else "failed", str(error))
        except OSError as error:
            self._end("failed", f"{error.filename or 'a file'}: {reason_of(error)}")
        except Exception as error:  # else the queue would try this training for ever
            self._end("failed", error_text(error))
        finally:
            self._context.current_id = None

    @property
    def _state(self) -> TrainingState:
        return self._entry.record.state

    @property
    def _folder(self) -> Path:
        return self._context.folder(self._entry.record.id)

    @property
    def _run(self) -> RunFolder:
        path = self._entry.record.run_path
        if path is None:
            raise UserError("the training has no run folder", 1)
        return RunFolder(Path(path))

    # -- from examples to a run --------------------------------------------------------------

    def _prepare(self) -> None:
        context, record = self._context, self._entry.record
        ready, settings = context.client.start(), context.settings()
        wanted = set(record.examples)
        examples = [e for e in context.examples() if e.id in wanted and e.pending]
        corrections = newest(examples)
        if not corrections:
            self._end("cancelled", "its examples were dropped before it started")
            return
        reserve = gather(context, ready, corrections, settings, self._show_asked)
        share = null_space_share(reserve, settings)
        parent = parent_adapter(context.adapters, context.base, ready.base_hash, settings, share)
        start = None if parent is None else (parent, context.adapters.folder(parent))
        folder = paths.make_private_dir(self._folder)
        job = write_plan(folder, examples, corrections, reserve, settings, ready, start)
        job = msgspec.structs.replace(job, trust_remote_code=context.trust_remote_code)
        run = self._create_run(job)
        self._put(
            state="training",
            run_path=str(run.path.absolute()),
            parent=parent,
            started_at=time.time(),
            expected_seconds=expected_seconds(folder, job, ready, os.cpu_count() or 1),
            limit_seconds=time_limit.set_by_user(settings),
            message="",
        )

    def _show_asked(self, done: int, total: int) -> None:
        """Say what takes so long before the first training of a base."""
        if total < _LEAST_SHOWN:
            return
        if not done:
            self._asked_since = time.monotonic()
        left = ""
        if done:
            seconds = (time.monotonic() - self._asked_since) * (total - done) / done
            left = f", about {formats.duration(seconds)} left"
        self._put(
            message=f"asking the model what it must keep, once: {formats.count(done)} of "
            f"{formats.plural(total, 'question')}{left}"
        )

    def _create_run(self, job: Job) -> RunFolder:
        """Creates the run, deleting one that a killed session created but did not record."""
        for old in run_folder.list_runs(self._context.runs_dir):
            info = old.info()
            if info is not None and info.name == job.name and old.status() == "idle":
                shutil.rmtree(old.path, ignore_errors=True)
        return run_folder.create_run(self._context.runs_dir, job)

    # -- the engine --------------------------------------------------------------------------

    def _train(self) -> None:
        threading.Thread(
            target=self._answer_in_advance, name="answers before the training", daemon=True
        ).start()
        while True:
            outcome = self._follow()
            if outcome is None:
                return
            if outcome.status == "completed":
                self._put(state="checking", message="")
                return
            if outcome.status == "timed out" and self._use_newest_adapter():
                self._put(state="checking", message=f"{outcome.message}{self._learned_text()}")
                return
            if outcome.status in ("cancelled", "timed out"):
                self._end("cancelled", outcome.message)
                return
            if outcome.status == "failed" and self._use_less_memory():
                continue
            if outcome.status != "crashed" or self._entry.starts >= MAX_STARTS:
                self._end("failed", outcome.message)
                return

    def _follow(self) -> EngineOutcome | None:
        run, context = self._run, self._context
        status = run.status()
        if status == "completed":
            return EngineOutcome(status, "")
        limit = time_limit.set_by_user(read_plan(self._folder).settings)
        if limit != self._entry.record.limit_seconds and limit is not None:
            self._put(limit_seconds=limit)
        engine_run = EngineRun(
            run,
            RunRequests(
                stopping=context.stopping,
                cancel_reason=self._cancel_reason,
                on_state=self._on_state,
                limit_seconds=self._limit_seconds,
                command=context.command,
            ),
        )
        if status in ACTIVE_STATES:
            engine_run.attach()
        elif status in ("idle", "crashed"):
            self._entry = context.put(
                msgspec.structs.replace(self._entry, starts=self._entry.starts + 1)
            )
            engine_run.start()
        else:
            state = run.state()
            return EngineOutcome(status, state.message if state else f"the run is {status}")
        return engine_run.follow()

    def _use_less_memory(self) -> bool:
        """Whether a run that failed ran out of memory; then a smaller one takes its place. Raises
        `UserError` where there is no smaller one."""
        info, during = self._run.info(), less_memory.ran_out(self._run)
        if info is None or during is None:
            return False
        found = less_memory.smaller(info.job, during)
        if found is None:
            raise UserError(less_memory.failure(info.job, during), 1)
        job, change = found
        run = self._create_run(job)
        self._entry = msgspec.structs.replace(self._entry, starts=0)
        self._put(run_path=str(run.path.absolute()))
        self._context.on_notice(less_memory.notice(self._entry.record.id, during, change))
        return True

    def _use_newest_adapter(self) -> bool:
        """Whether a run that did not end by itself has an adapter to check: the one that it wrote
        when it was stopped, else that of its newest checkpoint, which is copied."""
        run = self._run
        if (run.adapter_dir / "adapter_config.json").is_file():
            return True
        newest = checkpoints.find_checkpoint(run, None)
        if newest is not None:
            copy_adapter(newest, run.adapter_dir)
        return newest is not None

    def _learned_text(self) -> str:
        state = self._run.state()
        if state is None or state.learned is None:
            return ""
        return f" with {state.learned} of {state.taught} learned"

    def _cancel_reason(self) -> str | None:
        return "cancelled" if self._entry.record.id in self._context.cancelled_ids else None

    def _limit_seconds(self) -> float:
        chosen = self._entry.record.limit_seconds
        return time_limit.before_speed(self._state_seen) if chosen is None else chosen

    def _on_state(self, state: RunState) -> None:
        self._state_seen = state
        if self._entry.record.limit_seconds is None:
            chosen = time_limit.by_speed(state)
            if chosen is not None:
                self._put(limit_seconds=chosen)
        if (state.step, state.learned) != self._seen:
            self._seen = state.step, state.learned
            self._context.on_record(with_progress(self._entry.record, state))

    def _answer_in_advance(self) -> None:
        """Asks the questions for the state before the training while it runs, to fill the cache."""
        with contextlib.suppress(UserError):
            ready, plan = self._context.client.start(), read_plan(self._folder)
            ask = self._askers(ready, plan)
            ask["live"]([item.turns for item in (*plan.taught, *plan.known)])
            ask["base"]([item.turns for item in plan.known if item.source in ("golden", "own")])

    # -- the gate ----------------------------------------------------------------------------

    def _check(self) -> None:
        plan = read_plan(self._folder)
        added = self._added()
        if added is None and not self._entry.overridden:
            ask = self._askers(self._context.client.start(), plan)
            verdict = promotion_gate.judge(plan.taught, plan.known, ask, plan.settings)
            after = msgspec.structs.replace(verdict.after, divergence=_divergence(self._run))
            self._put(before=verdict.before, after=after)
            atomic.write_json(self._folder / promotion_gate.FILE, verdict.report)
            if self._cancel_reason() is not None:
                self._end("cancelled", "cancelled")
                return
            if verdict.objection is not None:
                message = f"the adapter is not activated: {verdict.objection}"
                self._end("refused", f"{self._remarks(plan)}{message}")
                return
        self._activate(plan, added or self._add(plan))

    def _askers(self, ready: ModelReady, plan: TrainingPlan) -> dict[str, Ask]:
        return promotion_gate.askers(self._context, ready, plan, self._run.adapter_dir)

    # -- activation --------------------------------------------------------------------------

    def _added(self) -> str | None:
        """The adapter of this training, where it is already in the store."""
        run_id = self._run.path.name
        return next(
            (
                item.info.name
                for item in self._context.adapters.list()
                if item.info.run_id == run_id
            ),
            None,
        )

    def _add(self, plan: TrainingPlan) -> str:
        """Adds the adapter to the store: from here on its examples count as learned."""
        context, record, info = self._context, self._entry.record, self._run.info()
        if info is None:
            raise UserError(f"the run {self._run.path} cannot be read", 1)
        last = _last_step(self._run)
        facts = AdapterInfo(
            name=context.adapters.free_name("taught"),
            created_at=time.time(),
            base_model=info.base_model,
            base_hash=info.base_hash,
            data_hash=info.data_hash,
            run_id=info.id,
            parent=record.parent,
            lora=info.job.lora,
            null_space=0.0 if info.job.data.null_space is None else info.job.data.null_space_share,
            steps=last.step if last else None,
            train_loss=last.loss if last else None,
            examples=[example.id for example in plan.examples],
            before=record.before,
            after=record.after,
        )
        return context.adapters.add(self._run.adapter_dir, facts, add_number=True).name

    def _activate(self, plan: TrainingPlan, name: str) -> None:
        context = self._context
        context.adapters.set_live({name: 1.0}, context.base)
        loaded = "its adapter is active"
        try:
            context.client.use({name: 1.0}, {name: context.adapters.folder(name)})
        except UserError as error:
            loaded = f"its adapter is active from the next start on ({error})"
        context.feedback.mark_trained(plan.examples, name)
        self._put(adapter=name)
        self._end("live", f"{self._remarks(plan)}{self._measures_text()}{loaded}")
        shutil.rmtree(self._folder / START, ignore_errors=True)

    def _remarks(self, plan: TrainingPlan) -> str:
        """That the time limit has ended the run, and what it used because memory ran out, to put
        before the result."""
        message, info = self._entry.record.message, self._run.info()
        remarks = [message] if message and not self._entry.overridden else []
        changes = less_memory.changes(info.job, plan.settings) if info is not None else ""
        remarks += [f"trained with {changes}, as memory ran out"] if changes else []
        return "".join(f"{remark}; " for remark in remarks)

    def _measures_text(self) -> str:
        record = self._entry.record
        parts = _measure_text("recalled", record.before.recalled, record.after.recalled)
        return parts + _measure_text("kept", record.before.kept, record.after.kept)

    # -- the queue ---------------------------------------------------------------------------

    def _put(self, **changes: Any) -> None:
        record = msgspec.structs.replace(self._entry.record, **changes)
        self._entry = self._context.put(msgspec.structs.replace(self._entry, record=record))

    def _end(self, state: TrainingState, message: str) -> None:
        run_path = self._entry.record.run_path
        run = RunFolder(Path(run_path)).state() if run_path else None
        self._put(
            state=state,
            message=message,
            ended_at=time.time(),
            step=run.step if run else 0,
            total_steps=run.total_steps if run else None,
            learned=run.learned if run else None,
            taught=run.taught if run else None,
        )
        self._context.cancelled_ids.discard(self._entry.record.id)


def _measure_text(what: str, before: float | None, after: float | None) -> str:
    if after is None:
        return ""
    return f"{what} {formats.share(after)} (before {formats.share(before or 0.0)}), "


def _divergence(run: RunFolder) -> float | None:
    """The mean KL divergence (nats a token) that the engine has measured at the end."""
    found = [event.detail.get("divergence") for event in run.events() if event.kind == "evaluation"]
    return next((float(value) for value in reversed(found) if value is not None), None)


def _last_step(run: RunFolder) -> TrainRecord | None:
    with contextlib.suppress(OSError):
        return next(jsonl.newest_records(run.metrics_file, TrainRecord), None)
    return None
