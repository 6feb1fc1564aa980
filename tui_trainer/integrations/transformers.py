"""`TuiTrainerCallback`: a Hugging Face `Trainer` (or one of TRL's) that is seen and steered.

    trainer = Trainer(..., callbacks=[TuiTrainerCallback("runs")])

Pause, resume, checkpoint, stop, cancel and set-lr are obeyed between two optimizer steps. Of
several processes the main one listens, and all follow.
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
from tui_trainer.writer import RunWriter
from tui_trainer.writer.command_listener import PendingCommands

try:
    from transformers import TrainerCallback
except ImportError:
    raise ImportError(
        "tui_trainer.integrations.transformers needs transformers; "
        'install it with: pip install "tui-trainer[train]"'
    ) from None

# Counts of all tokens so far, as Trainer and TRL call them.
_TOKENS = ("num_tokens", "num_input_tokens_seen")
_TIMINGS = (
    "_runtime",
    "_samples_per_second",
    "_steps_per_second",
    "_tokens_per_second",
    "_model_preparation_time",
)


class TuiTrainerCallback(TrainerCallback):
    """Writes a run folder below `runs_dir` while a `Trainer` trains, and obeys commands.

    `name` is the run's; without it, `run_name` of the arguments or the output folder's name.
    With `listens=False` the run can be watched only; `hardware=False` leaves out samples of the
    machine.
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
        self._together = RankSync()
        self._paused = False
        self._unsaved: list[PendingCommands] = []
        self._save_wanted = False
        self._tokens = 0.0
        self._evaluation = contextlib.ExitStack()
        self._evaluating = False

    # -- what the Trainer tells --------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Makes the run's folder."""
        if self.run is not None:
            self.run.finish()
        self._together, self._paused, self._unsaved = RankSync(), False, []
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
            run.event("resumed", f"resumed at step {state.global_step}")
        if self._listens:
            self._commands()  # says that they are obeyed

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A finished optimizer step; the place where commands are obeyed."""
        if self.run is None:
            return
        self.run.step(state.global_step, epoch=state.epoch)
        if self._listens and self._together.due(state.global_step):
            self._round(state.global_step, control, kwargs)
        if self._save_wanted:
            control.should_save = True
        if self._paused:
            control.should_log = True  # so that the last step is seen meanwhile; waits in on_log

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Waits here where nothing was logged after the pause."""
        self._wait(state, control, kwargs)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Writes the row; a paused run waits here."""
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
        """An evaluation goes on."""
        if self.run is not None and self.run.active and not self._evaluating:
            self._evaluating = True
            self._evaluation.enter_context(self.run.evaluating())

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation has ended."""
        self._evaluation.close()
        self._evaluating = False

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint lies in its folder."""
        if self.run is None:
            return
        self._save_wanted = False
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.run.checkpoint(path.absolute())
        for asked in self._unsaved:
            stop = f"; saved at step {state.global_step}, stopping" if asked.name == "stop" else ""
            asked.done(f"checkpoint {path.name} is saved{stop}")
        self._unsaved = []
        self._wait(state, control, kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends the run."""
        if self.run is None:
            return
        self.on_evaluate(args, state, control)
        for asked in self._unsaved:
            if asked.name == "stop":
                asked.done(f"stopped at step {state.global_step}; nothing was saved", saved=False)
            asked.refuse("the training ended before a checkpoint was saved")
        self._unsaved = []
        early = self.run.stopping is None and 0 < state.global_step < state.max_steps
        message = f"stopped early at step {state.global_step}" if early else ""
        self.run.finish("early_stopped" if early else None, message)

    # -- what others ask ---------------------------------------------------------------------

    def _commands(self) -> list[PendingCommands]:
        if self.run is None or not self.run.active:
            return []
        return list(self.run.commands("checkpoint", "stop", "cancel", "set-lr", wait=False))

    def _round(self, step: int, control: Any, parts: dict[str, Any]) -> None:
        """The main process looks for commands, and all carry them out."""
        asked = self._commands()
        active = self.run is not None and self.run.active
        mine = RankCommands(
            tuple((one.name, one.learning_rate) for one in asked),
            self.run is not None and self.run.paused,
        )
        orders = self._together.share(step, mine, active=active)
        self._paused = orders.paused
        for index, (name, rate) in enumerate(orders.commands):
            problem = self._carry_out(name, rate, control, parts)
            if index < len(asked):  # the main process answers
                self._answer(asked[index], problem)

    def _carry_out(
        self, name: str, rate: float | None, control: Any, parts: dict[str, Any]
    ) -> str | None:
        """Does what every process has to do; gives the reason where it cannot."""
        if name == "set-lr" and rate is not None:
            try:
                set_rate(parts.get("optimizer"), parts.get("lr_scheduler"), rate)
            except (ValueError, TypeError, KeyError) as error:
                return f"the learning rate cannot be set: {error}"
        if name in ("checkpoint", "stop"):
            self._save_wanted = control.should_save = True
        if name in ("stop", "cancel"):
            self._paused = False
            control.should_training_stop = True
        return None

    def _answer(self, asked: PendingCommands, problem: str | None) -> None:
        if problem is not None:
            asked.refuse(problem)
        elif asked.name in ("checkpoint", "stop"):
            self._unsaved.append(asked)  # answered once it is saved
        else:
            asked.done()

    def _wait(self, state: Any, control: Any, parts: dict[str, Any]) -> None:
        """While paused: waits until told to go on, or until the Trainer has to save or stop."""
        while self._paused and not self._save_wanted:
            time.sleep(self._together.rest())
            self._round(state.global_step, control, parts)

    def _new_tokens(self, count: Any) -> float:
        new, self._tokens = float(count) - self._tokens, float(count)
        return max(0.0, new)


def _name(args: Any) -> str:
    wanted = getattr(args, "run_name", None) or Path(args.output_dir).absolute().name
    return re.sub(r"[^A-Za-z0-9._-]+|\.{2,}", "-", str(wanted)).strip("-._")[:100] or "run"


def _program(args: Any) -> str:
    return "TRL" if type(args).__module__.split(".")[0] == "trl" else "transformers"


def _config(args: Any, model: Any) -> dict[str, Any]:
    """The arguments (their access tokens masked by transformers itself), and what is trained."""
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
