"""Makes any training loop show up live: `from tui_trainer.writer import RunWriter`.

    with RunWriter("runs", name="mine", total_steps=1000, config={"lr": 1e-3}) as run:
        for step in range(1, 1001):
            run.log(step, loss=train_one_step())

Loads neither torch nor Textual. Nothing that it does can end the training: a full disk or an
unwritable folder warns once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import CommandName, RunState
from tui_trainer.store import paths
from tui_trainer.store.runs import process_identity, run_folder
from tui_trainer.writer import run_end
from tui_trainer.writer.callbacks import Callbacks
from tui_trainer.writer.coerce import number, plain
from tui_trainer.writer.command_listener import CommandListener, PendingCommands
from tui_trainer.writer.metric_rows import MetricRows
from tui_trainer.writer.run_end import Ending
from tui_trainer.writer.run_files import RunFiles, WriteWarnings
from tui_trainer.writer.step_timer import StepTimer

# How often a paused loop looks for commands.
PAUSED_POLL_SECONDS = 0.05


class RunWriter:
    """Writes one run's folder from inside its loop; for one thread.

    `runs_dir` is the folder of runs, `name` the run's (letters, digits, '.', '_', '-'; raises
    `UserError` otherwise), `total_steps` the optimizer steps in all where known, `config` what
    is worth knowing about the run. Only the main process of several writes: the one whose RANK
    (or SLURM_PROCID, or OMPI_COMM_WORLD_RANK) is 0, unless `main_process` says it.

    A run takes no commands until its loop calls `control`, `commands` or reads `stopping`.
    """

    def __init__(
        self,
        runs_dir: str | os.PathLike[str] = "runs",
        name: str = "run",
        *,
        total_steps: int | None = None,
        config: Mapping[str, Any] | None = None,
        program: str | None = None,
        main_process: bool | None = None,
        hardware: bool = True,
    ) -> None:
        paths.safe_name(name, "run name")
        self._complaints = WriteWarnings()
        self._rows = MetricRows(self._complaints)
        self._pace = StepTimer()
        self._hooks = Callbacks()
        self._records: RunFiles | None = None
        self._listener: CommandListener | None = None
        self._manual = False
        if not (_is_main_process() if main_process is None else main_process):
            return
        total = number(total_steps)
        try:
            folder = run_folder.create_loop_run(
                Path(runs_dir).expanduser().absolute(),
                name,
                program or _program(),
                _config(config),
                state := _first_state(int(total) if total and total > 0 else None),
            )
            self._records = RunFiles(folder, state, self._complaints)
            self._listener = CommandListener(self._records)
        except (UserError, OSError, RuntimeError) as error:
            self._complaints.say("start", f"{error}; training goes on unrecorded")
            return
        self._end = run_end.RunEnd(self._records, self._listener, hardware=hardware)
        weakref.finalize(self, self._end.let_go).atexit = False
        atexit.register(self._end.at_exit)

    # -- what it is --------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether this process writes the run: it is the main one, and the run has not ended."""
        return self._records is not None and not self._records.closed

    @property
    def path(self) -> Path | None:
        """The run's folder; None where nothing is written."""
        return self._records.folder.path if self._records is not None else None

    @property
    def paused(self) -> bool:
        """Whether somebody has paused the run."""
        return self.active and self._listening.paused

    @property
    def stopping(self) -> Literal["stop", "cancel"] | None:
        """`"stop"` (after saving) or `"cancel"` once somebody asked for it: leave the loop then.

        Reading it is a promise to do so: from then on the run takes both commands.
        """
        if not self.active:
            return None
        if not self._manual:
            self._listening.supports("stop", "cancel")
        return self._listening.ending

    # -- what the loop tells -----------------------------------------------------------------

    def log(self, step: int, metrics: Mapping[str, object] | None = None, **values: object) -> None:
        """Records what step `step` measured, and obeys waiting commands (see `control`).

        Well-known names: loss, learning_rate, gradient_norm (L2, before clipping), tokens (since
        the row before), epoch; names that begin with `val_` or `eval_` make an evaluation's
        line. Numbers, and one-element tensors and arrays; NaN and infinity are recorded as such.
        While the run is paused, it waits in here.
        """
        if self.active:
            with self._unharmed("log"):
                self._log(step, {**(metrics or {}), **values})
            if not self._manual:
                self._obey()

    def step(self, step: int, *, epoch: float | None = None) -> None:
        """Tells that `step` is finished where nothing was measured, and obeys like `log`."""
        if self.active:
            with self._unharmed("step"):
                whole = self._rows.step(step)
                if whole is not None:
                    self._at(whole, epoch)
            if not self._manual:
                self._obey()

    def event(self, kind: str, message: str, **detail: object) -> None:
        """Adds a line to the run's events, such as a warning."""
        if self.active:
            with self._unharmed("event"):
                self._writing.event(str(kind), str(message), detail=detail)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Tells that a checkpoint lies at `path` now."""
        name = Path(path).name
        self.event("checkpoint", f"checkpoint {name} saved", path=os.fspath(path))

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Shows the run as evaluating meanwhile; the time does not count as training."""
        began = time.monotonic()
        self.enter("evaluating")
        try:
            yield
        finally:
            self._pace.rest(time.monotonic() - began)
            self.enter("training")

    def enter(
        self, state: Literal["preparing", "training", "evaluating", "saving"], message: str = ""
    ) -> None:
        """Shows the run in another state."""
        if self.active and not self.paused:
            with self._unharmed("enter"):
                self._writing.enter(state, message)

    def total(self, steps: int | None = None, epochs: float | None = None) -> None:
        """How long the run will be, where that is known only now."""
        if self.active:
            with self._unharmed("total"):
                self._writing.update(total_steps=steps, total_epochs=epochs)

    def finish(self, state: Ending | None = None, message: str = "") -> None:
        """Ends the run; without `state` as completed, or as cancelled where it was stopped."""
        if self._records is not None and self.active:
            with self._unharmed("finish"):
                self._end.finish(state, message)
            atexit.unregister(self._end.at_exit)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.active:
            state, message = run_end.of_exception(error, self._writing.state.step)
            self.finish(state, message)

    # -- what others ask ---------------------------------------------------------------------

    def control(
        self,
        *,
        on_checkpoint: Callable[[], object] | None = None,
        on_learning_rate: Callable[[float], object] | None = None,
        on_stop: Callable[[], object] | None = None,
        on_cancel: Callable[[], object] | None = None,
    ) -> None:
        """Obeys commands in `log` and `step` from now on: pause and resume, and what a function
        is given for.

        `on_checkpoint()` saves; `on_learning_rate(rate)` sets the rate. A stop calls `on_stop()`,
        or else `on_checkpoint()`; a cancel calls `on_cancel()`. A loop that reads `stopping` takes
        stop and cancel without functions. What a function returns as text is the answer. One
        that raises has refused, and the training goes on.
        """
        self._hooks = Callbacks(on_checkpoint, on_learning_rate, on_stop, on_cancel)
        if self.active:
            self._listening.supports("pause", "resume", *self._hooks.names)

    def commands(self, *names: CommandName, wait: bool = True) -> Iterator[PendingCommands]:
        """Commands for the loop to carry out itself, each answered by `done` or `refuse`.

        `names` are those that it obeys besides pause and resume, which are obeyed here: a paused
        run waits in here, unless `wait` is False (see `paused`). `log` then leaves commands alone.
        """
        self._manual = True
        if not self.active:
            return
        self._listening.supports("pause", "resume", *names)
        while True:
            for asked in self._take():
                yield asked
                if wait and not asked.answered:
                    asked.refuse(f"the training loop took no notice of {asked.name}")
            if not (wait and self.paused):
                return
            time.sleep(PAUSED_POLL_SECONDS)

    # -- inside ------------------------------------------------------------------------------

    @property
    def _writing(self) -> RunFiles:
        assert self._records is not None  # noqa: S101  (callers ask `active` first)
        return self._records

    @property
    def _listening(self) -> CommandListener:
        assert self._listener is not None  # noqa: S101  (callers ask `active` first)
        return self._listener

    @contextlib.contextmanager
    def _unharmed(self, what: str) -> Iterator[None]:
        """A fault of ours is told and never reaches the training."""
        try:
            yield
        except Exception as error:
            self._complaints.say(what, f"{what} failed: {type(error).__name__}: {error}")

    def _log(self, given: int, values: dict[str, object]) -> None:
        step = self._rows.step(given)
        if step is None:
            return
        train, evaluation = self._rows.sort(step, values)
        row = train or evaluation
        epoch: float | None = row.get("epoch") if row else None
        self._at(step, epoch)
        if train is not None:
            self._add_times(step, train)
            self._writing.row(train)
        if evaluation is not None:
            self._writing.row(evaluation)
            self._evaluated(step, evaluation, alone=train is None)

    def _at(self, step: int, epoch: float | None) -> None:
        records, pace = self._writing, self._pace
        pace.step(step)
        total = records.state.total_steps
        records.update(
            step=step,
            epoch=records.state.epoch if epoch is None else epoch,
            eta_seconds=pace.eta(None if total is None else total - step),
            elapsed_seconds=pace.elapsed(),
        )
        if records.state.state == "preparing":
            pace.begin()
            records.enter("training")

    def _add_times(self, step: int, row: dict[str, Any]) -> None:
        spent = self._pace.row(step, row.get("tokens"))
        if spent is not None:
            row.setdefault("step_time_ms", round(1000 * spent[1] / spent[0], 3))
        self._writing.update(tokens_per_second=self._pace.tokens_per_second())

    def _evaluated(self, step: int, row: dict[str, Any], *, alone: bool) -> None:
        loss: float | None = row.get("val_loss")
        best = self._writing.state.best_val_loss
        improved = loss is not None and (best is None or loss < best)
        if improved:
            self._writing.update(best_val_loss=loss, best_step=step)
        if alone:  # a loop that validates at every step needs no event for each
            shown = {k: v for k, v in row.items() if k not in ("kind", "step", "time", "epoch")}
            words = "" if loss is None else f": val_loss {loss:.4g}{' (best)' if improved else ''}"
            self._writing.event("evaluation", f"evaluation{words}", detail=shown)

    def _take(self) -> list[PendingCommands]:
        before = self._listening.waited
        found = self._listening.take()
        self._pace.rest(self._listening.waited - before)
        return found

    def _obey(self) -> None:
        """Carries out waiting commands; a pause waits in here."""
        listener, before = self._listening, self._listening.waited
        while True:
            for asked in listener.take():
                self._hooks.carry_out(asked)
            if not listener.paused:
                break
            time.sleep(PAUSED_POLL_SECONDS)
        self._pace.rest(listener.waited - before)


def _first_state(total_steps: int | None) -> RunState:
    state = RunState(
        state="preparing",
        total_steps=total_steps,
        host=socket.gethostname(),
        updated_at=time.time(),
        commands=(),
    )
    return msgspec.structs.replace(state, **process_identity.own_identity())


def _config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    values = plain(config or {})
    return values if isinstance(values, dict) else {"config": values}


def _program() -> str:
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c") else "a program"


def _is_main_process() -> bool:
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "LOCAL_RANK"):
        if name in os.environ:
            return os.environ[name].strip() in ("", "0")
    return True
