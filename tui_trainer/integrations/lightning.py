"""`TuiTrainerLogger`: records the training of a Lightning `Trainer` as a run.

    trainer = Trainer(logger=TuiTrainerLogger("runs", name="mine"))

The run accepts no commands: a Lightning logger cannot control the loop.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tui_trainer.store import paths
from tui_trainer.writer import RunWriter

try:
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities import rank_zero_only
except ImportError:
    try:
        from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
        from pytorch_lightning.utilities import rank_zero_only
    except ImportError:
        raise ImportError(
            "tui_trainer.integrations.lightning needs Lightning; "
            "install it with: pip install lightning"
        ) from None

_ENDINGS = {"success": "completed", "finished": "completed", "failed": "failed"}


class TuiTrainerLogger(Logger):
    """Writes what a Lightning module logs into a run folder in `runs_dir`.

    The folder is created with the first record and contains the hyperparameters known by then;
    later ones are recorded as an event. `total_steps` is needed for the progress and the
    remaining time. Raises `UserError` if `name` cannot be a folder's name.
    """

    def __init__(
        self,
        runs_dir: str | os.PathLike[str] = "runs",
        name: str = "lightning",
        *,
        total_steps: int | None = None,
        hardware: bool = True,
    ) -> None:
        super().__init__()
        self._runs_dir = Path(runs_dir)
        self._name = paths.safe_name(name, "run name")
        self._total_steps = total_steps
        self._hardware = hardware
        self._config: dict[str, Any] = {}
        self._run: RunWriter | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self._name

    @property
    def version(self) -> str | None:
        """The run's id; None before the first record."""
        path = self._run.path if self._run is not None else None
        return path.name if path is not None else None

    @property
    def save_dir(self) -> None:
        """None, so that checkpoints are saved in the Trainer's own folder, not in the run's."""
        return

    @property
    @rank_zero_experiment
    def experiment(self) -> RunWriter | None:
        """The writer; None before the first record, as Lightning reads this property before it
        logs the hyperparameters."""
        return self._run

    def _started_run(self) -> RunWriter:
        if self._run is None:
            self._run = RunWriter(
                self._runs_dir,
                self._name,
                total_steps=self._total_steps,
                config=self._config,
                program="Lightning",
                main_process=True,
                hardware=self._hardware,
            )
        return self._run

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Keep hyperparameters for `run.json`."""
        values = vars(params) if isinstance(params, Namespace) else dict(params or {})
        if self._run is None:
            self._config.update(values)
        elif values:
            self._run.event("hyperparameters", "hyperparameters", values=values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics. Lightning's steps count from 0, a run's are the finished ones."""
        finished = 0 if step is None else step + 1
        self._started_run().log(finished, dict(metrics))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Record the newest checkpoint."""
        path = getattr(checkpoint_callback, "last_model_path", "") or getattr(
            checkpoint_callback, "best_model_path", ""
        )
        if path:
            self._started_run().checkpoint(path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run with Lightning's own status."""
        if self._run is None:
            return
        state = _ENDINGS.get(status)
        if state == "failed":
            self._run.finish("failed", "Lightning reports that the training failed")
        elif state == "completed":
            self._run.finish()
        else:
            self._run.finish("cancelled", f"Lightning reports the status {status!r}")

    def __getstate__(self) -> dict[str, Any]:
        """The state for other processes, without the open run: only the main process writes."""
        return {**self.__dict__, "_run": None}
