"""One training from the queue to a live adapter."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.adapter import AdapterInfo
from tui_trainer.contracts.chat import ModelReady
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.metrics import TrainRecord
from tui_trainer.contracts.run import ACTIVE_STATES, RunState
from tui_trainer.contracts.teaching import TrainingState
from tui_trainer.store import jsonl, paths
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching import promotion_gate
from tui_trainer.teaching.answer_cache import Ask
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.engine_run import EngineOutcome, EngineRun, RunRequests
from tui_trainer.teaching.plan import START, TrainingPlan, continued, lay_out, read_plan
from tui_trainer.teaching.retention_set import gather
from tui_trainer.teaching.training_queue import QueueEntry
from tui_trainer.teaching.training_rows import newest

# A training whose engine dies is taken up again once.
MOST_STARTS = 2
# Tokens that a candidate's answer may have beyond the longest that is expected.
_SPARE_TOKENS = 8


class TrainingTask:
    """Carries one training on from wherever it stands.

    Each step is in the journal before the next begins, and the adapter's place in the store is
    the one point at which its examples are learned: a kill at any instant neither loses
    feedback nor lets an example be learned twice.
    """

    def __init__(self, desk: TeachingContext, entry: QueueEntry) -> None:
        self._desk = desk
        self._entry = entry
        self._step = -1

    def run(self) -> None:
        """Works until the training is over or the session goes."""
        try:
            if self._state == "queued":
                self._prepare()
            if self._state == "training":
                self._train()
            if self._state == "checking" and not self._desk.left.is_set():
                self._check()
        except UserError as error:
            # A session that goes takes the model with it; the next one carries on.
            if not self._desk.left.is_set():
                self._end("failed", str(error))
        except OSError as error:
            self._end("failed", f"{error.filename or 'a file'}: {error.strerror}")
        except Exception as error:  # a training that cannot end would be tried for ever
            self._end("failed", f"unexpected {type(error).__name__}: {error}")

    @property
    def _state(self) -> TrainingState:
        return self._entry.record.state

    @property
    def _folder(self) -> Path:
        return self._desk.folder(self._entry.record.id)

    @property
    def _run(self) -> RunFolder:
        path = self._entry.record.run_path
        if path is None:
            raise UserError("the training has no run", 1)
        return RunFolder(Path(path))

    # -- from examples to a run --------------------------------------------------------------

    def _prepare(self) -> None:
        desk, record = self._desk, self._entry.record
        ready, settings = desk.client.start(), desk.settings()
        wanted = set(record.examples)
        examples = [e for e in desk.examples() if e.id in wanted and e.pending]
        corrections = newest(examples)
        if not corrections:
            self._end("cancelled", "its examples were dropped meanwhile")
            return
        parent = continued(desk.adapters, desk.base, ready.base_hash, settings)
        start = None if parent is None else (parent, desk.adapters.folder(parent))
        reserve = gather(desk, ready, corrections, settings)
        folder = paths.make_private_dir(self._folder)
        job = lay_out(folder, examples, corrections, reserve, settings, ready, start)
        job = msgspec.structs.replace(job, trust_remote_code=desk.trust_remote_code)
        run = self._made(job)
        self._put(
            state="training",
            run_path=str(run.path.absolute()),
            parent=parent,
            started_at=time.time(),
            message="",
        )

    def _made(self, job: Job) -> RunFolder:
        """A new run; one that a killed session made and never noted is put away."""
        for left in run_folder.list_runs(self._desk.runs_dir):
            info = left.info()
            if info is not None and info.name == job.name:
                shutil.rmtree(left.path, ignore_errors=True)
        return run_folder.create_run(self._desk.runs_dir, job)

    # -- the engine --------------------------------------------------------------------------

    def _train(self) -> None:
        threading.Thread(target=self._ask_ahead, name="asking before", daemon=True).start()
        while True:
            outcome = self._follow()
            if outcome is None:
                return
            if outcome.status == "completed":
                self._put(state="checking", message="")
                return
            if outcome.status == "cancelled":
                self._end("cancelled", outcome.message)
                return
            if outcome.status != "crashed" or self._entry.starts >= MOST_STARTS:
                self._end("failed", outcome.message)
                return

    def _follow(self) -> EngineOutcome | None:
        run, desk = self._run, self._desk
        status = run.status()
        if status == "completed":
            return EngineOutcome(status, "")
        plan = read_plan(self._folder)
        course = EngineRun(
            run,
            RunRequests(
                left=desk.left,
                cancelled=self._cancelled,
                seen=self._seen,
                limit_seconds=plan.settings.time_limit_minutes * 60,
                command=desk.command,
            ),
        )
        if status in ACTIVE_STATES:
            course.attach()
        elif status in ("idle", "crashed"):
            self._entry = desk.put(
                msgspec.structs.replace(self._entry, starts=self._entry.starts + 1)
            )
            course.start()
        else:
            state = run.state()
            return EngineOutcome(status, state.message if state else f"the run is {status}")
        return course.follow()

    def _cancelled(self) -> str | None:
        return "cancelled" if self._entry.record.id in self._desk.ended_by_user else None

    def _seen(self, state: RunState) -> None:
        if state.step != self._step:
            self._step = state.step
            self._desk.on_change()

    def _ask_ahead(self) -> None:
        """Asks what is asked before a training while it runs: the answers go into the book."""
        with contextlib.suppress(UserError):
            ready, plan = self._desk.client.start(), read_plan(self._folder)
            ask = self._askers(ready, plan)
            ask["live"]([item.turns for item in (*plan.taught, *plan.known)])
            ask["base"]([item.turns for item in plan.known if item.source == "golden"])

    # -- the gate ----------------------------------------------------------------------------

    def _check(self) -> None:
        plan = read_plan(self._folder)
        added = self._added()
        if added is None and not self._entry.overridden:
            verdict = promotion_gate.judge(
                plan.taught, plan.known, self._askers(self._desk.client.start(), plan),
                plan.settings,
            )  # fmt: skip
            self._put(before=verdict.before, after=verdict.after)
            if self._cancelled() is not None:
                self._end("cancelled", "cancelled")
                return
            if verdict.objection is not None:
                self._end("refused", f"not loaded: {verdict.objection}")
                return
        self._go_live(plan, added or self._add(plan))

    def _askers(self, ready: ModelReady, plan: TrainingPlan) -> dict[str, Ask]:
        desk, longest = self._desk, plan.settings.max_new_tokens
        expected = max(len(item.answer.encode()) for item in (*plan.taught, *plan.known))
        candidate = self._run.adapter_dir

        def ask_candidate(questions: list[list[Turn]]) -> list[str]:
            # An answer has no more tokens than bytes; a longer one than expected is wrong anyhow.
            most = min(longest, expected + _SPARE_TOKENS)
            return desk.ask(questions, candidate, most)

        return {
            "base": desk.asker(ready, live=False, longest=longest),
            "live": desk.asker(ready, live=True, longest=longest),
            "candidate": ask_candidate,
        }

    # -- going live --------------------------------------------------------------------------

    def _added(self) -> str | None:
        """The adapter of this training, where it is in the store already."""
        run_id = self._run.path.name
        return next(
            (item.info.name for item in self._desk.adapters.list() if item.info.run_id == run_id),
            None,
        )

    def _add(self, plan: TrainingPlan) -> str:
        """Puts the adapter into the store: from here on its examples are learned."""
        desk, record, info = self._desk, self._entry.record, self._run.info()
        if info is None:
            raise UserError(f"the run {self._run.path} is gone", 1)
        last = _last_step(self._run)
        facts = AdapterInfo(
            name=desk.adapters.free_name("taught"),
            created_at=time.time(),
            base_model=info.base_model,
            base_hash=info.base_hash,
            data_hash=info.data_hash,
            run_id=info.id,
            parent=record.parent,
            lora=info.job.lora,
            steps=last.step if last else None,
            train_loss=last.loss if last else None,
            examples=[example.id for example in plan.examples],
            before=record.before,
            after=record.after,
        )
        return desk.adapters.add(self._run.adapter_dir, facts, number_on=True).name

    def _go_live(self, plan: TrainingPlan, name: str) -> None:
        desk = self._desk
        desk.adapters.set_live({name: 1.0}, desk.base)
        loaded = "it answers now"
        try:
            desk.client.use({name: 1.0}, {name: desk.adapters.folder(name)})
        except UserError as error:
            loaded = f"it answers from the next start on ({error})"
        desk.feedback.mark_trained(plan.examples, name)
        self._put(adapter=name)
        self._end("live", f"{self._words()}{loaded}")
        shutil.rmtree(self._folder / START, ignore_errors=True)

    def _words(self) -> str:
        record = self._entry.record
        parts = _told("recalled", record.before.recalled, record.after.recalled)
        return parts + _told("kept", record.before.kept, record.after.kept)

    # -- the journal -------------------------------------------------------------------------

    def _put(self, **changes: Any) -> None:
        record = msgspec.structs.replace(self._entry.record, **changes)
        self._entry = self._desk.put(msgspec.structs.replace(self._entry, record=record))

    def _end(self, state: TrainingState, message: str) -> None:
        run_path = self._entry.record.run_path
        run = RunFolder(Path(run_path)).state() if run_path else None
        self._put(
            state=state,
            message=message,
            ended_at=time.time(),
            step=run.step if run else 0,
            total_steps=run.total_steps if run else None,
        )
        self._desk.ended_by_user.discard(self._entry.record.id)


def _told(what: str, before: float | None, after: float | None) -> str:
    if after is None:
        return ""
    return f"{what} {after:.0%} (before {before or 0.0:.0%}), "


def _last_step(run: RunFolder) -> TrainRecord | None:
    with contextlib.suppress(OSError):
        return next(jsonl.newest_records(run.metrics_file, TrainRecord), None)
    return None
