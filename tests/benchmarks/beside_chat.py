"""A teaching training beside a chat, for benchmarks: planned as by a session, without its gate.

The answers to retain are of the usual length and not the base's own, as asking it takes minutes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from tests.benchmarks.teaching.measure import load_sets
from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.launch.engine_process import kill_engine, start_engine
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching.plan import write_plan
from tui_trainer.teaching.retention.replay import RetentionReserve
from tui_trainer.teaching.retention.retained_questions import own_questions
from tui_trainer.teaching.training_rows import KnownAnswer

ANSWER = (
    "It is hard to say in one sentence, but most people would agree that it depends on the time "
    "of the year, on the weather of the day before, and on how much one has slept. A simple way "
    "to find out is to try it."
)
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Training:
    """An engine that trains, and its run."""

    process: psutil.Process
    run: RunFolder

    def wait_for(self, step: int, seconds: float = 1800.0) -> None:
        """Waits until so many steps are finished. Ends the program where the engine ends first."""
        deadline = time.monotonic() + seconds
        while self.step < step:
            if not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE:
                raise SystemExit(f"the engine ended: {' '.join(self.run.log_tail())}")
            if time.monotonic() > deadline:
                raise SystemExit(f"the engine finished {self.step} steps in {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    @property
    def step(self) -> int:
        """The finished steps."""
        state = self.run.state()
        return 0 if state is None else state.step


@contextlib.contextmanager
def training(ready: ModelReady, folder: Path, *, background: bool = True) -> Iterator[Training]:
    """Trains ten corrections, without an end, until the context is left; `background` as in a
    session, else with the priority of the chat."""
    folder.mkdir(parents=True)
    corrections = [
        RatedExample(
            id=str(number),
            time=0.0,
            turns=[Turn("user", item.question)],
            answer="I do not know.",
            rating="medium",
            correction=item.answer,
        )
        for number, item in enumerate(load_sets("dev")[0].items)
    ]
    retained = [
        KnownAnswer(turns=[Turn("user", item.text)], answer=ANSWER, source="own")
        for item in own_questions()
    ]
    reserve = RetentionReserve(replayed=[], held_out=[], earlier=[], retained=retained)
    job = write_plan(folder, corrections, corrections, reserve, TeachingSettings(), ready, None)
    endless = msgspec.structs.replace(job.training, max_steps=100_000, stop_when_learned=0)
    run = run_folder.create_run(folder / "runs", msgspec.structs.replace(job, training=endless))
    engine = start_engine(run, background=background)
    try:
        yield Training(psutil.Process(engine.pid), run)
    finally:
        kill_engine(engine)
        engine.wait()
