"""`TuiTrainerCallback`: records and controls a Hugging Face `Trainer` (or one of TRL's) as a run.

    trainer = Trainer(..., callbacks=[TuiTrainerCallback("runs")])

The commands pause, resume, checkpoint, stop, cancel and set-lr are executed between two optimizer
steps. The main process reads them and broadcasts them to the others.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any

from tui_trainer.integrations.rank_sync import RankCommands, RankSync
from tui_trainer.integrations.scheduler_rate import set_rate
from tui_trainer.text import formats
from tui_trainer.writer import RunWriter
from tui_trainer.writer.command_listener import PendingCommand

try:
    from transformers import TrainerCallback
except ImportError:
    raise ImportError(
        "tui_trainer.integrations.transformers needs transformers; "
        'install it with: pip install "tui-trainer[train]"'
    ) from None

# Names that Trainer and TRL give to the count of all tokens so far.
_TOKENS = ("num_tokens", "num_input_tokens_seen")
_TIMINGS = (
    "_runtime",
    "_samples_per_second",
    "_steps_per_second",
    "_tokens_per_second",
    "_model_preparation_time",
)


class TuiTrainerCallback(TrainerCallback):
    """Writes a run folder in `runs_dir` while a `Trainer` trains, and executes commands.

    Args:
        runs_dir: folder of runs.
        name: name of the run; default: `run_name` of the arguments, or the output folder's name.
        listens: whether the run accepts commands.
        hardware: whether to record hardware samples.
    """

    def __init__(
        self,
        runs_dir: str | os.PathLike[str] = "runs",
        name: str | None = None,
        *,
        listens: bool = True,
        hardware: bool = True,
    ) -> None:
        self.run: RunWriter | None = None
        self._runs_dir = Path(runs_dir)
        self._name = name
        self._listens = listens
        self._hardware = hardware
        self._sync = RankSync()
        self._paused = False
        self._unsaved: list[PendingCommand] = []
        self._save_wanted = False
        self._tokens = 0.0
        self._evaluation = contextlib.ExitStack()
        self._evaluating = False

    # -- called by the Trainer ---------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Create the run's folder."""
        if self.run is not None:
            self.run.finish()
        self._sync, self._paused, self._unsaved = RankSync(), False, []
        self._save_wanted, self._tokens = False, 0.0
        self.run = run = RunWriter(
            self._runs_dir,
            self._name or _name(args),
            total_steps=state.max_steps,
            config=_config(args, kwargs.get("model")),
            program=_program(args),
            main_process=state.is_world_process_zero,
            hardware=self._hardware,
        )
        run.total(state.max_steps or None, float(state.num_train_epochs or 0) or None)
        if state.global_step:
            run.step(state.global_step, epoch=state.epoch)
            run.event("resumed", f"resumed at step {formats.count(state.global_step)}")
        if self._listens:
            self._commands()  # records in state.json which commands are accepted

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record a finished optimizer step, and execute commands."""
        if self.run is None:
            return
        self.run.step(state.global_step, epoch=state.epoch)
        if self._listens and self._sync.due(state.global_step):
            self._execute_commands(state.global_step, control, kwargs)
        if self._save_wanted:
            control.should_save = True
        if self._paused:
            control.should_log = True  # shows the last step; `on_log` then waits

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait while the run is paused, if `on_log` was not called since."""
        self._wait(state, control, kwargs)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Record metrics; blocks while the run is paused."""
        if self.run is None or not logs:
            return
        if "train_runtime" in logs:
            self.run.event("summary", "training has ended", **logs)
            return
        values = {name: value for name, value in logs.items() if not name.endswith(_TIMINGS)}
        for name in _TOKENS:
            if name in values:
                values["tokens"] = self._new_tokens(values.pop(name))
        values["epoch"] = state.epoch
        self.run.log(state.global_step, values)
        if not any(name.startswith("eval_") for name in values):
            self._wait(state, control, kwargs)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the run as evaluating until `on_evaluate`."""
        if self.run is not None and self.run.active and not self._evaluating:
            self._evaluating = True
            self._evaluation.enter_context(self.run.evaluating())

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the run as training again."""
        self._evaluation.close()
        self._evaluating = False

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record a saved checkpoint, and answer the commands that wait for it."""
        if self.run is None:
            return
        self._save_wanted = False
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.run.checkpoint(path.absolute())
        step = formats.count(state.global_step)
        for command in self._unsaved:
            stop = f" at step {step}; stopping" if command.name == "stop" else ""
            command.done(f"checkpoint {path.name} saved{stop}")
        self._unsaved = []
        self._wait(state, control, kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run."""
        if self.run is None:
            return
        self.on_evaluate(args, state, control)
        step = formats.count(state.global_step)
        for command in self._unsaved:
            if command.name == "stop":
                command.done(f"stopped at step {step} without saving", saved=False)
            command.refuse("the training ended before a checkpoint was saved")
        self._unsaved = []
        early = self.run.stopping is None and 0 < state.global_step < state.max_steps
        message = f"stopped early at step {step}" if early else ""
        self.run.finish("early_stopped" if early else None, message)

    # -- commands ----------------------------------------------------------------------------

    def _commands(self) -> list[PendingCommand]:
        if self.run is None or not self.run.active:
            return []
        return list(self.run.commands("checkpoint", "stop", "cancel", "set-lr", wait=False))

    def _execute_commands(self, step: int, control: Any, objects: dict[str, Any]) -> None:
        """Read commands in the main process and execute them in every process.

        `objects` has the Trainer's optimizer and learning-rate scheduler.
        """
        pending = self._commands()
        active = self.run is not None and self.run.active
        own = RankCommands(
            tuple((command.name, command.learning_rate) for command in pending),
            self.run is not None and self.run.paused,
        )
        received = self._sync.broadcast(step, own, active=active)
        self._paused = received.paused
        for index, (name, rate) in enumerate(received.commands):
            problem = self._execute(name, rate, control, objects)
            if index < len(pending):  # only in the main process
                self._answer(pending[index], problem)

    def _execute(
        self, name: str, rate: float | None, control: Any, objects: dict[str, Any]
    ) -> str | None:
        """Execute a command in this process; returns why it failed, or None."""
        if name == "set-lr" and rate is not None:
            try:
                set_rate(objects.get("optimizer"), objects.get("lr_scheduler"), rate)
            except (ValueError, TypeError, KeyError) as error:
                return f"the learning rate cannot be set: {error}"
        if name in ("checkpoint", "stop"):
            self._save_wanted = control.should_save = True
        if name in ("stop", "cancel"):
            self._paused = False
            control.should_training_stop = True
        return None

    def _answer(self, command: PendingCommand, problem: str | None) -> None:
        if problem is not None:
            command.refuse(problem)
        elif command.name in ("checkpoint", "stop"):
            self._unsaved.append(command)  # answered when the checkpoint is saved
        else:
            command.done()

    def _wait(self, state: Any, control: Any, objects: dict[str, Any]) -> None:
        """Wait while the run is paused, unless the Trainer has to save or stop."""
        while self._paused and not self._save_wanted:
            time.sleep(self._sync.poll_seconds())
            self._execute_commands(state.global_step, control, objects)

    def _new_tokens(self, count: Any) -> float:
        new, self._tokens = float(count) - self._tokens, float(count)
        return max(0.0, new)


def _name(args: Any) -> str:
    wanted = getattr(args, "run_name", None) or Path(args.output_dir).absolute().name
    return re.sub(r"[^A-Za-z0-9._-]+|\.{2,}", "-", str(wanted)).strip("-._")[:100] or "run"


def _program(args: Any) -> str:
    return "TRL" if type(args).__module__.split(".")[0] == "trl" else "transformers"


def _config(args: Any, model: Any) -> dict[str, Any]:
    """The arguments, whose access tokens transformers masks, and facts about the model."""
    config: dict[str, Any] = {}
    if model is not None:
        about = getattr(model, "config", None)
        sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
        config["model"] = {
            "name": getattr(about, "_name_or_path", None) or type(model).__name__,
            "type": getattr(about, "model_type", None),
            "parameters": sum(size for size, _ in sizes),
            "trainable_parameters": sum(size for size, trained in sizes if trained),
        }
    config["arguments"] = {k: v for k, v in args.to_dict().items() if v is not None}
    return config
