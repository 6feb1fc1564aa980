"""`TuiTrainerLogger`: a Lightning `Trainer` that is seen live.

    trainer = Trainer(logger=TuiTrainerLogger("runs", name="mine"))

The run is shown read-only: a logger has no hand in the loop.
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
    """Writes what a Lightning module logs into a run folder below `runs_dir`.

    The folder is made at the first thing that there is to write, with the hyperparameters known
    by then; later ones become an event. `total_steps` gives progress and time left.
    Raises `UserError` for a name that cannot be a folder's.
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
        """The run's id, once it has begun."""
        path = self._run.path if self._run is not None else None
        return path.name if path is not None else None

    @property
    def save_dir(self) -> None:
        """None: checkpoints go below the Trainer's own folder, not among the runs."""
        return

    @property
    @rank_zero_experiment
    def experiment(self) -> RunWriter | None:
        """The writer itself; None before the first metrics, for Lightning looks at it before it
        tells the hyperparameters."""
        return self._run

    def _begun(self) -> RunWriter:
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
        """Keeps hyperparameters for `run.json`."""
        values = vars(params) if isinstance(params, Namespace) else dict(params or {})
        if self._run is None:
            self._config.update(values)
        elif values:
            self._run.event("hyperparameters", "hyperparameters", values=values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """A row of metrics; Lightning counts steps from 0, a run folder those finished."""
        finished = 0 if step is None else step + 1
        self._begun().log(finished, dict(metrics))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Tells of the newest checkpoint."""
        path = getattr(checkpoint_callback, "last_model_path", "") or getattr(
            checkpoint_callback, "best_model_path", ""
        )
        if path:
            self._begun().checkpoint(path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends the run as Lightning says that it ended."""
        if self._run is None:
            return
        word = _ENDINGS.get(status)
        if word == "failed":
            self._run.finish("failed", "Lightning says that the training failed")
        elif word == "completed":
            self._run.finish()
        else:
            self._run.finish("cancelled", f"Lightning says: {status}")

    def __getstate__(self) -> dict[str, Any]:
        """Other processes get the logger without the open run: only the main one writes."""
        return {**self.__dict__, "_run": None}
