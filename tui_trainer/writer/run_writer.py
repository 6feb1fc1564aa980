"""Records any training loop as a run: `from tui_trainer.writer import RunWriter`.

    with RunWriter("runs", name="mine", total_steps=1000, config={"lr": 1e-3}) as run:
        for step in range(1, 1001):
            run.log(step, loss=train_one_step())

Imports neither torch nor Textual. Its errors never end the training: a full disk or a folder that
cannot be written gives one warning.
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
from tui_trainer.contracts.runs.run import CommandName, RunState
from tui_trainer.store import paths
from tui_trainer.store.runs import process_identity, run_folder
from tui_trainer.text import formats
from tui_trainer.writer import run_end
from tui_trainer.writer.callbacks import Callbacks
from tui_trainer.writer.coerce import number, plain
from tui_trainer.writer.command_listener import CommandListener, PendingCommand
from tui_trainer.writer.metric_rows import MetricRows
from tui_trainer.writer.run_end import Ending
from tui_trainer.writer.run_files import RunFiles, WriteWarnings
from tui_trainer.writer.step_timer import StepTimer

PAUSED_POLL_SECONDS = 0.05  # between two reads of the commands while paused


class RunWriter:
    """Writes one run's folder from inside its training loop. Not thread-safe.

    Args:
        runs_dir: folder of runs.
        name: name of the run: letters, digits, '.', '_' and '-'.
        total_steps: optimizer steps of the whole run, if known.
        config: settings of the run, for `run.json`.
        program: name of the training program; default: the script's name.
        main_process: whether this process writes the run; default: whether RANK (or SLURM_PROCID,
            OMPI_COMM_WORLD_RANK or LOCAL_RANK) is 0 or not set.
        hardware: whether to record hardware samples.

    Raises `UserError` if `name` cannot be a folder's name. A run accepts no commands until its
    loop calls `control` or `commands`, or reads `stopping`.
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
        self._warnings = WriteWarnings()
        self._rows = MetricRows(self._warnings)
        self._timer = StepTimer()
        self._callbacks = Callbacks()
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
            self._records = RunFiles(folder, state, self._warnings)
            self._listener = CommandListener(self._records)
        except (UserError, OSError, RuntimeError) as error:
            self._warnings.warn("start", f"{error}; training continues without recording")
            return
        self._end = run_end.RunEnd(self._records, self._listener, hardware=hardware)
        weakref.finalize(self, self._end.finish_abandoned).atexit = False
        atexit.register(self._end.at_exit)

    # -- state -------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether this is the main process and the run has not ended."""
        return self._records is not None and not self._records.closed

    @property
    def path(self) -> Path | None:
        """The run's folder; None if nothing is written."""
        return self._records.folder.path if self._records is not None else None

    @property
    def paused(self) -> bool:
        """Whether the run was paused by a command."""
        return self.active and self._active_listener.paused

    @property
    def stopping(self) -> Literal["stop", "cancel"] | None:
        """`"stop"` (after saving) or `"cancel"` after that command: leave the loop then.

        Once a loop has read this, the run accepts both commands.
        """
        if not self.active:
            return None
        if not self._manual:
            self._active_listener.support("stop", "cancel")
        return self._active_listener.ending

    # -- recording ---------------------------------------------------------------------------

    def log(self, step: int, metrics: Mapping[str, object] | None = None, **values: object) -> None:
        """Record the metrics of a finished step, and execute new commands (see `control`).

        Known names are loss, learning_rate, gradient_norm (L2, before clipping), tokens (since
        the last call) and epoch; names that begin with `val_` or `eval_` are recorded as an
        evaluation. Values are numbers or one-element tensors and arrays; NaN and infinity are
        recorded as such. Blocks while the run is paused.
        """
        if self.active:
            with self._guarded("log"):
                self._log(step, {**(metrics or {}), **values})
            if not self._manual:
                self._execute_commands()

    def step(self, step: int, *, epoch: float | None = None) -> None:
        """Record that `step` is finished, without metrics; executes commands like `log`."""
        if self.active:
            with self._guarded("step"):
                whole = self._rows.step(step)
                if whole is not None:
                    self._set_step(whole, epoch)
            if not self._manual:
                self._execute_commands()

    def event(self, kind: str, message: str, **detail: object) -> None:
        """Add an event to the run, such as a warning."""
        if self.active:
            with self._guarded("event"):
                self._active_records.event(str(kind), str(message), detail=detail)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Record that a checkpoint was saved at `path`."""
        name = Path(path).name
        self.event("checkpoint", f"checkpoint {name} saved", path=os.fspath(path))

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Show the run as evaluating inside a `with` block, and exclude it from training time."""
        started = time.monotonic()
        self.enter("evaluating")
        try:
            yield
        finally:
            self._timer.exclude(time.monotonic() - started)
            self.enter("training")

    def enter(
        self, state: Literal["preparing", "training", "evaluating", "saving"], message: str = ""
    ) -> None:
        """Show the run in another state."""
        if self.active and not self.paused:
            with self._guarded("enter"):
                self._active_records.enter(state, message)

    def total(self, steps: int | None = None, epochs: float | None = None) -> None:
        """Set the length of the run, if it is not known at the start."""
        if self.active:
            with self._guarded("total"):
                self._active_records.update(total_steps=steps, total_epochs=epochs)

    def finish(self, state: Ending | None = None, message: str = "") -> None:
        """End the run in `state`; without one as completed, or as cancelled after a stop."""
        if self._records is not None and self.active:
            with self._guarded("finish"):
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
            state, message = run_end.end_of_exception(error, self._active_records.state.step)
            self.finish(state, message)

    # -- commands ----------------------------------------------------------------------------

    def control(
        self,
        *,
        on_checkpoint: Callable[[], object] | None = None,
        on_learning_rate: Callable[[float], object] | None = None,
        on_stop: Callable[[], object] | None = None,
        on_cancel: Callable[[], object] | None = None,
    ) -> None:
        """Execute commands in `log` and `step` from now on: pause, resume, and those with a
        function.

        `on_checkpoint()` saves; `on_learning_rate(rate)` sets the rate. A stop calls `on_stop()`,
        or `on_checkpoint()` without one; a cancel calls `on_cancel()`. A loop that reads
        `stopping` accepts stop and cancel without functions. A string that a function returns is
        the answer to the command's sender; a function that raises refuses the command, and
        training continues.
        """
        self._callbacks = Callbacks(on_checkpoint, on_learning_rate, on_stop, on_cancel)
        if self.active:
            self._active_listener.support("pause", "resume", *self._callbacks.names)

    def commands(self, *names: CommandName, wait: bool = True) -> Iterator[PendingCommand]:
        """Yield commands for the loop to execute, each to be answered by `done` or `refuse`.

        `names` are the commands that the loop executes. Pause and resume are executed here: this
        blocks while the run is paused, unless `wait` is False (see `paused`). Once this was
        called, `log` and `step` no longer execute commands.
        """
        self._manual = True
        if not self.active:
            return
        self._active_listener.support("pause", "resume", *names)
        while True:
            for command in self._read_commands():
                yield command
                if wait and not command.answered:
                    command.refuse(f"the training loop did not execute {command.name}")
            if not (wait and self.paused):
                return
            time.sleep(PAUSED_POLL_SECONDS)

    # -- internal ----------------------------------------------------------------------------

    @property
    def _active_records(self) -> RunFiles:
        assert self._records is not None  # noqa: S101  (callers ask `active` first)
        return self._records

    @property
    def _active_listener(self) -> CommandListener:
        assert self._listener is not None  # noqa: S101  (callers ask `active` first)
        return self._listener

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Turn an exception of `what` into a warning, so that it never reaches the training."""
        try:
            yield
        except Exception as error:
            self._warnings.warn(what, f"{what} failed: {type(error).__name__}: {error}")

    def _log(self, given: int, values: dict[str, object]) -> None:
        step = self._rows.step(given)
        if step is None:
            return
        train, evaluation = self._rows.sort(step, values)
        row = train or evaluation
        epoch: float | None = row.get("epoch") if row else None
        self._set_step(step, epoch)
        if train is not None:
            self._add_times(step, train)
            self._active_records.row(train)
        if evaluation is not None:
            self._active_records.row(evaluation)
            self._evaluated(step, evaluation, alone=train is None)

    def _set_step(self, step: int, epoch: float | None) -> None:
        records, timer = self._active_records, self._timer
        timer.step(step)
        total = records.state.total_steps
        records.update(
            step=step,
            epoch=records.state.epoch if epoch is None else epoch,
            eta_seconds=timer.eta(None if total is None else total - step),
            elapsed_seconds=timer.elapsed(),
        )
        if records.state.state == "preparing":
            timer.start()
            records.enter("training")

    def _add_times(self, step: int, row: dict[str, Any]) -> None:
        timed = self._timer.row(step, row.get("tokens"))
        if timed is not None:
            row.setdefault("step_time_ms", round(1000 * timed[1] / timed[0], 3))
        self._active_records.update(tokens_per_second=self._timer.tokens_per_second())

    def _evaluated(self, step: int, row: dict[str, Any], *, alone: bool) -> None:
        loss: float | None = row.get("val_loss")
        best = self._active_records.state.best_val_loss
        improved = loss is not None and (best is None or loss < best)
        if improved:
            self._active_records.update(best_val_loss=loss, best_step=step)
        if alone:  # a loop that validates at every step needs no event for each
            shown = {k: v for k, v in row.items() if k not in ("kind", "step", "time", "epoch")}
            best_mark = " (best)" if improved else ""
            text = "" if loss is None else f": val_loss {formats.number(loss)}{best_mark}"
            self._active_records.event("evaluation", f"evaluation{text}", detail=shown)

    def _read_commands(self) -> list[PendingCommand]:
        before = self._active_listener.paused_seconds
        found = self._active_listener.read()
        self._timer.exclude(self._active_listener.paused_seconds - before)
        return found

    def _execute_commands(self) -> None:
        """Execute new commands; blocks while the run is paused."""
        listener, before = self._active_listener, self._active_listener.paused_seconds
        while True:
            for command in listener.read():
                self._callbacks.execute(command)
            if not listener.paused:
                break
            time.sleep(PAUSED_POLL_SECONDS)
        self._timer.exclude(listener.paused_seconds - before)


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
